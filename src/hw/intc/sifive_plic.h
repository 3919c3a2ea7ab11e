/*
 * The RISC-V platform-level interrupt controller (PLIC 1.0.0), as SiFive's.
 *
 * Type "riscv.sifive.plic": properties hart-config ("MS,MS": the contexts of each hart, a letter
 * each), hartid-base, num-sources (with the source 0, which is none), num-priorities, and the
 * layout: priority-base, pending-base, enable-base, enable-stride, context-base, context-stride,
 * aperture-size. One region. Output i is the line of context i (of "MS,MS": hart 0's MEIP, its
 * SEIP, hart 1's MEIP, ...).
 */
#ifndef NANDU_HW_INTC_SIFIVE_PLIC_H
#define NANDU_HW_INTC_SIFIVE_PLIC_H

#include "hw/mmio_device.h"

/* The input of a source, 1 to num-sources - 1. */
struct irq_line sifive_plic_input(struct mmio_device *dev, unsigned source);
/* The hart (counted from 0 of this PLIC) of a context, and its mode: 'M', 'S', ... */
unsigned sifive_plic_context(struct mmio_device *dev, unsigned context, char *mode);

#endif
