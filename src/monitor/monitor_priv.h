/*
 * Monitors' inside.
 *
 * How commands are run: what a client sends is only stored when it comes. A bottom half of the
 * main loop (monitors_wake) takes it from there: it reads requests out of what was stored, and
 * starts one. At any time one request of all sessions is being run, as commands may rely on (one
 * that waits, in a coroutine, isn't disturbed by others). Sessions take turns.
 *
 * Out-of-band commands are the exception: they are run where they are read. The main thread can
 * read while a command waits, since waiting commands are coroutines, and no handler may block the
 * thread. So this needs no thread of its own.
 *
 * What a session may take up is bounded: input by what is waiting (INPUT_SIZE, then the back end
 * isn't read) and the limits of json_stream, requests by their number, output by not running
 * commands nor reading while more than OUTPUT_BUSY bytes wait, and not sending events while more
 * than OUTPUT_FULL do.
 */
#ifndef NANDU_MONITOR_MONITOR_PRIV_H
#define NANDU_MONITOR_MONITOR_PRIV_H

#include "monitor/monitor.h"
#include "util/clock.h"
#include "util/event_loop.h"
#include "util/log.h"

enum {
    INPUT_SIZE = 4096, /* bytes taken from the back end at once */
    OUTPUT_BUSY = 64 << 10,
    OUTPUT_FULL = 1 << 20,
    MAX_FDS = 16, /* descriptors that no command has taken yet */
};

struct monitor_ops {
    /* Requests that wait, without the one that is being run. */
    guint (*n_requests)(const struct monitor *mon);
    /* How many there may be, with the one that is being run, for more input to be read. */
    guint (*max_requests)(const struct monitor *mon);
    /* Makes requests of what is in mon->input, as long as monitor_may_read says. */
    void (*read)(struct monitor *mon);
    /* Runs the next request; monitor_done is called at its end, which may be later. */
    void (*run)(struct monitor *mon);
    /* A client has come, or has gone: then nothing of it may be left. */
    void (*opened)(struct monitor *mon);
    void (*closed)(struct monitor *mon);
    void (*focus)(struct monitor *mon, bool in);            /* of a mux; may be NULL */
    void (*event)(struct monitor *mon, json_object *event); /* may be NULL */
    void (*free)(struct monitor *mon);                      /* all but what struct monitor holds */
};

/* A descriptor that getfd gave a name. */
struct named_fd {
    char *name;
    int fd;
};

/* A session: one client at a time, one after the other. */
struct monitor {
    const struct monitor_ops *ops;
    struct monitors *owner;
    struct qmp_context context; /* whose monitor is this one */
    struct chardev *chr;
    int64_t cpu_index;   /* the vCPU that HMP lines are about */
    bool running;        /* a request of this session is being run */
    unsigned connection; /* number of the client: what was begun for another one is dropped */
    GByteArray *input;
    GByteArray *output;
    bool output_blocked; /* the back end will tell when it takes more */
    bool out_of_focus;   /* of a mux: output waits */
    bool events_lost;
    GArray *received_fds; /* int; came with the input and wait for a command that takes them */
    GPtrArray *named_fds; /* struct named_fd */
};

struct events;

struct monitors {
    const struct qapi_schema *schema;
    const struct qmp_context *context;
    struct clocks *clocks;
    struct log *log;
    GPtrArray *sessions;      /* struct monitor, with its own part behind */
    struct monitor *internal; /* without a client: whose monitor_run_hmp's commands are */
    guint next;               /* whose turn it is */
    bool busy;                /* a request is being run */
    struct bottom_half *turn;
    struct events *events;
};

/* Attaches a session, which is owned by monitors from here on, also on failure. */
bool monitor_start(struct monitors *monitors, struct monitor *mon, const struct monitor_ops *ops,
                   struct chardev *chr, GError **error);
/* Looks for something to do at the loop's next turn. */
void monitors_wake(struct monitors *monitors);
/* The request that ops->run began is over. */
void monitor_done(struct monitor *mon);
/* Whether another request may be made of the input. */
bool monitor_may_read(const struct monitor *mon);
/* "\n" becomes CR LF. */
void monitor_print(struct monitor *mon, const char *text);
void monitor_write(struct monitor *mon, const void *data, size_t size);
/* The oldest descriptor that came with the input; -1 and *error: none. The caller's. */
int monitor_receive_fd(struct monitor *mon, GError **error);
void monitor_name_fd(struct monitor *mon, const char *name, int fd); /* fd is taken */

/* Whether the command may be used now: not before the machine is made if it isn't for that. */
bool monitor_check_preconfig(const struct qmp_context *context, const struct qapi_command *command,
                             GError **error);

/* events.c */
struct events *events_new(struct monitors *monitors);
void events_free(struct events *events);
struct qapi_event_sink *events_sink(struct events *events);
/* Sends what other threads have queued. Main thread. */
void events_flush(struct events *events);
/* To all sessions. */
void monitors_send_event(struct monitors *monitors, json_object *event);

/* qmp.c: for the handler of qmp_capabilities. */
struct qapi_qmp_capabilities_arg;
bool qmp_negotiate(struct monitor *mon, const struct qapi_qmp_capabilities_arg *arg,
                   GError **error);

#endif
