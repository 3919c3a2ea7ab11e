/* The PCI host bridge, configuration space, BARs, pins, MSI-X; virtio-pci with its modern and
 * legacy registers. */
#include "pci_test.h"
#include "virtio_test.h"

static struct pci_device *plug(struct vt *v, const char *type, const char *name,
                               const char *properties, const char *refused)
{
    return pci_test_plug(&v->t, pci_test_bus(&v->t), type, name, properties, false, refused);
}

static void test_config(void)
{
    struct vt v = {0};
    struct pci_device *dev;
    unsigned n_capabilities = 0;

    pci_test_init(&v.t);
    g_assert_cmphex(hw_read(&v.t, ECAM, 4), ==, 0x00081b36);
    g_assert_cmphex(hw_read(&v.t, ECAM + 8, 4), ==, 0x06000000);
    g_assert_cmphex(hw_read(&v.t, CARD, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&v.t, ECAM + (1 << 20), 2), ==, 0xffff);
    g_assert_cmphex(hw_read(&v.t, WINDOW, 8), ==, UINT64_MAX);
    hw_write(&v.t, WINDOW, 4, 1);
    hw_write(&v.t, CARD, 4, 1);

    plug(&v, "virtio-rng-pci", "bad", "{\"addr\": \"20\"}", "it is a slot");
    plug(&v, "virtio-rng-pci", "bad", "{\"addr\": \"1.8\"}", "it is a slot");
    plug(&v, "virtio-rng-pci", "bad", "{\"addr\": \"0\"}", "not available");
    plug(&v, "virtio-rng-pci", "bad", "{\"period\": 0}", "period");
    plug(&v, "virtio-rng-pci", "bad", "{\"vectors\": 3000}", "vectors");
    dev = plug(&v, "virtio-rng-pci", "rng", "{}", NULL);
    g_assert_cmphex(hw_read(&v.t, CARD, 4), ==, 0x10051af4);
    g_assert_cmphex(hw_read(&v.t, CARD + 8, 4), ==, 0x00ff0000);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x2c, 4), ==, 0x00041af4);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x3c, 2), ==, 0x0100);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x100, 4), ==, 0);
    for (unsigned at = hw_read(&v.t, CARD + 0x34, 1); at; at = hw_read(&v.t, CARD + at + 1, 1)) {
        n_capabilities++;
        g_assert_cmpuint(n_capabilities, <, 10);
    }
    g_assert_cmpuint(n_capabilities, ==, 5);
    /* Sizes of BARs. */
    for (unsigned i = 0; i < 6; i++) {
        hw_write(&v.t, CARD + 0x10 + 4 * i, 4, 0xffffffff);
    }
    g_assert_cmphex(hw_read(&v.t, CARD + 0x10, 4), ==, 0xffffffe1);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x14, 4), ==, 0xfffff000);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x18, 4), ==, 0);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x20, 4), ==, 0xffffc00c);
    g_assert_cmphex(hw_read(&v.t, CARD + 0x24, 4), ==, 0xffffffff);
    pci_test_place_bars(&v.t);
    g_assert_cmpuint(hw_read(&v.t, MODERN + 0x12, 2), ==, 1);
    g_assert_cmphex(hw_read(&v.t, LEGACY, 4), !=, 0xffffffff);
    hw_write(&v.t, CARD + 0x20, 4, WINDOW_BUS + 0x100000);
    g_assert_cmphex(hw_read(&v.t, MODERN + 0x12, 2), ==, 0xffff);
    g_assert_cmpuint(hw_read(&v.t, WINDOW + 0x100012, 2), ==, 1);
    hw_write(&v.t, CARD + 0x04, 2, 1);
    g_assert_cmphex(hw_read(&v.t, WINDOW + 0x100012, 2), ==, 0xffff);
    pci_test_unplug(dev);
    g_assert_cmphex(hw_read(&v.t, CARD, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&v.t, LEGACY, 4), ==, 0xffffffff);
    hw_test_clear(&v.t);
}

/* Rings at the same places as vt_queue's, for queue 0 of 8 entries. */
static struct vt_queue *make_queue(struct vt *v)
{
    struct vt_queue *q = &v->queues[0];

    *q = (struct vt_queue){.size = 8, .avail_wrap = true, .used_wrap = true, .desc = HW_TEST_RAM};
    q->avail = q->desc + 128;
    q->used = HW_TEST_RAM + 4096;
    memset(vt_host(v, q->desc), 0, 8192);
    return q;
}

static void request(struct vt *v, struct vt_queue *q, uint64_t doorbell)
{
    struct vt_buffer buffer = {HW_TEST_RAM + VT_DATA, 64, true};
    uint16_t id;
    uint32_t written = 0;

    vt_add(v, q, &buffer, 1, false);
    hw_write(&v->t, doorbell, 2, 0);
    hw_run_loop(&v->t);
    g_assert_true(vt_get(v, q, &id, &written));
    g_assert_cmpuint(written, ==, 64);
}

