/* Pieces of tables in files: the least recently used one makes place. */
#include <errno.h>

#include "block/sparse.h"

enum { PIECE = 16384, MAX_PIECES = 1024 };

struct key {
    struct block_edge *file;
    uint64_t number; /* of the piece in it */
};

struct piece {
    struct key key;
    GList link; /* in used */
    uint8_t data[PIECE];
};

struct table_cache {
    GHashTable *pieces; /* struct key -> struct piece, which it owns */
    GQueue used;        /* struct piece, the latest first */
};

static guint hash(gconstpointer data)
{
    const struct key *key = data;

    return (guint)(key->number * 2654435761u) ^ g_direct_hash(key->file);
}

static gboolean equal(gconstpointer a, gconstpointer b)
{
    const struct key *x = a, *y = b;

    return x->file == y->file && x->number == y->number;
}

struct table_cache *table_cache_new(void)
{
    struct table_cache *cache = g_new0(struct table_cache, 1);

    cache->pieces = g_hash_table_new_full(hash, equal, NULL, g_free);
    g_queue_init(&cache->used);
    return cache;
}

void table_cache_drop(struct table_cache *cache)
{
    g_hash_table_remove_all(cache->pieces);
    g_queue_init(&cache->used);
}

void table_cache_free(struct table_cache *cache)
{
    if (cache) {
        g_hash_table_unref(cache->pieces);
        g_free(cache);
    }
}

static int co_load(struct table_cache *cache, struct key key, struct piece **loaded)
{
    struct piece *piece = g_new(struct piece, 1);
    int result =
        co_child_read(key.file, key.number * PIECE, PIECE, BLOCK_BUFFER(piece->data, PIECE), 0);

    if (result < 0) {
        g_free(piece);
        return result;
    }
    if (g_hash_table_size(cache->pieces) >= MAX_PIECES) {
        struct piece *oldest = g_queue_pop_tail_link(&cache->used)->data;

        g_hash_table_remove(cache->pieces, &oldest->key);
    }
    piece->key = key;
    piece->link = (GList){.data = piece};
    g_queue_push_head_link(&cache->used, &piece->link);
    g_hash_table_insert(cache->pieces, &piece->key, piece);
    *loaded = piece;
    return 0;
}

int co_table_read(struct table_cache *cache, struct block_edge *file, uint64_t offset, void *data,
                  size_t bytes)
{
    uint8_t *to = data;

    while (bytes) {
        struct key key = {file, offset / PIECE};
        size_t skip = offset % PIECE, n = MIN(bytes, PIECE - skip);
        struct piece *piece = g_hash_table_lookup(cache->pieces, &key);

        if (!piece) {
            int result = co_load(cache, key, &piece);

            if (result < 0) {
                return result;
            }
        } else if (cache->used.head != &piece->link) {
            g_queue_unlink(&cache->used, &piece->link);
            g_queue_push_head_link(&cache->used, &piece->link);
        }
        memcpy(to, piece->data + skip, n);
        to += n;
        offset += n;
        bytes -= n;
    }
    return 0;
}

int co_table_write(struct table_cache *cache, struct block_edge *file, uint64_t offset,
                   const void *data, size_t bytes)
{
    int result = co_child_write(file, offset, bytes, BLOCK_BUFFER(data, bytes), 0);
    const uint8_t *from = data;

    while (bytes) {
        struct key key = {file, offset / PIECE};
        size_t skip = offset % PIECE, n = MIN(bytes, PIECE - skip);
        struct piece *piece = g_hash_table_lookup(cache->pieces, &key);

        if (piece && result >= 0) {
            memcpy(piece->data + skip, from, n);
        } else if (piece) {
            /* Nobody knows what is in the file now. */
            g_queue_unlink(&cache->used, &piece->link);
            g_hash_table_remove(cache->pieces, &key);
        }
        from += n;
        offset += n;
        bytes -= n;
    }
    return MIN(result, 0);
}
