/* virtio-net-pci: the network card on a PCI bus. */
#include "hw/virtio/virtio_pci.h"

#include "qapi/qapi_types.h"

static const struct virtio_pci_kind net_kind = {VIRTIO_PCI_VECTORS_BY_QUEUES};
static const struct pci_class net_class = VIRTIO_PCI_CLASS(0x1000, 0x0200, net_kind);

static const struct object_type net_type = {
    .name = "virtio-net-pci",
    .parent = "virtio-pci",
    .category = "Network",
    .proxied = "virtio-net-device",
    .class_data = &net_class,
};
OBJECT_TYPE(net_type);
