#include "hw/pci/pcie.h"

uint8_t *pcie_add_capability(struct pci_device *dev, enum pcie_kind kind)
{
    uint8_t *p = pci_add_capability(dev, PCI_CAP_EXPRESS, PCIE_CAPABILITY_SIZE);
    uint32_t at = (uint32_t)(p - dev->config);
    bool port = kind == PCIE_ROOT_PORT;
    /* An endpoint is as slow as the first generation was: nobody waits for its link. */
    uint16_t speed = port ? PCIE_SPEED_16 : PCIE_SPEED_2_5, width = port ? 32 : 1;

    pci_put16(p + PCIE_FLAGS, (uint16_t)(PCIE_VERSION_2 | kind << PCIE_FLAGS_KIND_SHIFT));
    pci_put32(p + PCIE_DEVICE_CAP, PCIE_DEVICE_CAP_ROLE_ERRORS);
    pci_set_writable(dev, at + PCIE_DEVICE_CONTROL, PCIE_DEVICE_CONTROL_WRITABLE);
    pci_put32(p + PCIE_LINK_CAP, speed | (uint32_t)width << PCIE_LINK_WIDTH_SHIFT);
    pci_set_writable(dev, at + PCIE_LINK_CONTROL,
                     PCIE_LINK_CONTROL_WRITABLE | (port ? PCIE_LINK_DISABLE : 0));
    pci_put16(p + PCIE_LINK_STATUS, (uint16_t)(speed | width << PCIE_LINK_WIDTH_SHIFT));
    pci_put32(p + PCIE_LINK_CAP_2, (2u << speed) - 2);      /* a bit for each speed, from bit 1 */
    pci_put16(p + PCIE_LINK_CONTROL_2, speed);
    pci_set_writable(dev, at + PCIE_LINK_CONTROL_2, 0xf);
    return p;
}
