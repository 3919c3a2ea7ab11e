/*
 * System calls about the system and the process: names, limits, capabilities, keys, security.
 */
#include "linux_user/sys.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/reboot.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "linux_user/syscall_args.h"

/* ---- uname ---- */

int64_t sys_uname(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    struct utsname name;
    int64_t result = LU_HOST(SYS_uname, &name);

    G_STATIC_ASSERT(sizeof(name) == 6 * 65);
    if (result) {
        return result;
    }
    g_strlcpy(name.machine, p->abi->uname_machine, sizeof(name.machine));
    if (p->options->uname_release) {
        g_strlcpy(name.release, p->options->uname_release, sizeof(name.release));
    }
    return lu_copy_to_guest(p, a[0], &name, sizeof(name));
}

/* ---- Limits ---- */

/* Index of a limit that isn't applied to Nandu, whose own memory it would count; -1: another. */
static int own_limit(uint32_t resource)
{
    switch (resource) {
    case RLIMIT_DATA: return 0;
    case RLIMIT_STACK: return 1;
    case RLIMIT_AS: return 2;
    default: return -1;
    }
}

static bool may_raise_limits(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};

    return LU_HOST(SYS_capget, &header, data) == 0 &&
           (data[0].effective & CAP_TO_MASK(CAP_SYS_RESOURCE));
}

