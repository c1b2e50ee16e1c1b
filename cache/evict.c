/* See evict.h. */
#include "cache/evict.h"

#include "cache/cache_state.h"

#include <assert.h>
#include <stdlib.h>

enum {
    SMALL_PART = 10, /* the small queue's part of all bytes */
    GHOST_WAYS = 4,
    GHOST_BYTES_PER_ENTRY = 4096, /* slab bytes for each place in the ghost: more places than there are objects of the usual sizes */
    STEPS_PER_LOCK = 64,          /* objects looked at before the lock is let go for a moment */
    PATIENCE_BYTES = 8 * SLAB_PAGE_BYTES,       /* to evict by policy before a page is emptied, hot or not (docs/EVICTION.md) */
    PATIENCE_AGAIN_BYTES = 4 * SLAB_PAGE_BYTES, /* and before another one is */
    ROUNDS_MAX = 32,                            /* attempts to free a whole page, each on other pages, before memory counts as exhausted */
    PAGE_OWNERS_MAX = SLAB_PAGE_BYTES / SLAB_UNIT_BYTES,
};

void evict_init(struct evict *evict, uint64_t slab_bytes, const struct cell_space *cells)
{
    *evict = (struct evict){.cells = cells, .ghost_sets = 64};
    pthread_mutex_init(&evict->lock, NULL);
    while (evict->ghost_sets * GHOST_WAYS * GHOST_BYTES_PER_ENTRY < slab_bytes)
        evict->ghost_sets *= 2;
    evict->ghost = calloc(evict->ghost_sets * GHOST_WAYS, sizeof *evict->ghost);
    if (evict->ghost == NULL)
        abort();
}

void evict_free(struct evict *evict)
{
    assert(evict->objects_count == 0 && evict->small_bytes == 0 && evict->main_bytes == 0);
    free(evict->ghost);
    pthread_mutex_destroy(&evict->lock);
}

uint64_t evict_ghost_bytes(const struct evict *evict)
{
    return evict->ghost_sets * GHOST_WAYS * sizeof *evict->ghost;
}

static uint64_t *ghost_set(const struct evict *evict, uint64_t hash)
{
    return &evict->ghost[(hash >> INDEX_SHARD_BITS & (evict->ghost_sets - 1)) * GHOST_WAYS];
}

static uint32_t fingerprint(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

static void ghost_remember(struct evict *evict, uint64_t hash)
{
    uint64_t *set = ghost_set(evict, hash);
    for (unsigned i = GHOST_WAYS - 1; i > 0; i--)
        set[i] = set[i - 1];
    set[0] = (uint64_t)fingerprint(hash) << 32 | ++evict->ghost_clock;
}

/* Whether it was evicted no longer ago than it takes to evict as many as are held. */
static bool ghost_forget(struct evict *evict, uint64_t hash)
{
    uint64_t *set = ghost_set(evict, hash);
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (set[i] >> 32 != fingerprint(hash))
            continue;
        uint32_t age = evict->ghost_clock - (uint32_t)set[i];
        set[i] = 0;
        return age <= evict->objects_count;
    }
    return false;
}

/* All of these with the lock held. */

static struct object *object_at(const struct evict *evict, uint32_t number)
{
    return number != 0 ? cell_at(evict->cells, number) : NULL;
}

static void line_append(const struct evict *evict, struct evict_line *line, struct object *object)
{
    uint32_t number = cell_number(evict->cells, object);
    struct object *newest = object_at(evict, line->newest);
    *(newest != NULL ? &newest->newer : &line->oldest) = number;
    object->older = line->newest;
    object->newer = 0;
    line->newest = number;
}

static void line_remove(const struct evict *evict, struct evict_line *line, struct object *object)
{
    struct object *older = object_at(evict, object->older), *newer = object_at(evict, object->newer);
    *(older != NULL ? &older->newer : &line->oldest) = object->newer;
    *(newer != NULL ? &newer->older : &line->newest) = object->older;
    object->older = object->newer = 0;
}

static void enqueue(struct evict *evict, struct object *object, enum evict_queue queue)
{
    assert(object->queue == QUEUE_NONE);
    object->queue = (uint8_t)queue;
    line_append(evict, queue == QUEUE_SMALL ? &evict->small : &evict->main, object);
    *(queue == QUEUE_SMALL ? &evict->small_bytes : &evict->main_bytes) += object_footprint(object);
    evict->objects_count++;
}

static void dequeue(struct evict *evict, struct object *object)
{
    assert(object->queue != QUEUE_NONE);
    *(object->queue == QUEUE_SMALL ? &evict->small_bytes : &evict->main_bytes) -= object_footprint(object);
    line_remove(evict, object->queue == QUEUE_SMALL ? &evict->small : &evict->main, object);
    object->queue = QUEUE_NONE;
    evict->objects_count--;
}

