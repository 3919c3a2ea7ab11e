/* Interrupt lines: a device raises and lowers one; who is at its other end takes the level. */
#ifndef NANDU_HW_IRQ_H
#define NANDU_HW_IRQ_H

#include <stdbool.h>

/* Part of the receiver's wiring; copied into the device. fn NULL: not connected. fn may be called
 * from any thread, with the sending device's lock held: interrupt controllers are leaves of the
 * lock order. */
struct irq_line {
    void (*fn)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->fn) {
        line->fn(line->opaque, line->n, level);
    }
}

static inline void irq_pulse(const struct irq_line *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

#endif
