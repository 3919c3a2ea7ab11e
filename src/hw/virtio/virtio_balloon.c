/*
 * virtio-balloon-device: the guest gives memory back (virtio 1.2, 5.5), on request or, by free page
 * reporting, what it doesn't use. What it gives is given back to the host at once. Works on the
 * main loop, on which RAM can't go away meanwhile.
 */
#include <string.h>
#include <sys/mman.h>

#include "hw/virtio/virtio.h"
#include "hw/virtio/virtio_pci.h"

#include "qapi/error.h"
#include "qapi/qapi_commands.h"
#include "qapi/qapi_events.h"
#include "util/clock.h"

enum {
    QUEUE_SIZE = 128,
    REPORTING_QUEUE_SIZE = 32,
    PAGE_SHIFT = 12,                /* whatever the guest's pages are */
    PAGE_SIZE = 1 << PAGE_SHIFT,

    F_STATS_VQ = 1,
    F_DEFLATE_ON_OOM = 2,
    F_PAGE_POISON = 4,
    F_REPORTING = 5,

    QUEUE_INFLATE = 0,
    QUEUE_DEFLATE = 1,
    QUEUE_STATS = 2,
    QUEUE_REPORTING = 3,            /* numbers have no gaps where features aren't offered */

    CONFIG_NUM_PAGES = 0,
    CONFIG_ACTUAL = 4,
    CONFIG_POISON = 12,
    CONFIG_SIZE = 16,

    STAT_SIZE = 10,                 /* u16 tag, u64 value */
    N_STATS = 16,
    MAX_STATS = 64,                 /* that are read of a buffer */
};

struct virtio_balloon {
    struct virtio_device vdev;
    bool deflate_on_oom, page_poison, reporting;
    int64_t interval;               /* s between questions for statistics; 0: none */
    struct timer *timer;
    bool ask; /* the driver's buffer goes back: it is to fill in new numbers */
    /* Saved. */
    uint32_t num_pages, actual, poison;
    uint64_t stats[N_STATS];        /* in the order of their tags */
    uint64_t last_update;           /* s since the epoch */
};

static struct virtio_balloon *self(struct virtio_device *vdev)
{
    return (struct virtio_balloon *)vdev;
}

/* ---- Giving memory back to the host ---- */

/* Zeroes for the guest if it looks. What isn't whole pages of RAM stays. */
static void discard(struct virtio_balloon *s, uint64_t address, uint64_t size)
{
    struct address_space *memory = s->vdev.hw->memory;
    uint64_t skip = -address & (PAGE_SIZE - 1);
    struct memory_range range;
    uint64_t n;

    if (size <= skip || address + size < size) {
        return;
    }
    address += skip;
    size = (size - skip) & ~(uint64_t)(PAGE_SIZE - 1);
    for (; size >= PAGE_SIZE; address += n, size -= n) {
        address_space_look_up(memory, address, &range);
        n = MIN(size, range.length);
        if (range.writable && range.host && n >= PAGE_SIZE &&
            (uintptr_t)range.host % PAGE_SIZE == 0) {
            n &= ~(uint64_t)(PAGE_SIZE - 1);
            /* Shared memory: a hole in its file; private memory has no such thing. */
            if (madvise(range.host, n, MADV_REMOVE)) {
                madvise(range.host, n, MADV_DONTNEED);
            }
            address_space_written(memory, address, n);
        } else {
            n = MIN(size, (n + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1));
        }
        if (n == 0) {
            break;
        }
    }
}

/* A list of page numbers; neighbours are given back in one piece. */
static void discard_pages(struct virtio_balloon *s, const uint32_t *pages, size_t count)
{
    uint64_t first = 0, n = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t page = GUINT32_FROM_LE(pages[i]);

        if (n && page == first + n) {
            n++;
        } else if (n && page + 1 == first) {
            first--;
            n++;
        } else {
            discard(s, first << PAGE_SHIFT, n << PAGE_SHIFT);
            first = page;
            n = 1;
        }
    }
    discard(s, first << PAGE_SHIFT, n << PAGE_SHIFT);
}

