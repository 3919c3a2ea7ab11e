/*
 * Guest-physical memory: RAM blocks, a tree of regions, and address spaces, which are views of it.
 *
 * Each change of the tree (regions, their places, whether they are enabled) makes a new view: an
 * immutable, sorted table of ranges that the address space publishes. vCPUs and devices read
 * through the published view and take no lock; an old view is freed when no reader can be in it any
 * more.
 *
 * Any thread may change the tree, also a register handler (a guest moves a PCI BAR, or writes a
 * flash chip's command): all address spaces that share regions have one lock for that. It is held
 * between address_space_begin_changes and _end_changes, and by each single change, which finds it
 * by way of the region's ancestors (so nobody moves those meanwhile). In the order of locks it
 * comes after those of devices: who holds it takes no device's lock.
 *
 * Accesses are checked here: a handler gets an offset in its region, a size that it declared, and a
 * value in the host's byte order. A region has one lock that is taken around its handlers, its
 * device's (NULL: the handlers do their own locking).
 */
#ifndef NANDU_MEMORY_MEMORY_H
#define NANDU_MEMORY_MEMORY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/auto.h"

struct memory_backend;

/* ---- RAM ---- */

/* Who wants to know which pages were written. */
enum dirty_client { DIRTY_DISPLAY, DIRTY_MIGRATION, DIRTY_CODE, DIRTY_N_CLIENTS };

struct ram_block;
/*
 * RAM of its own, size bytes, zeroed; or of a back end, which it claims. name is unique in the
 * machine: the migration stream and "info ramblock" use it. One reference. Its own RAM is private
 * anonymous memory, for which most hosts use large pages only there; who shares RAM with another
 * process configures a back end.
 */
struct ram_block *ram_block_new(const char *name, uint64_t size, GError **error);
struct ram_block *ram_block_new_backend(const char *name, struct memory_backend *backend,
                                        GError **error);
struct ram_block *ram_block_ref(struct ram_block *block);
void ram_block_unref(struct ram_block *block);
DEFINE_AUTO_PTR(ram_block, ram_block_unref)
uint8_t *ram_block_host(const struct ram_block *block);
uint64_t ram_block_size(const struct ram_block *block);
const char *ram_block_name(const struct ram_block *block);
/*
 * Any thread. Pages are 4 KiB, numbered from the start of the block; all are dirty at first.
 * Set_dirty is called after the bytes were written; clear before they are read, and vCPUs that
 * store without saying so must be made to say so first (their TLBs flushed).
 */
void ram_block_set_dirty(struct ram_block *block, uint64_t offset, uint64_t size);
bool ram_block_test_and_clear_dirty(struct ram_block *block, enum dirty_client client,
                                    uint64_t page);
bool ram_block_is_dirty(const struct ram_block *block, enum dirty_client client, uint64_t page);
/* Translated code is made from this page: stores to it must take the slow path (written below)
 * until it is dirty again. Before the code's bytes are read. */
void ram_block_set_code(struct ram_block *block, uint64_t offset);
/* Somebody waits for the page at offset to be written: struct mmu_page's watch_write. */
bool ram_block_is_watched(const struct ram_block *block, uint64_t offset);

/* ---- Regions ---- */

enum memory_result {
    MEMORY_OK,
    MEMORY_DECODE_ERROR, /* nothing is there, or it doesn't take this size */
    MEMORY_DEVICE_ERROR, /* the device refused */
};

/* Attributes of an access. */
struct memory_attrs {
    bool secure, user;
    uint16_t requester; /* PCI requester id, for an IOMMU; 0: none */
    bool memory_only;   /* registers aren't reached: MEMORY_DECODE_ERROR. For devices with locks
                               that the dispatch doesn't know. */
};

/* The declared behaviour of a device's registers. */
struct region_ops {
    /* Either returns a result, or the _simple one is given, which can't fail. Neither: what can
     * only be written or only be read. */
    enum memory_result (*read)(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                               struct memory_attrs attrs);
    enum memory_result (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                struct memory_attrs attrs);
    uint64_t (*read_simple)(void *opaque, uint64_t offset, unsigned size);
    void (*write_simple)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    /* Sizes in bytes that a guest may use, powers of two, and whether not aligned; else
     * MEMORY_DECODE_ERROR. 0: 1 and 8. */
    uint8_t min_size, max_size;
    bool unaligned;
    /*
     * Sizes that the handlers take; 0: as the guest's. Wider accesses are split, lowest offset
     * first. Narrower ones are widened to what is aligned: a write reads the rest first, so this
     * isn't for registers that reading changes.
     */
    uint8_t impl_min, impl_max;
    bool big_endian; /* the device's registers; default: little */
};

struct address_space;

/* Where an IOMMU sends an access. */
struct iommu_target {
    struct address_space *space;
    uint64_t address;
    uint64_t length; /* bytes from here that go the same way, at least 1 */
};

