#include "hw/virtio/virtio_priv.h"

#include <string.h>

#include "qapi/error.h"
#include "util/clock.h"
#include "util/log.h"

enum { LOG_LINES_PER_SECOND = 20, LEGACY_ALIGN = 4096 };

static const uint64_t legacy_features = UINT32_MAX;

static bool is_power_of_2(uint32_t n)
{
    return n && (n & (n - 1)) == 0;
}

void virtio_lock(struct virtio_device *vdev)
{
    g_mutex_lock(&vdev->lock);
}

void virtio_unlock(struct virtio_device *vdev)
{
    g_mutex_unlock(&vdev->lock);
}

bool virtio_has_feature(const struct virtio_device *vdev, unsigned feature)
{
    return (vdev->guest_features & vdev->host_features & virtio_bit(feature)) != 0;
}

bool virtio_is_live(const struct virtio_device *vdev)
{
    uint8_t needed = VIRTIO_DRIVER;

    /* Legacy drivers may use queues before they set DRIVER_OK (3.1.2). */
    if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        needed = VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK;
    }
    return (vdev->status & needed) == needed && !(vdev->status & VIRTIO_NEEDS_RESET);
}

/* ---- Interrupts ---- */

static void raise_interrupt(struct virtio_device *vdev, uint8_t bit, uint16_t vector)
{
    g_mutex_lock(&vdev->irq_lock);
    vdev->isr |= bit;
    vdev->transport->interrupt(vdev->transport_opaque, vdev->isr, vector);
    g_mutex_unlock(&vdev->irq_lock);
}

uint8_t virtio_isr(struct virtio_device *vdev)
{
    uint8_t isr;

    g_mutex_lock(&vdev->irq_lock);
    isr = vdev->isr;
    g_mutex_unlock(&vdev->irq_lock);
    return isr;
}

void virtio_ack(struct virtio_device *vdev, uint8_t bits)
{
    g_mutex_lock(&vdev->irq_lock);
    vdev->isr &= (uint8_t)~bits;
    vdev->transport->interrupt(vdev->transport_opaque, vdev->isr, VIRTIO_NO_VECTOR);
    g_mutex_unlock(&vdev->irq_lock);
}

void virtqueue_notify(struct virtqueue *vq)
{
    if (vq->pushed) {
        vq->pushed = false;
        if (virtqueue_wants_interrupt(vq)) {
            raise_interrupt(vq->vdev, VIRTIO_ISR_QUEUE, vq->vector);
        }
    }
}

void virtio_config_changed(struct virtio_device *vdev)
{
    vdev->generation++;
    if (vdev->status & VIRTIO_DRIVER_OK) {
        raise_interrupt(vdev, VIRTIO_ISR_CONFIG, vdev->config_vector);
    }
}

void virtio_broken(struct virtio_device *vdev, const char *format, ...)
{
    struct log *log = vdev->hw->log;
    g_autofree char *text = NULL;
    int64_t second;
    va_list args;

    if (!(vdev->status & VIRTIO_NEEDS_RESET)) {
        vdev->status |= VIRTIO_NEEDS_RESET;
        if (vdev->status & VIRTIO_DRIVER_OK) {
            raise_interrupt(vdev, VIRTIO_ISR_CONFIG, vdev->config_vector);
        }
    }
    if (!log_enabled(log, LOG_GUEST_ERROR)) {
        return;
    }
    second = clocks_now(vdev->hw->clocks, CLOCK_REAL) / 1000000000;
    if (second != vdev->log_second) {
        vdev->log_second = second;
        vdev->log_lines = 0;
    }
    if (vdev->log_lines++ >= LOG_LINES_PER_SECOND) {
        return;
    }
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    log_write(log, LOG_GUEST_ERROR, "%s: %s; it needs a reset\n", vdev->device.object.name, text);
}

/* ---- State ---- */

static const struct state_field queue_fields[] = {
    STATE_FIELD(virtqueue, size, STATE_U16),        /* reset: max_size */
    STATE_FIELD(virtqueue, ready, STATE_BOOL),
    STATE_FIELD(virtqueue, vector, STATE_U16, .reset = VIRTIO_NO_VECTOR),
    STATE_FIELD(virtqueue, desc, STATE_U64),
    STATE_FIELD(virtqueue, avail, STATE_U64),
    STATE_FIELD(virtqueue, used, STATE_U64),
    STATE_FIELD(virtqueue, legacy_align, STATE_U32, .reset = LEGACY_ALIGN),
    STATE_FIELD(virtqueue, last_avail, STATE_U16),
    STATE_FIELD(virtqueue, used_index, STATE_U16),
    STATE_FIELD(virtqueue, avail_wrap, STATE_BOOL, .reset = true),
    STATE_FIELD(virtqueue, used_wrap, STATE_BOOL, .reset = true),
    STATE_FIELD(virtqueue, signalled_used, STATE_U16),
    STATE_FIELD(virtqueue, signalled_valid, STATE_BOOL),
    STATE_FIELD(virtqueue, in_flight, STATE_U16),
    STATE_FIELD(virtqueue, pushed, STATE_BOOL),
};

