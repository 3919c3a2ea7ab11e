/*
 * The intermediate representation of the translator.
 *
 * A unit is one translation block: a straight line of operations with one entry and any number of
 * exits. Inside a unit values are SSA: an operation's index is the name of the value that it
 * makes. Guest registers are read and written explicitly (GET, PUT); the builder forwards values
 * from one to the next, folds constants and applies algebraic identities while it builds, so that
 * a lifter can emit the plain definition of an instruction and get good code.
 *
 * Conventions:
 *  - An integer operation of type T uses the low bits of its arguments: an argument may be wider
 *    than T, never narrower. The bits of a result above its type's width are undefined: widen with
 *    SEXT or ZEXT before a wider use.
 *  - Shift and rotate amounts are taken modulo the width of the type.
 *  - Comparison results and the results of STX are the integers 0 and 1 of type I64.
 *  - Floating-point values are raw bits in a container; F32 is the low 32 bits. An F64 value may
 *    be used where F32 raw bits are wanted (STORE, BITCAST); NaN boxing is explicit (BOX, UNBOX).
 *  - LDS and STS reach state that is no guest register (those may be elsewhere while a unit runs).
 *  - What the builder guarantees to back ends: a constant is the right operand wherever the
 *    operation or the comparison allows it, with its CONST sign-extended from the operation's type;
 *    SUB of a constant is ADD. Units made with ir_emit need not have this form.
 */
#ifndef NANDU_DBT_IR_H
#define NANDU_DBT_IR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct guest_arch;
struct vcpu;

enum ir_type {
    IR_VOID,
    IR_I8,
    IR_I16,
    IR_I32,
    IR_I64,
    IR_I128,
    IR_F16,
    IR_F32,
    IR_F64,
    IR_F80,
    IR_V128,
    IR_V256,
    IR_TYPE_COUNT
};

/* Comparisons of integers (SETCC, SELCC, EXIT_IF). */
enum ir_cond {
    IR_EQ,
    IR_NE,
    IR_LT,
    IR_GE,
    IR_LTU,
    IR_GEU,
    IR_GT,
    IR_LE,
    IR_GTU,
    IR_LEU,
    IR_COND_COUNT
};

/* Comparisons of floating-point numbers (FCMP). The Q forms signal only for signalling NaNs. */
enum ir_fcond { IR_FEQ, IR_FLT, IR_FLE, IR_FLTQ, IR_FLEQ };

/* Rounding modes, numbered as RISC-V's frm; IR_RM_ODD is for internal use by software. */
enum ir_rm { IR_RNE, IR_RTZ, IR_RDN, IR_RUP, IR_RMM };

/* Sticky floating-point flags in IR order (RISC-V's fflags): FGETFLAGS and FSETFLAGS. */
enum { IR_FLAG_NX = 1, IR_FLAG_UF = 2, IR_FLAG_OF = 4, IR_FLAG_DZ = 8, IR_FLAG_NV = 16 };

/* AMO: what is stored, from the old value and the operand. */
enum ir_amo {
    IR_AMO_SWAP,
    IR_AMO_ADD,
    IR_AMO_AND,
    IR_AMO_OR,
    IR_AMO_XOR,
    IR_AMO_MIN,
    IR_AMO_MAX,
    IR_AMO_MINU,
    IR_AMO_MAXU
};

/* Memory attributes (ir_op.aux of memory operations). */
enum {
    IR_MEM_SIGNED = 1,  /* LOAD of an integer: sign-extend to the type (else zero-extend) */
    IR_MEM_ALIGN = 2,   /* misaligned address: leave with VCPU_EXIT_FAULT, VCPU_FAULT_ALIGN */
    IR_MEM_ACQUIRE = 4, /* acquire ordering */
    IR_MEM_RELEASE = 8, /* release ordering */
};

/* FENCE (ir_op.aux): orders [predecessor] before [successor]; bits as RISC-V's w, r. */
enum { IR_FENCE_W = 1, IR_FENCE_R = 2 }; /* aux = pred << 2 | succ */

/* FMADD (ir_op.aux2): +-(a * b) +- c, rounded once. */
enum { IR_FMA_NEG_PRODUCT = 1, IR_FMA_NEG_ADDEND = 2 };

/* FSGN (ir_op.aux) */
enum { IR_FSGN_COPY, IR_FSGN_NOT, IR_FSGN_XOR };

