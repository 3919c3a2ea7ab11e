/*
 * Seccomp: filters that a guest puts before its own system calls (seccomp(2)).
 *
 * The host's kernel can't run them: it would see Nandu's calls, with the numbers of another
 * architecture. So they are run here, on each system call of the guest, before it is dispatched.
 * They bind what the guest asks for; they are no wall around guest code that finds a way to make
 * calls of the host's.
 *
 * A filter is immutable and counts its references; a thread points to its newest one, each points
 * to the next older one. A thread reads its own pointer without a lock. Another thread (TSYNC) may
 * replace it, but only by a chain that has the replaced one in it, so what is being read stays. All
 * changes are made under process.lock; one that concerns other threads also holds fork_lock, which
 * no thread is made and no program executed without.
 *
 * execve passes the chain on to the next Nandu: see "Over execve".
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "linux_user/gdb.h"
#include "linux_user/seccomp_bpf.h"
#include "linux_user/signals.h"
#include "linux_user/syscall_table.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code of SIGSYS */
#endif

enum {
    MAX_PATH_INSNS = 32768, /* of all filters of a thread, each counting FILTER_COST more */
    FILTER_COST = 4,
    MAX_ERROR = 4095,
};

struct lu_filter {
    int refs;
    struct lu_filter *next; /* older; owned */
    bool strict;            /* SECCOMP_MODE_STRICT: no code, no other filters */
    bool log;               /* SECCOMP_FILTER_FLAG_LOG */
    unsigned path_insns;    /* as MAX_PATH_INSNS counts, with the older ones */
    unsigned length;
    struct sock_filter code[];
};

/* ---- Chains ---- */

static struct lu_filter *filter_ref(struct lu_filter *f)
{
    if (f) {
        __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
    }
    return f;
}

static void filter_unref(struct lu_filter *f)
{
    while (f && __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        struct lu_filter *next = f->next;

        g_free(f);
        f = next;
    }
}

static struct lu_filter *filter_new(unsigned length)
{
    struct lu_filter *f = g_try_malloc0(sizeof(*f) + length * sizeof(f->code[0]));

    if (f) {
        f->refs = 1;
        f->length = length;
    }
    return f;
}

static struct lu_filter *thread_filter(const struct lu_thread *t)
{
    return __atomic_load_n(&t->filter, __ATOMIC_ACQUIRE);
}

/* Put [f] before the chain *chain, which takes it over. 0 or -ENOMEM for too long a chain. */
static int push(struct lu_filter **chain, struct lu_filter *f)
{
    unsigned older = *chain ? (*chain)->path_insns + FILTER_COST : 0;

    if (f->length + older > MAX_PATH_INSNS) {
        return -ENOMEM;
    }
    f->path_insns = f->length + older;
    f->next = *chain;
    __atomic_store_n(chain, f, __ATOMIC_RELEASE);
    return 0;
}

static bool is_in_chain(const struct lu_filter *f, const struct lu_filter *chain)
{
    while (chain && chain != f) {
        chain = chain->next;
    }
    return chain == f;
}

void lu_seccomp_inherit(struct lu_thread *t, const struct lu_thread *parent)
{
    t->filter = filter_ref(thread_filter(parent));
    t->want_no_new_privs = parent->want_no_new_privs;
}

void lu_seccomp_release(struct lu_thread *t)
{
    filter_unref(t->filter);
    t->filter = NULL;
}

/* ---- Actions ---- */

static const struct {
    uint32_t action;
    const char *name;
} actions[] = {
    {SECCOMP_RET_KILL_PROCESS, "KILL_PROCESS"},
    {SECCOMP_RET_KILL_THREAD, "KILL_THREAD"},
    {SECCOMP_RET_TRAP, "TRAP"},
    {SECCOMP_RET_ERRNO, "ERRNO"},
    {SECCOMP_RET_TRACE, "TRACE"},
    {SECCOMP_RET_LOG, "LOG"},
    {SECCOMP_RET_ALLOW, "ALLOW"},
};

