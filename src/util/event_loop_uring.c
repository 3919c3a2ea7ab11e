/*
 * The event loop on io_uring. A watch is a one-shot IORING_OP_POLL_ADD that is made again after its
 * callback ran: that is what level triggered means here, and costs no system call of its own, since
 * everything is submitted together with the next wait.
 *
 * user_data of an entry is the address of the struct watch + 1, or of the struct uring_request, or
 * 0 for those whose result doesn't matter.
 */
#include "util/event_loop_priv.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>

enum {
    RING_ENTRIES = 128,         /* fills up: is submitted early */
    CQ_ENTRIES = 1024,          /* fills up: the kernel keeps a list (IORING_FEAT_NODROP) */
    MAX_COMPLETIONS = 256,      /* a turn */
    USUAL_BATCH = 8,            /* a disk should have work while the next entries are made */
};

static bool uring_open(struct event_loop *loop, GError **error)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = CQ_ENTRIES,
    };
    /* The last one stands for Linux 5.13, which has multishot polls. */
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS;
    int result = io_uring_queue_init_params(RING_ENTRIES, &loop->ring, &params);

    if (result == 0 && (params.features & features) != features) {
        io_uring_queue_exit(&loop->ring);
        result = -ENOSYS;
    }
    if (result < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-result),
                    "Could not make an event loop: io_uring_setup: %s", g_strerror(-result));
        return false;
    }
    return true;
}

static void uring_close(struct event_loop *loop)
{
    event_loop_close_fixed(loop);
    io_uring_queue_exit(&loop->ring);
}

static int uring_get_fd(const struct event_loop *loop)
{
    return loop->ring.ring_fd;
}

static void uring_submit(struct event_loop *loop)
{
    if (io_uring_sq_ready(&loop->ring)) {
        io_uring_submit(&loop->ring);
    }
}

static struct io_uring_sqe *get_sqe(struct event_loop *loop)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&loop->ring))) {
        /*
         * EAGAIN: the kernel is short of memory. There is nothing better to do than to ask again.
         */
        if (io_uring_submit(&loop->ring) < 0) {
            sched_yield();
        }
    }
    return sqe;
}

static uint64_t watch_data(const struct watch *watch)
{
    return (uintptr_t)watch + 1;
}

static void cancel_poll(struct event_loop *loop, struct watch *watch)
{
    struct io_uring_sqe *sqe;

    if (!watch->cancelling) {
        sqe = get_sqe(loop);
        io_uring_prep_poll_remove(sqe, watch_data(watch));
        sqe->user_data = 0;
        watch->cancelling = true;
    }
}

static void uring_update(struct event_loop *loop, struct watch *watch)
{
    short wanted = watch_wanted(watch);
    struct io_uring_sqe *sqe;

    if (watch->armed) {
        if (watch->armed != wanted) {
            cancel_poll(loop, watch);   /* it completes, and then we are called again */
        }
        return;
    }
    if (watch->queued || !wanted) {
        return;
    }
    sqe = get_sqe(loop);
    if (watch->edge) {
        io_uring_prep_poll_multishot(sqe, watch->fd, (unsigned)wanted);
    } else {
        io_uring_prep_poll_add(sqe, watch->fd, (unsigned)wanted);
    }
    sqe->user_data = watch_data(watch);
    watch->armed = wanted;
}

/*
 * Submits at once, since until then the kernel holds the file open, and its address or lock taken.
 */
static void uring_forget(struct event_loop *loop, struct watch *watch)
{
    if (watch->armed) {
        cancel_poll(loop, watch);
        uring_submit(loop);
    }
}

static void poll_completed(struct event_loop *loop, struct watch *watch, int result, unsigned flags)
{
    if (!(flags & IORING_CQE_F_MORE)) {
        watch->armed = 0;
        watch->cancelling = false;
    }
    if (watch->removed) {
        watch_release(loop, watch);
        return;
    }
    /* With 0 it is only queued, and armed again after that. */
    event_loop_ready(loop, watch,
                     result >= 0 ? (short)result : result == -ECANCELED ? 0 : POLLNVAL);
}

static bool uring_peek(const struct event_loop *loop)
{
    return io_uring_cq_ready(&loop->ring) != 0;
}

static void uring_wait(struct event_loop *loop, int64_t timeout_ns)
{
    struct io_uring *ring = &loop->ring;
    struct io_uring_cqe *cqe;

    if (timeout_ns == 0 || uring_peek(loop)) {
        uring_submit(loop);
    } else if (timeout_ns < 0) {
        io_uring_submit_and_wait(ring, 1);
    } else {
        struct __kernel_timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };

        io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
    }
    /*
     * Callbacks make new entries: an upper bound, so that timers and bottom halves get their turn.
     */
    for (int i = 0; i < MAX_COMPLETIONS && io_uring_peek_cqe(ring, &cqe) == 0; i++) {
        uint64_t data = cqe->user_data;
        int result = cqe->res;
        unsigned flags = cqe->flags;

        io_uring_cqe_seen(ring, cqe);
        if (data & 1) {
            poll_completed(loop, (struct watch *)(uintptr_t)(data - 1), result, flags);
        } else if (data) {
            struct uring_request *request = (struct uring_request *)(uintptr_t)data;

            loop->progress = true;
            loop->in_flight--;
            request->complete(request, result);
        }
    }
}

void event_loop_set_max_batch(struct event_loop *loop, unsigned max)
{
    __atomic_store_n(&loop->max_batch, max, __ATOMIC_RELAXED);
}

bool event_loop_has_uring(const struct event_loop *loop)
{
    return loop->backend == &event_backend_uring;
}

struct io_uring_sqe *event_loop_sqe(struct event_loop *loop, struct uring_request *request)
{
    struct io_uring_sqe *sqe;
    unsigned batch;

    if (!event_loop_has_uring(loop)) {
        return NULL;
    }
    assert(event_loop_is_owner(loop));
    batch = __atomic_load_n(&loop->max_batch, __ATOMIC_RELAXED);
    if (io_uring_sq_ready(&loop->ring) >= (batch ? batch : USUAL_BATCH)) {
        io_uring_submit(&loop->ring);
    }
    sqe = get_sqe(loop);
    sqe->user_data = (uintptr_t)request;
    loop->in_flight++;
    return sqe;
}

const struct event_backend event_backend_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .fd = uring_get_fd,
    .update = uring_update,
    .forget = uring_forget,
    .submit = uring_submit,
    .peek = uring_peek,
    .wait = uring_wait,
};
