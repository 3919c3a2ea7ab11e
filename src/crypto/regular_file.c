#include "crypto/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Its size is st's, or less if it is being written now. 0 or an errno value. */
static int read_all(int fd, const struct stat *st, char **data, size_t *size)
{
    g_autofree char *buffer = g_malloc((gsize)st->st_size + 1);
    size_t done = 0;
    ssize_t n;

    while (done < (size_t)st->st_size) {
        n = read(fd, buffer + done, (size_t)st->st_size - done);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n == 0) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    buffer[done] = '\0';
    *data = g_steal_pointer(&buffer);
    *size = done;
    return 0;
}

int regular_file_read(const char *path, size_t max, char **data, size_t *size)
{
    /* A pipe that nobody writes to would hold up open. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int err;

    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &st) < 0) {
        err = errno;
    } else if (!S_ISREG(st.st_mode)) {
        err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    } else if ((size_t)st.st_size > max) {
        err = EFBIG;
    } else {
        err = read_all(fd, &st, data, size);
    }
    close(fd);
    return err;
}
