/*
 * virtio-blk, over a driver of the test's own that keeps the disk in memory, and can fail, wait and
 * count: what the guest's driver sees, in flight and restored.
 */
#include <errno.h>

#include "block/accounting.h"
#include "block/driver.h"
#include "disk_test.h"
#include "hw/block/virtio_blk.h"
#include "virtio_test.h"

enum {
    DISK_SIZE = 1 << 20,
    IN = 0,
    OUT = 1,
    FLUSH = 4,
    GET_ID = 8,
    DISCARD = 11,
    WRITE_ZEROES = 13,
    OK = 0,
    IOERR = 1,
    UNSUPP = 2,
    AT_HEADERS = HW_TEST_RAM + VT_DATA,             /* 64 bytes each */
    AT_STATUS = HW_TEST_RAM + VT_DATA + 0x8000,     /* a byte each */
    AT_DATA = HW_TEST_RAM + VT_DATA + 0x10000,
};

/* What the disk counts and is told; any thread. */
struct disk {
    uint8_t data[DISK_SIZE];
    int fail;                       /* errno of all requests; 0: none */
    uint64_t fail_from;             /* of those that reach beyond here, only */
    int wait;                       /* requests stay under way */
    int waiting;
    int reads, writes, flushes, discards, zeroes, fua, unmaps;
};

static struct disk disk;            /* a test's */

static int get(int *value)
{
    return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static void set(int *value, int to)
{
    __atomic_store_n(value, to, __ATOMIC_SEQ_CST);
}

static int begin(uint64_t offset, uint64_t bytes, int *count)
{
    __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&disk.waiting, 1, __ATOMIC_SEQ_CST);
    while (get(&disk.wait)) {
        co_sleep(100000);
    }
    __atomic_fetch_sub(&disk.waiting, 1, __ATOMIC_SEQ_CST);
    g_assert_cmpuint(offset + bytes, <=, DISK_SIZE);
    return bytes == 0 || offset + bytes > disk.fail_from ? -get(&disk.fail) : 0;
}

static int disk_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_buffer buffer, unsigned flags)
{
    int result = begin(offset, bytes, &disk.reads);

    if (result == 0) {
        block_buffer_from(buffer, disk.data + offset, bytes);
    }
    return result;
}

static int disk_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                      struct block_buffer buffer, unsigned flags)
{
    int result = begin(offset, bytes, &disk.writes);

    disk.fua += (flags & BLOCK_FUA) != 0;
    if (result == 0) {
        block_buffer_to(buffer, disk.data + offset, bytes);
    }
    return result;
}

static int disk_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes,
                             unsigned flags)
{
    int result = begin(offset, bytes, &disk.zeroes);

    disk.fua += (flags & BLOCK_FUA) != 0;
    disk.unmaps += (flags & BLOCK_MAY_UNMAP) != 0;
    if (result == 0) {
        memset(disk.data + offset, 0, bytes);
    }
    return result;
}

static int disk_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    int result = begin(offset, bytes, &disk.discards);

    if (result == 0) {
        memset(disk.data + offset, 0xdd, bytes);
    }
    return result;
}

static int disk_flush(struct block_node *node)
{
    return begin(0, 0, &disk.flushes);
}

static int disk_truncate(struct block_node *node, uint64_t size, bool exact,
                         enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    node->length = size;
    return 0;
}

static const struct block_driver disk_driver = {
    .name = "test-disk",
    .co_read = disk_read,
    .co_write = disk_write,
    .co_write_zeroes = disk_write_zeroes,
    .co_discard = disk_discard,
    .co_flush = disk_flush,
    .co_truncate = disk_truncate,
};

/* ---- The machine ---- */

struct test {
    struct vt v;
    struct block_node *node;
    const struct block_driver *driver;      /* the node's own */
    struct hw_vm_ops vm_ops;
    struct vt_queue *q;
    unsigned n;                     /* requests of this test so far */
};

static int stops;                   /* a device asked for it; any thread */

static void stop(struct vm *vm, enum qapi_run_state why)
{
    g_assert_cmpint(why, ==, QAPI_RUN_STATE_IO_ERROR);
    __atomic_fetch_add(&stops, 1, __ATOMIC_SEQ_CST);
}

/* A step of the test that may wait. */
static void run(struct test *t, void (*fn)(void *opaque))
{
    coroutine_start(t->v.t.control.loop, fn, t);
    hw_run_loop(&t->v.t);
}

static void open_node(void *opaque)
{
    struct test *t = opaque;

    t->node = co_disk_open(&t->v.t, "{\"driver\": \"null-co\", \"node-name\": \"d0\", "
                                    "\"size\": 1048576, \"discard\": \"unmap\"}");
    t->driver = t->node->driver;
    t->node->driver = &disk_driver;
    t->node->supported_write_flags = t->node->supported_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP;
}

