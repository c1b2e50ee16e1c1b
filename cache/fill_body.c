/* Where the bytes of an arriving body go. See fill.h, and struct body in object.h for the layout.
 *
 * A body that is kept takes extents as it grows. A private one keeps what lies between its slowest reader and the writer, at most FILL_WINDOW_BYTES:
 * extents behind it are given back when the writer asks for room, or, while it waits for some, as its readers move on: what a waiting writer held
 * could be what all others wait for. Readers look at extents under the fill's lock; only the writer changes them, or, while it waits, its readers. */
#include "cache/fill_state.h"

#include <assert.h>

enum {
    WINDOWS_PART = 8, /* of the memory, that all windows together should take: those of readers who do not move stay as they are */
    WAKE_PART = 4,    /* a writer waits for so much of its window to be room, so that it does not move a few bytes a turn */
};

/* With the lock held, all of these. */

/* Where the slowest readers are, and how many they are. Whatever lies before that is not wanted any more. */
static void find_slowest(struct fill *fill)
{
    fill->slowest = fill->written;
    fill->slowest_count = 0;
    LIST_FOR_EACH(node, &fill->readers)
    {
        uint64_t position = LIST_OWNER(node, struct reader, link)->position;
        if (position < fill->slowest) {
            fill->slowest = position;
            fill->slowest_count = 0;
        }
        fill->slowest_count += position == fill->slowest;
    }
}

/* HARDENING, resources: the more fills there are, the less each may hold for a client that does not read. */
static uint64_t window_bytes(const struct fill *fill)
{
    uint64_t fills = atomic_load_explicit(&fill->cache->fills_count, memory_order_relaxed);
    uint64_t share = slab_bytes(fill->cache->slab) / WINDOWS_PART / (fills > 0 ? fills : 1);
    return share < BODY_SMALL_BYTES ? BODY_SMALL_BYTES : share < FILL_WINDOW_BYTES ? share : FILL_WINDOW_BYTES;
}

static uint64_t window_room(const struct fill *fill)
{
    uint64_t held = fill->written - fill->slowest, most = window_bytes(fill);
    return held < most ? most - held : 0;
}

static void release_consumed(struct fill *fill)
{
    find_slowest(fill);
    struct body *body = fill->object != NULL ? object_body(fill->object) : NULL;
    if (body != NULL)
        body_release_before(fill->cache, body, fill->slowest);
}

void fill_tell_if_unwanted(struct fill *fill)
{
    if (fill->is_private && fill->waker != NULL && list_is_empty(&fill->readers))
        waker_wake(fill->waker);
}

void fill_reader_moved(struct fill *fill, uint64_t from)
{
    fill_tell_if_unwanted(fill);
    if (!fill->is_private || !fill->writer_waits || fill->waker == NULL)
        return;
    /* As long as others are as slow as it was, nothing changes. (To look at all of them whenever one of a thousand moves would cost a million.) */
    if (from != fill->slowest || fill->slowest_count == 0 || --fill->slowest_count > 0)
        return;
    release_consumed(fill);
    if (window_room(fill) >= window_bytes(fill) / WAKE_PART) {
        fill->writer_waits = false;
        waker_wake(fill->waker);
    }
}

/* What was listed becomes private: its readers go on in a window. */
static void make_private(struct fill *fill, enum cache_detail detail)
{
    unlist_fill(fill);
    fill_note_unstorable(fill, detail);
    pthread_mutex_lock(&fill->lock);
    fill->is_private = true;
    fill->detail = detail;
    fill_tell_if_unwanted(fill);
    pthread_mutex_unlock(&fill->lock);
}

/* The same as when its head had told its length: nothing of it is stored, and nothing older any more. */
static void outgrow(struct fill *fill)
{
    make_private(fill, DETAIL_TOO_LARGE);
    if (fill->stale != NULL)
        replace_stale(fill, NULL);
}

static void wait_for_memory(struct fill *fill)
{
    struct cache *cache = fill->cache;
    pthread_mutex_lock(&cache->memory_lock);
    if (!list_is_linked(&fill->memory_link) && fill->waker != NULL) {
        fill->memory_waker = fill->waker;
        list_push_back(&cache->memory_waiters, &fill->memory_link);
        atomic_fetch_add_explicit(&cache->memory_waiters_count, 1, memory_order_seq_cst);
    }
    pthread_mutex_unlock(&cache->memory_lock);
}

