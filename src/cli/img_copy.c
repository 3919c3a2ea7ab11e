/* See img_convert.h. */
#include "cli/img_convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

enum { ALIGN = 4096, VECTOR = 64 };
enum kind { PIECE_DATA, PIECE_ZERO, PIECE_BASE }; /* BASE: the target's backing image has it */

struct piece {
    uint64_t offset, bytes, turn;
    enum kind kind;
};

/*
 * A disk wants large pieces; a processor's cache should hold what comes and goes through the
 * host's.
 */
enum { CHUNK_DIRECT = 2 << 20, CHUNK_CACHED = 512 << 10 };

struct copy {
    const struct img_copy *c;
    uint64_t chunk; /* bytes */
    struct co_mutex planning; /* of the next four, while the status of a source is asked for */
    uint64_t position;        /* up to where pieces were given out */
    uint64_t known;           /* up to where it is of known_kind */
    enum kind known_kind;
    unsigned source;
    uint64_t next_turn, turn; /* given out; whose write may begin */
    struct co_queue turns;
    bool no_copy_range, failed;
    unsigned n_running;
    struct coroutine *waiting;
    int64_t start; /* ns */
    uint64_t written;
};

/* ---- Zeroes ---- */

typedef uint64_t vector __attribute__((vector_size(VECTOR), aligned(1), may_alias));

/* In steps that a compiler makes wide loads of; most data ends in the first one. */
static bool is_zero(const uint8_t *data, size_t size)
{
    size_t i = 0;

    for (; i + 4 * VECTOR <= size; i += 4 * VECTOR) {
        const vector *v = (const vector *)(data + i);
        vector all = v[0] | v[1] | v[2] | v[3];

        if (all[0] | all[1] | all[2] | all[3] | all[4] | all[5] | all[6] | all[7]) {
            return false;
        }
    }
    for (; i < size; i++) {
        if (data[i]) {
            return false;
        }
    }
    return true;
}

size_t img_run(const uint8_t *data, size_t size, size_t unit, bool *zero)
{
    size_t n = MIN(unit, size);

    *zero = is_zero(data, n);
    while (n < size && is_zero(data + n, MIN(unit, size - n)) == *zero) {
        n += MIN(unit, size - n);
    }
    return n;
}

/* ---- What comes next ---- */

static enum kind kind_of(const struct copy *copy, unsigned flags)
{
    if (flags & BLOCK_STATUS_ZERO) {
        return copy->c->sparse ? PIECE_ZERO : PIECE_DATA;
    }
    return flags & BLOCK_STATUS_DATA || !copy->c->has_base ? PIECE_DATA : PIECE_BASE;
}

static int co_status(const struct copy *copy, const struct img_source *source, uint64_t offset,
                     struct block_status *status)
{
    uint64_t rest = source->length - offset;

    /* On top of a base only what the image itself has is copied. */
    return copy->c->has_base ? co_node_status(block_user_node(source->user), offset, rest, status)
                             : co_block_status(source->user, offset, rest, status);
}

/* Finds out what is at position. */
static bool co_look(struct copy *copy)
{
    const struct img_copy *c = copy->c;
    const struct img_source *source = &c->sources[copy->source];
    struct block_status status = {0};
    int ret;

    while (copy->position >= source->start + source->length) {
        source = &c->sources[++copy->source];
    }
    ret = co_status(copy, source, copy->position - source->start, &status);
    if (ret < 0 && c->salvage) {
        status = (struct block_status){
            .flags = BLOCK_STATUS_DATA,
            .bytes = MIN(copy->chunk, source->start + source->length - copy->position)};
    } else if (ret < 0) {
        img_fail(c->img, "error while reading block status at offset %" G_GUINT64_FORMAT ": %s",
                 copy->position, g_strerror(-ret));
        return false;
    }
    copy->known_kind = kind_of(copy, status.flags);
    copy->known = copy->position + status.bytes;
    if (copy->known_kind == PIECE_BASE && copy->position >= c->target_base) {
        copy->known_kind = PIECE_ZERO;
    } else if (copy->known_kind == PIECE_BASE) {
        copy->known = MIN(copy->known, c->target_base);
    }
    return true;
}

/* Whole clusters: of zeroes if all of it is, else one with data. */
static void cut_cluster(const struct copy *copy, struct piece *piece)
{
    uint64_t cluster = copy->c->cluster, end = piece->offset + piece->bytes;

    end = end == copy->c->total ? end : end / cluster * cluster;
    if (piece->kind == PIECE_DATA || end <= piece->offset) {
        piece->kind = PIECE_DATA;
        end = MIN(piece->offset + cluster, copy->c->total);
    }
    piece->bytes = end - piece->offset;
}

