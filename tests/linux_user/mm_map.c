/* Mappings: what mmap, munmap, mprotect, mremap, brk and shmat do and refuse. */
#include "sc.h"
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define PAGE 4096ul
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf jump;
static volatile int code, armed;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (!armed) {
        printf("unexpected signal %d\n", sig);
        _exit(1);
    }
    armed = 0;
    code = info->si_code | sig << 8;
    siglongjmp(jump, 1);
}

/* "ok", or the signal and its code. */
static const char *touch(volatile char *p, int write)
{
    static char text[32];

    if (sigsetjmp(jump, 1)) {
        snprintf(text, sizeof(text), "%s %d", code >> 8 == SIGSEGV ? "SEGV" : "BUS", code & 255);
        return text;
    }
    armed = 1;
    if (write) {
        *p = 1;
    } else {
        (void)*p;
    }
    armed = 0;
    return "ok";
}

static void *anon(size_t pages)
{
    char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, ANON, -1, 0);

    /* With a hole on both sides. */
    munmap(p, PAGE);
    munmap(p + (pages + 1) * PAGE, PAGE);
    mprotect(p + PAGE, pages * PAGE, RW);
    return p + PAGE;
}

static void arguments(int fd)
{
    char *p = anon(4);

    SHOW(mmap(NULL, 0, RW, ANON, -1, 0));
    SHOW(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
    SHOW(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
    SHOW(mmap(NULL, PAGE, RW, MAP_PRIVATE, 999, 0));
    SHOW(mmap(p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0));
    SHOW(mmap((void *)(1ul << 62), PAGE, RW, ANON | MAP_FIXED, -1, 0));
    SHOW(mmap(NULL, 1ul << 62, RW, ANON, -1, 0));
    SHOW(mmap(NULL, -1ul, RW, ANON, -1, 0));
    SHOW(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    OK(mmap((void *)(1ul << 62), PAGE, RW, ANON, -1, 0));
    SHOW(syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1));
    SHOW(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
    OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
    OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, fd, 0));
    SHOW(mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, fd, 0));
    SHOW(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, 0) != MAP_FAILED);
    SHOW(munmap(p + 1, PAGE));
    SHOW(munmap(p, 0));
    SHOW(munmap(p, 1));
    printf("%s %s\n", touch(p, 0), touch(p + PAGE, 0));
    SHOW(munmap(p, 4 * PAGE));
    SHOW(munmap(p, 4 * PAGE));
    SHOW(munmap((void *)(1ul << 62), PAGE));
    SHOW(munmap((void *)PAGE, 1ul << 62));
}

static void protection(int fd)
{
    char *p = anon(4), *f;

    SHOW(mprotect(p + 1, PAGE, PROT_READ));
    SHOW(mprotect(p, 0, PROT_READ));
    SHOW(mprotect(p, PAGE, 0x80));
    SHOW(mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
    SHOW(mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN));
    SHOW(mprotect(p, 1, PROT_READ));
    printf("%s %s", touch(p, 0), touch(p, 1));
    printf(" %s\n", touch(p + PAGE, 1));
    SHOW(mprotect(p, 8 * PAGE, PROT_NONE));
    printf("%s\n", touch(p + 3 * PAGE, 0));
    SHOW(mprotect(p - PAGE, 2 * PAGE, RW));
    printf("%s\n", touch(p, 0));
    SHOW(mprotect((void *)-PAGE, 2 * PAGE, RW));
    SHOW(write(1, p, 1));
    SHOW(mprotect(p, 4 * PAGE, PROT_WRITE));
    printf("%s %s\n", touch(p, 1), touch(p, 0));
    f = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    SHOW(mprotect(f, PAGE, RW));
    printf("%s", touch(f, 0));
    printf(" %s\n", touch(f + PAGE, 0));
    printf("%s\n", touch((char *)16, 0));
}

