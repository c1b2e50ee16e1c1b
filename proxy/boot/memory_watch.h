/* Watches the memory, from the control loop, and has the others give something up when it gets short (base/memory_ladder.h).
 *
 * DESIGN. A look costs some microseconds, ten times a second. The rung that is reached goes to the workers as an order, so that they have it in plain fields of their
 * own, and a hit reads nothing that it did not read before. What memory the cache may have follows from each look, and is given back to the kernel from here,
 * where no client waits. So is what malloc keeps of what was freed. */
#ifndef BOOT_MEMORY_WATCH_H
#define BOOT_MEMORY_WATCH_H

#include "base/memory_ladder.h"
#include "base/memory_meter.h"
#include "cache/cache.h"
#include "proxy/config/config.h"
#include "proxy/net/loop.h"

struct memory_watch_settings {
    struct cache       *cache;
    struct slab        *slab;
    struct loop        *loop;          /* the control loop */
    struct config     **config;        /* the one that serves: read at each look; *config NULL: none yet */
    void (*changed)(enum memory_level); /* on that loop */
};

struct memory_watch {
    struct memory_watch_settings settings;
    struct deadline      tick;
    struct memory_ladder ladder;
    struct memory_look   look;        /* the last one */
    uint64_t             entered[MEMORY_LEVELS]; /* from a level above it: how often */
    uint64_t             given_back_bytes;       /* by the cache */
    enum memory_level    told;        /* in the log */
    struct monotonic_ms  next_line, next_trim;
    uint64_t             warned_limit_bytes, warned_cache_bytes; /* that do not fit: as the log has it */
};

/* Opens what is looked at; before the process is locked up. */
void memory_watch_prepare(void);
/* As memory_meter_resident. */
uint64_t memory_watch_resident(void);
void memory_watch_start(struct memory_watch *watch, const struct memory_watch_settings *settings);

#endif
