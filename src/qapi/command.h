/*
 * Commands and events of the schema, as const tables that src/qapi/generate.py writes. A command's
 * handler is
 *
 *   bool qmp_query_name(struct qmp_context *ctx, const struct qapi_query_name_arg *arg,
 *                       struct qapi_name_info *ret, GError **error);
 *
 * arg is left out where there are no arguments; where 'data' names a type, arg is of that type. ret
 * (zeroed; a list: struct qapi_..._list *, a scalar: int64_t * and so on) is left out where nothing
 * is returned. What was put into *ret is freed by the caller also when the handler fails. With
 * 'gen': false both are JSON: json_object *arg (borrowed, an object, not checked), json_object
 * **ret (a new reference). A handler that returns false must set *error, and only then. Handlers
 * run on the main thread; one with 'coroutine': true runs in a coroutine and may wait.
 */
#ifndef NANDU_QAPI_COMMAND_H
#define NANDU_QAPI_COMMAND_H

#include "qapi/error.h"
#include "qapi/type.h"

struct block_graph;
struct chardev_context;
struct object;
struct monitor;
struct vm;
struct event_loop;
struct fdsets;
struct qapi_compat_policy;

/*
 * Where a command comes from and what it works on. Each layer uses the pointers whose types it
 * knows.
 */
struct qmp_context {
    struct vm *vm;                  /* the machine, its run state (machine/vm.h); a tool has none */
    struct object *root;            /* the object tree (object/object.h) */
    struct monitor *monitor;        /* the session (monitor/monitor.h); NULL: not from a monitor */
    struct event_loop *loop;        /* the main loop */
    struct fdsets *fdsets;          /* util/fdset.h */
    const struct qapi_compat_policy *compat;    /* -compat; NULL: accept everything */
    const struct chardev_context *chardevs; /* chardev/chardev.h */
    struct block_graph *blocks;     /* block/block.h */
    /*
     * A descriptor that getfd named in this session, the caller's then (monitor_take_fd); may be
     * NULL.
     */
    int (*take_fd)(struct monitor *monitor, const char *name, GError **error);
};

enum qapi_command_flags {
    QAPI_COMMAND_OOB = 1,           /* allow-oob */
    QAPI_COMMAND_PRECONFIG = 2,     /* allow-preconfig */
    QAPI_COMMAND_COROUTINE = 4,
    QAPI_COMMAND_NO_RESPONSE = 8,   /* success-response: false */
};

struct qapi_command {
    const char *name;
    const struct qapi_type *arg;    /* NULL: none */
    const struct qapi_type *ret;    /* NULL: none ({} is returned) */
    unsigned flags;
    bool gen;                       /* false: arg is passed as it came ('gen': false) */
    const char *const *features;
    bool (*invoke)(struct qmp_context *ctx, const void *arg, void *ret, GError **error);
};

struct qapi_event {
    const char *name;
    const struct qapi_type *arg;    /* NULL: none */
    const char *const *features;
};

/* All that a program offers (each program's schema makes one: qapi_system_schema, ...). */
struct qapi_schema {
    const struct qapi_command *commands;    /* sorted by name */
    size_t n_commands;
    const struct qapi_event *events;
    size_t n_events;
};

const struct qapi_command *qapi_find_command(const struct qapi_schema *schema, const char *name);
/*
 * The command's return value ({} if it has none), a new reference, or NULL and *error; NULL without
 * *error is JSON's null. arguments may be NULL.
 */
json_object *qapi_invoke(const struct qapi_command *command, struct qmp_context *ctx,
                         struct json_object *arguments, GError **error);
/* What query-qmp-schema answers; a new reference. */
json_object *qapi_introspect(const struct qapi_schema *schema);

/*
 * Where events go. The generator makes for each event
 *   void qapi_event_foo(struct qapi_event_sink *sink, const struct qapi_foo_event *arg);
 * which may be called from any thread; sink NULL: nobody listens. arg is left out if the event has
 * no data; where 'data' names a type, it is of that type.
 */
struct qapi_event_sink {
    /* data is the sink's to put; NULL if the event has none. */
    void (*emit)(struct qapi_event_sink *sink, const struct qapi_event *event, json_object *data);
};
void qapi_emit(struct qapi_event_sink *sink, const struct qapi_event *event, const void *arg);

#endif
