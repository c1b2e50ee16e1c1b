/* See queue.h. */
#include "cache/disk/queue.h"

#include "cache/cache_state.h"
#include "cache/disk/admission.h"
#include "cache/disk/dead.h"
#include "cache/disk/logged.h"

#include <assert.h>
#include <stdlib.h>

void queue_init(struct store *store)
{
    pthread_mutex_init(&store->lock, NULL);
    for (unsigned i = 0; i < PENDING_HEADS; i++)
        list_init(&store->pending[i]);
    list_init(&store->log_waits);
    atomic_init(&store->log_position, 1);
    admission_init(store);
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        list_init(&directory->offers);
        /* Whole at once, for nothing is allocated under a lock; memory is taken as it is used. */
        directory->tombstones.hashes = calloc(TOMBSTONES_MAX, sizeof *directory->tombstones.hashes);
        directory->purges.at = calloc(PURGES_MAX, sizeof *directory->purges.at);
        if (directory->tombstones.hashes == NULL || directory->purges.at == NULL)
            abort();
    }
}

void queue_free(struct store *store)
{
    for (unsigned i = 0; i < PENDING_HEADS; i++) {
        for (struct list *node; (node = list_pop_front(&store->pending[i])) != NULL;)
            offer_free(LIST_OWNER(node, struct offer, by_hash));
    }
    for (unsigned i = 0; i < store->directory_count; i++) {
        free(store->directories[i].tombstones.hashes);
        free(store->directories[i].purges.at);
    }
    admission_free(store);
    pthread_mutex_destroy(&store->lock);
}

/* ---- offers ------------------------------------------------------------------------------------------------------------------------------ */

struct offer *offer_new(struct directory *directory, uint8_t kind, uint64_t hash)
{
    struct offer *offer = calloc(1, sizeof *offer);
    if (offer == NULL)
        abort();
    offer->directory = directory;
    offer->kind = kind;
    offer->hash = hash;
    list_init(&offer->link);
    list_init(&offer->by_hash);
    return offer;
}

void offer_free(struct offer *offer)
{
    struct cache *cache = offer->directory->store->cache;
    object_unref(cache, &offer->object);
    object_unref(cache, &offer->whole);
    if (!extent_is_none(offer->front))
        slab_release(cache->slab, offer->front);
    for (uint32_t i = 0; i < offer->page_count; i++)
        slab_release(cache->slab, offer->pages[i]);
    cache_memory_freed(cache); /* and what it held on to may be evicted now */
    free(offer->pages);
    free(offer);
}

static struct list *head_of(struct store *store, uint64_t hash)
{
    return &store->pending[hash >> 16 & (PENDING_HEADS - 1)];
}

/* With the lock held, all of these. */

static void list_offer(struct offer *offer)
{
    struct store *store = offer->directory->store;
    list_push_back(head_of(store, offer->hash), &offer->by_hash);
    offer->directory->offers_bytes += offer->pinned_bytes;
    offer->directory->moves_bytes += offer->is_moved ? offer->pinned_bytes : 0;
    offer->directory->moves_count += offer->is_moved;
    count_add(&store->queue_bytes, offer->pinned_bytes);
}

static void unlist_offer(struct offer *offer)
{
    list_remove(&offer->by_hash);
    list_remove(&offer->link);
    offer->directory->offers_bytes -= offer->pinned_bytes;
    offer->directory->moves_bytes -= offer->is_moved ? offer->pinned_bytes : 0;
    offer->directory->moves_count -= offer->is_moved;
    atomic_fetch_sub_explicit(&offer->directory->store->queue_bytes, offer->pinned_bytes, memory_order_relaxed);
}

static void overflow(struct directory *directory)
{
    directory->has_overflowed = true;
    directory->tombstones.count = directory->purges.count = 0;
}

void tombstone_add(struct directory *directory, uint64_t hash)
{
    struct tombstones *ring = &directory->tombstones;
    if (directory->has_overflowed)
        return;
    if (ring->count == TOMBSTONES_MAX) {
        overflow(directory);
        return;
    }
    ring->hashes[(ring->first + ring->count++) % TOMBSTONES_MAX] = hash;
    logged_note(directory, false);
}

