#include "cli/date.h"

#include <string.h>

#include "qapi/error.h"

/* What a clock can show of them: years 1970 to 2261 in 64-bit nanoseconds. */
enum { FIRST_YEAR = 1970, LAST_YEAR = 2261 };

bool date_offset(const char *base, gint64 now_us, gint64 *offset_ns, GError **error)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autofree char *whole = NULL;
    g_autoptr(GDateTime) date = NULL;

    if (g_str_equal(base, "utc")) {
        *offset_ns = 0;
        return true;
    }
    if (g_str_equal(base, "localtime")) {
        g_autoptr(GDateTime) now = g_date_time_new_from_unix_local(now_us / G_USEC_PER_SEC);

        *offset_ns = now ? g_date_time_get_utc_offset(now) * 1000 : 0;
        return true;
    }
    whole = strchr(base, 'T') ? g_strdup(base) : g_strconcat(base, "T00:00:00", NULL);
    date = g_date_time_new_from_iso8601(whole, utc);
    if (!date || g_date_time_get_year(date) < FIRST_YEAR ||
        g_date_time_get_year(date) > LAST_YEAR) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "invalid date '%s': utc, localtime, or for example 2006-06-17 or "
                    "2006-06-17T16:01:21, from %d to %d",
                    base, FIRST_YEAR, LAST_YEAR);
        return false;
    }
    *offset_ns =
        (g_date_time_to_unix(date) - now_us / G_USEC_PER_SEC) * G_GINT64_CONSTANT(1000000000);
    return true;
}
