/*
 * Values from JSON, and from what keyval.c makes of key=value, where each scalar is a string. Both
 * are walked by the type's table; the path to the value at hand is kept for messages.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "qapi/error.h"
#include "qapi/keyval.h"
#include "qapi/type_priv.h"
#include "util/nearest.h"

enum { MAX_RANGE = 65536 }; /* elements that one "0-N" may stand for */

struct reader {
    bool keyval;
    GString *path; /* "backend.data.addrs[1]" */
    GError **error;
};

static bool read_value(struct reader *r, const struct qapi_type *type, json_object *json,
                       void *out);

static bool G_GNUC_PRINTF(2, 3) fail(struct reader *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (r->error) {
        *r->error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    }
    va_end(args);
    return false;
}

static bool fail_type(struct reader *r, const char *expected)
{
    if (!r->path->len) {
        return fail(r, "Invalid parameter type, expected: %s", expected);
    }
    return fail(r, "Invalid parameter type for '%s', expected: %s", r->path->str, expected);
}

static bool fail_expects(struct reader *r, const char *expected)
{
    return fail(r, "Parameter '%s' expects %s", r->path->str, expected);
}

char *qapi_hint(const char *name, const char *const *names, size_t n)
{
    const char *nearest = util_nearest(name, names, n);

    return nearest ? g_strdup_printf("; did you mean '%s'?", nearest) : g_strdup("");
}

char *qapi_enum_hint(const struct qapi_type *type, const char *name)
{
    g_autofree const char **names = g_new(const char *, type->n_values + 1);

    for (uint32_t i = 0; i < type->n_values; i++) {
        names[i] = type->values[i].name;
    }
    return qapi_hint(name, names, type->n_values);
}

/* The path's length before a name was added; pop_path takes that. */
static gsize push_path(struct reader *r, const char *name)
{
    gsize length = r->path->len;

    g_string_append_printf(r->path, "%s%s", length ? "." : "", name);
    return length;
}

static void pop_path(struct reader *r, gsize length)
{
    g_string_truncate(r->path, length);
}

/* ---- Scalars ---- */

static const char *string_of(json_object *json)
{
    return json_object_is_type(json, json_type_string) ? json_object_get_string(json) : NULL;
}

/* Whole numbers of int64_t and uint64_t; false: json is none. */
static bool get_integer(json_object *json, bool *negative, uint64_t *magnitude)
{
    int64_t i;

    if (!json_object_is_type(json, json_type_int)) {
        return false;
    }
    i = json_object_get_int64(json);
    *negative = i < 0;
    *magnitude = i < 0 ? -(uint64_t)i : i == INT64_MAX ? json_object_get_uint64(json) : (uint64_t)i;
    return true;
}

/* Decimal, 0x hexadecimal or 0 octal, as the C library reads them, but all of the text. */
static bool parse_integer(const char *text, bool *negative, uint64_t *magnitude)
{
    char *end;

    *negative = *text == '-';
    text += *negative;
    if (!g_ascii_isdigit(*text)) {
        return false;
    }
    errno = 0;
    *magnitude = g_ascii_strtoull(text, &end, 0);
    return !errno && !*end;
}

static bool store_int(struct reader *r, const struct qapi_type *type, bool negative,
                      uint64_t magnitude, void *out)
{
    unsigned bits = 8 * type->size;
    uint64_t max = type->kind == QAPI_KIND_INT ? (uint64_t)INT64_MAX >> (64 - bits)
                                               : UINT64_MAX >> (64 - bits);
    uint64_t limit = !negative ? max : type->kind == QAPI_KIND_INT ? max + 1 : 0;

    if (magnitude > limit) {
        g_autofree char *expected = NULL;

        if (bits == 64) {
            return type->kind == QAPI_KIND_INT ? fail_type(r, "integer")
                                               : fail_expects(r, "uint64");
        }
        expected = g_strdup_printf("%sint%u_t", type->kind == QAPI_KIND_INT ? "" : "u", bits);
        return fail_expects(r, expected);
    }
    qapi_store_int(type, out, negative ? -magnitude : magnitude);
    return true;
}

