/*
 * guest/riscv/crypto.c: the ciphers and hashes built from the instructions, as programs use them,
 * against the published vectors.
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

/* ---- Hashes: the message "abc", one block ---- */

/* The first [bits] bits of the fraction of the nth prime's square or cube root, by bisection. */
static uint64_t root_fraction(unsigned prime, unsigned degree, unsigned bits)
{
    uint64_t low = 0, root = 1;

    while ((degree == 2 ? (root + 1) * (root + 1) : (root + 1) * (root + 1) * (root + 1)) <= prime)
        root++;
    for (int bit = (int)bits - 1; bit >= 0; bit--) {
        /* (root + f)^degree <= prime, in limbs of 16 bits so that nothing is rounded */
        uint64_t f = low | 1ull << bit;
        uint32_t x[5] = {0}, p[16] = {1}, q[16];
        bool less = true;

        for (unsigned i = 0; i < 4; i++)
            x[i] = f << (64 - bits) >> 16 * i & 0xffff;
        x[4] = (uint32_t)root;
        for (unsigned d = 0; d < degree; d++) {
            memset(q, 0, sizeof(q));
            for (unsigned i = 0; i < 11; i++) {
                uint64_t carry = 0;

                for (unsigned j = 0; j < 5; j++) {
                    carry += (uint64_t)p[i] * x[j] + q[i + j];
                    q[i + j] = carry & 0xffff;
                    carry >>= 16;
                }
                q[i + 5] = (uint32_t)carry;
            }
            memcpy(p, q, sizeof(p));
        }
        less = p[4 * degree] + (p[4 * degree + 1] << 16) < prime;
        if (less)
            low = f;
    }
    return low;
}

static unsigned nth_prime(unsigned n)
{
    for (unsigned p = 2;; p++) {
        bool prime = true;

        for (unsigned d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (prime && !n--)
            return p;
    }
}

static void test_sha256(void)
{
    static const uint32_t want[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                     0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    uint32_t h[8], s[8], w[64] = {0x61626380, [15] = 24};

    for (unsigned i = 0; i < 8; i++)
        s[i] = h[i] = (uint32_t)root_fraction(nth_prime(i), 2, 32);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1, t2;

        if (i >= 16)
            w[i] = (uint32_t)OP(sha256sig1, w[i - 2], 0, 0) + w[i - 7] +
                   (uint32_t)OP(sha256sig0, w[i - 15], 0, 0) + w[i - 16];
        t1 = s[7] + (uint32_t)OP(sha256sum1, s[4], 0, 0) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
             (uint32_t)root_fraction(nth_prime(i), 3, 32) + w[i];
        t2 = (uint32_t)OP(sha256sum0, s[0], 0, 0) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        g_assert_cmphex(s[i] + h[i], ==, want[i]);
    g_assert_cmphex(OP(sha256sig0, 0x80, 0, 0), ==, 0x200010 ^ 1);
    g_assert_cmphex(OP(sha256sum0, 2, 0, 0), ==, 0xffffffff80100800);
}

static void test_sha512(void)
{
    static const uint64_t want[8] = {0xddaf35a193617aba, 0xcc417349ae204131, 0x12e6fa4e89a97ea2,
                                     0x0a9eeee64b55d39a, 0x2192992a274fc1a8, 0x36ba3c23a3feebbd,
                                     0x454d4423643ce80e, 0x2a9ac94fa54ca49f};
    uint64_t h[8], s[8], w[80] = {0x6162638000000000, [15] = 24};

    for (unsigned i = 0; i < 8; i++)
        s[i] = h[i] = root_fraction(nth_prime(i), 2, 64);
    for (unsigned i = 0; i < 80; i++) {
        uint64_t t1, t2;

        if (i >= 16)
            w[i] = OP(sha512sig1, w[i - 2], 0, 0) + w[i - 7] + OP(sha512sig0, w[i - 15], 0, 0) +
                   w[i - 16];
        t1 = s[7] + OP(sha512sum1, s[4], 0, 0) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
             root_fraction(nth_prime(i), 3, 64) + w[i];
        t2 = OP(sha512sum0, s[0], 0, 0) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        g_assert_cmphex(s[i] + h[i], ==, want[i]);
}

static uint32_t rol(uint32_t v, unsigned n)
{
    return v << (n & 31) | v >> (-n & 31);
}

/* GB/T 32905-2016, appendix A.1 */
static void test_sm3(void)
{
    static const uint32_t want[8] = {0x66c7f0f4, 0x62eeedd9, 0xd1f2d46b, 0xdc10e4e2,
                                     0x4167c487, 0x5cf2f7a2, 0x297da02b, 0x8f4ba8e0};
    static const uint32_t iv[8] = {0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600,
                                   0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e};
    uint32_t s[8], w[68] = {0x61626380, [15] = 24};

    memcpy(s, iv, sizeof(s));
    for (unsigned i = 16; i < 68; i++)
        w[i] = (uint32_t)OP(sm3p1, w[i - 16] ^ w[i - 9] ^ rol(w[i - 3], 15), 0, 0) ^
               rol(w[i - 13], 7) ^ w[i - 6];
    for (unsigned i = 0; i < 64; i++) {
        bool early = i < 16;
        uint32_t ss1 = rol(rol(s[0], 12) + s[4] + rol(early ? 0x79cc4519 : 0x7a879d8a, i), 7);
        uint32_t ff = early ? s[0] ^ s[1] ^ s[2] : (s[0] & s[1]) | (s[0] & s[2]) | (s[1] & s[2]);
        uint32_t gg = early ? s[4] ^ s[5] ^ s[6] : (s[4] & s[5]) | (~s[4] & s[6]);
        uint32_t tt1 = ff + s[3] + (ss1 ^ rol(s[0], 12)) + (w[i] ^ w[i + 4]);
        uint32_t tt2 = gg + s[7] + ss1 + w[i];

        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[2] = rol(s[2], 9);
        s[6] = rol(s[6], 19);
        s[0] = tt1;
        s[4] = (uint32_t)OP(sm3p0, tt2, 0, 0);
    }
    for (unsigned i = 0; i < 8; i++)
        g_assert_cmphex(s[i] ^ iv[i], ==, want[i]);
    g_assert_cmphex(OP(sm3p0, 1, 0, 0), ==, 0x20201);
    g_assert_cmphex(OP(sm3p1, 1 << 16, 0, 0), ==, 0xffffffff80010080);
}

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
    g_assert_cmpstr(riscv_helper_sha256sig0.name, ==, "sha256sig0");
    /* A reserved round number reads no memory that it shouldn't. */
    g_assert_cmphex(OP(aes64ks1i, 0, 0, ~0ull), ==, 0x6363636363636363);
    g_assert_cmphex(OP(sm4ed, 0, 0, ~0ull), ==, OP(sm4ed, 0, 0, 3));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-crypto/aes", test_aes);
    g_test_add_func("/riscv-crypto/sm4", test_sm4);
    g_test_add_func("/riscv-crypto/sha256", test_sha256);
    g_test_add_func("/riscv-crypto/sha512", test_sha512);
    g_test_add_func("/riscv-crypto/sm3", test_sm3);
    g_test_add_func("/riscv-crypto/xperm", test_xperm);
    g_test_add_func("/riscv-crypto/helpers", test_pure);
    return g_test_run();
}