static const struct state_table queue_state = {
    .name = "virtqueue",
    .version = 1,
    .fields = queue_fields,
    .n_fields = G_N_ELEMENTS(queue_fields),
};

static const struct state_field device_fields[] = {
    STATE_FIELD(virtio_device, guest_features, STATE_U64),
    STATE_FIELD(virtio_device, generation, STATE_U32, .keep = true),
    STATE_FIELD(virtio_device, status, STATE_U8),
    STATE_FIELD(virtio_device, isr, STATE_U8),
    STATE_FIELD(virtio_device, config_vector, STATE_U16, .reset = VIRTIO_NO_VECTOR),
    STATE_POINTER(virtio_device, queues, STATE_STRUCT, n_queues, .fields = queue_fields,
                  .n_fields = G_N_ELEMENTS(queue_fields), .size = sizeof(struct virtqueue)),
};

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct virtio_device *vdev = instance;

    /* Before that a driver may have asked for anything. */
    if (vdev->status & VIRTIO_FEATURES_OK && vdev->guest_features & ~vdev->host_features) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s: the saved guest uses features 0x%" PRIx64
                    ", which this device doesn't have",
                    vdev->device.object.name, vdev->guest_features & ~vdev->host_features);
        return false;
    }
    for (uint32_t i = 0; i < vdev->n_queues; i++) {
        if (!virtqueue_is_sane(&vdev->queues[i])) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "%s: the saved state of queue %u can't be", vdev->device.object.name, i);
            return false;
        }
    }
    return true;
}

static const struct state_table device_state = {
    .name = "virtio-device",
    .version = 1,
    .fields = device_fields,
    .n_fields = G_N_ELEMENTS(device_fields),
    .after_load = after_load,
};

static void reset_queue(struct virtqueue *vq)
{
    state_reset(&queue_state, vq);
    vq->size = vq->max_size;
}

static void reset(struct virtio_device *vdev)
{
    g_mutex_lock(&vdev->irq_lock);
    state_reset(&device_state, vdev);
    vdev->transport->interrupt(vdev->transport_opaque, 0, VIRTIO_NO_VECTOR);
    g_mutex_unlock(&vdev->irq_lock);
    for (uint32_t i = 0; i < vdev->n_queues; i++) {
        reset_queue(&vdev->queues[i]);
    }
    if (vdev->class->state) {
        state_reset(vdev->class->state, vdev);
    }
    if (vdev->class->reset) {
        vdev->class->reset(vdev);
    }
}

void virtio_reset(struct virtio_device *vdev)
{
    virtio_lock(vdev);
    reset(vdev);
    virtio_unlock(vdev);
}

static void kick_all(struct virtio_device *vdev)
{
    for (uint32_t i = 0; i < vdev->n_queues; i++) {
        if (vdev->queues[i].ready) {
            virtqueue_kick(&vdev->queues[i]);
        }
    }
}

/* With the lock taken nobody is working a queue off any more, also on another thread's loop. */
static void machine_changed(void *opaque, bool runs)
{
    struct virtio_device *vdev = opaque;

    virtio_lock(vdev);
    vdev->stands = !runs;
    if (vdev->class->time_changed) {
        vdev->class->time_changed(vdev);
    }
    if (runs) {
        kick_all(vdev);
    }
    virtio_unlock(vdev);
}

void virtio_save(struct virtio_device *vdev, GByteArray *out)
{
    g_autofree char *id = object_path(&vdev->device.object);

    virtio_lock(vdev);
    state_save(&device_state, vdev, id, out);
    if (vdev->class->state) {
        state_save(vdev->class->state, vdev, id, out);
    }
    virtio_unlock(vdev);
}

bool virtio_load(struct virtio_device *vdev, const uint8_t *data, size_t size, size_t *position,
                 GError **error)
{
    g_autofree char *id = object_path(&vdev->device.object);
    size_t start = *position;
    bool loaded;

    virtio_lock(vdev);
    loaded = state_load(&device_state, vdev, id, data, size, position, error) &&
             (!vdev->class->state ||
              state_load(vdev->class->state, vdev, id, data, size, position, error));
    if (loaded) {
        virtio_ack(vdev, 0);        /* the line gets its level */
        kick_all(vdev);
    } else {
        *position = start;
        reset(vdev);
    }
    virtio_unlock(vdev);
    return loaded;
}

