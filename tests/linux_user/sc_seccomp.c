/* What a program is told about seccomp filters, by which it decides to go on without. */
#include "sc.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int main(void)
{
    struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog prog = {1, &allow};
    uint32_t action = SECCOMP_RET_KILL_PROCESS;

    SHOW(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
    SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
    SHOW(getpid() > 0);
    return 0;
}
