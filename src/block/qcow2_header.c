/* The header and its extensions (spec, "Header" and "Header extensions"). */
#include "block/qcow2.h"

#include <string.h>

enum {
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = 0xe2792aca,
    EXTENSION_FEATURE_NAMES = 0x6803f857,
    EXTENSION_BITMAPS = 0x23852875,
    EXTENSION_CRYPTO = 0x0537be77,
    EXTENSION_DATA_FILE = 0x44415441,
    MAX_BACKING_NAME = 1023,
    MAX_KEPT = 64 << 10, /* of a header of a later version, beyond what is known */
};

/* Where things are (bytes). */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT = 32,
    AT_L1_SIZE = 36,
    AT_L1_OFFSET = 40,
    AT_REFTABLE_OFFSET = 48,
    AT_REFTABLE_CLUSTERS = 56,
    AT_N_SNAPSHOTS = 60,
    AT_SNAPSHOTS_OFFSET = 64,
    AT_INCOMPATIBLE = 72,
    AT_COMPATIBLE = 80,
    AT_AUTOCLEAR = 88,
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_LENGTH = 100,
    AT_COMPRESSION = 104,
};

static const struct feature {
    uint8_t kind, bit; /* 0: incompatible, 1: compatible, 2: autoclear */
    const char *name;
} features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_BE(value);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT64_FROM_BE(value);
}

static void put32(uint8_t *at, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    memcpy(at, &value, sizeof(value));
}

void qcow2_header_clear(struct qcow2_header *header)
{
    g_clear_pointer(&header->backing_file, g_free);
    g_clear_pointer(&header->backing_format, g_free);
    g_clear_pointer(&header->data_file, g_free);
    g_clear_pointer(&header->unknown, g_ptr_array_unref);
    g_clear_pointer(&header->unknown_fields, g_bytes_unref);
}

/* ---- Reading ---- */

static void read_fields(struct qcow2_header *h, const uint8_t *raw)
{
    h->version = get32(raw + AT_VERSION);
    h->cluster_bits = get32(raw + AT_CLUSTER_BITS);
    h->size = get64(raw + AT_SIZE);
    h->crypt = get32(raw + AT_CRYPT);
    h->l1_size = get32(raw + AT_L1_SIZE);
    h->l1_offset = get64(raw + AT_L1_OFFSET);
    h->reftable_offset = get64(raw + AT_REFTABLE_OFFSET);
    h->reftable_clusters = get32(raw + AT_REFTABLE_CLUSTERS);
    h->n_snapshots = get32(raw + AT_N_SNAPSHOTS);
    h->snapshots_offset = get64(raw + AT_SNAPSHOTS_OFFSET);
    h->refcount_order = 4;
    h->length = QCOW2_V2_HEADER_SIZE;
    if (h->version >= 3) {
        h->incompatible = get64(raw + AT_INCOMPATIBLE);
        h->compatible = get64(raw + AT_COMPATIBLE);
        h->autoclear = get64(raw + AT_AUTOCLEAR);
        h->refcount_order = get32(raw + AT_REFCOUNT_ORDER);
        h->length = get32(raw + AT_HEADER_LENGTH);
    }
}

static bool check_fields(const struct qcow2_header *h, GError **error)
{
    if (h->version < 2 || h->version > 3) {
        return block_error(error, "Unsupported qcow2 version %" PRIu32, h->version);
    }
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        return block_error(error, "Unsupported cluster size: 2^%" PRIu32, h->cluster_bits);
    }
    if (h->version >= 3 && h->length < QCOW2_V3_HEADER_SIZE) {
        return block_error(error, "qcow2 header too short");
    }
    if (h->length > 1u << h->cluster_bits) {
        return block_error(error, "qcow2 header exceeds cluster size");
    }
    if (h->refcount_order > 6) {
        return block_error(error, "Reference count entry width too large; may not exceed 64 bits");
    }
    if (h->crypt > QCOW2_CRYPT_LUKS) {
        return block_error(error, "Unsupported encryption method %" PRIu32, h->crypt);
    }
    if (h->size > INT64_MAX) {
        return block_error(error, "Image size %" PRIu64 " is too large", h->size);
    }
    return true;
}

static bool check_table(const struct qcow2_header *h, const char *name, uint64_t offset,
                        uint64_t bytes, uint64_t max, GError **error)
{
    if (bytes > max) {
        return block_error(error, "%s too large", name);
    }
    if ((bytes && offset & ((1ull << h->cluster_bits) - 1)) || offset > INT64_MAX - bytes) {
        return block_error(error, "%s offset invalid", name);
    }
    return true;
}

