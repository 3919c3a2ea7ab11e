/*
 * Byte channels: a descriptor, a socket, TLS or WebSocket on top of another one. All are
 * non-blocking; who wants to wait is in a coroutine (io_read and friends) or watches.
 *
 * A channel is used on one event loop's thread; references are plain. One coroutine may read and
 * another one write at the same time; a watch takes the place of a coroutine in its direction.
 *
 * Writing to a pipe or socket whose other end is gone is an error, not a signal: for pipes the
 * program must ignore SIGPIPE.
 */
#ifndef NANDU_IO_CHANNEL_H
#define NANDU_IO_CHANNEL_H

#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/auto.h"
#include "util/coroutine.h"
#include "util/event_loop.h"

struct io_channel;
struct object;

enum {
    IO_WOULD_BLOCK = -2,
    IO_MAX_FDS = 16,                /* descriptors that can go with one message */
};

/* Errors of channels and sockets; the code is an errno value, 0 where there is none. */
#define IO_ERROR io_error_quark()
GQuark io_error_quark(void);
/* Sets *error to the text and, unless err is 0, ": " and the meaning of err. */
void io_set_error(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);

struct io_channel_ops {
    const char *name;               /* "socket", "tls", ... */
    /*
     * Bytes (0: end of the stream), IO_WOULD_BLOCK, or -1 and *error. fds (may be NULL): received
     * ones are appended, owned by the caller.
     */
    ssize_t (*readv)(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                     GError **error);
    ssize_t (*writev)(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds,
                      size_t n_fds, GError **error);
    /* What fd must be watched for before the next read or write can get on; POLLIN or POLLOUT. */
    short (*read_events)(struct io_channel *ch);
    short (*write_events)(struct io_channel *ch);
    /* Whether it is readable without the descriptor; may be NULL. */
    bool (*has_pending)(struct io_channel *ch);
    /*
     * Whether bytes that writev accepted are still here; flush sends what can be sent without
     * waiting. An error of it is the next writev's. Both NULL where writev keeps nothing.
     */
    bool (*has_unsent)(struct io_channel *ch);
    void (*flush)(struct io_channel *ch);
    void (*shutdown)(struct io_channel *ch, int how);   /* SHUT_RD, ...; may be NULL */
    void (*free)(struct io_channel *ch);            /* closes what it owns, and frees ch */
};

struct io_channel {
    const struct io_channel_ops *ops;
    struct event_loop *loop;
    unsigned refs;
    int fd;                         /* the descriptor at the bottom */
    bool can_pass_fds;
    bool always_ready;              /* a regular file, which can't be watched */

    /* The rest is channel.c's. */
    bool shut_read, shut_write;
    bool covered;                   /* a layer on top watches the descriptor */
    bool dispatching;               /* what is watched for is found out at the end */
    event_fn *read, *write;         /* the watch */
    void *opaque;
    struct coroutine *reader, *writer;      /* who waits in io_wait */
    short watched;                  /* what the loop watches fd for */
    struct bottom_half *ready;      /* for what can get on without the descriptor */
};

void io_channel_init(struct io_channel *ch, const struct io_channel_ops *ops,
                     struct event_loop *loop, int fd);
/*
 * For layers: whether one is on top of ch from now on, with the same fd. ch doesn't watch it any
 * more then, and isn't to be waited for; the layer's read_events and so on ask ch's.
 */
void io_channel_cover(struct io_channel *ch, bool covered);
struct io_channel *io_channel_ref(struct io_channel *ch);
/*
 * The last reference closes the channel; bytes that can't be sent at once are lost (see io_flush).
 */
void io_channel_unref(struct io_channel *ch);
DEFINE_AUTO_PTR(io_channel, io_channel_unref)

/*
 * Without waiting: bytes (reading: 0 at the end of the stream), IO_WOULD_BLOCK, or -1 and *error.
 * fds: see io_channel_ops; a channel that can't pass descriptors gets none, and refuses to send
 * some.
 */
ssize_t io_try_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                     GError **error);
ssize_t io_try_writev(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds,
                      size_t n_fds, GError **error);
/*
 * Calls read/write when the channel may be read or written (also for what is pending in it), again
 * and again while that is so. A second call replaces the first; NULL, NULL: no more.
 */
void io_watch(struct io_channel *ch, event_fn *read, event_fn *write, void *opaque);
/* As shutdown(2) does for sockets; who waits in that direction goes on and sees the end. */
void io_shutdown(struct io_channel *ch, int how);

/*
 * In a coroutine. io_read: at least 1 byte, 0 at the end. io_read_all: false and *error if fewer
 * come. io_flush: waits until nothing that was written is kept in the channel. io_wait: until a
 * read (POLLIN) or write (POLLOUT) is worth another try; may return early.
 */
ssize_t io_read(struct io_channel *ch, void *data, size_t size, GError **error);
bool io_read_all(struct io_channel *ch, void *data, size_t size, GError **error);
bool io_write_all(struct io_channel *ch, const void *data, size_t size, GError **error);
bool io_writev_all(struct io_channel *ch, const struct iovec *iov, size_t n, GError **error);
bool io_flush(struct io_channel *ch, GError **error);
void io_wait(struct io_channel *ch, short direction);

/* A descriptor (pipe, pty, file, character device); made non-blocking; owned. */
struct io_channel *io_channel_fd_new(struct event_loop *loop, int fd);
/* A connected socket; made non-blocking; owned. Passes descriptors if it is a unix one. */
struct io_channel *io_channel_socket_new(struct event_loop *loop, int fd);
/*
 * In a coroutine: the handshake. below gets a reference. See crypto/tls.h for the arguments. There
 * is no limit of time: io_shutdown(below, SHUT_RDWR) ends it.
 */
struct io_channel *io_channel_tls_new(struct io_channel *below, struct object *creds, bool server,
                                      const char *hostname, const char *authz, GError **error);
/* The peer's name as tls_session_peer has it; NULL: none, or not a TLS channel. */
const char *io_channel_tls_peer(struct io_channel *ch);
/*
 * In a coroutine: the server's handshake (RFC 6455, 4.2); the stream is the binary frames'
 * contents. below gets a reference. A client that asks for something else is told so (status 400).
 * No limit of time either.
 */
struct io_channel *io_channel_websocket_new(struct io_channel *below, GError **error);

#endif
