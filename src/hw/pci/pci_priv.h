/* What the files of this folder share. The root bus' lock is held, but where it is said. */
#ifndef NANDU_HW_PCI_PCI_PRIV_H
#define NANDU_HW_PCI_PCI_PRIV_H

#include "hw/pci/pci.h"

enum { PCI_ALL_SLOTS = 32 };

/* Makes a bus that bridge has, and that shows its devices in memory and io. */
struct pci_bus *pci_bus_new_secondary(struct pci_device *bridge, const char *name,
                                      struct region *memory, struct region *io, GError **error);
void pci_reset_device(struct pci_device *dev);
void pci_reset_devices_of(struct pci_bus *bus);
/* With irq_lock held, too: what the device drives, or what the guest wrote, has changed. */
void pci_update_intx(struct pci_device *dev);
void pci_update_bars(struct pci_device *dev);

/* MSI-X; irq_lock is held, too. */
void pci_msix_reset(struct pci_device *dev);
/* Sends what waited for its mask to go. */
void pci_msix_flush(struct pci_device *dev);
void pci_msix_free(struct pci_device *dev);

#endif
