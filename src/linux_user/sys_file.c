/*
 * System calls on open files: reading, writing, opening, fcntl.
 */
#include "linux_user/sys.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "linux_user/procfs.h"
#include "linux_user/syscall_args.h"

uint64_t lu_access_prefix(const struct lu_process *p, uint64_t addr, uint64_t size, unsigned access)
{
    uint64_t done = 0;

    while (done < size) {
        uint64_t step = MIN(size - done, LU_PAGE_SIZE - (addr + done) % LU_PAGE_SIZE);

        if (!lu_access_ok(p, addr + done, step, access)) {
            break;
        }
        done += step;
    }
    return done;
}

int64_t lu_copy_some_from_guest(const struct lu_process *p, void *to, uint64_t from, size_t max)
{
    uint64_t size = lu_access_prefix(p, from, max, LU_READ);

    if (size == 0 && max != 0) {
        return -EFAULT;
    }
    int error = lu_copy_from_guest(p, to, from, size);
    return error ? error : (int64_t)size;
}

/* ---- Buffers ---- */

/*
 * Add a buffer to [iov], which has room for two entries more. One that can't be accessed to its end
 * becomes two: what is accessible, and what the kernel faults on. False: no entry after it can be
 * reached.
 */
static bool add_buffer(const struct lu_process *p, struct lu_iov *iov, uint64_t addr, uint64_t size,
                       unsigned access)
{
    uint64_t good = size;

    if (G_UNLIKELY(!lu_access_ok(p, addr, size, access))) {
        good = lu_access_prefix(p, addr, size, access);
    }
    if (good || size == 0) {
        iov->v[iov->count++] = (struct iovec){good ? lu_g2h(p, addr) : NULL, good};
    }
    if (good == size) {
        return true;
    }
    iov->v[iov->count++] = (struct iovec){lu_ptr(p, addr + good, size - good, access), size - good};
    return false;
}

/* read and its relatives; [vector_nr] is used when the buffer isn't all accessible, for which the
 * kernel has answers that depend on the kind of file. */
static int64_t transfer(struct lu_thread *t, long nr, long vector_nr, const uint64_t a[6],
                        unsigned access)
{
    struct lu_process *p = t->process;
    struct lu_iov iov = {.v = iov.fixed, .count = 0};

    if (G_LIKELY(lu_access_ok(p, a[1], a[2], access))) {
        return LU_BLOCK(t, nr, a[0], lu_g2h(p, a[1]), a[2], a[3]);
    }
    if ((int64_t)a[2] < 0 || !lu_access_ok(p, a[1], 1, access)) {
        return LU_BLOCK(t, nr, a[0], lu_ptr(p, a[1], a[2], access), a[2], a[3]);
    }
    add_buffer(p, &iov, a[1], a[2], access);
    return LU_BLOCK(t, vector_nr, a[0], iov.v, iov.count, a[3]);
}

int64_t sys_read(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_read, SYS_readv, a, LU_WRITE);
}

int64_t sys_write(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_write, SYS_writev, a, LU_READ);
}

int64_t sys_pread64(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_pread64, SYS_preadv, a, LU_WRITE);
}

int64_t sys_pwrite64(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_pwrite64, SYS_pwritev, a, LU_READ);
}

/* ---- Vectors ---- */

void lu_iov_from_guest(const struct lu_process *p, struct lu_iov *iov, uint64_t addr,
                       uint64_t count, unsigned access)
{
    struct {
        uint64_t base, size;
    } entry;

    iov->v = iov->fixed;
    iov->count = 0;
    if (count > UIO_MAXIOV) {
        iov->v = lu_bad_ptr(p, addr);
        iov->count = count;
        return;
    }
    if (count >= G_N_ELEMENTS(iov->fixed)) {
        iov->v = g_new(struct iovec, count + 1);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (lu_copy_from_guest(p, &entry, addr + i * sizeof(entry), sizeof(entry)) != 0) {
            lu_iov_clear(iov);
            iov->v = lu_bad_ptr(p, addr);
            iov->count = count;
            return;
        }
        if ((int64_t)entry.size < 0) {
            iov->v[iov->count++] = (struct iovec){LU_FAULT_POINTER, entry.size};
            break;
        }
        if (!add_buffer(p, iov, entry.base, entry.size, access)) {
            break;
        }
    }
    iov->count = MIN(iov->count, UIO_MAXIOV);
}

