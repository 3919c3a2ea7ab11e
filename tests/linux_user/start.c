/* How a program finds itself: stack, auxiliary vector, vDSO, /proc/self. Prints what the test looks
 * at, and complains where two sources disagree. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char zeros[10000];
static char data[5000] = "data";

#define CHECK(what)                                           \
    do {                                                      \
        if (!(what)) {                                        \
            printf("wrong: %s (line %d)\n", #what, __LINE__); \
        }                                                     \
    } while (0)

static size_t slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    ssize_t got;

    while (fd >= 0 && (got = read(fd, text + n, size - 1 - n)) > 0) {
        n += (size_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[n] = '\0';
    return n;
}

/* The line of /proc/self/maps that has [address]; "" if none. */
static const char *mapping(uintptr_t address)
{
    static char text[65536], line[512];
    unsigned long start, end;

    slurp("/proc/self/maps", text, sizeof(text));
    for (char *at = text, *next; *at; at = next) {
        next = strchr(at, '\n') ? strchr(at, '\n') + 1 : at + strlen(at);
        if (sscanf(at, "%lx-%lx", &start, &end) == 2 && address >= start && address < end) {
            snprintf(line, sizeof(line), "%.*s", (int)(next - at - 1), at);
            return line;
        }
    }
    return "";
}

static void stack(int argc, char **argv)
{
    const char *word = (const char *)getauxval(AT_RANDOM);
    uintptr_t *p = (uintptr_t *)argv - 1;
    ElfW(auxv_t) * aux;
    char **env = argv + argc + 1;

    CHECK((uintptr_t)p % 16 == 0);
    CHECK(*p == (uintptr_t)argc);
    CHECK(env == environ);
    while (*env) {
        env++;
    }
    aux = (ElfW(auxv_t) *)(env + 1);
    CHECK(aux->a_type == AT_SYSINFO_EHDR);
    CHECK(word && memcmp(word, zeros, 16) != 0);
    CHECK(getauxval(AT_PAGESZ) == (unsigned long)sysconf(_SC_PAGESIZE));
    CHECK(getauxval(AT_CLKTCK) == (unsigned long)sysconf(_SC_CLK_TCK));
    CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EGID) == getegid());
    CHECK(getauxval(AT_PHENT) == sizeof(ElfW(Phdr)));
    CHECK(getauxval(AT_MINSIGSTKSZ) >= 2048);
    printf("hwcap %lx\n", getauxval(AT_HWCAP));
    printf("execfn %s\n", (char *)getauxval(AT_EXECFN));
    printf("stack %s\n", strstr(mapping((uintptr_t)&argc), "[stack]") ? "named" : "?");
    for (int i = 0; i < argc; i++) {
        printf("argv %s\n", argv[i]);
    }
    for (char **e = environ; *e; e++) {
        if (strncmp(*e, "TEST", 4) == 0) {
            printf("env %s\n", *e);
        }
    }
}

static void image(void)
{
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    unsigned loads = 0;

    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        loads += phdr[i].p_type == PT_LOAD;
    }
    CHECK(loads >= 1);
    for (size_t i = 0; i < sizeof(zeros); i++) {
        CHECK(zeros[i] == 0);
    }
    CHECK(strcmp(data, "data") == 0 && data[4999] == 0);
    CHECK(strstr(mapping((uintptr_t)stack), " r-xp "));
    CHECK(strstr(mapping((uintptr_t)data), " rw-p "));
    CHECK(strstr(mapping((uintptr_t)sbrk(0) - 1), "[heap]") || sbrk(0) == sbrk(0));
    CHECK(((uintptr_t)stack < 0x1000000) == (getauxval(AT_ENTRY) < 0x1000000));
}

