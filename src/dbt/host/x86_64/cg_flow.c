/*
 * Control flow: exits, calls and returns on the host's return predictor, helpers, far code.
 *
 * A call pushes the guest's return address and calls; the callee's return compares its target with
 * what was pushed and returns, so that the host predicts it. The code behind the host's call drops
 * the pushed address and goes on at the guest's return address. The stack is a prediction only:
 * when the comparison fails it is reset and the target looked up.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/ir_build.h"
#include "dbt/softmmu.h"

struct far *cg_far(struct cg *g, enum far_kind kind, uint8_t *from)
{
    if (g->n_far == MAX_FAR) {
        g->failed = true;
        g->n_far = 0;
    }
    struct far *f = &g->far[g->n_far++];
    *f = (struct far){ .kind = (uint8_t)kind, .reg = NO_REG, .dest = NO_REG,
                       .src = { NO_REG, NO_REG, NO_REG }, .from = from,
                       .borrowed = (uint16_t)g->borrowed };
    return f;
}

void cg_pc(struct cg *g, int reg, uint64_t pc)
{
    if (!g->u->relative) {
        as_mov_imm(&g->s, reg, pc);
        return;
    }
    for (int r = 0; r < XMM0 && !g->in_far; r++) { /* from an address that is there already */
        const struct ir_op *o = cg_is_home(g, r) ? &g->u->ops[g->home_val[g->reg_home[r]]] : NULL;
        if (o && o->op == IR_PC && ir_fits_int32((int64_t)(pc - o->imm))) {
            as_lea(&g->s, true, reg, mem_base(r, (int32_t)(pc - o->imm)));
            return;
        }
    }
    as_load(&g->s, reg, cpu_mem(CPU_DISP(code_at)));
    as_alu_ri(&g->s, ALU_AND, true, reg, -MMU_PAGE_SIZE);
    if (pc != block_base(g->b))
        as_lea(&g->s, true, reg, mem_base(reg, (int32_t)(pc - block_base(g->b))));
}

/* Where a direct jump goes. */
static bool direct_target(const struct cg *g, const struct ir_op *o, uint64_t *pc)
{
    const struct ir_op *target = &g->u->ops[o->arg[0]];

    *pc = target->imm;
    return target->op == (g->u->relative ? IR_PC : IR_CONST);
}

static const uint8_t *thunk(const struct cg *g, uint32_t offset)
{
    return g->dbt->cache.rw + offset;
}

/* A rel32 is patched while others execute it: it must not cross a cache line. [before]: bytes of
 * the instruction in front of it. */
static void align_rel32(struct cg *g, unsigned before)
{
    unsigned at = (unsigned)((uintptr_t)(g->s.p + before) & 63);
    if (at > 60)
        as_nops(&g->s, 64 - at);
}

/* The rel32 just emitted goes to [pc], for now by way of C. */
static void direct_exit(struct cg *g, uint64_t pc)
{
    cg_far(g, FAR_EXIT, g->s.p)->pc = pc;
}

static void poll(struct cg *g)
{
    as_rm_tail(&g->s, 0x80, false, 7, cpu_mem(CPU_DISP(poll)), 1, false); /* cmp byte, imm8 */
    as_u8(&g->s, 0);
}

/* In front of the direct_exit. */
static void poll_direct(struct cg *g)
{
    poll(g);
    as_jcc(&g->s, CC_NE, g->s.p);
    cg_far(g, FAR_POLL_EXIT, g->s.p);
}

static bool backward(const struct cg *g, uint64_t pc)
{
    return pc <= g->cur_pc;
}

/*
 * May an exit be linked to the block at pc? In system mode only within a page: what another one is
 * depends on the address space. Nor to an instruction that may cross into the next one.
 */
static bool linkable(const struct cg *g, uint64_t pc)
{
    enum { MAX_INSN = 16 }; /* as long as any guest's */
    if (!g->dbt->config.mmu)
        return true;
    return !g->b->crosses && (pc ^ g->u->pc) >> MMU_PAGE_BITS == 0 &&
           (pc & (MMU_PAGE_SIZE - 1)) <= MMU_PAGE_SIZE - MAX_INSN;
}

/* The code at [pc] is next, maybe in another page. */
static void enter_page(struct cg *g, int pc)
{
    if (g->u->relative)
        as_store(&g->s, cpu_mem(CPU_DISP(code_at)), pc);
}

enum { NO_ENTRY = UINT32_MAX };

