/*
 * Messages, the -d log and trace events. One struct log is made by main and handed down; everything
 * here may be called from any thread. Messages to the user go to standard error (or the monitor
 * that caused them), the log to standard error or to -D's file.
 */
#ifndef NANDU_UTIL_LOG_H
#define NANDU_UTIL_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "util/auto.h"

/* Items of -d; their names and help are rows in log.c, as QEMU's. */
enum log_item {
    LOG_OUT_ASM,
    LOG_IN_ASM,
    LOG_OP,
    LOG_OP_OPT,
    LOG_INT,
    LOG_EXEC,
    LOG_CPU,
    LOG_FPU,
    LOG_MMU,
    LOG_CPU_RESET,
    LOG_UNIMP,
    LOG_GUEST_ERROR,
    LOG_NOCHAIN,
    LOG_INVALID_MEM,
    LOG_TRACE,
    LOG_N_ITEMS
};

struct log;
struct coroutine;
/* program: the name that messages begin with (basename of argv[0]). */
struct log *log_new(const char *program);
void log_free(struct log *log);
DEFINE_AUTO_PTR(log, log_free)

/*
 * -d ITEM,...: these instead of those before; "all", "none", and "trace:PATTERN", which switches
 * trace events on (util/trace_control.h switches them off). False and *error names the nearest
 * item. "help" and "trace:help" are the caller's.
 */
bool log_set_items(struct log *log, const char *items, GError **error);
char *log_items_help(void);                                           /* -d help */
bool log_set_file(struct log *log, const char *path, GError **error); /* -D; %d is the pid */
/* -msg timestamp=, guest-name= */
void log_set_message_form(struct log *log, bool timestamp, const char *guest_name);
bool log_enabled(const struct log *log, enum log_item item);
/*
 * -dfilter: what the translator logs of guest code is only that in these ranges of addresses:
 * "FIRST..LAST", "FIRST+SIZE", "LAST-SIZE" (bytes), with commas between them. Before vCPUs run.
 */
bool log_set_ranges(struct log *log, const char *text, GError **error);
bool log_in_ranges(const struct log *log, uint64_t address);
/*
 * For who writes lines by itself, to the stream that it finds here (borrowed). changed is called,
 * by the main thread, after another stream or other items were set; the old stream is there until
 * it returns. One at a time; NULL: none.
 */
FILE *log_stream(struct log *log);
void log_set_listener(struct log *log, void (*changed)(void *opaque), void *opaque);
/* Text as it is: a line ends with \n. Nothing if the item isn't enabled. */
void log_write(struct log *log, enum log_item item, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* "PROGRAM: text" and "PROGRAM: warning: text" on standard error, a line each. */
void log_error(struct log *log, const char *format, ...) G_GNUC_PRINTF(2, 3);
void log_warn(struct log *log, const char *format, ...) G_GNUC_PRINTF(2, 3);

/*
 * Messages that the calling thread (in a coroutine: the calling coroutine) causes between push and
 * pop go to write instead: text is the line with its \n, without the program's name. A monitor does
 * so around a command. The sink is the caller's.
 */
struct log_sink {
    void (*write)(void *opaque, const char *text);
    void *opaque;
    GThread *thread; /* set by log_push_sink */
    struct coroutine *co;
};
void log_push_sink(struct log *log, struct log_sink *sink);
void log_pop_sink(struct log *log, struct log_sink *sink);

#endif
