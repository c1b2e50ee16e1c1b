/* See offer.h.
 *
 * DESIGN. A variant or a slice is found through what it hangs on: its selector, or the head of the slices. That is written before it, if it is not on disk.
 * A response that is larger than its site's slices is written as if it had been fetched in slices (fill_slice.c): a head with a serial of its own, and
 * slices named by that; slices first, so that a head never leads nowhere. */
#include "cache/disk/offer.h"

#include "cache/disk/append.h"
#include "cache/fill_state.h"
#include "cache/policy/freshness.h"
#include "cache/policy/slice.h"

#include <assert.h>
#include <stdlib.h>

enum { WORTH_SECONDS = 2 /* what can be served for less is not written: it would be gone before it is read */ };

/* For how long it can be served, fresh or stale, without asking the origin. */
static int64_t useful_s(const struct record *record, struct wall_seconds now)
{
    struct response_meta meta;
    record_meta_now(record, &meta);
    int64_t left_s = (meta.flags & RESPONSE_NO_CACHE) != 0 ? 0 : meta.lifetime_s - freshness_current_age(&meta, now);
    if ((meta.flags & (RESPONSE_MUST_REVALIDATE | RESPONSE_NO_CACHE)) != 0)
        return left_s;
    int64_t stale_s = meta.stale_while_revalidate_s > meta.stale_if_error_s ? meta.stale_while_revalidate_s : meta.stale_if_error_s;
    return stale_s > 0 ? left_s + stale_s : left_s;
}

static bool is_listed(const struct object *object)
{
    return atomic_load_explicit(&object->listing, memory_order_acquire) == OBJECT_LISTED;
}

static bool is_worth(const struct offer *offer)
{
    struct store *store = offer->directory->store;
    const struct object *object = offer->object;
    if (atomic_load_explicit(&object->listing, memory_order_acquire) == OBJECT_PURGED)
        return false;
    if (object->kind == OBJECT_SELECTOR)
        return is_listed(object); /* else another one may have taken its place */
    const struct object *selector = object_selector(object);
    if (selector != NULL && !is_listed(selector))
        return false;
    const struct record *record = object_record(store->cache, object);
    return record_length_known(record) && useful_s(record, store->wall) >= WORTH_SECONDS && !object_is_purged(store->cache, object);
}

/* What it hangs on is put in front of it, unless that is on disk. True: it was. */
static bool put_selector_first(struct offer *offer)
{
    struct store *store = offer->directory->store;
    struct object *selector = object_selector(offer->object);
    struct disk_entry entry;
    if (selector == NULL)
        return false;
    disk_index_touch(store->index, selector->hash);
    bool is_there = disk_index_find(store->index, selector->hash, &entry) && entry.is_lasting;
    if (is_there || queue_has(store, selector->hash))
        return false;
    uint8_t kind = selector->kind == OBJECT_SLICED ? STORE_SLICED : STORE_SELECTOR;
    struct directory *directory = directory_of(store, selector->hash);
    struct offer *first = offer_new(directory, kind, selector->hash);
    first->object = object_ref(selector);
    first->serial = object_serial(selector);
    if (directory == offer->directory)
        queue_return(offer);
    queue_push_front(first);
    return directory == offer->directory;
}

/* ---- a whole, cut into slices ------------------------------------------------------------------------------------------------------------ */

/* Whichever directory it goes to; its front is shorter than the whole's. */
static bool slice_fits(const struct offer *whole)
{
    const struct store *store = whole->directory->store;
    bool fits = true;
    for (unsigned i = 0; i < store->directory_count; i++)
        fits &= store_record_bytes(offer_front_bytes(whole), whole->slice_bytes) <= record_max_bytes(&store->directories[i]);
    return fits;
}

