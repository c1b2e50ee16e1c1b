/* See clients.h. */
#include "proxy/client/clients.h"

static _Atomic unsigned public_clients; /* of all loops */

unsigned clients_public(void)
{
    return atomic_load_explicit(&public_clients, memory_order_relaxed);
}

bool clients_take_enough(const struct config *config, int64_t taken_bytes)
{
    return taken_bytes > 0 && (uint64_t)taken_bytes >= config->write_min_rate * (uint64_t)config->write_stall_timeout_ms / 1000;
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
