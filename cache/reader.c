/* See reader.h. While a fill is under way its readers look at it under its lock; once it is complete, and for what was stored at the lookup,
 * nothing changes any more and no lock is taken.
 *
 * Each waiter decides for itself, on its own loop, whether the response that arrived is for its request: it may select another variant
 * (RFC 9111 §4.1), or be allowed the stale response where the fill failed. So the writer decides nothing for others, and no request's fields
 * are read by another thread. */
#include "cache/fill_state.h"

#include "cache/policy/vary.h"

#include <assert.h>

static void detach(struct reader *reader)
{
    struct fill *fill = reader->fill;
    if (fill == NULL)
        return;
    pthread_mutex_lock(&fill->lock);
    list_remove(&reader->link);
    reader->waiting = false;
    fill_reader_moved(fill, reader->position);
    pthread_mutex_unlock(&fill->lock);
    fill_unref(&reader->fill);
}

/* Only while something may still arrive. */
static struct fill *lock_fill(const struct reader *reader)
{
    struct fill *fill = reader->is_complete ? NULL : reader->fill;
    if (fill != NULL)
        pthread_mutex_lock(&fill->lock);
    return fill;
}

static void unlock_fill(struct fill *fill)
{
    if (fill != NULL)
        pthread_mutex_unlock(&fill->lock);
}

static void show(struct reader *reader, struct response_view *view)
{
    struct fill *fill = reader->fill;
    if (fill != NULL) {
        pthread_mutex_lock(&fill->lock);
        reader->is_complete = fill->state == FILL_STATE_COMPLETE;
        view->is_stored = !fill->is_private;
        view->detail = fill->detail;
        view->personal = reader->is_originator ? fill->personal : BYTES_NONE;
        object_view(reader->cache, reader->object, reader->is_complete, view);
        pthread_mutex_unlock(&fill->lock);
    } else {
        view->is_stored = true;
        view->detail = DETAIL_NONE;
        view->personal = BYTES_NONE;
        object_view(reader->cache, reader->object, true, view);
    }
    view->source = reader->source;
}

/* RFC 5861 §4: the stale response instead of an error, where it allows that and the request does. Leaves the fill. */
static bool fall_back_on_stale(struct reader *reader, enum response_source source)
{
    struct object *stale = reader->fill->stale;
    struct request_meta request;
    if (stale == NULL)
        return false;
    request_meta_from(&request, reader->method, reader->fields);
    struct response_meta meta;
    record_meta_now(object_record(reader->cache, stale), &meta);
    if (!reuse_allowed_on_error(&meta, &request, reader->rules, reader->now))
        return false;
    object_unref(reader->cache, &reader->object);
    reader->object = object_ref(stale);
    reader->source = source;
    detach(reader);
    reader->is_open = reader->is_complete = true;
    return true;
}

/* Whether the request selects this response (RFC 9111 §4.1). */
static bool is_selected(const struct reader *reader, const struct record *record)
{
    if (reader->is_originator || !record_has_vary(record))
        return true;
    struct bytes values = vary_values(record_vary_names(record), reader->fields, reader->fields->arena);
    return bytes_equal(values, record_vary_values(record));
}

/* It joined after a purge that the fill was opened before, and only now is it known of what: DETAIL_PURGED, DETAIL_SOFT_PURGED, or DETAIL_NONE. */
static enum cache_detail find_purge(const struct reader *reader, const struct record *record)
{
    const struct fill *fill = reader->fill;
    if (reader->is_originator || reader->purge_sequence == fill->purge_sequence)
        return DETAIL_NONE;
    if (fill_is_purged(reader->fill))
        return DETAIL_PURGED;
    return record_find_purge(reader->cache, record, fill->purge_sequence).is_soft ? DETAIL_SOFT_PURGED : DETAIL_NONE;
}

enum reader_head reader_head(struct reader *reader, struct response_view *view, enum error *error)
{
    if (reader->is_open) {
        show(reader, view);
        return READER_HEAD_READY;
    }
    struct fill *fill = reader->fill;
    const struct record *record = NULL;
    pthread_mutex_lock(&fill->lock);
    if (fill->state == FILL_STATE_FETCHING) {
        reader->waiting = true;
        pthread_mutex_unlock(&fill->lock);
        return READER_HEAD_WAIT;
    }
    bool failed = fill->state == FILL_STATE_FAILED && !fill->is_declined, is_origin_error = fill->is_origin_error;
    bool is_released = reader->is_released || fill->is_declined;
    *error = fill->error;
    view->detail = fill->detail;
    if (!failed && !is_released) {
        record = object_record(reader->cache, fill->object);
        reader->object = object_ref(fill->object);
        reader->source = fill->is_revalidated ? SOURCE_REVALIDATED : SOURCE_FETCHED;
    }
    pthread_mutex_unlock(&fill->lock);

