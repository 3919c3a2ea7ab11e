/*
 * Passes addresses that aren't the program's own to every system call, in each argument.
 *
 *     wild_pointers <ADDRESSES
 *
 * The addresses come from standard input, one a line in hexadecimal, after this program has printed
 * the mappings that it knows of and "ready"; they lead into the emulator. Each call is made by a
 * child, which must then still work. A child that dies, or a call that claims to have worked on
 * such an address where the answer is known to be EFAULT, is reported; the last line is "done".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 64, LAST_CALL = 470 };

/* Not made with arguments that mean nothing: they end or stop the caller, act on other processes or
 * on the machine. */
static const short skipped[] = {
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigreturn,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_reboot,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal,
    SYS_vhangup,
    SYS_pivot_root,
    SYS_mount,
    SYS_umount2,
    SYS_chroot,
    SYS_swapon,
    SYS_swapoff,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_acct,
    SYS_quotactl,
    SYS_ptrace,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_syslog,
    SYS_sync,
    SYS_clone,
    435 /* clone3 */,
    SYS_setpriority,
    SYS_ioprio_set,
    SYS_migrate_pages,
    SYS_move_pages,
    SYS_unshare,
    SYS_setns,
    SYS_personality,
    SYS_ppoll,
    SYS_pselect6,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_wait4,
    SYS_waitid,
    SYS_prlimit64,
    SYS_setrlimit,
    SYS_seccomp,
    SYS_process_madvise,
    448 /* process_mrelease */,
};

static const char *const what_failed = "FAILED";

static int is_skipped(long nr)
{
    for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++) {
        if (skipped[i] == nr) {
            return 1;
        }
    }
    return 0;
}

/* Memory can still be had and holds what is put there. */
static int still_works(void)
{
    enum { SIZE = 10000 };
    unsigned char *p = malloc(SIZE);
    int good = p != NULL;

    for (int i = 0; good && i < SIZE; i++) {
        p[i] = (unsigned char)(i * 7);
    }
    for (int i = 0; good && i < SIZE; i++) {
        good = p[i] == (unsigned char)(i * 7);
    }
    free(p);
    return good;
}

static int run_child(void (*function)(long, uint64_t, int), long nr, uint64_t address, int argument)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        ualarm(nr < 0 ? 900000 : 100000, 0);
        function(nr, address, argument);
        _exit(still_works() ? 0 : 9);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        printf("%s: fork: %s\n", what_failed, strerror(errno));
        exit(1);
    }
    return status;
}

static void in_child(void (*function)(long, uint64_t, int), long nr, uint64_t address, int argument)
{
    int status = run_child(function, nr, address, argument);

    /* One of all the calls may well wait for ever. */
    if (status != 0 && !(nr >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)) {
        printf("%s: call %ld with %#lx as argument %d: status %#x\n", what_failed, nr,
               (unsigned long)address, argument, status);
    }
}

