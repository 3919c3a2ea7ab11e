/*
 * hub: several character devices behind one front end. Output goes to all, input comes from each.
 */
#include "chardev/backend.h"

enum { MAX_CHARDEVS = 4 };

struct hub_backend;

struct hub_port {
    struct hub_backend *hub;
    struct chardev *chr; /* a reference */
    bool waiting;        /* for it to be writable */
    size_t ahead;        /* bytes of the next output that it has already */
};

struct hub_backend {
    struct chardev_backend base;
    struct hub_port ports[MAX_CHARDEVS];
    unsigned n;
};

static size_t port_can_receive(void *opaque)
{
    struct hub_port *port = opaque;

    return chardev_room(&port->hub->base, SIZE_MAX);
}

static void port_receive(void *opaque, const uint8_t *data, size_t size)
{
    struct hub_port *port = opaque;

    chardev_receive(&port->hub->base, data, size);
}

/* The hub is open while one of them is. */
static void port_event(void *opaque, enum chardev_event event)
{
    struct hub_port *port = opaque;
    struct hub_backend *hub = port->hub;
    unsigned n_open = 0;

    if (event == CHARDEV_OPENED) {
        port->ahead = 0;
        chardev_opened(&hub->base);
    } else if (event == CHARDEV_CLOSED) {
        for (unsigned i = 0; i < hub->n; i++) {
            n_open += hub->ports[i].chr != port->chr && chardev_is_open(hub->ports[i].chr);
        }
        if (!n_open) {
            chardev_closed(&hub->base);
        }
    } else if (event == CHARDEV_BREAK) {
        chardev_break(&hub->base);
    }
}

static const struct chardev_frontend_ops port_ops = {
    .can_receive = port_can_receive,
    .receive = port_receive,
    .event = port_event,
};

static bool add_port(struct hub_backend *hub, const char *id, GError **error)
{
    struct chardev *chr = chardev_find(hub->base.chr->context->root, id);
    struct hub_port *port = &hub->ports[hub->n];

    if (!chr) {
        return chardev_error(error, "hub: chardev can't be found by id '%s'", id);
    }
    if (chr->backend->ops->attach || chardev_is_kind(chr, QAPI_CHARDEV_BACKEND_KIND_HUB)) {
        return chardev_error(
            error, "hub: chardev '%s' is a mux or a hub, which can't be behind a hub", id);
    }
    port->hub = hub;
    port->chr = chr;
    if (!chardev_attach(chr, &port_ops, port, error)) {
        return false;
    }
    chardev_set_frontend_open(chr, false);
    object_ref(&chr->obj);
    hub->n++;
    return true;
}

static bool hub_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    const struct qapi_str_list *ids = &setup->config->u.hub.data->chardevs;

    if (!ids->n) {
        return chardev_error(error, "hub: 'chardevs' list is not defined");
    }
    if (ids->n > MAX_CHARDEVS) {
        return chardev_error(error, "hub: there are too many chardevs (maximum is %d)",
                             MAX_CHARDEVS);
    }
    for (size_t i = 0; i < ids->n; i++) {
        if (!add_port((struct hub_backend *)b, ids->v[i], error)) {
            return false;
        }
    }
    chardev_set_filename(b, "hub");
    return true;
}

static void hub_close(struct chardev_backend *b)
{
    struct hub_backend *hub = (struct hub_backend *)b;

    for (unsigned i = 0; i < hub->n; i++) {
        chardev_detach(hub->ports[i].chr, &hub->ports[i]);
        object_unref(&hub->ports[i].chr->obj);
    }
}

/*
 * The slowest one tells how much was written. What faster ones got beyond that is remembered: the
 * front end comes again with the rest.
 */
static ssize_t hub_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct hub_backend *hub = (struct hub_backend *)b;
    size_t done = size;

    for (unsigned i = 0; i < hub->n; i++) {
        struct hub_port *port = &hub->ports[i];

        if (port->ahead < size && chardev_is_open(port->chr)) {
            ssize_t n =
                chardev_write(port->chr, (const uint8_t *)data + port->ahead, size - port->ahead);

            port->ahead += n < 0 ? size - port->ahead : (size_t)n;
        } else if (port->ahead < size) {
            port->ahead = size;
        }
        done = MIN(done, port->ahead);
    }
    for (unsigned i = 0; i < hub->n; i++) {
        hub->ports[i].ahead -= done;
    }
    return done;
}

static void port_writable(void *opaque)
{
    struct hub_port *port = opaque;

    port->waiting = false;
    if (!port->hub->base.closed) {
        chardev_writable(&port->hub->base);
    }
}

static void hub_watch_writable(struct chardev_backend *b, bool on)
{
    struct hub_backend *hub = (struct hub_backend *)b;
    struct hub_port *slowest = NULL;

    for (unsigned i = 0; on && i < hub->n; i++) {
        if (chardev_is_open(hub->ports[i].chr) &&
            (!slowest || hub->ports[i].ahead < slowest->ahead)) {
            slowest = &hub->ports[i];
        }
    }
    if (slowest && !slowest->waiting) {
        slowest->waiting = true;
        chardev_on_writable(slowest->chr, port_writable, slowest);
    }
}

static void hub_accept_input(struct chardev_backend *b)
{
    struct hub_backend *hub = (struct hub_backend *)b;

    for (unsigned i = 0; i < hub->n; i++) {
        chardev_accept_input(hub->ports[i].chr);
    }
}

static void hub_set_echo(struct chardev_backend *b, bool echo)
{
    struct hub_backend *hub = (struct hub_backend *)b;

    for (unsigned i = 0; i < hub->n; i++) {
        chardev_set_echo(hub->ports[i].chr, echo);
    }
}

static const struct chardev_backend_ops hub_ops = {
    .size = sizeof(struct hub_backend),
    .open = hub_open,
    .close = hub_close,
    .write = hub_write,
    .watch_writable = hub_watch_writable,
    .accept_input = hub_accept_input,
    .set_echo = hub_set_echo,
};

static const struct object_type chardev_hub_type = {
    .name = "chardev-hub",
    .parent = "chardev",
    .description = "several character devices behind one front end",
    .class_data = &hub_ops,
};
OBJECT_TYPE(chardev_hub_type);
