/* The virtio core and virtio-mmio: rings of both forms, negotiation, notifications, what breaks
 * a device. */
#include "virtio_test.h"

/* ---- A device that gives back what it is sent ---- */

enum { CONFIG_SIZE = 12, MAX_ECHO = 8192 };

struct echo {
    struct virtio_device vdev;
    uint8_t config[CONFIG_SIZE];
    uint32_t n_resets;
    bool hold;                  /* leaves its chains in the queue */
};

static void echo_handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct echo *s = (struct echo *)vdev;
    struct virtio_chain *chain;

    while (!s->hold && (chain = virtqueue_pop(vq))) {
        uint8_t data[MAX_ECHO];
        uint64_t n = virtio_chain_read(chain, 0, data, sizeof(data));

        for (uint64_t i = 0; i < n; i++) {
            data[i] ^= 0x5a;
        }
        virtqueue_push(vq, chain, virtio_chain_write(chain, 0, data, n));
        g_free(chain);
    }
}

static void echo_get_config(struct virtio_device *vdev, uint8_t *config)
{
    memcpy(config, ((struct echo *)vdev)->config, CONFIG_SIZE);
}

static void echo_set_config(struct virtio_device *vdev, const uint8_t *config)
{
    memcpy(((struct echo *)vdev)->config, config, CONFIG_SIZE);
}

static void echo_reset(struct virtio_device *vdev)
{
    ((struct echo *)vdev)->n_resets++;
}

static bool echo_realize(struct virtio_device *vdev, GError **error)
{
    vdev->host_features = virtio_bit(3);
    virtio_make_queues(vdev, (const uint16_t[]){256, 0, 16}, 3);
    return true;
}

static const struct state_field echo_fields[] = {
    STATE_ARRAY(echo, config, STATE_BYTES, .keep = true),
};

static const struct state_table echo_state = {
    .name = "echo", .version = 1, .fields = echo_fields, .n_fields = G_N_ELEMENTS(echo_fields)};

static const struct virtio_class echo_class = {
    .device_id = 42,
    .config_size = CONFIG_SIZE,
    .state = &echo_state,
    .realize = echo_realize,
    .get_config = echo_get_config,
    .set_config = echo_set_config,
    .reset = echo_reset,
    .handle = echo_handle,
};

static const struct object_type echo_type = {
    .name = "test-echo-device",
    .parent = "virtio-device",
    .instance_size = sizeof(struct echo),
    .class_data = &echo_class,
};
OBJECT_TYPE(echo_type);

static struct echo *echo(struct vt *v)
{
    return (struct echo *)v->vdev;
}

static const char packed_on[] = "{\"packed\": true, \"in_order\": true}";

#define ALL_FEATURES (~(1ull << VIRTIO_F_NOTIFY_ON_EMPTY))

/* ---- Registers ---- */

static void test_empty(void)
{
    for (int legacy = 0; legacy < 2; legacy++) {
        struct vt v;

        vt_init(&v, NULL, NULL, legacy);
        g_assert_cmphex(vt_reg(&v, 0), ==, 0x74726976);
        g_assert_cmpuint(vt_reg(&v, 4), ==, legacy ? 1 : 2);
        g_assert_cmpuint(vt_reg(&v, 8), ==, 0);
        g_assert_cmphex(vt_reg(&v, 0xc), ==, 0x554d4551);
        for (unsigned at = 0; at < 0x200; at += 4) {
            vt_set_reg(&v, at, 0xffffffff);
            vt_reg(&v, at);
        }
        vt_clear(&v);
    }
}

