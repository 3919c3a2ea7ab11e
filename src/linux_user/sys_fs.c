/*
 * System calls on files by name: what differs from a plain call to the host's kernel.
 */
#include "linux_user/sys.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/mount.h>
#include <linux/quota.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "linux_user/procfs.h"
#include "linux_user/syscall_args.h"

/* ---- stat ---- */

/* struct stat of the generic system call interface (asm-generic/stat.h, 64 bits). */
struct guest_stat {
    uint64_t dev;
    uint64_t ino;
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint64_t rdev;
    uint64_t pad1;
    int64_t size;
    int32_t blksize;
    int32_t pad2;
    int64_t blocks;
    int64_t atime;
    uint64_t atime_nsec;
    int64_t mtime;
    uint64_t mtime_nsec;
    int64_t ctime;
    uint64_t ctime_nsec;
    uint32_t unused[2];
};
G_STATIC_ASSERT(sizeof(struct guest_stat) == 128);

static int64_t put_stat(const struct lu_process *p, uint64_t addr, const struct stat *st)
{
    struct guest_stat guest = {
        .dev = st->st_dev,
        .ino = st->st_ino,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = st->st_size,
        .blksize = (int32_t)st->st_blksize,
        .blocks = st->st_blocks,
        .atime = st->st_atim.tv_sec,
        .atime_nsec = (uint64_t)st->st_atim.tv_nsec,
        .mtime = st->st_mtim.tv_sec,
        .mtime_nsec = (uint64_t)st->st_mtim.tv_nsec,
        .ctime = st->st_ctim.tv_sec,
        .ctime_nsec = (uint64_t)st->st_ctim.tv_nsec,
    };

    return lu_copy_to_guest(p, addr, &guest, sizeof(guest));
}

/* The path of an existing file that a call reaches: the guest's program for /proc/self/exe if it
 * follows links ([follow]), else the file under -L. Takes and gives a g_malloc'ed string. */
static char *reachable_path(struct lu_thread *t, int dirfd, char *path, bool follow)
{
    char *found = NULL;

    if (!path || !path[0]) {
        return path;
    }
    if (follow) {
        found = lu_special_exe_path(t, dirfd, path);
    }
    if (!found && path[0] == '/' && t->process->options->prefix) {
        found = lu_prefixed_path(t->process, path);
    }
    if (!found) {
        return path;
    }
    g_free(path);
    return found;
}

int64_t sys_newfstatat(struct lu_thread *t, const uint64_t a[6])
{
    g_autofree char *path = NULL;
    struct stat st;
    int64_t result = lu_path_from_guest(t->process, &path, a[1], false);

    if (result) {
        return result;
    }
    path = reachable_path(t, (int)a[0], path, !(a[3] & AT_SYMLINK_NOFOLLOW));
    result = LU_HOST(SYS_newfstatat, a[0], lu_path_ptr(t->process, path, a[1]), &st, a[3]);
    return result ? result : put_stat(t->process, a[2], &st);
}

int64_t sys_fstat(struct lu_thread *t, const uint64_t a[6])
{
    struct stat st;
    int64_t result = LU_HOST(SYS_fstat, a[0], &st);

    return result ? result : put_stat(t->process, a[1], &st);
}

int64_t sys_statx(struct lu_thread *t, const uint64_t a[6])
{
    g_autofree char *path = NULL;
    int error = lu_path_from_guest(t->process, &path, a[1], false);

    if (error) {
        return error;
    }
    path = reachable_path(t, (int)a[0], path, !(a[2] & AT_SYMLINK_NOFOLLOW));
    return LU_HOST(SYS_statx, a[0], lu_path_ptr(t->process, path, a[1]), a[2], a[3],
                   lu_ptr(t->process, a[4], sizeof(struct statx), LU_WRITE));
}

int64_t sys_readlinkat(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    g_autofree char *path = NULL;
    g_autofree char *special = NULL;
    bool handled = false;
    int32_t size = (int32_t)a[3];
    int error = lu_path_from_guest(p, &path, a[1], false);

    if (error || size <= 0) {
        return error ? error : -EINVAL;
    }
    if (!path) {
        return -EFAULT;
    }
    error = (int)lu_readlink_special(t, (int)a[0], path, &special, &handled);
    if (handled && error) {
        return error;
    }
    if (handled) {
        size_t length = MIN(strlen(special), (size_t)size);

        error = lu_copy_to_guest(p, a[2], special, length);
        return error ? error : (int64_t)length;
    }
    path = reachable_path(t, (int)a[0], path, false);
    /* A link is shorter than the buffer that many programs say they have. */
    return LU_HOST(SYS_readlinkat, a[0], path,
                   lu_ptr(p, a[2], MIN((uint64_t)size, PATH_MAX), LU_WRITE),
                   MIN(size, PATH_MAX));
}

