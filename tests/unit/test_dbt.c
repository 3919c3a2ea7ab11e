/*
 * The run loop and the code cache, on small RISC-V programs in memory: chaining, invalidation,
 * flushes, fork, debugging, calls and returns, faults. Each test runs with guest base 0 and with
 * another one.
 */
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dbt/dbt.h"
#include "guest/riscv/riscv.h"
#include "rv.h"

enum { MEMORY = 16 << 20, STACK = MEMORY - 4096, DATA = 12 << 20 };

struct world {
    uint8_t *host; /* MEMORY bytes of guest memory */
    uint64_t base; /* and their guest address */
    uint32_t *p;   /* where the next instruction is put */
    bool stable;   /* code doesn't change without dbt_invalidate */
    struct dbt *dbt;
    struct riscv_model *model;
    struct vcpu *cpu;
};

/* ---- Set-up ---- */

static __thread struct vcpu *running;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    if (!running || !dbt_handle_fault(running, info, context)) {
        signal(sig, SIG_DFL);
    }
}

/* For each thread that runs a vCPU. */
static void catch_faults(void)
{
    stack_t ss = {.ss_sp = g_malloc(65536), .ss_size = 65536};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    g_assert_cmpint(sigaltstack(&ss, NULL), ==, 0);
    g_assert_cmpint(sigaction(SIGSEGV, &sa, NULL), ==, 0);
    g_assert_cmpint(sigaction(SIGBUS, &sa, NULL), ==, 0);
}

static void release_fault_stack(void)
{
    stack_t off = {.ss_flags = SS_DISABLE}, old;

    sigaltstack(&off, &old);
    g_free(old.ss_sp);
}

static size_t fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    const struct world *w = opaque;
    uint64_t offset = pc - w->base;

    *stable = w->stable;
    if (offset >= MEMORY) {
        return 0;
    }
    size = MIN(size, MEMORY - offset);
    memcpy(buf, w->host + offset, size);
    return size;
}

static struct vcpu *new_vcpu(struct world *w)
{
    struct vcpu *cpu = dbt_vcpu_new(w->dbt, w->model);

    g_assert_nonnull(cpu);
    cpu->pc = w->base;
    cpu->r[SP] = w->base + STACK;
    cpu->r[GP] = w->base + DATA;
    return cpu;
}

/* [how]: NULL for guest base 0. [config] may be NULL. */
static struct world *world_new(const void *how, const struct dbt_config *config)
{
    struct world *w = g_new0(struct world, 1);
    struct dbt_config c = {0};
    g_autoptr(GError) error = NULL;

    w->host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(w->host != MAP_FAILED);
    w->base = how ? 0x10000 : (uintptr_t)w->host;
    w->p = (uint32_t *)w->host;
    w->stable = true;
    if (config) {
        c = *config;
    }
    c.arch = &riscv64_arch;
    c.guest_base = (uintptr_t)w->host - w->base;
    c.fetch = fetch;
    c.opaque = w;
    c.verify = true;
    if (!c.cache_size) {
        c.cache_size = 4 << 20;
    }
    w->dbt = dbt_new(&c, &error);
    g_assert_no_error(error);
    w->model = riscv_model_parse("rv64", &error);
    g_assert_no_error(error);
    w->cpu = new_vcpu(w);
    catch_faults();
    return w;
}

static void world_free(struct world *w)
{
    release_fault_stack();
    dbt_vcpu_free(w->cpu);
    dbt_free(w->dbt);
    riscv_model_free(w->model);
    munmap(w->host, MEMORY);
    g_free(w);
}

static void emit(struct world *w, uint32_t insn)
{
    *w->p++ = insn;
}

#define EMIT(w, ...)                                           \
    do {                                                       \
        const uint32_t insns_[] = {__VA_ARGS__};               \
        for (unsigned i_ = 0; i_ < G_N_ELEMENTS(insns_); i_++) \
            emit((w), insns_[i_]);                             \
    } while (0)

static uint64_t guest_address(const struct world *w, const void *p)
{
    return w->base + (uint64_t)((const uint8_t *)p - w->host);
}

static uint64_t here(const struct world *w)
{
    return guest_address(w, w->p);
}

