/*
 * Fuzzer of decode, lift, the passes and tier 1: runs any bytes as RISC-V code and compares each
 * block of translated code with the interpreter, which takes one instruction at a time.
 *
 * Input: byte 0 options, byte 1 seed of the registers, then code. Three vCPUs with three memories
 * of the same guest addresses: a scout that looks whether all memory accesses of the next
 * instructions stay inside (else the run ends, since translated code would touch memory that isn't
 * the guest's), the model, and the subject. The scout stays ahead of the model by more than the
 * length of a block.
 *
 * Built with -Dfuzz=true and Clang it is a libFuzzer program; otherwise main() makes inputs from a
 * generator of random numbers:  fuzz_lift [FILE...] | [--runs N] [--seed N]
 * With NANDU_FUZZ_KEEP=FILE in the environment it writes each input there before it is run.
 */
#include "fuzz.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dbt/dbt_priv.h"
#include "dbt/interp/interp.h"
#include "guest/riscv/riscv.h"

enum {
    CODE = 0x10000,
    MAX_CODE = 2048,
    ARENA = 0x40000000, /* guest address of the memory */
    ARENA_SIZE = 0x2000,
    LOOK_AHEAD = 70, /* instructions: more than a block has */
    MAX_STEPS = 2000,
    N_SIDES = 3,
};

enum side { SCOUT, MODEL, SUBJECT };

enum { OPT_CONFINE = 1, OPT_FAR = 2, OPT_BASELINE = 4 };

struct fuzz {
    struct riscv_model *model;
    struct dbt *dbt[4]; /* by the options far and baseline */
    struct vcpu *cpu[4][N_SIDES];
    uint8_t *memory[N_SIDES]; /* host address of the arena */
    struct ir_unit *unit;
    const uint8_t *input;
    size_t input_size;
    uint8_t code[MAX_CODE];
    size_t code_size;
    unsigned scout_steps, model_steps;
    unsigned long total_steps;
    enum { GOES_ON, AT_EXIT, STUCK } scout;
    jmp_buf outside; /* taken before the scout accesses memory outside of the arena */
};

static size_t fetch_code(void *opaque, uint64_t pc, void *buf, size_t size)
{
    const struct fuzz *f = opaque;
    size_t offset = pc - CODE, n;

    if (pc < CODE || offset >= f->code_size) {
        return 0;
    }
    n = f->code_size - offset < size ? f->code_size - offset : size;
    memcpy(buf, f->code + offset, n);
    return n;
}

static size_t fetch_stable(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    *stable = true;
    return fetch_code(opaque, pc, buf, size);
}

static void check_access(void *opaque, struct vcpu *cpu, uint64_t addr, unsigned size,
                         enum vcpu_access access)
{
    struct fuzz *f = opaque;

    (void)cpu;
    (void)access;
    if (addr < ARENA || addr + size > ARENA + ARENA_SIZE || addr + size < addr) {
        longjmp(f->outside, 1);
    }
}

/* ---- Set-up ---- */

static bool make_translator(struct fuzz *f, unsigned which)
{
    struct dbt_config config = {
        .arch = &riscv64_arch,
        .guest_base = (uint64_t)(uintptr_t)f->memory[SUBJECT] - ARENA,
        .cache_size = 4 << 20,
        .poll_always = true,
        .no_chain = true, /* come back after each block */
        .far_paths = which & 1,
        .verify = true,
        .fetch = fetch_stable,
        .opaque = f,
    };
    GError *error = NULL;

    f->dbt[which] = dbt_new(&config, &error);
    if (!f->dbt[which]) {
        fprintf(stderr, "fuzz_lift: %s\n", error->message);
        return false;
    }
    if (which & 2) { /* a processor with nothing beyond SSE4.2 */
        memset(&f->dbt[which]->features, 0, sizeof(f->dbt[which]->features));
    }
    for (unsigned side = 0; side < N_SIDES; side++) {
        struct vcpu *cpu = dbt_vcpu_new(f->dbt[which], f->model);

        if (!cpu) {
            return false;
        }
        cpu->guest_base = (uint64_t)(uintptr_t)f->memory[side] - ARENA;
        f->cpu[which][side] = cpu;
    }
    return true;
}

