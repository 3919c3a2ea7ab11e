/*
 * What is denied, and how:
 *
 *  - what nothing in this program ever calls, and what an intruder would (mount, ptrace, kexec_load,
 *    ...): the process is killed;
 *  - the groups of -sandbox, which libraries try in good faith and can do without: EPERM. For new
 *    processes that is fork, vfork, execve, and clone without CLONE_THREAD. The flags of clone3 are in
 *    memory, where a filter can't look: it answers ENOSYS, and the C library takes clone.
 *
 * Unlike in QEMU the filter is on by default and its groups are denied by default.
 */
#include "cli/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>

#include "qapi/error.h"

enum group { ALWAYS, OBSOLETE, ELEVATE, SPAWN, RESOURCE, N_GROUPS };

static const struct {
    int number;
    enum group group;
} denied[] = {
    {SCMP_SYS(acct), ALWAYS},
    {SCMP_SYS(add_key), ALWAYS},
    {SCMP_SYS(adjtimex), ALWAYS},
    {SCMP_SYS(bpf), ALWAYS},
    {SCMP_SYS(chroot), ALWAYS},
    {SCMP_SYS(clock_adjtime), ALWAYS},
    {SCMP_SYS(clock_settime), ALWAYS},
    {SCMP_SYS(delete_module), ALWAYS},
    {SCMP_SYS(finit_module), ALWAYS},
    {SCMP_SYS(fsconfig), ALWAYS},
    {SCMP_SYS(fsmount), ALWAYS},
    {SCMP_SYS(fsopen), ALWAYS},
    {SCMP_SYS(init_module), ALWAYS},
    {SCMP_SYS(kcmp), ALWAYS},
    {SCMP_SYS(kexec_file_load), ALWAYS},
    {SCMP_SYS(kexec_load), ALWAYS},
    {SCMP_SYS(keyctl), ALWAYS},
    {SCMP_SYS(lookup_dcookie), ALWAYS},
    {SCMP_SYS(mount), ALWAYS},
    {SCMP_SYS(mount_setattr), ALWAYS},
    {SCMP_SYS(move_mount), ALWAYS},
    {SCMP_SYS(name_to_handle_at), ALWAYS},
    {SCMP_SYS(nfsservctl), ALWAYS},
    {SCMP_SYS(open_by_handle_at), ALWAYS},
    {SCMP_SYS(open_tree), ALWAYS},
    {SCMP_SYS(perf_event_open), ALWAYS},
    {SCMP_SYS(pidfd_getfd), ALWAYS},
    {SCMP_SYS(pivot_root), ALWAYS},
    {SCMP_SYS(process_madvise), ALWAYS},
    {SCMP_SYS(process_vm_readv), ALWAYS},
    {SCMP_SYS(process_vm_writev), ALWAYS},
    {SCMP_SYS(ptrace), ALWAYS},
    {SCMP_SYS(quotactl), ALWAYS},
    {SCMP_SYS(reboot), ALWAYS},
    {SCMP_SYS(request_key), ALWAYS},
    {SCMP_SYS(setdomainname), ALWAYS},
    {SCMP_SYS(sethostname), ALWAYS},
    {SCMP_SYS(setns), ALWAYS},
    {SCMP_SYS(settimeofday), ALWAYS},
    {SCMP_SYS(swapoff), ALWAYS},
    {SCMP_SYS(swapon), ALWAYS},
    {SCMP_SYS(syslog), ALWAYS},
    {SCMP_SYS(umount2), ALWAYS},
    {SCMP_SYS(unshare), ALWAYS},
    {SCMP_SYS(vhangup), ALWAYS},

    {SCMP_SYS(_sysctl), OBSOLETE},
    {SCMP_SYS(afs_syscall), OBSOLETE},
    {SCMP_SYS(create_module), OBSOLETE},
    {SCMP_SYS(get_kernel_syms), OBSOLETE},
    {SCMP_SYS(getpmsg), OBSOLETE},
    {SCMP_SYS(ioperm), OBSOLETE},
    {SCMP_SYS(iopl), OBSOLETE},
    {SCMP_SYS(modify_ldt), OBSOLETE},
    {SCMP_SYS(personality), OBSOLETE},
    {SCMP_SYS(putpmsg), OBSOLETE},
    {SCMP_SYS(query_module), OBSOLETE},
    {SCMP_SYS(readahead), OBSOLETE},
    {SCMP_SYS(security), OBSOLETE},
    {SCMP_SYS(sysfs), OBSOLETE},
    {SCMP_SYS(tuxcall), OBSOLETE},
    {SCMP_SYS(uselib), OBSOLETE},
    {SCMP_SYS(ustat), OBSOLETE},
    {SCMP_SYS(vserver), OBSOLETE},

    {SCMP_SYS(capset), ELEVATE},
    {SCMP_SYS(setfsgid), ELEVATE},
    {SCMP_SYS(setfsuid), ELEVATE},
    {SCMP_SYS(setgid), ELEVATE},
    {SCMP_SYS(setgroups), ELEVATE},
    {SCMP_SYS(setpgid), ELEVATE},
    {SCMP_SYS(setregid), ELEVATE},
    {SCMP_SYS(setresgid), ELEVATE},
    {SCMP_SYS(setresuid), ELEVATE},
    {SCMP_SYS(setreuid), ELEVATE},
    {SCMP_SYS(setsid), ELEVATE},
    {SCMP_SYS(setuid), ELEVATE},

    {SCMP_SYS(execve), SPAWN},
    {SCMP_SYS(execveat), SPAWN},
    {SCMP_SYS(fork), SPAWN},
    {SCMP_SYS(vfork), SPAWN},

    {SCMP_SYS(ioprio_set), RESOURCE},
    {SCMP_SYS(migrate_pages), RESOURCE},
    {SCMP_SYS(move_pages), RESOURCE},
    {SCMP_SYS(sched_setaffinity), RESOURCE},
    {SCMP_SYS(sched_setparam), RESOURCE},
    {SCMP_SYS(sched_setscheduler), RESOURCE},
    {SCMP_SYS(setpriority), RESOURCE},
    {SCMP_SYS(setrlimit), RESOURCE},
};

