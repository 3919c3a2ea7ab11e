/* virtio-rng-device: a source of random bytes (virtio 1.2, 5.4). */
#include "hw/virtio/virtio.h"
#include "hw/virtio/virtio_pci.h"

#include "object/rng.h"
#include "qapi/error.h"
#include "util/clock.h"

enum { QUEUE_SIZE = 8, MAX_REQUEST = 4096 };

struct virtio_rng {
    struct virtio_device vdev;
    struct object *rng;             /* property; NULL: one of its own */
    struct rng_backend *source;
    uint64_t max_bytes;             /* in a period */
    uint32_t period;                /* ms */
    struct timer *timer;            /* end of the period; NULL: no limit */
    uint64_t quota;                 /* bytes that are left of it */
    bool waiting;                   /* for the source */
    /* What the source gave, while a queue is worked off. */
    const uint8_t *bytes;
    size_t n_bytes;
};

static struct virtio_rng *self(struct virtio_device *vdev)
{
    return (struct virtio_rng *)vdev;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct virtio_rng *s = opaque;

    virtio_lock(&s->vdev);
    s->waiting = false;
    s->bytes = data;
    s->n_bytes = size;
    virtqueue_run(&s->vdev.queues[0]);
    s->n_bytes = 0;
    virtio_unlock(&s->vdev);
}

/* Asks for what the next chain takes. */
static void ask(struct virtio_rng *s, uint64_t size)
{
    int64_t ms = 1000000;

    if (s->timer && !timer_is_armed(s->timer)) {
        timer_arm(s->timer, clocks_now(s->vdev.hw->clocks, CLOCK_VIRTUAL) + s->period * ms);
    }
    size = MIN(MIN(size, s->quota), MAX_REQUEST);
    if (size && !s->waiting) {
        s->waiting = true;
        rng_request(s->source, size, receive, s);
    }
}

static void handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_rng *s = self(vdev);
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        uint64_t size = chain->in_size, n = MIN(MIN(size, s->n_bytes), s->quota);

        if (size && !n) {
            virtqueue_rewind(vq, chain);
            g_free(chain);
            ask(s, size);
            return;
        }
        n = virtio_chain_write(chain, 0, s->bytes, n);
        s->bytes += n;
        s->n_bytes -= n;
        s->quota -= s->timer ? n : 0;
        virtqueue_push(vq, chain, n);
        g_free(chain);
    }
}

static void period_over(void *opaque)
{
    struct virtio_rng *s = opaque;

    virtio_lock(&s->vdev);
    s->quota = s->max_bytes;
    virtqueue_run(&s->vdev.queues[0]);
    virtio_unlock(&s->vdev);
}

/* What the source is asked for goes on: its bytes are as good for the next driver. */
static void reset(struct virtio_device *vdev)
{
    self(vdev)->quota = self(vdev)->max_bytes;
}

static bool take_source(struct virtio_rng *s, GError **error)
{
    struct object *obj = &s->vdev.device.object;

    if (!s->rng) {
        auto_ptr(object) own = object_new(object_type_find("rng-builtin"));

        if (!object_add_child(obj, "default-backend", own, error) || !object_complete(own, error)) {
            return false;
        }
        s->rng = object_ref(own);
    }
    if (!s->rng->completed) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: '%s' isn't set up yet",
                    obj->type->name, s->rng->name);
        return false;
    }
    s->source = (struct rng_backend *)s->rng;
    return true;
}

static bool realize(struct virtio_device *vdev, GError **error)
{
    struct virtio_rng *s = self(vdev);

    if (s->period == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'period' parameter expects a positive integer");
        return false;
    }
    if (s->max_bytes > INT64_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'max-bytes' parameter must be non-negative, and less than 2^63");
        return false;
    }
    if (!take_source(s, error)) {
        return false;
    }
    if (s->max_bytes != INT64_MAX) {
        s->timer = timer_new(vdev->hw->loop, vdev->hw->clocks, CLOCK_VIRTUAL, period_over, s);
    }
    virtio_make_queues(vdev, (const uint16_t[]){QUEUE_SIZE}, 1);
    return true;
}

static void unrealize(struct virtio_device *vdev)
{
    struct virtio_rng *s = self(vdev);

    if (s->source) {
        rng_cancel(s->source, s);
    }
    g_clear_pointer(&s->timer, timer_free);
}

static const struct virtio_class rng_class = {
    .device_id = 4,
    .realize = realize,
    .unrealize = unrealize,
    .reset = reset,
    .handle = handle,
};

static const struct property properties[] = {
    PROPERTY_LINK("rng", virtio_rng, rng, "rng-backend", "Where the bytes come from"),
    PROPERTY("max-bytes", virtio_rng, max_bytes, qapi_type_uint64, "9223372036854775807",
             "Bytes that the guest gets in a period, at most"),
    PROPERTY("period", virtio_rng, period, qapi_type_uint32, "65536", "Length of a period in ms"),
};

static const struct object_type rng_type = {
    .name = "virtio-rng-device",
    .parent = "virtio-device",
    .category = "Misc",
    .instance_size = sizeof(struct virtio_rng),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &rng_class,
};
OBJECT_TYPE(rng_type);

/* ---- On PCI ---- */

static const struct virtio_pci_kind pci_kind = {2};
static const struct pci_class pci_class = VIRTIO_PCI_CLASS(0x1005, 0x00ff, pci_kind);
static const struct object_type pci_type = {
    .name = "virtio-rng-pci",
    .parent = "virtio-pci",
    .category = "Misc",
    .proxied = "virtio-rng-device",
    .class_data = &pci_class,
};
OBJECT_TYPE(pci_type);
