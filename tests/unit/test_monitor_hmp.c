/* HMP without a terminal: the words of a line, the table of commands, completion. */
#include "monitor/hmp.h"

#include <string.h>

#include "qapi/qapi_commands.h"
#include "util/clock.h"
#include "util/log.h"

/* ---- Words ---- */

static void check_expression(const char *text, int64_t expected, const char *rest)
{
    g_autoptr(GError) error = NULL;
    int64_t value;

    g_assert_true(hmp_expression(&text, &value, &error));
    g_assert_no_error(error);
    g_assert_cmpint(value, ==, expected);
    g_assert_cmpstr(text, ==, rest);
}

static void check_bad_expression(const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;
    int64_t value;

    g_assert_false(hmp_expression(&text, &value, &error));
    g_assert_cmpstr(error->message, ==, message);
}

static void test_expressions(void)
{
    g_autofree char *deep = g_strnfill(100000, '('), *minus = g_strnfill(100000, '-');

    check_expression("0", 0, "");
    check_expression(" 12 34", 12, "34");
    check_expression("0x10+010", 24, "");
    check_expression("1+2*3", 7, "");
    check_expression("(1 + 2) * 3 x", 9, "x");
    check_expression("7/2-7%4", 0, "");
    check_expression("1|2+4", 7, ""); /* | before + */
    check_expression("3&1*3^2", 1, "");
    check_expression("-5/2", -2, "");
    check_expression("--5", 5, "");
    check_expression("~0", -1, "");
    check_expression("'a'+1", 'b', "");
    check_expression("0xffffffffffffffff", -1, "");
    check_expression("0x8000000000000000/-1", INT64_MIN, "");
    check_expression("0x8000000000000000%-1", 0, "");
    check_expression("0x7fffffffffffffff+1", INT64_MIN, "");
    check_bad_expression("", "unexpected end of expression");
    check_bad_expression("1+", "unexpected end of expression");
    check_bad_expression("(1", "')' expected");
    check_bad_expression("x", "invalid char 'x' in expression");
    check_bad_expression("\x80", "invalid char '?' in expression");
    check_bad_expression("1/0", "division by zero");
    check_bad_expression("1%(2-2)", "division by zero");
    check_bad_expression("0x10000000000000000", "number too large");
    check_bad_expression("'", "character constant expected");
    check_bad_expression("'ab'", "character constant expected");
    check_bad_expression(deep, "expression too deep");
    check_bad_expression(minus, "expression too deep");
}

/* What the words are as JSON, or "!" and the error. */
static void check_args(const char *args, const char *line, const char *expected)
{
    const struct hmp_row row = {.name = "cmd", .args = args};
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) value = hmp_parse_args(&row, line, &error);
    g_autofree char *text =
        value ? json_print(value, false) : g_strconcat("!", error->message, NULL);

    g_assert_cmpstr(text, ==, expected);
}

static void test_args(void)
{
    check_args(NULL, "  ", "{}");
    check_args(NULL, "x", "!cmd: extraneous characters at the end of line");
    check_args("a:s", "  one ", "{\"a\": \"one\"}");
    check_args("a:s", "", "!cmd: string expected");
    check_args("a:s?", "", "{}");
    check_args("a:s,b:s", "one \"two \\\"\\\\ \\n\\r\\'\"",
               "{\"a\": \"one\", \"b\": \"two \\\"\\\\ \\n\\r'\"}");
    check_args("a:s", "\"one", "!unterminated string");
    check_args("a:s", "\"one\\", "!unsupported escape code: '\\?'");
    check_args("a:s", "\"\\x\"", "!unsupported escape code: '\\x'");
    check_args("a:s", "\"\"", "{\"a\": \"\"}");
    check_args("a:s,b:S", "one  two  three ", "{\"a\": \"one\", \"b\": \"two  three\"}");
    check_args("a:S?", "", "{}");
    check_args("a:i", "2*3", "{\"a\": 6}");
    check_args("a:i", "0x80000000", "!cmd: integer is for 32-bit values");
    check_args("a:l", "0x80000000", "{\"a\": 2147483648}");
    check_args("a:i", "", "!unexpected end of expression");
    check_args("a:b", "", "!Expected 'on' or 'off'");
    check_args("a:i?", "", "{}");
    check_args("a:b", "on", "{\"a\": true}");
    check_args("a:b", "off", "{\"a\": false}");
    check_args("a:b", "yes", "!Expected 'on' or 'off'");
    check_args("j:-j,a:s", "-j x", "{\"j\": true, \"a\": \"x\"}");
    check_args("j:-j,a:s", "-jx", "{\"a\": \"-jx\"}");
    check_args("f:/,a:l", "/x 5", "{\"f\": \"x\", \"a\": 5}");
    check_args("f:/,a:l", "/xx 5", "!cmd: a format is '/' and one letter");
    check_args("f:/,a:l", "/", "!cmd: a format is '/' and one letter");
}