/* AUDIT_ARCH_*: made of the ELF machine. */
static uint32_t audit_arch(const struct lu_process *p)
{
    return p->abi->elf_machine | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE;
}

/* What all filters say together: the action that is first in precedence, which is lower as a signed
 * number; of equal ones that of the newest filter, *from. */
static uint32_t run_chain(const struct lu_filter *f, const struct seccomp_data *data,
                          const struct lu_filter **from)
{
    uint32_t result = SECCOMP_RET_ALLOW;

    *from = NULL;
    for (; f; f = f->next) {
        uint32_t r = lu_bpf_run(f->code, data);

        if ((int32_t)(r & SECCOMP_RET_ACTION_FULL) < (int32_t)(result & SECCOMP_RET_ACTION_FULL)) {
            result = r;
            *from = f;
        }
    }
    return result;
}

/* The line that the kernel would write into its audit log; with -d int. */
static void log_action(const struct lu_thread *t, const struct seccomp_data *data, uint32_t action)
{
    const struct lu_options *o = t->process->options;
    const struct lu_syscall_row *row = lu_syscall_row((uint32_t)data->nr);
    const char *name = "KILL_PROCESS";

    if (!o->log_int) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (actions[i].action == action) {
            name = actions[i].name;
        }
    }
    fprintf(o->log_file ? o->log_file : stderr,
            "seccomp: pid %d: system call %d (%s) pc=0x%llx: %s\n", (int)t->tid, data->nr,
            row ? row->name : "unknown", (unsigned long long)data->instruction_pointer, name);
}

static void fill_siginfo(siginfo_t *info, const struct lu_thread *t,
                         const struct seccomp_data *data, uint32_t value)
{
    memset(info, 0, sizeof(*info));
    info->si_signo = SIGSYS;
    info->si_code = SYS_SECCOMP;
    info->si_errno = (int)value;
    info->si_call_addr = (void *)(uintptr_t)data->instruction_pointer;
    info->si_syscall = data->nr;
    info->si_arch = audit_arch(t->process);
}

/* SIGSYS that can't be held back, with the call's arguments as they were. */
static void trap(struct lu_thread *t, const struct seccomp_data *data, uint32_t value)
{
    lu_force_signal(t, SIGSYS, SYS_SECCOMP, data->instruction_pointer);
    fill_siginfo(&lu_thread_signals(t)->forced_info, t, data, value);
}

static _Noreturn void kill_process(struct lu_thread *t, const siginfo_t *info)
{
    struct lu_process *p = t->process;

    if (p->options->log_file) {
        fflush(p->options->log_file);
    }
    if (p->gdb && !t->vfork_child) {
        lu_gdb_exit(p, info->si_signo);
    }
    lu_die_by_signal(t, info, true);
    lu_exit_group(t, 128 + info->si_signo);
}

/* End the thread by [info]'s signal, and the process if it is its last one. */
static _Noreturn void kill_thread(struct lu_thread *t, const siginfo_t *info)
{
    struct lu_process *p = t->process;
    bool last;

    pthread_mutex_lock(&p->lock);
    last = p->n_threads == 1;
    pthread_mutex_unlock(&p->lock);
    if (last) {
        kill_process(t, info);
    }
    lu_exit_thread(t, info->si_signo);
}

static bool is_allowed_in_strict_mode(uint64_t nr)
{
    const struct lu_syscall_row *row = lu_syscall_row(nr);

    return row && (row->handler == sys_read || row->handler == sys_write ||
                   row->handler == sys_exit || row->handler == sys_rt_sigreturn);
}

