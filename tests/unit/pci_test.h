/* What tests of PCI share: a host bridge as the test's device, at address 0, and devices that come
 * and go on its bus. */
#ifndef NANDU_TESTS_UNIT_PCI_TEST_H
#define NANDU_TESTS_UNIT_PCI_TEST_H

#include "hw/pci/pci.h"
#include "hw_test.h"

enum {
    ECAM = 0,
    WINDOW = 0x10000000,        /* where 0x40000000 of the bus is */
    WINDOW_BUS = 0x40000000,
    PORTS = 0x20000000,
    HIGH = 0x20010000,          /* where 0x400000000 of the bus is */
    CARD = 1 << 15,             /* configuration space of what is in slot 1 */
    LEGACY = PORTS + 0x1000,    /* BARs of a virtio device there, by pci_test_place_bars: 0, */
    MSIX = WINDOW + 0x10000,    /* 1, */
    MODERN = WINDOW,            /* 4 */
};

static inline void pci_test_init(struct hw_test *t)
{
    hw_test_init(t, "gpex-pcihost",
                 "{\"x-ecam-size\": 268435456, \"x-below-4g-mmio-base\": 1073741824,"
                 " \"x-below-4g-mmio-size\": 268435456, \"x-above-4g-mmio-base\": 17179869184,"
                 " \"x-above-4g-mmio-size\": 268435456}",
                 NULL);
}

static inline struct object *pci_test_bus(struct hw_test *t)
{
    return object_resolve(t->control.root, "pcie.0", "PCI", NULL);
}

/* refused: NULL, or what is in the error's message; then the result is NULL. */
static inline struct pci_device *pci_test_plug(struct hw_test *t, struct object *bus,
                                               const char *type, const char *name,
                                               const char *properties, bool hotplugged,
                                               const char *refused)
{
    auto_ptr(object) obj = object_new(object_type_find(type));
    g_autoptr(json_object) json = NULL;
    GError *error = NULL;

    json = json_parse(properties, &error);
    g_assert_no_error(error);
    g_assert_true(object_add_child(t->control.root, name, obj, &error));
    g_assert_true(object_set_all(obj, json, NULL, false, &error));
    ((struct device *)obj)->hotplugged = hotplugged;
    if (refused) {
        g_assert_false(hotplug_plug(bus, obj, &error));
        g_assert_nonnull(strstr(error->message, refused));
        g_clear_error(&error);
        object_remove(obj);
        return NULL;
    }
    hotplug_plug(bus, obj, &error);
    g_assert_no_error(error);
    return (struct pci_device *)obj;
}

static inline void pci_test_unplug(struct pci_device *dev)
{
    hotplug_unplug(&dev->bus->bus.object, &dev->device.object);
}

static inline void pci_test_place_bars(struct hw_test *t)
{
    hw_write(t, CARD + 0x10, 4, 0x1000);
    hw_write(t, CARD + 0x14, 4, WINDOW_BUS + 0x10000);
    hw_write(t, CARD + 0x20, 4, WINDOW_BUS);
    hw_write(t, CARD + 0x24, 4, 0);
    hw_write(t, CARD + 0x04, 2, 7);
}

#endif
