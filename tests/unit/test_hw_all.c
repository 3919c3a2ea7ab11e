/*
 * All types of devices: after garbage was written to all of its registers a device that is reset is
 * as a new one, and one that is restored is as the one that was saved. A type that has no row below
 * fails; what its registers do is in the test that the row names.
 */
#include <string.h>

#include "disk_test.h"
#include "hw/block/pflash_cfi01.h"
#include "migration/state_walk.h"
#include "pci_test.h"
#include "virtio_test.h"

enum { WRITES = 4000, ROUNDS = 4, MAX_WINDOWS = 4, MAX_READ = 0x400 };

/* Where it is: at address 0, in a virtio-mmio slot, in slot 1 of a PCI bus. */
enum place { MMIO, VIRTIO, PCI };

struct world {
    struct vt v;
    const struct row *row;
    struct pci_device *card;
    struct block_node *node;
    uint64_t random;
    uint64_t time;              /* of the real-time clock when it was new */
    uint8_t *contents;          /* of a flash that was saved */
};

struct row {
    const char *type;
    enum place place;
    const char *tests;          /* of its registers */
    const char *properties;
    /* On the bus that it has. */
    const char *plugged;
    bool stateless;             /* no write changes it */
    /* Where registers are, relative to its region; none: at the beginning of all of them. */
    struct {
        uint64_t at, size;
    } windows[MAX_WINDOWS];
    void (*made)(struct world *w);
    /* Of memory that the state is without: kept, or given to a new device. */
    void (*contents)(struct world *w, bool save);
    /* Puts back what the guest can change and a reset keeps. */
    void (*undo)(struct world *w);
};

/* ---- What some need ---- */

enum { RTC_LOW = 0, RTC_HIGH = 4 };

static void read_time(struct world *w)
{
    w->time = hw_read(&w->v.t, RTC_LOW, 4);
    w->time |= hw_read(&w->v.t, RTC_HIGH, 4) << 32;
    mmio_device_reset(w->v.t.dev);
}

static void write_time(struct world *w)
{
    hw_write(&w->v.t, RTC_HIGH, 4, w->time >> 32);
    hw_write(&w->v.t, RTC_LOW, 4, (uint32_t)w->time);
}

/* The memory of a new flash is new: a machine moves it by itself. */
static void flash_contents(struct world *w, bool save)
{
    struct ram_block *memory = pflash_cfi01_memory(w->v.t.dev);
    size_t size = ram_block_size(memory);

    if (save) {
        g_free(w->contents);
        w->contents = g_memdup2(ram_block_host(memory), size);
    } else if (w->contents) {
        memcpy(ram_block_host(memory), w->contents, size);
    }
}

/* An announcement comes on top of what is restored. */
#define CARD_PROPERTIES "{\"mac\": \"52:54:00:12:34:56\", \"guest_announce\": false}"

