#include "machine/boot_order.h"

#include "hw/pci/pci.h"
#include "machine/vm.h"

struct entry {
    int64_t index;
    char *path;
};

struct search {
    const char *host_bridge;
    GArray *entries; /* struct entry */
};

/* By the class of the PCI device: the unit, and what is booted in it. */
static void append_unit(GString *path, const struct pci_device *dev)
{
    unsigned slot = dev->devfn >> 3, function = dev->devfn & 7;
    unsigned class_code =
        ((const struct pci_class *)object_class_data(&dev->device.object))->class_code;
    const char *name = class_code == 0x0100   ? "scsi"
                       : class_code == 0x0200 ? "ethernet"
                       : class_code == 0x0604 ? "pci-bridge"
                                              : "pci";

    g_string_append_printf(path, "/%s@%x", name, slot);
    if (function) {
        g_string_append_printf(path, ",%x", function);
    }
    if (class_code == 0x0100) {
        g_string_append(path, "/disk@0,0");
    } else if (class_code == 0x0200) {
        g_string_append(path, "/ethernet-phy@0");
    }
}

static void append_path(GString *path, const struct pci_device *dev)
{
    if (dev->bus && dev->bus->bridge) {
        append_path(path, dev->bus->bridge);
    }
    append_unit(path, dev);
}

static bool look_at(struct object *obj, void *opaque)
{
    struct search *search = opaque;
    json_object *value = NULL;

    if (object_type_is(obj->type, "pci-device") && object_type_property(obj->type, "bootindex")) {
        value = object_get(obj, "bootindex", NULL);
    }
    if (value && json_object_get_int64(value) >= 0) {
        GString *path = g_string_new(search->host_bridge);
        struct entry entry = {.index = json_object_get_int64(value)};

        append_path(path, (struct pci_device *)obj);
        entry.path = g_string_free(path, FALSE);
        g_array_append_val(search->entries, entry);
    }
    json_object_put(value);
    return true;
}

static gint by_index(gconstpointer a, gconstpointer b)
{
    const struct entry *x = a, *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static void clear_entry(gpointer data)
{
    g_free(((struct entry *)data)->path);
}

GBytes *boot_order_new(struct vm *vm, const char *host_bridge)
{
    static const char *const folders[] = {"/machine/peripheral", "/machine/peripheral-anon"};
    struct search search = {host_bridge, g_array_new(FALSE, FALSE, sizeof(struct entry))};
    g_autoptr(GString) list = g_string_new(NULL);

    g_array_set_clear_func(search.entries, clear_entry);
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        object_foreach_child(object_container(vm->root, folders[i]), look_at, &search);
    }
    g_array_sort(search.entries, by_index);
    for (guint i = 0; i < search.entries->len; i++) {
        g_string_append_printf(list, "%s%s", list->len ? "\n" : "",
                               g_array_index(search.entries, struct entry, i).path);
    }
    g_array_unref(search.entries);
    if (vm->boot && vm->boot->has_strict && vm->boot->strict) {
        g_string_append_printf(list, "%sHALT", list->len ? "\n" : "");
    }
    return list->len ? g_bytes_new(list->str, list->len + 1) : NULL;
}