static void test_registers(void)
{
    struct vt v;

    vt_init(&v, "test-echo-device", packed_on, false);
    g_assert_cmpuint(vt_reg(&v, 8), ==, 42);
    g_assert_true(vt_offered(&v) & virtio_bit(VIRTIO_F_VERSION_1));
    g_assert_true(vt_offered(&v) & virtio_bit(VIRTIO_F_RING_PACKED));
    vt_set_reg(&v, 0x14, 2);
    g_assert_cmphex(vt_reg(&v, 0x10), ==, 0);
    vt_set_reg(&v, 0x30, 0);
    g_assert_cmpuint(vt_reg(&v, 0x34), ==, 256);
    vt_set_reg(&v, 0x30, 1);
    g_assert_cmpuint(vt_reg(&v, 0x34), ==, 0);
    vt_set_reg(&v, 0x30, 2);
    g_assert_cmpuint(vt_reg(&v, 0x34), ==, 16);
    vt_set_reg(&v, 0x30, 3);
    g_assert_cmpuint(vt_reg(&v, 0x34), ==, 0);
    vt_set_reg(&v, 0x44, 1);
    g_assert_cmpuint(vt_reg(&v, 0x44), ==, 0);
    g_assert_cmphex(vt_reg(&v, 0xb0), ==, 0xffffffff);

    /* Features that weren't offered, or not 1.0. */
    vt_set_reg(&v, 0x70, 3);
    vt_set_reg(&v, 0x24, 0);
    vt_set_reg(&v, 0x20, 1);
    vt_set_reg(&v, 0x24, 1);
    vt_set_reg(&v, 0x20, 1);
    vt_set_reg(&v, 0x70, 0xb);
    g_assert_cmphex(vt_reg(&v, 0x70), ==, 3);
    vt_set_reg(&v, 0x24, 0);
    vt_set_reg(&v, 0x20, 8);
    vt_set_reg(&v, 0x24, 1);
    vt_set_reg(&v, 0x20, 0);
    vt_set_reg(&v, 0x70, 0xb);
    g_assert_cmphex(vt_reg(&v, 0x70), ==, 3);
    vt_negotiate(&v, UINT64_MAX);
    /* Now they are fixed; a bit of the status is cleared by a reset only. */
    vt_set_reg(&v, 0x70, VIRTIO_ACKNOWLEDGE);
    g_assert_cmphex(vt_reg(&v, 0x70), ==, 0xb);
    vt_set_reg(&v, 0x24, 0);
    vt_set_reg(&v, 0x20, 0);
    g_assert_true(virtio_has_feature(v.vdev, 3));

    /* Configuration: bytes, halves, words. */
    hw_write(&v.t, 0x100, 4, 0x44332211);
    hw_write(&v.t, 0x104, 2, 0x6655);
    hw_write(&v.t, 0x10b, 1, 0xcc);
    g_assert_cmphex(hw_read(&v.t, 0x102, 2), ==, 0x4433);
    g_assert_cmphex(hw_read(&v.t, 0x100, 8), ==, 0x665544332211);
    g_assert_cmphex(hw_read(&v.t, 0x10b, 1), ==, 0xcc);
    g_assert_cmphex(hw_read(&v.t, 0x10c, 4), ==, 0xffffffff);
    g_assert_cmphex(hw_read(&v.t, 0x10c, 1), ==, 0xff);
    hw_write(&v.t, 0x10c, 4, 1);

    g_assert_cmpuint(vt_reg(&v, 0xfc), ==, 0);
    virtio_lock(v.vdev);
    virtio_config_changed(v.vdev);
    virtio_unlock(v.vdev);
    g_assert_cmpuint(vt_reg(&v, 0xfc), ==, 1);
    g_assert_cmpuint(vt_reg(&v, 0x60), ==, 0);      /* nobody drives it yet */
    vt_go(&v);
    virtio_lock(v.vdev);
    virtio_config_changed(v.vdev);
    virtio_unlock(v.vdev);
    g_assert_cmpuint(vt_take_interrupt(&v), ==, VIRTIO_ISR_CONFIG);

    vt_replace(&v);
    g_assert_cmphex(hw_read(&v.t, 0x100, 4), ==, 0x44332211);
    g_assert_cmpuint(vt_reg(&v, 0xfc), ==, 2);
    vt_set_reg(&v, 0x70, 0);
    g_assert_cmpuint(vt_reg(&v, 0x70), ==, 0);
    g_assert_cmpuint(v.vdev->guest_features, ==, 0);
    vt_clear(&v);
}

/* ---- Rings ---- */

struct form {
    const char *name;
    bool legacy, packed;
    uint64_t features;
    unsigned size;
    bool replace;
};

static void fill(struct vt *v, uint64_t address, unsigned size, unsigned seed)
{
    uint8_t *p = vt_host(v, address);

    for (unsigned i = 0; i < size; i++) {
        p[i] = (uint8_t)(seed + i * 7);
    }
}

static void check(struct vt *v, uint64_t address, unsigned size, unsigned seed, unsigned skip)
{
    const uint8_t *p = vt_host(v, address);

    for (unsigned i = 0; i < size; i++) {
        g_assert_cmphex(p[i], ==, (uint8_t)(seed + (i + skip) * 7) ^ 0x5a);
    }
}

