/* What the monitor's info shows. */
#include "monitor/hmp.h"

#include <string.h>

#include "monitor/hmp_debug.h"
#include "monitor/hmp_block.h"
#include "monitor/hmp_net.h"
#include "monitor/hmp_devices.h"
#include "monitor/readline.h"
#include "monitor/version.h"
#include "object/object.h"
#include "util/trace_control.h"

static const char *yes_no(struct json_object *object, const char *name)
{
    return hmp_bool(object, name) ? "true" : "false";
}

/* Calls show for each row of the list that a QMP command returns. */
static bool show_list(struct hmp *hmp, const char *command,
                      void (*show)(struct hmp *hmp, struct json_object *row), GError **error)
{
    g_autoptr(json_object) list = NULL;

    if (!hmp_call(hmp, command, NULL, &list, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        show(hmp, json_object_array_get_idx(list, i));
    }
    return true;
}

static void show_chardev(struct hmp *hmp, struct json_object *row)
{
    hmp_print(hmp, "%s: filename=%s\n", hmp_str(row, "label"), hmp_str(row, "filename"));
}

static bool info_chardev(struct hmp *hmp, struct json_object *args, GError **error)
{
    return show_list(hmp, "query-chardev", show_chardev, error);
}

static void show_cpu(struct hmp *hmp, struct json_object *row)
{
    int64_t index = hmp_int(row, "cpu-index");
    bool chosen = index == MAX(hmp->cpu_index, 0);

    hmp_print(hmp, "%c CPU #%" G_GINT64_FORMAT ": thread_id=%" G_GINT64_FORMAT "\n",
              chosen ? '*' : ' ', index, hmp_int(row, "thread-id"));
}

static bool info_cpus(struct hmp *hmp, struct json_object *args, GError **error)
{
    return show_list(hmp, "query-cpus-fast", show_cpu, error);
}

static bool info_history(struct hmp *hmp, struct json_object *args, GError **error)
{
    const GQueue *history = hmp->readline ? readline_history(hmp->readline) : NULL;
    unsigned n = 0;

    for (const GList *entry = history ? history->head : NULL; entry; entry = entry->next) {
        hmp_print(hmp, "%u: '%s'\n", n++, (const char *)entry->data);
    }
    return true;
}

static void show_member(struct hmp *hmp, struct json_object *object, const char *name)
{
    struct json_object *value;

    if (json_object_object_get_ex(object, name, &value)) {
        hmp_print(hmp, "    %s: \"%s\"\n", name, json_object_get_string(value));
    }
}

static void show_hotpluggable_cpu(struct hmp *hmp, struct json_object *row)
{
    struct json_object *props;

    hmp_print(hmp, "  type: \"%s\"\n  vcpus_count: \"%" G_GINT64_FORMAT "\"\n",
              hmp_str(row, "type"), hmp_int(row, "vcpus-count"));
    if (hmp_str(row, "qom-path")) {
        hmp_print(hmp, "  qom_path: \"%s\"\n", hmp_str(row, "qom-path"));
    }
    hmp_print(hmp, "  CPUInstance Properties:\n");
    if (json_object_object_get_ex(row, "props", &props)) {
        json_object_object_foreach(props, name, value)
        {
            (void)value;
            show_member(hmp, props, name);
        }
    }
}

static bool info_hotpluggable_cpus(struct hmp *hmp, struct json_object *args, GError **error)
{
    size_t start = hmp->out->len;

    if (!show_list(hmp, "query-hotpluggable-cpus", show_hotpluggable_cpu, error)) {
        return false;
    }
    g_string_insert(hmp->out, (gssize)start, "Hotpluggable CPUs:\n");
    return true;
}

static void show_iothread(struct hmp *hmp, struct json_object *row)
{
    static const char *const members[] = {"poll-max-ns", "poll-grow", "poll-shrink",
                                          "aio-max-batch"};

    hmp_print(hmp, "%s:\n  thread_id=%" G_GINT64_FORMAT "\n", hmp_str(row, "id"),
              hmp_int(row, "thread-id"));
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        hmp_print(hmp, "  %s=%" G_GINT64_FORMAT "\n", members[i], hmp_int(row, members[i]));
    }
}

static bool info_iothreads(struct hmp *hmp, struct json_object *args, GError **error)
{
    return show_list(hmp, "query-iothreads", show_iothread, error);
}

static bool info_kvm(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;

    if (!hmp_call(hmp, "query-kvm", NULL, &info, error)) {
        return false;
    }
    hmp_print(hmp, "kvm support: %s\n",
              !hmp_bool(info, "present")  ? "not compiled"
              : hmp_bool(info, "enabled") ? "enabled"
                                          : "disabled");
    return true;
}

