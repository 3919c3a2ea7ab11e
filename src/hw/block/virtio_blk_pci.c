/* virtio-blk-pci: virtio-blk-device on PCI. It may have a queue for each vCPU. */
#include "hw/block/virtio_blk.h"
#include "hw/virtio/virtio_pci.h"

static bool realize(struct pci_device *dev, GError **error)
{
    struct virtio_blk *s =
        (struct virtio_blk *)object_child(&dev->device.object, "virtio-backend");

    virtio_blk_choose_queues(s, dev->hw->n_cpus);
    return virtio_pci_realize(dev, error);
}

static const struct virtio_pci_kind kind = {VIRTIO_PCI_VECTORS_BY_QUEUES};
static const struct pci_class class = VIRTIO_PCI_CLASS_WITH(0x1001, 0x0100, kind, realize);

static const struct object_type blk_type = {
    .name = "virtio-blk-pci",
    .parent = "virtio-pci",
    .category = "Storage",
    .proxied = "virtio-blk-device",
    .class_data = &class,
};
OBJECT_TYPE(blk_type);
