/* The life of a fill: made, given a head, streamed into, ended. See fill.h; what the head says is decided in fill_head.c, where it goes in fill_place.c,
 * and where the body's bytes lie in fill_body.c.
 *
 * Other requests may find a fill only while it is listed. It is always unlisted before its state says that it is private or over, so that who
 * fails to attach to it will not find it again. */
#include "cache/fill_state.h"

#include "cache/policy/freshness.h"
#include "cache/policy/invalidate.h"
#include "cache/policy/storable.h"

#include <assert.h>
#include <stdlib.h>

static void set_stale(struct fill *fill, struct object *stale)
{
    fill->stale = object_ref(stale);
    object_view(fill->cache, stale, true, &fill->stale_view);
    fill->stale_view.source = SOURCE_STORED;
    fill->stale_view.is_stored = true;
}

static void set_target(struct fill *fill)
{
    struct target *target = arena_alloc(&fill->arena, sizeof *target);
    bool is_key = cache_key_parts(fill->key.encoded, &target->scheme, &target->host, &target->path, &target->query);
    assert(is_key);
    (void)is_key;
    fill->request.target = target;
}

struct fill *fill_new(struct cache *cache, const struct fill_request *request)
{
    struct fill *fill = calloc(1, sizeof *fill);
    if (fill == NULL)
        abort();
    fill->cache = cache;
    arena_init(&fill->arena);
    fill->key = (struct cache_key){arena_copy(&fill->arena, request->key->encoded), request->key->hash};
    headers_init(&fill->fields, &fill->arena);
    headers_copy(&fill->fields, request->meta->fields);
    fill->request = *request->meta;
    fill->request.fields = &fill->fields;
    fill->rules = *request->rules;
    fill->purge_sequence = request->purge_sequence;
    set_target(fill);
    fill->is_listable = request->name != NULL;
    /* A POST is for its originator alone, unless it is answered with what a GET would get. */
    fill->is_private = !fill->is_listable || fill->request.method == METHOD_POST;
    fill->pass_detail = request->pass_detail;
    fill->unstorable = request->unstorable;
    fill->slice = request->slice;
    if (request->name != NULL)
        fill->name = (struct object_name){request->name->hash, fill->key.encoded, arena_copy(&fill->arena, request->name->values)};
    if (request->stale != NULL)
        set_stale(fill, request->stale);
    if (request->selector != NULL)
        fill->selector = object_ref(request->selector);
    ref_init(&fill->refs);
    pthread_mutex_init(&fill->lock, NULL);
    list_init(&fill->readers);
    list_init(&fill->listed_link);
    list_init(&fill->memory_link);
    atomic_fetch_add_explicit(&cache->fills_count, 1, memory_order_relaxed);
    return fill;
}

void fill_unref(struct fill **fill_pointer)
{
    struct fill *fill = *fill_pointer;
    *fill_pointer = NULL;
    if (fill == NULL || !ref_drop(&fill->refs))
        return;
    struct cache *cache = fill->cache;
    assert(list_is_empty(&fill->readers) && !fill->is_listed);
    if (!extent_is_none(fill->retired))
        slab_release(cache->slab, fill->retired);
    object_unref(cache, &fill->stale);
    object_unref(cache, &fill->selector);
    object_unref(cache, &fill->object);
    pthread_mutex_destroy(&fill->lock);
    arena_free(&fill->arena);
    free(fill);
    cache_memory_freed(cache); /* what it held on to can be evicted now */
}

void fill_discard(struct fill **fill)
{
    atomic_fetch_sub_explicit(&(*fill)->cache->fills_count, 1, memory_order_relaxed);
    fill_unref(fill);
}

