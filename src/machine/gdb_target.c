/* A machine as the server of the debugger's protocol sees it: thread n is vCPU n - 1. */
#include <signal.h>
#include <string.h>

#include "machine/gdb_machine.h"
#include "memory/memory.h"

enum { MAX_POINTS = 1000, PROCESS = 1 };

/* ---- vCPUs and their registers ---- */

static uint64_t process_id(void *opaque)
{
    return PROCESS;
}

static void threads(void *opaque, GArray *ids)
{
    const struct gdb_server *server = opaque;

    for (uint64_t id = 1; id <= accel_n_cpus(server->accel); id++) {
        g_array_append_val(ids, id);
    }
}

static char *thread_info(void *opaque, uint64_t thread)
{
    const struct gdb_server *server = opaque;
    unsigned index = (unsigned)thread - 1;

    return g_strdup_printf("CPU#%u [%s]", index,
                           accel_is_halted(server->accel, index) ? "halted " : "running");
}

/* NULL: there is no such thread. */
static struct vcpu *thread_cpu(struct gdb_server *server, uint64_t thread)
{
    return thread && thread <= accel_n_cpus(server->accel)
               ? accel_cpu(server->accel, (unsigned)thread - 1)
               : NULL;
}

static const struct gdb_arch *arch_of(const struct gdb_server *server)
{
    return server->vm->machine_class->ops->gdb_arch;
}

static char *target_xml(void *opaque)
{
    struct gdb_server *server = opaque;

    return arch_of(server)->target_xml(accel_cpu(server->accel, 0));
}

static unsigned n_regs(void *opaque)
{
    return arch_of(opaque)->n_regs;
}

static unsigned n_general_regs(void *opaque)
{
    return arch_of(opaque)->n_general_regs;
}

static size_t read_reg(void *opaque, uint64_t thread, unsigned reg, uint8_t *buf)
{
    struct gdb_server *server = opaque;
    struct vcpu *cpu = thread_cpu(server, thread);

    return cpu ? arch_of(server)->read_reg(cpu, reg, buf) : 0;
}

static bool write_reg(void *opaque, uint64_t thread, unsigned reg, const uint8_t *buf)
{
    struct gdb_server *server = opaque;
    struct vcpu *cpu = thread_cpu(server, thread);

    return cpu && arch_of(server)->write_reg(cpu, reg, buf);
}

/* ---- Memory ---- */

/* Bytes from addr on, at most size, that lie in one page at *phys; 0: none are mapped. */
static size_t span_at(struct gdb_server *server, uint64_t thread, uint64_t addr, size_t size,
                      uint64_t *phys)
{
    const struct vm *vm = server->vm;
    size_t in_page = MMU_PAGE_SIZE - (addr & (MMU_PAGE_SIZE - 1));

    *phys = addr;
    if (!server->physical &&
        (!thread_cpu(server, thread) ||
         !vm->machine_class->ops->cpu_translate(vm->machine, (unsigned)thread - 1, addr, phys))) {
        return 0;
    }
    return MIN(size, in_page);
}

static size_t read_memory(void *opaque, uint64_t thread, uint64_t addr, void *buf, size_t size)
{
    struct gdb_server *server = opaque;
    size_t done = 0;

    while (done < size) {
        uint64_t phys;
        size_t n = span_at(server, thread, addr + done, size - done, &phys);

        if (!n || address_space_read(server->vm->memory, phys, (uint8_t *)buf + done, n,
                                     (struct memory_attrs){0}) != MEMORY_OK) {
            break;
        }
        done += n;
    }
    return done;
}

/* ROM can be written, too. */
static bool write_physical(struct gdb_server *server, uint64_t phys, const void *buf, size_t size)
{
    struct address_space *memory = server->vm->memory;
    struct memory_range range;

    address_space_look_up(memory, phys, &range);
    if (!range.host || range.length < size) {
        return address_space_write(memory, phys, buf, size, (struct memory_attrs){0}) == MEMORY_OK;
    }
    memcpy(range.host, buf, size);
    address_space_written(memory, phys, size);
    dbt_invalidate_phys(accel_dbt(server->accel), phys, size);
    return true;
}

