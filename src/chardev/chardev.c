/* The core of character devices: front ends, the queue for output, the log file. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "util/fdset.h"
#include "util/log.h"
#include "util/trace.h"

struct chardev_waiter {
    event_fn *fn;
    void *opaque;
};

bool chardev_error(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error) {
        *error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    }
    va_end(args);
    return false;
}

struct chardev_backend *chardev_backend_ref(struct chardev_backend *b)
{
    b->refs++;
    return b;
}

void chardev_backend_unref(struct chardev_backend *b)
{
    if (--b->refs == 0) {
        if (b->ops->finalize) {
            b->ops->finalize(b);
        }
        g_free(b->filename);
        g_free(b);
    }
}

static void backend_close(struct chardev_backend *b)
{
    if (!b->closed) {
        b->closed = true;
        if (b->ops->close) {
            b->ops->close(b);
        }
    }
}

void chardev_set_filename(struct chardev_backend *b, const char *format, ...)
{
    va_list args;

    g_free(b->filename);
    va_start(args, format);
    b->filename = g_strdup_vprintf(format, args);
    va_end(args);
}

static size_t queue_length(const struct chardev *chr)
{
    return chr->queue->len - chr->queue_sent;
}

static void queue_clear(struct chardev *chr)
{
    g_byte_array_set_size(chr->queue, 0);
    chr->queue_sent = 0;
}

static void watch_writable(struct chardev *chr)
{
    struct chardev_backend *b = chr->backend;
    bool on = chr->open && !b->closed && (queue_length(chr) || chr->waiters->len);

    if (b->ops->watch_writable) {
        b->ops->watch_writable(b, on);
    } else if (on) {
        bottom_half_schedule(chr->writable);
    }
}

static void call_waiters(struct chardev *chr)
{
    /* Those that are added meanwhile wait for the next time; some may be removed meanwhile. */
    for (guint n = chr->waiters->len; n && chr->waiters->len; n--) {
        struct chardev_waiter waiter = g_array_index(chr->waiters, struct chardev_waiter, 0);

        g_array_remove_index(chr->waiters, 0);
        waiter.fn(waiter.opaque);
    }
}

static void write_log(struct chardev *chr, const uint8_t *data, size_t size)
{
    while (chr->log_fd >= 0 && size) {
        ssize_t n = write(chr->log_fd, data, size);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            log_warn(chr->context->log,
                     "chardev '%s': writing its log file failed, logging ends: %s", chr->id,
                     g_strerror(errno));
            close(chr->log_fd);
            chr->log_fd = -1;
            return;
        }
        data += n;
        size -= n;
    }
}

static ssize_t write_now(struct chardev *chr, const void *data, size_t size)
{
    ssize_t n = chr->backend->ops->write(chr->backend, data, size);

    if (n > 0) {
        write_log(chr, data, n);
    }
    return n;
}

static bool can_write(struct chardev *chr)
{
    struct chardev_backend *b = chr->backend;

    return !b->closed && (chr->open || (b->ops->check_open && b->ops->check_open(b)));
}

ssize_t chardev_write(struct chardev *chr, const void *data, size_t size)
{
    if (!can_write(chr)) {
        return -1;
    }
    if (queue_length(chr) || !size) {
        return 0;
    }
    return write_now(chr, data, size);
}

void chardev_on_writable(struct chardev *chr, event_fn *fn, void *opaque)
{
    struct chardev_waiter waiter = {fn, opaque};

    g_array_append_val(chr->waiters, waiter);
    watch_writable(chr);
}

bool chardev_write_queued(struct chardev *chr, const void *data, size_t size, size_t limit)
{
    ssize_t n = 0;

    if (queue_length(chr) > limit) {
        return false;
    }
    if (!can_write(chr)) {
        return true;
    }
    if (!queue_length(chr) && size) {
        n = write_now(chr, data, size);
    }
    if (n >= 0 && (size_t)n < size) {
        g_byte_array_append(chr->queue, (const uint8_t *)data + n, size - n);
        watch_writable(chr);
    }
    return true;
}

static void queue_flush(struct chardev *chr)
{
    while (queue_length(chr)) {
        ssize_t n = write_now(chr, chr->queue->data + chr->queue_sent, queue_length(chr));

        if (n < 0) {
            queue_clear(chr);
        } else if (n == 0) {
            break;
        } else {
            chr->queue_sent += n;
        }
    }
    /* Moving the rest only when it is the smaller part keeps the work linear. */
    if (chr->queue_sent >= chr->queue->len - chr->queue_sent) {
        g_byte_array_remove_range(chr->queue, 0, chr->queue_sent);
        chr->queue_sent = 0;
    }
}

