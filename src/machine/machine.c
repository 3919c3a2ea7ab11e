#include "machine/machine.h"

#include <string.h>

#include "machine/vm.h"
#include "memory/backend.h"
#include "object/hotplug.h"
#include "util/nearest.h"

static const struct property machine_properties[] = {
    PROPERTY_LINK("memory-backend", machine, memory_backend, "memory-backend",
                  "the main memory's back end"),
    PROPERTY("dump-guest-core", machine, dump_guest_core, qapi_type_bool, "on",
             "whether guest memory is in a core dump"),
    PROPERTY("mem-merge", machine, mem_merge, qapi_type_bool, "on",
             "whether the host may merge equal pages of guest memory"),
    PROPERTY("usb", machine, usb, qapi_type_bool, "off",
             "whether there is a USB controller; not yet"),
    PROPERTY("firmware", machine, firmware, qapi_type_str, NULL,
             "the firmware: a file, default, or none"),
    PROPERTY("kernel", machine, kernel, qapi_type_str, NULL, "the kernel's file"),
    PROPERTY("initrd", machine, initrd, qapi_type_str, NULL, "the initial RAM disk's file"),
    PROPERTY("append", machine, append, qapi_type_str, NULL, "the kernel's command line"),
    PROPERTY("dtb", machine, dtb, qapi_type_str, NULL,
             "a device tree in place of the machine's own"),
    PROPERTY("dumpdtb", machine, dumpdtb, qapi_type_str, NULL,
             "write the device tree to this file and stop"),
};

static bool pre_plug(struct object *handler, struct object *obj, GError **error)
{
    const struct machine_class *class = object_class_data(handler);

    if (!class->ops || !class->ops->plug) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Device '%s' is not for the machine '%s'", obj->type->name, class->name);
        return false;
    }
    return class->ops->plug((struct machine *)handler, obj, error);
}

static const struct hotplug_ops hotplug = {.pre_plug = pre_plug};

static const struct object_type machine_type = {
    .name = "machine",
    .hotplug = &hotplug,
    .parent = "object",
    .description = "a board",
    .abstract = true,
    .instance_size = sizeof(struct machine),
    .properties = machine_properties,
    .n_properties = G_N_ELEMENTS(machine_properties),
};
OBJECT_TYPE(machine_type);

static const struct machine_class none_class = {
    .name = "none",
    .description = "empty machine",
    .default_ram_id = "ram",
    .max_cpus = 1,
    .default_cpus = 0,
};

static const struct object_type none_type = {
    .name = "none-machine",
    .parent = "machine",
    .description = "empty machine",
    .class_data = &none_class,
};
OBJECT_TYPE(none_type);

static bool is_for(const struct machine_class *class, const char *arch)
{
    return !class->archs || g_strv_contains(class->archs, arch);
}

GPtrArray *machine_list(const char *arch)
{
    g_autoptr(GPtrArray) types = object_type_list("machine", false);
    GPtrArray *classes = g_ptr_array_new();

    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = types->pdata[i];
        const struct machine_class *class = type->class_data;

        if (is_for(class, arch)) {
            g_ptr_array_add(classes, (gpointer)class);
        }
    }
    return classes;
}

const struct machine_class *machine_find(const char *arch, const char *name)
{
    g_autoptr(GPtrArray) classes = machine_list(arch);

    for (guint i = 0; i < classes->len; i++) {
        const struct machine_class *class = classes->pdata[i];

        if (name ? g_str_equal(class->name, name) || g_strcmp0(class->alias, name) == 0
                 : class->is_default) {
            return class;
        }
    }
    return NULL;
}

static const char *nearest_machine(const char *arch, const char *name)
{
    g_autoptr(GPtrArray) classes = machine_list(arch);
    g_autofree const char **names = g_new0(const char *, classes->len);

    for (guint i = 0; i < classes->len; i++) {
        names[i] = ((const struct machine_class *)classes->pdata[i])->name;
    }
    return util_nearest(name, names, classes->len);
}

/* Main memory of ram_size bytes, unless a back end was named. */
static bool create_ram(struct vm *vm, struct machine *machine, GError **error)
{
    g_autoptr(json_object) options = NULL;
    struct object *backend;

    if (machine->memory_backend) {
        vm->ram_size =
            memory_backend_memory((struct memory_backend *)machine->memory_backend)->size;
        return true;
    }
    vm->ram_size = vm->ram_size ? vm->ram_size : vm->machine_class->default_ram_size;
    if (!vm->ram_size) {
        return true;
    }
    options = json_object_new_object();
    json_object_object_add(options, "qom-type", json_object_new_string("memory-backend-ram"));
    json_object_object_add(options, "id",
                           json_object_new_string(vm->machine_class->default_ram_id));
    json_object_object_add(options, "size", json_object_new_uint64(vm->ram_size));
    json_object_object_add(options, "dump", json_object_new_boolean(machine->dump_guest_core));
    json_object_object_add(options, "merge", json_object_new_boolean(machine->mem_merge));
    backend = object_create_user(vm->root, options, false, error);
    if (!backend) {
        return false;
    }
    machine->memory_backend = object_ref(backend);
    return true;
}

