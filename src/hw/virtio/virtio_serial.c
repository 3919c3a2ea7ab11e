#include "hw/virtio/virtio_serial.h"

#include <string.h>

#include "hw/bus.h"
#include "hw/virtio/virtio_pci.h"
#include "qapi/error.h"

enum {
    PORT_QUEUE_SIZE = 128,
    CONTROL_QUEUE_SIZE = 32,
    MAX_PORTS = VIRTIO_MAX_QUEUES / 2 - 1,
    CHUNK = 4096,
    MAX_EMERGENCY = 256,

    F_MULTIPORT = 1,
    F_EMERG_WRITE = 2,

    CONFIG_MAX_PORTS = 4,
    CONFIG_EMERG_WRITE = 8,
    CONFIG_SIZE = 12,

    /* Control messages (5.3.6.2). */
    DEVICE_READY = 0,
    DEVICE_ADD = 1,
    DEVICE_REMOVE = 2,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    PORT_OPEN = 6,
    PORT_NAME = 7,

    QUEUE_CONTROL_IN = 2,           /* to the guest */
    QUEUE_CONTROL_OUT = 3,
};

/* What a port's number stands for. */
struct serial_slot {
    struct serial_port *port;       /* NULL: it is free */
    /* Saved. */
    uint32_t pending;               /* bits of control messages that wait for a buffer */
    bool guest_open;
    uint64_t written;               /* bytes of the next chain that the port has taken already */
};

struct virtio_serial {
    struct virtio_device vdev;
    struct bus *bus;
    uint32_t max_ports;
    bool emergency_write;
    struct serial_slot *slots;      /* max_ports */
    bool device_ready;              /* saved: the guest wants to hear of ports */
    struct bottom_half *sync;
    uint8_t emergency[MAX_EMERGENCY];   /* characters, until the main loop writes them */
    uint32_t n_emergency;
    const uint8_t *input;           /* what a port receives, while its queue is worked off */
    size_t n_input;
};

static struct virtio_serial *self(struct virtio_device *vdev)
{
    return (struct virtio_serial *)vdev;
}

static const struct serial_port_class *class_of(const struct serial_port *port)
{
    return object_class_data(&port->device.object);
}

static struct serial_slot *slot_of(const struct serial_port *port)
{
    return &port->serial->slots[port->nr];
}

static bool is_multiport(const struct virtio_serial *s)
{
    return virtio_has_feature(&s->vdev, F_MULTIPORT);
}

/* Without multiport there is only port 0, and nobody can say that it is closed. */
static bool guest_is_open(const struct virtio_serial *s, uint32_t nr)
{
    return is_multiport(s) ? s->slots[nr].guest_open : nr == 0 && virtio_is_live(&s->vdev);
}

static struct virtqueue *port_queue(struct virtio_serial *s, uint32_t nr, bool out)
{
    return &s->vdev.queues[(nr ? 2 * nr + 2 : 0) + out];
}

/* ---- Control messages to the guest ---- */

/* The message for a bit of pending. Its bytes. */
static size_t make_message(const struct virtio_serial *s, uint32_t nr, uint16_t event,
                           uint8_t *message, size_t room)
{
    const struct serial_port *port = s->slots[nr].port;
    uint32_t number = GUINT32_TO_LE(nr);
    uint16_t words[2] = {GUINT16_TO_LE(event), GUINT16_TO_LE(1)};
    size_t size = 8;

    if (event == PORT_OPEN) {
        words[1] = GUINT16_TO_LE(port && class_of(port)->host_open(port));
    }
    memcpy(message, &number, 4);
    memcpy(message + 4, words, 4);
    if (event == PORT_NAME && port && port->name) {
        size_t n = MIN(strlen(port->name), room - size);

        memcpy(message + size, port->name, n);
        size += n;
    }
    return size;
}

/* The order in which a guest should hear of a port. */
static const uint16_t message_order[] = {DEVICE_REMOVE, DEVICE_ADD, CONSOLE_PORT, PORT_NAME,
                                         PORT_OPEN};

