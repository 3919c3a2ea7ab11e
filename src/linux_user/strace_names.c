/*
 * Names of flags and values for -strace.
 */
#include "linux_user/syscall_table.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_packet.h>
#include <linux/keyctl.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* A bit or value under its own name; as a field of several bits; a value without a name in the
 * headers. */
#define N(name)             {(uint32_t)(name), 0, #name}
#define FIELD(name, mask)   {name, mask, #name}
#define VALUE(value, name)  {(uint32_t)(value), 0, #name}

static const struct lu_name open_names[] = {
    FIELD(O_RDONLY, O_ACCMODE), FIELD(O_WRONLY, O_ACCMODE), FIELD(O_RDWR, O_ACCMODE), N(O_CREAT),
    N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK), N(O_SYNC), N(O_DSYNC),
    N(O_ASYNC), N(O_DIRECT), N(O_TMPFILE), N(O_DIRECTORY), N(O_NOFOLLOW), N(O_NOATIME),
    N(O_CLOEXEC), N(O_PATH),
    {0, 0, NULL},
};

static const struct lu_name at_names[] = {
    N(AT_SYMLINK_NOFOLLOW), N(AT_REMOVEDIR), N(AT_SYMLINK_FOLLOW), N(AT_NO_AUTOMOUNT),
    N(AT_EMPTY_PATH), N(AT_STATX_FORCE_SYNC), N(AT_STATX_DONT_SYNC),
    {0, 0, NULL},
};

static const struct lu_name access_names[] = {
    N(R_OK), N(W_OK), N(X_OK), N(F_OK),
    {0, 0, NULL},
};

static const struct lu_name whence_names[] = {
    N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE),
    {0, 0, NULL},
};

static const struct lu_name fcntl_names[] = {
    N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), N(F_GETLK), N(F_SETLK), N(F_SETLKW),
    N(F_SETOWN), N(F_GETOWN), N(F_SETSIG), N(F_GETSIG), N(F_SETOWN_EX), N(F_GETOWN_EX),
    N(F_OFD_GETLK), N(F_OFD_SETLK), N(F_OFD_SETLKW), N(F_SETLEASE), N(F_GETLEASE), N(F_NOTIFY),
    N(F_DUPFD_CLOEXEC), N(F_SETPIPE_SZ), N(F_GETPIPE_SZ), N(F_ADD_SEALS), N(F_GET_SEALS),
    N(F_GET_RW_HINT), N(F_SET_RW_HINT), N(F_GET_FILE_RW_HINT), N(F_SET_FILE_RW_HINT),
    {0, 0, NULL},
};

static const struct lu_name flock_names[] = {
    N(LOCK_SH), N(LOCK_EX), N(LOCK_NB), N(LOCK_UN),
    {0, 0, NULL},
};

static const struct lu_name falloc_names[] = {
    N(FALLOC_FL_KEEP_SIZE), N(FALLOC_FL_PUNCH_HOLE), N(FALLOC_FL_COLLAPSE_RANGE),
    N(FALLOC_FL_ZERO_RANGE), N(FALLOC_FL_INSERT_RANGE), N(FALLOC_FL_UNSHARE_RANGE),
    {0, 0, NULL},
};

static const struct lu_name rename_names[] = {
    N(RENAME_NOREPLACE), N(RENAME_EXCHANGE), N(RENAME_WHITEOUT),
    {0, 0, NULL},
};

static const struct lu_name xattr_names[] = {
    N(XATTR_CREATE), N(XATTR_REPLACE),
    {0, 0, NULL},
};

static const struct lu_name splice_names[] = {
    N(SPLICE_F_MOVE), N(SPLICE_F_NONBLOCK), N(SPLICE_F_MORE), N(SPLICE_F_GIFT),
    {0, 0, NULL},
};

static const struct lu_name rwf_names[] = {
    N(RWF_HIPRI), N(RWF_DSYNC), N(RWF_SYNC), N(RWF_NOWAIT), N(RWF_APPEND),
    {0, 0, NULL},
};

