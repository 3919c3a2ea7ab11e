/* QMP sessions: greeting, negotiation, requests in and out of band, answers, events. */
#include "monitor/monitor_priv.h"

#include <string.h>

#include "monitor/version.h"
#include "qapi/qapi_types.h"
#include "util/coroutine.h"
#include "util/trace.h"

enum {
    MAX_MESSAGE = 64 << 20, /* bytes */
    MAX_REQUESTS = 8,       /* of a session with out-of-band commands; the one that runs counts */
};

struct qmp_session {
    struct monitor mon;
    bool pretty;
    bool negotiated, oob;
    struct json_stream *stream;
    GQueue requests; /* of struct request */
};

/* A message of the client: what it asked for, or what is wrong with it. */
struct request {
    struct qmp_session *session;
    unsigned connection;  /* whose answer this is */
    json_object *message; /* NULL: it wasn't JSON */
    bool has_id;
    json_object *id; /* the rest is borrowed from message */
    const char *name;
    bool out_of_band;
    json_object *arguments; /* NULL: none */
    const struct qapi_command *command;
    GError *error; /* the answer, if it is set */
};

static void request_free(void *opaque)
{
    struct request *request = opaque;

    json_object_put(request->message);
    g_clear_error(&request->error);
    g_free(request);
}

/* ---- Out ---- */

static void send_message(struct qmp_session *session, struct json_object *message)
{
    g_autofree char *text = json_print(message, session->pretty);
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    monitor_print(&session->mon, line);
}

static void greet(struct monitor *mon)
{
    struct qmp_session *session = (struct qmp_session *)mon;
    struct qapi_version_info *version = version_info();
    g_autoptr(json_object) greeting = json_object_new_object();
    json_object *qmp = json_object_new_object();
    json_object *capabilities = json_object_new_array();

    for (int i = 0; i < QAPI_QMP_CAPABILITY__COUNT; i++) {
        json_object_array_add(capabilities,
                              json_object_new_string(qapi_enum_name(&qapi_type_qmp_capability, i)));
    }
    json_object_object_add(qmp, "version", qapi_to_json(&qapi_type_version_info, version));
    json_object_object_add(qmp, "capabilities", capabilities);
    json_object_object_add(greeting, "QMP", qmp);
    qapi_version_info_free(version);
    send_message(session, greeting);
}

static json_object *error_object(const GError *error)
{
    json_object *object = json_object_new_object();

    json_object_object_add(object, "class", json_object_new_string(qapi_error_class(error)));
    json_object_object_add(object, "desc", json_object_new_string(error->message));
    return object;
}

/* value is taken; it may be NULL, JSON's null. */
static void answer(struct request *request, json_object *value)
{
    struct qmp_session *session = request->session;
    g_autoptr(json_object) message = json_object_new_object();

    if (!request->error) {
        json_object_object_add(message, "return", value);
    }
    if (request->has_id) {
        json_object_object_add(message, "id", json_object_get(request->id));
    }
    if (request->error) {
        trace_monitor_qmp_error(session->mon.owner->log, chardev_id(session->mon.chr),
                                request->error->message);
        json_object_object_add(message, "error", error_object(request->error));
    }
    if (request->connection == session->mon.connection) {
        events_flush(session->mon.owner->events);
        send_message(session, message);
    }
}

static void send_event(struct monitor *mon, json_object *event)
{
    struct qmp_session *session = (struct qmp_session *)mon;

    if (session->negotiated) {
        send_message(session, event);
    }
}

/* ---- Requests ---- */

static bool G_GNUC_PRINTF(2, 3) wrong(struct request *request, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    request->error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    va_end(args);
    return false;
}

static bool read_member(struct request *request, const char *name, json_object *value)
{
    bool out_of_band = g_str_equal(name, "exec-oob");

    if (g_str_equal(name, "id")) {
        return true;
    }
    if (g_str_equal(name, "execute") || (out_of_band && request->session->oob)) {
        if (!json_object_is_type(value, json_type_string)) {
            return wrong(request, "QMP input member '%s' must be a string", name);
        }
        if (request->name) {
            return wrong(request, "QMP input member '%s' clashes with '%s'", name,
                         out_of_band ? "execute" : "exec-oob");
        }
        request->name = json_object_get_string(value);
        request->out_of_band = out_of_band;
        return true;
    }
    if (g_str_equal(name, "arguments")) {
        if (!json_object_is_type(value, json_type_object)) {
            return wrong(request, "QMP input member 'arguments' must be an object");
        }
        request->arguments = value;
        return true;
    }
    return wrong(request, "QMP input member '%s' is unexpected", name);
}

/* Fills in the request from its message; false: request->error says what is wrong. */
static bool read_request(struct request *request)
{
    if (!json_object_is_type(request->message, json_type_object)) {
        return wrong(request, "QMP input must be a JSON object");
    }
    request->has_id = json_object_object_get_ex(request->message, "id", &request->id);
    json_object_object_foreach(request->message, name, value)
    {
        if (!read_member(request, name, value)) {
            return false;
        }
    }
    return request->name || wrong(request, "QMP input lacks member 'execute'");
}

/* Sets request->command, or request->error if it can't be run. */
static bool find_command(struct request *request)
{
    struct qmp_session *session = request->session;
    const struct qapi_command *command =
        qapi_find_command(session->mon.owner->schema, request->name);

    if (!session->negotiated && !g_str_equal(request->name, "qmp_capabilities")) {
        g_set_error_literal(&request->error, QAPI_ERROR, QAPI_ERROR_COMMAND_NOT_FOUND,
                            "Expecting capabilities negotiation with 'qmp_capabilities'");
        return false;
    }
    if (!command) {
        g_set_error(&request->error, QAPI_ERROR, QAPI_ERROR_COMMAND_NOT_FOUND,
                    "The command %s has not been found", request->name);
        return false;
    }
    if (request->out_of_band && !(command->flags & QAPI_COMMAND_OOB)) {
        return wrong(request, "The command %s does not support OOB", request->name);
    }
    request->command = command;
    return monitor_check_preconfig(&session->mon.context, command, &request->error);
}

