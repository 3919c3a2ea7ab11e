/*
 * What other processes do to the translator: children that inherit code, children that share memory
 * and are killed anywhere, perf's files.
 */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dbt/dbt.h"
#include "guest/riscv/riscv.h"
#include "rv.h"

enum { MEMORY = 16 << 20, LARGE_CODE = 12 << 20, CHILD_STACK = 256 << 10 };

struct world {
    uint8_t *host; /* MEMORY bytes; guest addresses are the host's */
    struct dbt *dbt;
    struct riscv_model *model;
    struct vcpu *cpu;
    bool die_in_fetch;
};

static size_t fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    const struct world *w = opaque;
    uint64_t offset = pc - (uintptr_t)w->host;

    if (w->die_in_fetch) {
        syscall(SYS_exit, 0); /* in the middle of a translation */
    }
    *stable = true;
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
    cpu->pc = (uintptr_t)w->host;
    return cpu;
}

static void world_init(struct world *w, const struct dbt_config *config)
{
    struct dbt_config c = *config;
    g_autoptr(GError) error = NULL;

    *w = (struct world){0};
    w->host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(w->host != MAP_FAILED);
    c.arch = &riscv64_arch;
    c.fetch = fetch;
    c.opaque = w;
    w->dbt = dbt_new(&c, &error);
    g_assert_no_error(error);
    w->model = riscv_model_parse("rv64", &error);
    g_assert_no_error(error);
    w->cpu = new_vcpu(w);
}

static void world_clear(struct world *w)
{
    dbt_vcpu_free(w->cpu);
    dbt_free(w->dbt);
    riscv_model_free(w->model);
    munmap(w->host, MEMORY);
}

static struct dbt_stats stats(const struct world *w)
{
    struct dbt_stats s;

    dbt_get_stats(w->dbt, &s);
    return s;
}

/* From the start to the ECALL: false if it doesn't get there. */
static bool run(struct world *w)
{
    enum vcpu_exit r;

    w->cpu->pc = (uintptr_t)w->host;
    w->cpu->r[A1] = 1;
    do {
        r = dbt_run(w->cpu);
    } while (r == VCPU_EXIT_INTERRUPT);
    return r == VCPU_EXIT_SYSCALL;
}

/* [n] bytes of code that adds 1 to a0 for each instruction, up to the ECALL. */
static void put_code(struct world *w, size_t n)
{
    uint32_t *p = (uint32_t *)w->host;

    for (size_t i = 0; i < n / 4; i++) {
        p[i] = ADD(A0, A0, A1); /* which isn't folded */
    }
    p[n / 4] = ECALL;
}

static pid_t do_fork(struct world *w)
{
    pid_t pid;

    dbt_before_fork(w->dbt);
    pid = fork();
    dbt_after_fork(w->dbt, w->cpu, pid == 0);
    g_assert_cmpint(pid, >=, 0);
    return pid;
}

static void wait_for(pid_t pid, int expected)
{
    int status;

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, expected);
}

/* ---- Fork ---- */

/* The child runs what was translated, adds to it and changes it; the parent's stays as it is. */
static void check_inherited(size_t size, bool inherits)
{
    const struct dbt_config config = {.cache_size = 64 << 20};
    struct world w;
    uint64_t blocks;
    pid_t pid;

    world_init(&w, &config);
    put_code(&w, size);
    g_assert_true(run(&w));
    blocks = stats(&w).blocks;
    pid = do_fork(&w);
    if (pid == 0) {
        bool good;

        w.cpu->r[A0] = 0;
        good = run(&w) && w.cpu->r[A0] == size / 4;
        good = good && (stats(&w).blocks == blocks) == inherits;
        *(uint32_t *)w.host = ADDI(A0, A0, 100);
        dbt_invalidate(w.dbt, (uintptr_t)w.host, 4);
        w.cpu->r[A0] = 0;
        good = good && run(&w) && w.cpu->r[A0] == size / 4 + 99;
        world_clear(&w);
        _exit(good ? 7 : 1);
    }
    wait_for(pid, 7);
    w.cpu->r[A0] = 0;
    g_assert_true(run(&w));
    g_assert_cmpuint(w.cpu->r[A0], ==, size / 4);
    g_assert_cmpuint(stats(&w).blocks, ==, blocks);
    world_clear(&w);
}

static void test_inherit(void)
{
    check_inherited(40, true);
    check_inherited(64 << 10, true);
}

/* With very much code the child starts empty. */
static void test_start_empty(void)
{
    check_inherited(LARGE_CODE, false);
}

/* Each process changes its own code in its own way, and goes on. */
static bool change_code(struct world *w)
{
    for (unsigned i = 0; i < 20; i++) {
        ((uint32_t *)w->host)[i * 40] = ADDI(A0, A0, 2);
        dbt_invalidate(w->dbt, (uintptr_t)w->host + i * 160, 4);
        w->cpu->r[A0] = 0;
        if (!run(w) || w->cpu->r[A0] != 1001 + i) {
            return false;
        }
    }
    return true;
}

