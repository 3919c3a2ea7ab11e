/*
 * RISC-V: the decoder against its own table (searched row by row), the disassembler against known
 * text and, where it is installed, against GNU objdump; each definition lifts to valid IR; CPU
 * models.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "dbt/ir.h"
#include "guest/riscv/disas.h"
#include "guest/riscv/riscv.h"
#include "guest/riscv/riscv_decode.h"

#define EXT(name) (UINT64_C(1) << RISCV_EXT_##name)

static const uint64_t all_ext = (UINT64_C(1) << RISCV_EXT_COUNT) - 1;

static uint32_t random32(GRand *rand)
{
    return g_rand_int(rand);
}

static bool row_has_ext(const struct riscv_row *row, uint64_t ext)
{
    return (row->all_of & ~ext) == 0 && (!row->any_of || (row->any_of & ext));
}

static uint32_t length_mask(const struct riscv_row *row)
{
    return row->length == 2 ? 0xffff : 0xffffffff;
}

/* Random values in all but the fixed bits. */
static uint32_t random_insn(GRand *rand, const struct riscv_row *row)
{
    return (row->match | (random32(rand) & ~row->mask)) & length_mask(row);
}

/* ---- The decoder ---- */

/* A row's own words are its own, but for those of a more special row before it, and reserved
 * operands of 16-bit ones. */
static void test_rows(void)
{
    GRand *rand = g_rand_new_with_seed(1);

    for (int i = 0; i < RISCV_ROW_COUNT; i++) {
        const struct riscv_row *row = &riscv_rows[i];
        int own = 0;

        for (int n = 0; n < 2000; n++) {
            uint32_t w = random_insn(rand, row);
            union riscv_args args;
            int found = riscv_decode(w, all_ext, &args);

            if (found == i) {
                own++;
            } else if (found >= 0) {
                g_assert_cmphex(w & riscv_rows[found].mask, ==, riscv_rows[found].match);
                g_assert_cmpint(found, <, i);
            } else {
                g_assert_cmpint(row->length, ==, 2);
            }
        }
        g_assert_cmpint(own, >, 1500);
    }
    g_rand_free(rand);
}

/* The first row that fits, conditions on operands left aside. */
static int search(uint32_t w, uint64_t ext)
{
    unsigned length = (w & 3) == 3 ? 4 : 2;

    for (int i = 0; i < RISCV_ROW_COUNT; i++) {
        const struct riscv_row *row = &riscv_rows[i];

        if (row->length == length && (w & row->mask) == row->match && row_has_ext(row, ext)) {
            return i;
        }
    }
    return -1;
}

static void check_against_search(uint32_t w, uint64_t ext)
{
    union riscv_args args;
    int want = search(w, ext), found = riscv_decode(w, ext, &args);

    if (found != want) {
        /* Reserved operands: of 16-bit instructions only; a later row may have them. */
        g_assert_cmpint(want, >=, 0);
        g_assert_cmpint(riscv_rows[want].length, ==, 2);
        g_assert_true(found < 0 || found > want);
    }
}

static void test_search(void)
{
    GRand *rand = g_rand_new_with_seed(2);

    for (uint32_t w = 0; w < 0x10000; w++) {
        if ((w & 3) != 3) {
            check_against_search(w, all_ext);
            check_against_search(w, EXT(ZCA));
            check_against_search(w, 0);
        }
    }
    for (int n = 0; n < 200000; n++) {
        uint64_t ext =
            n & 1 ? all_ext : ((uint64_t)random32(rand) << 32 | random32(rand)) & all_ext;

        check_against_search(random32(rand) | 3, ext);
        check_against_search(random_insn(rand, &riscv_rows[n % RISCV_ROW_COUNT]), ext);
    }
    g_rand_free(rand);
}

