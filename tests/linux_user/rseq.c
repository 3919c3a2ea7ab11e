/*
 * Restartable sequences: rseq PART [THREADS ROUNDS]. The C library must not have registered a
 * structure of its own (GLIBC_TUNABLES=glibc.pthread.rseq=0).
 *
 * What is printed is the same on the host and under Nandu, but for the lines of "counts", which has
 * numbers for whoever wants to know how often sequences were restarted.
 */
#include "sc.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>

#ifndef SYS_rseq
#define SYS_rseq 293
#endif

struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t cs;
    uint32_t flags, node_id, mm_cid;
} __attribute__((aligned(32)));

enum { SIZE = 32, UNREGISTER = 1, CPUS = 64 };

#define PASTE_(x) #x
#define PASTE(x)  PASTE_(x)
#if defined(__riscv)
#define SIG 0xf1401073
#define PC(uc) ((uc)->uc_mcontext.__gregs[0])
#elif defined(__x86_64__)
#define SIG 0x53053053
#define PC(uc) ((uintptr_t)(uc)->uc_mcontext.gregs[REG_RIP])
#endif

static _Thread_local volatile struct area area;

static long call(const volatile void *p, unsigned size, int flags, unsigned sig)
{
    return syscall(SYS_rseq, p, size, flags, sig);
}

static void enter(void)
{
    if (call(&area, SIZE, 0, SIG) < 0) {
        perror("rseq");
        exit(1);
    }
}

/*
 * The sequences. Each is entered with the number of a CPU; false if it was restarted or the thread
 * was on another CPU. [spins]: how long it takes. A descriptor is (start, length, abort).
 */
#if defined(__riscv)
#define BEGIN(name, start, commit, abort)                                                          \
    ".pushsection __rseq_cs, \"aw\"\n.balign 32\n" name ":\n"                                      \
    ".4byte 0, 0\n.8byte " start ", (" commit " - " start "), " abort "\n.popsection\n"            \
    "la t0, " name "\nsd t0, 8(%[area])\n" start ":\n"                                             \
    "lw t0, 4(%[area])\nbne t0, %[cpu], %l[fail]\n"
#define SPIN "mv t0, %[spins]\n1: beqz t0, 2f\naddi t0, t0, -1\nj 1b\n2:\n"
#define END(commit, abort)                                                                         \
    commit ":\n.pushsection __rseq_failure, \"ax\"\n.4byte " PASTE(SIG) "\n"                       \
    abort ":\nj %l[fail]\n.popsection\n"
#define ADD   "ld t1, %[p]\n" SPIN "addi t1, t1, 1\nsd t1, %[p]\n"
#define AMO   "ld t1, %[p]\n" SPIN "addi t1, t1, 1\nmv t2, %[addr]\namoswap.d t1, t1, (t2)\n"
#define LRSC  "mv t2, %[addr]\nlr.d t1, (t2)\n" SPIN "addi t1, t1, 1\nsc.d t3, t1, (t2)\n"
#define AFTER_LRSC "bnez t3, %l[fail]\n"
#define PUSH  "ld t1, %[p]\nsd t1, (%[node])\n" SPIN "sd %[node], %[p]\n"
#define POP   "ld t1, %[p]\nbeqz t1, %l[fail]\nsd t1, (%[out])\nld t2, (t1)\n" SPIN "sd t2, %[p]\n"
#define CLOBBERS "t0", "t1", "t2", "t3", "memory"
#else
#define BEGIN(name, start, commit, abort)                                                          \
    ".pushsection __rseq_cs, \"aw\"\n.balign 32\n" name ":\n"                                      \
    ".4byte 0, 0\n.8byte " start ", (" commit " - " start "), " abort "\n.popsection\n"            \
    "leaq " name "(%%rip), %%rax\nmovq %%rax, 8(%[area])\n" start ":\n"                            \
    "cmpl %[cpu], 4(%[area])\njnz %l[fail]\n"
#define SPIN "movl %[spins], %%eax\n1: testl %%eax, %%eax\njz 2f\ndecl %%eax\njmp 1b\n2:\n"
#define END(commit, abort)                                                                         \
    commit ":\n.pushsection __rseq_failure, \"ax\"\n.byte 0x0f, 0xb9, 0x3d\n"                      \
    ".4byte " PASTE(SIG) "\n" abort ":\njmp %l[fail]\n.popsection\n"
