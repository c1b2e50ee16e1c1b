/* What nghttp2 tells of a client's frames, noted. See h2_client.h for the design.
 *
 * DESIGN. Of frames and HPACK nghttp2 knows the rules; those of HTTP in them (RFC 9113 §8) are kept here and in h2_head.c, and by nobody else: nghttp2 would
 * look at each byte of each field a second time. A message that breaks one is a stream error.
 *
 * RFC 9113 §8.1.1 wants nothing of a malformed request to be taken for a whole one: one that says it has no body starts when it has indeed ended.
 * Every callback runs inside of nghttp2: it MUST NOT call a request, an upload's fetch, or nghttp2's sending and receiving. */
#include "proxy/client/h2_client.h"

#include <assert.h>

enum { SECTION_FACTOR = 4 }; /* a field section beyond the limits is refused, one beyond that many times the limits is an attack */

void h2_note(struct h2_stream *stream, enum h2_event event)
{
    stream->events |= (uint8_t)event;
    if (!list_is_linked(&stream->event))
        list_push_back(&stream->session->events, &stream->event);
    h2_settle_later(stream->session);
}

/* --- field sections --- */

static int on_begin_section(nghttp2_session *protocol, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;
    (void)protocol;
    session->section_of = frame->hd.stream_id;
    session->section_bytes = 0;
    session->is_section_malformed = false;
    if (session->block)
        h2_block_clear(session->block);
    else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        session->block = h2_block_take(session->worker->h2);
    if (session->block && frame->headers.cat != NGHTTP2_HCAT_REQUEST) /* trailers are read for their end only */
        h2_block_give(session->worker->h2, &session->block);
    if (session->block)
        h2_repeats_begin(&session->worker->h2->repeats, session->block);
    return 0;
}

static struct bytes text_of(nghttp2_rcbuf *buffer)
{
    nghttp2_vec text = nghttp2_rcbuf_get_buf(buffer);
    return bytes_from((const char *)text.base, text.len);
}

static void add_field(struct h2_session *session, nghttp2_rcbuf *name, nghttp2_rcbuf *value, struct bytes named, struct bytes is)
{
    h2_block_add(session->block, named, is, h2_config(session));
    if (session->block->count > 0)
        h2_repeats_note(&session->worker->h2->repeats, session->block, name, value);
}

