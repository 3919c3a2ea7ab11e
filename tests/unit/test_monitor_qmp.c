/*
 * QMP sessions over socket pairs: what a client sees, in which order, and what a bad one can't
 * do.
 */
#include "monitor/monitor.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qapi/qapi_commands.h"
#include "util/clock.h"
#include "util/coroutine.h"
#include "util/fdset.h"
#include "util/log.h"

/* ---- A schema with commands for the tests ---- */

/* What the handlers below work on; the context's vm stands in for it. */
struct world {
    struct coroutine *waiting; /* in test-wait */
    int n_run;                 /* test-count's calls */
    struct qapi_event_sink *events;
    int taken_fd;
};

static struct world *world_of(struct qmp_context *ctx)
{
    return (struct world *)ctx->chardevs;
}

static const struct qapi_event event_plain = {.name = "TEST_PLAIN"};
static const struct qapi_event event_limited = {.name = "VSERPORT_CHANGE",
                                                .arg = &qapi_type_closefd_arg};

static bool invoke_count(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    world_of(ctx)->n_run++;
    return true;
}

static bool invoke_event(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    qapi_emit(world_of(ctx)->events, &event_plain, NULL);
    return true;
}

static bool invoke_null(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    *(json_object **)ret = NULL;
    return true;
}

static bool invoke_silent(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    return true;
}

static bool invoke_take(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    world_of(ctx)->taken_fd = ctx->take_fd(ctx->monitor, "f", error);
    return world_of(ctx)->taken_fd >= 0;
}

static bool invoke_wait(struct qmp_context *ctx, const void *arg, void *ret, GError **error)
{
    world_of(ctx)->waiting = coroutine_self();
    co_yield ();
    world_of(ctx)->waiting = NULL;
    return true;
}

static const struct qapi_command test_commands[] = {
    {.name = "test-count", .invoke = invoke_count, .gen = true},
    {.name = "test-event", .invoke = invoke_event, .gen = true},
    {.name = "test-null", .invoke = invoke_null, .gen = true, .ret = &qapi_type_any},
    {.name = "test-oob", .invoke = invoke_count, .gen = true, .flags = QAPI_COMMAND_OOB},
    {.name = "test-silent",
     .invoke = invoke_silent,
     .gen = true,
     .flags = QAPI_COMMAND_NO_RESPONSE},
    {.name = "test-take", .invoke = invoke_take, .gen = true},
    {.name = "test-wait", .invoke = invoke_wait, .gen = true, .flags = QAPI_COMMAND_COROUTINE},
};

