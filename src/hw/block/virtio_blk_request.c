/*
 * Requests of virtio-blk (virtio 1.2, 5.2.6): from chains of buffers to the block layer and back.
 *
 * Data isn't copied: the guest's memory is mapped, and is what the block layer reads and writes.
 * The reads (or writes) that come with one doorbell are sorted, and neighbours become one. If that
 * one fails its parts are tried alone, so that each gets its own answer.
 */
#include "hw/block/virtio_blk.h"

#include <errno.h>
#include <string.h>

#include "qapi/error.h"
#include "qapi/qapi_events.h"

enum {
    TYPE_IN = 0,
    TYPE_OUT = 1,
    TYPE_FLUSH = 4,
    TYPE_GET_ID = 8,
    TYPE_DISCARD = 11,
    TYPE_WRITE_ZEROES = 13,

    STATUS_OK = 0,
    STATUS_IOERR = 1,
    STATUS_UNSUPP = 2,

    FLAG_UNMAP = 1,                 /* of write zeroes */
    MAX_MERGED_IOV = 1024,
    MAX_EXTRA_MAPS = 8,             /* of segments that aren't in one piece of memory */
    /* Of a saved request: queue, id and slots, as 16 bits; both numbers of segments. */
    SAVED_HEAD = 3 * 2 + 2 * 4,
    SAVED_SEGMENT = 8 + 4,
};

/* A barrier, which drivers of old set; requests of one queue were in order then as they are now. */
static const uint32_t type_barrier = 0x80000000;

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

/* What is to be discarded or zeroed. */
struct range {
    uint64_t sector;
    uint32_t n_sectors, flags;
};

struct virtio_blk_request {
    struct block_request block;     /* first */
    struct virtio_blk *s;
    struct virtio_chain *chain;     /* owned */
    struct virtio_blk_request *merged;      /* the next one that block stands for, too */
    struct iovec *merged_iov;       /* owned: of all of them, in the first; NULL: not merged */
    struct block_accounting_cookie cookie;
    struct block_request own;       /* block as it is without the others */
    uint32_t n_iov, n_maps, max_maps;
    struct iovec *iov;              /* behind maps */
    struct dma_map maps[];
};

static struct virtio_blk *self(struct virtio_device *vdev)
{
    return (struct virtio_blk *)vdev;
}

static void submit(struct virtio_blk *s, struct virtio_blk_request *r);

/* ---- Making and freeing ---- */

static struct virtio_blk_request *new_request(struct virtio_blk *s, struct virtio_chain *chain,
                                              uint32_t n_segments)
{
    uint32_t n = n_segments ? n_segments + MAX_EXTRA_MAPS : 0;
    size_t maps = n * sizeof(struct dma_map), iov = n * sizeof(struct iovec);
    struct virtio_blk_request *r = g_malloc(sizeof(*r) + maps + iov);

    memset(r, 0, sizeof(*r));
    r->s = s;
    r->chain = chain;
    r->max_maps = n;
    r->iov = (struct iovec *)((uint8_t *)r->maps + maps);
    return r;
}

static void unmap(struct virtio_blk_request *r)
{
    for (uint32_t i = 0; i < r->n_maps; i++) {
        address_space_unmap(&r->maps[i], r->maps[i].is_write ? r->maps[i].size : 0);
    }
    r->n_maps = 0;
}

static void free_request(struct virtio_blk_request *r)
{
    unmap(r);
    g_free(r->merged_iov);
    g_free(r->chain);
    g_free(r);
}

/* One piece of memory; its size, or 0: it isn't memory, or there are too many pieces. */
static uint64_t map_piece(struct virtio_blk_request *r, bool is_write, uint64_t address,
                          uint64_t size)
{
    const struct virtio_device *vdev = &r->s->vdev;
    struct dma_map *map = &r->maps[r->n_maps];
    struct iovec *last = r->n_iov ? &r->iov[r->n_iov - 1] : NULL;

    if (r->n_maps == r->max_maps ||
        !address_space_map(vdev->hw->memory, address, size, is_write, vdev->attrs, map)) {
        return 0;
    }
    r->n_maps++;
    if (last && (uint8_t *)last->iov_base + last->iov_len == map->host) {
        last->iov_len += map->size;
    } else {
        r->iov[r->n_iov++] = (struct iovec){map->host, map->size};
    }
    return map->size;
}

