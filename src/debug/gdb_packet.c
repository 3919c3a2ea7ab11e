#include "debug/gdb_packet.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GDB_MAX_INPUT = 8 * GDB_PACKET_SIZE, FLUSH_MS = 1000 };

void gdb_conn_init(struct gdb_conn *conn, int fd)
{
    *conn = (struct gdb_conn){
        .fd = fd,
        .in = g_byte_array_new(),
        .sent = g_string_new(NULL),
    };
}

void gdb_conn_init_fed(struct gdb_conn *conn, gdb_write_fn *write, void *opaque)
{
    gdb_conn_init(conn, -1);
    conn->write = write;
    conn->write_opaque = opaque;
}

void gdb_conn_clear(struct gdb_conn *conn)
{
    g_byte_array_unref(conn->in);
    g_string_free(conn->sent, TRUE);
}

bool gdb_conn_feed(struct gdb_conn *conn, const void *data, size_t size)
{
    if (conn->in->len + size > GDB_MAX_INPUT)
        return false;
    g_byte_array_append(conn->in, data, (guint)size);
    return true;
}

bool gdb_conn_fill(struct gdb_conn *conn)
{
    uint8_t buf[4096];
    ssize_t n;

    do {
        n = read(conn->fd, buf, sizeof(buf));
    } while (n < 0 && errno == EINTR);
    return n > 0 && gdb_conn_feed(conn, buf, (size_t)n);
}

static bool write_all(struct gdb_conn *conn, const char *data, size_t size)
{
    if (conn->write)
        return conn->write(conn->write_opaque, data, size);
    while (size) {
        ssize_t n = send(conn->fd, data, size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static uint8_t checksum(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    while (size--)
        sum += *p++;
    return sum;
}

/* The packet that starts at in[0], a '$'. Returns its whole length, 0 if it is not complete. */
static size_t take_packet(struct gdb_conn *conn, GString *packet, bool *good)
{
    const uint8_t *end = memchr(conn->in->data, '#', conn->in->len);
    size_t size;
    int high, low;

    if (!end || (size_t)(end - conn->in->data) + 3 > conn->in->len)
        return 0;
    size = (size_t)(end - conn->in->data) - 1;
    g_string_truncate(packet, 0);
    g_string_append_len(packet, (const char *)conn->in->data + 1, (gssize)size);
    high = g_ascii_xdigit_value((gchar)end[1]);
    low = g_ascii_xdigit_value((gchar)end[2]);
    *good = high >= 0 && low >= 0 && (high << 4 | low) == checksum(packet->str, size);
    return size + 4;
}

enum gdb_input gdb_conn_next(struct gdb_conn *conn, GString *packet, bool interrupt_only)
{
    while (conn->in->len) {
        uint8_t first = conn->in->data[0];
        size_t used = 1;
        bool good = false;

        if (first == '$') {
            if (interrupt_only)
                return GDB_INPUT_NONE;
            used = take_packet(conn, packet, &good);
            if (!used)
                return GDB_INPUT_NONE;
            if (!conn->no_ack)
                write_all(conn, good ? "+" : "-", 1);
        } else if (first == '-' && !conn->no_ack) {
            write_all(conn, conn->sent->str, conn->sent->len);
        }
        g_byte_array_remove_range(conn->in, 0, (guint)used);
        if (first == 0x03)
            return GDB_INPUT_INTERRUPT;
        if (good || (used > 1 && conn->no_ack))
            return GDB_INPUT_PACKET;
    }
    return GDB_INPUT_NONE;
}

bool gdb_conn_send(struct gdb_conn *conn, const char *payload, size_t size)
{
    g_string_assign(conn->sent, "$");
    g_string_append_len(conn->sent, payload, (gssize)size);
    g_string_append_printf(conn->sent, "#%02x", checksum(payload, size));
    return write_all(conn, conn->sent->str, conn->sent->len);
}

void gdb_conn_flush(struct gdb_conn *conn)
{
    struct pollfd p = {.fd = conn->fd, .events = POLLIN};

    if (conn->fd < 0)
        return;
    while (!conn->no_ack && !memchr(conn->in->data, '+', conn->in->len)) {
        if (poll(&p, 1, FLUSH_MS) <= 0 || !gdb_conn_fill(conn))
            break;
    }
}

void gdb_put_hex(GString *out, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < size; i++) {
        g_string_append_c(out, digits[p[i] >> 4]);
        g_string_append_c(out, digits[p[i] & 15]);
    }
}

size_t gdb_get_hex(const char **text, void *data, size_t size)
{
    uint8_t *out = data;
    size_t n = 0;

    for (; n < size; n++) {
        int high = g_ascii_xdigit_value((*text)[0]);
        int low = high < 0 ? -1 : g_ascii_xdigit_value((*text)[1]);

        if (low < 0)
            break;
        out[n] = (uint8_t)(high << 4 | low);
        *text += 2;
    }
    return n;
}

bool gdb_get_number(const char **text, uint64_t *value)
{
    uint64_t v = 0;
    int digit = g_ascii_xdigit_value(**text);

    if (digit < 0)
        return false;
    for (; digit >= 0; digit = g_ascii_xdigit_value(*++*text)) {
        if (v >> 60)
            return false;
        v = v << 4 | (unsigned)digit;
    }
    *value = v;
    return true;
}

bool gdb_get_token(const char **text, const char *token)
{
    if (!g_str_has_prefix(*text, token))
        return false;
    *text += strlen(token);
    return true;
}

void gdb_put_binary(GString *out, const void *data, size_t size)
{
    const char *p = data;

    for (size_t i = 0; i < size; i++) {
        if (p[i] == '$' || p[i] == '#' || p[i] == '}' || p[i] == '*') {
            g_string_append_c(out, '}');
            g_string_append_c(out, p[i] ^ 0x20);
        } else {
            g_string_append_c(out, p[i]);
        }
    }
}

size_t gdb_get_binary(const char *in, size_t in_size, void *data, size_t size)
{
    uint8_t *out = data;
    size_t n = 0;

    for (size_t i = 0; i < in_size && n < size; i++, n++) {
        if (in[i] == '}' && i + 1 < in_size)
            out[n] = (uint8_t)in[++i] ^ 0x20;
        else
            out[n] = (uint8_t)in[i];
    }
    return n;
}

/* Linux number -> the protocol's, for 1 to 31; 143 is "unknown signal". */
static const uint8_t signal_numbers[32] = {
    0,   1,  2,  3,  4,  5,  6,  10, 8,  9,  30, 11, 31, 13, 14, 15,
    143, 20, 19, 17, 18, 21, 22, 16, 24, 25, 26, 27, 28, 23, 32, 12,
};

unsigned gdb_signal_from_linux(unsigned sig)
{
    if (sig < G_N_ELEMENTS(signal_numbers))
        return signal_numbers[sig];
    if (sig == 32 || sig == 64)
        return sig == 32 ? 77 : 78;
    return sig < 64 ? sig + 12 : 143;
}

unsigned gdb_signal_to_linux(unsigned sig)
{
    for (unsigned i = 1; i <= 64; i++) {
        if (gdb_signal_from_linux(i) == sig)
            return i;
    }
    return 0;
}
