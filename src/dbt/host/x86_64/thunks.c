/*
 * The fixed code at the start of the cache: the ways into and out of translated code.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/softmmu.h"

/* Registers that C code may change. */
static bool caller_saved(int r)
{
    return r >= XMM0 || (r != RBX && r < R12);
}

static void move_homes(struct cg *g, bool store, bool all)
{
    for (int r = 0; r < 32; r++) {
        if (!(g->pinned & 1u << r) || (!all && !caller_saved(r)))
            continue;
        struct mem m = cpu_mem(g->home_disp[g->reg_home[r]]);
        if (r >= XMM0)
            as_rm(&g->s, OP_F2 | OP_0F | (store ? 0x11 : 0x10), false, r - XMM0, m);
        else
            as_rm(&g->s, store ? 0x89 : 0x8b, true, r, m);
    }
}

static uint32_t here(struct cg *g)
{
    as_nops(&g->s, (unsigned)(-(uintptr_t)g->s.p & 15));
    return (uint32_t)(g->s.p - g->dbt->cache.rw);
}

static void mxcsr(struct cg *g, bool store, struct mem m)
{
    as_rm(&g->s, OP_0F | 0xae, false, store ? 3 : 2, m);
}

/* The context of the soft TLB may have become another one. */
static void load_tlb(struct cg *g)
{
    if (g->dbt->config.mmu)
        as_load(&g->s, R12, cpu_mem(CPU_DISP(tlb)));
}

static const uint8_t callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

/* uint64_t enter(struct vcpu *rdi, const void *code rsi) */
static void emit_enter(struct cg *g)
{
    g->dbt->thunks.enter = here(g);
    for (unsigned i = 0; i < 6; i++)
        as_push(&g->s, callee_saved[i]);
    as_alu_ri(&g->s, ALU_SUB, true, RSP, 8);
    as_lea(&g->s, true, RBP, mem_base(RDI, VCPU_BASE_BIAS));
    as_store(&g->s, cpu_mem(CPU_DISP(host_sp)), RSP);
    mxcsr(g, false, cpu_mem(CPU_DISP(mxcsr)));
    as_mov_rr(&g->s, true, RAX, RSI);
    move_homes(g, false, true);
    load_tlb(g);
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(return_stack)));
    as_rr(&g->s, 0xff, false, 4, RAX); /* jmp rax */
}

static void emit_exit(struct cg *g)
{
    struct host_thunks *t = &g->dbt->thunks;
    t->exit = here(g);
    move_homes(g, true, true);
    as_store(&g->s, cpu_mem(CPU_DISP(return_stack)), RSP);
    t->exit_saved = (uint32_t)(g->s.p - g->dbt->cache.rw);
    mxcsr(g, true, cpu_mem(CPU_DISP(mxcsr)));
    mxcsr(g, false, CG_CONST(g, mxcsr_default));
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(host_sp)));
    as_alu_ri(&g->s, ALU_ADD, true, RSP, 8);
    for (int i = 5; i >= 0; i--)
        as_pop(&g->s, callee_saved[i]);
    as_u8(&g->s, 0xc3);
}

/* A call of [at] is followed by [past] bytes, and then by what the offset of is returned. */
static void emit_leave(struct cg *g, uint32_t *at, enum code_exit kind, int past)
{
    *at = here(g);
    as_pop(&g->s, RAX);
    as_lea(&g->s, true, RCX, mem_rip(g->dbt->cache.rw));
    as_alu_rr(&g->s, ALU_SUB, true, RAX, RCX);
    if (past)
        as_alu_ri(&g->s, ALU_ADD, true, RAX, past);
    as_shift_ri(&g->s, SH_SHL, true, RAX, 8);
    as_alu_ri(&g->s, ALU_OR, true, RAX, kind);
    as_jmp(&g->s, g->dbt->cache.rw + g->dbt->thunks.exit);
}

static void emit_leaves(struct cg *g)
{
    struct host_thunks *t = &g->dbt->thunks;

    emit_leave(g, &t->direct, CODE_EXIT_DIRECT, 0);
    emit_leave(g, &t->poll, CODE_EXIT_POLL, 5);         /* the same exit's call of t->direct */
    emit_leave(g, &t->redirect, CODE_EXIT_REDIRECT, 1); /* a nop */
}

