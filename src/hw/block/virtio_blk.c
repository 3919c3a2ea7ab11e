/*
 * virtio-blk-device: a disk (virtio 1.2, 5.2). This file has its properties, its configuration and
 * its life; requests are in virtio_blk_request.c.
 */
#include "hw/block/virtio_blk.h"

#include <string.h>

#include "block/delay.h"
#include "hw/boot_index.h"
#include "object/iothread.h"
#include "qapi/error.h"
#include "util/iothread.h"

enum {
    /* The configuration (5.2.4). */
    CONFIG_CAPACITY = 0,
    CONFIG_SEG_MAX = 12,
    CONFIG_CYLINDERS = 16,
    CONFIG_HEADS = 18,
    CONFIG_SECTORS = 19,
    CONFIG_BLK_SIZE = 20,
    CONFIG_PHYSICAL_EXP = 24,
    CONFIG_MIN_IO = 26,
    CONFIG_OPT_IO = 28,
    CONFIG_WRITEBACK = 32,
    CONFIG_NUM_QUEUES = 34,
    CONFIG_MAX_DISCARD = 36,
    CONFIG_MAX_DISCARD_SEG = 40,
    CONFIG_DISCARD_ALIGN = 44,
    CONFIG_MAX_ZEROES = 48,
    CONFIG_MAX_ZEROES_SEG = 52,
    CONFIG_ZEROES_MAY_UNMAP = 56,
    CONFIG_SIZE = 60,

    AUTO_QUEUES = 0xffff,
    MAX_BLOCK_SIZE = 2 << 20,
    SEGMENTS_OF_REQUEST = 2,        /* besides its data: header and status */
    SEG_MAX_FIXED = 126,
    MAX_CYLINDERS = 16383,
};

static const uint64_t auto_granularity = UINT32_MAX;

static struct virtio_blk *self(struct virtio_device *vdev)
{
    return (struct virtio_blk *)vdev;
}

/* ---- Standing still ---- */

static void retry(void *opaque)
{
    struct virtio_blk *s = opaque;

    virtio_lock(&s->vdev);
    if (!s->held && !s->vdev.stands) {
        virtio_blk_retry(s);
    }
    if (--s->in_flight == 0) {
        g_cond_broadcast(&s->idle);
    }
    virtio_unlock(&s->vdev);
}

/* With the lock: goes on with what failed, and what came meanwhile. */
static void go_on(struct virtio_blk *s)
{
    if (s->held || s->vdev.stands) {
        return;
    }
    if (s->failed.length) {
        s->in_flight++;
        event_loop_post(s->vdev.loop, retry, s);
    }
    for (uint32_t i = 0; i < s->vdev.n_queues; i++) {
        if (s->vdev.queues[i].ready) {
            virtqueue_kick(&s->vdev.queues[i]);
        }
    }
}

/* With the lock, which others may have meanwhile. */
static void wait_until_idle(struct virtio_blk *s)
{
    s->held++;
    if (s->in_flight) {
        block_hurry_begin(s->vdev.hw->blocks);
        while (s->in_flight) {
            g_cond_wait(&s->idle, &s->vdev.lock);
        }
        block_hurry_end(s->vdev.hw->blocks);
    }
    s->held--;
}

static void time_changed(struct virtio_device *vdev)
{
    struct virtio_blk *s = self(vdev);

    if (vdev->stands) {
        wait_until_idle(s);
    } else {
        block_user_set_io_error(s->user, 0);
        go_on(s);
    }
}

/* ---- The driver's calls ---- */

static void reset(struct virtio_device *vdev)
{
    struct virtio_blk *s = self(vdev);

    s->write_back = s->write_back_at_reset;
    wait_until_idle(s);
    virtio_blk_forget_failed(s, NULL);
    go_on(s);       /* another vCPU may have set it up again meanwhile */
}

static void reset_queue(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_blk *s = self(vdev);

    wait_until_idle(s);
    virtio_blk_forget_failed(s, vq);
    go_on(s);
}

/* A driver that can't say what it wants gets no cache that it can't flush (5.2.6.2). */
static void set_status(struct virtio_device *vdev, uint8_t old)
{
    struct virtio_blk *s = self(vdev);

    if ((~old & vdev->status & VIRTIO_DRIVER_OK) &&
        !virtio_has_feature(vdev, VIRTIO_BLK_F_CONFIG_WCE)) {
        s->write_back &= virtio_has_feature(vdev, VIRTIO_BLK_F_FLUSH);
    }
}

static void put(uint8_t *config, uint64_t value, unsigned size)
{
    value = GUINT64_TO_LE(value);
    memcpy(config, &value, size);
}