#define ADD   "movq %[p], %%rcx\n" SPIN "incq %%rcx\nmovq %%rcx, %[p]\n"
#define AMO   "movq %[p], %%rcx\n" SPIN "incq %%rcx\nxchgq %%rcx, (%[addr])\n"
#define LRSC  ADD
#define AFTER_LRSC ""
#define PUSH  "movq %[p], %%rcx\nmovq %%rcx, (%[node])\n" SPIN "movq %[node], %[p]\n"
#define POP                                                                                        \
    "movq %[p], %%rcx\ntestq %%rcx, %%rcx\njz %l[fail]\nmovq %%rcx, (%[out])\n"                    \
    "movq (%%rcx), %%rdx\n" SPIN "movq %%rdx, %[p]\n"
#define CLOBBERS "rax", "rcx", "rdx", "memory", "cc"
#endif

#define SEQUENCE(name, body, after, parameters, ...)                                               \
    static __attribute__((noipa)) bool name(int cpu, long *p, parameters, int spins)               \
    {                                                                                              \
        __asm__ goto(BEGIN("cs_" #name, "start_" #name, "commit_" #name, "abort_" #name) body      \
                     END("commit_" #name, "abort_" #name) after                                    \
                     : : [area] "r"(&area), [cpu] "r"(cpu), [p] "m"(*p), [spins] "r"(spins),       \
                       __VA_ARGS__ : CLOBBERS : fail);                                             \
        return true;                                                                               \
    fail:                                                                                          \
        return false;                                                                              \
    }

SEQUENCE(add, ADD, "", void *unused, [unused] "r"(unused))
SEQUENCE(add_amo, AMO, "", long *addr, [addr] "r"(addr))
SEQUENCE(add_lrsc, LRSC, AFTER_LRSC, long *addr, [addr] "r"(addr))
SEQUENCE(push, PUSH, "", void *node, [node] "r"(node))
SEQUENCE(pop, POP, "", void **out, [out] "r"(out))

/* ---- Counters and lists of CPUs ---- */

struct node {
    struct node *next;
    int used;
};

static struct {
    long count[3];
    struct node *list;
} __attribute__((aligned(128))) cpus[CPUS];

static int n_threads = 8, n_rounds = 20000;
static long restarts, taken_twice;

/* Also where the system has only one CPU, or allows no other: then there is no moving. */
static void move(unsigned r)
{
    static cpu_set_t allowed;
    cpu_set_t one;
    unsigned n, cpu = 0;

    if (!CPU_COUNT(&allowed))
        sched_getaffinity(getpid(), sizeof(allowed), &allowed);
    n = r % CPU_COUNT(&allowed);
    while (!CPU_ISSET(cpu, &allowed) || n--)
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), r & 64 ? &one : &allowed);
}

static void *work(void *arg)
{
    unsigned seed = (unsigned)(intptr_t)arg * 7919 + 1;
    long failed = 0;

    enter();
    for (int i = 0; i < n_rounds; i++) {
        struct node *taken = NULL, *node = NULL;
        bool done = false;
        int spins;

        seed = seed * 1103515245 + 12345;
        spins = seed >> 16 & 7 ? 0 : 3000;
        if ((seed >> 8 & 0xff) == 0)
            move(seed >> 20);
        for (int kind = 0; kind < 3; kind++) {
            do {
                int cpu = area.cpu_id_start;
                long *p = &cpus[cpu].count[kind];

                done = kind == 0   ? add(cpu, p, NULL, spins)
                       : kind == 1 ? add_amo(cpu, p, p, spins)
                                   : add_lrsc(cpu, p, p, spins);
                failed += !done;
            } while (!done);
        }
        /* A node that is taken twice at once is noticed. */
        for (int tries = 0; tries < 3 && !node; tries++) {
            int cpu = area.cpu_id_start;

            if (pop(cpu, (long *)&cpus[cpu].list, (void **)&taken, spins))
                node = taken;
        }
        if (!node)
            continue;
        if (__atomic_exchange_n(&node->used, 1, __ATOMIC_RELAXED))
            taken_twice++;
        if (seed >> 28 == 0)
            sched_yield();
        __atomic_store_n(&node->used, 0, __ATOMIC_RELAXED);
        do {
            int cpu = area.cpu_id_start;

            done = push(cpu, (long *)&cpus[cpu].list, node, spins);
            failed += !done;
        } while (!done);
    }
    __atomic_add_fetch(&restarts, failed, __ATOMIC_RELAXED);
    return NULL;
}

