/* See ghosts.h. */
#include "cache/ghosts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    USUAL_BYTES = 16 * 1024, /* of a response, to begin with */
    DEPARTED_DIVISOR = 4,    /* this part of the entries remembers what is in no cache any more, before the sample is narrowed */
    NONE = UINT32_MAX,
    CACHES = GHOST_SIZES + 1,
    MEMORY = GHOST_SIZES, /* the memory above disks */
    /* of evict.c */
    SMALL_PART = 10,
    PROMOTE_HITS = 2,
    HITS_MAX = 3,
    OBJECT_MAX_PART = 4, /* of a cache, that one response may take (cache.object_max) */
};

enum place_queue { PLACE_NONE, PLACE_SMALL, PLACE_MAIN };

const double ghost_times[GHOST_SIZES] = {0.5, 1, 2, 4, 8};

/* Of one entry in one cache. */
struct place {
    uint32_t previous, next;
    uint32_t forgotten_at; /* the cache's clock when it left the small queue; 0: not remembered */
    uint8_t queue, hits;
};

struct entry {
    uint64_t hash;
    uint64_t bytes;
    uint32_t chain;
    uint32_t previous, next; /* among the departed; `next` alone: among the free */
    uint8_t places_count;    /* caches that it is in; 0: departed */
    struct place places[CACHES];
};

struct line {
    uint32_t first, last; /* oldest, newest */
    uint64_t bytes;
};

struct ghost {
    uint64_t capacity, capacity_sampled;
    struct line queues[PLACE_MAIN + 1];
    uint32_t count, clock;
    bool was_full;
    double misses;
};

struct ghosts {
    uint64_t threshold;
    double weight; /* requests that one in the sample stands for */
    bool are_disks, admits_all;
    struct ghost caches[CACHES];
    struct entry *entries;
    uint32_t entries_max, used; /* used: entries ever taken */
    uint32_t free;
    struct line departed; /* bytes: their number */
    uint32_t *buckets, buckets_mask;
};

/* ---- the sample ------------------------------------------------------------------------------------------------------------------------- */

static const uint64_t everything = UINT64_C(1) << GHOST_HASH_SHIFT;

static void set_threshold(struct ghosts *ghosts, uint64_t threshold)
{
    ghosts->threshold = threshold;
    ghosts->weight = (double)everything / (double)threshold;
    for (unsigned i = 0; i < CACHES; i++)
        ghosts->caches[i].capacity_sampled = (uint64_t)((double)ghosts->caches[i].capacity / ghosts->weight);
}

uint64_t ghosts_threshold(const struct ghosts *ghosts)
{
    return ghosts->threshold;
}

static bool is_sampled(const struct ghosts *ghosts, uint64_t hash)
{
    return hash >> GHOST_HASH_SHIFT < ghosts->threshold;
}

static void *allocate(size_t count, size_t bytes)
{
    void *at = calloc(count, bytes);
    if (at == NULL)
        abort();
    return at;
}

struct ghosts *ghosts_new(const struct ghosts_settings *settings)
{
    struct ghosts *ghosts = allocate(1, sizeof *ghosts);
    double largest = (double)settings->capacities[GHOST_SIZES - 1] / USUAL_BYTES;
    uint32_t entries_max = settings->entries_max;
    uint32_t buckets = 1;
    while (buckets < entries_max)
        buckets *= 2;
    ghosts->entries_max = entries_max;
    ghosts->entries = allocate(entries_max, sizeof *ghosts->entries);
    ghosts->buckets = allocate(buckets, sizeof *ghosts->buckets);
    ghosts->buckets_mask = buckets - 1;
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        ghosts->caches[i].capacity = settings->capacities[i];
    ghosts->caches[MEMORY].capacity = settings->memory_bytes;
    ghosts->are_disks = settings->memory_bytes > 0;
    ghosts->admits_all = settings->admits_all;
    set_threshold(ghosts, largest > entries_max ? (uint64_t)((double)everything * entries_max / largest) : everything);
    ghosts_forget_all(ghosts);
    return ghosts;
}

