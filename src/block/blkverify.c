/* Driver blkverify: all requests go to two nodes; what is read from the tested one must be what the
 * other one has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/sparse.h"
#include "util/log.h"

enum { MAX_BOUNCE = 1 << 20 };

struct blkverify {
    struct block_edge *test, *raw;
};

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct blkverify *s = node->state;

    s->raw = co_block_open_child(node, "raw", options->u.blkverify.raw, BLOCK_ROLE_DATA, error);
    if (!s->raw) {
        return false;
    }
    s->test = co_block_open_child(node, "test", options->u.blkverify.test,
                                  BLOCK_ROLE_DATA | BLOCK_ROLE_PRIMARY, error);
    if (!s->test) {
        return false;
    }
    node->length = s->test->node->length;
    node->supported_write_flags = BLOCK_FUA | BLOCK_UNCHANGED;
    node->supported_zeroes_flags = BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_MAY_UNMAP;
    return true;
}

/* They behave the same, or somebody has to look. */
static int judge(struct block_node *node, const char *what, uint64_t offset, uint64_t bytes,
                 int test, int raw)
{
    if ((test < 0) != (raw < 0) || (test < 0 && test != raw)) {
        log_error(object_context(block_graph_root(node->graph))->log,
                  "blkverify: %s offset=%" PRIu64 " bytes=%" PRIu64
                  ": the results differ: %d, and of raw %d",
                  what, offset, bytes, test, raw);
        return -EIO;
    }
    return MIN(test, 0);
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct blkverify *s = node->state;
    uint64_t most = MIN(bytes, MAX_BOUNCE);
    g_autofree uint8_t *test = g_malloc(most), *raw = g_malloc(most);
    int result = 0;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, most), at = 0;
        int raw_result = co_child_read(s->raw, offset, n, BLOCK_BUFFER(raw, n), 0);

        result = judge(node, "read", offset, n,
                       co_child_read(s->test, offset, n, BLOCK_BUFFER(test, n), 0), raw_result);
        if (result >= 0 && memcmp(test, raw, n)) {
            while (test[at] == raw[at]) {
                at++;
            }
            log_error(object_context(block_graph_root(node->graph))->log,
                      "blkverify: read offset=%" PRIu64 " bytes=%" PRIu64
                      ": contents mismatch at offset %" PRIu64,
                      offset, n, offset + at);
            result = -EIO;
        }
        if (result >= 0) {
            block_buffer_from(buffer, test, n);
        }
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    return result;
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    const struct blkverify *s = node->state;
    int test = co_child_write(s->test, offset, bytes, buffer, flags);

    return judge(node, "write", offset, bytes, test,
                 co_child_write(s->raw, offset, bytes, buffer, flags));
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    const struct blkverify *s = node->state;
    int test = co_child_write_zeroes(s->test, offset, bytes, flags);

    return judge(node, "write zeroes", offset, bytes, test,
                 co_child_write_zeroes(s->raw, offset, bytes, flags));
}

static bool parse_filename(const char *filename, json_object *options, GError **error)
{
    const char *raw = filename + strlen("blkverify:"), *test = strchr(raw, ':');
    g_autofree char *raw_name = test ? g_strndup(raw, (gsize)(test - raw)) : NULL;
    json_object *raw_options, *test_options;

    if (!test || !*raw_name || !test[1]) {
        return block_error(
            error, "blkverify requires raw copy and original image path: blkverify:RAW:IMAGE");
    }
    raw_options = json_object_new_object();
    test_options = json_object_new_object();
    json_object_object_add(raw_options, "driver", json_object_new_string("file"));
    json_object_object_add(raw_options, "filename", json_object_new_string(raw_name));
    json_object_object_add(test_options, "driver", json_object_new_string("file"));
    json_object_object_add(test_options, "filename", json_object_new_string(test + 1));
    json_object_object_add(options, "raw", raw_options);
    json_object_object_add(options, "test", test_options);
    return true;
}

static const char *const protocols[] = {"blkverify", NULL};

static const struct block_driver blkverify = {
    .name = "blkverify",
    .kind = QAPI_BLOCKDEV_DRIVER_BLKVERIFY,
    .protocols = protocols,
    .state_size = sizeof(struct blkverify),
    .parse_filename = parse_filename,
    .co_open = co_open,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
};
BLOCK_DRIVER(blkverify);
