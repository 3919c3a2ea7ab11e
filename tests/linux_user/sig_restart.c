/* What becomes of calls that a signal interrupts. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int hits;
static int pipe_fds[2];

static void handler(int sig)
{
    (void)sig;
    hits++;
}

/* A child that signals us twice, then writes a byte, then ends. */
static pid_t poke(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        for (int i = 0; i < 2; i++) {
            usleep(60000);
            kill(parent, SIGUSR1);
        }
        usleep(60000);
        if (write(pipe_fds[1], "x", 1) != 1)
            _exit(1);
        _exit(0);
    }
    return pid;
}

static void drain(void)
{
    char c;
    struct pollfd p = {.fd = pipe_fds[0], .events = POLLIN};

    while (poll(&p, 1, 0) > 0 && read(pipe_fds[0], &c, 1) == 1)
        ;
}

static void result(const char *what, long r, int error, pid_t pid)
{
    int status;

    while (pid && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    printf("%s: %ld %s, signals %s\n", what, r, r < 0 ? strerrorname_np(error) : "-",
           hits ? "yes" : "no");
    hits = 0;
    drain();
}

#define TRY(what, call)                                                                            \
    do {                                                                                           \
        pid_t pid_ = poke();                                                                       \
        long r_ = (long)(call);                                                                    \
        result(what, r_, errno, pid_);                                                             \
    } while (0)

static void *unlock_later(void *m)
{
    usleep(150000);
    pthread_mutex_unlock(m);
    return NULL;
}

static void calls(const char *mode)
{
    struct timespec ts = {0, 500000000}, rem = {9, 9};
    struct timeval tv = {1, 0};
    int word = 0, status;
    fd_set set;
    char c;

    printf("-- %s\n", mode);
    TRY("read", read(pipe_fds[0], &c, 1));
    TRY("poll", poll(&(struct pollfd){.fd = pipe_fds[0], .events = POLLIN}, 1, 2000));
    FD_ZERO(&set);
    FD_SET(pipe_fds[0], &set);
    TRY("select", select(pipe_fds[0] + 1, &set, NULL, NULL, &tv));
    TRY("nanosleep", nanosleep(&ts, &rem));
    printf("remaining: %d\n", rem.tv_sec == 0 && rem.tv_nsec > 0 && rem.tv_nsec < 500000000);
    TRY("pause", pause());
    TRY("futex", syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0) < 0 ? -1 : 0);
    {
        pid_t pid = poke();
        long r = waitpid(pid, &status, 0);

        result("waitpid", r < 0 ? r : 1, errno, r < 0 ? pid : 0);
    }
}

int main(void)
{
    struct sigaction sa = {.sa_handler = handler};
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_t th;

    setvbuf(stdout, NULL, _IONBF, 0);
    if (pipe(pipe_fds) < 0)
        return 1;
    sigaction(SIGUSR1, &sa, NULL);
    calls("no SA_RESTART");
    sa.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &sa, NULL);
    calls("SA_RESTART");
    signal(SIGUSR1, SIG_IGN);
    {
        char c;
        TRY("ignored", read(pipe_fds[0], &c, 1));
    }
    signal(SIGUSR1, handler);
    pthread_mutex_lock(&m);
    pthread_create(&th, NULL, unlock_later, &m);
    alarm(0);
    pthread_mutex_lock(&m);
    pthread_join(th, NULL);
    printf("locked\n");
    return 0;
}
