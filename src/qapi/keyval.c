/*
 * key=value,... in two forms: with nested keys (keyval_parse), and flat, as older options are
 * (keyval_parse_flat). The result is a JSON object whose scalars are strings.
 */
#include "qapi/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qapi/error.h"

enum {
    MAX_FRAGMENT = 127,  /* characters of a key between two dots */
    MAX_DEPTH = 64,      /* of nested keys */
    MAX_QUOTED = 60,     /* characters of the input in a message */
    MAX_FILE = 16 << 20, /* bytes of the FILE of "@FILE" */
};

static bool G_GNUC_PRINTF(2, 3) fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error) {
        *error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    }
    va_end(args);
    return false;
}

/* ---- Scanning ---- */

/* Up to the next single comma, which is skipped; ",," stands for a comma. */
static char *take_value(const char **text)
{
    GString *value = g_string_new(NULL);
    const char *p = *text;

    while (*p) {
        const char *comma = strchrnul(p, ',');

        g_string_append_len(value, p, comma - p);
        p = comma;
        if (p[0] == ',' && p[1] == ',') {
            g_string_append_c(value, ',');
            p += 2;
        } else {
            p += *p == ',';
            break;
        }
    }
    *text = p;
    return g_string_free(value, FALSE);
}

static bool is_help(const char *word, size_t length)
{
    return (length == 4 && memcmp(word, "help", 4) == 0) || (length == 1 && word[0] == '?');
}

/* ---- Nested keys ---- */