static void test_undefined(void)
{
    static const uint32_t words[] = {
        0x00000000,           0x0000ffff, 0xffffffff,
        0x0000001f,           0x0000007f, 0x00002063, /* a branch with funct3 2 */
        0x80001013,                                   /* slli with a wrong top */
        0x00007003,                                   /* load with funct3 7 */
        0x00004023,                                   /* store with funct3 4 */
        0x30200173,                                   /* mret with rd */
        0x00200073,                                   /* uret */
        0x10508073,                                   /* wfi with rs1 */
        0x12000173,                                   /* sfence.vma with rd */
        0x22000073,                                   /* hfence.vvma */
        0x00100173,                                   /* ebreak with rd */
        0x100122af | 1 << 20,                         /* lr.w with rs2 */
        0x57006057,                                   /* vector */
        0x00004002,                                   /* c.lwsp to x0 */
        0x00008002,                                   /* c.jr x0 */
        0x00002001,                                   /* c.addiw of x0 */
        0x00006101,                                   /* c.addi16sp 0 */
        0x00006001,                                   /* c.lui 0 */
        0x00008000 | 7 << 10,                         /* 100 111 in quadrant 0 */
    };
    const uint64_t compressed = EXT(ZCA) | EXT(ZCD) | EXT(ZCB) | EXT(ZCMOP);
    union riscv_args args;

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (riscv_decode(words[i], all_ext, &args) >= 0) {
            g_error("%08x is decoded", words[i]);
        }
    }
    for (uint32_t w = 0; w < 0x10000; w++) {
        if ((w & 3) != 3) {
            g_assert_cmpint(riscv_decode(w, all_ext & ~compressed, &args), ==, -1);
        }
    }
}

/* Without one of the extensions that it needs, an instruction is not there, or it is another one
 * (packw for zext.h). */
static void test_extensions(void)
{
    GRand *rand = g_rand_new_with_seed(3);

    for (int i = 0; i < RISCV_ROW_COUNT; i++) {
        const struct riscv_row *row = &riscv_rows[i];
        uint32_t w = random_insn(rand, row);
        union riscv_args args;

        for (int e = 0; e < RISCV_EXT_COUNT; e++) {
            if (row->all_of >> e & 1) {
                g_assert_cmpint(riscv_decode(w, all_ext & ~(UINT64_C(1) << e), &args), !=, i);
            }
        }
        if (row->any_of) {
            g_assert_cmpint(riscv_decode(w, all_ext & ~row->any_of, &args), !=, i);
        }
    }
    g_rand_free(rand);
}

/* ---- The disassembler ---- */

static void test_text(void)
{
    static const struct {
        uint32_t w;
        const char *text;
    } cases[] = {
        {0xff010113, "addi\tsp,sp,-16"},
        {0x00000013, "nop"},
        {0x00050593, "mv\ta1,a0"},
        {0xfff00513, "li\ta0,-1"},
        {0x00008067, "ret"},
        {0x00078067, "jr\ta5"},
        {0xfffff537, "lui\ta0,0xfffff"},
        {0x0000006f, "j\t0x10000"},
        {0xffdff0ef, "jal\t0xfffc"},
        {0xfe050ee3, "beqz\ta0,0xfffc"},
        {0x00b54463, "blt\ta0,a1,0x10008"},
        {0xfff54503, "lbu\ta0,-1(a0)"},
        {0x00113423, "sd\tra,8(sp)"},
        {0x43f55513, "srai\ta0,a0,0x3f"},
        {0x0ff0000f, "fence"},
        {0x0310000f, "fence\trw,w"},
        {0x8330000f, "fence.tso"},
        {0x00000073, "ecall"},
        {0x00100073, "ebreak"},
        {0x100522af, "lr.w\tt0,(a0)"},
        {0x1eb522af, "sc.w.aqrl\tt0,a1,(a0)"},
        {0x04b5352f, "amoadd.d.aq\ta0,a1,(a0)"},
        {0x0ab5352f, NULL},
        {0xc0102573, "rdtime\ta0"},
        {0x00151573, "fsflags\ta0,a0"},
        {0x30051573, "csrrw\ta0,mstatus,a0"},
        {0x02b57553, "fadd.d\tfa0,fa0,fa1"},
        {0x02b51553, "fadd.d\tfa0,fa0,fa1,rtz"},
        {0xc2051553, "fcvt.w.d\ta0,fa0,rtz"},
        {0x22a505d3, "fmv.d\tfa1,fa0"},
        {0x6ab57543, "fmadd.d\tfa0,fa0,fa1,fa3"},
        {0x6b855513, "rev8\ta0,a0"},
        {0x1141, "addi\tsp,sp,-16"},
        {0x8082, "ret"},
        {0x852e, "mv\ta0,a1"},
        {0x0001, "nop"},
        {0x4501, "li\ta0,0"},
        {0x9002, "ebreak"},
        {0xa001, "j\t0x10000"},
        {0xe406, "sd\tra,8(sp)"},
        {0x0000, ".insn\t2, 0x0000"},
        {0xffffffff, ".insn\t4, 0xffffffff"},
    };
    char text[128], small[4];

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        riscv_disassemble_word(cases[i].w, 0x10000, true, text, sizeof(text));
        if (cases[i].text) {
            g_assert_cmpstr(text, ==, cases[i].text);
        }
    }
    /* What doesn't fit is cut off. */
    riscv_disassemble_word(0xff010113, 0, true, small, sizeof(small));
    g_assert_cmpstr(small, ==, "add");
    g_assert_cmpint(riscv_disassemble((const uint8_t *)"\x13", 1, 0, text, sizeof(text)), ==, 0);
    g_assert_cmpint(riscv_disassemble((const uint8_t *)"\x13\0\0", 3, 0, text, 128), ==, 0);
    g_assert_cmpint(riscv_disassemble((const uint8_t *)"\x13\0\0\0", 4, 0, text, 128), ==, 4);
    g_assert_cmpint(riscv_disassemble((const uint8_t *)"\x82\x80", 2, 0, text, 128), ==, 2);
}

