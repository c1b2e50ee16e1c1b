/* Prometheus text (exposition format 0.0.4) and JSON, made of summed counters and of gauges that the caller collects. */
#ifndef OBSERVE_METRICS_H
#define OBSERVE_METRICS_H

#include "base/arena.h"
#include "proxy/observe/counters.h"

#include <stdbool.h>

struct gauge {
    const char *name;   /* without the prefix; rows of one name stand together */
    const char *labels; /* "kind=\"index\"" or "" */
    const char *help;
    bool        is_counter;
    double      value;
};

/* `details`: words for the detail labels, `detail_count` of them. The text lies in `arena`. Includes derived figures: hit ratio by count and by bytes. */
struct bytes metrics_prometheus(struct arena *arena, const struct counters *sum, const char *const *details, unsigned detail_count,
                                const struct gauge *gauges, unsigned gauge_count);
/* One JSON object for `outriggerctl stats`. */
struct bytes metrics_json(struct arena *arena, const struct counters *sum, const char *const *details, unsigned detail_count,
                          const struct gauge *gauges, unsigned gauge_count);

#endif
