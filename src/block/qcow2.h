/*
 * qcow2 images, versions 2 and 3 (the published specification, docs/interop/qcow2 of QEMU; "spec"
 * below).
 *
 *   qcow2.c           the driver: options, open, close, limits, information
 *   qcow2_header.c    header and its extensions, read and written
 *   qcow2_io.c        guest reads and writes
 *   qcow2_cluster.c   L1 and L2: from guest to host offsets, allocation, copy on write, zeroes, discard
 *   qcow2_refcount.c  reference counts: allocation and release of clusters
 *   qcow2_cache.c     L2 slices and refcount blocks in memory
 *   qcow2_overlap.c   which clusters are metadata, that nothing else may be written to
 *   qcow2_order.c     in which order metadata gets to the disk
 *   qcow2_check.c     check and repair; qcow2_count.c: what refers to clusters; qcow2_rebuild.c: new refcounts
 *   qcow2_bitmap_check.c    the same of persistent dirty bitmaps
 *   qcow2_bitmap.c    persistent dirty bitmaps, valid at each moment; qcow2_bitmap_format.c: their directory
 *   qcow2_bitmap_resize.c   the same bitmaps of an image that gets another size
 *   qcow2_create.c, _amend.c, _downgrade.c, _backing.c, _reopen.c, _snapshot.c, _compress.c, _crypt.c
 *
 * Order on the disk. Whatever is lost when the host stops, an image refers to no cluster that it
 * doesn't count, and to no cluster whose contents aren't there; clusters that are counted and not
 * used (leaks) may remain.
 *
 *   - Counts go up in memory when a cluster is allocated, and down only by qcow2_free, which puts the cluster on a
 *     list. They go down after what referred to it is gone from the disk, and after all requests have ended that
 *     may still hold its offset (they began before). So no cluster gets a new meaning too early.
 *   - co_qcow2_write_back writes what is dirty:
 *         refcount blocks  |  refcount table  |  L2 slices  |  L1 table       then: applies the list of frees
 *     with a flush of the file at each | if something before it was written, and copied data before the L2 slices.
 *   - What is replaced as a whole (L1, refcount table, snapshot table, bitmap directory) is written elsewhere first,
 *     flushed, and then the header is changed, which is one sector.
 * With lazy refcounts the image is marked dirty first, and counts are written whenever it suits.
 *
 * Locks. `lock` (between coroutines) is held by who changes metadata, also while it waits for the
 * disk. `tables` (a short mutex) guards the cached tables themselves, so that a request whose L2
 * slice is in memory looks up where its data is without `lock`: reads and writes of allocated
 * clusters don't wait for a flush. Order: lock, tables.
 */
#ifndef NANDU_BLOCK_QCOW2_H
#define NANDU_BLOCK_QCOW2_H

#include <inttypes.h>
#include <stdatomic.h>

#include "block/driver.h"

enum {
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_V2_HEADER_SIZE = 72,
    QCOW2_V3_HEADER_SIZE = 104,
    QCOW2_MAX_L1_BYTES = 32 << 20,
    QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_BITMAPS = 65535,
    QCOW2_SUBCLUSTERS = 32,
};

/* Features (spec, Header: bytes 72-95). */
enum {
    QCOW2_INCOMPAT_DIRTY = 1,
    QCOW2_INCOMPAT_CORRUPT = 2,
    QCOW2_INCOMPAT_DATA_FILE = 4,
    QCOW2_INCOMPAT_COMPRESSION = 8,
    QCOW2_INCOMPAT_EXTL2 = 16,
    QCOW2_INCOMPAT_ALL = 31,
    QCOW2_COMPAT_LAZY_REFCOUNTS = 1,
    QCOW2_COMPAT_ALL = 1,
    QCOW2_AUTOCLEAR_BITMAPS = 1,
    QCOW2_AUTOCLEAR_DATA_FILE_RAW = 2,
    QCOW2_AUTOCLEAR_ALL = 3,
};

