/*
 * How much host code typical guest code becomes: the counts are compared with
 * tests/golden/counts.txt (user mode) and counts-system.txt (behind an MMU), so that a change of
 * the translator shows what it costs or saves.
 *
 *   test_golden --update            write the files anew
 *   test_golden --show NAME         print the code of one sequence
 *   test_golden --show-system NAME
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/dbt_priv.h"
#include "dbt/mmu.h"
#include "guest/riscv/riscv.h"
#include "rv.h"

enum { MAX_INSNS = 40, CODE_PC = 0x10000 };

struct sequence {
    const char *name;
    uint32_t code[MAX_INSNS]; /* ends with 0 */
};

static const struct sequence sequences[] = {
    {"sum of an array", {LD(A5, A0, 0), ADDI(A0, A0, 8), ADD(A4, A4, A5), BNE(A0, A1, -12)}},
    {"copy of words",
     {LD(A5, A1, 0), ADDI(A1, A1, 8), ADDI(A0, A0, 8), SD(A5, A0, -8), BLTU(A1, A2, -16)}},
    {"length of a string", {LBU(A4, A5, 1), ADDI(A5, A5, 1), BNE(A4, ZERO, -8)}},
    {"linked list", {LW(A4, A0, 8), LD(A0, A0, 0), ADDW(A5, A5, A4), BNE(A0, ZERO, -12)}},
    {"hash of bytes",
     {LBU(A4, A0, 0), ADDI(A0, A0, 1), XOR(A5, A5, A4), MUL(A5, A5, A3), SRLI(A4, A5, 47),
      XOR(A5, A5, A4), BNE(A0, A1, -24)}},
    {"32-bit arithmetic",
     {ADDW(A5, A5, A4), ADDIW(A4, A4, 1), SLLI(A3, A5, 32), SRLI(A3, A3, 32), BNE(A4, A1, -16)}},
    {"registers without a home",
     {ADD(T3, T3, T4), XOR(T5, T5, T3), ADDI(S10, S10, -1), AND(S11, T5, S10),
      BNE(S10, ZERO, -16)}},
    {"prologue",
     {ADDI(SP, SP, -48), SD(RA, SP, 40), SD(S0, SP, 32), SD(S1, SP, 24), SD(S2, SP, 16),
      SD(S3, SP, 8), ADDI(S0, SP, 48), JAL(RA, 0x1000)}},
    {"epilogue",
     {LD(RA, SP, 40), LD(S0, SP, 32), LD(S1, SP, 24), LD(S2, SP, 16), LD(S3, SP, 8),
      ADDI(SP, SP, 48), RET}},
    {"leaf function", {SH3ADD(A0, A1, A0), LD(A0, A0, 0), RET}},
    {"far call", {AUIPC(RA, 0x20), JALR(RA, RA, 64)}},
    {"call through a pointer", {LD(A5, A0, 24), ADDI(A1, S0, 0), JALR(RA, A5, 0)}},
    {"call through the PLT", {AUIPC(T3, 4), LD(T3, T3, 100), JALR(T1, T3, 0), NOP}},
    {"switch",
     {ADDI(A4, ZERO, 9), BLTU(A4, A0, 0x200), SH2ADD(A0, A0, A5), LW(A4, A0, 0), ADD(A4, A4, A5),
      JALR(ZERO, A4, 0)}},
    {"interpreter's dispatch",
     {LBU(A4, S1, 0), ADDI(S1, S1, 2), SH3ADD(A4, A4, S2), LD(A5, A4, 0), JALR(ZERO, A5, 0)}},
    {"comparisons", {SLTU(A5, A0, A1), SLTU(A4, A1, A0), SUB(A0, A4, A5), ANDI(A0, A0, 255), RET}},
    {"constants",
     {LUI(A0, 0x12345), ADDIW(A0, A0, 0x678), AUIPC(A1, 0x10), LD(A2, A1, 16), ADDI(A3, ZERO, -1),
      RET}},
    {"division", {DIVU(A4, A0, A1), MUL(A5, A4, A1), SUB(A5, A0, A5), MULHU(A0, A0, A1), RET}},
    {"dot product",
     {FLD(15, A0, 0), FLD(14, A1, 0), ADDI(A0, A0, 8), ADDI(A1, A1, 8), FMADD_D(10, 15, 14, 10),
      BNE(A0, A2, -20)}},
    {"polynomial",
     {FMUL_D(15, 10, 10), FADD_D(14, 15, 11), FMUL_D(14, 14, 12), FDIV_D(10, 14, 15), RET}},
    {"single precision",
     {FLW(15, A0, 0), FLW(14, A0, 4), FADD_S(15, 15, 14), FCVT_D_S(10, 15), RET}},
    {"conversions", {FCVT_D_L(15, A0), FADD_D(15, 15, 10), FCVT_L_D_RTZ(A0, 15), RET}},
    {"comparison of numbers", {FLT_D(A5, 10, 11), BNE(A5, ZERO, 12), FMV_D(10, 11), RET}},
    {"atomic add", {AMOADD_W(A5, A4, A0), RET}},
    {"atomic add without result", {AMOADD_D(ZERO, A4, A0), RET}},
    {"lock", {ADDI(A4, ZERO, 1), AMOSWAP_W(A5, A4, A0), BNE(A5, ZERO, -4), RET}},
    {"compare and swap",
     {LR_W(A5, A0), BNE(A5, A1, 16), SC_W(A4, A2, A0), BNE(A4, ZERO, -12), RET}},
    {"system call", {ADDI(A7, ZERO, 64), ECALL}},
};

