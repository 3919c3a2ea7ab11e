/*
 * Ciphers of disks: sectors of 512 bytes, each with an initialisation vector made from its number.
 * And the hashes and the key derivation that go with them.
 */
#ifndef NANDU_CRYPTO_CIPHER_H
#define NANDU_CRYPTO_CIPHER_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qapi/qapi_types.h"
#include "util/auto.h"

enum { CIPHER_SECTOR = 512, CIPHER_MAX_KEY = 64, HASH_MAX_BYTES = 64 };

/* ---- Hashes ---- */

/* Bytes of a digest; 0: the hash isn't built. */
size_t hash_bytes(enum qapi_qcrypto_hash_algo hash);
void hash_compute(enum qapi_qcrypto_hash_algo hash, const void *data, size_t size, uint8_t *digest);
/* PBKDF2 (RFC 8018, 5.2) with HMAC of the hash, which is built. */
void hash_derive_key(enum qapi_qcrypto_hash_algo hash, const void *password, size_t password_bytes,
                     const uint8_t *salt, size_t salt_bytes, uint64_t iterations, uint8_t *key,
                     size_t key_bytes);
/* How many iterations for a key of so many bytes take so many milliseconds here; takes about 50 ms
 * itself. */
uint64_t hash_count_iterations(enum qapi_qcrypto_hash_algo hash, size_t key_bytes,
                               uint64_t milliseconds);

/* ---- Ciphers ---- */

struct cipher_kind {
    enum qapi_qcrypto_cipher_algo algorithm;
    enum qapi_qcrypto_cipher_mode mode;
    enum qapi_qcrypto_iv_gen_algo ivgen;
    bool has_ivgen;                         /* without: the mode needs none (ecb) */
    enum qapi_qcrypto_hash_algo ivgen_hash; /* of essiv */
};

/* Bytes of a key of the kind, two keys together with xts; 0: not built. */
size_t cipher_key_bytes(const struct cipher_kind *kind);

/* Doesn't change once it is made: any number of threads may use it. */
struct cipher;
/* key: of cipher_key_bytes, not kept. NULL and *error: there is no such combination. */
struct cipher *cipher_new(const struct cipher_kind *kind, const uint8_t *key, size_t key_bytes,
                          GError **error);
void cipher_free(struct cipher *cipher);
DEFINE_AUTO_PTR(cipher, cipher_free)
/* In place; whole sectors, of which the first one has this number. */
void cipher_encrypt(const struct cipher *cipher, uint64_t sector, uint8_t *data, size_t bytes);
void cipher_decrypt(const struct cipher *cipher, uint64_t sector, uint8_t *data, size_t bytes);

#endif
