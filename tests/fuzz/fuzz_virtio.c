/*
 * What a driver can do to virtio devices: rings full of garbage, of both forms, and any access to
 * the registers of virtio-mmio. Nothing may crash or hang, and whatever state a device gets into
 * can be saved and restored.
 *
 * The first byte of an input picks a device and its transport's form; then steps of eight bytes:
 * operation, queue or size, place (2), value (4).
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef TEST_SOURCE_DIR
#define TEST_SOURCE_DIR ""
#endif
#include "block/block.h"
#include "net/net.h"
#include "qapi/qapi_types.h"
#include "../unit/virtio_test.h"

enum { STEP_SIZE = 8, MAX_STEPS = 300, RING_SIZE = 16, N_QUEUES = 6 };

static const struct {
    const char *type, *properties;
} devices[] = {
    {"virtio-rng-device", "{}"},
    {"virtio-rng-device", "{\"packed\": true, \"max-bytes\": 500, \"period\": 1}"},
    {"virtio-serial-device", "{\"max_ports\": 2}"},
    {"virtio-serial-device", "{\"max_ports\": 2, \"packed\": true, \"in_order\": true}"},
    {"virtio-balloon-device", "{\"free-page-reporting\": true}"},
    {"virtio-balloon-device", "{\"packed\": true, \"guest-stats-polling-interval\": 1}"},
    {"virtio-net-device", "{\"netdev\": \"net\"}"},
    {"virtio-net-device", "{\"packed\": true, \"netdev\": \"net\"}"},
    {"virtio-blk-device", "{\"drive\": \"disk\", \"num-queues\": 2, \"queue-size\": 16}"},
    {"virtio-blk-device", "{\"drive\": \"disk\", \"packed\": true, \"serial\": \"x\"}"},
};

/* A disk of zeroes. */
static void open_disk(void *opaque)
{
    struct vt *v = opaque;
    g_autoptr(json_object) json = json_parse("{\"driver\": \"null-co\", \"node-name\": \"disk\", "
                                             "\"size\": 65536, \"read-zeroes\": true}",
                                             NULL);
    struct qapi_blockdev_options options;

    qapi_from_json(&qapi_type_blockdev_options, json, &options, NULL);
    co_block_open(v->t.hw.blocks, &options, BLOCK_OPEN_MONITOR_OWNED, NULL);
    qapi_clear(&qapi_type_blockdev_options, &options);
}

static void close_disk(void *opaque)
{
    co_block_graph_free(((struct vt *)opaque)->t.hw.blocks);
}

/* A user network that reaches nobody, on a hub: it answers what is for itself. */
static void open_network(struct vt *v)
{
    static const char *const netdevs[] = {"user,id=user,restrict=on",
                                          "hubport,id=port,hubid=0,netdev=user",
                                          "hubport,id=net,hubid=0"};
    struct netdev_context context = {.root = v->t.control.root};

    for (unsigned i = 0; i < G_N_ELEMENTS(netdevs); i++) {
        struct qapi_netdev options;

        netdev_parse(netdevs[i], &options, NULL);
        netdev_new(&context, &options, NULL);
        qapi_clear(&qapi_type_netdev, &options);
    }
}

static void plug_port(struct vt *v)
{
    struct bus *bus = bus_find(v->t.control.root, "virtio-serial-bus", NULL, NULL);
    auto_ptr(object) obj = NULL;

    if (bus) {
        obj = object_new(object_type_find("virtconsole"));
        object_add_child(v->t.control.root, "port", obj, NULL);
        hotplug_plug(&bus->object, obj, NULL);
    }
}

static void unplug_port(struct vt *v)
{
    struct object *bus = object_resolve(v->t.control.root, "virtio-serial-bus.0", "bus", NULL);
    struct object *port = object_child(v->t.control.root, "port");

    if (bus && port) {
        hotplug_unplug(bus, port);
    }
}

static void replace(struct vt *v)
{
    unplug_port(v);
    vt_replace(v);
    plug_port(v);
}

/* All that there are, so that garbage is looked at. */
static void set_up_queues(struct vt *v, uint64_t features)
{
    vt_negotiate(v, features);
    for (unsigned i = 0; i < N_QUEUES; i++) {
        vt_set_reg(v, 0x30, i);
        if (vt_reg(v, 0x34) >= 8) {
            vt_queue(v, i, MIN(vt_reg(v, 0x34), RING_SIZE));
        }
    }
    vt_go(v);
}

/* An address of RAM, mostly; of registers and nothing, sometimes. */
static uint64_t make_address(uint32_t value)
{
    switch (value >> 29) {
    case 0: return value & 0x1ff;
    case 1: return (uint64_t)value << 32 | value;
    default: return HW_TEST_RAM + (value & (HW_TEST_RAM_SIZE - 1));
    }
}

