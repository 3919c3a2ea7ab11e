/* Driver luks: an encrypted image, LUKS version 1. The header may be in a file of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/crypt.h"

enum { SECTOR = 512, MAX_BOUNCE = 1 << 20 };

struct luks {
    struct luks_header header;
    struct cipher *cipher;          /* NULL: locked; only opened to be looked at */
    struct block_edge *header_edge; /* NULL: in file */
    uint64_t payload;               /* bytes */
    char *secret;
};

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    return size >= 8 && !memcmp(data, "LUKS\xba\xbe\0\1", 8) ? 100 : 0;
}

static struct crypt_place place_of(struct block_node *node)
{
    struct luks *s = node->state;

    return (struct crypt_place){.node = node, .edge = s->header_edge ? s->header_edge : node->file};
}

/* ---- Open ---- */

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_luks *o = &options->u.luks;
    struct luks *s = node->state;
    struct crypt_place place;

    if (!co_block_open_child(node, "file", o->file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error)) {
        return false;
    }
    s->header_edge = co_block_open_child(node, "header", o->header, BLOCK_ROLE_METADATA, error);
    if (o->header && !s->header_edge) {
        return false;
    }
    place = place_of(node);
    if (!co_crypt_read_header(&place, &s->header, error)) {
        return false;
    }
    s->payload = (uint64_t)s->header.payload * SECTOR;
    if (s->payload > node->file->node->length) {
        return block_error(error,
                            "its data at offset %" PRIu64 " are beyond the end of the file",
                            s->payload);
    }
    node->length = (node->file->node->length - s->payload) & ~(uint64_t)(SECTOR - 1);
    node->supported_write_flags = BLOCK_FUA;
    s->secret = g_strdup(o->key_secret);
    if (node->open_flags & BLOCK_OPEN_NO_IO) {
        return true;
    }
    s->cipher =
        co_crypt_unlock(&place, &s->header, block_graph_root(node->graph), s->secret, error);
    return s->cipher != NULL;
}

static void co_close(struct block_node *node)
{
    struct luks *s = node->state;

    cipher_free(s->cipher);
    g_free(s->secret);
}

static void refresh_limits(struct block_node *node)
{
    node->limits = node->file->node->limits;
    node->limits.request_align = MAX(node->limits.request_align, SECTOR);
    node->limits.memory_align = 1; /* all goes through buffers of its own */
    node->limits.max_iov = 0;
}

/* ---- Requests ---- */

static uint8_t *bounce_new(const struct block_node *node, uint64_t bytes)
{
    void *memory;
    size_t align = MAX(node->file->node->limits.memory_align, 512u);

    return posix_memalign(&memory, align, MIN(bytes, MAX_BOUNCE)) == 0 ? memory : NULL;
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct luks *s = node->state;
    uint8_t *bounce = s->cipher ? bounce_new(node, bytes) : NULL;
    int result = bounce ? 0 : s->cipher ? -ENOMEM : -EACCES;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, MAX_BOUNCE);

        result = co_child_read(node->file, s->payload + offset, n, BLOCK_BUFFER(bounce, n), 0);
        if (result >= 0) {
            co_crypt_decrypt(s->cipher, offset / SECTOR, bounce, n);
            block_buffer_from(buffer, bounce, n);
        }
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    free(bounce);
    return MIN(result, 0);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct luks *s = node->state;
    uint8_t *bounce = s->cipher ? bounce_new(node, bytes) : NULL;
    int result = bounce ? 0 : s->cipher ? -ENOMEM : -EACCES;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, MAX_BOUNCE);

        block_buffer_to(buffer, bounce, n);
        co_crypt_encrypt(s->cipher, offset / SECTOR, bounce, n);
        result = co_child_write(node->file, s->payload + offset, n, BLOCK_BUFFER(bounce, n), flags);
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    free(bounce);
    return MIN(result, 0);
}

