/* What guest threads call when they run under a debugger. */
#include "linux_user/gdb.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "linux_user/gdb_priv.h"

enum {
    MAX_ACCESS = 64,       /* bytes of the widest access that a watchpoint can see */
    EXIT_WAIT_SECONDS = 5, /* how long the end of the process waits for the debugger */
};

/* In vcpu.fault_addr: no watchpoint was hit since. */
#define NO_ACCESS (~0ull)

void lu_gdb_notify(struct lu_gdb *g)
{
    const uint64_t one = 1;

    pthread_cond_broadcast(&g->cond);
    if (write(g->event_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is readable */
}

static struct lu_gdb_thread *find_thread(struct lu_gdb *g, const struct lu_thread *t)
{
    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        if (th->t == t)
            return th;
    }
    return NULL;
}

struct lu_gdb_thread *lu_gdb_find_tid(struct lu_gdb *g, uint64_t tid)
{
    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        if ((uint64_t)th->t->tid == tid)
            return th;
    }
    return NULL;
}

/* ---- Guest threads' side. With the lock held. ---- */

void lu_gdb_stop_all(struct lu_gdb *g)
{
    g->stop = true;
    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        vcpu_kick(th->t->cpu);
    }
    lu_gdb_notify(g);
}

static bool must_wait(const struct lu_gdb *g, const struct lu_gdb_thread *th)
{
    return g->attached && (g->stop || th->mode == GDB_STAY);
}

static void wait_resume(struct lu_gdb *g, struct lu_gdb_thread *th)
{
    th->state = LU_GDB_WAITING;
    lu_gdb_notify(g);
    while (must_wait(g, th))
        pthread_cond_wait(&g->cond, &g->lock);
    th->state = LU_GDB_RUNNING;
}

static void report(struct lu_gdb *g, struct lu_gdb_thread *th, enum gdb_stop_kind kind,
                   const siginfo_t *info, uint64_t value)
{
    if (!g->attached)
        return;
    th->event = (struct gdb_stop){
        .kind = kind,
        .signal = (unsigned)info->si_signo,
        .thread = (uint64_t)th->t->tid,
        .value = value,
    };
    th->info = *info;
    th->has_event = true;
    th->deliver = 0;
    th->decided = false;
    lu_gdb_stop_all(g);
    wait_resume(g, th);
}

/* A stop that isn't a signal of the guest's shows as SIGTRAP with a code of its own. */
static void report_trap(struct lu_gdb *g, struct lu_gdb_thread *th, enum gdb_stop_kind kind,
                        int code, uint64_t value)
{
    siginfo_t info = {0};

    info.si_signo = SIGTRAP;
    info.si_code = code;
    info.si_addr = (void *)(uintptr_t)(kind == GDB_STOP_SIGNAL ? th->t->cpu->pc : value);
    report(g, th, kind, &info, value);
}

static bool in_step_range(const struct lu_gdb_thread *th)
{
    uint64_t pc = th->t->cpu->pc;

    return pc >= th->step_start && pc < th->step_end;
}

const struct lu_gdb_point *lu_gdb_find_point(const struct lu_gdb *g, uint64_t pc)
{
    for (unsigned i = 0; i < g->points->len; i++) {
        const struct lu_gdb_point *b = &g_array_index(g->points, struct lu_gdb_point, i);

        if (b->type <= GDB_BREAK_HW && b->addr == pc)
            return b;
    }
    return NULL;
}

/* The watchpoint that the access in the vCPU's fault fields hit. */
static const struct lu_gdb_point *find_watch(const struct lu_gdb *g, const struct vcpu *cpu)
{
    for (unsigned i = 0; i < g->points->len; i++) {
        const struct lu_gdb_point *w = &g_array_index(g->points, struct lu_gdb_point, i);

        if (w->type <= GDB_BREAK_HW || cpu->fault_addr >= w->addr + w->size ||
            cpu->fault_addr + MAX_ACCESS <= w->addr)
            continue;
        if (w->type == GDB_WATCH_ACCESS ||
            (w->type == GDB_WATCH_WRITE) == (cpu->fault_access == VCPU_WRITE))
            return w;
    }
    return NULL;
}

static bool catches(const struct lu_gdb *g, uint64_t nr)
{
    if (!g->attached || !g->catch)
        return false;
    for (unsigned i = 0; i < g->catch_numbers->len; i++) {
        if (g_array_index(g->catch_numbers, uint64_t, i) == nr)
            return true;
    }
    return g->catch_numbers->len == 0;
}

/* How the thread's vCPU is to run from here. */
static void arm(struct lu_gdb *g, struct lu_gdb_thread *th)
{
    struct vcpu *cpu = th->t->cpu;

    cpu->single_step = g->attached && th->mode == GDB_STEP;
    if (g->n_watch)
        cpu->fault_addr = NO_ACCESS;
}

/* ---- The hooks ---- */

/* NULL, and nothing locked, if the hook isn't for this thread. */
static struct lu_gdb_thread *enter(struct lu_thread *t)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th;

    if (!g || t->vfork_child)
        return NULL;
    pthread_mutex_lock(&g->lock);
    th = find_thread(g, t);
    if (!th)
        pthread_mutex_unlock(&g->lock);
    return th;
}

static void leave(struct lu_thread *t)
{
    pthread_mutex_unlock(&t->process->gdb->lock);
}

void lu_gdb_thread_start(struct lu_thread *t)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th;

    if (t->vfork_child)
        return;
    th = g_new0(struct lu_gdb_thread, 1);
    th->t = t;
    pthread_mutex_lock(&g->lock);
    th->mode = g->new_mode;
    g_ptr_array_add(g->threads, th);
    wait_resume(g, th);
    pthread_mutex_unlock(&g->lock);
}

