/*
 * What RISC-V boards have in common: harts, memory with a boot ROM, the ACLINT's clock, loading,
 * the device tree's nodes of those. A board says the rest in a struct riscv_board_info.
 */
#ifndef NANDU_MACHINE_RISCV_BOARD_H
#define NANDU_MACHINE_RISCV_BOARD_H

#include "accel/accel.h"
#include "guest/riscv/riscv_system.h"
#include "hw/mmio_device.h"
#include "machine/fdt.h"
#include "machine/loader.h"
#include "machine/machine.h"
#include "machine/vm.h"

struct riscv_board;

struct riscv_board_info {
    const char *ram_name, *rom_name;
    uint64_t rom_base, rom_size; /* where harts begin after a reset */
    uint64_t ram_base;
    uint64_t max_ram_size; /* bytes */
    uint64_t clint_base;   /* of a CLINT: software interrupts, then timers */
    /* Where flash has code that takes the kernel's place, or with no firmware its; 0: there is
     * none. May be NULL. */
    uint64_t (*flash_code)(const struct riscv_board *board);
    /* All other devices; the harts and the clock are there. What is loaded is known. */
    bool (*make_devices)(struct riscv_board *board, GError **error);
    /* The devices of the user's are there as well. May be NULL. */
    bool (*ready)(struct riscv_board *board, GError **error);
    /* The tree's root and what isn't described here. */
    void (*describe)(struct riscv_board *board);
    /* Symbols that it wants of the firmware and the kernel. */
    const char *const *symbols; /* NULL-terminated; may be NULL */
};

struct riscv_hart_slot {
    struct riscv_board *board;
    struct vcpu *cpu;
    struct timer *timer, *overflow; /* its requests (riscv_system_config) */
};

enum { RISCV_BOARD_MAX_SYMBOLS = 4 };

struct riscv_board {
    struct machine machine;
    const struct riscv_board_info *info;
    struct vm *vm;
    struct hw_context hw;
    struct region system; /* the root of memory */
    struct region ram_region, rom_region;
    struct ram_block *ram, *rom;
    struct riscv_model *model;
    struct accel *accel;
    unsigned n_harts;
    struct riscv_hart_slot *harts;
    struct mmio_device *mtimer;
    GPtrArray *devices; /* struct mmio_device, borrowed, in the order of making */
    struct loader *loader;
    struct loader_symbol symbols[RISCV_BOARD_MAX_SYMBOLS];
    size_t n_symbols;
    struct fdt *fdt;
    GBytes *dtb;             /* fdt, finished */
    uint32_t *intc_phandles; /* of each hart's interrupt controller */
};

/*
 * A device of the board's, which puts its regions where they belong. properties: "key=value;..." or
 * NULL. NULL and *error.
 */
struct mmio_device *riscv_board_make(struct riscv_board *board, const char *type, const char *name,
                                     const char *properties, GError **error);
/*
 * A device of the board's, at an address: its regions follow each other every step bytes (0: it has
 * one). properties as above. NULL and *error.
 */
struct mmio_device *riscv_board_add(struct riscv_board *board, const char *type, const char *name,
                                    const char *properties, uint64_t address, uint64_t step,
                                    GError **error);
/* A pin of a hart. */
struct irq_line riscv_board_pin(struct riscv_board *board, unsigned hart, enum riscv_irq irq);
/* interrupts-extended of a controller: for each hart these interrupts of its own controller. */
void riscv_board_describe_interrupts(struct riscv_board *board, const char *path,
                                     const uint32_t *irqs, size_t n);
/* The id of the chardev of a serial port; NULL: it goes nowhere. */
const char *riscv_board_serial(const struct riscv_board *board, unsigned port);

/* For the types of boards. */
extern const struct machine_ops riscv_board_ops;
extern const char *const riscv_board_archs[];
/* Members that the boards' struct machine_class and struct riscv_board_info have in common. */
#define RISCV_BOARD_CLASS                                                           \
    .archs = riscv_board_archs, .default_cpu = "rv64-riscv-cpu", .default_cpus = 1, \
    .default_ram_size = 128 << 20, .ops = &riscv_board_ops
#define RISCV_BOARD_PLACES                                                                   \
    .rom_base = 0x1000, .rom_size = 0xf000, .clint_base = 0x2000000, .ram_base = 0x80000000, \
    .max_ram_size = UINT64_C(1) << 40
/* riscv_board_ops.create calls this with the type's own information: set by its init. */
void riscv_board_init(struct object *obj, const struct riscv_board_info *info);

#endif
