/* Asking the origin, and waiting for the head of its answer.
 *
 * The fetch takes the fill and writes the answer there; this request reads it through its reader like everybody else. What comes back by event is only
 * what a fill cannot carry: interim responses, and the connection of an upgrade. */
#include "proxy/request/life.h"

#include "cache/policy/invalidate.h"

/* RFC 9110 §8.6: an interim response has no Content-Length; who reads one there expects a body. */
static bool is_forwarded(const struct header *field, const struct headers *fields)
{
    return field->id != HEADER_CONTENT_LENGTH && !header_is_hop_by_hop(field, fields);
}

/* RFC 9110 §15.2: a proxy forwards 1xx responses; except 100, which we answer ourselves as the body is asked for. */
static void fetch_interim(void *context, unsigned status, const struct headers *fields)
{
    struct request *request = context;
    if (status == 100 || head_is_of_http10(&request->head))
        return;
    struct headers kept;
    headers_init(&kept, &request->arena);
    for (unsigned f = 0; f < fields->count; f++)
        if (is_forwarded(&fields->at[f], fields))
            headers_add(&kept, fields->at[f].id, fields->at[f].name, fields->at[f].value);
    request->has_hints = request->has_hints || status == 103;
    request->stream->ops->interim(request->stream, status, &kept);
}

static void tunnel_ended(void *context, const struct tunnel_end *end)
{
    struct request *request = context;
    request->tunnel = NULL;
    request->body_bytes = end->to_client_bytes;
    request->step = STEP_FINISH;
    request_resume(request);
}

static struct tunnel *start_tunnel(struct request *request, const struct fetch_upgrade *upgrade)
{
    const struct stream_ops *ops = request->stream->ops;
    int64_t idle_ms = request->site->config->tunnel_idle_timeout_ms;
    struct bytes unread = BYTES_NONE;
    if (ops->take_stream != NULL)
        return tunnel_start_stream(ops->take_stream(request->stream), upgrade->connection, upgrade->unread, idle_ms, tunnel_ended, request);
    struct connection *client = ops->take_connection(request->stream, &unread);
    return tunnel_start(client, unread, upgrade->connection, upgrade->unread, idle_ms, tunnel_ended, request);
}

static void fetch_upgraded(void *context, const struct fetch_upgrade *upgrade)
{
    struct request *request = context;
    struct headers fields;
    headers_init(&fields, &request->arena);
    headers_add_known(&fields, HEADER_CONNECTION, BYTES("upgrade"));
    for (unsigned f = 0; f < upgrade->fields->count; f++) {
        const struct header *field = &upgrade->fields->at[f];
        if (field->id == HEADER_UPGRADE || is_forwarded(field, upgrade->fields))
            headers_add(&fields, field->id, field->name, field->value);
    }
    request->stream->ops->interim(request->stream, 101, &fields);
    reader_close(&request->reader);
    request->reader_is_open = false;
    request->status = 101;
    counter_add(request->worker->counters, COUNTER_TUNNELS, 1);
    request->tunnel = start_tunnel(request, upgrade);
    request->step = STEP_TUNNEL;
}

static void fetch_ended(void *context, enum error error, struct bytes origin)
{
    struct request *request = context;
    request->fetch = NULL;
    if (request->error == ERROR_OK && request->tunnel == NULL)
        request->error = error;
    if (origin.at != NULL)
        request->origin = arena_copy(&request->arena, origin);
}

/* HARDENING, cache: what could be answered from the cache is asked for by exactly what is in its key; an origin must not see a parameter that the
 * next client's request need not have. What never is, goes as the client wrote it. */
static struct bytes origin_form(const struct request *request, struct arena *arena)
{
    const struct request_head *head = &request->head;
    if (request->is_challenge && request->site->challenges != NULL)
        return challenge_target(request);
    bool is_cacheable = head->method == METHOD_GET || head->method == METHOD_HEAD;
    struct bytes query = is_cacheable ? request->query : head->query;
    if (query.at == NULL)
        return head->path;
    return arena_printf(arena, "%.*s?%.*s", BYTES_FMT(head->path), BYTES_FMT(query));
}

