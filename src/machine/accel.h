/* The type "tcg-accel": how the translator runs. */
#ifndef NANDU_MACHINE_ACCEL_H
#define NANDU_MACHINE_ACCEL_H

#include "object/object.h"

struct tcg_accel {
    struct object object;
    uint32_t tb_size;           /* translated code, MiB; 0: default */
    bool interpreter;           /* no translation: slow, and independent of the host's processor */
    bool one_insn_per_tb;
};

#endif
