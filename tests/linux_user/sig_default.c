/* What each signal does by default, as the parent sees it; stop and continue. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(pid_t pid, const char *what)
{
    int status;
    pid_t r = waitpid(pid, &status, WUNTRACED | WCONTINUED);

    if (r != pid)
        printf("%s: wait failed\n", what);
    else if (WIFEXITED(status))
        printf("%s: exit %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
}

int main(void)
{
    struct rlimit none = {0, 0};
    siginfo_t si;
    pid_t pid;

    setvbuf(stdout, NULL, _IONBF, 0);
    setrlimit(RLIMIT_CORE, &none);
    for (int how = 0; how < 2; how++) {
        for (int sig = 1; sig <= 64; sig++) {
            char what[32];

            if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU || sig == 32 ||
                sig == 33)
                continue;
            snprintf(what, sizeof(what), "%s %d", how ? "sent" : "raised", sig);
            pid = fork();
            if (pid == 0) {
                close(2);
                if (how == 0)
                    kill(getpid(), sig);
                else
                    for (int i = 0; i < 4; i++)
                        usleep(sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH ?
                               1000 : 1000000);
                _exit(7);
            }
            if (how) {
                usleep(1000);
                kill(pid, sig);
            }
            show(pid, what);
        }
    }
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0); /* with a parent in another group: else SIGTSTP would be ignored */
        raise(SIGSTOP);
        for (volatile unsigned long i = 0;; i++)
            ;
    }
    show(pid, "stop");
    kill(pid, SIGCONT);
    show(pid, "cont");
    kill(pid, SIGTSTP);
    show(pid, "tstp");
    kill(pid, SIGCONT);
    show(pid, "cont");
    kill(pid, SIGKILL);
    printf("waitid: %d", waitid(P_PID, (id_t)pid, &si, WEXITED));
    printf(" code %d status %d pid %d signo %d\n", si.si_code, si.si_status, si.si_pid == pid,
           si.si_signo);
    printf("none: %d", waitid(P_ALL, 0, &si, WEXITED));
    printf(" %d\n", errno == ECHILD);
    return 0;
}
