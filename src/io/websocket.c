/* Frames (RFC 6455, 5) and the opening handshake (4.2). */
#include <string.h>

#include "io/channel.h"
#include "io/websocket.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* 1.3 */

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };

/* ---- Frames ---- */

static bool refuse(struct websocket_decoder *d, enum websocket_status status, GError **error,
                   const char *text)
{
    d->status = status;
    io_set_error(error, 0, "WebSocket: %s", text);
    return false;
}

/* The first two bytes are here. */
static bool check_header(struct websocket_decoder *d, GError **error)
{
    unsigned length = d->header[1] & LENGTH;

    d->fin = d->header[0] & FIN;
    d->opcode = d->header[0] & OPCODE;
    if (d->header[0] & RESERVED) {
        return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "frame with reserved bits");
    }
    if (!(d->header[1] & MASKED)) {
        return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "client frames must be masked");
    }
    switch (d->opcode) {
    case WEBSOCKET_CONTINUATION:
        if (!d->in_message) {
            return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "continuation frame out of place");
        }
        return true;
    case WEBSOCKET_BINARY:
        if (d->in_message) {
            return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "message inside another one");
        }
        return true;
    case WEBSOCKET_TEXT:
        return refuse(d, WEBSOCKET_UNSUPPORTED_DATA, error,
                      "only binary websocket frames are supported");
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        if (!d->fin) {
            return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "control frames can't be split");
        }
        if (length > WEBSOCKET_MAX_CONTROL) {
            return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "control frame is too large");
        }
        return true;
    default: return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "unknown kind of frame");
    }
}

static unsigned length_bytes(const struct websocket_decoder *d)
{
    unsigned length = d->header[1] & LENGTH;

    return length == 126 ? 2 : length == 127 ? 8 : 0;
}

/* The whole header is here. */
static bool read_header(struct websocket_decoder *d, GError **error)
{
    unsigned n = length_bytes(d);
    uint64_t length = n ? 0 : d->header[1] & LENGTH;

    for (unsigned i = 0; i < n; i++) {
        length = length << 8 | d->header[2 + i];
    }
    /* 5.2: the highest bit is 0, and the shortest form is used. */
    if (length >> 63 || (n == 2 && length < 126) || (n == 8 && length <= UINT16_MAX)) {
        return refuse(d, WEBSOCKET_PROTOCOL_ERROR, error, "bad length of a frame");
    }
    memcpy(d->mask, d->header + 2 + n, sizeof(d->mask));
    d->mask_at = 0;
    d->left = length;
    d->header_size = 0;
    d->in_payload = true;
    if (d->opcode < WEBSOCKET_CLOSE) {
        d->in_message = !d->fin;
    } else {
        d->control_size = 0;
    }
    return true;
}

/* One more byte of the header. */
static bool take_header(struct websocket_decoder *d, uint8_t byte, GError **error)
{
    d->header[d->header_size++] = byte;
    if (d->header_size == 2 && !check_header(d, error)) {
        return false;
    }
    if (d->header_size >= 2 && d->header_size == 2 + length_bytes(d) + sizeof(d->mask)) {
        return read_header(d, error);
    }
    return true;
}

static void unmask(struct websocket_decoder *d, const uint8_t *in, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i] ^ d->mask[d->mask_at++ & 3];
    }
    d->left -= n;
}

bool websocket_decode(struct websocket_decoder *d, const uint8_t *in, size_t n_in, uint8_t *out,
                      size_t n_out, struct websocket_step *step, GError **error)
{
    size_t n;

    *step = (struct websocket_step){0};
    for (;;) {
        if (d->in_payload && d->left == 0) {
            d->in_payload = false;
            if (d->opcode >= WEBSOCKET_CLOSE) {
                step->control = d->opcode;
                return true;
            }
        }
        n = n_in - step->consumed;
        if (n == 0) {
            return true;
        }
        if (!d->in_payload) {
            if (!take_header(d, in[step->consumed++], error)) {
                return false;
            }
            continue;
        }
        n = MIN(n, d->left);
        if (d->opcode >= WEBSOCKET_CLOSE) {
            unmask(d, in + step->consumed, d->control + d->control_size, n);
            d->control_size += (unsigned)n;
        } else {
            n = MIN(n, n_out - step->produced);
            if (n == 0) {
                return true;
            }
            unmask(d, in + step->consumed, out + step->produced, n);
            step->produced += n;
        }
        step->consumed += n;
    }
}

