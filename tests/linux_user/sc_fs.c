/* Files by name: stat in all ways, links, directories, attributes, inotify, handles. */
#include "sc.h"
#include <dirent.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/mount.h>
#include <sys/xattr.h>

static void show_stat(const char *name, const struct stat *st)
{
    printf("%s: mode %o nlink %d uid %d gid %d size %ld rdev %x blksize %ld times %ld.%09ld "
           "%ld.%09ld\n",
           name, st->st_mode, (int)st->st_nlink, (int)st->st_uid, (int)st->st_gid,
           (long)st->st_size, (unsigned)st->st_rdev, (long)st->st_blksize, (long)st->st_atim.tv_sec,
           st->st_atim.tv_nsec, (long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void stats(void)
{
    struct timespec times[2] = {{1000000000, 123456789}, {2000000000, 987654321}};
    struct stat st, st2;
    struct statx sx;
    struct statfs fs;
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);

    SHOW(write(fd, "12345", 5));
    SHOW(utimensat(AT_FDCWD, "file", times, 0));
    SHOW(stat("file", &st));
    show_stat("file", &st);
    SHOW(fstat(fd, &st2));
    printf("same %d %d\n", st.st_ino == st2.st_ino, st.st_dev == st2.st_dev);
    SHOW(symlink("file", "link"));
    SHOW(lstat("link", &st));
    printf("link: mode %o size %ld\n", st.st_mode, (long)st.st_size);
    SHOW(stat("/dev/null", &st));
    printf("null: mode %o rdev %d,%d\n", st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev));
    SHOW(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &sx));
    printf("statx: mode %o size %ld mtime %ld.%u ino %d dev %d\n", sx.stx_mode, (long)sx.stx_size,
           (long)sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec, sx.stx_ino == st2.st_ino,
           makedev(sx.stx_dev_major, sx.stx_dev_minor) == st2.st_dev);
    SHOW(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
    SHOW(statx(AT_FDCWD, "file", 0, STATX_SIZE, NOWHERE));
    SHOW(statx(AT_FDCWD, "file", 0x8, STATX_SIZE, &sx));
    SHOW(fstatat(fd, "", &st, AT_EMPTY_PATH));
    SHOW(fstatat(fd, "x", &st, 0));
    SHOW(stat("nothing", &st));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "file", NOWHERE, 0));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, NOWHERE, &st, 0));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "file", &st, 0x40000));
    SHOW(syscall(SYS_fstat, fd, NOWHERE));
    SHOW(statfs(".", &fs));
    printf("statfs: type %d bsize %ld namelen %ld frsize %ld\n", fs.f_type != 0, (long)fs.f_bsize,
           (long)fs.f_namelen, (long)fs.f_frsize);
    SHOW(fstatfs(fd, &fs));
    SHOW(statfs("nothing", &fs));
    SHOW(syscall(SYS_statfs, ".", NOWHERE));
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = 5;
    SHOW(futimens(fd, times));
    fstat(fd, &st);
    show_stat("file", &st);
    times[1].tv_nsec = 1000000000;
    SHOW(futimens(fd, times));
    SHOW(utimensat(AT_FDCWD, "file", NOWHERE, 0));
    close(fd);
}

