/*
 * What comes from QMP's clients and the command line: bytes to JSON, JSON and key=value to the
 * arguments of each command. Nothing may crash or leak; what was read is written and read again the
 * same.
 *
 * The first byte of an input picks a command, whose argument type reads the rest as JSON and as
 * key=value.
 */
#include "fuzz.h"

#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qapi/keyval.h"
#include "qapi/qapi_commands.h"

enum { MAX_BYTES = 1 << 16 };

static void bug(const char *what, const char *detail)
{
    fprintf(stderr, "fuzz_json: %s: %s\n", what, detail ? detail : "");
    abort();
}

static void check_error(const GError *error)
{
    if (!error || !error->message[0]) {
        bug("no message", NULL);
    }
}

/* ---- JSON ---- */

struct output {
    GString *text;
    json_object *last; /* the last value that was an object */
};

static void collect(void *opaque, json_object *value, GError *error)
{
    struct output *output = opaque;
    g_autofree char *text = NULL;

    if (error) {
        check_error(error);
        g_string_append_printf(output->text, "!%s\n", error->message);
        g_error_free(error);
        return;
    }
    text = json_print(value, false);
    g_string_append_printf(output->text, "%s\n", text);
    if (json_object_is_type(value, json_type_object)) {
        json_object_put(output->last);
        output->last = value;
    } else {
        json_object_put(value);
    }
}

/* Reads the bytes in pieces; the caller frees both parts of the output. */
static struct output stream(const char *data, size_t size, size_t step)
{
    struct output output = {.text = g_string_new(NULL)};
    auto_ptr(json_stream) s = json_stream_new(MAX_BYTES, collect, &output);

    for (size_t i = 0; i < size; i += step) {
        json_stream_feed(s, data + i, MIN(step, size - i));
    }
    json_stream_feed(s, "\n", 1);
    return output;
}

/* What was printed is read and printed the same. */
static void check_print(json_object *value)
{
    for (unsigned pretty = 0; pretty < 2; pretty++) {
        g_autofree char *text = json_print(value, pretty);
        g_autoptr(GError) error = NULL;
        g_autoptr(json_object) again = json_parse(text, &error);
        g_autofree char *text_again = json_print(again, pretty);

        if (error || strcmp(text, text_again) != 0) {
            bug("printed and read again", error ? error->message : text);
        }
    }
}

/* ---- By the schema ---- */

static void check_value(const struct qapi_type *type, json_object *json, bool keyval)
{
    g_autofree void *value = g_malloc(type->size), *copy = g_malloc(type->size);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) written = NULL, copied = NULL;
    g_autofree char *text = NULL, *copied_text = NULL;

    if (!(keyval ? qapi_from_keyval : qapi_from_json)(type, json, value, &error)) {
        check_error(error);
        return;
    }
    written = qapi_to_json(type, value);
    text = json_print(written, false);
    qapi_copy(type, value, copy);
    qapi_clear(type, value);
    copied = qapi_to_json(type, copy);
    copied_text = json_print(copied, false);
    qapi_clear(type, copy);
    if (strcmp(text, copied_text) != 0) {
        bug("a copy differs", text);
    }
    if (!qapi_from_json(type, written, value, &error)) {
        bug("written and not read", text);
    }
    qapi_clear(type, value);
}

