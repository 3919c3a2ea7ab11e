#include "guest/riscv/disas.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/riscv/riscv.h"
#include "guest/riscv/riscv_decode.h"

/* Text under construction; what doesn't fit is cut off. */
struct text {
    char *start;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list ap;
    int n;

    if (t->used + 1 >= t->size) {
        return;
    }
    va_start(ap, format);
    n = vsnprintf(t->start + t->used, t->size - t->used, format, ap);
    va_end(ap);
    if (n > 0) {
        t->used += MIN((size_t)n, t->size - t->used - 1);
    }
}

/* ---- Operands, by the name of the field ---- */

static void put_x(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "%s", riscv64_arch.regs[v & 31].name);
}

static void put_f(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "%s", riscv64_arch.regs[RISCV_REG_F0 + (v & 31)].name);
}

static void put_decimal(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "%" PRId32, v);
}

static void put_hex(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "0x%" PRIx32, (uint32_t)v);
}

static void put_imm20(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "0x%" PRIx32, (uint32_t)v & 0xfffff);
}

static void put_target(struct text *t, int32_t v, uint64_t pc)
{
    put(t, "0x%" PRIx64, pc + (uint64_t)(int64_t)v);
}

static void put_rm(struct text *t, int32_t v, uint64_t pc)
{
    static const char *const names[8] = {"rne", "rtz",     "rdn",     "rup",
                                         "rmm", "unknown", "unknown", "dyn"};

    put(t, "%s", names[v & 7]);
}

static void put_iorw(struct text *t, int32_t v, uint64_t pc)
{
    if (!(v & 15)) {
        put(t, "unknown");
    }
    put(t, "%s%s%s%s", v & 8 ? "i" : "", v & 4 ? "o" : "", v & 2 ? "r" : "", v & 1 ? "w" : "");
}

