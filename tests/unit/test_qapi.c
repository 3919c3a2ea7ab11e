/*
 * What src/qapi/generate.py makes of schema/test.json, and what works by its tables: reading,
 * writing, copying, commands, events, introspection.
 */
#include <glib.h>
#include <string.h>

#include "qapi/keyval.h"
#include "test_qapi_commands.h"
#include "test_qapi_events.h"

/* ---- The handlers of test.json ---- */

bool qmp_test_nothing(struct qmp_context *ctx, GError **error)
{
    return true;
}

bool qmp_test_silent(struct qmp_context *ctx, GError **error)
{
    return true;
}

bool qmp_test_add(struct qmp_context *ctx, const struct qapi_test_add_arg *arg, int64_t *ret,
                  GError **error)
{
    *ret = arg->a + (arg->has_b ? arg->b : 0);
    if (*ret == 13) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "no 13");
        return false;
    }
    return true;
}

bool qmp_test_echo(struct qmp_context *ctx, const struct qapi_test_lists *arg,
                   struct qapi_test_lists *ret, GError **error)
{
    qapi_copy(&qapi_type_test_lists, arg, ret);
    return true;
}

bool qmp_test_echo_union(struct qmp_context *ctx, const struct qapi_test_union *arg,
                         struct qapi_test_union_list *ret, GError **error)
{
    for (unsigned i = 0; i < 2; i++) {
        qapi_copy(&qapi_type_test_union, arg, qapi_list_append(&qapi_type_test_union_list, ret));
    }
    /* What was put into ret is freed also then. */
    if (arg->common && strcmp(arg->common, "fail") == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "as you like");
        return false;
    }
    return true;
}

bool qmp_test_echo_any(struct qmp_context *ctx, const struct qapi_test_echo_any_arg *arg,
                       json_object **ret, GError **error)
{
    *ret = json_object_get(arg->any);
    return true;
}

bool qmp_test_raw(struct qmp_context *ctx, json_object *arg, json_object **ret, GError **error)
{
    *ret = json_object_get(arg);
    if (json_object_object_get_ex(arg, "fail", NULL)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "raw");
        return false;
    }
    return true;
}

bool qmp_test_raw_list(struct qmp_context *ctx, json_object **ret, GError **error)
{
    *ret = json_object_new_array();
    return true;
}

bool qmp_test_alternates(struct qmp_context *ctx, const struct qapi_test_alternates_arg *arg,
                         char **ret, GError **error)
{
    *ret =
        g_strdup_printf("%d %d", arg->a ? (int)arg->a->kind : -1, arg->b ? (int)arg->b->kind : -1);
    return true;
}

bool qmp_test_optional(struct qmp_context *ctx, const struct qapi_test_optional *arg,
                       struct qapi_test_optional *ret, GError **error)
{
    qapi_copy(&qapi_type_test_optional, arg, ret);
    return true;
}

bool qmp_test_scalars(struct qmp_context *ctx, const struct qapi_test_scalars *arg,
                      struct qapi_test_scalars *ret, GError **error)
{
    qapi_copy(&qapi_type_test_scalars, arg, ret);
    return true;
}

/* ---- Commands ---- */

/* What the command answers, as text; "!CLASS: MESSAGE" if it fails. Free with g_free. */
static char *run(const char *name, const char *arguments)
{
    const struct qapi_command *command = qapi_find_command(&qapi_test_schema, name);
    g_autoptr(GError) parse_error = NULL;
    g_autoptr(json_object) json = arguments ? json_parse(arguments, &parse_error) : NULL;
    struct qmp_context ctx = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) answer = NULL;

    g_assert_no_error(parse_error);
    g_assert_nonnull(command);
    answer = qapi_invoke(command, &ctx, json, &error);
    if (error) {
        g_assert_null(answer);
        return g_strdup_printf("!%s: %s", qapi_error_class(error), error->message);
    }
    return json_print(answer, false);
}

static void check(const char *name, const char *arguments, const char *expected)
{
    g_autofree char *answer = run(name, arguments);

    if (expected[0] == '!' ? !strstr(answer, expected + 1) : strcmp(answer, expected) != 0) {
        g_test_message("%s %s\n  answers  %s\n  expected %s", name, arguments, answer, expected);
        g_test_fail();
    }
}

