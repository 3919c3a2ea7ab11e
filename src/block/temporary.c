/* Temporary images, which take writes that the images below them are spared (snapshot=on). Main
 * thread. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "block/block_priv.h"

enum { SECTOR = 512 }; /* an image's size is a multiple of it */

static void put(json_object *options, const char *key, const char *value)
{
    json_object_object_add(options, key, json_object_new_string(value));
}

/* Nothing of it outlives the program, so that nothing needs to be on the disk. */
static json_object *file_options(const char *path)
{
    json_object *file = json_object_new_object();

    put(file, "driver", "file");
    put(file, "filename", path);
    put(file, "read-only", "off");
    put(file, "auto-read-only", "off"); /* can't be opened again */
    put(file, "cache.direct", "off");
    put(file, "cache.no-flush", "on");
    return file;
}

/* An empty image in a node, which isn't owned. */
static bool co_format(struct block_node *node, uint64_t size, GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();
    g_autofree char *text =
        g_strdup_printf("%" G_GUINT64_FORMAT, (size + SECTOR - 1) / SECTOR * SECTOR);
    struct qapi_blockdev_create_options strict;
    bool ok;

    put(options, "driver", "qcow2");
    put(options, "file", node->name);
    put(options, "size", text);
    if (!qapi_from_keyval(&qapi_type_blockdev_create_options, options, &strict, error)) {
        return false;
    }
    ok = block_driver_find("qcow2")->co_create(node->graph, &strict, error);
    qapi_clear(&qapi_type_blockdev_create_options, &strict);
    return ok;
}

static bool co_create(struct block_graph *graph, const char *path, uint64_t size, GError **error)
{
    g_autoptr(json_object) options = file_options(path);
    struct block_node *node = co_block_open_loose(graph, NULL, options, 0, error);
    bool ok = node && co_format(node, size, error);

    co_block_node_unref(node);
    return ok;
}

static struct block_node *co_open(struct block_node *base, const char *path, json_object *more,
                                  GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();

    json_object_object_foreach(more, key, value)
    {
        json_object_object_add(options, key, json_object_get(value));
    }
    put(options, "driver", "qcow2");
    json_object_object_add(options, "file", file_options(path));
    put(options, "backing", base->name);
    put(options, "cache.direct", "off");
    put(options, "cache.no-flush", "on");
    return co_block_open_loose(base->graph, NULL, options, 0, error);
}

struct block_node *co_block_open_temporary(struct block_node *base, json_object *options,
                                           GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/nandu-XXXXXX", base->graph->tmp_dir);
    struct block_node *node = NULL;
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        block_error(error,
                    "Could not make a temporary image in '%s': %s; TMPDIR names another folder",
                    base->graph->tmp_dir, g_strerror(errno));
    } else {
        close(fd);
        if (co_create(base->graph, path, base->length, error)) {
            node = co_open(base, path, options, error);
        }
        unlink(path);
        if (!node) {
            g_prefix_error(error,
                           "Could not make a temporary image on top of '%s': ", base->filename);
        }
    }
    co_block_node_unref(base); /* node has its own */
    return node;
}