static void show_memdev(struct hmp *hmp, struct json_object *row)
{
    struct json_object *nodes;

    hmp_print(hmp, "memory backend: %s\n", hmp_str(row, "id") ? hmp_str(row, "id") : "");
    hmp_print(hmp, "  size:  %s\n", hmp_str(row, "size"));
    hmp_print(hmp, "  merge: %s\n", yes_no(row, "merge"));
    hmp_print(hmp, "  dump: %s\n", yes_no(row, "dump"));
    hmp_print(hmp, "  prealloc: %s\n", yes_no(row, "prealloc"));
    hmp_print(hmp, "  share: %s\n", yes_no(row, "share"));
    if (hmp_str(row, "reserve")) {
        hmp_print(hmp, "  reserve: %s\n", yes_no(row, "reserve"));
    }
    hmp_print(hmp, "  policy: %s\n  host nodes: ", hmp_str(row, "policy"));
    json_object_object_get_ex(row, "host-nodes", &nodes);
    for (size_t i = 0; i < json_object_array_length(nodes); i++) {
        hmp_print(hmp, "%s%s", i ? "," : "",
                  json_object_get_string(json_object_array_get_idx(nodes, i)));
    }
    hmp_print(hmp, "\n");
}

static bool info_memdev(struct hmp *hmp, struct json_object *args, GError **error)
{
    if (!show_list(hmp, "query-memdev", show_memdev, error)) {
        return false;
    }
    hmp_print(hmp, "\n");
    return true;
}

static bool info_balloon(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;

    if (!hmp_call(hmp, "query-balloon", NULL, &info, error)) {
        return false;
    }
    hmp_print(hmp, "balloon: actual=%" PRId64 "\n", hmp_int(info, "actual") >> 20);
    return true;
}

static bool info_memory_size_summary(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;

    if (!hmp_call(hmp, "query-memory-size-summary", NULL, &info, error)) {
        return false;
    }
    hmp_print(hmp, "base memory: %s\n", hmp_str(info, "base-memory"));
    if (hmp_str(info, "plugged-memory")) {
        hmp_print(hmp, "plugged memory: %s\n", hmp_str(info, "plugged-memory"));
    }
    return true;
}

