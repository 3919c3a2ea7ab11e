/* Packed kernels. */
#ifndef NANDU_MACHINE_UNPACK_H
#define NANDU_MACHINE_UNPACK_H

#include <glib.h>

/*
 * What is in a file: of one packed by gzip (RFC 1952) or zstd (RFC 8878), or of an EFI zboot
 * program around that, the kernel itself; of any other a new reference of it. At most max bytes.
 * NULL and *error: damaged, or too big.
 */
GBytes *unpack_kernel(GBytes *packed, guint64 max, GError **error);

#endif
