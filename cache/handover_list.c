/* The old instance's side of a handover: the list. See handover.h.
 *
 * It goes through the shards, some buckets at a time: under the shard's lock references are taken, without it they are looked at. A bucket that is split
 * meanwhile may be come across twice; the second entry is then refused by the other side, as is all that has a name already. */
#include "cache/handover.h"

#include "cache/fill_state.h"

#include <string.h>

enum {
    BUCKETS_AT_ONCE = 8,
    BATCH_MAX = 4 * BUCKETS_AT_ONCE *
                INDEX_BUCKET_ENTRIES, /* more, and overflow buckets would be longer than they ever get: what is left is not listed */
    ALIGNMENT = 64,
};

struct lister {
    struct cache *cache;
    char *list;
    uint64_t at, end;
    struct handover_counts *counts;
    unsigned count;
    struct object *batch[BATCH_MAX];
    uint8_t queues[BATCH_MAX];
};

/* With the shard's lock held. */
static void gather(void *context, struct object *object)
{
    struct lister *lister = context;
    if (lister->count < BATCH_MAX)
        lister->batch[lister->count++] = object_ref(object);
}

static void note_queues(struct lister *lister)
{
    pthread_mutex_lock(&lister->cache->evict.lock);
    for (unsigned i = 0; i < lister->count; i++)
        lister->queues[i] = lister->batch[i]->queue;
    pthread_mutex_unlock(&lister->cache->evict.lock);
}

static bool is_lost(const struct object *object)
{
    const struct body *body = object_body(object);
    return object->record_is_lost || (body != NULL && body->tail_is_lost);
}

/* Whether a request could be served with it. */
static bool is_servable(struct cache *cache, const struct object *object)
{
    const struct object *selector = object_selector(object);
    return object->leave != atomic_load(&cache->leave) && !is_lost(object) && !object_is_purged(cache, object) &&
           (selector == NULL || atomic_load_explicit(&selector->listing, memory_order_acquire) == OBJECT_LISTED);
}

/* Of a body of its own; there is room for them. */
static void put_pieces(struct handover_piece *pieces, const struct body *body, uint64_t bytes)
{
    for (uint32_t i = 0; i < body->count; i++) {
        uint64_t start = body_extent_start(body, i), end = body_extent_start(body, i + 1);
        pieces[i] = (struct handover_piece){body->extents[i].unit, (uint32_t)((end < bytes ? end : bytes) - start)};
    }
}

static void put(struct lister *lister, const struct object *object, uint8_t queue)
{
    struct cache *cache = lister->cache;
    const struct record *record = object_record(cache, object);
    const struct body *body = object_body(object);
    const struct object *selector = object_selector(object);
    struct handover_entry entry = {
        .serial = object->kind != OBJECT_RESPONSE ? object_serial(object) : 0,
        .leader_serial = selector != NULL ? object_serial(selector) : 0,
        .leader_hash = selector != NULL ? selector->hash : 0,
        .body_bytes = object->kind == OBJECT_RESPONSE ? record_body_bytes(record) : 0,
        .unit = object->record_unit,
        .front_bytes = (uint32_t)record_front_bytes(record),
        .piece_count = body != NULL ? body->count : 0,
        .kind = object->kind,
        .queue = queue,
        .frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed),
        .flags = (uint8_t)((selector != NULL ? HANDOVER_HANGS : 0) |
                           (atomic_load_explicit(&object->is_refused, memory_order_relaxed) ? HANDOVER_REFUSED : 0)),
    };
    uint64_t bytes = sizeof entry + entry.piece_count * sizeof(struct handover_piece);
    if (bytes > lister->end - lister->at)
        return;
    struct handover_piece *pieces = (struct handover_piece *)(void *)(lister->list + lister->at + sizeof entry);
    if (body != NULL)
        put_pieces(pieces, body, entry.body_bytes);
    entry.check = handover_check(&cache->hash_key, &entry, pieces, record);
    memcpy(lister->list + lister->at, &entry, sizeof entry);
    lister->at += bytes;
    if (object->kind == OBJECT_RESPONSE) {
        lister->counts->responses++;
        lister->counts->bytes += object_footprint(object);
    }
}

static void list_batch(struct lister *lister)
{
    note_queues(lister);
    for (unsigned i = 0; i < lister->count; i++) {
        if (is_servable(lister->cache, lister->batch[i]))
            put(lister, lister->batch[i], lister->queues[i]);
        object_unref(lister->cache, &lister->batch[i]);
    }
    lister->count = 0;
}

static bool list_shard(struct lister *lister, struct shard *shard, const _Atomic bool *is_off)
{
    bool has_more = true;
    for (uint64_t from = 0; has_more; from += BUCKETS_AT_ONCE) {
        if (atomic_load_explicit(is_off, memory_order_relaxed))
            return false;
        pthread_mutex_lock(&shard->lock);
        has_more = index_visit(&shard->index, from, BUCKETS_AT_ONCE, gather, lister);
        pthread_mutex_unlock(&shard->lock);
        list_batch(lister);
    }
    return true;
}

static uint64_t align(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

bool cache_list(struct cache *cache, char *list, uint64_t bytes, const _Atomic bool *is_off, struct handover_counts *counts)
{
    struct handover_head head = {
        .magic = HANDOVER_MAGIC,
        .layout = HANDOVER_LAYOUT,
        .head_bytes = sizeof head,
        .entry_bytes = sizeof(struct handover_entry),
        .record_bytes = sizeof(struct record),
        .unit_bytes = SLAB_UNIT_BYTES,
        .key_proof = handover_key_proof(&cache->hash_key),
        .slab_bytes = slab_bytes(cache->slab),
        .marks_at = align(sizeof head),
        .entries_at = align(align(sizeof head) + slab_bytes(cache->slab) / SLAB_UNIT_BYTES / 8),
    };
    *counts = (struct handover_counts){0};
    if (head.entries_at > bytes)
        return false;
    struct lister lister = {.cache = cache, .list = list, .at = head.entries_at, .end = bytes, .counts = counts};
    slab_mark_released(cache->slab, (_Atomic uint64_t *)(void *)(list + head.marks_at));
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        if (!list_shard(&lister, &cache->shards[i], is_off))
            return false;
    }
    head.entries_end = lister.at;
    handover_list_unstorable(cache, list, head.entries_end, bytes);
    head.is_complete = true;
    memcpy(list, &head, sizeof head);
    return true;
}

void cache_end_list(struct cache *cache)
{
    slab_mark_released(cache->slab, NULL);
}