static void close_node(void *opaque)
{
    struct test *t = opaque;

    t->node->driver = t->driver;
    co_block_node_unref(t->node);
    co_block_graph_free(t->v.t.hw.blocks);
}

static void init_with(struct test *t, const char *properties, bool legacy, bool read_only)
{
    memset(&disk, 0, sizeof(disk));
    for (unsigned i = 0; i < DISK_SIZE; i++) {
        disk.data[i] = (uint8_t)(i / 512 * 7 + i);
    }
    stops = 0;
    *t = (struct test){.n = 0};
    vt_init(&t->v, NULL, NULL, legacy);
    t->v.t.hw.clocks = clocks_new();        /* one that can be stopped */
    clocks_start_virtual(t->v.t.hw.clocks);
    t->vm_ops = *t->v.t.hw.vm_ops;
    t->vm_ops.stop = stop;
    t->v.t.hw.vm_ops = &t->vm_ops;
    t->v.t.hw.blocks = block_graph_new(t->v.t.control.root);
    run(t, open_node);
    t->node->read_only = read_only;
    t->v.type = "virtio-blk-device";
    t->v.properties = properties ? properties : "{\"drive\": \"d0\"}";
    vt_plug(&t->v);
}

static void init(struct test *t, const char *properties)
{
    init_with(t, properties, false, false);
}

static void clear(struct test *t)
{
    if (t->v.vdev) {
        vt_unplug(&t->v);
    }
    run(t, close_node);
    clocks_unref(t->v.t.hw.clocks);
    vt_clear(&t->v);
}

static struct virtio_blk *blk(struct test *t)
{
    return (struct virtio_blk *)t->v.vdev;
}

static void go(struct test *t, uint64_t features)
{
    vt_negotiate(&t->v, features);
    t->q = vt_queue(&t->v, 0, 64);
    vt_go(&t->v);
    t->n = 0;
}

static void ring(struct test *t)
{
    vt_set_reg(&t->v, 0x50, t->q->index);
}

static uint64_t data_at(struct test *t, uint64_t offset)
{
    return AT_DATA + offset;
}

static uint8_t *data(struct test *t, uint64_t offset)
{
    return vt_host(&t->v, data_at(t, offset));
}

/* Adds a request; its number. n_data pieces of size bytes from at on. */
static unsigned add(struct test *t, uint32_t type, uint64_t sector, uint64_t at, uint32_t size,
                    unsigned n_data, bool indirect)
{
    unsigned number = t->n++;
    uint64_t header = AT_HEADERS + number % 256 * 64, status = AT_STATUS + number;
    uint32_t head[4] = {type, 0, (uint32_t)sector, (uint32_t)(sector >> 32)};
    struct vt_buffer buffers[16] = {{header, 16, false}};
    unsigned n = 1;

    memcpy(vt_host(&t->v, header), head, sizeof(head));
    *(uint8_t *)vt_host(&t->v, status) = 0xff;
    for (unsigned i = 0; i < n_data; i++) {
        buffers[n++] = (struct vt_buffer){at + (uint64_t)i * size, size,
                                          type == IN || type == GET_ID};
    }
    buffers[n++] = (struct vt_buffer){status, 1, true};
    vt_add(&t->v, t->q, buffers, n, indirect);
    return number;
}

/* Until it comes back. */
static uint8_t wait_for(struct test *t, unsigned number)
{
    volatile uint8_t *status = vt_host(&t->v, AT_STATUS + number);
    uint16_t id;
    uint32_t written;

    for (unsigned i = 0; *status == 0xff || !vt_get(&t->v, t->q, &id, &written); i++) {
        g_assert_cmpuint(i, <, 100000);
        g_usleep(100);
    }
    g_assert_cmpuint(written, >=, 1);
    return *status;
}

static uint8_t request(struct test *t, uint32_t type, uint64_t sector, uint64_t at, uint32_t size,
                       unsigned n_data)
{
    unsigned number = add(t, type, sector, at, size, n_data, false);

    ring(t);
    return wait_for(t, number);
}

static void wait_until(int *value, int is)
{
    for (unsigned i = 0; get(value) != is; i++) {
        g_assert_cmpuint(i, <, 100000);
        g_usleep(100);
    }
}

static void query(struct test *t, struct qapi_block_device_stats *stats)
{
    *stats = (struct qapi_block_device_stats){0};
    block_accounting_query(blk(t)->accounting, stats);
}

/* ---- Configuration ---- */

static uint32_t config(struct test *t, unsigned offset, unsigned size)
{
    return (uint32_t)hw_read(&t->v.t, 0x100 + offset, size);
}