/* ---- What the driver sets ---- */

uint8_t virtio_status(struct virtio_device *vdev)
{
    uint8_t status;

    virtio_lock(vdev);
    status = vdev->status;
    virtio_unlock(vdev);
    return status;
}

uint64_t virtio_offered(struct virtio_device *vdev, bool legacy)
{
    return legacy ? vdev->host_features & legacy_features : vdev->host_features;
}

/* Whether FEATURES_OK may be set. Only drivers that know 1.0 ask. */
static bool features_are_ok(struct virtio_device *vdev)
{
    return !(vdev->guest_features & ~vdev->host_features) &&
           (vdev->legacy_only || virtio_has_feature(vdev, VIRTIO_F_VERSION_1));
}

void virtio_set_status(struct virtio_device *vdev, uint8_t status)
{
    uint8_t old;
    bool was_live;

    virtio_lock(vdev);
    old = vdev->status;
    was_live = virtio_is_live(vdev);
    if (status == 0) {
        reset(vdev);
    } else {
        /* Only a reset clears bits (2.1.1), so what was negotiated stays as it is. */
        status = (uint8_t)((status & ~VIRTIO_NEEDS_RESET) | old);
        if (~old & status & VIRTIO_FEATURES_OK && !features_are_ok(vdev)) {
            status &= (uint8_t)~VIRTIO_FEATURES_OK;
        }
        vdev->status = status;
        if (vdev->class->set_status) {
            vdev->class->set_status(vdev, old);
        }
        if (~old & status & VIRTIO_DRIVER_OK || (!was_live && virtio_is_live(vdev))) {
            kick_all(vdev);
        }
    }
    virtio_unlock(vdev);
}

void virtio_set_features(struct virtio_device *vdev, unsigned which, uint32_t value, bool legacy)
{
    uint64_t features = (uint64_t)value << (which ? 32 : 0);

    virtio_lock(vdev);
    if (!(vdev->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)) && which < 2) {
        if (legacy) {
            vdev->guest_features = features & virtio_offered(vdev, true);
        } else {
            vdev->guest_features &= which ? legacy_features : ~legacy_features;
            vdev->guest_features |= features;
        }
    }
    virtio_unlock(vdev);
}

static void get_config(struct virtio_device *vdev, uint8_t *config)
{
    memset(config, 0, VIRTIO_MAX_CONFIG);
    if (vdev->class->get_config) {
        vdev->class->get_config(vdev, config);
    }
}

uint32_t virtio_config_read(struct virtio_device *vdev, uint32_t offset, unsigned size)
{
    uint8_t config[VIRTIO_MAX_CONFIG];
    uint32_t value = 0;

    g_assert(size == 1 || size == 2 || size == 4);
    if (offset >= vdev->class->config_size || vdev->class->config_size - offset < size) {
        return UINT32_MAX >> (32 - 8 * size);
    }
    virtio_lock(vdev);
    get_config(vdev, config);
    virtio_unlock(vdev);
    memcpy(&value, config + offset, size);
    return GUINT32_FROM_LE(value);
}

void virtio_config_write(struct virtio_device *vdev, uint32_t offset, uint32_t value, unsigned size)
{
    uint8_t config[VIRTIO_MAX_CONFIG];
    uint32_t little = GUINT32_TO_LE(value);

    g_assert(size == 1 || size == 2 || size == 4);
    if (!vdev->class->set_config || offset >= vdev->class->config_size ||
        vdev->class->config_size - offset < size) {
        return;
    }
    virtio_lock(vdev);
    get_config(vdev, config);
    memcpy(config + offset, &little, size);
    vdev->class->set_config(vdev, config);
    virtio_unlock(vdev);
}

uint32_t virtio_config_generation(struct virtio_device *vdev)
{
    uint32_t generation;

    virtio_lock(vdev);
    generation = vdev->generation;
    virtio_unlock(vdev);
    return generation;
}

struct virtqueue *virtio_queue(struct virtio_device *vdev, uint32_t index)
{
    return index < vdev->n_queues && vdev->queues[index].max_size ? &vdev->queues[index] : NULL;
}

