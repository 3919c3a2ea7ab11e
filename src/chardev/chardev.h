/*
 * Character devices: a back end (socket, pty, file, ...) that is an object in /chardevs, and at
 * most one front end (a UART, a monitor, a virtio port) that is attached to it; a mux has several.
 * All on the main loop's thread.
 *
 * A front end's functions are called from the main loop; event also from inside chardev_attach,
 * chardev_change and chardev_send_break. None is called from inside the functions that a front end
 * uses while it works: chardev_write, chardev_accept_input and so on.
 */
#ifndef NANDU_CHARDEV_CHARDEV_H
#define NANDU_CHARDEV_CHARDEV_H

#include "object/object.h"
#include "qapi/qapi_types.h"
#include "util/event_loop.h"

struct chardev;
struct clocks;
struct fdsets;
struct log;
struct qapi_event_sink;

enum chardev_event {
    CHARDEV_OPENED,
    CHARDEV_CLOSED,
    CHARDEV_BREAK,
    CHARDEV_MUX_IN,
    CHARDEV_MUX_OUT,
};

/* A front end's side; opaque is what it attached with. */
struct chardev_frontend_ops {
    size_t (*can_receive)(void *opaque); /* how many bytes it takes now */
    void (*receive)(void *opaque, const uint8_t *data, size_t size); /* at most that many */
    void (*event)(void *opaque, enum chardev_event event);           /* may be NULL */
};

/* What chardevs need of their surroundings; one for the program, lives as long as it. */
struct chardev_context {
    struct object *root;
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    struct qapi_event_sink *events; /* may be NULL */
    struct fdsets *fdsets;
    /*
     * Descriptors with names; may be NULL. (QMP's getfd gives them to a session:
     * qmp_context.take_fd.)
     */
    int (*get_fd)(void *opaque, const char *name, GError **error);
    void *get_fd_opaque;
    /* Ctrl-A x, s, ... of a mux: 'x' quits, 's' saves disks. */
    void (*escape)(void *opaque, char key);
    void *escape_opaque;
    uint8_t escape_key; /* in place of Ctrl-A (-echr); 0: Ctrl-A */
    bool daemonize;     /* stdio is refused */
};

/*
 * Makes a back end and puts it into /chardevs as id. Nothing stays behind on failure. Borrowed. In
 * a coroutine it waits there for a connection that must be made first, else it blocks.
 */
struct chardev *chardev_new(const struct chardev_context *context, const char *id,
                            const struct qapi_chardev_backend *backend, GError **error);
/*
 * -chardev's text ("socket,id=x,path=/y,server=on,wait=off"). A pty is announced on standard
 * output; a server with wait=on waits for its client.
 */
struct chardev *chardev_new_option(const struct chardev_context *context, const char *text,
                                   GError **error);
/*
 * The short form that -serial, -monitor, -qmp take ("stdio", "unix:/x,server", "pty", "null",
 * "chardev:ID"; "vc" is refused). label is the id that it gets. "mon:..." is for with_mux only: a
 * mux that the caller then also attaches a monitor to.
 */
struct chardev *chardev_new_short(const struct chardev_context *context, const char *label,
                                  const char *text, bool with_mux, GError **error);
/*
 * Takes -chardev's text apart, for chardev-add and chardev-change of HMP. *id is NULL if there is
 * none. mux (may be NULL: mux=on is refused): whether a mux is asked for, on top of the back end.
 * Free with g_free and qapi_clear.
 */
bool chardev_parse_option(const char *text, char **id, struct qapi_chardev_backend *backend,
                          bool *mux, GError **error);
/* Puts another back end behind chr, whose front end stays and sees it closed and opened. */
bool chardev_change(struct chardev *chr, const struct qapi_chardev_backend *backend,
                    GError **error);
/* False and *error: it is in use. */
bool chardev_remove(struct chardev *chr, GError **error);
struct chardev *chardev_find(struct object *root, const char *id);
const char *chardev_id(const struct chardev *chr);
/* What is behind it, as query-chardev tells: "pty:/dev/pts/3". */
const char *chardev_filename(const struct chardev *chr);
/* "/dev/pts/3"; NULL: it isn't a pty. */
const char *chardev_pty(const struct chardev *chr);
/* What -chardev help prints; caller frees. */
char *chardev_help(void);
/* -chardev's options of all kinds, once each. */
typedef void chardev_visit_option(void *opaque, const char *name,
                                  enum qapi_command_line_parameter_type type);
void chardev_foreach_option(chardev_visit_option *fn, void *opaque);

/*
 * False and *error if it has a front end already (and isn't a mux). Sends CHARDEV_OPENED if it is
 * open.
 */
bool chardev_attach(struct chardev *chr, const struct chardev_frontend_ops *ops, void *opaque,
                    GError **error);
void chardev_detach(struct chardev *chr, void *opaque);
bool chardev_is_open(const struct chardev *chr);
/*
 * Bytes written, 0 when it would block (chardev_on_writable tells when it may go on), -1: closed.
 */
ssize_t chardev_write(struct chardev *chr, const void *data, size_t size);
/*
 * fn is called once, when writing may go on or the chardev was closed. opaque is the front end's.
 */
void chardev_on_writable(struct chardev *chr, event_fn *fn, void *opaque);
/*
 * Keeps what can't be written yet and writes it later; false, and nothing is kept, if more than
 * limit bytes wait already. What is written while it is closed is lost (true).
 */
bool chardev_write_queued(struct chardev *chr, const void *data, size_t size, size_t limit);
/* The front end can take bytes again. */
void chardev_accept_input(struct chardev *chr);
/*
 * Descriptors that came with the last bytes received (unix sockets); the caller owns what it takes.
 */
int chardev_take_fd(struct chardev *chr);
bool chardev_set_fds(struct chardev *chr, const int *fds,
                     size_t n);                        /* go out with the next write */
void chardev_send_break(struct chardev *chr);          /* to the front end */
void chardev_set_echo(struct chardev *chr, bool echo); /* the terminal behind stdio */
/* The front end is ready for a guest (virtio port open, ...); query-chardev's frontend-open. */
void chardev_set_frontend_open(struct chardev *chr, bool open);
/* The line behind a back end of kind serial, as a UART sets it; others have none: false. */
struct chardev_line {
    unsigned speed;                /* bits per second */
    unsigned data_bits, stop_bits; /* 5-8, 1-2 */
    char parity;                   /* 'N', 'E', 'O' */
};
bool chardev_set_line(struct chardev *chr, const struct chardev_line *line);
bool chardev_set_line_break(struct chardev *chr, bool on);
bool chardev_get_modem_lines(struct chardev *chr, int *lines); /* TIOCM_CTS | ... (ioctl_tty(2)) */
bool chardev_set_modem_lines(struct chardev *chr, int lines);  /* TIOCM_RTS, TIOCM_DTR */
/*
 * Waits, at start-up or in a coroutine, until a socket with wait=on has its client; at once for all
 * others.
 */
bool chardev_wait_connected(struct chardev *chr, GError **error);
/* At the end of the program: terminal modes are restored, sockets' files removed. */
void chardev_close_all(struct object *root);

#endif