static enum vcpu_exit run_vcpu(struct vcpu *cpu)
{
    enum vcpu_exit r;

    running = cpu;
    r = dbt_run(cpu);
    running = NULL;
    return r;
}

/* Until something but an interrupt happens. */
static enum vcpu_exit run(struct world *w)
{
    enum vcpu_exit r;

    do {
        r = run_vcpu(w->cpu);
    } while (r == VCPU_EXIT_INTERRUPT);
    return r;
}

static void run_to_ecall(struct world *w)
{
    g_assert_cmpint(run(w), ==, VCPU_EXIT_SYSCALL);
}

static void restart(struct world *w, uint64_t pc)
{
    w->cpu->pc = pc;
}

static struct dbt_stats stats(const struct world *w)
{
    struct dbt_stats s;

    dbt_get_stats(w->dbt, &s);
    return s;
}

/* ---- Chaining ---- */

/* a0 = sum of a0 .. 1, through a function: branches, calls, returns. */
static void emit_sum(struct world *w)
{
    EMIT(w, ADDI(A1, ZERO, 0),
         /* loop: */ JAL(RA, 16), ADDI(A0, A0, -1), BNE(A0, ZERO, -8), ECALL,
         /* function: */ ADD(A1, A1, A0), RET);
}

static void check_sum(const struct dbt_config *config, const void *how)
{
    struct world *w = world_new(how, config);

    emit_sum(w);
    w->cpu->r[A0] = 1000;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 500500);
    g_assert_cmphex(w->cpu->pc, ==, w->base + 20);
    world_free(w);
}

static void test_chaining(const void *how)
{
    struct world *w = world_new(how, NULL);
    struct dbt_stats s;
    gint64 start;

    emit_sum(w);
    w->cpu->r[A0] = 20000000;
    start = g_get_monotonic_time();
    run_to_ecall(w);
    /* Leaving translated code each time would take a second. */
    g_test_message("%" G_GINT64_FORMAT " us", g_get_monotonic_time() - start);
    g_assert_cmpuint(w->cpu->r[A1], ==, UINT64_C(20000000) * 20000001 / 2);
    s = stats(w);
    g_assert_cmpuint(s.blocks, <=, 6);
    g_assert_cmpuint(s.flushes, ==, 0);
    world_free(w);
}

static void test_configs(const void *how)
{
    const struct dbt_config configs[] = {
        {.interpreter = true}, {.lockstep = true},      {.flush_every = 1}, {.flush_every = 3},
        {.poll_always = true}, {.one_insn = true},      {.no_chain = true}, {.max_insns = 2},
        {.far_paths = true},   {.cache_size = 1 << 20},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(configs); i++) {
        check_sum(&configs[i], how);
    }
}

/* ---- Changing code ---- */

/* A loop that calls a function whose result changes; it is linked to by a jump. */
static void test_invalidate(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint32_t *function;

    EMIT(w, /* loop: */ JAL(RA, 12), ECALL, JAL(ZERO, -8));
    function = w->p;
    EMIT(w, ADDI(A0, ZERO, 0), RET);
    for (int i = 0; i < 300; i++) {
        if (i % 3 == 0) { /* else the old code is still right */
            *function = ADDI(A0, ZERO, i);
            dbt_invalidate(w->dbt, guest_address(w, function), 4);
        }
        run_to_ecall(w);
        g_assert_cmpuint(w->cpu->r[A0], ==, i - i % 3);
    }
    g_assert_cmpuint(stats(w).invalidations, >=, 99);
    world_free(w);
}

/* The same by way of a register: the jump cache knows the function. */
static void test_invalidate_indirect(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint32_t *function;

    EMIT(w, /* loop: */ JALR(RA, S0, 0), ECALL, JAL(ZERO, -8));
    function = w->p;
    EMIT(w, ADDI(A0, ZERO, 0), RET);
    w->cpu->r[S0] = guest_address(w, function);
    for (int i = 0; i < 300; i++) {
        *function = ADDI(A0, ZERO, i);
        dbt_invalidate(w->dbt, guest_address(w, function), 4);
        run_to_ecall(w);
        g_assert_cmpuint(w->cpu->r[A0], ==, i);
    }
    world_free(w);
}

/* The code that a function returns to changes while the function runs: what the return-prediction
 * stack holds is stale. */
