/* The body of an HTTP/2 request: kept as it comes, at most a window of it, until the fetch pulls it (upload.h).
 *
 * DESIGN. The client's windows open again only as the fetch takes bytes (RFC 9113 §5.2): a slow origin slows the client down, and a connection holds at most
 * its own window (http2.connection_window) of all its bodies. While there is no room the clock of the minimum rate stands still. Trailers are dropped
 * (RFC 9110 §6.5.1). A body of a known length may yet turn out to be longer: its last byte goes on only when the stream has ended, so that no origin takes
 * a malformed request for a whole one (RFC 9113 §8.1.1).
 */
#include "proxy/client/h2_client.h"

#include <assert.h>

static struct h2_stream *stream_of(struct upload *upload)
{
    return LIST_OWNER(upload, struct h2_stream, upload.upload);
}

/* --- what the fetch sees --- */

static enum upload_state peek(struct upload *base, struct bytes *data)
{
    struct h2_stream *stream = stream_of(base);
    struct h2_upload *upload = &stream->upload;
    if (upload->expects_continue && upload->received_bytes == 0)
        stream->stream.ops->interim(&stream->stream, 100, NULL);
    upload->expects_continue = false;
    h2_upload_watch(stream);
    if (upload->upload.error != ERROR_OK)
        return UPLOAD_FAILED;
    *data = spill_bytes(upload->received);
    if (data->len > 0 && !upload->complete && upload->upload.length_known && upload->received_bytes == upload->upload.length)
        data->len--;
    if (data->len > 0)
        return UPLOAD_DATA;
    return upload->complete ? UPLOAD_END : UPLOAD_WAIT;
}

static void consume(struct upload *base, size_t count)
{
    struct h2_stream *stream = stream_of(base);
    struct h2_session *session = stream->session;
    h2_enter(session);
    spill_drop(&stream->upload.received, count);
    h2_give_room(session, stream, (uint32_t)count);
    h2_upload_watch(stream);
    h2_leave_later(session);
}

static const struct upload_ops upload_ops = {.peek = peek, .consume = consume};

void h2_upload_notify(struct h2_stream *stream)
{
    struct upload *upload = &stream->upload.upload;
    if (upload->ready)
        upload->ready(upload->context);
}

/* --- its life --- */

void h2_upload_begin(struct h2_stream *stream, const struct h2_framing *framing)
{
    stream->upload = (struct h2_upload){
        .upload = {.ops = &upload_ops, .length_known = framing->length_known, .length = framing->length},
        .expects_continue = framing->expects_continue,
    };
    stream->has_upload = true;
}

bool h2_upload_feed(struct h2_stream *stream, struct bytes bytes)
{
    struct h2_upload *upload = &stream->upload;
    uint64_t max = stream->is_extended_connect ? 0 : h2_config(stream->session)->body_bytes_max;
    upload->received_bytes += bytes.len;
    if (max && upload->received_bytes > max && upload->upload.error == ERROR_OK) {
        upload->upload.error = ERROR_BODY_TOO_LARGE;
        h2_note(stream, H2_EVENT_BODY);
    }
    if (upload->upload.error != ERROR_OK)
        return false;
    spill_append(&upload->received, bytes);
    h2_note(stream, H2_EVENT_BODY);
    return true;
}

void h2_upload_ended(struct h2_stream *stream)
{
    stream->upload.complete = true;
    h2_note(stream, H2_EVENT_BODY);
}

void h2_upload_fail(struct h2_stream *stream, enum error error)
{
    if (stream->upload.upload.error == ERROR_OK)
        stream->upload.upload.error = error;
    h2_upload_notify(stream);
}

static void on_window_end(struct deadline *deadline)
{
    struct h2_stream *stream = LIST_OWNER(deadline, struct h2_stream, upload.deadline);
    struct h2_session *session = stream->session;
    const struct config *config = h2_config(session);
    uint64_t got = stream->upload.received_bytes - stream->upload.window_bytes;
    h2_enter(session);
    if (got == 0 || got < config->body_min_rate * (uint64_t)config->body_timeout_ms / 1000)
        h2_upload_fail(stream, ERROR_BODY_TOO_SLOW);
    else
        h2_upload_watch(stream);
    h2_leave(session);
}

/* Whether the client may and shall send. */
static bool is_wanted(const struct h2_stream *stream)
{
    const struct h2_upload *upload = &stream->upload;
    return upload->upload.started && !upload->complete && upload->upload.error == ERROR_OK &&
           spill_bytes(upload->received).len < h2_config(stream->session)->http2_window;
}

void h2_upload_watch(struct h2_stream *stream)
{
    struct h2_upload *upload = &stream->upload;
    if (!is_wanted(stream)) {
        deadline_clear(&upload->deadline);
    } else if (!deadline_is_set(&upload->deadline)) {
        upload->window_bytes = upload->received_bytes;
        loop_set_deadline(stream->session->worker->loop, &upload->deadline, h2_config(stream->session)->body_timeout_ms, on_window_end);
    }
}

void h2_upload_end(struct h2_stream *stream)
{
    struct h2_upload *upload = &stream->upload;
    size_t unread = spill_bytes(upload->received).len;
    deadline_clear(&upload->deadline);
    spill_free(&upload->received);
    if (unread > 0) /* the other streams need its part of the connection's window */
        h2_give_room(stream->session, NULL, (uint32_t)unread);
}