static void test_config(void)
{
    struct test t;
    uint64_t features;

    init(&t, "{\"drive\": \"d0\", \"physical_block_size\": 4096, \"min_io_size\": 8192, "
             "\"opt_io_size\": 65536, \"discard_granularity\": 4096, \"num-queues\": 3, "
             "\"queue-size\": 128, \"max-discard-sectors\": 100}");
    g_assert_cmpuint(vt_reg(&t.v, 8), ==, 2);
    features = vt_offered(&t.v) & 0xffffff;
    g_assert_cmphex(features, ==, 1 << 2 | 1 << 4 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 |
                                      1 << 13 | 1 << 14);
    g_assert_cmpuint(config(&t, 0, 4), ==, DISK_SIZE / 512);
    g_assert_cmpuint(config(&t, 4, 4), ==, 0);
    g_assert_cmpuint(config(&t, 12, 4), ==, 126);
    g_assert_cmpuint(config(&t, 16, 2), ==, 2);
    g_assert_cmpuint(config(&t, 18, 1), ==, 16);
    g_assert_cmpuint(config(&t, 19, 1), ==, 63);
    g_assert_cmpuint(config(&t, 20, 4), ==, 512);
    g_assert_cmpuint(config(&t, 24, 1), ==, 3);
    g_assert_cmpuint(config(&t, 26, 2), ==, 16);
    g_assert_cmpuint(config(&t, 28, 4), ==, 128);
    g_assert_cmpuint(config(&t, 32, 1), ==, 1);
    g_assert_cmpuint(config(&t, 34, 2), ==, 3);
    g_assert_cmpuint(config(&t, 36, 4), ==, 100);
    g_assert_cmpuint(config(&t, 40, 4), ==, 1);
    g_assert_cmpuint(config(&t, 44, 4), ==, 8);
    g_assert_cmpuint(config(&t, 48, 4), ==, 4194303);
    g_assert_cmpuint(config(&t, 52, 4), ==, 1);
    g_assert_cmpuint(config(&t, 56, 1), ==, 1);
    for (unsigned i = 0; i < 4; i++) {
        vt_set_reg(&t.v, 0x30, i);
        g_assert_cmpuint(vt_reg(&t.v, 0x34), ==, i < 3 ? 128 : 0);
    }
    clear(&t);
}

static void test_few_features(void)
{
    struct test t;

    init_with(&t, "{\"drive\": \"d0\", \"config-wce\": false, \"write-cache\": \"off\", "
                  "\"discard\": false, \"write-zeroes\": false, \"cyls\": 5, \"heads\": 6, "
                  "\"secs\": 7, \"seg-max-adjust\": false, \"logical_block_size\": 4096}",
              false, true);
    g_assert_cmphex(vt_offered(&t.v) & 0xffffff, ==, 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10);
    g_assert_cmpuint(config(&t, 12, 4), ==, 126);
    g_assert_cmpuint(config(&t, 16, 2), ==, 5);
    g_assert_cmpuint(config(&t, 18, 1), ==, 6);
    g_assert_cmpuint(config(&t, 19, 1), ==, 7);
    g_assert_cmpuint(config(&t, 20, 4), ==, 4096);
    g_assert_cmpuint(config(&t, 24, 1), ==, 0);
    g_assert_cmpuint(config(&t, 32, 1), ==, 0);
    g_assert_cmpuint(config(&t, 36, 4), ==, 0);
    clear(&t);
}

static void test_bad_properties(void)
{
    static const struct {
        const char *properties, *message;
    } rows[] = {
        {"{}", "drive property not set"},
        {"{\"drive\": \"nobody\"}", "can't find value 'nobody'"},
        {"{\"logical_block_size\": 513}", "power of two"},
        {"{\"logical_block_size\": 4194304}", "power of two"},
        {"{\"physical_block_size\": 256}", "power of two"},
        {"{\"logical_block_size\": 4096, \"physical_block_size\": 512}", "> physical_block_size"},
        {"{\"min_io_size\": 100}", "min_io_size"},
        {"{\"min_io_size\": 67108864}", "min_io_size"},
        {"{\"opt_io_size\": 100}", "opt_io_size"},
        {"{\"discard_granularity\": 100}", "discard_granularity"},
        {"{\"discard_granularity\": 0}", "discard_granularity"},
        {"{\"num-queues\": 0}", "num-queues"},
        {"{\"num-queues\": 1025}", "num-queues"},
        {"{\"queue-size\": 2}", "queue-size"},
        {"{\"queue-size\": 100}", "queue-size"},
        {"{\"queue-size\": 2048}", "queue-size"},
        {"{\"max-discard-sectors\": 0}", "max-discard-sectors"},
        {"{\"max-write-zeroes-sectors\": 4194304}", "max-write-zeroes-sectors"},
        {"{\"heads\": 256}", "heads"},
        {"{\"in_order\": true}", "in_order"},
    };
    struct test t;
    struct bus *bus;

    init(&t, NULL);
    bus = (struct bus *)t.v.vdev->parent_bus;
    vt_unplug(&t.v);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        auto_ptr(object) obj = object_new(object_type_find("virtio-blk-device"));
        g_autoptr(json_object) properties = json_parse(rows[i].properties, NULL);
        g_autoptr(GError) error = NULL;

        if (i > 1) {
            object_set_str(obj, "drive", "d0", NULL);
        }
        g_assert_true(object_set_all(obj, properties, NULL, false, NULL));
        g_assert_true(object_add_child(t.v.t.control.root, "virtio", obj, NULL));
        g_assert_false(hotplug_plug(&bus->object, obj, &error));
        g_assert_nonnull(strstr(error->message, rows[i].message));
        object_remove(obj);
    }
    clear(&t);
}

