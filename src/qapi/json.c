/*
 * The JSON reader (RFC 8259, and single quotes): a push-down automaton that takes bytes as they
 * come, so that nothing is read twice and nothing recurses. What it holds is bounded by the limits
 * on one value.
 */
#include "qapi/json.h"

#include <errno.h>
#include <string.h>

#include "qapi/error.h"

enum {
    MAX_DEPTH = 1024,
    MAX_TOKENS = 2 << 20,
    CONTAINER_COST = 16, /* tokens: an empty object takes as much memory as so many numbers */
    ARRAY_SIZE = 4,      /* elements that a list has room for at first */
    MAX_NUMBER = 1024,   /* characters */
    MAX_QUOTED = 60,     /* characters of the input in an error message */
};

enum lexer {
    BETWEEN, /* no token has begun */
    STRING,
    ESCAPE,  /* in a string, after a backslash */
    UNICODE, /* in a string, after \u */
    NUMBER,
    KEYWORD,
    SKIP, /* after an error, up to the end of the line */
};

enum expect {
    VALUE,
    FIRST_VALUE, /* or "]" */
    KEY,
    FIRST_KEY, /* or "}" */
    COLON,
    SEPARATOR, /* or the end of the object or list */
};

struct level {
    json_object *container;
    char *key; /* object: of the value to come */
};

struct json_stream {
    json_stream_fn *fn;
    void *opaque;
    size_t max_bytes;

    enum lexer lexer;
    enum expect expect;
    char quote;              /* that began the string */
    unsigned hex_digits;     /* of \uXXXX so far */
    unsigned code;           /* their value */
    unsigned high_surrogate; /* the first half of a pair, waiting for the second; 0: none */
    GString *token;          /* contents of the string, number or keyword so far */

    struct level *levels; /* what is open */
    unsigned depth, allocated;
    size_t n_bytes, n_tokens; /* of the value so far */

    unsigned long line, column; /* of the byte at hand, from 1; a column is a byte */
};

struct json_stream *json_stream_new(size_t max_bytes, json_stream_fn *fn, void *opaque)
{
    struct json_stream *s = g_new0(struct json_stream, 1);

    s->fn = fn;
    s->opaque = opaque;
    s->max_bytes = max_bytes;
    s->token = g_string_new(NULL);
    s->line = s->column = 1;
    return s;
}

/* Forgets the value that was being read. */
static void reset(struct json_stream *s)
{
    for (unsigned i = 0; i < s->depth; i++) {
        g_free(s->levels[i].key);
    }
    if (s->depth) {
        json_object_put(s->levels[0].container);
    }
    s->depth = 0;
    s->lexer = BETWEEN;
    s->expect = VALUE;
    s->high_surrogate = 0;
    s->n_bytes = s->n_tokens = 0;
    if (s->token->allocated_len > 4096) {
        g_string_free(s->token, TRUE);
        s->token = g_string_new(NULL);
    }
    g_string_truncate(s->token, 0);
    if (s->allocated > 16) {
        g_clear_pointer(&s->levels, g_free);
        s->allocated = 0;
    }
}

void json_stream_free(struct json_stream *s)
{
    reset(s);
    g_string_free(s->token, TRUE);
    g_free(s->levels);
    g_free(s);
}

static void G_GNUC_PRINTF(2, 3) fail(struct json_stream *s, const char *format, ...)
{
    GError *error;
    va_list args;

    va_start(args, format);
    error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    va_end(args);
    reset(s);
    s->lexer = SKIP;
    s->fn(s->opaque, NULL, error);
}

/* "stray 'TEXT'": the token so far and the character that can't go on it, made printable. */
static void fail_stray(struct json_stream *s, unsigned char c)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < s->token->len && i < MAX_QUOTED; i++) {
        unsigned char t = (unsigned char)s->token->str[i];

        g_string_append_c(text, t >= 0x20 && t < 0x7f ? (char)t : '?');
    }
    if (s->token->len > MAX_QUOTED) {
        g_string_append(text, "...");
    }
    if (c >= 0x20 && c < 0x7f) {
        g_string_append_c(text, (char)c);
    } else {
        g_string_append_printf(text, "\\x%02x", c);
    }
    fail(s, "JSON parse error, stray '%s%s'", s->lexer == STRING ? "\"" : "", text->str);
}

