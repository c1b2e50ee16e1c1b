/* Frames on their way to an HTTP/2 client: made, collected, and written together. See h2_client.h for the design. */
#include "proxy/client/h2_client.h"

#include <assert.h>
#include <stdlib.h>

/* --- writing --- */

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
            h2_make_prompt(stream);
    }
}

/* --- the plan --- */

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

/* Bytes that were put behind what is used. */
static inline void plan_extend(struct h2_plan *plan, size_t length)
{
    char *from = plan->frames + plan->used;
    struct iovec *last = plan->count ? &plan->iov[plan->count - 1] : NULL;
    if (last && (char *)last->iov_base + last->iov_len == from)
        last->iov_len += length;
    else
        plan->iov[plan->count++] = (struct iovec){from, length};
    plan->used += length;
    plan->bytes += length;
}

static bool may_speak(const struct h2_session *session)
{
    return !session->gone && !session->is_terminated;
}

void h2_plan_copy(struct h2_session *session, const void *at, size_t length)
{
    if (!may_speak(session))
        return;
    struct h2_plan *plan = plan_with_room(session, length);
    if (!plan) {
        spill_append(&session->out, bytes_from(at, length));
        return;
    }
    memcpy(plan->frames + plan->used, at, length);
    plan_extend(plan, length);
}

void h2_plan_refer(struct h2_session *session, const char *at, size_t length)
{
    if (!may_speak(session))
        return;
    struct h2_plan *plan = plan_with_room(session, 0);
    if (!plan) {
        spill_append(&session->out, bytes_from(at, length));
        return;
    }
    plan->iov[plan->count++] = (struct iovec){(char *)at, length};
    plan->bytes += length;
    plan->refers = true;
}

/* --- small frames --- */

static void put_frame(struct h2_session *session, struct h2_frame frame, const char *payload)
{
    enum { SMALL_BYTES = 64 };
    char bytes[H2_FRAME_HEADER_BYTES + SMALL_BYTES];
    assert(frame.length <= SMALL_BYTES);
    bytes_put(h2_put_frame(bytes, frame), bytes_from(payload, frame.length));
    h2_plan_copy(session, bytes, H2_FRAME_HEADER_BYTES + frame.length);
}

static char *put_setting(char *at, enum h2_setting setting, uint32_t value)
{
    return h2_put32(h2_put16(at, setting), value);
}

void h2_put_settings(struct h2_session *session)
{
    enum { SETTINGS = 6 };
    char payload[SETTINGS * H2_SETTING_BYTES], *at = payload;
    at = put_setting(at, H2_SETTING_MAX_CONCURRENT_STREAMS, session->said_streams);
    at = put_setting(at, H2_SETTING_INITIAL_WINDOW_SIZE, session->said_inflow);
    at = put_setting(at, H2_SETTING_HEADER_TABLE_SIZE, session->said_table);
    at = put_setting(at, H2_SETTING_MAX_HEADER_LIST_SIZE, (uint32_t)h2_config(session)->header_bytes_max);
    at = put_setting(at, H2_SETTING_ENABLE_CONNECT_PROTOCOL, 1);
    put_setting(at, H2_SETTING_NO_RFC7540_PRIORITIES, 1);
    put_frame(session, (struct h2_frame){sizeof(payload), H2_FRAME_SETTINGS, 0, 0}, payload);
}

void h2_put_settings_ack(struct h2_session *session)
{
    put_frame(session, (struct h2_frame){0, H2_FRAME_SETTINGS, H2_FLAG_ACK, 0}, "");
}

void h2_put_ping_ack(struct h2_session *session, const char *payload)
{
    put_frame(session, (struct h2_frame){H2_PING_BYTES, H2_FRAME_PING, H2_FLAG_ACK, 0}, payload);
}

void h2_put_window_update(struct h2_session *session, int32_t id, uint32_t increment)
{
    char payload[H2_WINDOW_UPDATE_BYTES];
    h2_put32(payload, increment);
    put_frame(session, (struct h2_frame){sizeof(payload), H2_FRAME_WINDOW_UPDATE, 0, id}, payload);
}

