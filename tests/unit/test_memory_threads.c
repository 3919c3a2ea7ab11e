/*
 * Threads that read guest memory while its tree changes: they see the old view or the new one and
 * nothing else, old views go, and what synchronize waited for is used by nobody.
 */
#include "memory/memory_priv.h"

#include <string.h>

enum { THREADS = 4, ROUNDS = 1000, BANK = 0x1000 };

static const struct memory_attrs plain;

struct world {
    struct region root, banks[2], both, device;
    struct address_space *space;
    struct ram_block *blocks[2];
    GMutex lock;
    unsigned flips;             /* of the device's handler */
    bool shows_second, stop;
};

/* ---- Two banks at one address, of which always one is there ---- */

static void flip(struct world *w)
{
    address_space_begin_changes(w->space);
    w->shows_second = !w->shows_second;
    region_set_enabled(&w->banks[0], !w->shows_second);
    region_set_enabled(&w->banks[1], w->shows_second);
    address_space_end_changes(w->space);
}

/* A register by which a guest does that. */
static void device_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct world *w = opaque;

    __atomic_fetch_add(&w->flips, 1, __ATOMIC_RELAXED);
    flip(w);
}

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct world *)opaque)->flips;
}

static const struct region_ops device_ops = {
    .read_simple = device_read,
    .write_simple = device_write,
};

static void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    g_mutex_init(&w->lock);
    region_init_container(&w->root, "system", 0);
    for (unsigned i = 0; i < 2; i++) {
        w->blocks[i] = ram_block_new("bank", BANK, NULL);
        memset(ram_block_host(w->blocks[i]), 0x11 * (int)(i + 1), BANK);
        region_init_ram(&w->banks[i], "bank", w->blocks[i], 0, BANK);
        region_add(&w->root, BANK, &w->banks[i], (int)i);
    }
    region_set_enabled(&w->banks[1], false);
    region_init_mmio(&w->device, "device", &device_ops, w, 8, &w->lock);
    region_add(&w->root, 0, &w->device, 0);
    w->space = address_space_new("memory", &w->root);
}

static void world_clear(struct world *w)
{
    address_space_free(w->space);
    region_remove(&w->device);
    region_clear(&w->device);
    for (unsigned i = 0; i < 2; i++) {
        region_remove(&w->banks[i]);
        region_clear(&w->banks[i]);
        ram_block_unref(w->blocks[i]);
    }
    region_clear(&w->root);
    g_mutex_clear(&w->lock);
}

static bool stopped(const struct world *w)
{
    return __atomic_load_n(&w->stop, __ATOMIC_RELAXED);
}

static size_t n_retired(struct world *w)
{
    struct domain *domain = w->space->domain;
    size_t n;

    domain_lock(domain);
    n = domain->retired.length;
    domain_unlock(domain);
    return n;
}

static void *load_banks(void *opaque)
{
    struct world *w = opaque;
    uint8_t data[8];

    while (!stopped(w)) {
        uint64_t value;

        g_assert_cmpint(address_space_load(w->space, BANK + 8, 8, &value, plain), ==, MEMORY_OK);
        g_assert_true(value == 0x1111111111111111 || value == 0x2222222222222222);
        g_assert_cmpint(address_space_read(w->space, 2 * BANK - 8, data, 8, plain), ==, MEMORY_OK);
        g_assert_true(data[0] == 0x11 || data[0] == 0x22);
        g_assert_true(data[0] == data[7]);
    }
    return NULL;
}

/* As a vCPU does: keeps pointers until it says that it has none. */
static void *keep_pointers(void *opaque)
{
    struct world *w = opaque;
    struct address_space_reader *reader = address_space_reader_new(w->space);

    while (!stopped(w)) {
        struct memory_range range;
        uint64_t value;

        address_space_reader_quiescent(reader);
        address_space_reader_look_up(reader, BANK + 4, &range);
        for (unsigned i = 0; i < 50; i++) {
            g_assert_true(*range.host == (range.region == &w->banks[1] ? 0x22 : 0x11));
            g_assert_cmphex(range.length, ==, BANK - 4);
        }
        g_assert_cmpint(address_space_reader_load(reader, BANK, 4, &value, plain), ==, MEMORY_OK);
        g_assert_true(value == 0x11111111 || value == 0x22222222);
        g_assert_cmpint(address_space_reader_store(reader, 2 * BANK, 4, 0, plain), ==,
                        MEMORY_DECODE_ERROR);
        address_space_reader_offline(reader);
    }
    address_space_reader_free(reader);
    return NULL;
}

static void *write_register(void *opaque)
{
    struct world *w = opaque;

    for (unsigned i = 0; i < ROUNDS; i++) {
        g_assert_cmpint(address_space_store(w->space, 0, 4, 1, plain), ==, MEMORY_OK);
    }
    return NULL;
}

static void join(struct world *w, GThread **threads, unsigned n)
{
    __atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < n; i++) {
        g_thread_join(threads[i]);
    }
}

