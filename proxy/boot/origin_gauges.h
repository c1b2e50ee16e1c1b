/* What each origin of the configuration does, for /metrics and the dashboard: published by every loop of its own, added up by the control loop. */
#ifndef BOOT_ORIGIN_GAUGES_H
#define BOOT_ORIGIN_GAUGES_H

#include "proxy/boot/collect.h"
#include "proxy/origin/origin.h"
#include "proxy/request/routes.h"

enum { ORIGINS_SHOWN_MAX = 32 }; /* in the order of the configuration; there may be thousands */

/* Written by one loop, read by any: no lock, each figure good by itself. */
struct origin_gauges {
    _Atomic(const struct config *) config; /* whose origins they are; to be compared only */
    _Atomic uint64_t figures[ORIGINS_SHOWN_MAX][ORIGIN_FIGURES];
};

void origin_gauges_publish(struct origin_gauges *gauges, const struct config *config, const struct routes *routes);
/* `of`: of each loop. Loops that serve by another configuration at this moment are left out. */
void origin_gauges_collect(struct gauges *gauges, const struct config *config, const struct origin_gauges *const *of, unsigned count,
                           struct arena *arena);

#endif