static int add_rules(scmp_filter_ctx ctx, const bool deny[N_GROUPS])
{
    int r = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(denied) && !r; i++) {
        if (deny[denied[i].group]) {
            r = seccomp_rule_add(
                ctx, denied[i].group == ALWAYS ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM),
                denied[i].number, 0);
        }
    }
    if (deny[SPAWN] && !r) {
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    }
    if (deny[SPAWN] && !r) {
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    if (deny[RESOURCE] && !r) {
        /* prlimit64 with a new limit; asking for the present one stays. */
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1,
                             SCMP_A2(SCMP_CMP_NE, 0));
    }
    return r;
}

bool sandbox_enter(const struct qapi_sandbox_options *options, GError **error)
{
    static const struct qapi_sandbox_options by_default = {.enable = true};
    const struct qapi_sandbox_options *o = options ? options : &by_default;
    bool deny[N_GROUPS] = {
        [ALWAYS] = true,
        [OBSOLETE] = !o->has_obsolete || o->obsolete == QAPI_SANDBOX_SWITCH_DENY,
        [ELEVATE] = !o->has_elevateprivileges || o->elevateprivileges == QAPI_SANDBOX_ELEVATE_DENY,
        [SPAWN] = !o->has_spawn || o->spawn == QAPI_SANDBOX_SWITCH_DENY,
        [RESOURCE] = !o->has_resourcecontrol || o->resourcecontrol == QAPI_SANDBOX_SWITCH_DENY,
    };
    /* "children": they may gain privileges, which no_new_privs would forbid. */
    bool no_new_privs =
        !o->has_elevateprivileges || o->elevateprivileges != QAPI_SANDBOX_ELEVATE_ALLOW;
    scmp_filter_ctx ctx;
    int r;

    if (!o->enable) {
        return true;
    }
    if (o->has_elevateprivileges && o->elevateprivileges == QAPI_SANDBOX_ELEVATE_CHILDREN) {
        deny[ELEVATE] = true;
        no_new_privs = false;
    }
    ctx = seccomp_init(SCMP_ACT_ALLOW);
    r = ctx ? 0 : -ENOMEM;
    r = r ? r : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    r = r ? r : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    /* Unprivileged processes can't have a filter without it. */
    r = r ? r : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, no_new_privs);
    r = r ? r : add_rules(ctx, deny);
    r = r ? r : seccomp_load(ctx);
    if (ctx) {
        seccomp_release(ctx);
    }
    if (r) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "the sandbox can't be set up: %s (-sandbox off runs without it)",
                    g_strerror(-r));
        return false;
    }
    return true;
}
