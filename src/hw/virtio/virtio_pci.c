/*
 * virtio-*-pci: virtio devices on a PCI bus (virtio 1.2, 4.1), transitional: the legacy registers
 * in a BAR of ports, the others behind capabilities in a BAR of memory. The device itself is a
 * child, virtio-backend.
 */
#include "hw/virtio/virtio_pci.h"

#include "hw/virtio/virtio.h"

#include "qapi/error.h"
#include "qapi/json.h"
#include "qapi/qapi_types.h"

#define BACKEND "virtio-backend"

enum {
    MODERN_ID = 0x1040,             /* and the device's own */
    MODERN_SUBSYSTEM = 0x1100,

    LEGACY_BAR = 0,
    MSIX_BAR = 1,
    MODERN_BAR = 4,

    MODERN_SIZE = 0x4000,
    PART_SIZE = 0x1000,
    COMMON_AT = 0x0000,
    ISR_AT = 0x1000,
    DEVICE_AT = 0x2000,
    NOTIFY_AT = 0x3000,
    NOTIFY_MULTIPLIER = 4,

    /* Types of capabilities (4.1.4). */
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
    CAP_SIZE = 16,
    CAP_NOTIFY_SIZE = 20,

    /* Common configuration (4.1.4.3). */
    COMMON_DEVICE_FEATURE_SELECT = 0x00,
    COMMON_DEVICE_FEATURE = 0x04,
    COMMON_DRIVER_FEATURE_SELECT = 0x08,
    COMMON_DRIVER_FEATURE = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_NUM_QUEUES = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFF = 0x1e,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_DRIVER = 0x28,
    COMMON_QUEUE_DEVICE = 0x30,
    COMMON_QUEUE_NOTIFY_DATA = 0x38,
    COMMON_QUEUE_RESET = 0x3a,
    COMMON_END = 0x3c,

    /* Legacy registers (4.1.4.10). */
    LEGACY_DEVICE_FEATURES = 0x00,
    LEGACY_DRIVER_FEATURES = 0x04,
    LEGACY_QUEUE_ADDRESS = 0x08,
    LEGACY_QUEUE_SIZE = 0x0c,
    LEGACY_QUEUE_SELECT = 0x0e,
    LEGACY_QUEUE_NOTIFY = 0x10,
    LEGACY_STATUS = 0x12,
    LEGACY_ISR = 0x13,
    LEGACY_CONFIG_VECTOR = 0x14,
    LEGACY_QUEUE_VECTOR = 0x16,
    LEGACY_END = 0x14,
    LEGACY_END_MSIX = 0x18,
    LEGACY_PAGE_SHIFT = 12,
};

struct virtio_pci {
    struct pci_device dev;
    struct virtio_device *vdev;
    uint32_t vectors;               /* property; UINT32_MAX: as the kind says */
    enum qapi_on_off_auto disable_legacy;   /* properties */
    bool disable_modern;
    struct region legacy, modern, common, isr, config, notify;
    GMutex lock;                    /* of what the driver selected; before the virtio device's */
    /* Saved. */
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select;
};

static struct virtio_pci *self(struct pci_device *dev)
{
    return (struct virtio_pci *)dev;
}

static void interrupt(void *opaque, uint8_t isr, uint16_t vector)
{
    struct virtio_pci *s = opaque;

    if (pci_msix_enabled(&s->dev)) {
        pci_set_intx(&s->dev, false);
        pci_msix_notify(&s->dev, vector);
    } else {
        pci_set_intx(&s->dev, isr != 0);
    }
}

static const struct virtio_transport_ops transport_ops = {.interrupt = interrupt};

