/*
 * Memory that many requests come from: each event loop's io_uring has its pages pinned once. The
 * main thread says what there is; a loop takes notice at its next request from such memory, by a
 * copy of the list that belongs to it, so that requests take no lock.
 */
#include "block/block_priv.h"

enum { MAX_PIECE = 1 << 30 }; /* io_uring's limit */

struct piece {
    uint64_t id; /* of the memory that it is a part of */
    char *data;
    size_t size;
};

struct fixed_piece {
    struct piece piece;
    int index; /* io_uring's; -1: it couldn't be */
    bool gone; /* the ring doesn't have it any more */
};

/* The graph's, and one more reference of each loop. */
struct block_buffers {
    gatomicrefcount refs;
    _Atomic unsigned generation; /* of pieces; 0: there never was one */
    GMutex lock;                 /* of the rest, and of the lists of all loops while they change */
    uint64_t next_id;            /* from 1 on */
    GArray *pieces;              /* struct piece */
    GPtrArray *loops;            /* struct loop_buffers, borrowed */
};

struct loop_buffers {
    struct block_buffers *all;
    struct event_loop *loop; /* not counted: it owns this */
    unsigned generation;
    GArray *fixed; /* struct fixed_piece */
};

/* ---- Life ---- */

struct block_buffers *block_buffers_new(void)
{
    struct block_buffers *b = g_new0(struct block_buffers, 1);

    g_atomic_ref_count_init(&b->refs);
    g_mutex_init(&b->lock);
    b->pieces = g_array_new(false, false, sizeof(struct piece));
    b->loops = g_ptr_array_new();
    return b;
}

void block_buffers_unref(struct block_buffers *b)
{
    if (g_atomic_ref_count_dec(&b->refs)) {
        g_array_unref(b->pieces);
        g_ptr_array_unref(b->loops);
        g_mutex_clear(&b->lock);
        g_free(b);
    }
}

/* ---- What there is; main thread ---- */

void block_register_buffer(struct block_graph *graph, void *data, size_t size)
{
    struct block_buffers *b = graph->buffers;
    uint64_t id;

    g_mutex_lock(&b->lock);
    id = ++b->next_id;
    for (size_t at = 0; at < size; at += MAX_PIECE) {
        struct piece piece = {id, (char *)data + at, MIN(size - at, MAX_PIECE)};

        g_array_append_val(b->pieces, piece);
    }
    atomic_fetch_add(&b->generation, 1);
    g_mutex_unlock(&b->lock);
}

/* The loop's own thread drops it from the list. With the lock held, so that the loop is there. */
static void unfix(const struct loop_buffers *l, uint64_t id)
{
    for (guint i = 0; i < l->fixed->len; i++) {
        struct fixed_piece *fixed = &g_array_index(l->fixed, struct fixed_piece, i);

        if (fixed->piece.id == id && !fixed->gone) {
            fixed->gone = true;
            if (fixed->index >= 0) {
                event_loop_unfix_buffer(l->loop, fixed->index);
            }
        }
    }
}

void block_unregister_buffer(struct block_graph *graph, void *data)
{
    struct block_buffers *b = graph->buffers;
    uint64_t id = 0;

    g_mutex_lock(&b->lock);
    for (guint i = 0; i < b->pieces->len; i++) {
        if (g_array_index(b->pieces, struct piece, i).data == data) {
            id = g_array_index(b->pieces, struct piece, i).id;
        }
    }
    for (guint i = b->pieces->len; i-- > 0;) {
        if (g_array_index(b->pieces, struct piece, i).id == id) {
            g_array_remove_index(b->pieces, i);
        }
    }
    for (guint i = 0; i < b->loops->len; i++) {
        unfix(b->loops->pdata[i], id);
    }
    atomic_fetch_add(&b->generation, 1);
    g_mutex_unlock(&b->lock);
}

/* ---- What a loop knows of it; its thread ---- */

static void loop_buffers_free(void *opaque)
{
    struct loop_buffers *l = opaque;

    g_mutex_lock(&l->all->lock);
    g_ptr_array_remove(l->all->loops, l);
    g_mutex_unlock(&l->all->lock);
    block_buffers_unref(l->all);
    g_array_unref(l->fixed);
    g_free(l);
}

static bool knows(const struct loop_buffers *l, const struct piece *piece)
{
    for (guint i = 0; i < l->fixed->len; i++) {
        const struct piece *known = &g_array_index(l->fixed, struct fixed_piece, i).piece;

        if (known->id == piece->id && known->data == piece->data) {
            return true;
        }
    }
    return false;
}

static void take_notice(struct loop_buffers *l)
{
    struct block_buffers *b = l->all;

    g_mutex_lock(&b->lock);
    for (guint i = l->fixed->len; i-- > 0;) {
        if (g_array_index(l->fixed, struct fixed_piece, i).gone) {
            g_array_remove_index_fast(l->fixed, i);
        }
    }
    for (guint i = 0; i < b->pieces->len; i++) {
        struct fixed_piece fixed = {.piece = g_array_index(b->pieces, struct piece, i)};

        if (!knows(l, &fixed.piece)) {
            fixed.index = event_loop_fix_buffer(l->loop, fixed.piece.data, fixed.piece.size);
            g_array_append_val(l->fixed, fixed);
        }
    }
    l->generation = b->generation;
    g_mutex_unlock(&b->lock);
}

static struct loop_buffers *loop_buffers_get(struct block_buffers *b, struct event_loop *loop)
{
    struct loop_buffers *l = event_loop_local(loop, b);

    if (!l) {
        l = g_new0(struct loop_buffers, 1);
        g_atomic_ref_count_inc(&b->refs);
        l->all = b;
        l->loop = loop;
        l->fixed = g_array_new(false, false, sizeof(struct fixed_piece));
        event_loop_set_local(loop, b, l, loop_buffers_free);
        g_mutex_lock(&b->lock);
        g_ptr_array_add(b->loops, l);
        g_mutex_unlock(&b->lock);
    }
    return l;
}

int block_registered_index(struct block_graph *graph, struct event_loop *loop, const void *data,
                           size_t size)
{
    unsigned generation = atomic_load_explicit(&graph->buffers->generation, memory_order_acquire);
    struct loop_buffers *l;

    if (!generation) {
        return -1;
    }
    l = loop_buffers_get(graph->buffers, loop);
    if (l->generation != generation) {
        take_notice(l);
    }
    for (guint i = 0; i < l->fixed->len; i++) {
        const struct fixed_piece *fixed = &g_array_index(l->fixed, struct fixed_piece, i);
        size_t at = (size_t)((const char *)data - fixed->piece.data);

        if ((const char *)data >= fixed->piece.data && at < fixed->piece.size &&
            size <= fixed->piece.size - at) {
            return fixed->index;
        }
    }
    return -1;
}