static int compare_commands(const void *a, const void *b)
{
    const struct qapi_command *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void make_schema(struct qapi_schema *schema)
{
    size_t n = qapi_system_schema.n_commands;
    struct qapi_command *commands = g_new(struct qapi_command, n + G_N_ELEMENTS(test_commands));

    memcpy(commands, qapi_system_schema.commands, n * sizeof(*commands));
    memcpy(commands + n, test_commands, sizeof(test_commands));
    n += G_N_ELEMENTS(test_commands);
    qsort(commands, n, sizeof(*commands), compare_commands);
    *schema = (struct qapi_schema){.commands = commands, .n_commands = n};
}

/* ---- A monitor and its clients ---- */

struct fixture {
    struct world world;
    struct qapi_schema schema;
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    struct object *root;
    struct object_context object_context;
    struct chardev_context chardevs;
    struct qmp_context context;
    struct fdsets *fdsets;
    struct monitors *monitors;
    unsigned n_clients;
};

struct client {
    struct fixture *f;
    int fd;
    GString *in;
};

static void set_up(struct fixture *f, const void *data)
{
    make_schema(&f->schema);
    f->loop = event_loop_new("test", NULL);
    f->clocks = clocks_new();
    f->log = log_new("test");
    f->fdsets = fdsets_new();
    f->object_context =
        (struct object_context){.loop = f->loop, .clocks = f->clocks, .log = f->log};
    f->root = object_root_new(&f->object_context);
    f->chardevs = (struct chardev_context){
        .root = f->root,
        .loop = f->loop,
        .clocks = f->clocks,
        .log = f->log,
    };
    f->context = (struct qmp_context){
        .root = f->root,
        .loop = f->loop,
        .fdsets = f->fdsets,
        .chardevs = (const struct chardev_context *)&f->world,
    };
    f->monitors = monitors_new(&f->schema, &f->context, f->clocks, f->log);
    f->world.events = monitors_event_sink(f->monitors);
    f->world.taken_fd = -1;
}

static void tear_down(struct fixture *f, const void *data)
{
    chardev_close_all(f->root);
    monitors_free(f->monitors);
    object_unref(f->root);
    fdsets_free(f->fdsets);
    log_free(f->log);
    clocks_unref(f->clocks);
    event_loop_unref(f->loop);
    g_free((void *)f->schema.commands);
}

static void turn(struct fixture *f, int n)
{
    while (n-- > 0) {
        event_loop_iterate(f->loop, false);
    }
}

static struct client *client_new(struct fixture *f, bool pretty)
{
    struct client *c = g_new0(struct client, 1);
    g_autofree char *option = NULL;
    g_autoptr(GError) error = NULL;
    struct chardev *chr;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    option = g_strdup_printf("socket,id=c%u,fd=%d", f->n_clients++, fds[1]);
    chr = chardev_new_option(&f->chardevs, option, &error);
    g_assert_no_error(error);
    g_assert_true(monitor_add_qmp(f->monitors, chr, pretty, &error));
    g_assert_no_error(error);
    c->f = f;
    c->fd = fds[0];
    c->in = g_string_new(NULL);
    return c;
}

static void client_free(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    turn(c->f, 10);
    g_string_free(c->in, TRUE);
    g_free(c);
}

static void client_send_bytes(struct client *c, const char *text, size_t size)
{
    while (size) {
        ssize_t n = send(c->fd, text, size, MSG_NOSIGNAL);

        if (n > 0) {
            text += n;
            size -= (size_t)n;
        } else {
            g_assert_cmpint(errno, ==, EAGAIN);
        }
        turn(c->f, 1);
    }
}

static void client_send(struct client *c, const char *text)
{
    client_send_bytes(c, text, strlen(text));
}

static void client_send_fd(struct client *c, const char *text, int fd)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {(void *)text, strlen(text)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    g_assert_cmpint(sendmsg(c->fd, &message, 0), ==, iov.iov_len);
}

static void client_read(struct client *c)
{
    char buffer[65536];
    ssize_t n;

    turn(c->f, 1);
    while ((n = recv(c->fd, buffer, sizeof(buffer), 0)) > 0) {
        g_string_append_len(c->in, buffer, n);
        turn(c->f, 1);
    }
}

/* The next line, without CR LF; NULL if there is none. */
static char *client_line(struct client *c)
{
    char *end = NULL, *line;

    for (int i = 0; i < 200 && !end; i++) {
        client_read(c);
        end = strstr(c->in->str, "\r\n");
    }
    if (!end) {
        return NULL;
    }
    line = g_strndup(c->in->str, (gsize)(end - c->in->str));
    g_string_erase(c->in, 0, end + 2 - c->in->str);
    return line;
}

static void expect(struct client *c, const char *expected)
{
    g_autofree char *line = client_line(c);

    g_assert_cmpstr(line, ==, expected);
}

static void expect_start(struct client *c, const char *start, const char *end)
{
    g_autofree char *line = client_line(c);

    g_assert_nonnull(line);
    g_assert_true(g_str_has_prefix(line, start));
    g_assert_true(g_str_has_suffix(line, end));
}

static void expect_nothing(struct client *c)
{
    for (int i = 0; i < 20; i++) {
        client_read(c);
    }
    g_assert_cmpstr(c->in->str, ==, "");
}

#define GREETING                                                                       \
    "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 10, \"minor\": 0, \"micro\": 2}, " \
    "\"package\": \"Nandu " NANDU_VERSION "\"}, \"capabilities\": [\"oob\"]}}"
#define ERROR(class, text) "{\"error\": {\"class\": \"" class "\", \"desc\": \"" text "\"}}"
#define DONE               "{\"return\": {}}"

static struct client *client_negotiated(struct fixture *f, bool oob)
{
    struct client *c = client_new(f, false);

    expect(c, GREETING);
    client_send(c, oob ? "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}"
                       : "{'execute': 'qmp_capabilities'}");
    expect(c, DONE);
    return c;
}

/* ---- Tests ---- */

static void test_negotiation(struct fixture *f, const void *data)
{
    struct client *c = client_new(f, false);
    const char *early =
        ERROR("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");

    expect(c, GREETING);
    client_send(c, "{'execute': 'test-count'}");
    expect(c, early);
    client_send(c, "{'execute': 'nonsense'}");
    expect(c, early);
    client_send(c, "{'exec-oob': 'test-oob'}");
    expect(c, ERROR("GenericError", "QMP input member 'exec-oob' is unexpected"));
    client_send(c, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['nonsense']}}");
    expect_start(c, "{\"error\": {\"class\": \"GenericError\", ",
                 "does not accept value 'nonsense'\"}}");
    client_send(c, "{'execute': 'test-count'}");
    expect(c, early);
    client_send(c, "{'execute': 'qmp_capabilities'}{'execute': 'test-count'}");
    expect(c, DONE);
    expect(c, DONE);
    client_send(c, "{'execute': 'qmp_capabilities'}");
    expect(c, ERROR("CommandNotFound",
                    "Capabilities negotiation is already complete, command ignored"));
    client_send(c, "{'exec-oob': 'test-oob'}");
    expect(c, ERROR("GenericError", "QMP input member 'exec-oob' is unexpected"));
    g_assert_cmpint(f->world.n_run, ==, 1);
    client_free(c);
}

