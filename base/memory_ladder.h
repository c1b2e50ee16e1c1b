/* What is given up when memory gets short, in this order, so that the kernel's OOM killer is never met: pure decisions.
 *
 * DESIGN. What is used is compared with the limit a few times a second. Each rung is entered above one part of the limit and left below a smaller one, and
 * it takes a while below that to go up by one, so that nothing flutters; down it goes at once, past several if need be.
 *
 *     of the limit                    what is given up
 *        80 %   (no rung)             the cache grows no further: a limit that is too small for cache.memory costs hits, nothing else
 *        85 %   ends keep-alive       connections that are idle, and others with their response: what each of them holds
 *        90 %   evicts                stored responses, until 80 % are used
 *        95 %   refuses misses        whatever the origin would have to be asked for: 503, or what is stale where that may be served
 *        98 %   stops accepting       new clients wait in the kernel's queue
 */
#ifndef BASE_MEMORY_LADDER_H
#define BASE_MEMORY_LADDER_H

#include <stdint.h>

enum memory_level {
    MEMORY_PLENTY,
    MEMORY_ENDS_KEEP_ALIVE,
    MEMORY_EVICTS,
    MEMORY_REFUSES_MISSES,
    MEMORY_STOPS_ACCEPTING,
    MEMORY_LEVELS,
};

enum { MEMORY_CALM_LOOKS = 5 }; /* in a row that ask for less, before one rung is left */

/* Zeroed: at the top, where there is plenty. */
struct memory_ladder {
    enum memory_level level;
    unsigned          calm; /* looks in a row that asked for less */
};

/* Up to here the cache grows, whatever cache.memory says beyond it. */
uint64_t memory_for_growth(uint64_t limit_bytes);
/* One look. `limit_bytes` 0: there is none, and plenty at once. Returns ladder->level. */
enum memory_level memory_ladder_step(struct memory_ladder *ladder, uint64_t used_bytes, uint64_t limit_bytes);
/* How much the cache, which has `held_bytes` of what is used, may have now. */
uint64_t memory_for_cache(enum memory_level level, uint64_t used_bytes, uint64_t limit_bytes, uint64_t held_bytes);
/* What stays free below what there is in all, where limits.memory is auto: for the kernel, for what is reclaimed last, and for what comes between two looks. */
uint64_t memory_margin(uint64_t available_bytes);

#endif