/* A vector that the device doesn't have becomes none (4.1.5.1.2). */
static uint16_t check_vector(const struct virtio_pci *s, uint32_t vector)
{
    return vector < s->dev.msix.n_vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

static void set_config_vector(struct virtio_pci *s, uint32_t vector)
{
    virtio_lock(s->vdev);
    s->vdev->config_vector = check_vector(s, vector);
    virtio_unlock(s->vdev);
}

static void set_queue_vector(struct virtio_pci *s, struct virtqueue *vq, uint32_t vector)
{
    virtio_lock(s->vdev);
    vq->vector = check_vector(s, vector);
    virtio_unlock(s->vdev);
}

static void ring_doorbell(struct virtio_pci *s, uint64_t index)
{
    struct virtqueue *vq = index <= UINT16_MAX ? virtio_queue(s->vdev, (uint32_t)index) : NULL;

    if (vq) {
        virtqueue_kick(vq);
    }
}

/* Reading it clears it (4.1.4.5). */
static uint8_t take_isr(struct virtio_pci *s)
{
    uint8_t isr = virtio_isr(s->vdev);

    virtio_ack(s->vdev, isr);
    return isr;
}

/* ---- Common configuration ---- */

static uint32_t half(uint64_t value, uint64_t offset)
{
    return (uint32_t)(offset & 4 ? value >> 32 : value);
}

static uint32_t read_queue(const struct virtqueue *vq, uint64_t offset)
{
    if (!vq) {
        return 0;
    }
    switch (offset) {
    case COMMON_QUEUE_SIZE: return vq->size;
    case COMMON_QUEUE_VECTOR: return vq->vector;
    case COMMON_QUEUE_ENABLE: return vq->ready;
    case COMMON_QUEUE_NOTIFY_OFF:
    case COMMON_QUEUE_NOTIFY_DATA: return vq->index;
    case COMMON_QUEUE_DESC:
    case COMMON_QUEUE_DESC + 4: return half(vq->desc, offset);
    case COMMON_QUEUE_DRIVER:
    case COMMON_QUEUE_DRIVER + 4: return half(vq->avail, offset);
    case COMMON_QUEUE_DEVICE:
    case COMMON_QUEUE_DEVICE + 4: return half(vq->used, offset);
    default: return 0;      /* queue_reset: it is over at once */
    }
}

static uint64_t common_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *s = opaque;
    uint64_t features = virtio_offered(s->vdev, false);

    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT: return s->device_feature_select;
    case COMMON_DEVICE_FEATURE:
        return s->device_feature_select < 2
                   ? (uint32_t)(features >> (32 * s->device_feature_select))
                   : 0;
    case COMMON_DRIVER_FEATURE_SELECT: return s->driver_feature_select;
    case COMMON_DRIVER_FEATURE:
        return s->driver_feature_select < 2
                   ? (uint32_t)(s->vdev->guest_features >> (32 * s->driver_feature_select)) : 0;
    case COMMON_CONFIG_VECTOR: return s->vdev->config_vector;
    case COMMON_NUM_QUEUES: return s->vdev->n_queues;
    case COMMON_STATUS: return virtio_status(s->vdev);
    case COMMON_GENERATION: return virtio_config_generation(s->vdev) & 0xff;
    case COMMON_QUEUE_SELECT: return s->queue_select;
    default: return read_queue(virtio_queue(s->vdev, s->queue_select), offset);
    }
}

static void write_queue(struct virtio_pci *s, uint64_t offset, uint32_t value)
{
    struct virtqueue *vq = virtio_queue(s->vdev, s->queue_select);

    if (!vq) {
        return;
    }
    switch (offset) {
    case COMMON_QUEUE_SIZE: virtqueue_set_size(vq, value); break;
    case COMMON_QUEUE_VECTOR: set_queue_vector(s, vq, value); break;
    case COMMON_QUEUE_ENABLE:
        if (value == 1) {
            virtqueue_set_ready(vq, true);
        }
        break;
    case COMMON_QUEUE_DESC:
    case COMMON_QUEUE_DESC + 4: virtqueue_set_area(vq, VIRTQUEUE_DESC, offset & 4, value); break;
    case COMMON_QUEUE_DRIVER:
    case COMMON_QUEUE_DRIVER + 4:
        virtqueue_set_area(vq, VIRTQUEUE_DRIVER, offset & 4, value);
        break;
    case COMMON_QUEUE_DEVICE:
    case COMMON_QUEUE_DEVICE + 4:
        virtqueue_set_area(vq, VIRTQUEUE_DEVICE, offset & 4, value);
        break;
    case COMMON_QUEUE_RESET:
        if (value == 1 && virtio_has_feature(s->vdev, VIRTIO_F_RING_RESET)) {
            virtqueue_reset(vq);
        }
        break;
    }
}

