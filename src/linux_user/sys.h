/*
 * System calls: what the handlers share. The table is syscalls.def, its columns are explained in
 * syscall_table.h; handlers are in sys_*.c, one file per group.
 *
 * A handler gets the six raw arguments and returns the result, -errno or -LU_ERESTART*. It must not
 * pass a pointer of the guest to the kernel that it has not checked: use lu_ptr and the lu_copy_*
 * functions. File descriptors in arguments of kind FD were checked before the handler is called.
 */
#ifndef NANDU_LINUX_USER_SYS_H
#define NANDU_LINUX_USER_SYS_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "linux_user/linux_user.h"

/* Calls that are younger than the kernel headers of Debian 12; same number on all architectures. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif
#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr 459
#define SYS_lsm_set_self_attr 460
#define SYS_lsm_list_modules 461
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

/* A host system call that doesn't block: its result or -errno. Missing arguments are 0. */
static inline int64_t lu_host_syscall(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                      uint64_t e, uint64_t f)
{
    long result = syscall(nr, a, b, c, d, e, f);

    return result == -1 ? -errno : result;
}
#define LU_ARG_(x)                        ((uint64_t)(x))
#define LU_HOST_(nr, a, b, c, d, e, f, ...)                                                       \
    lu_host_syscall(nr, LU_ARG_(a), LU_ARG_(b), LU_ARG_(c), LU_ARG_(d), LU_ARG_(e), LU_ARG_(f))
#define LU_HOST(...)                      LU_HOST_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The same for a call that may block: see lu_safe_syscall. */
static inline int64_t lu_block_syscall(struct lu_thread *t, long nr, uint64_t a, uint64_t b,
                                       uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    return lu_safe_syscall(t, nr, a, b, c, d, e, f);
}
#define LU_BLOCK_(t, nr, a, b, c, d, e, f, ...)                                                   \
    lu_block_syscall(t, nr, LU_ARG_(a), LU_ARG_(b), LU_ARG_(c), LU_ARG_(d), LU_ARG_(e), LU_ARG_(f))
#define LU_BLOCK(...)                     LU_BLOCK_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/*
 * Addresses for what the guest may not access, so that the kernel answers EFAULT itself, in its own
 * order of checks. LU_BAD_POINTER fails the kernel's first check. LU_FAULT_POINTER faults only when
 * it is used: what comes before it is transferred, and a call that doesn't get as far succeeds. (No
 * program maps the page at 0; if one does, it is its own.)
 */
#define LU_BAD_POINTER                    ((void *)0xffff800000000000u)
#define LU_FAULT_POINTER                  ((void *)8)

static inline bool lu_ptr_ok(const void *ptr)
{
    return ptr != LU_BAD_POINTER && ptr != LU_FAULT_POINTER;
}

/* What to pass for [addr], which the guest may not access. */
static inline void *lu_bad_ptr(const struct lu_process *p, uint64_t addr)
{
    return addr == 0                   ? NULL
           : addr >= p->abi->task_size ? LU_BAD_POINTER
                                       : LU_FAULT_POINTER;
}

/* The host's pointer for [size] bytes of guest memory: NULL for 0 (the kernel knows whether that is
 * permitted), one of the two above if not all of it is mapped with that access (LU_READ, LU_WRITE).
 * Only to be passed to the kernel. */
static inline void *lu_ptr(const struct lu_process *p, uint64_t addr, uint64_t size,
                           unsigned access)
{
    if (addr == 0) {
        return NULL;
    }
    if (G_LIKELY(lu_access_ok(p, addr, size, access))) {
        return lu_g2h(p, addr);
    }
    return addr + size < addr || addr + size > p->abi->task_size ? LU_BAD_POINTER
                                                                 : LU_FAULT_POINTER;
}

/* True if all of the pages of [addr, addr + size) are mapped for the guest, with whatever
 * protection. */
bool lu_mapped(const struct lu_process *p, uint64_t addr, uint64_t size);
/* The host's address of such a range, or one at which nothing can be mapped and for which the
 * kernel finds the same errors. */
uint64_t lu_range_ptr(const struct lu_process *p, uint64_t addr, uint64_t size);

/* How many of the [size] bytes from [addr] on can be accessed, in whole pages but for the ends. */
uint64_t lu_access_prefix(const struct lu_process *p, uint64_t addr, uint64_t size,
                          unsigned access);

/* A guest's iovec array as the host's. */
struct lu_iov {
    struct iovec *v;    /* fixed or allocated, or one that the kernel refuses */
    uint64_t count;
    struct iovec fixed[8];
};
/* Copy and convert [count] entries. An array that can't be read, or is too long, and what of an
 * entry can't be accessed, get addresses for which the kernel finds the errors. */
