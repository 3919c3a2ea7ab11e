/* The ECAM: PCI Express Base 4.0, 7.2.2. */
#include "hw/pci/gpex.h"

#include "hw/pci/pci.h"

#include "qapi/error.h"

enum { PORTS_SIZE = 0x10000, ECAM_BUS_SHIFT = 20, ECAM_DEVFN_SHIFT = 12, MIN_WINDOW = 0x1000 };

struct gpex {
    struct mmio_device dev;
    uint64_t ecam_size, low_base, low_size, high_base, high_size;     /* properties */
    struct region memory, io;       /* the bus' address spaces */
    struct pci_bus *bus;
};

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    struct gpex *s = opaque;

    return pci_config_read(s->bus, (uint8_t)(offset >> ECAM_BUS_SHIFT),
                           (uint8_t)(offset >> ECAM_DEVFN_SHIFT), offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct gpex *s = opaque;

    pci_config_write(s->bus, (uint8_t)(offset >> ECAM_BUS_SHIFT),
                     (uint8_t)(offset >> ECAM_DEVFN_SHIFT), offset & 0xfff, (uint32_t)value, size);
}

static const struct region_ops ecam_ops = {
    .read_simple = ecam_read, .write_simple = ecam_write, .max_size = 8, .impl_max = 4,
};

/* Where no BAR is nobody answers: reads give ones. */
static uint64_t unclaimed_read(void *opaque, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void unclaimed_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct region_ops unclaimed_ops = {
    .read_simple = unclaimed_read, .write_simple = unclaimed_write, .unaligned = true,
};

/* Lines are known when the board has connected them: they are looked up when one changes. */
static void forward_irq(void *opaque, unsigned n, bool level)
{
    struct gpex *s = opaque;

    irq_set(&s->dev.irqs[n], level);
}

static bool check_windows(const struct gpex *s, GError **error)
{
    if (s->ecam_size < 1 << ECAM_BUS_SHIFT || s->ecam_size > 256 << ECAM_BUS_SHIFT ||
        s->low_size < MIN_WINDOW || s->high_size < MIN_WINDOW ||
        s->low_base + s->low_size < s->low_size || s->high_base + s->high_size < s->high_size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "gpex-pcihost: its windows need sizes, and places below 2^64");
        return false;
    }
    return true;
}

/* Slot 0 has a function that stands for the bridge itself. */
static bool plug_root(struct gpex *s, GError **error)
{
    auto_ptr(object) root = object_new(object_type_find("gpex-root"));

    return object_add_child(&s->dev.device.object, "gpex_root", root, error) &&
           hotplug_plug(&s->bus->bus.object, root, error);
}

static bool realize(struct mmio_device *dev, GError **error)
{
    struct gpex *s = (struct gpex *)dev;

    if (!check_windows(s, error)) {
        return false;
    }
    region_init_mmio(&s->memory, "gpex_mmio", &unclaimed_ops, s, 0, NULL);
    region_init_mmio(&s->io, "gpex_ioport", &unclaimed_ops, s, PORTS_SIZE, NULL);
    region_init_mmio(&dev->regions[GPEX_ECAM], "pcie-mmcfg-mmio", &ecam_ops, s, s->ecam_size, NULL);
    region_init_alias(&dev->regions[GPEX_LOW], "pcie-mmio", &s->memory, s->low_base, s->low_size);
    region_init_alias(&dev->regions[GPEX_PORTS], "gpex_ioport_window", &s->io, 0, PORTS_SIZE);
    region_init_alias(&dev->regions[GPEX_HIGH], "pcie-mmio-high", &s->memory, s->high_base,
                      s->high_size);
    dev->n_regions = 4;
    s->bus = pci_bus_new(&dev->device.object, "pcie", dev->hw, &s->memory, &s->io, error);
    if (!s->bus) {
        return false;
    }
    for (unsigned i = 0; i < PCI_N_PINS; i++) {
        pci_bus_connect(s->bus, i, (struct irq_line){forward_irq, s, i});
    }
    return plug_root(s, error);
}

static void reset(struct mmio_device *dev)
{
    pci_bus_reset(((struct gpex *)dev)->bus);
}

static const struct state_table state = {.name = "gpex-pcihost", .version = 1};

static const struct mmio_device_class gpex_class = {
    .state = &state,
    .n_irqs = PCI_N_PINS,
    .realize = realize,
    .reset = reset,
};

static void finalize(struct object *obj)
{
    struct gpex *s = (struct gpex *)obj;

    /* Aliases of these are cleared by the parent type, after this: they show nothing then. */
    region_clear(&s->memory);
    region_clear(&s->io);
}

static const struct property properties[] = {
    PROPERTY("x-ecam-size", gpex, ecam_size, qapi_type_size, "256M", "Size of the ECAM"),
    PROPERTY("x-below-4g-mmio-base", gpex, low_base, qapi_type_size, "0",
             "Window of 32-bit memory"),
    PROPERTY("x-below-4g-mmio-size", gpex, low_size, qapi_type_size, "0", "Its size"),
    PROPERTY("x-above-4g-mmio-base", gpex, high_base, qapi_type_size, "0",
             "Window of 64-bit memory"),
    PROPERTY("x-above-4g-mmio-size", gpex, high_size, qapi_type_size, "0", "Its size"),
};

static const struct object_type gpex_type = {
    .name = "gpex-pcihost",
    .parent = "mmio-device",
    .instance_size = sizeof(struct gpex),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &gpex_class,
    .finalize = finalize,
};
OBJECT_TYPE(gpex_type);

/* ---- The root: slot 0 of the bus ---- */

static const struct pci_class root_class = {
    .vendor = 0x1b36,
    .device = 0x0008,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x0600,
};

static const struct object_type root_type = {
    .name = "gpex-root",
    .parent = "pci-device",
    .instance_size = sizeof(struct pci_device),
    .class_data = &root_class,
};
OBJECT_TYPE(root_type);
