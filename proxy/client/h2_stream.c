/* One request's place on an HTTP/2 connection: what its request asks of it, and what is told to that. See h2_client.h for the design. */
#include "proxy/client/clients.h"
#include "proxy/client/h2_client.h"

#include <assert.h>

/* --- what was noted --- */

static void begin(struct h2_stream *stream)
{
    stream->has_begun = true;
    deadline_clear(&stream->stall);
    if (stream->error != ERROR_OK)
        request_refuse(stream->request, stream->error);
    else
        request_start(stream->request);
}

void h2_stream_gone(struct h2_stream *stream, enum error why)
{
    struct request *request = stream->request;
    if (stream->is_tunnel) {
        stream->tunnel.events->broken(stream->tunnel.owner); /* which closes it */
        return;
    }
    h2_stream_drop(stream);
    request_client_gone(request, why);
}

void h2_stream_act(struct h2_stream *stream)
{
    uint8_t events = stream->events;
    stream->events = 0;
    if (events & H2_EVENT_CLOSED) {
        h2_stream_gone(stream, stream->error != ERROR_OK && !stream->has_begun ? stream->error : ERROR_CLIENT_CLOSED);
        return;
    }
    if (stream->is_tunnel)
        h2_tunnel_act(stream);
    else if ((events & H2_EVENT_BODY) && !(events & H2_EVENT_HEAD)) /* a request that begins looks for itself */
        h2_upload_notify(stream);
    else
        begin(stream);
}

void h2_stream_abort(struct h2_stream *stream, enum h2_code code, enum error why)
{
    h2_put_reset(stream, code);
    h2_stream_gone(stream, why);
}

void h2_stream_close(struct h2_stream *stream)
{
    if (stream->is_closed)
        return;
    h2_table_remove(&stream->session->table, &stream->number);
    stream->is_closed = true;
}

/* --- a client that does not take its response --- */

/* Whether its client has taken enough of it, or others keep it waiting: where his connection's window is shut, and not the stream's own, it is for him to say
 * which of his streams get what he takes. */
static bool is_taken(const struct h2_stream *stream)
{
    const struct h2_session *session = stream->session;
    uint64_t taken = stream->sent_bytes - stream->window_bytes;
    if (session->out || (list_is_linked(&stream->turn) && session->outflow > 0))
        return true;
    if (stream->outflow > 0)
        taken = session->written_bytes - stream->window_session_bytes;
    return clients_take_enough(h2_config(session), (int64_t)taken);
}

static void on_stall(struct deadline *deadline)
{
    struct h2_stream *stream = LIST_OWNER(deadline, struct h2_stream, stall);
    struct h2_session *session = stream->session;
    h2_enter(session);
    if (stream->has_begun && is_taken(stream))
        h2_stream_watch_stall(stream);
    else
        h2_stream_abort(stream, H2_CODE_CANCEL, ERROR_CLIENT_STALLED);
    h2_leave(session);
}

void h2_stream_watch_stall(struct h2_stream *stream)
{
    struct worker *worker = stream->session->worker;
    stream->moved = false;
    if (!stream->waits) {
        deadline_clear(&stream->stall);
    } else if (!deadline_is_set(&stream->stall)) {
        stream->window_bytes = stream->sent_bytes;
        stream->window_session_bytes = stream->session->written_bytes;
        loop_set_deadline(worker->loop, &stream->stall, worker->config->write_stall_timeout_ms, on_stall);
    }
}

void h2_stream_await_end(struct h2_stream *stream)
{
    struct worker *worker = stream->session->worker;
    loop_set_deadline(worker->loop, &stream->stall, worker->config->header_timeout_ms, on_stall);
}

/* --- what a request asks --- */

static void interim(struct stream *base, unsigned status, const struct headers *headers)
{
    struct h2_stream *stream = h2_stream_of(base);
    struct h2_session *session = stream->session;
    bool is_tunnel = status == 101;                                                            /* RFC 8441 §5 */
    if (stream->is_closed || stream->head_sent || (is_tunnel && !stream->is_extended_connect)) /* RFC 9113 §8.6 */
        return;
    h2_enter(session);
    stream->head_sent = is_tunnel;
    h2_put_interim(stream, is_tunnel ? 200 : status, headers);
    h2_leave_later(session);
}

/* What was sent before does not let it go yet. */
static void keep_head(struct h2_stream *stream, const struct response_head *head, bool ends)
{
    struct arena *arena = request_arena(stream->request);
    stream->head = arena_alloc(arena, sizeof(*stream->head));
    *stream->head = *head;
    stream->head->fields = arena_copy(arena, head->fields);
    stream->head->extra = arena_copy(arena, head->extra);
    stream->head_ends = ends;
    h2_make_prompt(stream);
}

static ssize_t send_response(struct stream *base, const struct response_head *head, const struct iovec *iov, int count, bool last)
{
    struct h2_stream *stream = h2_stream_of(base);
    struct h2_session *session = stream->session;
    bool ends = head && count == 0 && last; /* with its head */
    if (session->gone || session->is_terminated || stream->is_closed)
        return STREAM_GONE;
    h2_enter(session);
    assert(!head || !stream->head_sent);
    stream->head_sent = true;
    if (head && h2_is_full(session))
        keep_head(stream, head, ends);
    else if (head)
        h2_put_head(stream, head, ends);
    ssize_t taken = ends ? 0 : h2_write_body(stream, iov, count, last);
    h2_leave_later(session);
    return taken;
}

static bool is_flushed(struct stream *base)
{
    struct h2_stream *stream = h2_stream_of(base);
    if (stream->end_sent && !stream->session->out)
        return true;
    stream->waits = true;
    h2_stream_watch_stall(stream);
    return false;
}

static void finished(struct stream *base, bool broken)
{
    struct h2_stream *stream = h2_stream_of(base);
    struct h2_session *session = stream->session;
    h2_enter(session);
    if (broken || !stream->end_sent)
        h2_put_reset(stream, H2_CODE_INTERNAL_ERROR);
    else if (!stream->remote_ended) /* RFC 9113 §8.1: the rest of the request makes no difference */
        h2_put_reset(stream, H2_CODE_NO_ERROR);
    h2_stream_drop(stream);
    h2_leave_later(session);
}

const struct stream_ops h2_stream_ops = {
    .interim = interim,
    .send = send_response,
    .is_flushed = is_flushed,
    .finished = finished,
    .take_stream = h2_tunnel_take,
};
