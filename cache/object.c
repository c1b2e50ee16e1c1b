/* See object.h. */
#include "cache/object.h"

#include "cache/cache_state.h"
#include "cache/policy/freshness.h"

#include <assert.h>
#include <stdlib.h>

enum { BODY_PAGE_SPARES = 16 }; /* of a last page, this part may be wasted: it is one extent instead of four */

bool object_try_ref(struct object *object)
{
    uint32_t count = atomic_load_explicit(&object->refs.count, memory_order_relaxed);
    do {
        if (count == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&object->refs.count, &count, count + 1, memory_order_acquire, memory_order_relaxed));
    return true;
}

static struct record *record_of(const struct cache *cache, const struct object *object)
{
    assert(ref_count(&object->refs) > 0);
    return (struct record *)(void *)slab_at(cache->slab, object->record);
}

const struct record *object_record(const struct cache *cache, const struct object *object)
{
    return record_of(cache, object);
}

static const char *record_at(const struct record *record, size_t offset)
{
    return (const char *)(record + 1) + record->tags_count * sizeof(uint64_t) + offset;
}

const uint64_t *record_tags(const struct record *record)
{
    return (const uint64_t *)(record + 1);
}

struct bytes record_key(const struct record *record)
{
    return bytes_from(record_at(record, 0), record->key_bytes);
}

struct bytes record_vary_names(const struct record *record)
{
    return bytes_from(record_at(record, record->key_bytes), record->vary_names_bytes);
}

struct bytes record_vary_values(const struct record *record)
{
    return bytes_from(record_at(record, (size_t)record->key_bytes + record->vary_names_bytes), record->vary_values_bytes);
}

struct bytes record_head(const struct record *record)
{
    struct bytes before = record_vary_values(record);
    return bytes_from(before.at + before.len, record->head_bytes);
}

struct record_parts record_parts_of(const struct record *record)
{
    return (struct record_parts){
        .meta = record->meta,
        .tags = record_tags(record),
        .tags_count = record->tags_count,
        .goes_with_host = record->goes_with_host,
        .purge_sequence = atomic_load_explicit(&record->purge_checked, memory_order_relaxed),
        .stale_since_s = atomic_load_explicit(&record->stale_since_s, memory_order_relaxed),
        .key = record_key(record),
        .vary_names = record_vary_names(record),
        .vary_values = record_vary_values(record),
        .head = record_head(record),
        .status_line_bytes = record->status_line_bytes,
        .hidden_bytes = record->hidden_bytes,
        .length_known = true,
        .body_bytes = record->body_bytes,
    };
}

size_t record_front_bytes(const struct record *record)
{
    struct bytes head = record_head(record);
    return (size_t)(head.at + head.len - (const char *)record);
}

bool record_is_sound(const struct record *record, size_t front_bytes)
{
    return front_bytes >= sizeof *record && record->tags_count <= TAGS_MAX && record->status_line_bytes <= record->head_bytes &&
           record->hidden_bytes <= record->head_bytes - record->status_line_bytes &&
           sizeof *record + record->tags_count * sizeof(uint64_t) + record->key_bytes + record->vary_names_bytes +
                   record->vary_values_bytes + record->head_bytes ==
               front_bytes;
}

size_t record_parts_bytes(const struct record_parts *parts)
{
    return sizeof(struct record) + parts->tags_count * sizeof *parts->tags + parts->key.len + parts->vary_names.len +
           parts->vary_values.len + parts->head.len;
}

const struct response_meta *record_meta(const struct record *record, struct response_meta *scratch)
{
    int64_t stale_since_s = atomic_load_explicit(&record->stale_since_s, memory_order_relaxed);
    if (stale_since_s == META_ABSENT)
        return &record->meta;
    *scratch = record->meta;
    freshness_end(scratch, (struct wall_seconds){stale_since_s});
    return scratch;
}

/* object_new has seen that it fits into a page. */
static void write_record(struct record *record, const struct record_parts *parts)
{
    *record = (struct record){
        .meta = parts->meta,
        .body_bytes = parts->length_known ? parts->body_bytes : 0,
        .key_bytes = (uint16_t)parts->key.len,
        .vary_names_bytes = (uint16_t)parts->vary_names.len,
        .vary_values_bytes = (uint16_t)parts->vary_values.len,
        .head_bytes = (uint16_t)parts->head.len,
        .status_line_bytes = (uint16_t)parts->status_line_bytes,
        .hidden_bytes = (uint16_t)parts->hidden_bytes,
        .tags_count = parts->tags_count & 0x3fff,
        .goes_with_host = parts->goes_with_host,
        .length_known = parts->length_known,
        .purge_checked = parts->purge_sequence,
        .stale_since_s = parts->stale_since_s,
    };
    char *at = bytes_put((char *)(record + 1), bytes_from((const char *)parts->tags, parts->tags_count * sizeof *parts->tags));
    bytes_put(bytes_put(bytes_put(bytes_put(at, parts->key), parts->vary_names), parts->vary_values), parts->head);
}

struct object *object_reserve(struct cache *cache)
{
    room_for_overhead(cache);
    return cells_take(&cache->objects);
}

