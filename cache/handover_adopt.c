/* The new instance's side of a handover: from the other's slab into this one. See handover.h.
 *
 * Ownership: until a response is listed, its extents belong to a cell that is no object yet, as with what is read from disk (disk/load_record.c). */
#include "cache/handover.h"

#include "cache/fill_state.h"

#include <stdlib.h>
#include <string.h>

enum {
    RANKS = 2 * (OBJECT_FREQUENCY_MAX + 1), /* of responses, by use */
    RANK_SLICED = RANKS,
    RANK_SELECTOR,
    FAILURES_MAX = 256, /* entries in turn that find no room, before memory counts as full: what is smaller may still fit */
};

struct adoption {
    struct cache *cache;
    const struct handover *from;
    struct handover_report *report;
    struct handover_head head; /* a copy, like all that decides anything */
    struct handover_entry entry;
    struct handover_piece *pieces; /* of the entry; room for pieces_max */
    uint32_t pieces_max;
    bool lacks_room;     /* the entry */
    unsigned failures;   /* entries that did, in turn */
    struct arena arena;  /* of the entry */
    struct object *cell; /* owns what is below */
    struct extent front;
    struct body *body;
    struct object *selector; /* a reference, or NULL */
};

void cache_await_adoption(struct cache *cache)
{
    cache->adopts_since = purge_sequence(&cache->purges);
    atomic_store(&cache->is_adopting, true);
}

/* ---- the list ----------------------------------------------------------------------------------------------------------------------------- */

enum handover_verdict handover_read_head(const struct cache *cache, const struct handover *from, struct handover_head *head)
{
    if (from->list_bytes < sizeof *head)
        return HANDOVER_DAMAGED;
    memcpy(head, from->list, sizeof *head);
    const struct handover_head none = {0};
    if (memcmp(head, &none, sizeof none) == 0)
        return HANDOVER_NOTHING;
    if (memcmp(head->magic, HANDOVER_MAGIC, sizeof head->magic) != 0 || head->layout < HANDOVER_LAYOUT_OLDEST ||
        head->layout > HANDOVER_LAYOUT || head->head_bytes != sizeof *head || head->entry_bytes != sizeof(struct handover_entry) ||
        head->record_bytes != sizeof(struct record) || head->unit_bytes != SLAB_UNIT_BYTES)
        return HANDOVER_OTHER_LAYOUT;
    if (head->key_proof != handover_key_proof(&cache->hash_key))
        return HANDOVER_OTHER_KEY;
    uint64_t marks_bytes = from->slab_bytes / SLAB_UNIT_BYTES / 8;
    bool is_sound = head->is_complete == 1 && head->slab_bytes == from->slab_bytes && head->entries_end <= from->list_bytes &&
                    head->entries_at <= head->entries_end && head->marks_at % sizeof(uint64_t) == 0 && head->marks_at <= head->entries_at &&
                    marks_bytes <= head->entries_at - head->marks_at;
    return is_sound ? HANDOVER_TAKEN : HANDOVER_DAMAGED;
}

/* The entry at *at, of which a copy is made; moves *at behind it. False: there are no more, or what follows is none. */
static bool read_entry(struct adoption *adoption, uint64_t *at)
{
    struct handover_entry *entry = &adoption->entry;
    uint64_t end = adoption->head.entries_end;
    if (end - *at < sizeof *entry)
        return false;
    memcpy(entry, adoption->from->list + *at, sizeof *entry);
    uint64_t pieces_bytes = entry->piece_count * sizeof(struct handover_piece);
    if (pieces_bytes > end - *at - sizeof *entry)
        return false;
    *at += sizeof *entry + pieces_bytes;
    return true;
}

static unsigned rank_of(const struct handover_entry *entry)
{
    if (entry->kind != OBJECT_RESPONSE)
        return entry->kind == OBJECT_SELECTOR ? RANK_SELECTOR : RANK_SLICED;
    return 2u * (entry->frequency <= OBJECT_FREQUENCY_MAX ? entry->frequency : 0u) + (entry->queue == QUEUE_MAIN);
}