/* Do what [verdict] says: true if the call is to be made, else *result is its result. */
static bool act(struct lu_thread *t, const struct seccomp_data *data, uint32_t verdict,
                int64_t *result)
{
    uint32_t value = verdict & SECCOMP_RET_DATA;
    siginfo_t info;

    switch (verdict & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG: return true;
    case SECCOMP_RET_ERRNO:
        *result = -(int64_t)MIN(value, MAX_ERROR);
        if (*result <= -LU_ERESTARTSYS) { /* these numbers have a meaning to who gets the result */
            t->process->abi->set_result(t->cpu, (uint64_t)*result);
            *result = -LU_SIGRETURN;
        }
        return false;
    case SECCOMP_RET_TRAP:
        trap(t, data, value);
        *result = -LU_SIGRETURN;
        return false;
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_USER_NOTIF: *result = -ENOSYS; return false; /* nobody is there to ask */
    default: break;
    }
    fill_siginfo(&info, t, data, value);
    if ((verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_KILL_THREAD) {
        kill_thread(t, &info);
    }
    kill_process(t, &info);
}

/* Threads that TSYNC reached also get that attribute, before the first call that it could matter
 * to. */
static void set_no_new_privs(struct lu_thread *t)
{
    if (G_UNLIKELY(__atomic_load_n(&t->want_no_new_privs, __ATOMIC_ACQUIRE))) {
        __atomic_store_n(&t->want_no_new_privs, false, __ATOMIC_RELAXED);
        LU_HOST(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
}

bool lu_seccomp_check(struct lu_thread *t, uint64_t nr, const uint64_t a[6], int64_t *result)
{
    const struct lu_filter *chain = thread_filter(t), *from;
    struct seccomp_data data = {
        .nr = (int)nr,
        .arch = audit_arch(t->process),
        .instruction_pointer = t->cpu->pc, /* behind the instruction, as the kernel has it */
    };
    uint32_t verdict, action;

    set_no_new_privs(t);
    if (chain->strict) {
        if (!is_allowed_in_strict_mode(nr)) {
            const siginfo_t info = {.si_signo = SIGKILL};

            log_action(t, &data, SECCOMP_RET_KILL_THREAD);
            kill_thread(t, &info);
        }
        return true;
    }
    memcpy(data.args, a, sizeof(data.args));
    verdict = run_chain(chain, &data, &from);
    if (G_LIKELY(!from)) {
        return true;
    }
    action = verdict & SECCOMP_RET_ACTION_FULL;
    if (from->log || action == SECCOMP_RET_LOG || (int32_t)action <= 0) {
        log_action(t, &data, action);
    }
    return act(t, &data, verdict, result);
}

/* ---- The system calls ---- */

/* May the thread have filters? They outlive a change of credentials, which they could deceive. */
static bool may_filter(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};

    return LU_HOST(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
           (LU_HOST(SYS_capget, &header, data) == 0 &&
            (data[0].effective & CAP_TO_MASK(CAP_SYS_ADMIN)));
}

/* The guest's struct sock_fprog at [addr] as a filter: *filter, or -errno. */
static int filter_from_guest(const struct lu_process *p, uint64_t addr, struct lu_filter **filter)
{
    struct {
        uint16_t length;
        uint64_t code;
    } prog;
    struct lu_filter *f;
    int error;

    if (lu_copy_from_guest(p, &prog, addr, sizeof(prog)) != 0) {
        return -EFAULT;
    }
    if (prog.length == 0 || prog.length > BPF_MAXINSNS) {
        return -EINVAL;
    }
    if (!may_filter()) {
        return -EACCES;
    }
    if (prog.code == 0) {
        return -EINVAL;
    }
    f = filter_new(prog.length);
    if (!f) {
        return -ENOMEM;
    }
    error = lu_copy_from_guest(p, f->code, prog.code, prog.length * sizeof(f->code[0]));
    if (!error && !lu_bpf_is_valid(f->code, f->length)) {
        error = -EINVAL;
    }
    if (error) {
        g_free(f);
        return error;
    }
    *filter = f;
    return 0;
}

/* Threads of the list that are of the calling process: children that share its memory may be on it
 * too. */
static bool is_sibling(const struct lu_thread *t, const struct lu_thread *other)
{
    return other != t && LU_HOST(SYS_tgkill, getpid(), other->tid, 0) == 0;
}

/* The id of a thread whose filters aren't among the caller's; 0: all can have the same. */
static pid_t find_divergent(const struct lu_thread *t)
{
    for (const struct lu_thread *i = t->process->threads; i; i = i->next) {
        if (is_sibling(t, i) && !is_in_chain(i->filter, t->filter)) {
            return i->tid;
        }
    }
    return 0;
}

/* Give all threads the caller's filters. */
static void synchronize(struct lu_thread *t)
{
    bool no_new_privs = LU_HOST(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;

    for (struct lu_thread *i = t->process->threads; i; i = i->next) {
        struct lu_filter *old = i->filter;

        if (!is_sibling(t, i)) {
            continue;
        }
        if (no_new_privs) {
            __atomic_store_n(&i->want_no_new_privs, true, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&i->filter, filter_ref(t->filter), __ATOMIC_RELEASE);
        filter_unref(old); /* [i] may be running it, as a part of its new chain */
    }
}

/* Add [f] to the thread's filters, or to all threads'. *f is still the caller's if it fails. */
static int64_t install(struct lu_thread *t, struct lu_filter *f, uint32_t flags)
{
    struct lu_process *p = t->process;
    bool sync = flags & SECCOMP_FILTER_FLAG_TSYNC;
    int64_t result = 0;

    if (sync) {
        pthread_rwlock_wrlock(&p->fork_lock);
    }
    pthread_mutex_lock(&p->lock);
    if (t->filter && f->strict) {
        result = -EINVAL; /* a mode doesn't change; strict mode doesn't let anyone get here */
    } else if (sync && (result = find_divergent(t)) != 0) {
        result = flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : result;
    } else {
        result = push(&t->filter, f);
        if (result == 0 && sync) {
            synchronize(t);
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (sync) {
        pthread_rwlock_unlock(&p->fork_lock);
    }
    return result;
}

static int64_t set_mode_strict(struct lu_thread *t)
{
    struct lu_filter *f = filter_new(0);
    int64_t result;

    if (!f) {
        return -ENOMEM;
    }
    f->strict = true;
    result = install(t, f, 0);
    if (result != 0) {
        g_free(f);
    }
    return result;
}

static int64_t set_mode_filter(struct lu_thread *t, uint32_t flags, uint64_t addr)
{
    /* SPEC_ALLOW: no mitigation is switched on for a filter here, so none is to be left out. */
    const uint32_t known = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |
                           SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    struct lu_filter *f;
    int64_t result;

    if (flags & ~known) {
        lu_log_unimp(t->process, "seccomp filter flags 0x%x", flags & ~known);
        return -EINVAL;
    }
    result = filter_from_guest(t->process, addr, &f);
    if (result != 0) {
        return result;
    }
    f->log = flags & SECCOMP_FILTER_FLAG_LOG;
    result = install(t, f, flags);
    if (result != 0) {
        g_free(f);
    }
    return result;
}

static int64_t is_action_available(const struct lu_process *p, uint64_t addr)
{
    uint32_t action;

    if (lu_copy_from_guest(p, &action, addr, sizeof(action)) != 0) {
        return -EFAULT;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (actions[i].action == action) {
            return 0;
        }
    }
    return -EOPNOTSUPP;
}

int64_t sys_seccomp(struct lu_thread *t, const uint64_t a[6])
{
    uint32_t op = (uint32_t)a[0], flags = (uint32_t)a[1];

    switch (op) {
    case SECCOMP_SET_MODE_STRICT: return flags || a[2] ? -EINVAL : set_mode_strict(t);
    case SECCOMP_SET_MODE_FILTER: return set_mode_filter(t, flags, a[2]);
    case SECCOMP_GET_ACTION_AVAIL: return flags ? -EINVAL : is_action_available(t->process, a[2]);
    default:
        /* SECCOMP_GET_NOTIF_SIZES too: by it programs find out whether there are notifications. */
        lu_log_unimp(t->process, "seccomp operation %u", op);
        return -EINVAL;
    }
}

int64_t lu_seccomp_set_mode(struct lu_thread *t, uint64_t mode, uint64_t addr)
{
    switch (mode) {
    case SECCOMP_MODE_STRICT: return set_mode_strict(t);
    case SECCOMP_MODE_FILTER: return set_mode_filter(t, 0, addr);
    default: return -EINVAL;
    }
}

int lu_seccomp_mode(const struct lu_thread *t)
{
    const struct lu_filter *f = thread_filter(t);

    return !f ? SECCOMP_MODE_DISABLED : f->strict ? SECCOMP_MODE_STRICT : SECCOMP_MODE_FILTER;
}

/*
 * ---- Over execve ----
 *
 * The next Nandu gets the filters in a memory file, whose number is in an environment variable that
 * the guest never sees. The file is sealed before anyone else could write to it, its number is
 * hidden from other threads, and a variable of this name in the guest's environment is left out: so
 * filters can't be taken away. What is read is checked like a filter of the guest's: whoever else
 * sets the variable only restrains the program that he runs.
 *
 * The file: FILE_MAGIC ("seccomp1"), then for each filter, the oldest first, a struct record and
 * the code.
 */
#define VARIABLE   "NANDU_SECCOMP_FD"
#define FILE_MAGIC UINT64_C(0x31706d6f63636573)

struct record {
    uint32_t length; /* instructions */
    uint32_t flags;  /* SECCOMP_FILTER_FLAG_LOG */
};

enum { MAX_FILE = 1 << 20 }; /* more than MAX_PATH_INSNS can need */

static GByteArray *chain_to_bytes(const struct lu_filter *chain)
{
    const uint64_t magic = FILE_MAGIC;
    GByteArray *bytes = g_byte_array_new();
    GPtrArray *order = g_ptr_array_new();

    for (const struct lu_filter *f = chain; f; f = f->next) {
        g_ptr_array_add(order, (void *)f);
    }
    g_byte_array_append(bytes, (const void *)&magic, sizeof(magic));
    for (unsigned i = order->len; i-- > 0;) {
        const struct lu_filter *f = order->pdata[i];
        struct record r = {f->length, f->log ? SECCOMP_FILTER_FLAG_LOG : 0};

        g_byte_array_append(bytes, (const void *)&r, sizeof(r));
        g_byte_array_append(bytes, (const void *)f->code, (guint)(f->length * sizeof(f->code[0])));
    }
    g_ptr_array_free(order, TRUE);
    return bytes;
}

/* The chain of a file's content; NULL: it isn't one. */
static struct lu_filter *chain_from_bytes(const char *data, size_t size)
{
    const uint64_t magic = FILE_MAGIC;
    struct lu_filter *chain = NULL;
    size_t at = sizeof(magic);

    if (size < at || memcmp(data, &magic, sizeof(magic)) != 0) {
        return NULL;
    }
    while (at < size) {
        struct lu_filter *f = NULL;
        struct record r;
        size_t bytes;

        if (size - at >= sizeof(r)) {
            memcpy(&r, data + at, sizeof(r));
            at += sizeof(r);
            bytes = r.length * sizeof(f->code[0]);
            f = r.length <= BPF_MAXINSNS && bytes <= size - at ? filter_new(r.length) : NULL;
        }
        if (f) {
            memcpy(f->code, data + at, bytes);
            at += bytes;
            f->log = r.flags & SECCOMP_FILTER_FLAG_LOG;
        }
        if (!f || !lu_bpf_is_valid(f->code, f->length) || push(&chain, f) != 0) {
            g_free(f);
            filter_unref(chain);
            return NULL;
        }
    }
    return chain;
}

static int write_and_seal(int fd, const GByteArray *bytes)
{
    for (size_t done = 0; done < bytes->len;) {
        ssize_t n = pwrite(fd, bytes->data + done, bytes->len - done, (off_t)done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ||
        fcntl(fd, F_SETFD, 0) < 0) {
        return -errno;
    }
    return 0;
}

int lu_seccomp_pass(struct lu_thread *t, char *const *envp, struct lu_seccomp_pass *pass)
{
    const struct lu_filter *chain = thread_filter(t);
    struct lu_process *p = t->process;
    int error = 0;

    pass->fd = -1;
    pass->envp = g_ptr_array_new();
    pass->variable = NULL;
    if (chain) {
        GByteArray *bytes = chain_to_bytes(chain);
        int fd = memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int high = fd < 0 ? -1 : lu_fd_protect(p, fd);

        error = fd < 0 ? -errno : 0;
        pass->fd = high >= 0 ? high : fd;
        if (fd >= 0 && high < 0 && !lu_fd_protect_in_place(p, fd)) {
            error = -EMFILE;
        }
        error = error ? error : write_and_seal(pass->fd, bytes);
        g_byte_array_free(bytes, TRUE);
        pass->variable = g_strdup_printf(VARIABLE "=%d", pass->fd);
        g_ptr_array_add(pass->envp, pass->variable);
    }
    for (; *envp; envp++) {
        if (!g_str_has_prefix(*envp, VARIABLE "=")) {
            g_ptr_array_add(pass->envp, *envp);
        }
    }
    g_ptr_array_add(pass->envp, NULL);
    if (error) {
        lu_seccomp_pass_undo(t, pass);
    }
    return error;
}

void lu_seccomp_pass_undo(struct lu_thread *t, struct lu_seccomp_pass *pass)
{
    if (pass->fd >= 0) {
        lu_fd_unprotect(t->process, pass->fd);
        close(pass->fd);
        pass->fd = -1;
    }
    g_clear_pointer(&pass->variable, g_free);
    g_ptr_array_free(pass->envp, TRUE);
}

/* The content of the file [fd]: g_malloc'ed; NULL if it is none that can be. */
static char *read_file(int fd, size_t *size)
{
    g_autofree char *data = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
        return NULL;
    }
    *size = (size_t)st.st_size;
    data = g_try_malloc(*size + 1);
    return data && pread(fd, data, *size, 0) == (ssize_t)*size ? g_steal_pointer(&data) : NULL;
}

bool lu_seccomp_take(struct lu_process *p, GError **error)
{
    /* Of the process, not p->guest_env: that can have been changed by options, which other
     * variables can give. */
    const char *value = getenv(VARIABLE);
    g_autofree char *data = NULL;
    const char *reason = NULL;
    guint64 fd;
    size_t size;

    p->guest_env = g_environ_unsetenv(p->guest_env, VARIABLE);
    if (!value) {
        return true;
    }
    if (getauxval(AT_SECURE) && LU_HOST(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        reason = "a program with more privileges than its caller takes no filters from it";
    } else if (!g_ascii_string_to_unsigned(value, 10, 0, INT32_MAX, &fd, NULL)) {
        reason = "not a file descriptor";
    } else if (!(data = read_file((int)fd, &size))) {
        reason = "can't read that descriptor";
    } else if (!(p->passed_filter = chain_from_bytes(data, size))) {
        reason = "there are no valid filters";
    } else {
        close((int)fd);
    }
    if (reason) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s=%s: %s (execve sets this variable to pass seccomp filters on; unset it)",
                    VARIABLE, value, reason);
    }
    return !reason;
}

void lu_seccomp_start(struct lu_thread *t)
{
    t->filter = g_steal_pointer(&t->process->passed_filter);
}
