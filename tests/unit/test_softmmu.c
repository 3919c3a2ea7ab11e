/*
 * System mode of the translator: RISC-V code behind an MMU that is a table in this test. Each
 * test runs in the interpreter and in translated code, also under stress.
 */
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "dbt/dbt.h"
#include "dbt/mmu.h"
#include "guest/riscv/riscv.h"
#include "rv.h"

enum { PAGE = 4096, RAM_PAGES = 1024, RAM = RAM_PAGES * PAGE, SPACES = 4 };

/* Physical addresses: RAM starts at RAM_BASE, device registers are at DEVICE. */
#define RAM_BASE UINT64_C(0x80000000)
#define DEVICE   UINT64_C(0x10000000)
/* Virtual addresses; the upper half as well. */
#define CODE UINT64_C(0xffffffff80200000)
#define DATA UINT64_C(0x0000000040000000)

struct pte {
    uint64_t phys, size;
    bool read, write, exec, once; /* once: nothing stays in the table */
};

struct variant;

struct world {
    const struct variant *variant;
    struct dbt *dbt;
    struct riscv_model *model;
    struct vcpu *cpu;
    uint8_t *ram;
    GHashTable *spaces[SPACES]; /* page number -> struct pte */
    unsigned space;             /* of cpu */
    gint watched[RAM_PAGES];    /* code was made from the page */
    unsigned translations, loads, stores, written, code_pages;
    uint64_t device[8];
    bool device_fails;
};

/* ---- The toy MMU ---- */

static __thread struct vcpu *running;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    if (!running || !dbt_handle_fault(running, info, context)) {
        signal(sig, SIG_DFL);
    }
}

static struct pte *find(struct world *w, unsigned space, uint64_t vaddr)
{
    return g_hash_table_lookup(w->spaces[space], GSIZE_TO_POINTER(vaddr / PAGE));
}

static bool fault(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access)
{
    cpu->fault_addr = vaddr;
    cpu->fault_access = (uint8_t)access;
    return false;
}

static bool translate(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page)
{
    struct world *w = cpu->owner;
    const struct pte *pte = find(w, w->space, vaddr);

    g_atomic_int_inc((gint *)&w->translations);
    const bool allowed[] = {
        [VCPU_READ] = pte && pte->read,
        [VCPU_WRITE] = pte && pte->write,
        [VCPU_FETCH] = pte && pte->exec,
    };
    if (!allowed[access]) {
        return fault(cpu, vaddr, access);
    }
    *page = (struct mmu_page){
        .phys = pte->phys,
        .size = pte->size,
        .read = pte->read,
        .write = pte->write,
        .exec = pte->exec,
    };
    if (pte->once) {
        page->read = page->write = page->exec = false;
    }
    if (pte->phys - RAM_BASE < RAM) {
        uint64_t n = (pte->phys - RAM_BASE) / PAGE;

        page->host = w->ram + n * PAGE;
        page->watch_write = g_atomic_int_get(&w->watched[n]) != 0;
    }
    return true;
}

static bool device_access(struct world *w, struct vcpu *cpu, uint64_t vaddr, uint64_t phys,
                          enum vcpu_access access)
{
    if (w->device_fails || phys - DEVICE >= sizeof(w->device)) {
        return fault(cpu, vaddr, access);
    }
    return true;
}

static bool load(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t *value)
{
    struct world *w = cpu->owner;

    w->loads++;
    *value = 0;
    if (phys - RAM_BASE < RAM) {
        memcpy(value, w->ram + (phys - RAM_BASE), size);
        return true;
    }
    if (!device_access(w, cpu, vaddr, phys, VCPU_READ)) {
        return false;
    }
    memcpy(value, (uint8_t *)w->device + (phys - DEVICE), size);
    return true;
}

static bool store(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t value)
{
    struct world *w = cpu->owner;

    w->stores++;
    if (phys - RAM_BASE < RAM) {
        memcpy(w->ram + (phys - RAM_BASE), &value, size);
        return true;
    }
    if (!device_access(w, cpu, vaddr, phys, VCPU_WRITE)) {
        return false;
    }
    memcpy((uint8_t *)w->device + (phys - DEVICE), &value, size);
    return true;
}

static void written(struct vcpu *cpu, uint64_t phys, unsigned size)
{
    struct world *w = cpu->owner;

    (void)size;
    w->written++;
    g_atomic_int_set(&w->watched[(phys - RAM_BASE) / PAGE], 0);
}

static void code_page(struct vcpu *cpu, uint64_t phys)
{
    struct world *w = cpu->owner;

    w->code_pages++;
    g_atomic_int_set(&w->watched[(phys - RAM_BASE) / PAGE], 1);
}

static const struct mmu_ops ops = {
    .translate = translate,
    .load = load,
    .store = store,
    .written = written,
    .code_page = code_page,
};

/* ---- Set-up ---- */

/* Maps page number [page] of RAM; -1: the device. [perms]: letters of r, w, x, and 1 for once. */
static void map(struct world *w, unsigned space, uint64_t vaddr, int page, const char *perms)
{
    struct pte *pte = g_new0(struct pte, 1);

    pte->phys = page < 0 ? DEVICE : RAM_BASE + (uint64_t)page * PAGE;
    pte->size = PAGE;
    pte->read = strchr(perms, 'r') != NULL;
    pte->write = strchr(perms, 'w') != NULL;
    pte->exec = strchr(perms, 'x') != NULL;
    pte->once = strchr(perms, '1') != NULL;
    g_hash_table_insert(w->spaces[space], GSIZE_TO_POINTER(vaddr / PAGE), pte);
}

static void unmap(struct world *w, unsigned space, uint64_t vaddr)
{
    g_hash_table_remove(w->spaces[space], GSIZE_TO_POINTER(vaddr / PAGE));
}

