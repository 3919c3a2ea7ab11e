/*
 * hw/state.h: what a table of fields resets, saves and restores, and what it refuses.
 */
#include <string.h>

#include "hw_test.h"
#include "hw/state.h"

struct inner {
    uint16_t a;
    bool b;
};

struct sample {
    uint8_t small;
    uint32_t words[3];
    uint64_t big;
    bool flag;
    uint8_t bytes[5];
    uint8_t *text;
    uint32_t text_size;
    uint64_t *values;
    uint32_t n_values;
    struct inner inner[2];
    uint32_t kept, newer;
    bool refuse;
    unsigned loads;
};

static const struct state_field inner_fields[] = {
    STATE_FIELD(inner, a, STATE_U16, .reset = 7),
    STATE_FIELD(inner, b, STATE_BOOL),
};

static const struct state_field sample_fields[] = {
    STATE_FIELD(sample, small, STATE_U8, .reset = 0xab),
    STATE_ARRAY(sample, words, STATE_U32, .reset = 0x12345678),
    STATE_FIELD(sample, big, STATE_U64, .reset = UINT64_MAX),
    STATE_FIELD(sample, flag, STATE_BOOL, .reset = 1),
    STATE_ARRAY(sample, bytes, STATE_BYTES, .reset = 0xff),
    STATE_POINTER(sample, text, STATE_VAR_BYTES, text_size, .count = 10),
    STATE_POINTER(sample, values, STATE_U64, n_values, .reset = 5),
    STATE_ARRAY(sample, inner, STATE_STRUCT, .fields = inner_fields,
                .n_fields = G_N_ELEMENTS(inner_fields), .size = sizeof(struct inner)),
    STATE_FIELD(sample, kept, STATE_U32, .reset = 1, .keep = true),
    STATE_FIELD(sample, newer, STATE_U32, .reset = 99, .since = 2),
};

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct sample *s = instance;

    s->loads++;
    if (s->refuse && s->small == 3) {
        g_set_error(error, G_FILE_ERROR, 0, "refused");
        return false;
    }
    return true;
}

static const struct state_table table = {
    .name = "sample",
    .version = 2,
    .fields = sample_fields,
    .n_fields = G_N_ELEMENTS(sample_fields),
    .after_load = after_load,
};

/* Without the field of version 2. */
static const struct state_table old_table = {
    .name = "sample",
    .version = 1,
    .fields = sample_fields,
    .n_fields = G_N_ELEMENTS(sample_fields) - 1,
};

static void sample_init(struct sample *s)
{
    *s = (struct sample){.values = g_new0(uint64_t, 4), .n_values = 4, .kept = 42};
}

static void sample_fill(struct sample *s)
{
    s->small = 3;
    s->words[2] = 0x89abcdef;
    s->big = 0x0123456789abcdefull;
    s->flag = true;
    memcpy(s->bytes, "hello", 5);
    s->text = g_memdup2("longer", 6);
    s->text_size = 6;
    s->values[3] = 1ull << 40;
    s->inner[1] = (struct inner){.a = 0x1234, .b = true};
    s->newer = 17;
}

static void sample_clear(struct sample *s)
{
    g_free(s->text);
    g_free(s->values);
}

static void test_reset(void)
{
    struct sample s;

    sample_init(&s);
    sample_fill(&s);
    state_reset(&table, &s);
    g_assert_cmpuint(s.small, ==, 0xab);
    g_assert_cmpuint(s.words[0], ==, 0x12345678);
    g_assert_cmpuint(s.words[2], ==, 0x12345678);
    g_assert_true(s.big == UINT64_MAX && s.flag);
    g_assert_cmpuint(s.bytes[4], ==, 0xff);
    g_assert_null(s.text);
    g_assert_cmpuint(s.text_size, ==, 0);
    g_assert_true(s.values[0] == 5 && s.values[3] == 5 && s.n_values == 4);
    g_assert_true(s.inner[1].a == 7 && !s.inner[1].b);
    g_assert_cmpuint(s.kept, ==, 42);
    sample_clear(&s);
}

