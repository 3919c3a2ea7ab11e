#include "machine/devices.h"

#include <string.h>

#include "hw/bus.h"
#include "machine/globals.h"
#include "machine/machine.h"
#include "machine/vm.h"
#include "object/device.h"
#include "qapi/error.h"
#include "qapi/qapi_commands.h"
#include "qapi/qapi_events.h"
#include "util/nearest.h"

static const char *const own_keys[] = {"driver", "id", "bus", NULL};

G_GNUC_PRINTF(2, 3)
static bool fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* What only boards make has no category. */
bool vm_device_is_pluggable(const struct object_type *type)
{
    while (type && !type->category) {
        type = object_type_parent(type);
    }
    return type != NULL;
}

static const char *bus_type_of(const struct object_type *type)
{
    while (type && !type->bus) {
        type = object_type_parent(type);
    }
    return type ? type->bus : NULL;
}

/* ---- What is asked for ---- */

/* A string among props; *value is NULL if it isn't there. */
static bool get_string(json_object *props, const char *name, const char **value, GError **error)
{
    json_object *json;

    *value = NULL;
    if (!json_object_object_get_ex(props, name, &json)) {
        return true;
    }
    if (!json_object_is_type(json, json_type_string)) {
        return fail(error, "Invalid parameter type for '%s', expected: string", name);
    }
    *value = json_object_get_string(json);
    return true;
}

static const char *nearest_driver(const char *driver)
{
    g_autoptr(GPtrArray) types = object_type_list("device", false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = types->pdata[i];

        if (vm_device_is_pluggable(type)) {
            g_ptr_array_add(names, (gpointer)type->name);
        }
    }
    return util_nearest(driver, (const char *const *)names->pdata, names->len);
}

