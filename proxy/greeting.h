/* What comes before a client's protocol is known. A listener that needs none of it (cleartext HTTP/1 only) goes past this module.
 *
 * Each client that was accepted walks through the phases that its listener is configured with (greeting.c lists them), then h1_accept or h2_accept has it.
 * It has timeouts.header for all of them together, and counts among the clients from the start. */
#ifndef PROXY_GREETING_H
#define PROXY_GREETING_H

#include "proxy/config/config.h"
#include "proxy/request/request.h"

/* Whether clients of that listener are greeted at all. NULL (an admin listener): no. */
bool greeting_is_needed(const struct config_listener *listener);

/* Takes a connection that was just accepted and counted. `listener` is of the worker's present configuration. */
void greeting_start(struct worker *worker, struct connection *connection, const struct config_listener *listener, const union socket_address *peer);

/* Drain: closes those of whom nothing came yet; the others' protocol learns of it. */
void greeting_drain(struct worker *worker);
/* Closes all of this worker. */
void greeting_cut(struct worker *worker);

#endif
