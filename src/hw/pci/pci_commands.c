/* query-pci. */
#include "hw/pci/pci_bridge.h"
#include "qapi/qapi_commands.h"

/* What people call the classes of the devices that machines have. */
static const struct {
    uint16_t class_code;
    const char *text;
} class_names[] = {
    {0x0001, "VGA controller"},     {0x0100, "SCSI controller"},   {0x0101, "IDE controller"},
    {0x0106, "SATA controller"},    {0x0200, "Ethernet controller"}, {0x0280, "Network controller"},
    {0x0300, "VGA controller"},     {0x0380, "Display controller"}, {0x0401, "Audio controller"},
    {0x0403, "Audio controller"},   {0x0500, "RAM controller"},    {0x0600, "Host bridge"},
    {0x0601, "ISA bridge"},         {0x0604, "PCI bridge"},        {0x0700, "Serial port"},
    {0x0900, "Keyboard"},           {0x0902, "Mouse"},             {0x0c03, "USB controller"},
    {0x0c05, "SMBus"},
};

static const char *class_name(uint16_t class_code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(class_names); i++) {
        if (class_names[i].class_code == class_code) {
            return class_names[i].text;
        }
    }
    return NULL;
}

static struct qapi_pci_device_class *describe_class(const struct pci_device *dev)
{
    struct qapi_pci_device_class *info = g_new0(struct qapi_pci_device_class, 1);

    info->class = pci_get(dev->config + PCI_CLASS, 2);
    info->desc = g_strdup(class_name((uint16_t)info->class));
    return info;
}

static struct qapi_pci_device_id *describe_id(const struct pci_device *dev)
{
    struct qapi_pci_device_id *id = g_new0(struct qapi_pci_device_id, 1);

    id->vendor = pci_get(dev->config + PCI_VENDOR_ID, 2);
    id->device = pci_get(dev->config + PCI_DEVICE_ID, 2);
    if (!dev->secondary) {
        id->has_subsystem = id->has_subsystem_vendor = true;
        id->subsystem = pci_get(dev->config + PCI_SUBSYSTEM_ID, 2);
        id->subsystem_vendor = pci_get(dev->config + PCI_SUBSYSTEM_VENDOR_ID, 2);
    }
    return id;
}

static void describe_bars(const struct pci_device *dev, struct qapi_pci_memory_region_list *list)
{
    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        const struct pci_bar *bar = &dev->bars[i];
        bool io = bar->kind & PCI_BAR_IO;
        struct qapi_pci_memory_region *info;

        if (!bar->region) {
            continue;
        }
        info = qapi_list_append(&qapi_type_pci_memory_region_list, list);
        info->bar = i;
        info->type = g_strdup(io ? "io" : "memory");
        info->address = bar->mapped ? (int64_t)bar->address : -1;
        info->size = (int64_t)bar->size;
        info->has_prefetch = info->has_mem_type_64 = !io;
        info->prefetch = bar->kind & PCI_BAR_PREFETCH;
        info->mem_type_64 = bar->kind & PCI_BAR_64;
    }
}

static void describe_bus(const struct pci_bus *bus, int number,
                         struct qapi_pci_device_info_list *list);

static struct qapi_pci_memory_range *describe_window(const struct pci_device *dev,
                                                     enum pci_window_kind kind)
{
    struct qapi_pci_memory_range *range = g_new0(struct qapi_pci_memory_range, 1);
    uint64_t base, limit;

    pci_bridge_window(dev, kind, &base, &limit);
    range->base = (int64_t)base;
    range->limit = (int64_t)limit;
    return range;
}

static struct qapi_pci_bridge_info *describe_bridge(const struct pci_device *dev)
{
    struct qapi_pci_bridge_info *info = g_new0(struct qapi_pci_bridge_info, 1);

    info->bus = g_new0(struct qapi_pci_bus_info, 1);
    info->bus->number = dev->config[PCI_PRIMARY_BUS];
    info->bus->secondary = dev->config[PCI_SECONDARY_BUS];
    info->bus->subordinate = dev->config[PCI_SUBORDINATE_BUS];
    info->bus->io_range = describe_window(dev, PCI_WINDOW_IO);
    info->bus->memory_range = describe_window(dev, PCI_WINDOW_MEMORY);
    info->bus->prefetchable_range = describe_window(dev, PCI_WINDOW_PREFETCH);
    info->has_devices = info->bus->secondary != 0;
    if (info->has_devices) {
        describe_bus(dev->secondary, (int)info->bus->secondary, &info->devices);
    }
    return info;
}

static void describe_device(const struct pci_device *dev, int number,
                            struct qapi_pci_device_info *info)
{
    const char *id = device_id(&dev->device.object);

    info->bus = number;
    info->slot = dev->devfn >> 3;
    info->function = dev->devfn & 7;
    info->class_info = describe_class(dev);
    info->id = describe_id(dev);
    info->irq_pin = dev->config[PCI_INTERRUPT_PIN];
    info->has_irq = info->irq_pin != 0;
    info->irq = dev->config[PCI_INTERRUPT_LINE];
    info->qdev_id = g_strdup(id ? id : "");
    describe_bars(dev, &info->regions);
    if (dev->secondary) {
        info->pci_bridge = describe_bridge(dev);
    }
}

static void describe_bus(const struct pci_bus *bus, int number,
                         struct qapi_pci_device_info_list *list)
{
    for (unsigned i = 0; i < PCI_N_DEVFN; i++) {
        if (bus->devices[i]) {
            describe_device(bus->devices[i], number,
                            qapi_list_append(&qapi_type_pci_device_info_list, list));
        }
    }
}

static bool visit(struct object *obj, void *opaque)
{
    struct pci_bus *bus = object_is(obj, "PCI") ? (struct pci_bus *)obj : NULL;

    if (bus && bus->root == bus) {
        struct qapi_pci_info *info = qapi_list_append(&qapi_type_pci_info_list, opaque);

        g_mutex_lock(&bus->lock);
        describe_bus(bus, 0, &info->devices);
        g_mutex_unlock(&bus->lock);
    }
    object_foreach_child(obj, visit, opaque);
    return true;
}

bool qmp_query_pci(struct qmp_context *ctx, struct qapi_pci_info_list *ret, GError **error)
{
    visit(ctx->root, ret);
    return true;
}
