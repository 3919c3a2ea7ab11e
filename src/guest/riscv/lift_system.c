/*
 * RISC-V: what instructions mean in a machine and not in a program: CSRs of all privileges, returns
 * from traps, wfi, TLB fences, floating point that can be switched off. Privileged 20240411;
 * CMO 1.0; Svinval.
 *
 * A unit is translated for one vcpu.mode, so privilege, FS and the permission for cache-block
 * instructions are known here. Helpers that change the mode leave the unit.
 */
#include <stddef.h>

#include "guest/riscv/disas.h"
#include "guest/riscv/lift.h"
#include "guest/riscv/system_priv.h"

static enum riscv_priv lift_priv(const struct riscv_lift *c)
{
    return (enum riscv_priv)(c->mode >> MODE_PRIV_SHIFT & 3);
}

/* A helper that sets pc and leaves, always: nothing after it in this unit. */
static bool end_with(struct riscv_lift *c, const struct ir_helper *helper, ir_val a, ir_val b)
{
    ir_helper(c->u, IR_VOID, helper, a, b, 0, 0);
    return riscv_exit(c, VCPU_EXIT_MODE, c->next_pc);
}

/* ---- Floating point (3.1.6.6) ---- */

static bool changes_fp_state(uint32_t w)
{
    enum { STORE_FP = 0x27 };
    bool store16 = (w & 3) != 3 && (w >> 13 & 7) == 5;

    return !store16 && (w & 0x7f) != STORE_FP;
}

/* FS becomes Dirty before the first instruction that may change something, which is then lifted
 * anew for that mode. */
static bool before_fp(struct riscv_lift *c, uint32_t w)
{
    size_t offset = offsetof(struct riscv_hart, mstatus);

    if (!(c->mode & MODE_FS_ON)) {
        return false;
    }
    if (!(c->mode & MODE_FS_DIRTY) && changes_fp_state(w)) {
        ir_sts(c->u, IR_I64, offset,
               ir_bini(c->u, IR_OR, IR_I64, ir_lds(c->u, IR_I64, offset), (int64_t)MSTATUS_FS));
        ir_sts(c->u, IR_I32, offsetof(struct vcpu, mode),
               ir_const(c->u, IR_I64, c->mode | MODE_FS_DIRTY));
        return riscv_exit(c, VCPU_EXIT_MODE, c->pc);
    }
    return true;
}

/* ---- CSRs ---- */

/* Arguments: what instruction it is, in one number. */
enum { CSR_RD_SHIFT = 12, CSR_WRITES = 1 << 17, CSR_SEED = 0x015, CSR_SSTATUS = 0x100 };

/* a: number, rd, CSR_WRITES; b: value, c: the bits of it to set. */
static uint64_t do_csr(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct riscv_hart *h = riscv_hart(cpu);
    unsigned rd = a >> CSR_RD_SHIFT & 31;
    uint32_t mode = cpu->mode;
    uint64_t context = h->code_context, old;

    if (!csr_access(h, a & 0xfff, a & CSR_WRITES, b, c, &old)) {
        cpu->exit_reason = VCPU_EXIT_ILLEGAL;
        return 0;
    }
    if (rd) {
        cpu->r[rd] = old;
    }
    if (h->flushed || mode != cpu->mode || context != h->code_context || cpu->poll) {
        h->flushed = false;
        cpu->pc += 4;
        cpu->exit_reason = VCPU_EXIT_MODE;
    }
    return 0;
}

