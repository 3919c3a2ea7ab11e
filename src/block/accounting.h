/*
 * What query-blockstats tells of a device: how many requests, of how many bytes, how long they
 * took. A device says when a request begins and how it ends; any thread.
 */
#ifndef NANDU_BLOCK_ACCOUNTING_H
#define NANDU_BLOCK_ACCOUNTING_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "qapi/qapi_types.h"
#include "util/auto.h"

struct block_accounting;

enum block_accounting_kind {
    BLOCK_ACCOUNTING_READ,
    BLOCK_ACCOUNTING_WRITE,
    BLOCK_ACCOUNTING_FLUSH,
    BLOCK_ACCOUNTING_UNMAP,
    BLOCK_ACCOUNTING_N_KINDS
};

/* A request that is under way. */
struct block_accounting_cookie {
    int64_t start;                  /* ns */
    uint64_t bytes;
    enum block_accounting_kind kind;
};

/* Invalid and failed requests count. */
struct block_accounting *block_accounting_new(void);
void block_accounting_free(struct block_accounting *accounting);
DEFINE_AUTO_PTR(block_accounting, block_accounting_free)

/* Whether requests that were invalid, or failed, are a reason not to be idle, and whether the time
 * that the latter took counts (account-invalid, account-failed); auto: as before. */
void block_accounting_set_policy(struct block_accounting *accounting, enum qapi_on_off_auto invalid,
                                 enum qapi_on_off_auto failed);
/* Figures of the last so many seconds, besides the others (stats-intervals). False: that isn't a
 * length, or it is there already. */
bool block_accounting_add_interval(struct block_accounting *accounting, uint32_t seconds,
                                   GError **error);
/*
 * Latencies of this kind (not UNMAP) are counted in the n + 1 bins between 0, these n boundaries,
 * which ascend, and infinity (ns), from now on; n is 0: they aren't. False: they don't ascend.
 */
bool block_accounting_set_histogram(struct block_accounting *accounting,
                                    enum block_accounting_kind kind, const uint64_t *boundaries,
                                    size_t n, GError **error);

void block_accounting_start(struct block_accounting *accounting,
                            struct block_accounting_cookie *cookie, uint64_t bytes,
                            enum block_accounting_kind kind);
void block_accounting_done(struct block_accounting *accounting,
                           const struct block_accounting_cookie *cookie);
void block_accounting_failed(struct block_accounting *accounting,
                             const struct block_accounting_cookie *cookie);
/* A request that couldn't be begun. */
void block_accounting_invalid(struct block_accounting *accounting, enum block_accounting_kind kind);
/* So many requests became part of another one. */
void block_accounting_merged(struct block_accounting *accounting, enum block_accounting_kind kind,
                             unsigned n);

/* Fills in all but wr_highest_offset, which the node knows. */
void block_accounting_query(struct block_accounting *accounting,
                            struct qapi_block_device_stats *stats);

#endif
