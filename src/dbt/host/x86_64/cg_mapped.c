/*
 * Memory operations behind a guest's MMU (system mode). softmmu.h says how the tables are made;
 * r12 points to the current context, which starts with them.
 *
 * An access is: [t] := address; look up, which leaves the host address in t or goes to far code;
 * the access itself; here far code comes back. Between the look-up and that place nothing may be
 * emitted that far code doesn't do as well (softmmu_slow in slow.c): so all registers are found
 * before the look-up.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/softmmu.h"

static bool is_scratch(const struct cg *g, int reg)
{
    return !cg_is_home(g, reg);
}

static void unlock(struct cg *g, int reg)
{
    g->locked &= ~(1u << reg);
}

/* The guest address v + offset in a scratch register of its own. */
static int address(struct cg *g, ir_val v, int64_t offset)
{
    uint64_t c;

    if (cg_const(g, v, &c)) {
        int t = cg_scratch_abc(g);
        as_mov_imm(&g->s, t, c + (uint64_t)offset);
        return t;
    }
    int r = cg_gpr(g, v), t = cg_scratch_abc(g);
    if (offset)
        as_lea(&g->s, true, t, mem_base(r, (int32_t)offset));
    else
        as_mov_rr(&g->s, true, t, r);
    if (is_scratch(g, r))
        unlock(g, r);
    return t;
}

/* For atomics; leaves if it is misaligned. */
static int atomic_address(struct cg *g, const struct ir_op *o)
{
    int t = address(g, o->arg[0], 0);

    if (o->aux & IR_MEM_ALIGN && ir_type_bytes(o->aux2) > 1)
        cg_check_alignment(g, o, t);
    return t;
}

/* t: the guest address, becomes the host's; [index]: a scratch register that isn't needed
 * behind it. Both are rax, rcx or rdx. */
static struct far *look_up(struct cg *g, const struct ir_op *o, int t, int index, bool write)
{
    struct mem entry = { .base = R12, .index = (int8_t)index,
                         .disp = write ? (int32_t)offsetof(struct tlb_context, write) :
                                         (int32_t)offsetof(struct tlb_context, read) };
    struct far *f;

    if (g->dbt->features.bmi2) { /* what rorx leaves in the upper bits isn't in the mask */
        as_vex(&g->s, OP_F2 | OP_3A | 0xf0, false, index, 0, t);
        as_u8(&g->s, MMU_PAGE_BITS - 4);
    } else {
        as_mov_rr(&g->s, false, index, t);
        as_shift_ri(&g->s, SH_SHR, false, index, MMU_PAGE_BITS - 4);
    }
    as_alu_rm(&g->s, ALU_AND, false, index,
              mem_base(R12, offsetof(struct tlb_context, index_mask)));
    as_alu_rm(&g->s, ALU_XOR, true, t, entry);
    as_alu_ri(&g->s, ALU_CMP, true, t, MMU_PAGE_SIZE - (int32_t)ir_type_bytes(o->aux2));
    if (g->dbt->config.far_paths)
        as_jmp(&g->s, g->s.p);
    else
        as_jcc(&g->s, CC_A, g->s.p);
    f = cg_far(g, FAR_SLOW, g->s.p);
    cg_late_in_far(g, f);
    f->slow = (struct slow_access){
        .pc = g->cur_pc - block_base(g->b),
        .op = o->op,
        .mem = o->aux2,
        .kind = (uint8_t)o->aux32,
        .is_signed = o->op != IR_LOAD || o->aux & IR_MEM_SIGNED,
        .relative = g->u->relative,
        .write = write,
        .offset_reg = (int8_t)t,
        .index_reg = (int8_t)index,
        .dest_reg = NO_REG,
    };
    entry.disp += (int32_t)offsetof(struct tlb_entry, host);
    as_alu_rm(&g->s, ALU_ADD, true, t, entry);
    return f;
}

static void slow_value(struct far *f, struct opnd s)
{
    switch (s.kind) {
    case OPND_REG:
        f->slow.value = SLOW_VALUE_IN_REG;
        f->slow.value_reg = (int8_t)s.reg;
        break;
    case OPND_IMM:
        f->slow.value = SLOW_VALUE_IMM;
        f->slow.imm = s.imm;
        break;
    case OPND_MEM:
        f->slow.value = SLOW_VALUE_IN_STATE;
        f->slow.imm = s.mem.disp;
        break;
    }
}