static void inflate(struct virtio_balloon *s, const struct virtio_chain *chain)
{
    uint32_t pages[1024];
    uint64_t at = 0, n;

    while ((n = virtio_chain_read(chain, at, pages, sizeof(pages))) >= sizeof(pages[0])) {
        discard_pages(s, pages, n / sizeof(pages[0]));
        at += n;
    }
}

/* Free pages; with a poison the guest expects to find it there again. */
static void report(struct virtio_balloon *s, const struct virtio_chain *chain)
{
    if (s->poison && virtio_has_feature(&s->vdev, F_PAGE_POISON)) {
        return;
    }
    for (uint32_t i = chain->n_out; i < chain->n_out + chain->n_in; i++) {
        discard(s, chain->segments[i].address, chain->segments[i].size);
    }
}

/* ---- Statistics ---- */

static void read_stats(struct virtio_balloon *s, const struct virtio_chain *chain)
{
    uint8_t data[MAX_STATS * STAT_SIZE];
    uint64_t n = virtio_chain_read(chain, 0, data, sizeof(data));

    memset(s->stats, 0xff, sizeof(s->stats));
    for (uint64_t at = 0; at + STAT_SIZE <= n; at += STAT_SIZE) {
        uint16_t tag;
        uint64_t value;

        memcpy(&tag, data + at, sizeof(tag));
        memcpy(&value, data + at + sizeof(tag), sizeof(value));
        tag = GUINT16_FROM_LE(tag);
        if (tag < N_STATS) {
            s->stats[tag] = GUINT64_FROM_LE(value);
        }
    }
    s->last_update = (uint64_t)(clocks_now(s->vdev.hw->clocks, CLOCK_HOST) / 1000000000);
}

/* The driver's one buffer stays in the queue until new numbers are wanted (5.5.6.3). */
static void handle_stats(struct virtio_balloon *s, struct virtqueue *vq)
{
    g_autofree struct virtio_chain *chain = virtqueue_pop(vq);

    if (!chain) {
        return;
    }
    if (s->ask) {
        s->ask = false;
        virtqueue_push(vq, chain, 0);
    } else {
        read_stats(s, chain);
        virtqueue_rewind(vq, chain);
    }
}

static void arm(struct virtio_balloon *s)
{
    int64_t second = 1000000000;

    if (!s->timer) {
        return;
    }
    if (s->interval) {
        timer_arm(s->timer, clocks_now(s->vdev.hw->clocks, CLOCK_VIRTUAL) + s->interval * second);
    } else {
        timer_disarm(s->timer);
    }
}

static void ask_for_stats(void *opaque)
{
    struct virtio_balloon *s = opaque;

    virtio_lock(&s->vdev);
    s->ask = true;
    virtqueue_run(&s->vdev.queues[QUEUE_STATS]);
    s->ask = false;
    virtio_unlock(&s->vdev);
    arm(s);
}

static bool set_interval(struct object *obj, const struct property *prop, const void *value,
                         GError **error)
{
    int64_t interval = *(const int64_t *)value;

    if (interval < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "timer value must be greater than zero");
        return false;
    }
    if (interval > UINT32_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "timer value is too big");
        return false;
    }
    return true;
}

static void interval_changed(struct object *obj, const struct property *prop)
{
    arm((struct virtio_balloon *)obj);
}

