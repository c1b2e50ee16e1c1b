/* Cache-Control (RFC 9111 §5.2), parsed strictly by directive, never by substring. */
#ifndef CACHE_POLICY_CACHE_CONTROL_H
#define CACHE_POLICY_CACHE_CONTROL_H

#include "base/headers.h"

#include <stdbool.h>
#include <stdint.h>

enum { CC_ABSENT = -1 };

struct cache_control {
    bool no_store, no_cache, is_private, is_public, must_revalidate, proxy_revalidate, no_transform, must_understand, immutable;
    bool only_if_cached, max_stale_any; /* request; max_stale_any: max-stale without a value */
    bool no_cache_fields, private_fields; /* the directive named fields; the names are not a reason to store more */
    /* Seconds, capped at 2^31 (RFC 9111 §1.2.2); CC_ABSENT; an unparsable value counts as 0 (§4.2.1: stale). */
    int64_t max_age, s_maxage, stale_while_revalidate, stale_if_error, min_fresh, max_stale;
    bool is_present; /* the field was there at all */
};

/* Combines every Cache-Control line. Never fails: what cannot be parsed is ignored or counts as stale, as the RFC says,
 * and a malformed line keeps its restrictions. Of repeated numbers the first counts, unless any of them is invalid. */
void cache_control_parse(struct cache_control *out, const struct headers *fields, enum header_id id);

#endif