static void one_call(long nr, uint64_t address, int argument)
{
    /* 3 is a file that always has something to read, 4 a socket. */
    uint64_t a[6] = {nr >= SYS_socket && nr <= SYS_recvmsg ? 4 : 3, 0, 8, 0, 0, 0};

    if (argument < 6) {
        a[argument] = address;
    } else {
        for (int i = argument - 6; i < 6; i++) {
            a[i] = address + 64 * (uint64_t)i;
        }
    }
    syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void expect_fault(const char *name, long result, uint64_t address)
{
    if (result != -1 || errno != EFAULT) {
        printf("%s: %s at %#lx: %ld, %s\n", what_failed, name, (unsigned long)address, result,
               result == -1 ? strerror(errno) : "no error");
        fflush(stdout);
    }
}

/* Calls that reach the pointer for certain: the answer is EFAULT. */
static void known_calls(long nr, uint64_t address, int argument)
{
    void *p = (void *)address;
    struct iovec vector[2] = {{&argument, 1}, {p, 64}};
    struct msghdr message = {.msg_iov = &vector[1], .msg_iovlen = 1};
    int pipes[2], sockets[2];
    char buf[64] = "";

    (void)nr;
    if (pipe(pipes) || socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets)) {
        printf("%s: pipe: %s\n", what_failed, strerror(errno));
        return;
    }
    /* Each of three receives may take one before it finds out that it can't be put anywhere. */
    for (int i = 0; i < 4; i++) {
        if (write(pipes[1], buf, sizeof(buf)) < 0 || send(sockets[0], buf, sizeof(buf), 0) < 0) {
            printf("%s: write: %s\n", what_failed, strerror(errno));
            return;
        }
    }
#define EXPECT(call, ...) expect_fault(#call, syscall(SYS_##call, __VA_ARGS__), address)
    EXPECT(read, pipes[0], p, 64);
    EXPECT(write, pipes[1], p, 64);
    EXPECT(readv, pipes[0], &vector[1], 1);
    EXPECT(writev, pipes[1], &vector[1], 1);
    EXPECT(readv, pipes[0], p, 2);
    EXPECT(recvfrom, sockets[1], p, 64, 0, 0, 0);
    EXPECT(recvmsg, sockets[1], &message, 0);
    EXPECT(recvmsg, sockets[1], p, 0);
    EXPECT(sendmsg, sockets[0], &message, 0);
    EXPECT(sendto, sockets[0], p, 64, 0, 0, 0);
    EXPECT(getcwd, p, 4096);
    EXPECT(getrandom, p, 64, 0);
    EXPECT(clock_gettime, 0, p);
    EXPECT(clock_getres, 0, p);
    EXPECT(gettimeofday, p, 0);
    EXPECT(uname, p);
    EXPECT(sysinfo, p);
    EXPECT(times, p);
    EXPECT(getrusage, 0, p);
    EXPECT(prlimit64, 0, 0, p, 0);
    EXPECT(prlimit64, 0, 0, 0, p);
    EXPECT(sigaltstack, p, 0);
    EXPECT(sigaltstack, 0, p);
    EXPECT(rt_sigaction, SIGUSR1, p, 0, 8);
    EXPECT(rt_sigaction, SIGUSR1, 0, p, 8);
    EXPECT(rt_sigprocmask, 0, p, 0, 8);
    EXPECT(rt_sigprocmask, 0, 0, p, 8);
    EXPECT(rt_sigpending, p, 8);
    EXPECT(newfstatat, -100, p, buf, 0);
    EXPECT(newfstatat, -100, "/", p, 0);
    EXPECT(fstat, 0, p);
    EXPECT(statx, -100, "/", 0, 0x7ff, p);
    EXPECT(statfs, "/", p);
    EXPECT(openat, -100, p, 0);
    EXPECT(readlinkat, -100, "/proc/self/exe", p, 64);
    EXPECT(pipe2, p, 0);
    EXPECT(socketpair, AF_UNIX, SOCK_STREAM, 0, p);
    EXPECT(getsockname, sockets[0], p, p);
    EXPECT(getsockopt, sockets[0], SOL_SOCKET, SO_TYPE, p, p);
    EXPECT(setsockopt, sockets[0], SOL_SOCKET, SO_RCVBUF, p, 4);
    EXPECT(ppoll, p, 1, 0, 0, 0);
    EXPECT(epoll_ctl, 0, 1, 1, p);
    EXPECT(futex, p, 0 /* wait */, 1, 0, 0, 0);
    EXPECT(nanosleep, p, 0);
    EXPECT(sched_getaffinity, 0, 128, p);
    EXPECT(execve, p, 0, 0);
    EXPECT(process_vm_readv, getpid(), &vector[0], 1, &vector[1], 1, 0);
#undef EXPECT
}