/* The command answers its arguments. */
static void check_echo(const char *name, const char *arguments)
{
    check(name, arguments, arguments);
}

static void test_commands(void)
{
    const struct qapi_command *add = qapi_find_command(&qapi_test_schema, "test-add");

    check("test-nothing", NULL, "{}");
    check("test-nothing", "{}", "{}");
    check("test-nothing", "{'a': 1}", "!GenericError: Parameter 'a' is unexpected");
    check("test_silent", NULL, "{}");
    check("test-add", "{'a': 1}", "1");
    check("test-add", "{'a': 1, 'b': -3}", "-2");
    check("test-add", "{'a': 13}", "!DeviceNotFound: no 13");
    check("test-add", NULL, "!GenericError: Parameter 'a' is missing");
    check("test-raw", "{'x': [1]}", "{\"x\": [1]}");
    check("test-raw", NULL, "{}");
    check("test-raw", "{'fail': 1}", "!GenericError: raw");
    check("test-raw-list", "{}", "[]");
    check("test-raw-list", "{'a': 1}", "!GenericError: Parameter 'a' is unexpected");
    check("test-echo-any", "{'any': null}", "null");
    check("test-echo-any", "{'any': {'a': [1]}}", "{\"a\": [1]}");
    g_assert_null(qapi_find_command(&qapi_test_schema, "test"));
    g_assert_null(qapi_find_command(&qapi_test_schema, "test-off"));
    g_assert_null(qapi_find_command(&qapi_test_schema, ""));
    g_assert_cmpuint(add->flags, ==, QAPI_COMMAND_OOB | QAPI_COMMAND_PRECONFIG);
    g_assert_cmpstr(add->features[0], ==, "unstable");
    g_assert_cmpuint(qapi_find_command(&qapi_test_schema, "test-echo")->flags, ==,
                     QAPI_COMMAND_COROUTINE);
    g_assert_cmpuint(qapi_find_command(&qapi_test_schema, "test_silent")->flags, ==,
                     QAPI_COMMAND_NO_RESPONSE);
}

/* ---- Values ---- */

static const char scalars[] =
    "{\"b\": true, \"s\": \"x\", \"n\": 1.5, \"i\": -1, \"i8\": -128, \"i16\": 32767, "
    "\"i32\": -2147483648, \"i64\": 9223372036854775807, \"u8\": 255, \"u16\": 65535, "
    "\"u32\": 4294967295, \"u64\": 18446744073709551615, \"size\": 9223372036854775808, "
    "\"any\": {\"a\": [null]}, \"null\": null, \"colour\": \"4-bit\"}";

static void test_scalars(void)
{
    static const char *const edges[][3] = {
        {"i", "9223372036854775807", "9223372036854775808"},
        {"i", "-9223372036854775808", "-9223372036854775809"},
        {"i8", "127", "128"},
        {"i8", "-128", "-129"},
        {"i16", "-32768", "-32769"},
        {"i32", "2147483647", "2147483648"},
        {"i64", "-9223372036854775808", "9223372036854775808"},
        {"u8", "0", "-1"},
        {"u8", "255", "256"},
        {"u16", "65535", "65536"},
        {"u32", "4294967295", "4294967296"},
        {"u64", "18446744073709551615", "18446744073709551616"},
        {"u64", "0", "-1"},
        {"size", "18446744073709551615", "-1"},
        {"size", "1", "1.0"},
        {"i", "1", "1.5"},
        {"i", "1", "'1'"},
        {"b", "false", "0"},
        {"b", "true", "'on'"},
        {"s", "''", "1"},
        {"s", "'\\u00e9'", "'a\\u0000b'"},
        {"s", "'x'", "null"},
        {"n", "1", "'1'"},
        {"n", "18446744073709551615", "true"},
        {"null", "null", "false"},
        {"colour", "'light-green'", "'light-gree'"},
        {"colour", "'infrared'", "'ultraviolet'"},
        {"colour", "'red'", "0"},
        {"colour", "'red'", "'red\\u0000'"},
    };

    check_echo("test-scalars", scalars);
    for (size_t i = 0; i < G_N_ELEMENTS(edges); i++) {
        g_autoptr(json_object) json = json_parse(scalars, NULL);

        for (unsigned bad = 0; bad < 2; bad++) {
            struct qapi_test_scalars value;
            g_autoptr(GError) error = NULL;
            bool ok;

            json_object_object_add(json, edges[i][0], json_parse(edges[i][1 + bad], NULL));
            ok = qapi_from_json(&qapi_type_test_scalars, json, &value, &error);
            if (ok == bad || (bad && !strstr(error->message, edges[i][0]))) {
                g_test_message("%s: %s: %s", edges[i][0], edges[i][1 + bad],
                               error ? error->message : "taken");
                g_test_fail();
            }
            if (ok) {
                qapi_clear(&qapi_type_test_scalars, &value);
            }
            g_assert_null(value.s);
        }
    }
}

