/* An HTTP/1.x client connection (RFC 9112): bytes → struct request, response → bytes. Keep-alive and pipelining; one request at a time is under way.
 *
 * Deadlines: header (from the first byte of a head, or from the accept), keep-alive idle, body without progress and minimum rate, write stall. */
#ifndef CLIENT_H1_H
#define CLIENT_H1_H

#include "proxy/request/request.h"

/* Takes an accepted socket and serves it until it ends. */
void h1_accept(struct worker *worker, int fd, enum listener_kind kind, const union socket_address *peer);

/* Drain: closes this worker's idle connections; the others close after their response. */
void h1_drain(struct worker *worker);
/* Fast stop: closes every client connection of this worker, for good. */
void h1_cut(struct worker *worker);

/* Client connections of all loops that came by public listeners: what limits.connections bounds. Any thread. */
unsigned h1_public_clients(void);

#endif