static void test_requests(struct fixture *f, const void *data)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"[1]", ERROR("GenericError", "QMP input must be a JSON object")},
        {"1 ", ERROR("GenericError", "QMP input must be a JSON object")},
        {"null ", ERROR("GenericError", "QMP input must be a JSON object")},
        {"{}", ERROR("GenericError", "QMP input lacks member 'execute'")},
        {"{'execute': 1}", ERROR("GenericError", "QMP input member 'execute' must be a string")},
        {"{'execute': 'test-count', 'x': 1}",
         ERROR("GenericError", "QMP input member 'x' is unexpected")},
        {"{'execute': 'test-count', 'arguments': []}",
         ERROR("GenericError", "QMP input member 'arguments' must be an object")},
        {"{'execute': 'test-count', 'exec-oob': 'test-oob'}",
         ERROR("GenericError", "QMP input member 'exec-oob' clashes with 'execute'")},
        {"{'execute': 'nonsense'}",
         ERROR("CommandNotFound", "The command nonsense has not been found")},
        {"{'execute': 'test-count', 'arguments': {'x': 1}}",
         ERROR("GenericError", "Parameter 'x' is unexpected")},
        {"{'exec-oob': 'test-count'}",
         ERROR("GenericError", "The command test-count does not support OOB")},
        {"{'execute': 'test-oob'}", DONE},
        {"{'exec-oob': 'test-oob'}", DONE},
        {"{'execute': 'test-null'}", "{\"return\": null}"},
        {"{'execute': 'test-count', 'id': 5}", "{\"return\": {}, \"id\": 5}"},
        {"{'execute': 'test-count', 'id': null}", "{\"return\": {}, \"id\": null}"},
        {"{'id': [1, {'a': 2}], 'execute': 'test-count'}",
         "{\"return\": {}, \"id\": [1, {\"a\": 2}]}"},
        {"{'id': 7}", "{\"id\": 7, \"error\": {\"class\": \"GenericError\", "
                      "\"desc\": \"QMP input lacks member 'execute'\"}}"},
        {"{'execute': 'nonsense', 'id': 'x'}",
         "{\"id\": \"x\", \"error\": {\"class\": \"CommandNotFound\", "
         "\"desc\": \"The command nonsense has not been found\"}}"},
    };
    struct client *c = client_negotiated(f, true);

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        client_send(c, cases[i].request);
        expect(c, cases[i].answer);
    }
    client_send(c, "{'execute': 'test-silent', 'id': 1}");
    expect_nothing(c);
    client_send(c, "}\n{'execute': 'test-count'}");
    expect_start(c, "{\"error\": {\"class\": \"GenericError\", ", "}}");
    expect(c, DONE);
    /* A byte each time. */
    for (const char *at = "{'execute': 'test-count', 'id': 1}"; *at; at++) {
        client_send_bytes(c, at, 1);
    }
    expect(c, "{\"return\": {}, \"id\": 1}");
    client_free(c);
}

static void test_pretty(struct fixture *f, const void *data)
{
    struct client *c = client_new(f, true);

    expect(c, "{");
    client_send(c, "{'execute': 'qmp_capabilities'}");
    for (int i = 0; i < 15; i++) {
        g_autofree char *line = client_line(c);

        g_assert_null(strchr(line, '\n'));
    }
    client_free(c);
}

