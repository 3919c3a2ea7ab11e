/*
 * RISC-V CPU models: "-cpu NAME,feature=on|off,...", with the names that QEMU has for them.
 */
#include <string.h>

#include "guest/riscv/riscv.h"

#define BIT(name) (UINT64_C(1) << RISCV_EXT_##name)

#define EXT_ALL ((UINT64_C(1) << RISCV_EXT_COUNT) - 1)
#define EXT_GC (BIT(M) | BIT(A) | BIT(F) | BIT(D) | BIT(C) | BIT(ZICSR) | BIT(ZIFENCEI))
#define EXT_B (BIT(ZBA) | BIT(ZBB) | BIT(ZBS))
#define EXT_ZICBO (BIT(ZICBOM) | BIT(ZICBOP) | BIT(ZICBOZ))
#define EXT_ZBK (BIT(ZBKB) | BIT(ZBKC) | BIT(ZBKX))
#define EXT_ZKN (EXT_ZBK | BIT(ZKND) | BIT(ZKNE) | BIT(ZKNH))
#define EXT_ZKS (EXT_ZBK | BIT(ZKSED) | BIT(ZKSH))
#define EXT_RV64                                                                                   \
    (EXT_GC | EXT_B | BIT(ZBC) | BIT(ZICNTR) | BIT(ZFA) | BIT(ZAWRS) | EXT_ZICBO |                 \
     BIT(ZIHINTPAUSE) | BIT(ZIHINTNTL))
#define EXT_RVA22U64                                                                               \
    ((EXT_GC & ~BIT(ZIFENCEI)) | EXT_B | BIT(ZICNTR) | EXT_ZICBO | BIT(ZIHINTPAUSE) |              \
     BIT(ZFHMIN) | BIT(ZKT))
#define EXT_RVA22S64 (EXT_RVA22U64 | BIT(ZIFENCEI))

/* Modes beyond the user's, which a model has or hasn't; for what contradicts in switching them. */
enum { MODE_U = 1, MODE_S = 2, MODE_H = 4 };

/* Models. One with a [missing] text is known but can't be had. One of a vendor's takes only
 * switches that turn something off. */
static const struct {
    const char *name;
    uint64_t ext;
    const char *missing;
    uint8_t modes;
    bool vendor;
} models[] = {
    {"max", EXT_ALL, NULL, MODE_U | MODE_S | MODE_H, false},
    {"rv64", EXT_RV64, NULL, MODE_U | MODE_S | MODE_H, false},
    {"rv64e", 0, "the embedded base ISA is not supported", 0, false},
    {"rv64i", BIT(ZICNTR), NULL, 0, false}, /* which goes without Zicsr */
    {"rva22s64", EXT_RVA22S64, NULL, MODE_U | MODE_S, false},
    {"rva22u64", EXT_RVA22U64, NULL, MODE_U, false},
    {"rva23s64", 0, "it needs the vector extension, which is not built yet; try max", 0, false},
    {"rva23u64", 0, "it needs the vector extension, which is not built yet; try max", 0, false},
    {"shakti-c", EXT_GC | BIT(ZICNTR), NULL, MODE_U | MODE_S, true},
    {"sifive-e51", (EXT_GC & ~(BIT(F) | BIT(D))) | BIT(ZICNTR), NULL, MODE_U, true},
    {"sifive-u54", EXT_GC | BIT(ZICNTR), NULL, MODE_U | MODE_S, true},
    {"thead-c906", 0, "its vendor extensions are not supported; try rv64", 0, true},
    {"tt-ascalon", 0, "it needs the vector extension, which is not built yet; try max", 0, true},
    {"veyron-v1", 0, "its vendor extensions are not supported; try rv64", 0, true},
    {"x-rv128", 0, "128-bit registers are not supported", 0, false},
    {"xiangshan-nanhu", EXT_GC | EXT_B | BIT(ZBC) | BIT(ZICNTR) | EXT_ZKN | EXT_ZKS, NULL,
     MODE_U | MODE_S, true},
};

