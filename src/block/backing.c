/* Backing images by the names that images have for them. */
#include "block/block_priv.h"

#include <string.h>

/* "nbd:", "json:", ...: letters up to a colon, before any slash. */
static bool has_protocol(const char *name)
{
    size_t n = strcspn(name, ":/");

    return n && name[n] == ':';
}

char *block_combine_names(const char *base, const char *name)
{
    const char *path = base && g_str_has_prefix(base, "file:") ? base + strlen("file:") : base;
    const char *slash;

    if (name[0] == '/' || has_protocol(name) || !path || g_str_has_prefix(path, "json:")) {
        return g_strdup(name);
    }
    slash = strrchr(path, '/');
    return slash ? g_strdup_printf("%.*s%s", (int)(slash + 1 - path), path, name) : g_strdup(name);
}

static bool add_edge(struct block_node *node, struct block_node *child, GError **error)
{
    return child && block_node_add_child(node, "backing", child, BLOCK_ROLE_BACKING, error);
}

static bool co_open_named(struct block_node *node, GError **error)
{
    struct block_edge *primary = block_node_primary(node);
    const char *base = primary ? primary->node->filename : NULL;
    g_autofree char *name = block_combine_names(base, node->backing_name);
    json_object *options = json_object_new_object(), *cache = json_object_new_object();
    struct block_node *child;
    bool ok;

    if (base && g_str_has_prefix(base, "json:") && node->backing_name[0] != '/' &&
        !has_protocol(node->backing_name)) {
        json_object_put(options);
        json_object_put(cache);
        return block_error(error,
                           "Cannot generate a base directory for the backing file '%s' of '%s'",
                           node->backing_name, base);
    }
    if (node->backing_format) {
        json_object_object_add(options, "driver", json_object_new_string(node->backing_format));
    }
    json_object_object_add(options, "read-only", json_object_new_boolean(true));
    json_object_object_add(options, "force-share", json_object_new_boolean(node->force_share));
    json_object_object_add(cache, "direct", json_object_new_boolean(node->direct));
    json_object_object_add(cache, "no-flush", json_object_new_boolean(node->no_flush));
    json_object_object_add(options, "cache", cache);
    child = co_block_open_loose(node->graph, name, options,
                                (node->open_flags & (BLOCK_OPEN_NO_IO | ~(BLOCK_OPEN_LEVEL - 1u))) +
                                    (BLOCK_OPEN_LEVEL | BLOCK_OPEN_PROBE),
                                error);
    json_object_put(options);
    ok = add_edge(node, child, error);
    if (!ok) {
        g_prefix_error(error, "Could not open backing file: ");
    }
    return ok;
}

struct block_edge *co_block_open_file_child(struct block_node *node, const char *name,
                                            const char *file, unsigned role, GError **error)
{
    struct block_edge *primary = block_node_primary(node);
    g_autofree char *path = block_combine_names(primary ? primary->node->filename : NULL, file);
    json_object *options = json_object_new_object(), *cache = json_object_new_object();
    struct block_node *child;

    json_object_object_add(options, "read-only", json_object_new_boolean(node->read_only));
    json_object_object_add(options, "auto-read-only",
                           json_object_new_boolean(node->auto_read_only));
    json_object_object_add(options, "force-share", json_object_new_boolean(node->force_share));
    json_object_object_add(options, "discard", json_object_new_string("unmap"));
    json_object_object_add(cache, "direct", json_object_new_boolean(node->direct));
    json_object_object_add(cache, "no-flush", json_object_new_boolean(node->no_flush));
    json_object_object_add(options, "cache", cache);
    json_object_object_add(options, "driver", json_object_new_string("file"));
    json_object_object_add(options, "filename", json_object_new_string(path));
    child =
        co_block_open_loose(node->graph, NULL, options, node->open_flags & BLOCK_OPEN_NO_IO, error);
    json_object_put(options);
    return child ? block_node_add_child(node, name, child, role, error) : NULL;
}

bool co_block_open_backing(struct block_node *node, const struct qapi_blockdev_ref_or_null *ref,
                           GError **error)
{
    struct qapi_blockdev_ref known = {0};

    if (!ref) {
        return node->open_flags & BLOCK_OPEN_NO_BACKING || !node->backing_name ||
               !*node->backing_name || co_open_named(node, error);
    }
    if (ref->kind == QAPI_BLOCKDEV_REF_OR_NULL_KIND_NULL ||
        (ref->kind == QAPI_BLOCKDEV_REF_OR_NULL_KIND_REFERENCE && !*ref->u.reference)) {
        return true;
    }
    if (ref->kind == QAPI_BLOCKDEV_REF_OR_NULL_KIND_REFERENCE) {
        known.kind = QAPI_BLOCKDEV_REF_KIND_REFERENCE;
        known.u.reference = ref->u.reference;
    } else {
        known.kind = QAPI_BLOCKDEV_REF_KIND_DEFINITION;
        known.u.definition = ref->u.definition;
    }
    return co_block_open_child(node, "backing", &known, BLOCK_ROLE_BACKING, error) != NULL;
}
