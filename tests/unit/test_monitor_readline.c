/* Line editing: what a small terminal shows after each key is what the line is. */
#include "monitor/readline.h"

#include <string.h>

#define PROMPT "> "

/* One row of a terminal, as far as readline needs one. */
struct terminal {
    GArray *row; /* gunichar, of the last line */
    guint cursor;
    GString *screen;  /* lines before it */
    GPtrArray *lines; /* what the user entered */
};

static void erase_to_end(struct terminal *t)
{
    g_array_set_size(t->row, MIN(t->row->len, t->cursor));
}

static const char *control_sequence(struct terminal *t, const char *at)
{
    unsigned n = (unsigned)strtoul(at, (char **)&at, 10);

    switch (*at) {
    case 'D':
        g_assert_cmpuint(n, <=, t->cursor);
        t->cursor -= n;
        break;
    case 'K':
    case 'J': erase_to_end(t); break;
    case 'H': t->cursor = 0; break;
    default: g_assert_not_reached();
    }
    return at + 1;
}

static void put(struct terminal *t, gunichar c)
{
    if (t->cursor == t->row->len) {
        g_array_append_val(t->row, c);
    } else {
        g_array_index(t->row, gunichar, t->cursor) = c;
    }
    t->cursor++;
}

static void new_line(struct terminal *t)
{
    for (guint i = 0; i < t->row->len; i++) {
        g_string_append_unichar(t->screen, g_array_index(t->row, gunichar, i));
    }
    g_string_append_c(t->screen, '\n');
    g_array_set_size(t->row, 0);
    t->cursor = 0;
}

static void terminal_write(void *opaque, const char *text)
{
    struct terminal *t = opaque;

    while (*text) {
        if (*text == '\n') {
            new_line(t);
            text++;
        } else if (g_str_has_prefix(text, "\033[")) {
            text = control_sequence(t, text + 2);
        } else {
            put(t, g_utf8_get_char(text));
            text = g_utf8_next_char(text);
        }
    }
}

static void on_line(void *opaque, const char *line)
{
    struct terminal *t = opaque;

    g_ptr_array_add(t->lines, g_strdup(line));
}

static size_t complete(void *opaque, const char *text, GPtrArray *candidates)
{
    static const char *const words[] = {"alpha", "alphabet", "beta", "info"};
    const char *space = strrchr(text, ' ');
    const char *word = space ? space + 1 : text;

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_has_prefix(words[i], word)) {
            g_ptr_array_add(candidates, g_strdup(words[i]));
        }
    }
    return (size_t)(word - text);
}

static const struct readline_ops ops = {
    .write = terminal_write,
    .line = on_line,
    .complete = complete,
};

struct fixture {
    struct terminal terminal;
    struct readline *rl;
};

static void set_up(struct fixture *f, const void *data)
{
    f->terminal.row = g_array_new(FALSE, FALSE, sizeof(gunichar));
    f->terminal.screen = g_string_new(NULL);
    f->terminal.lines = g_ptr_array_new_with_free_func(g_free);
    f->rl = readline_new(PROMPT, &ops, &f->terminal);
    readline_show_prompt(f->rl);
}

static void tear_down(struct fixture *f, const void *data)
{
    readline_free(f->rl);
    g_array_unref(f->terminal.row);
    g_string_free(f->terminal.screen, TRUE);
    g_ptr_array_unref(f->terminal.lines);
}

static void type(struct fixture *f, const char *text)
{
    size_t size = strlen(text), done = 0;

    while (done < size) {
        guint before = f->terminal.lines->len;

        done += readline_feed(f->rl, (const uint8_t *)text + done, size - done);
        if (f->terminal.lines->len > before) {
            readline_show_prompt(f->rl);
        }
    }
}

/* "|" in expected stands for the cursor. */
static void check_row(struct fixture *f, const char *expected)
{
    g_autoptr(GString) shown = g_string_new(NULL);
    const GArray *row = f->terminal.row;

    for (guint i = 0; i <= row->len; i++) {
        if (i == f->terminal.cursor) {
            g_string_append_c(shown, '|');
        }
        if (i < row->len) {
            g_string_append_unichar(shown, g_array_index(row, gunichar, i));
        }
    }
    g_assert_cmpstr(shown->str, ==, expected);
}

static void check_line(struct fixture *f, const char *expected)
{
    g_assert_cmpuint(f->terminal.lines->len, >, 0);
    g_assert_cmpstr(f->terminal.lines->pdata[f->terminal.lines->len - 1], ==, expected);
}