/* The size bytes from offset on of the chain's readable or writable part. */
static bool map_data(struct virtio_blk_request *r, bool is_write, uint64_t offset, uint64_t size)
{
    const struct virtio_chain *chain = r->chain;
    const struct virtio_segment *segment = chain->segments + (is_write ? chain->n_out : 0);
    uint64_t n;

    for (; size; size -= n, offset += n) {
        for (; offset >= segment->size; segment++) {
            offset -= segment->size;
        }
        n = map_piece(r, is_write, segment->address + offset,
                      MIN(segment->size - offset, size));
        if (n == 0) {
            virtio_broken(&r->s->vdev, "queue %u: a buffer at 0x%" PRIx64 " isn't in memory",
                          chain->vq->index, segment->address);
            return false;
        }
    }
    return true;
}

/* ---- Ends ---- */

/* The answer to the driver; the request is gone then. */
static void answer(struct virtio_blk_request *r, uint8_t status)
{
    struct virtio_chain *chain = r->chain;

    unmap(r);       /* the data is there before the driver hears of it */
    virtio_chain_write(chain, chain->in_size - 1, &status, sizeof(status));
    virtqueue_push(chain->vq, chain, chain->in_size);
    free_request(r);
}

/* The same for a chain that no request was made of. */
static void answer_chain(struct virtio_chain *chain, uint8_t status)
{
    virtio_chain_write(chain, chain->in_size - 1, &status, sizeof(status));
    virtqueue_push(chain->vq, chain, chain->in_size);
    g_free(chain);
}

static void send_error_event(struct virtio_blk *s, bool is_read, int error,
                             enum qapi_block_error_action action)
{
    const struct hw_context *hw = s->vdev.hw;
    const char *name = block_user_name(s->user);
    struct qapi_block_io_error_event event = {
        .qom_path = s->path,
        .device = (char *)(name ? name : ""),
        .node_name = s->node_name,
        .operation = is_read ? QAPI_IO_OPERATION_TYPE_READ : QAPI_IO_OPERATION_TYPE_WRITE,
        .action = action,
        .has_nospace = action == QAPI_BLOCK_ERROR_ACTION_STOP,
        .nospace = error == ENOSPC,
        .reason = (char *)g_strerror(error),
    };

    if (hw->vm_ops && hw->vm_ops->events) {
        qapi_event_block_io_error(hw->vm_ops->events(hw->vm), &event);
    }
}

static enum qapi_block_error_action error_action(const struct virtio_blk *s, bool is_read,
                                                 int error)
{
    switch (is_read ? s->rerror : s->werror) {
    case QAPI_BLOCKDEV_ON_ERROR_IGNORE: return QAPI_BLOCK_ERROR_ACTION_IGNORE;
    case QAPI_BLOCKDEV_ON_ERROR_STOP: return QAPI_BLOCK_ERROR_ACTION_STOP;
    case QAPI_BLOCKDEV_ON_ERROR_ENOSPC:
        return error == ENOSPC ? QAPI_BLOCK_ERROR_ACTION_STOP : QAPI_BLOCK_ERROR_ACTION_REPORT;
    default: return QAPI_BLOCK_ERROR_ACTION_REPORT;
    }
}

/* What the operator wants of a request that failed. */
static void fail(struct virtio_blk *s, struct virtio_blk_request *r, int error)
{
    const struct hw_context *hw = s->vdev.hw;
    bool is_read = r->block.op == BLOCK_READ;
    enum qapi_block_error_action action = error_action(s, is_read, error);

    send_error_event(s, is_read, error, action);
    switch (action) {
    case QAPI_BLOCK_ERROR_ACTION_STOP:
        block_user_set_io_error(s->user, error);
        g_queue_push_tail(&s->failed, g_steal_pointer(&r->chain));
        free_request(r);
        if (hw->vm_ops && hw->vm_ops->stop) {
            hw->vm_ops->stop(hw->vm, QAPI_RUN_STATE_IO_ERROR);
        }
        break;
    case QAPI_BLOCK_ERROR_ACTION_IGNORE:
        block_accounting_done(s->accounting, &r->cookie);
        answer(r, STATUS_OK);
        break;
    default:
        block_accounting_failed(s->accounting, &r->cookie);
        answer(r, STATUS_IOERR);
        break;
    }
}

