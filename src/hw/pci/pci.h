/*
 * PCI (Local Bus 3.0, with the configuration space of Express): what devices and host bridges
 * share.
 *
 * A device is a type that descends from "pci-device" and plugs into a bus of type "PCI". Its
 * configuration space is bytes with masks of what the guest may write; BARs are regions that follow
 * what it wrote. A bridge is a device that has a bus. All of a host bridge's buses are under the
 * lock of its root bus, which its handlers take. Interrupts may be raised with any lock held:
 * irq_lock (the root's, too) is a leaf but for interrupt controllers.
 */
#ifndef NANDU_HW_PCI_PCI_H
#define NANDU_HW_PCI_PCI_H

#include "hw/bus.h"
#include "hw/mmio_device.h"

enum {
    PCI_CONFIG_SIZE = 256,
    PCI_EXPRESS_CONFIG_SIZE = 4096,
    PCI_N_BARS = 6,
    PCI_N_PINS = 4,
    PCI_N_DEVFN = 256,

    /* Configuration header (6.1). */
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_PROG_IF = 0x09,
    PCI_CLASS = 0x0a,
    PCI_CACHE_LINE_SIZE = 0x0c,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_CAPABILITY_LIST = 0x34,
    PCI_PRIMARY_BUS = 0x18,         /* of a bridge (PCI-to-PCI Bridge 1.2, 3.2) */
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,

    PCI_COMMAND_IO = 1,
    PCI_COMMAND_MEMORY = 2,
    PCI_COMMAND_MASTER = 4,
    PCI_COMMAND_INTX_DISABLE = 0x400,
    PCI_STATUS_INTERRUPT = 8,
    PCI_STATUS_CAPABILITIES = 0x10,
    PCI_MULTIFUNCTION = 0x80,
    PCI_HEADER_BRIDGE = 1,

    /* Kinds of BARs (6.2.5.1). */
    PCI_BAR_IO = 1,
    PCI_BAR_64 = 4,
    PCI_BAR_PREFETCH = 8,

    PCI_CAP_MSIX = 0x11,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_EXPRESS = 0x10,
};

struct pci_device;

struct pci_bus {
    struct bus bus;
    struct pci_bus *root;           /* itself, if there is no bridge */
    struct pci_device *bridge;      /* that has it */
    struct region *memory, *io;     /* where BARs appear */
    struct pci_device *devices[PCI_N_DEVFN];
    unsigned n_slots;               /* 32; 1 behind a port of PCI Express */
    bool unpowered;                 /* nobody answers */
    /* Of a root only. */
    GMutex lock;                    /* configuration spaces and BARs */
    GMutex irq_lock;
    struct irq_line irqs[PCI_N_PINS];   /* of the host bridge */
    unsigned n_asserted[PCI_N_PINS];
};

struct pci_bar {
    struct region *region;          /* the device's; NULL: not there */
    uint64_t size;                  /* bytes, a power of 2 */
    uint8_t kind;
    bool mapped;
    uint64_t address;               /* if mapped */
};

struct pci_msix {
    uint32_t n_vectors;             /* 0: the device has none */
    uint16_t capability;
    uint32_t table_size, pba_size;  /* bytes */
    uint8_t *table;                 /* saved; 16 bytes each: address, data, control */
    uint8_t *pending;               /* saved; a bit each */
    struct region table_region, pba_region, bar;
};

struct pci_device {
    struct device device;
    struct pci_bus *bus;            /* NULL: not plugged */
    const struct hw_context *hw;
    char *addr;                     /* property; NULL: the first slot that is free */
    bool multifunction;
    uint8_t devfn;
    uint32_t config_size;
    /* config_size bytes each; clearable: what writing a 1 clears. */
    uint8_t *config, *writable, *clearable, *initial;
    struct pci_bus *secondary;      /* of a bridge; NULL: it is none */
    uint16_t last_capability;       /* where the next one goes */
    struct pci_bar bars[PCI_N_BARS];
    struct pci_msix msix;           /* under irq_lock of the bus */
    bool intx;                      /* as the device drives it; under irq_lock */
    bool asserted;                  /* counted in the bus' */
};

