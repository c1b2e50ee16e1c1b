/* Which stored responses an unsafe request makes invalid, RFC 9111 §4.4. Pure. */
#ifndef CACHE_POLICY_INVALIDATE_H
#define CACHE_POLICY_INVALIDATE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/headers.h"
#include "base/method.h"
#include "cache/policy/rules.h"

#include <stdbool.h>

/* Unsafe method and a non-error (2xx or 3xx) final status. */
bool invalidates_target(enum method method, unsigned status);

/* A request's target, and what a field of its response refers to. */
struct target {
    struct bytes scheme, host; /* host with its port, as in Host */
    struct bytes path, query;  /* query absent when there is no "?" */
};

/* Resolves a URI reference (Location, Content-Location) against `base` (RFC 3986 §5.2), in `arena`. False when it is none, or of another origin, of which
 * nothing may be invalidated (§4.4): an origin has the scheme, the host and the port (RFC 9110 §4.3.1). The fragment is dropped. */
bool resolve_same_origin(struct bytes reference, const struct target *base, struct arena *arena, struct target *result);

/* Whether Content-Location says that the response is what the target stands for (RFC 9110 §8.7), parameters of the query that the site's rules leave out aside.
 * `target`: with its query after these rules. */
bool content_location_is_target(const struct headers *response, const struct target *target, const struct query_rules *rules);

#endif
