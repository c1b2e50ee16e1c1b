/* A fetch from an http:// origin: HTTP/1.1 over a kept or a new connection (RFC 9112).
 *
 * Phases: H1_RESOLVING → H1_CONNECTING → H1_HEAD_DUE (the request goes out and the answer is awaited, both at once) → H1_BODY_DUE → over.
 *         A kept connection skips the first two; one that turns out dead goes back to them, once. An upload may go on into H1_BODY_DUE: an
 *         origin may begin to answer before it has read everything.
 * The body's bytes are read straight into the fill's room; chunks are decoded in place there. What came with the head is copied. While the
 * fill has no room nothing is read: the origin waits as long as the slowest client.
 */
#include "proxy/origin/h1_fetch.h"

#include "proxy/origin/h1_request.h"
#include "proxy/origin/h1_response.h"
#include "proxy/origin/race.h"

#include <stdlib.h>
#include <time.h>

enum {
    INTERIM_MAX = 32,                 /* of one response (HARDENING: floods of 1xx) */
    READ_TURN_MAX_BYTES = 512 * 1024, /* then the other connections of the loop have their turn */
};

_Static_assert((int)LOOP_READ_BUFFER_BYTES >= (int)H1_HEAD_MAX_BYTES, "a head is first read into the loop's buffer");

enum h1_phase { H1_RESOLVING, H1_CONNECTING, H1_HEAD_DUE, H1_BODY_DUE };

struct h1_fetch {
    struct fetch *fetch;
    enum h1_phase phase;
    struct addresses_waiter waiter;
    struct race race;
    struct upstream *upstream;
    struct bytes head; /* of the request */
    struct h1_request request;
    enum h1_sending sending;
    bool in_send;
    struct h1_response response;
    bool got_bytes; /* of the response, over this connection */
    bool retried;   /* after a kept connection turned out dead */
    bool paused;    /* the fill has no room */
    uint64_t left;  /* of a body of known length */
    unsigned interims;
    uint64_t sent_us;
    size_t queued_bytes; /* in the kernel when the deadline of a blocked request was set */
};

static void connect_to_address(struct h1_fetch *h1, bool may_reuse);
static void send_request(struct h1_fetch *h1);
static void read_body(struct h1_fetch *h1);

static struct h1_fetch *h1_of(struct fetch *fetch)
{
    return fetch->state;
}

static struct counters *counters_of(const struct h1_fetch *h1)
{
    return h1->fetch->origin->context.counters;
}

static void ignore_upload(struct fetch *fetch)
{
    if (fetch->upload)
        fetch->upload->ready = NULL;
}

static void leave_upload(struct fetch *fetch)
{
    ignore_upload(fetch);
    fetch->upload = NULL;
}

/* Nothing that cannot be given again was taken from the client, and the origin may act on the request twice without harm, or did not see it
 * at all. */
static bool may_send_again(const struct h1_fetch *h1)
{
    return h1->request.sent_bytes == 0 || (method_is_idempotent(h1->fetch->method) && h1->request.body_sent_bytes == 0);
}

/* The connection ended (or the time did) before a byte of the answer. */
static void no_answer(struct h1_fetch *h1, enum error error)
{
    if (may_send_again(h1))
        fetch_failed_backend(h1->fetch, error, false);
    else
        fetch_fail(h1->fetch, error);
}

static bool waits_to_send(const struct h1_fetch *h1);
static void watch_sending(struct h1_fetch *h1);

/* The kernel asks for more only when a third of its buffer has become free: until then it shows whether the origin reads. */
static bool origin_reads(const struct h1_fetch *h1)
{
    return waits_to_send(h1) && connection_queued_bytes(h1->upstream->connection) < h1->queued_bytes;
}

