/* What sessions of both kinds have in common: taking turns, input, output, descriptors. */
#include "monitor/monitor_priv.h"

#include <string.h>
#include <unistd.h>

#include "machine/vm.h"
#include "monitor/hmp.h"

/* ---- Output ---- */

/* The client has so much to read that nothing should be done for it. */
static bool output_busy(const struct monitor *mon)
{
    return mon->output->len > OUTPUT_BUSY;
}

static void flush_output(struct monitor *mon);

static void on_writable(void *opaque)
{
    struct monitor *mon = opaque;

    mon->output_blocked = false;
    flush_output(mon);
    monitors_wake(mon->owner);
}

static void flush_output(struct monitor *mon)
{
    guint sent = 0;

    if (mon->output_blocked || mon->out_of_focus) {
        return;
    }
    while (sent < mon->output->len) {
        ssize_t n = chardev_write(mon->chr, mon->output->data + sent, mon->output->len - sent);

        if (n < 0) {
            sent = mon->output->len; /* the client is gone */
        } else if (n == 0) {
            mon->output_blocked = true;
            break;
        } else {
            sent += (guint)n;
        }
    }
    if (sent) {
        g_byte_array_remove_range(mon->output, 0, sent);
    }
    if (!mon->output->len) {
        mon->events_lost = false;
    }
    if (mon->output_blocked) {
        chardev_on_writable(mon->chr, on_writable, mon);
    }
}

void monitor_write(struct monitor *mon, const void *data, size_t size)
{
    g_byte_array_append(mon->output, data, (guint)size);
    flush_output(mon);
}

void monitor_print(struct monitor *mon, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\n");

        g_byte_array_append(mon->output, (const guint8 *)text, (guint)line);
        text += line;
        if (*text) {
            g_byte_array_append(mon->output, (const guint8 *)"\r\n", 2);
            text++;
        }
    }
    flush_output(mon);
}

/* ---- Descriptors ---- */

static void named_fd_free(void *opaque)
{
    struct named_fd *named = opaque;

    if (named->fd >= 0) {
        close(named->fd);
    }
    g_free(named->name);
    g_free(named);
}

static struct named_fd *find_fd(struct monitor *mon, const char *name)
{
    for (guint i = 0; i < mon->named_fds->len; i++) {
        struct named_fd *named = mon->named_fds->pdata[i];

        if (g_str_equal(named->name, name)) {
            return named;
        }
    }
    return NULL;
}

void monitor_name_fd(struct monitor *mon, const char *name, int fd)
{
    struct named_fd *named = find_fd(mon, name);

    if (named) {
        close(named->fd);
    } else {
        named = g_new(struct named_fd, 1);
        named->name = g_strdup(name);
        g_ptr_array_add(mon->named_fds, named);
    }
    named->fd = fd;
}

int monitor_take_fd(struct monitor *mon, const char *name, GError **error)
{
    struct named_fd *named = find_fd(mon, name);
    int fd;

    if (!named) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "File descriptor named '%s' has not been found", name);
        return -1;
    }
    fd = named->fd;
    named->fd = -1;
    g_ptr_array_remove(mon->named_fds, named);
    return fd;
}

int monitor_receive_fd(struct monitor *mon, GError **error)
{
    int fd;

    if (!mon->received_fds->len) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "No file descriptor supplied via SCM_RIGHTS");
        return -1;
    }
    fd = g_array_index(mon->received_fds, int, 0);
    g_array_remove_index(mon->received_fds, 0);
    return fd;
}

static void close_received(struct monitor *mon)
{
    for (guint i = 0; i < mon->received_fds->len; i++) {
        close(g_array_index(mon->received_fds, int, i));
    }
    g_array_set_size(mon->received_fds, 0);
}

/*
 * A command finds the descriptors that came with it also when commands before it are still to be
 * run. Those which came when nothing was left to be run and which nobody took are closed when
 * others come.
 */
static void take_received(struct monitor *mon)
{
    bool idle = !mon->running && !mon->ops->n_requests(mon) && !mon->input->len;
    int fd = chardev_take_fd(mon->chr);

    if (fd >= 0 && idle) {
        close_received(mon);
    }
    for (; fd >= 0; fd = chardev_take_fd(mon->chr)) {
        if (mon->received_fds->len == MAX_FDS) {
            close(fd);
        } else {
            g_array_append_val(mon->received_fds, fd);
        }
    }
}

/* ---- The chardev's side ---- */

bool monitor_may_read(const struct monitor *mon)
{
    return mon->ops->n_requests(mon) + mon->running < mon->ops->max_requests(mon) &&
           !output_busy(mon);
}

/*
 * Nothing is taken from the back end before it can be read: what comes behind a request may be the
 * client's end, which must not overtake the request.
 */
static size_t can_receive(void *opaque)
{
    const struct monitor *mon = opaque;

    return !mon->input->len && monitor_may_read(mon) ? INPUT_SIZE : 0;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct monitor *mon = opaque;

    take_received(mon);
    g_byte_array_append(mon->input, data, (guint)size);
    monitors_wake(mon->owner);
}

/* A request that is being run goes on to its end, and its answer is dropped. */
static void drop_client(struct monitor *mon)
{
    mon->connection++;
    g_byte_array_set_size(mon->input, 0);
    g_byte_array_set_size(mon->output, 0);
    mon->output_blocked = false;
    mon->events_lost = false;
    close_received(mon);
    g_ptr_array_set_size(mon->named_fds, 0);
    mon->ops->closed(mon);
    monitors_wake(mon->owner);
}

