/*
 * mux: several front ends share a character device. All of them write to it; one, which has the
 * focus, gets the input. Ctrl-A and a key (h lists them) switch between them.
 */
#include "chardev/backend.h"

#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/log.h"

enum {
    MAX_FRONTENDS = 32,
    TYPE_AHEAD = 32,    /* bytes kept for a front end that takes none */
    TEXT_LIMIT = 65536, /* bytes of our own text that may wait */
};

struct mux_frontend {
    const struct chardev_frontend_ops *ops;
    void *opaque;
    uint8_t kept[TYPE_AHEAD];
    unsigned n_kept;
};

struct mux_backend {
    struct chardev_backend base;
    struct chardev *below; /* a reference; NULL until it is attached */
    struct mux_frontend frontends[MAX_FRONTENDS];
    unsigned n, focus;
    struct bottom_half *deliver; /* gives front ends what is kept for them */
    bool waiting;                /* for what is below to be writable */
    bool escaped;                /* the escape key was the last one */
    bool timestamps, at_line_start;
    int64_t start_ns; /* of the timestamps; real clock */
};

static uint8_t escape_key(const struct mux_backend *m)
{
    uint8_t key = m->base.chr->context->escape_key;

    return key ? key : 1;
}

static void send_event(struct mux_backend *m, unsigned i, enum chardev_event event)
{
    if (i < m->n && m->frontends[i].ops->event) {
        m->frontends[i].ops->event(m->frontends[i].opaque, event);
    }
}

static void send_event_to_all(struct mux_backend *m, enum chardev_event event)
{
    for (unsigned i = 0; i < m->n; i++) {
        send_event(m, i, event);
    }
}

static void set_focus(struct mux_backend *m, unsigned focus)
{
    unsigned old = m->focus;

    m->focus = focus;
    if (old != focus) {
        send_event(m, old, CHARDEV_MUX_OUT);
    }
    send_event(m, focus, CHARDEV_MUX_IN);
}

/* At most max; as chardev_room. */
static size_t frontend_room(const struct mux_frontend *fe, size_t max)
{
    size_t room = fe->ops->can_receive ? fe->ops->can_receive(fe->opaque) : 0;

    return MIN(room, max);
}

/* Bytes that give takes without losing any. */
static size_t frontend_capacity(const struct mux_frontend *fe)
{
    return (fe->n_kept ? 0 : frontend_room(fe, SIZE_MAX - TYPE_AHEAD)) + TYPE_AHEAD - fe->n_kept;
}

static void give(struct mux_backend *m, const uint8_t *data, size_t size)
{
    struct mux_frontend *fe = &m->frontends[m->focus];

    if (m->focus >= m->n) {
        return;
    }
    if (!fe->n_kept) {
        size_t n = frontend_room(fe, size);

        if (n) {
            void *opaque = fe->opaque;

            fe->ops->receive(opaque, data, n);
            if (m->base.closed || fe->opaque != opaque) {
                return;             /* it is gone */
            }
            data += n;
            size -= n;
        }
    }
    size = MIN(size, TYPE_AHEAD - fe->n_kept);
    memcpy(fe->kept + fe->n_kept, data, size);
    fe->n_kept += size;
    if (fe->n_kept) {
        bottom_half_schedule(m->deliver);
    }
}

static void deliver_kept(void *opaque)
{
    struct mux_backend *m = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&m->base);

    for (unsigned i = 0; i < m->n && !m->base.closed; i++) {
        struct mux_frontend *fe = &m->frontends[i];
        size_t n = fe->n_kept ? frontend_room(fe, fe->n_kept) : 0;
        uint8_t data[TYPE_AHEAD];

        if (n) {
            memcpy(data, fe->kept, n);
            fe->n_kept -= n;
            memmove(fe->kept, fe->kept + n, fe->n_kept);
            /* It may take more at once. */
            if (fe->n_kept) {
                bottom_half_schedule(m->deliver);
            }
            fe->ops->receive(fe->opaque, data, n);
        }
    }
    if (m->below && !m->base.closed) {
        chardev_accept_input(m->below);
    }
}

/* The front end of what is below. */

static void say(struct mux_backend *m, const char *text)
{
    chardev_write_queued(m->below, text, strlen(text), TEXT_LIMIT);
}

static void print_help(struct mux_backend *m)
{
    static const struct {
        const char *key, *text;
    } rows[] = {
        {"h", "this list"},      {"x", "end the program"},
        {"s", "save the disks"}, {"t", "switch the times in front of lines on or off"},
        {"b", "send a break"},   {"c", "switch between console and monitor"},
    };
    uint8_t key = escape_key(m);
    char name[8];

    if (key < 0x20) {
        snprintf(name, sizeof(name), "Ctrl-%c", key + '@');
    } else {
        snprintf(name, sizeof(name), "%c", key);
    }
    say(m, "\n\r");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *line = g_strdup_printf("%s %s    %s\n\r", name, rows[i].key, rows[i].text);

        say(m, line);
    }
    g_autofree char *last = g_strdup_printf("%s %s  send %s\n\r", name, name, name);
    say(m, last);
}