/* Entries of tables. */
#define QCOW2_COPIED        (1ull << 63) /* the count is exactly 1: may be written in place */
#define QCOW2_COMPRESSED    (1ull << 62)
#define QCOW2_ZERO          1ull /* of L2 without subclusters */
#define QCOW2_OFFSET_MASK   0x00fffffffffffe00ull
#define QCOW2_REFTABLE_MASK 0xfffffffffffffe00ull

enum qcow2_crypt { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

struct qcow2_cache;
struct qcow2_allocation;
struct qcow2_bitmaps;
struct qcow2_bitmaps_change;
struct qcow2_crypto;
struct qcow2_snapshot;

/* What is in the header, host byte order. */
struct qcow2_header {
    uint32_t version, cluster_bits, crypt, l1_size, reftable_clusters, n_snapshots;
    uint64_t size, l1_offset, reftable_offset, snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order, length;
    uint8_t compression;
    char *backing_file, *backing_format, *data_file; /* owned; NULL: none */
    uint64_t crypto_offset, crypto_length;           /* of the LUKS header (extension 0x0537be77) */
    uint32_t n_bitmaps;                              /* extension 0x23852875 */
    uint64_t bitmaps_offset, bitmaps_size;
    GPtrArray *unknown;     /* GBytes with type and length: extensions that are kept as they are */
    GBytes *unknown_fields; /* of a header longer than what is known; NULL: none */
};

/* A cluster that nothing refers to any more. */
struct qcow2_free {
    uint64_t offset; /* of the cluster */
    uint64_t n;      /* clusters */
    bool discard;    /* pass it down */
};

struct qcow2 {
    struct block_node *node;
    struct block_edge *file; /* metadata */
    struct block_edge *data; /* data: the same, or the external data file */
    struct qcow2_header header;

    uint32_t cluster_bits;
    uint64_t cluster_size;  /* bytes */
    uint32_t l2_bits;       /* log2 of the entries of an L2 table */
    uint32_t l2_entry_size; /* 8, or 16 with subclusters */
    uint32_t slice_bits;    /* log2 of the entries of a slice of an L2 table */
    uint32_t subclusters;   /* of a cluster: 1 or 32 */
    uint64_t subcluster_size;
    uint32_t refcount_bits; /* width of a count */
    uint64_t refcount_max;
    uint32_t refblock_bits;     /* log2 of the counts of a refcount block */
    bool lazy_refcounts, dirty; /* the latter: as the header says now */
    bool damage_told;           /* some was found, and said */
    bool broken;                /* damage was found: nothing is written any more */
    /* Requests, snapshots, others (enum qcow2_discard); [3]: the first was asked for, and doesn't
     * follow the node's. */
    bool discard_passthrough[4];
    bool discard_no_unref;
    bool data_file_raw;

    struct co_mutex lock;
    GMutex tables;
    uint64_t *l1; /* host byte order, header.l1_size entries */
    bool l1_dirty;
    uint32_t l1_dirty_first, l1_dirty_last; /* entries */
    uint64_t *reftable;                     /* host byte order */
    uint32_t reftable_size;                 /* entries */
    bool reftable_dirty;
    uint32_t reftable_dirty_first, reftable_dirty_last;
    struct qcow2_cache *l2_cache, *refcount_cache;
    /* Written, but perhaps not on the disk: counts, L2 slices, and data that were copied or zeroed
     * around a write. */
    bool counts_unflushed, l2_unflushed, data_unflushed;
    uint64_t write_generation; /* counts what sets one of these */

    uint64_t free_hint;       /* the first cluster number that may be free */
    uint64_t fresh_from;      /* the file has never had data behind this offset */
    uint64_t compressed_next; /* where the next compressed data may go; 0: a new cluster */
    GArray *frees;            /* struct qcow2_free, newest last */
    /* Numbers of frees, counted from the image's opening: of frees' first entry; up to which what
     * referred to the clusters is gone from the file; from the disk; and up to which only requests
     * of the other epoch are waited for. */
    uint64_t frees_first, frees_written, frees_flushed, frees_grace;
    _Atomic uint32_t active[2]; /* requests that began in an even or odd epoch */
    _Atomic uint8_t epoch;
    GQueue allocations; /* struct qcow2_allocation: on the way; under lock */