/* FMIN, FMAX (ir_op.aux) */
enum {
    IR_FMM_NUMBER, /* IEEE 754-2019 minimumNumber: a NaN loses; -0 < +0 */
    IR_FMM_PROPAGATE, /* IEEE 754-2019 minimum: a NaN wins (and is the default NaN); -0 < +0 */
};

/* DIV/REM (ir_op.aux): the result of dividing by zero. Overflow wraps: MIN / -1 = MIN, rest 0. */
enum {
    IR_DIV0_ONES, /* quotient all ones, remainder the dividend (RISC-V) */
    IR_DIV0_ZERO, /* quotient 0, remainder the dividend (Arm) */
};

/*
 * Operations: name, number of value arguments, property flags, then what it computes.
 * P: pure (may be removed, may be merged); M: touches guest memory and may fault; S: has a side
 * effect; X: may leave the unit; E: ends the unit; F: floating point that may raise flags (such an
 * operation is not removed unless a lifter says so by not emitting it).
 */
#define IR_P 1
#define IR_M 2
#define IR_S 4
#define IR_X 8
#define IR_E 16
#define IR_F 32

#define IR_OPS(ROW)                                                                                \
    ROW(NOP, 0, 0)                                                                                 \
    ROW(INSN, 0, IR_S)      /* guest instruction at imm starts; aux32 = its length in bytes */     \
    ROW(CONST, 0, IR_P)     /* imm */                                                              \
    ROW(PC, 0, IR_P)        /* I64: guest address imm, moved as far as the unit's code was */          \
    ROW(GET, 0, IR_P)       /* guest register number imm */                                        \
    ROW(PUT, 1, IR_S)       /* guest register number imm := a */                                   \
    ROW(LDS, 0, 0)          /* vCPU state at byte offset imm, of the op's type, zero-extended */   \
    ROW(STS, 1, IR_S)       /* vCPU state at byte offset imm := a (type = size stored) */          \
    ROW(SEXT, 1, IR_P)      /* sign-extend the low aux-type (enum ir_type) bits of a */            \
    ROW(ZEXT, 1, IR_P)      /* zero-extend the low aux-type bits of a */                           \
    ROW(BITCAST, 1, IR_P)   /* integer <-> floating-point container, same width */                 \
    ROW(ADD, 2, IR_P)                                                                              \
    ROW(SUB, 2, IR_P)                                                                              \
    ROW(MUL, 2, IR_P)                                                                              \
    ROW(MULHSS, 2, IR_P)    /* high half of signed * signed */                                     \
    ROW(MULHUU, 2, IR_P)                                                                           \
    ROW(MULHSU, 2, IR_P)    /* a signed, b unsigned */                                             \
    ROW(DIVS, 2, IR_P)      /* aux: IR_DIV0_* */                                                   \
    ROW(DIVU, 2, IR_P)                                                                             \
    ROW(REMS, 2, IR_P)                                                                             \
    ROW(REMU, 2, IR_P)                                                                             \
    ROW(AND, 2, IR_P)                                                                              \
    ROW(OR, 2, IR_P)                                                                               \
    ROW(XOR, 2, IR_P)                                                                              \
    ROW(ANDN, 2, IR_P)      /* a & ~b */                                                           \
    ROW(ORN, 2, IR_P)       /* a | ~b */                                                           \
    ROW(XNOR, 2, IR_P)                                                                             \
    ROW(SHL, 2, IR_P)                                                                              \
    ROW(SHR, 2, IR_P)                                                                              \
    ROW(SAR, 2, IR_P)                                                                              \
    ROW(ROL, 2, IR_P)                                                                              \
    ROW(ROR, 2, IR_P)                                                                              \
    ROW(MINS, 2, IR_P)                                                                             \
    ROW(MAXS, 2, IR_P)                                                                             \
    ROW(MINU, 2, IR_P)                                                                             \
    ROW(MAXU, 2, IR_P)                                                                             \
    ROW(CLZ, 1, IR_P)       /* of zero: the width */                                               \
    ROW(CTZ, 1, IR_P)                                                                              \
    ROW(POPCNT, 1, IR_P)                                                                           \
    ROW(BSWAP, 1, IR_P)                                                                            \
    ROW(BREV8, 1, IR_P)     /* reverse the bits in each byte */                                    \
    ROW(ORCB, 1, IR_P)      /* each byte: 0 stays, anything else becomes 0xff */                   \
    ROW(CLMUL, 2, IR_P)     /* carry-less product, low half */                                     \
    ROW(CLMULH, 2, IR_P)                                                                           \
    ROW(CLMULR, 2, IR_P)    /* bits 2*width-2 .. width-1 of the carry-less product */              \
    ROW(SETCC, 2, IR_P)     /* a aux-cond b, compared as aux2-type; result I64 */                  \
    ROW(SELCC, 4, IR_P)     /* (a aux-cond b, as aux2-type) ? c : d */                             \
    ROW(LOAD, 1, IR_M)      /* aux2-type in memory at a + imm; aux = IR_MEM_* */                   \
    ROW(STORE, 2, IR_M | IR_S) /* aux2-type at a + imm := b */                                     \
    ROW(AMO, 2, IR_M | IR_S) /* old value, aux2-type at a, sign-extended; aux32 = enum ir_amo */   \
    ROW(CAS, 3, IR_M | IR_S) /* aux2-type at a: if == b then := c; old value, sign-extended */     \
    ROW(LDX, 1, IR_M | IR_S) /* load-reserved, sign-extended: remembers address and value */       \
    ROW(STX, 2, IR_M | IR_S) /* store-conditional of b at a: 0 stored, 1 not */                    \
    ROW(FENCE, 0, IR_S)                                                                            \
    ROW(FADD, 2, IR_F)      /* aux = enum ir_rm, for all that round */                             \
    ROW(FSUB, 2, IR_F)                                                                             \
    ROW(FMUL, 2, IR_F)                                                                             \
    ROW(FDIV, 2, IR_F)                                                                             \
    ROW(FSQRT, 1, IR_F)                                                                            \
    ROW(FMADD, 3, IR_F)     /* aux2 = IR_FMA_* */                                                  \
    ROW(FMIN, 2, IR_F)      /* aux = IR_FMM_* */                                                   \
    ROW(FMAX, 2, IR_F)                                                                             \
    ROW(FSGN, 2, IR_P)      /* a with the sign of b, aux = IR_FSGN_* */                            \
    ROW(FCMP, 2, IR_F)      /* aux = enum ir_fcond, compared as aux2-type; result I64 */           \
    ROW(FCLASS, 1, IR_P)    /* a as aux2-type; RISC-V's ten-bit mask; result I64 */                \
    ROW(FCVT, 1, IR_F)      /* aux2-type to type, both floating point */                           \
    ROW(FTOI, 1, IR_F)      /* aux2-type to signed integer of type I32/I64, saturating; NaN: max */ \
    ROW(FTOU, 1, IR_F)      /* the same, unsigned */                                               \
    ROW(ITOF, 1, IR_F)      /* signed aux2-type (I32/I64) to floating point */                     \
    ROW(UTOF, 1, IR_F)                                                                             \
    ROW(FROUND, 1, IR_F)    /* to integral; aux2 = 1: raise inexact */                             \
    ROW(BOX, 1, IR_P)       /* F16/F32 (aux2) to F64 container, upper bits ones */                 \
    ROW(UNBOX, 1, IR_P)     /* F64 container to F16/F32: not boxed gives the default NaN */        \
    ROW(FGETFLAGS, 0, 0)    /* sticky flags, IR order, I64 */                                      \
    ROW(FSETFLAGS, 1, IR_S)                                                                        \
    ROW(HELPER, 4, IR_S)    /* imm = const struct ir_helper *; unused arguments are 0 (no value) */ \
    ROW(EXIT_IF, 2, IR_X)   /* if a aux-cond b (as aux2-type) continue at guest pc imm */          \
    ROW(JUMP, 1, IR_X | IR_E) /* to guest pc a (direct: a CONST; relative: a PC) */                 \
    ROW(CALL, 1, IR_X | IR_E) /* as JUMP, and predict a return to guest pc imm */                  \
    ROW(RET, 1, IR_X | IR_E)  /* as JUMP, predicted by the last CALL */                            \
    ROW(EXIT, 0, IR_X | IR_E) /* leave translated code: pc = imm, aux32 = enum vcpu_exit */