static const struct lu_name mount_names[] = {
    N(MS_RDONLY), N(MS_NOSUID), N(MS_NODEV), N(MS_NOEXEC), N(MS_SYNCHRONOUS), N(MS_REMOUNT),
    N(MS_MANDLOCK), N(MS_DIRSYNC), N(MS_NOATIME), N(MS_NODIRATIME), N(MS_BIND), N(MS_MOVE),
    N(MS_REC), N(MS_SILENT), N(MS_POSIXACL), N(MS_UNBINDABLE), N(MS_PRIVATE), N(MS_SLAVE),
    N(MS_SHARED), N(MS_RELATIME), N(MS_STRICTATIME), N(MS_LAZYTIME),
    {0, 0, NULL},
};

static const struct lu_name umount_names[] = {
    N(MNT_FORCE), N(MNT_DETACH), N(MNT_EXPIRE), N(UMOUNT_NOFOLLOW),
    {0, 0, NULL},
};

static const struct lu_name fd_names[] = {
    VALUE(1, FD_CLOEXEC), N(O_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name efd_names[] = {
    N(EFD_SEMAPHORE), N(EFD_NONBLOCK), N(EFD_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name epoll_names[] = {
    N(EPOLL_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name epoll_op_names[] = {
    N(EPOLL_CTL_ADD), N(EPOLL_CTL_DEL), N(EPOLL_CTL_MOD),
    {0, 0, NULL},
};

static const struct lu_name inotify_names[] = {
    N(IN_NONBLOCK), N(IN_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name inotify_mask_names[] = {
    N(IN_ACCESS), N(IN_MODIFY), N(IN_ATTRIB), N(IN_CLOSE_WRITE), N(IN_CLOSE_NOWRITE), N(IN_OPEN),
    N(IN_MOVED_FROM), N(IN_MOVED_TO), N(IN_CREATE), N(IN_DELETE), N(IN_DELETE_SELF),
    N(IN_MOVE_SELF), N(IN_ONLYDIR), N(IN_DONT_FOLLOW), N(IN_EXCL_UNLINK), N(IN_MASK_CREATE),
    N(IN_MASK_ADD), N(IN_ISDIR), N(IN_ONESHOT),
    {0, 0, NULL},
};

static const struct lu_name statx_names[] = {
    N(STATX_BASIC_STATS), N(STATX_TYPE), N(STATX_MODE), N(STATX_NLINK), N(STATX_UID), N(STATX_GID),
    N(STATX_ATIME), N(STATX_MTIME), N(STATX_CTIME), N(STATX_INO), N(STATX_SIZE), N(STATX_BLOCKS),
    N(STATX_BTIME), N(STATX_MNT_ID), N(STATX_DIOALIGN),
    {0, 0, NULL},
};

static const struct lu_name fadvise_names[] = {
    N(POSIX_FADV_NORMAL), N(POSIX_FADV_RANDOM), N(POSIX_FADV_SEQUENTIAL), N(POSIX_FADV_WILLNEED),
    N(POSIX_FADV_DONTNEED), N(POSIX_FADV_NOREUSE),
    {0, 0, NULL},
};

static const struct lu_name prot_names[] = {
    N(PROT_NONE), N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN), N(PROT_GROWSUP),
    {0, 0, NULL},
};

static const struct lu_name map_names[] = {
    FIELD(MAP_SHARED, 0xf), FIELD(MAP_PRIVATE, 0xf), FIELD(MAP_SHARED_VALIDATE, 0xf), N(MAP_FIXED),
    N(MAP_ANONYMOUS), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE), N(MAP_LOCKED),
    N(MAP_NORESERVE), N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_STACK), N(MAP_HUGETLB), N(MAP_SYNC),
    N(MAP_FIXED_NOREPLACE),
    {0, 0, NULL},
};

static const struct lu_name mremap_names[] = {
    N(MREMAP_MAYMOVE), N(MREMAP_FIXED), N(MREMAP_DONTUNMAP),
    {0, 0, NULL},
};

static const struct lu_name madvise_names[] = {
    N(MADV_NORMAL), N(MADV_RANDOM), N(MADV_SEQUENTIAL), N(MADV_WILLNEED), N(MADV_DONTNEED),
    N(MADV_FREE), N(MADV_REMOVE), N(MADV_DONTFORK), N(MADV_DOFORK), N(MADV_MERGEABLE),
    N(MADV_UNMERGEABLE), N(MADV_HUGEPAGE), N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP), N(MADV_DODUMP),
    N(MADV_WIPEONFORK), N(MADV_KEEPONFORK), N(MADV_COLD), N(MADV_PAGEOUT), N(MADV_POPULATE_READ),
    N(MADV_POPULATE_WRITE),
    {0, 0, NULL},
};

static const struct lu_name msync_names[] = {
    N(MS_ASYNC), N(MS_INVALIDATE), N(MS_SYNC),
    {0, 0, NULL},
};

static const struct lu_name mlock_names[] = {
    N(MLOCK_ONFAULT),
    {0, 0, NULL},
};

static const struct lu_name mcl_names[] = {
    N(MCL_CURRENT), N(MCL_FUTURE), N(MCL_ONFAULT),
    {0, 0, NULL},
};

static const struct lu_name mfd_names[] = {
    N(MFD_CLOEXEC), N(MFD_ALLOW_SEALING), N(MFD_HUGETLB), VALUE(8, MFD_NOEXEC_SEAL),
    VALUE(16, MFD_EXEC),
    {0, 0, NULL},
};

static const struct lu_name clone_names[] = {
    N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND), N(CLONE_PIDFD), N(CLONE_PTRACE),
    N(CLONE_VFORK), N(CLONE_PARENT), N(CLONE_THREAD), N(CLONE_NEWNS), N(CLONE_SYSVSEM),
    N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_DETACHED),
    N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID), N(CLONE_NEWCGROUP), N(CLONE_NEWUTS), N(CLONE_NEWIPC),
    N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_IO), VALUE(0x80, CLONE_NEWTIME),
    FIELD(SIGCHLD, 0xff),
    {0, 0, NULL},
};

