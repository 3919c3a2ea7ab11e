/*
 * x86-64 instruction encoder. Instructions are named by an opcode word: the low byte is the
 * opcode, OP_0F/OP_38/OP_3A its map, OP_66/OP_F2/OP_F3 a mandatory prefix.
 * Intel SDM volume 2, chapter 2.
 */
#ifndef NANDU_X86_64_ASM_H
#define NANDU_X86_64_ASM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum gpr {
    RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
};

enum {
    OP_0F = 0x100, OP_38 = 0x200, OP_3A = 0x300,
    OP_66 = 0x10000, OP_F3 = 0x20000, OP_F2 = 0x30000,
};

/* Condition codes of jcc, setcc, cmovcc. */
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE,
       CC_LE, CC_G };

/* The group-1 ALU operations: /n of opcode 81, and n << 3 | form of the others. */
enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
/* The shifts: /n of opcodes C1 and D3. */
enum shift { SH_ROL, SH_ROR, SH_SHL = 4, SH_SHR = 5, SH_SAR = 7 };

struct as {
    uint8_t *p, *start, *end;
};

/* A memory operand: [base + index * (1 << scale) + disp], or rip-relative to [target]. */
struct mem {
    int8_t base, index; /* -1: none */
    uint8_t scale;
    bool gs;            /* relative to the gs base: the guest's memory at a base that isn't 0 */
    int32_t disp;
    const uint8_t *rip_target;
};

static inline struct mem mem_base(int base, int32_t disp)
{
    return (struct mem){ .base = (int8_t)base, .index = -1, .disp = disp };
}

static inline struct mem mem_rip(const uint8_t *target)
{
    return (struct mem){ .base = -1, .index = -1, .rip_target = target };
}

static inline void as_u8(struct as *s, unsigned v)
{
    *s->p++ = (uint8_t)v;
}

static inline void as_u32(struct as *s, uint32_t v)
{
    memcpy(s->p, &v, 4);
    s->p += 4;
}

static inline void as_u64(struct as *s, uint64_t v)
{
    memcpy(s->p, &v, 8);
    s->p += 8;
}

static inline void as_opcode(struct as *s, unsigned op)
{
    unsigned map = op >> 8 & 0xff;
    if (map)
        as_u8(s, 0x0f);
    if (map == 2)
        as_u8(s, 0x38);
    if (map == 3)
        as_u8(s, 0x3a);
    as_u8(s, op & 0xff);
}

static inline void as_prefix(struct as *s, unsigned op)
{
    static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
    if (op >> 16)
        as_u8(s, prefixes[op >> 16]);
}

/* [force] an empty REX: byte registers spl, bpl, sil, dil. */
static inline void as_rex(struct as *s, bool w, int reg, int index, int base, bool force)
{
    unsigned rex = (w ? 8 : 0) | (reg >= 8 ? 4 : 0) | (index >= 8 ? 2 : 0) | (base >= 8 ? 1 : 0);
    if (rex || force)
        as_u8(s, 0x40 | rex);
}

static inline void as_modrm_mem(struct as *s, int reg, const struct mem *m, unsigned tail)
{
    reg &= 7;
    if (m->rip_target) {
        as_u8(s, reg << 3 | 5);
        as_u32(s, (uint32_t)(m->rip_target - (s->p + 4 + tail)));
        return;
    }
    if (m->base < 0) { /* [index * scale + disp32] or [disp32] */
        as_u8(s, reg << 3 | 4);
        as_u8(s, m->scale << 6 | (m->index < 0 ? 4 : m->index & 7) << 3 | 5);
        as_u32(s, (uint32_t)m->disp);
        return;
    }
    int base = m->base & 7;
    unsigned mod = m->disp == 0 && base != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
    if (m->index >= 0 || base == 4) {
        as_u8(s, mod << 6 | reg << 3 | 4);
        as_u8(s, m->scale << 6 | (m->index < 0 ? 4 : m->index & 7) << 3 | base);
    } else {
        as_u8(s, mod << 6 | reg << 3 | base);
    }
    if (mod == 1)
        as_u8(s, (uint8_t)m->disp);
    else if (mod == 2)
        as_u32(s, (uint32_t)m->disp);
}

