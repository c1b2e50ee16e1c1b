/* The life of an HTTP/2 client connection: what comes in, what is done about it, how it ends. See h2_client.h for the design. */
#include "proxy/client/clients.h"
#include "proxy/client/h2_client.h"

#include "base/log.h"

#include <assert.h>
#include <stdlib.h>

enum watched {
    WATCH_NOTHING,
    WATCH_GREETING, /* until the client's settings */
    WATCH_SECTION,  /* until a field section's end */
    WATCH_STALL,    /* until the kernel takes more */
    WATCH_IDLE,     /* until the next request */
    WATCH_NOTICE,   /* until the client must have seen it */
    WATCH_LINGER,
};

static const struct {
    enum h2_code code;
    enum counter counter;
    const char *text;
} goaways[] = {
#define H2_GOAWAY(name, code, text) [H2_GOAWAY_##name] = {H2_CODE_##code, COUNTER_HTTP2_GOAWAY_##name, text},
#include "proxy/client/h2_goaway.tbl"
#undef H2_GOAWAY
};

static void on_deadline(struct deadline *deadline);

/* --- the end --- */

static void abort_streams(struct h2_session *session, enum error why)
{
    while (!list_is_empty(&session->streams)) {
        struct h2_stream *stream = LIST_OWNER(session->streams.next, struct h2_stream, link);
        h2_stream_gone(stream, stream->error != ERROR_OK && !stream->has_begun ? stream->error : why);
    }
}

static void forget_protocol(struct h2_session *session)
{
    struct h2_clients *clients = session->worker->h2;
    h2_section_forget(session);
    spill_free(&session->partial);
    if (clients->repeats.entries == &session->decoder)
        h2_repeats_end(&clients->repeats);
    h2_table_free(&session->table);
    h2_decoder_free(&session->decoder);
    h2_encoder_free(&session->encoder);
}

void h2_close(struct h2_session *session, enum error why)
{
    if (session->state == H2_CLOSED)
        return;
    session->gone = true;
    h2_flush(session); /* forgets it */
    abort_streams(session, why);
    forget_protocol(session);
    session->state = H2_CLOSED;
    connection_reset(&session->connection);
    deadline_clear(&session->deadline);
    list_remove(&session->link);
    spill_free(&session->out);
    clients_count_closed(session->worker, session->listener);
}

/* An attacker comes again and again, from many connections. */
static void log_end(const struct h2_session *session, enum h2_goaway why)
{
    enum { CAUSE_LINES_A_SECOND = 100 };
    static _Thread_local struct log_quota quotas[H2_GOAWAY_COUNT];
    const char *text = goaways[why].text;
    char client[64];
    unsigned left_out;
    if (text[0] == '\0' || !log_may(&quotas[why], loop_wall(session->worker->loop), CAUSE_LINES_A_SECOND, &left_out))
        return;
    if (left_out > 0)
        log_warn("http2", "%s: and %u more within a second", text, left_out);
    size_t length = socket_address_format(&session->peer, client, sizeof(client));
    log_warn("http2", "client %.*s: %s: connection closed", (int)length, client, text);
}

void h2_note_end(struct h2_session *session, enum h2_goaway why)
{
    session->goaway = (uint8_t)why;
    counter_add(session->worker->counters, goaways[why].counter, 1);
    log_end(session, why);
}

void h2_end(struct h2_session *session, enum h2_goaway why)
{
    if (session->goaway == H2_GOAWAY_NONE || session->goaway == H2_GOAWAY_DRAIN)
        h2_note_end(session, why);
    if (session->state < H2_ENDING)
        session->state = H2_ENDING;
    h2_put_goaway(session, session->last_taken, why == H2_GOAWAY_PROTOCOL ? session->fault_code : goaways[why].code);
    session->is_terminated = true;
}

/* RFC 9113 §6.8: first that no more requests are wanted, then, when those on their way must have come, that none is taken. */
void h2_begin_drain(struct h2_session *session)
{
    if (session->state >= H2_NOTICED)
        return;
    h2_note_end(session, H2_GOAWAY_DRAIN);
    session->state = H2_NOTICED;
    h2_put_goaway(session, INT32_MAX, H2_CODE_NO_ERROR);
}

