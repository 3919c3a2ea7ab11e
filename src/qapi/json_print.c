/* Writes JSON: ASCII only, with the spaces that QMP's clients are used to. */
#include <math.h>
#include <string.h>

#include "qapi/json.h"

static void print_string(GString *out, const char *text, size_t length)
{
    const char *end = text + length;

    g_string_append_c(out, '"');
    while (text < end) {
        unsigned char c = (unsigned char)*text;
        gunichar code;

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            g_string_append_c(out, (char)c);
            text++;
            continue;
        }
        if (c < 0x80) {
            static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
            const char *found = c ? strchr(from, c) : NULL;

            if (found) {
                g_string_append_printf(out, "\\%c", to[found - from]);
            } else {
                g_string_append_printf(out, "\\u%04X", c);
            }
            text++;
            continue;
        }
        /* Text from the host (names of files and the like) need not be UTF-8. */
        code = g_utf8_get_char_validated(text, end - text);
        if (code >= (gunichar)-2) {
            g_string_append(out, "\\uFFFD");
            text++;
            continue;
        }
        if (code >= 0x10000) {
            g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
                                   0xdc00 + ((code - 0x10000) & 0x3ff));
        } else {
            g_string_append_printf(out, "\\u%04X", code);
        }
        text = g_utf8_next_char(text);
    }
    g_string_append_c(out, '"');
}

/* With as few digits as bring the same number back. JSON has no infinity: null stands for it. */
static void print_double(GString *out, double number)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    if (!isfinite(number)) {
        g_string_append(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        char format[] = {'%', '.', '1', (char)('0' + digits - 10), 'g', '\0'};

        g_ascii_formatd(text, sizeof(text), format, number);
        if (g_ascii_strtod(text, NULL) == number) {
            break;
        }
    }
    g_string_append(out, text);
}

static void print_break(GString *out, bool pretty, unsigned indent)
{
    if (pretty) {
        g_string_append_c(out, '\n');
        for (unsigned i = 0; i < indent; i++) {
            g_string_append(out, "    ");
        }
    }
}

/* Recurses as deep as the value is: 1024 at most for what json.c has read. */
static void print(GString *out, json_object *value, bool pretty, unsigned indent)
{
    const char *separator = "";

    switch (json_object_get_type(value)) {
    case json_type_null: g_string_append(out, "null"); break;
    case json_type_boolean:
        g_string_append(out, json_object_get_boolean(value) ? "true" : "false");
        break;
    case json_type_int: {
        int64_t i = json_object_get_int64(value);

        /* json-c gives the nearest value for what doesn't fit. */
        if (i == INT64_MAX) {
            g_string_append_printf(out, "%" PRIu64, json_object_get_uint64(value));
        } else {
            g_string_append_printf(out, "%" PRId64, i);
        }
        break;
    }
    case json_type_double: print_double(out, json_object_get_double(value)); break;
    case json_type_string:
        print_string(out, json_object_get_string(value), (size_t)json_object_get_string_len(value));
        break;
    case json_type_array:
        g_string_append_c(out, '[');
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            g_string_append(out, separator);
            print_break(out, pretty, indent + 1);
            print(out, json_object_array_get_idx(value, i), pretty, indent + 1);
            separator = pretty ? "," : ", ";
        }
        if (*separator) {
            print_break(out, pretty, indent);
        }
        g_string_append_c(out, ']');
        break;
    case json_type_object:
        g_string_append_c(out, '{');
        json_object_object_foreach(value, key, member)
        {
            g_string_append(out, separator);
            print_break(out, pretty, indent + 1);
            print_string(out, key, strlen(key));
            g_string_append(out, ": ");
            print(out, member, pretty, indent + 1);
            separator = pretty ? "," : ", ";
        }
        if (*separator) {
            print_break(out, pretty, indent);
        }
        g_string_append_c(out, '}');
        break;
    }
}

char *json_print(struct json_object *value, bool pretty)
{
    GString *out = g_string_new(NULL);

    print(out, value, pretty, 0);
    return g_string_free(out, FALSE);
}
