/* Timers that signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int alarms, timers, value;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void on_timer(int sig, siginfo_t *si, void *context)
{
    (void)sig, (void)context;
    value = si->si_value.sival_int;
    timers += si->si_code == SI_TIMER;
}

static int create(struct sigevent *ev, int *id)
{
    return (int)syscall(SYS_timer_create, CLOCK_MONOTONIC, ev, id);
}

int main(void)
{
    struct itimerval it = {.it_interval = {0, 2000}, .it_value = {0, 2000}}, old;
    struct itimerspec its = {.it_interval = {0, 1000000}, .it_value = {0, 1000000}}, cur;
    struct sigaction sa = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    struct sigevent ev;
    int id;

    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &it, NULL);
    /* In a loop that makes no system call. */
    for (volatile unsigned long i = 0; alarms < 20; i++)
        ;
    getitimer(ITIMER_REAL, &old);
    printf("interval %ld\n", (long)old.it_interval.tv_usec);
    memset(&it, 0, sizeof(it));
    setitimer(ITIMER_REAL, &it, &old);
    printf("alarms: %d, was %ld\n", alarms >= 20, (long)old.it_interval.tv_usec);
    alarm(100);
    printf("alarm left: %d\n", alarm(0) > 90);

    signal(SIGVTALRM, on_alarm);
    alarms = 0;
    it.it_value.tv_usec = 5000;
    setitimer(ITIMER_VIRTUAL, &it, NULL);
    for (volatile unsigned long i = 0; alarms < 1; i++)
        ;
    printf("virtual: %d\n", alarms);

    sigaction(SIGRTMIN, &sa, NULL);
    memset(&ev, 0, sizeof(ev));
    ev.sigev_notify = SIGEV_SIGNAL;
    ev.sigev_signo = SIGRTMIN;
    ev.sigev_value.sival_int = 1234;
    printf("create: %d\n", create(&ev, &id));
    syscall(SYS_timer_settime, id, 0, &its, NULL);
    while (timers < 10)
        pause();
    syscall(SYS_timer_gettime, id, &cur);
    printf("timer: value %d interval %ld overrun %d\n", value, cur.it_interval.tv_nsec,
           syscall(SYS_timer_getoverrun, id) >= 0);
    printf("delete: %ld", syscall(SYS_timer_delete, id));
    printf(" %ld", syscall(SYS_timer_delete, id));
    printf(" %d\n", errno);

    ev.sigev_notify = SIGEV_THREAD_ID;
    ev._sigev_un._tid = (int)syscall(SYS_gettid);
    ev.sigev_value.sival_int = 99;
    timers = 0;
    printf("thread id: %d\n", create(&ev, &id));
    syscall(SYS_timer_settime, id, 0, &its, NULL);
    for (volatile unsigned long i = 0; timers < 3; i++)
        ;
    syscall(SYS_timer_delete, id);
    printf("value %d\n", value);

    ev.sigev_notify = SIGEV_NONE;
    printf("none: %d\n", create(&ev, &id));
    syscall(SYS_timer_settime, id, 0, &its, NULL);
    usleep(5000);
    printf("overrun: %ld\n", syscall(SYS_timer_getoverrun, id));
    printf("bad: %d", create((void *)8, &id));
    printf(" %d", errno);
    ev.sigev_notify = 77;
    printf(" %d", create(&ev, &id));
    printf(" %d\n", errno);
    printf("null value: %ld", syscall(SYS_timer_settime, id, 0, NULL, NULL));
    printf(" %d\n", errno);
    return 0;
}
