/* The body of the response, as much of it as was asked for, in order: from the request's reader, or, where the reader has a sliced response, from one
 * slice after the other (cache/policy/slice.h). A slice that is missing is fetched when its turn comes; whoever else needs it joins. */
#include "proxy/request/life.h"

#include "cache/policy/slice.h"

struct slices {
    uint64_t position, end; /* what is still to be delivered */
    struct span slice;      /* that `reader` is on */
    struct reader reader;
    bool reader_is_open, is_foreign;
    enum error error;
};

static void close_slice(struct slices *slices)
{
    if (slices->reader_is_open)
        reader_close(&slices->reader);
    slices->reader_is_open = false;
}

static enum lookup_outcome open_slice(struct request *request)
{
    struct slices *slices = request->slices;
    uint64_t configured = request->site->rules.slice_bytes, size = configured > 0 ? configured : SLICE_DEFAULT_BYTES;
    uint64_t first = slices->position - slices->position % size, end = first + size;
    struct slice_lookup lookup = {.slice = {first, end}, .waker = &request->mail.waker};
    slices->slice = lookup.slice;
    cache_open_slice(&request->reader, &lookup, &slices->reader);
    slices->reader_is_open = true;
    if (lookup.outcome == LOOKUP_FILL)
        fetch_slice(request, lookup.fill);
    reader_set_range(&slices->reader, slices->position - first, (slices->end < end ? slices->end : end) - first);
    return lookup.outcome;
}

void body_begin(struct request *request, const struct response_view *view)
{
    request->slices = NULL;
    if (!view->is_sliced)
        return;
    request->slices = arena_zalloc(&request->arena, sizeof *request->slices);
    request->slices->end = view->length;
}

void body_set_range(struct request *request, uint64_t first, uint64_t end)
{
    struct slices *slices = request->slices;
    if (slices == NULL) {
        reader_set_range(&request->reader, first, end);
        return;
    }
    close_slice(slices);
    slices->position = first;
    slices->end = end;
}

bool body_is_at_hand(struct request *request)
{
    struct slices *slices = request->slices;
    return slices == NULL || slices->position >= slices->end || open_slice(request) == LOOKUP_HIT;
}

/* READER_DATA: the slice's reader is ready. */
static enum reader_state await_slice(struct request *request)
{
    struct slices *slices = request->slices;
    struct response_view view;
    if (!slices->reader_is_open)
        open_slice(request);
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

enum reader_state body_peek(struct request *request, struct iovec *iov, int *count, size_t max_bytes)
{
    struct slices *slices = request->slices;
    if (slices == NULL)
        return reader_peek(&request->reader, iov, count, max_bytes);
    if (slices->position >= slices->end)
        return READER_END;
    if (slices->reader_is_open && slices->position >= slices->slice.end)
        close_slice(slices);
    enum reader_state state = await_slice(request);
    if (state == READER_DATA)
        state = reader_peek(&slices->reader, iov, count, max_bytes);
    return state == READER_END ? READER_FAILED : state; /* a slice ends where it should */
}

void body_consume(struct request *request, size_t bytes)
{
    struct slices *slices = request->slices;
    reader_consume(slices != NULL ? &slices->reader : &request->reader, bytes);
    if (slices != NULL)
        slices->position += bytes;
}

void body_close(struct request *request)
{
    if (request->slices != NULL)
        close_slice(request->slices);
    request->slices = NULL;
}

/* Nothing was sent yet. A slice that does not belong to the response: it has changed at the origin, and is looked up again; once in slices, and if that
 * goes wrong too, as a whole. */
enum step body_failed(struct request *request)
{
    bool is_foreign = request->slices->is_foreign;
    enum error error = request->slices->error;
    body_close(request);
    reader_close(&request->reader);
    request->reader_is_open = false;
    if (request->fetch != NULL) /* the fetch of the head, that goes on with a slice */
        fetch_detach(&request->fetch);
    request->parts = NULL;
    request->response_prepared = request->response_pending = false;
    if (!is_foreign)
        return respond_error(request, error);
    request->no_slices = request->started_over;
    request->started_over = true;
    return STEP_LOOKUP;
}
