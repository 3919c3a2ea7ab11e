#include "hw/pci/pci_priv.h"

#include <string.h>

#include "qapi/error.h"

enum { FIRST_CAPABILITY = 0x40 };

static const struct pci_class *class_of(const struct pci_device *dev)
{
    return object_class_data(&dev->device.object);
}

/* ---- The pins ---- */

/* A slot's pins are turned by its number (2.2.6), so that slots share the lines; and again at each
 * bridge (PCI-to-PCI Bridge 1.2, 9.1). */
static unsigned root_pin(const struct pci_device *dev)
{
    unsigned pin = dev->config[PCI_INTERRUPT_PIN] - 1u;

    for (; dev; dev = dev->bus->bridge) {
        pin = (pin + (dev->devfn >> 3)) % PCI_N_PINS;
    }
    return pin;
}

void pci_update_intx(struct pci_device *dev)
{
    struct pci_bus *root = dev->bus->root;
    uint16_t command = (uint16_t)pci_get(dev->config + PCI_COMMAND, 2);
    bool assert = dev->intx && !(command & PCI_COMMAND_INTX_DISABLE);
    unsigned pin;

    if (assert == dev->asserted || dev->config[PCI_INTERRUPT_PIN] == 0) {
        return;
    }
    pin = root_pin(dev);
    dev->asserted = assert;
    root->n_asserted[pin] += assert ? 1 : -1u;
    if (root->n_asserted[pin] == assert) {
        irq_set(&root->irqs[pin], assert);
    }
}

void pci_set_intx(struct pci_device *dev, bool level)
{
    g_mutex_lock(&dev->bus->root->irq_lock);
    dev->intx = level;
    pci_update_intx(dev);
    g_mutex_unlock(&dev->bus->root->irq_lock);
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
void pci_update_bars(struct pci_device *dev)
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

/* The bus of this number as the guest has set its bridges; NULL: there is none. */
static struct pci_bus *find_bus(struct pci_bus *root, uint8_t number)
{
    struct pci_bus *bus = number ? NULL : root, *below = root;

    while (!bus && below) {
        struct pci_bus *at = below;

        below = NULL;
        for (unsigned i = 0; i < PCI_N_DEVFN && !below; i++) {
            const struct pci_device *dev = at->devices[i];

            if (dev && dev->secondary && number >= dev->config[PCI_SECONDARY_BUS] &&
                number <= dev->config[PCI_SUBORDINATE_BUS] && dev->config[PCI_SECONDARY_BUS]) {
                below = dev->secondary;
            }
        }
        if (below && below->bridge->config[PCI_SECONDARY_BUS] == number) {
            bus = below;
        }
    }
    return bus;
}

static struct pci_device *find_device(struct pci_bus *root, uint8_t number, uint8_t devfn)
{
    struct pci_bus *bus = find_bus(root, number);

    return bus && !bus->unpowered ? bus->devices[devfn] : NULL;
}

uint32_t pci_config_read(struct pci_bus *root, uint8_t number, uint8_t devfn, uint32_t offset,
                         unsigned size)
{
    uint32_t value = UINT32_MAX >> (32 - 8 * size);
    struct pci_device *dev;

    g_mutex_lock(&root->lock);
    dev = find_device(root, number, devfn);
    if (dev && offset + size <= dev->config_size) {
        value = pci_get(dev->config + offset, size);
        if (offset <= PCI_STATUS && offset + size > PCI_STATUS) {
            g_mutex_lock(&root->irq_lock);
            value |= dev->intx ? (uint32_t)PCI_STATUS_INTERRUPT << (8 * (PCI_STATUS - offset)) : 0;
            g_mutex_unlock(&root->irq_lock);
        }
    } else if (dev) {
        value = 0;      /* extended space that the device doesn't have */
    }
    g_mutex_unlock(&root->lock);
    return value;
}

static void write_config(struct pci_device *dev, uint32_t offset, uint32_t value, unsigned size)
{
    GMutex *irq_lock = &dev->bus->root->irq_lock;

    g_mutex_lock(irq_lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)), *config = dev->config + offset + i;

        *config = (uint8_t)((*config & ~dev->writable[offset + i]) |
                            (byte & dev->writable[offset + i]));
        *config &= (uint8_t)~(byte & dev->clearable[offset + i]);
    }
    pci_update_intx(dev);
    pci_msix_flush(dev);
    g_mutex_unlock(irq_lock);
    if (offset < PCI_BAR0 + 4 * PCI_N_BARS) {
        pci_update_bars(dev);
    }
    if (class_of(dev)->config_written) {
        class_of(dev)->config_written(dev, offset, size);
    }
}

