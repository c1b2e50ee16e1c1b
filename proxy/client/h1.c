/* The life of an HTTP/1 client connection: what comes in, when it goes on, how it ends. See h1_client.h for the design. */
#include "proxy/client/clients.h"
#include "proxy/client/h1_client.h"

#include <assert.h>
#include <stdlib.h>

static void on_deadline(struct deadline *deadline);

static struct loop *loop_of(const struct h1_client *client)
{
    return client->worker->loop;
}

void h1_set_deadline(struct h1_client *client, int64_t ms)
{
    loop_set_deadline(loop_of(client), &client->deadline, ms, on_deadline);
}

/* --- input that waits --- */

static void held_free(struct h1_client *client)
{
    if (client->held)
        spill_free(&client->held->spill);
    free(client->held);
    client->held = NULL;
}

static void hold(struct h1_client *client, struct bytes input, const struct h1_scan *scan)
{
    if (!client->held) {
        client->held = calloc(1, sizeof(*client->held));
        assert(client->held);
    }
    spill_append(&client->held->spill, input);
    client->held->scan = *scan;
}

/* --- the end --- */

static void client_forget(struct h1_client *client)
{
    client->state = H1_CLOSED;
    deadline_clear(&client->deadline);
    list_remove(&client->link);
    h1_detach_exchange(client);
    held_free(client);
    spill_free(&client->out);
    clients_count_closed(client->worker, client->listener);
}

void h1_close(struct h1_client *client)
{
    connection_close(&client->connection);
    client_forget(client);
}

static void client_reset(struct h1_client *client)
{
    connection_reset(&client->connection);
    client_forget(client);
}

static void client_linger(struct h1_client *client)
{
    h1_detach_exchange(client);
    held_free(client);
    connection_shutdown(client->connection);
    client->state = H1_LINGER;
    deadline_clear(&client->deadline);
    h1_set_deadline(client, H1_LINGER_MS);
}

void h1_give_up(struct h1_client *client, enum error why)
{
    if (client->state == H1_REQUEST) {
        struct request *request = client->exchange->request;
        client->exchange->request = NULL;
        request_client_gone(request, why);
    }
    client_reset(client);
}

/* --- in and out of this module --- */

void h1_enter(struct h1_client *client)
{
    client->depth++;
}

static unsigned wants_of(const struct h1_client *client)
{
    const struct h1_exchange *exchange = client->exchange;
    switch ((enum h1_state)client->state) {
    case H1_REQUEST:
        return (exchange->has_upload && h1_upload_room(&exchange->upload) ? WANT_READ : WANT_NOTHING) |
               ((client->out || exchange->waits) && !client->gone ? WANT_WRITE : WANT_NOTHING);
    case H1_FLUSH:
        return WANT_WRITE;
    case H1_IDLE: /* with input held it is about to be resumed, and an end of file must not overtake that */
        return (client->held || client->ended ? WANT_NOTHING : WANT_READ) | (client->out ? WANT_WRITE : WANT_NOTHING);
    default:
        return (client->ended ? WANT_NOTHING : WANT_READ) | (client->out ? WANT_WRITE : WANT_NOTHING);
    }
}

static void set_stall_deadline(struct h1_client *client)
{
    client->exchange->queued_bytes = connection_queued_bytes(client->connection);
    client->exchange->written_bytes = 0;
    h1_set_deadline(client, h1_config(client)->write_stall_timeout_ms);
}

/* A client that does not take its response: while it is waited for, one window of time after the other. While it has taken everything, how long the response
 * takes is not its affair. */
static void watch_stall(struct h1_client *client, bool blocked)
{
    if (!blocked)
        deadline_clear(&client->deadline);
    else if (!deadline_is_set(&client->deadline))
        set_stall_deadline(client);
}

/* The kernel asks for more only when a third of its buffer, which may be megabytes, has become free: what a slow client took shows in what is queued. */
static bool client_reads(const struct h1_client *client)
{
    const struct h1_exchange *exchange = client->exchange;
    int64_t taken = (int64_t)(exchange->queued_bytes + exchange->written_bytes) - (int64_t)connection_queued_bytes(client->connection);
    return clients_take_enough(h1_config(client), taken);
}

