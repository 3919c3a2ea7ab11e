/*
 * The translator's instance and the loop that runs a vCPU.
 *
 * A vCPU's thread announces with vcpu.in_code that it is in translated code, or holds on to blocks.
 * Who wants to free code (a flush) takes the lock, sets dbt.flushing, kicks all vCPUs and waits
 * until none is in_code; a thread that sees dbt.flushing after it has set in_code steps back and
 * waits for the lock. Both orders are sequentially consistent, so that one of the two always sees
 * the other.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dbt/dbt_priv.h"
#include "dbt/interp/interp.h"
#include "dbt/interp/memory.h"
#include "dbt/section.h"
#include "dbt/softmmu.h"

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
    if (config->lockstep && config->mmu) {
        /* What a device was told, or told, can't be taken back. */
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "-dbt lockstep=on is for programs; for a machine compare with "
                            "the interpreter (-dbt interp=on)");
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
    if (dbt->config.mmu)
        code_pages_init(&dbt->code_pages);
    dbt->unit = ir_unit_new();
    dbt->breakpoints = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dbt->watchpoints = g_array_new(FALSE, FALSE, sizeof(struct dbt_watch));
    dbt->intrinsics = g_array_new(FALSE, FALSE, sizeof(struct dbt_intrinsic));
    dbt->max_blocks = (uint32_t)(dbt->config.cache_size / 64);
    dbt->hash_bits = config->mmu ? HASH_BITS_SYSTEM : HASH_BITS;
    dbt->hash = reserve(sizeof(dbt->hash[0]) << dbt->hash_bits);
    dbt->blocks = reserve(dbt->max_blocks * sizeof(dbt->blocks[0]));
    if (!dbt->hash || !dbt->blocks) {
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
    perf_open(dbt);
    return dbt;
}

void dbt_free(struct dbt *dbt)
{
    if (dbt->cache.rw)
        code_cache_free(&dbt->cache);
    host_free(dbt);
    release(dbt->hash, sizeof(dbt->hash[0]) << dbt->hash_bits);
    release(dbt->blocks, dbt->max_blocks * sizeof(dbt->blocks[0]));
    perf_close(dbt);
    ir_unit_free(dbt->unit);
    dbt_arena_reset(dbt);
    code_pages_free(&dbt->code_pages);
    g_array_free(dbt->breakpoints, TRUE);
    g_array_free(dbt->watchpoints, TRUE);
    g_array_free(dbt->intrinsics, TRUE);
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
    cpu->section.word = UINT64_MAX;
    if (!host_vcpu_init(cpu)) {
        free(cpu);
        return NULL;
    }
    if (dbt->config.mmu && !softmmu_init(cpu, dbt->config.mmu)) {
        host_vcpu_free(cpu);
        free(cpu);
        return NULL;
    }
    clear_jump_cache(cpu);
    dbt->arch->reset(cpu);
    dbt_lock(&dbt->lock);
    cpu->index = dbt->n_vcpus++;
    cpu->next = dbt->vcpus;
    dbt->vcpus = cpu;
    dbt_unlock(&dbt->lock);
    return cpu;
}

static void free_vcpu(struct vcpu *cpu)
{
    host_vcpu_free(cpu);
    softmmu_free(cpu);
    if (cpu->step_unit)
        ir_unit_free(cpu->step_unit);
    free(cpu);
}

void dbt_vcpu_free(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;
    dbt_lock(&dbt->lock);
    struct vcpu **link = &dbt->vcpus;
    while (*link != cpu)
        link = &(*link)->next;
    *link = cpu->next;
    dbt_unlock(&dbt->lock);
    free_vcpu(cpu);
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
        if (cpu->tlb) /* which its thread may be changing */
            __atomic_fetch_or(&cpu->tlb_request, TLB_REQUEST_JUMPS, __ATOMIC_SEQ_CST);
    }
    dbt->generation++;
    dbt->stats.flushes++;
    __atomic_store_n(&dbt->flushing, false, __ATOMIC_SEQ_CST);
}