void chardev_writable(struct chardev_backend *b)
{
    struct chardev *chr = b->chr;

    object_ref(&chr->obj);
    queue_flush(chr);
    if (!queue_length(chr)) {
        call_waiters(chr);
    }
    watch_writable(chr);
    object_unref(&chr->obj);
}

static void writable_later(void *opaque)
{
    struct chardev *chr = opaque;

    if (!chr->backend->closed) {
        chardev_writable(chr->backend);
    }
}

/* What the back end says. */

static void send_event(struct chardev *chr, enum chardev_event event)
{
    if (chr->frontend && chr->frontend->event) {
        chr->frontend->event(chr->frontend_opaque, event);
    }
}

size_t chardev_room(struct chardev_backend *b, size_t max)
{
    struct chardev *chr = b->chr;
    size_t room;

    if (b->closed || !chr->frontend || !chr->frontend->can_receive) {
        return 0;
    }
    room = chr->frontend->can_receive(chr->frontend_opaque);
    return MIN(room, max);
}

void chardev_receive(struct chardev_backend *b, const uint8_t *data, size_t size)
{
    struct chardev *chr = b->chr;

    if (!b->closed && chr->frontend) {
        chr->frontend->receive(chr->frontend_opaque, data, size);
    }
}

void chardev_opened(struct chardev_backend *b)
{
    struct chardev *chr = b->chr;

    if (b->closed || chr->open) {
        return;
    }
    chr->open = true;
    trace_chardev_open(chr->context->log, chr->id, chardev_filename(chr));
    object_ref(&chr->obj);
    send_event(chr, CHARDEV_OPENED);
    watch_writable(chr);
    object_unref(&chr->obj);
}

void chardev_closed(struct chardev_backend *b)
{
    struct chardev *chr = b->chr;

    if (b->closed || !chr->open) {
        return;
    }
    chr->open = false;
    trace_chardev_close(chr->context->log, chr->id);
    queue_clear(chr);
    object_ref(&chr->obj);
    watch_writable(chr);
    send_event(chr, CHARDEV_CLOSED);
    call_waiters(chr);
    object_unref(&chr->obj);
}

void chardev_break(struct chardev_backend *b)
{
    if (!b->closed) {
        send_event(b->chr, CHARDEV_BREAK);
    }
}

/* What the front end says. */

bool chardev_attach(struct chardev *chr, const struct chardev_frontend_ops *ops, void *opaque,
                    GError **error)
{
    struct chardev_backend *b = chr->backend;

    trace_chardev_attach(chr->context->log, chr->id, opaque);
    if (b->ops->attach) {
        if (!b->ops->attach(b, ops, opaque, error)) {
            return false;
        }
        chr->frontend_open = true;
        return true;
    }
    if (chr->frontend) {
        return chardev_error(error, "chardev '%s' is already in use", chr->id);
    }
    chr->frontend = ops;
    chr->frontend_opaque = opaque;
    chr->frontend_open = true;
    if (chr->open) {
        send_event(chr, CHARDEV_OPENED);
    }
    chardev_accept_input(chr);
    return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
    struct chardev_backend *b = chr->backend;

    trace_chardev_detach(chr->context->log, chr->id, opaque);
    for (guint i = chr->waiters->len; i-- > 0;) {
        if (g_array_index(chr->waiters, struct chardev_waiter, i).opaque == opaque) {
            g_array_remove_index(chr->waiters, i);
        }
    }
    if (b->ops->detach) {
        b->ops->detach(b, opaque);
        chr->frontend_open = b->ops->is_busy(b);
    } else if (chr->frontend && chr->frontend_opaque == opaque) {
        chr->frontend = NULL;
        chr->frontend_opaque = NULL;
        chr->frontend_open = false;
        chardev_accept_input(chr);
    }
}

bool chardev_is_open(const struct chardev *chr)
{
    return chr->open;
}

void chardev_accept_input(struct chardev *chr)
{
    struct chardev_backend *b = chr->backend;

    if (b->ops->accept_input && !b->closed) {
        b->ops->accept_input(b);
    }
}

int chardev_take_fd(struct chardev *chr)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->take_fd && !b->closed ? b->ops->take_fd(b) : -1;
}

bool chardev_set_fds(struct chardev *chr, const int *fds, size_t n)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->set_fds && !b->closed && b->ops->set_fds(b, fds, n);
}