static bool check_tables(const struct qcow2_header *h, GError **error)
{
    uint64_t reftable = (uint64_t)h->reftable_clusters << h->cluster_bits;
    unsigned l2_bits = h->cluster_bits - (h->incompatible & QCOW2_INCOMPAT_EXTL2 ? 4 : 3);
    unsigned shift = h->cluster_bits + l2_bits;
    uint64_t needed = shift >= 63 ? 1 : (h->size >> shift) + !!(h->size & ((1ull << shift) - 1));

    if (!h->reftable_clusters) {
        return block_error(error, "Image does not contain a reference count table");
    }
    if (!check_table(h, "Reference count table", h->reftable_offset, reftable,
                     QCOW2_MAX_REFTABLE_BYTES, error) ||
        !check_table(h, "Active L1 table", h->l1_offset, (uint64_t)h->l1_size * sizeof(uint64_t),
                     QCOW2_MAX_L1_BYTES, error)) {
        return false;
    }
    if (!h->reftable_offset) {
        return block_error(error, "Reference count table offset invalid");
    }
    if (needed > h->l1_size) {
        return block_error(error, "L1 table is too small");
    }
    if (h->l1_size && !h->l1_offset) {
        return block_error(error, "Active L1 table offset invalid");
    }
    if (h->n_snapshots > QCOW2_MAX_SNAPSHOTS) {
        return block_error(error, "Snapshot table too large");
    }
    if (h->n_snapshots && (h->snapshots_offset & ((1ull << h->cluster_bits) - 1) ||
                           h->snapshots_offset > INT64_MAX - (QCOW2_MAX_SNAPSHOTS << 10))) {
        return block_error(error, "Snapshot table offset invalid");
    }
    return true;
}

/* Features that nobody here knows, by the names that the image gives them. */
static bool check_features(const struct qcow2_header *h, const uint8_t *names, size_t names_size,
                           GError **error)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_ALL;
    g_autoptr(GString) list = g_string_new(NULL);
    unsigned bit;
    size_t i;

    if (!unknown) {
        return true;
    }
    for (bit = 0; bit < 64; bit++) {
        const char *name = NULL;
        size_t size = 0;

        if (!(unknown >> bit & 1)) {
            continue;
        }
        for (i = 0; i + 48 <= names_size; i += 48) {
            if (names[i] == 0 && names[i + 1] == bit) {
                name = (const char *)names + i + 2;
                size = strnlen(name, 46);
            }
        }
        g_string_append(list, list->len ? ", " : "");
        if (name && g_utf8_validate(name, size, NULL)) {
            g_string_append_len(list, name, size);
        } else {
            g_string_append_printf(list, "Unknown incompatible feature: %" PRIx64,
                                   (uint64_t)1 << bit);
        }
    }
    return block_error(error, "Unsupported qcow2 feature(s): %s", list->str);
}

struct extensions {
    const uint8_t *names; /* the feature name table */
    size_t names_size;
};