/* Both write numbers in their own way: targets with and without 0x, symbols, comments. */
static void normalize(char *text)
{
    char *cut = strpbrk(text, "#<");
    char *to = text;

    if (cut) {
        *cut = '\0';
    }
    for (char *from = text; *from; from++) {
        if (from[0] == '0' && from[1] == 'x') {
            from++;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    g_strchomp(text);
}

enum { ALIASES, NO_ALIASES };

/* Runs a program of the cross binutils; its standard output, NULL if that fails. */
static char *run_tool(const char *const *argv)
{
    char *out = NULL;
    int status = 0;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                      NULL, NULL, &out, NULL, &status, NULL) ||
        status) {
        g_clear_pointer(&out, g_free);
    }
    return out;
}

/* What objdump makes of [words]: its lines' texts in order; NULL if it isn't installed. */
static GPtrArray *run_objdump(const uint32_t *words, size_t n, int aliases)
{
    g_autofree char *dir = g_dir_make_tmp("nandu-decode-XXXXXX", NULL);
    g_autofree char *source = g_build_filename(dir, "a.s", NULL);
    g_autofree char *object = g_build_filename(dir, "a.o", NULL);
    g_autofree char *out = NULL, *assembled = NULL;
    g_autoptr(GString) text = g_string_new(".option norelax\n");
    g_auto(GStrv) lines = NULL;
    GPtrArray *texts = NULL;
    const char *as[] = {
        "riscv64-linux-gnu-as",
        "-march=rv64gc_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zk_zks_zfh_zicbom_zicbop_zicboz_zawrs"
        "_zihintpause",
        "-o",
        object,
        source,
        NULL,
    };
    const char *objdump[] = {
        "riscv64-linux-gnu-objdump",
        "-d",
        "-z",
        aliases == ALIASES ? "-w" : "-Mno-aliases",
        object,
        NULL,
    };

    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(text, (words[i] & 3) == 3 ? ".insn 4, 0x%x\n" : ".insn 2, 0x%x\n",
                               words[i]);
    }
    g_assert_true(g_file_set_contents(source, text->str, -1, NULL));
    assembled = run_tool(as);
    out = assembled ? run_tool(objdump) : NULL;
    g_unlink(source);
    g_unlink(object);
    g_rmdir(dir);
    if (!out) {
        return NULL;
    }
    texts = g_ptr_array_new_with_free_func(g_free);
    lines = g_strsplit(out, "\n", -1);
    for (char **line = lines; *line; line++) {
        /* "   0:\t00000013          \tnop": address, bytes, text */
        g_auto(GStrv) columns = g_strsplit(*line, "\t", 3);

        if (g_strv_length(columns) == 3 && strchr(columns[0], ':')) {
            g_ptr_array_add(texts, g_strdup(columns[2]));
        }
    }
    return texts;
}