enum { PENDING_NONE, PENDING_WAITS, PENDING_UNDER_WAY };

static int make_void(struct store *store, uint64_t hash)
{
    int found = PENDING_NONE;
    LIST_FOR_EACH(node, head_of(store, hash))
    {
        struct offer *offer = LIST_OWNER(node, struct offer, by_hash);
        if (offer->hash != hash || offer->is_void)
            continue;
        offer->is_void = true;
        found = offer->is_under_way ? PENDING_UNDER_WAY : PENDING_WAITS;
    }
    return found;
}

static bool is_pending(struct store *store, uint64_t hash)
{
    bool found = false;
    LIST_FOR_EACH(node, head_of(store, hash))
    {
        const struct offer *offer = LIST_OWNER(node, struct offer, by_hash);
        found |= offer->hash == hash && !offer->is_void;
    }
    return found;
}

static bool forget(struct store *store, uint64_t hash)
{
    struct directory *directory = directory_of(store, hash);
    bool was_there = disk_index_remove(store->index, hash);
    int pending = make_void(store, hash);
    if (was_there)
        atomic_fetch_sub_explicit(&directory->records, 1, memory_order_relaxed);
    if (directory->is_latent && store->dead != NULL && !directory->has_overflowed)
        dead_add(store->dead, hash, UINT64_MAX);
    if (was_there || directory->is_latent || pending == PENDING_UNDER_WAY)
        tombstone_add(directory, hash);
    return was_there || pending != PENDING_NONE;
}

/* What is there under the offer's name is out of date; or, where the offer comes late, it may be younger. Whether the offer is to be written. */
static bool is_admitted(struct store *store, const struct offer *offer, bool is_hit, uint64_t name)
{
    struct disk_entry entry;
    if (is_hit)
        return !disk_index_find(store->index, offer->hash, &entry) && !is_pending(store, offer->hash);
    if (forget(store, offer->hash) || admission_takes(store, offer, name))
        return true;
    atomic_store_explicit(&offer->object->is_refused, true, memory_order_relaxed);
    return false;
}

static bool has_room(struct store *store, const struct offer *offer)
{
    return !store->is_draining && !directory_is_bypassed(offer->directory) && !offer->directory->has_overflowed &&
           count_get(&store->queue_bytes) + offer->pinned_bytes <= store->queue_max_bytes;
}

/* The lock is taken from here on. */

bool queue_forget(struct store *store, uint64_t hash, bool is_urgent)
{
    pthread_mutex_lock(&store->lock);
    uint64_t before = store_log_position(store);
    bool was_there = forget(store, hash);
    /* While recovery goes on there may be something all the same; the tombstone of what is merely latent can wait. */
    is_urgent &= (was_there || store->dead != NULL) && store_log_position(store) != before;
    if (is_urgent)
        directory_of(store, hash)->is_urgent = true;
    pthread_mutex_unlock(&store->lock);
    if (is_urgent)
        store_wake(store);
    return was_there;
}

void queue_purge(struct store *store, const struct store_purge *purge)
{
    pthread_mutex_lock(&store->lock);
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        struct purges *ring = &directory->purges;
        if (directory->has_overflowed)
            continue;
        if (ring->count == PURGES_MAX) {
            overflow(directory);
            continue;
        }
        ring->at[(ring->first + ring->count++) % PURGES_MAX] = *purge;
        logged_note(directory, true);
    }
    pthread_mutex_unlock(&store->lock);
    store_wake(store);
}

bool queue_offer(struct offer *offer, bool is_hit)
{
    struct store *store = offer->directory->store;
    uint64_t name = admission_name(offer);
    offer->pinned_bytes = object_footprint(offer->object);
    pthread_mutex_lock(&store->lock);
    bool admitted = is_admitted(store, offer, is_hit, name);
    bool accepted = admitted && has_room(store, offer);
    if (accepted) {
        list_offer(offer);
        list_push_back(&offer->directory->offers, &offer->link);
    }
    bool is_much = offer->directory->offers_bytes >= queue_enough_bytes(store);
    pthread_mutex_unlock(&store->lock);
    count_add(&store->offered, 1);
    if (!admitted)
        count_add(&store->refused, 1);
    else if (!accepted)
        count_add(&store->dropped, 1);
    else if (is_much)
        store_wake(store);
    if (!accepted)
        offer_free(offer);
    return accepted;
}

