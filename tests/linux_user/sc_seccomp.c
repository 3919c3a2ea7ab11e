/*
 * Seccomp filters. Each part is a child of its own, since a filter can't be taken away again.
 *
 *     sc_seccomp                 all but strict mode
 *     sc_seccomp strict          strict mode (which a process that has filters can't have)
 *     sc_seccomp own             what differs from the kernel
 *     sc_seccomp exec PROGRAM    executes it with a filter
 *     sc_seccomp after           what is left of a filter after execve
 */
#include "sc.h"
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

#ifdef __riscv
#define ARCH AUDIT_ARCH_RISCV64
#else
#define ARCH AUDIT_ARCH_X86_64
#endif

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH 16
#endif

extern char **environ;

#define STMT(code, k)         {(code), 0, 0, (k)}
#define JUMP(code, k, jt, jf) {(code), (jt), (jf), (k)}
#define NR                    offsetof(struct seccomp_data, nr)
#define ARG(n)                (offsetof(struct seccomp_data, args) + 8 * (n))
#define RETURN(k)             STMT(BPF_RET | BPF_K, k)
#define LOAD(k)               STMT(BPF_LD | BPF_W | BPF_ABS, k)
#define N(a)                  (sizeof(a) / sizeof((a)[0]))

static long install(const struct sock_filter *code, size_t n, unsigned flags)
{
    struct sock_fprog prog = {(unsigned short)n, (struct sock_filter *)code};

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* [action] for one call, and all others allowed. */
static long install_for(long nr, uint32_t action, unsigned flags)
{
    struct sock_filter code[] = {
        LOAD(NR),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1),
        RETURN(action),
        RETURN(SECCOMP_RET_ALLOW),
    };

    return install(code, N(code), flags);
}

static void no_new_privs(void)
{
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void in_new_child(const char *name, void (*part)(void))
{
    int status = 0;
    pid_t pid;

    printf("-- %s\n", name);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        part();
        fflush(stdout);
        _exit(7);
    }
    SHOW(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) {
        printf("killed by %s\n", sigabbrev_np(WTERMSIG(status)));
    } else {
        printf("status %d\n", WEXITSTATUS(status));
    }
    fflush(stdout);
}

static void (*next_part)(void);

static void part_without_privileges(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    next_part();
}

static void in_child(const char *name, void (*part)(void))
{
    next_part = part;
    in_new_child(name, part_without_privileges);
}

/* ---- What isn't accepted ---- */

static void operations(void)
{
    static const uint32_t actions[] = {
        SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
        SECCOMP_RET_TRACE,        SECCOMP_RET_LOG,         SECCOMP_RET_ALLOW, 1, 0x12340000,
    };

    for (size_t i = 0; i < N(actions); i++) {
        SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]));
    }
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &actions[0]));
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, NOWHERE));
    SHOW(syscall(SYS_seccomp, 99, 0, 0));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, &actions));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, NOWHERE));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, KERNEL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 20, NULL));
    SHOW(prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_SECCOMP, 3, 0, 0, 0));
    SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0));
}

static void show_install(const char *what, const struct sock_filter *code, size_t n)
{
    errno = 0;
    long r = install(code, n, 0);

    printf("%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");
}
#define TRY(what, ...)                                                                             \
    do {                                                                                           \
        struct sock_filter code_[] = {__VA_ARGS__};                                                \
        show_install(what, code_, N(code_));                                                       \
    } while (0)

