/*
 * Line editing for a terminal that is behind a byte stream: keys as in Emacs, history,
 * completion. The terminal is one that understands ECMA-48's cursor left and erase-in-line; text
 * is UTF-8.
 */
#ifndef NANDU_MONITOR_READLINE_H
#define NANDU_MONITOR_READLINE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/auto.h"

struct readline;

struct readline_ops {
    void (*write)(void *opaque, const char *text); /* to the terminal; \n is a new line */
    void (*line)(void *opaque, const char *line);  /* the user has ended a line */
    /*
     * Appends to candidates (strings, owned by the array) what may stand in place of the end of
     * text, the line up to the cursor; returns where in text that begins.
     */
    size_t (*complete)(void *opaque, const char *text, GPtrArray *candidates);
};

struct readline *readline_new(const char *prompt, const struct readline_ops *ops, void *opaque);
void readline_free(struct readline *rl);
DEFINE_AUTO_PTR(readline, readline_free)

/* Takes input up to the end of a line, for which ops->line is called; returns how many bytes. */
size_t readline_feed(struct readline *rl, const uint8_t *data, size_t size);
/* Begins a new line: shows the prompt. */
void readline_show_prompt(struct readline *rl);
/* Nothing was typed since the last line's end. */
bool readline_is_empty(const struct readline *rl);
/* Forgets line and history: for another user. */
void readline_reset(struct readline *rl);
/* The lines that were entered, the oldest first: char *, borrowed. */
const GQueue *readline_history(const struct readline *rl);

#endif