static void event(void *opaque, enum chardev_event event)
{
    struct monitor *mon = opaque;

    switch (event) {
    case CHARDEV_OPENED: mon->ops->opened(mon); break;
    case CHARDEV_CLOSED: drop_client(mon); break;
    case CHARDEV_MUX_IN:
    case CHARDEV_MUX_OUT:
        mon->out_of_focus = event == CHARDEV_MUX_OUT;
        if (mon->ops->focus) {
            mon->ops->focus(mon, !mon->out_of_focus);
        }
        flush_output(mon);
        monitors_wake(mon->owner);
        break;
    case CHARDEV_BREAK: break;
    }
}

static const struct chardev_frontend_ops frontend_ops = {
    .can_receive = can_receive,
    .receive = receive,
    .event = event,
};

/* ---- Taking turns ---- */

void monitors_wake(struct monitors *monitors)
{
    bottom_half_schedule(monitors->turn);
}

void monitor_done(struct monitor *mon)
{
    mon->running = false;
    mon->owner->busy = false;
    monitors_wake(mon->owner);
}

static bool can_run(const struct monitor *mon)
{
    return !mon->owner->busy && mon->ops->n_requests(mon) && !output_busy(mon) &&
           !mon->out_of_focus;
}

static void run_one(struct monitors *monitors)
{
    for (guint i = 0; i < monitors->sessions->len; i++) {
        guint at = (monitors->next + i) % monitors->sessions->len;
        struct monitor *mon = monitors->sessions->pdata[at];

        if (can_run(mon)) {
            monitors->next = at + 1;
            monitors->busy = true;
            mon->running = true;
            mon->ops->run(mon);
            return;
        }
    }
}

static void turn(void *opaque)
{
    struct monitors *monitors = opaque;

    for (guint i = 0; i < monitors->sessions->len; i++) {
        struct monitor *mon = monitors->sessions->pdata[i];

        if (mon->input->len && monitor_may_read(mon)) {
            mon->ops->read(mon);
        }
        if (can_receive(mon)) {
            chardev_accept_input(mon->chr);
        }
    }
    run_one(monitors);
}

bool monitor_check_preconfig(const struct qmp_context *context, const struct qapi_command *command,
                             GError **error)
{
    if (!context->vm || !context->vm->preconfig || (command->flags & QAPI_COMMAND_PRECONFIG)) {
        return true;
    }
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                "The command '%s' is permitted only after machine initialization has completed",
                command->name);
    return false;
}

void monitors_send_event(struct monitors *monitors, json_object *event)
{
    for (guint i = 0; i < monitors->sessions->len; i++) {
        struct monitor *mon = monitors->sessions->pdata[i];

        if (!mon->ops->event) {
            continue;
        }
        if (mon->output->len <= OUTPUT_FULL) {
            mon->ops->event(mon, event);
        } else if (!mon->events_lost) {
            mon->events_lost = true;
            log_warn(monitors->log, "the client of monitor '%s' doesn't read: it misses events",
                     chardev_id(mon->chr));
        }
    }
}

/* ---- Making and freeing ---- */

static void session_init(struct monitors *monitors, struct monitor *mon)
{
    mon->owner = monitors;
    mon->context = *monitors->context;
    mon->context.monitor = mon;
    mon->context.take_fd = monitor_take_fd;
    mon->input = g_byte_array_new();
    mon->output = g_byte_array_new();
    mon->received_fds = g_array_new(FALSE, FALSE, sizeof(int));
    mon->named_fds = g_ptr_array_new_with_free_func(named_fd_free);
}

static void session_free(void *opaque)
{
    struct monitor *mon = opaque;

    close_received(mon);
    if (mon->ops) {
        mon->ops->free(mon);
    }
    g_byte_array_unref(mon->input);
    g_byte_array_unref(mon->output);
    g_array_unref(mon->received_fds);
    g_ptr_array_unref(mon->named_fds);
    g_free(mon);
}

bool monitor_start(struct monitors *monitors, struct monitor *mon, const struct monitor_ops *ops,
                   struct chardev *chr, GError **error)
{
    session_init(monitors, mon);
    mon->ops = ops;
    mon->chr = chr;
    g_ptr_array_add(monitors->sessions, mon);
    if (!chardev_attach(chr, &frontend_ops, mon, error)) {
        g_ptr_array_remove(monitors->sessions, mon);
        return false;
    }
    chardev_set_frontend_open(chr, true);
    return true;
}

char *monitor_run_hmp(struct monitors *monitors, const char *line)
{
    return hmp_run(monitors->schema, monitors->log, &monitors->internal->context, NULL, line, -1);
}

struct qapi_event_sink *monitors_event_sink(struct monitors *monitors)
{
    return events_sink(monitors->events);
}

struct monitors *monitors_new(const struct qapi_schema *schema, const struct qmp_context *context,
                              struct clocks *clocks, struct log *log)
{
    struct monitors *monitors = g_new0(struct monitors, 1);

    monitors->schema = schema;
    monitors->context = context;
    monitors->clocks = clocks_ref(clocks);
    monitors->log = log;
    monitors->sessions = g_ptr_array_new_with_free_func(session_free);
    monitors->turn = bottom_half_new(context->loop, turn, monitors);
    monitors->events = events_new(monitors);
    monitors->internal = g_new0(struct monitor, 1);
    session_init(monitors, monitors->internal);
    return monitors;
}

void monitors_free(struct monitors *monitors)
{
    for (guint i = 0; i < monitors->sessions->len; i++) {
        struct monitor *mon = monitors->sessions->pdata[i];

        chardev_detach(mon->chr, mon);
    }
    events_free(monitors->events);
    g_ptr_array_unref(monitors->sessions);
    session_free(monitors->internal);
    bottom_half_free(monitors->turn);
    clocks_unref(monitors->clocks);
    g_free(monitors);
}
