/*
 * From guest code to a block: lifts an extended block, runs the passes, has the back end compile
 * it.
 */
#include <string.h>

#include "dbt/dbt_priv.h"
#include "dbt/softmmu.h"

static size_t fetch_guest(struct vcpu *cpu, uint64_t pc, void *buf, size_t size, bool *stable)
{
    const struct dbt_config *c = &cpu->dbt->config;

    if (!c->mmu)
        return c->fetch(c->opaque, pc, buf, size, stable);
    *stable = true; /* all stores are noticed */
    return softmmu_fetch(cpu, pc, buf, size);
}

/* Guest code is fetched in pieces, since asking for it takes a lock and a look-up. */
struct window {
    struct vcpu *cpu;
    bool one_page;       /* code behind its page isn't to be had */
    uint64_t start;
    size_t size;
    bool stable;
    uint8_t bytes[256];
};

/* Before code is read, stores to its page must be noticed. */
static bool mark_page(struct vcpu *cpu, uint64_t pc, uint64_t *phys)
{
    const struct mmu_page *page = softmmu_page(cpu, pc, VCPU_FETCH);

    if (!page)
        return false;
    *phys = page->phys + (pc & (MMU_PAGE_SIZE - 1));
    code_pages_mark(cpu, page->phys);
    return true;
}

/* Code behind pc's page is not for this block. */
static bool ends_window(struct window *w, uint64_t pc)
{
    uint64_t next = ((pc >> BLOCK_PAGE_SHIFT) + 1) << BLOCK_PAGE_SHIFT, phys;

    if (!w->cpu->dbt->config.mmu)
        return false;
    return w->one_page || !mark_page(w->cpu, next, &phys);
}

static size_t window_fetch(void *opaque, uint64_t pc, void *buf, size_t size)
{
    struct window *w = opaque;
    uint64_t offset = pc - w->start; /* compared so, nothing overflows at the end of the addresses */
    if (offset >= w->size || w->size - offset < size) {
        size_t want = 4096 - (pc & 4095);
        bool stable;
        if (want > sizeof(w->bytes))
            want = sizeof(w->bytes);
        if (want < size && !ends_window(w, pc))
            want = size; /* crosses a page */
        w->start = pc;
        offset = 0;
        w->size = fetch_guest(w->cpu, pc, w->bytes, want, &stable);
        if (w->size)
            w->stable &= stable;
    }
    size_t n = w->size - offset;
    if (n > size)
        n = size;
    memcpy(buf, w->bytes + offset, n);
    return n;
}

/* False if the block would come from too many pages. */
static bool add_page(struct block *b, uint64_t addr)
{
    uint64_t page = addr >> BLOCK_PAGE_SHIFT;
    for (unsigned i = 0; i < b->n_pages; i++)
        if (b->pages[i].page == page)
            return true;
    if (b->n_pages == BLOCK_MAX_PAGES)
        return false;
    b->pages[b->n_pages++].page = page;
    return true;
}

static bool is_breakpoint(const struct dbt *dbt, uint64_t pc)
{
    for (unsigned i = 0; i < dbt->breakpoints->len; i++)
        if (g_array_index(dbt->breakpoints, uint64_t, i) == pc)
            return true;
    return false;
}

static const struct dbt_intrinsic *find_intrinsic(const struct dbt *dbt, uint64_t pc)
{
    for (unsigned i = 0; i < dbt->intrinsics->len; i++) {
        const struct dbt_intrinsic *in = &g_array_index(dbt->intrinsics, struct dbt_intrinsic, i);
        if (in->pc == pc)
            return in;
    }
    return NULL;
}

static void lift_intrinsic(struct ir_unit *u, const struct dbt_intrinsic *in)
{
    ir_insn(u, in->pc, 2);
    ir_helper(u, IR_VOID, in->helper, 0, 0, 0, 0);
    ir_ret(u, ir_get(u, in->return_reg));
}

/* Is a jump worth following? Backward ones close loops: there the block ends and polls. */
static bool follow(const struct lift_ctx *ctx, const struct block *b, unsigned max_insns)
{
    return ctx->next_pc > ctx->pc && ctx->u->n_insns < max_insns / 2 &&
           b->n_pages < BLOCK_MAX_PAGES - 1;
}

/*
 * System mode: a block stays in its page, since it depends on the address space what the next one
 * is. But an instruction that crosses into the next one is a block by itself.
 */