static struct vcpu *new_vcpu(struct world *w)
{
    struct vcpu *cpu = dbt_vcpu_new(w->dbt, w->model);

    g_assert_nonnull(cpu);
    cpu->owner = w;
    cpu->pc = CODE;
    return cpu;
}

static const struct variant {
    const char *name;
    struct dbt_config config;
} variants[] = {
    {"interpreter", {.interpreter = true}}, {"translated", {0}},
    {"far-paths", {.far_paths = true}},     {"flushes", {.flush_every = 3}},
    {"polls", {.poll_always = true}},       {"one-instruction", {.one_insn = true}},
    {"no-chain", {.no_chain = true}},
};

/* Code of page 0 at CODE, data of page 8 at DATA in space 0. */
static struct world *small_world(const void *opaque)
{
    const struct variant *variant = opaque;
    struct world *w = g_new0(struct world, 1);
    struct dbt_config c = variant->config;
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t ss = {.ss_sp = g_malloc(65536), .ss_size = 65536};
    g_autoptr(GError) error = NULL;

    w->variant = variant;
    c.arch = &riscv64_arch;
    c.mmu = &ops;
    c.verify = true;
    c.cache_size = 4 << 20;
    w->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(w->ram != MAP_FAILED);
    for (unsigned i = 0; i < SPACES; i++) {
        w->spaces[i] = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    }
    w->dbt = dbt_new(&c, &error);
    g_assert_no_error(error);
    w->model = riscv_model_parse("rv64", &error);
    g_assert_no_error(error);
    w->cpu = new_vcpu(w);
    running = w->cpu;
    sigaltstack(&ss, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    map(w, 0, CODE, 0, "rx");
    map(w, 0, DATA, 8, "rw");
    w->cpu->r[A0] = DATA;
    return w;
}

static void world_free(struct world *w)
{
    stack_t off = {.ss_flags = SS_DISABLE}, old;

    sigaltstack(&off, &old);
    g_free(old.ss_sp);
    running = NULL;
    dbt_vcpu_free(w->cpu);
    dbt_free(w->dbt);
    riscv_model_free(w->model);
    for (unsigned i = 0; i < SPACES; i++) {
        g_hash_table_destroy(w->spaces[i]);
    }
    munmap(w->ram, RAM);
    g_free(w);
}

static uint8_t *ram(struct world *w, unsigned page)
{
    return w->ram + (size_t)page * PAGE;
}

#define PUT_CODE(w, page, offset, ...)                               \
    do {                                                             \
        const uint32_t insns_[] = {__VA_ARGS__};                     \
        memcpy(ram((w), (page)) + (offset), insns_, sizeof(insns_)); \
    } while (0)

static void start(struct world *w, uint64_t pc)
{
    w->cpu->pc = pc;
    w->cpu->exit_reason = 0;
}

static void expect(struct world *w, enum vcpu_exit reason, uint64_t pc)
{
    enum vcpu_exit r;

    do {
        r = dbt_run(w->cpu);
    } while (w->variant->config.poll_always && r == VCPU_EXIT_INTERRUPT && r != reason);
    g_assert_cmpint(r, ==, reason);
    g_assert_cmphex(w->cpu->pc, ==, pc);
}

static void expect_fault(struct world *w, uint64_t pc, uint64_t addr, enum vcpu_access access)
{
    expect(w, VCPU_EXIT_FAULT, pc);
    g_assert_cmphex(w->cpu->fault_addr, ==, addr);
    g_assert_cmpint(w->cpu->fault_access, ==, access);
}

static uint64_t peek(struct world *w, unsigned page, unsigned offset)
{
    uint64_t v;

    memcpy(&v, ram(w, page) + offset, sizeof(v));
    return v;
}

static void poke(struct world *w, unsigned page, unsigned offset, uint64_t v)
{
    memcpy(ram(w, page) + offset, &v, sizeof(v));
}

/* ---- Accesses ---- */

static void test_access(const void *variant)
{
    struct world *w = small_world(variant);
    struct riscv_vcpu *rv = (struct riscv_vcpu *)w->cpu;

    PUT_CODE(w, 0, 0, LD(A1, A0, 8), LBU(A2, A0, 9), LB(A3, A0, 15), LW(A4, A0, 12), FLD(0, A0, 8),
             FLW(1, A0, 8), SD(A1, A0, 16), SW(A1, A0, 26), SB(A1, A0, 33), SD(ZERO, A0, 40),
             FSD(0, A0, 48), LD(T3, A0, 16), SD(T3, A0, 56), EBREAK);
    poke(w, 8, 8, 0xf1e2d3c4b5a69788);
    memset(ram(w, 8) + 40, 0xff, 8);
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = w->translations;

        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 13 * 4);
        g_assert_cmphex(w->cpu->r[A1], ==, 0xf1e2d3c4b5a69788);
        g_assert_cmphex(w->cpu->r[A2], ==, 0x97);
        g_assert_cmphex(w->cpu->r[A3], ==, 0xfffffffffffffff1);
        g_assert_cmphex(w->cpu->r[A4], ==, 0xfffffffff1e2d3c4);
        g_assert_cmphex(rv->f[0], ==, 0xf1e2d3c4b5a69788);
        g_assert_cmphex(rv->f[1], ==, 0xffffffffb5a69788);
        g_assert_cmphex(peek(w, 8, 16), ==, 0xf1e2d3c4b5a69788);
        g_assert_cmphex(peek(w, 8, 24), ==, 0x0000b5a697880000);
        g_assert_cmphex(peek(w, 8, 32), ==, 0x8800);
        g_assert_cmphex(peek(w, 8, 40), ==, 0);
        g_assert_cmphex(peek(w, 8, 48), ==, 0xf1e2d3c4b5a69788);
        g_assert_cmphex(peek(w, 8, 56), ==, 0xf1e2d3c4b5a69788);
        memset(ram(w, 8) + 16, 0, 48);
        if (i > 0) { /* all is in the table */
            g_assert_cmpuint(w->translations, ==, before);
        }
    }
    world_free(w);
}