/* Of the entry that ends at `end` in the list. */
static void read_pieces(struct adoption *adoption, uint64_t end)
{
    uint32_t count = adoption->entry.piece_count;
    if (count > adoption->pieces_max) {
        free(adoption->pieces);
        adoption->pieces = malloc(count * sizeof *adoption->pieces);
        if (adoption->pieces == NULL)
            abort();
        adoption->pieces_max = count;
    }
    if (count > 0)
        memcpy(adoption->pieces, adoption->from->list + end - count * sizeof *adoption->pieces, count * sizeof *adoption->pieces);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------------------------------- */

static bool is_inside(const struct adoption *adoption, uint32_t unit, uint64_t bytes)
{
    uint64_t at = (uint64_t)unit * SLAB_UNIT_BYTES, all = adoption->from->slab_bytes;
    return bytes > 0 && at < all && bytes <= all - at;
}

static uint64_t first_bytes(const struct handover_entry *entry)
{
    return entry->front_bytes + (entry->piece_count == 0 ? entry->body_bytes : 0);
}

static bool has_bounds(const struct adoption *adoption)
{
    const struct handover_entry *entry = &adoption->entry;
    bool is_response = entry->kind == OBJECT_RESPONSE;
    uint64_t bytes = 0;
    if (entry->kind > OBJECT_SLICED || entry->frequency > OBJECT_FREQUENCY_MAX || entry->front_bytes < sizeof(struct record) ||
        entry->front_bytes > SLAB_PAGE_BYTES || entry->body_bytes > adoption->cache->settings.object_max_bytes ||
        (!is_response && (entry->body_bytes > 0 || entry->piece_count > 0)) ||
        (entry->kind == OBJECT_SELECTOR && (entry->flags & HANDOVER_HANGS) != 0) || first_bytes(entry) > SLAB_PAGE_BYTES ||
        !is_inside(adoption, entry->unit, first_bytes(entry)))
        return false;
    for (uint32_t i = 0; i < entry->piece_count; i++) {
        if (adoption->pieces[i].bytes > SLAB_PAGE_BYTES || !is_inside(adoption, adoption->pieces[i].unit, adoption->pieces[i].bytes))
            return false;
        bytes += adoption->pieces[i].bytes;
    }
    return entry->piece_count == 0 || bytes == entry->body_bytes;
}

/* ---- copying ------------------------------------------------------------------------------------------------------------------------------ */

static struct record *record_of(const struct adoption *adoption)
{
    return (struct record *)(void *)slab_at(adoption->cache->slab, adoption->front);
}

static const char *source_at(const struct adoption *adoption, uint32_t unit)
{
    return adoption->from->slab + (uint64_t)unit * SLAB_UNIT_BYTES;
}

/* Nothing is evicted: what is there by now was asked for here. */
static struct extent take_room(struct adoption *adoption, size_t bytes)
{
    struct extent extent = slab_alloc(adoption->cache->slab, bytes, object_number(adoption->cache, adoption->cell));
    adoption->lacks_room |= extent_is_none(extent);
    return extent;
}

static bool take_front(struct adoption *adoption)
{
    struct cache *cache = adoption->cache;
    if (cache_overhead_bytes(cache) >= slab_bytes(cache->slab) / OVERHEAD_DIVISOR) {
        adoption->lacks_room = true;
        return false;
    }
    const struct handover_entry *entry = &adoption->entry;
    bool is_large = entry->kind != OBJECT_RESPONSE || entry->piece_count > 0 || (entry->flags & HANDOVER_HANGS) != 0;
    adoption->cell = object_take_cell(cache, is_large);
    adoption->lacks_room = adoption->cell == NULL;
    if (adoption->cell == NULL)
        return false;
    adoption->front = take_room(adoption, first_bytes(entry));
    if (extent_is_none(adoption->front))
        return false;
    memcpy(record_of(adoption), source_at(adoption, entry->unit), first_bytes(entry));
    return true;
}

/* Body bytes of the other's pieces, one after the other, wherever they end there. */
struct source {
    uint32_t piece, done; /* of that piece */
};

static void copy_from(const struct adoption *adoption, struct source *source, char *to, uint64_t bytes)
{
    while (bytes > 0) {
        const struct handover_piece *piece = &adoption->pieces[source->piece];
        uint64_t here = piece->bytes - source->done < bytes ? piece->bytes - source->done : bytes;
        memcpy(to, source_at(adoption, piece->unit) + source->done, here);
        to += here;
        bytes -= here;
        source->done += (uint32_t)here;
        if (source->done == piece->bytes)
            *source = (struct source){source->piece + 1, 0};
    }
}

/* With what lies at the end in an extent that fits, as a fill would leave it. */
static bool take_body(struct adoption *adoption)
{
    uint64_t all = adoption->entry.body_bytes;
    struct source source = {0};
    if (adoption->entry.piece_count == 0)
        return true;
    adoption->body = body_new_sized(all);
    for (uint64_t done = 0; done < all;) {
        uint64_t end = body_extent_start(adoption->body, adoption->body->count + 1), here = (end < all ? end : all) - done;
        struct extent extent = take_room(adoption, here);
        if (extent_is_none(extent))
            return false;
        body_append(adoption->cache, &adoption->body, extent);
        copy_from(adoption, &source, slab_at(adoption->cache->slab, extent), here);
        done += here;
    }
    return true;
}

/* What was copied was read before the marks are. (TSan knows no fences; nor does it see the other process.) */
static void copied_before_marks(void)
{
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_acquire);
#endif
}