static void remap(int fd)
{
    char *p = anon(4), *q, *r;

    memset(p, 'a', 4 * PAGE);
    SHOW(mremap(p + 1, PAGE, PAGE, 0));
    SHOW(mremap(p, PAGE, 0, 0));
    SHOW(mremap(p, PAGE, PAGE, 0x80));
    SHOW(mremap(p, PAGE, PAGE, MREMAP_FIXED, p + 8 * PAGE));
    SHOW(mremap(p, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p));
    SHOW(mremap(p, 2 * PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + PAGE));
    SHOW(mremap(p, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + 100));
    SHOW(mremap(p - PAGE, PAGE, PAGE, 0));
    SHOW(mremap(p, 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE));
    SHOW(mremap(p, PAGE, 2 * PAGE, 0));
    SHOW(mremap(p, 4 * PAGE, 3 * PAGE, 0) == p);
    printf("%s %s\n", touch(p + 2 * PAGE, 0), touch(p + 3 * PAGE, 0));
    SHOW(mremap(p, 3 * PAGE, 5 * PAGE, 0) == p);
    printf("%d %d\n", p[3 * PAGE - 1], p[5 * PAGE - 1]);
    SHOW(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    SHOW(mremap(p, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE));
    SHOW(mprotect(p + 2 * PAGE, PAGE, RW));
    q = mremap(p, 5 * PAGE, 4096 * PAGE, MREMAP_MAYMOVE);
    printf("%d %d %d\n", q[0], q[3 * PAGE - 1], q[4096 * PAGE - 1]);
    r = anon(8);
    SHOW(mremap(q, 4096 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r + PAGE) == r + PAGE);
    printf("%s", touch(q, 0));
    printf(" %d %d", r[PAGE], r[3 * PAGE]);
    printf(" %s\n", touch(r + 3 * PAGE, 1));
    p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    q = mremap(p, 0, PAGE, MREMAP_MAYMOVE);
    printf("%d\n", q != MAP_FAILED && q != p && memcmp(p, q, PAGE) == 0);
    SHOW(mremap(r, 0, PAGE, MREMAP_MAYMOVE));
    r[0] = 7;
    q = mremap(r, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    printf("%d %d\n", q[0], r[0]);
    SHOW(mremap(r, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
}

static void places(void)
{
    char *p = anon(8), *q, *big;

    SHOW(mmap(p + 2 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p + 2 * PAGE);
    printf("%s %s", touch(p + PAGE, 1), touch(p + 2 * PAGE, 0));
    printf(" %s\n", touch(p + 2 * PAGE, 1));
    munmap(p + 4 * PAGE, 2 * PAGE);
    SHOW(mmap(p + 4 * PAGE, PAGE, RW, ANON, -1, 0) == p + 4 * PAGE);
    SHOW(mmap(p + 4 * PAGE, PAGE, RW, ANON, -1, 0) != p + 4 * PAGE);
    SHOW(mmap(p + 5 * PAGE + 100, PAGE, RW, ANON, -1, 0) == p + 5 * PAGE);
    SHOW(mmap(p + 5 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    SHOW(mmap(p, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    /* A reservation as runtimes make it, parts of it put to use. */
    big = mmap(NULL, 1ul << 36, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    SHOW(big != MAP_FAILED);
    SHOW(mprotect(big + (1ul << 35), 16 * PAGE, RW));
    printf("%s", touch(big + (1ul << 35) + PAGE, 1));
    printf(" %s\n", touch(big + (1ul << 35) - 1, 0));
    q = big + (1ul << 34);
    SHOW(mmap(q, 1ul << 20, RW, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0) == q);
    printf("%s\n", touch(q + PAGE, 1));
    SHOW(madvise(q, 1ul << 20, MADV_DONTNEED));
    printf("%d\n", q[PAGE]);
    SHOW(munmap(big, 1ul << 36));
    printf("%s\n", touch(q, 0));
}

static void heap(void)
{
    char *start = sbrk(0);

    SHOW(sbrk(3 * PAGE) == start);
    printf("%s %s", touch(start, 1), touch(start + 3 * PAGE - 1, 1));
    start[0] = 5;
    SHOW(brk(start + 1));
    printf("%d %s\n", start[0], touch(start + 2 * PAGE, 1));
    SHOW(syscall(SYS_brk, NULL) == (long)start + 1);
    SHOW(syscall(SYS_brk, 1ul << 62) == (long)start + 1);
    SHOW(syscall(SYS_brk, 1) == (long)start + 1);
    SHOW(brk(start + 2 * PAGE));
    SHOW(brk(start));
}

static void segments(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
    char *p, *q;

    p = shmat(id, NULL, 0);
    q = shmat(id, NULL, SHM_RDONLY);
    p[PAGE] = 'x';
    printf("%c %s", q[PAGE], touch(q, 1));
    printf(" %s\n", touch(p + 3 * PAGE - 1, 1));
    SHOW(shmat(id, p, 0));
    SHOW(shmat(id, p + 1, 0));
    SHOW(shmat(id, p + 1, SHM_RND | SHM_REMAP) == p);
    SHOW(shmat(-1, NULL, 0));
    SHOW(shmdt(q + PAGE));
    SHOW(shmdt(q));
    printf("%s\n", touch(q, 0));
    SHOW(shmdt(q));
    SHOW(munmap(p, PAGE));
    SHOW(shmdt(p));
    printf("%s\n", touch(p + PAGE, 0));
    SHOW(shmctl(id, IPC_RMID, NULL));
}

static void grow(void)
{
    char *area = mmap(NULL, 2048 * PAGE, PROT_NONE, ANON, -1, 0), *p = area + 2000 * PAGE;

    munmap(area, 2048 * PAGE);
    p = mmap(p, 4 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    p[0] = 'p';
    printf("%s\n", touch(p - PAGE, 1));
    printf("%s\n", touch(p - 3 * PAGE, 1));
    p[-3 * (long)PAGE] = '\n';
    SHOW(write(1, p - 3 * PAGE, 1));
    SHOW(munmap(p - 3 * PAGE, 7 * PAGE));
    printf("%s\n", touch(p, 0));
}

/* With an argument: not what needs mappings that grow. */
int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    char name[] = "/tmp/mm_map_XXXXXX";
    int fd = mkstemp(name);

    setvbuf(stdout, NULL, _IONBF, 0);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    if (write(fd, "content", 7) != 7) {
        return 1;
    }
    close(fd);
    fd = open(name, O_RDONLY);
    unlink(name);
    puts("arguments");
    arguments(fd);
    puts("protection");
    protection(fd);
    puts("remap");
    remap(fd);
    puts("places");
    places();
    puts("heap");
    heap();
    puts("segments");
    segments();
    if (argc == 1) {
        puts("grow");
        grow();
    }
    (void)argv;
    return 0;
}