/* With the lock. */
static void finish(struct virtio_blk *s, struct virtio_blk_request *first)
{
    int result = first->block.result;
    struct virtio_blk_request *next;

    if (result < 0 && first->merged) {
        for (struct virtio_blk_request *r = first; r; r = next) {
            next = r->merged;
            r->merged = NULL;
            r->block = r->own;
            submit(s, r);
        }
        return;
    }
    for (struct virtio_blk_request *r = first; r; r = next) {
        next = r->merged;
        r->merged = NULL;
        if (result < 0) {
            fail(s, r, -result);
        } else {
            block_accounting_done(s->accounting, &r->cookie);
            answer(r, STATUS_OK);
        }
    }
}

static void request_done(struct block_request *block)
{
    struct virtio_blk_request *r = (struct virtio_blk_request *)block;
    struct virtqueue *vq = r->chain->vq;
    struct virtio_blk *s = r->s;
    /* Then this thread has the lock, and whoever submits cares for the interrupt. */
    bool nested = s->submitting;

    if (!nested) {
        virtio_lock(&s->vdev);
    }
    finish(s, r);
    if (--s->in_flight == 0) {
        g_cond_broadcast(&s->idle);
    }
    if (!nested) {
        virtqueue_notify(vq);
        virtio_unlock(&s->vdev);
    }
}

/* ---- To the block layer ---- */

static void submit(struct virtio_blk *s, struct virtio_blk_request *r)
{
    bool nested = s->submitting;

    s->in_flight++;
    s->submitting = true;
    block_submit(s->user, &r->block);
    s->submitting = nested;
}

/* A write that must not stay in a cache. */
static unsigned write_flags(const struct virtio_blk *s)
{
    return s->write_back ? 0 : BLOCK_FUA;
}

/* Requests first to last - 1 of the batch, which follow each other on the disk, as one. */
static void submit_merged(struct virtio_blk *s, struct virtio_blk_batch *batch, unsigned first,
                          unsigned last, uint32_t n_iov)
{
    struct virtio_blk_request *head = batch->requests[first];
    uint32_t at = 0;

    if (last - first > 1) {
        head->merged_iov = g_new(struct iovec, n_iov);
        for (unsigned i = first; i < last; i++) {
            struct virtio_blk_request *r = batch->requests[i];

            memcpy(head->merged_iov + at, r->iov, r->n_iov * sizeof(*r->iov));
            at += r->n_iov;
            r->merged = i + 1 < last ? batch->requests[i + 1] : NULL;
            if (i > first) {
                head->block.bytes += r->block.bytes;
            }
        }
        head->block.buffer = (struct block_buffer){head->merged_iov, n_iov, 0};
        block_accounting_merged(s->accounting, head->cookie.kind, last - first - 1);
    }
    submit(s, head);
}

/* By their places on the disk; there are few, and mostly they are in order. */
static void sort(struct virtio_blk_batch *batch)
{
    for (unsigned i = 1; i < batch->n; i++) {
        struct virtio_blk_request *r = batch->requests[i];
        unsigned at = i;

        for (; at && batch->requests[at - 1]->block.offset > r->block.offset; at--) {
            batch->requests[at] = batch->requests[at - 1];
        }
        batch->requests[at] = r;
    }
}