static void common_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_pci *s = opaque;
    uint32_t v = (uint32_t)value;

    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT: s->device_feature_select = v; break;
    case COMMON_DRIVER_FEATURE_SELECT: s->driver_feature_select = v; break;
    case COMMON_DRIVER_FEATURE:
        if (s->driver_feature_select < 2) {
            virtio_set_features(s->vdev, s->driver_feature_select, v, false);
        }
        break;
    case COMMON_CONFIG_VECTOR: set_config_vector(s, v); break;
    case COMMON_STATUS: virtio_set_status(s->vdev, (uint8_t)v); break;
    case COMMON_QUEUE_SELECT: s->queue_select = (uint16_t)v; break;
    default: write_queue(s, offset, v); break;
    }
}

static const struct region_ops common_ops = {
    .read_simple = common_read, .write_simple = common_write, .max_size = 8, .impl_max = 4,
};

static uint64_t isr_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == 0 ? take_isr(opaque) : 0;
}

static void isr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct region_ops isr_ops = {
    .read_simple = isr_read, .write_simple = isr_write, .max_size = 4,
};

static uint64_t config_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *s = opaque;

    return virtio_config_read(s->vdev, (uint32_t)offset, size);
}

static void config_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_pci *s = opaque;

    virtio_config_write(s->vdev, (uint32_t)offset, (uint32_t)value, size);
}

static const struct region_ops config_ops = {
    .read_simple = config_read, .write_simple = config_write, .max_size = 8, .impl_max = 4,
};

static uint64_t notify_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ring_doorbell(opaque, offset / NOTIFY_MULTIPLIER);
}

static const struct region_ops notify_ops = {
    .read_simple = notify_read, .write_simple = notify_write, .max_size = 4,
};

/* ---- Legacy registers ---- */

static uint32_t legacy_header(struct virtio_pci *s)
{
    return pci_msix_enabled(&s->dev) ? LEGACY_END_MSIX : LEGACY_END;
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *s = opaque;
    const struct virtqueue *vq = virtio_queue(s->vdev, s->queue_select);
    uint32_t header = legacy_header(s);

    if (offset >= header) {
        return virtio_config_read(s->vdev, (uint32_t)offset - header, size);
    }
    switch (offset) {
    case LEGACY_DEVICE_FEATURES: return virtio_offered(s->vdev, true);
    case LEGACY_DRIVER_FEATURES: return (uint32_t)s->vdev->guest_features;
    case LEGACY_QUEUE_ADDRESS: return vq && vq->ready ? vq->desc >> LEGACY_PAGE_SHIFT : 0;
    case LEGACY_QUEUE_SIZE: return vq ? vq->max_size : 0;
    case LEGACY_QUEUE_SELECT: return s->queue_select;
    case LEGACY_STATUS: return virtio_status(s->vdev);
    case LEGACY_ISR: return take_isr(s);
    case LEGACY_CONFIG_VECTOR: return s->vdev->config_vector;
    case LEGACY_QUEUE_VECTOR: return vq ? vq->vector : VIRTIO_NO_VECTOR;
    default: return 0;
    }
}

static void set_legacy_address(struct virtio_pci *s, struct virtqueue *vq, uint64_t page)
{
    if (page == 0) {
        virtio_reset(s->vdev);
    } else {
        virtqueue_set_legacy(vq, page << LEGACY_PAGE_SHIFT);
        virtqueue_set_ready(vq, true);
    }
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_pci *s = opaque;
    struct virtqueue *vq = virtio_queue(s->vdev, s->queue_select);
    uint32_t header = legacy_header(s);

    if (offset >= header) {
        virtio_config_write(s->vdev, (uint32_t)offset - header, (uint32_t)value, size);
        return;
    }
    switch (offset) {
    case LEGACY_DRIVER_FEATURES: virtio_set_features(s->vdev, 0, (uint32_t)value, true); break;
    case LEGACY_QUEUE_SELECT: s->queue_select = (uint16_t)value; break;
    case LEGACY_QUEUE_NOTIFY: ring_doorbell(s, value); break;
    case LEGACY_STATUS: virtio_set_status(s->vdev, (uint8_t)value); break;
    case LEGACY_CONFIG_VECTOR: set_config_vector(s, (uint32_t)value); break;
    case LEGACY_QUEUE_ADDRESS:
        if (vq) {
            set_legacy_address(s, vq, (uint32_t)value);
        }
        break;
    case LEGACY_QUEUE_VECTOR:
        if (vq) {
            set_queue_vector(s, vq, (uint32_t)value);
        }
        break;
    }
}

