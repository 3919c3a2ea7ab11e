/*
 * Tier 1 against the interpreter: random units are executed by both, with host features switched
 * off, with few and many pinned registers, with a guest base, behind an MMU, and with memory that
 * faults. Both must leave the same registers, memory, pc, floating-point flags and reservation.
 *
 *   test_tier1 [--seed N [COUNT]]     these seeds only; one seed prints its unit
 */
#include <signal.h>
#include <sys/mman.h>

#include "dbt/dbt_priv.h"
#include "dbt/mmu.h"
#include "ir_random.h"

enum { SEEDS = 20000, FAULT_SEEDS = 6000, PAGE = 4096 };

/* ---- A guest with pinned registers ---- */

static uint8_t frm_of_mode(uint32_t mode)
{
    return (uint8_t)mode;
}

static void reset(struct vcpu *cpu)
{
    (void)cpu;
}

static const uint8_t pin_some_int[] = {1, 3, 5, 8, 0xff}, pin_some_fp[] = {33, 34, 0xff};
static const uint8_t pin_all_int[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 0xff};
static const uint8_t pin_all_fp[] = {32, 33, 34, 35, 0xff};
static const uint8_t pin_none[] = {0xff};

#define ARCH(pins_int, pins_fp)                                                   \
    {                                                                             \
        .name = "test", .vcpu_size = sizeof(struct test_vcpu), .regs = test_regs, \
        .n_regs = TEST_N_REGS, .pin_int = (pins_int), .pin_fp = (pins_fp),        \
        .mode_frm = frm_of_mode, .reset = reset                                   \
    }

static const struct guest_arch arch_some = ARCH(pin_some_int, pin_some_fp);
static const struct guest_arch arch_all = ARCH(pin_all_int, pin_all_fp);
static const struct guest_arch arch_none = ARCH(pin_none, pin_none);

/* ---- Ways to compile ---- */

struct variant {
    const char *name;
    const struct guest_arch *arch;
    uint64_t guest_base;
    bool mapped; /* system mode */
    bool far_paths;
    bool no_fma, no_bmi1, no_bmi2, no_lzcnt, no_popcnt;
};

static const struct variant variants[] = {
    {"some registers pinned", &arch_some},
    {"all registers pinned", &arch_all},
    {"no registers pinned", &arch_none},
    {"guest base", &arch_some, .guest_base = TEST_BASE},
    {"far paths", &arch_all, .far_paths = true},
    {"no FMA", &arch_some, .no_fma = true},
    {"no BMI1", &arch_all, .no_bmi1 = true},
    {"no BMI2", &arch_some, .no_bmi2 = true},
    {"no LZCNT", &arch_some, .no_lzcnt = true},
    {"no POPCNT", &arch_some, .no_popcnt = true},
    {"SSE4.2 only", &arch_none, .guest_base = TEST_BASE, .no_fma = true, .no_bmi1 = true,
     .no_bmi2 = true, .no_lzcnt = true, .no_popcnt = true},
    {"mapped, some registers pinned", &arch_some, .mapped = true},
    {"mapped, all registers pinned", &arch_all, .mapped = true},
    {"mapped, no registers pinned", &arch_none, .mapped = true},
    {"mapped, far paths", &arch_some, .mapped = true, .far_paths = true},
    {"mapped, SSE4.2 only", &arch_all, .mapped = true, .no_fma = true, .no_bmi1 = true,
     .no_bmi2 = true, .no_lzcnt = true, .no_popcnt = true},
};

struct machine {
    const struct variant *variant;
    struct dbt *dbt;
    struct test_vcpu *tv;
    unsigned units, too_big;
    uint64_t protected; /* address of the page with protection; 0: none */
    int protection;
};

static size_t no_fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    (void)opaque, (void)pc, (void)buf, (void)size;
    *stable = true;
    return 0;
}

/* ---- An MMU that maps each address to itself; pages alternate in how they are watched ---- */

static bool translate(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page)
{
    const struct machine *m = cpu->owner;
    uint64_t start = vaddr & ~(uint64_t)(PAGE - 1);
    int protection = start == m->protected ? m->protection : PROT_READ | PROT_WRITE;

    if (!(protection & (access == VCPU_READ ? PROT_READ : PROT_WRITE))) {
        cpu->fault_addr = vaddr;
        cpu->fault_access = (uint8_t)access;
        return false;
    }
    *page = (struct mmu_page){
        .phys = start,
        .host = (uint8_t *)(uintptr_t)start,
        .read = true,
        .write = protection & PROT_WRITE,
        .watch_write = m->units % 4 == 0,
        .size = PAGE,
    };
    return true;
}