static void test_shared(void)
{
    struct test t;

    init(&t, NULL);
    for (int share = 0; share < 2; share++) {
        struct block_user *user = block_user_new(t.v.t.hw.blocks, "other", NULL, NULL);
        g_autoptr(GError) error = NULL;

        vt_unplug(&t.v);
        t.v.properties = share ? "{\"drive\": \"d0\", \"share-rw\": true}" : "{\"drive\": \"d0\"}";
        vt_plug(&t.v);
        g_assert_cmpint(block_user_attach(user, t.node, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &error),
                        ==, share);
        g_assert_cmpint(error == NULL, ==, share);
        block_user_free(user);
    }
    clear(&t);
}

/* ---- Requests ---- */

static void test_transfers(void)
{
    for (int form = 0; form < 8; form++) {
        bool legacy = form & 1, packed = form & 2, indirect = form & 4;
        struct test t;

        init_with(&t, packed ? "{\"drive\": \"d0\", \"packed\": true}" : NULL, legacy, false);
        go(&t, UINT64_MAX);
        for (unsigned i = 0; i < 300; i++) {
            unsigned n = 1 + i % 5, size = 512 * (1 + i % 3);
            uint64_t sector = (i * 37) % (DISK_SIZE / 512 - 16), at = i % 8 * 0x1000;
            unsigned number;

            memset(data(&t, at), 0xaa, (size_t)n * size);
            number = add(&t, IN, sector, data_at(&t, at), size, n, indirect);
            ring(&t);
            g_assert_cmpuint(wait_for(&t, number), ==, OK);
            g_assert_cmpmem(data(&t, at), n * size, disk.data + sector * 512, n * size);
            for (unsigned k = 0; k < n * size; k++) {
                data(&t, at)[k] ^= (uint8_t)(i + k);
            }
            number = add(&t, OUT, sector, data_at(&t, at), size, n, indirect);
            ring(&t);
            g_assert_cmpuint(wait_for(&t, number), ==, OK);
            g_assert_cmpmem(data(&t, at), n * size, disk.data + sector * 512, n * size);
            if (i % 50 == 10) {
                vt_replace(&t.v);
            }
        }
        g_assert_cmpint(disk.fua, ==, 0);
        clear(&t);
    }
}

static void test_others(void)
{
    struct test t;
    struct {
        uint64_t sector;
        uint32_t n, flags;
    } *range;

    init(&t, "{\"drive\": \"d0\", \"serial\": \"0123456789abcdefghijklmn\"}");
    go(&t, UINT64_MAX);
    memset(data(&t, 0), 0xaa, 32);
    g_assert_cmpuint(request(&t, GET_ID, 0, data_at(&t, 0), 20, 1), ==, OK);
    g_assert_cmpmem(data(&t, 0), 21, "0123456789abcdefghij\xaa", 21);
    g_assert_cmpuint(request(&t, GET_ID, 0, data_at(&t, 0), 1, 1), ==, OK);
    g_assert_cmpuint(request(&t, FLUSH, 0, 0, 0, 0), ==, OK);
    g_assert_cmpint(disk.flushes, ==, 1);

    range = (void *)data(&t, 0);
    range->sector = 8;
    range->n = 2;
    range->flags = 0;
    g_assert_cmpuint(request(&t, DISCARD, 0, data_at(&t, 0), 16, 1), ==, OK);
    g_assert_cmpint(disk.discards, ==, 1);
    g_assert_cmphex(disk.data[8 * 512], ==, 0xdd);
    g_assert_cmphex(disk.data[10 * 512 - 1], ==, 0xdd);
    range->flags = 1;
    g_assert_cmpuint(request(&t, DISCARD, 0, data_at(&t, 0), 16, 1), ==, UNSUPP);
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 1), ==, OK);
    g_assert_cmpint(disk.unmaps, ==, 1);
    range->flags = 0;
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 1), ==, OK);
    g_assert_cmpint(disk.zeroes, ==, 2);
    g_assert_cmpint(disk.unmaps, ==, 1);
    g_assert_cmphex(disk.data[8 * 512], ==, 0);
    range->flags = 2;
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 1), ==, UNSUPP);
    range->flags = 0;
    range->n = 0;
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 1), ==, OK);
    range->n = 4194304;
    g_assert_cmpuint(request(&t, DISCARD, 0, data_at(&t, 0), 16, 1), ==, IOERR);
    range->n = DISK_SIZE / 512;
    g_assert_cmpuint(request(&t, DISCARD, 0, data_at(&t, 0), 16, 1), ==, IOERR);
    range->sector = UINT64_MAX;
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 16, 2), ==, UNSUPP);
    g_assert_cmpuint(request(&t, WRITE_ZEROES, 0, data_at(&t, 0), 8, 1), ==, UNSUPP);
    g_assert_cmpuint(request(&t, 2, 0, data_at(&t, 0), 512, 1), ==, UNSUPP);
    g_assert_cmpuint(request(&t, 77, 0, 0, 0, 0), ==, UNSUPP);
    /* A barrier bit doesn't make another type. */
    g_assert_cmpuint(request(&t, 0x80000000 | OUT, 0, data_at(&t, 0), 512, 1), ==, OK);
    clear(&t);
}