static void test_optional(void)
{
    check_echo("test-optional", "{}");
    check_echo("test-optional",
               "{\"b\": false, \"s\": \"\", \"n\": 0, \"i\": 0, \"u8\": 0, \"size\": 0, "
               "\"any\": 0, \"null\": null, \"colour\": \"red\", \"self\": {\"self\": {\"i\": 5}}, "
               "\"names\": [], \"selves\": [{}, {\"s\": \"x\"}], \"numbers\": [1, 2], "
               "\"mixed\": \"m\"}");
    check_echo("test-optional", "{\"mixed\": {\"id\": \"x\", \"default\": 3}}");
    check("test-optional", "{'b': null}", "!Invalid parameter type for 'b', expected: boolean");
    check("test-optional", "{'self': {'self': {'i': ''}}}",
          "!Invalid parameter type for 'self.self.i', expected: integer");
    check("test-optional", "{'selves': [{}, {'selves': [1]}]}",
          "!Invalid parameter type for 'selves[1].selves[0]', expected: object");
    check("test-optional", "{'self': {'nmes': []}}",
          "!Parameter 'self.nmes' is unexpected; did you mean 'names'?");
    check("test-optional", "{'zzzzzzz': 1}", "!GenericError: Parameter 'zzzzzzz' is unexpected");
    check("test-optional", "{'numbers': [1, 65536]}", "!Parameter 'numbers[1]' expects uint16_t");
    check("test-optional", "{'numbers': 1}",
          "!Invalid parameter type for 'numbers', expected: array");
    check("test-optional", "{'colour': 'rde'}",
          "!Parameter 'colour' does not accept value 'rde'; did you mean 'red'?");
    check("test-optional", "[]", "!Invalid parameter type, expected: object");
}

static void test_lists(void)
{
    check_echo(
        "test-echo",
        "{\"strings\": [\"a\", \"\"], \"ints\": [-1], \"bytes\": [0, 255], \"shorts\": [-5], "
        "\"bools\": [true, false], \"anys\": [null, {}, 1], \"colours\": [\"old\", \"red\"], "
        "\"structs\": [{\"id\": \"1\"}, {\"id\": \"2\", \"default\": 0}], "
        "\"unions\": [{\"colour\": \"old\"}, {\"colour\": \"red\", \"id\": \"x\"}], "
        "\"alternates\": [\"s\", {\"id\": \"y\"}, null, true, [1], 2.5]}");
    check("test-echo", "{'strings': ['a', 1]}",
          "!Invalid parameter type for 'strings[1]', expected: string");
}

