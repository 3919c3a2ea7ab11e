/* Bridges and root ports: bus numbers, windows, pins through a bridge; the slot's registers while
 * devices come and go; saving, garbage. */
#include "hw/pci/pcie.h"
#include "pci_test.h"
#include "virtio_test.h"

enum {
    PORT = 2 << 15,             /* configuration space of the root port, in slot 2 */
    BEHIND = 5 << 20,           /* of bus 5 */
    ALL = PCIE_SLOT_ENABLES | PCIE_SLOT_LINK_ENABLE | PCIE_SLOT_INTERRUPT,
};

struct test {
    struct vt v;
    struct pci_device *port;
    unsigned slot;              /* offset of the capability in the port's configuration space */
};

static struct pci_device *plug_behind(struct test *x, bool hotplugged)
{
    return pci_test_plug(&x->v.t, &x->port->secondary->bus.object, "virtio-rng-pci", "card", "{}",
                         hotplugged, NULL);
}

static void refuse(struct test *x, struct object *bus, const char *type, const char *properties,
                   const char *why)
{
    pci_test_plug(&x->v.t, bus, type, "bad", properties, false, why);
}

static unsigned find_capability(struct vt *v, uint64_t config, uint8_t id)
{
    unsigned at = (unsigned)hw_read(&v->t, config + 0x34, 1);

    while (at && hw_read(&v->t, config + at, 1) != id) {
        at = (unsigned)hw_read(&v->t, config + at + 1, 1);
    }
    return at;
}

static void init(struct test *x, const char *properties)
{
    memset(x, 0, sizeof(*x));
    pci_test_init(&x->v.t);
    x->port = pci_test_plug(&x->v.t, pci_test_bus(&x->v.t), "pcie-root-port", "rp", properties,
                            false, NULL);
    x->slot = find_capability(&x->v, PORT, PCI_CAP_EXPRESS);
    g_assert_cmpuint(x->slot, !=, 0);
}

static void clear(struct test *x)
{
    pci_test_unplug(x->port);
    hw_test_clear(&x->v.t);
}

static uint64_t port_read(struct test *x, unsigned offset, unsigned size)
{
    return hw_read(&x->v.t, PORT + offset, size);
}

static void port_write(struct test *x, unsigned offset, unsigned size, uint64_t value)
{
    hw_write(&x->v.t, PORT + offset, size, value);
}

static uint16_t status(struct test *x)
{
    return (uint16_t)port_read(x, x->slot + PCIE_SLOT_STATUS, 2);
}

static void clear_status(struct test *x)
{
    port_write(x, x->slot + PCIE_SLOT_STATUS, 2, 0xffff);
}

static uint16_t control(struct test *x)
{
    return (uint16_t)port_read(x, x->slot + PCIE_SLOT_CONTROL, 2);
}

static void set_control(struct test *x, bool power, unsigned lamp, unsigned enables)
{
    port_write(x, x->slot + PCIE_SLOT_CONTROL, 2,
               (power ? 0 : PCIE_SLOT_POWER_OFF) | lamp << PCIE_SLOT_POWER_INDICATOR_SHIFT |
               enables);
}

/* Bus 5 is behind the port; windows of 1 MiB each, at the start of the host bridge's. */
static void configure(struct test *x)
{
    port_write(x, 0x18, 4, 0x070500);
    port_write(x, 0x1c, 2, 0x1010);
    port_write(x, 0x20, 4, 0x40004000);
    port_write(x, 0x24, 4, 0);
    port_write(x, 0x28, 4, 4);
    port_write(x, 0x2c, 4, 4);
    port_write(x, 0x04, 2, 7);
}

static bool is_pending(const struct pci_device *dev)
{
    return dev->device.pending_deletion;
}

/* ---- The bridge ---- */

