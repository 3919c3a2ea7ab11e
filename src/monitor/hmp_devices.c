#include "monitor/hmp_devices.h"

#include <inttypes.h>
#include <string.h>

#include "hw/bus.h"
#include "machine/devices.h"
#include "machine/vm.h"
#include "object/device.h"
#include "qapi/error.h"
#include "qapi/keyval.h"

/* ---- Coming and going ---- */

static bool print_help(struct hmp *hmp, const char *driver, GError **error)
{
    g_autofree char *text = driver ? device_type_help(driver, error) : device_types_help();

    if (text) {
        hmp_print(hmp, "%s", text);
    }
    return text != NULL;
}

bool hmp_device_add(struct hmp *hmp, struct json_object *args, GError **error)
{
    bool want_help = false;
    g_autoptr(json_object) props =
        keyval_parse(hmp_str(args, "device"), "driver", &want_help, error);

    if (!props) {
        return false;
    }
    return want_help ? print_help(hmp, hmp_str(props, "driver"), error)
                     : vm_add_device(hmp->context.vm, props, true, error);
}

static bool add_name(struct object *obj, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(obj->name));
    return true;
}

void hmp_complete_device(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    struct object *folder = object_resolve(hmp->context.root, "/machine/peripheral", NULL, NULL);

    if (n == 0 && folder) {
        object_foreach_child(folder, add_name, candidates);
    }
}

void hmp_complete_device_type(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    g_autoptr(GPtrArray) types = object_type_list("device", false);

    for (guint i = 0; n == 0 && i < types->len; i++) {
        const struct object_type *type = types->pdata[i];

        if (vm_device_is_pluggable(type)) {
            g_ptr_array_add(candidates, g_strdup(type->name));
        }
    }
}

/* ---- info pci ---- */

static void show_id(struct hmp *hmp, struct json_object *dev)
{
    struct json_object *id, *class;

    json_object_object_get_ex(dev, "id", &id);
    json_object_object_get_ex(dev, "class_info", &class);
    if (hmp_str(class, "desc")) {
        hmp_print(hmp, "    %s", hmp_str(class, "desc"));
    } else {
        hmp_print(hmp, "    Class %04" PRId64, hmp_int(class, "class"));
    }
    hmp_print(hmp, ": PCI device %04" PRIx64 ":%04" PRIx64 "\n", hmp_int(id, "vendor"),
              hmp_int(id, "device"));
    if (json_object_object_get_ex(id, "subsystem", NULL)) {
        hmp_print(hmp, "      PCI subsystem %04" PRIx64 ":%04" PRIx64 "\n",
                  hmp_int(id, "subsystem-vendor"), hmp_int(id, "subsystem"));
    }
}

static void show_window(struct hmp *hmp, struct json_object *bus, const char *name,
                        const char *title, int digits)
{
    struct json_object *range;

    json_object_object_get_ex(bus, name, &range);
    hmp_print(hmp, "      %s range [0x%0*" PRIx64 ", 0x%0*" PRIx64 "]\n", title, digits,
              hmp_int(range, "base"), digits, hmp_int(range, "limit"));
}

static void show_buses(struct hmp *hmp, struct json_object *bridge)
{
    struct json_object *bus;

    json_object_object_get_ex(bridge, "bus", &bus);
    hmp_print(hmp,
              "      BUS %" PRId64 ".\n      secondary bus %" PRId64
              ".\n      subordinate bus %" PRId64 ".\n",
              hmp_int(bus, "number"), hmp_int(bus, "secondary"), hmp_int(bus, "subordinate"));
    show_window(hmp, bus, "io_range", "IO", 4);
    show_window(hmp, bus, "memory_range", "memory", 8);
    show_window(hmp, bus, "prefetchable_range", "prefetchable memory", 8);
}

static void show_bar(struct hmp *hmp, struct json_object *bar)
{
    int64_t address = hmp_int(bar, "address");
    int64_t last = address + hmp_int(bar, "size") - 1;
    bool io = g_str_equal(hmp_str(bar, "type"), "io");

    hmp_print(hmp, "      BAR%" PRId64 ": ", hmp_int(bar, "bar"));
    if (io) {
        hmp_print(hmp, "I/O");
    } else {
        hmp_print(hmp, "%d bit%s memory", hmp_bool(bar, "mem_type_64") ? 64 : 32,
                  hmp_bool(bar, "prefetch") ? " prefetchable" : "");
    }
    if (address == -1) {
        hmp_print(hmp, " (not mapped)\n");
    } else {
        int digits = io ? 4 : 8;

        hmp_print(hmp, " at 0x%0*" PRIx64 " [0x%0*" PRIx64 "]\n", digits, address, digits, last);
    }
}

