/* nandu-img bench: so many requests, so many at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/img.h"
#include "util/clock.h"

enum { DEFAULT_COUNT = 75000, DEFAULT_DEPTH = 64, DEFAULT_SIZE = 4096, ALIGN = 4096 };

struct bench {
    struct img *img;
    struct block_user *user;
    uint64_t length, offset, step, size;
    uint64_t n, depth, flush_interval, begun, ended;
    bool write, drain;
    uint8_t *data; /* size bytes for each of depth */
    unsigned n_workers, next_worker;
    uint64_t under_way;
    bool flushing;
    struct co_queue flushed; /* who waits for the end of a flush; and of requests, who flushes */
    int failed;              /* -errno */
    struct coroutine *waiting;
};

static void fail(struct bench *b, const char *what, int ret)
{
    if (!b->failed) {
        img_fail(b->img, "Failed %s: %s", what, g_strerror(-ret));
    }
    b->failed = ret;
}

/* The image goes round. */
static uint64_t next_offset(struct bench *b)
{
    uint64_t offset = b->offset;

    b->offset += b->step;
    b->offset = b->length <= b->size ? 0 : b->offset % (b->length - b->size);
    return offset;
}

/* Every so many requests; with drain none is under way meanwhile. */
static void co_flush_if_due(struct bench *b)
{
    int ret;

    if (!b->flush_interval || b->begun % b->flush_interval || !b->begun) {
        return;
    }
    if (b->drain) {
        b->flushing = true;
        while (b->under_way) {
            co_queue_wait(&b->flushed, NULL);
        }
    }
    ret = co_block_flush(b->user);
    if (b->drain) {
        b->flushing = false;
        co_queue_wake_all(&b->flushed);
    }
    if (ret < 0) {
        fail(b, "flush", ret);
    }
}

static void co_work(void *opaque)
{
    struct bench *b = opaque;
    uint8_t *data = b->data + b->next_worker++ * b->size;

    while (b->begun < b->n && !b->failed) {
        uint64_t offset;
        int ret;

        while (b->flushing) {
            co_queue_wait(&b->flushed, NULL);
        }
        if (b->begun >= b->n) {
            break;
        }
        offset = next_offset(b);
        b->begun++;
        b->under_way++;
        ret = b->write ? co_block_write(b->user, offset, b->size, BLOCK_BUFFER(data, b->size),
                                        BLOCK_REGISTERED)
                       : co_block_read(b->user, offset, b->size, BLOCK_BUFFER(data, b->size),
                                       BLOCK_REGISTERED);
        if (--b->under_way == 0 && b->flushing) {
            co_queue_wake_all(&b->flushed);
        }
        if (ret < 0) {
            fail(b, "request", ret);
        } else if (!b->flushing) {
            co_flush_if_due(b);
        }
    }
    if (--b->n_workers == 0 && b->waiting) {
        coroutine_wake(b->waiting);
    }
}

static bool co_run(struct bench *b)
{
    uint64_t n = MIN(b->depth, b->n);
    int64_t start;

    co_queue_init(&b->flushed);
    b->n_workers = (unsigned)n;
    start = clocks_now(NULL, CLOCK_REAL);
    for (uint64_t i = 0; i < n; i++) {
        coroutine_start(b->img->loop, co_work, b);
    }
    while (b->n_workers) {
        b->waiting = coroutine_self();
        co_yield ();
    }
    co_queue_clear(&b->flushed);
    if (!b->failed) {
        printf("Run completed in %3.3f seconds.\n",
               (double)(clocks_now(NULL, CLOCK_REAL) - start) / 1e9);
    }
    return !b->failed;
}

/* ---- Options ---- */

static bool number(struct img *img, const char *text, const char *what, uint64_t min,
                   uint64_t usual, uint64_t *value)
{
    *value = usual;
    if (text && !g_ascii_string_to_unsigned(text, 10, min, G_MAXINT32, value, NULL)) {
        img_fail(img, "Invalid %s specified. Must be between %" G_GUINT64_FORMAT " and %d.", what,
                 min, G_MAXINT32);
        return false;
    }
    return true;
}

static bool size_between(struct img *img, const char *text, const char *what, int64_t min,
                         uint64_t usual, uint64_t *value)
{
    int64_t bytes = text ? img_size(text, G_MAXINT32) : (int64_t)usual;

    *value = (uint64_t)bytes;
    if (bytes < min) {
        img_fail(img, "Invalid %s specified. Must be between %d and %d.", what, (int)min,
                 G_MAXINT32);
        return false;
    }
    return true;
}

