/* Messages, the log, trace events. */
#include "util/log.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "util/trace_control.h"

/* What fn(log) writes to standard error. */
static char *capture(void (*fn)(struct log *log), struct log *log)
{
    g_autofree char *path = NULL;
    char *text = NULL;
    int fd = g_file_open_tmp("nandu-log-XXXXXX", &path, NULL), saved = dup(STDERR_FILENO);

    g_assert_cmpint(fd, >=, 0);
    fflush(stderr);
    dup2(fd, STDERR_FILENO);
    fn(log);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_unlink(path);
    return text;
}

static void messages(struct log *log)
{
    log_error(log, "bad %s", "thing");
    log_warn(log, "odd thing");
}

static void test_messages(void)
{
    auto_ptr(log) log = log_new("nandu-test");
    g_autofree char *plain = capture(messages, log), *stamped = NULL, *named = NULL;

    g_assert_cmpstr(plain, ==, "nandu-test: bad thing\nnandu-test: warning: odd thing\n");
    log_set_message_form(log, true, NULL);
    stamped = capture(messages, log);
    g_assert_true(g_regex_match_simple(
        "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z nandu-test: bad thing\n", stamped, 0,
        0));
    log_set_message_form(log, false, "vm1");
    named = capture(messages, log);
    g_assert_true(g_str_has_prefix(named, "vm1 nandu-test: bad thing\n"));
}

static void append(void *opaque, const char *text)
{
    g_string_append(opaque, text);
}

static gpointer message_of_another_thread(gpointer log)
{
    log_error(log, "elsewhere");
    return NULL;
}

static void redirected(struct log *log)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) nested = g_string_new(NULL);
    struct log_sink sink = {append, text};
    struct log_sink inner = {append, nested};

    log_push_sink(log, &sink);
    messages(log);
    log_push_sink(log, &inner);
    log_error(log, "inside");
    log_pop_sink(log, &inner);
    g_thread_join(g_thread_new("other", message_of_another_thread, log));
    log_pop_sink(log, &sink);
    log_error(log, "after");
    g_assert_cmpstr(text->str, ==, "bad thing\nwarning: odd thing\n");
    g_assert_cmpstr(nested->str, ==, "inside\n");
}

static void test_sink(void)
{
    auto_ptr(log) log = log_new("p");
    g_autofree char *text = NULL;

    log_set_message_form(log, true, "vm1");
    text = capture(redirected, log);
    g_assert_nonnull(strstr(text, "p: elsewhere\n"));
    g_assert_nonnull(strstr(text, "p: after\n"));
    g_assert_null(strstr(text, "inside"));
}

