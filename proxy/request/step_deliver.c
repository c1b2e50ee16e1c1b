/* Response → client: from the reader's view to a head for this very request (conditions, ranges, Age, Cache-Status), then the body as it comes. */
#include "proxy/request/life.h"

#include "cache/policy/freshness.h"
#include "cache/policy/validate.h"

enum {
    IOV_MAX_PER_SEND = 16,
    SEND_MAX_BYTES = 512 * 1024,
    SENDS_PER_TURN = 8, /* then the other connections of this loop have their turn */
    EXTRA_MAX_BYTES = 512,
};

/* Stored fields, split again: only for answers that are not the stored one as it is. */
static void parse_stored(struct request *request, const struct response_view *view, struct headers *stored)
{
    headers_init(stored, &request->arena);
    headers_parse_block(stored, view->fields);
}

static struct bytes print_fields(struct arena *arena, const struct headers *fields, bool (*wanted)(enum header_id))
{
    size_t size = 0;
    for (unsigned f = 0; f < fields->count; f++)
        size += fields->at[f].name.len + fields->at[f].value.len + 4;
    char *out = arena_alloc(arena, size), *at = out;
    for (unsigned f = 0; f < fields->count; f++) {
        const struct header *field = &fields->at[f];
        if (!wanted(field->id))
            continue;
        at = mempcpy(at, field->name.at, field->name.len);
        at = mempcpy(at, ": ", 2);
        at = mempcpy(at, field->value.at, field->value.len);
        at = mempcpy(at, "\r\n", 2);
    }
    return bytes_from(out, (size_t)(at - out));
}

/* RFC 9110 §15.4.5: what a 304 carries; the rest would only repeat what the client has. */
static bool belongs_in_304(enum header_id id)
{
    switch (id) {
    case HEADER_CACHE_CONTROL:
    case HEADER_CONTENT_LOCATION:
    case HEADER_DATE:
    case HEADER_ETAG:
    case HEADER_EXPIRES:
    case HEADER_LAST_MODIFIED:
    case HEADER_VARY:
    case HEADER_CACHE_STATUS:
        return true;
    default:
        return false;
    }
}

static bool belongs_in_416(enum header_id id)
{
    return id == HEADER_DATE || id == HEADER_ETAG || id == HEADER_LAST_MODIFIED || id == HEADER_VARY || id == HEADER_CACHE_STATUS;
}

/* A digest of the whole content (RFC 9530 §2) is none of a part's. */
static bool belongs_in_206(enum header_id id)
{
    return !(header_flags(id) & HEADER_CONTENT);
}

/* RFC 9110 §15.3.7.2: the type is that of each part; Content-Range stands in the parts only. */
static bool belongs_in_multipart(enum header_id id)
{
    return belongs_in_206(id) && id != HEADER_CONTENT_TYPE;
}

/* The status line is the usual one from here on, whatever the stored response has. */
static void answer_with(struct request *request, unsigned status, struct bytes fields)
{
    struct response_head *response = &request->response;
    response->status = status;
    response->status_line = BYTES("");
    response->fields = fields;
}

static void answer_without_body(struct request *request, unsigned status, struct bytes fields)
{
    struct response_head *response = &request->response;
    answer_with(request, status, fields);
    response->has_body = false;
    response->length_known = status == 416; /* Content-Length: 0 */
    response->length = 0;
}

static void answer_unsatisfiable(struct request *request, const struct response_view *view, const struct headers *stored)
{
    struct bytes fields = print_fields(&request->arena, stored, belongs_in_416);
    answer_without_body(
        request, 416, arena_printf(&request->arena, "%.*sContent-Range: bytes */%lu\r\n", BYTES_FMT(fields), (unsigned long)view->length));
}

static void answer_part(struct request *request, const struct response_view *view, const struct headers *stored, const struct span *part)
{
    struct bytes fields = print_fields(&request->arena, stored, belongs_in_206);
    answer_with(request, 206,
                arena_printf(&request->arena, "%.*sContent-Range: bytes %lu-%lu/%lu\r\n", BYTES_FMT(fields), (unsigned long)part->first,
                             (unsigned long)part->end - 1, (unsigned long)view->length));
    request->response.length = part->end - part->first;
    body_set_range(request, part->first, part->end);
}

