/*
 * Memory operations: guest memory is at the guest's address, plus the gs base if the guest base is
 * not 0. Each leaves a fault point, so that a fault finds its guest pc. System mode has its own
 * ones (cg_mapped.c), which are made of the same parts.
 */
#include "dbt/host/x86_64/cg.h"

static void fault_point(struct cg *g)
{
    g->faults[g->n_faults++] = (struct fault_point){
        .host_offset = (uint32_t)(g->s.p - g->dbt->cache.rw),
        .guest = (int32_t)(g->cur_pc - g->u->pc),
        .borrowed = (uint16_t)g->borrowed,
    };
}

/* The operand for guest address v + offset. */
static struct mem address(struct cg *g, ir_val v, int64_t offset)
{
    uint64_t c;
    struct mem m;
    if (cg_const(g, v, &c)) {
        c += (uint64_t)offset;
        if ((int64_t)c == (int32_t)c && (int64_t)c >= 0) {
            m = mem_base(-1, (int32_t)c);
        } else {
            int t = cg_scratch(g);
            as_mov_imm_keep_flags(&g->s, t, c);
            m = mem_base(t, 0);
        }
    } else {
        m = mem_base(cg_gpr(g, v), (int32_t)offset);
    }
    m.gs = g->dbt->config.guest_base != 0;
    return m;
}

/* All but F16. */
void cg_load_from(struct cg *g, const struct ir_op *o, int d, struct mem m)
{
    bool sign = o->aux & IR_MEM_SIGNED, w = o->type == IR_I64;

    switch (o->aux2) {
    case IR_F32: as_rm(&g->s, OP_F3 | OP_0F | 0x10, false, d - XMM0, m); break;
    case IR_F64: as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, d - XMM0, m); break;
    case IR_I8: as_rm(&g->s, OP_0F | (sign ? 0xbe : 0xb6), sign && w, d, m); break;
    case IR_I16: as_rm(&g->s, OP_0F | (sign ? 0xbf : 0xb7), sign && w, d, m); break;
    case IR_I32: as_rm(&g->s, sign && w ? 0x63 : 0x8b, sign && w, d, m); break;
    default: as_rm(&g->s, 0x8b, true, d, m); break;
    }
}

static void op_load(struct cg *g, ir_val v, const struct ir_op *o)
{
    struct mem m = address(g, o->arg[0], (int64_t)o->imm);

    cg_use(g, o->arg[0]);
    if (o->aux2 == IR_F16) {
        int t = cg_scratch(g), d = cg_dest_xmm(g, v);
        fault_point(g);
        as_rm(&g->s, OP_0F | 0xb7, false, t, m);
        as_rr(&g->s, OP_66 | OP_0F | 0x6e, false, d, t); /* movd */
        cg_bind(g, v, d + XMM0);
        return;
    }
    bool fp = ir_type_is_float(o->aux2);
    int d = fp ? cg_dest_xmm(g, v) + XMM0 : cg_dest(g, v);
    fault_point(g);
    cg_load_from(g, o, d, m);
    cg_bind(g, v, d);
}

void cg_lock(struct cg *g)
{
    as_u8(&g->s, 0xf0);
}

/* What x86 doesn't do by itself: a store before a later load. Cheaper than mfence. */
void cg_fence(struct cg *g)
{
    cg_lock(g);
    as_alu_mi(&g->s, ALU_OR, false, cpu_mem(CPU_DISP(mxcsr_scratch)), 0);
}

/* Leave, with the store to [m] not made, if that is the word that restartable sections begin with
 * (section.h). */
static void check_word(struct cg *g, struct mem m)
{
    struct mem word = cpu_mem(CPU_DISP(section.word));

    m.gs = false;
    if (m.base >= 0 && !m.disp) {
        as_rm(&g->s, 0x3b, true, m.base, word);
    } else {
        int t = cg_scratch(g);
        as_lea(&g->s, true, t, m);
        as_rm(&g->s, 0x3b, true, t, word);
        g->locked &= ~(1u << t);
    }
    as_jcc(&g->s, CC_E, g->s.p);
    cg_far(g, FAR_WORD, g->s.p)->pc = g->cur_pc;
}