static bool can_be_sliced(const struct offer *offer, struct arena *arena)
{
    struct response_view view;
    struct headers fields;
    const struct cache *cache = offer->directory->store->cache;
    bool is_large = offer->kind == STORE_RESPONSE && object_selector(offer->object) == NULL && object_body(offer->object) != NULL &&
                    offer->slice_bytes > 0 && record_body_bytes(object_record(cache, offer->object)) > offer->slice_bytes;
    if (!is_large || offer->slice_bytes % SLAB_PAGE_BYTES != 0 || !slice_fits(offer)) /* pieces start with units of the slab */
        return false;
    object_view(cache, offer->object, true, &view);
    headers_init(&fields, arena);
    headers_parse_block(&fields, view.fields);
    return view.meta.status == 200 && slice_validator(&fields, (struct wall_seconds){view.meta.response_time_s}) != NULL;
}

static struct record_parts parts_of(const struct record *record)
{
    struct record_parts parts = record_parts_of(record);
    parts.body_is_apart = true;
    return parts;
}

/* The head of what `whole` is to be. NULL: no memory. */
static struct object *new_head(struct cache *cache, struct object *whole)
{
    struct record_parts parts = parts_of(object_record(cache, whole));
    struct object *head = object_new(cache, OBJECT_SLICED, &parts);
    if (head == NULL)
        return NULL;
    head->hash = whole->hash;
    object_set_serial(head, atomic_fetch_add_explicit(&cache->selector_serial, 1, memory_order_relaxed) + 1);
    return head;
}

/* NULL: no memory. */
static struct offer *new_part(const struct offer *whole, const struct object *head, struct span span)
{
    struct store *store = whole->directory->store;
    struct cache *cache = store->cache;
    struct record_parts parts = parts_of(object_record(cache, head));
    const struct span name = {span.first, span.first + whole->slice_bytes}; /* as it is asked for: not cut at the end */
    uint64_t hash = slice_hash(cache, head, name);
    const struct record_parts part = {
        .meta = parts.meta,
        .key = parts.key,
        .vary_values = bytes_from((const char *)&name, sizeof name),
        .purge_sequence = parts.purge_sequence,
        .stale_since_s = parts.stale_since_s,
        .length_known = true,
        .body_bytes = span.end - span.first,
        .body_is_apart = true,
    };
    struct object *front = object_new(cache, OBJECT_RESPONSE, &part);
    if (front == NULL)
        return NULL;
    front->hash = hash;
    struct offer *offer = offer_new(directory_of(store, hash), STORE_RESPONSE, hash);
    offer->object = front;
    offer->whole = object_ref(whole->object);
    offer->span = span;
    return offer;
}

/* Puts the parts in front of the queues, the head last; or nothing, if the whole was forgotten. False: no memory. */
static bool split(const struct offer *whole)
{
    struct store *store = whole->directory->store;
    uint64_t length = record_body_bytes(object_record(store->cache, whole->object));
    struct object *head = new_head(store->cache, whole->object);
    if (head == NULL)
        return false;
    struct offer *offer = offer_new(whole->directory, STORE_SLICED, head->hash);
    offer->object = head;
    offer->serial = object_serial(head);
    offer->pinned_bytes = object_footprint(head);
    if (!queue_push_instead(offer, whole))
        return true;
    for (uint64_t end = length; end > 0;) {
        uint64_t first = (end - 1) / whole->slice_bytes * whole->slice_bytes;
        struct offer *part = new_part(whole, head, (struct span){first, end});
        if (part == NULL)
            break; /* a head without its first slices: they are fetched */
        part->pinned_bytes = end - first;
        queue_push_front(part);
        end = first;
    }
    return true;
}

/* Of what is larger than its slices. False: it is not, or it cannot be cut. */
static bool replace_by_parts(struct offer **offer)
{
    struct arena arena;
    arena_init(&arena);
    bool is_split = can_be_sliced(*offer, &arena) && split(*offer);
    arena_free(&arena);
    if (is_split)
        offer_drop(*offer);
    if (is_split)
        *offer = NULL;
    return is_split;
}

static bool is_too_large(const struct offer *offer)
{
    uint64_t bytes = store_record_bytes(offer_front_bytes(offer), offer_body_bytes(offer));
    return bytes > record_max_bytes(offer->directory) || offer_pieces_count(offer) > DISK_BATCH_PIECES;
}

