/* See memory_watch.h. */
#include "proxy/boot/memory_watch.h"

#include "base/log.h"

#include <malloc.h>
#include <stdio.h>

enum {
    LOOK_MS = 100,
    LINE_MS = 1000,             /* between two lines of the log: the last one says how it is */
    TRIM_MS = 2000,             /* between two looks for what malloc could give back */
    GIVE_BACK_BYTES = 64 << 20, /* at a look: some ten milliseconds */
};

static struct memory_meter *meter;

void memory_watch_prepare(void)
{
    meter = memory_meter_new();
}

uint64_t memory_watch_resident(void)
{
    return memory_meter_resident(meter);
}

/* ---- the log ------------------------------------------------------------------------------------------------------------------------------ */

static const char *const meaning[MEMORY_LEVELS] = {
    [MEMORY_PLENTY] = "everything is as usual again",       [MEMORY_ENDS_KEEP_ALIVE] = "connections are not kept alive",
    [MEMORY_EVICTS] = "stored responses are evicted",       [MEMORY_REFUSES_MISSES] = "what would have to be fetched is answered 503",
    [MEMORY_STOPS_ACCEPTING] = "no new client is accepted",
};

static unsigned long mib(uint64_t bytes)
{
    return (unsigned long)(bytes >> 20);
}

static const char *whose(const struct memory_look *look)
{
    return look->is_of_group ? "the control group" : "the server";
}

static void tell(struct memory_watch *watch, struct monotonic_ms now)
{
    const struct memory_look *look = &watch->look;
    enum memory_level level = watch->ladder.level;
    if (level == watch->told || monotonic_since(now, watch->next_line) < 0)
        return;
    char line[160];
    snprintf(line, sizeof line, "%s uses %lu of %lu MiB: %s (level %u of %u)", whose(look), mib(look->used_bytes), mib(look->limit_bytes),
             meaning[level], level, MEMORY_LEVELS - 1);
    if (level > watch->told)
        log_warn("memory", "%s", line);
    else
        log_info("memory", "%s", line);
    watch->told = level;
    watch->next_line = monotonic_add(now, LINE_MS);
}

/* `outrigger -t` says it, too, but may be run in another control group. */
static void warn_of_size(struct memory_watch *watch, uint64_t cache_bytes)
{
    uint64_t limit = watch->look.limit_bytes;
    if (limit == 0 || cache_bytes <= memory_for_growth(limit) ||
        (limit == watch->warned_limit_bytes && cache_bytes == watch->warned_cache_bytes))
        return;
    log_warn("memory", "cache.memory: %lu MiB do not fit into the %lu MiB that %s may take: the cache stops growing before",
             mib(cache_bytes), mib(limit), whose(&watch->look));
    watch->warned_limit_bytes = limit;
    watch->warned_cache_bytes = cache_bytes;
}

/* ---- a look ------------------------------------------------------------------------------------------------------------------------------- */

static void limit_cache(struct memory_watch *watch)
{
    const struct memory_look *look = &watch->look;
    uint64_t held = (uint64_t)slab_held_pages(watch->settings.slab) * SLAB_PAGE_BYTES;
    uint64_t most = memory_for_cache(watch->ladder.level, look->used_bytes, look->limit_bytes, held);
    watch->given_back_bytes += cache_limit_memory(watch->settings.cache, most, GIVE_BACK_BYTES);
}

static void trim(struct memory_watch *watch, struct monotonic_ms now)
{
    if (watch->ladder.level == MEMORY_PLENTY || monotonic_since(now, watch->next_trim) < 0)
        return;
    malloc_trim(0);
    watch->next_trim = monotonic_add(now, TRIM_MS);
}

static void look(struct memory_watch *watch, const struct config *config)
{
    struct monotonic_ms now = loop_now(watch->settings.loop);
    enum memory_level before = watch->ladder.level;
    unsigned share = config->concurrency == CONCURRENCY_MP ? config->workers : 1;
    memory_meter_look(meter, config->memory_limit_bytes, share, slab_fd(watch->settings.slab), &watch->look);
    enum memory_level level = memory_ladder_step(&watch->ladder, watch->look.used_bytes, watch->look.limit_bytes);
    for (enum memory_level entered = before + 1; entered <= level; entered++)
        watch->entered[entered]++;
    if (level != before)
        watch->settings.changed(level);
    limit_cache(watch);
    trim(watch, now);
    tell(watch, now);
    warn_of_size(watch, slab_bytes(watch->settings.slab));
}

static void tick(struct deadline *deadline)
{
    struct memory_watch *watch = LIST_OWNER(deadline, struct memory_watch, tick);
    loop_set_deadline(watch->settings.loop, &watch->tick, LOOK_MS, tick);
    if (*watch->settings.config != NULL)
        look(watch, *watch->settings.config);
}

void memory_watch_start(struct memory_watch *watch, const struct memory_watch_settings *settings)
{
    *watch = (struct memory_watch){.settings = *settings};
    loop_set_deadline(settings->loop, &watch->tick, LOOK_MS, tick);
}
