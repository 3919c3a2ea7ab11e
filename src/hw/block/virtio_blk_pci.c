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

static const struct virtio_pci_kind kind = {"virtio-blk-device", VIRTIO_PCI_VECTORS_BY_QUEUES};
static const struct pci_class class = {
    .vendor = 0x1af4,
    .device = 0x1001,
    .subsystem_vendor = 0x1af4,
    .class_code = 0x0100,
    .realize = realize,
    .unrealize = virtio_pci_unrealize,
    .reset = virtio_pci_reset,
    .state = &virtio_pci_state,
    .child = &kind,
};

#define STR(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_str, description)
#define BOOL(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_bool, description)
#define SIZE(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_size, description)
#define U16(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_uint16, description)
#define U32(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_uint32, description)
#define AUTO(name, description) VIRTIO_PCI_FORWARD(name, qapi_type_on_off_auto, description)
#define ON_ERROR(name, description)                                                                \
    VIRTIO_PCI_FORWARD(name, qapi_type_blockdev_on_error, description)

static const struct property properties[] = {
    STR("drive", "Node name or ID of a block device to use as a backend"),
    STR("serial", "What the guest knows it by; 20 characters"),
    SIZE("logical_block_size", "A power of two between 512 B and 2 MiB"),
    SIZE("physical_block_size", "A power of two between 512 B and 2 MiB"),
    SIZE("min_io_size", "Bytes below which requests are slow"),
    SIZE("opt_io_size", "Bytes that requests had best have"),
    SIZE("discard_granularity",
         "Bytes that are discarded together; 4294967295: as logical_block_size"),
    AUTO("write-cache", "Whether writes need a flush; auto: as the drive says"),
    BOOL("share-rw", "Others may write the same medium"),
    VIRTIO_PCI_FORWARD("bootindex", qapi_type_int32,
                       "Its place in the order that firmware boots from; -1: none"),
    ON_ERROR("rerror", "What is done when reading fails (auto: report)"),
    ON_ERROR("werror", "What is done when writing fails (auto: enospc)"),
    AUTO("account-invalid", "Invalid requests end idle time"),
    AUTO("account-failed", "The time of failed requests counts"),
    U32("cyls", "Cylinders of its geometry; 0: by its size"),
    U32("heads", "Heads of its geometry; 0: 16"),
    U32("secs", "Sectors of its geometry; 0: 63"),
    BOOL("config-wce", "The driver may turn the write cache on and off"),
    BOOL("request-merging", "Requests of neighbours become one"),
    U16("num-queues", "Queues; 65535: as many as vCPUs"),
    U16("queue-size", "Entries of a queue, a power of two"),
    BOOL("seg-max-adjust", "Requests may have as many segments as a queue has room for"),
    BOOL("discard", "The driver can discard"),
    BOOL("report-discard-granularity", "The driver is told discard_granularity"),
    BOOL("write-zeroes", "The driver can have zeroes written"),
    U32("max-discard-sectors", "That are discarded at once"),
    U32("max-write-zeroes-sectors", "That are zeroed at once"),
    STR("iothread", "That works its queues off; none: it has a thread of its own"),
};

static const struct object_type blk_type = {
    .name = "virtio-blk-pci",
    .parent = "virtio-pci",
    .category = "Storage",
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &class,
};
OBJECT_TYPE(blk_type);