static void test_events(struct fixture *f, const void *data)
{
    struct client *a = client_negotiated(f, false), *b = client_new(f, false);

    expect(b, GREETING);
    client_send(a, "{'execute': 'test-event', 'id': 1}");
    expect_start(a, "{\"timestamp\": {\"seconds\": ", "}, \"event\": \"TEST_PLAIN\"}");
    expect(a, "{\"return\": {}, \"id\": 1}");
    expect_nothing(b); /* hasn't negotiated */
    client_send(b, "{'execute': 'qmp_capabilities'}");
    expect(b, DONE);
    client_send(a, "{'execute': 'test-event'}");
    expect_start(b, "{\"timestamp\": ", "\"TEST_PLAIN\"}");
    client_free(a);
    client_free(b);
}

static gpointer emit_many(gpointer data)
{
    for (int i = 0; i < 1000; i++) {
        qapi_emit(data, &event_plain, NULL);
    }
    return NULL;
}

static void test_events_of_threads(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, false);
    GThread *threads[4];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("emitter", emit_many, f->world.events);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    for (int i = 0; i < 4000; i++) {
        expect_start(c, "{\"timestamp\": ", "\"TEST_PLAIN\"}");
    }
    client_free(c);
}

static void emit_limited(struct fixture *f, const char *id)
{
    /* An event with a member "id" is all that matters. */
    json_object *event = json_object_new_object();

    json_object_object_add(event, "id", json_object_new_string(id));
    json_object_object_add(event, "n", json_object_new_int(f->world.n_run++));
    f->world.events->emit(f->world.events, &event_limited, event);
}

static void test_rate_limit(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, false);
    int64_t start = g_get_monotonic_time();

    for (int i = 0; i < 10; i++) {
        emit_limited(f, "a");
        emit_limited(f, "b");
    }
    expect_start(c, "{\"timestamp\": ", "\"data\": {\"id\": \"a\", \"n\": 0}}");
    expect_start(c, "{\"timestamp\": ", "\"data\": {\"id\": \"b\", \"n\": 1}}");
    expect_nothing(c);
    while (g_get_monotonic_time() - start < 1100000) {
        turn(f, 1);
        g_usleep(1000);
    }
    expect_start(c, "{\"timestamp\": ", "\"data\": {\"id\": \"a\", \"n\": 18}}");
    expect_start(c, "{\"timestamp\": ", "\"data\": {\"id\": \"b\", \"n\": 19}}");
    emit_limited(f, "a");
    expect_nothing(c);
    client_free(c);
}

/* While one waits others of the session and of other ones do, but for what is out of band. */
static void test_waiting(struct fixture *f, const void *data)
{
    struct client *a = client_negotiated(f, true), *b = client_negotiated(f, false);

    client_send(a, "{'execute': 'test-wait', 'id': 1}{'execute': 'test-count', 'id': 2}"
                   "{'exec-oob': 'test-oob', 'id': 3}");
    expect(a, "{\"return\": {}, \"id\": 3}");
    expect_nothing(a);
    client_send(b, "{'execute': 'test-count'}");
    expect_nothing(b);
    g_assert_nonnull(f->world.waiting);
    g_assert_cmpint(f->world.n_run, ==, 1);
    coroutine_wake(f->world.waiting);
    expect(a, "{\"return\": {}, \"id\": 1}");
    expect(a, "{\"return\": {}, \"id\": 2}");
    expect(b, DONE);
    client_free(a);
    client_free(b);
}

/* No more than eight requests are read ahead. */
static void test_queue(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, true);
    int late = 0;

    client_send(c, "{'execute': 'test-wait'}");
    for (int i = 0; i < 7; i++) {
        client_send(c, "{'execute': 'test-count'}");
    }
    client_send(c, "{'exec-oob': 'test-oob', 'id': 'late'}");
    expect_nothing(c);
    coroutine_wake(f->world.waiting);
    for (int i = 0; i < 9; i++) {
        g_autofree char *line = client_line(c);

        if (!g_str_equal(line, DONE)) {
            g_assert_cmpstr(line, ==, "{\"return\": {}, \"id\": \"late\"}");
            late = i;
        }
    }
    g_assert_cmpint(late, >, 0);
    g_assert_cmpint(late, <, 8); /* as soon as it can be read */
    client_free(c);
}

