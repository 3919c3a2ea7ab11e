/* blockdev-reopen: other options of an open image, read-only to read-write and back. */
#include "block/qcow2.h"

#include <string.h>

#include "util/log.h"

/* What changes: a struct qcow2 of which only what qcow2_take_options sets is used. */
struct pending {
    struct qcow2 new_one;
    bool read_only;
};

static bool co_prepare(struct qcow2 *q, struct pending *p,
                       const struct qapi_blockdev_options_qcow2 *o, GError **error)
{
    int ret;

    if (!p->read_only && q->header.incompatible & QCOW2_INCOMPAT_CORRUPT) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "qcow2: Image is corrupt; cannot be opened read/write");
        return false;
    }
    if (!qcow2_take_options(&p->new_one, o, error)) {
        return false;
    }
    if (q->node->read_only || q->broken) {
        return true;
    }
    /* What is to be written is, while it can be; the tables in memory go with the old caches. */
    if (p->read_only) {
        co_qcow2_bitmaps_close(q);
    }
    co_mutex_lock(&q->lock);
    ret = co_qcow2_settle(q);
    if (ret == 0 && q->dirty && (p->read_only || !p->new_one.lazy_refcounts)) {
        ret = co_qcow2_set_incompatible(q, 0, QCOW2_INCOMPAT_DIRTY);
    }
    co_mutex_unlock(&q->lock);
    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "Could not write metadata: %s", g_strerror(-ret));
    }
    return ret == 0;
}

static void pending_free(struct pending *p)
{
    qcow2_cache_free(p->new_one.l2_cache);
    qcow2_cache_free(p->new_one.refcount_cache);
    g_free(p);
}

bool co_qcow2_reopen_prepare(struct block_node *node, const struct qapi_blockdev_options *options,
                             bool read_only, void **result, GError **error)
{
    struct qcow2 *q = node->state;
    struct pending *p = g_new0(struct pending, 1);

    p->read_only = read_only;
    p->new_one = (struct qcow2){
        .node = node,
        .header = q->header,
        .cluster_bits = q->cluster_bits,
        .cluster_size = q->cluster_size,
        .l2_entry_size = q->l2_entry_size,
    };
    if (!co_prepare(q, p, &options->u.qcow2, error)) {
        pending_free(p);
        return false;
    }
    *result = p;
    return true;
}

void co_qcow2_reopen_commit(struct block_node *node, void *pending)
{
    struct qcow2 *q = node->state;
    struct pending *p = pending;
    struct qcow2_cache *l2 = q->l2_cache, *refcounts = q->refcount_cache;
    g_autoptr(GError) error = NULL;

    co_qcow2_stop_trimming(q);
    co_mutex_lock(&q->lock);
    g_mutex_lock(&q->tables);
    q->l2_cache = p->new_one.l2_cache;
    q->refcount_cache = p->new_one.refcount_cache;
    qcow2_cache_set_owner(q->l2_cache, q);
    qcow2_cache_set_owner(q->refcount_cache, q);
    p->new_one.l2_cache = l2;
    p->new_one.refcount_cache = refcounts;
    q->slice_bits = p->new_one.slice_bits;
    q->overlap_checks = p->new_one.overlap_checks;
    q->lazy_refcounts = p->new_one.lazy_refcounts;
    q->discard_no_unref = p->new_one.discard_no_unref;
    q->trim_interval = p->new_one.trim_interval;
    memcpy(q->discard_passthrough, p->new_one.discard_passthrough, sizeof(q->discard_passthrough));
    /* The node's own option is in force only now. */
    q->discard_passthrough[0] = p->new_one.discard_passthrough[3]
                                    ? q->discard_passthrough[0]
                                    : node->discard == QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    g_hash_table_remove_all(q->metadata);
    g_mutex_unlock(&q->tables);
    qcow2_metadata_load(q);
    co_mutex_unlock(&q->lock);
    if (!co_qcow2_start_writing(q, &error)) {
        log_warn(object_context(block_graph_root(node->graph))->log,
                 "qcow2: %s: %s; nothing is written", node->name, error->message);
        q->broken = true;
    }
    qcow2_start_trimming(q);
    pending_free(p);
}

void co_qcow2_reopen_abort(struct block_node *node, void *pending)
{
    (void)node;
    pending_free(pending);
}
