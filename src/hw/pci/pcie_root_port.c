/*
 * pcie-root-port: a port of the host bridge with a slot behind it, into which a device can be
 * plugged while the machine runs (PCI Express Base 4.0, 6.7).
 *
 * A device that comes is shown by the presence bit, and as if somebody had pressed the button. The
 * guest powers the slot on, and finds it. A device that is to go gets the button pressed; the guest
 * lets go of it and powers the slot off, and then it is taken out, by the main thread.
 */
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_priv.h"
#include "hw/pci/pcie.h"

#include "qapi/error.h"
#include "util/clock.h"
#include "util/event_loop.h"

enum { REQUEST_SECONDS = 5 };   /* in which it makes no sense to ask the guest again */

struct root_port {
    struct pci_bridge bridge;
    uint8_t chassis, port;          /* properties */
    uint16_t slot;
    bool hotplug;
    uint16_t express;               /* where the capability is */
    struct bottom_half *bh;
    /* Under the bus' lock. */
    uint16_t control;               /* slot control as it was before the last write */
    bool interrupt;                 /* there is cause for one */
    bool pending;                   /* saved: the guest was asked to let go of what is plugged */
    int64_t asked;                  /* when, ns */
    bool eject, refused;            /* what the bottom half has to do */
};

static struct root_port *self(struct pci_device *dev)
{
    return (struct root_port *)dev;
}

/* ---- Registers ---- */

static uint16_t get(const struct root_port *s, unsigned offset)
{
    return (uint16_t)pci_get(s->bridge.dev.config + s->express + offset, 2);
}

static void put(struct root_port *s, unsigned offset, uint16_t value)
{
    pci_put16(s->bridge.dev.config + s->express + offset, value);
}

static unsigned power_indicator(uint16_t control)
{
    return control >> PCIE_SLOT_POWER_INDICATOR_SHIFT & 3;
}

/* 6.7.3.4: a message when cause arises; the pin follows it. */
static void update_interrupt(struct root_port *s)
{
    struct pci_device *dev = &s->bridge.dev;
    uint16_t control = get(s, PCIE_SLOT_CONTROL), status = get(s, PCIE_SLOT_STATUS);
    bool cause = (control & status & PCIE_SLOT_ENABLES) ||
                 (control & PCIE_SLOT_LINK_ENABLE && status & PCIE_SLOT_LINK_CHANGED);

    cause = cause && control & PCIE_SLOT_INTERRUPT;
    if (pci_msix_enabled(dev)) {
        pci_set_intx(dev, false);
        if (cause && !s->interrupt) {
            pci_msix_notify(dev, 0);
        }
    } else {
        pci_set_intx(dev, cause);
    }
    s->interrupt = cause;
}

static void add_status(struct root_port *s, uint16_t bits)
{
    put(s, PCIE_SLOT_STATUS, get(s, PCIE_SLOT_STATUS) | bits);
}

static bool is_present(const struct root_port *s)
{
    const struct pci_bus *bus = s->bridge.dev.secondary;

    return bus && bus->devices[0];
}

/* Presence, power and link as they follow from what is plugged in and what the guest wrote. */
static void update_slot(struct root_port *s, bool events)
{
    uint16_t status = get(s, PCIE_SLOT_STATUS), link = get(s, PCIE_LINK_STATUS);
    bool present = is_present(s), was_present = status & PCIE_SLOT_PRESENT;
    bool powered = !s->hotplug || !(get(s, PCIE_SLOT_CONTROL) & PCIE_SLOT_POWER_OFF);
    bool up = present && powered && !(get(s, PCIE_LINK_CONTROL) & PCIE_LINK_DISABLE);
    bool was_up = link & PCIE_LINK_ACTIVE;
    struct pci_bus *bus = s->bridge.dev.secondary;

    status = (uint16_t)((status & ~PCIE_SLOT_PRESENT) | (present ? PCIE_SLOT_PRESENT : 0));
    put(s, PCIE_SLOT_STATUS, status);
    put(s, PCIE_LINK_STATUS, (uint16_t)((link & ~PCIE_LINK_ACTIVE) | (up ? PCIE_LINK_ACTIVE : 0)));
    if (!powered && !bus->unpowered) {
        pci_reset_devices_of(bus);
    }
    bus->unpowered = !powered;
    if (events && s->hotplug) {
        add_status(s, (uint16_t)((present != was_present ? PCIE_SLOT_PRESENCE_CHANGED : 0) |
                                 (up != was_up ? PCIE_SLOT_LINK_CHANGED : 0)));
    }
}