static void test_faults(const void *variant)
{
    struct world *w = small_world(variant);
    const uint64_t none = DATA + 16 * PAGE, read_only = DATA + 32 * PAGE;
    static const struct {
        uint32_t insn;
        enum vcpu_access access;
        bool read_only_too; /* it faults there too */
    } kinds[] = {
        {LD(A2, A0, 8), VCPU_READ, false},   {LB(T4, A0, 8), VCPU_READ, false},
        {FLD(3, A0, 8), VCPU_READ, false},   {SD(A1, A0, 8), VCPU_WRITE, true},
        {SB(ZERO, A0, 8), VCPU_WRITE, true}, {FSD(3, A0, 8), VCPU_WRITE, true},
    };
    static const struct {
        uint32_t insn;
        enum vcpu_access access;
        bool read_only_too;
    } atomics[] = {
        {AMOADD_W(A2, A1, A0), VCPU_WRITE, true},
        {AMOADD_D(ZERO, A1, A0), VCPU_WRITE, true},
        {AMOSWAP_W(A2, A1, A0), VCPU_WRITE, true},
        {LR_W(A2, A0), VCPU_READ, false},
    };

    map(w, 0, read_only, 9, "r");
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        unsigned at = i * 64;

        PUT_CODE(w, 0, at, ADDI(A3, A3, 1), kinds[i].insn, ADDI(A3, A3, 1), EBREAK);
        w->cpu->r[A3] = 0;
        w->cpu->r[A2] = 77;
        w->cpu->r[A0] = none;
        start(w, CODE + at);
        expect_fault(w, CODE + at + 4, none + 8, kinds[i].access);
        g_assert_cmpuint(w->cpu->r[A3], ==, 1);
        g_assert_cmpuint(w->cpu->r[A2], ==, 77);
        w->cpu->r[A0] = read_only;
        start(w, CODE + at);
        if (kinds[i].read_only_too) {
            expect_fault(w, CODE + at + 4, read_only + 8, kinds[i].access);
        } else {
            expect(w, VCPU_EXIT_BREAKPOINT, CODE + at + 12);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(atomics); i++) {
        unsigned at = 1024 + i * 64;

        PUT_CODE(w, 0, at, atomics[i].insn, EBREAK);
        w->cpu->r[A0] = none;
        start(w, CODE + at);
        expect_fault(w, CODE + at, none, atomics[i].access);
        w->cpu->r[A0] = read_only;
        start(w, CODE + at);
        if (atomics[i].read_only_too) {
            expect_fault(w, CODE + at, read_only, atomics[i].access);
        } else {
            expect(w, VCPU_EXIT_BREAKPOINT, CODE + at + 4);
        }
    }
    /* Fetch: not there, not executable; by falling, by jumping. */
    PUT_CODE(w, 0, PAGE - 4, NOP);
    start(w, CODE + PAGE - 4);
    expect_fault(w, CODE + PAGE, CODE + PAGE, VCPU_FETCH);
    map(w, 0, CODE + PAGE, 10, "rw");
    start(w, CODE + PAGE - 4);
    expect_fault(w, CODE + PAGE, CODE + PAGE, VCPU_FETCH);
    PUT_CODE(w, 0, 2048, JALR(RA, A0, 0));
    w->cpu->r[A0] = 0x1234567890abcdee;
    start(w, CODE + 2048);
    expect_fault(w, 0x1234567890abcdee, 0x1234567890abcdee, VCPU_FETCH);
    g_assert_cmphex(w->cpu->r[RA], ==, CODE + 2052);
    world_free(w);
}

/* The next-to-last element of an address space: nothing overflows. */
static void test_end_of_addresses(const void *variant)
{
    struct world *w = small_world(variant);
    const uint64_t last = ~UINT64_C(0) - (PAGE - 1);

    map(w, 0, last, 9, "rwx");
    map(w, 0, 0, 10, "rw");
    poke(w, 9, PAGE - 8, 0x1122334455667788);
    poke(w, 10, 0, 0xaabbccddeeff0011);
    PUT_CODE(w, 0, 0, LD(A1, A0, -8), LD(A2, A0, -4), SD(A1, A0, -4), SD(A1, A0, -8), EBREAK);
    for (unsigned i = 0; i < 2; i++) {
        poke(w, 9, PAGE - 8, 0x1122334455667788);
        poke(w, 10, 0, 0xaabbccddeeff0011);
        w->cpu->r[A0] = 0;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 16);
        g_assert_cmphex(w->cpu->r[A1], ==, 0x1122334455667788);
        g_assert_cmphex(w->cpu->r[A2], ==, 0xeeff001111223344);
        g_assert_cmphex(peek(w, 9, PAGE - 8), ==, 0x1122334455667788);
        g_assert_cmphex(peek(w, 10, 0), ==, 0xaabbccdd11223344);
    }
    world_free(w);
}