static void test_unions(void)
{
    check("test-echo-union", "{'colour': 'red', 'common': 'c', 'id': 'x', 'default': 7}",
          "[{\"colour\": \"red\", \"common\": \"c\", \"id\": \"x\", \"default\": 7}, "
          "{\"colour\": \"red\", \"common\": \"c\", \"id\": \"x\", \"default\": 7}]");
    check("test-echo-union", "{'id': 'x', 'colour': 'old'}", "!Parameter 'id' is unexpected");
    check("test-echo-union", "{'colour': 'light-green'}",
          "[{\"colour\": \"light-green\"}, {\"colour\": \"light-green\"}]");
    check(
        "test-echo-union",
        "{'colour': 'unix', 'kind': 'fancy', 'data': {'id': 'x'}, 'list': [{'id': 'y'}]}",
        "!{\"colour\": \"unix\", \"kind\": \"fancy\", \"data\": {\"id\": \"x\"}, "
          "\"list\": [{\"id\": \"y\"}]}");
    check("test-echo-union", "{'colour': 'unix', 'kind': 'plain'}",
          "!{\"colour\": \"unix\", \"kind\": \"plain\"}");
    check("test-echo-union", "{'colour': 'unix', 'kind': 'fancy'}", "!Parameter 'data' is missing");
    check("test-echo-union", "{'colour': 'unix', 'kind': 'fancy', 'data': {'id': 'x'}, 'lst': []}",
          "!Parameter 'lst' is unexpected; did you mean 'list'?");
    check("test-echo-union", "{'colour': 'unix'}", "!Parameter 'kind' is missing");
    check("test-echo-union", "{'common': 'x'}", "!Parameter 'colour' is missing");
    check("test-echo-union", "{'colour': '4-bit', 'id': 'x', 'extra-member': 1}",
          "!{\"colour\": \"4-bit\", \"id\": \"x\", \"extra-member\": 1}");
    check("test-echo-union", "{'colour': 'red', 'id': 'x', 'common': 'fail'}", "!as you like");
    check("test-echo-union", "{'colour': 'red', 'id': 'x', 'default': 'y'}",
          "!Invalid parameter type for 'default', expected: integer");
}

static void test_alternates(void)
{
    check("test-alternates", "{}", "\"-1 -1\"");
    check("test-alternates", "{'a': 'x', 'b': 'red'}", "\"0 0\"");
    check("test-alternates", "{'a': {'id': 'x'}, 'b': 3}", "\"1 1\"");
    check("test-alternates", "{'a': null}", "\"2 -1\"");
    check("test-alternates", "{'a': false}", "\"3 -1\"");
    check("test-alternates", "{'a': [1, 2]}", "\"4 -1\"");
    check("test-alternates", "{'a': 1}", "\"5 -1\"");
    check("test-alternates", "{'a': 1.5}", "\"5 -1\"");
    check("test-alternates", "{'b': 1.5}",
          "!Invalid parameter type for 'b', expected: TestColourOrInt");
    check("test-alternates", "{'b': 'x'}", "!Parameter 'b' does not accept value 'x'");
    check("test-alternates", "{'a': {'id': 1}}",
          "!Invalid parameter type for 'a.id', expected: string");
}

static void test_enums(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(QAPI_TEST_COLOUR__COUNT, ==, 6);
    g_assert_cmpint(qapi_enum_parse(&qapi_type_test_colour, "unix", &error), ==,
                    QAPI_TEST_COLOUR_UNIX);
    g_assert_cmpstr(qapi_enum_name(&qapi_type_test_colour, QAPI_TEST_COLOUR_4_BIT), ==, "4-bit");
    g_assert_cmpstr(qapi_type_test_colour.values[QAPI_TEST_COLOUR_OLD].features[0], ==,
                    "deprecated");
    g_assert_cmpint(qapi_enum_parse(&qapi_type_test_kind, "fancy", NULL), ==, QAPI_TEST_SORT_FANCY);
    g_assert_cmpint(qapi_enum_parse(&qapi_type_test_colour, "unx", &error), ==, -1);
    g_assert_cmpstr(error->message, ==, "'unx' is not a value of TestColour; did you mean 'unix'?");
}

static void test_ownership(void)
{
    auto_ptr(qapi_test_wrapped) wrapped = g_new0(struct qapi_test_wrapped, 1);
    struct qapi_test_wrapped copy;
    struct qapi_test_base *base;
    g_autoptr(json_object) json = NULL;
    g_autofree char *text = NULL;

    wrapped->data = g_new0(struct qapi_test_base, 1);
    wrapped->has_list = true;
    for (int i = 0; i < 5; i++) {
        base = qapi_list_append(&qapi_type_test_base_list, &wrapped->list);
        g_assert_null(base->id);
        base->id = g_strdup_printf("%d", i);
    }
    qapi_copy(&qapi_type_test_wrapped, wrapped, &copy);
    g_assert_true(copy.data != wrapped->data && copy.list.v != wrapped->list.v);
    json = qapi_to_json(&qapi_type_test_wrapped, &copy);
    text = json_print(json, false);
    g_assert_cmpstr(text, ==,
                    "{\"data\": {\"id\": \"\"}, \"list\": [{\"id\": \"0\"}, {\"id\": \"1\"}, "
                    "{\"id\": \"2\"}, {\"id\": \"3\"}, {\"id\": \"4\"}]}");
    qapi_clear(&qapi_type_test_wrapped, &copy);
    g_assert_true(!copy.data && !copy.has_list && !copy.list.n && !copy.list.v);
    qapi_test_base_free(NULL);
}

