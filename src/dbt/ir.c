/*
 * The IR: tables, units, and the part of the builder that only appends (ir_fold.c has the
 * simplifying part).
 */
#include "dbt/ir.h"

#include <string.h>

#include "dbt/guest.h"
#include "dbt/ir_build.h"

const char *const ir_op_names[IR_OPCODE_COUNT] = {
#define ROW(name, nargs, flags) #name,
    IR_OPS(ROW)
#undef ROW
};

const uint8_t ir_op_nargs[IR_OPCODE_COUNT] = {
#define ROW(name, nargs, flags) nargs,
    IR_OPS(ROW)
#undef ROW
};

const uint8_t ir_op_flags[IR_OPCODE_COUNT] = {
#define ROW(name, nargs, flags) flags,
    IR_OPS(ROW)
#undef ROW
};

const char *const ir_type_names[IR_TYPE_COUNT] = {
    "void", "i8", "i16", "i32", "i64", "i128", "f16", "f32", "f64", "f80", "v128", "v256",
};

unsigned ir_type_bits(enum ir_type type)
{
    static const uint16_t bits[IR_TYPE_COUNT] = {0, 8, 16, 32, 64, 128, 16, 32, 64, 80, 128, 256};

    return type < IR_TYPE_COUNT ? bits[type] : 0;
}

struct ir_unit *ir_unit_new(void)
{
    struct ir_unit *u = g_new0(struct ir_unit, 1);

    u->ops = g_new0(struct ir_op, IR_MAX_OPS);
    u->n_ops = 1;
    return u;
}

void ir_unit_free(struct ir_unit *u)
{
    if (u) {
        g_free(u->ops);
        g_free(u);
    }
}

void ir_unit_reset(struct ir_unit *u, const struct guest_arch *arch, uint64_t pc, uint32_t mode)
{
    u->arch = arch;
    u->pc = pc;
    u->mode = mode;
    u->frm = arch->mode_frm ? arch->mode_frm(mode) : IR_RNE;
    u->n_ops = 1;
    u->n_insns = 0;
    u->overflow = false;
    u->ended = false;
    /* consts needs no reset: an entry is checked against the operation that it names. */
    memset(u->reg, 0, sizeof(u->reg));
}

void ir_unit_mark(const struct ir_unit *u, struct ir_mark *mark)
{
    mark->n_ops = u->n_ops;
    mark->n_insns = u->n_insns;
    mark->overflow = u->overflow;
    mark->ended = u->ended;
    memcpy(mark->reg, u->reg, sizeof(mark->reg));
}

void ir_unit_rewind(struct ir_unit *u, const struct ir_mark *mark)
{
    u->n_ops = mark->n_ops;
    u->n_insns = mark->n_insns;
    u->overflow = mark->overflow;
    u->ended = mark->ended;
    memcpy(u->reg, mark->reg, sizeof(u->reg));
}

/* Near the end of the operations, or after the end of the unit. */
ir_val ir_append_slow(struct ir_unit *u, const struct ir_op *op)
{
    if (u->ended || u->overflow) {
        return 0;
    }
    if (u->n_ops < IR_MAX_OPS && (op->op == IR_CONST || op->op == IR_PC ||
                                  (ir_op_flags[op->op] & IR_E))) {
        u->ops[u->n_ops] = *op;
        return u->n_ops++;
    }
    u->overflow = true;
    return 0;
}

ir_val ir_emit(struct ir_unit *u, struct ir_op op)
{
    ir_val v = ir_append(u, &op);

    if (!v) {
        return 0;
    }
    if (op.op == IR_PUT && op.imm < IR_MAX_REGS) {
        u->reg[op.imm] = op.arg[0];
    } else if (op.op == IR_HELPER && op.imm) {
        const struct ir_helper *helper = (const struct ir_helper *)(uintptr_t)op.imm;

        if (helper->flags & IR_HELPER_SYNC) {
            memset(u->reg, 0, sizeof(u->reg));
        }
    } else if (op.op == IR_INSN) {
        u->n_insns++;
    }
    u->ended = ir_op_flags[op.op] & IR_E;
    return v;
}

void ir_insn(struct ir_unit *u, uint64_t pc, unsigned length)
{
    struct ir_op op = {.op = IR_INSN, .aux32 = length, .imm = pc};

    if (ir_append(u, &op)) {
        u->n_insns++;
    }
}