bool virtqueue_set_size(struct virtqueue *vq, uint32_t size)
{
    bool ok;

    virtio_lock(vq->vdev);
    ok = !vq->ready && size > 0 && size <= vq->max_size &&
         (virtio_has_feature(vq->vdev, VIRTIO_F_RING_PACKED) || is_power_of_2(size));
    if (ok) {
        vq->size = (uint16_t)size;
    }
    virtio_unlock(vq->vdev);
    return ok;
}

void virtqueue_set_area(struct virtqueue *vq, enum virtqueue_area area, bool high, uint32_t half)
{
    uint64_t *address = area == VIRTQUEUE_DESC ? &vq->desc
                        : area == VIRTQUEUE_DRIVER ? &vq->avail : &vq->used;

    virtio_lock(vq->vdev);
    if (!vq->ready) {
        *address = high ? (*address & UINT32_MAX) | (uint64_t)half << 32
                        : (*address & ~(uint64_t)UINT32_MAX) | half;
    }
    virtio_unlock(vq->vdev);
}

void virtqueue_set_legacy(struct virtqueue *vq, uint64_t address)
{
    uint64_t mask = (uint64_t)vq->legacy_align - 1;

    virtio_lock(vq->vdev);
    if (!vq->ready) {
        vq->desc = address;
        vq->avail = vq->desc + 16ull * vq->size;
        vq->used = (vq->avail + 6 + 2ull * vq->size + mask) & ~mask;
    }
    virtio_unlock(vq->vdev);
}

bool virtqueue_set_legacy_align(struct virtqueue *vq, uint32_t align)
{
    if (!is_power_of_2(align)) {
        return false;
    }
    virtio_lock(vq->vdev);
    vq->legacy_align = align;
    virtio_unlock(vq->vdev);
    return true;
}

void virtqueue_set_ready(struct virtqueue *vq, bool ready)
{
    virtio_lock(vq->vdev);
    if (ready && !vq->ready) {
        if (virtqueue_check_addresses(vq)) {
            vq->ready = true;
            virtqueue_kick(vq);
        }
    } else {
        vq->ready = ready;
    }
    virtio_unlock(vq->vdev);
}

void virtqueue_reset(struct virtqueue *vq)
{
    virtio_lock(vq->vdev);
    reset_queue(vq);
    if (vq->vdev->class->reset_queue) {
        vq->vdev->class->reset_queue(vq->vdev, vq);
    }
    virtio_unlock(vq->vdev);
}

void virtqueue_kick(struct virtqueue *vq)
{
    bottom_half_schedule(vq->doorbell);
}

/* ---- The type ---- */

static void ring(void *opaque)
{
    struct virtqueue *vq = opaque;

    virtio_lock(vq->vdev);
    virtqueue_run(vq);
    virtio_unlock(vq->vdev);
}

void virtio_make_queues(struct virtio_device *vdev, const uint16_t *max_sizes, uint32_t n)
{
    g_assert(!vdev->queues && n <= VIRTIO_MAX_QUEUES);
    vdev->queues = g_new0(struct virtqueue, n);
    vdev->n_queues = n;
    for (uint32_t i = 0; i < n; i++) {
        g_assert(max_sizes[i] <= VIRTIO_MAX_QUEUE_SIZE);
        vdev->queues[i] = (struct virtqueue){
            .vdev = vdev, .index = (uint16_t)i, .max_size = max_sizes[i]};
    }
}

void virtio_attach(struct virtio_device *vdev, struct object *bus, const struct hw_context *hw,
                   const struct virtio_transport_ops *ops, void *opaque, bool legacy_only)
{
    g_assert(!vdev->device.object.completed);
    vdev->parent_bus = bus;
    vdev->hw = hw;
    vdev->transport = ops;
    vdev->transport_opaque = opaque;
    vdev->legacy_only = legacy_only;
    vdev->attrs.memory_only = true;
}

static void init(struct object *obj)
{
    struct virtio_device *vdev = (struct virtio_device *)obj;

    vdev->class = object_class_data(obj);
    g_mutex_init(&vdev->lock);
    g_mutex_init(&vdev->irq_lock);
}

static uint64_t common_features(const struct virtio_device *vdev)
{
    const struct {
        bool on;
        uint8_t feature;
    } rows[] = {
        {vdev->notify_on_empty, VIRTIO_F_NOTIFY_ON_EMPTY},
        {vdev->any_layout, VIRTIO_F_ANY_LAYOUT},
        {vdev->indirect_desc, VIRTIO_F_INDIRECT_DESC},
        {vdev->event_idx, VIRTIO_F_EVENT_IDX},
        {true, VIRTIO_F_VERSION_1},
        {vdev->packed, VIRTIO_F_RING_PACKED},
        {vdev->in_order, VIRTIO_F_IN_ORDER},
        {vdev->queue_reset, VIRTIO_F_RING_RESET},
    };
    uint64_t features = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        features |= rows[i].on ? virtio_bit(rows[i].feature) : 0;
    }
    return vdev->legacy_only ? features & legacy_features : features;
}

