/* See tunnel.h.
 *
 * DESIGN. Two one-way flows. Bytes are read into the loop's buffer and written to the other side at once; only what that does not take is
 * kept, and until it is gone its source is not read. So a quiet tunnel holds no buffer, and a busy one at most two of TUNNEL_BUFFER_BYTES.
 * An end of file is passed on as a FIN once everything before it was written; the other direction goes on. */
#include "proxy/origin/tunnel.h"

#include <stdlib.h>

enum { TUNNEL_BUFFER_BYTES = 16 * 1024 };

/* One or the other. */
struct side {
    struct connection *connection;
    struct tunnel_stream *stream;
};

struct flow {
    struct tunnel *tunnel;
    struct side *from, *to;
    char *kept; /* read, not yet written */
    size_t kept_at, kept_len;
    bool at_end; /* the source sent its FIN */
    bool ended;  /* and it was passed on */
    uint64_t bytes;
};

struct tunnel {
    struct side client, origin;
    struct flow to_origin, to_client;
    struct deadline idle;
    int64_t idle_timeout_ms;
    void (*ended)(void *context, const struct tunnel_end *end);
    void *context;
};

static ssize_t side_read(struct side *side, char *buffer, size_t capacity)
{
    return side->stream ? side->stream->ops->read(side->stream, buffer, capacity) : connection_read(side->connection, buffer, capacity);
}

static ssize_t side_write(struct side *side, const char *at, size_t length)
{
    return side->stream ? side->stream->ops->write(side->stream, at, length) : connection_write(side->connection, at, length, false);
}

static void side_want(struct side *side, unsigned wants)
{
    if (side->stream)
        side->stream->ops->want(side->stream, wants);
    else
        connection_want(side->connection, wants);
}

static void side_shutdown(struct side *side)
{
    if (side->stream)
        side->stream->ops->shutdown(side->stream);
    else
        connection_shutdown(side->connection);
}

static void side_close(struct side *side)
{
    if (side->stream)
        side->stream->ops->close(side->stream);
    else
        connection_close(&side->connection);
}

static struct loop *loop_of(const struct tunnel *tunnel)
{
    return connection_loop(tunnel->origin.connection);
}

static void tunnel_free(struct tunnel *tunnel)
{
    deadline_clear(&tunnel->idle);
    side_close(&tunnel->client);
    side_close(&tunnel->origin);
    free(tunnel->to_origin.kept);
    free(tunnel->to_client.kept);
    free(tunnel);
}

static void tunnel_end(struct tunnel *tunnel)
{
    const struct tunnel_end end = {.to_client_bytes = tunnel->to_client.bytes, .to_origin_bytes = tunnel->to_origin.bytes};
    void (*ended)(void *, const struct tunnel_end *) = tunnel->ended;
    void *context = tunnel->context;
    tunnel_free(tunnel);
    ended(context, &end);
}

static void idle_expired(struct deadline *deadline)
{
    tunnel_end(LIST_OWNER(deadline, struct tunnel, idle));
}

static void keep(struct flow *flow, const char *at, size_t length)
{
    flow->kept = malloc(length);
    if (!flow->kept)
        abort(); /* as arenas do */
    memcpy(flow->kept, at, length);
    flow->kept_at = 0;
    flow->kept_len = length;
}

/* What each side is watched for follows from the two flows. */
static void set_wants(struct tunnel *tunnel)
{
    const struct flow *out = &tunnel->to_origin, *in = &tunnel->to_client;
    side_want(&tunnel->client, (out->at_end || out->kept ? 0 : WANT_READ) | (in->kept ? WANT_WRITE : 0));
    side_want(&tunnel->origin, (in->at_end || in->kept ? 0 : WANT_READ) | (out->kept ? WANT_WRITE : 0));
}

/* False: the connection is broken. */
static bool flow_write(struct flow *flow, const char *at, size_t length, size_t *written)
{
    ssize_t count = side_write(flow->to, at, length);
    *written = count > 0 ? (size_t)count : 0;
    flow->bytes += *written;
    return count != CONNECTION_ERROR;
}

static bool flow_write_kept(struct flow *flow)
{
    size_t written;
    if (!flow_write(flow, flow->kept + flow->kept_at, flow->kept_len - flow->kept_at, &written))
        return false;
    flow->kept_at += written;
    if (flow->kept_at == flow->kept_len) {
        free(flow->kept);
        flow->kept = NULL;
    }
    return true;
}

