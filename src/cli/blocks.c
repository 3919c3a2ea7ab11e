#include "cli/blocks.h"

#include "block/drive.h"
#include "cli/system_options.h"
#include "machine/devices.h"
#include "machine/vm.h"
#include "qapi/error.h"

/* ---- Nodes and drives ---- */

struct create {
    struct block_graph *graph;
    struct system_options *options;
    GError **error;
    bool ok;
};

static bool co_add_node(struct block_graph *graph, const struct given *given, GError **error)
{
    struct qapi_blockdev_options options;
    struct block_node *node = NULL;

    if (given->is_json
            ? qapi_from_json(&qapi_type_blockdev_options, given->value, &options, error)
            : qapi_from_keyval(&qapi_type_blockdev_options, given->value, &options, error)) {
        if (options.node_name) {
            node = co_block_open(graph, &options, BLOCK_OPEN_MONITOR_OWNED, error);
        } else {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "'node-name' must be specified for the root node");
        }
        qapi_clear(&qapi_type_blockdev_options, &options);
    }
    if (!node) {
        g_prefix_error(error, "-blockdev %s: ", given->text ? given->text : "");
    }
    return node != NULL;
}

/* What -drive without if= is for. */
static enum block_interface usual_interface(const struct system_options *o)
{
    const struct machine_class *class = machine_find(o->arch, o->machine);
    int interface =
        class && class->block_interface ? block_interface_parse(class->block_interface, NULL) : -1;

    return interface < 0 ? BLOCK_IF_NONE : (enum block_interface)interface;
}

/* Flash banks are properties of the machine. */
static bool place_flash(struct system_options *o, const struct block_drive *drive, GError **error)
{
    g_autofree char *name = g_strdup_printf("pflash%u", drive->unit);
    const struct machine_class *class = machine_find(o->arch, o->machine);
    g_autofree char *type = g_strdup_printf("%s-machine", class ? class->name : "");
    const struct object_type *found = object_type_find(type);

    if (found && (drive->bus || !object_type_property(found, name))) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "machine type does not support if=pflash,bus=%u,unit=%u", drive->bus,
                    drive->unit);
        return false;
    }
    if (json_object_object_get_ex(o->machine_properties, name, NULL)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "the machine's %s is given already",
                    name);
        return false;
    }
    json_object_object_add(o->machine_properties, name, json_object_new_string(drive->id));
    return true;
}

static void co_create(void *opaque)
{
    struct create *c = opaque;
    struct system_options *o = c->options;

    for (guint i = 0; c->ok && i < o->blockdevs->len; i++) {
        c->ok = co_add_node(c->graph, o->blockdevs->pdata[i], c->error);
    }
    for (guint i = 0; c->ok && i < o->drives->len; i++) {
        const struct drive_given *given = &g_array_index(o->drives, struct drive_given, i);
        const struct block_drive *drive;

        if (o->snapshot && !json_object_object_get_ex(given->value, "snapshot", NULL)) {
            json_object_object_add(given->value, "snapshot", json_object_new_string("on"));
        }
        drive = co_block_drive_add(c->graph, given->value, usual_interface(o), c->error);
        c->ok = drive && (drive->interface != BLOCK_IF_PFLASH || place_flash(o, drive, c->error));
        if (!c->ok) {
            g_prefix_error(c->error, "-%s %s: ", given->given->row->name,
                           given->given->text ? given->given->text : "");
        }
    }
}

bool blocks_create(struct block_graph *graph, struct event_loop *loop,
                   struct system_options *options, GError **error)
{
    struct create c = {graph, options, error, true};
    const char *tmp_dir = g_getenv("TMPDIR");

    if (tmp_dir) {
        block_graph_set_tmp_dir(graph, tmp_dir);
    }
    block_run(loop, co_create, &c);
    return c.ok;
}

/* ---- Devices ---- */

struct add {
    struct vm *vm;
    GError **error;
    bool ok;
};

static void add_device(const struct block_drive *drive, void *opaque)
{
    struct add *add = opaque;
    g_autoptr(json_object) props = NULL;

    if (!add->ok || drive->user || drive->interface == BLOCK_IF_NONE ||
        drive->interface == BLOCK_IF_PFLASH) {
        return;
    }
    if (drive->interface != BLOCK_IF_VIRTIO || !add->vm->machine_class->block_interface) {
        g_set_error(
            add->error, QAPI_ERROR, QAPI_ERROR_GENERIC,
            "machine type does not support if=%s,bus=%u,unit=%u (drive '%s'); use if=none and -device",
            block_interface_name((enum block_interface)drive->interface), drive->bus, drive->unit,
            drive->id);
        add->ok = false;
        return;
    }
    props = json_object_new_object();
    json_object_object_add(props, "driver", json_object_new_string("virtio-blk-pci"));
    json_object_object_add(props, "drive", json_object_new_string(drive->id));
    add->ok = vm_add_device(add->vm, props, true, add->error);
}

bool blocks_add_devices(struct block_graph *graph, struct vm *vm, GError **error)
{
    struct add add = {vm, error, true};

    block_drives_foreach(graph, add_device, &add);
    return add.ok;
}

/* ---- End ---- */

static void co_free(void *opaque)
{
    co_block_graph_free(opaque);
}

void blocks_close(struct block_graph *graph, struct event_loop *loop)
{
    block_run(loop, co_free, graph);
}
