/*
 * Threads that share memory: each kind of atomic instruction counts right, and what RISC-V's memory
 * model forbids doesn't happen; code that a thread changes is seen by the others.
 *
 *     atomics [ROUNDS]
 *
 * Prints a line for each test; what is wrong says FAILED. Exit status 0 if all is right.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N_THREADS = 4 };

struct shared {
    _Alignas(64) volatile uint64_t counter;
    _Alignas(64) volatile uint64_t x;
    _Alignas(64) volatile uint64_t y;
    _Alignas(64) volatile uint64_t seen[2];
    _Alignas(64) volatile uint64_t turn[2];
    _Alignas(64) uint64_t pair[2];
};

struct thread {
    pthread_t thread;
    struct shared *shared;
    void (*work)(struct shared *s, unsigned number, unsigned long rounds);
    unsigned number;
    unsigned long rounds;
};

static void *start(void *opaque)
{
    struct thread *t = opaque;

    t->work(t->shared, t->number, t->rounds);
    return NULL;
}

static void run(struct shared *s, unsigned n, unsigned long rounds,
                void (*work)(struct shared *s, unsigned number, unsigned long rounds))
{
    struct thread threads[N_THREADS];

    for (unsigned i = 0; i < n; i++) {
        threads[i] = (struct thread){.shared = s, .work = work, .number = i, .rounds = rounds};
        if (pthread_create(&threads[i].thread, NULL, start, &threads[i])) {
            puts("FAILED: pthread_create");
            exit(1);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i].thread, NULL);
    }
}

static int failures;

static void check(const char *name, int good)
{
    printf("%s: %s\n", name, good ? "ok" : "FAILED");
    failures += !good;
}

/* ---- Counting ---- */

static void count_amo_d(struct shared *s, unsigned number, unsigned long rounds)
{
    (void)number;
    while (rounds--) {
        __asm__ volatile("amoadd.d zero, %1, %0" : "+A"(s->counter) : "r"(1ul) : "memory");
    }
}

static void count_amo_w(struct shared *s, unsigned number, unsigned long rounds)
{
    volatile uint32_t *half = (volatile uint32_t *)&s->counter + (number & 1);

    while (rounds--) {
        __asm__ volatile("amoadd.w.aqrl zero, %1, %0" : "+A"(*half) : "r"(1) : "memory");
    }
}

static void count_lr_sc_d(struct shared *s, unsigned number, unsigned long rounds)
{
    uint64_t value, failed;

    (void)number;
    while (rounds--) {
        __asm__ volatile("1: lr.d %0, %2\n addi %0, %0, 1\n sc.d %1, %0, %2\n bnez %1, 1b"
                         : "=&r"(value), "=&r"(failed), "+A"(s->counter)
                         :
                         : "memory");
    }
}

/* Neighbours in one word of memory, as code for small types does it. */
static void count_lr_sc_w(struct shared *s, unsigned number, unsigned long rounds)
{
    volatile uint32_t *half = (volatile uint32_t *)&s->counter + (number & 1);
    uint32_t value, failed;

    while (rounds--) {
        __asm__ volatile("1: lr.w.aq %0, %2\n addiw %0, %0, 1\n sc.w.rl %1, %0, %2\n bnez %1, 1b"
                         : "=&r"(value), "=&r"(failed), "+A"(*half)
                         :
                         : "memory");
    }
}

static void count_cas(struct shared *s, unsigned number, unsigned long rounds)
{
    (void)number;
    while (rounds--) {
        uint64_t old = s->counter;

        while (!__atomic_compare_exchange_n(&s->counter, &old, old + 1, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST)) {
        }
    }
}

