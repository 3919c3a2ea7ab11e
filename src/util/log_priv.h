/* What log.c and trace.c share. */
#ifndef NANDU_UTIL_LOG_PRIV_H
#define NANDU_UTIL_LOG_PRIV_H

#include "util/log.h"
#include "util/trace.h"

struct log_range {
    uint64_t first, last;       /* inclusive */
};

struct log {
    struct trace_flags trace;   /* must be first: trace.h */
    unsigned items;             /* a bit for each enum log_item; atomic */
    bool timestamp;             /* atomic */
    GMutex lock;                /* for what follows, and for whole lines */
    char *program;
    char *guest_name;           /* NULL: not to be printed */
    FILE *file;                 /* of -D; NULL: standard error */
    GArray *ranges;             /* struct log_range, of -dfilter; NULL: all */
    void (*changed)(void *opaque);
    void *changed_opaque;
    FILE *trace_file;           /* of -trace file=; NULL: the log's */
    GSList *sinks;              /* of struct log_sink */
};

#endif
