/* What an HTTP/2 client's frames say, checked and noted. See h2_client.h for the design.
 *
 * DESIGN. An error of the connection is a fault, upon which h2_leave ends it, and nothing of what follows is read. One of a stream resets that (RFC 9113 §5.4).
 *
 * Closed streams are forgotten; of the last 64 that the client could have opened it is known whether he has, and whether he has ended them. Frames on those that
 * we have reset may still have been on their way, and are ignored. On one that he has ended himself, or has left out, HEADERS and DATA are errors of the
 * connection (§5.1, §5.1.1).
 *
 * All this runs while a read is looked at: it MUST NOT call a request or an upload's fetch. */
#include "proxy/client/h2_client.h"

enum { SETTINGS_MAX = 32, REMEMBERED_STREAMS = 64 };

void h2_note(struct h2_stream *stream, enum h2_event event)
{
    stream->events |= (uint8_t)event;
    if (!list_is_linked(&stream->event))
        list_push_back(&stream->session->events, &stream->event);
    h2_settle_later(stream->session);
}

bool h2_fail(struct h2_session *session, enum h2_code code)
{
    session->fault = H2_GOAWAY_PROTOCOL;
    session->fault_code = (uint8_t)code;
    return false;
}

static void fail_stream(struct h2_stream *stream, enum h2_code code)
{
    h2_put_reset(stream, code);
    h2_note(stream, H2_EVENT_CLOSED);
}

/* --- streams that are not there --- */

/* RFC 9113 §5.1.1: a client's are odd, and none is opened twice. */
static bool is_idle(const struct h2_session *session, int32_t id)
{
    return id % 2 == 0 || id > session->last_stream;
}

/* 0: nobody knows any more. */
static uint64_t remembered_bit(const struct h2_session *session, int32_t id)
{
    unsigned behind = (unsigned)(session->last_stream - id) / 2;
    return behind < REMEMBERED_STREAMS ? UINT64_C(1) << behind : 0;
}

static void note_opened(struct h2_session *session, int32_t id)
{
    unsigned ahead = ((unsigned)(id - session->last_stream) + 1) / 2;
    session->opened = ahead < REMEMBERED_STREAMS ? session->opened << ahead : 0;
    session->ended = ahead < REMEMBERED_STREAMS ? session->ended << ahead : 0;
    session->last_stream = id;
    session->opened |= 1;
}

static void note_ended(struct h2_session *session, int32_t id)
{
    session->ended |= remembered_bit(session, id);
}

/* False, and a fault: HEADERS or DATA may not come on this stream, which is closed. */
static bool check_closed(struct h2_session *session, int32_t id)
{
    uint64_t bit = remembered_bit(session, id);
    if (bit && !(session->opened & bit))
        return h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    if (session->ended & bit)
        session->fault = H2_GOAWAY_STREAM_CLOSED;
    return !(session->ended & bit);
}

/* --- HEADERS --- */

static enum h2_section_use refuse(struct h2_session *session, int32_t id)
{
    h2_put_refusal(session, id, H2_CODE_REFUSED_STREAM);
    return H2_SECTION_IGNORED;
}

/* A section that is not wanted has to be decoded all the same (RFC 9113 §4.3). */
static enum h2_section_use use_of_request(struct h2_session *session, int32_t id)
{
    note_opened(session, id);
    if (session->state >= H2_ENDING) /* §6.8: it is beyond the last stream of our GOAWAY */
        return H2_SECTION_IGNORED;
    if (session->table.count >= session->said_streams) /* §5.1.2 */
        return refuse(session, id);
    session->last_taken = id;
    return H2_SECTION_REQUEST;
}