/*
 * Which entry of the jump cache is for a jump from this unit to pc; NO_ENTRY: that depends on where
 * the code is. Starts of pages are reached from the page before, and have one for themselves.
 */
static uint32_t jump_entry(const struct cg *g, uint64_t pc)
{
    enum { START = 16 };
    uint64_t page = g->b->phys >> MMU_PAGE_BITS;

    if (pc % MMU_PAGE_SIZE < START)
        return (page * 0x9e3779b97f4a7c15) >> (64 - TLB_JUMP_BITS);
    return g->u->relative ? NO_ENTRY : jump_index(pc);
}

/*
 * System mode, at the unit's end or in far code: looks rax up in the jump cache, which is pc, and
 * makes its page the current one. Returns where its code is. Else far code goes on; if it was a
 * call, behind pushing what was called from: then its index is needed, to be told where that is.
 */
static struct mem mapped_jump(struct cg *g, uint64_t pc, unsigned *far_index)
{
    uint32_t n = jump_entry(g, pc);
    struct mem entry = mem_base(RDX, 0);
    struct far *f;

    as_load(&g->s, RDX, cpu_mem(CPU_DISP(jumps)));
    if (n == NO_ENTRY) { /* as in jump_cache */
        as_mov_rr(&g->s, false, RCX, RAX);
        as_alu_ri(&g->s, ALU_AND, false, RCX, TLB_JUMP_MASK);
        entry.index = RCX;
        entry.scale = 3;
    } else {
        entry.disp = (int32_t)(n * sizeof(struct jump_cache_entry));
    }
    as_rm(&g->s, 0x39, true, RAX, entry); /* cmp [entry], rax */
    as_jcc(&g->s, CC_NE, g->s.p);
    *far_index = g->n_far;
    f = cg_far(g, FAR_PAGE, g->s.p);
    f->id = n + 1; /* of NO_ENTRY: 0 */
    enter_page(g, RAX);
    entry.disp += (int32_t)offsetof(struct jump_cache_entry, code);
    return entry;
}

/* Direct jump to pc, which is in rax. */
static void jump_to_rax(struct cg *g, uint64_t pc)
{
    unsigned far_index;
    struct mem entry = mapped_jump(g, pc, &far_index);
    as_rm(&g->s, 0xff, false, 4, entry); /* jmp */
}

static void jump_mapped(struct cg *g, uint64_t pc, bool check_poll)
{
    cg_pc(g, RAX, pc);
    if (check_poll) {
        poll(g);
        as_jcc(&g->s, CC_NE, thunk(g, g->dbt->thunks.indirect_miss));
    }
    jump_to_rax(g, pc);
}

/* To pc, with all homes where they are usually. */
static void jump_direct(struct cg *g, uint64_t pc, bool check_poll)
{
    if (!linkable(g, pc)) {
        jump_mapped(g, pc, check_poll);
        return;
    }
    if (check_poll)
        poll_direct(g);
    align_rel32(g, 1);
    as_jmp(&g->s, g->s.p);
    direct_exit(g, pc);
}

static void op_exit_if(struct cg *g, const struct ir_op *o)
{
    int cc = cg_compare(g, o->aux, o->aux2, o->arg[0], o->arg[1]);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    if (linkable(g, o->imm) && backward(g, o->imm)) { /* a loop */
        uint8_t *over = as_jcc_short(&g->s, cc ^ 1);
        cg_load_homes(g, g->borrowed);
        jump_direct(g, o->imm, true);
        as_short_here(&g->s, over);
    } else if (!linkable(g, o->imm) || g->borrowed) {
        as_jcc(&g->s, cc, g->s.p);
        struct far *f = cg_far(g, FAR_JUMP, g->s.p);
        f->pc = o->imm;
        f->id = backward(g, o->imm);
    } else {
        align_rel32(g, 2);
        as_jcc(&g->s, cc, g->s.p);
        direct_exit(g, o->imm);
    }
}

static ir_val target_value(const struct cg *g, const struct ir_op *o)
{
    return g->skip[o->arg[0]] ? g->u->ops[o->arg[0]].arg[0] : o->arg[0];
}

/* The register that holds the target, which may have its lowest bit set if the masking operation
 * was folded away. */
static int target(struct cg *g, const struct ir_op *o, ir_val *used)
{
    *used = target_value(g, o);
    return cg_gpr(g, *used);
}

