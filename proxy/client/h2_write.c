/* Bodies of responses as DATA frames, and whose turn it is. See h2_client.h for the design. */
#include "proxy/client/h2_client.h"
#include "proxy/net/socket_room.h"

/* --- bodies --- */

static bool may_send(const struct h2_session *session)
{
    return !h2_is_full(session) && !session->gone && !session->is_terminated;
}

/* A frame of a few bytes, where there would have been more: the client's windows are that small. */
static void note_small(struct h2_stream *stream, size_t length)
{
    enum { SMALL_BYTES = 64 };
    if (length < SMALL_BYTES && stream->offer.left > 0 && stream->offer.turn > 0)
        h2_guard_small_frame(stream->session);
}

void h2_stream_end_sent(struct h2_stream *stream)
{
    stream->end_sent = true;
    if (stream->remote_ended)
        h2_stream_close(stream);
}

/* The payload of a frame, from what is offered. */
static void put_payload(struct h2_stream *stream, size_t length)
{
    struct h2_session *session = stream->session;
    struct h2_offer *offer = &stream->offer;
    bool copies = offer->left <= H2_COPY_MAX_BYTES && !session->worker->h2->plan.refers;
    for (size_t left = length; left > 0;) {
        size_t piece = offer->iov->iov_len - offer->at;
        const char *at = (const char *)offer->iov->iov_base + offer->at;
        if (piece > left)
            piece = left;
        if (copies)
            h2_plan_copy(session, at, piece);
        else
            h2_plan_refer(session, at, piece);
        left -= piece;
        offer->at += piece;
        if (offer->at == offer->iov->iov_len) {
            offer->iov++;
            offer->at = 0;
        }
    }
}

/* Within the windows. */
static void put_data(struct h2_stream *stream, size_t length, bool ends)
{
    struct h2_session *session = stream->session;
    char header[H2_FRAME_HEADER_BYTES];
    h2_put_frame(header, (struct h2_frame){(uint32_t)length, H2_FRAME_DATA, ends ? H2_FLAG_END_STREAM : 0, stream->number.id});
    h2_plan_copy(session, header, sizeof(header));
    put_payload(stream, length);
    stream->offer.left -= length;
    stream->offer.turn -= length;
    stream->outflow -= (int32_t)length;
    session->outflow -= (int32_t)length;
    session->turn_bytes += (uint32_t)length;
    stream->moved |= length > 0;
    stream->sent_bytes += length;
    if (length > 0)
        note_small(stream, length);
    if (ends)
        h2_stream_end_sent(stream);
}

/* How much of what is offered goes into the next frame. */
static size_t next_length(const struct h2_stream *stream)
{
    int32_t window = stream->outflow < stream->session->outflow ? stream->outflow : stream->session->outflow;
    size_t most = stream->offer.left < stream->offer.turn ? stream->offer.left : stream->offer.turn;
    if (window <= 0)
        return 0;
    if (most > (size_t)window)
        most = (size_t)window;
    return most <= H2_PAYLOAD_MAX_BYTES ? most : H2_FRAME_BYTES;
}

static void put_body(struct h2_stream *stream, bool last)
{
    size_t length;
    while (may_send(stream->session) && (length = next_length(stream)) > 0)
        put_data(stream, length, last && length == stream->offer.left);
    if (last && stream->offer.left == 0 && !stream->end_sent && may_send(stream->session))
        put_data(stream, 0, true);
}

static void put_waiting_head(struct h2_stream *stream)
{
    const struct response_head *head = stream->head;
    if (!head || !may_send(stream->session))
        return;
    stream->head = NULL;
    h2_put_head(stream, head, stream->head_ends);
}

/* What the kernel does not take is copied to `out`: a client that does not read is to cost little of it. When the kernel has much of his already, it may be
 * short of memory, and then takes less than it has room for. *frames: for how many whole ones there is room. */
static size_t room_of(const struct h2_session *session, size_t *frames)
{
    struct socket_room room = socket_room(connection_fd(session->connection));
    *frames = room.free / H2_FRAME_ROOM_BYTES;
    if (*frames == 0)
        return room.free < H2_LITTLE_BYTES ? H2_LITTLE_BYTES : room.free;
    return room.queued > H2_QUEUED_MUCH_BYTES ? H2_FRAME_BYTES : *frames * H2_FRAME_BYTES;
}

