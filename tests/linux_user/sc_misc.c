/* The system, limits, users, scheduling, prctl, keys, security. */
#include "sc.h"
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

static void names(void)
{
    struct utsname u;
    struct sysinfo s;
    struct tms t;
    struct rusage r;

    SHOW(uname(&u));
    printf("%s %d\n", u.sysname, u.nodename[0] != 0);
    SHOW(syscall(SYS_uname, NOWHERE));
    SHOW(sysinfo(&s));
    printf("%d %d %d\n", s.totalram > 0, s.mem_unit, s.uptime > 0);
    SHOW(syscall(SYS_sysinfo, NOWHERE));
    SHOW(times(&t) != -1);
    SHOW(syscall(SYS_times, NOWHERE));
    SHOW(getrusage(RUSAGE_SELF, &r));
    printf("%d\n", r.ru_maxrss > 0);
    SHOW(getrusage(RUSAGE_CHILDREN, &r));
    SHOW(getrusage(99, &r));
    SHOW(syscall(SYS_getrusage, RUSAGE_SELF, NOWHERE));
    SHOW(syscall(SYS_sethostname, NOWHERE, 4));
    SHOW(syscall(SYS_sethostname, "x", -1));
    unsigned cpu = 99999, node = 99999;
    SHOW(syscall(SYS_getcpu, &cpu, &node, NULL));
    printf("%d %d\n", cpu < 4096, node < 1024);
    SHOW(syscall(SYS_getcpu, NOWHERE, NULL, NULL));
}

static void limits(void)
{
    struct rlimit l, old;

    for (int i = 0; i < 16; i++) {
        SHOW(getrlimit(i, &l));
        printf("%d %d\n", i, l.rlim_cur <= l.rlim_max);
    }
    SHOW(getrlimit(16, &l));
    SHOW(syscall(SYS_getrlimit, RLIMIT_NOFILE, NOWHERE));
    getrlimit(RLIMIT_NOFILE, &l);
    l.rlim_cur = 100;
    SHOW(setrlimit(RLIMIT_NOFILE, &l));
    SHOW(prlimit(0, RLIMIT_NOFILE, NULL, &old));
    printf("%d\n", (int)old.rlim_cur);
    SHOW(dup2(0, 100));
    SHOW(dup2(0, 99));
    l = (struct rlimit){1 << 20, 1 << 21};
    SHOW(setrlimit(RLIMIT_CORE, &l));
    SHOW(prlimit(getpid(), RLIMIT_CORE, NULL, &old));
    printf("%d %d\n", (int)old.rlim_cur, (int)old.rlim_max);
    l = (struct rlimit){1 << 22, 1 << 21};
    SHOW(setrlimit(RLIMIT_CORE, &l));
    SHOW(setrlimit(RLIMIT_AS, &l));
    l = (struct rlimit){1ul << 40, 1ul << 41};
    SHOW(setrlimit(RLIMIT_AS, &l));
    SHOW(getrlimit(RLIMIT_AS, &old));
    printf("%lx %lx\n", (long)old.rlim_cur, (long)old.rlim_max);
    l = (struct rlimit){1 << 20, 1 << 25};
    SHOW(setrlimit(RLIMIT_STACK, &l));
    SHOW(prlimit(0, RLIMIT_STACK, &l, &old));
    printf("%lx %lx\n", (long)old.rlim_cur, (long)old.rlim_max);
    SHOW(syscall(SYS_prlimit64, 0, RLIMIT_CORE, NOWHERE, NULL));
    SHOW(syscall(SYS_prlimit64, -1, RLIMIT_CORE, NULL, &l));
}

