/* -global: values that properties of all devices of a type have, unless a device says otherwise. */
#ifndef NANDU_MACHINE_GLOBALS_H
#define NANDU_MACHINE_GLOBALS_H

#include "object/object.h"

struct log;

struct globals;
struct globals *globals_new(void);
void globals_free(struct globals *globals);
/* "TYPE.PROPERTY=VALUE" or "driver=TYPE,property=PROPERTY,value=VALUE". False and *error: not that,
 * or no such type or property. */
bool globals_add(struct globals *globals, const char *text, GError **error);
/* Sets what is meant for obj, and for the devices that it is made of, before its own properties are
 * set. globals NULL: there are none. */
bool globals_apply(const struct globals *globals, struct object *obj, GError **error);
/* The same for a device that a board is about to make with props, which count more. */
bool globals_apply_json(const struct globals *globals, const struct object_type *type,
                        json_object *props, GError **error);
/* A warning for each that nothing has been made for. */
void globals_warn_unused(const struct globals *globals, struct log *log);

#endif
