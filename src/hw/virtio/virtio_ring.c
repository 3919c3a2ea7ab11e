/*
 * Split and packed rings (virtio 1.2, 2.7 and 2.8), the device's side.
 *
 * The driver may change its memory at any time. So each word is read once, into a variable, and
 * what is checked is that variable. All loops are bounded by sizes that the device chose or
 * checked.
 */
#include "hw/virtio/virtio_priv.h"

#include <string.h>

enum {
    DESC_SIZE = 16,
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
    DESC_AVAIL = 1 << 7,            /* packed */
    DESC_USED = 1 << 15,

    /* Split: avail and used ring. */
    RING_FLAGS = 0,
    RING_INDEX = 2,
    RING_ENTRIES = 4,
    AVAIL_NO_INTERRUPT = 1,
    USED_NO_NOTIFY = 1,

    /* Packed: the driver's and the device's event suppression area. */
    EVENT_OFFSET = 0,
    EVENT_FLAGS = 2,
    EVENT_ENABLE = 0,
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,
    EVENT_WRAP = 1 << 15,
};

static const uint64_t max_chain_bytes = 1ull << 32;     /* 2.7.5 */

struct desc {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;                  /* packed: the buffer's id */
};

/* In a packed ring the last two words are the other way round (2.8.13). */
enum { PACKED_ID = 12, PACKED_FLAGS = 14 };

static bool is_packed(const struct virtqueue *vq)
{
    return virtio_has_feature(vq->vdev, VIRTIO_F_RING_PACKED);
}

static bool has_event_index(const struct virtqueue *vq)
{
    return virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX);
}

static bool is_live(const struct virtqueue *vq)
{
    return vq->ready && virtio_is_live(vq->vdev);
}

/* ---- Memory of the ring ---- */

static bool not_memory(const struct virtqueue *vq, uint64_t address)
{
    virtio_broken(vq->vdev, "queue %u: its ring at 0x%" PRIx64 " isn't in memory", vq->index,
                  address);
    return false;
}

static bool read_ring(const struct virtqueue *vq, uint64_t address, void *data, uint64_t size)
{
    return virtio_dma_read(vq->vdev, address, data, size) || not_memory(vq, address);
}

static bool write_ring(const struct virtqueue *vq, uint64_t address, const void *data,
                       uint64_t size)
{
    return virtio_dma_write(vq->vdev, address, data, size) || not_memory(vq, address);
}

/* What the driver wrote before it wrote this word is seen by reads after it. */
static bool load16(const struct virtqueue *vq, uint64_t address, uint16_t *value)
{
    bool ok = read_ring(vq, address, value, sizeof(*value));

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *value = GUINT16_FROM_LE(*value);
    return ok;
}

/* The driver sees what was written before once it sees this word. */
static bool store16(const struct virtqueue *vq, uint64_t address, uint16_t value)
{
    uint16_t little = GUINT16_TO_LE(value);

    __atomic_thread_fence(__ATOMIC_RELEASE);
    return write_ring(vq, address, &little, sizeof(little));
}

static bool read_desc(const struct virtqueue *vq, uint64_t address, struct desc *desc)
{
    if (!read_ring(vq, address, desc, sizeof(*desc))) {
        return false;
    }
    desc->address = GUINT64_FROM_LE(desc->address);
    desc->size = GUINT32_FROM_LE(desc->size);
    desc->flags = GUINT16_FROM_LE(desc->flags);
    desc->next = GUINT16_FROM_LE(desc->next);
    if (is_packed(vq)) {
        uint16_t id = desc->flags;

        desc->flags = desc->next;
        desc->next = id;
    }
    return true;
}

bool virtqueue_check_addresses(struct virtqueue *vq)
{
    bool packed = is_packed(vq);
    const struct {
        uint64_t address, size;
        unsigned align;
    } parts[] = {
        {vq->desc, (uint64_t)DESC_SIZE * vq->size, 16},
        {vq->avail, packed ? 4 : 6 + 2ull * vq->size, packed ? 4 : 2},
        {vq->used, packed ? 4 : 6 + 8ull * vq->size, 4},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (parts[i].address % parts[i].align || parts[i].address + parts[i].size < parts[i].size) {
            virtio_broken(vq->vdev, "queue %u: a part of its ring can't be at 0x%" PRIx64,
                          vq->index, parts[i].address);
            return false;
        }
    }
    return true;
}

