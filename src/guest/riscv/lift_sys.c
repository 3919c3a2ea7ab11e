/*
 * RISC-V: system instructions, CSRs that user mode has, and instructions that are hints or may
 * become something else (Zicsr, Zicntr, Zkr, Zawrs, Zihintpause, Zihintntl, Zimop, Zcmop). What a
 * machine has besides is in lift_system.c, which a program's emulator goes without.
 * Unprivileged ISA 20240411, chapters 2.8, 6 to 9, 15, 21.
 */
#include <stddef.h>

#include "guest/riscv/helpers.h"
#include "guest/riscv/lift.h"

bool riscv_lift_ecall(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_SYSCALL, c->next_pc);
}

bool riscv_lift_ebreak(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_BREAKPOINT, c->pc);
}

/* Waits end at any time, as far as the program can tell: give another thread the processor. */

bool riscv_lift_pause(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_YIELD, c->next_pc);
}

bool riscv_lift_wrs_nto(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_YIELD, c->next_pc);
}

bool riscv_lift_wrs_sto(struct riscv_lift *c)
{
    return riscv_exit(c, VCPU_EXIT_YIELD, c->next_pc);
}

bool riscv_lift_ntl_p1(struct riscv_lift *c)
{
    return true;
}

bool riscv_lift_ntl_pall(struct riscv_lift *c)
{
    return true;
}

bool riscv_lift_ntl_s1(struct riscv_lift *c)
{
    return true;
}

bool riscv_lift_ntl_all(struct riscv_lift *c)
{
    return true;
}

bool riscv_lift_mop_r(struct riscv_lift *c, const struct riscv_arg_mop *a)
{
    riscv_put_x(c, a->rd, ir_const(c->u, IR_I64, 0));
    return true;
}

bool riscv_lift_mop_rr(struct riscv_lift *c, const struct riscv_arg_mop *a)
{
    riscv_put_x(c, a->rd, ir_const(c->u, IR_I64, 0));
    return true;
}

bool riscv_lift_c_mop(struct riscv_lift *c)
{
    return true;
}

/* ---- CSRs ---- */

enum {
    CSR_FFLAGS = 0x001,
    CSR_FRM = 0x002,
    CSR_FCSR = 0x003,
    CSR_SEED = 0x015,
    CSR_CYCLE = 0xc00,
    CSR_TIME = 0xc01,
    CSR_INSTRET = 0xc02,
};

/* csrw fcsr, x0: an instruction that uses the floating-point state, and changes it. */
enum { FSCSR = 0x00301073 };

static ir_val csr_source(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    return a->rs1 < 0 ? ir_const(c->u, IR_I64, a->zimm) : riscv_get_x(c, a->rs1);
}

/* What is to be written, given the old value. */
static ir_val csr_new_value(struct riscv_lift *c, const struct riscv_csr_access *a, ir_val old)
{
    ir_val source = csr_source(c, a);

    switch (a->op) {
    case RISCV_CSR_SET: return ir_bin(c->u, IR_OR, IR_I64, old, source);
    case RISCV_CSR_CLEAR: return ir_bin(c->u, IR_ANDN, IR_I64, old, source);
    default: return source;
    }
}

/*
 * Set the rounding mode to the low three bits of [v]. The mode belongs to the key of translated
 * code, so the unit ends here, except that it goes on with the next instruction's unit if nothing
 * changes, which is what most writes do (saving and restoring around a function).
 */
static void write_frm(struct riscv_lift *c, ir_val v)
{
    ir_val mode = ir_bini(c->u, IR_AND, IR_I64, v, 7);
    uint64_t value;

    if (ir_is_const(c->u, mode, &value)) {
        if (value == c->frm) {
            return;
        }
    } else {
        ir_exit_if(c->u, IR_EQ, IR_I64, mode, ir_const(c->u, IR_I64, c->frm), c->next_pc);
    }
    if (c->mode != c->frm) {
        mode = ir_bini(c->u, IR_OR, IR_I64, mode, (int64_t)(c->mode & ~7u));
    }
    ir_sts(c->u, IR_I32, offsetof(struct vcpu, mode), mode);
    riscv_exit(c, VCPU_EXIT_MODE, c->next_pc);
}