static unsigned length(const struct sequence *s)
{
    unsigned n = 0;

    while (n < MAX_INSNS && s->code[n]) {
        n++;
    }
    return n;
}

static size_t fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    const struct sequence *s = *(const struct sequence **)opaque;
    uint64_t end = 4 * length(s);

    *stable = true;
    if (pc - CODE_PC >= end) {
        return 0;
    }
    size = MIN(size, end - (pc - CODE_PC));
    memcpy(buf, (const uint8_t *)s->code + (pc - CODE_PC), size);
    return size;
}

/* System mode: the code is in a page at CODE_PC. */
static bool translate(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page)
{
    if (access != VCPU_FETCH || vaddr / MMU_PAGE_SIZE != CODE_PC / MMU_PAGE_SIZE) {
        return false;
    }
    *page = (struct mmu_page){
        .phys = CODE_PC,
        .host = cpu->owner,
        .exec = true,
        .size = MMU_PAGE_SIZE,
    };
    return true;
}

static void code_page(struct vcpu *cpu, uint64_t phys)
{
    (void)cpu, (void)phys;
}

static const struct mmu_ops mmu = {.translate = translate, .code_page = code_page};

/* ---- Counting ---- */

struct counts {
    unsigned guest, host, bytes, far_bytes;
};

/* Instructions and bytes in line, without the padding, which depends on where the code is. */
static void count_block(struct dbt *dbt, const struct block *b, struct counts *c)
{
    g_autofree char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    uint64_t end = (uintptr_t)dbt->cache.rx + b->code_far, last = 0;
    bool counted = false;
    g_auto(GStrv) lines = NULL;

    host_log_code(dbt, b, f);
    fclose(f);
    lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        uint64_t address = g_ascii_strtoull(lines[i], NULL, 16);

        if (!g_str_has_prefix(lines[i], "0x") || address >= end) {
            continue;
        }
        c->bytes += counted ? (unsigned)(address - last) : 0;
        counted = strstr(lines[i], ":  nop") == NULL;
        c->host += counted;
        last = address;
    }
    c->bytes += counted ? (unsigned)(end - last) : 0;
    c->far_bytes += b->code_end - b->code_far;
}

static struct counts count(struct vcpu *cpu, const struct sequence *s, FILE *show)
{
    struct dbt *dbt = cpu->dbt;
    struct counts c = {.guest = length(s)};
    uint64_t pc = CODE_PC, end = CODE_PC + 4 * c.guest;

    dbt_forget_blocks(dbt);
    if (cpu->owner) {
        memcpy(cpu->owner, s->code, end - CODE_PC);
    }
    while (pc < end) {
        struct block *b;

        /* What follows the code in its page isn't code. */
        dbt->config.max_insns = (unsigned)(end - pc) / 4;
        g_assert_cmpint(dbt_translate(cpu, pc, IR_RNE, &b), ==, TRANSLATE_OK);
        g_assert_false(b->interpret);
        count_block(dbt, b, &c);
        if (show) {
            dbt_log_guest_code(cpu, dbt->unit, show);
            host_log_code(dbt, b, show);
        }
        pc = b->pc + b->size;
    }
    return c;
}