static unsigned log2_of(uint64_t n)
{
    return (unsigned)__builtin_ctzll(n);
}

static void get_geometry(const struct virtio_blk *s, uint8_t *config, uint64_t sectors)
{
    uint32_t heads = s->heads ? s->heads : 16, secs = s->secs ? s->secs : 63;
    uint64_t cylinders = s->cyls ? s->cyls
                                 : CLAMP(sectors / (heads * secs), 2, MAX_CYLINDERS);

    put(config + CONFIG_CYLINDERS, cylinders, 2);
    put(config + CONFIG_HEADS, heads, 1);
    put(config + CONFIG_SECTORS, secs, 1);
}

static void get_config(struct virtio_device *vdev, uint8_t *config)
{
    const struct virtio_blk *s = self(vdev);
    uint64_t sectors = s->length / VIRTIO_BLK_SECTOR;
    uint64_t block = s->logical_block_size;
    uint64_t granularity = s->report_discard_granularity &&
                                   s->discard_granularity != auto_granularity
                               ? s->discard_granularity
                               : block;

    put(config + CONFIG_CAPACITY, sectors, 8);
    put(config + CONFIG_SEG_MAX,
        s->seg_max_adjust ? s->queue_size - SEGMENTS_OF_REQUEST : SEG_MAX_FIXED, 4);
    get_geometry(s, config, sectors);
    put(config + CONFIG_BLK_SIZE, block, 4);
    put(config + CONFIG_PHYSICAL_EXP, log2_of(s->physical_block_size / block), 1);
    put(config + CONFIG_MIN_IO, s->min_io_size / block, 2);
    put(config + CONFIG_OPT_IO, s->opt_io_size / block, 4);
    put(config + CONFIG_WRITEBACK, s->write_back, 1);
    put(config + CONFIG_NUM_QUEUES, s->num_queues, 2);
    if (s->discard) {
        put(config + CONFIG_MAX_DISCARD, s->max_discard_sectors, 4);
        put(config + CONFIG_MAX_DISCARD_SEG, 1, 4);
        put(config + CONFIG_DISCARD_ALIGN, granularity / VIRTIO_BLK_SECTOR, 4);
    }
    if (s->write_zeroes) {
        put(config + CONFIG_MAX_ZEROES, s->max_write_zeroes_sectors, 4);
        put(config + CONFIG_MAX_ZEROES_SEG, 1, 4);
        put(config + CONFIG_ZEROES_MAY_UNMAP, 1, 1);
    }
}

static void set_config(struct virtio_device *vdev, const uint8_t *config)
{
    struct virtio_blk *s = self(vdev);

    if (virtio_has_feature(vdev, VIRTIO_BLK_F_CONFIG_WCE)) {
        s->write_back = config[CONFIG_WRITEBACK] & 1;
    }
}

/* ---- The block layer's calls ---- */

static void look_at_node(struct virtio_blk *s)
{
    const struct block_node *node = block_user_node(s->user);
    uint64_t length = block_user_length(s->user);

    if (length != s->length) {
        s->length = length;
        virtio_config_changed(&s->vdev);
    }
    g_free(s->node_name);
    s->node_name = g_strdup(node->name);
}

static void resized(void *opaque)
{
    struct virtio_blk *s = opaque;

    virtio_lock(&s->vdev);
    look_at_node(s);
    virtio_unlock(&s->vdev);
}

static void drain_begin(void *opaque)
{
    struct virtio_blk *s = opaque;

    virtio_lock(&s->vdev);
    s->held++;
    virtio_unlock(&s->vdev);
}

static void drain_end(void *opaque)
{
    struct virtio_blk *s = opaque;

    virtio_lock(&s->vdev);
    look_at_node(s);        /* it may be another one */
    s->held--;
    go_on(s);
    virtio_unlock(&s->vdev);
}

static char *describe(void *opaque)
{
    struct virtio_blk *s = opaque;

    return object_path(&s->vdev.device.object);
}

static const struct block_user_ops user_ops = {
    .resized = resized,
    .drain_begin = drain_begin,
    .drain_end = drain_end,
    .describe = describe,
};

