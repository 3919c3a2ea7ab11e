/* Buses of PCI: where devices are plugged in. */
#include "hw/pci/pci_priv.h"

#include <stdlib.h>

#include "qapi/error.h"

struct pci_bus *pci_bus_new(struct object *owner, const char *prefix, const struct hw_context *hw,
                            struct region *memory, struct region *io, GError **error)
{
    struct pci_bus *bus = (struct pci_bus *)bus_new(owner, "PCIE", prefix, hw, error);

    if (bus) {
        bus->root = bus;
        bus->memory = memory;
        bus->io = io;
    }
    return bus;
}

struct pci_bus *pci_bus_new_secondary(struct pci_device *bridge, const char *name,
                                      struct region *memory, struct region *io, GError **error)
{
    struct object *owner = &bridge->device.object;
    struct pci_bus *bus = (struct pci_bus *)(name
        ? bus_new_named(owner, "PCIE", name, bridge->hw, error)
        : bus_new(owner, "PCIE", "pcie", bridge->hw, error));

    if (bus) {
        bus->root = bridge->bus->root;
        bus->bridge = bridge;
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
    g_mutex_lock(&bus->root->lock);
    pci_reset_devices_of(bus);
    g_mutex_unlock(&bus->root->lock);
}

/* "06", "6.1", "0x6.0x1": in hexadecimal. */
static bool parse_addr(const struct pci_device *dev, unsigned *devfn, GError **error)
{
    char *end;
    unsigned long slot = strtoul(dev->addr, &end, 16), function = 0;
    bool ok = end != dev->addr && g_ascii_isxdigit(*dev->addr);

    if (ok && *end == '.' && g_ascii_isdigit(end[1])) {
        function = strtoul(end + 1, &end, 16);
    }
    if (!ok || *end || slot >= PCI_ALL_SLOTS || function > 7) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Property '%s.addr' doesn't take value '%s': it is a slot from 0 to 1f, or "
                    "SLOT.FUNCTION, 06.0", dev->device.object.type->name, dev->addr);
        return false;
    }
    *devfn = (unsigned)(slot << 3 | function);
    return true;
}

static bool in_use(const struct pci_device *dev, const struct pci_device *other, GError **error)
{
    const struct object *obj = &other->device.object;
    const char *id = device_id(obj);

    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                "PCI: slot %u function %u not available for %s, in use by %s,id=%s",
                other->devfn >> 3, other->devfn & 7, dev->device.object.type->name,
                obj->type->name, id ? id : "(null)");
    return false;
}

/* Guests look for other functions of a slot only if function 0 says that there are some. */
static bool check_functions(const struct pci_bus *bus, const struct pci_device *dev,
                            unsigned devfn, GError **error)
{
    unsigned slot = devfn >> 3, function = devfn & 7;
    const struct pci_device *first = bus->devices[slot << 3];

    if (function && first && !first->multifunction) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "PCI: single function device can't be populated in function %x.%x", slot,
                    function);
        return false;
    }
    for (unsigned i = 1; i < 8 && function == 0 && !dev->multifunction; i++) {
        if (bus->devices[slot << 3 | i]) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "PCI: %x.0 indicates single function, but %x.%x is already populated.",
                        slot, slot, i);
            return false;
        }
    }
    if (dev->device.hotplugged && first) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "PCI: slot %u function 0 already occupied by %s, new func %s cannot be exposed "
                    "to guest.", slot, first->device.object.type->name,
                    dev->device.object.type->name);
        return false;
    }
    return true;
}

static bool choose_devfn(const struct pci_bus *bus, const struct pci_device *dev, unsigned *devfn,
                         GError **error)
{
    if (dev->addr) {
        if (!parse_addr(dev, devfn, error)) {
            return false;
        }
        if (*devfn >> 3 >= bus->n_slots) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "PCI: slot %u is not valid for %s, parent device only allows plugging into "
                        "slot 0.", *devfn >> 3, dev->device.object.type->name);
            return false;
        }
    } else {
        for (*devfn = 0; *devfn < bus->n_slots * 8 && bus->devices[*devfn]; *devfn += 8) {
        }
        if (*devfn >= bus->n_slots * 8 && bus->n_slots == PCI_ALL_SLOTS) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "PCI: no slot/function available for %s, all in use or reserved",
                        dev->device.object.type->name);
            return false;
        }
        *devfn %= bus->n_slots * 8;
    }
    return check_functions(bus, dev, *devfn, error) &&
           (!bus->devices[*devfn] || in_use(dev, bus->devices[*devfn], error));
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
    g_free(dev->addr);
    dev->addr = g_strdup_printf("%02x.%x", devfn >> 3, devfn & 7);
    return true;
}

/* What has a bridge's bus has to say about it: a port with a slot. */
static const struct pci_class *bridge_class(const struct pci_bus *bus)
{
    return bus->bridge ? object_class_data(&bus->bridge->device.object) : NULL;
}

static void plug(struct object *handler, struct object *obj)
{
    struct pci_bus *bus = (struct pci_bus *)handler;
    struct pci_device *dev = (struct pci_device *)obj;

    g_mutex_lock(&bus->root->lock);
    bus->devices[dev->devfn] = dev;
    pci_reset_device(dev);
    if (bridge_class(bus) && bridge_class(bus)->plugged) {
        bridge_class(bus)->plugged(bus->bridge, dev);
    }
    g_mutex_unlock(&bus->root->lock);
}

static bool unplug_request(struct object *handler, struct object *obj, GError **error)
{
    struct pci_bus *bus = (struct pci_bus *)handler;

    if (bridge_class(bus) && bridge_class(bus)->unplug_request) {
        return bridge_class(bus)->unplug_request(bus->bridge, (struct pci_device *)obj, error);
    }
    hotplug_unplug(handler, obj);
    return true;
}

static void unplug(struct object *handler, struct object *obj)
{
    struct pci_bus *bus = (struct pci_bus *)handler;
    struct pci_device *dev = (struct pci_device *)obj;

    g_mutex_lock(&bus->root->lock);
    if (bus->devices[dev->devfn] == dev) {
        pci_reset_device(dev);
        bus->devices[dev->devfn] = NULL;
        if (bridge_class(bus) && bridge_class(bus)->unplugged) {
            bridge_class(bus)->unplugged(bus->bridge, dev);
        }
    }
    g_mutex_unlock(&bus->root->lock);
    /* No handler of its BARs is running any more. */
    address_space_synchronize(bus->bus.hw->memory);
    bus_remove(&bus->bus, obj);
}

static void bus_init(struct object *obj)
{
    struct pci_bus *bus = (struct pci_bus *)obj;

    bus->n_slots = PCI_ALL_SLOTS;
    g_mutex_init(&bus->lock);
    g_mutex_init(&bus->irq_lock);
}

static void bus_finalize(struct object *obj)
{
    g_mutex_clear(&((struct pci_bus *)obj)->irq_lock);
    g_mutex_clear(&((struct pci_bus *)obj)->lock);
}

static const struct hotplug_ops hotplug = {
    .pre_plug = pre_plug,
    .plug = plug,
    .unplug_request = unplug_request,
    .unplug = unplug,
};

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
