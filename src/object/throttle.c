/*
 * Leaky buckets.
 */
#include "object/throttle.h"

#include <math.h>

#include "qapi/error.h"
#include "qapi/qapi_types.h"

enum { NS = 1000000000 };

static const uint64_t max_value = 1000000000000000;     /* of any limit */

void throttle_config_init(struct throttle_config *config)
{
    *config = (struct throttle_config){0};
    for (unsigned i = 0; i < THROTTLE_N_BUCKETS; i++) {
        config->rates[i].burst_length = 1;
    }
}

static bool fail(GError **error, const char *message)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, message);
    return false;
}

static bool check_rate(const struct throttle_rate *rate, GError **error)
{
    if (rate->average > max_value || rate->max > max_value) {
        return fail(error, "bps/iops/max values must be within [0, 1000000000000000]");
    }
    if (!rate->burst_length) {
        return fail(error, "the burst length cannot be 0");
    }
    if (rate->burst_length > UINT32_MAX) {
        return fail(error, "the burst length must be in the range [0, 4294967295]");
    }
    if (rate->burst_length > 1 && !rate->max) {
        return fail(error, "burst length set without burst rate");
    }
    if (rate->max && rate->burst_length > max_value / rate->max) {
        return fail(error, "burst length too high for this burst rate");
    }
    if (rate->max && !rate->average) {
        return fail(error, "bps_max/iops_max require corresponding bps/iops values");
    }
    if (rate->max && rate->max < rate->average) {
        return fail(error, "bps_max/iops_max cannot be lower than bps/iops");
    }
    return true;
}

static bool total_and_parts(const struct throttle_rate *rates, unsigned total)
{
    return (rates[total].average && (rates[total + 1].average || rates[total + 2].average)) ||
           (rates[total].max && (rates[total + 1].max || rates[total + 2].max));
}

bool throttle_config_check(const struct throttle_config *config, GError **error)
{
    const struct throttle_rate *rates = config->rates;

    if (total_and_parts(rates, THROTTLE_OPS_TOTAL) ||
        total_and_parts(rates, THROTTLE_BYTES_TOTAL)) {
        return fail(error, "bps/iops/max total values and read/write values cannot be used at the "
                           "same time");
    }
    if (config->op_size && !rates[THROTTLE_OPS_TOTAL].average &&
        !rates[THROTTLE_OPS_READ].average && !rates[THROTTLE_OPS_WRITE].average) {
        return fail(error, "iops size requires an iops value to be set");
    }
    for (unsigned i = 0; i < THROTTLE_N_BUCKETS; i++) {
        if (!check_rate(&rates[i], error)) {
            return false;
        }
    }
    return true;
}

bool throttle_config_is_limiting(const struct throttle_config *config)
{
    for (unsigned i = 0; i < THROTTLE_N_BUCKETS; i++) {
        if (config->rates[i].average) {
            return true;
        }
    }
    return false;
}

