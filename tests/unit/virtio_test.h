/*
 * A driver for tests of virtio devices: split and packed rings in the machine's RAM, over the
 * registers of virtio-mmio. It checks what a driver can see of the rules of the rings.
 */
#ifndef NANDU_TESTS_UNIT_VIRTIO_TEST_H
#define NANDU_TESTS_UNIT_VIRTIO_TEST_H

#include <string.h>

#include "hw/bus.h"
#include "hw/virtio/virtio.h"
#include "hw_test.h"

enum {
    VT_MAX_QUEUES = 8,
    VT_QUEUE_SPACE = 0x8000,            /* of RAM, for a queue's rings */
    VT_TABLES = 0x40000,                /* indirect tables */
    VT_DATA = 0x80000,                  /* buffers */
};

struct vt_queue {
    unsigned index, size;
    uint64_t desc, avail, used;
    uint16_t next_desc;                 /* split */
    uint16_t avail_index, last_used;    /* packed: places */
    bool avail_wrap, used_wrap;         /* packed */
    uint16_t kicked_index;              /* avail_index at the last look at the doorbell's rule */
    unsigned n_added;                   /* places added since (packed) */
    uint16_t slots[1024];               /* packed: of each id */
    unsigned n_kicks;
};

struct vt {
    struct hw_test t;
    const char *type, *properties;      /* of the virtio device */
    struct virtio_device *vdev;
    bool legacy;
    uint64_t features;                  /* accepted */
    struct vt_queue queues[VT_MAX_QUEUES];
    unsigned n_tables;
};

struct vt_buffer {
    uint64_t address;
    uint32_t size;
    bool in;                            /* the device writes it */
};

static inline void *vt_host(struct vt *v, uint64_t address)
{
    return hw_test_ram(&v->t) + (address - HW_TEST_RAM);
}

static inline uint32_t vt_reg(struct vt *v, uint64_t offset)
{
    return (uint32_t)hw_read(&v->t, offset, 4);
}

static inline void vt_set_reg(struct vt *v, uint64_t offset, uint32_t value)
{
    hw_write(&v->t, offset, 4, value);
}

/* Puts a device of v->type on the transport's bus. */
static inline void vt_plug(struct vt *v)
{
    GError *error = NULL;
    struct bus *bus = bus_find(v->t.control.root, "virtio-mmio-bus", NULL, &error);
    auto_ptr(object) obj = object_new(object_type_find(v->type));
    g_autoptr(json_object) properties = NULL;

    g_assert_no_error(error);
    properties = json_parse(v->properties ? v->properties : "{}", &error);
    g_assert_no_error(error);
    g_assert_true(object_add_child(v->t.control.root, "virtio", obj, &error));
    g_assert_true(object_set_all(obj, properties, NULL, false, &error));
    hotplug_plug(&bus->object, obj, &error);
    g_assert_no_error(error);
    v->vdev = (struct virtio_device *)obj;
}

static inline void vt_unplug(struct vt *v)
{
    hotplug_unplug(v->vdev->parent_bus, &v->vdev->device.object);
    v->vdev = NULL;
}

static inline void vt_init(struct vt *v, const char *type, const char *properties, bool legacy)
{
    *v = (struct vt){.type = type, .properties = properties, .legacy = legacy};
    hw_test_init(&v->t, "virtio-mmio", legacy ? "{}" : "{\"force-legacy\": false}", NULL);
    if (type) {
        vt_plug(v);
    }
}

static inline void vt_clear(struct vt *v)
{
    if (v->vdev) {
        vt_unplug(v);
    }
    hw_test_clear(&v->t);
}