/* amocas.d a0, a2, (a1): compilers of this age don't know it */
static void count_amocas(struct shared *s, unsigned number, unsigned long rounds)
{
    (void)number;
    while (rounds--) {
        register volatile uint64_t *address __asm__("a1") = &s->counter;
        uint64_t expected;

        do {
            register uint64_t old __asm__("a0");
            register uint64_t new __asm__("a2");

            expected = *address;
            old = expected;
            new = expected + 1;
            __asm__ volatile(".4byte 0x28c5b52f" : "+r"(old) : "r"(address), "r"(new) : "memory");
            if (old == expected) {
                break;
            }
        } while (1);
    }
}

/* amocas.q a0, a2, (a4): both halves count */
static void count_amocas_q(struct shared *s, unsigned number, unsigned long rounds)
{
    (void)number;
    while (rounds--) {
        register uint64_t *address __asm__("a4") = s->pair;
        uint64_t low, high;

        do {
            register uint64_t old0 __asm__("a0");
            register uint64_t old1 __asm__("a1");
            register uint64_t new0 __asm__("a2");
            register uint64_t new1 __asm__("a3");

            low = __atomic_load_n(&s->pair[0], __ATOMIC_RELAXED);
            high = __atomic_load_n(&s->pair[1], __ATOMIC_RELAXED);
            old0 = low;
            old1 = high;
            new0 = low + 1;
            new1 = high + 3;
            __asm__ volatile(".4byte 0x28c7452f"
                             : "+r"(old0), "+r"(old1)
                             : "r"(address), "r"(new0), "r"(new1)
                             : "memory");
            if (old0 == low && old1 == high) {
                break;
            }
        } while (1);
    }
}

/* A lock of amoswap; the counter itself isn't atomic. */
static void count_locked(struct shared *s, unsigned number, unsigned long rounds)
{
    volatile uint32_t *lock = (volatile uint32_t *)&s->x;

    (void)number;
    while (rounds--) {
        uint32_t old;

        for (;;) {
            __asm__ volatile("amoswap.w.aq %0, %2, %1"
                             : "=r"(old), "+A"(*lock)
                             : "r"(1)
                             : "memory");
            if (!old) {
                break;
            }
            sched_yield();
        }
        s->counter = s->counter + 1;
        __asm__ volatile("amoswap.w.rl zero, zero, %0" : "+A"(*lock) : : "memory");
    }
}

static void test_counters(unsigned long rounds)
{
    static const struct {
        const char *name;
        void (*work)(struct shared *s, unsigned number, unsigned long rounds);
        uint64_t scale; /* what the counter holds for each count */
    } rows[] = {
        {"amoadd.d", count_amo_d, 2},         {"amoadd.w", count_amo_w, 0x100000001},
        {"lr.d, sc.d", count_lr_sc_d, 2},     {"lr.w, sc.w", count_lr_sc_w, 0x100000001},
        {"compare and swap", count_cas, 2},   {"amocas.d", count_amocas, 2},
        {"lock of amoswap", count_locked, 2},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shared s = {0};

        run(&s, N_THREADS, rounds, rows[i].work);
        check(rows[i].name, s.counter == rows[i].scale * (N_THREADS / 2) * rounds);
    }
    struct shared s = {0};

    run(&s, N_THREADS, rounds, count_amocas_q);
    check("amocas.q", s.pair[0] == N_THREADS * rounds && s.pair[1] == 3 * N_THREADS * rounds);
}

/* ---- The memory model ---- */

/* Both start a round together. */
static void meet(struct shared *s, unsigned number, unsigned long round)
{
    s->turn[number] = round;
    while (s->turn[!number] < round) {
        sched_yield();
    }
}

static volatile unsigned long bad_rounds;

/* Each stores, fences, loads the other's: not both may see the old value. */
static void store_buffer(struct shared *s, unsigned number, unsigned long rounds)
{
    volatile uint64_t *mine = number ? &s->y : &s->x, *other = number ? &s->x : &s->y;

    for (unsigned long round = 1; round <= rounds; round++) {
        uint64_t seen;

        meet(s, number, 2 * round - 1);
        __asm__ volatile("sd %3, %1\n fence rw, rw\n ld %0, %2"
                         : "=r"(seen), "=m"(*mine)
                         : "m"(*other), "r"(round)
                         : "memory");
        s->seen[number] = seen;
        meet(s, number, 2 * round);
        if (number == 0 && s->seen[0] < round && s->seen[1] < round) {
            bad_rounds++;
        }
    }
}

