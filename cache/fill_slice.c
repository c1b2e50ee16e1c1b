/* Slices: the parts of a large response, each a fill and an object of its own. See policy/slice.h, and OBJECT_SLICED in object.h.
 *
 * DESIGN. A fill for a key may ask for one slice instead of the whole. If a part comes that can be combined with others (RFC 9111 §3.3, §3.4), the fill
 * ends with the head of the whole in its object, stored at once, and its writer goes on with the fill of that slice, which is listed under the
 * head's serial (and with the head's tags alone: what purges the head purges its slices):
 *
 *     fill of the key ── 206 ──→ complete: object = head (sliced), found under the key; its readers take the body from slices
 *           └──── writer ──────→ fill of the slice, found under (key, serial, place): one of those slices
 *
 * Whoever reads a sliced response opens its slices one by one; what is missing is one more fill, which others may join. What does not belong (another
 * validator, another length) ends the set: its head is not found any more. An answer that cannot be used at all makes its readers ask again. */
#include "cache/fill_state.h"

#include "cache/policy/slice.h"
#include "cache/policy/storable.h"

#include <assert.h>

enum { OPEN_ATTEMPTS_MAX = 8 };

struct span fill_slice(const struct fill *fill)
{
    return fill->slice;
}

static bool is_slice_of_head(const struct fill *fill)
{
    return fill->selector != NULL && fill->selector->kind == OBJECT_SLICED;
}

/* The span is the name: a configuration with another size makes other slices. */
static struct object_name slice_name(const struct cache *cache, const struct object *head, const struct cache_key *key, struct span slice,
                                     struct arena *arena)
{
    char *values = arena_alloc(arena, sizeof slice);
    memcpy(values, &slice, sizeof slice);
    return name_of_values(cache, head, key, bytes_from(values, sizeof slice), arena);
}

/* Not found from now on, and its slices neither. */
static void drop_head(struct cache *cache, struct object *head)
{
    if (atomic_load_explicit(&head->listing, memory_order_acquire) != OBJECT_LISTED)
        return;
    struct shard *shard = shard_of(cache, head->hash);
    struct object *dropped = NULL;
    pthread_mutex_lock(&shard->lock);
    if (atomic_load_explicit(&head->listing, memory_order_relaxed) == OBJECT_LISTED) {
        shard_delist(cache, shard, head, OBJECT_UNLISTED);
        cache_forget(cache, head->hash);
        dropped = head;
    }
    pthread_mutex_unlock(&shard->lock);
    object_unref(cache, &dropped);
}

/* The slice's body is about to come. */
static enum error begin_slice(struct fill *fill, const struct response_meta *meta, uint64_t bytes)
{
    const struct record_parts parts = {
        .meta = *meta,
        .key = fill->key.encoded,
        .vary_values = fill->name.values,
        .purge_sequence = fill->purge_sequence,
        .stale_since_s = META_ABSENT,
        .length_known = true,
        .body_bytes = bytes,
        .body_is_apart = true,
    };
    struct object *object = object_new(fill->cache, OBJECT_RESPONSE, &parts);
    if (object == NULL)
        return ERROR_OVERLOADED;
    object_set_selector(object, fill->selector);
    object_set_body(object, body_new_sized(bytes));
    fill->length_known = true;
    fill->length = bytes;
    pthread_mutex_lock(&fill->lock);
    fill->object = object;
    fill->state = FILL_STATE_STREAMING;
    fill_wake_readers(fill);
    pthread_mutex_unlock(&fill->lock);
    return ERROR_OK;
}

/* A part must be storable for itself, whatever was said of the others. */
static bool is_storable(struct fill *fill, const struct origin_head *head)
{
    struct response_meta meta;
    return storable_decide(&fill->request, 200, head->fields, &fill->rules, head->request_time, head->response_time, &meta).store;
}

static enum error set_further_slice(struct fill *fill, const struct origin_head *head)
{
    const struct record *record = object_record(fill->cache, fill->selector);
    struct response_view view;
    struct headers stored;
    struct content_range range;
    object_view(fill->cache, fill->selector, true, &view);
    headers_init(&stored, &fill->arena);
    headers_parse_block(&stored, view.fields);
    if (head->status == 206 && slice_is_answered(head->fields, fill->slice, head->length_known, head->length, &range) &&
        range.length == record_body_bytes(record) && slice_belongs(&stored, head->fields, head->response_time) && is_storable(fill, head))
        return begin_slice(fill, &view.meta, range.part.end - range.part.first);
    if (head->status >= 500) /* says nothing about the representation */
        return ERROR_ORIGIN_ERROR;
    drop_head(fill->cache, fill->selector);
    return fill_decline(fill, DETAIL_NO_SLICES);
}

/* The head of the whole, as a 200 would have had it. */
static struct origin_head whole_head(struct fill *fill, const struct origin_head *part, struct headers *fields, uint64_t length)
{
    headers_init(fields, &fill->arena);
    for (unsigned i = 0; i < part->fields->count; i++) {
        const struct header *field = &part->fields->at[i];
        if (!(header_flags(field->id) & HEADER_CONTENT))
            headers_add(fields, field->id, field->name, field->value);
    }
    struct origin_head whole = *part;
    whole.status = 200;
    whole.reason = BYTES("OK");
    whole.fields = fields;
    whole.length_known = true;
    whole.length = length;
    return whole;
}

