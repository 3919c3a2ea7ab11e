/* null: output is dropped, there is no input. */
#include "chardev/backend.h"

static bool null_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    chardev_set_filename(b, "null");
    chardev_opened(b);
    return true;
}

static ssize_t null_write(struct chardev_backend *b, const void *data, size_t size)
{
    return size;
}

static const struct chardev_backend_ops null_ops = {
    .size = sizeof(struct chardev_backend),
    .open = null_open,
    .write = null_write,
};

static const struct object_type chardev_null_type = {
    .name = "chardev-null",
    .parent = "chardev",
    .description = "drops all output",
    .class_data = &null_ops,
};
OBJECT_TYPE(chardev_null_type);
