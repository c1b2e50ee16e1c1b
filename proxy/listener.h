/* Listening sockets of one loop: accepts in batches and hands each client to its protocol, or to the greeting that finds it.
 *
 * Each loop polls the same bound sockets (or its own SO_REUSEPORT ones). Out of descriptors: a reserve descriptor is given up to accept and close the
 * waiting client with 503, then accepting pauses; it never spins (HARDENING: resources). Over limits.connections: 503 and close. */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include "proxy/request/request.h"

struct listener;

/* `fd` is bound, listening and non-blocking; borrowed (shared with the other loops), as is `address`, the text by which the configuration knows it. */
struct listener *listener_start(struct worker *worker, int fd, enum listener_kind kind, const char *address);
/* The worker has a new configuration: what it says of this address is for those who come from now on. */
void             listener_configure(struct listener *listener);
/* Whether it accepts: not while memory is short, or a worker that serves one client at a time has one. At first it does. */
void             listener_open(struct listener *listener, bool is_open);
/* Accepts no more. */
void             listener_stop(struct listener **listener);

#endif
