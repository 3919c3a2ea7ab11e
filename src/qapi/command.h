/*
 * Commands and events of the schema, as const tables that the generator writes. A command's handler is
 *
 *   bool qmp_query_name(struct qmp_context *ctx, const struct qapi_query_name_arg *arg,
 *                       struct qapi_name_info *ret, GError **error);
 *
 * arg is left out where there are no arguments; ret (zeroed; a list: struct qapi_..._list *, a scalar:
 * int64_t * and so on) where nothing is returned. What was put into *ret is freed by the caller also
 * when the handler fails. Handlers run on the main thread; one with 'coroutine': true runs in a
 * coroutine and may wait.
 */
#ifndef NANDU_QAPI_COMMAND_H
#define NANDU_QAPI_COMMAND_H

#include "qapi/error.h"
#include "qapi/type.h"

struct object;
struct monitor;
struct vm;
struct event_loop;
struct fdsets;

/* Where a command comes from and what it works on. Each layer uses the pointers whose types it knows. */
struct qmp_context {
    struct vm *vm;                  /* the machine and its run state (machine/vm.h); a tool has none */
    struct object *root;            /* the object tree (object/object.h) */
    struct monitor *monitor;        /* the session (monitor/monitor.h); NULL: not from a monitor */
    struct event_loop *loop;        /* the main loop */
    struct fdsets *fdsets;          /* util/fdset.h */
};

enum qapi_command_flags {
    QAPI_COMMAND_OOB = 1,           /* allow-oob */
    QAPI_COMMAND_PRECONFIG = 2,     /* allow-preconfig */
    QAPI_COMMAND_COROUTINE = 4,
    QAPI_COMMAND_NO_RESPONSE = 8,   /* success-response: false */
};

struct qapi_command {
    const char *name;
    const struct qapi_type *arg;    /* NULL: none */
    const struct qapi_type *ret;    /* NULL: none ({} is returned) */
    unsigned flags;
    bool gen;                       /* false: arg is passed as it came ('gen': false) */
    const char *const *features;
    bool (*invoke)(struct qmp_context *ctx, const void *arg, void *ret, GError **error);
};

struct qapi_event {
    const char *name;
    const struct qapi_type *arg;    /* NULL: none */
    const char *const *features;
};

/* All that a program offers (each program's schema makes one: qapi_system_schema, ...). */
struct qapi_schema {
    const struct qapi_command *commands;    /* sorted by name */
    size_t n_commands;
    const struct qapi_event *events;
    size_t n_events;
};

const struct qapi_command *qapi_find_command(const struct qapi_schema *schema, const char *name);
/* The command's return value ({} if it has none), or NULL and *error. arguments may be NULL. */
json_object *qapi_invoke(const struct qapi_command *command, struct qmp_context *ctx,
                               struct json_object *arguments, GError **error);
/* What query-qmp-schema answers. */
json_object *qapi_introspect(const struct qapi_schema *schema);

/*
 * Where events go. The generator makes for each event
 *   void qapi_event_foo(struct qapi_event_sink *sink, const struct qapi_foo_event *arg);
 * which may be called from any thread; sink NULL: nobody listens.
 */
struct qapi_event_sink {
    void (*emit)(struct qapi_event_sink *sink, const struct qapi_event *event, json_object *data);
};
void qapi_emit(struct qapi_event_sink *sink, const struct qapi_event *event, const void *arg);

#endif