static void users(void)
{
    uid_t r, e, s;
    gid_t groups[100];
    int n;

    SHOW(getresuid(&r, &e, &s));
    printf("%d %d\n", r == getuid(), e == geteuid());
    SHOW(getresgid(&r, &e, &s));
    SHOW(syscall(SYS_getresuid, NOWHERE, &e, &s));
    SHOW(setresuid(-1, -1, -1));
    SHOW(setreuid(-1, -1));
    SHOW(setuid(getuid()));
    SHOW(setgid(getgid()));
    SHOW(setregid(-1, -1));
    SHOW(setfsuid(-1) >= 0);
    SHOW(setfsgid(-1) >= 0);
    SHOW((n = getgroups(0, NULL)) >= 0);
    SHOW(getgroups(100, groups) == n);
    SHOW(getgroups(-1, groups));
    SHOW(syscall(SYS_getgroups, 65536, NOWHERE) == -1 || n == 0);
    SHOW(syscall(SYS_setgroups, 70000, groups));
    SHOW(syscall(SYS_setgroups, 2, NOWHERE));
    SHOW(getpgid(0) == getpgrp());
    SHOW(setpgid(0, 0) == 0 || errno == EPERM);
    SHOW(getsid(0) > 0);
    SHOW(getpgid(-5));
    SHOW(setsid() > 0 || errno == EPERM);
    SHOW(getppid() > 0);
}

static void scheduling(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attr = {0};

    SHOW(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0));
    printf("size %d policy %d nice %d\n", attr.size, attr.policy, attr.nice);
    attr.nice = 3;
    attr.flags = 0;
    SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 5));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(getpriority(9, 0));
    SHOW(nice(1));
    attr.size = 4;
    SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
    SHOW(syscall(SYS_sched_setattr, 0, NOWHERE, 0));
    SHOW(syscall(SYS_sched_setattr, 0, NULL, 0));
    SHOW(syscall(SYS_sched_getattr, 0, &attr, 8, 0));
    SHOW(syscall(SYS_sched_getattr, 0, NOWHERE, sizeof(attr), 0));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 3));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_get, 9, 0));
    SHOW(personality(0xffffffff) != -1);
}

static void controls(void)
{
    char name[17] = "";
    int v = -1;
    void *tid = NULL;

    SHOW(prctl(PR_SET_NAME, "a very long name of a thread"));
    SHOW(prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    SHOW(prctl(PR_SET_NAME, NOWHERE));
    SHOW(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    SHOW(prctl(PR_GET_PDEATHSIG, &v));
    printf("%d\n", v);
    SHOW(prctl(PR_GET_PDEATHSIG, NOWHERE));
    SHOW(prctl(PR_SET_PDEATHSIG, 999));
    SHOW(prctl(PR_SET_PDEATHSIG, 0));
    SHOW(prctl(PR_SET_DUMPABLE, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 1));
    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_CAPBSET_READ, 0) >= 0);
    SHOW(prctl(PR_CAPBSET_READ, 999));
    SHOW(prctl(PR_SET_TIMERSLACK, 12345));
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_CHILD_SUBREAPER, 1));
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, &v));
    printf("%d\n", v);
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0));
    SHOW(prctl(PR_GET_TID_ADDRESS, &tid) == 0 || errno == EINVAL);
    SHOW(prctl(0x12345));
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(prctl(0x53564d41, 0, p, 4096, "name") == 0 || errno == EINVAL);
    SHOW(prctl(0x53564d41, 9, p, 4096, "name"));
}

static void capabilities(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};

    SHOW(syscall(SYS_capget, &h, d));
    SHOW(syscall(SYS_capset, &h, d));
    printf("%d\n", d[0].effective == d[0].permitted);
    h.version = 5;
    SHOW(syscall(SYS_capget, &h, d));
    printf("%x\n", h.version);
    h.version = 5;
    SHOW(syscall(SYS_capget, &h, NULL));
    SHOW(syscall(SYS_capget, NOWHERE, d));
    h.version = _LINUX_CAPABILITY_VERSION_1;
    SHOW(syscall(SYS_capget, &h, d));
    SHOW(syscall(SYS_capget, &h, NOWHERE));
    SHOW(syscall(SYS_capset, &h, NOWHERE));
}

