/* What policy needs to know about a stored response and about a request, taken from their fields once.
 *
 * `struct response_meta` is the fixed part of a record, in memory and on disk alike: fixed-width integers, no pointers. */
#ifndef CACHE_POLICY_META_H
#define CACHE_POLICY_META_H

#include "base/clock.h"
#include "base/headers.h"
#include "base/method.h"
#include "cache/policy/cache_control.h"

#include <stdint.h>

enum { META_ABSENT = -1 };

enum response_flag {
    RESPONSE_NO_CACHE = 1 << 0,         /* validate before each use (RFC 9111 §5.2.2.4) */
    RESPONSE_MUST_REVALIDATE = 1 << 1,  /* must-revalidate, proxy-revalidate or s-maxage: never served stale (§4.2.4) */
    RESPONSE_IMMUTABLE = 1 << 2,        /* RFC 8246 */
    RESPONSE_HAS_DATE = 1 << 3,         /* the origin sent a Date; else one is generated */
    RESPONSE_HAS_VALIDATOR = 1 << 4,    /* ETag or Last-Modified */
    RESPONSE_AUTHORIZED = 1 << 5,       /* answered an authenticated request */
};

/* What gave the freshness lifetime. */
enum lifetime_source {
    LIFETIME_NONE, /* nothing did: 0 */
    LIFETIME_S_MAXAGE,
    LIFETIME_MAX_AGE, /* of Cache-Control or of the field in its place */
    LIFETIME_EXPIRES,
    LIFETIME_RULE,      /* the site's, for errors */
    LIFETIME_HEURISTIC, /* our guess */
};

struct response_meta {
    int64_t  request_time_s, response_time_s; /* wall seconds (RFC 9111 §4.2.3) */
    int64_t  date_s;                          /* Date, else response_time_s */
    int64_t  last_modified_s;                 /* META_ABSENT when missing or invalid */
    int64_t  corrected_initial_age_s;         /* §4.2.3 */
    int64_t  lifetime_s;                      /* freshness lifetime, ≥ 0 */
    int64_t  stale_while_revalidate_s;        /* RFC 5861; META_ABSENT */
    int64_t  stale_if_error_s;                /* RFC 5861; META_ABSENT */
    uint32_t flags;                           /* enum response_flag */
    uint16_t status;
    uint8_t  lifetime_source; /* enum lifetime_source */
    uint8_t  reserved;
};

_Static_assert(sizeof(struct response_meta) == 72, "part of the store's format");

struct target;

struct request_meta {
    enum method           method;
    struct cache_control  cache_control;
    bool                  pragma_no_cache;
    bool                  has_authorization;
    const struct headers *fields; /* borrowed */
    const struct target  *target; /* of a POST whose response may be stored; borrowed. request_meta_from: NULL */
};

void request_meta_from(struct request_meta *meta, enum method method, const struct headers *fields);

#endif