static enum h2_section_use use_of_section(struct h2_session *session, int32_t id)
{
    if (id > session->last_stream)
        return use_of_request(session, id);
    struct h2_stream *stream = h2_stream_find(session, id);
    if (!stream) {
        check_closed(session, id);
        return H2_SECTION_IGNORED;
    }
    if (!stream->remote_ended)
        return H2_SECTION_TRAILERS;
    counter_add(session->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
    fail_stream(stream, H2_CODE_STREAM_CLOSED);
    return H2_SECTION_IGNORED;
}

/* RFC 9113 §6.2: takes off padding and priority. False, and a fault: there is less than that. *depends_on: 0: nothing is said. */
static bool strip(struct h2_session *session, struct h2_frame frame, struct bytes *payload, uint32_t *depends_on)
{
    const uint8_t *at = (const uint8_t *)payload->at;
    size_t padded = (frame.flags & H2_FLAG_PADDED) ? 1 : 0, before = padded + ((frame.flags & H2_FLAG_PRIORITY) ? H2_PRIORITY_BYTES : 0);
    if (payload->len < before)
        return h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
    size_t padding = padded ? at[0] : 0;
    if (padding > payload->len - before)
        return h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    *depends_on = (frame.flags & H2_FLAG_PRIORITY) ? h2_get31(at + padded) : 0;
    *payload = bytes_from(payload->at + before, payload->len - before - padding);
    return true;
}

static void read_fragment(struct h2_session *session, struct h2_frame frame, struct bytes fragment)
{
    if (h2_section_read(session, fragment) && (frame.flags & H2_FLAG_END_HEADERS))
        h2_section_end(session);
}

static void receive_headers(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    uint32_t depends_on;
    bool ends = frame.flags & H2_FLAG_END_STREAM;
    if (frame.stream % 2 == 0) {
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
        return;
    }
    if (!strip(session, frame, &payload, &depends_on))
        return;
    enum h2_section_use use = use_of_section(session, frame.stream);
    if (session->fault != H2_GOAWAY_NONE)
        return;
    if (ends)
        note_ended(session, frame.stream);
    if (use == H2_SECTION_REQUEST && depends_on == (uint32_t)frame.stream) { /* RFC 7540 §5.3.1, which nobody has taken back */
        h2_put_refusal(session, frame.stream, H2_CODE_PROTOCOL_ERROR);
        use = H2_SECTION_IGNORED;
    }
    h2_section_begin(session, frame.stream, use, ends);
    read_fragment(session, frame, payload);
}

/* --- DATA --- */

void h2_receive_end(struct h2_stream *stream)
{
    if (stream->body_length != BODY_LENGTH_UNKNOWN && stream->body_bytes != stream->body_length) {
        h2_reset_malformed(stream);
        return;
    }
    stream->remote_ended = true;
    if (stream->end_sent)
        h2_stream_close(stream);
    if (stream->has_upload)
        h2_upload_ended(stream);
    else if (stream->awaits_end)
        h2_note(stream, H2_EVENT_HEAD);
}

void h2_receive_data_begin(struct h2_session *session, struct h2_frame frame, uint32_t padding)
{
    if (is_idle(session, frame.stream)) {
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
        return;
    }
    if (!h2_inflow_receive(&session->inflow, frame.length)) { /* RFC 9113 §6.9.1 */
        h2_fail(session, H2_CODE_FLOW_CONTROL_ERROR);
        return;
    }
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    if (!stream && !check_closed(session, frame.stream))
        return;
    if (stream && stream->remote_ended)
        fail_stream(stream, H2_CODE_STREAM_CLOSED);
    else if (stream && !h2_inflow_receive(&stream->inflow, frame.length))
        fail_stream(stream, H2_CODE_FLOW_CONTROL_ERROR);
    if (frame.flags & H2_FLAG_END_STREAM)
        note_ended(session, frame.stream);
    if (padding > 0)
        h2_give_room(session, stream, padding);
}

/* RFC 9113 §8.1.1: nothing of a body beyond its Content-Length goes on. */
static bool take_data(struct h2_stream *stream, struct bytes data)
{
    stream->body_bytes += data.len;
    if (stream->body_bytes > stream->body_length) {
        h2_reset_malformed(stream);
        return false;
    }
    return stream->has_upload && h2_upload_feed(stream, data);
}

void h2_receive_data(struct h2_session *session, struct h2_frame frame, struct bytes data)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    if (!stream || !take_data(stream, data))
        h2_give_room(session, stream, (uint32_t)data.len);
}

void h2_receive_data_end(struct h2_session *session, struct h2_frame frame)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    if (stream && (frame.flags & H2_FLAG_END_STREAM))
        h2_receive_end(stream);
}

/* --- SETTINGS --- */

/* RFC 9113 §6.9.2 */
static bool set_stream_windows(struct h2_session *session, uint32_t size)
{
    if (size > H2_WINDOW_MAX)
        return h2_fail(session, H2_CODE_FLOW_CONTROL_ERROR);
    int64_t by = (int64_t)size - session->stream_outflow;
    session->stream_outflow = size;
    LIST_FOR_EACH(node, &session->streams)
    {
        struct h2_stream *stream = LIST_OWNER(node, struct h2_stream, link);
        bool was_shut = stream->outflow <= 0;
        if (stream->is_closed)
            continue;
        if (!h2_outflow_open(&stream->outflow, by))
            return h2_fail(session, H2_CODE_FLOW_CONTROL_ERROR);
        if (was_shut && stream->outflow > 0)
            h2_window_opened(stream);
    }
    return true;
}