static const struct lu_name wait_names[] = {
    N(WNOHANG), N(WUNTRACED), N(WEXITED), N(WCONTINUED), N(WNOWAIT), N(__WNOTHREAD), N(__WALL),
    N(__WCLONE),
    {0, 0, NULL},
};

static const struct lu_name idtype_names[] = {
    N(P_ALL), N(P_PID), N(P_PGID), VALUE(3, P_PIDFD),
    {0, 0, NULL},
};

static const struct lu_name futex_names[] = {
    FIELD(FUTEX_WAIT, FUTEX_CMD_MASK), FIELD(FUTEX_WAKE, FUTEX_CMD_MASK),
    FIELD(FUTEX_REQUEUE, FUTEX_CMD_MASK), FIELD(FUTEX_CMP_REQUEUE, FUTEX_CMD_MASK),
    FIELD(FUTEX_WAKE_OP, FUTEX_CMD_MASK), FIELD(FUTEX_LOCK_PI, FUTEX_CMD_MASK),
    FIELD(FUTEX_UNLOCK_PI, FUTEX_CMD_MASK), FIELD(FUTEX_TRYLOCK_PI, FUTEX_CMD_MASK),
    FIELD(FUTEX_WAIT_BITSET, FUTEX_CMD_MASK), FIELD(FUTEX_WAKE_BITSET, FUTEX_CMD_MASK),
    FIELD(FUTEX_WAIT_REQUEUE_PI, FUTEX_CMD_MASK), FIELD(FUTEX_CMP_REQUEUE_PI, FUTEX_CMD_MASK),
    FIELD(FUTEX_LOCK_PI2, FUTEX_CMD_MASK), N(FUTEX_PRIVATE_FLAG), N(FUTEX_CLOCK_REALTIME),
    {0, 0, NULL},
};

static const struct lu_name sighow_names[] = {
    N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK),
    {0, 0, NULL},
};

static const struct lu_name clock_names[] = {
    N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID), N(CLOCK_THREAD_CPUTIME_ID),
    N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE), N(CLOCK_MONOTONIC_COARSE), N(CLOCK_BOOTTIME),
    N(CLOCK_REALTIME_ALARM), N(CLOCK_BOOTTIME_ALARM), N(CLOCK_TAI),
    {0, 0, NULL},
};

static const struct lu_name timer_names[] = {
    N(TIMER_ABSTIME), VALUE(2, TFD_TIMER_CANCEL_ON_SET),
    {0, 0, NULL},
};

static const struct lu_name itimer_names[] = {
    N(ITIMER_REAL), N(ITIMER_VIRTUAL), N(ITIMER_PROF),
    {0, 0, NULL},
};

