/*
 * Where nandu-io's lines come from when no command is given: from a terminal, where they are
 * edited, or from anything else. The terminal is in raw mode only while a line is waited for, so
 * that signals and output of commands are as usual.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/io.h"
#include "monitor/readline.h"
#include "util/coroutine.h"

enum { END_KEY = 'd' & 0x1f };

struct io_lines {
    char *prompt;
    struct readline *readline; /* NULL: not a terminal */
    char *line;                /* that was entered; NULL: not yet */
    uint8_t typed[256];        /* and not taken yet */
    size_t n_typed;
    bool end;
};

/* ---- Not a terminal: a thread waits, requests that are under way go on ---- */

static void get_line(void *opaque)
{
    struct io_lines *lines = opaque;
    size_t size = 0;

    lines->end = getline(&lines->line, &size, stdin) < 0;
}

static void co_get_line(struct io_lines *lines)
{
    fputs(lines->prompt, stdout);
    fflush(stdout);
    co_run_in_pool(get_line, lines);
}

/* ---- A terminal ---- */

static void show(void *opaque, const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void take_line(void *opaque, const char *line)
{
    struct io_lines *lines = opaque;

    lines->line = strdup(line);
}

/* Names of commands: as the first word, and behind "help". */
static size_t complete(void *opaque, const char *text, GPtrArray *candidates)
{
    const char *word = strrchr(text, ' ');

    word = word ? word + 1 : text;
    if (word == text || g_str_has_prefix(text, "help ")) {
        io_find_names(word, candidates);
    }
    return (size_t)(word - text);
}

static const struct readline_ops terminal_ops = {show, take_line, complete};

static void feed(struct io_lines *lines)
{
    size_t used;

    if (lines->typed[0] == END_KEY && readline_is_empty(lines->readline)) {
        putchar('\n');
        lines->end = true;
        return;
    }
    /* One key after the other, so that the one that ends is seen for what it is. */
    used = readline_feed(lines->readline, lines->typed, 1);
    lines->n_typed -= used;
    memmove(lines->typed, lines->typed + used, lines->n_typed);
}

static void co_edit_line(struct io_lines *lines)
{
    struct termios usual, raw;

    if (tcgetattr(STDIN_FILENO, &usual) < 0) {
        lines->end = true;
        return;
    }
    raw = usual;
    raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    readline_show_prompt(lines->readline);
    while (!lines->line && !lines->end) {
        if (lines->n_typed) {
            feed(lines);
        } else {
            ssize_t n;

            co_wait_fd(STDIN_FILENO, POLLIN);
            n = read(STDIN_FILENO, lines->typed, sizeof(lines->typed));
            lines->n_typed = n > 0 ? (size_t)n : 0;
            lines->end = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
        }
    }
    tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
}

/* ---- Either ---- */

char *co_io_read_line(struct io_lines *lines)
{
    if (lines->readline) {
        co_edit_line(lines);
    } else {
        co_get_line(lines);
    }
    if (lines->end) {
        free(lines->line);
        lines->line = NULL;
    }
    return g_steal_pointer(&lines->line);
}

struct io_lines *io_lines_new(const char *program)
{
    struct io_lines *lines = g_new0(struct io_lines, 1);

    lines->prompt = g_strdup_printf("%s> ", program);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        lines->readline = readline_new(lines->prompt, &terminal_ops, lines);
    }
    return lines;
}

void io_lines_free(struct io_lines *lines)
{
    g_clear_pointer(&lines->readline, readline_free);
    g_free(lines->prompt);
    g_free(lines);
}