/* The guest has let go once the slot has no power and its lamp says so; it changed its mind if the
 * lamp, which had been blinking, is on again. */
static void follow_request(struct root_port *s, uint16_t old, uint16_t control)
{
    bool powered = !(control & PCIE_SLOT_POWER_OFF);

    if (!s->pending) {
        return;
    }
    s->eject = !powered && power_indicator(control) == PCIE_INDICATOR_OFF;
    s->refused = powered && power_indicator(control) == PCIE_INDICATOR_ON &&
                 power_indicator(old) == PCIE_INDICATOR_BLINK;
    if (s->eject || s->refused) {
        s->pending = false;
        bottom_half_schedule(s->bh);
    }
}

static void config_written(struct pci_device *dev, uint32_t offset, unsigned size)
{
    struct root_port *s = self(dev);
    uint32_t control_at = s->express + PCIE_SLOT_CONTROL;
    bool loaded = size > sizeof(uint32_t);
    uint16_t old = s->control;

    pci_bridge_update(&s->bridge);
    s->control = get(s, PCIE_SLOT_CONTROL);
    update_slot(s, !loaded);
    if (!loaded && s->hotplug && offset < control_at + 2 && offset + size > control_at) {
        add_status(s, PCIE_SLOT_COMMAND_COMPLETED);
        follow_request(s, old, s->control);
    }
    update_interrupt(s);
}

/* ---- The slot ---- */

static void plugged(struct pci_device *bridge, struct pci_device *dev)
{
    struct root_port *s = self(bridge);

    /* The guest looks at function 0 first: the others wait for it. */
    if (dev->devfn != 0) {
        return;
    }
    if (dev->device.hotplugged) {
        add_status(s, PCIE_SLOT_BUTTON_PRESSED);
    }
    update_slot(s, dev->device.hotplugged);
    update_interrupt(s);
}

static void unplugged(struct pci_device *bridge, struct pci_device *dev)
{
    update_slot(self(bridge), true);
    update_interrupt(self(bridge));
}

static void take_out(struct pci_device *bridge, struct object *obj)
{
    const struct hw_context *hw = bridge->hw;

    if (hw->vm_ops && hw->vm_ops->unplug) {
        hw->vm_ops->unplug(hw->vm, obj);
    } else {
        hotplug_unplug(&bridge->secondary->bus.object, obj);
    }
}

static void mark_pending(struct root_port *s, bool pending)
{
    const GPtrArray *devices = s->bridge.dev.secondary->bus.devices;

    for (guint i = 0; i < devices->len; i++) {
        ((struct device *)devices->pdata[i])->pending_deletion = pending;
    }
}

/* On the main thread: what the guest decided. All functions of the slot go together. */
static void decided(void *opaque)
{
    struct root_port *s = opaque;
    struct pci_device *dev = &s->bridge.dev;
    const struct hw_context *hw = dev->hw;
    GPtrArray *devices = dev->secondary->bus.devices;
    bool eject, refused;

    g_mutex_lock(&dev->bus->root->lock);
    eject = s->eject;
    refused = s->refused;
    s->eject = s->refused = false;
    g_mutex_unlock(&dev->bus->root->lock);
    mark_pending(s, false);
    for (guint i = 0; refused && hw->vm_ops && hw->vm_ops->unplug_refused && i < devices->len;
         i++) {
        hw->vm_ops->unplug_refused(hw->vm, devices->pdata[i]);
    }
    while (eject && devices->len) {
        take_out(dev, devices->pdata[devices->len - 1]);
    }
}

