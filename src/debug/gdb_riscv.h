/*
 * RISC-V registers as gdb numbers them (GDB manual, G.5.11): what user mode and machines have in
 * common.
 */
#ifndef NANDU_DEBUG_GDB_RISCV_H
#define NANDU_DEBUG_GDB_RISCV_H

#include <glib.h>

#include "debug/gdb_arch.h"

enum {
    GDB_RISCV_PC = 32,
    GDB_RISCV_F0 = 33,
    GDB_RISCV_CSR0 = 65, /* CSR n is this + n */
    GDB_RISCV_FFLAGS = GDB_RISCV_CSR0 + 1,
    GDB_RISCV_FCSR = GDB_RISCV_CSR0 + 3,
    GDB_RISCV_PRIV = GDB_RISCV_CSR0 + 4096,
};

/* A description up to its floating-point registers; more features and "</target>" may follow. */
GString *gdb_riscv_xml(const char *osabi);
/* As gdb_arch's: x, pc, f, fflags, frm, fcsr. */
size_t gdb_riscv_read(struct vcpu *cpu, unsigned reg, uint8_t *buf);
bool gdb_riscv_write(struct vcpu *cpu, unsigned reg, const uint8_t *buf);

#endif