static void test_keys(struct fixture *f, const void *data)
{
    static const struct {
        const char *keys, *row;
    } cases[] = {
        {"hello world", "> hello world|"},
        {"\x01", "> |hello world"},
        {"\x06\x06", "> he|llo world"},
        {"X", "> heX|llo world"},
        {"\x7f\x02", "> h|ello world"},
        {"\x04", "> h|llo world"},
        {"\033f", "> hllo| world"},
        {"\033[C\033[C", "> hllo w|orld"},
        {"\033[D\033OD", "> hllo| world"},
        {"\x0b", "> hllo|"},
        {"\x19\x19", "> hllo world world|"},
        {"\033b\033b", "> hllo |world world"},
        {"\033d", "> hllo | world"},
        {"\x17", "> | world"},
        {"\033[4~", ">  world|"},
        {"\033[1~\033[3~", "> |world"},
        {"\033[F\033[H", "> |world"},
        {"\033[1;5C", "> w|orld"},
        {"\x15", "> |orld"},
        {"\x05\xc3\xa9\xe2\x82\xac", "> orld\xc3\xa9\xe2\x82\xac|"},
        {"\x02\x02!", "> orld!|\xc3\xa9\xe2\x82\xac"},
        {"\x06\x7f", "> orld!|\xe2\x82\xac"},
        {"\033[200~\033Z\033\033[99x", "> orld!|\xe2\x82\xac"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        type(f, cases[i].keys);
        check_row(f, cases[i].row);
    }
    type(f, "\r");
    check_line(f, "orld!\xe2\x82\xac");
    g_assert_cmpstr(f->terminal.screen->str, ==, "> orld!\xe2\x82\xac\n");
    check_row(f, "> |");
}

static void test_lines(struct fixture *f, const void *data)
{
    type(f, "one\r\ntwo\nthree\r");
    g_assert_cmpuint(f->terminal.lines->len, ==, 3);
    check_line(f, "three");
    type(f, "\n\r\r");
    g_assert_cmpuint(f->terminal.lines->len, ==, 5);
    check_line(f, "");
    type(f, "gone\x03");
    g_assert_cmpuint(f->terminal.lines->len, ==, 5);
    check_row(f, "> |");
    type(f, "rest\x0c");
    check_row(f, "> rest|");
}

static void test_history(struct fixture *f, const void *data)
{
    type(f, "one\rtwo\rtwo\r\rthr");
    type(f, "\x10");
    check_row(f, "> two|");
    type(f, "\033[A");
    check_row(f, "> one|");
    type(f, "\033[A");
    check_row(f, "> one|");
    type(f, "\x0e\x0e");
    check_row(f, "> thr|");
    type(f, "\x0e");
    check_row(f, "> thr|");
    type(f, "\x10\x10!\r");
    check_line(f, "one!");
    g_assert_cmpuint(readline_history(f->rl)->length, ==, 3);
    for (int i = 0; i < 200; i++) {
        g_autofree char *line = g_strdup_printf("%d\r", i);

        type(f, line);
    }
    g_assert_cmpuint(readline_history(f->rl)->length, ==, 64);
    g_assert_cmpstr(readline_history(f->rl)->head->data, ==, "136");
    readline_reset(f->rl);
    g_assert_cmpuint(readline_history(f->rl)->length, ==, 0);
}

static void test_completion(struct fixture *f, const void *data)
{
    type(f, "al\t");
    check_row(f, "> alpha|");
    type(f, "\t");
    g_assert_cmpstr(f->terminal.screen->str, ==, "> alpha\nalpha     alphabet\n");
    check_row(f, "> alpha|");
    type(f, "b\t");
    check_row(f, "> alphabet |");
    type(f, "x\t");
    check_row(f, "> alphabet x|");
    type(f, "\x7f\x08\x01\x06\t");
    check_row(f, "> alpha|lphabet");
    type(f, "\x15\x0b"
            "i\t");
    check_row(f, "> info |");
}

static void test_long_line(struct fixture *f, const void *data)
{
    g_autofree char *text = g_strnfill(10000, 'a');

    type(f, text);
    type(f, "\r");
    g_assert_cmpuint(strlen(f->terminal.lines->pdata[0]), ==, 4095);
}

/* Whatever the keys are, the screen is right: a redraw of everything shows the same. */
static void test_random(struct fixture *f, const void *data)
{
    static const char *const keys[] = {
        "a",      "b",      " ",      "c",      "xyz",     "\xc3\xa9", "\x01",
        "\x02",   "\x04",   "\x05",   "\x06",   "\x08",    "\x0b",     "\x0e",
        "\x10",   "\x15",   "\x17",   "\x19",   "\033b",   "\033f",    "\033d",
        "\033[A", "\033[B", "\033[C", "\033[D", "\033[3~", "\r",       "\x03",
    };

    for (int i = 0; i < 20000; i++) {
        g_autoptr(GArray) row = NULL;
        guint cursor;

        type(f, keys[g_test_rand_int_range(0, G_N_ELEMENTS(keys))]);
        if (i % 7) {
            continue;
        }
        row = g_array_copy(f->terminal.row);
        cursor = f->terminal.cursor;
        type(f, "\x0c");
        g_assert_cmpmem(f->terminal.row->data, f->terminal.row->len * sizeof(gunichar), row->data,
                        row->len * sizeof(gunichar));
        g_assert_cmpuint(f->terminal.cursor, ==, cursor);
        g_string_truncate(f->terminal.screen, 0);
    }
}

static void swallow(void *opaque, const char *text)
{
}

static void swallow_line(void *opaque, const char *line)
{
    g_assert_cmpuint(strlen(line), <=, 4095);
}

/* No sequence of bytes does harm. */
static void test_garbage(void)
{
    static const struct readline_ops quiet = {
        .write = swallow,
        .line = swallow_line,
        .complete = complete,
    };
    struct readline *rl = readline_new(PROMPT, &quiet, NULL);

    for (int i = 0; i < 2000; i++) {
        uint8_t data[64];

        for (size_t n = 0; n < sizeof(data); n++) {
            data[n] = (uint8_t)g_test_rand_int_range(0, n % 3 ? 256 : 32);
        }
        for (size_t done = 0; done < sizeof(data);) {
            done += readline_feed(rl, data + done, sizeof(data) - done);
        }
    }
    readline_free(rl);
}

#define ADD(name, fn) g_test_add("/readline/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("keys", test_keys);
    ADD("lines", test_lines);
    ADD("history", test_history);
    ADD("completion", test_completion);
    ADD("long-line", test_long_line);
    ADD("random", test_random);
    g_test_add_func("/readline/garbage", test_garbage);
    return g_test_run();
}
