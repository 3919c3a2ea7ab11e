/*
 * How a RISC-V board starts: a boot ROM passes each hart to the firmware, the firmware by the
 * information of OpenSBI's dynamic firmware to the kernel, with the device tree in a1 and the
 * hart's number in a0.
 */
#ifndef NANDU_MACHINE_RISCV_BOOT_H
#define NANDU_MACHINE_RISCV_BOOT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct mmio_device;
struct riscv_board;

struct riscv_boot {
    uint64_t start;                 /* where the boot ROM jumps to */
    uint64_t kernel_entry;          /* 0: none */
    uint64_t initrd_start, initrd_end;
};

/* In place of loading -kernel, -initrd and -append: firmware in flash asks fw_cfg for them. */
bool riscv_boot_offer_kernel(struct riscv_board *board, struct mmio_device *fw_cfg, GError **error);
/* Takes what -bios, -kernel and -initrd name into the board's loader. */
bool riscv_boot_load(struct riscv_board *board, struct riscv_boot *boot, GError **error);
/* The board's tree is there: adds what was loaded to it, finishes it, and fills the boot ROM. */
bool riscv_boot_finish(struct riscv_board *board, const struct riscv_boot *boot, GError **error);

#endif