void dbt_invalidate(struct dbt *dbt, uint64_t start, uint64_t size)
{
    if (!size)
        return;
    dbt_lock(&dbt->lock);
    if (dbt->config.mmu) /* lists are by physical pages */
        block_invalidate_virtual(dbt, start, size);
    else
        block_invalidate_range(dbt, start, size);
    dbt_unlock(&dbt->lock);
}

void dbt_invalidate_unstable(struct dbt *dbt)
{
    if (dbt->config.mmu && !dbt->code_pages.n_written)
        return;
    dbt_lock(&dbt->lock);
    if (dbt->config.mmu)
        code_pages_drain(dbt);
    for (struct block *b = dbt->unstable; b; b = b->unstable_next)
        block_invalidate(dbt, b);
    dbt->unstable = NULL;
    dbt_unlock(&dbt->lock);
}

void dbt_vcpu_died(struct vcpu *cpu, const void *stack, size_t size)
{
    struct dbt *dbt = cpu->dbt;

    /* First, since who holds the lock may be waiting for it. */
    __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
    if (!dbt_lock_take_over(&dbt->lock, stack, size))
        return;
    if (dbt->unit == cpu->step_unit) /* it was at a single step; the other one is lost */
        cpu->step_unit = NULL;
    flush(dbt, cpu);
    dbt_unlock(&dbt->lock);
}

/* ---- Fork ---- */

void dbt_before_fork(struct dbt *dbt)
{
    dbt_lock(&dbt->lock);
    code_cache_before_fork(&dbt->cache);
}

static void start_empty(struct dbt *dbt, struct vcpu *self)
{
    dbt_forget_blocks(dbt);
    clear_jump_cache(self);
    host_reset_return_stack(self);
    dbt->generation++;
    if (!code_cache_unshare(&dbt->cache)) {
        static const char message[] = "nandu: out of memory for a code cache after fork\n";
        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        _exit(127);
    }
}

void dbt_after_fork(struct dbt *dbt, struct vcpu *self, bool child)
{
    if (!child) {
        code_cache_after_fork(&dbt->cache);
        dbt_unlock(&dbt->lock);
        return;
    }
    while (dbt->vcpus) {
        struct vcpu *cpu = dbt->vcpus;
        dbt->vcpus = cpu->next;
        if (cpu != self)
            free_vcpu(cpu);
    }
    dbt->vcpus = self;
    self->next = NULL;
    if (!code_cache_adopt_copy(&dbt->cache))
        start_empty(dbt, self);
    perf_after_fork(dbt);
    dbt->lock = (struct dbt_lock){ 0 }; /* nobody waits for it in this process */
}

/* ---- Finding blocks ---- */

/* The instruction at vcpu.pc can't be fetched: the fault is at its first byte that can't be. */
static void fetch_fault(struct vcpu *cpu)
{
    const struct dbt_config *c = &cpu->dbt->config;
    uint8_t bytes[16]; /* as long as any guest's instruction */
    bool stable;
    size_t n;

    if (c->mmu) /* it has said so already */
        return;
    dbt_lock(&cpu->dbt->lock);
    n = c->fetch(c->opaque, cpu->pc, bytes, sizeof(bytes), &stable);
    dbt_unlock(&cpu->dbt->lock);
    cpu->fault_addr = cpu->pc + (n < sizeof(bytes) ? n : 0);
    cpu->fault_access = VCPU_FETCH;
    cpu->fault_kind = VCPU_FAULT_UNMAPPED;
}

/* What is known of the code at vcpu.pc. */
enum lookup { LOOKUP_FOUND, LOOKUP_NONE, LOOKUP_FAULT };

/*
 * System mode: which block it is depends on the pages that the code is in. An instruction in a page
 * of which only a part may be executed is done by itself. The vCPU is in_code.
 */