bool virtqueue_is_sane(const struct virtqueue *vq)
{
    if (vq->size > vq->max_size || vq->in_flight > vq->size || (vq->ready && vq->size == 0) ||
        vq->legacy_align == 0 || (vq->legacy_align & (vq->legacy_align - 1))) {
        return false;
    }
    if (is_packed(vq)) {
        return !vq->ready || (vq->last_avail < vq->size && vq->used_index < vq->size);
    }
    return (vq->size & (vq->size - 1)) == 0;
}

/* ---- Chains ---- */

struct builder {
    struct virtqueue *vq;
    uint32_t n_out, n_in;
    uint64_t out_size, in_size;
    struct virtio_segment segments[VIRTIO_MAX_SEGMENTS];
};

static bool bad_chain(const struct virtqueue *vq, const char *what)
{
    virtio_broken(vq->vdev, "queue %u: %s", vq->index, what);
    return false;
}

static bool add_segment(struct builder *b, const struct desc *desc)
{
    if (b->n_out + b->n_in == VIRTIO_MAX_SEGMENTS) {
        return bad_chain(b->vq, "a chain of too many descriptors");
    }
    if (desc->size == 0) {
        return bad_chain(b->vq, "a buffer of no bytes");
    }
    if (desc->address + desc->size < desc->size) {
        return bad_chain(b->vq, "a buffer beyond the end of memory");
    }
    b->segments[b->n_out + b->n_in] = (struct virtio_segment){desc->address, desc->size};
    if (desc->flags & DESC_WRITE) {
        b->n_in++;
        b->in_size += desc->size;
    } else if (b->n_in) {
        return bad_chain(b->vq, "a readable buffer behind a writable one");
    } else {
        b->n_out++;
        b->out_size += desc->size;
    }
    if (b->out_size + b->in_size > max_chain_bytes) {
        return bad_chain(b->vq, "a chain of more than 4 GiB");
    }
    return true;
}

/* Whether an indirect table may come here and how many descriptors it has. */
static bool check_table(struct builder *b, const struct desc *desc, uint32_t *count)
{
    if (!virtio_has_feature(b->vq->vdev, VIRTIO_F_INDIRECT_DESC)) {
        return bad_chain(b->vq, "an indirect descriptor, which wasn't negotiated");
    }
    if (desc->flags & DESC_NEXT) {
        return bad_chain(b->vq, "an indirect descriptor that isn't the last of its chain");
    }
    if (desc->size == 0 || desc->size % DESC_SIZE || desc->address + desc->size < desc->size) {
        return bad_chain(b->vq, "a table of indirect descriptors that can't be");
    }
    *count = desc->size / DESC_SIZE;
    return true;
}

/* From number head of count descriptors at table on, by their next members. */
static bool follow_split(struct builder *b, uint64_t table, uint32_t count, uint16_t head)
{
    bool indirect = false;
    uint32_t steps = 0;
    struct desc desc;

    for (;;) {
        if (head >= count) {
            return bad_chain(b->vq, "the number of a descriptor that isn't there");
        }
        if (steps++ == count) {
            return bad_chain(b->vq, "a chain that is a circle");
        }
        if (!read_desc(b->vq, table + (uint64_t)DESC_SIZE * head, &desc)) {
            return false;
        }
        if (desc.flags & DESC_INDIRECT) {
            if (indirect) {
                return bad_chain(b->vq, "an indirect descriptor in an indirect table");
            }
            if (!check_table(b, &desc, &count)) {
                return false;
            }
            indirect = true;
            table = desc.address;
            head = 0;
            steps = 0;
            continue;
        }
        if (!add_segment(b, &desc)) {
            return false;
        }
        if (!(desc.flags & DESC_NEXT)) {
            return true;
        }
        head = desc.next;
    }
}

/* A packed ring's table: all of its descriptors in their order (2.8.8). */
static bool add_packed_table(struct builder *b, const struct desc *desc)
{
    uint32_t count;
    struct desc entry;

    if (!check_table(b, desc, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!read_desc(b->vq, desc->address + (uint64_t)DESC_SIZE * i, &entry)) {
            return false;
        }
        if (entry.flags & DESC_INDIRECT) {
            return bad_chain(b->vq, "an indirect descriptor in an indirect table");
        }
        if (!add_segment(b, &entry)) {
            return false;
        }
    }
    return true;
}

/* The chain at the ring's next place; *slots: its descriptors there. */
static bool follow_packed(struct builder *b, uint16_t *id, uint16_t *slots)
{
    struct virtqueue *vq = b->vq;
    uint16_t at = vq->last_avail;
    struct desc desc;

    for (*slots = 0; *slots < vq->size; at = at + 1 == vq->size ? 0 : at + 1) {
        if (!read_desc(vq, vq->desc + (uint64_t)DESC_SIZE * at, &desc)) {
            return false;
        }
        (*slots)++;
        *id = desc.next;
        if (!(desc.flags & DESC_INDIRECT ? add_packed_table(b, &desc) : add_segment(b, &desc))) {
            return false;
        }
        if (!(desc.flags & DESC_NEXT)) {
            return true;
        }
    }
    return bad_chain(vq, "a chain that is longer than its ring");
}