/* Chains of all shapes, more than once around the ring, some at a time. */
static void test_form(gconstpointer opaque)
{
    const struct form *form = opaque;
    struct vt v;
    struct vt_queue *q;
    unsigned n_chains = 0, n_interrupts = 0;

    vt_init(&v, "test-echo-device", form->packed ? packed_on : NULL, form->legacy);
    vt_negotiate(&v, form->features);
    g_assert_cmpint(vt_has(&v, VIRTIO_F_RING_PACKED), ==, form->packed);
    q = vt_queue(&v, form->size <= 16 ? 2 : 0, form->size);
    vt_go(&v);
    for (unsigned round = 0; round < 120; round++) {
        bool indirect = vt_has(&v, VIRTIO_F_INDIRECT_DESC) && round % 3 == 1;
        unsigned batch = 1 + round % 3, sizes = 1 + round * 13 % 200;
        uint16_t ids[4], id;
        uint32_t written;

        vt_want_interrupt(&v, q, round % 2 == 0);
        for (unsigned i = 0; i < batch; i++) {
            uint64_t at = HW_TEST_RAM + VT_DATA + i * 4096;
            struct vt_buffer buffers[] = {{at, sizes},
                                          {at + 1024, sizes},
                                          {at + 2048, sizes, true},
                                          {at + 3072, sizes + 5, true}};

            fill(&v, at, sizes, round + i);
            memset(vt_host(&v, at + 2048), 0, 2048);
            /* Two, three, or four descriptors. */
            if (round % 4 == 0) {
                ids[i] = vt_add(&v, q, buffers + 1, 2, indirect);
                fill(&v, at + 1024, sizes, round + i);
            } else {
                fill(&v, at + 1024, sizes, round + i + sizes * 7);
                ids[i] = vt_add(&v, q, buffers, 4, indirect);
            }
        }
        vt_kick(&v, q);
        if (form->replace) {
            vt_replace(&v);
            hw_run_loop(&v.t);
        }
        for (unsigned i = 0; i < batch; i++) {
            uint64_t at = HW_TEST_RAM + VT_DATA + i * 4096;

            g_assert_true(vt_get(&v, q, &id, &written));
            g_assert_cmpuint(id, ==, ids[i]);
            g_assert_cmpuint(written, ==, round % 4 == 0 ? sizes : 2 * sizes);
            check(&v, at + 2048, sizes, round + i, 0);
            if (round % 4) {
                check(&v, at + 3072, sizes, round + i, sizes);
            }
            n_chains++;
        }
        g_assert_false(vt_get(&v, q, &id, &written));
        if (round % 2 == 0) {
            g_assert_cmpuint(vt_take_interrupt(&v), ==, VIRTIO_ISR_QUEUE);
            n_interrupts++;
        } else if (!(form->packed && vt_has(&v, VIRTIO_F_EVENT_IDX)) || q->last_used >= 16) {
            g_assert_cmpuint(vt_take_interrupt(&v), ==, 0);
        } else {
            vt_take_interrupt(&v);      /* a ring that wrapped may give one too many */
        }
    }
    g_assert_cmpuint(vt_reg(&v, 0x70) & VIRTIO_NEEDS_RESET, ==, 0);
    g_assert_cmpuint(n_chains, ==, 240);
    g_assert_cmpuint(q->n_kicks, ==, 120);
    vt_clear(&v);
}

#define V1 (1ull << VIRTIO_F_VERSION_1)
#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define EVENT (1ull << VIRTIO_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_F_INDIRECT_DESC)

static const struct form forms[] = {
    {"legacy", true, false, 0, 256},
    {"legacy-all", true, false, ALL_FEATURES, 256},
    {"split", false, false, V1, 16},
    {"split-event", false, false, V1 | EVENT, 16},
    {"split-indirect", false, false, V1 | INDIRECT, 256},
    {"split-all", false, false, V1 | EVENT | INDIRECT, 16},
    {"split-all-replaced", false, false, V1 | EVENT | INDIRECT, 16, true},
    {"packed", false, true, V1 | PACKED, 16},
    {"packed-odd-size", false, true, V1 | PACKED | INDIRECT, 13},
    {"packed-event", false, true, V1 | PACKED | EVENT, 16},
    {"packed-all", false, true, V1 | PACKED | EVENT | INDIRECT, 15},
    {"packed-all-replaced", false, true, V1 | PACKED | EVENT | INDIRECT, 15, true},
};

/* A packed ring's index goes round 2^16 only with the event index' arithmetic; a split one's
 * really does. */
