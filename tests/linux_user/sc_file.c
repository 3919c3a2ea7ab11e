/* Open files: reading and writing in all ways, locks, fcntl, copying between files. */
#include "sc.h"
#include <linux/openat2.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/sendfile.h>

static char *two_pages(void)
{
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + 4096, 4096);
    return p;
}

static void reading(void)
{
    char buf[64] = "";
    struct iovec v[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    struct iovec r[2] = {{buf, 3}, {buf + 10, 40}};
    int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0640);

    SHOW(write(fd, "hello world\n", 12));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(read(fd, buf, 5));
    SHOW(pread(fd, buf, 5, 6));
    printf("[%.5s]\n", buf);
    SHOW(pwrite(fd, "W", 1, 6));
    SHOW(writev(fd, v, 3));
    SHOW(lseek(fd, -3, SEEK_END));
    SHOW(readv(fd, r, 2));
    SHOW(preadv(fd, r, 2, 0));
    printf("[%.3s][%.20s]\n", buf, buf + 10);
    SHOW(pwritev(fd, v, 2, 100));
    SHOW(preadv2(fd, r, 2, 98, 0));
    SHOW(pwritev2(fd, v, 1, -1, RWF_APPEND));
    SHOW(preadv2(fd, r, 2, 0, 0x40000000));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(lseek(fd, 0, SEEK_HOLE));
    SHOW(lseek(fd, 5, 77));
    SHOW(writev(fd, v, 1025));
    SHOW(writev(fd, NOWHERE, 1));
    SHOW(readv(fd, v, -1));
    SHOW(read(fd, NOWHERE, 1));
    SHOW(read(-1, NOWHERE, 1));
    SHOW(write(fd, KERNEL, 1));
    SHOW(pread(fd, KERNEL, 10, 0));
    SHOW(pread(fd, buf, 10, -1));
    SHOW(write(fd, NULL, 0));
    SHOW(ftruncate(fd, 20));
    SHOW(ftruncate(fd, -1));
    SHOW(truncate("f", 10));
    SHOW(truncate("missing", 10));
    SHOW(fallocate(fd, 0, 0, 8192));
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    SHOW(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(readahead(fd, 0, 4096));
    SHOW(close(fd));
    SHOW(close(fd));
    SHOW(close(-1));
}

/* A buffer whose second page is missing: what is before it is transferred. */
static void partial(void)
{
    char *p = two_pages();
    struct iovec v[3] = {{p, 16}, {p + 4090, 100}, {p, 16}};
    int fd = open("part", O_RDWR | O_CREAT | O_TRUNC, 0600);
    int pipes[2];

    memset(p, 'x', 4096);
    SHOW(write(fd, p + 4000, 500));
    SHOW(writev(fd, v, 3));
    SHOW(pwrite(fd, p + 4000, 4096, 0));
    SHOW(ftruncate(fd, 10000));
    SHOW(pread(fd, p + 4000, 500, 0));
    SHOW(preadv(fd, v, 3, 0));
    SHOW(pipe(pipes));
    SHOW(write(pipes[1], p, 100));
    SHOW(read(pipes[0], p + 4096 - 10, 100));
    SHOW(write(pipes[1], p + 4096, 1));
    munmap(p, 4096);
    close(fd);
}

static void opening(void)
{
    struct open_how how = {.flags = O_RDONLY};
    int dir = open(".", O_PATH | O_DIRECTORY), fd;

    SHOW(open("missing", O_RDONLY));
    SHOW(open("f", O_CREAT | O_EXCL, 0600));
    SHOW(open("f", O_DIRECTORY));
    SHOW(open(NOWHERE, O_RDONLY));
    SHOW(open("", O_RDONLY));
    SHOW(openat(-5, "f", O_RDONLY));
    SHOW(open("f/x", O_RDONLY));
    OK(fd = openat(dir, "f", O_RDONLY | O_CLOEXEC));
    SHOW(fcntl(fd, F_GETFL) & ~O_LARGEFILE);
    SHOW(fcntl(fd, F_GETFD));
    SHOW(write(fd, "x", 1));
    close(fd);
    OK(fd = open(".", O_TMPFILE | O_RDWR, 0600));
    close(fd);
    SHOW(symlink("f", "link"));
    SHOW(open("link", O_NOFOLLOW));
    OK(fd = syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof(how)));
    close(fd);
    how.resolve = RESOLVE_BENEATH;
    SHOW(syscall(SYS_openat2, dir, "../f", &how, sizeof(how)));
    how.resolve = RESOLVE_NO_SYMLINKS;
    SHOW(syscall(SYS_openat2, dir, "link", &how, sizeof(how)));
    how.resolve = 1 << 30;
    SHOW(syscall(SYS_openat2, dir, "f", &how, sizeof(how)));
    SHOW(syscall(SYS_openat2, dir, "f", &how, 8));
    SHOW(syscall(SYS_openat2, dir, "f", NOWHERE, sizeof(how)));
    close(dir);
    char *big = calloc(1, 5000);
    memset(big, 'a', 4999);
    SHOW(open(big, O_RDONLY));
    big[4095] = 0;
    SHOW(open(big, O_RDONLY));
    big[300] = 0;
    SHOW(open(big, O_RDONLY));
    free(big);
}

