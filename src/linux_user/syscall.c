/*
 * System calls: the table, the dispatcher, the generic call to the host's kernel (PASS rows), and
 * the set of descriptors that are Nandu's own.
 */
#include "linux_user/syscall_table.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "linux_user/syscall_args.h"

/* ---- The table ---- */

#define CALL(nr, call, res, ...)                                                                  \
    [nr] = {.name = #call, .handler = sys_##call, .result = LU_RESULT_##res,                      \
            .n_args = N_ARGS(__VA_ARGS__), .args = {__VA_ARGS__}},
#define PASS(nr, call, res, ...)                                                                  \
    [nr] = {.name = #call, .host_nr = SYS_##call, .result = LU_RESULT_##res,                      \
            .n_args = N_ARGS(__VA_ARGS__), .args = {__VA_ARGS__}},
#define PASS_BLOCK(nr, call, res, ...)                                                            \
    [nr] = {.name = #call, .host_nr = SYS_##call, .blocks = true, .result = LU_RESULT_##res,      \
            .n_args = N_ARGS(__VA_ARGS__), .args = {__VA_ARGS__}},
#define NONE(nr, call, reason, ...)                                                               \
    [nr] = {.name = #call, .missing = reason, .n_args = N_ARGS(__VA_ARGS__), .args = {__VA_ARGS__}},

static const struct lu_syscall_row rows[] = {
#include "linux_user/syscalls.def"
};

const struct lu_syscall_row *lu_syscall_row(uint64_t nr)
{
    return nr < G_N_ELEMENTS(rows) && rows[nr].name ? &rows[nr] : NULL;
}

/* ---- Nandu's own descriptors ---- */

enum { FD_CEILING = 1024, FD_ROOM = 24 };

bool lu_fd_is_protected(const struct lu_process *p, int fd)
{
    int floor = __atomic_load_n(&p->protected_floor, __ATOMIC_RELAXED);

    if (floor == 0 || fd < floor - 1 || fd < 0 || fd == INT_MAX) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(p->protected_fds); i++) {
        if (__atomic_load_n(&p->protected_fds[i], __ATOMIC_RELAXED) == fd + 1) {
            return true;
        }
    }
    return false;
}

static void update_floor(struct lu_process *p)
{
    int floor = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(p->protected_fds); i++) {
        int slot = p->protected_fds[i];

        if (slot && (floor == 0 || slot < floor)) {
            floor = slot;
        }
    }
    __atomic_store_n(&p->protected_floor, floor, __ATOMIC_RELAXED);
}

bool lu_fd_protect_in_place(struct lu_process *p, int fd)
{
    bool done = false;

    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < G_N_ELEMENTS(p->protected_fds) && !done; i++) {
        if (p->protected_fds[i] == 0) {
            __atomic_store_n(&p->protected_fds[i], fd + 1, __ATOMIC_RELAXED);
            done = true;
        }
    }
    update_floor(p);
    pthread_mutex_unlock(&p->lock);
    return done;
}

int lu_fd_protect(struct lu_process *p, int fd)
{
    struct rlimit limit;
    int high;

    /* Not as high as the limit permits: the kernel's table, which each fork copies, is as long as
     * the highest descriptor. */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > FD_CEILING) {
        limit.rlim_cur = FD_CEILING;
    }
    if (limit.rlim_cur <= 2 * FD_ROOM) {
        return -1;
    }
    high = fcntl(fd, F_DUPFD_CLOEXEC, (int)limit.rlim_cur - FD_ROOM);
    if (high < 0) {
        return -1;
    }
    if (!lu_fd_protect_in_place(p, high)) {
        close(high);
        return -1;
    }
    close(fd);
    return high;
}

