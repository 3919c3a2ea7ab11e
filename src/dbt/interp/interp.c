/*
 * The IR interpreter: one switch over the operations of a unit, values in an array by number.
 *
 * The array is on the stack (64 KiB, of which a unit touches 8 bytes for each of its operations),
 * so that the interpreter can be left by a signal handler's jump at any guest access.
 */
#include "dbt/interp/interp.h"

#include <glib.h>
#include <string.h>

#include "dbt/dbt.h"
#include "dbt/fp.h"
#include "dbt/guest.h"
#include "dbt/interp/memory.h"
#include "dbt/ir_eval.h"
#include "dbt/section.h"
#include "dbt/softmmu.h"

struct interp {
    struct vcpu *cpu;
    const struct ir_unit *u;
    uint64_t guest_base;
    const struct interp_hooks *hooks;
    uint64_t *v; /* values by operation number */
    uint64_t moved; /* how far a relative unit's code is from where it was lifted */
};

/* Values of floating-point type have no junk above their bits, whatever they came from. */
static uint64_t clean(enum ir_type type, uint64_t value)
{
    switch (type) {
    case IR_F16: return (uint16_t)value;
    case IR_F32: return (uint32_t)value;
    default: return value;
    }
}

/* ---- vCPU state ---- */

static uint64_t load_state(const struct vcpu *cpu, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (const char *)cpu + offset, size);
    return value;
}

static void store_state(struct vcpu *cpu, uint64_t offset, unsigned size, uint64_t value)
{
    memcpy((char *)cpu + offset, &value, size);
}

static uint64_t get_register(const struct interp *in, const struct ir_op *op)
{
    const struct guest_reg *reg = &in->u->arch->regs[op->imm];

    if (reg->type == IR_I64 || reg->type == IR_F64) {
        return load_state(in->cpu, reg->offset, 8);
    }
    return load_state(in->cpu, reg->offset, ir_type_bytes(reg->type));
}

static void put_register(struct interp *in, const struct ir_op *op)
{
    const struct guest_reg *reg = &in->u->arch->regs[op->imm];
    uint64_t value = in->v[op->arg[0]];

    if (reg->type == IR_I64 || reg->type == IR_F64) {
        store_state(in->cpu, reg->offset, 8, value);
    } else {
        store_state(in->cpu, reg->offset, ir_type_bytes(reg->type), value);
    }
}

/* ---- Memory ---- */

/* False if the access is misaligned and must not be: the fault is recorded in the vCPU. */
static bool check_alignment(struct interp *in, const struct ir_op *op, bool write)
{
    uint64_t addr = in->v[op->arg[0]] + op->imm;
    unsigned size = ir_type_bytes(op->aux2);

    if (!(op->aux & IR_MEM_ALIGN) || !(addr & (size - 1))) {
        return true;
    }
    in->cpu->fault_addr = addr;
    in->cpu->fault_kind = VCPU_FAULT_ALIGN;
    in->cpu->fault_access = write ? VCPU_WRITE : VCPU_READ;
    return false;
}

/* The host address of a memory operation that is about to be made; tells the hooks, which see a
 * read-modify-write as both. */
static void *guest_address(struct interp *in, const struct ir_op *op, bool read, bool write)
{
    uint64_t addr = in->v[op->arg[0]] + op->imm;
    unsigned size = ir_type_bytes(op->aux2);
    const struct interp_hooks *hooks = in->hooks;

    if (hooks && read) {
        hooks->access(hooks->opaque, in->cpu, addr, size, VCPU_READ);
    }
    if (hooks && write) {
        hooks->access(hooks->opaque, in->cpu, addr, size, VCPU_WRITE);
    }
    return (void *)(uintptr_t)(addr + in->guest_base);
}

/* A value from memory as the operation's type has it. */
static uint64_t widen(const struct ir_op *op, bool is_signed, uint64_t value)
{
    return is_signed ? (uint64_t)ir_sign_extend(value, ir_word_bits(op->aux2)) : value;
}

static uint64_t do_load(struct interp *in, const struct ir_op *op)
{
    void *host = guest_address(in, op, true, false);
    uint64_t value = interp_load(host, ir_type_bytes(op->aux2));

    if (op->aux & IR_MEM_ACQUIRE) {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    }
    return widen(op, op->aux & IR_MEM_SIGNED, value);
}