/* Whether the guest must be asked; *error: it can't be now. */
static bool ask(struct root_port *s, const struct pci_device *dev, bool *unused, GError **error)
{
    uint16_t control = get(s, PCIE_SLOT_CONTROL);
    int64_t now = clocks_now(dev->hw->clocks, CLOCK_REAL);

    *unused = control & PCIE_SLOT_POWER_OFF && power_indicator(control) == PCIE_INDICATOR_OFF;
    if (*unused) {
        return true;
    }
    if (s->pending && now - s->asked < REQUEST_SECONDS * INT64_C(1000000000)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Device %s is already in the process of unplug", dev->device.object.name);
        return false;
    }
    if (power_indicator(control) == PCIE_INDICATOR_BLINK) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Hot-unplug failed: guest is busy (power indicator blinking)");
        return false;
    }
    s->pending = true;
    s->asked = now;
    add_status(s, PCIE_SLOT_BUTTON_PRESSED);
    update_interrupt(s);
    return true;
}

static bool unplug_request(struct pci_device *bridge, struct pci_device *dev, GError **error)
{
    struct root_port *s = self(bridge);
    bool unused = false, ok;

    g_mutex_lock(&bridge->bus->root->lock);
    ok = ask(s, dev, &unused, error);
    g_mutex_unlock(&bridge->bus->root->lock);
    if (!ok) {
        return false;
    }
    if (unused) {
        take_out(bridge, &dev->device.object);
    } else {
        mark_pending(s, true);
    }
    return true;
}

/* ---- The device ---- */

/* An empty slot has no power (6.7.1.8). Who was asked to let go of a device has forgotten it. */
static void reset(struct pci_device *dev)
{
    struct root_port *s = self(dev);
    bool present = is_present(s);
    unsigned lamp = present ? PCIE_INDICATOR_ON : PCIE_INDICATOR_OFF;

    if (s->hotplug) {
        s->control = (uint16_t)(lamp << PCIE_SLOT_POWER_INDICATOR_SHIFT |
                                PCIE_INDICATOR_OFF << PCIE_SLOT_ATTENTION_SHIFT |
                                (present ? 0 : PCIE_SLOT_POWER_OFF));
        put(s, PCIE_SLOT_CONTROL, s->control);
    }
    if (s->pending) {
        s->pending = false;
        s->eject = true;
        bottom_half_schedule(s->bh);
    }
    pci_bridge_update(&s->bridge);
    update_slot(s, false);
    update_interrupt(s);
}

struct same_slot {
    const struct root_port *port;
    const struct object *other;
};

static bool compare_slot(struct object *obj, void *opaque)
{
    struct same_slot *search = opaque;
    const struct root_port *other = (const struct root_port *)obj;

    if (object_is(obj, "pcie-root-port") && other != search->port && obj->completed &&
        other->chassis == search->port->chassis && other->slot == search->port->slot) {
        search->other = obj;
    }
    object_foreach_child(obj, compare_slot, search);
    return true;
}

/* Guests name slots by these numbers. */
static bool check_slot(struct root_port *s, GError **error)
{
    struct same_slot search = {.port = s};

    if (s->slot > PCIE_MAX_SLOT_NUMBER) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "slot is %u, it must be from 0 to %u",
                    s->slot, PCIE_MAX_SLOT_NUMBER);
        return false;
    }
    compare_slot(object_root_of(&s->bridge.dev.device.object), &search);
    if (search.other) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Can't add chassis slot, error -16: chassis %u, slot %u is '%s' already",
                    s->chassis, s->slot, search.other->name);
        return false;
    }
    return true;
}