static bool write_memory(void *opaque, uint64_t thread, uint64_t addr, const void *buf, size_t size)
{
    struct gdb_server *server = opaque;
    size_t done = 0;

    while (done < size) {
        uint64_t phys;
        size_t n = span_at(server, thread, addr + done, size - done, &phys);

        if (!n || !write_physical(server, phys, (const uint8_t *)buf + done, n)) {
            break;
        }
        done += n;
    }
    dbt_invalidate_unstable(accel_dbt(server->accel)); /* not at the next fence: now */
    return done == size;
}

/* ---- Break- and watchpoints ---- */

static bool is_breakpoint(const struct gdb_point *p)
{
    return p->type <= GDB_BREAK_HW;
}

static int watch_access(enum gdb_break type)
{
    return type == GDB_WATCH_WRITE ? VCPU_WRITE : type == GDB_WATCH_READ ? VCPU_READ : -1;
}

static const struct gdb_point *point_at(const struct gdb_server *server, guint i)
{
    return &g_array_index(server->points, struct gdb_point, i);
}

static int point_index(const struct gdb_server *server, enum gdb_break type, uint64_t addr,
                       uint64_t size)
{
    for (guint i = 0; i < server->points->len; i++) {
        const struct gdb_point *p = point_at(server, i);

        if (p->type == type && p->addr == addr && p->size == size) {
            return (int)i;
        }
    }
    return -1;
}

static const struct gdb_point *find_breakpoint(const struct gdb_server *server, uint64_t pc)
{
    for (guint i = 0; i < server->points->len; i++) {
        if (is_breakpoint(point_at(server, i)) && point_at(server, i)->addr == pc) {
            return point_at(server, i);
        }
    }
    return NULL;
}

/* The watchpoint that an access met. */
static const struct gdb_point *find_watchpoint(const struct gdb_server *server,
                                               const struct accel_stop *stop)
{
    enum { MAX_ACCESS = 64 }; /* bytes that one access may have */

    for (guint i = 0; i < server->points->len; i++) {
        const struct gdb_point *p = point_at(server, i);

        if (!is_breakpoint(p) && stop->address <= p->addr + (p->size - 1) &&
            p->addr <= stop->address + (MAX_ACCESS - 1) &&
            (p->type == GDB_WATCH_ACCESS || watch_access(p->type) == (int)stop->access)) {
            return p;
        }
    }
    return NULL;
}

static bool insert(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct gdb_server *server = opaque;
    struct gdb_point point = {type, addr, size};
    struct dbt *dbt = accel_dbt(server->accel);

    if (point_index(server, type, addr, size) >= 0) {
        return true;
    }
    if (server->points->len >= MAX_POINTS || !size || addr + size < addr) {
        return false;
    }
    if (!is_breakpoint(&point)) {
        dbt_watchpoint_add(dbt, addr, size, watch_access(type));
    } else if (!find_breakpoint(server, addr)) {
        dbt_breakpoint_add(dbt, addr);
    }
    g_array_append_val(server->points, point);
    return true;
}

static void remove_point(struct gdb_server *server, guint i)
{
    struct gdb_point p = *point_at(server, i);
    struct dbt *dbt = accel_dbt(server->accel);

    g_array_remove_index_fast(server->points, i);
    if (!is_breakpoint(&p)) {
        dbt_watchpoint_remove(dbt, p.addr, p.size, watch_access(p.type));
    } else if (!find_breakpoint(server, p.addr)) {
        dbt_breakpoint_remove(dbt, p.addr);
    }
}

static bool remove_by_key(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct gdb_server *server = opaque;
    int i = point_index(server, type, addr, size);

    if (i >= 0) {
        remove_point(server, (guint)i);
    }
    return i >= 0;
}

void gdb_machine_remove_points(struct gdb_server *server)
{
    bool held = vm_hold(server->vm);

    while (server->points->len) {
        remove_point(server, server->points->len - 1);
    }
    vm_let_go(server->vm, held);
}

/* ---- Stops ---- */

void gdb_machine_tell(struct gdb_server *server, enum gdb_stop_kind kind, unsigned signal,
                      uint64_t value)
{
    server->stop = (struct gdb_stop){
        .kind = kind,
        .signal = signal,
        .thread = server->current + 1,
        .value = value,
    };
    server->has_stop = true;
    bottom_half_schedule(server->bh);
}

