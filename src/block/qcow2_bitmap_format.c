/* The directory of persistent bitmaps and what it refers to (spec, "Bitmaps extension"). */
#include "block/qcow2_bitmap.h"

#include <string.h>

enum {
    ENTRY_SIZE = 24,
    MAX_NAME = 1023,
    MAX_TABLE = 0x8000000,
    MIN_GRANULARITY_BITS = 9,
    MAX_GRANULARITY_BITS = 31,
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
    if (entry_size > size - *at || !name_size || name_size > MAX_NAME ||
        memchr(raw + ENTRY_SIZE + extra_size, 0, name_size)) {
        block_error(error, "An entry of the directory of bitmaps has a size or name that can't be");
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

/* The entries; of those that make no sense *lost is how many, or NULL, and then there is none. */
static bool parse(const struct qcow2 *q, const uint8_t *raw, uint64_t size, GPtrArray *list,
                  unsigned *lost, GError **error)
{
    uint64_t at = 0;

    while (at < size) {
        struct qcow2_stored_bitmap *b = parse_entry(raw, size, &at, lost ? NULL : error);

        if (!b && lost) {
            ++*lost; /* where the next one would begin isn't known */
            return true;
        }
        if (!b) {
            return false;
        }
        if (check_entry(q, b, lost ? NULL : error)) {
            g_ptr_array_add(list, b);
            continue;
        }
        qcow2_stored_bitmap_free(b);
        if (!lost) {
            return false;
        }
        ++*lost;
    }
    return true;
}

GPtrArray *co_qcow2_read_directory(struct qcow2 *q, unsigned *lost, GError **error)
{
    uint64_t size = q->header.bitmaps_size;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(qcow2_stored_bitmap_free);
    g_autofree uint8_t *raw = g_try_malloc(size + 1);
    int ret =
        raw ? co_child_read(q->file, q->header.bitmaps_offset, size, BLOCK_BUFFER(raw, size), 0)
            : -ENOMEM;

    if (ret < 0) {
        block_error_errno(error, ret, "Could not read the directory of bitmaps");
        return NULL;
    }
    if (lost) {
        *lost = 0;
    }
    if (!parse(q, raw, size, list, lost, error)) {
        return NULL;
    }
    if (list->len != q->header.n_bitmaps && !lost) {
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
