/*
 * Locks by which processes that open an image find out about each other: open file description
 * locks, shared ones, so that nobody has to wait. A process holds byte 100 + n while it uses
 * permission n of the file, and byte 200 + n while it doesn't share it; before it uses n it looks
 * whether somebody else has 200 + n, and the reverse. The bytes are those that QEMU takes, so that
 * it and Nandu see each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "qapi/error.h"

enum { PERM_BASE = 100, UNSHARED_BASE = 200, N_PERMS = 4 };

static bool set_lock(int fd, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Whether somebody else has a lock there. */
static bool is_locked(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool file_lock_available(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PERM_BASE, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0;
}

/* ---- Who has it: the kernel says of these locks only that there is one ---- */

static bool fdinfo_has_lock(const char *text, off_t byte)
{
    for (const char *line = strstr(text, "OFDLCK"); line; line = strstr(line + 1, "OFDLCK")) {
        long long start, end;
        int n = 0;

        /* OFDLCK ADVISORY READ -1 fd:00:1234 100 101; the end may be "EOF" */
        if (sscanf(line, "OFDLCK %*s %*s %*s %*s %lld %n", &start, &n) == 1 && n && start <= byte) {
            if (g_str_has_prefix(line + n, "EOF") ||
                (sscanf(line + n, "%lld", &end) == 1 && byte <= end)) {
                return true;
            }
        }
    }
    return false;
}

static bool fd_has_lock(const char *pid, const char *fd, const struct stat *image, off_t byte)
{
    g_autofree char *link = g_strdup_printf("/proc/%s/fd/%s", pid, fd);
    g_autofree char *info = g_strdup_printf("/proc/%s/fdinfo/%s", pid, fd);
    g_autofree char *text = NULL;
    struct stat st;

    return stat(link, &st) == 0 && st.st_dev == image->st_dev && st.st_ino == image->st_ino &&
           g_file_get_contents(info, &text, NULL, NULL) && fdinfo_has_lock(text, byte);
}

static bool process_has_lock(const char *pid, const struct stat *image, off_t byte)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *fd;

    while (dir && (fd = g_dir_read_name(dir))) {
        if (fd_has_lock(pid, fd, image, byte)) {
            return true;
        }
    }
    return false;
}

/* "process 1234 (nandu)", as far as this process may look; caller frees. */
static char *find_holder(int fd, off_t byte)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    g_autofree char *self = g_strdup_printf("%d", (int)getpid());
    const char *pid;
    struct stat image;

    if (!dir || fstat(fd, &image) < 0) {
        return g_strdup("another process");
    }
    while ((pid = g_dir_read_name(dir))) {
        if (g_ascii_isdigit(*pid) && !g_str_equal(pid, self) &&
            process_has_lock(pid, &image, byte)) {
            g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
            g_autofree char *name = NULL;

            if (g_file_get_contents(path, &name, NULL, NULL)) {
                return g_strdup_printf("process %s (%s)", pid, g_strchomp(name));
            }
        }
    }
    /* Two nodes of this process have the file open, or the process is somebody else's. */
    return process_has_lock(self, &image, byte) ? g_strdup("another node of this process")
                                                : g_strdup("another process");
}

/* ---- Taking and giving back ---- */

static bool set_bytes(int fd, short type, off_t base, unsigned bits)
{
    for (int i = 0; i < N_PERMS; i++) {
        if ((bits & 1u << i) && !set_lock(fd, type, base + i)) {
            return false;
        }
    }
    return true;
}

static bool refuse(const struct file_state *s, int perm, off_t byte, bool is_use, GError **error)
{
    static const char *const names[N_PERMS] = {"consistent read", "write", "write unchanged",
                                               "resize"};
    g_autofree char *holder = find_holder(s->lock_fd, byte);

    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                is_use ? "Failed to get \"%s\" lock: %s uses the image '%s' and doesn't share this"
                       : "Failed to get shared \"%s\" lock: %s uses the image '%s'",
                names[perm], holder, s->path);
    return false;
}

static bool check_others(const struct file_state *s, unsigned perm, unsigned shared, GError **error)
{
    for (int i = 0; i < N_PERMS; i++) {
        if ((perm & 1u << i) && is_locked(s->lock_fd, UNSHARED_BASE + i)) {
            return refuse(s, i, UNSHARED_BASE + i, true, error);
        }
        if (!(shared & 1u << i) && is_locked(s->lock_fd, PERM_BASE + i)) {
            return refuse(s, i, PERM_BASE + i, false, error);
        }
    }
    return true;
}

/* Exactly these. */
static void keep(struct file_state *s, unsigned perm, unsigned unshared)
{
    set_bytes(s->lock_fd, F_UNLCK, PERM_BASE, s->locked_perm & ~perm);
    set_bytes(s->lock_fd, F_UNLCK, UNSHARED_BASE, s->locked_unshared & ~unshared);
    s->locked_perm &= perm;
    s->locked_unshared &= unshared;
}

bool file_lock_check(struct file_state *s, unsigned perm, unsigned shared, GError **error)
{
    unsigned unshared = ~shared & BLOCK_PERM_ALL, more = perm & ~s->perm,
             less = s->shared & ~shared;

    if (s->lock_fd < 0) {
        return true;
    }
    /* First taken, then looked at: of two who do this at once at least one sees the other. */
    s->locked_perm |= perm;
    s->locked_unshared |= unshared;
    if (!set_bytes(s->lock_fd, F_RDLCK, PERM_BASE, perm) ||
        !set_bytes(s->lock_fd, F_RDLCK, UNSHARED_BASE, unshared)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Failed to lock '%s': %s", s->path,
                    g_strerror(errno));
        file_lock_abort(s);
        return false;
    }
    if ((more || less) && !check_others(s, more, ~less, error)) {
        file_lock_abort(s);
        return false;
    }
    return true;
}

void file_lock_commit(struct file_state *s, unsigned perm, unsigned shared)
{
    if (s->lock_fd >= 0) {
        keep(s, perm, ~shared & BLOCK_PERM_ALL);
    }
    s->perm = perm;
    s->shared = shared;
}

void file_lock_abort(struct file_state *s)
{
    if (s->lock_fd >= 0) {
        keep(s, s->perm, ~s->shared & BLOCK_PERM_ALL);
    }
}
