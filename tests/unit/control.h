/*
 * What tests of the control plane share: an object tree with its surroundings, coroutines, files.
 */
#ifndef NANDU_TESTS_UNIT_CONTROL_H
#define NANDU_TESTS_UNIT_CONTROL_H

#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object/object.h"
#include "util/clock.h"
#include "util/coroutine.h"
#include "util/event_loop.h"
#include "util/fdset.h"
#include "util/log.h"

struct control {
    struct event_loop *loop;
    struct object_context context;
    struct object *root;
    char *dir; /* for the test's files */
};

static inline void control_init(struct control *c)
{
    GError *error = NULL;

    signal(SIGPIPE, SIG_IGN);
    alarm(100); /* a test that hangs fails */
    c->loop = event_loop_new("main", &error);
    g_assert_no_error(error);
    c->context = (struct object_context){
        .loop = c->loop,
        .clocks = clocks_new(),
        .log = log_new("test"),
        .fdsets = fdsets_new(),
    };
    c->root = object_root_new(&c->context);
    c->dir = g_dir_make_tmp("nandu-test-XXXXXX", &error);
    g_assert_no_error(error);
}

static inline void control_clear(struct control *c)
{
    GDir *dir = g_dir_open(c->dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(c->dir, name, NULL);

        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    g_dir_close(dir);
    g_assert_cmpint(g_rmdir(c->dir), ==, 0);
    g_free(c->dir);
    object_unref(c->root);
    fdsets_free(c->context.fdsets);
    log_free(c->context.log);
    clocks_unref(c->context.clocks);
    event_loop_unref(c->loop);
    alarm(0);
}

/* Writes a file in the test's folder; its path, which the caller frees. */
static inline char *control_file(struct control *c, const char *name, const char *text, gssize size)
{
    char *path = g_build_filename(c->dir, name, NULL);
    GError *error = NULL;

    g_file_set_contents(path, text, size, &error);
    g_assert_no_error(error);
    return path;
}

/* object-add with JSON; format as printf's, with ' for ". Borrowed. */
static inline struct object *control_try_add(struct control *c, GError **error, const char *format,
                                             va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autoptr(json_object) options = NULL;
    GError *local = NULL;

    options = json_parse(text, &local);
    g_assert_no_error(local);
    return object_create_user(c->root, options, false, error);
}

G_GNUC_PRINTF(2, 3)
static inline struct object *control_add(struct control *c, const char *format, ...)
{
    GError *error = NULL;
    struct object *obj;
    va_list args;

    va_start(args, format);
    obj = control_try_add(c, &error, format, args);
    va_end(args);
    g_assert_no_error(error);
    g_assert_nonnull(obj);
    return obj;
}

/* It must fail, with a message that the glob matches. */
G_GNUC_PRINTF(3, 4)
static inline void control_add_fails(struct control *c, const char *glob, const char *format, ...)
{
    GError *error = NULL;
    struct object *obj;
    va_list args;

    va_start(args, format);
    obj = control_try_add(c, &error, format, args);
    va_end(args);
    g_assert_null(obj);
    g_assert_nonnull(error);
    if (!g_pattern_match_simple(glob, error->message)) {
        g_error("'%s' is not '%s'", error->message, glob);
    }
    g_error_free(error);
}

static inline void control_delete(struct control *c, const char *id)
{
    GError *error = NULL;

    object_delete_user(c->root, id, &error);
    g_assert_no_error(error);
}

/* Runs the loop until *flag is set. */
static inline void control_run_until(struct control *c, const bool *flag)
{
    while (!*flag) {
        event_loop_iterate(c->loop, true);
    }
}

/* A Python program of this folder at the other end of a new socket; ours is returned. */
static inline int control_start_peer(GPid *pid, const char *const *args)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *script = g_build_filename(TEST_SOURCE_DIR, "io_peer.py", NULL);
    GError *error = NULL;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_ptr_array_add(argv, (char *)"python3");
    g_ptr_array_add(argv, script);
    g_ptr_array_add(argv, (char *)args[0]);
    g_ptr_array_add(argv, (char *)"3");
    for (unsigned i = 1; args[i]; i++) {
        g_ptr_array_add(argv, (char *)args[i]);
    }
    g_ptr_array_add(argv, NULL);
    g_spawn_async_with_pipes_and_fds(NULL, (const char *const *)argv->pdata, NULL,
                                     G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                     -1, -1, -1, &fds[1], (const int[]){3}, 1, pid, NULL, NULL,
                                     NULL, &error);
    g_assert_no_error(error);
    close(fds[1]);
    return fds[0];
}

/* Waits for it, which must have been content. */
static inline void control_finish_peer(GPid pid)
{
    int status;

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void assert_error_matches(GError *error, const char *glob)
{
    g_assert_nonnull(error);
    if (!g_pattern_match_simple(glob, error->message)) {
        g_error("'%s' is not '%s'", error->message, glob);
    }
}

#endif
