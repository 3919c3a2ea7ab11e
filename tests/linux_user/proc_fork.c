/* Processes: fork, vfork, posix_spawn, clone and clone3 with various flags, wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
extern char **environ;

static volatile int shared;
static char stack[65536] __attribute__((aligned(16)));

static int wait_for(pid_t pid, int options)
{
    int status;
    pid_t r;

    do {
        r = waitpid(pid, &status, options);
    } while (r < 0 && errno == EINTR);
    if (r != pid)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void forks(void)
{
    int before = 5;
    pid_t pid = fork();

    if (pid == 0) {
        before = 6;
        shared = 77;
        _exit(getpid() != getppid() ? before : 0);
    }
    printf("fork: %d %d %d\n", wait_for(pid, 0), before, shared);
    pid = fork();
    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            pid = fork();
            if (pid == 0)
                _exit(3);
            _exit(wait_for(pid, 0) + 4);
        }
        _exit(wait_for(pid, 0) + 5);
    }
    printf("deep: %d\n", wait_for(pid, 0));
}

static void on_child(int sig) { shared += sig; }

static void vforks(void)
{
    pid_t pid;

    shared = 0;
    signal(SIGUSR2, on_child);
    pid = vfork();
    if (pid == 0) {
        shared = 1;
        signal(SIGUSR2, SIG_DFL); /* the child's, not the parent's */
        _exit(9);
    }
    printf("vfork: %d shared %d\n", wait_for(pid, 0), shared);
    raise(SIGUSR2);
    printf("handler kept: %d\n", shared);
    pid = vfork();
    if (pid == 0) {
        execl("/nonexistent/program", "x", NULL);
        shared = errno;
        _exit(127);
    }
    printf("exec failed: %d %s\n", wait_for(pid, 0), strerrorname_np(shared));
    pid = vfork();
    if (pid == 0) {
        execl("/proc/self/exe", "proc_fork", "child", "a b", NULL);
        _exit(127);
    }
    printf("exec: %d\n", wait_for(pid, 0));
    pid = vfork();
    if (pid == 0) {
        raise(SIGKILL);
        _exit(1);
    }
    printf("killed: %d\n", wait_for(pid, 0));
}

static void spawns(void)
{
    char *argv[] = {"proc_fork", "child", "spawned", NULL}, *bad[] = {"x", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t set;
    pid_t pid;
    int r = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);

    printf("spawn: %d %d\n", r, wait_for(pid, 0));
    r = posix_spawn(&pid, "/nonexistent", NULL, NULL, bad, environ);
    printf("spawn nothing: %s\n", strerrorname_np(r));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attr);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    posix_spawnattr_setsigmask(&attr, &set);
    posix_spawnattr_setsigdefault(&attr, &set);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    r = posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ);
    printf("spawn silent: %d %d\n", r, wait_for(pid, 0));
    r = system("exit 12");
    printf("system: %d\n", WEXITSTATUS(r));
    for (int i = 0; i < 20; i++) {
        r = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
        if (r || wait_for(pid, 0) != 21)
            printf("spawn %d failed\n", i);
    }
}

static int clone_child(void *arg)
{
    shared = (int)(intptr_t)arg;
    return 33;
}

static void clones(void)
{
    pid_t ptid = 0, ctid = 0, pid;
    int pidfd = -1;

    signal(SIGUSR1, SIG_IGN);
    shared = 0;
    pid = clone(clone_child, stack + sizeof(stack), SIGCHLD, (void *)1);
    printf("clone: %d shared %d\n", wait_for(pid, 0), shared);
    pid = clone(clone_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)2);
    printf("vm vfork: %d shared %d\n", wait_for(pid, 0), shared);
    pid = clone(clone_child, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)3);
    printf("vm: %d", wait_for(pid, 0));
    printf(" shared %d\n", shared);
    pid = clone(clone_child, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES |
                CLONE_SIGHAND | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, (void *)4,
                &ptid, NULL, &ctid);
    printf("all shared: %d", wait_for(pid, 0));
    printf(" shared %d ptid %d ctid %d\n", shared, ptid == pid, ctid);
    pid = clone(clone_child, stack + sizeof(stack), SIGUSR1, (void *)5);
    printf("other signal: %d", wait_for(pid, 0));
    printf(" with __WALL %d\n", wait_for(pid, __WALL));
    pid = clone(clone_child, stack + sizeof(stack), CLONE_VFORK | SIGCHLD, (void *)6);
    printf("vfork without vm: %d shared %d\n", wait_for(pid, 0), shared);
    pid = clone(clone_child, stack + sizeof(stack), CLONE_PIDFD | SIGCHLD, (void *)7, &pidfd);
    printf("pidfd: %d", wait_for(pid, 0));
    printf(" fd %d\n", pidfd >= 0 && fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
    close(pidfd);
    printf("thread without sighand: %d", clone(clone_child, stack + sizeof(stack), CLONE_THREAD, NULL));
    printf(" %s\n", strerrorname_np(errno));
    printf("sighand without vm: %d", clone(clone_child, stack + sizeof(stack), CLONE_SIGHAND, NULL));
    printf(" %s\n", strerrorname_np(errno));
}

static void clone3s(void)
{
    struct clone_args a = {.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
    struct sigaction sa;
    struct {
        struct clone_args a;
        uint64_t more;
    } big = {.more = 1};
    long pid;

    signal(SIGUSR2, on_child);
    pid = syscall(SYS_clone3, &a, sizeof(a));
    if (pid == 0) {
        sigaction(SIGUSR2, NULL, &sa);
        _exit(sa.sa_handler == SIG_DFL ? 50 : 51);
    }
    printf("clear sighand: %d\n", wait_for((pid_t)pid, 0));
    printf("small: %ld", syscall(SYS_clone3, &a, 8));
    printf(" %s\n", strerrorname_np(errno));
    printf("too big: %ld", syscall(SYS_clone3, &big, sizeof(big)));
    printf(" %s\n", strerrorname_np(errno));
    a.stack = 4096;
    printf("stack without size: %ld", syscall(SYS_clone3, &a, sizeof(a)));
    printf(" %s\n", strerrorname_np(errno));
    a = (struct clone_args){.flags = CLONE_THREAD, .exit_signal = SIGCHLD};
    printf("thread with signal: %ld", syscall(SYS_clone3, &a, sizeof(a)));
    printf(" %s\n", strerrorname_np(errno));
    printf("pointer: %ld", syscall(SYS_clone3, 8, sizeof(a)));
    printf(" %s\n", strerrorname_np(errno));
}

static void waits(void)
{
    struct rusage ru = {.ru_maxrss = -1};
    siginfo_t si;
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(8);
    printf("waitid: %d", waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT));
    printf(" %d %d %d\n", si.si_signo, si.si_code, si.si_status);
    printf("wait4: %d", wait4(pid, &status, 0, &ru) == pid);
    printf(" %d %d\n", WEXITSTATUS(status), ru.ru_maxrss >= 0);
    memset(&si, 0x55, sizeof(si));
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    printf("nohang: %d", waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG));
    printf(" %d %d\n", si.si_signo, si.si_pid);
    kill(pid, SIGTERM);
    printf("wait null: %d\n", waitpid(pid, NULL, 0) == pid);
    printf("bad pointer: %d", waitid(P_ALL, 0, (void *)8, WEXITED | WNOHANG));
    printf(" %s\n", strerrorname_np(errno));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1) {
        printf("child: %s\n", argv[argc - 1]);
        return 21;
    }
    forks();
    vforks();
    spawns();
    clones();
    clone3s();
    waits();
    return 0;
}
