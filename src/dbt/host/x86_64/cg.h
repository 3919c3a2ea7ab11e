/*
 * Tier 1 code generation for x86-64: one forward pass over the IR.
 *
 * Registers. rbp points into the vCPU, rsp to the return-prediction stack. rax, rcx, rdx and xmm0-3
 * are scratch. Every other register is the home of one guest register (the most used ones, from
 * guest_arch.pin_int and pin_fp); the other guest registers have their homes in the vCPU. At each
 * exit and each operation that may fault all homes hold the exact guest state, so that blocks chain
 * without fix-ups and a fault needs only the guest pc. In system mode r12 is no home: it points to
 * the current context of the soft TLB.
 *
 * An SSA value is where it was made: in the home of the guest register that it was put into, in a
 * scratch register, in a spill slot, or (a constant) nowhere. A value that the next PUT puts into a
 * pinned register is computed right there (the "hint"). Uses are counted down, so that the
 * generator knows when a value is dead.
 *
 * Where the scratch registers aren't enough, one is borrowed: the home of a guest register that the
 * rest of the unit doesn't read moves to the vCPU, and moves back in front of whatever leaves the
 * unit or runs C code. An access that may fault says what is borrowed.
 *
 * In system mode a value that is put into a home in the vCPU stays in its register for now. It is
 * stored when the register is needed, when the unit is left, or by the far code of an access;
 * never, if the next PUT comes first. In the same way a 32-bit result isn't sign-extended before
 * someone asks for the upper half ("narrow").
 */
#ifndef NANDU_X86_64_CG_H
#define NANDU_X86_64_CG_H

#include "dbt/dbt_priv.h"
#include "dbt/host/x86_64/asm.h"

enum {
    XMM0 = 16,            /* registers are numbered 0-15 general, 16-31 xmm */
    NO_REG = -1,
    NO_HOME = 0xff,
    N_SPILL = 24,
    MAX_FAR = 2048,
    MAX_LATE = 8192,
    OP_ROOM = 512,        /* no operation needs more bytes of code than this */
};

/*
 * What the bottom of the return stack holds as a guest pc: an odd one outside of any address space.
 */
#define RETURN_SENTINEL 0x9e3779b97f4a7c15ull

struct vloc {
    int8_t reg;           /* scratch register that holds the value, or NO_REG */
    int8_t spill;         /* spill slot, or -1 */
    uint8_t home;         /* guest register whose home holds it, or NO_HOME */
    bool narrow;          /* only the low half is in [reg]: the value is that, sign-extended */
};

/* What far code stores to the home of a guest register before anyone looks at it. */
struct late_store {
    uint8_t home;
    int8_t reg;           /* NO_REG: imm */
    bool narrow;          /* sign-extend it first */
    int32_t imm;
};

enum far_kind {
    FAR_EXIT,             /* unlinked direct exit */
    FAR_POLL_EXIT,        /* the same after a poll; its FAR_EXIT is next */
    FAR_INDIRECT,         /* reg = guest pc; id 1: clear its lowest bit */
    FAR_INDIRECT_CALL,    /* the same; [resume] is the landing pad */
    FAR_RET,
    FAR_ALIGN,            /* misaligned: reg = address */
    FAR_LOAD_CONST,       /* dest xmm := constant at target; back to resume */
    FAR_FP_HELPER,        /* dest := fp_helper(src...); back to resume */
    FAR_WORD,             /* store to vcpu.section.word */
    FAR_REASON,           /* leave with vcpu.exit_reason set by a helper */
    FAR_SLOW,             /* system mode: an access that isn't in the table; back to resume */
    FAR_JUMP,             /* to guest pc, not linked directly; id: a backward jump */
    FAR_PAGE,             /* the same, but it isn't in the jump cache, entry id - 1 (id 0: the usual
                             one): rax = guest pc;
                             resume, if not NULL: landing pad of a call */
};

enum slow_value {
    SLOW_NO_VALUE,
    SLOW_VALUE_IN_REG,
    SLOW_VALUE_IN_STATE,  /* at rbp + imm */
    SLOW_VALUE_IMM,
};