static void written(struct vcpu *cpu, uint64_t phys, unsigned size)
{
    (void)cpu, (void)phys, (void)size;
}

static const struct mmu_ops mmu = {.translate = translate, .written = written};

static struct machine machine_new(const struct variant *v)
{
    struct dbt_config config = {
        .arch = v->arch,
        .guest_base = v->guest_base,
        .cache_size = 1 << 20,
        .far_paths = v->far_paths,
        .no_chain = true,
        .fetch = no_fetch,
        .mmu = v->mapped ? &mmu : NULL,
    };
    g_autoptr(GError) error = NULL;
    struct machine m = {.variant = v, .dbt = dbt_new(&config, &error)};

    g_assert_no_error(error);
    m.dbt->features.fma &= !v->no_fma;
    m.dbt->features.bmi1 &= !v->no_bmi1;
    m.dbt->features.bmi2 &= !v->no_bmi2;
    m.dbt->features.lzcnt &= !v->no_lzcnt;
    m.dbt->features.popcnt &= !v->no_popcnt;
    m.tv = (struct test_vcpu *)dbt_vcpu_new(m.dbt, NULL);
    g_assert_nonnull(m.tv);
    return m;
}

static void machine_free(struct machine *m)
{
    dbt_vcpu_free(&m->tv->cpu);
    dbt_free(m->dbt);
}

/* The unit as a block; NULL if it is too big for one. */
static struct block *compile(struct machine *m, const struct ir_unit *u)
{
    struct dbt *dbt = m->dbt;

    for (;;) {
        struct block *b = dbt_arena_alloc(dbt, sizeof(*b));
        bool too_big;

        *b = (struct block){
            .pc = u->pc,
            .relative = u->relative,
            .mode = u->mode,
            .index = dbt->n_blocks,
        };
        if (dbt->n_blocks < dbt->max_blocks && host_compile(dbt, u, b, &too_big)) {
            block_insert(dbt, b);
            m->units++;
            return b;
        }
        if (dbt->n_blocks < dbt->max_blocks && too_big) {
            m->too_big++;
            return NULL;
        }
        g_assert_cmpuint(dbt->n_blocks, >, 0);
        dbt_forget_blocks(dbt);
        host_reset_return_stack(&m->tv->cpu);
    }
}

static enum vcpu_exit run_block(struct machine *m, const struct block *b)
{
    struct vcpu *cpu = &m->tv->cpu;
    uint64_t result;
    uint32_t index;

    host_thread_enter(m->dbt, cpu);
    host_set_rounding(cpu, b->mode);
    result = host_run(cpu, b);
    index = (uint32_t)(result >> 8);
    switch ((enum code_exit)(result & 0xff)) {
    case CODE_EXIT_DIRECT:
    case CODE_EXIT_POLL:
        cpu->pc = block_pc(cpu, b) + (uint64_t)host_exit_at(m->dbt, index).distance;
        return VCPU_EXIT_NONE;
    case CODE_EXIT_INDIRECT: return VCPU_EXIT_NONE;
    case CODE_EXIT_REASON: return index;
    case CODE_EXIT_FAULT: return VCPU_EXIT_FAULT;
    default: g_error("translated code returned %#" PRIx64, result);
    }
}

/* ---- Faults ---- */

/* Whose faults the signal handler hands on; NULL: nobody's. */
static struct vcpu *faulting;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    if (!faulting || !dbt_handle_fault(faulting, info, context)) {
        signal(sig, SIG_DFL);
    }
}

static void catch_faults(void)
{
    static uint8_t stack[65536];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    g_assert_cmpint(sigaltstack(&ss, NULL), ==, 0);
    g_assert_cmpint(sigaction(SIGSEGV, &sa, NULL), ==, 0);
    g_assert_cmpint(sigaction(SIGBUS, &sa, NULL), ==, 0);
}

static enum vcpu_exit interpret(struct machine *m, const struct ir_unit *u)
{
    struct vcpu *cpu = &m->tv->cpu;
    enum vcpu_exit reason;
    void *buf[5];