/* The jump just emitted goes to guest pc [r]; [mask]: its lowest bit is to be cleared first. */
static void far_indirect(struct cg *g, enum far_kind kind, int r, bool mask)
{
    struct far *f = cg_far(g, kind, g->s.p);
    f->reg = (int8_t)r;
    f->id = mask;
}

/* Look [r] up in the jump cache; the operand of the jump to its code. */
static struct mem jump_cache(struct cg *g, int r, int t, enum far_kind kind, bool mask,
                             unsigned *far_index)
{
    struct mem entry = { .base = RBP, .index = (int8_t)t, .scale = 3,
                         .disp = CPU_DISP(jump_cache) };
    bool mapped = g->dbt->config.mmu;
    if (mapped) {
        int p = cg_scratch(g);
        as_load(&g->s, p, cpu_mem(CPU_DISP(jumps)));
        entry.base = (int8_t)p;
        entry.disp = 0;
    }
    enter_page(g, r);
    poll(g);
    as_jcc(&g->s, CC_NE, g->s.p);
    far_index[0] = g->n_far;
    far_indirect(g, kind, r, mask);
    /* index = (pc >> 1) % size, 16 bytes an entry: (pc & mask) * 8 */
    as_mov_rr(&g->s, false, t, r);
    as_alu_ri(&g->s, ALU_AND, false, t, mapped ? TLB_JUMP_MASK : (VCPU_JUMP_CACHE_SIZE - 1) << 1);
    as_rm(&g->s, 0x39, true, r, entry); /* cmp [entry], r */
    as_jcc(&g->s, CC_NE, g->s.p);
    far_index[1] = g->n_far;
    far_indirect(g, kind, r, mask);
    entry.disp += 8;
    return entry;
}

static void op_jump(struct cg *g, const struct ir_op *o)
{
    uint64_t pc;
    if (direct_target(g, o, &pc)) {
        jump_direct(g, pc, backward(g, pc));
        return;
    }
    ir_val x;
    unsigned far_index[2];
    int r = target(g, o, &x), t = cg_scratch(g);
    struct mem m = jump_cache(g, r, t, FAR_INDIRECT, x != o->arg[0], far_index);
    as_rm(&g->s, 0xff, false, 4, m); /* jmp */
}

static void push_return(struct cg *g, uint64_t pc)
{
    if (g->s.p == g->dbt->cache.rw + g->b->code) /* an entry's first instruction has two bytes */
        as_nops(&g->s, 2);
    for (unsigned r = 0; r < XMM0; r++) {
        ir_val v = cg_is_home(g, (int)r) ? g->home_val[g->reg_home[r]] : 0;
        enum ir_opcode op = g->u->ops[v].op;
        if (v && op == (g->u->relative ? IR_PC : IR_CONST) && g->u->ops[v].imm == pc) {
            as_push(&g->s, (int)r);
            return;
        }
    }
    int t = cg_scratch(g);
    cg_pc(g, t, pc);
    as_push(&g->s, t);
    if (g->dbt->config.mmu) /* needed for the jump cache */
        g->locked &= ~(1u << t);
}

/* System mode: a call into another page. */
static void call_mapped(struct cg *g, uint64_t pc, uint64_t return_pc)
{
    bool check_poll = backward(g, pc);
    unsigned far_index;

    if (check_poll) { /* before anything is pushed */
        cg_pc(g, RAX, pc);
        poll(g);
        as_jcc(&g->s, CC_NE, g->s.p);
        cg_far(g, FAR_INDIRECT, g->s.p)->reg = RAX;
    }
    push_return(g, return_pc);
    cg_pc(g, RAX, pc);
    struct mem entry = mapped_jump(g, pc, &far_index);
    as_rm(&g->s, 0xff, false, 2, entry); /* call */
    g->far[far_index].resume = g->s.p;
}

static void op_call(struct cg *g, const struct ir_op *o)
{
    uint64_t pc, return_pc = o->imm;
    unsigned far_index[2] = { 0, 0 };
    bool direct = direct_target(g, o, &pc);
    if (direct && !linkable(g, pc)) {
        call_mapped(g, pc, return_pc);
    } else if (direct) {
        if (backward(g, pc))
            poll_direct(g);
        push_return(g, return_pc);
        align_rel32(g, 1);
        as_call(&g->s, g->s.p);
        direct_exit(g, pc);
    } else {
        ir_val x;
        int r = target(g, o, &x);
        push_return(g, return_pc);
        int t = cg_scratch(g);
        struct mem m = jump_cache(g, r, t, FAR_INDIRECT_CALL, x != o->arg[0], far_index);
        as_rm(&g->s, 0xff, false, 2, m); /* call */
        g->far[far_index[0]].resume = g->far[far_index[1]].resume = g->s.p;
    }
    if (!linkable(g, return_pc)) {
        as_pop(&g->s, RAX);
        jump_to_rax(g, return_pc);
        return;
    }
    if (g->u->relative) /* the callee may be in another page */
        as_rm(&g->s, 0x8f, false, 0, cpu_mem(CPU_DISP(code_at))); /* pop */
    else
        as_lea(&g->s, true, RSP, mem_base(RSP, 8));
    align_rel32(g, 1);
    as_jmp(&g->s, g->s.p);
    direct_exit(g, return_pc);
}

