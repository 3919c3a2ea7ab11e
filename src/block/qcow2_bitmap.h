/* Persistent dirty bitmaps, as they are stored: what the files qcow2_bitmap*.c share. */
#ifndef NANDU_BLOCK_QCOW2_BITMAP_H
#define NANDU_BLOCK_QCOW2_BITMAP_H

#include "block/dirty_bitmap.h"
#include "block/qcow2.h"

enum { QCOW2_BITMAP_IN_USE = 1, QCOW2_BITMAP_AUTO = 2, QCOW2_BITMAP_EXTRA_COMPATIBLE = 4 };

/* An entry of a bitmap's table: an offset, or 0 with bit 0 saying what all bits of the cluster are.
 */
#define QCOW2_BITMAP_TABLE_RESERVED 0xff000000000001feull

/* An entry of the directory. */
struct qcow2_stored_bitmap {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;      /* QCOW2_BITMAP_... */
    uint8_t type, granularity_bits;
    char *name;
    GBytes *extra; /* NULL: none */
    /* Of one that is in use; else NULL. */
    struct dirty_bitmap *live;
    uint64_t *table;   /* host byte order */
    uint64_t *in_file; /* words as they are in the file; live->n_words. Under qcow2_bitmaps.store */
    _Atomic uint64_t *full; /* bit w: word w has all its bits set, on stable storage */
};
void qcow2_stored_bitmap_free(void *bitmap);

/* Those of an open image (struct qcow2). */
struct qcow2_bitmaps {
    GPtrArray *list; /* struct qcow2_stored_bitmap, owned */
    struct co_mutex store;
    GMutex lock;
    GQueue waiting; /* of requests, for bits on the disk */
};

/* Entries of the table of a bitmap: clusters for its bits. */
static inline uint64_t qcow2_bitmap_entries(const struct qcow2 *q, uint64_t size,
                                            uint64_t granularity)
{
    uint64_t bits = size / granularity + !!(size % granularity);

    return qcow2_clusters(q, (bits + 7) / 8);
}

/* struct qcow2_stored_bitmap, owned by the array. NULL: it can't be read or makes no sense. With lost
 * the entries that make sense, and how many don't, as far as can be seen. */
GPtrArray *co_qcow2_read_directory(struct qcow2 *q, unsigned *lost, GError **error);
/* Caller frees. */
GByteArray *qcow2_format_directory(const GPtrArray *list);

#endif
