/*
 * What gdb knows of a guest architecture: its registers by the numbers of gdb's own target
 * descriptions (GDB manual, G.5 "Standard Target Features").
 */
#ifndef NANDU_DEBUG_GDB_ARCH_H
#define NANDU_DEBUG_GDB_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dbt/vcpu.h"

struct gdb_arch {
    const char *name;          /* guest_arch.name */
    unsigned n_regs;           /* register numbers are below this; there are gaps */
    unsigned n_general_regs;   /* those that the packets "g" and "G" have */
    /* g_malloc'ed; cpu is one of the target's, whose registers may depend on the model. NULL: user
     * mode. */
    char *(*target_xml)(const struct vcpu *cpu);
    /* Little-endian value to [buf] (16 bytes); its size, 0 for a gap. The vCPU must not be in
     * translated code. */
    size_t (*read_reg)(struct vcpu *cpu, unsigned reg, uint8_t *buf);
    /* False if the register can't be written. */
    bool (*write_reg)(struct vcpu *cpu, unsigned reg, const uint8_t *buf);
};

/* By guest_arch.name; NULL: not known. */
const struct gdb_arch *gdb_arch_find(const char *name);

extern const struct gdb_arch gdb_arch_riscv64;
/* The hart of a machine: its CSRs and its privilege, too. Not found by name. */
extern const struct gdb_arch gdb_arch_riscv64_system;

#endif
