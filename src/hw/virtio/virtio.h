/*
 * Virtio 1.2: what all devices and all transports share.
 *
 * A device (virtio_rng.c, ...) is a type that descends from "virtio-device"; it is put on a bus
 * that a transport has (virtio_mmio.c, virtio_pci.c). The transport turns registers into the calls
 * of the second part of this header, the device takes chains of buffers from its queues with those
 * of the third.
 *
 * A doorbell only schedules: queues are worked off on the device's event loop, with the device's
 * lock held. The lock is also taken for the transport's calls, so that a device's hooks run one at
 * a time. Below it are only irq_lock, interrupt controllers, and what back ends take themselves.
 *
 * While the machine's time stands (util/clock.h) no queue is worked off, on whichever loop: handle
 * isn't called and there is no chain to take. What was taken before may still be given back. When
 * time goes on all queues are looked at.
 *
 * Nothing that the driver writes to its rings is trusted. Each word is read once and checked; a
 * ring that makes no sense sets DEVICE_NEEDS_RESET, and the device stands still until it is reset
 * (2.1.2).
 */
#ifndef NANDU_HW_VIRTIO_VIRTIO_H
#define NANDU_HW_VIRTIO_VIRTIO_H

#include "hw/mmio_device.h"
#include "util/event_loop.h"

struct virtio_device;
struct virtqueue;

enum {
    VIRTIO_MAX_QUEUES = 1024,
    VIRTIO_MAX_QUEUE_SIZE = 1024,   /* 32768 is legal; drivers take what they are offered */
    VIRTIO_MAX_SEGMENTS = 1024,     /* of a chain, indirect descriptors included */
    VIRTIO_MAX_CONFIG = 256,        /* bytes of a device's configuration */
    VIRTIO_NO_VECTOR = 0xffff,
};

/* Device status (2.1). */
enum {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 0x40,
    VIRTIO_FAILED = 0x80,
};

/* Interrupt status (4.2.2, 4.1.4.5). */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

/* Feature bits of all devices (6, 6.3). */
enum {
    VIRTIO_F_NOTIFY_ON_EMPTY = 24,
    VIRTIO_F_ANY_LAYOUT = 27,
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_RING_PACKED = 34,
    VIRTIO_F_IN_ORDER = 35,
    VIRTIO_F_RING_RESET = 40,
};

static inline uint64_t virtio_bit(unsigned feature)
{
    return 1ull << feature;
}

/* ---- What a device is ---- */

struct virtio_class {
    uint16_t device_id;         /* chapter 5 */
    uint16_t config_size;       /* bytes; 0: none */
    const struct state_table *state;    /* its own, besides the core's; NULL: none */
    /* Makes queues, takes back ends, sets vdev->host_features, and vdev->loop if it isn't the
     * main one. The lock isn't held. */
    bool (*realize)(struct virtio_device *vdev, GError **error);
    /* Undoes it, also half-way; no queue is worked off any more. May be NULL. */
    void (*unrealize)(struct virtio_device *vdev);

    /* The hooks below run with the lock held, and each but handle may be NULL. */
    void (*get_config)(struct virtio_device *vdev, uint8_t *config); /* config_size bytes, zeroed */
    /* The driver wrote; config is what get_config gave with the new bytes. Any thread. */
    void (*set_config)(struct virtio_device *vdev, const uint8_t *config);
    void (*set_status)(struct virtio_device *vdev, uint8_t old);
    /* After state_reset: requests that are under way belong to nobody now. Any thread. */
    void (*reset)(struct virtio_device *vdev);
    /* The same of one queue (2.6.1). */
    void (*reset_queue)(struct virtio_device *vdev, struct virtqueue *vq);
    /* The machine's time stands, or goes on: vdev->stands says it. Main thread. */
    void (*time_changed)(struct virtio_device *vdev);
    /* Works vq off, on the device's loop. What it leaves in the queue it fetches by virtqueue_run
     * when it can go on. */
    void (*handle)(struct virtio_device *vdev, struct virtqueue *vq);
};

/* How a transport reaches the guest: with irq_lock held. */
struct virtio_transport_ops {
    /* isr is what the status is now; vector: the queue's or the configuration's (MSI-X). */
    void (*interrupt)(void *opaque, uint8_t isr, uint16_t vector);
};

