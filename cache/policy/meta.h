/* What policy needs to know about a stored response and about a request, taken from their fields once.
 *
 * `struct response_meta` is what a record keeps of it (cache/object.h), in memory and on disk alike: fixed widths, no pointers, and no wider than a million of
 * them have to be. Date and Last-Modified are not in it: who compares them reads them in the stored fields (validators_of). */
#ifndef CACHE_POLICY_META_H
#define CACHE_POLICY_META_H

#include "base/clock.h"
#include "base/headers.h"
#include "base/method.h"
#include "cache/policy/cache_control.h"

#include <stddef.h>
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
    int64_t  response_time_s : 40; /* wall seconds (RFC 9111 §4.2.3) */
    uint64_t status : 10;
    uint64_t lifetime_source : 3;      /* enum lifetime_source */
    uint64_t flags : 11;               /* enum response_flag */
    uint32_t corrected_initial_age_s;  /* §4.2.3 */
    uint32_t lifetime_s;               /* freshness lifetime */
    /* Few responses have one of them: META_COMMON_BYTES ends here. */
    int32_t  stale_while_revalidate_s; /* RFC 5861; META_ABSENT */
    int32_t  stale_if_error_s;         /* RFC 5861; META_ABSENT */
};

enum { META_COMMON_BYTES = offsetof(struct response_meta, stale_while_revalidate_s) };

_Static_assert(META_COMMON_BYTES == 16 && sizeof(struct response_meta) == 24, "part of the store's format");

/* RFC 9111 §1.2.2: a window that is longer than can be kept is as long as can be. META_ABSENT stays. */
static inline int32_t meta_window(int64_t seconds)
{
    return seconds < INT32_MAX ? (int32_t)seconds : INT32_MAX;
}

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
