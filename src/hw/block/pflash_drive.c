#include "hw/block/pflash_drive.h"

#include <string.h>

#include "block/block.h"
#include "block/delay.h"
#include "qapi/error.h"
#include "util/iothread.h"
#include "util/log.h"

enum {
    MAX_BACKLOG = 4 << 20,      /* bytes that may wait before the device is busy */
    MAX_MERGED = 256 << 10,     /* bytes of a piece that grows */
};

/* A request, and its data. */
struct piece {
    struct block_request request;
    struct pflash_drive *drive;
    GByteArray *data;
    struct iovec iov;
};

struct pflash_drive {
    struct block_graph *blocks;
    struct log *log;
    char *path;                 /* of the device */
    struct block_user *user;
    struct iothread *thread;
    bool read_only;

    GMutex lock;                /* a device's may be held, and requests are submitted with it */
    GCond idle;                 /* working became false */
    /* Under the lock. */
    GQueue waiting;             /* struct piece */
    size_t backlog;             /* bytes of these and of the one under way, with what they cost */
    bool working;               /* next() is posted, or a request is under way */
    bool submitting;            /* the thread is in block_submit, and has the lock */
    unsigned held;              /* reasons to start none */
    bool warned;
};

/* ---- Writing ---- */

static size_t cost_of(const struct piece *piece)
{
    return piece->data->len + sizeof(*piece);
}

static void free_piece(void *opaque)
{
    struct piece *piece = opaque;

    g_byte_array_unref(piece->data);
    g_free(piece);
}

static void submit(struct piece *piece, enum block_op op)
{
    struct pflash_drive *drive = piece->drive;

    piece->iov = (struct iovec){piece->data->data, piece->data->len};
    piece->request.op = op;
    piece->request.bytes = piece->data->len;
    piece->request.buffer = (struct block_buffer){&piece->iov, 1, 0};
    block_submit(drive->user, &piece->request);
}

/* On the thread: takes up what has waited longest. It is submitted with the lock: a drained section
 * that begins meanwhile would keep it back, and whoever waits for it, too. */
static void next(void *opaque)
{
    struct pflash_drive *drive = opaque;
    struct piece *piece;

    g_mutex_lock(&drive->lock);
    piece = drive->held ? NULL : g_queue_pop_head(&drive->waiting);
    if (piece) {
        drive->submitting = true;
        submit(piece, BLOCK_WRITE);
        drive->submitting = false;
    } else {
        drive->working = false;
        g_cond_broadcast(&drive->idle);
    }
    g_mutex_unlock(&drive->lock);
}

static void written(struct block_request *request)
{
    struct piece *piece = (struct piece *)request;
    struct pflash_drive *drive = piece->drive;
    bool nested = drive->submitting, warn;

    if (!nested) {
        g_mutex_lock(&drive->lock);
    }
    drive->backlog -= cost_of(piece);
    warn = request->result < 0 && !drive->warned;
    drive->warned |= warn;
    if (!nested) {
        g_mutex_unlock(&drive->lock);
    }
    if (warn) {
        log_warn(drive->log, "%s: what the guest wrote into the flash can't be kept: %s",
                 drive->path, g_strerror(-request->result));
    }
    free_piece(piece);
    /* Not from here: a node that ends requests at once would have them nest. */
    event_loop_post(iothread_loop(drive->thread), next, drive);
}

/* With the lock. */
static void start(struct pflash_drive *drive)
{
    if (!drive->working && !drive->held && drive->waiting.length) {
        drive->working = true;
        event_loop_post(iothread_loop(drive->thread), next, drive);
    }
}

static struct piece *new_piece(struct pflash_drive *drive, uint64_t offset,
                               void (*done)(struct block_request *request))
{
    struct piece *piece = g_new0(struct piece, 1);

    piece->drive = drive;
    piece->data = g_byte_array_new();
    piece->request.offset = offset;
    piece->request.done = done;
    return piece;
}

void pflash_drive_write(struct pflash_drive *drive, uint64_t offset, const void *data, size_t size)
{
    struct piece *last;

    g_mutex_lock(&drive->lock);
    last = g_queue_peek_tail(&drive->waiting);
    /* Drivers program word by word: what goes on where the last one ended joins it. */
    if (!last || last->request.offset + last->data->len != offset ||
        last->data->len + size > MAX_MERGED) {
        last = new_piece(drive, offset, written);
        g_queue_push_tail(&drive->waiting, last);
        drive->backlog += cost_of(last);
    }
    g_byte_array_append(last->data, data, (guint)size);
    drive->backlog += size;
    start(drive);
    g_mutex_unlock(&drive->lock);
}

bool pflash_drive_busy(struct pflash_drive *drive)
{
    bool busy;

    g_mutex_lock(&drive->lock);
    busy = drive->backlog > MAX_BACKLOG;
    g_mutex_unlock(&drive->lock);
    return busy;
}

