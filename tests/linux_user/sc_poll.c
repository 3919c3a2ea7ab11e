/* Waiting: poll, select, epoll, timerfd, with signal masks and time-outs. */
#include "sc.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static volatile int caught;

static void handler(int sig) { caught = sig; }

static void polls(void)
{
    struct timespec soon = {0, 1000000}, bad = {0, 2000000000};
    struct pollfd p[3];
    sigset_t none, usr1;
    int pipes[2];
    fd_set r, w;
    struct timeval tv = {0, 1000};

    SHOW(pipe(pipes));
    p[0] = (struct pollfd){pipes[0], POLLIN, 0};
    p[1] = (struct pollfd){pipes[1], POLLOUT, 0};
    p[2] = (struct pollfd){777, POLLIN, 0};
    SHOW(poll(p, 3, 0));
    printf("%x %x %x\n", p[0].revents, p[1].revents, p[2].revents);
    SHOW(poll(p, 1, 1));
    SHOW(write(pipes[1], "x", 1));
    SHOW(ppoll(p, 2, &soon, NULL));
    printf("%x %x\n", p[0].revents, p[1].revents);
    SHOW(syscall(SYS_ppoll, NOWHERE, 1, &soon, NULL, 8));
    SHOW(syscall(SYS_ppoll, p, 1, NOWHERE, NULL, 8));
    SHOW(syscall(SYS_ppoll, p, 1, &bad, NULL, 8));
    SHOW(syscall(SYS_ppoll, p, 1, &soon, p, 4));
    SHOW(syscall(SYS_ppoll, p, -1, &soon, NULL, 8));
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(pipes[0], &r);
    FD_SET(pipes[1], &w);
    SHOW(select(pipes[1] + 1, &r, &w, NULL, &tv));
    printf("%d %d\n", FD_ISSET(pipes[0], &r), FD_ISSET(pipes[1], &w));
    close(77);
    FD_SET(77, &r);
    SHOW(select(78, &r, NULL, NULL, &tv) == -1 || pipes[0] > 0);
    SHOW(select(-1, NULL, NULL, NULL, &tv));
    SHOW(syscall(SYS_pselect6, 5, NOWHERE, NULL, NULL, &soon, NULL));
    SHOW(select(0, NULL, NULL, NULL, &tv));

    /* A blocked pending signal is delivered only while waiting with another mask. */
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    printf("caught %d\n", caught);
    SHOW(read(pipes[0], &tv, 1));
    SHOW(ppoll(p, 1, NULL, &none));
    printf("caught %d\n", caught);
    caught = 0;
    raise(SIGUSR1);
    FD_ZERO(&r);
    SHOW(pselect(0, &r, NULL, NULL, NULL, &none));
    printf("caught %d\n", caught);
    caught = 0;
    raise(SIGUSR1);
    soon = (struct timespec){0, 1000000};
    SHOW(ppoll(p, 1, &soon, NULL));
    printf("caught %d\n", caught);
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    printf("caught %d\n", caught);
    close(pipes[0]);
    close(pipes[1]);
}

static void epolls(void)
{
    struct epoll_event e = {EPOLLIN, {.u64 = 0x123456789abcdef0}}, out[600];
    struct timespec soon = {0, 1000000};
    int ep, ev, fds[300];
    uint64_t one = 1;
    sigset_t none;

    OK(ep = epoll_create1(EPOLL_CLOEXEC));
    SHOW(epoll_create1(1));
    ev = eventfd(0, EFD_NONBLOCK);
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, 777, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ev, NOWHERE));
    SHOW(epoll_ctl(ep, 9, ev, &e));
    SHOW(epoll_wait(ep, out, 10, 0));
    write(ev, &one, 8);
    SHOW(epoll_wait(ep, out, 10, -1));
    printf("%x %llx\n", out[0].events, (unsigned long long)out[0].data.u64);
    e.events = EPOLLIN | EPOLLOUT | EPOLLET;
    e.data.u64 = 42;
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, ev, &e));
    SHOW(epoll_wait(ep, out, 1, 100));
    printf("%x %llx\n", out[0].events, (unsigned long long)out[0].data.u64);
    SHOW(epoll_wait(ep, out, 1, 0));
    SHOW(epoll_wait(ep, out, 0, 0));
    SHOW(epoll_wait(ep, out, -1, 0));
    SHOW(syscall(SYS_epoll_pwait, ep, NOWHERE, 1, 0, NULL, 8));
    SHOW(syscall(SYS_epoll_pwait, 777, out, 1, 0, NULL, 8));
    SHOW(syscall(SYS_epoll_pwait, ep, out, 1, 0, &none, 7));
    SHOW(syscall(SYS_epoll_pwait2, ep, out, 1, &soon, NULL, 8));
    SHOW(syscall(SYS_epoll_pwait2, ep, out, 1, NOWHERE, NULL, 8));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NOWHERE));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL));
    for (int i = 0; i < 300; i++) {
        fds[i] = eventfd(1, 0);
        e = (struct epoll_event){EPOLLIN, {.u64 = (uint64_t)i << 40}};
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e);
    }
    int n = epoll_wait(ep, out, 600, 0), sum = 0;
    for (int i = 0; i < n; i++)
        sum += out[i].data.u64 >> 40;
    /* An implementation may give fewer than there is room for; those left are next. */
    int m = epoll_wait(ep, out, 600, 0);
    (void)m;
    printf("%d %d\n", n >= 200, sum > 0);
    for (int i = 0; i < 300; i++)
        close(fds[i]);
    sigemptyset(&none);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    caught = 0;
    raise(SIGUSR1);
    SHOW(epoll_pwait(ep, out, 1, -1, &none));
    printf("caught %d\n", caught);
    close(ep);
    close(ev);
}

