#include "histogram.h"

#include <math.h>

static uint32_t bucket_of(uint64_t value)
{
    if (value < 1u << HISTOGRAM_STEP_BITS) {
        return (uint32_t)value;
    }
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return ((shift + 1) << HISTOGRAM_STEP_BITS) + (uint32_t)((value >> shift) - (1u << HISTOGRAM_STEP_BITS));
}

static uint64_t middle_of(uint32_t bucket)
{
    if (bucket < 1u << HISTOGRAM_STEP_BITS) {
        return bucket;
    }
    uint32_t shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    return (((uint64_t)(bucket & ((1u << HISTOGRAM_STEP_BITS) - 1)) + (1u << HISTOGRAM_STEP_BITS)) << shift) + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->least = h->total == 0 || value < h->least ? value : h->least;
    h->most = value > h->most ? value : h->most;
    h->total++;
    h->sum += value;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)h->total), seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += h->counts[bucket];
        if (seen >= wanted && seen > 0) {
            return middle_of(bucket) < h->most ? middle_of(bucket) : h->most;
        }
    }
    return 0;
}
