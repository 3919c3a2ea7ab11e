/* file: output into a file, input from another one. */
#include "chardev/backend.h"

#include <fcntl.h>
#include <unistd.h>

#include "util/fdset.h"

static bool file_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    const struct qapi_chardev_file *config = setup->config->u.file.data;
    struct fdsets *fdsets = b->chr->context->fdsets;
    int flags = O_WRONLY | O_CREAT | (config->has_append && config->append ? O_APPEND : O_TRUNC);
    int in = -1;
    int out = fdsets_open(fdsets, config->out, flags, 0666, error);

    if (out < 0) {
        return false;
    }
    if (config->in) {
        /* Not waiting for who writes, should it be a pipe. */
        in = fdsets_open(fdsets, config->in, O_RDONLY | O_NONBLOCK, 0, error);
        if (in < 0) {
            close(out);
            return false;
        }
    }
    fd_backend_start((struct fd_backend *)b, in, out);
    chardev_set_filename(b, "file");
    chardev_opened(b);
    return true;
}

static const struct chardev_backend_ops file_ops = {
    .size = sizeof(struct fd_backend),
    .open = file_open,
    .close = fd_backend_close,
    .write = fd_backend_write,
    .watch_writable = fd_backend_watch_writable,
    .accept_input = fd_backend_accept_input,
};

static const struct object_type chardev_file_type = {
    .name = "chardev-file",
    .parent = "chardev",
    .description = "output into a file",
    .class_data = &file_ops,
};
OBJECT_TYPE(chardev_file_type);
