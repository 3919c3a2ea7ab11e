/* Faults: kind, code, address; going on after them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile uintptr_t base;
static volatile int count;

static void handler(int sig, siginfo_t *si, void *context)
{
    (void)context;
    printf("signal %d code %d address base%+ld\n", sig, si->si_code,
           (long)((uintptr_t)si->si_addr - base));
    siglongjmp(back, 1);
}

static void repair(int sig, siginfo_t *si, void *context)
{
    (void)sig, (void)context;
    count++;
    mprotect((void *)((uintptr_t)si->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

#define FAULT(what, statement)                                                                     \
    do {                                                                                           \
        printf("%s: ", what);                                                                      \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            statement;                                                                             \
            printf("no fault\n");                                                                  \
        }                                                                                          \
    } while (0)

static int child_status(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        fclose(stderr);
        close(2);
        fn();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void bad_store(void) { *(volatile int *)16 = 1; }

static void blocked_store(void)
{
    sigset_t s;

    sigfillset(&s);
    sigprocmask(SIG_SETMASK, &s, NULL);
    signal(SIGSEGV, SIG_DFL);
    bad_store();
}

static void no_stack(void)
{
    /* The handler has no stack to run on. */
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t ss = {.ss_sp = (void *)4096, .ss_size = 65536};

    sigaction(SIGUSR1, &sa, NULL);
    signal(SIGSEGV, SIG_DFL);
    sigaltstack(&ss, NULL);
    raise(SIGUSR1);
}

static void aborts(void) { abort(); }

int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    volatile char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char name[] = "/tmp/sig_fault.XXXXXX";
    volatile char *f;
    int fd = mkstemp(name);

    setvbuf(stdout, NULL, _IONBF, 0);
    unlink(name);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);

    base = 0;
    FAULT("null read", (void)*(volatile int *)8);
    FAULT("null write", *(volatile int *)0 = 1);
    FAULT("null call", ((void (*)(void))8)());
    base = (uintptr_t)p;
    mprotect((void *)(p + 4096), 4096, PROT_READ);
    mprotect((void *)(p + 8192), 4096, PROT_NONE);
    FAULT("read-only read", (void)p[4096 + 5]);
    FAULT("read-only write", p[4096 + 5] = 1);
    FAULT("none read", (void)p[8192 + 6]);
    munmap((void *)(p + 12288), 4096);
    FAULT("unmapped", p[12288 + 7] = 1);
    FAULT("fine", p[1] = 1);
    FAULT("not executable", ((void (*)(void))(p + 16384))());
    FAULT("again", p[4096 + 1] = 1);
    FAULT("and again", p[4096 + 2] = 1);

    if (ftruncate(fd, 100) < 0)
        return 1;
    f = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    base = (uintptr_t)f;
    FAULT("in file", f[4000] = 1);
    FAULT("beyond file", f[4096 + 3] = 1);

    sa.sa_sigaction = repair;
    sigaction(SIGSEGV, &sa, NULL);
    for (int i = 0; i < 16; i++) {
        mprotect((void *)p, 4096, PROT_NONE);
        p[i * 8] = (char)i;
    }
    printf("repaired %d, value %d\n", count, p[120]);

    printf("store: %d\n", (signal(SIGSEGV, SIG_DFL), child_status(bad_store)));
    printf("ignored: %d\n", (signal(SIGSEGV, SIG_IGN), child_status(bad_store)));
    printf("blocked: %d\n", child_status(blocked_store));
    printf("no stack: %d\n", child_status(no_stack));
    printf("abort: %d\n", child_status(aborts));
    return 0;
}
