/*
 * The translator's instance and the loop that runs a vCPU.
 *
 * A vCPU's thread announces with vcpu.in_code that it is in translated code, or holds on to blocks.
 * Who wants to free code (a flush) takes the lock, sets dbt.flushing, kicks all vCPUs and waits until
 * none is in_code; a thread that sees dbt.flushing after it has set in_code steps back and waits for
 * the lock. Both orders are sequentially consistent, so that one of the two always sees the other.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dbt/dbt_priv.h"
#include "dbt/interp/interp.h"

/* The smallest cache that holds any block, with room in its tables (see host_compile). */
enum { MIN_CACHE_SIZE = 1 << 20 };

enum { DEFAULT_CACHE_SIZE = 128 << 20, DEFAULT_MAX_INSNS = 64 };

static void *reserve(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

struct dbt *dbt_new(const struct dbt_config *config, GError **error)
{
    if (config->cache_size && config->cache_size < MIN_CACHE_SIZE) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "a code cache of %zu bytes is too small: -dbt cache-size is at least %dk",
                    config->cache_size, MIN_CACHE_SIZE >> 10);
        return NULL;
    }
    struct dbt *dbt = g_new0(struct dbt, 1);

    dbt->config = *config;
    dbt->arch = config->arch;
    if (!dbt->config.cache_size)
        dbt->config.cache_size = DEFAULT_CACHE_SIZE;
    if (!dbt->config.max_insns || dbt->config.max_insns > IR_MAX_INSNS)
        dbt->config.max_insns = DEFAULT_MAX_INSNS;
    if (dbt->config.lockstep) /* each block has to come back */
        dbt->config.no_chain = true;
    if (!dbt->config.log_file)
        dbt->config.log_file = stderr;
    pthread_mutex_init(&dbt->lock, NULL);
    dbt->unit = ir_unit_new();
    dbt->pages = g_hash_table_new(NULL, NULL);
    dbt->unstable = g_ptr_array_new();
    dbt->arena_chunks = g_ptr_array_new_with_free_func(g_free);
    dbt->breakpoints = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dbt->watchpoints = g_array_new(FALSE, FALSE, sizeof(struct dbt_watch));
    dbt->intrinsics = g_array_new(FALSE, FALSE, sizeof(struct dbt_intrinsic));
    dbt->max_blocks = (uint32_t)(dbt->config.cache_size / 64);
    dbt->max_exits = (uint32_t)(dbt->config.cache_size / 16);
    dbt->hash = reserve(sizeof(dbt->hash[0]) << HASH_BITS);
    dbt->blocks = reserve(dbt->max_blocks * sizeof(dbt->blocks[0]));
    dbt->exits = reserve(dbt->max_exits * sizeof(dbt->exits[0]));
    if (!dbt->hash || !dbt->blocks || !dbt->exits) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "no address space for the translator's tables: try a smaller -dbt cache-size");
        dbt_free(dbt);
        return NULL;
    }
    if (!host_init(dbt, error) ||
        !code_cache_init(&dbt->cache, dbt->config.cache_size, error)) {
        dbt_free(dbt);
        return NULL;
    }
    host_emit_thunks(dbt);
    if (config->perf_map) {
        g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", getpid());
        dbt->perf_map = fopen(path, "we");
        if (dbt->perf_map)
            setvbuf(dbt->perf_map, NULL, _IOLBF, 0);
    }
    return dbt;
}

void dbt_free(struct dbt *dbt)
{
    if (dbt->cache.rw)
        code_cache_free(&dbt->cache);
    host_free(dbt);
    release(dbt->hash, sizeof(dbt->hash[0]) << HASH_BITS);
    release(dbt->blocks, dbt->max_blocks * sizeof(dbt->blocks[0]));
    release(dbt->exits, dbt->max_exits * sizeof(dbt->exits[0]));
    if (dbt->perf_map)
        fclose(dbt->perf_map);
    ir_unit_free(dbt->unit);
    g_hash_table_destroy(dbt->pages);
    g_ptr_array_free(dbt->unstable, TRUE);
    g_ptr_array_free(dbt->arena_chunks, TRUE);
    g_array_free(dbt->breakpoints, TRUE);
    g_array_free(dbt->watchpoints, TRUE);
    g_array_free(dbt->intrinsics, TRUE);
    pthread_mutex_destroy(&dbt->lock);
    g_free(dbt);
}

