/*
 * Memory written out for people: lines of items, as the monitor's "x" and "xp" print them.
 */
#include "memory/memory.h"

#include <string.h>

static unsigned items_per_line(const struct memory_dump *dump)
{
    return dump->format == 'c' || dump->size > 1 ? 16 / dump->size : 8;
}

/* The width of the largest number of this size. */
static int width_of(const struct memory_dump *dump)
{
    static const int decimal[] = {[1] = 3, [2] = 5, [4] = 10, [8] = 20};
    static const int octal[] = {[1] = 3, [2] = 6, [4] = 11, [8] = 22};

    switch (dump->format) {
    case 'o': return octal[dump->size];
    case 'x': return 2 * (int)dump->size;
    default: return decimal[dump->size];
    }
}

static void append_char(GString *out, uint8_t c)
{
    if (g_ascii_isprint(c) && c != '\'' && c != '\\') {
        g_string_append_printf(out, "'%c'", c);
        return;
    }
    switch (c) {
    case '\'': g_string_append(out, "'\\''"); break;
    case '\\': g_string_append(out, "'\\\\'"); break;
    case '\n': g_string_append(out, "'\\n'"); break;
    case '\r': g_string_append(out, "'\\r'"); break;
    default: g_string_append_printf(out, "'\\x%02x'", c);
    }
}

static void append_item(GString *out, const struct memory_dump *dump, uint64_t value)
{
    int width = width_of(dump);
    unsigned unused = 64 - 8 * dump->size;

    switch (dump->format) {
    case 'o': g_string_append_printf(out, "%#*" G_GINT64_MODIFIER "o", width, value); break;
    case 'u': g_string_append_printf(out, "%*" G_GUINT64_FORMAT, width, value); break;
    case 'd':
        g_string_append_printf(out, "%*" G_GINT64_FORMAT, width,
                               (int64_t)(value << unused) >> unused);
        break;
    case 'c': append_char(out, (uint8_t)value); break;
    default: g_string_append_printf(out, "0x%0*" G_GINT64_MODIFIER "x", width, value); break;
    }
}

void memory_dump_text(GString *out, const struct memory_dump *dump, uint64_t address,
                      const uint8_t *data, size_t n_items)
{
    unsigned per_line = items_per_line(dump);

    g_assert(dump->size == 1 || dump->size == 2 || dump->size == 4 || dump->size == 8);
    for (size_t i = 0; i < n_items; i++) {
        uint64_t value = 0;

        if (i % per_line == 0) {
            g_string_append_printf(out, "%s%016" G_GINT64_MODIFIER "x:", i ? "\n" : "",
                                   address + i * dump->size);
        }
        memcpy(&value, data + i * dump->size, dump->size);
        g_string_append_c(out, ' ');
        append_item(out, dump, value);
    }
    if (n_items) {
        g_string_append_c(out, '\n');
    }
}