static void write_desc(struct vt *v, struct vt_queue *q, uint16_t place, uint32_t value)
{
    struct vt_desc *desc = vt_desc(v, q, place % RING_SIZE);
    uint16_t flags = value & 7;

    if (vt_has(v, VIRTIO_F_RING_PACKED)) {
        flags |= value >> 3 & 1 ? 0x80 : value >> 4 & 1 ? 0x8000 : 0;
    }
    *desc = (struct vt_desc){make_address(value), value >> 8 & 0x3f0, 0, 0};
    *(vt_has(v, VIRTIO_F_RING_PACKED) ? vt_desc_id(desc) : &desc->next) =
        (uint16_t)((value >> 20) % (RING_SIZE + 2));
    *vt_desc_flags(v, desc) = flags;
    if (value % 61 == 0) {
        desc->size = value;
    }
}

static void add_chain(struct vt *v, struct vt_queue *q, uint16_t place, uint32_t value)
{
    struct vt_buffer buffers[4];
    unsigned n = 1 + (value >> 2) % 4;

    for (unsigned i = 0; i < n; i++) {
        buffers[i] = (struct vt_buffer){make_address(value * (2 * i + 1) | 1u << 31),
                                        1 + (place * (i + 1)) % 5000, i >= (value >> 5) % 5};
    }
    vt_add(v, q, buffers, n, value & 1);
}

static void run_step(struct vt *v, const uint8_t *step)
{
    struct vt_queue *q = &v->queues[step[1] % N_QUEUES];
    uint16_t place;
    uint32_t value;

    memcpy(&place, step + 2, 2);
    memcpy(&value, step + 4, 4);
    switch (step[0] % 16) {
    case 0: hw_step_clock(&v->t, value); break;
    case 1: hw_run_loop(&v->t); break;
    case 2: replace(v); break;
    case 3:
        set_up_queues(v, step[1] & 1 ? UINT64_MAX
                                     : ~((uint64_t)value << 24) | virtio_bit(VIRTIO_F_VERSION_1));
        break;
    case 4:
        address_space_store(v->t.hw.memory, place & 0x1fc, 4, value, (struct memory_attrs){0});
        break;
    case 5:
        address_space_store(v->t.hw.memory, place & 0x1fc, 4, value & 0xf,
                            (struct memory_attrs){0});
        break;
    case 6: {
        uint64_t got;

        address_space_load(v->t.hw.memory, place & 0x1ff, 1u << (value & 3), &got,
                           (struct memory_attrs){0});
        break;
    }
    case 7:
        *vt_word(v, HW_TEST_RAM + (step[1] % 8) * VT_QUEUE_SPACE + (place & 0x7ffe)) =
            (uint16_t)value;
        break;
    case 8: object_child(v->t.control.root, "port") ? unplug_port(v) : plug_port(v); break;
    default:
        if (!q->size) {
            return;
        }
        if (step[0] & 1) {
            write_desc(v, q, place, value);
            *vt_word(v, q->avail + 2) += value % 7 == 0;
        } else {
            add_chain(v, q, place, value);
        }
        vt_set_reg(v, 0x50, q->index);
        if (value & 4) {
            hw_run_loop(&v->t);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vt v;
    unsigned device;

    if (size == 0) {
        return 0;
    }
    device = (data[0] >> 1) % G_N_ELEMENTS(devices);
    vt_init(&v, NULL, NULL, data[0] & 1);
    v.t.hw.ram_size = HW_TEST_RAM_SIZE;
    v.t.hw.blocks = block_graph_new(v.t.control.root);
    block_run(v.t.control.loop, open_disk, &v);
    open_network(&v);
    v.type = devices[device].type;
    v.properties = devices[device].properties;
    vt_plug(&v);
    plug_port(&v);
    set_up_queues(&v, UINT64_MAX);
    for (size_t at = 1, n = 0; at + STEP_SIZE <= size && n < MAX_STEPS; at += STEP_SIZE, n++) {
        run_step(&v, data + at);
    }
    hw_run_loop(&v.t);
    replace(&v);
    unplug_port(&v);
    vt_unplug(&v);
    block_run(v.t.control.loop, close_disk, &v);
    netdev_close_all(v.t.control.root);
    vt_clear(&v);
    return 0;
}

#ifndef NANDU_LIBFUZZER

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    for (unsigned i = 0; i < 1 + 100 * STEP_SIZE; i++) {
        uint8_t byte = (uint8_t)(next_random(state) >> 24);

        g_byte_array_append(input, &byte, 1);
    }
}

#endif
