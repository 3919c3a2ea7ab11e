/* The abstract type "machine": what all boards have. */
#ifndef NANDU_MACHINE_MACHINE_H
#define NANDU_MACHINE_MACHINE_H

#include "object/object.h"
#include "qapi/command.h"

struct machine {
    struct object object;
    struct object *memory_backend;  /* main memory; NULL: none */
    bool dump_guest_core;           /* memory is in a core dump */
    bool mem_merge;                 /* the host may merge equal pages */
    bool usb;                       /* has a USB controller: not built yet, so always false */
    /* Files that it starts with (-kernel, ...); NULL: none. Boards that load nothing ignore
     * them. */
    char *firmware, *kernel, *initrd, *append, *dtb, *dumpdtb;
};

#endif