static bool flow_read(struct flow *flow)
{
    char *buffer = loop_read_buffer(loop_of(flow->tunnel));
    ssize_t count = side_read(flow->from, buffer, TUNNEL_BUFFER_BYTES);
    if (count == CONNECTION_AGAIN)
        return true;
    if (count == CONNECTION_ERROR)
        return false;
    if (count == CONNECTION_EOF) {
        flow->at_end = true;
        return true;
    }
    size_t written;
    if (!flow_write(flow, buffer, (size_t)count, &written))
        return false;
    if (written < (size_t)count)
        keep(flow, buffer + written, (size_t)count - written);
    return true;
}

static void after_event(struct tunnel *tunnel, struct flow *flow, bool is_good)
{
    if (is_good && flow->at_end && !flow->kept && !flow->ended) {
        flow->ended = true;
        side_shutdown(flow->to);
    }
    if (!is_good || (tunnel->to_client.ended && tunnel->to_origin.ended)) {
        tunnel_end(tunnel);
        return;
    }
    loop_set_deadline(loop_of(tunnel), &tunnel->idle, tunnel->idle_timeout_ms, idle_expired);
    set_wants(tunnel);
}

static void source_readable(struct flow *flow)
{
    after_event(flow->tunnel, flow, flow_read(flow));
}

static void sink_writable(struct flow *flow)
{
    after_event(flow->tunnel, flow, !flow->kept || flow_write_kept(flow));
}

static void client_readable(void *owner)
{
    source_readable(&((struct tunnel *)owner)->to_origin);
}

static void client_writable(void *owner)
{
    sink_writable(&((struct tunnel *)owner)->to_client);
}

static void origin_readable(void *owner)
{
    source_readable(&((struct tunnel *)owner)->to_client);
}

static void origin_writable(void *owner)
{
    sink_writable(&((struct tunnel *)owner)->to_origin);
}

/* While nothing is wanted of a side it can only break. Or both its ways have ended, of which the kernel says the same: then what came of it before is still there
 * to be read, or kept for the other side. If it is broken all the same, that shows when it is read. */
static void side_broken(struct tunnel *tunnel, const struct side *side, const struct flow *to_side)
{
    if (side->stream || !to_side->ended)
        tunnel_end(tunnel);
}

static void client_broken(void *owner)
{
    struct tunnel *tunnel = owner;
    side_broken(tunnel, &tunnel->client, &tunnel->to_client);
}

static void origin_broken(void *owner)
{
    struct tunnel *tunnel = owner;
    side_broken(tunnel, &tunnel->origin, &tunnel->to_origin);
}

static const struct connection_events client_events = {.readable = client_readable, .writable = client_writable, .broken = client_broken};
static const struct connection_events origin_events = {.readable = origin_readable, .writable = origin_writable, .broken = origin_broken};

static struct tunnel *start(struct side client, struct bytes client_unread, struct connection *origin, struct bytes origin_unread,
                            int64_t idle_timeout_ms, void (*ended)(void *context, const struct tunnel_end *end), void *context)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (!tunnel)
        abort();
    tunnel->client = client;
    tunnel->origin.connection = origin;
    tunnel->to_origin = (struct flow){.tunnel = tunnel, .from = &tunnel->client, .to = &tunnel->origin};
    tunnel->to_client = (struct flow){.tunnel = tunnel, .from = &tunnel->origin, .to = &tunnel->client};
    tunnel->idle_timeout_ms = idle_timeout_ms;
    tunnel->ended = ended;
    tunnel->context = context;
    if (client_unread.len > 0)
        keep(&tunnel->to_origin, client_unread.at, client_unread.len);
    if (origin_unread.len > 0)
        keep(&tunnel->to_client, origin_unread.at, origin_unread.len);
    connection_set_owner(origin, &origin_events, tunnel);
    loop_set_deadline(loop_of(tunnel), &tunnel->idle, idle_timeout_ms, idle_expired);
    return tunnel;
}

struct tunnel *tunnel_start(struct connection *client, struct bytes client_unread, struct connection *origin, struct bytes origin_unread,
                            int64_t idle_timeout_ms, void (*ended)(void *context, const struct tunnel_end *end), void *context)
{
    struct tunnel *tunnel =
        start((struct side){.connection = client}, client_unread, origin, origin_unread, idle_timeout_ms, ended, context);
    connection_set_owner(client, &client_events, tunnel);
    set_wants(tunnel);
    return tunnel;
}

struct tunnel *tunnel_start_stream(struct tunnel_stream *client, struct connection *origin, struct bytes origin_unread,
                                   int64_t idle_timeout_ms, void (*ended)(void *context, const struct tunnel_end *end), void *context)
{
    struct tunnel *tunnel = start((struct side){.stream = client}, BYTES_NONE, origin, origin_unread, idle_timeout_ms, ended, context);
    client->events = &client_events;
    client->owner = tunnel;
    set_wants(tunnel);
    return tunnel;
}

void tunnel_cut(struct tunnel **at)
{
    tunnel_free(*at);
    *at = NULL;
}
