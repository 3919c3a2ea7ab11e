/*
 * Which trace events there are, and which of them are switched on in a log. The functions that
 * trace are in util/trace.h, which is made of trace_events.txt. Any thread.
 */
#ifndef NANDU_UTIL_TRACE_CONTROL_H
#define NANDU_UTIL_TRACE_CONTROL_H

#include "util/log.h"
#include "util/trace.h"

/* By enum trace_event. */
extern const char *const trace_names[TRACE_N_EVENTS];

/* Whether the text is a pattern, with * or ?; otherwise it is meant to be one event's name. */
bool trace_is_pattern(const char *text);
/* Calls fn for each event whose name fits the pattern; returns how many there were. */
typedef void trace_visit(void *opaque, enum trace_event event, const char *name, bool enabled);
unsigned trace_foreach(const struct log *log, const char *pattern, trace_visit *fn, void *opaque);
/*
 * Switches the events that fit the pattern. A pattern may fit none; false and *error: no such name.
 */
bool trace_set(struct log *log, const char *pattern, bool enable, GError **error);

/* The parts of -trace. A pattern, which a "-" in front switches off. */
bool trace_enable(struct log *log, const char *pattern, GError **error);
/* A file with a pattern a line; empty lines and those that begin with # are for readers. */
bool trace_enable_file(struct log *log, const char *path, GError **error);
/* Where the output goes instead of the log. */
bool trace_set_file(struct log *log, const char *path, GError **error);
/* -trace help: a name a line. Free it. */
char *trace_help(void);

#endif
