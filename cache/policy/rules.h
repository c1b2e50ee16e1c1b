/* What a site's owner may decide about caching; filled from the configuration, read by every policy function. Immutable, and it outlives its requests. */
#ifndef CACHE_POLICY_RULES_H
#define CACHE_POLICY_RULES_H

#include "base/bytes.h"
#include "base/status_ttl.h"

#include <stdbool.h>
#include <stdint.h>

/* Names that a rule lists; borrowed from the configuration. */
struct rule_names {
    const struct bytes *at;
    unsigned            count;
};

/* Which parameters of the query belong to the key (key_rules.h). What does not is not forwarded either. */
struct query_rules {
    struct rule_names ignore, keep; /* names; one that ends in "*" stands for all that begin so */
    bool              keeps_only;   /* only what `keep` names; else all but what `ignore` names */
    bool              sort;         /* by name: the order in which a client writes them does not matter */
};

struct site_rules {
    uint64_t slice_bytes; /* large responses are fetched and stored in slices of this size, as they are asked for; 0: always whole */
    bool    honour_request_directives; /* clients' Cache-Control and Pragma; default off: a client cannot force a miss */
    bool    store_set_cookie;          /* store a response with Set-Cookie when it says public or s-maxage (HARDENING: cache) */
    bool    early_hints;               /* what a 103 said before a response that is stored is said again to those who get that */
    bool    strip_tags;                /* Surrogate-Key, Cache-Tag and xkey are kept to ourselves */
    bool    hide_hsts;                 /* the origin's Strict-Transport-Security: this side sends its own */
    int64_t heuristic_max_s;           /* cap of RFC 9111 §4.2.2's 10 % of the Last-Modified age; 0: no heuristic freshness */
    int64_t hit_for_miss_s;            /* how long a key is remembered whose response was not to be stored */
    int64_t grace_s;                   /* stale answers while the origin is in trouble, where the response does not forbid it */

    struct rule_names targeted; /* fields that govern this cache in place of Cache-Control, the most preferred first (RFC 9213 §2.2) */
    bool surrogate_control;     /* Surrogate-Control governs where no targeted field does */
    bool accel_expires;         /* X-Accel-Expires governs where none of these does */

    struct query_rules query;
    struct rule_names bypass_cookies; /* a request with one of these is passed; a name may end in "*" */
    struct rule_names key_cookies;    /* the values of these select among stored responses, as fields named by Vary do */

    const struct status_ttl *errors; /* lifetimes of errors that come without one */
    unsigned                 error_count;
};

#endif