static struct fill *new_slice_fill(struct fill *fill, struct object *head)
{
    struct object_name name = slice_name(fill->cache, head, &fill->key, fill->slice, &fill->arena);
    return fill_new(fill->cache, &(struct fill_request){
                                     .key = &fill->key,
                                     .meta = &fill->request,
                                     .rules = &fill->rules,
                                     .name = &name,
                                     .selector = head,
                                     .slice = fill->slice,
                                     .purge_sequence = fill->purge_sequence,
                                 });
}

static void list(struct fill *fill)
{
    struct shard *shard = shard_of(fill->cache, fill->name.hash);
    pthread_mutex_lock(&shard->lock);
    shard_list_fill(shard, fill);
    pthread_mutex_unlock(&shard->lock);
}

/* The writer goes on with `slice`. The slice is listed before the head, so that whoever finds the head joins it. */
static enum error hand_over(struct fill **fill_pointer, struct object *head, struct bytes personal, struct fill *slice)
{
    struct fill *fill = *fill_pointer;
    list(slice);
    enum cache_detail detail = place_object(fill, head);
    if (detail != DETAIL_NONE) {
        unlist_fill(slice);
        fill_discard(&slice);
        return fill_decline(fill, detail);
    }
    pthread_mutex_lock(&fill->lock);
    struct waker *waker = fill->waker;
    fill->object = object_ref(head);
    fill->personal = personal;
    pthread_mutex_unlock(&fill->lock);
    fill_end_writer(fill_pointer, FILL_STATE_COMPLETE, ERROR_OK);
    *fill_pointer = slice;
    if (waker != NULL)
        fill_set_waker(slice, waker);
    return ERROR_OK;
}

static enum error split(struct fill **fill_pointer, const struct origin_head *part, const struct content_range *range)
{
    struct fill *fill = *fill_pointer;
    struct cache *cache = fill->cache;
    struct headers fields;
    struct origin_head whole = whole_head(fill, part, &fields, 0);
    struct head_plan plan;
    enum error error;
    plan_head(fill, &whole, &plan);
    fill_note_plan(fill, &plan, part->response_time);
    if (!plan.store)
        return fill_decline(fill, plan.detail);
    plan.parts.body_bytes = range->length;
    plan.parts.body_is_apart = true;
    struct object *head = fill_build_object(fill, &plan, OBJECT_SLICED, &error);
    if (head == NULL)
        return error;
    object_set_serial(head, atomic_fetch_add_explicit(&cache->selector_serial, 1, memory_order_relaxed) + 1);
    if (plan.store) {
        struct fill *slice = new_slice_fill(fill, head);
        error = begin_slice(slice, &plan.parts.meta, part->length);
        if (error == ERROR_OK)
            error = hand_over(fill_pointer, head, plan.personal, slice);
        else
            fill_discard(&slice);
    } else {
        error = fill_decline(fill, plan.detail);
    }
    object_unref(cache, &head);
    return error;
}

enum error fill_set_slice(struct fill **fill_pointer, const struct origin_head *head)
{
    struct fill *fill = *fill_pointer;
    struct content_range range;
    assert(fill->slice.end > 0 && fill->object == NULL);
    if (is_slice_of_head(fill))
        return set_further_slice(fill, head);
    if (head->status != 206)
        return fill_set_head(fill, head);
    if (!slice_is_answered(head->fields, fill->slice, head->length_known, head->length, &range))
        return fill_decline(fill, DETAIL_NO_SLICES);
    if (head->length == range.length) { /* all of it, and no part */
        struct headers fields;
        struct origin_head whole = whole_head(fill, head, &fields, head->length);
        return fill_set_head(fill, &whole);
    }
    if (slice_validator(head->fields, head->response_time) == NULL)
        return fill_decline(fill, DETAIL_NO_SLICES);
    return split(fill_pointer, head, &range);
}

static struct cache_key head_key(const struct cache *cache, const struct object *head)
{
    struct bytes encoded = record_key(object_record(cache, head));
    return (struct cache_key){encoded, hash_bytes(&cache->hash_key, encoded)};
}

uint64_t slice_hash(const struct cache *cache, const struct object *head, struct span slice)
{
    struct arena arena;
    struct cache_key key = head_key(cache, head);
    arena_init(&arena);
    uint64_t hash = slice_name(cache, head, &key, slice, &arena).hash;
    arena_free(&arena);
    return hash;
}

