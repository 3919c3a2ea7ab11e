/*
 * What gdb knows of a guest architecture: its registers by the numbers of gdb's own target
 * descriptions (GDB manual, G.5 "Standard Target Features").
 */
#ifndef NANDU_DEBUG_GDB_ARCH_H
#define NANDU_DEBUG_GDB_ARCH_H

#include <stddef.h>
#include <stdint.h>

#include "dbt/vcpu.h"

struct gdb_arch {
    const char *name;          /* guest_arch.name */
    unsigned n_regs;           /* register numbers are below this; there are gaps */
    char *(*target_xml)(void); /* g_malloc'ed */
    /* Little-endian value to [buf] (16 bytes); its size, 0 for a gap. The vCPU must not be in
     * translated code. */
    size_t (*read_reg)(const struct vcpu *cpu, unsigned reg, uint8_t *buf);
    /* False if the register can't be written. */
    bool (*write_reg)(struct vcpu *cpu, unsigned reg, const uint8_t *buf);
};

/* By guest_arch.name; NULL: not known. */
const struct gdb_arch *gdb_arch_find(const char *name);

extern const struct gdb_arch gdb_arch_riscv64;

#endif