static void refused(void)
{
    static struct sock_filter many[4097];
    struct sock_filter allow = RETURN(SECCOMP_RET_ALLOW);

    for (size_t i = 0; i < N(many); i++) {
        many[i] = allow;
    }
    show_install("no instruction", many, 0);
    show_install("too many", many, 4097);
    show_install("most", many, 4096);
    show_install("NULL", NULL, 1);
    show_install("nowhere", NOWHERE, 1);
    TRY("last doesn't return", LOAD(NR));
    TRY("byte", STMT(BPF_LD | BPF_B | BPF_ABS, 0), allow);
    TRY("indirect", STMT(BPF_LD | BPF_W | BPF_IND, 0), allow);
    TRY("not aligned", LOAD(2), allow);
    TRY("last word", LOAD(60), allow);
    TRY("behind", LOAD(64), allow);
    TRY("far behind", LOAD(0xfffff000), allow);
    TRY("modulo", STMT(BPF_ALU | BPF_MOD | BPF_K, 3), allow);
    TRY("division by 0", STMT(BPF_ALU | BPF_DIV | BPF_K, 0), allow);
    TRY("shift by 32", STMT(BPF_ALU | BPF_LSH | BPF_K, 32), allow);
    TRY("shift by 31", STMT(BPF_ALU | BPF_RSH | BPF_K, 31), allow);
    TRY("jump behind the end", STMT(BPF_JMP | BPF_JA, 1), allow);
    TRY("jump far", STMT(BPF_JMP | BPF_JA, 0xffffffff), allow);
    TRY("jump to the end", STMT(BPF_JMP | BPF_JA, 0), allow);
    TRY("branch behind", JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), allow);
    TRY("not written", STMT(BPF_LD | BPF_MEM, 3), allow);
    TRY("no such word", STMT(BPF_ST, 16), allow);
    TRY("written", STMT(BPF_ST, 3), STMT(BPF_LD | BPF_MEM, 3), allow);
    TRY("written on one way", JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), STMT(BPF_ST, 3),
        STMT(BPF_LD | BPF_MEM, 3), allow);
    TRY("return X", STMT(BPF_RET | BPF_X, 0));
}

/* Without privileges and without no_new_privs. */
static void not_permitted(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    struct sock_filter allow = RETURN(SECCOMP_RET_ALLOW), bad = LOAD(2);
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        SHOW(syscall(SYS_capset, &header, none));
        SHOW(install(&allow, 1, 0));
        SHOW(install(&allow, 0, 0));
        SHOW(install(&bad, 1, 0));
        SHOW(install(NOWHERE, 1, 0));
        SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NOWHERE, 0, 0));
        no_new_privs();
        SHOW(install(&bad, 1, 0));
        SHOW(install(&allow, 1, 0));
        SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

/* ---- Random programs ---- */

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static const uint16_t codes[] = {
    BPF_LD | BPF_W | BPF_ABS,   BPF_LD | BPF_W | BPF_LEN,   BPF_LDX | BPF_W | BPF_LEN,
    BPF_ALU | BPF_ADD | BPF_K,  BPF_ALU | BPF_ADD | BPF_X,  BPF_ALU | BPF_SUB | BPF_K,
    BPF_ALU | BPF_SUB | BPF_X,  BPF_ALU | BPF_MUL | BPF_K,  BPF_ALU | BPF_MUL | BPF_X,
    BPF_ALU | BPF_DIV | BPF_K,  BPF_ALU | BPF_DIV | BPF_X,  BPF_ALU | BPF_AND | BPF_K,
    BPF_ALU | BPF_AND | BPF_X,  BPF_ALU | BPF_OR | BPF_K,   BPF_ALU | BPF_OR | BPF_X,
    BPF_ALU | BPF_XOR | BPF_K,  BPF_ALU | BPF_XOR | BPF_X,  BPF_ALU | BPF_LSH | BPF_K,
    BPF_ALU | BPF_LSH | BPF_X,  BPF_ALU | BPF_RSH | BPF_K,  BPF_ALU | BPF_RSH | BPF_X,
    BPF_ALU | BPF_NEG,          BPF_LD | BPF_IMM,           BPF_LDX | BPF_IMM,
    BPF_MISC | BPF_TAX,         BPF_MISC | BPF_TXA,         BPF_LD | BPF_MEM,
    BPF_LDX | BPF_MEM,          BPF_ST,                     BPF_STX,
    BPF_JMP | BPF_JA,           BPF_JMP | BPF_JEQ | BPF_K,  BPF_JMP | BPF_JEQ | BPF_X,
    BPF_JMP | BPF_JGE | BPF_K,  BPF_JMP | BPF_JGE | BPF_X,  BPF_JMP | BPF_JGT | BPF_K,
    BPF_JMP | BPF_JGT | BPF_X,  BPF_JMP | BPF_JSET | BPF_K, BPF_JMP | BPF_JSET | BPF_X,
    BPF_RET | BPF_K,            BPF_RET | BPF_A,
};

