/* MSI-X: PCI Local Bus 3.0, 6.8.2. */
#include "hw/pci/pci_priv.h"

#include <string.h>

enum {
    MSIX_ENTRY = 16,
    MSIX_CONTROL = 2,               /* in the capability */
    MSIX_ENABLE = 0x8000,
    MSIX_MASK_ALL = 0x4000,
    MSIX_VECTOR_CONTROL = 12,       /* in an entry */
    MSIX_VECTOR_MASK = 1,
    MSIX_CAPABILITY_SIZE = 12,
};

static uint16_t msix_control(const struct pci_device *dev)
{
    return (uint16_t)pci_get(dev->config + dev->msix.capability + MSIX_CONTROL, 2);
}

bool pci_msix_enabled(struct pci_device *dev)
{
    bool enabled = false;

    if (dev->msix.n_vectors) {
        g_mutex_lock(&dev->bus->root->irq_lock);
        enabled = msix_control(dev) & MSIX_ENABLE;
        g_mutex_unlock(&dev->bus->root->irq_lock);
    }
    return enabled;
}

static uint16_t requester_id(const struct pci_device *dev)
{
    const struct pci_device *bridge = dev->bus->bridge;

    return (uint16_t)((bridge ? bridge->config[PCI_SECONDARY_BUS] << 8 : 0) | dev->devfn);
}

/* Into memory only: a message to registers, which the guest could choose, would come back to
 * locks that are held here. No interrupt controller takes messages yet. */
static void send_message(struct pci_device *dev, uint32_t vector)
{
    const uint8_t *entry = dev->msix.table + MSIX_ENTRY * vector;
    uint64_t address = pci_get(entry, 4) | (uint64_t)pci_get(entry + 4, 4) << 32;
    struct memory_attrs attrs = {.requester = requester_id(dev), .memory_only = true};

    address_space_write(dev->hw->memory, address, entry + 8, 4, attrs);
}

void pci_msix_flush(struct pci_device *dev)
{
    struct pci_msix *msix = &dev->msix;

    if (!msix->n_vectors || (msix_control(dev) & (MSIX_ENABLE | MSIX_MASK_ALL)) != MSIX_ENABLE) {
        return;
    }
    for (uint32_t i = 0; i < msix->n_vectors; i++) {
        uint8_t bit = (uint8_t)(1 << i % 8);

        if (msix->pending[i / 8] & bit &&
            !(msix->table[MSIX_ENTRY * i + MSIX_VECTOR_CONTROL] & MSIX_VECTOR_MASK)) {
            msix->pending[i / 8] &= (uint8_t)~bit;
            send_message(dev, i);
        }
    }
}

void pci_msix_notify(struct pci_device *dev, uint32_t vector)
{
    if (vector < dev->msix.n_vectors) {
        g_mutex_lock(&dev->bus->root->irq_lock);
        if (msix_control(dev) & MSIX_ENABLE) {
            dev->msix.pending[vector / 8] |= (uint8_t)(1 << vector % 8);
            pci_msix_flush(dev);
        }
        g_mutex_unlock(&dev->bus->root->irq_lock);
    }
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *dev = opaque;
    uint32_t value;

    g_mutex_lock(&dev->bus->root->irq_lock);
    value = pci_get(dev->msix.table + offset, size);
    g_mutex_unlock(&dev->bus->root->irq_lock);
    return value;
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *dev = opaque;

    if (offset % MSIX_ENTRY == MSIX_VECTOR_CONTROL) {
        value &= MSIX_VECTOR_MASK;
    } else if (offset % MSIX_ENTRY == 0) {
        value &= ~3ull;
    }
    g_mutex_lock(&dev->bus->root->irq_lock);
    pci_put32(dev->msix.table + offset, (uint32_t)value);
    pci_msix_flush(dev);
    g_mutex_unlock(&dev->bus->root->irq_lock);
}

static uint64_t pba_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *dev = opaque;
    uint32_t value;

    g_mutex_lock(&dev->bus->root->irq_lock);
    value = pci_get(dev->msix.pending + offset, size);
    g_mutex_unlock(&dev->bus->root->irq_lock);
    return value;
}

static void pba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct region_ops table_ops = {
    .read_simple = table_read, .write_simple = table_write,
    .min_size = 4, .max_size = 8, .impl_min = 4, .impl_max = 4,
};

static const struct region_ops pba_ops = {
    .read_simple = pba_read, .write_simple = pba_write,
    .min_size = 4, .max_size = 8, .impl_min = 4, .impl_max = 4,
};

void pci_add_msix(struct pci_device *dev, unsigned bar, uint32_t n)
{
    struct pci_msix *msix = &dev->msix;
    uint32_t half = 2048;
    uint8_t *p = pci_add_capability(dev, PCI_CAP_MSIX, MSIX_CAPABILITY_SIZE);

    g_assert(n >= 1 && n <= 2048);
    while (half < n * MSIX_ENTRY) {
        half *= 2;
    }
    msix->n_vectors = n;
    msix->capability = (uint16_t)(p - dev->config);
    msix->table_size = n * MSIX_ENTRY;
    msix->pba_size = (n + 63) / 64 * 8;
    msix->table = g_malloc0(msix->table_size);
    msix->pending = g_malloc0(msix->pba_size);
    pci_put16(p + MSIX_CONTROL, (uint16_t)(n - 1));
    pci_put32(p + 4, bar);
    pci_put32(p + 8, half | bar);
    pci_set_writable(dev, msix->capability, (uint32_t)(MSIX_ENABLE | MSIX_MASK_ALL) << 16);
    region_init_container(&msix->bar, "msix", 2 * half);
    region_init_mmio(&msix->table_region, "msix-table", &table_ops, dev, msix->table_size, NULL);
    region_init_mmio(&msix->pba_region, "msix-pba", &pba_ops, dev, msix->pba_size, NULL);
    region_add(&msix->bar, 0, &msix->table_region, 0);
    region_add(&msix->bar, half, &msix->pba_region, 0);
    pci_add_bar(dev, bar, 0, &msix->bar, 2 * half);
}

void pci_msix_free(struct pci_device *dev)
{
    struct pci_msix *msix = &dev->msix;

    if (msix->n_vectors) {
        region_remove(&msix->table_region);
        region_remove(&msix->pba_region);
        region_clear(&msix->table_region);
        region_clear(&msix->pba_region);
        region_clear(&msix->bar);
    }
    g_free(msix->table);
    g_free(msix->pending);
}

void pci_msix_reset(struct pci_device *dev)
{
    struct pci_msix *msix = &dev->msix;

    for (uint32_t i = 0; i < msix->n_vectors; i++) {
        memset(msix->table + MSIX_ENTRY * i, 0, MSIX_ENTRY);
        msix->table[MSIX_ENTRY * i + MSIX_VECTOR_CONTROL] = MSIX_VECTOR_MASK;
    }
    if (msix->n_vectors) {
        memset(msix->pending, 0, msix->pba_size);
    }
}