static bool info_name(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;

    if (!hmp_call(hmp, "query-name", NULL, &info, error)) {
        return false;
    }
    if (hmp_str(info, "name")) {
        hmp_print(hmp, "%s\n", hmp_str(info, "name"));
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct object *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static bool collect(struct object *obj, void *opaque)
{
    g_ptr_array_add(opaque, obj);
    return true;
}

static void show_tree(struct hmp *hmp, struct object *obj, const char *name, int depth)
{
    g_autoptr(GPtrArray) children = g_ptr_array_new();

    hmp_print(hmp, "%*s%s (%s)\n", 2 * depth, "", name, obj->type->name);
    object_foreach_child(obj, collect, children);
    g_ptr_array_sort(children, compare_names);
    for (guint i = 0; i < children->len; i++) {
        struct object *child = children->pdata[i];
        g_autofree char *path = g_strconcat("/", child->name, NULL);

        show_tree(hmp, child, path, depth + 1);
    }
}

static bool info_qom_tree(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *path = hmp_str(args, "path") ? hmp_str(args, "path") : "/machine";
    bool ambiguous = false;
    struct object *obj = object_resolve(hmp->context.root, path, NULL, &ambiguous);
    g_autofree char *full = NULL;

    if (!obj) {
        hmp_print(hmp,
                  ambiguous ? "Path '%s' is ambiguous.\n" : "Path '%s' could not be resolved.\n",
                  path);
        return true;
    }
    full = object_path(obj);
    show_tree(hmp, obj, full, 0);
    return true;
}

static bool info_status(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;
    const char *status;
    bool running;

    if (!hmp_call(hmp, "query-status", NULL, &info, error)) {
        return false;
    }
    running = hmp_bool(info, "running");
    status = hmp_str(info, "status");
    hmp_print(hmp, "VM status: %s", running ? "running" : "paused");
    if (!running && !g_str_equal(status, "paused")) {
        hmp_print(hmp, " (%s)", status);
    }
    hmp_print(hmp, "\n");
    return true;
}

static void show_event(void *opaque, enum trace_event event, const char *name, bool enabled)
{
    hmp_print(opaque, "%s : state %d\n", name, enabled);
}

static bool info_trace_events(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *pattern = hmp_str(args, "name") ? hmp_str(args, "name") : "*";

    if (!trace_foreach(hmp->log, pattern, show_event, hmp) && !trace_is_pattern(pattern)) {
        hmp_print(hmp, "unknown event \"%s\"\n", pattern);
    }
    return true;
}

static bool info_uuid(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) info = NULL;

    if (!hmp_call(hmp, "query-uuid", NULL, &info, error)) {
        return false;
    }
    hmp_print(hmp, "%s\n", hmp_str(info, "UUID"));
    return true;
}

static bool info_version(struct hmp *hmp, struct json_object *args, GError **error)
{
    hmp_print(hmp, "%d.%d.%d (Nandu %s)\n", QEMU_VERSION_MAJOR, QEMU_VERSION_MINOR,
              QEMU_VERSION_MICRO, NANDU_VERSION);
    return true;
}

static const struct hmp_row rows[] = {
    {.name = "balloon",
     .params = "",
     .run = info_balloon,
     .help = "show how much memory the guest makes do with, in MiB"},
    {.name = "block",
     .args = "nodes:-n,device:s?",
     .params = "[-n] [device]",
     .run = hmp_info_block,
     .complete = hmp_complete_block,
     .help = "show the disks, or with -n the nodes of the block graph"},
    {.name = "blockstats",
     .params = "",
     .run = hmp_info_blockstats,
     .help = "show what disks have read and written"},
    {.name = "chardev", .params = "", .run = info_chardev, .help = "show the character devices"},
    {.name = "cpus", .params = "", .run = info_cpus, .help = "show the vCPUs"},
    {.name = "history",
     .params = "",
     .run = info_history,
     .help = "show the lines that were entered"},
    {.name = "hotpluggable-cpus",
     .params = "",
     .run = info_hotpluggable_cpus,
     .help = "show where vCPUs can be plugged"},
    {.name = "iothreads", .params = "", .run = info_iothreads, .help = "show the I/O threads"},
    {.name = "jit", .params = "", .run = hmp_info_jit, .help = "show what the translator has done"},
    {.name = "kvm", .params = "", .run = info_kvm, .help = "show whether KVM is used"},
    {.name = "mem",
     .params = "",
     .run = hmp_info_mem,
     .help = "show what a vCPU's page tables map"},
    {.name = "memdev", .params = "", .run = info_memdev, .help = "show the memory back ends"},
    {.name = "memory_size_summary",
     .params = "",
     .run = info_memory_size_summary,
     .help = "show how much memory the machine has, in bytes"},
    {.name = "mtree",
     .args = "flatview:-f,disabled:-D",
     .params = "[-f][-D]",
     .run = hmp_info_mtree,
     .help = "show the tree of memory\n\t\t\t-f: as it is seen\n\t\t\t-D: with disabled regions"},
    {.name = "name", .params = "", .run = info_name, .help = "show the machine's name"},
    {.name = "network",
     .params = "",
     .run = hmp_info_network,
     .help = "show network cards and back ends"},
    {.name = "pci", .params = "", .run = hmp_info_pci, .help = "show PCI devices"},
    {.name = "qom-tree",
     .args = "path:s?",
     .params = "[path]",
     .run = info_qom_tree,
     .help = "show the tree of objects below path (/machine)"},
    {.name = "qtree",
     .params = "",
     .run = hmp_info_qtree,
     .help = "show the devices and the buses that they are on"},
    {.name = "registers",
     .args = "cpustate_all:-a,vcpu:i?",
     .params = "[-a|vcpu]",
     .run = hmp_info_registers,
     .help = "show a vCPU's registers\n\t\t\t-a: of all vCPUs"},
    {.name = "roms",
     .params = "",
     .run = hmp_info_roms,
     .help = "show what is loaded into the machine's memory when it starts"},
    {.name = "status",
     .params = "",
     .run = info_status,
     .help = "show the machine's state (running|paused)"},
    {.name = "trace-events",
     .args = "name:s?",
     .params = "[name]",
     .run = info_trace_events,
     .help = "show trace events, of a name or a pattern with *, and whether they are on"},
    {.name = "usernet",
     .params = "",
     .run = hmp_info_usernet,
     .help = "show the connections of netdevs of type user"},
    {.name = "uuid", .params = "", .run = info_uuid, .help = "show the machine's UUID"},
    {.name = "version", .params = "", .run = info_version, .help = "show the version"},
};
const struct hmp_table hmp_info_table = {rows, G_N_ELEMENTS(rows)};