static void test_invalidate_caller(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint32_t *after;

    EMIT(w, /* loop: */ JAL(RA, 20));
    after = w->p;
    EMIT(w, ADDI(A0, ZERO, 0), ECALL, JAL(ZERO, -12), NOP, /* function: */ ECALL, RET);
    for (int i = 0; i < 200; i++) {
        run_to_ecall(w);
        g_assert_cmphex(w->cpu->pc, ==, w->base + 24);
        *after = ADDI(A0, ZERO, i);
        dbt_invalidate(w->dbt, w->base, 20);
        run_to_ecall(w);
        g_assert_cmphex(w->cpu->pc, ==, w->base + 12);
        g_assert_cmpuint(w->cpu->r[A0], ==, i);
    }
    world_free(w);
}

static void test_invalidate_all(const void *how)
{
    struct world *w = world_new(how, NULL);

    emit_sum(w);
    for (unsigned i = 0; i < 20; i++) {
        restart(w, w->base);
        w->cpu->r[A0] = 10;
        run_to_ecall(w);
        g_assert_cmpuint(w->cpu->r[A1], ==, 55);
        dbt_invalidate(w->dbt, i % 2 ? 0 : w->base & ~UINT64_C(4095), UINT64_C(1) << 46);
    }
    dbt_invalidate(w->dbt, w->base, 0);
    world_free(w);
}

/* The guest writes its own code, then fence.i. */
static void test_fence_i(const void *how)
{
    struct world *w = world_new(how, NULL);
    struct vcpu *cpu = w->cpu;
    uint32_t *function;

    w->stable = false;
    EMIT(w, /* loop: */ SW(A2, S0, 0), FENCE_I, JALR(RA, S0, 0), ADD(A1, A1, A0), ADD(A2, A2, A3),
         ADDI(A4, A4, -1), BNE(A4, ZERO, -24), ECALL);
    function = w->p;
    EMIT(w, 0, RET);
    cpu->r[S0] = guest_address(w, function);
    cpu->r[A2] = ADDI(A0, ZERO, 1);
    cpu->r[A3] = 1 << 20; /* the immediate grows by one */
    cpu->r[A4] = 1000;
    run_to_ecall(w);
    g_assert_cmpuint(cpu->r[A1], ==, 500500);
    world_free(w);
}

/* ---- A full cache ---- */

enum { BIG_BLOCKS = 12000 };

/* Many blocks, each a jump to the next: they add 1 to a0. */
static uint64_t emit_big(struct world *w)
{
    uint64_t start = here(w);

    for (unsigned i = 0; i < BIG_BLOCKS; i++) {
        EMIT(w, ADDI(A0, A0, 1), BEQ(A0, ZERO, 8), BEQ(ZERO, A1, 4), ADDI(A2, A0, 5));
    }
    EMIT(w, BNE(A0, A3, 8), ECALL, JALR(ZERO, S0, 0));
    return start;
}

static void test_full_cache(const void *how)
{
    struct dbt_config config = {.cache_size = 1 << 20};
    struct world *w = world_new(how, &config);

    w->cpu->r[S0] = emit_big(w);
    w->cpu->r[A3] = 5 * BIG_BLOCKS;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A0], ==, 5 * BIG_BLOCKS);
    g_assert_cmpuint(stats(w).flushes, >=, 2);
    world_free(w);
}

struct other {
    struct world *w;
    struct vcpu *cpu;
    bool stop;
    uint64_t runs, wrong;
};

/* Sums again and again. */
static void *run_other(void *opaque)
{
    struct other *o = opaque;

    catch_faults();
    while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE)) {
        enum vcpu_exit r;

        o->cpu->pc = o->w->base;
        o->cpu->r[A0] = 1000;
        do {
            r = run_vcpu(o->cpu);
        } while (r == VCPU_EXIT_INTERRUPT);
        o->runs++;
        o->wrong += r != VCPU_EXIT_SYSCALL || o->cpu->r[A1] != 500500;
    }
    release_fault_stack();
    return NULL;
}

