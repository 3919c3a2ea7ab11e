/*
 * Restartable sequences in code that isn't in memory yet when the threads register: rseq_late WAY.
 * The program itself has no signature of a sequence in what it may execute. For riscv64 guests.
 */
#include "sc.h"

#include <pthread.h>
#include <stdbool.h>

struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t cs;
    uint32_t flags, node_id, mm_cid;
} __attribute__((aligned(32)));

enum { SIZE = 32, THREADS = 8, ROUNDS = 1000, SPINS = 3000 };
#define SIG 0xf1401073

/* bool add(struct area *, int cpu, long *count, const uint64_t descriptor[4], int spins) */
extern const char code[], code_start[], code_commit[], code_abort[], code_end[];
__asm__(".data\n.balign 8\n"
        "code: sd a3, 8(a0)\n"
        "code_start: lw t0, 4(a0)\nbne t0, a1, code_abort\nld t1, (a2)\n"
        "1: beqz a4, 2f\naddi a4, a4, -1\nj 1b\n2:\n"
        "addi t1, t1, 1\nsd t1, (a2)\n"
        "code_commit: li a0, 1\nret\n"
        ".4byte 0xf1401073\n"
        "code_abort: li a0, 0\nret\n"
        "code_end: .text\n");

typedef bool add_fn(volatile struct area *area, int cpu, long *count, const uint64_t *descriptor,
                    int spins);

static _Thread_local volatile struct area area;
static struct {
    long count __attribute__((aligned(64)));
} cpus[64];
static uint64_t descriptor[4] __attribute__((aligned(32)));
static pthread_barrier_t registered, ready;
static add_fn *add;

static void *work(void *arg)
{
    (void)arg;
    if (syscall(293, &area, SIZE, 0, SIG) < 0) {
        perror("rseq");
        exit(1);
    }
    pthread_barrier_wait(&registered);
    pthread_barrier_wait(&ready);
    for (int i = 0; i < ROUNDS; i++) {
        int cpu;

        do
            cpu = area.cpu_id_start;
        while (!add(&area, cpu, &cpus[cpu].count, descriptor, i % 2 ? SPINS : 0));
    }
    return NULL;
}

static char *make_code(const char *way)
{
    const size_t size = 8192, length = code_end - code;
    const size_t offset = 4096 - (code_abort - 2 - code); /* the signature is across the pages */
    int fd = memfd_create("code", 0);
    char *at;

    if (!strcmp(way, "mmap") || !strcmp(way, "shared")) {
        bool shared = way[0] == 's';

        pwrite(fd, code, length, offset);
        ftruncate(fd, size);
        at = mmap(NULL, size, PROT_READ | PROT_EXEC, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        return at + offset;
    }
    at = mmap(NULL, size, PROT_READ | PROT_WRITE | (strcmp(way, "mprotect") ? PROT_EXEC : 0),
              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at + offset, code, length);
    if (!strcmp(way, "mprotect"))
        mprotect(at, size, PROT_READ | PROT_EXEC);
    else if (!strcmp(way, "flush"))
        __builtin___clear_cache(at + offset, at + offset + length);
    else
        __asm__ volatile("fence.i" ::: "memory");
    return at + offset;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    long sum = 0;
    char *at;

    pthread_barrier_init(&registered, NULL, THREADS + 1);
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    pthread_barrier_wait(&registered);
    /* fence.i is for the thread that executes it: let it be one that has registered. */
    syscall(293, &area, SIZE, 0, SIG);
    if (argc > 1 && !strcmp(argv[1], "none")) {
        for (;;) /* a descriptor that has no sequence */
            area.cs = 8;
    }
    at = make_code(argc > 1 ? argv[1] : "mmap");
    descriptor[1] = (uint64_t)at + (code_start - code);
    descriptor[2] = code_commit - code_start;
    descriptor[3] = (uint64_t)at + (code_abort - code);
    add = (add_fn *)at;
    pthread_barrier_wait(&ready);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int cpu = 0; cpu < 64; cpu++)
        sum += cpus[cpu].count;
    printf("%s\n", sum == (long)THREADS * ROUNDS ? "exact" : "wrong");
    return 0;
}