/* ---- key=value ---- */

static void check_keyval(const struct qapi_type *type, const char *options, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) keyval = keyval_parse(options, NULL, NULL, &error);
    g_autofree void *value = g_malloc0(type->size);
    g_autofree char *text = NULL;

    g_assert_no_error(error);
    if (qapi_from_keyval(type, keyval, value, &error)) {
        g_autoptr(json_object) json = qapi_to_json(type, value);

        text = json_print(json, false);
        qapi_clear(type, value);
    } else {
        text = g_strdup(error->message);
    }
    if (strcmp(text, expected) != 0) {
        g_test_message("%s\n  is       %s\n  expected %s", options, text, expected);
        g_test_fail();
    }
}

static void test_keyval(void)
{
    const struct qapi_type *optional = &qapi_type_test_optional;

    check_keyval(optional, "b=on,s=1,n=1.5,i=-5,u8=0xff,size=4k,colour=red,self.i=010",
                 "{\"b\": true, \"s\": \"1\", \"n\": 1.5, \"i\": -5, \"u8\": 255, \"size\": 4096, "
                 "\"colour\": \"red\", \"self\": {\"i\": 8}}");
    check_keyval(optional, "names.0=a,names.1=b,selves.0.b=off,numbers.0=1",
                 "{\"names\": [\"a\", \"b\"], \"selves\": [{\"b\": false}], \"numbers\": [1]}");
    check_keyval(optional, "numbers=3", "{\"numbers\": [3]}");
    check_keyval(optional, "numbers=0-3,,7", "{\"numbers\": [0, 1, 2, 3, 7]}");
    check_keyval(optional, "mixed=on", "{\"mixed\": \"on\"}");
    check_keyval(optional, "mixed.id=x,mixed.default=1",
                 "{\"mixed\": {\"id\": \"x\", \"default\": 1}}");
    check_keyval(optional, "mixed.0=1,mixed.1=2", "{\"mixed\": [1, 2]}");
    check_keyval(optional, "any.a=1", "{\"any\": {\"a\": \"1\"}}");
    check_keyval(&qapi_type_test_union, "colour=red,id=x", "{\"colour\": \"red\", \"id\": \"x\"}");
    check_keyval(&qapi_type_test_alternates_arg, "b=5", "Parameter 'b' does not accept value '5'");

    check_keyval(optional, "b=1", "Parameter 'b' expects 'on' or 'off'");
    check_keyval(optional, "b.x=1", "Invalid parameter type for 'b', expected: boolean");
    check_keyval(optional, "i=x", "Parameter 'i' expects integer");
    check_keyval(optional, "i=", "Parameter 'i' expects integer");
    check_keyval(optional, "i=1 ", "Parameter 'i' expects integer");
    check_keyval(optional, "i=9223372036854775808",
                 "Invalid parameter type for 'i', expected: integer");
    check_keyval(optional, "i=99999999999999999999", "Parameter 'i' expects integer");
    check_keyval(optional, "u8=256", "Parameter 'u8' expects uint8_t");
    check_keyval(optional, "u8=-1", "Parameter 'u8' expects uint8_t");
    check_keyval(optional, "size=x", "Parameter 'size' expects a size value");
    check_keyval(optional, "n=x", "Parameter 'n' expects number");
    check_keyval(optional, "n=1e400", "Parameter 'n' expects number");
    check_keyval(optional, "n=nan", "Parameter 'n' expects number");
    check_keyval(optional, "numbers=3-1", "Parameter 'numbers' expects an integer value or range");
    check_keyval(optional, "numbers=0-70000",
                 "Parameter 'numbers' expects an integer value or range");
    check_keyval(optional, "numbers=1-", "Parameter 'numbers' expects an integer value or range");
    check_keyval(optional, "numbers=-", "Parameter 'numbers' expects an integer value or range");
    check_keyval(optional, "numbers=", "{\"numbers\": []}");
    check_keyval(optional, "numbers=65530-65540", "Parameter 'numbers' expects uint16_t");
    check_keyval(optional, "names=x", "Invalid parameter type for 'names', expected: array");
    check_keyval(optional, "self=x", "Invalid parameter type for 'self', expected: object");
    check_keyval(optional, "self.i=2,self.x=1", "Parameter 'self.x' is unexpected");
}

