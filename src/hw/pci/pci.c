#include "hw/pci/pci.h"

#include <stdlib.h>
#include <string.h>

#include "qapi/error.h"

enum { FIRST_CAPABILITY = 0x40, N_SLOTS = 32 };

static const struct pci_class *class_of(const struct pci_device *dev)
{
    return object_class_data(&dev->device.object);
}

/* ---- The pins ---- */

/* With irq_lock held. A slot's pins are turned by its number (2.2.6), so that slots share the
 * lines. */
static void update_intx(struct pci_device *dev)
{
    struct pci_bus *bus = dev->bus;
    unsigned pin = (unsigned)(dev->config[PCI_INTERRUPT_PIN] - 1 + (dev->devfn >> 3)) % PCI_N_PINS;
    uint16_t command = (uint16_t)pci_get(dev->config + PCI_COMMAND, 2);
    bool assert = dev->intx && !(command & PCI_COMMAND_INTX_DISABLE);

    if (assert == dev->asserted || dev->config[PCI_INTERRUPT_PIN] == 0) {
        return;
    }
    dev->asserted = assert;
    bus->n_asserted[pin] += assert ? 1 : -1u;
    if (bus->n_asserted[pin] == assert) {
        irq_set(&bus->irqs[pin], assert);
    }
}

void pci_set_intx(struct pci_device *dev, bool level)
{
    g_mutex_lock(&dev->bus->irq_lock);
    dev->intx = level;
    update_intx(dev);
    g_mutex_unlock(&dev->bus->irq_lock);
}

/* ---- BARs ---- */

static uint64_t bar_address(const struct pci_device *dev, unsigned i)
{
    const struct pci_bar *bar = &dev->bars[i];
    uint64_t address = pci_get(dev->config + PCI_BAR0 + 4 * i, 4);

    if (bar->kind & PCI_BAR_64) {
        address |= (uint64_t)pci_get(dev->config + PCI_BAR0 + 4 * i + 4, 4) << 32;
    }
    return address & ~(bar->size - 1);
}

/* Puts regions where the guest has put the BARs; at address 0 they are not put yet. */
static void update_bars(struct pci_device *dev)
{
    uint16_t command = (uint16_t)pci_get(dev->config + PCI_COMMAND, 2);

    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        struct pci_bar *bar = &dev->bars[i];
        bool io = bar->kind & PCI_BAR_IO;
        uint64_t address;
        bool map;

        if (!bar->region) {
            continue;
        }
        address = bar_address(dev, i);
        map = command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY) && address != 0 &&
              address + bar->size - 1 >= address && (!io || address + bar->size <= 0x10000);
        if (bar->mapped && (!map || address != bar->address)) {
            region_remove(bar->region);
            bar->mapped = false;
        }
        if (map && !bar->mapped) {
            region_add(io ? dev->bus->io : dev->bus->memory, address, bar->region, 1);
            bar->mapped = true;
            bar->address = address;
        }
    }
}

void pci_add_bar(struct pci_device *dev, unsigned i, uint8_t kind, struct region *region,
                 uint64_t size)
{
    uint32_t offset = PCI_BAR0 + 4 * i;
    uint64_t mask = ~(size - 1);

    g_assert(i + !!(kind & PCI_BAR_64) < PCI_N_BARS && size >= 16 && (size & (size - 1)) == 0);
    dev->bars[i] = (struct pci_bar){.region = region, .size = size, .kind = kind};
    dev->config[offset] = kind;
    pci_set_writable(dev, offset, (uint32_t)mask);
    if (kind & PCI_BAR_64) {
        pci_set_writable(dev, offset + 4, (uint32_t)(mask >> 32));
    }
}

/* ---- Configuration space ---- */

void pci_set_writable(struct pci_device *dev, uint32_t offset, uint32_t mask)
{
    g_assert(offset + 4 <= dev->config_size);
    pci_put32(dev->writable + offset, mask);
}

uint8_t *pci_add_capability(struct pci_device *dev, uint8_t id, uint8_t size)
{
    uint16_t at = dev->last_capability;
    uint8_t *p = dev->config + at;

    g_assert(at + size <= PCI_CONFIG_SIZE);
    p[0] = id;
    p[1] = dev->config[PCI_CAPABILITY_LIST];
    dev->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
    dev->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    dev->last_capability = (uint16_t)((at + size + 3) & ~3);
    return p;
}

static void msix_flush(struct pci_device *dev);

