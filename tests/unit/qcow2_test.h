/*
 * What tests of qcow2 share: images made by QEMU's tools or here, opened on files in a temporary
 * folder.
 */
#ifndef NANDU_TEST_QCOW2_TEST_H
#define NANDU_TEST_QCOW2_TEST_H

#include <glib/gstdio.h>
#include <unistd.h>

#include "block_test.h"

/*
 * on_disk: requests take a while and overlap. Else in memory if that can be, for flushes are many.
 */
static inline char *qcow2_test_dir(bool on_disk)
{
    char *dir = g_strdup(on_disk ? "/var/tmp/nandu-qcow2-XXXXXX" : "/dev/shm/nandu-qcow2-XXXXXX");
    GError *error = NULL;

    if (!g_mkdtemp(dir)) {
        g_free(dir);
        dir = g_dir_make_tmp("nandu-qcow2-XXXXXX", &error);
        g_assert_no_error(error);
    }
    return dir;
}

static inline void qcow2_test_remove(char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        unlink(file);
    }
    rmdir(path);
    g_free(path);
}

/* A command of the shell in dir: its exit status, and what it printed (out may be NULL). */
static inline int qcow2_test_shell(const char *dir, char **out, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static inline int qcow2_test_shell(const char *dir, char **out, const char *format, ...)
{
    g_autofree char *command = NULL, *text = NULL;
    const char *argv[] = {"sh", "-c", NULL, NULL};
    GError *error = NULL;
    va_list args;
    int status;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    argv[2] = command;
    g_spawn_sync(dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &text, NULL, &status, &error);
    g_assert_no_error(error);
    if (out) {
        *out = g_steal_pointer(&text);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static inline bool qcow2_test_has_qemu(void)
{
    g_autofree char *path = g_find_program_in_path("qemu-img");

    return path != NULL;
}

/* NULL and *error: it can't be opened. flags: BLOCK_OPEN_CHECK, ... */
static inline struct block_node *qcow2_test_open(struct block_graph *graph, const char *path,
                                                 bool read_only, unsigned flags, GError **error)
{
    json_object *json = json_object_new_object(), *file = json_object_new_object();
    struct qapi_blockdev_options options;
    struct block_node *node = NULL;

    json_object_object_add(file, "driver", json_object_new_string("file"));
    json_object_object_add(file, "filename", json_object_new_string(path));
    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "read-only", json_object_new_boolean(read_only));
    json_object_object_add(json, "file", file);
    if (qapi_from_json(&qapi_type_blockdev_options, json, &options, error)) {
        node = co_block_open(graph, &options, flags, error);
        qapi_clear(&qapi_type_blockdev_options, &options);
    }
    json_object_put(json);
    return node;
}

/* An image in use, with all permissions. */
struct qcow2_test_disk {
    struct block_node *node;
    struct block_user *user;
};

static inline void co_qcow2_test_open_disk(struct qcow2_test_disk *disk, struct block_graph *graph,
                                           const char *path)
{
    GError *error = NULL;

    disk->node = qcow2_test_open(graph, path, false, 0, &error);
    g_assert_no_error(error);
    disk->user = block_user_new(graph, "test", NULL, NULL);
    block_user_attach(disk->user, disk->node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                      BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
}

static inline void co_qcow2_test_close_disk(struct qcow2_test_disk *disk)
{
    block_user_free(disk->user);
    co_block_node_unref(disk->node);
}

#endif
