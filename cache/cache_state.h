/* What the modules of cache/ share: the cache itself and its shards. Not for callers: cache.h is.
 *
 * DESIGN. A shard holds the index of its part of the hashes, and a small table of the fills under way ("listed" ones: those that other requests
 * may join). An object in the index is a stored response or a selector; a fill's object gets there when the fill ends.
 * Locks, in the order in which they may nest: shard (lower number first) → fill → {eviction, slab, cells, purges, memory waiters, loads, sizing, the store's};
 * those in braces are leaves.
 * Nothing is decided, allocated (but cells) or freed (but cells) under a shard's lock.
 */
#ifndef CACHE_STATE_H
#define CACHE_STATE_H

#include "cache/cache.h"
#include "cache/disk/load.h"
#include "cache/equivalents.h"
#include "cache/evict.h"
#include "cache/index.h"
#include "cache/object.h"
#include "cache/policy/slice.h"
#include "cache/purge_table.h"
#include "cache/sizing.h"
#include "cache/unstorable.h"
#include "cache/visitor.h"

#include <pthread.h>

enum {
    SHARD_COUNT = 1 << INDEX_SHARD_BITS,
    SHARD_FILL_HEADS = 32,
    /* Object headers, index growth and body tables may take this part of the slab's size on top of it (DESIGN §5: memory + 5 %). */
    OVERHEAD_DIVISOR = 20,
};

struct shard {
    pthread_mutex_t lock;
    struct index    index;
    uint64_t        found; /* requests that found something stored, but visitors': for sizing */
    struct list     fills[SHARD_FILL_HEADS]; /* by hash */
} __attribute__((aligned(64)));

struct cache {
    /* immutable after new */
    struct slab          *slab;
    char                 *slab_start;
    struct cache_settings settings;
    struct hash_key       hash_key;
    struct cell_space     object_space, bucket_space;
    struct cells          small_objects, large_objects, buckets;
    struct evict          evict;
    struct unstorable     unstorable;
    struct equivalents    equivalents;
    struct purge_table    purges;
    struct store         *store; /* or NULL */
    struct load_table     loads;
    struct sizing         sizing;
    struct visitors       visitors;
    /* shared, each under its own lock */
    struct shard shards[SHARD_COUNT];
    pthread_mutex_t  memory_lock;
    struct list      memory_waiters; /* fills */
    /* shared, atomic */
    _Atomic uint32_t memory_waiters_count;
    _Atomic uint64_t selector_serial;
    _Atomic uint64_t body_table_bytes; /* of struct body */
    _Atomic uint64_t fills_count;
    _Atomic uint64_t purges_count;
    _Atomic bool     has_left;
    _Atomic uint8_t  leave;        /* the number of the cache_leave that holds; 0: none does */
    _Atomic bool     is_adopting;  /* what is purged by its URL is noted in `purges`: handover.h */
    _Atomic uint64_t adopted_count, adopted_bytes;
    /* the thread's that has the cache leave */
    uint8_t last_leave;
    /* immutable while it adopts */
    uint64_t adopts_since; /* of `purges`: those after it concern what is adopted */
};

/* Of an object, or a cell that may become one: by it the slab knows who owns a chunk. */
static inline uint32_t object_number(const struct cache *cache, const struct object *object)
{
    return cell_number(&cache->object_space, object);
}

/* Bytes outside the slab. */
uint64_t cache_overhead_bytes(struct cache *cache);

static inline struct shard *shard_of(struct cache *cache, uint64_t hash)
{
    return &cache->shards[hash & (SHARD_COUNT - 1)];
}

/* Locks it when an object can be inserted without allocating. */
void shard_lock_to_insert(struct cache *cache, struct shard *shard);
/* Locks both; `first`, where something may be inserted, is ready. They may be the same. */
void shard_lock_pair(struct cache *cache, struct shard *insert, struct shard *other);
void shard_unlock_pair(struct shard *insert, struct shard *other);

/* A visitor found it: as shard_touch, without a lock. */
static inline bool visitor_touch(struct cache *cache, struct visitor *visitor, struct object *object, struct wall_seconds now)
{
    uint64_t found = atomic_load_explicit(&visitor->found, memory_order_relaxed);
    atomic_store_explicit(&visitor->found, found + 1, memory_order_relaxed);
    if (sizing_samples(&cache->sizing, object->hash))
        visitor_note(cache, visitor, object->hash, object_footprint(object), now.s);
    return object_touch(object);
}

/* All with the shard's lock held. */
/* A request found it: a hit, for eviction and for sizing. True: it is to be offered again (cache_offer_again). */
static inline bool shard_touch(struct cache *cache, struct shard *shard, struct object *object)
{
    if (object->kind != OBJECT_SELECTOR) {
        shard->found++;
        if (sizing_samples(&cache->sizing, object->hash))
            sizing_note_found(&cache->sizing, object->hash, object_footprint(object));
    }
    return object_touch(object);
}
struct object *shard_find(struct cache *cache, struct shard *shard, const struct object_name *name);
/* Takes a reference for the index, and enters the eviction's queue. Nothing of its name is there. */
void shard_insert(struct cache *cache, struct shard *shard, struct object *object);
/* Takes it out; the index's reference is now the caller's, to drop after unlocking. `listing` says why: OBJECT_UNLISTED or OBJECT_PURGED. */
void         shard_delist(struct cache *cache, struct shard *shard, struct object *object, enum object_listing listing);
struct fill *shard_find_fill(struct shard *shard, const struct object_name *name);
void         shard_list_fill(struct shard *shard, struct fill *fill);
void         shard_unlist_fill(struct fill *fill);

/* What is on disk under that hash is out of date. With the lock of its shard held. */
static inline bool cache_forget(struct cache *cache, uint64_t hash)
{
    return cache->store != NULL && store_forget(cache->store, hash);
}

/* Where it is larger, it is written in such slices. */
static inline uint64_t slice_bytes_by(const struct site_rules *rules)
{
    return rules->slice_bytes > 0 ? rules->slice_bytes : SLICE_DEFAULT_BYTES;
}

/* Purged or replaced while it was offered: then that may have come after what was said of it. It cannot have been evicted: the caller uses it. */
static inline void cache_recall_offer(struct cache *cache, const struct object *object)
{
    if (atomic_load_explicit(&object->listing, memory_order_acquire) != OBJECT_LISTED)
        store_forget(cache->store, object->hash);
}

/* It was just listed, and may be worth a place on disk. Without a lock. */
static inline void cache_offer(struct cache *cache, struct object *object, const struct site_rules *rules)
{
    if (cache->store == NULL)
        return;
    store_offer(cache->store, object, slice_bytes_by(rules));
    cache_recall_offer(cache, object);
}

/* object_touch said so. Without a lock. */
static inline void cache_offer_again(struct cache *cache, struct object *object, const struct site_rules *rules)
{
    if (!atomic_exchange_explicit(&object->is_refused, false, memory_order_relaxed))
        return;
    store_offer_again(cache->store, object, slice_bytes_by(rules));
    cache_recall_offer(cache, object);
}

/* Memory was given back, or became evictable: writers that wait for some try again. */
void cache_memory_freed(struct cache *cache);

#endif
