/* See clients.h. */
#include "proxy/client/clients.h"

static _Atomic unsigned public_clients; /* of all loops */

unsigned clients_public(void)
{
    return atomic_load_explicit(&public_clients, memory_order_relaxed);
}

void clients_count_accepted(struct worker *worker, enum listener_kind kind)
{
    worker->connections++;
    if (kind == LISTENER_PUBLIC)
        atomic_fetch_add_explicit(&public_clients, 1, memory_order_relaxed);
    counter_add(worker->counters, COUNTER_CLIENT_CONNECTIONS, 1);
}

void clients_count_closed(struct worker *worker, enum listener_kind kind)
{
    worker->connections--;
    if (kind == LISTENER_PUBLIC)
        atomic_fetch_sub_explicit(&public_clients, 1, memory_order_relaxed);
    counter_add(worker->counters, COUNTER_CLIENT_CONNECTIONS_CLOSED, 1);
}
