/* The language of nandu-io, and its commands that aren't requests. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/io.h"
#include "qapi/json.h"
#include "qapi/keyval.h"
#include "qapi/qapi_types.h"

/* A number, but not one from 0 to INT64_MAX. */
static bool is_out_of_range(const char *text)
{
    size_t sign = *text == '-', digits = strspn(text + sign, "0123456789.");
    const char *end = text + sign + digits;

    return g_ascii_isdigit(text[sign]) && (!*end || (strchr("bkKmMgGtTpPeE", *end) && !end[1]));
}

int64_t io_number(const char *text)
{
    int64_t number = img_size(text, INT64_MAX);

    if (number < 0) {
        printf("Parsing error: %s -- %s\n",
               is_out_of_range(text) ? "argument too large"
                                     : "non-numeric argument, or extraneous/unrecognized suffix",
               text);
    }
    return number;
}

/* ---- The image as a whole ---- */

static bool co_length(struct io *io, const struct io_command *command, int argc, char **argv)
{
    g_autofree char *text = io_size((double)block_user_length(io->user));

    puts(text);
    return true;
}

static bool co_truncate(struct io *io, const struct io_command *command, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int mode = QAPI_PREALLOC_MODE_OFF, c;
    int64_t size;

    optind = 0;
    while ((c = getopt(argc, argv, "m:")) != -1) {
        if (c != 'm') {
            return io_usage(command);
        }
        mode = qapi_enum_parse(&qapi_type_prealloc_mode, optarg, NULL);
        if (mode < 0) {
            img_fail(&io->img, "Invalid preallocation mode '%s'", optarg);
            return false;
        }
    }
    size = optind < argc ? io_number(argv[optind]) : -1;
    if (size < 0) {
        return false;
    }
    if (!block_user_set_perm(io->user, BLOCK_PERM_ALL, BLOCK_PERM_ALL, &error) ||
        co_block_truncate(io->user, (uint64_t)size, false, (enum qapi_prealloc_mode)mode, 0,
                          &error) < 0) {
        img_fail_error(&io->img, &error, NULL);
        return false;
    }
    return true;
}

/* How many bytes from offset on are allocated in the image itself, or aren't. -errno: it can't be
 * found out. */
static int co_run_at(struct io *io, uint64_t offset, uint64_t end, uint64_t *bytes,
                      bool *allocated)
{
    *bytes = 0;
    while (offset + *bytes < end) {
        struct block_status status;
        int ret = co_node_status(block_user_node(io->user), offset + *bytes, end - offset - *bytes,
                                 &status);
        bool here = status.flags & BLOCK_STATUS_ALLOCATED;

        if (ret < 0) {
            return ret;
        }
        if (!status.bytes || (*bytes && here != *allocated)) {
            break;
        }
        *allocated = here;
        *bytes += status.bytes;
    }
    return 0;
}

static bool co_map(struct io *io, const struct io_command *command, int argc, char **argv)
{
    uint64_t length = block_user_length(io->user), bytes;
    bool allocated;

    for (uint64_t offset = 0; offset < length; offset += bytes) {
        g_autofree char *size = NULL, *place = io_size((double)offset);
        int ret = co_run_at(io, offset, length, &bytes, &allocated);

        if (ret < 0 || !bytes) {
            img_fail(&io->img, "Failed to get allocation status: %s", g_strerror(-ret));
            return false;
        }
        size = io_size((double)bytes);
        printf("%s (0x%" G_GINT64_MODIFIER
               "x) bytes %s allocated at offset %s (0x%" G_GINT64_MODIFIER "x)\n",
               size, bytes, allocated ? "   " : "not", place, offset);
    }
    return true;
}

static bool co_alloc(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t offset = io_number(argv[1]), count = argc > 2 ? io_number(argv[2]) : 512;
    uint64_t length = block_user_length(io->user), done = 0, sum = 0, bytes;
    g_autofree char *place = NULL;
    bool allocated;

    if (offset < 0 || count < 0) {
        return false;
    }
    count = MIN(count, (int64_t)length - MIN(offset, (int64_t)length));
    while (done < (uint64_t)count && (uint64_t)offset + done < length) {
        uint64_t end = MIN(length, (uint64_t)offset + (uint64_t)count);
        int ret = co_run_at(io, (uint64_t)offset + done, end, &bytes, &allocated);

        if (ret < 0 || !bytes) {
            printf("is_allocated failed: %s\n", g_strerror(-ret));
            return false;
        }
        sum += allocated ? bytes : 0;
        done += bytes;
    }
    place = io_size((double)offset);
    printf("%" G_GUINT64_FORMAT "/%" G_GINT64_FORMAT " bytes allocated at offset %s\n", sum, count,
           place);
    return true;
}