/* ---- vCPUs ---- */

static void clear_jump_cache(struct vcpu *cpu)
{
    for (unsigned i = 0; i < VCPU_JUMP_CACHE_SIZE; i++) {
        uint64_t unused = i ? 1 : 3; /* a pc that is looked up elsewhere */
        if (cpu->jump_cache[i].pc != unused)
            cpu->jump_cache[i] = (struct jump_cache_entry){ .pc = unused };
    }
}

struct vcpu *dbt_vcpu_new(struct dbt *dbt, const void *model)
{
    if (dbt->config.lockstep && dbt->vcpus) {
        /* Another thread would see memory being written twice. */
        fprintf(dbt->config.log_file, "nandu: -dbt lockstep=on is for programs with one thread\n");
        return NULL;
    }
    struct vcpu *cpu = aligned_alloc(64, (dbt->arch->vcpu_size + 63) & ~(size_t)63);
    if (!cpu)
        return NULL;
    memset(cpu, 0, dbt->arch->vcpu_size);
    cpu->dbt = dbt;
    cpu->arch = dbt->arch;
    cpu->model = model;
    cpu->guest_base = dbt->config.guest_base;
    cpu->excl_addr = UINT64_MAX;
    if (!host_vcpu_init(cpu)) {
        free(cpu);
        return NULL;
    }
    clear_jump_cache(cpu);
    dbt->arch->reset(cpu);
    pthread_mutex_lock(&dbt->lock);
    cpu->index = dbt->n_vcpus++;
    cpu->next = dbt->vcpus;
    dbt->vcpus = cpu;
    pthread_mutex_unlock(&dbt->lock);
    return cpu;
}

void dbt_vcpu_free(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;
    pthread_mutex_lock(&dbt->lock);
    struct vcpu **link = &dbt->vcpus;
    while (*link != cpu)
        link = &(*link)->next;
    *link = cpu->next;
    pthread_mutex_unlock(&dbt->lock);
    host_vcpu_free(cpu);
    if (cpu->step_unit)
        ir_unit_free(cpu->step_unit);
    free(cpu);
}

/* ---- Reclaim ---- */

/* Lock held; [self] is not in_code. */
static void flush(struct dbt *dbt, struct vcpu *self)
{
    __atomic_store_n(&dbt->flushing, true, __ATOMIC_SEQ_CST);
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next) {
        if (cpu == self)
            continue;
        while (__atomic_load_n(&cpu->in_code, __ATOMIC_SEQ_CST)) {
            vcpu_kick(cpu);
            sched_yield();
        }
    }
    dbt_forget_blocks(dbt);
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next) {
        clear_jump_cache(cpu);
        host_reset_return_stack(cpu);
    }
    dbt->generation++;
    dbt->stats.flushes++;
    __atomic_store_n(&dbt->flushing, false, __ATOMIC_SEQ_CST);
}

void dbt_invalidate(struct dbt *dbt, uint64_t start, uint64_t size)
{
    uint64_t first = start >> BLOCK_PAGE_SHIFT, last = (start + size - 1) >> BLOCK_PAGE_SHIFT;
    if (!size)
        return;
    pthread_mutex_lock(&dbt->lock);
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    if (last - first < g_hash_table_size(dbt->pages)) {
        for (uint64_t page = first; page <= last; page++) {
            struct block *b = g_hash_table_lookup(dbt->pages, (gpointer)(uintptr_t)page);
            while (b) {
                unsigned k = 0;
                g_ptr_array_add(blocks, b);
                while (b->pages[k] != page)
                    k++;
                b = b->page_next[k];
            }
        }
    } else {
        for (uint32_t i = 0; i < dbt->n_blocks; i++)
            g_ptr_array_add(blocks, dbt->blocks[i]);
    }
    for (unsigned i = 0; i < blocks->len; i++) {
        struct block *b = blocks->pdata[i];
        if (b->low < start + size && b->high > start)
            block_invalidate(dbt, b);
    }
    pthread_mutex_unlock(&dbt->lock);
}

void dbt_invalidate_unstable(struct dbt *dbt)
{
    pthread_mutex_lock(&dbt->lock);
    for (unsigned i = 0; i < dbt->unstable->len; i++)
        block_invalidate(dbt, dbt->unstable->pdata[i]);
    g_ptr_array_set_size(dbt->unstable, 0);
    pthread_mutex_unlock(&dbt->lock);
}