/* ---- Realizing ---- */

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool refuse(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static bool check_block_size(const char *name, uint64_t *size, uint64_t default_, GError **error)
{
    *size = *size ? *size : default_;
    if (*size < VIRTIO_BLK_SECTOR || *size > MAX_BLOCK_SIZE || (*size & (*size - 1))) {
        return refuse(error, "Property %s doesn't take %" PRIu64
                      ", only a power of two between 512 B and 2 MiB", name, *size);
    }
    return true;
}

static bool check_sizes(struct virtio_blk *s, GError **error)
{
    uint64_t block;

    if (!check_block_size("logical_block_size", &s->logical_block_size, VIRTIO_BLK_SECTOR,
                          error) ||
        !check_block_size("physical_block_size", &s->physical_block_size,
                          MAX(s->logical_block_size, VIRTIO_BLK_SECTOR), error)) {
        return false;
    }
    block = s->logical_block_size;
    if (block > s->physical_block_size) {
        return refuse(error, "logical_block_size > physical_block_size not supported");
    }
    if (s->min_io_size % block || s->min_io_size / block > UINT16_MAX) {
        return refuse(error, "min_io_size must be a multiple of logical_block_size, and at most "
                      "65535 of it");
    }
    if (s->opt_io_size % block || s->opt_io_size / block > UINT32_MAX) {
        return refuse(error, "opt_io_size must be a multiple of logical_block_size");
    }
    if (s->discard_granularity != auto_granularity &&
        (s->discard_granularity == 0 || s->discard_granularity % block ||
         s->discard_granularity / VIRTIO_BLK_SECTOR > UINT32_MAX)) {
        return refuse(error, "discard_granularity must be a multiple of logical_block_size");
    }
    return true;
}

void virtio_blk_choose_queues(struct virtio_blk *s, unsigned n_cpus)
{
    if (s->num_queues == AUTO_QUEUES) {
        s->num_queues = (uint16_t)CLAMP(n_cpus, 1, VIRTIO_MAX_QUEUES);
    }
}

static bool check_queues(struct virtio_blk *s, GError **error)
{
    uint32_t max_sectors = INT32_MAX / VIRTIO_BLK_SECTOR;

    virtio_blk_choose_queues(s, 1);
    if (s->num_queues == 0 || s->num_queues > VIRTIO_MAX_QUEUES) {
        return refuse(error, "num-queues property must be between 1 and %u", VIRTIO_MAX_QUEUES);
    }
    if (s->queue_size <= SEGMENTS_OF_REQUEST || s->queue_size > VIRTIO_MAX_QUEUE_SIZE ||
        (s->queue_size & (s->queue_size - 1))) {
        return refuse(error, "invalid queue-size property (%u), must be a power of 2 "
                      "(4 to %u)", s->queue_size, VIRTIO_MAX_QUEUE_SIZE);
    }
    if (s->discard && (s->max_discard_sectors == 0 || s->max_discard_sectors > max_sectors)) {
        return refuse(error, "invalid max-discard-sectors property (%u), must be between 1 and %u",
                      s->max_discard_sectors, max_sectors);
    }
    if (s->write_zeroes &&
        (s->max_write_zeroes_sectors == 0 || s->max_write_zeroes_sectors > max_sectors)) {
        return refuse(error, "invalid max-write-zeroes-sectors property (%u), must be between 1 "
                      "and %u", s->max_write_zeroes_sectors, max_sectors);
    }
    return true;
}

static bool check_others(const struct virtio_blk *s, GError **error)
{
    if (s->vdev.in_order) {
        return refuse(error, "in_order=on: requests of a disk end in whatever order");
    }
    if (s->cyls > UINT16_MAX || s->heads > UINT8_MAX || s->secs > UINT8_MAX) {
        return refuse(error, "cyls must be at most 65535, heads and secs at most 255");
    }
    return true;
}

/* The device's own word, the drive's, or: the guest may cope with all but a full disk. */
static enum qapi_blockdev_on_error choose(enum qapi_blockdev_on_error own,
                                          enum qapi_blockdev_on_error drives,
                                          enum qapi_blockdev_on_error else_)
{
    if (own != QAPI_BLOCKDEV_ON_ERROR_AUTO) {
        return own;
    }
    return drives != QAPI_BLOCKDEV_ON_ERROR_AUTO ? drives : else_;
}

static void choose_errors(struct virtio_blk *s)
{
    s->rerror = choose(s->rerror, block_user_on_error(s->user, true),
                       QAPI_BLOCKDEV_ON_ERROR_REPORT);
    s->werror = choose(s->werror, block_user_on_error(s->user, false),
                       QAPI_BLOCKDEV_ON_ERROR_ENOSPC);
}

static bool attach(struct virtio_blk *s, GError **error)
{
    struct block_graph *blocks = s->vdev.hw->blocks;
    unsigned perm = BLOCK_PERM_CONSISTENT_READ;
    unsigned shared = BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE;
    struct block_node *node;

    if (!s->drive || !*s->drive) {
        return refuse(error, "drive property not set");
    }
    node = blocks ? block_node_find(blocks, s->drive, NULL) : NULL;
    if (!node) {
        return refuse(error, "Property 'virtio-blk-device.drive' can't find value '%s'", s->drive);
    }
    s->user = block_user_new(blocks, NULL, &user_ops, s);
    s->read_only = node->read_only;
    perm |= s->read_only ? 0 : BLOCK_PERM_WRITE;
    shared |= s->share_rw ? BLOCK_PERM_WRITE : 0;
    if (!block_user_attach(s->user, node, perm, shared, error)) {
        return false;
    }
    if (s->write_cache != QAPI_ON_OFF_AUTO_AUTO) {
        block_user_set_write_cache(s->user, s->write_cache == QAPI_ON_OFF_AUTO_ON);
    }
    s->write_back_at_reset = block_user_write_cache(s->user);
    s->length = block_user_length(s->user);
    look_at_node(s);
    s->accounting = block_user_accounting(s->user);
    block_accounting_set_policy(s->accounting, s->account_invalid, s->account_failed);
    return true;
}

static bool take_loop(struct virtio_blk *s, GError **error)
{
    struct event_loop *loop;

    if (s->iothread) {
        loop = iothread_object_loop(s->iothread);
    } else {
        const struct object *obj = &s->vdev.device.object;
        const struct object *named = obj->parent && obj->parent->user_created ? obj->parent : obj;
        g_autofree char *name = g_strdup_printf("IO %s", named->name ? named->name : "virtio-blk");

        s->own_thread = iothread_new(name, s->vdev.hw->log, error);
        if (!s->own_thread) {
            return false;
        }
        loop = iothread_loop(s->own_thread);
    }
    s->vdev.loop = event_loop_ref(loop);
    return true;
}

static uint64_t features(const struct virtio_blk *s)
{
    const struct {
        bool on;
        uint8_t feature;
    } rows[] = {
        {true, VIRTIO_BLK_F_SEG_MAX},
        {true, VIRTIO_BLK_F_GEOMETRY},
        {s->read_only, VIRTIO_BLK_F_RO},
        {true, VIRTIO_BLK_F_BLK_SIZE},
        {s->write_back_at_reset || s->config_wce, VIRTIO_BLK_F_FLUSH},
        {true, VIRTIO_BLK_F_TOPOLOGY},
        {s->config_wce, VIRTIO_BLK_F_CONFIG_WCE},
        {s->num_queues > 1, VIRTIO_BLK_F_MQ},
        {s->discard && !s->read_only, VIRTIO_BLK_F_DISCARD},
        {s->write_zeroes && !s->read_only, VIRTIO_BLK_F_WRITE_ZEROES},
    };
    uint64_t bits = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        bits |= rows[i].on ? virtio_bit(rows[i].feature) : 0;
    }
    return bits;
}