static bool read_integer(struct reader *r, const struct qapi_type *type, json_object *json,
                         void *out)
{
    bool negative;
    uint64_t magnitude;

    if (r->keyval) {
        const char *text = string_of(json);

        if (!text) {
            return fail_type(r, type->kind == QAPI_KIND_SIZE ? "size" : "integer");
        }
        if (type->kind == QAPI_KIND_SIZE) {
            return keyval_parse_size(text, 'B', out, NULL) || fail_expects(r, "a size value");
        }
        if (!parse_integer(text, &negative, &magnitude)) {
            return fail_expects(r, "integer");
        }
    } else if (!get_integer(json, &negative, &magnitude)) {
        return type->kind == QAPI_KIND_INT ? fail_type(r, "integer") : fail_expects(r, "uint64");
    }
    return store_int(r, type, negative, magnitude, out);
}

static bool read_number(struct reader *r, json_object *json, double *out)
{
    if (r->keyval) {
        const char *text = string_of(json);
        char *end;

        if (!text) {
            return fail_type(r, "number");
        }
        *out = g_ascii_strtod(text, &end);
        if (end == text || *end || g_ascii_isspace(*text) || !(*out - *out == 0)) {
            return fail_expects(r, "number");
        }
        return true;
    }
    if (!json_object_is_type(json, json_type_double) && !json_object_is_type(json, json_type_int)) {
        return fail_type(r, "number");
    }
    *out = json_object_get_double(json);
    if (json_object_get_int64(json) == INT64_MAX && json_object_is_type(json, json_type_int)) {
        *out = (double)json_object_get_uint64(json);
    }
    return true;
}

static bool read_bool(struct reader *r, json_object *json, bool *out)
{
    if (r->keyval) {
        const char *text = string_of(json);

        if (!text) {
            return fail_type(r, "boolean");
        }
        return keyval_parse_bool(text, out, NULL) || fail_expects(r, "'on' or 'off'");
    }
    if (!json_object_is_type(json, json_type_boolean)) {
        return fail_type(r, "boolean");
    }
    *out = json_object_get_boolean(json);
    return true;
}

static bool read_string(struct reader *r, json_object *json, char **out)
{
    const char *text = string_of(json);

    if (!text) {
        return fail_type(r, "string");
    }
    /* In C it would be another, shorter string than the client sent. */
    if (strlen(text) != (size_t)json_object_get_string_len(json)) {
        return fail(r, "Parameter '%s' must not contain the character \\u0000", r->path->str);
    }
    *out = g_strdup(text);
    return true;
}

static bool read_enum(struct reader *r, const struct qapi_type *type, json_object *json, int *out)
{
    const char *text = string_of(json);
    int value;

    if (!text) {
        return fail_type(r, "string");
    }
    value = qapi_enum_find(type, text);
    if (value < 0 || strlen(text) != (size_t)json_object_get_string_len(json)) {
        g_autofree char *hint = qapi_enum_hint(type, text);

        return fail(r, "Parameter '%s' does not accept value '%s'%s", r->path->str, text, hint);
    }
    *out = value;
    return true;
}

/* ---- Lists ---- */

/* "3", "0-3", "0,2-5" */
static bool read_ranges(struct reader *r, const struct qapi_type *type, const char *text, void *out)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (char **part = parts; *part; part++) {
        g_autofree char *low = NULL;
        const char *dash = **part ? strchr(*part + 1, '-') : NULL;
        uint64_t first, last;
        bool negative, last_negative;

        low = dash ? g_strndup(*part, (gsize)(dash - *part)) : g_strdup(*part);
        if (!parse_integer(low, &negative, &first) ||
            !parse_integer(dash ? dash + 1 : low, &last_negative, &last) ||
            (dash && (negative || last_negative || last < first || last - first >= MAX_RANGE))) {
            return fail_expects(r, "an integer value or range");
        }
        for (uint64_t i = 0; i <= (dash ? last - first : 0); i++) {
            if (!store_int(r, type->element, negative, first + i, qapi_list_append(type, out))) {
                return false;
            }
        }
    }
    return true;
}