static void submit_batch(struct virtio_blk *s, struct virtio_blk_batch *batch)
{
    const struct block_limits *limits = block_user_limits(s->user);
    uint32_t max_iov = limits->max_iov ? MIN(limits->max_iov, MAX_MERGED_IOV) : MAX_MERGED_IOV;
    uint64_t max_bytes = limits->max_transfer ? limits->max_transfer : INT32_MAX;
    unsigned last;

    if (s->request_merging) {
        sort(batch);
    }
    for (unsigned first = 0; first < batch->n; first = last) {
        const struct virtio_blk_request *r = batch->requests[first];
        uint64_t bytes = r->block.bytes;
        uint32_t n_iov = r->n_iov;

        for (last = first + 1; s->request_merging && last < batch->n; last++) {
            const struct virtio_blk_request *next = batch->requests[last];

            if (r->block.offset + bytes != next->block.offset || n_iov + next->n_iov > max_iov ||
                bytes + next->block.bytes > max_bytes) {
                break;
            }
            bytes += next->block.bytes;
            n_iov += next->n_iov;
        }
        submit_merged(s, batch, first, last, n_iov);
    }
    batch->n = 0;
}

static void add_to_batch(struct virtio_blk *s, struct virtio_blk_batch *batch,
                         struct virtio_blk_request *r)
{
    if (batch->n && (batch->n == VIRTIO_BLK_MAX_BATCH ||
                     batch->requests[0]->block.op != r->block.op)) {
        submit_batch(s, batch);
    }
    batch->requests[batch->n++] = r;
}

/* ---- What the driver asks for ---- */

/* Whole blocks on the disk; *offset in bytes. */
static bool check_range(const struct virtio_blk *s, uint64_t sector, uint64_t bytes,
                        uint64_t *offset)
{
    if (sector > s->length / VIRTIO_BLK_SECTOR || bytes % s->logical_block_size) {
        return false;
    }
    *offset = sector * VIRTIO_BLK_SECTOR;
    return *offset % s->logical_block_size == 0 && bytes <= s->length - *offset;
}

static void start_request(struct virtio_blk_request *r, enum block_op op, uint64_t offset,
                          uint64_t bytes, unsigned flags, enum block_accounting_kind kind)
{
    r->block = (struct block_request){
        .op = op, .flags = flags, .offset = offset, .bytes = bytes,
        .buffer = {r->iov, r->n_iov, 0}, .done = request_done};
    r->own = r->block;
    block_accounting_start(r->s->accounting, &r->cookie, bytes, kind);
}

static void read_or_write(struct virtio_blk *s, struct virtio_blk_batch *batch,
                          struct virtio_chain *chain, bool is_write, uint64_t sector)
{
    enum block_accounting_kind kind = is_write ? BLOCK_ACCOUNTING_WRITE : BLOCK_ACCOUNTING_READ;
    uint64_t bytes = is_write ? chain->out_size - sizeof(struct header) : chain->in_size - 1;
    struct virtio_blk_request *r;
    uint64_t offset;

    if (!check_range(s, sector, bytes, &offset) || (is_write && s->read_only)) {
        block_accounting_invalid(s->accounting, kind);
        answer_chain(chain, STATUS_IOERR);
        return;
    }
    if (bytes == 0) {
        answer_chain(chain, STATUS_OK);
        return;
    }
    r = new_request(s, chain, is_write ? chain->n_out : chain->n_in);
    if (!map_data(r, !is_write, is_write ? sizeof(struct header) : 0, bytes)) {
        free_request(r);        /* the device is broken: nothing is answered any more */
        return;
    }
    start_request(r, is_write ? BLOCK_WRITE : BLOCK_READ, offset, bytes,
                  (is_write ? write_flags(s) : 0) | BLOCK_REGISTERED, kind);
    add_to_batch(s, batch, r);
}

static void flush(struct virtio_blk *s, struct virtio_chain *chain)
{
    struct virtio_blk_request *r = new_request(s, chain, 0);

    start_request(r, BLOCK_FLUSH, 0, 0, 0, BLOCK_ACCOUNTING_FLUSH);
    submit(s, r);
}

