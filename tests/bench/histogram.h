/* Times in buckets whose width is 1/64 of the value. */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6, /* 64 buckets in each power of two */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

/* Zeroed: empty. */
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS], total, sum, least, most;
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value that this part (0…1) of all does not exceed; 0 of none. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);

#endif