/* There was none. From now on readers give back what they are done with; what they were done with before is given back here. */
static enum fill_room no_memory(struct fill *fill)
{
    pthread_mutex_lock(&fill->lock);
    fill->writer_waits = true;
    if (fill->is_private)
        release_consumed(fill);
    pthread_mutex_unlock(&fill->lock);
    return FILL_NO_ROOM;
}

void fill_stop_waiting_for_memory(struct fill *fill)
{
    struct cache *cache = fill->cache;
    pthread_mutex_lock(&cache->memory_lock);
    if (list_is_linked(&fill->memory_link)) {
        list_remove(&fill->memory_link);
        atomic_fetch_sub_explicit(&cache->memory_waiters_count, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&cache->memory_lock);
}

/* Size of the next extent. */
static size_t next_extent_bytes(const struct fill *fill)
{
    const struct body *body = object_body(fill->object);
    uint32_t number = body->released_count + body->count;
    uint64_t start = body_extent_start(body, number), bytes = body_extent_start(body, number + 1) - start;
    assert(start == fill->written);
    return fill->length_known && fill->length - start < bytes ? fill->length - start : bytes;
}

/* How much may be written before the slowest reader has to move on; 0: the writer has to wait. Gives back what all readers are done with. */
static uint64_t open_window(struct fill *fill)
{
    pthread_mutex_lock(&fill->lock);
    fill->writer_waits = false;
    uint64_t room = UINT64_MAX;
    if (fill->is_private && object_body(fill->object) != NULL) {
        release_consumed(fill);
        room = window_room(fill);
        fill->writer_waits = room == 0;
    }
    pthread_mutex_unlock(&fill->lock);
    return room;
}

/* Registers for a wake before the last attempt, so that nothing is freed unseen in between. */
static struct extent alloc_extent(struct fill *fill)
{
    size_t bytes = next_extent_bytes(fill);
    struct extent extent = room_alloc(fill->cache, bytes, fill->object);
    if (!extent_is_none(extent))
        return extent;
    if (!fill->is_private) { /* not enough for all of it; maybe for a window */
        make_private(fill, DETAIL_NO_MEMORY);
        if (open_window(fill) == 0) /* readers give back extents now, while the writer stays away from them */
            return extent;
    }
    wait_for_memory(fill);
    extent = room_alloc(fill->cache, bytes, fill->object);
    if (!extent_is_none(extent))
        fill_stop_waiting_for_memory(fill);
    return extent;
}

/* The body's extent (or, where there is none, the record's) that holds the next byte to write; `*used` bytes of it are taken. */
static struct extent tail_extent(const struct fill *fill, size_t *used)
{
    const struct object *object = fill->object;
    const struct body *body = object_body(object);
    struct extent none = {0, 0};
    *used = 0;
    if (body == NULL) {
        *used = record_front_bytes(object_record(fill->cache, object)) + fill->written;
        return object_extent(object);
    }
    if (body->count == 0)
        return none;
    *used = fill->written - body_extent_start(body, body->released_count + body->count - 1);
    return body->extents[body->count - 1];
}

static bool tail_is_lost(const struct fill *fill)
{
    const struct body *body = object_body(fill->object);
    return body != NULL ? body->tail_is_lost : fill->object->record_is_lost;
}

/* Puts `extent` in the place of the tail; what the tail held was copied. With the lock held. */
static void replace_tail(struct fill *fill, struct extent extent)
{
    struct body *body = object_body(fill->object);
    if (body == NULL) {
        object_set_extent(fill->object, extent);
        fill->object->record_is_lost = false;
        return;
    }
    body->bytes += extent.capacity;
    body->bytes -= body->extents[body->count - 1].capacity;
    body->extents[body->count - 1] = extent;
    body->tail_is_lost = false;
}

/* The lost extent stays as it is for those who are reading from it, and is never given back. */
static bool replace_lost_tail(struct fill *fill)
{
    size_t used;
    struct extent lost = tail_extent(fill, &used), extent = room_alloc(fill->cache, lost.capacity, fill->object);
    if (extent_is_none(extent)) {
        wait_for_memory(fill);
        extent = room_alloc(fill->cache, lost.capacity, fill->object);
        if (extent_is_none(extent))
            return false;
        fill_stop_waiting_for_memory(fill);
    }
    memcpy(slab_at(fill->cache->slab, extent), slab_at(fill->cache->slab, lost), used);
    pthread_mutex_lock(&fill->lock);
    replace_tail(fill, extent);
    pthread_mutex_unlock(&fill->lock);
    return true;
}

/* At the next byte of the body; capacity 0 when another extent has to be taken. */
static struct fill_space tail_space(const struct fill *fill)
{
    size_t used;
    struct extent tail = tail_extent(fill, &used);
    if (extent_is_none(tail) || used == tail.capacity)
        return (struct fill_space){0};
    return (struct fill_space){slab_at(fill->cache->slab, tail) + used, tail.capacity - used, extent_offset(tail) + used};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

enum fill_room fill_reserve(struct fill *fill, struct fill_space *space)
{
    assert(fill->object != NULL && (!fill->length_known || fill->written < fill->length));
    if (!fill->is_private && atomic_load_explicit(&fill->is_purged, memory_order_relaxed))
        make_private(fill, DETAIL_PURGED);
    uint64_t window = open_window(fill);
    if (window == 0)
        return FILL_NO_ROOM;
    if (tail_is_lost(fill) && !replace_lost_tail(fill))
        return no_memory(fill);
    *space = tail_space(fill);
    if (space->capacity == 0) {
        struct extent extent = alloc_extent(fill);
        if (extent_is_none(extent))
            return no_memory(fill);
        pthread_mutex_lock(&fill->lock);
        object_append(fill->cache, fill->object, extent);
        pthread_mutex_unlock(&fill->lock);
        *space = tail_space(fill);
    }
    space->capacity = least(space->capacity, window);
    if (fill->length_known)
        space->capacity = least(space->capacity, fill->length - fill->written);
    fill->reserved = space->capacity;
    return FILL_ROOM;
}

void fill_commit(struct fill *fill, size_t bytes)
{
    assert(bytes <= fill->reserved);
    fill->reserved = 0;
    if (bytes == 0)
        return;
    pthread_mutex_lock(&fill->lock);
    fill->written += bytes;
    fill_wake_readers(fill);
    pthread_mutex_unlock(&fill->lock);
    if (!fill->is_private && fill->written > fill->cache->settings.object_max_bytes)
        outgrow(fill);
}

void fill_lose_space(struct fill *fill)
{
    assert(fill->reserved > 0);
    fill->reserved = 0;
    pthread_mutex_lock(&fill->lock);
    struct body *body = object_body(fill->object);
    if (body != NULL)
        body->tail_is_lost = true;
    else
        fill->object->record_is_lost = true;
    pthread_mutex_unlock(&fill->lock);
}

/* The same response in one chunk; readers of the old one keep it. NULL when there is no room for it. */
static struct object *in_one_chunk(struct fill *fill)
{
    struct object *from = fill->object;
    struct record_parts parts = record_parts_of(object_record(fill->cache, from));
    parts.body_bytes = fill->written;
    struct object *object = object_new(fill->cache, OBJECT_RESPONSE, &parts);
    if (object == NULL)
        return NULL;
    if (object_selector(from) != NULL)
        object_set_selector(object, object_selector(from));
    object_copy_body(fill->cache, from, object);
    return object;
}

/* Swaps the last extent for one that fits. The old one is kept until the last of this fill's readers has closed: they may be sending from it. */
static void trim_tail(struct fill *fill)
{
    size_t used;
    struct extent tail = tail_extent(fill, &used), fitting = {0, 0};
    if (extent_is_none(tail) || used == tail.capacity || used > SLAB_CHUNK_MAX_BYTES)
        return;
    if (used > 0) {
        fitting = room_alloc(fill->cache, used, fill->object);
        if (extent_is_none(fitting))
            return;
        if (fitting.capacity >= tail.capacity) {
            slab_release(fill->cache->slab, fitting);
            return;
        }
        memcpy(slab_at(fill->cache->slab, fitting), slab_at(fill->cache->slab, tail), used);
    }
    pthread_mutex_lock(&fill->lock);
    struct body *body = object_body(fill->object);
    if (!body->tail_is_lost)
        fill->retired = tail;
    if (used > 0) {
        replace_tail(fill, fitting);
    } else { /* room was reserved, and nothing came */
        body->bytes -= tail.capacity;
        body->count--;
        body->tail_is_lost = false;
    }
    pthread_mutex_unlock(&fill->lock);
}

struct object *fill_close_body(struct fill *fill)
{
    struct object *object = fill->object;
    if (!fill->length_known) {
        pthread_mutex_lock(&fill->lock);
        object_set_length(fill->cache, object, fill->written);
        pthread_mutex_unlock(&fill->lock);
    }
    if (fill->is_private || object_body(object) == NULL)
        return object_ref(object);
    if (record_front_bytes(object_record(fill->cache, object)) + fill->written <= SLAB_CHUNK_MAX_BYTES) {
        struct object *compact = in_one_chunk(fill);
        if (compact != NULL)
            return compact;
    }
    trim_tail(fill);
    return object_ref(object);
}
