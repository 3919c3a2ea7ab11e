/*
 * guest/riscv/crypto.c: the ciphers built from the instructions, as programs use them, against the
 * published vectors.
 */
#include <glib.h>
#include <string.h>

#include "guest/riscv/crypto.h"

#define OP(name, a, b, c) (riscv_helper_##name.fn(NULL, (a), (b), (c), 0))

/* The first eight bytes that [hex] spells, as the processor loads them. */
static uint64_t load64(const char *hex)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v |=
            (uint64_t)(g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]))
            << 8 * i;
    return v;
}

/* ---- AES (FIPS 197, appendices A and C) ---- */

struct aes_key {
    unsigned rounds;
    uint64_t k[2 * 15];
};

static void expand_128(struct aes_key *key)
{
    key->rounds = 10;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t *k = key->k + 2 * i, t = OP(aes64ks1i, k[1], 0, i);

        k[2] = OP(aes64ks2, t, k[0], 0);
        k[3] = OP(aes64ks2, k[2], k[1], 0);
    }
}

static void expand_192(struct aes_key *key)
{
    key->rounds = 12;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t *k = key->k + 3 * i, t = OP(aes64ks1i, k[2], 0, i);

        k[3] = OP(aes64ks2, t, k[0], 0);
        k[4] = OP(aes64ks2, k[3], k[1], 0);
        k[5] = OP(aes64ks2, k[4], k[2], 0);
    }
}

static void expand_256(struct aes_key *key)
{
    key->rounds = 14;
    for (unsigned i = 0; i < 7; i++) {
        uint64_t *k = key->k + 4 * i, t = OP(aes64ks1i, k[3], 0, i);

        k[4] = OP(aes64ks2, t, k[0], 0);
        k[5] = OP(aes64ks2, k[4], k[1], 0);
        if (i == 6)
            break;
        t = OP(aes64ks1i, k[5], 0, 10);
        k[6] = OP(aes64ks2, t, k[2], 0);
        k[7] = OP(aes64ks2, k[6], k[3], 0);
    }
}

static void aes_encrypt(const struct aes_key *key, uint64_t s[2])
{
    uint64_t a = s[0], b = s[1];

    for (unsigned i = 0; i < key->rounds; i++) {
        uint64_t x = a ^ key->k[2 * i], y = b ^ key->k[2 * i + 1];
        bool last = i == key->rounds - 1;

        a = last ? OP(aes64es, x, y, 0) : OP(aes64esm, x, y, 0);
        b = last ? OP(aes64es, y, x, 0) : OP(aes64esm, y, x, 0);
    }
    s[0] = a ^ key->k[2 * key->rounds];
    s[1] = b ^ key->k[2 * key->rounds + 1];
}

/* The equivalent inverse cipher: middle round keys go through InvMixColumns (aes64im). */
static void aes_decrypt(const struct aes_key *key, uint64_t s[2])
{
    uint64_t a = s[0] ^ key->k[2 * key->rounds], b = s[1] ^ key->k[2 * key->rounds + 1];

    for (unsigned i = key->rounds - 1; i > 0; i--) {
        uint64_t x = OP(aes64dsm, a, b, 0), y = OP(aes64dsm, b, a, 0);

        a = x ^ OP(aes64im, key->k[2 * i], 0, 0);
        b = y ^ OP(aes64im, key->k[2 * i + 1], 0, 0);
    }
    s[0] = OP(aes64ds, a, b, 0) ^ key->k[0];
    s[1] = OP(aes64ds, b, a, 0) ^ key->k[1];
}

static void check_aes(const char *key_hex, void (*expand)(struct aes_key *), const char *low,
                      const char *high)
{
    struct aes_key key;
    uint64_t s[2] = {load64("0011223344556677"), load64("8899aabbccddeeff")};

    for (unsigned i = 0; i < strlen(key_hex) / 16; i++)
        key.k[i] = load64(key_hex + 16 * i);
    expand(&key);
    aes_encrypt(&key, s);
    g_assert_cmphex(s[0], ==, load64(low));
    g_assert_cmphex(s[1], ==, load64(high));
    aes_decrypt(&key, s);
    g_assert_cmphex(s[0], ==, load64("0011223344556677"));
    g_assert_cmphex(s[1], ==, load64("8899aabbccddeeff"));
}