static void test_index_wraps(void)
{
    struct vt v;
    struct vt_queue *q;
    struct vt_buffer buffers[] = {{HW_TEST_RAM + VT_DATA, 8},
                                  {HW_TEST_RAM + VT_DATA + 64, 8, true}};

    vt_init(&v, "test-echo-device", NULL, false);
    vt_negotiate(&v, V1 | EVENT);
    q = vt_queue(&v, 2, 16);
    vt_go(&v);
    for (unsigned i = 0; i < 66000; i++) {
        uint16_t id;
        uint32_t written;

        vt_want_interrupt(&v, q, true);
        vt_add(&v, q, buffers, 2, false);
        vt_kick(&v, q);
        g_assert_true(vt_get(&v, q, &id, &written));
        g_assert_cmpuint(vt_take_interrupt(&v), ==, VIRTIO_ISR_QUEUE);
    }
    vt_clear(&v);
}

/* A full ring, offered before DRIVER_OK; and one that is reset by itself. */
static void test_full_and_reset(void)
{
    for (int packed = 0; packed < 2; packed++) {
        struct vt v;
        struct vt_queue *q;
        uint16_t id;
        uint32_t written;

        vt_init(&v, "test-echo-device", packed_on, false);
        vt_negotiate(&v, V1 | EVENT | virtio_bit(VIRTIO_F_RING_RESET) | (packed ? PACKED : 0));
        q = vt_queue(&v, 2, 16);
        for (unsigned i = 0; i < 16; i++) {
            struct vt_buffer one = {HW_TEST_RAM + VT_DATA + 16 * i, 16};

            vt_add(&v, q, &one, 1, false);
        }
        vt_set_reg(&v, 0x50, 2);
        hw_run_loop(&v.t);
        g_assert_false(vt_get(&v, q, &id, &written));
        vt_go(&v);
        hw_run_loop(&v.t);
        for (unsigned i = 0; i < 16; i++) {
            g_assert_true(vt_get(&v, q, &id, &written));
            g_assert_cmpuint(written, ==, 0);
        }
        g_assert_false(vt_get(&v, q, &id, &written));

        vt_set_reg(&v, 0x30, 2);
        vt_set_reg(&v, 0xc0, 1);
        g_assert_cmpuint(vt_reg(&v, 0xc0), ==, 0);
        g_assert_cmpuint(vt_reg(&v, 0x44), ==, 0);
        q = vt_queue(&v, 2, 8);
        vt_add(&v, q, &(struct vt_buffer){HW_TEST_RAM + VT_DATA, 16}, 1, false);
        vt_kick(&v, q);
        vt_set_reg(&v, 0x50, 2);
        hw_run_loop(&v.t);
        g_assert_true(vt_get(&v, q, &id, &written));
        vt_clear(&v);
    }
}

/* ---- What breaks a device ---- */

static void set_up_broken(struct vt *v, struct vt_queue **q, bool packed, uint64_t features)
{
    vt_init(v, "test-echo-device", packed ? packed_on : NULL, false);
    vt_negotiate(v, V1 | (packed ? PACKED : 0) | features);
    *q = vt_queue(v, 2, 16);
    vt_go(v);
}

/* It says so, stands still, and works again after a reset. */
static void check_broken(struct vt *v, struct vt_queue *q)
{
    uint16_t id;
    uint32_t written;

    vt_set_reg(v, 0x50, 2);
    hw_run_loop(&v->t);
    g_assert_cmphex(vt_reg(v, 0x70) & VIRTIO_NEEDS_RESET, ==, VIRTIO_NEEDS_RESET);
    g_assert_cmpuint(vt_take_interrupt(v) & VIRTIO_ISR_CONFIG, !=, 0);
    vt_set_reg(v, 0x70, 0xf);
    g_assert_cmphex(vt_reg(v, 0x70) & VIRTIO_NEEDS_RESET, ==, VIRTIO_NEEDS_RESET);
    g_assert_false(vt_get(v, q, &id, &written));
    vt_replace(v);
    vt_set_reg(v, 0x50, 2);
    hw_run_loop(&v->t);

    vt_negotiate(v, V1);
    q = vt_queue(v, 2, 16);
    vt_go(v);
    vt_add(v, q, &(struct vt_buffer){HW_TEST_RAM + VT_DATA, 16}, 1, false);
    vt_kick(v, q);
    g_assert_true(vt_get(v, q, &id, &written));
    vt_clear(v);
}