static bool get_stats(struct object *obj, const struct property *prop, void *value, GError **error)
{
    struct virtio_balloon *s = (struct virtio_balloon *)obj;
    struct qapi_balloon_guest_stats *ret = value;
    struct qapi_balloon_stats *stats = g_new0(struct qapi_balloon_stats, 1);
    uint64_t v[N_STATS];

    virtio_lock(&s->vdev);
    memcpy(v, s->stats, sizeof(v));
    ret->last_update = (int64_t)s->last_update;
    virtio_unlock(&s->vdev);
    *stats = (struct qapi_balloon_stats){
        .stat_swap_in = v[0], .stat_swap_out = v[1], .stat_major_faults = v[2],
        .stat_minor_faults = v[3], .stat_free_memory = v[4], .stat_total_memory = v[5],
        .stat_available_memory = v[6], .stat_disk_caches = v[7], .stat_htlb_pgalloc = v[8],
        .stat_htlb_pgfail = v[9], .stat_oom_kills = v[10], .stat_alloc_stalls = v[11],
        .stat_async_scans = v[12], .stat_direct_scans = v[13], .stat_async_reclaims = v[14],
        .stat_direct_reclaims = v[15]};
    ret->stats = stats;
    return true;
}

/* ---- The device ---- */

static void handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_balloon *s = self(vdev);
    struct virtio_chain *chain;

    if (vq->index == QUEUE_STATS) {
        handle_stats(s, vq);
        return;
    }
    while ((chain = virtqueue_pop(vq))) {
        if (vq->index == QUEUE_INFLATE) {
            inflate(s, chain);
        } else if (vq->index == QUEUE_REPORTING) {
            report(s, chain);
        }
        /* Deflating needs nothing: the memory is there when it is touched. */
        virtqueue_push(vq, chain, 0);
        g_free(chain);
    }
}

static uint64_t guest_memory(const struct virtio_balloon *s)
{
    uint64_t taken = (uint64_t)s->actual << PAGE_SHIFT;

    return taken < s->vdev.hw->ram_size ? s->vdev.hw->ram_size - taken : 0;
}

static void put32(uint8_t *config, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(config, &value, 4);
}

static uint32_t get32(const uint8_t *config)
{
    uint32_t value;

    memcpy(&value, config, 4);
    return GUINT32_FROM_LE(value);
}

static void get_config(struct virtio_device *vdev, uint8_t *config)
{
    const struct virtio_balloon *s = self(vdev);

    put32(config + CONFIG_NUM_PAGES, s->num_pages);
    put32(config + CONFIG_ACTUAL, s->actual);
    put32(config + CONFIG_POISON, s->poison);
}

static void set_config(struct virtio_device *vdev, const uint8_t *config)
{
    struct virtio_balloon *s = self(vdev);
    const struct hw_context *hw = vdev->hw;
    uint32_t actual = get32(config + CONFIG_ACTUAL);

    if (virtio_has_feature(vdev, F_PAGE_POISON)) {
        s->poison = get32(config + CONFIG_POISON);
    }
    if (actual != s->actual) {
        struct qapi_balloon_change_event event;

        s->actual = actual;
        event.actual = (int64_t)guest_memory(s);
        if (hw->vm_ops && hw->vm_ops->events) {
            qapi_event_balloon_change(hw->vm_ops->events(hw->vm), &event);
        }
    }
}

static bool realize(struct virtio_device *vdev, GError **error)
{
    struct virtio_balloon *s = self(vdev);
    const uint16_t sizes[] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, REPORTING_QUEUE_SIZE};

    vdev->host_features = virtio_bit(F_STATS_VQ) |
                          (s->deflate_on_oom ? virtio_bit(F_DEFLATE_ON_OOM) : 0) |
                          (s->page_poison ? virtio_bit(F_PAGE_POISON) : 0) |
                          (s->reporting ? virtio_bit(F_REPORTING) : 0);
    virtio_make_queues(vdev, sizes, G_N_ELEMENTS(sizes) - !s->reporting);
    s->timer = timer_new(vdev->hw->loop, vdev->hw->clocks, CLOCK_VIRTUAL, ask_for_stats, s);
    memset(s->stats, 0xff, sizeof(s->stats));
    arm(s);
    return true;
}

static void unrealize(struct virtio_device *vdev)
{
    g_clear_pointer(&self(vdev)->timer, timer_free);
}

