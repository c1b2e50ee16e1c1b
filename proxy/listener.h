/* Listening sockets of one loop: accepts in batches and hands each client to its protocol.
 *
 * Each loop polls the same bound sockets (or its own SO_REUSEPORT ones). Out of descriptors: a reserve descriptor is given up to accept and close the
 * waiting client with 503, then accepting pauses; it never spins (HARDENING: resources). Over limits.connections: 503 and close. */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include "proxy/request/request.h"

struct listener;

/* `fd` is bound, listening and non-blocking; borrowed (shared with the other loops). */
struct listener *listener_start(struct worker *worker, int fd, enum listener_kind kind);
/* Of a worker that serves one client at a time: whether it accepts the next. Others always do. */
void             listener_open(struct listener *listener, bool is_open);
/* Accepts no more. */
void             listener_stop(struct listener **listener);

#endif