static void part_counts(bool verbose)
{
    enum { NODES = 64 };
    static struct node nodes[NODES];
    pthread_t threads[64];
    long sum[3] = {0}, listed = 0;

    for (int i = 0; i < NODES; i++) {
        struct node **list = &cpus[i % sysconf(_SC_NPROCESSORS_ONLN)].list;

        nodes[i].next = *list;
        *list = &nodes[i];
    }
    for (long i = 0; i < n_threads; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    for (int cpu = 0; cpu < CPUS; cpu++) {
        for (int kind = 0; kind < 3; kind++)
            sum[kind] += cpus[cpu].count[kind];
        for (struct node *n = cpus[cpu].list; n && listed <= NODES; n = n->next)
            listed++;
    }
    for (int kind = 0; kind < 3; kind++) {
        long want = (long)n_threads * n_rounds;

        printf("counters %d: %s\n", kind, sum[kind] == want ? "exact" : "wrong");
        if (sum[kind] != want)
            fprintf(stderr, "counter %ld of %ld\n", sum[kind], want);
    }
    printf("lists: %s\n", listed == NODES && !taken_twice ? "complete" : "wrong");
    if (verbose)
        printf("restarts: %ld\n", restarts);
}

/* ---- Registration ---- */

static void part_errors(void)
{
    static volatile struct area other;
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned cpu;

    SHOW(call(&area, SIZE, UNREGISTER, SIG));
    SHOW(call(&area, SIZE, 2, SIG));
    SHOW(call(&area, SIZE, -1, SIG));
    SHOW(call(&area, 16, 0, SIG));
    SHOW(call(&area, 0, 0, SIG));
    SHOW(call((char *)&area + 8, SIZE, 0, SIG));
    SHOW(call((char *)&area + 1, SIZE, 0, SIG));
    SHOW(call(KERNEL, SIZE, 0, SIG));
    SHOW(call((char *)KERNEL + 4, SIZE, 0, SIG));
    area.cpu_id = -1;
    SHOW(call(&area, SIZE, 0, SIG));
    syscall(SYS_getcpu, &cpu, NULL, NULL);
    printf("cpu %d\n", area.cpu_id < CPUS && area.cpu_id_start < CPUS);
    SHOW(call(&area, SIZE, 0, SIG));
    SHOW(call(&area, SIZE, 0, SIG + 1));
    SHOW(call(&area, 64, 0, SIG));
    SHOW(call(&other, SIZE, 0, SIG));
    SHOW(call(&other, SIZE, UNREGISTER, SIG));
    SHOW(call(&area, 64, UNREGISTER, SIG));
    SHOW(call(&area, SIZE, UNREGISTER, SIG + 1));
    SHOW(call(&area, SIZE, UNREGISTER | 2, SIG));
    SHOW(call(&area, SIZE, UNREGISTER, SIG));
    printf("cpu_id %d start %d\n", (int)area.cpu_id, (int)area.cpu_id_start);
    SHOW(call(&area, SIZE, UNREGISTER, SIG));
    SHOW(call(page, SIZE, 0, 1));
    SHOW(call(page, SIZE, UNREGISTER, 1));
    munmap(page, 8192);
}

static void show_end(const char *what, pid_t pid)
{
    int status;

    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", what, WTERMSIG(status));
    else
        printf("%s: status %d\n", what, WEXITSTATUS(status));
}

static void wait_a_little(void)
{
    for (int i = 0; i < 3; i++)
        usleep(1000);
}

/* What a bad structure or descriptor does. */
static void part_bad(void)
{
    static uint64_t cs[4] __attribute__((aligned(32)));
    struct rlimit none = {0, 0};
    pid_t pid;

    setrlimit(RLIMIT_CORE, &none);
    for (int kind = 0; kind < 6; kind++) {
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            void *page = mmap(NULL, 4096, PROT_READ | (kind ? PROT_WRITE : 0),
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            if (kind == 0) {
                call(page, SIZE, 0, SIG);
            } else {
                static const char text[8];

                enter();
                cs[1] = (uint64_t)page;
                cs[2] = 16;
                cs[3] = kind == 2 ? (uint64_t)page + 8 : (uint64_t)(text + 4);
                cs[0] = kind == 3 ? 1 : 0;
                area.cs = kind == 4 ? 8 : kind == 5 ? (uint64_t)KERNEL : (uint64_t)cs;
            }
            wait_a_little();
            _exit(7);
        }
        show_end((const char *[]){"read-only area", "no signature", "abort inside", "version",
                                  "unreadable", "kernel's"}[kind], pid);
    }
}

/* ---- The number of the CPU, fork, signals, membarrier ---- */

static void part_cpu(void)
{
    bool same = true;
    cpu_set_t one;

    enter();
    for (int i = 0; i < 2000; i++) {
        unsigned cpu, before, node;

        if (i % 50 == 0) {
            CPU_ZERO(&one);
            CPU_SET(i / 50 % sysconf(_SC_NPROCESSORS_ONLN), &one);
            sched_setaffinity(0, sizeof(one), &one);
        }
        before = area.cpu_id;
        syscall(SYS_getcpu, &cpu, &node, NULL);
        same &= cpu == before && area.cpu_id_start == cpu;
    }
    printf("cpu_id is getcpu's: %d\n", same);
}

static void part_fork(void)
{
    pid_t pid;

    enter();
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        pid = i == 1 ? vfork() : fork();
        if (pid == 0) {
            int registered = call(&area, SIZE, 0, SIG) < 0 && errno == EBUSY;

            if (i == 2) { /* a sequence in the child, then one in its parent */
                registered = 0;
                while (!add(area.cpu_id, &cpus[0].count[0], NULL, 0)) {
                }
                registered = cpus[0].count[0] == 1;
            }
            _exit(registered);
        }
        if (i == 1 && call(&area, SIZE, 0, SIG) == 0)
            printf("vfork's child has unregistered its parent\n");
        show_end((const char *[]){"fork", "vfork", "sequence after fork"}[i], pid);
    }
    /* A vfork child that uses its parent's structure leaves the parent as it was. */
    pid = vfork();
    if (pid == 0) {
        add(area.cpu_id, &cpus[0].count[0], NULL, 0);
        _exit(3);
    }
    show_end("sequence in vfork", pid);
    wait_a_little();
    printf("count %ld\n", cpus[0].count[0]);
}

