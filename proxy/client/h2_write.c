/* Frames on their way to an HTTP/2 client, and whose turn it is. See h2_client.h for the design. */
#include "proxy/client/h2_client.h"
#include "proxy/net/socket_room.h"

#include <assert.h>
#include <stdlib.h>

/* --- the plan --- */

static void keep_unsent(struct h2_session *session, const struct h2_plan *plan, size_t sent)
{
    for (int i = 0; i < plan->count; i++) {
        size_t skipped = sent < plan->iov[i].iov_len ? sent : plan->iov[i].iov_len;
        spill_append(&session->out, bytes_from((char *)plan->iov[i].iov_base + skipped, plan->iov[i].iov_len - skipped));
        sent -= skipped;
    }
}

static size_t write_counted(struct h2_session *session, const struct iovec *iov, int count)
{
    ssize_t written = connection_writev(session->connection, iov, count);
    if (written == CONNECTION_ERROR)
        session->gone = true;
    if (written <= 0)
        return 0;
    session->written_bytes += (uint64_t)written;
    counter_add(session->worker->counters, COUNTER_CLIENT_BYTES_SENT, (uint64_t)written);
    return (size_t)written;
}

void h2_flush(struct h2_session *session)
{
    struct h2_plan *plan = &session->worker->h2->plan;
    if (plan->of != session)
        return;
    size_t written = plan->count && !session->gone ? write_counted(session, plan->iov, plan->count) : 0;
    if (written < plan->bytes && !session->gone)
        keep_unsent(session, plan, written);
    plan->of = NULL;
    plan->count = 0;
    plan->bytes = plan->used = 0;
    plan->refers = false;
}

void h2_flush_out(struct h2_session *session)
{
    struct bytes waiting = spill_bytes(session->out);
    struct iovec iov = {(char *)waiting.at, waiting.len};
    if (waiting.len == 0)
        return;
    spill_drop(&session->out, write_counted(session, &iov, 1));
    if (session->out)
        return;
    LIST_FOR_EACH(node, &session->streams)
    {
        struct h2_stream *stream = LIST_OWNER(node, struct h2_stream, link);
        if (stream->end_sent && stream->waits)
            h2_make_ready(stream);
    }
}

static bool has_room(const struct h2_plan *plan, size_t bytes)
{
    return plan->used + bytes <= sizeof(plan->frames) && plan->count < H2_PLAN_IOVECS;
}

/* NULL: what comes has to wait in `out`. */
static struct h2_plan *make_room(struct h2_session *session, size_t bytes)
{
    struct h2_plan *plan = &session->worker->h2->plan;
    if (plan->of && plan->of != session) {
        struct h2_session *other = plan->of;
        h2_flush(other);
        h2_settle_later(other);
    }
    if (plan->of && !has_room(plan, bytes))
        h2_flush(session);
    if (session->out)
        return NULL;
    plan->of = session;
    return plan;
}

static inline struct h2_plan *plan_with_room(struct h2_session *session, size_t bytes)
{
    struct h2_plan *plan = &session->worker->h2->plan;
    return plan->of == session && !session->out && has_room(plan, bytes) ? plan : make_room(session, bytes);
}

static void plan_copy(struct h2_session *session, const void *at, size_t length)
{
    struct h2_plan *plan = plan_with_room(session, length);
    if (!plan) {
        spill_append(&session->out, bytes_from(at, length));
        return;
    }
    char *to = plan->frames + plan->used;
    struct iovec *last = plan->count ? &plan->iov[plan->count - 1] : NULL;
    memcpy(to, at, length);
    if (last && (char *)last->iov_base + last->iov_len == to)
        last->iov_len += length;
    else
        plan->iov[plan->count++] = (struct iovec){to, length};
    plan->used += length;
    plan->bytes += length;
}

static void plan_refer(struct h2_session *session, const char *at, size_t length)
{
    struct h2_plan *plan = plan_with_room(session, 0);
    if (!plan) {
        spill_append(&session->out, bytes_from(at, length));
        return;
    }
    plan->iov[plan->count++] = (struct iovec){(char *)at, length};
    plan->bytes += length;
    plan->refers = true;
}

/* RFC 9113 §4.1 */
static void put_frame_header(char *at, size_t length, uint8_t type, uint8_t flags)
{
    at[0] = (char)(length >> 16);
    at[1] = (char)(length >> 8);
    at[2] = (char)length;
    at[3] = (char)type;
    at[4] = (char)flags;
}