static void test_header(void)
{
    struct test x;

    init(&x, "{\"addr\": \"2\", \"chassis\": 3, \"slot\": 9, \"port\": 7}");
    g_assert_cmphex(port_read(&x, 0, 4), ==, 0x000c1b36);
    g_assert_cmphex(port_read(&x, 8, 4), ==, 0x06040000);
    g_assert_cmphex(port_read(&x, 0x0e, 1), ==, 1);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_FLAGS, 2), ==, 0x142);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_LINK_CAP, 4) >> 24, ==, 7);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_SLOT_CAP, 4), ==, 9u << 19 | 0x7b);
    /* Windows are closed. */
    g_assert_cmphex(port_read(&x, 0x1c, 2), ==, 0x00f0);
    g_assert_cmphex(port_read(&x, 0x20, 4), ==, 0x0000fff0);
    g_assert_cmphex(port_read(&x, 0x24, 4), ==, 0x0001fff1);
    /* What can be written of the bridge's part. */
    for (unsigned at = 0x18; at < 0x40; at += 4) {
        port_write(&x, at, 4, 0xffffffff);
    }
    g_assert_cmphex(port_read(&x, 0x18, 4), ==, 0x00ffffff);
    g_assert_cmphex(port_read(&x, 0x1c, 2), ==, 0xf0f0);
    g_assert_cmphex(port_read(&x, 0x20, 4), ==, 0xfff0fff0);
    g_assert_cmphex(port_read(&x, 0x24, 4), ==, 0xfff1fff1);
    g_assert_cmphex(port_read(&x, 0x3c, 4), ==, 0x004301ff);
    refuse(&x, pci_test_bus(&x.v.t), "pcie-root-port", "{\"chassis\": 3, \"slot\": 9}",
           "error -16");
    refuse(&x, pci_test_bus(&x.v.t), "pcie-root-port", "{\"slot\": 8192}", "slot is 8192");
    refuse(&x, &x.port->secondary->bus.object, "pcie-root-port", "{}", "host bridge");
    refuse(&x, &x.port->secondary->bus.object, "virtio-rng-pci", "{\"addr\": \"1\"}", "slot 0");
    clear(&x);
}

static void test_bus_numbers(void)
{
    struct test x;
    struct pci_device *card;

    init(&x, "{\"addr\": \"2\"}");
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0xffffffff);
    port_write(&x, 0x18, 4, 0x070500);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0x10441af4);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 0x08, 1), ==, 1);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 0x2c, 4), ==, 0x11001af4);
    g_assert_cmpuint(find_capability(&x.v, BEHIND, PCI_CAP_EXPRESS), !=, 0);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 0x8000, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&x.v.t, 6 << 20, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&x.v.t, 8 << 20, 4), ==, 0xffffffff);
    /* Another number; numbers that can't be. */
    port_write(&x, 0x19, 1, 0x06);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&x.v.t, 6 << 20, 4), ==, 0x10441af4);
    port_write(&x, 0x1a, 1, 0x05);
    g_assert_cmphex(hw_read(&x.v.t, 6 << 20, 4), ==, 0xffffffff);
    port_write(&x, 0x18, 4, 0xff0000);
    g_assert_cmphex(hw_read(&x.v.t, 0, 4), ==, 0x00081b36);
    g_assert_cmphex(hw_read(&x.v.t, 1 << 20, 4), ==, 0xffffffff);
    pci_test_unplug(card);
    clear(&x);
}

static void test_windows(void)
{
    struct test x;
    struct pci_device *card;
    unsigned msix;

    init(&x, "{\"addr\": \"2\"}");
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    msix = find_capability(&x.v, BEHIND, PCI_CAP_MSIX);
    g_assert_cmpuint(msix, !=, 0);
    hw_write(&x.v.t, BEHIND + 0x14, 4, WINDOW_BUS + 0x1000);
    hw_write(&x.v.t, BEHIND + 0x20, 4, 0x4000);
    hw_write(&x.v.t, BEHIND + 0x24, 4, 4);
    hw_write(&x.v.t, BEHIND + 0x04, 2, 7);
    g_assert_cmpuint(hw_read(&x.v.t, HIGH + 0x4012, 2), ==, 1);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x100c, 4), ==, 1);
    /* What the bridge doesn't let through isn't there. */
    hw_write(&x.v.t, BEHIND + 0x14, 4, WINDOW_BUS + 0x200000);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x20000c, 4), ==, 0xffffffff);
    port_write(&x, 0x22, 2, 0x4020);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x20000c, 4), ==, 1);
    port_write(&x, 0x04, 2, 5);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x20000c, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&x.v.t, HIGH + 0x4012, 2), ==, 0xffff);
    port_write(&x, 0x04, 2, 7);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x20000c, 4), ==, 1);
    port_write(&x, 0x22, 2, 0x3ff0);
    g_assert_cmphex(hw_read(&x.v.t, WINDOW + 0x20000c, 4), ==, 0xffffffff);
    /* The widest that can be: all of it. */
    port_write(&x, 0x24, 4, 0xfff00000);
    port_write(&x, 0x28, 4, 0);
    port_write(&x, 0x2c, 4, 0xffffffff);
    g_assert_cmpuint(hw_read(&x.v.t, HIGH + 0x4012, 2), ==, 1);
    /* A reset of the bus behind it. */
    port_write(&x, 0x3e, 2, 0x40);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 0x04, 2), ==, 0);
    g_assert_cmphex(hw_read(&x.v.t, HIGH + 0x4012, 2), ==, 0xffff);
    g_assert_cmphex(port_read(&x, 0x04, 2), ==, 7);
    pci_test_unplug(card);
    clear(&x);
}

