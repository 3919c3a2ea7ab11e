/* The words behind an HMP command. */
#include "monitor/hmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void set_error(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
}

/* ---- Expressions ---- */

enum { MAX_NESTING = 100 };

struct expression {
    const char *at;
    unsigned nesting;
};

static void skip_spaces(struct expression *e)
{
    while (g_ascii_isspace(*e->at)) {
        e->at++;
    }
}

static bool parse_sum(struct expression *e, uint64_t *value, GError **error);

static bool parse_number(struct expression *e, uint64_t *value, GError **error)
{
    char *end;

    if (!*e->at) {
        set_error(error, "unexpected end of expression");
        return false;
    }
    if (!g_ascii_isdigit(*e->at)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "invalid char '%c' in expression",
                    g_ascii_isprint(*e->at) ? *e->at : '?');
        return false;
    }
    errno = 0;
    *value = strtoull(e->at, &end, 0);
    if (errno == ERANGE) {
        set_error(error, "number too large");
        return false;
    }
    e->at = end;
    return true;
}

static bool parse_character(struct expression *e, uint64_t *value, GError **error)
{
    if (!e->at[1] || e->at[2] != '\'') {
        set_error(error, "character constant expected");
        return false;
    }
    *value = (unsigned char)e->at[1];
    e->at += 3;
    return true;
}

static bool parse_unary(struct expression *e, uint64_t *value, GError **error)
{
    char c;
    bool ok;

    skip_spaces(e);
    c = *e->at;
    if (c == '\'') {
        return parse_character(e, value, error);
    }
    if (!c || !strchr("+-~(", c)) {
        return parse_number(e, value, error);
    }
    if (++e->nesting > MAX_NESTING) {
        set_error(error, "expression too deep");
        return false;
    }
    e->at++;
    ok = c == '(' ? parse_sum(e, value, error) : parse_unary(e, value, error);
    e->nesting--;
    if (!ok) {
        return false;
    }
    if (c == '-') {
        *value = -*value;
    } else if (c == '~') {
        *value = ~*value;
    } else if (c == '(') {
        skip_spaces(e);
        if (*e->at != ')') {
            set_error(error, "')' expected");
            return false;
        }
        e->at++;
    }
    return true;
}

/* Division is that of int64_t. */
static bool divide(uint64_t *a, uint64_t b, bool remainder, GError **error)
{
    if (!b) {
        set_error(error, "division by zero");
        return false;
    }
    if (b == UINT64_MAX) {
        *a = remainder ? 0 : -*a;
    } else {
        *a = (uint64_t)(remainder ? (int64_t)*a % (int64_t)b : (int64_t)*a / (int64_t)b);
    }
    return true;
}

static bool parse_product(struct expression *e, uint64_t *value, GError **error)
{
    uint64_t right;

    if (!parse_unary(e, value, error)) {
        return false;
    }
    for (;;) {
        char op;

        skip_spaces(e);
        op = *e->at;
        if (op != '*' && op != '/' && op != '%') {
            return true;
        }
        e->at++;
        if (!parse_unary(e, &right, error)) {
            return false;
        }
        if (op == '*') {
            *value *= right;
        } else if (!divide(value, right, op == '%', error)) {
            return false;
        }
    }
}

static bool parse_logic(struct expression *e, uint64_t *value, GError **error)
{
    uint64_t right;

    if (!parse_product(e, value, error)) {
        return false;
    }
    for (;;) {
        char op;

        skip_spaces(e);
        op = *e->at;
        if (op != '&' && op != '|' && op != '^') {
            return true;
        }
        e->at++;
        if (!parse_product(e, &right, error)) {
            return false;
        }
        *value = op == '&' ? *value & right : op == '|' ? *value | right : *value ^ right;
    }
}

static bool parse_sum(struct expression *e, uint64_t *value, GError **error)
{
    uint64_t right;

    if (!parse_logic(e, value, error)) {
        return false;
    }
    for (;;) {
        char op;

        skip_spaces(e);
        op = *e->at;
        if (op != '+' && op != '-') {
            return true;
        }
        e->at++;
        if (!parse_logic(e, &right, error)) {
            return false;
        }
        *value = op == '+' ? *value + right : *value - right;
    }
}

bool hmp_expression(const char **text, int64_t *value, GError **error)
{
    struct expression e = {.at = *text};
    uint64_t result;

    if (!parse_sum(&e, &result, error)) {
        return false;
    }
    *text = e.at;
    *value = (int64_t)result;
    return true;
}

/* ---- Words ---- */

static void skip(const char **text)
{
    while (g_ascii_isspace(**text)) {
        (*text)++;
    }
}