static struct fuzz *fuzz_new(void)
{
    struct fuzz *f = g_new0(struct fuzz, 1);
    GError *error = NULL;

    f->model = riscv_model_parse("max", &error);
    f->unit = ir_unit_new();
    if (!f->model) {
        fprintf(stderr, "fuzz_lift: %s\n", error->message);
        exit(1);
    }
    for (unsigned side = 0; side < N_SIDES; side++) {
        /* Pages without access around it stop what is not much outside. */
        uint8_t *p =
            mmap(NULL, ARENA_SIZE + 2 * 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || mprotect(p + 65536, ARENA_SIZE, PROT_READ | PROT_WRITE)) {
            perror("fuzz_lift: mmap");
            exit(1);
        }
        f->memory[side] = p + 65536;
    }
    for (unsigned which = 0; which < 4; which++) {
        if (!make_translator(f, which)) {
            exit(1);
        }
    }
    return f;
}

/* Registers that code is likely to do something with: addresses, small and extreme numbers, boxed
 * and unboxed floating-point numbers. */
static void set_registers(struct vcpu *cpu, uint8_t seed, bool confine)
{
    struct riscv_vcpu *rv = (struct riscv_vcpu *)cpu;
    uint64_t state = 0x9e3779b97f4a7c15ull + seed;

    for (unsigned i = 1; i < 32; i++) {
        uint64_t r = next_random(&state);

        switch (r >> 61) {
        case 0:
        case 1:
        case 2: cpu->r[i] = ARENA + (r & (ARENA_SIZE - 16)); break;
        case 3: cpu->r[i] = r & 0xff; break;
        case 4: cpu->r[i] = (uint64_t)(int64_t)(int32_t)r; break;
        case 5: cpu->r[i] = 1ull << (r & 63); break;
        default: cpu->r[i] = next_random(&state); break;
        }
    }
    if (confine) {
        cpu->r[8] = ARENA + ARENA_SIZE / 2;
        cpu->r[2] = ARENA + ARENA_SIZE / 4;
    }
    for (unsigned i = 0; i < 32; i++) {
        uint64_t r = next_random(&state), exponent;

        switch (r >> 61) {
        case 0: rv->f[i] = r; break;
        case 1:
        case 2:
            exponent = 127 + (r >> 8) % 9 - 4;
            rv->f[i] = 0xffffffff00000000ull | (r & 0x80000000) | exponent << 23 | (r & 0x700000);
            break;
        case 3: rv->f[i] = 0xffffffffffff0000ull | (r & 0xffff); break;
        case 4: rv->f[i] = (r & 1) << 63 | 0x7ffull << 52 | (r & 2) << 50 | (r & 4); break;
        default:
            exponent = 1023 + (r >> 8) % 9 - 4;
            rv->f[i] = (r & 1) << 63 | exponent << 52 | (r & 0xf) << 48;
            break;
        }
    }
    cpu->r[0] = 0;
    cpu->pc = CODE;
    cpu->mode = seed % 8 < 5 ? seed % 8 : 0;
    cpu->exit_reason = VCPU_EXIT_NONE;
    cpu->excl_addr = UINT64_MAX;
    cpu->excl_value = 0;
    cpu->poll = 0;
    dbt_fp_flags_set(cpu, 0);
}

static void fill_memory(uint8_t *memory, uint8_t seed)
{
    uint64_t state = seed + 1;

    for (unsigned i = 0; i < ARENA_SIZE; i += 8) {
        uint64_t r = next_random(&state);

        memcpy(memory + i, &r, 8);
    }
}

/* Makes loads, stores and atomics use s0 (x8), which other instructions then don't write, so that
 * most of them stay inside. 16-bit ones as they can. */
