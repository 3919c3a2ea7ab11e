/* Signals: handlers, masks, order, queues, sigsuspend, sigaltstack, sigtimedwait, signalfd. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static signed char seen[256];
static int n_seen;

static void note(int sig) { seen[n_seen++] = (signed char)sig; }

static void show(const char *what)
{
    printf("%s:", what);
    for (int i = 0; i < n_seen; i++)
        printf(" %d", seen[i]);
    printf("\n");
    n_seen = 0;
}

static void set(int sig, void (*fn)(int), int flags, int also)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};

    sigemptyset(&sa.sa_mask);
    if (also)
        sigaddset(&sa.sa_mask, also);
    sigaction(sig, &sa, NULL);
}

static void nested(int sig)
{
    note(sig);
    if (n_seen < 3) {
        raise(sig);
        note(-sig);
    }
}

static void info(int sig, siginfo_t *si, void *context)
{
    (void)context;
    printf("info: sig %d signo %d code %d pid %d uid %d value %d\n", sig, si->si_signo, si->si_code,
           si->si_pid == getpid(), si->si_uid == getuid(), si->si_code == SI_QUEUE ? si->si_int : 0);
}

static void actions(void)
{
    struct sigaction sa, old;

    set(SIGUSR1, note, SA_RESTART | SA_NODEFER, SIGUSR2);
    sigaction(SIGUSR1, NULL, &old);
    printf("action: flags %x handler %d mask usr2 %d usr1 %d\n", old.sa_flags & ~0x04000000,
           old.sa_handler == note, sigismember(&old.sa_mask, SIGUSR2),
           sigismember(&old.sa_mask, SIGUSR1));
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = note;
    printf("SIGKILL: %d\n", sigaction(SIGKILL, &sa, NULL) < 0 ? errno : 0);
    printf("SIGSTOP: %d\n", sigaction(SIGSTOP, &sa, NULL) < 0 ? errno : 0);
    printf("signal 65: %d\n", sigaction(65, &sa, NULL) < 0 ? errno : 0);
    printf("get SIGKILL: %d\n", sigaction(SIGKILL, NULL, &old));

    set(SIGUSR1, nested, 0, 0);
    raise(SIGUSR1);
    show("deferred");
    set(SIGUSR1, nested, SA_NODEFER, 0);
    raise(SIGUSR1);
    show("nested");
    set(SIGUSR1, note, SA_RESETHAND, 0);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    printf("reset: %d\n", old.sa_handler == SIG_DFL);
    show("once");
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    sa.sa_sigaction = info;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
}

static void masks(void)
{
    sigset_t all, old, pending, one;

    for (int i = 0; i < 3; i++)
        set(i == 0 ? SIGUSR1 : i == 1 ? SIGUSR2 : SIGTERM, note, 0, 0);
    for (int i = 0; i < 4; i++)
        set(SIGRTMIN + i, note, 0, 0);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    printf("pending: %d %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2),
           sigismember(&pending, SIGTERM), sigismember(&pending, SIGINT));
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    show("one unblocked");
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("%d left\n", n_seen);
    n_seen = 0;

    sigprocmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < 12; i++)
        sigqueue(getpid(), SIGRTMIN + i % 3, (union sigval){.sival_int = i});
    for (int i = 0; i < 12; i++) {
        struct timespec zero = {0};
        siginfo_t si;
        int sig = sigtimedwait(&all, &si, &zero);

        printf("%d:%d ", sig - SIGRTMIN, si.si_int);
    }
    printf("then %d\n", sigtimedwait(&all, NULL, &(struct timespec){0, 1000000}) < 0 ? errno : 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("how: %d\n", sigprocmask(77, &all, NULL) < 0 ? errno : 0);
}

static void suspend(void)
{
    sigset_t block, old, now;

    set(SIGUSR1, note, 0, 0);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &old);
    raise(SIGUSR1);
    printf("sigsuspend: %d\n", sigsuspend(&old) < 0 ? errno : 0);
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("still blocked: %d\n", sigismember(&now, SIGUSR1));
    show("suspend");
    raise(SIGUSR1);
    printf("ppoll: %d", ppoll(NULL, 0, NULL, &old));
    printf(" %d\n", errno == EINTR);
    show("ppoll");
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static stack_t in_handler;

static void on_stack(int sig)
{
    char here;

    note(sig);
    sigaltstack(NULL, &in_handler);
    printf("on stack: %d flags %d change %d\n",
           &here >= (char *)in_handler.ss_sp && &here < (char *)in_handler.ss_sp + in_handler.ss_size,
           in_handler.ss_flags, sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) < 0 ? errno : 0);
    if (n_seen < 2)
        raise(SIGUSR2);
}

static void altstack(void)
{
    stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536}, old;

    sigaltstack(NULL, &old);
    printf("none: flags %d\n", old.ss_flags);
    printf("small: %d", sigaltstack(&(stack_t){.ss_sp = ss.ss_sp, .ss_size = 100}, NULL));
    printf(" %d\n", errno);
    printf("flags: %d", sigaltstack(&(stack_t){.ss_flags = 64}, NULL));
    printf(" %d\n", errno);
    sigaltstack(&ss, NULL);
    set(SIGUSR1, on_stack, SA_ONSTACK, 0);
    set(SIGUSR2, on_stack, SA_ONSTACK, 0);
    raise(SIGUSR1);
    show("altstack");
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    set(SIGUSR1, note, SA_ONSTACK, 0);
    raise(SIGUSR1);
    show("disabled");
    free(ss.ss_sp);
}

static void fd(void)
{
    struct signalfd_siginfo si[4];
    sigset_t block, old;
    int f;
    ssize_t n;

    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigaddset(&block, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &block, &old);
    f = signalfd(-1, &block, SFD_NONBLOCK);
    printf("empty: %zd\n", read(f, si, sizeof(si)));
    raise(SIGUSR1);
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 7});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 8});
    n = read(f, si, sizeof(si));
    printf("signalfd: %zd", n);
    for (int i = 0; i < (int)(n / (ssize_t)sizeof(si[0])); i++)
        printf(" %d/%d", si[i].ssi_signo, si[i].ssi_int);
    printf("\n");
    close(f);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void ignored_children(void)
{
    int status;
    pid_t pid;

    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (pid == 0)
        _exit(3);
    printf("ignored: %d", waitpid(pid, &status, 0));
    printf(" %d\n", errno == ECHILD);
    signal(SIGCHLD, SIG_DFL);
    set(SIGCHLD, note, SA_NOCLDWAIT, 0);
    pid = fork();
    if (pid == 0)
        _exit(4);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    printf("nocldwait: %d\n", errno == ECHILD);
    show("child");
    set(SIGCHLD, note, 0, 0);
    pid = fork();
    if (pid == 0)
        _exit(5);
    while (waitpid(pid, &status, 0) < 0)
        ;
    printf("status: %d\n", WEXITSTATUS(status));
    show("child");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    actions();
    masks();
    suspend();
    altstack();
    fd();
    ignored_children();
    return 0;
}