static const struct state_field fields[] = {
    STATE_FIELD(virtio_balloon, num_pages, STATE_U32, .keep = true),    /* what the user wants */
    STATE_FIELD(virtio_balloon, actual, STATE_U32),
    STATE_FIELD(virtio_balloon, poison, STATE_U32),
    STATE_ARRAY(virtio_balloon, stats, STATE_U64, .reset = UINT64_MAX),
    STATE_FIELD(virtio_balloon, last_update, STATE_U64),
};

static const struct state_table state = {
    .name = "virtio-balloon-device",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
};

static const struct virtio_class balloon_class = {
    .device_id = 5,
    .config_size = CONFIG_SIZE,
    .state = &state,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .handle = handle,
};

static const struct property properties[] = {
    PROPERTY("deflate-on-oom", virtio_balloon, deflate_on_oom, qapi_type_bool, "off",
             "The guest may take memory back when it has none left"),
    PROPERTY("page-poison", virtio_balloon, page_poison, qapi_type_bool, "on",
             "The guest tells what it fills free pages with"),
    PROPERTY("free-page-reporting", virtio_balloon, reporting, qapi_type_bool, "off",
             "The guest reports pages that it doesn't use"),
    PROPERTY("guest-stats-polling-interval", virtio_balloon, interval, qapi_type_int, "0",
             "Seconds between questions for guest-stats; 0: none", .flags = PROPERTY_RUNTIME,
             .set = set_interval, .changed = interval_changed),
    {.name = "guest-stats", .description = "What the guest told of its memory",
     .type = &qapi_type_balloon_guest_stats, .get = get_stats},
};

static const struct object_type balloon_type = {
    .name = "virtio-balloon-device",
    .parent = "virtio-device",
    .category = "Misc",
    .instance_size = sizeof(struct virtio_balloon),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &balloon_class,
};
OBJECT_TYPE(balloon_type);

/* ---- On PCI ---- */

static const struct virtio_pci_kind pci_kind = {0};
static const struct pci_class pci_class = VIRTIO_PCI_CLASS(0x1002, 0x00ff, pci_kind);
static const struct object_type pci_type = {
    .name = "virtio-balloon-pci",
    .parent = "virtio-pci",
    .category = "Misc",
    .proxied = "virtio-balloon-device",
    .class_data = &pci_class,
};
OBJECT_TYPE(pci_type);

/* ---- Commands ---- */

static bool find_balloon(struct object *obj, void *opaque)
{
    if (obj->completed && object_is(obj, "virtio-balloon-device")) {
        *(struct virtio_balloon **)opaque = (struct virtio_balloon *)obj;
    } else {
        object_foreach_child(obj, find_balloon, opaque);
    }
    return true;
}

static struct virtio_balloon *balloon_of(struct qmp_context *ctx, GError **error)
{
    struct virtio_balloon *found = NULL;

    object_foreach_child(ctx->root, find_balloon, &found);
    if (!found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_ACTIVE,
                    "No balloon device has been activated");
    }
    return found;
}

bool qmp_query_balloon(struct qmp_context *ctx, struct qapi_balloon_info *ret, GError **error)
{
    struct virtio_balloon *s = balloon_of(ctx, error);

    if (!s) {
        return false;
    }
    virtio_lock(&s->vdev);
    ret->actual = (int64_t)guest_memory(s);
    virtio_unlock(&s->vdev);
    return true;
}

bool qmp_balloon(struct qmp_context *ctx, const struct qapi_balloon_arg *arg, GError **error)
{
    struct virtio_balloon *s = balloon_of(ctx, error);
    uint64_t target;

    if (!s) {
        return false;
    }
    if (arg->value <= 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Parameter 'value' expects a size");
        return false;
    }
    virtio_lock(&s->vdev);
    target = MIN((uint64_t)arg->value, s->vdev.hw->ram_size);
    s->num_pages = (uint32_t)((s->vdev.hw->ram_size - target) >> PAGE_SHIFT);
    virtio_config_changed(&s->vdev);
    virtio_unlock(&s->vdev);
    return true;
}