static void add_express(struct root_port *s)
{
    enum {
        SLOT_CAPS = PCIE_SLOT_CAP_BUTTON | PCIE_SLOT_CAP_POWER_CONTROLLER |
                    PCIE_SLOT_CAP_ATTENTION_INDICATOR | PCIE_SLOT_CAP_POWER_INDICATOR |
                    PCIE_SLOT_CAP_SURPRISE | PCIE_SLOT_CAP_HOTPLUG,
    };
    struct pci_device *dev = &s->bridge.dev;
    uint8_t *p = pcie_add_capability(dev, PCIE_ROOT_PORT);

    s->express = (uint16_t)(p - dev->config);
    pci_put16(p + PCIE_FLAGS, (uint16_t)(pci_get(p + PCIE_FLAGS, 2) | PCIE_FLAGS_SLOT));
    pci_put32(p + PCIE_LINK_CAP, pci_get(p + PCIE_LINK_CAP, 4) | PCIE_LINK_CAP_ACTIVE_REPORTING |
                                 (uint32_t)s->port << PCIE_LINK_CAP_PORT_SHIFT);
    pci_put32(p + PCIE_SLOT_CAP,
              (uint32_t)s->slot << PCIE_SLOT_NUMBER_SHIFT | (s->hotplug ? SLOT_CAPS : 0));
    if (s->hotplug) {
        pci_set_writable(dev, s->express + PCIE_SLOT_CONTROL, PCIE_SLOT_CONTROL_WRITABLE);
        pci_put16(dev->clearable + s->express + PCIE_SLOT_STATUS, PCIE_SLOT_STATUS_CLEARABLE);
    }
    pci_set_writable(dev, s->express + PCIE_ROOT_CONTROL, PCIE_ROOT_CONTROL_WRITABLE);
}

static bool realize(struct pci_device *dev, GError **error)
{
    struct root_port *s = self(dev);
    const struct object *obj = &dev->device.object;

    if (dev->bus->bridge) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "A %s goes onto the bus of a host bridge only", obj->type->name);
        return false;
    }
    if (!check_slot(s, error) || !pci_bridge_realize(&s->bridge, device_id(obj), error)) {
        return false;
    }
    dev->secondary->n_slots = 1;
    dev->secondary->bus.hotpluggable = s->hotplug;
    dev->config[PCI_INTERRUPT_PIN] = 1;
    add_express(s);
    pci_add_msix(dev, 0, 1);
    s->bh = bottom_half_new(dev->hw->loop, decided, s);
    return true;
}

static void unrealize(struct pci_device *dev)
{
    struct root_port *s = self(dev);

    g_clear_pointer(&s->bh, bottom_half_free);
    pci_bridge_unrealize(&s->bridge);
}

static const struct state_field fields[] = {
    STATE_FIELD(root_port, pending, STATE_BOOL),
    STATE_FIELD(root_port, interrupt, STATE_BOOL),
};

static const struct state_table state = {
    .name = "pcie-root-port",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
};

static const struct pci_class root_port_class = {
    .vendor = 0x1b36,
    .device = 0x000c,
    .class_code = 0x0604,
    .is_bridge = true,
    .realize = realize,
    .unrealize = unrealize,
    .reset = reset,
    .config_written = config_written,
    .plugged = plugged,
    .unplug_request = unplug_request,
    .unplugged = unplugged,
    .state = &state,
};

static const struct property properties[] = {
    PROPERTY("chassis", root_port, chassis, qapi_type_uint8, "0",
             "Number of the chassis that the slot is in"),
    PROPERTY("slot", root_port, slot, qapi_type_uint16, "0", "Number of the slot in its chassis"),
    PROPERTY("port", root_port, port, qapi_type_uint8, "0", "Number of the port"),
    PROPERTY("hotplug", root_port, hotplug, qapi_type_bool, "on",
             "Devices may come and go while the machine runs"),
};

static const struct object_type root_port_type = {
    .name = "pcie-root-port",
    .parent = "pci-device",
    .description = "PCI Express Root Port",
    .category = "Controller/Bridge/Hub",
    .instance_size = sizeof(struct root_port),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &root_port_class,
};
OBJECT_TYPE(root_port_type);