/* How much of what this stream offers may go now. *fills: after that there is no room for another frame, and smaller ones are not worth it. */
static size_t turn_of(const struct h2_stream *stream, size_t offered, bool *fills)
{
    const struct h2_session *session = stream->session;
    *fills = false;
    if (session->turn_bytes >= H2_SESSION_TURN_BYTES || h2_is_full(session))
        return 0;
    for (unsigned u = 0; u < stream->priority.urgency; u++)
        if (!list_is_empty(&session->ready[u]))
            return 0;
    size_t turn = list_is_empty(&session->ready[stream->priority.urgency]) ? H2_TURN_MAX_BYTES : H2_TURN_SHARED_BYTES;
    if (offered <= H2_FRAME_BYTES)
        return offered;
    size_t frames, room = room_of(session, &frames);
    bool is_short = turn > room;
    if (is_short)
        turn = room;
    *fills = frames <= turn / H2_FRAME_BYTES;
    return !is_short && offered <= turn + H2_TURN_REST_BYTES ? offered : turn;
}

/* What is left of it waits. */
static void wait_for_more(struct h2_stream *stream)
{
    if (stream->head || (stream->ends && !stream->end_sent))
        h2_make_prompt(stream);
    else if (stream->waits && stream->outflow > 0)
        h2_make_ready(stream);
}

ssize_t h2_write_body(struct h2_stream *stream, const struct iovec *iov, int count, bool last)
{
    struct h2_session *session = stream->session;
    size_t offered = 0;
    bool fills;
    for (int i = 0; i < count; i++)
        offered += iov[i].iov_len;
    put_waiting_head(stream);
    stream->offer = (struct h2_offer){iov, count, 0, offered, turn_of(stream, offered, &fills)};
    put_body(stream, last);
    if (session->worker->h2->plan.refers)
        h2_flush(session);
    size_t left = stream->offer.left;
    session->is_full |= fills && stream->offer.turn == 0 && left > 0;
    stream->offer = (struct h2_offer){.iov = NULL};
    stream->waits = left > 0;
    stream->ends = last && left == 0;
    wait_for_more(stream);
    h2_stream_watch_stall(stream);
    return (ssize_t)(offered - left);
}

void h2_give_room(struct h2_session *session, struct h2_stream *stream, uint32_t bytes)
{
    uint32_t increment = h2_inflow_take(&session->inflow, bytes);
    if (increment > 0)
        h2_put_window_update(session, 0, increment);
    if (!stream || stream->is_closed || stream->remote_ended)
        return;
    increment = h2_inflow_take(&stream->inflow, bytes);
    if (increment > 0)
        h2_put_window_update(session, stream->number.id, increment);
}

/* --- turns --- */

void h2_make_ready(struct h2_stream *stream)
{
    struct list *queue = &stream->session->ready[stream->priority.urgency];
    if (list_is_linked(&stream->turn))
        return;
    if (!stream->priority.is_incremental && stream->moved) /* RFC 9218 §10: it goes on until it is done */
        list_push_front(queue, &stream->turn);
    else
        list_push_back(queue, &stream->turn);
    h2_settle_later(stream->session);
}

void h2_make_prompt(struct h2_stream *stream)
{
    list_remove(&stream->turn);
    list_push_back(&stream->session->prompt, &stream->turn);
    h2_settle_later(stream->session);
}

void h2_window_opened(struct h2_stream *stream)
{
    if (stream->waits && !stream->end_sent)
        h2_make_ready(stream);
}

static struct h2_stream *next_turn(const struct h2_session *session)
{
    if (!list_is_empty(&session->prompt))
        return LIST_OWNER(session->prompt.next, struct h2_stream, turn);
    for (unsigned u = 0; u < H2_URGENCIES && session->outflow > 0; u++)
        if (!list_is_empty(&session->ready[u]))
            return LIST_OWNER(session->ready[u].next, struct h2_stream, turn);
    return NULL;
}

static void take_turn(struct h2_stream *stream)
{
    bool waits = stream->waits;
    list_remove(&stream->turn);
    put_waiting_head(stream);
    if (stream->ends && !stream->end_sent) /* only the end is left, of which the request is rid */
        h2_write_body(stream, NULL, 0, true);
    if (waits && !stream->end_sent && (stream->outflow <= 0 || stream->session->outflow <= 0)) { /* for a window */
        wait_for_more(stream);
        return;
    }
    stream->waits = false;
    if (stream->is_tunnel)
        h2_tunnel_writable(stream);
    else if (waits)
        request_writable(stream->request);
}

void h2_take_turns(struct h2_session *session)
{
    struct h2_stream *stream;
    while (may_send(session) && session->turn_bytes < H2_SESSION_TURN_BYTES && (stream = next_turn(session)))
        take_turn(stream);
}

bool h2_has_turns(const struct h2_session *session)
{
    return may_send(session) && next_turn(session) != NULL;
}
