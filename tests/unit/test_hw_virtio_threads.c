/*
 * A virtio device whose queues are worked off by another thread, while the machine is stopped and
 * started, saved, and reset; and that nothing is worked off while it is stopped. The driver and the
 * device touch shared memory in the order that interrupts and doorbells give, so that this can be
 * run under ThreadSanitizer.
 */
#include "virtio_test.h"

#include "migration/state_walk.h"
#include "object/iothread.h"

enum { ROUNDS = 3000, DATA_SIZE = 64, WAIT_US = 30 * G_TIME_SPAN_SECOND };

/* Gives back what it is sent, turned around. */
struct mirror {
    struct virtio_device vdev;
    char *iothread;
    GThread *thread;                /* that worked a queue off last */
    unsigned n_handled;
};

static void mirror_handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct mirror *s = (struct mirror *)vdev;
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        uint8_t data[DATA_SIZE];
        uint64_t n = virtio_chain_read(chain, 0, data, sizeof(data));

        for (uint64_t i = 0; i < n / 2; i++) {
            uint8_t c = data[i];

            data[i] = data[n - 1 - i];
            data[n - 1 - i] = c;
        }
        s->n_handled++;
        s->thread = g_thread_self();
        virtqueue_push(vq, chain, virtio_chain_write(chain, 0, data, n));
        g_free(chain);
    }
}

static bool mirror_realize(struct virtio_device *vdev, GError **error)
{
    struct mirror *s = (struct mirror *)vdev;

    if (s->iothread) {
        struct object *iothread =
            iothread_object_find(object_root_of(&vdev->device.object), s->iothread, error);

        if (!iothread) {
            return false;
        }
        vdev->loop = event_loop_ref(iothread_object_loop(iothread));
    }
    virtio_make_queues(vdev, (const uint16_t[]){64}, 1);
    return true;
}

static const struct virtio_class mirror_class = {
    .device_id = 99,
    .realize = mirror_realize,
    .handle = mirror_handle,
};

static const struct property mirror_properties[] = {
    PROPERTY("iothread", mirror, iothread, qapi_type_str, NULL, "whose loop it works on"),
};

static const struct object_type mirror_type = {
    .name = "test-mirror-device",
    .parent = "virtio-device",
    .instance_size = sizeof(struct mirror),
    .properties = mirror_properties,
    .n_properties = G_N_ELEMENTS(mirror_properties),
    .class_data = &mirror_class,
};
OBJECT_TYPE(mirror_type);

/* The machine, with a clock that can be stopped, and who waits for interrupts. */
struct rig {
    struct vt v;
    struct clocks *old_clocks;
    GMutex lock;
    GCond cond;
    bool level;
    struct vt_queue *q;
};

static void interrupt(void *opaque, unsigned n, bool level)
{
    struct rig *r = opaque;

    g_mutex_lock(&r->lock);
    r->level = level;
    g_cond_signal(&r->cond);
    g_mutex_unlock(&r->lock);
}

static void rig_init(struct rig *r, bool iothread)
{
    *r = (struct rig){0};
    g_mutex_init(&r->lock);
    g_cond_init(&r->cond);
    vt_init(&r->v, NULL, NULL, false);
    if (iothread) {
        control_add(&r->v.t.control, "{\"qom-type\": \"iothread\", \"id\": \"io\"}");
    }
    mmio_device_connect(r->v.t.dev, 0, (struct irq_line){interrupt, r, 0});
    r->old_clocks = r->v.t.hw.clocks;
    r->v.t.hw.clocks = clocks_new();
    clocks_start_virtual(r->v.t.hw.clocks);
    r->v.type = "test-mirror-device";
    r->v.properties = iothread ? "{\"iothread\": \"io\"}" : "{}";
    vt_plug(&r->v);
}

static void rig_clear(struct rig *r, bool iothread)
{
    vt_unplug(&r->v);
    object_remove(&r->v.t.dev->device.object);
    r->v.t.dev = NULL;
    if (iothread) {
        control_delete(&r->v.t.control, "io");
    }
    clocks_unref(r->v.t.hw.clocks);
    r->v.t.hw.clocks = r->old_clocks;
    vt_clear(&r->v);
    g_cond_clear(&r->cond);
    g_mutex_clear(&r->lock);
}

static void rig_negotiate(struct rig *r)
{
    vt_negotiate(&r->v, virtio_bit(VIRTIO_F_VERSION_1));
    r->q = vt_queue(&r->v, 0, 64);
    vt_go(&r->v);
}

/* Offers a chain; doesn't wait. */
static void offer(struct rig *r, uint8_t seed)
{
    uint64_t at = HW_TEST_RAM + VT_DATA;
    uint8_t *data = vt_host(&r->v, at);
    struct vt_buffer buffers[] = {{at, DATA_SIZE, false}, {at + 4096, DATA_SIZE, true}};

    for (unsigned i = 0; i < DATA_SIZE; i++) {
        data[i] = (uint8_t)(seed + i);
    }
    memset(data + 4096, 0, DATA_SIZE);
    vt_add(&r->v, r->q, buffers, 2, false);
    vt_set_reg(&r->v, 0x50, 0);
}