/* The type, or that of its alias: "virtio-net" is "virtio-net-pci". */
static const struct object_type *find_type(const char *driver, GError **error)
{
    const struct object_type *type = object_type_find(driver);
    const char *near;

    if (!type && g_str_has_prefix(driver, "virtio-")) {
        g_autofree char *name = g_strconcat(driver, "-pci", NULL);

        type = object_type_find(name);
    }
    if (!type || !object_type_is(type, "device")) {
        near = nearest_driver(driver);
        fail(error, "'%s' is not a valid device model name%s%s%s", driver,
             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    if (type->abstract) {
        fail(error, "Parameter 'driver' expects a non-abstract device type");
        return NULL;
    }
    if (!vm_device_is_pluggable(type)) {
        fail(error, "Parameter 'driver' expects a pluggable device type");
        return NULL;
    }
    return type;
}

/* Who plugs the device in: a bus; the machine if the type is for none. */
static struct object *find_handler(struct vm *vm, const struct object_type *type, const char *bus,
                                   GError **error)
{
    struct bus *found;

    if (!bus_type_of(type)) {
        if (bus) {
            fail(error, "Device '%s' does not go on a bus", type->name);
            return NULL;
        }
        if (vm->ready) {
            fail(error, "Device '%s' can not be hotplugged on this machine", type->name);
            return NULL;
        }
        return &vm->machine->object;
    }
    found = bus_find_for(vm->root, type, bus, error);
    if (found && vm->ready && !found->hotpluggable) {
        fail(error, "Bus '%s' does not support hotplugging", found->object.name);
        return NULL;
    }
    return found ? &found->object : NULL;
}

/* ---- Coming ---- */

static bool add_to_tree(struct vm *vm, struct object *obj, const char *id, bool keyval,
                        GError **error)
{
    struct object *folder;

    if (!id) {
        folder = object_container(vm->root, "/machine/peripheral-anon");
        for (unsigned i = 0; ; i++) {
            g_autofree char *name = g_strdup_printf("device[%u]", i);

            if (!object_child(folder, name)) {
                return object_add_child(folder, name, obj, error);
            }
        }
    }
    folder = object_container(vm->root, "/machine/peripheral");
    if (keyval && !object_id_valid(id)) {
        return fail(error, "Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', "
                    "starting with a letter");
    }
    if (object_child(folder, id)) {
        return fail(error, keyval ? "Duplicate ID '%s' for device" : "Duplicate device ID '%s'",
                    id);
    }
    return object_add_child(folder, id, obj, error);
}

static bool set_properties(struct object *obj, json_object *props, bool keyval, GError **error)
{
    json_object_object_foreach(props, name, value) {
        if (!g_strv_contains(own_keys, name) && !object_type_property(obj->type, name)) {
            return object_set(obj, name, value, keyval, error);     /* says so */
        }
    }
    return object_set_all(obj, props, own_keys, keyval, error);
}

bool vm_add_device(struct vm *vm, json_object *props, bool keyval, GError **error)
{
    const char *driver, *id, *bus;
    const struct object_type *type;
    auto_ptr(object) obj = NULL;
    struct object *handler;

    if (!get_string(props, "driver", &driver, error) || !get_string(props, "id", &id, error) ||
        !get_string(props, "bus", &bus, error)) {
        return false;
    }
    if (!driver) {
        return fail(error, "Parameter 'driver' is missing");
    }
    type = find_type(driver, error);
    if (type && !vm->machine) {
        return fail(error, "Device '%s' needs a machine, which isn't made yet", driver);
    }
    handler = type ? find_handler(vm, type, bus, error) : NULL;
    if (!handler) {
        return false;
    }
    obj = object_new(type);
    obj->user_created = true;
    ((struct device *)obj)->hotplugged = vm->ready;
    if (!add_to_tree(vm, obj, id, keyval, error)) {
        return false;
    }
    if (!globals_apply(vm->globals, obj, error) ||
        !set_properties(obj, props, keyval, error) || !hotplug_plug(handler, obj, error)) {
        object_remove(obj);
        return false;
    }
    return true;
}

/* ---- Going ---- */

static void unplug(struct vm *vm, struct object *obj);

/* Devices on the buses that obj has, the newest first. */
static void unplug_below(struct vm *vm, struct object *obj)
{
    for (guint i = obj->child_order ? obj->child_order->len : 0; i-- > 0;) {
        struct object *child = obj->child_order->pdata[i];

        if (object_is(child, "bus")) {
            struct bus *bus = (struct bus *)child;

            while (bus->devices->len) {
                unplug(vm, bus->devices->pdata[bus->devices->len - 1]);
            }
        } else {
            unplug_below(vm, child);
        }
    }
}

static bool tell_below(struct object *obj, void *opaque);

/* The devices that obj is made of first: a transport's own device. */
static void tell(struct vm *vm, struct object *obj)
{
    g_autofree char *path = object_path(obj);
    struct qapi_device_deleted_event event = {.path = path, .device = (char *)device_id(obj)};

    object_foreach_child(obj, tell_below, vm);
    if (object_is(obj, "device")) {
        qapi_event_device_deleted(vm->events, &event);
    }
}

static bool tell_below(struct object *obj, void *opaque)
{
    tell(opaque, obj);
    return true;
}

static void unplug(struct vm *vm, struct object *obj)
{
    struct object *bus = ((struct device *)obj)->parent_bus;

    unplug_below(vm, obj);
    tell(vm, obj);
    if (bus) {
        hotplug_unplug(bus, obj);
    } else {
        object_remove(obj);
    }
}

void vm_unplug(struct vm *vm, struct object *device)
{
    unplug(vm, device);
}

void vm_unplug_refused(struct vm *vm, struct object *device)
{
    g_autofree char *path = object_path(device);
    struct qapi_device_unplug_guest_error_event event = {
        .path = path, .device = (char *)device_id(device),
    };

    ((struct device *)device)->pending_deletion = false;
    qapi_event_device_unplug_guest_error(vm->events, &event);
}

void vm_remove_all_devices(struct vm *vm)
{
    static const char *const folders[] = {"/machine/peripheral", "/machine/peripheral-anon"};

    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        struct object *folder = object_container(vm->root, folders[i]);

        while (folder->child_order && folder->child_order->len) {
            unplug(vm, folder->child_order->pdata[folder->child_order->len - 1]);
        }
    }
}

static struct object *find_device(struct vm *vm, const char *id, GError **error)
{
    struct object *obj = *id == '/' ? object_resolve(vm->root, id, NULL, NULL)
                       : vm->machine
                             ? object_child(object_container(vm->root, "/machine/peripheral"), id)
                             : NULL;

    if (!obj) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    } else if (!object_is(obj, "device")) {
        fail(error, "%s is not a device", id);
        return NULL;
    }
    return obj;
}

bool vm_remove_device(struct vm *vm, const char *id, GError **error)
{
    struct object *obj = find_device(vm, id, error), *bus;

    if (!obj) {
        return false;
    }
    bus = ((struct device *)obj)->parent_bus;
    if (!bus || !obj->user_created) {
        return fail(error, "Device '%s' does not support hotplugging", id);
    }
    if (!((struct bus *)bus)->hotpluggable) {
        return fail(error, "Bus '%s' does not support hotplugging", bus->name);
    }
    return hotplug_unplug_request(bus, obj, error);
}

bool vm_machine_ready(struct vm *vm, GError **error)
{
    const struct machine_ops *ops = vm->machine_class->ops;

    if (ops && ops->ready && !ops->ready(vm->machine, error)) {
        return false;
    }
    if (ops && !vm->done) {
        ops->reset(vm->machine);
    }
    globals_warn_unused(vm->globals, vm->log);
    vm->ready = true;
    return true;
}

/* ---- QMP ---- */

bool qmp_device_add(struct qmp_context *ctx, json_object *arg, GError **error)
{
    return vm_add_device(ctx->vm, arg, false, error);
}

bool qmp_device_del(struct qmp_context *ctx, const struct qapi_device_del_arg *arg, GError **error)
{
    return vm_remove_device(ctx->vm, arg->id, error);
}
