/*
 * Linux user mode: one process of another architecture, run on the host's kernel.
 *
 * A guest thread is a host thread; a guest process is a host process. Guest memory is at host
 * address guest + guest_base (0 wherever possible). System calls of the guest are checked,
 * converted where layouts differ, and made to the host's kernel.
 *
 * Locks, in the order in which they may be taken: process.fork_lock (shared by whoever must not be
 * interrupted by a fork), process.lock (threads, signal actions), mm.lock, then the translator's.
 */
#ifndef NANDU_LINUX_USER_H
#define NANDU_LINUX_USER_H

#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dbt/dbt.h"

struct lu_mm; /* mm.c: the guest's address space */
struct lu_thread;
struct lu_process;
struct lu_gdb;    /* debug/gdbstub: private */
struct lu_filter; /* seccomp.c: private */

enum { LU_NSIG = 64, LU_PAGE_SIZE = 4096 };

/* Results of a system call handler beyond -errno. */
enum {
    LU_ERESTARTSYS = 512,    /* interrupted: restart if SA_RESTART, else EINTR */
    LU_ERESTARTNOINTR = 513, /* always restart */
    LU_ERESTARTNOHAND = 514, /* restart unless a handler runs, then EINTR */
    LU_SIGRETURN = 600,      /* registers are already as they should be */
};

/* Signal set of the guest: bit n-1 for signal n. Same numbers as the host's for generic ABIs. */
typedef uint64_t lu_sigset;

struct lu_sigaction {
    uint64_t handler; /* 0 SIG_DFL, 1 SIG_IGN */
    uint64_t flags;   /* SA_* */
    lu_sigset mask;
};

/* Per-architecture part of the system call interface (abi_riscv64.c). */
struct lu_abi {
    const char *name;          /* "riscv64" */
    const char *uname_machine; /* utsname.machine */
    const char *platform;      /* AT_PLATFORM; NULL: none */
    uint16_t elf_machine;      /* EM_* */
    const struct guest_arch *arch;
    uint64_t task_size; /* end of the guest's user addresses (2^47 here) */
    uint64_t stack_align;
    const uint8_t *vdso; /* ELF image mapped for the guest */
    size_t vdso_size;

    void (*init_thread)(struct vcpu *cpu, uint64_t entry, uint64_t sp);
    uint64_t (*syscall_number)(const struct vcpu *cpu);
    void (*syscall_args)(const struct vcpu *cpu, uint64_t args[6]);
    void (*set_result)(struct vcpu *cpu, uint64_t result);
    /* Back to the system call instruction, with the first argument as it was. */
    void (*restart_syscall)(struct vcpu *cpu, uint64_t number, uint64_t arg0);
    uint64_t (*get_sp)(const struct vcpu *cpu);
    void (*set_tls)(struct vcpu *cpu, uint64_t tls);
    void (*set_clone_result)(struct vcpu *cpu, uint64_t sp); /* child: returns 0; sp if not 0 */
    uint64_t (*hwcap)(const void *model);
    uint64_t (*hwcap2)(const void *model);
    /* Write the signal frame and set registers to enter the handler; false: stack not writable. */
    bool (*setup_frame)(struct lu_thread *t, int sig, const struct lu_sigaction *action,
                        const siginfo_t *info, lu_sigset old_mask);
    /* rt_sigreturn: registers and t->blocked from the frame; false: bad frame (SIGSEGV). */
    bool (*sigreturn)(struct lu_thread *t);
    /* Architecture's own calls (riscv_hwprobe, riscv_flush_icache) are rows of the table. */
};

extern const struct lu_abi lu_abi_riscv64;

/* What the command line asked for (cli/user_main.c fills it in). */
struct lu_options {
    const char *prefix;        /* -L: prefix of absolute paths to look in first; NULL: none */
    const char *cpu;           /* -cpu */
    const char *argv0;         /* -0 */
    const char *uname_release; /* -r */
    uint64_t stack_size;       /* -s; 0: the host's limit */
    uint64_t guest_base;       /* -B */
    bool have_guest_base;
    uint64_t reserved_va; /* -R; 0: none */
    uint64_t seed;        /* -seed: of AT_RANDOM */
    bool have_seed;
    bool strace;
    const char *gdb;       /* -g PORT or socket path */
    FILE *log_file;        /* borrowed; strace and -d go here */
    const char *log_name;  /* -D, absolute, with its %d; NULL: none */
    unsigned log_unimp;    /* -d unimp: name unimplemented calls */
    unsigned log_int;      /* -d int: signals and faults */
    unsigned log_page;     /* -d page: mappings */
    struct dbt_config dbt; /* arch, base and fetch are filled in by linux_user */
};

