/* Driver throttle: a filter whose requests keep to the limits of a throttle-group. */
#include "object/throttle.h"

#include "block/delay.h"
#include "block/driver.h"

struct throttle_state {
    struct object *group;           /* a reference */
};

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_throttle *own = &options->u.throttle;
    struct throttle_state *s = node->state;
    struct object *group;
    struct block_edge *file;

    group = throttle_group_find(block_graph_root(node->graph), own->throttle_group, error);
    if (!group) {
        return false;
    }
    s->group = object_ref(group);
    file = co_block_open_child(node, "file", own->file, BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY,
                               error);
    if (!file) {
        return false;
    }
    node->length = file->node->length;
    node->read_only |= file->node->read_only && node->auto_read_only;
    return true;
}

static void co_close(struct block_node *node)
{
    struct throttle_state *s = node->state;

    g_clear_pointer(&s->group, object_unref);
}

static void wait(struct block_node *node, bool is_write, uint64_t bytes)
{
    const struct throttle_state *s = node->state;

    co_block_throttle(node->graph, s->group, is_write, bytes);
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    wait(node, false, bytes);
    return co_child_read(node->file, offset, bytes, buffer, flags);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    wait(node, true, bytes);
    return co_child_write(node->file, offset, bytes, buffer, flags);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    wait(node, true, bytes);
    return co_child_write_zeroes(node->file, offset, bytes, flags);
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    wait(node, true, bytes);
    return co_child_discard(node->file, offset, bytes);
}

static const struct block_driver throttle = {
    .name = "throttle",
    .kind = QAPI_BLOCKDEV_DRIVER_THROTTLE,
    .is_filter = true,
    .state_size = sizeof(struct throttle_state),
    .co_open = co_open,
    .co_close = co_close,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
};
BLOCK_DRIVER(throttle);