void lu_iov_from_guest(const struct lu_process *p, struct lu_iov *iov, uint64_t addr,
                       uint64_t count, unsigned access);
void lu_iov_clear(struct lu_iov *iov);

/* A call that Linux never restarts once a handler has run, whatever SA_RESTART says. */
static inline int64_t lu_no_restart(int64_t result)
{
    return result == -LU_ERESTARTSYS ? -LU_ERESTARTNOHAND : result;
}

/* Read a signal mask argument of a call that waits and use it until the call returns. NULL: none.
 * 0, -EINVAL for a wrong size, -EFAULT. */
int lu_wait_mask(struct lu_thread *t, uint64_t addr, uint64_t size);

/* Prepare for reading a mount's data etc.: copies up to [max] bytes, at least to the end of the
 * page; returns how many or -EFAULT. */
int64_t lu_copy_some_from_guest(const struct lu_process *p, void *to, uint64_t from, size_t max);

/* A path argument: *path is g_malloc'ed; -L is applied if [prefixed]. NULL for one that can't be
 * read: lu_path_ptr then is what to pass to the kernel. 0 or -ENAMETOOLONG. */
int lu_path_from_guest(const struct lu_process *p, char **path, uint64_t addr, bool prefixed);

static inline const char *lu_path_ptr(const struct lu_process *p, const char *path, uint64_t addr)
{
    return path ? path : lu_bad_ptr(p, addr);
}

/* ---- Nandu's own file descriptors (syscall.c) ---- */

/*
 * Move [fd] (owned by Nandu: log file, gdb socket) to a high number with close-on-exec and hide it
 * from the guest: calls on it give EBADF. Returns the new number, or -1 and [fd] as it was when
 * there is no room. lu_fd_unprotect ends it before Nandu closes the descriptor. Any thread.
 */
int lu_fd_protect(struct lu_process *p, int fd);
/* Hide [fd] where it is, for descriptors that can't be moved. */
bool lu_fd_protect_in_place(struct lu_process *p, int fd);
void lu_fd_unprotect(struct lu_process *p, int fd);
bool lu_fd_is_protected(const struct lu_process *p, int fd);