enum feature_kind {
    EXTENSION,
    GROUP,   /* on: so are its members, but for those switched by name; off: nothing changes */
    PROFILE, /* switches all its members */
};

/* Features, in the order in which an ISA string names them. */
static const struct {
    const char *name;
    uint64_t ext; /* what it consists of */
    uint8_t kind;
    bool in_string;
} features[] = {
    {"m", BIT(M), EXTENSION, true},
    {"a", BIT(A), EXTENSION, true},
    {"f", BIT(F), EXTENSION, true},
    {"d", BIT(D), EXTENSION, true},
    {"c", BIT(C), EXTENSION, true},
    {"zicbom", BIT(ZICBOM), EXTENSION, true},
    {"zicbop", BIT(ZICBOP), EXTENSION, true},
    {"zicboz", BIT(ZICBOZ), EXTENSION, true},
    {"zicntr", BIT(ZICNTR), EXTENSION, true},
    {"zicond", BIT(ZICOND), EXTENSION, true},
    {"zicsr", BIT(ZICSR), EXTENSION, true},
    {"zifencei", BIT(ZIFENCEI), EXTENSION, true},
    {"zihintntl", BIT(ZIHINTNTL), EXTENSION, true},
    {"zihintpause", BIT(ZIHINTPAUSE), EXTENSION, true},
    {"zimop", BIT(ZIMOP), EXTENSION, true},
    {"zmmul", BIT(ZMMUL), EXTENSION, true},
    {"zaamo", BIT(ZAAMO), EXTENSION, true},
    {"zabha", BIT(ZABHA), EXTENSION, true},
    {"zacas", BIT(ZACAS), EXTENSION, true},
    {"zalrsc", BIT(ZALRSC), EXTENSION, true},
    {"zawrs", BIT(ZAWRS), EXTENSION, true},
    {"zfa", BIT(ZFA), EXTENSION, true},
    {"zfh", BIT(ZFH), EXTENSION, true},
    {"zfhmin", BIT(ZFHMIN), EXTENSION, true},
    {"zca", BIT(ZCA), EXTENSION, true},
    {"zcb", BIT(ZCB), EXTENSION, true},
    {"zcd", BIT(ZCD), EXTENSION, true},
    {"zcmop", BIT(ZCMOP), EXTENSION, true},
    {"zba", BIT(ZBA), EXTENSION, true},
    {"zbb", BIT(ZBB), EXTENSION, true},
    {"zbc", BIT(ZBC), EXTENSION, true},
    {"zbkb", BIT(ZBKB), EXTENSION, true},
    {"zbkc", BIT(ZBKC), EXTENSION, true},
    {"zbkx", BIT(ZBKX), EXTENSION, true},
    {"zbs", BIT(ZBS), EXTENSION, true},
    {"zk", EXT_ZKN | BIT(ZKR) | BIT(ZKT), GROUP, true},
    {"zkn", EXT_ZKN, GROUP, true},
    {"zknd", BIT(ZKND), EXTENSION, true},
    {"zkne", BIT(ZKNE), EXTENSION, true},
    {"zknh", BIT(ZKNH), EXTENSION, true},
    {"zkr", BIT(ZKR), EXTENSION, true},
    {"zks", EXT_ZKS, GROUP, true},
    {"zksed", BIT(ZKSED), EXTENSION, true},
    {"zksh", BIT(ZKSH), EXTENSION, true},
    {"zkt", BIT(ZKT), EXTENSION, true},
    /* Not named in an ISA string. */
    {"b", EXT_B, GROUP, false},
    {"g", EXT_GC & ~BIT(C), GROUP, false},
    {"rva22u64", EXT_RVA22U64, PROFILE, false},
    {"rva22s64", EXT_RVA22S64, PROFILE, false},
};

