/*
 * Timers that signal: POSIX timers are the host's, one for one and with the same ids; what they
 * send arrives as any signal does.
 */
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "linux_user/signals.h"
#include "linux_user/sys.h"

/* struct sigevent of the generic ABI: 64 bytes, laid out as the host's. */
struct guest_sigevent {
    uint64_t value;
    int32_t signo, notify, tid;
    int32_t pad[11];
};

_Static_assert(sizeof(struct guest_sigevent) == sizeof(struct sigevent), "same on both sides");

int64_t sys_timer_create(struct lu_thread *t, const uint64_t a[6])
{
    struct guest_sigevent event;
    int32_t id = 0;
    int64_t r;

    if (a[1] && lu_copy_from_guest(t->process, &event, a[1], sizeof(event)) < 0) {
        return -EFAULT;
    }
    if (!lu_access_ok(t->process, a[2], sizeof(id), LU_WRITE)) {
        return -EFAULT;
    }
    r = LU_HOST(SYS_timer_create, (int)a[0], a[1] ? &event : NULL, &id);
    if (r < 0) {
        return r;
    }
    if (lu_copy_to_guest(t->process, a[2], &id, sizeof(id)) < 0) {
        LU_HOST(SYS_timer_delete, id);
        return -EFAULT;
    }
    return 0;
}

int64_t sys_timer_settime(struct lu_thread *t, const uint64_t a[6])
{
    struct itimerspec value, old;
    int64_t r;

    if (!a[2]) {
        return -EINVAL;
    }
    if (lu_copy_from_guest(t->process, &value, a[2], sizeof(value)) < 0) {
        return -EFAULT;
    }
    r = LU_HOST(SYS_timer_settime, (int)a[0], (int)a[1], &value, a[3] ? &old : NULL);
    if (r == 0 && a[3]) {
        r = lu_copy_to_guest(t->process, a[3], &old, sizeof(old));
    }
    return r;
}

int64_t sys_timer_gettime(struct lu_thread *t, const uint64_t a[6])
{
    struct itimerspec value;
    int64_t r = LU_HOST(SYS_timer_gettime, (int)a[0], &value);

    return r < 0 ? r : lu_copy_to_guest(t->process, a[1], &value, sizeof(value));
}

int64_t sys_timer_getoverrun(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_timer_getoverrun, (int)a[0]);
}

int64_t sys_timer_delete(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_timer_delete, (int)a[0]);
}

int64_t sys_setitimer(struct lu_thread *t, const uint64_t a[6])
{
    struct itimerval value = {0}, old;
    int64_t r;

    /* No new value stops the timer; Linux keeps that for old programs. */
    if (a[1] && lu_copy_from_guest(t->process, &value, a[1], sizeof(value)) < 0) {
        return -EFAULT;
    }
    r = LU_HOST(SYS_setitimer, (int)a[0], &value, a[2] ? &old : NULL);
    if (r == 0 && a[2]) {
        r = lu_copy_to_guest(t->process, a[2], &old, sizeof(old));
    }
    return r;
}

int64_t sys_getitimer(struct lu_thread *t, const uint64_t a[6])
{
    struct itimerval value;
    int64_t r = LU_HOST(SYS_getitimer, (int)a[0], &value);

    return r < 0 ? r : lu_copy_to_guest(t->process, a[1], &value, sizeof(value));
}
