/* Shared by the system call tests: each prints what calls return, which must be the same natively and
 * under Nandu. Nothing that differs between two runs is printed. */
#ifndef SC_H
#define SC_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Print an expression, its value and the error. */
#define SHOW(expr)                                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long value_ = (long)(expr);                                                                \
        printf("%s = %ld%s%s\n", #expr, value_, value_ == -1 ? " " : "",                           \
               value_ == -1 ? strerrorname_np(errno) : "");                                        \
    } while (0)

/* Print only whether it succeeded: for values that differ. */
#define OK(expr)                                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        int ok_ = (long)(expr) != -1;                                                              \
        printf("%s: %s\n", #expr, ok_ ? "ok" : strerrorname_np(errno));                            \
    } while (0)

/* An address at which nothing is, and one that no process can have. */
static void *volatile nowhere = (void *)16;
static void *volatile kernel_address = (void *)0xffffffff80000000ul;
#define NOWHERE  nowhere
#define KERNEL   kernel_address

#endif