struct lu_process {
    const struct lu_abi *abi;
    const struct lu_options *options;
    struct dbt *dbt;
    struct lu_mm *mm;
    const void *model; /* CPU model */
    uint64_t guest_base;
    int exec_fd;      /* of the running program, or -1 */
    char *exec_path;  /* real path of the guest's program: /proc/self/exe */
    char *exec_name;  /* as it was named when it was started: AT_EXECFN */
    char *nandu_path; /* real path of this executable: to exec guest programs */
    int nandu_fd;     /* the same, opened with O_PATH; -1: none (exec.c) */
    char **guest_argv;
    char **guest_env;
    uint64_t *auxv;       /* pairs, as put on the guest's stack */
    size_t auxv_size;     /* bytes */
    uint64_t start_stack; /* for /proc/self/stat */
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t code_start, code_end, data_start, data_end;
    uint64_t vdso_sigreturn; /* guest address of the rt_sigreturn trampoline in the vDSO */
    uint64_t vdso_base;

    pthread_mutex_t lock; /* threads, sigactions */
    pthread_rwlock_t fork_lock;
    struct lu_thread *threads; /* list by .next */
    unsigned n_threads;
    struct lu_sigaction actions[LU_NSIG + 1];
    bool shares_memory; /* a copy for a child like vfork's, which uses its parent's memory */
    struct lu_gdb *gdb;

    /* Descriptors of Nandu's own, hidden from the guest (lu_fd_protect in sys.h): number + 1, 0 for
     * a free slot; and the lowest of them + 1, 0 for none. Written under lock, read without. */
    int protected_fds[16];
    int protected_floor;
    /* RLIMIT_DATA, RLIMIT_STACK, RLIMIT_AS as the guest set them: {soft, hard}; they are not
     * applied to Nandu itself. Under lock. */
    uint64_t rlimits[3][2];
    bool rlimit_set[3];
    struct lu_filter *passed_filter; /* owned; from who executed this Nandu, for the first thread */
};

struct lu_pending { /* a queued signal */
    struct lu_pending *next;
    siginfo_t info;
};

struct lu_thread {
    struct vcpu *cpu;
    struct lu_process *process;
    struct lu_thread *next;
    pthread_t host_thread;
    pid_t tid;
    bool vfork_child; /* borrows its parent's memory until it execs or exits */

    /* Signals: owned by the thread; pending is written by its own host signal handlers. */
    lu_sigset blocked;    /* the guest's mask */
    lu_sigset saved_mask; /* for sigsuspend, ppoll and the like */
    bool restore_saved_mask;
    volatile sig_atomic_t signal_pending; /* something to look at before the next system call */
    stack_t altstack;                     /* guest's, with guest addresses */
    void *host_altstack;

    uint64_t clear_child_tid; /* guest address; 0: none */
    uint64_t robust_list, robust_list_size;
    /* rseq.c: guest address of the structure that is registered, 0 for none; and where the sequence
     * that the thread is in goes on when it is preempted. */
    uint64_t rseq, rseq_abort;
    uint32_t rseq_size, rseq_signature;

    uint64_t syscall_nr, syscall_arg0; /* of the call being made, for restarts */
    struct lu_filter *filter; /* seccomp: the newest one; NULL: none. Owned; written under lock */
    bool want_no_new_privs;   /* to be set by the thread itself: see seccomp.c */
    void *signals;            /* signal.c's own state */
    void *exit_jump;          /* jmp_buf of lu_thread_run: the way out for lu_exit_thread */
};

/* ---- Guest memory (mm.c). Addresses are the guest's. ---- */

static inline void *lu_g2h(const struct lu_process *p, uint64_t addr)
{
    return (void *)(uintptr_t)(addr + p->guest_base);
}

static inline uint64_t lu_h2g(const struct lu_process *p, const void *host)
{
    return (uint64_t)(uintptr_t)host - p->guest_base;
}

enum { LU_READ = 1, LU_WRITE = 2 };

/* True if all of [addr, addr + size) is mapped for the guest with that access (LU_READ and/or
 * LU_WRITE). Handlers must check each pointer with it before passing it to the kernel or touching
 * it, so that no call can reach memory of Nandu's. size 0 is true. */
bool lu_access_ok(const struct lu_process *p, uint64_t addr, uint64_t size, unsigned access);