static void test_refused(void)
{
    struct qapi_block_device_stats stats;
    struct test t;

    init_with(&t, "{\"drive\": \"d0\", \"logical_block_size\": 4096}", false, true);
    go(&t, UINT64_MAX);
    g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 4096, 1), ==, OK);
    g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 512, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, IN, 1, data_at(&t, 0), 4096, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, IN, DISK_SIZE / 512 - 8, data_at(&t, 0), 4096, 1), ==, OK);
    g_assert_cmpuint(request(&t, IN, DISK_SIZE / 512 - 8, data_at(&t, 0), 4096, 2), ==, IOERR);
    g_assert_cmpuint(request(&t, IN, DISK_SIZE / 512, 0, 0, 0), ==, OK);
    g_assert_cmpuint(request(&t, IN, UINT64_MAX / 512, data_at(&t, 0), 4096, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, IN, UINT64_MAX, data_at(&t, 0), 4096, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, OUT, 0, data_at(&t, 0), 4096, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, DISCARD, 0, data_at(&t, 0), 16, 1), ==, UNSUPP);
    g_assert_cmpuint(request(&t, FLUSH, 0, 0, 0, 0), ==, OK);
    g_assert_cmpint(disk.reads, ==, 2);
    g_assert_cmpint(disk.writes, ==, 0);
    query(&t, &stats);
    g_assert_cmpint(stats.rd_operations, ==, 2);
    g_assert_cmpint(stats.rd_bytes, ==, 8192);
    g_assert_cmpint(stats.invalid_rd_operations, ==, 5);
    g_assert_cmpint(stats.invalid_wr_operations, ==, 1);
    g_assert_cmpint(stats.flush_operations, ==, 1);
    qapi_clear(&qapi_type_block_device_stats, &stats);
    clear(&t);
}

/* What breaks the device: it wants a reset, and after that all is well. */
static void test_garbage(void)
{
    const struct vt_buffer chains[][3] = {
        {{AT_HEADERS, 15, false}, {AT_STATUS, 1, true}},
        {{AT_HEADERS, 16, false}},
        {{AT_STATUS, 100, true}},
        {{0x10, 16, false}, {AT_STATUS, 1, true}},
        {{AT_HEADERS, 16, false}, {0x1000, 512, true}, {AT_STATUS, 1, true}},
        {{AT_HEADERS, 16, false}, {HW_TEST_RAM + HW_TEST_RAM_SIZE - 512, 1024, true},
         {AT_STATUS, 1, true}},
    };
    struct test t;

    init(&t, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(chains); i++) {
        unsigned n = 1;

        go(&t, UINT64_MAX);
        memset(vt_host(&t.v, AT_HEADERS), 0, 64);
        while (n < 3 && chains[i][n].size) {
            n++;
        }
        vt_add(&t.v, t.q, chains[i], n, false);
        ring(&t);
        for (unsigned k = 0; !(vt_reg(&t.v, 0x70) & VIRTIO_NEEDS_RESET); k++) {
            g_assert_cmpuint(k, <, 100000);
            g_usleep(100);
        }
        go(&t, UINT64_MAX);
        g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 512, 1), ==, OK);
    }
    clear(&t);
}

