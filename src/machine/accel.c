/* What runs the vCPUs: types that descend from "accel". */
#include "machine/accel.h"

static const struct object_type accel_type = {
    .name = "accel",
    .parent = "object",
    .description = "what runs the vCPUs",
    .abstract = true,
    .instance_size = sizeof(struct object),
};
OBJECT_TYPE(accel_type);

static const struct property tcg_properties[] = {
    PROPERTY("tb-size", tcg_accel, tb_size, qapi_type_uint32, "0",
             "memory for translated code, MiB"),
    PROPERTY("interpreter", tcg_accel, interpreter, qapi_type_bool, "off",
             "interpret, translate nothing"),
    PROPERTY("one-insn-per-tb", tcg_accel, one_insn_per_tb, qapi_type_bool, "off",
             "each instruction is a block of its own"),
};

static const struct object_type tcg_type = {
    .name = "tcg-accel",
    .parent = "accel",
    .description = "the translator",
    .instance_size = sizeof(struct tcg_accel),
    .properties = tcg_properties,
    .n_properties = G_N_ELEMENTS(tcg_properties),
};
OBJECT_TYPE(tcg_type);