static void deadline_expired(struct deadline *deadline)
{
    struct fetch *fetch = LIST_OWNER(deadline, struct fetch, deadline);
    struct h1_fetch *h1 = h1_of(fetch);
    fetch_hold(fetch);
    switch (h1->phase) {
    case H1_RESOLVING:
        addresses_leave(&h1->waiter);
        fetch_failed_backend(fetch, ERROR_ORIGIN_UNRESOLVED, true);
        break;
    case H1_CONNECTING:
        race_stop(&h1->race, true);
        fetch_failed_backend(fetch, ERROR_ORIGIN_CONNECT_TIMEOUT, true);
        break;
    case H1_HEAD_DUE:
        if (origin_reads(h1))
            watch_sending(h1);
        else if (h1->sending == H1_SEND_BLOCKED)
            fetch_fail(fetch, ERROR_ORIGIN_WRITE_TIMEOUT);
        else if (h1->got_bytes)
            fetch_fail(fetch, ERROR_ORIGIN_READ_TIMEOUT);
        else
            no_answer(h1, ERROR_ORIGIN_FIRST_BYTE_TIMEOUT);
        break;
    case H1_BODY_DUE:
        if (origin_reads(h1))
            watch_sending(h1);
        else
            fetch_fail(fetch, ERROR_ORIGIN_READ_TIMEOUT);
        break;
    }
    fetch_unhold(fetch);
}

static void set_deadline(struct h1_fetch *h1, int64_t ms)
{
    loop_set_deadline(fetch_loop(h1->fetch), &h1->fetch->deadline, ms, deadline_expired);
}

static void watch_sending(struct h1_fetch *h1)
{
    h1->queued_bytes = connection_queued_bytes(h1->upstream->connection);
    set_deadline(h1, h1->fetch->origin->site->between_bytes_timeout_ms);
}

/* The response is whole. */
static void finish(struct h1_fetch *h1, bool is_clean)
{
    if (is_clean && h1->response.keep_alive)
        pool_keep(&h1->upstream);
    else
        upstream_close(&h1->upstream);
    fetch_done(h1->fetch);
}

static void bad_response(struct h1_fetch *h1)
{
    h1->fetch->fault = h1->response.fault;
    fetch_fail(h1->fetch, ERROR_ORIGIN_BAD_RESPONSE);
}

/* The head of the request, or its upload as long as there is one. */
static bool waits_to_send(const struct h1_fetch *h1)
{
    return h1->sending == H1_SEND_BLOCKED && (h1->phase == H1_HEAD_DUE || h1->fetch->upload);
}

static void want_events(struct h1_fetch *h1)
{
    connection_want(h1->upstream->connection, (h1->paused ? WANT_NOTHING : WANT_READ) | (waits_to_send(h1) ? WANT_WRITE : WANT_NOTHING));
}

static void pause_reading(struct h1_fetch *h1)
{
    h1->paused = true;
    want_events(h1);
    deadline_clear(&h1->fetch->deadline);
}

static bool is_complete(const struct h1_fetch *h1)
{
    return h1->response.framing == H1_CHUNKED ? h1->response.complete : h1->response.framing == H1_LENGTH && h1->left == 0;
}

/* Body bytes that lie outside the fill: they came with the head, or were stashed. False: the fetch has ended or is paused. */
static bool take_chunked(struct h1_fetch *h1, struct bytes body)
{
    struct fill *fill = h1->fetch->fill;
    while (body.len > 0 && !h1->response.complete) {
        struct fill_space space;
        if (fill_reserve(fill, &space) == FILL_NO_ROOM) {
            fetch_stash(h1->fetch, body);
            pause_reading(h1);
            return false;
        }
        struct bytes piece = bytes_from(body.at, body.len < space.capacity ? body.len : space.capacity);
        size_t used, decoded;
        bool is_good = h1_response_decode(&h1->response, piece, space.at, &used, &decoded);
        fill_commit(fill, decoded);
        if (!is_good) {
            bad_response(h1);
            return false;
        }
        body = bytes_from(body.at + used, body.len - used);
    }
    if (h1->response.complete)
        finish(h1, body.len == 0);
    return !h1->response.complete;
}

static bool take_plain(struct h1_fetch *h1, struct bytes body)
{
    bool has_more = h1->response.framing == H1_LENGTH && body.len > h1->left;
    if (has_more)
        body.len = h1->left;
    bool has_room = fetch_put(h1->fetch, body);
    size_t stashed = has_room ? 0 : h1->fetch->stash_len;
    if (h1->response.framing == H1_LENGTH)
        h1->left -= body.len - stashed;
    if (!has_room) {
        h1->response.keep_alive &= !has_more;
        pause_reading(h1);
        return false;
    }
    if (!is_complete(h1))
        return true;
    finish(h1, !has_more);
    return false;
}

