/* The date that a machine starts with. */
#ifndef NANDU_CLI_DATE_H
#define NANDU_CLI_DATE_H

#include <glib.h>
#include <stdbool.h>

/*
 * -rtc base=: how far the guest's clock of the day is ahead of the host's (UTC), in nanoseconds:
 * "utc" 0, "localtime" the host's time zone, a date such as 2026-01-31 or 2026-01-31T12:00:00 (UTC)
 * what is missing to it. now_us: the host's time, microseconds since the epoch.
 */
bool date_offset(const char *base, gint64 now_us, gint64 *offset_ns, GError **error);

#endif