uint32_t pci_config_read(struct pci_bus *bus, uint8_t devfn, uint32_t offset, unsigned size)
{
    uint32_t value = UINT32_MAX >> (32 - 8 * size);
    struct pci_device *dev;

    g_mutex_lock(&bus->lock);
    dev = bus->devices[devfn];
    if (dev && offset + size <= dev->config_size) {
        value = pci_get(dev->config + offset, size);
        if (offset <= PCI_STATUS && offset + size > PCI_STATUS) {
            g_mutex_lock(&bus->irq_lock);
            value |= dev->intx ? (uint32_t)PCI_STATUS_INTERRUPT << (8 * (PCI_STATUS - offset)) : 0;
            g_mutex_unlock(&bus->irq_lock);
        }
    } else if (dev) {
        value = 0;      /* extended space that the device doesn't have */
    }
    g_mutex_unlock(&bus->lock);
    return value;
}

void pci_config_write(struct pci_bus *bus, uint8_t devfn, uint32_t offset, uint32_t value,
                      unsigned size)
{
    struct pci_device *dev;

    g_mutex_lock(&bus->lock);
    dev = bus->devices[devfn];
    if (dev && offset + size <= dev->config_size) {
        g_mutex_lock(&bus->irq_lock);
        for (unsigned i = 0; i < size; i++) {
            uint8_t mask = dev->writable[offset + i];

            dev->config[offset + i] =
                (uint8_t)((dev->config[offset + i] & ~mask) | (value >> (8 * i) & mask));
        }
        update_intx(dev);
        msix_flush(dev);
        g_mutex_unlock(&bus->irq_lock);
        if (offset < PCI_BAR0 + 4 * PCI_N_BARS) {
            update_bars(dev);
        }
    }
    g_mutex_unlock(&bus->lock);
}

/* ---- MSI-X ---- */

enum {
    MSIX_ENTRY = 16,
    MSIX_CONTROL = 2,               /* in the capability */
    MSIX_ENABLE = 0x8000,
    MSIX_MASK_ALL = 0x4000,
    MSIX_VECTOR_CONTROL = 12,       /* in an entry */
    MSIX_VECTOR_MASK = 1,
    MSIX_CAPABILITY_SIZE = 12,
};

static uint16_t msix_control(const struct pci_device *dev)
{
    return (uint16_t)pci_get(dev->config + dev->msix.capability + MSIX_CONTROL, 2);
}

bool pci_msix_enabled(struct pci_device *dev)
{
    bool enabled = false;

    if (dev->msix.n_vectors) {
        g_mutex_lock(&dev->bus->irq_lock);
        enabled = msix_control(dev) & MSIX_ENABLE;
        g_mutex_unlock(&dev->bus->irq_lock);
    }
    return enabled;
}

/* Into memory only: a message to registers, which the guest could choose, would come back to
 * locks that are held here. No interrupt controller takes messages yet. */
static void send_message(struct pci_device *dev, uint32_t vector)
{
    const uint8_t *entry = dev->msix.table + MSIX_ENTRY * vector;
    uint64_t address = pci_get(entry, 4) | (uint64_t)pci_get(entry + 4, 4) << 32;
    struct memory_attrs attrs = {.requester = dev->devfn, .memory_only = true};

    address_space_write(dev->hw->memory, address, entry + 8, 4, attrs);
}

/* With irq_lock held: sends what waited for its mask to go. */
static void msix_flush(struct pci_device *dev)
{
    struct pci_msix *msix = &dev->msix;

    if (!msix->n_vectors || (msix_control(dev) & (MSIX_ENABLE | MSIX_MASK_ALL)) != MSIX_ENABLE) {
        return;
    }
    for (uint32_t i = 0; i < msix->n_vectors; i++) {
        uint8_t bit = (uint8_t)(1 << i % 8);

        if (msix->pending[i / 8] & bit &&
            !(msix->table[MSIX_ENTRY * i + MSIX_VECTOR_CONTROL] & MSIX_VECTOR_MASK)) {
            msix->pending[i / 8] &= (uint8_t)~bit;
            send_message(dev, i);
        }
    }
}

