/* Messages and the -d log. */
#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/coroutine.h"
#include "util/log_priv.h"
#include "util/nearest.h"
#include "util/trace_control.h"

struct item_row {
    const char *name, *help;
};

static const struct item_row items[LOG_N_ITEMS] = {
    [LOG_OUT_ASM] = { "out_asm", "host code of each block that is translated" },
    [LOG_IN_ASM] = { "in_asm", "its guest code" },
    [LOG_OP] = { "op", "its intermediate form" },
    [LOG_OP_OPT] = { "op_opt", "the same after optimization" },
    [LOG_INT] = { "int", "interrupts and exceptions, a line each" },
    [LOG_EXEC] = { "exec", "each block before it runs (much)" },
    [LOG_CPU] = { "cpu", "registers before a block runs (much)" },
    [LOG_FPU] = { "fpu", "with \"cpu\": floating-point registers too" },
    [LOG_MMU] = { "mmu", "what the guest's page tables are asked, and what they say" },
    [LOG_CPU_RESET] = { "cpu_reset", "registers before a vCPU's reset" },
    [LOG_UNIMP] = { "unimp", "what the guest uses and isn't there yet" },
    [LOG_GUEST_ERROR] = { "guest_errors", "what the guest does that its hardware forbids" },
    [LOG_NOCHAIN] = { "nochain", "don't chain blocks, so that \"exec\" and \"cpu\" show each" },
    [LOG_INVALID_MEM] = { "invalid_mem", "accesses to addresses where nothing is" },
    [LOG_TRACE] = { "trace", "trace events whose names fit PATTERN" },
};

/* QEMU's that aren't here. */
static const struct item_row others[] = {
    { "op_ind", "intermediate code has no indirect form here" },
    { "op_plugin", "plugins are not built yet in Nandu " NANDU_VERSION },
    { "plugin", "plugins are not built yet in Nandu " NANDU_VERSION },
    { "pcall", "it is for x86 machines" },
    { "vpu", "vector registers are not built yet in Nandu " NANDU_VERSION },
    { "page", "it is for user mode" },
    { "strace", "it is for user mode" },
    { "tid", "a log for each thread is not built yet in Nandu " NANDU_VERSION },
};

struct log *log_new(const char *program)
{
    struct log *log = g_new0(struct log, 1);

    g_mutex_init(&log->lock);
    log->program = g_strdup(program);
    return log;
}

void log_free(struct log *log)
{
    if (log->file) {
        fclose(log->file);
    }
    if (log->trace_file) {
        fclose(log->trace_file);
    }
    g_slist_free(log->sinks);
    g_clear_pointer(&log->ranges, g_array_unref);
    g_mutex_clear(&log->lock);
    g_free(log->guest_name);
    g_free(log->program);
    g_free(log);
}

/* ---- -d ---- */

static bool unknown_item(const char *name, GError **error)
{
    const char *names[LOG_N_ITEMS], *nearest;

    for (int i = 0; i < LOG_N_ITEMS; i++) {
        names[i] = i == LOG_TRACE ? "trace:" : items[i].name;
    }
    nearest = util_nearest(name, names, LOG_N_ITEMS);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "unknown log item '%s'; %s%s%s",
                name, nearest ? "did you mean '" : "-d help lists them", nearest ? nearest : "",
                nearest ? "'?" : "");
    return false;
}

static bool parse_item(struct log *log, const char *name, unsigned *mask, GError **error)
{
    const char *pattern;

    if (g_str_has_prefix(name, "trace:")) {
        pattern = name + strlen("trace:");
        *mask |= 1u << LOG_TRACE;
        return trace_set(log, pattern, true, error);
    }
    if (!strcmp(name, "all")) {
        *mask |= ((1u << LOG_TRACE) - 1) & ~(1u << LOG_NOCHAIN);
        return true;
    }
    for (int i = 0; i < LOG_TRACE; i++) {
        if (!strcmp(name, items[i].name)) {
            *mask |= 1u << i;
            return true;
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!strcmp(name, others[i].name)) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "no log item '%s': %s",
                        name, others[i].help);
            return false;
        }
    }
    return unknown_item(name, error);
}

static void tell_listener(struct log *log)
{
    if (log->changed) {
        log->changed(log->changed_opaque);
    }
}

void log_set_listener(struct log *log, void (*changed)(void *opaque), void *opaque)
{
    log->changed = changed;
    log->changed_opaque = opaque;
}

bool log_set_items(struct log *log, const char *text, GError **error)
{
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    unsigned mask = 0;

    if (!*names) {
        return unknown_item(text, error);
    }
    for (char **name = names; *name; name++) {
        if (strcmp(*name, "none") && !parse_item(log, *name, &mask, error)) {
            return false;
        }
    }
    __atomic_store_n(&log->items, mask, __ATOMIC_RELAXED);
    tell_listener(log);
    return true;
}

/* ---- -dfilter ---- */

static bool parse_range(const char *text, struct log_range *range)
{
    char *end;
    uint64_t first = g_ascii_strtoull(text, &end, 0), second;
    const char *at = end;

    if (at == text || !g_ascii_isdigit(*text)) {
        return false;
    }
    at += *at == '.' && at[1] == '.' ? 2 : *at == '+' || *at == '-' ? 1 : 0;
    second = g_ascii_strtoull(at, &end, 0);
    if (at == end || *end || !g_ascii_isdigit(*at)) {
        return false;
    }
    if (!second && at[-1] != '.') {
        return false;
    }
    switch (at[-1]) {
    case '.': *range = (struct log_range){first, second}; break;
    case '+': *range = (struct log_range){first, first + (second - 1)}; break;
    case '-': *range = (struct log_range){first - (second - 1), first}; break;
    default: return false;
    }
    return range->first <= range->last;
}