/* Children of children, which run at the same time. */
static void test_generations(void)
{
    const struct dbt_config config = {.cache_size = 4 << 20};
    struct world w;
    unsigned depth = 0;
    pid_t pid;

    world_init(&w, &config);
    put_code(&w, 4000);
    g_assert_true(run(&w));
    do {
        pid = do_fork(&w);
    } while (pid == 0 && ++depth < 5);
    g_assert_true(change_code(&w));
    if (pid > 0) {
        wait_for(pid, 0);
    }
    if (depth > 0) {
        _exit(0);
    }
    world_clear(&w);
}

/* The child has no memory of vCPUs of threads that it hasn't got. */
static void test_other_vcpus(void)
{
    const struct dbt_config config = {.cache_size = 1 << 20};
    struct world w;
    struct vcpu *others[8];
    pid_t pid;

    world_init(&w, &config);
    put_code(&w, 40);
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        others[i] = new_vcpu(&w);
    }
    void *stack = others[3]->return_stack_map;
    g_assert_cmpint(msync(stack, 4096, MS_ASYNC), ==, 0);
    pid = do_fork(&w);
    if (pid == 0) {
        bool gone = msync(stack, 4096, MS_ASYNC) < 0 && errno == ENOMEM;

        gone = gone && run(&w);
        world_clear(&w);
        _exit(gone ? 7 : 1);
    }
    wait_for(pid, 7);
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        dbt_vcpu_free(others[i]);
    }
    world_clear(&w);
}

/* ---- Children that share memory ---- */

static int run_child(void *opaque)
{
    dbt_run(opaque);
    return 1; /* it should have died */
}

static void *child_stack(void)
{
    void *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    g_assert_true(stack != MAP_FAILED);
    return stack;
}

static void test_died_translating(void)
{
    const struct dbt_config config = {.cache_size = 1 << 20};
    void *stack = child_stack();
    struct world w;

    world_init(&w, &config);
    put_code(&w, 4000);
    for (unsigned i = 0; i < 3; i++) {
        struct vcpu *cpu = new_vcpu(&w);
        pid_t pid;

        cpu->pc = (uintptr_t)w.host + 4000 - 8 * i;
        w.die_in_fetch = true;
        pid = clone(run_child, (char *)stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, cpu);
        w.die_in_fetch = false;
        wait_for(pid, 0);
        dbt_vcpu_died(cpu, stack, CHILD_STACK);
        dbt_vcpu_free(cpu);
        w.cpu->r[A0] = 0;
        g_assert_true(run(&w));
        g_assert_cmpuint(w.cpu->r[A0], ==, 1000);
        g_assert_cmpuint(stats(&w).flushes, ==, i + 1);
    }
    munmap(stack, CHILD_STACK);
    world_clear(&w);
}