/* More of them, of the less usual calls and with pointers inside of what a pointer leads to. */
static void nested_calls(long nr, uint64_t address, int argument)
{
    void *p = (void *)address;
    char byte = 0, buf[256] = "";
    struct iovec good = {buf, 8};
    struct msghdr name = {.msg_name = p, .msg_namelen = 16, .msg_iov = &good, .msg_iovlen = 1};
    struct msghdr control = {
        .msg_control = p, .msg_controllen = 64, .msg_iov = &good, .msg_iovlen = 1};
    struct ifconf interfaces = {.ifc_len = 1024, .ifc_buf = p};
    struct timespec now = {0, 0};
    int pipes[2], sockets[2], inet = socket(AF_INET, SOCK_DGRAM, 0);
    int directory = open("/", O_RDONLY | O_DIRECTORY), epoll = syscall(SYS_epoll_create1, 0);
    int timer = syscall(SYS_timerfd_create, 1, 0), notify = syscall(SYS_inotify_init1, 0);
    uint64_t event[2] = {1, 0};

    (void)nr;
    (void)argument;
    if (pipe(pipes) || socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) ||
        write(pipes[1], buf, 64) != 64 || send(sockets[0], &byte, 1, 0) != 1 ||
        syscall(SYS_epoll_ctl, epoll, 1, pipes[0], event)) {
        printf("%s: set-up: %s\n", what_failed, strerror(errno));
        return;
    }
#define EXPECT(call, ...) expect_fault(#call, syscall(SYS_##call, __VA_ARGS__), address)
    EXPECT(sendmsg, inet, &name, 0);
    EXPECT(sendmsg, sockets[0], &control, 0);
    EXPECT(recvmmsg, sockets[1], p, 1, 64 /* don't wait */, 0);
    EXPECT(sendmmsg, sockets[0], p, 1, 0);
    EXPECT(connect, inet, p, 16);
    EXPECT(bind, inet, p, 16);
    EXPECT(ioctl, inet, SIOCGIFCONF, &interfaces);
    EXPECT(ioctl, inet, SIOCGIFCONF, p);
    EXPECT(ioctl, inet, SIOCGIFNAME, p);
    EXPECT(ioctl, pipes[0], FIONREAD, p);
    EXPECT(ioctl, pipes[0], FIONBIO, p);
    EXPECT(getdents64, directory, p, 4096);
    EXPECT(epoll_pwait, epoll, p, 1, 0, 0, 8);
    EXPECT(timerfd_gettime, timer, p);
    EXPECT(timerfd_settime, timer, 0, p, 0);
    EXPECT(timer_create, 0, p, p);
    EXPECT(inotify_add_watch, notify, p, 2);
    EXPECT(pselect6, 64, p, 0, 0, &now, 0);
    EXPECT(ppoll, 0, 0, p, 0, 8);
    EXPECT(signalfd4, -1, p, 8, 0);
    EXPECT(rt_sigtimedwait, p, 0, &now, 8);
    EXPECT(sched_getparam, 0, p);
    EXPECT(sched_setaffinity, 0, 128, p);
    EXPECT(get_robust_list, 0, p, p);
    EXPECT(getitimer, 0, p);
    EXPECT(setitimer, 1, p, 0);
    EXPECT(clock_nanosleep, 0, 0, p, 0);
    EXPECT(preadv, 3, p, 1, 0, 0);
    EXPECT(pwritev, 3, p, 1, 0, 0);
    EXPECT(vmsplice, pipes[1], p, 1, 0);
    EXPECT(splice, pipes[0], 0, 3, p, 8, 0);
    EXPECT(sendfile, sockets[0], 3, p, 8);
    EXPECT(copy_file_range, 3, p, 3, 0, 8, 0);
    EXPECT(utimensat, -100, p, 0, 0);
    EXPECT(utimensat, 3, 0, p, 0);
    EXPECT(openat2, -100, "/", p, 24);
    EXPECT(openat2, -100, p, buf, 24);
    EXPECT(faccessat, -100, p, 0);
    EXPECT(renameat2, -100, p, -100, p, 0);
    EXPECT(symlinkat, p, -100, p);
    EXPECT(mkdirat, -100, p, 0700);
    EXPECT(chdir, p);
    EXPECT(getxattr, p, p, 0, 0);
    EXPECT(getxattr, "/", p, 0, 0);
    EXPECT(memfd_create, p, 0);
    EXPECT(prctl, 15 /* PR_SET_NAME */, p, 0, 0, 0);
    EXPECT(prctl, 16 /* PR_GET_NAME */, p, 0, 0, 0);
    EXPECT(capget, p, p);
    EXPECT(io_setup, 4, p);
    EXPECT(mincore, (uint64_t)buf & ~4095ul, 4096, p);
    EXPECT(execve, "/proc/self/exe", p, 0);
    EXPECT(execve, "/proc/self/exe", 0, p);
    EXPECT(newfstatat, 3, "", p, 0x1000 /* AT_EMPTY_PATH */);
    EXPECT(fcntl, 3, F_GETLK, p);
    EXPECT(fcntl, 3, F_SETLK, p);
    EXPECT(getpeername, sockets[0], buf, p);
