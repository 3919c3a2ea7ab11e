/*
 * RISC-V: loads, stores, atomics, fences and cache blocks (RV64I, A, Zacas, Zabha, Zicbom, Zicboz,
 * Zicbop). Unprivileged ISA 20240411, chapters 2.6, 13, 14, 16; CMO 1.0; Zabha 1.0.
 */
#include "guest/riscv/helpers.h"
#include "guest/riscv/lift.h"

enum { CACHE_BLOCK = 64 }; /* bytes; what riscv_hwprobe and the device tree say */

/* ---- Loads and stores ---- */

static bool load(struct riscv_lift *c, const struct riscv_arg_i *a, enum ir_type mem,
                 unsigned flags)
{
    /* Also to x0: the access may fault. */
    riscv_put_x(c, a->rd, ir_load(c->u, IR_I64, mem, riscv_get_x(c, a->rs1), a->imm, flags));
    return true;
}

static bool store(struct riscv_lift *c, const struct riscv_arg_s *a, enum ir_type mem)
{
    ir_val addr = riscv_get_x(c, a->rs1), v = riscv_get_x(c, a->rs2);

    ir_store(c->u, mem, addr, a->imm, v, 0);
    return true;
}

#define LIFT_LOAD(name, mem, flags)                                                                \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_i *a)                      \
    {                                                                                              \
        return load(c, a, mem, flags);                                                             \
    }
#define LIFT_STORE(name, mem)                                                                      \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_s *a)                      \
    {                                                                                              \
        return store(c, a, mem);                                                                   \
    }

LIFT_LOAD(lb, IR_I8, IR_MEM_SIGNED)
LIFT_LOAD(lh, IR_I16, IR_MEM_SIGNED)
LIFT_LOAD(lw, IR_I32, IR_MEM_SIGNED)
LIFT_LOAD(ld, IR_I64, 0)
LIFT_LOAD(lbu, IR_I8, 0)
LIFT_LOAD(lhu, IR_I16, 0)
LIFT_LOAD(lwu, IR_I32, 0)
LIFT_STORE(sb, IR_I8)
LIFT_STORE(sh, IR_I16)
LIFT_STORE(sw, IR_I32)
LIFT_STORE(sd, IR_I64)

/* Floating point: stores take the raw low bits, whether NaN-boxed or not (21.2). */

static bool load_fp(struct riscv_lift *c, const struct riscv_arg_fload *a, enum ir_type type)
{
    ir_val v = ir_load(c->u, type, type, riscv_get_x(c, a->rs1), a->imm, 0);

    riscv_put_fp(c, type, a->fd, v);
    return true;
}

static bool store_fp(struct riscv_lift *c, const struct riscv_arg_fstore *a, enum ir_type type)
{
    ir_val addr = riscv_get_x(c, a->rs1);

    ir_store(c->u, type, addr, a->imm, riscv_get_f(c, a->fs2), 0);
    return true;
}

#define LIFT_FLOAD(name, type)                                                                     \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_fload *a)                  \
    {                                                                                              \
        return load_fp(c, a, type);                                                                \
    }
#define LIFT_FSTORE(name, type)                                                                    \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_fstore *a)                 \
    {                                                                                              \
        return store_fp(c, a, type);                                                               \
    }

LIFT_FLOAD(flh, IR_F16)
LIFT_FLOAD(flw, IR_F32)
LIFT_FLOAD(fld, IR_F64)
LIFT_FSTORE(fsh, IR_F16)
LIFT_FSTORE(fsw, IR_F32)
LIFT_FSTORE(fsd, IR_F64)

/* ---- Atomics ---- */

static unsigned amo_flags(int aq, int rl)
{
    return IR_MEM_ALIGN | (aq ? IR_MEM_ACQUIRE : 0u) | (rl ? IR_MEM_RELEASE : 0u);
}

static bool load_reserved(struct riscv_lift *c, const struct riscv_arg_lr *a, enum ir_type mem)
{
    ir_val addr = riscv_get_x(c, a->rs1);

    riscv_put_x(c, a->rd, ir_ldx(c->u, IR_I64, mem, addr, amo_flags(a->aq, a->rl)));
    return true;
}