size_t websocket_header(uint8_t header[WEBSOCKET_MAX_HEADER], enum websocket_opcode opcode,
                        uint64_t length)
{
    unsigned n = length < 126 ? 0 : length <= UINT16_MAX ? 2 : 8;

    header[0] = (uint8_t)(FIN | opcode);
    header[1] = (uint8_t)(n == 0 ? length : n == 2 ? 126 : 127);
    for (unsigned i = 0; i < n; i++) {
        header[2 + i] = (uint8_t)(length >> 8 * (n - 1 - i));
    }
    return 2 + n;
}

/* ---- Opening handshake ---- */

/* The value of a header line, without the space around it; NULL: not this name. */
static char *line_value(const char *line, const char *name)
{
    size_t length = strlen(name);

    if (g_ascii_strncasecmp(line, name, length) != 0 || line[length] != ':') {
        return NULL;
    }
    return g_strstrip(g_strdup(line + length + 1));
}

/* The only value of this name, or NULL. Caller frees. */
static char *find_value(char **lines, const char *name)
{
    g_autofree char *found = NULL;

    for (char **line = lines; *line; line++) {
        g_autofree char *value = line_value(*line, name);

        if (value && found) {
            return NULL;
        }
        if (value) {
            found = g_steal_pointer(&value);
        }
    }
    return g_steal_pointer(&found);
}

/* Whether a line of this name lists the token; *present: whether there is such a line. */
static bool has_token(char **lines, const char *name, const char *token, bool *present)
{
    bool found = false;

    *present = false;
    for (char **line = lines; *line; line++) {
        g_autofree char *value = line_value(*line, name);
        g_auto(GStrv) items = NULL;

        if (!value) {
            continue;
        }
        *present = true;
        items = g_strsplit(value, ",", -1);
        for (char **item = items; *item; item++) {
            found |= g_ascii_strcasecmp(g_strstrip(*item), token) == 0;
        }
    }
    return found;
}

/* What is wrong with the request; NULL: nothing. *key is the client's. */
static const char *check_request(char **lines, char **key, bool *has_protocol)
{
    g_auto(GStrv) words = g_strsplit(lines[0], " ", -1);
    g_autofree char *host = find_value(lines, "Host");
    g_autofree char *version = find_value(lines, "Sec-WebSocket-Version");
    g_autofree guchar *raw_key = NULL;
    gsize raw_size = 0;
    bool present, wants_binary;

    if (g_strv_length(words) != 3 || strcmp(words[0], "GET") != 0) {
        return "the request isn't GET";
    }
    if (strcmp(words[2], "HTTP/1.1") != 0) {
        return "the request isn't HTTP/1.1";
    }
    if (!host) {
        return "the request has no Host";
    }
    if (!has_token(lines, "Connection", "upgrade", &present) ||
        !has_token(lines, "Upgrade", "websocket", &present)) {
        return "the request doesn't ask for a websocket";
    }
    if (!version || strcmp(version, "13") != 0) {
        return "the version isn't 13";
    }
    *key = find_value(lines, "Sec-WebSocket-Key");
    if (*key && strlen(*key) == 24) {
        raw_key = g_base64_decode(*key, &raw_size);
    }
    if (raw_size != 16) {
        return "the request has no valid key";
    }
    wants_binary = has_token(lines, "Sec-WebSocket-Protocol", "binary", has_protocol);
    if (*has_protocol && !wants_binary) {
        return "the client offers no protocol 'binary'";
    }
    return NULL;
}

static char *accept_key(const char *key)
{
    g_autoptr(GChecksum) sha1 = g_checksum_new(G_CHECKSUM_SHA1);
    guint8 digest[20];
    gsize size = sizeof(digest);

    g_checksum_update(sha1, (const guchar *)key, -1);
    g_checksum_update(sha1, (const guchar *)GUID, -1);
    g_checksum_get_digest(sha1, digest, &size);
    return g_base64_encode(digest, size);
}

bool websocket_answer(const char *request, size_t size, char **response, GError **error)
{
    g_autofree char *text = g_strndup(request, size);
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    g_autofree char *key = NULL, *accept = NULL;
    const char *problem;
    bool has_protocol = false;

    problem = lines[0] ? check_request(lines, &key, &has_protocol) : "the request is empty";
    if (problem) {
        *response = g_strdup("HTTP/1.1 400 Bad Request\r\n"
                             "Sec-WebSocket-Version: 13\r\n"
                             "Connection: close\r\n"
                             "Content-Length: 0\r\n\r\n");
        io_set_error(error, 0, "WebSocket: %s", problem);
        return false;
    }
    accept = accept_key(key);
    *response = g_strdup_printf("HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %s\r\n"
                                "%s\r\n",
                                accept, has_protocol ? "Sec-WebSocket-Protocol: binary\r\n" : "");
    return true;
}