static bool may_lift(const struct vcpu *cpu, struct block *b, uint64_t pc)
{
    if (cpu->tlb)
        return !b->crosses && pc >> BLOCK_PAGE_SHIFT == b->pc >> BLOCK_PAGE_SHIFT;
    return add_page(b, pc) && add_page(b, pc + 3);
}

static bool start_page(struct vcpu *cpu, struct block *b)
{
    uint64_t phys;

    if (!cpu->tlb)
        return add_page(b, b->pc);
    if (!mark_page(cpu, b->pc, &phys))
        return false;
    b->phys = phys;
    return add_page(b, phys);
}

/* After the first instruction. */
static void check_crossing(struct vcpu *cpu, const struct ir_unit *u, struct block *b)
{
    uint64_t last, next;
    unsigned i = 1;

    while (i < u->n_ops && u->ops[i].op != IR_INSN)
        i++;
    if (!cpu->tlb || i == u->n_ops)
        return;
    last = b->pc + (u->ops[i].aux32 - 1);
    if ((last ^ b->pc) >> BLOCK_PAGE_SHIFT && mark_page(cpu, last & ~0xfffull, &next)) {
        b->crosses = true;
        add_page(b, next);
    }
}

enum translate_result dbt_lift(struct vcpu *cpu, uint64_t pc, uint32_t mode, unsigned max_insns,
                               struct block *b)
{
    struct dbt *dbt = cpu->dbt;
    struct ir_unit *u = dbt->unit;
    struct window w = { .cpu = cpu, .stable = true };
    struct lift_ctx ctx = { .u = u, .pc = pc, .next_pc = pc, .mode = mode, .model = cpu->model,
                            .fetch = window_fetch, .fetch_opaque = &w };
    const struct dbt_intrinsic *in = find_intrinsic(dbt, pc);
    struct ir_mark mark;

    ir_unit_reset(u, dbt->arch, pc, mode);
    u->relative = block_is_relative(dbt, mode);
    b->n_pages = 0;
    b->size = 1; /* also if it has no instruction: a breakpoint, an intrinsic */
    if (!start_page(cpu, b))
        return TRANSLATE_FETCH_FAULT;
    if (in) {
        lift_intrinsic(u, in);
        b->unstable = false;
        return TRANSLATE_OK;
    }
    for (;;) {
        if (!b->no_debug && is_breakpoint(dbt, ctx.pc)) {
            if (ctx.pc == pc)
                ir_exit(u, VCPU_EXIT_DEBUG, pc);
            break;
        }
        if (u->n_insns == max_insns || !may_lift(cpu, b, ctx.pc))
            break;
        ir_unit_mark(u, &mark);
        enum lift_result r = dbt->arch->lift(&ctx);
        if (r == LIFT_FETCH_FAULT) {
            if (ctx.pc == pc)
                return TRANSLATE_FETCH_FAULT;
            break;
        }
        if (u->overflow) {
            ir_unit_rewind(u, &mark);
            break;
        }
        b->size = (uint32_t)(ctx.pc + 4 - pc); /* jumps that are followed go forward */
        if (!w.one_page)
            check_crossing(cpu, u, b);
        w.one_page = true;
        if (r == LIFT_END || u->ended)
            break;
        if (r == LIFT_JUMP && !follow(&ctx, b, max_insns)) {
            ctx.pc = ctx.next_pc;
            break;
        }
        ctx.pc = ctx.next_pc;
    }
    if (!u->ended)
        ir_jump(u, ir_pc(u, ctx.pc));
    b->unstable = !w.stable;
    return TRANSLATE_OK;
}

void dbt_log_guest_code(struct vcpu *cpu, const struct ir_unit *u, FILE *f)
{
    char text[128];
    for (unsigned i = 1; i < u->n_ops; i++) {
        if (u->ops[i].op != IR_INSN)
            continue;
        uint8_t bytes[16] = { 0 };
        bool stable;
        size_t n = fetch_guest(cpu, u->ops[i].imm, bytes, u->ops[i].aux32, &stable);
        cpu->arch->disassemble(bytes, n, u->ops[i].imm, text, sizeof(text));
        fprintf(f, "0x%08" PRIx64 ":  ", u->ops[i].imm);
        for (size_t k = n; k-- > 0;)
            fprintf(f, "%02x", bytes[k]);
        fprintf(f, "%*s%s\n", (int)(12 - 2 * n), "", text);
    }
}