static bool co_info(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct block_node *node = block_user_node(io->user);
    g_autoptr(GError) error = NULL;
    struct qapi_image_info info;

    if (!co_block_image_info(node, false, &info, &error)) {
        qapi_clear(&qapi_type_image_info, &info);
        img_fail_error(&io->img, &error, NULL);
        return false;
    }
    printf("format name: %s\n", node->driver->name);
    if (info.has_cluster_size) {
        /* Behind what the last L2 table can hold, in qcow2. */
        uint64_t cluster = (uint64_t)info.cluster_size, table = cluster * cluster / 8;
        g_autofree char *size = io_size((double)cluster);
        g_autofree char *state = io_size((double)((node->length + table - 1) / table * table));

        printf("cluster size: %s\nvm state offset: %s\n", size, state);
    }
    img_print_specific(&info, "", 0);
    qapi_clear(&qapi_type_image_info, &info);
    return true;
}

/* ---- Opening and closing ---- */

static bool parse_open(struct io *io, const struct io_command *command, int argc, char **argv,
                       struct io_open *open)
{
    g_autoptr(GError) error = NULL;
    json_object *more;
    int c;

    optind = 0;
    while ((c = getopt(argc, argv, "snCro:ki:t:d:U")) != -1) {
        switch (c) {
        case 's': open->snapshot = true; break;
        case 'n': open->cache = "none"; break;
        case 'C': open->copy_on_read = true; break;
        case 'r': open->read_only = true; break;
        case 'k': open->aio = "native"; break;
        case 'i': open->aio = optarg; break;
        case 't': open->cache = optarg; break;
        case 'd': open->discard = optarg; break;
        case 'U': open->force_share = true; break;
        case 'o':
            more = io->img.graph ? keyval_parse_flat(optarg, NULL, NULL, &error) : NULL;
            if (!more) {
                img_fail_error(&io->img, &error, NULL);
                return false;
            }
            json_object_put(open->options);
            open->options = more;
            break;
        default: return io_usage(command);
        }
    }
    return io_check_open(io, open);
}

static bool co_open(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct io_open open = {.aio = io->open.aio};
    bool ok = parse_open(io, command, argc, argv, &open);

    if (ok && io->user) {
        img_fail(&io->img, "file open already, try 'help close'");
        ok = false;
    } else if (ok && optind < argc - 1) {
        ok = io_usage(command);
    } else if (ok) {
        ok = co_io_open(io, optind < argc ? argv[optind] : NULL, &open);
    }
    json_object_put(open.options);
    return ok;
}

static bool co_close(struct io *io, const struct io_command *command, int argc, char **argv)
{
    while (io->n_aio) {
        co_queue_wait(&io->aio_done, NULL);
    }
    co_io_close(io);
    return true;
}

/* A copy in which all scalars are strings; children that are there are named by their nodes. */
static json_object *as_strings(json_object *from)
{
    json_object *result = json_object_new_object();

    json_object_object_foreach(from, key, value)
    {
        json_object *copy =
            json_object_is_type(value, json_type_object) ? as_strings(value)
            : json_object_is_type(value, json_type_boolean)
                ? json_object_new_string(json_object_get_boolean(value) ? "on" : "off")
                : json_object_new_string(json_object_get_string(value));

        json_object_object_add(result, key, copy);
    }
    return result;
}

static json_object *reopen_options(const struct block_node *node, json_object *changes,
                                   const bool *read_only, const char *cache, bool direct,
                                   bool no_flush)
{
    json_object *options = as_strings(node->options);

    json_object_object_add(options, "node-name", json_object_new_string(node->name));
    if (node->driver->supports_backing) {
        json_object_object_add(options, "backing", json_object_new_string(""));
    }
    for (guint i = 0; i < node->children->len; i++) {
        const struct block_edge *edge = node->children->pdata[i];

        json_object_object_add(options, edge->name, json_object_new_string(edge->node->name));
    }
    json_object_object_foreach(changes, key, value)
    {
        json_put_path(options, key, json_object_get(value));
    }
    if (read_only) {
        json_put_path(options, "read-only", json_object_new_string(*read_only ? "on" : "off"));
    }
    if (cache) {
        json_put_path(options, "cache.direct", json_object_new_string(direct ? "on" : "off"));
        json_put_path(options, "cache.no-flush", json_object_new_string(no_flush ? "on" : "off"));
    }
    return options;
}