static void test_broken_split(void)
{
    const struct vt_buffer in = {HW_TEST_RAM + VT_DATA, 16, true},
                           out = {HW_TEST_RAM + VT_DATA, 16};
    const struct vt_buffer wrong_order[] = {in, out}, none = {HW_TEST_RAM + VT_DATA, 0};
    const struct vt_buffer nowhere = {0x70000000, 16}, end = {UINT64_MAX - 3, 16};
    const struct vt_buffer registers = {0x70, 4, true}, table = {0x40, 16};
    const struct vt_buffer huge[] = {{HW_TEST_RAM, UINT32_MAX}, {HW_TEST_RAM, UINT32_MAX}};
    const struct {
        const struct vt_buffer *buffers;
        unsigned n;
        bool direct_only;
    } rows[] = {{wrong_order, 2}, {&none, 1}, {&nowhere, 1}, {&end, 1}, {&registers, 1}, {huge, 2}};
    struct vt v;
    struct vt_queue *q;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows) * 4; i++) {
        unsigned row = i / 4;
        struct vt_buffer with_data[2] = {out};

        set_up_broken(&v, &q, i & 2, INDIRECT);
        if (rows[row].n == 1) {
            /* Something to write, so that a bad address is touched. */
            with_data[0] = rows[row].buffers[0].in ? out : rows[row].buffers[0];
            with_data[1] = rows[row].buffers[0].in ? rows[row].buffers[0] : in;
            vt_add(&v, q, with_data, 2, i & 1);
        } else {
            vt_add(&v, q, rows[row].buffers, rows[row].n, i & 1);
        }
        check_broken(&v, q);
    }

    /* A circle; a number that isn't there; a head that isn't there; an index that jumps. */
    set_up_broken(&v, &q, false, 0);
    vt_add(&v, q, &out, 1, false);
    *vt_desc(&v, q, 0) = (struct vt_desc){HW_TEST_RAM, 4, 1, 0};
    check_broken(&v, q);
    set_up_broken(&v, &q, false, 0);
    vt_add(&v, q, &out, 1, false);
    *vt_desc(&v, q, 0) = (struct vt_desc){HW_TEST_RAM, 4, 1, 16};
    check_broken(&v, q);
    set_up_broken(&v, &q, false, 0);
    vt_word(&v, q->avail + 4)[0] = 16;
    *vt_word(&v, q->avail + 2) = 1;
    check_broken(&v, q);
    set_up_broken(&v, &q, false, 0);
    *vt_word(&v, q->avail + 2) = 17;
    check_broken(&v, q);

    /* Indirect: not negotiated, nested, with NEXT, sizes, in registers. */
    set_up_broken(&v, &q, false, 0);
    vt_add(&v, q, &out, 1, true);
    check_broken(&v, q);
    set_up_broken(&v, &q, false, INDIRECT);
    vt_add(&v, q, &out, 1, true);
    ((struct vt_desc *)vt_host(&v, vt_desc(&v, q, 0)->address))->flags = 4;
    check_broken(&v, q);
    set_up_broken(&v, &q, false, INDIRECT);
    vt_add(&v, q, &out, 1, true);
    vt_desc(&v, q, 0)->flags |= 1;
    check_broken(&v, q);
    set_up_broken(&v, &q, false, INDIRECT);
    vt_add(&v, q, &out, 1, true);
    vt_desc(&v, q, 0)->size = 17;
    check_broken(&v, q);
    set_up_broken(&v, &q, false, INDIRECT);
    vt_add(&v, q, &out, 1, true);
    vt_desc(&v, q, 0)->address = table.address;
    check_broken(&v, q);
}

static void test_broken_packed(void)
{
    const struct vt_buffer out = {HW_TEST_RAM + VT_DATA, 16};
    struct vt_buffer many[16];
    struct vt v;
    struct vt_queue *q;

    /* Longer than the ring; an id that isn't; a nested table. */
    for (unsigned i = 0; i < 16; i++) {
        many[i] = out;
    }
    set_up_broken(&v, &q, true, 0);
    vt_add(&v, q, many, 16, false);
    *vt_desc_flags(&v, vt_desc(&v, q, 15)) |= 1;
    check_broken(&v, q);
    set_up_broken(&v, &q, true, 0);
    vt_add(&v, q, &out, 1, false);
    *vt_desc_id(vt_desc(&v, q, 0)) = 16;
    check_broken(&v, q);
    set_up_broken(&v, &q, true, INDIRECT);
    vt_add(&v, q, &out, 1, true);
    *vt_desc_flags(&v, vt_host(&v, vt_desc(&v, q, 0)->address)) = 4;
    check_broken(&v, q);
}