void cg_mapped_load(struct cg *g, ir_val v, const struct ir_op *o)
{
    int t = address(g, o->arg[0], (int64_t)o->imm), index = cg_scratch_abc(g), d;

    cg_use(g, o->arg[0]);
    if (ir_type_is_float(o->aux2)) {
        d = cg_dest_xmm(g, v) + XMM0;
    } else {
        g->dying[0] = (int8_t)t; /* the host address dies with the access */
        d = cg_dest(g, v);
    }
    struct far *f = look_up(g, o, t, index, false);
    f->slow.dest_reg = (int8_t)d;
    if (o->aux2 == IR_F16) {
        as_rm(&g->s, OP_0F | 0xb7, false, t, mem_base(t, 0));
        as_rr(&g->s, OP_66 | OP_0F | 0x6e, false, d - XMM0, t); /* movd */
    } else {
        cg_load_from(g, o, d, mem_base(t, 0));
    }
    f->resume = g->s.p;
    cg_bind(g, v, d);
}

void cg_mapped_store(struct cg *g, const struct ir_op *o)
{
    int t = address(g, o->arg[0], (int64_t)o->imm);
    ir_val v = o->arg[1];
    struct opnd s = { .kind = OPND_REG };

    if (!ir_type_is_float(g->u->ops[v].type)) {
        s = (o->aux2 == IR_I64 ? cg_opnd : cg_opnd_low)(g, v, true, false);
    } else if (o->aux2 == IR_F16 || o->aux2 == IR_I16) {
        int r = cg_xmm(g, v);
        s.reg = cg_scratch(g);
        as_rr(&g->s, OP_66 | OP_0F | 0x7e, false, r, s.reg); /* movd */
    } else {
        s.reg = cg_xmm(g, v) + XMM0;
    }
    struct far *f = look_up(g, o, t, cg_scratch_abc(g), true);
    slow_value(f, s);
    cg_store_to(g, o, s, mem_base(t, 0));
    f->resume = g->s.p;
    if (o->aux & IR_MEM_RELEASE) /* a later load with acquire order must not pass it */
        cg_fence(g);
    cg_use(g, o->arg[0]);
    cg_use(g, v);
}

/* ---- Atomics ---- */

/* swap and add are one instruction. */
static void amo_exchange(struct cg *g, ir_val v, const struct ir_op *o)
{
    unsigned size = ir_type_bytes(o->aux2);
    int t = atomic_address(g, o);
    struct opnd s = cg_opnd(g, o->arg[1], true, true);
    int old = cg_scratch(g);
    struct far *f = look_up(g, o, t, old, true);

    slow_value(f, s);
    f->slow.dest_reg = (int8_t)old;
    cg_mov_to(g, old, s, true);
    if (o->aux32 == IR_AMO_ADD) {
        cg_lock(g);
        cg_sized_rm(g, OP_0F | 0xc1, size, old, mem_base(t, 0));
    } else {
        cg_sized_rm(g, 0x87, size, old, mem_base(t, 0));
    }
    cg_sign_extend(g, size, old, old);
    f->resume = g->s.p;
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, old);
}

/* Without a use of the old value. */
static void amo_no_result(struct cg *g, const struct ir_op *o, int alu)
{
    int t = atomic_address(g, o), r = cg_gpr(g, o->arg[1]);
    struct far *f = look_up(g, o, t, cg_scratch(g), true);

    slow_value(f, (struct opnd){ .kind = OPND_REG, .reg = r });
    cg_lock(g);
    cg_sized_rm(g, (unsigned)alu << 3 | 1, ir_type_bytes(o->aux2), r, mem_base(t, 0));
    f->resume = g->s.p;
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
}

