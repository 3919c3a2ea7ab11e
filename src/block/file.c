/* Drivers file and host_device: opening, options, permissions. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "block/file.h"
#include "qapi/error.h"
#include "util/fdset.h"

enum { MAX_ALIGN = 4096, PROBE_SIZE = 2 * MAX_ALIGN, MAX_TRANSFER = 1 << 30 };

static bool G_GNUC_PRINTF(2, 3) fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* ---- Opening ---- */

int file_open_path(struct block_node *node, bool writable, GError **error)
{
    struct file_state *s = node->state;
    struct fdsets *fdsets = object_context(block_graph_root(node->graph))->fdsets;
    int flags = (writable ? O_RDWR : O_RDONLY) | (s->direct ? O_DIRECT : 0);
    int fd;

    if (g_str_has_prefix(s->path, "/dev/fdset/")) {
        fd = fdsets_open(fdsets, s->path, flags, 0, error);
        if (fd < 0 && !writable) {
            /* A set may have nothing but a writable descriptor. */
            g_clear_error(error);
            fd = fdsets_open(fdsets, s->path, O_RDWR | (s->direct ? O_DIRECT : 0), 0, error);
        }
        return fd;
    }
    fd = open(s->path, flags | O_CLOEXEC);
    if (fd < 0) {
        if (errno == EINVAL && s->direct) {
            fail(error,
                 "Could not open '%s': its file system does not support O_DIRECT (cache.direct=on, "
                 "cache=none)",
                 s->path);
        } else {
            fail(error, "Could not open '%s': %s", s->path, g_strerror(errno));
        }
    }
    return fd;
}

static bool check_kind(struct block_node *node, const struct stat *st, GError **error)
{
    struct file_state *s = node->state;
    bool wants_device = node->driver->kind == QAPI_BLOCKDEV_DRIVER_HOST_DEVICE;

    s->is_device = S_ISBLK(st->st_mode);
    if (wants_device && !s->is_device && !S_ISCHR(st->st_mode)) {
        return fail(error,
                    "'host_device' driver requires '%s' to be either a character or block device",
                    s->path);
    }
    if (!wants_device && !S_ISREG(st->st_mode)) {
        return fail(error, "'file' driver requires '%s' to be a regular file%s", s->path,
                    s->is_device || S_ISCHR(st->st_mode) ? "; driver host_device is for devices"
                                                         : "");
    }
    return true;
}

/* auto-read-only: writable only once somebody wants to write, and not at all if that isn't
 * allowed. */
