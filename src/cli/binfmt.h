#ifndef NANDU_CLI_BINFMT_H
#define NANDU_CLI_BINFMT_H

/* The lines to write to /proc/sys/fs/binfmt_misc/register so that the kernel starts programs of
 * each guest with this executable (Linux, Documentation/admin-guide/binfmt-misc.rst). [family]
 * begins the rows' names: nandu, or qemu for programs that look for QEMU's rows. [flags] are some
 * of P, O, C and F. g_malloc'ed; NULL if the executable's path can't be had. */
char *binfmt_rows(const char *family, const char *flags);

#endif