void pci_msix_notify(struct pci_device *dev, uint32_t vector)
{
    if (vector < dev->msix.n_vectors) {
        g_mutex_lock(&dev->bus->irq_lock);
        if (msix_control(dev) & MSIX_ENABLE) {
            dev->msix.pending[vector / 8] |= (uint8_t)(1 << vector % 8);
            msix_flush(dev);
        }
        g_mutex_unlock(&dev->bus->irq_lock);
    }
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *dev = opaque;
    uint32_t value;

    g_mutex_lock(&dev->bus->irq_lock);
    value = pci_get(dev->msix.table + offset, size);
    g_mutex_unlock(&dev->bus->irq_lock);
    return value;
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *dev = opaque;

    if (offset % MSIX_ENTRY == MSIX_VECTOR_CONTROL) {
        value &= MSIX_VECTOR_MASK;
    } else if (offset % MSIX_ENTRY == 0) {
        value &= ~3ull;
    }
    g_mutex_lock(&dev->bus->irq_lock);
    pci_put32(dev->msix.table + offset, (uint32_t)value);
    msix_flush(dev);
    g_mutex_unlock(&dev->bus->irq_lock);
}

static uint64_t pba_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *dev = opaque;
    uint32_t value;

    g_mutex_lock(&dev->bus->irq_lock);
    value = pci_get(dev->msix.pending + offset, size);
    g_mutex_unlock(&dev->bus->irq_lock);
    return value;
}

static void pba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct region_ops table_ops = {
    .read_simple = table_read, .write_simple = table_write,
    .min_size = 4, .max_size = 8, .impl_min = 4, .impl_max = 4,
};

static const struct region_ops pba_ops = {
    .read_simple = pba_read, .write_simple = pba_write,
    .min_size = 4, .max_size = 8, .impl_min = 4, .impl_max = 4,
};

void pci_add_msix(struct pci_device *dev, unsigned bar, uint32_t n)
{
    struct pci_msix *msix = &dev->msix;
    uint32_t half = 2048;
    uint8_t *p = pci_add_capability(dev, PCI_CAP_MSIX, MSIX_CAPABILITY_SIZE);

    g_assert(n >= 1 && n <= 2048);
    while (half < n * MSIX_ENTRY) {
        half *= 2;
    }
    msix->n_vectors = n;
    msix->capability = (uint16_t)(p - dev->config);
    msix->table_size = n * MSIX_ENTRY;
    msix->pba_size = (n + 63) / 64 * 8;
    msix->table = g_malloc0(msix->table_size);
    msix->pending = g_malloc0(msix->pba_size);
    pci_put16(p + MSIX_CONTROL, (uint16_t)(n - 1));
    pci_put32(p + 4, bar);
    pci_put32(p + 8, half | bar);
    pci_set_writable(dev, msix->capability, (uint32_t)(MSIX_ENABLE | MSIX_MASK_ALL) << 16);
    region_init_container(&msix->bar, "msix", 2 * half);
    region_init_mmio(&msix->table_region, "msix-table", &table_ops, dev, msix->table_size, NULL);
    region_init_mmio(&msix->pba_region, "msix-pba", &pba_ops, dev, msix->pba_size, NULL);
    region_add(&msix->bar, 0, &msix->table_region, 0);
    region_add(&msix->bar, half, &msix->pba_region, 0);
    pci_add_bar(dev, bar, 0, &msix->bar, 2 * half);
}

static void free_msix(struct pci_msix *msix)
{
    if (msix->n_vectors) {
        region_remove(&msix->table_region);
        region_remove(&msix->pba_region);
        region_clear(&msix->table_region);
        region_clear(&msix->pba_region);
        region_clear(&msix->bar);
    }
    g_free(msix->table);
    g_free(msix->pending);
}

/* ---- Devices ---- */

static void reset_device(struct pci_device *dev)
{
    struct pci_msix *msix = &dev->msix;

    g_mutex_lock(&dev->bus->irq_lock);
    memcpy(dev->config, dev->initial, dev->config_size);
    dev->intx = false;
    update_intx(dev);
    for (uint32_t i = 0; i < msix->n_vectors; i++) {
        memset(msix->table + MSIX_ENTRY * i, 0, MSIX_ENTRY);
        msix->table[MSIX_ENTRY * i + MSIX_VECTOR_CONTROL] = MSIX_VECTOR_MASK;
    }
    if (msix->n_vectors) {
        memset(msix->pending, 0, msix->pba_size);
    }
    g_mutex_unlock(&dev->bus->irq_lock);
    update_bars(dev);
    if (class_of(dev)->reset) {
        class_of(dev)->reset(dev);
    }
}

