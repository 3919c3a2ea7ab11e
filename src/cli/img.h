/*
 * nandu-img: one program of subcommands.
 *
 *   img_main.c      table of subcommands, options that stand before them, help
 *   img_options.c   options of subcommands: rows of a table, from which help and parsing come
 *   img_open.c      images that exist     img_create.c   images to be made, -o
 *   img_print.c     sizes, JSON, progress
 *   img_KIND.c      subcommands
 *
 * A subcommand runs as one coroutine on the program's event loop, from which it starts others, and
 * returns the program's exit status. The messages and the output are an interface that tools parse
 * (qemu-img's).
 */
#ifndef NANDU_CLI_IMG_H
#define NANDU_CLI_IMG_H

#include "block/block.h"
#include "block/driver.h"
#include "util/fdset.h"
#include "util/log.h"

struct img;
struct img_progress;

/* Values of all options of all subcommands; a table's rows say which ones are its. Strings are
 * argv's. */
struct img_args {
    bool quiet, progress, image_opts, target_image_opts, force_share;
    bool drop, strict, force, unsafe, chain, shrink, list, write, native, no_drain;
    bool compress, no_create, target_is_zero, bitmaps, skip_broken, salvage, copy_range,
        out_of_order;
    const char *format, *target_format, *base, *base_format, *cache, *target_cache;
    const char *granularity, *merge_source, *repair, *output, *rate, *count, *depth, *offset, *size,
        *step, *aio;
    const char *pattern, *flush_interval, *snapshot, *sparse, *parallel, *start_offset, *max_length,
        *image;
    const char *preallocation, *create, *apply, *delete;
    GPtrArray *options, *objects; /* of const char *; NULL: none */
    GPtrArray *actions;           /* names and arguments ("": none) by turns; NULL: none */
    char **operands;              /* NULL-terminated */
    int n_operands;
};

enum img_option_kind {
    IMG_FLAG,
    IMG_STRING,
    IMG_LIST,
    IMG_ACTION
}; /* ACTION: its place among others counts */

struct img_option {
    const char *name;     /* long; NULL: none */
    char letter;          /* 0: none */
    const char *argument; /* for help; NULL: a flag */
    const char *description;
    enum img_option_kind kind;
    size_t offset; /* in struct img_args */
};

struct img_command {
    const char *name, *summary, *operands;
    const struct img_option *options; /* ends with an empty row */
    int (*co_run)(struct img *img, const struct img_args *args);
    int usage_status;     /* of mistakes in the command line */
    bool last_is_operand; /* whatever it begins with: "-5M" */
};

struct img {
    char *program; /* as messages name it */
    bool is_io;    /* nandu-io, whose messages begin in other words */
    struct log *log;
    struct event_loop *loop;
    struct fdsets *fdsets;
    struct object_context context;
    struct object *root;
    struct block_graph *graph;
    const struct img_command *command;
    struct img_progress *progress; /* NULL: none */
};

extern const struct img_command img_amend, img_bench, img_bitmap, img_check, img_commit,
    img_compare, img_convert, img_create, img_dd, img_info, img_map, img_measure, img_rebase,
    img_resize, img_snapshot;

int img_main(int argc, char **argv);

/* ---- The program's surroundings (nandu-io's, too): img_main.c ---- */

/* False after a message. program: a name for messages; copied. */
bool img_init(struct img *img, const char *program);
void img_clear(struct img *img);
/* The program's version, as tools parse it. */
void img_version(const struct img *img);
/* --object's; false after a message. */
bool img_add_object(struct img *img, const char *text);
/* -T's; false after a message. */
bool img_trace(struct img *img, const char *text);
/* "Supported image formats:" and their names, in lines of at most 80 columns. */
void img_print_formats(FILE *out);

/* ---- img_options.c ---- */

/* argv[0] is the subcommand's name. False after a message; *status: also after help, whose status
 * it is. */
