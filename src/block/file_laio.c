/*
 * Linux AIO: each event loop has a context of its own and an eventfd that tells of what is done.
 * Requests are handed to the kernel together, once a turn.
 */
#include <errno.h>
#include <libaio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "block/file.h"

enum { MAX_EVENTS = 256 };

struct laio {
    io_context_t context;
    int eventfd;
    struct event_loop *loop;    /* not counted: it owns this */
    struct bottom_half *submit; /* NULL: none is scheduled now; holds the loop until it ran */
    GQueue queue;               /* struct laio_request, for the kernel */
    unsigned in_flight;
};

struct laio_request {
    struct iocb iocb; /* first: io_getevents gives its address */
    struct coroutine *co;
    ssize_t result;
    bool over;
};

static const char key; /* an address of our own */

bool laio_available(void)
{
    io_context_t context = NULL;

    if (io_setup(1, &context) < 0) {
        return false;
    }
    io_destroy(context);
    return true;
}

static void submit(struct laio *laio)
{
    struct iocb *iocbs[MAX_EVENTS];

    while (laio->queue.length && laio->in_flight < MAX_EVENTS) {
        long n = 0;
        int result;

        for (GList *l = laio->queue.head; l && laio->in_flight + n < MAX_EVENTS; l = l->next) {
            iocbs[n++] = &((struct laio_request *)l->data)->iocb;
        }
        result = io_submit(laio->context, n, iocbs);
        if (result == -EAGAIN && laio->in_flight) {
            return; /* when something has ended */
        }
        if (result <= 0) {
            struct laio_request *request = g_queue_pop_head(&laio->queue);

            request->result = result ? result : -EIO;
            request->over = true;
            coroutine_wake(request->co); /* not entered: it may be the one that runs this */
            continue;
        }
        laio->in_flight += (unsigned)result;
        for (int i = 0; i < result; i++) {
            g_queue_pop_head(&laio->queue);
        }
    }
}

static void submit_later(void *opaque)
{
    struct laio *laio = opaque;
    struct bottom_half *bh = g_steal_pointer(&laio->submit);

    submit(laio);
    bottom_half_free(bh);
}

static void on_event(void *opaque)
{
    struct laio *laio = opaque;
    struct io_event events[MAX_EVENTS];
    struct timespec now = {0};
    uint64_t count;
    int n;

    if (read(laio->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        return;
    }
    n = io_getevents(laio->context, 0, MAX_EVENTS, events, &now);
    for (int i = 0; i < n; i++) {
        struct laio_request *request = (struct laio_request *)events[i].obj;

        laio->in_flight--;
        request->result = (ssize_t)(long)events[i].res;
        request->over = true;
        coroutine_enter(request->co);
    }
    submit(laio);
}

static void laio_free(void *opaque)
{
    struct laio *laio = opaque;

    io_destroy(laio->context);
    close(laio->eventfd);
    g_free(laio);
}

/* NULL: this loop can't have one. */
static struct laio *laio_get(struct event_loop *loop)
{
    struct laio *laio = event_loop_local(loop, &key);

    if (laio) {
        return laio;
    }
    laio = g_new0(struct laio, 1);
    laio->loop = loop;
    g_queue_init(&laio->queue);
    laio->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (laio->eventfd < 0 || io_setup(MAX_EVENTS, &laio->context) < 0) {
        if (laio->eventfd >= 0) {
            close(laio->eventfd);
        }
        g_free(laio);
        return NULL;
    }
    event_loop_set_local(loop, &key, laio, laio_free);
    event_loop_watch(loop, laio->eventfd, on_event, NULL, laio);
    return laio;
}

bool co_laio_transfer(bool is_write, int fd, const struct iovec *iov, unsigned n, uint64_t offset,
                      bool dsync, unsigned max_batch, ssize_t *result)
{
    struct laio_request request = {.co = coroutine_self()};
    struct laio *laio = laio_get(coroutine_loop(request.co));

    if (!laio) {
        return false;
    }
    if (is_write) {
        io_prep_pwritev(&request.iocb, fd, iov, (int)n, (long long)offset);
    } else {
        io_prep_preadv(&request.iocb, fd, iov, (int)n, (long long)offset);
    }
    request.iocb.aio_rw_flags = dsync ? RWF_DSYNC : 0;
    io_set_eventfd(&request.iocb, laio->eventfd);
    g_queue_push_tail(&laio->queue, &request);
    if (max_batch && laio->queue.length >= max_batch) {
        submit(laio);
    } else if (!laio->submit) {
        laio->submit = bottom_half_new(laio->loop, submit_later, laio);
        bottom_half_schedule(laio->submit);
    }
    while (!request.over) {
        co_yield ();
    }
    *result = request.result;
    return true;
}
