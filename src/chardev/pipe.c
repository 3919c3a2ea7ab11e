/* pipe: two named pipes PATH.in and PATH.out, or one file PATH for both directions. */
#include "chardev/backend.h"

#include <fcntl.h>
#include <unistd.h>

#include "util/fdset.h"

static bool pipe_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    const char *path = setup->config->u.pipe.data->device;
    struct fdsets *fdsets = b->chr->context->fdsets;
    g_autofree char *in_path = g_strconcat(path, ".in", NULL);
    g_autofree char *out_path = g_strconcat(path, ".out", NULL);
    /* With both ends open here, it is never at its end, and opening doesn't wait. */
    int in = fdsets_open(fdsets, in_path, O_RDWR | O_NONBLOCK, 0, NULL);
    int out = fdsets_open(fdsets, out_path, O_RDWR | O_NONBLOCK, 0, NULL);

    if (in < 0 || out < 0) {
        if (in >= 0) {
            close(in);
        }
        if (out >= 0) {
            close(out);
        }
        in = out = fdsets_open(fdsets, path, O_RDWR | O_NONBLOCK, 0, error);
        if (in < 0) {
            return false;
        }
    }
    fd_backend_start((struct fd_backend *)b, in, out);
    chardev_set_filename(b, "pipe");
    chardev_opened(b);
    return true;
}

static const struct chardev_backend_ops pipe_ops = {
    .size = sizeof(struct fd_backend),
    .open = pipe_open,
    .close = fd_backend_close,
    .write = fd_backend_write,
    .watch_writable = fd_backend_watch_writable,
    .accept_input = fd_backend_accept_input,
};

static const struct object_type chardev_pipe_type = {
    .name = "chardev-pipe",
    .parent = "chardev",
    .description = "named pipes",
    .class_data = &pipe_ops,
};
OBJECT_TYPE(chardev_pipe_type);
