/* The log of vhdx: entries of whole sectors, in a ring ([MS-VHDX] 2.3). */
#include <errno.h>
#include <string.h>

#include "block/vhdx.h"

enum {
    DESCRIPTOR_BYTES = 32,
    LEADING = 8,
    TRAILING = 4,
    MIDDLE = VHDX_LOG_SECTOR - LEADING - TRAILING
};

struct entry_header {
    char signature[4];
    uint32_t checksum, length, tail;
    uint64_t sequence;
    uint32_t n_descriptors, reserved;
    uint8_t log_guid[16];
    uint64_t flushed_file_offset, last_file_offset;
} __attribute__((packed));

struct descriptor {
    char signature[4]; /* "desc", or "zero" */
    uint32_t trailing; /* the last 4 bytes of a sector */
    uint64_t leading;  /* its first 8; of "zero": how many bytes */
    uint64_t file_offset, sequence;
} __attribute__((packed));

struct data_sector {
    char signature[4];
    uint32_t sequence_high;
    uint8_t middle[MIDDLE];
    uint32_t sequence_low;
} __attribute__((packed));

/* A valid entry. */
struct entry {
    uint64_t at, length, sequence, tail;
};

struct log {
    struct block_node *node;
    struct vhdx *s;
    uint64_t offset, length; /* in the file */
    uint64_t budget; /* bytes that may still be looked at: damaged entries can claim any length */
    GArray *entries; /* struct entry, by place */
};

/* ---- Reading ---- */

static int co_read_ring(const struct log *log, uint64_t at, uint8_t *data, uint64_t bytes)
{
    uint64_t first = MIN(bytes, log->length - at);
    int result =
        co_child_read(log->node->file, log->offset + at, first, BLOCK_BUFFER(data, first), 0);

    if (result >= 0 && bytes > first) {
        result = co_child_read(log->node->file, log->offset, bytes - first,
                               BLOCK_BUFFER(data + first, bytes - first), 0);
    }
    return result;
}

/* Sectors that hold the header and n descriptors. */
static uint64_t header_sectors(uint64_t n)
{
    return (sizeof(struct entry_header) + n * DESCRIPTOR_BYTES + VHDX_LOG_SECTOR - 1) /
           VHDX_LOG_SECTOR;
}

static bool is_plausible(const struct log *log, const struct entry_header *h)
{
    uint64_t length = GUINT32_FROM_LE(h->length);

    return !memcmp(h->signature, "loge", 4) &&
           !memcmp(h->log_guid, log->s->header.log_guid, VHDX_GUID_BYTES) &&
           length >= VHDX_LOG_SECTOR && length % VHDX_LOG_SECTOR == 0 && length <= log->length &&
           GUINT32_FROM_LE(h->tail) % VHDX_LOG_SECTOR == 0 &&
           GUINT32_FROM_LE(h->tail) < log->length && GUINT64_FROM_LE(h->sequence) &&
           header_sectors(GUINT32_FROM_LE(h->n_descriptors)) * VHDX_LOG_SECTOR <= length;
}

/* The entry at *at, if one is there, is added; *at moves on behind it. */
static int co_look(struct log *log, uint64_t *at)
{
    struct entry_header h;
    g_autofree uint8_t *data = NULL;
    struct entry e;
    int result = co_read_ring(log, *at, (uint8_t *)&h, sizeof(h));

    if (result < 0 || !is_plausible(log, &h)) {
        *at += VHDX_LOG_SECTOR;
        return result;
    }
    e = (struct entry){*at, GUINT32_FROM_LE(h.length), GUINT64_FROM_LE(h.sequence),
                       GUINT32_FROM_LE(h.tail)};
    data = g_try_malloc(e.length);
    if (!data || e.length > log->budget) {
        return data ? -EIO : -ENOMEM;
    }
    log->budget -= e.length;
    result = co_read_ring(log, *at, data, e.length);
    if (result < 0) {
        return result;
    }
    memset(data + offsetof(struct entry_header, checksum), 0, 4);
    if (vhdx_checksum(data, e.length) == GUINT32_FROM_LE(h.checksum)) {
        g_array_append_val(log->entries, e);
        *at += e.length;
    } else {
        *at += VHDX_LOG_SECTOR;
    }
    return 0;
}

static const struct entry *find_at(const struct log *log, uint64_t at)
{
    for (guint i = 0; i < log->entries->len; i++) {
        const struct entry *e = &g_array_index(log->entries, struct entry, i);

        if (e->at == at) {
            return e;
        }
    }
    return NULL;
}

