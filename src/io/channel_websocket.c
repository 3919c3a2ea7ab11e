/* Channels through the server's side of WebSocket (io/websocket.h) on top of another channel. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "io/channel.h"
#include "io/websocket.h"

enum {
    MAX_PAYLOAD = 65536, /* of a frame that is sent, bytes */
    MAX_REPLIES = 4096,  /* bytes unsent beyond which pings aren't answered */
};

struct websocket_channel {
    struct io_channel ch;
    struct io_channel *below;
    struct websocket_decoder decoder;
    uint8_t in[4096]; /* read and not decoded yet: n_in bytes from in + in_at */
    size_t in_at, n_in;
    GByteArray *out; /* encoded and not sent yet */
    bool ended;      /* the client's close frame, an error or the end came */
    bool close_sent;
    GError *flush_error; /* for the next write */
};

/* ---- Sending ---- */

static void websocket_flush(struct io_channel *ch)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;
    GError *error = NULL;
    ssize_t n = 0;

    while (ws->out->len > 0) {
        struct iovec iov = {.iov_base = ws->out->data, .iov_len = ws->out->len};

        n = io_try_writev(ws->below, &iov, 1, NULL, 0, &error);
        if (n < 0) {
            break;
        }
        g_byte_array_remove_range(ws->out, 0, (guint)n);
    }
    if (n == -1) {
        g_byte_array_set_size(ws->out, 0);
        g_clear_error(&ws->flush_error);
        ws->flush_error = error;
    } else if (ws->below->ops->flush) {
        ws->below->ops->flush(ws->below);
    }
}

static void put_header(struct websocket_channel *ws, enum websocket_opcode opcode, size_t size)
{
    uint8_t header[WEBSOCKET_MAX_HEADER];

    g_byte_array_append(ws->out, header, (guint)websocket_header(header, opcode, size));
}

static void send_close(struct websocket_channel *ws, enum websocket_status status)
{
    const uint8_t code[2] = {(uint8_t)(status >> 8), (uint8_t)status};

    if (!ws->close_sent) {
        ws->close_sent = true;
        put_header(ws, WEBSOCKET_CLOSE, sizeof(code));
        g_byte_array_append(ws->out, code, sizeof(code));
    }
}

static ssize_t websocket_writev(struct io_channel *ch, const struct iovec *iov, size_t n,
                                const int *fds, size_t n_fds, GError **error)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;
    size_t total = 0, left;

    if (ws->flush_error) {
        g_propagate_error(error, g_steal_pointer(&ws->flush_error));
        return -1;
    }
    if (ws->close_sent) {
        io_set_error(error, EPIPE, "The websocket is closed");
        return -1;
    }
    if (ws->out->len > 0) {
        websocket_flush(ch);
        if (ws->out->len > 0) {
            return IO_WOULD_BLOCK;
        }
    }
    for (size_t i = 0; i < n; i++) {
        total = MIN(MAX_PAYLOAD, total + MIN(iov[i].iov_len, MAX_PAYLOAD));
    }
    if (total == 0) {
        return 0;
    }
    put_header(ws, WEBSOCKET_BINARY, total);
    left = total;
    for (size_t i = 0; left > 0; i++) {
        size_t size = MIN(left, iov[i].iov_len);

        g_byte_array_append(ws->out, iov[i].iov_base, (guint)size);
        left -= size;
    }
    websocket_flush(ch);
    return (ssize_t)total;
}

/* ---- Receiving ---- */

static void handle_control(struct websocket_channel *ws, enum websocket_opcode opcode)
{
    const struct websocket_decoder *d = &ws->decoder;

    if (opcode == WEBSOCKET_PING && !ws->close_sent && ws->out->len < MAX_REPLIES) {
        put_header(ws, WEBSOCKET_PONG, d->control_size);
        g_byte_array_append(ws->out, d->control, d->control_size);
    } else if (opcode == WEBSOCKET_CLOSE) {
        ws->ended = true;
        send_close(ws, WEBSOCKET_NORMAL_CLOSURE);
    }
}

/* Decodes what is in ws->in: bytes, or -1. */
static ssize_t decode(struct websocket_channel *ws, uint8_t *out, size_t size, GError **error)
{
    struct websocket_step step;
    size_t total = 0;
    bool ok = true;

    while (ok && ws->n_in > 0 && !ws->ended && total < size) {
        ok = websocket_decode(&ws->decoder, ws->in + ws->in_at, ws->n_in, out + total, size - total,
                              &step, error);
        ws->in_at += step.consumed;
        ws->n_in -= step.consumed;
        total += step.produced;
        if (step.control) {
            handle_control(ws, step.control);
        } else if (step.consumed == 0) {
            break;
        }
    }
    if (!ok) {
        ws->ended = true;
        send_close(ws, ws->decoder.status);
    }
    if (ws->out->len > 0) {
        websocket_flush(&ws->ch);
    }
    return ok ? (ssize_t)total : -1;
}

