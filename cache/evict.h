/* Eviction: S3-FIFO (Yang et al., SOSP '23), by bytes. Chosen over SIEVE and LRU by measurement (docs/EVICTION.md).
 *
 * DESIGN. New objects enter the small queue (a tenth of the bytes). What was hit twice there moves to the main queue, the rest is evicted and remembered
 * in the ghost, a table of fingerprints; what comes back while remembered goes straight to main. It is remembered until as many more were evicted as
 * are held: a longer memory lets into main what is asked for too seldom to be worth it. Main is a FIFO in which a hit buys one more round.
 * Objects in use are passed over: evicting them would free nothing. A variant whose selector is gone goes at once.
 * Invariant: a listed object is in exactly one queue, changed under its shard's lock; evict_one alone takes it out of its queue first and out
 * of the index after that, holding a reference in between.
 * Locks: one, a leaf; taken on the miss path only.
 */
#ifndef CACHE_EVICT_H
#define CACHE_EVICT_H

#include "base/slab.h"

#include <pthread.h>
#include <stdint.h>

struct cache;
struct cell_space;
struct object;

enum evict_queue { QUEUE_NONE, QUEUE_SMALL, QUEUE_MAIN };

/* Linked by the numbers of the objects' cells; 0: there is none. */
struct evict_line {
    uint32_t oldest, newest;
};

struct evict {
    const struct cell_space *cells; /* immutable: where objects are */
    pthread_mutex_t   lock;
    struct evict_line small, main;
    uint64_t        small_bytes, main_bytes;
    uint64_t        objects_count;
    uint64_t       *ghost;       /* sets of GHOST_WAYS (fingerprint, clock at the eviction); 0: none */
    uint64_t        ghost_sets;  /* a power of two */
    uint32_t        ghost_clock; /* evictions remembered so far */
    uint64_t        evictions_count, evicted_bytes;
    uint64_t        failures_count; /* room_alloc found none */
};

void     evict_init(struct evict *evict, uint64_t slab_bytes, const struct cell_space *cells);
void     evict_free(struct evict *evict);
uint64_t evict_ghost_bytes(const struct evict *evict);

/* With the lock of the object's shard held. */
void evict_insert(struct evict *evict, struct object *object);
void evict_remove(struct evict *evict, struct object *object);
/* It was in main where it comes from. */
void evict_promote(struct evict *evict, struct object *object);

/* Evicts one object by policy; its bytes, or 0 when nothing can be evicted. No lock held. */
uint64_t evict_one(struct cache *cache);
/* slab_alloc, evicting as long as that helps. `owner` may be NULL for a page. No lock held. */
struct extent room_alloc(struct cache *cache, size_t bytes, struct object *owner);
/* The slab may hold memory for `pages` pages from now on: where it has more, up to `most` are given back to the kernel, evicting as long as that helps. Returns
 * the bytes given back. No lock held. */
uint64_t room_give_back(struct cache *cache, size_t pages, size_t most);
/* Evicts until the memory outside the slab is within its limit. No lock held. */
void room_for_overhead(struct cache *cache);

#endif
