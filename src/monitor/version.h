/* The QEMU version whose interface monitors speak, and who speaks it. */
#ifndef NANDU_MONITOR_VERSION_H
#define NANDU_MONITOR_VERSION_H

#include "qapi/qapi_types.h"

/* "10.0.2", as clients compare it. */
#define QEMU_VERSION_MAJOR 10
#define QEMU_VERSION_MINOR 0
#define QEMU_VERSION_MICRO 2

/* What query-version and the greeting tell. Free with qapi_version_info_free. */
struct qapi_version_info *version_info(void);

#endif