/* The image and, for how it is opened, the file that it is in. */
static bool co_do_reopen(struct io *io, json_object *changes, const bool *read_only,
                         const char *cache)
{
    struct block_node *nodes[2] = {block_user_node(io->user), NULL};
    struct qapi_blockdev_options options[2];
    g_autoptr(json_object) none = json_object_new_object();
    g_autoptr(GError) error = NULL;
    bool direct = false, no_flush = false, writethrough = false, ok = true;
    size_t n = 0;

    nodes[1] = nodes[0]->file && (read_only || cache) ? nodes[0]->file->node : NULL;
    if (cache && !img_cache_mode(cache, &direct, &no_flush, &writethrough)) {
        img_fail(&io->img, "Invalid cache option: %s", cache);
        return false;
    }
    for (size_t i = 0; ok && i < 2 && nodes[i]; i++) {
        g_autoptr(json_object) json =
            reopen_options(nodes[i], i ? none : changes, read_only, cache, direct, no_flush);

        ok = qapi_from_keyval(&qapi_type_blockdev_options, json, &options[i], &error);
        n += ok;
    }
    if (ok && read_only && *read_only) {
        ok = block_user_set_perm(io->user, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error);
    }
    ok = ok && co_block_reopen(io->img.graph, options, n, &error);
    for (size_t i = 0; i < n; i++) {
        qapi_clear(&qapi_type_blockdev_options, &options[i]);
    }
    if (!ok) {
        img_fail_error(&io->img, &error, NULL);
    } else if (cache) {
        block_user_set_write_cache(io->user, !writethrough);
    }
    return ok;
}

static bool co_reopen(struct io *io, const struct io_command *command, int argc, char **argv)
{
    g_autoptr(json_object) changes = json_object_new_object();
    g_autoptr(GError) error = NULL;
    const char *cache = NULL;
    bool read_only = false, has_mode = false;
    int c;

    optind = 0;
    while ((c = getopt(argc, argv, "c:o:rw")) != -1) {
        if (c == 'c') {
            cache = optarg;
        } else if (c == 'r' || c == 'w') {
            if (has_mode) {
                img_fail(&io->img, "Only one -r/-w option may be given");
                return false;
            }
            has_mode = true;
            read_only = c == 'r';
        } else if (c == 'o') {
            json_object *more = keyval_parse_flat(optarg, NULL, NULL, &error);

            if (!more) {
                img_fail_error(&io->img, &error, NULL);
                return false;
            }
            json_object_put(changes);
            changes = more;
        } else {
            return io_usage(command);
        }
    }
    return optind == argc ? co_do_reopen(io, changes, has_mode ? &read_only : NULL, cache)
                          : io_usage(command);
}

/* ---- Breakpoints, which blkdebug has ---- */

static struct block_node *debug_node(struct io *io)
{
    return block_debug_node(block_user_node(io->user));
}

static bool co_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct block_node *node = debug_node(io);
    g_autoptr(GError) error = NULL;

    if (node && node->driver->debug->set_break(node, argv[1], argv[2], &error)) {
        return true;
    }
    printf("Could not set breakpoint: %s\n", error ? error->message : g_strerror(ENOTSUP));
    return false;
}

static bool co_remove_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct block_node *node = debug_node(io);

    if (node && node->driver->debug->remove_break(node, argv[1])) {
        return true;
    }
    printf("Could not remove breakpoint %s: %s\n", argv[1], g_strerror(node ? ENOENT : ENOTSUP));
    return false;
}

static bool co_resume(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct block_node *node = debug_node(io);

    if (node && node->driver->debug->is_suspended(node, argv[1])) {
        printf("blkdebug: Resuming request '%s'\n", argv[1]);
        if (node->driver->debug->resume(node, argv[1])) {
            return true;
        }
    }
    printf("Could not resume request: %s\n", g_strerror(node ? ENOENT : ENOTSUP));
    return false;
}

