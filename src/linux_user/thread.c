/*
 * Guest threads: the loop that runs one, its start and its end. A guest thread is a host thread;
 * clone.c makes them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/gdb.h"
#include "linux_user/signals.h"
#include "linux_user/threads.h"

/* The one piece of state that isn't passed in: a signal handler has no other way to find it. */
static __thread struct lu_thread *current_thread;

struct lu_thread *lu_current(void)
{
    return current_thread;
}

void lu_set_current(struct lu_thread *t)
{
    current_thread = t;
}

/* ---- Making and freeing ---- */

/* The guest's part of a vCPU: registers, floating-point state; what dbt keeps for itself stays. */
static void copy_guest_state(struct vcpu *to, const struct vcpu *from)
{
    const struct guest_arch *arch = from->arch;

    memcpy(to->r, from->r, sizeof(to->r));
    for (unsigned i = 0; i < arch->n_regs; i++) {
        const struct guest_reg *reg = &arch->regs[i];

        memcpy((char *)to + reg->offset, (const char *)from + reg->offset,
               ir_type_bytes(reg->type));
    }
    to->pc = from->pc;
    to->mode = from->mode;
    dbt_fp_flags_set(to, dbt_fp_flags_get(from));
}

struct lu_thread *lu_thread_new(struct lu_process *p, const struct lu_thread *parent)
{
    struct lu_thread *t = g_try_new0(struct lu_thread, 1);

    if (!t) {
        return NULL;
    }
    t->process = p;
    t->cpu = dbt_vcpu_new(p->dbt, p->model);
    if (!t->cpu || !lu_signals_init_thread(t)) {
        lu_thread_free(t);
        return NULL;
    }
    t->cpu->owner = t;
    if (parent) {
        copy_guest_state(t->cpu, parent->cpu);
        t->blocked = parent->blocked;
        t->cpu->section.word = parent->cpu->section.word; /* it may share memory, and not know */
    }
    return t;
}

void lu_thread_free(struct lu_thread *t)
{
    if (t->cpu) {
        dbt_vcpu_free(t->cpu);
    }
    lu_signals_free_thread(t);
    g_free(t);
}

void lu_thread_list_add(struct lu_thread *t)
{
    struct lu_process *p = t->process;

    pthread_mutex_lock(&p->lock);
    t->next = p->threads;
    p->threads = t;
    p->n_threads++;
    pthread_mutex_unlock(&p->lock);
}