static bool read_extension(struct qcow2_header *h, uint32_t type, const uint8_t *data,
                           uint32_t size, struct extensions *found, GError **error)
{
    switch (type) {
    case EXTENSION_BACKING_FORMAT:
        g_free(h->backing_format);
        h->backing_format = g_strndup((const char *)data, size);
        return true;
    case EXTENSION_DATA_FILE:
        g_free(h->data_file);
        h->data_file = g_strndup((const char *)data, size);
        return true;
    case EXTENSION_FEATURE_NAMES:
        found->names = data;
        found->names_size = size;
        return true;
    case EXTENSION_CRYPTO:
        if (size != 16) {
            return block_error(error, "CRYPTO header extension size %" PRIu32 ", but it must be 16", size);
        }
        h->crypto_offset = get64(data);
        h->crypto_length = get64(data + 8);
        return true;
    case EXTENSION_BITMAPS:
        if (!(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
            return true; /* a program that doesn't know bitmaps has written: they are void */
        }
        if (size != 24) {
            return block_error(error, "bitmaps_ext: Invalid extension length");
        }
        h->n_bitmaps = get32(data);
        h->bitmaps_size = get64(data + 8);
        h->bitmaps_offset = get64(data + 16);
        if (h->n_bitmaps > QCOW2_MAX_BITMAPS || !h->n_bitmaps ||
            h->bitmaps_offset & ((1ull << h->cluster_bits) - 1) ||
            h->bitmaps_offset > INT64_MAX - (64 << 20) ||
            h->bitmaps_size > QCOW2_MAX_BITMAPS * 1024ull) {
            return block_error(error,
                        "bitmaps_ext: the directory of bitmaps can't be where and what it says");
        }
        return true;
    default: {
        uint8_t *kept = g_malloc(8 + (gsize)size);

        put32(kept, type);
        put32(kept + 4, size);
        memcpy(kept + 8, data, size);
        g_ptr_array_add(h->unknown, g_bytes_new_take(kept, 8 + (gsize)size));
        return true;
    }
    }
}

static bool read_extensions(struct qcow2_header *h, const uint8_t *cluster, uint64_t end,
                            struct extensions *found, GError **error)
{
    uint64_t at = h->length;

    while (at + 8 <= end) {
        uint32_t type = get32(cluster + at), size = get32(cluster + at + 4);

        at += 8;
        if (type == EXTENSION_END) {
            return true;
        }
        if (size > end - at) {
            return block_error(error, "Header extension too large");
        }
        if (!read_extension(h, type, cluster + at, size, found, error)) {
            return false;
        }
        at += ((uint64_t)size + 7) & ~7ull;
    }
    return true;
}

static bool read_backing_name(struct qcow2_header *h, const uint8_t *cluster, uint64_t *end,
                              GError **error)
{
    uint64_t offset = get64(cluster + AT_BACKING_OFFSET);
    uint32_t size = get32(cluster + AT_BACKING_SIZE);

    if (!offset) {
        return true;
    }
    if (offset > *end) {
        return block_error(error, "Invalid backing file offset");
    }
    if (size > MAX_BACKING_NAME || size > *end - offset) {
        return block_error(error, "Backing file name too long");
    }
    h->backing_file = g_strndup((const char *)cluster + offset, size);
    *end = offset; /* extensions are before it */
    return true;
}

bool co_qcow2_read_header(struct qcow2 *q, GError **error)
{
    struct qcow2_header *h = &q->header;
    struct extensions found = {0};
    g_autofree uint8_t *cluster = NULL;
    uint8_t raw[QCOW2_V3_HEADER_SIZE + 8];
    uint64_t end;
    int ret = co_child_read(q->file, 0, sizeof(raw), BLOCK_BUFFER(raw, sizeof(raw)), 0);

    if (ret < 0) {
        return block_error(error, "Could not read qcow2 header: %s", g_strerror(-ret));
    }
    if (get32(raw) != QCOW2_MAGIC) {
        return block_error(error, "Image is not in qcow2 format");
    }
    read_fields(h, raw);
    if (!check_fields(h, error)) {
        return false;
    }
    end = 1ull << h->cluster_bits;
    cluster = g_malloc(end);
    ret = co_child_read(q->file, 0, end, BLOCK_BUFFER(cluster, end), 0);
    if (ret < 0) {
        return block_error(error, "Could not read qcow2 header: %s", g_strerror(-ret));
    }
    if (h->length > AT_COMPRESSION) {
        h->compression = cluster[AT_COMPRESSION];
    }
    if (h->length > QCOW2_V3_HEADER_SIZE + 8) {
        h->unknown_fields =
            g_bytes_new(cluster + QCOW2_V3_HEADER_SIZE + 8, h->length - QCOW2_V3_HEADER_SIZE - 8);
    }
    h->unknown = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    if (!read_backing_name(h, cluster, &end, error) ||
        !read_extensions(h, cluster, end, &found, error) ||
        !check_features(h, found.names, found.names_size, error)) {
        return false;
    }
    if (h->compression > QCOW2_ZSTD) {
        return block_error(error, "qcow2: unknown compression type: %u", h->compression);
    }
    if (!!(h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != (h->compression != QCOW2_ZLIB)) {
        return block_error(error,
                    h->compression
                        ? "qcow2: Compression type incompatible feature bit must be set"
                        : "qcow2: Compression type incompatible feature bit must not be set");
    }
    if (h->incompatible & QCOW2_INCOMPAT_EXTL2 && h->cluster_bits < 14) {
        return block_error(
            error,
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    }
    return check_tables(h, error);
}

/* ---- Writing ---- */

static void append_extension(GByteArray *out, uint32_t type, const void *data, uint32_t size)
{
    static const uint8_t zeroes[8];
    uint8_t head[8];

    put32(head, type);
    put32(head + 4, size);
    g_byte_array_append(out, head, sizeof(head));
    if (size) {
        g_byte_array_append(out, data, size);
        g_byte_array_append(out, zeroes, -size & 7);
    }
}

static void append_features(GByteArray *out)
{
    uint8_t table[G_N_ELEMENTS(features) * 48] = {0};
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(features); i++) {
        uint8_t *row = table + i * 48;

        row[0] = features[i].kind;
        row[1] = features[i].bit;
        memcpy(row + 2, features[i].name, strlen(features[i].name));
    }
    append_extension(out, EXTENSION_FEATURE_NAMES, table, sizeof(table));
}

/* Those whose data change while an image is open come first: they are in the first sector with the
 * rest. */
static void append_extensions(GByteArray *out, const struct qcow2_header *h, bool names)
{
    uint8_t data[24];
    unsigned i;

    if (h->n_bitmaps) {
        put32(data, h->n_bitmaps);
        put32(data + 4, 0);
        put64(data + 8, h->bitmaps_size);
        put64(data + 16, h->bitmaps_offset);
        append_extension(out, EXTENSION_BITMAPS, data, 24);
    }
    if (h->crypto_offset) {
        put64(data, h->crypto_offset);
        put64(data + 8, h->crypto_length);
        append_extension(out, EXTENSION_CRYPTO, data, 16);
    }
    if (h->backing_format) {
        append_extension(out, EXTENSION_BACKING_FORMAT, h->backing_format,
                         strlen(h->backing_format));
    }
    if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE && h->data_file) {
        append_extension(out, EXTENSION_DATA_FILE, h->data_file, strlen(h->data_file));
    }
    if (h->version >= 3 && names) {
        append_features(out);
    }
    for (i = 0; h->unknown && i < h->unknown->len; i++) {
        gsize size;
        const uint8_t *kept = g_bytes_get_data(h->unknown->pdata[i], &size);

        append_extension(out, get32(kept), kept + 8, size - 8);
    }
    append_extension(out, EXTENSION_END, NULL, 0);
}

static GByteArray *format(const struct qcow2_header *h, bool names)
{
    uint8_t raw[QCOW2_V3_HEADER_SIZE + 8] = {0};
    uint32_t length = h->version >= 3 ? sizeof(raw) : QCOW2_V2_HEADER_SIZE;
    GByteArray *out = g_byte_array_new();
    gsize unknown = 0;
    const void *fields = h->unknown_fields ? g_bytes_get_data(h->unknown_fields, &unknown) : NULL;

    put32(raw + AT_MAGIC, QCOW2_MAGIC);
    put32(raw + AT_VERSION, h->version);
    put32(raw + AT_CLUSTER_BITS, h->cluster_bits);
    put64(raw + AT_SIZE, h->size);
    put32(raw + AT_CRYPT, h->crypt);
    put32(raw + AT_L1_SIZE, h->l1_size);
    put64(raw + AT_L1_OFFSET, h->l1_offset);
    put64(raw + AT_REFTABLE_OFFSET, h->reftable_offset);
    put32(raw + AT_REFTABLE_CLUSTERS, h->reftable_clusters);
    put32(raw + AT_N_SNAPSHOTS, h->n_snapshots);
    put64(raw + AT_SNAPSHOTS_OFFSET, h->snapshots_offset);
    if (h->version >= 3) {
        put64(raw + AT_INCOMPATIBLE, h->incompatible);
        put64(raw + AT_COMPATIBLE, h->compatible);
        put64(raw + AT_AUTOCLEAR, h->autoclear);
        put32(raw + AT_REFCOUNT_ORDER, h->refcount_order);
        put32(raw + AT_HEADER_LENGTH, length + unknown);
        raw[AT_COMPRESSION] = h->compression;
    }
    g_byte_array_append(out, raw, length);
    if (unknown) {
        g_byte_array_append(out, fields, unknown);
    }
    append_extensions(out, h, names);
    if (h->backing_file) {
        put64(out->data + AT_BACKING_OFFSET, out->len);
        put32(out->data + AT_BACKING_SIZE, strlen(h->backing_file));
        g_byte_array_append(out, (const uint8_t *)h->backing_file, strlen(h->backing_file));
    }
    return out;
}

GByteArray *qcow2_format_header(const struct qcow2_header *h, GError **error)
{
    GByteArray *out = format(h, true);

    /* The names of features are for people: small clusters may have no room for them. */
    if (out->len > 1u << h->cluster_bits) {
        g_byte_array_unref(out);
        out = format(h, false);
    }
    if (out->len > 1u << h->cluster_bits) {
        g_byte_array_unref(out);
        block_error(error,
             "The header and the name of the backing file don't fit into a cluster of %u bytes",
             1u << h->cluster_bits);
        return NULL;
    }
    return out;
}

int co_qcow2_write_header(struct qcow2 *q)
{
    g_autoptr(GByteArray) bytes = qcow2_format_header(&q->header, NULL);

    if (!bytes) {
        return -ENOSPC;
    }
    return co_child_write(q->file, 0, bytes->len, BLOCK_BUFFER(bytes->data, bytes->len), 0);
}

int co_qcow2_set_incompatible(struct qcow2 *q, uint64_t set, uint64_t clear)
{
    uint64_t old = q->header.incompatible;
    int ret;

    q->header.incompatible = (old | set) & ~clear;
    ret = co_qcow2_write_header(q);
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    if (ret < 0) {
        q->header.incompatible = old;
        return ret;
    }
    q->dirty = q->header.incompatible & QCOW2_INCOMPAT_DIRTY;
    return 0;
}
