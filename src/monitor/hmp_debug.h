/* Handlers of HMP's commands that look into a machine: its vCPUs, their memory, the translator. */
#ifndef NANDU_MONITOR_HMP_DEBUG_H
#define NANDU_MONITOR_HMP_DEBUG_H

#include "monitor/hmp.h"

typedef bool hmp_handler(struct hmp *hmp, struct json_object *args, GError **error);

hmp_handler hmp_cpu, hmp_gdbserver, hmp_gpa2hva, hmp_gva2gpa, hmp_memsave, hmp_nmi, hmp_sum, hmp_x,
    hmp_xp;
hmp_handler hmp_info_jit, hmp_info_mem, hmp_info_mtree, hmp_info_registers;

#endif