void ghosts_free(struct ghosts **ghosts)
{
    if (*ghosts == NULL)
        return;
    free((*ghosts)->entries);
    free((*ghosts)->buckets);
    free(*ghosts);
    *ghosts = NULL;
}

/* ---- entries ---------------------------------------------------------------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct ghosts *ghosts, uint64_t hash)
{
    return &ghosts->buckets[hash & ghosts->buckets_mask];
}

static uint32_t find(const struct ghosts *ghosts, uint64_t hash)
{
    uint32_t at = *bucket_of(ghosts, hash);
    while (at != NONE && ghosts->entries[at].hash != hash)
        at = ghosts->entries[at].chain;
    return at;
}

static void push_departed(struct ghosts *ghosts, uint32_t at)
{
    struct entry *entry = &ghosts->entries[at];
    entry->previous = ghosts->departed.last;
    entry->next = NONE;
    *(entry->previous == NONE ? &ghosts->departed.first : &ghosts->entries[entry->previous].next) = at;
    ghosts->departed.last = at;
    ghosts->departed.bytes++;
}

static void take_departed(struct ghosts *ghosts, uint32_t at)
{
    const struct entry *entry = &ghosts->entries[at];
    *(entry->previous == NONE ? &ghosts->departed.first : &ghosts->entries[entry->previous].next) = entry->next;
    *(entry->next == NONE ? &ghosts->departed.last : &ghosts->entries[entry->next].previous) = entry->previous;
    ghosts->departed.bytes--;
}

/* It is in no cache, and not among the departed. */
static void give_back(struct ghosts *ghosts, uint32_t at)
{
    struct entry *entry = &ghosts->entries[at];
    uint32_t *link = bucket_of(ghosts, entry->hash);
    assert(entry->places_count == 0);
    while (*link != at)
        link = &ghosts->entries[*link].chain;
    *link = entry->chain;
    entry->next = ghosts->free;
    ghosts->free = at;
}

/* ---- one cache -------------------------------------------------------------------------------------------------------------------------- */

static void push(struct ghosts *ghosts, unsigned number, uint32_t at, enum place_queue to)
{
    struct ghost *cache = &ghosts->caches[number];
    struct line *queue = &cache->queues[to];
    struct place *place = &ghosts->entries[at].places[number];
    place->queue = (uint8_t)to;
    place->previous = queue->last;
    place->next = NONE;
    *(queue->last == NONE ? &queue->first : &ghosts->entries[queue->last].places[number].next) = at;
    queue->last = at;
    queue->bytes += ghosts->entries[at].bytes;
    cache->count++;
    ghosts->entries[at].places_count++;
}

static void take(struct ghosts *ghosts, unsigned number, uint32_t at)
{
    struct ghost *cache = &ghosts->caches[number];
    struct place *place = &ghosts->entries[at].places[number];
    struct line *queue = &cache->queues[place->queue];
    *(place->previous == NONE ? &queue->first : &ghosts->entries[place->previous].places[number].next) = place->next;
    *(place->next == NONE ? &queue->last : &ghosts->entries[place->next].places[number].previous) = place->previous;
    queue->bytes -= ghosts->entries[at].bytes;
    place->queue = PLACE_NONE;
    cache->count--;
    ghosts->entries[at].places_count--;
}

static uint64_t used_bytes(const struct ghost *cache)
{
    return cache->queues[PLACE_SMALL].bytes + cache->queues[PLACE_MAIN].bytes;
}

/* As evict.c's look_at: true when it was evicted, else it was put where it belongs now. */
static bool look_at(struct ghosts *ghosts, unsigned number, uint32_t at)
{
    struct ghost *cache = &ghosts->caches[number];
    struct place *place = &ghosts->entries[at].places[number];
    enum place_queue from = place->queue;
    bool stays = place->hits >= (from == PLACE_SMALL ? PROMOTE_HITS : 1);
    take(ghosts, number, at);
    if (stays) {
        place->hits = from == PLACE_SMALL ? 0 : (uint8_t)(place->hits - 1);
        push(ghosts, number, at, PLACE_MAIN);
        return false;
    }
    if (from == PLACE_SMALL)
        place->forgotten_at = ++cache->clock;
    if (ghosts->entries[at].places_count == 0)
        push_departed(ghosts, at);
    return true;
}

