/*
 * The state of all devices and vCPUs of a machine: one walk over the object tree (hw/state.h says
 * how an object is saved). Main thread; the machine is stopped.
 */
#ifndef NANDU_MIGRATION_STATE_WALK_H
#define NANDU_MIGRATION_STATE_WALK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object;

/* Appends the sections of root and of all that is below it, an object before its children. */
void state_walk_save(struct object *root, GByteArray *out);
/*
 * Loads them all, in whichever order they come; size bytes are nothing else. False and *error: an
 * object isn't there, has no state in data, or refuses it. Then the machine is to be reset: some
 * objects may have been loaded.
 */
bool state_walk_load(struct object *root, const uint8_t *data, size_t size, GError **error);

#endif