/* The end of the client while its command waits. */
static void test_gone(struct fixture *f, const void *data)
{
    struct client *a = client_negotiated(f, true), *b = client_negotiated(f, false);

    client_send(a, "{'execute': 'test-wait'}{'execute': 'test-count'}{'execute': 'test-count'}");
    turn(f, 10);
    client_free(a);
    turn(f, 10);
    g_assert_nonnull(f->world.waiting);
    coroutine_wake(f->world.waiting);
    turn(f, 10);
    g_assert_null(f->world.waiting);
    client_send(b, "{'execute': 'test-count'}");
    expect(b, DONE);
    g_assert_cmpint(f->world.n_run, <=, 3);
    client_free(b);
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    return !fstat(a, &x) && !fstat(b, &y) && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void test_descriptors(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, false);
    int fds[2], other[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(pipe(other), ==, 0);
    client_send(c, "{'execute': 'getfd', 'arguments': {'fdname': 'f'}}");
    expect(c, ERROR("GenericError", "No file descriptor supplied via SCM_RIGHTS"));
    client_send_fd(c, "{'execute': 'getfd', 'arguments': {'fdname': '1f'}}", fds[0]);
    expect(c, ERROR("GenericError", "Parameter 'fdname' expects a name not starting with a digit"));
    client_send_fd(c, "{'execute': 'getfd', 'arguments': {'fdname': 'f'}}", fds[0]);
    expect(c, DONE);
    client_send_fd(c, "{'execute': 'test-count'}{'execute': 'getfd', 'arguments': {'fdname': 'g'}}",
                   other[0]);
    expect(c, DONE);
    expect(c, DONE);
    client_send(c, "{'execute': 'closefd', 'arguments': {'fdname': 'g'}}");
    expect(c, DONE);
    client_send(c, "{'execute': 'closefd', 'arguments': {'fdname': 'g'}}");
    expect(c, ERROR("GenericError", "File descriptor named 'g' not found"));
    client_send(c, "{'execute': 'test-take'}");
    expect(c, DONE);
    g_assert_true(same_file(f->world.taken_fd, fds[0]));
    close(f->world.taken_fd);
    /* One that no command took makes way. */
    client_send_fd(c, "{'execute': 'test-count'}", fds[0]);
    expect(c, DONE);
    client_send_fd(c, "{'execute': 'getfd', 'arguments': {'fdname': 'f'}}", other[0]);
    expect(c, DONE);
    client_send(c, "{'execute': 'test-take'}");
    expect(c, DONE);
    g_assert_true(same_file(f->world.taken_fd, other[0]));
    close(f->world.taken_fd);
    /* What is left is closed at the end of the session: the pipe has no reader then. */
    client_send_fd(c, "{'execute': 'getfd', 'arguments': {'fdname': 'f'}}", fds[0]);
    expect(c, DONE);
    close(fds[0]);
    client_free(c);
    signal(SIGPIPE, SIG_IGN);
    g_assert_cmpint(write(fds[1], "", 1), ==, -1);
    close(fds[1]);
    close(other[0]);
    close(other[1]);
}

static void test_fdsets(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, false);
    g_autofree char *line = NULL;
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    client_send(c, "{'execute': 'add-fd'}");
    expect(c, ERROR("GenericError", "No file descriptor supplied via SCM_RIGHTS"));
    client_send_fd(c, "{'execute': 'add-fd', 'arguments': {'opaque': 'x'}}", fds[0]);
    expect_start(c, "{\"return\": {\"fdset-id\": 0, \"fd\": ", "}}");
    client_send_fd(c, "{'execute': 'add-fd', 'arguments': {'fdset-id': 0}}", fds[1]);
    expect_start(c, "{\"return\": {\"fdset-id\": 0, \"fd\": ", "}}");
    client_send_fd(c, "{'execute': 'add-fd', 'arguments': {'fdset-id': -1}}", fds[1]);
    expect_start(c, "{\"error\": ", "}");
    client_send(c, "{'execute': 'query-fdsets'}");
    line = client_line(c);
    g_assert_true(g_str_has_prefix(line, "{\"return\": [{\"fdset-id\": 0, \"fds\": [{\"fd\": "));
    g_assert_nonnull(strstr(line, "\"opaque\": \"x\""));
    client_send(c, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 0, 'fd': 77777777777}}");
    expect_start(c, "{\"error\": ", "not found\"}}");
    client_send(c, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 0}}");
    expect(c, DONE);
    client_send(c, "{'execute': 'remove-fd', 'arguments': {'fdset-id': 0}}");
    expect_start(c, "{\"error\": ", "not found\"}}");
    client_send(c, "{'execute': 'query-fdsets'}");
    expect(c, "{\"return\": []}");
    close(fds[0]);
    close(fds[1]);
    client_free(c);
}

