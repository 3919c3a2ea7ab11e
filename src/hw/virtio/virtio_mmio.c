/*
 * virtio-mmio: a virtio device behind a page of registers (virtio 1.2, 4.2), version 2 or, with
 * force-legacy (the default, as boards have it), version 1 (4.2.4). One device plugs into its bus.
 */
#include "hw/bus.h"
#include "hw/virtio/virtio.h"

#include "qapi/error.h"

enum {
    REGISTERS_SIZE = 0x200,
    MAGIC = 0x74726976,             /* "virt" */
    VENDOR = 0x554d4551,            /* what drivers of this kind of machine have always seen */

    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_GUEST_PAGE_SIZE = 0x028,    /* legacy */
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_ALIGN = 0x03c,        /* legacy */
    REG_QUEUE_PFN = 0x040,          /* legacy */
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_DRIVER_LOW = 0x090,
    REG_QUEUE_DRIVER_HIGH = 0x094,
    REG_QUEUE_DEVICE_LOW = 0x0a0,
    REG_QUEUE_DEVICE_HIGH = 0x0a4,
    REG_SHM_LEN_LOW = 0x0b0,
    REG_SHM_BASE_HIGH = 0x0bc,
    REG_QUEUE_RESET = 0x0c0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

struct virtio_mmio {
    struct mmio_device dev;
    struct bus *bus;
    struct virtio_device *vdev;     /* NULL: nothing is plugged in */
    bool force_legacy;
    /* Saved. */
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint32_t guest_page_shift;      /* legacy */
};

/* The device's only interrupt: a level, the OR of the status' bits (4.2.2). */
static void interrupt(void *opaque, uint8_t isr, uint16_t vector)
{
    struct virtio_mmio *s = opaque;

    irq_set(&s->dev.irqs[0], isr != 0);
}

static const struct virtio_transport_ops transport_ops = {.interrupt = interrupt};

/* ---- Reading ---- */

/* What is behind the registers if no device is. */
static uint32_t read_empty(const struct virtio_mmio *s, uint64_t offset)
{
    switch (offset) {
    case REG_MAGIC: return MAGIC;
    case REG_VERSION: return s->force_legacy ? 1 : 2;
    case REG_VENDOR_ID: return VENDOR;
    default: return 0;
    }
}

static uint32_t read_features(const struct virtio_mmio *s)
{
    uint64_t features = virtio_offered(s->vdev, s->force_legacy);

    return s->device_features_sel == 0   ? (uint32_t)features
           : s->device_features_sel == 1 ? (uint32_t)(features >> 32)
                                         : 0;
}

static uint32_t read_queue(struct virtio_mmio *s, uint64_t offset)
{
    struct virtqueue *vq = virtio_queue(s->vdev, s->queue_sel);

    if (!vq) {
        return 0;
    }
    switch (offset) {
    case REG_QUEUE_NUM_MAX: return vq->max_size;
    case REG_QUEUE_PFN:
        return s->force_legacy && vq->ready ? (uint32_t)(vq->desc >> s->guest_page_shift) : 0;
    case REG_QUEUE_READY: return !s->force_legacy && vq->ready;
    default: return 0;      /* QueueReset: a reset is over at once */
    }
}

static uint64_t read_register(struct virtio_mmio *s, uint64_t offset)
{
    switch (offset) {
    case REG_MAGIC:
    case REG_VERSION:
    case REG_VENDOR_ID: return read_empty(s, offset);
    case REG_DEVICE_ID: return s->vdev->class->device_id;
    case REG_DEVICE_FEATURES: return read_features(s);
    case REG_QUEUE_NUM_MAX:
    case REG_QUEUE_PFN:
    case REG_QUEUE_READY:
    case REG_QUEUE_RESET: return read_queue(s, offset);
    case REG_INTERRUPT_STATUS: return virtio_isr(s->vdev);
    case REG_STATUS: return virtio_status(s->vdev);
    case REG_CONFIG_GENERATION: return s->force_legacy ? 0 : virtio_config_generation(s->vdev);
    }
    if (offset >= REG_SHM_LEN_LOW && offset <= REG_SHM_BASE_HIGH) {
        return UINT32_MAX;      /* there are no regions of shared memory (4.2.2.1) */
    }
    mmio_device_guest_error(&s->dev, "read of offset 0x%x, where no register is that can be read",
                            (unsigned)offset);
    return 0;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_mmio *s = opaque;

    if (!s->vdev) {
        return read_empty(s, offset);
    }
    if (offset >= REG_CONFIG) {
        return virtio_config_read(s->vdev, (uint32_t)offset - REG_CONFIG, size);
    }
    if (size != 4) {
        mmio_device_guest_error(&s->dev, "read of %u bytes at offset 0x%x: registers have 4", size,
                                (unsigned)offset);
        return 0;
    }
    return read_register(s, offset);
}

/* ---- Writing ---- */

/* Legacy: the page number places the queue; 0 resets the device. */
static void write_pfn(struct virtio_mmio *s, struct virtqueue *vq, uint32_t pfn)
{
    if (pfn == 0) {
        virtio_reset(s->vdev);
        return;
    }
    virtqueue_set_legacy(vq, (uint64_t)pfn << s->guest_page_shift);
    virtqueue_set_ready(vq, true);
}

static void write_queue(struct virtio_mmio *s, uint64_t offset, uint32_t value)
{
    struct virtqueue *vq = virtio_queue(s->vdev, s->queue_sel);
    bool legacy_register = offset == REG_QUEUE_ALIGN || offset == REG_QUEUE_PFN;

    if (!vq || (offset != REG_QUEUE_NUM && legacy_register != s->force_legacy)) {
        mmio_device_guest_error(&s->dev, "write of 0x%x to offset 0x%x for queue %u", value,
                                (unsigned)offset, s->queue_sel);
        return;
    }
    switch (offset) {
    case REG_QUEUE_NUM:
        if (!virtqueue_set_size(vq, value)) {
            mmio_device_guest_error(&s->dev, "queue %u can't have %u entries", vq->index, value);
        }
        break;
    case REG_QUEUE_ALIGN:
        if (!virtqueue_set_legacy_align(vq, value)) {
            mmio_device_guest_error(&s->dev, "queue %u: an alignment of %u", vq->index, value);
        }
        break;
    case REG_QUEUE_PFN: write_pfn(s, vq, value); break;
    case REG_QUEUE_READY: virtqueue_set_ready(vq, value & 1); break;
    case REG_QUEUE_RESET:
        if (value == 1 && virtio_has_feature(s->vdev, VIRTIO_F_RING_RESET)) {
            virtqueue_reset(vq);
        }
        break;
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
        virtqueue_set_area(vq, VIRTQUEUE_DESC, offset & 4, value);
        break;
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
        virtqueue_set_area(vq, VIRTQUEUE_DRIVER, offset & 4, value);
        break;
    case REG_QUEUE_DEVICE_LOW:
    case REG_QUEUE_DEVICE_HIGH:
        virtqueue_set_area(vq, VIRTQUEUE_DEVICE, offset & 4, value);
        break;
    }
}

static void write_page_size(struct virtio_mmio *s, uint32_t value)
{
    if (s->force_legacy && value && (value & (value - 1)) == 0) {
        s->guest_page_shift = (uint32_t)__builtin_ctz(value);
    } else {
        mmio_device_guest_error(&s->dev, "a guest's page size of %u", value);
    }
}

static void ring_doorbell(struct virtio_mmio *s, uint32_t value)
{
    struct virtqueue *vq = virtio_queue(s->vdev, value);

    if (vq) {
        virtqueue_kick(vq);
    } else {
        mmio_device_guest_error(&s->dev, "the doorbell of queue %u, which isn't there", value);
    }
}

static void write_register(struct virtio_mmio *s, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_DEVICE_FEATURES_SEL: s->device_features_sel = value; break;
    case REG_DRIVER_FEATURES_SEL: s->driver_features_sel = value; break;
    case REG_DRIVER_FEATURES:
        if (s->driver_features_sel < (s->force_legacy ? 1 : 2)) {
            virtio_set_features(s->vdev, s->driver_features_sel, value, s->force_legacy);
        }
        break;
    case REG_GUEST_PAGE_SIZE: write_page_size(s, value); break;
    case REG_QUEUE_SEL: s->queue_sel = value; break;
    case REG_QUEUE_NUM:
    case REG_QUEUE_ALIGN:
    case REG_QUEUE_PFN:
    case REG_QUEUE_READY:
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
    case REG_QUEUE_DEVICE_LOW:
    case REG_QUEUE_DEVICE_HIGH:
    case REG_QUEUE_RESET: write_queue(s, offset, value); break;
    case REG_QUEUE_NOTIFY: ring_doorbell(s, value); break;
    case REG_INTERRUPT_ACK: virtio_ack(s->vdev, (uint8_t)value); break;
    case REG_STATUS: virtio_set_status(s->vdev, (uint8_t)value); break;
    default:
        mmio_device_guest_error(&s->dev, "write to offset 0x%x, where no register is that can be "
                                "written", (unsigned)offset);
    }
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_mmio *s = opaque;

