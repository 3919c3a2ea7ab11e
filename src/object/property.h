/* What the files of the object core share. */
#ifndef NANDU_OBJECT_PROPERTY_H
#define NANDU_OBJECT_PROPERTY_H

#include "object/object.h"

/* Fields get the defaults of their rows. */
void property_set_defaults(struct object *obj);
/* Frees what fields own and drops links. */
void property_clear_all(struct object *obj);
/* Where a link leads to; NULL: not set. Borrowed. */
struct object *property_link(struct object *obj, const struct property *prop);

/* Without those of what the type stands for (object_type.proxied). */
const struct property *object_type_own_property(const struct object_type *type, const char *name);
GPtrArray *object_type_own_properties(const struct object_type *type);
const char *object_type_proxied_child(const struct object_type *type);
/* A text of struct object_type that is inherited if it is NULL; offset is its member's. */
const char *object_type_inherited(const struct object_type *type, size_t offset);

#endif
