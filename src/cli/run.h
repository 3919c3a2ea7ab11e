/* "nandu run": starts a kernel, a disk image or a program with good defaults. */
#ifndef NANDU_CLI_RUN_H
#define NANDU_CLI_RUN_H

/* argv[0] is "run". Returns the exit status, or doesn't return when it becomes another program. */
int run_main(int argc, char **argv);

#endif