/* Known, but not there: may be switched off only. */
static const struct {
    const char *name;
    const char *what;
} missing[] = {
    {"v", "the vector extension"},
    {"e", "the embedded base ISA"},
    {"zama16b", "atomicity of misaligned accesses"},
    {"zcf", "an extension of RV32"},
    {"zce", "this extension"},
    {"zcmp", "this extension"},
    {"zcmt", "this extension"},
    {"zdinx", "floating point in integer registers"},
    {"zfinx", "floating point in integer registers"},
    {"zhinx", "floating point in integer registers"},
    {"zhinxmin", "floating point in integer registers"},
    {"zfbfmin", "BF16 floating point"},
    {"zicfilp", "control-flow integrity"},
    {"zicfiss", "control-flow integrity"},
    {"zihpm", "hardware performance counters"},
    {"ztso", "total store ordering"},
    {"rva23u64", "the vector extension"},
    {"rva23s64", "the vector extension"},
    {"zvbb", "the vector extension"},
    {"zvbc", "the vector extension"},
    {"zve32f", "the vector extension"},
    {"zve32x", "the vector extension"},
    {"zve64d", "the vector extension"},
    {"zve64f", "the vector extension"},
    {"zve64x", "the vector extension"},
    {"zvfbfmin", "the vector extension"},
    {"zvfbfwma", "the vector extension"},
    {"zvfh", "the vector extension"},
    {"zvfhmin", "the vector extension"},
    {"zvkb", "the vector extension"},
    {"zvkg", "the vector extension"},
    {"zvkn", "the vector extension"},
    {"zvknc", "the vector extension"},
    {"zvkned", "the vector extension"},
    {"zvkng", "the vector extension"},
    {"zvknha", "the vector extension"},
    {"zvknhb", "the vector extension"},
    {"zvks", "the vector extension"},
    {"zvksc", "the vector extension"},
    {"zvksed", "the vector extension"},
    {"zvksg", "the vector extension"},
    {"zvksh", "the vector extension"},
    {"zvkt", "the vector extension"},
    {"xtheadba", "this vendor's extension"},
    {"xtheadbb", "this vendor's extension"},
    {"xtheadbs", "this vendor's extension"},
    {"xtheadcmo", "this vendor's extension"},
    {"xtheadcondmov", "this vendor's extension"},
    {"xtheadfmemidx", "this vendor's extension"},
    {"xtheadfmv", "this vendor's extension"},
    {"xtheadmac", "this vendor's extension"},
    {"xtheadmemidx", "this vendor's extension"},
    {"xtheadmempair", "this vendor's extension"},
    {"xtheadsync", "this vendor's extension"},
    {"xventanacondops", "this vendor's extension"},
};

/* Machine-level features. They don't exist in user mode, whatever the value: no instruction of a
 * program depends on them. */
static const char *const privileged[] = {
    "s",        "u",       "h",        "mmu",      "pmp",      "debug",   "smaia",   "smcdeleg",
    "smcntrpmf", "smcsrind", "smctr",  "smdbltrp", "smepmp",   "smmpm",   "smnpm",   "smrnmi",
    "smstateen", "ssaia",  "ssccfg",   "sscofpmf", "sscsrind", "ssctr",   "ssdbltrp", "ssnpm",
    "sspm",     "sstc",    "supm",     "svade",    "svadu",    "svinval", "svnapot", "svpbmt",
    "svvptc",   "x-svukte",
};

/* What turns on what, but for what was switched off by name. In the order in which they follow. */
static const struct {
    uint64_t ext;
    uint64_t implied;
} implications[] = {
    {BIT(ZCD), BIT(D) | BIT(ZCA)},
    {BIT(ZCB), BIT(ZCA)},
    {BIT(ZFH), BIT(ZFHMIN)},
    {BIT(ZFHMIN), BIT(F)},
    {BIT(ZFA), BIT(F)},
    {BIT(D), BIT(F)},
    {BIT(F), BIT(ZICSR)},
};

