/*
 * Encrypted qcow2 images: LUKS, whose header has clusters of its own and whose sector numbers are
 * of the file, and the old way ("aes"), where the password is the key and sector numbers are of the
 * disk. That one hides little: it is there for images that exist.
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
    co_crypt_encrypt(q->crypto->cipher, (q->crypto->by_host ? host : guest) / SECTOR, data, bytes);
    return 0;
}

int co_qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes)
{
    if (!q->crypto->cipher || bytes % SECTOR) {
        return -EACCES;
    }
    co_crypt_decrypt(q->crypto->cipher, (q->crypto->by_host ? host : guest) / SECTOR, data, bytes);
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

/* The first bytes of the password are the key. */
static struct cipher *aes_cipher(const struct qcow2 *q, const char *secret, GError **error)
{
    static const struct cipher_kind kind = {
        QAPI_QCRYPTO_CIPHER_ALGO_AES_128,
        QAPI_QCRYPTO_CIPHER_MODE_CBC,
        QAPI_QCRYPTO_IV_GEN_ALGO_PLAIN64,
        true,
        0,
    };
    g_autofree char *password = NULL;
    uint8_t key[AES_KEY_BYTES] = {0};
    struct cipher *cipher;

    if (!secret) {
        block_error(error, "Parameter 'encrypt.key-secret' is required for cipher");
        return NULL;
    }
    password = secret_get_text(block_graph_root(q->node->graph), secret, error);
    if (!password) {
        return NULL;
    }
    memcpy(key, password, MIN(strlen(password), sizeof(key)));
    cipher = cipher_new(&kind, key, sizeof(key), error);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(password, strlen(password));
    return cipher;
}

static bool open_aes(struct qcow2 *q, bool locked, GError **error)
{
    struct qcow2_crypto *c = q->crypto;

    if (!locked) {
        c->cipher = aes_cipher(q, c->secret, error);
    }
    return locked || c->cipher;
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

static bool co_write_image_header(struct qcow2 *q, enum qcow2_crypt kind, GError **error)
{
    int result;

    q->header.crypt = kind;
    co_mutex_lock(&q->lock);
    result = co_qcow2_write_header(q);
    co_mutex_unlock(&q->lock);
    return result >= 0 ||
           block_error(error, "Could not write the header: %s", g_strerror(-result));
}

static bool co_create_aes(struct qcow2 *q, const char *secret, GError **error)
{
    auto_ptr(cipher) cipher = aes_cipher(q, secret, error);

    if (!cipher || !co_write_image_header(q, QCOW2_CRYPT_AES, error)) {
        return false;
    }
    q->crypto = g_new0(struct qcow2_crypto, 1);
    q->crypto->secret = g_strdup(secret);
    q->crypto->cipher = g_steal_pointer(&cipher);
    return true;
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

    if (options->format == QAPI_QCRYPTO_BLOCK_FORMAT_QCOW) {
        return co_create_aes(q, options->u.qcow.key_secret, error);
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
    if (!co_write_image_header(q, QCOW2_CRYPT_LUKS, error)) {
        return false;
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

uint64_t qcow2_crypto_overhead(const struct qapi_qcrypto_block_create_options *options,
                               uint64_t cluster_size)
{
    if (!options || options->format != QAPI_QCRYPTO_BLOCK_FORMAT_LUKS) {
        return 0;
    }
    return (luks_overhead(&options->u.luks) + cluster_size - 1) & ~(cluster_size - 1);
}

/* The format is "aes" where people write it and "qcow" in the schema of images that are made. */
bool co_qcow2_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                             GError **error)
{
    json_object *encrypt = NULL, *format = NULL, *old;
    bool aes;

    if (json_object_object_get_ex(options, "encrypt", &encrypt) &&
        json_object_is_type(encrypt, json_type_object)) {
        json_object_object_get_ex(encrypt, "format", &format);
    }
    aes = format && g_str_equal(json_object_get_string(format), "aes");
    if (json_object_object_get_ex(options, "encryption", &old)) {
        if (format) {
            return block_error(
                error,
                "'encrypt.format' and its alias 'encryption' can't be used at the same time");
        }
        aes = g_str_equal(json_object_get_string(old), "on");
        json_object_object_del(options, "encryption");
    }
    if (aes && !encrypt) {
        encrypt = json_object_new_object();
        json_object_object_add(options, "encrypt", encrypt);
    }
    if (aes) {
        json_object_object_add(encrypt, "format", json_object_new_string("qcow"));
    }
    return true;
}

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