static bool parse(struct bench *b, const struct img_args *args, uint64_t *pattern)
{
    int64_t offset = args->offset ? img_size(args->offset, INT64_MAX) : 0;

    *pattern = 0;
    if (!number(b->img, args->count, "request count", 1, DEFAULT_COUNT, &b->n) ||
        !number(b->img, args->depth, "queue depth", 1, DEFAULT_DEPTH, &b->depth) ||
        !number(b->img, args->flush_interval, "flush interval", 0, 0, &b->flush_interval) ||
        !size_between(b->img, args->size, "buffer size", 1, DEFAULT_SIZE, &b->size) ||
        !size_between(b->img, args->step, "step size", 0, b->size, &b->step)) {
        return false;
    }
    if (offset < 0) {
        img_fail(b->img, "Invalid offset specified: '%s'.", args->offset);
        return false;
    }
    if (args->pattern &&
        !g_ascii_string_to_unsigned(args->pattern, g_str_has_prefix(args->pattern, "0x") ? 16 : 10,
                                    0, 0xff, pattern, NULL)) {
        img_fail(b->img, "Invalid pattern byte specified. Must be between 0 and 255.");
        return false;
    }
    b->step = b->step ? b->step : b->size;
    b->offset = (uint64_t)offset;
    b->write = args->write;
    b->drain = !args->no_drain;
    if (b->flush_interval && !b->write) {
        img_fail(b->img, "--flush-interval is only available in write tests");
        return false;
    }
    if (b->flush_interval && b->drain && b->flush_interval < b->depth) {
        img_fail(b->img, "Flush interval can't be smaller than depth");
        return false;
    }
    return true;
}

static const char *aio_of(struct img *img, const struct img_args *args)
{
    static const char *const modes[] = {"threads", "native", "io_uring", NULL};

    if (!args->aio) {
        return args->native ? "native" : "";
    }
    if (g_strv_contains(modes, args->aio)) {
        return args->aio;
    }
    img_fail(img, "Invalid aio option: %s", args->aio);
    return NULL;
}

/* -i is the file's, which a format is on top of. */
static struct block_user *co_open(struct img *img, const struct img_args *args, const char *aio)
{
    g_autoptr(json_object) options = json_object_new_object();
    const struct block_driver *driver = args->format ? block_driver_find(args->format) : NULL;
    struct img_image image = {
        .filename = args->operands[0],
        .format = args->format,
        .image_opts = args->image_opts,
        .cache = args->cache,
        .writable = args->write,
        .force_share = args->force_share,
        .quiet = args->quiet,
        .options = options,
        .quick = true,
    };

    if (*aio) {
        json_object_object_add(options, driver && driver->protocols ? "aio" : "file.aio",
                               json_object_new_string(aio));
    }
    return co_img_open(img, &image);
}

static bool co_bench_opened(struct bench *b, bool quiet, uint64_t pattern)
{
    b->length = block_user_length(b->user);
    b->data = aligned_alloc(ALIGN, (b->size * MIN(b->depth, b->n) + ALIGN - 1) / ALIGN * ALIGN);
    if (!b->data) {
        img_fail(b->img, "Not enough memory for the buffers");
        return false;
    }
    memset(b->data, (int)pattern, b->size * MIN(b->depth, b->n));
    block_register_buffer(b->img->graph, b->data, b->size * MIN(b->depth, b->n));
    if (!quiet) {
        printf("Sending %" G_GUINT64_FORMAT " %s requests, %" G_GUINT64_FORMAT
               " bytes each, %" G_GUINT64_FORMAT
               " in parallel (starting at offset %" G_GUINT64_FORMAT
               ", step size %" G_GUINT64_FORMAT ")\n",
               b->n, b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
        if (b->flush_interval) {
            printf("Sending flush every %" G_GUINT64_FORMAT " requests\n", b->flush_interval);
        }
    }
    return co_run(b);
}

static int co_bench(struct img *img, const struct img_args *args)
{
    struct bench b = {.img = img};
    bool direct, no_flush, writethrough, ok;
    const char *aio;
    uint64_t pattern;

    if (!img_cache_mode(args->cache, &direct, &no_flush, &writethrough)) {
        return img_fail(img, "Invalid cache mode");
    }
    aio = aio_of(img, args);
    if (!aio || !parse(&b, args, &pattern)) {
        return 1;
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    b.user = co_open(img, args, aio);
    ok = b.user && co_bench_opened(&b, args->quiet, pattern);
    co_img_close(b.user);
    block_unregister_buffer(img->graph, b.data);
    free(b.data);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    IMG_ROW_CACHE('t', "cache", cache, "cache mode (default: writeback)"),
    {"count", 'c', "COUNT", "requests (default: 75000)", IMG_STRING, IMG_AT(count)},
    {"buffer-size", 's', "SIZE", "bytes of each (default: 4k)", IMG_STRING, IMG_AT(size)},
    {"depth", 'd', "DEPTH", "requests at a time (default: 64)", IMG_STRING, IMG_AT(depth)},
    {"offset", 'o', "OFFSET", "where the first one begins (default: 0)", IMG_STRING,
     IMG_AT(offset)},
    {"step-size", 'S', "STEP", "how far each is from the one before (default: SIZE)", IMG_STRING,
     IMG_AT(step)},
    {"aio", 'i', "AIO", "threads, native or io_uring", IMG_STRING, IMG_AT(aio)},
    {"native", 'n', NULL, "the same as -i native", IMG_FLAG, IMG_AT(native)},
    {"write", 'w', NULL, "write (default: read)", IMG_FLAG, IMG_AT(write)},
    {"pattern", 0, "BYTE", "what is written (default: 0)", IMG_STRING, IMG_AT(pattern)},
    {"flush-interval", 0, "COUNT", "flush after so many writes", IMG_STRING,
     IMG_AT(flush_interval)},
    {"no-drain", 0, NULL, "flush while others are under way", IMG_FLAG, IMG_AT(no_drain)},
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_bench = {
    "bench", "measure how long requests take", "FILENAME", options, co_bench, 1,
};