/* What the other has not given back since it was listed is what was copied by now. */
static bool is_unmarked(const struct adoption *adoption)
{
    const _Atomic uint64_t *marks = (const _Atomic uint64_t *)(const void *)(adoption->from->list + adoption->head.marks_at);
    copied_before_marks();
    uint32_t unit = adoption->entry.unit;
    uint64_t found = atomic_load_explicit(&marks[unit / 64], memory_order_relaxed) >> unit % 64 & 1;
    for (uint32_t i = 0; i < adoption->entry.piece_count; i++) {
        unit = adoption->pieces[i].unit;
        found |= atomic_load_explicit(&marks[unit / 64], memory_order_relaxed) >> unit % 64 & 1;
    }
    return found == 0;
}

static bool is_sound(const struct adoption *adoption)
{
    const struct handover_entry *entry = &adoption->entry;
    const struct record *record = record_of(adoption);
    struct bytes scheme, host, path, query;
    bool hangs = (entry->flags & HANDOVER_HANGS) != 0;
    return record_is_sound(record, entry->front_bytes) && record_length_known(record) &&
           handover_check(&adoption->cache->hash_key, entry, adoption->pieces, record) == entry->check &&
           (entry->kind != OBJECT_RESPONSE || record_body_bytes(record) == entry->body_bytes) &&
           (hangs || record_vary_values(record).len == 0) && cache_key_parts(record_key(record), &scheme, &host, &path, &query);
}

/* What all that is purged here concerns. The other has compared it with all that was purged there. */
static void settle_purges(struct adoption *adoption)
{
    struct record *record = record_of(adoption);
    bool is_selector = adoption->entry.kind == OBJECT_SELECTOR;
    if (is_selector) { /* its variants have it in their own records */
        atomic_store_explicit(&record->purge_checked, 0, memory_order_relaxed);
        record_set_stale(record, META_ABSENT);
        return;
    }
    atomic_store_explicit(&record->purge_checked, adoption->cache->adopts_since, memory_order_relaxed);
}

/* ---- listing ------------------------------------------------------------------------------------------------------------------------------ */

static struct cache_key key_of(const struct adoption *adoption)
{
    struct bytes encoded = record_key(record_of(adoption));
    return (struct cache_key){encoded, hash_bytes(&adoption->cache->hash_key, encoded)};
}

/* What it hangs on: it was taken over before, unless this instance has another one by now. A reference. */
static struct object *find_leader(struct adoption *adoption)
{
    const struct handover_entry *entry = &adoption->entry;
    struct shard *shard = shard_of(adoption->cache, entry->leader_hash);
    pthread_mutex_lock(&shard->lock);
    struct object *object = index_find_hash(&shard->index, entry->leader_hash);
    bool is_it = object != NULL && object->kind != OBJECT_RESPONSE && object_serial(object) == entry->leader_serial &&
                 bytes_equal(record_key(object_record(adoption->cache, object)), record_key(record_of(adoption)));
    object = is_it ? object_ref(object) : NULL;
    pthread_mutex_unlock(&shard->lock);
    return object;
}

/* Softly purged by its URL, here, before it came. */
static void note_soft_purge(struct adoption *adoption, struct object *object, int64_t since_s)
{
    struct record *record = record_of(adoption);
    if (object->kind == OBJECT_SELECTOR)
        atomic_store_explicit(&record->purge_checked, purge_sequence(&adoption->cache->purges), memory_order_relaxed);
    record_note_stale(record, since_s);
}

/* Where nothing of its name is, and it was not purged by its URL; a purge that has not written that yet finds it here (purge.c). */
static bool list(struct adoption *adoption, struct object *object, const struct object_name *name, const struct cache_key *key)
{
    struct cache *cache = adoption->cache;
    struct shard *shard = shard_of(cache, name->hash);
    shard_lock_to_insert(cache, shard);
    struct purge_verdict purge = key_find_purge(cache, key, cache->adopts_since);
    const struct object *selector = object_selector(object);
    bool is_valid = !purge.is_hard && shard_find(cache, shard, name) == NULL &&
                    (selector == NULL || atomic_load_explicit(&selector->listing, memory_order_acquire) == OBJECT_LISTED);
    if (is_valid) {
        if (purge.is_soft)
            note_soft_purge(adoption, object, purge.stale_since_s);
        shard_insert(cache, shard, object);
    }
    if (is_valid && adoption->entry.queue == QUEUE_MAIN)
        evict_promote(&cache->evict, object);
    pthread_mutex_unlock(&shard->lock);
    return is_valid;
}