static void evict(struct ghosts *ghosts, unsigned number)
{
    struct ghost *cache = &ghosts->caches[number];
    const struct line *small = &cache->queues[PLACE_SMALL], *main = &cache->queues[PLACE_MAIN];
    cache->was_full = true;
    for (;;) {
        bool is_small = (small->bytes * SMALL_PART >= used_bytes(cache) && small->first != NONE) || main->first == NONE;
        if (look_at(ghosts, number, is_small ? small->first : main->first))
            return;
    }
}

static void make_room(struct ghosts *ghosts, unsigned number, uint64_t bytes)
{
    struct ghost *cache = &ghosts->caches[number];
    while (cache->count > 0 && used_bytes(cache) + bytes > cache->capacity_sampled)
        evict(ghosts, number);
}

static void insert(struct ghosts *ghosts, unsigned number, uint32_t at)
{
    struct ghost *cache = &ghosts->caches[number];
    struct entry *entry = &ghosts->entries[at];
    struct place *place = &entry->places[number];
    if (entry->bytes > cache->capacity_sampled || entry->bytes > cache->capacity / OBJECT_MAX_PART)
        return;
    make_room(ghosts, number, entry->bytes);
    bool returns = place->forgotten_at != 0 && cache->clock - place->forgotten_at < cache->count;
    place->forgotten_at = 0;
    place->hits = 0;
    bool is_disk = ghosts->are_disks && number != MEMORY; /* a disk is one queue; what was read gets one more round */
    push(ghosts, number, at, returns || is_disk ? PLACE_MAIN : PLACE_SMALL);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------ */

static void drop(struct ghosts *ghosts, uint32_t at)
{
    struct entry *entry = &ghosts->entries[at];
    if (entry->places_count == 0)
        take_departed(ghosts, at);
    for (unsigned i = 0; i < CACHES; i++) {
        if (entry->places[i].queue != PLACE_NONE)
            take(ghosts, i, at);
    }
    give_back(ghosts, at);
}

/* By a quarter: few enough entries are dropped at a time for a loop not to notice. */
static void narrow(struct ghosts *ghosts)
{
    set_threshold(ghosts, ghosts->threshold - ghosts->threshold / 4);
    for (uint32_t bucket = 0; bucket <= ghosts->buckets_mask; bucket++) {
        for (uint32_t at = ghosts->buckets[bucket], next; at != NONE; at = next) {
            next = ghosts->entries[at].chain;
            if (!is_sampled(ghosts, ghosts->entries[at].hash))
                drop(ghosts, at);
        }
    }
}

/* NONE: it is not in the sample any more. */
static uint32_t take_entry(struct ghosts *ghosts, uint64_t hash)
{
    while (ghosts->free == NONE && ghosts->used == ghosts->entries_max) {
        if (ghosts->departed.bytes > ghosts->entries_max / DEPARTED_DIVISOR)
            drop(ghosts, ghosts->departed.first);
        else
            narrow(ghosts);
    }
    if (!is_sampled(ghosts, hash))
        return NONE;
    uint32_t at = ghosts->free;
    if (at != NONE)
        ghosts->free = ghosts->entries[at].next;
    else
        at = ghosts->used++;
    uint32_t *bucket = bucket_of(ghosts, hash);
    ghosts->entries[at] = (struct entry){.hash = hash, .chain = *bucket};
    *bucket = at;
    return at;
}

static void resize(struct ghosts *ghosts, uint32_t at, uint64_t bytes)
{
    struct entry *entry = &ghosts->entries[at];
    for (unsigned i = 0; i < CACHES; i++) {
        if (entry->places[i].queue != PLACE_NONE)
            ghosts->caches[i].queues[entry->places[i].queue].bytes += bytes - entry->bytes;
    }
    entry->bytes = bytes;
}

/* True: it was there. */
static bool refer_to_memory(struct ghosts *ghosts, unsigned number, uint32_t at)
{
    struct place *place = &ghosts->entries[at].places[number];
    if (place->queue == PLACE_NONE) {
        insert(ghosts, number, at);
        return false;
    }
    place->hits = place->hits < HITS_MAX ? place->hits + 1 : HITS_MAX;
    return true;
}

static bool refer_to_disk(struct ghosts *ghosts, unsigned number, uint32_t at, bool in_memory, bool is_known)
{
    struct place *place = &ghosts->entries[at].places[number];
    if (place->queue == PLACE_NONE) {
        if (ghosts->admits_all || is_known || !ghosts->caches[number].was_full)
            insert(ghosts, number, at);
        return in_memory;
    }
    if (!in_memory)
        place->hits = 1;
    return true;
}

/* NONE: it is not in the sample. Else it is not among the departed any more. */
static uint32_t find_or_take(struct ghosts *ghosts, uint64_t hash, bool *is_known)
{
    uint32_t at = find(ghosts, hash);
    *is_known = at != NONE;
    if (at == NONE)
        return take_entry(ghosts, hash);
    if (ghosts->entries[at].places_count == 0)
        take_departed(ghosts, at);
    return at;
}

void ghosts_refer(struct ghosts *ghosts, uint64_t hash, uint64_t bytes, bool was_found)
{
    bool is_known;
    uint32_t at = find_or_take(ghosts, hash, &is_known);
    if (at == NONE)
        return;
    struct entry *entry = &ghosts->entries[at];
    if (entry->bytes != bytes)
        resize(ghosts, at, bytes);
    entry->places_count++; /* so that no eviction below lets it depart */
    bool in_memory = ghosts->are_disks && refer_to_memory(ghosts, MEMORY, at);
    for (unsigned i = 0; i < GHOST_SIZES; i++) {
        bool is_hit = ghosts->are_disks ? refer_to_disk(ghosts, i, at, in_memory, is_known) : refer_to_memory(ghosts, i, at);
        bool was_before = was_found && !is_known && i >= GHOST_SIZE_BUILT;
        if (!is_hit && !was_before)
            ghosts->caches[i].misses += ghosts->weight;
    }
    entry->places_count--;
    if (entry->places_count == 0)
        push_departed(ghosts, at);
}

void ghosts_resize(struct ghosts *ghosts, uint64_t hash, uint64_t bytes)
{
    uint32_t at = find(ghosts, hash);
    if (at != NONE)
        resize(ghosts, at, bytes);
}

void ghosts_forget(struct ghosts *ghosts, uint64_t hash)
{
    uint32_t at = find(ghosts, hash);
    if (at != NONE)
        drop(ghosts, at);
}

void ghosts_forget_all(struct ghosts *ghosts)
{
    static const struct line empty = {NONE, NONE, 0};
    memset(ghosts->buckets, 0xff, (ghosts->buckets_mask + (size_t)1) * sizeof *ghosts->buckets); /* NONE */
    ghosts->used = 0;
    ghosts->free = NONE;
    ghosts->departed = empty;
    for (unsigned i = 0; i < CACHES; i++) {
        ghosts->caches[i].queues[PLACE_SMALL] = ghosts->caches[i].queues[PLACE_MAIN] = empty;
        ghosts->caches[i].count = ghosts->caches[i].clock = 0;
    }
}

void ghosts_misses(const struct ghosts *ghosts, double misses[GHOST_SIZES])
{
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        misses[i] = ghosts->caches[i].misses;
}

uint64_t ghosts_memory_bytes(const struct ghosts *ghosts)
{
    return sizeof *ghosts + ghosts->entries_max * sizeof *ghosts->entries + (ghosts->buckets_mask + (uint64_t)1) * sizeof *ghosts->buckets;
}
