/*
 * Devices that come by -device, device_add, and by options that stand for a device (-nic, -drive
 * if=virtio). They are below /machine/peripheral by their ids, or /machine/peripheral-anon. Main
 * thread.
 */
#ifndef NANDU_MACHINE_DEVICES_H
#define NANDU_MACHINE_DEVICES_H

#include "object/object.h"

struct vm;

/*
 * Makes the device that props describes, as -device does: "driver", "id", "bus" and the type's
 * properties, strings of key=value or JSON's values, as said by keyval. The machine is there. A
 * device that comes once vm_machine_ready was called is plugged in, and its bus must allow that.
 * False and *error: nothing stays behind.
 */
bool vm_add_device(struct vm *vm, json_object *props, bool keyval, GError **error);
/*
 * Asks the guest to let go of the device of this id or path; what has nobody to ask is gone at
 * once. The event DEVICE_DELETED says when it is.
 */
bool vm_remove_device(struct vm *vm, const char *id, GError **error);
/*
 * Takes a device out that the guest has let go of (hw_vm_ops.unplug), with what is plugged into it;
 * DEVICE_DELETED is sent. And all that were added: before the machine goes.
 */
void vm_unplug(struct vm *vm, struct object *device);
void vm_unplug_refused(struct vm *vm, struct object *device);
void vm_remove_all_devices(struct vm *vm);
/* Whether -device can make it. */
bool vm_device_is_pluggable(const struct object_type *type);
/* All devices that the machine starts with are there: it is reset, and may run. False and *error:
 * the board can't take them. */
bool vm_machine_ready(struct vm *vm, GError **error);

#endif