static int co_truncate(struct block_node *node, uint64_t size, bool exact,
                       enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct luks *s = node->state;

    if (size > INT64_MAX - s->payload) {
        block_error(error, "The requested file size is too large");
        return -EFBIG;
    }
    return co_child_truncate(node->file, s->payload + size, exact, prealloc, flags, error);
}

static int64_t co_length(struct block_node *node)
{
    struct luks *s = node->state;
    uint64_t length = node->file->node->length;

    return length > s->payload ? (int64_t)((length - s->payload) & ~(uint64_t)(SECTOR - 1)) : 0;
}

/* ---- What is told of it, changes ---- */

static struct qapi_image_info_specific *co_info(struct block_node *node, GError **error)
{
    struct luks *s = node->state;
    struct qapi_image_info_specific *info = g_new0(struct qapi_image_info_specific, 1);

    info->type = QAPI_IMAGE_INFO_SPECIFIC_KIND_LUKS;
    info->u.luks.data = g_new0(struct qapi_qcrypto_block_info_luks, 1);
    luks_describe(&s->header, s->header_edge != NULL, info->u.luks.data);
    return info;
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    info->has_encrypted = info->encrypted = true;
}

static bool co_amend(struct block_node *node, json_object *options, bool force, GError **error)
{
    struct luks *s = node->state;
    struct crypt_place place = place_of(node);

    return co_crypt_amend(&place, &s->header, block_graph_root(node->graph), s->secret, options,
                          force, error);
}

/* ---- New images ---- */

static const struct block_create_option create_options[] = {
    {"cipher-alg", NULL, "str", "Name of encryption cipher algorithm", NULL, false},
    {"cipher-mode", NULL, "str", "Name of encryption cipher mode", NULL, false},
    {"detached-header", NULL, "bool (on/off)", "Create a detached LUKS header", NULL, false},
    {"hash-alg", NULL, "str", "Name of encryption hash algorithm", NULL, false},
    {"iter-time", NULL, "num", "Time to spend in PBKDF in milliseconds", NULL, false},
    {"ivgen-alg", NULL, "str", "Name of IV generator algorithm", NULL, false},
    {"ivgen-hash-alg", NULL, "str", "Name of IV generator hash algorithm", NULL, false},
    {"key-secret", NULL, "str", "ID of the secret that provides the keyslot passphrase", NULL,
     false},
    {"size", NULL, "size", "Virtual disk size", NULL, false},
    {0},
};

static const struct block_create_option amend_options[] = {
    {"iter-time", NULL, "num", "Time to spend in PBKDF in milliseconds", NULL, true},
    {"keyslot", NULL, "num", "Select a single keyslot to modify explicitly", NULL, true},
    {"new-secret", NULL, "str", "New secret to set in the matching keyslots", NULL, true},
    {"old-secret", NULL, "str", "Select all keyslots that match this password", NULL, true},
    {"state", NULL, "str", "Select new state of affected keyslots (active/inactive)", NULL, true},
    {0},
};

/* The file that there is gets the header alone. */
static bool co_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                              GError **error)
{
    json_object *value;

    if (!json_object_object_get_ex(options, "detached-header", &value)) {
        return true;
    }
    if (g_str_equal(json_object_get_string(value), "on") ||
        g_str_equal(json_object_get_string(value), "true")) {
        json_object *file;

        if (json_object_object_get_ex(options, "file", &file)) {
            json_object_object_add(options, "header", json_object_get(file));
            json_object_object_del(options, "file");
        }
    }
    json_object_object_del(options, "detached-header");
    return true;
}