/* ---- Structure ---- */

/* A value is complete: it goes to the container that is open, or out. */
static void add_value(struct json_stream *s, json_object *value)
{
    struct level *level;

    if (s->depth == 0) {
        reset(s);
        s->fn(s->opaque, value, NULL);
        return;
    }
    level = &s->levels[s->depth - 1];
    if (json_object_is_type(level->container, json_type_array)) {
        json_object_array_add(level->container, value);
    } else {
        json_object_object_add(level->container, level->key, value);
        g_clear_pointer(&level->key, g_free);
    }
    s->expect = SEPARATOR;
}

/* Takes the container's place in the parent at once, so that freeing the outermost frees all. */
static bool open_container(struct json_stream *s, json_object *container)
{
    if (s->depth == MAX_DEPTH) {
        json_object_put(container);
        fail(s, "JSON nesting depth limit exceeded");
        return false;
    }
    if (s->depth) {
        add_value(s, container);
    }
    if (s->depth == s->allocated) {
        s->allocated = s->allocated ? 2 * s->allocated : 16;
        s->levels = g_renew(struct level, s->levels, s->allocated);
    }
    s->levels[s->depth++] = (struct level){.container = container};
    s->expect = json_object_is_type(container, json_type_array) ? FIRST_VALUE : FIRST_KEY;
    return true;
}

static void close_container(struct json_stream *s)
{
    s->depth--;
    if (s->depth == 0) {
        json_object *value = s->levels[0].container;

        reset(s);
        s->fn(s->opaque, value, NULL);
    } else {
        s->expect = SEPARATOR;
    }
}

static bool in_list(const struct json_stream *s)
{
    return s->depth && json_object_is_type(s->levels[s->depth - 1].container, json_type_array);
}

/* Whether a value, or a key if it is a string, may begin here. */
static bool expect_token(struct json_stream *s, bool string)
{
    switch (s->expect) {
    case VALUE:
    case FIRST_VALUE: return true;
    case KEY:
    case FIRST_KEY:
        if (string) {
            return true;
        }
        fail(s, "JSON parse error, key is not a string in object");
        return false;
    case COLON: fail(s, "JSON parse error, missing : in object pair"); return false;
    case SEPARATOR:
        fail(s, "JSON parse error, expected separator in %s", in_list(s) ? "list" : "dict");
        return false;
    }
    return false;
}

static void punctuation(struct json_stream *s, char c)
{
    bool list = in_list(s);

    switch (c) {
    case '{':
    case '[':
        if (expect_token(s, false)) {
            s->n_tokens += CONTAINER_COST;
            open_container(s, c == '{' ? json_object_new_object()
                                       : json_object_new_array_ext(ARRAY_SIZE));
        }
        return;
    case '}':
    case ']':
        if (s->depth && list == (c == ']') &&
            (s->expect == SEPARATOR || s->expect == FIRST_VALUE || s->expect == FIRST_KEY)) {
            close_container(s);
            return;
        }
        break;
    case ',':
        if (s->depth && s->expect == SEPARATOR) {
            s->expect = list ? VALUE : KEY;
            return;
        }
        break;
    case ':':
        if (s->expect == COLON) {
            s->expect = VALUE;
            return;
        }
        break;
    }
    if (s->expect == COLON || s->expect == SEPARATOR) {
        expect_token(s, false);
    } else {
        fail(s, "JSON parse error, expecting %s",
             s->expect == KEY || s->expect == FIRST_KEY ? "key" : "value");
    }
}

/* ---- Tokens ---- */

/* Non-characters are refused too: what is sent on must be valid for every reader. */
static bool valid_code(unsigned code)
{
    return code <= 0x10ffff && (code & 0xfffff800) != 0xd800 && (code & 0xfffe) != 0xfffe &&
           !(code >= 0xfdd0 && code <= 0xfdef);
}

