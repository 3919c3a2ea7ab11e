/* A process in user mode as the server of the debugger's protocol sees it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/gdb_priv.h"

enum { MAX_BREAKPOINTS = 1000, HIGH_FD = 500 };

/* ---- The target: threads and registers ---- */

static uint64_t target_process_id(void *opaque)
{
    return (uint64_t)getpid();
}

static void target_threads(void *opaque, GArray *ids)
{
    struct lu_gdb *g = opaque;

    pthread_mutex_lock(&g->lock);
    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);
        uint64_t id = (uint64_t)th->t->tid;

        g_array_append_val(ids, id);
    }
    pthread_mutex_unlock(&g->lock);
}

static char *target_thread_name(void *opaque, uint64_t thread)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%u/comm", (unsigned)thread);
    char *name = NULL;

    if (!g_file_get_contents(path, &name, NULL, NULL))
        return NULL;
    return g_strchomp(name);
}

static char *target_xml(void *opaque)
{
    struct lu_gdb *g = opaque;

    return g->arch->target_xml(NULL);
}

static unsigned target_n_regs(void *opaque)
{
    const struct lu_gdb *g = opaque;

    return g->arch->n_regs;
}

static unsigned target_n_general_regs(void *opaque)
{
    const struct lu_gdb *g = opaque;

    return g->arch->n_general_regs;
}

static size_t target_read_reg(void *opaque, uint64_t thread, unsigned reg, uint8_t *buf)
{
    struct lu_gdb *g = opaque;
    struct lu_gdb_thread *th;
    size_t n = 0;

    pthread_mutex_lock(&g->lock);
    th = lu_gdb_find_tid(g, thread);
    if (th && th->state != LU_GDB_RUNNING)
        n = g->arch->read_reg(th->t->cpu, reg, buf);
    pthread_mutex_unlock(&g->lock);
    return n;
}

static bool target_write_reg(void *opaque, uint64_t thread, unsigned reg, const uint8_t *buf)
{
    struct lu_gdb *g = opaque;
    struct lu_gdb_thread *th;
    bool ok = false;

    pthread_mutex_lock(&g->lock);
    th = lu_gdb_find_tid(g, thread);
    if (th && th->state != LU_GDB_RUNNING)
        ok = g->arch->write_reg(th->t->cpu, reg, buf);
    pthread_mutex_unlock(&g->lock);
    return ok;
}

/* ---- The target: memory. By /proc/self/mem, which doesn't mind protections. ---- */

/* How many bytes from [addr] on, at most [size], are in the same page, which the guest has. */
static size_t guest_span(struct lu_gdb *g, uint64_t addr, size_t size)
{
    size_t in_page = LU_PAGE_SIZE - (addr & (LU_PAGE_SIZE - 1));

    if (lu_mm_prot(g->p, addr) < 0)
        return 0;
    return MIN(size, in_page);
}

