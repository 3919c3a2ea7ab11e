/* nandu-io: options, and the loop over commands. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/io.h"

/* ---- Opening ---- */

static void put(json_object *options, const char *key, const char *value)
{
    if (value && !json_object_object_get_ex(options, key, NULL)) {
        json_object_object_add(options, key, json_object_new_string(value));
    }
}

/* The user gets top, a reference that it takes over; NULL: *error says why there is none. */
static bool co_use(struct io *io, struct block_node *top, bool writable, GError **error)
{
    unsigned perm =
        BLOCK_PERM_CONSISTENT_READ | (writable ? BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE : 0);

    if (top && block_user_attach(io->user, top, perm, BLOCK_PERM_ALL, error)) {
        return true;
    }
    co_block_node_unref(top);
    img_fail_error(&io->img, error, NULL);
    block_user_free(io->user);
    io->user = NULL;
    return false;
}

static bool co_add_snapshot(struct io *io, bool writable)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct block_node *base = block_user_node(io->user);
    g_autoptr(GError) error = NULL;

    put(options, "read-only", writable ? "off" : "on");
    block_user_detach(io->user);
    return co_use(io, co_block_open_temporary(base, options, &error), writable, &error);
}

static bool co_add_copy_on_read(struct io *io)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct block_node *base = block_user_node(io->user), *top;
    g_autoptr(GError) error = NULL;

    put(options, "driver", "copy-on-read");
    put(options, "file", base->name);
    put(options, "read-only", "off");
    block_user_detach(io->user);
    top = co_block_open_loose(io->img.graph, NULL, options, 0, &error);
    co_block_node_unref(base);
    return co_use(io, top, true, &error);
}

static json_object *node_options(const struct io_open *open)
{
    const struct block_driver *driver = open->format ? block_driver_find(open->format) : NULL;
    json_object *options = json_object_new_object();

    if (open->options) {
        json_object_object_foreach(open->options, key, value)
        {
            json_object_object_add(options, key, json_object_get(value));
        }
    }
    if (open->aio) {
        put(options, driver && driver->protocols ? "aio" : "file.aio", open->aio);
    }
    put(options, "discard",
        !open->discard || g_str_equal(open->discard, "on") ? "unmap"
        : g_str_equal(open->discard, "off")                ? "ignore"
                                                           : open->discard);
    return options;
}

static bool check(struct io *io, bool ok, const char *what, const char *value)
{
    if (!ok) {
        img_fail(&io->img, "Invalid %s option: %s", what, value);
    }
    return ok;
}

bool io_check_open(struct io *io, const struct io_open *open)
{
    static const char *const modes[] = {"on", "unmap", "off", "ignore", NULL};
    bool direct, no_flush, writethrough;

    return check(io, img_cache_mode(open->cache, &direct, &no_flush, &writethrough), "cache",
                 open->cache) &&
           check(io,
                 !open->aio ||
                     qapi_enum_parse(&qapi_type_blockdev_aio_options, open->aio, NULL) >= 0,
                 "aio", open->aio) &&
           check(io, !open->discard || g_strv_contains(modes, open->discard), "discard",
                 open->discard);
}

static bool co_open_image(struct io *io, const struct img_image *image)
{
    io->user = co_img_open(&io->img, image);
    return io->user != NULL;
}

bool co_io_open(struct io *io, const char *filename, const struct io_open *open)
{
    g_autoptr(json_object) options = node_options(open);
    struct img_image image = {
        .filename = filename ? filename : "",
        .format = open->format,
        .cache = open->cache,
        .image_opts = open->image_opts,
        .force_share = open->force_share,
        .writable = !open->read_only && !open->snapshot,
        .options = options,
    };
    json_object *read_only;

    if (!filename) { /* all is in the options */
        image.filename = "driver=raw";
        image.image_opts = true;
        if (json_object_object_get_ex(options, "driver", NULL)) {
            image.filename = "read-only=off";
        }
    }
    if (json_object_object_get_ex(options, "read-only", &read_only) ||
        json_object_object_get_ex(options, "force-share", NULL)) {
        image.writable &= !read_only || !g_str_equal(json_object_get_string(read_only), "on");
    }
    if (open->copy_on_read && open->read_only) {
        img_fail(&io->img, "can't open device %s: Can't use copy-on-read on read-only device",
                 filename ? filename : "");
        return false;
    }
    return co_open_image(io, &image) &&
           (!open->snapshot || co_add_snapshot(io, !open->read_only)) &&
           (!open->copy_on_read || co_add_copy_on_read(io));
}

void co_io_close(struct io *io)
{
    co_img_close(g_steal_pointer(&io->user));
}

/* ---- Commands ---- */

static void co_interact(struct io *io)
{
    struct io_lines *lines = io_lines_new(io->img.program);
    char *line;

    while (!io->quit && (line = co_io_read_line(lines))) {
        co_io_run(io, line);
        free(line);
    }
    io_lines_free(lines);
}

static void co_main(void *opaque)
{
    struct io *io = opaque;

    if (io->filename && !co_io_open(io, io->filename, &io->open)) {
        io->failed = true;
        return;
    }
    for (guint i = 0; i < io->commands->len && !io->quit; i++) {
        co_io_run(io, io->commands->pdata[i]);
    }
    if (!io->commands->len) {
        co_interact(io);
    }
    while (io->n_aio) {
        co_queue_wait(&io->aio_done, NULL);
    }
    co_io_close(io);
}

