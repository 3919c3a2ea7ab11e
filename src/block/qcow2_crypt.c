/*
 * Encrypted qcow2 images: LUKS, whose header has clusters of its own and whose sector numbers are
 * of the file, and the old way, where the password is the key and sector numbers are of the disk,
 * which is only read.
 */
#include "block/crypt.h"
#include "block/qcow2.h"

#include <string.h>

#include "crypto/secret.h"

enum { SECTOR = 512, AES_KEY_BYTES = 16 };

struct qcow2_crypto {
    struct cipher *cipher; /* NULL: locked */
    struct luks_header luks;
    char *secret;
    bool by_host;
};

int co_qcow2_encrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes)
{
    if (!q->crypto->cipher || bytes % SECTOR) {
        return -EACCES;
    }
    cipher_encrypt(q->crypto->cipher, (q->crypto->by_host ? host : guest) / SECTOR, data, bytes);
    return 0;
}

int co_qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes)
{
    if (!q->crypto->cipher || bytes % SECTOR) {
        return -EACCES;
    }
    cipher_decrypt(q->crypto->cipher, (q->crypto->by_host ? host : guest) / SECTOR, data, bytes);
    return 0;
}

void qcow2_crypto_free(struct qcow2 *q)
{
    if (q->crypto) {
        cipher_free(q->crypto->cipher);
        g_free(q->crypto->secret);
        g_clear_pointer(&q->crypto, g_free);
    }
}

static struct crypt_place place_of(const struct qcow2 *q)
{
    return (
        struct crypt_place){.node = q->node, .edge = q->file, .offset = q->header.crypto_offset};
}

/* ---- Open ---- */

static bool co_open_luks(struct qcow2 *q, bool locked, GError **error)
{
    struct qcow2_crypto *c = q->crypto;
    struct crypt_place place = place_of(q);
    uint64_t room = q->header.crypto_length;

    if (!q->header.crypto_offset || q->header.crypto_offset % q->cluster_size) {
        return block_error(error,
            "Header extension with the place of the LUKS header is missing or wrong");
    }
    if (!co_crypt_read_header(&place, &c->luks, error)) {
        return false;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if ((uint64_t)c->luks.slots[i].offset * SECTOR + luks_material_bytes(&c->luks) > room) {
            return block_error(error,
                                "key slot %u isn't in the %" PRIu64 " bytes of the LUKS header", i,
                                room);
        }
    }
    c->by_host = true;
    if (!locked) {
        c->cipher =
            co_crypt_unlock(&place, &c->luks, block_graph_root(q->node->graph), c->secret, error);
    }
    return locked || c->cipher;
}

static bool open_aes(struct qcow2 *q, bool locked, GError **error)
{
    static const struct cipher_kind kind = {
        QAPI_QCRYPTO_CIPHER_ALGO_AES_128,
        QAPI_QCRYPTO_CIPHER_MODE_CBC,
        QAPI_QCRYPTO_IV_GEN_ALGO_PLAIN64,
        true,
        0,
    };
    struct qcow2_crypto *c = q->crypto;
    g_autofree char *password = NULL;
    uint8_t key[AES_KEY_BYTES] = {0};

    if (locked) {
        return true;
    }
    if (!q->node->read_only && !q->node->auto_read_only) {
        return block_error(error,
                            "images with the old AES encryption are only read: convert it to LUKS");
    }
    q->node->read_only = true;
    if (!c->secret) {
        return block_error(error,
                            "Parameter 'encrypt.key-secret' is required for cipher");
    }
    password = secret_get_text(block_graph_root(q->node->graph), c->secret, error);
    if (!password) {
        return false;
    }
    memcpy(key, password, MIN(strlen(password), sizeof(key)));
    c->cipher = cipher_new(&kind, key, sizeof(key), error);
    explicit_bzero(key, sizeof(key));
    return c->cipher != NULL;
}

bool co_qcow2_open_crypto(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o,
                          GError **error)
{
    bool locked = q->node->open_flags & BLOCK_OPEN_NO_IO,
         luks = q->header.crypt == QCOW2_CRYPT_LUKS;

    if (q->header.crypt == QCOW2_CRYPT_NONE) {
        return !o->encrypt ||
               block_error(error,
                            "No encryption in image header, but options specified format "
                            "'%s'",
                            qapi_enum_name(&qapi_type_blockdev_qcow2_encryption_format,
                                           (int)o->encrypt->format));
    }
    if (o->encrypt && (o->encrypt->format == QAPI_BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS) != luks) {
        return block_error(error,
            "Header reported '%s' encryption format but options specify another one",
            luks ? "luks" : "aes");
    }
    q->crypto = g_new0(struct qcow2_crypto, 1);
    if (o->encrypt) {
        q->crypto->secret =
            g_strdup(luks ? o->encrypt->u.luks.key_secret : o->encrypt->u.aes.key_secret);
    }
    return luks ? co_open_luks(q, locked, error) : open_aes(q, locked, error);
}