/* Anything at all behind an instruction that allows: which are valid? */
static void random_validity(void)
{
    enum { PROGRAMS = 100, MOST = 8 };
    char answers[PROGRAMS + 1] = "";

    for (int i = 0; i < PROGRAMS; i++) {
        struct sock_filter code[MOST + 2] = {RETURN(SECCOMP_RET_ALLOW)};
        size_t n = 2 + rnd(MOST);

        for (size_t j = 1; j < n; j++) {
            code[j].code = rnd(8) ? codes[rnd(N(codes))] : (uint16_t)rnd(rnd(2) ? 256 : 65536);
            code[j].k = rnd(16) ? rnd(18) * (rnd(4) ? 4 : 1) % 80 : rnd(1u << 31);
            code[j].jt = (uint8_t)rnd(4);
            code[j].jf = (uint8_t)rnd(4);
            if (BPF_CLASS(code[j].code) == BPF_JMP && rnd(4)) {
                code[j].k %= 4;
            }
        }
        if (rnd(8)) {
            code[n - 1] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
        }
        answers[i] = install(code, n, 0) == 0 ? '.' : errno == EINVAL ? 'E' : '?';
    }
    printf("%s\n", answers);
}

/* Valid programs: what do they compute? The errno is the low half of A, then the high half. */
static void random_program(void)
{
    enum { BODY = 20 };
    struct sock_filter code[BODY + 80];
    uint64_t args[6];
    int n = 0;

#define EMIT(...) code[n++] = (struct sock_filter)__VA_ARGS__
    EMIT(LOAD(NR));
    EMIT(JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0));
    EMIT(RETURN(SECCOMP_RET_ALLOW));
    for (uint32_t i = 0; i < BPF_MEMWORDS; i++) {
        EMIT(LOAD(ARG(0) + 4 * (i % 12)));
        EMIT(STMT(BPF_ST, i));
    }
    EMIT(STMT(BPF_MISC | BPF_TAX, 0));
    for (int i = 0; i < BODY; i++) {
        uint16_t op = codes[rnd(N(codes) - 2)]; /* not RET */
        uint32_t k = rnd(4) ? rnd(64) : rnd(1u << 31) * 2 + rnd(2);
        uint32_t left = (uint32_t)(BODY - i);

        if (op == (BPF_LD | BPF_W | BPF_ABS)) {
            k = ARG(0) + 4 * rnd(12);
        } else if (BPF_CLASS(op) <= BPF_STX) {
            k = BPF_MODE(op) == BPF_MEM || BPF_CLASS(op) >= BPF_ST ? k % BPF_MEMWORDS : k;
        } else if (op == (BPF_ALU | BPF_LSH | BPF_K) || op == (BPF_ALU | BPF_RSH | BPF_K)) {
            k %= 32;
        } else if (op == (BPF_ALU | BPF_DIV | BPF_K)) {
            k |= 1;
        } else if (op == (BPF_JMP | BPF_JA)) {
            k = rnd(left < 4 ? left : 4);
        }
        EMIT({op, (uint8_t)rnd(left < 4 ? left : 4), (uint8_t)rnd(left < 4 ? left : 4), k});
    }
    EMIT(STMT(BPF_ST, 0));
    EMIT(STMT(BPF_ALU | BPF_RSH | BPF_K, 16));
    EMIT(STMT(BPF_LDX | BPF_MEM, 0));
    EMIT(STMT(BPF_ALU | BPF_XOR | BPF_X, 0));
    EMIT(STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff));
    EMIT(STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO));
    EMIT(STMT(BPF_RET | BPF_A, 0));
    for (int i = 0; i < 6; i++) {
        args[i] = rnd(3) ? rnd(1u << 31) * (uint64_t)rnd(1u << 31) * 4 : rnd(5);
    }
    if (install(code, (size_t)n, 0) < 0) {
        printf("refused: %s\n", strerrorname_np(errno));
        return;
    }
    errno = 0;
    long r = syscall(SYS_getppid, args[0], args[1], args[2], args[3], args[4], args[5]);
    printf("%d %d\n", r == -1, errno);
}

static void random_programs(void)
{
    for (unsigned i = 0; i < 150; i++) {
        pid_t pid;
        int status;

        seed = i * 104729 + 5;
        rnd(2);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            random_program();
            fflush(stdout);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        if (status) {
            printf("status %#x\n", status & ~0x80); /* without the mark of a core */
        }
    }
}

/* ---- Actions ---- */

static void show_getppid(void)
{
    errno = 0;
    long r = syscall(SYS_getppid);

    printf("getppid: %s %d\n", r > 0 ? "works" : r ? "-1" : "0", errno);
}

