/*
 * The table of system calls: what a row says. Rows are in syscalls.def; syscall.c dispatches,
 * strace.c prints, tools/syscalls-doc makes docs/syscalls.md of the same rows.
 *
 * A row is one of
 *
 *     CALL(number, name, result, argument kinds...)           handler sys_NAME
 *     PASS(number, name, result, argument kinds...)           to the host's kernel, pointers
 * checked PASS_BLOCK(number, name, result, argument kinds...)     the same for a call that may
 * block NONE(number, name, "reason", argument kinds...)         ENOSYS, and why
 *
 * An argument's kind says how it is printed, and for PASS how it is checked and converted.
 */
#ifndef NANDU_LINUX_USER_SYSCALL_TABLE_H
#define NANDU_LINUX_USER_SYSCALL_TABLE_H

#include "linux_user/sys.h"

enum lu_arg_kind {
    LU_ARG_END,     /* no argument */
    LU_ARG_INT,     /* 32 bits, signed */
    LU_ARG_UINT,
    LU_ARG_LONG,
    LU_ARG_HEX,     /* 64 bits */
    LU_ARG_SIZE,
    LU_ARG_OCTAL,   /* file mode */
    LU_ARG_FD,      /* file descriptor; one of Nandu's own gives EBADF before the handler runs */
    LU_ARG_DIRFD,   /* the same or AT_FDCWD */
    LU_ARG_FLAGS,   /* names of bits from the table .table */
    LU_ARG_ENUM,    /* name of a value from the table .table */
    LU_ARG_SIGNAL,
    LU_ARG_DEV,     /* device number */
    LU_ARG_IOCTL,   /* request of ioctl */

    LU_ARG_NUL,     /* PASS gives 0: an address of a kind that isn't known */
    LU_ARG_PTR,     /* address that PASS may not have: a handler checks it */
    LU_ARG_PATH,    /* path, taken as it is; NULL is passed */
    LU_ARG_PATHX,   /* path, looked for under -L first */
    LU_ARG_STR,     /* other string; NULL is passed */
    LU_ARG_IN,      /* .size bytes read; NULL is passed */
    LU_ARG_OUT,     /* .size bytes written */
    LU_ARG_INOUT,
    LU_ARG_IN_LEN,  /* argument [.index] times .size bytes */
    LU_ARG_OUT_LEN,
    LU_ARG_RANGE,   /* argument [.index] bytes of guest mappings, in whole pages */

    /* Structures that are printed; checked as IN or OUT of their size. */
    LU_ARG_TIMESPEC,    /* read */
    LU_ARG_TIMEVAL,     /* read */
    LU_ARG_ITIMERSPEC,  /* read */
    LU_ARG_SOCKADDR,    /* read, length in argument [.index] */
    LU_ARG_IOVEC,       /* count in argument [.index]; not for PASS */
    LU_ARG_SIGSET,      /* read, 8 bytes */
    LU_ARG_STRV,        /* vector of strings; not for PASS */
};

struct lu_arg {
    uint8_t kind;   /* enum lu_arg_kind */
    uint8_t index;  /* of the argument that gives the length, or of the table of names */
    uint16_t size;  /* bytes */
};

enum lu_result_kind {
    LU_RESULT_INT,
    LU_RESULT_HEX,   /* an address */
    LU_RESULT_NONE,  /* doesn't return */
};

struct lu_syscall_row {
    const char *name;           /* NULL: no such call */
    const char *missing;        /* reason for ENOSYS; NULL: implemented */
    lu_syscall_fn *handler;     /* NULL: PASS */
    int16_t host_nr;            /* for PASS */
    bool blocks;
    uint8_t result;             /* enum lu_result_kind */
    uint8_t n_args;
    struct lu_arg args[6];
};

/* Names of bits or values: ends with a NULL name. A bit's row matches when (value & mask) == bits;
 * mask 0 means bits. */
struct lu_name {
    uint64_t bits;
    uint64_t mask;
    const char *name;
};

/* Tables of names (strace_names.c). */
#define LU_NAME_TABLES(X)                                                                         \
    X(OPEN) X(AT) X(ACCESS) X(WHENCE) X(FCNTL) X(FLOCK) X(FALLOC) X(RENAME) X(XATTR) X(SPLICE)    \
    X(RWF) X(MOUNT) X(UMOUNT) X(FD) X(EFD) X(EPOLL) X(EPOLL_OP) X(INOTIFY) X(INOTIFY_MASK)        \
    X(STATX) X(FADVISE) X(PROT) X(MAP) X(MREMAP) X(MADVISE) X(MSYNC) X(MLOCK) X(MCL) X(MFD)       \
    X(CLONE) X(WAIT) X(IDTYPE) X(FUTEX) X(SIGHOW) X(CLOCK) X(TIMER) X(ITIMER) X(TFD) X(SCHED)     \
    X(PRIO) X(RLIMIT) X(RUSAGE) X(PRCTL) X(GRND) X(AF) X(SOCK) X(MSG) X(SOL) X(SHUT) X(IPC)       \
    X(IPC_FLAG) X(SHM) X(MEMBARRIER) X(SECCOMP) X(KEYCTL) X(CLOSE_RANGE) X(PIDFD) X(OPEN_TREE)    \
    X(PTRACE)

#define LU_NAMES_ID(name) LU_NAMES_##name,
enum lu_names { LU_NAME_TABLES(LU_NAMES_ID) LU_NAMES_COUNT };
#undef LU_NAMES_ID

extern const struct lu_name *const lu_names[LU_NAMES_COUNT];

/* The row of a number; NULL when there is no such call. */
const struct lu_syscall_row *lu_syscall_row(uint64_t nr);
/* Pass a call to the host's kernel as its row says: result or -errno. */
int64_t lu_pass(struct lu_thread *t, const struct lu_syscall_row *row, const uint64_t a[6]);

/* One operation of a call with many (fcntl, keyctl, prctl): how to pass it, or the error. */
struct lu_subcall {
    uint64_t op;                /* or LU_SUB_OTHER, in the last row: any other one */
    int error;                  /* 0: passed */
    struct lu_syscall_row row;
};

#define LU_SUB_OTHER UINT64_MAX

/* Pass operation [op] of the [n] of a table; an unknown one is logged as "WHAT op", and is EINVAL
 * if the table has no row for it. */
int64_t lu_pass_sub(struct lu_thread *t, const struct lu_subcall *table, size_t n, uint64_t op,
                    const char *what, const uint64_t a[6]);

/* Name of an ioctl request (ioctl.c), or NULL. */
const char *lu_ioctl_name(uint32_t request);

/* One line of -strace. The first part is written before the call is made, so that a call that
 * doesn't return is seen. */
void lu_strace_enter(struct lu_thread *t, uint64_t nr, const struct lu_syscall_row *row,
                     const uint64_t a[6]);
void lu_strace_leave(struct lu_thread *t, const struct lu_syscall_row *row, const uint64_t a[6],
                     int64_t result);

#endif
