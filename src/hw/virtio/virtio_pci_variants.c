/*
 * virtio-*-pci-transitional and -non-transitional: devices whose name says whether drivers from
 * before virtio 1.0 can use them, wherever they are plugged in.
 */
#include "object/object.h"

static void init_transitional(struct object *obj)
{
    object_set_str(obj, "disable-legacy", "off", NULL);
}

static void init_non_transitional(struct object *obj)
{
    object_set_str(obj, "disable-legacy", "on", NULL);
}

#define VARIANTS(device)                                                                           \
    static const struct object_type device##_transitional = {                                     \
        .name = "virtio-" #device "-pci-transitional",                                             \
        .parent = "virtio-" #device "-pci",                                                        \
        .init = init_transitional,                                                                 \
    };                                                                                             \
    OBJECT_TYPE(device##_transitional);                                                            \
    static const struct object_type device##_non_transitional = {                                 \
        .name = "virtio-" #device "-pci-non-transitional",                                         \
        .parent = "virtio-" #device "-pci",                                                        \
        .init = init_non_transitional,                                                             \
    };                                                                                             \
    OBJECT_TYPE(device##_non_transitional)

VARIANTS(balloon);
VARIANTS(blk);
VARIANTS(net);
VARIANTS(rng);
VARIANTS(serial);
