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
#define EXT_MACHINE (BIT(U) | BIT(PMP) | BIT(ZIHPM))
#define EXT_RV64                                                                                   \
    (EXT_GC | EXT_B | BIT(ZBC) | BIT(ZICNTR) | BIT(ZFA) | BIT(ZAWRS) | EXT_ZICBO |                 \
     BIT(ZIHINTPAUSE) | BIT(ZIHINTNTL) | EXT_MACHINE | BIT(S) | BIT(SSTC) | BIT(SVADU) |           \
     BIT(SVVPTC))
#define EXT_RVA22U64                                                                               \
    ((EXT_GC & ~BIT(ZIFENCEI)) | EXT_B | BIT(ZICNTR) | EXT_ZICBO | BIT(ZIHINTPAUSE) |              \
     BIT(ZFHMIN) | BIT(ZKT) | BIT(U) | BIT(ZIHPM))
#define EXT_RVA22S64                                                                               \
    (EXT_RVA22U64 | BIT(ZIFENCEI) | BIT(S) | BIT(SVADE) | BIT(SVINVAL) | BIT(SVPBMT))
#define EXT_VENDOR (EXT_GC | BIT(ZICNTR) | EXT_MACHINE)

/* Models. One with a [missing] text is known but can't be had. One of a vendor's takes only
 * switches that turn something off. */
static const struct {
    const char *name;
    uint64_t ext;
    const char *missing;
    uint8_t satp_mode;
    bool vendor, b, priv_1_12;
    bool hypervisor; /* has it as QEMU knows it: for what contradicts in switching modes */
} models[] = {
    {"max", EXT_ALL & ~BIT(SVADE), .satp_mode = RISCV_SATP_SV57, .b = true, .priv_1_12 = true,
     .hypervisor = true},
    {"rv64", EXT_RV64, .satp_mode = RISCV_SATP_SV57, .priv_1_12 = true, .hypervisor = true},
    {"rv64e", 0, "the embedded base ISA is not supported"},
    {"rv64i", BIT(ZICNTR), .priv_1_12 = true}, /* which goes without Zicsr */
    {"rva22s64", EXT_RVA22S64, .satp_mode = RISCV_SATP_SV39, .b = true, .priv_1_12 = true},
    {"rva22u64", EXT_RVA22U64, .b = true, .priv_1_12 = true},
    {"rva23s64", 0, "it needs the vector extension, which is not built yet; try max"},
    {"rva23u64", 0, "it needs the vector extension, which is not built yet; try max"},
    {"shakti-c", EXT_VENDOR | BIT(S), .satp_mode = RISCV_SATP_SV39, .vendor = true},
    {"sifive-e51", EXT_VENDOR & ~(BIT(F) | BIT(D)), .vendor = true},
    {"sifive-u54", EXT_VENDOR | BIT(S), .satp_mode = RISCV_SATP_SV39, .vendor = true},
    {"thead-c906", 0, "its vendor extensions are not supported; try rv64", .vendor = true},
    {"tt-ascalon", 0, "it needs the vector extension, which is not built yet; try max",
     .vendor = true},
    {"veyron-v1", 0, "its vendor extensions are not supported; try rv64", .vendor = true},
    {"x-rv128", 0, "128-bit registers are not supported"},
    {"xiangshan-nanhu",
     EXT_VENDOR | EXT_B | BIT(ZBC) | EXT_ZKN | EXT_ZKS | BIT(S) | BIT(SVINVAL),
     .satp_mode = RISCV_SATP_SV39, .vendor = true, .b = true, .priv_1_12 = true},
};

enum feature_kind {
    EXTENSION,
    GROUP,   /* on: so are its members, but for those switched by name; off: nothing changes */
    PROFILE, /* switches all its members */
    FACT,    /* true of every model since Privileged 1.12, and can't be switched */
    LISTED_FACT, /* the same, and a property of the CPU, as QEMU has it */
};

/* Which ISA strings name a feature. */
enum { IN_NONE, IN_ALL, IN_MACHINE };