static void test_merging(void)
{
    for (int merge = 0; merge < 2; merge++) {
        struct qapi_block_device_stats stats;
        unsigned numbers[8];
        struct test t;

        init(&t, merge ? NULL : "{\"drive\": \"d0\", \"request-merging\": false}");
        go(&t, UINT64_MAX);
        for (unsigned i = 0; i < 8; i++) {
            unsigned k = (i * 3) % 8;

            memset(data(&t, k * 1024), (int)(k + 1), 1024);
            numbers[i] = add(&t, OUT, 100 + k * 2, data_at(&t, k * 1024), 512, 2, false);
        }
        ring(&t);
        for (unsigned i = 0; i < 8; i++) {
            g_assert_cmpuint(wait_for(&t, numbers[i]), ==, OK);
        }
        for (unsigned i = 0; i < 8 * 1024; i++) {
            g_assert_cmpuint(disk.data[100 * 512 + i], ==, i / 1024 + 1);
        }
        g_assert_cmpint(disk.writes, ==, merge ? 1 : 8);
        query(&t, &stats);
        g_assert_cmpint(stats.wr_operations, ==, 8);
        g_assert_cmpint(stats.wr_bytes, ==, 8192);
        g_assert_cmpint(stats.wr_merged, ==, merge ? 7 : 0);
        qapi_clear(&qapi_type_block_device_stats, &stats);

        /* Of a merged read that fails, those parts that can be read are. */
        disk.fail_from = 104 * 512;
        set(&disk.fail, EIO);
        for (unsigned i = 0; i < 4; i++) {
            numbers[i] = add(&t, IN, 100 + i * 2, data_at(&t, i * 1024), 1024, 1, false);
        }
        ring(&t);
        for (unsigned i = 0; i < 4; i++) {
            g_assert_cmpuint(wait_for(&t, numbers[i]), ==, i < 2 ? OK : IOERR);
        }
        clear(&t);
    }
}

/* ---- The write cache ---- */

static void test_write_cache(void)
{
    static const struct {
        const char *properties;
        uint64_t features;
        int fua;
    } rows[] = {
        {"{\"drive\": \"d0\"}", UINT64_MAX, 0},
        {"{\"drive\": \"d0\"}", ~(1ull << 11), 0},
        {"{\"drive\": \"d0\"}", ~(1ull << 11 | 1ull << 9), 1},
        {"{\"drive\": \"d0\", \"write-cache\": \"off\"}", UINT64_MAX, 1},
        {"{\"drive\": \"d0\", \"write-cache\": \"off\", \"config-wce\": false}", UINT64_MAX, 1},
    };
    struct test t;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        init(&t, rows[i].properties);
        go(&t, rows[i].features);
        g_assert_cmpuint(config(&t, 32, 1), ==, !rows[i].fua);
        g_assert_cmpuint(request(&t, OUT, 0, data_at(&t, 0), 512, 1), ==, OK);
        g_assert_cmpint(disk.fua, ==, rows[i].fua);
        clear(&t);
    }
    /* The driver changes it; that is saved, and a reset undoes it. */
    init(&t, NULL);
    go(&t, UINT64_MAX);
    hw_write(&t.v.t, 0x100 + 32, 1, 0);
    g_assert_cmpuint(config(&t, 32, 1), ==, 0);
    vt_replace(&t.v);
    g_assert_cmpuint(config(&t, 32, 1), ==, 0);
    g_assert_cmpuint(request(&t, OUT, 0, data_at(&t, 0), 512, 1), ==, OK);
    g_assert_cmpint(disk.fua, ==, 1);
    go(&t, UINT64_MAX);
    g_assert_cmpuint(config(&t, 32, 1), ==, 1);
    clear(&t);
}

/* ---- Errors ---- */

static void test_reported(void)
{
    struct qapi_block_device_stats stats;
    struct test t;

    init(&t, "{\"drive\": \"d0\", \"rerror\": \"ignore\"}");
    go(&t, UINT64_MAX);
    set(&disk.fail, EIO);
    g_assert_cmpuint(request(&t, OUT, 0, data_at(&t, 0), 512, 1), ==, IOERR);
    g_assert_cmpuint(request(&t, FLUSH, 0, 0, 0, 0), ==, IOERR);
    g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 512, 1), ==, OK);
    query(&t, &stats);
    g_assert_cmpint(stats.failed_wr_operations, ==, 1);
    g_assert_cmpint(stats.failed_flush_operations, ==, 1);
    g_assert_cmpint(stats.failed_rd_operations, ==, 0);
    g_assert_cmpint(stats.wr_operations, ==, 0);
    qapi_clear(&qapi_type_block_device_stats, &stats);
    g_assert_cmpint(stops, ==, 0);
    clear(&t);
}

/* The disk is full; requests stay until the user made room, also if the machine is restored from
 * its state meanwhile, and for nobody once the driver resets the device. */