/* False: nothing is left, or an error. */
static bool co_next(struct copy *copy, struct piece *piece)
{
    bool found = false;

    co_mutex_lock(&copy->planning);
    while (!copy->failed && copy->position < copy->c->total) {
        if (copy->position >= copy->known && !co_look(copy)) {
            copy->failed = true;
            break;
        }
        *piece = (struct piece){copy->position, MIN(copy->known, copy->c->total) - copy->position,
                                0, copy->known_kind};
        if (copy->c->compress) {
            cut_cluster(copy, piece);
        } else if (piece->kind == PIECE_DATA) {
            /* Ends where the next chunk begins, so that clusters aren't cut. */
            piece->bytes = MIN(piece->bytes, copy->chunk - piece->offset % copy->chunk);
        }
        copy->position += piece->bytes;
        if (piece->kind == PIECE_BASE || (piece->kind == PIECE_ZERO && copy->c->zero)) {
            img_progress_add(copy->c->img, piece->bytes);
            continue;
        }
        piece->turn = copy->next_turn++;
        found = true;
        break;
    }
    co_mutex_unlock(&copy->planning);
    return found;
}

/* ---- Reading ---- */

/* The first failure is told; those of others that were under way say nothing new. */
static bool fails_first(struct copy *copy)
{
    bool first = !copy->failed;

    copy->failed = true;
    return first;
}

static bool read_failed(struct copy *copy, uint64_t offset, int ret)
{
    if (!copy->c->salvage && fails_first(copy)) {
        img_fail(copy->c->img, "error while reading at byte %" G_GUINT64_FORMAT ": %s", offset,
                 g_strerror(-ret));
    } else if (copy->c->salvage && !copy->c->quiet) {
        log_warn(copy->c->img->log, "error while reading offset %" G_GUINT64_FORMAT ": %s", offset,
                 g_strerror(-ret));
    }
    return copy->c->salvage;
}

/* By and by, so that only what can't be read is lost. */
static bool co_salvage(struct copy *copy, const struct img_source *source, uint64_t offset,
                       uint64_t bytes, uint8_t *data)
{
    enum { SECTOR = 512 };

    for (uint64_t done = 0; done < bytes; done += SECTOR) {
        uint64_t n = MIN(SECTOR, bytes - done);
        int ret = co_block_read(source->user, offset - source->start + done, n,
                                BLOCK_BUFFER(data + done, n), 0);

        if (ret < 0) {
            memset(data + done, 0, n);
            if (!read_failed(copy, offset + done, ret)) {
                return false;
            }
        }
    }
    return true;
}

static bool co_read(struct copy *copy, const struct piece *piece, uint8_t *data)
{
    uint64_t offset = piece->offset, bytes = piece->bytes;

    for (unsigned i = 0; bytes && i < copy->c->n_sources; i++) {
        const struct img_source *source = &copy->c->sources[i];
        uint64_t end = source->start + source->length, n;
        int ret;

        if (offset >= end) {
            continue;
        }
        n = MIN(bytes, end - offset);
        ret = co_block_read(source->user, offset - source->start, n, BLOCK_BUFFER(data, n), 0);
        if (ret < 0 && (copy->c->salvage ? !co_salvage(copy, source, offset, n, data)
                                         : !read_failed(copy, offset, ret))) {
            return false;
        }
        offset += n;
        bytes -= n;
        data += n;
    }
    return true;
}

/* ---- Writing ---- */

/* Whoever is next goes on at the loop's next turn, when this one's write is under way. */
static bool co_take_turn(struct copy *copy, const struct piece *piece)
{
    while (copy->c->in_order && copy->turn != piece->turn && !copy->failed) {
        co_queue_wait(&copy->turns, NULL);
    }
    copy->turn++;
    co_queue_wake_all(&copy->turns);
    return !copy->failed;
}

static void co_keep_rate(struct copy *copy, uint64_t bytes)
{
    int64_t due, now;

    if (copy->c->rate) {
        due = copy->start + (int64_t)((double)copy->written / (double)copy->c->rate * 1e9);
        copy->written += bytes;
        now = clocks_now(NULL, CLOCK_REAL);
        if (due > now) {
            co_sleep(due - now);
        }
    }
}

static bool check_write(struct copy *copy, uint64_t offset, int ret)
{
    if (ret < 0 && fails_first(copy)) {
        img_fail(copy->c->img, "error while writing at byte %" G_GUINT64_FORMAT ": %s", offset,
                 g_strerror(-ret));
    }
    return ret >= 0;
}

