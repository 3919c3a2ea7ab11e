/*
 * The translator as an accelerator. A vCPU's thread is in one of three states:
 *
 *   stopped    waits for accel.running (or ending), or is held for a debugger; on accel.changed
 *   running    in dbt_run or the guest's handle_exit
 *   sleeping   waits for has_work, on its own condition
 *
 * accel.running is written under accel.lock and read without it: who clears it kicks and wakes all
 * vCPUs afterwards, and a kick that comes before dbt_run is called makes that return at once.
 */
#include "accel/accel.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/host_faults.h"
#include "dbt/mmu.h"
#include "memory/memory.h"
#include "util/log.h"

struct accel_cpu {
    struct accel *accel;
    struct vcpu *cpu;
    struct address_space_reader *reader;
    GThread *thread;
    pid_t thread_id;
    bool halted;          /* the guest waits for an interrupt */
    enum accel_mode mode; /* written by the thread while it is active, else by the main thread */
    uint64_t step_start, step_end;
    bool has_stop;
    struct accel_stop stop;
    GMutex lock; /* around the sleep: has_work may change at any time, a wake-up can't be lost */
    GCond wake;
};

struct accel {
    const struct accel_guest *guest;
    struct address_space *memory;
    struct log *log; /* NULL: none */
    struct dbt *dbt;
    struct accel_cpu *cpus;
    unsigned n_cpus;
    GMutex lock;
    GCond changed; /* of what follows */
    atomic_bool running;
    bool ending;
    unsigned n_started;                  /* threads that have said their id */
    unsigned n_active;                   /* vCPUs that aren't stopped */
    void (*debug_stopped)(void *opaque); /* NULL: nobody debugs */
    void *debug_opaque;
};

/* Until there is work (then the vCPU isn't halted any more), or the machine is stopped. */
static void sleep_until_work(struct accel_cpu *c)
{
    address_space_reader_offline(c->reader);
    g_mutex_lock(&c->lock);
    while (atomic_load(&c->accel->running) && c->halted) {
        if (c->accel->guest->has_work(c->cpu)) {
            c->halted = false;
        } else {
            g_cond_wait(&c->wake, &c->lock);
        }
    }
    g_mutex_unlock(&c->lock);
}

/* ---- Debugging, the vCPU's side ---- */

static void hold(struct accel_cpu *c, enum accel_stop_kind kind)
{
    c->stop = (struct accel_stop){
        .kind = kind, .address = c->cpu->fault_addr, .access = c->cpu->fault_access};
    c->has_stop = true;
    c->mode = ACCEL_HOLD;
    if (c->accel->debug_stopped) {
        c->accel->debug_stopped(c->accel->debug_opaque);
    }
}

/*
 * After dbt_run, which began at pc, and handle_exit: is it time to stop? A step is over as well
 * when a trap was taken in the place of the instruction, but not when the vCPU was only kicked.
 */
static void check_debug(struct accel_cpu *c, uint64_t pc, enum vcpu_exit reason,
                        enum accel_run next)
{
    const struct vcpu *cpu = c->cpu;
    bool moved = cpu->pc != pc;

    if (next == ACCEL_DEBUG && cpu->fault_access != VCPU_FETCH) {
        hold(c, ACCEL_STOP_WATCHPOINT);
    } else if (c->mode == ACCEL_STEP) {
        if ((reason == VCPU_EXIT_INTERRUPT && !moved) ||
            (moved && cpu->pc >= c->step_start && cpu->pc < c->step_end)) {
            return;
        }
        hold(c, ACCEL_STOP_STEP);
    } else if (next == ACCEL_DEBUG) {
        hold(c, ACCEL_STOP_BREAKPOINT);
    }
}

/* ---- Running ---- */

static void run(struct accel_cpu *c)
{
    struct accel *accel = c->accel;
    struct vcpu *cpu = c->cpu;

    while (atomic_load(&accel->running) && c->mode != ACCEL_HOLD) {
        uint64_t pc = cpu->pc;
        enum vcpu_exit reason;
        enum accel_run next;

        if (c->halted && c->mode == ACCEL_RUN) {
            sleep_until_work(c);
            continue;
        }
        /* Before dbt_run looks whether a flush was asked for. */
        address_space_reader_quiescent(c->reader);
        cpu->fault_access = VCPU_FETCH; /* no watchpoint */
        reason = dbt_run(cpu);
        next = accel->guest->handle_exit(cpu, reason);
        c->halted = next == ACCEL_SLEEP && c->mode == ACCEL_RUN;
        if (next == ACCEL_YIELD && accel->n_cpus > 1) {
            sched_yield(); /* what it waits for may be another vCPU's to do */
        }
        if (G_UNLIKELY(next == ACCEL_DEBUG || c->mode == ACCEL_STEP)) {
            check_debug(c, pc, reason, next);
        }
    }
    address_space_reader_offline(c->reader);
}

