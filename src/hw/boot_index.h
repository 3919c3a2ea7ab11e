/* The property "bootindex" of devices that firmware may boot from. */
#ifndef NANDU_HW_BOOT_INDEX_H
#define NANDU_HW_BOOT_INDEX_H

#include "object/object.h"

/* Refuses one that another device of the machine has. */
bool boot_index_check(struct object *obj, const struct property *prop, const void *value,
                      GError **error);

/* The row; field is an int32_t. */
#define BOOT_INDEX_PROPERTY(instance, field)                                                       \
    PROPERTY("bootindex", instance, field, qapi_type_int32, "-1",                                  \
             "Its place in the order that firmware boots from; -1: none",                          \
             .set = boot_index_check)

#endif