    if (__builtin_setjmp(buf)) {
        cpu->unwind = NULL;
        return VCPU_EXIT_FAULT;
    }
    cpu->unwind = buf;
    reason = ir_interpret(cpu, u, m->variant->guest_base, NULL);
    cpu->unwind = NULL;
    return reason;
}

/* ---- Comparison ---- */

#define DIFFERS(what, ...)                                         \
    do {                                                           \
        g_string_append_printf(text, "  " what "\n", __VA_ARGS__); \
    } while (0)

/* What [got] has that [want] hasn't; caller frees. NULL: nothing. */
static char *compare(const struct outcome *want, const struct outcome *got, bool reservation)
{
    GString *text = g_string_new(NULL);

    if (want->reason != got->reason)
        DIFFERS("reason %u, not %u", got->reason, want->reason);
    if (want->pc != got->pc)
        DIFFERS("pc %#" PRIx64 ", not %#" PRIx64, got->pc, want->pc);
    if (want->fp_flags != got->fp_flags)
        DIFFERS("FP flags %#x, not %#x", got->fp_flags, want->fp_flags);
    for (unsigned i = 0; i < 32; i++) {
        if (want->r[i] != got->r[i])
            DIFFERS("x%u %#" PRIx64 ", not %#" PRIx64, i, got->r[i], want->r[i]);
        if (want->f[i] != got->f[i])
            DIFFERS("f%u %#" PRIx64 ", not %#" PRIx64, i, got->f[i], want->f[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        if (want->extra[i] != got->extra[i])
            DIFFERS("extra[%u] %#" PRIx64 ", not %#" PRIx64, i, got->extra[i], want->extra[i]);
    if (reservation && want->excl_addr != got->excl_addr)
        DIFFERS("reservation %#" PRIx64 ", not %#" PRIx64, got->excl_addr, want->excl_addr);
    if (reservation && want->excl_value != got->excl_value)
        DIFFERS("reserved value %#" PRIx64 ", not %#" PRIx64, got->excl_value, want->excl_value);
    for (unsigned i = 0; i < MEMORY_SIZE; i++)
        if (want->memory[i] != got->memory[i])
            DIFFERS("memory[%#x] %#x, not %#x", i, got->memory[i], want->memory[i]);
    return g_string_free(text, text->len == 0);
}

struct test {
    struct generator g;
    struct machine machines[G_N_ELEMENTS(variants)];
    uint8_t *memory; /* two pages: the tested memory is around their border */
    struct outcome start, want, got;
    unsigned faults;
};

static void fail(struct test *t, struct machine *m, const struct ir_unit *u, const struct block *b,
                 uint32_t seed, const char *text)
{
    ir_print(u, stderr);
    host_log_code(m->dbt, b, stderr);
    fflush(stderr);
    g_error("seed %u, %s (frm %u, %s):\n%s", seed, m->variant->name, u->frm,
            u == t->g.raw ? "raw" : "folded", text);
}

static uint8_t *tested_memory(const struct test *t)
{
    return t->memory + PAGE - MEMORY_SIZE / 2;
}

/* One unit on one machine. [protect]: which page has which protection meanwhile, -1 none. */
static void check_unit(struct test *t, struct machine *m, const struct ir_unit *u, uint32_t seed,
                       int page, int protection)
{
    struct vcpu *cpu = &m->tv->cpu;
    uint64_t fault_addr = 0;
    uint8_t fault_kind = 0, fault_access = 0;
    struct block *b = compile(m, u);
    g_autofree char *text = NULL;
    bool fault;

    if (!b) {
        return;
    }
    cpu->owner = m;
    m->protected = 0;
    if (page >= 0 && m->variant->mapped) {
        m->protected = (uintptr_t)(t->memory + page * PAGE);
        m->protection = protection;
    }
    random_start(&t->g, &t->start, (uintptr_t)tested_memory(t) - m->variant->guest_base);
    cpu->poll = t->start.memory[0] & 1;
    for (unsigned i = 0; i < 2; i++) {
        enum vcpu_exit reason;

        cpu->fault_addr = 0;
        set_state(m->tv, &t->start, tested_memory(t));
        if (m->variant->mapped) {
            dbt_tlb_flush(cpu);
            cpu->code_at = 0x123456789abc + (uint64_t)seed * PAGE; /* not where it was made for */
        } else if (page >= 0)
            mprotect(t->memory + page * PAGE, PAGE, protection);
        faulting = page >= 0 ? cpu : NULL;
        reason = i == 0 ? interpret(m, u) : run_block(m, b);
        faulting = NULL;
        if (page >= 0 && !m->variant->mapped)
            mprotect(t->memory + page * PAGE, PAGE, PROT_READ | PROT_WRITE);
        get_state(m->tv, reason, i == 0 ? &t->want : &t->got, tested_memory(t));
        if (i == 0) {
            fault_addr = cpu->fault_addr;
            fault_kind = cpu->fault_kind;
            fault_access = cpu->fault_access;
        }
    }
    fault = t->want.reason == VCPU_EXIT_FAULT;
    t->faults += fault;
    text = compare(&t->want, &t->got, !fault);
    if (text) {
        fail(t, m, u, b, seed, text);
    }
    if (fault && (cpu->fault_addr != fault_addr || cpu->fault_kind != fault_kind ||
                  (page < 0 && cpu->fault_access != fault_access))) {
        text = g_strdup_printf("  fault at %#" PRIx64 " (%u, %u), not %#" PRIx64 " (%u, %u)",
                               cpu->fault_addr, cpu->fault_kind, cpu->fault_access, fault_addr,
                               fault_kind, fault_access);
        fail(t, m, u, b, seed, text);
    }
}

static void check_seed(struct test *t, struct machine *m, uint32_t seed, bool show, bool faults)
{
    struct generator *g = &t->g;
    int page = -1, protection = PROT_NONE;

    g->chained = true;
    g->relative = m->variant->mapped;
    generate(g, m->variant->arch, seed);
    if (show) {
        ir_print(g->raw, stdout);
        ir_print(g->folded, stdout);
        fflush(stdout);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct ir_unit *u = i & 1 ? g->folded : g->raw;

        test_verify(u);
        if (faults) {
            page = (int)pick(g, 2);
            protection = chance(g, 70) ? PROT_NONE : PROT_READ;
        }
        check_unit(t, m, u, seed, page, protection);
        if (i == 1) {
            ir_optimize(g->raw);
            ir_optimize(g->folded);
        }
    }
}

static struct test *test_new(void)
{
    struct test *t = g_new0(struct test, 1);

    t->g.rand = g_rand_new();
    t->g.raw = ir_unit_new();
    t->g.folded = ir_unit_new();
    t->memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(t->memory != MAP_FAILED);
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        t->machines[i] = machine_new(&variants[i]);
    }
    catch_faults();
    return t;
}

static void test_free(struct test *t)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        struct machine *m = &t->machines[i];

        g_test_message("%s: %u units, %u too big", m->variant->name, m->units, m->too_big);
        machine_free(m);
    }
    munmap(t->memory, 2 * PAGE);
    ir_unit_free(t->g.raw);
    ir_unit_free(t->g.folded);
    g_rand_free(t->g.rand);
    g_free(t);
}