/* class_data. */
struct pci_class {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint16_t class_code;            /* class and subclass */
    uint8_t revision;
    /* Fills the rest of the configuration space, adds BARs and capabilities. */
    bool (*realize)(struct pci_device *dev, GError **error);
    void (*unrealize)(struct pci_device *dev);      /* also half-way; may be NULL */
    void (*reset)(struct pci_device *dev);          /* the bus' lock is held; may be NULL */
    /* The guest wrote there, or the state was loaded; the bus' lock is held. May be NULL. */
    void (*config_written)(struct pci_device *dev, uint32_t offset, unsigned size);
    bool is_bridge;                 /* its header is a bridge's */
    /* Of a bridge: a device on its bus has come, is to go (may be refused), has gone. The lock is
     * held, but not for the request. May be NULL. */
    void (*plugged)(struct pci_device *bridge, struct pci_device *dev);
    bool (*unplug_request)(struct pci_device *bridge, struct pci_device *dev, GError **error);
    void (*unplugged)(struct pci_device *bridge, struct pci_device *dev);
    const struct state_table *state;    /* its own, besides the core's; NULL: none */
    const void *child;              /* what a family of devices has besides */
};

/* The root bus of a host bridge; pci_bus_connect: the lines of the four pins of slot 0. */
struct pci_bus *pci_bus_new(struct object *owner, const char *prefix, const struct hw_context *hw,
                            struct region *memory, struct region *io, GError **error);
void pci_bus_connect(struct pci_bus *bus, unsigned pin, struct irq_line line);
/* Resets all devices on it, and behind its bridges. */
void pci_bus_reset(struct pci_bus *bus);
/* Bus number, device and function as the guest has numbered them. size: 1, 2 or 4, aligned. Where
 * no device is reads give ones. These take the lock. */
uint32_t pci_config_read(struct pci_bus *root, uint8_t number, uint8_t devfn, uint32_t offset,
                         unsigned size);
void pci_config_write(struct pci_bus *root, uint8_t number, uint8_t devfn, uint32_t offset,
                      uint32_t value, unsigned size);

/* ---- For devices ---- */

/* In realize. region: the device's, size a power of 2; stays the device's. */
void pci_add_bar(struct pci_device *dev, unsigned i, uint8_t kind, struct region *region,
                 uint64_t size);
/* The place of a capability of so many bytes, zeroed but for its id and link; nothing of it is
 * writable. */
uint8_t *pci_add_capability(struct pci_device *dev, uint8_t id, uint8_t size);
/* The guest may write the bits of mask at offset of the configuration space. */
void pci_set_writable(struct pci_device *dev, uint32_t offset, uint32_t mask);
/* The capability of PCI Express (Base 4.0, 7.5.3), version 2; returns its place. */
enum pcie_kind { PCIE_ENDPOINT = 0, PCIE_ROOT_PORT = 4 };
uint8_t *pcie_add_capability(struct pci_device *dev, enum pcie_kind kind);
/* MSI-X (6.8.2) of n vectors, 1 to 2048, with a BAR of its own. */
void pci_add_msix(struct pci_device *dev, unsigned bar, uint32_t n);
bool pci_msix_enabled(struct pci_device *dev);
/* Any thread, any lock: an interrupt by message; or the device's pin. */
void pci_msix_notify(struct pci_device *dev, uint32_t vector);
void pci_set_intx(struct pci_device *dev, bool level);

/* vCPUs don't run. */
void pci_device_save(struct pci_device *dev, GByteArray *out);
bool pci_device_load(struct pci_device *dev, const uint8_t *data, size_t size, size_t *position,
                     GError **error);

static inline void pci_put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void pci_put32(uint8_t *p, uint32_t value)
{
    pci_put16(p, (uint16_t)value);
    pci_put16(p + 2, (uint16_t)(value >> 16));
}

static inline uint32_t pci_get(const uint8_t *p, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)p[i] << (8 * i);
    }
    return value;
}

#endif
