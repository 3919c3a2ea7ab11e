/*
 * What back ends of character devices are made of. struct chardev is the part that front ends and
 * the object tree know; struct chardev_backend is the kind's own, behind it, so that chardev-change
 * can put another one in its place.
 */
#ifndef NANDU_CHARDEV_BACKEND_H
#define NANDU_CHARDEV_BACKEND_H

#include "chardev/chardev.h"
#include "io/socket.h"
#include "qapi/error.h"

struct chardev_backend;

enum { CHARDEV_READ_SIZE = 4096 }; /* bytes read at once */

struct chardev {
    struct object obj;
    const struct chardev_context *context;
    char *id;
    struct chardev_backend *backend;
    bool open;
    bool frontend_open;
    const struct chardev_frontend_ops *frontend; /* NULL: none. A mux keeps its own */
    void *frontend_opaque;
    GArray *waiters;              /* of chardev_on_writable */
    GByteArray *queue;            /* output that waits */
    size_t queue_sent;            /* so much of it is gone */
    struct bottom_half *writable; /* for back ends that are always writable */
    int log_fd;                   /* -1: none */
};

/* What a back end is made from. */
struct chardev_setup {
    const struct qapi_chardev_backend *config;
    socket_get_fd *get_fd; /* may be NULL */
    void *get_fd_opaque;
};

/* class_data of the object types. Functions that a kind has no use for are NULL. */
struct chardev_backend_ops {
    size_t size; /* of the structure that begins with struct chardev_backend */
    /* Sets filename, and calls chardev_opened if it is open from the start. */
    bool (*open)(struct chardev_backend *b, const struct chardev_setup *setup, GError **error);
    /*
     * Ends everything; also after open failed. No callback comes afterwards but those of
     * coroutines, which see closed.
     */
    void (*close)(struct chardev_backend *b);
    /* Frees what coroutines may still have needed. */
    void (*finalize)(struct chardev_backend *b);
    /* As chardev_write; doesn't call the front end. */
    ssize_t (*write)(struct chardev_backend *b, const void *data, size_t size);
    /*
     * Whether chardev_writable shall be called when writing may go on. NULL: it never would block.
     */
    void (*watch_writable)(struct chardev_backend *b, bool on);
    /* The front end can take bytes now, or is another one. */
    void (*accept_input)(struct chardev_backend *b);
    /*
     * Something is to be written to a chardev that isn't open: is it, in fact? (chardev_opened is
     * then called later.)
     */
    bool (*check_open)(struct chardev_backend *b);
    /* A mux's front ends are its own affair. */
    bool (*attach)(struct chardev_backend *b, const struct chardev_frontend_ops *ops, void *opaque,
                   GError **error);
    void (*detach)(struct chardev_backend *b, void *opaque);
    bool (*is_busy)(struct chardev_backend *b);
    void (*send_break)(struct chardev_backend *b);
    int (*take_fd)(struct chardev_backend *b);
    bool (*set_fds)(struct chardev_backend *b, const int *fds, size_t n);
    void (*set_echo)(struct chardev_backend *b, bool echo);
    bool (*wait_connected)(struct chardev_backend *b, GError **error);
    void (*yank)(struct chardev_backend *b);
    bool (*set_line)(struct chardev_backend *b, const struct chardev_line *line);
    bool (*set_line_break)(struct chardev_backend *b, bool on);
    bool (*get_modem_lines)(struct chardev_backend *b, int *lines);
    bool (*set_modem_lines)(struct chardev_backend *b, int lines);
};

struct chardev_backend {
    const struct chardev_backend_ops *ops;
    struct chardev *chr; /* valid until close */
    unsigned refs;       /* callbacks and coroutines that run hold one */
    bool closed;
    char *filename;
};

/* Sets *error, of the general class; returns false. */
bool chardev_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
struct chardev_backend *chardev_backend_ref(struct chardev_backend *b);
void chardev_backend_unref(struct chardev_backend *b);
DEFINE_AUTO_PTR(chardev_backend, chardev_backend_unref)
void chardev_set_filename(struct chardev_backend *b, const char *format, ...) G_GNUC_PRINTF(2, 3);

/*
 * For back ends. Each of those that call the front end may end with b closed: who goes on
 * afterwards holds a reference and looks at b->closed.
 */
/* Bytes that the front end takes now, at most max. Another call may answer more: a guest fills and
 * empties queues meanwhile. */
size_t chardev_room(struct chardev_backend *b, size_t max);
void chardev_receive(struct chardev_backend *b, const uint8_t *data,
                     size_t size); /* at most that many */
void chardev_opened(struct chardev_backend *b);
void chardev_closed(struct chardev_backend *b);
void chardev_break(struct chardev_backend *b);
void chardev_writable(struct chardev_backend *b);

/* chardev_new and chardev_change with another source of descriptors with names. */
struct chardev *chardev_add(const struct chardev_context *context, const char *id,
                            const struct chardev_setup *setup, GError **error);
bool chardev_replace(struct chardev *chr, const struct chardev_setup *setup, GError **error);
/* Of an object below /chardevs; NULL if it isn't a chardev. */
struct chardev *chardev_of_object(struct object *obj);
bool chardev_is_kind(const struct chardev *chr, enum qapi_chardev_backend_kind kind);
/* The address as newer commands have it; owned copies. */
void chardev_flatten_address(const struct qapi_socket_address_legacy *legacy,
                             struct qapi_socket_address *address);

/*
 * Back ends over descriptors (file, pipe, pty, serial, stdio): the structure begins with this one.
 * The end of the input isn't the end of the output: reading stops, nothing else happens, unless
 * hung_up is there.
 */
struct fd_backend {
    struct chardev_backend base;
    struct io_channel *in, *out; /* may be the same; NULL: none */
    bool want_write, at_end;
    void (*hung_up)(struct fd_backend *fd);
};

/* Both are owned from here on; in may be -1, or the same as out. */
void fd_backend_start(struct fd_backend *fd, int in, int out);
/* Reads or stops reading, as the front end can take bytes. */
void fd_backend_accept_input(struct chardev_backend *b);
ssize_t fd_backend_write(struct chardev_backend *b, const void *data, size_t size);
void fd_backend_watch_writable(struct chardev_backend *b, bool on);
void fd_backend_close(struct chardev_backend *b);

#endif
