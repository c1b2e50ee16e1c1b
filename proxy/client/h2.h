/* An HTTP/2 client connection (RFC 9113): frames → struct request, responses → frames; many requests at a time.
 *
 * Deadlines: header (from the accept to the client's settings, and of each field section), keep-alive idle, a body's minimum rate, write stall; each as over
 * HTTP/1, those of one stream end that stream only. */
#ifndef CLIENT_H2_H
#define CLIENT_H2_H

#include "proxy/request/request.h"

/* Takes a connection that was counted (clients.h) and serves it until it ends. `already_read` is what came from it so far, from the preface on; it is
 * borrowed, and may lie in the loop's read buffer. */
void h2_accept(struct worker *worker, struct connection *connection, enum listener_kind kind, const union socket_address *peer,
               struct bytes already_read);

/* Drain: each client is told (GOAWAY), then closed when its last request ends. When the worker does not drain, but keep-alive has ended: those who have nothing
 * under way, and the others when they have nothing more. */
void h2_drain(struct worker *worker);
/* Fast stop: closes every client connection of this worker, for good. */
void h2_cut(struct worker *worker);

#endif