bool log_set_ranges(struct log *log, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(struct log_range));

    for (size_t i = 0; i == 0 || parts[i]; i++) {
        const char *part = parts[i] ? parts[i] : "";
        struct log_range range;

        if (!parse_range(part, &range)) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "bad range '%s': it is FIRST..LAST, FIRST+SIZE or LAST-SIZE", part);
            return false;
        }
        g_array_append_val(ranges, range);
    }
    g_clear_pointer(&log->ranges, g_array_unref);
    log->ranges = g_steal_pointer(&ranges);
    return true;
}

bool log_in_ranges(const struct log *log, uint64_t address)
{
    for (guint i = 0; log->ranges && i < log->ranges->len; i++) {
        const struct log_range *range = &g_array_index(log->ranges, struct log_range, i);

        if (address >= range->first && address <= range->last) {
            return true;
        }
    }
    return !log->ranges;
}

char *log_items_help(void)
{
    GString *text = g_string_new("Log items (comma separated):\n");

    for (int i = 0; i < LOG_N_ITEMS; i++) {
        g_string_append_printf(text, "%-15s %s\n", i == LOG_TRACE ? "trace:PATTERN" : items[i].name,
                               items[i].help);
    }
    g_string_append(text, "\nUse \"-d trace:help\" to get a list of trace events.\n\n");
    return g_string_free(text, FALSE);
}

/*
 * path with the process's number in the place of its %d, or NULL if there are other percent signs.
 */
static char *expand_path(const char *path)
{
    const char *percent = strchr(path, '%');

    if (!percent) {
        return g_strdup(path);
    }
    if (percent[1] != 'd' || strchr(percent + 1, '%')) {
        return NULL;
    }
    return g_strdup_printf("%.*s%d%s", (int)(percent - path), path, getpid(), percent + 2);
}

bool log_set_file(struct log *log, const char *path, GError **error)
{
    g_autofree char *name = expand_path(path);
    FILE *file, *old;

    if (!name) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "Bad log file name '%s': it may contain %%d, once, and no other %%", path);
        return false;
    }
    file = fopen(name, "we");
    if (!file) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "Could not open '%s': %s",
                    name, g_strerror(errno));
        return false;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    g_mutex_lock(&log->lock);
    old = log->file;
    log->file = file;
    g_mutex_unlock(&log->lock);
    tell_listener(log);
    if (old) {
        fclose(old);
    }
    return true;
}

FILE *log_stream(struct log *log)
{
    return log->file ? log->file : stderr;
}

bool log_enabled(const struct log *log, enum log_item item)
{
    return __atomic_load_n(&log->items, __ATOMIC_RELAXED) & 1u << item;
}

void log_write(struct log *log, enum log_item item, const char *format, ...)
{
    va_list args;

    if (!log_enabled(log, item)) {
        return;
    }
    va_start(args, format);
    g_mutex_lock(&log->lock);
    vfprintf(log->file ? log->file : stderr, format, args);
    g_mutex_unlock(&log->lock);
    va_end(args);
}

/* ---- messages ---- */

void log_set_message_form(struct log *log, bool timestamp, const char *guest_name)
{
    g_mutex_lock(&log->lock);
    __atomic_store_n(&log->timestamp, timestamp, __ATOMIC_RELAXED);
    g_free(log->guest_name);
    log->guest_name = g_strdup(guest_name);
    g_mutex_unlock(&log->lock);
}

void log_push_sink(struct log *log, struct log_sink *sink)
{
    sink->thread = g_thread_self();
    sink->co = coroutine_self();
    g_mutex_lock(&log->lock);
    log->sinks = g_slist_prepend(log->sinks, sink);
    g_mutex_unlock(&log->lock);
}

void log_pop_sink(struct log *log, struct log_sink *sink)
{
    g_mutex_lock(&log->lock);
    log->sinks = g_slist_remove(log->sinks, sink);
    g_mutex_unlock(&log->lock);
}

/* The caller's own sink: it stays until the caller itself removes it. */
static const struct log_sink *find_sink(struct log *log)
{
    const struct log_sink *found = NULL;

    g_mutex_lock(&log->lock);
    for (GSList *l = log->sinks; l && !found; l = l->next) {
        const struct log_sink *sink = l->data;

        if (sink->thread == g_thread_self() && sink->co == coroutine_self()) {
            found = sink;
        }
    }
    g_mutex_unlock(&log->lock);
    return found;
}

static void G_GNUC_PRINTF(3, 0) message(struct log *log, const char *kind, const char *format,
                                        va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autoptr(GString) line = g_string_new(NULL);
    const struct log_sink *sink = find_sink(log);

    if (sink) {
        g_string_printf(line, "%s%s\n", kind, text);
        sink->write(sink->opaque, line->str);
        return;
    }
    if (__atomic_load_n(&log->timestamp, __ATOMIC_RELAXED)) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");

        g_string_printf(line, "%s.%06dZ ", stamp, g_date_time_get_microsecond(now));
    }
    g_mutex_lock(&log->lock);
    if (log->guest_name) {
        g_string_append_printf(line, "%s ", log->guest_name);
    }
    g_string_append_printf(line, "%s: %s%s\n", log->program, kind, text);
    fputs(line->str, stderr);
    g_mutex_unlock(&log->lock);
}

void log_error(struct log *log, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    message(log, "", format, args);
    va_end(args);
}

void log_warn(struct log *log, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    message(log, "warning: ", format, args);
    va_end(args);
}