static void errors(void)
{
    static const uint32_t values[] = {0, 1, EAGAIN, 133, 511, 512, 513, 514, 600, 4095, 4096, 65535};

    for (size_t i = 0; i < N(values); i++) {
        install_for(SYS_getppid, SECCOMP_RET_ERRNO | values[i], 0);
        show_getppid();
    }
    SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
}

static void data(void)
{
    struct sock_filter code[] = {
        LOAD(offsetof(struct seccomp_data, arch)),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 8),
        LOAD(NR),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 6),
        LOAD(ARG(5) + 4),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x12345678, 0, 4),
        LOAD(ARG(5)),
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x9abcdef0, 0, 2),
        LOAD(ARG(0)),
        STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOANO),
        RETURN(SECCOMP_RET_ALLOW),
    };

    SHOW(install(code, N(code), 0));
    SHOW(syscall(SYS_getpgid, 0, 0, 0, 0, 0, 0x123456789abcdef0) > 0);
    SHOW(syscall(SYS_getpgid, 0, 0, 0, 0, 0, 0x123456789abcdef0));
    SHOW(syscall(SYS_getpgid, 0, 0, 0, 0, 0, 0x123456789abcdef1) > 0);
    /* A number that isn't a call's, and one whose upper half isn't looked at. */
    SHOW(install_for(5000, SECCOMP_RET_ERRNO | ENOTTY, 0));
    SHOW(syscall(5000));
    SHOW(syscall(5001));
    SHOW(install_for(-1, SECCOMP_RET_ERRNO | ENOTBLK, 0));
    SHOW(syscall(-1));
}

static void precedence(void)
{
    static const uint32_t actions[] = {
        SECCOMP_RET_LOG, SECCOMP_RET_TRACE | 3, SECCOMP_RET_LOG, SECCOMP_RET_ERRNO | 21,
        SECCOMP_RET_ERRNO | 22, SECCOMP_RET_TRACE, SECCOMP_RET_ALLOW,
    };

    for (size_t i = 0; i < N(actions); i++) {
        SHOW(install_for(SYS_getppid, actions[i], i & 1 ? SECCOMP_FILTER_FLAG_LOG : 0));
        show_getppid();
    }
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_USER_NOTIF, 0));
    SHOW(syscall(SYS_getpgid, 0));
    SHOW(install_for(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0));
    SHOW(install_for(SYS_getppid, SECCOMP_RET_TRAP, 0));
    fflush(stdout);
    show_getppid();
}

static void many(void)
{
    static struct sock_filter code[4000];
    int i;

    for (i = 0; i < 4000; i++) {
        code[i] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    }
    for (i = 0; i < 20 && install(code, N(code), 0) == 0; i++) {
    }
    printf("some fit: %d, then %s\n", i > 0 && i < 20, strerrorname_np(errno));
}

static volatile int traps;
static volatile long trap_rest;

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
#ifdef __riscv
    unsigned long *result = &uc->uc_mcontext.__gregs[REG_A0];
    unsigned long before = 1111, pc = uc->uc_mcontext.__gregs[REG_PC];
#else
    unsigned long *result = (unsigned long *)&uc->uc_mcontext.gregs[REG_RAX];
    unsigned long before = SYS_getpgid, pc = (unsigned long)uc->uc_mcontext.gregs[REG_RIP];
#endif

    traps++;
    printf("sig %d code %d errno %d syscall %d arch %d addr %d result %d\n", sig, info->si_code,
           info->si_errno, info->si_syscall == SYS_getpgid, info->si_arch == ARCH,
           (unsigned long)info->si_call_addr == pc, *result == before);
    *result = 4711;
}

static void trapping(void)
{
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

    SHOW(sigaction(SIGSYS, &action, NULL));
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_TRAP | 1234, 0));
    SHOW(syscall(SYS_getpgid, 1111));
    SHOW(syscall(SYS_getpgid, 1111));
    SHOW(traps);
}

static void trap_blocked(void)
{
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    sigaction(SIGSYS, &action, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_TRAP, 0));
    fflush(stdout);
    syscall(SYS_getpgid, 1111);
}

static void trap_ignored(void)
{
    signal(SIGSYS, SIG_IGN);
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_TRAP, 0));
    fflush(stdout);
    syscall(SYS_getpgid, 1111);
}