bool queue_push_instead(struct offer *offer, const struct offer *of)
{
    struct store *store = offer->directory->store;
    pthread_mutex_lock(&store->lock);
    bool is_void = of != NULL && of->is_void;
    if (!is_void) {
        list_offer(offer);
        list_push_front(&offer->directory->offers, &offer->link);
    }
    pthread_mutex_unlock(&store->lock);
    if (is_void)
        offer_free(offer);
    return !is_void;
}

void queue_push_front(struct offer *offer)
{
    queue_push_instead(offer, NULL);
}

bool queue_begin_move(struct offer *offer)
{
    struct store *store = offer->directory->store;
    struct disk_entry entry;
    pthread_mutex_lock(&store->lock);
    bool is_there = disk_index_find(store->index, offer->hash, &entry) && entry.unit == offer->from;
    if (is_there)
        list_offer(offer);
    pthread_mutex_unlock(&store->lock);
    return is_there;
}

struct offer *queue_take(struct directory *directory)
{
    for (;;) {
        pthread_mutex_lock(&directory->store->lock);
        struct list *node = list_pop_front(&directory->offers);
        struct offer *offer = node != NULL ? LIST_OWNER(node, struct offer, link) : NULL;
        bool is_void = offer != NULL && offer->is_void;
        if (is_void)
            unlist_offer(offer);
        pthread_mutex_unlock(&directory->store->lock);
        if (!is_void)
            return offer;
        offer_free(offer);
    }
}

void queue_return(struct offer *offer)
{
    pthread_mutex_lock(&offer->directory->store->lock);
    list_push_front(&offer->directory->offers, &offer->link);
    pthread_mutex_unlock(&offer->directory->store->lock);
}

bool queue_has(struct store *store, uint64_t hash)
{
    pthread_mutex_lock(&store->lock);
    bool found = is_pending(store, hash);
    pthread_mutex_unlock(&store->lock);
    return found;
}

void offer_drop(struct offer *offer)
{
    struct directory *directory = offer->directory;
    struct store *store = directory->store;
    pthread_mutex_lock(&store->lock);
    unlist_offer(offer);
    /* Nobody forgot it: the record that was to be moved is still where it was, and is latent there. */
    if (offer->is_moved && disk_index_remove_at(store->index, offer->hash, offer->from))
        atomic_fetch_sub_explicit(&directory->records, 1, memory_order_relaxed);
    pthread_mutex_unlock(&store->lock);
    offer_free(offer);
}

static void drop_waiting(struct directory *directory, bool moves_only)
{
    struct list kept;
    list_init(&kept);
    for (struct offer *offer; (offer = queue_take(directory)) != NULL;) {
        if (moves_only && !offer->is_moved) {
            list_push_back(&kept, &offer->link);
            continue;
        }
        count_add(&directory->store->dropped, offer->is_moved ? 0 : 1);
        offer_drop(offer);
    }
    while (!list_is_empty(&kept)) {
        struct offer *last = LIST_OWNER(kept.prev, struct offer, link);
        list_remove(&last->link);
        queue_return(last);
    }
}

void queue_drop_all(struct directory *directory)
{
    drop_waiting(directory, false);
}

void queue_drop_moves(struct directory *directory)
{
    drop_waiting(directory, true);
}

/* ---- departures -------------------------------------------------------------------------------------------------------------------------- */

/* With the lock held. */
static void copy_controls(struct directory *directory, struct departure *departure)
{
    const struct tombstones *tombstones = &directory->tombstones;
    const struct purges *purges = &directory->purges;
    departure->tombstones_count = tombstones->count < departure->tombstones_max ? tombstones->count : departure->tombstones_max;
    for (uint32_t i = 0; i < departure->tombstones_count; i++)
        departure->hashes[i] = tombstones->hashes[(tombstones->first + i) % TOMBSTONES_MAX];
    departure->purges_count = purges->count < departure->purges_max ? purges->count : departure->purges_max;
    for (uint32_t i = 0; i < departure->purges_count; i++) {
        departure->purges[i] = purges->at[(purges->first + i) % PURGES_MAX];
        if (departure->purges[i].sequence <= directory->store->purge_floor) /* it was done before that was known */
            departure->purges[i].sequence = directory->store->purge_floor + 1;
    }
}

