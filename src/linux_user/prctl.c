/*
 * prctl: each option is passed to the host's kernel, answered here, or refused as a RISC-V kernel
 * would refuse it.
 */
#include "linux_user/sys.h"

#include <string.h>
#include <sys/prctl.h>

#include "linux_user/syscall_args.h"

/* Younger than the headers of Debian 12. */
enum {
    OPT_SET_MDWE = 65,
    OPT_GET_MDWE = 66,
    OPT_SET_MEMORY_MERGE = 67,
    OPT_GET_MEMORY_MERGE = 68,
    OPT_RISCV_V_SET_CONTROL = 69,
    OPT_RISCV_V_GET_CONTROL = 70,
    OPT_RISCV_SET_ICACHE_FLUSH_CTX = 71,
    OPT_GET_AUXV = 0x41555856,
    OPT_SET_VMA = 0x53564d41,
    OPT_SET_PTRACER = 0x59616d61,
};

static const struct lu_subcall options[] = {
    SUB(PR_SET_PDEATHSIG, prctl, INT, INT, HEX, HEX, HEX),
    SUB(PR_GET_PDEATHSIG, prctl, INT, OUT(4), HEX, HEX, HEX),
    SUB(PR_GET_DUMPABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_DUMPABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_KEEPCAPS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_KEEPCAPS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_TIMING, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_TIMING, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_NAME, prctl, INT, OUT(16), HEX, HEX, HEX),
    SUB(PR_CAPBSET_READ, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_CAPBSET_DROP, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_SECUREBITS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_SECUREBITS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_TIMERSLACK, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_TIMERSLACK, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_TASK_PERF_EVENTS_DISABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_TASK_PERF_EVENTS_ENABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_MCE_KILL, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_MCE_KILL_GET, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_CHILD_SUBREAPER, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_CHILD_SUBREAPER, prctl, INT, OUT(4), HEX, HEX, HEX),
    SUB(PR_SET_NO_NEW_PRIVS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_NO_NEW_PRIVS, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_THP_DISABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_THP_DISABLE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_CAP_AMBIENT, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_SPECULATION_CTRL, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_SPECULATION_CTRL, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SET_IO_FLUSHER, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_GET_IO_FLUSHER, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(PR_SCHED_CORE, prctl, INT, HEX, HEX, HEX, OUT(8)),
    SUB(OPT_SET_MEMORY_MERGE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(OPT_GET_MEMORY_MERGE, prctl, INT, HEX, HEX, HEX, HEX),
    SUB(OPT_SET_PTRACER, prctl, INT, HEX, HEX, HEX, HEX),
    /* These would describe or change Nandu's own memory. */
    SUB_ERROR(PR_SET_MM, EPERM),
    SUB_ERROR(OPT_SET_MDWE, EINVAL),
    /* A dispatcher in the guest would be entered for Nandu's calls. */
    SUB_ERROR(PR_SET_SYSCALL_USER_DISPATCH, EINVAL),
    /* What a RISC-V kernel, or one on hardware without vectors, doesn't have. */
    SUB_ERROR(PR_GET_UNALIGN, EINVAL),
    SUB_ERROR(PR_SET_UNALIGN, EINVAL),
    SUB_ERROR(PR_GET_FPEMU, EINVAL),
    SUB_ERROR(PR_SET_FPEMU, EINVAL),
    SUB_ERROR(PR_GET_FPEXC, EINVAL),
    SUB_ERROR(PR_SET_FPEXC, EINVAL),
    SUB_ERROR(PR_GET_ENDIAN, EINVAL),
    SUB_ERROR(PR_SET_ENDIAN, EINVAL),
    SUB_ERROR(PR_GET_TSC, EINVAL),
    SUB_ERROR(PR_SET_TSC, EINVAL),
    SUB_ERROR(PR_MPX_ENABLE_MANAGEMENT, EINVAL),
    SUB_ERROR(PR_MPX_DISABLE_MANAGEMENT, EINVAL),
    SUB_ERROR(PR_SET_FP_MODE, EINVAL),
    SUB_ERROR(PR_GET_FP_MODE, EINVAL),
    SUB_ERROR(PR_SVE_SET_VL, EINVAL),
    SUB_ERROR(PR_SVE_GET_VL, EINVAL),
    SUB_ERROR(PR_PAC_RESET_KEYS, EINVAL),
    SUB_ERROR(PR_PAC_SET_ENABLED_KEYS, EINVAL),
    SUB_ERROR(PR_PAC_GET_ENABLED_KEYS, EINVAL),
    SUB_ERROR(PR_SET_TAGGED_ADDR_CTRL, EINVAL),
    SUB_ERROR(PR_GET_TAGGED_ADDR_CTRL, EINVAL),
    SUB_ERROR(OPT_RISCV_V_SET_CONTROL, EINVAL),
    SUB_ERROR(OPT_RISCV_V_GET_CONTROL, EINVAL),
};

/* The name of a thread: 15 bytes of what may be a longer string. */
static int64_t set_name(struct lu_process *p, uint64_t addr)
{
    char name[16] = "";

    for (unsigned i = 0; i < sizeof(name) - 1; i++) {
        if (lu_copy_from_guest(p, &name[i], addr + i, 1) != 0) {
            return -EFAULT;
        }
        if (name[i] == '\0') {
            break;
        }
    }
    return LU_HOST(SYS_prctl, PR_SET_NAME, name);
}

/* PR_SET_VMA_ANON_NAME: a name for a mapping in /proc/self/maps. */
static int64_t set_mapping_name(struct lu_process *p, const uint64_t a[6])
{
    g_autofree char *name = NULL;
    int error;

    if (a[2] % LU_PAGE_SIZE || !lu_mapped(p, a[2], a[3])) {
        return a[2] % LU_PAGE_SIZE ? -EINVAL : -ENOMEM;
    }
    if (a[4]) {
        error = lu_string_from_guest(p, &name, a[4], 4096);
        if (error) {
            return error == -ENAMETOOLONG ? -EINVAL : error;
        }
    }
    return LU_HOST(SYS_prctl, a[0], a[1], lu_g2h(p, a[2]), a[3], name);
}

int64_t sys_prctl(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint32_t option = (uint32_t)a[0];

    switch (option) {
    case PR_SET_NAME: return set_name(p, a[1]);
    case PR_GET_SECCOMP: return lu_seccomp_mode(t);
    case PR_SET_SECCOMP: return lu_seccomp_set_mode(t, a[1], a[2]);
    case PR_GET_TID_ADDRESS:
        return lu_copy_to_guest(p, a[1], &t->clear_child_tid, sizeof(t->clear_child_tid));
    case OPT_GET_MDWE: return a[1] | a[2] | a[3] | a[4] ? -EINVAL : 0;
    case OPT_SET_VMA: return a[1] == 0 ? set_mapping_name(p, a) : -EINVAL;
    case OPT_GET_AUXV:
        if (a[3] | a[4]) {
            return -EINVAL;
        }
        return lu_copy_to_guest(p, a[1], p->auxv, MIN(a[2], p->auxv_size)) ?: (int64_t)p->auxv_size;
    case OPT_RISCV_SET_ICACHE_FLUSH_CTX:
        /* fence.i is for all CPUs here, so a context that may migrate needs nothing. */
        return a[1] <= 1 && a[2] <= 1 ? 0 : -EINVAL;
    default: return lu_pass_sub(t, options, G_N_ELEMENTS(options), option, "prctl option", a);
    }
}