    if ((failed || is_origin_error) && fall_back_on_stale(reader, SOURCE_STALE_ON_ERROR)) {
        show(reader, view);
        view->detail = DETAIL_STALE_IF_ERROR;
        return READER_HEAD_READY;
    }
    if (is_released && is_origin_error)
        *error = ERROR_ORIGIN_ERROR; /* its page may be about the one who got it */
    if (failed || (is_released && is_origin_error))
        return READER_HEAD_FAILED;
    if (is_released)
        return READER_HEAD_RELEASED;
    enum cache_detail detail = is_selected(reader, record) ? find_purge(reader, record) : DETAIL_VARIANT;
    if (detail != DETAIL_NONE) {
        object_unref(reader->cache, &reader->object);
        view->detail = detail;
        return READER_HEAD_RELEASED;
    }
    reader->is_open = true;
    show(reader, view);
    return READER_HEAD_READY;
}

bool reader_take_stale(struct reader *reader)
{
    struct fill *fill = reader->fill;
    if (reader->is_open || fill == NULL)
        return false;
    pthread_mutex_lock(&fill->lock);
    bool waits = fill->state == FILL_STATE_FETCHING;
    pthread_mutex_unlock(&fill->lock);
    return waits && fall_back_on_stale(reader, SOURCE_STALE_ON_DELAY);
}

void reader_set_range(struct reader *reader, uint64_t first, uint64_t end)
{
    assert(first <= end);
    struct fill *fill = lock_fill(reader);
    uint64_t from = reader->position;
    reader->position = first;
    reader->end = end;
    if (fill != NULL)
        fill_reader_moved(fill, from);
    unlock_fill(fill);
}

enum reader_state reader_peek(struct reader *reader, struct iovec *iov, int *count, size_t max_bytes)
{
    assert(reader->is_open && *count > 0 && max_bytes > 0 && reader->object->kind == OBJECT_RESPONSE);
    if (reader->position >= reader->end)
        return READER_END;
    struct fill *fill = lock_fill(reader);
    enum fill_state state = fill != NULL ? fill->state : FILL_STATE_COMPLETE;
    uint64_t there = fill != NULL ? fill->written : record_body_bytes(object_record(reader->cache, reader->object));
    uint64_t end = there < reader->end ? there : reader->end;
    if (end > reader->position && end - reader->position > max_bytes)
        end = reader->position + max_bytes;
    enum reader_state result = READER_DATA;
    if (end > reader->position)
        object_body_iov(reader->cache, reader->object, reader->position, end, iov, count);
    else
        result = state == FILL_STATE_COMPLETE ? READER_END : state == FILL_STATE_FAILED ? READER_FAILED : READER_WAIT;
    reader->waiting = result == READER_WAIT;
    reader->is_complete = state == FILL_STATE_COMPLETE;
    unlock_fill(fill);
    return result;
}

void reader_consume(struct reader *reader, size_t bytes)
{
    struct fill *fill = lock_fill(reader);
    reader->position += bytes;
    if (fill != NULL)
        fill_reader_moved(fill, reader->position - bytes);
    unlock_fill(fill);
}

void reader_keep(struct reader *reader)
{
    if (reader->visitor != NULL)
        visitor_settle(reader->visitor);
}

/* What it holds without a reference. */
static void leave(struct reader *reader)
{
    struct visitor *visitor = reader->visitor;
    if (visitor == NULL)
        return;
    assert(visitor->reader == reader);
    visitor->reader = NULL;
    reader->visitor = NULL;
    reader->object = NULL;
    visit_end(reader->cache, visitor);
    cache_memory_freed(reader->cache);
}

void reader_close(struct reader *reader)
{
    detach(reader);
    leave(reader);
    if (reader->object != NULL) {
        object_unref(reader->cache, &reader->object);
        cache_memory_freed(reader->cache); /* it may be evicted now */
    }
    reader->is_open = false;
}