static bool valid_text(const char *text, size_t length)
{
    const char *end = text + length;

    while (text < end) {
        gunichar code;

        if (!(*text & 0x80)) {
            text++;
            continue;
        }
        code = g_utf8_get_char_validated(text, end - text);
        if (code >= (gunichar)-2 || !valid_code(code)) {
            return false;
        }
        text = g_utf8_next_char(text);
    }
    return true;
}

static void end_string(struct json_stream *s)
{
    struct level *level = s->depth ? &s->levels[s->depth - 1] : NULL;

    s->lexer = BETWEEN;
    if (!valid_text(s->token->str, s->token->len)) {
        fail(s, "JSON parse error, invalid UTF-8 sequence in string");
        return;
    }
    if (s->expect == KEY || s->expect == FIRST_KEY) {
        if (strlen(s->token->str) != s->token->len) {
            fail(s, "JSON parse error, \\u0000 in a key");
        } else if (json_object_object_get_ex(level->container, s->token->str, NULL)) {
            fail(s, "JSON parse error, duplicate key");
        } else {
            level->key = g_strndup(s->token->str, s->token->len);
            s->expect = COLON;
        }
    } else {
        add_value(s, json_object_new_string_len(s->token->str, (int)s->token->len));
    }
}

/* RFC 8259, chapter 6. */
static bool valid_number(const char *p, bool *integer)
{
    *integer = true;
    p += *p == '-';
    if (*p == '0') {
        p++;
    } else if (g_ascii_isdigit(*p)) {
        p += strspn(p, "0123456789");
    } else {
        return false;
    }
    if (*p == '.') {
        size_t digits = strspn(p + 1, "0123456789");

        *integer = false;
        p += 1 + digits;
        if (!digits) {
            return false;
        }
    }
    if (*p == 'e' || *p == 'E') {
        size_t digits;

        *integer = false;
        p++;
        p += *p == '+' || *p == '-';
        digits = strspn(p, "0123456789");
        p += digits;
        if (!digits) {
            return false;
        }
    }
    return !*p;
}

/* Integers that fit neither int64_t nor uint64_t become numbers. */
static void end_number(struct json_stream *s)
{
    const char *text = s->token->str;
    bool integer;
    double number;

    if (!valid_number(text, &integer)) {
        fail(s, "JSON parse error, stray '%.*s'", MAX_QUOTED, text);
        return;
    }
    s->lexer = BETWEEN;
    if (integer) {
        int64_t i;
        uint64_t u;

        errno = 0;
        i = g_ascii_strtoll(text, NULL, 10);
        if (!errno) {
            add_value(s, json_object_new_int64(i));
            return;
        }
        errno = 0;
        u = g_ascii_strtoull(text, NULL, 10);
        if (!errno && text[0] != '-') {
            add_value(s, json_object_new_uint64(u));
            return;
        }
    }
    errno = 0;
    number = g_ascii_strtod(text, NULL);
    if (number > G_MAXDOUBLE || number < -G_MAXDOUBLE) {
        fail(s, "JSON parse error, number out of range '%.*s'", MAX_QUOTED, text);
        return;
    }
    add_value(s, json_object_new_double(number));
}

static void end_keyword(struct json_stream *s)
{
    const char *text = s->token->str;

    s->lexer = BETWEEN;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        add_value(s, json_object_new_boolean(text[0] == 't'));
    } else if (strcmp(text, "null") == 0) {
        add_value(s, NULL);
    } else {
        fail(s, "JSON parse error, invalid keyword '%.*s'", MAX_QUOTED, text);
    }
}