static void add_range(struct headers *fields, struct span slice)
{
    if (slice.end > 0)
        headers_add_known(fields, HEADER_RANGE,
                          arena_printf(fields->arena, "bytes=%lu-%lu", (unsigned long)slice.first, (unsigned long)slice.end - 1));
}

static struct fetch *fetch_begin(struct request *request, const struct fetch_events *events)
{
    struct request_head *head = &request->head;
    bool for_cache = request->lookup.outcome != LOOKUP_PASS;
    struct headers fields;
    request_name(request);
    forward_fields(&fields, request, &request->arena, for_cache, for_cache ? fill_stale(request->lookup.fill) : NULL);
    add_range(&fields, fill_slice(request->lookup.fill));
    /* What is stored is a GET's response, also when a HEAD found it stale. */
    const struct fetch_request fetch = {
        .method = for_cache ? METHOD_GET : head->method,
        .method_name = for_cache ? BYTES("GET") : head->method_name,
        .target = origin_form(request, &request->arena),
        .fields = &fields,
        .upload = head->upload,
        .wants_upgrade = head->wants_upgrade,
    };
    struct fill *fill = request->lookup.fill;
    request->lookup.fill = NULL;
    bool is_for_directory = request->is_challenge && request->site->challenges != NULL;
    return origin_fetch(is_for_directory ? request->site->challenges : request->site->origin, &fetch, fill, events);
}

void fetch_in_background(struct request *request)
{
    static const struct fetch_events nobody;
    struct fetch *fetch = fetch_begin(request, &nobody);
    fetch_detach(&fetch);
}

/* RFC 9110 §13.1.1, §13.1.4: of the stored representation, or not at all. */
static void add_precondition(struct request *request, struct headers *fields)
{
    struct response_view view;
    struct headers stored;
    enum error error;
    reader_head(&request->reader, &view, &error);
    headers_init(&stored, fields->arena);
    headers_parse_block(&stored, view.fields);
    if (headers_find(&stored, HEADER_ETAG) != NULL)
        headers_add_known(fields, HEADER_IF_MATCH, headers_value(&stored, HEADER_ETAG));
    else
        headers_add_known(fields, HEADER_IF_UNMODIFIED_SINCE, headers_value(&stored, HEADER_LAST_MODIFIED));
}

/* A response may have thousands of slices: what it takes to ask for one is not left in the request's arena. */
struct fetch *fetch_slice(struct request *request, struct fill *fill, const struct fetch_events *events)
{
    struct arena arena;
    struct headers fields;
    arena_init(&arena);
    request_name(request);
    forward_fields(&fields, request, &arena, true, NULL);
    add_range(&fields, fill_slice(fill));
    add_precondition(request, &fields);
    const struct fetch_request ask = {
        .method = METHOD_GET, .method_name = BYTES("GET"), .target = origin_form(request, &arena), .fields = &fields};
    struct fetch *fetch = origin_fetch(request->site->origin, &ask, fill, events);
    arena_free(&arena);
    return fetch;
}

enum step step_fetch(struct request *request)
{
    const struct fetch_events events = {
        .context = request,
        .interim = fetch_interim,
        .upgraded = fetch_upgraded,
        .ended = fetch_ended,
    };
    request_keep(request); /* a miss lives longer than the read buffer */
    if (fill_stale(request->lookup.fill) != NULL)
        replay_early_hints(request, fill_stale(request->lookup.fill));
    request->fetch = fetch_begin(request, &events);
    return STEP_AWAIT_HEAD;
}

static void patience_ended(struct deadline *deadline)
{
    struct request *request = LIST_OWNER(deadline, struct request, patience);
    request->is_impatient = true;
    request_resume(request);
}

/* The head is not there yet. cache.stale_if_slow: after that long the stale response answers, where it may be served while the origin is in trouble,
 * and the fetch goes on without us to refresh it. */
