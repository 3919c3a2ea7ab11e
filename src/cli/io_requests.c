/* Requests of nandu-io. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/accounting.h"
#include "cli/io.h"
#include "util/clock.h"

enum { MAX_BYTES = G_MAXINT32 & ~511, ALIGN = 4096, SECTOR = 512 };
enum { USUAL_PATTERN = 0xcd, READ_FILL = 0xab };

enum request_kind { READ, WRITE, ZEROES, DISCARD };

struct io_request {
    struct io *io;
    const char *name; /* of the command, for what an asynchronous one says */
    enum request_kind kind;
    unsigned flags; /* enum block_flags */
    bool quiet, machine, dump, verify, async, vm_state, invalid, exact;
    int pattern;                       /* -1: none was given */
    int64_t verify_from, verify_bytes; /* -1: all of it */
    const char *pattern_file;
    uint64_t offset, bytes;
    struct iovec *iov;
    unsigned n_iov;
    void *memory; /* that iov is in */
    uint8_t *data;
};

/* ---- Memory ---- */

static bool make_buffer(struct io_request *r, const uint64_t *lengths, unsigned n)
{
    size_t extra = r->io->misalign ? 16 : 0;
    uint8_t *at;

    r->memory = aligned_alloc(ALIGN, (r->bytes + extra + ALIGN - 1) / ALIGN * ALIGN + ALIGN);
    if (!r->memory) {
        printf("not enough memory for %" G_GUINT64_FORMAT " bytes\n", r->bytes);
        return false;
    }
    r->data = at = (uint8_t *)r->memory + extra;
    memset(at,
           r->kind == READ   ? READ_FILL
           : r->pattern >= 0 ? r->pattern
                             : USUAL_PATTERN,
           r->bytes);
    r->iov = g_new(struct iovec, n);
    r->n_iov = n;
    for (unsigned i = 0; i < n; i++) {
        r->iov[i] = (struct iovec){at, lengths[i]};
        at += lengths[i];
    }
    if (r->flags & BLOCK_REGISTERED) {
        block_register_buffer(r->io->img.graph, r->memory, r->bytes + extra);
    }
    return true;
}

/* The file again and again. */
static bool fill_from_file(struct io_request *r)
{
    FILE *file = fopen(r->pattern_file, "rb");
    size_t size;
    int failed;

    if (!file) {
        fprintf(stderr, "%s: %s\n", r->pattern_file, g_strerror(errno));
        return false;
    }
    size = fread(r->data, 1, r->bytes, file);
    failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed) {
        fprintf(stderr, "%s: %s\n", r->pattern_file, g_strerror(failed));
        return false;
    }
    if (!size) {
        fprintf(stderr, "%s: file is empty\n", r->pattern_file);
        return false;
    }
    for (uint64_t i = size; i < r->bytes; i++) {
        r->data[i] = r->data[i - size];
    }
    return true;
}

static void request_clear(struct io_request *r)
{
    if (r->memory && (r->flags & BLOCK_REGISTERED)) {
        block_unregister_buffer(r->io->img.graph, r->memory);
    }
    free(r->memory);
    g_free(r->iov);
}

/* ---- Doing it ---- */

static int co_perform(struct io_request *r)
{
    struct block_user *user = r->io->user;
    struct block_buffer buffer = {r->iov, r->n_iov, 0};
    int ret;

    if (r->vm_state) { /* no driver gives access to that by itself */
        return -ENOTSUP;
    }
    switch (r->kind) {
    case READ: ret = co_block_read(user, r->offset, r->bytes, buffer, r->flags); break;
    case WRITE: ret = co_block_write(user, r->offset, r->bytes, buffer, r->flags); break;
    case ZEROES: ret = co_block_write_zeroes(user, r->offset, r->bytes, r->flags); break;
    default: ret = co_block_discard(user, r->offset, r->bytes); break;
    }
    return ret;
}

static bool verify(const struct io_request *r)
{
    uint64_t from = r->verify_from > 0 ? (uint64_t)r->verify_from : 0;
    uint64_t bytes = r->verify_bytes >= 0 ? (uint64_t)r->verify_bytes : r->bytes - from;

    for (uint64_t i = from; i < from + bytes; i++) {
        if (r->data[i] != r->pattern) {
            printf("Pattern verification failed at offset %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
                   " bytes\n",
                   r->offset + from, bytes);
            return false;
        }
    }
    return true;
}

