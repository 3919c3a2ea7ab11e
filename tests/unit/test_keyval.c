/* key=value text, nested and flat, and the scalars in it. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "qapi/keyval.h"

typedef json_object *parse_fn(const char *text, const char *implied_key, bool *help,
                              GError **error);

struct row {
    const char *text, *implied_key, *expected; /* expected: JSON, or "!" and a part of the error */
    bool help;
};

static void check_rows(parse_fn *parse, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_autoptr(GError) error = NULL;
        bool help = !rows[i].help;
        g_autoptr(json_object) value = parse(rows[i].text, rows[i].implied_key, &help, &error);
        g_autofree char *printed = value ? json_print(value, false) : NULL;
        bool ok;

        g_assert_true(!value == !!error);
        if (rows[i].expected[0] == '!') {
            ok = error && strstr(error->message, rows[i].expected + 1);
        } else {
            ok = g_strcmp0(printed, rows[i].expected) == 0 && help == rows[i].help;
        }
        if (!ok) {
            g_test_message("%s: %s", rows[i].text, error ? error->message : printed);
            g_test_fail();
        }
    }
}

static void test_nested(void)
{
    static const struct row rows[] = {
        {"", NULL, "{}"},
        {"a=1", NULL, "{\"a\": \"1\"}"},
        {"a=1,", NULL, "{\"a\": \"1\"}"},
        {"a=,b=x=y", NULL, "{\"a\": \"\", \"b\": \"x=y\"}"},
        {"a=1,,2,,,b=3", NULL, "{\"a\": \"1,2,\", \"b\": \"3\"}"},
        {"a=1,a=2", NULL, "{\"a\": \"2\"}"},
        {"a.b=1,a.c.d=2,e=3", NULL, "{\"a\": {\"b\": \"1\", \"c\": {\"d\": \"2\"}}, \"e\": \"3\"}"},
        {"a.1=y,a.0=x", NULL, "{\"a\": [\"x\", \"y\"]}"},
        {"a.0.b=x,a.1.b=y,a.0.c=z", NULL,
         "{\"a\": [{\"b\": \"x\", \"c\": \"z\"}, {\"b\": \"y\"}]}"},
        {"a.0.0=x", NULL, "{\"a\": [[\"x\"]]}"},
        {"x-y_z.__org.qemu_foo=1", NULL, "{\"x-y_z\": {\"__org.qemu_foo\": \"1\"}}"},
        {"file,id=x", "type", "{\"type\": \"file\", \"id\": \"x\"}"},
        {"id=x", "type", "{\"id\": \"x\"}"},
        {",id=x", "type", "{\"type\": \"\", \"id\": \"x\"}"},
        {"a,,b,id=x", "type", "{\"type\": \"a,b\", \"id\": \"x\"}"},
        {"help", NULL, "{}", true},
        {"?", "type", "{}", true},
        {"file,help", "type", "{\"type\": \"file\"}", true},
        {"file,?,id=x", "type", "{\"type\": \"file\", \"id\": \"x\"}", true},
        {"help=1", NULL, "{\"help\": \"1\"}"},
        {"id=help", NULL, "{\"id\": \"help\"}"},
        {"a\xc3\xa9=1", NULL, "!Invalid parameter"},
        {"a=\xff", NULL, "!Invalid UTF-8"},
        {"a", NULL, "!Expected '=' after parameter 'a'"},
        {"a=1,b", "type", "!Expected '=' after parameter 'b'"},
        {",", NULL, "!Expected '=' after parameter ''"},
        {"=1", NULL, "!Invalid parameter ''"},
        {"a.=1", NULL, "!Invalid parameter 'a.'"},
        {".a=1", NULL, "!Invalid parameter '.a'"},
        {"a..b=1", NULL, "!Invalid parameter 'a..b'"},
        {"1=x", NULL, "!Invalid parameter '1'"},
        {"1a=x", NULL, "!Invalid parameter '1a'"},
        {"a.1b=x", NULL, "!Invalid parameter 'a.1b'"},
        {"a b=x", NULL, "!Invalid parameter 'a b'"},
        {"a=1,a.b=2", NULL, "!Parameters 'a.*' used inconsistently"},
        {"a.b=1,a=2", NULL, "!Parameters 'a.*' used inconsistently"},
        {"a.0=1,a.b=2", NULL, "!Parameters 'a.*' used inconsistently"},
        {"x.a.0=1,x.a.b=2", NULL, "!Parameters 'x.a.*' used inconsistently"},
        {"a.1=1", NULL, "!Parameter 'a.0' is missing"},
        {"a.0=1,a.2=1", NULL, "!Parameter 'a.1' is missing"},
        {"a.0=1,a.00=1", NULL, "!Parameter 'a.1' is missing"},
        {"a.4294967296=1", NULL, "!Parameter 'a.0' is missing"},
        {"a.99999999999999999999=1", NULL, "!Parameter 'a.0' is missing"},
    };
    g_autoptr(GString) deep = g_string_new("a"), long_name = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    check_rows(keyval_parse, rows, G_N_ELEMENTS(rows));
    g_assert_null(keyval_parse("help", NULL, NULL, &error));
    g_assert_cmpstr(error->message, ==, "Help is not available for this option");
    g_clear_error(&error);
    for (unsigned i = 0; i < 100000; i++) {
        g_string_append(deep, ".a");
        g_string_append_c(long_name, 'a');
    }
    g_string_append(deep, "=1");
    g_string_append(long_name, "=1");
    g_assert_null(keyval_parse(deep->str, NULL, NULL, &error));
    g_assert_cmpint(strlen(error->message), <, 200);
    g_clear_error(&error);
    g_assert_null(keyval_parse(long_name->str, NULL, NULL, &error));
    g_assert_cmpint(strlen(error->message), <, 200);
    g_assert_null(keyval_parse("a", NULL, NULL, NULL));
}

