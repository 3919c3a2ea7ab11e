/* Threads: many at once, starting and ending quickly; join, locks, thread-local data. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 48 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static _Thread_local int mine = 5;
static atomic_int total;
static int plain, turn;

static void *work(void *arg)
{
    int n = (int)(intptr_t)arg;

    mine += n;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 1000; i++) {
        atomic_fetch_add(&total, 1);
        pthread_mutex_lock(&lock);
        plain++;
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    while (turn != n)
        pthread_cond_wait(&cond, &lock);
    turn++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    return (void *)(intptr_t)(mine * 2);
}

static void *quick(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void many(void)
{
    pthread_t th[N];
    long sum = 0;

    pthread_barrier_init(&barrier, NULL, N);
    for (int i = 0; i < N; i++)
        if (pthread_create(&th[i], NULL, work, (void *)(intptr_t)i))
            printf("create failed\n");
    for (int i = 0; i < N; i++) {
        void *r;

        pthread_join(th[i], &r);
        sum += (long)(intptr_t)r;
    }
    printf("total %d plain %d sum %ld mine %d turn %d\n", total, plain, sum, mine, turn);
}

static void churn(void)
{
    atomic_int n = 0;
    pthread_attr_t attr;

    for (int round = 0; round < 20; round++) {
        pthread_t th[32];

        for (int i = 0; i < 32; i++)
            pthread_create(&th[i], NULL, quick, &n);
        for (int i = 0; i < 32; i++)
            pthread_join(th[i], NULL);
    }
    printf("joined %d\n", n);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 200; i++) {
        pthread_t th;

        while (pthread_create(&th, &attr, quick, &n) == EAGAIN)
            usleep(1000);
    }
    while (atomic_load(&n) < 840)
        sched_yield();
    printf("detached %d\n", n);
}

static sem_t sem;

static void *canceled(void *arg)
{
    sem_post(&sem);
    for (;;)
        pause();
    return arg;
}

static void cancel(void)
{
    pthread_t th;
    void *r;

    sem_init(&sem, 0, 0);
    pthread_create(&th, NULL, canceled, NULL);
    sem_wait(&sem);
    pthread_cancel(th);
    pthread_join(th, &r);
    printf("canceled %d\n", r == PTHREAD_CANCELED);
}

static void *set_ids(void *arg)
{
    (void)arg;
    sem_wait(&sem);
    return (void *)(intptr_t)(getuid() == geteuid());
}

static void ids(void)
{
    pthread_t th;
    void *r;

    /* The C library changes the ids of all threads with a signal of its own. */
    pthread_create(&th, NULL, set_ids, NULL);
    printf("setuid %d\n", setreuid(getuid(), geteuid()));
    sem_post(&sem);
    pthread_join(th, &r);
    printf("same %ld\n", (long)(intptr_t)r);
}

static int status_of(void (*fn)(void))
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        fn();
        _exit(99);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void *exit_later(void *arg)
{
    usleep(20000);
    if (arg)
        exit(23);
    printf("last thread\n");
    fflush(stdout);
    return NULL;
}

static void *spin(void *arg)
{
    for (volatile long i = 0;; i++)
        ;
    return arg;
}

static void main_ends_first(void)
{
    pthread_t th;

    pthread_create(&th, NULL, exit_later, NULL);
    pthread_exit(NULL);
}

static void raw_main_ends_first(void)
{
    pthread_t th;

    pthread_create(&th, NULL, exit_later, NULL);
    syscall(SYS_exit, 17);
}

static void thread_exits(void)
{
    pthread_t th;

    for (int i = 0; i < 4; i++)
        pthread_create(&th, NULL, i < 2 ? spin : canceled, NULL);
    pthread_create(&th, NULL, exit_later, (void *)1);
    for (;;)
        pause();
}

static void killed(void)
{
    pthread_t th;

    close(2);
    for (int i = 0; i < 4; i++)
        pthread_create(&th, NULL, spin, NULL);
    *(volatile int *)16 = 0;
}

int main(void)
{
    /* Processes before threads: the child of a threaded program is another test (thr_fork). */
    printf("main first: %d\n", status_of(main_ends_first));
    printf("raw main first: %d\n", status_of(raw_main_ends_first));
    printf("thread exits: %d\n", status_of(thread_exits));
    printf("killed: %d\n", status_of(killed));
    many();
    churn();
    cancel();
    ids();
    return 0;
}