static bool send_one(struct virtqueue *vq, struct virtio_serial *s, uint32_t nr, uint16_t event)
{
    g_autofree struct virtio_chain *chain = virtqueue_pop(vq);
    uint8_t message[256];

    if (!chain) {
        return false;
    }
    virtqueue_push(vq, chain,
                   virtio_chain_write(chain, 0, message,
                                      make_message(s, nr, event, message, sizeof(message))));
    s->slots[nr].pending &= ~(1u << event);
    return true;
}

static void send_control(struct virtio_serial *s, struct virtqueue *vq)
{
    for (uint32_t nr = 0; nr < s->max_ports; nr++) {
        for (unsigned i = 0; s->slots[nr].pending && i < G_N_ELEMENTS(message_order); i++) {
            if (s->slots[nr].pending & 1u << message_order[i] &&
                !send_one(vq, s, nr, message_order[i])) {
                return;
            }
        }
    }
}

static void post(struct virtio_serial *s, uint32_t nr, uint32_t bits)
{
    if (s->device_ready && is_multiport(s)) {
        s->slots[nr].pending |= bits;
        virtqueue_kick(&s->vdev.queues[QUEUE_CONTROL_IN]);
    }
}

/* ---- Control messages of the guest ---- */

static void port_ready(struct virtio_serial *s, uint32_t nr)
{
    const struct serial_port *port = s->slots[nr].port;
    uint32_t bits = 0;

    if (!port) {
        return;
    }
    bits |= class_of(port)->is_console ? 1u << CONSOLE_PORT : 0;
    bits |= port->name ? 1u << PORT_NAME : 0;
    bits |= class_of(port)->host_open(port) ? 1u << PORT_OPEN : 0;
    post(s, nr, bits);
}

static void handle_message(struct virtio_serial *s, uint32_t nr, uint16_t event, uint16_t value)
{
    if (event == DEVICE_READY) {
        s->device_ready = value != 0;
        for (uint32_t i = 0; i < s->max_ports; i++) {
            post(s, i, s->slots[i].port ? 1u << DEVICE_ADD : 0);
        }
    } else if (nr < s->max_ports && event == PORT_READY && value) {
        port_ready(s, nr);
    } else if (nr < s->max_ports && event == PORT_OPEN) {
        s->slots[nr].guest_open = value != 0;
        bottom_half_schedule(s->sync);
        if (value && s->slots[nr].port) {
            class_of(s->slots[nr].port)->accept_input(s->slots[nr].port);
        }
    }
}

static void receive_control(struct virtio_serial *s, struct virtqueue *vq)
{
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        uint8_t message[8];
        uint32_t nr;
        uint16_t words[2];

        if (virtio_chain_read(chain, 0, message, sizeof(message)) == sizeof(message)) {
            memcpy(&nr, message, 4);
            memcpy(words, message + 4, 4);
            handle_message(s, GUINT32_FROM_LE(nr), GUINT16_FROM_LE(words[0]),
                           GUINT16_FROM_LE(words[1]));
        }
        virtqueue_push(vq, chain, 0);
        g_free(chain);
    }
}

/* ---- Data ---- */

/* Whether the port has taken all of it. */
static bool write_chain(struct serial_port *port, const struct virtio_chain *chain,
                        uint64_t *written)
{
    uint8_t data[CHUNK];

    while (*written < chain->out_size) {
        uint64_t n = virtio_chain_read(chain, *written, data, sizeof(data));
        size_t done = n ? class_of(port)->write(port, data, n) : 0;

        if (n == 0) {
            break;      /* it isn't memory: the device is broken */
        }
        *written += done;
        if (done < n) {
            return false;
        }
    }
    return true;
}

static void send_data(struct virtio_serial *s, uint32_t nr, struct virtqueue *vq)
{
    struct serial_slot *slot = &s->slots[nr];
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        struct serial_port *port = slot->port;

        /* To a port that nobody listens at it is lost. */
        if (port && class_of(port)->host_open(port) && !write_chain(port, chain, &slot->written)) {
            virtqueue_rewind(vq, chain);
            g_free(chain);
            return;
        }
        slot->written = 0;
        virtqueue_push(vq, chain, 0);
        g_free(chain);
    }
}