static void end_drain(struct h2_session *session)
{
    session->state = H2_ENDING;
    h2_put_goaway(session, session->last_taken, H2_CODE_NO_ERROR);
}

static void begin_linger(struct h2_session *session)
{
    forget_protocol(session);
    connection_shutdown(session->connection);
    session->state = H2_LINGER;
}

/* --- deadlines --- */

static enum watched watched_of(const struct h2_session *session)
{
    if (session->state == H2_LINGER)
        return WATCH_LINGER;
    if (h2_is_full(session))
        return WATCH_STALL;
    if (session->state == H2_GREETING)
        return WATCH_GREETING;
    if (session->section_of != 0 || (session->has_frame && session->frame.type == H2_FRAME_HEADERS))
        return WATCH_SECTION;
    if (session->state == H2_NOTICED)
        return WATCH_NOTICE;
    return session->stream_count == 0 ? WATCH_IDLE : WATCH_NOTHING;
}

static int64_t patience_ms(const struct h2_session *session, enum watched watched)
{
    const struct config *config = h2_config(session);
    switch (watched) {
    case WATCH_STALL:
        return config->write_stall_timeout_ms;
    case WATCH_IDLE:
        return config->keep_alive_timeout_ms > 0 ? config->keep_alive_timeout_ms : 1;
    case WATCH_NOTICE:
        return H2_DRAIN_NOTICE_MS;
    case WATCH_LINGER:
        return H2_LINGER_MS;
    default:
        return config->header_timeout_ms;
    }
}

static void set_watch(struct h2_session *session, enum watched watched)
{
    session->watched = (uint8_t)watched;
    session->was_used = false;
    if (watched == WATCH_STALL) {
        session->queued_bytes = connection_queued_bytes(session->connection);
        session->window_bytes = session->written_bytes;
    }
    if (watched == WATCH_NOTHING)
        deadline_clear(&session->deadline);
    else
        loop_set_deadline(session->worker->loop, &session->deadline, patience_ms(session, watched), on_deadline);
}

/* What is waited for is computed here from the state. A deadline goes on as long as it is for the same thing: what carries no request wins no time. Where
 * requests keep coming, each read may end within the next one. */
static void watch(struct h2_session *session)
{
    enum watched watched = watched_of(session);
    if (watched != session->watched || ((watched == WATCH_IDLE || watched == WATCH_SECTION) && session->was_used))
        set_watch(session, watched);
}

/* The kernel asks for more only when a third of its buffer has become free: see h1.c. */
static bool client_reads(const struct h2_session *session)
{
    uint64_t given = session->queued_bytes + session->written_bytes - session->window_bytes;
    return clients_take_enough(h2_config(session), (int64_t)given - (int64_t)connection_queued_bytes(session->connection));
}

static void on_deadline(struct deadline *deadline)
{
    struct h2_session *session = LIST_OWNER(deadline, struct h2_session, deadline);
    enum watched watched = session->watched;
    h2_enter(session);
    session->watched = WATCH_NOTHING;
    switch (watched) {
    case WATCH_STALL:
        if (client_reads(session))
            break;
        h2_note_end(session, H2_GOAWAY_STALLED);
        h2_close(session, ERROR_CLIENT_STALLED);
        break;
    case WATCH_IDLE:
        h2_end(session, H2_GOAWAY_IDLE);
        break;
    case WATCH_NOTICE:
        end_drain(session);
        break;
    case WATCH_LINGER:
    case WATCH_NOTHING:
        h2_close(session, ERROR_CLIENT_CLOSED);
        break;
    default:
        h2_end(session, H2_GOAWAY_TIMEOUT);
        break;
    }
    h2_leave(session);
}

/* --- in and out of this module --- */

void h2_enter(struct h2_session *session)
{
    if (session->depth++ == 0)
        session->turn_bytes = 0;
}

static void act_on_events(struct h2_session *session)
{
    struct list *node;
    while ((node = list_pop_front(&session->events)))
        h2_stream_act(LIST_OWNER(node, struct h2_stream, event));
}

/* The last word was said, or no more requests come, and there is none left. */
static bool is_over(const struct h2_session *session)
{
    if (session->is_terminated)
        return true;
    return (session->state >= H2_ENDING || session->goaway_received) && list_is_empty(&session->streams) && session->section_of == 0;
}