static void test_crossing(const void *variant)
{
    struct world *w = small_world(variant);

    map(w, 0, DATA + PAGE, 5, "r");
    map(w, 0, DATA + 2 * PAGE, 7, "rw");
    map(w, 0, DATA + 3 * PAGE, 6, "rw");
    PUT_CODE(w, 0, 0, LD(A1, A0, -1), EBREAK);
    PUT_CODE(w, 0, 16, SD(A1, A0, -7), EBREAK);
    PUT_CODE(w, 0, 32, FLD(1, A0, -3), FSD(1, A0, -2), EBREAK);
    poke(w, 8, PAGE - 8, 0x8877665544332211);
    poke(w, 5, 0, 0x1122334455667788);
    w->cpu->r[A0] = DATA + PAGE;
    start(w, CODE);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 4);
    g_assert_cmphex(w->cpu->r[A1], ==, 0x2233445566778888);
    /* The second page can't be written: nothing in the first one is. */
    start(w, CODE + 16);
    expect_fault(w, CODE + 16, DATA + PAGE, VCPU_WRITE);
    g_assert_cmphex(peek(w, 8, PAGE - 8), ==, 0x8877665544332211);
    /* The first one can't. */
    w->cpu->r[A0] = DATA + 2 * PAGE;
    start(w, CODE + 16);
    expect_fault(w, CODE + 16, DATA + 2 * PAGE - 7, VCPU_WRITE);
    g_assert_cmphex(peek(w, 7, 0), ==, 0);
    w->cpu->r[A0] = DATA + 3 * PAGE;
    w->cpu->r[A1] = 0x0102030405060708;
    for (unsigned i = 0; i < 2; i++) {
        start(w, CODE + 16);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 20);
        g_assert_cmphex(peek(w, 7, PAGE - 8), ==, 0x0203040506070800);
        g_assert_cmphex(peek(w, 6, 0), ==, 1);
    }
    start(w, CODE + 32);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 40);
    g_assert_cmphex(peek(w, 7, PAGE - 8), ==, 0x0304040506070800);
    g_assert_cmphex(peek(w, 6, 0), ==, 0x102);
    /* Unmapped behind. */
    w->cpu->r[A0] = DATA + 4 * PAGE;
    start(w, CODE);
    expect_fault(w, CODE, DATA + 4 * PAGE, VCPU_READ);
    world_free(w);
}

static void test_atomics(const void *variant)
{
    struct world *w = small_world(variant);

    PUT_CODE(w, 0, 0, AMOADD_W(A2, A1, A0), AMOADD_D(ZERO, A1, A0), AMOSWAP_W(T3, A1, A0),
             LR_W(A3, A0), SC_W(A4, A5, A0), SC_W(A6, A5, A0), RV_R(0x2fu, 3u, 0x50u, S2, A0, A1),
             RV_R(0x2fu, 3u, 0x20u, T4, A0, T5), EBREAK); /* amomax.d, amoor.d */
    for (unsigned i = 0; i < 2; i++) {
        poke(w, 8, 0, 0x00000000fffffff0);
        w->cpu->r[A0] = DATA;
        w->cpu->r[A1] = 0x20;
        w->cpu->r[A5] = 5;
        w->cpu->r[T5] = 0x100;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 32);
        g_assert_cmphex(w->cpu->r[A2], ==, 0xfffffffffffffff0);
        g_assert_cmphex(w->cpu->r[T3], ==, 0x30);
        g_assert_cmphex(w->cpu->r[A3], ==, 0x20);
        g_assert_cmphex(w->cpu->r[A4], ==, 0);
        g_assert_cmphex(w->cpu->r[A6], ==, 1);
        g_assert_cmphex(w->cpu->r[S2], ==, 5);
        g_assert_cmphex(w->cpu->r[T4], ==, 0x20);
        g_assert_cmphex(peek(w, 8, 0), ==, 0x120);
    }
    w->cpu->r[A0] = DATA + 2;
    start(w, CODE);
    expect_fault(w, CODE, DATA + 2, VCPU_WRITE);
    g_assert_cmpint(w->cpu->fault_kind, ==, VCPU_FAULT_ALIGN);
    world_free(w);
}

static void test_device(const void *variant)
{
    struct world *w = small_world(variant);

    map(w, 0, DATA + 4 * PAGE, -1, "rw");
    PUT_CODE(w, 0, 0, LW(A1, A0, 4), SD(A1, A0, 8), SB(ZERO, A0, 17), LBU(A2, A0, 8),
             AMOADD_W(A3, A1, A0), FLD(1, A0, 8), EBREAK);
    for (unsigned i = 1; i <= 3; i++) {
        memset(w->device, 0xff, sizeof(w->device));
        w->device[0] = 0x8765432100000001;
        w->cpu->r[A0] = DATA + 4 * PAGE;
        w->loads = w->stores = 0;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 24);
        g_assert_cmphex(w->cpu->r[A1], ==, 0xffffffff87654321);
        g_assert_cmphex(w->cpu->r[A2], ==, 0x21);
        g_assert_cmphex(w->cpu->r[A3], ==, 1);
        g_assert_cmphex(w->device[0], ==, 0x8765432187654322);
        g_assert_cmphex(w->device[1], ==, 0xffffffff87654321);
        g_assert_cmphex(w->device[2], ==, 0xffffffffffff00ff);
        g_assert_cmphex(((struct riscv_vcpu *)w->cpu)->f[1], ==, 0xffffffff87654321);
        g_assert_cmpuint(w->loads, ==, 4);
        g_assert_cmpuint(w->stores, ==, 3);
    }
    w->device_fails = true;
    start(w, CODE);
    w->cpu->r[A1] = 9;
    expect_fault(w, CODE, DATA + 4 * PAGE + 4, VCPU_READ);
    g_assert_cmpuint(w->cpu->r[A1], ==, 9);
    start(w, CODE + 4);
    expect_fault(w, CODE + 4, DATA + 4 * PAGE + 8, VCPU_WRITE);
    world_free(w);
}