static int on_field(nghttp2_session *protocol, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                    void *context)
{
    struct h2_session *session = context;
    const struct config *config = h2_config(session);
    uint32_t repeated = session->block ? h2_repeats_take(&session->worker->h2->repeats, session->block, name, value, config) : 0;
    (void)protocol, (void)frame, (void)flags;
    if (repeated > 0) {
        session->section_bytes += repeated;
        return 0; /* which is within the limits of a request */
    }
    const struct bytes named = text_of(name), is = text_of(value);
    session->section_bytes += (uint32_t)(named.len + is.len + H2_FIELD_CHARGE_BYTES);
    if (session->section_bytes > (uint64_t)SECTION_FACTOR * config->header_bytes_max) {
        session->fault = H2_GOAWAY_FIELDS;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (session->block)
        add_field(session, name, value, named, is);
    else if (!h2_field_is_well_formed(named, is)) /* of trailers: a pseudo-header's name is no token */
        session->is_section_malformed = true;
    return 0;
}

static void end_section(struct h2_session *session)
{
    session->section_of = 0;
    if (session->block)
        h2_block_give(session->worker->h2, &session->block);
}

/* RFC 9218 §4, §10: who says nothing of priorities gets what serves all of his requests alike. */
static void read_priority(struct h2_stream *stream, const struct headers *fields)
{
    const struct header *field = headers_find(fields, HEADER_PRIORITY);
    if (field)
        h2_priority_parse(field->value, &stream->priority);
    else
        stream->priority.is_incremental = true;
}

/* RFC 9113 §8.1.1. `stream`: NULL: its request is over. */
static void reset_malformed(struct h2_session *session, int32_t id, struct h2_stream *stream)
{
    if (stream && stream->is_malformed)
        return;
    nghttp2_submit_rst_stream(session->protocol, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
    if (!stream)
        return;
    stream->is_malformed = true;
    h2_note(stream, H2_EVENT_CLOSED);
}

static void begin_request(struct h2_session *session, int32_t id, bool ends)
{
    struct h2_stream *stream = h2_stream_take(session, id);
    struct h2_framing framing;
    stream->request = request_new(session->worker, &stream->stream, session->listener, &session->peer);
    struct request_head *head = request_head(stream->request);
    head->tls = connection_tls(session->connection);
    head->scheme = head->tls ? BYTES("https") : BYTES("http");
    stream->error = h2_block_finish(session->block, ends, h2_config(session), request_arena(stream->request), head, &framing);
    stream->remote_ended = ends;
    stream->body_length = framing.length_known && !framing.is_extended_connect ? framing.length : BODY_LENGTH_UNKNOWN;
    if (session->block->is_malformed) {
        counter_add(session->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
        reset_malformed(session, id, stream);
    } else {
        stream->is_extended_connect = framing.is_extended_connect;
        read_priority(stream, &head->fields);
        stream->awaits_end =
            !ends && framing.length_known && framing.length == 0 && stream->error == ERROR_OK && !framing.is_extended_connect;
        if (stream->awaits_end) {
            h2_stream_await_end(stream);
            return;
        }
        if (!ends && stream->error == ERROR_OK) {
            h2_upload_begin(stream, &framing);
            head->upload = framing.is_extended_connect ? NULL : &stream->upload.upload;
        }
        h2_note(stream, H2_EVENT_HEAD);
    }
}

/* --- frames --- */

static void stream_ended(struct h2_session *session, int32_t id)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->protocol, id);
    if (!stream || stream->is_malformed)
        return;
    if (stream->body_length != BODY_LENGTH_UNKNOWN && stream->body_bytes != stream->body_length) {
        reset_malformed(session, id, stream);
        return;
    }
    stream->remote_ended = true;
    if (stream->has_upload)
        h2_upload_ended(stream);
    else if (stream->awaits_end)
        h2_note(stream, H2_EVENT_HEAD);
}

/* RFC 9113 §8.1: they end the stream. What they say is dropped. */
static void end_trailers(struct h2_session *session, int32_t id, bool ends)
{
    if (ends && !session->is_section_malformed) {
        stream_ended(session, id);
        return;
    }
    counter_add(session->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
    reset_malformed(session, id, nghttp2_session_get_stream_user_data(session->protocol, id));
}

static void update_priority(struct h2_session *session, const nghttp2_ext_priority_update *update)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->protocol, update->stream_id);
    if (!stream)
        return;
    bool is_ready = list_is_linked(&stream->turn);
    list_remove(&stream->turn);
    stream->priority = (struct h2_priority){.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY};
    h2_priority_parse(bytes_from((const char *)update->field_value, update->field_value_len), &stream->priority);
    if (is_ready)
        h2_make_ready(stream);
}

static int on_frame(nghttp2_session *protocol, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    (void)protocol;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (session->state == H2_GREETING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
            session->state = H2_OPEN;
        break;
    case NGHTTP2_HEADERS:
        if (session->block)
            begin_request(session, frame->hd.stream_id, ends);
        else
            end_trailers(session, frame->hd.stream_id, ends);
        end_section(session);
        break;
    case NGHTTP2_DATA:
        if (ends)
            stream_ended(session, frame->hd.stream_id);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        return h2_guard_window(session, (uint32_t)frame->window_update.window_size_increment) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    case NGHTTP2_PRIORITY_UPDATE:
        update_priority(session, frame->ext.payload);
        break;
    default:
        break;
    }
    return 0;
}