static bool read_list(struct reader *r, const struct qapi_type *type, json_object *json, void *out)
{
    const struct qapi_type *element = type->element;
    struct qapi_any_list *list = out;
    size_t n, allocated = 0;

    if (r->keyval && string_of(json) &&
        (element->kind == QAPI_KIND_INT || element->kind == QAPI_KIND_UINT)) {
        return read_ranges(r, type, string_of(json), out);
    }
    if (!json_object_is_type(json, json_type_array)) {
        return fail_type(r, "array");
    }
    n = json_object_array_length(json);
    for (size_t i = 0; i < n; i++) {
        gsize length = r->path->len;
        char *at;
        bool ok;

        /* Grown step by step: elements may be large, and the first one may be wrong. */
        if (i == allocated) {
            allocated = MIN(n, allocated ? 2 * allocated : 8);
            list->v = g_realloc_n(list->v, allocated, element->size);
        }
        at = (char *)list->v + i * element->size;
        memset(at, 0, element->size);
        list->n++;
        g_string_append_printf(r->path, "[%zu]", i);
        ok = read_value(r, element, json_object_array_get_idx(json, i), at);
        pop_path(r, length);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* ---- Structs, unions, alternates ---- */

static bool read_member(struct reader *r, const struct qapi_member *member, json_object *object,
                        char *parent)
{
    gsize length = push_path(r, member->name);
    char *at = parent + member->offset;
    json_object *json;
    bool ok = true;

    if (json_object_object_get_ex(object, member->name, &json)) {
        if (member->has_offset >= 0) {
            *(bool *)(parent + member->has_offset) = true;
        }
        if (qapi_type_is_struct(member->type)) {
            at = *(void **)at = g_malloc0(member->type->size);
        }
        ok = read_value(r, member->type, json, at);
    } else if (!member->optional) {
        ok = fail(r, "Parameter '%s' is missing", r->path->str);
    }
    pop_path(r, length);
    return ok;
}

/* The union's branch, or NULL. */
static const struct qapi_branch *selected_branch(const struct qapi_type *type, const void *value)
{
    const struct qapi_branch *branch;

    if (type->kind != QAPI_KIND_UNION) {
        return NULL;
    }
    qapi_branch_value(type, value, &branch);
    return branch->type ? branch : NULL;
}

/* Members of the object that belong to the type, a union's branch included. */
static bool read_members(struct reader *r, const struct qapi_type *type, json_object *object,
                         char *out)
{
    const struct qapi_branch *branch;

    for (uint32_t i = 0; i < type->n_members; i++) {
        if (!read_member(r, &type->members[i], object, out)) {
            return false;
        }
    }
    branch = selected_branch(type, out);
    return !branch || read_members(r, branch->type, object, out + branch->offset);
}

/* Adds the names of the members that the value can have. */
static void add_names(const struct qapi_type *type, const char *value, GPtrArray *names)
{
    const struct qapi_branch *branch = selected_branch(type, value);

    for (uint32_t i = 0; i < type->n_members; i++) {
        g_ptr_array_add(names, (char *)type->members[i].name);
    }
    if (branch) {
        add_names(branch->type, value + branch->offset, names);
    }
}

static bool is_member(const struct qapi_type *type, const char *value, const char *name)
{
    const struct qapi_branch *branch = selected_branch(type, value);

    for (uint32_t i = 0; i < type->n_members; i++) {
        if (strcmp(type->members[i].name, name) == 0) {
            return true;
        }
    }
    return branch && is_member(branch->type, value + branch->offset, name);
}

static bool read_struct(struct reader *r, const struct qapi_type *type, json_object *json,
                        char *out)
{
    if (!json_object_is_type(json, json_type_object)) {
        return fail_type(r, "object");
    }
    if (!read_members(r, type, json, out)) {
        return false;
    }
    json_object_object_foreach(json, key, ignored)
    {
        (void)ignored;
        if (!is_member(type, out, key)) {
            g_autoptr(GPtrArray) names = g_ptr_array_new();
            g_autofree char *hint = NULL;

            add_names(type, out, names);
            hint = qapi_hint(key, (const char *const *)names->pdata, names->len);
            push_path(r, key);
            return fail(r, "Parameter '%s' is unexpected%s", r->path->str, hint);
        }
    }
    return true;
}

/* Whether a value of the type can begin with this JSON type. */
static bool accepts(const struct qapi_type *type, json_type json)
{
    switch (type->kind) {
    case QAPI_KIND_BOOL: return json == json_type_boolean;
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE: return json == json_type_int;
    case QAPI_KIND_NUMBER: return json == json_type_int || json == json_type_double;
    case QAPI_KIND_STR:
    case QAPI_KIND_ENUM: return json == json_type_string;
    case QAPI_KIND_NULL: return json == json_type_null;
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION: return json == json_type_object;
    case QAPI_KIND_LIST: return json == json_type_array;
    case QAPI_KIND_ANY:
    case QAPI_KIND_ALTERNATE: return false;
    }
    return false;
}

static bool read_alternate(struct reader *r, const struct qapi_type *type, json_object *json,
                           char *out)
{
    json_type got = json_object_get_type(json);
    uint32_t found = type->n_branches;

    for (uint32_t i = 0; i < type->n_branches && found == type->n_branches; i++) {
        if (accepts(type->branches[i].type, got)) {
            found = i;
        }
    }
    /* In key=value all scalars are strings. */
    for (uint32_t i = 0;
         r->keyval && got == json_type_string && i < type->n_branches && found == type->n_branches;
         i++) {
        if (type->branches[i].type->kind <= QAPI_KIND_NUMBER) {
            found = i;
        }
    }
    if (found == type->n_branches) {
        return fail_type(r, type->name);
    }
    *(unsigned *)out = found;
    return read_value(r, type->branches[found].type, json, out + type->branches[found].offset);
}

static bool read_value(struct reader *r, const struct qapi_type *type, json_object *json, void *out)
{
    switch (type->kind) {
    case QAPI_KIND_BOOL: return read_bool(r, json, out);
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE: return read_integer(r, type, json, out);
    case QAPI_KIND_NUMBER: return read_number(r, json, out);
    case QAPI_KIND_STR: return read_string(r, json, out);
    case QAPI_KIND_ANY: *(json_object **)out = json_object_get(json); return true;
    case QAPI_KIND_NULL: *(bool *)out = true; return !json || fail_type(r, "null");
    case QAPI_KIND_ENUM: return read_enum(r, type, json, out);
    case QAPI_KIND_LIST: return read_list(r, type, json, out);
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION: return read_struct(r, type, json, out);
    case QAPI_KIND_ALTERNATE: return read_alternate(r, type, json, out);
    }
    return false;
}

static bool read_whole(bool keyval, const struct qapi_type *type, json_object *json, void *out,
                       GError **error)
{
    struct reader r = {.keyval = keyval, .path = g_string_new(NULL), .error = error};
    bool ok;

    memset(out, 0, type->size);
    ok = read_value(&r, type, json, out);
    g_string_free(r.path, TRUE);
    if (!ok) {
        qapi_clear(type, out);
    }
    return ok;
}

bool qapi_from_json(const struct qapi_type *type, struct json_object *json, void *out,
                    GError **error)
{
    return read_whole(false, type, json, out, error);
}

bool qapi_from_keyval(const struct qapi_type *type, struct json_object *keyval, void *out,
                      GError **error)
{
    return read_whole(true, type, keyval, out, error);
}