struct qapi_image_info_specific_qcow2_encryption *qcow2_describe_crypto(const struct qcow2 *q)
{
    struct qapi_image_info_specific_qcow2_encryption *info;

    if (!q->crypto) {
        return NULL;
    }
    info = g_new0(struct qapi_image_info_specific_qcow2_encryption, 1);
    info->format = q->header.crypt == QCOW2_CRYPT_LUKS ? QAPI_BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS
                                                       : QAPI_BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AES;
    if (q->header.crypt == QCOW2_CRYPT_LUKS) {
        luks_describe(&q->crypto->luks, false, &info->u.luks);
    }
    return info;
}

/* ---- New images, new passwords ---- */

/* Clusters for the header; then the image's header says that they are there. */
static int co_place_header(struct qcow2 *q, const struct luks_header *header, int64_t *offset)
{
    uint64_t bytes =
        ((uint64_t)header->payload * SECTOR + q->cluster_size - 1) & ~(q->cluster_size - 1);
    int result;

    co_mutex_lock(&q->lock);
    *offset = co_qcow2_allocate(q, bytes);
    result = *offset < 0
                 ? (int)*offset
                 : co_child_write_zeroes(q->file, (uint64_t)*offset, bytes, BLOCK_MAY_UNMAP);
    co_mutex_unlock(&q->lock);
    return result;
}

bool co_qcow2_create_crypto(struct qcow2 *q,
                            const struct qapi_qcrypto_block_create_options *options, GError **error)
{
    struct luks_header header;
    uint8_t key[CIPHER_MAX_KEY];
    g_autoptr(GBytes) material = NULL;
    struct crypt_place place;
    int64_t offset;
    int result;

    if (options->format != QAPI_QCRYPTO_BLOCK_FORMAT_LUKS) {
        return block_error(
            error, "new images aren't made with the old AES encryption: use encrypt.format=luks");
    }
    if (!co_crypt_prepare(&options->u.luks, block_graph_root(q->node->graph), &header, key,
                          &material, error)) {
        return false;
    }
    result = co_place_header(q, &header, &offset);
    if (result < 0) {
        return block_error(error, "Cannot allocate clusters for the LUKS header: %s",
                           g_strerror(-result));
    }
    q->header.crypto_offset = (uint64_t)offset;
    q->header.crypto_length = (uint64_t)header.payload * SECTOR;
    place = place_of(q);
    if (!co_crypt_write(&place, &header, material, error)) {
        return false;
    }
    q->header.crypt = QCOW2_CRYPT_LUKS;
    co_mutex_lock(&q->lock);
    result = co_qcow2_write_header(q);
    co_mutex_unlock(&q->lock);
    if (result < 0) {
        return block_error(error, "Could not write the header: %s", g_strerror(-result));
    }
    q->crypto = g_new0(struct qcow2_crypto, 1);
    q->crypto->luks = header;
    q->crypto->by_host = true;
    q->crypto->secret = g_strdup(options->u.luks.key_secret);
    q->crypto->cipher = cipher_new(&header.cipher, key, header.key_bytes, error);
    explicit_bzero(key, sizeof(key));
    return q->crypto->cipher != NULL;
}

const struct block_create_option qcow2_amend_options[] = {
    {"backing_file", "backing-file", "str", "File name of a base image", NULL, true},
    {"backing_fmt", "backing-fmt", "str", "Image format of the base image", NULL, true},
    {"compat", "version", "str", "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, true},
    {"data_file", "data-file", "str", "File name of an external data file", NULL, true},
    {"data_file_raw", "data-file-raw", "bool (on/off)",
     "The external data file must stay valid as a raw image", NULL, true},
    {"encrypt.iter-time", NULL, "num", "Time to spend in PBKDF in milliseconds", NULL, true},
    {"encrypt.keyslot", NULL, "num", "Select a single keyslot to modify explicitly", NULL, true},
    {"encrypt.new-secret", NULL, "str",
     "New secret to set in the matching keyslots. Empty string to erase", NULL, true},
    {"encrypt.old-secret", NULL, "str", "Select all keyslots that match this password", NULL, true},
    {"encrypt.state", NULL, "str", "Select new state of affected keyslots (active/inactive)", NULL,
     true},
    {"lazy_refcounts", "lazy-refcounts", "bool (on/off)", "Postpone refcount updates", NULL, true},
    {"refcount_bits", "refcount-bits", "num", "Width of a reference count entry in bits", NULL,
     true},
    {"size", NULL, "size", "Virtual disk size", NULL, true},
    {0},
};

bool co_qcow2_amend_crypto(struct qcow2 *q, json_object *options, bool force, GError **error)
{
    struct crypt_place place = place_of(q);

    if (!q->crypto || q->header.crypt != QCOW2_CRYPT_LUKS) {
        return block_error(error,
                            "only the key slots of LUKS can be amended, and this image has none");
    }
    return co_crypt_amend(&place, &q->crypto->luks, block_graph_root(q->node->graph),
                          q->crypto->secret, options, force, error);
}