static void timers(void)
{
    struct itimerspec t = {{0, 1000000}, {0, 1000000}}, old;
    uint64_t n = 0;
    int fd;

    OK(fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    SHOW(read(fd, &n, 8));
    SHOW(timerfd_settime(fd, 0, &t, &old));
    printf("old %ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
    struct pollfd p = {fd, POLLIN, 0};
    SHOW(poll(&p, 1, 1000));
    SHOW(read(fd, &n, 8));
    printf("expired %d\n", n >= 1);
    SHOW(timerfd_gettime(fd, &old));
    printf("interval %ld\n", old.it_interval.tv_nsec);
    SHOW(timerfd_settime(fd, 0, NOWHERE, NULL));
    SHOW(timerfd_gettime(fd, NOWHERE));
    SHOW(timerfd_settime(fd, 64, &t, NULL));
    SHOW(timerfd_create(99, 0));
    close(fd);
}

static void clocks(void)
{
    struct timespec a, b, req = {0, 1000000}, rem = {7, 7};
    struct timeval tv;
    struct sigaction sa = {.sa_handler = handler};
    struct itimerval it = {{0, 0}, {0, 20000}};

    SHOW(clock_gettime(CLOCK_MONOTONIC, &a));
    SHOW(nanosleep(&req, &rem));
    SHOW(clock_gettime(CLOCK_MONOTONIC, &b));
    long ns = (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
    printf("slept %d rem %ld\n", ns >= 1000000, (long)rem.tv_sec);
    SHOW(syscall(SYS_clock_gettime, 99, &a));
    SHOW(syscall(SYS_clock_gettime, CLOCK_REALTIME, NOWHERE));
    SHOW(syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &a));
    SHOW(clock_getres(CLOCK_MONOTONIC, &a));
    printf("%ld %ld\n", (long)a.tv_sec, a.tv_nsec);
    SHOW(syscall(SYS_clock_getres, 99, NULL));
    SHOW(gettimeofday(&tv, NULL));
    SHOW(tv.tv_sec > 1600000000);
    SHOW(syscall(SYS_gettimeofday, NOWHERE, NULL));
    req.tv_nsec = 2000000000;
    SHOW(nanosleep(&req, NULL));
    SHOW(syscall(SYS_nanosleep, NOWHERE, NULL));
    SHOW(syscall(SYS_clock_nanosleep, 99, 0, &req, NULL));
    SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &req, NULL));
    sigaction(SIGALRM, &sa, NULL);
    caught = 0;
    setitimer(ITIMER_REAL, &it, NULL);
    req = (struct timespec){5, 0};
    SHOW(nanosleep(&req, &rem));
    printf("caught %d rem %d\n", caught, rem.tv_sec == 4);
    sa.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    SHOW(nanosleep(&req, NULL));
    setitimer(ITIMER_REAL, &it, NULL);
    clock_gettime(CLOCK_MONOTONIC, &a);
    a.tv_nsec = a.tv_nsec % 900000000 + 50000000;
    a.tv_sec += 1;
    SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL));
    setitimer(ITIMER_REAL, &it, NULL);
    SHOW(poll(NULL, 0, 2000));
    SHOW(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &a));
    SHOW(syscall(SYS_adjtimex, NOWHERE));
}

int main(void)
{
    polls();
    epolls();
    timers();
    clocks();
    return 0;
}
