/*
 * Clocks and sleeping.
 */
#include "linux_user/sys.h"

#include <sys/time.h>
#include <time.h>

struct guest_time {
    int64_t seconds, fraction;
};

int64_t sys_clock_gettime(struct lu_thread *t, const uint64_t a[6])
{
    /* By the host's vDSO: no system call for the usual clocks. */
    struct timespec now;
    struct guest_time guest;

    if (clock_gettime((clockid_t)a[0], &now) != 0) {
        return -errno;
    }
    guest = (struct guest_time){now.tv_sec, now.tv_nsec};
    return lu_copy_to_guest(t->process, a[1], &guest, sizeof(guest));
}

int64_t sys_gettimeofday(struct lu_thread *t, const uint64_t a[6])
{
    struct timeval now;
    struct {
        int32_t minutes_west, dst;
    } zone;
    int64_t result = LU_HOST(SYS_gettimeofday, &now, &zone);

    if (result == 0 && a[0]) {
        struct guest_time guest = {now.tv_sec, now.tv_usec};

        result = lu_copy_to_guest(t->process, a[0], &guest, sizeof(guest));
    }
    if (result == 0 && a[1]) {
        result = lu_copy_to_guest(t->process, a[1], &zone, sizeof(zone));
    }
    return result;
}

/* Sleeping, [rem] is the guest's address for what is left of a relative sleep, or 0. */
static int64_t sleep_on(struct lu_thread *t, clockid_t clock, int flags, uint64_t req, uint64_t rem)
{
    struct lu_process *p = t->process;
    struct guest_time time, left = {0, 0};
    int64_t result;
    void *time_ptr = &time;

    if (lu_copy_from_guest(p, &time, req, sizeof(time)) != 0) {
        time_ptr = lu_bad_ptr(p, req);
    }
    result = LU_BLOCK(t, SYS_clock_nanosleep, clock, flags, time_ptr, &left);
    if (flags & TIMER_ABSTIME) {
        return lu_no_restart(result);
    }
    if (result == -LU_ERESTARTSYS) {
        left = time;
        result = -LU_ERESTARTNOHAND;
    }
    if ((result == -EINTR || result == -LU_ERESTARTNOHAND) && rem &&
        lu_copy_to_guest(p, rem, &left, sizeof(left)) != 0) {
        return -EFAULT;
    }
    return result;
}

int64_t sys_nanosleep(struct lu_thread *t, const uint64_t a[6])
{
    return a[0] ? sleep_on(t, CLOCK_MONOTONIC, 0, a[0], a[1]) : -EFAULT;
}

int64_t sys_clock_nanosleep(struct lu_thread *t, const uint64_t a[6])
{
    return sleep_on(t, (clockid_t)a[0], (int)a[1], a[2], a[3]);
}