/* What is part of what: it is there too if it was switched off, but then nothing can rely on it. */
static const struct {
    uint64_t whole;
    uint64_t parts;
} wholes[] = {
    {BIT(M), BIT(ZMMUL)},
    {BIT(A), BIT(ZAAMO) | BIT(ZALRSC)},
    {BIT(C), BIT(ZCA)},
    {BIT(C) | BIT(D), BIT(ZCD)},
};

/* What needs what, and doesn't bring it along. */
static const struct {
    uint8_t ext;
    uint8_t needs;
    const char *text;
} needs[] = {
    {RISCV_EXT_F, RISCV_EXT_ZICSR, "F extension requires Zicsr"},
    {RISCV_EXT_D, RISCV_EXT_F, "D extension requires F extension"},
    {RISCV_EXT_ZFA, RISCV_EXT_F, "Zfa extension requires F extension"},
    {RISCV_EXT_ZFHMIN, RISCV_EXT_F, "Zfh/Zfhmin extensions require F extension"},
    {RISCV_EXT_ZAWRS, RISCV_EXT_A, "Zawrs extension requires A extension"},
    {RISCV_EXT_ZACAS, RISCV_EXT_A, "Zacas extension requires A extension"},
    {RISCV_EXT_ZCB, RISCV_EXT_ZCA, "Zcb extension requires Zca extension"},
    {RISCV_EXT_ZCMOP, RISCV_EXT_ZCA, "Zcmop extension requires Zca extension"},
};

__attribute__((format(printf, 2, 3)))
static bool fail(GError **error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    if (error) {
        GQuark domain = g_quark_from_static_string("nandu-riscv-model");

        *error = g_error_new_valist(domain, 0, format, ap);
    }
    va_end(ap);
    return false;
}

/* ---- Nearest names ---- */

/* Levenshtein distance of two short names. */
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t length = strlen(b);
    unsigned row[LONGEST + 1];

    if (length > LONGEST || strlen(a) > LONGEST) {
        return LONGEST;
    }
    for (size_t k = 0; k <= length; k++) {
        row[k] = (unsigned)k;
    }
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i + 1;
        for (size_t k = 1; k <= length; k++) {
            unsigned above = row[k];

            row[k] = MIN(MIN(row[k], row[k - 1]) + 1, diagonal + (a[i] != b[k - 1]));
            diagonal = above;
        }
    }
    return row[length];
}

static void consider(const char *name, const char *candidate, const char **best, unsigned *least)
{
    unsigned d = distance(name, candidate);

    if (d < *least) {
        *least = d;
        *best = candidate;
    }
}

static const char *nearest_model(const char *name)
{
    const char *best = "rv64";
    unsigned least = ~0u;

    for (size_t i = 0; i < G_N_ELEMENTS(models); i++) {
        if (!models[i].missing) {
            consider(name, models[i].name, &best, &least);
        }
    }
    return best;
}

static const char *nearest_feature(const char *name)
{
    const char *best = "";
    unsigned least = ~0u;

    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        consider(name, features[i].name, &best, &least);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        consider(name, missing[i].name, &best, &least);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(privileged); i++) {
        consider(name, privileged[i], &best, &least);
    }
    return best;
}

/* ---- Parsing ---- */

struct parse {
    struct riscv_model *model;
    uint64_t explicit;   /* extensions that were switched by name: no group changes them */
    uint64_t groups;     /* extensions of the groups that are on */
    bool vendor;
    uint8_t modes;       /* MODE_* */
};

static bool parse_switch(const char *name, const char *value, bool *on, GError **error)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    *on = g_strv_contains(yes, value);
    return *on || g_strv_contains(no, value) ||
           fail(error, "Parameter '%s' expects 'on' or 'off'", name);
}