static const struct row rows[] = {
    {"cfi.pflash01", MMIO, "test_hw_pflash",
     "{\"name\": \"flash\", \"num-blocks\": 4, \"sector-length\": 4096, \"width\": 4,"
     " \"device-width\": 2}", .windows = {{0, 0x4000}}, .contents = flash_contents},
    {"fw_cfg_mem", MMIO, "test_hw_fw_cfg", "{}"},
    {"goldfish_rtc", MMIO, "test_hw_misc", "{}", .made = read_time, .undo = write_time},
    {"gpex-pcihost", MMIO, "test_hw_pci",
     "{\"x-ecam-size\": 1048576, \"x-below-4g-mmio-base\": 1073741824,"
     " \"x-below-4g-mmio-size\": 1048576, \"x-above-4g-mmio-base\": 17179869184,"
     " \"x-above-4g-mmio-size\": 1048576}"},
    {"gpex-root", MMIO},        /* a part of gpex-pcihost */
    {"loader", MMIO},           /* no registers, no state */
    {"pcie-root-port", PCI, "test_hw_pcie", "{\"addr\": \"1\"}"},
    {"riscv.aclint.mtimer", MMIO, "test_hw_intc",
     "{\"num-harts\": 3, \"timebase-freq\": 10000000}", .windows = {{0, 64}, {0x7ff8, 8}}},
    {"riscv.aclint.swi", MMIO, "test_hw_intc", "{\"num-harts\": 3}"},
    {"riscv.sifive.plic", MMIO, "test_hw_intc",
     "{\"hart-config\": \"MS,MS\", \"num-sources\": 96, \"num-priorities\": 7,"
     " \"priority-base\": 0, \"pending-base\": 4096, \"enable-base\": 8192,"
     " \"enable-stride\": 128, \"context-base\": 2097152, \"context-stride\": 4096,"
     " \"aperture-size\": 6291456}",
     .windows = {{0, 256}, {0x1000, 8}, {0x2000, 0x200}, {0x200000, 0x4000}}},
    {"riscv.sifive.test", MMIO, "test_hw_misc", "{}", .stateless = true},
    {"riscv_htif", MMIO, "test_hw_misc", "{}"},
    {"serial-mm", MMIO, "test_hw_serial", "{}"},
    {"virtconsole", VIRTIO, "test_hw_virtio_devices"},
    {"virtio-balloon-device", VIRTIO, "test_hw_virtio_devices", "{}"},
    {"virtio-balloon-pci", PCI, "test_hw_virtio_devices", "{}"},
    {"virtio-blk-device", VIRTIO, "test_hw_virtio_blk", "{\"drive\": \"d0\"}"},
    {"virtio-blk-pci", PCI, "test_hw_virtio_blk", "{\"drive\": \"d0\"}"},
    {"virtio-mmio", MMIO, "test_hw_virtio", "{}", .stateless = true},    /* an empty slot */
    {"virtio-net-device", VIRTIO, "test_hw_virtio_net", CARD_PROPERTIES},
    {"virtio-net-pci", PCI, "test_hw_virtio_net", CARD_PROPERTIES},
    {"virtio-rng-device", VIRTIO, "test_hw_virtio_devices", "{}"},
    {"virtio-rng-pci", PCI, "test_hw_pci", "{}"},
    {"virtio-serial-device", VIRTIO, "test_hw_virtio_devices", "{}", .plugged = "virtserialport"},
    {"virtio-serial-pci", PCI, "test_hw_virtio_devices", "{}", .plugged = "virtconsole"},
    {"virtserialport", VIRTIO, "test_hw_virtio_devices"},
};

/* ---- A machine with the device ---- */

static void open_node(void *opaque)
{
    struct world *w = opaque;

    w->node = co_disk_open(
        &w->v.t, "{\"driver\": \"null-co\", \"node-name\": \"d0\", \"size\": 1048576}");
}

static void close_node(void *opaque)
{
    struct world *w = opaque;

    co_block_node_unref(w->node);
    co_block_graph_free(w->v.t.hw.blocks);
}

static void run_block(struct world *w, void (*fn)(void *opaque))
{
    coroutine_start(w->v.t.control.loop, fn, w);
    hw_run_loop(&w->v.t);
}

static void plug_port(struct world *w)
{
    auto_ptr(object) port = object_new(object_type_find(w->row->plugged));
    GError *error = NULL;
    struct bus *bus = bus_find(w->v.t.control.root, "virtio-serial-bus", NULL, &error);

    g_assert_no_error(error);
    g_assert_true(object_add_child(w->v.t.control.root, "port", port, &error));
    hotplug_plug(&bus->object, port, &error);
    g_assert_no_error(error);
}

static void make_device(struct world *w)
{
    struct hw_test *t = &w->v.t;

    switch (w->row->place) {
    case MMIO:
        t->type = w->row->type;
        t->properties = w->row->properties;
        hw_test_make_device(t);
        break;
    case VIRTIO:
        if (!t->dev) {
            hw_test_make_device(t);
        }
        vt_plug(&w->v);
        break;
    case PCI:
        w->card = pci_test_plug(t, pci_test_bus(t), w->row->type, "card", w->row->properties,
                                false, NULL);
        break;
    }
    if (w->row->plugged) {
        plug_port(w);
    }
    if (w->row->contents) {
        w->row->contents(w, false);
    }
    if (w->row->made) {
        w->row->made(w);
    }
}

static void drop_device(struct world *w)
{
    struct object *port = object_child(w->v.t.control.root, "port");

    if (port) {
        hotplug_unplug(object_resolve(w->v.t.control.root, "virtio-serial-bus.0", NULL, NULL),
                       port);
    }
    if (w->row->place == PCI) {
        pci_test_unplug(w->card);
    } else {
        if (w->v.vdev) {
            vt_unplug(&w->v);
        }
        object_remove(&w->v.t.dev->device.object);
        w->v.t.dev = NULL;
    }
    hw_run_loop(&w->v.t);
}