/* Copy between guest and Nandu, safe against a concurrent munmap. 0 or -EFAULT. */
int lu_copy_from_guest(const struct lu_process *p, void *to, uint64_t from, size_t size);
int lu_copy_to_guest(const struct lu_process *p, uint64_t to, const void *from, size_t size);
/* A NUL-terminated string of up to [max] bytes: *string is g_malloc'ed. 0, -EFAULT,
 * -ENAMETOOLONG. */
int lu_string_from_guest(const struct lu_process *p, char **string, uint64_t from, size_t max);

/* An address space over a window of the host's; NULL and *error when it can't be had. */
struct lu_mm *lu_mm_new(const struct lu_options *options, const struct lu_abi *abi,
                        uint64_t *guest_base, GError **error);
void lu_mm_set_dbt(struct lu_mm *mm, struct dbt *dbt);
/* System calls: result or -errno. [fd] is the host's. */
int64_t lu_mmap(struct lu_process *p, uint64_t addr, uint64_t size, int prot, int flags, int fd,
                uint64_t offset);
int64_t lu_munmap(struct lu_process *p, uint64_t addr, uint64_t size);
int64_t lu_mprotect(struct lu_process *p, uint64_t addr, uint64_t size, int prot);
int64_t lu_mremap(struct lu_process *p, uint64_t old, uint64_t old_size, uint64_t new_size,
                  int flags, uint64_t new_addr);
int64_t lu_brk(struct lu_process *p, uint64_t addr);
int64_t lu_madvise(struct lu_process *p, uint64_t addr, uint64_t size, int advice);
int64_t lu_shmat(struct lu_process *p, int id, uint64_t addr, int flags);
int64_t lu_shmdt(struct lu_process *p, uint64_t addr);
void lu_mm_set_brk(struct lu_mm *mm, uint64_t brk);
/* Protection (PROT_*) of the page at [addr], or -1 when not mapped. Async-signal-safe when the
 * lock isn't held by the same thread; used to tell MAPERR from ACCERR. */
int lu_mm_prot(struct lu_process *p, uint64_t addr);
/* dbt_config.fetch, opaque = struct lu_process */
size_t lu_mm_fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable);
/* The guest's /proc/self/maps. g_malloc'ed. */
char *lu_mm_maps(struct lu_process *p);
void lu_mm_before_fork(struct lu_mm *mm);
void lu_mm_after_fork(struct lu_mm *mm, bool child);

/* ---- Program loading (elf.c, stack.c) ---- */

struct lu_image {
    uint64_t entry;         /* where to start: the interpreter's, if there is one */
    uint64_t program_entry; /* AT_ENTRY */
    uint64_t phdr, phent, phnum, interp_base;
    uint64_t load_bias, code_start, code_end, data_start, data_end, brk;
    uint64_t sp;
    unsigned stack_prot; /* PROT_EXEC if PT_GNU_STACK asks for it */
};

/* Map [fd] (an ELF file or a script; it is closed) and its interpreter; false and *error in one
 * clear line. A script changes p->guest_argv. */
bool lu_load_program(struct lu_process *p, int fd, const char *path, struct lu_image *image,
                     GError **error);
/* Make the stack with argv, envp and auxv. */
bool lu_setup_stack(struct lu_process *p, struct lu_image *image, GError **error);
/* Path of the guest's file [path] under -L, or a copy of [path]. g_malloc'ed. */
char *lu_prefixed_path(const struct lu_process *p, const char *path);
/* What a file is, for execve: is it an ELF of the guest's architecture, of the host's, a script? */
enum lu_file_kind { LU_FILE_GUEST, LU_FILE_HOST, LU_FILE_SCRIPT, LU_FILE_OTHER };
enum lu_file_kind lu_file_kind(const struct lu_process *p, int fd);

/*
 * Run [program] (which [exec_fd] is open on, or -1) with the guest's argv and envp, which are
 * copied. Returns the guest's exit status; if it couldn't be started *error is set and the result
 * is the status to exit with. Called once in a process, by its first thread.
 */
int lu_main(const struct lu_options *options, const struct lu_abi *abi, int exec_fd,
            const char *program, char *const *argv, char *const *envp, GError **error);

/* ---- Threads and the loop (thread.c) ---- */

/* Start the first thread and run the guest until it ends; returns its exit status, or ends the
 * process by the guest's signal. */
int lu_run(struct lu_process *p, const struct lu_image *image);
/* The lu_thread of the calling host thread (a thread-local); NULL if it isn't a guest's. */
struct lu_thread *lu_current(void);
int64_t lu_clone(struct lu_thread *t, uint64_t flags, uint64_t stack, uint64_t parent_tid,
                 uint64_t child_tid, uint64_t tls, uint64_t pidfd, int exit_signal);
