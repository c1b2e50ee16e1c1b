/* A tunnel after 101 Switching Protocols (RFC 9110 §7.8): bytes both ways, with backpressure, until both sides have ended or nothing moved for a while. */
#ifndef ORIGIN_TUNNEL_H
#define ORIGIN_TUNNEL_H

#include "proxy/net/connection.h"
#include "base/bytes.h"

struct tunnel;

/* A client's side that is no connection of its own: an HTTP/2 stream (RFC 8441). Its functions do what those of connection.h do; `events` and `owner` are
 * the tunnel's. None of the functions calls back from inside. */
struct tunnel_stream;

struct tunnel_stream_ops {
    ssize_t (*read)(struct tunnel_stream *stream, void *buffer, size_t capacity);
    ssize_t (*write)(struct tunnel_stream *stream, const void *bytes, size_t length);
    void (*want)(struct tunnel_stream *stream, unsigned wants);
    void (*shutdown)(struct tunnel_stream *stream);
    void (*close)(struct tunnel_stream *stream); /* the last call */
};

struct tunnel_stream {
    const struct tunnel_stream_ops *ops;
    const struct connection_events *events;
    void *owner;
};

struct tunnel_end {
    uint64_t to_client_bytes, to_origin_bytes;
};

/* Takes both connections; copies what each had already sent (`*_unread` goes to the other side first). `ended` is the last call, never from inside. */
struct tunnel *tunnel_start(struct connection *client, struct bytes client_unread, struct connection *origin, struct bytes origin_unread,
                            int64_t idle_timeout_ms, void (*ended)(void *context, const struct tunnel_end *end), void *context);
/* The same for a client that is a stream. */
struct tunnel *tunnel_start_stream(struct tunnel_stream *client, struct connection *origin, struct bytes origin_unread, int64_t idle_timeout_ms,
                                   void (*ended)(void *context, const struct tunnel_end *end), void *context);
/* Closes both sides now (shutdown); `ended` is not called. Nulls. */
void tunnel_cut(struct tunnel **tunnel);

#endif
