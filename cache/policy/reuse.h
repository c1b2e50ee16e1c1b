/* May this stored response answer this request now? RFC 9111 §4. Pure. */
#ifndef CACHE_POLICY_REUSE_H
#define CACHE_POLICY_REUSE_H

#include "cache/policy/detail.h"
#include "cache/policy/meta.h"
#include "cache/policy/rules.h"

enum reuse {
    REUSE_FRESH,      /* as it is */
    REUSE_STALE,      /* as it is, and revalidate in the background (stale-while-revalidate, or max-stale where honoured) */
    REUSE_REVALIDATE, /* validate with the origin first (or fetch anew when it has no validator) */
};

struct reuse_verdict {
    enum reuse        reuse;
    enum fwd_reason   fwd;    /* when not REUSE_FRESH: stale or request */
    enum cache_detail detail;
    int64_t           age_s, ttl_s; /* ttl = lifetime − age */
};

/* The request's directives count only where the site honours them. stale-while-revalidate covers [expiry, expiry + window): at its end, and
 * with a window of 0, nothing stale is served. */
struct reuse_verdict reuse_decide(const struct response_meta *stored, const struct request_meta *request, const struct site_rules *rules,
                                  struct wall_seconds now);

/* Whether it may be served although the origin failed: RFC 5861 §4 stale-if-error or the site's grace, unless §4.2.4 forbids. A
 * stale-if-error of the response replaces the grace, be it shorter; the windows are half open as above. */
bool reuse_allowed_on_error(const struct response_meta *stored, const struct request_meta *request, const struct site_rules *rules,
                            struct wall_seconds now);

enum request_disposition {
    REQUEST_LOOKUP, /* may be answered from the cache, may fill it */
    REQUEST_PASS,   /* straight to the origin, nothing stored */
};

/* Before any lookup: by method, no-store and so on. `*fwd` and `*detail` say why for REQUEST_PASS. */
enum request_disposition request_decide(const struct request_meta *request, const struct site_rules *rules, enum fwd_reason *fwd,
                                        enum cache_detail *detail);

#endif