    if (!s->vdev) {
        return;
    }
    if (offset >= REG_CONFIG) {
        virtio_config_write(s->vdev, (uint32_t)offset - REG_CONFIG, (uint32_t)value, size);
    } else if (size != 4) {
        mmio_device_guest_error(&s->dev, "write of %u bytes at offset 0x%x: registers have 4", size,
                                (unsigned)offset);
    } else {
        write_register(s, offset, (uint32_t)value);
    }
}

static const struct region_ops ops = {
    .read_simple = mmio_read,
    .write_simple = mmio_write,
    .max_size = 8,
    .impl_max = 4,
};

/* ---- The bus and the device ---- */

static struct virtio_mmio *owner(struct object *bus)
{
    return (struct virtio_mmio *)bus->parent;
}

static bool pre_plug(struct object *handler, struct object *obj, GError **error)
{
    struct virtio_mmio *s = owner(handler);

    if (!object_is(obj, "virtio-device")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' is no virtio device",
                    obj->type->name);
        return false;
    }
    if (!bus_add(s->bus, obj, error)) {
        return false;
    }
    virtio_attach((struct virtio_device *)obj, handler, s->dev.hw, &transport_ops, s,
                  s->force_legacy);
    return true;
}

static void plug(struct object *handler, struct object *obj)
{
    struct virtio_mmio *s = owner(handler);

    g_mutex_lock(&s->dev.lock);
    s->vdev = (struct virtio_device *)obj;
    g_mutex_unlock(&s->dev.lock);
}

