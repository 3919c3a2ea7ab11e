/* Dies by the signal of its argument; 0: by a bad store. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int sig = argc > 1 ? atoi(argv[1]) : 0;

    if (sig == 0)
        *(volatile char *)0x123 = 1;
    kill(getpid(), sig);
    return 99;
}
