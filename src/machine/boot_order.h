/* What firmware is told about the order of booting. */
#ifndef NANDU_MACHINE_BOOT_ORDER_H
#define NANDU_MACHINE_BOOT_ORDER_H

#include <glib.h>

struct vm;

/*
 * The content of fw_cfg's file "bootorder": a line for each device with a bootindex, in that order,
 * as an Open Firmware path below host_bridge ("/pci@30000000"), then "HALT" if -boot strict=on.
 * NULL: there is nothing to say. Main thread; the devices are there.
 */
GBytes *boot_order_new(struct vm *vm, const char *host_bridge);

#endif