/* A translator for one fixed host: the best that has nothing that is rare. */
static struct dbt *new_dbt(const struct sequence **sequence, bool system)
{
    struct dbt_config config = {.arch = &riscv64_arch,
                                .cache_size = 1 << 20,
                                .fetch = fetch,
                                .opaque = sequence,
                                .mmu = system ? &mmu : NULL};
    g_autoptr(GError) error = NULL;
    struct dbt *dbt = dbt_new(&config, &error);

    g_assert_no_error(error);
    dbt->features.fma = dbt->features.bmi1 = dbt->features.bmi2 = true;
    dbt->features.lzcnt = dbt->features.popcnt = true;
    return dbt;
}

static char *count_all(const char *show, bool system)
{
    const struct sequence *s = NULL;
    g_autofree uint8_t *page = g_malloc0(MMU_PAGE_SIZE);
    struct dbt *dbt = new_dbt(&s, system);
    struct riscv_model *model = riscv_model_parse("rv64", NULL);
    struct vcpu *cpu = dbt_vcpu_new(dbt, model);
    struct counts all = {0};
    GString *text = g_string_new(NULL);

    cpu->owner = system ? page : NULL;

    g_string_append_printf(text, "%-28s %6s %6s %9s %6s %6s\n", "# what", "guest", "host",
                           "per guest", "bytes", "far");
    for (unsigned i = 0; i < G_N_ELEMENTS(sequences); i++) {
        struct counts c;

        s = &sequences[i];
        c = count(cpu, s, show && strcmp(show, s->name) == 0 ? stdout : NULL);
        g_string_append_printf(text, "%-28s %6u %6u %9.2f %6u %6u\n", s->name, c.guest, c.host,
                               (double)c.host / c.guest, c.bytes, c.far_bytes);
        all.guest += c.guest;
        all.host += c.host;
        all.bytes += c.bytes;
        all.far_bytes += c.far_bytes;
    }
    g_string_append_printf(text, "%-28s %6u %6u %9.2f %6u %6u\n", "all", all.guest, all.host,
                           (double)all.host / all.guest, all.bytes, all.far_bytes);
    dbt_vcpu_free(cpu);
    riscv_model_free(model);
    dbt_free(dbt);
    return g_string_free(text, FALSE);
}

/* ---- Comparison ---- */

static char *golden_file(bool system)
{
    return g_build_filename(TEST_SOURCE_DIR, "..", "golden",
                            system ? "counts-system.txt" : "counts.txt", NULL);
}

/* The lines of a and b that differ. Both have the sequences in the same order, but one may have
 * more of them. */
static unsigned print_difference(const char *a, const char *b)
{
    g_auto(GStrv) old = g_strsplit(a, "\n", -1), new = g_strsplit(b, "\n", -1);
    unsigned n = 0;

    for (unsigned i = 0; old[i]; i++) {
        if (!g_strv_contains((const char *const *)new, old[i])) {
            g_printerr("- %s\n", old[i]);
            n++;
        }
    }
    for (unsigned i = 0; new[i]; i++) {
        if (!g_strv_contains((const char *const *)old, new[i])) {
            g_printerr("+ %s\n", new[i]);
            n++;
        }
    }
    return n;
}

static void test_counts(const void *system)
{
    g_autofree char *file = golden_file(system), *want = NULL, *got = count_all(NULL, system);
    g_autoptr(GError) error = NULL;

#ifndef NANDU_HAVE_CAPSTONE
    g_test_skip("built without a disassembler, which does the counting");
    return;
#endif
    g_file_get_contents(file, &want, NULL, &error);
    g_assert_no_error(error);
    if (print_difference(want, got)) {
        g_test_message("the translator makes other code; if it is better, or worth it: "
                       "tests/unit/test_golden --update");
        g_test_fail();
    }
}

static bool update(bool system)
{
    g_autofree char *text = count_all(NULL, system), *file = golden_file(system);

    return g_file_set_contents(file, text, -1, NULL);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--update") == 0) {
        return !update(false) || !update(true);
    }
    if (argc == 3 && g_str_has_prefix(argv[1], "--show")) {
        g_free(count_all(argv[2], strcmp(argv[1], "--show-system") == 0));
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/golden/counts", NULL, test_counts);
    g_test_add_data_func("/golden/counts-system", "system", test_counts);
    return g_test_run();
}