struct iommu_ops {
    /* MEMORY_OK and *target; an error is the answer to the access. Any thread. */
    enum memory_result (*translate)(void *opaque, uint64_t offset, bool is_write,
                                    struct memory_attrs attrs, struct iommu_target *target);
};

enum region_kind {
    REGION_CONTAINER,
    REGION_RAM,
    REGION_ROM,
    REGION_MMIO,
    REGION_ALIAS,
    REGION_IOMMU,
};

/* Part of a device's or a board's structure; all members are private to this folder. */
struct region {
    enum region_kind kind;
    char *name;
    uint64_t size;         /* bytes; 0: 2^64 */
    struct ram_block *ram; /* RAM, ROM */
    uint64_t ram_offset;
    bool as_rom; /* ROM: reads go to RAM */
    const struct region_ops *ops;
    const struct iommu_ops *iommu_ops;
    void *opaque;
    GMutex *lock;
    struct region *target; /* alias; NULL: what it was is gone */
    uint64_t target_offset;

    struct region *parent;
    uint64_t offset; /* in the parent */
    int priority;    /* higher hides lower; equal: the later one */
    bool enabled;
    GPtrArray *children; /* borrowed; highest priority first */
    GPtrArray *aliases;  /* struct region whose target this is; borrowed */
    GPtrArray *spaces;   /* struct address_space whose root this is; borrowed */
};

/* Sizes: 0 is 2^64. What lies beyond the end of a parent or of an alias' target isn't seen. Any
 * kind but an alias may have children, which hide their parent. */
void region_init_container(struct region *region, const char *name, uint64_t size);
/* The block gets a reference; [offset, offset + size) is in it. */
void region_init_ram(struct region *region, const char *name, struct ram_block *block,
                     uint64_t offset, uint64_t size);
/* Writes are ignored, or go to rom_ops if they are given (flash). */
void region_init_rom(struct region *region, const char *name, struct ram_block *block,
                     uint64_t offset, uint64_t size, const struct region_ops *rom_ops, void *opaque,
                     GMutex *lock);
/* ROM with handlers: whether reads go to RAM (true, at first) or to the handlers as well. */
void region_set_rom_mode(struct region *region, bool as_rom);
void region_init_mmio(struct region *region, const char *name, const struct region_ops *ops,
                      void *opaque, uint64_t size, GMutex *lock);
void region_init_alias(struct region *region, const char *name, struct region *target,
                       uint64_t target_offset, uint64_t size);
void region_init_iommu(struct region *region, const char *name, const struct iommu_ops *ops,
                       void *opaque, uint64_t size);
/* Takes it out of its tree and frees what it has. If others can be reading, it was taken out
 * before, and address_space_synchronize called since. What is all zeroes may be cleared, too. */
void region_clear(struct region *region);

void region_add(struct region *parent, uint64_t offset, struct region *child, int priority);
void region_remove(struct region *child);
void region_move(struct region *child, uint64_t offset);
void region_set_enabled(struct region *region, bool enabled);

/* ---- Address spaces ---- */

/* Spaces that can see the same regions share the lock of changes. For a root that isn't connected
 * to the others (yet), peer is one of them. name is copied. */
struct address_space *address_space_new(const char *name, struct region *root);
struct address_space *address_space_new_peer(const char *name, struct region *root,
                                             struct address_space *peer);
/* Nobody uses it any more. */
void address_space_free(struct address_space *space);
DEFINE_AUTO_PTR(address_space, address_space_free)

/* Several changes to the tree between these two make one new view (none, if nothing is different),
 * and no other thread changes the tree meanwhile. Nests. */
void address_space_begin_changes(struct address_space *space);
void address_space_end_changes(struct address_space *space);

/* fn runs after each new view, in the thread that made it, with the lock of changes held: it asks
 * for TLBs to be flushed. It doesn't change the tree. */
typedef void address_space_changed(void *opaque);
void address_space_add_listener(struct address_space *space, address_space_changed *fn,
                                void *opaque);
void address_space_remove_listener(struct address_space *space, void *opaque);

/*
 * Readers: who keeps pointers that come out of a view (vCPU threads, in their TLBs) registers, and
 * says when it uses none: between translated blocks, before it looks whether a listener asked for a
 * flush (which has happened before the old view may go). While it sleeps or is stopped it is
 * offline; quiescent ends that. A new one is offline. The functions below that only copy need no
 * registration.
 */
struct address_space_reader;
struct address_space_reader *address_space_reader_new(struct address_space *space);
void address_space_reader_free(struct address_space_reader *reader);
void address_space_reader_quiescent(struct address_space_reader *reader);
void address_space_reader_offline(struct address_space_reader *reader);
/*
 * Waits until no reader and no access is in a view from before. Then what was removed from the tree
 * can be freed. Not in a handler, not with a device's lock, not between begin and end.
 */