static bool require(struct h2_session *session, bool holds)
{
    return holds || h2_fail(session, H2_CODE_PROTOCOL_ERROR);
}

/* RFC 9113 §6.5.2. What is not named here is no business of a server's, as it sends no larger frames and pushes nothing. */
static bool set(struct h2_session *session, uint32_t setting, uint32_t value)
{
    switch (setting) {
    case H2_SETTING_HEADER_TABLE_SIZE:
        h2_encoder_resize(&session->encoder, value);
        return true;
    case H2_SETTING_ENABLE_PUSH:
    case H2_SETTING_ENABLE_CONNECT_PROTOCOL:
        return require(session, value <= 1);
    case H2_SETTING_INITIAL_WINDOW_SIZE:
        return set_stream_windows(session, value);
    case H2_SETTING_MAX_FRAME_SIZE:
        return require(session, value >= H2_PAYLOAD_MAX_BYTES && value < 1 << 24);
    case H2_SETTING_NO_RFC7540_PRIORITIES: /* RFC 9218 §2.1: it does not change */
        if (!require(session, value <= 1 && (session->no_priorities == H2_UNSAID || session->no_priorities == value)))
            return false;
        session->no_priorities = (uint8_t)value;
        return true;
    default:
        return true;
    }
}

static void take_settings(struct h2_session *session, struct bytes payload)
{
    const uint8_t *at = (const uint8_t *)payload.at, *end = at + payload.len;
    if (payload.len % H2_SETTING_BYTES != 0) {
        h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
        return;
    }
    if (payload.len > SETTINGS_MAX * H2_SETTING_BYTES) { /* each may change the windows of all streams */
        h2_fail(session, H2_CODE_ENHANCE_YOUR_CALM);
        return;
    }
    for (; at < end; at += H2_SETTING_BYTES)
        if (!set(session, bytes_get_u16(at), h2_get32(at + 2)))
            return;
    if (session->no_priorities == H2_UNSAID)
        session->no_priorities = 0;
    if (session->state == H2_GREETING)
        session->state = H2_OPEN;
    session->is_greeted = true;
    h2_put_settings_ack(session);
}

/* The client keeps to what we have said from now on. */
static void settings_acknowledged(struct h2_session *session, struct bytes payload)
{
    if (payload.len > 0) {
        h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
        return;
    }
    if (!require(session, !session->is_acknowledged))
        return;
    session->is_acknowledged = true;
    session->stream_inflow = session->said_inflow;
    LIST_FOR_EACH(node, &session->streams)
    h2_inflow_resize(&LIST_OWNER(node, struct h2_stream, link)->inflow, session->said_inflow);
    h2_decoder_resize(&session->decoder, session->said_table);
}

static void receive_settings(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require(session, frame.stream == 0))
        return;
    if (frame.flags & H2_FLAG_ACK)
        settings_acknowledged(session, payload);
    else
        take_settings(session, payload);
}

/* --- the others --- */

static bool require_size(struct h2_session *session, bool fits)
{
    return fits || h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
}

/* RFC 9113 §6.3: what it says is of no consequence. */
static void receive_priority(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    if (!require(session, frame.stream != 0) || !require_size(session, payload.len == H2_PRIORITY_BYTES || stream))
        return;
    if (payload.len != H2_PRIORITY_BYTES)
        fail_stream(stream, H2_CODE_FRAME_SIZE_ERROR);
    else if (stream && h2_get31((const uint8_t *)payload.at) == (uint32_t)frame.stream)
        fail_stream(stream, H2_CODE_PROTOCOL_ERROR);
}

static void receive_reset(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require_size(session, payload.len == H2_RST_STREAM_BYTES) || !require(session, !is_idle(session, frame.stream)))
        return;
    struct h2_stream *stream = h2_stream_find(session, frame.stream);
    note_ended(session, frame.stream);
    if (!stream)
        return;
    h2_stream_close(stream);
    if (h2_get32((const uint8_t *)payload.at) != H2_CODE_NO_ERROR || !stream->end_sent)
        h2_note(stream, H2_EVENT_CLOSED);
}

static void receive_ping(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require(session, frame.stream == 0) || !require_size(session, payload.len == H2_PING_BYTES))
        return;
    if (!(frame.flags & H2_FLAG_ACK))
        h2_put_ping_ack(session, payload.at);
}