/* Not what one of the two doesn't know, nor forms of 16-bit instructions that only one names. */
static bool comparable(const char *ours, const char *theirs)
{
    static const char *const unknown[] = {".word",  ".short", ".insn",  ".4byte",
                                          ".2byte", "unimp",  "unknown"};

    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++) {
        if (strstr(theirs, unknown[i]) || strstr(ours, unknown[i])) {
            return false;
        }
    }
    return !g_str_has_prefix(theirs, "c.") && !g_str_has_prefix(ours, "c.") &&
           !g_str_has_prefix(ours, "ntl.");
}

/* Some versions write "add" for "addi" and "sraw" for "sraiw", and leave out a rounding mode that
 * makes no difference. */
static bool same_text(const char *ours, const char *theirs)
{
    size_t common = 0;
    const char *rest;

    while (ours[common] && ours[common] == theirs[common]) {
        common++;
    }
    rest = ours + common;
    return (*rest == 'i' && !strcmp(rest + 1, theirs + common)) ||
           (!theirs[common] && (!*rest || !strcmp(rest, ",rne")));
}

/* Random words of each 32-bit row that this objdump knows. */
static void test_objdump(gconstpointer data)
{
    enum { PER_ROW = 20 };
    static const uint32_t csrs[6] = {0x001, 0x002, 0x003, 0xc00, 0xc01, 0xc02};
    int aliases = GPOINTER_TO_INT(data);
    GRand *rand = g_rand_new_with_seed(4);
    g_autofree uint32_t *words = g_new(uint32_t, RISCV_ROW_COUNT * PER_ROW);
    g_autoptr(GPtrArray) texts = NULL;
    size_t n = 0, compared = 0;
    uint64_t pc = 0;

    for (int i = 0; i < RISCV_ROW_COUNT; i++) {
        const struct riscv_row *row = &riscv_rows[i];

        for (int k = 0; k < PER_ROW; k++) {
            uint32_t w = random_insn(rand, row);

            /* Of CSRs, those that both know. */
            words[n++] = g_str_has_prefix(row->name, "csr") ? (w & 0xfffff) | csrs[k % 6] << 20 : w;
        }
    }
    g_rand_free(rand);
    texts = run_objdump(words, n, aliases);
    if (!texts || !texts->len) {
        g_test_skip("the riscv64 binutils are not installed");
        return;
    }
    g_assert_cmpuint(texts->len, ==, n);
    for (size_t i = 0; i < n; pc += (words[i] & 3) == 3 ? 4 : 2, i++) {
        char *theirs = texts->pdata[i];
        char ours[128];

        riscv_disassemble_word(words[i], pc, aliases == ALIASES, ours, sizeof(ours));
        if (!comparable(ours, theirs)) {
            continue;
        }
        normalize(theirs);
        normalize(ours);
        compared++;
        if (!same_text(ours, theirs)) {
            g_test_message("%08x: ours '%s', objdump '%s'", words[i], ours, theirs);
            g_test_fail();
        }
    }
    g_test_message("%zu of %zu compared", compared, n);
    g_assert_cmpuint(compared, >, n / 2);
}

/* ---- Lifting ---- */

static size_t fetch_word(void *opaque, uint64_t pc, void *buf, size_t size)
{
    memcpy(buf, opaque, MIN(size, 4));
    return MIN(size, 4);
}

static void test_lift(void)
{
    GRand *rand = g_rand_new_with_seed(5);
    struct riscv_model model = {.name = "test", .ext = all_ext};
    struct ir_unit *u = ir_unit_new();

    for (int n = 0; n < RISCV_ROW_COUNT * 100; n++) {
        const struct riscv_row *row = &riscv_rows[n % RISCV_ROW_COUNT];
        /* One in four is any word, defined or not. */
        uint32_t w = n % 4 ? random_insn(rand, row) : random32(rand), mode = random32(rand) & 7;
        struct lift_ctx ctx = {
            .u = u,
            .pc = 0x10000,
            .mode = mode,
            .model = &model,
            .fetch = fetch_word,
            .fetch_opaque = &w,
        };
        enum lift_result result;
        g_autofree char *error = NULL;

        ir_unit_reset(u, &riscv64_arch, ctx.pc, mode);
        result = riscv64_arch.lift(&ctx);
        if (result != LIFT_END) {
            g_assert_true(result == LIFT_NEXT || result == LIFT_JUMP);
            if (result == LIFT_NEXT) {
                g_assert_cmphex(ctx.next_pc, ==, ctx.pc + ((w & 3) == 3 ? 4 : 2));
            }
            ir_jump(u, ir_const(u, IR_I64, ctx.next_pc));
        }
        g_assert_false(u->overflow);
        g_assert_cmpuint(u->n_insns, ==, 1);
        if (!ir_verify(u, &error)) {
            ir_print(u, stderr);
            g_error("%s (%08x): %s", row->name, w, error);
        }
        ir_optimize(u);
        g_assert_true(ir_verify(u, &error));
    }
    ir_unit_free(u);
    g_rand_free(rand);
}