static bool is_orphan(const struct object *object)
{
    const struct object *selector = object_selector(object);
    return selector != NULL && atomic_load_explicit(&selector->listing, memory_order_relaxed) != OBJECT_LISTED;
}

static bool is_in_use(const struct object *object)
{
    return ref_count(&object->refs) > 1; /* one is the index's */
}

/* Looks at the oldest object of one queue: true when it is to be evicted, else it is put where it belongs now. */
static bool look_at(struct evict *evict, struct object *object)
{
    enum evict_queue from = object->queue;
    uint8_t frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed);
    bool used = is_in_use(object);
    if (!used && is_orphan(object))
        return true;
    enum evict_queue to = from == QUEUE_SMALL && (frequency > 1 || used) ? QUEUE_MAIN : from;
    bool stays = used || to != from || (from == QUEUE_MAIN && frequency > 0);
    if (!stays)
        return true;
    uint8_t left = to != from ? 0 : frequency > 0 && from == QUEUE_MAIN ? (uint8_t)(frequency - 1) : frequency;
    atomic_store_explicit(&object->frequency, left, memory_order_relaxed);
    dequeue(evict, object);
    enqueue(evict, object, to);
    return false;
}

static struct object *pick(struct evict *evict, bool small_first, uint64_t *steps)
{
    for (unsigned i = 0; i<STEPS_PER_LOCK && * steps> 0; i++, --*steps) {
        bool is_small = small_first || evict->small_bytes * SMALL_PART >= evict->small_bytes + evict->main_bytes;
        is_small = (is_small && evict->small.oldest != 0) || evict->main.oldest == 0;
        struct object *object = object_at(evict, is_small ? evict->small.oldest : evict->main.oldest);
        if (object == NULL || look_at(evict, object))
            return object;
    }
    return NULL;
}

/* Without the lock from here on. */

void evict_insert(struct evict *evict, struct object *object)
{
    pthread_mutex_lock(&evict->lock);
    enqueue(evict, object, ghost_forget(evict, object->hash) ? QUEUE_MAIN : QUEUE_SMALL);
    pthread_mutex_unlock(&evict->lock);
}

void evict_remove(struct evict *evict, struct object *object)
{
    pthread_mutex_lock(&evict->lock);
    if (object->queue != QUEUE_NONE) /* else evict_one has it */
        dequeue(evict, object);
    pthread_mutex_unlock(&evict->lock);
}

void evict_promote(struct evict *evict, struct object *object)
{
    pthread_mutex_lock(&evict->lock);
    if (object->queue == QUEUE_SMALL) {
        dequeue(evict, object);
        enqueue(evict, object, QUEUE_MAIN);
    }
    pthread_mutex_unlock(&evict->lock);
}

/* Takes the next victim out of its queue, with a reference. */
static struct object *search(struct evict *evict, bool small_first)
{
    uint64_t steps = UINT64_MAX;
    do {
        pthread_mutex_lock(&evict->lock);
        uint64_t most = evict->objects_count * (OBJECT_FREQUENCY_MAX + 2); /* each may be looked at once for each hit, and be moved once */
        steps = steps < most ? steps : most;
        struct object *object = pick(evict, small_first, &steps);
        if (object != NULL) {
            if (object->queue == QUEUE_SMALL)
                ghost_remember(evict, object->hash);
            object_ref(object); /* alive: it is in a queue, so the index has its reference */
            dequeue(evict, object);
            evict->evictions_count++;
            evict->evicted_bytes += object_footprint(object);
        }
        pthread_mutex_unlock(&evict->lock);
        if (object != NULL)
            return object;
    } while (steps > 0);
    return NULL;
}

static struct object *take_victim(struct evict *evict)
{
    struct object *object = search(evict, false);
    if (object == NULL) /* everything in main is in use */
        object = search(evict, true);
    return object != NULL ? object : search(evict, false); /* what that moved to main */
}

uint64_t evict_one(struct cache *cache)
{
    struct object *object = take_victim(&cache->evict);
    if (object == NULL)
        return 0;
    uint64_t bytes = object_footprint(object);
    struct object *listed = NULL;
    struct shard *shard = shard_of(cache, object->hash);
    pthread_mutex_lock(&shard->lock);
    if (atomic_load_explicit(&object->listing, memory_order_relaxed) == OBJECT_LISTED) {
        shard_delist(cache, shard, object, OBJECT_UNLISTED);
        listed = object;
    }
    pthread_mutex_unlock(&shard->lock);
    object_unref(cache, &listed);
    object_unref(cache, &object);
    return bytes;
}

