/*
 * Devices that a board puts at an address: a type that descends from "mmio-device" has one
 * structure, whose first member is struct mmio_device, registers, handlers, and its description in
 * class_data. The core resets, saves and describes it by these tables.
 *
 * Each device has one lock, taken around its register handlers; timers and back ends take it
 * themselves. With it held a device may set its interrupt lines (controllers are leaves of the lock
 * order), and reach guest memory by hw/dma.h, which doesn't wait for another device's lock.
 */
#ifndef NANDU_HW_MMIO_DEVICE_H
#define NANDU_HW_MMIO_DEVICE_H

#include "hw/irq.h"
#include "hw/state.h"
#include "memory/memory.h"
#include "object/device.h"
#include "qapi/qapi_types.h"

struct address_space;
struct block_graph;
struct log;
struct clocks;
struct event_loop;
struct qapi_event_sink;
struct vm;

enum { MMIO_MAX_REGIONS = 4 };

/* What a board hands to its devices before they are completed. Lives as long as they. */
struct hw_context {
    struct event_loop *loop;        /* main */
    struct clocks *clocks;
    struct log *log;
    struct address_space *memory;   /* for DMA */
    uint64_t ram_size;              /* of the machine, bytes */
    unsigned n_cpus;                /* that the machine starts with */
    int64_t date_offset;            /* ns that the clock of the day starts ahead of the host's */
    struct block_graph *blocks;     /* block/block.h; NULL: there is none */
    struct vm *vm;                  /* for vm_ops (machine/vm.h is above) */
    const struct hw_vm_ops *vm_ops;
};

/* What devices ask of the machine. Any thread, a device's lock may be held: it happens later. */
struct hw_vm_ops {
    void (*shutdown)(struct vm *vm, bool failed, int status);
    void (*reset)(struct vm *vm);
    /* A device can't go on until the user has seen to it (enum qapi_run_state). May be NULL. */
    void (*stop)(struct vm *vm, enum qapi_run_state why);
    /* The guest let go of a device: it and what is plugged into it goes (main thread; not from a
     * handler). NULL: hotplug_unplug does. */
    void (*unplug)(struct vm *vm, struct object *device);
    /* The guest refused to. Main thread. May be NULL. */
    void (*unplug_refused)(struct vm *vm, struct object *device);
    /* Where devices' events go; NULL: nobody listens. May be NULL itself. */
    struct qapi_event_sink *(*events)(struct vm *vm);
};

struct mmio_device {
    struct device device;
    GMutex lock;
    const struct hw_context *hw;
    unsigned n_regions;
    struct region regions[MMIO_MAX_REGIONS];    /* made by realize, which counts n_regions */
    struct irq_line *irqs;          /* n_irqs outputs, set by the board */
    unsigned n_irqs;
    uint64_t base;                  /* of region 0, once the board has put it there */
    int64_t log_second;             /* limits mmio_device_guest_error */
    unsigned log_lines;
};

struct mmio_device_class {
    const struct state_table *state;    /* of the structure that begins with struct mmio_device */
    unsigned n_irqs;                /* outputs; 0 with a property that says: realize sets it */
    /* Makes regions (region_init_mmio with &dev->lock) and takes its back ends. */
    bool (*realize)(struct mmio_device *dev, GError **error);
    /* After state_reset, with the lock held. May be NULL. */
    void (*reset)(struct mmio_device *dev);
    /* The machine's time goes on, or stands, from now on (util/clock.h): what a back end wants then
     * waits. Also called once after realize. Main thread, the lock isn't held. May be NULL. */
    void (*run_changed)(struct mmio_device *dev, bool runs);
    /* Undoes realize, which may have failed half-way or not have been called. May be NULL. */
    void (*unrealize)(struct mmio_device *dev);
};

/*
 * Makes a device of this type with properties (JSON, may be NULL), completes it, and puts it into
 * the tree below parent as name, reset. The board connects irqs and adds regions then. NULL and
 * *error. Borrowed: it goes with object_remove, which takes its regions out of the memory.
 */
struct mmio_device *mmio_device_new(const struct hw_context *hw, const char *type,
                                    struct object *parent, const char *name,
                                    json_object *properties, GError **error);
/* regions[i] at this address of the board's memory. */
void mmio_device_map(struct mmio_device *dev, unsigned i, struct region *memory, uint64_t address);
/* Before the machine runs: reset the device afterwards, to have its line at its level. */
void mmio_device_connect(struct mmio_device *dev, unsigned irq, struct irq_line line);

/* These take the device's lock; vCPUs don't run. */
void mmio_device_reset(struct mmio_device *dev);
/* As state_save and state_load; the section's id is the device's path. */
void mmio_device_save(struct mmio_device *dev, GByteArray *out);
bool mmio_device_load(struct mmio_device *dev, const uint8_t *data, size_t size, size_t *position,
                      GError **error);

/*
 * A line of -d guest_errors, "NAME: text", of what a guest did wrong; some in a second, not all.
 * With the lock held.
 */
void mmio_device_guest_error(struct mmio_device *dev, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif
