/* What object.c needs of property.c. */
#ifndef NANDU_OBJECT_PROPERTY_H
#define NANDU_OBJECT_PROPERTY_H

#include "object/object.h"

/* Fields get the defaults of their rows. */
void property_set_defaults(struct object *obj);
/* Frees what fields own and drops links. */
void property_clear_all(struct object *obj);
/* Where a link leads to; NULL: not set. Borrowed. */
struct object *property_link(struct object *obj, const struct property *prop);

#endif