void h2_put_goaway(struct h2_session *session, int32_t last_stream, enum h2_code code)
{
    char payload[H2_GOAWAY_BYTES];
    h2_put32(h2_put32(payload, (uint32_t)last_stream), code);
    put_frame(session, (struct h2_frame){sizeof(payload), H2_FRAME_GOAWAY, 0, 0}, payload);
}

void h2_put_refusal(struct h2_session *session, int32_t id, enum h2_code code)
{
    char payload[H2_RST_STREAM_BYTES];
    if (!may_speak(session))
        return;
    h2_put32(payload, code);
    put_frame(session, (struct h2_frame){sizeof(payload), H2_FRAME_RST_STREAM, 0, id}, payload);
    counter_add(session->worker->counters, COUNTER_HTTP2_RESETS_SENT, 1);
    h2_guard_reset_sent(session, code);
}

void h2_put_reset(struct h2_stream *stream, enum h2_code code)
{
    if (stream->is_closed)
        return;
    h2_put_refusal(stream->session, stream->number.id, code);
    h2_stream_close(stream);
}

/* --- heads --- */

static char *heads_with_room(struct h2_clients *clients, size_t bytes)
{
    if (clients->heads_capacity < bytes) {
        free(clients->heads);
        clients->heads = malloc(clients->heads_capacity = bytes * 2);
        assert(clients->heads);
    }
    return clients->heads;
}

/* A block behind room for a frame's header, as a HEADERS frame and what it takes of CONTINUATION (RFC 9113 §6.10). */
static void plan_section(struct h2_session *session, char *at, size_t length, struct h2_frame frame)
{
    do { /* a header lies over what is planned already */
        frame.length = length < H2_PAYLOAD_MAX_BYTES ? (uint32_t)length : H2_PAYLOAD_MAX_BYTES;
        frame.flags |= frame.length == length ? H2_FLAG_END_HEADERS : 0;
        h2_put_frame(at, frame);
        h2_plan_copy(session, at, H2_FRAME_HEADER_BYTES + frame.length);
        at += frame.length;
        length -= frame.length;
        frame = (struct h2_frame){0, H2_FRAME_CONTINUATION, 0, frame.stream};
    } while (length > 0);
}

void h2_put_head(struct h2_stream *stream, const struct response_head *head, bool ends)
{
    struct h2_session *session = stream->session;
    struct h2_frame frame = {0, H2_FRAME_HEADERS, ends ? H2_FLAG_END_STREAM : 0, stream->number.id};
    size_t bound = H2_FRAME_HEADER_BYTES + h2_encoder_bound(head);
    if (!may_speak(session))
        return;
    struct h2_plan *plan = bound <= H2_PAYLOAD_MAX_BYTES ? plan_with_room(session, bound) : NULL;
    char *at = plan ? plan->frames + plan->used : heads_with_room(session->worker->h2, bound), *block = at + H2_FRAME_HEADER_BYTES;
    size_t length = (size_t)(h2_encode_head(&session->encoder, block, head) - block);
    if (plan) {
        frame.length = (uint32_t)length;
        frame.flags |= H2_FLAG_END_HEADERS;
        h2_put_frame(at, frame);
        plan_extend(plan, H2_FRAME_HEADER_BYTES + length);
    } else {
        plan_section(session, at, length, frame);
    }
    if (ends)
        h2_stream_end_sent(stream);
}

void h2_put_interim(struct h2_stream *stream, unsigned status, const struct headers *fields)
{
    struct h2_session *session = stream->session;
    if (!may_speak(session))
        return;
    char *at = heads_with_room(session->worker->h2, H2_FRAME_HEADER_BYTES + h2_encoder_bound_interim(fields));
    char *block = at + H2_FRAME_HEADER_BYTES;
    size_t length = (size_t)(h2_encode_interim(&session->encoder, block, status, fields) - block);
    plan_section(session, at, length, (struct h2_frame){0, H2_FRAME_HEADERS, 0, stream->number.id});
}