/* In the order asked for, where that can be (§15.3.7.2): what arrives may not be kept, or not for long, and is read forwards. */
static void answer_parts(struct request *request, const struct response_view *view, const struct headers *stored, struct range *range)
{
    struct bytes fields = print_fields(&request->arena, stored, belongs_in_multipart), boundary;
    if (!view->is_complete || !view->is_stored)
        range_sort(range);
    request->response.length = parts_begin(request, range, view->length, headers_value(stored, HEADER_CONTENT_TYPE), &boundary);
    answer_with(
        request, 206,
        arena_printf(&request->arena, "%.*sContent-Type: multipart/byteranges; boundary=%.*s\r\n", BYTES_FMT(fields), BYTES_FMT(boundary)));
}

static void answer_range(struct request *request, const struct response_view *view, const struct headers *stored)
{
    const struct headers *fields = &request->head.fields;
    /* §14.2: Range is no list field; several lines of it are malformed. */
    struct bytes field = headers_count(fields, HEADER_RANGE) == 1 ? headers_value(fields, HEADER_RANGE) : BYTES_NONE;
    struct range range = range_parse(field, view->length);
    if (range.kind == RANGE_UNSATISFIABLE)
        answer_unsatisfiable(request, view, stored);
    else if (range.kind == RANGE_PARTIAL && range.count == 1)
        answer_part(request, view, stored, &range.parts[0]);
    else if (range.kind == RANGE_PARTIAL)
        answer_parts(request, view, stored, &range);
}

/* The client's conditions and its range, against what we have (RFC 9110 §13.2.2, §14.2). A passed request had them judged by the origin. */
static void apply_selection(struct request *request, const struct response_view *view)
{
    const struct headers *fields = &request->head.fields;
    struct headers stored;
    bool conditional = headers_find(fields, HEADER_IF_NONE_MATCH) != NULL || headers_find(fields, HEADER_IF_MODIFIED_SINCE) != NULL ||
                       headers_find(fields, HEADER_IF_MATCH) != NULL || headers_find(fields, HEADER_IF_UNMODIFIED_SINCE) != NULL;
    bool ranged = headers_find(fields, HEADER_RANGE) != NULL;
    if (!conditional && !ranged)
        return;
    parse_stored(request, view, &stored);
    const struct validators validators = validators_of(&stored, &view->meta, fields);
    const struct wall_seconds now = loop_wall(request->worker->loop);
    switch (condition_evaluate(request->head.method, fields, view->status, &validators, now)) {
    case CONDITION_NOT_MODIFIED:
        answer_without_body(request, 304, print_fields(&request->arena, &stored, belongs_in_304));
        return;
    case CONDITION_FAILED:
        answer_without_body(request, 412, BYTES(""));
        request->response.length_known = true;
        return;
    case CONDITION_NONE_OR_TRUE:
        break;
    }
    if (ranged && request->head.method == METHOD_GET && view->status == 200 && view->length_known &&
        if_range_holds(fields, &validators, now))
        answer_range(request, view, &stored);
}

static struct bytes extra_fields(struct request *request, const struct response_view *view)
{
    /* RFC 9110 §15.4.5: a 304 repeats nothing that is not needed. */
    struct bytes personal = request->response.status == 304 ? BYTES("") : view->personal;
    struct bytes key = cache_status_key(request), name = worker_pseudonym(request->worker), hsts = hsts_line(request);
    char *out = arena_alloc(&request->arena, EXTRA_MAX_BYTES + personal.len + CACHE_STATUS_MAX_BYTES + key.len + hsts.len);
    char *at = bytes_put(out, personal);
    int64_t age = freshness_current_age(&view->meta, loop_wall(request->worker->loop));
    /* RFC 9111 §5.1: Age on everything that was not got from the origin for this very request; and what came old stays old. */
    if (view->source != SOURCE_FETCHED || age > 0) {
        at = bytes_put_decimal(bytes_put(at, BYTES("Age: ")), age < 0 ? 0 : (uint64_t)age);
        at = bytes_put(at, BYTES("\r\n"));
    }
    at = bytes_put(at, BYTES("Via: 1.1 "));
    at = bytes_put(at, name);
    at = bytes_put(at, BYTES("\r\n"));
    at = bytes_put(cache_status_put(at, request, view, key), hsts);
    return bytes_from(out, (size_t)(at - out));
}

