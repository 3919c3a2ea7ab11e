/*
 * Drivers file and host_device. file.c opens, file_lock.c keeps others out, file_io.c moves data,
 * file_space.c knows about holes and sizes, file_laio.c is Linux AIO, file_ring.c has io_uring's
 * numbers for files.
 */
#ifndef NANDU_BLOCK_FILE_H
#define NANDU_BLOCK_FILE_H

#include <stdatomic.h>

#include "block/driver.h"

enum { FILE_MAX_LOOPS = 8 }; /* that have a number for the file */

struct file_state {
    /* Replaced in place (dup3) when it becomes writable: requests under way go on. */
    int fd;
    bool writable;  /* what fd is open for */
    int pending_fd; /* between perm_check and perm_commit: writable; -1: none */
    char *path;
    bool is_device; /* a block device */
    bool in_memory; /* of a file system that has no other place: nothing is waited for */
    bool direct;    /* O_DIRECT */
    enum qapi_blockdev_aio_options aio;
    unsigned max_batch; /* aio-max-batch; 0: the loop's */
    /* Locks belong to the open file, so this one is kept from the beginning. -1: none are taken. */
    int lock_fd;
    unsigned perm, shared;                 /* for which they are held */
    unsigned locked_perm, locked_unshared; /* bytes that are locked, a bit each */
    /* An fdatasync failed: the page cache may have dropped data. Never 0 again. */
    _Atomic int sync_error;
    /* What the file system turned out not to have. */
    _Atomic bool no_zero_range, no_punch_hole, no_dsync, no_nowait;
    struct co_serial writes; /* through the cache, for which the kernel locks the whole file */
    GMutex data_lock; /* of the next ones: where there was data, no hole, when it was looked at */
    uint64_t data_start, data_end;
    _Atomic uint64_t discards_ok, discards_failed, discarded_bytes;
    /* Event loops' numbers for the file; filled from the beginning, each by its loop's thread. */
    struct {
        _Atomic(struct event_loop *) loop; /* a reference; NULL: free */
        _Atomic int index;                 /* -1: it has none */
    } fixed[FILE_MAX_LOOPS];
    GMutex fixed_lock; /* of changing fixed, and fd */
};

/* ---- file.c ---- */

/* Opens the path again, or first. -1 and *error. */
int file_open_path(struct block_node *node, bool writable, GError **error);

/* ---- file_lock.c: as QEMU's, bytes 100 + n for a permission that is used, 200 + n for one that
 * isn't shared ---- */

bool file_lock_available(int fd);
bool file_lock_check(struct file_state *s, unsigned perm, unsigned shared, GError **error);
void file_lock_commit(struct file_state *s, unsigned perm, unsigned shared);
void file_lock_abort(struct file_state *s);

/* ---- file_io.c ---- */

int co_file_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                 struct block_buffer buffer, unsigned flags);
int co_file_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags);
int co_file_flush(struct block_node *node);
/* Runs fn(opaque) where it may block. fn returns 0 or -errno. */
typedef int file_job(void *opaque);
int co_file_run(file_job *fn, void *opaque);

/* ---- file_ring.c ---- */

/* io_uring's number for the file; -1: none. On loop's thread. */
int file_fixed_index(struct file_state *s, struct event_loop *loop);
/* fd was replaced. */
void file_fixed_replace(struct file_state *s);
void file_fixed_close(struct file_state *s);

/* ---- file_laio.c ---- */

/* False: this loop has no Linux AIO. iov has n entries; result as of preadv, or -errno. */
bool co_laio_transfer(bool is_write, int fd, const struct iovec *iov, unsigned n, uint64_t offset,
                      bool dsync, unsigned max_batch, ssize_t *result);
bool laio_available(void);

/* ---- file_space.c ---- */

int co_file_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags);
int co_file_discard(struct block_node *node, uint64_t offset, uint64_t bytes);
int co_file_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_status *status);
int co_file_truncate(struct block_node *node, uint64_t size, bool exact,
                     enum qapi_prealloc_mode prealloc, unsigned flags, GError **error);
int64_t co_file_length(struct block_node *node);
int64_t co_file_allocated_size(struct block_node *node);
int co_file_copy_range(struct block_node *node, uint64_t offset, struct block_node *to,
                       uint64_t to_offset, uint64_t bytes, unsigned flags);
/* Size of what fd is open for, bytes; -errno. */
int64_t file_size(int fd, bool is_device);
bool co_file_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error);

#endif