void h1_leave(struct h1_client *client)
{
    if (--client->depth > 0)
        return;
    if (client->state == H1_CLOSED) {
        free(client);
        return;
    }
    unsigned wants = wants_of(client);
    connection_want(client->connection, wants);
    if (client->state == H1_REQUEST || client->state == H1_FLUSH)
        watch_stall(client, wants & WANT_WRITE);
    if (client->state == H1_REQUEST && client->exchange->has_upload)
        h1_upload_watch(&client->exchange->upload);
}

/* --- requests --- */

static void refuse(struct h1_client *client, enum error error)
{
    struct request *request = client->exchange->request;
    client->closes = client->lingers = true;
    request_refuse(request, error);
}

static struct request_head *begin_exchange(struct h1_client *client)
{
    h1_attach_exchange(client);
    client->state = H1_REQUEST;
    deadline_clear(&client->deadline); /* whatever it was for, it has been met */
    struct h1_exchange *exchange = client->exchange;
    exchange->request = request_new(client->worker, &client->stream, client->listener, &exchange->peer);
    struct request_head *head = request_head(exchange->request);
    head->tls = connection_tls(client->connection);
    return head;
}

/* A head that is whole, and what is there of its body. Returns how many bytes were used. */
static size_t begin_request(struct h1_client *client, const struct h1_scan *scan, struct bytes input)
{
    struct h1_framing framing;
    struct request_head *head = begin_exchange(client);
    struct h1_exchange *exchange = client->exchange;
    enum error error =
        h1_parse_head(scan, input, h1_config(client), &client->worker->clients->fresh_parser, &exchange->upload.parser, head, &framing);
    size_t used = scan->line;
    exchange->version_minor = head->version_minor;
    exchange->keep_alive = head->keep_alive;
    if (error == ERROR_OK && framing.has_body) {
        h1_upload_begin(client, &framing);
        head->upload = &exchange->upload.upload;
        used += h1_upload_feed(&exchange->upload, bytes_from(input.at + used, input.len - used));
        error = exchange->upload.upload.error;
    }
    if (error != ERROR_OK) {
        refuse(client, error);
        return input.len;
    }
    exchange->is_followed = used < input.len;
    request_start(exchange->request);
    return used;
}

static void refuse_head(struct h1_client *client, const struct h1_scan *scan, struct bytes input, enum error error)
{
    struct request_head *head = begin_exchange(client);
    h1_note_request_line(scan, input, head);
    client->exchange->version_minor = head->version_minor;
    refuse(client, error);
}

/* Parses and starts the requests in `input` until one is under way or the rest is not a whole head. Returns how many bytes were used; `scan` is that of
 * the rest. */
static size_t process(struct h1_client *client, struct bytes input, struct h1_scan *scan)
{
    struct h1_clients *clients = client->worker->clients;
    size_t used = 0;
    assert(!clients->batch_of);
    clients->batch_of = client;
    while (client->state <= H1_HEAD && used < input.len) {
        struct bytes rest = bytes_from(input.at + used, input.len - used);
        enum error error;
        enum h1_scan_outcome outcome = h1_scan_head(scan, rest, h1_config(client), &error);
        if (outcome == H1_SCAN_PARTIAL) {
            if (client->state == H1_IDLE)
                h1_set_deadline(client, h1_config(client)->header_timeout_ms);
            client->state = H1_HEAD;
            break;
        }
        if (outcome == H1_SCAN_BAD) {
            refuse_head(client, scan, rest, error);
            used = input.len; /* HARDENING: what follows a bad request is not answered */
        } else {
            used += begin_request(client, scan, rest);
        }
        *scan = (struct h1_scan){0};
    }
    if (client->state != H1_CLOSED)
        h1_flush_batch(client);
    clients->batch_of = NULL;
    clients->batch_bytes = 0;
    if (client->gone && client->state <= H1_HEAD)
        client_reset(client);
    return used;
}

static void process_held(struct h1_client *client)
{
    if (client->state > H1_HEAD || !client->held)
        return;
    struct h1_scan scan = client->held->scan;
    size_t used = process(client, spill_bytes(client->held->spill), &scan);
    if (!client->held)
        return;
    spill_drop(&client->held->spill, used);
    client->held->scan = scan;
    if (!client->held->spill)
        held_free(client);
}