/* ---- CPU models ---- */

static void test_models(void)
{
    static const struct {
        const char *text;
        uint64_t has, lacks;
    } good[] = {
        {"rv64", EXT(C) | EXT(ZBA) | EXT(ZFA), EXT(ZFH) | EXT(ZICOND) | EXT(ZACAS) | EXT(ZBKB)},
        {"max", all_ext & ~EXT(SVADE), EXT(SVADE)},
        {"rva22u64", EXT(ZFHMIN) | EXT(ZBB), EXT(ZBC) | EXT(ZIFENCEI)},
        {"rva22s64", EXT(ZIFENCEI), EXT(ZBC)},
        {"rv64i", 0, all_ext},
        {"rv64i,m=on,a=on,zicsr=on,f=true,d=yes", EXT(M) | EXT(D) | EXT(ZICNTR), EXT(C)},
        {"rv64i,zfh=on", EXT(ZFHMIN) | EXT(F) | EXT(ZICSR), EXT(D)},
        {"rv64i,zcd=on", EXT(ZCA) | EXT(D) | EXT(F), EXT(C)},
        {"rv64i,m=on,zmmul=off", EXT(M) | EXT(ZMMUL), EXT(A)},
        {"max,m=off", EXT(ZMMUL), EXT(M)},
        {"rv64i,zicntr=on", EXT(ZICSR), 0},
        {"rv64i,g=on", EXT(M) | EXT(D) | EXT(ZIFENCEI), EXT(C)},
        {"rv64i,rva22u64=on", EXT(ZBA) | EXT(C), EXT(ZBC)},
        {"rv64,zba=off", EXT(ZBB), EXT(ZBA)},
        {"rv64,zba=off,zba=on", EXT(ZBA), 0},
        {"rv64,b=on,zbb=off", EXT(ZBA), EXT(ZBB)},
        {"rv64,zfh=on", EXT(ZFH) | EXT(ZFHMIN), 0},
        {"rv64,zk=on", EXT(ZKND) | EXT(ZKR) | EXT(ZBKX), EXT(ZKSH)},
        {"rv64,+zks,-zbc", EXT(ZKSED), EXT(ZBC)},
        {"rv64,v=off,zvbb=off,h=on,sstc=off", EXT(S) | EXT(SVADU), EXT(SSTC) | EXT(SVINVAL)},
        {"rv64,svinval=on,+svnapot,svpbmt=on", EXT(SVINVAL) | EXT(SVNAPOT) | EXT(SVPBMT), 0},
        {"rva22s64", EXT(S) | EXT(SVADE) | EXT(SVINVAL), EXT(PMP) | EXT(SVADU)},
        {"sifive-u54", EXT(S) | EXT(PMP) | EXT(ZIHPM), EXT(SSTC)},
        {"rv64,smaia=on", 0, 0},
        {"rv64,zca=on,cbom_blocksize=64", EXT(C), 0},
        {"rv64,c=off,zca=off", 0, EXT(C)},
        {"rv64,", EXT(C), 0},
    };
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "did you mean"},
        {"rv46", "did you mean 'rv64'?"},
        {"rva22u46", "did you mean 'rva22u64'?"},
        {"rv64e", "not supported"},
        {"rva23u64", "vector extension"},
        {"rv64,v=on", "vector extension is not built yet"},
        {"rv64,zvkned=on", "vector extension is not built yet"},
        {"rv64,vlen=256", "vector extension is not built yet"},
        {"rv64,zbbb=on", "did you mean 'zbb'?"},
        {"rv64,zbb=maybe", "Parameter 'zbb' expects 'on' or 'off'"},
        {"rv64,zbb", "Expected key=value format, found zbb."},
        {"rv64,i=off", "can't be switched off"},
        {"rv64,f=off", "requires F extension"},
        {"rv64,zacas=on,a=off", "requires A extension"},
        {"rv64,zca=off,zcb=on", "Zcb extension requires Zca extension"},
        {"rv64i,zcmop=on", "Zcmop extension requires Zca extension"},
        {"sifive-u54,zba=on", "does not allow enabling extensions"},
        {"rv64,smaiaa=on", "did you mean 'smaia'?"},
        {"rv64,u=off", "switch s off too"},
        {"rv64,priv_spec=v1.12.0", "leave it out"},
        {"rv64,cboz_blocksize=32", "64 bytes"},
        {"rv64,xtheadba=on", "not built yet"},
        {"sifive-u54,sstc=on", "does not allow enabling extensions"},
        {"rv64,sv48=on", "has no property"},
        {"rv64,zic64b=off", "leave it out"},
        {"rv64,smepmp=on,pmp=off", "Smepmp requires PMP"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        GError *error = NULL;
        struct riscv_model *model = riscv_model_parse(good[i].text, &error);

        g_assert_no_error(error);
        g_assert_cmphex(model->ext & good[i].has, ==, good[i].has);
        g_assert_cmphex(model->ext & good[i].lacks, ==, 0);
        riscv_model_free(model);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(riscv_model_parse(bad[i].text, &error));
        g_assert_nonnull(error);
        if (!strstr(error->message, bad[i].error)) {
            g_error("-cpu %s: %s", bad[i].text, error->message);
        }
    }
}

