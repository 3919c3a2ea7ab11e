/*
 * Files of /proc that must show the guest and not Nandu: what openat, readlinkat and their kin ask
 * before they pass a path on to the kernel.
 */
#ifndef NANDU_LINUX_USER_PROCFS_H
#define NANDU_LINUX_USER_PROCFS_H

#include "linux_user/linux_user.h"

/*
 * Open [path] (as the guest gave it, relative to the host's [dirfd]) if it is one of these files:
 * *handled is set, and the result is a descriptor (a memory file with the content, or the guest's
 * program) or -errno. Otherwise *handled is false and the result is 0.
 */
int64_t lu_open_special(struct lu_thread *t, int dirfd, const char *path, int flags, mode_t mode,
                        bool *handled);

/* The same for readlink: *target is g_malloc'ed and the result is 0, or -errno. */
int64_t lu_readlink_special(struct lu_thread *t, int dirfd, const char *path, char **target,
                            bool *handled);

/* The path to use in place of /proc/self/exe and the like where a call follows the link (stat,
 * execve): g_malloc'ed, or NULL if [path] isn't such a link. */
char *lu_special_exe_path(struct lu_thread *t, int dirfd, const char *path);

#endif