static void keys(void)
{
    char buf[32] = "";
    long ring, key;

    SHOW((ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "nandu-test")) > 0 ||
         errno == ENOSYS || errno == EPERM);
    if (ring <= 0)
        return;
    SHOW((key = syscall(SYS_add_key, "user", "name", "payload", 7, ring)) > 0);
    SHOW(syscall(SYS_keyctl, KEYCTL_READ, key, buf, 32));
    printf("%s\n", buf);
    SHOW(syscall(SYS_keyctl, KEYCTL_SEARCH, ring, "user", "name", 0) == key);
    SHOW(syscall(SYS_request_key, "user", "name", NULL, 0) == key);
    SHOW(syscall(SYS_keyctl, KEYCTL_UPDATE, key, "new", 3));
    SHOW(syscall(SYS_keyctl, KEYCTL_READ, key, NOWHERE, 32));
    SHOW(syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, NULL, 0) > 10);
    SHOW(syscall(SYS_keyctl, KEYCTL_REVOKE, key));
    SHOW(syscall(SYS_keyctl, KEYCTL_READ, key, buf, 32));
    SHOW(syscall(SYS_add_key, "user", NOWHERE, "payload", 7, ring));
    SHOW(syscall(SYS_add_key, "nothing", "name", "payload", 7, ring));
    SHOW(syscall(SYS_keyctl, 999));
}

static void others(void)
{
    int fd = open("/dev/null", O_RDWR), pfd, got;
    struct {
        uint64_t fs, net, scoped;
    } ruleset = {1 << 1, 0, 0};
    struct {
        uint64_t access;
        int fd;
    } __attribute__((packed)) beneath = {1 << 1, fd};
    int rules;

    OK(pfd = syscall(SYS_pidfd_open, getpid(), 0));
    SHOW(syscall(SYS_pidfd_open, -1, 0));
    SHOW(syscall(SYS_pidfd_open, getpid(), 1));
    OK(got = syscall(SYS_pidfd_getfd, pfd, fd, 0));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), 0, fd, got) == 0 || errno == ENOSYS ||
         errno == EPERM);
    SHOW(syscall(SYS_pidfd_getfd, pfd, 777, 0));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), 99, fd, got));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), 7, fd, NOWHERE));
    SHOW((rules = syscall(SYS_landlock_create_ruleset, &ruleset, 8, 0)) >= 0 ||
         errno == EOPNOTSUPP || errno == ENOSYS);
    SHOW(syscall(SYS_landlock_create_ruleset, NOWHERE, 8, 0));
    if (rules >= 0) {
        SHOW(syscall(SYS_landlock_add_rule, rules, 1, &beneath, 0) == 0 || errno == EINVAL);
        SHOW(syscall(SYS_landlock_add_rule, rules, 1, NOWHERE, 0));
        SHOW(syscall(SYS_landlock_add_rule, rules, 99, &beneath, 0));
    }
    SHOW(syscall(SYS_landlock_restrict_self, -1, 0));
    SHOW(syscall(SYS_reboot, 1, 2, 3, NULL));
    SHOW(syscall(SYS_syslog, 99, NULL, 0));
    SHOW(syscall(SYS_nfsservctl, 0, NULL, NULL));
    SHOW(syscall(SYS_lookup_dcookie, 0ul, NULL, 0));
    SHOW(syscall(SYS_acct, "missing/file") == -1);
    SHOW(syscall(SYS_swapon, "missing", 0) == -1);
    SHOW(syscall(461 /* lsm_list_modules */, NOWHERE, NOWHERE, 0));
    SHOW(syscall(999));
    SHOW(syscall(457 /* statmount */, NOWHERE, NOWHERE, 0, 0));
    SHOW(syscall(458 /* listmount */, NOWHERE, NOWHERE, 0, 0));
}

int main(void)
{
    names();
    limits();
    users();
    scheduling();
    controls();
    capabilities();
    keys();
    others();
    return 0;
}
