/*
 * What the translator needs to know of a guest architecture: one const table per architecture.
 */
#ifndef NANDU_DBT_GUEST_H
#define NANDU_DBT_GUEST_H

#include <glib.h>

#include "dbt/ir.h"
#include "dbt/vcpu.h"

/* A guest register as the IR names it: GET/PUT with its index in guest_arch.regs. */
struct guest_reg {
    const char *name;
    uint32_t offset;    /* byte offset in the vCPU's structure */
    uint8_t type;       /* IR_I64, IR_F64, ... */
};

/* What lifting one instruction led to. */
enum lift_result {
    LIFT_NEXT,  /* continue at lift_ctx.next_pc, the following instruction */
    LIFT_JUMP,  /* an unconditional direct jump to lift_ctx.next_pc: the translator follows it or
                   ends the unit with a JUMP */
    LIFT_END,   /* the lifter has emitted an operation that ends the unit */
    LIFT_FETCH_FAULT, /* the bytes at pc can't be read: nothing was emitted */
};

struct lift_ctx {
    struct ir_unit *u;
    uint64_t pc;        /* of the instruction to lift */
    uint64_t next_pc;   /* out */
    uint32_t mode;      /* vcpu.mode that is translated for */
    const void *model;  /* the guest's CPU model */
    uint64_t tmp;       /* for the lifter: raw instruction bits */
    /* Copies up to [size] bytes of guest code at [pc] to [buf]; returns how many could be read (0:
     * fault). */
    size_t (*fetch)(void *opaque, uint64_t pc, void *buf, size_t size);
    void *fetch_opaque;
};

struct guest_arch {
    const char *name;          /* "riscv64" */
    size_t vcpu_size;          /* of the guest's structure, which starts with struct vcpu */
    const struct guest_reg *regs;
    unsigned n_regs;           /* <= IR_MAX_REGS */
    /* Guest registers worth keeping in host registers, most used first; ends with 0xff. */
    const uint8_t *pin_int;
    const uint8_t *pin_fp;

    /* Emits ir_insn and the IR of the instruction at ctx->pc. An undefined instruction emits
     * EXIT VCPU_EXIT_ILLEGAL. */
    enum lift_result (*lift)(struct lift_ctx *ctx);

    /* Rounding mode of the given vcpu.mode (enum ir_rm); 0xff if the mode's is invalid. */
    uint8_t (*mode_frm)(uint32_t mode);
    /* System mode: is code of this vcpu.mode often found at several addresses (programs and libraries
     * of several address spaces)? Then one translation serves all of them. NULL: always. */
    bool (*mode_relative)(uint32_t mode);

    /* Assembler text of the instruction in [bytes] into [text]; returns its length in bytes. */
    unsigned (*disassemble)(const uint8_t *bytes, size_t size, uint64_t pc, char *text,
                            size_t text_size);

    void (*reset)(struct vcpu *cpu);
    /*
     * Appends the vCPU's registers, for people; fpu: those for floating point too. NULL in user
     * mode.
     */
    void (*dump)(struct vcpu *cpu, bool fpu, GString *out);
    /* The same with what its page tables map. */
    void (*list_mappings)(struct vcpu *cpu, GString *out);
};

#endif