static void take_body(struct h1_fetch *h1, struct bytes body)
{
    bool goes_on = h1->response.framing == H1_CHUNKED ? take_chunked(h1, body) : take_plain(h1, body);
    if (goes_on) {
        want_events(h1);
        set_deadline(h1, h1->fetch->origin->site->between_bytes_timeout_ms);
    }
}

static void deliver_final_head(struct h1_fetch *h1, struct bytes rest)
{
    struct fetch *fetch = h1->fetch;
    struct h1_response *response = &h1->response;
    uint64_t took_us = clock_monotonic_us() - h1->sent_us;
    histogram_add(&counters_of(h1)->origin_first_byte, took_us);
    fetch->backend->figures[ORIGIN_ANSWERS]++;
    fetch->backend->figures[ORIGIN_FIRST_BYTE_US] += took_us;
    /* Answered before the body was sent: this connection is not used again (HARDENING: framing), even when the rest still goes out. RFC 9112
     * §9.5: an error stops the body; any other answer may depend on the rest of it. */
    if (h1->sending != H1_SENT)
        response->keep_alive = false;
    if (response->status >= 400)
        leave_upload(fetch);
    /* RFC 9110 §15.4.5: without a condition there is nothing that was not modified, and nobody could be given it. */
    if (response->status == 304 && !fetch->is_conditional) {
        response->fault = "304 that was not asked for";
        bad_response(h1);
        return;
    }
    health_succeed(&fetch->backend->health);
    health_succeed(&h1->upstream->endpoint->health);
    h1->phase = H1_BODY_DUE;
    h1->upstream->kept_ms = response->kept_ms;
    h1->left = response->framing == H1_LENGTH ? response->length : 0;
    const struct fetch_response head = {
        .status = response->status,
        .reason = response->reason,
        .fields = &response->fields,
        .length_known = response->framing == H1_LENGTH || response->framing == H1_NO_BODY,
        .length = h1->left,
        .body_forbidden = response->framing == H1_NO_BODY,
    };
    if (response->status == 304 && fetch->is_conditional && fill_stale(fetch->fill)) {
        if (rest.len == 0 && response->keep_alive)
            pool_keep(&h1->upstream);
        fetch_not_modified(fetch, &head);
        return;
    }
    if (!fetch_head(fetch, &head))
        return;
    if (head.length_known && head.length == 0)
        finish(h1, rest.len == 0);
    else
        take_body(h1, rest);
    h1_response_free(response);
}

static void upgrade(struct h1_fetch *h1, struct bytes rest)
{
    struct fetch *fetch = h1->fetch;
    if (!fetch->wants_upgrade || h1->sending != H1_SENT) {
        h1->response.fault = "101 that was not asked for";
        bad_response(h1);
        return;
    }
    if (!fetch->attached) {
        fetch_fail(fetch, ERROR_CLIENT_CLOSED);
        return;
    }
    deadline_clear(&fetch->deadline);
    connection_want(h1->upstream->connection, WANT_NOTHING);
    const struct fetch_upgrade upgraded = {
        .fields = &h1->response.fields,
        .connection = upstream_release(&h1->upstream),
        .unread = rest,
    };
    fetch->events.upgraded(fetch->events.context, &upgraded);
    if (!fetch_has_ended(fetch))
        fetch_upgraded(fetch);
}

/* False: over. */
static bool deliver_interim(struct h1_fetch *h1)
{
    struct fetch *fetch = h1->fetch;
    unsigned status = h1->response.status;
    if (++h1->interims > INTERIM_MAX) {
        fetch_fail(fetch, ERROR_ORIGIN_INTERIM_FLOOD);
        return false;
    }
    if (status == 103)
        fill_note_early_hints(fetch->fill, &h1->response.fields);
    /* RFC 9110 §15.2: others are unknown to us; a client is not expected to want them. */
    if (fetch->attached && (status == 100 || status == 102 || status == 103))
        fetch->events.interim(fetch->events.context, status, &h1->response.fields);
    if (fetch_has_ended(fetch))
        return false;
    if (h1->sending == H1_SENT)
        set_deadline(h1, fetch->origin->site->first_byte_timeout_ms);
    return true;
}