void chardev_send_break(struct chardev *chr)
{
    struct chardev_backend *b = chr->backend;

    if (b->ops->send_break && !b->closed) {
        b->ops->send_break(b);
    } else {
        send_event(chr, CHARDEV_BREAK);
    }
}

void chardev_set_echo(struct chardev *chr, bool echo)
{
    struct chardev_backend *b = chr->backend;

    if (b->ops->set_echo && !b->closed) {
        b->ops->set_echo(b, echo);
    }
}

void chardev_set_frontend_open(struct chardev *chr, bool open)
{
    chr->frontend_open = open;
}

bool chardev_set_line(struct chardev *chr, const struct chardev_line *line)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->set_line && !b->closed && b->ops->set_line(b, line);
}

bool chardev_set_line_break(struct chardev *chr, bool on)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->set_line_break && !b->closed && b->ops->set_line_break(b, on);
}

bool chardev_get_modem_lines(struct chardev *chr, int *lines)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->get_modem_lines && !b->closed && b->ops->get_modem_lines(b, lines);
}

bool chardev_set_modem_lines(struct chardev *chr, int lines)
{
    struct chardev_backend *b = chr->backend;

    return b->ops->set_modem_lines && !b->closed && b->ops->set_modem_lines(b, lines);
}

bool chardev_wait_connected(struct chardev *chr, GError **error)
{
    struct chardev_backend *b = chr->backend;

    return !b->ops->wait_connected || b->ops->wait_connected(b, error);
}

/* The object. */

const char *chardev_id(const struct chardev *chr)
{
    return chr->id;
}

const char *chardev_filename(const struct chardev *chr)
{
    return chr->backend->filename ? chr->backend->filename : "";
}

struct chardev *chardev_of_object(struct object *obj)
{
    return object_is(obj, "chardev") ? (struct chardev *)obj : NULL;
}

bool chardev_is_kind(const struct chardev *chr, enum qapi_chardev_backend_kind kind)
{
    g_autofree char *type =
        g_strconcat("chardev-", qapi_enum_name(&qapi_type_chardev_backend_kind, kind), NULL);

    return object_is(&chr->obj, type);
}

struct chardev *chardev_find(struct object *root, const char *id)
{
    struct object *obj = object_child(object_container(root, "/chardevs"), id);

    return obj ? chardev_of_object(obj) : NULL;
}

static bool open_log(struct chardev *chr, const struct qapi_chardev_common *common, GError **error)
{
    int flags = O_WRONLY | O_CREAT | (common->logappend ? O_APPEND : O_TRUNC);

    if (!common->logfile) {
        if (common->has_logappend) {
            return chardev_error(error, "Parameter 'logappend' needs 'logfile'");
        }
        return true;
    }
    chr->log_fd = fdsets_open(chr->context->fdsets, common->logfile, flags, 0666, error);
    return chr->log_fd >= 0;
}

/*
 * The members of ChardevCommon come first in what each branch points to, and a branch is that
 * pointer.
 */
static const struct qapi_chardev_common *common_of(const struct qapi_chardev_backend *config)
{
    G_STATIC_ASSERT(offsetof(struct qapi_chardev_socket, logappend) ==
                    offsetof(struct qapi_chardev_common, logappend));
    G_STATIC_ASSERT(sizeof(struct qapi_chardev_socket_wrapper) ==
                    sizeof(struct qapi_chardev_common_wrapper));
    return config->u.null.data;
}

/* A chardev that isn't in the tree; one reference. */
static struct object *chardev_make(const struct chardev_context *context, const char *id,
                                   const struct chardev_setup *setup, GError **error)
{
    g_autofree char *name = g_strconcat(
        "chardev-", qapi_enum_name(&qapi_type_chardev_backend_kind, setup->config->type), NULL);
    const struct object_type *type = object_type_find(name);
    auto_ptr(object) obj = object_new(type);
    struct chardev *chr = (struct chardev *)obj;
    const struct chardev_backend_ops *ops = object_class_data(obj);
    struct chardev_backend *b;

    chr->context = context;
    chr->id = g_strdup(id);
    if (!open_log(chr, common_of(setup->config), error)) {
        return NULL;
    }
    b = g_malloc0(ops->size);
    b->ops = ops;
    b->refs = 1;
    b->chr = chr;
    chr->backend = b;
    chr->writable = bottom_half_new(context->loop, writable_later, chr);
    if (!ops->open(b, setup, error) || !object_complete(obj, error)) {
        return NULL;
    }
    return g_steal_pointer(&obj);
}

