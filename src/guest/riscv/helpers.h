/*
 * RISC-V: what translated code calls C for (see crypto.h for cryptography).
 */
#ifndef NANDU_RISCV_HELPERS_H
#define NANDU_RISCV_HELPERS_H

#include "dbt/ir.h"

/* CSR time: 10 MHz, as the timebase that Linux guests are told. */
extern const struct ir_helper riscv_helper_time;
/* CSRs cycle and instret: nanoseconds, as if one instruction took one. Monotonic. */
extern const struct ir_helper riscv_helper_cycle;
/* CSR seed (Zkr): 16 bits of entropy and the status ES16. */
extern const struct ir_helper riscv_helper_seed;
/* amocas.q: a = guest address, which is known to be writable; b = rd, c = rs2. Leaves with
 * VCPU_EXIT_FAULT if the address isn't a multiple of 16. */
extern const struct ir_helper riscv_helper_amocas_q;
/* fcvtmod.w.d: a = the double. */
extern const struct ir_helper riscv_helper_fcvtmod_w_d;

#endif