/* A HEADERS frame whose block may be too large for it (§6.10). */
static void plan_section(struct h2_session *session, char *frame, size_t length)
{
    enum { FRAME_MAX_BYTES = 16 * 1024 }; /* §4.2: that much is always allowed */
    char header[H2_FRAME_HEADER_BYTES];
    uint8_t type = NGHTTP2_HEADERS, flags = (uint8_t)(frame[4] & ~NGHTTP2_FLAG_END_HEADERS);
    memcpy(header, frame, sizeof(header));
    for (size_t at = sizeof(header), piece; at < length; at += piece) {
        piece = length - at < FRAME_MAX_BYTES ? length - at : FRAME_MAX_BYTES;
        put_frame_header(header, piece, type, flags | (at + piece == length ? NGHTTP2_FLAG_END_HEADERS : 0));
        memcpy(frame + at - sizeof(header), header, sizeof(header)); /* over what is planned already */
        plan_copy(session, frame + at - sizeof(header), sizeof(header) + piece);
        type = NGHTTP2_CONTINUATION;
        flags = 0;
    }
}

static char *heads_with_room(struct h2_clients *clients, size_t bytes)
{
    if (clients->heads_capacity < bytes) {
        free(clients->heads);
        clients->heads = malloc(clients->heads_capacity = bytes * 2);
        assert(clients->heads);
    }
    return clients->heads;
}

/* nghttp2's HEADERS frame, with the fields of the response behind its own. */
static void plan_head(struct h2_session *session, struct bytes frame)
{
    const struct response_head *head = session->sent_head;
    h2_encoder_begin(&session->encoder, bytes_from(frame.at + H2_FRAME_HEADER_BYTES, frame.len - H2_FRAME_HEADER_BYTES));
    if (!head) { /* an interim response */
        plan_copy(session, frame.at, frame.len);
        return;
    }
    char *at = heads_with_room(session->worker->h2, frame.len + h2_encoder_bound(head));
    char *end = h2_encode_head(&session->encoder, bytes_put(at, frame), head);
    session->sent_head = NULL;
    plan_section(session, at, (size_t)(end - at));
}

void h2_produce(struct h2_session *session)
{
    while (!session->out && !session->gone) {
        const uint8_t *frames;
        ssize_t length = nghttp2_session_mem_send(session->protocol, &frames);
        if (length < 0)
            session->gone = true; /* no memory; or a callback of ours failed, and none does */
        if (length <= 0)
            return;
        if (frames[3] == NGHTTP2_HEADERS)
            plan_head(session, bytes_from((const char *)frames, (size_t)length));
        else
            plan_copy(session, frames, (size_t)length);
    }
}

/* --- bodies --- */

static ssize_t defer(struct h2_stream *stream)
{
    stream->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
}

