/* The HTTP/2 clients of a worker: how they come, how they all go, and what they share. */
#include "proxy/client/h2_client.h"

#include "proxy/client/clients.h"

#include <assert.h>
#include <stdlib.h>

/* --- what they share --- */

struct h2_block *h2_block_take(struct h2_clients *clients)
{
    struct h2_block *block = clients->spare_block;
    clients->spare_block = NULL;
    if (!block)
        block = calloc(1, sizeof(*block));
    assert(block);
    h2_block_clear(block);
    return block;
}

static void block_free(struct h2_block *block)
{
    if (block)
        h2_block_free(block);
    free(block);
}

void h2_block_give(struct h2_clients *clients, struct h2_block **block)
{
    if (clients->spare_block == clients->repeats.of)
        h2_repeats_end(&clients->repeats);
    block_free(clients->spare_block);
    clients->spare_block = *block;
    *block = NULL;
}

struct h2_stream *h2_stream_take(struct h2_session *session, int32_t id)
{
    struct h2_clients *clients = session->worker->h2;
    struct list *spare = list_pop_front(&clients->spare);
    struct h2_stream *stream = spare ? LIST_OWNER(spare, struct h2_stream, link) : malloc(sizeof(*stream));
    assert(stream);
    clients->spare_count -= spare != NULL;
    memset(stream, 0, sizeof(*stream));
    list_init(&stream->turn);
    list_init(&stream->event);
    stream->stream.ops = &h2_stream_ops;
    stream->session = session;
    stream->inflow = h2_inflow_open(session->stream_inflow);
    stream->outflow = (int32_t)session->stream_outflow;
    stream->priority = (struct h2_priority){.urgency = H2_URGENCY_DEFAULT};
    list_push_back(&session->streams, &stream->link);
    session->stream_count++;
    session->was_used = true;
    h2_table_add(&session->table, &stream->number, id);
    counter_add(session->worker->counters, COUNTER_HTTP2_STREAMS, 1);
    return stream;
}

void h2_stream_drop(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;
    struct h2_clients *clients = session->worker->h2;
    h2_stream_close(stream);
    if (stream->has_upload)
        h2_upload_end(stream);
    deadline_clear(&stream->stall);
    list_remove(&stream->turn);
    list_remove(&stream->event);
    list_remove(&stream->link);
    session->stream_count--;
    if (clients->spare_count == H2_SPARE_STREAMS_MAX) {
        free(stream);
        return;
    }
    list_push_front(&clients->spare, &stream->link);
    clients->spare_count++;
}

static void clients_free(struct h2_clients *clients)
{
    struct list *node;
    while ((node = list_pop_front(&clients->spare)))
        free(LIST_OWNER(node, struct h2_stream, link));
    block_free(clients->spare_block);
    free(clients->heads);
    free(clients);
}

/* --- turns of the loop --- */

static void on_resume(struct mail *mail)
{
    struct h2_clients *clients = LIST_OWNER(mail, struct h2_clients, resume);
    struct list resumable, *node;
    if (clients->is_cut) {
        clients_free(clients);
        return;
    }
    list_init(&resumable);
    while ((node = list_pop_front(&clients->resumable)))
        list_push_back(&resumable, node);
    while ((node = list_pop_front(&resumable))) {
        struct h2_session *session = LIST_OWNER(node, struct h2_session, link);
        list_push_back(&clients->sessions, node);
        h2_enter(session);
        h2_leave(session);
    }
}

static void on_turn_end(void *context)
{
    struct worker *worker = context;
    struct h2_session *session = worker->h2 ? worker->h2->plan.of : NULL;
    if (!session)
        return;
    h2_enter(session);
    h2_flush(session);
    h2_leave(session);
    if ((session = worker->h2->plan.of)) { /* more came of it: it shall not wait for the end of the next turn */
        h2_flush(session);
        h2_settle_later(session);
    }
}

static struct h2_clients *clients_of(struct worker *worker)
{
    static _Thread_local bool is_hooked; /* a thread has one loop, and a loop one worker */
    if (worker->h2)
        return worker->h2;
    struct h2_clients *clients = calloc(1, sizeof(*clients));
    assert(clients);
    clients->worker = worker;
    list_init(&clients->sessions);
    list_init(&clients->resumable);
    list_init(&clients->spare);
    mail_init(&clients->resume, worker->loop, on_resume);
    worker->h2 = clients;
    if (!is_hooked)
        loop_at_turn_end(worker->loop, on_turn_end, worker);
    is_hooked = true;
    return clients;
}

/* --- coming and going --- */

/* What we say of our windows and tables is kept: the configuration may change. */
static void prepare_flow(struct h2_session *session, const struct config *config)
{
    session->said_streams = config->http2_streams;
    session->said_table = config->http2_header_table;
    session->said_inflow = config->http2_window;
    session->stream_inflow = session->stream_outflow = H2_WINDOW_DEFAULT;
    session->inflow = h2_inflow_open(config->http2_connection_window);
    session->outflow = H2_WINDOW_DEFAULT;
    session->no_priorities = H2_UNSAID;
}

void h2_accept(struct worker *worker, struct connection *connection, enum listener_kind kind, const union socket_address *peer,
               struct bytes already_read)
{
    struct h2_clients *clients = clients_of(worker);
    struct h2_session *session = calloc(1, sizeof(*session));
    assert(session);
    session->worker = worker;
    session->connection = connection;
    session->listener = (uint8_t)kind;
    session->peer = *peer;
    prepare_flow(session, worker->config);
    h2_decoder_init(&session->decoder);
    h2_encoder_init(&session->encoder);
    list_init(&session->streams);
    list_init(&session->events);
    list_init(&session->prompt);
    for (unsigned u = 0; u < H2_URGENCIES; u++)
        list_init(&session->ready[u]);
    list_push_back(&clients->sessions, &session->link);
    connection_set_owner(connection, &h2_connection_events, session);
    counter_add(worker->counters, COUNTER_HTTP2_CONNECTIONS, 1);
    h2_begin(session, already_read);
}

static struct h2_session *first_session(const struct h2_clients *clients)
{
    const struct list *from = list_is_empty(&clients->sessions) ? &clients->resumable : &clients->sessions;
    return list_is_empty(from) ? NULL : LIST_OWNER(from->next, struct h2_session, link);
}

/* All of them, or, while memory is short, those with nothing under way; the others part when they have done (h2_session.c). */
static void begin_drains(struct list *sessions, bool all)
{
    LIST_FOR_EACH(node, sessions)
    {
        struct h2_session *session = LIST_OWNER(node, struct h2_session, link);
        if (all || session->stream_count == 0)
            h2_begin_drain(session);
    }
}

void h2_drain(struct worker *worker)
{
    struct h2_clients *clients = worker->h2;
    struct list *node;
    if (!clients)
        return;
    begin_drains(&clients->sessions, worker->draining);
    begin_drains(&clients->resumable, worker->draining);
    while ((node = list_pop_front(&clients->sessions)))
        list_push_back(&clients->resumable, node);
    mail_post(&clients->resume);
}

void h2_cut(struct worker *worker)
{
    struct h2_clients *clients = worker->h2;
    struct h2_session *session;
    if (!clients)
        return;
    while ((session = first_session(clients))) {
        h2_enter(session);
        h2_close(session, ERROR_SHUTTING_DOWN);
        h2_leave(session);
    }
    worker->h2 = NULL;
    clients->is_cut = true;
    if (!mail_is_posted(&clients->resume))
        clients_free(clients);
}
