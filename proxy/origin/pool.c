/* See pool.h. */
#include "proxy/origin/pool.h"

#include <stdio.h>
#include <stdlib.h>

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort(); /* as arenas do: for some hundred bytes nothing better is left */
    return memory;
}

struct endpoint *endpoint_new(struct pool_settings *settings, const union socket_address *address, socklen_t length)
{
    struct endpoint *endpoint = allocate(sizeof(*endpoint));
    endpoint->settings = settings;
    endpoint->address = *address;
    endpoint->length = length;
    endpoint->refs = 1;
    list_init(&endpoint->idle);
    bool is_v6 = address->any.sa_family == AF_INET6;
    char host[INET6_ADDRSTRLEN + 1];
    size_t len = socket_address_format(address, host, sizeof(host));
    snprintf(endpoint->text, sizeof(endpoint->text), is_v6 ? "[%.*s]:%u" : "%.*s:%u", (int)len, host,
             ntohs(is_v6 ? address->in6.sin6_port : address->in.sin_port));
    return endpoint;
}

struct endpoint *endpoint_ref(struct endpoint *endpoint)
{
    endpoint->refs++;
    return endpoint;
}

void endpoint_unref(struct endpoint **at)
{
    struct endpoint *endpoint = *at;
    *at = NULL;
    if (--endpoint->refs == 0)
        free(endpoint);
}

void endpoint_retire(struct endpoint *endpoint)
{
    endpoint->gone = true;
    pool_close_idle(endpoint);
}

struct upstream *upstream_connect(struct endpoint *endpoint, const struct connection_events *events, void *owner)
{
    struct pool_settings *settings = endpoint->settings;
    struct connection *connection = connection_connect(settings->loop, &endpoint->address, endpoint->length, events, owner);
    if (!connection)
        return NULL;
    struct upstream *upstream = allocate(sizeof(*upstream));
    upstream->connection = connection;
    upstream->endpoint = endpoint_ref(endpoint);
    upstream->kept_ms = INT64_MAX;
    list_init(&upstream->link);
    settings->busy++;
    counter_add(settings->counters, COUNTER_ORIGIN_CONNECTIONS, 1);
    return upstream;
}

struct connection *upstream_release(struct upstream **at)
{
    struct upstream *upstream = *at;
    struct connection *connection = upstream->connection;
    *at = NULL;
    upstream->endpoint->settings->busy--;
    counter_add(upstream->endpoint->settings->counters, COUNTER_ORIGIN_CONNECTIONS_CLOSED, 1);
    endpoint_unref(&upstream->endpoint);
    free(upstream);
    return connection;
}

void upstream_close(struct upstream **at)
{
    struct connection *connection = upstream_release(at);
    connection_close(&connection);
}

static struct upstream *leave_idle(struct upstream *upstream)
{
    list_remove(&upstream->link);
    deadline_clear(&upstream->deadline);
    upstream->endpoint->idle_count--;
    upstream->endpoint->settings->idle--;
    upstream->endpoint->settings->busy++;
    return upstream;
}

static void drop_idle(struct upstream *upstream)
{
    leave_idle(upstream);
    upstream_close(&upstream);
}

/* The origin closed it, or spoke out of turn: either way it is of no more use. But what TLS says for itself (session tickets) is no such thing. */
static void idle_readable(void *owner)
{
    struct upstream *upstream = owner;
    if (connection_has_input(upstream->connection))
        drop_idle(upstream);
}

static void idle_expired(struct deadline *deadline)
{
    drop_idle(LIST_OWNER(deadline, struct upstream, deadline));
}

static const struct connection_events idle_events = {.readable = idle_readable};

struct upstream *pool_take(struct endpoint *endpoint, const struct connection_events *events, void *owner)
{
    while (!list_is_empty(&endpoint->idle)) {
        struct upstream *upstream = leave_idle(LIST_OWNER(endpoint->idle.next, struct upstream, link));
        if (connection_has_input(upstream->connection)) {
            upstream_close(&upstream);
            continue;
        }
        upstream->reused = true;
        connection_set_owner(upstream->connection, events, owner);
        counter_add(endpoint->settings->counters, COUNTER_ORIGIN_REUSES, 1);
        return upstream;
    }
    return NULL;
}

/* Less than the origin's by a second, in which a request gets there, or by half of it where that is less. */
static int64_t idle_ms_of(const struct upstream *upstream)
{
    int64_t limit_ms = upstream->endpoint->settings->idle_ms, kept_ms = upstream->kept_ms;
    int64_t safe_ms = kept_ms - (kept_ms < 2000 ? kept_ms / 2 : 1000);
    return safe_ms < limit_ms ? safe_ms : limit_ms;
}

void pool_keep(struct upstream **at)
{
    struct upstream *upstream = *at;
    struct endpoint *endpoint = upstream->endpoint;
    struct pool_settings *settings = endpoint->settings;
    int64_t idle_ms = idle_ms_of(upstream);
    if (endpoint->gone || settings->closed || settings->limit == 0 || idle_ms <= 0) {
        upstream_close(at);
        return;
    }
    *at = NULL;
    if (endpoint->idle_count == settings->limit)
        drop_idle(LIST_OWNER(endpoint->idle.prev, struct upstream, link));
    list_push_front(&endpoint->idle, &upstream->link);
    endpoint->idle_count++;
    settings->idle++;
    settings->busy--;
    connection_set_owner(upstream->connection, &idle_events, upstream);
    connection_want(upstream->connection, WANT_READ);
    loop_set_deadline(settings->loop, &upstream->deadline, idle_ms, idle_expired);
}

void pool_close_idle(struct endpoint *endpoint)
{
    while (!list_is_empty(&endpoint->idle))
        drop_idle(LIST_OWNER(endpoint->idle.next, struct upstream, link));
}