struct virtqueue {
    struct virtio_device *vdev;
    struct bottom_half *doorbell;
    uint16_t index;
    uint16_t max_size;              /* entries; 0: this queue isn't there */
    /* What the driver set up. */
    uint16_t size;
    bool ready;
    uint16_t vector;
    uint64_t desc, avail, used;     /* packed: ring, driver and device area */
    uint32_t legacy_align;          /* of the used ring; a power of 2 */
    /* Where the device is. */
    uint16_t last_avail, used_index;
    bool avail_wrap, used_wrap;     /* packed: wrap counters */
    uint16_t signalled_used;        /* used_index at the last interrupt */
    bool signalled_valid;
    uint16_t in_flight;             /* entries that were taken and not given back */
    bool pushed;                    /* since the last decision about an interrupt */
    uint16_t budget;                /* chains that may still be taken in this turn of the loop */
    bool quiet;                     /* handle sets it: it needs no doorbell, or has seen to it by
                                       virtqueue_wait */
};

struct virtio_device {
    struct device device;
    const struct virtio_class *class;
    const struct hw_context *hw;
    struct object *parent_bus;      /* the transport's; NULL: not plugged */
    const struct virtio_transport_ops *transport;
    void *transport_opaque;
    struct memory_attrs attrs;      /* of its DMA */
    bool legacy_only; /* the transport can't do 1.0, and the device doesn't offer it */
    struct event_loop *loop;        /* that queues are worked off on; a reference */
    GMutex lock, irq_lock;
    uint64_t host_features;         /* offered; fixed when it is realized */
    /* Properties. */
    bool indirect_desc, event_idx, notify_on_empty, any_layout, packed, queue_reset, in_order;
    /* Saved. */
    uint64_t guest_features;
    uint32_t generation;            /* of the configuration */
    uint8_t status;
    uint8_t isr;                    /* under irq_lock */
    uint16_t config_vector;
    uint32_t n_queues;
    struct virtqueue *queues;
    bool stands;                    /* the machine is stopped; under lock */
    int64_t log_second;
    unsigned log_lines;
};

/* ---- For transports (these take the lock; any thread) ---- */

/* Tells a device that is being plugged where it is. Before it is completed. */
void virtio_attach(struct virtio_device *vdev, struct object *bus, const struct hw_context *hw,
                   const struct virtio_transport_ops *ops, void *opaque, bool legacy_only);
/* Reset by the driver or the machine (2.4). */
void virtio_reset(struct virtio_device *vdev);
uint8_t virtio_status(struct virtio_device *vdev);
/* 0 resets. FEATURES_OK stays clear if what the driver accepted can't be (3.1.1). */
void virtio_set_status(struct virtio_device *vdev, uint8_t status);
/* What is offered on this transport's modern or legacy side. */
uint64_t virtio_offered(struct virtio_device *vdev, bool legacy);
/* 32 bits of the driver's choice; which is 0 or 1. Ignored once FEATURES_OK is set. */
void virtio_set_features(struct virtio_device *vdev, unsigned which, uint32_t value, bool legacy);
/* size is 1, 2 or 4; what is beyond the end reads as ones. */
uint32_t virtio_config_read(struct virtio_device *vdev, uint32_t offset, unsigned size);
void virtio_config_write(struct virtio_device *vdev, uint32_t offset, uint32_t value,
                         unsigned size);
uint32_t virtio_config_generation(struct virtio_device *vdev);

/* NULL: there is no such queue. */
struct virtqueue *virtio_queue(struct virtio_device *vdev, uint32_t index);
/* False: not a size that this queue can have; it keeps its own. */
bool virtqueue_set_size(struct virtqueue *vq, uint32_t size);
/* Half of the address of one of a queue's areas. Ignored while it is ready. */
enum virtqueue_area { VIRTQUEUE_DESC, VIRTQUEUE_DRIVER, VIRTQUEUE_DEVICE };
void virtqueue_set_area(struct virtqueue *vq, enum virtqueue_area area, bool high, uint32_t half);
/* Legacy: the three parts follow each other from address on, the third aligned (2.7.2). */
void virtqueue_set_legacy(struct virtqueue *vq, uint64_t address);
/* False: not a power of 2. */
bool virtqueue_set_legacy_align(struct virtqueue *vq, uint32_t align);
void virtqueue_set_ready(struct virtqueue *vq, bool ready);
/* The queue by itself (2.6.1). */
void virtqueue_reset(struct virtqueue *vq);
/* The doorbell. Takes no lock. */
void virtqueue_kick(struct virtqueue *vq);