void h1_resume(struct h1_client *client)
{
    h1_enter(client);
    process_held(client);
    h1_leave(client);
}

static void process_fresh(struct h1_client *client, struct bytes input)
{
    struct h1_scan scan = {0};
    size_t used = process(client, input, &scan);
    if (used < input.len && client->state < H1_LINGER)
        hold(client, bytes_from(input.at + used, input.len - used), &scan);
}

void h1_begin(struct h1_client *client, struct bytes already_read)
{
    h1_enter(client);
    process_fresh(client, already_read);
    h1_leave(client);
}

/* --- after a response --- */

static void begin_drain(struct h1_client *client)
{
    client->state = H1_DRAIN;
    h1_upload_discard(&client->exchange->upload);
    deadline_clear(&client->deadline);
    h1_set_deadline(client, H1_DRAIN_MS);
}

static void begin_idle(struct h1_client *client, bool is_processing)
{
    struct h1_clients *clients = client->worker->clients;
    h1_detach_exchange(client);
    client->state = H1_IDLE;
    /* That head may have gone out before keep-alive ended, without Connection: close. */
    h1_set_deadline(client, client->worker->ends_keep_alive ? H1_GOODBYE_MS : h1_config(client)->keep_alive_timeout_ms);
    if (client->held && !is_processing) { /* not from here: the request that just ended is still on the stack */
        list_remove(&client->link);
        list_push_back(&clients->resumable, &client->link);
        mail_post(&clients->resume);
    }
}

/* The response is over, or what was left of it has been written, or the rest of the body was drained: on to the next request, or the end. */
static void go_on(struct h1_client *client)
{
    struct h1_exchange *exchange = client->exchange;
    bool is_processing = client->worker->clients->batch_of == client;
    bool has_unread_body = exchange->has_upload && !exchange->upload.complete;
    bool has_more_input = is_processing ? exchange->is_followed : client->held != NULL;
    if (client->closes)
        h1_flush_batch(client);
    if (client->gone)
        client_reset(client);
    else if (client->out)
        client->state = H1_FLUSH;
    else if (client->closes && (client->lingers || has_unread_body || has_more_input))
        client_linger(client);
    else if (client->closes)
        h1_close(client);
    else if (has_unread_body)
        begin_drain(client);
    else
        begin_idle(client, is_processing);
}

static void finished(struct stream *stream, bool broken)
{
    struct h1_client *client = h1_client_of(stream);
    struct h1_exchange *exchange = client->exchange;
    h1_enter(client);
    exchange->request = NULL;
    /* RFC 9112 §8: a response that ended before its length, or without its last chunk, must not look whole. */
    if (broken || client->gone || !exchange->last_sent || exchange->left)
        client_reset(client);
    else
        go_on(client);
    h1_leave(client);
}

static struct connection *take_connection(struct stream *stream, struct bytes *unread)
{
    struct h1_client *client = h1_client_of(stream);
    struct connection *connection = client->connection;
    struct request *request = client->exchange->request;
    assert(client->worker->clients->batch_of != client); /* only then is all input in `held` */
    h1_enter(client);
    *unread = client->held ? arena_copy(request_arena(request), spill_bytes(client->held->spill)) : BYTES_NONE;
    if (client->out) /* not even the 101 is out: the tunnel begins with its end */
        connection_shutdown(connection);
    connection_want(connection, WANT_NOTHING);
    client->connection = NULL;
    client_forget(client);
    h1_leave(client);
    return connection;
}

const struct stream_ops h1_stream_ops = {
    .interim = h1_interim,
    .send = h1_send,
    .is_flushed = h1_is_flushed,
    .finished = finished,
    .take_connection = take_connection,
};

/* --- events --- */

static void read_head(struct h1_client *client)
{
    char *buffer = loop_read_buffer(loop_of(client));
    ssize_t got = connection_read(client->connection, buffer, H1_HEAD_READ_BYTES);
    if (got == CONNECTION_AGAIN)
        return;
    if (got == CONNECTION_EOF && client->out) {
        client->ended = true;
        return;
    }
    if (got <= 0) { /* an end before a whole head is no request */
        h1_close(client);
        return;
    }
    counter_add(client->worker->counters, COUNTER_CLIENT_BYTES_RECEIVED, (uint64_t)got);
    struct bytes input = bytes_from(buffer, (size_t)got);
    if (!client->held) {
        process_fresh(client, input);
        return;
    }
    spill_append(&client->held->spill, input);
    process_held(client);
}