static void take_heads(struct h1_fetch *h1, enum h1_result result, struct bytes rest)
{
    while (result == H1_HEAD && h1->response.status < 200 && h1->response.status != 101) {
        if (!deliver_interim(h1))
            return;
        result = h1_response_next(&h1->response, &rest);
    }
    switch (result) {
    case H1_MORE:
        break;
    case H1_BAD:
        bad_response(h1);
        break;
    case H1_TOO_LARGE:
        fetch_fail(h1->fetch, ERROR_ORIGIN_HEADER_TOO_LARGE);
        break;
    case H1_HEAD:
        if (h1->response.status == 101)
            upgrade(h1, rest);
        else
            deliver_final_head(h1, rest);
        break;
    }
}

/* The connection ended where a head was due. */
static void head_missing(struct h1_fetch *h1)
{
    if (h1->got_bytes) {
        fetch_fail(h1->fetch, ERROR_ORIGIN_TRUNCATED);
        return;
    }
    if (h1->upstream->reused && !h1->retried && may_send_again(h1)) {
        /* RFC 9112 §9.3.1: it was closed while the request was on its way. */
        h1->retried = true;
        upstream_close(&h1->upstream);
        h1_response_free(&h1->response);
        ignore_upload(h1->fetch);
        counter_add(counters_of(h1), COUNTER_ORIGIN_RETRIES, 1);
        connect_to_address(h1, false);
        return;
    }
    no_answer(h1, ERROR_ORIGIN_CLOSED);
}

static void read_head(struct h1_fetch *h1)
{
    size_t capacity;
    char *at = h1_response_space(&h1->response, loop_read_buffer(fetch_loop(h1->fetch)), &capacity);
    ssize_t count = connection_read(h1->upstream->connection, at, capacity);
    if (count == CONNECTION_AGAIN)
        return;
    if (count <= 0) {
        head_missing(h1);
        return;
    }
    h1->got_bytes = true;
    counter_add(counters_of(h1), COUNTER_ORIGIN_BYTES_RECEIVED, (uint64_t)count);
    struct bytes rest = BYTES_NONE;
    enum h1_result result = h1_response_feed(&h1->response, at, (size_t)count, &rest);
    take_heads(h1, result, rest);
}

static void body_ended(struct h1_fetch *h1, bool is_orderly)
{
    if (is_orderly && h1->response.framing == H1_UNTIL_CLOSE)
        finish(h1, false);
    else
        fetch_fail(h1->fetch, ERROR_ORIGIN_TRUNCATED);
}

/* `count` bytes were read into `space`. False: over. */
static bool take_in_place(struct h1_fetch *h1, const struct fill_space *space, size_t count)
{
    size_t used = count, decoded = count;
    bool is_good = true;
    if (h1->response.framing == H1_CHUNKED)
        is_good = h1_response_decode(&h1->response, bytes_from(space->at, count), space->at, &used, &decoded);
    else if (h1->response.framing == H1_LENGTH)
        h1->left -= count;
    fill_commit(h1->fetch->fill, decoded);
    if (!is_good)
        bad_response(h1);
    else if (is_complete(h1))
        finish(h1, used == count);
    return is_good && !fetch_has_ended(h1->fetch);
}

static void read_body(struct h1_fetch *h1)
{
    struct fill *fill = h1->fetch->fill;
    for (size_t total = 0; total < READ_TURN_MAX_BYTES;) {
        struct fill_space space;
        if (fill_reserve(fill, &space) == FILL_NO_ROOM) {
            pause_reading(h1);
            return;
        }
        size_t wanted = space.capacity;
        if (h1->response.framing == H1_LENGTH && wanted > h1->left)
            wanted = h1->left;
        ssize_t count = connection_read(h1->upstream->connection, space.at, wanted);
        if (count <= 0) {
            fill_commit(fill, 0);
            if (count != CONNECTION_AGAIN)
                body_ended(h1, count == CONNECTION_EOF);
            return;
        }
        total += (size_t)count;
        counter_add(counters_of(h1), COUNTER_ORIGIN_BYTES_RECEIVED, (uint64_t)count);
        if (!take_in_place(h1, &space, (size_t)count))
            return;
        set_deadline(h1, h1->fetch->origin->site->between_bytes_timeout_ms);
        if ((size_t)count < wanted)
            return; /* drained for now: a further read would only say so */
    }
}

