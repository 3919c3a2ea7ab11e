/* Ciphers of disks, by nettle. */
#include "crypto/cipher.h"

#include <nettle/aes.h>
#include <nettle/cast128.h>
#include <nettle/cbc.h>
#include <nettle/nettle-meta.h>
#include <nettle/serpent.h>
#include <nettle/twofish.h>
#include <nettle/xts.h>
#include <string.h>

#include "qapi/error.h"

enum { MAX_BLOCK = 16 };

union context {
    struct aes128_ctx aes128;
    struct aes192_ctx aes192;
    struct aes256_ctx aes256;
    struct serpent_ctx serpent;
    struct twofish_ctx twofish;
    struct cast128_ctx cast128;
};

struct cipher {
    struct cipher_kind kind;
    const struct nettle_cipher *algorithm, *iv_algorithm;
    union context encrypt, decrypt, tweak; /* tweak: of xts, the second key */
    union context iv;                      /* of essiv */
};

static const struct nettle_cipher *const algorithms[QAPI_QCRYPTO_CIPHER_ALGO__COUNT] = {
    [QAPI_QCRYPTO_CIPHER_ALGO_AES_128] = &nettle_aes128,
    [QAPI_QCRYPTO_CIPHER_ALGO_AES_192] = &nettle_aes192,
    [QAPI_QCRYPTO_CIPHER_ALGO_AES_256] = &nettle_aes256,
    [QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_128] = &nettle_serpent128,
    [QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_192] = &nettle_serpent192,
    [QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_256] = &nettle_serpent256,
    [QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_128] = &nettle_twofish128,
    [QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_192] = &nettle_twofish192,
    [QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_256] = &nettle_twofish256,
    [QAPI_QCRYPTO_CIPHER_ALGO_CAST5_128] = &nettle_cast128,
};

/* ---- Making one ---- */

size_t cipher_key_bytes(const struct cipher_kind *kind)
{
    const struct nettle_cipher *a = algorithms[kind->algorithm];

    return kind->mode == QAPI_QCRYPTO_CIPHER_MODE_XTS ? (a->block_size == 16 ? 2 * a->key_size : 0)
                                                      : a->key_size;
}

/* Of essiv: the same cipher, with a key as long as the hash's digest. */
static const struct nettle_cipher *find_iv_algorithm(const struct cipher_kind *kind)
{
    static const enum qapi_qcrypto_cipher_algo families[][3] = {
        {QAPI_QCRYPTO_CIPHER_ALGO_AES_128, QAPI_QCRYPTO_CIPHER_ALGO_AES_192,
         QAPI_QCRYPTO_CIPHER_ALGO_AES_256},
        {QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_128, QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_192,
         QAPI_QCRYPTO_CIPHER_ALGO_SERPENT_256},
        {QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_128, QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_192,
         QAPI_QCRYPTO_CIPHER_ALGO_TWOFISH_256},
    };
    size_t digest = hash_bytes(kind->ivgen_hash);

    for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
        bool mine = false;

        for (size_t j = 0; j < 3; j++) {
            mine |= families[i][j] == kind->algorithm;
        }
        for (size_t j = 0; mine && j < 3; j++) {
            if (algorithms[families[i][j]]->key_size == digest) {
                return algorithms[families[i][j]];
            }
        }
    }
    return NULL;
}

