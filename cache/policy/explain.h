/* The arithmetic of freshness in sentences, for people (outriggerctl why). Pure; all texts lie in `arena`. */
#ifndef CACHE_POLICY_EXPLAIN_H
#define CACHE_POLICY_EXPLAIN_H

#include "base/arena.h"
#include "cache/policy/meta.h"

/* "s-maxage", "max-age", "Expires", "site rule", "heuristic", "none": what gave the lifetime. */
const char *lifetime_source_word(enum lifetime_source source);

/* RFC 9111 §4.2.1: the lifetime, and what gave it. */
struct bytes explain_lifetime(const struct response_meta *meta, struct arena *arena);
/* §4.2.3: the age now, as the sum that it is. */
struct bytes explain_age(const struct response_meta *meta, struct wall_seconds now, struct arena *arena);
/* §4.2: lifetime − age. */
struct bytes explain_freshness(const struct response_meta *meta, struct wall_seconds now, struct arena *arena);
/* When it may be served stale: RFC 5861, §4.2.4. `grace_s` is the site's. */
struct bytes explain_stale_windows(const struct response_meta *meta, int64_t grace_s, struct arena *arena);

#endif
