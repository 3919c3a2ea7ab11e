/*
 * What bridges have in common (PCI-to-PCI Bridge 1.2): a header of type 1, bus numbers, windows
 * through which the devices behind it are seen.
 */
#ifndef NANDU_HW_PCI_PCI_BRIDGE_H
#define NANDU_HW_PCI_PCI_BRIDGE_H

#include "hw/pci/pci.h"

struct pci_window {
    struct region region;           /* in the memory or ports of the bus that the bridge is on */
    bool open;
    uint64_t base, limit;           /* of the first and last byte, if open */
};

enum pci_window_kind { PCI_WINDOW_IO, PCI_WINDOW_MEMORY, PCI_WINDOW_PREFETCH, PCI_N_WINDOWS };

struct pci_bridge {
    struct pci_device dev;
    struct region memory, io;       /* of the bus behind it */
    struct pci_window windows[PCI_N_WINDOWS];
    bool in_reset;                  /* the guest holds that bus in reset */
};

/* For the class's realize, unrealize, reset and config_written. bus_name: NULL: "pcie.N". The
 * bridge has no BARs but 0 and 1. */
bool pci_bridge_realize(struct pci_bridge *bridge, const char *bus_name, GError **error);
void pci_bridge_unrealize(struct pci_bridge *bridge);
void pci_bridge_update(struct pci_bridge *bridge);
/* Where a window is as the guest has set it; false: it is closed. */
bool pci_bridge_window(const struct pci_device *dev, enum pci_window_kind kind, uint64_t *base,
                       uint64_t *limit);

#endif
