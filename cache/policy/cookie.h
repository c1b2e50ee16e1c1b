/* Cookies of a request (RFC 6265 §4.2.1), where a site's rules name some: other requests' cookies mean nothing to the cache. Pure. */
#ifndef CACHE_POLICY_COOKIE_H
#define CACHE_POLICY_COOKIE_H

#include "base/headers.h"
#include "cache/policy/rules.h"

/* Whether one of the cookies has one of the names. Case counts; a name that ends in "*" stands for all that begin like it. */
bool cookie_has_any(const struct headers *request, const struct rule_names *patterns);

/* Every value of that name in the order sent, joined by ";" (which values cannot hold), since nobody knows which of several an origin takes.
 * In `arena`; BYTES_NONE when there is no such cookie. */
struct bytes cookie_values(const struct headers *request, struct bytes name, struct arena *arena);

#endif