static struct virtio_chain *finish(const struct builder *b, uint16_t id, uint16_t slots)
{
    size_t bytes = (b->n_out + b->n_in) * sizeof(struct virtio_segment);
    struct virtio_chain *chain = g_malloc(sizeof(*chain) + bytes);

    *chain = (struct virtio_chain){
        .vq = b->vq, .id = id, .slots = slots, .n_out = b->n_out, .n_in = b->n_in,
        .out_size = b->out_size, .in_size = b->in_size};
    memcpy(chain->segments, b->segments, bytes);
    return chain;
}

/* ---- Taking chains ---- */

/* How many chains are waiting in the split ring; false: none can be taken. */
static bool split_available(struct virtqueue *vq, uint16_t *count)
{
    uint16_t index;

    if (!load16(vq, vq->avail + RING_INDEX, &index)) {
        return false;
    }
    *count = (uint16_t)(index - vq->last_avail);
    if (*count > vq->size) {
        return bad_chain(vq, "more chains than its ring has");
    }
    return *count > 0;
}

/* Whether the descriptor at the packed ring's next place is the driver's offer (2.8.1). */
static bool packed_available(struct virtqueue *vq)
{
    uint16_t flags;

    if (!load16(vq, vq->desc + (uint64_t)DESC_SIZE * vq->last_avail + PACKED_FLAGS, &flags)) {
        return false;
    }
    return !!(flags & DESC_AVAIL) == vq->avail_wrap && !!(flags & DESC_USED) != vq->avail_wrap;
}

bool virtqueue_is_empty(struct virtqueue *vq)
{
    uint16_t count;

    return !is_live(vq) || !(is_packed(vq) ? packed_available(vq) : split_available(vq, &count));
}

static void move_packed(const struct virtqueue *vq, uint16_t *index, bool *wrap, int by)
{
    int to = *index + by;

    if (to < 0 || to >= vq->size) {
        to += to < 0 ? vq->size : -vq->size;
        *wrap = !*wrap;
    }
    *index = (uint16_t)to;
}

static struct virtio_chain *pop_split(struct virtqueue *vq)
{
    struct builder b;
    uint16_t count, head;

    b.vq = vq;
    b.n_out = b.n_in = 0;
    b.out_size = b.in_size = 0;
    if (!split_available(vq, &count) ||
        !load16(vq, vq->avail + RING_ENTRIES + 2ull * (vq->last_avail % vq->size), &head) ||
        !follow_split(&b, vq->desc, vq->size, head)) {
        return NULL;
    }
    vq->last_avail++;
    return finish(&b, head, 1);
}

static struct virtio_chain *pop_packed(struct virtqueue *vq)
{
    struct builder b;
    uint16_t id, slots;

    b.vq = vq;
    b.n_out = b.n_in = 0;
    b.out_size = b.in_size = 0;
    if (!packed_available(vq) || !follow_packed(&b, &id, &slots)) {
        return NULL;
    }
    if (id >= vq->size) {
        bad_chain(vq, "a buffer's id that can't be");
        return NULL;
    }
    move_packed(vq, &vq->last_avail, &vq->avail_wrap, slots);
    return finish(&b, id, slots);
}

struct virtio_chain *virtqueue_pop(struct virtqueue *vq)
{
    struct virtio_chain *chain;

    if (!is_live(vq) || vq->budget == 0) {
        return NULL;
    }
    chain = is_packed(vq) ? pop_packed(vq) : pop_split(vq);
    if (!chain) {
        return NULL;
    }
    if (vq->in_flight + chain->slots > vq->size) {
        bad_chain(vq, "more chains than its ring has");
        g_free(chain);
        return NULL;
    }
    vq->in_flight = (uint16_t)(vq->in_flight + chain->slots);
    vq->budget--;
    return chain;
}

void virtqueue_rewind(struct virtqueue *vq, const struct virtio_chain *chain)
{
    g_assert(vq->in_flight >= chain->slots);
    vq->in_flight = (uint16_t)(vq->in_flight - chain->slots);
    vq->budget++;
    if (is_packed(vq)) {
        move_packed(vq, &vq->last_avail, &vq->avail_wrap, -(int)chain->slots);
    } else {
        vq->last_avail--;
    }
}