int64_t lu_execveat(struct lu_thread *t, int dirfd, const char *path, char *const argv[],
                    char *const envp[], int flags);
_Noreturn void lu_exit_thread(struct lu_thread *t, int status);
_Noreturn void lu_exit_group(struct lu_thread *t, int status);

/* ---- Signals (signal.c, safe_syscall.S) ---- */

void lu_signals_init(struct lu_process *p);
bool lu_signals_init_thread(struct lu_thread *t);
void lu_signals_free_thread(struct lu_thread *t);
/* Before going back to guest code: deliver what is pending and not blocked; applies restarts.
 * [result] is the result of the system call just made, if [in_syscall]. */
void lu_deliver_signals(struct lu_thread *t, bool in_syscall, int64_t result);
/* A synchronous signal for this thread, delivered also if blocked (then fatal). */
void lu_force_signal(struct lu_thread *t, int sig, int code, uint64_t addr);
/* Set the guest's mask of the thread. */
void lu_set_blocked(struct lu_thread *t, lu_sigset blocked);
/* sigsuspend, ppoll, pselect, epoll_pwait: use [mask] until the call returns. */
void lu_set_temporary_mask(struct lu_thread *t, lu_sigset mask);

/*
 * A host system call that a guest signal can interrupt without a race: -LU_ERESTARTSYS if a signal
 * was pending before it went to sleep, else the kernel's result (-errno). Every call that may block
 * goes through it.
 */
int64_t lu_safe_syscall(struct lu_thread *t, long nr, ...);
#define LU_SAFE(t, nr, ...) lu_safe_syscall(t, nr, ##__VA_ARGS__, 0L, 0L, 0L, 0L, 0L, 0L)

/* ---- System calls (syscall.c) ---- */

/* Make the system call that the vCPU's registers ask for; returns result or -errno or
 * -LU_ERESTART*, -LU_SIGRETURN. Traces it with -strace. */
int64_t lu_syscall(struct lu_thread *t, uint64_t nr, const uint64_t args[6]);

/* ---- Restartable sequences (rseq.c; rseq(2)) ---- */

/* VCPU_EXIT_WORD: do the instruction, by which a sequence begins. Returns as dbt_run. */
enum vcpu_exit lu_rseq_store(struct lu_thread *t);
/* VCPU_EXIT_RESTART: go on where the sequence says. */
void lu_rseq_restart(struct lu_thread *t);
/* A signal is to be delivered: it ends a sequence. */
void lu_rseq_signal(struct lu_thread *t);
/* The thread ends: the kernel shall leave its memory alone. */
void lu_rseq_exit(struct lu_thread *t);

/* ---- Seccomp filters (seccomp.c; seccomp(2)) ---- */

/* Ask the filters of [t], which has some (t->filter). True: the call is to be made. False: *result
 * is its result. Doesn't return if they kill the thread. */
bool lu_seccomp_check(struct lu_thread *t, uint64_t nr, const uint64_t args[6], int64_t *result);
/* A new thread or process gets those of its parent; under fork_lock for a thread. */
void lu_seccomp_inherit(struct lu_thread *t, const struct lu_thread *parent);
void lu_seccomp_release(struct lu_thread *t);
/* prctl(PR_SET_SECCOMP): 0 or -errno. */
int64_t lu_seccomp_set_mode(struct lu_thread *t, uint64_t mode, uint64_t addr);
/* SECCOMP_MODE_*. */
int lu_seccomp_mode(const struct lu_thread *t);

/* What execve hands to the next Nandu. */
struct lu_seccomp_pass {
    GPtrArray *envp; /* strings are borrowed, but for .variable; ends with NULL */
    char *variable;
    int fd; /* -1: there are no filters */
};
/* 0, and lu_seccomp_pass_undo is due if execve fails; or -errno. [envp] is the guest's. */
int lu_seccomp_pass(struct lu_thread *t, char *const *envp, struct lu_seccomp_pass *pass);
void lu_seccomp_pass_undo(struct lu_thread *t, struct lu_seccomp_pass *pass);
/* At the start, before the guest's stack is made: takes what was handed over; false and *error if
 * it can't be used. Then, by the first thread: puts it in force. */
bool lu_seccomp_take(struct lu_process *p, GError **error);
void lu_seccomp_start(struct lu_thread *t);

/* A handler of one row of the table in syscalls.def. */
typedef int64_t lu_syscall_fn(struct lu_thread *t, const uint64_t a[6]);

#endif