/* The others: a loop around cmpxchg, old value in rax. */
static void amo_loop(struct cg *g, ir_val v, const struct ir_op *o)
{
    cg_take(g, RAX);
    int t = atomic_address(g, o);
    struct opnd s = cg_opnd(g, o->arg[1], true, true);
    if (s.kind == OPND_REG && is_scratch(g, s.reg)) { /* there is no register left for it */
        struct mem m = cpu_mem(CPU_DISP(scratch));
        as_store(&g->s, m, s.reg);
        unlock(g, s.reg);
        s = (struct opnd){ .kind = OPND_MEM, .mem = m };
    }
    int x = cg_scratch(g);
    struct far *f = look_up(g, o, t, RAX, true);

    slow_value(f, s);
    f->slow.dest_reg = RAX;
    cg_amo_loop(g, o, x, s, mem_base(t, 0));
    f->resume = g->s.p;
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, RAX);
}

void cg_mapped_amo(struct cg *g, ir_val v, const struct ir_op *o)
{
    int alu = cg_amo_alu(o);

    if (!g->uses[v] && alu >= 0)
        amo_no_result(g, o, alu);
    else if (o->aux32 <= IR_AMO_ADD)
        amo_exchange(g, v, o);
    else
        amo_loop(g, v, o);
}

void cg_mapped_cas(struct cg *g, ir_val v, const struct ir_op *o)
{
    struct mem expected = cpu_mem(CPU_DISP(scratch));
    unsigned size = ir_type_bytes(o->aux2);

    cg_take(g, RAX);
    cg_mov_to(g, RAX, cg_opnd(g, o->arg[1], true, true), true);
    cg_unlock(g, 1u << RAX);
    as_store(&g->s, expected, RAX); /* rax is needed for the look-up, too */
    int t = atomic_address(g, o), desired = cg_gpr(g, o->arg[2]);
    struct far *f = look_up(g, o, t, RAX, true);
    slow_value(f, (struct opnd){ .kind = OPND_REG, .reg = desired });
    f->slow.dest_reg = RAX;
    as_load(&g->s, RAX, expected);
    cg_lock(g);
    cg_sized_rm(g, OP_0F | 0xb1, size, desired, mem_base(t, 0));
    cg_sign_extend(g, size, RAX, RAX);
    f->resume = g->s.p;
    for (int i = 0; i < 3; i++)
        cg_use(g, o->arg[i]);
    cg_result_in(g, v, RAX);
}

void cg_mapped_ldx(struct cg *g, ir_val v, const struct ir_op *o)
{
    unsigned size = ir_type_bytes(o->aux2);
    int t = atomic_address(g, o), index;
    struct mem address = cpu_mem(CPU_DISP(excl_addr));

    if (o->aux & IR_MEM_RELEASE)
        cg_fence(g);
    as_store(&g->s, cpu_mem(CPU_DISP(scratch)), t);
    index = cg_scratch(g);
    struct far *f = look_up(g, o, t, index, false);
    f->slow.dest_reg = (int8_t)index;
    cg_load_zero_extended(g, size, index, mem_base(t, 0));
    as_load(&g->s, t, cpu_mem(CPU_DISP(scratch)));
    as_store(&g->s, address, t);
    as_store(&g->s, cpu_mem(CPU_DISP(excl_value)), index);
    cg_sign_extend(g, size, index, index);
    f->resume = g->s.p;
    cg_use(g, o->arg[0]);
    cg_result_in(g, v, index);
}

void cg_mapped_stx(struct cg *g, ir_val v, const struct ir_op *o)
{
    cg_take(g, RAX);
    int t = atomic_address(g, o), r = cg_gpr(g, o->arg[1]);
    as_alu_rm(&g->s, ALU_CMP, true, t, cpu_mem(CPU_DISP(excl_addr)));
    uint8_t *other = as_jcc_short(&g->s, CC_NE);
    struct far *f = look_up(g, o, t, RAX, true);
    slow_value(f, (struct opnd){ .kind = OPND_REG, .reg = r });
    f->slow.dest_reg = RAX;
    as_load(&g->s, RAX, cpu_mem(CPU_DISP(excl_value)));
    cg_lock(g);
    cg_sized_rm(g, OP_0F | 0xb1, ir_type_bytes(o->aux2), r, mem_base(t, 0));
    as_short_here(&g->s, other);
    as_setcc(&g->s, CC_NE, RAX);
    as_rr8(&g->s, OP_0F | 0xb6, false, RAX, RAX);
    f->resume = g->s.p;
    as_store_imm(&g->s, true, cpu_mem(CPU_DISP(excl_addr)), -1);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, RAX);
}
