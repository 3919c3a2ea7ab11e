/* Threads that fork at once; a child of a threaded program makes threads of its own. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 8 };

static void *quick(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *fork_in_thread(void *arg)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        pthread_t th;
        atomic_int n = 0;

        pthread_create(&th, NULL, quick, &n);
        pthread_join(th, NULL);
        if (gettid() != getpid())
            _exit(1);
        _exit(40 + n);
    }
    waitpid(pid, &status, 0);
    *(int *)arg = WEXITSTATUS(status);
    return NULL;
}

int main(void)
{
    pthread_t th[N];
    int r[N];

    for (int i = 0; i < N; i++)
        pthread_create(&th[i], NULL, fork_in_thread, &r[i]);
    for (int i = 0; i < N; i++) {
        pthread_join(th[i], NULL);
        printf("%d ", r[i]);
    }
    printf("forked\n");
    return 0;
}