/* ---- Events ---- */

struct sink {
    struct qapi_event_sink base;
    GString *out;
};

static void emit(struct qapi_event_sink *base, const struct qapi_event *event, json_object *data)
{
    struct sink *sink = (struct sink *)base;
    g_autofree char *text = json_print(data, false);

    g_string_append_printf(sink->out, "%s %s\n", event->name, text);
    json_object_put(data);
}

static void test_events(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    struct sink sink = {.base.emit = emit, .out = out};
    struct qapi_test_data_event data = {
        .count = 3, .has_colour = true, .colour = QAPI_TEST_COLOUR_OLD};
    struct qapi_test_union boxed = {.colour = QAPI_TEST_COLOUR_RED, .u.red.id = (char *)"x"};

    qapi_event_test_plain(&sink.base);
    qapi_event_test_data(&sink.base, &data);
    qapi_event_test_boxed(&sink.base, &boxed);
    qapi_event_test_plain(NULL);
    g_assert_cmpstr(out->str, ==,
                    "TEST_PLAIN null\n"
                    "TEST_DATA {\"count\": 3, \"colour\": \"old\"}\n"
                    "TEST_BOXED {\"colour\": \"red\", \"id\": \"x\"}\n");
    g_assert_cmpuint(qapi_test_schema.n_events, ==, 3);
}

/* ---- Introspection ---- */

static json_object *find(json_object *schema, const char *name)
{
    json_object *found = NULL;

    for (size_t i = 0; i < json_object_array_length(schema); i++) {
        json_object *info = json_object_array_get_idx(schema, i);

        if (strcmp(json_object_get_string(json_object_object_get(info, "name")), name) == 0) {
            g_assert_null(found);
            found = info;
        }
    }
    return found;
}

/* The info of the type that info's key names. */
static json_object *follow(json_object *schema, json_object *info, const char *key)
{
    json_object *type = find(schema, json_object_get_string(json_object_object_get(info, key)));

    g_assert_nonnull(type);
    return type;
}

static json_object *member(json_object *info, const char *list, const char *key, const char *name)
{
    json_object *members = json_object_object_get(info, list);

    for (size_t i = 0; i < json_object_array_length(members); i++) {
        json_object *each = json_object_array_get_idx(members, i);

        if (strcmp(json_object_get_string(json_object_object_get(each, key)), name) == 0) {
            return each;
        }
    }
    return NULL;
}

static void check_json(json_object *json, const char *expected)
{
    g_autofree char *text = json_print(json, false);

    g_assert_cmpstr(text, ==, expected);
}

/* Every name that is used is there, and everything that is there is used. */
static void check_closed(json_object *schema)
{
    for (size_t i = 0; i < json_object_array_length(schema); i++) {
        static const char *const keys[] = {"arg-type", "ret-type", "element-type"};
        static const char *const lists[] = {"members", "variants"};
        json_object *info = json_object_array_get_idx(schema, i), *list;
        const char *meta = json_object_get_string(json_object_object_get(info, "meta-type"));

        for (size_t k = 0; k < G_N_ELEMENTS(keys); k++) {
            if (json_object_object_get_ex(info, keys[k], NULL)) {
                follow(schema, info, keys[k]);
            }
        }
        for (size_t k = 0; k < G_N_ELEMENTS(lists) && strcmp(meta, "enum") != 0; k++) {
            if (json_object_object_get_ex(info, lists[k], &list)) {
                for (size_t j = 0; j < json_object_array_length(list); j++) {
                    follow(schema, json_object_array_get_idx(list, j), "type");
                }
            }
        }
    }
}

