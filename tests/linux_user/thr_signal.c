/* Signals and threads: to a thread, to the process, masks per thread, many at once. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 4, ROUNDS = 60 };

static pthread_t th[N];
static atomic_int hits, rt_hits, rt_sum, stop, ready;
static _Thread_local int here;
static atomic_int per_thread[N];

static void count(int sig)
{
    (void)sig;
    atomic_fetch_add(&hits, 1);
    atomic_fetch_add(&per_thread[here], 1);
}

static void rt(int sig, siginfo_t *si, void *context)
{
    (void)sig, (void)context;
    atomic_fetch_add(&rt_hits, 1);
    atomic_fetch_add(&rt_sum, si->si_value.sival_int);
}

static void *busy(void *arg)
{
    double x = 1.5;
    unsigned long k = 0;

    here = (int)(intptr_t)arg;
    atomic_fetch_add(&ready, 1);
    /* Registers must survive: half of the threads compute, half make calls. */
    while (!atomic_load(&stop)) {
        if (here & 1) {
            getppid();
        } else {
            for (int i = 0; i < 1000; i++) {
                x = x * 1.0000001 + 0.25;
                k = k * 6364136223846793005ul + 1442695040888963407ul;
            }
            if (x > 1e6)
                x = 1.5;
        }
    }
    return (void *)(x >= 1.5 && k != 1 ? 1ul : 0ul);
}

static void to_threads(void)
{
    struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART};

    sigaction(SIGUSR1, &sa, NULL);
    for (int i = 0; i < N; i++)
        pthread_create(&th[i], NULL, busy, (void *)(intptr_t)i);
    while (ready < N)
        usleep(100);
    /* One at a time, so that none is merged with the one before. */
    for (int i = 0; i < ROUNDS; i++) {
        int want = per_thread[i % N] + 1;

        pthread_kill(th[i % N], SIGUSR1);
        while (atomic_load(&per_thread[i % N]) < want)
            sched_yield();
    }
    printf("hits %d", hits);
    for (int i = 0; i < N; i++)
        printf(" %d", per_thread[i]);
    printf("\n");
}

static void queued(void)
{
    struct sigaction sa = {.sa_sigaction = rt, .sa_flags = SA_SIGINFO | SA_RESTART};
    int sent = 0, sum = 0;

    sigaction(SIGRTMIN + 2, &sa, NULL);
    sigaction(SIGRTMIN + 3, &sa, NULL);
    for (int i = 0; i < 20 * ROUNDS; i++) {
        union sigval v = {.sival_int = i};
        int bad = i % 3 == 2 ? sigqueue(getpid(), SIGRTMIN + 2, v)
                             : pthread_sigqueue(th[i % N], SIGRTMIN + 2 + i % 2, v);

        if (bad) {
            i--;
            usleep(100);
            continue;
        }
        sent++;
        sum += i;
    }
    for (int i = 0; i < 5000 && atomic_load(&rt_hits) < sent; i++)
        usleep(1000);
    printf("queued: %d sum %d\n", sent == rt_hits, sum == rt_sum);
}

static void finish(void)
{
    int good = 0;

    stop = 1;
    for (int i = 0; i < N; i++) {
        void *r;

        pthread_join(th[i], &r);
        good += r != NULL;
    }
    printf("good %d\n", good);
}

static void *wait_for(void *arg)
{
    sigset_t s;
    int sig, sum = 0;

    (void)arg;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    sigaddset(&s, SIGTERM);
    do {
        if (sigwait(&s, &sig))
            break;
        sum += sig;
    } while (sig != SIGTERM);
    return (void *)(intptr_t)sum;
}

static void waiting(void)
{
    sigset_t s, old, pending;
    pthread_t w;
    void *r;

    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    sigaddset(&s, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &s, &old);
    pthread_create(&w, NULL, wait_for, NULL);
    for (int i = 0; i < 3; i++) {
        kill(getpid(), SIGUSR2);
        do {
            usleep(1000);
            sigpending(&pending);
        } while (sigismember(&pending, SIGUSR2));
    }
    pthread_kill(w, SIGTERM);
    pthread_join(w, &r);
    printf("sigwait sum %ld\n", (long)(intptr_t)r);
    /* For this thread alone, not for the process. */
    pthread_kill(pthread_self(), SIGUSR2);
    sigpending(&pending);
    printf("pending %d\n", sigismember(&pending, SIGUSR2));
    signal(SIGUSR2, SIG_IGN);
    sigpending(&pending);
    printf("ignored %d\n", sigismember(&pending, SIGUSR2));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    printf("no thread: %ld", syscall(SYS_tgkill, getpid(), 0x3ffffff, SIGUSR1));
    printf(" %d\n", errno);
    printf("no signal: %ld", syscall(SYS_tgkill, getpid(), gettid(), 65));
    printf(" %d\n", errno);
}

static atomic_int arrived;

static void arrive(int sig)
{
    (void)sig;
    atomic_fetch_add(&arrived, 1);
}

static void masks_in_flight(void)
{
    /* Signals that come while the mask changes: none may be lost, none delivered while blocked. */
    struct sigaction sa = {.sa_handler = arrive};
    sigset_t s, old;
    int before, blocked = 0;
    pid_t pid;

    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGRTMIN + 5, &sa, NULL);
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    sigaddset(&s, SIGRTMIN + 5);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 300; i++) {
            kill(getppid(), SIGHUP);
            while (sigqueue(getppid(), SIGRTMIN + 5, (union sigval){0}) < 0)
                usleep(100);
            if (i % 10 == 0)
                usleep(100);
        }
        _exit(0);
    }
    for (;;) {
        sigprocmask(SIG_BLOCK, &s, &old);
        before = arrived;
        for (volatile int i = 0; i < 300; i++)
            ;
        blocked += arrived != before;
        sigprocmask(SIG_SETMASK, &old, NULL);
        if (waitpid(pid, NULL, WNOHANG) == pid)
            break;
    }
    printf("in flight: %d, while blocked %d\n", arrived >= 301, blocked);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    masks_in_flight();
    to_threads();
    queued();
    finish();
    waiting();
    return 0;
}