/* ---- File handles ---- */

int64_t sys_name_to_handle_at(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    g_autofree char *path = NULL;
    uint32_t bytes;
    /* AT_HANDLE_MNT_ID_UNIQUE (Linux 6.12) gives 64 bits. */
    unsigned id_size = a[4] & 1 ? 8 : 4;
    int error = lu_path_from_guest(p, &path, a[1], true);

    if (error) {
        return error;
    }
    if (lu_copy_from_guest(p, &bytes, a[2], sizeof(bytes)) != 0 || bytes > MAX_HANDLE_SZ) {
        bytes = 0; /* the kernel finds the error */
    }
    return LU_HOST(SYS_name_to_handle_at, a[0], lu_path_ptr(p, path, a[1]),
                   lu_ptr(p, a[2], sizeof(struct file_handle) + bytes, LU_READ | LU_WRITE),
                   lu_ptr(p, a[3], id_size, LU_WRITE), a[4]);
}

int64_t sys_open_by_handle_at(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint32_t bytes;
    int error = lu_copy_from_guest(p, &bytes, a[1], sizeof(bytes));

    if (error) {
        return error;
    }
    if (bytes > MAX_HANDLE_SZ) {
        return -EINVAL;
    }
    return LU_BLOCK(t, SYS_open_by_handle_at, a[0],
                    lu_ptr(p, a[1], sizeof(struct file_handle) + bytes, LU_READ), a[2]);
}

/* ---- Mounting ---- */

int64_t sys_mount(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    g_autofree char *source = NULL;
    g_autofree char *target = NULL;
    g_autofree char *type = NULL;
    /* A page of which the kernel uses what it can read, as it does here; 0 ends it. */
    char data[LU_PAGE_SIZE + 1] = "";
    int64_t error = lu_path_from_guest(p, &source, a[0], false);

    if (error == 0) {
        error = lu_path_from_guest(p, &target, a[1], false);
    }
    if (error == 0) {
        error = lu_path_from_guest(p, &type, a[2], false);
    }
    if (error == 0 && a[4]) {
        error = lu_copy_some_from_guest(p, data, a[4], LU_PAGE_SIZE);
    }
    if (error < 0) {
        return error;
    }
    return LU_BLOCK(t, SYS_mount, lu_path_ptr(p, source, a[0]), lu_path_ptr(p, target, a[1]),
                    lu_path_ptr(p, type, a[2]), a[3], a[4] ? data : NULL);
}

static const struct lu_subcall fsconfig_commands[] = {
    SUB(0 /* FSCONFIG_SET_FLAG */, fsconfig, FD, UINT, STR, HEX, INT),
    SUB(1 /* FSCONFIG_SET_STRING */, fsconfig, FD, UINT, STR, STR, INT),
    SUB(2 /* FSCONFIG_SET_BINARY */, fsconfig, FD, UINT, STR, IN_LEN(4, 1), INT),
    SUB(3 /* FSCONFIG_SET_PATH */, fsconfig, FD, UINT, STR, PATH, DIRFD),
    SUB(4 /* FSCONFIG_SET_PATH_EMPTY */, fsconfig, FD, UINT, STR, PATH, DIRFD),
    SUB(5 /* FSCONFIG_SET_FD */, fsconfig, FD, UINT, STR, HEX, FD),
    SUB_BLOCK(6 /* FSCONFIG_CMD_CREATE */, fsconfig, FD, UINT, HEX, HEX, INT),
    SUB_BLOCK(7 /* FSCONFIG_CMD_RECONFIGURE */, fsconfig, FD, UINT, HEX, HEX, INT),
    SUB_BLOCK(8 /* FSCONFIG_CMD_CREATE_EXCL */, fsconfig, FD, UINT, HEX, HEX, INT),
    SUB(LU_SUB_OTHER, fsconfig, FD, UINT, NUL, NUL, INT),
};