    struct qcow2_snapshot *snapshots;
    uint32_t n_snapshots;
    uint64_t snapshots_bytes;      /* of their table */
    bool snapshots_damaged;        /* their table makes no sense; only with BLOCK_OPEN_CHECK */
    struct qcow2_bitmaps *bitmaps; /* NULL: none were loaded */
    struct qcow2_crypto *crypto;   /* NULL: not encrypted */
    void *compressors;             /* qcow2_compress.c's threads; NULL: none yet */
    unsigned overlap_checks;       /* bits of enum qcow2_metadata: sorts that writes may not meet */
    GHashTable *metadata;          /* number of a cluster -> its sorts; under tables */
    struct timer *trim_timer; /* cache-clean-interval; NULL: none */
    int64_t trim_interval;    /* ns */
    bool trimming;
    struct co_queue trimmed;
};

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + !!(bytes & (q->cluster_size - 1));
}
/* Entries of an L1 table for a disk of so many bytes. */
static inline uint64_t qcow2_l1_entries(const struct qcow2 *q, uint64_t size)
{
    unsigned shift = q->cluster_bits + q->l2_bits;

    return (size >> shift) + !!(size & ((1ull << shift) - 1));
}
static inline uint64_t qcow2_in_cluster(const struct qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_size - 1);
}

/* What the image is about to do to its file, for blkdebug below it: `event` without its prefix. */
#define co_qcow2_event(q, event) co_block_debug_event((q)->file, QAPI_BLKDEBUG_EVENT_##event)

/* Damage: says so once (event BLOCK_IMAGE_CORRUPTED, the log), sets the corrupt bit if the image is
 * writable, and nothing is written any more if fatal. -EIO. offset, size: -1 if there is no such
 * place. */
int co_qcow2_corrupt(struct qcow2 *q, bool fatal, int64_t offset, int64_t size, const char *format,
                     ...) G_GNUC_PRINTF(5, 6);

/* ---- qcow2_header.c ---- */

/* Reads and checks everything that does not need other tables. */
bool co_qcow2_read_header(struct qcow2 *q, GError **error);
/* Writes q->header with its extensions. -ENOSPC: they don't fit into the first cluster. Flushes
 * nothing. */
int co_qcow2_write_header(struct qcow2 *q);
/* The header as it would be, for a new image; caller frees. NULL: doesn't fit. */
GByteArray *qcow2_format_header(const struct qcow2_header *header, GError **error);
void qcow2_header_clear(struct qcow2_header *header);
/* Sets or clears incompatible bits on the disk, with a flush. */
int co_qcow2_set_incompatible(struct qcow2 *q, uint64_t set, uint64_t clear);

/* ---- qcow2_cache.c; with q->lock, unless it says otherwise ---- */

/* Of n tables of size bytes each. */
struct qcow2_cache *qcow2_cache_new(struct qcow2 *q, size_t size, unsigned n, const char *what);
void qcow2_cache_free(struct qcow2_cache *cache);
/* It was made for another; nothing is in it yet. */
void qcow2_cache_set_owner(struct qcow2_cache *cache, struct qcow2 *q);
/* The table at offset (a multiple of its size), pinned until put; read if it isn't there. -errno.
 */
int co_qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, void **table);
/* The same, full of zeroes and dirty: it was allocated just now. */
int co_qcow2_cache_get_empty(struct qcow2_cache *cache, uint64_t offset, void **table);
void qcow2_cache_put(struct qcow2_cache *cache, void *table);
/* Before the change, in one go with it, no waiting between. */
void qcow2_cache_dirty(struct qcow2_cache *cache, void *table);
/* With q->tables, and no more: the table if it is in memory, else NULL; not to be kept. */
const void *qcow2_cache_peek(struct qcow2_cache *cache, uint64_t offset);
bool qcow2_cache_is_dirty(const struct qcow2_cache *cache);
/* Writes all that is dirty, adjacent tables together. No flush. */
int co_qcow2_cache_write(struct qcow2_cache *cache);
/* Forgets what lies in the range: the clusters were given back. False: somebody uses some of it,
 * which only a damaged image makes happen. */