/* Pages that may be accessed, but about which the guest is asked each time. */
static void test_once(const void *variant)
{
    struct world *w = small_world(variant);

    map(w, 0, DATA, 8, "rw1");
    map(w, 0, CODE + PAGE, 1, "rx1");
    PUT_CODE(w, 1, 0, LD(A1, A0, 0), ADDI(A1, A1, 1), SD(A1, A0, 0), EBREAK);
    for (unsigned i = 1; i <= 3; i++) {
        unsigned before = w->translations;

        start(w, CODE + PAGE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + PAGE + 12);
        g_assert_cmpuint(peek(w, 8, 0), ==, i);
        g_assert_cmpuint(w->translations - before, >=, 6);
    }
    unmap(w, 0, DATA);
    start(w, CODE + PAGE);
    expect_fault(w, CODE + PAGE, DATA, VCPU_READ);
    map(w, 0, CODE + PAGE, 1, "r1");
    start(w, CODE + PAGE);
    expect_fault(w, CODE + PAGE, CODE + PAGE, VCPU_FETCH);
    world_free(w);
}

/* ---- Code ---- */

/* Counts down in a1, in steps of the immediate that is stored into the code. */
static void test_modified_code(const void *variant)
{
    struct world *w = small_world(variant);
    unsigned done;

    map(w, 0, DATA + PAGE, 0, "rw"); /* the code, to be written */
    PUT_CODE(w, 0, 0, ADDI(A2, A2, 1), JAL(ZERO, 64));
    PUT_CODE(w, 0, 68, SW(A4, A3, 0), FENCE_I, ADDI(A1, A1, -1), BNE(A1, ZERO, -80), EBREAK);
    w->cpu->r[A1] = 100;
    w->cpu->r[A3] = DATA + PAGE;
    w->cpu->r[A4] = ADDI(A2, A2, 3);
    start(w, CODE);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 84);
    g_assert_cmpuint(w->cpu->r[A2], ==, 1 + 99 * 3);
    done = w->written;
    g_assert_cmpuint(done, >=, 1);
    /* Changed by a device. */
    w->cpu->r[A1] = 1;
    w->cpu->r[A2] = 0;
    w->cpu->r[A3] = DATA;
    PUT_CODE(w, 0, 0, ADDI(A2, A2, 7));
    g_atomic_int_set(&w->watched[0], 0);
    dbt_invalidate_phys(w->dbt, RAM_BASE, 4);
    start(w, CODE + 72);
    w->cpu->r[A1] = 2;
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 84);
    g_assert_cmpuint(w->cpu->r[A2], ==, 7);
    /* Stores elsewhere in the page: noticed once, then fast again until the code is run. */
    world_free(w);
}

static void test_instruction_crossing(const void *variant)
{
    struct world *w = small_world(variant);
    const uint32_t insn[2] = {ADDI(A2, A2, 5), ADDI(A2, A2, 9)};

    /* 4 bytes at PAGE - 2; the second halves are in pages 1 and 2. */
    map(w, 0, CODE + PAGE, 1, "rx");
    map(w, 1, CODE, 0, "rx");
    map(w, 1, CODE + PAGE, 2, "rx");
    memcpy(ram(w, 0) + PAGE - 2, &insn[0], 2);
    for (unsigned i = 0; i < 2; i++) {
        memcpy(ram(w, 1 + i), (const uint8_t *)&insn[i] + 2, 2);
        PUT_CODE(w, 1 + i, 2, ADDI(A1, A1, -1), BNE(A1, ZERO, -8), EBREAK);
    }
    for (unsigned i = 0; i < 6; i++) {
        w->space = i & 1;
        dbt_tlb_switch(w->cpu, i & 1);
        w->cpu->r[A1] = 10;
        w->cpu->r[A2] = 0;
        start(w, CODE + PAGE - 2);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + PAGE + 10);
        g_assert_cmpuint(w->cpu->r[A2], ==, i & 1 ? 90 : 50);
    }
    unmap(w, 1, CODE + PAGE);
    dbt_tlb_flush_page(w->cpu, CODE + PAGE);
    start(w, CODE + PAGE - 2);
    expect_fault(w, CODE + PAGE - 2, CODE + PAGE, VCPU_FETCH);
    /* A short one in front of a page that isn't there. */
    PUT_CODE(w, 3, PAGE - 4, 0x9002u << 16 | 0x0001); /* c.nop; c.ebreak */
    map(w, 1, CODE + 8 * PAGE, 3, "rx");
    start(w, CODE + 9 * PAGE - 4);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 9 * PAGE - 2);
    start(w, CODE + 9 * PAGE - 2);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 9 * PAGE - 2);
    world_free(w);
}