static void escape(struct mux_backend *m, char key)
{
    const struct chardev_context *context = m->base.chr->context;

    if (context->escape) {
        context->escape(context->escape_opaque, key);
    }
}

/* A key after the escape key; true if it is to be passed on. */
static bool handle_key(struct mux_backend *m, uint8_t key)
{
    if (key == escape_key(m)) {
        return true;
    }
    switch (key) {
    case 'h':
    case '?': print_help(m); break;
    case 'x':
        say(m, "Terminated\n\r");
        escape(m, 'x');
        break;
    case 's': escape(m, 's'); break;
    case 'b': send_event(m, m->focus, CHARDEV_BREAK); break;
    case 'c':
        if (m->n) {
            set_focus(m, (m->focus + 1) % m->n);
        }
        break;
    case 't':
        m->timestamps = !m->timestamps;
        m->start_ns = clocks_now(m->base.chr->context->clocks, CLOCK_REAL);
        m->at_line_start = false;
        break;
    default: break;
    }
    return false;
}

static size_t mux_can_receive(void *opaque)
{
    struct mux_backend *m = opaque;
    size_t room;

    if (m->base.closed || m->focus >= m->n) {
        return 0;
    }
    room = frontend_capacity(&m->frontends[m->focus]);
    /* The focus may change within what comes. */
    for (unsigned i = 0; room && i < m->n; i++) {
        room = MIN(room, MAX(frontend_capacity(&m->frontends[i]), 1));
    }
    return room;
}

static void mux_receive(void *opaque, const uint8_t *data, size_t size)
{
    struct mux_backend *m = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&m->base);
    uint8_t key = escape_key(m);

    while (size && !m->base.closed) {
        size_t n;

        if (m->escaped) {
            m->escaped = false;
            n = 1;
            if (handle_key(m, data[0])) {
                give(m, data, 1);
            }
        } else if (data[0] == key) {
            m->escaped = true;
            n = 1;
        } else {
            const uint8_t *next = memchr(data, key, size);

            n = next ? (size_t)(next - data) : size;
            give(m, data, n);
        }
        data += n;
        size -= n;
    }
}

static void mux_event(void *opaque, enum chardev_event event)
{
    struct mux_backend *m = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&m->base);

    /* Open first, so that front ends can write when they hear of it. */
    if (event == CHARDEV_OPENED) {
        chardev_opened(&m->base);
    } else if (event == CHARDEV_CLOSED) {
        chardev_closed(&m->base);
    }
    if (!m->base.closed) {
        if (event == CHARDEV_BREAK) {
            send_event(m, m->focus, event);
        } else {
            send_event_to_all(m, event);
        }
    }
}

static const struct chardev_frontend_ops mux_frontend_ops = {
    .can_receive = mux_can_receive,
    .receive = mux_receive,
    .event = mux_event,
};

/* The back end of those above. */

static bool mux_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    struct mux_backend *m = (struct mux_backend *)b;
    const char *id = setup->config->u.mux.data->chardev;
    struct chardev *below = chardev_find(b->chr->context->root, id);

    if (!below) {
        return chardev_error(error, "mux: base chardev %s not found", id);
    }
    if (below->backend->ops->attach) {
        return chardev_error(error, "mux: chardev '%s' is a mux itself", id);
    }
    chardev_set_filename(b, "mux");
    m->deliver = bottom_half_new(b->chr->context->loop, deliver_kept, m);
    if (!chardev_attach(below, &mux_frontend_ops, m, error)) {
        return false;
    }
    chardev_set_frontend_open(below, false);
    object_ref(&below->obj);
    m->below = below;
    return true;
}

static void mux_close(struct chardev_backend *b)
{
    struct mux_backend *m = (struct mux_backend *)b;

    if (m->below) {
        chardev_detach(m->below, m);
        object_unref(&m->below->obj);
    }
    if (m->deliver) {
        bottom_half_free(m->deliver);
    }
}