bool qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t bytes);
/* Forgets all; nothing may be dirty or pinned. */
void qcow2_cache_empty(struct qcow2_cache *cache);
/* Gives the memory of tables back that weren't used since the last call. */
void qcow2_cache_trim(struct qcow2_cache *cache);

/* ---- qcow2_order.c; with q->lock ---- */

/* See above. Everything that was changed is on its way; on the disk only after a flush of the file.
 */
int co_qcow2_write_back(struct qcow2 *q);
/* The file is on stable storage, and what is known of it is. */
int co_qcow2_flush_file(struct qcow2 *q);
/* Writes back, flushes, and applies all frees: no request may be under way (drained). Counts are
 * exact then. */
int co_qcow2_settle(struct qcow2 *q);
/* What the driver's flush does. Takes q->lock. */
int co_qcow2_flush(struct block_node *node);
/* Whether all that L1 and L2 say is on stable storage. Any loop, without q->lock: as it was when
 * those requests ended that the caller knows to have ended. */
bool qcow2_is_stable(struct qcow2 *q);
/* A request that will use host offsets it looked up: between both, none of these clusters gets a
 * new meaning. Any loop, without q->lock. */
unsigned qcow2_request_begin(struct qcow2 *q);
void qcow2_request_end(struct qcow2 *q, unsigned epoch);

/* ---- qcow2_refcount.c; with q->lock ---- */

enum qcow2_discard {
    QCOW2_DISCARD_NEVER,
    QCOW2_DISCARD_ALWAYS,
    QCOW2_DISCARD_REQUEST,
    QCOW2_DISCARD_SNAPSHOT,
    QCOW2_DISCARD_OTHER
};

/* Count number i of a block in memory. Without q->lock. */
uint64_t qcow2_get_count(const struct qcow2 *q, const void *block, uint64_t i);
void qcow2_set_count(const struct qcow2 *q, void *block, uint64_t i, uint64_t count);
/* Reads q->reftable, which must be NULL. */
bool co_qcow2_read_reftable(struct qcow2 *q, GError **error);
/* The count of cluster number i. */
int co_qcow2_refcount(struct qcow2 *q, uint64_t i, uint64_t *count);
/* Adds to the counts of n clusters; -ERANGE: one would be too large for its width, none is changed.
 */
int co_qcow2_refcount_add(struct qcow2 *q, uint64_t i, uint64_t n, uint64_t add);
/* Finds a run of bytes (rounded up to clusters), counts it once. The host offset or -errno (-EFBIG:
 * offsets have 56 bits). */
int64_t co_qcow2_allocate(struct qcow2 *q, uint64_t bytes);
/* The same right there, as many clusters of n as are free: how many, or -errno. */
int64_t co_qcow2_allocate_at(struct qcow2 *q, uint64_t offset, uint64_t n);
/* Room for compressed data, which may share a cluster with others. */
int64_t co_qcow2_allocate_bytes(struct qcow2 *q, uint64_t bytes);
/* One reference less, later (see above). */
void qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_discard kind);
/* Of what an L2 entry refers to. */
void qcow2_free_entry(struct qcow2 *q, uint64_t l2_entry, enum qcow2_discard kind);
/* Counts down n clusters from offset on, now; those that nobody uses any more can be had again. */
int co_qcow2_count_down(struct qcow2 *q, const struct qcow2_free *what);
/* The end of what is in use: bytes. */
int co_qcow2_end(struct qcow2 *q, uint64_t *end);

/* ---- qcow2_overlap.c ---- */