/* The three members of each bucket in ThrottleLimits, and whether they are there. */
#define MEMBER(name) offsetof(struct qapi_throttle_limits, name)
#define RATE(kind, name)                                                                           \
    {kind, MEMBER(name), MEMBER(has_##name), MEMBER(name##_max), MEMBER(has_##name##_max),         \
     MEMBER(name##_max_length), MEMBER(has_##name##_max_length)}

static const struct rate_row {
    enum throttle_bucket_kind kind;
    size_t average, has_average, max, has_max, length, has_length;
} rate_rows[] = {
    RATE(THROTTLE_OPS_TOTAL, iops_total),
    RATE(THROTTLE_OPS_READ, iops_read),
    RATE(THROTTLE_OPS_WRITE, iops_write),
    RATE(THROTTLE_BYTES_TOTAL, bps_total),
    RATE(THROTTLE_BYTES_READ, bps_read),
    RATE(THROTTLE_BYTES_WRITE, bps_write),
};

static bool take(const struct qapi_throttle_limits *limits, size_t offset, size_t has_offset,
                 uint64_t *value, GError **error)
{
    int64_t given = *(const int64_t *)((const char *)limits + offset);

    if (!*(const bool *)((const char *)limits + has_offset)) {
        return true;
    }
    if (given < 0) {
        return fail(error, "bps/iops/max values must be within [0, 1000000000000000]");
    }
    *value = given;
    return true;
}

bool throttle_config_update(struct throttle_config *config,
                            const struct qapi_throttle_limits *limits, GError **error)
{
    struct throttle_config updated = *config;

    for (unsigned i = 0; i < G_N_ELEMENTS(rate_rows); i++) {
        const struct rate_row *row = &rate_rows[i];
        struct throttle_rate *rate = &updated.rates[row->kind];

        if (!take(limits, row->average, row->has_average, &rate->average, error) ||
            !take(limits, row->max, row->has_max, &rate->max, error) ||
            !take(limits, row->length, row->has_length, &rate->burst_length, error)) {
            return false;
        }
    }
    if (!take(limits, MEMBER(iops_size),
              MEMBER(has_iops_size), &updated.op_size, error)) {
        return false;
    }
    *config = updated;
    return true;
}

static void give(struct qapi_throttle_limits *limits, size_t offset, size_t has_offset,
                 uint64_t value)
{
    *(int64_t *)((char *)limits + offset) = value;
    *(bool *)((char *)limits + has_offset) = true;
}

void throttle_config_to_limits(const struct throttle_config *config,
                               struct qapi_throttle_limits *limits)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rate_rows); i++) {
        const struct rate_row *row = &rate_rows[i];
        const struct throttle_rate *rate = &config->rates[row->kind];

        give(limits, row->average, row->has_average, rate->average);
        give(limits, row->max, row->has_max, rate->max);
        give(limits, row->length, row->has_length, rate->burst_length);
    }
    limits->iops_size = config->op_size;
    limits->has_iops_size = true;
}

void throttle_init(struct throttle *throttle, const struct throttle_config *config, int64_t now)
{
    *throttle = (struct throttle){.config = *config, .last_leak = now};
}

static void leak(struct throttle *throttle, int64_t now)
{
    double seconds = (double)(now - throttle->last_leak) / NS;

    if (now <= throttle->last_leak) {
        return;
    }
    throttle->last_leak = now;
    for (unsigned i = 0; i < THROTTLE_N_BUCKETS; i++) {
        const struct throttle_rate *rate = &throttle->config.rates[i];

        throttle->level[i] = MAX(throttle->level[i] - rate->average * seconds, 0);
        throttle->burst_level[i] = MAX(throttle->burst_level[i] - rate->max * seconds, 0);
    }
}

/* Nanoseconds until level is down at size, at rate units a second. */
static int64_t drain_time(double level, double size, double rate)
{
    return level > size ? (int64_t)ceil((level - size) / rate * NS) : 0;
}

static int64_t bucket_wait(const struct throttle *throttle, unsigned i)
{
    const struct throttle_rate *rate = &throttle->config.rates[i];
    double size;
    int64_t wait;

    if (!rate->average) {
        return 0;
    }
    /* Without bursts a tenth of a second may be done at once, so that not every request is
     * delayed. */
    size = rate->max ? (double)rate->max * rate->burst_length : rate->average / 10.0;
    wait = drain_time(throttle->level[i], size, rate->average);
    if (!wait && rate->burst_length > 1) {
        wait = drain_time(throttle->burst_level[i], rate->max / 10.0, rate->max);
    }
    return wait;
}

int64_t throttle_wait(struct throttle *throttle, bool is_write, int64_t now)
{
    const unsigned kinds[] = {
        THROTTLE_OPS_TOTAL, is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ,
        THROTTLE_BYTES_TOTAL, is_write ? THROTTLE_BYTES_WRITE : THROTTLE_BYTES_READ,
    };
    int64_t wait = 0;

    leak(throttle, now);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        wait = MAX(wait, bucket_wait(throttle, kinds[i]));
    }
    return wait;
}

static void fill(struct throttle *throttle, unsigned kind, double units)
{
    throttle->level[kind] += units;
    throttle->burst_level[kind] += units;
}

void throttle_account(struct throttle *throttle, bool is_write, uint64_t bytes)
{
    double op_size = throttle->config.op_size;
    double ops = op_size && bytes > op_size ? bytes / op_size : 1;

    fill(throttle, THROTTLE_OPS_TOTAL, ops);
    fill(throttle, is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ, ops);
    fill(throttle, THROTTLE_BYTES_TOTAL, bytes);
    fill(throttle, is_write ? THROTTLE_BYTES_WRITE : THROTTLE_BYTES_READ, bytes);
}
