/*
 * Objects: everything that is configured, inspected or plugged. A type is a const description;
 * an object is an instance in a tree (/machine, /objects, /chardevs, ...). The same table of
 * properties serves -object X,help, object-add, qom-list-properties, qom-get and qom-set.
 *
 * The tree and its objects belong to the main thread. Reference counts may be taken and dropped
 * there only; what other threads need of an object they are given.
 */
#ifndef NANDU_OBJECT_OBJECT_H
#define NANDU_OBJECT_OBJECT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "qapi/type.h"
#include "util/auto.h"

struct event_loop;
struct clocks;
struct fdsets;
struct guest_random;
struct hotplug_ops;
struct log;
struct object;
struct object_type;
struct property;
struct state_ops;

/* Getters and setters that aren't a plain field; value has the property's qapi type. */
typedef bool property_get(struct object *obj, const struct property *prop, void *value,
                          GError **error);
typedef bool property_set(struct object *obj, const struct property *prop, const void *value,
                          GError **error);

enum property_flags {
    PROPERTY_READ_ONLY = 1,
    PROPERTY_WRITE_ONLY = 2,        /* secrets: qom-get refuses */
    PROPERTY_RUNTIME = 4,           /* may be set after complete() */
    PROPERTY_REQUIRED = 8,
};

struct property {
    const char *name;
    const char *description;        /* one line, for help */
    const struct qapi_type *type;   /* bool, size, str, an enum, a list or struct of the schema */
    /* Not NULL: a link to an object of this type. The field is a struct object *, an owned
     * reference; type is qapi_type_str (a path or id). */
    const char *link;
    size_t offset;                  /* of the field in the instance */
    const char *default_value;      /* as on a command line ("on", "64k"); NULL: zero or absent */
    unsigned flags;
    /*
     * None: a plain field. Only set: a field, and set checks a value before it is stored. Only
     * get: computed, can't be set. Both: no field; offset is theirs to use. What get fills in,
     * the caller frees.
     */
    property_get *get;
    property_set *set;
    /* A field of a complete object has got a new value (PROPERTY_RUNTIME). */
    void (*changed)(struct object *obj, const struct property *prop);
};

