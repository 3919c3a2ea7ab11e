/* Options of subcommands. */
#include "cli/img.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "qapi/keyval.h"

enum {
    LONG_ONLY = 256,
    MAX_ROWS = 48
}; /* getopt's values: letters, or LONG_ONLY + the row's number */

int img_fail(struct img *img, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fflush(stdout);
    log_error(img->log, "%s", text);
    return 1;
}

int img_fail_error(struct img *img, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (format) {
        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
    }
    img_fail(img, "%s%s%s", text ? text : "", text ? ": " : "",
             *error ? (*error)->message : "unknown error");
    g_clear_error(error);
    return 1;
}

int img_usage_error(struct img *img, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    img_fail(img, "%s\nTry '%s %s --help' for more info", text, img->program, img->command->name);
    return img->command->usage_status;
}

int64_t img_size(const char *text, int64_t max)
{
    uint64_t bytes;

    return keyval_parse_size(text, 'B', &bytes, NULL) && bytes <= (uint64_t)max ? (int64_t)bytes
                                                                                : -1;
}

int img_output(struct img *img, const struct img_args *args)
{
    if (!args->output || g_str_equal(args->output, "human")) {
        return 0;
    }
    if (g_str_equal(args->output, "json")) {
        return 1;
    }
    img_usage_error(img, "--output expects 'human' or 'json' not '%s'", args->output);
    return -1;
}

/* ---- Help ---- */

static void print_row(const struct img_option *row)
{
    g_autoptr(GString) names = g_string_new("  ");

    if (row->letter) {
        g_string_append_printf(names, "-%c%s", row->letter, row->name ? ", " : "");
    }
    if (row->name) {
        g_string_append_printf(names, "--%s", row->name);
    }
    if (row->argument) {
        g_string_append_printf(names, " %s", row->argument);
    }
    printf("%-34s%s%s\n", names->str, names->len > 33 ? "\n                                  " : "",
           row->description);
}

static void print_help(const struct img *img)
{
    const struct img_command *c = img->command;

    printf("%s: %s\nusage: %s %s [OPTION...] %s\n", c->name, c->summary, img->program, c->name,
           c->operands);
    puts("  -h, --help                      print this and exit");
    for (const struct img_option *row = c->options; row->name || row->letter; row++) {
        print_row(row);
    }
}

/* ---- Parsing ---- */

static void take(const struct img_option *row, struct img_args *args)
{
    void *field = (char *)args + row->offset;
    GPtrArray **list = field;

    switch (row->kind) {
    case IMG_FLAG: *(bool *)field = true; break;
    case IMG_STRING: *(const char **)field = optarg; break;
    case IMG_LIST:
    case IMG_ACTION:
        if (!*list) {
            *list = g_ptr_array_new();
        }
        if (row->kind == IMG_ACTION) {
            g_ptr_array_add(*list, (void *)row->name);
        }
        g_ptr_array_add(*list, row->argument ? optarg : (void *)"");
        break;
    }
}

static unsigned make_tables(const struct img_option *rows, struct option *longs, GString *shorts)
{
    unsigned n = 0, n_longs = 0;

    g_string_append_c(shorts, 'h');
    longs[n_longs++] = (struct option){"help", no_argument, NULL, 'h'};
    for (; (rows[n].name || rows[n].letter) && n + 2 < MAX_ROWS; n++) {
        if (rows[n].letter) {
            g_string_append_c(shorts, rows[n].letter);
            g_string_append(shorts, rows[n].argument ? ":" : "");
        }
        if (rows[n].name) {
            longs[n_longs++] =
                (struct option){rows[n].name, rows[n].argument ? required_argument : no_argument,
                                NULL, LONG_ONLY + (int)n};
        }
    }
    longs[n_longs] = (struct option){0};
    return n;
}

static bool take_objects(struct img *img, const struct img_args *args)
{
    for (guint i = 0; args->objects && i < args->objects->len; i++) {
        if (!img_add_object(img, args->objects->pdata[i])) {
            return false;
        }
    }
    return true;
}

bool img_parse(struct img *img, int argc, char **argv, struct img_args *args, int *status)
{
    const struct img_option *rows = img->command->options;
    g_autoptr(GString) shorts = g_string_new(NULL);
    g_autofree char *name = g_strdup_printf("%s %s", img->program, img->command->name);
    char *own_name = argv[0];
    struct option longs[MAX_ROWS];
    unsigned n_rows = make_tables(rows, longs, shorts);
    int last = img->command->last_is_operand && argc >= 3, c;

    *args = (struct img_args){0};
    *status = img->command->usage_status;
    argv[0] = name;
    optind = 0;
    while ((c = getopt_long(argc - last, argv, shorts->str, longs, NULL)) != -1) {
        unsigned row = c >= LONG_ONLY ? (unsigned)c - LONG_ONLY : 0;

        if (c == 'h' || c == '?') {
            if (c == 'h') {
                print_help(img);
                *status = 0;
            } else {
                fprintf(stderr, "Try '%s --help' for more info\n", name);
            }
            argv[0] = own_name;
            return false;
        }
        while (c < LONG_ONLY && row < n_rows && rows[row].letter != c) {
            row++;
        }
        take(&rows[row], args);
    }
    argv[0] = own_name;
    args->operands = argv + optind;
    args->n_operands = argc - optind;
    if (args->image_opts && (args->format || args->target_format) && img->command != &img_convert &&
        img->command != &img_dd && img->command != &img_measure) {
        img_fail(img, "--image-opts and --format are mutually exclusive");
        return false;
    }
    return take_objects(img, args);
}

static void drop(GPtrArray **list)
{
    g_clear_pointer(list, g_ptr_array_unref);
}

void img_args_clear(struct img_args *args)
{
    drop(&args->options);
    drop(&args->objects);
    drop(&args->actions);
}