static void make_header(struct pci_device *dev)
{
    const struct pci_class *class = class_of(dev);
    uint8_t *c = dev->config;

    pci_put16(c + PCI_VENDOR_ID, class->vendor);
    pci_put16(c + PCI_DEVICE_ID, class->device);
    c[PCI_REVISION] = class->revision;
    pci_put16(c + PCI_CLASS, class->class_code);
    c[PCI_HEADER_TYPE] = dev->multifunction ? PCI_MULTIFUNCTION : 0;
    pci_put16(c + PCI_SUBSYSTEM_VENDOR_ID, class->subsystem_vendor);
    pci_put16(c + PCI_SUBSYSTEM_ID, class->subsystem);
    pci_set_writable(dev, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                     0x140 | PCI_COMMAND_INTX_DISABLE);     /* and parity and SERR# */
    dev->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    dev->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static bool complete(struct object *obj, GError **error)
{
    struct pci_device *dev = (struct pci_device *)obj;

    if (!dev->bus) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' needs a PCI bus",
                    obj->type->name);
        return false;
    }
    dev->config_size = PCI_CONFIG_SIZE;
    dev->config = g_malloc0(dev->config_size);
    dev->writable = g_malloc0(dev->config_size);
    dev->last_capability = FIRST_CAPABILITY;
    make_header(dev);
    if (class_of(dev)->realize && !class_of(dev)->realize(dev, error)) {
        return false;
    }
    dev->initial = g_memdup2(dev->config, dev->config_size);
    return true;
}

static void finalize(struct object *obj)
{
    struct pci_device *dev = (struct pci_device *)obj;

    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        if (dev->bars[i].region && dev->bars[i].region->parent) {
            region_remove(dev->bars[i].region);
        }
    }
    if (class_of(dev)->unrealize) {
        class_of(dev)->unrealize(dev);
    }
    free_msix(&dev->msix);
    g_free(dev->config);
    g_free(dev->writable);
    g_free(dev->initial);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct pci_device *dev = instance;

    /* What the guest can't write is as this device has it. */
    for (uint32_t i = 0; i < dev->config_size; i++) {
        dev->config[i] = (uint8_t)((dev->config[i] & dev->writable[i]) |
                                   (dev->initial[i] & ~dev->writable[i]));
    }
    return true;
}

static const struct state_field fields[] = {
    STATE_POINTER(pci_device, config, STATE_U8, config_size),
    {.name = "msix_table", .kind = STATE_U8, .offset = offsetof(struct pci_device, msix.table),
     .count_offset = offsetof(struct pci_device, msix.table_size)},
    {.name = "msix_pending", .kind = STATE_U8, .offset = offsetof(struct pci_device, msix.pending),
     .count_offset = offsetof(struct pci_device, msix.pba_size)},
};

static const struct state_table state = {
    .name = "pci-device",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

void pci_device_save(struct pci_device *dev, GByteArray *out)
{
    g_autofree char *id = object_path(&dev->device.object);

    g_mutex_lock(&dev->bus->lock);
    g_mutex_lock(&dev->bus->irq_lock);
    state_save(&state, dev, id, out);
    g_mutex_unlock(&dev->bus->irq_lock);
    g_mutex_unlock(&dev->bus->lock);
}

bool pci_device_load(struct pci_device *dev, const uint8_t *data, size_t size, size_t *position,
                     GError **error)
{
    g_autofree char *id = object_path(&dev->device.object);
    bool loaded;

    g_mutex_lock(&dev->bus->lock);
    g_mutex_lock(&dev->bus->irq_lock);
    loaded = state_load(&state, dev, id, data, size, position, error);
    update_intx(dev);
    g_mutex_unlock(&dev->bus->irq_lock);
    update_bars(dev);
    g_mutex_unlock(&dev->bus->lock);
    return loaded;
}

static const struct property properties[] = {
    PROPERTY("addr", pci_device, addr, qapi_type_str, NULL,
             "Slot and optional function number, example: 06.0 or 06"),
    PROPERTY("multifunction", pci_device, multifunction, qapi_type_bool, "off",
             "Other functions of its slot may be there"),
};

static const struct object_type pci_device_type = {
    .name = "pci-device",
    .parent = "device",
    .abstract = true,
    .instance_size = sizeof(struct pci_device),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .bus = "PCI",
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(pci_device_type);

/* ---- Buses ---- */

struct pci_bus *pci_bus_new(struct object *owner, const char *prefix, const struct hw_context *hw,
                            struct region *memory, struct region *io, GError **error)
{
    struct pci_bus *bus = (struct pci_bus *)bus_new(owner, "PCIE", prefix, hw, error);

    if (bus) {
        bus->memory = memory;
        bus->io = io;
    }
    return bus;
}

void pci_bus_connect(struct pci_bus *bus, unsigned pin, struct irq_line line)
{
    g_assert(pin < PCI_N_PINS);
    bus->irqs[pin] = line;
}

void pci_bus_reset(struct pci_bus *bus)
{
    g_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < PCI_N_DEVFN; i++) {
        if (bus->devices[i]) {
            reset_device(bus->devices[i]);
        }
    }
    g_mutex_unlock(&bus->lock);
}

/* "06", "6.1", in hexadecimal. */
static bool parse_addr(const char *addr, unsigned *devfn, GError **error)
{
    char *end;
    unsigned long slot = strtoul(addr, &end, 16), function = 0;

    if (end != addr && *end == '.' && g_ascii_isdigit(end[1])) {
        function = strtoul(end + 1, &end, 16);
    }
    if (end == addr || *end || !g_ascii_isxdigit(*addr) || slot >= N_SLOTS || function > 7) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Property 'addr' is '%s', it is a slot from 0 to 1f, or SLOT.FUNCTION: 06.0",
                    addr);
        return false;
    }
    *devfn = (unsigned)(slot << 3 | function);
    return true;
}