/* The entries from the tail that head names to head, in their order; false: some are missing. */
static bool collect(const struct log *log, const struct entry *head, GPtrArray *chain)
{
    const struct entry *e = find_at(log, head->tail);

    g_ptr_array_set_size(chain, 0);
    while (e && chain->len < log->entries->len) {
        const struct entry *next;

        g_ptr_array_add(chain, (gpointer)e);
        if (e == head) {
            return true;
        }
        next = find_at(log, (e->at + e->length) % log->length);
        e = next && next->sequence == e->sequence + 1 ? next : NULL;
    }
    return false;
}

/* The newest entry whose predecessors, as far as it needs them, are there. */
static void find_chain(const struct log *log, GPtrArray *chain)
{
    uint64_t below = UINT64_MAX;

    for (int tries = 0; tries < 16; tries++) {
        const struct entry *newest = NULL;

        for (guint i = 0; i < log->entries->len; i++) {
            const struct entry *e = &g_array_index(log->entries, struct entry, i);

            if (e->sequence < below && (!newest || e->sequence > newest->sequence)) {
                newest = e;
            }
        }
        if (!newest || collect(log, newest, chain)) {
            return;
        }
        below = newest->sequence;
    }
    g_ptr_array_set_size(chain, 0);
}

/* ---- Replay ---- */

static int co_apply_descriptor(const struct log *log, const struct descriptor *d,
                               const uint8_t *entry, uint64_t *sector, uint64_t n_sectors)
{
    uint64_t at = GUINT64_FROM_LE(d->file_offset);
    struct data_sector data;
    uint8_t whole[VHDX_LOG_SECTOR];

    if (at % VHDX_LOG_SECTOR || at > INT64_MAX) {
        return -EINVAL;
    }
    if (!memcmp(d->signature, "zero", 4)) {
        uint64_t bytes = GUINT64_FROM_LE(d->leading);

        return bytes > vhdx_max_size || bytes % VHDX_LOG_SECTOR
                   ? -EINVAL
                   : co_child_write_zeroes(log->node->file, at, bytes, BLOCK_MAY_UNMAP);
    }
    if (memcmp(d->signature, "desc", 4) || *sector >= n_sectors) {
        return -EINVAL;
    }
    memcpy(&data, entry + (*sector)++ * VHDX_LOG_SECTOR, sizeof(data));
    if (memcmp(data.signature, "data", 4) ||
        (((uint64_t)GUINT32_FROM_LE(data.sequence_high) << 32) |
         GUINT32_FROM_LE(data.sequence_low)) != GUINT64_FROM_LE(d->sequence)) {
        return -EINVAL;
    }
    memcpy(whole, &d->leading, LEADING);
    memcpy(whole + LEADING, data.middle, MIDDLE);
    memcpy(whole + LEADING + MIDDLE, &d->trailing, TRAILING);
    return co_child_write(log->node->file, at, VHDX_LOG_SECTOR,
                          BLOCK_BUFFER(whole, VHDX_LOG_SECTOR), 0);
}

static int co_apply(const struct log *log, const struct entry *e)
{
    g_autofree uint8_t *data = g_try_malloc(e->length);
    struct entry_header h;
    uint64_t sector, n;
    int result = data ? co_read_ring(log, e->at, data, e->length) : -ENOMEM;

    if (result < 0) {
        return result;
    }
    memcpy(&h, data, sizeof(h));
    n = GUINT32_FROM_LE(h.n_descriptors);
    sector = header_sectors(n);
    if (GUINT64_FROM_LE(h.flushed_file_offset) > log->node->file->node->length ||
        sector * VHDX_LOG_SECTOR > e->length) {
        return -EINVAL; /* the file was cut off */
    }
    for (uint64_t i = 0; i < n && result >= 0; i++) {
        struct descriptor d;

        memcpy(&d, data + sizeof(h) + i * DESCRIPTOR_BYTES, sizeof(d));
        result = co_apply_descriptor(log, &d, data, &sector, e->length / VHDX_LOG_SECTOR);
    }
    return result;
}

static bool co_find_entries(struct log *log, GError **error)
{
    uint64_t at = 0;
    int result = 0;

    while (at < log->length && result >= 0) {
        result = co_look(log, &at);
    }
    return result >= 0 ||
           block_error(error, "could not read the log: %s", g_strerror(-result));
}

static bool co_replay_chain(struct log *log, GPtrArray *chain, GError **error)
{
    struct block_node *node = log->node;
    int result = 0;

    if (node->read_only) {
        return block_error(error,
            "the image is opened read-only, but contains a log that needs to be replayed; "
            "open it read-write, or run \"nandu-img check -r all\"");
    }
    for (guint i = 0; i < chain->len && result >= 0; i++) {
        result = co_apply(log, chain->pdata[i]);
    }
    if (result >= 0) {
        result = co_child_flush(node->file);
    }
    if (result >= 0) {
        memset(log->s->header.log_guid, 0, VHDX_GUID_BYTES);
        result = co_vhdx_write_header(node);
    }
    log->s->log_replayed = result >= 0;
    return result >= 0 ||
           block_error(error, "could not replay the log: %s", g_strerror(-result));
}

