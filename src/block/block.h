/*
 * The block layer: a graph of nodes, and its users.
 *
 *     virtio-blk, job, export, nandu-img        users: requests enter here, and only here
 *                  |
 *          qcow2 "disk0"                        a node: one driver, its state, its size and limits
 *           /file     \backing                  edges: what one node needs of another, with permissions
 *       file           raw - file
 *
 * Who may do what, where:
 *  - The graph (nodes, edges, users) belongs to the main thread. It changes only where no request can be:
 *    a section between co_block_drain_begin and _end has none of the users above the node at work.
 *  - Requests are coroutines of any event loop. A request stays on the loop that it came on: the file driver
 *    takes the rings of coroutine_loop(coroutine_self()). A driver that has state of its own (qcow2) guards it
 *    with a co_mutex, which works between loops.
 *  - Since requests enter at users only, a user counts what is under way, and draining is: hold back new
 *    requests of all users above, wait for their counts to be 0. Nodes have no counts. A node that works by
 *    itself (a job's filter, a cache that is written back) has a user of its own for that.
 *
 * Offsets and sizes are bytes, of any alignment above; a node whose limits ask for more gets what
 * they ask for: the core rounds reads, and reads, changes and writes back the edges of unaligned
 * writes. Requests give 0 or a negative errno, since a guest is told no more; what an operator
 * asked for gives a GError.
 *
 * co_: to be called in a coroutine, may wait.
 */
#ifndef NANDU_BLOCK_BLOCK_H
#define NANDU_BLOCK_BLOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "object/object.h"
#include "qapi/qapi_types.h"
#include "util/auto.h"
#include "util/coroutine.h"

struct block_accounting;
struct block_driver;
struct block_edge;
struct block_graph;
struct block_node;
struct block_user;
struct qapi_event_sink;

/* ---- Buffers ---- */

/* The bytes of a request: a part of a scatter-gather list that somebody else owns and keeps until
 * the end. */
struct block_buffer {
    const struct iovec *iov;
    unsigned n_iov;
    size_t skip; /* bytes of iov[0] that don't belong to it; less than iov[0].iov_len */
};

/* What follows after so many bytes of it. */
struct block_buffer block_buffer_skip(struct block_buffer buffer, size_t bytes);
/* Writes down its first bytes as a list of its own; how many entries (at most buffer.n_iov) were
 * used. */
unsigned block_buffer_slice(struct block_buffer buffer, size_t bytes, struct iovec *iov);
void block_buffer_from(struct block_buffer buffer, const void *data, size_t bytes);
void block_buffer_to(struct block_buffer buffer, void *data, size_t bytes);
void block_buffer_zero(struct block_buffer buffer, size_t bytes);
bool block_buffer_is_zero(struct block_buffer buffer, size_t bytes);
bool block_buffer_is_aligned(struct block_buffer buffer, size_t bytes, size_t align);
/* struct block_buffer of one piece of memory, for the rest of the enclosing block. */
#define BLOCK_BUFFER(data, size) \
    ((struct block_buffer){&(struct iovec){(void *)(data), (size)}, 1, 0})

/* ---- Requests ---- */

enum block_flags {
    BLOCK_FUA = 1,         /* on stable storage when it ends */
    BLOCK_MAY_UNMAP = 2,   /* write_zeroes: may give space back */
    BLOCK_NO_FALLBACK = 4, /* write_zeroes: -ENOTSUP rather than writing zeroes */
    BLOCK_REGISTERED =
        8, /* the buffer is in memory that stays for long, as guest RAM: block_register_buffer */
    BLOCK_COMPRESSED = 16, /* write: whole clusters, to be compressed */
    BLOCK_UNCHANGED = 32,  /* write: what can be read stays the same (copy on read, mirror) */
    BLOCK_SERIALISE = 64,  /* no other request that overlaps meanwhile */
    BLOCK_PREFETCH =
        128, /* read: only the side effect (copy on read) counts, the buffer is unused */
};

enum block_status_flags {
    BLOCK_STATUS_DATA = 1,      /* has data of its own here */
    BLOCK_STATUS_ZERO = 2,      /* reads as zeroes */
    BLOCK_STATUS_OFFSET = 4,    /* as it is at .offset of .file */
    BLOCK_STATUS_ALLOCATED = 8, /* this layer says what is read; backing files aren't asked */
    BLOCK_STATUS_COMPRESSED = 16,
    BLOCK_STATUS_EOF = 32, /* .bytes reach to the end */
};

struct block_status {
    unsigned flags;
    uint64_t bytes; /* of which this is so, from the offset asked for; not 0 before the end */
    uint64_t offset;
    struct block_node *file; /* borrowed */
};