static int on_bad_frame(nghttp2_session *protocol, const nghttp2_frame *frame, int code, void *context)
{
    struct h2_session *session = context;
    (void)protocol, (void)code;
    if (frame->hd.type == NGHTTP2_HEADERS)
        counter_add(session->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
    return 0;
}

/* RFC 9113 §8.1.1: nothing of a body beyond its Content-Length goes on. */
static bool take_data(struct h2_session *session, struct h2_stream *stream, struct bytes data)
{
    if (stream->is_malformed)
        return false;
    stream->body_bytes += data.len;
    if (stream->body_bytes > stream->body_length) {
        reset_malformed(session, stream->id, stream);
        return false;
    }
    return stream->has_upload && h2_upload_feed(stream, data);
}

static int on_data(nghttp2_session *protocol, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *context)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(protocol, id);
    (void)flags;
    if (!stream || !take_data(context, stream, bytes_from((const char *)data, length)))
        nghttp2_session_consume(protocol, id, length);
    return 0;
}

static int on_stream_closed(nghttp2_session *protocol, int32_t id, uint32_t code, void *context)
{
    struct h2_session *session = context;
    struct h2_stream *stream = h2_stream_by_id(session, id);
    (void)protocol;
    if (session->section_of == id) /* its field section was broken off */
        end_section(session);
    if (!stream)
        return 0;
    stream->is_closed = true;
    if (code != NGHTTP2_NO_ERROR || !stream->end_sent)
        h2_note(stream, H2_EVENT_CLOSED);
    return 0;
}

/* --- what we sent --- */

/* nghttp2 found an error of the connection, and says so. */
static void goaway_sent(struct h2_session *session, uint32_t code)
{
    if (code != NGHTTP2_NO_ERROR && session->goaway == H2_GOAWAY_NONE && session->fault == H2_GOAWAY_NONE)
        h2_note_end(session, H2_GOAWAY_PROTOCOL);
}

static void section_sent(struct h2_session *session, struct h2_stream *stream)
{
    session->sent_head = stream->head;
    stream->head = NULL;
}

static void stream_end_sent(struct h2_stream *stream)
{
    stream->end_sent = true;
    if (stream->waits && !stream->offer.iov)
        h2_make_ready(stream);
}

static int on_frame_sent(nghttp2_session *protocol, const nghttp2_frame *frame, void *context)
{
    struct h2_session *session = context;
    (void)protocol;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        counter_add(session->worker->counters, COUNTER_HTTP2_RESETS_SENT, 1);
        h2_guard_reset_sent(session, frame->rst_stream.error_code);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        goaway_sent(session, frame->goaway.error_code);
    } else if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) {
        struct h2_stream *stream = h2_stream_by_id(session, frame->hd.stream_id);
        if (stream && frame->hd.type == NGHTTP2_HEADERS)
            section_sent(session, stream);
        if (stream && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            stream_end_sent(stream);
    }
    return 0;
}

/* --- setting it up --- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_section);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_bad_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_on_send_data);
    return callbacks;
}

/* Its own limits against floods lie beyond ours, so that ours are what is counted and logged. */
static nghttp2_option *options_new(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1); /* windows open as uploads are taken */
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* the rules of HTTP are ours: see above */
    nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
    nghttp2_option_set_max_continuations(option, 4096);
    nghttp2_option_set_max_outbound_ack(option, 100000);
    return option;
}

static bool submit_settings(nghttp2_session *protocol, const struct config *config)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->http2_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, config->http2_window},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, config->http2_header_table},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->header_bytes_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}, /* RFC 8441 */
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},   /* RFC 9218 §2.1 */
    };
    return nghttp2_submit_settings(protocol, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0])) == 0 &&
           nghttp2_session_set_local_window_size(protocol, NGHTTP2_FLAG_NONE, 0, (int32_t)config->http2_connection_window) == 0;
}

nghttp2_session *h2_protocol_new(struct h2_session *session)
{
    struct h2_clients *clients = session->worker->h2;
    nghttp2_mem memory = h2_memory_of(session);
    nghttp2_session *protocol;
    if (!clients->callbacks)
        clients->callbacks = callbacks_new();
    if (!clients->options)
        clients->options = options_new();
    bool is_made = clients->callbacks && clients->options &&
                   nghttp2_session_server_new3(&protocol, clients->callbacks, session, clients->options, &memory) == 0 &&
                   submit_settings(protocol, h2_config(session));
    assert(is_made);
    (void)is_made;
    return protocol;
}
