/* The addresses of one origin: a literal, or a name that is resolved by the resolver helper again and again.
 *
 * The answer is kept for its TTL, within the configured bounds, and renewed before it ends. While DNS fails the last good answer goes on
 * being used (RFC 8767); a failure is not asked about again for a while (RFC 9520). An answer that the name does not exist is an answer:
 * then there are none. */
#ifndef ORIGIN_ADDRESSES_H
#define ORIGIN_ADDRESSES_H

#include "helpers/resolver_client.h"
#include "proxy/origin/pool.h"

struct addresses_settings {
    struct resolver_client *resolver;
    int64_t ttl_min_s, ttl_max_s, failure_ttl_s;
};

enum addresses_state { ADDRESSES_UNKNOWN, ADDRESSES_KNOWN, ADDRESSES_FAILED };

struct addresses {
    struct pool_settings            *pool; /* also for the loop and the counters */
    const struct addresses_settings *settings;
    struct bytes                     host;
    uint16_t                         port;
    enum addresses_state             state;
    struct endpoint                 *endpoints[RESOLVE_ADDRESSES_MAX]; /* address families take turns (RFC 8305 §4) */
    unsigned                         count;
    unsigned                         cursor; /* balance */
    struct list                      waiters;
    struct resolve_request           request;
    bool                             resolving;
    bool                             failing; /* said so in the log */
    struct deadline                  renewal;
};

/* Begins to resolve. `host` and the settings are borrowed. */
void addresses_init(struct addresses *addresses, struct pool_settings *pool, const struct addresses_settings *settings, struct bytes host, uint16_t port);
/* Until its own answer comes, `addresses` uses what `before` knows of the same name: a reload neither waits for name servers nor depends on them. */
void addresses_inherit(struct addresses *addresses, const struct addresses *before);
/* Nobody may be waiting. */
void addresses_clear(struct addresses *addresses);
/* Closes idle connections. */
void addresses_retire(struct addresses *addresses);

struct addresses_waiter {
    struct list link;
    void (*known)(struct addresses_waiter *waiter); /* the state is not UNKNOWN any more */
};

/* In ADDRESSES_UNKNOWN only. */
void addresses_wait(struct addresses *addresses, struct addresses_waiter *waiter);
/* Harmless when it is not waiting; `link` must have been initialised. */
void addresses_leave(struct addresses_waiter *waiter);

/* Every endpoint, in the order in which they are to be tried now (balance.h). Returns how many. */
unsigned addresses_order(struct addresses *addresses, int64_t down_ms, struct endpoint *out[RESOLVE_ADDRESSES_MAX]);

#endif