static void emit_indirect(struct cg *g)
{
    struct host_thunks *t = &g->dbt->thunks;
    const uint8_t *exit = g->dbt->cache.rw + t->exit;
    t->indirect_miss = here(g);
    const uint8_t *miss = g->s.p;
    as_store(&g->s, cpu_mem(CPU_DISP(pc)), RAX);
    as_mov_imm(&g->s, RAX, CODE_EXIT_INDIRECT);
    as_jmp(&g->s, exit);

    t->ret_underflow = here(g);
    as_mov_imm(&g->s, RAX, RETURN_SENTINEL & ~1ull); /* the guest did return there */

    t->ret_miss = (uint32_t)(g->s.p - g->dbt->cache.rw);
    struct mem entry = { .base = RBP, .index = RCX, .scale = 3, .disp = CPU_DISP(jump_cache) };
    bool mapped = g->dbt->config.mmu;
    if (mapped) {
        as_load(&g->s, RDX, cpu_mem(CPU_DISP(jumps)));
        entry.base = RDX;
        entry.disp = 0;
    }
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(return_stack_top)));
    if (mapped)
        as_store(&g->s, cpu_mem(CPU_DISP(code_at)), RAX);
    as_rm_tail(&g->s, 0x80, false, 7, cpu_mem(CPU_DISP(poll)), 1, false);
    as_u8(&g->s, 0);
    as_jcc(&g->s, CC_NE, miss);
    as_mov_rr(&g->s, false, RCX, RAX);
    as_alu_ri(&g->s, ALU_AND, false, RCX, mapped ? TLB_JUMP_MASK : (VCPU_JUMP_CACHE_SIZE - 1) << 1);
    as_rm(&g->s, 0x39, true, RAX, entry);
    as_jcc(&g->s, CC_NE, miss);
    entry.disp += 8;
    as_rm(&g->s, 0xff, false, 4, entry);
}

/* Call the function in rax on the C stack with vcpu.scratch[] as arguments. */
static void call_c(struct cg *g)
{
    static const uint8_t args[] = { RSI, RDX, RCX, R8 };
    as_store(&g->s, cpu_mem(CPU_DISP(return_stack)), RSP);
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(host_sp)));
    as_lea(&g->s, true, RDI, mem_base(RBP, -VCPU_BASE_BIAS));
    for (unsigned i = 0; i < 4; i++)
        as_load(&g->s, args[i], cpu_mem(CPU_DISP(scratch) + (int)i * 8));
    as_rr(&g->s, 0xff, false, 2, RAX);
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(return_stack)));
}

static void emit_helpers(struct cg *g)
{
    struct host_thunks *t = &g->dbt->thunks;
    struct mem in_helper = cpu_mem(CPU_DISP(in_helper));
    t->helper = here(g);
    move_homes(g, true, false);
    call_c(g);
    move_homes(g, false, false);
    load_tlb(g);
    as_u8(&g->s, 0xc3);

    t->helper_sync = here(g);
    move_homes(g, true, true);
    as_store_imm(&g->s, false, in_helper, 1);
    call_c(g);
    as_store_imm(&g->s, false, in_helper, 0);
    move_homes(g, false, true);
    load_tlb(g);
    as_u8(&g->s, 0xc3);

    t->far_helper = here(g);
    struct mem save = cpu_mem(CPU_DISP(far_save));
    static const uint8_t gprs[] = { RAX, RCX, RDX };
    for (unsigned i = 0; i < 3; i++, save.disp += 8)
        as_store(&g->s, save, gprs[i]);
    for (int i = 0; i < 4; i++, save.disp += 8)
        as_rm(&g->s, OP_F2 | OP_0F | 0x11, false, i, save);
    move_homes(g, true, false);
    as_mov_imm(&g->s, RAX, (uint64_t)(uintptr_t)generic_fp);
    call_c(g);
    as_store(&g->s, cpu_mem(CPU_DISP(scratch) + 24), RAX);
    move_homes(g, false, false);
    save = cpu_mem(CPU_DISP(far_save));
    for (unsigned i = 0; i < 3; i++, save.disp += 8)
        as_load(&g->s, gprs[i], save);
    for (int i = 0; i < 4; i++, save.disp += 8)
        as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, i, save);
    as_u8(&g->s, 0xc3);
}