#undef EXPECT
}

/* A signal on a stack that isn't the program's: it dies, and its emulator doesn't. */
static void on_signal(int number)
{
    (void)number;
}

static void bad_stack(long nr, uint64_t address, int argument)
{
    stack_t stack = {.ss_sp = (void *)(address & ~4095ul), .ss_size = 65536};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

    (void)nr;
    (void)argument;
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

/* Changes of mappings that would take the emulator's own memory away. */
static void mapping_calls(long nr, uint64_t address, int argument)
{
    uint64_t page = address & ~4095ul;

    (void)nr;
    switch (argument) {
    case 0:
        syscall(SYS_mmap, page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
    case 1: syscall(SYS_munmap, page, 4096); break;
    case 2: syscall(SYS_mprotect, page, 4096, PROT_NONE); break;
    case 3: syscall(SYS_madvise, page, 4096, MADV_DONTNEED); break;
    case 4: syscall(SYS_mremap, page, 4096, 8192, MREMAP_MAYMOVE, 0); break;
    case 5: syscall(SYS_brk, page); break;
    case 6: syscall(SYS_set_tid_address, address); break;
    case 7: syscall(SYS_set_robust_list, address, 24); break;
    case 8: syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC); break;
    case 9:
        syscall(SYS_mremap, mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096,
                4096, MREMAP_MAYMOVE | MREMAP_FIXED, page);
        break;
    default: break;
    }
}

static void print_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[4200];

    while (f && fgets(line, sizeof(line), f)) {
        printf("map %s", line);
    }
    if (f) {
        fclose(f);
    }
}

int main(void)
{
    uint64_t addresses[MAX_ADDRESSES];
    unsigned n_addresses = 0;
    char line[64];
    FILE *scratch = tmpfile(); /* calls such as fchmod are made on it: nothing of the machine's */

    if (!scratch || dup2(fileno(scratch), 3) != 3 || ftruncate(3, 1 << 20) ||
        socket(AF_UNIX, SOCK_DGRAM, 0) != 4) {
        return 1;
    }
    /* As root, calls with random arguments could harm the machine. */
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) {
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    print_maps();
    puts("ready");
    while (n_addresses < MAX_ADDRESSES && fgets(line, sizeof(line), stdin)) {
        addresses[n_addresses++] = strtoull(line, NULL, 16);
    }
    for (unsigned i = 0; i < n_addresses; i++) {
        in_child(known_calls, -1, addresses[i], 0);
        in_child(nested_calls, -1, addresses[i], 0);
        int status = run_child(bad_stack, -1, addresses[i], 0);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
            printf("%s: signal on a stack at %#lx: status %#x\n", what_failed,
                   (unsigned long)addresses[i], status);
        }
        for (int k = 0; k < 10; k++) {
            in_child(mapping_calls, -2, addresses[i], k);
        }
    }
    for (long nr = 0; nr <= LAST_CALL; nr++) {
        if (is_skipped(nr)) {
            continue;
        }
        for (int argument = 0; argument < 8; argument++) {
            in_child(one_call, nr, addresses[(nr + argument) % n_addresses], argument);
        }
    }
    puts("done");
    return 0;
}