static void test_flat(void)
{
    static const struct row rows[] = {
        {"", NULL, "{}"},
        {"socket,id=a,host=b,server=on,wait", "backend",
         "{\"backend\": \"socket\", \"id\": \"a\", \"host\": \"b\", \"server\": \"on\", "
         "\"wait\": \"on\"}"},
        {"socket,nowait,server", "backend",
         "{\"backend\": \"socket\", \"wait\": \"off\", \"server\": \"on\"}"},
        {"no", NULL, "{\"no\": \"on\"}"},
        {"a=1,a=2", NULL, "{\"a\": \"2\"}"},
        {"a=1,,2,b=", NULL, "{\"a\": \"1,2\", \"b\": \"\"}"},
        {"a.b=1,1=2", NULL, "{\"a.b\": \"1\", \"1\": \"2\"}"},
        {"null,help", "backend", "{\"backend\": \"null\"}", true},
        {"help", "backend", "{}", true},
        {"x,=1", "backend", "!Invalid parameter ''"},
        {"x,,", NULL, "!Invalid parameter ''"},
        {"a=\xff", NULL, "!Invalid UTF-8"},
    };

    check_rows(keyval_parse_flat, rows, G_N_ELEMENTS(rows));
}

/* ---- Options ---- */

static void check_option(const char *text, const char *expected, bool expected_json)
{
    g_autoptr(GError) error = NULL;
    bool help, is_json;
    g_autoptr(json_object) value = keyval_parse_option(text, "type", &help, &is_json, &error);
    g_autofree char *printed = value ? json_print(value, false) : NULL;

    g_assert_cmpint(is_json, ==, expected_json);
    if (expected) {
        g_assert_no_error(error);
        g_assert_cmpstr(printed, ==, expected);
    } else {
        g_assert_null(value);
        g_assert_nonnull(error);
    }
}

