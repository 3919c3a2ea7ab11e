/* LUKS1 headers and key slots (luks.h). */
#include "crypto/luks.h"

#include <stdio.h>
#include <string.h>

#include "qapi/error.h"
#include "util/guest_random.h"

enum {
    SECTOR = 512,
    ACTIVE = 0x00ac71f3,
    INACTIVE = 0x0000dead,
    FIRST_MATERIAL = 8,
    MATERIAL_ALIGN = 8, /* sectors */
    MIN_ITERATIONS = 1000,
    MAX_ITERATIONS = 200000000, /* some minutes: nobody waits for more */
};

/* All big-endian. */
struct disk_slot {
    uint32_t active, iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    uint32_t offset, stripes;
} __attribute__((packed));

struct disk_header {
    uint8_t magic[6];
    uint16_t version;
    char cipher[32], mode[32], hash[32];
    uint32_t payload, key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES], salt[LUKS_SALT_BYTES];
    uint32_t iterations;
    char uuid[40];
    struct disk_slot slots[LUKS_SLOTS];
} __attribute__((packed));

G_STATIC_ASSERT(sizeof(struct disk_header) == LUKS_HEADER_BYTES);

static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

static bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* ---- Names ---- */

static const struct {
    const char *name;
    uint32_t bytes; /* of a key, halved for xts */
    enum qapi_qcrypto_cipher_algo algorithm;
} ciphers[] = {
    {"aes", 16, QAPI_QCRYPTO_CIPHER_ALGO_AES_128},
    {"aes", 24, QAPI_QCRYPTO_CIPHER_ALGO_AES_192},
    {"aes", 32, QAPI_QCRYPTO_CIPHER_ALGO_AES_256},
    {"cast5", 16, QAPI_QCRYPTO_CIPHER_ALGO_CAST5_128},
    {"serpent", 16, QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_128},
    {"serpent", 24, QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_192},
    {"serpent", 32, QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_256},
    {"twofish", 16, QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_128},
    {"twofish", 24, QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_192},
    {"twofish", 32, QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_256},
};

static bool find_cipher(const char *name, uint32_t bytes, enum qapi_qcrypto_cipher_algo *algorithm)
{
    for (size_t i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        if (ciphers[i].bytes == bytes && g_str_equal(ciphers[i].name, name)) {
            *algorithm = ciphers[i].algorithm;
            return true;
        }
    }
    return false;
}

/* An enumeration's value by name; false: none. */
static bool find_value(const struct qapi_type *type, int count, const char *name, int *value)
{
    for (*value = 0; *value < count; ++*value) {
        if (g_str_equal(qapi_enum_name(type, *value), name)) {
            return true;
        }
    }
    return false;
}

static bool find_hash(const char *name, enum qapi_qcrypto_hash_algo *hash)
{
    int value;

    if (!find_value(&qapi_type_qcrypto_hash_algo, QAPI_QCRYPTO_HASH_ALGO__COUNT, name, &value)) {
        return false;
    }
    *hash = (enum qapi_qcrypto_hash_algo)value;
    return hash_bytes(*hash) != 0;
}

/* "xts-plain64", "cbc-essiv:sha256", "ecb". */
static bool parse_mode(struct cipher_kind *kind, const char *text, GError **error)
{
    g_autofree char *copy = g_strdup(text);
    char *ivgen = strchr(copy, '-'), *hash = ivgen ? strchr(ivgen, ':') : NULL;
    int value;

    if (ivgen) {
        *ivgen++ = 0;
    }
    if (hash) {
        *hash++ = 0;
    }
    if (!find_value(&qapi_type_qcrypto_cipher_mode, QAPI_QCRYPTO_CIPHER_MODE__COUNT, copy,
                    &value)) {
        return fail(error, "cipher mode '%s' isn't supported", text);
    }
    kind->mode = (enum qapi_qcrypto_cipher_mode)value;
    if (!ivgen) {
        return true;
    }
    if (!find_value(&qapi_type_qcrypto_iv_gen_algo, QAPI_QCRYPTO_IV_GEN_ALGO__COUNT, ivgen,
                    &value)) {
        return fail(error, "IV generator '%s' isn't supported", ivgen);
    }
    kind->has_ivgen = true;
    kind->ivgen = (enum qapi_qcrypto_iv_gen_algo)value;
    if (kind->ivgen == QAPI_QCRYPTO_IV_GEN_ALGO_ESSIV &&
        (!hash || !find_hash(hash, &kind->ivgen_hash))) {
        return fail(error, "IV generator '%s%s%s' isn't supported", ivgen, hash ? ":" : "",
                    hash ? hash : "");
    }
    return true;
}