void object_adopt(struct object *object, enum object_kind kind, struct extent extent)
{
    atomic_store_explicit(&object->frequency, 0, memory_order_relaxed);
    atomic_store_explicit(&object->listing, OBJECT_UNLISTED, memory_order_relaxed);
    atomic_store_explicit(&object->is_refused, false, memory_order_relaxed);
    atomic_store_explicit(&object->variants_count, 0, memory_order_relaxed);
    object->kind = (uint8_t)kind;
    object->queue = QUEUE_NONE;
    object->hash = 0;
    list_init(&object->link);
    object->record = extent;
    object->selector = NULL;
    object->body = NULL;
    object->record_is_lost = false;
    object->leave = 0;
    /* Last, and atomically: a page's owners may be looked at (object_try_ref) at any time. */
    atomic_store_explicit(&object->refs.count, 1, memory_order_release);
}

struct object *object_new(struct cache *cache, enum object_kind kind, const struct record_parts *parts)
{
    size_t bytes = record_parts_bytes(parts) + (parts->body_is_apart ? 0 : parts->body_bytes);
    if (bytes > SLAB_PAGE_BYTES)
        return NULL;
    struct object *object = object_reserve(cache);
    struct extent extent = room_alloc(cache, bytes, object);
    if (extent_is_none(extent)) {
        cells_give(&cache->objects, object);
        return NULL;
    }
    write_record((struct record *)(void *)slab_at(cache->slab, extent), parts);
    object_adopt(object, kind, extent);
    return object;
}

void object_set_selector(struct object *object, struct object *selector)
{
    assert(object->selector == NULL && selector->kind != OBJECT_RESPONSE);
    object->selector = object_ref(selector);
    atomic_fetch_add_explicit(&selector->variants_count, 1, memory_order_relaxed);
}

static void free_object(struct cache *cache, struct object *object)
{
    assert(object->queue == QUEUE_NONE && atomic_load_explicit(&object->listing, memory_order_relaxed) != OBJECT_LISTED);
    if (!object->record_is_lost)
        slab_release(cache->slab, object->record);
    if (object->kind == OBJECT_RESPONSE)
        body_unref(cache, &object->body);
    if (object->selector != NULL) {
        atomic_fetch_sub_explicit(&object->selector->variants_count, 1, memory_order_relaxed);
        object_unref(cache, &object->selector);
    }
    cells_give(&cache->objects, object);
}

void object_unref(struct cache *cache, struct object **object_pointer)
{
    struct object *object = *object_pointer;
    *object_pointer = NULL;
    if (object == NULL)
        return;
    if (!ref_drop(&object->refs))
        return;
    free_object(cache, object);
    cache_memory_freed(cache);
}

bool object_has_name(const struct cache *cache, const struct object *object, const struct object_name *name)
{
    if (object->hash != name->hash)
        return false;
    const struct record *record = object_record(cache, object);
    return bytes_equal(record_key(record), name->key) && bytes_equal(record_vary_values(record), name->values);
}

uint64_t object_footprint(const struct object *object)
{
    bool has_body = object->kind == OBJECT_RESPONSE && object->body != NULL;
    return object->record.capacity + (has_body ? object->body->bytes : 0);
}

static void split_hidden(struct bytes all, struct bytes *fields, struct bytes *early_hints)
{
    const struct bytes mark = BYTES(HIDDEN_HINTS);
    *fields = all;
    *early_hints = BYTES_NONE;
    for (size_t line = 0; line < all.len; line += bytes_find(bytes_from(all.at + line, all.len - line), '\n') + 1) {
        struct bytes rest = bytes_from(all.at + line, all.len - line);
        if (bytes_starts_with(rest, mark)) {
            *fields = bytes_from(all.at, line);
            *early_hints = bytes_from(rest.at + mark.len, rest.len - mark.len);
            return;
        }
    }
}

void object_view(const struct cache *cache, const struct object *object, bool is_complete, struct response_view *view)
{
    const struct record *record = object_record(cache, object);
    view->status = record->meta.status;
    view->head = record_head(record);
    view->head.len -= record->hidden_bytes;
    split_hidden(bytes_from(view->head.at + view->head.len, record->hidden_bytes), &view->hidden, &view->early_hints);
    view->fields = bytes_from(view->head.at + record->status_line_bytes, view->head.len - record->status_line_bytes);
    view->meta = &record->meta;
    view->length = record->body_bytes;
    view->length_known = record->length_known != 0;
    view->is_complete = is_complete;
    view->is_sliced = object->kind == OBJECT_SLICED;
}

