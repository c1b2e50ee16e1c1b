/* Counters of one loop: written by that loop alone, with plain stores; read and added up by whoever shows them. A hit writes no line that another
 * loop writes. */
#ifndef OBSERVE_COUNTERS_H
#define OBSERVE_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum counter {
#define COUNTER(name, metric, labels, help) COUNTER_##name,
#include "proxy/observe/metrics.tbl"
#undef COUNTER
    COUNTER_COUNT
};

/* nginx's words ($upstream_cache_status). */
enum cache_result {
    RESULT_NONE, /* answered without the cache: errors made here, admin, redirects */
    RESULT_HIT,
    RESULT_MISS,
    RESULT_EXPIRED,
    RESULT_STALE,
    RESULT_UPDATING,
    RESULT_REVALIDATED,
    RESULT_BYPASS,
    RESULT_COUNT
};

const char *cache_result_word(enum cache_result result); /* "HIT"; "-" for NONE */

/* Whether a request was answered from a stored response. */
static inline bool cache_result_is_hit(enum cache_result result)
{
    return result == RESULT_HIT || result == RESULT_STALE || result == RESULT_UPDATING || result == RESULT_REVALIDATED;
}

enum { HISTOGRAM_BUCKETS = 14, STATUS_CLASSES = 6, STATUS_SLOTS = 600, DETAIL_SLOTS = 64 };

/* Upper bounds of the buckets, in microseconds, from 100 µs to 30 s; the last bucket has none. */
extern const uint64_t histogram_bounds_us[HISTOGRAM_BUCKETS];

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS + 1];
    _Atomic uint64_t sum_us;
};

struct counters {
    _Alignas(64) _Atomic uint64_t value[COUNTER_COUNT];
    _Atomic uint64_t requests[STATUS_SLOTS][RESULT_COUNT]; /* [status] (0: none sent; 600 and over count as 599) */
    _Atomic uint64_t details[DETAIL_SLOTS];                /* by enum cache_detail */
    struct histogram origin_first_byte;                    /* request sent → head received */
    struct histogram hit_duration, miss_duration;          /* request head received → response sent */
    struct histogram store_read;                           /* of a record, at the disk */
    struct histogram helper_disk, helper_store, helper_resolver; /* call → answer */
};

static inline void atomic_bump(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static inline void counter_add(struct counters *counters, enum counter counter, uint64_t by)
{
    atomic_bump(&counters->value[counter], by);
}

void counters_count_request(struct counters *counters, unsigned status, enum cache_result result, unsigned detail);
void histogram_add(struct histogram *histogram, uint64_t us);

/* Zeroed. */
struct counters *counters_new(void);
void             counters_free(struct counters **counters);
/* Adds `from` to `into`; for readers. */
void counters_sum(struct counters *into, const struct counters *from);

#endif
