/* nandu-img: images, by subcommands. */
#include "cli/img.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "qapi/keyval.h"
#include "qapi/qapi_types.h"
#include "util/nearest.h"
#include "util/trace_control.h"

/* The version of QEMU whose interface this is. */
#define QEMU_VERSION "10.0.2"

static const struct img_command *const commands[] = {
    &img_amend,   &img_bench,   &img_bitmap, &img_check,  &img_commit,
    &img_compare, &img_convert, &img_create, &img_dd,     &img_info,
    &img_map,     &img_measure, &img_rebase, &img_resize, &img_snapshot,
};

/* ---- Surroundings ---- */

bool img_init(struct img *img, const char *program)
{
    g_autoptr(GError) error = NULL;

    *img = (struct img){.program = g_strdup(program), .log = log_new(program)};
    signal(SIGPIPE, SIG_IGN);
    img->loop = event_loop_new("main", &error);
    if (!img->loop) {
        log_error(img->log, "%s", error->message);
        g_free(img->program);
        log_free(img->log);
        return false;
    }
    img->fdsets = fdsets_new();
    img->context =
        (struct object_context){.loop = img->loop, .log = img->log, .fdsets = img->fdsets};
    img->root = object_root_new(&img->context);
    img->graph = block_graph_new(img->root);
    event_loop_set_log(img->loop, img->log);
    return true;
}

static void co_free_graph(void *opaque)
{
    co_block_graph_free(opaque);
}

void img_clear(struct img *img)
{
    block_run(img->loop, co_free_graph, img->graph);
    object_unref(img->root);
    event_loop_unref(img->loop);
    fdsets_free(img->fdsets);
    log_free(img->log);
    g_free(img->program);
}

bool img_add_object(struct img *img, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) options = NULL;
    bool is_json, help = false;

    options = keyval_parse_option(text, "qom-type", &help, &is_json, &error);
    if (help) {
        g_autofree char *list =
            object_types_help("user-creatable", "List of user creatable objects:");

        fputs(list, stdout);
        return false;
    }
    if (options && object_create_user(img->root, options, !is_json, &error)) {
        return true;
    }
    log_error(img->log, "%s", error->message);
    return false;
}

bool img_trace(struct img *img, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) options = NULL;
    struct qapi_trace_options trace;
    bool ok, help = false;

    options = keyval_parse_flat(text, "enable", &help, &error);
    if (help) {
        g_autofree char *list = trace_help();

        fputs(list, stdout);
        return false;
    }
    if (!options || !qapi_from_keyval(&qapi_type_trace_options, options, &trace, &error)) {
        log_error(img->log, "%s", error->message);
        return false;
    }
    ok = (!trace.file || trace_set_file(img->log, trace.file, &error)) &&
         (!trace.events || trace_enable_file(img->log, trace.events, &error));
    /* An event that isn't there is no reason to leave an image as it is. */
    if (ok && trace.enable && !trace_enable(img->log, trace.enable, &error)) {
        log_warn(img->log, "%s", error->message);
        g_clear_error(&error);
    }
    if (!ok) {
        log_error(img->log, "%s", error->message);
    }
    qapi_clear(&qapi_type_trace_options, &trace);
    return ok;
}

void img_print_formats(FILE *out)
{
    size_t column = 0;

    fputs("Supported image formats:\n", out);
    for (size_t i = 0; i < qapi_type_blockdev_driver.n_values; i++) {
        const char *name = qapi_type_blockdev_driver.values[i].name;

        if (!block_driver_find(name)) {
            continue;
        }
        if (!column || column + 1 + strlen(name) > 78) {
            fputs(column ? "\n " : " ", out);
            column = 1;
        }
        column += (size_t)fprintf(out, " %s", name);
    }
    fputc('\n', out);
}

/* ---- Help ---- */

void img_version(const struct img *img)
{
    /* Under QEMU's name the line is the one that tools parse. */
    if (g_str_has_prefix(img->program, "qemu-")) {
        printf("%s version " QEMU_VERSION " (Nandu " NANDU_VERSION ")\n"
               "Nandu with the interface of QEMU " QEMU_VERSION "; no code is QEMU's.\n",
               img->program);
    } else {
        printf("%s version " NANDU_VERSION "\n", img->program);
    }
}

static void help(const struct img *img)
{
    img_version(img);
    printf("usage: %s [OPTION...] COMMAND [OPTION...] ...\n\n"
           "  -h, --help          print this and exit\n"
           "  -V, --version       print the version and exit\n"
           "  -T, --trace TRACE   trace: [[enable=]PATTERN][,events=FILE][,file=FILE]\n\n"
           "Commands (%s COMMAND --help has their options):\n\n",
           img->program, img->program);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        printf("  %s - %s\n", commands[i]->name, commands[i]->summary);
    }
    putchar('\n');
    img_print_formats(stdout);
}

/* ---- Running ---- */

struct run {
    struct img *img;
    const struct img_args *args;
    int status;
};

static void co_run(void *opaque)
{
    struct run *run = opaque;

    run->status = run->img->command->co_run(run->img, run->args);
}

static const struct img_command *find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (g_str_equal(commands[i]->name, name)) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown(const struct img *img, const char *name)
{
    const char *names[G_N_ELEMENTS(commands)], *nearest;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        names[i] = commands[i]->name;
    }
    nearest = util_nearest(name, names, G_N_ELEMENTS(names));
    log_error(img->log, "Command not found: %s%s%s%s\nTry '%s --help' for more info", name,
              nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "",
              img->program);
    return EXIT_FAILURE;
}

static int run_command(struct img *img, int argc, char **argv)
{
    struct img_args args;
    struct run run = {img, &args, EXIT_FAILURE};

    img->command = find(argv[0]);
    if (!img->command) {
        return unknown(img, argv[0]);
    }
    if (img_parse(img, argc, argv, &args, &run.status)) {
        block_run(img->loop, co_run, &run);
    }
    img_args_clear(&args);
    return run.status;
}

/* What stands before the subcommand. -1: go on at argv[optind]. */
static int standard_options(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {"trace", required_argument, NULL, 'T'},
        {0},
    };
    int c;

    argv[0] = img->program;
    optind = 0;
    while ((c = getopt_long(argc, argv, "+hVT:", longs, NULL)) != -1) {
        switch (c) {
        case 'h': help(img); return EXIT_SUCCESS;
        case 'V': img_version(img); return EXIT_SUCCESS;
        case 'T':
            if (!img_trace(img, optarg)) {
                return EXIT_FAILURE;
            }
            break;
        default:
            fprintf(stderr, "Try '%s --help' for more info\n", img->program);
            return EXIT_FAILURE;
        }
    }
    if (optind == argc) {
        log_error(img->log, "Not enough arguments\nTry '%s --help' for more info", img->program);
        return EXIT_FAILURE;
    }
    return -1;
}

int img_main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    struct img img;
    int status;

    if (!img_init(&img, slash ? slash + 1 : argv[0])) {
        return EXIT_FAILURE;
    }
    status = standard_options(&img, argc, argv);
    if (status < 0) {
        status = run_command(&img, argc - optind, argv + optind);
    }
    img_clear(&img);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "%s: cannot write to standard output: %s\n", slash ? slash + 1 : argv[0],
                g_strerror(errno));
        status = status ? status : EXIT_FAILURE;
    }
    return status;
}