void address_space_synchronize(struct address_space *space);

/* What is at an address. */
struct memory_range {
    struct region *region; /* NULL: nothing */
    uint64_t offset;       /* in it */
    uint64_t length;       /* bytes from here that are of the same kind, at least 1 */
    uint8_t *host;         /* RAM and ROM in reading mode: where it is; else NULL */
    struct ram_block *ram;
    uint64_t ram_offset;
    bool writable; /* stores may go to host directly (dirty and code tracking apart) */
};
void address_space_look_up(struct address_space *space, uint64_t address,
                           struct memory_range *range);

/*
 * By devices and whoever else: any size, any alignment, any mix of regions; what can't be read is
 * filled with ones. The first error. They may be called with a device's lock held, and a guest can
 * make a device read or write its own registers: if another region's lock can't be had soon, that
 * region answers MEMORY_DEVICE_ERROR.
 */
enum memory_result address_space_read(struct address_space *space, uint64_t address, void *data,
                                      uint64_t size, struct memory_attrs attrs);
enum memory_result address_space_write(struct address_space *space, uint64_t address,
                                       const void *data, uint64_t size, struct memory_attrs attrs);
/* One access of 1, 2, 4 or 8 bytes by a vCPU, little endian. No device's lock is held: it waits for
 * the region's. *value is all ones after an error. */
enum memory_result address_space_load(struct address_space *space, uint64_t address, unsigned size,
                                      uint64_t *value, struct memory_attrs attrs);
enum memory_result address_space_store(struct address_space *space, uint64_t address, unsigned size,
                                       uint64_t value, struct memory_attrs attrs);

/* The same by a registered reader that isn't offline: they are faster. */
void address_space_reader_look_up(struct address_space_reader *reader, uint64_t address,
                                  struct memory_range *range);
enum memory_result address_space_reader_load(struct address_space_reader *reader, uint64_t address,
                                             unsigned size, uint64_t *value,
                                             struct memory_attrs attrs);
enum memory_result address_space_reader_store(struct address_space_reader *reader, uint64_t address,
                                              unsigned size, uint64_t value,
                                              struct memory_attrs attrs);

/*
 * Code tracking: fn is told that [address, address + size) of this space was written, where
 * ram_block_set_code said that code is, whichever address or space of its peers it was written
 * through. Any thread, possibly with a device's lock held. NULL: nobody is told.
 */
typedef void address_space_code_written(void *opaque, uint64_t address, uint64_t size);
void address_space_set_code_listener(struct address_space *space, address_space_code_written *fn,
                                     void *opaque);
/* A vCPU wrote there through a host pointer, to a page that is watched: marks it dirty and tells
 * about code. */
void address_space_written(struct address_space *space, uint64_t address, uint64_t size);

/*
 * All RAM and ROM that the space's tree has, shown or hidden, each block once, sorted by name. Free
 * with g_ptr_array_unref; it holds references.
 */
GPtrArray *address_space_ram_blocks(struct address_space *space);
/* A saved machine's bytes back into a block of the space, ROM also; vCPUs are stopped. False: the
 * host can't write there. */
bool address_space_restore(struct address_space *space, struct ram_block *block, uint64_t offset,
                           const void *data, uint64_t size);

/* Host memory for a device's DMA; all members but host and size are private. */
struct dma_map {
    uint8_t *host;
    uint64_t size; /* bytes: may be less than was asked for */
    struct address_space *space;
    struct ram_block *ram; /* one reference; NULL: a bounce buffer */
    uint64_t address;      /* of the space or in the block */
    struct memory_attrs attrs;
    bool is_write;
};
/*
 * Maps what is in one piece from address on, at least one byte. What isn't RAM gets a bounce buffer
 * (read now, written by unmap), of which the peers have little in all. False: nothing readable or
 * writable, or no bounce buffer left; map->host is NULL.
 */
bool address_space_map(struct address_space *space, uint64_t address, uint64_t size, bool is_write,
                       struct memory_attrs attrs, struct dma_map *map);
/* written: bytes from the start that the device has changed, at most map->size. */
enum memory_result address_space_unmap(struct dma_map *map, uint64_t written);

/* ---- For people ---- */

/* "info mtree": the trees of one space; of all its peers, and of the regions that aliases show.
 * flat: the published views. Caller frees. */
char *address_space_describe(struct address_space *space, bool flat);
char *address_space_describe_all(struct address_space *space, bool flat, bool show_disabled);

/* "x", "xp": how memory is written out. */
struct memory_dump {
    char format;   /* x, d, u, o, c */
    unsigned size; /* of an item, bytes: 1, 2, 4, 8 */
};
/* Appends lines of items, which data has in little endian, the first at address. */
void memory_dump_text(GString *out, const struct memory_dump *dump, uint64_t address,
                      const uint8_t *data, size_t n_items);

#endif