/* Why a vCPU was held; then it isn't any more. */
static void tell_held(struct gdb_server *server, unsigned index)
{
    const struct accel_stop stop = *accel_stop_of(server->accel, index);
    const struct gdb_point *p =
        stop.kind == ACCEL_STOP_WATCHPOINT ? find_watchpoint(server, &stop) : NULL;
    enum gdb_stop_kind kind = GDB_STOP_SIGNAL;
    uint64_t value = 0;

    if (p) {
        kind = p->type == GDB_WATCH_WRITE  ? GDB_STOP_WATCH
               : p->type == GDB_WATCH_READ ? GDB_STOP_RWATCH
                                           : GDB_STOP_AWATCH;
        value = MAX(stop.address, p->addr);
    } else if (stop.kind == ACCEL_STOP_BREAKPOINT) {
        p = find_breakpoint(server, accel_cpu(server->accel, index)->pc);
        kind = p && p->type == GDB_BREAK_HW ? GDB_STOP_HWBREAK : GDB_STOP_SWBREAK;
    }
    accel_clear_stop(server->accel, index);
    server->current = index;
    gdb_machine_tell(server, kind, SIGTRAP, value);
}

/* The vCPU whose stop is told next; -1: none was held. */
static int find_held(const struct gdb_server *server)
{
    for (unsigned i = 0; i < accel_n_cpus(server->accel); i++) {
        unsigned index = (server->current + i) % accel_n_cpus(server->accel);

        if (accel_stop_of(server->accel, index)) {
            return (int)index;
        }
    }
    return -1;
}

static unsigned signal_of(enum qapi_run_state state)
{
    switch (state) {
    case QAPI_RUN_STATE_DEBUG: return SIGTRAP;
    case QAPI_RUN_STATE_PAUSED: return SIGINT;
    case QAPI_RUN_STATE_SHUTDOWN: return SIGQUIT;
    case QAPI_RUN_STATE_IO_ERROR: return SIGIO;
    case QAPI_RUN_STATE_WATCHDOG: return SIGALRM;
    case QAPI_RUN_STATE_INTERNAL_ERROR: return SIGABRT;
    case QAPI_RUN_STATE_FINISH_MIGRATE: return SIGXCPU;
    default: return SIGSTKFLT; /* has no number in the protocol: "unknown" */
    }
}

void gdb_machine_stopped(struct gdb_server *server)
{
    bool waited_for = gdb_stub_is_running(server->stub);
    int held = find_held(server);

    for (unsigned i = 0; i < accel_n_cpus(server->accel); i++) {
        const struct accel_stop *stop = accel_stop_of(server->accel, i);

        accel_set_mode(server->accel, i, ACCEL_RUN, 0, 0, true);
        /* It will come to the breakpoint once more. What else happened is told when it is resumed.
         */
        if (stop && (int)i != held && (stop->kind == ACCEL_STOP_BREAKPOINT || !waited_for)) {
            accel_clear_stop(server->accel, i);
        }
    }
    if (!waited_for) {
        return;
    }
    if (server->vm->state == QAPI_RUN_STATE_DEBUG && held >= 0) {
        tell_held(server, (unsigned)held);
    } else {
        gdb_machine_tell(server, GDB_STOP_SIGNAL, signal_of(server->vm->state), 0);
    }
}

void gdb_machine_release(struct gdb_server *server)
{
    for (unsigned i = 0; i < accel_n_cpus(server->accel); i++) {
        accel_clear_stop(server->accel, i);
        accel_set_mode(server->accel, i, ACCEL_RUN, 0, 0, true);
    }
}

static bool poll_stop(void *opaque, struct gdb_stop *stop)
{
    struct gdb_server *server = opaque;
    bool has_stop = server->has_stop;

    *stop = has_stop ? server->stop : *stop;
    server->has_stop = false;
    return has_stop;
}

/* ---- Going on ---- */

static bool needs_reset(const struct vm *vm)
{
    return vm->state == QAPI_RUN_STATE_SHUTDOWN || vm->state == QAPI_RUN_STATE_INTERNAL_ERROR;
}

bool gdb_machine_continue(struct gdb_server *server)
{
    gdb_machine_release(server);
    if (needs_reset(server->vm)) {
        return false;
    }
    vm_start(server->vm);
    return true;
}

