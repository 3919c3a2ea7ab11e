/* ringbuf: the last bytes of the output, in memory, for ringbuf-read. */
#include "chardev/backend.h"

#include <string.h>

#include "qapi/qapi_commands.h"

#define DEFAULT_SIZE 65536

struct ringbuf_backend {
    struct chardev_backend base;
    uint8_t *data;
    size_t size;           /* bytes, a power of two */
    size_t written, taken; /* bytes ever; the difference is what is there */
};

static bool ringbuf_open(struct chardev_backend *b, const struct chardev_setup *setup,
                         GError **error)
{
    struct ringbuf_backend *s = (struct ringbuf_backend *)b;
    const struct qapi_chardev_ringbuf *config = setup->config->u.ringbuf.data;
    int64_t size = config->has_size ? config->size : DEFAULT_SIZE;

    if (size <= 0 || size & (size - 1)) {
        return chardev_error(error, "size of ringbuf chardev must be power of two");
    }
    s->data = g_try_malloc(size);
    if (!s->data) {
        return chardev_error(error, "there is no memory for a ringbuf of %" PRId64 " bytes", size);
    }
    s->size = size;
    chardev_set_filename(b, "%s",
                         qapi_enum_name(&qapi_type_chardev_backend_kind, setup->config->type));
    chardev_opened(b);
    return true;
}

static ssize_t ringbuf_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct ringbuf_backend *s = (struct ringbuf_backend *)b;
    const uint8_t *from = data;
    size_t rest = size;

    while (rest) {
        size_t at = s->written & (s->size - 1);
        size_t n = MIN(rest, s->size - at);

        memcpy(s->data + at, from, n);
        s->written += n;
        from += n;
        rest -= n;
    }
    if (s->written - s->taken > s->size) {
        s->taken = s->written - s->size;
    }
    return size;
}

static GByteArray *ringbuf_take(struct ringbuf_backend *s, size_t size)
{
    GByteArray *bytes = g_byte_array_new();

    size = MIN(size, s->written - s->taken);
    while (size) {
        size_t at = s->taken & (s->size - 1);
        size_t n = MIN(size, s->size - at);

        g_byte_array_append(bytes, s->data + at, n);
        s->taken += n;
        size -= n;
    }
    return bytes;
}

static void ringbuf_close(struct chardev_backend *b)
{
    g_free(((struct ringbuf_backend *)b)->data);
}

static const struct chardev_backend_ops ringbuf_ops = {
    .size = sizeof(struct ringbuf_backend),
    .open = ringbuf_open,
    .close = ringbuf_close,
    .write = ringbuf_write,
};

static const struct object_type chardev_ringbuf_type = {
    .name = "chardev-ringbuf",
    .parent = "chardev",
    .description = "ring buffer in memory",
    .class_data = &ringbuf_ops,
};
OBJECT_TYPE(chardev_ringbuf_type);

static const struct object_type chardev_memory_type = {
    .name = "chardev-memory",
    .parent = "chardev-ringbuf",
    .description = "ring buffer in memory",
};
OBJECT_TYPE(chardev_memory_type);

static struct chardev *find_ringbuf(struct qmp_context *ctx, const char *id, GError **error)
{
    struct chardev *chr = chardev_find(ctx->root, id);

    if (!chr) {
        chardev_error(error, "Device '%s' not found", id);
        return NULL;
    }
    if (chr->backend->ops != &ringbuf_ops || chr->backend->closed) {
        chardev_error(error, "%s is not a ringbuf device", id);
        return NULL;
    }
    return chr;
}

bool qmp_ringbuf_write(struct qmp_context *ctx, const struct qapi_ringbuf_write_arg *arg,
                       GError **error)
{
    struct chardev *chr = find_ringbuf(ctx, arg->device, error);
    g_autofree uint8_t *decoded = NULL;
    gsize size;

    if (!chr) {
        return false;
    }
    if (!arg->has_format || arg->format == QAPI_DATA_FORMAT_UTF8) {
        ringbuf_write(chr->backend, arg->data, strlen(arg->data));
        return true;
    }
    if (strspn(arg->data,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n") !=
        strlen(arg->data)) {
        return chardev_error(error, "Parameter 'data' has characters that Base64 doesn't have");
    }
    decoded = g_base64_decode(arg->data, &size);
    ringbuf_write(chr->backend, decoded, size);
    return true;
}

bool qmp_ringbuf_read(struct qmp_context *ctx, const struct qapi_ringbuf_read_arg *arg, char **ret,
                      GError **error)
{
    struct chardev *chr = find_ringbuf(ctx, arg->device, error);
    g_autoptr(GByteArray) bytes = NULL;

    if (!chr) {
        return false;
    }
    if (arg->size <= 0) {
        return chardev_error(error, "size must be greater than zero");
    }
    bytes = ringbuf_take((struct ringbuf_backend *)chr->backend, arg->size);
    if (arg->has_format && arg->format == QAPI_DATA_FORMAT_BASE64) {
        *ret = g_base64_encode(bytes->data, bytes->len);
    } else {
        *ret = bytes->len ? g_utf8_make_valid((const char *)bytes->data, bytes->len) : g_strdup("");
    }
    return true;
}