static void check_keyval(const struct qapi_type *type, const char *text)
{
    g_autoptr(GError) error = NULL, flat_error = NULL;
    bool help;
    g_autoptr(json_object) nested = keyval_parse(text, "id", &help, &error);
    g_autoptr(json_object) flat = keyval_parse_flat(text, "id", &help, &flat_error);

    if (nested) {
        check_value(type, nested, true);
    } else {
        check_error(error);
    }
    if (flat) {
        check_value(type, flat, true);
    } else {
        check_error(flat_error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct qapi_type *type;
    struct output whole, pieces;
    g_autofree char *text = NULL;

    if (!size) {
        return 0;
    }
    type = qapi_system_schema.commands[data[0] % qapi_system_schema.n_commands].arg;
    data++;
    size--;
    whole = stream((const char *)data, size, size + 1);
    pieces = stream((const char *)data, size, 1 + size % 7);
    if (strcmp(whole.text->str, pieces.text->str) != 0) {
        bug("pieces make a difference", whole.text->str);
    }
    if (whole.last) {
        check_print(whole.last);
        if (type) {
            check_value(type, whole.last, false);
        }
    }
    text = g_strndup((const char *)data, size);
    if (type) {
        check_keyval(type, text);
    }
    g_string_free(whole.text, TRUE);
    g_string_free(pieces.text, TRUE);
    json_object_put(whole.last);
    json_object_put(pieces.last);
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* ---- Without libFuzzer ---- */

static const char *pick(uint64_t *state, const char *const *words, size_t n)
{
    return words[next_random(state) % n];
}

/* Things that are likely to hurt. */
static void add_junk(uint64_t *state, GString *out)
{
    static const char *const words[] = {
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "\\",
        "null",
        "true",
        "1",
        "-1",
        "1e400",
        "\"a\"",
        "\\u0000",
        "\\ud83d",
        "\\ude00",
        "\xff",
        "\xc3",
        "\xf0\x9f\x98\x80",
        "\x01",
        "\n",
        "a=",
        "=",
        ",,",
        ".",
        ".0",
        "0-3",
        "18446744073709551616",
        "-9223372036854775809",
        "help",
        "0x",
    };

    g_string_append(out, pick(state, words, G_N_ELEMENTS(words)));
}

static void add_scalar(uint64_t *state, const struct qapi_type *type, GString *out)
{
    static const char *const numbers[] = {
        "0",
        "1",
        "-1",
        "255",
        "256",
        "65535",
        "65536",
        "4294967296",
        "9223372036854775807",
        "18446744073709551615",
        "1.5",
        "-0",
    };
    static const char *const strings[] = {"\"\"", "\"x\"", "\"/objects\"", "\"\\u00e9\\n\"", "'y'"};

    switch (type->kind) {
    case QAPI_KIND_BOOL: g_string_append(out, next_random(state) % 2 ? "true" : "false"); break;
    case QAPI_KIND_STR:
    case QAPI_KIND_ANY: g_string_append(out, pick(state, strings, G_N_ELEMENTS(strings))); break;
    case QAPI_KIND_ENUM:
        g_string_append_printf(out, "\"%s\"",
                               type->values[next_random(state) % type->n_values].name);
        break;
    case QAPI_KIND_NULL: g_string_append(out, "null"); break;
    default: g_string_append(out, pick(state, numbers, G_N_ELEMENTS(numbers))); break;
    }
}

static void add_value(uint64_t *state, const struct qapi_type *type, GString *out, unsigned depth);

/* Members, not always all of them, and those of a branch, not always of the right one. */
static void add_members(uint64_t *state, const struct qapi_type *type, GString *out, unsigned depth)
{
    uint32_t branch = type->n_branches ? (uint32_t)(next_random(state) % type->n_branches) : 0;

    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];

        if (next_random(state) % (member->optional ? 3 : 30) == 0 || depth > 6) {
            continue;
        }
        g_string_append_printf(out, "\"%s\":", member->name);
        if (member == type->tag && next_random(state) % 20) {
            g_string_append_printf(out, "\"%s\"", type->branches[branch].name);
        } else {
            add_value(state, member->type, out, depth + 1);
        }
        g_string_append_c(out, ',');
    }
    if (type->kind == QAPI_KIND_UNION && type->branches[branch].type) {
        add_members(state, type->branches[branch].type, out, depth);
    }
}

/* A value of the type, as JSON, sometimes spoiled. */
static void add_value(uint64_t *state, const struct qapi_type *type, GString *out, unsigned depth)
{
    static const struct qapi_type *const others[] = {
        &qapi_type_bool, &qapi_type_str, &qapi_type_int, &qapi_type_null, &qapi_type_str_list,
    };

    if (next_random(state) % 100 == 0) {
        add_junk(state, out);
    } else if (next_random(state) % 50 == 0) {
        type = others[next_random(state) % G_N_ELEMENTS(others)];
    }
    switch (type->kind) {
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION:
        g_string_append_c(out, '{');
        add_members(state, type, out, depth);
        if (out->str[out->len - 1] == ',') {
            g_string_truncate(out, out->len - 1);
        }
        g_string_append_c(out, '}');
        break;
    case QAPI_KIND_LIST:
        g_string_append_c(out, '[');
        for (unsigned n = (unsigned)(next_random(state) % 4), i = 0; i < n; i++) {
            g_string_append(out, i ? "," : "");
            add_value(state, type->element, out, depth + 1);
        }
        g_string_append_c(out, ']');
        break;
    case QAPI_KIND_ALTERNATE:
        add_value(state, type->branches[next_random(state) % type->n_branches].type, out,
                  depth + 1);
        break;
    default: add_scalar(state, type, out); break;
    }
}

static void add_option(uint64_t *state, const struct qapi_type *type, GString *key, GString *out);

/* key.MEMBER=value,... */
static void add_options(uint64_t *state, const struct qapi_type *type, GString *key, GString *out)
{
    uint32_t branch = type->n_branches ? (uint32_t)(next_random(state) % type->n_branches) : 0;
    gsize length = key->len;

    for (uint32_t i = 0; i < type->n_members && length < 60; i++) {
        const struct qapi_member *member = &type->members[i];

        if (next_random(state) % (member->optional ? 3 : 30) == 0) {
            continue;
        }
        g_string_append_printf(key, "%s%s", length ? "." : "", member->name);
        if (member == type->tag) {
            g_string_append_printf(out, "%s=%s,", key->str, type->branches[branch].name);
        } else {
            add_option(state, member->type, key, out);
        }
        g_string_truncate(key, length);
    }
    if (type->kind == QAPI_KIND_UNION && type->branches[branch].type) {
        add_options(state, type->branches[branch].type, key, out);
    }
}

static void add_option(uint64_t *state, const struct qapi_type *type, GString *key, GString *out)
{
    static const char *const words[] = {
        "on",  "off",  "yes",  "x",     "",
        "1",   "-1",   "0x10", "4k",    "1.5G",
        "0-3", "0,,7", "9-1",  "65536", "99999999999999999999",
    };
    gsize length = key->len;

    if (type->kind == QAPI_KIND_STRUCT || type->kind == QAPI_KIND_UNION) {
        add_options(state, type, key, out);
    } else if (type->kind == QAPI_KIND_LIST && next_random(state) % 2) {
        for (unsigned i = 0; i < 3; i++) {
            g_string_append_printf(key, ".%u", next_random(state) % 20 ? i : 2 * i);
            add_option(state, type->element, key, out);
            g_string_truncate(key, length);
        }
    } else if (type->kind == QAPI_KIND_ENUM && next_random(state) % 20) {
        g_string_append_printf(out, "%s=%s,", key->str,
                               type->values[next_random(state) % type->n_values].name);
    } else {
        g_string_append_printf(out, "%s=%s,", key->str, pick(state, words, G_N_ELEMENTS(words)));
    }
}

static void make_input(uint64_t *state, GString *out)
{
    uint8_t index = (uint8_t)(next_random(state) % qapi_system_schema.n_commands);
    const struct qapi_type *type = qapi_system_schema.commands[index].arg;
    unsigned mode = (unsigned)(next_random(state) % 4);

    g_string_truncate(out, 0);
    g_string_append_c(out, (char)index);
    if (!type || mode == 0) {
        for (unsigned n = (unsigned)(next_random(state) % 40), i = 0; i < n; i++) {
            add_junk(state, out);
        }
    } else if (mode == 1) {
        g_autoptr(GString) key = g_string_new(NULL);

        add_options(state, type, key, out);
    } else {
        add_value(state, type, out, 0);
    }
    if (out->len > 1 && next_random(state) % 3 == 0) {
        out->str[1 + next_random(state) % (out->len - 1)] = (char)next_random(state);
    }
}

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    g_autoptr(GString) text = g_string_new(NULL);

    make_input(state, text);
    g_byte_array_append(input, (const uint8_t *)text->str, (guint)text->len);
}

#endif