static const struct lu_name tfd_names[] = {
    N(TFD_NONBLOCK), N(TFD_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name sched_names[] = {
    N(SCHED_OTHER), N(SCHED_FIFO), N(SCHED_RR), N(SCHED_BATCH), N(SCHED_IDLE),
    VALUE(6, SCHED_DEADLINE),
    {0, 0, NULL},
};

static const struct lu_name prio_names[] = {
    N(PRIO_PROCESS), N(PRIO_PGRP), N(PRIO_USER),
    {0, 0, NULL},
};

static const struct lu_name rlimit_names[] = {
    N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK), N(RLIMIT_CORE), N(RLIMIT_RSS),
    N(RLIMIT_NPROC), N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS), N(RLIMIT_LOCKS),
    N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE), N(RLIMIT_RTPRIO), N(RLIMIT_RTTIME),
    {0, 0, NULL},
};

static const struct lu_name rusage_names[] = {
    N(RUSAGE_SELF), VALUE(-1, RUSAGE_CHILDREN), N(RUSAGE_THREAD),
    {0, 0, NULL},
};

static const struct lu_name prctl_names[] = {
    N(PR_SET_PDEATHSIG), N(PR_GET_PDEATHSIG), N(PR_GET_DUMPABLE), N(PR_SET_DUMPABLE),
    N(PR_GET_KEEPCAPS), N(PR_SET_KEEPCAPS), N(PR_SET_NAME), N(PR_GET_NAME), N(PR_GET_SECCOMP),
    N(PR_SET_SECCOMP), N(PR_CAPBSET_READ), N(PR_CAPBSET_DROP), N(PR_GET_SECUREBITS),
    N(PR_SET_SECUREBITS), N(PR_SET_TIMERSLACK), N(PR_GET_TIMERSLACK), N(PR_SET_MM),
    N(PR_SET_CHILD_SUBREAPER), N(PR_GET_CHILD_SUBREAPER), N(PR_SET_NO_NEW_PRIVS),
    N(PR_GET_NO_NEW_PRIVS), N(PR_GET_TID_ADDRESS), N(PR_SET_THP_DISABLE), N(PR_GET_THP_DISABLE),
    N(PR_CAP_AMBIENT), N(PR_GET_SPECULATION_CTRL), N(PR_SET_SPECULATION_CTRL), N(PR_SCHED_CORE),
    VALUE(0x53564d41, PR_SET_VMA), VALUE(0x59616d61, PR_SET_PTRACER), VALUE(65, PR_SET_MDWE),
    VALUE(66, PR_GET_MDWE), VALUE(69, PR_RISCV_V_SET_CONTROL), VALUE(70, PR_RISCV_V_GET_CONTROL),
    VALUE(71, PR_RISCV_SET_ICACHE_FLUSH_CTX),
    {0, 0, NULL},
};

static const struct lu_name grnd_names[] = {
    N(GRND_NONBLOCK), N(GRND_RANDOM), N(GRND_INSECURE),
    {0, 0, NULL},
};

static const struct lu_name af_names[] = {
    N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_AX25), N(AF_IPX), N(AF_X25), N(AF_INET6), N(AF_KEY),
    N(AF_NETLINK), N(AF_PACKET), N(AF_RDS), N(AF_LLC), N(AF_CAN), N(AF_TIPC), N(AF_BLUETOOTH),
    N(AF_ALG), N(AF_NFC), N(AF_VSOCK), N(AF_XDP),
    {0, 0, NULL},
};

