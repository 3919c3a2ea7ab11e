#include "debug/gdb_arch.h"

#include <string.h>

static const struct gdb_arch *const archs[] = {&gdb_arch_riscv64};

const struct gdb_arch *gdb_arch_find(const char *name)
{
    for (unsigned i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
        if (!strcmp(archs[i]->name, name))
            return archs[i];
    }
    return NULL;
}