static const struct region_ops legacy_ops = {
    .read_simple = legacy_read, .write_simple = legacy_write, .max_size = 4,
};

/* ---- The device ---- */

static void add_capability(struct virtio_pci *s, uint8_t type, uint32_t at, struct region *region,
                           const char *name, const struct region_ops *ops, GMutex *lock)
{
    uint8_t size = type == CAP_NOTIFY ? CAP_NOTIFY_SIZE : CAP_SIZE;
    uint8_t *p = pci_add_capability(&s->dev, PCI_CAP_VENDOR, size);

    p[2] = size;
    p[3] = type;
    p[4] = MODERN_BAR;
    pci_put32(p + 8, at);
    pci_put32(p + 12, PART_SIZE);
    if (type == CAP_NOTIFY) {
        pci_put32(p + 16, NOTIFY_MULTIPLIER);
    }
    region_init_mmio(region, name, ops, s, PART_SIZE, lock);
    region_add(&s->modern, at, region, 0);
}

static uint64_t round_up_to_power(uint64_t n)
{
    uint64_t size = 16;

    while (size < n) {
        size *= 2;
    }
    return size;
}

static void add_legacy_registers(struct virtio_pci *s)
{
    uint64_t size = round_up_to_power(LEGACY_END_MSIX + s->vdev->class->config_size);

    region_init_mmio(&s->legacy, "virtio-pci", &legacy_ops, s, size, &s->lock);
    pci_add_bar(&s->dev, LEGACY_BAR, PCI_BAR_IO, &s->legacy, size);
}

static void add_registers(struct virtio_pci *s)
{
    region_init_container(&s->modern, "virtio-pci", MODERN_SIZE);
    add_capability(s, CAP_COMMON, COMMON_AT, &s->common, "virtio-pci-common", &common_ops,
                   &s->lock);
    add_capability(s, CAP_ISR, ISR_AT, &s->isr, "virtio-pci-isr", &isr_ops, NULL);
    add_capability(s, CAP_DEVICE, DEVICE_AT, &s->config, "virtio-pci-device", &config_ops, NULL);
    /* The doorbell waits for nobody. */
    add_capability(s, CAP_NOTIFY, NOTIFY_AT, &s->notify, "virtio-pci-notify", &notify_ops, NULL);
    pci_add_bar(&s->dev, MODERN_BAR, PCI_BAR_64 | PCI_BAR_PREFETCH, &s->modern, MODERN_SIZE);
}

/* Behind a port of PCI Express ports are scarce: there the device has only what 1.0 has. */
static bool has_legacy(const struct virtio_pci *s)
{
    return s->disable_legacy == QAPI_ON_OFF_AUTO_AUTO ? !s->dev.bus->bridge
                                                      : s->disable_legacy == QAPI_ON_OFF_AUTO_OFF;
}

/* A device that knows nothing of drivers from before 1.0 has other ids (4.1.2.1). */
static void set_ids(struct virtio_pci *s)
{
    uint8_t *config = s->dev.config;

    if (has_legacy(s)) {
        pci_put16(config + PCI_SUBSYSTEM_ID, s->vdev->class->device_id);
    } else {
        pci_put16(config + PCI_DEVICE_ID, (uint16_t)(MODERN_ID + s->vdev->class->device_id));
        pci_put16(config + PCI_SUBSYSTEM_ID, MODERN_SUBSYSTEM);
        config[PCI_REVISION] = 1;
    }
}