static void test_stop(void)
{
    enum { CONT, REPLACE, RESET, RESET_QUEUE, UNPLUG, N_ENDS };

    for (unsigned form = 0; form < N_ENDS * 2; form++) {
        unsigned how = form / 2, numbers[3];
        bool packed = form & 1;
        struct test t;

        init(&t, packed ? "{\"drive\": \"d0\", \"packed\": true}" : NULL);
        go(&t, UINT64_MAX);
        set(&disk.fail, ENOSPC);
        memset(data(&t, 0), 0x77, 4096);
        for (unsigned i = 0; i < 3; i++) {
            numbers[i] = add(&t, OUT, 10 * i, data_at(&t, 0), 512, 2, i == 2);
        }
        ring(&t);
        wait_until(&stops, 3);
        clocks_stop_virtual(t.v.t.hw.clocks);
        g_assert_cmpuint(*(uint8_t *)vt_host(&t.v, AT_STATUS + numbers[0]), ==, 0xff);
        set(&disk.fail, 0);
        if (how == REPLACE) {
            vt_replace(&t.v);
        } else if (how == RESET) {
            vt_set_reg(&t.v, 0x70, 0);
        } else if (how == RESET_QUEUE) {
            virtqueue_reset(&t.v.vdev->queues[0]);
        } else if (how == UNPLUG) {
            vt_unplug(&t.v);
        }
        clocks_start_virtual(t.v.t.hw.clocks);
        for (unsigned i = 0; i < 3 && how <= REPLACE; i++) {
            g_assert_cmpuint(wait_for(&t, numbers[i]), ==, OK);
            g_assert_cmpuint(disk.data[10 * i * 512 + 700], ==, 0x77);
        }
        g_assert_cmpint(disk.writes, ==, how <= REPLACE ? 6 : 3);
        if (how != UNPLUG) {
            go(&t, UINT64_MAX);
            g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 512, 1), ==, OK);
        }
        g_assert_cmpint(stops, ==, 3);
        clear(&t);
    }
}

/* ---- Under way ---- */

static gpointer let_go(gpointer opaque)
{
    g_usleep(20000);
    set(&disk.wait, 0);
    return NULL;
}

/* Whoever takes the requests' ground away waits for them. */
static void test_in_flight(void)
{
    enum { RESET, RESET_QUEUE, UNPLUG, STOP, N_ENDS };

    for (unsigned how = 0; how < N_ENDS; how++) {
        unsigned numbers[4];
        GThread *thread;
        struct test t;

        init(&t, NULL);
        go(&t, UINT64_MAX);
        set(&disk.wait, 1);
        for (unsigned i = 0; i < 4; i++) {
            numbers[i] = add(&t, i & 1 ? IN : OUT, 100 * i, data_at(&t, 1024 * i), 512, 1, false);
        }
        ring(&t);
        wait_until(&disk.waiting, 4);
        thread = g_thread_new("let go", let_go, NULL);
        switch (how) {
        case RESET: vt_set_reg(&t.v, 0x70, 0); break;
        case RESET_QUEUE: virtqueue_reset(&t.v.vdev->queues[0]); break;
        case UNPLUG: vt_unplug(&t.v); break;
        case STOP: clocks_stop_virtual(t.v.t.hw.clocks); break;
        }
        g_assert_cmpint(get(&disk.waiting), ==, 0);
        if (how == STOP) {
            for (unsigned i = 0; i < 4; i++) {
                g_assert_cmpuint(wait_for(&t, numbers[i]), ==, OK);
            }
            /* What comes while it stands waits. */
            numbers[0] = add(&t, IN, 0, data_at(&t, 0), 512, 1, false);
            ring(&t);
            g_usleep(5000);
            g_assert_cmpint(disk.reads, ==, 2);
            clocks_start_virtual(t.v.t.hw.clocks);
            g_assert_cmpuint(wait_for(&t, numbers[0]), ==, OK);
        } else if (how != UNPLUG) {
            /* Nothing was given back to a queue that is no more. */
            go(&t, UINT64_MAX);
            g_assert_cmpuint(request(&t, IN, 0, data_at(&t, 0), 512, 1), ==, OK);
        }
        g_thread_join(thread);
        clear(&t);
    }
}

static void drain(void *opaque)
{
    struct test *t = opaque;

    co_block_drain_begin(t->v.t.hw.blocks, t->node);
    t->n |= 1u << 31;
}

static void test_drain(void)
{
    unsigned number;
    struct test t;

    init(&t, NULL);
    go(&t, UINT64_MAX);
    set(&disk.wait, 1);
    number = add(&t, IN, 1, data_at(&t, 0), 512, 1, false);
    ring(&t);
    wait_until(&disk.waiting, 1);
    run(&t, drain);
    g_assert_false(t.n >> 31);
    set(&disk.wait, 0);
    for (unsigned i = 0; !(t.n >> 31); i++) {
        g_assert_cmpuint(i, <, 100000);
        g_usleep(100);
        hw_run_loop(&t.v.t);
    }
    t.n &= INT32_MAX;
    g_assert_cmpuint(wait_for(&t, number), ==, OK);
    number = add(&t, IN, 1, data_at(&t, 0), 512, 1, false);
    ring(&t);
    g_usleep(5000);
    g_assert_cmpint(disk.reads, ==, 1);
    /* Also now it can be reset, and stopped, without waiting for ever. */
    clocks_stop_virtual(t.v.t.hw.clocks);
    clocks_start_virtual(t.v.t.hw.clocks);
    block_drain_end(t.v.t.hw.blocks, t.node);
    g_assert_cmpuint(wait_for(&t, number), ==, OK);
    run(&t, drain);
    go(&t, UINT64_MAX);
    block_drain_end(t.v.t.hw.blocks, t.node);
    g_assert_cmpuint(request(&t, IN, 1, data_at(&t, 0), 512, 1), ==, OK);
    clear(&t);
}