/* ---- Fork ---- */

void dbt_before_fork(struct dbt *dbt)
{
    pthread_mutex_lock(&dbt->lock);
}

void dbt_after_fork(struct dbt *dbt, struct vcpu *self, bool child)
{
    if (child) {
        pthread_mutex_init(&dbt->lock, NULL);
        pthread_mutex_lock(&dbt->lock);
        dbt->vcpus = self;
        self->next = NULL;
        dbt_forget_blocks(dbt);
        clear_jump_cache(self);
        host_reset_return_stack(self);
        dbt->generation++;
        if (dbt->perf_map) { /* the parent's file */
            fclose(dbt->perf_map);
            dbt->perf_map = NULL;
        }
        if (!code_cache_unshare(&dbt->cache)) {
            static const char message[] = "nandu: out of memory for a code cache after fork\n";
            (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
            _exit(127);
        }
    }
    pthread_mutex_unlock(&dbt->lock);
}

/* ---- Finding blocks ---- */

/* The block for vcpu.pc, translated if need be; the vCPU is in_code then. NULL: its code can't be
 * read, vcpu.fault_* is set. */
static struct block *find_block(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;
    for (;;) {
        __atomic_store_n(&cpu->in_code, true, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&dbt->flushing, __ATOMIC_SEQ_CST)) {
            struct block *b = block_lookup(dbt, cpu->pc, cpu->mode);
            if (b)
                return b;
        }
        __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);

        struct block *b;
        enum translate_result r = TRANSLATE_OK;
        pthread_mutex_lock(&dbt->lock);
        if (!block_lookup(dbt, cpu->pc, cpu->mode)) {
            r = dbt_translate(dbt, cpu->model, cpu->pc, cpu->mode, &b);
            if (r == TRANSLATE_FULL)
                flush(dbt, cpu);
        }
        pthread_mutex_unlock(&dbt->lock);
        if (r == TRANSLATE_FETCH_FAULT) {
            cpu->fault_addr = cpu->pc;
            cpu->fault_access = VCPU_FETCH;
            cpu->fault_kind = VCPU_FAULT_UNMAPPED;
            return NULL;
        }
    }
}

/* ---- Interpretation: single steps, watchpoints, -dbt interp=on ---- */

struct access_record {
    struct dbt *dbt;
    bool hit;
    bool any;
    uint64_t last_addr;   /* of the last access, which is the one that faults if any does */
    uint8_t last_access;
    uint64_t addr;
    uint8_t access;
};

static void record_access(void *opaque, struct vcpu *cpu, uint64_t addr, unsigned size,
                          enum vcpu_access access)
{
    struct access_record *r = opaque;
    (void)cpu;
    r->any = true;
    r->last_addr = addr;
    r->last_access = (uint8_t)access;
    for (unsigned i = 0; i < r->dbt->watchpoints->len; i++) {
        const struct dbt_watch *w = &g_array_index(r->dbt->watchpoints, struct dbt_watch, i);
        if (addr < w->addr + w->size && w->addr < addr + size &&
            (w->access < 0 || w->access == (int)access)) {
            r->hit = true;
            r->addr = addr;
            r->access = (uint8_t)access;
        }
    }
}

enum vcpu_exit dbt_interpret(struct vcpu *cpu, const struct ir_unit *u,
                             const struct interp_hooks *hooks)
{
    void *buf[5];
    if (__builtin_setjmp(buf)) {
        cpu->unwind = NULL;
        return VCPU_EXIT_FAULT;
    }
    cpu->unwind = buf;
    enum vcpu_exit r = ir_interpret(cpu, u, cpu->guest_base, hooks);
    cpu->unwind = NULL;
    return r;
}

/* One instruction, unless it is a breakpoint's; VCPU_EXIT_NONE when it was done. */
static enum vcpu_exit step(struct vcpu *cpu, struct access_record *record)
{
    struct dbt *dbt = cpu->dbt;
    struct interp_hooks hooks = { .access = record_access, .opaque = record };
    struct block b = { .pc = cpu->pc, .no_debug = cpu->no_debug };
    enum translate_result r;

