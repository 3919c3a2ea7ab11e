/*
 * Compressed clusters (spec, "Compressed clusters"). zlib means raw deflate with a window of 4 KiB,
 * which only zlib can be told to write; libdeflate, which is faster, reads it. Each job runs in one
 * of the loop's threads, with a context that is used again.
 */
#include "block/qcow2.h"

#include <libdeflate.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { WINDOW_BITS = 12, MEMORY_LEVEL = 9 };

struct context {
    struct context *next;
    z_stream deflate;
    bool deflate_ready;
    struct libdeflate_decompressor *inflate;
    ZSTD_CCtx *zstd_out;
    ZSTD_DCtx *zstd_in;
};

struct pool {
    GMutex lock;
    struct context *free;
};

struct job {
    struct qcow2 *q;
    struct context *context;
    const void *in;
    void *out;
    size_t in_size, out_size;
    int64_t result;
};

static void compress_zlib(struct job *job)
{
    z_stream *stream = &job->context->deflate;
    int ret;

    job->result = -EIO;
    if (!job->context->deflate_ready) {
        if (deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
            return;
        }
        job->context->deflate_ready = true;
    } else {
        deflateReset(stream);
    }
    stream->next_in = (void *)job->in;
    stream->avail_in = job->in_size;
    stream->next_out = job->out;
    stream->avail_out = job->out_size;
    ret = deflate(stream, Z_FINISH);
    if (ret == Z_STREAM_END) {
        job->result = job->out_size - stream->avail_out;
    } else {
        job->result = ret == Z_OK || ret == Z_BUF_ERROR ? -ENOMEM : -EIO;
    }
}

static void compress_zstd(struct job *job)
{
    struct context *context = job->context;
    size_t size;

    if (!context->zstd_out) {
        context->zstd_out = ZSTD_createCCtx();
    }
    if (!context->zstd_out) {
        job->result = -EIO;
        return;
    }
    /* In one call: the frame then tells its size, and anybody's streaming reader takes it. */
    size = ZSTD_compress2(context->zstd_out, job->out, job->out_size, job->in, job->in_size);
    job->result = ZSTD_isError(size) ? -ENOMEM : (int64_t)size;
}

/*
 * Data that is packed or encrypted already: each byte is about as frequent as the others, and
 * hardly any four bytes come again. To find this out takes a small part of what zlib's compressing
 * in vain does (zstd sees it for itself).
 */
static bool is_dense(const uint8_t *data, size_t size)
{
    enum { HASH_BITS = 12, KINDS = 256 };
    uint32_t count[2][KINDS] = {0}, last[1 << HASH_BITS] = {0};
    uint64_t sum = 0, even = (uint64_t)size * size / KINDS;
    size_t again = 0;

    for (size_t i = 0; i + 2 <= size; i += 2) {
        count[0][data[i]]++;
        count[1][data[i + 1]]++;
    }
    for (unsigned i = 0; i < KINDS; i++) {
        uint64_t n = count[0][i] + count[1][i];

        sum += n * n;
    }
    /* Chance alone adds size to the least that the sum can be. */
    if (sum > even + even / 64 + 2 * size) {
        return false;
    }
    for (size_t i = 0; i + sizeof(uint32_t) <= size; i++) {
        uint32_t four, before, *slot;

        memcpy(&four, data + i, sizeof(four));
        slot = &last[four * 2654435761u >> (32 - HASH_BITS)];
        memcpy(&before, data + *slot, sizeof(before));
        again += before == four && *slot != i;
        *slot = (uint32_t)i;
    }
    return again < size / 256;
}

static void compress_job(void *opaque)
{
    struct job *job = opaque;

    if (job->q->header.compression == QCOW2_ZSTD) {
        compress_zstd(job);
    } else if (is_dense(job->in, job->in_size)) {
        job->result = -ENOMEM;
    } else {
        compress_zlib(job);
    }
    if (job->result >= (int64_t)job->in_size) {
        job->result = -ENOMEM;
    }
}