bool fill_attach(struct fill *fill, struct reader *reader, bool is_originator)
{
    pthread_mutex_lock(&fill->lock);
    bool joinable = is_originator || (!fill->is_private && fill->state != FILL_STATE_FAILED);
    if (joinable) {
        ref_take(&fill->refs);
        reader->fill = fill;
        reader->is_originator = is_originator;
        list_push_back(&fill->readers, &reader->link);
    }
    pthread_mutex_unlock(&fill->lock);
    return joinable;
}

bool fill_head_meta(struct fill *fill, struct response_meta *meta)
{
    pthread_mutex_lock(&fill->lock);
    bool there = fill->object != NULL;
    if (there) {
        const struct record *record = object_record(fill->cache, fill->object);
        record_meta_now(record, meta);
        struct purge_verdict purge = record_find_purge(fill->cache, record, fill->purge_sequence);
        if (purge.is_soft)
            freshness_end(meta, (struct wall_seconds){purge.stale_since_s});
    }
    pthread_mutex_unlock(&fill->lock);
    return there;
}

void fill_set_waker(struct fill *fill, struct waker *waker)
{
    pthread_mutex_lock(&fill->lock);
    assert(fill->waker == NULL);
    fill->waker = waker;
    pthread_mutex_unlock(&fill->lock);
}

const struct response_view *fill_stale(const struct fill *fill)
{
    bool can_validate = fill->is_listable && fill->stale != NULL && (fill->stale_view.meta.flags & RESPONSE_HAS_VALIDATOR) != 0;
    return can_validate ? &fill->stale_view : NULL;
}

/* The fill's lock is no part of what a const fill promises. */
static pthread_mutex_t *lock_of(const struct fill *fill)
{
    return (pthread_mutex_t *)&fill->lock;
}

enum fill_disposition fill_disposition(const struct fill *fill)
{
    pthread_mutex_lock(lock_of(fill));
    enum fill_disposition disposition = fill->is_private ? FILL_PRIVATE : FILL_STORING;
    pthread_mutex_unlock(lock_of(fill));
    return disposition;
}

bool fill_is_wanted(const struct fill *fill)
{
    pthread_mutex_lock(lock_of(fill));
    bool wanted = !fill->is_private || !list_is_empty(&fill->readers);
    pthread_mutex_unlock(lock_of(fill));
    return wanted;
}

void fill_wake_readers(struct fill *fill)
{
    LIST_FOR_EACH(node, &fill->readers)
    {
        struct reader *reader = LIST_OWNER(node, struct reader, link);
        if (reader->waiting) {
            reader->waiting = false;
            waker_wake(reader->waker);
        }
    }
}

/* With the fill's lock held, after the readers were woken. They keep their references until they close. */
static void release_waiters(struct fill *fill)
{
    LIST_FOR_EACH_SAFE(node, &fill->readers)
    {
        struct reader *reader = LIST_OWNER(node, struct reader, link);
        if (!reader->is_originator) {
            reader->is_released = true;
            list_remove(node);
        }
    }
}

void fill_note_unstorable(struct fill *fill, enum cache_detail detail)
{
    bool is_purged = atomic_load_explicit(&fill->is_purged, memory_order_relaxed); /* by its URL */
    if (!fill->is_listable || fill->unstorable == 0 || is_purged || !detail_will_last(detail))
        return;
    if (fill->purge_names_count > 0)
        fill->purge_names[0] = key_host_hash(fill->cache, fill->key.encoded, &fill->arena);
    unstorable_add(&fill->cache->unstorable, &(struct unstorable_mark){
                                                 .name = fill->unstorable,
                                                 .until = fill->unstorable_until,
                                                 .since = fill->purge_sequence,
                                                 .purge_names = fill->purge_names,
                                                 .purge_names_count = fill->purge_names_count,
                                             });
}