static void op_ret(struct cg *g, const struct ir_op *o)
{
    uint64_t pc;
    if (direct_target(g, o, &pc)) {
        jump_direct(g, pc, backward(g, pc));
        return;
    }
    ir_val x;
    int r = target(g, o, &x);
    as_rm(&g->s, 0x3b, true, r, mem_base(RSP, 8));
    as_jcc(&g->s, CC_NE, g->s.p);
    far_indirect(g, FAR_RET, r, x != o->arg[0]);
    as_u8(&g->s, 0xc3);
}

static void store_pc(struct cg *g, uint64_t pc)
{
    if (!g->u->relative && (int64_t)pc == (int32_t)pc) {
        as_store_imm(&g->s, true, cpu_mem(CPU_DISP(pc)), (int32_t)pc);
    } else {
        cg_pc(g, RAX, pc);
        as_store(&g->s, cpu_mem(CPU_DISP(pc)), RAX);
    }
}

static void op_exit(struct cg *g, const struct ir_op *o)
{
    store_pc(g, o->imm);
    as_mov_imm(&g->s, RAX, o->aux32 << 8 | CODE_EXIT_REASON);
    as_jmp(&g->s, thunk(g, g->dbt->thunks.exit));
}

static void store_argument(struct cg *g, unsigned i, ir_val v)
{
    struct mem m = cpu_mem(CPU_DISP(scratch) + (int)i * 8);
    if (!v)
        return;
    if (ir_type_is_float(g->u->ops[v].type)) {
        as_rm(&g->s, OP_F2 | OP_0F | 0x11, false, cg_xmm(g, v), m);
    } else {
        struct opnd o = cg_opnd(g, v, true, false);
        if (o.kind == OPND_IMM)
            as_store_imm(&g->s, true, m, o.imm);
        else
            as_store(&g->s, m, o.reg);
    }
    g->locked = 0;
}

/* rax := fn(vcpu, vcpu.scratch[0..3]) */
void cg_helper_call(struct cg *g, ir_helper_fn fn, bool sync)
{
    cg_before_helper(g, sync);
    as_mov_imm(&g->s, RAX, (uint64_t)(uintptr_t)fn);
    as_call(&g->s, thunk(g, sync ? g->dbt->thunks.helper_sync : g->dbt->thunks.helper));
    cg_after_helper(g, sync);
    g->locked = 1u << RAX;
}

static void bind_rax(struct cg *g, ir_val v, enum ir_type type)
{
    if (type == IR_VOID)
        return;
    if (ir_type_is_float(type)) {
        int d = cg_dest_xmm(g, v);
        as_rr(&g->s, OP_66 | OP_0F | 0x6e, true, d, RAX); /* movq */
        cg_bind(g, v, d + XMM0);
    } else {
        cg_result_in(g, v, RAX);
    }
}

void cg_call_generic(struct cg *g, ir_val v, const struct ir_op *o, ir_helper_fn fn, uint64_t attr)
{
    for (unsigned i = 0; i < 3; i++)
        store_argument(g, i, o->arg[i]);
    as_store_imm(&g->s, true, cpu_mem(CPU_DISP(scratch) + 24), (int32_t)attr);
    for (unsigned i = 0; i < 3; i++)
        cg_use(g, o->arg[i]);
    cg_helper_call(g, fn, false);
    bind_rax(g, v, o->type);
}

