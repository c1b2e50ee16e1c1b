/* What /metrics and /stats show; for collect*.c. */
#ifndef BOOT_COLLECT_H
#define BOOT_COLLECT_H

#include "proxy/config/config.h"
#include "proxy/observe/metrics.h"

struct sizing_report;
struct store;

struct gauges {
    struct gauge *at;
    unsigned count;
};

/* `labels` and `help` are borrowed. Rows of one name stand together. */
void gauges_add(struct gauges *gauges, const char *name, const char *labels, const char *help, double value);
void gauges_add_counter(struct gauges *gauges, const char *name, const char *labels, const char *help, double value);

/* Opens what is looked at later; before the process is locked up. */
void collect_prepare(void);

/* Nothing when `store` is NULL. */
void collect_store(struct gauges *gauges, const struct store *store, const struct config *config, struct arena *arena);

void collect_sizing(struct gauges *gauges, const struct sizing_report *report, struct arena *arena);

#endif