bool img_parse(struct img *img, int argc, char **argv, struct img_args *args, int *status);
void img_args_clear(struct img_args *args);
/* "PROGRAM: text" on standard error. Always 1, an exit status. */
int img_fail(struct img *img, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The same with error's message behind "what: " (NULL: alone); frees and clears the error. */
int img_fail_error(struct img *img, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* A mistake in the command line: the message, and where help is. The subcommand's status. */
int img_usage_error(struct img *img, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A size with an optional suffix; -1: it isn't one, or beyond max. No message. */
int64_t img_size(const char *text, int64_t max);
/* --output: 0 human, 1 JSON, -1 after a message. */
int img_output(struct img *img, const struct img_args *args);

/* ---- img_open.c; in coroutines ---- */

struct img_image {
    const char *filename, *format; /* format NULL: found */
    const char *cache;             /* cache mode; NULL: writeback */
    bool image_opts;               /* filename is key=value options */
    bool writable, resizable, force_share, no_backing, no_io, check, quiet, discard;
    bool quick;           /* single requests matter */
    json_object *options; /* more of the node's; NULL: none. Borrowed */
};

/* A user, or NULL after a message. */
struct block_user *co_img_open(struct img *img, const struct img_image *image);
/* NULL: nothing. */
void co_img_close(struct block_user *user);
/* -l: what is read is this snapshot's: an id or a name, or snapshot.id=ID,snapshot.name=NAME. False
 * after a message. */
bool co_img_load_snapshot(struct img *img, struct block_user *user, const char *text);
/* False: no such mode. */
bool img_cache_mode(const char *mode, bool *direct, bool *no_flush, bool *writethrough);

/* ---- img_create.c; in coroutines ---- */

struct img_new {
    const char *filename, *format;
    GPtrArray *options;             /* -o; NULL: none */
    const char *base, *base_format; /* NULL: none */
    uint64_t size;                  /* UINT64_MAX: by the options or the base */
    bool unsafe, print;             /* don't look at the base; print what is made */
    const char *doing;              /* of whom it is a part, for messages; NULL: of nothing else */
};

/* Makes the image. False after a message. */
bool co_img_create(struct img *img, const struct img_new *image);
/* -o's as one object; NULL after a message. */
json_object *img_parse_options(struct img *img, GPtrArray *options);
/* Whether help is among them. */
bool img_wants_help(GPtrArray *options);
/* What a format's options are; filename NULL: without its protocol's. The exit status. */
int img_print_create_help(struct img *img, const char *filename, const char *format, bool amend);
/* A driver by its name, or NULL after a message. */
const struct block_driver *img_driver(struct img *img, const char *name);
/* options by their names on the command line become members of the schema, nested; NULL and *error:
 * not one of driver's or (file is true) of the file's, which are left out. */
json_object *img_schema_options(const struct block_driver *driver, json_object *options, bool file,
                                GError **error);

/* ---- img_bitmap.c; in a coroutine ---- */

/* Persistent bitmaps of the one for the other; skip_broken: but those that are inconsistent. False
 * after a message. */
bool co_img_copy_bitmaps(struct img *img, struct block_user *from, struct block_user *to,
                         bool skip_broken);

/* "Format specific information:" and what it is, depth levels to the right; indent: the spaces of
 * that. img_info.c */
void img_print_specific(const struct qapi_image_info *info, const char *indent, int depth);

/* ---- img_print.c ---- */

/* "1.5 GiB"; caller frees. */
char *img_human_size(uint64_t bytes);
/* Members in the order and with the white space that tools know. */
void img_print_json(FILE *out, json_object *value);
/* Orders an object's members so: a new array of keys (borrowed), NULL at its end. Free it with
 * g_free. */
const char **img_member_order(json_object *object);
void img_print_snapshots(FILE *out, const struct qapi_snapshot_info_list *list);

/* Of a total of work, unit bytes. on: -p; without it SIGUSR1 shows it once. */
void img_progress_start(struct img *img, bool on, uint64_t total);
void img_progress_total(struct img *img, uint64_t total);
void img_progress_add(struct img *img, uint64_t work);
/* done: it is complete. */
void img_progress_end(struct img *img, bool done);

/* ---- img_copy.c: vectorised search for zeroes ---- */

/* How many bytes from data on, in units (the last one may be shorter), are all of one sort: of
 * zeroes, or with others. */
size_t img_run(const uint8_t *data, size_t size, size_t unit, bool *zero);

/* ---- Rows that many tables share ---- */

#define IMG_AT(field) offsetof(struct img_args, field)
#define IMG_ROW_QUIET                                                    \
    {                                                                    \
        "quiet", 'q', NULL, "print errors only", IMG_FLAG, IMG_AT(quiet) \
    }
#define IMG_ROW_PROGRESS                                                                  \
    {                                                                                     \
        "progress", 'p', NULL, "show progress, rate and the time that is left", IMG_FLAG, \
            IMG_AT(progress)                                                              \
    }
#define IMG_ROW_FORMAT                                                                            \
    {                                                                                             \
        "format", 'f', "FMT", "format of FILENAME (default: found by looking at it)", IMG_STRING, \
            IMG_AT(format)                                                                        \
    }
#define IMG_ROW_IMAGE_OPTS                                                                     \
    {                                                                                          \
        "image-opts", 0, NULL, "FILENAME is a list of options (driver=...,file.filename=...)", \
            IMG_FLAG, IMG_AT(image_opts)                                                       \
    }
#define IMG_ROW_SHARE                                                               \
    {                                                                               \
        "force-share", 'U', NULL, "open although others may write to it", IMG_FLAG, \
            IMG_AT(force_share)                                                     \
    }
#define IMG_ROW_OBJECT                                                                         \
    {                                                                                          \
        "object", 0, "OBJECT", "make an object, for example secret,id=ID,file=PATH", IMG_LIST, \
            IMG_AT(objects)                                                                    \
    }
#define IMG_ROW_OUTPUT                                                                \
    {                                                                                 \
        "output", 0, "human|json", "form of the output (default: human)", IMG_STRING, \
            IMG_AT(output)                                                            \
    }
#define IMG_ROW_CACHE(letter, name, field, what)               \
    {                                                          \
        name, letter, "CACHE", what, IMG_STRING, IMG_AT(field) \
    }
#define IMG_ROW_END \
    {               \
        0           \
    }

#endif