static void do_store(struct interp *in, const struct ir_op *op)
{
    void *host = guest_address(in, op, false, true);

    if (op->aux & IR_MEM_RELEASE) {
        __atomic_thread_fence(__ATOMIC_RELEASE);
    }
    interp_store(host, ir_type_bytes(op->aux2), in->v[op->arg[1]]);
    if (op->aux & IR_MEM_RELEASE) {
        /* A later load with acquire order must not pass it. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

static uint64_t do_amo(struct interp *in, const struct ir_op *op)
{
    void *host = guest_address(in, op, true, true);

    return widen(op, true, interp_atomic(op->aux32, op->aux2, host, in->v[op->arg[1]]));
}

static uint64_t do_cas(struct interp *in, const struct ir_op *op)
{
    uint64_t old = ir_zero_extend(in->v[op->arg[1]], ir_word_bits(op->aux2));
    void *host = guest_address(in, op, true, true);

    interp_compare_swap(host, ir_type_bytes(op->aux2), &old, in->v[op->arg[2]]);
    return widen(op, true, old);
}

static uint64_t do_load_exclusive(struct interp *in, const struct ir_op *op)
{
    void *host = guest_address(in, op, true, false);
    uint64_t value;

    if (op->aux & IR_MEM_RELEASE) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    value = interp_load(host, ir_type_bytes(op->aux2));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    in->cpu->excl_addr = in->v[op->arg[0]];
    in->cpu->excl_value = value;
    return widen(op, true, value);
}

/* Stores if memory still holds the value that LDX read there: another thread's store of the same
 * value in between goes unnoticed. Without a reservation memory isn't touched. */
static uint64_t do_store_exclusive(struct interp *in, const struct ir_op *op)
{
    struct vcpu *cpu = in->cpu;
    uint64_t old = cpu->excl_value;
    void *host;

    if (cpu->excl_addr != in->v[op->arg[0]]) {
        cpu->excl_addr = ~UINT64_C(0);
        return 1;
    }
    host = guest_address(in, op, false, true);
    cpu->excl_addr = ~UINT64_C(0);
    return !interp_compare_swap(host, ir_type_bytes(op->aux2), &old, in->v[op->arg[1]]);
}

/* ---- Memory in a restartable section: true if it was accessed, false if preempted ---- */

static bool section_do_load(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    void *host = guest_address(in, op, true, false);
    uint64_t value;

    if (!section_load(in->cpu, host, ir_type_bytes(op->aux2), &value)) {
        return false;
    }
    if (op->op == IR_LDX) {
        in->cpu->excl_addr = in->v[op->arg[0]];
        in->cpu->excl_value = value;
    }
    *result = widen(op, op->op == IR_LDX || op->aux & IR_MEM_SIGNED, value);
    return true;
}

static bool section_do_store(struct interp *in, const struct ir_op *op)
{
    void *host = guest_address(in, op, false, true);

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!section_store(in->cpu, host, ir_type_bytes(op->aux2), in->v[op->arg[1]])) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

static bool section_do_amo(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    void *host = guest_address(in, op, true, true);
    uint64_t operand = in->v[op->arg[1]], old = 0, value;
    unsigned size = ir_type_bytes(op->aux2);
    bool swapped = false;

    while (!swapped) {
        value = interp_atomic_result(op->aux32, op->aux2, old, operand);
        if (!section_compare_swap(in->cpu, host, size, &old, value, &swapped)) {
            return false;
        }
    }
    *result = widen(op, true, old);
    return true;
}

static bool section_do_cas(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    uint64_t old = ir_zero_extend(in->v[op->arg[1]], ir_word_bits(op->aux2));
    void *host = guest_address(in, op, true, true);
    bool swapped;

    if (!section_compare_swap(in->cpu, host, ir_type_bytes(op->aux2), &old, in->v[op->arg[2]],
                              &swapped)) {
        return false;
    }
    *result = widen(op, true, old);
    return true;
}

static bool section_do_store_exclusive(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    struct vcpu *cpu = in->cpu;
    uint64_t old = cpu->excl_value;
    bool reserved = cpu->excl_addr == in->v[op->arg[0]], swapped = false;

    cpu->excl_addr = ~UINT64_C(0);
    if (reserved &&
        !section_compare_swap(cpu, guest_address(in, op, false, true), ir_type_bytes(op->aux2),
                              &old, in->v[op->arg[1]], &swapped)) {
        return false;
    }
    *result = !swapped;
    return true;
}

static bool section_memory(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    switch (op->op) {
    case IR_LOAD:
    case IR_LDX: return section_do_load(in, op, result);
    case IR_STORE: return section_do_store(in, op);
    case IR_AMO: return section_do_amo(in, op, result);
    case IR_CAS: return section_do_cas(in, op, result);
    default: return section_do_store_exclusive(in, op, result);
    }
}

/* ---- Memory behind the guest's MMU: false for a fault ---- */

static void tell_hooks(struct interp *in, uint64_t addr, unsigned size, bool read, bool write)
{
    const struct interp_hooks *hooks = in->hooks;

    if (hooks && read) {
        hooks->access(hooks->opaque, in->cpu, addr, size, VCPU_READ);
    }
    if (hooks && write) {
        hooks->access(hooks->opaque, in->cpu, addr, size, VCPU_WRITE);
    }
}

static bool mapped_store_exclusive(struct interp *in, uint64_t addr, unsigned size, uint64_t value,
                                   uint64_t *result)
{
    struct vcpu *cpu = in->cpu;
    uint64_t old = cpu->excl_value;
    bool reserved = cpu->excl_addr == addr, swapped = false;

    if (reserved) {
        tell_hooks(in, addr, size, false, true);
    }
    if (reserved && !softmmu_compare_swap(cpu, addr, size, &old, value, &swapped)) {
        return false;
    }
    cpu->excl_addr = ~UINT64_C(0);
    *result = !swapped;
    return true;
}

static bool mapped_load_exclusive(struct interp *in, uint64_t addr, unsigned size, uint64_t *value)
{
    if (!dbt_load(in->cpu, addr, size, value)) {
        return false;
    }
    in->cpu->excl_addr = addr;
    in->cpu->excl_value = *value;
    return true;
}

static bool mapped_memory(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    uint64_t addr = in->v[op->arg[0]] + op->imm, value = in->v[op->arg[1]], old = 0;
    unsigned size = ir_type_bytes(op->aux2);
    bool load = op->op == IR_LOAD || op->op == IR_LDX, ok, swapped;

    if (op->op == IR_STX) {
        ok = mapped_store_exclusive(in, addr, size, value, result);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return ok;
    }
    tell_hooks(in, addr, size, op->op != IR_STORE, !load);
    if (op->aux & IR_MEM_RELEASE) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    switch (op->op) {
    case IR_LOAD: ok = dbt_load(in->cpu, addr, size, &old); break;
    case IR_LDX: ok = mapped_load_exclusive(in, addr, size, &old); break;
    case IR_STORE: ok = dbt_store(in->cpu, addr, size, value); break;
    case IR_AMO: ok = softmmu_amo(in->cpu, addr, op->aux32, op->aux2, value, &old); break;
    default:
        old = ir_zero_extend(value, ir_word_bits(op->aux2));
        ok = softmmu_compare_swap(in->cpu, addr, size, &old, in->v[op->arg[2]], &swapped);
        break;
    }
    if (op->aux & (IR_MEM_ACQUIRE | IR_MEM_RELEASE)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (ok && op->op != IR_STORE) {
        *result = widen(op, op->op != IR_LOAD || op->aux & IR_MEM_SIGNED, old);
    }
    return ok;
}

/* A store to the word that sections begin with: kept for who asked for it. */
static enum vcpu_exit store_to_word(struct interp *in, const struct ir_op *op)
{
    struct vcpu_section *s = &in->cpu->section;

    if (!s->catching) {
        return VCPU_EXIT_WORD;
    }
    s->caught = true;
    s->value = in->v[op->arg[1]];
    return VCPU_EXIT_NONE;
}

/* A memory operation: VCPU_EXIT_NONE when it was done. */
static enum vcpu_exit do_memory(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    const struct vcpu_section *s = &in->cpu->section;

    if (!check_alignment(in, op, op->op != IR_LOAD && op->op != IR_LDX)) {
        return VCPU_EXIT_FAULT;
    }
    if (in->cpu->tlb) {
        return mapped_memory(in, op, result) ? VCPU_EXIT_NONE : VCPU_EXIT_FAULT;
    }
    if (op->op == IR_STORE && op->aux2 == IR_I64 && in->v[op->arg[0]] + op->imm == s->word) {
        return store_to_word(in, op);
    }
    if (s->on) {
        return section_memory(in, op, result) ? VCPU_EXIT_NONE : VCPU_EXIT_RESTART;
    }
    switch (op->op) {
    case IR_LOAD: *result = do_load(in, op); break;
    case IR_STORE: do_store(in, op); break;
    case IR_AMO: *result = do_amo(in, op); break;
    case IR_CAS: *result = do_cas(in, op); break;
    case IR_LDX: *result = do_load_exclusive(in, op); break;
    default: *result = do_store_exclusive(in, op); break;
    }
    return VCPU_EXIT_NONE;
}

/* ---- Floating point ---- */

/* FADD .. FROUND. */
static uint64_t do_float(struct interp *in, const struct ir_op *op)
{
    uint64_t a = in->v[op->arg[0]], b = in->v[op->arg[1]];
    unsigned *flags = &in->cpu->fp_flags;

    switch (op->op) {
    case IR_FADD: return fp_add(op->type, a, b, op->aux, flags);
    case IR_FSUB: return fp_sub(op->type, a, b, op->aux, flags);
    case IR_FMUL: return fp_mul(op->type, a, b, op->aux, flags);
    case IR_FDIV: return fp_div(op->type, a, b, op->aux, flags);
    case IR_FSQRT: return fp_sqrt(op->type, a, op->aux, flags);
    case IR_FMADD: return fp_fma(op->type, a, b, in->v[op->arg[2]], op->aux2, op->aux, flags);
    case IR_FMIN: return fp_min(op->type, a, b, op->aux, flags);
    case IR_FMAX: return fp_max(op->type, a, b, op->aux, flags);
    case IR_FSGN: return fp_sign_inject(op->type, a, b, op->aux);
    case IR_FCMP: return fp_compare(op->aux2, a, b, op->aux, flags);
    case IR_FCLASS: return fp_classify(op->aux2, a);
    case IR_FCVT: return fp_convert(op->type, op->aux2, a, op->aux, flags);
    case IR_FTOI: return fp_to_int(op->type, true, op->aux2, a, op->aux, flags);
    case IR_FTOU: return fp_to_int(op->type, false, op->aux2, a, op->aux, flags);
    case IR_ITOF: return fp_from_int(op->type, op->aux2, true, a, op->aux, flags);
    case IR_UTOF: return fp_from_int(op->type, op->aux2, false, a, op->aux, flags);
    default: return fp_round_to_int(op->type, a, op->aux, op->aux2, flags);
    }
}

/* ---- Control ---- */

/* Returns why the unit is to be left, or VCPU_EXIT_NONE. */
static enum vcpu_exit do_helper(struct interp *in, const struct ir_op *op, uint64_t *result)
{
    const struct ir_helper *helper = (const struct ir_helper *)(uintptr_t)op->imm;
    struct vcpu *cpu = in->cpu;
    enum vcpu_exit reason;
    uint64_t arg[4];

    for (unsigned i = 0; i < 4; i++) {
        arg[i] = op->arg[i] ? in->v[op->arg[i]] : 0;
    }
    *result = clean(op->type, helper->fn(cpu, arg[0], arg[1], arg[2], arg[3]));
    if (!(helper->flags & IR_HELPER_MAY_EXIT)) {
        return VCPU_EXIT_NONE;
    }
    reason = cpu->exit_reason;
    cpu->exit_reason = VCPU_EXIT_NONE;
    return reason;
}

/* Operations without a result that don't leave the unit. */
static void do_effect(struct interp *in, const struct ir_op *op)
{
    const uint64_t *v = in->v;

    switch (op->op) {
    case IR_PUT: put_register(in, op); break;
    case IR_STS: store_state(in->cpu, op->imm, ir_type_bytes(op->type), v[op->arg[0]]); break;
    case IR_FENCE: __atomic_thread_fence(__ATOMIC_SEQ_CST); break;
    case IR_FSETFLAGS: dbt_fp_flags_set(in->cpu, v[op->arg[0]] & 0x1f); break;
    default: break;
    }
}

static bool condition(const struct interp *in, const struct ir_op *op)
{
    return ir_eval_cond(op->aux, op->aux2, in->v[op->arg[0]], in->v[op->arg[1]]);
}

/* clang-format off */
/* The integer operations, each with its own copy of the evaluation. */
#define INT_OPS(ROW)                                                                               \
    ROW(ADD) ROW(SUB) ROW(MUL) ROW(MULHSS) ROW(MULHUU) ROW(MULHSU) ROW(DIVS) ROW(DIVU) ROW(REMS)   \
    ROW(REMU) ROW(AND) ROW(OR) ROW(XOR) ROW(ANDN) ROW(ORN) ROW(XNOR) ROW(SHL) ROW(SHR) ROW(SAR)    \
    ROW(ROL) ROW(ROR) ROW(MINS) ROW(MAXS) ROW(MINU) ROW(MAXU) ROW(CLZ) ROW(CTZ) ROW(POPCNT)        \
    ROW(BSWAP) ROW(BREV8) ROW(ORCB) ROW(CLMUL) ROW(CLMULH) ROW(CLMULR)
/* clang-format on */

/* Operations that compute a value and touch nothing else but FP flags. */
static inline uint64_t compute(struct interp *in, const struct ir_op *op)
{
    const uint64_t *v = in->v;
    uint64_t a = v[op->arg[0]];

    switch (op->op) {
        /* clang-format off */
#define ROW(name)                                                                                  \
    case IR_##name: return ir_eval_int(IR_##name, op->type, op->aux, a, v[op->arg[1]]);
    INT_OPS(ROW)
#undef ROW
        /* clang-format on */
    case IR_CONST: return clean(op->type, op->imm);
    case IR_PC: return op->imm + in->moved;
    case IR_GET: return get_register(in, op);
    case IR_LDS: return load_state(in->cpu, op->imm, ir_type_bytes(op->type));
    case IR_SEXT: return (uint64_t)ir_sign_extend(a, ir_word_bits(op->aux));
    case IR_ZEXT: return ir_zero_extend(a, ir_word_bits(op->aux));
    case IR_BITCAST: return clean(op->type, a);
    case IR_SETCC: return condition(in, op);
    case IR_SELCC: return v[op->arg[condition(in, op) ? 2 : 3]];
    case IR_BOX: return ir_eval_box(op->aux2, a);
    case IR_UNBOX: return ir_eval_unbox(op->type, a);
    case IR_FGETFLAGS: return dbt_fp_flags_get(in->cpu);
    default: return do_float(in, op);
    }
}

/* Runs [in] from the unit's start; the values' array is the caller's. */
static enum vcpu_exit run(struct interp *in)
{
    const struct ir_unit *u = in->u;
    struct vcpu *cpu = in->cpu;
    uint64_t *v = in->v;

    for (unsigned i = 1; i < u->n_ops; i++) {
        const struct ir_op *op = &u->ops[i];
        enum vcpu_exit reason;

        switch (op->op) {
        case IR_NOP: break;
        case IR_INSN:
            cpu->pc = op->imm + in->moved;
            if (cpu->section.on && section_preempted(cpu)) {
                return VCPU_EXIT_RESTART;
            }
            break;
        case IR_PUT:
        case IR_STS:
        case IR_FENCE:
        case IR_FSETFLAGS: do_effect(in, op); break;
        case IR_LOAD:
        case IR_STORE:
        case IR_AMO:
        case IR_CAS:
        case IR_LDX:
        case IR_STX:
            reason = do_memory(in, op, &v[i]);
            if (reason != VCPU_EXIT_NONE) {
                return reason;
            }
            break;
        case IR_HELPER:
            reason = do_helper(in, op, &v[i]);
            if (reason != VCPU_EXIT_NONE) {
                return reason;
            }
            break;
        case IR_EXIT_IF:
            if (condition(in, op)) {
                cpu->pc = op->imm + in->moved;
                return VCPU_EXIT_NONE;
            }
            break;
        case IR_JUMP:
        case IR_CALL:
        case IR_RET: cpu->pc = v[op->arg[0]]; return VCPU_EXIT_NONE;
        case IR_EXIT: cpu->pc = op->imm + in->moved; return op->aux32;
        default: v[i] = compute(in, op); break;
        }
    }
    /* A unit ends with an operation that leaves it (ir_verify). */
    g_assert_not_reached();
}

enum vcpu_exit ir_interpret(struct vcpu *cpu, const struct ir_unit *u, uint64_t guest_base,
                            const struct interp_hooks *hooks)
{
    uint64_t v[IR_MAX_OPS];
    struct interp in = {
        .cpu = cpu,
        .u = u,
        .guest_base = guest_base,
        .hooks = hooks,
        .v = v,
        .moved = u->relative ? vcpu_code_page(cpu) - (u->pc & ~UINT64_C(0xfff)) : 0,
    };

    /* What arguments that an operation doesn't have read. */
    v[0] = 0;
    return run(&in);
}