static void test_aes(void)
{
    struct aes_key key = {.k = {load64("2b7e151628aed2a6"), load64("abf7158809cf4f3c")}};

    expand_128(&key); /* FIPS 197, A.1: the last round key */
    g_assert_cmphex(key.k[20], ==, load64("d014f9a8c9ee2589"));
    g_assert_cmphex(key.k[21], ==, load64("e13f0cc8b6630ca6"));

    check_aes("000102030405060708090a0b0c0d0e0f", expand_128, "69c4e0d86a7b0430",
              "d8cdb78070b4c55a");
    check_aes("000102030405060708090a0b0c0d0e0f1011121314151617", expand_192, "dda97ca4864cdfe0",
              "6eaf70a0ec0d7191");
    check_aes("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", expand_256,
              "8ea2b7ca516745bf", "eafc49904b496089");
}

/* ---- SM4 (GB/T 32907-2016, appendix A.1) ---- */

static void test_sm4(void)
{
    static const uint32_t key[] = {0x01234567, 0x89abcdef, 0xfedcba98, 0x76543210};
    static const uint32_t fk[] = {0xa3b1bac6, 0x56aa3350, 0x677d9197, 0xb27022dc};
    static const uint32_t out[] = {0x681edf34, 0xd206965e, 0x86b3e94f, 0x536e4246};
    uint64_t k[36], x[36];

    for (unsigned i = 0; i < 4; i++) {
        k[i] = GUINT32_SWAP_LE_BE(key[i] ^ fk[i]);
        x[i] = GUINT32_SWAP_LE_BE(key[i]); /* the text of the vector equals the key */
    }
    for (unsigned i = 0; i < 32; i++) {
        uint32_t ck = 0;
        uint64_t t;

        for (unsigned j = 0; j < 4; j++)
            ck |= (uint32_t)((4 * i + j) * 7 & 0xff) << 8 * j;
        t = k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ ck;
        k[i + 4] = k[i];
        for (unsigned bs = 0; bs < 4; bs++)
            k[i + 4] = OP(sm4ks, k[i + 4], t, bs);
        t = x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ k[i + 4];
        x[i + 4] = x[i];
        for (unsigned bs = 0; bs < 4; bs++)
            x[i + 4] = OP(sm4ed, x[i + 4], t, bs);
        g_assert_cmphex(x[i + 4], ==, (uint64_t)(int32_t)x[i + 4]);
    }
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmphex((uint32_t)x[35 - i], ==, GUINT32_SWAP_LE_BE(out[i]));
}

/* ---- Crossbars (Zbkx) ---- */

static void test_xperm(void)
{
    g_assert_cmphex(OP(xperm4, 0xfedcba9876543210, 0x0123456789abcdef, 0), ==, 0x0123456789abcdef);
    g_assert_cmphex(OP(xperm4, 0x0f1e2d3c4b5a6978, 0x00000000000000f1, 0), ==, 0x8888888888888807);
    g_assert_cmphex(OP(xperm8, 0x8877665544332211, 0x0001020304050607, 0), ==, 0x1122334455667788);
    g_assert_cmphex(OP(xperm8, 0x8877665544332211, 0x08ff070000800300, 0), ==, 0x0000881111004411);
}

static void test_pure(void)
{
    g_assert_cmpint(riscv_helper_aes64esm.flags, ==, IR_HELPER_PURE);
    /* A reserved round number reads no memory that it shouldn't. */
    g_assert_cmphex(OP(aes64ks1i, 0, 0, ~0ull), ==, 0x6363636363636363);
    g_assert_cmphex(OP(sm4ed, 0, 0, ~0ull), ==, OP(sm4ed, 0, 0, 3));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-crypto/aes", test_aes);
    g_test_add_func("/riscv-crypto/sm4", test_sm4);
    g_test_add_func("/riscv-crypto/xperm", test_xperm);
    g_test_add_func("/riscv-crypto/helpers", test_pure);
    return g_test_run();
}
