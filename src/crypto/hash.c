/* Hashes, and keys from passwords, by nettle. */
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <string.h>
#include <time.h>

#include "crypto/cipher.h"

/* Large enough for each hash's context. */
union context {
    struct md5_ctx md5;
    struct sha1_ctx sha1;
    struct sha256_ctx sha256;
    struct sha512_ctx sha512;
    struct ripemd160_ctx ripemd160;
};

struct hmac {
    const struct nettle_hash *hash;
    union context outer, inner, state;
};

static const struct nettle_hash *find(enum qapi_qcrypto_hash_algo hash)
{
    switch (hash) {
    case QAPI_QCRYPTO_HASH_ALGO_MD5: return &nettle_md5;
    case QAPI_QCRYPTO_HASH_ALGO_SHA1: return &nettle_sha1;
    case QAPI_QCRYPTO_HASH_ALGO_SHA224: return &nettle_sha224;
    case QAPI_QCRYPTO_HASH_ALGO_SHA256: return &nettle_sha256;
    case QAPI_QCRYPTO_HASH_ALGO_SHA384: return &nettle_sha384;
    case QAPI_QCRYPTO_HASH_ALGO_SHA512: return &nettle_sha512;
    case QAPI_QCRYPTO_HASH_ALGO_RIPEMD160: return &nettle_ripemd160;
    default: return NULL;
    }
}

size_t hash_bytes(enum qapi_qcrypto_hash_algo hash)
{
    const struct nettle_hash *h = find(hash);

    return h ? h->digest_size : 0;
}

void hash_compute(enum qapi_qcrypto_hash_algo hash, const void *data, size_t size, uint8_t *digest)
{
    const struct nettle_hash *h = find(hash);
    union context context;

    h->init(&context);
    h->update(&context, size, data);
    h->digest(&context, h->digest_size, digest);
}

static void hmac_update_step(void *opaque, size_t size, const uint8_t *data)
{
    struct hmac *hmac = opaque;

    hmac_update(&hmac->state, hmac->hash, size, data);
}

static void hmac_digest_step(void *opaque, size_t size, uint8_t *digest)
{
    struct hmac *hmac = opaque;

    hmac_digest(&hmac->outer, &hmac->inner, &hmac->state, hmac->hash, size, digest);
}

void hash_derive_key(enum qapi_qcrypto_hash_algo hash, const void *password, size_t password_bytes,
                     const uint8_t *salt, size_t salt_bytes, uint64_t iterations, uint8_t *key,
                     size_t key_bytes)
{
    struct hmac hmac = {.hash = find(hash)};

    hmac_set_key(&hmac.outer, &hmac.inner, &hmac.state, hmac.hash, password_bytes, password);
    pbkdf2(&hmac, hmac_update_step, hmac_digest_step, hmac.hash->digest_size,
           (unsigned)MIN(iterations, (uint64_t)UINT32_MAX), salt_bytes, salt, key_bytes, key);
    memset(&hmac, 0, sizeof(hmac));
}

static uint64_t cpu_time_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t hash_count_iterations(enum qapi_qcrypto_hash_algo hash, size_t key_bytes,
                               uint64_t milliseconds)
{
    enum { ENOUGH_NS = 20000000 };
    static const uint8_t salt[32];
    uint8_t key[CIPHER_MAX_KEY];
    uint64_t iterations = 1 << 10, ns = 0;

    while (ns < ENOUGH_NS) {
        uint64_t start = cpu_time_ns();

        iterations *= 2;
        hash_derive_key(hash, "password", 8, salt, sizeof(salt), iterations, key,
                        MIN(key_bytes, sizeof(key)));
        ns = cpu_time_ns() - start;
    }
    return (uint64_t)((double)iterations * 1e6 / (double)ns * (double)milliseconds);
}