/* nginx's words for how it went, once the reader knows. */
static void settle_result(struct request *request, const struct response_view *view)
{
    if (view->source == SOURCE_REVALIDATED)
        request->result = RESULT_REVALIDATED;
    else if (view->source == SOURCE_STALE_ON_ERROR) {
        request->result = RESULT_STALE;
        if (request->detail != DETAIL_MEMORY_SHORT)
            request->detail = DETAIL_STALE_IF_ERROR;
    } else if (view->source == SOURCE_STALE_ON_DELAY) {
        request->result = RESULT_STALE;
        request->detail = DETAIL_STALE_IF_SLOW;
    } else if (view->source == SOURCE_FETCHED && !view->is_stored &&
               (request->detail == DETAIL_NONE || request->detail == DETAIL_HIT_FOR_MISS))
        request->detail = view->detail; /* of a hit-for-miss: why it is not stored this time either */
}

/* Of a sliced response something that this client wants would have to be fetched. */
static bool lacks_slices(struct request *request)
{
    if (request->slices == NULL || !request->response.has_body)
        return false;
    return !(request->parts != NULL ? parts_are_stored(request) : body_is_stored(request, body_rest(request)));
}

/* RFC 9111 §5.2.1.7: a client that wants a stored response only does not get one of which something would have to be fetched. */
static bool is_refused(struct request *request)
{
    struct request_meta meta;
    if (request->slices == NULL || !request->site->rules.honour_request_directives)
        return false;
    request_meta_from(&meta, request->head.method, &request->head.fields);
    return meta.cache_control.only_if_cached && lacks_slices(request);
}

/* Once the response is found not to be for this client. */
static enum step refuse(struct request *request)
{
    body_close(request);
    request->lookup.fwd = FWD_NONE;
    request->result = RESULT_NONE;
    request->detail = DETAIL_ONLY_IF_CACHED;
    return respond_error(request, ERROR_ONLY_IF_CACHED);
}

/* Memory is too short to ask the origin for slices. What came for this very request is under way, with its first slice behind it. */
static bool is_too_much(struct request *request, const struct response_view *view)
{
    return request->worker->refuses_misses && view->source != SOURCE_FETCHED && lacks_slices(request);
}

static enum step refuse_to_fetch(struct request *request)
{
    body_close(request);
    request->lookup.fwd = FWD_PARTIAL;
    request->result = RESULT_MISS;
    request->detail = DETAIL_MEMORY_SHORT;
    counter_add(request->worker->counters, COUNTER_MEMORY_REFUSALS, 1);
    return respond_error(request, ERROR_MEMORY_SHORT);
}

/* What of the response is for this request. False: refuse it. */
static bool begin_response(struct request *request, const struct response_view *view)
{
    const struct request_head *head = &request->head;
    settle_result(request, view);
    request->response = (struct response_head){
        .status = view->status,
        .status_line = view->status_line,
        .fields = request->worker->composes_heads ? compose_fields(request, view) : view->fields,
        .has_body = head->method != METHOD_HEAD && view->status != 204 && view->status != 304,
        .length_known = view->length_known,
        .length = view->length,
        .close = !head->keep_alive || request->worker->ends_keep_alive,
    };
    /* The answer to a passed HEAD and a 304 keep the origin's own Content-Length line; a 204 has none (RFC 9110 §8.6). */
    if (view->status == 204 || (view->length_known && view->length == 0 && !request->response.has_body && view->source == SOURCE_FETCHED))
        request->response.length_known = false;
    body_begin(request, view);
    if (request->lookup.outcome != LOOKUP_PASS)
        apply_selection(request, view);
    request->response_begun = true;
    if (is_refused(request))
        return false;
    replay_early_hints(request, view);
    return true;
}

/* The rest of the head, which tells where the body comes from: STEP_DELIVER when that is known. */
static enum step prepare_head(struct request *request, const struct response_view *view)
{
    enum lookup_outcome body = request->response.has_body ? body_open(request) : LOOKUP_HIT;
    if (body == LOOKUP_WAIT)
        return STEP_WAIT;
    if (body != LOOKUP_HIT && is_refused(request)) /* it was on disk, and could not be read */
        return refuse(request);
    if (body != LOOKUP_HIT && view->source == SOURCE_STORED) {
        request->lookup.fwd = FWD_PARTIAL;
        request->result = RESULT_MISS;
    }
    request->response.extra = extra_fields(request, view);
    request->response_pending = true;
    request->body_left = request->response.length;
    request->body_left_known = request->response.length_known;
    request->response_prepared = true;
    return STEP_DELIVER;
}