/* nghttp2 can take at most `length` bytes of this stream now. */
static ssize_t on_body_wanted(nghttp2_session *protocol, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
                              nghttp2_data_source *source, void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream = h2_stream_by_id(session, id);
    (void)protocol, (void)buffer, (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was just reset, and nobody offers anything */
    struct h2_offer *offer = &stream->offer;
    size_t most = offer->left < offer->turn ? offer->left : offer->turn;
    bool may_send = !session->out && !session->gone;
    if (!may_send || (most == 0 && !(stream->ends && offer->left == 0))) {
        if ((stream->waits || stream->ends) && !offer->iov)
            h2_make_ready(stream);
        return defer(stream);
    }
    size_t taken = most <= length ? most : length < H2_FRAME_BYTES ? length : H2_FRAME_BYTES;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (stream->ends && taken == offer->left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)taken;
}

const nghttp2_data_provider h2_body_provider = {.read_callback = on_body_wanted};

/* A frame of a few bytes, where there would have been more: the client's windows are that small. */
static void note_small(struct h2_stream *stream, size_t length)
{
    enum { SMALL_BYTES = 64 };
    if (length < SMALL_BYTES && stream->offer.left > 0 && stream->offer.turn > 0)
        h2_guard_small_frame(stream->session);
}

int h2_on_send_data(nghttp2_session *protocol, nghttp2_frame *frame, const uint8_t *header, size_t length, nghttp2_data_source *source,
                    void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream = h2_stream_by_id(session, frame->hd.stream_id);
    struct h2_offer *offer = &stream->offer;
    bool copies = offer->left <= H2_COPY_MAX_BYTES && !session->worker->h2->plan.refers;
    (void)protocol, (void)source;
    plan_copy(session, header, H2_FRAME_HEADER_BYTES);
    for (size_t left = length; left > 0;) {
        size_t piece = offer->iov->iov_len - offer->at;
        const char *at = (const char *)offer->iov->iov_base + offer->at;
        if (piece > left)
            piece = left;
        if (copies)
            plan_copy(session, at, piece);
        else
            plan_refer(session, at, piece);
        left -= piece;
        offer->at += piece;
        if (offer->at == offer->iov->iov_len) {
            offer->iov++;
            offer->at = 0;
        }
    }
    offer->left -= length;
    offer->turn -= length;
    session->turn_bytes += (uint32_t)length;
    stream->moved = true;
    stream->sent_bytes += length;
    note_small(stream, length);
    return 0;
}

/* What the kernel does not take is copied to `out`: a client that does not read is to cost little of it. When the kernel has much of his already, it may be
 * short of memory, and then takes less than it has room for. */
static size_t room_of(const struct h2_session *session)
{
    struct socket_room room = socket_room(connection_fd(session->connection));
    if (room.free < H2_LITTLE_BYTES)
        return H2_LITTLE_BYTES;
    return room.free > H2_FRAME_BYTES && room.queued > H2_QUEUED_MUCH_BYTES ? H2_FRAME_BYTES : room.free;
}

/* How much of what this stream offers may go now. */
static size_t turn_of(const struct h2_stream *stream, size_t offered)
{
    const struct h2_session *session = stream->session;
    size_t room;
    if (session->turn_bytes >= H2_SESSION_TURN_BYTES)
        return 0;
    for (unsigned u = 0; u < stream->priority.urgency; u++)
        if (!list_is_empty(&session->ready[u]))
            return 0;
    size_t turn = list_is_empty(&session->ready[stream->priority.urgency]) ? H2_TURN_MAX_BYTES : H2_TURN_SHARED_BYTES;
    if (offered > H2_FRAME_BYTES && turn > (room = room_of(session)))
        return room;
    return offered <= turn + H2_TURN_REST_BYTES ? offered : turn;
}

ssize_t h2_write_body(struct h2_stream *stream, const struct iovec *iov, int count, bool last)
{
    struct h2_session *session = stream->session;
    static const struct iovec nothing;
    size_t offered = 0;
    for (int i = 0; i < count; i++)
        offered += iov[i].iov_len;
    size_t turn = turn_of(stream, offered);
    stream->offer = (struct h2_offer){count ? iov : &nothing, count, 0, offered, turn};
    stream->ends = last;
    if (stream->is_deferred && (offered > 0 ? turn > 0 : last)) {
        nghttp2_session_resume_data(session->protocol, stream->id);
        stream->is_deferred = false;
    }
    session->sending = stream;
    h2_produce(session);
    session->sending = NULL;
    if (session->worker->h2->plan.refers)
        h2_flush(session);
    size_t left = stream->offer.left;
    stream->offer = (struct h2_offer){.iov = NULL};
    stream->waits = left > 0;
    stream->ends = last && left == 0;
    if (left > 0 && stream->is_deferred)
        h2_make_ready(stream);
    h2_stream_watch_stall(stream);
    return (ssize_t)(offered - left);
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

static struct h2_stream *first_ready(const struct h2_session *session)
{
    for (unsigned u = 0; u < H2_URGENCIES; u++)
        if (!list_is_empty(&session->ready[u]))
            return LIST_OWNER(session->ready[u].next, struct h2_stream, turn);
    return NULL;
}

static void take_turn(struct h2_stream *stream)
{
    bool waits = stream->waits;
    list_remove(&stream->turn);
    if (stream->ends && !stream->end_sent) /* only the end is left, of which the request is rid */
        h2_write_body(stream, NULL, 0, true);
    stream->waits = false;
    if (stream->is_tunnel)
        h2_tunnel_writable(stream);
    else if (waits)
        request_writable(stream->request);
}

void h2_take_turns(struct h2_session *session)
{
    struct h2_stream *stream;
    while (!session->out && !session->gone && session->turn_bytes < H2_SESSION_TURN_BYTES && (stream = first_ready(session))) {
        take_turn(stream);
    }
}
