/* What test_gdb.py debugs. The lines that it stops at are marked. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

volatile int counter;
volatile int spin = 1;
static pthread_barrier_t barrier;

double scale(double x, float y)
{
    double r = x * y + 0.5;
    return r;
}

int add(int a, int b)
{
    int sum = a + b;
    return sum;
}

void both(void)
{
    __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST); /* both */
}

static void handler(int sig)
{
    counter += 100; /* handler */
}

static void *worker(void *arg)
{
    long n = (long)arg;

    pthread_barrier_wait(&barrier);
    __atomic_fetch_add(&counter, (int)n, __ATOMIC_SEQ_CST); /* worker */
    pthread_barrier_wait(&barrier);
    return NULL;
}

static int run_threads(void)
{
    pthread_t threads[3];

    pthread_barrier_init(&barrier, NULL, 4);
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("threads %d\n", counter);
    return 0;
}

static void count_signal(int sig)
{
    __atomic_fetch_add(&counter, 1000, __ATOMIC_SEQ_CST);
}

static void *storm_worker(void *arg)
{
    for (int i = 0; i < 50; i++) {
        both();
        if (i % 16 == 8)
            pthread_kill(pthread_self(), SIGUSR2);
    }
    return NULL;
}

/* Threads that come, go, get signals and run into the same breakpoint. */
static int run_storm(void)
{
    pthread_t threads[6];

    signal(SIGUSR2, count_signal);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6; i++)
            pthread_create(&threads[i], NULL, storm_worker, NULL);
        for (int i = 0; i < 6; i++)
            pthread_join(threads[i], NULL);
    }
    printf("storm %d\n", counter);
    return 0;
}

static int run_fork(void)
{
    int status;
    pid_t pid = fork();

    both();
    if (pid == 0)
        _exit(counter + 10);
    waitpid(pid, &status, 0);
    printf("fork %d\n", WEXITSTATUS(status));
    return 0;
}

static int run_spawn(const char *self)
{
    char *argv[] = {(char *)self, "quiet", NULL};
    int status = -1;
    pid_t pid;

    if (posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0)
        waitpid(pid, &status, 0);
    printf("spawn %d\n", WEXITSTATUS(status));
    return 0;
}

/* The debugger's connection is none of the guest's business. */
static int run_files(void)
{
    int before = open("/dev/null", O_RDONLY);
    int after;

    syscall(SYS_close_range, 3, ~0u, 0);
    after = open("/dev/null", O_RDONLY);
    both();
    printf("files %d %d\n", before, after);
    return 0;
}

static int run_spin(void)
{
    while (spin)
        counter++;
    printf("spun\n");
    return 5;
}

static int run_sleep(void)
{
    printf("asleep\n");
    fflush(stdout);
    while (spin)
        pause();
    return 6;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int total = 0;
    double d;

    if (!strcmp(what, "quiet"))
        return 9;
    if (!strcmp(what, "threads"))
        return run_threads();
    if (!strcmp(what, "fork"))
        return run_fork();
    if (!strcmp(what, "spawn"))
        return run_spawn(argv[0]);
    if (!strcmp(what, "storm"))
        return run_storm();
    if (!strcmp(what, "files"))
        return run_files();
    if (!strcmp(what, "spin"))
        return run_spin();
    if (!strcmp(what, "sleep"))
        return run_sleep();
    if (!strcmp(what, "crash"))
        *(volatile int *)8 = 1; /* crash */
    for (int i = 1; i <= 3; i++)
        total = add(total, i);
    d = scale(1.5, 2.0f);
    counter = 7;
    counter = 8;
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    printf("done %d %g %d\n", total, d, counter);
    return 23;
}
