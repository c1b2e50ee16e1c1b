/* The body of the response, as much of it as was asked for, in order: from the request's reader, or, where the reader has a sliced response, from one
 * slice after the other (cache/policy/slice.h). A slice that is missing is fetched when its turn comes, or, once the first bytes are with the client,
 * when the turn of the slice before it comes: one request ahead, so that an origin's latency is not waited for between slices. What is read ahead
 * belongs to nobody: it is stored like what others fetch, or, when this client leaves before it gets there, cancelled. What is on disk is loaded in the
 * same way, and waited for like an origin's answer. */
#include "proxy/request/life.h"

#include "cache/policy/slice.h"

struct slices {
    uint64_t position, end;         /* what is still to be delivered */
    struct span slice;              /* that `reader` is on */
    struct slice_lookup lookups[2]; /* of that slice, and of the one ahead… */
    unsigned current;               /* …and which is which */
    struct reader reader;
    bool reader_is_open, is_foreign;
    bool is_joined;   /* it was being fetched already */
    bool has_retried; /* it failed once already */
    enum error error;
    uint64_t ahead_first;  /* the slice that was looked for ahead begins there; 0: none */
    struct fetch *ahead;   /* of it, while it is only for later; or NULL */
    bool ahead_is_loading; /* from disk, by the other lookup */
    bool ahead_is_vain;    /* it was gone before its turn came */
};

static void close_slice(struct request *request)
{
    struct slices *slices = request->slices;
    load_close(request->worker->cache, &slices->lookups[slices->current].wait);
    slices->lookups[slices->current].outcome = LOOKUP_ERROR;
    if (slices->reader_is_open)
        reader_close(&slices->reader);
    slices->reader_is_open = false;
}

static struct span slice_at(const struct request *request, uint64_t position)
{
    uint64_t configured = request->site->rules.slice_bytes, size = configured > 0 ? configured : SLICE_DEFAULT_BYTES;
    uint64_t first = position - position % size;
    return (struct span){first, first + size};
}

static void fetch_for_now(struct request *request, struct fill *fill)
{
    static const struct fetch_events nobody;
    struct fetch *fetch = fetch_slice(request, fill, &nobody);
    fetch_detach(&fetch);
}

static struct slice_lookup slice_lookup(const struct request *request, struct span slice)
{
    return (struct slice_lookup){
        .slice = slice,
        .waker = (struct waker *)&request->mail.waker,
        .io = request->worker->disk_io,
        .wait.has_failed = request->slices->has_retried, /* then it is the origin's turn */
    };
}

/* The lookup of the slice at the present position: the one that loads it already, or a new one. */
static void begin_slice(struct request *request)
{
    struct slices *slices = request->slices;
    slices->slice = slice_at(request, slices->position);
    bool was_ahead = slices->slice.first > 0 && slices->slice.first == slices->ahead_first;
    if (slices->ahead != NULL && was_ahead)
        fetch_detach(&slices->ahead);
    if (slices->ahead_is_loading && was_ahead) {
        slices->current ^= 1;
        slices->ahead_is_loading = false;
    } else {
        slices->lookups[slices->current] = slice_lookup(request, slices->slice);
    }
}

static void note_loaded(struct request *request)
{
    request->lookup.was_loaded = true;
    if (!request->response_prepared && request->detail == DETAIL_NONE)
        request->detail = DETAIL_DISK;
}

/* LOOKUP_WAIT: to be called again. */
static enum lookup_outcome open_slice(struct request *request)
{
    struct slices *slices = request->slices;
    if (slices->lookups[slices->current].outcome != LOOKUP_WAIT)
        begin_slice(request);
    struct slice_lookup *lookup = &slices->lookups[slices->current];
    cache_open_slice(&request->reader, lookup, &slices->reader);
    if (lookup->outcome == LOOKUP_WAIT)
        return LOOKUP_WAIT;
    if (lookup->outcome == LOOKUP_HIT && lookup->wait.count > 0 && !lookup->wait.has_failed)
        note_loaded(request);
    struct span slice = slices->slice;
    slices->reader_is_open = true;
    slices->is_joined = lookup->outcome == LOOKUP_JOIN;
    if (lookup->outcome == LOOKUP_FILL) {
        slices->ahead_is_vain = slices->ahead_is_vain || (slice.first > 0 && slice.first == slices->ahead_first);
        fetch_for_now(request, lookup->fill);
    }
    uint64_t end = slices->end < slice.end ? slices->end : slice.end;
    reader_set_range(&slices->reader, slices->position - slice.first, end - slice.first);
    return lookup->outcome;
}

static void ignore_interim(void *context, unsigned status, const struct headers *fields)
{
    (void)context, (void)status, (void)fields;
}

static void ahead_ended(void *context, enum error error, struct bytes origin)
{
    struct slices *slices = context;
    (void)error, (void)origin;
    slices->ahead = NULL;
}

static void read_ahead(struct request *request)
{
    struct slices *slices = request->slices;
    const struct fetch_events events = {.context = slices, .interim = ignore_interim, .ended = ahead_ended};
    struct span next = slice_at(request, slices->slice.end);
    if (request->response_pending || slices->ahead_is_vain || next.first >= slices->end || next.first == slices->ahead_first)
        return;
    struct slice_lookup *ahead = &slices->lookups[slices->current ^ 1];
    *ahead = slice_lookup(request, next);
    slices->ahead_first = next.first;
    struct fill *fill = cache_begin_slice(&request->reader, ahead);
    slices->ahead_is_loading = ahead->outcome == LOOKUP_WAIT;
    if (fill != NULL)
        slices->ahead = fetch_slice(request, fill, &events);
}