static void on_readable(void *owner)
{
    struct h1_fetch *h1 = owner;
    struct fetch *fetch = h1->fetch;
    fetch_hold(fetch);
    if (h1->phase == H1_HEAD_DUE)
        read_head(h1);
    else
        read_body(h1);
    fetch_unhold(fetch);
}

static void on_writable(void *owner)
{
    struct h1_fetch *h1 = owner;
    struct fetch *fetch = h1->fetch;
    fetch_hold(fetch);
    send_request(h1);
    fetch_unhold(fetch);
}

static const struct connection_events exchange_events = {.readable = on_readable, .writable = on_writable};

/* Called by the client's codec, which must not be called back from inside. */
static void upload_ready(void *context)
{
    struct h1_fetch *h1 = context;
    struct fetch *fetch = h1->fetch;
    if (h1->in_send)
        return;
    fetch_hold(fetch);
    bool was_inside = fetch->inside;
    fetch->inside = true;
    send_request(h1);
    fetch->inside = was_inside;
    fetch_unhold(fetch);
}

/* How the sending goes, while the body of the response comes already: either direction keeps the exchange alive. */
static void sent_behind_head(struct h1_fetch *h1, bool has_moved)
{
    struct fetch *fetch = h1->fetch;
    if (h1->sending == H1_UPLOAD_FAILED) {
        fetch_fail(fetch, fetch->upload->error ? fetch->upload->error : ERROR_CLIENT_CLOSED);
        return;
    }
    if (h1->sending == H1_SENT || h1->sending == H1_SEND_BROKEN) /* an origin may stop reading and answer nevertheless */
        leave_upload(fetch);
    if (has_moved && !h1->paused)
        watch_sending(h1);
}

static void send_request(struct h1_fetch *h1)
{
    struct fetch *fetch = h1->fetch;
    const struct config_site *site = fetch->origin->site;
    uint64_t sent_before = h1->request.sent_bytes;
    h1->in_send = true;
    h1->sending = h1_request_send(&h1->request, h1->upstream->connection, fetch->upload);
    h1->in_send = false;
    counter_add(counters_of(h1), COUNTER_ORIGIN_BYTES_SENT, h1->request.sent_bytes - sent_before);
    want_events(h1);
    if (h1->phase == H1_BODY_DUE) {
        sent_behind_head(h1, h1->request.sent_bytes > sent_before);
        return;
    }
    switch (h1->sending) {
    case H1_SENT:
        leave_upload(fetch);
        h1->sent_us = clock_monotonic_us();
        set_deadline(h1, site->first_byte_timeout_ms);
        break;
    case H1_SEND_BLOCKED:
        if (h1->request.sent_bytes > sent_before || !deadline_is_set(&fetch->deadline))
            watch_sending(h1);
        break;
    case H1_SEND_STARVED: /* the client's own deadlines watch over it */
        deadline_clear(&fetch->deadline);
        break;
    case H1_SEND_BROKEN: /* an answer may have come before the connection broke: reading tells */
        ignore_upload(fetch);
        set_deadline(h1, site->first_byte_timeout_ms);
        break;
    case H1_UPLOAD_FAILED:
        fetch_fail(fetch, fetch->upload->error ? fetch->upload->error : ERROR_CLIENT_CLOSED);
        break;
    }
}

static void begin_exchange(struct h1_fetch *h1, struct upstream *upstream)
{
    struct fetch *fetch = h1->fetch;
    h1->phase = H1_HEAD_DUE;
    h1->upstream = upstream;
    h1->got_bytes = false;
    fetch->origin_text = arena_copy(&fetch->arena, bytes_from_string(upstream->endpoint->text));
    counter_add(counters_of(h1), COUNTER_ORIGIN_REQUESTS, 1);
    fetch->backend->figures[ORIGIN_REQUESTS]++;
    h1_request_init(&h1->request, h1->head, fetch->upload);
    h1_response_init(&h1->response, fetch->method, &fetch->arena);
    if (fetch->upload) {
        fetch->upload->ready = upload_ready;
        fetch->upload->context = h1;
    }
    h1->sent_us = clock_monotonic_us();
    deadline_clear(&fetch->deadline);
    send_request(h1);
}