void pflash_drive_settle(struct pflash_drive *drive)
{
    g_mutex_lock(&drive->lock);
    if (drive->working) {
        block_hurry_begin(drive->blocks);
        while (drive->working) {
            g_cond_wait(&drive->idle, &drive->lock);
        }
        block_hurry_end(drive->blocks);
    }
    g_mutex_unlock(&drive->lock);
}

/* ---- The block layer's calls ---- */

static void drain_begin(void *opaque)
{
    struct pflash_drive *drive = opaque;

    g_mutex_lock(&drive->lock);
    drive->held++;
    g_mutex_unlock(&drive->lock);
}

static void drain_end(void *opaque)
{
    struct pflash_drive *drive = opaque;

    g_mutex_lock(&drive->lock);
    drive->held--;
    start(drive);
    g_mutex_unlock(&drive->lock);
}

static char *describe(void *opaque)
{
    return g_strdup(((struct pflash_drive *)opaque)->path);
}

static const struct block_user_ops user_ops = {
    .drain_begin = drain_begin,
    .drain_end = drain_end,
    .describe = describe,
    .no_io_status = true,
};

/* ---- Making ---- */

static bool attach(struct pflash_drive *drive, const char *name, size_t size, GError **error)
{
    struct block_node *node = drive->blocks ? block_node_find(drive->blocks, name, NULL) : NULL;
    /* Others may read it meanwhile, and write what this device doesn't. */
    unsigned perm = BLOCK_PERM_CONSISTENT_READ, shared = BLOCK_PERM_ALL;
    uint64_t length;

    if (!node) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Property 'cfi.pflash01.drive' can't find value '%s'", name);
        return false;
    }
    drive->user = block_user_new(drive->blocks, NULL, &user_ops, drive);
    drive->read_only = node->read_only;
    if (!drive->read_only) {
        perm |= BLOCK_PERM_WRITE;
        shared &= ~(unsigned)BLOCK_PERM_WRITE;
    }
    if (!block_user_attach(drive->user, node, perm, shared, error)) {
        return false;
    }
    length = block_user_length(drive->user);
    if (length != size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "cfi.pflash01 device '%s' requires %zu bytes, %s block backend provides "
                    "%" PRIu64 " bytes",
                    drive->path, size, block_user_name(drive->user), length);
        return false;
    }
    return true;
}

static void start_reading(void *opaque)
{
    submit(opaque, BLOCK_READ);
}

static void was_read(struct block_request *request)
{
    struct pflash_drive *drive = ((struct piece *)request)->drive;

    g_mutex_lock(&drive->lock);
    drive->working = false;
    g_cond_broadcast(&drive->idle);
    g_mutex_unlock(&drive->lock);
}

static bool read_all(struct pflash_drive *drive, void *contents, size_t size, GError **error)
{
    struct piece *piece = new_piece(drive, 0, was_read);
    int result;

    g_byte_array_set_size(piece->data, (guint)size);
    drive->working = true;
    event_loop_post(iothread_loop(drive->thread), start_reading, piece);
    pflash_drive_settle(drive);
    result = piece->request.result;
    if (result < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "can't read block backend of '%s': %s", drive->path, g_strerror(-result));
    } else {
        memcpy(contents, piece->data->data, size);
    }
    free_piece(piece);
    return result >= 0;
}

struct pflash_drive *pflash_drive_new(struct mmio_device *dev, const char *name, void *contents,
                                      size_t size, GError **error)
{
    auto_ptr(pflash_drive) drive = g_new0(struct pflash_drive, 1);
    g_autofree char *thread = g_strdup_printf("IO %s", dev->device.object.name);

    drive->blocks = dev->hw->blocks;
    drive->log = dev->hw->log;
    drive->path = object_path(&dev->device.object);
    g_mutex_init(&drive->lock);
    g_cond_init(&drive->idle);
    g_queue_init(&drive->waiting);
    if (!attach(drive, name, size, error)) {
        return NULL;
    }
    drive->thread = iothread_new(thread, drive->log, error);
    if (!drive->thread || !read_all(drive, contents, size, error)) {
        return NULL;
    }
    return g_steal_pointer(&drive);
}

void pflash_drive_free(struct pflash_drive *drive)
{
    if (!drive) {
        return;
    }
    pflash_drive_settle(drive);
    g_clear_pointer(&drive->user, block_user_free);
    g_clear_pointer(&drive->thread, iothread_free);
    g_queue_clear_full(&drive->waiting, free_piece);
    g_mutex_clear(&drive->lock);
    g_cond_clear(&drive->idle);
    g_free(drive->path);
    g_free(drive);
}

bool pflash_drive_read_only(const struct pflash_drive *drive)
{
    return drive->read_only;
}