static const char *done_text(const struct io_request *r)
{
    return r->kind == READ ? "read" : r->kind == DISCARD ? "discard" : "wrote";
}

static bool co_do(struct io_request *r)
{
    int64_t start = clocks_now(NULL, CLOCK_REAL), ns;
    int ret = co_perform(r);
    bool ok = ret >= 0;

    ns = clocks_now(NULL, CLOCK_REAL) - start;
    if (!ok) {
        printf("%s failed: %s\n", r->async && r->kind == READ ? "readv" : r->name,
               g_strerror(-ret));
    } else {
        if (r->kind == READ && r->pattern >= 0) {
            ok = verify(r);
        }
        if (!r->quiet) {
            if (r->dump) {
                io_dump(r->data, r->offset, r->bytes);
            }
            io_report(done_text(r), ns, r->offset, r->bytes, r->bytes, r->machine);
        }
    }
    return ok;
}

static void co_background(void *opaque)
{
    struct io_request *r = opaque;
    struct io *io = r->io;

    co_do(r);
    fflush(stdout);
    request_clear(r);
    g_free(r);
    io->n_aio--;
    co_queue_wake_all(&io->aio_done);
}

/* Takes over what r has. */
static bool co_start(struct io_request *r)
{
    bool ok = true;

    if (r->async) {
        struct io_request *copy = g_new(struct io_request, 1);

        *copy = *r;
        r->io->n_aio++;
        coroutine_start(r->io->img.loop, co_background, copy);
    } else {
        ok = co_do(r);
        request_clear(r);
    }
    return ok;
}

/* ---- Options ---- */

static bool set_pattern(struct io_request *r, const char *text)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end == text || *end || value < 0 || value > 0xff) {
        printf("%s is not a valid pattern byte\n", text);
        return false;
    }
    r->pattern = (int)value;
    return true;
}

static bool take_option(struct io_request *r, int c)
{
    switch (c) {
    case 'b': r->vm_state = true; return true;
    case 'c': r->flags |= BLOCK_COMPRESSED; return true;
    case 'C': r->machine = true; return true;
    case 'f': r->flags |= BLOCK_FUA; return true;
    case 'i': r->invalid = true; return true;
    case 'l': r->verify_bytes = io_number(optarg); return r->verify_bytes >= 0;
    case 'n': r->flags |= BLOCK_NO_FALLBACK; return true;
    case 'a': /* asks for what is so anyway */
    case 'p': return true;
    case 'r': r->flags |= BLOCK_REGISTERED; return true;
    case 'P': return set_pattern(r, optarg);
    case 'q': r->quiet = true; return true;
    case 's':
        if (r->kind == READ) {
            r->verify_from = io_number(optarg);
            return r->verify_from >= 0;
        }
        r->pattern_file = optarg;
        return true;
    case 'u': r->flags |= BLOCK_MAY_UNMAP; return true;
    case 'v': r->dump = true; return true;
    case 'z': r->kind = ZEROES; return true;
    default: return false;
    }
}

/* Options that don't go together; NULL: they do. */
static const char *contradiction(const struct io_request *r)
{
    bool zeroes = r->kind == ZEROES;

    if (r->vm_state && zeroes) {
        return "-b and -z cannot be specified at the same time";
    }
    if ((r->flags & BLOCK_FUA) && (r->vm_state || r->flags & BLOCK_COMPRESSED)) {
        return "-f and -b or -c cannot be specified at the same time";
    }
    if (zeroes && (r->flags & BLOCK_REGISTERED)) {
        return "cannot combine zero write with registered I/O buffer";
    }
    if (r->kind == READ && r->vm_state && (r->flags & BLOCK_REGISTERED)) {
        return "I/O buffer registration is not supported when reading from vmstate";
    }
    if ((r->flags & BLOCK_NO_FALLBACK) && !zeroes) {
        return "-n requires -z to be specified";
    }
    if ((r->flags & BLOCK_MAY_UNMAP) && !zeroes) {
        return "-u requires -z to be specified";
    }
    if (r->exact && r->kind != READ &&
        (r->pattern >= 0) + zeroes + (r->pattern_file != NULL) > 1) {
        return "Only one of -z, -P, and -s can be specified at the same time";
    }
    return NULL;
}