/* Interrupt status; ack clears bits, and the transport is told. */
uint8_t virtio_isr(struct virtio_device *vdev);
void virtio_ack(struct virtio_device *vdev, uint8_t bits);

/* ---- For devices (on the device's loop, the lock is held) ---- */

void virtio_lock(struct virtio_device *vdev);
void virtio_unlock(struct virtio_device *vdev);

/* In realize, once: vdev->queues, each of at most so many entries (0: this number isn't in use). */
void virtio_make_queues(struct virtio_device *vdev, const uint16_t *max_sizes, uint32_t n);
bool virtio_has_feature(const struct virtio_device *vdev, unsigned feature);
/* The driver is ready, and the device isn't broken. */
bool virtio_is_live(const struct virtio_device *vdev);
/* The configuration changed: the driver is told. */
void virtio_config_changed(struct virtio_device *vdev);
/* The driver did what can't be: DEVICE_NEEDS_RESET, and a line of -d guest_errors. */
void virtio_broken(struct virtio_device *vdev, const char *format, ...) G_GNUC_PRINTF(2, 3);

struct virtio_segment {
    uint64_t address;
    uint32_t size;                  /* bytes, not 0 */
};

/* A chain of buffers: first those that the device reads, then those that it writes. */
struct virtio_chain {
    struct virtqueue *vq;
    uint16_t id;                    /* what the driver knows it by */
    uint16_t slots;                 /* of the ring that it takes (packed; split: 1) */
    uint32_t n_out, n_in;           /* segments */
    uint64_t out_size, in_size;     /* bytes */
    struct virtio_segment segments[];
};

/* In handle. The next chain, or NULL: none is there, this turn has had enough, or the queue
 * isn't live. Free with g_free, after a push or rewind. */
struct virtio_chain *virtqueue_pop(struct virtqueue *vq);
/*
 * In handle, where there was no chain any more and chains are needed: the driver is asked to
 * ring for the next one that it adds. True: one is there by now. Chains that were popped may be
 * put back afterwards. With vq->quiet, else virtqueue_run does this by itself.
 */
bool virtqueue_wait(struct virtqueue *vq);
/* Puts the chain that was popped last back as the next one. */
void virtqueue_rewind(struct virtqueue *vq, const struct virtio_chain *chain);
/* Gives it back; written: bytes from the start of what the device may write. */
void virtqueue_push(struct virtqueue *vq, const struct virtio_chain *chain, uint64_t written);
/* Several that the driver must see at once (what belongs together, 5.1.6.4). */
void virtqueue_push_all(struct virtqueue *vq, const struct virtio_chain *const *chains,
                        const uint32_t *written, unsigned n);
/* Whether there is a chain, without taking it. */
bool virtqueue_is_empty(struct virtqueue *vq);
/* How many bytes of the next chain the device may write; 0: there is none. */
uint64_t virtqueue_room(struct virtqueue *vq);
/* An interrupt for what was pushed, if the driver wants one. virtqueue_run does it by itself. */
void virtqueue_notify(struct virtqueue *vq);
/* Calls handle, with the doorbell off meanwhile; and again later, if it took chains and left
 * some. */
void virtqueue_run(struct virtqueue *vq);

/* Copies; the offset counts from the start of the chain's readable or writable part. How many
 * bytes; fewer at its end, or where the driver's address isn't memory, which breaks the device. */
uint64_t virtio_chain_read(const struct virtio_chain *chain, uint64_t offset, void *data,
                           uint64_t size);
uint64_t virtio_chain_write(const struct virtio_chain *chain, uint64_t offset, const void *data,
                            uint64_t size);

/* ---- For the machine ---- */

/* The core's and the device's own section; vCPUs don't run. A device that can't be loaded is
 * reset. */
void virtio_save(struct virtio_device *vdev, GByteArray *out);
bool virtio_load(struct virtio_device *vdev, const uint8_t *data, size_t size, size_t *position,
                 GError **error);

#endif
