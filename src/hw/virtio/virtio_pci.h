/*
 * What a type of virtio-*-pci says: it descends from "virtio-pci", its class_data is a struct
 * pci_class made by VIRTIO_PCI_CLASS, and its properties forward those of the virtio device that it
 * has. It is in the same file as that device:
 *
 *   static const struct virtio_pci_kind kind = {"virtio-foo-device", 2};
 *   static const struct pci_class pci_class = VIRTIO_PCI_CLASS(0x1000, 0x0200, kind);
 *   static const struct property properties[] = {
 *       VIRTIO_PCI_FORWARD("bar", qapi_type_bool, "What it does"),
 *   };
 */
#ifndef NANDU_HW_VIRTIO_VIRTIO_PCI_H
#define NANDU_HW_VIRTIO_VIRTIO_PCI_H

#include "hw/pci/pci.h"

/* pci_class.child */
struct virtio_pci_kind {
    const char *backend;            /* type of the virtio device */
    uint32_t vectors;               /* MSI-X vectors, unless the user says how many; or this: */
};

/* One for each queue that the device has made, and one more. */
enum { VIRTIO_PCI_VECTORS_BY_QUEUES = -1 };

/* For VIRTIO_PCI_CLASS. */
bool virtio_pci_realize(struct pci_device *dev, GError **error);
void virtio_pci_unrealize(struct pci_device *dev);
void virtio_pci_reset(struct pci_device *dev);
extern const struct state_table virtio_pci_state;

/* device_id: with legacy registers, from 0x1000 on (virtio 1.2, 4.1.2.1). kind: of struct
 * virtio_pci_kind. */
#define VIRTIO_PCI_CLASS(device_id, class_code_, kind)                                             \
    {.vendor = 0x1af4, .device = (device_id), .subsystem_vendor = 0x1af4,                          \
     .class_code = (class_code_), .realize = virtio_pci_realize,                                   \
     .unrealize = virtio_pci_unrealize, .reset = virtio_pci_reset, .state = &virtio_pci_state,     \
     .child = &(kind)}

/* A property of the virtio device of this name and type (a link: qapi_type_str). More members may
 * follow. */
#define VIRTIO_PCI_FORWARD(name_, type_, description_, ...)                                        \
    {.name = (name_), .type = &(type_), .description = (description_),                             \
     .get = virtio_pci_forward_get, .set = virtio_pci_forward_set, ##__VA_ARGS__}
bool virtio_pci_forward_get(struct object *obj, const struct property *prop, void *value,
                            GError **error);
bool virtio_pci_forward_set(struct object *obj, const struct property *prop, const void *value,
                            GError **error);

#endif