/* Nobody tells when a request comes to be held: it is looked for between turns of the loop. */
static bool co_wait_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    enum { INTERVAL = 200000 }; /* ns */
    struct block_node *node = debug_node(io);

    if (!node) {
        printf("Could not wait for breakpoint %s: %s\n", argv[1], g_strerror(ENOTSUP));
        return false;
    }
    while (!node->driver->debug->is_suspended(node, argv[1])) {
        if (!io->n_aio) {
            printf("Could not wait for breakpoint %s: no request is under way\n", argv[1]);
            return false;
        }
        co_sleep(INTERVAL);
    }
    printf("blkdebug: Suspended request '%s'\n", argv[1]);
    return true;
}

/* ---- The process ---- */

static bool co_sigraise(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t number = io_number(argv[1]);

    if (number < 0) {
        return false;
    }
    if (number > NSIG) {
        printf("signal argument '%s' is too large to be a valid signal\n", argv[1]);
        return false;
    }
    /* What was printed is seen, whatever the signal does. */
    fflush(stdout);
    fflush(stderr);
    raise((int)number);
    return true;
}

static bool co_abort(struct io *io, const struct io_command *command, int argc, char **argv)
{
    fflush(stdout);
    abort();
}

static bool co_do_sleep(struct io *io, const struct io_command *command, int argc, char **argv)
{
    uint64_t ms;

    if (!g_ascii_string_to_unsigned(argv[1], 10, 0, INT64_MAX / 1000000, &ms, NULL)) {
        printf("%s is not a valid number\n", argv[1]);
        return false;
    }
    co_sleep((int64_t)ms * 1000000);
    return true;
}

static bool co_quit(struct io *io, const struct io_command *command, int argc, char **argv)
{
    io->quit = true;
    return true;
}

/* ---- Help ---- */

static const struct io_command commands[];

static const struct io_command *find_in(const struct io_command *table, const char *name)
{
    for (; table->name; table++) {
        if (g_str_equal(table->name, name) || (table->alias && g_str_equal(table->alias, name))) {
            return table;
        }
    }
    return NULL;
}

static const struct io_command *find(const char *name)
{
    const struct io_command *command = find_in(commands, name);

    command = command ? command : find_in(io_request_commands, name);
    return command ? command : find_in(io_zone_commands, name);
}

bool io_usage(const struct io_command *command)
{
    printf("%s%s%s -- %s\n", command->name, command->arguments ? " " : "",
           command->arguments ? command->arguments : "", command->summary);
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct io_command *const *)a)->name,
                  (*(const struct io_command *const *)b)->name);
}

static void add_all(GPtrArray *to, const struct io_command *table)
{
    for (; table->name; table++) {
        g_ptr_array_add(to, (void *)table);
    }
}

static bool co_help(struct io *io, const struct io_command *command, int argc, char **argv)
{
    g_autoptr(GPtrArray) all = NULL;

    if (argc > 1) {
        const struct io_command *other = find(argv[1]);

        if (!other) {
            printf("command %s not found\n", argv[1]);
            return false;
        }
        io_usage(other);
        for (size_t i = 0; other->details && other->details[i]; i++) {
            printf(" %s\n", other->details[i]);
        }
        return true;
    }
    all = g_ptr_array_new();
    add_all(all, commands);
    add_all(all, io_request_commands);
    add_all(all, io_zone_commands);
    g_ptr_array_sort(all, by_name);
    for (guint i = 0; i < all->len; i++) {
        io_usage(all->pdata[i]);
    }
    puts("\nUse 'help commandname' for extended help.");
    return true;
}

void io_find_names(const char *prefix, GPtrArray *names)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    add_all(all, commands);
    add_all(all, io_request_commands);
    add_all(all, io_zone_commands);
    for (guint i = 0; i < all->len; i++) {
        const struct io_command *command = all->pdata[i];

        if (g_str_has_prefix(command->name, prefix)) {
            g_ptr_array_add(names, g_strdup(command->name));
        }
    }
}

static const char *const open_details[] = {
    "Opens an image. Example: open -n -o driver=raw /tmp/data",
    "-r  read-only",
    "-s  writes go to a temporary image",
    "-C  copy on read",
    "-n  without the host's cache (-t none)",
    "-U  although others may write to it",
    "-k, -i AIO  how requests are made: native, threads, io_uring",
    "-t CACHE  cache mode",
    "-d MODE  discards: unmap, ignore",
    "-o OPTIONS  of the node",
    NULL,
};
static const char *const reopen_details[] = {
    "Changes options of the open image. Example: reopen -o lazy-refcounts=on",
    "-r, -w  read-only, or not",
    "-c CACHE  cache mode",
    "-o OPTIONS  of the node",
    NULL,
};
static const char *const sigraise_details[] = {"Raises a signal. Example: sigraise 15", NULL};