static void control(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 5};
    struct f_owner_ex owner = {F_OWNER_PID, getpid()};
    uint64_t hint = 2;
    int fd = open("f", O_RDWR), other = open("f", O_RDWR), d, pipes[2];

    SHOW(fcntl(fd, F_SETLK, &lock));
    SHOW(fcntl(fd, F_GETLK, &lock));
    printf("type %d\n", lock.l_type);
    fflush(stdout);
    if (fork() == 0) {
        lock.l_type = F_WRLCK;
        SHOW(fcntl(fd, F_SETLK, &lock));
        SHOW(fcntl(fd, F_GETLK, &lock));
        printf("type %d start %ld len %ld pid %d\n", lock.l_type, (long)lock.l_start,
               (long)lock.l_len, lock.l_pid == getppid());
        exit(0);
    }
    wait(NULL);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 5};
    SHOW(fcntl(fd, F_OFD_SETLK, &lock));
    SHOW(fcntl(other, F_OFD_SETLK, &lock));
    SHOW(fcntl(other, F_OFD_GETLK, &lock));
    printf("type %d pid %d\n", lock.l_type, lock.l_pid);
    SHOW(fcntl(fd, F_SETLK, NOWHERE));
    SHOW(fcntl(fd, F_SETLKW, NULL));
    SHOW(flock(fd, LOCK_EX));
    SHOW(flock(other, LOCK_EX | LOCK_NB));
    SHOW(flock(fd, LOCK_UN));
    SHOW(flock(fd, 99));
    OK(d = fcntl(fd, F_DUPFD, 50));
    SHOW(d >= 50);
    SHOW(dup2(fd, 60));
    SHOW(dup3(fd, 60, O_CLOEXEC));
    SHOW(dup3(fd, fd, 0));
    SHOW(fcntl(60, F_GETFD));
    SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    SHOW(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE));
    SHOW(fcntl(fd, F_SETOWN, getpid()));
    SHOW(fcntl(fd, F_GETOWN) == getpid());
    SHOW(fcntl(fd, F_SETOWN_EX, &owner));
    SHOW(fcntl(fd, F_GETOWN_EX, &owner));
    printf("owner %d %d\n", owner.type, owner.pid == getpid());
    SHOW(fcntl(fd, F_SETSIG, SIGUSR1));
    SHOW(fcntl(fd, F_GETSIG));
    SHOW(fcntl(fd, F_SET_RW_HINT, &hint));
    hint = 0;
    SHOW(fcntl(fd, F_GET_RW_HINT, &hint));
    printf("hint %d\n", (int)hint);
    SHOW(fcntl(fd, F_GETLEASE));
    SHOW(fcntl(fd, 12345));
    SHOW(fcntl(-1, F_GETFD));
    SHOW(pipe2(pipes, O_NONBLOCK));
    SHOW(fcntl(pipes[0], F_SETPIPE_SZ, 65536));
    SHOW(fcntl(pipes[0], F_GETPIPE_SZ));
    SHOW(pipe2(NOWHERE, 0));
    SHOW(pipe2(pipes, 0x1));
    SHOW(syscall(SYS_close_range, 50, 59, 0));
    SHOW(fcntl(d, F_GETFD));
    SHOW(syscall(SYS_close_range, 60, ~0u, 4));
    SHOW(fcntl(60, F_GETFD));
    SHOW(syscall(SYS_close_range, 60, ~0u, 0));
    SHOW(fcntl(60, F_GETFD));
    SHOW(syscall(SYS_close_range, 5, 4, 0));
    SHOW(syscall(SYS_close_range, 5, 6, 64));
    close(fd);
    close(other);
}