/* What far code is to do for an access. */
struct slow_access {
    uint64_t pc;          /* less block_base */
    uint8_t op;           /* enum ir_opcode */
    uint8_t mem;          /* enum ir_type in memory */
    uint8_t kind;         /* enum ir_amo */
    bool is_signed;       /* the result is sign-extended */
    bool relative;        /* pc is relative to the page of the code */
    bool write;           /* which table it was looked up in */
    int8_t offset_reg;    /* what the look-up left: address ^ tag, */
    int8_t index_reg;     /* and where in the table; both are scratch registers */
    uint8_t value;        /* enum slow_value */
    int8_t value_reg;
    int8_t dest_reg;      /* or NO_REG */
    int32_t imm;
};

struct far {
    uint8_t kind;
    int8_t reg, dest;
    int8_t src[3];        /* registers, NO_REG: none */
    uint8_t access;
    uint16_t borrowed;    /* FAR_SLOW, FAR_JUMP, FAR_WORD: what is, where the jump is */
    uint32_t id;          /* attributes of an fp helper, and as the kinds say */
    uint64_t pc;
    uint8_t *from;        /* end of the rel32 that jumps here */
    uint8_t *resume;      /* in front of the far code */
    const uint8_t *target;
    uint16_t late, n_late; /* FAR_SLOW: what is to be stored first, in cg.late_stores */
    struct slow_access slow;
};

enum opnd_kind { OPND_REG, OPND_MEM, OPND_IMM };
struct opnd {
    enum opnd_kind kind;
    int reg;
    struct mem mem;
    int32_t imm;
};

struct cg {
    struct as s;
    struct dbt *dbt;
    const struct ir_unit *u;
    struct block *b;
    bool in_far;                     /* far code is emitted: where values are isn't known any more */
    bool failed;                     /* spill slots or far code ran out: make the unit shorter */
    uint64_t cur_pc;                 /* of the guest instruction */
    uint32_t locked;                 /* scratch registers in use by the current operation */
    int8_t dying[2];                 /* scratch register (general, xmm) of an argument that died */
    uint32_t spill_used, spill_free; /* slots; those whose value died in this operation */
    uint32_t age, reg_age[32];
    ir_val reg_val[32];              /* what a scratch register holds; 0 nothing */
    ir_val home_val[IR_MAX_REGS];    /* what a guest register's home holds; 0 unknown */
    int8_t home_reg[IR_MAX_REGS];    /* host register, or NO_REG: in memory */
    int32_t home_disp[IR_MAX_REGS];  /* from rbp */
    int8_t reg_home[32];             /* guest register of a pinned host register, or -1 */
    uint32_t pinned;                 /* host registers that are homes */
    uint32_t borrowed;               /* those of them that aren't now: their homes are in memory */
    unsigned at;                     /* the operation that is being compiled */
    unsigned barrier;                /* the next one that nothing can be borrowed in */
    uint64_t late;                   /* guest registers whose homes (in the vCPU) are out of date */
    unsigned n_late_stores;
    struct late_store late_stores[MAX_LATE];
    uint16_t last_get[IR_MAX_REGS];  /* the operation that reads a guest register last; 0 none */
    uint16_t last_put[IR_MAX_REGS];
    unsigned n_far;
    struct far far[MAX_FAR];
    unsigned n_faults;
    struct fault_point faults[IR_MAX_OPS];
    struct vloc loc[IR_MAX_OPS];
    uint16_t uses[IR_MAX_OPS];
    uint8_t hint[IR_MAX_OPS];        /* guest register that the value goes to next, or NO_HOME */
    bool skip[IR_MAX_OPS];           /* folded into its only user */
    bool sext32[IR_MAX_OPS];         /* is known to be its low half, sign-extended */
};

#define CPU_DISP(member) ((int32_t)offsetof(struct vcpu, member) - VCPU_BASE_BIAS)