/* Runs a request's command and answers. */
static void run_command(struct request *request)
{
    const struct monitor *mon = &request->session->mon;
    json_object *value;

    trace_monitor_qmp(mon->owner->log, chardev_id(mon->chr), request->name, request->out_of_band);
    value = qapi_invoke(request->command, &request->session->mon.context, request->arguments,
                        &request->error);

    if (!request->error && (request->command->flags & QAPI_COMMAND_NO_RESPONSE)) {
        json_object_put(value);
    } else {
        answer(request, value);
    }
}

static void run_in_coroutine(void *opaque)
{
    struct request *request = opaque;
    struct monitor *mon = &request->session->mon;

    run_command(request);
    request_free(request);
    monitor_done(mon);
}

static guint n_requests(const struct monitor *mon)
{
    const struct qmp_session *session = (const struct qmp_session *)mon;

    return session->requests.length;
}

/* Without out-of-band commands nothing is gained by reading ahead. */
static guint max_requests(const struct monitor *mon)
{
    const struct qmp_session *session = (const struct qmp_session *)mon;

    return session->oob ? MAX_REQUESTS : 1;
}

static void run_request(struct monitor *mon)
{
    struct qmp_session *session = (struct qmp_session *)mon;
    struct request *request = g_queue_pop_head(&session->requests);

    if (request->error || !find_command(request)) {
        answer(request, NULL);
    } else if (request->command->flags & QAPI_COMMAND_COROUTINE) {
        coroutine_start(mon->context.loop, run_in_coroutine, request);
        return;
    } else {
        run_command(request);
    }
    request_free(request);
    monitor_done(mon);
}

/* ---- In ---- */

/* Out-of-band commands are run from read_input, when the stream is done. */
static void on_message(void *opaque, json_object *value, GError *error)
{
    struct qmp_session *session = opaque;
    struct request *request = g_new0(struct request, 1);

    request->session = session;
    request->connection = session->mon.connection;
    request->message = value;
    request->error = error;
    if (!error) {
        read_request(request);
    }
    g_queue_push_tail(&session->requests, request);
}

/* Runs the requests from the given one on that don't wait for their turn. */
static void run_out_of_band(struct qmp_session *session, GList *from)
{
    for (GList *next; from; from = next) {
        struct request *request = from->data;

        next = from->next;
        if (!request->out_of_band || request->error) {
            continue;
        }
        g_queue_delete_link(&session->requests, from);
        if (find_command(request)) {
            run_command(request);
        } else {
            answer(request, NULL);
        }
        request_free(request);
    }
}

/*
 * Up to the next "}", since what follows may have to wait: without a "}" there is no request but
 * a few wrong ones.
 */
static void read_input(struct monitor *mon)
{
    struct qmp_session *session = (struct qmp_session *)mon;
    unsigned connection = mon->connection;
    guint done = 0;

    while (done < mon->input->len && monitor_may_read(mon)) {
        const char *start = (const char *)mon->input->data + done;
        const char *end = memchr(start, '}', mon->input->len - done);
        guint size = end ? (guint)(end + 1 - start) : mon->input->len - done;
        GList *last = session->requests.tail;

        json_stream_feed(session->stream, start, size);
        done += size;
        run_out_of_band(session, last ? last->next : session->requests.head);
        if (mon->connection != connection) {
            return; /* the command has cut off its own client */
        }
    }
    g_byte_array_remove_range(mon->input, 0, done);
}

static void client_gone(struct monitor *mon)
{
    struct qmp_session *session = (struct qmp_session *)mon;

    session->negotiated = false;
    session->oob = false;
    g_queue_clear_full(&session->requests, request_free);
    json_stream_free(session->stream);
    session->stream = json_stream_new(MAX_MESSAGE, on_message, session);
}

static void qmp_session_free(struct monitor *mon)
{
    struct qmp_session *session = (struct qmp_session *)mon;

    g_queue_clear_full(&session->requests, request_free);
    json_stream_free(session->stream);
}

static const struct monitor_ops qmp_ops = {
    .n_requests = n_requests,
    .max_requests = max_requests,
    .read = read_input,
    .run = run_request,
    .opened = greet,
    .closed = client_gone,
    .event = send_event,
    .free = qmp_session_free,
};

bool monitor_add_qmp(struct monitors *monitors, struct chardev *chr, bool pretty, GError **error)
{
    struct qmp_session *session = g_new0(struct qmp_session, 1);

    session->pretty = pretty;
    g_queue_init(&session->requests);
    session->stream = json_stream_new(MAX_MESSAGE, on_message, session);
    return monitor_start(monitors, &session->mon, &qmp_ops, chr, error);
}

bool qmp_negotiate(struct monitor *mon, const struct qapi_qmp_capabilities_arg *arg, GError **error)
{
    struct qmp_session *session = (struct qmp_session *)mon;

    if (mon->ops != &qmp_ops || session->negotiated) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_COMMAND_NOT_FOUND,
                            "Capabilities negotiation is already complete, command ignored");
        return false;
    }
    session->negotiated = true;
    for (size_t i = 0; i < arg->enable.n; i++) {
        session->oob |= arg->enable.v[i] == QAPI_QMP_CAPABILITY_OOB;
    }
    return true;
}