static bool parse_options(struct io_request *r, const struct io_command *command,
                          const char *letters, int argc, char **argv)
{
    const char *wrong;
    int c;

    optind = 0;
    while ((c = getopt(argc, argv, letters)) != -1) {
        if (c == '?') {
            return io_usage(command);
        }
        if (!take_option(r, c)) {
            return false;
        }
    }
    if (r->kind == READ && r->pattern < 0 && (r->verify_from >= 0 || r->verify_bytes >= 0)) {
        return io_usage(command);
    }
    wrong = contradiction(r);
    if (wrong) {
        puts(wrong);
        return false;
    }
    return true;
}

/* ---- Ranges ---- */

static bool check_length(const struct io_request *r, const char *text, uint64_t length)
{
    if (r->exact && length > MAX_BYTES && !(r->flags & BLOCK_NO_FALLBACK)) {
        printf("length cannot exceed %d%s, given %s\n", MAX_BYTES,
               r->kind == WRITE || r->kind == ZEROES ? " without -n" : "", text);
        return false;
    }
    if (!r->exact && r->kind != ZEROES && length > MAX_BYTES) {
        printf("Argument '%s' exceeds maximum size %d\n", text, MAX_BYTES);
        return false;
    }
    if (!r->exact && r->kind != ZEROES && length + r->bytes > MAX_BYTES) {
        printf("The total number of bytes exceed the maximum size %d\n", MAX_BYTES);
        return false;
    }
    return true;
}

/* OFFSET LENGTH..., several only for the v commands. False after a message. */
static bool parse_range(struct io_request *r, const struct io_command *command, int argc,
                        char **argv)
{
    g_autofree uint64_t *lengths = g_new(uint64_t, (gsize)argc + 1);
    unsigned n = 0;
    int64_t number;

    if (argc - optind < 2 || (r->exact && argc - optind != 2)) {
        return io_usage(command);
    }
    if (!r->exact && r->kind == ZEROES && argc - optind != 2) {
        puts("-z supports only a single length parameter");
        return false;
    }
    number = io_number(argv[optind]);
    if (number < 0) {
        return false;
    }
    r->offset = (uint64_t)number;
    for (int i = optind + 1; i < argc; i++) {
        number = io_number(argv[i]);
        if (number < 0 || !check_length(r, argv[i], (uint64_t)number)) {
            return false;
        }
        lengths[n++] = (uint64_t)number;
        r->bytes += (uint64_t)number;
    }
    if (r->verify_from > (int64_t)r->bytes ||
        MAX(r->verify_from, 0) + MAX(r->verify_bytes, 0) > (int64_t)r->bytes) {
        puts("pattern verification range exceeds end of read data");
        return false;
    }
    if (r->vm_state && (r->offset | r->bytes) % SECTOR) {
        bool offset = r->offset % SECTOR;

        printf("%" G_GUINT64_FORMAT " is not a sector-aligned value for '%s'\n",
               offset ? r->offset : r->bytes, offset ? "offset" : "count");
        return false;
    }
    return (r->kind != READ && r->kind != WRITE) ||
           (make_buffer(r, lengths, n) && (!r->pattern_file || fill_from_file(r)));
}

static bool co_request(struct io *io, const struct io_command *command, int argc, char **argv,
                       enum request_kind kind, const char *letters, bool async, bool exact)
{
    struct io_request r = {
        .io = io,
        .name = command->name,
        .kind = kind,
        .pattern = -1,
        .verify_from = -1,
        .verify_bytes = -1,
        .async = async,
        .exact = exact,
    };

    if (!parse_options(&r, command, letters, argc, argv)) {
        return false;
    }
    if (!parse_range(&r, command, argc, argv)) {
        request_clear(&r);
        return false;
    }
    if (r.invalid) { /* counted as such, and never made */
        printf("injecting invalid %s request\n", kind == READ ? "read" : "write");
        block_accounting_invalid(block_user_accounting(io->user),
                                 kind == READ ? BLOCK_ACCOUNTING_READ : BLOCK_ACCOUNTING_WRITE);
        request_clear(&r);
        return true;
    }
    return co_start(&r);
}

/* ---- Commands ---- */

