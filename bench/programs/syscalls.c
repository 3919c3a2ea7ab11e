/*
 * System calls: what each costs besides the kernel's own work.  A round is a small call, a clock
 * read, a file's status, an open, read, seek and close, a byte through a pipe, a page mapped and
 * unmapped, a signal mask, and a signal sent to oneself and handled.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
    (void)number;
    handled++;
}

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    const char *path = argc > 2 ? argv[2] : argv[0];
    struct sigaction action = {.sa_handler = on_signal};
    unsigned long sum = 0;
    int ends[2];

    check(pipe(ends) == 0, "pipe");
    check(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    for (int i = 0; i < rounds; i++) {
        struct timespec now;
        struct stat st;
        char buffer[64];
        sigset_t set;

        for (int j = 0; j < 10; j++) {
            sum += syscall(SYS_getppid) > 0;
        }
        check(clock_gettime(CLOCK_MONOTONIC, &now) == 0, "clock_gettime");
        check(stat(path, &st) == 0, "stat");
        sum += S_ISREG(st.st_mode);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        check(fd >= 0, "open");
        check(read(fd, buffer, sizeof(buffer)) == sizeof(buffer), "read");
        sum += (unsigned char)buffer[0];
        check(lseek(fd, 8, SEEK_SET) == 8, "lseek");
        check(pread(fd, buffer, 4, 0) == 4, "pread");
        check(close(fd) == 0, "close");
        check(write(ends[1], buffer, 1) == 1, "write");
        check(read(ends[0], buffer, 1) == 1, "read");
        char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(page != MAP_FAILED, "mmap");
        page[0] = 1;
        sum += page[0];
        check(munmap(page, 8192) == 0, "munmap");
        sigemptyset(&set);
        check(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
        check(kill(getpid(), SIGUSR1) == 0, "kill");
        check(close(-1) == -1 && errno == EBADF, "close");
    }
    printf("%d rounds, %d signals, sum %lu\n", rounds, (int)handled, sum);
    return 0;
}
