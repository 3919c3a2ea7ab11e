/*
 * vFile: the debugger reads the target's files (GDB manual, E.7 "Host I/O Packets"), to find the
 * program and its libraries without a copy of its own. Read-only.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debug/gdb_priv.h"

/* Error numbers and open flags of the protocol (E.13.6). */
enum { FILEIO_EUNKNOWN = 9999, FILEIO_O_ACCMODE = 3 };

static unsigned fileio_errno(int number)
{
    switch (number) {
    case EPERM:
    case ENOENT:
    case EINTR:
    case EBADF:
    case EACCES:
    case EFAULT:
    case EBUSY:
    case EEXIST:
    case ENODEV:
    case ENOTDIR:
    case EISDIR:
    case EINVAL:
    case ENFILE:
    case EMFILE:
    case EFBIG:
    case ENOSPC:
    case ESPIPE:
    case EROFS: return (unsigned)number;
    case ENAMETOOLONG: return 91;
    default: return FILEIO_EUNKNOWN;
    }
}

static void reply_number(struct gdb_stub *s, int64_t result)
{
    if (result < 0)
        g_string_printf(s->reply, "F-1,%x", fileio_errno((int)-result));
    else
        g_string_printf(s->reply, "F%" G_GINT64_MODIFIER "x", (uint64_t)result);
}

static void reply_data(struct gdb_stub *s, const void *data, size_t size)
{
    reply_number(s, (int64_t)size);
    g_string_append_c(s->reply, ';');
    gdb_put_binary(s->reply, data, size);
}

/* A path in hexadecimal, up to a comma or the end. */
static bool get_path(const char **text, char path[PATH_MAX])
{
    size_t n = gdb_get_hex(text, path, PATH_MAX - 1);

    path[n] = 0;
    return n && strlen(path) == n;
}

static void file_open(struct gdb_stub *s, const char *args)
{
    char path[PATH_MAX];
    uint64_t flags, mode;
    unsigned slot = 0;
    int fd;

    if (!get_path(&args, path) || !gdb_get_token(&args, ",") || !gdb_get_number(&args, &flags) ||
        !gdb_get_token(&args, ",") || !gdb_get_number(&args, &mode)) {
        reply_number(s, -EINVAL);
        return;
    }
    if (flags & FILEIO_O_ACCMODE) {
        reply_number(s, -EROFS);
        return;
    }
    while (slot < GDB_MAX_FILES && s->files[slot] >= 0)
        slot++;
    fd = slot == GDB_MAX_FILES ? -EMFILE : s->ops->open_file(s->opaque, path);
    if (fd >= 0)
        s->files[slot] = fd;
    reply_number(s, fd < 0 ? fd : (int)slot);
}

/* The descriptor that a number of the debugger's stands for, or -1 */
static int *get_file(struct gdb_stub *s, const char **text)
{
    uint64_t slot;

    if (!gdb_get_number(text, &slot) || slot >= GDB_MAX_FILES || s->files[slot] < 0)
        return NULL;
    return &s->files[slot];
}

static void file_close(struct gdb_stub *s, const char *args)
{
    int *file = get_file(s, &args);

    if (file) {
        close(*file);
        *file = -1;
    }
    reply_number(s, file ? 0 : -EBADF);
}

static void file_pread(struct gdb_stub *s, const char *args)
{
    int *file = get_file(s, &args);
    uint64_t count, offset;
    char buf[GDB_PACKET_SIZE / 2 - 32];
    ssize_t n;

    if (!file || !gdb_get_token(&args, ",") || !gdb_get_number(&args, &count) ||
        !gdb_get_token(&args, ",") || !gdb_get_number(&args, &offset) || offset > INT64_MAX) {
        reply_number(s, file ? -EINVAL : -EBADF);
        return;
    }
    n = pread(*file, buf, MIN(count, sizeof(buf)), (off_t)offset);
    if (n < 0)
        reply_number(s, -errno);
    else
        reply_data(s, buf, (size_t)n);
}

static void put_be(GByteArray *out, uint64_t value, unsigned bytes)
{
    while (bytes--) {
        uint8_t byte = (uint8_t)(value >> 8 * bytes);

        g_byte_array_append(out, &byte, 1);
    }
}

/* struct stat of the protocol (E.13.8): big-endian, st_dev ino mode nlink uid gid rdev size
 * blksize blocks atime mtime ctime. */
static void put_stat(struct gdb_stub *s, const struct stat *st)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    put_be(out, st->st_dev, 4);
    put_be(out, st->st_ino, 4);
    put_be(out, st->st_mode, 4);
    put_be(out, st->st_nlink, 4);
    put_be(out, st->st_uid, 4);
    put_be(out, st->st_gid, 4);
    put_be(out, st->st_rdev, 4);
    put_be(out, (uint64_t)st->st_size, 8);
    put_be(out, (uint64_t)st->st_blksize, 8);
    put_be(out, (uint64_t)st->st_blocks, 8);
    put_be(out, (uint64_t)st->st_atime, 4);
    put_be(out, (uint64_t)st->st_mtime, 4);
    put_be(out, (uint64_t)st->st_ctime, 4);
    reply_data(s, out->data, out->len);
}

static void file_fstat(struct gdb_stub *s, const char *args)
{
    int *file = get_file(s, &args);
    struct stat st;

    if (!file || fstat(*file, &st) < 0)
        reply_number(s, file ? -errno : -EBADF);
    else
        put_stat(s, &st);
}

static void file_readlink(struct gdb_stub *s, const char *args)
{
    char path[PATH_MAX], target[PATH_MAX];
    int n = -EINVAL;

    if (get_path(&args, path))
        n = s->ops->read_link(s->opaque, path, target, sizeof(target));
    if (n < 0)
        reply_number(s, n);
    else
        reply_data(s, target, (size_t)n);
}

/* Whose view of the file system: there is only one. */
static void file_setfs(struct gdb_stub *s, const char *args)
{
    reply_number(s, 0);
}

void gdb_vfile(struct gdb_stub *s, const char *args, size_t size)
{
    static const struct {
        const char *name;
        void (*run)(struct gdb_stub *s, const char *args);
    } operations[] = {
        {"open:", file_open},   {"close:", file_close},       {"pread:", file_pread},
        {"fstat:", file_fstat}, {"readlink:", file_readlink}, {"setfs:", file_setfs},
    };

    if (!s->ops->open_file || !s->ops->read_link)
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
        if (gdb_get_token(&args, operations[i].name)) {
            operations[i].run(s, args);
            return;
        }
    }
}

void gdb_vfile_close_all(struct gdb_stub *s)
{
    for (unsigned i = 0; i < GDB_MAX_FILES; i++) {
        if (s->files[i] >= 0)
            close(s->files[i]);
        s->files[i] = -1;
    }
}