void object_body_iov(const struct cache *cache, const struct object *object, uint64_t position, uint64_t end, struct iovec *iov, int *count)
{
    int pieces = 0;
    if (object->body == NULL) {
        const struct record *record = object_record(cache, object);
        if (position<end && * count> 0)
            iov[pieces++] = (struct iovec){(char *)record + record_front_bytes(record) + position, end - position};
        *count = pieces;
        return;
    }
    const struct body *body = object->body;
    for (; position < end && pieces < *count; pieces++) {
        uint32_t number = body_extent_number(body, position);
        assert(number >= body->released_count && number < body->released_count + body->count);
        struct extent extent = body->extents[number - body->released_count];
        uint64_t start = body_extent_start(body, number), stop = body_extent_start(body, number + 1);
        if (stop > end)
            stop = end;
        assert(stop - start <= extent.capacity);
        iov[pieces] = (struct iovec){slab_at(cache->slab, extent) + (position - start), stop - position};
        position = stop;
    }
    *count = pieces;
}

void object_set_length(struct cache *cache, struct object *object, uint64_t bytes)
{
    struct record *record = record_of(cache, object);
    record->body_bytes = bytes;
    record->length_known = 1;
}

void object_copy_body(const struct cache *cache, const struct object *from, struct object *to)
{
    struct record *record = record_of(cache, to);
    char *out = (char *)record + record_front_bytes(record);
    assert(to->body == NULL);
    for (uint64_t done = 0; done < record->body_bytes;) {
        struct iovec piece;
        int count = 1;
        object_body_iov(cache, from, done, record->body_bytes, &piece, &count);
        memcpy(out + done, piece.iov_base, piece.iov_len);
        done += piece.iov_len;
    }
}

static size_t body_table_bytes(uint32_t capacity)
{
    return sizeof(struct body) + capacity * sizeof(struct extent);
}

static struct body *body_make(uint32_t small_count, uint32_t page_count)
{
    struct body *body = calloc(1, sizeof *body);
    if (body == NULL)
        abort();
    ref_init(&body->refs);
    body->small_count = small_count;
    body->page_count = page_count;
    return body;
}

struct body *body_new(void)
{
    return body_make(SLAB_PAGE_BYTES / BODY_SMALL_BYTES, UINT32_MAX);
}

struct body *body_new_window(void)
{
    return body_make(UINT32_MAX, 0);
}

struct body *body_new_sized(uint64_t bytes)
{
    uint64_t rest = bytes % SLAB_PAGE_BYTES, pages = bytes / SLAB_PAGE_BYTES;
    return body_make(0, (uint32_t)(pages + (rest > SLAB_PAGE_BYTES - SLAB_PAGE_BYTES / BODY_PAGE_SPARES)));
}

struct body *body_ref(struct body *body)
{
    ref_take(&body->refs);
    return body;
}

void body_unref(struct cache *cache, struct body **body_pointer)
{
    struct body *body = *body_pointer;
    *body_pointer = NULL;
    if (body == NULL || !ref_drop(&body->refs))
        return;
    if (body->tail_is_lost)
        body->count--;
    for (uint32_t i = 0; i < body->count; i++)
        slab_release(cache->slab, body->extents[i]);
    if (body->capacity > 0)
        atomic_fetch_sub_explicit(&cache->body_table_bytes, body_table_bytes(body->capacity), memory_order_relaxed);
    free(body);
}

uint64_t body_extent_start(const struct body *body, uint32_t number)
{
    uint64_t pages = number <= body->small_count ? 0 : number - body->small_count;
    if (pages > body->page_count)
        pages = body->page_count;
    return pages * SLAB_PAGE_BYTES + (number - pages) * BODY_SMALL_BYTES;
}

uint32_t body_extent_number(const struct body *body, uint64_t position)
{
    uint64_t small = (uint64_t)body->small_count * BODY_SMALL_BYTES, pages = (uint64_t)body->page_count * SLAB_PAGE_BYTES;
    if (position < small)
        return (uint32_t)(position / BODY_SMALL_BYTES);
    if (position - small < pages)
        return body->small_count + (uint32_t)((position - small) / SLAB_PAGE_BYTES);
    return body->small_count + body->page_count + (uint32_t)((position - small - pages) / BODY_SMALL_BYTES);
}

void body_append(struct cache *cache, struct body **body_pointer, struct extent extent)
{
    struct body *body = *body_pointer;
    if (body->count == body->capacity) {
        uint32_t capacity = body->capacity == 0 ? 4 : body->capacity * 2;
        size_t before = body->capacity == 0 ? 0 : body_table_bytes(body->capacity);
        *body_pointer = body = realloc(body, body_table_bytes(capacity));
        if (body == NULL)
            abort();
        atomic_fetch_add_explicit(&cache->body_table_bytes, body_table_bytes(capacity) - before, memory_order_relaxed);
        body->capacity = capacity;
    }
    body->extents[body->count++] = extent;
    body->bytes += extent.capacity;
}

void body_release_before(struct cache *cache, struct body *body, uint64_t position)
{
    uint32_t done = 0;
    while (done < body->count && body_extent_start(body, body->released_count + done + 1) <= position) {
        slab_release(cache->slab, body->extents[done]); /* it is full: not a lost tail */
        body->bytes -= body->extents[done].capacity;
        done++;
    }
    body->count -= done;
    body->released_count += done;
    for (uint32_t i = 0; done > 0 && i < body->count; i++)
        body->extents[i] = body->extents[i + done];
    if (done > 0)
        cache_memory_freed(cache);
}