/* One vCPU fills the cache again and again while others run loops, calls and returns. */
static void test_flush_threads(const void *how)
{
    struct dbt_config config = {.cache_size = 1 << 20};
    struct world *w = world_new(how, &config);
    struct other others[2] = {{.w = w}, {.w = w}};
    pthread_t threads[2];
    uint64_t big;

    emit_sum(w);
    big = emit_big(w);
    for (unsigned i = 0; i < 2; i++) {
        others[i].cpu = new_vcpu(w);
        pthread_create(&threads[i], NULL, run_other, &others[i]);
    }
    w->cpu->r[S0] = big;
    w->cpu->r[A3] = 5 * BIG_BLOCKS;
    restart(w, big);
    run_to_ecall(w);
    for (unsigned i = 0; i < 50; i++) {
        dbt_invalidate(w->dbt, w->base, MEMORY);
        g_usleep(1000);
    }
    for (unsigned i = 0; i < 2; i++) {
        __atomic_store_n(&others[i].stop, true, __ATOMIC_RELEASE);
        pthread_join(threads[i], NULL);
        dbt_vcpu_free(others[i].cpu);
        g_assert_cmpuint(others[i].wrong, ==, 0);
        g_assert_cmpuint(others[i].runs, >, 10);
    }
    g_assert_cmpuint(w->cpu->r[A0], ==, 5 * BIG_BLOCKS);
    g_assert_cmpuint(stats(w).flushes, >=, 2);
    world_free(w);
}

/* ---- Fork ---- */

static void test_fork(const void *how)
{
    struct world *w = world_new(how, NULL);
    int status;
    pid_t pid;

    EMIT(w, /* loop: */ JAL(RA, 12), ECALL, JAL(ZERO, -8), /* function: */ ADDI(A0, A0, 1), RET);
    for (unsigned i = 0; i < 3; i++) {
        run_to_ecall(w);
    }
    dbt_before_fork(w->dbt);
    pid = fork();
    dbt_after_fork(w->dbt, w->cpu, pid == 0);
    if (pid == 0) { /* the child has other code, and other blocks */
        ((uint32_t *)w->host)[3] = ADDI(A0, A0, 10);
        dbt_invalidate(w->dbt, w->base + 12, 4);
        for (unsigned i = 0; i < 3; i++) {
            if (run(w) != VCPU_EXIT_SYSCALL) {
                _exit(100);
            }
        }
        _exit((int)w->cpu->r[A0]);
    }
    g_assert_cmpint(pid, >, 0);
    for (unsigned i = 0; i < 3; i++) {
        run_to_ecall(w);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 33);
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A0], ==, 7);
    world_free(w);
}

/* ---- Debugging ---- */

static void test_breakpoint(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint64_t at = w->base + 20; /* the function */

    emit_sum(w);
    w->cpu->r[A0] = 5;
    dbt_breakpoint_add(w->dbt, w->base + 8);
    g_assert_cmpint(run(w), ==, VCPU_EXIT_DEBUG);
    g_assert_cmphex(w->cpu->pc, ==, w->base + 8);
    g_assert_cmpint(run(w), ==, VCPU_EXIT_DEBUG); /* still there */
    g_assert_cmphex(w->cpu->pc, ==, w->base + 8);
    dbt_breakpoint_add(w->dbt, at);
    dbt_breakpoint_remove(w->dbt, w->base + 8);
    g_assert_cmpint(run(w), ==, VCPU_EXIT_DEBUG);
    g_assert_cmphex(w->cpu->pc, ==, at);
    g_assert_cmpuint(w->cpu->r[A0], ==, 4);
    g_assert_cmpuint(w->cpu->r[A1], ==, 5);
    dbt_breakpoint_remove(w->dbt, at);
    dbt_breakpoint_remove(w->dbt, at);
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 15);
    world_free(w);
}

