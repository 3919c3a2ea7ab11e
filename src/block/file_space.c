/* What isn't data: holes, zeroes, discards, sizes, new files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "qapi/error.h"
#include "util/fdset.h"

int64_t file_size(int fd, bool is_device)
{
    struct stat st;
    uint64_t bytes;

    if (is_device) {
        return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
    }
    return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

int64_t co_file_length(struct block_node *node)
{
    const struct file_state *s = node->state;

    return file_size(s->fd, s->is_device);
}

int64_t co_file_allocated_size(struct block_node *node)
{
    const struct file_state *s = node->state;
    struct stat st;

    return fstat(s->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

/* ---- Zeroes and discards ---- */

struct space {
    struct file_state *s;
    uint64_t offset, bytes;
    bool may_unmap;
};

static int allocate(int fd, int mode, const struct space *r)
{
    int result;

    do {
        result = fallocate(fd, mode, (off_t)r->offset, (off_t)r->bytes);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV || errno == EINVAL ||
                   errno == EPERM
               ? -ENOTSUP
               : -errno;
}

static int punch_hole(struct space *r)
{
    int result = r->s->no_punch_hole
                     ? -ENOTSUP
                     : allocate(r->s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r);

    if (result == -ENOTSUP) {
        r->s->no_punch_hole = true;
    }
    return result;
}

static int zero_device(const struct space *r, unsigned long request)
{
    uint64_t range[2] = {r->offset, r->bytes};
    int result;

    do {
        result = ioctl(r->s->fd, request, range);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL ? -ENOTSUP : -errno;
}

/*
 * Some file systems look at every page up to the hole, so where data ends is remembered. That
 * others have made a hole meanwhile does no harm: it reads as zeroes, which are data, too.
 */
static bool is_known_data(struct file_state *s, uint64_t offset, uint64_t *bytes)
{
    bool known;

    g_mutex_lock(&s->data_lock);
    known = offset >= s->data_start && offset < s->data_end;
    if (known) {
        *bytes = MIN(*bytes, s->data_end - offset);
    }
    g_mutex_unlock(&s->data_lock);
    return known;
}

static void know_data(struct file_state *s, uint64_t start, uint64_t end)
{
    g_mutex_lock(&s->data_lock);
    s->data_start = start;
    s->data_end = end;
    g_mutex_unlock(&s->data_lock);
}

static int zeroes_job(void *opaque)
{
    struct space *r = opaque;
    int64_t size;
    int result = -ENOTSUP;

    if (r->s->is_device) {
        /* The device itself unmaps if it can say that zeroes are read then. */
        return zero_device(r, BLKZEROOUT);
    }
    size = file_size(r->s->fd, false);
    if (size < 0) {
        return (int)size;
    }
    if (r->offset >= (uint64_t)size && r->may_unmap) {
        /* Nothing is there yet: the file gets longer. */
        do {
            result = ftruncate(r->s->fd, (off_t)(r->offset + r->bytes)) < 0 ? -errno : 0;
        } while (result == -EINTR);
        return result;
    }
    if (r->may_unmap && r->offset + r->bytes <= (uint64_t)size) {
        result = punch_hole(r);
    }
    if (result == -ENOTSUP && !r->s->no_zero_range) {
        result = allocate(r->s->fd, FALLOC_FL_ZERO_RANGE, r);
        if (result == -ENOTSUP) {
            r->s->no_zero_range = true;
        }
    }
    return result;
}

int co_file_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct space r = {node->state, offset, bytes, flags & BLOCK_MAY_UNMAP};
    int result;

    /* A device that zeroes by writing is no better than the caller, who would rather know. */
    if (r.s->is_device && (flags & BLOCK_NO_FALLBACK)) {
        return -ENOTSUP;
    }
    if (!r.s->is_device && r.s->no_zero_range && (!r.may_unmap || r.s->no_punch_hole)) {
        return -ENOTSUP;
    }
    result = co_file_run(zeroes_job, &r);
    know_data(r.s, 0, 0);
    return result;
}

static int discard_job(void *opaque)
{
    struct space *r = opaque;

    return r->s->is_device ? zero_device(r, BLKDISCARD) : punch_hole(r);
}

int co_file_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct space r = {node->state, offset, bytes, true};
    int result = !r.s->is_device && r.s->no_punch_hole ? -ENOTSUP : co_file_run(discard_job, &r);

    know_data(r.s, 0, 0);
    if (result >= 0) {
        atomic_fetch_add(&r.s->discards_ok, 1);
        atomic_fetch_add(&r.s->discarded_bytes, bytes);
    } else {
        atomic_fetch_add(&r.s->discards_failed, 1);
    }
    return result;
}

