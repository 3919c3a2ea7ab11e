/*
 * Type "memory-backend": what all kinds have in common.
 */
#include "memory/backend_priv.h"

#include "qapi/error.h"
#include "qapi/qapi_commands.h"

enum { MAX_NODE = 127 };

static bool set_size(struct object *obj, const struct property *prop, const void *value,
                     GError **error)
{
    if (!*(const uint64_t *)value) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property '%s' of %s doesn't take value '0'", prop->name, obj->type->name);
        return false;
    }
    return true;
}

static bool set_threads(struct object *obj, const struct property *prop, const void *value,
                        GError **error)
{
    if (!*(const uint32_t *)value) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property '%s' of %s doesn't take value '0'", prop->name, obj->type->name);
        return false;
    }
    return true;
}

static bool set_host_nodes(struct object *obj, const struct property *prop, const void *value,
                           GError **error)
{
    const struct qapi_uint16_list *nodes = value;

    for (size_t i = 0; i < nodes->n; i++) {
        if (nodes->v[i] > MAX_NODE) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Invalid host-nodes value: %d",
                        nodes->v[i]);
            return false;
        }
    }
    return true;
}

/* These three can be changed while the memory is in use: set applies what the field then says. */
static bool set_merge(struct object *obj, const struct property *prop, const void *value,
                      GError **error)
{
    return !obj->completed ||
           host_memory_set_merge((struct memory_backend *)obj, *(const bool *)value, error);
}

static bool set_dump(struct object *obj, const struct property *prop, const void *value,
                     GError **error)
{
    return !obj->completed ||
           host_memory_set_dump((struct memory_backend *)obj, *(const bool *)value, error);
}

static bool check_prealloc(const struct memory_backend *backend, bool prealloc, GError **error)
{
    if (prealloc && !backend->reserve) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'prealloc=on' and 'reserve=off' are incompatible");
        return false;
    }
    return true;
}

static bool set_prealloc(struct object *obj, const struct property *prop, const void *value,
                         GError **error)
{
    struct memory_backend *backend = (struct memory_backend *)obj;
    bool prealloc = *(const bool *)value;

    if (!obj->completed || prealloc == backend->prealloc) {
        return true;
    }
    return check_prealloc(backend, prealloc, error) &&
           (!prealloc || host_memory_prealloc(backend, error));
}

static void backend_init(struct object *obj)
{
    ((struct memory_backend *)obj)->memory.fd = -1;
}

static bool check_policy(const struct memory_backend *backend, GError **error)
{
    bool is_default = backend->policy == QAPI_HOST_MEM_POLICY_DEFAULT;

    if (is_default && backend->host_nodes.n) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "host-nodes must be empty for policy default, or you should explicitly "
                    "specify a policy other than default");
        return false;
    }
    if (!is_default && !backend->host_nodes.n) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "host-nodes must be set for policy %s",
                    qapi_enum_name(&qapi_type_host_mem_policy, backend->policy));
        return false;
    }
    return true;
}

static bool backend_complete(struct object *obj, GError **error)
{
    struct memory_backend *backend = (struct memory_backend *)obj;
    const struct memory_backend_class *class = object_class_data(obj);

    if (!check_prealloc(backend, backend->prealloc, error) || !check_policy(backend, error) ||
        !class->map(backend, error)) {
        return false;
    }
    if (backend->merge && !host_memory_set_merge(backend, true, error)) {
        return false;
    }
    if (!backend->dump && !host_memory_set_dump(backend, false, error)) {
        return false;
    }
    /* Before the first page is allocated. */
    return host_memory_bind(backend, error) &&
           (!backend->prealloc || host_memory_prealloc(backend, error));
}

static bool backend_can_be_deleted(struct object *obj, GError **error)
{
    if (((struct memory_backend *)obj)->claimed) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "object '%s' is in use, can not be deleted", obj->name);
        return false;
    }
    return true;
}

static void backend_finalize(struct object *obj)
{
    host_memory_unmap((struct memory_backend *)obj);
}

