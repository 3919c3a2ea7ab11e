/* LUKS headers in nodes: for driver luks, where it is at the begin of a file, and for qcow2, where
 * it has clusters. */
#ifndef NANDU_BLOCK_CRYPT_H
#define NANDU_BLOCK_CRYPT_H

#include "block/sparse.h"
#include "crypto/luks.h"

/* Where a header is: in a file that is open, or in one that is being made. */
struct crypt_place {
    struct block_node *node; /* for messages; NULL: file */
    struct block_edge *edge;
    struct format_file *file;
    uint64_t offset;
};

/* False and *error: there is none, or one that isn't supported. */
bool co_crypt_read_header(const struct crypt_place *place, struct luks_header *header,
                          GError **error);
/* The key that the secret's password opens: CIPHER_MAX_KEY bytes. The work is done in a thread of
 * the pool. */
bool co_crypt_find_key(const struct crypt_place *place, const struct luks_header *header,
                       struct object *root, const char *secret, uint8_t *key, GError **error);
/* The same to the end: a cipher. NULL and *error. */
struct cipher *co_crypt_unlock(const struct crypt_place *place, const struct luks_header *header,
                               struct object *root, const char *secret, GError **error);
/* A new header whose first slot has the password; header->payload is where data may begin. The
 * place has room for so many sectors. detached: in a file without data. *key as above. */
bool co_crypt_prepare(const struct qapi_qcrypto_block_create_options_luks *options,
                      struct object *root, struct luks_header *header, uint8_t *key,
                      GBytes **material, GError **error);
bool co_crypt_write(const struct crypt_place *place, const struct luks_header *header,
                    GBytes *material, GError **error);
/* Changes of key slots (QCryptoBlockAmendOptionsLUKS, key=value). secret: what the image was opened
 * with. */
bool co_crypt_amend(const struct crypt_place *place, struct luks_header *header,
                    struct object *root, const char *secret, json_object *options, bool force,
                    GError **error);

/* As cipher_encrypt and cipher_decrypt; what takes long is done in a thread of the pool, while the
 * loop goes on. */
void co_crypt_encrypt(const struct cipher *cipher, uint64_t sector, void *data, size_t bytes);
void co_crypt_decrypt(const struct cipher *cipher, uint64_t sector, void *data, size_t bytes);

#endif
