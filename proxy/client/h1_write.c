/* A response on its way to an HTTP/1 client (RFC 9112 §6, §7, §9).
 *
 * DESIGN. One call makes one plan: pieces before the body (what waits, status line, fields, framing lines, the size of a chunk), as much of the body as fits in the plan,
 * pieces behind it (the end of a chunk, of the body). The plan goes out in one writev. Of what the kernel leaves, pieces of ours are copied to `out`, and the
 * body is simply not taken: its owner offers it again. A chunk is as long as the body that was on offer when it was begun; it may take several calls.
 * While more requests of the same read wait to be parsed, whole small responses are collected in the worker's batch and leave with the last one.
 */
#include "proxy/client/h1_client.h"

#include "base/status_line.h"

#include <assert.h>
#include <stdio.h>

enum {
    PLAN_BEFORE_MAX = 5, /* waiting, status line, fields, extra, framing */
    PLAN_BODY_MAX = 32,
    PLAN_AFTER_MAX = 1,
    FRAMING_MAX_BYTES = 160,
};

struct plan {
    struct iovec iov[PLAN_BEFORE_MAX + PLAN_BODY_MAX + PLAN_AFTER_MAX];
    int before_count, body_count, after_count;    /* iov[0] is kept for what waits */
    size_t before_bytes, body_bytes, after_bytes; /* without what waits */
    char framing[FRAMING_MAX_BYTES];
    size_t framing_len;
};

/* Where in the caller's body a plan begins. */
struct offer {
    const struct iovec *iov;
    int count;
    size_t offset; /* in iov[0] */
};

static size_t offer_bytes(const struct offer *offer)
{
    size_t bytes = 0;
    for (int i = 0; i < offer->count; i++)
        bytes += offer->iov[i].iov_len;
    return bytes - offer->offset;
}

static void offer_advance(struct offer *offer, size_t bytes)
{
    while (offer->count && bytes >= offer->iov[0].iov_len - offer->offset) {
        bytes -= offer->iov[0].iov_len - offer->offset;
        offer->iov++;
        offer->count--;
        offer->offset = 0;
    }
    offer->offset += bytes;
}

static void plan_before(struct plan *plan, struct bytes piece)
{
    if (!piece.len)
        return;
    plan->iov[plan->before_count++] = (struct iovec){(char *)piece.at, piece.len};
    plan->before_bytes += piece.len;
}

static void plan_framing(struct plan *plan, struct bytes text)
{
    memcpy(plan->framing + plan->framing_len, text.at, text.len);
    plan->framing_len += text.len;
}

static void plan_number(struct plan *plan, uint64_t number, char *(*put)(char *, uint64_t))
{
    plan->framing_len = (size_t)(put(plan->framing + plan->framing_len, number) - plan->framing);
}

/* RFC 9112 §6.3, §9.6 */
static void begin_response(struct h1_client *client, const struct response_head *head)
{
    struct h1_exchange *exchange = client->exchange;
    exchange->head_sent = true;
    exchange->left = head->has_body && head->length_known ? head->length : 0;
    if (!head->has_body)
        exchange->body = H1_BODY_NONE;
    else if (head->length_known)
        exchange->body = H1_BODY_LENGTH;
    else
        exchange->body = exchange->version_minor == 0 ? H1_BODY_UNTIL_CLOSE : H1_BODY_CHUNKED;
    if (head->close || !exchange->keep_alive || exchange->body == H1_BODY_UNTIL_CLOSE || client->worker->ends_keep_alive ||
        h1_config(client)->keep_alive_timeout_ms == 0)
        client->closes = true;
    if (exchange->has_upload && !exchange->upload.complete && !h1_upload_is_drainable(&exchange->upload))
        client->closes = true;
}

static void plan_length(struct plan *plan, uint64_t length)
{
    plan_framing(plan, BYTES("Content-Length: "));
    plan_number(plan, length, bytes_put_decimal);
    plan_framing(plan, BYTES("\r\n"));
}

static void plan_head(struct plan *plan, struct h1_client *client, const struct response_head *head)
{
    begin_response(client, head);
    plan_before(plan, head->status_line.len > 0 ? head->status_line : status_line_usual(head->status));
    plan_before(plan, head->fields);
    plan_before(plan, head->extra);
    if (head->length_known)
        plan_length(plan, head->length);
    else if (client->exchange->body == H1_BODY_CHUNKED)
        plan_framing(plan, BYTES("Transfer-Encoding: chunked\r\n"));
    if (client->closes)
        plan_framing(plan, BYTES("Connection: close\r\n"));
    else if (client->exchange->version_minor == 0)
        plan_framing(plan, BYTES("Connection: keep-alive\r\n"));
    plan_framing(plan, BYTES("\r\n"));
}