static void kill_by(uint32_t action)
{
    struct sigaction handler = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

    sigaction(SIGSYS, &handler, NULL);
    SHOW(install_for(SYS_getppid, action, 0));
    fflush(stdout);
    show_getppid();
}

static void kill_process(void)
{
    kill_by(SECCOMP_RET_KILL_PROCESS);
}

static void kill_only_thread(void)
{
    kill_by(SECCOMP_RET_KILL_THREAD);
}

static void kill_unknown(void)
{
    kill_by(0x7fc10000);
}

static void *make_call(void *arg)
{
    syscall(SYS_getppid);
    return arg;
}

static void kill_process_by_thread(void)
{
    pthread_t thread;

    SHOW(install_for(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0));
    fflush(stdout);
    pthread_create(&thread, NULL, make_call, NULL);
    pthread_join(thread, NULL);
    printf("not reached\n");
}

/* By itself: the C library would end the process with its last thread. */
static void *end_later(void *arg)
{
    usleep(200000);
    syscall(SYS_exit, 0);
    return arg;
}

/* The thread ends, what it leaves is cleaned up, and the others go on. */
static void kill_one_thread(void)
{
    pthread_t thread;

    SHOW(install_for(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0));
    SHOW(pthread_create(&thread, NULL, make_call, NULL));
    SHOW(pthread_join(thread, NULL));
    SHOW(getpid() > 0);
}

/* The first thread is killed, and the process ends with another. */
static void kill_first_thread(void)
{
    pthread_t thread;

    SHOW(install_for(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0));
    fflush(stdout);
    pthread_create(&thread, NULL, end_later, NULL);
    pthread_detach(thread);
    make_call(NULL);
    printf("not reached\n");
}

/* ---- Who inherits ---- */

static void *call_in_thread(void *arg)
{
    show_getppid();
    return arg;
}

static int call_in_clone(void *arg)
{
    (void)arg;
    return syscall(SYS_getppid) == -1 && errno == EUCLEAN ? 3 : 4;
}

static void inherited(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    char *argv[] = {"sc_seccomp", "after", NULL};
    pthread_t thread;
    int status;
    pid_t pid;

    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | EUCLEAN, 0));
    show_getppid();
    pthread_create(&thread, NULL, call_in_thread, NULL);
    pthread_join(thread, NULL);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        show_getppid();
        SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | ENAVAIL, 0));
        show_getppid();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    show_getppid();
    SHOW(clone(call_in_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL) > 0);
    SHOW(wait(&status) > 0);
    printf("%d\n", WEXITSTATUS(status));
    fflush(stdout);
    SHOW(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ));
    SHOW(waitpid(pid, &status, 0) == pid);
    printf("%d\n", WEXITSTATUS(status));
    fflush(stdout);
    /* Nothing that is said to the next one changes what is in force. */
    setenv("NANDU_SECCOMP_FD", "99", 1);
    setenv("QEMU_SET_ENV", "NANDU_SECCOMP_FD=98", 1);
    setenv("NANDU_UNSET_ENV", "NANDU_SECCOMP_FD", 1);
    execv("/proc/self/exe", argv);
}

static void exec_refused(void)
{
    char *argv[] = {"sc_seccomp", "after", NULL};

    SHOW(install_for(SYS_execve, SECCOMP_RET_ERRNO | ETXTBSY, 0));
    SHOW(execve("/proc/self/exe", argv, NULL));
}

static int after(void)
{
    show_getppid();
    SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_ERRNO | ENODATA, 0));
    SHOW(syscall(SYS_getpgid, 0));
    SHOW(fcntl(3, F_GETFD));
    return 5;
}

/* ---- TSYNC ---- */

static volatile int step;
static pthread_barrier_t barrier;

static void *synchronized(void *arg)
{
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    show_getppid();
    pthread_barrier_wait(&barrier);
    while (step == 0) {
        /* In no system call, so that it is reached here. */
    }
    show_getppid();
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    return arg;
}

static void tsync(void)
{
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, synchronized, NULL);
    pthread_barrier_wait(&barrier);
    no_new_privs();
    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | EUCLEAN, SECCOMP_FILTER_FLAG_TSYNC));
    step = 1;
    pthread_join(thread, NULL);
    show_getppid();
}

static volatile pid_t divergent_tid;