/* The same by sequentially consistent atomics: an amoswap.aqrl in place of store and fence. */
static void store_buffer_amo(struct shared *s, unsigned number, unsigned long rounds)
{
    volatile uint64_t *mine = number ? &s->y : &s->x, *other = number ? &s->x : &s->y;

    for (unsigned long round = 1; round <= rounds; round++) {
        uint64_t seen;

        meet(s, number, 2 * round - 1);
        __asm__ volatile("amoswap.d.aqrl zero, %3, %1\n lr.d.aqrl %0, %2"
                         : "=&r"(seen), "+A"(*mine)
                         : "A"(*other), "r"(round)
                         : "memory");
        s->seen[number] = seen;
        meet(s, number, 2 * round);
        if (number == 0 && s->seen[0] < round && s->seen[1] < round) {
            bad_rounds++;
        }
    }
}

/* One publishes data, then a flag; the other must not see the flag without the data. */
static void message(struct shared *s, unsigned number, unsigned long rounds)
{
    for (unsigned long round = 1; round <= rounds; round++) {
        if (number == 0) {
            __asm__ volatile("sd %2, %0\n fence w, w\n sd %2, %1"
                             : "=m"(s->x), "=m"(s->y)
                             : "r"(round)
                             : "memory");
            if (round % 64 == 0) {
                sched_yield();
            }
        } else {
            uint64_t flag, data;

            __asm__ volatile("ld %0, %2\n fence r, r\n ld %1, %3"
                             : "=&r"(flag), "=r"(data)
                             : "m"(s->y), "m"(s->x)
                             : "memory");
            if (data < flag) {
                bad_rounds++;
            }
        }
    }
}

static void test_model(unsigned long rounds)
{
    static const struct {
        const char *name;
        void (*work)(struct shared *s, unsigned number, unsigned long rounds);
    } rows[] = {
        {"store buffering with fence", store_buffer},
        {"store buffering with atomics", store_buffer_amo},
        {"message passing", message},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shared s = {0};

        bad_rounds = 0;
        run(&s, 2, rounds, rows[i].work);
        check(rows[i].name, bad_rounds == 0);
    }
}

/* ---- Code that changes ---- */

static uint32_t *code;

/* Thread 0 makes a function return more and more; the others call it: they must never see less than
 * before, nor anything else than what was there at some time. */
static void change_code(struct shared *s, unsigned number, unsigned long rounds)
{
    uint64_t last = 0;

    if (number == 0) {
        for (unsigned long round = 1; round <= rounds; round++) {
            /* li a0, round */
            __atomic_store_n(&code[0], 0x00000513u | (uint32_t)(round & 2047) << 20,
                             __ATOMIC_RELEASE);
            syscall(SYS_riscv_flush_icache, code, code + 2, 0);
            s->x = round;
        }
        s->y = 1;
        return;
    }
    while (!s->y) {
        uint64_t before = s->x;
        uint64_t value = ((uint64_t(*)(void))code)();

        if (value < last || value < before) {
            bad_rounds++;
        }
        last = value;
    }
}

static void test_code(unsigned long rounds)
{
    struct shared s = {0};

    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        check("mmap", 0);
        return;
    }
    code[0] = 0x00000513;
    code[1] = 0x00008067; /* ret */
    syscall(SYS_riscv_flush_icache, code, code + 2, 0);
    bad_rounds = 0;
    run(&s, N_THREADS, rounds > 2000 ? 2000 : rounds, change_code);
    check("code that a thread changes", bad_rounds == 0);
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 20000;

    test_counters(rounds);
    test_model(rounds);
    test_code(rounds);
    return failures != 0;
}