static struct object *make_object(struct adoption *adoption, uint64_t hash)
{
    const struct handover_entry *entry = &adoption->entry;
    struct object *object = adoption->cell;
    object_adopt(object, (enum object_kind)entry->kind, adoption->front);
    if (adoption->body != NULL)
        object_set_body(object, adoption->body);
    if (entry->kind != OBJECT_RESPONSE)
        object_set_serial(object, entry->serial);
    object->hash = hash;
    if (adoption->selector != NULL)
        object_set_selector(object, adoption->selector);
    atomic_store_explicit(&object->frequency, entry->frequency, memory_order_relaxed);
    bool is_refused = (entry->flags & HANDOVER_REFUSED) != 0 && adoption->cache->store != NULL;
    atomic_store_explicit(&object->is_refused, is_refused, memory_order_relaxed);
    adoption->cell = NULL;
    adoption->front = (struct extent){0, 0};
    adoption->body = NULL;
    return object;
}

static void count(struct adoption *adoption, const struct object *object)
{
    if (object->kind != OBJECT_RESPONSE)
        return;
    adoption->report->taken.responses++;
    adoption->report->taken.bytes += object_footprint(object);
    atomic_fetch_add_explicit(&adoption->cache->adopted_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&adoption->cache->adopted_bytes, object_footprint(object), memory_order_relaxed);
}

/* All of it is copied, and good. */
static bool place(struct adoption *adoption)
{
    struct cache_key key = key_of(adoption);
    struct object_name name = name_of_key(&key);
    const struct object *selector = adoption->selector;
    if (selector != NULL) {
        if (selector->kind == OBJECT_SELECTOR && object_variants_count(selector) >= adoption->cache->settings.variants_max)
            return false;
        name = name_of_values(adoption->cache, selector, &key, record_vary_values(record_of(adoption)), &adoption->arena);
    }
    struct extent front = adoption->front;
    struct object *object = make_object(adoption, name.hash);
    adoption->front = front; /* for record_of; it is the object's */
    bool is_listed = list(adoption, object, &name, &key);
    adoption->front = (struct extent){0, 0};
    if (is_listed)
        count(adoption, object);
    object_unref(adoption->cache, &object);
    return is_listed;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------------------------- */

static void give_back(struct adoption *adoption)
{
    struct cache *cache = adoption->cache;
    body_unref(cache, &adoption->body);
    if (!extent_is_none(adoption->front))
        slab_release(cache->slab, adoption->front);
    adoption->front = (struct extent){0, 0};
    if (adoption->cell != NULL)
        object_give_cell(cache, adoption->cell);
    adoption->cell = NULL;
    object_unref(cache, &adoption->selector);
    arena_clear(&adoption->arena);
}

static bool adopt(struct adoption *adoption)
{
    if (!has_bounds(adoption) || !take_front(adoption) || !is_sound(adoption))
        return false;
    settle_purges(adoption);
    if ((adoption->entry.flags & HANDOVER_HANGS) != 0) {
        adoption->selector = find_leader(adoption);
        if (adoption->selector == NULL)
            return false;
    }
    return take_body(adoption) && is_unmarked(adoption) && place(adoption);
}

/* False: it is over. */
static bool adopt_rank(struct adoption *adoption, unsigned rank, const _Atomic bool *is_off)
{
    uint64_t at = adoption->head.entries_at;
    while (read_entry(adoption, &at)) {
        if (atomic_load_explicit(is_off, memory_order_relaxed))
            return false;
        if (rank_of(&adoption->entry) != rank)
            continue;
        read_pieces(adoption, at);
        adoption->lacks_room = false;
        bool is_taken = adopt(adoption);
        give_back(adoption);
        adoption->failures = adoption->lacks_room ? adoption->failures + 1 : 0;
        adoption->report->is_full |= adoption->lacks_room;
        adoption->report->left_out += !is_taken && !adoption->lacks_room;
        if (adoption->failures >= FAILURES_MAX)
            return false;
    }
    return true;
}

void cache_adopt(struct cache *cache, const struct handover *from, const _Atomic bool *is_off, struct handover_report *report)
{
    struct adoption adoption = {.cache = cache, .from = from, .report = report};
    *report = (struct handover_report){0};
    arena_init(&adoption.arena);
    report->verdict = handover_read_head(cache, from, &adoption.head);
    bool goes_on = report->verdict == HANDOVER_TAKEN;
    for (unsigned rank = RANK_SELECTOR + 1; goes_on && rank > 0; rank--)
        goes_on = adopt_rank(&adoption, rank - 1, is_off);
    free(adoption.pieces);
    arena_free(&adoption.arena);
    atomic_store(&cache->is_adopting, false);
}