/* Features, in the order in which an ISA string names them. */
static const struct {
    const char *name;
    uint64_t ext; /* what it consists of */
    uint8_t kind;
    uint8_t in_string;
} features[] = {
    {"m", BIT(M), EXTENSION, IN_ALL},
    {"a", BIT(A), EXTENSION, IN_ALL},
    {"f", BIT(F), EXTENSION, IN_ALL},
    {"d", BIT(D), EXTENSION, IN_ALL},
    {"c", BIT(C), EXTENSION, IN_ALL},
    {"zic64b", 0, LISTED_FACT, IN_MACHINE},
    {"zicbom", BIT(ZICBOM), EXTENSION, IN_ALL},
    {"zicbop", BIT(ZICBOP), EXTENSION, IN_ALL},
    {"zicboz", BIT(ZICBOZ), EXTENSION, IN_ALL},
    {"ziccamoa", 0, FACT, IN_MACHINE},
    {"ziccif", 0, FACT, IN_MACHINE},
    {"zicclsm", 0, FACT, IN_MACHINE},
    {"ziccrse", 0, LISTED_FACT, IN_MACHINE},
    {"zicntr", BIT(ZICNTR), EXTENSION, IN_ALL},
    {"zicond", BIT(ZICOND), EXTENSION, IN_ALL},
    {"zicsr", BIT(ZICSR), EXTENSION, IN_ALL},
    {"zifencei", BIT(ZIFENCEI), EXTENSION, IN_ALL},
    {"zihintntl", BIT(ZIHINTNTL), EXTENSION, IN_ALL},
    {"zihintpause", BIT(ZIHINTPAUSE), EXTENSION, IN_ALL},
    {"zihpm", BIT(ZIHPM), EXTENSION, IN_MACHINE},
    {"zimop", BIT(ZIMOP), EXTENSION, IN_ALL},
    {"zmmul", BIT(ZMMUL), EXTENSION, IN_ALL},
    {"za64rs", 0, FACT, IN_MACHINE},
    {"zaamo", BIT(ZAAMO), EXTENSION, IN_ALL},
    {"zabha", BIT(ZABHA), EXTENSION, IN_ALL},
    {"zacas", BIT(ZACAS), EXTENSION, IN_ALL},
    {"zalrsc", BIT(ZALRSC), EXTENSION, IN_ALL},
    {"zawrs", BIT(ZAWRS), EXTENSION, IN_ALL},
    {"zfa", BIT(ZFA), EXTENSION, IN_ALL},
    {"zfh", BIT(ZFH), EXTENSION, IN_ALL},
    {"zfhmin", BIT(ZFHMIN), EXTENSION, IN_ALL},
    {"zca", BIT(ZCA), EXTENSION, IN_ALL},
    {"zcb", BIT(ZCB), EXTENSION, IN_ALL},
    {"zcd", BIT(ZCD), EXTENSION, IN_ALL},
    {"zcmop", BIT(ZCMOP), EXTENSION, IN_ALL},
    {"zba", BIT(ZBA), EXTENSION, IN_ALL},
    {"zbb", BIT(ZBB), EXTENSION, IN_ALL},
    {"zbc", BIT(ZBC), EXTENSION, IN_ALL},
    {"zbkb", BIT(ZBKB), EXTENSION, IN_ALL},
    {"zbkc", BIT(ZBKC), EXTENSION, IN_ALL},
    {"zbkx", BIT(ZBKX), EXTENSION, IN_ALL},
    {"zbs", BIT(ZBS), EXTENSION, IN_ALL},
    {"zk", EXT_ZKN | BIT(ZKR) | BIT(ZKT), GROUP, IN_ALL},
    {"zkn", EXT_ZKN, GROUP, IN_ALL},
    {"zknd", BIT(ZKND), EXTENSION, IN_ALL},
    {"zkne", BIT(ZKNE), EXTENSION, IN_ALL},
    {"zknh", BIT(ZKNH), EXTENSION, IN_ALL},
    {"zkr", BIT(ZKR), EXTENSION, IN_ALL},
    {"zks", EXT_ZKS, GROUP, IN_ALL},
    {"zksed", BIT(ZKSED), EXTENSION, IN_ALL},
    {"zksh", BIT(ZKSH), EXTENSION, IN_ALL},
    {"zkt", BIT(ZKT), EXTENSION, IN_ALL},
    {"smepmp", BIT(SMEPMP), EXTENSION, IN_MACHINE},
    {"smstateen", BIT(SMSTATEEN), EXTENSION, IN_MACHINE},
    {"ssccptr", 0, FACT, IN_MACHINE},
    {"sscofpmf", BIT(SSCOFPMF), EXTENSION, IN_MACHINE},
    {"sscounterenw", 0, FACT, IN_MACHINE},
    {"sstc", BIT(SSTC), EXTENSION, IN_MACHINE},
    {"sstvala", 0, FACT, IN_MACHINE},
    {"sstvecd", 0, FACT, IN_MACHINE},
    {"ssu64xl", 0, FACT, IN_MACHINE},
    {"svade", BIT(SVADE), EXTENSION, IN_MACHINE},
    {"svadu", BIT(SVADU), EXTENSION, IN_MACHINE},
    {"svinval", BIT(SVINVAL), EXTENSION, IN_MACHINE},
    {"svnapot", BIT(SVNAPOT), EXTENSION, IN_MACHINE},
    {"svpbmt", BIT(SVPBMT), EXTENSION, IN_MACHINE},
    {"svvptc", BIT(SVVPTC), EXTENSION, IN_MACHINE},
    /* Not named in an ISA string. */
    {"b", EXT_B, GROUP, IN_NONE},
    {"s", BIT(S), EXTENSION, IN_NONE},
    {"u", BIT(U), EXTENSION, IN_NONE},
    {"pmp", BIT(PMP), EXTENSION, IN_NONE},
    {"g", EXT_GC & ~BIT(C), GROUP, IN_NONE},
    {"rva22u64", EXT_RVA22U64, PROFILE, IN_NONE},
    {"rva22s64", EXT_RVA22S64, PROFILE, IN_NONE},
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

/* Machine-level features that are not there: a program never knows, a machine can't have them. */
static const char *const machine_only[] = {
    "h",        "debug",  "smaia",  "smcdeleg", "smcntrpmf", "smcsrind", "smctr",
    "smdbltrp", "smmpm",  "smnpm",  "smrnmi",   "ssaia",     "ssccfg",   "sscsrind",
    "ssctr",    "ssdbltrp", "ssnpm", "sspm",    "supm",      "x-svukte",
};

/* Page tables: each includes those before it. "mmu" is the smallest, and all that a program's CPU
 * has of them. */
static const struct {
    const char *name;
    uint8_t mode;
} satp_modes[] = {
    {"mmu", RISCV_SATP_SV39},
    {"sv39", RISCV_SATP_SV39},
    {"sv48", RISCV_SATP_SV48},
    {"sv57", RISCV_SATP_SV57},
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
    {RISCV_EXT_S, RISCV_EXT_U, "S extension requires U extension; switch s off too"},
    {RISCV_EXT_SMEPMP, RISCV_EXT_PMP, "Smepmp requires PMP"},
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
        if (features[i].kind != FACT) {
            consider(name, features[i].name, &best, &least);
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        consider(name, missing[i].name, &best, &least);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(machine_only); i++) {
        consider(name, machine_only[i], &best, &least);
    }
    return best;
}

/* ---- Parsing ---- */

struct parse {
    struct riscv_model *model;
    uint64_t explicit;   /* extensions that were switched by name: no group changes them */
    uint64_t groups;     /* extensions of the groups that are on */
    bool vendor, hypervisor;
    bool machine;        /* the model is for a machine */
};

static bool parse_switch(const char *name, const char *value, bool *on, GError **error)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    *on = g_strv_contains(yes, value);
    return *on || g_strv_contains(no, value) ||
           fail(error, "Parameter '%s' expects 'on' or 'off'", name);
}