struct chardev *chardev_add(const struct chardev_context *context, const char *id,
                            const struct chardev_setup *setup, GError **error)
{
    struct object *folder = object_container(context->root, "/chardevs");
    auto_ptr(object) obj = NULL;

    if (object_child(folder, id)) {
        chardev_error(error, "Chardev with id '%s' already exists", id);
        return NULL;
    }
    obj = chardev_make(context, id, setup, error);
    if (!obj || !object_add_child(folder, id, obj, error)) {
        return NULL;
    }
    return (struct chardev *)obj;
}

struct chardev *chardev_new(const struct chardev_context *context, const char *id,
                            const struct qapi_chardev_backend *backend, GError **error)
{
    struct chardev_setup setup = {backend, context->get_fd, context->get_fd_opaque};

    return chardev_add(context, id, &setup, error);
}

bool chardev_replace(struct chardev *chr, const struct chardev_setup *setup, GError **error)
{
    auto_ptr(object) obj = NULL;
    auto_ptr(object) keep = object_ref(&chr->obj);
    const struct object_type *type = chr->obj.type;
    struct chardev_backend *old = chr->backend;
    struct chardev *fresh;
    int log_fd = chr->log_fd;

    if (chr->backend->ops->attach || setup->config->type == QAPI_CHARDEV_BACKEND_KIND_MUX) {
        return chardev_error(error, "Chardev '%s' can't be changed from or to a mux", chr->id);
    }
    obj = chardev_make(chr->context, chr->id, setup, error);
    if (!obj) {
        return false;
    }
    chardev_closed(chr->backend);
    if (chr->backend != old || old->closed) {
        return chardev_error(error, "Chardev '%s' was changed meanwhile", chr->id);
    }
    /*
     * All kinds have the same instance structure: the object becomes one of the new type in place.
     */
    fresh = (struct chardev *)obj;
    chr->backend = fresh->backend;
    chr->backend->chr = chr;
    chr->log_fd = fresh->log_fd;
    chr->obj.type = fresh->obj.type;
    fresh->backend = old;
    fresh->backend->chr = fresh;
    fresh->log_fd = log_fd;
    fresh->obj.type = type;
    if (fresh->open) {
        chardev_opened(chr->backend);
    }
    chardev_accept_input(chr);
    return true;
}

bool chardev_change(struct chardev *chr, const struct qapi_chardev_backend *backend, GError **error)
{
    struct chardev_setup setup = {backend, chr->context->get_fd, chr->context->get_fd_opaque};

    return chardev_replace(chr, &setup, error);
}

bool chardev_remove(struct chardev *chr, GError **error)
{
    const struct chardev_backend_ops *ops = chr->backend->ops;

    if (ops->is_busy ? ops->is_busy(chr->backend) : chr->frontend != NULL) {
        return chardev_error(error, "Chardev '%s' is busy", chr->id);
    }
    object_remove(&chr->obj);
    return true;
}

static bool close_one(struct object *obj, void *opaque)
{
    struct chardev *chr = chardev_of_object(obj);

    (void)opaque;
    if (chr && !chr->backend->closed) {
        if (chr->open) {
            queue_flush(chr);
        }
        chr->open = false;
        backend_close(chr->backend);
    }
    return true;
}

void chardev_close_all(struct object *root)
{
    object_foreach_child(object_container(root, "/chardevs"), close_one, NULL);
}

static void chardev_init(struct object *obj)
{
    struct chardev *chr = (struct chardev *)obj;

    chr->waiters = g_array_new(false, false, sizeof(struct chardev_waiter));
    chr->queue = g_byte_array_new();
    chr->log_fd = -1;
}

static void chardev_finalize(struct object *obj)
{
    struct chardev *chr = (struct chardev *)obj;

    if (chr->backend) {
        backend_close(chr->backend);
        chardev_backend_unref(chr->backend);
    }
    if (chr->writable) {
        bottom_half_free(chr->writable);
    }
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
    }
    g_array_unref(chr->waiters);
    g_byte_array_unref(chr->queue);
    g_free(chr->id);
}

static const struct object_type chardev_type = {
    .name = "chardev",
    .parent = "object",
    .description = "character device",
    .abstract = true,
    .instance_size = sizeof(struct chardev),
    .init = chardev_init,
    .finalize = chardev_finalize,
};
OBJECT_TYPE(chardev_type);