static void decompress_zlib(struct job *job)
{
    struct context *context = job->context;
    enum libdeflate_result ret;
    size_t n;

    if (!context->inflate) {
        context->inflate = libdeflate_alloc_decompressor();
    }
    if (!context->inflate) {
        job->result = -ENOMEM;
        return;
    }
    ret = libdeflate_deflate_decompress_ex(context->inflate, job->in, job->in_size, job->out,
                                           job->out_size, NULL, &n);
    job->result = ret == LIBDEFLATE_SUCCESS && n == job->out_size ? 0 : -EIO;
}

/* The frame's end isn't known: what follows it in the last sector is somebody else's. */
static void decompress_zstd(struct job *job)
{
    struct context *context = job->context;
    ZSTD_inBuffer in = {job->in, job->in_size, 0};
    ZSTD_outBuffer out = {job->out, job->out_size, 0};
    size_t ret = 1, before;

    if (!context->zstd_in) {
        context->zstd_in = ZSTD_createDCtx();
    }
    job->result = -EIO;
    if (!context->zstd_in) {
        return;
    }
    ZSTD_DCtx_reset(context->zstd_in, ZSTD_reset_session_only);
    while (out.pos < out.size) {
        before = in.pos + out.pos;
        ret = ZSTD_decompressStream(context->zstd_in, &out, &in);
        if (ZSTD_isError(ret) || (in.pos + out.pos == before)) {
            return;
        }
    }
    job->result = 0;
}

static void decompress_job(void *opaque)
{
    struct job *job = opaque;

    if (job->q->header.compression == QCOW2_ZSTD) {
        decompress_zstd(job);
    } else {
        decompress_zlib(job);
    }
}

static struct context *take_context(struct qcow2 *q)
{
    struct pool *pool = q->compressors;
    struct context *context;

    g_mutex_lock(&pool->lock);
    context = pool->free;
    if (context) {
        pool->free = context->next;
    }
    g_mutex_unlock(&pool->lock);
    return context ? context : g_new0(struct context, 1);
}

static void put_context(struct qcow2 *q, struct context *context)
{
    struct pool *pool = q->compressors;

    g_mutex_lock(&pool->lock);
    context->next = pool->free;
    pool->free = context;
    g_mutex_unlock(&pool->lock);
}

static void co_run(struct job *job, event_fn *fn)
{
    job->context = take_context(job->q);
    co_run_in_pool(fn, job);
    put_context(job->q, job->context);
}

int64_t co_qcow2_compress(struct qcow2 *q, const void *in, void *out)
{
    struct job job = {
        .q = q, .in = in, .in_size = q->cluster_size, .out = out, .out_size = q->cluster_size - 1};

    co_run(&job, compress_job);
    return job.result;
}

int co_qcow2_decompress(struct qcow2 *q, const void *in, size_t size, void *out)
{
    struct job job = {.q = q, .in = in, .in_size = size, .out = out, .out_size = q->cluster_size};

    co_run(&job, decompress_job);
    return job.result;
}

void qcow2_compress_init(struct qcow2 *q)
{
    struct pool *pool = g_new0(struct pool, 1);

    g_mutex_init(&pool->lock);
    q->compressors = pool;
}

void qcow2_compress_free(struct qcow2 *q)
{
    struct pool *pool = q->compressors;
    struct context *context;

    if (!pool) {
        return;
    }
    while ((context = pool->free)) {
        pool->free = context->next;
        if (context->deflate_ready) {
            deflateEnd(&context->deflate);
        }
        if (context->inflate) {
            libdeflate_free_decompressor(context->inflate);
        }
        ZSTD_freeCCtx(context->zstd_out);
        ZSTD_freeDCtx(context->zstd_in);
        g_free(context);
    }
    g_mutex_clear(&pool->lock);
    g_free(pool);
    q->compressors = NULL;
}
