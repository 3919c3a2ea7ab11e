/* The abstract type "authz", and "authz-simple", which allows one identity. */
#include <string.h>

#include "crypto/authz.h"
#include "qapi/error.h"

#define AUTHZ_ERROR QAPI_ERROR, QAPI_ERROR_GENERIC

struct authz_simple {
    struct object obj;
    char *identity;
};

static const struct object_type authz_type = {
    .name = "authz",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct object),
};
OBJECT_TYPE(authz_type);

static bool simple_is_allowed(struct object *obj, const char *identity)
{
    return strcmp(((struct authz_simple *)obj)->identity, identity) == 0;
}

static const struct authz_ops simple_ops = {.is_allowed = simple_is_allowed};

static const struct property simple_properties[] = {
    {.name = "identity",
     .offset = offsetof(struct authz_simple, identity),
     .type = &qapi_type_str,
     .flags = PROPERTY_REQUIRED,
     .description = "The identity that is allowed"},
};

static const char *const user_creatable[] = {"user-creatable", NULL};

static const struct object_type authz_simple_type = {
    .name = "authz-simple",
    .parent = "authz",
    .description = "Authorisation of one identity",
    .instance_size = sizeof(struct authz_simple),
    .properties = simple_properties,
    .n_properties = G_N_ELEMENTS(simple_properties),
    .interfaces = user_creatable,
    .class_data = &simple_ops,
};
OBJECT_TYPE(authz_simple_type);

bool authz_is_allowed(struct object *root, const char *id, const char *identity, bool *allowed,
                      GError **error)
{
    struct object *obj = object_child(object_container(root, "/objects"), id);
    const struct authz_ops *ops;

    *allowed = false;
    if (!obj) {
        g_set_error(error, AUTHZ_ERROR, "No authz object with id '%s'", id);
        return false;
    }
    if (!object_is(obj, "authz")) {
        g_set_error(error, AUTHZ_ERROR, "Object with id '%s' is not an authz object but of type %s",
                    id, obj->type->name);
        return false;
    }
    ops = object_class_data(obj);
    *allowed = ops->is_allowed(obj, identity);
    return true;
}