static void test_watchpoint(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint64_t data = w->cpu->r[GP];

    EMIT(w, /* loop: */ LD(A1, GP, 0), ADDI(A1, A1, 1), SD(A1, GP, 0), ADDI(A0, A0, -1),
         BNE(A0, ZERO, -16), ECALL);
    w->cpu->r[A0] = 3;
    dbt_watchpoint_add(w->dbt, data + 4, 1, VCPU_WRITE);
    g_assert_cmpint(run(w), ==, VCPU_EXIT_DEBUG);
    g_assert_cmphex(w->cpu->pc, ==, w->base + 12);
    g_assert_cmphex(w->cpu->fault_addr, ==, data);
    g_assert_cmpint(w->cpu->fault_access, ==, VCPU_WRITE);
    dbt_watchpoint_remove(w->dbt, data + 4, 1, VCPU_WRITE);
    dbt_watchpoint_add(w->dbt, data, 8, -1);
    g_assert_cmpint(run(w), ==, VCPU_EXIT_DEBUG);
    g_assert_cmphex(w->cpu->pc, ==, w->base + 4);
    g_assert_cmpint(w->cpu->fault_access, ==, VCPU_READ);
    dbt_watchpoint_add(w->dbt, data + 8, 8, VCPU_READ);
    dbt_watchpoint_remove(w->dbt, data, 8, -1);
    run_to_ecall(w);
    dbt_watchpoint_remove(w->dbt, data + 8, 8, VCPU_READ);
    g_assert_cmpuint(*(uint64_t *)(w->host + DATA), ==, 3);
    world_free(w);
}

static void test_single_step(const void *how)
{
    struct world *w = world_new(how, NULL);
    unsigned steps = 0;

    emit_sum(w);
    w->cpu->r[A0] = 7;
    w->cpu->single_step = true;
    for (;;) {
        uint64_t pc = w->cpu->pc;
        enum vcpu_exit r = run(w);

        steps++;
        if (r == VCPU_EXIT_SYSCALL) {
            break;
        }
        g_assert_cmpint(r, ==, VCPU_EXIT_DEBUG);
        g_assert_cmphex(w->cpu->pc, !=, pc);
    }
    g_assert_cmpuint(steps, ==, 1 + 7 * 5 + 1);
    g_assert_cmpuint(w->cpu->r[A1], ==, 28);
    w->cpu->single_step = false;
    restart(w, w->base);
    w->cpu->r[A0] = 7;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 28);
    world_free(w);
}

static uint64_t answer(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->r[A0] = cpu->r[A1] * 2 + 1;
    return 0;
}

static void test_intrinsic(const void *how)
{
    static const struct ir_helper helper = {"answer", answer, IR_HELPER_SYNC};
    struct world *w = world_new(how, NULL);

    EMIT(w, /* loop: */ JAL(RA, 12), ECALL, JAL(ZERO, -8), /* function: */ ADDI(A0, ZERO, 1), RET);
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A0], ==, 1);
    dbt_add_intrinsic(w->dbt, w->base + 12, &helper, RA);
    for (unsigned i = 0; i < 5; i++) {
        w->cpu->r[A1] = i;
        run_to_ecall(w);
        g_assert_cmpuint(w->cpu->r[A0], ==, 2 * i + 1);
    }
    world_free(w);
}

/* ---- Polling ---- */

static void *kick_soon(void *opaque)
{
    g_usleep(20000);
    vcpu_kick(opaque);
    return NULL;
}

/* Every loop must let itself be interrupted. */
static void check_kick(struct world *w, uint64_t pc)
{
    for (unsigned i = 0; i < 3; i++) {
        gint64 start = g_get_monotonic_time();
        pthread_t thread;

        if (i < 2) {
            restart(w, pc);
        }
        pthread_create(&thread, NULL, kick_soon, w->cpu);
        g_assert_cmpint(run_vcpu(w->cpu), ==, VCPU_EXIT_INTERRUPT);
        pthread_join(thread, NULL);
        g_assert_cmpint(g_get_monotonic_time() - start, <, 5000000);
    }
}

static void test_kick(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint64_t start;

    start = here(w);
    EMIT(w, JAL(ZERO, 0));
    check_kick(w, start);
    start = here(w);
    EMIT(w, ADDI(A0, A0, 1), BNE(ZERO, SP, -4));
    check_kick(w, start);
    start = here(w); /* through a register */
    EMIT(w, ADDI(A0, A0, 1), JALR(ZERO, S0, 0));
    w->cpu->r[S0] = start;
    check_kick(w, start);
    start = here(w); /* a function that calls itself: also overflows the prediction stack */
    EMIT(w, JAL(RA, 0));
    check_kick(w, start);
    start = here(w); /* the same through a register */
    EMIT(w, JALR(RA, S0, 0));
    w->cpu->r[S0] = start;
    check_kick(w, start);
    start = here(w); /* call forward, return backward */
    EMIT(w, JAL(RA, 8), JAL(ZERO, -4), RET);
    check_kick(w, start);
    start = here(w); /* returns to where nobody called from */
    EMIT(w, ADDI(RA, S0, 0), RET);
    w->cpu->r[S0] = start;
    check_kick(w, start);
    start = here(w); /* waits */
    EMIT(w, LW(A0, GP, 0), BEQ(A0, ZERO, -4));
    check_kick(w, start);
    world_free(w);
}

