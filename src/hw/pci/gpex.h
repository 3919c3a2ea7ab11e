/* gpex-pcihost: a host bridge of PCI Express with nothing but an ECAM and windows. */
#ifndef NANDU_HW_PCI_GPEX_H
#define NANDU_HW_PCI_GPEX_H

/* Its regions: the ECAM, and the windows of 32-bit memory, ports, and 64-bit memory. Its outputs:
 * the four interrupts of the root bus, pin A of slot 0 first. */
enum { GPEX_ECAM, GPEX_LOW, GPEX_PORTS, GPEX_HIGH };

#endif
