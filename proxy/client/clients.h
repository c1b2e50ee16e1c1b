/* How many clients there are, whatever they speak: counted from the accept until whoever has the connection by then closes it. */
#ifndef CLIENT_CLIENTS_H
#define CLIENT_CLIENTS_H

#include "proxy/request/request.h"

void clients_count_accepted(struct worker *worker, enum listener_kind kind);
void clients_count_closed(struct worker *worker, enum listener_kind kind);

/* Client connections of all loops that came by public listeners: what limits.connections bounds. Any thread. */
unsigned clients_public(void);

#endif