static bool set_error(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static bool check(const struct cipher_kind *kind, size_t key_bytes, GError **error)
{
    if (kind->mode != QAPI_QCRYPTO_CIPHER_MODE_ECB && kind->mode != QAPI_QCRYPTO_CIPHER_MODE_CBC &&
        kind->mode != QAPI_QCRYPTO_CIPHER_MODE_XTS) {
        return set_error(error, "this cipher mode isn't one for disks: use xts or cbc");
    }
    if (!cipher_key_bytes(kind)) {
        return set_error(error, "this cipher isn't built, or not with this mode");
    }
    if (key_bytes != cipher_key_bytes(kind)) {
        return set_error(error, "the key hasn't the length that the cipher needs");
    }
    if (kind->mode != QAPI_QCRYPTO_CIPHER_MODE_ECB && !kind->has_ivgen) {
        return set_error(error, "the cipher mode needs an IV generator: plain64, plain or essiv");
    }
    return true;
}

struct cipher *cipher_new(const struct cipher_kind *kind, const uint8_t *key, size_t key_bytes,
                          GError **error)
{
    auto_ptr(cipher) c = g_new0(struct cipher, 1);

    if (!check(kind, key_bytes, error)) {
        return NULL;
    }
    c->kind = *kind;
    c->algorithm = algorithms[kind->algorithm];
    c->algorithm->set_encrypt_key(&c->encrypt, key);
    c->algorithm->set_decrypt_key(&c->decrypt, key);
    if (kind->mode == QAPI_QCRYPTO_CIPHER_MODE_XTS) {
        c->algorithm->set_encrypt_key(&c->tweak, key + key_bytes / 2);
    }
    if (kind->has_ivgen && kind->ivgen == QAPI_QCRYPTO_IV_GEN_ALGO_ESSIV) {
        uint8_t salt[HASH_MAX_BYTES];

        c->iv_algorithm = find_iv_algorithm(kind);
        if (!c->iv_algorithm) {
            set_error(error,
                      "essiv needs a hash whose digest is as long as a key of the cipher: sha256");
            return NULL;
        }
        hash_compute(kind->ivgen_hash, key, key_bytes, salt);
        c->iv_algorithm->set_encrypt_key(&c->iv, salt);
        explicit_bzero(salt, sizeof(salt));
    }
    return g_steal_pointer(&c);
}

void cipher_free(struct cipher *cipher)
{
    if (cipher) {
        explicit_bzero(cipher, sizeof(*cipher));
        g_free(cipher);
    }
}

/* ---- Sectors ---- */

static void make_iv(const struct cipher *c, uint64_t sector, uint8_t *iv)
{
    uint64_t number = GUINT64_TO_LE(sector);

    memset(iv, 0, MAX_BLOCK);
    memcpy(iv, &number, c->kind.ivgen == QAPI_QCRYPTO_IV_GEN_ALGO_PLAIN ? 4 : 8);
    if (c->iv_algorithm) {
        c->iv_algorithm->encrypt(&c->iv, c->iv_algorithm->block_size, iv, iv);
    }
}

static void encrypt_sector(const struct cipher *c, uint64_t sector, uint8_t *data)
{
    uint8_t iv[MAX_BLOCK];

    make_iv(c, sector, iv);
    switch (c->kind.mode) {
    case QAPI_QCRYPTO_CIPHER_MODE_XTS:
        xts_encrypt_message(&c->encrypt, &c->tweak, c->algorithm->encrypt, iv, CIPHER_SECTOR, data,
                            data);
        break;
    case QAPI_QCRYPTO_CIPHER_MODE_CBC:
        cbc_encrypt(&c->encrypt, c->algorithm->encrypt, c->algorithm->block_size, iv, CIPHER_SECTOR,
                    data, data);
        break;
    default: c->algorithm->encrypt(&c->encrypt, CIPHER_SECTOR, data, data); break;
    }
}

static void decrypt_sector(const struct cipher *c, uint64_t sector, uint8_t *data)
{
    uint8_t iv[MAX_BLOCK];

    make_iv(c, sector, iv);
    switch (c->kind.mode) {
    case QAPI_QCRYPTO_CIPHER_MODE_XTS:
        xts_decrypt_message(&c->decrypt, &c->tweak, c->algorithm->decrypt, c->algorithm->encrypt,
                            iv, CIPHER_SECTOR, data, data);
        break;
    case QAPI_QCRYPTO_CIPHER_MODE_CBC:
        cbc_decrypt(&c->decrypt, c->algorithm->decrypt, c->algorithm->block_size, iv, CIPHER_SECTOR,
                    data, data);
        break;
    default: c->algorithm->decrypt(&c->decrypt, CIPHER_SECTOR, data, data); break;
    }
}

void cipher_encrypt(const struct cipher *cipher, uint64_t sector, uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CIPHER_SECTOR) {
        encrypt_sector(cipher, sector++, data + at);
    }
}

void cipher_decrypt(const struct cipher *cipher, uint64_t sector, uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CIPHER_SECTOR) {
        decrypt_sector(cipher, sector++, data + at);
    }
}