/* ---- Calls and returns ---- */

/* f(a0) = a0 ? 1 + f(a0 - 1) : 0, deeper than the prediction stack. */
static void test_deep_recursion(const void *how)
{
    struct world *w = world_new(how, NULL);

    EMIT(w, JAL(RA, 8), ECALL,
         /* f: */ BNE(A0, ZERO, 8), RET, ADDI(SP, SP, -16), SD(RA, SP, 0), ADDI(A0, A0, -1),
         JAL(RA, -20), ADDI(A0, A0, 1), LD(RA, SP, 0), ADDI(SP, SP, 16), RET);
    for (unsigned depth = 10; depth < 150000; depth = depth * 3 + 1) {
        restart(w, w->base);
        w->cpu->r[A0] = depth;
        run_to_ecall(w);
        g_assert_cmpuint(w->cpu->r[A0], ==, depth);
        g_assert_cmphex(w->cpu->r[SP], ==, w->base + STACK);
    }
    world_free(w);
}

/* A function that is called deep inside returns to the outermost caller. */
static void test_long_jump(const void *how)
{
    struct world *w = world_new(how, NULL);

    EMIT(w, /* loop: */ JAL(RA, 20), ADDI(A0, A0, -1), BNE(A0, ZERO, -8), ECALL, NOP,
         /* f: */ ADDI(S1, RA, 0), JAL(RA, 8), EBREAK, JAL(RA, 8), EBREAK, ADDI(A1, A1, 1),
         /* back to f's caller */ JALR(ZERO, S1, 0));
    w->cpu->r[A0] = 100000;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 100000);
    world_free(w);
}

/* Returns by way of ra to the instruction behind the one that the caller means. */
static void test_changed_return(const void *how)
{
    struct world *w = world_new(how, NULL);

    EMIT(w, /* loop: */ JAL(RA, 24), EBREAK, ADDI(A0, A0, -1), BNE(A0, ZERO, -12), ECALL, NOP,
         /* f: */ ADDI(RA, RA, 4), ADDI(A1, A1, 1), RET);
    w->cpu->r[A0] = 100000;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 100000);
    world_free(w);
}

/* Two routines that switch stacks: each return goes to the other one. */
static void test_coroutines(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint64_t second;

    /* switch: s1 is where the other one waits. */
    EMIT(w, JAL(ZERO, 20),
         /* switch: */ ADDI(T0, RA, 0), ADDI(RA, S1, 0), ADDI(S1, T0, 0), RET,
         /* first: */ JAL(RA, -16), ADDI(A0, A0, -1), BNE(A0, ZERO, -8), ECALL);
    second = here(w);
    EMIT(w, ADDI(A1, A1, 1), JAL(RA, -36), JAL(ZERO, -8));
    w->cpu->r[S1] = second;
    w->cpu->r[A0] = 50000;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 50000);
    world_free(w);
}

/* ---- Indirect jumps ---- */

/* Targets that have the same place in the jump cache, and odd ones. */
static void test_jump_cache(const void *how)
{
    struct world *w = world_new(how, NULL);
    uint64_t distance = 2 * VCPU_JUMP_CACHE_SIZE;
    uint32_t *targets[3];

    EMIT(w, /* loop: */ JALR(RA, S0, 0), JALR(RA, S1, 0), JALR(RA, S2, 0), ADDI(A0, A0, -1),
         BNE(A0, ZERO, -16), ECALL);
    for (int i = 0; i < 3; i++) {
        targets[i] = (uint32_t *)(w->host + (uint64_t)(i + 1) * distance);
        targets[i][0] = ADDI(A1, A1, 1 << (4 * i));
        targets[i][1] = RET;
    }
    w->cpu->r[S0] = guest_address(w, targets[0]);
    w->cpu->r[S1] = guest_address(w, targets[1]) | 1;
    w->cpu->r[S2] = guest_address(w, targets[2]);
    w->cpu->r[A0] = 10000;
    run_to_ecall(w);
    g_assert_cmpuint(w->cpu->r[A1], ==, 0x111 * 10000);
    world_free(w);
}

