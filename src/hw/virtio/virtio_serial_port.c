/* virtconsole and virtserialport: ports of virtio-serial in front of a chardev. */
#include "hw/virtio/virtio_serial.h"

#include "chardev/chardev.h"
#include "qapi/error.h"
#include "qapi/qapi_events.h"

static size_t can_receive(void *opaque)
{
    struct serial_port *port = opaque;

    return port->serial ? virtio_serial_can_receive(port) : 0;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct serial_port *port = opaque;

    if (port->serial) {
        virtio_serial_receive(port, data, size);
    }
}

static void port_event(void *opaque, enum chardev_event event)
{
    struct serial_port *port = opaque;
    const struct serial_port_class *class = object_class_data(&port->device.object);

    /* A console is there for the guest whether somebody looks at it or not. */
    if (port->serial && !class->is_console &&
        (event == CHARDEV_OPENED || event == CHARDEV_CLOSED)) {
        virtio_serial_host_open_changed(port);
    }
}

static const struct chardev_frontend_ops frontend_ops = {
    .can_receive = can_receive,
    .receive = receive,
    .event = port_event,
};

static void writable(void *opaque)
{
    struct serial_port *port = opaque;

    if (port->serial) {
        virtio_serial_writable(port);
    }
}

static size_t port_write(struct serial_port *port, const uint8_t *data, size_t size)
{
    size_t done = 0;
    ssize_t n;

    while (port->chr && done < size) {
        n = chardev_write(port->chr, data + done, size - done);
        if (n < 0) {
            break;
        }
        if (n == 0) {
            chardev_on_writable(port->chr, writable, port);
            return done;
        }
        done += (size_t)n;
    }
    return size;        /* what nobody reads is lost */
}

static void accept_input(struct serial_port *port)
{
    if (port->chr) {
        chardev_accept_input(port->chr);
    }
}

static bool console_host_open(const struct serial_port *port)
{
    return true;
}

static void console_guest_open(struct serial_port *port, bool open)
{
}

static bool serial_host_open(const struct serial_port *port)
{
    return port->chr && chardev_is_open(port->chr);
}

static void serial_guest_open(struct serial_port *port, bool open)
{
    const struct hw_context *hw = ((struct virtio_device *)port->serial)->hw;
    struct qapi_vserport_change_event event = {.id = port->device.object.name, .open = open};

    if (port->chr) {
        chardev_set_frontend_open(port->chr, open);
    }
    if (hw->vm_ops && hw->vm_ops->events && port->device.object.user_created) {
        qapi_event_vserport_change(hw->vm_ops->events(hw->vm), &event);
    }
}

static bool complete(struct object *obj, GError **error)
{
    struct serial_port *port = (struct serial_port *)obj;
    struct chardev *chr;

    if (!port->serial) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' needs a virtio-serial bus",
                    obj->type->name);
        return false;
    }
    if (!port->chardev) {
        return true;
    }
    chr = chardev_find(object_root_of(obj), port->chardev);
    if (!chr) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Property '%s.chardev' can't find value '%s'", obj->type->name, port->chardev);
        return false;
    }
    if (!chardev_attach(chr, &frontend_ops, port, error)) {
        return false;
    }
    port->chr = chr;
    return true;
}

static void finalize(struct object *obj)
{
    struct serial_port *port = (struct serial_port *)obj;

    if (port->chr) {
        chardev_detach(port->chr, port);
    }
}

static const struct property properties[] = {
    PROPERTY("nr", serial_port, nr, qapi_type_uint32, "4294967295", "Its number"),
    PROPERTY("chardev", serial_port, chardev, qapi_type_str, NULL, "Id of the chardev behind it"),
    PROPERTY("name", serial_port, name, qapi_type_str, NULL, "What the guest knows it by"),
};

static const struct object_type port_type = {
    .name = "virtio-serial-port",
    .parent = "device",
    .abstract = true,
    .instance_size = sizeof(struct serial_port),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .bus = "virtio-serial-bus",
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(port_type);

static const struct serial_port_class console_class = {
    .is_console = true,
    .write = port_write,
    .accept_input = accept_input,
    .guest_open = console_guest_open,
    .host_open = console_host_open,
};

static const struct object_type console_type = {
    .name = "virtconsole",
    .parent = "virtio-serial-port",
    .category = "Input",
    .class_data = &console_class,
};
OBJECT_TYPE(console_type);

static const struct serial_port_class serial_class = {
    .write = port_write,
    .accept_input = accept_input,
    .guest_open = serial_guest_open,
    .host_open = serial_host_open,
};

static const struct object_type serialport_type = {
    .name = "virtserialport",
    .parent = "virtio-serial-port",
    .category = "Input",
    .class_data = &serial_class,
};
OBJECT_TYPE(serialport_type);