/* Of the range that was being delivered nothing more is needed. */
static void leave_slices(struct request *request)
{
    struct slices *slices = request->slices;
    close_slice(request);
    load_close(request->worker->cache, &slices->lookups[slices->current ^ 1].wait);
    slices->ahead_is_loading = false;
    if (slices->ahead != NULL)
        fetch_withdraw(&slices->ahead);
    slices->ahead_first = 0;
}

void body_begin(struct request *request, const struct response_view *view)
{
    request->slices = NULL;
    if (!view->is_sliced)
        return;
    request->slices = arena_zalloc(&request->arena, sizeof *request->slices);
    request->slices->end = view->length;
    request->slices->lookups[0].outcome = LOOKUP_ERROR; /* none yet */
}

void body_set_range(struct request *request, uint64_t first, uint64_t end)
{
    struct slices *slices = request->slices;
    if (slices == NULL) {
        reader_set_range(&request->reader, first, end);
        return;
    }
    leave_slices(request);
    slices->position = first;
    slices->end = end;
}

enum lookup_outcome body_open(struct request *request)
{
    struct slices *slices = request->slices;
    return slices == NULL || slices->position >= slices->end ? LOOKUP_HIT : open_slice(request);
}

struct span body_rest(const struct request *request)
{
    return (struct span){request->slices->position, request->slices->end};
}

bool body_is_stored(struct request *request, struct span part)
{
    for (uint64_t at = part.first; request->slices != NULL && at < part.end; at = slice_at(request, at).end) {
        if (!cache_has_slice(&request->reader, slice_at(request, at)))
            return false;
    }
    return true;
}

/* READER_DATA: the slice's reader is ready. */
static enum reader_state await_slice(struct request *request)
{
    struct slices *slices = request->slices;
    struct response_view view;
    if (!slices->reader_is_open && open_slice(request) == LOOKUP_WAIT)
        return READER_WAIT;
    if (slices->reader.is_open)
        return READER_DATA;
    switch (reader_head(&slices->reader, &view, &slices->error)) {
    case READER_HEAD_WAIT:
        return READER_WAIT;
    case READER_HEAD_RELEASED:
        slices->is_foreign = true;
        return READER_FAILED;
    case READER_HEAD_FAILED:
        return READER_FAILED;
    case READER_HEAD_READY:
        break;
    }
    return READER_DATA;
}

static enum reader_state peek_slice(struct request *request, struct iovec *iov, int *count, size_t max_bytes)
{
    enum reader_state state = await_slice(request);
    if (state != READER_FAILED)
        read_ahead(request);
    if (state != READER_DATA)
        return state;
    state = reader_peek(&request->slices->reader, iov, count, max_bytes);
    if (state == READER_END) /* a slice ends where it should */
        state = READER_FAILED;
    if (state == READER_FAILED)
        request->slices->error = ERROR_ORIGIN_TRUNCATED;
    return state;
}

/* A slice that failed is asked for once more, where the client would have to see the failure: something was sent; or the failure may be due to the request
 * of somebody else. Else there are better ways: see body_failed. */
static bool may_retry(const struct request *request)
{
    const struct slices *slices = request->slices;
    return !slices->has_retried && !slices->is_foreign && (!request->response_pending || slices->is_joined);
}

enum reader_state body_peek(struct request *request, struct iovec *iov, int *count, size_t max_bytes)
{
    struct slices *slices = request->slices;
    if (slices == NULL)
        return reader_peek(&request->reader, iov, count, max_bytes);
    if (slices->position >= slices->end)
        return READER_END;
    if (slices->reader_is_open && slices->position >= slices->slice.end) {
        close_slice(request);
        slices->has_retried = false;
    }
    int room = *count;
    enum reader_state state = peek_slice(request, iov, count, max_bytes);
    if (state == READER_FAILED && may_retry(request)) {
        close_slice(request);
        slices->has_retried = true;
        *count = room;
        state = peek_slice(request, iov, count, max_bytes);
    }
    return state;
}

void body_consume(struct request *request, size_t bytes)
{
    struct slices *slices = request->slices;
    reader_consume(slices != NULL ? &slices->reader : &request->reader, bytes);
    if (slices == NULL)
        return;
    slices->position += bytes;
    read_ahead(request);
}

void body_close(struct request *request)
{
    if (request->slices != NULL)
        leave_slices(request);
    request->slices = NULL;
}

/* Nothing was sent yet. A slice that does not belong to the response: it has changed at the origin, and is looked up again; once in slices, and if that
 * goes wrong too, as a whole. One that broke off is looked up again, too. The origin's own error is the client's (RFC 9110 §15.6): it is asked by the
 * client's own request, and what it says to that is passed on. */
enum step body_failed(struct request *request)
{
    bool is_foreign = request->slices->is_foreign,
         asks_itself = request->slices->error == ERROR_ORIGIN_ERROR && !request->slices->is_joined;
    enum error error = request->slices->error;
    bool broke_off = error == ERROR_ORIGIN_TRUNCATED && !request->started_over;
    body_close(request);
    reader_close(&request->reader);
    request->reader_is_open = false;
    if (request->fetch != NULL) /* the fetch of the head, that goes on with a slice */
        fetch_detach(&request->fetch);
    request->parts = NULL;
    request->response_begun = request->response_prepared = request->response_pending = false;
    if (!is_foreign && !asks_itself && !broke_off)
        return respond_error(request, error);
    request->lookup_private = asks_itself;
    request->detail = DETAIL_NONE;
    request->error = ERROR_OK;
    request->no_slices = request->started_over;
    request->started_over = true;
    return STEP_LOOKUP;
}