static void names(void)
{
    char buf[100] = "";
    char cwd[PATH_MAX];
    struct stat st;

    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir(NOWHERE, 0755));
    SHOW(link("file", "d/hard"));
    SHOW(linkat(AT_FDCWD, "link", AT_FDCWD, "d/hard2", AT_SYMLINK_FOLLOW));
    SHOW(symlink("some/target", "d/sym"));
    SHOW(readlink("d/sym", buf, sizeof(buf)));
    printf("[%s]\n", buf);
    SHOW(readlink("d/sym", buf, 4));
    SHOW(readlink("d/sym", buf, 0));
    SHOW(readlink("file", buf, 4));
    SHOW(readlink("nothing", buf, 4));
    SHOW(readlink("d/sym", NOWHERE, 4));
    SHOW(rename("d/hard2", "d/moved"));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "d/moved", AT_FDCWD, "d/hard", 1));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "d/moved", AT_FDCWD, "d/sym", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "d/moved", AT_FDCWD, NOWHERE, 0));
    SHOW(lstat("d/sym", &st));
    printf("%o\n", st.st_mode & S_IFMT);
    SHOW(mknod("d/fifo", S_IFIFO | 0600, 0));
    SHOW(mknod("d/fifo", S_IFIFO | 0600, 0));
    SHOW(chmod("d/fifo", 0123));
    SHOW(stat("d/fifo", &st));
    printf("%o\n", st.st_mode);
    SHOW(fchmodat(AT_FDCWD, "nothing", 0600, 0));
    SHOW(syscall(452 /* fchmodat2 */, AT_FDCWD, "d/fifo", 0640, AT_SYMLINK_NOFOLLOW));
    SHOW(chown("d/fifo", getuid(), getgid()));
    SHOW(lchown("nothing", 0, 0));
    SHOW(access("file", R_OK | W_OK));
    SHOW(access("file", X_OK));
    SHOW(access("nothing", F_OK));
    SHOW(access("file", 99));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, AT_EACCESS));
    SHOW(chdir("d"));
    OK(getcwd(cwd, sizeof(cwd)) ? 0 : -1);
    SHOW(strcmp(cwd + strlen(cwd) - 2, "/d"));
    SHOW(syscall(SYS_getcwd, cwd, 3));
    SHOW(syscall(SYS_getcwd, NOWHERE, PATH_MAX));
    SHOW(chdir("nothing"));
    SHOW(chdir(".."));
    SHOW(unlinkat(AT_FDCWD, "d", 0));
    SHOW(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
    SHOW(unlink("d/moved"));
    SHOW(unlink("nothing"));
    SHOW(rmdir("file"));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void directories(void)
{
    struct dirent **list;
    char buf[16];
    int n = scandir("d", &list, NULL, by_name), fd = open("d", O_RDONLY | O_DIRECTORY);

    for (int i = 0; i < n; i++) {
        printf("%s %d\n", list[i]->d_name, list[i]->d_type);
        free(list[i]);
    }
    free(list);
    SHOW(syscall(SYS_getdents64, fd, buf, 16));
    SHOW(syscall(SYS_getdents64, fd, NOWHERE, 4096));
    SHOW(syscall(SYS_getdents64, 99, buf, 16));
    SHOW(fchdir(fd));
    SHOW(access("fifo", F_OK));
    SHOW(chdir(".."));
    close(fd);
}

static void attributes(void)
{
    char buf[64] = "";
    int fd = open("file", O_RDWR);
    int flags = 0;

    SHOW(setxattr("file", "user.name", "value", 5, XATTR_CREATE));
    SHOW(setxattr("file", "user.name", "value", 5, XATTR_CREATE));
    SHOW(getxattr("file", "user.name", buf, sizeof(buf)));
    printf("[%s]\n", buf);
    SHOW(getxattr("file", "user.name", buf, 2));
    SHOW(fgetxattr(fd, "user.name", NULL, 0));
    SHOW(getxattr("file", "user.none", buf, 64));
    SHOW(getxattr("file", NOWHERE, buf, 64));
    SHOW(fsetxattr(fd, "user.other", "abc", 3, 0));
    SHOW(fsetxattr(fd, "user.other", NOWHERE, 3, 0));
    SHOW(listxattr("file", buf, sizeof(buf)) > 0);
    SHOW(fremovexattr(fd, "user.other"));
    SHOW(removexattr("file", "user.name"));
    SHOW(removexattr("file", "user.name"));
    SHOW(lgetxattr("link", "user.name", buf, 10));
    SHOW(ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 || errno == ENOTTY);
    SHOW(ioctl(fd, FS_IOC_GETFLAGS, NOWHERE) == -1);
    close(fd);
}

static void notify(void)
{
    char buf[1024];
    int fd = inotify_init1(IN_NONBLOCK), n, wd;

    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(wd = inotify_add_watch(fd, "d", IN_CREATE | IN_DELETE | IN_MOVE));
    close(open("d/new", O_CREAT | O_WRONLY, 0600));
    rename("d/new", "d/newer");
    unlink("d/newer");
    n = read(fd, buf, sizeof(buf));
    for (int i = 0; i < n;) {
        struct inotify_event *e = (void *)(buf + i);

        printf("event %x cookie %d %s\n", e->mask, e->cookie != 0, e->len ? e->name : "");
        i += sizeof(*e) + e->len;
    }
    SHOW(ioctl(fd, FIONREAD, &n));
    SHOW(inotify_rm_watch(fd, wd));
    SHOW(inotify_rm_watch(fd, 99));
    SHOW(inotify_add_watch(fd, "nothing", IN_CREATE));
    SHOW(inotify_add_watch(fd, NOWHERE, IN_CREATE));
    SHOW(inotify_init1(1));
    close(fd);
}

static void handles(void)
{
    struct {
        struct file_handle h;
        char bytes[128];
    } handle = {.h.handle_bytes = 0};
    int mount, error;

    SHOW(name_to_handle_at(AT_FDCWD, "file", NOWHERE, &mount, 0));
    handle.h.handle_bytes = 1000;
    SHOW(name_to_handle_at(AT_FDCWD, "file", &handle.h, &mount, 0));
    handle.h.handle_bytes = 0;
    error = name_to_handle_at(AT_FDCWD, "file", &handle.h, &mount, 0) ? errno : 0;
    printf("handle %s bytes %u\n", strerrorname_np(error), handle.h.handle_bytes);
    error = name_to_handle_at(AT_FDCWD, "file", &handle.h, &mount, 0) ? errno : 0;
    printf("handle %d type %d\n", error, handle.h.handle_type);
    SHOW(open_by_handle_at(-1, &handle.h, O_RDONLY));
    SHOW(open_by_handle_at(AT_FDCWD, NOWHERE, O_RDONLY));
}

int main(void)
{
    umask(022);
    stats();
    names();
    directories();
    attributes();
    notify();
    handles();
    SHOW(syscall(SYS_quotactl, 0x80000700, NULL, 0, NULL));
    SHOW(mount("none", "nothing", "tmpfs", 0, NULL));
    sync();
    return 0;
}
