/* Numbers, reports and dumps of nandu-io. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/io.h"

char *io_size(double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned i = 0;
    char *text, *zeroes;

    while (bytes >= 1024 && i + 1 < G_N_ELEMENTS(units)) {
        bytes /= 1024;
        i++;
    }
    text = g_strdup_printf(i ? "%.3f" : "%f", bytes);
    zeroes = strstr(text, i ? ".000" : ".000000");
    if (zeroes) {
        *zeroes = '\0';
    }
    zeroes = g_strdup_printf("%s %s", text, units[i]);
    g_free(text);
    return zeroes;
}

static char *duration(int64_t ns, bool machine)
{
    int64_t seconds = ns / G_GINT64_CONSTANT(1000000000);
    int hours = (int)(seconds / 3600), minutes = (int)(seconds / 60 % 60);
    double rest = (double)(seconds % 60) + (double)(ns % G_GINT64_CONSTANT(1000000000)) / 1e9;

    if (machine || hours) {
        return g_strdup_printf("%d:%02d:%05.2f", hours, minutes, rest);
    }
    return minutes ? g_strdup_printf("%02d:%05.2f", minutes, rest)
                   : g_strdup_printf("%05.2f sec", rest);
}

void io_report(const char *what, int64_t ns, uint64_t offset, uint64_t asked, uint64_t done,
               bool machine)
{
    double seconds = (double)MAX(ns, 1) / 1e9;
    g_autofree char *time = duration(ns, machine);
    g_autofree char *size = io_size((double)done), *rate = io_size((double)done / seconds);

    if (machine) {
        printf("%" G_GUINT64_FORMAT ",1,%s,%.3f,%.3f\n", done, time, (double)done / seconds,
               1 / seconds);
        return;
    }
    printf("%s %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT "\n",
           what, done, asked, offset);
    printf("%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", size, time, rate, 1 / seconds);
}

void io_dump(const uint8_t *data, uint64_t offset, size_t size)
{
    enum { LINE = 16 };

    for (size_t i = 0; i < size; i += LINE) {
        size_t n = MIN(LINE, size - i);

        printf("%08" G_GINT64_MODIFIER "x:  ", offset + i);
        for (size_t k = 0; k < n; k++) {
            printf("%02x ", data[i + k]);
        }
        putchar(' ');
        for (size_t k = 0; k < n; k++) {
            putchar(isalnum(data[i + k]) ? data[i + k] : '.');
        }
        putchar('\n');
    }
}
