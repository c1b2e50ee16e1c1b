/* See object.h. */
#include "cache/object.h"

#include "base/status_line.h"
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

static inline struct record *record_of(const struct cache *cache, const struct object *object)
{
    assert(ref_count(&object->refs) > 0 && object->record_units > 0);
    return (struct record *)(void *)(cache->slab_start + (size_t)object->record_unit * SLAB_UNIT_BYTES);
}

const struct record *object_record(const struct cache *cache, const struct object *object)
{
    return record_of(cache, object);
}

/* NULL: it has none. */
static inline const struct record_more *more_of(const struct record *record)
{
    return record->has_more ? (const struct record_more *)(const void *)(record + 1) : NULL;
}

static inline size_t more_bytes(bool has_more)
{
    return has_more ? sizeof(struct record_more) : 0;
}

static inline const char *texts_of(const struct record *record)
{
    return (const char *)(record + 1) + more_bytes(record->has_more) + record->tags_count * sizeof(uint64_t);
}

/* Where the head begins: behind the key, and Vary's names and values. */
static inline const char *head_of(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return texts_of(record) + record->key_bytes + (more != NULL ? (size_t)more->vary_names_bytes + more->vary_values_bytes : 0);
}

const uint64_t *record_tags(const struct record *record)
{
    return (const uint64_t *)(const void *)((const char *)(record + 1) + more_bytes(record->has_more));
}

struct bytes record_key(const struct record *record)
{
    return bytes_from(texts_of(record), record->key_bytes);
}

struct bytes record_vary_names(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return bytes_from(texts_of(record) + record->key_bytes, more != NULL ? more->vary_names_bytes : 0);
}

struct bytes record_vary_values(const struct record *record)
{
    const struct record_more *more = more_of(record);
    size_t length = more != NULL ? more->vary_values_bytes : 0;
    return bytes_from(head_of(record) - length, length);
}

struct bytes record_fields(const struct record *record)
{
    return bytes_from(head_of(record) + record->status_line_bytes, record->head_bytes - record->status_line_bytes);
}

bool record_has_vary(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return more != NULL && more->vary_names_bytes > 0;
}

size_t record_hidden_bytes(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return more != NULL ? more->hidden_bytes : 0;
}

bool record_length_known(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return more == NULL || more->length_unknown == 0;
}

uint64_t record_body_bytes(const struct record *record)
{
    const struct record_more *more = more_of(record);
    return more != NULL ? more->body_bytes : record->plain_body_bytes;
}

void record_meta(const struct record *record, struct response_meta *meta)
{
    const struct record_more *more = more_of(record);
    memcpy(meta, record->meta, META_COMMON_BYTES);
    meta->stale_while_revalidate_s = more != NULL ? more->stale_while_revalidate_s : META_ABSENT;
    meta->stale_if_error_s = more != NULL ? more->stale_if_error_s : META_ABSENT;
}

bool record_meta_now(const struct record *record, struct response_meta *meta)
{
    uint32_t after_s = atomic_load_explicit(&record->stale_after_s, memory_order_relaxed);
    record_meta(record, meta);
    if (after_s == STALE_NEVER)
        return false;
    freshness_end(meta, (struct wall_seconds){meta->response_time_s + after_s});
    return true;
}

/* ---- softly purged: when, counted from the response's time. What is stale from its first moment on cannot be any staler. ------------------- */

static int64_t response_time_of(const uint64_t *common)
{
    struct response_meta meta;
    memcpy(&meta, common, META_COMMON_BYTES);
    return meta.response_time_s;
}

static uint32_t stale_after(int64_t since_s, int64_t response_time_s)
{
    if (since_s == META_ABSENT)
        return STALE_NEVER;
    int64_t after_s = since_s - response_time_s;
    return after_s <= 0 ? 0 : after_s < STALE_NEVER ? (uint32_t)after_s : STALE_NEVER - 1;
}

int64_t record_stale_since(const struct record *record)
{
    uint32_t after_s = atomic_load_explicit(&record->stale_after_s, memory_order_relaxed);
    return after_s == STALE_NEVER ? META_ABSENT : response_time_of(record->meta) + after_s;
}

