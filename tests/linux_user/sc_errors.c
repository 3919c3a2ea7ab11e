/*
 * What calls answer to nonsense, and in which order they find out: every argument -1, 0, an address
 * where nothing is, an address of the kernel, a small number, or a mixture. Calls that would block,
 * end the program or change the machine are left out.
 */
#include "sc.h"

#define CALL(name) {SYS_##name, #name}
#define NEW(nr, name) {nr, #name}
static const struct {
    int nr;
    const char *name;
} calls[] = {
    CALL(io_setup), CALL(io_destroy), CALL(io_submit), CALL(io_cancel), CALL(io_getevents),
    CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr), CALL(getxattr), CALL(lgetxattr),
    CALL(fgetxattr), CALL(listxattr), CALL(llistxattr), CALL(flistxattr), CALL(removexattr),
    CALL(lremovexattr), CALL(fremovexattr), CALL(getcwd), CALL(lookup_dcookie), CALL(eventfd2),
    CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait), CALL(dup), CALL(dup3), CALL(fcntl),
    CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch), CALL(ioctl),
    CALL(ioprio_set), CALL(ioprio_get), CALL(flock), CALL(mknodat), CALL(mkdirat), CALL(unlinkat),
    CALL(symlinkat), CALL(linkat), CALL(umount2), CALL(mount), CALL(pivot_root), CALL(nfsservctl),
    CALL(statfs), CALL(fstatfs), CALL(truncate), CALL(ftruncate), CALL(fallocate), CALL(faccessat),
    CALL(chdir), CALL(fchdir), CALL(chroot), CALL(fchmod), CALL(fchmodat), CALL(fchownat),
    CALL(fchown), CALL(openat), CALL(pipe2), CALL(quotactl), CALL(getdents64), CALL(lseek),
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64), CALL(preadv),
    CALL(pwritev), CALL(sendfile), CALL(signalfd4), CALL(vmsplice), CALL(splice), CALL(tee),
    CALL(readlinkat), CALL(newfstatat), CALL(fstat), CALL(fsync), CALL(fdatasync),
    CALL(sync_file_range), CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
    CALL(utimensat), CALL(capget), CALL(capset), CALL(waitid), CALL(set_robust_list),
    CALL(nanosleep), CALL(getitimer), CALL(setitimer), CALL(timer_create), CALL(timer_gettime),
    CALL(timer_getoverrun), CALL(timer_settime), CALL(timer_delete), CALL(clock_gettime),
    CALL(clock_getres), CALL(clock_nanosleep),
   
    CALL(sched_yield), CALL(sched_get_priority_max),
    CALL(sched_get_priority_min),
    CALL(sigaltstack), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigpending),
    CALL(rt_sigtimedwait), CALL(rt_sigqueueinfo), CALL(setpriority), CALL(getpriority),
    CALL(reboot), CALL(getresuid), CALL(getresgid), CALL(times),
    CALL(getgroups), CALL(uname), CALL(getrlimit), CALL(setrlimit), CALL(getrusage), CALL(prctl),
    CALL(getcpu), CALL(gettimeofday), CALL(adjtimex), CALL(getpid), CALL(sysinfo), CALL(mq_open),
    CALL(mq_unlink), CALL(mq_timedsend), CALL(mq_timedreceive), CALL(mq_notify),
    CALL(mq_getsetattr), CALL(socket), CALL(socketpair), CALL(bind), CALL(listen), CALL(accept),
    CALL(connect), CALL(getsockname), CALL(getpeername), CALL(sendto), CALL(recvfrom),
    CALL(setsockopt), CALL(getsockopt), CALL(shutdown), CALL(sendmsg), CALL(recvmsg),
    CALL(readahead), CALL(munmap), CALL(mremap), CALL(add_key), CALL(request_key), CALL(keyctl),
    CALL(execve), CALL(fadvise64), CALL(swapon), CALL(swapoff), CALL(mprotect), CALL(msync),
    CALL(mlock), CALL(munlock), CALL(mincore), CALL(madvise), CALL(mbind), CALL(get_mempolicy),
    CALL(set_mempolicy), CALL(migrate_pages), CALL(move_pages), CALL(rt_tgsigqueueinfo),
    CALL(accept4), CALL(recvmmsg), CALL(wait4), CALL(prlimit64), CALL(fanotify_mark),
    CALL(name_to_handle_at), CALL(open_by_handle_at), CALL(clock_adjtime), CALL(syncfs),
    CALL(setns), CALL(sendmmsg), CALL(process_vm_readv), CALL(process_vm_writev),
    CALL(sched_setattr), CALL(sched_getattr), CALL(renameat2), CALL(getrandom), CALL(memfd_create),
    CALL(mlock2), CALL(copy_file_range), CALL(preadv2), CALL(pwritev2), CALL(statx),
    CALL(io_pgetevents), CALL(open_tree), CALL(move_mount), CALL(fsopen),
    CALL(fsconfig), CALL(fsmount), CALL(fspick), CALL(pidfd_open), CALL(clone3), CALL(openat2),
    CALL(pidfd_getfd), CALL(faccessat2), CALL(process_madvise), CALL(epoll_pwait2),
    CALL(mount_setattr), CALL(quotactl_fd), CALL(landlock_create_ruleset), CALL(landlock_add_rule),
    CALL(landlock_restrict_self), CALL(process_mrelease), CALL(futex_waitv),
    NEW(451, cachestat), NEW(452, fchmodat2), NEW(457, statmount), NEW(458, listmount),
    NEW(459, lsm_get_self_attr), NEW(461, lsm_list_modules),
};

int main(void)
{
    long none = -1, zero = 0, few = 4, nothing = (long)NOWHERE, kernel = (long)KERNEL;
    const long patterns[][6] = {
        {none, none, none, none, none, none},
        {zero, zero, zero, zero, zero, zero},
        {nothing, nothing, nothing, nothing, nothing, nothing},
        {kernel, kernel, kernel, kernel, kernel, kernel},
        {none, nothing, few, nothing, few, nothing},
        {AT_FDCWD, nothing, nothing, zero, nothing, zero},
        {nothing, few, nothing, zero, zero, zero},
        {AT_FDCWD, kernel, kernel, few, kernel, few},
    };
    FILE *scratch = tmpfile(); /* calls such as fchmod(0, 0) find a file of no worth */

    if (!scratch || dup2(fileno(scratch), 0) != 0) {
        return 1;
    }
    alarm(100);
    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        printf("%s:", calls[i].name);
        for (unsigned k = 0; k < sizeof(patterns) / sizeof(patterns[0]); k++) {
            const long *a = patterns[k];
            errno = 0;
            long value = syscall(calls[i].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
            printf(" %s", value == -1 ? strerrorname_np(errno) : "ok");
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
