/* What formats share: parts of headers, and files that new images are made in. */
#include <errno.h>

#include "block/sparse.h"
#include "qapi/error.h"

bool format_read(const struct block_node *node, struct block_edge *file, uint64_t offset,
                 void *data, size_t bytes, const char *what, GError **error)
{
    int result;

    if (offset > file->node->length || bytes > file->node->length - offset) {
        return block_error(error,
                            "the %s (%zu bytes at offset %" G_GUINT64_FORMAT
                            ") is beyond the end of the "
                            "file",
                            what, bytes, offset);
    }
    result = co_child_read(file, offset, bytes, BLOCK_BUFFER(data, bytes), 0);
    return result >= 0 ||
           block_error(error, "could not read the %s: %s", what, g_strerror(-result));
}

bool co_format_open(struct block_graph *graph, const struct qapi_blockdev_ref *ref,
                    struct format_file *file, GError **error)
{
    if (ref->kind == QAPI_BLOCKDEV_REF_KIND_DEFINITION) {
        file->node = co_block_open(graph, &ref->u.definition, 0, error);
    } else {
        file->node = block_node_find(graph, ref->u.reference, error);
        if (file->node) {
            block_node_ref(file->node);
        }
    }
    if (!file->node) {
        return false;
    }
    file->user = block_user_new(graph, "create", NULL, NULL);
    if (!block_user_attach(file->user, file->node,
                           BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE | BLOCK_PERM_CONSISTENT_READ,
                           BLOCK_PERM_ALL, error) ||
        co_block_truncate(file->user, 0, false, QAPI_PREALLOC_MODE_OFF, 0, error) < 0) {
        return co_format_close(file, false, error);
    }
    return true;
}

bool co_format_write(struct format_file *file, uint64_t offset, const void *data, size_t bytes,
                     GError **error)
{
    int result = 0;

    if (bytes && offset + bytes > block_user_length(file->user) &&
        !co_format_resize(file, offset + bytes, QAPI_PREALLOC_MODE_OFF, error)) {
        return false;
    }
    result = bytes ? co_block_write(file->user, offset, bytes, BLOCK_BUFFER(data, bytes), 0) : 0;
    return result >= 0 || block_error(error, "could not write '%s': %s", file->node->filename,
                                      g_strerror(-result));
}

bool co_format_resize(struct format_file *file, uint64_t size, enum qapi_prealloc_mode prealloc,
                      GError **error)
{
    return co_block_truncate(file->user, size, false, prealloc, 0, error) >= 0;
}

bool co_format_close(struct format_file *file, bool ok, GError **error)
{
    int result = ok ? co_block_flush(file->user) : 0;

    if (result < 0) {
        block_error(error, "could not write '%s': %s", file->node->filename, g_strerror(-result));
    }
    block_user_free(file->user);
    co_block_node_unref(file->node);
    return ok && result >= 0;
}