bool co_vhdx_replay(struct block_node *node, GError **error)
{
    struct vhdx *s = node->state;
    g_autoptr(GArray) entries = g_array_new(false, false, sizeof(struct entry));
    g_autoptr(GPtrArray) chain = g_ptr_array_new();
    struct log log = {
        node, s,      GUINT64_FROM_LE(s->header.log_offset), GUINT32_FROM_LE(s->header.log_length),
        0,    entries};

    log.budget = 4 * log.length;
    if (!co_find_entries(&log, error)) {
        return false;
    }
    find_chain(&log, chain);
    return !chain->len || co_replay_chain(&log, chain, error);
}

/* ---- Writing ---- */

static int co_begin_log(struct block_node *node)
{
    struct vhdx *s = node->state;

    if (!vhdx_guid_is_null(s->header.log_guid)) {
        return 0;
    }
    vhdx_make_guid(s->header.log_guid);
    s->log_sequence = 1;
    s->log_at = 0;
    return co_vhdx_write_header(node);
}

/* One descriptor, one sector. */
static void make_entry(const struct vhdx *s, uint64_t file_length, uint64_t at,
                       const uint8_t *sector, uint8_t *entry)
{
    struct entry_header h = {
        .length = GUINT32_TO_LE(2 * VHDX_LOG_SECTOR),
        .tail = GUINT32_TO_LE((uint32_t)s->log_at),
        .sequence = GUINT64_TO_LE(s->log_sequence),
        .n_descriptors = GUINT32_TO_LE(1),
        .flushed_file_offset = GUINT64_TO_LE(file_length),
        .last_file_offset = GUINT64_TO_LE(file_length),
    };
    struct descriptor d = {.file_offset = GUINT64_TO_LE(at),
                           .sequence = GUINT64_TO_LE(s->log_sequence)};
    struct data_sector data = {
        .sequence_high = GUINT32_TO_LE((uint32_t)(s->log_sequence >> 32)),
        .sequence_low = GUINT32_TO_LE((uint32_t)s->log_sequence),
    };

    memcpy(h.signature, "loge", 4);
    memcpy(h.log_guid, s->header.log_guid, VHDX_GUID_BYTES);
    memcpy(d.signature, "desc", 4);
    memcpy(&d.leading, sector, LEADING);
    memcpy(&d.trailing, sector + LEADING + MIDDLE, TRAILING);
    memcpy(data.signature, "data", 4);
    memcpy(data.middle, sector + LEADING, MIDDLE);
    memset(entry, 0, 2 * VHDX_LOG_SECTOR);
    memcpy(entry, &h, sizeof(h));
    memcpy(entry + sizeof(h), &d, sizeof(d));
    memcpy(entry + VHDX_LOG_SECTOR, &data, sizeof(data));
    h.checksum = GUINT32_TO_LE(vhdx_checksum(entry, 2 * VHDX_LOG_SECTOR));
    memcpy(entry, &h, sizeof(h));
}

int co_vhdx_write_logged(struct block_node *node, uint64_t offset, const void *data, size_t bytes)
{
    struct vhdx *s = node->state;
    uint64_t at = offset & ~(uint64_t)(VHDX_LOG_SECTOR - 1), place;
    uint8_t sector[VHDX_LOG_SECTOR];
    g_autofree uint8_t *entry = g_malloc(2 * VHDX_LOG_SECTOR);
    int result = co_begin_log(node);

    if (result >= 0) {
        result = co_table_read(s->sparse.tables, node->file, at, sector, sizeof(sector));
    }
    if (result >= 0) { /* the block's data, and what the entry before has changed */
        result = co_child_flush(node->file);
    }
    if (result < 0) {
        return result;
    }
    memcpy(sector + (offset - at), data, bytes);
    make_entry(s, node->file->node->length & ~(uint64_t)(VHDX_LOG_SECTOR - 1), at, sector, entry);
    place = GUINT64_FROM_LE(s->header.log_offset) + s->log_at;
    result = co_child_write(node->file, place, 2 * VHDX_LOG_SECTOR,
                            BLOCK_BUFFER(entry, 2 * VHDX_LOG_SECTOR), BLOCK_FUA);
    if (result < 0) {
        return result;
    }
    s->log_sequence++;
    s->log_at = (s->log_at + 2 * VHDX_LOG_SECTOR) % GUINT32_FROM_LE(s->header.log_length);
    return co_table_write(s->sparse.tables, node->file, offset, data, bytes);
}