/* Sorts of metadata that a write must not meet (overlap-check). */
enum qcow2_metadata {
    QCOW2_META_HEADER = 1,
    QCOW2_META_ACTIVE_L1 = 2,
    QCOW2_META_ACTIVE_L2 = 4,
    QCOW2_META_REFBLOCK = 8,
    QCOW2_META_REFTABLE = 16,
    QCOW2_META_SNAPSHOT_TABLE = 32,
    QCOW2_META_INACTIVE_L1 = 64,
    QCOW2_META_INACTIVE_L2 = 128,
    QCOW2_META_BITMAP_DIRECTORY = 256,
};
/* Clusters that become metadata, or stop being it. Takes q->tables. */
void qcow2_metadata_add(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_metadata sort);
void qcow2_metadata_remove(struct qcow2 *q, uint64_t offset);
/* All that the header, the L1 and the refcount table refer to. */
void qcow2_metadata_load(struct qcow2 *q);
/* -EIO, and the image is marked corrupt, if bytes at offset of the file are metadata of another
 * sort than ignore. */
int co_qcow2_check_overlap(struct qcow2 *q, unsigned ignore, uint64_t offset, uint64_t bytes);

/* ---- qcow2_cluster.c ---- */

enum qcow2_kind {
    QCOW2_UNALLOCATED,       /* what the backing file has */
    QCOW2_ZERO_PLAIN,        /* zeroes, no host cluster */
    QCOW2_ZERO_ALLOC,        /* zeroes, with a host cluster */
    QCOW2_UNALLOCATED_ALLOC, /* the backing file's, in a cluster that has a host cluster
                                (subclusters) */
    QCOW2_NORMAL,
    QCOW2_COMPRESSED_DATA,
};

/* Where some of the guest's bytes are. */
struct qcow2_extent {
    enum qcow2_kind kind;
    bool copied;    /* NORMAL: may be written in place */
    uint64_t bytes; /* of this kind, contiguous in the file, from the offset asked for */
    uint64_t host;  /* of the offset asked for; COMPRESSED_DATA: of the compressed data */
    uint64_t compressed_bytes; /* at most; COMPRESSED_DATA: bytes is to the end of its cluster */
};

/* From memory, without q->lock: false if the L2 slice isn't there. */
bool qcow2_map_fast(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *extent);
/* With q->lock. -errno: -EIO for damage. */
int co_qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *extent);

/* Clusters on the way from being allocated to being in L2: who writes the same ones waits for it.
 */
struct qcow2_allocation {
    uint64_t offset, bytes; /* of the guest, whole clusters */
    uint64_t host;          /* where they go; contiguous */
    bool new_clusters; /* else host clusters were there, and only subclusters become allocated */
    uint64_t write_offset, write_bytes; /* what the guest writes of it */
    uint64_t copy_offset, copy_end;     /* around that: what must be there too when L2 says so */
    bool fresh;        /* the file never reached that far: it reads as zeroes there */
    bool reserve_only; /* host clusters, and no subcluster has data yet */
    bool copied;       /* something was written around what the guest writes */
    struct co_queue waiting;
};
/* With q->lock. Makes bytes at offset writable: at once (*allocation NULL) if they are NORMAL and
 * copied, else as an allocation. *bytes becomes what can be written at *host in one go. Waits for
 * others' allocations. */
int co_qcow2_prepare_write(struct qcow2 *q, uint64_t offset, uint64_t *bytes, uint64_t *host,
                           struct qcow2_allocation **allocation);
/* With q->lock. The data are written (success), and so is what was copied around them: L2 says so
 * now. Else the clusters are given back. Frees it, wakes who waits. */
int co_qcow2_finish_write(struct qcow2 *q, struct qcow2_allocation *allocation, bool success);
/* With q->lock. A compressed cluster's place becomes what L2 says. */
int co_qcow2_set_compressed(struct qcow2 *q, uint64_t offset, uint64_t host,
                            uint64_t compressed_bytes);
/* With q->lock; whole subclusters. */
int co_qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes, unsigned flags);
/* With q->lock; whole clusters. full: also what is known to read as zeroes, and nothing of it is
 * kept. */
int co_qcow2_unmap(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_discard kind,
                   bool full);
