/*
 * Byte channels: a descriptor, a socket, TLS or WebSocket on top of another one. All are non-blocking;
 * who wants to wait is in a coroutine (io_read and friends) or watches.
 *
 * A channel is used on one event loop's thread; references are plain.
 */
#ifndef NANDU_IO_CHANNEL_H
#define NANDU_IO_CHANNEL_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/auto.h"
#include "util/coroutine.h"
#include "util/event_loop.h"

struct io_channel;
struct object;

enum { IO_WOULD_BLOCK = -2 };

struct io_channel_ops {
    const char *name;               /* "socket", "tls", ... */
    /* Bytes (0: end of the stream), IO_WOULD_BLOCK, or -1 and *error. fds (may be NULL): received ones are
     * appended, owned by the caller. */
    ssize_t (*readv)(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds, GError **error);
    ssize_t (*writev)(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds, size_t n_fds,
                      GError **error);
    /* What fd must be watched for before the next read or write can get on; POLLIN or POLLOUT. */
    short (*read_events)(struct io_channel *ch);
    short (*write_events)(struct io_channel *ch);
    bool (*has_pending)(struct io_channel *ch);     /* readable without the descriptor; may be NULL */
    void (*shutdown)(struct io_channel *ch, int how);   /* SHUT_RD, ...: as for sockets */
    void (*free)(struct io_channel *ch);            /* closes what it owns */
};

struct io_channel {
    const struct io_channel_ops *ops;
    struct event_loop *loop;
    unsigned refs;
    int fd;                         /* the descriptor at the bottom */
    bool can_pass_fds;
};

void io_channel_init(struct io_channel *ch, const struct io_channel_ops *ops, struct event_loop *loop, int fd);
struct io_channel *io_channel_ref(struct io_channel *ch);
void io_channel_unref(struct io_channel *ch);
DEFINE_AUTO_PTR(io_channel, io_channel_unref)

/* Without waiting. */
ssize_t io_try_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds, GError **error);
ssize_t io_try_writev(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds, size_t n_fds,
                      GError **error);
/* Calls read/write when the channel may be read or written (also for what is pending in it). NULL: no more. */
void io_watch(struct io_channel *ch, event_fn *read, event_fn *write, void *opaque);
void io_shutdown(struct io_channel *ch, int how);

/* In a coroutine. io_read: at least 1 byte, 0 at the end. io_read_all: false and *error if fewer come. */
ssize_t io_read(struct io_channel *ch, void *data, size_t size, GError **error);
bool io_read_all(struct io_channel *ch, void *data, size_t size, GError **error);
bool io_write_all(struct io_channel *ch, const void *data, size_t size, GError **error);
bool io_writev_all(struct io_channel *ch, const struct iovec *iov, size_t n, GError **error);

/* A descriptor (pipe, pty, file, character device); made non-blocking; owned. */
struct io_channel *io_channel_fd_new(struct event_loop *loop, int fd);
/* A connected socket; owned. Passes descriptors if it is a unix one. */
struct io_channel *io_channel_socket_new(struct event_loop *loop, int fd);
/* In a coroutine: the handshake. below gets a reference. See crypto/tls.h for the arguments. */
struct io_channel *io_channel_tls_new(struct io_channel *below, struct object *creds, bool server,
                                      const char *hostname, const char *authz, GError **error);
/* In a coroutine: the server's handshake (RFC 6455); the stream is the binary frames' contents. */
struct io_channel *io_channel_websocket_new(struct io_channel *below, GError **error);

#endif
