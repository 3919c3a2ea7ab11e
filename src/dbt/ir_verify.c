/*
 * The rules of the IR, checked. Used by the tests, by debug builds of the translator and with
 * "-d op"; everything else may rely on a unit that passes.
 */
#include <inttypes.h>

#include "dbt/guest.h"
#include "dbt/ir_build.h"

struct verifier {
    const struct ir_unit *u;
    const struct ir_op *op; /* being checked */
    unsigned index;         /* its number */
    char *error;            /* the first rule broken, g_malloc'ed; NULL: none */
};

static bool G_GNUC_PRINTF(2, 3) fail(struct verifier *v, const char *format, ...)
{
    va_list ap;
    g_autofree char *text = NULL;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    if (!v->error) {
        v->error =
            g_strdup_printf("op %u (%s): %s", v->index,
                            v->op->op < IR_OPCODE_COUNT ? ir_op_names[v->op->op] : "?", text);
    }
    return false;
}

static const char *type_name(unsigned type)
{
    return type < IR_TYPE_COUNT ? ir_type_names[type] : "?";
}

/* The floating-point types that there are operations for. */
static bool is_float(unsigned type)
{
    return type >= IR_F16 && type <= IR_F64;
}

static bool want_word(struct verifier *v, unsigned type)
{
    return ir_type_is_word(type) ||
           fail(v, "%s is no integer type of up to 64 bits", type_name(type));
}

static bool want_float(struct verifier *v, unsigned type)
{
    return is_float(type) ||
           fail(v, "%s is no floating-point type of up to 64 bits", type_name(type));
}

static bool want_value(struct verifier *v, unsigned type)
{
    if (ir_type_is_word(type) || is_float(type)) {
        return true;
    }
    if (type == IR_I128 || type == IR_F80 || type == IR_V128 || type == IR_V256) {
        return fail(v, "type %s is not supported yet", type_name(type));
    }
    return fail(v, "needs a type, has %s", type_name(type));
}

static bool want_type(struct verifier *v, unsigned type)
{
    return v->op->type == type ||
           fail(v, "must be of type %s, is %s", type_name(type), type_name(v->op->type));
}

static bool want_aux(struct verifier *v, unsigned aux, unsigned limit, const char *what)
{
    return aux < limit || fail(v, "%s %u is out of range", what, aux);
}

static unsigned arg_type(const struct verifier *v, unsigned i)
{
    return v->u->ops[v->op->arg[i]].type;
}

/* Argument [i] is an integer with at least the bits of [type]. */
static bool want_int_arg(struct verifier *v, unsigned i, unsigned type)
{
    unsigned have = arg_type(v, i);

    return (ir_type_is_word(have) && have >= type) ||
           fail(v, "argument %u is %s, must be an integer of at least %s", i, type_name(have),
                type_name(type));
}

static bool want_int_args(struct verifier *v, unsigned first, unsigned count, unsigned type)
{
    for (unsigned i = first; i < first + count; i++) {
        if (!want_int_arg(v, i, type)) {
            return false;
        }
    }
    return true;
}

static bool want_float_arg(struct verifier *v, unsigned i, unsigned type)
{
    return arg_type(v, i) == type ||
           fail(v, "argument %u is %s, must be %s", i, type_name(arg_type(v, i)), type_name(type));
}

/* Raw bits of a floating-point number: the low part of a wider container will do. */
static bool want_raw_float_arg(struct verifier *v, unsigned i, unsigned type)
{
    unsigned have = arg_type(v, i);

    return (is_float(have) && have >= type) ||
           fail(v, "argument %u is %s, must be %s or wider", i, type_name(have), type_name(type));
}

/* An argument for a place of type [type], integer or floating point. */
static bool want_arg(struct verifier *v, unsigned i, unsigned type)
{
    return is_float(type) ? want_float_arg(v, i, type) : want_int_arg(v, i, type);
}

static bool check_register(struct verifier *v)
{
    const struct guest_arch *arch = v->u->arch;
    unsigned type;

    if (v->op->imm >= arch->n_regs) {
        return fail(v, "no guest register %" PRIu64, v->op->imm);
    }
    type = arch->regs[v->op->imm].type;
    if (!want_value(v, type)) {
        return false;
    }
    if (v->op->op == IR_GET) {
        return want_type(v, type);
    }
    return want_type(v, IR_VOID) && want_arg(v, 0, type);
}

