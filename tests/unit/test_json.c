/* The JSON reader and writer: values, errors, streams cut anywhere, limits. */
#include <glib.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "qapi/json.h"

/* ---- Values ---- */

/* Reads text, writes it again. */
static void check_value(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) value = json_parse(text, &error);
    g_autofree char *printed = json_print(value, false);

    g_assert_no_error(error);
    g_assert_cmpstr(printed, ==, expected);
}

static void test_values(void)
{
    static const char *const rows[][2] = {
        {"null", "null"},
        {" true\n", "true"},
        {"false", "false"},
        {"{}", "{}"},
        {"[]", "[]"},
        {"{\"a\":1,\"b\":[true,null,{\"c\":\"d\"}]}",
         "{\"a\": 1, \"b\": [true, null, {\"c\": \"d\"}]}"},
        {"{'a':'it\\'s \"x\"'}", "{\"a\": \"it's \\\"x\\\"\"}"},
        {"\t[ 1 ,\r\n2 ] ", "[1, 2]"},
        {"\"\"", "\"\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_value(rows[i][0], rows[i][1]);
    }
}

static void test_numbers(void)
{
    static const char *const rows[][2] = {
        {"0", "0"},
        {"-0", "0"},
        {"-0.0", "-0"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775808"},
        {"18446744073709551615", "18446744073709551615"},
        {"18446744073709551616", "1.8446744073709552e+19"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9.223372036854776e+18"},
        {"0.1", "0.1"},
        {"1E5", "100000"},
        {"1e-5", "1e-05"},
        {"123456789.123456789", "123456789.12345679"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"4.9406564584124654e-324", "4.94065645841247e-324"},
        {"1e-400", "0"},
    };
    g_autoptr(json_object) infinite = json_object_new_double(INFINITY);
    g_autofree char *printed = json_print(infinite, false);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_value(rows[i][0], rows[i][1]);
    }
    g_assert_cmpstr(printed, ==, "null");
}

static void test_strings(void)
{
    static const char *const rows[][2] = {
        {"\"\\b\\f\\n\\r\\t\\/\\\\\\\"\\'\"", "\"\\b\\f\\n\\r\\t/\\\\\\\"'\""},
        {"\"\\u0041\\u00e9\\u20AC\"", "\"A\\u00E9\\u20AC\""},
        {"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"", "\"\\u00E9 \\u20AC \\uD83D\\uDE00\""},
        {"\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\""},
        {"\"\\u0000x\"", "\"\\u0000x\""},
        {"\"\x7f\"", "\"\\u007F\""},
        {"{\"k\\u00e9\\n\":1}", "{\"k\\u00E9\\n\": 1}"},
    };
    g_autoptr(json_object) not_utf8 = json_object_new_string("a\xff\xc3z\xed\xa0\x80");
    g_autofree char *printed = json_print(not_utf8, false);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_value(rows[i][0], rows[i][1]);
    }
    g_assert_cmpstr(printed, ==, "\"a\\uFFFD\\uFFFDz\\uFFFD\\uFFFD\\uFFFD\"");
}

static void test_pretty(void)
{
    g_autoptr(json_object) value = json_parse("{'a':[1,{'b':[]}],'c':{}}", NULL);
    g_autofree char *printed = json_print(value, true);

    g_assert_cmpstr(printed, ==,
                    "{\n    \"a\": [\n        1,\n        {\n            \"b\": []\n        }\n"
                    "    ],\n    \"c\": {}\n}");
}

static void test_errors(void)
{
    static const char *const rows[][2] = {
        {"", "expecting value"},
        {"  ", "expecting value"},
        {"[", "premature EOI"},
        {"{\"a\"", "premature EOI"},
        {"\"abc", "premature EOI"},
        {"\"abc\\", "premature EOI"},
        {"\"\\u12", "premature EOI"},
        {"[1,]", "expecting value"},
        {"[,1]", "expecting value"},
        {"[1 2]", "expected separator in list"},
        {"]", "expecting value"},
        {"[}", "expecting value"},
        {"{]", "expecting key"},
        {"{\"a\":1]", "expected separator in dict"},
        {"{\"a\" 1}", "missing : in object pair"},
        {"{\"a\"}", "missing : in object pair"},
        {"{\"a\":}", "expecting value"},
        {"{\"a\":1,}", "expecting key"},
        {"{,}", "expecting key"},
        {"{1:2}", "key is not a string in object"},
        {"{a:2}", "key is not a string in object"},
        {"{\"a\":1 \"b\":2}", "expected separator in dict"},
        {"{\"a\":1,\"a\":2}", "duplicate key"},
        {"{\"a\\u0000b\":1}", "\\u0000 in a key"},
        {"nul", "invalid keyword 'nul'"},
        {"nulll", "invalid keyword 'nulll'"},
        {"True", "stray 'T'"},
        {"01", "stray '01'"},
        {"1.", "stray '1.'"},
        {".5", "stray '.'"},
        {"-", "stray '-'"},
        {"+1", "stray '+'"},
        {"1e", "stray '1e'"},
        {"1e+", "stray '1e+'"},
        {"1-2", "stray '1-2'"},
        {"[0x10]", "expected separator in list"},
        {"1e400", "number out of range '1e400'"},
        {"-1e400", "number out of range '-1e400'"},
        {"1 2", "text after the end of the value"},
        {"{} x", "invalid keyword 'x'"},
        {"@", "stray '@'"},
        {"\xff", "stray '\\xff'"},
        {"\x01", "stray '\\x01'"},
        {"\"a\tb\"", "stray '\"a\\x09'"},
        {"\"a\nb\"", "stray '\"a\\x0a'"},
        {"\"\\q\"", "invalid escape sequence in string"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\\ud83d\"", "\\ud83d is not a valid Unicode character"},
        {"\"\\ud83dx\"", "\\ud83d is not a valid Unicode character"},
        {"\"\\ud83d\\n\"", "\\ud83d is not a valid Unicode character"},
        {"\"\\ud83d\\u0041\"", "\\ud83d is not a valid Unicode character"},
        {"\"\\ud83d\\ud83d\"", "\\ud83d is not a valid Unicode character"},
        {"\"\\ude00\"", "\\ude00 is not a valid Unicode character"},
        {"\"\\ufffe\"", "\\ufffe is not a valid Unicode character"},
        {"\"\\ufdd0\"", "\\ufdd0 is not a valid Unicode character"},
        {"\"\xc0\x80\"", "invalid UTF-8"},
        {"\"\xc3\"", "invalid UTF-8"},
        {"\"\xed\xa0\x80\"", "invalid UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "invalid UTF-8"},
        {"\"\xef\xbf\xbf\"", "invalid UTF-8"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        json_object *value = json_parse(rows[i][0], &error);

        g_assert_null(value);
        g_assert_nonnull(error);
        if (!strstr(error->message, rows[i][1])) {
            g_test_message("%s: %s", rows[i][0], error->message);
            g_test_fail();
        }
        g_assert_null(strchr(error->message, '\n'));
    }
}

static void test_place(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(json_parse("{\n  \"a\": 1,\n  \"b\" 2\n}", &error));
    g_assert_cmpstr(error->message, ==,
                    "line 3, column 7: JSON parse error, missing : in object pair");
    g_assert_null(json_parse("[", NULL));
}

/* ---- Streams ---- */

/* Collects what comes out, one a line; errors as "!MESSAGE". */
static void collect(void *opaque, json_object *value, GError *error)
{
    GString *out = opaque;

    if (error) {
        g_string_append_printf(out, "!%s\n", error->message);
        g_error_free(error);
    } else {
        g_autofree char *printed = json_print(value, false);

        g_string_append_printf(out, "%s\n", printed);
        json_object_put(value);
    }
}

static char *feed(const char *data, size_t length, size_t step)
{
    GString *out = g_string_new(NULL);
    auto_ptr(json_stream) stream = json_stream_new(1 << 20, collect, out);

    for (size_t i = 0; i < length; i += step) {
        json_stream_feed(stream, data + i, MIN(step, length - i));
    }
    return g_string_free(out, FALSE);
}

/* What comes out doesn't depend on how the input is cut. */
static void check_stream(const char *data, size_t length, const char *expected)
{
    static const size_t steps[] = {1, 2, 3, 7, 1000};

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autofree char *out = feed(data, length, steps[i]);

        g_assert_cmpstr(out, ==, expected);
    }
}

static void test_stream(void)
{
#define STREAM(data, expected) check_stream(data, sizeof(data) - 1, expected)
    STREAM("", "");
    STREAM("{\"a\":1}{\"b\":2}\r\n[3] null 4\n\"x\"",
           "{\"a\": 1}\n{\"b\": 2}\n[3]\nnull\n4\n\"x\"\n");
    /* After an error the rest of the line is skipped, the next line counts. */
    STREAM("{\"a\" 1} {} []\n{\"b\":2}\n",
           "!JSON parse error, missing : in object pair\n{\"b\": 2}\n");
    STREAM("nope\n1\n", "!JSON parse error, invalid keyword 'nope'\n1\n");
    STREAM("[01\n1]\n[2]",
           "!JSON parse error, stray '01'\n1\n!JSON parse error, expecting value\n[2]\n");
    STREAM("[\"a\n[1]\n", "!JSON parse error, stray '\"a\\x0a'\n[1]\n");
    /* A byte that JSON can't have starts anew, whatever came before it. */
    STREAM("{\"a\":[\xff{\"b\":2}", "!JSON parse error, stray '\\xff'\n{\"b\": 2}\n");
    STREAM("{\"a\":\"xy\x1b{\"b\":2}", "!JSON parse error, stray '\"xy\\x1b'\n{\"b\": 2}\n");
    STREAM("{]{\x01[1]", "!JSON parse error, expecting key\n[1]\n");
    STREAM("\0[1]", "!JSON parse error, stray '\\x00'\n[1]\n");
    STREAM("\"\\ud83d\\ude00\\ud83d\xff\"x\"", "!JSON parse error, stray '\"????\\xff'\n\"x\"\n");
#undef STREAM
}

/* ---- Limits ---- */

static void test_depth(void)
{
    g_autoptr(GString) good = g_string_new(NULL), bad = g_string_new(NULL);
    g_autofree char *out = NULL, *bad_out = NULL;

    for (unsigned i = 0; i < 1024; i++) {
        g_string_append(good, i % 2 ? "{\"a\":" : "[");
    }
    g_string_append(good, "1");
    for (unsigned i = 1024; i-- > 0;) {
        g_string_append(good, i % 2 ? "}" : "]");
    }
    out = feed(good->str, good->len, 100);
    g_assert_true(out[0] == '[' && g_str_has_suffix(out, "}]\n"));
    for (unsigned i = 0; i < 1025; i++) {
        g_string_append_c(bad, '[');
    }
    bad_out = feed(bad->str, bad->len, 100);
    g_assert_cmpstr(bad_out, ==, "!JSON nesting depth limit exceeded\n");
}

static size_t peak_kilobytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss;
}

/* 100 MB of something that never ends: one error, little memory, then another client's line. */
static void check_endless(const char *start, const char *piece, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL), block = g_string_new(NULL);
    auto_ptr(json_stream) stream = json_stream_new(1 << 20, collect, out);
    size_t before = peak_kilobytes();

    while (block->len < 100000) {
        g_string_append(block, piece);
    }
    json_stream_feed(stream, start, strlen(start));
    for (unsigned i = 0; i < 1000; i++) {
        json_stream_feed(stream, block->str, block->len);
    }
    json_stream_feed(stream, "\n[1]\n", 5);
    g_assert_cmpstr(out->str, ==, expected);
#ifndef NANDU_SANITIZE
    g_assert_cmpint(peak_kilobytes(), <, before + 100000);
#else
    (void)before;
#endif
}