void pci_config_write(struct pci_bus *root, uint8_t number, uint8_t devfn, uint32_t offset,
                      uint32_t value, unsigned size)
{
    struct pci_device *dev;

    g_mutex_lock(&root->lock);
    dev = find_device(root, number, devfn);
    if (dev && offset + size <= dev->config_size) {
        write_config(dev, offset, value, size);
    }
    g_mutex_unlock(&root->lock);
}

/* ---- Devices ---- */

void pci_reset_device(struct pci_device *dev)
{
    GMutex *irq_lock = &dev->bus->root->irq_lock;

    g_mutex_lock(irq_lock);
    memcpy(dev->config, dev->initial, dev->config_size);
    dev->intx = false;
    pci_update_intx(dev);
    pci_msix_reset(dev);
    g_mutex_unlock(irq_lock);
    pci_update_bars(dev);
    if (class_of(dev)->reset) {
        class_of(dev)->reset(dev);
    }
}

void pci_reset_devices_of(struct pci_bus *bus)
{
    for (unsigned i = 0; i < PCI_N_DEVFN; i++) {
        struct pci_device *dev = bus->devices[i];

        if (dev) {
            pci_reset_device(dev);
        }
        if (dev && dev->secondary) {
            pci_reset_devices_of(dev->secondary);
        }
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
    c[PCI_HEADER_TYPE] = (uint8_t)((dev->multifunction ? PCI_MULTIFUNCTION : 0) |
                                   (class->is_bridge ? PCI_HEADER_BRIDGE : 0));
    if (!class->is_bridge) {
        pci_put16(c + PCI_SUBSYSTEM_VENDOR_ID, class->subsystem_vendor);
        pci_put16(c + PCI_SUBSYSTEM_ID, class->subsystem);
    }
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
    dev->clearable = g_malloc0(dev->config_size);
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
    pci_msix_free(dev);
    g_free(dev->config);
    g_free(dev->writable);
    g_free(dev->clearable);
    g_free(dev->initial);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct pci_device *dev = instance;

    /* What the guest can't write is as this device has it. */
    for (uint32_t i = 0; i < dev->config_size; i++) {
        uint8_t guests = dev->writable[i] | dev->clearable[i];

        dev->config[i] = (uint8_t)((dev->config[i] & guests) | (dev->initial[i] & ~guests));
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

    g_mutex_lock(&dev->bus->root->lock);
    g_mutex_lock(&dev->bus->root->irq_lock);
    state_save(&state, dev, id, out);
    g_mutex_unlock(&dev->bus->root->irq_lock);
    if (class_of(dev)->state) {
        state_save(class_of(dev)->state, dev, id, out);
    }
    g_mutex_unlock(&dev->bus->root->lock);
}

bool pci_device_load(struct pci_device *dev, const uint8_t *data, size_t size, size_t *position,
                     GError **error)
{
    g_autofree char *id = object_path(&dev->device.object);
    bool loaded;

    g_mutex_lock(&dev->bus->root->lock);
    g_mutex_lock(&dev->bus->root->irq_lock);
    loaded = state_load(&state, dev, id, data, size, position, error);
    pci_update_intx(dev);
    g_mutex_unlock(&dev->bus->root->irq_lock);
    loaded = loaded && (!class_of(dev)->state ||
                        state_load(class_of(dev)->state, dev, id, data, size, position, error));
    pci_update_bars(dev);
    if (class_of(dev)->config_written) {
        class_of(dev)->config_written(dev, 0, dev->config_size);
    }
    g_mutex_unlock(&dev->bus->root->lock);
    return loaded;
}

static void save_object(struct object *obj, GByteArray *out)
{
    pci_device_save((struct pci_device *)obj, out);
}

static bool load_object(struct object *obj, const uint8_t *data, size_t size, size_t *position,
                        GError **error)
{
    return pci_device_load((struct pci_device *)obj, data, size, position, error);
}

static const struct state_ops state_ops = {.save = save_object, .load = load_object};

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
    .state = &state_ops,
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(pci_device_type);
