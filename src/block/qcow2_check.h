/* What the files of the check share: qcow2_check.c, qcow2_count.c, qcow2_rebuild.c. */
#ifndef NANDU_BLOCK_QCOW2_CHECK_H
#define NANDU_BLOCK_QCOW2_CHECK_H

#include "block/qcow2.h"

/* How often clusters are referred to: pieces of an array, where there is something to count. */
struct qcow2_counts {
    GHashTable *pieces;   /* number -> uint32_t[QCOW2_PIECE] */
    uint64_t max_pieces;  /* what an image of this size on the disk can have with good reason */
    uint64_t last_number; /* the piece that was used last */
    uint32_t *last;
};
enum { QCOW2_PIECE = 4096 };

struct qcow2_checker {
    struct qcow2 *q;
    unsigned fix;
    struct qapi_image_check *result;
    uint64_t file_length, file_clusters;
    struct qcow2_counts counts;
    GHashTable *on_disk; /* clusters that are referred to and have another count on the disk -> that
                            count */
    GArray *l2_tables;   /* struct qcow2_l2_table */
    GHashTable *l2_by_offset; /* -> index in l2_tables + 1 */
    bool rebuild;             /* the refcount structure can't be repaired in place */
    bool too_sparse;
    uint64_t highest;            /* cluster that is in use or counted */
    uint64_t hole_from, hole_to; /* of the file: bytes that are known to be zeroes */
    uint64_t data_from, data_to; /* and not to be */
    uint64_t max_length;         /* up to which the file may be made longer */
    uint64_t extended;           /* references to clusters for which that is to be done */
    GPtrArray *bitmaps;          /* struct checked_bitmap of qcow2_bitmap_check.c */
    int64_t bitmap_errors;       /* of result->corruptions: in bitmaps alone */
    bool new_directory;          /* of bitmaps: some are lost, or the old one isn't its own */
    bool directory_counted;
    uint64_t *l1;                /* the active one, as it is in the file; host byte order */
};

struct qcow2_l2_table {
    uint64_t offset;
    uint32_t times, active_times; /* L1 entries that refer to it; of the active table */
};

/* A line for who checks; to the log if it is the opening of a dirty image that does. */
void qcow2_check_say(struct qcow2_checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* As co_child_read, without reading holes of the file. *zero: all of it is zeroes, and the buffer
 * wasn't written. */
int co_qcow2_check_read(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, void *buffer,
                        bool *zero);

/* ---- qcow2_count.c ---- */

/* The references of everything in the image to clusters; errors are said and counted in result.
 * False: it couldn't be read, or is too large a claim. */
bool co_qcow2_count_all(struct qcow2_checker *c);
/* Of the refcount structure alone. */
bool co_qcow2_count_refcounts(struct qcow2_checker *c);
/* bytes at offset of the file are referred to so many times more. */
void qcow2_count_region(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, uint64_t times);
void qcow2_counts_clear(struct qcow2_checker *c);
uint32_t qcow2_counts_get(struct qcow2_checker *c, uint64_t cluster);
/* The numbers of pieces, ascending. */
GArray *qcow2_counts_pieces(struct qcow2_checker *c);

/* ---- qcow2_rebuild.c ---- */

/* A new refcount table and blocks with the counts, behind the end of the file; the header leads to
 * it. */
int co_qcow2_rebuild_refcounts(struct qcow2_checker *c);
/* Everything in memory is read again. */
bool co_qcow2_check_reload(struct qcow2_checker *c, GError **error);

/* Whether all of a region is referred to so many times as was counted, and isn't part of the
 * refcount structure, which is counted last: what it holds may be written to without harm. */
bool qcow2_is_only(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, uint64_t times);

/* ---- qcow2_bitmap_check.c ---- */

/* The clusters of persistent bitmaps, after all but the refcount structure. */
void co_qcow2_count_bitmaps(struct qcow2_checker *c);
/* Before anything is repaired: if some bitmaps will be dropped, all are void until that is done. */
int co_qcow2_void_bitmaps(struct qcow2_checker *c);
/* Afterwards. repair: with counts that are right, read again; where a part is damaged a bitmap
 * becomes all dirty there, and where that isn't enough it is dropped. Else they are what they were.
 */
int co_qcow2_finish_bitmaps(struct qcow2_checker *c, bool repair);

#endif
