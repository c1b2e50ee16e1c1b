#include "proxy/observe/counters.h"

#include <stdlib.h>
#include <string.h>

const uint64_t histogram_bounds_us[HISTOGRAM_BUCKETS] = {100,   250,    500,    1000,    2500,    5000,     10000,
                                                         25000, 100000, 250000, 1000000, 2500000, 10000000, 30000000};

const char *cache_result_word(enum cache_result result)
{
    static const char *const words[RESULT_COUNT] = {
        [RESULT_NONE] = "-",      [RESULT_HIT] = "HIT",           [RESULT_MISS] = "MISS",     [RESULT_EXPIRED] = "EXPIRED",
        [RESULT_STALE] = "STALE", [RESULT_UPDATING] = "UPDATING", [RESULT_BYPASS] = "BYPASS", [RESULT_REVALIDATED] = "REVALIDATED",
    };

    return words[result];
}

void counters_count_request(struct counters *counters, unsigned status, enum cache_result result, unsigned detail)
{
    atomic_bump(&counters->requests[status < STATUS_SLOTS ? status : STATUS_SLOTS - 1][result], 1);
    if (detail < DETAIL_SLOTS)
        atomic_bump(&counters->details[detail], 1);
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    unsigned bucket = 0;

    while (bucket < HISTOGRAM_BUCKETS && us > histogram_bounds_us[bucket])
        bucket++;
    atomic_bump(&histogram->buckets[bucket], 1);
    atomic_bump(&histogram->sum_us, us);
}

struct counters *counters_new(void)
{
    struct counters *counters = aligned_alloc(_Alignof(struct counters), sizeof(struct counters));

    if (!counters)
        abort();
    memset(counters, 0, sizeof(*counters));
    return counters;
}

void counters_free(struct counters **counters)
{
    free(*counters);
    *counters = NULL;
}

static void sum_up(_Atomic uint64_t *into, const _Atomic uint64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        atomic_bump(&into[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void histogram_sum(struct histogram *into, const struct histogram *from)
{
    sum_up(into->buckets, from->buckets, HISTOGRAM_BUCKETS + 1);
    sum_up(&into->sum_us, &from->sum_us, 1);
}

void counters_sum(struct counters *into, const struct counters *from)
{
    sum_up(into->value, from->value, COUNTER_COUNT);
    sum_up(&into->requests[0][0], &from->requests[0][0], STATUS_SLOTS * RESULT_COUNT);
    sum_up(into->details, from->details, DETAIL_SLOTS);
    histogram_sum(&into->origin_first_byte, &from->origin_first_byte);
    histogram_sum(&into->hit_duration, &from->hit_duration);
    histogram_sum(&into->miss_duration, &from->miss_duration);
    histogram_sum(&into->store_read, &from->store_read);
    histogram_sum(&into->helper_disk, &from->helper_disk);
    histogram_sum(&into->helper_store, &from->helper_store);
    histogram_sum(&into->helper_resolver, &from->helper_resolver);
}
