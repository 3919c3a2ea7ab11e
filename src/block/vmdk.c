/* Driver vmdk (vmdk.h): opening an image, requests to its extents. */
#include "block/vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct block_driver vmdk;

/* A text that is a descriptor begins with comments and a version. */
static bool is_descriptor(const char *text, size_t size)
{
    const char *end = text + size;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);

        if (n && text[n - 1] == '\r') {
            n--;
        }
        if (n && *text != '#' && strspn(text, " \t") < n) {
            return n == 9 && !memcmp(text, "version=", 8) && text[8] >= '1' && text[8] <= '3';
        }
        text = newline ? newline + 1 : end;
    }
    return false;
}

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    return size >= 4 && (!memcmp(data, "KDMV", 4) || !memcmp(data, "COWD", 4) ||
                         (*data == '#' && is_descriptor(text, strlen(text))))
               ? 100
               : 0;
}

/* ---- Requests; with the lock ---- */

/* The one that has offset, which is in the image. */
static struct vmdk_extent *find_extent(const struct vmdk *s, uint64_t offset)
{
    unsigned low = 0, high = s->n_extents;

    while (high - low > 1) {
        unsigned middle = (low + high) / 2;

        if (s->extents[middle].start <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &s->extents[low];
}

static int co_map(struct block_node *node, uint64_t offset, struct sparse_extent *found)
{
    const struct vmdk_extent *x = find_extent(node->state, offset);

    if (offset - x->start >= x->bytes) {
        return -EIO;
    }
    if (!x->is_flat) {
        return co_vmdk_map_grain(node, x, offset, found);
    }
    found->kind = SPARSE_DATA;
    found->file = x->file;
    found->host = x->flat_offset + (offset - x->start);
    found->bytes = x->bytes - (offset - x->start);
    return 0;
}

static int co_allocate(struct block_node *node, struct sparse_extent *found)
{
    struct vmdk_extent *x = find_extent(node->state, found->cluster);

    if (x->end / VMDK_SECTOR + x->grain / VMDK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    found->file = x->file;
    found->host = x->end;
    return 0;
}

static int co_link(struct block_node *node, const struct sparse_extent *found)
{
    struct vmdk_extent *x = find_extent(node->state, found->cluster);

    x->end += x->grain;
    return co_vmdk_set_grain(node, x, found->cluster, (uint32_t)(found->host / VMDK_SECTOR));
}

static int co_zero(struct block_node *node, const struct sparse_extent *found)
{
    struct vmdk_extent *x = find_extent(node->state, found->cluster);

    return x->zero_grain ? co_vmdk_set_grain(node, x, found->cluster, 1) : -ENOTSUP;
}

static int co_decompress(struct block_node *node, const struct sparse_extent *found, uint8_t *data)
{
    return co_vmdk_decompress(node, find_extent(node->state, found->cluster), found, data);
}

/* Who has this image as its backing one learns that it isn't what it was. */
static int co_change_cid(struct block_node *node)
{
    struct vmdk *s = node->state;
    uint32_t mask = s->cid_digits < 8 ? (1u << 4 * s->cid_digits) - 1 : UINT32_MAX;
    char digits[9];
    int result;

    if (s->cid_changed || !s->cid_at || !s->cid_digits || s->cid_digits > 8) {
        return 0;
    }
    do {
        s->cid = g_random_int() & (mask >> 1);
    } while (s->cid == 0);
    snprintf(digits, sizeof(digits), "%0*" PRIx32, (int)s->cid_digits, s->cid);
    result = co_child_write(node->file, s->cid_at, s->cid_digits,
                            BLOCK_BUFFER(digits, s->cid_digits), 0);
    s->cid_changed = result >= 0;
    return MIN(result, 0);
}

static const struct sparse_ops ops = {
    .co_map = co_map,
    .co_allocate = co_allocate,
    .co_link = co_link,
    .co_zero = co_zero,
    .co_decompress = co_decompress,
    .co_before_write = co_change_cid,
};

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct vmdk *s = node->state;
    int result;

    if (!s->extents[0].compressed) {
        return flags & BLOCK_COMPRESSED ? -ENOTSUP
                                        : co_sparse_write(node, offset, bytes, buffer, flags);
    }
    co_mutex_lock(&s->sparse.lock);
    result = co_change_cid(node);
    if (result >= 0) {
        result = co_vmdk_write_compressed(node, &s->extents[0], offset, bytes, buffer);
    }
    co_mutex_unlock(&s->sparse.lock);
    return result;
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct vmdk *s = node->state;
    struct sparse_extent found = {0};
    int result;

    if (!s->extents[0].compressed) {
        return co_sparse_write_zeroes(node, offset, bytes, flags);
    }
    co_mutex_lock(&s->sparse.lock);
    result = co_map(node, offset, &found);
    co_mutex_unlock(&s->sparse.lock);
    return result >= 0 && found.kind == SPARSE_UNALLOCATED && !node->backing && found.bytes >= bytes
               ? 0
               : -ENOTSUP;
}

static void refresh_limits(struct block_node *node)
{
    const struct vmdk *s = node->state;

    sparse_refresh_limits(node);
    /* Written as whole grains; larger ones are only read. */
    if (s->n_extents && s->extents[0].compressed && !s->extents[0].read_only) {
        node->limits.request_align = (uint32_t)s->extents[0].grain;
    }
}

/* ---- Open ---- */

static bool add_extent(struct block_node *node, struct vmdk_extent *x, GError **error)
{
    struct vmdk *s = node->state;

    x->start = node->length;
    if (x->bytes > INT64_MAX - node->length) {
        return block_error(error, "its extents are too large together");
    }
    node->length += x->bytes;
    if (x->compressed && (s->n_extents || x->grain > 65536 || x->bytes % VMDK_SECTOR)) {
        x->read_only = true; /* written in whole grains, which the core has to make */
    }
    if (x->read_only && !node->read_only) {
        if (!node->auto_read_only) {
            return block_error(error,
                                "images of this kind can only be read; open it read-only");
        }
        node->read_only = true;
    }
    s->extents = g_renew(struct vmdk_extent, s->extents, s->n_extents + 1);
    s->extents[s->n_extents++] = *x;
    if (!x->is_flat) {
        s->sparse.zeroes_align = (uint32_t)x->grain;
    }
    return true;
}

static bool co_open_line(struct block_node *node, const struct vmdk_line *line, unsigned index,
                         GError **error)
{
    bool is_flat = g_str_equal(line->type, "FLAT") || g_str_equal(line->type, "VMFS");
    g_autofree char *name = g_strdup_printf("extents.%u", index);
    struct vmdk_extent x = {.is_flat = is_flat, .flat_offset = line->offset * VMDK_SECTOR};
    struct vmdk_header header;

    if (!is_flat && !g_str_equal(line->type, "SPARSE") && !g_str_equal(line->type, "VMFSSPARSE") &&
        !g_str_equal(line->type, "SESPARSE")) {
        return block_error(error, "Unsupported extent type '%s'", line->type);
    }
    x.file = co_block_open_file_child(node, name, line->filename,
                                      BLOCK_ROLE_DATA | (is_flat ? 0 : BLOCK_ROLE_METADATA), error);
    if (!x.file) {
        return false;
    }
    if (is_flat) {
        x.bytes = line->sectors * VMDK_SECTOR;
        if (line->offset > INT64_MAX / VMDK_SECTOR || x.flat_offset > x.file->node->length ||
            x.bytes > x.file->node->length - x.flat_offset) {
            return block_error(error,
                                "extent '%s' is shorter than the %" PRIu64
                                " sectors that it should have",
                                line->filename, line->sectors);
        }
    } else if (!co_vmdk_open_sparse(node, &x, &header, error)) {
        return false;
    } else if (!x.bytes) {
        return block_error(error, "extent '%s' has no size", line->filename);
    }
    x.read_only |= !g_str_equal(line->access, "RW");
    x.type = g_strdup(line->type);
    if (!add_extent(node, &x, error)) {
        g_free(x.type);
        return false;
    }
    return true;
}

/* The text at at. */
static bool co_read_descriptor(struct block_node *node, uint64_t at, uint64_t size,
                               struct vmdk_descriptor *d, GError **error)
{
    struct vmdk *s = node->state;
    g_autofree char *text = NULL;
    GError *why = NULL;

    size = MIN(size, VMDK_MAX_DESCRIPTOR);
    text = g_malloc0(size + 1);
    if (!format_read(node, node->file, at, text, size, "descriptor", error)) {
        return false;
    }
    if (!vmdk_descriptor_parse(d, text, size, &why)) {
        block_error(error, "%s", why->message);
        g_error_free(why);
        return false;
    }
    s->create_type = g_strdup(d->create_type);
    s->cid = d->cid;
    s->parent_cid = d->parent_cid;
    s->cid_at = at + d->cid_at;
    s->cid_digits = d->cid_digits;
    node->backing_name = g_strdup(d->parent);
    node->backing_format = d->parent ? g_strdup("vmdk") : NULL;
    return true;
}

static bool co_open_lines(struct block_node *node, const struct vmdk_descriptor *d, GError **error)
{
    if (!d->lines->len) {
        return block_error(error, "its descriptor names no extents");
    }
    for (unsigned i = 0; i < d->lines->len; i++) {
        if (!co_open_line(node, &g_array_index(d->lines, struct vmdk_line, i), i, error)) {
            return false;
        }
    }
    return true;
}

/* A sparse extent by itself, which mostly holds a descriptor. */
static bool co_open_single(struct block_node *node, struct vmdk_descriptor *d, GError **error)
{
    struct vmdk *s = node->state;
    struct vmdk_extent x = {.file = node->file};
    struct vmdk_header h;
    uint64_t at, size;

    if (!co_vmdk_open_sparse(node, &x, &h, error)) {
        return false;
    }
    at = GUINT64_FROM_LE(h.desc_offset);
    size = GUINT64_FROM_LE(h.desc_size);
    if (!memcmp(h.magic, "KDMV", 4) && at && size) {
        if (at > INT64_MAX / VMDK_SECTOR || size > INT64_MAX / VMDK_SECTOR) {
            return block_error(error,
                                "its descriptor is at sector %" PRIu64 ", which can't be", at);
        }
        if (!co_read_descriptor(node, at * VMDK_SECTOR, size * VMDK_SECTOR, d, error)) {
            return false;
        }
        if (!x.bytes) {
            return co_open_lines(node, d, error);
        }
    } else {
        s->create_type = g_strdup(memcmp(h.magic, "COWD", 4) ? "monolithicSparse" : "vmfsSparse");
    }
    if (!x.bytes) {
        return block_error(error, "it has no size");
    }
    x.type = g_strdup("");
    if (!add_extent(node, &x, error)) {
        g_free(x.type);
        return false;
    }
    return true;
}

/* The parent must be what it was when this image was made. */
static bool check_parent(struct block_node *node, GError **error)
{
    const struct vmdk *s = node->state, *parent;

    if (!node->backing || node->backing->node->driver != &vmdk ||
        node->open_flags & BLOCK_OPEN_NO_IO) {
        return true;
    }
    parent = node->backing->node->state;
    return parent->cid == s->parent_cid ||
           block_error(error,
                        "the backing image '%s' was changed since (its CID is %" PRIx32
                        ", not %" PRIx32 ")",
                        node->backing->node->filename, parent->cid, s->parent_cid);
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct vmdk *s = node->state;
    struct vmdk_descriptor d = {0};
    char magic[8] = {0};
    bool ok;

    sparse_init(&s->sparse, &ops);
    s->sparse.zeroes_align = VMDK_SECTOR;
    s->parent_cid = UINT32_MAX;
    if (!co_block_open_child(node, "file", options->u.vmdk.file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error) ||
        !format_read(node, node->file, 0, magic, sizeof(magic), "header", error)) {
        return false;
    }
    if (!memcmp(magic, "KDMV", 4) || !memcmp(magic, "COWD", 4)) {
        ok = co_open_single(node, &d, error);
    } else {
        ok = co_read_descriptor(node, 0, node->file->node->length, &d, error) &&
             co_open_lines(node, &d, error);
    }
    vmdk_descriptor_clear(&d);
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return ok && co_block_open_backing(node, options->u.vmdk.backing, error) &&
           check_parent(node, error);
}

static void co_close(struct block_node *node)
{
    struct vmdk *s = node->state;

    for (unsigned i = 0; i < s->n_extents; i++) {
        g_free(s->extents[i].type);
    }
    g_free(s->extents);
    g_free(s->create_type);
    sparse_clear(&s->sparse);
}

/* ---- What is told of it ---- */

static void describe_extent(const struct vmdk_extent *x, struct qapi_vmdk_extent_info *info)
{
    *info = (struct qapi_vmdk_extent_info){
        .filename = g_strdup(x->file->node->filename),
        .format = g_strdup(x->type),
        .virtual_size = (int64_t)x->bytes,
        .has_cluster_size = !x->is_flat,
        .cluster_size = (int64_t)x->grain,
        .has_compressed = x->compressed,
        .compressed = x->compressed,
    };
}

static struct qapi_image_info_specific *co_info(struct block_node *node, GError **error)
{
    const struct vmdk *s = node->state;
    struct qapi_image_info_specific *info = g_new0(struct qapi_image_info_specific, 1);
    struct qapi_image_info_specific_vmdk *data = g_new0(struct qapi_image_info_specific_vmdk, 1);

    info->type = QAPI_IMAGE_INFO_SPECIFIC_KIND_VMDK;
    info->u.vmdk.data = data;
    data->create_type = g_strdup(s->create_type);
    data->cid = s->cid;
    data->parent_cid = s->parent_cid;
    data->extents.n = s->n_extents;
    data->extents.v = g_malloc0_n(s->n_extents, sizeof(data->extents.v[0]));
    for (unsigned i = 0; i < s->n_extents; i++) {
        describe_extent(&s->extents[i], &data->extents.v[i]);
    }
    return info;
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    const struct vmdk *s = node->state;

    /* One number for all, if they agree. */
    for (unsigned i = 0; i < s->n_extents; i++) {
        if (s->extents[i].is_flat || s->extents[i].grain != s->extents[0].grain) {
            return;
        }
    }
    info->has_cluster_size = s->n_extents > 0;
    info->cluster_size = s->n_extents ? (int64_t)s->extents[0].grain : 0;
}

/* Of all files that it is in. */
static int64_t co_allocated_size(struct block_node *node)
{
    int64_t all = 0;

    for (guint i = 0; i < node->children->len; i++) {
        const struct block_edge *edge = node->children->pdata[i];
        int64_t size = edge->role & BLOCK_ROLE_BACKING ? 0 : co_block_allocated_size(edge->node);

        if (size < 0) {
            return size;
        }
        all += size;
    }
    return all;
}

/* Each grain's place is in its file. */
static bool co_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                     GError **error)
{
    struct vmdk *s = node->state;

    if (fix) {
        return block_error(error,
                            "images of this format can't be repaired; make a new one with convert");
    }
    result->has_corruptions = true;
    co_mutex_lock(&s->sparse.lock);
    for (uint64_t offset = 0; offset < node->length;) {
        struct sparse_extent found = {0};
        int ret = co_map(node, offset, &found);

        if (ret < 0 || !found.bytes) {
            result->check_errors++;
            break;
        }
        result->corruptions += found.kind >= SPARSE_DATA && found.host >= found.file->node->length;
        offset += found.bytes;
    }
    co_mutex_unlock(&s->sparse.lock);
    return true;
}

static const struct block_driver vmdk = {
    .name = "vmdk",
    .kind = QAPI_BLOCKDEV_DRIVER_VMDK,
    .supports_backing = true,
    .state_size = sizeof(struct vmdk),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = refresh_limits,
    .co_read = co_sparse_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_status = co_sparse_status,
    .co_allocated_size = co_allocated_size,
    .co_info = co_info,
    .co_describe = co_describe,
    .co_check = co_check,
    .co_create = co_vmdk_create,
    .create_options = vmdk_create_options,
    .co_create_prepare = co_vmdk_create_prepare,
};
BLOCK_DRIVER(vmdk);
