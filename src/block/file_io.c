/* Data to and from a file: by io_uring, Linux AIO, or threads. Any event loop. */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include "block/file.h"

enum { STACK_IOV = 8, MAX_HERE = 64 << 10 /* bytes */ };

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
    struct block_graph *registered; /* whose memory it may be in; NULL: it isn't */
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

/*
 * What is in memory is copied here: that takes less than to wake a thread, and most of an image's
 * tables are in the host's cache. False: it isn't, or is much.
 */
static bool transfer_here(const struct transfer *t, int *result)
{
    struct file_state *s = t->s;
    size_t bytes = 0;
    ssize_t n;

    for (unsigned i = 0; i < t->n; i++) {
        bytes += t->iov[i].iov_len;
    }
    if (bytes > MAX_HERE) {
        return false;
    }
    if (s->in_memory) {
        *result = transfer_job((void *)t);
        return true;
    }
    if (t->is_write || s->direct || atomic_load_explicit(&s->no_nowait, memory_order_relaxed)) {
        return false;
    }
    n = preadv2(s->fd, t->iov, (int)t->n, (off_t)t->offset, RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        atomic_store(&s->no_nowait, true);
    }
    *result = (int)n;
    return n >= 0;
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

/* One piece of memory, at the number that io_uring has for it, or -1. */
static void prepare_one(struct io_uring_sqe *sqe, const struct transfer *t, int index)
{
    void *data = t->iov->iov_base;
    unsigned size = (unsigned)t->iov->iov_len;

    if (index < 0 && t->is_write) {
        io_uring_prep_write(sqe, t->s->fd, data, size, t->offset);
    } else if (index < 0) {
        io_uring_prep_read(sqe, t->s->fd, data, size, t->offset);
    } else if (t->is_write) {
        io_uring_prep_write_fixed(sqe, t->s->fd, data, size, t->offset, index);
    } else {
        io_uring_prep_read_fixed(sqe, t->s->fd, data, size, t->offset, index);
    }
    sqe->rw_flags = t->dsync ? RWF_DSYNC : 0;
}

/* Instead of its descriptor, if the loop's ring has a number for the file. */
static void use_fixed_file(struct io_uring_sqe *sqe, struct file_state *s, struct event_loop *loop)
{
    int index = file_fixed_index(s, loop);

    if (index >= 0) {
        sqe->fd = index;
        sqe->flags |= IOSQE_FIXED_FILE;
    }
}

static void prepare(struct io_uring_sqe *sqe, const struct transfer *t, struct event_loop *loop)
{
    int fd = t->s->fd, flags = t->dsync ? RWF_DSYNC : 0;

    if (t->n == 1) {
        prepare_one(sqe, t,
                    t->registered ? block_registered_index(t->registered, loop, t->iov->iov_base,
                                                           t->iov->iov_len)
                                  : -1);
    } else if (t->is_write) {
        io_uring_prep_writev2(sqe, fd, t->iov, t->n, t->offset, flags);
    } else {
        io_uring_prep_readv(sqe, fd, t->iov, t->n, t->offset);
    }
    use_fixed_file(sqe, t->s, loop);
}

/* False: this loop has no ring. */
static bool co_uring_transfer(const struct transfer *t, int *result)
{
    do {
        struct uring_wait wait = {{uring_done}, coroutine_self(), 0, false};
        struct event_loop *loop = coroutine_loop(wait.co);
        struct io_uring_sqe *sqe = event_loop_sqe(loop, &wait.request);
        uint64_t data;

        if (!sqe) {
            return false;
        }
        data = sqe->user_data;
        prepare(sqe, t, loop);
        sqe->user_data = data;
        *result = uring_wait(&wait);
    } while (*result == -EINTR || *result == -EAGAIN);
    return true;
}

static bool co_uring_sync(struct file_state *s, int *result)
{
    struct uring_wait wait = {{uring_done}, coroutine_self(), 0, false};
    struct event_loop *loop = coroutine_loop(wait.co);
    struct io_uring_sqe *sqe = event_loop_sqe(loop, &wait.request);
    uint64_t data;

    if (!sqe) {
        return false;
    }
    data = sqe->user_data;
    io_uring_prep_fsync(sqe, s->fd, IORING_FSYNC_DATASYNC);
    use_fixed_file(sqe, s, loop);
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

    switch (s->in_memory ? QAPI_BLOCKDEV_AIO_OPTIONS_THREADS : s->aio) {
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
    default:
        if (transfer_here(t, &result)) {
            return result;
        }
    }
    if (t->is_write && !t->dsync && !s->direct && !s->is_device) {
        struct job job = {transfer_job, t, 0};

        co_run_serially(&s->writes, run_job, &job);
        return job.result;
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
    struct transfer t = {.s = node->state,
                         .registered = flags & BLOCK_REGISTERED ? node->graph : NULL,
                         .offset = offset};

    return transfer_all(&t, bytes, buffer);
}

int co_file_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    struct transfer t = {.s = node->state,
                         .is_write = true,
                         .dsync = flags & BLOCK_FUA,
                         .registered = flags & BLOCK_REGISTERED ? node->graph : NULL,
                         .offset = offset};

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
    if (s->in_memory) {
        result = sync_job(s);
    } else if (s->aio != QAPI_BLOCKDEV_AIO_OPTIONS_IO_URING || !co_uring_sync(s, &result)) {
        result = co_file_run(sync_job, s);
    }
    if (result < 0 && result != -EINTR && !s->direct) {
        s->sync_error = result;
    }
    return result;
}