static bool co_write_zeroes(struct copy *copy, uint64_t offset, uint64_t bytes)
{
    return copy->c->zero ||
           check_write(copy, offset,
                       co_block_write_zeroes(copy->c->target, offset, bytes, BLOCK_MAY_UNMAP));
}

static bool co_write_some(struct copy *copy, uint64_t offset, uint64_t bytes, const uint8_t *data)
{
    unsigned flags = copy->c->compress ? BLOCK_COMPRESSED : 0;

    co_keep_rate(copy, bytes);
    return check_write(copy, offset,
                       co_block_write(copy->c->target, offset, bytes, BLOCK_BUFFER(data, bytes),
                                      flags));
}

/* Without what is zeroes, in units of what the target can leave out. */
static bool co_write(struct copy *copy, const struct piece *piece, const uint8_t *data)
{
    const struct img_copy *c = copy->c;
    uint64_t unit = c->compress ? piece->bytes : MAX(c->sparse, c->cluster), done = 0;

    if (!c->sparse) {
        return co_write_some(copy, piece->offset, piece->bytes, data);
    }
    while (done < piece->bytes) {
        uint64_t offset = piece->offset + done, into = c->compress ? 0 : offset % unit;
        uint64_t most = into ? MIN(unit - into, piece->bytes - done) : piece->bytes - done;
        bool zero;
        size_t n = img_run(data + done, most, unit, &zero);

        if (zero ? !co_write_zeroes(copy, offset, n)
                 : !co_write_some(copy, offset, n, data + done)) {
            return false;
        }
        done += n;
    }
    return true;
}

/* ---- Workers ---- */

/* -ENOTSUP: read and write instead. */
static int co_copy_range(struct copy *copy, const struct piece *piece)
{
    const struct img_copy *c = copy->c;

    if (!c->copy_range || copy->no_copy_range || c->compress || piece->kind != PIECE_DATA) {
        return -ENOTSUP;
    }
    for (unsigned i = 0; i < c->n_sources; i++) {
        const struct img_source *source = &c->sources[i];

        if (piece->offset >= source->start &&
            piece->offset + piece->bytes <= source->start + source->length) {
            int ret = co_block_copy_range(source->user, piece->offset - source->start, c->target,
                                          piece->offset, piece->bytes, 0);

            copy->no_copy_range = ret < 0;
            return ret < 0 ? -ENOTSUP : 0;
        }
    }
    return -ENOTSUP;
}

static bool co_do_piece(struct copy *copy, const struct piece *piece, uint8_t *buffer)
{
    if (piece->kind == PIECE_ZERO) {
        return co_take_turn(copy, piece) && co_write_zeroes(copy, piece->offset, piece->bytes);
    }
    if (copy->c->copy_range && !copy->no_copy_range && !copy->c->compress) {
        if (!co_take_turn(copy, piece)) {
            return false;
        }
        co_keep_rate(copy, piece->bytes);
        return co_copy_range(copy, piece) == 0 ||
               (co_read(copy, piece, buffer) && co_write(copy, piece, buffer));
    }
    return co_read(copy, piece, buffer) && co_take_turn(copy, piece) &&
           co_write(copy, piece, buffer);
}

static void co_work(void *opaque)
{
    struct copy *copy = opaque;
    size_t size = copy->c->compress ? copy->c->cluster : copy->chunk;
    g_autofree uint8_t *memory = g_malloc(size + ALIGN);
    uint8_t *buffer = (uint8_t *)(((uintptr_t)memory + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    struct piece piece;

    while (co_next(copy, &piece)) {
        if (!co_do_piece(copy, &piece, buffer)) {
            copy->failed = true;
            co_queue_wake_all(&copy->turns);
            break;
        }
        img_progress_add(copy->c->img, piece.bytes);
    }
    if (--copy->n_running == 0 && copy->waiting) {
        coroutine_wake(copy->waiting);
    }
}

bool co_img_copy(const struct img_copy *c)
{
    struct copy copy = {
        .c = c,
        .chunk = MAX(c->direct ? CHUNK_DIRECT : CHUNK_CACHED, c->cluster),
        .start = clocks_now(NULL, CLOCK_REAL),
        .n_running = c->n_workers,
    };

    co_mutex_init(&copy.planning);
    co_queue_init(&copy.turns);
    for (unsigned i = 0; i < c->n_workers; i++) {
        coroutine_start(c->img->loop, co_work, &copy);
    }
    while (copy.n_running) {
        copy.waiting = coroutine_self();
        co_yield ();
    }
    co_queue_clear(&copy.turns);
    co_mutex_clear(&copy.planning);
    return !copy.failed;
}
