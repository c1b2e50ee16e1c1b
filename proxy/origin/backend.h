/* What an origin is made of; for the files of this directory only. */
#ifndef ORIGIN_BACKEND_H
#define ORIGIN_BACKEND_H

#include "proxy/origin/addresses.h"
#include "proxy/origin/origin.h"

/* One of the origins of a site. */
struct backend {
    const struct config_origin *config;
    struct health               health;    /* http: whether any of its addresses could be connected to */
    struct pool_settings        pool;      /* http only, as… */
    struct addresses            addresses;
    uint64_t                    figures[ORIGIN_ACTIVE]; /* enum origin_figure: those that only grow */
};

struct origin {
    struct origin_context     context;
    struct config            *config; /* a reference */
    const struct config_site *site;
    struct backend           *backends;
    struct health           **healths; /* of the backends */
    unsigned                  backend_count;
    unsigned                  cursor;  /* balance */
    unsigned                  fetches; /* under way; with the owner, what keeps it alive */
    bool                      retired;
    struct tls_client        *tls; /* a reference; NULL: no https:// origin */
    struct addresses_settings addresses;
};

/* Of a fetch that ends. */
void origin_fetch_gone(struct origin *origin);

#endif