/* State by offset: inside the vCPU, and no guest register, whose value may be elsewhere. */
static bool check_state(struct verifier *v)
{
    const struct guest_arch *arch = v->u->arch;
    unsigned size = ir_type_bytes(v->op->type);
    uint64_t offset = v->op->imm;

    if (!want_value(v, v->op->type)) {
        return false;
    }
    if (offset > arch->vcpu_size || arch->vcpu_size - offset < size) {
        return fail(v, "offset %" PRIu64 " is outside the vCPU", offset);
    }
    for (unsigned i = 0; i < arch->n_regs; i++) {
        const struct guest_reg *reg = &arch->regs[i];

        if (offset < reg->offset + ir_type_bytes(reg->type) && reg->offset < offset + size) {
            return fail(v, "offset %" PRIu64 " is guest register %s", offset, reg->name);
        }
    }
    return v->op->op == IR_LDS || want_arg(v, 0, v->op->type);
}

static bool check_memory(struct verifier *v)
{
    const struct ir_op *op = v->op;
    bool plain = op->op == IR_LOAD || op->op == IR_STORE;
    unsigned known = IR_MEM_ALIGN | IR_MEM_ACQUIRE | IR_MEM_RELEASE;

    if (op->op == IR_LOAD) {
        known |= IR_MEM_SIGNED;
    }
    if (!(plain ? want_value(v, op->aux2) : want_word(v, op->aux2)) ||
        !want_int_arg(v, 0, IR_I64)) {
        return false;
    }
    if (op->aux & ~known) {
        return fail(v, "unknown flags %#x", op->aux & ~known);
    }
    if (plain ? !ir_fits_int32((int64_t)op->imm) : op->imm != 0) {
        return fail(v, "offset %" PRId64 " is out of range", (int64_t)op->imm);
    }
    switch (op->op) {
    case IR_LOAD:
        if (is_float(op->aux2)) {
            return want_type(v, op->aux2) &&
                   (!(op->aux & IR_MEM_SIGNED) || fail(v, "signed, but floating point"));
        }
        break;
    case IR_STORE:
        return want_type(v, IR_VOID) && (is_float(op->aux2) ? want_raw_float_arg(v, 1, op->aux2)
                                                            : want_int_arg(v, 1, op->aux2));
    case IR_STX: return want_type(v, IR_I64) && want_int_arg(v, 1, op->aux2);
    case IR_AMO:
        if (!want_aux(v, op->aux32, IR_AMO_MAXU + 1, "kind") || !want_int_arg(v, 1, op->aux2)) {
            return false;
        }
        break;
    case IR_CAS:
        if (!want_int_args(v, 1, 2, op->aux2)) {
            return false;
        }
        break;
    default: break;
    }
    return want_word(v, op->type) &&
           (op->type >= op->aux2 || fail(v, "type is narrower than that in memory"));
}

static bool check_bitcast(struct verifier *v)
{
    unsigned to = v->op->type;

    if (is_float(to)) {
        unsigned bits = ir_type_bits(to);

        return want_int_arg(v, 0, bits == 16 ? IR_I16 : bits == 32 ? IR_I32 : IR_I64);
    }
    if (!want_word(v, to) || !is_float(arg_type(v, 0))) {
        return fail(v, "from %s to %s", type_name(arg_type(v, 0)), type_name(to));
    }
    return ir_type_bits(arg_type(v, 0)) >= ir_type_bits(to) ||
           fail(v, "%s is narrower than %s", type_name(arg_type(v, 0)), type_name(to));
}

static bool check_compare(struct verifier *v)
{
    const struct ir_op *op = v->op;

    if (!want_aux(v, op->aux, IR_COND_COUNT, "condition") || !want_word(v, op->aux2) ||
        !want_int_args(v, 0, 2, op->aux2)) {
        return false;
    }
    switch (op->op) {
    case IR_SETCC: return want_type(v, IR_I64);
    case IR_EXIT_IF: return want_type(v, IR_VOID);
    default: return want_value(v, op->type) && want_arg(v, 2, op->type) && want_arg(v, 3, op->type);
    }
}

