/* Channels through TLS (crypto/tls.h) on top of another channel. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <sys/socket.h>

#include "crypto/tls.h"
#include "io/channel.h"

struct tls_channel {
    struct io_channel ch;
    struct io_channel *below;
    struct tls_session *session;
    GError *below_error; /* why the transport failed: more than TLS knows */
    GError *flush_error; /* of what was written, for the next write */
    /* What the last read and the last write stopped for. */
    enum tls_status read_wants, write_wants;
};

/* ---- The transport of the session ---- */

static ssize_t finish(struct tls_channel *tls, ssize_t result, GError *error)
{
    if (result >= 0) {
        return result;
    }
    if (result == IO_WOULD_BLOCK) {
        errno = EAGAIN;
        return -1;
    }
    g_clear_error(&tls->below_error);
    tls->below_error = error;
    errno = error->domain == IO_ERROR && error->code ? error->code : EIO;
    return -1;
}

static ssize_t transport_read(void *opaque, void *data, size_t size)
{
    struct tls_channel *tls = opaque;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    GError *error = NULL;
    ssize_t result = io_try_readv(tls->below, &iov, 1, NULL, &error);

    return finish(tls, result, error);
}

static ssize_t transport_write(void *opaque, const void *data, size_t size)
{
    struct tls_channel *tls = opaque;
    struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
    GError *error = NULL;
    ssize_t result = io_try_writev(tls->below, &iov, 1, NULL, 0, &error);

    return finish(tls, result, error);
}

/* The text that says more: the transport's, if it was that what failed. */
static ssize_t fail(struct tls_channel *tls, GError *tls_error, GError **error)
{
    bool is_transport = g_error_matches(tls_error, TLS_ERROR, GNUTLS_E_PULL_ERROR) ||
                        g_error_matches(tls_error, TLS_ERROR, GNUTLS_E_PUSH_ERROR);

    if (is_transport && tls->below_error) {
        g_error_free(tls_error);
        tls_error = g_steal_pointer(&tls->below_error);
    }
    g_propagate_error(error, tls_error);
    return -1;
}

/* ---- Channel ---- */

static ssize_t tls_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                         GError **error)
{
    struct tls_channel *tls = (struct tls_channel *)ch;
    GError *local = NULL;
    size_t total = 0;
    ssize_t result;

    for (size_t i = 0; i < n; i++) {
        if (iov[i].iov_len == 0) {
            continue;
        }
        result = tls_session_read(tls->session, iov[i].iov_base, iov[i].iov_len, &local);
        if (result < 0 && errno == EAGAIN) {
            tls->read_wants = tls_session_wants(tls->session);
            return total ? (ssize_t)total : IO_WOULD_BLOCK;
        }
        if (result < 0 && total == 0) {
            return fail(tls, local, error);
        }
        if (result <= 0) {
            /* The next read meets the end or the error again. */
            g_clear_error(&local);
            return (ssize_t)total;
        }
        total += (size_t)result;
        if ((size_t)result < iov[i].iov_len) {
            break;
        }
    }
    return (ssize_t)total;
}

static ssize_t tls_writev(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds,
                          size_t n_fds, GError **error)
{
    struct tls_channel *tls = (struct tls_channel *)ch;
    GError *local = NULL;
    size_t total = 0, done;
    ssize_t result;

    if (tls->flush_error) {
        g_propagate_error(error, g_steal_pointer(&tls->flush_error));
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        for (done = 0; done < iov[i].iov_len; done += (size_t)result) {
            result = tls_session_write(tls->session, (char *)iov[i].iov_base + done,
                                       iov[i].iov_len - done, &local);
            if (result < 0 && errno == EAGAIN) {
                tls->write_wants = tls_session_wants(tls->session);
                return total ? (ssize_t)total : IO_WOULD_BLOCK;
            }
            if (result < 0 && total == 0) {
                return fail(tls, local, error);
            }
            if (result < 0) {
                tls->flush_error = local;
                return (ssize_t)total;
            }
            total += (size_t)result;
        }
    }
    tls->write_wants = tls_session_wants(tls->session);
    return (ssize_t)total;
}