/* A line of -d unimp: "nandu: unimplemented ..." if it is switched on. */
void lu_log_unimp(const struct lu_process *p, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- Handlers: one prototype a line ---- */

/* Threads, signals, exec */
lu_syscall_fn sys_clone;
lu_syscall_fn sys_clone3;
lu_syscall_fn sys_execve;
lu_syscall_fn sys_execveat;
lu_syscall_fn sys_exit;
lu_syscall_fn sys_exit_group;
lu_syscall_fn sys_wait4;
lu_syscall_fn sys_waitid;
lu_syscall_fn sys_set_tid_address;
lu_syscall_fn sys_set_robust_list;
lu_syscall_fn sys_get_robust_list;
lu_syscall_fn sys_futex;
lu_syscall_fn sys_futex_waitv;
lu_syscall_fn sys_futex_wake;
lu_syscall_fn sys_futex_wait;
lu_syscall_fn sys_futex_requeue;
lu_syscall_fn sys_membarrier;
lu_syscall_fn sys_gettid;
lu_syscall_fn sys_getpid;
lu_syscall_fn sys_kill;
lu_syscall_fn sys_tkill;
lu_syscall_fn sys_tgkill;
lu_syscall_fn sys_rt_sigaction;
lu_syscall_fn sys_rt_sigprocmask;
lu_syscall_fn sys_rt_sigpending;
lu_syscall_fn sys_rt_sigtimedwait;
lu_syscall_fn sys_rt_sigqueueinfo;
lu_syscall_fn sys_rt_tgsigqueueinfo;
lu_syscall_fn sys_rt_sigsuspend;
lu_syscall_fn sys_rt_sigreturn;
lu_syscall_fn sys_sigaltstack;
lu_syscall_fn sys_signalfd4;
lu_syscall_fn sys_timer_create;
lu_syscall_fn sys_timer_gettime;
lu_syscall_fn sys_timer_getoverrun;
lu_syscall_fn sys_timer_settime;
lu_syscall_fn sys_timer_delete;
lu_syscall_fn sys_setitimer;
lu_syscall_fn sys_getitimer;
lu_syscall_fn sys_pidfd_send_signal;
lu_syscall_fn sys_process_mrelease;
lu_syscall_fn sys_sched_yield;
lu_syscall_fn sys_sched_setparam;
lu_syscall_fn sys_sched_getparam;
lu_syscall_fn sys_sched_setscheduler;
lu_syscall_fn sys_sched_getscheduler;
lu_syscall_fn sys_sched_setaffinity;
lu_syscall_fn sys_sched_getaffinity;
lu_syscall_fn sys_sched_get_priority_max;
lu_syscall_fn sys_sched_get_priority_min;
lu_syscall_fn sys_sched_rr_get_interval;
lu_syscall_fn sys_restart_syscall;
lu_syscall_fn sys_rseq;

/* Files, sockets, time, IPC, memory, the rest */
lu_syscall_fn sys_io_setup;
lu_syscall_fn sys_io_destroy;
lu_syscall_fn sys_io_submit;
lu_syscall_fn sys_io_cancel;
lu_syscall_fn sys_io_getevents;
lu_syscall_fn sys_io_pgetevents;
lu_syscall_fn sys_epoll_ctl;
lu_syscall_fn sys_epoll_pwait;
lu_syscall_fn sys_epoll_pwait2;
lu_syscall_fn sys_fcntl;
lu_syscall_fn sys_ioctl;
lu_syscall_fn sys_mount;
lu_syscall_fn sys_openat;
lu_syscall_fn sys_openat2;
lu_syscall_fn sys_quotactl;
lu_syscall_fn sys_quotactl_fd;
lu_syscall_fn sys_read;
lu_syscall_fn sys_write;
lu_syscall_fn sys_readv;
lu_syscall_fn sys_writev;
lu_syscall_fn sys_pread64;
lu_syscall_fn sys_pwrite64;
lu_syscall_fn sys_preadv;
lu_syscall_fn sys_pwritev;
lu_syscall_fn sys_preadv2;
lu_syscall_fn sys_pwritev2;
lu_syscall_fn sys_pselect6;
lu_syscall_fn sys_ppoll;
lu_syscall_fn sys_vmsplice;
lu_syscall_fn sys_readlinkat;
lu_syscall_fn sys_newfstatat;
lu_syscall_fn sys_fstat;
lu_syscall_fn sys_statx;
lu_syscall_fn sys_capget;
lu_syscall_fn sys_capset;
lu_syscall_fn sys_nanosleep;
lu_syscall_fn sys_clock_gettime;
lu_syscall_fn sys_clock_nanosleep;
lu_syscall_fn sys_gettimeofday;
lu_syscall_fn sys_reboot;
lu_syscall_fn sys_uname;
lu_syscall_fn sys_getrlimit;
lu_syscall_fn sys_setrlimit;
lu_syscall_fn sys_prlimit64;
lu_syscall_fn sys_prctl;
lu_syscall_fn sys_mq_notify;
lu_syscall_fn sys_msgctl;
lu_syscall_fn sys_msgrcv;
lu_syscall_fn sys_msgsnd;
lu_syscall_fn sys_semctl;
lu_syscall_fn sys_shmctl;
lu_syscall_fn sys_shmat;
lu_syscall_fn sys_shmdt;
lu_syscall_fn sys_accept;
lu_syscall_fn sys_accept4;
lu_syscall_fn sys_getsockname;
lu_syscall_fn sys_getpeername;
lu_syscall_fn sys_recvfrom;
lu_syscall_fn sys_setsockopt;
lu_syscall_fn sys_getsockopt;
lu_syscall_fn sys_sendmsg;
lu_syscall_fn sys_recvmsg;
lu_syscall_fn sys_recvmmsg;
lu_syscall_fn sys_sendmmsg;
lu_syscall_fn sys_brk;
lu_syscall_fn sys_munmap;
lu_syscall_fn sys_mremap;
lu_syscall_fn sys_mmap;
lu_syscall_fn sys_mprotect;
lu_syscall_fn sys_mincore;
lu_syscall_fn sys_madvise;
lu_syscall_fn sys_remap_file_pages;
lu_syscall_fn sys_mbind;
lu_syscall_fn sys_get_mempolicy;
lu_syscall_fn sys_set_mempolicy;
lu_syscall_fn sys_migrate_pages;
lu_syscall_fn sys_move_pages;
lu_syscall_fn sys_keyctl;
lu_syscall_fn sys_riscv_hwprobe;
lu_syscall_fn sys_riscv_flush_icache;
lu_syscall_fn sys_name_to_handle_at;
lu_syscall_fn sys_open_by_handle_at;
lu_syscall_fn sys_process_vm_readv;
lu_syscall_fn sys_process_vm_writev;
lu_syscall_fn sys_kcmp;
lu_syscall_fn sys_sched_setattr;
lu_syscall_fn sys_seccomp;
lu_syscall_fn sys_fsconfig;
lu_syscall_fn sys_close_range;
lu_syscall_fn sys_pidfd_getfd;
lu_syscall_fn sys_process_madvise;
lu_syscall_fn sys_landlock_add_rule;
lu_syscall_fn sys_statmount;
lu_syscall_fn sys_listmount;
lu_syscall_fn sys_lsm_get_self_attr;
lu_syscall_fn sys_lsm_list_modules;

#endif