/* True if some vCPU goes on freely. */
static bool set_modes(struct gdb_server *server, const struct gdb_action *actions, unsigned n)
{
    bool free = false;

    for (unsigned i = 0; i < n; i++) {
        const struct gdb_action *a = &actions[i];
        enum accel_mode mode = a->resume == GDB_STAY ? ACCEL_HOLD : ACCEL_RUN;

        if (!thread_cpu(server, a->thread)) {
            continue;
        }
        if (a->resume == GDB_STEP && server->sstep & GDB_SSTEP_ENABLE) {
            mode = ACCEL_STEP;
        }
        free |= mode == ACCEL_RUN;
        accel_set_mode(server->accel, (unsigned)a->thread - 1, mode, a->start, a->end,
                       !(server->sstep & GDB_SSTEP_NO_IRQ));
    }
    return free;
}

static void resume(void *opaque, const struct gdb_action *actions, unsigned n)
{
    struct gdb_server *server = opaque;
    int held = find_held(server);

    if (held >= 0) {
        /* It came to a stop already: that is told instead of moving it. */
        tell_held(server, (unsigned)held);
        return;
    }
    if (needs_reset(server->vm)) {
        gdb_machine_tell(server, GDB_STOP_SIGNAL, signal_of(server->vm->state), 0);
        return;
    }
    if (set_modes(server, actions, n) || !(server->sstep & GDB_SSTEP_NO_TIMER)) {
        vm_start(server->vm);
    } else {
        vm_start_without_clock(server->vm);
    }
}

static void interrupt(void *opaque, unsigned signal)
{
    struct gdb_server *server = opaque;

    if (vm_is_running(server->vm)) {
        vm_stop(server->vm, QAPI_RUN_STATE_PAUSED);
    } else {
        gdb_machine_tell(server, GDB_STOP_SIGNAL, signal, 0);
    }
}

/* What these are for happens at the connection's end (gdb_server.c). */
static void detach(void *opaque)
{
}

static void kill_machine(void *opaque)
{
}

/* ---- The rest ---- */

static char *monitor(void *opaque, const char *command)
{
    struct gdb_server *server = opaque;

    return server->run_hmp(server->opaque, command);
}

/* A number behind prefix; true if the packet is such a one (*ok: and its number is at most max). */
static bool get_setting(const char *packet, const char *prefix, unsigned max, unsigned *value,
                        bool *ok)
{
    guint64 number = 0;

    if (!g_str_has_prefix(packet, prefix)) {
        return false;
    }
    *ok = g_ascii_string_to_unsigned(packet + strlen(prefix), 16, 0, max, &number, NULL);
    *value = (unsigned)number;
    return true;
}

static bool query(void *opaque, const char *packet, GString *reply)
{
    struct gdb_server *server = opaque;
    unsigned value;
    bool ok = true;

    if (g_str_equal(packet, "qqemu.Supported")) {
        g_string_assign(reply, "sstepbits;sstep;PhyMemMode");
    } else if (g_str_equal(packet, "qqemu.sstepbits")) {
        g_string_printf(reply, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", GDB_SSTEP_ENABLE, GDB_SSTEP_NO_IRQ,
                        GDB_SSTEP_NO_TIMER);
    } else if (g_str_equal(packet, "qqemu.sstep")) {
        g_string_printf(reply, "0x%x", server->sstep);
    } else if (g_str_equal(packet, "qqemu.PhyMemMode")) {
        g_string_printf(reply, "%d", server->physical);
    } else if (get_setting(packet, "Qqemu.sstep=", 7, &value, &ok) ||
               get_setting(packet, "qqemu.sstep=", 7, &value, &ok)) {
        server->sstep = ok ? value : server->sstep;
        g_string_assign(reply, ok ? "OK" : "E22");
    } else if (get_setting(packet, "Qqemu.PhyMemMode:", 1, &value, &ok)) {
        server->physical = ok ? value : server->physical;
        g_string_assign(reply, ok ? "OK" : "E22");
    } else {
        return false;
    }
    return true;
}

const struct gdb_ops gdb_machine_ops = {
    .process_id = process_id,
    .threads = threads,
    .thread_info = thread_info,
    .target_xml = target_xml,
    .n_regs = n_regs,
    .n_general_regs = n_general_regs,
    .read_reg = read_reg,
    .write_reg = write_reg,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .insert = insert,
    .remove = remove_by_key,
    .resume = resume,
    .interrupt = interrupt,
    .poll_stop = poll_stop,
    .detach = detach,
    .kill = kill_machine,
    .monitor = monitor,
    .query = query,
    .attached = true,
};