static enum lookup find_mapped(struct vcpu *cpu, uint32_t *mode, struct block **found)
{
    uint64_t offset = cpu->pc & (MMU_PAGE_SIZE - 1), next = cpu->pc - offset + MMU_PAGE_SIZE;
    const struct mmu_page *page;
    struct block *b;

    if (cpu->tlb_request)
        softmmu_handle_requests(cpu);
    page = softmmu_page(cpu, cpu->pc, VCPU_FETCH);
    if (!page)
        return LOOKUP_FAULT;
    if (!page->exec)
        *mode |= MODE_ONE_INSN;
    b = block_lookup(cpu->dbt, block_key(cpu->dbt, cpu->pc, *mode), page->phys + offset, *mode);
    if (b && b->crosses) {
        page = softmmu_page(cpu, next, VCPU_FETCH);
        if (!page)
            return LOOKUP_FAULT;
        while (b && block_next_page(b) != page->phys) /* of another address space */
            b = block_lookup_next(b);
    }
    *found = b;
    return b ? LOOKUP_FOUND : LOOKUP_NONE;
}

static enum lookup look_up(struct vcpu *cpu, uint32_t *mode, struct block **found)
{
    if (cpu->tlb)
        return find_mapped(cpu, mode, found);
    *found = block_lookup(cpu->dbt, cpu->pc, 0, *mode);
    return *found ? LOOKUP_FOUND : LOOKUP_NONE;
}

/* The block for vcpu.pc and [mode], translated if need be; the vCPU is in_code then. NULL: its code
 * can't be read, vcpu.fault_* is set. */
static struct block *find_block(struct vcpu *cpu, uint32_t mode)
{
    struct dbt *dbt = cpu->dbt;
    for (;;) {
        struct block *b;
        enum lookup l = LOOKUP_NONE;
        __atomic_store_n(&cpu->in_code, true, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&dbt->flushing, __ATOMIC_SEQ_CST)) {
            l = look_up(cpu, &mode, &b);
            if (l == LOOKUP_FOUND)
                return b;
        }
        __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
        if (l == LOOKUP_FAULT)
            return NULL;

