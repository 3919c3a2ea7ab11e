/* What runs the vCPUs: types that descend from "accel". */
#include "object/object.h"

static const struct object_type accel_type = {
    .name = "accel",
    .parent = "object",
    .description = "what runs the vCPUs",
    .abstract = true,
    .instance_size = sizeof(struct object),
};
OBJECT_TYPE(accel_type);

static const struct object_type tcg_type = {
    .name = "tcg-accel",
    .parent = "accel",
    .description = "the translator",
};
OBJECT_TYPE(tcg_type);