static void test_save_load(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *error = NULL;
    struct sample s, other;
    size_t position = 0;

    sample_init(&s);
    sample_fill(&s);
    state_save(&table, &s, "/machine/a", out);
    state_save(&table, &s, "/machine/b", out);
    sample_init(&other);
    g_assert_true(state_load(&table, &other, "/machine/a", out->data, out->len, &position, &error));
    g_assert_cmpuint(position, ==, out->len / 2);
    g_assert_true(state_load(&table, &other, "/machine/b", out->data, out->len, &position, &error));
    g_assert_cmpuint(position, ==, out->len);
    g_assert_cmpmem(other.text, other.text_size, "longer", 6);
    g_assert_cmpmem(other.bytes, 5, "hello", 5);
    g_assert_true(other.small == 3 && other.words[2] == 0x89abcdef && other.big == s.big);
    g_assert_true(other.values[3] == 1ull << 40 && other.inner[1].a == 0x1234 && other.inner[1].b);
    g_assert_true(other.newer == 17 && other.kept == 42 && other.loads == 2);
    sample_clear(&s);
    sample_clear(&other);
}

static void test_versions(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *error = NULL;
    struct sample s, other;
    size_t position = 0;

    sample_init(&s);
    sample_fill(&s);
    state_save(&old_table, &s, "a", out);
    sample_init(&other);
    other.newer = 1;
    g_assert_true(state_load(&table, &other, "a", out->data, out->len, &position, &error));
    g_assert_cmpuint(other.newer, ==, 99);

    g_byte_array_set_size(out, 0);
    position = 0;
    state_save(&table, &s, "a", out);
    g_assert_false(state_load(&old_table, &other, "a", out->data, out->len, &position, &error));
    assert_error_matches(error, "*'a'*version 2 and this program knows versions up to 1");
    g_clear_error(&error);
    g_assert_false(state_load(&table, &other, "b", out->data, out->len, &position, &error));
    assert_error_matches(error, "*'b'*of 'a', a sample");
    g_clear_error(&error);
    g_assert_cmpuint(position, ==, 0);
    sample_clear(&s);
    sample_clear(&other);
}

/* A load that fails leaves everything as it was. */
static void test_refused(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *error = NULL;
    struct sample s, other;
    size_t position = 0;

    sample_init(&s);
    sample_fill(&s);
    state_save(&table, &s, "a", out);
    sample_init(&other);
    other.refuse = true;
    other.small = 8;
    other.text = g_memdup2("old", 3);
    other.text_size = 3;
    g_assert_false(state_load(&table, &other, "a", out->data, out->len, &position, &error));
    assert_error_matches(error, "refused");
    g_clear_error(&error);
    g_assert_true(other.small == 8 && other.values[3] == 0 && other.loads == 2);
    g_assert_cmpmem(other.text, other.text_size, "old", 3);
    g_assert_cmpuint(position, ==, 0);

    other.n_values = 3;
    g_assert_false(state_load(&table, &other, "a", out->data, out->len, &position, &error));
    assert_error_matches(error, "*'values' has 4 elements, 3 are right");
    g_clear_error(&error);
    g_assert_cmpuint(other.small, ==, 8);
    sample_clear(&s);
    sample_clear(&other);
}

/* Cut off or changed anywhere: an error, or what can be. */
static void test_damaged(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    struct sample s, other;

    sample_init(&s);
    sample_fill(&s);
    state_save(&table, &s, "a", out);
    sample_init(&other);
    for (guint n = 0; n < out->len; n++) {
        g_autoptr(GError) error = NULL;
        size_t position = 0;

        g_assert_false(state_load(&table, &other, "a", out->data, n, &position, &error));
        g_assert_nonnull(error);
    }
    for (guint n = 0; n < out->len; n++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            g_autofree uint8_t *copy = g_memdup2(out->data, out->len);
            g_autoptr(GError) error = NULL;
            size_t position = 0;

            copy[n] ^= (uint8_t)(1u << bit);
            g_assert_true(state_load(&table, &other, "a", copy, out->len, &position, &error) ==
                          (error == NULL));
        }
    }
    sample_clear(&s);
    sample_clear(&other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/state/reset", test_reset);
    g_test_add_func("/hw/state/save-load", test_save_load);
    g_test_add_func("/hw/state/versions", test_versions);
    g_test_add_func("/hw/state/refused", test_refused);
    g_test_add_func("/hw/state/damaged", test_damaged);
    return g_test_run();
}