/* Is a host register the home of a guest register now? */
static inline bool cg_is_home(const struct cg *g, int reg)
{
    return (g->pinned & ~g->borrowed) >> reg & 1;
}

static inline struct mem cpu_mem(int32_t disp) { return mem_base(RBP, disp); }

/* regs.c: where values are. */
void cg_regs_init(struct cg *g);
void cg_regs_start(struct cg *g);
int cg_gpr(struct cg *g, ir_val v);               /* in a general register, to be read */
int cg_xmm(struct cg *g, ir_val v);               /* 0-15, in an xmm register, to be read */
struct opnd cg_opnd(struct cg *g, ir_val v, bool imm_ok, bool mem_ok);
/* The same for an operation that uses no more than the low half; of any value in a register. */
int cg_gpr_low(struct cg *g, ir_val v);
struct opnd cg_opnd_low(struct cg *g, ir_val v, bool imm_ok, bool mem_ok);
/* Is only the low half of v in a register, and no other place holds v? */
bool cg_is_narrow(const struct cg *g, ir_val v);
void cg_set_narrow(struct cg *g, ir_val v);       /* which was just bound to a scratch register */
void cg_use(struct cg *g, ir_val v);              /* one use of v is over */
int cg_scratch(struct cg *g);                     /* a free general scratch register, locked */
int cg_scratch_abc(struct cg *g);                 /* the same: rax, rcx or rdx */
int cg_scratch_xmm(struct cg *g);
void cg_take(struct cg *g, int reg);              /* free this scratch register, lock it */
/* The operands got so far have been read, except for those in the registers of the mask [keep]. */
void cg_unlock(struct cg *g, uint32_t keep);
int cg_dest(struct cg *g, ir_val v);              /* where to compute v: after cg_use of arguments */
int cg_dest_xmm(struct cg *g, ir_val v);
void cg_bind(struct cg *g, ir_val v, int reg);    /* v is now in reg (numbered 0-31) */
void cg_result_in(struct cg *g, ir_val v, int scratch);
void cg_put(struct cg *g, unsigned home, ir_val v);
void cg_get(struct cg *g, ir_val v, unsigned home);
/* Does it run C code, or need all homes to be where they usually are? */
bool cg_is_barrier(const struct cg *g, const struct ir_op *o);
/* Borrowed registers become homes again. Values in them are kept. */
void cg_return_borrowed(struct cg *g);
void cg_move_borrowed(struct cg *g, ir_val v);    /* v isn't in a borrowed register from now on */
void cg_load_homes(struct cg *g, uint32_t regs);  /* from the vCPU, where they are while borrowed */
void cg_store_late(struct cg *g);                 /* now: all homes hold what they should */
void cg_late_in_far(struct cg *g, struct far *f); /* the jump to f is here: it stores them */
void cg_before_helper(struct cg *g, bool sync);
void cg_after_helper(struct cg *g, bool sync);
void cg_op_done(struct cg *g);
void cg_mov_to(struct cg *g, int reg, struct opnd o, bool w);
static inline bool cg_const(const struct cg *g, ir_val v, uint64_t *value)
{
    *value = g->u->ops[v].imm;
    return g->u->ops[v].op == IR_CONST;
}

/* Far code */
struct far *cg_far(struct cg *g, enum far_kind kind, uint8_t *from);
void cg_emit_far(struct cg *g);

/* Is it an operation on integers that the host has instructions for? */
bool cg_is_native_int(const struct cg *g, const struct ir_op *o);
/* Is its result known to be the low half of it, sign-extended? */
bool cg_is_sext32(const struct cg *g, const struct ir_op *o);
/* One function a group of operations. */
void cg_int_op(struct cg *g, ir_val v, const struct ir_op *o);
int cg_compare(struct cg *g, unsigned cond, enum ir_type type, ir_val a, ir_val b);
void cg_mem_op(struct cg *g, ir_val v, const struct ir_op *o);
/*
 * cg_mem.c: parts that both kinds of memory operations are made of. d, s: registers numbered 0-31.
 */