void lu_thread_list_remove(struct lu_thread *t)
{
    struct lu_process *p = t->process;

    pthread_mutex_lock(&p->lock);
    for (struct lu_thread **link = &p->threads; *link; link = &(*link)->next) {
        if (*link == t) {
            *link = t->next;
            p->n_threads--;
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void lu_thread_attach(struct lu_thread *t)
{
    stack_t stack = {
        .ss_sp = t->host_altstack,
        .ss_size = lu_thread_signals(t)->altstack_size,
    };

    current_thread = t;
    t->tid = (pid_t)syscall(SYS_gettid);
    t->host_thread = pthread_self();
    sigaltstack(&stack, NULL);
}

void lu_thread_detach(struct lu_thread *t)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    (void)t;
    sigaltstack(&none, NULL);
    current_thread = NULL;
}

/* ---- The loop ---- */

static void system_call(struct lu_thread *t)
{
    struct lu_process *p = t->process;
    const struct lu_abi *abi = p->abi;
    uint64_t args[6], nr = abi->syscall_number(t->cpu);
    bool interrupted;
    int64_t result;

    abi->syscall_args(t->cpu, args);
    t->syscall_nr = nr;
    t->syscall_arg0 = args[0];
    if (p->gdb) {
        lu_gdb_syscall_entry(t, nr);
    }
    result = lu_syscall(t, nr, args);
    p = t->process; /* fork may have taken the debugger away */
    interrupted = result <= -LU_ERESTARTSYS && result >= -LU_ERESTARTNOHAND;
    if (!interrupted && result != -LU_SIGRETURN) {
        abi->set_result(t->cpu, (uint64_t)result);
    }
    if (p->gdb) {
        lu_gdb_syscall_return(t, nr);
    }
    if (interrupted || t->signal_pending || t->restore_saved_mask) {
        lu_deliver_signals(t, interrupted, result);
    }
}

static void memory_fault(struct lu_thread *t)
{
    const struct vcpu *cpu = t->cpu;
    const struct lu_options *o = t->process->options;
    int sig = SIGSEGV, code = SEGV_MAPERR, prot;

    switch (cpu->fault_kind) {
    case VCPU_FAULT_ALIGN:
        sig = SIGBUS;
        code = BUS_ADRALN;
        break;
    case VCPU_FAULT_BUS:
        sig = SIGBUS;
        code = BUS_ADRERR;
        break;
    default:
        /* The host's answer isn't the guest's: memory of Nandu's own isn't mapped for the guest,
         * and what the guest may execute the host may not. */
        prot = lu_mm_prot(t->process, cpu->fault_addr);
        if (prot >= 0) {
            code = SEGV_ACCERR;
        }
        if (prot >= 0 && (prot & PROT_EXEC) && cpu->fault_access == VCPU_FETCH) {
            sig = SIGBUS; /* beyond the end of the file that is mapped there */
            code = BUS_ADRERR;
        }
        break;
    }
    if (o->log_int) {
        fprintf(o->log_file ? o->log_file : stderr,
                "fault: pc=0x%" G_GINT64_MODIFIER "x address=0x%" G_GINT64_MODIFIER
                "x kind=%d access=%d\n",
                cpu->pc, cpu->fault_addr, cpu->fault_kind, cpu->fault_access);
    }
    lu_force_signal(t, sig, code, cpu->fault_addr);
}

/*
 * Run a child that shares its parent's memory, and with it the breakpoints that a debugger of the
 * parent set there: the child isn't debugged, so it does the instruction and goes on.
 */
static enum vcpu_exit run_not_debugged(struct vcpu *cpu)
{
    enum vcpu_exit reason;
    uint64_t pc;

    cpu->fault_access = VCPU_FETCH; /* a watchpoint would change it */
    reason = dbt_run(cpu);
    if (reason != VCPU_EXIT_DEBUG || cpu->fault_access != VCPU_FETCH) {
        return reason;
    }
    pc = cpu->pc;
    dbt_breakpoint_remove(cpu->dbt, pc);
    cpu->single_step = true;
    reason = dbt_run(cpu);
    cpu->single_step = false;
    dbt_breakpoint_add(cpu->dbt, pc);
    return reason;
}

static void cpu_loop(struct lu_thread *t)
{
    for (;;) {
        enum vcpu_exit reason;

        if (t->process->gdb) {
            lu_gdb_thread_pause(t);
        }
        reason = t->vfork_child ? run_not_debugged(t->cpu) : dbt_run(t->cpu);
        if (reason == VCPU_EXIT_WORD) {
            reason = lu_rseq_store(t);
        }
        switch (reason) {
        case VCPU_EXIT_SYSCALL: system_call(t); continue;
        case VCPU_EXIT_FAULT: memory_fault(t); break;
        case VCPU_EXIT_ILLEGAL: lu_force_signal(t, SIGILL, ILL_ILLOPC, t->cpu->pc); break;
        case VCPU_EXIT_BREAKPOINT: lu_force_signal(t, SIGTRAP, TRAP_BRKPT, t->cpu->pc); break;
        case VCPU_EXIT_DEBUG:
            if (t->process->gdb) {
                lu_gdb_stop(t);
            }
            break;
        case VCPU_EXIT_RESTART: lu_rseq_restart(t); break;
        case VCPU_EXIT_YIELD: syscall(SYS_sched_yield); break;
        default: /* VCPU_EXIT_INTERRUPT; the others don't leave dbt */ break;
        }
        if (t->signal_pending) {
            lu_deliver_signals(t, false, 0);
        }
    }
}

void lu_thread_run(struct lu_thread *t)
{
    jmp_buf env;

    t->exit_jump = &env;
    if (_setjmp(env) == 0) {
        if (t->process->gdb) {
            lu_gdb_thread_start(t);
        }
        cpu_loop(t);
    }
}

int lu_run(struct lu_process *p, const struct lu_image *image)
{
    g_autofree char *name = g_path_get_basename(p->exec_name ? p->exec_name : p->abi->name);
    struct lu_thread *t = lu_thread_new(p, NULL);

    if (!t) {
        fprintf(stderr, "nandu-%s: no memory for the first thread\n", p->abi->name);
        return 1;
    }
    lu_thread_attach(t);
    lu_thread_list_add(t);
    p->abi->init_thread(t->cpu, image->entry, image->sp);
    t->blocked = lu_host_block_signals() & ~LU_SIG_UNBLOCKABLE; /* the mask is inherited */
    lu_signals_init(p);
    lu_apply_mask(t);
    lu_exec_init(p);
    prctl(PR_SET_NAME, name); /* as execve of the guest's program would */
    lu_thread_run(t);
    return 0; /* not reached: this thread ends in lu_exit_thread or lu_exit_group */
}

/* ---- The end ---- */

struct lu_thread_user lu_thread_take_user(struct lu_thread *t)
{
    struct lu_thread_user u = {t->robust_list, t->clear_child_tid, t->tid};

    t->robust_list = t->clear_child_tid = 0;
    return u;
}

void lu_thread_release_user(const struct lu_process *p, const struct lu_thread_user *u)
{
    const uint32_t zero = 0;

    lu_robust_list_exit(p, u->robust_list, u->tid);
    if (u->clear_child_tid && lu_copy_to_guest(p, u->clear_child_tid, &zero, sizeof(zero)) == 0) {
        lu_futex_wake_one(p, u->clear_child_tid);
    }
}

void lu_exit_thread(struct lu_thread *t, int status)
{
    struct lu_process *p = t->process;
    struct lu_thread_user user;
    bool last;

    if (p->gdb) {
        lu_gdb_thread_exit(t);
    }
    lu_host_block_signals();
    lu_signals_give_back(t);
    lu_host_robust_list(p, 0);
    lu_rseq_exit(t);
    pthread_mutex_lock(&p->lock);
    last = p->n_threads == 1;
    pthread_mutex_unlock(&p->lock);
    if (last || t->tid == getpid()) {
        /* There is no host thread of the C library's that could return (the process's first thread,
         * or one that came of fork), or its status is the process's. The kernel ends the task; the
         * first stays a zombie until the other threads end, as the guest's would. */
        if (p->options->log_file) {
            fflush(p->options->log_file);
        }
        if (p->gdb && last) {
            lu_gdb_exit(p, (status & 0xff) << 8);
        }
        if (last && !t->vfork_child) {
            dbt_perf_finish(p->dbt);
        }
        lu_thread_list_remove(t);
        user = lu_thread_take_user(t);
        lu_thread_release_user(p, &user);
        for (;;) {
            syscall(SYS_exit, status);
        }
    }
    _longjmp(*(jmp_buf *)t->exit_jump, 1);
}

void lu_exit_group(struct lu_thread *t, int status)
{
    struct lu_process *p = t->process;

    if (p->gdb && !t->vfork_child) {
        lu_gdb_exit(p, (status & 0xff) << 8);
    }
    if (!t->vfork_child) {
        dbt_perf_finish(p->dbt);
    }
    if (p->options->log_file) {
        fflush(p->options->log_file);
    }
    if (p->guest_base) {
        /* The kernel can't follow the guest's robust lists; others may wait for their mutexes. */
        pthread_mutex_lock(&p->lock);
        for (struct lu_thread *i = p->threads; i; i = i->next) {
            lu_robust_list_exit(p, i->robust_list, i->tid);
        }
        pthread_mutex_unlock(&p->lock);
    }
    for (;;) {
        syscall(SYS_exit_group, status);
    }
}