/* Length of the fragment that text begins with: a name or a number; 0: neither. */
static size_t fragment_length(const char *text)
{
    size_t n = 0;

    if (g_ascii_isdigit(*text)) {
        return strspn(text, "0123456789");
    }
    /* Names of extensions begin with the reversed domain of who made them: __com.example_name. */
    if (text[0] == '_' && text[1] == '_') {
        n = 2 +
            strspn(text + 2, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
        if (n == 2 || text[n] != '_') {
            return 0;
        }
        n++;
    }
    if (!g_ascii_isalpha(text[n])) {
        return 0;
    }
    while (g_ascii_isalnum(text[n]) || text[n] == '-' || text[n] == '_') {
        n++;
    }
    return n;
}

/* Puts value at key ("a.b.0"); lists are objects with numbers as keys until listify. */
static bool put_nested(json_object *root, const char *key, size_t key_length, const char *value,
                       GError **error)
{
    const char *at = key, *end = key + key_length;
    json_object *object = root;

    for (unsigned depth = 0;; depth++) {
        size_t n = fragment_length(at);
        char name[MAX_FRAGMENT + 1];
        json_object *inner;
        bool exists, last = at + n == end;

        if (!n || at + n > end || (!last && at[n] != '.') || depth > MAX_DEPTH ||
            (depth == 0 && g_ascii_isdigit(*at))) {
            return fail(error, "Invalid parameter '%.*s'", (int)MIN(key_length, MAX_QUOTED), key);
        }
        if (n > MAX_FRAGMENT) {
            return fail(error, "Parameter '%.*s...' is too long", MAX_QUOTED, at);
        }
        memcpy(name, at, n);
        name[n] = '\0';
        exists = json_object_object_get_ex(object, name, &inner);
        if (exists && json_object_is_type(inner, json_type_object) == last) {
            return fail(error, "Parameters '%.*s.*' used inconsistently", (int)(at + n - key), key);
        }
        if (last) {
            json_object_object_add(object, name, json_object_new_string(value));
            return true;
        }
        if (!exists) {
            inner = json_object_new_object();
            json_object_object_add(object, name, inner);
        }
        object = inner;
        at += n + 1;
    }
}

/* An object whose keys are numbers becomes a list; new reference, or NULL and *error. */
static json_object *listify(json_object *object, GString *path, GError **error)
{
    size_t n = (size_t)json_object_object_length(object), n_indexes = 0;
    g_autofree json_object **elements = g_new0(json_object *, n + 1);
    gsize path_length = path->len;
    json_object *list;

    json_object_object_foreach(object, key, value)
    {
        size_t index;

        if (json_object_is_type(value, json_type_object)) {
            json_object *made;

            g_string_append_printf(path, "%s%s", path_length ? "." : "", key);
            made = listify(value, path, error);
            g_string_truncate(path, path_length);
            if (!made) {
                return NULL;
            }
            json_object_object_add(object, key, made);
            value = made;
        }
        if (!g_ascii_isdigit(key[0])) {
            continue;
        }
        n_indexes++;
        index = strlen(key) <= 9 ? strtoul(key, NULL, 10) : n;
        if (index < n && !elements[index]) {
            elements[index] = value;
        }
    }
    if (!n_indexes) {
        return json_object_get(object);
    }
    if (n_indexes < n) {
        fail(error, "Parameters '%s.*' used inconsistently", path->str);
        return NULL;
    }
    list = json_object_new_array_ext((int)n);
    for (size_t i = 0; i < n; i++) {
        if (!elements[i]) {
            fail(error, "Parameter '%s.%zu' is missing", path->str, i);
            json_object_put(list);
            return NULL;
        }
        json_object_array_add(list, json_object_get(elements[i]));
    }
    return list;
}

/* One "key=value" or "help", or the first value without a key. */
static bool take_nested(json_object *root, const char **text, const char *implied_key, bool *help,
                        GError **error)
{
    const char *key = *text;
    size_t length = strcspn(key, "=,");
    g_autofree char *value = NULL;

    if (key[length] != '=') {
        if (is_help(key, length)) {
            if (!help) {
                return fail(error, "Help is not available for this option");
            }
            *help = true;
            *text = key + length + (key[length] == ',');
            return true;
        }
        if (!implied_key) {
            return fail(error, "Expected '=' after parameter '%.*s'", (int)MIN(length, MAX_QUOTED),
                        key);
        }
        key = implied_key;
        length = strlen(implied_key);
    } else {
        *text = key + length + 1;
    }
    value = take_value(text);
    return put_nested(root, key, length, value, error);
}

static bool require_utf8(const char *text, GError **error)
{
    const char *end;

    return g_utf8_validate(text, -1, &end) ||
           fail(error, "Invalid UTF-8 after '%.*s'", (int)MIN(end - text, MAX_QUOTED), text);
}

json_object *keyval_parse(const char *text, const char *implied_key, bool *help, GError **error)
{
    g_autoptr(json_object) root = json_object_new_object();
    g_autoptr(GString) path = g_string_new(NULL);

    if (help) {
        *help = false;
    }
    if (!require_utf8(text, error)) {
        return NULL;
    }
    while (*text) {
        if (!take_nested(root, &text, implied_key, help, error)) {
            return NULL;
        }
        implied_key = NULL;
    }
    return listify(root, path, error);
}

/* ---- Flat keys ---- */

json_object *keyval_parse_flat(const char *text, const char *implied_key, bool *help,
                               GError **error)
{
    g_autoptr(json_object) root = json_object_new_object();

    if (help) {
        *help = false;
    }
    if (!require_utf8(text, error)) {
        return NULL;
    }
    while (*text) {
        size_t length = strcspn(text, "=,");
        g_autofree char *key = NULL;
        g_autofree char *value = NULL;

        if (text[length] == '=') {
            key = g_strndup(text, length);
            text += length + 1;
            value = take_value(&text);
        } else if (is_help(text, length) && help) {
            *help = true;
            text += length + (text[length] == ',');
            continue;
        } else if (implied_key) {
            key = g_strdup(implied_key);
            value = take_value(&text);
        } else {
            bool no = length > 2 && text[0] == 'n' && text[1] == 'o';

            key = no ? g_strndup(text + 2, length - 2) : g_strndup(text, length);
            value = g_strdup(no ? "off" : "on");
            text += length + (text[length] == ',');
        }
        if (!*key) {
            fail(error, "Invalid parameter ''");
            return NULL;
        }
        json_object_object_add(root, key, json_object_new_string(value));
        implied_key = NULL;
    }
    return g_steal_pointer(&root);
}

/* ---- Options ---- */

/* The file's text, which the caller frees with g_free, or NULL and *error. */
static char *read_file(const char *path, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    FILE *file = fopen(path, "re");
    char buffer[4096];
    size_t n;
    int failed;

    if (!file) {
        fail(error, "Could not open '%s': %s", path, g_strerror(errno));
        return NULL;
    }
    while (text->len <= MAX_FILE && (n = fread(buffer, 1, sizeof(buffer), file))) {
        g_string_append_len(text, buffer, (gssize)n);
    }
    failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed) {
        fail(error, "Could not read '%s': %s", path, g_strerror(failed));
        return NULL;
    }
    if (text->len > MAX_FILE || strlen(text->str) != text->len) {
        fail(error, "'%s' is not a text file of at most %d MiB", path, MAX_FILE >> 20);
        return NULL;
    }
    return g_strdup(g_strstrip(text->str));
}

