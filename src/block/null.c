/* Drivers null-co and null-aio: all is done at once, or after a while. For measuring what is
 * above. */
#include "block/driver.h"
#include "qapi/error.h"

enum { DEFAULT_SIZE = 1 << 30 };

struct null_state {
    int64_t latency_ns;
    bool read_zeroes, is_aio;
};

static bool open_null(struct block_node *node, const struct qapi_blockdev_options_null *options,
                      bool is_aio, GError **error)
{
    struct null_state *s = node->state;

    if (options->has_size && options->size < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s: size %" G_GINT64_FORMAT " is negative", node->driver->name, options->size);
        return false;
    }
    if (options->latency_ns > INT64_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: latency-ns is invalid",
                    node->driver->name);
        return false;
    }
    node->length = options->has_size ? (uint64_t)options->size : DEFAULT_SIZE;
    node->supported_write_flags = BLOCK_FUA | BLOCK_UNCHANGED;
    node->supported_zeroes_flags =
        BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    node->filename = g_strdup_printf("%s://", node->driver->name);
    s->latency_ns = (int64_t)options->latency_ns;
    s->read_zeroes = options->read_zeroes;
    s->is_aio = is_aio;
    return true;
}

static bool co_open_co(struct block_node *node, const struct qapi_blockdev_options *options,
                       GError **error)
{
    return open_null(node, &options->u.null_co, false, error);
}

static bool co_open_aio(struct block_node *node, const struct qapi_blockdev_options *options,
                        GError **error)
{
    return open_null(node, &options->u.null_aio, true, error);
}

static int take_time(struct block_node *node)
{
    const struct null_state *s = node->state;

    if (s->latency_ns) {
        co_sleep(s->latency_ns);
    } else if (s->is_aio) {
        coroutine_wake(coroutine_self());
        co_yield ();
    }
    return 0;
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct null_state *s = node->state;

    if (s->read_zeroes) {
        block_buffer_zero(buffer, bytes);
    }
    return take_time(node);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    return take_time(node);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    return take_time(node);
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    return take_time(node);
}

static int co_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    const struct null_state *s = node->state;

    *status = (struct block_status){
        .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED |
                 (s->read_zeroes ? BLOCK_STATUS_ZERO : 0),
        .bytes = bytes,
        .offset = offset,
        .file = node,
    };
    return 0;
}

static int64_t co_allocated_size(struct block_node *node)
{
    return 0;
}

static bool parse_filename(const char *filename, json_object *options, GError **error)
{
    const char *colon = strchr(filename, ':');

    if (g_str_equal(colon, "://")) {
        return true;
    }
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' isn't of the form %.*s://", filename,
                (int)(colon - filename), filename);
    return false;
}

static const char *const protocols_co[] = {"null-co", NULL}, *const protocols_aio[] = {"null-aio",
                                                                                       NULL};

#define NULL_DRIVER(name_, kind_, protocols_, open_)                                         \
    {                                                                                        \
        .name = name_, .kind = kind_, .protocols = protocols_,                               \
        .state_size = sizeof(struct null_state), .parse_filename = parse_filename,           \
        .co_open = open_, .co_read = co_read, .co_write = co_write,                          \
        .co_write_zeroes = co_write_zeroes, .co_discard = co_discard, .co_flush = take_time, \
        .co_status = co_status, .co_allocated_size = co_allocated_size,                      \
    }

static const struct block_driver null_co =
    NULL_DRIVER("null-co", QAPI_BLOCKDEV_DRIVER_NULL_CO, protocols_co, co_open_co);
static const struct block_driver null_aio =
    NULL_DRIVER("null-aio", QAPI_BLOCKDEV_DRIVER_NULL_AIO, protocols_aio, co_open_aio);
BLOCK_DRIVER(null_co);
BLOCK_DRIVER(null_aio);