static void test_option(void)
{
    g_autofree char *path = NULL, *option = NULL;
    int fd = g_file_open_tmp("test_keyval_XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    option = g_strdup_printf("@%s", path);

    check_option("a,b=1", "{\"type\": \"a\", \"b\": \"1\"}", false);
    check_option("{\"a\": 1}", "{\"a\": 1}", true);
    check_option("{\"a\": 1", NULL, true);
    check_option("{\"a\": 1}}", NULL, true);
    g_assert_true(g_file_set_contents(path, "a,b=1\n", -1, NULL));
    check_option(option, "{\"type\": \"a\", \"b\": \"1\"}", false);
    g_assert_true(g_file_set_contents(path, "\n{\"a\":\n [1]}\n", -1, NULL));
    check_option(option, "{\"a\": [1]}", true);
    g_assert_true(g_file_set_contents(path, "{\0}", 3, NULL));
    check_option(option, NULL, false);
    g_unlink(path);
    check_option(option, NULL, false);
    check_option("@/", NULL, false);
    check_option("@/dev/zero", NULL, false);
    check_option("@", NULL, false);
}

/* ---- Scalars ---- */

static void test_size(void)
{
    static const struct {
        const char *text;
        char unit;
        bool ok;
        uint64_t bytes;
    } rows[] = {
        {"0", 'B', true, 0},
        {"12", 'B', true, 12},
        {"12", 'M', true, 12ull << 20},
        {"1b", 'M', true, 1},
        {"4k", 'B', true, 4096},
        {"4K", 'B', true, 4096},
        {"3G", 'M', true, 3ull << 30},
        {"2T", 'B', true, 2ull << 40},
        {"1p", 'B', true, 1ull << 50},
        {"15E", 'B', true, 15ull << 60},
        {"1.5G", 'B', true, 3ull << 29},
        {".5M", 'B', true, 1 << 19},
        {"1.", 'k', true, 1024},
        {"1.0", 'B', true, 1},
        {"0x1000", 'B', true, 4096},
        {"0X10", 'M', true, 16 << 20},
        {"010", 'B', true, 10},
        {"18446744073709551615", 'B', true, UINT64_MAX},
        {"18446744073709551616", 'B', false, 0},
        {"16E", 'B', false, 0},
        {"15.9999999999999999999E", 'B', false, 0},
        {"1.5", 'B', false, 0},
        {"0x1k", 'B', false, 0},
        {"0x", 'B', false, 0},
        {"0x1.8", 'M', false, 0},
        {"1kk", 'B', false, 0},
        {"1 k", 'B', false, 0},
        {" 1", 'B', false, 0},
        {"1x", 'B', false, 0},
        {"-1", 'B', false, 0},
        {"+1", 'B', false, 0},
        {"1e3", 'B', false, 0},
        {"", 'B', false, 0},
        {".", 'B', false, 0},
        {"k", 'B', false, 0},
        {"inf", 'B', false, 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t bytes = 0;

        g_test_message("%s", rows[i].text);
        g_assert_cmpint(keyval_parse_size(rows[i].text, rows[i].unit, &bytes, &error), ==,
                        rows[i].ok);
        g_assert_true(rows[i].ok == !error);
        if (rows[i].ok) {
            g_assert_cmpuint(bytes, ==, rows[i].bytes);
        }
    }
}

static void test_bool(void)
{
    static const char *const on[] = {"on", "yes", "true", "y"},
                             *const off[] = {"off", "no", "false", "n"},
                             *const bad[] = {"", "On", "1", "onn", "o"};
    bool value;

    for (size_t i = 0; i < G_N_ELEMENTS(on); i++) {
        g_assert_true(keyval_parse_bool(on[i], &value, NULL) && value);
        g_assert_true(keyval_parse_bool(off[i], &value, NULL) && !value);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(keyval_parse_bool(bad[i], &value, &error));
        g_assert_nonnull(error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/nested", test_nested);
    g_test_add_func("/keyval/flat", test_flat);
    g_test_add_func("/keyval/option", test_option);
    g_test_add_func("/keyval/size", test_size);
    g_test_add_func("/keyval/bool", test_bool);
    return g_test_run();
}