static bool co_read(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, READ, "abCl:pP:qrs:v", false, true);
}

static bool co_readv(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, READ, "CP:qrv", false, false);
}

static bool co_write(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, WRITE, "bcCfnpP:qrs:uz", false, true);
}

static bool co_writev(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, WRITE, "CfqP:r", false, false);
}

static bool co_aio_read(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, READ, "CP:iqrv", true, false);
}

static bool co_aio_write(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, WRITE, "CfiqP:ruz", true, false);
}

static bool co_discard(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_request(io, command, argc, argv, DISCARD, "Cq", false, true);
}

static bool co_aio_flush(struct io *io, const struct io_command *command, int argc, char **argv)
{
    while (io->n_aio) {
        co_queue_wait(&io->aio_done, NULL);
    }
    return true;
}

static bool co_flush(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return co_block_flush(io->user) >= 0;
}

#define COMMON_DETAILS                                                                             \
    "-C  statistics for programs", "-q  no statistics", "-r  registers the buffer"

static const char *const read_details[] = {
    "Reads LENGTH bytes at OFFSET. Example: read -v 512 1k",
    "-b  the machine's state, not the disk; not supported by any format yet",
    "-P PATTERN  check that all is this byte,",
    "-s OFF      from there on,",
    "-l LEN      so much of it",
    "-v  print it",
    "-a, -p  no meaning",
    COMMON_DETAILS,
    NULL,
};
static const char *const readv_details[] = {
    "Reads into a buffer for each LENGTH, one behind the other. Example: readv -v 512 1k 1k",
    "-P PATTERN  check that all is this byte",
    "-v  print it",
    COMMON_DETAILS,
    NULL,
};
static const char *const write_details[] = {
    "Writes LENGTH bytes (0xcd) at OFFSET. Example: write 512 1k",
    "-b  the machine's state, not the disk; not supported by any format yet",
    "-c  compressed",
    "-f  on stable storage when it ends (FUA)",
    "-P PATTERN  this byte",
    "-s FILE  what is in FILE",
    "-z  zeroes,",
    "-u  which may give space back,",
    "-n  or not at all if that isn't quick",
    "-p  no meaning",
    COMMON_DETAILS,
    NULL,
};
static const char *const writev_details[] = {
    "Writes from a buffer for each LENGTH, one behind the other. Example: writev 512 1k 1k",
    "-f  on stable storage when it ends (FUA)",
    "-P PATTERN  this byte",
    COMMON_DETAILS,
    NULL,
};
static const char *const aio_details[] = {
    "Begins a request, like readv or writev; aio_flush waits for its end.",
    "-i  count it as an invalid request only",
    "-f  on stable storage when it ends (FUA)",
    "-P PATTERN  check that all is this byte, or write it",
    "-v  print it",
    "-z  zeroes,",
    "-u  which may give space back",
    COMMON_DETAILS,
    NULL,
};
static const char *const discard_details[] = {
    "Gives up LENGTH bytes at OFFSET. Example: discard 512 1k",
    "-C  statistics for programs",
    "-q  no statistics",
    NULL,
};

const struct io_command io_request_commands[] = {
    {"read", "r", 2, -1, false, false, "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset", read_details, co_read},
    {"readv", NULL, 2, -1, false, false, "[-Cqrv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset", readv_details, co_readv},
    {"write", "w", 2, -1, false, true, "[-bcCfnqruz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset", write_details, co_write},
    {"writev", NULL, 2, -1, false, true, "[-Cfqr] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset", writev_details, co_writev},
    {"aio_read", NULL, 2, -1, false, false, "[-Ciqrv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes", aio_details, co_aio_read},
    {"aio_write", NULL, 2, -1, false, true, "[-Cfiqruz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes", aio_details, co_aio_write},
    {"aio_flush", NULL, 0, 0, false, false, NULL, "completes all outstanding aio requests", NULL,
     co_aio_flush},
    {"flush", "f", 0, 0, false, false, NULL, "flush all in-core file state to disk", NULL,
     co_flush},
    {"discard", "d", 2, -1, false, true, "[-Cq] off len",
     "discards a number of bytes at a specified offset", discard_details, co_discard},
    {NULL, NULL, 0, 0, false, false, NULL, NULL, NULL, NULL},
};