static bool co_make(struct block_graph *graph, const struct qapi_blockdev_create_options_luks *o,
                    bool data, const struct luks_header *header, GBytes *material, GError **error)
{
    const struct qapi_blockdev_ref *ref = data ? o->file : o->header;
    bool with_header = !data || !o->header;
    uint64_t payload = (uint64_t)header->payload * SECTOR;
    enum qapi_prealloc_mode prealloc =
        o->has_preallocation ? o->preallocation : QAPI_PREALLOC_MODE_OFF;
    struct format_file file;
    struct crypt_place place = {.file = &file};
    bool ok = true;

    if (!co_format_open(graph, ref, &file, error)) {
        return false;
    }
    if (data) {
        ok = co_format_resize(&file, payload + o->size, prealloc, error);
    } else {
        /* All of the slots' places are there. */
        ok = co_format_resize(&file,
                              (uint64_t)(header->slots[LUKS_SLOTS - 1].offset) * SECTOR +
                                  luks_material_bytes(header),
                              QAPI_PREALLOC_MODE_OFF, error);
    }
    if (ok && with_header) {
        ok = co_crypt_write(&place, header, material, error);
    }
    return co_format_close(&file, ok, error);
}

static struct qapi_qcrypto_block_create_options_luks
crypt_options(const struct qapi_blockdev_create_options_luks *o)
{
    return (struct qapi_qcrypto_block_create_options_luks){
        .key_secret = o->key_secret,
        .has_cipher_alg = o->has_cipher_alg,
        .cipher_alg = o->cipher_alg,
        .has_cipher_mode = o->has_cipher_mode,
        .cipher_mode = o->cipher_mode,
        .has_ivgen_alg = o->has_ivgen_alg,
        .ivgen_alg = o->ivgen_alg,
        .has_ivgen_hash_alg = o->has_ivgen_hash_alg,
        .ivgen_hash_alg = o->ivgen_hash_alg,
        .has_hash_alg = o->has_hash_alg,
        .hash_alg = o->hash_alg,
        .has_iter_time = o->has_iter_time,
        .iter_time = o->iter_time,
    };
}

static bool co_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                      GError **error)
{
    const struct qapi_blockdev_create_options_luks *o = &options->u.luks;
    struct qapi_qcrypto_block_create_options_luks crypt = crypt_options(o);
    g_autoptr(GBytes) material = NULL;
    struct luks_header header;
    uint8_t key[CIPHER_MAX_KEY];

    if (!o->file && !o->header) {
        return block_error(error, "Either the parameter 'header' or 'file' must be specified");
    }
    if (o->size % SECTOR || o->size > INT64_MAX / 2) {
        return block_error(error,
                           "luks: the size must be a multiple of 512 bytes, and less than 4 EiB");
    }
    if (!co_crypt_prepare(&crypt, block_graph_root(graph), &header, key, &material, error)) {
        return false;
    }
    explicit_bzero(key, sizeof(key));
    if (o->header) {
        header.payload = 0;
    }
    return (!o->header || co_make(graph, o, false, &header, material, error)) &&
           (!o->file || co_make(graph, o, true, &header, material, error));
}

static bool measure(json_object *options, struct block_node *source, uint64_t size,
                    uint64_t *required, uint64_t *fully_allocated, uint64_t *bitmaps,
                    GError **error)
{
    struct qapi_qcrypto_block_create_options_luks o;

    if (!qapi_from_keyval(&qapi_type_qcrypto_block_create_options_luks, options, &o, error)) {
        return false;
    }
    size = source ? source->length : (size + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    *required = *fully_allocated = luks_overhead(&o) + size;
    qapi_clear(&qapi_type_qcrypto_block_create_options_luks, &o);
    return true;
}

static const struct block_driver luks = {
    .name = "luks",
    .kind = QAPI_BLOCKDEV_DRIVER_LUKS,
    .state_size = sizeof(struct luks),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = refresh_limits,
    .co_read = co_read,
    .co_write = co_write,
    .co_truncate = co_truncate,
    .co_length = co_length,
    .co_info = co_info,
    .co_describe = co_describe,
    .co_amend = co_amend,
    .amend_options = amend_options,
    .measure = measure,
    .co_create = co_create,
    .create_options = create_options,
    .co_create_prepare = co_create_prepare,
};
BLOCK_DRIVER(luks);