static bool open_first(struct block_node *node, GError **error)
{
    struct file_state *s = node->state;
    struct stat st;

    /* Opening a FIFO would wait. */
    if (stat(s->path, &st) == 0 && !S_ISDIR(st.st_mode) && !check_kind(node, &st, error)) {
        return false;
    }
    s->writable = !node->read_only && !node->auto_read_only;
    s->fd = file_open_path(node, s->writable, error);
    if (s->fd < 0) {
        return false;
    }
    if (fstat(s->fd, &st) < 0) {
        return fail(error, "Could not stat '%s': %s", s->path, g_strerror(errno));
    }
    if (!check_kind(node, &st, error)) {
        return false;
    }
    if (!node->read_only && node->auto_read_only) {
        if (g_str_has_prefix(s->path, "/dev/fdset/")) {
            s->writable = (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDWR;
        } else if (faccessat(AT_FDCWD, s->path, W_OK, AT_EACCESS) < 0) {
            node->read_only = true;
        }
    }
    return true;
}

/* ---- Alignment that O_DIRECT needs ---- */

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0
#endif

static bool ask_for_alignment(struct block_node *node)
{
    struct file_state *s = node->state;
    int sector;

#if STATX_DIOALIGN
    struct statx stx;

    if (statx(s->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align && stx.stx_dio_mem_align) {
        node->limits.request_align = stx.stx_dio_offset_align;
        node->limits.memory_align = stx.stx_dio_mem_align;
        return true;
    }
#endif
    if (s->is_device && ioctl(s->fd, BLKSSZGET, &sector) == 0 && sector > 0) {
        node->limits.request_align = node->limits.memory_align = (uint32_t)sector;
        return true;
    }
    return false;
}

static bool can_read(int fd, void *data, size_t size)
{
    ssize_t result;

    do {
        result = pread(fd, data, size, 0);
    } while (result < 0 && errno == EINTR);
    return result >= 0 || errno != EINVAL;
}

/* Kernels that can't be asked are tried; a file too short to tell gets the safe value. */
static void try_alignments(struct block_node *node)
{
    const struct file_state *s = node->state;
    void *data;

    node->limits.request_align = node->limits.memory_align = MAX_ALIGN;
    if (posix_memalign(&data, PROBE_SIZE, PROBE_SIZE) != 0) {
        return;
    }
    for (uint32_t align = 512; align < MAX_ALIGN; align *= 2) {
        if (can_read(s->fd, data, align)) {
            node->limits.request_align = align;
            break;
        }
    }
    for (uint32_t align = 512; align < MAX_ALIGN; align *= 2) {
        if (can_read(s->fd, (char *)data + align, MAX_ALIGN)) {
            node->limits.memory_align = align;
            break;
        }
    }
    free(data);
}

static void refresh_limits(struct block_node *node)
{
    const struct file_state *s = node->state;
    uint32_t align;

    node->limits = (struct block_limits){
        .request_align = 1,
        .memory_align = 1,
        .max_iov = IOV_MAX,
        .max_transfer = MAX_TRANSFER,
    };
    if (s->direct) {
        if (!ask_for_alignment(node)) {
            try_alignments(node);
        }
        align = node->limits.request_align | node->limits.memory_align;
        if ((align & (align - 1)) &&
            ((node->limits.request_align & (node->limits.request_align - 1)) ||
             (node->limits.memory_align & (node->limits.memory_align - 1)))) {
            node->limits.request_align = node->limits.memory_align = MAX_ALIGN;
        }
    }
    if (s->is_device) {
        /* Zeroing and discarding work on sectors whatever the cache does. */
        node->limits.zeroes_align = node->limits.discard_align = 512;
    }
}

/* ---- Options ---- */

/* With s->direct set. False: nothing is changed. */
static bool take_aio(struct block_node *node, const struct qapi_blockdev_options_file *options,
                     GError **error)
{
    struct file_state *s = node->state;
    struct event_loop *loop = object_context(block_graph_root(node->graph))->loop;

    if (options->aio_max_batch < 0 || options->aio_max_batch > 1024) {
        return fail(error, "aio-max-batch must be from 0 to 1024");
    }
    if (options->aio == QAPI_BLOCKDEV_AIO_OPTIONS_NATIVE && !s->direct) {
        return fail(
            error,
            "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    }
    if (options->aio == QAPI_BLOCKDEV_AIO_OPTIONS_NATIVE && !laio_available()) {
        return fail(
            error,
            "aio=native was specified, but this kernel has no Linux AIO (or its limit fs.aio-max-nr is "
            "reached); use aio=threads");
    }
    if (options->aio == QAPI_BLOCKDEV_AIO_OPTIONS_IO_URING && !event_loop_has_uring(loop)) {
        return fail(
            error,
            "aio=io_uring was specified, but this kernel has no io_uring, or forbids it; use "
            "aio=threads");
    }
    s->aio = options->aio;
    s->max_batch = (unsigned)options->aio_max_batch;
    return true;
}

static bool take_options(struct block_node *node, const struct qapi_blockdev_options_file *options,
                         GError **error)
{
    struct file_state *s = node->state;

    if (!*options->filename) {
        return fail(error, "The '%s' block driver requires a file name", node->driver->name);
    }
    if (options->pr_manager) {
        return fail(error, "pr-manager: persistent reservations are not supported");
    }
    if (options->has_drop_cache && !options->drop_cache) {
        return fail(
            error,
            "drop-cache=off is not supported: the cache is dropped when an image is handed over");
    }
    s->path = g_strdup(options->filename);
    s->direct = node->direct;
    return take_aio(node, options, error);
}

static bool take_locking(struct block_node *node, const struct qapi_blockdev_options_file *options,
                         GError **error)
{
    struct file_state *s = node->state;
    bool wanted = !options->has_locking || options->locking != QAPI_ON_OFF_AUTO_OFF;

    if (!wanted) {
        return true;
    }
    if (!file_lock_available(s->fd)) {
        return options->locking != QAPI_ON_OFF_AUTO_ON ||
               fail(error, "locking=on: '%s' can't be locked on this host", s->path);
    }
    s->lock_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
    return s->lock_fd >= 0 ||
           fail(error, "Could not duplicate a descriptor: %s", g_strerror(errno));
}

static const struct qapi_blockdev_options_file *
file_options(const struct block_node *node, const struct qapi_blockdev_options *options)
{
    return node->driver->kind == QAPI_BLOCKDEV_DRIVER_FILE ? &options->u.file
                                                           : &options->u.host_device;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_file *file = file_options(node, options);
    struct file_state *s = node->state;
    struct statfs fs;
    int64_t size;

    s->fd = s->lock_fd = s->pending_fd = -1;
    co_serial_init(&s->writes);
    s->shared = BLOCK_PERM_ALL;
    if (!take_options(node, file, error) || !open_first(node, error) ||
        !take_locking(node, file, error)) {
        return false;
    }
    s->in_memory = !s->is_device && fstatfs(s->fd, &fs) == 0 &&
                   (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    size = file_size(s->fd, s->is_device);
    if (size < 0) {
        return fail(error, "Could not get the size of '%s': %s", s->path, g_strerror((int)-size));
    }
    node->length = (uint64_t)size;
    node->filename = g_strdup(s->path);
    node->supported_write_flags = BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_REGISTERED;
    node->supported_zeroes_flags = BLOCK_UNCHANGED | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return true;
}

static void co_close(struct block_node *node)
{
    struct file_state *s = node->state;

    if (s->path) { /* else it wasn't opened at all */
        int fds[] = {s->fd, s->lock_fd, s->pending_fd};

        /* The kernel may keep a fixed file open for a moment, and with it its locks. */
        file_lock_commit(s, 0, BLOCK_PERM_ALL);
        file_fixed_close(s);
        co_serial_clear(&s->writes);
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
        }
    }
    g_free(s->path);
}

/* ---- Other options ---- */

static const char *const mutable_options[] = {"aio", "aio-max-batch", NULL};

/* What it was. */
struct reopen {
    bool direct;
    enum qapi_blockdev_aio_options aio;
    unsigned max_batch;
};

/* Of the open file, so that a set's descriptor or a file that has no name any more will do, too. */
static bool set_direct(struct file_state *s, bool direct)
{
    int flags = fcntl(s->fd, F_GETFL);

    if (flags < 0 || fcntl(s->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) < 0) {
        return false;
    }
    s->direct = direct;
    return true;
}

/* At once, since what the nodes above write meanwhile must be aligned as the file needs it then. */
static bool co_reopen_prepare(struct block_node *node, const struct qapi_blockdev_options *options,
                              bool read_only, void **pending, GError **error)
{
    struct file_state *s = node->state;
    struct reopen old = {s->direct, s->aio, s->max_batch};
    bool direct = options->cache && options->cache->direct;

    if (direct != s->direct && !set_direct(s, direct)) {
        return fail(error, "Could not reopen '%s' with cache.direct=%s: %s", s->path,
                    direct ? "on" : "off", g_strerror(errno));
    }
    if (!take_aio(node, file_options(node, options), error)) {
        set_direct(s, old.direct);
        return false;
    }
    refresh_limits(node);
    *pending = g_memdup2(&old, sizeof(old));
    return true;
}

static void co_reopen_commit(struct block_node *node, void *pending)
{
    g_free(pending);
}

static void co_reopen_abort(struct block_node *node, void *pending)
{
    struct file_state *s = node->state;
    const struct reopen *old = pending;

    if (s->direct != old->direct) {
        set_direct(s, old->direct); /* as it was, which it could be */
    }
    s->aio = old->aio;
    s->max_batch = old->max_batch;
    g_free(pending);
}

/* ---- Permissions ---- */

static bool perm_check(struct block_node *node, unsigned perm, unsigned shared, GError **error)
{
    const unsigned changing = BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE;
    struct file_state *s = node->state;

    if (!file_lock_check(s, perm, shared, error)) {
        return false;
    }
    if ((perm & changing) && !s->writable) {
        s->pending_fd = file_open_path(node, true, error);
        if (s->pending_fd < 0) {
            file_lock_abort(s);
            return false;
        }
    }
    return true;
}

static void perm_abort(struct block_node *node)
{
    struct file_state *s = node->state;

    file_lock_abort(s);
    if (s->pending_fd >= 0) {
        close(s->pending_fd);
        s->pending_fd = -1;
    }
}

static void perm_commit(struct block_node *node, unsigned perm, unsigned shared)
{
    struct file_state *s = node->state;

    file_lock_commit(s, perm, shared);
    if (s->pending_fd >= 0) {
        /* Requests under way keep the old open file, which reads the same. */
        if (dup3(s->pending_fd, s->fd, O_CLOEXEC) >= 0) {
            s->writable = true;
            node->read_only = false;
            file_fixed_replace(s);
        }
        close(s->pending_fd);
        s->pending_fd = -1;
    }
}

/* ---- The drivers ---- */

static bool parse_filename(const char *filename, json_object *options, GError **error)
{
    json_object_object_add(options, "filename", json_object_new_string(strchr(filename, ':') + 1));
    return true;
}

static struct qapi_image_info_specific *co_info(struct block_node *node, GError **error)
{
    const struct file_state *s = node->state;
    struct qapi_image_info_specific *info;
    struct fsxattr attributes;

    info = g_new0(struct qapi_image_info_specific, 1);
    info->type = QAPI_IMAGE_INFO_SPECIFIC_KIND_FILE;
    info->u.file.data = g_new0(struct qapi_image_info_specific_file, 1);
    if (ioctl(s->fd, FS_IOC_FSGETXATTR, &attributes) == 0 && attributes.fsx_extsize) {
        info->u.file.data->has_extent_size_hint = true;
        info->u.file.data->extent_size_hint = attributes.fsx_extsize;
    }
    return info;
}

static const char *const file_protocols[] = {"file", NULL};
static const char *const device_protocols[] = {"host_device", NULL};

static const struct block_create_option create_options[] = {
    {"size", NULL, "<size>", "Virtual disk size", NULL, false},
    {"preallocation", NULL, "<str>", "Preallocation mode (allowed values: off, falloc, full)",
     "off", false},
    {"nocow", NULL, "<bool (on/off)>", "Turn off copy-on-write (valid only on btrfs)", "off",
     false},
    {"extent_size_hint", "extent-size-hint", "<size>",
     "Extent size hint for the image file, 0 to disable", NULL, false},
    {NULL, NULL, NULL, NULL, NULL, false},
};

#define FILE_DRIVER(...)                                                                         \
    {                                                                                            \
        .state_size = sizeof(struct file_state), .parse_filename = parse_filename,               \
        .co_open = co_open, .co_close = co_close, .co_reopen_prepare = co_reopen_prepare,        \
        .co_reopen_commit = co_reopen_commit, .co_reopen_abort = co_reopen_abort,                \
        .mutable_options = mutable_options, .refresh_limits = refresh_limits,                    \
        .co_read = co_file_read, .co_write = co_file_write,                                      \
        .co_write_zeroes = co_file_write_zeroes, .co_discard = co_file_discard,                  \
        .co_flush = co_file_flush, .co_status = co_file_status, .co_truncate = co_file_truncate, \
        .co_length = co_file_length, .co_allocated_size = co_file_allocated_size,                \
        .co_info = co_info, .co_copy_range = co_file_copy_range, .perm_check = perm_check,       \
        .perm_commit = perm_commit, .perm_abort = perm_abort, __VA_ARGS__                        \
    }

static const struct block_driver file_driver =
    FILE_DRIVER(.name = "file", .kind = QAPI_BLOCKDEV_DRIVER_FILE, .protocols = file_protocols,
                .co_create = co_file_create, .create_options = create_options);
static const struct block_driver host_device =
    FILE_DRIVER(.name = "host_device", .kind = QAPI_BLOCKDEV_DRIVER_HOST_DEVICE,
                .protocols = device_protocols);
BLOCK_DRIVER(file_driver);
BLOCK_DRIVER(host_device);
