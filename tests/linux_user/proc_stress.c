/* Threads that make processes in every way at once, while signals come in. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 12 };

static atomic_int children, alarms, good[4];
extern char **environ;

static void on_signal(int sig) { atomic_fetch_add(sig == SIGCHLD ? &children : &alarms, 1); }

static int status_of(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void *allocate(void *arg)
{
    for (int i = 0; i < 200; i++)
        free(malloc((size_t)(i * 100)));
    return arg;
}

static int child_body(void *arg)
{
    pthread_t th;
    void *r;

    /* malloc and threads must work in a child of a threaded program. */
    allocate(NULL);
    if (pthread_create(&th, NULL, allocate, arg) || pthread_join(th, &r) || r != arg)
        return 1;
    return 40;
}

static int by_clone(void *arg)
{
    (void)arg;
    for (volatile int i = 0; i < 1000; i++)
        ;
    return 43;
}

static void *work(void *arg)
{
    char *argv[] = {"proc_stress", "child", NULL};
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    posix_spawnattr_t attr;
    sigset_t none;

    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(child_body(arg));
        good[0] += status_of(pid) == 40;
        if (posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ) == 0)
            good[1] += status_of(pid) == 41;
        pid = vfork();
        if (pid == 0)
            _exit(42);
        good[2] += status_of(pid) == 42;
        pid = clone(by_clone, stack + 65536, CLONE_VM | SIGCHLD, NULL);
        good[3] += status_of(pid) == 43;
        allocate(NULL);
    }
    munmap(stack, 65536);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval it = {{0, 1000}, {0, 1000}};
    pthread_t th[THREADS];

    (void)argv;
    if (argc > 1)
        return 41;
    sigaction(SIGCHLD, &sa, NULL);
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&th[i], NULL, work, &good);
    for (int i = 0; i < THREADS; i++)
        pthread_join(th[i], NULL);
    printf("fork %d spawn %d vfork %d clone %d signals %d %d\n", good[0], good[1], good[2], good[3],
           children > 0, alarms > 0);
    return 0;
}