/* Evicts an object because it stands in the way of a page. */
static uint64_t evict_this(struct cache *cache, struct object *object)
{
    if (atomic_load_explicit(&object->listing, memory_order_acquire) != OBJECT_LISTED)
        return 0; /* of a fill, maybe: its hash may not be read */
    struct shard *shard = shard_of(cache, object->hash);
    uint64_t bytes = 0;
    pthread_mutex_lock(&shard->lock);
    /* Its one reference beside the index's is ours. A selector in use by its variants stays: its loss would lose them all. */
    if (atomic_load_explicit(&object->listing, memory_order_relaxed) == OBJECT_LISTED && ref_count(&object->refs) <= 2) {
        bytes = object_footprint(object);
        shard_delist(cache, shard, object, OBJECT_UNLISTED);
    }
    pthread_mutex_unlock(&shard->lock);
    if (bytes == 0)
        return 0;
    pthread_mutex_lock(&cache->evict.lock);
    cache->evict.evictions_count++;
    cache->evict.evicted_bytes += bytes;
    pthread_mutex_unlock(&cache->evict.lock);
    struct object *listed = object;
    object_unref(cache, &listed);
    return bytes;
}

static uint64_t evict_page(struct cache *cache, unsigned attempt)
{
    uint32_t owners[PAGE_OWNERS_MAX];
    uint64_t freed = 0;
    size_t count = slab_page_owners(cache->slab, attempt, owners, PAGE_OWNERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct object *object = object_at(&cache->evict, owners[i]);
        if (!object_try_ref(object))
            continue;
        freed += evict_this(cache, object);
        object_unref(cache, &object);
    }
    return freed;
}

/* Evicts by policy until there is room; gives up when `patience` bytes were freed, in the wrong places. */
static struct extent alloc_by_policy(struct cache *cache, size_t bytes, uint32_t owner, uint64_t patience, uint64_t *freed)
{
    struct extent extent = {0, 0};
    *freed = 0;
    while (extent_is_none(extent) && *freed < patience) {
        uint64_t one = evict_one(cache);
        *freed += one;
        if (one == 0 || *freed >= bytes)
            extent = slab_alloc(cache->slab, bytes, owner);
        if (one == 0)
            break;
    }
    return extent;
}

static struct extent make_room(struct cache *cache, size_t bytes, uint32_t owner)
{
    struct extent extent = slab_alloc(cache->slab, bytes, owner);
    for (unsigned round = 0; extent_is_none(extent) && round < ROUNDS_MAX; round++) {
        uint64_t freed;
        extent = alloc_by_policy(cache, bytes, owner, round == 0 ? PATIENCE_BYTES : PATIENCE_AGAIN_BYTES, &freed);
        if (!extent_is_none(extent))
            break;
        /* Room of other classes, or on other pages, was freed: empty a whole page. */
        uint64_t freed_on_page = evict_page(cache, round);
        extent = slab_alloc(cache->slab, bytes, owner);
        if (freed + freed_on_page == 0)
            break;
    }
    /* All else is in use, by slow readers maybe: a chunk that is too large is better than a request refused. */
    return extent_is_none(extent) ? slab_alloc_larger(cache->slab, bytes, owner) : extent;
}

struct extent room_alloc(struct cache *cache, size_t bytes, struct object *owner)
{
    struct extent extent = make_room(cache, bytes, owner != NULL ? object_number(cache, owner) : 0);
    if (extent_is_none(extent)) {
        pthread_mutex_lock(&cache->evict.lock);
        cache->evict.failures_count++;
        pthread_mutex_unlock(&cache->evict.lock);
    }
    return extent;
}

/* A page to give back is had like one to write to: with the limit below what is held, free ones with memory come first, then what evicting makes free. */
uint64_t room_give_back(struct cache *cache, size_t pages, size_t most)
{
    size_t given = 0;
    slab_limit_pages(cache->slab, pages);
    while (given < most && slab_held_pages(cache->slab) > pages) {
        struct extent page = make_room(cache, SLAB_PAGE_BYTES, 0); /* a page has no owner */
        if (extent_is_none(page))
            break;
        slab_give_back(cache->slab, page);
        given++;
    }
    return given * (uint64_t)SLAB_PAGE_BYTES;
}

void room_for_overhead(struct cache *cache)
{
    while (cache_overhead_bytes(cache) > slab_bytes(cache->slab) / OVERHEAD_DIVISOR) {
        if (evict_one(cache) == 0)
            return;
    }
}