/* ---- Holes ---- */

/* Whether there is data at offset, and to where it is so; the file has bytes behind offset. */
static bool find_extent(struct file_state *s, uint64_t offset, uint64_t *bytes)
{
    int fd = s->fd;
    off_t data, hole;

    if (is_known_data(s, offset, bytes)) {
        return true;
    }
    data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data < 0) {
        return errno != ENXIO; /* ENXIO: a hole to the end; else nobody knows: data */
    }
    if ((uint64_t)data > offset) {
        *bytes = MIN(*bytes, (uint64_t)data - offset);
        return false;
    }
    hole = lseek(fd, (off_t)offset, SEEK_HOLE);
    if (hole >= 0 && (uint64_t)hole > offset) {
        know_data(s, offset, (uint64_t)hole);
        *bytes = MIN(*bytes, (uint64_t)hole - offset);
    }
    return true;
}

int co_file_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_status *status)
{
    struct file_state *s = node->state;
    bool data = s->is_device || find_extent(s, offset, &bytes);

    *status = (struct block_status){
        .flags = BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED |
                 (data ? BLOCK_STATUS_DATA : BLOCK_STATUS_ZERO),
        .bytes = bytes,
        .offset = offset,
        .file = node,
    };
    return 0;
}

/* ---- Sizes ---- */

struct resize {
    int fd;
    uint64_t old, size;
    enum qapi_prealloc_mode prealloc;
    const char *failed; /* what */
};

static int write_zeroes_to_end(int fd, uint64_t from, uint64_t to)
{
    const size_t chunk = 64 << 10;
    g_autofree void *zeroes = g_malloc0(chunk);
    int flags = fcntl(fd, F_GETFL);

    /* The end of what was there needn't be aligned. */
    if (flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags & ~O_DIRECT) < 0) {
        return -errno;
    }
    while (from < to) {
        ssize_t n = pwrite(fd, zeroes, MIN(chunk, to - from), (off_t)from);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        from += n > 0 ? (uint64_t)n : 0;
    }
    if (fsync(fd) < 0) {
        return -errno;
    }
    return flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

static int preallocate(struct resize *r)
{
    int result;

    switch (r->prealloc) {
    case QAPI_PREALLOC_MODE_FALLOC:
        r->failed = "Could not preallocate data for the new file";
        /* Not the C library's posix_fallocate, which writes where the file system can't. */
        do {
            result = fallocate(r->fd, 0, (off_t)r->old, (off_t)(r->size - r->old)) < 0 ? -errno : 0;
        } while (result == -EINTR);
        return result;
    case QAPI_PREALLOC_MODE_FULL:
        r->failed = "Could not write zeros for preallocation";
        return write_zeroes_to_end(r->fd, r->old, r->size);
    default: return 0;
    }
}

static int resize_job(void *opaque)
{
    struct resize *r = opaque;
    int result;

    r->failed = "Failed to resize the file";
    if (r->size <= r->old || r->prealloc == QAPI_PREALLOC_MODE_OFF) {
        return ftruncate(r->fd, (off_t)r->size) < 0 ? -errno : 0;
    }
    result = preallocate(r);
    if (result < 0 && ftruncate(r->fd, (off_t)r->old) < 0) {
        r->failed = "Failed to resize the file, and to restore its old size";
    }
    return result;
}

static int fail(GError **error, int result, const char *what)
{
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: %s", what, g_strerror(-result));
    return result;
}

static bool check_prealloc(enum qapi_prealloc_mode prealloc, bool grows, GError **error)
{
    if (prealloc == QAPI_PREALLOC_MODE_METADATA) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "Unsupported preallocation mode 'metadata'");
        return false;
    }
    if (prealloc != QAPI_PREALLOC_MODE_OFF && !grows) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "Preallocation can't be used for shrinking files");
        return false;
    }
    return true;
}

int co_file_truncate(struct block_node *node, uint64_t size, bool exact,
                     enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct file_state *s = node->state;
    int64_t old = file_size(s->fd, s->is_device);
    struct resize r = {s->fd, (uint64_t)MAX(old, 0), size, prealloc, NULL};
    g_autofree char *what = NULL;
    int result;

    if (old < 0) {
        return fail(error, (int)old, "Could not get the file's size");
    }
    if (s->is_device) {
        if (prealloc != QAPI_PREALLOC_MODE_OFF) {
            return fail(error, -ENOTSUP, "Preallocation is for regular files");
        }
        if (size > r.old) {
            g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Cannot grow device files");
            return -EINVAL;
        }
        return size != r.old && exact ? fail(error, -ENOTSUP, "Cannot resize device files") : 0;
    }
    if (!check_prealloc(prealloc, size >= r.old, error)) {
        return -ENOTSUP;
    }
    result = co_file_run(resize_job, &r);
    know_data(s, 0, 0);
    if (result < 0) {
        what = g_strdup_printf("%s: '%s'", r.failed, s->path);
        return fail(error, result, what);
    }
    return 0;
}