static void shrink(void *opaque)
{
    struct test *t = opaque;
    struct block_user *user = block_user_new(t->v.t.hw.blocks, NULL, NULL, NULL);
    GError *error = NULL;

    block_user_attach(user, t->node, BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(co_block_truncate(user, DISK_SIZE / 2, true, QAPI_PREALLOC_MODE_OFF, 0,
                                      &error), ==, 0);
    g_assert_no_error(error);
    block_user_free(user);
}

static void test_resize(void)
{
    struct test t;
    uint32_t generation;

    init(&t, NULL);
    go(&t, UINT64_MAX);
    generation = vt_reg(&t.v, 0xfc);
    vt_take_interrupt(&t.v);
    run(&t, shrink);
    g_assert_cmpuint(vt_take_interrupt(&t.v), ==, VIRTIO_ISR_CONFIG);
    g_assert_cmpuint(vt_reg(&t.v, 0xfc), !=, generation);
    g_assert_cmpuint(config(&t, 0, 4), ==, DISK_SIZE / 1024);
    g_assert_cmpuint(request(&t, IN, DISK_SIZE / 1024, data_at(&t, 0), 512, 1), ==, IOERR);
    clear(&t);
}

/* Garbage in the place of saved requests. */
static void test_bad_state(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct test t;

    init(&t, NULL);
    go(&t, UINT64_MAX);
    set(&disk.fail, ENOSPC);
    add(&t, OUT, 0, data_at(&t, 0), 512, 2, false);
    ring(&t);
    wait_until(&stops, 1);
    clocks_stop_virtual(t.v.t.hw.clocks);
    virtio_save(t.v.vdev, saved);
    for (unsigned i = 0; i < saved->len; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            size_t position = 0;

            saved->data[i] ^= 1 << bit;
            virtio_load(t.v.vdev, saved->data, saved->len, &position, NULL);
            saved->data[i] ^= 1 << bit;
        }
    }
    clear(&t);
}

/* Several queues on one iothread, with many requests under way. */
static void test_queues(void)
{
    struct vt_queue *queues[3];
    unsigned numbers[3][8];
    struct test t;
    g_autoptr(json_object) json = json_parse("{\"qom-type\": \"iothread\", \"id\": \"io0\"}", NULL);

    memset(&t, 0, sizeof(t));
    init(&t, NULL);
    vt_unplug(&t.v);
    g_assert_nonnull(object_create_user(t.v.t.control.root, json, false, NULL));
    t.v.properties = "{\"drive\": \"d0\", \"num-queues\": 3, \"iothread\": \"io0\"}";
    vt_plug(&t.v);
    g_assert_false(object_delete_user(t.v.t.control.root, "io0", NULL));
    vt_negotiate(&t.v, UINT64_MAX);
    for (unsigned i = 0; i < 3; i++) {
        queues[i] = vt_queue(&t.v, i, 64);
    }
    vt_go(&t.v);
    for (unsigned round = 0; round < 50; round++) {
        t.n = 0;
        for (unsigned i = 0; i < 24; i++) {
            t.q = queues[i % 3];
            numbers[i % 3][i / 3] = add(&t, round & 1 ? IN : OUT, 64 * i,
                                        data_at(&t, 1024 * i), 1024, 1, i & 4);
            ring(&t);
        }
        for (unsigned i = 0; i < 3; i++) {
            t.q = queues[i];
            for (unsigned k = 0; k < 8; k++) {
                g_assert_cmpuint(wait_for(&t, numbers[i][k]), ==, OK);
            }
        }
    }
    vt_unplug(&t.v);
    g_assert_true(object_delete_user(t.v.t.control.root, "io0", NULL));
    clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-blk/config", test_config);
    g_test_add_func("/virtio-blk/few-features", test_few_features);
    g_test_add_func("/virtio-blk/bad-properties", test_bad_properties);
    g_test_add_func("/virtio-blk/shared", test_shared);
    g_test_add_func("/virtio-blk/transfers", test_transfers);
    g_test_add_func("/virtio-blk/others", test_others);
    g_test_add_func("/virtio-blk/refused", test_refused);
    g_test_add_func("/virtio-blk/garbage", test_garbage);
    g_test_add_func("/virtio-blk/merging", test_merging);
    g_test_add_func("/virtio-blk/write-cache", test_write_cache);
    g_test_add_func("/virtio-blk/reported", test_reported);
    g_test_add_func("/virtio-blk/stop", test_stop);
    g_test_add_func("/virtio-blk/in-flight", test_in_flight);
    g_test_add_func("/virtio-blk/drain", test_drain);
    g_test_add_func("/virtio-blk/resize", test_resize);
    g_test_add_func("/virtio-blk/bad-state", test_bad_state);
    g_test_add_func("/virtio-blk/queues", test_queues);
    return g_test_run();
}