/* ---- The header ---- */

static bool parse_slots(struct luks_header *h, const struct disk_header *disk, GError **error)
{
    uint64_t sectors = luks_material_bytes(h) / SECTOR;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct disk_slot *from = &disk->slots[i];
        struct luks_slot *to = &h->slots[i];
        uint32_t active = GUINT32_FROM_BE(from->active);

        if (active != ACTIVE && active != INACTIVE) {
            return fail(error, "Keyslot %u state is corrupted", i);
        }
        to->active = active == ACTIVE;
        to->iterations = GUINT32_FROM_BE(from->iterations);
        to->offset = GUINT32_FROM_BE(from->offset);
        memcpy(to->salt, from->salt, LUKS_SALT_BYTES);
        if (GUINT32_FROM_BE(from->stripes) != LUKS_STRIPES) {
            return fail(error, "Keyslot %u is corrupted (stripes %" PRIu32 " != %d)", i,
                        GUINT32_FROM_BE(from->stripes), LUKS_STRIPES);
        }
        if (to->offset < (LUKS_HEADER_BYTES + SECTOR - 1) / SECTOR ||
            (h->payload && to->offset + sectors > h->payload)) {
            return fail(error, "Keyslot %u overlaps the header or the encrypted data", i);
        }
        if (to->active && (!to->iterations || to->iterations > MAX_ITERATIONS)) {
            return fail(error, "Keyslot %u has %" PRIu32 " iterations, which can't be", i,
                        to->iterations);
        }
        for (unsigned j = 0; j < i; j++) {
            if (to->offset < h->slots[j].offset + sectors &&
                h->slots[j].offset < to->offset + sectors) {
                return fail(error, "Keyslots %u and %u are overlapping in the header", j, i);
            }
        }
    }
    return true;
}

bool luks_parse(struct luks_header *h, const uint8_t *data, GError **error)
{
    struct disk_header disk;

    memcpy(&disk, data, sizeof(disk));
    if (memcmp(disk.magic, magic, sizeof(magic))) {
        return fail(error, "Volume is not in LUKS format");
    }
    if (GUINT16_FROM_BE(disk.version) != 1) {
        return fail(error, "LUKS version %u is not supported", GUINT16_FROM_BE(disk.version));
    }
    if (!memchr(disk.cipher, 0, sizeof(disk.cipher)) || !memchr(disk.mode, 0, sizeof(disk.mode)) ||
        !memchr(disk.hash, 0, sizeof(disk.hash)) || !memchr(disk.uuid, 0, sizeof(disk.uuid))) {
        return fail(error, "LUKS header names of cipher, hash or UUID aren't terminated");
    }
    *h = (struct luks_header){
        .payload = GUINT32_FROM_BE(disk.payload),
        .key_bytes = GUINT32_FROM_BE(disk.key_bytes),
        .iterations = GUINT32_FROM_BE(disk.iterations),
    };
    memcpy(h->digest, disk.digest, sizeof(h->digest));
    memcpy(h->salt, disk.salt, sizeof(h->salt));
    memcpy(h->uuid, disk.uuid, sizeof(h->uuid));
    if (!parse_mode(&h->cipher, disk.mode, error)) {
        return false;
    }
    if (!find_cipher(disk.cipher,
                     h->cipher.mode == QAPI_QCRYPTO_CIPHER_MODE_XTS ? h->key_bytes / 2
                                                                    : h->key_bytes,
                     &h->cipher.algorithm) ||
        h->key_bytes != cipher_key_bytes(&h->cipher) || h->key_bytes > CIPHER_MAX_KEY) {
        return fail(error, "Algorithm '%s' with key size %" PRIu32 " bytes not supported",
                    disk.cipher, h->key_bytes);
    }
    if (!find_hash(disk.hash, &h->hash)) {
        return fail(error, "Hash algorithm '%s' is not supported", disk.hash);
    }
    if (!h->iterations || h->iterations > MAX_ITERATIONS) {
        return fail(error, "LUKS key iteration count %" PRIu32 " can't be", h->iterations);
    }
    return parse_slots(h, &disk, error);
}

