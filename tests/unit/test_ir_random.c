/*
 * Random units, built twice: by ir_emit as they are and by the simplifying builder. Both, each also
 * after ir_optimize, must leave the same registers, memory and pc in the interpreter.
 *
 *   test_ir_random [--seed N]     one seed only, prints both units
 */
#include "ir_random.h"

enum { SEEDS = 20000 };

static void interpret(struct test_vcpu *tv, const struct ir_unit *u, uint8_t *memory,
                      const struct outcome *start, struct outcome *end)
{
    tv->cpu.guest_base = TEST_BASE;
    set_state(tv, start, memory);
    get_state(tv, ir_interpret(&tv->cpu, u, TEST_BASE, NULL), end, memory);
}

static unsigned count_ops(const struct ir_unit *u)
{
    unsigned n = 0;

    for (unsigned i = 1; i < u->n_ops; i++) {
        n += u->ops[i].op != IR_NOP;
    }
    return n;
}

struct totals {
    uint64_t raw, folded, raw_optimized, folded_optimized;
};

static void check_seed(struct test_vcpu *tv, struct generator *g, uint32_t seed, bool show,
                       struct totals *totals)
{
    static const char *const names[] = {"raw, optimized", "folded", "folded, optimized"};
    g_autofree struct outcome *start = g_new(struct outcome, 1);
    g_autofree struct outcome *ends = g_new(struct outcome, 4);
    g_autofree uint64_t *memory = g_new(uint64_t, MEMORY_SIZE / 8);

    g->relative = seed & 1;
    generate(g, &test_arch, seed);
    random_start(g, start, test_guest(memory));
    if (show) {
        ir_print(g->raw, stdout);
        ir_print(g->folded, stdout);
    }
    for (unsigned i = 0; i < 2; i++) {
        /* The number of instructions differs when the builder knew that the unit ends early. */
        test_verify(g->raw);
        test_verify(g->folded);
        totals->raw += i == 0 ? count_ops(g->raw) : 0;
        totals->folded += i == 0 ? count_ops(g->folded) : 0;
        interpret(tv, g->raw, (uint8_t *)memory, start, &ends[i]);
        interpret(tv, g->folded, (uint8_t *)memory, start, &ends[2 + i]);
        ir_optimize(g->raw);
        ir_optimize(g->folded);
    }
    totals->raw_optimized += count_ops(g->raw);
    totals->folded_optimized += count_ops(g->folded);
    for (unsigned i = 1; i < 4; i++) {
        for (unsigned r = 0; r < 32; r++) {
            if (ends[i].r[r] != ends[0].r[r]) {
                g_printerr("%s: x%u is %#" PRIx64 ", not %#" PRIx64 "\n", names[i - 1], r,
                           ends[i].r[r], ends[0].r[r]);
            }
        }
        if (memcmp(&ends[i], &ends[0], sizeof(ends[0])) != 0) {
            g_error("seed %u: the %s unit differs", seed, names[i - 1]);
        }
    }
}

static void run_seeds(uint32_t first, uint32_t count, bool show)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct generator *g = g_new0(struct generator, 1);
    struct totals totals = {0};

    g->rand = g_rand_new();
    g->raw = ir_unit_new();
    g->folded = ir_unit_new();
    for (uint32_t i = 0; i < count; i++) {
        check_seed(tv, g, first + i, show, &totals);
    }
    g_test_message("operations: %" PRIu64 ", optimized %" PRIu64 "; folded %" PRIu64
                   ", optimized %" PRIu64,
                   totals.raw, totals.raw_optimized, totals.folded, totals.folded_optimized);
    if (count > 1000) {
        g_assert_cmpuint(totals.folded, <, totals.raw);
        g_assert_cmpuint(totals.folded_optimized, <, totals.raw_optimized);
    }
    ir_unit_free(g->raw);
    ir_unit_free(g->folded);
    g_rand_free(g->rand);
    g_free(g);
    free(tv);
}

static void test_random(void)
{
    run_seeds(1, SEEDS, false);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        run_seeds((uint32_t)g_ascii_strtoull(argv[2], NULL, 10), 1, true);
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ir/random", test_random);
    return g_test_run();
}
