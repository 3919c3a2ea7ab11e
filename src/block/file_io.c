/* Data to and from a file: by io_uring, Linux AIO, or threads. Any event loop. */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include "block/file.h"

enum { STACK_IOV = 8 };

/* ---- Threads ---- */

struct job {
    file_job *fn;
    void *opaque;
    int result;
};

static void run_job(void *opaque)
{
    struct job *job = opaque;

    job->result = job->fn(job->opaque);
}

int co_file_run(file_job *fn, void *opaque)
{
    struct job job = {fn, opaque, 0};

    co_run_in_pool(run_job, &job);
    return job.result;
}

struct transfer {
    struct file_state *s;
    bool is_write, dsync;
    const struct iovec *iov;
    unsigned n;
    uint64_t offset;
};

/* Kernels and file systems without RWF_DSYNC get two calls. */
static ssize_t write_and_sync(const struct transfer *t)
{
    ssize_t result = -1;

    if (!atomic_load_explicit(&t->s->no_dsync, memory_order_relaxed)) {
        result = pwritev2(t->s->fd, t->iov, (int)t->n, (off_t)t->offset, RWF_DSYNC);
        if (result >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) {
            return result;
        }
        atomic_store(&t->s->no_dsync, true);
    }
    result = pwritev(t->s->fd, t->iov, (int)t->n, (off_t)t->offset);
    return result >= 0 && fdatasync(t->s->fd) < 0 ? -1 : result;
}

static int transfer_job(void *opaque)
{
    const struct transfer *t = opaque;
    ssize_t result;

    do {
        result = !t->is_write ? preadv(t->s->fd, t->iov, (int)t->n, (off_t)t->offset)
                 : t->dsync   ? write_and_sync(t)
                              : pwritev(t->s->fd, t->iov, (int)t->n, (off_t)t->offset);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : (int)result;
}

/* ---- io_uring ---- */

struct uring_wait {
    struct uring_request request; /* first */
    struct coroutine *co;
    int result;
    bool over;
};

static void uring_done(struct uring_request *request, int result)
{
    struct uring_wait *wait = (struct uring_wait *)request;

    wait->result = result;
    wait->over = true;
    coroutine_enter(wait->co);
}

static int uring_wait(struct uring_wait *wait)
{
    while (!wait->over) {
        co_yield ();
    }
    return wait->result;
}

static void prepare(struct io_uring_sqe *sqe, const struct transfer *t)
{
    /* user_data is the loop's; preparing an entry doesn't touch it. */
    int fd = t->s->fd, flags = t->dsync ? RWF_DSYNC : 0;

    if (t->n == 1) {
        if (t->is_write) {
            io_uring_prep_write(sqe, fd, t->iov->iov_base, (unsigned)t->iov->iov_len, t->offset);
        } else {
            io_uring_prep_read(sqe, fd, t->iov->iov_base, (unsigned)t->iov->iov_len, t->offset);
        }
        sqe->rw_flags = flags;
    } else if (t->is_write) {
        io_uring_prep_writev2(sqe, fd, t->iov, t->n, t->offset, flags);
    } else {
        io_uring_prep_readv(sqe, fd, t->iov, t->n, t->offset);
    }
}

/* False: this loop has no ring. */
static bool co_uring_transfer(const struct transfer *t, int *result)
{
    do {
        struct uring_wait wait = {{uring_done}, coroutine_self(), 0, false};
        struct io_uring_sqe *sqe = event_loop_sqe(coroutine_loop(wait.co), &wait.request);
        uint64_t data;

        if (!sqe) {
            return false;
        }
        data = sqe->user_data;
        prepare(sqe, t);
        sqe->user_data = data;
        *result = uring_wait(&wait);
    } while (*result == -EINTR || *result == -EAGAIN);
    return true;
}

static bool co_uring_sync(struct file_state *s, int *result)
{
    struct uring_wait wait = {{uring_done}, coroutine_self(), 0, false};
    struct io_uring_sqe *sqe = event_loop_sqe(coroutine_loop(wait.co), &wait.request);
    uint64_t data;

    if (!sqe) {
        return false;
    }
    data = sqe->user_data;
    io_uring_prep_fsync(sqe, s->fd, IORING_FSYNC_DATASYNC);
    sqe->user_data = data;
    *result = uring_wait(&wait);
    return true;
}

/* ---- Whole requests ---- */

static int transfer_once(struct transfer *t)
{
    struct file_state *s = t->s;
    ssize_t moved;
    int result;

    switch (s->aio) {
    case QAPI_BLOCKDEV_AIO_OPTIONS_IO_URING:
        if (!(t->dsync && s->no_dsync) && co_uring_transfer(t, &result)) {
            if (t->dsync && result == -EOPNOTSUPP) {
                break; /* the thread knows what to do */
            }
            return result;
        }
        break;
    case QAPI_BLOCKDEV_AIO_OPTIONS_NATIVE:
        if (!(t->dsync && s->no_dsync) &&
            co_laio_transfer(t->is_write, s->fd, t->iov, t->n, t->offset, t->dsync, s->max_batch,
                             &moved) &&
            !(t->dsync && moved == -EOPNOTSUPP)) {
            return (int)moved;
        }
        break;
    default: break;
    }
    return co_file_run(transfer_job, t);
}

/* One call of the kernel's as a rule; the rest if it did less. A read ends with zeroes at the
 * file's end. */
static int transfer_all(struct transfer *t, uint64_t bytes, struct block_buffer buffer)
{
    struct iovec on_stack[STACK_IOV], *iov = on_stack;
    int result = 0;

    if (buffer.n_iov > STACK_IOV) {
        iov = g_new(struct iovec, buffer.n_iov);
    }
    while (bytes) {
        t->n = block_buffer_slice(buffer, bytes, iov);
        t->iov = iov;
        result = transfer_once(t);
        if (result == 0 && !t->is_write) {
            block_buffer_zero(buffer, bytes);
            break;
        }
        if (result <= 0) {
            result = result ? result : -ENOSPC;
            break;
        }
        bytes -= (uint64_t)result;
        t->offset += (uint64_t)result;
        if (bytes) {
            buffer = block_buffer_skip(buffer, (size_t)result);
            if (!t->is_write && t->s->direct &&
                t->offset >= (uint64_t)MAX(file_size(t->s->fd, t->s->is_device), 0)) {
                block_buffer_zero(buffer, bytes); /* what is left isn't aligned */
                break;
            }
        }
    }
    if (iov != on_stack) {
        g_free(iov);
    }
    return MIN(result, 0);
}

int co_file_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                 struct block_buffer buffer, unsigned flags)
{
    struct transfer t = {.s = node->state, .offset = offset};

    return transfer_all(&t, bytes, buffer);
}

int co_file_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    struct transfer t = {
        .s = node->state, .is_write = true, .dsync = flags & BLOCK_FUA, .offset = offset};

    return transfer_all(&t, bytes, buffer);
}

static int sync_job(void *opaque)
{
    struct file_state *s = opaque;

    return fdatasync(s->fd) < 0 ? -errno : 0;
}

int co_file_flush(struct block_node *node)
{
    struct file_state *s = node->state;
    int result = s->sync_error;

    if (result) {
        return result;
    }
    if (s->aio != QAPI_BLOCKDEV_AIO_OPTIONS_IO_URING || !co_uring_sync(s, &result)) {
        result = co_file_run(sync_job, s);
    }
    if (result < 0 && result != -EINTR && !s->direct) {
        s->sync_error = result;
    }
    return result;
}
