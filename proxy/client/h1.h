/* An HTTP/1.x client connection (RFC 9112): bytes → struct request, response → bytes. Keep-alive and pipelining; one request at a time is under way.
 *
 * Deadlines: header (from the first byte of a head, or from the accept), keep-alive idle, body without progress and minimum rate, write stall. */
#ifndef CLIENT_H1_H
#define CLIENT_H1_H

#include "proxy/request/request.h"

/* Takes a connection that was counted (clients.h) and serves it until it ends. `already_read` is what came from it so far; it is borrowed, and may lie in the
 * loop's read buffer. */
void h1_accept(struct worker *worker, struct connection *connection, enum listener_kind kind, const union socket_address *peer,
               struct bytes already_read);

/* Keep-alive has ended: this worker's idle connections close after a moment, the others after their response. */
void h1_drain(struct worker *worker);
/* Fast stop: closes every client connection of this worker, for good. */
void h1_cut(struct worker *worker);

#endif
