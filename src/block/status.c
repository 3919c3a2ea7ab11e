/* What is where: block status, along the graph. Any event loop. */
#include <errno.h>

#include "block/block_priv.h"

static int of_driver(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    struct block_edge *filtered = block_node_filtered(node);
    uint64_t mask = node->limits.request_align - 1, start = offset & ~mask, skip = offset - start;
    int result;

    if (!node->driver->co_status) {
        if (filtered) {
            return co_node_status(filtered->node, offset, bytes, status);
        }
        *status = (struct block_status){
            .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
            .bytes = bytes,
        };
        if (!node->children->len) {
            status->flags |= BLOCK_STATUS_OFFSET;
            status->offset = offset;
            status->file = node;
        }
        return 0;
    }
    result = node->driver->co_status(node, start, (bytes + skip + mask) & ~mask, status);
    if (result >= 0) {
        status->offset += status->flags & BLOCK_STATUS_OFFSET ? skip : 0;
        status->bytes = MIN(status->bytes > skip ? status->bytes - skip : 0, bytes);
    }
    return result;
}

/* Data of a format may be a hole in its file. */
static void look_below(struct block_status *status)
{
    struct block_status below;

    if (co_node_status(status->file, status->offset, status->bytes, &below) >= 0 && below.bytes) {
        if (below.flags & BLOCK_STATUS_EOF && !(below.flags & BLOCK_STATUS_ZERO) &&
            below.bytes < status->bytes) {
            return; /* a broken image: reads beyond the end of the file */
        }
        if (below.flags & BLOCK_STATUS_ZERO) {
            status->flags |= BLOCK_STATUS_ZERO;
            status->bytes = MIN(status->bytes, below.bytes);
        } else if (below.bytes < status->bytes) {
            status->bytes = below.bytes;
        }
    }
}

int co_node_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_status *status)
{
    uint64_t length = node->length;
    int result;

    *status = (struct block_status){.flags = BLOCK_STATUS_EOF};
    if (offset >= length) {
        return 0;
    }
    bytes = MIN(bytes, length - offset);
    if (!bytes) {
        status->flags = 0;
        return 0;
    }
    result = of_driver(node, offset, bytes, status);
    if (result < 0) {
        return result;
    }
    if (!status->bytes) {
        return -EIO; /* the driver's promise, which the callers' loops need */
    }
    if ((status->flags & (BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO)) ==
            (BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA) &&
        status->file && status->file != node) {
        look_below(status);
    }
    status->flags = (status->flags & ~(unsigned)BLOCK_STATUS_EOF) |
                    (offset + status->bytes == length ? BLOCK_STATUS_EOF : 0);
    return result;
}

static struct block_edge *next_below(const struct block_node *node)
{
    struct block_edge *filtered = block_node_filtered(node);

    return filtered ? filtered : node->backing;
}

int co_node_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
                         uint64_t bytes, struct block_status *status)
{
    struct block_node *top = node;
    unsigned end_flag = 0;
    int result = 0;

    *status = (struct block_status){.bytes = bytes};
    while (node != base) {
        struct block_edge *below = next_below(node);

        result = co_node_status(node, offset, bytes, status);
        if (result < 0) {
            return result;
        }
        if (node == top) {
            end_flag = status->flags & BLOCK_STATUS_EOF;
            bytes = end_flag ? status->bytes : bytes;
        }
        if (!status->bytes) {
            if (node == top) {
                return 0;
            }
            /* A backing image that is shorter: zeroes from here on. */
            *status = (struct block_status){
                .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
                .bytes = bytes,
            };
            break;
        }
        if (status->flags & BLOCK_STATUS_ALLOCATED) {
            break;
        }
        if (status->bytes < bytes) {
            bytes = status->bytes;
            end_flag = 0;
        }
        if (!below) {
            break;
        }
        node = below->node;
    }
    if (status->bytes < bytes) {
        end_flag = 0;
    }
    status->flags = (status->flags & ~(unsigned)BLOCK_STATUS_EOF) | end_flag;
    return result;
}
