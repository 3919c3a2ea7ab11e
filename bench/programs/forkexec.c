/*
 * Starts a program N times, one after the other, by fork and exec, and waits for each.
 *
 *   forkexec N PROGRAM ARGUMENTS...     (with an emulator and its options in front, if need be)
 *   forkexec child                      what is started: ends with status 7
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        return 7;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: forkexec N PROGRAM ARGUMENTS...\n");
        return 2;
    }
    int n = atoi(argv[1]), good = 0;
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            return 1;
        }
        if (pid == 0) {
            execv(argv[2], argv + 2);
            perror(argv[2]);
            _exit(127);
        }
        int status;
        if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7) {
            good++;
        }
    }
    printf("%d of %d\n", good, n);
    return good != n;
}
