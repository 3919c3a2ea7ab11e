/* The inside of the core: what graph.c, perm.c, open.c, request.c, user.c and drain.c share. */
#ifndef NANDU_BLOCK_BLOCK_PRIV_H
#define NANDU_BLOCK_BLOCK_PRIV_H

#include <stdatomic.h>

#include "block/accounting.h"
#include "block/block.h"
#include "block/driver.h"
#include "block/range.h"

struct block_drive;

struct block_graph {
    struct object *root;
    struct block_delays *delays;
    GPtrArray *nodes;    /* struct block_node, borrowed, in the order of opening */
    GHashTable *by_name; /* node-name -> struct block_node */
    GPtrArray *users;    /* struct block_user, borrowed */
    GPtrArray *drives;   /* struct block_drive, owned (drive.c) */
    GPtrArray *drains;   /* struct drain, owned: sections that are open, in their order (drain.c) */
    uint64_t next_name;
    void *zeroes;         /* BLOCK_ZEROES bytes, never written */
    struct qapi_event_sink *events; /* NULL: nobody listens */
    char *tmp_dir;                  /* of temporary images */
    struct block_buffers *buffers;  /* memory that was registered (registered.c) */
    GMutex drain_lock;    /* of drainers; any thread that ends a request of a drained user */
    GQueue drainers;      /* struct coroutine, of the main loop: they wait for requests to end */
    unsigned n_busy;      /* commands at work, nodes that are being closed */
    struct co_queue idle; /* who frees the graph waits for their end */
};

enum { BLOCK_ZEROES = 64 << 10 };

/* Of a node. Any loop. */
struct block_node_requests {
    /* Writes that overlap what is being read, changed and written back wait. Used if `track`. */
    struct block_ranges ranges;
    bool track;
    /* Counted up by each change that ended; a flush covers what had ended when it began. */
    _Atomic uint64_t write_generation;
    GMutex flush_lock; /* of the rest */
    uint64_t flushed_generation;
    bool flushing;
    GQueue flush_waiting; /* struct flush_wait */
    /* What query-blockstats shows of a node. */
    _Atomic uint64_t wr_highest_offset;
    GPtrArray *bitmaps; /* struct dirty_bitmap, owned (dirty_bitmap.c); NULL: none ever were */
};

/* How many requests there are, and whether new ones must wait: one word, so that who ends the last
 * one needs nothing of the user afterwards, which may be gone. */
enum { BLOCK_USER_DRAINED = 1u << 31 };

struct block_user {
    struct block_graph *graph;
    char *name; /* may be NULL */
    const struct block_user_ops *ops;
    void *opaque;
    struct block_edge *edge; /* NULL: no medium. Changes while there is no request */
    _Atomic unsigned state;  /* requests, BLOCK_USER_DRAINED */
    unsigned drains;         /* sections; main thread */
    GMutex lock;             /* of waiting, and of setting and clearing BLOCK_USER_DRAINED */
    GQueue waiting;          /* struct user_wait */
    _Atomic bool write_cache;
    struct block_accounting *accounting;
    struct object
        *limits; /* a throttle-group, a reference; NULL: none. Changes in drained sections */
    _Atomic int io_error;
};

/* ---- driver.c ---- */

/* Of all formats the one that is surest; NULL: none knows it. */
const struct block_driver *block_driver_probe(const uint8_t *data, size_t size,
                                              const char *filename);

/* ---- graph.c ---- */

struct block_node *block_node_new(struct block_graph *graph, const struct block_driver *driver);
/* Of the name that it has, or a new one. False: the name is taken or not a name. */
bool block_node_set_name(struct block_node *node, const char *name, GError **error);
void block_node_clear_name(struct block_node *node);
/* The child whose data a filter shows; NULL: not a filter. */
struct block_edge *block_node_filtered(const struct block_node *node);
/* A child that holds the node's metadata, or else its data. NULL: none. */
struct block_edge *block_node_primary(const struct block_node *node);
/* What a user's errors call it. Caller frees. */
char *block_user_describe(const struct block_user *user);
char *block_edge_describe(const struct block_edge *edge);

