#include "machine/unpack.h"

#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "qapi/error.h"

enum { STEP = 4 << 20 };

G_GNUC_PRINTF(2, 3)
static GBytes *fail(GError **error, const char *format, ...)
{
    va_list args;
    g_autofree char *text = NULL;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return NULL;
}

/* Room for STEP more bytes, no more than max + 1 in all (the last one shows that there is too
 * much). */
static size_t make_room(GByteArray *out, guint64 max)
{
    size_t room = (size_t)MIN((guint64)STEP, max + 1 - out->len);

    g_byte_array_set_size(out, out->len + (guint)room);
    return room;
}

static GBytes *finish(GByteArray *out, guint64 max, bool done, const char *format, GError **error)
{
    if (out->len > max) {
        return fail(error, "unpacked it has more than %" G_GUINT64_FORMAT " bytes", max);
    }
    if (!done) {
        return fail(error, "the %s data is damaged or cut off", format);
    }
    return g_byte_array_free_to_bytes(g_byte_array_ref(out));
}

static GBytes *unpack_gzip(const guint8 *data, size_t size, guint64 max, GError **error)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)size};
    int result = inflateInit2(&z, 16 + MAX_WBITS);  /* 16: with gzip's header */

    while (result == Z_OK && out->len <= max) {
        size_t room = make_room(out, max);

        z.next_out = out->data + out->len - room;
        z.avail_out = (uInt)room;
        result = inflate(&z, Z_NO_FLUSH);
        g_byte_array_set_size(out, out->len - z.avail_out);
    }
    inflateEnd(&z);
    return finish(out, max, result == Z_STREAM_END, "gzip", error);
}

static GBytes *unpack_zstd(const guint8 *data, size_t size, guint64 max, GError **error)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {data, size, 0};
    size_t left = 1;

    while (left && !ZSTD_isError(left) && out->len <= max) {
        size_t room = make_room(out, max);
        ZSTD_outBuffer to = {out->data + out->len - room, room, 0};

        left = ZSTD_decompressStream(stream, &to, &in);
        g_byte_array_set_size(out, (guint)(out->len - room + to.pos));
        if (left && to.pos < room && in.pos == in.size) {
            break;
        }
    }
    ZSTD_freeDStream(stream);
    return finish(out, max, left == 0, "zstd", error);
}

/* Linux' drivers/firmware/efi/libstub/zboot-header.S */
struct zboot_header {
    char mz[4], zimg[4];
    guint32 payload_offset, payload_size;
    guint32 reserved[2];
    char compression[32];
};

GBytes *unpack_kernel(GBytes *packed, guint64 max, GError **error)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(packed, &size);
    struct zboot_header header;

    max = MIN(max, (guint64)G_MAXUINT - 1 - STEP);    /* of a GByteArray */
    if (size >= sizeof(header)) {
        memcpy(&header, data, sizeof(header));
        if (memcmp(header.mz, "MZ", 2) == 0 && memcmp(header.zimg, "zimg", 4) == 0) {
            if (header.payload_offset > size ||
                header.payload_size > size - header.payload_offset) {
                return fail(error, "the EFI zboot program is cut off");
            }
            data += header.payload_offset;
            size = header.payload_size;
            if (strncmp(header.compression, "gzip", sizeof(header.compression)) != 0 &&
                strncmp(header.compression, "zstd", sizeof(header.compression)) != 0) {
                return fail(error,
                            "the EFI zboot program is packed by %.32s; gzip and zstd are known",
                            header.compression);
            }
        }
    }
    if (size >= 2 && memcmp(data, "\x1f\x8b", 2) == 0) {
        return unpack_gzip(data, size, max, error);
    }
    if (size >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0) {
        return unpack_zstd(data, size, max, error);
    }
    if (data != g_bytes_get_data(packed, NULL)) {
        return fail(error, "what is in the EFI zboot program is neither gzip nor zstd data");
    }
    return g_bytes_ref(packed);
}
