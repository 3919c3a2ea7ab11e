/*
 * The IR as text.
 */
#include <glib.h>
#include <inttypes.h>

#include "dbt/guest.h"
#include "dbt/ir.h"

static const char *const cond_names[IR_COND_COUNT] = {
    "eq", "ne", "lt", "ge", "ltu", "geu", "gt", "le", "gtu", "leu",
};
static const char *const fcond_names[] = {"eq", "lt", "le", "ltq", "leq"};
static const char *const rm_names[] = {"rne", "rtz", "rdn", "rup", "rmm", "odd"};
static const char *const amo_names[] = {
    "swap", "add", "and", "or", "xor", "min", "max", "minu", "maxu",
};
static const char *const fsgn_names[] = {"copy", "not", "xor"};
static const char *const fmm_names[] = {"number", "propagate"};
static const char *const fma_names[] = {"", " -product", " -addend", " -product -addend"};
static const char *const exit_names[] = {
    "none",  "interrupt", "syscall", "breakpoint", "illegal",
    "fault", "debug",     "fence_i", "mode",       "yield",
};

/* A unit that breaks the rules must be printable too, so no index is trusted. */
#define NAME(table, index) ((index) < G_N_ELEMENTS(table) ? (table)[index] : "?")

static void print_opcode(const struct ir_op *op, FILE *f)
{
    for (const char *s = NAME(ir_op_names, op->op); *s; s++) {
        fputc(g_ascii_tolower(*s), f);
    }
    if (op->type != IR_VOID) {
        fprintf(f, ".%s", NAME(ir_type_names, op->type));
    }
}

static const char *reg_name(const struct ir_unit *u, uint64_t reg)
{
    return u->arch && reg < u->arch->n_regs ? u->arch->regs[reg].name : "?";
}

static void print_args(const struct ir_op *op, unsigned first, FILE *f)
{
    for (unsigned i = first; i < ir_op_nargs[op->op]; i++) {
        fprintf(f, "%sv%u", i == first ? " " : ", ", op->arg[i]);
    }
}

static void print_address(const struct ir_op *op, FILE *f)
{
    int64_t offset = (int64_t)op->imm;

    fprintf(f, " %s [v%u", NAME(ir_type_names, op->aux2), op->arg[0]);
    if (offset) {
        fprintf(f, " %c %" PRIu64, offset < 0 ? '-' : '+',
                offset < 0 ? -(uint64_t)offset : (uint64_t)offset);
    }
    fputc(']', f);
}

static void print_memory(const struct ir_op *op, FILE *f)
{
    if (op->op == IR_AMO) {
        fprintf(f, " %s", NAME(amo_names, op->aux32));
    }
    print_address(op, f);
    for (unsigned i = 1; i < ir_op_nargs[op->op]; i++) {
        fprintf(f, ", v%u", op->arg[i]);
    }
    fprintf(f, "%s%s%s%s", op->aux & IR_MEM_SIGNED ? " signed" : "",
            op->aux & IR_MEM_ALIGN ? " align" : "", op->aux & IR_MEM_ACQUIRE ? " acquire" : "",
            op->aux & IR_MEM_RELEASE ? " release" : "");
}

static void print_helper(const struct ir_op *op, FILE *f)
{
    const struct ir_helper *helper = (const struct ir_helper *)(uintptr_t)op->imm;
    const char *separator = "";

    fprintf(f, " %s(", helper ? helper->name : "?");
    for (unsigned i = 0; i < 4; i++) {
        if (op->arg[i]) {
            fprintf(f, "%sv%u", separator, op->arg[i]);
            separator = ", ";
        }
    }
    fputc(')', f);
}

/* A jump's target, and where it goes if that is known. */
static void print_jump(const struct ir_unit *u, const struct ir_op *op, FILE *f)
{
    uint64_t target;

    fprintf(f, " v%u", op->arg[0]);
    if (op->arg[0] < u->n_ops && ir_is_const(u, op->arg[0], &target)) {
        fprintf(f, " (0x%" PRIx64 ")", target);
    }
    if (op->op == IR_CALL) {
        fprintf(f, ", return to 0x%" PRIx64, op->imm);
    }
}