static const struct io_command commands[] = {
    {"abort", NULL, 0, 0, true, false, NULL, "simulate a program crash using abort(3)", NULL,
     co_abort},
    {"alloc", NULL, 1, 2, false, false, "offset [count]",
     "checks if offset is allocated in the file", NULL, co_alloc},
    {"break", NULL, 2, 2, false, false, "event tag",
     "sets a breakpoint on event and tags the stopped request as tag", NULL, co_break},
    {"close", "c", 0, 0, false, false, NULL, "close the current open file", NULL, co_close},
    {"help", "?", 0, 1, true, false, "[command]", "help for one or all commands", NULL, co_help},
    {"info", "i", 0, 0, false, false, NULL, "prints information about the current file", NULL,
     co_info},
    {"length", "l", 0, 0, false, false, NULL, "gets the length of the current file", NULL,
     co_length},
    {"map", NULL, 0, 0, false, false, "", "prints the allocated areas of a file", NULL, co_map},
    {"open", "o", 1, -1, true, false, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
     "open the file specified by path", open_details, co_open},
    {"quit", "q", 0, -1, true, false, NULL, "exit the program", NULL, co_quit},
    {"remove_break", NULL, 1, 1, false, false, "tag", "remove a breakpoint by tag", NULL,
     co_remove_break},
    {"reopen", NULL, 0, -1, false, false, "[(-r|-w)] [-c cache] [-o options]",
     "reopens an image with new options", reopen_details, co_reopen},
    {"resume", NULL, 1, 1, false, false, "tag", "resumes the request tagged as tag", NULL,
     co_resume},
    {"sigraise", NULL, 1, 1, true, false, "signal", "raises a signal", sigraise_details,
     co_sigraise},
    {"sleep", NULL, 1, 1, true, false, NULL, "waits for the given value in milliseconds", NULL,
     co_do_sleep},
    {"truncate", "t", 1, 3, false, true, "[-m prealloc_mode] off",
     "truncates the current file at the given offset", NULL, co_truncate},
    {"wait_break", NULL, 1, 1, false, false, "tag", "waits for the suspension of a request", NULL,
     co_wait_break},
    {NULL, NULL, 0, 0, false, false, NULL, NULL, NULL, NULL},
};

/* ---- Lines ---- */

/* name: the one that was typed. */
static bool check_arguments(const struct io_command *command, const char *name, int n)
{
    if (n >= command->min && (command->max < 0 || n <= command->max)) {
        return true;
    }
    if (command->max < 0) {
        fprintf(stderr, "bad argument count %d to %s, expected at least %d arguments\n", n,
                name, command->min);
    } else if (command->min == command->max) {
        fprintf(stderr, "bad argument count %d to %s, expected %d arguments\n", n, name,
                command->min);
    } else {
        fprintf(stderr, "bad argument count %d to %s, expected between %d and %d arguments\n", n,
                name, command->min, command->max);
    }
    return false;
}

/* A command that writes gets the permission for it now, so that an image that is only read can be
 * read-only. */
static bool may_write(struct io *io)
{
    g_autoptr(GError) error = NULL;

    if (block_user_node(io->user)->read_only && !block_user_node(io->user)->auto_read_only) {
        img_fail(&io->img, "Block node is read-only");
        return false;
    }
    if (!block_user_set_perm(io->user, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE,
                             BLOCK_PERM_ALL, &error)) {
        img_fail_error(&io->img, &error, NULL);
        return false;
    }
    return true;
}

static bool co_run_words(struct io *io, int argc, char **argv)
{
    const struct io_command *command = find(argv[0]);

    if (!command) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return false;
    }
    if (!command->no_image && !io->user) {
        fputs("no file open, try 'help open'\n", stderr);
        return false;
    }
    return check_arguments(command, argv[0], argc - 1) && (!command->writes || may_write(io)) &&
           command->co_run(io, command, argc, argv);
}

void co_io_run(struct io *io, const char *line)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \t\r\n", -1);
    g_autofree char **argv = g_new0(char *, g_strv_length(words) + 1);
    int argc = 0;

    for (size_t i = 0; words[i]; i++) {
        if (*words[i]) {
            argv[argc++] = words[i];
        }
    }
    if (argc && !co_run_words(io, argc, argv)) {
        io->failed = true;
    }
    fflush(stdout);
}