/* reg, r/m both registers */
static inline void as_rr(struct as *s, unsigned op, bool w, int reg, int rm)
{
    as_prefix(s, op);
    as_rex(s, w, reg, 0, rm, false);
    as_opcode(s, op);
    as_u8(s, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* The same where either is a byte register. */
static inline void as_rr8(struct as *s, unsigned op, bool w, int reg, int rm)
{
    as_prefix(s, op);
    as_rex(s, w, reg, 0, rm, true);
    as_opcode(s, op);
    as_u8(s, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* reg, memory; [tail] is the number of immediate bytes that follow (for rip-relative operands). */
static inline void as_rm_tail(struct as *s, unsigned op, bool w, int reg, struct mem m,
                              unsigned tail, bool byte_reg)
{
    if (m.gs)
        as_u8(s, 0x65);
    as_prefix(s, op);
    as_rex(s, w, reg, m.index, m.base, byte_reg && reg >= 4);
    as_opcode(s, op);
    as_modrm_mem(s, reg, &m, tail);
}

static inline void as_rm(struct as *s, unsigned op, bool w, int reg, struct mem m)
{
    as_rm_tail(s, op, w, reg, m, 0, false);
}

static inline void as_rm8(struct as *s, unsigned op, int reg, struct mem m)
{
    as_rm_tail(s, op, false, reg, m, 0, true);
}

/* VEX-encoded, 128 bit or scalar: map 1 = 0F, 2 = 0F38; pp 0 none, 1 66, 2 F3, 3 F2. */
static inline void as_vex(struct as *s, unsigned op, bool w, int reg, int vvvv, int rm)
{
    unsigned map = op >> 8 & 0xff, pp = op >> 16; /* the numbers of OP_66, OP_F3, OP_F2 are pp's */
    as_u8(s, 0xc4);
    as_u8(s, (reg < 8 ? 0x80 : 0) | 0x40 | (rm < 8 ? 0x20 : 0) | map);
    as_u8(s, (w ? 0x80 : 0) | (~vvvv & 15) << 3 | pp);
    as_u8(s, op & 0xff);
    as_u8(s, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void as_mov_rr(struct as *s, bool w, int to, int from)
{
    as_rr(s, 0x8b, w, to, from);
}

static inline void as_mov_imm(struct as *s, int reg, uint64_t v)
{
    if (v == 0) {
        as_rr(s, 0x33, false, reg, reg); /* xor */
    } else if (v <= UINT32_MAX) {
        as_rex(s, false, 0, 0, reg, false);
        as_u8(s, 0xb8 | (reg & 7));
        as_u32(s, (uint32_t)v);
    } else if ((int64_t)v == (int32_t)v) {
        as_rex(s, true, 0, 0, reg, false);
        as_u8(s, 0xc7);
        as_u8(s, 0xc0 | (reg & 7));
        as_u32(s, (uint32_t)v);
    } else {
        as_rex(s, true, 0, 0, reg, false);
        as_u8(s, 0xb8 | (reg & 7));
        as_u64(s, v);
    }
}

/* The same without changing the flags. */
static inline void as_mov_imm_keep_flags(struct as *s, int reg, uint64_t v)
{
    if (v == 0) {
        as_rex(s, false, 0, 0, reg, false);
        as_u8(s, 0xb8 | (reg & 7));
        as_u32(s, 0);
    } else {
        as_mov_imm(s, reg, v);
    }
}

static inline void as_alu_rr(struct as *s, enum alu op, bool w, int reg, int rm)
{
    as_rr(s, op << 3 | 3, w, reg, rm);
}

static inline void as_alu_rm(struct as *s, enum alu op, bool w, int reg, struct mem m)
{
    as_rm(s, op << 3 | 3, w, reg, m);
}

static inline void as_alu_ri(struct as *s, enum alu op, bool w, int reg, int32_t imm)
{
    as_rex(s, w, 0, 0, reg, false);
    if (imm == (int8_t)imm) {
        as_u8(s, 0x83);
        as_u8(s, 0xc0 | op << 3 | (reg & 7));
        as_u8(s, (uint8_t)imm);
    } else {
        as_u8(s, 0x81);
        as_u8(s, 0xc0 | op << 3 | (reg & 7));
        as_u32(s, (uint32_t)imm);
    }
}

static inline void as_alu_mi(struct as *s, enum alu op, bool w, struct mem m, int32_t imm)
{
    bool small = imm == (int8_t)imm;
    as_rm_tail(s, small ? 0x83 : 0x81, w, op, m, small ? 1 : 4, false);
    if (small)
        as_u8(s, (uint8_t)imm);
    else
        as_u32(s, (uint32_t)imm);
}

static inline void as_shift_ri(struct as *s, enum shift op, bool w, int reg, unsigned n)
{
    as_rex(s, w, 0, 0, reg, false);
    as_u8(s, 0xc1);
    as_u8(s, 0xc0 | op << 3 | (reg & 7));
    as_u8(s, n);
}

static inline void as_shift_cl(struct as *s, enum shift op, bool w, int reg)
{
    as_rex(s, w, 0, 0, reg, false);
    as_u8(s, 0xd3);
    as_u8(s, 0xc0 | op << 3 | (reg & 7));
}

static inline void as_lea(struct as *s, bool w, int reg, struct mem m)
{
    as_rm(s, 0x8d, w, reg, m);
}

static inline void as_load(struct as *s, int reg, struct mem m)
{
    as_rm(s, 0x8b, true, reg, m);
}

static inline void as_store(struct as *s, struct mem m, int reg)
{
    as_rm(s, 0x89, true, reg, m);
}

/* mov qword/dword [m], imm32 (sign-extended) */
static inline void as_store_imm(struct as *s, bool w, struct mem m, int32_t imm)
{
    as_rm_tail(s, 0xc7, w, 0, m, 4, false);
    as_u32(s, (uint32_t)imm);
}

static inline void as_setcc(struct as *s, int cc, int reg)
{
    as_rr8(s, OP_0F | 0x90 | cc, false, 0, reg);
}

static inline void as_cmov(struct as *s, int cc, bool w, int reg, int rm)
{
    as_rr(s, OP_0F | 0x40 | cc, w, reg, rm);
}

static inline void as_push(struct as *s, int reg)
{
    as_rex(s, false, 0, 0, reg, false);
    as_u8(s, 0x50 | (reg & 7));
}

static inline void as_pop(struct as *s, int reg)
{
    as_rex(s, false, 0, 0, reg, false);
    as_u8(s, 0x58 | (reg & 7));
}

/* Short forward jumps within an operation: returns the place to hand to as_short_here. */
static inline uint8_t *as_jcc_short(struct as *s, int cc)
{
    as_u8(s, 0x70 | cc);
    as_u8(s, 0);
    return s->p;
}

static inline uint8_t *as_jmp_short(struct as *s)
{
    as_u8(s, 0xeb);
    as_u8(s, 0);
    return s->p;
}

static inline void as_short_here(struct as *s, uint8_t *from)
{
    from[-1] = (uint8_t)(s->p - from);
}

static inline void as_jmp(struct as *s, const uint8_t *target)
{
    as_u8(s, 0xe9);
    as_u32(s, (uint32_t)(target - (s->p + 4)));
}

static inline void as_call(struct as *s, const uint8_t *target)
{
    as_u8(s, 0xe8);
    as_u32(s, (uint32_t)(target - (s->p + 4)));
}

static inline void as_jcc(struct as *s, int cc, const uint8_t *target)
{
    as_u8(s, 0x0f);
    as_u8(s, 0x80 | cc);
    as_u32(s, (uint32_t)(target - (s->p + 4)));
}

/* Make the rel32 that ends at [end] (in the buffer) go to [target]. */
static inline void as_patch_rel32(uint8_t *end, const uint8_t *target)
{
    uint32_t rel = (uint32_t)(target - end);
    memcpy(end - 4, &rel, 4);
}

static inline void as_nops(struct as *s, unsigned n)
{
    static const uint8_t nops[9][9] = {
        { 0x90 },
        { 0x66, 0x90 },
        { 0x0f, 0x1f, 0x00 },
        { 0x0f, 0x1f, 0x40, 0x00 },
        { 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
        { 0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
    };
    while (n) {
        unsigned k = n > 9 ? 9 : n;
        memcpy(s->p, nops[k - 1], k);
        s->p += k;
        n -= k;
    }
}

#endif