static void test_items(void)
{
    auto_ptr(log) log = log_new("p");
    g_autoptr(GError) error = NULL;
    g_autofree char *help = log_items_help();

    for (int i = 0; i < LOG_N_ITEMS; i++) {
        g_assert_false(log_enabled(log, i));
    }
    g_assert_true(log_set_items(log, "int,unimp", NULL));
    g_assert_true(log_enabled(log, LOG_INT) && log_enabled(log, LOG_UNIMP));
    g_assert_false(log_enabled(log, LOG_EXEC));
    g_assert_false(log_set_items(log, "exec,guest_error", &error));
    g_assert_nonnull(strstr(error->message, "'guest_error'"));
    g_assert_nonnull(strstr(error->message, "'guest_errors'?"));
    g_assert_true(log_enabled(log, LOG_INT) && !log_enabled(log, LOG_EXEC)); /* as it was */
    g_clear_error(&error);
    g_assert_false(log_set_items(log, "", &error));
    g_clear_error(&error);
    g_assert_true(log_set_items(log, "all", NULL));
    g_assert_true(log_enabled(log, LOG_EXEC));
    g_assert_true(log_set_items(log, "none", NULL));
    g_assert_false(log_enabled(log, LOG_EXEC));
    g_assert_true(g_str_has_prefix(help, "Log items (comma separated):\n"));
    g_assert_nonnull(strstr(help, "\nguest_errors    "));
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_listener(void)
{
    auto_ptr(log) log = log_new("p");
    unsigned n = 0;

    g_assert_true(log_stream(log) == stderr);
    log_set_listener(log, count, &n);
    g_assert_true(log_set_items(log, "cpu,nochain", NULL));
    g_assert_cmpuint(n, ==, 1);
    g_assert_true(log_set_file(log, "/dev/null", NULL));
    g_assert_cmpuint(n, ==, 2);
    g_assert_true(log_stream(log) != stderr);
    log_set_listener(log, NULL, NULL);
    g_assert_true(log_set_items(log, "none", NULL));
    g_assert_cmpuint(n, ==, 2);
}

static void test_ranges(void)
{
    static const char *const bad[] = {"",    "5",   "5..",  "..5",   "5..4", "5+0",
                                      "5-0", "5-7", "a..b", "1..2,", "1..2 "};
    auto_ptr(log) log = log_new("p");

    g_assert_true(log_in_ranges(log, 0) && log_in_ranges(log, UINT64_MAX));
    g_assert_true(
        log_set_ranges(log, "0x1000..0x1fff,0x80000000+16,256-0x10,0xfffffffffffffff0+0x10", NULL));
    g_assert_true(log_in_ranges(log, 0x1000) && log_in_ranges(log, 0x1fff));
    g_assert_false(log_in_ranges(log, 0xfff) || log_in_ranges(log, 0x2000));
    g_assert_true(log_in_ranges(log, 0x80000000) && log_in_ranges(log, 0x8000000f));
    g_assert_false(log_in_ranges(log, 0x80000010));
    g_assert_true(log_in_ranges(log, 241) && log_in_ranges(log, 256));
    g_assert_false(log_in_ranges(log, 240) || log_in_ranges(log, 257));
    g_assert_true(log_in_ranges(log, UINT64_MAX));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(log_set_ranges(log, bad[i], &error));
        g_assert_nonnull(error);
        g_assert_true(log_in_ranges(log, 0x1000) && !log_in_ranges(log, 0)); /* as it was */
    }
}

