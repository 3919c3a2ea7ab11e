/*
 * Zones of disks that are written in order. No driver has any, so that all of these say that it
 * isn't supported, once the arguments are right.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/io.h"

enum { MAX_BYTES = G_MAXINT32 & ~511 };

static bool fail(const char *what, int error)
{
    printf("zone %s failed: %s\n", what, g_strerror(error));
    return false;
}

static bool co_report(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t offset = io_number(argv[1]), n = offset < 0 ? -1 : io_number(argv[2]);

    if (n > G_MAXUINT32) {
        puts("Number of zones must be less than 2^32");
    }
    return n >= 0 && n <= G_MAXUINT32 && fail("report", ENOTSUP);
}

/* what: "open", "close", "finish", "reset". */
static bool manage(struct io *io, char **argv, const char *what)
{
    int64_t offset = io_number(argv[1]), bytes = offset < 0 ? -1 : io_number(argv[2]);
    uint64_t length = block_user_length(io->user);

    if (bytes < 0) {
        return false;
    }
    return fail(what, (uint64_t)offset + (uint64_t)bytes > length ? EIO : ENOTSUP);
}

static bool co_open(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return manage(io, argv, "open");
}

static bool co_close(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return manage(io, argv, "close");
}

static bool co_finish(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return manage(io, argv, "finish");
}

static bool co_reset(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return manage(io, argv, "reset");
}

/* OFFSET and the lengths of the buffers. An option has no meaning (-p). */
static bool co_append(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int first = *argv[1] == '-' ? 2 : 1;

    if (io_number(argv[first]) < 0) {
        return false;
    }
    for (int i = first + 1; i < argc; i++) {
        int64_t bytes = io_number(argv[i]);

        if (bytes > MAX_BYTES) {
            printf("Argument '%s' exceeds maximum size %d\n", argv[i], MAX_BYTES);
        }
        if (bytes < 0 || bytes > MAX_BYTES) {
            return false;
        }
    }
    return fail("append", ENOTSUP);
}

const struct io_command io_zone_commands[] = {
    {"zone_append", "zap", 3, 4, false, false, "offset len [len..]",
     "append write a number of bytes at a specified offset", NULL, co_append},
    {"zone_close", "zc", 2, 2, false, false, "offset len",
     "close a range of zones in zone block device", NULL, co_close},
    {"zone_finish", "zf", 2, 2, false, false, "offset len",
     "finish a range of zones in zone block device", NULL, co_finish},
    {"zone_open", "zo", 2, 2, false, false, "offset len",
     "explicit open a range of zones in zone block device", NULL, co_open},
    {"zone_report", "zrp", 2, 2, false, false, "offset number", "report zone information", NULL,
     co_report},
    {"zone_reset", "zrs", 2, 2, false, false, "offset len",
     "reset a zone write pointer in zone block device", NULL, co_reset},
    {NULL, NULL, 0, 0, false, false, NULL, NULL, NULL, NULL},
};