/* s: a register or an immediate. */
void cg_store_to(struct cg *g, const struct ir_op *o, struct opnd s, struct mem m)
{
    unsigned bits = ir_type_bits(o->aux2);

    if (s.kind == OPND_IMM) {
        unsigned imm_size = bits == 8 ? 1 : bits == 16 ? 2 : 4;
        as_rm_tail(&g->s, bits == 8 ? 0xc6 : bits == 16 ? OP_66 | 0xc7 : 0xc7, bits == 64, 0, m,
                   imm_size, false);
        memcpy(g->s.p, &s.imm, imm_size);
        g->s.p += imm_size;
    } else if (s.reg >= XMM0) {
        as_rm(&g->s, (bits == 32 ? OP_F3 : OP_F2) | OP_0F | 0x11, false, s.reg - XMM0, m);
    } else if (bits == 8) {
        as_rm8(&g->s, 0x88, s.reg, m);
    } else {
        as_rm(&g->s, bits == 16 ? OP_66 | 0x89 : 0x89, bits == 64, s.reg, m);
    }
}

static void op_store(struct cg *g, const struct ir_op *o)
{
    struct mem m = address(g, o->arg[0], (int64_t)o->imm);
    ir_val v = o->arg[1];

    if (g->dbt->watch_words && o->aux2 == IR_I64)
        check_word(g, m);
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
    fault_point(g);
    cg_store_to(g, o, s, m);
    if (o->aux & IR_MEM_RELEASE) /* a later load with acquire order must not pass it */
        cg_fence(g);
    cg_use(g, o->arg[0]);
    cg_use(g, v);
}

/* Leave if the address in r is misaligned. */
void cg_check_alignment(struct cg *g, const struct ir_op *o, int r)
{
    as_rex(&g->s, false, 0, 0, r, true);
    as_u8(&g->s, 0xf6); /* test r8, imm8 */
    as_u8(&g->s, 0xc0 | (r & 7));
    as_u8(&g->s, ir_type_bytes(o->aux2) - 1);
    as_jcc(&g->s, CC_NE, g->s.p);
    struct far *f = cg_far(g, FAR_ALIGN, g->s.p);
    f->reg = (int8_t)r;
    f->pc = g->cur_pc;
    f->access = o->op == IR_LDX ? VCPU_READ : VCPU_WRITE;
}

/* For atomics: the address in a register, checked for alignment if asked for. */
static struct mem atomic_address(struct cg *g, const struct ir_op *o)
{
    int r = cg_gpr(g, o->arg[0]);
    if (o->aux & IR_MEM_ALIGN && ir_type_bytes(o->aux2) > 1)
        cg_check_alignment(g, o, r);
    struct mem m = mem_base(r, 0);
    m.gs = g->dbt->config.guest_base != 0;
    return m;
}

/* opcode for the size: 8 bit is [op] - 1; 16 bit has the prefix. */
void cg_sized_rm(struct cg *g, unsigned op, unsigned size, int reg, struct mem m)
{
    if (size == 1)
        as_rm8(&g->s, op - 1, reg, m);
    else
        as_rm(&g->s, size == 2 ? OP_66 | op : op, size == 8, reg, m);
}

void cg_sign_extend(struct cg *g, unsigned size, int d, int from)
{
    if (size == 1)
        as_rr8(&g->s, OP_0F | 0xbe, true, d, from);
    else if (size == 2)
        as_rr(&g->s, OP_0F | 0xbf, true, d, from);
    else if (size == 4)
        as_rr(&g->s, 0x63, true, d, from);
    else if (d != from)
        as_mov_rr(&g->s, true, d, from);
}

/* swap and add are one instruction. */
static void amo_exchange(struct cg *g, ir_val v, const struct ir_op *o, struct mem m)
{
    unsigned size = ir_type_bytes(o->aux2);
    struct opnd s = cg_opnd(g, o->arg[1], true, true);
    int t = cg_scratch(g);
    cg_mov_to(g, t, s, true);
    fault_point(g);
    if (o->aux32 == IR_AMO_ADD) {
        cg_lock(g);
        cg_sized_rm(g, OP_0F | 0xc1, size, t, m);
    } else {
        cg_sized_rm(g, 0x87, size, t, m);
    }
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_sign_extend(g, size, t, t);
    cg_result_in(g, v, t);
}

int cg_amo_alu(const struct ir_op *o)
{
    static const int8_t ops[] = { [IR_AMO_SWAP] = -1, [IR_AMO_ADD] = ALU_ADD,
                                  [IR_AMO_AND] = ALU_AND, [IR_AMO_OR] = ALU_OR,
                                  [IR_AMO_XOR] = ALU_XOR };
    return o->aux32 > IR_AMO_XOR ? -1 : ops[o->aux32];
}