struct block_limits {
    /* Powers of 2. A request's offset and size are multiples of it, buffers have memory_align. */
    uint32_t request_align, memory_align;
    uint32_t optimal_transfer;         /* bytes; 0: any */
    uint32_t max_transfer;             /* bytes; 0: any. The core splits */
    uint32_t max_iov;                  /* 0: any */
    uint32_t zeroes_align, max_zeroes; /* write_zeroes; 0: as request_align, any */
    uint32_t discard_align, max_discard;
};

/* Requests to a child, from its parent's driver. */
int co_child_read(struct block_edge *child, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags);
int co_child_write(struct block_edge *child, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags);
int co_child_write_zeroes(struct block_edge *child, uint64_t offset, uint64_t bytes,
                          unsigned flags);
int co_child_discard(struct block_edge *child, uint64_t offset, uint64_t bytes);
/* Everything that was written before is on stable storage. */
int co_child_flush(struct block_edge *child);
int co_child_truncate(struct block_edge *child, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);
int co_child_copy_range(struct block_edge *from, uint64_t from_offset, struct block_edge *to,
                        uint64_t to_offset, uint64_t bytes, unsigned flags);
int co_node_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_status *status);
/* Through backing files down to base (NULL: to the end), base left out. */
int co_node_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
                         uint64_t bytes, struct block_status *status);

/* ---- Users ---- */

enum block_permissions {
    BLOCK_PERM_CONSISTENT_READ = 1,
    BLOCK_PERM_WRITE = 2,
    BLOCK_PERM_WRITE_UNCHANGED = 4,
    BLOCK_PERM_RESIZE = 8,
    BLOCK_PERM_ALL = 15,
};

/* What a user (a device) wants to be told. Main thread; any may be NULL. */
struct block_user_ops {
    void (*resized)(void *opaque);
    /* A section without requests begins or ends: it should not start any (they would wait). */
    void (*drain_begin)(void *opaque), (*drain_end)(void *opaque);
    /* The name that query-block and errors know it by; caller frees. */
    char *(*describe)(void *opaque);
    bool no_io_status; /* query-block shows none: no error of its stops the machine */
};

/* name: for messages, copied; NULL: none. No node yet. Main thread, as all of the functions without
 * co_. */
struct block_user *block_user_new(struct block_graph *graph, const char *name,
                                  const struct block_user_ops *ops, void *opaque);
/* No request may be under way; detaches. */
void block_user_free(struct block_user *user);
DEFINE_AUTO_PTR(block_user, block_user_free)
/* False and *error names who stands against it. The user holds a reference of node then. */
bool block_user_attach(struct block_user *user, struct block_node *node, unsigned perm,
                       unsigned shared, GError **error);
void block_user_detach(struct block_user *user); /* no request may be under way */
bool block_user_set_perm(struct block_user *user, unsigned perm, unsigned shared, GError **error);
struct block_node *block_user_node(const struct block_user *user); /* NULL: no medium */
/* False (cache.writeback=off): each write is on stable storage when it ends. */
void block_user_set_write_cache(struct block_user *user, bool on);
bool block_user_write_cache(const struct block_user *user);

/* The name that it was made with; "" if it has none. Borrowed. */
const char *block_user_name(const struct block_user *user);
/* Counts of what its device did (block/accounting.h). Borrowed. */
struct block_accounting *block_user_accounting(const struct block_user *user);
/* "io-status" of query-block: an error that stopped the machine; 0: none. Any thread. */
void block_user_set_io_error(struct block_user *user, int error);

/* Any event loop. 0 or -errno; -ENOMEDIUM without a node, -EIO beyond the end, -EPERM without
 * permission. */
int co_block_read(struct block_user *user, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags);
int co_block_write(struct block_user *user, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags);
int co_block_write_zeroes(struct block_user *user, uint64_t offset, uint64_t bytes, unsigned flags);
int co_block_discard(struct block_user *user, uint64_t offset, uint64_t bytes);
int co_block_flush(struct block_user *user);
int co_block_status(struct block_user *user, uint64_t offset, uint64_t bytes,
                    struct block_status *status);
int co_block_truncate(struct block_user *user, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);
int co_block_copy_range(struct block_user *from, uint64_t from_offset, struct block_user *to,
                        uint64_t to_offset, uint64_t bytes, unsigned flags);
/* Bytes; 0 without a node. Any thread: a number that was right a moment ago. */
uint64_t block_user_length(const struct block_user *user);
const struct block_limits *block_user_limits(const struct block_user *user);

/* The same for who isn't in a coroutine: done(request) is called on the loop that submitted it
 * (perhaps before block_submit returns), and may free the request. */
enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_DISCARD, BLOCK_FLUSH };
struct block_request {
    enum block_op op;
    unsigned flags;
    uint64_t offset, bytes;
    struct block_buffer buffer;
    int result;
    void (*done)(struct block_request *request);
    /* The core's. */
    struct block_user *user;
};
void block_submit(struct block_user *user, struct block_request *request);

/*
 * Memory that requests with BLOCK_REGISTERED come from: all of it may be made resident and pinned
 * (io_uring's fixed buffers), as far as the limit of locked memory goes; beyond that, requests are
 * as others. It must stay until it is unregistered, when no request from it is under way.
 */
void block_register_buffer(struct block_graph *graph, void *data, size_t size);
void block_unregister_buffer(struct block_graph *graph, void *data);

/* ---- The graph; main thread ---- */

/* Of the program's object tree, whose context (loop, log, fdsets) it uses. */
struct block_graph *block_graph_new(struct object *root);
/* Where events of nodes (QUORUM_...) go; before the first node is opened. */
void block_graph_set_events(struct block_graph *graph, struct qapi_event_sink *events);
/* Where temporary images are made, instead of in /var/tmp; copied. */
void block_graph_set_tmp_dir(struct block_graph *graph, const char *dir);
/* Users must be gone; nodes are closed, caches written back. In a coroutine. */
void co_block_graph_free(struct block_graph *graph);

/* NULL and *error if there is none. Borrowed. */
struct block_node *block_node_find(struct block_graph *graph, const char *name, GError **error);
struct block_node *block_node_ref(struct block_node *node);
/* The last reference closes it: in a coroutine. NULL: nothing. */
void co_block_node_unref(struct block_node *node);
/* Outside of one: what closing has to wait for goes on afterwards. */
void block_node_unref(struct block_node *node);
/* In the order in which they were opened; fn may not change the graph. */
typedef void block_visit_node(struct block_node *node, void *opaque);
void block_graph_foreach(struct block_graph *graph, block_visit_node *fn, void *opaque);
struct object *block_graph_root(const struct block_graph *graph);
/* blockdev-del: gives up the graph's own reference. False: it isn't there, isn't blockdev-add's, or
 * is in use. */
bool co_block_graph_delete(struct block_graph *graph, const char *name, GError **error);
/* Runs fn(opaque) as a coroutine to its end on a loop that nobody runs yet, or any more (start-up,
 * end, tools). */
void block_run(struct event_loop *loop, event_fn *fn, void *opaque);

enum block_open_flags {
    BLOCK_OPEN_PROBE =
        1, /* without "driver": find the format (-drive, tools); else it is an error */
    BLOCK_OPEN_NO_BACKING = 2,
    BLOCK_OPEN_NO_IO =
        4, /* only what query tells (nandu-img info on what is in use, with force-share) */
    BLOCK_OPEN_CHECK = 8, /* for check and repair: damage is no reason to refuse */
    BLOCK_OPEN_MONITOR_OWNED =
        16, /* blockdev-add: the graph keeps a reference until blockdev-del */
    BLOCK_OPEN_GUESSED_RAW =
        32, /* the core's: nobody said that it is raw, and no guest may make it look like more */
    BLOCK_OPEN_IMPLICIT =
        64, /* the core's: a filter for an option of -drive; query-block shows what is below it */
    BLOCK_OPEN_LEVEL =
        1 << 16, /* added by each child to its parent's flags: ends backing images' loops */
    BLOCK_OPEN_MAX_LEVEL = 200,
};

/* A new reference, or NULL and *error. options are of the schema, complete (blockdev-add,
 * -blockdev). */
struct block_node *co_block_open(struct block_graph *graph,
                                 const struct qapi_blockdev_options *options, unsigned flags,
                                 GError **error);
/* The same from JSON or key=value (strings), where with BLOCK_OPEN_PROBE "driver" and "file.driver"
 * may be missing, and filename (NULL: none) may be a path, "PROTOCOL:..." or "json:{...}". options
 * may be NULL. */
struct block_node *co_block_open_loose(struct block_graph *graph, const char *filename,
                                       json_object *options, unsigned flags, GError **error);
/*
 * A temporary qcow2 image on top of base, whose reference it takes over, also when it fails. Its
 * file has no name any more. options: further members, as those of co_block_open_loose.
 */
struct block_node *co_block_open_temporary(struct block_node *base, json_object *options,
                                           GError **error);
/* For drivers' open: an edge to the child that ref says, added to node. NULL ref: NULL without an
 * error. */
enum block_role {
    BLOCK_ROLE_DATA = 1, /* guest data */
    BLOCK_ROLE_METADATA = 2,
    BLOCK_ROLE_FILTERED = 4, /* the node shows this child's data as its own */
    BLOCK_ROLE_BACKING = 8,  /* copy on write */
    BLOCK_ROLE_PRIMARY = 16, /* "file": where the image is */
};
struct block_edge *co_block_open_child(struct block_node *node, const char *name,
                                       const struct qapi_blockdev_ref *ref, unsigned role,
                                       GError **error);