static void copying(void)
{
    char buf[32] = "";
    loff_t in = 2, out = 0;
    off_t off = 1;
    struct iovec v = {"spliced", 7};
    int pipes[2], other[2], f, g;

    SHOW(pipe(pipes));
    SHOW(pipe(other));
    f = open("src", O_RDWR | O_CREAT | O_TRUNC, 0600);
    g = open("dst", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(write(f, "0123456789", 10));
    SHOW(copy_file_range(f, &in, g, &out, 5, 0));
    printf("in %ld out %ld\n", (long)in, (long)out);
    SHOW(copy_file_range(f, NOWHERE, g, NULL, 5, 0));
    SHOW(sendfile(g, f, &off, 4));
    printf("off %ld\n", (long)off);
    SHOW(sendfile(g, f, NOWHERE, 4));
    in = 0;
    SHOW(splice(f, &in, pipes[1], NULL, 6, 0));
    SHOW(tee(pipes[0], other[1], 4, 0));
    SHOW(read(pipes[0], buf, 32));
    SHOW(read(other[0], buf, 32));
    printf("[%s]\n", buf);
    SHOW(vmsplice(pipes[1], &v, 1, 0));
    v = (struct iovec){buf, 20};
    SHOW(vmsplice(pipes[0], &v, 1, 0));
    printf("[%.7s]\n", buf);
    v.iov_base = NOWHERE;
    SHOW(vmsplice(pipes[1], &v, 1, 0));
    SHOW(splice(f, NOWHERE, pipes[1], NULL, 6, 0));
    SHOW(splice(f, NULL, g, NULL, 6, 0));
    close(f);
    close(g);
}

static void others(void)
{
    uint64_t n = 5;
    int fd = memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC), e;

    SHOW(write(fd, "data", 4));
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE));
    SHOW(fcntl(fd, F_GET_SEALS));
    SHOW(write(fd, "data", 4));
    SHOW(ftruncate(fd, 0));
    SHOW(memfd_create(NOWHERE, 0));
    SHOW(memfd_create("x", 0x8000));
    close(fd);
    OK(e = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
    SHOW(read(e, &n, 8));
    printf("%d\n", (int)n);
    n = 10;
    SHOW(write(e, &n, 8));
    SHOW(write(e, &n, 4));
    n = ~0ull;
    SHOW(write(e, &n, 8));
    close(e);
    SHOW(getrandom(&n, 8, GRND_NONBLOCK));
    SHOW(getrandom(NOWHERE, 8, 0));
    SHOW(getrandom(&n, 8, 0x100));
    umask(022);
    SHOW(umask(077));
}

int main(void)
{
    reading();
    partial();
    opening();
    control();
    copying();
    others();
    return 0;
}
