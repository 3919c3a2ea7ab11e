/* What a block driver is. One file, one driver, one BLOCK_DRIVER row. */
#ifndef NANDU_BLOCK_DRIVER_H
#define NANDU_BLOCK_DRIVER_H

#include "block/block.h"

/* An option of image creation: "nandu-img create -o", -o help, and the member of
 * BlockdevCreateOptions. */
struct block_create_option {
    const char *name;   /* "cluster_size" */
    const char *member; /* of the schema: "cluster-size"; NULL: the same */
    const char *type;   /* for help: "<size>", "<bool (on/off)>", "<str>", "<num>" */
    const char *description;
    const char *default_value; /* NULL: none */
    bool amendable;
};

struct block_driver {
    const char *name;
    enum qapi_blockdev_driver kind;
    const char *const
        *protocols; /* "file", "nbd", ...: of protocol drivers; NULL-terminated, or NULL */
    bool is_filter; /* shows its one BLOCK_ROLE_FILTERED child's data unchanged */
    bool supports_backing;
    size_t state_size; /* of node->state, zeroed before open, freed after close */

    /* How sure (0: no, 100: certainly) it is that an image that begins with these bytes is of this
     * format. */
    int (*probe)(const uint8_t *data, size_t size, const char *filename);
    /* "PROTOCOL:..." to members of options. */
    bool (*parse_filename)(const char *filename, json_object *options, GError **error);

    /* In a coroutine. Opens children first (co_block_open_child), sets node->length and limits;
     * what it made is freed by close also after a failure. */
    bool (*co_open)(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error);
    void (*co_close)(struct block_node *node);
    /* blockdev-reopen, read-only to read-write: prepare may fail, then either commit or abort is
     * called. *pending is theirs. NULL: it can't be reopened with other options. */
    bool (*co_reopen_prepare)(struct block_node *node, const struct qapi_blockdev_options *options,
                              bool read_only, void **pending, GError **error);
    /* Members that prepare changes, the core refusing others; NULL-terminated. NULL: prepare looks
     * at all. */
    const char *const *mutable_options;
    void (*co_reopen_commit)(struct block_node *node, void *pending);
    void (*co_reopen_abort)(struct block_node *node, void *pending);
    /* Limits from those of its children, which are set. May be NULL: the strictest of the
     * children's. */
    void (*refresh_limits)(struct block_node *node);

    /* Requests: aligned, inside of the node's length unless it grows by writing, never 0 bytes.
     * flags only have what supported_*_flags allow. NULL: a filter's go to its child; else
     * -ENOTSUP, which the core turns into what it can do itself (zeroes are written, a discard is
     * forgotten, a flush has nothing of its own to do). */
    int (*co_read)(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags);
    int (*co_write)(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags);
    int (*co_write_zeroes)(struct block_node *node, uint64_t offset, uint64_t bytes,
                           unsigned flags);
    int (*co_discard)(struct block_node *node, uint64_t offset, uint64_t bytes);
    /* Its own caches to its children, or (protocols) the host's to the disk; the core flushes the
     * children after it, and merges flushes of which one does for all. */
    int (*co_flush)(struct block_node *node);
    bool flushes_children; /* co_flush does, and knows what the error of one of them means */
    int (*co_status)(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status);
    int (*co_truncate)(struct block_node *node, uint64_t size, bool exact,
                       enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);
    int (*co_copy_range)(struct block_node *node, uint64_t offset, struct block_node *to,
                         uint64_t to_offset, uint64_t bytes, unsigned flags);
    /* Bytes now (a file may have grown), or -errno. NULL: node->length. */
    int64_t (*co_length)(struct block_node *node);
    /* Bytes on the disk, or -errno. NULL: the primary child's. */
    int64_t (*co_allocated_size)(struct block_node *node);

    /* What it needs of a child and lets others do with it, when its parents need perm and share
     * shared. NULL: the usual for the edge's role. */
    void (*child_perm)(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share);
    /* The permissions that all parents together have were changed: take and give locks. check comes
     * first for all nodes concerned, then commit or abort for all. */
    bool (*perm_check)(struct block_node *node, unsigned perm, unsigned shared, GError **error);
    void (*perm_commit)(struct block_node *node, unsigned perm, unsigned shared);
    void (*perm_abort)(struct block_node *node);

