/* Futexes: operations, errors, robust mutexes whose owner died, futex_waitv, PI. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static uint32_t word, word2;

static const char *r(long v)
{
    static char text[4][32];
    static int next;
    char *t = text[next++ & 3];

    snprintf(t, 32, "%s", v < 0 ? strerrorname_np(errno) : "");
    if (v >= 0)
        snprintf(t, 32, "%ld", v);
    return t;
}

static long futex(void *a, int op, uint32_t v, void *ts, void *b, uint32_t v3)
{
    return syscall(SYS_futex, a, op, v, ts, b, v3);
}

static void *waiter(void *arg)
{
    return (void *)futex(&word, FUTEX_WAIT, 0, NULL, arg, 0);
}

static void *waiter2(void *arg)
{
    while (__atomic_load_n(&word2, __ATOMIC_SEQ_CST) == 0)
        futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}

struct wv {
    uint64_t val, addr;
    uint32_t flags, reserved;
};

static void *waiter_v(void *arg)
{
    struct wv v[2] = {{0, (uintptr_t)&word, 2 | 128, 0}, {0, (uintptr_t)&word2, 2 | 128, 0}};

    (void)arg;
    return (void *)syscall(SYS_futex_waitv, v, 2, 0, NULL, CLOCK_MONOTONIC);
}

static void operations(void)
{
    struct timespec soon = {0, 1000000}, bad = {0, 2000000000};
    pthread_t th[4];
    long woken = 0;
    void *res;

    printf("other value: %s\n", r(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0)));
    printf("timeout: %s\n", r(futex(&word, FUTEX_WAIT, 0, &soon, NULL, 0)));
    printf("bad timeout: %s\n", r(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0)));
    printf("timeout pointer: %s\n", r(futex(&word, FUTEX_WAIT, 0, (void *)8, NULL, 0)));
    printf("unaligned: %s\n", r(futex((char *)&word + 1, FUTEX_WAIT, 0, &soon, NULL, 0)));
    printf("unmapped: %s\n", r(futex((void *)4096, FUTEX_WAIT, 0, &soon, NULL, 0)));
    printf("wake unmapped: %s\n", r(futex((void *)4096, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)));
    printf("no bits: %s\n", r(futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0)));
    printf("operation: %s\n", r(futex(&word, 99, 0, NULL, NULL, 0)));

    for (int i = 0; i < 4; i++)
        pthread_create(&th[i], NULL, waiter, NULL);
    while (woken < 2) {
        long n = futex(&word, FUTEX_WAKE, (uint32_t)(2 - woken), NULL, NULL, 0);

        woken += n;
        usleep(100);
    }
    /* The other two go to word2, and are woken there. */
    for (woken = 0; woken < 2; usleep(100))
        woken += futex(&word, FUTEX_CMP_REQUEUE, 0, (void *)2, &word2, 0);
    printf("requeued %ld, woken there %ld\n", woken, futex(&word2, FUTEX_WAKE, 9, NULL, NULL, 0));
    for (int i = 0; i < 4; i++) {
        pthread_join(th[i], &res);
        printf("%ld ", (long)res);
    }
    printf("\n");
    printf("requeue differs: %s\n", r(futex(&word, FUTEX_CMP_REQUEUE, 0, NULL, &word2, 9)));
    pthread_create(&th[0], NULL, waiter2, NULL);
    while (futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &word2, 0) != 1)
        usleep(100);
    printf("wake op: %s", r(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2,
                                  FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 0))));
    printf(" word2 %u\n", word2);
    pthread_join(th[0], NULL);
    word2 = 0;
    pthread_create(&th[0], NULL, waiter_v, NULL);
    do {
        usleep(1000);
    } while (futex(&word2, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1);
    pthread_join(th[0], &res);
    printf("waitv: %ld\n", (long)res);
    printf("waitv none: %s\n", r(syscall(SYS_futex_waitv, &word, 0, 0, NULL, 0)));
    printf("lock pi: %s", r(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0)));
    printf(" owner %d", (word & FUTEX_TID_MASK) == (uint32_t)syscall(SYS_gettid));
    printf(" unlock: %s\n", r(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0)));
}

struct shared {
    pthread_mutex_t mutex, pi;
    int stage;
};

static void init_mutex(pthread_mutex_t *m, int protocol)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&a, protocol);
    pthread_mutex_init(m, &a);
}

static void *lock_and_end(void *arg)
{
    struct shared *s = arg;

    pthread_mutex_lock(&s->mutex);
    pthread_mutex_lock(&s->pi);
    return NULL;
}

static void take(struct shared *s, const char *what)
{
    int a = pthread_mutex_lock(&s->mutex), b = pthread_mutex_lock(&s->pi);

    printf("%s: %d %d", what, a == EOWNERDEAD, b == EOWNERDEAD);
    if (a == EOWNERDEAD)
        a = pthread_mutex_consistent(&s->mutex);
    if (b == EOWNERDEAD)
        b = pthread_mutex_consistent(&s->pi);
    printf(" consistent %d %d unlock %d %d\n", a, b, pthread_mutex_unlock(&s->mutex),
           pthread_mutex_unlock(&s->pi));
}

static void robust(void)
{
    struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t th;
    pid_t pid;

    init_mutex(&s->mutex, PTHREAD_PRIO_NONE);
    init_mutex(&s->pi, PTHREAD_PRIO_INHERIT);
    for (int how = 0; how < 3; how++) {
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            lock_and_end(s);
            if (how == 0)
                _exit(0);
            if (how == 1)
                syscall(SYS_exit, 0);
            __atomic_store_n(&s->stage, 1, __ATOMIC_SEQ_CST);
            for (;;)
                pause();
        }
        if (how == 2) {
            while (!__atomic_load_n(&s->stage, __ATOMIC_SEQ_CST))
                usleep(1000);
            kill(pid, SIGKILL);
        }
        waitpid(pid, NULL, 0);
        take(s, how == 0 ? "process ended" : how == 1 ? "thread call" : "killed");
    }
    pthread_create(&th, NULL, lock_and_end, s);
    pthread_join(th, NULL);
    take(s, "thread ended");
}

int main(void)
{
    robust();
    operations();
    return 0;
}