void luks_format(const struct luks_header *h, uint8_t *data)
{
    struct disk_header disk = {
        .version = GUINT16_TO_BE(1),
        .payload = GUINT32_TO_BE(h->payload),
        .key_bytes = GUINT32_TO_BE(h->key_bytes),
        .iterations = GUINT32_TO_BE(h->iterations),
    };
    const char *mode = qapi_enum_name(&qapi_type_qcrypto_cipher_mode, (int)h->cipher.mode);

    memcpy(disk.magic, magic, sizeof(magic));
    for (size_t i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        if (ciphers[i].algorithm == h->cipher.algorithm) {
            g_strlcpy(disk.cipher, ciphers[i].name, sizeof(disk.cipher));
        }
    }
    if (!h->cipher.has_ivgen) {
        g_strlcpy(disk.mode, mode, sizeof(disk.mode));
    } else {
        bool essiv = h->cipher.ivgen == QAPI_QCRYPTO_IV_GEN_ALGO_ESSIV;

        snprintf(
            disk.mode, sizeof(disk.mode), "%s-%s%s%s", mode,
            qapi_enum_name(&qapi_type_qcrypto_iv_gen_algo, (int)h->cipher.ivgen), essiv ? ":" : "",
            essiv ? qapi_enum_name(&qapi_type_qcrypto_hash_algo, (int)h->cipher.ivgen_hash) : "");
    }
    g_strlcpy(disk.hash, qapi_enum_name(&qapi_type_qcrypto_hash_algo, (int)h->hash),
              sizeof(disk.hash));
    memcpy(disk.digest, h->digest, sizeof(disk.digest));
    memcpy(disk.salt, h->salt, sizeof(disk.salt));
    memcpy(disk.uuid, h->uuid, sizeof(disk.uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        disk.slots[i] = (struct disk_slot){
            .active = GUINT32_TO_BE(h->slots[i].active ? ACTIVE : INACTIVE),
            .iterations = GUINT32_TO_BE(h->slots[i].iterations),
            .offset = GUINT32_TO_BE(h->slots[i].offset),
            .stripes = GUINT32_TO_BE(LUKS_STRIPES),
        };
        memcpy(disk.slots[i].salt, h->slots[i].salt, LUKS_SALT_BYTES);
    }
    memcpy(data, &disk, sizeof(disk));
}

size_t luks_material_bytes(const struct luks_header *h)
{
    return ((size_t)h->key_bytes * LUKS_STRIPES + SECTOR - 1) / SECTOR * SECTOR;
}

/* ---- The anti-forensic splitter (chapter 2.4) ---- */

static void diffuse(enum qapi_qcrypto_hash_algo hash, uint8_t *block, size_t bytes)
{
    size_t step = hash_bytes(hash);
    uint8_t in[4 + HASH_MAX_BYTES], out[HASH_MAX_BYTES];

    for (size_t at = 0, i = 0; at < bytes; at += step, i++) {
        size_t n = MIN(step, bytes - at);
        uint32_t number = GUINT32_TO_BE((uint32_t)i);

        memcpy(in, &number, 4);
        memcpy(in + 4, block + at, n);
        hash_compute(hash, in, 4 + n, out);
        memcpy(block + at, out, n);
    }
}

/* Of all stripes but the last one. */
static void fold(const struct luks_header *h, const uint8_t *material, uint8_t *block)
{
    memset(block, 0, h->key_bytes);
    for (unsigned i = 0; i < LUKS_STRIPES - 1; i++) {
        for (uint32_t j = 0; j < h->key_bytes; j++) {
            block[j] ^= material[i * h->key_bytes + j];
        }
        diffuse(h->hash, block, h->key_bytes);
    }
}

/* The last stripe and the others' fold make the key, and the other way round. */
static void apply(const struct luks_header *h, const uint8_t *block, const uint8_t *from,
                  uint8_t *to)
{
    for (uint32_t i = 0; i < h->key_bytes; i++) {
        to[i] = block[i] ^ from[i];
    }
}

/* ---- Slots ---- */

static struct cipher *slot_cipher(const struct luks_header *h, unsigned slot, const void *password,
                                  size_t password_bytes, GError **error)
{
    uint8_t key[CIPHER_MAX_KEY];
    struct cipher *cipher;

    hash_derive_key(h->hash, password, password_bytes, h->slots[slot].salt, LUKS_SALT_BYTES,
                    h->slots[slot].iterations, key, h->key_bytes);
    cipher = cipher_new(&h->cipher, key, h->key_bytes, error);
    explicit_bzero(key, sizeof(key));
    return cipher;
}

bool luks_open_slot(const struct luks_header *h, unsigned slot, const void *password,
                    size_t password_bytes, uint8_t *material, uint8_t *key)
{
    auto_ptr(cipher) cipher = slot_cipher(h, slot, password, password_bytes, NULL);
    uint8_t block[CIPHER_MAX_KEY], digest[LUKS_DIGEST_BYTES];
    bool right;

    if (!cipher) {
        return false;
    }
    cipher_decrypt(cipher, 0, material, luks_material_bytes(h));
    fold(h, material, block);
    apply(h, block, material + (LUKS_STRIPES - 1) * h->key_bytes, key);
    hash_derive_key(h->hash, key, h->key_bytes, h->salt, LUKS_SALT_BYTES, h->iterations, digest,
                    sizeof(digest));
    right = !memcmp(digest, h->digest, sizeof(digest));
    if (!right) {
        explicit_bzero(key, CIPHER_MAX_KEY);
    }
    explicit_bzero(block, sizeof(block));
    return right;
}

static uint32_t count_iterations(const struct luks_header *h, size_t key_bytes,
                                 uint64_t milliseconds)
{
    return (uint32_t)CLAMP(hash_count_iterations(h->hash, key_bytes, milliseconds), MIN_ITERATIONS,
                           MAX_ITERATIONS);
}

bool luks_fill_slot(struct luks_header *h, unsigned slot, const void *password,
                    size_t password_bytes, const uint8_t *key, uint64_t iter_ms, uint8_t *material,
                    GError **error)
{
    struct luks_slot *s = &h->slots[slot];
    auto_ptr(cipher) cipher = NULL;
    uint8_t block[CIPHER_MAX_KEY];
    size_t last = (size_t)(LUKS_STRIPES - 1) * h->key_bytes;

    if (!iter_ms || iter_ms > 3600000) {
        return fail(error, "iter-time must be from 1 to 3600000 milliseconds");
    }
    kernel_random(s->salt, LUKS_SALT_BYTES);
    kernel_random(material, last);
    s->iterations = count_iterations(h, h->key_bytes, iter_ms);
    cipher = slot_cipher(h, slot, password, password_bytes, error);
    if (!cipher) {
        return false;
    }
    memset(material + last, 0, luks_material_bytes(h) - last);
    fold(h, material, block);
    apply(h, block, key, material + last);
    cipher_encrypt(cipher, 0, material, luks_material_bytes(h));
    s->active = true;
    explicit_bzero(block, sizeof(block));
    return true;
}

/* ---- New ones ---- */

static void choose_cipher(struct luks_header *h,
                          const struct qapi_qcrypto_block_create_options_luks *o)
{
    h->cipher = (struct cipher_kind){
        .algorithm = o->has_cipher_alg ? o->cipher_alg : QAPI_QCRYPTO_CIPHER_ALGO_AES_256,
        .mode = o->has_cipher_mode ? o->cipher_mode : QAPI_QCRYPTO_CIPHER_MODE_XTS,
        .has_ivgen = true, /* also with ecb, which has no use for one: QEMU wants a name there */
        .ivgen = o->has_ivgen_alg ? o->ivgen_alg : QAPI_QCRYPTO_IV_GEN_ALGO_PLAIN64,
        .ivgen_hash = o->has_ivgen_hash_alg ? o->ivgen_hash_alg : QAPI_QCRYPTO_HASH_ALGO_SHA256,
    };
    h->hash = o->has_hash_alg ? o->hash_alg : QAPI_QCRYPTO_HASH_ALGO_SHA256;
}

static void make_uuid(struct luks_header *h)
{
    g_autofree char *uuid = g_uuid_string_random();

    g_strlcpy(h->uuid, uuid, sizeof(h->uuid));
}

/* By the key's length. */
static void set_layout(struct luks_header *h)
{
    uint32_t sectors = (uint32_t)(luks_material_bytes(h) / SECTOR + MATERIAL_ALIGN - 1) /
                       MATERIAL_ALIGN * MATERIAL_ALIGN;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        h->slots[i].offset = FIRST_MATERIAL + i * sectors;
    }
    h->payload = FIRST_MATERIAL + LUKS_SLOTS * sectors;
}