static short tls_read_events(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    return tls->read_wants == TLS_WANT_WRITE ? tls->below->ops->write_events(tls->below)
                                             : tls->below->ops->read_events(tls->below);
}

static short tls_write_events(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    return tls->write_wants == TLS_WANT_READ && tls_session_has_unsent(tls->session)
               ? tls->below->ops->read_events(tls->below)
               : tls->below->ops->write_events(tls->below);
}

static bool tls_has_pending(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    return tls_session_pending(tls->session) > 0 ||
           (tls->below->ops->has_pending && tls->below->ops->has_pending(tls->below));
}

static bool below_has_unsent(struct tls_channel *tls)
{
    return tls->below->ops->has_unsent && tls->below->ops->has_unsent(tls->below);
}

static bool tls_has_unsent(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    return tls_session_has_unsent(tls->session) || below_has_unsent(tls);
}

static void tls_flush(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;
    GError *error = NULL;

    if (tls_session_flush(tls->session, &error) == TLS_FAILED) {
        g_clear_error(&tls->flush_error);
        fail(tls, error, &tls->flush_error);
    }
    tls->write_wants = tls_session_wants(tls->session);
    if (below_has_unsent(tls)) {
        tls->below->ops->flush(tls->below);
    }
}

static void tls_shutdown(struct io_channel *ch, int how)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    if (how != SHUT_RD && !ch->shut_write) {
        tls_session_bye(tls->session);
    }
    io_shutdown(tls->below, how);
}

static void tls_free(struct io_channel *ch)
{
    struct tls_channel *tls = (struct tls_channel *)ch;

    if (tls->session && !ch->shut_write) {
        tls_session_bye(tls->session);
    }
    tls_session_free(tls->session);
    io_channel_cover(tls->below, false);
    io_channel_unref(tls->below);
    g_clear_error(&tls->below_error);
    g_clear_error(&tls->flush_error);
    g_free(tls);
}

static const struct io_channel_ops tls_ops = {
    .name = "tls",
    .readv = tls_readv,
    .writev = tls_writev,
    .read_events = tls_read_events,
    .write_events = tls_write_events,
    .has_pending = tls_has_pending,
    .has_unsent = tls_has_unsent,
    .flush = tls_flush,
    .shutdown = tls_shutdown,
    .free = tls_free,
};

static bool handshake(struct tls_channel *tls, GError **error)
{
    GError *local = NULL;

    for (;;) {
        switch (tls_session_handshake(tls->session, &local)) {
        case TLS_DONE: return true;
        case TLS_WANT_READ: io_wait(tls->below, POLLIN); break;
        case TLS_WANT_WRITE: io_wait(tls->below, POLLOUT); break;
        case TLS_FAILED: fail(tls, local, error); return false;
        }
    }
}

struct io_channel *io_channel_tls_new(struct io_channel *below, struct object *creds, bool server,
                                      const char *hostname, const char *authz, GError **error)
{
    struct tls_channel *tls = g_new0(struct tls_channel, 1);
    const struct tls_transport transport = {transport_read, transport_write, tls};

    io_channel_init(&tls->ch, &tls_ops, below->loop, below->fd);
    tls->ch.always_ready = below->always_ready;
    tls->below = io_channel_ref(below);
    tls->read_wants = TLS_WANT_READ;
    tls->write_wants = TLS_WANT_WRITE;
    tls->session = tls_session_new(creds, server, hostname, authz, &transport, error);
    if (!tls->session || !handshake(tls, error)) {
        tls->ch.shut_write = true; /* nothing is to be said any more */
        io_channel_unref(&tls->ch);
        return NULL;
    }
    io_channel_cover(below, true);
    return &tls->ch;
}

const char *io_channel_tls_peer(struct io_channel *ch)
{
    return ch->ops == &tls_ops ? tls_session_peer(((struct tls_channel *)ch)->session) : NULL;
}