static bool interrupted(struct rig *r, gint64 us)
{
    gint64 end = g_get_monotonic_time() + us;
    bool came;

    g_mutex_lock(&r->lock);
    while (!r->level) {
        gint64 turn = MIN(end, g_get_monotonic_time() + 1000);

        if (!g_cond_wait_until(&r->cond, &r->lock, turn)) {
            if (turn == end) {
                break;
            }
            g_mutex_unlock(&r->lock);
            hw_run_loop(&r->v.t);
            g_mutex_lock(&r->lock);
        }
    }
    came = r->level;
    g_mutex_unlock(&r->lock);
    return came;
}

static void take_back(struct rig *r, uint8_t seed)
{
    const uint8_t *data = vt_host(&r->v, HW_TEST_RAM + VT_DATA + 4096);
    uint16_t id = 0;
    uint32_t written = 0;

    g_assert_true(interrupted(r, WAIT_US));
    vt_set_reg(&r->v, 0x64, vt_reg(&r->v, 0x60));
    g_assert_true(vt_get(&r->v, r->q, &id, &written));
    g_assert_cmpuint(written, ==, DATA_SIZE);
    for (unsigned i = 0; i < DATA_SIZE; i++) {
        g_assert_cmpuint(data[i], ==, (uint8_t)(seed + DATA_SIZE - 1 - i));
    }
}

static void test_iothread(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    struct rig r;
    struct mirror *mirror;

    rig_init(&r, true);
    mirror = (struct mirror *)r.v.vdev;
    rig_negotiate(&r);
    for (unsigned i = 0; i < ROUNDS; i++) {
        switch (g_rand_int_range(rand, 0, 16)) {
        case 0:
            clocks_stop_virtual(r.v.t.hw.clocks);
            offer(&r, (uint8_t)i);
            clocks_start_virtual(r.v.t.hw.clocks);
            break;
        case 1:
            offer(&r, (uint8_t)i);
            clocks_stop_virtual(r.v.t.hw.clocks);
            clocks_start_virtual(r.v.t.hw.clocks);
            break;
        case 2:
            rig_negotiate(&r);
            offer(&r, (uint8_t)i);
            break;
        default: offer(&r, (uint8_t)i);
        }
        take_back(&r, (uint8_t)i);
    }
    virtio_lock(r.v.vdev);
    g_assert_cmpuint(mirror->n_handled, ==, ROUNDS);
    g_assert_true(mirror->thread != g_thread_self());
    virtio_unlock(r.v.vdev);
    rig_clear(&r, true);
}

/* Unplugged while a doorbell is on its way. */
static void test_unplug(void)
{
    for (unsigned i = 0; i < 100; i++) {
        struct rig r;

        rig_init(&r, true);
        rig_negotiate(&r);
        offer(&r, 0);
        if (i % 4 == 0) {
            g_usleep(100);
        }
        rig_clear(&r, true);
    }
}

/* What is offered while the machine is stopped is worked off when it goes on, also of another
 * machine that gets the first one's state; the walk over the tree finds it all. */
static void test_stopped(gconstpointer opaque)
{
    bool iothread = opaque != NULL;
    g_autoptr(GByteArray) saved = g_byte_array_new(), again = g_byte_array_new();
    GError *error = NULL;
    struct rig r;

    rig_init(&r, iothread);
    rig_negotiate(&r);
    offer(&r, 1);
    take_back(&r, 1);
    clocks_stop_virtual(r.v.t.hw.clocks);
    offer(&r, 2);
    g_assert_false(interrupted(&r, 20000));
    g_assert_cmpuint(virtqueue_room(&r.v.vdev->queues[0]), ==, 0);
    clocks_start_virtual(r.v.t.hw.clocks);
    take_back(&r, 2);

    clocks_stop_virtual(r.v.t.hw.clocks);
    offer(&r, 3);
    state_walk_save(r.v.t.control.root, saved);
    vt_unplug(&r.v);
    vt_plug(&r.v);
    g_assert_true(state_walk_load(r.v.t.control.root, saved->data, saved->len, &error));
    g_assert_no_error(error);
    state_walk_save(r.v.t.control.root, again);
    g_assert_cmpmem(again->data, again->len, saved->data, saved->len);
    g_assert_false(interrupted(&r, 20000));
    clocks_start_virtual(r.v.t.hw.clocks);
    take_back(&r, 3);
    offer(&r, 4);
    take_back(&r, 4);

    /* A device too many, or too few. */
    vt_unplug(&r.v);
    g_assert_false(state_walk_load(r.v.t.control.root, saved->data, saved->len, &error));
    assert_error_matches(error, "*with a device '/virtio'*hasn't");
    g_clear_error(&error);
    g_byte_array_set_size(again, 0);
    state_walk_save(r.v.t.control.root, again);
    vt_plug(&r.v);
    g_assert_false(state_walk_load(r.v.t.control.root, again->data, again->len, &error));
    assert_error_matches(error, "*without the device '/virtio'");
    g_clear_error(&error);
    rig_clear(&r, iothread);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/virtio/stopped", NULL, test_stopped);
    g_test_add_data_func("/virtio/stopped/iothread", "io", test_stopped);
    g_test_add_func("/virtio/iothread", test_iothread);
    g_test_add_func("/virtio/iothread/unplug", test_unplug);
    return g_test_run();
}