void record_note_stale(struct record *record, int64_t since_s)
{
    uint32_t after_s = stale_after(since_s, response_time_of(record->meta));
    uint32_t before_s = atomic_load_explicit(&record->stale_after_s, memory_order_relaxed);
    while (after_s < before_s &&
           !atomic_compare_exchange_weak_explicit(&record->stale_after_s, &before_s, after_s, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void record_set_stale(struct record *record, int64_t since_s)
{
    atomic_store_explicit(&record->stale_after_s, stale_after(since_s, response_time_of(record->meta)), memory_order_relaxed);
}

/* ---- made of its parts, and taken apart ---------------------------------------------------------------------------------------------------- */

struct record_parts record_parts_of(const struct record *record)
{
    struct record_parts parts = {
        .tags = record_tags(record),
        .tags_count = record->tags_count,
        .goes_with_host = record->goes_with_host,
        .purge_sequence = atomic_load_explicit(&record->purge_checked, memory_order_relaxed),
        .stale_since_s = record_stale_since(record),
        .key = record_key(record),
        .vary_names = record_vary_names(record),
        .vary_values = record_vary_values(record),
        .head = bytes_from(head_of(record), record->head_bytes),
        .status_line_bytes = record->status_line_bytes,
        .hidden_bytes = (uint32_t)record_hidden_bytes(record),
        .length_known = true,
        .body_bytes = record_body_bytes(record),
    };
    record_meta(record, &parts.meta);
    return parts;
}

size_t record_front_bytes(const struct record *record)
{
    return (size_t)(head_of(record) + record->head_bytes - (const char *)record);
}

/* Of its own, or a usual one; a selector needs none, nor does a slice. */
static bool has_status_line(const struct record *record)
{
    struct response_meta meta;
    record_meta(record, &meta);
    return record->head_bytes == 0 || record->status_line_bytes > 0 || status_line_usual(meta.status).len > 0;
}

bool record_is_sound(const struct record *record, size_t front_bytes)
{
    size_t fixed = sizeof *record + more_bytes(record->has_more) + record->tags_count * sizeof(uint64_t);
    return front_bytes >= sizeof *record + more_bytes(record->has_more) && record->tags_count <= TAGS_MAX &&
           record->status_line_bytes <= record->head_bytes &&
           record_hidden_bytes(record) <= (size_t)record->head_bytes - record->status_line_bytes && has_status_line(record) &&
           fixed + record->key_bytes + record_vary_names(record).len + record_vary_values(record).len + record->head_bytes == front_bytes;
}

static bool parts_need_more(const struct record_parts *parts)
{
    return !parts->length_known || parts->body_bytes > UINT32_MAX || parts->hidden_bytes > 0 || parts->vary_names.len > 0 ||
           parts->vary_values.len > 0 || parts->meta.stale_while_revalidate_s != META_ABSENT || parts->meta.stale_if_error_s != META_ABSENT;
}

size_t record_parts_bytes(const struct record_parts *parts)
{
    return sizeof(struct record) + more_bytes(parts_need_more(parts)) + parts->tags_count * sizeof *parts->tags + parts->key.len +
           parts->vary_names.len + parts->vary_values.len + parts->head.len;
}

/* object_new has seen that it fits into a page. */
static void write_record(struct record *record, const struct record_parts *parts)
{
    bool has_more = parts_need_more(parts);
    uint64_t body_bytes = parts->length_known ? parts->body_bytes : 0;
    *record = (struct record){
        .plain_body_bytes = has_more ? 0 : (uint32_t)body_bytes,
        .key_bytes = (uint16_t)parts->key.len,
        .head_bytes = (uint16_t)parts->head.len,
        .status_line_bytes = (uint16_t)parts->status_line_bytes,
        .tags_count = parts->tags_count & 0x3fff,
        .goes_with_host = parts->goes_with_host,
        .has_more = has_more,
        .stale_after_s = stale_after(parts->stale_since_s, parts->meta.response_time_s),
        .purge_checked = parts->purge_sequence,
    };
    memcpy(record->meta, &parts->meta, META_COMMON_BYTES);
    if (has_more)
        *(struct record_more *)(void *)(record + 1) = (struct record_more){
            .body_bytes = body_bytes,
            .stale_while_revalidate_s = parts->meta.stale_while_revalidate_s,
            .stale_if_error_s = parts->meta.stale_if_error_s,
            .vary_names_bytes = (uint16_t)parts->vary_names.len,
            .vary_values_bytes = (uint16_t)parts->vary_values.len,
            .hidden_bytes = (uint16_t)parts->hidden_bytes,
            .length_unknown = !parts->length_known,
        };
    char *at = bytes_put((char *)(record + 1) + more_bytes(has_more),
                         bytes_from((const char *)parts->tags, parts->tags_count * sizeof *parts->tags));
    bytes_put(bytes_put(bytes_put(bytes_put(at, parts->key), parts->vary_names), parts->vary_values), parts->head);
}

/* ---- the object itself --------------------------------------------------------------------------------------------------------------------- */

struct object *object_take_cell(struct cache *cache, bool is_large)
{
    struct object *cell = cells_take(is_large ? &cache->large_objects : &cache->small_objects);
    if (cell != NULL)
        cell->is_large = is_large;
    return cell;
}

struct object *object_reserve(struct cache *cache, bool is_large)
{
    room_for_overhead(cache);
    return object_take_cell(cache, is_large);
}

void object_give_cell(struct cache *cache, struct object *cell)
{
    cells_give(cell->is_large ? &cache->large_objects : &cache->small_objects, cell);
}

uint64_t objects_in_use(const struct cache *cache)
{
    return cells_in_use(&cache->small_objects) + cells_in_use(&cache->large_objects);
}

uint64_t objects_bytes(const struct cache *cache)
{
    return cells_in_use(&cache->small_objects) * sizeof(struct object) + cells_in_use(&cache->large_objects) * sizeof(struct object_large);
}

void object_adopt(struct object *object, enum object_kind kind, struct extent extent)
{
    assert(object->is_large || kind == OBJECT_RESPONSE);
    atomic_store_explicit(&object->frequency, 0, memory_order_relaxed);
    atomic_store_explicit(&object->listing, OBJECT_UNLISTED, memory_order_relaxed);
    atomic_store_explicit(&object->is_refused, false, memory_order_relaxed);
    object->kind = (unsigned)kind & 3;
    object->queue = QUEUE_NONE;
    object->hash = 0;
    object->older = object->newer = 0;
    object_set_extent(object, extent);
    object->record_is_lost = false;
    object->leave = 0;
    if (object->is_large) {
        struct object_large *large = object_large(object);
        large->selector = NULL;
        large->body = NULL;
        atomic_store_explicit(&large->variants_count, 0, memory_order_relaxed);
    }
    /* Last, and atomically: a page's owners may be looked at (object_try_ref) at any time. */
    atomic_store_explicit(&object->refs.count, 1, memory_order_release);
}

/* What hangs on a selector or on what is sliced has values that it is found by; and its selector has the names of the fields. */
static bool is_to_be_large(enum object_kind kind, const struct record_parts *parts)
{
    return kind != OBJECT_RESPONSE || parts->body_is_apart || parts->vary_names.len > 0 || parts->vary_values.len > 0;
}

struct object *object_new(struct cache *cache, enum object_kind kind, const struct record_parts *parts)
{
    size_t bytes = record_parts_bytes(parts) + (parts->body_is_apart ? 0 : parts->body_bytes);
    if (bytes > SLAB_PAGE_BYTES)
        return NULL;
    struct object *object = object_reserve(cache, is_to_be_large(kind, parts));
    if (object == NULL)
        return NULL;
    struct extent extent = room_alloc(cache, bytes, object);
    if (extent_is_none(extent)) {
        object_give_cell(cache, object);
        return NULL;
    }
    write_record((struct record *)(void *)slab_at(cache->slab, extent), parts);
    object_adopt(object, kind, extent);
    return object;
}

void object_set_selector(struct object *object, struct object *selector)
{
    struct object_large *large = object_large(object);
    assert(large->selector == NULL && selector->kind != OBJECT_RESPONSE);
    large->selector = object_ref(selector);
    atomic_fetch_add_explicit(&object_large(selector)->variants_count, 1, memory_order_relaxed);
}

void object_set_body(struct object *object, struct body *body)
{
    struct object_large *large = object_large(object);
    assert(object->kind == OBJECT_RESPONSE && large->body == NULL);
    large->body = body;
}

void object_set_serial(struct object *object, uint64_t serial)
{
    assert(object->kind != OBJECT_RESPONSE);
    object_large(object)->serial = serial;
}

uint64_t object_serial(const struct object *object)
{
    assert(object->kind != OBJECT_RESPONSE);
    return object_large(object)->serial;
}

uint32_t object_variants_count(const struct object *object)
{
    assert(object->kind != OBJECT_RESPONSE);
    return atomic_load_explicit(&object_large(object)->variants_count, memory_order_relaxed);
}

static void free_object(struct cache *cache, struct object *object)
{
    assert(object->queue == QUEUE_NONE && atomic_load_explicit(&object->listing, memory_order_relaxed) != OBJECT_LISTED);
    if (!object->record_is_lost)
        slab_release(cache->slab, object_extent(object));
    if (object->is_large) {
        struct object_large *large = object_large(object);
        if (object->kind == OBJECT_RESPONSE)
            body_unref(cache, &large->body);
        if (large->selector != NULL)
            atomic_fetch_sub_explicit(&object_large(large->selector)->variants_count, 1, memory_order_relaxed);
        object_unref(cache, &large->selector);
    }
    object_give_cell(cache, object);
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
    if (!bytes_equal(record_key(record), name->key))
        return false;
    return record->has_more ? bytes_equal(record_vary_values(record), name->values) : name->values.len == 0;
}

uint64_t object_footprint(const struct object *object)
{
    const struct body *body = object_body(object);
    return object_extent(object).capacity + (body != NULL ? body->bytes : 0);
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
    size_t hidden_bytes = record_hidden_bytes(record);
    record_meta(record, &view->meta);
    view->status = view->meta.status;
    view->status_line = bytes_from(head_of(record), record->status_line_bytes);
    view->fields = record_fields(record);
    view->fields.len -= hidden_bytes;
    view->hidden = view->early_hints = BYTES("");
    if (hidden_bytes > 0)
        split_hidden(bytes_from(view->fields.at + view->fields.len, hidden_bytes), &view->hidden, &view->early_hints);
    view->length = record_body_bytes(record);
    view->length_known = record_length_known(record);
    view->is_complete = is_complete;
    view->is_sliced = object->kind == OBJECT_SLICED;
}

void object_body_iov(const struct cache *cache, const struct object *object, uint64_t position, uint64_t end, struct iovec *iov, int *count)
{
    int pieces = 0;
    const struct body *body = object_body(object);
    if (body == NULL) {
        const struct record *record = object_record(cache, object);
        if (position<end && * count> 0)
            iov[pieces++] = (struct iovec){(char *)record + record_front_bytes(record) + position, end - position};
        *count = pieces;
        return;
    }
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
    assert(!record_length_known(record));
    struct record_more *more = (struct record_more *)(void *)(record + 1);
    more->body_bytes = bytes;
    more->length_unknown = 0;
}

void object_copy_body(const struct cache *cache, const struct object *from, struct object *to)
{
    struct record *record = record_of(cache, to);
    char *out = (char *)record + record_front_bytes(record);
    const uint64_t bytes = record_body_bytes(record);
    assert(object_body(to) == NULL);
    for (uint64_t done = 0; done < bytes;) {
        struct iovec piece;
        int count = 1;
        object_body_iov(cache, from, done, bytes, &piece, &count);
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

void object_append(struct cache *cache, struct object *object, struct extent extent)
{
    assert(object_body(object) != NULL);
    body_append(cache, &object_large(object)->body, extent);
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
