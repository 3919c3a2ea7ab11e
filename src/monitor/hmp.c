/* HMP lines: finding the command, running it, help, completion. */
#include "monitor/hmp.h"

#include <stdarg.h>
#include <string.h>

#include "monitor/monitor_priv.h"
#include "util/coroutine.h"
#include "util/log.h"
#include "util/nearest.h"
#include "util/trace.h"

/* ---- For handlers ---- */

void hmp_print(struct hmp *hmp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_string_append_vprintf(hmp->out, format, args);
    va_end(args);
}

bool hmp_call(struct hmp *hmp, const char *name, struct json_object *args, json_object **value,
              GError **error)
{
    const struct qapi_command *command = qapi_find_command(hmp->schema, name);
    GError *failed = NULL;
    json_object *result;

    if (!command) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_COMMAND_NOT_FOUND,
                    "The command %s isn't in this program", name);
        return false;
    }
    if (!monitor_check_preconfig(&hmp->context, command, error)) {
        return false;
    }
    if ((command->flags & QAPI_COMMAND_COROUTINE) && !coroutine_self()) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The command %s may have to wait, which isn't possible here", name);
        return false;
    }
    result = qapi_invoke(command, &hmp->context, args, &failed);
    if (failed) {
        g_propagate_error(error, failed);
        return false;
    }
    if (value) {
        *value = result;
    } else {
        json_object_put(result);
    }
    return true;
}

static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(object, name, &value);
    return value;
}

const char *hmp_str(struct json_object *object, const char *name)
{
    struct json_object *value = member(object, name);

    return value ? json_object_get_string(value) : NULL;
}

int64_t hmp_int(struct json_object *object, const char *name)
{
    return json_object_get_int64(member(object, name));
}

bool hmp_bool(struct json_object *object, const char *name)
{
    return json_object_get_boolean(member(object, name));
}

bool hmp_check_cpu(struct qmp_context *ctx, int64_t index, GError **error)
{
    struct hmp hmp = {.context = *ctx, .schema = ctx->monitor->owner->schema};
    g_autoptr(json_object) cpus = NULL;

    if (!hmp_call(&hmp, "query-cpus-fast", NULL, &cpus, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(cpus); i++) {
        if (hmp_int(json_object_array_get_idx(cpus, i), "cpu-index") == index) {
            return true;
        }
    }
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Parameter 'cpu-index' expects a CPU number");
    return false;
}

/* ---- Commands ---- */

const struct hmp_row *hmp_find(const struct hmp_table *table, const char *name, size_t length)
{
    for (size_t i = 0; i < table->n; i++) {
        const char *at = table->rows[i].name;

        while (*at) {
            size_t n = strcspn(at, "|");

            if (n == length && !memcmp(at, name, n)) {
                return &table->rows[i];
            }
            at += n + (at[n] == '|');
        }
    }
    return NULL;
}

/* The name that *text begins with; *text is moved behind it. "/" ends a name: "print/x". */
static size_t read_name(const char **text, const char **name)
{
    while (g_ascii_isspace(**text)) {
        (*text)++;
    }
    *name = *text;
    while (**text && **text != '/' && !g_ascii_isspace(**text)) {
        (*text)++;
    }
    return (size_t)(*text - *name);
}

static void append_names(const struct hmp_table *table, GPtrArray *names)
{
    for (size_t i = 0; i < table->n; i++) {
        g_auto(GStrv) all = g_strsplit(table->rows[i].name, "|", -1);

        for (char **one = all; *one; one++) {
            g_ptr_array_add(names, g_strdup(*one));
        }
    }
}

static void print_unknown(struct hmp *hmp, const struct hmp_table *table, const char *prefix,
                          const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *nearest;

    append_names(table, names);
    nearest = util_nearest(name, (const char *const *)names->pdata, names->len);
    hmp_print(hmp, "unknown command: '%s%s'", prefix, name);
    if (nearest) {
        hmp_print(hmp, "; did you mean '%s%s'?", prefix, nearest);
    }
    hmp_print(hmp, "\n");
}

static void help_row(struct hmp *hmp, const struct hmp_row *row, const char *prefix)
{
    hmp_print(hmp, "%s%s %s -- %s\n", prefix, row->name, row->params, row->help);
}

void hmp_help(struct hmp *hmp, const struct hmp_table *table, const char *prefix, const char *name)
{
    const struct hmp_row *row;
    const char *word;
    size_t length;

    if (!name) {
        for (size_t i = 0; i < table->n; i++) {
            help_row(hmp, &table->rows[i], prefix);
        }
        return;
    }
    length = read_name(&name, &word);
    row = hmp_find(table, word, length);
    while (g_ascii_isspace(*name)) {
        name++;
    }
    if (!row) {
        g_autofree char *unknown = g_strndup(word, length);

        print_unknown(hmp, table, prefix, unknown);
    } else if (row->sub) {
        g_autofree char *deeper = g_strconcat(prefix, row->name, " ", NULL);

        hmp_help(hmp, row->sub, deeper, *name ? name : NULL);
    } else if (row->more_help) {
        g_autofree char *text = row->more_help();

        hmp_print(hmp, "%s", text);
    } else {
        help_row(hmp, row, prefix);
    }
}

static void run_row(struct hmp *hmp, const struct hmp_row *row, const char *typed, const char *rest)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) args = hmp_parse_args(row, rest, &error);
    bool ok;

    if (!args) {
        hmp_print(hmp, "%s\nTry \"help %s\" for more information\n", error->message, typed);
        return;
    }
    ok = row->run ? row->run(hmp, args, &error) : hmp_call(hmp, row->command, args, NULL, &error);
    if (!ok) {
        hmp_print(hmp, "Error: %s\n", error->message);
    }
}

