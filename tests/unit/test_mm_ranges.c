/* The record of the guest's mappings against a plain array of pages. */
#include <glib.h>
#include <pthread.h>
#include <sys/mman.h>

#include "linux_user/mm_ranges.h"

enum { PAGE = 4096, PAGES = 256, ROUNDS = 20000 };

struct page {
    uint32_t prot, flags;
    bool mapped;
};

static uint64_t addr(unsigned page)
{
    return (uint64_t)(page + 1) * PAGE;
}

static void check_shape(const struct mm_ranges *m, const struct page *model)
{
    uint64_t bytes = 0;
    unsigned at = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        const struct mm_range *r = &m->r[i];

        g_assert_cmpuint(r->start, <, r->end);
        if (i > 0) {
            const struct mm_range *before = &m->r[i - 1];

            g_assert_cmpuint(before->end, <=, r->start);
            g_assert_true(before->end < r->start || before->prot != r->prot ||
                          before->flags != r->flags);
        }
        while (at < PAGES && addr(at) < r->start) {
            g_assert_false(model[at++].mapped);
        }
        while (at < PAGES && addr(at) < r->end) {
            g_assert_true(model[at].mapped);
            g_assert_cmpuint(model[at].prot, ==, r->prot);
            g_assert_cmpuint(model[at++].flags, ==, r->flags);
            bytes += PAGE;
        }
    }
    while (at < PAGES) {
        g_assert_false(model[at++].mapped);
    }
    g_assert_cmpuint(m->pages_bytes, ==, bytes);
}

static void check_queries(const struct mm_ranges *m, const struct page *model, unsigned first,
                          unsigned last)
{
    bool unused = true, any = false, covered = true;
    uint32_t mask = (uint32_t)g_test_rand_int_range(0, 8);
    struct mm_range r;

    for (unsigned i = first; i < last; i++) {
        unused = unused && !model[i].mapped;
        any = any || (model[i].mapped && model[i].prot & mask);
        covered = covered && model[i].mapped && (mask == 0 || model[i].prot & mask);
    }
    g_assert_cmpint(mm_ranges_unused(m, addr(first), addr(last)), ==, unused);
    g_assert_cmpint(mm_ranges_any(m, addr(first), addr(last), mask), ==, any);
    g_assert_cmpint(mm_ranges_covered(m, addr(first), addr(last), mask), ==, covered);
    if (mm_ranges_find(m, addr(first) + 5, &r)) {
        g_assert_cmpuint(r.end, >, addr(first) + 5);
        g_assert_cmpint(r.start <= addr(first) + 5, ==, model[first].mapped);
    } else {
        g_assert_false(model[first].mapped);
    }
}

static void check_hole(const struct mm_ranges *m, const struct page *model)
{
    unsigned size = (unsigned)g_test_rand_int_range(1, 20), best = 0;
    unsigned align = 1u << g_test_rand_int_range(0, 3);
    uint64_t found =
        mm_ranges_hole(m, (uint64_t)size * PAGE, (uint64_t)align * PAGE, addr(0), addr(PAGES), 0);

    /* The highest place, by trying all. */
    for (unsigned i = PAGES - size + 1; i-- > 0 && !best;) {
        bool empty = (i + 1) % align == 0;

        for (unsigned j = i; j < i + size && empty; j++) {
            empty = !model[j].mapped;
        }
        best = empty ? i + 1 : 0;
    }
    g_assert_cmphex(found, ==, (uint64_t)best * PAGE);
}

static void test_random(void)
{
    static struct page model[PAGES];
    struct mm_ranges m;

    g_assert_true(mm_ranges_init(&m, PAGES * 4));
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned first = (unsigned)g_test_rand_int_range(0, PAGES);
        unsigned last = (unsigned)g_test_rand_int_range((gint32)first, MIN(first + 30, PAGES)) + 1;
        uint32_t prot = (uint32_t)g_test_rand_int_range(0, 8);
        uint32_t flags = (uint32_t)g_test_rand_int_range(0, 2);
        int what = g_test_rand_int_range(0, 5);

        g_assert_true(mm_ranges_room(&m));
        for (unsigned i = first; i < last; i++) {
            if (what <= 1) {
                model[i] = (struct page){prot, flags, true};
            } else if (what <= 3) {
                model[i].mapped = false;
            } else {
                model[i].prot = prot;
            }
        }
        if (what <= 1) {
            mm_ranges_set(&m, addr(first), addr(last), prot, flags);
        } else if (what <= 3) {
            mm_ranges_clear(&m, addr(first), addr(last));
        } else {
            mm_ranges_protect(&m, addr(first), addr(last), prot);
        }
        check_shape(&m, model);
        check_queries(&m, model, first, last);
        check_hole(&m, model);
    }
    mm_ranges_free(&m);
}

/* ---- Readers while a writer works ---- */

struct race {
    struct mm_ranges m;
    bool stop;
};

static void *reader(void *arg)
{
    struct race *race = arg;

    while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
        struct mm_range r;

        /* Pages 10 and 200 are always mapped, page 100 never with PROT_EXEC. */
        g_assert_true(mm_ranges_covered(&race->m, addr(10), addr(11), PROT_READ));
        g_assert_true(mm_ranges_covered(&race->m, addr(200), addr(201), PROT_READ));
        g_assert_false(mm_ranges_covered(&race->m, addr(100), addr(101), PROT_EXEC));
        g_assert_true(mm_ranges_find(&race->m, addr(10), &r));
        g_assert_true(r.start <= addr(10) && r.end > addr(10));
    }
    return NULL;
}

static void test_race(void)
{
    static struct race race;
    pthread_t threads[2];

    g_assert_true(mm_ranges_init(&race.m, PAGES * 4));
    mm_ranges_set(&race.m, addr(10), addr(11), PROT_READ, 0);
    mm_ranges_set(&race.m, addr(200), addr(201), PROT_READ, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, reader, &race), ==, 0);
    }
    for (unsigned round = 0; round < 200000; round++) {
        unsigned first = (unsigned)g_test_rand_int_range(0, 199), last = first + 1;

        if (first == 10) {
            continue;
        }
        if (g_test_rand_bit()) {
            mm_ranges_set(&race.m, addr(first), addr(last), PROT_READ, g_test_rand_bit());
        } else {
            mm_ranges_clear(&race.m, addr(first), addr(last));
        }
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    mm_ranges_free(&race.m);
}

static void test_gap(void)
{
    struct mm_ranges m;

    g_assert_true(mm_ranges_init(&m, 16));
    mm_ranges_set(&m, addr(100), addr(110), PROT_READ, MM_STACK);
    /* Ten pages stay free below a stack. */
    g_assert_cmphex(mm_ranges_hole(&m, PAGE, PAGE, addr(0), addr(105), 10 * PAGE), ==, addr(89));
    g_assert_cmphex(mm_ranges_hole(&m, PAGE, PAGE, addr(0), addr(95), 10 * PAGE), ==, addr(89));
    g_assert_cmphex(mm_ranges_hole(&m, PAGE, PAGE, addr(0), addr(120), 10 * PAGE), ==, addr(119));
    g_assert_cmphex(mm_ranges_hole(&m, 10 * PAGE, PAGE, addr(0), addr(112), 10 * PAGE), ==,
                    addr(80));
    g_assert_cmphex(mm_ranges_hole(&m, 91 * PAGE, PAGE, addr(0), addr(112), 10 * PAGE), ==, 0);
    mm_ranges_free(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mm-ranges/random", test_random);
    g_test_add_func("/mm-ranges/race", test_race);
    g_test_add_func("/mm-ranges/gap", test_gap);
    return g_test_run();
}