void fill_note_plan(struct fill *fill, const struct head_plan *plan, struct wall_seconds received)
{
    fill->unstorable_until = (struct wall_seconds){received.s + fill->rules.hit_for_miss_s};
    fill->is_storable = plan->is_storable;
    if (plan->store)
        equivalents_add(&fill->cache->equivalents, &fill->cache->hash_key, &fill->key, &plan->fields, &fill->arena);
    bool is_about_slice = fill->slice.end > 0 && plan->parts.meta.status == 416;
    if (!plan->store && !plan->is_origin_error && !is_about_slice)
        fill_note_unstorable(fill, plan->detail);
    if (plan->ends_stale) /* RFC 9111 §4.3.3, §4.3.4 */
        replace_stale(fill, NULL);
}

/* With the fill's lock held. A response that was purged meanwhile still answers those who asked before. */
static void set_verdict(struct fill *fill, const struct head_plan *plan)
{
    fill->is_private = !plan->store;
    fill->detail = plan->detail;
    fill->is_origin_error = plan->is_origin_error;
    fill_wake_readers(fill);
    if (fill->is_private && plan->detail != DETAIL_PURGED)
        release_waiters(fill);
    fill_tell_if_unwanted(fill);
}

struct object *fill_build_object(struct fill *fill, struct head_plan *plan, enum object_kind kind, enum error *error)
{
    struct object *object = plan->error == ERROR_OK ? object_new(fill->cache, kind, &plan->parts) : NULL;
    *error = object != NULL ? ERROR_OK : plan->error != ERROR_OK ? plan->error : ERROR_OVERLOADED;
    if (object == NULL)
        return NULL;
    struct object *selector = NULL;
    if (plan->store)
        place_fill(fill, plan, &selector);
    if (selector != NULL) {
        if (plan->store)
            object_set_selector(object, selector);
        object_unref(fill->cache, &selector);
    }
    return object;
}

/* RFC 9110 §9.3.3. The POST itself invalidates what is stored, or is being fetched, under its URL (RFC 9111 §4.4): that comes first, so that it does not
 * concern its own response; from then on that is found, and purged, as others are. Who has begun to fetch the URL meanwhile will bring it. */
static void answer_gets(struct fill *fill, struct head_plan *plan, struct wall_seconds now)
{
    cache_purge(fill->cache, &fill->key, PURGE_HARD, now);
    pthread_mutex_lock(&fill->lock);
    fill->is_private = false; /* before it can be found */
    pthread_mutex_unlock(&fill->lock);
    if (list_if_new(fill))
        return;
    plan->store = false;
    plan->detail = DETAIL_METHOD;
}

enum error fill_set_head(struct fill *fill, const struct origin_head *head)
{
    assert(fill->object == NULL);
    struct head_plan plan;
    enum error error;
    plan_head(fill, head, &plan);
    if (plan.store && fill->request.method == METHOD_POST)
        answer_gets(fill, &plan, head->response_time);
    struct object *object = fill_build_object(fill, &plan, OBJECT_RESPONSE, &error);
    if (object == NULL)
        return error;
    fill_note_plan(fill, &plan, head->response_time);
    if (!plan.store)
        unlist_fill(fill);
    if (fill->request.method == METHOD_HEAD && fill->stale != NULL)
        update_stored_by_head(fill, head);
    if (plan.parts.body_is_apart)
        object_set_body(object, !plan.store               ? body_new_window()
                                : plan.parts.length_known ? body_new_sized(plan.parts.body_bytes)
                                                          : body_new());
    fill->length_known = plan.parts.length_known;
    fill->length = plan.parts.body_bytes;

    pthread_mutex_lock(&fill->lock);
    fill->object = object;
    fill->personal = plan.personal;
    fill->state = FILL_STATE_STREAMING;
    set_verdict(fill, &plan);
    pthread_mutex_unlock(&fill->lock);
    return ERROR_OK;
}

void fill_end_writer(struct fill **fill_pointer, enum fill_state state, enum error error)
{
    struct fill *fill = *fill_pointer;
    struct cache *cache = fill->cache;
    fill_stop_waiting_for_memory(fill);
    pthread_mutex_lock(&fill->lock);
    fill->state = state;
    fill->error = error;
    fill->waker = NULL;
    fill_wake_readers(fill);
    pthread_mutex_unlock(&fill->lock);
    atomic_fetch_sub_explicit(&cache->fills_count, 1, memory_order_relaxed);
    fill_unref(fill_pointer);
}

