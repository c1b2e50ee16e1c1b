/* Connections to one address of an origin, and those of them that are kept for the next request.
 *
 * An upstream is one connection. Phases: upstream_connect → (connected) → busy → pool_keep → idle → pool_take → busy … → upstream_close.
 * Invariants: 1. an idle one has nothing unread (what arrives on it closes it); 2. at most `limit` idle ones an endpoint; last in, first
 * out, so that the surplus ages; 3. an endpoint lives as long as something refers to it. All on one loop. */
#ifndef ORIGIN_POOL_H
#define ORIGIN_POOL_H

#include "base/list.h"
#include "proxy/net/connection.h"
#include "proxy/observe/counters.h"
#include "proxy/origin/balance.h"

/* What the connections of one origin have in common. Borrowed by its endpoints; the origin outlives them. */
struct pool_settings {
    struct loop       *loop;
    struct counters   *counters;
    struct tls_client *tls;      /* NULL: plaintext */
    struct bytes       tls_name; /* of the server, to ask for and to expect */
    unsigned         limit;
    int64_t          idle_ms;
    bool             closed;     /* retired: nothing is kept any more */
    unsigned         idle, busy; /* connections, for the statistics */
};

struct endpoint {
    struct pool_settings *settings;
    union socket_address  address;
    socklen_t             length;
    char                  text[64]; /* "127.0.0.1:3000", "[::1]:3000" */
    unsigned              refs;
    bool                  gone; /* its name does not resolve to it any more */
    struct health         health;
    struct list           idle; /* latest first */
    unsigned              idle_count;
};

struct endpoint *endpoint_new(struct pool_settings *settings, const union socket_address *address, socklen_t length);
struct endpoint *endpoint_ref(struct endpoint *endpoint);
void             endpoint_unref(struct endpoint **endpoint);
/* Closes the idle connections and keeps none from now on. */
void             endpoint_retire(struct endpoint *endpoint);

struct upstream {
    struct connection *connection;
    struct endpoint   *endpoint; /* a reference */
    bool               reused;
    int64_t            kept_ms;  /* how long the origin keeps it while it is idle; INT64_MAX: unknown */
    struct list        link;     /* idle: in endpoint->idle */
    struct deadline    deadline; /* idle */
};

/* Begins to connect; NULL: no descriptor left. */
struct upstream *upstream_connect(struct endpoint *endpoint, const struct connection_events *events, void *owner);
/* Nulls. */
void upstream_close(struct upstream **upstream);
/* The connection goes its own way (a tunnel). Nulls. */
struct connection *upstream_release(struct upstream **upstream);

/* The latest idle connection that is fit for use, or NULL. */
struct upstream *pool_take(struct endpoint *endpoint, const struct connection_events *events, void *owner);
/* After a whole response; closes it when it may not be kept. It is kept for less time than the origin does (`kept_ms`): what is sent when the
 * origin closes is lost, and not everything can be sent again. Nulls. */
void pool_keep(struct upstream **upstream);
void pool_close_idle(struct endpoint *endpoint);

#endif