/* ---- Options ---- */

struct io_option {
    const char *name;
    int letter;
    const char *argument, *description;
};

enum { OBJECT = 256, IMAGE_OPTS, N_OPTIONS = 18 };

static const struct io_option options[N_OPTIONS] = {
    {"cmd", 'c', "COMMAND", "run a command (again: another one); default: from standard input"},
    {"format", 'f', "FMT", "format of FILENAME (default: found by looking at it)"},
    {"image-opts", IMAGE_OPTS, NULL,
     "FILENAME is a list of options (driver=...,file.filename=...)"},
    {"read-only", 'r', NULL, "open it read-only"},
    {"snapshot", 's', NULL, "writes go to a temporary image"},
    {"nocache", 'n', NULL, "without the host's cache; the same as -t none"},
    {"copy-on-read", 'C', NULL, "copy on read"},
    {"misalign", 'm', NULL, "buffers that are not aligned"},
    {"native-aio", 'k', NULL, "the same as -i native"},
    {"aio", 'i', "AIO", "how requests are made: threads, native, io_uring"},
    {"cache", 't', "CACHE", "cache mode (default: writeback)"},
    {"discard", 'd', "MODE", "discards: unmap (the default) or ignore"},
    {"trace", 'T', "TRACE", "trace: [[enable=]PATTERN][,events=FILE][,file=FILE]"},
    {"force-share", 'U', NULL, "open although others may write to it"},
    {"object", OBJECT, "OBJECT", "make an object, for example secret,id=ID,file=PATH"},
    {"help", 'h', NULL, "print this and exit"},
    {"version", 'V', NULL, "print the version and exit"},
    {0},
};

static void print_help(const struct img *img)
{
    printf(
        "usage: %s [OPTION...] [FILENAME]\n"
        "Reads and writes an image by commands; \"-c help\" lists them.\n\n",
        img->program);
    for (const struct io_option *o = options; o->name; o++) {
        g_autofree char *letter =
            o->letter < OBJECT ? g_strdup_printf("-%c, ", o->letter) : g_strdup("    ");
        g_autofree char *names =
            g_strdup_printf("  %s--%s%s%s", letter, o->name, o->argument ? " " : "",
                            o->argument ? o->argument : "");

        printf("%-26s  %s\n", names, o->description);
    }
}

/* -1: go on. */
static int take_option(struct io *io, int c)
{
    struct io_open *open = &io->open;

    switch (c) {
    case 'c': g_ptr_array_add(io->commands, optarg); break;
    case 'f': open->format = optarg; break;
    case IMAGE_OPTS: open->image_opts = true; break;
    case 'r': open->read_only = true; break;
    case 's': open->snapshot = true; break;
    case 'n': open->cache = "none"; break;
    case 'C': open->copy_on_read = true; break;
    case 'm': io->misalign = true; break;
    case 'k': open->aio = "native"; break;
    case 'i': open->aio = optarg; break;
    case 't': open->cache = optarg; break;
    case 'd': open->discard = optarg; break;
    case 'T': return img_trace(&io->img, optarg) ? -1 : EXIT_FAILURE;
    case 'U': open->force_share = true; break;
    case OBJECT: return img_add_object(&io->img, optarg) ? -1 : EXIT_FAILURE;
    case 'h': print_help(&io->img); return EXIT_SUCCESS;
    case 'V': img_version(&io->img); return EXIT_SUCCESS;
    default: print_help(&io->img); return EXIT_FAILURE;
    }
    return -1;
}

static int check_options(struct io *io, int argc)
{
    if (argc - optind > 1) {
        print_help(&io->img);
        return EXIT_FAILURE;
    }
    if (io->open.format && io->open.image_opts) {
        img_fail(&io->img, "--image-opts and -f are mutually exclusive");
        return EXIT_FAILURE;
    }
    return io_check_open(io, &io->open) ? -1 : EXIT_FAILURE;
}

static int parse(struct io *io, int argc, char **argv)
{
    g_autoptr(GString) letters = g_string_new(NULL);
    struct option longs[N_OPTIONS + 1] = {0};
    int c, status = -1;

    for (size_t i = 0; options[i].name; i++) {
        longs[i] =
            (struct option){options[i].name, options[i].argument ? required_argument : no_argument,
                            NULL, options[i].letter};
        if (options[i].letter < OBJECT) {
            g_string_append_printf(letters, "%c%s", options[i].letter,
                                   options[i].argument ? ":" : "");
        }
    }
    argv[0] = io->img.program;
    optind = 0;
    while (status < 0 && (c = getopt_long(argc, argv, letters->str, longs, NULL)) != -1) {
        status = take_option(io, c);
    }
    if (status < 0) {
        status = check_options(io, argc);
        io->filename = optind < argc ? argv[optind] : NULL;
    }
    return status;
}

int io_main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    struct io io = {0};
    int status;

    if (!img_init(&io.img, slash ? slash + 1 : argv[0])) {
        return EXIT_FAILURE;
    }
    io.img.is_io = true;
    io.commands = g_ptr_array_new();
    co_queue_init(&io.aio_done);
    status = parse(&io, argc, argv);
    if (status < 0) {
        block_run(io.img.loop, co_main, &io);
        status = io.failed ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    co_queue_clear(&io.aio_done);
    g_ptr_array_unref(io.commands);
    img_clear(&io.img);
    return status;
}