/*
 * The same for formats with backing images: the one that ref says; or with no ref the one that
 * node->backing_name and _format say, a relative name being relative to the image. True without an
 * edge: there is none, by the image, by ref or by BLOCK_OPEN_NO_BACKING.
 */
bool co_block_open_backing(struct block_node *node, const struct qapi_blockdev_ref_or_null *ref,
                           GError **error);
/* A child that is a file (or what a protocol gives) by the name that the image says, like a backing
 * image's. */
struct block_edge *co_block_open_file_child(struct block_node *node, const char *name,
                                            const char *file, unsigned role, GError **error);
/* name as an image says it, relative to the image called base; what has a protocol, or is json:,
 * stays. Caller frees. */
char *block_combine_names(const char *base, const char *name);

/* What query-block and "nandu-img info" show; *info is zeroed here first, the caller's to clear,
 * also after a failure. with_backing: of the images below, too. */
bool co_block_image_info(struct block_node *node, bool with_backing, struct qapi_image_info *info,
                         GError **error);
/* Bytes that it takes on the disk, or -errno. */
int64_t co_block_allocated_size(struct block_node *node);
/* blockdev-reopen, read-only to read-write and back: all of them or none. n options of the schema,
 * with node-names. */
bool co_block_reopen(struct block_graph *graph, const struct qapi_blockdev_options *options,
                     size_t n, GError **error);

/* Requests of all users above node have ended, and new ones wait, until as many _end. Main loop's
 * coroutines. NULL: all users of the graph. Not to be called by a request. */
void co_block_drain_begin(struct block_graph *graph, struct block_node *node);
void block_drain_end(struct block_graph *graph, struct block_node *node);
/* In a drained section: parent's edge leads elsewhere. Permissions are checked, and nothing is
 * changed if they don't allow it. The caller holds references of both nodes. */
bool block_edge_replace(struct block_edge *edge, struct block_node *node, GError **error);

/* ---- What -drive makes (drive.h): a node with a name that devices and query-block know it by ----
 */

struct block_drive {
    char *id;
    struct block_node *node; /* a reference; NULL: no medium */
    bool write_cache;        /* cache.writeback */
    enum qapi_blockdev_on_error read_error, write_error;
    bool removable; /* media=cdrom */
    int interface;  /* enum block_interface (drive.h) */
    unsigned bus, unit;
    struct block_user
        *user; /* who attached node first: it has the drive's name and write cache then */
    struct object *limits; /* a throttle-group, a reference; NULL: none */
    /* Owned; that of user while there is one, which has the drive's meanwhile. */
    struct block_accounting *accounting;
};

/* NULL: there is none. Borrowed. block_node_find finds a drive's node by this name, too. */
const struct block_drive *block_drive_find(struct block_graph *graph, const char *id);
/* What -drive's rerror= or werror= says; auto without. */
enum qapi_blockdev_on_error block_user_on_error(const struct block_user *user, bool is_read);

struct block_node {
    struct block_graph *graph;
    const struct block_driver *driver;
    void *state;          /* the driver's, state_size bytes */
    char *name;           /* node-name: given, or "#blockNNN" */
    json_object *options; /* what it was opened with, complete */
    char *filename; /* for people and backing links: a path, or "json:{...}"; kept up by the core */
    /* What the image itself says of its backing image, whatever is there instead; owned, NULL:
     * none. */
    char *backing_name, *backing_format;
    GPtrArray *children;               /* struct block_edge, owned */
    GPtrArray *parents;                /* struct block_edge, borrowed */
    struct block_edge *file, *backing; /* of these names; NULL: none. Borrowed */
    unsigned refs;
    _Atomic uint64_t length; /* bytes */
    struct block_limits limits;
    bool read_only, auto_read_only, force_share, no_flush;
    bool direct; /* cache.direct: no host page cache below */
    enum qapi_blockdev_discard_options discard;
    enum qapi_blockdev_detect_zeroes_options detect_zeroes;
    unsigned open_flags;
    unsigned supported_write_flags,
        supported_zeroes_flags; /* of BLOCK_FUA, ...: the core does the others */
    struct block_node_requests
        *requests; /* the core's: serialisation, merged flushes, accounting, dirty bitmaps */
};

struct block_edge {
    char *name;                /* "file", "backing", "data-file" */
    struct block_node *node;   /* a reference */
    struct block_node *parent; /* NULL: a user's */
    struct block_user *user;
    unsigned role, perm, shared;
};

#endif