static void test_readers(void)
{
    struct world w;
    GThread *threads[THREADS];

    world_init(&w);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("reader", i % 2 ? keep_pointers : load_banks, &w);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        flip(&w);
    }
    join(&w, threads, THREADS);
    address_space_synchronize(w.space);
    g_assert_cmpuint(n_retired(&w), ==, 0);
    world_clear(&w);
}

/* The tree is changed by handlers only, so always from inside an access: views must go all the
 * same. */
static void test_handlers(void)
{
    struct world w;
    GThread *threads[3];

    world_init(&w);
    threads[0] = g_thread_new("load", load_banks, &w);
    threads[1] = g_thread_new("write", write_register, &w);
    threads[2] = g_thread_new("write", write_register, &w);
    g_thread_join(threads[1]);
    g_thread_join(threads[2]);
    join(&w, threads, 1);
    g_assert_cmpuint(w.flips, ==, 2 * ROUNDS);
    world_clear(&w);

    world_init(&w);
    for (unsigned i = 0; i < ROUNDS; i++) {
        g_assert_cmpint(address_space_store(w.space, 0, 4, 1, plain), ==, MEMORY_OK);
    }
    g_assert_cmpuint(n_retired(&w), <=, 2);
    world_clear(&w);
}

/* A vCPU that sleeps doesn't keep views; one that runs does. */
static void test_offline(void)
{
    struct address_space_reader *reader;
    struct world w;

    world_init(&w);
    reader = address_space_reader_new(w.space);
    flip(&w);
    g_assert_cmpuint(n_retired(&w), ==, 0);
    address_space_reader_quiescent(reader);
    flip(&w);
    flip(&w);
    g_assert_cmpuint(n_retired(&w), ==, 2);
    address_space_reader_quiescent(reader);
    flip(&w);
    g_assert_cmpuint(n_retired(&w), ==, 1);
    address_space_reader_offline(reader);
    address_space_synchronize(w.space);
    g_assert_cmpuint(n_retired(&w), ==, 0);
    address_space_reader_quiescent(reader);
    flip(&w);
    address_space_reader_free(reader);
    world_clear(&w);
}

/* ---- Devices that come and go ---- */

struct plugged {
    struct region region;
    GMutex lock;
    uint64_t number;            /* wrong once it is gone */
};

static uint64_t plugged_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct plugged *)opaque)->number;
}

static void *use_plugged(void *opaque)
{
    struct world *w = opaque;

    while (!stopped(w)) {
        uint64_t value;

        if (address_space_load(w->space, 4 * BANK, 8, &value, plain) == MEMORY_OK) {
            g_assert_cmphex(value, ==, 0x1234);
        }
    }
    return NULL;
}

static void test_unplug(void)
{
    static const struct region_ops ops = {.read_simple = plugged_read};
    GThread *threads[THREADS];
    struct world w;

    world_init(&w);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("reader", i ? use_plugged : keep_pointers, &w);
    }
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        struct plugged *device = g_new0(struct plugged, 1);

        device->number = 0x1234;
        g_mutex_init(&device->lock);
        region_init_mmio(&device->region, "device", &ops, device, BANK, &device->lock);
        region_add(&w.root, 4 * BANK, &device->region, 0);
        g_thread_yield();
        region_remove(&device->region);
        address_space_synchronize(w.space);
        region_clear(&device->region);
        g_mutex_clear(&device->lock);
        memset(device, 0xee, sizeof(*device));
        g_free(device);
    }
    join(&w, threads, THREADS);
    world_clear(&w);
}

/* ---- Pages that are written while somebody waits for it ---- */

struct dirty_world {
    struct world w;
    struct region ram;
    struct ram_block *block;
};

static void *write_pages(void *opaque)
{
    struct dirty_world *d = opaque;

    for (uint64_t i = 1; i <= ROUNDS; i++) {
        address_space_store(d->w.space, 8 * BANK, 8, i, plain);
    }
    return NULL;
}

/* Who clears the page first and reads then has the last value, or is told of a later one. */
static void test_dirty(void)
{
    struct dirty_world d;
    GThread *thread;
    uint64_t seen = 0;

    world_init(&d.w);
    d.block = ram_block_new("ram", BANK, NULL);
    region_init_ram(&d.ram, "ram", d.block, 0, BANK);
    region_add(&d.w.root, 8 * BANK, &d.ram, 0);
    thread = g_thread_new("write", write_pages, &d);
    while (seen != ROUNDS) {
        if (ram_block_test_and_clear_dirty(d.block, DIRTY_MIGRATION, 0)) {
            address_space_load(d.w.space, 8 * BANK, 8, &seen, plain);
        }
    }
    g_thread_join(thread);
    ram_block_unref(d.block);
    region_remove(&d.ram);
    region_clear(&d.ram);
    world_clear(&d.w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/threads/readers", test_readers);
    g_test_add_func("/memory/threads/handlers", test_handlers);
    g_test_add_func("/memory/threads/offline", test_offline);
    g_test_add_func("/memory/threads/unplug", test_unplug);
    g_test_add_func("/memory/threads/dirty", test_dirty);
    return g_test_run();
}