static bool complete(struct object *obj, GError **error)
{
    struct virtio_device *vdev = (struct virtio_device *)obj;

    if (!vdev->transport) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' needs a virtio bus",
                    obj->type->name);
        return false;
    }
    if (!vdev->class->realize(vdev, error)) {
        return false;
    }
    if (!vdev->loop) {
        vdev->loop = event_loop_ref(vdev->hw->loop);
    }
    vdev->host_features |= common_features(vdev);
    for (uint32_t i = 0; i < vdev->n_queues; i++) {
        vdev->queues[i].doorbell = bottom_half_new(vdev->loop, ring, &vdev->queues[i]);
    }
    vdev->stands = !clocks_virtual_runs(vdev->hw->clocks);
    clocks_add_listener(vdev->hw->clocks, machine_changed, vdev);
    virtio_reset(vdev);
    return true;
}

struct free_doorbells {
    struct virtio_device *vdev;
    GMutex lock;
    GCond cond;
    bool done;
};

static void free_doorbells(void *opaque)
{
    struct free_doorbells *work = opaque;

    for (uint32_t i = 0; i < work->vdev->n_queues; i++) {
        g_clear_pointer(&work->vdev->queues[i].doorbell, bottom_half_free);
    }
    g_mutex_lock(&work->lock);
    work->done = true;
    g_cond_signal(&work->cond);
    g_mutex_unlock(&work->lock);
}

/* Bottom halves are their loop's to free; after that no handler runs. */
static void stop_queues(struct virtio_device *vdev)
{
    struct free_doorbells work = {.vdev = vdev};

    g_mutex_init(&work.lock);
    g_cond_init(&work.cond);
    if (event_loop_is_owner(vdev->loop)) {
        free_doorbells(&work);
    } else {
        event_loop_post(vdev->loop, free_doorbells, &work);
        g_mutex_lock(&work.lock);
        while (!work.done) {
            g_cond_wait(&work.cond, &work.lock);
        }
        g_mutex_unlock(&work.lock);
    }
    g_cond_clear(&work.cond);
    g_mutex_clear(&work.lock);
}

static void finalize(struct object *obj)
{
    struct virtio_device *vdev = (struct virtio_device *)obj;

    if (vdev->loop) {
        clocks_remove_listener(vdev->hw->clocks, vdev);
        stop_queues(vdev);
    }
    if (vdev->class->unrealize) {
        vdev->class->unrealize(vdev);
    }
    g_free(vdev->queues);
    g_clear_pointer(&vdev->loop, event_loop_unref);
    g_mutex_clear(&vdev->irq_lock);
    g_mutex_clear(&vdev->lock);
}

static void save(struct object *obj, GByteArray *out)
{
    virtio_save((struct virtio_device *)obj, out);
}

static bool load(struct object *obj, const uint8_t *data, size_t size, size_t *position,
                 GError **error)
{
    return virtio_load((struct virtio_device *)obj, data, size, position, error);
}

static const struct state_ops state_ops = {.save = save, .load = load};

#define FEATURE(name, field, default_, description)                                                \
    PROPERTY(name, virtio_device, field, qapi_type_bool, default_, description)

static const struct property properties[] = {
    FEATURE("indirect_desc", indirect_desc, "on", "Indirect descriptors"),
    FEATURE("event_idx", event_idx, "on", "Interrupts and doorbells from an index on"),
    FEATURE("notify_on_empty", notify_on_empty, "on", "Legacy: an interrupt when a queue is empty"),
    FEATURE("any_layout", any_layout, "on", "Any framing of requests"),
    FEATURE("packed", packed, "off", "Packed rings"),
    FEATURE("queue_reset", queue_reset, "on", "Queues can be reset one by one"),
    FEATURE("in_order", in_order, "off", "Buffers come back in order"),
};

static const struct object_type virtio_bus_type = {
    .name = "virtio-bus",
    .parent = "bus",
    .abstract = true,
};
OBJECT_TYPE(virtio_bus_type);

static const struct object_type virtio_device_type = {
    .name = "virtio-device",
    .parent = "device",
    .abstract = true,
    .instance_size = sizeof(struct virtio_device),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .bus = "virtio-bus",
    .state = &state_ops,
    .init = init,
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(virtio_device_type);