static void unplug(struct object *handler, struct object *obj)
{
    struct virtio_mmio *s = owner(handler);

    g_mutex_lock(&s->dev.lock);
    if (s->vdev) {
        virtio_reset(s->vdev);
        s->vdev = NULL;
    }
    g_mutex_unlock(&s->dev.lock);
    bus_remove(s->bus, obj);
}

static const struct hotplug_ops hotplug = {.pre_plug = pre_plug, .plug = plug, .unplug = unplug};

static const struct object_type bus_type = {
    .name = "virtio-mmio-bus",
    .parent = "virtio-bus",
    .hotplug = &hotplug,
};
OBJECT_TYPE(bus_type);

static bool realize(struct mmio_device *dev, GError **error)
{
    struct virtio_mmio *s = (struct virtio_mmio *)dev;

    s->bus = bus_new(&dev->device.object, "virtio-mmio-bus", "virtio-mmio-bus", dev->hw, error);
    if (!s->bus) {
        return false;
    }
    s->bus->max_devices = 1;
    region_init_mmio(&dev->regions[0], "virtio-mmio", &ops, s, REGISTERS_SIZE, &dev->lock);
    dev->n_regions = 1;
    return true;
}

static void reset(struct mmio_device *dev)
{
    struct virtio_mmio *s = (struct virtio_mmio *)dev;

    if (s->vdev) {
        virtio_reset(s->vdev);
    }
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    const struct virtio_mmio *s = instance;

    if (s->guest_page_shift > 31) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "virtio-mmio: the saved size of a page can't be");
        return false;
    }
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(virtio_mmio, device_features_sel, STATE_U32),
    STATE_FIELD(virtio_mmio, driver_features_sel, STATE_U32),
    STATE_FIELD(virtio_mmio, queue_sel, STATE_U32),
    STATE_FIELD(virtio_mmio, guest_page_shift, STATE_U32),
};

static const struct state_table state = {
    .name = "virtio-mmio",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class mmio_class = {
    .state = &state,
    .n_irqs = 1,
    .realize = realize,
    .reset = reset,
};

static const struct property properties[] = {
    PROPERTY("force-legacy", virtio_mmio, force_legacy, qapi_type_bool, "on",
             "Registers of version 1, from before virtio 1.0"),
};

static const struct object_type mmio_type = {
    .name = "virtio-mmio",
    .parent = "mmio-device",
    .instance_size = sizeof(struct virtio_mmio),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &mmio_class,
};
OBJECT_TYPE(mmio_type);
