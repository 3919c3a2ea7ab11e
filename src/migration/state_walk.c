#include "migration/state_walk.h"

#include "hw/state.h"
#include "object/object.h"
#include "qapi/error.h"

static bool save(struct object *obj, void *opaque)
{
    const struct state_ops *ops = state_ops_of(obj);

    if (ops && obj->completed) {
        ops->save(obj, opaque);
    }
    object_foreach_child(obj, save, opaque);
    return true;
}

void state_walk_save(struct object *root, GByteArray *out)
{
    save(root, out);
}

/* Puts obj and what is below it into a set of paths, with the object as the value. */
static bool collect(struct object *obj, void *opaque)
{
    if (state_ops_of(obj) && obj->completed) {
        g_hash_table_insert(opaque, object_path(obj), obj);
    }
    object_foreach_child(obj, collect, opaque);
    return true;
}

static bool load_next(GHashTable *missing, const uint8_t *data, size_t size, size_t *position,
                      GError **error)
{
    g_autofree char *id = state_next_id(data, size, *position, error);
    struct object *obj;

    if (!id) {
        return false;
    }
    obj = g_hash_table_lookup(missing, id);
    if (!obj) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The saved state is of a machine with a device '%s', which this machine hasn't",
                    id);
        return false;
    }
    g_hash_table_remove(missing, id);
    return state_ops_of(obj)->load(obj, data, size, position, error);
}

bool state_walk_load(struct object *root, const uint8_t *data, size_t size, GError **error)
{
    g_autoptr(GHashTable) missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer path;
    size_t position = 0;

    collect(root, missing);
    while (position < size) {
        if (!load_next(missing, data, size, &position, error)) {
            return false;
        }
    }
    g_hash_table_iter_init(&iter, missing);
    if (g_hash_table_iter_next(&iter, &path, NULL)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The saved state is of a machine without the device '%s'", (char *)path);
        return false;
    }
    return true;
}