static void confine_code(struct fuzz *f)
{
    size_t i = 0;

    while (i + 2 <= f->code_size) {
        uint8_t *p = f->code + i;
        uint32_t insn = p[0] | p[1] << 8;
        unsigned opcode = insn & 0x7f;

        if ((insn & 3) != 3) {
            unsigned quadrant = insn & 3, funct = insn >> 13;

            if (quadrant == 0 && funct != 0) {
                insn &= ~(7u << 7); /* base: s0 */
                if (funct < 4 && (insn >> 2 & 7) == 0) {
                    insn |= 4; /* result: not s0 */
                }
            } else if (quadrant != 0 && (insn >> 7 & 31) == 8) {
                insn |= 1 << 7;
            }
            p[0] = (uint8_t)insn;
            p[1] = (uint8_t)(insn >> 8);
            i += 2;
            continue;
        }
        if (i + 4 > f->code_size) {
            return;
        }
        insn |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        if (opcode == 0x03 || opcode == 0x07 || opcode == 0x23 || opcode == 0x27 ||
            opcode == 0x2f) {
            insn = (insn & ~(31u << 15)) | 8u << 15;
        }
        if (opcode != 0x23 && opcode != 0x27 && opcode != 0x63 && (insn >> 7 & 31) == 8) {
            insn |= 1 << 7;
        }
        for (unsigned k = 0; k < 4; k++) {
            p[k] = (uint8_t)(insn >> 8 * k);
        }
        i += 4;
    }
}

/* ---- Stepping ---- */

