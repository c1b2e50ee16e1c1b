/* What the hit ratio would be with less or more room: five small simulations of the cache's eviction, each of another size, fed with a sample of the requests.
 *
 * DESIGN. Keys are sampled by their hash, all requests for a key or none, and each simulated cache is as much smaller as the sample is (SHARDS, Waldspurger
 * et al., FAST '15; of policies that are no LRU: "miniature simulations", USENIX ATC '17). The policy is evict.c's, S3-FIFO by bytes: reuse distances
 * would tell of LRU, which is five to eight points away (docs/EVICTION.md). Disks are logs: the oldest goes, but what was read since it was written is written
 * again; a response that is found in the one simulated memory above them is found in all five. All share one table of entries. When it is full of what is in one of
 * the caches, the sample is narrowed: entries beyond it are dropped, and the caches shrink with it; memory never grows.
 * Misses are counted, each for as many as the sample stands for, and never hits: whether one of the hottest keys is in the sample makes all the difference
 * to its hits and none to its misses, so that misses over all requests (the caller knows their number) is the steadier figure.
 * No locks: the caller has one. */
#ifndef CACHE_GHOSTS_H
#define CACHE_GHOSTS_H

#include <stdbool.h>
#include <stdint.h>

enum { GHOST_SIZES = 5, GHOST_SIZE_BUILT = 1 }; /* ½, 1, 2, 4 and 8 times; which of them is the cache as it is */

extern const double ghost_times[GHOST_SIZES];

struct ghosts;

struct ghosts_settings {
    uint64_t capacities[GHOST_SIZES]; /* bytes, ascending */
    uint64_t memory_bytes; /* 0: the capacities are of memory. Else of disk below so much memory */
    bool     admits_all;   /* to disk; else, once that was full, what is asked for a second time */
    uint32_t entries_max;
};

/* Keys are sampled as if responses took 16 KiB each, fewer when they turn out smaller. */
struct ghosts *ghosts_new(const struct ghosts_settings *settings);
void           ghosts_free(struct ghosts **ghosts);

enum { GHOST_HASH_SHIFT = 32 };
/* Hashes whose upper half is below it are in the sample; it only ever falls. At most 1 << 32, for all of them. */
uint64_t ghosts_threshold(const struct ghosts *ghosts);

/* Something in the sample, of so many bytes, was asked for, and can be stored. `was_found`: the cache had it, which matters where it did so since before
 * the simulation began. */
void ghosts_refer(struct ghosts *ghosts, uint64_t hash, uint64_t bytes, bool was_found);
/* It takes another number of bytes from now on. */
void ghosts_resize(struct ghosts *ghosts, uint64_t hash, uint64_t bytes);
/* It was purged: gone from caches of all sizes. */
void ghosts_forget(struct ghosts *ghosts, uint64_t hash);
/* Everything was. */
void ghosts_forget_all(struct ghosts *ghosts);

/* Misses so far in the cache of each size; estimated for all keys. */
void     ghosts_misses(const struct ghosts *ghosts, double misses[GHOST_SIZES]);
uint64_t ghosts_memory_bytes(const struct ghosts *ghosts);

#endif
