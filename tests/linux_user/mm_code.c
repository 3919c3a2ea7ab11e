/* Code that changes: by a system call on its mapping alone (no fence.i), and by stores with one.
 * riscv64 only; prints what each call of the code returned. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096

typedef int function(void);

static const int rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC;

/* li a0, value; ret */
static void put(void *at, int value)
{
    uint32_t code[] = {0x00000513u | (uint32_t)value << 20, 0x00008067u};

    memcpy(at, code, sizeof(code));
}

static int call(void *at)
{
    return ((function *)at)();
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    printf("(%s %d at %s) ",
           sig == SIGSEGV  ? "SEGV"
           : sig == SIGILL ? "ILL"
                           : "?",
           info->si_code,
           (uintptr_t)info->si_addr == uc->uc_mcontext.__gregs[0] ? "pc" : "elsewhere");
    /* Return from the call. */
    uc->uc_mcontext.__gregs[0] = uc->uc_mcontext.__gregs[1];
    uc->uc_mcontext.__gregs[10] = (unsigned long)-1;
}

static void *code_page(int value)
{
    void *p = mmap(NULL, PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    put(p, value);
    mprotect(p, PAGE, rx);
    return p;
}

static void by_mprotect(void)
{
    void *p = code_page(1);

    printf("mprotect: %d", call(p));
    mprotect(p, PAGE, rw);
    put(p, 2);
    printf(" %d", call(p)); /* not executable now */
    mprotect(p, PAGE, rx);
    printf(" %d", call(p));
    mprotect(p, PAGE, PROT_NONE);
    printf(" %d", call(p));
    mprotect(p, PAGE, PROT_READ);
    printf(" %d", call(p));
    mprotect(p, PAGE, PROT_EXEC);
    printf(" %d\n", call(p));
}

static void by_mapping(void)
{
    void *p = code_page(3), *q = code_page(4), *old = p;

    printf("mapping: %d", call(p));
    mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p);
    printf(" %d %d", call(p), call(q));
    mmap(p, PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    put(p, 5);
    mprotect(p, PAGE, rx);
    printf(" %d", call(p));
    munmap(p, PAGE);
    printf(" %d", call(p));
    p = mmap(old, PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    put(p, 6);
    mprotect(p, PAGE, rx);
    printf(" %d", call(p));
    madvise(p, PAGE, MADV_DONTNEED);
    printf(" %d\n", call(p)); /* zeros are no instruction */
}

static void by_stores(void)
{
    uint8_t *p = mmap(NULL, PAGE, rw | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;

    printf("stores:");
    for (int i = 0; i < 1000; i++) {
        put(p + i % 7 * 8, i);
        __builtin___clear_cache((char *)p, (char *)p + PAGE);
        sum += call(p + i % 7 * 8);
    }
    printf(" %d\n", sum);
}

static void by_alias(void)
{
    int fd = memfd_create("code", 0);
    uint8_t *w, *x;

    if (ftruncate(fd, PAGE) < 0) {
        return;
    }
    w = mmap(NULL, PAGE, rw, MAP_SHARED, fd, 0);
    x = mmap(NULL, PAGE, rx, MAP_SHARED, fd, 0);
    printf("alias:");
    for (int i = 7; i < 10; i++) {
        put(w, i);
        __builtin___clear_cache((char *)x, (char *)x + PAGE);
        printf(" %d", call(x));
    }
    printf("\n");
}

/* An instruction that crosses into a page that isn't there, and one at a page's end. */
static void at_the_edge(void)
{
    uint8_t *p = mmap(NULL, 2 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint16_t compressed[] = {0x4529 /* c.li a0, 10 */, 0x8082 /* c.jr ra */};

    munmap(p + PAGE, PAGE);
    memcpy(p + PAGE - 4, compressed, 4);
    mprotect(p, PAGE, rx);
    printf("edge: %d", call(p + PAGE - 4));
    mprotect(p, PAGE, rw);
    p[PAGE - 2] = 0x13; /* the first half of addi */
    p[PAGE - 1] = 0x05;
    mprotect(p, PAGE, rx);
    printf(" %d\n", call(p + PAGE - 4));
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    setvbuf(stdout, NULL, _IONBF, 0);
    by_mprotect();
    by_mapping();
    by_stores();
    by_alias();
    at_the_edge();
    return 0;
}
