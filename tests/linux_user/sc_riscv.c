/* riscv_hwprobe and riscv_flush_icache: there is nothing to compare with, so it checks itself. */
#include "sc.h"
#include <sys/auxv.h>

#define HWPROBE 258
#define FLUSH   259

struct pair {
    int64_t key;
    uint64_t value;
};

int main(void)
{
    struct pair p[11], bad;
    uint64_t cpus[16] = {~0ull}, empty[16] = {0};

    for (int i = 0; i < 11; i++)
        p[i] = (struct pair){i, 77};
    SHOW(syscall(HWPROBE, p, 11, 0, NULL, 0));
    for (int i = 0; i < 11; i++)
        if (i != 4 && i != 7)
            printf("key %d value %lx\n", (int)p[i].key, (long)p[i].value);
    /* The same extensions as AT_HWCAP says. */
    long hwcap = getauxval(AT_HWCAP);
    printf("fd %d c %d\n", (hwcap >> ('d' - 'a') & 1) == (p[4].value & 1),
           (hwcap >> ('c' - 'a') & 1) == (p[4].value >> 1 & 1));
    printf("zba %d zbb %d v %d\n", (int)(p[4].value >> 3 & 1), (int)(p[4].value >> 4 & 1),
           (int)(p[4].value >> 2 & 1));
    bad = (struct pair){12345, 5};
    SHOW(syscall(HWPROBE, &bad, 1, 0, NULL, 0));
    printf("key %d value %d\n", (int)bad.key, (int)bad.value);
    SHOW(syscall(HWPROBE, p, 1, 8, cpus, 0));
    SHOW(syscall(HWPROBE, p, 1, 8, empty, 0));
    SHOW(syscall(HWPROBE, p, 1, 8, cpus, 4));
    SHOW(syscall(HWPROBE, NOWHERE, 1, 0, NULL, 0));
    SHOW(syscall(HWPROBE, p, 1, 8, NOWHERE, 0));
    p[0] = (struct pair){3, 1};
    SHOW(syscall(HWPROBE, p, 1, 8, cpus, 1));
    printf("some %d\n", cpus[0] != 0);
    p[0] = (struct pair){5, 4};
    SHOW(syscall(HWPROBE, p, 1, 8, cpus, 1));
    printf("some %d\n", cpus[0] != 0);
    SHOW(syscall(HWPROBE, p, 1, 0, NULL, 1));
    SHOW(syscall(FLUSH, NULL, NULL, 0));
    SHOW(syscall(FLUSH, p, p + 4, 1));
    SHOW(syscall(FLUSH, NULL, NULL, 2));
    return 0;
}