void lu_gdb_thread_exit(struct lu_thread *t)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th = enter(t);

    if (!th)
        return;
    g_ptr_array_remove_fast(g->threads, th);
    lu_gdb_notify(g);
    leave(t);
}

void lu_gdb_thread_pause(struct lu_thread *t)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th = enter(t);

    if (!th)
        return;
    if (th->step_done && th->mode == GDB_STEP && !in_step_range(th)) {
        th->step_done = false;
        report_trap(g, th, GDB_STOP_SIGNAL, TRAP_TRACE, 0);
    }
    th->step_done = false;
    if (must_wait(g, th))
        wait_resume(g, th);
    arm(g, th);
    leave(t);
}

void lu_gdb_stop(struct lu_thread *t)
{
    struct lu_gdb *g = t->process->gdb;
    struct vcpu *cpu = t->cpu;
    const struct lu_gdb_point *point;
    struct lu_gdb_thread *th;

    th = enter(t);
    if (!th)
        return;
    point = g->n_watch && cpu->fault_addr != NO_ACCESS ? find_watch(g, cpu) : NULL;
    if (point) {
        report_trap(g, th,
                    point->type == GDB_WATCH_WRITE  ? GDB_STOP_WATCH
                    : point->type == GDB_WATCH_READ ? GDB_STOP_RWATCH
                                                    : GDB_STOP_AWATCH,
                    TRAP_HWBKPT, MAX(cpu->fault_addr, point->addr));
    } else if (th->mode == GDB_STEP) {
        if (!in_step_range(th) || lu_gdb_find_point(g, cpu->pc))
            report_trap(g, th, GDB_STOP_SIGNAL, TRAP_TRACE, 0);
    } else if ((point = lu_gdb_find_point(g, cpu->pc))) {
        report_trap(g, th, point->type == GDB_BREAK_HW ? GDB_STOP_HWBREAK : GDB_STOP_SWBREAK,
                    TRAP_BRKPT, cpu->pc);
    }
    arm(g, th);
    leave(t);
}

int lu_gdb_signal(struct lu_thread *t, const siginfo_t *info)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th = enter(t);
    int sig = info->si_signo;

    if (!th)
        return sig;
    if (must_wait(g, th))
        wait_resume(g, th);
    if (th->expect == (unsigned)sig) {
        th->expect = 0;
    } else if (g->attached && !(g->pass >> (sig - 1) & 1)) {
        th->in_signal = true;
        report(g, th, GDB_STOP_SIGNAL, info, 0);
        th->in_signal = false;
        sig = (int)th->deliver;
    }
    /* A step into a handler ends before its first instruction. */
    if (sig && th->mode == GDB_STEP && t->process->actions[sig].handler > 1)
        th->step_done = true;
    leave(t);
    return sig;
}

void lu_gdb_syscall_entry(struct lu_thread *t, uint64_t nr)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th = enter(t);

    if (!th)
        return;
    if (catches(g, nr))
        report_trap(g, th, GDB_STOP_SYSCALL_ENTRY, SI_KERNEL, nr);
    th->state = LU_GDB_IN_SYSCALL;
    if (g->stop)
        lu_gdb_notify(g);
    leave(t);
}

void lu_gdb_syscall_return(struct lu_thread *t, uint64_t nr)
{
    struct lu_gdb *g = t->process->gdb;
    struct lu_gdb_thread *th = enter(t);
    bool waited = false;

    if (!th)
        return;
    th->state = LU_GDB_RUNNING;
    if (must_wait(g, th)) {
        wait_resume(g, th);
        waited = true;
    }
    if (catches(g, nr)) {
        report_trap(g, th, GDB_STOP_SYSCALL_RETURN, SI_KERNEL, nr);
        waited = true;
    }
    /* The instruction was stepped, unless the debugger has seen this point already. */
    if (th->mode == GDB_STEP && !waited)
        th->step_done = true;
    leave(t);
}

void lu_gdb_exit(struct lu_process *p, int status)
{
    struct lu_gdb *g = p->gdb;
    struct lu_thread *t = lu_current();
    struct lu_gdb_thread *th;
    struct timespec limit;

    if (t && t->vfork_child)
        return;
    pthread_mutex_lock(&g->lock);
    th = t ? find_thread(g, t) : NULL;
    if (th) {
        if (must_wait(g, th))
            wait_resume(g, th);
        th->state = LU_GDB_IN_SYSCALL; /* never to come back */
    } else {
        while (g->attached && g->stop && g->threads->len)
            pthread_cond_wait(&g->cond, &g->lock);
    }
    if (!g->exited) {
        g->exited = true;
        g->exit_status = status;
    }
    lu_gdb_notify(g);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += EXIT_WAIT_SECONDS;
    while (g->attached && !g->exit_told &&
           pthread_cond_timedwait(&g->cond, &g->lock, &limit) != ETIMEDOUT)
        continue;
    if (g->socket_path)
        unlink(g->socket_path);
    pthread_mutex_unlock(&g->lock);
}

/* ---- fork ---- */

void lu_gdb_before_fork(struct lu_process *p)
{
    pthread_mutex_lock(&p->gdb->lock);
}

void lu_gdb_after_fork(struct lu_process *p, bool child)
{
    struct lu_gdb *g = p->gdb;
    struct lu_thread *t = lu_current();

    pthread_mutex_unlock(&g->lock);
    if (!child)
        return;
    while (g->points->len)
        lu_gdb_remove_point(g, g->points->len - 1);
    if (t)
        t->cpu->single_step = false;
    p->gdb = NULL;
    g_clear_pointer(&g->socket_path, g_free); /* the parent's */
    lu_gdb_free(g);
}