static void test_file(void)
{
    auto_ptr(log) log = log_new("p");
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("nandu-log-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/log-%%d.txt", dir);
    g_autofree char *real = g_strdup_printf("%s/log-%d.txt", dir, getpid());
    g_autofree char *text = NULL;

    g_assert_true(log_set_file(log, path, NULL));
    log_write(log, LOG_INT, "not enabled\n");
    g_assert_true(log_set_items(log, "int", NULL));
    log_write(log, LOG_INT, "trap %d\n", 5);
    g_assert_true(g_file_get_contents(real, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "trap 5\n");
    g_unlink(real);
    g_rmdir(dir);

    g_assert_false(log_set_file(log, "/a%s", &error));
    g_clear_error(&error);
    g_assert_false(log_set_file(log, "/a%d%d", &error));
    g_clear_error(&error);
    g_assert_false(log_set_file(log, "/nonexistent/log", &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_assert_nonnull(strstr(error->message, "/nonexistent/log"));
}

/* ---- trace ---- */

static void count_enabled(void *opaque, enum trace_event event, const char *name, bool enabled)
{
    int *counts = opaque;

    g_assert_cmpstr(name, ==, trace_names[event]);
    counts[enabled]++;
}

static void test_trace_events(void)
{
    auto_ptr(log) log = log_new("p");
    g_autoptr(GError) error = NULL;
    g_autofree char *help = trace_help();
    int counts[2] = {0};

    g_assert_cmpuint(trace_foreach(log, "*", count_enabled, counts), ==, TRACE_N_EVENTS);
    g_assert_cmpint(counts[1], ==, 0);
    g_assert_true(trace_set(log, "timer_*", true, NULL));
    g_assert_true(trace_set(log, "coroutine_enter", true, NULL));
    g_assert_true(trace_is_enabled(log, TRACE_TIMER_ARM));
    g_assert_true(trace_is_enabled(log, TRACE_COROUTINE_ENTER));
    g_assert_false(trace_is_enabled(log, TRACE_COROUTINE_END));
    g_assert_true(trace_set(log, "timer_*", false, NULL));
    g_assert_false(trace_is_enabled(log, TRACE_TIMER_ARM));
    g_assert_true(trace_set(log, "no_such_*", true, NULL));
    g_assert_false(trace_set(log, "timer_amr", true, &error));
    g_assert_nonnull(strstr(error->message, "'timer_arm'?"));
    g_assert_false(trace_is_enabled(NULL, TRACE_TIMER_ARM));
    trace_timer_arm(NULL, NULL, 0);
    g_assert_nonnull(strstr(help, "\ntimer_arm\n"));
    g_assert_true(log_set_items(log, "trace:timer_fire", NULL));
    g_assert_true(trace_is_enabled(log, TRACE_TIMER_FIRE));
}

static void bad_pattern(struct log *log, const char *pattern, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(trace_enable(log, pattern, &error));
    g_assert_nonnull(strstr(error->message, part));
}

static void test_trace_option(void)
{
    auto_ptr(log) log = log_new("p");
    g_autofree char *dir = g_dir_make_tmp("nandu-log-XXXXXX", NULL);
    g_autofree char *events = g_build_filename(dir, "events", NULL);
    g_autofree char *file = g_build_filename(dir, "out,put", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_true(g_file_set_contents(events, "# some\n\n timer_*\n-timer_fire\n", -1, NULL));
    g_assert_true(trace_set_file(log, file, NULL));
    g_assert_true(trace_enable_file(log, events, NULL));
    g_assert_true(trace_enable(log, "coroutine_*", NULL));
    g_assert_true(trace_is_enabled(log, TRACE_COROUTINE_END));
    g_assert_true(trace_is_enabled(log, TRACE_TIMER_ARM));
    g_assert_false(trace_is_enabled(log, TRACE_TIMER_FIRE));
    trace_timer_arm(log, (void *)0x10, 5);
    trace_timer_fire(log, NULL, 5);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "timer_arm timer 0x10 deadline 5\n");
    g_clear_pointer(&text, g_free);
    log_set_message_form(log, true, NULL);
    trace_coroutine_end(log, (void *)0x20);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_assert_true(
        g_regex_match_simple("\n\\d+@\\d+\\.\\d{6}:coroutine_end co 0x20\n$", text, 0, 0));
    g_assert_true(trace_enable(log, "-coroutine_*", NULL));
    g_assert_false(trace_is_enabled(log, TRACE_COROUTINE_END));

    bad_pattern(log, "corutine_end", "'coroutine_end'?");
    g_assert_false(trace_enable_file(log, "/nonexistent/events", &error));
    g_assert_nonnull(strstr(error->message, "/nonexistent/events"));
    g_clear_error(&error);
    g_assert_false(trace_set_file(log, "/nonexistent/file", &error));
    g_assert_nonnull(strstr(error->message, "/nonexistent/file"));
    g_clear_error(&error);
    g_assert_true(g_file_set_contents(events, "no_such\n", -1, NULL));
    g_assert_false(trace_enable_file(log, events, &error));
    g_assert_true(g_str_has_prefix(error->message, events));
    g_unlink(events);
    g_unlink(file);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/messages", test_messages);
    g_test_add_func("/log/sink", test_sink);
    g_test_add_func("/log/items", test_items);
    g_test_add_func("/log/listener", test_listener);
    g_test_add_func("/log/ranges", test_ranges);
    g_test_add_func("/log/file", test_file);
    g_test_add_func("/trace/events", test_trace_events);
    g_test_add_func("/trace/option", test_trace_option);
    return g_test_run();
}
