/*
 * virtio-serial-device: a console device with many ports (virtio 1.2, 5.3), each of which is a
 * device on its bus: virtconsole or virtserialport, in front of a chardev (virtio_serial_port.c).
 * Main thread, except as said.
 */
#ifndef NANDU_HW_VIRTIO_VIRTIO_SERIAL_H
#define NANDU_HW_VIRTIO_VIRTIO_SERIAL_H

#include "hw/virtio/virtio.h"

struct virtio_serial;

struct serial_port {
    struct device device;
    struct virtio_serial *serial;   /* NULL: not plugged */
    char *chardev, *name;           /* properties */
    uint32_t nr;                    /* UINT32_MAX: the first that is free */
    struct chardev *chr;            /* NULL: none; what the guest writes is lost */
    bool told_open;                 /* what chr and clients know of the guest */
};

struct serial_port_class {
    bool is_console;
    /* The device's lock is held. Bytes of what the guest wrote that were taken, 0: later, by
     * virtio_serial_writable. */
    size_t (*write)(struct serial_port *port, const uint8_t *data, size_t size);
    void (*accept_input)(struct serial_port *port);
    /* The guest opened or closed it; the lock isn't held. */
    void (*guest_open)(struct serial_port *port, bool open);
    bool (*host_open)(const struct serial_port *port);
};

/* For ports; these take the lock. */
void virtio_serial_host_open_changed(struct serial_port *port);
void virtio_serial_writable(struct serial_port *port);
/* Bytes that the guest takes now. */
size_t virtio_serial_can_receive(struct serial_port *port);
void virtio_serial_receive(struct serial_port *port, const uint8_t *data, size_t size);

#endif
