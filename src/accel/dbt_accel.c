/*
 * The translator as an accelerator. A vCPU's thread is in one of three states:
 *
 *   stopped    waits for accel.running (or ending), on accel.changed
 *   running    in dbt_run or the guest's handle_exit
 *   sleeping   waits for has_work, on its own condition
 *
 * accel.running is written under accel.lock and read without it: who clears it kicks and wakes all vCPUs
 * afterwards, and a kick that comes before dbt_run is called makes that return at once.
 */
#include "accel/accel.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/host_faults.h"
#include "dbt/mmu.h"
#include "memory/memory.h"

struct accel_cpu {
    struct accel *accel;
    struct vcpu *cpu;
    struct address_space_reader *reader;
    GThread *thread;
    pid_t thread_id;
    GMutex lock;            /* around the sleep: has_work may change at any time, a wake-up can't be lost */
    GCond wake;
};

struct accel {
    const struct accel_guest *guest;
    struct address_space *memory;
    struct dbt *dbt;
    struct accel_cpu *cpus;
    unsigned n_cpus;
    GMutex lock;
    GCond changed;          /* of what follows */
    atomic_bool running;
    bool ending;
    unsigned n_started;     /* threads that have said their id */
    unsigned n_active;      /* vCPUs that aren't stopped */
};

static void sleep_until_work(struct accel_cpu *c)
{
    address_space_reader_offline(c->reader);
    g_mutex_lock(&c->lock);
    while (atomic_load(&c->accel->running) && !c->accel->guest->has_work(c->cpu)) {
        g_cond_wait(&c->wake, &c->lock);
    }
    g_mutex_unlock(&c->lock);
}

static void run(struct accel_cpu *c)
{
    struct accel *accel = c->accel;

    while (atomic_load(&accel->running)) {
        /* Before dbt_run looks whether a flush was asked for. */
        address_space_reader_quiescent(c->reader);
        switch (accel->guest->handle_exit(c->cpu, dbt_run(c->cpu))) {
        case ACCEL_GO_ON:
            break;
        case ACCEL_YIELD:
            if (accel->n_cpus > 1) {
                sched_yield();      /* what it waits for may be another vCPU's to do */
            }
            break;
        case ACCEL_SLEEP:
            sleep_until_work(c);
            break;
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
        if (!atomic_load(&accel->running)) {
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

void accel_reset(struct accel *accel)
{
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        accel->guest->reset(accel->cpus[i].cpu);
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

static void make_cpu(struct accel *accel, struct accel_cpu *c, const void *model)
{
    c->accel = accel;
    c->cpu = dbt_vcpu_new(accel->dbt, model);
    c->cpu->owner = c;
    c->reader = address_space_reader_new(accel->memory);
    g_mutex_init(&c->lock);
    g_cond_init(&c->wake);
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
    accel->n_cpus = config->n_cpus;
    accel->cpus = g_new0(struct accel_cpu, accel->n_cpus);
    g_mutex_init(&accel->lock);
    g_cond_init(&accel->changed);
    host_faults_install();
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        make_cpu(accel, &accel->cpus[i], config->model);
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
    address_space_set_code_listener(accel->memory, NULL, NULL);
    address_space_remove_listener(accel->memory, accel);
    for (unsigned i = 0; i < accel->n_cpus; i++) {
        struct accel_cpu *c = &accel->cpus[i];

        g_thread_join(c->thread);
        address_space_reader_free(c->reader);
        dbt_vcpu_free(c->cpu);
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->wake);
    }
    dbt_free(accel->dbt);
    g_mutex_clear(&accel->lock);
    g_cond_clear(&accel->changed);
    g_free(accel->cpus);
    g_free(accel);
}