static void test_model_texts(void)
{
    struct riscv_model *model = riscv_model_parse("rv64i,g=on,c=on,zba=on,zkn=on", NULL);
    g_autofree char *isa = riscv_model_isa_string(model);
    g_autofree char *help = riscv_model_help();
    g_autofree char *machine_isa = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(
        isa, ==,
        "rv64imafdc_zicntr_zicsr_zifencei_zmmul_zaamo_zalrsc_zca_zcd_zba_zbkb_zbkc_zbkx_"
        "zkn_zknd_zkne_zknh");
    riscv_model_free(model);

    /* A machine: what it can't have isn't taken in silence. */
    g_assert_null(riscv_model_parse_machine("rv64,smaia=on", &error));
    g_assert_nonnull(strstr(error->message, "only smaia=off is possible"));
    g_clear_error(&error);
    g_assert_null(riscv_model_parse_machine("sifive-u54,sv48=on", &error));
    g_assert_nonnull(strstr(error->message, "does not allow enabling extensions"));
    model = riscv_model_parse_machine("rv64,sv57=off,svpbmt=on", NULL);
    g_assert_cmpuint(model->satp_mode, ==, RISCV_SATP_SV48);
    machine_isa = riscv_model_machine_isa_string(model);
    g_assert_cmpstr(machine_isa, ==,
                    "rv64imafdc_zic64b_zicbom_zicbop_zicboz_ziccamoa_ziccif_zicclsm_ziccrse_"
                    "zicntr_zicsr_zifencei_zihintntl_zihintpause_zihpm_zmmul_za64rs_zaamo_zalrsc_"
                    "zawrs_zfa_zca_zcd_zba_zbb_zbc_zbs_ssccptr_sscounterenw_sstc_sstvala_sstvecd_"
                    "ssu64xl_svadu_svpbmt_svvptc");
    g_assert_true(g_str_has_prefix(help, "Available CPUs:\n  max\n  rv64\n"));
    riscv_model_free(model);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv/decode/rows", test_rows);
    g_test_add_func("/riscv/decode/search", test_search);
    g_test_add_func("/riscv/decode/undefined", test_undefined);
    g_test_add_func("/riscv/decode/extensions", test_extensions);
    g_test_add_func("/riscv/disas/text", test_text);
    g_test_add_data_func("/riscv/disas/objdump", GINT_TO_POINTER(ALIASES), test_objdump);
    g_test_add_data_func("/riscv/disas/objdump-no-aliases", GINT_TO_POINTER(NO_ALIASES),
                         test_objdump);
    g_test_add_func("/riscv/lift/verify", test_lift);
    g_test_add_func("/riscv/cpu/models", test_models);
    g_test_add_func("/riscv/cpu/texts", test_model_texts);
    return g_test_run();
}