static void receive_data(struct virtio_serial *s, uint32_t nr, struct virtqueue *vq)
{
    struct serial_port *port = s->slots[nr].port;
    struct virtio_chain *chain;

    if (!s->n_input && port && guest_is_open(s, nr)) {
        class_of(port)->accept_input(port);
        return;
    }
    while (s->n_input && (chain = virtqueue_pop(vq))) {
        uint64_t n = virtio_chain_write(chain, 0, s->input, s->n_input);

        s->input += n;
        s->n_input -= n;
        virtqueue_push(vq, chain, n);
        g_free(chain);
    }
}

static void handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_serial *s = self(vdev);
    uint32_t nr = vq->index < 2 ? 0 : vq->index / 2 - 1;

    if (vq->index == QUEUE_CONTROL_IN) {
        send_control(s, vq);
    } else if (vq->index == QUEUE_CONTROL_OUT) {
        receive_control(s, vq);
    } else if (vq->index & 1) {
        send_data(s, nr, vq);
    } else {
        receive_data(s, nr, vq);
    }
}

/* ---- For ports ---- */

void virtio_serial_host_open_changed(struct serial_port *port)
{
    struct virtio_serial *s = port->serial;

    virtio_lock(&s->vdev);
    post(s, port->nr, 1u << PORT_OPEN);
    if (!class_of(port)->host_open(port)) {
        virtqueue_kick(port_queue(s, port->nr, true));      /* what waits is lost */
    }
    virtio_unlock(&s->vdev);
}

void virtio_serial_writable(struct serial_port *port)
{
    virtio_lock(&port->serial->vdev);
    virtqueue_run(port_queue(port->serial, port->nr, true));
    virtio_unlock(&port->serial->vdev);
}

size_t virtio_serial_can_receive(struct serial_port *port)
{
    struct virtio_serial *s = port->serial;
    uint64_t room = 0;

    virtio_lock(&s->vdev);
    if (guest_is_open(s, port->nr)) {
        room = virtqueue_room(port_queue(s, port->nr, false));
    }
    virtio_unlock(&s->vdev);
    return MIN(room, CHUNK);
}

void virtio_serial_receive(struct serial_port *port, const uint8_t *data, size_t size)
{
    struct virtio_serial *s = port->serial;

    virtio_lock(&s->vdev);
    s->input = data;
    s->n_input = size;
    virtqueue_run(port_queue(s, port->nr, false));
    s->n_input = 0;
    virtio_unlock(&s->vdev);
}

/* ---- What happens on the main loop only ---- */

static void write_emergency(struct virtio_serial *s)
{
    for (uint32_t nr = 0; s->n_emergency && nr < s->max_ports; nr++) {
        struct serial_port *port = s->slots[nr].port;

        if (port && class_of(port)->is_console) {
            class_of(port)->write(port, s->emergency, s->n_emergency);
            break;
        }
    }
    s->n_emergency = 0;
}

/* Tells ports what the guest, or a reset, has done. Their clients may ask back, so the lock
 * isn't held. */
static void sync_ports(void *opaque)
{
    struct virtio_serial *s = opaque;

    virtio_lock(&s->vdev);
    write_emergency(s);
    virtio_unlock(&s->vdev);
    for (uint32_t nr = 0; nr < s->max_ports; nr++) {
        struct serial_port *port = s->slots[nr].port;
        bool open;

        virtio_lock(&s->vdev);
        open = is_multiport(s) && s->slots[nr].guest_open;
        virtio_unlock(&s->vdev);
        if (port && port->told_open != open) {
            port->told_open = open;
            class_of(port)->guest_open(port, open);
        }
    }
}

/* ---- The device ---- */

static void get_config(struct virtio_device *vdev, uint8_t *config)
{
    uint32_t max = GUINT32_TO_LE(self(vdev)->max_ports);

    memcpy(config + CONFIG_MAX_PORTS, &max, 4);
}