/* Calls, returns, loops over pages; the same addresses lead to other code in another space. */
static void test_contexts(const void *variant)
{
    struct world *w = small_world(variant);

    for (unsigned s = 0; s < 3; s++) {
        map(w, s, CODE, 10 * s + 20, "rx");
        map(w, s, CODE + PAGE, 10 * s + 21, "rx");
        map(w, s, CODE + 2 * PAGE, 10 * s + 22, "rx");
        map(w, s, DATA, 10 * s + 23, "rw");
        /* for (a1 = 50; a1; a1--) f(); f: a2 += g() + s; g: a3 = data[0]++ */
        PUT_CODE(w, 10 * s + 20, 0, ADDI(A1, ZERO, 50), JAL(RA, PAGE - 4), ADDI(A1, A1, -1),
                 BNE(A1, ZERO, -8), EBREAK);
        PUT_CODE(w, 10 * s + 21, 0, ADDI(SP, RA, 0), AUIPC(T0, 1), JALR(RA, T0, -4 + 0),
                 ADD(A2, A2, A3), ADDI(A2, A2, s), JALR(ZERO, SP, 0));
        PUT_CODE(w, 10 * s + 22, 0, LD(A3, A0, 0), ADDI(A4, A3, 1), SD(A4, A0, 0), RET);
    }
    for (unsigned i = 0; i < 12; i++) {
        unsigned s = i % 3, n = i / 3;

        w->space = s;
        dbt_tlb_switch(w->cpu, 1000 + s);
        w->cpu->r[A0] = DATA;
        w->cpu->r[A2] = 0;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 16);
        g_assert_cmpuint(w->cpu->r[A2], ==, 50 * s + 50 * 49 / 2 + n * 50 * 50);
        g_assert_cmpuint(peek(w, 10 * s + 23, 0), ==, 50 * (n + 1));
    }
    /* A page of code becomes another one, in one space. */
    map(w, 2, CODE + 2 * PAGE, 3, "rx");
    PUT_CODE(w, 3, 0, ADDI(A3, ZERO, 2), RET);
    dbt_tlb_flush_page(w->cpu, CODE + 2 * PAGE + 8);
    w->cpu->r[A2] = 0;
    start(w, CODE);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 16);
    g_assert_cmpuint(w->cpu->r[A2], ==, 50 * 4);
    w->space = 1;
    dbt_tlb_switch(w->cpu, 1001);
    w->cpu->r[A2] = 0;
    start(w, CODE);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 16);
    g_assert_cmpuint(w->cpu->r[A2], ==, 50 + 50 * 49 / 2 + 4 * 50 * 50);
    /* More contexts than are kept. */
    for (unsigned i = 0; i < 200; i++) {
        unsigned s = i * 7 % 3;

        w->space = s;
        dbt_tlb_switch(w->cpu, i * 0x100000001 + s);
        poke(w, 10 * s + 23, 0, 0);
        w->cpu->r[A2] = 0;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 16);
        g_assert_cmpuint(w->cpu->r[A2], ==, s == 2 ? 200 : 50 * s + 50 * 49 / 2);
    }
    world_free(w);
}

static void test_flushes(const void *variant)
{
    struct world *w = small_world(variant);

    PUT_CODE(w, 0, 0, LD(A1, A0, 0), EBREAK);
    poke(w, 8, 0, 1);
    poke(w, 9, 0, 2);
    for (unsigned i = 0; i < 4; i++) {
        w->space = 0;
        dbt_tlb_switch(w->cpu, 7);
        map(w, 0, DATA, 8, "rw");
        dbt_tlb_flush(w->cpu);
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 4);
        g_assert_cmpuint(w->cpu->r[A1], ==, 1);
        map(w, 0, DATA, 9, "rw");
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 4);
        g_assert_cmpuint(w->cpu->r[A1], ==, 1); /* it is still in the table */
        dbt_tlb_flush_context(w->cpu, 8);
        dbt_tlb_flush_page(w->cpu, DATA + PAGE);
        dbt_tlb_flush_contexts(w->cpu, 8, 12);
        dbt_tlb_flush_page_in(w->cpu, DATA, 8, 8);
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 4);
        g_assert_cmpuint(w->cpu->r[A1], ==, 1);
        switch (i) {
        case 0: dbt_tlb_flush_context(w->cpu, 7); break;
        case 1: dbt_tlb_flush_page(w->cpu, DATA + 123); break;
        case 2: dbt_tlb_request_flush(w->cpu); break;
        default: dbt_tlb_flush_page_in(w->cpu, DATA, 4, 12); break;
        }
        start(w, CODE);
        if (i == 2) { /* kicked */
            expect(w, VCPU_EXIT_INTERRUPT, CODE);
        }
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 4);
        g_assert_cmpuint(w->cpu->r[A1], ==, 2);
    }
    world_free(w);
}

/* A flush of one address takes out the whole large page, and nothing else. */
static void test_large_pages(const void *variant)
{
    struct world *w = small_world(variant);
    const uint64_t large = UINT64_C(0xffffffc000000000);

    for (unsigned i = 0; i < 512; i++) {
        map(w, 0, large + (uint64_t)i * PAGE, 512, "rw");
        find(w, 0, large + (uint64_t)i * PAGE)->size = 2 << 20;
        find(w, 0, large + (uint64_t)i * PAGE)->phys += (uint64_t)i * PAGE;
    }
    PUT_CODE(w, 0, 0, LD(A1, A0, 0), ADD(A2, A2, A1), ADD(A0, A0, A3), ADDI(A4, A4, -1),
             BNE(A4, ZERO, -16), EBREAK);
    for (unsigned i = 0; i < 512; i++) {
        poke(w, 512 + i, 0, i);
    }
    for (unsigned pass = 0; pass < 3; pass++) {
        unsigned before = w->translations;

        w->cpu->r[A0] = large;
        w->cpu->r[A2] = 0;
        w->cpu->r[A3] = PAGE;
        w->cpu->r[A4] = 512;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 20);
        g_assert_cmpuint(w->cpu->r[A2], ==, pass < 2 ? 511 * 512 / 2 : 512 * (700 - 512));
        if (pass == 1) { /* its code may have been flushed by then */
            g_assert_cmpuint(w->translations - before, <, 4);
            for (unsigned i = 0; i < 512; i++) {
                find(w, 0, large + (uint64_t)i * PAGE)->phys = RAM_BASE + 700 * PAGE;
            }
            dbt_tlb_flush_page(w->cpu, large + 77 * PAGE);
        }
    }
    world_free(w);
}

/* ---- Random remapping, against the table itself ---- */

enum { MODEL_PAGES = 24, MODEL_FRAMES = 16 };