static void check_wild_jump(struct world *w, uint64_t target, uint32_t insn)
{
    uint64_t start = here(w);

    EMIT(w, insn);
    dbt_invalidate(w->dbt, start, 4);
    for (unsigned i = 0; i < 3; i++) {
        restart(w, start);
        w->cpu->r[S0] = w->cpu->r[RA] = target;
        g_assert_cmpint(run(w), ==, VCPU_EXIT_FAULT);
        g_assert_cmphex(w->cpu->pc, ==, target & ~UINT64_C(1));
        g_assert_cmphex(w->cpu->fault_addr, ==, target & ~UINT64_C(1));
        g_assert_cmpint(w->cpu->fault_access, ==, VCPU_FETCH);
    }
}

static void test_wild_jumps(const void *how)
{
    static const uint64_t targets[] = {
        0,
        1,
        2,
        3,
        5,
        0x7fffffffffff,
        0x800000000000,
        0x8000000000000000,
        UINT64_MAX,
        UINT64_MAX - 1,
        0x9e3779b97f4a7c15,
    };
    struct world *w = world_new(how, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(targets); i++) {
        check_wild_jump(w, targets[i], JALR(ZERO, S0, 0));
        check_wild_jump(w, targets[i], JALR(RA, S0, 0));
        check_wild_jump(w, targets[i], RET);
    }
    world_free(w);
}

/* ---- Modes ---- */

/* One third in each rounding mode, by the dynamic mode in a loop. */
static void test_modes(const void *how)
{
    static const uint64_t third[] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555555,
                                     0x3fd5555555555556, 0x3fd5555555555555};
    struct world *w = world_new(how, NULL);
    struct vcpu *cpu = w->cpu;

    EMIT(w, ADDI(A0, ZERO, 1), FCVT_D_L(0, A0), ADDI(A0, ZERO, 3), FCVT_D_L(1, A0),
         /* loop: */ FSRM(A1), FDIV_D(2, 0, 1), FMV_X_D(A2, 2), FRFLAGS(A3), ECALL, JAL(ZERO, -20));
    for (unsigned i = 0; i < 50; i++) {
        cpu->r[A1] = i % 5;
        run_to_ecall(w);
        g_assert_cmphex(cpu->r[A2], ==, third[i % 5]);
        g_assert_cmpuint(cpu->r[A3], ==, IR_FLAG_NX);
        g_assert_cmpuint(cpu->mode, ==, i % 5);
        g_assert_cmpuint(dbt_fp_flags_get(cpu), ==, IR_FLAG_NX);
    }
    cpu->r[A1] = 5; /* reserved: operations with the dynamic mode are illegal */
    g_assert_cmpint(run(w), ==, VCPU_EXIT_ILLEGAL);
    g_assert_cmphex(cpu->pc, ==, w->base + 20);
    world_free(w);
}

/* ---- Faults ---- */

static void check_fault(struct world *w, uint64_t addr, bool write, enum vcpu_fault_kind kind)
{
    w->cpu->r[S0] = addr - 16;
    w->cpu->r[A1] = 0x1234;
    restart(w, w->base + (write ? 12 : 0));
    g_assert_cmpint(run(w), ==, VCPU_EXIT_FAULT);
    g_assert_cmphex(w->cpu->pc, ==, w->base + (write ? 16 : 4));
    g_assert_cmphex(w->cpu->fault_addr, ==, addr);
    g_assert_cmpint(w->cpu->fault_kind, ==, kind);
    g_assert_cmpint(w->cpu->fault_access, ==, write ? VCPU_WRITE : VCPU_READ);
    g_assert_cmphex(w->cpu->r[A1], ==, 0x1235);
}