static void unicode_digit(struct json_stream *s, char c)
{
    int digit = g_ascii_xdigit_value(c);

    if (digit < 0) {
        fail(s, "JSON parse error, \\u must be followed by four hexadecimal digits");
        return;
    }
    s->code = s->code << 4 | (unsigned)digit;
    if (++s->hex_digits < 4) {
        return;
    }
    s->lexer = STRING;
    if (s->high_surrogate) {
        if ((s->code & 0xfc00) == 0xdc00) {
            s->code = 0x10000 + ((s->high_surrogate & 0x3ff) << 10) + (s->code & 0x3ff);
            s->high_surrogate = 0;
        } else {
            fail(s, "JSON parse error, \\u%04x is not a valid Unicode character",
                 s->high_surrogate);
            return;
        }
    } else if ((s->code & 0xfc00) == 0xd800) {
        s->high_surrogate = s->code;
        return;
    }
    if (!valid_code(s->code)) {
        fail(s, "JSON parse error, \\u%04x is not a valid Unicode character", s->code);
        return;
    }
    if (s->code) {
        g_string_append_unichar(s->token, s->code);
    } else {
        g_string_append_c(s->token, '\0');
    }
}

static void escape(struct json_stream *s, char c)
{
    static const char from[] = "bfnrt\"'\\/", to[] = "\b\f\n\r\t\"'\\/";
    const char *found = c ? strchr(from, c) : NULL;

    if (c == 'u') {
        s->lexer = UNICODE;
        s->hex_digits = s->code = 0;
    } else if (s->high_surrogate) {
        fail(s, "JSON parse error, \\u%04x is not a valid Unicode character", s->high_surrogate);
    } else if (found) {
        g_string_append_c(s->token, to[found - from]);
        s->lexer = STRING;
    } else {
        fail(s, "JSON parse error, invalid escape sequence in string");
    }
}

/* ---- Bytes ---- */

/* A byte where no token has begun. */
static void begin_token(struct json_stream *s, char c)
{
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        return;
    }
    if (++s->n_tokens > MAX_TOKENS) {
        fail(s, "JSON token count limit exceeded");
        return;
    }
    g_string_truncate(s->token, 0);
    if (strchr("{}[]:,", c)) {
        punctuation(s, c);
    } else if (c == '"' || c == '\'') {
        if (expect_token(s, true)) {
            s->lexer = STRING;
            s->quote = c;
        }
    } else if (c == '-' || g_ascii_isdigit(c)) {
        if (expect_token(s, false)) {
            g_string_append_c(s->token, c);
            s->lexer = NUMBER;
        }
    } else if (g_ascii_islower(c)) {
        if (expect_token(s, false)) {
            g_string_append_c(s->token, c);
            s->lexer = KEYWORD;
        }
    } else {
        fail_stray(s, (unsigned char)c);
    }
}

/* One byte; some tokens end in front of it, then it is looked at again. */
static void take(struct json_stream *s, char c)
{
    switch (s->lexer) {
    case NUMBER:
        if (g_ascii_isdigit(c) || (c && strchr("+-.eE", c))) {
            g_string_append_c(s->token, c);
            if (s->token->len > MAX_NUMBER) {
                fail(s, "JSON parse error, number of more than %d characters", MAX_NUMBER);
            }
            return;
        }
        end_number(s);
        break;
    case KEYWORD:
        if (g_ascii_islower(c)) {
            g_string_append_c(s->token, c);
            return;
        }
        end_keyword(s);
        break;
    case ESCAPE: escape(s, c); return;
    case UNICODE: unicode_digit(s, c); return;
    case STRING:
        if (s->high_surrogate && c != '\\') {
            fail(s, "JSON parse error, \\u%04x is not a valid Unicode character",
                 s->high_surrogate);
        } else if (c == s->quote) {
            end_string(s);
        } else if (c == '\\') {
            s->lexer = ESCAPE;
        } else if ((unsigned char)c < 0x20) {
            fail_stray(s, (unsigned char)c);
        } else {
            g_string_append_c(s->token, c);
        }
        return;
    case BETWEEN:
    case SKIP: break;
    }
    if (s->lexer == BETWEEN) {
        begin_token(s, c);
    }
}

/*
 * Bytes that can be nowhere in JSON bring the reader back to its beginning: a client that doesn't
 * know what the other side has read so far sends one.
 */