void lu_fd_unprotect(struct lu_process *p, int fd)
{
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < G_N_ELEMENTS(p->protected_fds); i++) {
        if (p->protected_fds[i] == fd + 1) {
            __atomic_store_n(&p->protected_fds[i], 0, __ATOMIC_RELAXED);
        }
    }
    update_floor(p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- Helpers for handlers ---- */

int lu_path_from_guest(const struct lu_process *p, char **path, uint64_t addr, bool prefixed)
{
    *path = NULL;
    if (addr == 0) {
        return 0;
    }
    int error = lu_string_from_guest(p, path, addr, PATH_MAX);
    if (error == -EFAULT) {
        return 0;
    }
    if (error == 0 && prefixed && p->options->prefix && (*path)[0] == '/') {
        char *found = lu_prefixed_path(p, *path);

        g_free(*path);
        *path = found;
    }
    return error;
}

void lu_log_unimp(const struct lu_process *p, const char *format, ...)
{
    FILE *file = p->options->log_file ? p->options->log_file : stderr;
    va_list args;

    if (!p->options->log_unimp) {
        return;
    }
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(file, "nandu: unimplemented %s\n", text);
    fflush(file);
}

/* ---- PASS rows ---- */

/* Bytes of a buffer whose length is another argument; false: no such size. */
static bool buffer_size(const struct lu_syscall_row *row, const struct lu_arg *arg,
                        const uint64_t a[6], uint64_t *size)
{
    uint64_t count = a[arg->index];

    switch (row->args[arg->index].kind) {
    case LU_ARG_INT:
        /* A negative number is refused by the kernel, which finds out before it looks at the
         * buffer. */
        if ((int32_t)count < 0) {
            return false;
        }
        count = (uint32_t)count;
        break;
    case LU_ARG_UINT: count = (uint32_t)count; break;
    default: break;
    }
    return !__builtin_mul_overflow(count, (uint64_t)arg->size, size);
}

static unsigned buffer_access(uint8_t kind)
{
    switch (kind) {
    case LU_ARG_OUT:
    case LU_ARG_OUT_LEN: return LU_WRITE;
    case LU_ARG_INOUT: return LU_READ | LU_WRITE;
    default: return LU_READ;
    }
}

/* Convert argument [i]; *string takes a copy that the caller frees. 0 or -errno. */
static int convert_arg(const struct lu_process *p, const struct lu_syscall_row *row, unsigned i,
                       const uint64_t a[6], uint64_t *value, char **string)
{
    const struct lu_arg *arg = &row->args[i];
    uint64_t size = arg->size;
    int error = 0;

    switch (arg->kind) {
    case LU_ARG_PATH:
    case LU_ARG_PATHX:
        error = lu_path_from_guest(p, string, a[i], arg->kind == LU_ARG_PATHX);
        *value = (uintptr_t)lu_path_ptr(p, *string, a[i]);
        break;
    case LU_ARG_STR:
        if (a[i] != 0) {
            error = lu_string_from_guest(p, string, a[i], 65536);
            error = error == -EFAULT ? 0 : error;
        }
        *value = (uintptr_t)lu_path_ptr(p, *string, a[i]);
        break;
    case LU_ARG_IN:
    case LU_ARG_OUT:
    case LU_ARG_INOUT:
    case LU_ARG_TIMESPEC:
    case LU_ARG_TIMEVAL:
    case LU_ARG_ITIMERSPEC:
    case LU_ARG_SIGSET:
        *value = (uintptr_t)lu_ptr(p, a[i], size, buffer_access(arg->kind));
        break;
    case LU_ARG_IN_LEN:
    case LU_ARG_OUT_LEN:
    case LU_ARG_SOCKADDR:
        *value = (uintptr_t)(buffer_size(row, arg, a, &size)
                                 ? lu_ptr(p, a[i], size, buffer_access(arg->kind))
                                 : LU_BAD_POINTER);
        break;
    case LU_ARG_RANGE: *value = lu_range_ptr(p, a[i], a[arg->index]); break;
    case LU_ARG_NUL: *value = 0; break;
    default: *value = a[i]; break;
    }
    return error;
}

int64_t lu_pass(struct lu_thread *t, const struct lu_syscall_row *row, const uint64_t a[6])
{
    char *strings[6] = {NULL};
    uint64_t v[6] = {0};
    int64_t result = 0;

    for (unsigned i = 0; i < row->n_args && result == 0; i++) {
        result = convert_arg(t->process, row, i, a, &v[i], &strings[i]);
    }
    if (result == 0) {
        result = row->blocks
                     ? lu_block_syscall(t, row->host_nr, v[0], v[1], v[2], v[3], v[4], v[5])
                     : lu_host_syscall(row->host_nr, v[0], v[1], v[2], v[3], v[4], v[5]);
    }
    for (unsigned i = 0; i < row->n_args; i++) {
        g_free(strings[i]);
    }
    return result;
}

int64_t lu_pass_sub(struct lu_thread *t, const struct lu_subcall *table, size_t n, uint64_t op,
                    const char *what, const uint64_t a[6])
{
    for (size_t i = 0; i < n; i++) {
        if (table[i].op == LU_SUB_OTHER) {
            lu_log_unimp(t->process, "%s %" G_GUINT64_FORMAT, what, op);
        }
        if (table[i].op == op || table[i].op == LU_SUB_OTHER) {
            return table[i].error ? -table[i].error : lu_pass(t, &table[i].row, a);
        }
    }
    lu_log_unimp(t->process, "%s %" G_GUINT64_FORMAT, what, op);
    return -EINVAL;
}

/* ---- Dispatch ---- */

static int64_t dispatch(struct lu_thread *t, const struct lu_syscall_row *row, uint64_t nr,
                        const uint64_t a[6])
{
    struct lu_process *p = t->process;
    int64_t result;

    if (G_UNLIKELY(__atomic_load_n(&t->filter, __ATOMIC_RELAXED)) &&
        !lu_seccomp_check(t, nr, a, &result)) {
        return result;
    }
    if (!row) {
        lu_log_unimp(p, "system call %" G_GUINT64_FORMAT, nr);
        return -ENOSYS;
    }
    if (row->missing) {
        lu_log_unimp(p, "system call %s: %s", row->name, row->missing);
        return -ENOSYS;
    }
    if (p->protected_floor) {
        for (unsigned i = 0; i < row->n_args; i++) {
            uint8_t kind = row->args[i].kind;

            if ((kind == LU_ARG_FD || kind == LU_ARG_DIRFD) && lu_fd_is_protected(p, (int)a[i])) {
                return -EBADF;
            }
        }
    }
    return row->handler ? row->handler(t, a) : lu_pass(t, row, a);
}

int64_t lu_syscall(struct lu_thread *t, uint64_t nr, const uint64_t args[6])
{
    const struct lu_syscall_row *row = lu_syscall_row(nr);
    int64_t result;

    if (G_LIKELY(!t->process->options->strace)) {
        return dispatch(t, row, nr, args);
    }
    lu_strace_enter(t, nr, row, args);
    result = dispatch(t, row, nr, args);
    lu_strace_leave(t, row, args, result);
    return result;
}