/* Device and transport are replaced by new ones with their state. */
static inline void vt_replace(struct vt *v)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GError *error = NULL;
    size_t position = 0;

    mmio_device_save(v->t.dev, saved);
    virtio_save(v->vdev, saved);
    vt_unplug(v);
    object_remove(&v->t.dev->device.object);
    hw_test_make_device(&v->t);
    vt_plug(v);
    g_assert_true(mmio_device_load(v->t.dev, saved->data, saved->len, &position, &error));
    g_assert_no_error(error);
    g_assert_true(virtio_load(v->vdev, saved->data, saved->len, &position, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(position, ==, saved->len);
}

/* ---- Setting up (3.1) ---- */

static inline uint64_t vt_offered(struct vt *v)
{
    uint64_t features;

    vt_set_reg(v, 0x14, 0);
    features = vt_reg(v, 0x10);
    vt_set_reg(v, 0x14, 1);
    return features | (uint64_t)vt_reg(v, 0x10) << 32;
}

static inline void vt_negotiate(struct vt *v, uint64_t wanted)
{
    vt_set_reg(v, 0x70, 0);
    vt_set_reg(v, 0x70, VIRTIO_ACKNOWLEDGE);
    vt_set_reg(v, 0x70, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    v->features = vt_offered(v) & wanted;
    vt_set_reg(v, 0x24, 0);
    vt_set_reg(v, 0x20, (uint32_t)v->features);
    if (v->legacy) {
        vt_set_reg(v, 0x28, 4096);
        return;
    }
    vt_set_reg(v, 0x24, 1);
    vt_set_reg(v, 0x20, (uint32_t)(v->features >> 32));
    vt_set_reg(v, 0x70, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    g_assert_cmpuint(vt_reg(v, 0x70) & VIRTIO_FEATURES_OK, !=, 0);
}

static inline bool vt_has(const struct vt *v, unsigned feature)
{
    return (v->features & virtio_bit(feature)) != 0;
}

static inline void vt_set_address(struct vt *v, uint64_t reg, uint64_t address)
{
    vt_set_reg(v, reg, (uint32_t)address);
    vt_set_reg(v, reg + 4, (uint32_t)(address >> 32));
}

static inline struct vt_queue *vt_queue(struct vt *v, unsigned index, unsigned size)
{
    struct vt_queue *q = &v->queues[index];

    *q = (struct vt_queue){.index = index, .size = size, .avail_wrap = true, .used_wrap = true};
    q->desc = HW_TEST_RAM + (uint64_t)index * VT_QUEUE_SPACE;
    q->avail = q->desc + 16ull * size;
    q->used = (q->avail + 6 + 2ull * size + 4095) & ~4095ull;
    memset(vt_host(v, q->desc), 0, VT_QUEUE_SPACE);
    vt_set_reg(v, 0x30, index);
    g_assert_cmpuint(vt_reg(v, 0x34), >=, size);
    vt_set_reg(v, 0x38, size);
    if (v->legacy) {
        vt_set_reg(v, 0x3c, 4096);
        vt_set_reg(v, 0x40, (uint32_t)(q->desc / 4096));
        g_assert_cmpuint(vt_reg(v, 0x40), ==, q->desc / 4096);
    } else {
        vt_set_address(v, 0x80, q->desc);
        vt_set_address(v, 0x90, q->avail);
        vt_set_address(v, 0xa0, q->used);
        vt_set_reg(v, 0x44, 1);
        g_assert_cmpuint(vt_reg(v, 0x44), ==, 1);
    }
    return q;
}

static inline void vt_go(struct vt *v)
{
    vt_set_reg(v, 0x70, vt_reg(v, 0x70) | VIRTIO_DRIVER_OK);
}

/* ---- Rings ---- */

struct vt_desc {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

/* Where a descriptor has its flags, and a packed one its id (2.8.13). */
static inline uint16_t *vt_desc_flags(const struct vt *v, struct vt_desc *desc)
{
    return vt_has(v, VIRTIO_F_RING_PACKED) ? &desc->next : &desc->flags;
}

static inline uint16_t *vt_desc_id(struct vt_desc *desc)
{
    return &desc->flags;
}

static inline struct vt_desc *vt_desc(struct vt *v, struct vt_queue *q, unsigned i)
{
    return (struct vt_desc *)vt_host(v, q->desc) + i;
}

static inline uint16_t *vt_word(struct vt *v, uint64_t address)
{
    return vt_host(v, address);
}

static inline uint16_t vt_flags(const struct vt *v, const struct vt_queue *q, bool in, bool next)
{
    uint16_t flags = (uint16_t)((in ? 2 : 0) | (next ? 1 : 0));

    return vt_has(v, VIRTIO_F_RING_PACKED) ? flags | (q->avail_wrap ? 0x80 : 0x8000) : flags;
}

/* The buffers as a table in memory of its own, of which *one is the descriptor. */
static inline void vt_table(struct vt *v, const struct vt_buffer *buffers, unsigned n,
                            struct vt_buffer *one)
{
    uint64_t address = HW_TEST_RAM + VT_TABLES + v->n_tables++ % 64 * 4096;
    struct vt_desc *table = vt_host(v, address);
    bool packed = vt_has(v, VIRTIO_F_RING_PACKED);

    for (unsigned i = 0; i < n; i++) {
        table[i] = (struct vt_desc){buffers[i].address, buffers[i].size, 0, 0};
        *vt_desc_flags(v, &table[i]) = buffers[i].in ? 2 : 0;
        if (!packed && i + 1 < n) {
            table[i].flags |= 1;
            table[i].next = (uint16_t)(i + 1);
        }
    }
    *one = (struct vt_buffer){address, n * 16, false};
}

static inline uint16_t vt_add_packed(struct vt *v, struct vt_queue *q,
                                     const struct vt_buffer *buffers, unsigned n, bool indirect)
{
    uint16_t id = q->avail_index, head = id, head_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = vt_flags(v, q, buffers[i].in, i + 1 < n) | (indirect ? 4 : 0);
        struct vt_desc *desc = vt_desc(v, q, q->avail_index);

        desc->address = buffers[i].address;
        desc->size = buffers[i].size;
        *vt_desc_id(desc) = id;
        if (i == 0) {
            head_flags = flags;     /* the last to be written: it makes all of them available */
        } else {
            *vt_desc_flags(v, desc) = flags;
        }
        if (++q->avail_index == q->size) {
            q->avail_index = 0;
            q->avail_wrap = !q->avail_wrap;
        }
    }
    *vt_desc_flags(v, vt_desc(v, q, head)) = head_flags;
    q->slots[id] = (uint16_t)n;
    q->n_added += n;
    return id;
}

static inline uint16_t vt_add_split(struct vt *v, struct vt_queue *q,
                                    const struct vt_buffer *buffers, unsigned n, bool indirect)
{
    uint16_t head = q->next_desc;

    for (unsigned i = 0; i < n; i++) {
        uint16_t at = q->next_desc;

        q->next_desc = (uint16_t)((at + 1) % q->size);
        *vt_desc(v, q, at) = (struct vt_desc){
            buffers[i].address, buffers[i].size,
            vt_flags(v, q, buffers[i].in, i + 1 < n) | (indirect ? 4 : 0), q->next_desc};
    }
    vt_word(v, q->avail + 4)[q->avail_index % q->size] = head;
    __atomic_store_n(vt_word(v, q->avail + 2), ++q->avail_index, __ATOMIC_RELEASE);
    return head;
}

/* Offers a chain; what is readable comes first. Returns its id. */
static inline uint16_t vt_add(struct vt *v, struct vt_queue *q, const struct vt_buffer *buffers,
                              unsigned n, bool indirect)
{
    struct vt_buffer one;

    if (indirect) {
        vt_table(v, buffers, n, &one);
        buffers = &one;
        n = 1;
    }
    return vt_has(v, VIRTIO_F_RING_PACKED) ? vt_add_packed(v, q, buffers, n, indirect)
                                           : vt_add_split(v, q, buffers, n, indirect);
}

/* Whether the device asked for the doorbell. */
static inline bool vt_wants_kick(struct vt *v, struct vt_queue *q)
{
    bool event_index = vt_has(v, VIRTIO_F_EVENT_IDX);
    uint16_t event;

    if (vt_has(v, VIRTIO_F_RING_PACKED)) {
        uint16_t word = *vt_word(v, q->used), flags = *vt_word(v, q->used + 2);
        uint16_t old = (uint16_t)(q->avail_index - q->n_added);

        if (flags != 2) {
            return flags == 0;
        }
        event = word & 0x7fff;
        if (!!(word & 0x8000) != q->avail_wrap) {
            event = (uint16_t)(event - q->size);
        }
        return (uint16_t)(q->avail_index - event - 1) < (uint16_t)(q->avail_index - old);
    }
    if (!event_index) {
        return !(*vt_word(v, q->used) & 1);
    }
    event = *vt_word(v, q->used + 4 + 8ull * q->size);
    return (uint16_t)(q->avail_index - event - 1) < (uint16_t)(q->avail_index - q->kicked_index);
}

/* Rings the doorbell if it is wanted, and lets the device work. */
static inline void vt_kick(struct vt *v, struct vt_queue *q)
{
    if (vt_wants_kick(v, q)) {
        q->n_kicks++;
        vt_set_reg(v, 0x50, q->index);
    }
    q->kicked_index = q->avail_index;
    q->n_added = 0;
    hw_run_loop(&v->t);
}

/* What came back next. */
static inline bool vt_get(struct vt *v, struct vt_queue *q, uint16_t *id, uint32_t *written)
{
    if (vt_has(v, VIRTIO_F_RING_PACKED)) {
        struct vt_desc *desc = vt_desc(v, q, q->last_used);
        uint16_t flags = *vt_desc_flags(v, desc);

        if (!!(flags & 0x80) != q->used_wrap || !!(flags & 0x8000) != q->used_wrap) {
            return false;
        }
        *id = *vt_desc_id(desc);
        *written = desc->size;
        g_assert_cmpint(!!(flags & 2), ==, *written != 0);
        g_assert_cmpuint(*id, <, q->size);
        q->last_used = (uint16_t)(q->last_used + q->slots[*id]);
        if (q->last_used >= q->size) {
            q->last_used = (uint16_t)(q->last_used - q->size);
            q->used_wrap = !q->used_wrap;
        }
        return true;
    }
    if (*vt_word(v, q->used + 2) == q->last_used) {
        return false;
    }
    *id = (uint16_t)((uint32_t *)vt_host(v, q->used + 4))[2 * (q->last_used % q->size)];
    *written = ((uint32_t *)vt_host(v, q->used + 4))[2 * (q->last_used % q->size) + 1];
    q->last_used++;
    return true;
}

/* Asks for an interrupt for the next that comes back (or for none). */
static inline void vt_want_interrupt(struct vt *v, struct vt_queue *q, bool on)
{
    bool event_index = vt_has(v, VIRTIO_F_EVENT_IDX);

    if (vt_has(v, VIRTIO_F_RING_PACKED)) {
        *vt_word(v, q->avail) = (uint16_t)(q->last_used | (q->used_wrap ? 0x8000 : 0));
        *vt_word(v, q->avail + 2) = !on ? 1 : event_index ? 2 : 0;
    } else if (event_index) {
        *vt_word(v, q->avail + 4 + 2ull * q->size) =
            (uint16_t)(on ? q->last_used : q->last_used - 1);
    } else {
        *vt_word(v, q->avail) = !on;
    }
}

/* The interrupt's bits, which are acknowledged. */
static inline uint32_t vt_take_interrupt(struct vt *v)
{
    uint32_t isr = vt_reg(v, 0x60);

    g_assert_cmpint(v->t.levels[0], ==, isr != 0);
    vt_set_reg(v, 0x64, isr);
    g_assert_false(v->t.levels[0]);
    return isr;
}

#endif