static bool is_reset(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte == 0xff || (byte < 0x20 && c != '\t' && c != '\r' && c != '\n');
}

/* How many bytes of a string can be taken at once. */
static size_t plain_length(const struct json_stream *s, const char *data, size_t length)
{
    size_t n = 0;

    while (n < length && data[n] != s->quote && data[n] != '\\' && (unsigned char)data[n] >= 0x20 &&
           (unsigned char)data[n] != 0xff) {
        n++;
    }
    return n;
}

static bool count_bytes(struct json_stream *s, size_t n)
{
    s->n_bytes += n;
    if (s->n_bytes > s->max_bytes) {
        fail(s, "JSON token size limit exceeded");
        return false;
    }
    return true;
}

void json_stream_feed(struct json_stream *s, const char *data, size_t length)
{
    const char *end = data + length;

    while (data < end) {
        char c = *data;

        if (s->lexer == SKIP) {
            if (c == '\n' || is_reset(c)) {
                s->lexer = BETWEEN;
            }
        } else if (is_reset(c)) {
            fail_stray(s, (unsigned char)c);
            s->lexer = BETWEEN;
        } else if (s->lexer == STRING && !s->high_surrogate) {
            size_t n = plain_length(s, data, (size_t)(end - data));

            if (n) {
                if (count_bytes(s, n)) {
                    g_string_append_len(s->token, data, (gssize)n);
                }
                data += n;
                s->column += n;
                continue;
            }
            if (count_bytes(s, 1)) {
                take(s, c);
            }
        } else if (s->lexer != BETWEEN || s->depth || !g_ascii_isspace(c)) {
            if (count_bytes(s, 1)) {
                take(s, c);
            }
        }
        if (c == '\n') {
            if (s->lexer == SKIP) {
                s->lexer = BETWEEN;
            }
            s->line++;
            s->column = 0;
        }
        data++;
        s->column++;
    }
}

/* ---- A whole text ---- */

struct whole {
    const struct json_stream *stream;
    json_object *value;
    GError *error;
    unsigned n_values;
};

/* Only the first error counts, and only if it comes before a second value. */
static void whole_value(void *opaque, json_object *value, GError *error)
{
    struct whole *whole = opaque;

    if (whole->error) {
        g_clear_error(&error);
        json_object_put(value);
        return;
    }
    if (!error && whole->n_values++) {
        json_object_put(value);
        error = g_error_new(QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "JSON parse error, text after the end of the value");
    }
    if (error) {
        g_prefix_error(&error, "line %lu, column %lu: ", whole->stream->line,
                       whole->stream->column);
        whole->error = error;
    } else {
        whole->value = value;
    }
}

json_object *json_parse(const char *text, GError **error)
{
    struct whole whole = {0};
    auto_ptr(json_stream) stream = json_stream_new(G_MAXINT, whole_value, &whole);

    whole.stream = stream;
    json_stream_feed(stream, text, strlen(text));
    if (stream->lexer == NUMBER || stream->lexer == KEYWORD) {
        take(stream, ' ');
    }
    if (!whole.error && (stream->depth || stream->lexer == STRING || stream->lexer == ESCAPE ||
                         stream->lexer == UNICODE)) {
        fail(stream, "JSON parse error, premature EOI");
    } else if (!whole.error && !whole.n_values) {
        fail(stream, "JSON parse error, expecting value");
    }
    if (whole.error) {
        json_object_put(whole.value);
        g_propagate_error(error, whole.error);
        return NULL;
    }
    return whole.value;
}

void json_put_path(json_object *object, const char *path, json_object *value)
{
    const char *dot;

    while ((dot = strchr(path, '.'))) {
        g_autofree char *name = g_strndup(path, (gsize)(dot - path));
        json_object *next;

        if (!json_object_object_get_ex(object, name, &next) ||
            !json_object_is_type(next, json_type_object)) {
            next = json_object_new_object();
            json_object_object_add(object, name, next);
        }
        object = next;
        path = dot + 1;
    }
    json_object_object_add(object, path, value);
}