static void world_init(struct world *w, const struct row *row, unsigned seed)
{
    *w = (struct world){.row = row, .random = 88172645463325252ull + seed};
    switch (row->place) {
    case MMIO: hw_test_init(&w->v.t, NULL, NULL, NULL); break;
    case VIRTIO: vt_init(&w->v, NULL, NULL, seed % 2); break;
    case PCI: pci_test_init(&w->v.t); break;
    }
    w->v.type = row->type;
    w->v.properties = row->properties;
    w->v.t.hw.blocks = block_graph_new(w->v.t.control.root);
    run_block(w, open_node);
    make_device(w);
}

static void world_clear(struct world *w)
{
    drop_device(w);
    run_block(w, close_node);
    hw_test_clear(&w->v.t);
    g_free(w->contents);
}

/* ---- Garbage ---- */

static uint64_t next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* Piece n of the registers. False: there are no more. */
static bool window(struct world *w, unsigned n, uint64_t *at, uint64_t *size)
{
    static const struct {
        uint64_t at, size;
    } pci[] = {{CARD, 256},           {CARD + 256, 256},        {LEGACY, 64},
               {MSIX, 4096},          {MODERN, 64},             {MODERN + 0x1000, 4},
               {MODERN + 0x2000, 64}, {MODERN + 0x3000, 0x100}};
    const struct mmio_device *dev = w->v.t.dev;

    switch (w->row->place) {
    case PCI:
        *at = n < G_N_ELEMENTS(pci) ? pci[n].at : 0;
        *size = n < G_N_ELEMENTS(pci) ? pci[n].size : 0;
        return n < G_N_ELEMENTS(pci);
    case VIRTIO:
        *at = 0;
        *size = 0x200;
        return n == 0;
    case MMIO: break;
    }
    if (w->row->windows[0].size) {
        *at = n < MAX_WINDOWS ? w->row->windows[n].at : 0;
        *size = n < MAX_WINDOWS ? w->row->windows[n].size : 0;
        return *size != 0;
    }
    *at = 0;
    for (unsigned i = 0; i < n && i < dev->n_regions; i++) {
        *at += (dev->regions[i].size + 7) & ~7ull;
    }
    *size = n < dev->n_regions ? MIN(dev->regions[n].size, 4096) : 0;
    return n < dev->n_regions;
}

static void set_flag(void *opaque)
{
    __atomic_store_n((bool *)opaque, true, __ATOMIC_SEQ_CST);
}

/* All that the guest began is over: a disk has a thread of its own. The second turn of its loop is
 * after whatever was scheduled before the first. */
static void settle(struct world *w)
{
    struct object *backend =
        w->row->place == PCI ? object_child(&w->card->device.object, "virtio-backend") : NULL;
    struct virtio_device *vdev = backend ? (struct virtio_device *)backend : w->v.vdev;

    hw_run_loop(&w->v.t);
    for (unsigned turn = 0; vdev && turn < 2; turn++) {
        bool done = false;

        event_loop_post(vdev->loop, set_flag, &done);
        while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) {
            hw_run_loop(&w->v.t);
        }
    }
    hw_run_loop(&w->v.t);
}

static void garbage(struct world *w)
{
    unsigned n_windows = 0;
    uint64_t at, length;

    while (window(w, n_windows, &at, &length)) {
        n_windows++;
    }
    for (unsigned n = 0; n < WRITES; n++) {
        unsigned size = 1u << next_random(w) % 4;
        uint64_t value = next_random(w) >> (next_random(w) & 56);

        if (w->row->place == PCI && n % 64 == 0) {
            pci_test_place_bars(&w->v.t);
        }
        window(w, (unsigned)(next_random(w) % n_windows), &at, &length);
        at = (at + next_random(w) % length) & -(uint64_t)size;
        address_space_store(w->v.t.hw.memory, at, size, value, (struct memory_attrs){0});
        if (n % 128 == 0) {
            settle(w);
        }
    }
    settle(w);
}

/* What all registers read as: the guest's view. */
static GArray *read_all(struct world *w)
{
    GArray *values = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    uint64_t start, size;

    for (unsigned n = 0; window(w, n, &start, &size); n++) {
        for (uint64_t at = start; at < start + MIN(size, MAX_READ); at++) {
            for (unsigned bytes = 1; bytes <= 8 && at % bytes == 0; bytes *= 2) {
                uint64_t value = 0;

                address_space_load(w->v.t.hw.memory, at, bytes, &value, (struct memory_attrs){0});
                g_array_append_val(values, value);
            }
        }
    }
    return values;
}

