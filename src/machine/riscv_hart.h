/* The harts of a RISC-V board in the object tree: SOC/harts[N], by which they are saved, too. */
#ifndef NANDU_MACHINE_RISCV_HART_H
#define NANDU_MACHINE_RISCV_HART_H

#include "object/object.h"

struct vcpu;

/* "harts[N]"; caller frees. */
char *riscv_hart_name(unsigned n);
/* The object "soc0" with n of them below parent, not connected yet. NULL and *error. Borrowed. */
struct object *riscv_harts_new(struct object *parent, unsigned n, GError **error);
/* Which vCPU it stands for; that lives as long as the machine runs or is saved. */
void riscv_hart_connect(struct object *harts, unsigned n, struct vcpu *cpu);

#endif