static enum step wait_for_head(struct request *request)
{
    int64_t patience_ms = request->site->config->stale_if_slow_ms;
    bool revalidates = request->lookup.outcome == LOOKUP_FILL || request->lookup.outcome == LOOKUP_JOIN;
    if (patience_ms == 0 || !revalidates || request->lookup.fwd != FWD_STALE)
        return STEP_WAIT;
    if (!request->is_impatient) {
        if (!deadline_is_set(&request->patience))
            loop_set_deadline(request->worker->loop, &request->patience, patience_ms, patience_ended);
        return STEP_WAIT;
    }
    if (!reader_take_stale(&request->reader))
        return STEP_WAIT;
    if (request->fetch != NULL)
        fetch_detach(&request->fetch); /* its interim responses would come too late for this client */
    return STEP_DELIVER;
}

/* A fetch that others waited for failed in a way that may be due to the request that it was made for. Those who waited look again: one of them asks the
 * origin with its own request, the others wait for that one. Who has waited for two of them in vain gets the error: so whatever their number, one
 * request is at the origin at a time, and nobody's poisoned request fails those of others. */
static bool asks_again(struct request *request, enum error error)
{
    switch (error) {
    case ERROR_ORIGIN_CLOSED:
    case ERROR_ORIGIN_BAD_RESPONSE:
    case ERROR_ORIGIN_HEADER_TOO_LARGE:
    case ERROR_ORIGIN_INTERIM_FLOOD:
    case ERROR_ORIGIN_ERROR:
        break;
    default: /* would be the same for all */
        return false;
    }
    if (request->waited_in_vain || request->lookup.outcome != LOOKUP_JOIN)
        return false;
    request->waited_in_vain = true;
    return true;
}

/* The answer is for others, or none at all. */
static enum step look_up_again(struct request *request, enum cache_detail detail)
{
    reader_close(&request->reader);
    request->reader_is_open = false;
    if (request->fetch != NULL) /* it asked for a slice */
        fetch_detach(&request->fetch);
    request->error = ERROR_OK;
    request->no_slices = request->no_slices || detail == DETAIL_NO_SLICES;
    request->lookup_private = detail != DETAIL_VARIANT && detail != DETAIL_PURGED && detail != DETAIL_NO_SLICES;
    request->detail = detail;
    return STEP_LOOKUP;
}

/* An origin that was asked for the slice of the first range, without the client's conditions, may say 416 where the client must get something else. */
static bool range_is_all_that_matters(const struct headers *fields)
{
    static const enum header_id others[] = {HEADER_IF_RANGE, HEADER_IF_MATCH, HEADER_IF_NONE_MATCH, HEADER_IF_MODIFIED_SINCE,
                                            HEADER_IF_UNMODIFIED_SINCE};
    struct bytes range = headers_value(fields, HEADER_RANGE);
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
        if (headers_find(fields, others[i]) != NULL)
            return false;
    return bytes_find(range, ',') == range.len;
}

enum step step_await_head(struct request *request)
{
    struct response_view view;
    enum error error = ERROR_OK;
    enum reader_head head = reader_head(&request->reader, &view, &error);
    if (head != READER_HEAD_WAIT)
        deadline_clear(&request->patience);
    switch (head) {
    case READER_HEAD_WAIT:
        return wait_for_head(request);
    case READER_HEAD_FAILED:
        if (!asks_again(request, error))
            return respond_error(request, error);
        reader_close(&request->reader);
        return STEP_LOOKUP;
    case READER_HEAD_RELEASED:
        return look_up_again(request, view.detail);
    case READER_HEAD_READY:
        break;
    }
    if (request->head.wants_upgrade && request->head.version_major == 2 &&
        view.status / 100 == 2) /* RFC 8441 §4: it would say that there is a tunnel */
        return respond_error(request, ERROR_ORIGIN_NO_UPGRADE);
    if (view.status == 416 && request->lookup.slice.end > 0 && !range_is_all_that_matters(&request->head.fields))
        return look_up_again(request, DETAIL_NO_SLICES);
    if (invalidates_target(request->head.method, view.status) && invalidate(request, &view))
        return request_await_log(request, STEP_DELIVER);
    return STEP_DELIVER;
}

enum step step_tunnel(struct request *request)
{
    (void)request;
    return STEP_WAIT; /* until tunnel_ended */
}