static bool realize(struct virtio_device *vdev, GError **error)
{
    struct virtio_blk *s = self(vdev);
    g_autofree uint16_t *sizes = NULL;

    g_cond_init(&s->idle);
    s->waits = true;
    s->path = object_path(&vdev->device.object);
    if (!check_sizes(s, error) || !check_queues(s, error) || !check_others(s, error) ||
        !attach(s, error) || !take_loop(s, error)) {
        return false;
    }
    choose_errors(s);
    vdev->host_features = features(s);
    sizes = g_new(uint16_t, s->num_queues);
    for (unsigned i = 0; i < s->num_queues; i++) {
        sizes[i] = s->queue_size;
    }
    virtio_make_queues(vdev, sizes, s->num_queues);
    return true;
}

static void unrealize(struct virtio_device *vdev)
{
    struct virtio_blk *s = self(vdev);

    if (!s->waits) {
        return;
    }
    virtio_lock(vdev);
    if (s->own_thread) {
        /* What else is in its list, as doorbells that were freed, is seen to, too. */
        s->in_flight++;
        event_loop_post(vdev->loop, retry, s);
    }
    wait_until_idle(s);
    virtio_blk_forget_failed(s, NULL);
    virtio_unlock(vdev);
    g_clear_pointer(&s->user, block_user_free);
    g_clear_pointer(&s->own_thread, iothread_free);
    g_clear_pointer(&s->saved, g_free);
    g_clear_pointer(&s->node_name, g_free);
    g_clear_pointer(&s->path, g_free);
    g_cond_clear(&s->idle);
}

/* ---- State ---- */

static void before_save(void *instance)
{
    virtio_blk_save_failed(instance);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    return virtio_blk_load_failed(instance, error);
}

