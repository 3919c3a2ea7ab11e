/*
 * Parallel NOR flash with Intel's command set (CFI primary command set 1). Type "cfi.pflash01":
 * properties name (of its region and its memory), num-blocks, sector-length, width (of the bank, in
 * bytes), device-width (of a chip), id0, id1 (maker and chip), drive (node that keeps what is in
 * it), read-only. One region; no output.
 */
#ifndef NANDU_HW_BLOCK_PFLASH_CFI01_H
#define NANDU_HW_BLOCK_PFLASH_CFI01_H

#include "hw/mmio_device.h"

/* What is in the flash; borrowed. A board may fill it before the machine runs. Without a drive
 * what a guest writes is lost when the machine ends. */
struct ram_block *pflash_cfi01_memory(struct mmio_device *dev);

#endif