static const struct ir_helper helper_csr = {"csr", do_csr, IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static ir_val csr_source(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    return a->rs1 < 0 ? ir_const(c->u, IR_I64, a->zimm) : riscv_get_x(c, a->rs1);
}

/* A register without anything else to it: state of the vCPU. */
static void plain_csr(struct riscv_lift *c, const struct riscv_csr_access *a, size_t offset,
                      uint64_t mask)
{
    ir_val old = ir_lds(c->u, IR_I64, offset), v = old;

    if (a->writes) {
        v = csr_source(c, a);
        if (a->op != RISCV_CSR_WRITE) {
            v = ir_bin(c->u, a->op == RISCV_CSR_SET ? IR_OR : IR_ANDN, IR_I64, old, v);
        }
        if (mask != UINT64_MAX) {
            v = ir_bini(c->u, IR_AND, IR_I64, v, (int64_t)mask);
        }
    }
    riscv_put_x(c, a->rd, old);
    if (a->writes) {
        ir_sts(c->u, IR_I64, offset, v);
    }
}

/* a: whether it is to be set. */
static uint64_t do_sum(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct riscv_hart *h = riscv_hart(cpu);

    h->mstatus = a ? h->mstatus | MSTATUS_SUM : h->mstatus & ~MSTATUS_SUM;
    hart_update_data_context(h);
    return 0;
}

static const struct ir_helper helper_sum = {"sum", do_sum, 0};

/* A kernel lets itself at a program's memory for a few instructions, and so changes nothing but
 * SUM, very often. */
static bool is_sum_switch(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    uint64_t bits;

    return a->csr == CSR_SSTATUS && a->writes && !a->rd && a->op != RISCV_CSR_WRITE &&
           lift_priv(c) == PRIV_S && a->rs1 > 0 &&
           ir_is_const(c->u, riscv_get_x(c, a->rs1), &bits) && bits == MSTATUS_SUM;
}

static bool lift_csr(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    const struct csr_row *row = csr_find(c->model, a->csr);
    uint64_t ones = UINT64_MAX, mask;
    ir_val value, bits, what;
    size_t offset;

    if (!row || (unsigned)lift_priv(c) < (a->csr >> 8 & 3) || (a->csr >> 10 == 3 && a->writes) ||
        (a->csr == CSR_SEED && !a->writes)) {
        return false;
    }
    if (csr_is_plain(c->model, row, &offset, &mask)) {
        plain_csr(c, a, offset, mask);
        return true;
    }
    if (is_sum_switch(c, a)) {
        ir_helper(c->u, IR_VOID, &helper_sum, ir_const(c->u, IR_I64, a->op == RISCV_CSR_SET), 0, 0,
                  0);
        return true;
    }
    value = csr_source(c, a);
    bits = a->op == RISCV_CSR_WRITE ? ir_const(c->u, IR_I64, ones) : value;
    if (a->op != RISCV_CSR_WRITE) {
        value = ir_const(c->u, IR_I64, a->op == RISCV_CSR_SET ? ones : 0);
    }
    what = ir_const(c->u, IR_I64,
                    a->csr | (unsigned)a->rd << CSR_RD_SHIFT | (a->writes ? CSR_WRITES : 0));
    ir_helper(c->u, IR_VOID, &helper_csr, what, value, bits, 0);
    return true;
}

/* ---- Traps and waiting ---- */

static uint64_t do_mret(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->exit_reason = hart_mret(riscv_hart(cpu)) ? VCPU_EXIT_MODE : VCPU_EXIT_ILLEGAL;
    return 0;
}

static uint64_t do_sret(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->exit_reason = hart_sret(riscv_hart(cpu)) ? VCPU_EXIT_MODE : VCPU_EXIT_ILLEGAL;
    return 0;
}

/* 3.3.3: supervisor mode may be kept from it by TW; user mode is where there is a supervisor mode.
 */
static uint64_t do_wfi(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct riscv_hart *h = riscv_hart(cpu);

    if ((h->priv == PRIV_U && hart_has(h, RISCV_EXT_S)) ||
        (h->priv != PRIV_M && h->mstatus & MSTATUS_TW)) {
        cpu->exit_reason = VCPU_EXIT_ILLEGAL;
        return 0;
    }
    cpu->pc += 4;
    cpu->exit_reason = VCPU_EXIT_YIELD;
    h->waiting = true;
    return 0;
}

static const struct ir_helper helper_mret = {"mret", do_mret, IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};
static const struct ir_helper helper_sret = {"sret", do_sret, IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};
static const struct ir_helper helper_wfi = {"wfi", do_wfi, IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static bool lift_mret(struct riscv_lift *c)
{
    return lift_priv(c) == PRIV_M && end_with(c, &helper_mret, 0, 0);
}

static bool lift_sret(struct riscv_lift *c)
{
    return lift_priv(c) != PRIV_U && end_with(c, &helper_sret, 0, 0);
}

static bool lift_wfi(struct riscv_lift *c)
{
    return end_with(c, &helper_wfi, 0, 0);
}

/* ---- TLB ---- */

enum { FENCE_ADDRESS = 1, FENCE_ASID = 2 };

/* a: FENCE_* bits for operands that aren't x0, b: address, c: ASID. TVM keeps supervisor mode from
 * it (3.1.6.5). */
static uint64_t do_sfence(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct riscv_hart *h = riscv_hart(cpu);

    if (h->priv == PRIV_S && h->mstatus & MSTATUS_TVM) {
        cpu->exit_reason = VCPU_EXIT_ILLEGAL;
        return 0;
    }
    mmu_fence(h, a & FENCE_ADDRESS, b, a & FENCE_ASID, c);
    cpu->pc += 4;
    cpu->exit_reason = VCPU_EXIT_MODE;
    return 0;
}

static const struct ir_helper helper_sfence = {"sfence", do_sfence,
                                               IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static bool lift_sfence(struct riscv_lift *c, int rs1, int rs2)
{
    ir_val what = ir_const(c->u, IR_I64, (rs1 ? FENCE_ADDRESS : 0) | (rs2 ? FENCE_ASID : 0));

    if (lift_priv(c) == PRIV_U) {
        return false;
    }
    ir_helper(c->u, IR_VOID, &helper_sfence, what, riscv_get_x(c, rs1), riscv_get_x(c, rs2), 0);
    return riscv_exit(c, VCPU_EXIT_MODE, c->next_pc);
}

static bool lift_sfence_inval(struct riscv_lift *c)
{
    return lift_priv(c) != PRIV_U;
}

/* ---- Memory ---- */

/* The block must be accessible; the fault that it isn't is a store's (CMO 1.0, 2.5.2). a: address.
 */
static uint64_t do_cbo(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct mmu_page page;

    if (!riscv_system_mmu_ops.translate(cpu, a, VCPU_READ, &page) &&
        !riscv_system_mmu_ops.translate(cpu, a, VCPU_WRITE, &page)) {
        cpu->exit_reason = VCPU_EXIT_FAULT;
    }
    return 0;
}

static const struct ir_helper helper_cbo = {"cbo", do_cbo, IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static bool lift_cbo(struct riscv_lift *c, enum riscv_cbo kind, int rs1)
{
    static const uint16_t needed[] = {
        [RISCV_CBO_INVAL] = MODE_CBIE,
        [RISCV_CBO_CLEAN] = MODE_CBCFE,
        [RISCV_CBO_FLUSH] = MODE_CBCFE,
        [RISCV_CBO_ZERO] = MODE_CBZE,
    };

    if (!(c->mode & needed[kind])) {
        return false;
    }
    if (kind != RISCV_CBO_ZERO) {
        ir_helper(c->u, IR_VOID, &helper_cbo, riscv_get_x(c, rs1), 0, 0, 0);
    }
    return true;
}

/* A pair of registers; x0 stands for a pair of zeros. */
static void get_pair(const struct vcpu *cpu, uint64_t reg, uint64_t pair[2])
{
    pair[0] = reg ? cpu->r[reg] : 0;
    pair[1] = reg ? cpu->r[reg + 1] : 0;
}

/* a: address, b: rd, c: rs2. */
static uint64_t do_amocas_q(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t expected[2], desired[2];

    get_pair(cpu, b, expected);
    get_pair(cpu, c, desired);
    if (a % 16) {
        cpu->fault_addr = a;
        cpu->fault_access = VCPU_WRITE;
        cpu->fault_kind = VCPU_FAULT_ALIGN;
        cpu->exit_reason = VCPU_EXIT_FAULT;
    } else if (!dbt_compare_swap_16(cpu, a, expected, desired)) {
        cpu->exit_reason = VCPU_EXIT_FAULT;
    } else if (b) {
        cpu->r[b] = expected[0];
        cpu->r[b + 1] = expected[1];
    }
    return 0;
}

static const struct ir_helper helper_amocas_q = {"amocas.q", do_amocas_q,
                                                 IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static bool lift_amocas_q(struct riscv_lift *c, const struct riscv_arg_amo *a)
{
    ir_helper(c->u, IR_VOID, &helper_amocas_q, riscv_get_x(c, a->rs1),
              ir_const(c->u, IR_I64, (uint64_t)a->rd), ir_const(c->u, IR_I64, (uint64_t)a->rs2), 0);
    return true;
}

/* ---- The architecture ---- */

static const struct riscv_lift_system lift_system = {
    .before_fp = before_fp,
    .csr = lift_csr,
    .mret = lift_mret,
    .sret = lift_sret,
    .wfi = lift_wfi,
    .sfence_vma = lift_sfence,
    .sfence_inval = lift_sfence_inval,
    .cbo = lift_cbo,
    .amocas_q = lift_amocas_q,
};

static enum lift_result lift_machine(struct lift_ctx *ctx)
{
    return riscv_lift_insn_at(ctx, &lift_system);
}

/* A kernel is at one address. */
static bool mode_relative(uint32_t mode)
{
    return (mode >> MODE_PRIV_SHIFT & 3) == PRIV_U;
}

/* Of a vCPU that isn't connected to anything yet (riscv_system_init). */
static void bare_reset(struct vcpu *cpu)
{
    cpu->mode = PRIV_M << MODE_PRIV_SHIFT;
    riscv_hart(cpu)->priv = PRIV_M;
}

const struct guest_arch riscv64_system_arch = {
    .name = "riscv64",
    .vcpu_size = sizeof(struct riscv_hart),
    .regs = riscv_regs,
    .n_regs = RISCV_N_REGS,
    .pin_int = riscv_pin_int,
    .pin_fp = riscv_pin_fp,
    .lift = lift_machine,
    .mode_frm = riscv_mode_frm,
    .mode_relative = mode_relative,
    .disassemble = riscv_disassemble,
    .reset = bare_reset,
    .dump = hart_dump,
    .list_mappings = hart_list_mappings,
};