static void test_faults(const void *how)
{
    static const uint64_t wild[] = {0x800000000000, 0x8000000000000000, 0x7fffffffffffffff,
                                    0xffff7fffffffffff, 0xff00000000000010};
    struct world *w = world_new(how, NULL);

    EMIT(w, ADDI(A1, A1, 1), LD(A1, S0, 16), ECALL, ADDI(A1, A1, 1), SD(A1, S0, 16), ECALL);
    for (unsigned k = 0; k < 2; k++) {
        mprotect(w->host + DATA, 4096, PROT_NONE);
        check_fault(w, w->base + DATA, k, VCPU_FAULT_PROT);
        check_fault(w, w->base + DATA + 4088, k, VCPU_FAULT_PROT);
        munmap(w->host + DATA, 4096);
        check_fault(w, w->base + DATA + 8, k, VCPU_FAULT_UNMAPPED);
        mmap(w->host + DATA, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0);
        for (unsigned i = 0; i < G_N_ELEMENTS(wild); i++) {
            check_fault(w, wild[i], k, VCPU_FAULT_UNMAPPED);
        }
    }
    mprotect(w->host + DATA, 4096, PROT_READ);
    check_fault(w, w->base + DATA, true, VCPU_FAULT_PROT);
    w->cpu->r[S0] = w->base + DATA - 16;
    restart(w, w->base);
    run_to_ecall(w);
    world_free(w);
}

/* ---- Lockstep ---- */

/* Says that it depends on its arguments only, and doesn't. */
static uint64_t different(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return cpu->scratch[3]++;
}

static enum lift_result lift_different(struct lift_ctx *ctx)
{
    static const struct ir_helper helper = {"different", different, IR_HELPER_PURE};
    ir_insn(ctx->u, ctx->pc, 4);
    ir_put(ctx->u, A0, ir_helper(ctx->u, IR_I64, &helper, 0, 0, 0, 0));
    ir_exit(ctx->u, VCPU_EXIT_SYSCALL, ctx->pc + 4);
    return LIFT_END;
}

static void test_lockstep(const void *how)
{
    struct guest_arch arch = riscv64_arch;
    struct dbt_config config = {.lockstep = true, .log_file = stdout};
    struct world *w;

    if (g_test_subprocess()) {
        w = world_new(how, &config);
        g_assert_null(dbt_vcpu_new(w->dbt, w->model)); /* only one */
        dbt_vcpu_free(w->cpu);
        dbt_free(w->dbt);
        arch.lift = lift_different;
        config.arch = &arch;
        config.guest_base = (uintptr_t)w->host - w->base;
        config.cache_size = 1 << 20;
        config.fetch = fetch;
        config.opaque = w;
        w->dbt = dbt_new(&config, NULL);
        w->cpu = new_vcpu(w);
        run(w);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stdout(
        "*one thread*internal error: host code and interpreter differ*a0 *<--*");
}

static const struct {
    const char *name;
    void (*function)(const void *how);
} tests[] = {
    {"chaining", test_chaining},
    {"configs", test_configs},
    {"invalidate", test_invalidate},
    {"invalidate-indirect", test_invalidate_indirect},
    {"invalidate-caller", test_invalidate_caller},
    {"invalidate-all", test_invalidate_all},
    {"fence-i", test_fence_i},
    {"full-cache", test_full_cache},
    {"flush-threads", test_flush_threads},
    {"fork", test_fork},
    {"breakpoint", test_breakpoint},
    {"watchpoint", test_watchpoint},
    {"single-step", test_single_step},
    {"intrinsic", test_intrinsic},
    {"kick", test_kick},
    {"deep-recursion", test_deep_recursion},
    {"long-jump", test_long_jump},
    {"changed-return", test_changed_return},
    {"coroutines", test_coroutines},
    {"jump-cache", test_jump_cache},
    {"wild-jumps", test_wild_jumps},
    {"modes", test_modes},
    {"faults", test_faults},
    {"lockstep", test_lockstep},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *zero = g_strdup_printf("/dbt/base-0/%s", tests[i].name);
        g_autofree char *other = g_strdup_printf("/dbt/base-other/%s", tests[i].name);

        g_test_add_data_func(zero, NULL, tests[i].function);
        g_test_add_data_func(other, "other", tests[i].function);
    }
    return g_test_run();
}
