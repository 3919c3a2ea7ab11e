/*
 * Character devices: a back end (socket, pty, file, ...) that is an object in /chardevs, and at most
 * one front end (a UART, a monitor, a virtio port) that is attached to it; a mux has several.
 * All on the main loop's thread.
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
    CHARDEV_OPENED, CHARDEV_CLOSED, CHARDEV_BREAK, CHARDEV_MUX_IN, CHARDEV_MUX_OUT,
};

/* A front end's side; opaque is what it attached with. */
struct chardev_frontend_ops {
    size_t (*can_receive)(void *opaque);    /* how many bytes it takes now */
    void (*receive)(void *opaque, const uint8_t *data, size_t size);    /* at most that many */
    void (*event)(void *opaque, enum chardev_event event);              /* may be NULL */
};

/* What chardevs need of their surroundings; one for the program, lives as long as it. */
struct chardev_context {
    struct object *root;
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    struct qapi_event_sink *events;         /* may be NULL */
    struct fdsets *fdsets;
    int (*get_fd)(void *opaque, const char *name, GError **error);  /* names given by getfd; may be NULL */
    void *get_fd_opaque;
    /* Ctrl-A x, s, ... of a mux: 'x' quits, 's' saves disks. */
    void (*escape)(void *opaque, char key);
    void *escape_opaque;
    bool daemonize;                         /* stdio is refused */
};

/* Makes a back end and puts it into /chardevs as id. Nothing stays behind on failure. Borrowed. */
struct chardev *chardev_new(const struct chardev_context *context, const char *id,
                            const struct qapi_chardev_backend *backend, GError **error);
/* -chardev's text ("socket,id=x,path=/y,server=on,wait=off"). */
struct chardev *chardev_new_option(const struct chardev_context *context, const char *text, GError **error);
/* The short form that -serial, -monitor, -qmp take ("stdio", "unix:/x,server", "mon:stdio", "pty", "null",
 * "vc" is refused). label is the id that it gets. */
struct chardev *chardev_new_short(const struct chardev_context *context, const char *label, const char *text,
                                  bool with_mux, GError **error);
struct chardev *chardev_find(struct object *root, const char *id);
const char *chardev_id(const struct chardev *chr);
char *chardev_help(void);                   /* -chardev help */

/* False and *error if it has a front end already (and isn't a mux). Sends CHARDEV_OPENED if it is open. */
bool chardev_attach(struct chardev *chr, const struct chardev_frontend_ops *ops, void *opaque, GError **error);
void chardev_detach(struct chardev *chr, void *opaque);
bool chardev_is_open(const struct chardev *chr);
/* Bytes written, 0 when it would block (then can_write is called once when it may go on), -1: closed. */
ssize_t chardev_write(struct chardev *chr, const void *data, size_t size);
void chardev_on_writable(struct chardev *chr, event_fn *fn, void *opaque);
/* Keeps what can't be written yet and writes it later; false if more than limit bytes wait already. */
bool chardev_write_queued(struct chardev *chr, const void *data, size_t size, size_t limit);
/* The front end can take bytes again. */
void chardev_accept_input(struct chardev *chr);
/* Descriptors that came with the last bytes received (unix sockets); the caller owns what it takes. */
int chardev_take_fd(struct chardev *chr);
bool chardev_set_fds(struct chardev *chr, const int *fds, size_t n);    /* go out with the next write */
void chardev_send_break(struct chardev *chr);
void chardev_set_echo(struct chardev *chr, bool echo);      /* the terminal behind stdio */
/* The front end is ready for a guest (virtio port open, ...); query-chardev's frontend-open. */
void chardev_set_frontend_open(struct chardev *chr, bool open);
/* Waits, at start-up only, until a socket with wait=on has its client. */
bool chardev_wait_connected(struct chardev *chr, GError **error);
/* At the end of the program: terminal modes are restored, sockets' files removed. */
void chardev_close_all(struct object *root);

#endif