/* With q->lock. At least so many entries; the new ones are 0. */
int co_qcow2_grow_l1(struct qcow2 *q, uint64_t entries, bool exact);
/* With q->lock. L1 entries from first on become empty; their L2 tables are given back. What these
 * refer to was unmapped. */
void co_qcow2_drop_l2(struct qcow2 *q, uint64_t first);

/* ---- the rest ---- */

/* qcow2_create.c */
extern const struct block_create_option qcow2_create_options[];
bool co_qcow2_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                     GError **error);
int co_qcow2_truncate(struct block_node *node, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);

/* qcow2_snapshot.c: reads and checks the table of snapshots. */
bool co_qcow2_snapshots_open(struct qcow2 *q, GError **error);
void qcow2_snapshots_free(struct qcow2 *q);
extern const struct block_snapshot_ops qcow2_snapshot_ops;
/* The L1 table of snapshot number i, host byte order; zeroes follow up to so many entries. Caller
 * frees. NULL: it can't be read. */
uint64_t *co_qcow2_snapshot_table(struct qcow2 *q, uint32_t i, uint32_t entries, GError **error);
/* NULL, or why an image with such snapshots can't be one of version 2. */
const char *qcow2_snapshots_need_v3(const struct qcow2 *q);

int co_qcow2_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags);
int co_qcow2_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags);

/* Whether the range is known to read as zeroes. Without q->lock. */
bool co_qcow2_reads_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* qcow2_compress.c. A whole cluster; in threads of its own. Bytes of out (cluster_size) used, or
 * -ENOMEM if it got no smaller. */
int64_t co_qcow2_compress(struct qcow2 *q, const void *in, void *out);
/* size: at most; the data end by themselves. 0 or -EIO. */
int co_qcow2_decompress(struct qcow2 *q, const void *in, size_t size, void *out);
void qcow2_compress_init(struct qcow2 *q);
void qcow2_compress_free(struct qcow2 *q);

/* qcow2_crypt.c. In place; sector numbers by the guest's offset (AES) or the host's (LUKS). */
int co_qcow2_encrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes);
int co_qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes);
/* As the header says, with options' password, unless it is only opened to be looked at
 * (BLOCK_OPEN_NO_IO). */
bool co_qcow2_open_crypto(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *options,
                          GError **error);
void qcow2_crypto_free(struct qcow2 *q);
/* Of a new image, before anything is allocated for the disk. */
bool co_qcow2_create_crypto(struct qcow2 *q,
                            const struct qapi_qcrypto_block_create_options *options,
                            GError **error);
/* Bytes of clusters that a new image's encryption (NULL: none) takes. */
uint64_t qcow2_crypto_overhead(const struct qapi_qcrypto_block_create_options *options,
                               uint64_t cluster_size);
/* What of encryption isn't in the schema: driver.h's co_create_prepare. */
bool co_qcow2_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                             GError **error);
/* Key slots: members of QCryptoBlockAmendOptionsLUKS, strings. */
bool co_qcow2_amend_crypto(struct qcow2 *q, json_object *options, bool force, GError **error);
extern const struct block_create_option qcow2_amend_options[];
/* NULL: it isn't encrypted. Caller frees. */
struct qapi_image_info_specific_qcow2_encryption *qcow2_describe_crypto(const struct qcow2 *q);

/* Of snapshot number i: its L1 table (entries). */
void qcow2_snapshot_l1(const struct qcow2 *q, uint32_t i, uint64_t *offset, uint32_t *size);

/* Where compressed data are: the sectors that an L2 entry says. */
static inline uint64_t qcow2_compressed_range(const struct qcow2 *q, uint64_t entry,
                                              uint64_t *offset)
{
    unsigned bits = 62 - (q->cluster_bits - 8);

    *offset = entry & ((1ull << bits) - 1);
    return ((entry >> bits & ((1ull << (q->cluster_bits - 8)) - 1)) + 1) * 512 - (*offset & 511);
}

/* Of what an image may be made with: whether they go together. */
bool qcow2_check_create_options(const struct qapi_blockdev_create_options_qcow2 *options,
                                GError **error);