void queue_depart(struct directory *directory, struct departure *departure)
{
    struct list dropped;
    unsigned kept = 0;
    list_init(&dropped);
    pthread_mutex_lock(&directory->store->lock);
    copy_controls(directory, departure);
    bool goes_back = departure->tombstones_count < directory->tombstones.count;
    bool is_all = !goes_back && departure->purges_count == directory->purges.count;
    departure->position = is_all ? store_log_position(directory->store) : 0;
    directory->is_urgent &= !is_all;
    for (unsigned i = departure->offers_count; i-- > 0;) {
        struct offer *offer = departure->offers[i];
        if (offer->is_void) {
            unlist_offer(offer);
            list_push_back(&dropped, &offer->link);
            departure->offers[i] = NULL;
        } else if (goes_back) {
            list_push_front(&directory->offers, &offer->link);
            departure->offers[i] = NULL;
        } else {
            offer->is_under_way = true;
        }
    }
    pthread_mutex_unlock(&directory->store->lock);
    for (unsigned i = 0; i < departure->offers_count; i++) {
        if (departure->offers[i] != NULL)
            departure->offers[kept++] = departure->offers[i];
    }
    departure->offers_count = kept;
    for (struct list *node; (node = list_pop_front(&dropped)) != NULL;)
        offer_free(LIST_OWNER(node, struct offer, link));
}

void queue_arrived(struct directory *directory, uint32_t tombstones, uint32_t purges, uint64_t position)
{
    if (tombstones + purges == 0)
        return;
    pthread_mutex_lock(&directory->store->lock);
    if (tombstones <= directory->tombstones.count && purges <= directory->purges.count) { /* else there was an overflow */
        directory->tombstones.first = (directory->tombstones.first + tombstones) % TOMBSTONES_MAX;
        directory->tombstones.count -= tombstones;
        directory->purges.first = (directory->purges.first + purges) % PURGES_MAX;
        directory->purges.count -= purges;
        directory->logged = position > 0 ? position : directory->logged;
    }
    pthread_mutex_unlock(&directory->store->lock);
    logged_wake(directory->store);
}

void offer_arrive(struct offer *offer, const struct disk_entry *entry)
{
    struct directory *directory = offer->directory;
    struct store *store = directory->store;
    pthread_mutex_lock(&store->lock);
    bool is_new = false, is_put = !offer->is_void;
    if (is_put && offer->is_moved)
        is_put = disk_index_move(store->index, offer->hash, offer->from, entry);
    else if (is_put)
        is_new = !disk_index_put(store->index, offer->hash, entry);
    /* What else would find it after a restart is told otherwise: who forgot it left a tombstone, but who displaced it did not. */
    if (!is_put && !offer->is_void)
        tombstone_add(directory, offer->hash);
    if (is_new)
        atomic_fetch_add_explicit(&directory->records, 1, memory_order_relaxed);
    unlist_offer(offer);
    pthread_mutex_unlock(&store->lock);
    offer_free(offer);
}

void offer_fail(struct offer *offer)
{
    struct directory *directory = offer->directory;
    pthread_mutex_lock(&directory->store->lock);
    tombstone_add(directory, offer->hash); /* it may be there nevertheless, and nobody would know */
    pthread_mutex_unlock(&directory->store->lock);
    count_add(&directory->store->dropped, 1);
    offer_drop(offer);
}

struct queue_state queue_look(struct directory *directory)
{
    pthread_mutex_lock(&directory->store->lock);
    struct queue_state state = {
        .offers_bytes = directory->offers_bytes,
        .moves_bytes = directory->moves_bytes,
        .moves_count = directory->moves_count,
        .has_offers = !list_is_empty(&directory->offers),
        .is_urgent = directory->is_urgent,
        .is_drained = list_is_empty(&directory->offers) && logged_has(directory, directory->store->drain_position),
        .tombstones_count = directory->tombstones.count,
        .purges_count = directory->purges.count,
    };
    pthread_mutex_unlock(&directory->store->lock);
    return state;
}