static GByteArray *save(struct world *w)
{
    GByteArray *saved = g_byte_array_new();

    state_walk_save(w->v.t.control.root, saved);
    return saved;
}

static bool same_bytes(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* ---- The tests ---- */

static void test_reset(gconstpointer data)
{
    const struct row *row = data;
    bool changed = false;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct world w;

        world_init(&w, row, round);
        g_autoptr(GByteArray) fresh = save(&w);

        garbage(&w);
        g_autoptr(GByteArray) dirty = save(&w);

        changed |= !same_bytes(fresh, dirty);
        mmio_device_reset(w.v.t.dev);
        if (row->undo) {
            row->undo(&w);
        }
        g_autoptr(GByteArray) again = save(&w);

        g_assert_cmpmem(again->data, again->len, fresh->data, fresh->len);
        world_clear(&w);
    }
    g_assert_true(changed != row->stateless);
}

/* What a guest can see of a device, now and after more of the same. */
struct view {
    GByteArray *saved, *saved_later;
    GArray *registers;
    bool levels[HW_TEST_IRQS], levels_later[HW_TEST_IRQS];
};

static void view_take(struct view *view, struct world *w)
{
    if (w->row->contents) {
        w->row->contents(w, true);
    }
    view->saved = save(w);
    memcpy(view->levels, w->v.t.levels, sizeof(view->levels));
    view->registers = read_all(w);
    garbage(w);
    view->saved_later = save(w);
    memcpy(view->levels_later, w->v.t.levels, sizeof(view->levels));
}

static void view_compare(const struct view *a, const struct view *b)
{
    g_assert_cmpmem(a->saved->data, a->saved->len, b->saved->data, b->saved->len);
    g_assert_cmpmem(a->levels, sizeof(a->levels), b->levels, sizeof(b->levels));
    g_assert_cmpmem(a->registers->data, a->registers->len * sizeof(uint64_t), b->registers->data,
                    b->registers->len * sizeof(uint64_t));
    g_assert_cmpmem(a->saved_later->data, a->saved_later->len, b->saved_later->data,
                    b->saved_later->len);
    g_assert_cmpmem(a->levels_later, sizeof(a->levels), b->levels_later, sizeof(b->levels));
}

static void view_clear(struct view *view)
{
    g_byte_array_unref(view->saved);
    g_byte_array_unref(view->saved_later);
    g_array_unref(view->registers);
}

static void test_restore(gconstpointer data)
{
    const struct row *row = data;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct view before, after;
        GError *error = NULL;
        g_autofree uint8_t *ram = NULL;
        uint64_t random;
        struct world w;

        world_init(&w, row, round + 100);
        garbage(&w);
        random = w.random;
        ram = g_memdup2(hw_test_ram(&w.v.t), HW_TEST_RAM_SIZE);
        view_take(&before, &w);
        drop_device(&w);
        make_device(&w);
        state_walk_load(w.v.t.control.root, before.saved->data, before.saved->len, &error);
        g_assert_no_error(error);
        w.random = random;
        memcpy(hw_test_ram(&w.v.t), ram, HW_TEST_RAM_SIZE);
        settle(&w);
        view_take(&after, &w);
        view_compare(&after, &before);
        view_clear(&before);
        view_clear(&after);
        world_clear(&w);
    }
}

static const struct row *find_row(const struct object_type *type)
{
    for (; type; type = object_type_parent(type)) {
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
            if (g_str_equal(rows[i].type, type->name)) {
                return &rows[i];
            }
        }
    }
    return NULL;
}

/* A variant of a type is tested with it. */
static void test_complete(void)
{
    g_autoptr(GPtrArray) types = object_type_list("device", false);

    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = types->pdata[i];
        const struct row *row = find_row(type);
        g_autofree char *path = NULL;

        if (!row) {
            g_error("no row for the device '%s'", type->name);
        }
        path = row->tests ? g_strdup_printf("%s/%s.c", TEST_SOURCE_DIR, row->tests) : NULL;
        g_assert_true(!path || g_file_test(path, G_FILE_TEST_IS_REGULAR));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/all/complete", test_complete);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].properties) {
            g_autofree char *reset = g_strdup_printf("/hw/all/reset/%s", rows[i].type);
            g_autofree char *restore = g_strdup_printf("/hw/all/restore/%s", rows[i].type);

            g_test_add_data_func(reset, &rows[i], test_reset);
            g_test_add_data_func(restore, &rows[i], test_restore);
        }
    }
    return g_test_run();
}