static void set_up_modern(struct vt *v, struct vt_queue *q)
{
    hw_write(&v->t, MODERN + 0x14, 1, 0);
    hw_write(&v->t, MODERN + 0x14, 1, 3);
    hw_write(&v->t, MODERN + 0x08, 4, 1);
    hw_write(&v->t, MODERN + 0x0c, 4, 1);
    hw_write(&v->t, MODERN + 0x14, 1, 0xb);
    g_assert_cmphex(hw_read(&v->t, MODERN + 0x14, 1), ==, 0xb);
    hw_write(&v->t, MODERN + 0x16, 2, 0);
    g_assert_cmpuint(hw_read(&v->t, MODERN + 0x18, 2), ==, 8);
    hw_write(&v->t, MODERN + 0x20, 8, q->desc);
    hw_write(&v->t, MODERN + 0x28, 4, (uint32_t)q->avail);
    hw_write(&v->t, MODERN + 0x2c, 4, 0);
    hw_write(&v->t, MODERN + 0x30, 8, q->used);
    g_assert_cmphex(hw_read(&v->t, MODERN + 0x30, 8), ==, q->used);
    hw_write(&v->t, MODERN + 0x1c, 2, 1);
    hw_write(&v->t, MODERN + 0x14, 1, 0xf);
}

static void test_modern(void)
{
    struct vt v = {.features = 1ull << VIRTIO_F_VERSION_1};
    struct pci_device *dev;
    struct vt_queue *q;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GError *error = NULL;
    size_t position = 0;

    pci_test_init(&v.t);
    dev = plug(&v, "virtio-rng-pci", "rng", "{\"event_idx\": false}", NULL);
    pci_test_place_bars(&v.t);
    q = make_queue(&v);
    set_up_modern(&v, q);
    request(&v, q, MODERN + 0x3000);
    /* Pin A of slot 1 is line 1. */
    g_assert_true(v.t.levels[1] && !v.t.levels[0]);
    g_assert_cmphex(hw_read(&v.t, CARD + 6, 2) & 8, ==, 8);
    hw_write(&v.t, CARD + 4, 2, 0x407);
    g_assert_false(v.t.levels[1]);
    hw_write(&v.t, CARD + 4, 2, 7);
    g_assert_true(v.t.levels[1]);
    g_assert_cmpuint(hw_read(&v.t, MODERN + 0x1000, 1), ==, 1);
    g_assert_false(v.t.levels[1]);
    g_assert_cmpuint(hw_read(&v.t, MODERN + 0x1000, 1), ==, 0);

    /* MSI-X: a vector that isn't there is refused; masked, the message waits. */
    hw_write(&v.t, MODERN + 0x1a, 2, 2);
    g_assert_cmphex(hw_read(&v.t, MODERN + 0x1a, 2), ==, 0xffff);
    hw_write(&v.t, MODERN + 0x1a, 2, 1);
    g_assert_cmphex(hw_read(&v.t, MODERN + 0x1a, 2), ==, 1);
    g_assert_cmphex(hw_read(&v.t, CARD + dev->msix.capability, 4) & 0xffff00ff, ==, 0x00010011);
    hw_write(&v.t, CARD + dev->msix.capability + 2, 2, 0x8000);
    hw_write(&v.t, MSIX + 16, 8, HW_TEST_RAM + 0x3000);
    hw_write(&v.t, MSIX + 24, 4, 0x1234);
    request(&v, q, MODERN + 0x3000);
    g_assert_cmphex(hw_read(&v.t, HW_TEST_RAM + 0x3000, 4), ==, 0);
    g_assert_cmphex(hw_read(&v.t, MSIX + 2048, 4), ==, 2);

    /* All of it again, elsewhere. */
    pci_device_save(dev, saved);
    virtio_save((struct virtio_device *)object_child(&dev->device.object, "virtio-backend"), saved);
    pci_test_unplug(dev);
    dev = plug(&v, "virtio-rng-pci", "rng", "{\"event_idx\": false}", NULL);
    g_assert_true(pci_device_load(dev, saved->data, saved->len, &position, &error));
    g_assert_true(
        virtio_load((struct virtio_device *)object_child(&dev->device.object, "virtio-backend"),
                    saved->data, saved->len, &position, &error));
    g_assert_no_error(error);
    g_assert_cmphex(hw_read(&v.t, MSIX + 2048, 4), ==, 2);
    hw_write(&v.t, MSIX + 28, 4, 0);
    g_assert_cmphex(hw_read(&v.t, HW_TEST_RAM + 0x3000, 4), ==, 0x1234);
    g_assert_cmphex(hw_read(&v.t, MSIX + 2048, 4), ==, 0);
    hw_write(&v.t, HW_TEST_RAM + 0x3000, 4, 0);
    request(&v, q, MODERN + 0x3000);
    g_assert_cmphex(hw_read(&v.t, HW_TEST_RAM + 0x3000, 4), ==, 0x1234);
    g_assert_false(v.t.levels[1]);
    /* To registers no message goes, not even to its own table. */
    hw_write(&v.t, MSIX + 16, 8, MSIX + 16);
    request(&v, q, MODERN + 0x3000);
    g_assert_cmphex(hw_read(&v.t, MSIX + 16, 4), ==, MSIX + 16);

    /* Without messages the pin says what the ISR does, at once. */
    g_assert_false(v.t.levels[1]);
    hw_write(&v.t, CARD + dev->msix.capability + 2, 2, 0);
    g_assert_true(v.t.levels[1]);
    hw_write(&v.t, CARD + dev->msix.capability + 2, 2, 0x8000);
    g_assert_false(v.t.levels[1]);

    mmio_device_reset(v.t.dev);
    g_assert_cmphex(hw_read(&v.t, CARD + 4, 2), ==, 0);
    pci_test_place_bars(&v.t);
    g_assert_cmphex(hw_read(&v.t, MODERN + 0x14, 1), ==, 0);
    g_assert_cmphex(hw_read(&v.t, MSIX + 28, 4), ==, 1);
    pci_test_unplug(dev);
    hw_test_clear(&v.t);
}

