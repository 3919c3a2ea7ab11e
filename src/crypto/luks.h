/*
 * LUKS, version 1 (its "On-Disk Format Specification" 1.2.3): a header with the kind of cipher and
 * eight key slots, each of which may hold the master key, encrypted by a password and spread over
 * 4000 stripes. Computing only: who has the bytes reads and writes them.
 */
#ifndef NANDU_CRYPTO_LUKS_H
#define NANDU_CRYPTO_LUKS_H

#include "crypto/cipher.h"

enum {
    LUKS_HEADER_BYTES = 592,
    LUKS_SLOTS = 8,
    LUKS_STRIPES = 4000,
    LUKS_DIGEST_BYTES = 20,
    LUKS_SALT_BYTES = 32,
    LUKS_DEFAULT_ITER_MS = 2000,
};

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    uint32_t offset; /* of its key material, sectors */
};

struct luks_header {
    struct cipher_kind cipher;
    enum qapi_qcrypto_hash_algo hash;
    uint32_t payload; /* sectors */
    uint32_t key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES], salt[LUKS_SALT_BYTES]; /* of the master key */
    uint32_t iterations;
    char uuid[40];
    struct luks_slot slots[LUKS_SLOTS];
};

/* Of LUKS_HEADER_BYTES. False: it isn't one, or one of which something isn't built; *error says
 * what. */
bool luks_parse(struct luks_header *header, const uint8_t *data, GError **error);
void luks_format(const struct luks_header *header, uint8_t *data);

/* A new one without an active slot, and its master key (CIPHER_MAX_KEY bytes). Takes iter_time / 8.
 */
bool luks_new(struct luks_header *header,
              const struct qapi_qcrypto_block_create_options_luks *options, uint8_t *key,
              GError **error);

/* Bytes in front of the data of such an image. */
uint64_t luks_overhead(const struct qapi_qcrypto_block_create_options_luks *options);

/* Of a slot's key material, whole sectors. */
size_t luks_material_bytes(const struct luks_header *header);
/* Whether the password opens the slot, whose material is spoiled; key: as luks_new. Slow on
 * purpose. */
bool luks_open_slot(const struct luks_header *header, unsigned slot, const void *password,
                    size_t password_bytes, uint8_t *material, uint8_t *key);
/* Makes the slot active, and its material. Takes about iter_ms. */
bool luks_fill_slot(struct luks_header *header, unsigned slot, const void *password,
                    size_t password_bytes, const uint8_t *key, uint64_t iter_ms, uint8_t *material,
                    GError **error);

/* What is told of it. Caller frees by qapi_free or as a member. */
void luks_describe(const struct luks_header *header, bool detached,
                   struct qapi_qcrypto_block_info_luks *info);

#endif
