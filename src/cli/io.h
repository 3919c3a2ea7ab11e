/*
 * nandu-io: reads and writes an image by commands, for tests.
 *
 *   io_main.c       options, opening, the loop       io_commands.c    table, the rest
 *   io_requests.c   requests                         io_print.c       numbers, reports, dumps
 *   io_zones.c      zones of disks                   io_lines.c       where lines come from
 *
 * The language and the output are an interface that tests parse (qemu-io's).
 */
#ifndef NANDU_CLI_IO_H
#define NANDU_CLI_IO_H

#include "cli/img.h"

struct io;

/* How an image is opened: of the program's options, and of "open". */
struct io_open {
    bool image_opts, read_only, snapshot, copy_on_read, force_share;
    const char *format, *cache, *discard, *aio;
    json_object *options; /* NULL: none. Borrowed */
};

struct io {
    struct img img;
    struct block_user *user; /* NULL: no image is open */
    bool misalign, quit, failed;
    unsigned n_aio; /* requests under way */
    struct co_queue aio_done;
    GPtrArray *commands; /* -c */
    struct io_open open; /* of the program's options */
    const char *filename;
};

struct io_command {
    const char *name, *alias;        /* alias: NULL: none */
    int min, max;                    /* arguments; max -1: any number */
    bool no_image, writes;           /* works without an image; needs one that can be written */
    const char *arguments, *summary; /* arguments: NULL: none */
    const char *const *details;      /* lines of "help NAME"; NULL: none */
    /* False: it failed, and said so. argv[0] is its name. */
    bool (*co_run)(struct io *io, const struct io_command *command, int argc, char **argv);
};

extern const struct io_command io_request_commands[]; /* ends with a NULL name */
extern const struct io_command io_zone_commands[];

int io_main(int argc, char **argv);

/* ---- io_main.c; in coroutines ---- */

/* Whether its modes are some. False after a message. */
bool io_check_open(struct io *io, const struct io_open *open);
/* False after a message. */
bool co_io_open(struct io *io, const char *filename, const struct io_open *open);
void co_io_close(struct io *io);

/* ---- io_commands.c; in coroutines ---- */

/* One line of the language. Sets io->failed and io->quit. */
void co_io_run(struct io *io, const char *line);
/* The line that says how a command is used; false. */
bool io_usage(const struct io_command *command);
/* A number with a suffix; -1 after a message. */
int64_t io_number(const char *text);

/* Adds the names of commands that begin so. */
void io_find_names(const char *prefix, GPtrArray *names);

/* ---- io_lines.c ---- */

struct io_lines;
/* The program's name is the prompt. */
struct io_lines *io_lines_new(const char *program);
void io_lines_free(struct io_lines *lines);
/* NULL: there are no more. Caller frees by free(). In a coroutine. */
char *co_io_read_line(struct io_lines *lines);

/* ---- io_print.c ---- */

/* "4 KiB", "1.500 KiB", "40 bytes"; caller frees. */
char *io_size(double bytes);
/* "wrote 512/512 bytes at offset 0" and how fast. ns: how long it took; machine: -C. */
void io_report(const char *what, int64_t ns, uint64_t offset, uint64_t asked, uint64_t done,
               bool machine);
void io_dump(const uint8_t *data, uint64_t offset, size_t size);

#endif