static void plan_body(struct plan *plan, const struct offer *offer, uint64_t limit)
{
    size_t offset = offer->offset;
    for (int i = 0; i < offer->count && plan->body_count < PLAN_BODY_MAX && limit > 0; i++, offset = 0) {
        size_t length = offer->iov[i].iov_len - offset;
        if (length > limit)
            length = (size_t)limit;
        if (!length)
            continue;
        plan->iov[plan->before_count + plan->body_count++] = (struct iovec){(char *)offer->iov[i].iov_base + offset, length};
        plan->body_bytes += length;
        limit -= length;
    }
}

static void plan_after(struct plan *plan, struct bytes piece)
{
    plan->iov[plan->before_count + plan->body_count] = (struct iovec){(char *)piece.at, piece.len};
    plan->after_count = 1;
    plan->after_bytes = piece.len;
}

static void make_plan(struct plan *plan, struct h1_client *client, const struct response_head *head, const struct offer *offer, bool last)
{
    struct h1_exchange *exchange = client->exchange;
    size_t offered = offer_bytes(offer);
    plan->before_count = 1;
    plan->body_count = plan->after_count = 0;
    plan->before_bytes = plan->body_bytes = plan->after_bytes = plan->framing_len = 0;
    if (head)
        plan_head(plan, client, head);
    if (exchange->body == H1_BODY_CHUNKED && exchange->left == 0 && offered > 0) {
        plan_number(plan, offered, bytes_put_hex); /* RFC 9112 §7.1 */
        plan_framing(plan, BYTES("\r\n"));
        exchange->left = offered;
    }
    plan_before(plan, bytes_from(plan->framing, plan->framing_len));
    plan_body(plan, offer, exchange->body == H1_BODY_UNTIL_CLOSE ? UINT64_MAX : exchange->left);
    if (exchange->body == H1_BODY_CHUNKED && plan->body_bytes == exchange->left) {
        bool ends_body = last && plan->body_bytes == offered;
        if (ends_body)
            plan_after(plan, offered ? BYTES("\r\n0\r\n\r\n") : BYTES("0\r\n\r\n"));
        else if (plan->body_bytes)
            plan_after(plan, BYTES("\r\n"));
    }
}

/* Copies to `out` what lies behind the first `skip` bytes of these pieces. */
static void keep_unsent(struct h1_client *client, const struct iovec *iov, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t skipped = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        spill_append(&client->out, bytes_from((char *)iov[i].iov_base + skipped, iov[i].iov_len - skipped));
        skip -= skipped;
    }
}

/* Puts the plan into the batch, if it may wait and fits. */
static bool plan_joins_batch(const struct plan *plan, struct h1_client *client, bool is_whole)
{
    struct h1_clients *clients = client->worker->clients;
    size_t bytes = plan->before_bytes + plan->body_bytes + plan->after_bytes;
    if (!is_whole || !client->exchange->is_followed || clients->batch_of != client || client->out ||
        bytes > sizeof(clients->batch) - clients->batch_bytes)
        return false;
    int count = plan->before_count + plan->body_count + plan->after_count;
    for (int i = 1; i < count; i++) {
        memcpy(clients->batch + clients->batch_bytes, plan->iov[i].iov_base, plan->iov[i].iov_len);
        clients->batch_bytes += plan->iov[i].iov_len;
    }
    return true;
}

static ssize_t write_counted(struct h1_client *client, const struct iovec *iov, int count)
{
    ssize_t written = connection_writev(client->connection, iov, count);
    if (written == CONNECTION_ERROR)
        client->gone = true;
    if (written > 0) {
        if (client->exchange)
            client->exchange->written_bytes += (uint64_t)written;
        counter_add(client->worker->counters, COUNTER_CLIENT_BYTES_SENT, (uint64_t)written);
    }
    return written;
}

/* Writes the plan behind what waits; returns the body bytes taken, or STREAM_GONE. `is_end`: of the response. */
static ssize_t write_plan(struct plan *plan, struct h1_client *client, bool is_end)
{
    struct h1_clients *clients = client->worker->clients;
    struct bytes waiting = spill_bytes(client->out);
    bool is_batch = !client->out && clients->batch_of == client && clients->batch_bytes;
    if (is_batch)
        waiting = bytes_from(clients->batch, clients->batch_bytes);
    plan->iov[0] = (struct iovec){(char *)waiting.at, waiting.len};
    int first = waiting.len ? 0 : 1, count = plan->before_count + plan->body_count + plan->after_count;
    if (first == count)
        return 0;
    if (is_end && client->closes)
        connection_expect_end(client->connection);
    ssize_t written = write_counted(client, plan->iov + first, count - first);
    if (written == CONNECTION_ERROR)
        return STREAM_GONE;
    size_t left = written > 0 ? (size_t)written : 0;
    if (client->out) {
        size_t from_out = left < waiting.len ? left : waiting.len;
        spill_drop(&client->out, from_out);
        left -= from_out;
        first = 1;
    } else if (is_batch) {
        clients->batch_bytes = 0;
        plan->before_bytes += waiting.len;
    }
    if (left < plan->before_bytes) {
        keep_unsent(client, plan->iov + first, plan->before_count - first, left);
        return 0;
    }
    left -= plan->before_bytes;
    if (left < plan->body_bytes)
        return (ssize_t)left;
    keep_unsent(client, plan->iov + plan->before_count + plan->body_count, plan->after_count, left - plan->body_bytes);
    return (ssize_t)plan->body_bytes;
}

