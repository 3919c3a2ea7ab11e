/* Monitors: QMP and HMP sessions over character devices. Main thread, but for the event sink. */
#ifndef NANDU_MONITOR_MONITOR_H
#define NANDU_MONITOR_MONITOR_H

#include "chardev/chardev.h"
#include "qapi/command.h"

struct monitor;
struct monitors;

/*
 * All monitors of a program, and what they have in common: schema, event rate limits. context,
 * clocks and log must outlive them. Sessions get a copy of *context, as it is when they are made,
 * with monitor and take_fd set.
 */
struct monitors *monitors_new(const struct qapi_schema *schema, const struct qmp_context *context,
                              struct clocks *clocks, struct log *log);
/* No command may be running any more that waits, but for those that the end of the loop cut off. */
void monitors_free(struct monitors *monitors);
DEFINE_AUTO_PTR(monitors, monitors_free)
/*
 * Events go to all QMP sessions whose capabilities are negotiated. Thread-safe. Lives as long as
 * monitors.
 */
struct qapi_event_sink *monitors_event_sink(struct monitors *monitors);

bool monitor_add_qmp(struct monitors *monitors, struct chardev *chr, bool pretty, GError **error);
/* readline: with line editing (a terminal). */
bool monitor_add_hmp(struct monitors *monitors, struct chardev *chr, bool readline, GError **error);
/*
 * Runs an HMP line and returns what it printed, lines ending with "\n"; caller frees. Outside of a
 * coroutine commands that wait aren't run; they say so.
 */
char *monitor_run_hmp(struct monitors *monitors, const char *line);

/*
 * getfd's descriptors of this session; ownership goes to the caller. -1 and *error if there is
 * none.
 */
int monitor_take_fd(struct monitor *mon, const char *name, GError **error);

#endif
