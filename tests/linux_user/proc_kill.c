/* Children that share memory are killed at any moment; their parents' threads go on running code
 * that is new all the time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 60, FUNCTIONS = 512, FUNCTION_SIZE = 64 };

static atomic_int killed, wrong;

/* Functions that return their argument, plus one for each step. */
static void write_functions(unsigned char *code)
{
#if defined(__riscv)
    static const unsigned insns[] = {0x00150513, 0x00150513, 0x00008067}; /* addi a0, a0, 1; ret */
#elif defined(__x86_64__)
    static const unsigned insns[] = {0x02478d48, 0x909090c3}; /* lea rax, [rdi + 2]; ret */
#else
#error "no code for this machine"
#endif
    for (int i = 0; i < FUNCTIONS; i++)
        __builtin_memcpy(code + i * FUNCTION_SIZE, insns, sizeof(insns));
    __builtin___clear_cache((char *)code, (char *)code + FUNCTIONS * FUNCTION_SIZE);
}

static long run_functions(unsigned char *code)
{
    long sum = 0;

    for (int i = 0; i < FUNCTIONS; i++)
        sum += ((long (*)(long))(code + i * FUNCTION_SIZE))(i);
    return sum;
}

static void *killer(void *arg)
{
    pid_t *child = arg, pid;

    while (!(pid = __atomic_load_n(child, __ATOMIC_ACQUIRE)))
        ;
    usleep(rand() % 2000);
    if (pid > 0 && kill(pid, SIGKILL) == 0)
        atomic_fetch_add(&killed, 1);
    return arg;
}

static void one_round(unsigned char *code)
{
    static const long expected = (long)FUNCTIONS * (FUNCTIONS - 1) / 2 + 2 * FUNCTIONS;
    pid_t child = 0, pid;
    pthread_t th;
    int status;

    write_functions(code);
    pthread_create(&th, NULL, killer, &child);
    pid = vfork();
    if (pid == 0) {
        __atomic_store_n(&child, (pid_t)syscall(SYS_getpid), __ATOMIC_RELEASE);
        for (;;) {
            run_functions(code);
            __builtin___clear_cache((char *)code, (char *)code + FUNCTIONS * FUNCTION_SIZE);
        }
    }
    if (pid < 0)
        __atomic_store_n(&child, -1, __ATOMIC_RELEASE);
    pthread_join(th, NULL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        atomic_fetch_add(&wrong, 1);
    write_functions(code);
    if (run_functions(code) != expected)
        atomic_fetch_add(&wrong, 1);
}

static void *worker(void *arg)
{
    unsigned char *code = mmap(NULL, FUNCTIONS * FUNCTION_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (int i = 0; i < ROUNDS; i++)
        one_round(code);
    return arg;
}

int main(void)
{
    pthread_t th[THREADS];

    for (int i = 0; i < THREADS; i++)
        pthread_create(&th[i], NULL, worker, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(th[i], NULL);
    printf("killed %d, wrong %d\n", atomic_load(&killed), atomic_load(&wrong));
    return 0;
}