static void test_endless(void)
{
    check_endless("", "[", "!JSON nesting depth limit exceeded\n[1]\n");
    check_endless("", "{\"a\":", "!JSON nesting depth limit exceeded\n[1]\n");
    check_endless("\"", "x", "!JSON token size limit exceeded\n[1]\n");
    check_endless("[", "1,", "!JSON token size limit exceeded\n[1]\n");
    check_endless("", "1", "!JSON parse error, number of more than 1024 characters\n[1]\n");
    check_endless("", "a", "!JSON token size limit exceeded\n[1]\n");
    check_endless("[1", " ", "!JSON token size limit exceeded\n[1]\n");
    check_endless("", " ", "[1]\n");
    check_endless("{]", "{", "!JSON parse error, expecting key\n[1]\n");
}

static void test_tokens(void)
{
    static const char *const pieces[] = {"1,", "{},", "[{}],"};

    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        g_autoptr(GString) out = g_string_new(NULL), text = g_string_new("[");
        auto_ptr(json_stream) stream = json_stream_new(64 << 20, collect, out);
        size_t before = peak_kilobytes();

        while (text->len < 20 << 20) {
            g_string_append(text, pieces[i]);
        }
        json_stream_feed(stream, text->str, text->len);
        g_assert_cmpstr(out->str, ==, "!JSON token count limit exceeded\n");
        g_assert_cmpint(peak_kilobytes(), <, before + 300000);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/numbers", test_numbers);
    g_test_add_func("/json/strings", test_strings);
    g_test_add_func("/json/pretty", test_pretty);
    g_test_add_func("/json/errors", test_errors);
    g_test_add_func("/json/place", test_place);
    g_test_add_func("/json/stream", test_stream);
    g_test_add_func("/json/depth", test_depth);
    g_test_add_func("/json/endless", test_endless);
    g_test_add_func("/json/tokens", test_tokens);
    return g_test_run();
}
