/* What the hit ratio would be with other sizes, as figures. */
#include "proxy/boot/collect.h"

#include "cache/sizing.h"

static struct bytes label(struct arena *arena, const char *tier, unsigned size)
{
    return arena_printf(arena, "tier=\"%s\",times=\"%g\"", tier, ghost_times[size]);
}

void collect_sizing(struct gauges *gauges, const struct sizing_report *report, struct arena *arena)
{
    static const char ratio[] =
        "Part of the requests for what can be stored that would find it with so many times the memory, or the disk; estimated.";
    static const char bytes[] = "What so many times the memory, or the disk, is.";
    static const char rate[] = "Part of all keys that this is estimated by.";
    const struct {
        const char *tier;
        const struct sizing_point *points;
        double rate;
    } tiers[] = {{"memory", report->memory, report->memory_rate}, {"disk", report->disk, report->disk_rate}};
    unsigned count = report->has_disk ? 2 : 1;
    for (unsigned tier = 0; tier < count; tier++)
        for (unsigned i = 0; i < GHOST_SIZES; i++)
            gauges_add(gauges, "sizing_hit_ratio", label(arena, tiers[tier].tier, i).at, ratio, tiers[tier].points[i].hit_ratio);
    for (unsigned tier = 0; tier < count; tier++)
        for (unsigned i = 0; i < GHOST_SIZES; i++)
            gauges_add(gauges, "sizing_bytes", label(arena, tiers[tier].tier, i).at, bytes, (double)tiers[tier].points[i].bytes);
    for (unsigned tier = 0; tier < count; tier++)
        gauges_add(gauges, "sizing_sample_ratio", arena_printf(arena, "tier=\"%s\"", tiers[tier].tier).at, rate, tiers[tier].rate);
    gauges_add(gauges, "sizing_requests", "", "Requests that this is estimated from, of the last one to two hours.",
               (double)report->requests);
    gauges_add(gauges, "sizing_memory_bytes", "", "Memory that the estimating takes.", (double)report->used_bytes);
}