static void set_config(struct virtio_device *vdev, const uint8_t *config)
{
    struct virtio_serial *s = self(vdev);
    uint8_t c = config[CONFIG_EMERG_WRITE];

    if (s->emergency_write && c && s->n_emergency < MAX_EMERGENCY) {
        s->emergency[s->n_emergency++] = c;
        bottom_half_schedule(s->sync);
    }
}

static void reset(struct virtio_device *vdev)
{
    bottom_half_schedule(self(vdev)->sync);     /* all ports are closed now */
}

/* The bus is called after the device that the user named, or else after its kind. */
static const char *bus_prefix(struct virtio_device *vdev)
{
    const struct object *obj = &vdev->device.object;

    if (obj->parent && object_is(obj->parent, "device")) {
        obj = obj->parent;      /* virtio-serial-pci */
    }
    return obj->user_created && object_id_valid(obj->name) ? obj->name : "virtio-serial-bus";
}

static bool realize(struct virtio_device *vdev, GError **error)
{
    struct virtio_serial *s = self(vdev);
    g_autofree uint16_t *sizes = NULL;

    if (s->max_ports == 0 || s->max_ports > MAX_PORTS) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "max_ports is %u, it must be from 1 to %u", s->max_ports, MAX_PORTS);
        s->max_ports = 0;
        return false;
    }
    s->bus = bus_new(&vdev->device.object, "virtio-serial-bus", bus_prefix(vdev), vdev->hw, error);
    if (!s->bus) {
        return false;
    }
    s->bus->max_devices = s->max_ports;
    s->bus->hotpluggable = true;
    s->slots = g_new0(struct serial_slot, s->max_ports);
    s->sync = bottom_half_new(vdev->hw->loop, sync_ports, s);
    sizes = g_new(uint16_t, 2 * s->max_ports + 2);
    for (uint32_t i = 0; i < 2 * s->max_ports + 2; i++) {
        sizes[i] = i / 2 == 1 ? CONTROL_QUEUE_SIZE : PORT_QUEUE_SIZE;
    }
    virtio_make_queues(vdev, sizes, 2 * s->max_ports + 2);
    vdev->host_features = (s->max_ports > 1 ? virtio_bit(F_MULTIPORT) : 0) |
                          (s->emergency_write ? virtio_bit(F_EMERG_WRITE) : 0);
    return true;
}

static void unrealize(struct virtio_device *vdev)
{
    struct virtio_serial *s = self(vdev);

    for (uint32_t i = 0; s->slots && i < s->max_ports; i++) {
        if (s->slots[i].port) {
            s->slots[i].port->serial = NULL;
        }
    }
    g_clear_pointer(&s->sync, bottom_half_free);
    g_clear_pointer(&s->slots, g_free);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    bottom_half_schedule(((struct virtio_serial *)instance)->sync);
    return true;
}

static const struct state_field slot_fields[] = {
    STATE_FIELD(serial_slot, pending, STATE_U32),
    STATE_FIELD(serial_slot, guest_open, STATE_BOOL),
    STATE_FIELD(serial_slot, written, STATE_U64),
};

static const struct state_field fields[] = {
    STATE_FIELD(virtio_serial, device_ready, STATE_BOOL),
    STATE_POINTER(virtio_serial, slots, STATE_STRUCT, max_ports, .fields = slot_fields,
                  .n_fields = G_N_ELEMENTS(slot_fields), .size = sizeof(struct serial_slot)),
};

