/* How many clients there are, whatever they speak: counted from the accept until whoever has the connection by then closes it. */
#ifndef CLIENT_CLIENTS_H
#define CLIENT_CLIENTS_H

#include "proxy/request/request.h"

void clients_count_accepted(struct worker *worker, enum listener_kind kind);
void clients_count_closed(struct worker *worker, enum listener_kind kind);

/* Client connections of all loops that came by public listeners: what limits.connections bounds. Any thread. */
unsigned clients_public(void);

/* Whether a client of whom more was wanted all through timeouts.write_stall has taken enough of his responses in that time. */
bool clients_take_enough(const struct config *config, int64_t taken_bytes);

#endif