static void test_pins(void)
{
    struct test x;
    struct pci_device *card;

    init(&x, "{\"addr\": \"2\"}");
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    /* Pin A of slot 0 is pin A of the port, which is line 2 in its slot. */
    pci_set_intx(card, true);
    g_assert_true(x.v.t.levels[2] && !x.v.t.levels[0]);
    pci_set_intx(x.port, true);
    pci_set_intx(card, false);
    g_assert_true(x.v.t.levels[2]);
    pci_set_intx(x.port, false);
    g_assert_false(x.v.t.levels[2]);
    pci_set_intx(card, true);
    pci_test_unplug(card);
    g_assert_false(x.v.t.levels[2]);
    clear(&x);
}

/* ---- The slot ---- */

static void test_plug(void)
{
    struct test x;
    struct pci_device *card;

    init(&x, "{\"addr\": \"2\"}");
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    g_assert_cmphex(status(&x), ==, 0);
    g_assert_cmphex(control(&x), ==, 0x7c0);    /* no power, lamps off */
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_COMMAND_COMPLETED);
    g_assert_true(x.v.t.levels[2]);
    clear_status(&x);
    g_assert_false(x.v.t.levels[2]);

    card = plug_behind(&x, true);
    g_assert_cmphex(status(&x), ==,
                    PCIE_SLOT_PRESENT | PCIE_SLOT_PRESENCE_CHANGED | PCIE_SLOT_BUTTON_PRESSED);
    g_assert_true(x.v.t.levels[2]);
    clear_status(&x);
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENT);
    /* Without power there is no answer, and no link. */
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0xffffffff);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_LINK_STATUS, 2) & PCIE_LINK_ACTIVE, ==, 0);
    set_control(&x, true, PCIE_INDICATOR_BLINK, ALL);
    g_assert_cmphex(status(&x), ==,
                    PCIE_SLOT_PRESENT | PCIE_SLOT_LINK_CHANGED | PCIE_SLOT_COMMAND_COMPLETED);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_LINK_STATUS, 2) & PCIE_LINK_ACTIVE, !=, 0);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0x10441af4);
    clear_status(&x);
    /* The link goes with its control. */
    port_write(&x, x.slot + PCIE_LINK_CONTROL, 2, PCIE_LINK_DISABLE);
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENT | PCIE_SLOT_LINK_CHANGED);
    port_write(&x, x.slot + PCIE_LINK_CONTROL, 2, 0);
    clear_status(&x);
    /* Power that goes takes what the device was set to with it, and not the device. */
    hw_write(&x.v.t, BEHIND + 4, 2, 6);
    set_control(&x, false, PCIE_INDICATOR_OFF, 0);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 4, 2), ==, 0xffff);
    hw_run_loop(&x.v.t);
    g_assert_cmphex(status(&x) & PCIE_SLOT_PRESENT, !=, 0);
    set_control(&x, true, PCIE_INDICATOR_ON, 0);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND + 4, 2), ==, 0);
    g_assert_false(x.v.t.levels[2]);
    pci_test_plug(&x.v.t, &x.port->secondary->bus.object, "virtio-rng-pci", "more", "{}",
                  true, "occupied");
    pci_test_unplug(card);
    clear(&x);
}

static bool request(struct pci_device *dev, const char *refused)
{
    GError *error = NULL;
    bool ok = hotplug_unplug_request(&dev->bus->bus.object, &dev->device.object, &error);

    if (refused) {
        g_assert_false(ok);
        g_assert_nonnull(strstr(error->message, refused));
        g_clear_error(&error);
    } else {
        g_assert_no_error(error);
    }
    return ok;
}

