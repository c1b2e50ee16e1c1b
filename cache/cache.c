/* The cache as a whole: made, taken down, counted. See cache.h and cache_state.h; lookups are in lookup.c. */
#include "cache/fill_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t disk_bytes(const struct store_settings *store)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; store != NULL && i < store->directory_count; i++)
        bytes += store->directories[i].segment_bytes * store->directories[i].segment_count;
    return bytes;
}

/* Addresses, of which only those come to be memory that objects and buckets need.
 *
 * Objects: what can be evicted takes a twentieth of the slab's size at most (OVERHEAD_DIVISOR), but small objects and large ones have blocks of their own, and what is in
 * use cannot be evicted. Each has a record of two units at least, so small objects never take more than half of the slab's size; large ones may have what
 * is left of that. When that is used up, there is no room for one more, as if the slab had none.
 * Overflow buckets: behind one that is full, so they are fewer than one for as many objects as a bucket has entries. */
static bool reserve_cells(struct cache *cache)
{
    enum { OBJECTS_PART = 2, LEAST_BYTES = 4 * 1024 * 1024 };
    uint64_t bytes = slab_bytes(cache->slab) / OBJECTS_PART + LEAST_BYTES;
    bytes = bytes < CELL_SPACE_MAX_BYTES ? bytes : CELL_SPACE_MAX_BYTES; /* the largest slab has 128 GiB */
    uint64_t buckets_max = bytes / sizeof(struct object) / INDEX_BUCKET_ENTRIES;
    if (!cell_space_init(&cache->object_space, bytes))
        return false;
    if (!cell_space_init(&cache->bucket_space, buckets_max * sizeof(struct bucket))) {
        cell_space_free(&cache->object_space);
        return false;
    }
    cells_init(&cache->small_objects, &cache->object_space, sizeof(struct object));
    cells_init(&cache->large_objects, &cache->object_space, sizeof(struct object_large));
    cells_init(&cache->buckets, &cache->bucket_space, sizeof(struct bucket));
    return true;
}

static void free_cells(struct cache *cache)
{
    cells_free(&cache->small_objects);
    cells_free(&cache->large_objects);
    cells_free(&cache->buckets);
    cell_space_free(&cache->object_space);
    cell_space_free(&cache->bucket_space);
}

struct cache *cache_new(const struct cache_settings *settings, const struct hash_key *hash_key)
{
    struct cache *cache = aligned_alloc(_Alignof(struct cache), sizeof *cache);
    if (cache == NULL)
        return NULL;
    memset(cache, 0, sizeof *cache);
    cache->slab = settings->slab;
    cache->slab_start = slab_start(cache->slab);
    cache->settings = *settings;
    cache->settings.store = NULL;
    cache->hash_key = *hash_key;
    if (!reserve_cells(cache)) {
        free(cache);
        return NULL;
    }
    evict_init(&cache->evict, slab_bytes(cache->slab), &cache->object_space);
    unstorable_init(&cache->unstorable);
    equivalents_init(&cache->equivalents);
    purge_table_init(&cache->purges);
    visitors_init(&cache->visitors);
    sizing_init(&cache->sizing, slab_bytes(cache->slab), disk_bytes(settings->store),
                settings->store != NULL && settings->store->admission == STORE_ADMIT_ALWAYS);
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        index_init(&shard->index, &cache->object_space, &cache->bucket_space);
        for (unsigned j = 0; j < SHARD_FILL_HEADS; j++)
            list_init(&shard->fills[j]);
    }
    pthread_mutex_init(&cache->memory_lock, NULL);
    list_init(&cache->memory_waiters);
    load_table_init(&cache->loads);
    atomic_init(&cache->selector_serial, settings->numbers_from);
    purge_raise(&cache->purges, settings->numbers_from);
    if (settings->store != NULL && settings->store->directory_count > 0)
        cache->store = store_new(cache, settings->store);
    return cache;
}

static void drop_object(struct cache *cache, struct object *object)
{
    atomic_store_explicit(&object->listing, OBJECT_UNLISTED, memory_order_relaxed);
    evict_remove(&cache->evict, object);
    object_unref(cache, &object);
}

void cache_free(struct cache **cache_pointer)
{
    struct cache *cache = *cache_pointer;
    *cache_pointer = NULL;
    if (cache == NULL)
        return;
    assert(cache->fills_count == 0 && cache->memory_waiters_count == 0);
    load_table_free(cache);
    store_free(&cache->store);
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        index_drain(&shard->index, drop_object, cache);
        index_free(&shard->index, &cache->buckets);
        pthread_mutex_destroy(&shard->lock);
    }
    assert(objects_in_use(cache) == 0); /* no reader is left */
    evict_free(&cache->evict);
    unstorable_free(&cache->unstorable);
    equivalents_free(&cache->equivalents);
    purge_table_free(&cache->purges);
    visitors_free(&cache->visitors);
    sizing_free(&cache->sizing);
    free_cells(cache);
    pthread_mutex_destroy(&cache->memory_lock);
    free(cache);
}