/* qcow2_amend.c: the driver's functions of these names. options: members of
 * BlockdevCreateOptionsQcow2, strings. */
bool co_qcow2_amend(struct block_node *node, json_object *options, bool force, GError **error);
bool co_qcow2_measure(json_object *options, struct block_node *source, uint64_t size,
                      uint64_t *required, uint64_t *fully_allocated, uint64_t *bitmaps,
                      GError **error);

/* qcow2_downgrade.c. With q->lock, settled, no external data file, no subclusters: clusters of
 * zeroes of the disk and of all snapshots become what version 2 has. -errno. */
int co_qcow2_expand_zeroes(struct qcow2 *q);

/* With q->lock, settled. A new refcount structure of q's width by what the image refers to;
 * q->refcount_cache must be empty. False: the image is damaged, or a count is too large for the
 * width. */
bool co_qcow2_recount(struct qcow2 *q, GError **error);

/* qcow2_bitmap.c. Loads what the header leads to; node->length is known. */
bool co_qcow2_bitmaps_open(struct qcow2 *q, GError **error);
/* Writes down what they are exactly. False: it was said, and they stay as they are in the image:
 * too dirty. */
bool co_qcow2_bitmaps_close(struct qcow2 *q);
void qcow2_bitmaps_free(struct qcow2 *q);
/* Before data are changed, without q->lock, any loop: bitmaps that record are dirty there on stable
 * storage. */
int co_qcow2_bitmaps_before_write(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* qcow2_bitmap_resize.c: bitmaps of an image that gets another size or another active state. Their
 * lock, which is taken before q->lock; drained. */
void co_qcow2_bitmaps_lock(struct qcow2 *q);
void qcow2_bitmaps_unlock(struct qcow2 *q);
/* Whether they can follow: none is busy, or would be too large. */
bool qcow2_bitmaps_can_change(const struct qcow2 *q, uint64_t size, GError **error);
/* With both locks, and only if they can; there are some. New tables and a new directory are on the
 * disk, and q->header leads to them: the caller writes it, with the size. all_dirty: those that
 * record have all their bits set. NULL and *error: they can't be written. */
struct qcow2_bitmaps_change *co_qcow2_bitmaps_change(struct qcow2 *q, uint64_t size, bool all_dirty,
                                                     GError **error);
/* The header is on the disk (success): the old tables are given back. Else the caller makes
 * q->header old again, and the new ones are leaks. Frees it. */
void qcow2_bitmaps_changed(struct qcow2 *q, struct qcow2_bitmaps_change *change, bool success);
void qcow2_bitmaps_describe(const struct qcow2 *q, struct qapi_qcow2_bitmap_info_list *list);
bool co_qcow2_measure_bitmaps(struct block_node *source, uint64_t cluster_size, uint64_t *bytes,
                              GError **error);
extern const struct block_bitmap_ops qcow2_bitmap_ops;

/* qcow2_reopen.c: the driver's functions of these names. */
bool co_qcow2_reopen_prepare(struct block_node *node, const struct qapi_blockdev_options *options,
                             bool read_only, void **pending, GError **error);
void co_qcow2_reopen_commit(struct block_node *node, void *pending);
void co_qcow2_reopen_abort(struct block_node *node, void *pending);
/* qcow2.c: what the options say, with caches; q's header and layout are set. */
bool qcow2_take_options(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *options,
                        GError **error);
/* What the next writer has to know, before anything else is written. */
bool co_qcow2_start_writing(struct qcow2 *q, GError **error);
void qcow2_start_trimming(struct qcow2 *q);
void co_qcow2_stop_trimming(struct qcow2 *q);

/* qcow2_check.c. fix: BLOCK_FIX_...; no request may be under way. False: it couldn't be checked at
 * all. */
bool co_qcow2_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                    GError **error);

/* ---- qcow2_backing.c; in drained sections, or without other requests ---- */

bool co_qcow2_change_backing(struct block_node *node, const char *file, const char *format,
                             GError **error);
bool co_qcow2_make_empty(struct block_node *node, GError **error);

#endif