void cg_load_from(struct cg *g, const struct ir_op *o, int d, struct mem m);
void cg_store_to(struct cg *g, const struct ir_op *o, struct opnd s, struct mem m);
void cg_load_zero_extended(struct cg *g, unsigned size, int d, struct mem m);
void cg_amo_loop(struct cg *g, const struct ir_op *o, int t, struct opnd s, struct mem m);
int cg_amo_alu(const struct ir_op *o); /* enum alu, or -1: x86 has no such instruction */
void cg_check_alignment(struct cg *g, const struct ir_op *o, int r);
void cg_sized_rm(struct cg *g, unsigned op, unsigned size, int reg, struct mem m);
void cg_sign_extend(struct cg *g, unsigned size, int d, int from);
void cg_lock(struct cg *g);
void cg_fence(struct cg *g);
/* cg_mapped.c: memory operations in system mode. */
void cg_mapped_load(struct cg *g, ir_val v, const struct ir_op *o);
void cg_mapped_store(struct cg *g, const struct ir_op *o);
void cg_mapped_amo(struct cg *g, ir_val v, const struct ir_op *o);
void cg_mapped_cas(struct cg *g, ir_val v, const struct ir_op *o);
void cg_mapped_ldx(struct cg *g, ir_val v, const struct ir_op *o);
void cg_mapped_stx(struct cg *g, ir_val v, const struct ir_op *o);
void cg_fp_op(struct cg *g, ir_val v, const struct ir_op *o);
void cg_flow_op(struct cg *g, ir_val v, const struct ir_op *o);
/* The guest address pc, of this unit's code or relative to it, into a register; flags are lost. */
void cg_pc(struct cg *g, int reg, uint64_t pc);
/* A helper that the host has instructions for; false: call it. */
bool cg_native_helper(struct cg *g, ir_val v, const struct ir_op *o, enum ir_native native);
void cg_call_generic(struct cg *g, ir_val v, const struct ir_op *o, ir_helper_fn fn, uint64_t attr);
void cg_helper_call(struct cg *g, ir_helper_fn fn, bool sync);

/* generic.c: operations in C, for what the host lacks. attr: GENERIC_ATTR of the op. */
#define GENERIC_ATTR(o)                                                                            \
    ((uint64_t)(o)->op | (uint64_t)(o)->type << 8 | (uint64_t)(o)->aux << 16 |                     \
     (uint64_t)(o)->aux2 << 24)
uint64_t generic_int(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t attr);
uint64_t generic_fp(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t attr);

/* compile.c: writes what an exit is to [p], right behind the call to thunks.direct. [back]: how far
 * in front of that the rel32 to patch ends. Returns its end. */
enum { EXIT_MAX_BACK = INT16_MAX };
uint8_t *exit_encode(uint8_t *p, const struct block *from, uint64_t to, unsigned back);

/* slow.c: writes what an access is to [p], right behind the call to thunks.slow; [back]: how far in
 * front of that the code goes on when it is done. Returns its end. At most SLOW_MAX_SIZE bytes. */
enum { SLOW_MAX_SIZE = 18, SLOW_MAX_BACK = UINT16_MAX };
uint8_t *slow_encode(uint8_t *p, const struct slow_access *a, unsigned back);
/* Does the access described at [code]. Returns where the code goes on; NULL: a fault, and the vCPU
 * is exact. */
const uint8_t *softmmu_slow(struct vcpu *cpu, const uint8_t *code);

/* Constants that the code reads, at thunks.constants. */
struct cg_constants {
    uint64_t sign64[2], abs64[2];
    uint64_t sign32[2], abs32[2];
    uint64_t box32[2], box16[2];
    uint64_t nan64, nan32, nan16;
    uint32_t mxcsr_default, pad;
    uint8_t mxcsr_to_flags[64];
};
static inline const uint8_t *cg_constant(const struct cg *g, size_t offset)
{
    return g->dbt->cache.rw + g->dbt->thunks.constants + offset;
}
#define CG_CONST(g, member) mem_rip(cg_constant(g, offsetof(struct cg_constants, member)))

#endif