uint64_t luks_overhead(const struct qapi_qcrypto_block_create_options_luks *o)
{
    struct luks_header h = {0};

    choose_cipher(&h, o);
    h.key_bytes = (uint32_t)cipher_key_bytes(&h.cipher);
    set_layout(&h);
    return (uint64_t)h.payload * SECTOR;
}

bool luks_new(struct luks_header *h, const struct qapi_qcrypto_block_create_options_luks *o,
              uint8_t *key, GError **error)
{
    uint64_t iter_ms = o->has_iter_time ? (uint64_t)o->iter_time : LUKS_DEFAULT_ITER_MS;
    struct cipher *cipher;

    *h = (struct luks_header){0};
    choose_cipher(h, o);
    if (!iter_ms || iter_ms > 3600000) {
        return fail(error, "iter-time must be from 1 to 3600000 milliseconds");
    }
    if (!hash_bytes(h->hash) || (o->has_ivgen_hash_alg && !hash_bytes(o->ivgen_hash_alg))) {
        return fail(error, "This hash algorithm isn't built");
    }
    h->key_bytes = (uint32_t)cipher_key_bytes(&h->cipher);
    memset(key, 0, CIPHER_MAX_KEY);
    cipher = cipher_new(&h->cipher, key, h->key_bytes, error); /* whether the combination can be */
    if (!cipher) {
        return false;
    }
    cipher_free(cipher);
    kernel_random(key, h->key_bytes);
    kernel_random(h->salt, LUKS_SALT_BYTES);
    make_uuid(h);
    h->iterations = count_iterations(h, LUKS_DIGEST_BYTES, MAX(iter_ms / 8, 1));
    hash_derive_key(h->hash, key, h->key_bytes, h->salt, LUKS_SALT_BYTES, h->iterations, h->digest,
                    LUKS_DIGEST_BYTES);
    set_layout(h);
    return true;
}