static bool set_machine_only(struct parse *p, const char *name, const char *value, GError **error)
{
    bool on;

    if (!parse_switch(name, value, &on, error)) {
        return false;
    }
    if (!strcmp(name, "h")) {
        p->hypervisor = on;
    }
    return !on || !p->machine ||
           fail(error, "%s=%s: this extension is not built yet; only %s=off is possible", name,
                value, name);
}

static bool set_satp_mode(struct parse *p, size_t index, const char *value, GError **error)
{
    uint8_t mode = satp_modes[index].mode;
    bool on;

    if (!parse_switch(satp_modes[index].name, value, &on, error)) {
        return false;
    }
    if (!on) {
        uint8_t below = mode == RISCV_SATP_SV39 ? RISCV_SATP_BARE : mode - 1;

        p->model->satp_mode = MIN(p->model->satp_mode, below);
    } else if (p->model->satp_mode < mode) {
        if (p->vendor) {
            return fail(error, "'%s' CPU does not allow enabling extensions", p->model->name);
        }
        p->model->satp_mode = mode;
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
    if (features[index].kind == LISTED_FACT) {
        return on == p->model->priv_1_12 ||
               fail(error, "%s=%s: it is part of what this CPU is; leave it out",
                    features[index].name, value);
    }
    if (p->vendor && on && (ext & ~p->model->ext)) {
        return fail(error, "'%s' CPU does not allow enabling extensions", p->model->name);
    }
    if (!strcmp(features[index].name, "b")) {
        p->model->b = on;
    }
    switch (features[index].kind) {
    case EXTENSION: p->explicit |= ext; /* fall through */
    case PROFILE: p->model->ext = on ? p->model->ext | ext : p->model->ext & ~ext; break;
    case GROUP: p->groups |= on ? ext : 0; break;
    default: break;
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
        if (features[i].kind != FACT && !strcmp(features[i].name, name)) {
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
        return fail(error, "%s can't be chosen; leave it out", name);
    }
    if (g_strv_contains(vector, name)) {
        return fail(error, "%s: the vector extension is not built yet", name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(satp_modes); i++) {
        if (!strcmp(satp_modes[i].name, name) && (p->machine || !i)) {
            return set_satp_mode(p, i, value, error);
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(machine_only); i++) {
        if (!strcmp(machine_only[i], name)) {
            return set_machine_only(p, name, value, error);
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
    if (p->hypervisor && !(*ext & BIT(S))) {
        return fail(error, "H extension implicitly requires S-mode; switch h off too");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++) {
        if ((*ext >> needs[i].ext & 1) && !(*ext >> needs[i].needs & 1)) {
            return fail(error, "%s", needs[i].text);
        }
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

static struct riscv_model *parse(const char *text, bool machine, GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    const char *name = words[0] ? words[0] : "";
    struct parse p = {.machine = machine};

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
        p.model->satp_mode = models[i].satp_mode;
        p.model->b = models[i].b;
        p.model->priv_1_12 = models[i].priv_1_12;
        p.hypervisor = models[i].hypervisor;
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

struct riscv_model *riscv_model_parse(const char *text, GError **error)
{
    return parse(text, false, error);
}

struct riscv_model *riscv_model_parse_machine(const char *text, GError **error)
{
    struct riscv_model *model = parse(text, true, error);

    if (model && !riscv_has(model, RISCV_EXT_ZICSR)) {
        fail(error, "a machine needs Zicsr: -cpu %s,zicsr=on", model->name);
        riscv_model_free(model);
        return NULL;
    }
    return model;
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

/* Whether the model has all of a feature. */
static bool has_feature(const struct riscv_model *model, size_t index)
{
    if (features[index].kind == FACT || features[index].kind == LISTED_FACT) {
        return model->priv_1_12;
    }
    return !strcmp(features[index].name, "b") ? model->b : !(features[index].ext & ~model->ext);
}

static char *isa_string(const struct riscv_model *model, bool machine)
{
    GString *s = g_string_new("rv64i");

    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        if (!features[i].in_string || !has_feature(model, i) ||
            (features[i].in_string == IN_MACHINE && !machine)) {
            continue;
        }
        if (strlen(features[i].name) > 1) {
            g_string_append_c(s, '_');
        }
        g_string_append(s, features[i].name);
        if (machine && model->b && !strcmp(features[i].name, "c")) {
            g_string_append_c(s, 'b');
        }
    }
    return g_string_free(s, FALSE);
}

char *riscv_model_isa_string(const struct riscv_model *model)
{
    return isa_string(model, false);
}

char *riscv_model_machine_isa_string(const struct riscv_model *model)
{
    return isa_string(model, true);
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
    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        if (features[i].kind != FACT && index-- == 0) {
            *on = has_feature(model, i);
            return features[i].name;
        }
    }
    if (index == 0) {
        *on = model->satp_mode != RISCV_SATP_BARE;
        return "mmu";
    }
    return NULL;
}