static bool set_privileged(struct parse *p, const char *name, const char *value, GError **error)
{
    static const char modes[] = "ush";
    const char *mode = name[1] ? NULL : strchr(modes, name[0]);
    bool on;

    if (!parse_switch(name, value, &on, error)) {
        return false;
    }
    if (mode) {
        uint8_t bit = (uint8_t)(1 << (mode - modes));

        p->modes = on ? p->modes | bit : p->modes & ~bit;
    }
    return true;
}

static bool set_missing(const char *name, const char *what, const char *value, GError **error)
{
    bool on;

    if (!parse_switch(name, value, &on, error)) {
        return false;
    }
    return !on || fail(error, "%s=%s: %s is not built yet; only %s=off is possible", name, value,
                       what, name);
}

static bool set_known(struct parse *p, size_t index, const char *value, GError **error)
{
    uint64_t ext = features[index].ext;
    bool on;

    if (!parse_switch(features[index].name, value, &on, error)) {
        return false;
    }
    if (p->vendor && on && (ext & ~p->model->ext)) {
        return fail(error, "'%s' CPU does not allow enabling extensions", p->model->name);
    }
    switch (features[index].kind) {
    case EXTENSION: p->explicit |= ext; /* fall through */
    case PROFILE: p->model->ext = on ? p->model->ext | ext : p->model->ext & ~ext; break;
    case GROUP: p->groups |= on ? ext : 0; break;
    }
    return true;
}

/* Sizes that QEMU lets one choose and that are fixed here. */
static bool set_block_size(const char *name, const char *value, GError **error)
{
    return !strcmp(value, "64") ||
           fail(error, "%s=%s: cache blocks have 64 bytes; leave it out", name, value);
}

static bool set_feature(struct parse *p, const char *name, const char *value, GError **error)
{
    static const char *const vector[] = {"vlen", "elen", "vext_spec", "rvv_ta_all_1s",
                                         "rvv_ma_all_1s", "rvv_vl_half_avl", NULL};
    static const char *const fixed[] = {"priv_spec", "pmu-mask", "pmu-num", "mvendorid",
                                        "marchid",   "mimpid",   NULL};
    static const char *const blocks[] = {"cbom_blocksize", "cbop_blocksize", "cboz_blocksize",
                                         NULL};

    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        if (!strcmp(features[i].name, name)) {
            return set_known(p, i, value, error);
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        if (!strcmp(missing[i].name, name)) {
            return set_missing(name, missing[i].what, value, error);
        }
    }
    if (!strcmp(name, "i")) {
        bool on;

        return parse_switch(name, value, &on, error) &&
               (on || fail(error, "i=%s: the base ISA can't be switched off", value));
    }
    if (g_strv_contains(blocks, name)) {
        return set_block_size(name, value, error);
    }
    if (g_strv_contains(fixed, name)) {
        return fail(error, "%s can't be chosen for a program; leave it out", name);
    }
    if (g_strv_contains(vector, name)) {
        return fail(error, "%s: the vector extension is not built yet", name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(privileged); i++) {
        if (!strcmp(privileged[i], name)) {
            return set_privileged(p, name, value, error);
        }
    }
    return fail(error, "CPU '%s' has no property '%s'; did you mean '%s'?", p->model->name, name,
                nearest_feature(name));
}

/* One of the words after the name: feature=value, +feature or -feature. */
static bool parse_word(struct parse *p, const char *word, GError **error)
{
    const char *equals = strchr(word, '=');
    g_autofree char *name = NULL;

    if (!*word) {
        return true;
    }
    if (*word == '+' || *word == '-') {
        return set_feature(p, word + 1, *word == '+' ? "on" : "off", error);
    }
    if (!equals) {
        return fail(error, "Expected key=value format, found %s.", word);
    }
    name = g_strndup(word, (size_t)(equals - word));
    return set_feature(p, name, equals + 1, error);
}

static void add_parts(struct parse *p, uint64_t except)
{
    for (size_t i = 0; i < G_N_ELEMENTS(wholes); i++) {
        if (!(wholes[i].whole & ~p->model->ext)) {
            p->model->ext |= wholes[i].parts & ~except;
        }
    }
}

static void add_implied(struct parse *p)
{
    uint64_t *ext = &p->model->ext;

    *ext |= p->groups & ~p->explicit;
    for (size_t i = 0; i < G_N_ELEMENTS(implications); i++) {
        if (*ext & implications[i].ext) {
            *ext |= implications[i].implied & ~p->explicit;
        }
    }
    add_parts(p, p->explicit);
    if (p->explicit & *ext & BIT(ZICNTR)) {
        *ext |= BIT(ZICSR) & ~p->explicit;
    } else if (!(*ext & BIT(ZICSR))) {
        *ext &= ~BIT(ZICNTR);
    }
}

/* What follows from what, and what contradicts. */
static bool resolve(struct parse *p, GError **error)
{
    uint64_t *ext = &p->model->ext;

    add_implied(p);
    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++) {
        if ((*ext >> needs[i].ext & 1) && !(*ext >> needs[i].needs & 1)) {
            return fail(error, "%s", needs[i].text);
        }
    }
    if ((p->modes & MODE_H) && !(p->modes & MODE_S)) {
        return fail(error, "H extension implicitly requires S-mode; switch h off too");
    }
    if ((p->modes & MODE_S) && !(p->modes & MODE_U)) {
        return fail(error, "S extension requires U extension; switch s off too");
    }
    add_parts(p, 0);
    return true;
}