void luks_describe(const struct luks_header *h, bool detached,
                   struct qapi_qcrypto_block_info_luks *info)
{
    *info = (struct qapi_qcrypto_block_info_luks){
        .cipher_alg = h->cipher.algorithm,
        .cipher_mode = h->cipher.mode,
        .ivgen_alg = h->cipher.ivgen,
        .has_ivgen_hash_alg =
            h->cipher.has_ivgen && h->cipher.ivgen == QAPI_QCRYPTO_IV_GEN_ALGO_ESSIV,
        .ivgen_hash_alg = h->cipher.ivgen_hash,
        .hash_alg = h->hash,
        .detached_header = detached,
        .payload_offset = (int64_t)h->payload * SECTOR,
        .master_key_iters = h->iterations,
        .uuid = g_strdup(h->uuid),
    };
    info->slots.n = LUKS_SLOTS;
    info->slots.v = g_malloc0_n(LUKS_SLOTS, sizeof(info->slots.v[0]));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        struct qapi_qcrypto_block_info_luks_slot *slot = &info->slots.v[i];

        slot->active = h->slots[i].active;
        slot->has_iters = slot->has_stripes = slot->active;
        slot->iters = h->slots[i].iterations;
        slot->stripes = LUKS_STRIPES;
        slot->key_offset = (int64_t)h->slots[i].offset * SECTOR;
    }
}
