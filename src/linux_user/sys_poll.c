/*
 * Waiting for events: poll, select, epoll.
 *
 * A signal mask argument is not given to the host's kernel: the mask of the guest's thread is
 * changed until the call returns (lu_set_temporary_mask), and the wait is one that a pending signal
 * ends.
 */
#include "linux_user/sys.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

int lu_wait_mask(struct lu_thread *t, uint64_t addr, uint64_t size)
{
    lu_sigset mask;
    int error;

    if (addr == 0) {
        return 0;
    }
    if (size != sizeof(mask)) {
        return -EINVAL;
    }
    error = lu_copy_from_guest(t->process, &mask, addr, sizeof(mask));
    if (error == 0) {
        lu_set_temporary_mask(t, mask);
    }
    return error;
}

int64_t sys_pselect6(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    const unsigned both = LU_READ | LU_WRITE;
    uint64_t mask[2] = {0, 0};
    int32_t n = (int32_t)a[0];
    uint64_t size;
    int error = 0;

    if (n < 0) {
        return -EINVAL;
    }
    size = ((uint64_t)n + 63) / 64 * 8;
    if (a[5]) {
        error = lu_copy_from_guest(p, mask, a[5], sizeof(mask));
    }
    /* Checked before the mask is changed, as the kernel does. */
    if (error == 0 && a[4] && !lu_access_ok(p, a[4], 16, LU_READ)) {
        error = -EFAULT;
    }
    if (error == 0) {
        error = lu_wait_mask(t, mask[0], mask[1]);
    }
    if (error) {
        return error;
    }
    /* A time-out in memory that can't be written isn't updated; the kernel has it the same. */
    struct {
        int64_t seconds, nanoseconds;
    } copy;
    void *timeout = lu_ptr(p, a[4], 16, both);
    if (!lu_ptr_ok(timeout) && lu_copy_from_guest(p, &copy, a[4], sizeof(copy)) == 0) {
        timeout = &copy;
    }
    return lu_no_restart(LU_BLOCK(t, SYS_pselect6, n, lu_ptr(p, a[1], size, both),
                                  lu_ptr(p, a[2], size, both), lu_ptr(p, a[3], size, both),
                                  timeout));
}

int64_t sys_ppoll(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    const unsigned both = LU_READ | LU_WRITE;
    struct {
        int64_t seconds, nanoseconds;
    } copy;
    void *timeout = lu_ptr(p, a[2], sizeof(copy), both);
    uint32_t n = (uint32_t)a[1];
    int error;

    if (!lu_ptr_ok(timeout)) {
        error = lu_copy_from_guest(p, &copy, a[2], sizeof(copy));
        if (error) {
            return error;
        }
        timeout = &copy;
    }
    error = lu_wait_mask(t, a[3], a[4]);
    if (error) {
        return error;
    }
    return lu_no_restart(
        LU_BLOCK(t, SYS_ppoll, lu_ptr(p, a[0], (uint64_t)n * 8, both), n, timeout));
}

/* struct epoll_event of the generic system call interface; x86-64's is packed. */
struct guest_epoll_event {
    uint32_t events;
    uint32_t pad;
    uint64_t data;
};
G_STATIC_ASSERT(sizeof(struct guest_epoll_event) == 16);

int64_t sys_epoll_ctl(struct lu_thread *t, const uint64_t a[6])
{
    struct guest_epoll_event guest;
    struct epoll_event host;
    void *event = &host;

    if ((int)a[1] == EPOLL_CTL_DEL) {
        event = NULL;
    } else if (lu_copy_from_guest(t->process, &guest, a[3], sizeof(guest)) != 0) {
        event = LU_BAD_POINTER;
    } else {
        host.events = guest.events;
        host.data.u64 = guest.data;
    }
    return LU_HOST(SYS_epoll_ctl, a[0], a[1], a[2], event);
}

/* Events that one call gives at most: the kernel may give fewer than there is room for, too. */
enum { EPOLL_BATCH = 256 };

/* epoll_pwait and epoll_pwait2: [nr] with [timeout] in its fourth argument. */
static int64_t epoll_wait_for(struct lu_thread *t, long nr, const uint64_t a[6], uint64_t timeout)
{
    struct lu_process *p = t->process;
    struct epoll_event host[EPOLL_BATCH], *events = host;
    int32_t max = (int32_t)a[2];
    int64_t n;
    int error;

    if (max > EPOLL_BATCH) {
        max = EPOLL_BATCH;
    }
    if (max > 0) {
        void *ptr = lu_ptr(p, a[1], (uint64_t)max * sizeof(struct guest_epoll_event), LU_WRITE);

        /* Only an event makes it a fault, and is not lost then: the kernel finds out. */
        events = lu_ptr_ok(ptr) ? host : ptr;
    }
    error = lu_wait_mask(t, a[4], a[5]);
    if (error) {
        return error;
    }
    n = LU_BLOCK(t, nr, a[0], events, max, timeout);
    for (int64_t i = 0; i < n; i++) {
        struct guest_epoll_event guest = {.events = host[i].events, .data = host[i].data.u64};

        if (lu_copy_to_guest(p, a[1] + (uint64_t)i * sizeof(guest), &guest, sizeof(guest)) != 0) {
            return i ? i : -EFAULT;
        }
    }
    return lu_no_restart(n);
}

int64_t sys_epoll_pwait(struct lu_thread *t, const uint64_t a[6])
{
    return epoll_wait_for(t, SYS_epoll_pwait, a, a[3]);
}

int64_t sys_epoll_pwait2(struct lu_thread *t, const uint64_t a[6])
{
    struct {
        int64_t seconds, nanoseconds;
    } timeout;
    int error;

    if (a[3] == 0) {
        return epoll_wait_for(t, SYS_epoll_pwait2, a, 0);
    }
    error = lu_copy_from_guest(t->process, &timeout, a[3], sizeof(timeout));
    return error ? error : epoll_wait_for(t, SYS_epoll_pwait2, a, (uintptr_t)&timeout);
}