/* One range of sectors; more were not offered (max_discard_seg, max_write_zeroes_seg). */
static void discard_or_zero(struct virtio_blk *s, struct virtio_chain *chain, bool is_discard)
{
    enum block_accounting_kind kind = is_discard ? BLOCK_ACCOUNTING_UNMAP
                                                 : BLOCK_ACCOUNTING_WRITE;
    uint32_t max = is_discard ? s->max_discard_sectors : s->max_write_zeroes_sectors;
    struct virtio_blk_request *r;
    struct range range;
    uint64_t offset, bytes;
    uint32_t n, flags;

    if (!virtio_has_feature(&s->vdev,
                            is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES) ||
        chain->out_size != sizeof(struct header) + sizeof(range)) {
        answer_chain(chain, STATUS_UNSUPP);
        return;
    }
    if (virtio_chain_read(chain, sizeof(struct header), &range, sizeof(range)) < sizeof(range)) {
        g_free(chain);
        return;
    }
    n = GUINT32_FROM_LE(range.n_sectors);
    bytes = (uint64_t)n * VIRTIO_BLK_SECTOR;
    flags = GUINT32_FROM_LE(range.flags);
    if (flags & (is_discard ? UINT32_MAX : ~(uint32_t)FLAG_UNMAP)) {
        answer_chain(chain, STATUS_UNSUPP);
        return;
    }
    if (n > max || !check_range(s, GUINT64_FROM_LE(range.sector), bytes, &offset)) {
        block_accounting_invalid(s->accounting, kind);
        answer_chain(chain, STATUS_IOERR);
        return;
    }
    if (n == 0) {
        answer_chain(chain, STATUS_OK);
        return;
    }
    r = new_request(s, chain, 0);
    if (is_discard) {
        start_request(r, BLOCK_DISCARD, offset, bytes, 0, kind);
    } else {
        start_request(r, BLOCK_WRITE_ZEROES, offset, bytes,
                      write_flags(s) | (flags & FLAG_UNMAP ? BLOCK_MAY_UNMAP : 0), kind);
    }
    submit(s, r);
}

static void get_id(struct virtio_blk *s, struct virtio_chain *chain)
{
    char id[VIRTIO_BLK_ID_SIZE] = "";

    memcpy(id, s->serial ? s->serial : "", s->serial ? MIN(strlen(s->serial), sizeof(id)) : 0);
    virtio_chain_write(chain, 0, id, MIN(sizeof(id), chain->in_size - 1));
    answer_chain(chain, STATUS_OK);
}

static void handle_chain(struct virtio_blk *s, struct virtio_blk_batch *batch,
                         struct virtio_chain *chain)
{
    struct header header;
    uint32_t type;

    if (chain->out_size < sizeof(header) || chain->in_size < 1) {
        virtio_broken(&s->vdev, "queue %u: a request without header or status", chain->vq->index);
        g_free(chain);
        return;
    }
    if (virtio_chain_read(chain, 0, &header, sizeof(header)) < sizeof(header)) {
        g_free(chain);
        return;
    }
    type = GUINT32_FROM_LE(header.type) & ~type_barrier;
    if (type != TYPE_IN && type != TYPE_OUT) {
        submit_batch(s, batch);
    }
    switch (type) {
    case TYPE_IN:
    case TYPE_OUT:
        read_or_write(s, batch, chain, type == TYPE_OUT, GUINT64_FROM_LE(header.sector));
        break;
    case TYPE_FLUSH: flush(s, chain); break;
    case TYPE_GET_ID: get_id(s, chain); break;
    case TYPE_DISCARD:
    case TYPE_WRITE_ZEROES: discard_or_zero(s, chain, type == TYPE_DISCARD); break;
    default: answer_chain(chain, STATUS_UNSUPP); break;
    }
}

void virtio_blk_handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_blk *s = self(vdev);
    struct virtio_blk_batch batch = {.n = 0};
    struct virtio_chain *chain;

    while (!s->held && (chain = virtqueue_pop(vq))) {
        handle_chain(s, &batch, chain);
    }
    submit_batch(s, &batch);
}

/* ---- Those that failed ---- */

