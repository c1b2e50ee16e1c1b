/* A tunnel after 101 Switching Protocols (RFC 9110 §7.8): bytes both ways, with backpressure, until both sides have ended or nothing moved for a while. */
#ifndef ORIGIN_TUNNEL_H
#define ORIGIN_TUNNEL_H

#include "proxy/net/connection.h"
#include "base/bytes.h"

struct tunnel;

struct tunnel_end {
    uint64_t to_client_bytes, to_origin_bytes;
};

/* Takes both connections; copies what each had already sent (`*_unread` goes to the other side first). `ended` is the last call, never from inside. */
struct tunnel *tunnel_start(struct connection *client, struct bytes client_unread, struct connection *origin, struct bytes origin_unread,
                            int64_t idle_timeout_ms, void (*ended)(void *context, const struct tunnel_end *end), void *context);
/* Closes both sides now (shutdown); `ended` is not called. Nulls. */
void tunnel_cut(struct tunnel **tunnel);

#endif