static void test_unplug(void)
{
    struct test x;
    struct pci_device *card;

    init(&x, "{\"addr\": \"2\"}");
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    g_assert_cmphex(control(&x), ==, 0x1c0);    /* power */
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENT);
    set_control(&x, true, PCIE_INDICATOR_ON, ALL);
    clear_status(&x);
    request(card, NULL);
    g_assert_true(is_pending(card) && x.v.t.levels[2]);
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENT | PCIE_SLOT_BUTTON_PRESSED);
    request(card, "already in the process");
    /* The guest thinks about it, and won't. */
    set_control(&x, true, PCIE_INDICATOR_BLINK, ALL);
    set_control(&x, true, PCIE_INDICATOR_ON, ALL);
    hw_run_loop(&x.v.t);
    g_assert_false(is_pending(card));
    /* Now it does. Power alone isn't enough. */
    clear_status(&x);
    request(card, NULL);
    set_control(&x, true, PCIE_INDICATOR_BLINK, ALL);
    set_control(&x, false, PCIE_INDICATOR_BLINK, ALL);
    hw_run_loop(&x.v.t);
    g_assert_true(is_pending(card));
    clear_status(&x);
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    g_assert_nonnull(object_child(x.v.t.control.root, "card"));
    hw_run_loop(&x.v.t);
    g_assert_null(object_child(x.v.t.control.root, "card"));
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENCE_CHANGED | PCIE_SLOT_COMMAND_COMPLETED);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0xffffffff);

    /* Nobody is asked if the slot has no power; while the guest is at it nobody is asked again. */
    card = plug_behind(&x, true);
    request(card, NULL);
    g_assert_null(object_child(x.v.t.control.root, "card"));
    card = plug_behind(&x, true);
    set_control(&x, true, PCIE_INDICATOR_BLINK, ALL);
    request(card, "guest is busy");
    set_control(&x, true, PCIE_INDICATOR_ON, ALL);
    /* A reset takes away what was asked for. */
    request(card, NULL);
    mmio_device_reset(x.v.t.dev);
    hw_run_loop(&x.v.t);
    g_assert_null(object_child(x.v.t.control.root, "card"));
    g_assert_cmphex(status(&x) & PCIE_SLOT_PRESENT, ==, 0);
    clear(&x);
}

static void test_message(void)
{
    struct test x;
    unsigned msix;

    init(&x, "{\"addr\": \"2\"}");
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    msix = find_capability(&x.v, PORT, PCI_CAP_MSIX);
    port_write(&x, 0x10, 4, WINDOW_BUS + 0x400000);
    hw_write(&x.v.t, WINDOW + 0x400000, 8, HW_TEST_RAM + 0x3000);
    hw_write(&x.v.t, WINDOW + 0x400008, 4, 0x77);
    hw_write(&x.v.t, WINDOW + 0x40000c, 4, 0);
    port_write(&x, msix + 2, 2, 0x8000);
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    g_assert_false(x.v.t.levels[2]);
    g_assert_cmphex(hw_read(&x.v.t, HW_TEST_RAM + 0x3000, 4), ==, 0x77);
    /* One message for each time that there is new cause. */
    hw_write(&x.v.t, HW_TEST_RAM + 0x3000, 4, 0);
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    g_assert_cmphex(hw_read(&x.v.t, HW_TEST_RAM + 0x3000, 4), ==, 0);
    clear_status(&x);
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    g_assert_cmphex(hw_read(&x.v.t, HW_TEST_RAM + 0x3000, 4), ==, 0x77);
    clear(&x);
}

/* A port that can't: no bits of the slot can be written. */
static void test_fixed(void)
{
    struct test x;
    struct pci_device *card;

    init(&x, "{\"addr\": \"2\", \"hotplug\": false}");
    g_assert_false(x.port->secondary->bus.hotpluggable);
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    g_assert_cmphex(port_read(&x, x.slot + PCIE_SLOT_CAP, 4), ==, 0);
    port_write(&x, x.slot + PCIE_SLOT_CONTROL, 4, 0xffffffff);
    g_assert_cmphex(control(&x), ==, 0);
    g_assert_cmphex(status(&x), ==, PCIE_SLOT_PRESENT);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0x10441af4);
    pci_test_unplug(card);
    clear(&x);
}