static bool access_fp_csr(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    ir_val old, v = 0;

    if (!riscv_has(c->model, RISCV_EXT_F)) {
        return false;
    }
    if (c->system) {
        if (!c->system->before_fp(c, FSCSR)) {
            return false;
        }
        if (c->result == LIFT_END) {
            return true;
        }
    }
    old = ir_const(c->u, IR_I64, a->csr == CSR_FCSR ? (uint64_t)c->frm << 5 : c->frm);
    /* csrrw to x0 doesn't read. */
    if (a->csr != CSR_FRM && (a->rd || a->op != RISCV_CSR_WRITE)) {
        ir_val flags = ir_fgetflags(c->u);

        old = a->csr == CSR_FCSR ? ir_bin(c->u, IR_OR, IR_I64, old, flags) : flags;
    }
    if (a->writes) {
        v = csr_new_value(c, a, old);
    }
    riscv_put_x(c, a->rd, old);
    if (a->writes && a->csr != CSR_FRM) {
        ir_fsetflags(c->u, ir_bini(c->u, IR_AND, IR_I64, v, 31));
    }
    if (a->writes && a->csr == CSR_FCSR) {
        v = ir_bini(c->u, IR_SHR, IR_I64, v, 5);
    }
    if (a->writes && a->csr != CSR_FFLAGS) {
        write_frm(c, v);
    }
    return true;
}

static bool access_counter(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    const struct ir_helper *helper = a->csr == CSR_TIME ? &riscv_helper_time
                                                        : &riscv_helper_cycle;

    /* They are read-only. */
    if (!riscv_has(c->model, RISCV_EXT_ZICNTR) || a->writes) {
        return false;
    }
    riscv_put_x(c, a->rd, ir_helper(c->u, IR_I64, helper, 0, 0, 0, 0));
    return true;
}

/* Zkr: only an access that writes is legal; what it writes is ignored. */
static bool access_seed(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    if (!riscv_has(c->model, RISCV_EXT_ZKR) || !a->writes) {
        return false;
    }
    riscv_put_x(c, a->rd, ir_helper(c->u, IR_I64, &riscv_helper_seed, 0, 0, 0, 0));
    return true;
}

static bool access_csr(struct riscv_lift *c, const struct riscv_csr_access *a)
{
    switch (a->csr) {
    case CSR_FFLAGS:
    case CSR_FRM:
    case CSR_FCSR: return access_fp_csr(c, a);
    default: break;
    }
    if (c->system) {
        return c->system->csr(c, a);
    }
    switch (a->csr) {
    case CSR_CYCLE:
    case CSR_TIME:
    case CSR_INSTRET: return access_counter(c, a);
    case CSR_SEED: return access_seed(c, a);
    default: return false;
    }
}

static bool csr_register(struct riscv_lift *c, const struct riscv_arg_csr *a, enum riscv_csr_op op)
{
    struct riscv_csr_access access = {
        .rd = a->rd, .csr = (unsigned)a->csr, .op = op, .rs1 = a->rs1,
        .writes = op == RISCV_CSR_WRITE || a->rs1 != 0,
    };

    return access_csr(c, &access);
}

static bool csr_immediate(struct riscv_lift *c, const struct riscv_arg_csri *a,
                          enum riscv_csr_op op)
{
    struct riscv_csr_access access = {
        .rd = a->rd, .csr = (unsigned)a->csr, .op = op, .rs1 = -1, .zimm = (unsigned)a->zimm,
        .writes = op == RISCV_CSR_WRITE || a->zimm != 0,
    };

    return access_csr(c, &access);
}

#define LIFT_CSR(name, op)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_csr *a)                    \
    {                                                                                              \
        return csr_register(c, a, op);                                                             \
    }
#define LIFT_CSRI(name, op)                                                                        \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_csri *a)                   \
    {                                                                                              \
        return csr_immediate(c, a, op);                                                            \
    }

LIFT_CSR(csrrw, RISCV_CSR_WRITE)
LIFT_CSR(csrrs, RISCV_CSR_SET)
LIFT_CSR(csrrc, RISCV_CSR_CLEAR)
LIFT_CSRI(csrrwi, RISCV_CSR_WRITE)
LIFT_CSRI(csrrsi, RISCV_CSR_SET)
LIFT_CSRI(csrrci, RISCV_CSR_CLEAR)

/* ---- Instructions that only a machine has ---- */

bool riscv_lift_mret(struct riscv_lift *c)
{
    return c->system && c->system->mret(c);
}

bool riscv_lift_sret(struct riscv_lift *c)
{
    return c->system && c->system->sret(c);
}

bool riscv_lift_wfi(struct riscv_lift *c)
{
    return c->system && c->system->wfi(c);
}

bool riscv_lift_sfence_vma(struct riscv_lift *c, const struct riscv_arg_rs *a)
{
    return c->system && c->system->sfence_vma(c, a->rs1, a->rs2);
}

bool riscv_lift_sinval_vma(struct riscv_lift *c, const struct riscv_arg_rs *a)
{
    return c->system && c->system->sfence_vma(c, a->rs1, a->rs2);
}

bool riscv_lift_sfence_w_inval(struct riscv_lift *c)
{
    return c->system && c->system->sfence_inval(c);
}

bool riscv_lift_sfence_inval_ir(struct riscv_lift *c)
{
    return c->system && c->system->sfence_inval(c);
}