static enum step prepare(struct request *request)
{
    struct response_view view;
    enum error error;
    reader_head(&request->reader, &view, &error);
    if (!request->response_begun) {
        if (!begin_response(request, &view))
            return refuse(request);
        if (is_too_much(request, &view))
            return refuse_to_fetch(request);
    }
    return prepare_head(request, &view);
}

/* Counts what the stream took, and the status from the moment the head went out. */
static enum step account_sent(struct request *request, ssize_t sent)
{
    if (sent == STREAM_GONE) {
        request->broken = true;
        if (request->error == ERROR_OK)
            request->error = ERROR_CLIENT_CLOSED;
        return STEP_FINISH;
    }
    if (request->response_pending) {
        request->response_pending = false;
        request->status = request->response.status;
    }
    request->body_bytes += (uint64_t)sent;
    return STEP_WAIT;
}

static ssize_t send_bytes(struct request *request, const struct iovec *iov, int count, bool last)
{
    const struct response_head *head = request->response_pending ? &request->response : NULL;
    ssize_t sent = request->stream->ops->send(request->stream, head, iov, count, last);
    request->last_sent = request->last_sent || last;
    return sent;
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

static enum reader_state peek_body(struct request *request, struct iovec *iov, int *count)
{
    return request->parts != NULL ? parts_peek(request, iov, count, SEND_MAX_BYTES) : body_peek(request, iov, count, SEND_MAX_BYTES);
}

static void consume_body(struct request *request, size_t bytes)
{
    if (request->parts != NULL)
        parts_consume(request, bytes);
    else
        body_consume(request, bytes);
    request->body_left -= request->body_left_known ? bytes : 0;
}

/* One piece of the body. STEP_DELIVER: go on with the next one. */
static enum step deliver_piece(struct request *request)
{
    struct iovec iov[IOV_MAX_PER_SEND];
    int count = IOV_MAX_PER_SEND;
    switch (peek_body(request, iov, &count)) {
    case READER_WAIT:
        if (request->slices != NULL) /* what is stored of it may turn out to be out of date */
            return STEP_WAIT;
        return request->response_pending ? account_sent(request, send_bytes(request, NULL, 0, false)) : STEP_WAIT;
    case READER_FAILED:
        if (request->slices != NULL && request->response_pending)
            return body_failed(request);
        request->broken = true;
        if (request->error == ERROR_OK)
            request->error = ERROR_ORIGIN_TRUNCATED;
        return STEP_FINISH;
    case READER_END:
        return account_sent(request, send_bytes(request, NULL, 0, true)) == STEP_FINISH ? STEP_FINISH : STEP_DELIVER;
    case READER_DATA:
        break;
    }
    size_t offered = iov_bytes(iov, count);
    bool last = request->body_left_known && offered == request->body_left;
    bool last_before = request->last_sent;
    ssize_t sent = send_bytes(request, iov, count, last);
    if (account_sent(request, sent) == STEP_FINISH)
        return STEP_FINISH;
    consume_body(request, (size_t)sent);
    if ((size_t)sent < offered) {
        request->last_sent = last_before; /* the end has not gone out yet */
        return STEP_WAIT;
    }
    return STEP_DELIVER;
}

enum step step_deliver(struct request *request)
{
    enum step prepared = request->response_prepared ? STEP_DELIVER : prepare(request);
    if (prepared != STEP_DELIVER)
        return prepared;
    for (unsigned sends = 0; !request->last_sent; sends++) {
        enum step next;
        if (sends == SENDS_PER_TURN) {
            mail_post(&request->mail);
            return STEP_WAIT;
        }
        if (!request->response.has_body || (request->body_left_known && request->response.length == 0))
            next = account_sent(request, send_bytes(request, NULL, 0, true)) == STEP_FINISH ? STEP_FINISH : STEP_DELIVER;
        else
            next = deliver_piece(request);
        if (next != STEP_DELIVER)
            return next;
    }
    return request->stream->ops->is_flushed(request->stream) ? STEP_FINISH : STEP_WAIT;
}