uint64_t virtqueue_room(struct virtqueue *vq)
{
    g_autofree struct virtio_chain *chain = NULL;
    uint16_t budget = vq->budget;

    if (vq->vdev->stands) {
        return 0;
    }
    vq->budget = 1;
    chain = virtqueue_pop(vq);
    if (chain) {
        virtqueue_rewind(vq, chain);
    }
    vq->budget = budget;
    return chain ? chain->in_size : 0;
}

/* ---- Giving them back ---- */

/* Entries first, then the index by which the driver sees all of them. */
static bool push_split(struct virtqueue *vq, const struct virtio_chain *const *chains,
                       const uint32_t *written, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t entry[] = {GUINT32_TO_LE(chains[i]->id), GUINT32_TO_LE(written[i])};
        uint64_t address = vq->used + RING_ENTRIES + 8ull * (vq->used_index % vq->size);

        if (!write_ring(vq, address, entry, sizeof(entry))) {
            return false;
        }
        vq->used_index++;
        if (vq->used_index == vq->signalled_used) {
            vq->signalled_valid = false;    /* once around: the distance can't be told any more */
        }
    }
    return store16(vq, vq->used + RING_INDEX, vq->used_index);
}

static bool write_packed(struct virtqueue *vq, uint16_t index, bool wrap,
                         const struct virtio_chain *chain, uint32_t written)
{
    uint64_t address = vq->desc + (uint64_t)DESC_SIZE * index;
    uint16_t flags = wrap ? DESC_AVAIL | DESC_USED : 0;
    uint32_t size = GUINT32_TO_LE(written);
    uint16_t id = GUINT16_TO_LE(chain->id);

    if (written) {
        flags |= DESC_WRITE;
    }
    return write_ring(vq, address + offsetof(struct desc, size), &size, sizeof(size)) &&
           write_ring(vq, address + PACKED_ID, &id, sizeof(id)) &&
           store16(vq, address + PACKED_FLAGS, flags);
}

/* The last comes first, so that the driver, which waits for the first, sees all of them then. */
static bool push_packed(struct virtqueue *vq, const struct virtio_chain *const *chains,
                        const uint32_t *written, unsigned n)
{
    unsigned slots = 0;
    uint16_t index;
    bool wrap;

    for (unsigned i = 0; i < n; i++) {
        move_packed(vq, &vq->used_index, &vq->used_wrap, chains[i]->slots);
        slots += chains[i]->slots;
    }
    index = vq->used_index;
    wrap = vq->used_wrap;
    if (index < slots) {
        vq->signalled_valid = false;        /* as above */
    }
    for (unsigned i = n; i-- > 0;) {
        move_packed(vq, &index, &wrap, -(int)chains[i]->slots);
        if (!write_packed(vq, index, wrap, chains[i], written[i])) {
            return false;
        }
    }
    return true;
}

void virtqueue_push_all(struct virtqueue *vq, const struct virtio_chain *const *chains,
                        const uint32_t *written, unsigned n)
{
    unsigned slots = 0;

    for (unsigned i = 0; i < n; i++) {
        slots += chains[i]->slots;
    }
    if (n == 0 || !is_live(vq) || vq->in_flight < slots) {
        return;         /* it was reset meanwhile: the chains are nobody's */
    }
    vq->in_flight = (uint16_t)(vq->in_flight - slots);
    if (is_packed(vq) ? push_packed(vq, chains, written, n) : push_split(vq, chains, written, n)) {
        vq->pushed = true;
    }
}

void virtqueue_push(struct virtqueue *vq, const struct virtio_chain *chain, uint64_t written)
{
    uint32_t size = (uint32_t)MIN(written, UINT32_MAX);

    virtqueue_push_all(vq, &chain, &size, 1);
}

/* ---- Notifications ---- */

/* Whether going from old to new passed event (2.7.7.1). */
static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool split_wants_interrupt(struct virtqueue *vq, bool valid, uint16_t old)
{
    uint16_t flags, event;

    if (virtio_has_feature(vq->vdev, VIRTIO_F_NOTIFY_ON_EMPTY) && vq->in_flight == 0 &&
        virtqueue_is_empty(vq)) {
        return true;
    }
    if (!has_event_index(vq)) {
        return load16(vq, vq->avail + RING_FLAGS, &flags) && !(flags & AVAIL_NO_INTERRUPT);
    }
    return load16(vq, vq->avail + RING_ENTRIES + 2ull * vq->size, &event) &&
           (!valid || passed(event, vq->used_index, old));
}

