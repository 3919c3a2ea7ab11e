/*
 * What a type of virtio-*-pci says: it descends from "virtio-pci", stands for a type of virtio
 * device, whose properties it has, and its class_data is a struct pci_class made by
 * VIRTIO_PCI_CLASS. It is in the same file as that device:
 *
 *   static const struct virtio_pci_kind kind = {2};
 *   static const struct pci_class pci_class = VIRTIO_PCI_CLASS(0x1000, 0x0200, kind);
 *   static const struct object_type pci_type = {
 *       .name = "virtio-foo-pci", .parent = "virtio-pci", .proxied = "virtio-foo-device",
 *       .class_data = &pci_class, ...
 */
#ifndef NANDU_HW_VIRTIO_VIRTIO_PCI_H
#define NANDU_HW_VIRTIO_VIRTIO_PCI_H

#include "hw/pci/pci.h"

/* pci_class.child */
struct virtio_pci_kind {
    uint32_t vectors;               /* MSI-X vectors, unless the user says how many; or this: */
};

/* One for each queue that the device has made, and one more. */
enum { VIRTIO_PCI_VECTORS_BY_QUEUES = -1 };

/* For VIRTIO_PCI_CLASS. */
bool virtio_pci_realize(struct pci_device *dev, GError **error);
void virtio_pci_unrealize(struct pci_device *dev);
void virtio_pci_reset(struct pci_device *dev);
void virtio_pci_config_written(struct pci_device *dev, uint32_t offset, unsigned size);
extern const struct state_table virtio_pci_state;

/* device_id: with legacy registers, from 0x1000 on (virtio 1.2, 4.1.2.1). kind: of struct
 * virtio_pci_kind. */
#define VIRTIO_PCI_CLASS(device_id, class_code_, kind)                                             \
    VIRTIO_PCI_CLASS_WITH(device_id, class_code_, kind, virtio_pci_realize)
/* realize_ calls virtio_pci_realize. */
#define VIRTIO_PCI_CLASS_WITH(device_id, class_code_, kind, realize_)                              \
    {.vendor = 0x1af4, .device = (device_id), .subsystem_vendor = 0x1af4,                          \
     .class_code = (class_code_), .realize = (realize_), .unrealize = virtio_pci_unrealize,        \
     .reset = virtio_pci_reset, .config_written = virtio_pci_config_written,                       \
     .state = &virtio_pci_state, .child = &(kind)}

#endif