    /* Images. create makes an image in options' file, which exists; those with a name make the
     * file, too. */
    bool (*co_create)(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                      GError **error);
    const struct block_create_option
        *create_options; /* ends with a NULL name; NULL: can't be created */
    /* For who makes an image by a file name (nandu-img), before co_create: options are all members,
     * "file" too, by their names, the values strings. Those that aren't in the schema become what
     * is, and further files that the image consists of are made and named in options. NULL: nothing
     * of that. */
    bool (*co_create_prepare)(struct block_graph *graph, const char *filename, json_object *options,
                              GError **error);
    /* What query-block and nandu-img info show; NULL member: nothing. Caller frees. */
    struct qapi_image_info_specific *(*co_info)(struct block_node *node, GError **error);
    /* Members of info that only the format knows: cluster-size, dirty-flag, encrypted, compressed.
     * May be NULL. */
    void (*co_describe)(struct block_node *node, struct qapi_image_info *info);
    bool (*co_check)(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                     GError **error);
    bool (*co_amend)(struct block_node *node, json_object *options, bool force, GError **error);
    const struct block_create_option
        *amend_options; /* NULL: those of create_options that are amendable */
    /* Nothing is allocated any more, and what is below shows through. */
    bool (*co_make_empty)(struct block_node *node, GError **error);
    bool (*co_change_backing)(struct block_node *node, const char *file, const char *format,
                              GError **error);
    bool (*measure)(json_object *options, struct block_node *source, uint64_t size,
                    uint64_t *required, uint64_t *fully_allocated, uint64_t *bitmaps,
                    GError **error);
    /* A child's request is at a moment that tests know by name. */
    void (*co_debug_event)(struct block_node *node, enum qapi_blkdebug_event event);
    const struct block_debug_ops *debug;        /* NULL: requests can't be held */
    const struct block_snapshot_ops *snapshots; /* NULL: none inside of the image */
    const struct block_bitmap_ops *bitmaps;     /* persistent dirty bitmaps; NULL: none */
};

enum { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 }; /* of co_check */

/* Internal snapshots (savevm, nandu-img snapshot). All in drained sections. */
struct block_snapshot_ops {
    bool (*co_create)(struct block_node *node, const struct qapi_snapshot_info *info,
                      GError **error);
    bool (*co_goto)(struct block_node *node, const char *id, GError **error);
    bool (*co_delete)(struct block_node *node, const char *id, const char *name, GError **error);
    bool (*co_list)(struct block_node *node, struct qapi_snapshot_info_list *list, GError **error);
    bool (*co_load_temporarily)(struct block_node *node, const char *id, const char *name,
                                GError **error);
};

struct dirty_bitmap;

/* Requests that come to an event are held until they are told to go on (break, resume, ... of
 * nandu-io). */
struct block_debug_ops {
    bool (*set_break)(struct block_node *node, const char *event, const char *tag, GError **error);
    bool (*remove_break)(struct block_node *node,
                         const char *tag);                    /* and lets go those that it holds */
    bool (*resume)(struct block_node *node, const char *tag); /* false: none is held */
    bool (*is_suspended)(struct block_node *node, const char *tag);
};

struct block_bitmap_ops {
    bool (*co_can_store)(struct block_node *node, const char *name, uint32_t granularity,
                         GError **error);
    /* A bitmap of the node (dirty_bitmap.h), in the image as it is now; while it is enabled the
     * image's is never less dirty than this one, whatever happens. Drained. */
    bool (*co_store)(struct block_node *node, struct dirty_bitmap *bitmap, GError **error);
    bool (*co_remove)(struct block_node *node, const char *name, GError **error);
};

/* Puts a driver into the program's table (a section that the linker collects). */
#define BLOCK_DRIVER(driver)                             \
    static const struct block_driver *const driver##_row \
        __attribute__((used, retain, section("nandu_block_drivers"))) = &(driver)

/* Tells the child's node that its parent is at event, if that is of interest to it. */
static inline void co_block_debug_event(struct block_edge *child, enum qapi_blkdebug_event event)
{
    if (G_UNLIKELY(child->node->driver->co_debug_event)) {
        child->node->driver->co_debug_event(child->node, event);
    }
}
/* The first node, from here down through primary children, whose requests can be held; NULL: none.
 */
struct block_node *block_debug_node(struct block_node *node);

/* io_uring's number for registered memory (block_register_buffer) that has all of data; -1: none.
 * In a request, on loop's thread. */
int block_registered_index(struct block_graph *graph, struct event_loop *loop, const void *data,
                           size_t size);

/* Sets *error, as one line whatever an image has in its names; always false. */
bool block_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* "WHAT: the text of -ret". */
bool block_error_errno(GError **error, int ret, const char *what);

/* NULL: none of this name is built. */
const struct block_driver *block_driver_find(const char *name);
const struct block_driver *block_driver_of_protocol(const char *protocol);

#endif