/* Row of a property that is a field of struct INSTANCE; more members (.set = ...) may follow. */
#define PROPERTY(name_, instance, field, type_, default_, description_, ...)                       \
    {.name = (name_), .offset = offsetof(struct instance, field), .type = &(type_),                \
     .default_value = (default_), .description = (description_), ##__VA_ARGS__}
#define PROPERTY_LINK(name_, instance, field, target, description_, ...)                           \
    {.name = (name_), .offset = offsetof(struct instance, field), .type = &qapi_type_str,          \
     .link = (target), .description = (description_), ##__VA_ARGS__}

struct object_type {
    const char *name;
    const char *parent;             /* name of the parent type; NULL: only "object" has none */
    const char *description;        /* one line, for -object help and -device help */
    bool abstract;
    size_t instance_size;           /* 0: the parent's; begins with the parent's structure */
    const struct property *properties;      /* besides the parent's */
    size_t n_properties;
    const char *const *interfaces;  /* "user-creatable", ..., NULL; besides the parent's */
    /* These are inherited if NULL: what code that knows the type wants of it (ops), */
    const void *class_data;
    const struct hotplug_ops *hotplug;      /* of a hotplug handler (object/hotplug.h), */
    const char *category;           /* of devices that -device can make, for its help: "Network", */
    const char *bus;                /* of devices: what they plug into, "PCI", */
    const struct state_ops *state;  /* of what has state that is saved (hw/state.h). */
    /* Both or none: objects of this type stand for one of type proxied, their child of this name,
     * made by init. Its properties that they don't have themselves are theirs, too. */
    const char *proxied, *proxied_child;

    /* Parent's first; after defaults are set. */
    void (*init)(struct object *obj);
    /* All properties are set; parent's first. */
    bool (*complete)(struct object *obj, GError **error);
    /* Whether object-del may remove it now; false and *error: in use. */
    bool (*can_be_deleted)(struct object *obj, GError **error);
    /* Child's first; also if complete failed or wasn't called. Fields that are properties are freed
     * by the core afterwards. */
    void (*finalize)(struct object *obj);
};

/*
 * Puts a type into the program's table (a section that the linker collects): one row in the
 * type's file.
 */
#define OBJECT_TYPE(type)                                                                          \
    static const struct object_type *const type##_row                                              \
        __attribute__((used, retain, section("nandu_object_types"))) = &(type)

struct object {
    const struct object_type *type;
    struct object *parent;          /* not counted; NULL: the root, or not in the tree */
    char *name;                     /* in the parent; owned */
    GHashTable *children;           /* name -> struct object, owned reference; NULL: none yet */
    GPtrArray *child_order;         /* struct object, borrowed, in the order of adding */
    unsigned refs;
    bool completed;
    bool user_created;              /* by object-add, device_add and their options */
};

/* Types. NULL if there is none of this name. */
const struct object_type *object_type_find(const char *name);
const struct object_type *object_type_parent(const struct object_type *type);
/* Whether type is or descends from the type, or has the interface, called ancestor. */
bool object_type_is(const struct object_type *type, const char *ancestor);
bool object_is(const struct object *obj, const char *ancestor);
/* The type of the object that those of this type stand for; NULL: none. */
const struct object_type *object_type_proxied(const struct object_type *type);
/* All types that are an ancestor (NULL: any), sorted by name, abstract ones only if asked for.
 * Free the array with g_ptr_array_unref. */
GPtrArray *object_type_list(const char *ancestor, bool with_abstract);
const void *object_class_data(const struct object *obj);
const struct property *object_type_property(const struct object_type *type, const char *name);
/* All properties, the oldest ancestor's first, those of what it stands for last; of two with one
 * name the descendant's. Free with g_ptr_array_unref. */
GPtrArray *object_type_properties(const struct object_type *type);
/* As QMP and help show it: "bool", "int", "string", "link<iothread>", "ThrottleLimits". Caller
 * frees. */
char *property_type_name(const struct object_type *owner, const struct property *prop);
bool property_is_settable(const struct property *prop);
/* The default as JSON; NULL if there is none to tell. */
json_object *property_default(const struct property *prop);

/* Objects. object_new: one reference, defaults set, not in the tree. Never fails; not for
 * abstract types. */
struct object *object_new(const struct object_type *type);
struct object *object_ref(struct object *obj);
void object_unref(struct object *obj);
DEFINE_AUTO_PTR(object, object_unref)
bool object_complete(struct object *obj, GError **error);

/* What objects need of the program; lives as long as the tree. */
struct object_context {
    struct event_loop *loop;        /* main (util/event_loop.h) */
    struct clocks *clocks;          /* util/clock.h */
    struct log *log;                /* util/log.h */
    struct fdsets *fdsets;          /* util/fdset.h */
    struct guest_random *random;    /* util/guest_random.h */
};

/* The tree: a root with /objects and /chardevs. */
struct object *object_root_new(const struct object_context *context);
/* Of the tree that obj is in; an object that is being completed is in it already. */
const struct object_context *object_context(struct object *obj);
/* Takes a reference. False and *error if the name is taken or isn't valid. */
bool object_add_child(struct object *parent, const char *name, struct object *child,
                      GError **error);
/* From its parent; drops the reference. */
void object_remove(struct object *obj);
struct object *object_child(const struct object *parent, const char *name);
/* An absolute path, or a name or partial path that is unique in the tree (*ambiguous tells).
 * Borrowed. */
struct object *object_resolve(struct object *root, const char *path, const char *of_type,
                              bool *ambiguous);
struct object *object_root_of(struct object *obj);
char *object_path(const struct object *obj);                /* caller frees */
/* The folder at path (/objects), made if it isn't there. Borrowed. */
struct object *object_container(struct object *root, const char *path);
typedef bool object_visit(struct object *obj, void *opaque);    /* false: stop */
void object_foreach_child(struct object *parent, object_visit *fn, void *opaque);

/* Properties. JSON or key=value (strings), as said by keyval. Errors name property and type. */
bool object_set(struct object *obj, const char *name, struct json_object *value, bool keyval,
                GError **error);
json_object *object_get(struct object *obj, const char *name, GError **error);
bool object_set_str(struct object *obj, const char *name, const char *value, GError **error);
/* All members of an object of options, but for those in skip (NULL-terminated, may be NULL). */
bool object_set_all(struct object *obj, struct json_object *options, const char *const *skip,
                    bool keyval, GError **error);

/*
 * What -object and object-add do: type "qom-type", name "id", the other members are properties;
 * put into /objects, and complete. Nothing stays behind on failure. Borrowed result.
 */
struct object *object_create_user(struct object *root, struct json_object *options, bool keyval,
                                  GError **error);
bool object_delete_user(struct object *root, const char *id, GError **error);
/* Whether object-del may remove it now. */
bool object_can_be_deleted(struct object *obj, GError **error);
/* "-object help" and "-object TYPE,help", as QEMU prints them. Caller frees. */
char *object_types_help(const char *ancestor, const char *heading);
char *object_type_help(const struct object_type *type);
/* Ids are letters, digits, "-", ".", "_", a letter first. */
bool object_id_valid(const char *id);

#endif