/* RFC 9113 §6.8: requests under way end. There is no stream of ours that it could speak of. */
static void receive_goaway(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require(session, frame.stream == 0) || !require_size(session, payload.len >= H2_GOAWAY_BYTES))
        return;
    session->goaway_received = true;
}

static void open_connection_window(struct h2_session *session, uint32_t increment)
{
    if (increment == 0)
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    else if (!h2_outflow_open(&session->outflow, increment))
        h2_fail(session, H2_CODE_FLOW_CONTROL_ERROR);
}

static void open_stream_window(struct h2_stream *stream, uint32_t increment)
{
    bool was_shut = stream->outflow <= 0;
    if (increment == 0)
        fail_stream(stream, H2_CODE_PROTOCOL_ERROR);
    else if (!h2_outflow_open(&stream->outflow, increment))
        fail_stream(stream, H2_CODE_FLOW_CONTROL_ERROR);
    else if (was_shut && stream->outflow > 0)
        h2_window_opened(stream);
}

static void receive_window_update(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require_size(session, payload.len == H2_WINDOW_UPDATE_BYTES))
        return;
    uint32_t increment = h2_get31((const uint8_t *)payload.at);
    if (frame.stream == 0)
        open_connection_window(session, increment);
    else if (require(session, !is_idle(session, frame.stream))) {
        struct h2_stream *stream = h2_stream_find(session, frame.stream);
        if (stream)
            open_stream_window(stream, increment);
    }
    if (session->fault == H2_GOAWAY_NONE)
        h2_guard_window(session, increment);
}

static void update_priority(struct h2_stream *stream, struct bytes value)
{
    bool is_ready = list_is_linked(&stream->turn);
    struct h2_priority priority = {.urgency = H2_URGENCY_DEFAULT};
    h2_priority_parse(value, &priority);
    stream->priority = priority;
    if (!is_ready || !stream->waits || stream->head || stream->ends || stream->end_sent) /* it waits for no turn */
        return;
    list_remove(&stream->turn);
    h2_make_ready(stream);
}

/* RFC 9218 §7.1 */
static void receive_priority_update(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    if (!require(session, frame.stream == 0) || !require_size(session, payload.len >= H2_PRIORITY_UPDATE_BYTES))
        return;
    int32_t id = (int32_t)h2_get31((const uint8_t *)payload.at);
    if (!require(session, id % 2 != 0)) /* nothing is pushed */
        return;
    struct h2_stream *stream = h2_stream_find(session, id);
    if (stream)
        update_priority(stream, bytes_from(payload.at + H2_PRIORITY_UPDATE_BYTES, payload.len - H2_PRIORITY_UPDATE_BYTES));
}

/* --- any --- */

bool h2_receive_header(struct h2_session *session, struct h2_frame frame)
{
    bool is_continuation = frame.type == H2_FRAME_CONTINUATION;
    if (!session->is_greeted && (frame.type != H2_FRAME_SETTINGS || (frame.flags & H2_FLAG_ACK))) /* RFC 9113 §3.4 */
        return h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    if (frame.length > H2_PAYLOAD_MAX_BYTES) /* §4.2 */
        return h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
    if (is_continuation != (session->section_of != 0) || (is_continuation && frame.stream != session->section_of)) /* §4.3, §6.10 */
        return h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    return h2_guard_frame(session, &frame);
}

void h2_receive_frame(struct h2_session *session, struct h2_frame frame, struct bytes payload)
{
    switch (frame.type) {
    case H2_FRAME_HEADERS:
        receive_headers(session, frame, payload);
        break;
    case H2_FRAME_PRIORITY:
        receive_priority(session, frame, payload);
        break;
    case H2_FRAME_RST_STREAM:
        receive_reset(session, frame, payload);
        break;
    case H2_FRAME_SETTINGS:
        receive_settings(session, frame, payload);
        break;
    case H2_FRAME_PUSH_PROMISE: /* RFC 9113 §8.4 */
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
        break;
    case H2_FRAME_PING:
        receive_ping(session, frame, payload);
        break;
    case H2_FRAME_GOAWAY:
        receive_goaway(session, frame, payload);
        break;
    case H2_FRAME_WINDOW_UPDATE:
        receive_window_update(session, frame, payload);
        break;
    case H2_FRAME_CONTINUATION:
        read_fragment(session, frame, payload);
        break;
    case H2_FRAME_PRIORITY_UPDATE:
        receive_priority_update(session, frame, payload);
        break;
    default: /* §4.1: of no consequence */
        break;
    }
}