/* As QEMU says it of a machine. */
static bool check_names(const struct object_type *type, json_object *properties, GError **error)
{
    json_object_object_foreach(properties, name, value) {
        if (!object_type_property(type, name)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' not found",
                        type->name, name);
            return false;
        }
    }
    return true;
}

/* A level of -smp's topology that isn't given counts as 1. */
static int64_t level(bool given, int64_t value)
{
    return given ? value : 1;
}

/* How many vCPUs -smp asks for. False and *error: it contradicts itself or the machine. */
static bool count_cpus(struct vm *vm, const struct machine_class *class, GError **error)
{
    const struct qapi_smp_configuration *s = vm->smp;
    __int128 places = 1;
    bool any = false;
    int64_t cpus, max;

    vm->n_cpus = class->default_cpus;
    if (!s) {
        return true;
    }
    const struct { bool given; int64_t n; } levels[] = {
        {s->has_drawers, s->drawers}, {s->has_books, s->books}, {s->has_sockets, s->sockets},
        {s->has_dies, s->dies}, {s->has_clusters, s->clusters}, {s->has_modules, s->modules},
        {s->has_cores, s->cores}, {s->has_threads, s->threads},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        any |= levels[i].given;
        places = MIN(places * level(levels[i].given, levels[i].n), G_MAXINT64);
    }
    max = s->has_maxcpus ? s->maxcpus : s->has_cpus && !any ? s->cpus : (int64_t)places;
    cpus = s->has_cpus ? s->cpus : max;
    /* Sockets that aren't given make up for what the others leave. */
    if (s->has_cpus && any && !s->has_maxcpus && !s->has_sockets && cpus % (int64_t)places == 0) {
        max = cpus;
        places = cpus;
    }
    if (any && s->has_maxcpus && !s->has_sockets && max % (int64_t)places == 0) {
        places = max;
    }
    if ((any && places != max) || cpus > max) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Invalid CPU topology: product of the hierarchy must match maxcpus: it has "
                    "%" G_GINT64_FORMAT " places, cpus is %" G_GINT64_FORMAT
                    ", maxcpus %" G_GINT64_FORMAT, (int64_t)places, cpus, max);
        return false;
    }
    if (max > MAX(class->max_cpus, 1)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Invalid SMP CPUs %" G_GINT64_FORMAT
                    ". The max CPUs supported by machine '%s' is %u",
                    max, class->name, class->max_cpus);
        return false;
    }
    vm->n_cpus = class->ops ? (unsigned)cpus : 0;
    return true;
}

static bool create_board(struct vm *vm, struct machine *machine, GError **error)
{
    const struct machine_ops *ops = vm->machine_class->ops;

    if (machine->usb) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "usb=on: USB is not built yet in Nandu " NANDU_VERSION);
        return false;
    }
    if (ops && !ops->create(vm, machine, error)) {
        ops->destroy(machine);
        vm->memory = NULL;
        return false;
    }
    vm->machine = machine;
    object_container(vm->root, "/machine/peripheral");
    object_container(vm->root, "/machine/peripheral-anon");
    return true;
}

bool vm_create_machine(struct vm *vm, const char *name, json_object *properties, bool keyval,
                       GError **error)
{
    const struct machine_class *class = machine_find(vm->arch, name);
    g_autofree char *type_name = NULL;
    auto_ptr(object) obj = NULL;

    if (!name && !class) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "No machine specified, and there is no default\nUse -machine help to list "
                    "supported machines");
        return false;
    }
    if (!class) {
        const char *nearest = nearest_machine(vm->arch, name);

        g_set_error(
            error, QAPI_ERROR, QAPI_ERROR_GENERIC,
            "unsupported machine type: \"%s\"%s%s%s\nUse -machine help to list supported machines",
            name, nearest ? " (did you mean \"" : "", nearest ? nearest : "",
            nearest ? "\"?)" : "");
        return false;
    }
    if (!count_cpus(vm, class, error)) {
        return false;
    }
    type_name = g_strdup_printf("%s-machine", class->name);
    obj = object_new(object_type_find(type_name));
    if (!object_add_child(vm->root, "machine", obj, error)) {
        return false;
    }
    vm->machine_class = class;
    if ((properties && (!check_names(obj->type, properties, error) ||
                        !object_set_all(obj, properties, NULL, keyval, error))) ||
        !create_ram(vm, (struct machine *)obj, error) || !object_complete(obj, error) ||
        !create_board(vm, (struct machine *)obj, error)) {
        object_remove(obj);
        vm->machine_class = NULL;
        return false;
    }
    return true;
}