static void op_helper(struct cg *g, ir_val v, const struct ir_op *o)
{
    const struct ir_helper *h = (const struct ir_helper *)(uintptr_t)o->imm;
    bool sync = h->flags & (IR_HELPER_SYNC | IR_HELPER_MAY_EXIT);
    if (cg_native_helper(g, v, o, h->native))
        return;
    for (unsigned i = 0; i < 4; i++)
        store_argument(g, i, o->arg[i]);
    for (unsigned i = 0; i < 4; i++)
        cg_use(g, o->arg[i]);
    if (sync) {
        cg_before_helper(g, true);
        store_pc(g, g->cur_pc);
    }
    cg_helper_call(g, h->fn, sync);
    if (h->flags & IR_HELPER_MAY_EXIT) {
        as_alu_mi(&g->s, ALU_CMP, false, cpu_mem(CPU_DISP(exit_reason)), 0);
        as_jcc(&g->s, CC_NE, g->s.p);
        cg_far(g, FAR_REASON, g->s.p);
    }
    bind_rax(g, v, o->type);
}

void cg_flow_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    if (g->borrowed && o->op != IR_EXIT_IF) {
        uint64_t pc;
        if (ir_op_flags[o->op] & IR_E && o->op != IR_EXIT && !direct_target(g, o, &pc))
            cg_move_borrowed(g, target_value(g, o));
        cg_return_borrowed(g);
        g->locked = 0;
    }
    switch (o->op) {
    case IR_EXIT_IF: op_exit_if(g, o); break;
    case IR_JUMP: op_jump(g, o); break;
    case IR_CALL: op_call(g, o); break;
    case IR_RET: op_ret(g, o); break;
    case IR_EXIT: op_exit(g, o); break;
    case IR_HELPER: op_helper(g, v, o); break;
    }
}

static void far_target(struct cg *g, const struct far *f)
{
    if (f->reg != RAX)
        as_mov_rr(&g->s, true, RAX, f->reg);
    if (f->id)
        as_alu_ri(&g->s, ALU_AND, true, RAX, -2);
}

static void far_fp_helper(struct cg *g, const struct far *f)
{
    for (unsigned i = 0; i < 3; i++)
        if (f->src[i] != NO_REG)
            as_rm(&g->s, OP_F2 | OP_0F | 0x11, false, f->src[i] - XMM0,
                  cpu_mem(CPU_DISP(scratch) + (int)i * 8));
    struct mem result = cpu_mem(CPU_DISP(scratch) + 24);
    as_store_imm(&g->s, true, result, (int32_t)f->id);
    as_call(&g->s, thunk(g, g->dbt->thunks.far_helper));
    if (f->dest >= XMM0)
        as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, f->dest - XMM0, result);
    else
        as_load(&g->s, f->dest, result);
    as_jmp(&g->s, f->resume);
}

static void far_align(struct cg *g, const struct far *f)
{
    as_store(&g->s, cpu_mem(CPU_DISP(fault_addr)), f->reg);
    as_rm_tail(&g->s, 0xc6, false, 0, cpu_mem(CPU_DISP(fault_kind)), 1, false);
    as_u8(&g->s, VCPU_FAULT_ALIGN);
    as_rm_tail(&g->s, 0xc6, false, 0, cpu_mem(CPU_DISP(fault_access)), 1, false);
    as_u8(&g->s, f->access);
    store_pc(g, f->pc);
    as_mov_imm(&g->s, RAX, VCPU_EXIT_FAULT << 8 | CODE_EXIT_REASON);
    as_jmp(&g->s, thunk(g, g->dbt->thunks.exit));
}

static void far_word(struct cg *g, const struct far *f)
{
    cg_load_homes(g, f->borrowed);
    store_pc(g, f->pc);
    as_mov_imm(&g->s, RAX, VCPU_EXIT_WORD << 8 | CODE_EXIT_REASON);
    as_jmp(&g->s, thunk(g, g->dbt->thunks.exit));
}

static void far_reason(struct cg *g)
{
    struct mem m = cpu_mem(CPU_DISP(exit_reason));
    as_rm(&g->s, 0x8b, false, RAX, m);
    as_shift_ri(&g->s, SH_SHL, false, RAX, 8);
    as_alu_ri(&g->s, ALU_OR, false, RAX, CODE_EXIT_REASON);
    as_store_imm(&g->s, false, m, 0);
    as_jmp(&g->s, thunk(g, g->dbt->thunks.exit));
}

/* Afterwards registers hold whole values, which is no less than what the code behind it expects. */
static void far_late_stores(struct cg *g, const struct far *f)
{
    for (unsigned i = 0; i < f->n_late; i++) {
        const struct late_store *l = &g->late_stores[f->late + i];
        struct mem home = cpu_mem(g->home_disp[l->home]);
        if (l->narrow)
            cg_sign_extend(g, 4, l->reg, l->reg);
        if (l->reg == NO_REG)
            as_store_imm(&g->s, true, home, l->imm);
        else
            as_store(&g->s, home, l->reg);
    }
}