/* ---- State ---- */

static void test_save(void)
{
    static const char properties[] = "{\"addr\": \"2\"}";
    struct test x;
    struct pci_device *card;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GError *error = NULL;
    size_t position = 0;

    init(&x, properties);
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    configure(&x);
    set_control(&x, true, PCIE_INDICATOR_ON, ALL);
    clear_status(&x);
    request(card, NULL);
    set_control(&x, true, PCIE_INDICATOR_BLINK, ALL);
    pci_device_save(x.port, saved);
    pci_test_unplug(card);
    pci_test_unplug(x.port);
    g_assert_false(x.v.t.levels[2]);

    /* Where it goes to, the same is plugged in. */
    x.port = pci_test_plug(&x.v.t, pci_test_bus(&x.v.t), "pcie-root-port", "rp", properties, false,
                           NULL);
    card = plug_behind(&x, false);
    mmio_device_reset(x.v.t.dev);
    g_assert_true(pci_device_load(x.port, saved->data, saved->len, &position, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(position, ==, saved->len);
    g_assert_cmphex(status(&x), ==,
                    PCIE_SLOT_PRESENT | PCIE_SLOT_BUTTON_PRESSED | PCIE_SLOT_COMMAND_COMPLETED);
    g_assert_true(x.v.t.levels[2]);
    g_assert_cmphex(hw_read(&x.v.t, BEHIND, 4), ==, 0x10441af4);
    hw_write(&x.v.t, BEHIND + 0x20, 8, UINT64_C(0x400000000));
    hw_write(&x.v.t, BEHIND + 4, 2, 6);
    g_assert_cmpuint(hw_read(&x.v.t, HIGH + 0x12, 2), ==, 1);
    /* And what the guest was asked for goes on. */
    set_control(&x, false, PCIE_INDICATOR_OFF, ALL);
    hw_run_loop(&x.v.t);
    g_assert_null(object_child(x.v.t.control.root, "card"));
    clear(&x);
}

/* All of both configuration spaces, while devices come and go. */
static void test_garbage(void)
{
    struct test x;
    uint64_t r = 88172645463325252ull, value;

    init(&x, "{\"addr\": \"2\"}");
    for (unsigned n = 0; n < 60000; n++) {
        struct object *card = object_child(x.v.t.control.root, "card");
        unsigned size = 1u << (n & 3);
        uint64_t at;

        r ^= r << 13;
        r ^= r >> 7;
        r ^= r << 17;
        at = ((n & 0x10) ? BEHIND : PORT) + (r >> 32) % 256;
        if ((n & 0x70) == 0x70) {
            at = (n & 8 ? WINDOW : HIGH) + (r >> 32) % 0x8000;
        }
        if (n % 512 == 0) {
            configure(&x);
        }
        address_space_store(x.v.t.hw.memory, at & -(uint64_t)size, size, r >> (r & 56),
                            (struct memory_attrs){0});
        address_space_load(x.v.t.hw.memory, at & -(uint64_t)size, size, &value,
                           (struct memory_attrs){0});
        if (n % 128 == 0) {
            hw_run_loop(&x.v.t);
        } else if (n % 128 == 64 && !card) {
            plug_behind(&x, true);
        } else if (n % 128 == 96 && card) {
            hotplug_unplug_request(&x.port->secondary->bus.object, card, NULL);
        } else if (n % 4096 == 1) {
            mmio_device_reset(x.v.t.dev);
        }
    }
    hw_run_loop(&x.v.t);
    if (object_child(x.v.t.control.root, "card")) {
        pci_test_unplug((struct pci_device *)object_child(x.v.t.control.root, "card"));
    }
    clear(&x);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pcie/header", test_header);
    g_test_add_func("/pcie/bus-numbers", test_bus_numbers);
    g_test_add_func("/pcie/windows", test_windows);
    g_test_add_func("/pcie/pins", test_pins);
    g_test_add_func("/pcie/plug", test_plug);
    g_test_add_func("/pcie/unplug", test_unplug);
    g_test_add_func("/pcie/message", test_message);
    g_test_add_func("/pcie/fixed", test_fixed);
    g_test_add_func("/pcie/save", test_save);
    g_test_add_func("/pcie/garbage", test_garbage);
    return g_test_run();
}