const struct hash_key *cache_hash_key(const struct cache *cache)
{
    return &cache->hash_key;
}

void cache_leave(struct cache *cache, bool leaves)
{
    if (leaves && ++cache->last_leave == 0)
        cache->last_leave = 1;
    atomic_store(&cache->has_left, leaves);
    atomic_store(&cache->leave, leaves ? cache->last_leave : 0);
}

bool cache_has_left(const struct cache *cache)
{
    return atomic_load(&cache->has_left);
}

struct store *cache_store(const struct cache *cache)
{
    return cache->store;
}

uint64_t cache_overhead_bytes(struct cache *cache)
{
    uint64_t buckets = objects_in_use(cache) / INDEX_LOAD + cells_in_use(&cache->buckets); /* those of their number, and overflow */
    return objects_bytes(cache) + buckets * sizeof(struct bucket) + atomic_load_explicit(&cache->body_table_bytes, memory_order_relaxed);
}

void cache_stats(struct cache *cache, struct cache_stats *stats)
{
    uint64_t entries = 0, buckets = cells_in_use(&cache->buckets);
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        entries += shard->index.entries_count;
        buckets += shard->index.bucket_count;
        pthread_mutex_unlock(&shard->lock);
    }
    *stats = (struct cache_stats){
        .objects = entries,
        .index_bytes = buckets * sizeof(struct bucket) + objects_bytes(cache) + evict_ghost_bytes(&cache->evict) + purge_table_bytes() +
                       atomic_load_explicit(&cache->body_table_bytes, memory_order_relaxed),
        .fills = atomic_load_explicit(&cache->fills_count, memory_order_relaxed),
        .purges = atomic_load_explicit(&cache->purges_count, memory_order_relaxed),
        .adopted = atomic_load_explicit(&cache->adopted_count, memory_order_relaxed),
        .adopted_bytes = atomic_load_explicit(&cache->adopted_bytes, memory_order_relaxed),
    };
    slab_stats(cache->slab, &stats->slab);
    pthread_mutex_lock(&cache->evict.lock);
    stats->object_bytes = cache->evict.small_bytes + cache->evict.main_bytes;
    stats->evictions = cache->evict.evictions_count;
    stats->evicted_bytes = cache->evict.evicted_bytes;
    stats->admission_failures = cache->evict.failures_count;
    pthread_mutex_unlock(&cache->evict.lock);
}

uint64_t cache_limit_memory(struct cache *cache, uint64_t bytes, uint64_t most_bytes)
{
    enum { LEAST_PAGES = 16, LEAST_PART = 16 };
    size_t all = slab_bytes(cache->slab) / SLAB_PAGE_BYTES, least = all / LEAST_PART > LEAST_PAGES ? all / LEAST_PART : LEAST_PAGES;
    size_t pages = bytes / SLAB_PAGE_BYTES;
    pages = pages < least ? least : pages < all ? pages : all;
    uint64_t given = room_give_back(cache, pages, most_bytes / SLAB_PAGE_BYTES);
    if (given > 0 || slab_held_pages(cache->slab) < pages)
        cache_memory_freed(cache);
    return given;
}

static uint64_t found_so_far(struct cache *cache)
{
    uint64_t found = visitors_found(&cache->visitors);
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        found += shard->found;
        pthread_mutex_unlock(&shard->lock);
    }
    return found;
}

void cache_sizing(struct cache *cache, struct sizing_report *report)
{
    sizing_report(&cache->sizing, found_so_far(cache), report);
}

void cache_turn_sizing(struct cache *cache)
{
    sizing_turn(&cache->sizing, found_so_far(cache));
}

void cache_memory_freed(struct cache *cache)
{
    if (atomic_load_explicit(&cache->memory_waiters_count, memory_order_seq_cst) == 0)
        return;
    pthread_mutex_lock(&cache->memory_lock);
    for (struct list *node; (node = list_pop_front(&cache->memory_waiters)) != NULL;) {
        struct fill *fill = LIST_OWNER(node, struct fill, memory_link);
        atomic_fetch_sub_explicit(&cache->memory_waiters_count, 1, memory_order_relaxed);
        waker_wake(fill->memory_waker);
    }
    pthread_mutex_unlock(&cache->memory_lock);
}
