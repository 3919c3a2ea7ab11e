/*
 * Programs of seccomp filters: classic BPF with loads of whole words only, as the kernel checks
 * them (its bpf_check_classic and seccomp_check_filter) and runs them.
 */
#include "linux_user/seccomp_bpf.h"

#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

/* ---- What a filter may be (the kernel's bpf_check_classic and seccomp_check_filter) ---- */

/* Operations of classic BPF that a filter may have: all loads are of whole words. */
static bool is_allowed(uint16_t code)
{
    switch (BPF_CLASS(code)) {
    case BPF_LD:
        return code == (BPF_LD | BPF_W | BPF_ABS) || code == (BPF_LD | BPF_W | BPF_LEN) ||
               code == (BPF_LD | BPF_IMM) || code == (BPF_LD | BPF_MEM);
    case BPF_LDX:
        return code == (BPF_LDX | BPF_W | BPF_LEN) || code == (BPF_LDX | BPF_IMM) ||
               code == (BPF_LDX | BPF_MEM);
    case BPF_ST:
    case BPF_STX: return code == BPF_CLASS(code);
    case BPF_ALU:
        return code == (BPF_ALU | BPF_NEG) ||
               ((code & ~(BPF_CLASS(~0) | BPF_OP(~0) | BPF_SRC(~0))) == 0 &&
                (BPF_OP(code) <= BPF_RSH || BPF_OP(code) == BPF_XOR));
    case BPF_JMP:
        return code == (BPF_JMP | BPF_JA) ||
               ((code & ~(BPF_CLASS(~0) | BPF_OP(~0) | BPF_SRC(~0))) == 0 &&
                BPF_OP(code) >= BPF_JEQ && BPF_OP(code) <= BPF_JSET);
    case BPF_RET: return code == (BPF_RET | BPF_K) || code == (BPF_RET | BPF_A);
    default: return code == (BPF_MISC | BPF_TAX) || code == (BPF_MISC | BPF_TXA);
    }
}

static bool is_scratch_load(uint16_t code)
{
    return code == (BPF_LD | BPF_MEM) || code == (BPF_LDX | BPF_MEM);
}

static bool is_scratch_store(uint16_t code)
{
    return code == BPF_ST || code == BPF_STX;
}

/* The operand of [insn], which is [left] instructions before the last. */
static bool is_valid_operand(const struct sock_filter *insn, unsigned left)
{
    uint16_t code = insn->code;

    if (is_scratch_load(code) || is_scratch_store(code)) {
        return insn->k < BPF_MEMWORDS;
    }
    switch (BPF_CLASS(code)) {
    case BPF_LD:
        return BPF_MODE(code) != BPF_ABS ||
               (insn->k < sizeof(struct seccomp_data) && insn->k % sizeof(uint32_t) == 0);
    case BPF_ALU:
        if (BPF_SRC(code) != BPF_K) {
            return true;
        }
        return BPF_OP(code) == BPF_DIV                              ? insn->k != 0
               : BPF_OP(code) == BPF_LSH || BPF_OP(code) == BPF_RSH ? insn->k < 32
                                                                    : true;
    case BPF_JMP:
        return BPF_OP(code) == BPF_JA ? insn->k < left : insn->jt < left && insn->jf < left;
    default: return true;
    }
}

/* No word of scratch memory is read that wasn't written on every way there. */
static bool reads_what_it_wrote(const struct sock_filter *code, unsigned length)
{
    /* Bit n of written[i]: word n is written by all jumps to instruction i seen so far. */
    g_autofree uint16_t *written = g_try_new(uint16_t, length);
    uint16_t now = 0;

    if (!written) {
        return false;
    }
    memset(written, 0xff, length * sizeof(written[0]));
    for (unsigned i = 0; i < length; i++) {
        const struct sock_filter *insn = &code[i];

        now &= written[i];
        if (is_scratch_store(insn->code)) {
            now |= (uint16_t)(1u << insn->k);
        } else if (is_scratch_load(insn->code)) {
            if (!(now & 1u << insn->k)) {
                return false;
            }
        } else if (BPF_CLASS(insn->code) == BPF_JMP) {
            if (BPF_OP(insn->code) == BPF_JA) {
                written[i + 1 + insn->k] &= now;
            } else {
                written[i + 1 + insn->jt] &= now;
                written[i + 1 + insn->jf] &= now;
            }
            now = UINT16_MAX; /* only jumps lead to the next one */
        }
    }
    return true;
}

bool lu_bpf_is_valid(const struct sock_filter *code, unsigned length)
{
    if (length == 0 || length > BPF_MAXINSNS || BPF_CLASS(code[length - 1].code) != BPF_RET) {
        return false;
    }
    for (unsigned i = 0; i < length; i++) {
        if (!is_allowed(code[i].code) || !is_valid_operand(&code[i], length - i - 1)) {
            return false;
        }
    }
    return reads_what_it_wrote(code, length);
}

/* ---- Running one ---- */

static uint32_t alu(uint16_t op, uint32_t a, uint32_t b)
{
    switch (op) {
    case BPF_ADD: return a + b;
    case BPF_SUB: return a - b;
    case BPF_MUL: return a * b;
    case BPF_DIV: return a / b; /* not 0: see lu_bpf_run */
    case BPF_OR: return a | b;
    case BPF_AND: return a & b;
    case BPF_LSH: return a << (b & 31);
    case BPF_RSH: return a >> (b & 31);
    case BPF_XOR: return a ^ b;
    default: return -a; /* BPF_NEG */
    }
}

static bool is_taken(uint16_t op, uint32_t a, uint32_t b)
{
    switch (op) {
    case BPF_JEQ: return a == b;
    case BPF_JGT: return a > b;
    case BPF_JGE: return a >= b;
    default: return a & b; /* BPF_JSET */
    }
}

uint32_t lu_bpf_run(const struct sock_filter *code, const struct seccomp_data *data)
{
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};

    for (const struct sock_filter *insn = code;; insn++) {
        uint32_t operand = BPF_SRC(insn->code) == BPF_X ? x : insn->k;

        switch (BPF_CLASS(insn->code)) {
        case BPF_LD:
            switch (BPF_MODE(insn->code)) {
            case BPF_ABS: memcpy(&a, (const char *)data + insn->k, sizeof(a)); break;
            case BPF_LEN: a = sizeof(*data); break;
            case BPF_MEM: a = memory[insn->k]; break;
            default: a = insn->k; break;
            }
            break;
        case BPF_LDX:
            x = BPF_MODE(insn->code) == BPF_LEN   ? sizeof(*data)
                : BPF_MODE(insn->code) == BPF_MEM ? memory[insn->k]
                                                  : insn->k;
            break;
        case BPF_ST: memory[insn->k] = a; break;
        case BPF_STX: memory[insn->k] = x; break;
        case BPF_ALU:
            if (BPF_OP(insn->code) == BPF_DIV && operand == 0) {
                return 0; /* a division by zero ends a filter so */
            }
            a = alu(BPF_OP(insn->code), a, operand);
            break;
        case BPF_JMP:
            if (BPF_OP(insn->code) == BPF_JA) {
                insn += insn->k;
            } else {
                insn += is_taken(BPF_OP(insn->code), a, operand) ? insn->jt : insn->jf;
            }
            break;
        case BPF_RET: return BPF_RVAL(insn->code) == BPF_A ? a : insn->k;
        default:
            if (BPF_MISCOP(insn->code) == BPF_TAX) {
                x = a;
            } else {
                a = x;
            }
            break;
        }
    }
}