static bool check_float(struct verifier *v)
{
    const struct ir_op *op = v->op;
    unsigned nargs = ir_op_nargs[op->op], modifiers = 1;

    if (op->op == IR_FMADD) {
        modifiers = (IR_FMA_NEG_PRODUCT | IR_FMA_NEG_ADDEND) + 1;
    } else if (op->op == IR_FROUND) {
        modifiers = 2;
    }
    switch (op->op) {
    case IR_FMIN:
    case IR_FMAX:
        if (!want_aux(v, op->aux, IR_FMM_PROPAGATE + 1, "kind")) {
            return false;
        }
        break;
    case IR_FSGN:
        if (!want_aux(v, op->aux, IR_FSGN_XOR + 1, "kind")) {
            return false;
        }
        break;
    default:
        if (!want_aux(v, op->aux, IR_RMM + 1, "rounding mode")) {
            return false;
        }
    }
    if (!want_aux(v, op->aux2, modifiers, "modifier") || !want_float(v, op->type)) {
        return false;
    }
    for (unsigned i = 0; i < nargs; i++) {
        if (!want_float_arg(v, i, op->type)) {
            return false;
        }
    }
    return true;
}

static bool check_conversion(struct verifier *v)
{
    const struct ir_op *op = v->op;
    unsigned integer = op->op == IR_ITOF || op->op == IR_UTOF ? op->aux2 : op->type;

    if (!want_aux(v, op->aux, IR_RMM + 1, "rounding mode")) {
        return false;
    }
    if (op->op != IR_FCVT && integer != IR_I32 && integer != IR_I64) {
        return fail(v, "%s is neither i32 nor i64", type_name(integer));
    }
    if (op->op == IR_ITOF || op->op == IR_UTOF) {
        return want_float(v, op->type) && want_int_arg(v, 0, op->aux2);
    }
    return want_float(v, op->aux2) && want_float_arg(v, 0, op->aux2) &&
           (op->op != IR_FCVT ||
            (want_float(v, op->type) && (op->type != op->aux2 || fail(v, "to its own type"))));
}

static bool check_box(struct verifier *v)
{
    const struct ir_op *op = v->op;
    unsigned narrow = op->op == IR_BOX ? op->aux2 : op->type;

    if (narrow != IR_F16 && narrow != IR_F32) {
        return fail(v, "%s can't be boxed", type_name(narrow));
    }
    return op->op == IR_BOX ? want_type(v, IR_F64) && want_float_arg(v, 0, narrow)
                            : want_float_arg(v, 0, IR_F64);
}

static bool check_helper(struct verifier *v)
{
    const struct ir_helper *helper = (const struct ir_helper *)(uintptr_t)v->op->imm;
    unsigned known = IR_HELPER_PURE | IR_HELPER_SYNC | IR_HELPER_MAY_EXIT | IR_HELPER_FPFLAGS;

    if (!helper || !helper->fn || !helper->name) {
        return fail(v, "no function");
    }
    if (helper->flags & ~known) {
        return fail(v, "%s: unknown flags %#x", helper->name, helper->flags & ~known);
    }
    if ((helper->flags & IR_HELPER_PURE) && helper->flags != IR_HELPER_PURE) {
        return fail(v, "%s: pure, but with effects", helper->name);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (v->op->arg[i] && !want_value(v, arg_type(v, i))) {
            return false;
        }
    }
    return v->op->type == IR_VOID || want_value(v, v->op->type);
}

static bool check_end(struct verifier *v)
{
    const struct ir_op *op = v->op;

    if (op->op == IR_EXIT && (op->aux32 == VCPU_EXIT_NONE || op->aux32 > VCPU_EXIT_YIELD)) {
        return fail(v, "no reason %" PRIu32, op->aux32);
    }
    return want_type(v, IR_VOID) && (op->op == IR_EXIT || want_int_arg(v, 0, IR_I64));
}

