/* Reading configuration files without being held up by what only looks like one. */
#ifndef NANDU_CRYPTO_REGULAR_FILE_H
#define NANDU_CRYPTO_REGULAR_FILE_H

#include <stddef.h>

/*
 * *data becomes the contents of a regular file of at most max bytes, with a zero byte behind its
 * *size bytes; the caller frees it with g_free. Otherwise an errno value, and *data isn't changed:
 * EINVAL for a pipe or device (which isn't waited for), EFBIG for a larger file.
 */
int regular_file_read(const char *path, size_t max, char **data, size_t *size);

#endif