static void test_human(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, false);

    client_send(c,
                "{'execute': 'human-monitor-command', 'arguments': {'command-line': 'print 1'}}");
    expect(c, "{\"return\": \"0x1\\r\\n\"}");
    client_send(c,
                "{'execute': 'human-monitor-command', 'arguments': {'command-line': 'getfd x'}}");
    expect(c, "{\"return\": \"Error: No file descriptor supplied via SCM_RIGHTS\\r\\n\"}");
    client_free(c);
}

/* Who doesn't read isn't served; others are, and what is kept for it is bounded. */
static void test_not_reading(struct fixture *f, const void *data)
{
    struct client *lazy = client_negotiated(f, true), *c = client_negotiated(f, false);
    g_autofree char *line = NULL;
    size_t n_events = 0, n_answers = 0, n_requests = 0;

    /* Until nothing more is taken from the socket. */
    while (send(lazy->fd, "{'execute':'query-commands'}", 28, MSG_NOSIGNAL) == 28) {
        n_requests++;
        turn(f, 2);
    }
    for (int i = 0; i < 50000; i++) {
        qapi_emit(f->world.events, &event_plain, NULL);
        if (i % 100 == 0) {
            client_read(c);
            g_string_truncate(c->in, 0);
        }
    }
    client_read(c);
    g_string_truncate(c->in, 0);
    client_send(c, "{'execute': 'test-count', 'id': 1}");
    expect(c, "{\"return\": {}, \"id\": 1}");
    while ((line = client_line(lazy))) {
        n_events += !!strstr(line, "TEST_PLAIN");
        n_answers += g_str_has_prefix(line, "{\"return\": [{\"name\"");
        g_clear_pointer(&line, g_free);
    }
    g_assert_cmpuint(n_answers, ==, n_requests);
    g_assert_cmpuint(n_events, >, 100);
    g_assert_cmpuint(n_events, <, 30000);
    client_send(lazy, "{'execute': 'test-event'}");
    expect_start(lazy, "{\"timestamp\": ", "\"TEST_PLAIN\"}");
    expect(lazy, DONE);
    client_free(lazy);
    client_free(c);
}

static void test_garbage(struct fixture *f, const void *data)
{
    struct client *c = client_negotiated(f, true);
    g_autofree char *nested = g_strnfill(1 << 20, '[');

    for (int i = 0; i < 300; i++) {
        char bytes[256];

        for (size_t n = 0; n < sizeof(bytes); n++) {
            bytes[n] = (char)g_test_rand_int_range(0, 256);
        }
        client_send_bytes(c, bytes, sizeof(bytes));
        client_read(c);
        g_string_truncate(c->in, 0);
    }
    client_send(c, "\n");
    client_send(c, nested);
    client_send(c, "\n\n\xff{'execute': 'test-count', 'id': 'end'}\n");
    for (;;) {
        g_autofree char *line = client_line(c);

        g_assert_nonnull(line);
        if (g_str_equal(line, "{\"return\": {}, \"id\": \"end\"}")) {
            break;
        }
        g_assert_true(strstr(line, "\"error\"") != NULL);
    }
    client_free(c);
}

#define ADD(name, fn) g_test_add("/qmp/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("negotiation", test_negotiation);
    ADD("requests", test_requests);
    ADD("pretty", test_pretty);
    ADD("events", test_events);
    ADD("events-of-threads", test_events_of_threads);
    ADD("rate-limit", test_rate_limit);
    ADD("waiting", test_waiting);
    ADD("queue", test_queue);
    ADD("gone", test_gone);
    ADD("descriptors", test_descriptors);
    ADD("fdsets", test_fdsets);
    ADD("human", test_human);
    ADD("not-reading", test_not_reading);
    ADD("garbage", test_garbage);
    return g_test_run();
}