static void vdso(void)
{
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    struct timespec a, b, r;
    struct timeval t;
    unsigned cpu = 99999, node = 99999;

    CHECK(base && memcmp(base, ELFMAG, SELFMAG) == 0);
    CHECK(strstr(mapping((uintptr_t)base), "[vdso]"));
    CHECK(strstr(mapping((uintptr_t)base), " r-xp "));
    /* Three times the same clock: the C library, the kernel, the C library. */
    for (int i = 0; i < 2; i++) {
        clockid_t clock = i ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        struct timespec k;

        CHECK(clock_gettime(clock, &a) == 0);
        CHECK(syscall(SYS_clock_gettime, clock, &k) == 0);
        CHECK(clock_gettime(clock, &b) == 0);
        CHECK(a.tv_sec < k.tv_sec || (a.tv_sec == k.tv_sec && a.tv_nsec <= k.tv_nsec));
        CHECK(k.tv_sec < b.tv_sec || (k.tv_sec == b.tv_sec && k.tv_nsec <= b.tv_nsec));
    }
    CHECK(clock_getres(CLOCK_MONOTONIC, &r) == 0 && r.tv_sec == 0 && r.tv_nsec > 0);
    CHECK(clock_gettime(12345, &a) == -1 && errno == EINVAL);
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a) == 0);
    CHECK(gettimeofday(&t, NULL) == 0 && labs(t.tv_sec - time(NULL)) <= 1);
    CHECK(getcpu(&cpu, &node) == 0 && cpu < 4096 && node < 1024);
}

static void proc(char **argv)
{
    static char text[65536], other[65536];
    unsigned long values[64];
    char path[64], *at;
    size_t n;

    n = slurp("/proc/self/auxv", text, sizeof(text));
    CHECK(n >= 16 && *(uint64_t *)text == AT_SYSINFO_EHDR);
    CHECK(n >= 16 && *(uint64_t *)(text + n - 16) == AT_NULL);
    slurp("/proc/self/cmdline", text, sizeof(text));
    CHECK(strcmp(text, argv[0]) == 0);
    slurp("/proc/self/environ", text, sizeof(text));
    CHECK(!environ[0] || strcmp(text, environ[0]) == 0);
    n = (size_t)readlink("/proc/self/exe", text, sizeof(text) - 1);
    text[n < sizeof(text) ? n : 0] = '\0';
    printf("exe %s\n", text);
    n = slurp("/proc/self/exe", other, sizeof(other));
    CHECK(n > 64 && memcmp(other, ELFMAG, SELFMAG) == 0);
    CHECK(n > 64 && ((ElfW(Ehdr) *)other)->e_phnum == getauxval(AT_PHNUM));
    slurp("/proc/self/stat", text, sizeof(text));
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
    CHECK(slurp(path, other, sizeof(other)) > 50);
    snprintf(path, sizeof(path), "/proc/%d/maps", getpid());
    CHECK(slurp(path, other, sizeof(other)) > 100 && !strstr(other, "/nandu-user"));
    CHECK(slurp("/proc/thread-self/maps", other, sizeof(other)) > 100);
    CHECK(slurp("/proc/self/smaps", other, sizeof(other)) > 1000 && strstr(other, "\nRss:"));
    CHECK(strtol(text, NULL, 10) == getpid());
    at = strrchr(text, ')') + 4;
    for (int i = 4; i <= 52; i++) {
        values[i] = strtoul(at, &at, 10);
    }
    CHECK(values[20] == 1);
    CHECK((uintptr_t)stack >= values[26] && (uintptr_t)stack < values[27]);
    CHECK((uintptr_t)argv > values[28] && (uintptr_t)argv < values[28] + 64);
    CHECK((uintptr_t)argv[0] == values[48] && values[49] > values[48]);
    CHECK((uintptr_t)sbrk(0) >= values[47]);
    slurp("/proc/cpuinfo", text, sizeof(text));
    CHECK(strstr(text, "isa\t\t: rv64ima"));
    CHECK(open("/proc/self/mem", O_RDWR) == -1);
}

int main(int argc, char **argv)
{
    stack(argc, argv);
    image();
    vdso();
    proc(argv);
    puts("end");
    return 0;
}
