/*
 * The object type "authz-listfile": rules in a JSON file, of the form of authz-list's properties.
 * With refresh it is read again whenever it is written or replaced; while it is broken nobody is
 * allowed.
 */
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "crypto/authz.h"
#include "crypto/authz_rules.h"
#include "crypto/regular_file.h"
#include "object/object.h"
#include "qapi/error.h"
#include "util/event_loop.h"
#include "util/log.h"

#define AUTHZ_ERROR QAPI_ERROR, QAPI_ERROR_GENERIC

enum { MAX_FILE = 16 << 20 }; /* bytes */

struct authz_listfile {
    struct object obj;
    char *filename;
    bool refresh;

    struct qapi_auth_zlist_properties *rules; /* NULL: the file is broken */
    struct event_loop *loop;                  /* watches inotify; NULL: doesn't */
    int inotify;
};

/* NULL and *error. */
static struct qapi_auth_zlist_properties *load(const char *filename, GError **error)
{
    g_autofree struct qapi_auth_zlist_properties *rules = NULL;
    g_autoptr(json_object) json = NULL;
    g_autofree char *text = NULL;
    GError *local = NULL;
    size_t size;
    int err = regular_file_read(filename, MAX_FILE, &text, &size);

    if (err) {
        g_set_error(error, AUTHZ_ERROR, "Unable to read '%s': %s", filename, g_strerror(err));
        return NULL;
    }
    json = json_parse(text, &local);
    if (!json && !local) {
        local = g_error_new(AUTHZ_ERROR, "an object is needed, not null");
    }
    if (json) {
        rules = g_new0(struct qapi_auth_zlist_properties, 1);
        if (qapi_from_json(&qapi_type_auth_zlist_properties, json, rules, &local)) {
            return g_steal_pointer(&rules);
        }
    }
    g_set_error(error, AUTHZ_ERROR, "Unable to parse '%s': %s", filename, local->message);
    g_error_free(local);
    return NULL;
}

static void on_inotify(void *opaque)
{
    struct authz_listfile *list = opaque;
    g_autofree char *name = g_path_get_basename(list->filename);
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    const struct inotify_event *event;
    GError *error = NULL;
    bool changed = false;
    ssize_t size;

    while ((size = read(list->inotify, buffer, sizeof(buffer))) > 0) {
        for (ssize_t i = 0; i < size; i += (ssize_t)(sizeof(*event) + event->len)) {
            event = (const struct inotify_event *)(buffer + i);
            changed |=
                (event->mask & IN_Q_OVERFLOW) || (event->len > 0 && strcmp(event->name, name) == 0);
        }
    }
    if (!changed) {
        return;
    }
    if (list->rules) {
        qapi_free(&qapi_type_auth_zlist_properties, list->rules);
    }
    list->rules = load(list->filename, &error);
    if (error) {
        log_error(object_context(&list->obj)->log, "%s; nobody is allowed", error->message);
        g_error_free(error);
    }
}

/* The folder is watched and not the file, since editors put a new file in its place. */
static bool start_watch(struct authz_listfile *list, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(list->filename);

    list->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (list->inotify < 0 ||
        inotify_add_watch(list->inotify, folder,
                          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0) {
        g_set_error(error, AUTHZ_ERROR,
                    "Unable to watch '%s' for changes of '%s': %s "
                    "(refresh=off reads it once)",
                    folder, list->filename, g_strerror(errno));
        return false;
    }
    list->loop = event_loop_ref(object_context(&list->obj)->loop);
    event_loop_watch(list->loop, list->inotify, on_inotify, NULL, list);
    return true;
}

static void listfile_init(struct object *obj)
{
    ((struct authz_listfile *)obj)->inotify = -1;
}

static bool listfile_complete(struct object *obj, GError **error)
{
    struct authz_listfile *list = (struct authz_listfile *)obj;

    /* Watched first: nothing that is written after the file was read goes unnoticed. */
    if (list->refresh && !start_watch(list, error)) {
        return false;
    }
    list->rules = load(list->filename, error);
    return list->rules != NULL;
}

static void listfile_finalize(struct object *obj)
{
    struct authz_listfile *list = (struct authz_listfile *)obj;

    if (list->loop) {
        event_loop_watch(list->loop, list->inotify, NULL, NULL, NULL);
        event_loop_unref(list->loop);
    }
    if (list->inotify >= 0) {
        close(list->inotify);
    }
    if (list->rules) {
        qapi_free(&qapi_type_auth_zlist_properties, list->rules);
    }
}

static bool listfile_is_allowed(struct object *obj, const char *identity)
{
    const struct authz_listfile *list = (const struct authz_listfile *)obj;

    return list->rules && authz_rules_allow(&list->rules->rules, list->rules->policy, identity);
}

static const struct authz_ops listfile_ops = {.is_allowed = listfile_is_allowed};

static const struct property listfile_properties[] = {
    {.name = "filename",
     .offset = offsetof(struct authz_listfile, filename),
     .type = &qapi_type_str,
     .flags = PROPERTY_REQUIRED,
     .description = "JSON file with the rules"},
    PROPERTY("refresh", authz_listfile, refresh, qapi_type_bool, "on",
             "Whether the file is read again when it changes"),
};

static const char *const listfile_interfaces[] = {"user-creatable", NULL};

static const struct object_type authz_listfile_type = {
    .name = "authz-listfile",
    .parent = "authz",
    .description = "Authorisation by a list of rules in a file",
    .instance_size = sizeof(struct authz_listfile),
    .properties = listfile_properties,
    .n_properties = G_N_ELEMENTS(listfile_properties),
    .interfaces = listfile_interfaces,
    .class_data = &listfile_ops,
    .init = listfile_init,
    .complete = listfile_complete,
    .finalize = listfile_finalize,
};
OBJECT_TYPE(authz_listfile_type);