static void put_csr(struct text *t, int32_t v, uint64_t pc)
{
    /* base: the number that the name of the first one ends in; -1: there is only one, without it.
     */
    static const struct {
        uint16_t first, last;
        const char *name;
        int8_t base;
    } names[] = {
        {0x001, 0x001, "fflags", -1},        {0x002, 0x002, "frm", -1},
        {0x003, 0x003, "fcsr", -1},          {0x015, 0x015, "seed", -1},
        {0x100, 0x100, "sstatus", -1},       {0x104, 0x104, "sie", -1},
        {0x105, 0x105, "stvec", -1},         {0x106, 0x106, "scounteren", -1},
        {0x10a, 0x10a, "senvcfg", -1},       {0x10c, 0x10f, "sstateen", 0},
        {0x140, 0x140, "sscratch", -1},      {0x141, 0x141, "sepc", -1},
        {0x142, 0x142, "scause", -1},        {0x143, 0x143, "stval", -1},
        {0x144, 0x144, "sip", -1},           {0x14d, 0x14d, "stimecmp", -1},
        {0x180, 0x180, "satp", -1},          {0x300, 0x300, "mstatus", -1},
        {0x301, 0x301, "misa", -1},          {0x302, 0x302, "medeleg", -1},
        {0x303, 0x303, "mideleg", -1},       {0x304, 0x304, "mie", -1},
        {0x305, 0x305, "mtvec", -1},         {0x306, 0x306, "mcounteren", -1},
        {0x30a, 0x30a, "menvcfg", -1},       {0x30c, 0x30f, "mstateen", 0},
        {0x320, 0x320, "mcountinhibit", -1}, {0x323, 0x33f, "mhpmevent", 3},
        {0x340, 0x340, "mscratch", -1},      {0x341, 0x341, "mepc", -1},
        {0x342, 0x342, "mcause", -1},        {0x343, 0x343, "mtval", -1},
        {0x344, 0x344, "mip", -1},           {0x3a0, 0x3a0, "pmpcfg", 0},
        {0x3a2, 0x3a2, "pmpcfg", 2},         {0x3b0, 0x3bf, "pmpaddr", 0},
        {0x747, 0x747, "mseccfg", -1},       {0xb00, 0xb00, "mcycle", -1},
        {0xb02, 0xb02, "minstret", -1},      {0xb03, 0xb1f, "mhpmcounter", 3},
        {0xc00, 0xc00, "cycle", -1},         {0xc01, 0xc01, "time", -1},
        {0xc02, 0xc02, "instret", -1},       {0xc03, 0xc1f, "hpmcounter", 3},
        {0xda0, 0xda0, "scountovf", -1},     {0xf11, 0xf11, "mvendorid", -1},
        {0xf12, 0xf12, "marchid", -1},       {0xf13, 0xf13, "mimpid", -1},
        {0xf14, 0xf14, "mhartid", -1},       {0xf15, 0xf15, "mconfigptr", -1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (v < names[i].first || v > names[i].last) {
            continue;
        }
        put(t, "%s", names[i].name);
        if (names[i].base >= 0) {
            put(t, "%d", names[i].base + v - names[i].first);
        }
        return;
    }
    put_hex(t, v, pc);
}

static void put_fli(struct text *t, int32_t v, uint64_t pc)
{
    static const char *const names[32] = {
        "-1",
        "min",
        "1.52587890625e-05",
        "3.0517578125e-05",
        "0.00390625",
        "0.0078125",
        "0.0625",
        "0.125",
        "0.25",
        "0.3125",
        "0.375",
        "0.4375",
        "0.5",
        "0.625",
        "0.75",
        "0.875",
        "1",
        "1.25",
        "1.5",
        "1.75",
        "2",
        "2.5",
        "3",
        "4",
        "8",
        "16",
        "128",
        "256",
        "32768",
        "65536",
        "inf",
        "nan",
    };

    put(t, "%s", names[v & 31]);
}

static const struct {
    const char *field;
    void (*put)(struct text *t, int32_t v, uint64_t pc);
} operand_kinds[] = {
    {"rd", put_x},       {"rs1", put_x},     {"rs2", put_x},       {"fd", put_f},
    {"fs1", put_f},      {"fs2", put_f},     {"fs3", put_f},       {"imm", put_decimal},
    {"off", put_target}, {"shamt", put_hex}, {"imm20", put_imm20}, {"zimm", put_decimal},
    {"bs", put_hex},     {"rnum", put_hex},  {"rm", put_rm},       {"csr", put_csr},
    {"pred", put_iorw},  {"succ", put_iorw}, {"fli", put_fli},
};

static void put_field(struct text *t, const char *field, int32_t v, uint64_t pc)
{
    for (size_t i = 0; i < G_N_ELEMENTS(operand_kinds); i++) {
        if (!strcmp(operand_kinds[i].field, field)) {
            operand_kinds[i].put(t, v, pc);
            return;
        }
    }
    put_decimal(t, v, pc);
}

/* Index of the field that the text at [s] names, -1 if none; its length in *length. */
static int find_field(const struct riscv_row *row, const char *s, size_t *length)
{
    *length = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
    for (int i = 0; i < row->n_fields; i++) {
        if (strlen(row->fields[i]) == *length && !strncmp(row->fields[i], s, *length)) {
            return i;
        }
    }
    return -1;
}

static void put_operands(struct text *t, const struct riscv_row *row, const char *syntax,
                         const union riscv_args *args, uint64_t pc)
{
    enum { RM_DYN = 7 };
    const char *s = syntax;

    while (*s) {
        size_t length;
        int field = find_field(row, s, &length);

        if (field >= 0) {
            put_field(t, row->fields[field], args->v[field], pc);
            s += length;
        } else if (!strcmp(s, ",rm") && args->v[row->n_fields - 1] == RM_DYN) {
            /* rm is always the last field; the usual mode goes without saying. */
            return;
        } else {
            size_t skip = MAX(length, 1);

            put(t, "%.*s", (int)skip, s);
            s += skip;
        }
    }
}

/* ---- Instructions ---- */

/* .aq, .rl, .aqrl of the atomics. */
static void put_ordering(struct text *t, const struct riscv_row *row, const union riscv_args *args)
{
    bool aq = false, rl = false;

    for (int i = 0; i < row->n_fields; i++) {
        aq |= !strcmp(row->fields[i], "aq") && args->v[i];
        rl |= !strcmp(row->fields[i], "rl") && args->v[i];
    }
    if (aq || rl) {
        put(t, ".%s%s", aq ? "aq" : "", rl ? "rl" : "");
    }
}

static const struct riscv_alias *find_alias(const struct riscv_row *row,
                                            const union riscv_args *args)
{
    for (int i = 0; i < RISCV_ALIAS_COUNT; i++) {
        const struct riscv_alias *alias = &riscv_aliases[i];
        bool match = alias->insn == row->insn;

        for (int k = 0; match && k < alias->n_conditions; k++) {
            int same = alias->conditions[k].same_as;
            int32_t want = same < 0 ? alias->conditions[k].value : args->v[same];

            match = args->v[alias->conditions[k].field] == want;
        }
        if (match) {
            return alias;
        }
    }
    return NULL;
}

/* The row that the rows with the same definition are named after. */
static const struct riscv_row *definition_of(const struct riscv_row *row)
{
    const struct riscv_row *r = riscv_rows;

    while (r->insn != row->insn) {
        r++;
    }
    return r;
}

void riscv_disassemble_word(uint32_t w, uint64_t pc, bool aliases, char *text, size_t text_size)
{
    struct text t = {.start = text, .size = text_size};
    bool is_long = (w & 3) == 3;
    union riscv_args args;
    int number = riscv_decode(w, ~UINT64_C(0), &args);
    const struct riscv_alias *alias = NULL;
    const struct riscv_row *row;
    const char *name, *syntax;

    if (text_size) {
        text[0] = '\0';
    }
    if (number < 0) {
        put(&t, is_long ? ".insn\t4, 0x%08" PRIx32 : ".insn\t2, 0x%04" PRIx32,
            is_long ? w : w & 0xffff);
        return;
    }
    row = &riscv_rows[number];
    name = row->name;
    syntax = row->syntax;
    if (aliases) {
        row = definition_of(row);
        alias = find_alias(row, &args);
        name = alias ? alias->name : row->name;
        syntax = alias ? alias->syntax : row->syntax;
    }
    put(&t, "%s", name);
    put_ordering(&t, row, &args);
    if (*syntax) {
        put(&t, "\t");
        put_operands(&t, row, syntax, &args, pc);
    }
}

unsigned riscv_disassemble(const uint8_t *bytes, size_t size, uint64_t pc, char *text,
                           size_t text_size)
{
    uint32_t w;

    if (size < 2) {
        return 0;
    }
    w = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
    if ((w & 3) != 3) {
        riscv_disassemble_word(w, pc, true, text, text_size);
        return 2;
    }
    if (size < 4) {
        return 0;
    }
    w |= (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    riscv_disassemble_word(w, pc, true, text, text_size);
    return 4;
}
