/* What one event loop has to serve requests with. One per loop; everything in it belongs to that loop, except the cache, which is shared and locks itself. */
#ifndef REQUEST_WORKER_H
#define REQUEST_WORKER_H

#include "base/list.h"
#include "cache/cache.h"
#include "helpers/disk_client.h"
#include "helpers/log_client.h"
#include "helpers/resolver_client.h"
#include "proxy/config/config.h"
#include "proxy/net/loop.h"
#include "proxy/observe/counters.h"
#include "proxy/observe/live.h"
#include "proxy/observe/top.h"

struct admin;
struct h1_clients;
struct tls_server;
struct h2_clients;
struct origin_tls;
struct routes;
struct request;

struct worker {
    struct loop            *loop;
    struct cache           *cache;    /* shared by all loops */
    struct disk_io         *disk_io;  /* to the cache's records on disk; NULL: there is no disk tier */
    struct visitor         *visitor;  /* to that; NULL: its hits take references */
    struct counters        *counters;
    struct top      *top;      /* what is asked for most */
    struct live     *live;     /* what ends now, for those who look */
    struct disk_client     *disk;
    struct resolver_client *resolver;
    struct log_client      *log;
    struct admin           *admin;    /* only on the loop that serves the admin listeners, else NULL */
    const struct origin_tls *origin_tls; /* of the configuration that worker_configure is given; until that returns */
    struct config          *config;   /* current generation; a reference */
    struct routes          *routes;   /* of that generation, on this loop */
    struct tls_server      *tls;      /* of that generation; a reference; NULL: no listener needs it */
    /* The requests' own: see request.c */
    struct list requests; /* alive */
    struct list spare;    /* cleared, to be used again */
    unsigned    spare_count;
    unsigned    connections; /* clients of this loop */
    struct list greetings; /* clients whose protocol is not known yet: proxy/greeting's own */
    struct h1_clients *clients; /* proxy/client's own; NULL until the first one comes */
    struct h2_clients *h2;      /* likewise */
    void (*tell_heir)(struct bytes key, struct bytes group); /* the instance that has taken over; see boot/heir.h; NULL: there never is one; immutable */
    bool        draining;    /* listeners are closed */
    bool        ends_keep_alive; /* while it drains, and when memory is short */
    bool        refuses_misses;  /* memory is very short: origins are asked for nothing more */
    bool        serves_one;  /* client at a time: accepts the next when that has gone; immutable */
    bool        composes_heads; /* for each response anew (`without: header`); immutable */
};

/* The pointers to loop, cache, counters and clients, serves_one and composes_heads are the caller's to fill in; this sets up the rest. */
void worker_init(struct worker *worker);
/* Lets go of the configuration and the spare requests. No request may be alive. */
void worker_clear(struct worker *worker);

/* Makes `config` (a reference is taken) the current generation of this loop: requests under way finish with theirs. On the loop. */
void worker_configure(struct worker *worker, struct config *config);

#endif