/* Rings where none can be. */
static void test_bad_addresses(void)
{
    static const uint64_t addresses[] = {HW_TEST_RAM + 8, 1, UINT64_MAX & ~15ull};
    static const uint64_t not_ram[] = {0x70000000, 0, HW_TEST_RAM + HW_TEST_RAM_SIZE - 16};

    for (unsigned i = 0; i < 6; i++) {
        struct vt v;

        vt_init(&v, "test-echo-device", NULL, false);
        vt_negotiate(&v, V1);
        vt_set_reg(&v, 0x30, 2);
        vt_set_reg(&v, 0x38, 16);
        vt_set_address(&v, 0x80, i < 3 ? addresses[i] : HW_TEST_RAM);
        vt_set_address(&v, 0x90, i < 3 ? HW_TEST_RAM + 0x1000 : not_ram[i - 3]);
        vt_set_address(&v, 0xa0, i == 5 ? not_ram[2] : HW_TEST_RAM + 0x2000);
        *vt_word(&v, HW_TEST_RAM + HW_TEST_RAM_SIZE - 14) = 1;
        vt_set_reg(&v, 0x44, 1);
        g_assert_cmpuint(vt_reg(&v, 0x44), ==, i >= 3);
        vt_go(&v);
        vt_set_reg(&v, 0x50, 2);
        hw_run_loop(&v.t);
        g_assert_cmphex(vt_reg(&v, 0x70) & VIRTIO_NEEDS_RESET, ==, VIRTIO_NEEDS_RESET);
        vt_clear(&v);
    }
}

/* Chains that stay in the queue are found again when the device runs it. */
static void test_hold(void)
{
    struct vt v;
    struct vt_queue *q;
    uint16_t id;
    uint32_t written;

    vt_init(&v, "test-echo-device", NULL, false);
    vt_negotiate(&v, V1 | EVENT);
    q = vt_queue(&v, 0, 64);
    vt_go(&v);
    echo(&v)->hold = true;
    for (unsigned i = 0; i < 5; i++) {
        vt_add(&v, q, &(struct vt_buffer){HW_TEST_RAM + VT_DATA, 16}, 1, false);
        vt_kick(&v, q);
    }
    g_assert_false(vt_get(&v, q, &id, &written));
    echo(&v)->hold = false;
    virtio_lock(v.vdev);
    virtqueue_run(&v.vdev->queues[0]);
    virtio_unlock(v.vdev);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(vt_get(&v, q, &id, &written));
    }
    vt_clear(&v);
}

/* What can't be restored is refused. */
static void test_bad_state(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct vt v;
    size_t position;
    GError *error = NULL;

    vt_init(&v, "test-echo-device", NULL, false);
    vt_negotiate(&v, V1);
    vt_queue(&v, 0, 64);
    vt_go(&v);
    virtio_save(v.vdev, saved);
    for (guint i = 0; i < saved->len; i++) {
        saved->data[i] ^= 0xff;
        position = 0;
        if (!virtio_load(v.vdev, saved->data, saved->len, &position, &error)) {
            g_assert_nonnull(error);
            g_assert_cmpuint(position, ==, 0);
        }
        g_clear_error(&error);
        saved->data[i] ^= 0xff;
        position = 0;
        g_assert_false(virtio_load(v.vdev, saved->data, i, &position, &error));
        g_clear_error(&error);
    }
    position = 0;
    g_assert_true(virtio_load(v.vdev, saved->data, saved->len, &position, &error));
    vt_clear(&v);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/empty-slot", test_empty);
    g_test_add_func("/virtio/registers", test_registers);
    for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autofree char *path = g_strdup_printf("/virtio/ring/%s", forms[i].name);

        g_test_add_data_func(path, &forms[i], test_form);
    }
    g_test_add_func("/virtio/index-wraps", test_index_wraps);
    g_test_add_func("/virtio/full-and-reset", test_full_and_reset);
    g_test_add_func("/virtio/broken-split", test_broken_split);
    g_test_add_func("/virtio/broken-packed", test_broken_packed);
    g_test_add_func("/virtio/bad-addresses", test_bad_addresses);
    g_test_add_func("/virtio/hold", test_hold);
    g_test_add_func("/virtio/bad-state", test_bad_state);
    return g_test_run();
}
