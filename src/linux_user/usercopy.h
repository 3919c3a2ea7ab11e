/*
 * Copying to and from memory that may be unmapped at any time: a fault in the copy makes it return
 * -EFAULT. The SIGSEGV and SIGBUS handlers must ask lu_usercopy_fault first.
 */
#ifndef NANDU_LINUX_USER_USERCOPY_H
#define NANDU_LINUX_USER_USERCOPY_H

#include <stdbool.h>
#include <stddef.h>

/* 0, or -EFAULT if a byte of either could not be accessed; then some bytes may have been copied. */
int lu_usercopy(void *to, const void *from, size_t size);

/* If the host pc of [ucontext] is in lu_usercopy: changes it so that the copy returns -EFAULT, and
 * returns true. Async-signal-safe. */
bool lu_usercopy_fault(void *ucontext);

#endif