static const struct state_field fields[] = {
    STATE_FIELD(virtio_blk, write_back, STATE_BOOL, .keep = true),
    STATE_POINTER(virtio_blk, saved, STATE_VAR_BYTES, saved_size, .count = 1u << 30),
};

static const struct state_table state = {
    .name = "virtio-blk-device",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .before_save = before_save,
    .after_load = after_load,
};

/* ---- The type ---- */

static const struct virtio_class blk_class = {
    .device_id = 2,
    .config_size = CONFIG_SIZE,
    .state = &state,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .set_status = set_status,
    .reset = reset,
    .reset_queue = reset_queue,
    .time_changed = time_changed,
    .handle = virtio_blk_handle,
};

#define SIZE(name, field, default_, description)                                                   \
    PROPERTY(name, virtio_blk, field, qapi_type_size, default_, description)
#define BOOL(name, field, default_, description)                                                   \
    PROPERTY(name, virtio_blk, field, qapi_type_bool, default_, description)
#define U32(name, field, default_, description)                                                    \
    PROPERTY(name, virtio_blk, field, qapi_type_uint32, default_, description)
#define AUTO(name, field, description)                                                             \
    PROPERTY(name, virtio_blk, field, qapi_type_on_off_auto, "auto", description)
#define ON_ERROR(name, field, description)                                                         \
    PROPERTY(name, virtio_blk, field, qapi_type_blockdev_on_error, "auto", description)

static const struct property properties[] = {
    PROPERTY("drive", virtio_blk, drive, qapi_type_str, NULL,
             "Node name or ID of a block device to use as a backend"),
    PROPERTY("serial", virtio_blk, serial, qapi_type_str, NULL,
             "What the guest knows it by; 20 characters"),
    SIZE("logical_block_size", logical_block_size, "0", "A power of two between 512 B and 2 MiB"),
    SIZE("physical_block_size", physical_block_size, "0",
         "A power of two between 512 B and 2 MiB"),
    SIZE("min_io_size", min_io_size, "0", "Bytes below which requests are slow"),
    SIZE("opt_io_size", opt_io_size, "0", "Bytes that requests had best have"),
    SIZE("discard_granularity", discard_granularity, "4294967295",
         "Bytes that are discarded together; 4294967295: as logical_block_size"),
    AUTO("write-cache", write_cache, "Whether writes need a flush; auto: as the drive says"),
    BOOL("share-rw", share_rw, "off", "Others may write the same medium"),
    BOOT_INDEX_PROPERTY(virtio_blk, bootindex),
    ON_ERROR("rerror", rerror, "What is done when reading fails (auto: report)"),
    ON_ERROR("werror", werror, "What is done when writing fails (auto: enospc)"),
    AUTO("account-invalid", account_invalid, "Invalid requests end idle time"),
    AUTO("account-failed", account_failed, "The time of failed requests counts"),
    U32("cyls", cyls, "0", "Cylinders of its geometry; 0: by its size"),
    U32("heads", heads, "0", "Heads of its geometry; 0: 16"),
    U32("secs", secs, "0", "Sectors of its geometry; 0: 63"),
    BOOL("config-wce", config_wce, "on", "The driver may turn the write cache on and off"),
    BOOL("request-merging", request_merging, "on", "Requests of neighbours become one"),
    PROPERTY("num-queues", virtio_blk, num_queues, qapi_type_uint16, "65535",
             "Queues; 65535: as many as vCPUs on PCI, else 1"),
    PROPERTY("queue-size", virtio_blk, queue_size, qapi_type_uint16, "256",
             "Entries of a queue, a power of two"),
    BOOL("seg-max-adjust", seg_max_adjust, "on",
         "Requests may have as many segments as a queue has room for"),
    BOOL("discard", discard, "on", "The driver can discard"),
    BOOL("report-discard-granularity", report_discard_granularity, "on",
         "The driver is told discard_granularity"),
    BOOL("write-zeroes", write_zeroes, "on", "The driver can have zeroes written"),
    U32("max-discard-sectors", max_discard_sectors, "4194303", "That are discarded at once"),
    U32("max-write-zeroes-sectors", max_write_zeroes_sectors, "4194303",
        "That are zeroed at once"),
    PROPERTY_LINK("iothread", virtio_blk, iothread, "iothread",
                  "That works its queues off; none: it has a thread of its own"),
};

static const struct object_type blk_type = {
    .name = "virtio-blk-device",
    .parent = "virtio-device",
    .category = "Storage",
    .instance_size = sizeof(struct virtio_blk),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &blk_class,
};
OBJECT_TYPE(blk_type);