static void run_line(struct hmp *hmp, const char *line)
{
    const struct hmp_table *table = &hmp_table;
    const struct hmp_row *row;
    g_autofree char *prefix = g_strdup(""), *name = NULL, *typed = NULL;
    const char *word;
    size_t length = read_name(&line, &word);

    if (!length && !*line) {
        return;
    }
    for (;;) {
        g_free(name);
        name = g_strndup(word, length);
        row = hmp_find(table, word, length);
        if (!row) {
            print_unknown(hmp, table, prefix, name);
            return;
        }
        if (!row->sub) {
            break;
        }
        g_free(prefix);
        prefix = g_strconcat(row->name, " ", NULL);
        length = read_name(&line, &word);
        table = row->sub;
        if (!length) {
            hmp_help(hmp, table, prefix, NULL);
            return;
        }
    }
    typed = g_strconcat(prefix, name, NULL);
    run_row(hmp, row, typed, line);
}

/* What a command causes others to say is its output. */
static void write_message(void *opaque, const char *text)
{
    struct hmp *hmp = opaque;

    g_string_append(hmp->out, text);
}

char *hmp_run(const struct qapi_schema *schema, struct log *log, const struct qmp_context *context,
              const struct readline *readline, const char *line, int64_t cpu_index)
{
    struct hmp hmp = {
        .context = *context,
        .schema = schema,
        .log = log,
        .readline = readline,
        .cpu_index = cpu_index,
        .out = g_string_new(NULL),
    };
    struct log_sink sink = {.write = write_message, .opaque = &hmp};

    hmp.context.compat = NULL; /* is about what programs do */
    trace_monitor_hmp(log, line);
    log_push_sink(log, &sink);
    run_line(&hmp, line);
    log_pop_sink(log, &sink);
    return g_string_free(hmp.out, FALSE);
}

/* ---- Completion ---- */

/* The last word is the one to complete. */
static void complete_words(const struct hmp *hmp, char **words, guint n, GPtrArray *candidates)
{
    const struct hmp_table *table = &hmp_table;
    guint i = 0;

    /* "help X" completes as X does, as far as names go. */
    if (n > 1 && (g_str_equal(words[0], "help") || g_str_equal(words[0], "?"))) {
        i++;
    }
    for (; i < n; i++) {
        const struct hmp_row *row;

        if (i + 1 == n) {
            append_names(table, candidates);
            return;
        }
        row = hmp_find(table, words[i], strlen(words[i]));
        if (!row || !row->sub) {
            if (row && row->complete) {
                row->complete(hmp, n - i - 2, candidates);
            }
            return;
        }
        table = row->sub;
    }
}

size_t hmp_complete(const struct qapi_schema *schema, struct log *log,
                    const struct qmp_context *context, const char *text, GPtrArray *candidates)
{
    const struct hmp hmp = {.context = *context, .schema = schema, .log = log};
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    const char *at = text;

    for (;;) {
        const char *end;

        while (g_ascii_isspace(*at)) {
            at++;
        }
        end = at + strcspn(at, " \t");
        g_ptr_array_add(words, g_strndup(at, (gsize)(end - at)));
        if (!*end) {
            break;
        }
        at = end;
    }
    complete_words(&hmp, (char **)words->pdata, words->len, candidates);
    for (guint i = 0; i < candidates->len;) {
        if (g_str_has_prefix(candidates->pdata[i], at)) {
            i++;
        } else {
            g_ptr_array_remove_index_fast(candidates, i);
        }
    }
    return (size_t)(at - text);
}
