#include "hw/pci/pci_bridge.h"

#include "hw/pci/pci_priv.h"

/* Chapter 3.2 of PCI-to-PCI Bridge 1.2. */
enum {
    IO_BASE = 0x1c,
    IO_LIMIT = 0x1d,
    MEMORY_BASE = 0x20,
    MEMORY_LIMIT = 0x22,
    PREFETCH_BASE = 0x24,
    PREFETCH_LIMIT = 0x26,
    PREFETCH_BASE_HIGH = 0x28,
    PREFETCH_LIMIT_HIGH = 0x2c,
    INTERRUPT_LINE = 0x3c,          /* control in its upper half */
    CONTROL = 0x3e,

    IO_MASK = 0xf0,                 /* 4 KiB, of 16 bits */
    MEMORY_MASK = 0xfff0,           /* 1 MiB */
    PREFETCH_64 = 1,
    CONTROL_PARITY = 1,
    CONTROL_SERR = 2,
    CONTROL_RESET = 0x40,

    IO_SPACE = 0x10000,
};

static uint64_t field(const struct pci_device *dev, uint32_t offset, uint32_t mask)
{
    return pci_get(dev->config + offset, 2) & mask;
}

bool pci_bridge_window(const struct pci_device *dev, enum pci_window_kind kind, uint64_t *base,
                       uint64_t *limit)
{
    uint16_t command = (uint16_t)pci_get(dev->config + PCI_COMMAND, 2);

    switch (kind) {
    case PCI_WINDOW_IO:
        *base = (uint64_t)(dev->config[IO_BASE] & IO_MASK) << 8;
        *limit = (uint64_t)(dev->config[IO_LIMIT] & IO_MASK) << 8 | 0xfff;
        return command & PCI_COMMAND_IO && *base <= *limit;
    case PCI_WINDOW_MEMORY:
        *base = field(dev, MEMORY_BASE, MEMORY_MASK) << 16;
        *limit = field(dev, MEMORY_LIMIT, MEMORY_MASK) << 16 | 0xfffff;
        break;
    default:
        *base = (uint64_t)pci_get(dev->config + PREFETCH_BASE_HIGH, 4) << 32 |
                field(dev, PREFETCH_BASE, MEMORY_MASK) << 16;
        *limit = (uint64_t)pci_get(dev->config + PREFETCH_LIMIT_HIGH, 4) << 32 |
                 field(dev, PREFETCH_LIMIT, MEMORY_MASK) << 16 | 0xfffff;
        break;
    }
    return command & PCI_COMMAND_MEMORY && *base <= *limit;
}

static void close_window(struct pci_window *window)
{
    if (window->open) {
        region_remove(&window->region);
        region_clear(&window->region);  /* readers have what it showed, not the alias */
        window->open = false;
    }
}

static void update_window(struct pci_bridge *bridge, enum pci_window_kind kind)
{
    static const char *const names[] = {"pci_bridge_io", "pci_bridge_mem", "pci_bridge_pref_mem"};
    struct pci_window *window = &bridge->windows[kind];
    struct pci_bus *bus = bridge->dev.bus;
    bool io = kind == PCI_WINDOW_IO;
    uint64_t base, limit;
    bool open = pci_bridge_window(&bridge->dev, kind, &base, &limit);

    if (open == window->open && (!open || (base == window->base && limit == window->limit))) {
        return;
    }
    close_window(window);
    if (open) {
        region_init_alias(&window->region, names[kind], io ? &bridge->io : &bridge->memory, base,
                          limit - base + 1);
        region_add(io ? bus->io : bus->memory, base, &window->region, 1);
        window->open = true;
        window->base = base;
        window->limit = limit;
    }
}

void pci_bridge_update(struct pci_bridge *bridge)
{
    bool reset = pci_get(bridge->dev.config + CONTROL, 2) & CONTROL_RESET;

    for (unsigned i = 0; i < PCI_N_WINDOWS; i++) {
        update_window(bridge, i);
    }
    if (reset && !bridge->in_reset) {
        pci_reset_devices_of(bridge->dev.secondary);
    }
    bridge->in_reset = reset;
}

/* Windows are closed: their bases are above their limits. */
static void make_header(struct pci_device *dev)
{
    pci_set_writable(dev, PCI_PRIMARY_BUS, 0xffffff);
    dev->config[IO_BASE] = IO_MASK;
    pci_set_writable(dev, IO_BASE, IO_MASK | IO_MASK << 8);
    pci_put16(dev->config + MEMORY_BASE, MEMORY_MASK);
    pci_set_writable(dev, MEMORY_BASE, MEMORY_MASK | (uint32_t)MEMORY_MASK << 16);
    pci_put16(dev->config + PREFETCH_BASE, MEMORY_MASK | PREFETCH_64);
    pci_put16(dev->config + PREFETCH_LIMIT, PREFETCH_64);
    pci_set_writable(dev, PREFETCH_BASE, MEMORY_MASK | (uint32_t)MEMORY_MASK << 16);
    pci_set_writable(dev, PREFETCH_BASE_HIGH, UINT32_MAX);
    pci_set_writable(dev, PREFETCH_LIMIT_HIGH, UINT32_MAX);
    pci_set_writable(dev, INTERRUPT_LINE,
                     0xff | (CONTROL_PARITY | CONTROL_SERR | CONTROL_RESET) << 16);
}

bool pci_bridge_realize(struct pci_bridge *bridge, const char *bus_name, GError **error)
{
    struct pci_device *dev = &bridge->dev;

    make_header(dev);
    region_init_container(&bridge->memory, "pci_bridge_pci", 0);
    region_init_container(&bridge->io, "pci_bridge_io", IO_SPACE);
    dev->secondary = pci_bus_new_secondary(dev, bus_name, &bridge->memory, &bridge->io, error);
    return dev->secondary != NULL;
}

void pci_bridge_unrealize(struct pci_bridge *bridge)
{
    for (unsigned i = 0; i < PCI_N_WINDOWS; i++) {
        close_window(&bridge->windows[i]);
    }
    region_clear(&bridge->memory);
    region_clear(&bridge->io);
}