        enum translate_result r = TRANSLATE_OK;
        dbt_lock(&dbt->lock);
        l = look_up(cpu, &mode, &b);
        if (l == LOOKUP_NONE) {
            r = dbt_translate(cpu, cpu->pc, mode, &b);
            if (r == TRANSLATE_FULL)
                flush(dbt, cpu);
        }
        dbt_unlock(&dbt->lock);
        if (l == LOOKUP_FAULT)
            return NULL;
        if (r == TRANSLATE_FETCH_FAULT) {
            fetch_fault(cpu);
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
    struct page_link pages[BLOCK_MAX_PAGES];
    struct block b = { .pc = cpu->pc, .pages = pages, .no_debug = cpu->no_debug };
    enum translate_result r;

    record->dbt = dbt;
    if (!cpu->step_unit)
        cpu->step_unit = ir_unit_new();
    dbt_lock(&dbt->lock);
    struct ir_unit *unit = dbt->unit;
    dbt->unit = cpu->step_unit;
    r = dbt_lift(cpu, cpu->pc, cpu->mode, 1, &b);
    dbt->unit = unit;
    dbt_unlock(&dbt->lock);
    if (r == TRANSLATE_FETCH_FAULT) {
        fetch_fault(cpu);
        return VCPU_EXIT_FAULT;
    }
    if (cpu->tlb) { /* others wait for requests to be honoured only if this says so */
        __atomic_store_n(&cpu->in_code, true, __ATOMIC_SEQ_CST);
        if (cpu->tlb_request)
            softmmu_handle_requests(cpu);
    }
    if (cpu->tlb)
        cpu->code_at = cpu->pc;
    enum vcpu_exit reason = dbt_interpret(cpu, cpu->step_unit, cpu->tlb ? NULL : &hooks);
    __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
    return reason;
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

/* ---- Restartable sections ---- */

void dbt_watch_words(struct dbt *dbt)
{
    dbt_lock(&dbt->lock);
    if (!dbt->watch_words) {
        dbt->watch_words = true;
        flush(dbt, NULL);
    }
    dbt_unlock(&dbt->lock);
}

/* The instruction at pc by itself, from a block that is kept. */
static enum vcpu_exit interpret_one(struct vcpu *cpu)
{
    const struct block *b = find_block(cpu, cpu->mode | MODE_ONE_INSN);
    enum vcpu_exit reason;

    if (!b)
        return VCPU_EXIT_FAULT;
    reason = dbt_interpret(cpu, b->ir, NULL);
    __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
    return reason;
}

/* Guest memory may be gone: then false. */
static bool set_word(struct vcpu *cpu, uint64_t value)
{
    void *buf[5];
    if (__builtin_setjmp(buf)) {
        cpu->unwind = NULL;
        return false;
    }
    cpu->unwind = buf;
    interp_store((void *)(uintptr_t)(cpu->section.word + cpu->guest_base), 8, value);
    cpu->unwind = NULL;
    return true;
}

bool dbt_section_begin(struct vcpu *cpu, uint64_t start, uint64_t end)
{
    struct vcpu_section *s = &cpu->section;

    s->start = start;
    s->end = end;
    s->token = (volatile uint64_t *)(uintptr_t)(s->word + cpu->guest_base);
    s->on = set_word(cpu, section_token());
    return s->on;
}

bool dbt_section_end(struct vcpu *cpu, uint64_t word)
{
    cpu->section.on = false;
    return set_word(cpu, word);
}

/* After an instruction in a section. */
static enum vcpu_exit section_advance(struct vcpu *cpu, enum vcpu_exit reason)
{
    const struct vcpu_section *s = &cpu->section;

    if (reason == VCPU_EXIT_RESTART)
        cpu->section.on = false;
    else if (s->on && cpu->pc - s->start >= s->end - s->start && !dbt_section_end(cpu, 0))
        cpu->section.word = UINT64_MAX; /* the memory isn't there any more */
    return reason;
}

/* Until the section is over, or the caller is needed. */
static enum vcpu_exit run_section(struct vcpu *cpu)
{
    enum vcpu_exit reason;

    do {
        reason = section_advance(cpu, interpret_one(cpu));
    } while (cpu->section.on && !reason && !cpu->poll);
    return reason;
}

/* ---- The loop ---- */

static void mode_changed(struct vcpu *cpu)
{
    if (cpu->tlb) {
        softmmu_sync(cpu);
    } else {
        clear_jump_cache(cpu);
        host_reset_return_stack(cpu);
    }
    host_set_rounding(cpu, cpu->arch->mode_frm(cpu->mode));
}

/* Deal with what is the translator's own; true if the caller has to know. */
static bool leave_for(struct vcpu *cpu, enum vcpu_exit reason)
{
    switch (reason) {
    case VCPU_EXIT_NONE: return false;
    case VCPU_EXIT_FENCE_I:
        dbt_invalidate_unstable(cpu->dbt);
        if (cpu->section.word != UINT64_MAX && !cpu->dbt->watch_words)
            dbt_watch_words(cpu->dbt); /* sections may be in what was written */
        return false;
    case VCPU_EXIT_MODE: mode_changed(cpu); return false;
    case VCPU_EXIT_FAULT:
        if (cpu->fault_general)
            find_fault_address(cpu);
        return true;
    default: return true;
    }
}

enum vcpu_exit dbt_section_store(struct vcpu *cpu, bool *stored, uint64_t *value)
{
    enum vcpu_exit reason;

    cpu->section.caught = false;
    cpu->section.catching = true;
    reason = interpret_one(cpu);
    cpu->section.catching = false;
    *stored = cpu->section.caught;
    *value = cpu->section.value;
    if (leave_for(cpu, reason))
        return reason;
    cpu->fault_access = VCPU_FETCH; /* no watchpoint */
    return cpu->single_step ? VCPU_EXIT_DEBUG : VCPU_EXIT_NONE;
}

/* System mode: a fault may be a watchpoint's. */
static enum vcpu_exit check_watch(struct vcpu *cpu, enum vcpu_exit reason)
{
    struct softmmu *mmu = cpu->mmu;

    if (reason != VCPU_EXIT_FAULT || !mmu || !mmu->watch.met)
        return reason;
    mmu->watch.met = false;
    cpu->fault_addr = mmu->watch.addr;
    cpu->fault_access = mmu->watch.access;
    return VCPU_EXIT_DEBUG;
}

/* One instruction with a look at watchpoints. VCPU_EXIT_NONE, or what the caller has to know. */
static enum vcpu_exit debug_step(struct vcpu *cpu)
{
    struct access_record record = { 0 };
    enum vcpu_exit r = check_watch(cpu, section_advance(cpu, step(cpu, &record)));

    if (leave_for(cpu, r))
        return r;
    if (!record.hit || cpu->no_debug)
        return VCPU_EXIT_NONE;
    cpu->fault_addr = record.addr;
    cpu->fault_access = record.access;
    return VCPU_EXIT_DEBUG;
}

static enum vcpu_exit run_steps(struct vcpu *cpu)
{
    for (;;) {
        if (cpu->poll) {
            cpu->poll = 0;
            return VCPU_EXIT_INTERRUPT;
        }
        enum vcpu_exit r = debug_step(cpu);
        if (r)
            return r;
        if (cpu->single_step) {
            cpu->fault_access = VCPU_FETCH; /* no watchpoint */
            return VCPU_EXIT_DEBUG;
        }
        if (!cpu->dbt->watchpoints->len)
            return VCPU_EXIT_INTERRUPT;
    }
}

/* To vcpu.pc, which is [b]. entry: which one of the cache, + 1; 0: the usual one. */
static void fill_jump_cache(struct vcpu *cpu, const struct block *b, uint32_t entry)
{
    if (cpu->tlb) {
        softmmu_fill_jump(cpu, entry ? entry - 1 : jump_index(cpu->pc), cpu->dbt->cache.rx + b->code);
        return;
    }
    struct jump_cache_entry *e = &cpu->jump_cache[b->pc >> 1 & (VCPU_JUMP_CACHE_SIZE - 1)];
    e->code = cpu->dbt->cache.rx + b->code;
    e->pc = b->pc;
}

/* In system mode the page may have become another one since [from] was found. */
static bool may_link(const struct block *from, const struct block *b)
{
    return !from->crosses && !b->crosses && (from->phys ^ b->phys) >> BLOCK_PAGE_SHIFT == 0;
}

/*
 * Lead the exit [link], or the entry of the invalid block [old], to [b] directly, unless they are
 * older than [generation]. The lock keeps code as it is for a fork. Whoever has it may be waiting
 * for this vCPU to leave: then it is linked the next time.
 */
static void link_block(struct dbt *dbt, uint32_t generation, const struct block_exit *link,
                       const struct block *old, const struct block *b)
{
    if (!dbt_trylock(&dbt->lock))
        return;
    if (dbt->generation == generation) {
        const struct block *from = link ? link->from : old;
        if (!may_link(from, b))
            ; /* each time anew */
        else if (link)
            host_link_exit(dbt, link, b);
        else
            host_redirect_block(dbt, old, b);
    }
    dbt_unlock(&dbt->lock);
}

static void log_entry(struct vcpu *cpu)
{
    const struct dbt *dbt = cpu->dbt;

    if (!dbt_logs(dbt, cpu->pc))
        return;
    if (dbt->config.log & DBT_LOG_EXEC)
        fprintf(dbt->config.log_file, "Trace %u: 0x%" PRIx64 "\n", cpu->index, cpu->pc);
    if (dbt->config.log & DBT_LOG_CPU && dbt->arch->dump) {
        g_autoptr(GString) text = g_string_new(NULL);

        dbt->arch->dump(cpu, dbt->config.log & DBT_LOG_FPU, text);
        fputs(text->str, dbt->config.log_file);
    }
}

/* System mode: where the code for vcpu.pc is, if the jump cache knows; the vCPU is in_code then. */
static const void *find_cached(struct vcpu *cpu)
{
    const struct jump_cache_entry *e;

    if (!cpu->tlb || cpu->dbt->config.no_chain)
        return NULL;
    __atomic_store_n(&cpu->in_code, true, __ATOMIC_SEQ_CST);
    e = &cpu->jumps[jump_index(cpu->pc)];
    if (!__atomic_load_n(&cpu->dbt->flushing, __ATOMIC_SEQ_CST) && !cpu->tlb_request &&
        e->pc == cpu->pc)
        return e->code;
    __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
    return NULL;
}

/* The first block: its code, or (if that isn't known yet) itself. Both NULL: a fault. */
static const void *find_first(struct vcpu *cpu, struct block **b)
{
    const void *code = find_cached(cpu);

    *b = code ? NULL : find_block(cpu, cpu->mode);
    if (*b && cpu->tlb && !(*b)->interpret && !cpu->dbt->config.no_chain)
        fill_jump_cache(cpu, *b, 0);
    return code;
}

/* Run blocks from vcpu.pc on until translated code comes back for something that isn't just the next
 * block. in_code is set while they run, and cleared on return. */
static enum vcpu_exit run_blocks(struct vcpu *cpu)
{
    struct dbt *dbt = cpu->dbt;
    struct block *b;
    const void *code = find_first(cpu, &b);

    while (code || b) {
        uint32_t generation = dbt->generation;
        struct block_exit *link = NULL, exit;
        const struct block *old = NULL;
        uint64_t result = CODE_EXIT_INDIRECT;
        enum vcpu_exit reason = VCPU_EXIT_NONE;

        uint32_t entry = 0;

        if (cpu->tlb)
            cpu->code_at = cpu->pc;
        if (G_UNLIKELY(dbt->config.log & (DBT_LOG_EXEC | DBT_LOG_CPU)))
            log_entry(cpu);
        if (code) {
            result = host_run_code(cpu, code);
            code = NULL;
        } else if (G_UNLIKELY(b->interpret)) {
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
            exit = host_exit_at(dbt, index);
            link = (result & 0xff) == CODE_EXIT_DIRECT ? &exit : NULL;
            cpu->pc = block_pc(cpu, exit.from) + (uint64_t)exit.distance;
            break;
        case CODE_EXIT_INDIRECT: entry = index; break;
        case CODE_EXIT_REDIRECT:
            old = block_find_host(dbt, index);
            cpu->pc = block_pc(cpu, old);
            if (cpu->tlb) /* or the next entry would lead there again, if it isn't redirected now */
                softmmu_forget_jump(cpu);
            break;
        case CODE_EXIT_REASON:
            if (!reason)
                reason = index;
            break;
        case CODE_EXIT_FAULT: reason = VCPU_EXIT_FAULT; break;
        }
        if (reason || cpu->poll) {
            __atomic_store_n(&cpu->in_code, false, __ATOMIC_SEQ_CST);
            return reason;
        }
        b = find_block(cpu, cpu->mode);
        if (!b)
            break;
        if (b->interpret)
            continue;
        if (old || (link && !dbt->config.no_chain))
            link_block(dbt, generation, link, old, b);
        else if (!link && !dbt->config.no_chain)
            fill_jump_cache(cpu, b, entry);
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
    if (cpu->tlb)
        softmmu_sync(cpu);
    for (;;) {
        if (cpu->poll) {
            cpu->poll = 0;
            return VCPU_EXIT_INTERRUPT;
        }
        if (cpu->single_step || (dbt->watchpoints->len && !cpu->tlb))
            return run_steps(cpu);
        if (dbt->config.poll_always)
            cpu->poll = 1;
        enum vcpu_exit reason = cpu->section.on ? run_section(cpu) : run_blocks(cpu);
        if (reason == VCPU_EXIT_DEBUG && cpu->no_debug) {
            struct access_record record = { 0 };
            reason = section_advance(cpu, step(cpu, &record)); /* over a breakpoint of others */
        }
        reason = check_watch(cpu, reason);
        if (leave_for(cpu, reason))
            return reason;
    }
}

/* ---- Debugging ---- */

void dbt_breakpoint_add(struct dbt *dbt, uint64_t pc)
{
    dbt_lock(&dbt->lock);
    g_array_append_val(dbt->breakpoints, pc);
    dbt_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

void dbt_breakpoint_remove(struct dbt *dbt, uint64_t pc)
{
    dbt_lock(&dbt->lock);
    for (unsigned i = 0; i < dbt->breakpoints->len; i++) {
        if (g_array_index(dbt->breakpoints, uint64_t, i) == pc) {
            g_array_remove_index_fast(dbt->breakpoints, i);
            break;
        }
    }
    dbt_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

static void watches_changed(struct dbt *dbt)
{
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next) {
        vcpu_kick(cpu);
        if (cpu->tlb) /* fast entries */
            dbt_tlb_request_flush(cpu);
    }
}

void dbt_watchpoint_add(struct dbt *dbt, uint64_t addr, uint64_t size, int access)
{
    struct dbt_watch w = { .addr = addr, .size = size, .access = access };
    dbt_lock(&dbt->lock);
    g_array_append_val(dbt->watchpoints, w);
    watches_changed(dbt);
    dbt_unlock(&dbt->lock);
}

void dbt_watchpoint_remove(struct dbt *dbt, uint64_t addr, uint64_t size, int access)
{
    dbt_lock(&dbt->lock);
    for (unsigned i = 0; i < dbt->watchpoints->len; i++) {
        const struct dbt_watch *w = &g_array_index(dbt->watchpoints, struct dbt_watch, i);
        if (w->addr == addr && w->size == size && w->access == access) {
            g_array_remove_index_fast(dbt->watchpoints, i);
            watches_changed(dbt);
            break;
        }
    }
    dbt_unlock(&dbt->lock);
}

void dbt_add_intrinsic(struct dbt *dbt, uint64_t pc, const struct ir_helper *helper,
                       unsigned return_reg)
{
    struct dbt_intrinsic in = { .pc = pc, .helper = helper, .return_reg = return_reg };
    dbt_lock(&dbt->lock);
    g_array_append_val(dbt->intrinsics, in);
    dbt_unlock(&dbt->lock);
    dbt_invalidate(dbt, pc, 4);
}

void dbt_set_log(struct dbt *dbt, unsigned log, FILE *file, bool no_chain, dbt_log_filter *filter,
                 const void *opaque)
{
    dbt_lock(&dbt->lock);
    dbt->config.log = log;
    dbt->config.log_file = file;
    dbt->config.no_chain = no_chain;
    dbt->log_filter = filter;
    dbt->log_opaque = opaque;
    if (dbt->n_blocks) /* what is chained and what wasn't logged begin anew */
        flush(dbt, NULL);
    dbt_unlock(&dbt->lock);
}

void dbt_get_stats(struct dbt *dbt, struct dbt_stats *stats)
{
    dbt_lock(&dbt->lock);
    *stats = dbt->stats;
    dbt_unlock(&dbt->lock);
}