static void end_if_over(struct h2_session *session)
{
    if (!is_over(session))
        return;
    session->state = H2_ENDING;
    abort_streams(session, ERROR_CLIENT_CLOSED);
    h2_flush(session);
    if (!session->out && !session->gone)
        begin_linger(session);
}

/* Keep-alive has ended: who has nothing under way any more is told that no more is wanted. One that has just come may ask first. */
static bool is_to_part(const struct h2_session *session)
{
    return session->worker->ends_keep_alive && session->state == H2_OPEN && session->stream_count == 0 && session->last_taken > 0;
}

/* Acts on everything that was noted, and sends what can be sent. */
static void settle(struct h2_session *session)
{
    do {
        if (session->fault != H2_GOAWAY_NONE && !session->is_terminated)
            h2_end(session, session->fault);
        session->fault = H2_GOAWAY_NONE;
        if (session->is_terminated)
            break;
        act_on_events(session);
        if (is_to_part(session))
            h2_begin_drain(session);
        h2_take_turns(session);
    } while (!list_is_empty(&session->events) || session->fault != H2_GOAWAY_NONE || is_to_part(session));
    if (!session->gone)
        end_if_over(session);
}

void h2_leave(struct h2_session *session)
{
    if (session->depth == 1 && session->state < H2_LINGER)
        settle(session);
    if (session->depth == 1 && session->gone)
        h2_close(session, ERROR_CLIENT_CLOSED);
    if (--session->depth > 0)
        return;
    if (session->state == H2_CLOSED) {
        free(session);
        return;
    }
    watch(session);
    connection_want(session->connection, WANT_READ | (h2_is_full(session) ? WANT_WRITE : 0));
    if (session->state < H2_LINGER && h2_has_turns(session))
        h2_settle_later(session);
}

void h2_settle_later(struct h2_session *session)
{
    struct h2_clients *clients = session->worker->h2;
    if (session->depth > 0 || session->state == H2_CLOSED)
        return;
    list_remove(&session->link);
    list_push_back(&clients->resumable, &session->link);
    mail_post(&clients->resume);
}

void h2_leave_later(struct h2_session *session)
{
    if (--session->depth == 0)
        h2_settle_later(session);
}

/* --- events --- */

static void read_frames(struct h2_session *session)
{
    char *buffer = loop_read_buffer(session->worker->loop);
    ssize_t got = connection_read(session->connection, buffer, H2_READ_BYTES);
    if (got == CONNECTION_AGAIN)
        return;
    if (got <= 0) {
        session->gone = true;
        return;
    }
    counter_add(session->worker->counters, COUNTER_CLIENT_BYTES_RECEIVED, (uint64_t)got);
    h2_receive(session, bytes_from(buffer, (size_t)got));
}

static void read_and_discard(struct h2_session *session)
{
    ssize_t got = connection_read(session->connection, loop_read_buffer(session->worker->loop), LOOP_READ_BUFFER_BYTES);
    if (got == CONNECTION_AGAIN)
        return;
    session->lingered_bytes += got > 0 ? (uint32_t)got : 0;
    if (got <= 0 || session->lingered_bytes > H2_LINGER_MAX_BYTES)
        h2_close(session, ERROR_CLIENT_CLOSED);
}

static void on_readable(void *owner)
{
    struct h2_session *session = owner;
    h2_enter(session);
    if (session->state == H2_LINGER)
        read_and_discard(session);
    else
        read_frames(session);
    h2_leave(session);
}

static void on_writable(void *owner)
{
    struct h2_session *session = owner;
    h2_enter(session);
    session->is_full = false;
    h2_flush_out(session);
    h2_leave(session);
}

static void on_broken(void *owner)
{
    struct h2_session *session = owner;
    h2_enter(session);
    h2_close(session, ERROR_CLIENT_CLOSED);
    h2_leave(session);
}

const struct connection_events h2_connection_events = {.readable = on_readable, .writable = on_writable, .broken = on_broken};

void h2_begin(struct h2_session *session, struct bytes already_read)
{
    h2_enter(session);
    h2_put_settings(session);
    h2_put_window_update(session, 0, h2_config(session)->http2_connection_window - H2_WINDOW_DEFAULT);
    if (already_read.len > 0)
        h2_receive(session, already_read);
    if (session->worker->draining)
        h2_begin_drain(session);
    h2_leave(session);
}