static void test_legacy(void)
{
    struct vt v = {.legacy = true};
    struct pci_device *dev;
    struct vt_queue *q;

    pci_test_init(&v.t);
    dev = plug(&v, "virtio-rng-pci", "rng", "{\"vectors\": 0}", NULL);
    hw_write(&v.t, CARD + 0x10, 4, 0x1000);
    hw_write(&v.t, CARD + 0x04, 2, 5);
    q = make_queue(&v);
    hw_write(&v.t, LEGACY + 0x12, 1, 3);
    hw_write(&v.t, LEGACY + 4, 4, 0);
    hw_write(&v.t, LEGACY + 14, 2, 0);
    g_assert_cmpuint(hw_read(&v.t, LEGACY + 12, 2), ==, 8);
    hw_write(&v.t, LEGACY + 8, 4, HW_TEST_RAM >> 12);
    g_assert_cmphex(hw_read(&v.t, LEGACY + 8, 4), ==, (uint32_t)HW_TEST_RAM >> 12);
    hw_write(&v.t, LEGACY + 0x12, 1, 7);
    request(&v, q, LEGACY + 16);
    g_assert_true(v.t.levels[1]);
    g_assert_cmpuint(hw_read(&v.t, LEGACY + 19, 1), ==, 1);
    g_assert_false(v.t.levels[1]);
    hw_write(&v.t, LEGACY + 14, 2, 5);
    g_assert_cmpuint(hw_read(&v.t, LEGACY + 12, 2), ==, 0);
    pci_test_unplug(dev);
    hw_test_clear(&v.t);
}

/* Every register of everything, written and read with all sizes. */
static void test_garbage(void)
{
    static const char *const types[] = {"virtio-rng-pci", "virtio-serial-pci",
                                        "virtio-balloon-pci"};

    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        struct vt v = {0};
        struct pci_device *dev;
        uint64_t x = 88172645463325252ull + i, value;

        pci_test_init(&v.t);
        dev = plug(&v, types[i], "card", "{}", NULL);
        for (unsigned n = 0; n < 30000; n++) {
            uint64_t at;
            unsigned size = 1u << (n & 3);

            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            at = (n & 0x70) == 0 ? CARD + x % 256 : (n & 0x30) == 0x10 ? LEGACY + x % 64
                 : (n & 0x30) == 0x20 ? MSIX + x % 4096 : MODERN + x % 0x4000;
            if (n % 64 == 0) {
                pci_test_place_bars(&v.t);
            }
            address_space_store(v.t.hw.memory, at & -(uint64_t)size, size, x >> (x & 56),
                                (struct memory_attrs){0});
            address_space_load(v.t.hw.memory, at & -(uint64_t)size, size, &value,
                               (struct memory_attrs){0});
            if (n % 256 == 0) {
                hw_run_loop(&v.t);
            }
        }
        pci_test_unplug(dev);
        hw_test_clear(&v.t);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/config", test_config);
    g_test_add_func("/pci/virtio-modern", test_modern);
    g_test_add_func("/pci/virtio-legacy", test_legacy);
    g_test_add_func("/pci/garbage", test_garbage);
    return g_test_run();
}