/* The type rules of each operation; opcode and argument indices are valid already. */
static bool check_op(struct verifier *v)
{
    const struct ir_op *op = v->op;

    switch (op->op) {
    case IR_NOP: return want_type(v, IR_VOID);
    case IR_INSN:
        return want_type(v, IR_VOID) &&
               ((op->aux32 >= 1 && op->aux32 <= 15) || fail(v, "length %" PRIu32, op->aux32));
    case IR_CONST: return want_value(v, op->type);
    case IR_PC:
        return want_type(v, IR_I64) &&
               (ir_fits_int32((int64_t)(op->imm - v->u->pc)) || fail(v, "too far from the code"));
    case IR_GET:
    case IR_PUT: return check_register(v);
    case IR_LDS:
    case IR_STS: return check_state(v);
    case IR_SEXT:
    case IR_ZEXT:
        return want_word(v, op->type) && want_word(v, op->aux) && want_int_arg(v, 0, op->aux) &&
               (op->aux <= op->type || fail(v, "narrows"));
    case IR_BITCAST: return check_bitcast(v);
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU:
        return want_aux(v, op->aux, IR_DIV0_ZERO + 1, "kind") && want_word(v, op->type) &&
               want_int_args(v, 0, 2, op->type);
    case IR_SETCC:
    case IR_SELCC:
    case IR_EXIT_IF: return check_compare(v);
    case IR_LOAD:
    case IR_STORE:
    case IR_AMO:
    case IR_CAS:
    case IR_LDX:
    case IR_STX: return check_memory(v);
    case IR_FENCE: return want_type(v, IR_VOID) && want_aux(v, op->aux, 16, "mask");
    case IR_FCMP:
        return want_aux(v, op->aux, IR_FLEQ + 1, "condition") && want_type(v, IR_I64) &&
               want_float(v, op->aux2) && want_float_arg(v, 0, op->aux2) &&
               want_float_arg(v, 1, op->aux2);
    case IR_FCLASS:
        return want_type(v, IR_I64) && want_float(v, op->aux2) && want_float_arg(v, 0, op->aux2);
    case IR_FCVT:
    case IR_FTOI:
    case IR_FTOU:
    case IR_ITOF:
    case IR_UTOF: return check_conversion(v);
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
    case IR_FSQRT:
    case IR_FMADD:
    case IR_FMIN:
    case IR_FMAX:
    case IR_FSGN:
    case IR_FROUND: return check_float(v);
    case IR_BOX:
    case IR_UNBOX: return check_box(v);
    case IR_FGETFLAGS: return want_type(v, IR_I64);
    case IR_FSETFLAGS: return want_type(v, IR_VOID) && want_int_arg(v, 0, IR_I8);
    case IR_HELPER: return check_helper(v);
    case IR_JUMP:
    case IR_CALL:
    case IR_RET:
    case IR_EXIT: return check_end(v);
    default:
        /* The integer arithmetic that is left: ADD .. CLMULR. */
        return want_word(v, op->type) && want_int_args(v, 0, ir_op_nargs[op->op], op->type);
    }
}

/* Arguments are values made before; there are no more of them than the operation takes. */
static bool check_args(struct verifier *v)
{
    const struct ir_op *op = v->op;
    unsigned nargs = ir_op_nargs[op->op];

    for (unsigned i = 0; i < 4; i++) {
        if (op->arg[i] >= v->index) {
            return fail(v, "argument %u (v%u) is not made before", i, op->arg[i]);
        }
        if (i >= nargs && op->arg[i]) {
            return fail(v, "has an argument %u", i);
        }
        if (i < nargs && op->op != IR_HELPER && !op->arg[i]) {
            return fail(v, "lacks argument %u", i);
        }
        if (op->arg[i] && (arg_type(v, i) == IR_VOID || v->u->ops[op->arg[i]].op == IR_STS)) {
            return fail(v, "argument %u (v%u) has no value", i, op->arg[i]);
        }
    }
    return true;
}

bool ir_verify(const struct ir_unit *u, char **error)
{
    struct verifier v = {.u = u, .op = u->ops};
    bool good = true;
    unsigned insns = 0;

    if (u->n_ops < 2 || u->n_ops > IR_MAX_OPS || u->ops[0].op != IR_NOP ||
        u->ops[0].type != IR_VOID) {
        good = fail(&v, "the unit is empty or has no NOP at its start");
    }
    for (unsigned i = 1; good && i < u->n_ops; i++) {
        bool last = i == u->n_ops - 1;

        v.op = &u->ops[i];
        v.index = i;
        if (v.op->op >= IR_OPCODE_COUNT) {
            good = fail(&v, "no such operation: %u", v.op->op);
        } else if (last != !!(ir_op_flags[v.op->op] & IR_E)) {
            good = fail(&v, last ? "the unit doesn't end" : "something follows the end");
        } else {
            good = check_args(&v) && check_op(&v);
        }
        insns += v.op->op == IR_INSN;
    }
    if (good && insns != u->n_insns) {
        good = fail(&v, "%u instructions are counted, there are %u", u->n_insns, insns);
    }
    *error = v.error;
    return good;
}
