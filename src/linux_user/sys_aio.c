/*
 * Linux AIO (io_setup and so on).
 *
 * The identifier of a context is the address of its ring, which the kernel maps and which the C
 * library libaio reads: "magic" in it says that events may be taken from it without a system call.
 * The kernel's own ring is in Nandu's memory, not the guest's, so the guest gets a page of its own
 * with no such magic number, in which the host's identifier is kept. A guest that changes it gets
 * EINVAL from the kernel, or another context of its own.
 *
 * Requests are checked and submitted one after the other. With a guest base their addresses are the
 * host's while the kernel copies the request.
 */
#include "linux_user/sys.h"

#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>

enum {
    RING_HOST_CONTEXT = 64, /* offset in the guest's page, behind struct aio_ring's header */
    EVENT_BATCH = 64,
};

/* The host's context of the guest's; 0 (which the kernel doesn't know) if there is none. */
static aio_context_t host_context(const struct lu_process *p, uint64_t context)
{
    aio_context_t host;

    if (context == 0 ||
        lu_copy_from_guest(p, &host, context + RING_HOST_CONTEXT, sizeof(host)) != 0) {
        return 0;
    }
    return host;
}

int64_t sys_io_setup(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    aio_context_t host = 0;
    uint64_t context;
    int64_t page, result;
    int error = lu_copy_from_guest(p, &context, a[1], sizeof(context));

    if (error) {
        return error;
    }
    if (context != 0) {
        return -EINVAL;
    }
    result = LU_HOST(SYS_io_setup, a[0], &host);
    if (result < 0) {
        return result;
    }
    page = lu_mmap(p, 0, LU_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    context = (uint64_t)page;
    error = page < 0 ? (int)page
                     : lu_copy_to_guest(p, context + RING_HOST_CONTEXT, &host, sizeof(host));
    if (error == 0) {
        error = lu_copy_to_guest(p, a[1], &context, sizeof(context));
    }
    if (error) {
        LU_HOST(SYS_io_destroy, host);
        if (page >= 0) {
            lu_munmap(p, context, LU_PAGE_SIZE);
        }
    }
    return error;
}

int64_t sys_io_destroy(struct lu_thread *t, const uint64_t a[6])
{
    int64_t result = LU_HOST(SYS_io_destroy, host_context(t->process, a[0]));

    if (result == 0) {
        lu_munmap(t->process, a[0], LU_PAGE_SIZE);
    }
    return result;
}

/* Submit the request at [addr]: 1 or -errno. */
static int64_t submit_one(struct lu_process *p, aio_context_t context, uint64_t addr)
{
    struct iocb iocb, *host = lu_ptr(p, addr, sizeof(iocb), LU_READ | LU_WRITE);
    struct lu_iov iov = {.v = iov.fixed};
    uint64_t buffer;
    int64_t result;

    if (lu_copy_from_guest(p, &iocb, addr, sizeof(iocb)) != 0) {
        return -EFAULT;
    }
    if (lu_fd_is_protected(p, (int)iocb.aio_fildes)) {
        return -EBADF;
    }
    buffer = iocb.aio_buf;
    switch (iocb.aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PWRITE: {
        unsigned access = iocb.aio_lio_opcode == IOCB_CMD_PREAD ? LU_WRITE : LU_READ;

        iocb.aio_buf = (uintptr_t)lu_ptr(p, buffer, iocb.aio_nbytes, access);
        break;
    }
    case IOCB_CMD_PREADV:
    case IOCB_CMD_PWRITEV: {
        unsigned access = iocb.aio_lio_opcode == IOCB_CMD_PREADV ? LU_WRITE : LU_READ;

        lu_iov_from_guest(p, &iov, buffer, iocb.aio_nbytes, access);
        /* The kernel copies the vector when the request is submitted. */
        iocb.aio_buf = (uintptr_t)iov.v;
        break;
    }
    default: break; /* FSYNC, FDSYNC, POLL, NOOP have no pointer */
    }
    if (iocb.aio_buf != buffer) {
        lu_copy_to_guest(p, addr + offsetof(struct iocb, aio_buf), &iocb.aio_buf,
                         sizeof(iocb.aio_buf));
    }
    result = LU_HOST(SYS_io_submit, context, 1, &host);
    if (iocb.aio_buf != buffer) {
        lu_copy_to_guest(p, addr + offsetof(struct iocb, aio_buf), &buffer, sizeof(buffer));
    }
    lu_iov_clear(&iov);
    return result;
}

int64_t sys_io_submit(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    aio_context_t context = host_context(p, a[0]);
    int64_t count = (int64_t)a[1];

    if (count <= 0) {
        return LU_HOST(SYS_io_submit, context, count, LU_BAD_POINTER);
    }
    for (int64_t i = 0; i < count; i++) {
        uint64_t addr;
        int64_t result = lu_copy_from_guest(p, &addr, a[2] + (uint64_t)i * 8, sizeof(addr));

        if (context == 0) {
            result = -EINVAL;
        }
        if (result == 0) {
            result = submit_one(p, context, addr);
        }
        if (result != 1) {
            return i ? i : result;
        }
    }
    return count;
}

static void event_to_guest(const struct lu_process *p, struct io_event *event)
{
    event->obj = lu_h2g(p, (void *)(uintptr_t)event->obj);
}

int64_t sys_io_cancel(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    struct io_event event;
    int64_t result = LU_HOST(SYS_io_cancel, host_context(p, a[0]),
                             lu_ptr(p, a[1], sizeof(struct iocb), LU_READ), &event);

    if (result < 0) {
        return result;
    }
    event_to_guest(p, &event);
    return lu_copy_to_guest(p, a[2], &event, sizeof(event));
}

/* Wait for events: a batch at a time, of which only the first waits for [min] and for long. */
static int64_t get_events(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    aio_context_t context = host_context(p, a[0]);
    struct io_event events[EVENT_BATCH];
    struct {
        int64_t seconds, nanoseconds;
    } timeout, none = {0, 0};
    int64_t min = (int64_t)a[1], max = (int64_t)a[2], done = 0;

    if (a[4] && lu_copy_from_guest(p, &timeout, a[4], sizeof(timeout)) != 0) {
        return -EFAULT;
    }
    if (min < 0 || max < 0 || min > max || context == 0) {
        return -EINVAL;
    }
    do {
        int64_t room = MIN(max - done, EVENT_BATCH), n;
        int64_t need = CLAMP(min - done, 0, room);

        n = LU_BLOCK(t, SYS_io_getevents, context, need, room, events,
                     need == 0 && done ? (void *)&none
                     : a[4]            ? (void *)&timeout
                                       : NULL);
        if (n < 0) {
            return done ? done : lu_no_restart(n);
        }
        for (int64_t i = 0; i < n; i++, done++) {
            event_to_guest(p, &events[i]);
            if (lu_copy_to_guest(p, a[3] + (uint64_t)done * sizeof(events[i]), &events[i],
                                 sizeof(events[i])) != 0) {
                return done ? done : -EFAULT;
            }
        }
        if (n < room) {
            break;
        }
    } while (done < max);
    return done;
}

int64_t sys_io_getevents(struct lu_thread *t, const uint64_t a[6])
{
    return get_events(t, a);
}

int64_t sys_io_pgetevents(struct lu_thread *t, const uint64_t a[6])
{
    uint64_t mask[2] = {0, 0}; /* address, size */
    int error = a[4] && !lu_access_ok(t->process, a[4], 16, LU_READ) ? -EFAULT : 0;

    if (error == 0 && a[5]) {
        error = lu_copy_from_guest(t->process, mask, a[5], sizeof(mask));
    }
    if (error == 0) {
        error = lu_wait_mask(t, mask[0], mask[1]);
    }
    return error ? error : get_events(t, a);
}