void take_stale_body(struct fill *fill, struct object *object)
{
    struct cache *cache = fill->cache;
    if (fill->stale->kind == OBJECT_SLICED) {
        object_set_serial(object, object_serial(fill->stale));
        return;
    }
    struct body *body = object_body(fill->stale);
    if (body == NULL) {
        object_copy_body(cache, fill->stale, object);
        return;
    }
    object_set_body(object, body_ref(body));
    for (uint32_t i = 0; i < body->count; i++) {
        if (body->extents[i].capacity <= SLAB_CHUNK_MAX_BYTES)
            slab_set_owner(cache->slab, body->extents[i], object_number(cache, object));
    }
}

enum error fill_set_not_modified(struct fill **fill_pointer, const struct origin_head *head)
{
    struct fill *fill = *fill_pointer;
    assert(fill->stale != NULL && fill->object == NULL);
    struct head_plan plan;
    enum error error;
    plan_refresh(fill, head, &plan);
    struct object *object = fill_build_object(fill, &plan, (enum object_kind)fill->stale->kind, &error);
    if (object == NULL) {
        if (plan.error != ERROR_OK) { /* the stored head and this one together: who waits asks for the whole, and is given that */
            replace_stale(fill, NULL);
            error = fill_decline(fill, DETAIL_HEAD_TOO_LARGE);
        }
        fill_fail(fill_pointer, error);
        return error;
    }
    take_stale_body(fill, object);
    fill_note_plan(fill, &plan, head->response_time);
    if (plan.store) {
        plan.detail = place_object(fill, object);
        plan.store = plan.detail == DETAIL_NONE;
    } else {
        unlist_fill(fill);
    }
    pthread_mutex_lock(&fill->lock);
    fill->object = object;
    fill->personal = plan.personal;
    fill->is_revalidated = true;
    fill->written = fill->stale_view.length;
    set_verdict(fill, &plan);
    pthread_mutex_unlock(&fill->lock);
    fill_end_writer(fill_pointer, FILL_STATE_COMPLETE, ERROR_OK); /* with the last look at its readers: from then on they take no lock */
    return ERROR_OK;
}

void fill_finish(struct fill **fill_pointer)
{
    struct fill *fill = *fill_pointer;
    assert(fill->object != NULL);
    if (fill->length_known && fill->written < fill->length) {
        fill_fail(fill_pointer, ERROR_ORIGIN_TRUNCATED);
        return;
    }
    if (fill->is_storable && fill->unstorable != 0 && fill->written <= fill->cache->settings.object_max_bytes)
        unstorable_remove(&fill->cache->unstorable, fill->unstorable);
    struct object *object = fill_close_body(fill);
    enum cache_detail detail = fill->is_private ? DETAIL_NONE : place_object(fill, object);
    if (detail != DETAIL_NONE) {
        pthread_mutex_lock(&fill->lock);
        fill->is_private = true;
        fill->detail = detail;
        pthread_mutex_unlock(&fill->lock);
    }
    object_unref(fill->cache, &object);
    fill_end_writer(fill_pointer, FILL_STATE_COMPLETE, ERROR_OK);
}

enum error fill_decline(struct fill *fill, enum cache_detail detail)
{
    pthread_mutex_lock(&fill->lock);
    fill->is_declined = true;
    fill->detail = detail;
    pthread_mutex_unlock(&fill->lock);
    return ERROR_CLIENT_CLOSED;
}

void fill_fail(struct fill **fill_pointer, enum error error)
{
    unlist_fill(*fill_pointer);
    fill_end_writer(fill_pointer, FILL_STATE_FAILED, error);
}
