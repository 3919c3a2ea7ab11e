/*
 * The IR interpreter: executes a unit on a vCPU's state. It is the portable fallback and the oracle
 * that the host back ends are compared with; all floating point is done in software (dbt/fp.h).
 */
#ifndef NANDU_DBT_INTERP_H
#define NANDU_DBT_INTERP_H

#include "dbt/ir.h"
#include "dbt/vcpu.h"

/* Called for each guest memory access when not NULL, before it is made. */
struct interp_hooks {
    void (*access)(void *opaque, struct vcpu *cpu, uint64_t addr, unsigned size,
                   enum vcpu_access access);
    void *opaque;
};

/*
 * Execute [u] from its start; guest memory is at host address guest + [guest_base], or behind the
 * guest's MMU if the vCPU has one (mmu.h), and then a fault returns VCPU_EXIT_FAULT. On return
 * cpu->pc is the next guest pc to execute. Returns VCPU_EXIT_NONE when the unit was left by a jump,
 * or the reason of an EXIT, of a helper that set exit_reason, or VCPU_EXIT_FAULT for a misaligned
 * access that must be aligned, or VCPU_EXIT_WORD or VCPU_EXIT_RESTART (section.h), where the access
 * wasn't made. A helper that leaves the unit may set cpu->pc; else it is the pc of
 * its instruction. Needs 64 KiB of stack.
 *
 * A host fault (SIGSEGV) on a guest access arrives in the caller's signal handler; cpu->pc then
 * holds the pc of the current instruction and all registers are exact, since the interpreter keeps
 * pc at INSN and PUTs go straight to the vCPU.
 */
enum vcpu_exit ir_interpret(struct vcpu *cpu, const struct ir_unit *u, uint64_t guest_base,
                            const struct interp_hooks *hooks);

#endif