static bool store_conditional(struct riscv_lift *c, const struct riscv_arg_amo *a,
                              enum ir_type mem)
{
    ir_val addr = riscv_get_x(c, a->rs1), v = riscv_get_x(c, a->rs2);

    riscv_put_x(c, a->rd, ir_stx(c->u, mem, addr, v, amo_flags(a->aq, a->rl)));
    return true;
}

static bool amo(struct riscv_lift *c, const struct riscv_arg_amo *a, enum ir_type mem,
                enum ir_amo kind)
{
    ir_val addr = riscv_get_x(c, a->rs1), v = riscv_get_x(c, a->rs2);
    unsigned flags = amo_flags(a->aq, a->rl);

    riscv_put_x(c, a->rd, ir_amo(c->u, kind, IR_I64, mem, addr, v, flags));
    return true;
}

static bool compare_and_swap(struct riscv_lift *c, const struct riscv_arg_amo *a, enum ir_type mem)
{
    ir_val addr = riscv_get_x(c, a->rs1);
    ir_val expected = riscv_get_x(c, a->rd), desired = riscv_get_x(c, a->rs2);
    unsigned flags = amo_flags(a->aq, a->rl);

    riscv_put_x(c, a->rd, ir_cas(c->u, IR_I64, mem, addr, expected, desired, flags));
    return true;
}

#define LIFT_LR(name, mem)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_lr *a)                     \
    {                                                                                              \
        return load_reserved(c, a, mem);                                                           \
    }
#define LIFT_SC(name, mem)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_amo *a)                    \
    {                                                                                              \
        return store_conditional(c, a, mem);                                                       \
    }
#define LIFT_CAS(name, mem)                                                                        \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_amo *a)                    \
    {                                                                                              \
        return compare_and_swap(c, a, mem);                                                        \
    }
#define LIFT_AMO(name, kind)                                                                       \
    bool riscv_lift_##name##_b(struct riscv_lift *c, const struct riscv_arg_amo *a)                \
    {                                                                                              \
        return amo(c, a, IR_I8, kind);                                                             \
    }                                                                                              \
    bool riscv_lift_##name##_h(struct riscv_lift *c, const struct riscv_arg_amo *a)                \
    {                                                                                              \
        return amo(c, a, IR_I16, kind);                                                            \
    }                                                                                              \
    bool riscv_lift_##name##_w(struct riscv_lift *c, const struct riscv_arg_amo *a)                \
    {                                                                                              \
        return amo(c, a, IR_I32, kind);                                                            \
    }                                                                                              \
    bool riscv_lift_##name##_d(struct riscv_lift *c, const struct riscv_arg_amo *a)                \
    {                                                                                              \
        return amo(c, a, IR_I64, kind);                                                            \
    }

LIFT_LR(lr_w, IR_I32)
LIFT_LR(lr_d, IR_I64)
LIFT_SC(sc_w, IR_I32)
LIFT_SC(sc_d, IR_I64)
LIFT_AMO(amoswap, IR_AMO_SWAP)
LIFT_AMO(amoadd, IR_AMO_ADD)
LIFT_AMO(amoxor, IR_AMO_XOR)
LIFT_AMO(amoand, IR_AMO_AND)
LIFT_AMO(amoor, IR_AMO_OR)
LIFT_AMO(amomin, IR_AMO_MIN)
LIFT_AMO(amomax, IR_AMO_MAX)
LIFT_AMO(amominu, IR_AMO_MINU)
LIFT_AMO(amomaxu, IR_AMO_MAXU)
LIFT_CAS(amocas_b, IR_I8)
LIFT_CAS(amocas_h, IR_I16)
LIFT_CAS(amocas_w, IR_I32)
LIFT_CAS(amocas_d, IR_I64)