enum ir_opcode {
#define ROW(name, nargs, flags) IR_##name,
    IR_OPS(ROW)
#undef ROW
    IR_OPCODE_COUNT
};

/* The name of a value: the index of the operation that makes it. 0 is no value. */
typedef uint16_t ir_val;

struct ir_op {
    uint8_t op;   /* enum ir_opcode */
    uint8_t type; /* enum ir_type of the result (of the stored part for STS); IR_VOID if none */
    uint8_t aux;
    uint8_t aux2;
    uint32_t aux32;
    ir_val arg[4];
    uint64_t imm;
};

/* What a HELPER calls. Values go as raw 64-bit patterns; the result is taken as the op's type. */
typedef uint64_t (*ir_helper_fn)(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

enum {
    IR_HELPER_PURE = 1, /* depends on the arguments only, changes nothing: may be removed */
    IR_HELPER_SYNC = 2, /* reads or writes guest registers in the vCPU */
    IR_HELPER_MAY_EXIT = 4, /* may set vcpu.exit_reason: then the unit is left at this instruction */
    IR_HELPER_FPFLAGS = 8, /* may raise flags in vcpu.fp_flags */
};

/* What a pure helper computes, where hosts tend to have an instruction for it: a back end may use
 * that instead of the call. The state of AES is b:a, the result its low half. */
enum ir_native {
    IR_NATIVE_NONE,
    IR_NATIVE_AESENC,     /* a round without its key: ShiftRows, SubBytes, MixColumns */
    IR_NATIVE_AESENCLAST, /* the same without MixColumns */
    IR_NATIVE_AESDEC,     /* inverse ShiftRows, SubBytes, MixColumns */
    IR_NATIVE_AESDECLAST,
    IR_NATIVE_AESIMC,     /* inverse MixColumns of a */
};

struct ir_helper {
    const char *name;
    ir_helper_fn fn;
    uint8_t flags;
    uint8_t native;       /* enum ir_native */
};

enum {
    IR_MAX_OPS = 8192,
    IR_MAX_INSNS = 128,
    IR_MAX_REGS = 96,
    IR_CONST_CACHE = 16, /* a power of two */
};

struct ir_unit {
    const struct guest_arch *arch;
    uint64_t pc;     /* guest address of the entry */
    uint32_t mode;   /* the vCPU mode that the unit is translated for */
    uint8_t frm;     /* rounding mode in force in this mode (enum ir_rm) */
    uint32_t n_ops;  /* ops[1 .. n_ops-1] are valid; ops[0] is a NOP */
    uint32_t n_insns;
    bool relative;   /* the code may be run at other addresses with the same offset in a page: pc
                        and all addresses derived from it are those that it was lifted at */
    bool overflow;   /* ops ran out: nothing more was recorded; the unit must be made shorter */
    bool ended;      /* an operation that ends the unit was emitted; what follows it is ignored */
    ir_val reg[IR_MAX_REGS]; /* builder: the value that a guest register holds now, 0 unknown */
    ir_val consts[IR_CONST_CACHE]; /* builder: recent constants by a hash of their value */
    struct ir_op *ops;       /* IR_MAX_OPS of them */
};

extern const char *const ir_op_names[IR_OPCODE_COUNT];
extern const uint8_t ir_op_nargs[IR_OPCODE_COUNT];
extern const uint8_t ir_op_flags[IR_OPCODE_COUNT];
extern const char *const ir_type_names[IR_TYPE_COUNT];

/* Width of a type in bits; 0 for IR_VOID. */
unsigned ir_type_bits(enum ir_type type);
static inline unsigned ir_type_bytes(enum ir_type type) { return (ir_type_bits(type) + 7) / 8; }
static inline bool ir_type_is_float(enum ir_type type) { return type >= IR_F16 && type <= IR_F80; }

/* A unit with room for IR_MAX_OPS; reusable through ir_unit_reset. */
struct ir_unit *ir_unit_new(void);
void ir_unit_free(struct ir_unit *u);
void ir_unit_reset(struct ir_unit *u, const struct guest_arch *arch, uint64_t pc, uint32_t mode);

/* Forget n_ops.. (used to take back an instruction that does not fit); restores the register map
 * that was saved by ir_unit_mark. */
struct ir_mark {
    uint32_t n_ops, n_insns;
    bool overflow, ended;
    ir_val reg[IR_MAX_REGS];
};
void ir_unit_mark(const struct ir_unit *u, struct ir_mark *mark);
void ir_unit_rewind(struct ir_unit *u, const struct ir_mark *mark);

/* ---- Builder. All return the value made (possibly an older equal one). ---- */

/* Append any operation as it is, without simplification. */
ir_val ir_emit(struct ir_unit *u, struct ir_op op);

void ir_insn(struct ir_unit *u, uint64_t pc, unsigned length);
ir_val ir_const(struct ir_unit *u, enum ir_type type, uint64_t value);
/* An address that depends on where the code is: a constant unless the unit is relative. */
ir_val ir_pc(struct ir_unit *u, uint64_t pc);
ir_val ir_get(struct ir_unit *u, unsigned reg);
void ir_put(struct ir_unit *u, unsigned reg, ir_val v);
ir_val ir_lds(struct ir_unit *u, enum ir_type type, size_t offset);
void ir_sts(struct ir_unit *u, enum ir_type type, size_t offset, ir_val v);

ir_val ir_un(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a);
ir_val ir_bin(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a, ir_val b);
ir_val ir_bini(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a, int64_t imm);
ir_val ir_sext(struct ir_unit *u, enum ir_type to, enum ir_type from, ir_val a);
ir_val ir_zext(struct ir_unit *u, enum ir_type to, enum ir_type from, ir_val a);
ir_val ir_bitcast(struct ir_unit *u, enum ir_type to, ir_val a);
ir_val ir_setcc(struct ir_unit *u, enum ir_cond cond, enum ir_type type, ir_val a, ir_val b);
ir_val ir_selcc(struct ir_unit *u, enum ir_cond cond, enum ir_type cmp_type, ir_val a, ir_val b,
                enum ir_type type, ir_val c, ir_val d);
/* [type] is the result's, [mem] the type in memory, [flags] IR_MEM_*. */
ir_val ir_load(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, int64_t offset,
               unsigned flags);
void ir_store(struct ir_unit *u, enum ir_type mem, ir_val addr, int64_t offset, ir_val v,
              unsigned flags);
ir_val ir_amo(struct ir_unit *u, enum ir_amo kind, enum ir_type type, enum ir_type mem, ir_val addr,
              ir_val v, unsigned flags);
ir_val ir_cas(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, ir_val expected,
              ir_val desired, unsigned flags);
ir_val ir_ldx(struct ir_unit *u, enum ir_type type, enum ir_type mem, ir_val addr, unsigned flags);
ir_val ir_stx(struct ir_unit *u, enum ir_type mem, ir_val addr, ir_val v, unsigned flags);
void ir_fence(struct ir_unit *u, unsigned pred, unsigned succ);

ir_val ir_fbin(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a, ir_val b,
               unsigned aux);
ir_val ir_fmadd(struct ir_unit *u, enum ir_type type, ir_val a, ir_val b, ir_val c, enum ir_rm rm,
                unsigned neg);
ir_val ir_fsqrt(struct ir_unit *u, enum ir_type type, ir_val a, enum ir_rm rm);
ir_val ir_fcmp(struct ir_unit *u, enum ir_fcond cond, enum ir_type type, ir_val a, ir_val b);
ir_val ir_fclass(struct ir_unit *u, enum ir_type type, ir_val a);
/* FCVT, FTOI, FTOU, ITOF, UTOF */
ir_val ir_fcvt(struct ir_unit *u, enum ir_opcode op, enum ir_type to, enum ir_type from, ir_val a,
               enum ir_rm rm);
ir_val ir_fround(struct ir_unit *u, enum ir_type type, ir_val a, enum ir_rm rm, bool inexact);
ir_val ir_box(struct ir_unit *u, enum ir_type from, ir_val a);
ir_val ir_unbox(struct ir_unit *u, enum ir_type to, ir_val a);
ir_val ir_fgetflags(struct ir_unit *u);
void ir_fsetflags(struct ir_unit *u, ir_val v);

/* [type] IR_VOID for none. A SYNC helper makes the builder forget all register values. */
ir_val ir_helper(struct ir_unit *u, enum ir_type type, const struct ir_helper *helper, ir_val a,
                 ir_val b, ir_val c, ir_val d);

void ir_exit_if(struct ir_unit *u, enum ir_cond cond, enum ir_type type, ir_val a, ir_val b,
                uint64_t pc);
void ir_jump(struct ir_unit *u, ir_val target);
void ir_call(struct ir_unit *u, ir_val target, uint64_t return_pc);
void ir_ret(struct ir_unit *u, ir_val target);
void ir_exit(struct ir_unit *u, unsigned reason, uint64_t pc);

/* True and the value in *value if [v] is a constant. */
bool ir_is_const(const struct ir_unit *u, ir_val v, uint64_t *value);

/* ---- Passes ---- */

/* Backward pass: removes pure operations without a use and PUTs that are overwritten before
 * anything can see them (a fault, an exit, a helper with SYNC). Removed ops become NOPs. */
void ir_optimize(struct ir_unit *u);

/* False and a message in *error (g_malloc'ed, caller frees) if the unit breaks a rule of the IR. */
bool ir_verify(const struct ir_unit *u, char **error);

/* Human-readable form, one operation a line ("-d op"). */
void ir_print(const struct ir_unit *u, FILE *f);

#endif