static enum offer_verdict refuse(const struct offer *offer)
{
    count_add(&offer->directory->store->refused, 1);
    return OFFER_DROP;
}

enum offer_verdict offer_judge(struct offer **offer_pointer)
{
    struct offer *offer = *offer_pointer;
    if (offer->object == NULL || offer->whole != NULL)
        return is_too_large(offer) ? refuse(offer) : OFFER_TAKE;
    if (!is_worth(offer))
        return OFFER_DROP;
    if (replace_by_parts(offer_pointer))
        return OFFER_SPLIT;
    if (is_too_large(offer))
        return refuse(offer);
    if (put_selector_first(offer)) {
        *offer_pointer = NULL;
        return OFFER_SPLIT;
    }
    return OFFER_TAKE;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------------------------- */

uint32_t offer_front_bytes(const struct offer *offer)
{
    return offer->object == NULL ? offer->front_bytes
                                 : (uint32_t)record_front_bytes(object_record(offer->directory->store->cache, offer->object));
}

uint32_t offer_body_bytes(const struct offer *offer)
{
    if (offer->object == NULL)
        return offer->body_bytes;
    if (offer->kind != STORE_RESPONSE)
        return 0; /* of the head of slices: the record tells the length of them all */
    uint64_t bytes = record_body_bytes(object_record(offer->directory->store->cache, offer->object));
    return bytes <= STORE_RECORD_MAX_BYTES ? (uint32_t)bytes : STORE_RECORD_MAX_BYTES; /* then it is too large in any case */
}

/* Of a body in extents, as far as its piece [first, end) goes. Counts only, where `pieces` is NULL. */
static uint32_t body_pieces(const struct body *body, struct span span, struct disk_piece *pieces)
{
    uint32_t count = 0;
    for (uint64_t at = span.first; at < span.end; count++) {
        uint32_t number = body_extent_number(body, at);
        uint64_t start = body_extent_start(body, number), stop = body_extent_start(body, number + 1);
        stop = stop < span.end ? stop : span.end;
        assert(number < body->count && (at - start) % SLAB_UNIT_BYTES == 0);
        if (pieces != NULL) {
            uint32_t unit = body->extents[number].unit + (uint32_t)((at - start) / SLAB_UNIT_BYTES);
            pieces[count] = (struct disk_piece){unit, (uint32_t)(stop - at)};
        }
        at = stop;
    }
    return count;
}

static uint32_t pieces_of_read(const struct offer *offer, struct disk_piece *pieces)
{
    struct disk_piece unused;
    uint32_t count = 1, left = offer->body_follows ? 0 : offer->body_bytes;
    *(pieces != NULL ? pieces : &unused) =
        (struct disk_piece){offer->front.unit, offer->front_bytes + (offer->body_follows ? offer->body_bytes : 0)};
    for (uint32_t i = 0; left > 0; i++, count++) {
        uint32_t here = left < SLAB_PAGE_BYTES ? left : SLAB_PAGE_BYTES;
        if (pieces != NULL)
            pieces[count] = (struct disk_piece){offer->pages[i].unit, here};
        left -= here;
    }
    return count;
}

static uint32_t pieces(const struct offer *offer, struct disk_piece *out)
{
    if (offer->object == NULL)
        return pieces_of_read(offer, out);
    uint32_t front_bytes = offer_front_bytes(offer), body_bytes = offer_body_bytes(offer);
    const struct object *source = offer->whole != NULL ? offer->whole : offer->object;
    bool is_apart = offer->kind == STORE_RESPONSE && object_body(source) != NULL;
    if (out != NULL)
        out[0] = (struct disk_piece){offer->object->record_unit, front_bytes + (is_apart ? 0 : body_bytes)};
    struct span span = offer->whole != NULL ? offer->span : (struct span){0, body_bytes};
    return 1 + (is_apart ? body_pieces(object_body(source), span, out != NULL ? out + 1 : NULL) : 0);
}

uint32_t offer_pieces_count(const struct offer *offer)
{
    return pieces(offer, NULL);
}

void offer_pieces(const struct offer *offer, struct disk_piece *out)
{
    pieces(offer, out);
}