void lu_iov_clear(struct lu_iov *iov)
{
    if (iov->v != iov->fixed && lu_ptr_ok(iov->v)) {
        g_free(iov->v);
    }
    iov->v = iov->fixed;
    iov->count = 0;
}

/* readv and its relatives: [nr] with the arguments of the guest from the third on. */
static int64_t vector(struct lu_thread *t, long nr, const uint64_t a[6], unsigned access)
{
    struct lu_iov iov;
    int64_t result;

    lu_iov_from_guest(t->process, &iov, a[1], a[2], access);
    result = LU_BLOCK(t, nr, a[0], iov.v, iov.count, a[3], a[4], a[5]);
    lu_iov_clear(&iov);
    return result;
}

int64_t sys_readv(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_readv, a, LU_WRITE);
}

int64_t sys_writev(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_writev, a, LU_READ);
}

int64_t sys_preadv(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_preadv, a, LU_WRITE);
}

int64_t sys_pwritev(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_pwritev, a, LU_READ);
}

int64_t sys_preadv2(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_preadv2, a, LU_WRITE);
}

int64_t sys_pwritev2(struct lu_thread *t, const uint64_t a[6])
{
    return vector(t, SYS_pwritev2, a, LU_READ);
}

int64_t sys_vmsplice(struct lu_thread *t, const uint64_t a[6])
{
    /* The pipe may be the reading or the writing end: both accesses only when it is read. */
    int mode = fcntl((int)a[0], F_GETFL);
    bool to_pipe = mode == -1 || (mode & O_ACCMODE) != O_RDONLY;

    return vector(t, SYS_vmsplice, a, to_pipe ? LU_READ : LU_WRITE);
}

/* ---- Opening and closing ---- */

/* True for a path by which procfs would give one of Nandu's own descriptors to the guest. */
static bool names_protected_fd(const struct lu_process *p, const char *path)
{
    const char *end = strstr(path, "/fd/");
    char *rest;
    long fd;

    if (!end || p->protected_floor == 0 ||
        (!g_str_has_prefix(path, "/proc/") && !g_str_has_prefix(path, "/dev/fd/"))) {
        return false;
    }
    fd = strtol(end + 4, &rest, 10);
    return rest != end + 4 && *rest == '\0' && fd >= 0 && fd <= INT32_MAX &&
           lu_fd_is_protected(p, (int)fd);
}

int64_t sys_openat(struct lu_thread *t, const uint64_t a[6])
{
    g_autofree char *path = NULL;
    bool handled = false;
    int64_t result;
    int error = lu_path_from_guest(t->process, &path, a[1], false);

    if (error) {
        return error;
    }
    if (!path) {
        return LU_HOST(SYS_openat, a[0], lu_bad_ptr(t->process, a[1]), a[2], a[3]);
    }
    if (names_protected_fd(t->process, path)) {
        return -ENOENT;
    }
    result = lu_open_special(t, (int)a[0], path, (int)a[2], (mode_t)a[3], &handled);
    if (handled) {
        return result;
    }
    if (t->process->options->prefix && path[0] == '/') {
        char *found = lu_prefixed_path(t->process, path);

        g_free(path);
        path = found;
    }
    return LU_BLOCK(t, SYS_openat, a[0], path, a[2], a[3]);
}

int64_t sys_openat2(struct lu_thread *t, const uint64_t a[6])
{
    g_autofree char *path = NULL;
    g_autofree char *found = NULL;
    uint8_t buffer[LU_PAGE_SIZE] = {0};
    struct open_how *how = (struct open_how *)buffer;
    bool handled = false;
    int64_t result;
    int error;

    if (a[3] < sizeof(*how)) {
        return -EINVAL;
    }
    if (a[3] > sizeof(buffer)) {
        return -E2BIG;
    }
    error = lu_copy_from_guest(t->process, buffer, a[2], a[3]);
    if (error == 0) {
        error = lu_path_from_guest(t->process, &path, a[1], false);
    }
    if (error) {
        return error;
    }
    if (!path) {
        return LU_HOST(SYS_openat2, a[0], lu_bad_ptr(t->process, a[1]), buffer, a[3]);
    }
    if (names_protected_fd(t->process, path)) {
        return -ENOENT;
    }
    if (how->resolve == 0 && a[3] == sizeof(*how)) {
        result = lu_open_special(t, (int)a[0], path, (int)how->flags, (mode_t)how->mode, &handled);
        if (handled) {
            return result;
        }
        found = path[0] == '/' ? lu_prefixed_path(t->process, path) : NULL;
    }
    return LU_BLOCK(t, SYS_openat2, a[0], found ? found : path, buffer, a[3]);
}

