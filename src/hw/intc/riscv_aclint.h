/*
 * The RISC-V ACLINT (Advanced Core Local Interruptor 1.0): machine timers and software interrupts.
 *
 * Type "riscv.aclint.mtimer": properties num-harts, hartid-base, aperture-size, timecmp-base,
 * time-base (offsets of the registers), timebase-freq (Hz). One region. Output i is MTIP of hart
 * hartid-base + i.
 * Type "riscv.aclint.swi": num-harts, hartid-base, sswi. One region. Output i is MSIP of hart
 * hartid-base + i; with sswi=1 it is SSIP, which a write of 1 raises.
 */
#ifndef NANDU_HW_INTC_RISCV_ACLINT_H
#define NANDU_HW_INTC_RISCV_ACLINT_H

#include "hw/mmio_device.h"

/* The time CSR: mtime now. Any thread, takes no lock; opaque is the struct mmio_device. */
uint64_t riscv_aclint_time(void *opaque);
/* The time of CLOCK_VIRTUAL, in ns, at which mtime reaches a value; not before 0, INT64_MAX if it
 * is further away than that. It moves when a guest writes mtime. Any thread. */
int64_t riscv_aclint_deadline(void *opaque, uint64_t time);
/* Calls fn(opaque) after each write to mtime, with the device's lock held. */
void riscv_aclint_on_change(struct mmio_device *dev, void (*fn)(void *opaque), void *opaque);

#endif