bool riscv_lift_amocas_q(struct riscv_lift *c, const struct riscv_arg_amo *a)
{
    ir_val addr, zero;

    /* Register pairs are named by their even register. */
    if ((a->rd | a->rs2) & 1) {
        return false;
    }
    if (c->system) {
        return c->system->amocas_q(c, a);
    }
    addr = riscv_get_x(c, a->rs1);
    zero = ir_const(c->u, IR_I64, 0);
    /* The helper's access isn't one of translated code. A write that changes nothing first makes
     * sure that the memory is there, with a precise fault if not. */
    ir_amo(c->u, IR_AMO_OR, IR_I64, IR_I64, addr, zero, amo_flags(a->aq, a->rl));
    ir_helper(c->u, IR_VOID, &riscv_helper_amocas_q, addr,
              ir_const(c->u, IR_I64, (uint64_t)a->rd), ir_const(c->u, IR_I64, (uint64_t)a->rs2), 0);
    return true;
}

/* ---- Fences ---- */

/* pred and succ are the bits i, o, r, w from the top; device accesses count as memory's. */
static unsigned fence_set(int iorw)
{
    return (unsigned)(iorw | iorw >> 2) & (IR_FENCE_R | IR_FENCE_W);
}

bool riscv_lift_fence(struct riscv_lift *c, const struct riscv_arg_fence *a)
{
    unsigned pred = fence_set(a->pred), succ = fence_set(a->succ);

    /* With an empty set it is a hint. */
    if (pred && succ) {
        ir_fence(c->u, pred, succ);
    }
    return true;
}

bool riscv_lift_fence_tso(struct riscv_lift *c)
{
    ir_fence(c->u, IR_FENCE_R, IR_FENCE_R | IR_FENCE_W);
    ir_fence(c->u, IR_FENCE_W, IR_FENCE_W);
    return true;
}

bool riscv_lift_fence_i(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_FENCE_I, c->next_pc);
}

/* ---- Cache blocks ---- */

static ir_val block_address(struct riscv_lift *c, int rs1)
{
    return ir_bini(c->u, IR_AND, IR_I64, riscv_get_x(c, rs1), ~(int64_t)(CACHE_BLOCK - 1));
}

/* Memory is coherent: all that is left of it is that the block must be accessible. */
static bool manage_block(struct riscv_lift *c, enum riscv_cbo kind, int rs1)
{
    if (c->system) {
        return c->system->cbo(c, kind, rs1);
    }
    ir_load(c->u, IR_I64, IR_I8, block_address(c, rs1), 0, 0);
    return true;
}

bool riscv_lift_cbo_inval(struct riscv_lift *c, const struct riscv_arg_rs1 *a)
{
    return manage_block(c, RISCV_CBO_INVAL, a->rs1);
}

bool riscv_lift_cbo_clean(struct riscv_lift *c, const struct riscv_arg_rs1 *a)
{
    return manage_block(c, RISCV_CBO_CLEAN, a->rs1);
}

bool riscv_lift_cbo_flush(struct riscv_lift *c, const struct riscv_arg_rs1 *a)
{
    return manage_block(c, RISCV_CBO_FLUSH, a->rs1);
}

bool riscv_lift_cbo_zero(struct riscv_lift *c, const struct riscv_arg_rs1 *a)
{
    ir_val addr, zero;

    if (c->system && !c->system->cbo(c, RISCV_CBO_ZERO, a->rs1)) {
        return false;
    }
    addr = block_address(c, a->rs1);
    zero = ir_const(c->u, IR_I64, 0);
    for (int offset = 0; offset < CACHE_BLOCK; offset += 8) {
        ir_store(c->u, IR_I64, addr, offset, zero, 0);
    }
    return true;
}

/* Prefetches are hints, which never fault. */

bool riscv_lift_prefetch_i(struct riscv_lift *c, const struct riscv_arg_s *a)
{
    return true;
}

bool riscv_lift_prefetch_r(struct riscv_lift *c, const struct riscv_arg_s *a)
{
    return true;
}

bool riscv_lift_prefetch_w(struct riscv_lift *c, const struct riscv_arg_s *a)
{
    return true;
}
