/*
 * File descriptors that were handed to the program (-add-fd, add-fd), in numbered sets that paths
 * "/dev/fdset/N" refer to. Thread-safe.
 */
#ifndef NANDU_UTIL_FDSET_H
#define NANDU_UTIL_FDSET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/auto.h"

struct fdsets;
struct fdsets *fdsets_new(void);
void fdsets_free(struct fdsets *sets);      /* closes all */
DEFINE_AUTO_PTR(fdsets, fdsets_free)

/*
 * fd becomes the set's, unless it fails. set -1: a new one. Returns the set's number; -1 and
 * *error: a bad number or descriptor. opaque may be NULL; copied.
 */
int64_t fdsets_add(struct fdsets *sets, int fd, int64_t set, const char *opaque, GError **error);
/* fd -1: all of the set. */
bool fdsets_remove(struct fdsets *sets, int64_t set, int fd, GError **error);
/* By ascending set. fn may not use the sets. */
typedef void fdsets_visit(void *opaque, int64_t set, int fd, const char *fd_opaque);
void fdsets_foreach(struct fdsets *sets, fdsets_visit *fn, void *opaque);

/*
 * open(2) with O_CLOEXEC; "/dev/fdset/N" gives a duplicate of the set's descriptor whose access
 * mode is that of flags. It is the caller's. -1, errno and *error that names path.
 */
int fdsets_open(struct fdsets *sets, const char *path, int flags, mode_t mode, GError **error);

#endif