json_object *keyval_parse_option(const char *text, const char *implied_key, bool *help,
                                 bool *is_json, GError **error)
{
    g_autofree char *contents = NULL;

    *is_json = false;
    if (help) {
        *help = false;
    }
    if (text[0] == '@') {
        contents = read_file(text + 1, error);
        if (!contents) {
            return NULL;
        }
        text = contents;
    }
    if (text[0] == '{') {
        json_object *object = json_parse(text, error);

        *is_json = true;
        return object;
    }
    return keyval_parse(text, implied_key, help, error);
}

/* ---- Scalars ---- */

/* The power of 1024 that a suffix means; -1: it is none. */
static int unit_power(char unit)
{
    static const char units[] = "BKMGTPE";
    const char *found = unit ? strchr(units, g_ascii_toupper(unit)) : NULL;

    return found ? (int)(found - units) : -1;
}

bool keyval_parse_size(const char *text, char default_unit, uint64_t *bytes, GError **error)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *end = text;
    double fraction = 0, fraction_bytes;
    uint64_t whole = 0;
    unsigned shift;
    int power;

    if (hex) {
        end = text + 2;
    }
    if (g_ascii_isxdigit(*end) && (hex || g_ascii_isdigit(*end))) {
        char *after;

        errno = 0;
        whole = g_ascii_strtoull(end, &after, hex ? 16 : 10);
        if (errno) {
            return fail(error, "'%s' is too large: sizes are below 2^64", text);
        }
        end = after;
    } else if (hex || *end != '.' || !g_ascii_isdigit(end[1])) {
        return fail(error,
                    "'%s' is not a size: write a number, with a suffix k, M, G, T, P or E "
                    "if need be",
                    text);
    }
    if (*end == '.' && !hex) {
        double digit = 0.1;

        for (end++; g_ascii_isdigit(*end); end++, digit /= 10) {
            fraction += digit * (*end - '0');
        }
    }
    /* B can't be told from a digit after 0x, so a hexadecimal number has no suffix. */
    power = unit_power(hex || !*end ? default_unit : *end);
    if (power < 0 || (*end && (hex || end[1]))) {
        return fail(error, "'%s' is not a size: the suffixes are k, M, G, T, P and E", text);
    }
    shift = 10 * (unsigned)power;
    if (fraction != 0 && !power) {
        return fail(error, "'%s' is not a size: there are no parts of a byte", text);
    }
    fraction_bytes = fraction * (double)(1ull << shift);
    if (whole > UINT64_MAX >> shift || (uint64_t)fraction_bytes > UINT64_MAX - (whole << shift)) {
        return fail(error, "'%s' is too large: sizes are below 2^64", text);
    }
    *bytes = (whole << shift) + (uint64_t)fraction_bytes;
    return true;
}

bool keyval_parse_bool(const char *text, bool *value, GError **error)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    static const char *const off[] = {"off", "no", "false", "n", NULL};

    *value = g_strv_contains(on, text);
    return *value || g_strv_contains(off, text) ||
           fail(error, "'%s' is neither 'on' nor 'off'", text);
}