/* "[00:01:02.345] " */
static void write_timestamp(struct mux_backend *m)
{
    int64_t ms = (clocks_now(m->base.chr->context->clocks, CLOCK_REAL) - m->start_ns) / 1000000;
    char text[48];

    snprintf(text, sizeof(text), "[%02" PRId64 ":%02d:%02d.%03d] ", ms / 3600000,
             (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
    say(m, text);
}

static ssize_t mux_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct mux_backend *m = (struct mux_backend *)b;
    const uint8_t *from = data;
    size_t done = 0;

    if (!m->timestamps) {
        return chardev_write(m->below, data, size);
    }
    while (done < size) {
        const uint8_t *end = memchr(from + done, '\n', size - done);
        size_t part = end ? (size_t)(end + 1 - from) - done : size - done;
        ssize_t n;

        if (m->at_line_start) {
            write_timestamp(m);
            m->at_line_start = false;
        }
        n = chardev_write(m->below, from + done, part);
        if (n <= 0) {
            return done ? (ssize_t)done : n;
        }
        done += n;
        m->at_line_start = end && (size_t)n == part;
        if ((size_t)n < part) {
            break;
        }
    }
    return done;
}

static void below_writable(void *opaque)
{
    struct mux_backend *m = opaque;

    m->waiting = false;
    if (!m->base.closed) {
        chardev_writable(&m->base);
    }
}

static void mux_watch_writable(struct chardev_backend *b, bool on)
{
    struct mux_backend *m = (struct mux_backend *)b;

    if (on && !m->waiting) {
        m->waiting = true;
        chardev_on_writable(m->below, below_writable, m);
    }
}

static void mux_accept_input(struct chardev_backend *b)
{
    bottom_half_schedule(((struct mux_backend *)b)->deliver);
}

static bool mux_attach(struct chardev_backend *b, const struct chardev_frontend_ops *ops,
                       void *opaque, GError **error)
{
    struct mux_backend *m = (struct mux_backend *)b;

    if (m->n == MAX_FRONTENDS) {
        return chardev_error(error, "too many uses of multiplexed chardev '%s' (maximum is %d)",
                             b->chr->id, MAX_FRONTENDS);
    }
    m->frontends[m->n++] = (struct mux_frontend){.ops = ops, .opaque = opaque};
    /* Who comes last has the focus: of a serial port and its monitor the serial port. */
    set_focus(m, m->n - 1);
    if (b->chr->open) {
        send_event(m, m->n - 1, CHARDEV_OPENED);
    }
    mux_accept_input(b);
    return true;
}

static void mux_detach(struct chardev_backend *b, void *opaque)
{
    struct mux_backend *m = (struct mux_backend *)b;

    for (unsigned i = 0; i < m->n; i++) {
        if (m->frontends[i].opaque != opaque) {
            continue;
        }
        m->n--;
        memmove(&m->frontends[i], &m->frontends[i + 1], (m->n - i) * sizeof(m->frontends[0]));
        m->frontends[m->n].opaque = NULL;
        if (m->focus > i) {
            m->focus--;
        } else if (m->focus == i) {
            m->focus = 0;
            send_event(m, 0, CHARDEV_MUX_IN);
        }
        return;
    }
}

static bool mux_is_busy(struct chardev_backend *b)
{
    return ((struct mux_backend *)b)->n > 0;
}

static void mux_send_break(struct chardev_backend *b)
{
    struct mux_backend *m = (struct mux_backend *)b;

    send_event(m, m->focus, CHARDEV_BREAK);
}

static int mux_take_fd(struct chardev_backend *b)
{
    return chardev_take_fd(((struct mux_backend *)b)->below);
}

static bool mux_set_fds(struct chardev_backend *b, const int *fds, size_t n)
{
    return chardev_set_fds(((struct mux_backend *)b)->below, fds, n);
}

static void mux_set_echo(struct chardev_backend *b, bool echo)
{
    chardev_set_echo(((struct mux_backend *)b)->below, echo);
}

static bool mux_wait_connected(struct chardev_backend *b, GError **error)
{
    return chardev_wait_connected(((struct mux_backend *)b)->below, error);
}

static bool mux_set_line(struct chardev_backend *b, const struct chardev_line *line)
{
    return chardev_set_line(((struct mux_backend *)b)->below, line);
}

static bool mux_set_line_break(struct chardev_backend *b, bool on)
{
    return chardev_set_line_break(((struct mux_backend *)b)->below, on);
}

static bool mux_get_modem_lines(struct chardev_backend *b, int *lines)
{
    return chardev_get_modem_lines(((struct mux_backend *)b)->below, lines);
}

static bool mux_set_modem_lines(struct chardev_backend *b, int lines)
{
    return chardev_set_modem_lines(((struct mux_backend *)b)->below, lines);
}

static const struct chardev_backend_ops mux_ops = {
    .size = sizeof(struct mux_backend),
    .open = mux_open,
    .close = mux_close,
    .write = mux_write,
    .watch_writable = mux_watch_writable,
    .accept_input = mux_accept_input,
    .attach = mux_attach,
    .detach = mux_detach,
    .is_busy = mux_is_busy,
    .send_break = mux_send_break,
    .take_fd = mux_take_fd,
    .set_fds = mux_set_fds,
    .set_echo = mux_set_echo,
    .wait_connected = mux_wait_connected,
    .set_line = mux_set_line,
    .set_line_break = mux_set_line_break,
    .get_modem_lines = mux_get_modem_lines,
    .set_modem_lines = mux_set_modem_lines,
};

static const struct object_type chardev_mux_type = {
    .name = "chardev-mux",
    .parent = "chardev",
    .description = "several front ends on one character device",
    .class_data = &mux_ops,
};
OBJECT_TYPE(chardev_mux_type);