static void *cpu_thread(void *opaque)
{
    struct accel_cpu *c = opaque;
    struct accel *accel = c->accel;
    g_autofree void *stack = g_malloc(host_faults_stack_size());

    host_faults_enter(c->cpu, stack);
    g_mutex_lock(&accel->lock);
    c->thread_id = (pid_t)syscall(SYS_gettid);
    accel->n_started++;
    g_cond_broadcast(&accel->changed);
    while (!accel->ending) {
        if (!atomic_load(&accel->running) || c->mode == ACCEL_HOLD) {
            g_cond_wait(&accel->changed, &accel->lock);
            continue;
        }
        accel->n_active++;
        g_mutex_unlock(&accel->lock);
        run(c);
        g_mutex_lock(&accel->lock);
        accel->n_active--;
        g_cond_broadcast(&accel->changed);
    }
    g_mutex_unlock(&accel->lock);
    host_faults_leave();
    return NULL;
}

void accel_wake(struct vcpu *cpu)
{
    struct accel_cpu *c = cpu->owner;

    g_mutex_lock(&c->lock);
    g_cond_signal(&c->wake);
    g_mutex_unlock(&c->lock);
}

void accel_start(struct accel *accel)
{
    g_mutex_lock(&accel->lock);
    atomic_store(&accel->running, true);
    g_cond_broadcast(&accel->changed);
    g_mutex_unlock(&accel->lock);
}

void accel_stop(struct accel *accel)
{
    g_mutex_lock(&accel->lock);
    atomic_store(&accel->running, false);
    g_mutex_unlock(&accel->lock);
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        vcpu_kick(accel->cpus[i].cpu);
        accel_wake(accel->cpus[i].cpu);
    }
    g_mutex_lock(&accel->lock);
    while (accel->n_active) {
        g_cond_wait(&accel->changed, &accel->lock);
    }
    g_mutex_unlock(&accel->lock);
}

static void log_reset(const struct accel *accel, struct vcpu *cpu)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (accel->log && log_enabled(accel->log, LOG_CPU_RESET) && cpu->arch->dump) {
        cpu->arch->dump(cpu, true, text);
        log_write(accel->log, LOG_CPU_RESET, "CPU Reset (CPU %u)\n%s", cpu->index, text->str);
    }
}

void accel_reset(struct accel *accel)
{
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        log_reset(accel, accel->cpus[i].cpu);
        accel->guest->reset(accel->cpus[i].cpu);
        accel->cpus[i].halted = false;
    }
}

struct vcpu *accel_cpu(struct accel *accel, unsigned index)
{
    return accel->cpus[index].cpu;
}

pid_t accel_thread_id(struct accel *accel, unsigned index)
{
    return accel->cpus[index].thread_id;
}

/* ---- Debugging, the debugger's side ---- */

unsigned accel_n_cpus(const struct accel *accel)
{
    return accel->n_cpus;
}

struct dbt *accel_dbt(struct accel *accel)
{
    return accel->dbt;
}

void accel_set_debugger(struct accel *accel, void (*stopped)(void *opaque), void *opaque)
{
    accel->debug_opaque = opaque;
    accel->debug_stopped = stopped;
}

void accel_set_mode(struct accel *accel, unsigned index, enum accel_mode mode, uint64_t start,
                    uint64_t end, bool interrupts)
{
    struct accel_cpu *c = &accel->cpus[index];

    c->mode = mode;
    c->step_start = start;
    c->step_end = end;
    c->cpu->single_step = mode == ACCEL_STEP;
    c->cpu->hold_interrupts = mode == ACCEL_STEP && !interrupts;
    if (mode == ACCEL_STEP) {
        c->halted = false;
    }
    vcpu_kick(c->cpu); /* interrupts that were held are looked at */
}

const struct accel_stop *accel_stop_of(const struct accel *accel, unsigned index)
{
    const struct accel_cpu *c = &accel->cpus[index];

    return c->has_stop ? &c->stop : NULL;
}

void accel_clear_stop(struct accel *accel, unsigned index)
{
    accel->cpus[index].has_stop = false;
}

bool accel_is_halted(const struct accel *accel, unsigned index)
{
    return accel->cpus[index].halted;
}

/* ---- The log ---- */

static bool is_logged(const void *opaque, uint64_t pc)
{
    return log_in_ranges(opaque, pc);
}