extern const char abort_add[];
static volatile int handled, at_abort;

static void handler(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    long other = 0;

    (void)sig, (void)info;
    handled++;
    at_abort += PC(uc) == (uintptr_t)abort_add;
    add(area.cpu_id, &other, NULL, 0); /* a sequence of its own */
}

static void part_signal(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    int rounds = 0;

    enter();
    sigaction(SIGALRM, &sa, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    /* It can't end before it is restarted, and is in the sequence nearly all of the time. */
    while (handled < 20 && rounds++ < 100000)
        add(area.cpu_id, &cpus[0].count[0], NULL, 1 << 30);
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    printf("count %ld, at abort: %s\n", cpus[0].count[0], at_abort >= 15 ? "yes" : "no");
}

static void fault_handler(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    printf("signal %d address %lx at abort %d\n", sig, (long)info->si_addr,
           PC(uc) == (uintptr_t)abort_add);
}

/* A fault in a sequence restarts it, with the signal. */
static void part_fault(void)
{
    struct sigaction sa = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO};
    long *page = mmap((void *)0x30000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool done = true;

    enter();
    sigaction(SIGSEGV, &sa, NULL);
    while (area.cpu_id != area.cpu_id_start) {
    }
    for (int i = 0; i < 2; i++) {
        done = add(area.cpu_id, page, NULL, 0);
        printf("done %d\n", done);
        munmap(page, 4096);
    }
}

static void *fence(void *arg)
{
    enum { EXPEDITED_RSEQ = 128 };
    volatile bool *stop = arg;

    while (!*stop) {
        if (syscall(SYS_membarrier, EXPEDITED_RSEQ, 0, 0) < 0) {
            perror("membarrier");
            exit(1);
        }
        usleep(100);
    }
    return NULL;
}

static void part_membarrier(void)
{
    enum { EXPEDITED_RSEQ = 128, REGISTER_RSEQ = 256 };
    static volatile bool stop;
    pthread_t thread;

    enter();
    SHOW((syscall(SYS_membarrier, 0, 0, 0) & (EXPEDITED_RSEQ | REGISTER_RSEQ)) != 0);
    SHOW(syscall(SYS_membarrier, EXPEDITED_RSEQ, 0, 0));
    SHOW(syscall(SYS_membarrier, REGISTER_RSEQ, 0, 0));
    pthread_create(&thread, NULL, fence, (void *)&stop);
    /* Sequences that would not end otherwise are restarted by it. */
    for (int i = 0; i < 20; i++)
        add(area.cpu_id, &cpus[0].count[0], NULL, 1 << 30);
    stop = true;
    pthread_join(thread, NULL);
    printf("count %ld\n", cpus[0].count[0]);
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";

    if (argc > 3) {
        n_threads = atoi(argv[2]);
        n_rounds = atoi(argv[3]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(part, "errors"))
        part_errors();
    else if (!strcmp(part, "bad"))
        part_bad();
    else if (!strcmp(part, "cpu"))
        part_cpu();
    else if (!strcmp(part, "fork"))
        part_fork();
    else if (!strcmp(part, "signal"))
        part_signal();
    else if (!strcmp(part, "fault"))
        part_fault();
    else if (!strcmp(part, "membarrier"))
        part_membarrier();
    else
        part_counts(!strcmp(part, "counts"));
    return 0;
}