static void test_introspection(void)
{
    g_autoptr(json_object) schema = qapi_introspect(&qapi_test_schema);
    json_object *info, *type;

    check_closed(schema);
    check_json(find(schema, "0"), "{\"name\": \"0\", \"meta-type\": \"object\", \"members\": []}");
    check_json(
        find(schema, "test-nothing"),
        "{\"name\": \"test-nothing\", \"meta-type\": \"command\", \"arg-type\": \"0\", "
               "\"ret-type\": \"0\"}");
    check_json(find(schema, "TEST_PLAIN"),
               "{\"name\": \"TEST_PLAIN\", \"meta-type\": \"event\", \"arg-type\": \"0\"}");
    check_json(find(schema, "int"),
               "{\"name\": \"int\", \"meta-type\": \"builtin\", \"json-type\": \"int\"}");

    info = find(schema, "test-add");
    check_json(json_object_object_get(info, "allow-oob"), "true");
    check_json(json_object_object_get(info, "features"), "[\"unstable\"]");
    check_json(json_object_object_get(info, "ret-type"), "\"int\"");
    type = follow(schema, info, "arg-type");
    check_json(
        json_object_object_get(type, "members"),
        "[{\"name\": \"a\", \"type\": \"int\"}, "
               "{\"name\": \"b\", \"type\": \"int\", \"default\": null}]");

    info = find(schema, "test-echo-union");
    type = follow(schema, info, "arg-type");
    check_json(json_object_object_get(type, "tag"), "\"colour\"");
    check_json(member(type, "variants", "case", "old"), "{\"case\": \"old\", \"type\": \"0\"}");
    g_assert_true(follow(schema, follow(schema, info, "ret-type"), "element-type") == type);
    info = follow(schema, member(type, "variants", "case", "4-bit"), "type");
    check_json(json_object_object_get(info, "features"), "[\"deprecated\"]");
    check_json(member(info, "members", "name", "extra-member"),
               "{\"name\": \"extra-member\", \"type\": \"int\", \"features\": [\"unstable\"]}");
    info = follow(schema, member(type, "members", "name", "colour"), "type");
    check_json(json_object_object_get(info, "meta-type"), "\"enum\"");
    check_json(json_object_object_get(info, "values"),
               "[\"red\", \"light-green\", \"4-bit\", \"unix\", \"old\", \"infrared\"]");
    check_json(member(info, "members", "name", "old"),
               "{\"name\": \"old\", \"features\": [\"deprecated\"]}");

    type = follow(schema, find(schema, "test-scalars"), "arg-type");
    check_json(member(type, "members", "name", "size"), "{\"name\": \"size\", \"type\": \"int\"}");
    check_json(member(type, "members", "name", "u8"), "{\"name\": \"u8\", \"type\": \"int\"}");
    check_json(member(type, "members", "name", "any"), "{\"name\": \"any\", \"type\": \"any\"}");
    type = follow(schema, find(schema, "test-alternates"), "arg-type");
    info = follow(schema, member(type, "members", "name", "b"), "type");
    check_json(json_object_object_get(info, "meta-type"), "\"alternate\"");
    g_assert_cmpuint(json_object_array_length(json_object_object_get(info, "members")), ==, 2);

    g_assert_null(find(schema, "test-off"));
    g_assert_null(find(schema, "TEST_OFF"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/commands", test_commands);
    g_test_add_func("/qapi/scalars", test_scalars);
    g_test_add_func("/qapi/optional", test_optional);
    g_test_add_func("/qapi/lists", test_lists);
    g_test_add_func("/qapi/unions", test_unions);
    g_test_add_func("/qapi/alternates", test_alternates);
    g_test_add_func("/qapi/enums", test_enums);
    g_test_add_func("/qapi/ownership", test_ownership);
    g_test_add_func("/qapi/keyval", test_keyval);
    g_test_add_func("/qapi/events", test_events);
    g_test_add_func("/qapi/introspection", test_introspection);
    return g_test_run();
}