static void show_devices(struct hmp *hmp, struct json_object *list);

static void show_pci_device(struct hmp *hmp, struct json_object *dev)
{
    struct json_object *bridge, *bars, *below;

    hmp_print(hmp, "  Bus %2" PRId64 ", device %3" PRId64 ", function %" PRId64 ":\n",
              hmp_int(dev, "bus"), hmp_int(dev, "slot"), hmp_int(dev, "function"));
    show_id(hmp, dev);
    if (hmp_int(dev, "irq_pin")) {
        hmp_print(hmp, "      IRQ %" PRId64 ", pin %c\n", hmp_int(dev, "irq"),
                  (char)('A' + hmp_int(dev, "irq_pin") - 1));
    }
    if (json_object_object_get_ex(dev, "pci_bridge", &bridge)) {
        show_buses(hmp, bridge);
    }
    json_object_object_get_ex(dev, "regions", &bars);
    for (size_t i = 0; i < json_object_array_length(bars); i++) {
        show_bar(hmp, json_object_array_get_idx(bars, i));
    }
    hmp_print(hmp, "      id \"%s\"\n", hmp_str(dev, "qdev_id"));
    if (bridge && json_object_object_get_ex(bridge, "devices", &below)) {
        show_devices(hmp, below);
    }
}

static void show_devices(struct hmp *hmp, struct json_object *list)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        show_pci_device(hmp, json_object_array_get_idx(list, i));
    }
}

bool hmp_info_pci(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) buses = NULL;

    if (!hmp_call(hmp, "query-pci", NULL, &buses, error)) {
        return false;
    }
    if (!json_object_array_length(buses)) {
        hmp_print(hmp, "No PCI buses\n");
    }
    for (size_t i = 0; i < json_object_array_length(buses); i++) {
        struct json_object *devices;

        json_object_object_get_ex(json_object_array_get_idx(buses, i), "devices", &devices);
        show_devices(hmp, devices);
    }
    return true;
}

/* ---- info qtree ---- */

struct qtree {
    struct hmp *hmp;
    int indent;
};

static void show_properties(struct qtree *t, struct object *obj)
{
    g_autoptr(GPtrArray) props = device_type_properties(obj->type);

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = props->pdata[i];
        g_autoptr(json_object) value = NULL;
        g_autofree char *text = NULL;

        if (!property_is_settable(prop) || prop->flags & PROPERTY_WRITE_ONLY) {
            continue;
        }
        value = object_get(obj, prop->name, NULL);
        text = value ? json_print(value, false) : NULL;
        if (text) {
            hmp_print(t->hmp, "%*s%s = %s\n", t->indent, "", prop->name, text);
        }
    }
}

static bool show_buses_of(struct object *obj, void *opaque);

static void show_device(struct qtree *t, struct object *obj)
{
    const char *id = device_id(obj);
    struct qtree below = {t->hmp, t->indent + 2};

    hmp_print(t->hmp, "%*sdev: %s, id \"%s\"\n", t->indent, "", obj->type->name,
              id ? id : "");
    show_properties(&below, obj);
    object_foreach_child(obj, show_buses_of, &below);
}

/* Buses and devices that a device has. */
static bool show_buses_of(struct object *obj, void *opaque)
{
    struct qtree *t = opaque;

    if (object_is(obj, "bus")) {
        const struct bus *bus = (const struct bus *)obj;
        struct qtree below = {t->hmp, t->indent + 2};

        hmp_print(t->hmp, "%*sbus: %s\n%*stype %s\n", t->indent, "", obj->name, below.indent, "",
                  obj->type->name);
        for (guint i = bus->devices->len; i-- > 0;) {
            show_device(&below, bus->devices->pdata[i]);
        }
    } else if (object_is(obj, "device") && !((struct device *)obj)->parent_bus) {
        show_device(t, obj);
    }
    return true;
}

bool hmp_info_qtree(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct object *machine = object_resolve(hmp->context.root, "/machine", NULL, NULL);
    struct qtree t = {hmp, 2};

    hmp_print(hmp, "bus: main-system-bus\n  type System\n");
    if (machine) {
        object_foreach_child(machine, show_buses_of, &t);
    }
    return true;
}