static void drained(struct h1_client *client)
{
    const struct h1_upload *upload = &client->exchange->upload;
    if (upload->complete)
        go_on(client);
    else if (upload->upload.error != ERROR_OK || upload->received_bytes - upload->window_bytes > H1_DRAIN_MAX_BYTES)
        client_linger(client);
}

static void read_body(struct h1_client *client)
{
    struct h1_upload *upload = &client->exchange->upload;
    char *buffer = loop_read_buffer(loop_of(client));
    ssize_t got = connection_read(client->connection, buffer, h1_upload_room(upload));
    if (got == CONNECTION_AGAIN)
        return;
    if (got <= 0 && client->state == H1_DRAIN) {
        h1_close(client);
        return;
    }
    if (got <= 0) {
        h1_give_up(client, ERROR_CLIENT_CLOSED);
        return;
    }
    counter_add(client->worker->counters, COUNTER_CLIENT_BYTES_RECEIVED, (uint64_t)got);
    struct bytes input = bytes_from(buffer, (size_t)got);
    size_t used = h1_upload_feed(upload, input);
    if (used < input.len)
        hold(client, bytes_from(input.at + used, input.len - used), &(struct h1_scan){0});
    if (client->state == H1_DRAIN)
        drained(client);
    else if (upload->upload.error != ERROR_OK)
        h1_upload_fail(upload, upload->upload.error);
    else
        h1_upload_notify(upload);
}

static void read_and_discard(struct h1_client *client)
{
    ssize_t got = connection_read(client->connection, loop_read_buffer(loop_of(client)), LOOP_READ_BUFFER_BYTES);
    if (got == CONNECTION_AGAIN)
        return;
    client->lingered_bytes += got > 0 ? (uint32_t)got : 0;
    if (got <= 0 || client->lingered_bytes > H1_LINGER_MAX_BYTES)
        h1_close(client);
}

static void on_readable(void *owner)
{
    struct h1_client *client = owner;
    h1_enter(client);
    if (client->state <= H1_HEAD)
        read_head(client);
    else if (client->state == H1_LINGER)
        read_and_discard(client);
    else
        read_body(client);
    h1_leave(client);
}

static void on_writable(void *owner)
{
    struct h1_client *client = owner;
    h1_enter(client);
    if (!h1_flush(client)) {
        h1_give_up(client, ERROR_CLIENT_CLOSED);
    } else if (!client->out && client->ended) {
        h1_close(client);
    } else if (!client->out && client->state == H1_FLUSH) {
        go_on(client);
    } else if (!client->out && client->state == H1_REQUEST && client->exchange->waits) {
        client->exchange->waits = false;
        request_writable(client->exchange->request);
    }
    h1_leave(client);
}

static void on_broken(void *owner)
{
    struct h1_client *client = owner;
    h1_enter(client);
    h1_give_up(client, ERROR_CLIENT_CLOSED);
    h1_leave(client);
}

const struct connection_events h1_connection_events = {.readable = on_readable, .writable = on_writable, .broken = on_broken};

/* A head that does not come. Empty lines alone are none, and get no answer. */
static void head_is_late(struct h1_client *client)
{
    const struct h1_held *held = client->held;
    if (spill_bytes(held->spill).len > held->scan.start)
        refuse_head(client, &held->scan, spill_bytes(held->spill), ERROR_HEADER_TIMEOUT);
    else
        h1_close(client);
}

static void on_deadline(struct deadline *deadline)
{
    struct h1_client *client = LIST_OWNER(deadline, struct h1_client, deadline);
    h1_enter(client);
    switch ((enum h1_state)client->state) {
    case H1_HEAD:
        head_is_late(client);
        break;
    case H1_REQUEST:
    case H1_FLUSH:
        if (client_reads(client))
            set_stall_deadline(client);
        else
            h1_give_up(client, ERROR_CLIENT_STALLED);
        break;
    case H1_DRAIN:
        client_linger(client);
        break;
    default:
        h1_close(client);
        break;
    }
    h1_leave(client);
}
