/* What does the cache have? The decision itself is cache/policy's; here its outcome becomes the next step. */
#include "proxy/request/life.h"

#include "cache/policy/slice.h"

static enum cache_result result_of(const struct lookup *lookup)
{
    switch (lookup->outcome) {
    case LOOKUP_HIT:
        return RESULT_HIT;
    case LOOKUP_STALE:
        return RESULT_UPDATING;
    case LOOKUP_PASS:
        return lookup->fwd == FWD_BYPASS || lookup->fwd == FWD_METHOD || lookup->fwd == FWD_REQUEST ? RESULT_BYPASS : RESULT_MISS;
    case LOOKUP_JOIN:
    case LOOKUP_FILL:
        return lookup->fwd == FWD_STALE ? RESULT_EXPIRED : RESULT_MISS;
    case LOOKUP_WAIT:
    case LOOKUP_ERROR:
        break;
    }
    return RESULT_NONE;
}

void request_build_key(struct request *request)
{
    const struct request_head *head = &request->head;
    struct cache_key *key = &request->lookup.key;
    if (key->encoded.at == NULL)
        *key = cache_key_build(cache_hash_key(request->worker->cache), &request->arena, head->scheme, head->authority, head->path,
                               request->query);
}

/* Where a range is all that is wanted, that is all that is fetched. */
static struct span wanted_slice(const struct request *request)
{
    const struct headers *fields = &request->head.fields;
    struct span slice = {0, 0};
    if (!request->no_slices && request->head.method == METHOD_GET && headers_count(fields, HEADER_RANGE) == 1)
        slice_for_range(headers_value(fields, HEADER_RANGE), request->site->rules.slice_bytes, &slice);
    return slice;
}

static void begin_lookup(struct request *request)
{
    struct lookup *lookup = &request->lookup;
    request_build_key(request);
    *lookup = (struct lookup){
        .key = lookup->key,
        .method = request->head.method,
        .fields = &request->head.fields,
        .rules = &request->site->rules,
        .slice = wanted_slice(request),
        .is_private = request->lookup_private,
        .detail = request->detail, /* of a released waiter: why */
        .reader_waker = &request->mail.waker,
        .io = request->worker->disk_io,
        .visitor = request->worker->visitor,
        .wait.has_failed = lookup->wait.has_failed,
    };
}

/* Memory is too short for what the origin may send. Who waits for that fill, this request as well, gets what is stale, where it may be served while
 * the origin is in trouble, or the error. */
static enum step refuse_to_fetch(struct request *request)
{
    fill_fail(&request->lookup.fill, ERROR_MEMORY_SHORT);
    request->detail = DETAIL_MEMORY_SHORT;
    counter_add(request->worker->counters, COUNTER_MEMORY_REFUSALS, 1);
    return STEP_AWAIT_HEAD;
}

static void revalidate(struct request *request)
{
    if (request->worker->refuses_misses)
        fill_fail(&request->lookup.fill, ERROR_MEMORY_SHORT);
    else
        fetch_in_background(request);
}

enum step step_lookup(struct request *request)
{
    struct lookup *lookup = &request->lookup;
    if (lookup->outcome != LOOKUP_WAIT)
        begin_lookup(request);
    lookup->now = loop_wall(request->worker->loop);
    cache_lookup(request->worker->cache, lookup, &request->reader);
    request->result = result_of(lookup);
    request->detail = lookup->detail;
    request->reader_is_open = lookup->outcome != LOOKUP_ERROR && lookup->outcome != LOOKUP_WAIT;
    if (lookup->collapsed)
        counter_add(request->worker->counters, COUNTER_COLLAPSED, 1);
    switch (lookup->outcome) {
    case LOOKUP_HIT:
        return STEP_DELIVER;
    case LOOKUP_STALE:
        if (lookup->fill != NULL)
            revalidate(request);
        return STEP_DELIVER;
    case LOOKUP_JOIN:
        return STEP_AWAIT_HEAD;
    case LOOKUP_FILL:
    case LOOKUP_PASS:
        return request->worker->refuses_misses ? refuse_to_fetch(request) : STEP_FETCH;
    case LOOKUP_WAIT:
        return STEP_WAIT;
    case LOOKUP_ERROR:
        break;
    }
    return respond_error(request, lookup->error);
}
