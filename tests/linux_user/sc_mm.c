/* Memory: what is done to mappings other than mapping, and the memory of other processes. */
#include "sc.h"

static void ranges(void)
{
    char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char vec[4] = {9, 9, 9, 9};

    munmap(p + 8192, 4096);
    p[0] = 1;
    SHOW(mincore(p, 8192, vec));
    printf("%d %d\n", vec[0] & 1, vec[1] & 1);
    SHOW(mincore(p, 16384, vec));
    SHOW(mincore(p + 1, 4096, vec));
    SHOW(mincore(p, 4096, NOWHERE));
    SHOW(mincore(p, 0, vec));
    SHOW(mlock(p, 4096));
    SHOW(mlock(p + 100, 10));
    SHOW(mlock(p, 16384));
    SHOW(munlock(p, 4096));
    SHOW(syscall(SYS_mlock2, p, 4096, 1));
    SHOW(syscall(SYS_mlock2, p, 4096, 8));
    SHOW(munlock(p, 8192));
    SHOW(munlockall());
    SHOW(mlockall(0));
    SHOW(msync(p, 8192, MS_SYNC));
    SHOW(msync(p, 16384, MS_SYNC));
    SHOW(msync(p + 1, 10, MS_SYNC));
    SHOW(msync(p, 10, MS_SYNC | MS_ASYNC));
    SHOW(msync(p, 0, MS_ASYNC));
    p[4096] = 5;
    SHOW(madvise(p, 8192, MADV_DONTNEED));
    printf("%d %d\n", p[0], p[4096]);
    SHOW(madvise(p, 16384, MADV_WILLNEED));
    SHOW(madvise(p, 4096, 12345));
    SHOW(madvise(p + 1, 4096, MADV_NORMAL));
    SHOW(mprotect(p, 4096, PROT_NONE));
    SHOW(mincore(p, 4096, vec));
    SHOW(write(1, p, 1));
    SHOW(mprotect(p, 16384, PROT_READ));
    SHOW(munmap(p, 16384));
    SHOW(munmap(p + 1, 4096));
    SHOW(munmap(p, 0));
}

static void transfer(void)
{
    char a[16] = "local", b[16] = "remote";
    struct iovec l = {a, 16}, r = {b, 16}, many[2] = {{b, 3}, {b + 8, 4}};
    int go[2], pid, status;

    SHOW(process_vm_readv(getpid(), &l, 1, &r, 1, 0));
    printf("%s\n", a);
    strcpy(a, "written");
    SHOW(process_vm_writev(getpid(), &l, 1, many, 2, 0));
    printf("%.3s %.4s\n", b, b + 8);
    r.iov_base = NOWHERE;
    SHOW(process_vm_readv(getpid(), &l, 1, &r, 1, 0));
    r.iov_base = KERNEL;
    SHOW(process_vm_writev(getpid(), &l, 1, &r, 1, 0));
    SHOW(process_vm_readv(getpid(), NOWHERE, 1, &r, 1, 0));
    SHOW(process_vm_readv(getpid(), &l, 1, NOWHERE, 1, 0));
    SHOW(process_vm_readv(getpid(), &l, 1, &r, 1, 7));
    SHOW(process_vm_readv(getpid(), &l, 1, &r, 5000, 0));
    SHOW(process_vm_readv(-1, &l, 1, &l, 1, 0));
    pipe(go);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        read(go[0], a, 1);
        _exit(b[0]);
    }
    strcpy(a, "Z");
    r = (struct iovec){b, 1};
    l = (struct iovec){a, 1};
    SHOW(process_vm_writev(pid, &l, 1, &r, 1, 0));
    write(go[1], "g", 1);
    waitpid(pid, &status, 0);
    printf("child had %c\n", WEXITSTATUS(status));
}

static void nodes(void)
{
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long mask[64] = {1};
    int mode = -1, status[2] = {-1, -1};
    void *pages[2] = {p, p + 4096};

    p[0] = 1;
    SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0));
    printf("mode %d\n", mode);
    SHOW(syscall(SYS_mbind, p, 8192, 2, mask, 64, 0));
    SHOW(syscall(SYS_get_mempolicy, &mode, mask, 4096, p, 2));
    printf("mode %d mask %lx\n", mode, mask[0]);
    SHOW(syscall(SYS_mbind, p, 8192, 2, NOWHERE, 64, 0));
    SHOW(syscall(SYS_mbind, p + 1, 8192, 2, mask, 64, 0));
    SHOW(syscall(SYS_mbind, p, 8192, 99, mask, 64, 0));
    SHOW(syscall(SYS_set_mempolicy, 0, NULL, 0));
    SHOW(syscall(SYS_set_mempolicy, 2, NOWHERE, 64));
    SHOW(syscall(SYS_set_mempolicy, 2, mask, 1 << 30));
    SHOW(syscall(SYS_move_pages, 0, 2, pages, NULL, status, 0));
    printf("%d %d\n", status[0], status[1] == -ENOENT);
    SHOW(syscall(SYS_move_pages, 0, 2, NOWHERE, NULL, status, 0));
    SHOW(syscall(SYS_migrate_pages, 0, 64, NOWHERE, mask));
    SHOW(syscall(SYS_set_mempolicy_home_node, p, 8192, 0, 0) == 0 || errno == EOPNOTSUPP ||
         errno == ENOSYS);
}

static void files(void)
{
    struct {
        uint64_t off, len;
    } range = {0, 8192};
    uint64_t stat[5];
    int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *p;

    ftruncate(fd, 8192);
    p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(p, "first");
    strcpy(p + 4096, "second");
    SHOW(msync(p, 8192, MS_SYNC));
    SHOW(syscall(SYS_remap_file_pages, p, 4096, 0, 1, 0));
    printf("%s\n", p);
    SHOW(syscall(SYS_remap_file_pages, p + 1, 4096, 0, 1, 0));
    SHOW(syscall(451 /* cachestat */, fd, &range, stat, 0));
    SHOW(syscall(451 /* cachestat */, fd, NOWHERE, stat, 0));
    close(fd);
}

int main(void)
{
    ranges();
    transfer();
    nodes();
    files();
    SHOW(syscall(462 /* mseal */, 1, 4096, 0));
    SHOW(syscall(SYS_process_madvise, -1, NOWHERE, 1, MADV_COLD, 0));
    return 0;
}
