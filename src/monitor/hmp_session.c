/* HMP sessions: a terminal with line editing, or plain lines. */
#include "monitor/monitor_priv.h"

#include <string.h>

#include "monitor/hmp.h"
#include "monitor/readline.h"
#include "monitor/version.h"
#include "util/coroutine.h"

enum { MAX_LINE = 65536 }; /* bytes, without line editing */

struct hmp_session {
    struct monitor mon;
    struct readline *readline; /* NULL: no line editing, no prompt */
    GString *partial;          /* a line that hasn't ended, without line editing */
    char *line;                /* waits to be run; NULL: none */
    struct bottom_half *greet; /* with line editing */
    bool open;
    bool greeted;
    bool prompt_shown;
};

/* A line while it is run. */
struct run {
    struct hmp_session *session;
    unsigned connection;
    char *line;
};

static void show_prompt(struct hmp_session *session)
{
    if (session->readline && session->open && !session->mon.out_of_focus) {
        session->prompt_shown = true;
        readline_show_prompt(session->readline);
    }
}

static void run_line(void *opaque)
{
    struct run *run = opaque;
    struct hmp_session *session = run->session;
    struct monitor *mon = &session->mon;
    g_autofree char *printed = hmp_run(mon->owner->schema, mon->owner->log, &mon->context,
                                       session->readline, run->line, mon->cpu_index);

    if (run->connection == mon->connection) {
        monitor_print(mon, printed);
        show_prompt(session);
    }
    g_free(run->line);
    g_free(run);
    monitor_done(mon);
}

/* In a coroutine, since any line may turn out to wait. */
static void run_request(struct monitor *mon)
{
    struct hmp_session *session = (struct hmp_session *)mon;
    struct run *run = g_new(struct run, 1);

    run->session = session;
    run->connection = mon->connection;
    run->line = g_steal_pointer(&session->line);
    coroutine_start(mon->context.loop, run_line, run);
}

static guint n_requests(const struct monitor *mon)
{
    return ((const struct hmp_session *)mon)->line ? 1 : 0;
}

static guint max_requests(const struct monitor *mon)
{
    return 1;
}

/* ---- Input ---- */

static guint read_plain(struct hmp_session *session, const guint8 *data, guint size)
{
    const guint8 *end = memchr(data, '\n', size);
    guint length = end ? (guint)(end - data) : size;

    if (session->partial->len + length > MAX_LINE) {
        monitor_print(&session->mon, "line too long\n");
        g_string_truncate(session->partial, 0);
    } else {
        g_string_append_len(session->partial, (const char *)data, length);
    }
    if (!end) {
        return size;
    }
    session->line = g_strdup(session->partial->str);
    g_string_truncate(session->partial, 0);
    return length + 1;
}

static void read_input(struct monitor *mon)
{
    struct hmp_session *session = (struct hmp_session *)mon;
    unsigned connection = mon->connection;

    while (mon->input->len && monitor_may_read(mon)) {
        guint used = session->readline ? (guint)readline_feed(session->readline, mon->input->data,
                                                              mon->input->len)
                                       : read_plain(session, mon->input->data, mon->input->len);

        if (mon->connection != connection) {
            return;
        }
        g_byte_array_remove_range(mon->input, 0, used);
    }
}

/* ---- Line editing ---- */

static void terminal_write(void *opaque, const char *text)
{
    struct hmp_session *session = opaque;

    monitor_print(&session->mon, text);
}

static void on_line(void *opaque, const char *line)
{
    struct hmp_session *session = opaque;

    session->prompt_shown = false;
    session->line = g_strdup(line);
}

static size_t complete(void *opaque, const char *text, GPtrArray *candidates)
{
    struct hmp_session *session = opaque;

    return hmp_complete(session->mon.owner->schema, session->mon.owner->log, &session->mon.context,
                        text, candidates);
}

static const struct readline_ops readline_ops = {
    .write = terminal_write,
    .line = on_line,
    .complete = complete,
};

/* ---- The session ---- */

static void greet(void *opaque)
{
    struct hmp_session *session = opaque;
    g_autofree char *banner = NULL;

    if (!session->open || session->greeted || session->mon.out_of_focus) {
        return;
    }
    banner =
        g_strdup_printf("QEMU %d.%d.%d monitor (Nandu %s) - type 'help' for more information\n",
                        QEMU_VERSION_MAJOR, QEMU_VERSION_MINOR, QEMU_VERSION_MICRO, NANDU_VERSION);
    session->greeted = true;
    monitor_print(&session->mon, banner);
    show_prompt(session);
}

/* Not greeted at once: while the machine is made, who shares the terminal may come and get the
 * focus. Then it waits for that. */
static void opened(struct monitor *mon)
{
    struct hmp_session *session = (struct hmp_session *)mon;

    session->open = true;
    chardev_set_echo(mon->chr, !session->readline);
    if (session->greet) {
        bottom_half_schedule(session->greet);
    }
}

static void closed(struct monitor *mon)
{
    struct hmp_session *session = (struct hmp_session *)mon;

    session->open = false;
    session->greeted = false;
    session->prompt_shown = false;
    g_clear_pointer(&session->line, g_free);
    if (session->readline) {
        readline_reset(session->readline);
    }
    g_string_truncate(session->partial, 0);
}

/* While the terminal was another's, the prompt has gone from its last line. */
static void focus(struct monitor *mon, bool in)
{
    struct hmp_session *session = (struct hmp_session *)mon;

    if (in && session->greet && !session->greeted) {
        bottom_half_schedule(session->greet);
    } else if (in && !mon->running && !session->line) {
        if (session->prompt_shown) {
            monitor_print(mon, "\n");
        }
        show_prompt(session);
    }
}

static void hmp_session_free(struct monitor *mon)
{
    struct hmp_session *session = (struct hmp_session *)mon;

    g_clear_pointer(&session->readline, readline_free);
    g_clear_pointer(&session->greet, bottom_half_free);
    g_string_free(session->partial, TRUE);
    g_free(session->line);
}

static const struct monitor_ops hmp_ops = {
    .n_requests = n_requests,
    .max_requests = max_requests,
    .read = read_input,
    .run = run_request,
    .opened = opened,
    .closed = closed,
    .focus = focus,
    .free = hmp_session_free,
};

bool monitor_add_hmp(struct monitors *monitors, struct chardev *chr, bool readline, GError **error)
{
    struct hmp_session *session = g_new0(struct hmp_session, 1);

    session->partial = g_string_new(NULL);
    if (readline) {
        session->readline = readline_new("(qemu) ", &readline_ops, session);
        session->greet = bottom_half_new(monitors->context->loop, greet, session);
    }
    return monitor_start(monitors, &session->mon, &hmp_ops, chr, error);
}
