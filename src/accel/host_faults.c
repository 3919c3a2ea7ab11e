#include "accel/host_faults.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "dbt/dbt.h"

/* The one thing that a signal handler can be told: which vCPU its thread runs. */
static __thread struct vcpu *current_cpu;

static void handler(int sig, siginfo_t *info, void *context)
{
    int saved_errno = errno;

    if (!current_cpu || !dbt_handle_fault(current_cpu, info, context)) {
        signal(sig, SIG_DFL);   /* happens again on return, and then ends the program */
    }
    errno = saved_errno;
}

void host_faults_install(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

unsigned long host_faults_stack_size(void)
{
    return (unsigned long)sysconf(_SC_MINSIGSTKSZ) + 64 * 1024;
}

void host_faults_enter(struct vcpu *cpu, void *stack)
{
    stack_t alternate = {.ss_sp = stack, .ss_size = host_faults_stack_size()};

    current_cpu = cpu;
    sigaltstack(&alternate, NULL);
}

void host_faults_leave(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
    current_cpu = NULL;
}