static bool packed_wants_interrupt(struct virtqueue *vq, bool valid, uint16_t old)
{
    uint16_t flags, event, offset;

    if (!load16(vq, vq->avail + EVENT_FLAGS, &flags)) {
        return false;
    }
    if (flags != EVENT_DESC || !has_event_index(vq)) {
        return flags != EVENT_DISABLE;
    }
    if (!load16(vq, vq->avail + EVENT_OFFSET, &event)) {
        return false;
    }
    offset = event & (EVENT_WRAP - 1);
    if (!!(event & EVENT_WRAP) != vq->used_wrap) {
        offset = (uint16_t)(offset - vq->size);
    }
    return !valid || passed(offset, vq->used_index, old);
}

bool virtqueue_wants_interrupt(struct virtqueue *vq)
{
    uint16_t old = vq->signalled_used;
    bool valid = vq->signalled_valid;

    if (!is_live(vq)) {
        return false;
    }
    /* What was pushed must be seen before the driver's word is read: it does the same the other
     * way. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    vq->signalled_used = vq->used_index;
    vq->signalled_valid = true;
    return is_packed(vq) ? packed_wants_interrupt(vq, valid, old)
                         : split_wants_interrupt(vq, valid, old);
}

/* Asks the driver to ring the doorbell for what it adds from now on, or not to. */
static void set_doorbell(struct virtqueue *vq, bool on)
{
    bool event_index = has_event_index(vq);

    if (is_packed(vq)) {
        if (on && event_index) {
            store16(vq, vq->used + EVENT_OFFSET,
                    (uint16_t)(vq->last_avail | (vq->avail_wrap ? EVENT_WRAP : 0)));
        }
        store16(vq, vq->used + EVENT_FLAGS,
                !on ? EVENT_DISABLE : event_index ? EVENT_DESC : EVENT_ENABLE);
    } else if (!event_index) {
        store16(vq, vq->used + RING_FLAGS, on ? 0 : USED_NO_NOTIFY);
    } else if (on) {
        store16(vq, vq->used + RING_ENTRIES + 8ull * vq->size, vq->last_avail);
    }
    /* Who adds a chain after this rings; what came before is seen by the look that follows. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool virtqueue_wait(struct virtqueue *vq)
{
    if (!is_live(vq)) {
        return false;
    }
    set_doorbell(vq, true);
    if (virtqueue_is_empty(vq)) {
        return false;
    }
    set_doorbell(vq, false);
    return true;
}

void virtqueue_run(struct virtqueue *vq)
{
    const struct virtio_class *class = vq->vdev->class;

    if (!is_live(vq) || vq->vdev->stands) {
        return;
    }
    /* What one turn may take: a driver that adds as fast as chains are taken doesn't keep the
     * loop. */
    vq->budget = vq->size;
    vq->quiet = false;
    set_doorbell(vq, false);
    if (is_live(vq)) {
        class->handle(vq->vdev, vq);
    }
    if (is_live(vq) && !vq->quiet) {
        set_doorbell(vq, true);
    }
    virtqueue_notify(vq);
    if (!vq->quiet && vq->budget < vq->size && !virtqueue_is_empty(vq)) {
        virtqueue_kick(vq);
    }
    vq->budget = 0;
}

/* ---- Their bytes ---- */

static uint64_t copy(const struct virtio_chain *chain, bool is_write, uint64_t offset,
                     uint8_t *data, uint64_t size)
{
    struct virtio_device *vdev = chain->vq->vdev;
    const struct virtio_segment *s = chain->segments + (is_write ? chain->n_out : 0);
    const struct virtio_segment *end = s + (is_write ? chain->n_in : chain->n_out);
    uint64_t done = 0;

    for (; s < end && done < size; s++) {
        uint64_t n;

        if (offset >= s->size) {
            offset -= s->size;
            continue;
        }
        n = MIN(size - done, s->size - offset);
        if (!(is_write ? virtio_dma_write(vdev, s->address + offset, data + done, n)
                       : virtio_dma_read(vdev, s->address + offset, data + done, n))) {
            virtio_broken(vdev, "queue %u: a buffer at 0x%" PRIx64 " isn't in memory",
                          chain->vq->index, s->address);
            break;
        }
        done += n;
        offset = 0;
    }
    return done;
}

uint64_t virtio_chain_read(const struct virtio_chain *chain, uint64_t offset, void *data,
                           uint64_t size)
{
    return copy(chain, false, offset, data, size);
}

uint64_t virtio_chain_write(const struct virtio_chain *chain, uint64_t offset, const void *data,
                            uint64_t size)
{
    return copy(chain, true, offset, (uint8_t *)(uintptr_t)data, size);
}