    record->dbt = dbt;
    if (!cpu->step_unit)
        cpu->step_unit = ir_unit_new();
    pthread_mutex_lock(&dbt->lock);
    struct ir_unit *unit = dbt->unit;
    dbt->unit = cpu->step_unit;
    r = dbt_lift(dbt, cpu->model, cpu->pc, cpu->mode, 1, &b);
    dbt->unit = unit;
    pthread_mutex_unlock(&dbt->lock);
    if (r == TRANSLATE_FETCH_FAULT) {
        cpu->fault_addr = cpu->pc;
        cpu->fault_access = VCPU_FETCH;
        cpu->fault_kind = VCPU_FAULT_UNMAPPED;
        return VCPU_EXIT_FAULT;
    }
    return dbt_interpret(cpu, cpu->step_unit, &hooks);
}

/* The host didn't say where: do the instruction again and see what address it makes. */
static void find_fault_address(struct vcpu *cpu)
{
    struct access_record record = { 0 };
    cpu->fault_general = false;
    if (step(cpu, &record) == VCPU_EXIT_FAULT && record.any) {
        cpu->fault_addr = record.last_addr;
        cpu->fault_access = record.last_access;
    }
    cpu->fault_kind = VCPU_FAULT_UNMAPPED;
    cpu->fault_general = false;
}

/* ---- The loop ---- */

static void mode_changed(struct vcpu *cpu)
{
    clear_jump_cache(cpu);
    host_reset_return_stack(cpu);
    host_set_rounding(cpu, cpu->arch->mode_frm(cpu->mode));
}

/* Deal with what is the translator's own; true if the caller has to know. */
static bool leave_for(struct vcpu *cpu, enum vcpu_exit reason)
{
    switch (reason) {
    case VCPU_EXIT_NONE: return false;
    case VCPU_EXIT_FENCE_I: dbt_invalidate_unstable(cpu->dbt); return false;
    case VCPU_EXIT_MODE: mode_changed(cpu); return false;
    case VCPU_EXIT_FAULT:
        if (cpu->fault_general)
            find_fault_address(cpu);
        return true;
    default: return true;
    }
}

static enum vcpu_exit run_steps(struct vcpu *cpu)
{
    for (;;) {
        struct access_record record = { 0 };
        if (cpu->poll) {
            cpu->poll = 0;
            return VCPU_EXIT_INTERRUPT;
        }
        enum vcpu_exit r = step(cpu, &record);
        if (leave_for(cpu, r))
            return r;
        if (record.hit && !cpu->no_debug) {
            cpu->fault_addr = record.addr;
            cpu->fault_access = record.access;
            return VCPU_EXIT_DEBUG;
        }
        if (cpu->single_step) {
            cpu->fault_access = VCPU_FETCH; /* no watchpoint */
            return VCPU_EXIT_DEBUG;
        }
        if (!cpu->dbt->watchpoints->len)
            return VCPU_EXIT_INTERRUPT;
    }
}

static void fill_jump_cache(struct vcpu *cpu, const struct block *b)
{
    struct jump_cache_entry *e = &cpu->jump_cache[b->pc >> 1 & (VCPU_JUMP_CACHE_SIZE - 1)];
    e->code = cpu->dbt->cache.rx + b->code;
    e->pc = b->pc;
}

/* Run blocks from [b] on until translated code comes back for something that isn't just the next
 * block. in_code is set on entry and cleared on return. */
static enum vcpu_exit run_blocks(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;
    struct block *b = find_block(cpu);

    while (b) {
        uint32_t generation = dbt->generation;
        struct block_exit *link = NULL;
        struct block *old = NULL;
        uint64_t result = CODE_EXIT_INDIRECT;
        enum vcpu_exit reason = VCPU_EXIT_NONE;

        if (G_UNLIKELY(dbt->config.log & DBT_LOG_EXEC))
            fprintf(dbt->config.log_file, "Trace %u: 0x%" PRIx64 "\n", cpu->index, b->pc);
        if (G_UNLIKELY(b->interpret)) {
            reason = dbt_interpret(cpu, b->ir, NULL);
            result = CODE_EXIT_REASON;
        } else if (G_UNLIKELY(dbt->config.lockstep)) {
            result = dbt_lockstep_run(cpu, b);
        } else {
            result = host_run(cpu, b);
        }
        uint32_t index = (uint32_t)(result >> 8);
        switch ((enum code_exit)(result & 0xff)) {
        case CODE_EXIT_DIRECT:
        case CODE_EXIT_POLL:
            link = (result & 0xff) == CODE_EXIT_DIRECT ? &dbt->exits[index] : NULL;
            cpu->pc = dbt->exits[index].pc;
            break;
        case CODE_EXIT_INDIRECT: break;
        case CODE_EXIT_REDIRECT:
            old = dbt->blocks[index];
            cpu->pc = old->pc;
            break;
        case CODE_EXIT_REASON:
            if (!b->interpret)
                reason = index;
            break;
        case CODE_EXIT_FAULT: reason = VCPU_EXIT_FAULT; break;
        }
        if (reason || cpu->poll) {
            __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
            return reason;
        }
        b = find_block(cpu);
        if (!b)
            break;
        if (link && dbt->generation == generation && !dbt->config.no_chain && !b->interpret)
            host_link_exit(dbt, link, b);
        else if (old && dbt->generation == generation && !b->interpret)
            host_redirect_block(dbt, old, b);
        else if (!link && !old && !b->interpret && !dbt->config.lockstep)
            fill_jump_cache(cpu, b);
    }
    return VCPU_EXIT_FAULT;
}

