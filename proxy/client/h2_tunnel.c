/* An HTTP/2 stream as the client's side of a tunnel (RFC 8441, RFC 9113 §8.5): what a connection is otherwise. What came of the client waits in the stream's
 * upload, whose windows open as the tunnel reads. */
#include "proxy/client/h2_client.h"

static struct h2_stream *stream_of(struct tunnel_stream *tunnel)
{
    return LIST_OWNER(tunnel, struct h2_stream, tunnel);
}

static bool is_readable(const struct h2_stream *stream)
{
    return (stream->tunnel_wants & WANT_READ) && (stream->upload.received || (stream->remote_ended && !stream->tunnel_ended));
}

static ssize_t tunnel_read(struct tunnel_stream *tunnel, void *buffer, size_t capacity)
{
    struct h2_stream *stream = stream_of(tunnel);
    struct h2_session *session = stream->session;
    struct bytes there = spill_bytes(stream->upload.received);
    if (there.len == 0) {
        stream->tunnel_ended = stream->remote_ended;
        return stream->remote_ended ? CONNECTION_EOF : CONNECTION_AGAIN;
    }
    size_t count = there.len < capacity ? there.len : capacity;
    memcpy(buffer, there.at, count);
    h2_enter(session);
    spill_drop(&stream->upload.received, count);
    h2_give_room(session, stream, (uint32_t)count);
    h2_leave_later(session);
    return (ssize_t)count;
}

static ssize_t write_bytes(struct h2_stream *stream, const void *bytes, size_t length, bool last)
{
    struct h2_session *session = stream->session;
    struct iovec iov = {(void *)bytes, length};
    if (session->gone || session->is_terminated || stream->is_closed)
        return CONNECTION_ERROR;
    h2_enter(session);
    ssize_t taken = h2_write_body(stream, &iov, length > 0, last);
    h2_leave_later(session);
    return taken > 0 ? taken : CONNECTION_AGAIN;
}

static ssize_t tunnel_write(struct tunnel_stream *tunnel, const void *bytes, size_t length)
{
    return write_bytes(stream_of(tunnel), bytes, length, false);
}

static void tunnel_want(struct tunnel_stream *tunnel, unsigned wants)
{
    struct h2_stream *stream = stream_of(tunnel);
    stream->tunnel_wants = (uint8_t)wants;
    if (is_readable(stream))
        h2_note(stream, H2_EVENT_BODY);
    if ((wants & WANT_WRITE) && !stream->waits) /* for nothing: it is told at once */
        h2_make_prompt(stream);
}

static void tunnel_shutdown(struct tunnel_stream *tunnel)
{
    write_bytes(stream_of(tunnel), NULL, 0, true);
}

static void tunnel_close(struct tunnel_stream *tunnel)
{
    struct h2_stream *stream = stream_of(tunnel);
    struct h2_session *session = stream->session;
    h2_enter(session);
    if (!(stream->ends && stream->remote_ended))
        h2_put_reset(stream, H2_CODE_CONNECT_ERROR);
    h2_stream_drop(stream);
    h2_leave_later(session);
}

static const struct tunnel_stream_ops tunnel_ops = {
    .read = tunnel_read, .write = tunnel_write, .want = tunnel_want, .shutdown = tunnel_shutdown, .close = tunnel_close};

struct tunnel_stream *h2_tunnel_take(struct stream *base)
{
    struct h2_stream *stream = h2_stream_of(base);
    stream->is_tunnel = true;
    stream->tunnel.ops = &tunnel_ops;
    return &stream->tunnel;
}

void h2_tunnel_act(struct h2_stream *stream)
{
    if (is_readable(stream))
        stream->tunnel.events->readable(stream->tunnel.owner); /* which says again what it wants, or closes it */
}

void h2_tunnel_writable(struct h2_stream *stream)
{
    if (stream->tunnel_wants & WANT_WRITE)
        stream->tunnel.events->writable(stream->tunnel.owner);
}