/* ---- The table ---- */

static void check_row(const struct hmp_row *row, GHashTable *names)
{
    g_auto(GStrv) all = g_strsplit(row->name, "|", -1);

    for (char **name = all; *name; name++) {
        g_assert_true(**name);
        g_assert_true(g_hash_table_add(names, g_strdup(*name)));
    }
    g_assert_nonnull(row->params);
    g_assert_true(row->help && row->help[0]);
    g_assert_cmpint(!!row->command + !!row->run + !!row->sub, ==, 1);
    if (row->command) {
        const struct qapi_command *command = qapi_find_command(&qapi_system_schema, row->command);
        g_auto(GStrv) args = g_strsplit(row->args ? row->args : "", ",", -1);

        g_assert_nonnull(command);
        for (char **arg = args; *arg; arg++) {
            g_autofree char *name = g_strndup(*arg, strcspn(*arg, ":"));
            bool found = false;

            for (uint32_t i = 0; command->arg && i < command->arg->n_members; i++) {
                found |= g_str_equal(command->arg->members[i].name, name);
            }
            g_assert_true(found);
        }
    }
}

static void check_table(const struct hmp_table *table)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (size_t i = 0; i < table->n; i++) {
        check_row(&table->rows[i], names);
        if (i) {
            g_assert_cmpstr(table->rows[i - 1].name, <, table->rows[i].name);
        }
        if (table->rows[i].sub) {
            check_table(table->rows[i].sub);
        }
    }
}

static void test_table(void)
{
    check_table(&hmp_table);
    g_assert_nonnull(hmp_find(&hmp_table, "q", 1));
    g_assert_true(hmp_find(&hmp_table, "q", 1) == hmp_find(&hmp_table, "quit", 4));
    g_assert_true(hmp_find(&hmp_table, "quit now", 4) == hmp_find(&hmp_table, "quit", 4));
    g_assert_null(hmp_find(&hmp_table, "qui", 3));
    g_assert_null(hmp_find(&hmp_table, "quit|q", 6));
    g_assert_null(hmp_find(&hmp_table, "", 0));
}

/* ---- Lines ---- */

struct fixture {
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    struct object *root;
    struct object_context object_context;
    struct qmp_context context;
    struct monitors *monitors;
};

static void set_up(struct fixture *f, const void *data)
{
    f->loop = event_loop_new("test", NULL);
    f->clocks = clocks_new();
    f->log = log_new("test");
    f->object_context =
        (struct object_context){.loop = f->loop, .clocks = f->clocks, .log = f->log};
    f->root = object_root_new(&f->object_context);
    f->context = (struct qmp_context){.root = f->root, .loop = f->loop};
    f->monitors = monitors_new(&qapi_system_schema, &f->context, f->clocks, f->log);
}

static void tear_down(struct fixture *f, const void *data)
{
    monitors_free(f->monitors);
    object_unref(f->root);
    log_free(f->log);
    clocks_unref(f->clocks);
    event_loop_unref(f->loop);
}

static void check(struct fixture *f, const char *line, const char *expected)
{
    g_autofree char *printed = monitor_run_hmp(f->monitors, line);

    g_assert_cmpstr(printed, ==, expected);
}

static void check_contains(struct fixture *f, const char *line, const char *part)
{
    g_autofree char *printed = monitor_run_hmp(f->monitors, line);

    g_assert_nonnull(strstr(printed, part));
}

static void test_lines(struct fixture *f, const void *data)
{
    check(f, "", "");
    check(f, "  \t", "");
    check(f, "print 1+1", "0x2\n");
    check(f, "p/d 0x10", "16\n");
    check(f, "p /u -1", "18446744073709551615\n");
    check(f, "p/o 8", "010\n");
    check(f, "p/c 'a'", "'a'\n");
    check(f, "p/c 7", "'\\x07'\n");
    check(f, "p/c 10", "'\\n'\n");
    check(f, "p/z 1", "Error: format 'z' isn't one of d, u, o, x, c\n");
    check(f, "p 1/0", "division by zero\nTry \"help p\" for more information\n");
    check(f, "/", "unknown command: ''\n");
    check(f, "nonsense", "unknown command: 'nonsense'\n");
    check(f, "qiut", "unknown command: 'qiut'; did you mean 'quit'?\n");
    check(f, "info stauts", "unknown command: 'info stauts'; did you mean 'info status'?\n");
    check(f, "info version x",
          "version: extraneous characters at the end of line\n"
          "Try \"help info version\" for more information\n");
    check(f, "info version", "10.0.2 (Nandu " NANDU_VERSION ")\n");
    check(f, "help quit", "quit|q  -- end the program\n");
    check(f, "help info version", "info version  -- show the version\n");
    check(f, "? nonsense", "unknown command: 'nonsense'\n");
    check_contains(f, "help", "\nquit|q  -- ");
    check_contains(f, "help info", "\ninfo version  -- ");
    check_contains(f, "info", "\ninfo version  -- ");
    check_contains(f, "help log", "guest_errors");
    check_contains(f, "log help", "guest_errors");
    check(f, "log none", "");
    check_contains(f, "log nonsense", "Error: ");
    check(f, "getfd x", "Error: No file descriptor supplied via SCM_RIGHTS\n");
    check(f, "closefd x", "Error: File descriptor named 'x' not found\n");
    check(f, "info history", "");
}