enum vcpu_exit dbt_run(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;

    if (!cpu->thread_ready) {
        cpu->thread_ready = true;
        host_thread_enter(dbt, cpu);
    }
    host_set_rounding(cpu, cpu->arch->mode_frm(cpu->mode));
    for (;;) {
        if (cpu->poll) {
            cpu->poll = 0;
            return VCPU_EXIT_INTERRUPT;
        }
        if (cpu->single_step || dbt->watchpoints->len)
            return run_steps(cpu);
        if (dbt->config.poll_always)
            cpu->poll = 1;
        enum vcpu_exit reason = run_blocks(cpu);
        if (reason == VCPU_EXIT_DEBUG && cpu->no_debug) {
            struct access_record record = { 0 };
            reason = step(cpu, &record); /* over a breakpoint that isn't for this vCPU */
        }
        if (leave_for(cpu, reason))
            return reason;
    }
}

/* ---- Debugging ---- */

void dbt_breakpoint_add(struct dbt *dbt, uint64_t pc)
{
    pthread_mutex_lock(&dbt->lock);
    g_array_append_val(dbt->breakpoints, pc);
    pthread_mutex_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

void dbt_breakpoint_remove(struct dbt *dbt, uint64_t pc)
{
    pthread_mutex_lock(&dbt->lock);
    for (unsigned i = 0; i < dbt->breakpoints->len; i++) {
        if (g_array_index(dbt->breakpoints, uint64_t, i) == pc) {
            g_array_remove_index_fast(dbt->breakpoints, i);
            break;
        }
    }
    pthread_mutex_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

static void kick_all(struct dbt *dbt)
{
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next)
        vcpu_kick(cpu);
}

void dbt_watchpoint_add(struct dbt *dbt, uint64_t addr, uint64_t size, int access)
{
    struct dbt_watch w = { .addr = addr, .size = size, .access = access };
    pthread_mutex_lock(&dbt->lock);
    g_array_append_val(dbt->watchpoints, w);
    kick_all(dbt);
    pthread_mutex_unlock(&dbt->lock);
}

void dbt_watchpoint_remove(struct dbt *dbt, uint64_t addr, uint64_t size, int access)
{
    pthread_mutex_lock(&dbt->lock);
    for (unsigned i = 0; i < dbt->watchpoints->len; i++) {
        const struct dbt_watch *w = &g_array_index(dbt->watchpoints, struct dbt_watch, i);
        if (w->addr == addr && w->size == size && w->access == access) {
            g_array_remove_index_fast(dbt->watchpoints, i);
            break;
        }
    }
    pthread_mutex_unlock(&dbt->lock);
}

void dbt_add_intrinsic(struct dbt *dbt, uint64_t pc, const struct ir_helper *helper,
                       unsigned return_reg)
{
    struct dbt_intrinsic in = { .pc = pc, .helper = helper, .return_reg = return_reg };
    pthread_mutex_lock(&dbt->lock);
    g_array_append_val(dbt->intrinsics, in);
    pthread_mutex_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

void dbt_get_stats(struct dbt *dbt, struct dbt_stats *stats)
{
    pthread_mutex_lock(&dbt->lock);
    *stats = dbt->stats;
    pthread_mutex_unlock(&dbt->lock);
}