static bool parse_words(struct parse *p, char **words, GError **error)
{
    for (; *words; words++) {
        if (!parse_word(p, *words, error)) {
            return false;
        }
    }
    return resolve(p, error);
}

struct riscv_model *riscv_model_parse(const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    const char *name = words[0] ? words[0] : "";
    struct parse p = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(models); i++) {
        if (strcmp(models[i].name, name)) {
            continue;
        }
        if (models[i].missing) {
            fail(error, "CPU model '%s' is not available: %s", name, models[i].missing);
            return NULL;
        }
        p.model = g_new0(struct riscv_model, 1);
        p.model->name = models[i].name;
        p.model->ext = models[i].ext;
        p.modes = models[i].modes;
        p.vendor = models[i].vendor;
    }
    if (!p.model) {
        fail(error, "unable to find CPU model '%s'; did you mean '%s'?", name, nearest_model(name));
        return NULL;
    }
    if (!parse_words(&p, words + 1, error)) {
        riscv_model_free(p.model);
        return NULL;
    }
    return p.model;
}

void riscv_model_free(struct riscv_model *model)
{
    g_free(model);
}

char *riscv_model_help(void)
{
    GString *s = g_string_new("Available CPUs:\n");

    for (size_t i = 0; i < G_N_ELEMENTS(models); i++) {
        if (!models[i].missing) {
            g_string_append_printf(s, "  %s\n", models[i].name);
        }
    }
    return g_string_free(s, FALSE);
}

char *riscv_model_isa_string(const struct riscv_model *model)
{
    GString *s = g_string_new("rv64i");

    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        if (!features[i].in_string || (features[i].ext & ~model->ext)) {
            continue;
        }
        if (strlen(features[i].name) > 1) {
            g_string_append_c(s, '_');
        }
        g_string_append(s, features[i].name);
    }
    return g_string_free(s, FALSE);
}

const char *riscv_model_name(unsigned index)
{
    for (size_t i = 0; i < G_N_ELEMENTS(models); i++) {
        if (!models[i].missing && index-- == 0) {
            return models[i].name;
        }
    }
    return NULL;
}

const char *riscv_model_feature(const struct riscv_model *model, unsigned index, bool *on)
{
    if (index >= G_N_ELEMENTS(features)) {
        return NULL;
    }
    *on = !(features[index].ext & ~model->ext);
    return features[index].name;
}
