/* Random trees of regions against a model that looks for each byte by itself. */
#include "memory_model.h"

static void run_seed(uint64_t seed, size_t size)
{
    struct model random = {.random = seed * 0x9e3779b97f4a7c15ull + 1};
    g_autofree uint8_t *data = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)model_random(&random);
    }
    model_run(data, size);
}

static void test_short(void)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        run_seed(seed, 10 + seed % 100);
    }
}

static void test_long(void)
{
    for (uint64_t seed = 1000; seed < 1010; seed++) {
        run_seed(seed, 8000);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/model/short", test_short);
    g_test_add_func("/memory/model/long", test_long);
    return g_test_run();
}