static void test_random(const void *variant)
{
    struct world *w = small_world(variant);
    g_autoptr(GRand) r = g_rand_new_with_seed(20260101);
    struct vcpu *cpu = w->cpu;

    PUT_CODE(w, 0, 0, LD(A1, A0, 0), EBREAK);
    PUT_CODE(w, 0, 16, SD(A1, A0, 0), EBREAK);
    PUT_CODE(w, 0, 32, AMOADD_D(A2, A1, A0), EBREAK);
    for (unsigned s = 0; s < SPACES; s++) {
        map(w, s, CODE, 0, "rx");
    }
    for (unsigned i = 0; i < 60000; i++) {
        unsigned s = (unsigned)g_rand_int_range(r, 0, SPACES), what;
        uint64_t page = (uint64_t)g_rand_int_range(r, 0, MODEL_PAGES);
        /* Pages that collide in the table, too. */
        uint64_t vaddr = DATA + (page & 7) * PAGE + (page >> 3) * PAGE * 1024;
        const struct pte *pte;
        uint64_t *host, old, expected = 0, got;
        unsigned at;

        what = (unsigned)g_rand_int_range(r, 0, 20);
        if (what == 0) {
            static const char *const perms[] = {"r", "rw", "rw", "rw1", ""};
            map(w, s, vaddr, 900 + g_rand_int_range(r, 0, MODEL_FRAMES),
                perms[g_rand_int_range(r, 0, G_N_ELEMENTS(perms))]);
            if (g_rand_boolean(r)) {
                dbt_tlb_flush_page(cpu, vaddr);
            } else {
                dbt_tlb_flush_context(cpu, s);
            }
            continue;
        }
        w->space = s;
        dbt_tlb_switch(cpu, s);
        pte = find(w, s, vaddr);
        vaddr += (uint64_t)g_rand_int_range(r, 0, PAGE / 8) * 8;
        cpu->r[A0] = vaddr;
        cpu->r[A1] = got = g_rand_int(r);
        at = what % 3 * 16;
        start(w, CODE + at);
        if (!pte || !(at == 0 ? pte->read : pte->write)) {
            expect_fault(w, CODE + at, vaddr, at == 0 ? VCPU_READ : VCPU_WRITE);
            continue;
        }
        host = (uint64_t *)(w->ram + (pte->phys - RAM_BASE) + (vaddr & (PAGE - 1)));
        old = *host;
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + at + 4);
        switch (what % 3) {
        case 0:
            g_assert_cmphex(cpu->r[A1], ==, old);
            expected = old;
            break;
        case 1: expected = got; break;
        default:
            g_assert_cmphex(cpu->r[A2], ==, old);
            expected = old + got;
            break;
        }
        g_assert_cmphex(*host, ==, expected);
    }
    world_free(w);
}

/* ---- Several vCPUs ---- */

struct thread {
    struct world *w;
    struct vcpu *cpu;
    gint stop;
    uint64_t flushes;
};

static void *run_thread(void *opaque)
{
    struct thread *t = opaque;
    stack_t ss = {.ss_sp = g_malloc(65536), .ss_size = 65536};

    running = t->cpu;
    sigaltstack(&ss, NULL);
    while (!g_atomic_int_get(&t->stop)) {
        enum vcpu_exit r = dbt_run(t->cpu);

        if (r == VCPU_EXIT_BREAKPOINT) {
            break;
        }
        g_assert_cmpint(r, ==, VCPU_EXIT_INTERRUPT);
        t->flushes++;
    }
    ss.ss_flags = SS_DISABLE;
    sigaltstack(&ss, NULL);
    g_free(ss.ss_sp);
    running = NULL;
    return NULL;
}

/* A thread loops over loads; after a flush by request it must see the new page. */
static void test_request(const void *variant)
{
    struct world *w = small_world(variant);
    struct thread t = {.w = w, .cpu = w->cpu};
    pthread_t id;

    PUT_CODE(w, 0, 0, LD(A1, A0, 0), BEQ(A1, A2, -4), EBREAK);
    poke(w, 8, 0, 0);
    poke(w, 9, 0, 1);
    w->cpu->r[A2] = 0;
    start(w, CODE);
    pthread_create(&id, NULL, run_thread, &t);
    g_usleep(20000);
    /* The table itself is changed in place: its other reader is the vCPU's thread. */
    __atomic_store_n(&find(w, 0, DATA)->phys, RAM_BASE + 9 * PAGE, __ATOMIC_SEQ_CST);
    dbt_tlb_request_flush(w->cpu);
    pthread_join(id, NULL);
    g_assert_cmpuint(w->cpu->r[A1], ==, 1);
    world_free(w);
}

/*
 * One vCPU calls code that another one changes: a0 -> mailbox {go, done}. The writer stores an
 * instruction, then go; the runner executes fence.i and the code, then answers. Each answer must
 * be of the new code.
 */
static void test_modify_other(const void *variant)
{
    struct world *w = small_world(variant);
    struct vcpu *writer = new_vcpu(w);
    struct thread t[2] = {{.w = w, .cpu = w->cpu}, {.w = w, .cpu = writer}};
    pthread_t id[2];
    const unsigned rounds = w->variant->config.flush_every ? 20 : 2000;

    map(w, 0, CODE + PAGE, 1, "rx");
    map(w, 0, CODE + 2 * PAGE, 2, "rx");
    map(w, 0, DATA + PAGE, 1, "rw");
    /* runner: while (go == done); fence.i; call; done = a3 */
    PUT_CODE(w, 0, 0, LD(A1, A0, 0), BEQ(A1, A2, -4), FENCE_I, AUIPC(T0, 1), JALR(RA, T0, -12),
             ADDI(A2, A1, 0), SD(A3, A0, 64), SD(A1, A0, 128), BLTU(A1, A4, -32), EBREAK);
    PUT_CODE(w, 1, 0, ADDI(A3, ZERO, 0), RET);
    /* writer: code = addi a3, zero, n & 1023; go = n; while (done != n); check a3 */
    PUT_CODE(w, 2, 0, ADDI(A1, A1, 1), ANDI(A2, A1, 1023), SLLI(A5, A2, 20), OR(A5, A5, A6),
             SW(A5, A7, 0), SD(A1, A0, 0), LD(A3, A0, 128), BNE(A3, A1, -4), LD(A3, A0, 64),
             BNE(A3, A2, 12), BLTU(A1, A4, -40), EBREAK, ADDI(S1, ZERO, 1), EBREAK);
    w->cpu->r[A4] = writer->r[A4] = rounds;
    w->cpu->r[A2] = 0;
    writer->r[A0] = DATA;
    writer->r[A6] = ADDI(A3, ZERO, 0);
    writer->r[A7] = DATA + PAGE;
    writer->pc = CODE + 2 * PAGE;
    start(w, CODE);
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&id[i], NULL, run_thread, &t[i]);
    }
    pthread_join(id[1], NULL);
    g_atomic_int_set(&t[0].stop, 1);
    vcpu_kick(w->cpu);
    pthread_join(id[0], NULL);
    g_assert_cmpuint(writer->r[S1], ==, 0);
    g_assert_cmpuint(writer->r[A1], ==, rounds);
    dbt_vcpu_free(writer);
    world_free(w);
}