static struct mem borrow_save(int r)
{
    return cpu_mem(CPU_DISP(borrow_save) + r * 8);
}

/*
 * What is in borrowed registers is saved, and they are homes during the call; it comes back to the
 * code that is in front of it here. What was to be stored from one is in the vCPU then. Nothing is
 * loaded into one (cg_mapped_load).
 */
static void far_slow_borrowed(struct cg *g, struct far *f)
{
    struct slow_access *a = &f->slow;
    uint8_t *done = g->s.p;

    if (a->value == SLOW_VALUE_IN_REG && f->borrowed & 1u << a->value_reg) {
        a->value = SLOW_VALUE_IN_STATE;
        a->imm = borrow_save(a->value_reg).disp;
    }
    for (int r = 0; r < XMM0; r++)
        if (f->borrowed & 1u << r)
            as_load(&g->s, r, borrow_save(r));
    as_jmp(&g->s, f->resume);
    f->resume = done;

    as_patch_rel32(f->from, g->s.p);
    far_late_stores(g, f);
    for (int r = 0; r < XMM0; r++)
        if (f->borrowed & 1u << r)
            as_store(&g->s, borrow_save(r), r);
    cg_load_homes(g, f->borrowed);
}

static void far_slow(struct cg *g, struct far *f)
{
    if (f->borrowed)
        far_slow_borrowed(g, f);
    else
        far_late_stores(g, f);
    as_call(&g->s, thunk(g, g->dbt->thunks.slow));
    size_t back = (size_t)(g->s.p - f->resume);
    if (back > SLOW_MAX_BACK)
        g->failed = true;
    g->s.p = slow_encode(g->s.p, &f->slow, (unsigned)back);
}

static void far_jump(struct cg *g, const struct far *f)
{
    cg_load_homes(g, f->borrowed);
    jump_direct(g, f->pc, f->id);
}

/* What mapped_jump didn't find: rax = guest pc. */
static void far_page(struct cg *g, const struct far *f)
{
    if (f->resume) {
        as_lea(&g->s, true, RCX, mem_rip(f->resume));
        as_push(&g->s, RCX);
    }
    as_store(&g->s, cpu_mem(CPU_DISP(pc)), RAX);
    as_mov_imm(&g->s, RAX, (uint64_t)f->id << 8 | CODE_EXIT_INDIRECT);
    as_jmp(&g->s, thunk(g, g->dbt->thunks.exit));
}

void cg_emit_far(struct cg *g)
{
    const struct host_thunks *t = &g->dbt->thunks;
    g->in_far = true;
    for (unsigned i = 0; i < g->n_far && g->s.p < g->s.end; i++) {
        struct far *f = &g->far[i];
        as_patch_rel32(f->from, g->s.p);
        switch (f->kind) {
        case FAR_POLL_EXIT: as_call(&g->s, thunk(g, t->poll)); break;
        case FAR_EXIT:
            as_call(&g->s, thunk(g, t->direct));
            g->failed |= g->s.p - f->from > EXIT_MAX_BACK;
            g->s.p = exit_encode(g->s.p, g->b, f->pc, (unsigned)(g->s.p - f->from));
            break;
        case FAR_INDIRECT:
            far_target(g, f);
            as_jmp(&g->s, thunk(g, t->indirect_miss));
            break;
        case FAR_INDIRECT_CALL:
            far_target(g, f);
            as_lea(&g->s, true, RCX, mem_rip(f->resume));
            as_push(&g->s, RCX);
            as_jmp(&g->s, thunk(g, t->indirect_miss));
            break;
        case FAR_RET:
            far_target(g, f);
            as_jmp(&g->s, thunk(g, t->ret_miss));
            break;
        case FAR_ALIGN: far_align(g, f); break;
        case FAR_LOAD_CONST:
            as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, f->dest, mem_rip(f->target));
            as_jmp(&g->s, f->resume);
            break;
        case FAR_FP_HELPER: far_fp_helper(g, f); break;
        case FAR_WORD: far_word(g, f); break;
        case FAR_REASON: far_reason(g); break;
        case FAR_SLOW: far_slow(g, f); break;
        case FAR_JUMP: far_jump(g, f); break;
        case FAR_PAGE: far_page(g, f); break;
        }
    }
}