static bool choose_devfn(const struct pci_bus *bus, const struct pci_device *dev, unsigned *devfn,
                         GError **error)
{
    if (dev->addr) {
        if (!parse_addr(dev->addr, devfn, error)) {
            return false;
        }
        if (bus->devices[*devfn]) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "PCI: slot %u function %u not available for %s, in use by %s,id=%s",
                        *devfn >> 3, *devfn & 7, dev->device.object.type->name,
                        bus->devices[*devfn]->device.object.type->name,
                        bus->devices[*devfn]->device.object.name);
            return false;
        }
        return true;
    }
    for (*devfn = 0; *devfn < PCI_N_DEVFN && bus->devices[*devfn]; *devfn += 8) {
    }
    if (*devfn >= PCI_N_DEVFN) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "PCI: no slot/function available for %s, all in use or reserved",
                    dev->device.object.type->name);
        return false;
    }
    return true;
}

static bool pre_plug(struct object *handler, struct object *obj, GError **error)
{
    struct pci_bus *bus = (struct pci_bus *)handler;
    struct pci_device *dev = (struct pci_device *)obj;
    unsigned devfn;

    if (!object_is(obj, "pci-device")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' is no PCI device",
                    obj->type->name);
        return false;
    }
    if (!choose_devfn(bus, dev, &devfn, error) || !bus_add(&bus->bus, obj, error)) {
        return false;
    }
    dev->bus = bus;
    dev->hw = bus->bus.hw;
    dev->devfn = (uint8_t)devfn;
    return true;
}

static void plug(struct object *handler, struct object *obj)
{
    struct pci_bus *bus = (struct pci_bus *)handler;
    struct pci_device *dev = (struct pci_device *)obj;

    g_mutex_lock(&bus->lock);
    bus->devices[dev->devfn] = dev;
    reset_device(dev);
    g_mutex_unlock(&bus->lock);
}

static void unplug(struct object *handler, struct object *obj)
{
    struct pci_bus *bus = (struct pci_bus *)handler;
    struct pci_device *dev = (struct pci_device *)obj;

    g_mutex_lock(&bus->lock);
    if (bus->devices[dev->devfn] == dev) {
        reset_device(dev);
        bus->devices[dev->devfn] = NULL;
    }
    g_mutex_unlock(&bus->lock);
    /* No handler of its BARs is running any more. */
    address_space_synchronize(bus->bus.hw->memory);
    bus_remove(&bus->bus, obj);
}

static void bus_init(struct object *obj)
{
    g_mutex_init(&((struct pci_bus *)obj)->lock);
    g_mutex_init(&((struct pci_bus *)obj)->irq_lock);
}

static void bus_finalize(struct object *obj)
{
    g_mutex_clear(&((struct pci_bus *)obj)->irq_lock);
    g_mutex_clear(&((struct pci_bus *)obj)->lock);
}

static const struct hotplug_ops hotplug = {.pre_plug = pre_plug, .plug = plug, .unplug = unplug};

static const struct object_type bus_type = {
    .name = "PCI",
    .parent = "bus",
    .instance_size = sizeof(struct pci_bus),
    .hotplug = &hotplug,
    .init = bus_init,
    .finalize = bus_finalize,
};
OBJECT_TYPE(bus_type);

static const struct object_type express_bus_type = {
    .name = "PCIE",
    .parent = "PCI",
};
OBJECT_TYPE(express_bus_type);
