/*
 * Short names of the argument kinds, for the files that have rows of tables. Included last, since
 * the names are short.
 */
#ifndef NANDU_LINUX_USER_SYSCALL_ARGS_H
#define NANDU_LINUX_USER_SYSCALL_ARGS_H

#include "linux_user/syscall_table.h"

#define INT            {LU_ARG_INT, 0, 0}
#define UINT           {LU_ARG_UINT, 0, 0}
#define LONG           {LU_ARG_LONG, 0, 0}
#define HEX            {LU_ARG_HEX, 0, 0}
#define SIZE           {LU_ARG_SIZE, 0, 0}
#define OCTAL          {LU_ARG_OCTAL, 0, 0}
#define FD             {LU_ARG_FD, 0, 0}
#define DIRFD          {LU_ARG_DIRFD, 0, 0}
#define FLAGS(t)       {LU_ARG_FLAGS, LU_NAMES_##t, 0}
#define ENUM(t)        {LU_ARG_ENUM, LU_NAMES_##t, 0}
#define SIGNAL         {LU_ARG_SIGNAL, 0, 0}
#define DEV            {LU_ARG_DEV, 0, 0}
#define IOCTL          {LU_ARG_IOCTL, 0, 0}
#define NUL            {LU_ARG_NUL, 0, 0}
#define PTR            {LU_ARG_PTR, 0, 0}
#define PATH           {LU_ARG_PATH, 0, 0}
#define PATHX          {LU_ARG_PATHX, 0, 0}
#define STR            {LU_ARG_STR, 0, 0}
#define IN(n)          {LU_ARG_IN, 0, n}
#define OUT(n)         {LU_ARG_OUT, 0, n}
#define INOUT(n)       {LU_ARG_INOUT, 0, n}
#define IN_LEN(i, n)   {LU_ARG_IN_LEN, i, n}
#define OUT_LEN(i, n)  {LU_ARG_OUT_LEN, i, n}
#define RANGE(i)       {LU_ARG_RANGE, i, 1}
#define TIMESPEC       {LU_ARG_TIMESPEC, 0, 16}
#define TIMEVAL        {LU_ARG_TIMEVAL, 0, 16}
#define ITIMERSPEC     {LU_ARG_ITIMERSPEC, 0, 32}
#define SOCKADDR(i)    {LU_ARG_SOCKADDR, i, 1}
#define IOVEC(i)       {LU_ARG_IOVEC, i, 16}
#define SIGSET         {LU_ARG_SIGSET, 0, 8}
#define STRV           {LU_ARG_STRV, 0, 0}

#define N_ARGS(...)    (sizeof((struct lu_arg[]){__VA_ARGS__}) / sizeof(struct lu_arg))

/* Rows of a table of struct lu_subcall: an operation of [call], which may block or not, or is
 * refused with an error. The arguments are all those of the call, the operation's number too. */
#define SUB(number, call, ...)                                                                    \
    {.op = number, .row = {.name = #call, .host_nr = SYS_##call, .n_args = N_ARGS(__VA_ARGS__),   \
                           .args = {__VA_ARGS__}}}
#define SUB_BLOCK(number, call, ...)                                                              \
    {.op = number, .row = {.name = #call, .host_nr = SYS_##call, .blocks = true,                  \
                           .n_args = N_ARGS(__VA_ARGS__), .args = {__VA_ARGS__}}}
#define SUB_ERROR(number, number_of_error) {.op = number, .error = number_of_error}

#endif
