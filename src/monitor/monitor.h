/* Monitors: QMP and HMP sessions over character devices. Main thread, but for the event sink. */
#ifndef NANDU_MONITOR_MONITOR_H
#define NANDU_MONITOR_MONITOR_H

#include "chardev/chardev.h"
#include "qapi/command.h"

struct monitor;
struct monitors;

/* All monitors of a program; what they have in common: schema, event rate limits, fd sets. */
struct monitors *monitors_new(const struct qapi_schema *schema, const struct qmp_context *context,
                              struct clocks *clocks, struct log *log);
void monitors_free(struct monitors *monitors);
/* Events go to all QMP sessions whose capabilities are negotiated. Thread-safe. Lives as long as monitors. */
struct qapi_event_sink *monitors_event_sink(struct monitors *monitors);

bool monitor_add_qmp(struct monitors *monitors, struct chardev *chr, bool pretty, GError **error);
/* readline: with line editing (a terminal). */
bool monitor_add_hmp(struct monitors *monitors, struct chardev *chr, bool readline, GError **error);
/* Runs an HMP line and returns what it printed; caller frees. */
char *monitor_run_hmp(struct monitors *monitors, const char *line);

/* getfd's descriptors of this session; ownership goes to the caller. -1 and *error if there is none. */
int monitor_take_fd(struct monitor *mon, const char *name, GError **error);

#endif