static bool count_vectors(struct virtio_pci *s, uint32_t *vectors, GError **error)
{
    const struct pci_class *class = object_class_data(&s->dev.device.object);
    const struct virtio_pci_kind *kind = class->child;

    *vectors = s->vectors == UINT32_MAX ? kind->vectors : s->vectors;
    if (s->vectors == UINT32_MAX && *vectors == (uint32_t)VIRTIO_PCI_VECTORS_BY_QUEUES) {
        *vectors = MIN(s->vdev->n_queues + 1, 2048);
    }
    if (*vectors > 2048) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "vectors is %u, it must be from 0 to 2048", *vectors);
        return false;
    }
    return true;
}

bool virtio_pci_realize(struct pci_device *dev, GError **error)
{
    struct virtio_pci *s = self(dev);
    uint32_t vectors;

    if (!has_legacy(s) && s->disable_modern) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "device cannot work as neither modern nor legacy mode is enabled; "
                    "set either disable-modern or disable-legacy to off");
        return false;
    }
    virtio_attach(s->vdev, &dev->device.object, dev->hw, &transport_ops, s, s->disable_modern);
    s->vdev->attrs.requester = dev->devfn;
    if (!object_complete(&s->vdev->device.object, error) || !count_vectors(s, &vectors, error)) {
        return false;
    }
    dev->config[PCI_INTERRUPT_PIN] = 1;
    set_ids(s);
    if (has_legacy(s)) {
        add_legacy_registers(s);
    }
    if (!s->disable_modern) {
        add_registers(s);
    }
    if (dev->bus->bridge) {
        pcie_add_capability(dev, PCIE_ENDPOINT);
    }
    if (vectors) {
        pci_add_msix(dev, MSIX_BAR, vectors);
    }
    return true;
}

void virtio_pci_unrealize(struct pci_device *dev)
{
    struct virtio_pci *s = self(dev);
    struct region *regions[] = {&s->common, &s->isr,    &s->config,
                                &s->notify, &s->modern, &s->legacy};

    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        if (regions[i]->name) {
            region_clear(regions[i]);
        }
    }
    g_mutex_clear(&s->lock);
}

static const struct state_field fields[] = {
    STATE_FIELD(virtio_pci, device_feature_select, STATE_U32),
    STATE_FIELD(virtio_pci, driver_feature_select, STATE_U32),
    STATE_FIELD(virtio_pci, queue_select, STATE_U16),
};

const struct state_table virtio_pci_state = {
    .name = "virtio-pci",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
};

void virtio_pci_reset(struct pci_device *dev)
{
    struct virtio_pci *s = self(dev);

    state_reset(&virtio_pci_state, s);
    virtio_reset(s->vdev);
}

/* The pin follows the ISR as soon as there are no messages (4.1.5.3), and is low with them. */
void virtio_pci_config_written(struct pci_device *dev, uint32_t offset, unsigned size)
{
    virtio_ack(self(dev)->vdev, 0);
}

static void init(struct object *obj)
{
    struct virtio_pci *s = (struct virtio_pci *)obj;
    auto_ptr(object) backend = object_new(object_type_proxied(obj->type));
    bool added = object_add_child(obj, BACKEND, backend, NULL);

    g_assert(added);
    g_mutex_init(&s->lock);
    s->vdev = (struct virtio_device *)backend;
}

static const struct property properties[] = {
    PROPERTY("vectors", virtio_pci, vectors, qapi_type_uint32, "4294967295",
             "MSI-X vectors; 0: only an interrupt pin"),
    PROPERTY("disable-legacy", virtio_pci, disable_legacy, qapi_type_on_off_auto, "auto",
             "No registers for drivers from before virtio 1.0"),
    PROPERTY("disable-modern", virtio_pci, disable_modern, qapi_type_bool, "off",
             "Only registers for drivers from before virtio 1.0"),
};

static const struct object_type virtio_pci_type = {
    .name = "virtio-pci",
    .parent = "pci-device",
    .abstract = true,
    .instance_size = sizeof(struct virtio_pci),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .proxied_child = BACKEND,
    .init = init,
};
OBJECT_TYPE(virtio_pci_type);