int64_t sys_close_range(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1];

    if (first > last) {
        return -EINVAL;
    }
    /* From one of Nandu's own descriptors to the next. */
    for (;;) {
        uint32_t end = last;
        int64_t result = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(p->protected_fds); i++) {
            int fd = __atomic_load_n(&p->protected_fds[i], __ATOMIC_RELAXED) - 1;

            if (fd >= 0 && (uint32_t)fd >= first && (uint32_t)fd <= end) {
                end = (uint32_t)fd;
            }
        }
        if (!lu_fd_is_protected(p, (int)end)) {
            return LU_HOST(SYS_close_range, first, end, a[2]);
        }
        if (end > first) {
            result = LU_HOST(SYS_close_range, first, end - 1, a[2]);
        }
        if (result < 0 || end == last) {
            return result;
        }
        first = end + 1;
    }
}

/* ---- fcntl ---- */

/* Younger than the headers. */
enum { FCNTL_DUPFD_QUERY = 1027, FCNTL_CREATED_QUERY = 1028, FCNTL_CANCELLK = 1029 };

static const struct lu_subcall fcntl_commands[] = {
    SUB(F_DUPFD, fcntl, FD, INT, INT),
    SUB(F_GETFD, fcntl, FD, INT),
    SUB(F_SETFD, fcntl, FD, INT, INT),
    SUB(F_GETFL, fcntl, FD, INT),
    SUB(F_SETFL, fcntl, FD, INT, INT),
    SUB(F_GETLK, fcntl, FD, INT, INOUT(32)),
    SUB(F_SETLK, fcntl, FD, INT, IN(32)),
    SUB_BLOCK(F_SETLKW, fcntl, FD, INT, IN(32)),
    SUB(F_SETOWN, fcntl, FD, INT, INT),
    SUB(F_GETOWN, fcntl, FD, INT),
    SUB(F_SETSIG, fcntl, FD, INT, INT),
    SUB(F_GETSIG, fcntl, FD, INT),
    SUB(F_SETOWN_EX, fcntl, FD, INT, IN(8)),
    SUB(F_GETOWN_EX, fcntl, FD, INT, OUT(8)),
    SUB(17 /* F_GETOWNER_UIDS */, fcntl, FD, INT, OUT(8)),
    SUB(F_OFD_GETLK, fcntl, FD, INT, INOUT(32)),
    SUB(F_OFD_SETLK, fcntl, FD, INT, IN(32)),
    SUB_BLOCK(F_OFD_SETLKW, fcntl, FD, INT, IN(32)),
    SUB(F_SETLEASE, fcntl, FD, INT, INT),
    SUB(F_GETLEASE, fcntl, FD, INT),
    SUB(F_NOTIFY, fcntl, FD, INT, INT),
    SUB(FCNTL_DUPFD_QUERY, fcntl, FD, INT, FD),
    SUB(FCNTL_CREATED_QUERY, fcntl, FD, INT),
    SUB(F_DUPFD_CLOEXEC, fcntl, FD, INT, INT),
    SUB(FCNTL_CANCELLK, fcntl, FD, INT, IN(32)),
    SUB(F_SETPIPE_SZ, fcntl, FD, INT, INT),
    SUB(F_GETPIPE_SZ, fcntl, FD, INT),
    SUB(F_ADD_SEALS, fcntl, FD, INT, INT),
    SUB(F_GET_SEALS, fcntl, FD, INT),
    SUB(F_GET_RW_HINT, fcntl, FD, INT, OUT(8)),
    SUB(F_SET_RW_HINT, fcntl, FD, INT, IN(8)),
    SUB(F_GET_FILE_RW_HINT, fcntl, FD, INT, OUT(8)),
    SUB(F_SET_FILE_RW_HINT, fcntl, FD, INT, IN(8)),
};

int64_t sys_fcntl(struct lu_thread *t, const uint64_t a[6])
{
    if (LU_HOST(SYS_fcntl, a[0], F_GETFD) < 0) {
        return -EBADF; /* before the command is looked at */
    }
    return lu_pass_sub(t, fcntl_commands, G_N_ELEMENTS(fcntl_commands), (uint32_t)a[1],
                       "fcntl command", a);
}