static void move_scratch(struct cg *g, bool store)
{
    struct mem save = cpu_mem(CPU_DISP(far_save));
    static const uint8_t gprs[] = { RAX, RCX, RDX };
    for (unsigned i = 0; i < 3; i++, save.disp += 8)
        as_rm(&g->s, store ? 0x89 : 0x8b, true, gprs[i], save);
    for (int i = 0; i < 4; i++, save.disp += 8)
        as_rm(&g->s, OP_F2 | OP_0F | (store ? 0x11 : 0x10), false, i, save);
}

/* System mode: an access that isn't in the table. Behind the call is what it is (slow_encode). */
static void emit_slow(struct cg *g)
{
    struct host_thunks *t = &g->dbt->thunks;
    if (!g->dbt->config.mmu)
        return;
    t->slow = here(g);
    move_scratch(g, true);
    move_homes(g, true, true);
    mxcsr(g, true, cpu_mem(CPU_DISP(mxcsr)));
    mxcsr(g, false, CG_CONST(g, mxcsr_default)); /* devices may compute */
    as_load(&g->s, RSI, mem_base(RSP, 0));
    as_store(&g->s, cpu_mem(CPU_DISP(return_stack)), RSP);
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(host_sp)));
    as_lea(&g->s, true, RDI, mem_base(RBP, -VCPU_BASE_BIAS));
    as_mov_imm(&g->s, RAX, (uint64_t)(uintptr_t)softmmu_slow);
    as_rr(&g->s, 0xff, false, 2, RAX); /* call rax */
    as_load(&g->s, RSP, cpu_mem(CPU_DISP(return_stack)));
    mxcsr(g, false, cpu_mem(CPU_DISP(mxcsr)));
    as_rr(&g->s, 0x85, true, RAX, RAX); /* test rax, rax */
    uint8_t *fault = as_jcc_short(&g->s, CC_E);
    load_tlb(g);
    as_store(&g->s, mem_base(RSP, 0), RAX);
    uint8_t *done = as_jmp_short(&g->s);
    as_short_here(&g->s, fault);
    as_lea(&g->s, true, RCX, mem_base(RSP, 8));
    as_store(&g->s, cpu_mem(CPU_DISP(return_stack)), RCX);
    as_mov_imm(&g->s, RAX, CODE_EXIT_FAULT);
    as_jmp(&g->s, g->dbt->cache.rw + t->exit_saved);
    as_short_here(&g->s, done);
    move_homes(g, false, true);
    move_scratch(g, false);
    as_u8(&g->s, 0xc3);
}

static void emit_constants(struct cg *g)
{
    struct cg_constants c = {
        .sign64 = { 1ull << 63, 1ull << 63 },
        .abs64 = { ~(1ull << 63), ~(1ull << 63) },
        .sign32 = { 0x8000000080000000, 0x8000000080000000 },
        .abs32 = { 0x7fffffff7fffffff, 0x7fffffff7fffffff },
        .box32 = { 0xffffffff00000000, 0 },
        .box16 = { 0xffffffffffff0000, 0 },
        .nan64 = 0x7ff8000000000000,
        .nan32 = 0x7fc00000,
        .nan16 = 0x7e00,
        .mxcsr_default = 0x1f80,
    };
    for (unsigned i = 0; i < 64; i++) /* MXCSR: IE 0, DE 1, ZE 2, OE 3, UE 4, PE 5 */
        c.mxcsr_to_flags[i] = (uint8_t)((i & 1 ? IR_FLAG_NV : 0) | (i & 4 ? IR_FLAG_DZ : 0) |
                                        (i & 8 ? IR_FLAG_OF : 0) | (i & 16 ? IR_FLAG_UF : 0) |
                                        (i & 32 ? IR_FLAG_NX : 0));
    g->dbt->thunks.constants = here(g);
    memcpy(g->s.p, &c, sizeof(c));
    g->s.p += sizeof(c);
}

void host_emit_thunks(struct dbt *dbt)
{
    struct cg *g = dbt->host;
    g->s = (struct as){ .p = dbt->cache.rw, .start = dbt->cache.rw,
                        .end = dbt->cache.rw + dbt->cache.size };
    emit_constants(g);
    emit_enter(g);
    emit_exit(g);
    emit_leaves(g);
    emit_indirect(g);
    emit_helpers(g);
    emit_slow(g);
    dbt->cache.fixed = dbt->cache.used = here(g);
}