/* The next word of *text; NULL and *error: a bad one. There is one. */
static char *parse_word(const char **text, GError **error)
{
    g_autoptr(GString) word = g_string_new(NULL);
    const char *at = *text;

    if (*at != '"') {
        size_t length = strcspn(at, " \t\n\v\f\r");

        *text = at + length;
        return g_strndup(at, length);
    }
    for (at++; *at != '"'; at++) {
        static const char escapes[] = "n\nr\r\"\"''\\\\";
        const char *escape;

        if (*at != '\\') {
            if (!*at) {
                set_error(error, "unterminated string");
                return NULL;
            }
            g_string_append_c(word, *at);
            continue;
        }
        at++;
        for (escape = escapes; *escape && *escape != *at; escape += 2) {
        }
        if (!*escape || !*at) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "unsupported escape code: '\\%c'",
                        g_ascii_isprint(*at) ? *at : '?');
            return NULL;
        }
        g_string_append_c(word, escape[1]);
    }
    *text = at + 1;
    return g_string_free(g_steal_pointer(&word), FALSE);
}

struct parser {
    const struct hmp_row *row;
    const char *text; /* what is left of the line */
    char *name;       /* of the word that is read now */
    json_object *args;
};

static bool fail(struct parser *p, GError **error, const char *what)
{
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: %s", p->row->name, what);
    return false;
}

static bool add(struct parser *p, json_object *value)
{
    json_object_object_add(p->args, p->name, value);
    return true;
}

static bool parse_string(struct parser *p, GError **error)
{
    g_autofree char *word = parse_word(&p->text, error);

    return word && add(p, json_object_new_string(word));
}

static bool parse_rest(struct parser *p, GError **error)
{
    g_autofree char *rest = g_strchomp(g_strdup(p->text));

    p->text += strlen(p->text);
    return add(p, json_object_new_string(rest));
}

static bool parse_integer(struct parser *p, bool bits32, GError **error)
{
    int64_t value;

    if (!hmp_expression(&p->text, &value, error)) {
        return false;
    }
    if (bits32 && (value < INT32_MIN || value > INT32_MAX)) {
        return fail(p, error, "integer is for 32-bit values");
    }
    return add(p, json_object_new_int64(value));
}

static bool parse_bool(struct parser *p, GError **error)
{
    g_autofree char *word = parse_word(&p->text, error);

    if (!word) {
        return false;
    }
    if (!g_str_equal(word, "on") && !g_str_equal(word, "off")) {
        set_error(error, "Expected 'on' or 'off'");
        return false;
    }
    return add(p, json_object_new_boolean(g_str_equal(word, "on")));
}

/* "/x" */
static bool parse_format(struct parser *p, GError **error)
{
    char format[2] = {0};

    if (*p->text != '/') {
        return true;
    }
    format[0] = p->text[1];
    if (!g_ascii_isalpha(format[0]) || (p->text[2] && !g_ascii_isspace(p->text[2]))) {
        return fail(p, error, "a format is '/' and one letter");
    }
    p->text += 2;
    return add(p, json_object_new_string(format));
}

/* "/4xw" */
static bool parse_dump_format(struct parser *p)
{
    size_t length = strcspn(p->text, " \t");

    if (*p->text != '/') {
        return true;
    }
    add(p, json_object_new_string_len(p->text + 1, (int)length - 1));
    p->text += length;
    return true;
}

/* -X, as long as the words are options. */
static bool parse_option(struct parser *p, char letter)
{
    if (p->text[0] == '-' && p->text[1] == letter && (!p->text[2] || g_ascii_isspace(p->text[2]))) {
        p->text += 2;
        add(p, json_object_new_boolean(true));
    }
    return true;
}

static bool parse_argument(struct parser *p, const char *kind, GError **error)
{
    skip(&p->text);
    if (*kind == '/') {
        return parse_format(p, error);
    }
    if (*kind == 'f') {
        return parse_dump_format(p);
    }
    if (*kind == '-') {
        return parse_option(p, kind[1]);
    }
    if (!*p->text && kind[1] == '?') {
        return true;
    }
    if (!*p->text && (*kind == 's' || *kind == 'S')) {
        return fail(p, error, "string expected");
    }
    switch (*kind) {
    case 's': return parse_string(p, error);
    case 'S': return parse_rest(p, error);
    case 'b': return parse_bool(p, error);
    default: return parse_integer(p, *kind == 'i', error);
    }
}

json_object *hmp_parse_args(const struct hmp_row *row, const char *line, GError **error)
{
    g_auto(GStrv) kinds = g_strsplit(row->args ? row->args : "", ",", -1);
    g_autoptr(json_object) args = json_object_new_object();
    struct parser p = {.row = row, .text = line, .args = args};

    for (char **kind = kinds; *kind; kind++) {
        char *colon = strchr(*kind, ':');

        *colon = 0;
        p.name = *kind;
        if (!parse_argument(&p, colon + 1, error)) {
            return NULL;
        }
    }
    skip(&p.text);
    if (*p.text) {
        fail(&p, error, "extraneous characters at the end of line");
        return NULL;
    }
    return g_steal_pointer(&args);
}