int64_t sys_fsconfig(struct lu_thread *t, const uint64_t a[6])
{
    uint32_t command = (uint32_t)a[1];

    if ((command == 5 || command == 3 || command == 4) &&
        lu_fd_is_protected(t->process, (int)a[4])) {
        return -EBADF;
    }
    /* A pointer where none belongs is refused by the kernel, unseen. */
    return lu_pass_sub(t, fsconfig_commands, G_N_ELEMENTS(fsconfig_commands), command,
                       "fsconfig command", a);
}

/* statmount and listmount: the request says its own size. */
static void *mount_request(const struct lu_process *p, uint64_t addr)
{
    uint32_t size;

    if (lu_copy_from_guest(p, &size, addr, sizeof(size)) != 0) {
        return lu_bad_ptr(p, addr);
    }
    return lu_ptr(p, addr, MAX(size, sizeof(size)), LU_READ);
}

int64_t sys_statmount(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_statmount, mount_request(t->process, a[0]),
                   lu_ptr(t->process, a[1], a[2], LU_WRITE), a[2], a[3]);
}

int64_t sys_listmount(struct lu_thread *t, const uint64_t a[6])
{
    uint64_t size;

    if (__builtin_mul_overflow(a[2], (uint64_t)8, &size)) {
        size = UINT64_MAX; /* more than there is */
    }
    return LU_HOST(SYS_listmount, mount_request(t->process, a[0]),
                   lu_ptr(t->process, a[1], size, LU_WRITE), a[2], a[3]);
}

/* ---- Quotas ---- */

/* The same operations for quotactl, which names the device, and quotactl_fd: the place of the
 * address is the same. */
#define QUOTA_OPS(call, first, second)                                                             \
    SUB(Q_SYNC, call, first, second, INT, HEX),                                                    \
    SUB(Q_QUOTAON, call, first, second, INT, PATH),                                                \
    SUB(Q_QUOTAOFF, call, first, second, INT, HEX),                                                \
    SUB(Q_GETFMT, call, first, second, INT, OUT(4)),                                               \
    SUB(Q_GETINFO, call, first, second, INT, OUT(sizeof(struct if_dqinfo))),                       \
    SUB(Q_SETINFO, call, first, second, INT, IN(sizeof(struct if_dqinfo))),                        \
    SUB(Q_GETQUOTA, call, first, second, INT, OUT(sizeof(struct if_dqblk))),                       \
    SUB(Q_SETQUOTA, call, first, second, INT, IN(sizeof(struct if_dqblk))),                        \
    SUB(Q_GETNEXTQUOTA, call, first, second, INT, OUT(sizeof(struct if_nextdqblk))),               \
    SUB(Q_XQUOTAON, call, first, second, INT, IN(4)),                                              \
    SUB(Q_XQUOTAOFF, call, first, second, INT, IN(4)),                                             \
    SUB(Q_XGETQUOTA, call, first, second, INT, OUT(sizeof(struct fs_disk_quota))),                 \
    SUB(Q_XSETQLIM, call, first, second, INT, IN(sizeof(struct fs_disk_quota))),                   \
    SUB(Q_XGETQSTAT, call, first, second, INT, OUT(sizeof(struct fs_quota_stat))),                 \
    SUB(Q_XQUOTARM, call, first, second, INT, IN(4)),                                              \
    SUB(Q_XQUOTASYNC, call, first, second, INT, HEX),                                              \
    SUB(Q_XGETQSTATV, call, first, second, INT, INOUT(sizeof(struct fs_quota_statv))),             \
    SUB(Q_XGETNEXTQUOTA, call, first, second, INT, OUT(sizeof(struct fs_disk_quota))),             \
    SUB(LU_SUB_OTHER, call, first, second, INT, NUL)

static const struct lu_subcall quotactl_ops[] = {QUOTA_OPS(quotactl, HEX, PATH)};
static const struct lu_subcall quotactl_fd_ops[] = {QUOTA_OPS(quotactl_fd, FD, HEX)};

int64_t sys_quotactl(struct lu_thread *t, const uint64_t a[6])
{
    return lu_pass_sub(t, quotactl_ops, G_N_ELEMENTS(quotactl_ops),
                       (uint32_t)a[0] >> SUBCMDSHIFT, "quotactl command", a);
}

int64_t sys_quotactl_fd(struct lu_thread *t, const uint64_t a[6])
{
    return lu_pass_sub(t, quotactl_fd_ops, G_N_ELEMENTS(quotactl_fd_ops),
                       (uint32_t)a[1] >> SUBCMDSHIFT, "quotactl command", a);
}