static void print_fp(const struct ir_op *op, FILE *f)
{
    switch (op->op) {
    case IR_FMIN:
    case IR_FMAX: fprintf(f, " %s", NAME(fmm_names, op->aux)); break;
    case IR_FSGN: fprintf(f, " %s", NAME(fsgn_names, op->aux)); break;
    case IR_FCMP:
        fprintf(f, " %s %s", NAME(fcond_names, op->aux), NAME(ir_type_names, op->aux2));
        break;
    case IR_FCLASS: fprintf(f, " %s", NAME(ir_type_names, op->aux2)); break;
    case IR_FCVT:
    case IR_FTOI:
    case IR_FTOU:
    case IR_ITOF:
    case IR_UTOF:
        fprintf(f, " %s %s", NAME(rm_names, op->aux), NAME(ir_type_names, op->aux2));
        break;
    case IR_FMADD: fprintf(f, " %s%s", NAME(rm_names, op->aux), NAME(fma_names, op->aux2)); break;
    case IR_FROUND: fprintf(f, " %s%s", NAME(rm_names, op->aux), op->aux2 ? " inexact" : ""); break;
    default: fprintf(f, " %s", NAME(rm_names, op->aux)); break;
    }
    print_args(op, 0, f);
}

static void print_op(const struct ir_unit *u, unsigned index, FILE *f)
{
    const struct ir_op *op = &u->ops[index];

    if (op->op == IR_INSN) {
        fprintf(f, "---- 0x%" PRIx64 " (%" PRIu32 ")\n", op->imm, op->aux32);
        return;
    }
    fputs("  ", f);
    if (op->type != IR_VOID && op->op != IR_STS) {
        fprintf(f, "v%u = ", index);
    }
    print_opcode(op, f);
    switch (op->op) {
    case IR_PC:
    case IR_CONST: fprintf(f, " 0x%" PRIx64, op->imm); break;
    case IR_GET: fprintf(f, " %s", reg_name(u, op->imm)); break;
    case IR_PUT: fprintf(f, " %s, v%u", reg_name(u, op->imm), op->arg[0]); break;
    case IR_LDS: fprintf(f, " @%" PRIu64, op->imm); break;
    case IR_STS: fprintf(f, " @%" PRIu64 ", v%u", op->imm, op->arg[0]); break;
    case IR_SEXT:
    case IR_ZEXT: fprintf(f, " %s v%u", NAME(ir_type_names, op->aux), op->arg[0]); break;
    case IR_BOX: fprintf(f, " %s v%u", NAME(ir_type_names, op->aux2), op->arg[0]); break;
    case IR_SETCC:
    case IR_SELCC:
        fprintf(f, " %s %s", NAME(cond_names, op->aux), NAME(ir_type_names, op->aux2));
        print_args(op, 0, f);
        break;
    case IR_EXIT_IF:
        fprintf(f, ".%s %s v%u, v%u -> 0x%" PRIx64, NAME(ir_type_names, op->aux2),
                NAME(cond_names, op->aux), op->arg[0], op->arg[1], op->imm);
        break;
    case IR_LOAD:
    case IR_STORE:
    case IR_AMO:
    case IR_CAS:
    case IR_LDX:
    case IR_STX: print_memory(op, f); break;
    case IR_FENCE: fprintf(f, " %u, %u", op->aux >> 2, op->aux & 3); break;
    case IR_HELPER: print_helper(op, f); break;
    case IR_JUMP:
    case IR_CALL:
    case IR_RET: print_jump(u, op, f); break;
    case IR_EXIT: fprintf(f, " %s, pc 0x%" PRIx64, NAME(exit_names, op->aux32), op->imm); break;
    default:
        if (op->op >= IR_FADD && op->op <= IR_FROUND) {
            print_fp(op, f);
        } else if (op->op < IR_OPCODE_COUNT) {
            print_args(op, 0, f);
        }
    }
    fputc('\n', f);
}

void ir_print(const struct ir_unit *u, FILE *f)
{
    fprintf(f, "unit 0x%" PRIx64 ", mode %" PRIu32 ", %u instructions\n", u->pc, u->mode,
            u->n_insns);
    for (unsigned i = 1; i < u->n_ops; i++) {
        if (u->ops[i].op != IR_NOP) {
            print_op(u, i, f);
        }
    }
}