static void test_objects(struct fixture *f, const void *data)
{
    check_contains(f, "object_add help", "\n  iothread\n");
    check_contains(f, "object_add iothread,help", "poll-max-ns=<int>");
    check(f, "object_add nonsense,help",
          "Error: Parameter 'qom-type' does not accept value 'nonsense'\n");
    check(f, "object_add iothread,id=i0", "");
    check_contains(f, "info iothreads", "i0:\n  thread_id=");
    check(f, "info qom-tree /objects", "/objects (container)\n  /i0 (iothread)\n");
    check(f, "info qom-tree /nonsense", "Path '/nonsense' could not be resolved.\n");
    check(f, "qom-set i0 poll-max-ns 5", "");
    check(f, "qom-get i0 poll-max-ns", "5\n");
    check(f, "qom-set -j i0 poll-max-ns 6", "");
    check(f, "qom-get i0 poll-max-ns", "6\n");
    check_contains(f, "qom-set -j i0 poll-max-ns {", "Error: ");
    check(f, "qom-get nonsense x", "Error: Device 'nonsense' not found\n");
    check(f, "qom-set nonsense x 1", "Error: Device 'nonsense' not found\n");
    check(f, "qom-list", "/\n");
    check_contains(f, "qom-list /objects", "i0 (child<iothread>)\n");
    check(f, "object_del i0", "");
    check(f, "object_del i0", "Error: object 'i0' not found\n");
    check(f, "object_add memory-backend-ram,id=m0,size=1M", "");
    check_contains(f, "info memdev", "memory backend: m0\n  size:  1048576\n");
}

static void test_chardevs(struct fixture *f, const void *data)
{
    struct chardev_context chardevs = {
        .root = f->root,
        .loop = f->loop,
        .clocks = f->clocks,
        .log = f->log,
    };

    g_assert_nonnull(chardev_new_option(&chardevs, "ringbuf,id=r", NULL));
    check(f, "info chardev", "r: filename=ringbuf\n");
    check(f, "ringbuf_write r \"a\\\\ b\\n\"", "");
    check(f, "ringbuf_read r 100", "a\\\\ b\n\n");
    check_contains(f, "ringbuf_read r -1", "Error: ");
    check(f, "chardev-add null", "Error: chardev: no id specified\n");
    check_contains(f, "chardev-add null,id=n", "Error: The command chardev-add may have to wait");
    check(f, "chardev-change r null,id=x",
          "Error: the id goes in front of the back end, and stays as it is\n");
    check(f, "chardev-remove r", "");
    check(f, "chardev-remove r", "Error: Chardev 'r' not found\n");
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_completion(struct fixture *f, const char *text, size_t start,
                             const char *expected)
{
    g_autoptr(GPtrArray) candidates = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *joined = NULL;

    g_assert_cmpuint(hmp_complete(&qapi_system_schema, f->log, &f->context, text, candidates), ==,
                     start);
    g_ptr_array_sort(candidates, compare);
    g_ptr_array_add(candidates, NULL);
    joined = g_strjoinv(" ", (char **)candidates->pdata);
    g_assert_cmpstr(joined, ==, expected);
}

static void test_completion(struct fixture *f, const void *data)
{
    check(f, "object_add rng-builtin,id=rng0", "");
    check_completion(f, "qui", 0, "quit");
    check_completion(f, "info st", 5, "status");
    check_completion(f, "help info st", 10, "status");
    check_completion(f, "help qui", 5, "quit");
    check_completion(f, "object_del ", 11, "rng0");
    check_completion(f, "object_del rng0 ", 16, "");
    check_completion(f, "object_add rng-b", 11, "rng-builtin");
    check_completion(f, "nonsense x", 9, "");
    check_completion(f, "trace-event x o", 14, "off on");
    check_completion(f, "watchdog_action res", 16, "reset");
}

#define ADD(name, fn) g_test_add("/hmp/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hmp/expressions", test_expressions);
    g_test_add_func("/hmp/args", test_args);
    g_test_add_func("/hmp/table", test_table);
    ADD("lines", test_lines);
    ADD("objects", test_objects);
    ADD("chardevs", test_chardevs);
    ADD("completion", test_completion);
    return g_test_run();
}
