/*
 * Limits on requests and bytes a second, as leaky buckets, and object throttle-group, whose members
 * share one set of them. Times are nanoseconds of any clock that doesn't go back.
 */
#ifndef NANDU_OBJECT_THROTTLE_H
#define NANDU_OBJECT_THROTTLE_H

#include <stdint.h>

#include "object/object.h"

struct qapi_throttle_limits;

enum throttle_bucket_kind {
    THROTTLE_OPS_TOTAL, THROTTLE_OPS_READ, THROTTLE_OPS_WRITE,
    THROTTLE_BYTES_TOTAL, THROTTLE_BYTES_READ, THROTTLE_BYTES_WRITE,
    THROTTLE_N_BUCKETS
};

struct throttle_config {
    struct throttle_rate {
        uint64_t average;       /* units a second; 0: no limit */
        uint64_t max;           /* units a second in a burst; 0: none beyond 1/10 s of average */
        uint64_t burst_length;  /* seconds that a burst lasts; 1 or more */
    } rates[THROTTLE_N_BUCKETS];
    uint64_t op_size;           /* bytes from which on a request counts as several; 0: never */
};

/*
 * A bucket fills with what is done and leaks at the average rate; when it is over its size, one
 * waits. With bursts of several seconds a second level, that leaks at the rate of the burst,
 * limits that rate.
 */
struct throttle {
    struct throttle_config config;
    double level[THROTTLE_N_BUCKETS], burst_level[THROTTLE_N_BUCKETS];
    int64_t last_leak;
};

void throttle_config_init(struct throttle_config *config);      /* no limits */
/* False and *error if limits contradict each other or are out of range. */
bool throttle_config_check(const struct throttle_config *config, GError **error);
bool throttle_config_is_limiting(const struct throttle_config *config);
/* Changes the members of config that limits has. False and *error: a value out of range. */
bool throttle_config_update(struct throttle_config *config,
                            const struct qapi_throttle_limits *limits, GError **error);
void throttle_config_to_limits(const struct throttle_config *config,
                               struct qapi_throttle_limits *limits);

/* config must have passed the check. The buckets are empty afterwards. */
void throttle_init(struct throttle *throttle, const struct throttle_config *config, int64_t now);
/* How long a read or write must wait; 0: it may go on. */
int64_t throttle_wait(struct throttle *throttle, bool is_write, int64_t now);
/* A request of this many bytes goes on. */
void throttle_account(struct throttle *throttle, bool is_write, uint64_t bytes);

/*
 * The group called id. NULL and *error if it isn't there or isn't one. The caller takes a
 * reference (object_ref) for as long as it is a member; the functions below may be called from
 * any thread then.
 */
struct object *throttle_group_find(struct object *root, const char *id, GError **error);
/*
 * Asks, at the time now of CLOCK_REAL, for a request to go on: 0, and it is accounted for, or
 * how long to wait before asking again.
 */
int64_t throttle_group_admit(struct object *group, bool is_write, uint64_t bytes, int64_t now);

#endif
