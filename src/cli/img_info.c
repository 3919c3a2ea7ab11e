/* nandu-img info: what an image says of itself, and of what it is made of. */
#include "cli/img.h"

#include <stdio.h>
#include <string.h>

#include "qapi/qapi_types.h"

/* ---- As text ---- */

static void print_tree(json_object *value, int depth);

static bool is_composite(json_object *value)
{
    return json_object_is_type(value, json_type_object) ||
           json_object_is_type(value, json_type_array);
}

static void print_item(const char *name, const char *space, json_object *value, int depth)
{
    bool composite = is_composite(value);

    printf("%*s%s%s", depth * 4, "", name, composite ? ":\n" : space);
    print_tree(value, depth + 1);
    if (!composite) {
        putchar('\n');
    }
}

static void print_tree(json_object *value, int depth)
{
    if (json_object_is_type(value, json_type_object)) {
        g_autofree const char **keys = img_member_order(value);

        for (size_t i = 0; keys[i]; i++) {
            g_autofree char *name = g_strdelimit(g_strdup(keys[i]), "-", ' ');

            print_item(name, ": ", json_object_object_get(value, keys[i]), depth);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            g_autofree char *name = g_strdup_printf("[%zu]", i);

            print_item(name, ": ", json_object_array_get_idx(value, i), depth);
        }
    } else {
        fputs(json_object_get_string(value), stdout);
    }
}

static void print_backing(const struct qapi_image_info *info, const char *indent)
{
    printf("%sbacking file: %s", indent, info->backing_filename);
    if (!info->full_backing_filename) {
        fputs(" (cannot determine actual path)", stdout);
    } else if (!g_str_equal(info->backing_filename, info->full_backing_filename)) {
        printf(" (actual path: %s)", info->full_backing_filename);
    }
    putchar('\n');
    if (info->backing_filename_format) {
        printf("%sbacking file format: %s\n", indent, info->backing_filename_format);
    }
}

void img_print_specific(const struct qapi_image_info *info, const char *indent, int depth)
{
    g_autoptr(json_object) json = NULL;
    json_object *data = NULL;

    if (!info->format_specific) {
        return;
    }
    json = qapi_to_json(&qapi_type_image_info_specific, info->format_specific);
    if (json_object_object_get_ex(json, "data", &data) && json_object_object_length(data)) {
        printf("%sFormat specific information:\n", indent);
        print_tree(data, depth + 1);
    }
}

static void print_one(const struct qapi_image_info *info, int depth)
{
    g_autofree char *indent = g_strnfill((gsize)depth * 4, ' ');
    g_autofree char *virtual = img_human_size((uint64_t)info->virtual_size);
    g_autofree char *actual = info->has_actual_size ? img_human_size((uint64_t)info->actual_size)
                                                    : g_strdup("unavailable");

    printf("%s%s: %s\n", indent, depth ? "filename" : "image", info->filename);
    printf("%s%s: %s\n", indent, depth ? "protocol type" : "file format", info->format);
    printf("%s%s: %s (%" G_GINT64_FORMAT " bytes)\n", indent,
           depth ? "file length" : "virtual size", virtual, info->virtual_size);
    printf("%sdisk size: %s\n", indent, actual);
    if (info->has_encrypted && info->encrypted) {
        printf("%sencrypted: yes\n", indent);
    }
    if (info->has_cluster_size) {
        printf("%scluster_size: %" G_GINT64_FORMAT "\n", indent, info->cluster_size);
    }
    if (info->has_dirty_flag && info->dirty_flag) {
        printf("%scleanly shut down: no\n", indent);
    }
    if (info->backing_filename) {
        print_backing(info, indent);
    }
    if (info->has_snapshots && info->snapshots.n) {
        printf("%sSnapshot list:\n", indent);
        img_print_snapshots(stdout, &info->snapshots);
    }
    img_print_specific(info, indent, depth);
}

/* ---- The graph ---- */

static bool co_describe(struct block_node *node, struct qapi_image_info *info, GError **error)
{
    if (!co_block_image_info(node, false, info, error)) {
        qapi_clear(&qapi_type_image_info, info);
        return false;
    }
    info->has_dirty_flag = true;
    return true;
}

static bool is_shown(const struct block_edge *edge)
{
    return !(edge->role & BLOCK_ROLE_BACKING);
}