/* ---- Debugging ---- */

/* The access at pc meets the watchpoint, and is made once that is gone. */
static void expect_watch(struct world *w, uint64_t pc, uint64_t addr, enum vcpu_access access)
{
    expect(w, VCPU_EXIT_DEBUG, pc);
    g_assert_cmphex(w->cpu->fault_addr, ==, addr);
    g_assert_cmpint(w->cpu->fault_access, ==, access);
}

static void test_watchpoints(const void *variant)
{
    struct world *w = small_world(variant);

    PUT_CODE(w, 0, 0, LD(A1, A0, 8), SD(A1, A0, 16), LD(A2, A0, 16), AMOADD_D(ZERO, A1, A0),
             SB(A1, A0, 23), EBREAK);
    poke(w, 8, 8, 3);
    w->cpu->r[A0] = DATA;
    start(w, CODE);
    expect(w, VCPU_EXIT_BREAKPOINT, CODE + 20); /* all is in the table */
    poke(w, 8, 16, 0);
    dbt_watchpoint_add(w->dbt, DATA + 17, 2, VCPU_WRITE);
    start(w, CODE);
    expect(w, VCPU_EXIT_INTERRUPT, CODE); /* it is kicked, to notice */
    expect_watch(w, CODE + 4, DATA + 16, VCPU_WRITE);
    g_assert_cmphex(peek(w, 8, 16), ==, 0);
    expect_watch(w, CODE + 4, DATA + 16, VCPU_WRITE); /* still there */
    dbt_watchpoint_remove(w->dbt, DATA + 17, 2, VCPU_WRITE);
    dbt_watchpoint_add(w->dbt, DATA + 16, 8, VCPU_READ);
    dbt_watchpoint_add(w->dbt, DATA, 1, VCPU_READ);
    expect(w, VCPU_EXIT_INTERRUPT, CODE + 4);
    expect_watch(w, CODE + 8, DATA + 16, VCPU_READ);
    g_assert_cmphex(peek(w, 8, 16), ==, 3);
    w->cpu->pc = CODE + 12;
    expect_watch(w, CODE + 12, DATA, VCPU_READ); /* an atomic one reads, too */
    w->cpu->single_step = true;
    expect_watch(w, CODE + 12, DATA, VCPU_READ);
    w->cpu->single_step = false;
    dbt_watchpoint_remove(w->dbt, DATA + 16, 8, VCPU_READ);
    dbt_watchpoint_remove(w->dbt, DATA, 1, VCPU_READ);
    dbt_watchpoint_add(w->dbt, DATA + 23, 1, -1);
    expect(w, VCPU_EXIT_INTERRUPT, CODE + 12);
    expect_watch(w, CODE + 16, DATA + 23, VCPU_WRITE);
    world_free(w);
}

static void test_breakpoints(const void *variant)
{
    struct world *w = small_world(variant);

    PUT_CODE(w, 0, 0, ADDI(A1, A1, 1), ADDI(A2, A2, 1), EBREAK);
    for (unsigned i = 0; i < 2; i++) {
        w->cpu->r[A1] = w->cpu->r[A2] = 0;
        start(w, CODE);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 8);
        dbt_breakpoint_add(w->dbt, CODE + 4);
        start(w, CODE);
        expect(w, VCPU_EXIT_DEBUG, CODE + 4);
        expect(w, VCPU_EXIT_DEBUG, CODE + 4);
        g_assert_cmpuint(w->cpu->r[A1], ==, 2);
        g_assert_cmpuint(w->cpu->r[A2], ==, 1);
        dbt_breakpoint_remove(w->dbt, CODE + 4);
        expect(w, VCPU_EXIT_BREAKPOINT, CODE + 8);
        g_assert_cmpuint(w->cpu->r[A2], ==, 2);
    }
    world_free(w);
}

/* ---- */

static void add(const char *name, void (*fn)(const void *))
{
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autofree char *path = g_strdup_printf("/softmmu/%s/%s", variants[i].name, name);

        g_test_add_data_func(path, &variants[i], fn);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("access", test_access);
    add("faults", test_faults);
    add("end-of-addresses", test_end_of_addresses);
    add("crossing", test_crossing);
    add("atomics", test_atomics);
    add("device", test_device);
    add("once", test_once);
    add("modified-code", test_modified_code);
    add("instruction-crossing", test_instruction_crossing);
    add("contexts", test_contexts);
    add("flushes", test_flushes);
    add("large-pages", test_large_pages);
    add("random", test_random);
    add("request", test_request);
    add("modify-other", test_modify_other);
    add("watchpoints", test_watchpoints);
    add("breakpoints", test_breakpoints);
    return g_test_run();
}