/* ---- Copies ---- */

struct copy {
    int from, to;
    uint64_t from_offset, to_offset, bytes;
};

static int copy_job(void *opaque)
{
    struct copy *c = opaque;

    while (c->bytes) {
        off_t from = (off_t)c->from_offset, to = (off_t)c->to_offset;
        ssize_t n = copy_file_range(c->from, &from, c->to, &to, c->bytes, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EBADF ||
                           errno == EOPNOTSUPP
                       ? -ENOTSUP
                       : -errno;
        }
        if (n == 0) {
            return -ENOTSUP; /* some file systems say so when they can't */
        }
        c->from_offset += (uint64_t)n;
        c->to_offset += (uint64_t)n;
        c->bytes -= (uint64_t)n;
    }
    return 0;
}

int co_file_copy_range(struct block_node *node, uint64_t offset, struct block_node *to,
                       uint64_t to_offset, uint64_t bytes, unsigned flags)
{
    const struct file_state *s = node->state, *target = to->state;
    struct copy c = {s->fd, 0, offset, to_offset, bytes};

    if (to->driver->co_copy_range != co_file_copy_range || s->is_device || target->is_device) {
        return -ENOTSUP;
    }
    c.to = target->fd;
    return co_file_run(copy_job, &c);
}

/* ---- New files ---- */

struct create {
    const struct qapi_blockdev_create_options_file *options;
    int fd;
    const char *failed;
};

/* Best effort, as both are hints to particular file systems, and before there is data. */
static void set_attributes(int fd, const struct qapi_blockdev_create_options_file *options)
{
    const uint64_t default_hint = 1 << 20;
    uint64_t hint = options->has_extent_size_hint ? options->extent_size_hint : default_hint;
    struct fsxattr attributes;
    int flags;

    if (options->nocow && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0) {
            return;
        }
    }
    if (hint && hint <= UINT32_MAX && ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
        attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
        attributes.fsx_extsize = (uint32_t)hint;
        if (ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0) {
            return;
        }
    }
}

static int create_job(void *opaque)
{
    struct create *c = opaque;
    struct resize r = {c->fd, 0, c->options->size, c->options->preallocation, NULL};
    int result;

    c->failed = "Could not clear the file";
    if (ftruncate(c->fd, 0) < 0) {
        return -errno;
    }
    set_attributes(c->fd, c->options);
    result = resize_job(&r);
    c->failed = r.failed;
    return result;
}

/* Nobody's image is overwritten while it is in use: the same locks as for a node. */
static bool lock_new(const char *path, int fd, GError **error)
{
    const unsigned unshared = BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
    struct file_state locks = {.path = (char *)path, .lock_fd = fd, .shared = BLOCK_PERM_ALL};

    return !file_lock_available(fd) || file_lock_check(&locks, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                                                       BLOCK_PERM_ALL & ~unshared, error);
}

bool co_file_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error)
{
    struct create c = {&options->u.file, -1, NULL};
    struct fdsets *fdsets = object_context(block_graph_root(graph))->fdsets;
    g_autofree char *what = NULL;
    int result = 0;

    if (!check_prealloc(c.options->preallocation, true, error)) {
        return false;
    }
    if (c.options->size > INT64_MAX) {
        return fail(error, -EFBIG, "Image size") >= 0;
    }
    if (g_str_has_prefix(c.options->filename, "/dev/fdset/")) {
        c.fd = fdsets_open(fdsets, c.options->filename, O_RDWR, 0, error);
    } else {
        c.fd = open(c.options->filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (c.fd < 0) {
            what = g_strdup_printf("Could not create '%s'", c.options->filename);
            fail(error, -errno, what);
        }
    }
    if (c.fd < 0) {
        return false;
    }
    if (!lock_new(c.options->filename, c.fd, error)) {
        close(c.fd);
        return false;
    }
    result = co_file_run(create_job, &c);
    if (close(c.fd) < 0 && result == 0) {
        result = -errno;
        c.failed = "Could not close the new file";
    }
    if (result < 0) {
        what = g_strdup_printf("%s: '%s'", c.failed, c.options->filename);
        fail(error, result, what);
    }
    return result >= 0;
}