static const struct property backend_properties[] = {
    PROPERTY("dump", memory_backend, dump, qapi_type_bool, "on",
             "Set to 'off' to exclude from core dump", .flags = PROPERTY_RUNTIME, .set = set_dump),
    PROPERTY("host-nodes", memory_backend, host_nodes, qapi_type_uint16_list, NULL,
             "Binds memory to the list of NUMA host nodes", .set = set_host_nodes),
    PROPERTY("merge", memory_backend, merge, qapi_type_bool, "on", "Mark memory as mergeable",
             .flags = PROPERTY_RUNTIME, .set = set_merge),
    PROPERTY("policy", memory_backend, policy, qapi_type_host_mem_policy, "default",
             "Set the NUMA policy"),
    PROPERTY("prealloc", memory_backend, prealloc, qapi_type_bool, "off", "Preallocate memory",
             .flags = PROPERTY_RUNTIME, .set = set_prealloc),
    PROPERTY("prealloc-threads", memory_backend, prealloc_threads, qapi_type_uint32, "1",
             "Number of CPU threads to use for prealloc", .set = set_threads),
    PROPERTY("reserve", memory_backend, reserve, qapi_type_bool, "on",
             "Reserve swap space (or huge pages) if applicable"),
    PROPERTY("share", memory_backend, share, qapi_type_bool, "off",
             "Mark the memory as private to the emulator or shared"),
    PROPERTY("size", memory_backend, size, qapi_type_size, NULL,
             "Size of the memory region (ex: 500M)", .flags = PROPERTY_REQUIRED, .set = set_size),
    PROPERTY("x-use-canonical-path-for-ramblock-id", memory_backend, canonical_path, qapi_type_bool,
             "off", "Call it by its whole path in a migration stream"),
};

static const char *const backend_interfaces[] = {"user-creatable", NULL};

static const struct object_type backend_type = {
    .name = "memory-backend",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct memory_backend),
    .properties = backend_properties,
    .n_properties = G_N_ELEMENTS(backend_properties),
    .interfaces = backend_interfaces,
    .init = backend_init,
    .complete = backend_complete,
    .can_be_deleted = backend_can_be_deleted,
    .finalize = backend_finalize,
};
OBJECT_TYPE(backend_type);

struct memory_backend *memory_backend_find(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_resolve(root, id, NULL, NULL);

    if (!obj || !object_is(obj, "memory-backend") || !obj->completed) {
        g_set_error(error, QAPI_ERROR, obj ? QAPI_ERROR_GENERIC : QAPI_ERROR_DEVICE_NOT_FOUND,
                    obj ? "'%s' is not a memory backend" : "memory backend '%s' not found", id);
        return NULL;
    }
    return (struct memory_backend *)obj;
}

const struct host_memory *memory_backend_memory(const struct memory_backend *backend)
{
    return &backend->memory;
}

char *memory_backend_block_name(const struct memory_backend *backend)
{
    return backend->canonical_path ? object_path(&backend->object) : g_strdup(backend->object.name);
}

bool memory_backend_claim(struct memory_backend *backend, GError **error)
{
    if (backend->claimed) {
        g_autofree char *path = object_path(&backend->object);

        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "can't use already busy memdev: %s",
                    path);
        return false;
    }
    backend->claimed = true;
    object_ref(&backend->object);
    return true;
}

void memory_backend_release(struct memory_backend *backend)
{
    g_assert(backend->claimed);
    backend->claimed = false;
    object_unref(&backend->object);
}

static bool append_memdev(struct object *obj, void *opaque)
{
    const struct memory_backend *backend = (const struct memory_backend *)obj;
    struct qapi_memdev *memdev;

    if (!object_is(obj, "memory-backend")) {
        return true;
    }
    memdev = qapi_list_append(&qapi_type_memdev_list, opaque);
    memdev->id = g_strdup(obj->name);
    memdev->size = backend->size;
    memdev->merge = backend->merge;
    memdev->dump = backend->dump;
    memdev->prealloc = backend->prealloc;
    memdev->share = backend->share;
    memdev->has_reserve = true;
    memdev->reserve = backend->reserve;
    memdev->policy = backend->policy;
    qapi_copy(&qapi_type_uint16_list, &backend->host_nodes, &memdev->host_nodes);
    return true;
}

bool qmp_query_memdev(struct qmp_context *ctx, struct qapi_memdev_list *ret, GError **error)
{
    object_foreach_child(object_container(ctx->root, "/objects"), append_memdev, ret);
    return true;
}