static size_t target_read_memory(void *opaque, uint64_t thread, uint64_t addr, void *buf,
                                 size_t size)
{
    struct lu_gdb *g = opaque;
    size_t done = 0;

    while (done < size) {
        size_t span = guest_span(g, addr + done, size - done);
        ssize_t n;

        if (!span)
            break;
        n = pread(g->mem_fd, (char *)buf + done, span, (off_t)(uintptr_t)lu_g2h(g->p, addr + done));
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static bool target_write_memory(void *opaque, uint64_t thread, uint64_t addr, const void *buf,
                                size_t size)
{
    struct lu_gdb *g = opaque;
    size_t done = 0;

    while (done < size) {
        size_t span = guest_span(g, addr + done, size - done);
        ssize_t n;

        if (!span)
            break;
        n = pwrite(g->mem_fd, (const char *)buf + done, span,
                   (off_t)(uintptr_t)lu_g2h(g->p, addr + done));
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (done)
        dbt_invalidate(g->p->dbt, addr, done);
    return done == size;
}

/* ---- The target: break- and watchpoints ---- */

static int watch_access(enum gdb_break type)
{
    return type == GDB_WATCH_WRITE ? VCPU_WRITE : type == GDB_WATCH_READ ? VCPU_READ : -1;
}

/* Index of a point, or -1. */
static int point_index(const struct lu_gdb *g, enum gdb_break type, uint64_t addr, uint64_t size)
{
    for (unsigned i = 0; i < g->points->len; i++) {
        const struct lu_gdb_point *b = &g_array_index(g->points, struct lu_gdb_point, i);

        if (b->type == type && b->addr == addr && b->size == size)
            return (int)i;
    }
    return -1;
}

static bool target_insert(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct lu_gdb *g = opaque;
    struct lu_gdb_point b = {type, addr, size};
    bool is_new, ok = true;

    pthread_mutex_lock(&g->lock);
    is_new = point_index(g, type, addr, size) < 0;
    if (is_new && (g->points->len >= MAX_BREAKPOINTS || !size || addr + size < addr)) {
        ok = false;
    } else if (is_new && type <= GDB_BREAK_HW) {
        if (!lu_gdb_find_point(g, addr))
            dbt_breakpoint_add(g->p->dbt, addr);
        g_array_append_val(g->points, b);
    } else if (is_new) {
        dbt_watchpoint_add(g->p->dbt, addr, size, watch_access(type));
        g->n_watch++;
        g_array_append_val(g->points, b);
    }
    pthread_mutex_unlock(&g->lock);
    return ok;
}

void lu_gdb_remove_point(struct lu_gdb *g, unsigned index)
{
    struct lu_gdb_point b = g_array_index(g->points, struct lu_gdb_point, index);

    g_array_remove_index_fast(g->points, index);
    if (b.type > GDB_BREAK_HW) {
        dbt_watchpoint_remove(g->p->dbt, b.addr, b.size, watch_access(b.type));
        g->n_watch--;
    } else if (!lu_gdb_find_point(g, b.addr)) {
        dbt_breakpoint_remove(g->p->dbt, b.addr);
    }
}

static bool target_remove(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct lu_gdb *g = opaque;
    int index;

    pthread_mutex_lock(&g->lock);
    index = point_index(g, type, addr, size);
    if (index >= 0)
        lu_gdb_remove_point(g, (unsigned)index);
    pthread_mutex_unlock(&g->lock);
    return index >= 0;
}

/* ---- The target: stop and go ---- */

/* Give [sig] to a thread that isn't stopped by a signal: by way of the kernel. */
static void send_signal(struct lu_gdb_thread *th, unsigned sig)
{
    th->expect = sig;
    if (syscall(SYS_tgkill, getpid(), th->t->tid, sig) < 0)
        th->expect = 0;
}

static void resume_thread(struct lu_gdb_thread *th, const struct gdb_action *a)
{
    th->mode = a->resume;
    th->step_start = a->start;
    th->step_end = a->end;
    th->step_done = false;
    if (a->resume == GDB_STAY)
        return;
    if (th->in_signal && !th->decided)
        th->deliver = a->signal;
    else if (a->signal)
        send_signal(th, a->signal);
    th->decided = true;
}

static void target_resume(void *opaque, const struct gdb_action *actions, unsigned n)
{
    struct lu_gdb *g = opaque;
    bool pending = false;

    pthread_mutex_lock(&g->lock);
    g->new_mode = GDB_CONTINUE;
    for (unsigned i = 0; i < n; i++) {
        struct lu_gdb_thread *th = actions[i].thread ? lu_gdb_find_tid(g, actions[i].thread) : NULL;

        if (!actions[i].thread)
            g->new_mode = actions[i].resume;
        if (!th)
            continue;
        if (th->has_event) {
            /* It has come to a stop already: that is reported instead of moving it. */
            th->mode = actions[i].resume;
            pending |= th->mode != GDB_STAY;
        } else {
            resume_thread(th, &actions[i]);
        }
    }
    g->stop = pending;
    lu_gdb_notify(g);
    pthread_mutex_unlock(&g->lock);
}

static void target_interrupt(void *opaque, unsigned signal)
{
    struct lu_gdb *g = opaque;

    pthread_mutex_lock(&g->lock);
    g->interrupt = signal;
    lu_gdb_stop_all(g);
    pthread_mutex_unlock(&g->lock);
}

/* An event whose break- or watchpoint was removed since isn't one any more. */
static bool is_stale(const struct lu_gdb *g, const struct lu_gdb_thread *th)
{
    if (th->event.kind == GDB_STOP_SWBREAK || th->event.kind == GDB_STOP_HWBREAK)
        return !lu_gdb_find_point(g, th->t->cpu->pc);
    if (th->event.kind >= GDB_STOP_WATCH && th->event.kind <= GDB_STOP_AWATCH)
        return !g->n_watch;
    return false;
}

/* The thread whose event is reported next: one that steps, else the first; all threads wait. */
static struct lu_gdb_thread *choose_event(struct lu_gdb *g)
{
    struct lu_gdb_thread *chosen = NULL;

    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        if (th->has_event && is_stale(g, th))
            th->has_event = false;
        if (th->has_event && th->mode != GDB_STAY &&
            (!chosen || (th->mode == GDB_STEP && chosen->mode != GDB_STEP)))
            chosen = th;
    }
    return chosen;
}

static bool all_wait(const struct lu_gdb *g)
{
    for (unsigned i = 0; i < g->threads->len; i++) {
        const struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        if (th->state == LU_GDB_RUNNING)
            return false;
    }
    return g->threads->len > 0;
}

/* The interrupt is seen by the thread of the last event, else by the first. */
static void interrupt_stop(struct lu_gdb *g, struct gdb_stop *stop)
{
    struct lu_gdb_thread *th = lu_gdb_find_tid(g, g->last_thread);

    if (!th)
        th = g_ptr_array_index(g->threads, 0);
    memset(&th->info, 0, sizeof(th->info));
    th->info.si_signo = (int)g->interrupt;
    th->event = (struct gdb_stop){.kind = GDB_STOP_SIGNAL, .thread = (uint64_t)th->t->tid};
    *stop = th->event;
    stop->signal = g->interrupt;
}

static bool target_poll_stop(void *opaque, struct gdb_stop *stop)
{
    struct lu_gdb *g = opaque;
    struct lu_gdb_thread *th;
    uint64_t count;
    bool stopped = false;

    if (read(g->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return false;
    pthread_mutex_lock(&g->lock);
    if (g->exited) {
        bool killed = (g->exit_status & 0x7f) != 0;

        *stop = (struct gdb_stop){
            .kind = killed ? GDB_STOP_KILLED : GDB_STOP_EXITED,
            .signal = (unsigned)g->exit_status & 0x7f,
            .value = (unsigned)g->exit_status >> 8,
        };
        stopped = true;
    } else if (g->stop && all_wait(g)) {
        th = choose_event(g);
        stopped = th || g->interrupt;
        if (th) {
            th->has_event = false;
            *stop = th->event;
        } else if (g->interrupt) {
            interrupt_stop(g, stop);
        } else {
            g->stop = false; /* what stopped it was taken back */
            lu_gdb_notify(g);
        }
        if (stopped) {
            g->interrupt = 0;
            g->last_thread = stop->thread;
        }
    }
    pthread_mutex_unlock(&g->lock);
    return stopped;
}

static void target_detach(void *opaque)
{
    struct lu_gdb *g = opaque;

    pthread_mutex_lock(&g->lock);
    while (g->points->len)
        lu_gdb_remove_point(g, g->points->len - 1);
    for (unsigned i = 0; i < g->threads->len; i++) {
        struct lu_gdb_thread *th = g_ptr_array_index(g->threads, i);

        if (th->in_signal && !th->decided)
            th->deliver = th->event.signal; /* the guest gets what it would have */
        th->has_event = false;
        th->mode = GDB_CONTINUE;
    }
    g->new_mode = GDB_CONTINUE;
    g->pass = 0;
    g->catch = false;
    g->attached = false;
    g->stop = false;
    lu_gdb_notify(g);
    pthread_mutex_unlock(&g->lock);
}

static void target_kill(void *opaque)
{
    struct lu_gdb *g = opaque;

    if (g->socket_path)
        unlink(g->socket_path);
    kill(getpid(), SIGKILL);
}

/* ---- The target: the rest ---- */

static GBytes *target_object(void *opaque, const char *name, uint64_t thread)
{
    struct lu_gdb *g = opaque;
    struct lu_process *p = g->p;
    GBytes *object = NULL;
    struct lu_gdb_thread *th;

    if (!strcmp(name, "auxv") && p->auxv)
        return g_bytes_new(p->auxv, p->auxv_size);
    if (!strcmp(name, "exec-file") && p->exec_path)
        return g_bytes_new(p->exec_path, strlen(p->exec_path));
    if (!strcmp(name, "siginfo")) {
        pthread_mutex_lock(&g->lock);
        th = lu_gdb_find_tid(g, thread);
        if (th && th->info.si_signo)
            object = g_bytes_new(&th->info, sizeof(th->info));
        pthread_mutex_unlock(&g->lock);
    }
    return object;
}

static void target_catch_syscalls(void *opaque, bool on, const uint64_t *numbers, unsigned n)
{
    struct lu_gdb *g = opaque;

    pthread_mutex_lock(&g->lock);
    g->catch = on;
    g_array_set_size(g->catch_numbers, 0);
    g_array_append_vals(g->catch_numbers, numbers, n);
    pthread_mutex_unlock(&g->lock);
}

static void target_pass_signals(void *opaque, uint64_t mask)
{
    struct lu_gdb *g = opaque;

    pthread_mutex_lock(&g->lock);
    g->pass = mask;
    pthread_mutex_unlock(&g->lock);
}

static char *target_monitor(void *opaque, const char *command)
{
    struct lu_gdb *g = opaque;
    struct dbt_stats st;

    if (!*command || !strcmp(command, "help"))
        return g_strdup("help   this text\n"
                        "maps   the guest's memory map\n"
                        "stats  what the translator has done\n");
    if (!strcmp(command, "maps"))
        return lu_mm_maps(g->p);
    if (!strcmp(command, "stats")) {
        dbt_get_stats(g->p->dbt, &st);
        return g_strdup_printf("%" G_GUINT64_FORMAT " blocks, %" G_GUINT64_FORMAT
                               " guest instructions, %" G_GUINT64_FORMAT
                               " bytes of host code, %" G_GUINT64_FORMAT
                               " flushes, %" G_GUINT64_FORMAT " invalidations\n",
                               st.blocks, st.guest_insns, st.host_bytes, st.flushes,
                               st.invalidations);
    }
    return NULL;
}

static int target_open_file(void *opaque, const char *path)
{
    struct lu_gdb *g = opaque;
    g_autofree char *host = lu_prefixed_path(g->p, path);
    /* O_NONBLOCK: a FIFO must not hold up the server. */
    int fd = open(host, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), high;

    if (fd < 0)
        return -errno;
    /* gdb keeps files open while the guest runs, whose next descriptor stays what it would be. */
    high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

static int target_read_link(void *opaque, const char *path, char *buf, size_t size)
{
    struct lu_gdb *g = opaque;
    g_autofree char *host = lu_prefixed_path(g->p, path);
    ssize_t n = readlink(host, buf, size);

    return n < 0 ? -errno : (int)n;
}

const struct gdb_ops lu_gdb_ops = {
    .process_id = target_process_id,
    .threads = target_threads,
    .thread_name = target_thread_name,
    .target_xml = target_xml,
    .n_regs = target_n_regs,
    .n_general_regs = target_n_general_regs,
    .read_reg = target_read_reg,
    .write_reg = target_write_reg,
    .read_memory = target_read_memory,
    .write_memory = target_write_memory,
    .insert = target_insert,
    .remove = target_remove,
    .resume = target_resume,
    .interrupt = target_interrupt,
    .poll_stop = target_poll_stop,
    .detach = target_detach,
    .kill = target_kill,
    .object = target_object,
    .catch_syscalls = target_catch_syscalls,
    .pass_signals = target_pass_signals,
    .monitor = target_monitor,
    .open_file = target_open_file,
    .read_link = target_read_link,
};