static void set_log(struct accel *accel)
{
    static const struct {
        enum log_item item;
        unsigned bit;
    } items[] = {
        {LOG_IN_ASM, DBT_LOG_IN_ASM},   {LOG_OP, DBT_LOG_OP},     {LOG_OP_OPT, DBT_LOG_OP_OPT},
        {LOG_OUT_ASM, DBT_LOG_OUT_ASM}, {LOG_EXEC, DBT_LOG_EXEC}, {LOG_CPU, DBT_LOG_CPU},
        {LOG_FPU, DBT_LOG_FPU},
    };
    unsigned bits = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        bits |= log_enabled(accel->log, items[i].item) ? items[i].bit : 0;
    }
    dbt_set_log(accel->dbt, bits, log_stream(accel->log), log_enabled(accel->log, LOG_NOCHAIN),
                is_logged, accel->log);
}

static void log_changed(void *opaque)
{
    struct accel *accel = opaque;
    bool running = atomic_load(&accel->running);

    if (running) {
        accel_stop(accel);
    }
    set_log(accel);
    if (running) {
        accel_start(accel);
    }
}

/* ---- Making ---- */

/* The memory's layout changed: what vCPUs keep of it isn't right any more. */
static void memory_changed(void *opaque)
{
    struct accel *accel = opaque;

    for (unsigned i = 0; i < accel->n_cpus; i++) {
        dbt_tlb_request_flush(accel->cpus[i].cpu);
    }
}

static void code_written(void *opaque, uint64_t address, uint64_t size)
{
    dbt_invalidate_phys(((struct accel *)opaque)->dbt, address, size);
}

/* False: no memory. */
static bool make_cpu(struct accel *accel, struct accel_cpu *c, const void *model)
{
    c->accel = accel;
    c->cpu = dbt_vcpu_new(accel->dbt, model);
    if (!c->cpu) {
        return false;
    }
    c->cpu->owner = c;
    c->reader = address_space_reader_new(accel->memory);
    g_mutex_init(&c->lock);
    g_cond_init(&c->wake);
    return true;
}

static void free_cpu(struct accel_cpu *c)
{
    address_space_reader_free(c->reader);
    dbt_vcpu_free(c->cpu);
    g_mutex_clear(&c->lock);
    g_cond_clear(&c->wake);
}

static bool make_cpus(struct accel *accel, const void *model, GError **error)
{
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        if (!make_cpu(accel, &accel->cpus[i], model)) {
            while (i-- > 0) {
                free_cpu(&accel->cpus[i]);
            }
            g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                        "the host has no memory for %u vCPUs: try a smaller -smp", accel->n_cpus);
            return false;
        }
    }
    return true;
}

/* What is left when there are no vCPUs. */
static void free_rest(struct accel *accel)
{
    dbt_free(accel->dbt);
    g_mutex_clear(&accel->lock);
    g_cond_clear(&accel->changed);
    g_free(accel->cpus);
    g_free(accel);
}

struct accel *accel_new(const struct accel_config *config, GError **error)
{
    struct dbt_config dbt_config = {
        .arch = config->guest->arch,
        .mmu = config->guest->mmu,
        .cache_size = config->cache_size,
        .interpreter = config->interpreter,
        .one_insn = config->one_insn,
    };
    struct dbt *dbt = dbt_new(&dbt_config, error);
    struct accel *accel;

    if (!dbt) {
        return NULL;
    }
    accel = g_new0(struct accel, 1);
    accel->dbt = dbt;
    accel->guest = config->guest;
    accel->memory = config->memory;
    accel->log = config->log;
    accel->n_cpus = config->n_cpus;
    accel->cpus = g_new0(struct accel_cpu, accel->n_cpus);
    g_mutex_init(&accel->lock);
    g_cond_init(&accel->changed);
    host_faults_install();
    if (!make_cpus(accel, config->model, error)) {
        free_rest(accel);
        return NULL;
    }
    if (accel->log) {
        set_log(accel);
        log_set_listener(accel->log, log_changed, accel);
    }
    address_space_add_listener(accel->memory, memory_changed, accel);
    address_space_set_code_listener(accel->memory, code_written, accel);
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        g_autofree char *name = g_strdup_printf("CPU %u/TCG", i);

        accel->cpus[i].thread = g_thread_new(name, cpu_thread, &accel->cpus[i]);
    }
    g_mutex_lock(&accel->lock);
    while (accel->n_started < accel->n_cpus) {
        g_cond_wait(&accel->changed, &accel->lock);
    }
    g_mutex_unlock(&accel->lock);
    return accel;
}

void accel_free(struct accel *accel)
{
    accel_stop(accel);
    g_mutex_lock(&accel->lock);
    accel->ending = true;
    g_cond_broadcast(&accel->changed);
    g_mutex_unlock(&accel->lock);
    if (accel->log) {
        log_set_listener(accel->log, NULL, NULL);
    }
    address_space_set_code_listener(accel->memory, NULL, NULL);
    address_space_remove_listener(accel->memory, accel);
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        g_thread_join(accel->cpus[i].thread);
        free_cpu(&accel->cpus[i]);
    }
    free_rest(accel);
}