ir_val ir_const(struct ir_unit *u, enum ir_type type, uint64_t value)
{
    uint64_t imm = ir_canonical(type, value);
    ir_val *slot = &u->consts[imm * UINT64_C(0x9e3779b97f4a7c15) >> 60 & (IR_CONST_CACHE - 1)];
    struct ir_op op = {.op = IR_CONST, .type = type, .imm = imm};
    const struct ir_op *old = &u->ops[*slot];
    ir_val v;

    if (*slot < u->n_ops && old->op == IR_CONST && old->type == type && old->imm == imm) {
        return *slot;
    }
    v = ir_append(u, &op);
    if (v) {
        *slot = v;
    }
    return v;
}

ir_val ir_pc(struct ir_unit *u, uint64_t pc)
{
    int64_t distance = (int64_t)(pc - u->pc);
    struct ir_op op = {.op = IR_PC, .type = IR_I64, .imm = pc};

    if (!u->relative) {
        return ir_const(u, IR_I64, pc);
    }
    if (!ir_fits_int32(distance - 4096) || !ir_fits_int32(distance + 4096)) {
        op.imm = u->pc;
        return ir_append2(u, IR_ADD, IR_I64, ir_append(u, &op),
                          ir_const(u, IR_I64, (uint64_t)distance));
    }
    return ir_append(u, &op);
}

bool ir_is_const(const struct ir_unit *u, ir_val v, uint64_t *value)
{
    if (u->ops[v].op != IR_CONST) {
        return false;
    }
    *value = u->ops[v].imm;
    return true;
}

ir_val ir_get(struct ir_unit *u, unsigned reg)
{
    struct ir_op op = {.op = IR_GET, .imm = reg};
    ir_val v;

    g_assert(reg < u->arch->n_regs);
    if (u->reg[reg]) {
        return u->reg[reg];
    }
    op.type = u->arch->regs[reg].type;
    v = ir_append(u, &op);
    u->reg[reg] = v;
    return v;
}

void ir_put(struct ir_unit *u, unsigned reg, ir_val v)
{
    struct ir_op op = {.op = IR_PUT, .arg = {v}, .imm = reg};

    g_assert(reg < u->arch->n_regs);
    if (u->reg[reg] != v && ir_append(u, &op)) {
        u->reg[reg] = v;
    }
}

ir_val ir_lds(struct ir_unit *u, enum ir_type type, size_t offset)
{
    struct ir_op op = {.op = IR_LDS, .type = type, .imm = offset};

    return ir_append(u, &op);
}

void ir_sts(struct ir_unit *u, enum ir_type type, size_t offset, ir_val v)
{
    struct ir_op op = {.op = IR_STS, .type = type, .arg = {v}, .imm = offset};

    ir_append(u, &op);
}

/*
 * The address of a LOAD or STORE: takes the constant of an ADD into the offset, unless that would
 * keep an old value alive while the sum sits in a guest register anyway (a pointer that was just
 * stepped).
 */
static ir_val fold_address(struct ir_unit *u, ir_val addr, int64_t *offset)
{
    const struct ir_op *op = &u->ops[addr];
    int64_t sum;

    if (op->op == IR_ADD && op->type == IR_I64 && u->ops[op->arg[1]].op == IR_CONST &&
        !__builtin_add_overflow((int64_t)u->ops[op->arg[1]].imm, *offset, &sum) &&
        ir_fits_int32(sum) && (ir_in_register(u, op->arg[0]) || !ir_in_register(u, addr))) {
        *offset = sum;
        return op->arg[0];
    }
    if (!ir_fits_int32(*offset)) {
        addr = ir_bini(u, IR_ADD, IR_I64, addr, *offset);
        *offset = 0;
    }
    return addr;
}

ir_val ir_load(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, int64_t offset,
               unsigned flags)
{
    struct ir_op op = {.op = IR_LOAD, .type = type, .aux = flags, .aux2 = mem};

    if (type == mem) {
        op.aux &= ~IR_MEM_SIGNED;
    }
    op.arg[0] = fold_address(u, addr, &offset);
    op.imm = (uint64_t)offset;
    return ir_append(u, &op);
}

void ir_store(struct ir_unit *u, enum ir_type mem, ir_val addr, int64_t offset, ir_val v,
              unsigned flags)
{
    struct ir_op op = {.op = IR_STORE, .aux = flags, .aux2 = mem};

    op.arg[0] = fold_address(u, addr, &offset);
    op.arg[1] = v;
    op.imm = (uint64_t)offset;
    ir_append(u, &op);
}

ir_val ir_amo(struct ir_unit *u, enum ir_amo kind, enum ir_type type, enum ir_type mem, ir_val addr,
              ir_val v, unsigned flags)
{
    struct ir_op op = {
        .op = IR_AMO, .type = type, .aux = flags, .aux2 = mem, .aux32 = kind, .arg = {addr, v}};

    return ir_append(u, &op);
}