static const struct lu_name sock_names[] = {
    FIELD(SOCK_STREAM, 0xf), FIELD(SOCK_DGRAM, 0xf), FIELD(SOCK_RAW, 0xf), FIELD(SOCK_RDM, 0xf),
    FIELD(SOCK_SEQPACKET, 0xf), FIELD(SOCK_PACKET, 0xf), N(SOCK_NONBLOCK), N(SOCK_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name msg_names[] = {
    N(MSG_OOB), N(MSG_PEEK), N(MSG_DONTROUTE), N(MSG_CTRUNC), N(MSG_TRUNC), N(MSG_DONTWAIT),
    N(MSG_EOR), N(MSG_WAITALL), N(MSG_CONFIRM), N(MSG_ERRQUEUE), N(MSG_NOSIGNAL), N(MSG_MORE),
    N(MSG_WAITFORONE), N(MSG_FASTOPEN), N(MSG_CMSG_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name sol_names[] = {
    VALUE(0, SOL_IP), N(SOL_SOCKET), VALUE(6, SOL_TCP), VALUE(17, SOL_UDP), VALUE(41, SOL_IPV6),
    VALUE(58, SOL_ICMPV6), N(SOL_RAW), N(SOL_PACKET), N(SOL_NETLINK), N(SOL_ALG), N(SOL_XDP),
    {0, 0, NULL},
};

static const struct lu_name shut_names[] = {
    N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR),
    {0, 0, NULL},
};

static const struct lu_name ipc_names[] = {
    N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO), VALUE(11, GETPID/SHM_LOCK),
    VALUE(12, GETVAL/SHM_UNLOCK), VALUE(13, GETALL/SHM_STAT), VALUE(14, GETNCNT/SHM_INFO),
    VALUE(15, GETZCNT/SHM_STAT_ANY), VALUE(16, SETVAL), VALUE(17, SETALL),
    {0, 0, NULL},
};

static const struct lu_name ipc_flag_names[] = {
    N(IPC_CREAT), N(IPC_EXCL), N(IPC_NOWAIT),
    {0, 0, NULL},
};

static const struct lu_name shm_names[] = {
    N(SHM_RDONLY), N(SHM_RND), N(SHM_REMAP), N(SHM_EXEC),
    {0, 0, NULL},
};

static const struct lu_name membarrier_names[] = {
    N(MEMBARRIER_CMD_QUERY), N(MEMBARRIER_CMD_GLOBAL), N(MEMBARRIER_CMD_GLOBAL_EXPEDITED),
    N(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED), N(MEMBARRIER_CMD_PRIVATE_EXPEDITED),
    N(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), N(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE),
    N(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
    N(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ), N(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ),
    {0, 0, NULL},
};

static const struct lu_name seccomp_names[] = {
    N(SECCOMP_SET_MODE_STRICT), N(SECCOMP_SET_MODE_FILTER), N(SECCOMP_GET_ACTION_AVAIL),
    N(SECCOMP_GET_NOTIF_SIZES),
    {0, 0, NULL},
};

static const struct lu_name keyctl_names[] = {
    N(KEYCTL_GET_KEYRING_ID), N(KEYCTL_JOIN_SESSION_KEYRING), N(KEYCTL_UPDATE), N(KEYCTL_REVOKE),
    N(KEYCTL_CHOWN), N(KEYCTL_SETPERM), N(KEYCTL_DESCRIBE), N(KEYCTL_CLEAR), N(KEYCTL_LINK),
    N(KEYCTL_UNLINK), N(KEYCTL_SEARCH), N(KEYCTL_READ), N(KEYCTL_INSTANTIATE), N(KEYCTL_NEGATE),
    N(KEYCTL_SET_REQKEY_KEYRING), N(KEYCTL_SET_TIMEOUT), N(KEYCTL_ASSUME_AUTHORITY),
    N(KEYCTL_GET_SECURITY), N(KEYCTL_SESSION_TO_PARENT), N(KEYCTL_REJECT),
    N(KEYCTL_INSTANTIATE_IOV), N(KEYCTL_INVALIDATE), N(KEYCTL_GET_PERSISTENT), N(KEYCTL_DH_COMPUTE),
    N(KEYCTL_RESTRICT_KEYRING), N(KEYCTL_MOVE), N(KEYCTL_CAPABILITIES), N(KEYCTL_WATCH_KEY),
    {0, 0, NULL},
};

static const struct lu_name close_range_names[] = {
    VALUE(2, CLOSE_RANGE_UNSHARE), VALUE(4, CLOSE_RANGE_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name pidfd_names[] = {
    N(PIDFD_NONBLOCK), N(O_EXCL),
    {0, 0, NULL},
};

static const struct lu_name open_tree_names[] = {
    VALUE(1, OPEN_TREE_CLONE), N(AT_EMPTY_PATH), N(AT_NO_AUTOMOUNT), N(AT_RECURSIVE),
    N(AT_SYMLINK_NOFOLLOW), N(O_CLOEXEC),
    {0, 0, NULL},
};

static const struct lu_name ptrace_names[] = {
    N(PTRACE_TRACEME), N(PTRACE_PEEKTEXT), N(PTRACE_PEEKDATA), N(PTRACE_POKEDATA), N(PTRACE_CONT),
    N(PTRACE_KILL), N(PTRACE_SINGLESTEP), N(PTRACE_ATTACH), N(PTRACE_DETACH), N(PTRACE_SYSCALL),
    N(PTRACE_SETOPTIONS), N(PTRACE_GETREGSET), N(PTRACE_SETREGSET), N(PTRACE_SEIZE),
    N(PTRACE_INTERRUPT), N(PTRACE_LISTEN),
    {0, 0, NULL},
};

const struct lu_name *const lu_names[LU_NAMES_COUNT] = {
    [LU_NAMES_OPEN] = open_names,
    [LU_NAMES_AT] = at_names,
    [LU_NAMES_ACCESS] = access_names,
    [LU_NAMES_WHENCE] = whence_names,
    [LU_NAMES_FCNTL] = fcntl_names,
    [LU_NAMES_FLOCK] = flock_names,
    [LU_NAMES_FALLOC] = falloc_names,
    [LU_NAMES_RENAME] = rename_names,
    [LU_NAMES_XATTR] = xattr_names,
    [LU_NAMES_SPLICE] = splice_names,
    [LU_NAMES_RWF] = rwf_names,
    [LU_NAMES_MOUNT] = mount_names,
    [LU_NAMES_UMOUNT] = umount_names,
    [LU_NAMES_FD] = fd_names,
    [LU_NAMES_EFD] = efd_names,
    [LU_NAMES_EPOLL] = epoll_names,
    [LU_NAMES_EPOLL_OP] = epoll_op_names,
    [LU_NAMES_INOTIFY] = inotify_names,
    [LU_NAMES_INOTIFY_MASK] = inotify_mask_names,
    [LU_NAMES_STATX] = statx_names,
    [LU_NAMES_FADVISE] = fadvise_names,
    [LU_NAMES_PROT] = prot_names,
    [LU_NAMES_MAP] = map_names,
    [LU_NAMES_MREMAP] = mremap_names,
    [LU_NAMES_MADVISE] = madvise_names,
    [LU_NAMES_MSYNC] = msync_names,
    [LU_NAMES_MLOCK] = mlock_names,
    [LU_NAMES_MCL] = mcl_names,
    [LU_NAMES_MFD] = mfd_names,
    [LU_NAMES_CLONE] = clone_names,
    [LU_NAMES_WAIT] = wait_names,
    [LU_NAMES_IDTYPE] = idtype_names,
    [LU_NAMES_FUTEX] = futex_names,
    [LU_NAMES_SIGHOW] = sighow_names,
    [LU_NAMES_CLOCK] = clock_names,
    [LU_NAMES_TIMER] = timer_names,
    [LU_NAMES_ITIMER] = itimer_names,
    [LU_NAMES_TFD] = tfd_names,
    [LU_NAMES_SCHED] = sched_names,
    [LU_NAMES_PRIO] = prio_names,
    [LU_NAMES_RLIMIT] = rlimit_names,
    [LU_NAMES_RUSAGE] = rusage_names,
    [LU_NAMES_PRCTL] = prctl_names,
    [LU_NAMES_GRND] = grnd_names,
    [LU_NAMES_AF] = af_names,
    [LU_NAMES_SOCK] = sock_names,
    [LU_NAMES_MSG] = msg_names,
    [LU_NAMES_SOL] = sol_names,
    [LU_NAMES_SHUT] = shut_names,
    [LU_NAMES_IPC] = ipc_names,
    [LU_NAMES_IPC_FLAG] = ipc_flag_names,
    [LU_NAMES_SHM] = shm_names,
    [LU_NAMES_MEMBARRIER] = membarrier_names,
    [LU_NAMES_SECCOMP] = seccomp_names,
    [LU_NAMES_KEYCTL] = keyctl_names,
    [LU_NAMES_CLOSE_RANGE] = close_range_names,
    [LU_NAMES_PIDFD] = pidfd_names,
    [LU_NAMES_OPEN_TREE] = open_tree_names,
    [LU_NAMES_PTRACE] = ptrace_names,
};