static ssize_t send_response(struct h1_client *client, const struct response_head *head, struct offer offer, bool last)
{
    struct h1_exchange *exchange = client->exchange;
    size_t taken = 0;
    assert(exchange->head_sent != (head != NULL) && !exchange->last_sent);
    for (;;) {
        struct plan plan;
        make_plan(&plan, client, head, &offer, last);
        size_t offered = offer_bytes(&offer);
        ssize_t sent = (ssize_t)plan.body_bytes;
        bool is_whole = last && plan.body_bytes == offered;
        bool is_end = is_whole && (exchange->body == H1_BODY_UNTIL_CLOSE || exchange->left == plan.body_bytes);
        if (!plan_joins_batch(&plan, client, is_whole))
            sent = write_plan(&plan, client, is_end);
        if (sent == STREAM_GONE)
            return STREAM_GONE;
        head = NULL;
        taken += (size_t)sent;
        offer_advance(&offer, (size_t)sent);
        if (exchange->body != H1_BODY_UNTIL_CLOSE)
            exchange->left -= (uint64_t)sent;
        if ((size_t)sent == offered) {
            exchange->last_sent = last;
            break;
        }
        if (client->out || (size_t)sent < plan.body_bytes || plan.body_bytes == 0) {
            exchange->waits = true;
            break;
        }
    }
    return (ssize_t)taken;
}

ssize_t h1_send(struct stream *stream, const struct response_head *head, const struct iovec *iov, int count, bool last)
{
    struct h1_client *client = h1_client_of(stream);
    if (client->gone)
        return STREAM_GONE;
    h1_enter(client);
    ssize_t taken = send_response(client, head, (struct offer){iov, count, 0}, last);
    h1_leave(client);
    return taken;
}

bool h1_is_flushed(struct stream *stream)
{
    struct h1_client *client = h1_client_of(stream);
    bool flushed = client->exchange->last_sent && !client->out;
    if (!flushed) {
        h1_enter(client);
        client->exchange->waits = true;
        h1_leave(client);
    }
    return flushed;
}

bool h1_flush(struct h1_client *client)
{
    struct bytes waiting = spill_bytes(client->out);
    if (!waiting.len)
        return true;
    struct iovec iov = {(char *)waiting.at, waiting.len};
    ssize_t written = write_counted(client, &iov, 1);
    if (written > 0)
        spill_drop(&client->out, (size_t)written);
    return !client->gone;
}

void h1_flush_batch(struct h1_client *client)
{
    struct h1_clients *clients = client->worker->clients;
    if (clients->batch_of != client || !clients->batch_bytes)
        return;
    spill_append(&client->out, bytes_from(clients->batch, clients->batch_bytes));
    clients->batch_bytes = 0;
    h1_flush(client);
}

void h1_interim(struct stream *stream, unsigned status, const struct headers *fields)
{
    struct h1_client *client = h1_client_of(stream);
    struct h1_exchange *exchange = client->exchange;
    if (client->gone || exchange->version_minor == 0 || exchange->head_sent)
        return;
    if (status == 100)
        exchange->upload.expects_continue = false;
    h1_enter(client);
    h1_flush_batch(client);
    struct bytes line = status_line_usual(status);
    char unusual[64];
    if (line.len == 0) /* RFC 9112 §4: a reason phrase may be empty */
        line = bytes_from(unusual, (size_t)snprintf(unusual, sizeof(unusual), "HTTP/1.1 %u \r\n", status));
    spill_append(&client->out, line);
    for (unsigned i = 0; fields && i < fields->count; i++) {
        spill_append(&client->out, fields->at[i].name);
        spill_append(&client->out, BYTES(": "));
        spill_append(&client->out, fields->at[i].value);
        spill_append(&client->out, BYTES("\r\n"));
    }
    spill_append(&client->out, BYTES("\r\n"));
    h1_flush(client); /* whether it failed, the next send says */
    h1_leave(client);
}