/* Stored, or joined, as it is found under `name`. */
static bool find_slice(const struct reader *head, const struct object_name *name, struct slice_lookup *lookup, struct reader *reader)
{
    struct cache *cache = head->cache;
    struct shard *shard = shard_of(cache, name->hash);
    bool is_wanted = false;
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(cache, shard, name);
    if (object != NULL) {
        reader->object = object_ref(object);
        is_wanted = shard_touch(cache, shard, object);
    }
    struct fill *fill = object == NULL ? shard_find_fill(shard, name) : NULL;
    if (fill != NULL)
        ref_take(&fill->refs);
    pthread_mutex_unlock(&shard->lock);
    if (is_wanted)
        cache_offer_again(cache, object, head->rules);
    bool joined = fill != NULL && fill_attach(fill, reader, false);
    fill_unref(&fill);
    reader->is_open = reader->is_complete = object != NULL;
    lookup->outcome = object != NULL ? LOOKUP_HIT : LOOKUP_JOIN;
    return object != NULL || joined;
}

bool cache_has_slice(const struct reader *head, struct span slice)
{
    struct cache *cache = head->cache;
    struct cache_key key = head_key(cache, head->object);
    struct object_name name = slice_name(cache, head->object, &key, slice, head->fields->arena);
    struct shard *shard = shard_of(cache, name.hash);
    pthread_mutex_lock(&shard->lock);
    bool is_stored = shard_find(cache, shard, &name) != NULL;
    pthread_mutex_unlock(&shard->lock);
    return is_stored || load_is_on_disk(cache, name.hash);
}

/* LOAD_WAIT: that is the outcome. */
static enum load_answer look_on_disk(const struct reader *head, const struct object_name *name, struct slice_lookup *lookup)
{
    struct cache *cache = head->cache;
    if (cache->store == NULL || lookup->io == NULL)
        return LOAD_NONE;
    load_close(cache, &lookup->wait);
    lookup->wait.waker = lookup->waker;
    enum load_answer answer = load_open(cache, lookup->io, name, head->object, &lookup->wait);
    if (answer == LOAD_WAIT)
        lookup->outcome = LOOKUP_WAIT;
    return answer;
}

/* What a request asks the cache for that has the head of a sliced response. */
struct slice_request {
    struct cache_key key;
    struct request_meta meta;
    struct object_name name;
    struct fill_request fill;
};

static void describe_slice(const struct reader *head, struct span slice, struct arena *arena, struct slice_request *request)
{
    struct cache *cache = head->cache;
    request->key = head_key(cache, head->object);
    request->name = slice_name(cache, head->object, &request->key, slice, arena);
    request_meta_from(&request->meta, METHOD_GET, head->fields);
    request->fill = (struct fill_request){.purge_sequence = purge_sequence(&cache->purges),
                                          .key = &request->key,
                                          .meta = &request->meta,
                                          .rules = head->rules,
                                          .name = &request->name,
                                          .selector = head->object,
                                          .slice = slice};
}

void cache_open_slice(const struct reader *head, struct slice_lookup *lookup, struct reader *reader)
{
    if (load_is_under_way(&lookup->wait)) {
        lookup->outcome = LOOKUP_WAIT;
        return;
    }
    struct arena arena;
    struct slice_request request;
    arena_init(&arena);
    describe_slice(head, lookup->slice, &arena, &request);
    *reader = (struct reader){
        .cache = head->cache,
        .waker = lookup->waker,
        .end = UINT64_MAX,
        .method = METHOD_GET,
        .fields = head->fields,
        .rules = head->rules,
        .now = head->now,
        .purge_sequence = request.fill.purge_sequence,
    };
    list_init(&reader->link);
    lookup->fill = NULL;
    for (unsigned i = 0; lookup->fill == NULL && !find_slice(head, &request.name, lookup, reader); i++) {
        enum load_answer answer = look_on_disk(head, &request.name, lookup);
        if (answer == LOAD_WAIT)
            break;
        if (answer == LOAD_CHANGED && i < OPEN_ATTEMPTS_MAX)
            continue;
        struct fill *fill = fill_new(head->cache, &request.fill);
        if (!list_if_new(fill) && i < OPEN_ATTEMPTS_MAX) {
            fill_discard(&fill);
            continue;
        }
        fill_attach(fill, reader, true);
        lookup->outcome = LOOKUP_FILL;
        lookup->fill = fill;
    }
    if (lookup->outcome != LOOKUP_WAIT)
        load_close(head->cache, &lookup->wait);
    arena_free(&arena);
}

struct fill *cache_begin_slice(const struct reader *head, struct slice_lookup *lookup)
{
    struct cache *cache = head->cache;
    struct arena arena;
    struct slice_request request;
    arena_init(&arena);
    describe_slice(head, lookup->slice, &arena, &request);
    struct shard *shard = shard_of(cache, request.name.hash);
    pthread_mutex_lock(&shard->lock);
    bool is_there = shard_find(cache, shard, &request.name) != NULL || shard_find_fill(shard, &request.name) != NULL;
    pthread_mutex_unlock(&shard->lock);
    struct fill *fill = NULL;
    lookup->outcome = LOOKUP_JOIN;
    if (!is_there && look_on_disk(head, &request.name, lookup) == LOAD_NONE) {
        fill = fill_new(cache, &request.fill);
        if (!list_if_new(fill))
            fill_discard(&fill);
    }
    arena_free(&arena);
    return fill;
}