static const struct state_table state = {
    .name = "virtio-serial-device",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct virtio_class serial_class = {
    .device_id = 3,
    .config_size = CONFIG_SIZE,
    .state = &state,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .reset = reset,
    .handle = handle,
};

static const struct property properties[] = {
    PROPERTY("max_ports", virtio_serial, max_ports, qapi_type_uint32, "31",
             "Ports that it can have"),
    PROPERTY("emergency-write", virtio_serial, emergency_write, qapi_type_bool, "on",
             "Characters can be written before its queues are set up"),
};

static const struct object_type serial_type = {
    .name = "virtio-serial-device",
    .parent = "virtio-device",
    .category = "Input",
    .instance_size = sizeof(struct virtio_serial),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &serial_class,
};
OBJECT_TYPE(serial_type);

/* ---- On PCI ---- */

static const struct virtio_pci_kind pci_kind = {2};
static const struct pci_class pci_class = VIRTIO_PCI_CLASS(0x1003, 0x0780, pci_kind);
static const struct object_type pci_type = {
    .name = "virtio-serial-pci",
    .parent = "virtio-pci",
    .category = "Input",
    .proxied = "virtio-serial-device",
    .class_data = &pci_class,
};
OBJECT_TYPE(pci_type);

/* ---- Its bus ---- */

static struct virtio_serial *owner(struct object *bus)
{
    return (struct virtio_serial *)bus->parent;
}

/* Number 0 is the one that a driver without multiport has as its console. */
static bool choose_number(const struct virtio_serial *s, struct serial_port *port, GError **error)
{
    bool console = class_of(port)->is_console;

    if (port->nr == 0 && !console) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Port number 0 on virtio-serial devices reserved for virtconsole devices for "
                    "backward compatibility.");
        return false;
    }
    for (uint32_t i = !console; port->nr == UINT32_MAX && i < s->max_ports; i++) {
        port->nr = s->slots[i].port ? UINT32_MAX : i;
    }
    if (port->nr == UINT32_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "virtio-serial-bus: Maximum port limit for this device reached");
    } else if (port->nr >= s->max_ports) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
                    s->max_ports - 1);
    } else if (s->slots[port->nr].port) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "virtio-serial-bus: A port already exists at id %u", port->nr);
    } else {
        return true;
    }
    return false;
}

static bool pre_plug(struct object *handler, struct object *obj, GError **error)
{
    struct virtio_serial *s = owner(handler);
    struct serial_port *port = (struct serial_port *)obj;

    if (!object_is(obj, "virtio-serial-port")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' is no port of virtio-serial",
                    obj->type->name);
        return false;
    }
    if (!choose_number(s, port, error) || !bus_add(s->bus, obj, error)) {
        return false;
    }
    port->serial = s;
    virtio_lock(&s->vdev);
    slot_of(port)->port = port;
    virtio_unlock(&s->vdev);
    return true;
}

static void plug(struct object *handler, struct object *obj)
{
    struct virtio_serial *s = owner(handler);

    virtio_lock(&s->vdev);
    post(s, ((struct serial_port *)obj)->nr, 1u << DEVICE_ADD);
    virtio_unlock(&s->vdev);
}

static void unplug(struct object *handler, struct object *obj)
{
    struct virtio_serial *s = owner(handler);
    struct serial_port *port = (struct serial_port *)obj;
    struct serial_slot *slot = slot_of(port);

    virtio_lock(&s->vdev);
    slot->port = NULL;
    slot->pending = 0;
    slot->guest_open = false;
    slot->written = 0;
    post(s, port->nr, 1u << DEVICE_REMOVE);
    virtqueue_kick(port_queue(s, port->nr, true));
    virtio_unlock(&s->vdev);
    port->serial = NULL;
    bus_remove(s->bus, obj);
}

/* The guest isn't asked: it is told that the port is gone. */
static bool unplug_request(struct object *handler, struct object *obj, GError **error)
{
    const struct hw_context *hw = owner(handler)->vdev.hw;

    if (hw->vm_ops && hw->vm_ops->unplug) {
        hw->vm_ops->unplug(hw->vm, obj);
    } else {
        hotplug_unplug(handler, obj);
    }
    return true;
}

static const struct hotplug_ops hotplug = {
    .pre_plug = pre_plug,
    .plug = plug,
    .unplug_request = unplug_request,
    .unplug = unplug,
};

static const struct object_type bus_type = {
    .name = "virtio-serial-bus",
    .parent = "bus",
    .hotplug = &hotplug,
};
OBJECT_TYPE(bus_type);