/* A flush waits for vCPUs to leave translated code: not for those of the dead. */
static void test_died_in_code(void)
{
    const struct dbt_config config = {.cache_size = 1 << 20, .flush_every = 4};
    void *stack = child_stack();
    struct world w;

    world_init(&w, &config);
    put_code(&w, 4000);
    *(uint32_t *)(w.host + 8192) = JAL(ZERO, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct vcpu *cpu = new_vcpu(&w);
        pid_t pid;

        cpu->pc = (uintptr_t)w.host + 8192;
        pid = clone(run_child, (char *)stack + CHILD_STACK, CLONE_VM | SIGCHLD, cpu);
        g_assert_cmpint(pid, >, 0);
        while (!cpu->in_code) {
            sched_yield();
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        dbt_vcpu_died(cpu, stack, CHILD_STACK);
        g_assert_true(run(&w));
        dbt_vcpu_free(cpu);
    }
    munmap(stack, CHILD_STACK);
    world_clear(&w);
}

/* ---- perf ---- */

struct reader {
    const char *p, *end;
};

static const void *take(struct reader *r, size_t size)
{
    const void *p = r->p;

    g_assert_cmpuint((size_t)(r->end - r->p), >=, size);
    r->p += size;
    return p;
}

static uint32_t take_u32(struct reader *r)
{
    uint32_t v;

    memcpy(&v, take(r, sizeof(v)), sizeof(v));
    return v;
}

static uint64_t take_u64(struct reader *r)
{
    uint64_t v;

    memcpy(&v, take(r, sizeof(v)), sizeof(v));
    return v;
}

/* A JIT_CODE_LOAD without its first 16 bytes. */
static void check_load(struct reader *r, const struct world *w, pid_t pid, uint64_t index)
{
    g_autofree char *name = g_strdup_printf("guest_0x%" G_GINT64_MODIFIER "x",
                                            (uint64_t)(uintptr_t)w->host);
    uint64_t address, size;

    g_assert_cmpuint(take_u32(r), ==, (uint32_t)pid);
    g_assert_cmpuint(take_u32(r), ==, (uint32_t)pid); /* the thread */
    address = take_u64(r);
    g_assert_cmpuint(take_u64(r), ==, address);
    size = take_u64(r);
    g_assert_cmpuint(take_u64(r), ==, index);
    if (index == 0) {
        g_assert_cmpstr(r->p, ==, name);
    }
    g_assert_true(g_str_has_prefix(r->p, "guest_0x"));
    take(r, strlen(r->p) + 1);
    take(r, size);
}

/* The dump of a process that has translated [loads] blocks and ended as it should. */
static void check_dump(const struct world *w, pid_t pid, uint64_t loads)
{
    g_autofree char *path = g_strdup_printf("./jit-%d.dump", (int)pid), *data = NULL;
    uint64_t time, last = 0, n = 0;
    struct reader r;
    size_t size;

    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    r = (struct reader){data, data + size};
    g_assert_cmphex(take_u32(&r), ==, 0x4a695444);
    g_assert_cmpuint(take_u32(&r), ==, 1);
    g_assert_cmpuint(take_u32(&r), ==, 40);
    g_assert_cmpuint(take_u32(&r), ==, 62); /* EM_X86_64 */
    take_u32(&r);
    g_assert_cmpuint(take_u32(&r), ==, (uint32_t)pid);
    take_u64(&r);
    g_assert_cmpuint(take_u64(&r), ==, 0);
    for (;;) {
        const char *start = r.p;
        uint32_t id = take_u32(&r), record_size = take_u32(&r);

        time = take_u64(&r);
        g_assert_cmpuint(time, >=, last);
        last = time;
        if (id == 3) {
            g_assert_cmpuint(record_size, ==, 16);
            break;
        }
        g_assert_cmpuint(id, ==, 0);
        check_load(&r, w, pid, n++);
        g_assert_cmpuint((size_t)(r.p - start), ==, record_size);
    }
    g_assert_true(r.p == r.end);
    g_assert_cmpuint(n, ==, loads);
    unlink(path);
}

static void check_map(pid_t pid, uint64_t blocks)
{
    g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)pid), *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, blocks + 1);
    for (unsigned i = 0; i < blocks; i++) {
        g_assert_true(g_regex_match_simple("^[0-9a-f]+ [0-9a-f]+ guest_0x[0-9a-f]+$", lines[i], 0,
                                           0));
    }
    unlink(path);
}

/* perf finds a dump by the mapping of it that can be executed. */
static bool dump_is_mapped(pid_t pid)
{
    g_autofree char *name = g_strdup_printf("/jit-%d.dump\n", (int)pid), *maps = NULL;
    g_autofree char *line = NULL;

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    line = g_strdup_printf(" r-xp [^\n]*%s", name);
    return g_regex_match_simple(line, maps, 0, 0);
}

static void test_perf(void)
{
    const struct dbt_config config = {.cache_size = 1 << 20, .perf_map = true, .jitdump = true};
    g_autofree char *folder = g_dir_make_tmp("nandu-perf-XXXXXX", NULL);
    g_autofree char *old = g_get_current_dir();
    int fds[2], child_fds[2];
    struct world w;
    uint64_t blocks;
    pid_t pid;

    g_assert_cmpint(chdir(folder), ==, 0);
    world_init(&w, &config);
    dbt_perf_fds(w.dbt, fds);
    g_assert_cmpint(fds[0], >=, 0);
    g_assert_cmpint(fds[1], >=, 0);
    put_code(&w, 4000);
    g_assert_true(run(&w));
    g_assert_true(dump_is_mapped(getpid()));
    blocks = stats(&w).blocks;
    pid = do_fork(&w);
    if (pid == 0) {
        bool good = dump_is_mapped(getpid());

        dbt_perf_fds(w.dbt, child_fds);
        good = good && child_fds[0] == fds[0] && child_fds[1] == fds[1];
        good = good && run(&w);
        world_clear(&w);
        _exit(good ? 7 : 1);
    }
    wait_for(pid, 7);
    check_dump(&w, pid, blocks);
    check_map(pid, blocks);
    world_clear(&w);
    check_dump(&w, getpid(), blocks);
    check_map(getpid(), blocks);
    g_assert_cmpint(chdir(old), ==, 0);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dbt-fork/inherit", test_inherit);
    g_test_add_func("/dbt-fork/start-empty", test_start_empty);
    g_test_add_func("/dbt-fork/generations", test_generations);
    g_test_add_func("/dbt-fork/other-vcpus", test_other_vcpus);
    g_test_add_func("/dbt-fork/died-translating", test_died_translating);
    g_test_add_func("/dbt-fork/died-in-code", test_died_in_code);
    g_test_add_func("/dbt-fork/perf", test_perf);
    return g_test_run();
}