/* A command is at work in the graph, which isn't freed before it ends. Main thread. */
void block_graph_enter(struct block_graph *graph);
void block_graph_leave(struct block_graph *graph);

/* ---- perm.c ---- */

/* Makes the edge, with the permissions. False: nothing is changed. */
struct block_edge *block_edge_new(const char *name, struct block_node *node,
                                  struct block_node *parent, struct block_user *user, unsigned role,
                                  unsigned perm, unsigned shared, GError **error);
void block_edge_remove(struct block_edge *edge); /* doesn't drop its reference of the node */
bool block_edge_set_perm(struct block_edge *edge, unsigned perm, unsigned shared, GError **error);
/* The node's needs have changed (it was opened, became read-only): what its children must allow. */
bool block_node_refresh_perms(struct block_node *node, GError **error);
void block_node_cumulative(const struct block_node *node, unsigned *perm, unsigned *shared);

/* ---- open.c ---- */

void block_node_refresh_limits(struct block_node *node);
/* What a child that is described in place takes over from its parent. */
void block_inherit_options(const struct block_node *parent, unsigned role,
                           struct qapi_blockdev_options *options);
/* Takes the reference of child over, also when it fails. */
struct block_edge *block_node_add_child(struct block_node *node, const char *name,
                                        struct block_node *child, unsigned role, GError **error);

/* ---- request.c, zeroes.c, status.c: requests of a node, whoever makes them ---- */

void block_node_requests_init(struct block_node *node);
void block_node_requests_free(struct block_node *node);
int co_node_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                 struct block_buffer buffer, unsigned flags);
int co_node_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags);
/* The same without detect-zeroes; of aligned ones, in a range that is locked. */
int co_node_write_as_is(struct block_node *node, uint64_t offset, uint64_t bytes,
                        struct block_buffer buffer, unsigned flags);
int co_node_write_aligned(struct block_node *node, uint64_t offset, uint64_t bytes,
                          struct block_buffer buffer, unsigned flags);
int co_node_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags);
int co_node_discard(struct block_node *node, uint64_t offset, uint64_t bytes);
int co_node_flush(struct block_node *node);
int co_node_truncate(struct block_node *node, uint64_t size, bool exact,
                     enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);
int co_node_copy_range(struct block_node *from, uint64_t from_offset, struct block_node *to,
                       uint64_t to_offset, uint64_t bytes, unsigned flags);
/* A change ended; bytes of data, or 0. */
void block_node_changed(struct block_node *node, uint64_t offset, uint64_t bytes);
/* Drops FUA where it means nothing; *flush: a flush must follow. */
unsigned block_node_take_fua(const struct block_node *node, unsigned flags, unsigned supported,
                             bool *flush);

/* ---- drain.c ---- */

/* A request of a drained user was the last one. Any thread. */
void block_drain_wake(struct block_graph *graph);
/* A user came, or got another node: sections that are open hold it, too. */
void block_drain_adopt(struct block_user *user);
void block_drain_forget(struct block_user *user);

/* ---- user.c ---- */

void block_user_hold(struct block_user *user);
void block_user_release(struct block_user *user);
void block_user_resized(struct block_node *node);

/* ---- limits.c ---- */

void block_user_leave_limits(struct block_user *user);

/* ---- registered.c ---- */

struct block_buffers *block_buffers_new(void);
void block_buffers_unref(struct block_buffers *buffers);

/* ---- drive.c; in a coroutine ---- */

void block_drives_free(struct block_graph *graph);
void block_drive_free(struct block_drive *drive); /* which isn't listed, and has no node */
/* A user came to, or leaves, the node of a drive. */
void block_drive_attach(struct block_user *user);
void block_drive_detach(struct block_user *user);

#endif
