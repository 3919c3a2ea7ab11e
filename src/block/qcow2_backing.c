/* The backing image: another name for it, and giving up everything that hides it. */
#include "block/qcow2.h"

#include <errno.h>
#include <string.h>

enum { MAX_BACKING_NAME = 1023 }; /* spec, Header: bytes 16-19 */

static bool fail(GError **error, int ret)
{
    g_set_error_literal(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                        ret == -ENOSPC ? "No space left in the file header" : g_strerror(-ret));
    return false;
}

bool co_qcow2_change_backing(struct block_node *node, const char *file, const char *format,
                             GError **error)
{
    struct qcow2 *q = node->state;
    char *old_file, *old_format;
    int ret;

    if (file && strlen(file) > MAX_BACKING_NAME) {
        return fail(error, -EINVAL);
    }
    if (file && q->data_file_raw) {
        g_set_error_literal(
            error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
            "The data file is a raw image (data_file_raw): there can't be a backing image");
        return false;
    }
    co_mutex_lock(&q->lock);
    old_file = q->header.backing_file;
    old_format = q->header.backing_format;
    q->header.backing_file = g_strdup(file);
    q->header.backing_format = file ? g_strdup(format) : NULL;
    ret = co_qcow2_write_header(q);
    if (ret < 0) {
        g_free(q->header.backing_file);
        g_free(q->header.backing_format);
        q->header.backing_file = old_file;
        q->header.backing_format = old_format;
    } else {
        g_free(old_file);
        g_free(old_format);
        ret = co_qcow2_flush_file(q);
    }
    co_mutex_unlock(&q->lock);
    if (ret < 0) {
        return fail(error, ret);
    }
    g_free(node->backing_name);
    g_free(node->backing_format);
    node->backing_name = g_strdup(file);
    node->backing_format = file ? g_strdup(format) : NULL;
    return true;
}

bool co_qcow2_make_empty(struct block_node *node, GError **error)
{
    struct qcow2 *q = node->state;
    int ret;

    if (q->data_file_raw) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                            "The data file is a raw image (data_file_raw), which can't be empty");
        return false;
    }
    co_qcow2_event(q, EMPTY_IMAGE_PREPARE);
    co_mutex_lock(&q->lock);
    ret = co_qcow2_unmap(q, 0, q->header.size, QCOW2_DISCARD_REQUEST, true);
    if (ret >= 0) {
        ret = co_qcow2_settle(q);
    }
    co_mutex_unlock(&q->lock);
    return ret < 0 ? fail(error, ret) : true;
}
