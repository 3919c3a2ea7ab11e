/* nandu-system-ARCH: one virtual machine. */
#ifndef NANDU_CLI_SYSTEM_MAIN_H
#define NANDU_CLI_SYSTEM_MAIN_H

/* argv[0] is the name that messages begin with. Returns the exit status. */
int system_main(const char *arch, int argc, char **argv);

#endif
