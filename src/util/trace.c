/* Trace events: switching them on and off, and their lines in the log. */
#include "util/trace_control.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/log_priv.h"
#include "util/nearest.h"

bool trace_is_pattern(const char *text)
{
    return strpbrk(text, "*?") != NULL;
}

unsigned trace_foreach(const struct log *log, const char *pattern, trace_visit *fn, void *opaque)
{
    unsigned n = 0;

    for (int i = 0; i < TRACE_N_EVENTS; i++) {
        if (g_pattern_match_simple(pattern, trace_names[i])) {
            fn(opaque, i, trace_names[i], trace_is_enabled(log, i));
            n++;
        }
    }
    return n;
}

struct setting {
    struct log *log;
    bool enable;
};

static void set_event(void *opaque, enum trace_event event, const char *name, bool enabled)
{
    const struct setting *setting = opaque;

    __atomic_store_n(&setting->log->trace.enabled[event], setting->enable, __ATOMIC_RELAXED);
}

bool trace_set(struct log *log, const char *pattern, bool enable, GError **error)
{
    struct setting setting = { log, enable };
    const char *nearest;

    if (trace_foreach(log, pattern, set_event, &setting) || trace_is_pattern(pattern)) {
        return true;
    }
    nearest = util_nearest(pattern, trace_names, TRACE_N_EVENTS);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "unknown event \"%s\"%s%s%s",
                pattern, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                nearest ? "'?" : "");
    return false;
}

bool trace_enable(struct log *log, const char *pattern, GError **error)
{
    bool enable = pattern[0] != '-';

    return trace_set(log, enable ? pattern : pattern + 1, enable, error);
}

bool trace_enable_file(struct log *log, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (**line && **line != '#' && !trace_enable(log, *line, error)) {
            g_prefix_error(error, "%s: ", path);
            return false;
        }
    }
    return true;
}

bool trace_set_file(struct log *log, const char *path, GError **error)
{
    FILE *file = fopen(path, "we");

    if (!file) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "Could not open '%s': %s",
                    path, g_strerror(errno));
        return false;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    g_mutex_lock(&log->lock);
    if (log->trace_file) {
        fclose(log->trace_file);
    }
    log->trace_file = file;
    g_mutex_unlock(&log->lock);
    return true;
}

char *trace_help(void)
{
    GString *text = g_string_new(NULL);

    for (int i = 0; i < TRACE_N_EVENTS; i++) {
        g_string_append_printf(text, "%s\n", trace_names[i]);
    }
    return g_string_free(text, FALSE);
}

void trace_write(struct log *log, enum trace_event event, const char *format, ...)
{
    g_autofree char *text = NULL;
    g_autofree char *stamp = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (__atomic_load_n(&log->timestamp, __ATOMIC_RELAXED)) {
        int64_t now = g_get_real_time();

        stamp = g_strdup_printf("%d@%" PRId64 ".%06d:", getpid(), now / G_USEC_PER_SEC,
                                (int)(now % G_USEC_PER_SEC));
    }
    g_mutex_lock(&log->lock);
    fprintf(log->trace_file ? log->trace_file : log->file ? log->file : stderr, "%s%s %s\n",
            stamp ? stamp : "", trace_names[event], text);
    g_mutex_unlock(&log->lock);
}
