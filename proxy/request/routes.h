/* Which site answers a host name: one generation of the configuration on one loop.
 *
 * Counted by hand, not atomically: routes belong to one loop. The last reference (the worker's or a request's) retires the origins. */
#ifndef REQUEST_ROUTES_H
#define REQUEST_ROUTES_H

#include "cache/policy/rules.h"
#include "proxy/config/config.h"
#include "proxy/origin/origin.h"
#include "proxy/request/worker.h"

struct site {
    const struct config_site *config;
    struct site_rules         rules;
    struct origin            *origin; /* NULL on the admin interface's loop */
    struct origin            *challenges; /* the directory that answers those of certificate authorities; NULL: the origin does */
};

struct routes {
    unsigned       references;
    struct config *config; /* a reference */
    struct site   *sites;
    unsigned       site_count;
    struct route  *exact; /* open addressing by host */
    unsigned       exact_mask;
    struct route  *wildcards; /* longest suffix first */
    unsigned       wildcard_count;
    struct site   *any;
    struct {
        const struct site *site; /* NULL: none yet */
        unsigned           host_len;
        char               host[64];
    } last; /* found; as it was spelled */
};

struct routes *routes_new(struct worker *worker, struct config *config);
/* Of routes that have just been made: their origins take over what those of the generation before know. */
void           routes_inherit(struct routes *routes, const struct routes *before);
struct routes *routes_ref(struct routes *routes);
void           routes_unref(struct routes **routes);

/* `host` as in Host: any case, port allowed. Exact name, then the longest wildcard ("*.example.org" stands for any number of labels), then "*"; else NULL. */
const struct site *routes_find(struct routes *routes, struct bytes host);

#endif
