#include "util/nearest.h"

#include <glib.h>
#include <string.h>

enum { MAX_LENGTH = 40 };

/* Damerau-Levenshtein distance in the form without overlapping swaps. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][MAX_LENGTH + 1];
    size_t na = strlen(a), nb = strlen(b);

    if (na > MAX_LENGTH || nb > MAX_LENGTH) {
        return MAX_LENGTH;
    }
    for (size_t j = 0; j <= nb; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3];
        const unsigned *two_above = rows[(i + 1) % 3];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = MIN(best, above[j] + 1);
            best = MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = MIN(best, two_above[j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *util_nearest(const char *word, const char *const *names, size_t n)
{
    unsigned best = MAX_LENGTH;
    const char *found = NULL;

    for (size_t i = 0; i < n; i++) {
        unsigned d = distance(word, names[i]);
        size_t length = MAX(strlen(names[i]), strlen(word));

        if (d < best && d <= (length + 2) / 3 && d < strlen(names[i])) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