void virtio_blk_retry(struct virtio_blk *s)
{
    struct virtio_blk_batch batch = {.n = 0};
    GQueue failed = s->failed;
    struct virtio_chain *chain;

    g_queue_init(&s->failed);
    while ((chain = g_queue_pop_head(&failed))) {
        handle_chain(s, &batch, chain);
    }
    submit_batch(s, &batch);
    for (uint32_t i = 0; i < s->vdev.n_queues; i++) {
        virtqueue_notify(&s->vdev.queues[i]);
    }
}

void virtio_blk_forget_failed(struct virtio_blk *s, const struct virtqueue *vq)
{
    GQueue failed = s->failed;
    struct virtio_chain *chain;

    g_queue_init(&s->failed);
    while ((chain = g_queue_pop_head(&failed))) {
        if (!vq || chain->vq == vq) {
            g_free(chain);
        } else {
            g_queue_push_tail(&s->failed, chain);
        }
    }
}

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    value = GUINT64_TO_LE(value);
    g_byte_array_append(out, (const uint8_t *)&value, size);
}

static uint64_t take(const uint8_t **at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, *at, size);
    *at += size;
    return GUINT64_FROM_LE(value);
}

void virtio_blk_save_failed(struct virtio_blk *s)
{
    GByteArray *out = g_byte_array_new();

    for (const GList *link = s->failed.head; link; link = link->next) {
        const struct virtio_chain *chain = link->data;

        put(out, chain->vq->index, 2);
        put(out, chain->id, 2);
        put(out, chain->slots, 2);
        put(out, chain->n_out, 4);
        put(out, chain->n_in, 4);
        for (uint32_t i = 0; i < chain->n_out + chain->n_in; i++) {
            put(out, chain->segments[i].address, 8);
            put(out, chain->segments[i].size, 4);
        }
    }
    g_free(s->saved);
    s->saved_size = out->len;
    s->saved = g_byte_array_free(out, FALSE);
}

/* The next saved chain; NULL: it can't be. */
static struct virtio_chain *load_chain(struct virtio_blk *s, const uint8_t **at, size_t left)
{
    g_autofree struct virtio_chain *chain = NULL;
    struct virtio_chain head;
    uint32_t queue;
    uint64_t n;

    if (left < SAVED_HEAD) {
        return NULL;
    }
    queue = (uint32_t)take(at, 2);
    head = (struct virtio_chain){.id = (uint16_t)take(at, 2), .slots = (uint16_t)take(at, 2)};
    head.n_out = (uint32_t)take(at, 4);
    head.n_in = (uint32_t)take(at, 4);
    head.vq = virtio_queue(&s->vdev, queue);
    n = (uint64_t)head.n_out + head.n_in;
    if (!head.vq || head.id >= head.vq->size || head.slots == 0 ||
        head.slots > head.vq->in_flight || n > VIRTIO_MAX_SEGMENTS ||
        n * SAVED_SEGMENT > left - SAVED_HEAD) {
        return NULL;
    }
    chain = g_malloc(sizeof(head) + n * sizeof(struct virtio_segment));
    *chain = head;
    for (uint32_t i = 0; i < n; i++) {
        struct virtio_segment segment = {take(at, 8), (uint32_t)take(at, 4)};

        if (segment.size == 0 || segment.address + segment.size < segment.size) {
            return NULL;
        }
        chain->segments[i] = segment;
        *(i < head.n_out ? &chain->out_size : &chain->in_size) += segment.size;
    }
    return g_steal_pointer(&chain);
}

bool virtio_blk_load_failed(struct virtio_blk *s, GError **error)
{
    const uint8_t *at = s->saved, *end = at + s->saved_size;

    virtio_blk_forget_failed(s, NULL);
    while (at < end) {
        struct virtio_chain *chain = load_chain(s, &at, (size_t)(end - at));

        if (!chain) {
            virtio_blk_forget_failed(s, NULL);
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "%s: its saved requests can't be", s->vdev.device.object.name);
            return false;
        }
        g_queue_push_tail(&s->failed, chain);
    }
    g_clear_pointer(&s->saved, g_free);
    s->saved_size = 0;
    return true;
}