static ssize_t websocket_readv(struct io_channel *ch, const struct iovec *iov, size_t n,
                               GArray *fds, GError **error)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;
    struct iovec raw = {.iov_base = ws->in, .iov_len = sizeof(ws->in)};
    ssize_t result;

    /* The first vector is enough: what doesn't fit is read next time. */
    while (n > 0 && iov->iov_len == 0) {
        iov++;
        n--;
    }
    if (n == 0) {
        return 0;
    }
    for (;;) {
        result = decode(ws, iov->iov_base, iov->iov_len, error);
        if (result != 0 || ws->ended) {
            return result;
        }
        result = io_try_readv(ws->below, &raw, 1, NULL, error);
        if (result <= 0) {
            ws->ended = result == 0;
            return result;
        }
        ws->in_at = 0;
        ws->n_in = (size_t)result;
    }
}

static short websocket_read_events(struct io_channel *ch)
{
    struct io_channel *below = ((struct websocket_channel *)ch)->below;

    return below->ops->read_events(below);
}

static short websocket_write_events(struct io_channel *ch)
{
    struct io_channel *below = ((struct websocket_channel *)ch)->below;

    return below->ops->write_events(below);
}

static bool websocket_has_pending(struct io_channel *ch)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;

    return ws->n_in > 0 || ws->ended ||
           (ws->below->ops->has_pending && ws->below->ops->has_pending(ws->below));
}

static bool websocket_has_unsent(struct io_channel *ch)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;

    return ws->out->len > 0 ||
           (ws->below->ops->has_unsent && ws->below->ops->has_unsent(ws->below));
}

static void websocket_shutdown(struct io_channel *ch, int how)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;

    if (how != SHUT_RD && !ch->shut_write) {
        send_close(ws, WEBSOCKET_NORMAL_CLOSURE);
        websocket_flush(ch);
    }
    io_shutdown(ws->below, how);
}

static void websocket_free(struct io_channel *ch)
{
    struct websocket_channel *ws = (struct websocket_channel *)ch;

    if (!ch->shut_write) {
        send_close(ws, WEBSOCKET_NORMAL_CLOSURE);
        websocket_flush(ch);
    }
    io_channel_cover(ws->below, false);
    io_channel_unref(ws->below);
    g_byte_array_unref(ws->out);
    g_clear_error(&ws->flush_error);
    g_free(ws);
}

static const struct io_channel_ops websocket_ops = {
    .name = "websocket",
    .readv = websocket_readv,
    .writev = websocket_writev,
    .read_events = websocket_read_events,
    .write_events = websocket_write_events,
    .has_pending = websocket_has_pending,
    .has_unsent = websocket_has_unsent,
    .flush = websocket_flush,
    .shutdown = websocket_shutdown,
    .free = websocket_free,
};

/* Reads the request to its empty line; what comes behind it is left in ws->in. */
static bool handshake(struct websocket_channel *ws, GError **error)
{
    static const char end[] = "\r\n\r\n";
    g_autofree char *response = NULL;
    const uint8_t *found = NULL;
    size_t size = 0, request;
    ssize_t n;
    bool ok;

    G_STATIC_ASSERT(WEBSOCKET_MAX_REQUEST <= sizeof(ws->in));
    while (!found) {
        if (size == WEBSOCKET_MAX_REQUEST) {
            io_set_error(error, 0, "WebSocket: the request is longer than %d bytes",
                         WEBSOCKET_MAX_REQUEST);
            return false;
        }
        n = io_read(ws->below, ws->in + size, WEBSOCKET_MAX_REQUEST - size, error);
        if (n == 0) {
            io_set_error(error, 0, "WebSocket: the connection ended within the request");
        }
        if (n <= 0) {
            return false;
        }
        size += (size_t)n;
        found = memmem(ws->in, size, end, strlen(end));
    }
    request = (size_t)(found - ws->in) + strlen(end);
    ok = websocket_answer((const char *)ws->in, request, &response, error);
    ws->in_at = request;
    ws->n_in = size - request;
    /* Which client hears why isn't worth another error. */
    return io_write_all(ws->below, response, strlen(response), ok ? error : NULL) && ok;
}

struct io_channel *io_channel_websocket_new(struct io_channel *below, GError **error)
{
    struct websocket_channel *ws = g_new0(struct websocket_channel, 1);

    io_channel_init(&ws->ch, &websocket_ops, below->loop, below->fd);
    ws->ch.always_ready = below->always_ready;
    ws->below = io_channel_ref(below);
    ws->out = g_byte_array_new();
    if (!handshake(ws, error)) {
        ws->ch.shut_write = true; /* no frames without a handshake */
        io_channel_unref(&ws->ch);
        return NULL;
    }
    io_channel_cover(below, true);
    return &ws->ch;
}
