/* The directory of persistent bitmaps and what it refers to (spec, "Bitmaps extension"). */
#include "block/qcow2_bitmap.h"

#include <string.h>

#include "block/qcow2_check.h"

enum {
    ENTRY_SIZE = 24,
    MAX_NAME = 1023,
    MAX_TABLE = 0x8000000,
    MIN_GRANULARITY_BITS = 9,
    MAX_GRANULARITY_BITS = 31,
    READ_AT_ONCE = 1 << 20,
    TYPE_DIRTY = 1
};

#define RESERVED_FLAGS 0xfffffff8u

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | *at++;
    }
    return value;
}

static void put(GByteArray *out, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];
    unsigned i;

    for (i = bytes; i--; value >>= 8) {
        raw[i] = value;
    }
    g_byte_array_append(out, raw, bytes);
}

void qcow2_stored_bitmap_free(void *opaque)
{
    struct qcow2_stored_bitmap *b = opaque;

    g_free(b->name);
    g_free(b->table);
    g_free(b->in_file);
    g_free((void *)b->full);
    g_clear_pointer(&b->extra, g_bytes_unref);
    g_free(b);
}

/* The entry at *at; NULL: it can't be. */
static struct qcow2_stored_bitmap *parse_entry(const uint8_t *raw, uint64_t size, uint64_t *at,
                                               GError **error)
{
    struct qcow2_stored_bitmap *b;
    uint64_t name_size, extra_size, entry_size;

    if (size - *at < ENTRY_SIZE) {
        block_error(error, "The directory of bitmaps ends within an entry");
        return NULL;
    }
    raw += *at;
    name_size = get(raw + 18, 2);
    extra_size = get(raw + 20, 4);
    entry_size = (ENTRY_SIZE + name_size + extra_size + 7) & ~7ull;
    if (entry_size > size - *at || !name_size || name_size > MAX_NAME) {
        block_error(error, "An entry of the directory of bitmaps has a size that can't be");
        return NULL;
    }
    b = g_new0(struct qcow2_stored_bitmap, 1);
    b->table_offset = get(raw, 8);
    b->table_size = get(raw + 8, 4);
    b->flags = get(raw + 12, 4);
    b->type = raw[16];
    b->granularity_bits = raw[17];
    if (extra_size) {
        b->extra = g_bytes_new(raw + ENTRY_SIZE, extra_size);
    }
    b->name = g_strndup((const char *)raw + ENTRY_SIZE + extra_size, name_size);
    *at += entry_size;
    return b;
}

static bool check_entry(const struct qcow2 *q, const struct qcow2_stored_bitmap *b, GError **error)
{
    if (b->flags & RESERVED_FLAGS || b->type != TYPE_DIRTY ||
        b->granularity_bits < MIN_GRANULARITY_BITS || b->granularity_bits > MAX_GRANULARITY_BITS ||
        b->table_size > MAX_TABLE || qcow2_in_cluster(q, b->table_offset) ||
        b->table_offset > INT64_MAX - MAX_TABLE * 8ull ||
        (b->extra && !(b->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE))) {
        return block_error(error, "An entry of the directory of bitmaps makes no sense");
    }
    return true;
}

GPtrArray *co_qcow2_read_directory(struct qcow2 *q, GError **error)
{
    uint64_t size = q->header.bitmaps_size, at = 0;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(qcow2_stored_bitmap_free);
    g_autofree uint8_t *raw = g_try_malloc(size + 1);
    int ret =
        raw ? co_child_read(q->file, q->header.bitmaps_offset, size, BLOCK_BUFFER(raw, size), 0)
            : -ENOMEM;

    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "Could not read the directory of bitmaps: %s", g_strerror(-ret));
        return NULL;
    }
    while (at < size) {
        struct qcow2_stored_bitmap *b = parse_entry(raw, size, &at, error);

        if (!b) {
            return NULL;
        }
        g_ptr_array_add(list, b);
        if (!check_entry(q, b, error)) {
            return NULL;
        }
    }
    if (list->len != q->header.n_bitmaps) {
        block_error(error,
               "The directory of bitmaps has another number of entries than the header says");
        return NULL;
    }
    return g_steal_pointer(&list);
}

GByteArray *qcow2_format_directory(const GPtrArray *list)
{
    static const uint8_t zeroes[8];
    GByteArray *out = g_byte_array_new();
    guint i;

    for (i = 0; i < list->len; i++) {
        const struct qcow2_stored_bitmap *b = list->pdata[i];
        gsize extra_size = 0;
        const void *extra = b->extra ? g_bytes_get_data(b->extra, &extra_size) : NULL;

        put(out, b->table_offset, 8);
        put(out, b->table_size, 4);
        put(out, b->flags, 4);
        put(out, b->type, 1);
        put(out, b->granularity_bits, 1);
        put(out, strlen(b->name), 2);
        put(out, extra_size, 4);
        if (extra_size) {
            g_byte_array_append(out, extra, extra_size);
        }
        g_byte_array_append(out, (const uint8_t *)b->name, strlen(b->name));
        g_byte_array_append(out, zeroes, -out->len & 7);
    }
    return out;
}

/* ---- For the check ---- */

static void co_count_table(struct qcow2_checker *c, const struct qcow2_stored_bitmap *b)
{
    struct qcow2 *q = c->q;
    uint64_t bytes = (uint64_t)b->table_size * sizeof(uint64_t), done, here, i;
    g_autofree uint64_t *big = g_malloc(MIN(bytes, READ_AT_ONCE) + 1);
    bool zero;

    qcow2_count_region(c, b->table_offset, bytes, 1);
    for (done = 0; done < bytes; done += here) {
        int ret;

        here = MIN(bytes - done, READ_AT_ONCE);
        ret = co_qcow2_check_read(c, b->table_offset + done, here, big, &zero);
        if (ret < 0) {
            qcow2_check_say(c, "ERROR: I/O error in the table of bitmap '%s': %s", b->name,
                            g_strerror(-ret));
            c->result->check_errors++;
            return;
        }
        for (i = 0; i < here / sizeof(uint64_t) && !zero; i++) {
            uint64_t entry = GUINT64_FROM_BE(big[i]), offset = entry & QCOW2_OFFSET_MASK;

            if (entry & QCOW2_BITMAP_TABLE_RESERVED ||
                (offset && (entry & 1 || qcow2_in_cluster(q, offset)))) {
                qcow2_check_say(c,
                                "ERROR entry %" PRIu64
                                " of the table of bitmap '%s' makes no sense: %" PRIx64,
                                done / sizeof(uint64_t) + i, b->name, entry);
                c->result->corruptions++;
            } else if (offset) {
                qcow2_count_region(c, offset, q->cluster_size, 1);
            }
        }
    }
}

void co_qcow2_count_bitmaps(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;
    guint i;

    if (!q->header.n_bitmaps) {
        return;
    }
    qcow2_count_region(c, q->header.bitmaps_offset, q->header.bitmaps_size, 1);
    list = co_qcow2_read_directory(q, &error);
    if (!list) {
        qcow2_check_say(c, "ERROR: %s", error->message);
        c->result->corruptions++;
        return;
    }
    for (i = 0; i < list->len && !c->too_sparse; i++) {
        co_count_table(c, list->pdata[i]);
    }
}