ir_val ir_cas(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, ir_val expected,
              ir_val desired, unsigned flags)
{
    struct ir_op op = {
        .op = IR_CAS, .type = type, .aux = flags, .aux2 = mem, .arg = {addr, expected, desired}};

    return ir_append(u, &op);
}

ir_val ir_ldx(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, unsigned flags)
{
    struct ir_op op = {.op = IR_LDX, .type = type, .aux = flags, .aux2 = mem, .arg = {addr}};

    return ir_append(u, &op);
}

ir_val ir_stx(struct ir_unit *u, enum ir_type mem, ir_val addr, ir_val v, unsigned flags)
{
    struct ir_op op = {.op = IR_STX, .type = IR_I64, .aux = flags, .aux2 = mem, .arg = {addr, v}};

    return ir_append(u, &op);
}

void ir_fence(struct ir_unit *u, unsigned pred, unsigned succ)
{
    struct ir_op op = {.op = IR_FENCE, .aux = pred << 2 | succ};

    /* A fence that orders nothing. */
    if (pred && succ) {
        ir_append(u, &op);
    }
}

ir_val ir_fbin(struct ir_unit *u, enum ir_opcode opcode, enum ir_type type, ir_val a, ir_val b,
               unsigned aux)
{
    struct ir_op op = {.op = opcode, .type = type, .aux = aux, .arg = {a, b}};

    if (opcode == IR_FSGN && aux == IR_FSGN_COPY && a == b) {
        return a;
    }
    return ir_append(u, &op);
}

ir_val ir_fmadd(struct ir_unit *u, enum ir_type type, ir_val a, ir_val b, ir_val c, enum ir_rm rm,
                unsigned neg)
{
    struct ir_op op = {.op = IR_FMADD, .type = type, .aux = rm, .aux2 = neg, .arg = {a, b, c}};

    return ir_append(u, &op);
}

ir_val ir_fsqrt(struct ir_unit *u, enum ir_type type, ir_val a, enum ir_rm rm)
{
    struct ir_op op = {.op = IR_FSQRT, .type = type, .aux = rm, .arg = {a}};

    return ir_append(u, &op);
}

ir_val ir_fcmp(struct ir_unit *u, enum ir_fcond cond, enum ir_type type, ir_val a, ir_val b)
{
    struct ir_op op = {.op = IR_FCMP, .type = IR_I64, .aux = cond, .aux2 = type, .arg = {a, b}};

    return ir_append(u, &op);
}

ir_val ir_fclass(struct ir_unit *u, enum ir_type type, ir_val a)
{
    struct ir_op op = {.op = IR_FCLASS, .type = IR_I64, .aux2 = type, .arg = {a}};

    return ir_append(u, &op);
}

ir_val ir_fcvt(struct ir_unit *u, enum ir_opcode opcode, enum ir_type to, enum ir_type from,
               ir_val a, enum ir_rm rm)
{
    struct ir_op op = {.op = opcode, .type = to, .aux = rm, .aux2 = from, .arg = {a}};

    return ir_append(u, &op);
}

ir_val ir_fround(struct ir_unit *u, enum ir_type type, ir_val a, enum ir_rm rm, bool inexact)
{
    struct ir_op op = {.op = IR_FROUND, .type = type, .aux = rm, .aux2 = inexact, .arg = {a}};

    return ir_append(u, &op);
}

ir_val ir_fgetflags(struct ir_unit *u)
{
    return ir_append2(u, IR_FGETFLAGS, IR_I64, 0, 0);
}

void ir_fsetflags(struct ir_unit *u, ir_val v)
{
    ir_append2(u, IR_FSETFLAGS, IR_VOID, v, 0);
}

ir_val ir_helper(struct ir_unit *u, enum ir_type type, const struct ir_helper *helper, ir_val a,
                 ir_val b, ir_val c, ir_val d)
{
    return ir_emit(
        u, (struct ir_op){
               .op = IR_HELPER, .type = type, .arg = {a, b, c, d}, .imm = (uintptr_t)helper});
}

void ir_jump(struct ir_unit *u, ir_val target)
{
    ir_emit(u, (struct ir_op){.op = IR_JUMP, .arg = {target}});
}

void ir_call(struct ir_unit *u, ir_val target, uint64_t return_pc)
{
    ir_emit(u, (struct ir_op){.op = IR_CALL, .arg = {target}, .imm = return_pc});
}

void ir_ret(struct ir_unit *u, ir_val target)
{
    ir_emit(u, (struct ir_op){.op = IR_RET, .arg = {target}});
}

void ir_exit(struct ir_unit *u, unsigned reason, uint64_t pc)
{
    ir_emit(u, (struct ir_op){.op = IR_EXIT, .aux32 = reason, .imm = pc});
}