static int64_t own_limit_change(struct lu_process *p, int which, uint32_t resource,
                                const uint64_t *wanted, uint64_t old[2])
{
    int64_t result = 0;

    if (LU_HOST(SYS_prlimit64, 0, resource, NULL, old) != 0) {
        return -EINVAL;
    }
    pthread_mutex_lock(&p->lock);
    if (p->rlimit_set[which]) {
        memcpy(old, p->rlimits[which], sizeof(p->rlimits[which]));
    }
    if (wanted && wanted[0] > wanted[1]) {
        result = -EINVAL;
    } else if (wanted && wanted[1] > old[1] && !may_raise_limits()) {
        result = -EPERM;
    } else if (wanted) {
        memcpy(p->rlimits[which], wanted, sizeof(p->rlimits[which]));
        p->rlimit_set[which] = true;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

int64_t sys_prlimit64(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint32_t resource = (uint32_t)a[1];
    int which = own_limit(resource);
    bool self = (pid_t)a[0] == 0 || (pid_t)a[0] == getpid();
    uint64_t wanted[2], old[2];
    int64_t result;

    if (a[2] && lu_copy_from_guest(p, wanted, a[2], sizeof(wanted)) != 0) {
        return -EFAULT;
    }
    if (which >= 0 && self) {
        result = own_limit_change(p, which, resource, a[2] ? wanted : NULL, old);
    } else {
        result = LU_HOST(SYS_prlimit64, a[0], resource, a[2] ? wanted : NULL, old);
    }
    if (result == 0 && a[3]) {
        result = lu_copy_to_guest(p, a[3], old, sizeof(old));
    }
    return result;
}

int64_t sys_getrlimit(struct lu_thread *t, const uint64_t a[6])
{
    const uint64_t args[6] = {0, a[0], 0, a[1]};

    return a[1] ? sys_prlimit64(t, args) : -EFAULT;
}

int64_t sys_setrlimit(struct lu_thread *t, const uint64_t a[6])
{
    const uint64_t args[6] = {0, a[0], a[1], 0};

    return a[1] ? sys_prlimit64(t, args) : -EFAULT;
}

/* ---- Capabilities ---- */

/* capget and capset: the version in the header says how many structures there are. */
static int64_t capabilities(struct lu_thread *t, const uint64_t a[6], bool set)
{
    struct lu_process *p = t->process;
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[2] = {{0}};
    size_t size = sizeof(data);
    int64_t result;

    if (lu_copy_from_guest(p, &header, a[0], sizeof(header)) != 0) {
        return -EFAULT;
    }
    if (header.version == _LINUX_CAPABILITY_VERSION_1) {
        size = sizeof(data[0]);
    }
    if (set && lu_copy_from_guest(p, data, a[1], size) != 0) {
        size = 0;
    }
    result = LU_HOST(set ? SYS_capset : SYS_capget, &header,
                     a[1] == 0 ? NULL
                     : size    ? (void *)data
                               : LU_BAD_POINTER);
    /* An unknown version is replaced by the one that the kernel prefers. */
    if (lu_copy_to_guest(p, a[0], &header.version, sizeof(header.version)) != 0) {
        return -EFAULT;
    }
    if (result == 0 && !set && a[1]) {
        result = lu_copy_to_guest(p, a[1], data, size);
    }
    return result;
}

int64_t sys_capget(struct lu_thread *t, const uint64_t a[6])
{
    return capabilities(t, a, false);
}

int64_t sys_capset(struct lu_thread *t, const uint64_t a[6])
{
    return capabilities(t, a, true);
}

/* ---- Keys ---- */

static const struct lu_subcall keyctl_ops[] = {
    SUB(KEYCTL_GET_KEYRING_ID, keyctl, INT, INT, INT),
    SUB(KEYCTL_JOIN_SESSION_KEYRING, keyctl, INT, STR),
    SUB(KEYCTL_UPDATE, keyctl, INT, INT, IN_LEN(3, 1), SIZE),
    SUB(KEYCTL_REVOKE, keyctl, INT, INT),
    SUB(KEYCTL_CHOWN, keyctl, INT, INT, INT, INT),
    SUB(KEYCTL_SETPERM, keyctl, INT, INT, HEX),
    SUB(KEYCTL_DESCRIBE, keyctl, INT, INT, OUT_LEN(3, 1), SIZE),
    SUB(KEYCTL_CLEAR, keyctl, INT, INT),
    SUB(KEYCTL_LINK, keyctl, INT, INT, INT),
    SUB(KEYCTL_UNLINK, keyctl, INT, INT, INT),
    SUB(KEYCTL_SEARCH, keyctl, INT, INT, STR, STR, INT),
    SUB(KEYCTL_READ, keyctl, INT, INT, OUT_LEN(3, 1), SIZE),
    SUB(KEYCTL_INSTANTIATE, keyctl, INT, INT, IN_LEN(3, 1), SIZE, INT),
    SUB(KEYCTL_NEGATE, keyctl, INT, INT, INT, INT),
    SUB(KEYCTL_SET_REQKEY_KEYRING, keyctl, INT, INT),
    SUB(KEYCTL_SET_TIMEOUT, keyctl, INT, INT, INT),
    SUB(KEYCTL_ASSUME_AUTHORITY, keyctl, INT, INT),
    SUB(KEYCTL_GET_SECURITY, keyctl, INT, INT, OUT_LEN(3, 1), SIZE),
    SUB(KEYCTL_SESSION_TO_PARENT, keyctl, INT),
    SUB(KEYCTL_REJECT, keyctl, INT, INT, INT, INT, INT),
    SUB(KEYCTL_INVALIDATE, keyctl, INT, INT),
    SUB(KEYCTL_GET_PERSISTENT, keyctl, INT, INT, INT),
    SUB_ERROR(KEYCTL_DH_COMPUTE, EOPNOTSUPP),
    SUB_ERROR(KEYCTL_PKEY_QUERY, EOPNOTSUPP),
    SUB_ERROR(KEYCTL_PKEY_ENCRYPT, EOPNOTSUPP),
    SUB_ERROR(KEYCTL_PKEY_DECRYPT, EOPNOTSUPP),
    SUB_ERROR(KEYCTL_PKEY_SIGN, EOPNOTSUPP),
    SUB_ERROR(KEYCTL_PKEY_VERIFY, EOPNOTSUPP),
    SUB(KEYCTL_RESTRICT_KEYRING, keyctl, INT, INT, STR, STR),
    SUB(KEYCTL_MOVE, keyctl, INT, INT, INT, INT, HEX),
    SUB(KEYCTL_CAPABILITIES, keyctl, INT, OUT_LEN(2, 1), SIZE),
    SUB(KEYCTL_WATCH_KEY, keyctl, INT, INT, FD, INT),
};

int64_t sys_keyctl(struct lu_thread *t, const uint64_t a[6])
{
    if ((uint32_t)a[0] == KEYCTL_INSTANTIATE_IOV) {
        struct lu_iov iov;
        int64_t result;

        lu_iov_from_guest(t->process, &iov, a[2], a[3], LU_READ);
        result = LU_HOST(SYS_keyctl, a[0], a[1], iov.v, iov.count, a[4]);
        lu_iov_clear(&iov);
        return result;
    }
    if ((uint32_t)a[0] > KEYCTL_WATCH_KEY) {
        return -EOPNOTSUPP;
    }
    return lu_pass_sub(t, keyctl_ops, G_N_ELEMENTS(keyctl_ops), (uint32_t)a[0], "keyctl operation",
                       a);
}

/* ---- Security ---- */

int64_t sys_landlock_add_rule(struct lu_thread *t, const uint64_t a[6])
{
    /* LANDLOCK_RULE_PATH_BENEATH: access rights and a descriptor; LANDLOCK_RULE_NET_PORT: rights
     * and a port. */
    static const struct lu_subcall types[] = {
        SUB(1, landlock_add_rule, FD, INT, IN(12), HEX),
        SUB(2, landlock_add_rule, FD, INT, IN(16), HEX),
        SUB(LU_SUB_OTHER, landlock_add_rule, FD, INT, NUL, HEX),
    };

    return lu_pass_sub(t, types, G_N_ELEMENTS(types), (uint32_t)a[1], "landlock rule type", a);
}

int64_t sys_reboot(struct lu_thread *t, const uint64_t a[6])
{
    uint32_t magic = (uint32_t)a[1];

    if ((uint32_t)a[0] != LINUX_REBOOT_MAGIC1 ||
        (magic != LINUX_REBOOT_MAGIC2 && magic != LINUX_REBOOT_MAGIC2A &&
         magic != LINUX_REBOOT_MAGIC2B && magic != LINUX_REBOOT_MAGIC2C)) {
        /* The kernel refuses these too, for one of two reasons. */
        return LU_HOST(SYS_reboot, 0, 0, 0, NULL);
    }
    /* A guest may not stop the machine that it runs on, whoever it is. */
    return -EPERM;
}

/* Both give a list whose size the kernel reads first and writes back: [call] with the address in
 * its argument [list]. */
static int64_t lsm_list(struct lu_thread *t, long nr, const uint64_t a[6], unsigned list)
{
    struct lu_process *p = t->process;
    uint64_t args[6];
    uint32_t size;
    int64_t result;

    memcpy(args, a, sizeof(args));
    if (lu_copy_from_guest(p, &size, a[list + 1], sizeof(size)) != 0) {
        args[list] = (uintptr_t)lu_bad_ptr(p, a[list]);
        args[list + 1] = (uintptr_t)lu_bad_ptr(p, a[list + 1]);
        return LU_HOST(nr, args[0], args[1], args[2], args[3]);
    }
    args[list] = (uintptr_t)lu_ptr(p, a[list], size, LU_READ | LU_WRITE);
    args[list + 1] = (uintptr_t)&size;
    result = LU_HOST(nr, args[0], args[1], args[2], args[3]);
    /* The size that is needed comes back with E2BIG too. */
    int error = lu_copy_to_guest(p, a[list + 1], &size, sizeof(size));
    return error ? error : result;
}

int64_t sys_lsm_get_self_attr(struct lu_thread *t, const uint64_t a[6])
{
    return lsm_list(t, SYS_lsm_get_self_attr, a, 1);
}

int64_t sys_lsm_list_modules(struct lu_thread *t, const uint64_t a[6])
{
    return lsm_list(t, SYS_lsm_list_modules, a, 0);
}

/* ---- Processes ---- */

int64_t sys_kcmp(struct lu_thread *t, const uint64_t a[6])
{
    enum { KCMP_EPOLL_TFD_TYPE = 7, SLOT_SIZE = 12 };

    if ((int)a[2] == KCMP_EPOLL_TFD_TYPE) {
        return LU_HOST(SYS_kcmp, a[0], a[1], a[2], a[3],
                       lu_ptr(t->process, a[4], SLOT_SIZE, LU_READ));
    }
    return LU_HOST(SYS_kcmp, a[0], a[1], a[2], a[3], a[4]);
}

int64_t sys_sched_setattr(struct lu_thread *t, const uint64_t a[6])
{
    enum { SIZE_0 = 48 }; /* SCHED_ATTR_SIZE_VER0, which size 0 stands for */
    struct lu_process *p = t->process;
    uint32_t size;

    if (a[1] == 0) {
        return -EINVAL;
    }
    if (lu_copy_from_guest(p, &size, a[1], sizeof(size)) != 0) {
        return LU_HOST(SYS_sched_setattr, a[0], lu_bad_ptr(p, a[1]), a[2]);
    }
    size = size ? size : SIZE_0;
    /* The kernel writes its own size there when this one is too large. */
    return LU_HOST(SYS_sched_setattr, a[0],
                   lu_ptr(p, a[1], CLAMP(size, sizeof(size), LU_PAGE_SIZE), LU_READ | LU_WRITE),
                   a[2]);
}

int64_t sys_pidfd_getfd(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;

    if (lu_fd_is_protected(p, (int)a[1])) {
        g_autofree char *name = g_strdup_printf("/proc/self/fdinfo/%d", (int)a[0]);
        g_autofree char *self = g_strdup_printf("\nPid:\t%d\n", (int)getpid());
        g_autofree char *info = NULL;

        if (g_file_get_contents(name, &info, NULL, NULL) && strstr(info, self)) {
            return -EBADF;
        }
    }
    return LU_HOST(SYS_pidfd_getfd, a[0], a[1], a[2]);
}