static void *divergent(void *arg)
{
    divergent_tid = (pid_t)syscall(SYS_gettid);
    SHOW(install_for(SYS_getpgid, SECCOMP_RET_ERRNO | ENODATA, 0));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    show_getppid();
    SHOW(syscall(SYS_getpgid, 0));
    return arg;
}

static void tsync_fails(void)
{
    pthread_t thread;

    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | EUCLEAN, 0));
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, divergent, NULL);
    pthread_barrier_wait(&barrier);
    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | ENAVAIL, SECCOMP_FILTER_FLAG_TSYNC) ==
         divergent_tid);
    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | ENAVAIL,
                     SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    show_getppid();
    /* It has ended, so nothing diverges. */
    SHOW(install_for(SYS_getppid, SECCOMP_RET_ERRNO | ENAVAIL, SECCOMP_FILTER_FLAG_TSYNC));
    show_getppid();
}

/* Threads come and go and make calls while filters are added to all of them. */
static void *restless(void *arg)
{
    for (int i = 0; i < 200; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, make_call, NULL) == 0) {
            pthread_join(thread, NULL);
        }
        syscall(SYS_getpgid, 0);
    }
    return arg;
}

static void tsync_stress(void)
{
    pthread_t threads[4];
    int failed = 0;

    for (size_t i = 0; i < N(threads); i++) {
        pthread_create(&threads[i], NULL, restless, NULL);
    }
    for (int i = 0; i < 100; i++) {
        failed += install_for(SYS_getppid, SECCOMP_RET_ERRNO | 1, SECCOMP_FILTER_FLAG_TSYNC) != 0;
        usleep(200);
    }
    for (size_t i = 0; i < N(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    printf("failed %d\n", failed);
}

/* ---- Strict mode ---- */

static void strict(void)
{
    SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, NOWHERE, 0, 0));
    SHOW(write(1, "", 0));
    fflush(stdout);
    syscall(SYS_exit, 6);
}

static void strict_by_seccomp(void)
{
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
    fflush(stdout);
    syscall(SYS_getppid);
}

static void strict_exit_group(void)
{
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
    fflush(stdout);
    syscall(SYS_exit_group, 0);
}

static void *become_strict(void *arg)
{
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
    syscall(SYS_getppid);
    return arg;
}

static void strict_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, become_strict, NULL);
    SHOW(pthread_join(thread, NULL));
    show_getppid();
}

/* ---- Where Nandu differs ---- */

static void own(void)
{
    struct sock_filter allow = RETURN(SECCOMP_RET_ALLOW);
    uint32_t action = SECCOMP_RET_USER_NOTIF;
    uint16_t sizes[3];

    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, sizes));
    SHOW(install(&allow, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

static int all(void)
{
    in_child("operations", operations);
    in_child("refused", refused);
    in_child("many", many);
    printf("-- not permitted\n");
    not_permitted();
    for (unsigned i = 0; i < 20; i++) {
        seed = i * 7919 + 1;
        in_child("random validity", random_validity);
    }
    random_programs();
    in_child("errors", errors);
    in_child("data", data);
    in_child("precedence", precedence);
    in_child("trap", trapping);
    in_child("trap blocked", trap_blocked);
    in_child("trap ignored", trap_ignored);
    in_child("kill process", kill_process);
    in_child("kill only thread", kill_only_thread);
    in_child("kill unknown", kill_unknown);
    in_child("kill process by thread", kill_process_by_thread);
    in_child("kill one thread", kill_one_thread);
    in_child("kill first thread", kill_first_thread);
    in_child("inherited", inherited);
    in_child("exec refused", exec_refused);
    in_new_child("tsync", tsync);
    in_child("tsync fails", tsync_fails);
    in_child("tsync stress", tsync_stress);
    return 0;
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "all";

    if (strcmp(part, "after") == 0) {
        return after();
    }
    if (strcmp(part, "own") == 0) {
        in_child("own", own);
        return 0;
    }
    if (strcmp(part, "exec") == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        install_for(SYS_getppid, SECCOMP_RET_ERRNO | EUCLEAN, 0);
        SHOW(execv(argv[2], argv + 2));
        return 0;
    }
    if (strcmp(part, "strict") == 0) {
        in_child("strict", strict);
        in_child("strict by seccomp", strict_by_seccomp);
        in_child("strict exit_group", strict_exit_group);
        in_child("strict thread", strict_thread);
        return 0;
    }
    return all();
}
