/* Opening images for the tools. */
#include "cli/img.h"

#include <string.h>

#include "qapi/keyval.h"

bool img_cache_mode(const char *mode, bool *direct, bool *no_flush, bool *writethrough)
{
    static const struct {
        const char *name;
        bool direct, no_flush, writethrough;
    } modes[] = {
        {"writeback", false, false, false}, {"writethrough", false, false, true},
        {"none", true, false, false},       {"off", true, false, false},
        {"directsync", true, false, true},  {"unsafe", false, true, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (g_str_equal(mode ? mode : "writeback", modes[i].name)) {
            *direct = modes[i].direct;
            *no_flush = modes[i].no_flush;
            *writethrough = modes[i].writethrough;
            return true;
        }
    }
    return false;
}

static void put_text(json_object *options, const char *key, const char *value)
{
    if (!json_object_object_get_ex(options, key, NULL)) {
        json_object_object_add(options, key, json_object_new_string(value));
    }
}

static void put(json_object *options, const char *key, bool value)
{
    put_text(options, key, value ? "on" : "off");
}

/*
 * How requests to a file are made, when nobody said it: past the host's cache io_uring is quickest.
 * What is in the cache is copied by threads, which can be several at once.
 */
static void choose_aio(const struct img *img, const struct img_image *image, json_object *options,
                       bool direct)
{
    const struct block_driver *driver = image->format ? block_driver_find(image->format) : NULL;
    bool is_file = driver && (driver->kind == QAPI_BLOCKDEV_DRIVER_FILE ||
                              driver->kind == QAPI_BLOCKDEV_DRIVER_HOST_DEVICE);

    if ((direct || image->quick) && event_loop_has_uring(img->loop) && !image->image_opts &&
        (is_file || !driver || !driver->protocols) &&
        g_file_test(image->filename, G_FILE_TEST_EXISTS)) {
        put_text(options, is_file ? "aio" : "file.aio", "io_uring");
    }
}

/* What is said by other options of the command line, where the image's own don't say it. */
static json_object *image_options(const struct img *img, const struct img_image *image, bool direct,
                                  bool no_flush, GError **error)
{
    json_object *options = image->image_opts ? keyval_parse_flat(image->filename, NULL, NULL, error)
                                             : json_object_new_object();

    if (!options) {
        return NULL;
    }
    if (image->options) {
        json_object_object_foreach(image->options, key, value)
        {
            json_object_object_add(options, key, json_object_get(value));
        }
    }
    if (image->format && !json_object_object_get_ex(options, "driver", NULL)) {
        json_object_object_add(options, "driver", json_object_new_string(image->format));
    }
    put(options, "read-only", !image->writable);
    put(options, "force-share", image->force_share);
    put(options, "cache.direct", direct);
    put(options, "cache.no-flush", no_flush);
    choose_aio(img, image, options, direct);
    if (json_object_object_get_ex(options, "file.aio", NULL)) {
        put(options, "file.cache.direct", direct); /* where its format is looked for, too */
    }
    if (image->discard && !json_object_object_get_ex(options, "discard", NULL)) {
        json_object_object_add(options, "discard", json_object_new_string("unmap"));
    }
    return options;
}

static unsigned open_flags(const struct img_image *image)
{
    return BLOCK_OPEN_PROBE | (image->no_backing ? BLOCK_OPEN_NO_BACKING : 0) |
           (image->no_io ? BLOCK_OPEN_NO_IO : 0) | (image->check ? BLOCK_OPEN_CHECK : 0);
}

static struct block_user *use(struct img *img, struct block_node *node,
                              const struct img_image *image, GError **error)
{
    struct block_user *user = block_user_new(img->graph, image->filename, NULL, NULL);
    unsigned perm = image->no_io ? 0 : BLOCK_PERM_CONSISTENT_READ;

    perm |= (image->writable ? BLOCK_PERM_WRITE : 0) | (image->resizable ? BLOCK_PERM_RESIZE : 0);
    if (!block_user_attach(user, node, perm, BLOCK_PERM_ALL, error)) {
        block_user_free(user);
        return NULL;
    }
    return user;
}

/*
 * A disk answers in less time than it takes to put a processor to sleep and to wake it: one request
 * after the other is a third quicker if the tool, which has nothing else to do, looks for the answer
 * meanwhile. Where threads do the work, it would only take their processors.
 */
static void poll_disk(const struct img *img, json_object *options)
{
    enum { MAX_NS = 200000 }; /* where answers take longer, it sleeps at once */
    static const char *const keys[] = {"aio", "file.aio"};
    json_object *aio;

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (json_object_object_get_ex(options, keys[i], &aio) &&
            g_strcmp0(json_object_get_string(aio), "io_uring") == 0) {
            event_loop_set_polling(img->loop, MAX_NS, 0, 0);
        }
    }
}

struct block_user *co_img_open(struct img *img, const struct img_image *image)
{
    g_autoptr(json_object) options = NULL;
    g_autoptr(GError) error = NULL;
    bool direct, no_flush, writethrough;
    struct block_node *node = NULL;
    struct block_user *user = NULL;

    if (!img_cache_mode(image->cache, &direct, &no_flush, &writethrough)) {
        img_fail(img, "Invalid cache option: %s", image->cache);
        return NULL;
    }
    options = image_options(img, image, direct, no_flush, &error);
    if (options) {
        if (direct) {
            poll_disk(img, options);
        }
        node = co_block_open_loose(img->graph, image->image_opts ? NULL : image->filename, options,
                                   open_flags(image), &error);
    }
    if (node) {
        user = use(img, node, image, &error);
    }
    if (!user) {
        co_block_node_unref(node);
        if (img->is_io) {
            img_fail_error(img, &error, "can't open device %s", image->filename);
        } else {
            img_fail_error(img, &error, "Could not open '%s'", image->filename);
        }
        return NULL;
    }
    block_user_set_write_cache(user, !writethrough);
    return user;
}

void co_img_close(struct block_user *user)
{
    if (user) {
        struct block_node *node = block_user_node(user);

        /* Its own reference goes last, here: what closing has to wait for is over when this
         * returns. */
        block_user_free(user);
        co_block_node_unref(node);
    }
}

bool co_img_load_snapshot(struct img *img, struct block_user *user, const char *text)
{
    struct block_node *node = block_user_node(user);
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    g_autoptr(json_object) options = NULL;
    g_autoptr(GError) error = NULL;
    json_object *id = NULL, *name = NULL;
    bool ok;

    if (!ops || !ops->co_load_temporarily) {
        img_fail(img, "Failed to load snapshot: Device '%s' does not support snapshots",
                 node->filename);
        return false;
    }
    if (!g_str_has_prefix(text, "snapshot.")) {
        /* An id first, as everywhere. */
        ok = ops->co_load_temporarily(node, text, NULL, NULL) ||
             ops->co_load_temporarily(node, NULL, text, &error);
    } else {
        options = keyval_parse_flat(text, NULL, NULL, &error);
        if (options) {
            json_object_object_get_ex(options, "snapshot.id", &id);
            json_object_object_get_ex(options, "snapshot.name", &name);
        }
        ok =
            options && ops->co_load_temporarily(node, id ? json_object_get_string(id) : NULL,
                                                name ? json_object_get_string(name) : NULL, &error);
    }
    if (!ok) {
        img_fail_error(img, &error, "Failed to load snapshot");
    }
    return ok;
}