static void test_random(void)
{
    struct test *t = test_new();
    unsigned units = 0, too_big = 0;

    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        check_seed(t, &t->machines[seed % G_N_ELEMENTS(variants)], seed, false, false);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        units += t->machines[i].units;
        too_big += t->machines[i].too_big;
    }
    /* Otherwise units would be skipped that shouldn't be. */
    g_assert_cmpuint(too_big * 4, <, units);
    test_free(t);
}

static void test_faults(void)
{
    struct test *t = test_new();

    for (uint32_t seed = 1; seed <= FAULT_SEEDS; seed++) {
        check_seed(t, &t->machines[seed % G_N_ELEMENTS(variants)], seed, false, true);
    }
    g_test_message("%u faults", t->faults);
    g_assert_cmpuint(t->faults, >, FAULT_SEEDS);
    test_free(t);
}

static void run_seeds(uint32_t first, uint32_t count)
{
    struct test *t = test_new();

    for (uint32_t seed = first; seed < first + count; seed++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
            check_seed(t, &t->machines[i], seed, count == 1 && i == 0, false);
            check_seed(t, &t->machines[i], seed, false, true);
        }
    }
    test_free(t);
}

static uint32_t number(const char *text)
{
    return (uint32_t)g_ascii_strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--seed") == 0) {
        run_seeds(number(argv[2]), argc > 3 ? number(argv[3]) : 1);
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tier1/random", test_random);
    g_test_add_func("/tier1/faults", test_faults);
    return g_test_run();
}