static void race_over(struct race *race, struct upstream *upstream, enum error error)
{
    struct h1_fetch *h1 = LIST_OWNER(race, struct h1_fetch, race);
    struct fetch *fetch = h1->fetch;
    fetch_hold(fetch);
    if (upstream) {
        connection_set_owner(upstream->connection, &exchange_events, h1);
        begin_exchange(h1, upstream);
    } else {
        if (race->reason[0])
            fetch->fault = arena_string(&fetch->arena, bytes_from_string(race->reason));
        fetch_failed_backend(fetch, error, true);
    }
    fetch_unhold(fetch);
}

/* Address and connection: the next in turn, kept or new. */
static void connect_to_address(struct h1_fetch *h1, bool may_reuse)
{
    struct fetch *fetch = h1->fetch;
    const struct config_site *site = fetch->origin->site;
    struct endpoint *endpoints[RESOLVE_ADDRESSES_MAX];
    unsigned count = addresses_order(&fetch->backend->addresses, site->down_ms, endpoints);
    if (count == 0) {
        fetch_failed_backend(fetch, ERROR_ORIGIN_UNRESOLVED, true);
        return;
    }
    struct upstream *upstream = may_reuse ? pool_take(endpoints[0], &exchange_events, h1) : NULL;
    if (upstream) {
        begin_exchange(h1, upstream);
        return;
    }
    h1->phase = H1_CONNECTING;
    set_deadline(h1, site->connect_timeout_ms);
    if (!race_start(&h1->race, endpoints, count, site->down_ms, race_over))
        fetch_failed_backend(fetch, h1->race.error, true);
}

static void addresses_known(struct addresses_waiter *waiter)
{
    struct h1_fetch *h1 = LIST_OWNER(waiter, struct h1_fetch, waiter);
    struct fetch *fetch = h1->fetch;
    fetch_hold(fetch);
    connect_to_address(h1, true);
    fetch_unhold(fetch);
}

static void h1_resume(struct fetch *fetch)
{
    struct h1_fetch *h1 = h1_of(fetch);
    if (!h1->paused)
        return;
    h1->paused = false;
    struct bytes body;
    char *owned = fetch_unstash(fetch, &body);
    if (owned) {
        take_body(h1, body);
        free(owned);
    } else {
        take_body(h1, BYTES_NONE);
    }
    if (!fetch_has_ended(fetch) && !h1->paused)
        read_body(h1);
}

static bool h1_stop(struct fetch *fetch)
{
    struct h1_fetch *h1 = h1_of(fetch);
    addresses_leave(&h1->waiter);
    race_stop(&h1->race, false);
    if (h1->upstream)
        upstream_close(&h1->upstream);
    h1_response_free(&h1->response);
    ignore_upload(fetch);
    deadline_clear(&fetch->deadline);
    return true;
}

static const struct fetch_kind h1_kind = {.resume = h1_resume, .stop = h1_stop};

void h1_start(struct fetch *fetch)
{
    struct h1_fetch *h1 = arena_zalloc(&fetch->arena, sizeof(*h1));
    h1->fetch = fetch;
    list_init(&h1->waiter.link);
    h1->waiter.known = addresses_known;
    h1->head = h1_request_head(fetch->method, fetch->method_name, fetch->target, &fetch->fields, fetch->upload, &fetch->arena);
    fetch->kind = &h1_kind;
    fetch->state = h1;
    struct addresses *addresses = &fetch->backend->addresses;
    if (addresses->state != ADDRESSES_UNKNOWN) {
        connect_to_address(h1, true);
        return;
    }
    h1->phase = H1_RESOLVING;
    addresses_wait(addresses, &h1->waiter);
    set_deadline(h1, fetch->origin->site->connect_timeout_ms);
}