static void keep_ir(struct dbt *dbt, struct block *b)
{
    const struct ir_unit *u = dbt->unit;
    b->ir = dbt_arena_alloc(dbt, sizeof(*u));
    *b->ir = *u;
    b->ir->ops = dbt_arena_alloc(dbt, u->n_ops * sizeof(u->ops[0]));
    memcpy(b->ir->ops, u->ops, u->n_ops * sizeof(u->ops[0]));
    b->code = b->code_far = b->code_end = (uint32_t)dbt->cache.used;
}

static void log_lifted(struct vcpu *cpu, FILE *f)
{
    const struct dbt *dbt = cpu->dbt;

    if (dbt->config.log & DBT_LOG_IN_ASM) {
        fprintf(f, "----------------\nIN:\n");
        dbt_log_guest_code(cpu, dbt->unit, f);
    }
    if (dbt->config.log & DBT_LOG_OP) {
        fprintf(f, "OP:\n");
        ir_print(dbt->unit, f);
    }
}

/* Makes what was filled in known. */
static struct block *add_block(struct dbt *dbt, const struct block *from)
{
    struct block *b = dbt_arena_alloc(dbt, sizeof(*b) + from->n_pages * sizeof(b->pages[0]));

    *b = *from;
    b->pages = (struct page_link *)(b + 1);
    memcpy(b->pages, from->pages, b->n_pages * sizeof(b->pages[0]));
    if (dbt->perf)
        perf_block(dbt, b);
    dbt->stats.blocks++;
    dbt->stats.guest_insns += b->n_insns;
    dbt->stats.host_bytes += b->code_end - b->code;
    block_insert(dbt, b);
    return b;
}

enum translate_result dbt_translate(struct vcpu *cpu, uint64_t pc, uint32_t mode,
                                    struct block **out)
{
    struct dbt *dbt = cpu->dbt;
    bool interpret = dbt->config.interpreter || mode & MODE_ONE_INSN;
    unsigned max_insns = dbt->config.one_insn || mode & MODE_ONE_INSN ? 1 : dbt->config.max_insns;
    FILE *f = dbt->config.log_file;
    bool logs = dbt_logs(dbt, pc);
    struct page_link pages[BLOCK_MAX_PAGES];
    struct block b;

    if (dbt->n_blocks == dbt->max_blocks)
        return TRANSLATE_FULL;
    if (dbt->config.flush_every && dbt->n_blocks >= dbt->config.flush_every)
        return TRANSLATE_FULL;
    for (;;) {
        b = (struct block){
            .pc = pc,
            .relative = block_is_relative(dbt, mode),
            .keyed = block_key(dbt, pc, mode) != 0,
            .mode = mode,
            .index = dbt->n_blocks,
            .pages = pages,
        };
        enum translate_result r = dbt_lift(cpu, pc, mode & ~MODE_ONE_INSN, max_insns, &b);
        if (r != TRANSLATE_OK)
            return r;
        if (logs)
            log_lifted(cpu, f);
        ir_optimize(dbt->unit);
        if (logs && dbt->config.log & DBT_LOG_OP_OPT) {
            fprintf(f, "OP after optimization:\n");
            ir_print(dbt->unit, f);
        }
        if (dbt->config.verify) {
            char *error = NULL;
            if (!ir_verify(dbt->unit, &error))
                g_error("internal error: bad IR for guest pc 0x%" PRIx64 ": %s", pc, error);
        }
        b.n_insns = (uint16_t)dbt->unit->n_insns;
        bool too_big = false;
        b.interpret = interpret;
        if (interpret || dbt->config.lockstep)
            keep_ir(dbt, &b);
        if (interpret || host_compile(dbt, dbt->unit, &b, &too_big))
            break;
        if (!too_big)
            return TRANSLATE_FULL;
        if (dbt->unit->n_insns <= 1) { /* one instruction needs too many registers: interpret it */
            keep_ir(dbt, &b);
            b.interpret = true;
            break;
        }
        max_insns = dbt->unit->n_insns / 2;
    }
    if (logs && dbt->config.log & DBT_LOG_OUT_ASM && !b.interpret)
        host_log_code(dbt, &b, f);
    *out = add_block(dbt, &b);
    return TRANSLATE_OK;
}
