/*
 * The images that are mapped for the guest as its vDSO. They are built from the guest's own
 * assembler source (riscv64.S) when Nandu is built, and embedded.
 */
#ifndef NANDU_LINUX_USER_VDSO_H
#define NANDU_LINUX_USER_VDSO_H

#include <stdalign.h>
#include <stdint.h>

/* One page; embed.py fails if the image doesn't fit. */
enum { LU_VDSO_RISCV64_SIZE = 4096 };

extern alignas(64) const uint8_t lu_vdso_riscv64[LU_VDSO_RISCV64_SIZE];

#endif