static bool co_print_human(struct block_node *node, const char *path, GError **error)
{
    struct qapi_image_info info;

    if (!co_describe(node, &info, error)) {
        return false;
    }
    if (*path) {
        printf("Child node '%s':\n", path);
    }
    print_one(&info, *path ? 1 : 0);
    qapi_clear(&qapi_type_image_info, &info);
    for (guint i = 0; i < node->children->len; i++) {
        const struct block_edge *edge = node->children->pdata[i];
        g_autofree char *below = g_strdup_printf("%s/%s", path, edge->name);

        if (is_shown(edge) && !co_print_human(edge->node, below, error)) {
            return false;
        }
    }
    return true;
}

static json_object *co_to_json(struct block_node *node, GError **error)
{
    struct qapi_image_info info;
    json_object *json, *children = json_object_new_array();

    if (!co_describe(node, &info, error)) {
        json_object_put(children);
        return NULL;
    }
    json = qapi_to_json(&qapi_type_image_info, &info);
    json_object_object_add(json, "children", children);
    qapi_clear(&qapi_type_image_info, &info);
    for (guint i = 0; i < node->children->len; i++) {
        const struct block_edge *edge = node->children->pdata[i];
        json_object *child, *entry;

        if (!is_shown(edge)) {
            continue;
        }
        child = co_to_json(edge->node, error);
        if (!child) {
            json_object_put(json);
            return NULL;
        }
        entry = json_object_new_object();
        json_object_object_add(entry, "name", json_object_new_string(edge->name));
        json_object_object_add(entry, "info", child);
        json_object_array_add(children, entry);
    }
    return json;
}

/* ---- The chain ---- */

struct chain {
    struct img *img;
    const struct img_args *args;
    bool json;
    json_object *list;
    GHashTable *seen; /* file names */
};

/* What lies below an image of the chain. */
struct below {
    char *filename, *format;
};

/* Shows the image and finds the next one. False after a message. */
static bool co_show(struct chain *chain, const struct img_image *image, struct below *below)
{
    struct block_user *user = co_img_open(chain->img, image);
    g_autoptr(GError) error = NULL;
    struct qapi_image_info info;
    struct block_node *node;
    bool ok;

    if (!user) {
        return false;
    }
    node = block_user_node(user);
    if (chain->json) {
        json_object *json = co_to_json(node, &error);

        ok = json != NULL;
        if (ok) {
            json_object_array_add(chain->list, json);
        }
    } else {
        ok = co_print_human(node, "", &error);
    }
    ok = ok && co_describe(node, &info, &error);
    if (ok) {
        *below = (struct below){g_strdup(info.full_backing_filename),
                                g_strdup(info.backing_filename_format)};
        qapi_clear(&qapi_type_image_info, &info);
    } else {
        img_fail_error(chain->img, &error, "Could not get information on '%s'", image->filename);
    }
    co_img_close(user);
    return ok;
}

static bool co_walk(struct chain *chain)
{
    g_autofree char *filename = g_strdup(chain->args->operands[0]),
                    *format = g_strdup(chain->args->format);
    bool image_opts = chain->args->image_opts;

    while (filename) {
        struct img_image image = {
            .filename = filename,
            .format = format,
            .image_opts = image_opts,
            .no_backing = true,
            .no_io = true,
            .force_share = chain->args->force_share,
        };
        struct below below = {0};

        if (!g_hash_table_add(chain->seen, g_strdup(filename))) {
            img_fail(chain->img, "Backing file '%s' creates an infinite loop.", filename);
            return false;
        }
        if (!chain->json && g_hash_table_size(chain->seen) > 1) {
            putchar('\n');
        }
        if (!co_show(chain, &image, &below)) {
            return false;
        }
        g_free(filename);
        g_free(format);
        filename = chain->args->chain ? below.filename : (g_free(below.filename), NULL);
        format = below.format;
        image_opts = false;
    }
    return true;
}

static int co_info(struct img *img, const struct img_args *args)
{
    struct chain chain = {.img = img, .args = args};
    int json = img_output(img, args);
    bool ok;

    if (json < 0) {
        return 1;
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    chain.json = json;
    chain.list = json_object_new_array();
    chain.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    ok = co_walk(&chain);
    if (ok && json) {
        img_print_json(stdout, args->chain ? chain.list : json_object_array_get_idx(chain.list, 0));
    }
    json_object_put(chain.list);
    g_hash_table_destroy(chain.seen);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"backing-chain", 'b', NULL, "of the images below, too", IMG_FLAG, IMG_AT(chain)},
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_OUTPUT,
    IMG_ROW_END,
};

const struct img_command img_info = {"info", "show what an image is", "FILENAME", options, co_info,
                                     1};