/* Without a use of the old value: lock add/and/or/xor. */
static bool amo_no_result(struct cg *g, const struct ir_op *o, struct mem m)
{
    int alu = cg_amo_alu(o);
    if (alu < 0)
        return false;
    int r = cg_gpr(g, o->arg[1]);
    fault_point(g);
    cg_lock(g);
    cg_sized_rm(g, (unsigned)alu << 3 | 1, ir_type_bytes(o->aux2), r, m);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    return true;
}

void cg_load_zero_extended(struct cg *g, unsigned size, int d, struct mem m)
{
    if (size < 4)
        as_rm(&g->s, OP_0F | (size == 1 ? 0xb6 : 0xb7), false, d, m);
    else
        as_rm(&g->s, 0x8b, size == 8, d, m);
}

/* A loop around cmpxchg, old value in rax, with t for the new one. */
void cg_amo_loop(struct cg *g, const struct ir_op *o, int t, struct opnd s, struct mem m)
{
    unsigned size = ir_type_bytes(o->aux2);
    bool w = size == 8;

    cg_load_zero_extended(g, size, RAX, m);
    uint8_t *loop = g->s.p;
    if (o->aux32 >= IR_AMO_MIN) {
        static const uint8_t cc[] = { CC_LE, CC_GE, CC_BE, CC_AE };
        cg_mov_to(g, t, s, w);
        if (size == 1)
            as_rr8(&g->s, 0x3a, false, RAX, t);
        else
            as_rr(&g->s, size == 2 ? OP_66 | 0x3b : 0x3b, w, RAX, t);
        as_cmov(&g->s, cc[o->aux32 - IR_AMO_MIN], w, t, RAX);
    } else {
        static const uint8_t ops[] = { [IR_AMO_AND] = ALU_AND, [IR_AMO_OR] = ALU_OR,
                                       [IR_AMO_XOR] = ALU_XOR };
        as_mov_rr(&g->s, w, t, RAX);
        if (s.kind == OPND_IMM)
            as_alu_ri(&g->s, ops[o->aux32], w, t, s.imm);
        else if (s.kind == OPND_MEM)
            as_alu_rm(&g->s, ops[o->aux32], w, t, s.mem);
        else
            as_alu_rr(&g->s, ops[o->aux32], w, t, s.reg);
    }
    cg_lock(g);
    cg_sized_rm(g, OP_0F | 0xb1, size, t, m);
    as_jcc(&g->s, CC_NE, loop);
    cg_sign_extend(g, size, RAX, RAX);
}

/* Those that x86 has no instruction for. */
static void amo_loop(struct cg *g, ir_val v, const struct ir_op *o, struct mem m)
{
    int t = cg_scratch(g);
    struct opnd s = cg_opnd(g, o->arg[1], true, true);

    fault_point(g);
    cg_amo_loop(g, o, t, s, m);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, RAX);
}

static void op_amo(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool exchange = o->aux32 <= IR_AMO_ADD;
    if (!exchange)
        cg_take(g, RAX);
    struct mem m = atomic_address(g, o);
    if (!g->uses[v] && amo_no_result(g, o, m))
        return;
    if (exchange)
        amo_exchange(g, v, o, m);
    else
        amo_loop(g, v, o, m);
}

static void op_cas(struct cg *g, ir_val v, const struct ir_op *o)
{
    unsigned size = ir_type_bytes(o->aux2);
    cg_take(g, RAX);
    cg_mov_to(g, RAX, cg_opnd(g, o->arg[1], true, true), true);
    cg_unlock(g, 1u << RAX);
    struct mem m = atomic_address(g, o);
    int desired = cg_gpr(g, o->arg[2]);
    fault_point(g);
    cg_lock(g);
    cg_sized_rm(g, OP_0F | 0xb1, size, desired, m);
    for (int i = 0; i < 3; i++)
        cg_use(g, o->arg[i]);
    cg_sign_extend(g, size, RAX, RAX);
    cg_result_in(g, v, RAX);
}