static uint32_t bytes_at(const struct fuzz *f, uint64_t pc)
{
    uint8_t b[4] = {0};

    fetch_code((void *)f, pc, b, sizeof(b));
    return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Instructions whose results can't be compared: counters; amocas.q touches memory from a helper,
 * where the scout doesn't see it. */
static bool is_excluded(uint32_t insn)
{
    unsigned csr = insn >> 20;

    return ((insn & 0x7f) == 0x73 && (insn >> 12 & 7) && csr >= 0xc00 && csr <= 0xc9f) ||
           (insn & 0x7f) == 0x0f || (insn & 0xf800707f) == 0x2800402f ||
           ((insn & 0x7f) == 0x73 && (insn >> 12 & 7) && csr == 0x015);
}

static void bug(const struct fuzz *f, const char *what)
{
    fprintf(stderr, "fuzz_lift: %s\n", what);
    for (uint64_t pc = CODE; pc < CODE + f->code_size;) {
        uint32_t insn = bytes_at(f, pc);
        uint8_t raw[4] = {(uint8_t)insn, (uint8_t)(insn >> 8), (uint8_t)(insn >> 16),
                          (uint8_t)(insn >> 24)};
        char text[128] = "";
        unsigned length = riscv64_arch.disassemble(raw, 4, pc, text, sizeof(text));

        fprintf(stderr, "  %llx: %08x %s\n", (unsigned long long)pc, insn, text);
        pc += length ? length : 2;
    }
    fprintf(stderr, "input: ");
    for (size_t i = 0; i < f->input_size; i++) {
        fprintf(stderr, "%02x", f->input[i]);
    }
    fprintf(stderr, "\n");
    abort();
}

/* One instruction of [cpu] by the interpreter. VCPU_EXIT_NONE: go on. */
static enum vcpu_exit step(struct fuzz *f, struct vcpu *cpu, const struct interp_hooks *hooks)
{
    struct lift_ctx ctx = {
        .u = f->unit,
        .pc = cpu->pc,
        .next_pc = cpu->pc,
        .mode = cpu->mode,
        .model = f->model,
        .fetch = fetch_code,
        .fetch_opaque = f,
    };
    enum lift_result lifted;
    enum vcpu_exit reason;
    char *error = NULL;
    uint8_t bytes[4];

    ir_unit_reset(f->unit, &riscv64_arch, cpu->pc, cpu->mode);
    lifted = riscv64_arch.lift(&ctx);
    if (lifted == LIFT_FETCH_FAULT) {
        cpu->fault_addr = cpu->pc + fetch_code(f, cpu->pc, bytes, sizeof(bytes));
        return VCPU_EXIT_FAULT;
    }
    if (lifted != LIFT_END && !f->unit->ended) {
        ir_jump(f->unit, ir_const(f->unit, IR_I64, ctx.next_pc));
    }
    if (!ir_verify(f->unit, &error)) {
        bug(f, error);
    }
    reason = ir_interpret(cpu, f->unit, cpu->guest_base, hooks);
    return reason == VCPU_EXIT_MODE || reason == VCPU_EXIT_FENCE_I || reason == VCPU_EXIT_YIELD
               ? VCPU_EXIT_NONE
               : reason;
}

/* May the next block be run by translated code? Takes the scout far enough to say so. */
static bool scout(struct fuzz *f, struct vcpu *cpu)
{
    struct interp_hooks hooks = {.access = check_access, .opaque = f};

    if (setjmp(f->outside)) {
        f->scout = STUCK;
    }
    while (f->scout == GOES_ON && f->scout_steps < f->model_steps + LOOK_AHEAD) {
        if (is_excluded(bytes_at(f, cpu->pc))) {
            f->scout = STUCK;
        } else if (step(f, cpu, &hooks) != VCPU_EXIT_NONE) {
            f->scout = AT_EXIT;
        } else {
            f->scout_steps++;
        }
    }
    return f->scout != STUCK || f->scout_steps >= f->model_steps + LOOK_AHEAD;
}

static bool same_state(const struct fuzz *f, const struct vcpu *a, const struct vcpu *b)
{
    const struct riscv_vcpu *x = (const struct riscv_vcpu *)a, *y = (const struct riscv_vcpu *)b;

    return a->pc == b->pc && a->mode == b->mode && memcmp(a->r, b->r, sizeof(a->r)) == 0 &&
           memcmp(x->f, y->f, sizeof(x->f)) == 0 && dbt_fp_flags_get(a) == dbt_fp_flags_get(b) &&
           memcmp(f->memory[MODEL], f->memory[SUBJECT], ARENA_SIZE) == 0;
}

static void print_difference(const struct fuzz *f, const struct vcpu *a, const struct vcpu *b)
{
    const struct riscv_vcpu *x = (const struct riscv_vcpu *)a, *y = (const struct riscv_vcpu *)b;

    fprintf(stderr, "model pc %llx mode %u flags %x, translated pc %llx mode %u flags %x\n",
            (unsigned long long)a->pc, a->mode, dbt_fp_flags_get(a), (unsigned long long)b->pc,
            b->mode, dbt_fp_flags_get(b));
    for (unsigned i = 0; i < 32; i++) {
        if (a->r[i] != b->r[i]) {
            fprintf(stderr, "x%u: model %llx, translated %llx\n", i, (unsigned long long)a->r[i],
                    (unsigned long long)b->r[i]);
        }
        if (x->f[i] != y->f[i]) {
            fprintf(stderr, "f%u: model %llx, translated %llx\n", i, (unsigned long long)x->f[i],
                    (unsigned long long)y->f[i]);
        }
    }
    for (unsigned i = 0; i < ARENA_SIZE; i++) {
        if (f->memory[MODEL][i] != f->memory[SUBJECT][i]) {
            fprintf(stderr, "memory at %#x\n", ARENA + i);
            break;
        }
    }
}

/* The model goes on until it is where the subject is. */
static void follow(struct fuzz *f, struct vcpu *model, struct vcpu *subject,
                   enum vcpu_exit expected)
{
    for (unsigned i = 0; i < LOOK_AHEAD; i++) {
        enum vcpu_exit reason = step(f, model, NULL);

        f->model_steps++;
        f->total_steps++;
        if (reason != VCPU_EXIT_NONE) {
            if (reason != expected || !same_state(f, model, subject) ||
                (reason == VCPU_EXIT_FAULT && model->fault_addr != subject->fault_addr)) {
                print_difference(f, model, subject);
                fprintf(stderr, "reasons: %d, %d\n", reason, expected);
                bug(f, "the block ends in another way");
            }
            return;
        }
        if (expected == VCPU_EXIT_INTERRUPT && same_state(f, model, subject)) {
            return;
        }
    }
    print_difference(f, model, subject);
    bug(f, "translated code differs from the interpreter");
}

/* What takes long to make is kept between inputs. */
static struct fuzz *get_fuzz(void)
{
    static struct fuzz *f;

    if (!f) {
        f = fuzz_new();
    }
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *f = get_fuzz();
    struct vcpu *model, *subject;
    unsigned which;

    if (size < 4) {
        return 0;
    }
    f->input = data;
    f->input_size = size;
    f->code_size = size - 2 < MAX_CODE ? size - 2 : MAX_CODE;
    memcpy(f->code, data + 2, f->code_size);
    if (data[0] & OPT_CONFINE) {
        confine_code(f);
    }
    which = (data[0] & OPT_FAR ? 1 : 0) | (data[0] & OPT_BASELINE ? 2 : 0);
    dbt_invalidate(f->dbt[which], CODE, MAX_CODE);
    model = f->cpu[which][MODEL];
    subject = f->cpu[which][SUBJECT];
    for (unsigned side = 0; side < N_SIDES; side++) {
        set_registers(f->cpu[which][side], data[1], data[0] & OPT_CONFINE);
        if (side == 0) {
            fill_memory(f->memory[0], data[1]);
        } else {
            memcpy(f->memory[side], f->memory[0], ARENA_SIZE);
        }
    }
    f->scout = GOES_ON;
    f->scout_steps = f->model_steps = 0;
    while (f->model_steps < MAX_STEPS && scout(f, f->cpu[which][SCOUT])) {
        enum vcpu_exit reason;

        do {
            reason = dbt_run(subject);
        } while (reason == VCPU_EXIT_YIELD);
        follow(f, model, subject, reason);
        if (reason != VCPU_EXIT_INTERRUPT) {
            break;
        }
    }
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* ---- Without libFuzzer ---- */

static uint32_t make_word(uint64_t *state, unsigned *length)
{
    static const uint8_t opcodes[] = {0x03, 0x07, 0x13, 0x13, 0x1b, 0x23, 0x27, 0x2f, 0x33,
                                      0x33, 0x3b, 0x3b, 0x43, 0x47, 0x4b, 0x4f, 0x53, 0x53,
                                      0x53, 0x63, 0x67, 0x6f, 0x73, 0x37, 0x17};
    uint64_t r = next_random(state);
    uint32_t insn = (uint32_t)(r >> 32);
    unsigned opcode = opcodes[(r >> 8) % sizeof(opcodes)];

    if (r % 4 == 0) {
        *length = 2;
        return (insn & 0xfffc) | (uint32_t)(r >> 8) % 3;
    }
    *length = 4;
    insn = (insn & ~0x7fu) | opcode;
    if ((opcode == 0x33 || opcode == 0x3b) && r & 16) {
        insn &= ~(0x7fu << 25) | 0x2au << 25; /* the usual values of funct7 */
    }
    if (opcode == 0x63 || opcode == 0x6f) {
        insn &= ~(0xf8u << 24); /* near, forward */
    }
    if (r & 32) { /* few registers: results are used */
        insn &= ~(0x18u << 7 | 0x18u << 15);
        insn |= 8u << 7 | 8u << 15;
    }
    return insn;
}

/* Random words, nearly all of them instructions. */
static size_t make_input(uint64_t *state, uint8_t *out, size_t room)
{
    size_t size = 2, count = 1 + next_random(state) % 60;

    out[0] = (uint8_t)next_random(state);
    out[0] |= next_random(state) % 8 ? OPT_CONFINE : 0;
    out[1] = (uint8_t)next_random(state);
    for (size_t i = 0; i < count && size + 4 <= room; i++) {
        unsigned length, tries = next_random(state) % 64 ? 40 : 1;
        uint32_t insn;
        char text[128];
        uint8_t raw[4];

        do {
            insn = make_word(state, &length);
            for (unsigned k = 0; k < 4; k++) {
                raw[k] = (uint8_t)(insn >> 8 * k);
            }
            riscv64_arch.disassemble(raw, length, CODE, text, sizeof(text));
        } while (text[0] == '.' && --tries);
        memcpy(out + size, raw, length);
        size += length;
    }
    return size;
}

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    uint8_t code[512];

    g_byte_array_append(input, code, (guint)make_input(state, code, sizeof(code)));
}

#endif
