/*
 * The firmware configuration device: items that a board leaves for firmware and kernels, by number
 * or by name, read through a register or by DMA. Format: QEMU's docs/specs/fw_cfg.
 *
 * Type "fw_cfg_mem": property x-file-slots. Regions: 0 data (at the device's address), 1 control
 * (+8), 2 DMA (+16). Items are added before the machine runs, by the main thread.
 */
#ifndef NANDU_HW_NVRAM_FW_CFG_H
#define NANDU_HW_NVRAM_FW_CFG_H

#include "hw/mmio_device.h"

enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
};

enum { FW_CFG_FILE_NAME_SIZE = 56 };    /* bytes, with the terminating 0 */

/* An item by number; one that is there already is replaced. Takes a reference of data. */
void fw_cfg_add(struct mmio_device *dev, uint16_t key, GBytes *data);
/* The same with a little-endian integer of size bytes, and with a text and its terminating 0. */
void fw_cfg_add_integer(struct mmio_device *dev, uint16_t key, uint64_t value, unsigned size);
void fw_cfg_add_text(struct mmio_device *dev, uint16_t key, const char *text);
/* False and *error: the name is too long or taken, or there are too many. */
bool fw_cfg_add_file(struct mmio_device *dev, const char *name, GBytes *data, GError **error);
/*
 * A file that the guest may write, by DMA: data, of size bytes, is the caller's, who also saves it;
 * written (may be NULL) is called after each write, with the device's lock held.
 */
bool fw_cfg_add_writable_file(struct mmio_device *dev, const char *name, void *data, uint32_t size,
                              void (*written)(void *opaque), void *opaque, GError **error);

#endif