static void op_ldx(struct cg *g, ir_val v, const struct ir_op *o)
{
    unsigned size = ir_type_bytes(o->aux2);
    struct mem m = atomic_address(g, o);
    int t = cg_scratch(g);
    if (o->aux & IR_MEM_RELEASE)
        cg_fence(g);
    fault_point(g);
    cg_load_zero_extended(g, size, t, m);
    as_store(&g->s, cpu_mem(CPU_DISP(excl_addr)), m.base);
    as_store(&g->s, cpu_mem(CPU_DISP(excl_value)), t);
    cg_use(g, o->arg[0]);
    cg_sign_extend(g, size, t, t);
    cg_result_in(g, v, t);
}

static void op_stx(struct cg *g, ir_val v, const struct ir_op *o)
{
    unsigned size = ir_type_bytes(o->aux2);
    cg_take(g, RAX);
    struct mem m = atomic_address(g, o);
    int r = cg_gpr(g, o->arg[1]);
    as_alu_rm(&g->s, ALU_CMP, true, m.base, cpu_mem(CPU_DISP(excl_addr)));
    uint8_t *other = as_jcc_short(&g->s, CC_NE);
    as_load(&g->s, RAX, cpu_mem(CPU_DISP(excl_value)));
    fault_point(g);
    cg_lock(g);
    cg_sized_rm(g, OP_0F | 0xb1, size, r, m);
    as_short_here(&g->s, other);
    as_setcc(&g->s, CC_NE, RAX);
    as_rr8(&g->s, OP_0F | 0xb6, false, RAX, RAX);
    as_store_imm(&g->s, true, cpu_mem(CPU_DISP(excl_addr)), -1);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, RAX);
}

static int state_disp(const struct ir_op *o)
{
    return (int)o->imm - VCPU_BASE_BIAS;
}

static void op_lds(struct cg *g, ir_val v, const struct ir_op *o)
{
    struct mem m = cpu_mem(state_disp(o));
    if (ir_type_is_float(o->type)) {
        int d = cg_dest_xmm(g, v);
        as_rm(&g->s, (o->type == IR_F32 ? OP_F3 : OP_F2) | OP_0F | 0x10, false, d, m);
        cg_bind(g, v, d + XMM0);
        return;
    }
    int d = cg_dest(g, v);
    if (o->type == IR_I8 || o->type == IR_I16)
        as_rm(&g->s, OP_0F | (o->type == IR_I8 ? 0xb6 : 0xb7), false, d, m);
    else
        as_rm(&g->s, 0x8b, o->type == IR_I64, d, m);
    cg_bind(g, v, d);
}

static void op_sts(struct cg *g, const struct ir_op *o)
{
    struct mem m = cpu_mem(state_disp(o));
    if (o->type == IR_F16) {
        int t = cg_scratch(g);
        as_rr(&g->s, OP_66 | OP_0F | 0x7e, false, cg_xmm(g, o->arg[0]), t); /* movd */
        cg_sized_rm(g, 0x89, 2, t, m);
    } else if (ir_type_is_float(o->type)) {
        as_rm(&g->s, (o->type == IR_F32 ? OP_F3 : OP_F2) | OP_0F | 0x11, false,
              cg_xmm(g, o->arg[0]), m);
    } else {
        cg_sized_rm(g, 0x89, ir_type_bytes(o->type), cg_gpr(g, o->arg[0]), m);
    }
    cg_use(g, o->arg[0]);
}

static bool mapped_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    switch (o->op) {
    case IR_LOAD: cg_mapped_load(g, v, o); return true;
    case IR_STORE: cg_mapped_store(g, o); return true;
    case IR_AMO: cg_mapped_amo(g, v, o); return true;
    case IR_CAS: cg_mapped_cas(g, v, o); return true;
    case IR_LDX: cg_mapped_ldx(g, v, o); return true;
    case IR_STX: cg_mapped_stx(g, v, o); return true;
    default: return false;
    }
}

void cg_mem_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    if (g->dbt->config.mmu && mapped_op(g, v, o))
        return;
    switch (o->op) {
    case IR_LOAD: op_load(g, v, o); break;
    case IR_STORE: op_store(g, o); break;
    case IR_AMO: op_amo(g, v, o); break;
    case IR_CAS: op_cas(g, v, o); break;
    case IR_LDX: op_ldx(g, v, o); break;
    case IR_STX: op_stx(g, v, o); break;
    case IR_LDS: op_lds(g, v, o); break;
    case IR_STS: op_sts(g, o); break;
    case IR_FENCE:
        if (o->aux >> 2 & IR_FENCE_W && o->aux & IR_FENCE_R)
            cg_fence(g);
        break;
    }
}
