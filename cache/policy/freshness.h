/* Age and freshness lifetime, RFC 9111 §4.2. Pure. */
#ifndef CACHE_POLICY_FRESHNESS_H
#define CACHE_POLICY_FRESHNESS_H

#include "cache/policy/meta.h"
#include "cache/policy/rules.h"
#include "cache/policy/targeted.h"

/* §4.2.3 corrected_initial_age, from Age, Date and the two times; ≥ 0, saturating. */
int64_t freshness_initial_age(const struct headers *response, struct wall_seconds request_time, struct wall_seconds response_time);

/* When the response was sent: Date, else when it was received (RFC 9110 §6.6.1). */
int64_t freshness_date(const struct headers *response, struct wall_seconds response_time);

/* §4.2.1: s-maxage, else max-age, else Expires − Date, else the site's rule for errors, else the heuristic of §4.2.2 when `status` allows it.
 * CC_ABSENT, and LIFETIME_NONE, when nothing tells. */
int64_t freshness_lifetime(const struct response_control *control, unsigned status, const struct headers *response, const struct site_rules *rules,
                           struct wall_seconds response_time, enum lifetime_source *source);

/* §4.2.3 current_age at `now`; a clock that ran backwards gives the initial age. */
int64_t freshness_current_age(const struct response_meta *meta, struct wall_seconds now);

/* Makes it stale as of `then`, if it would not be by then: a soft purge. */
void freshness_end(struct response_meta *meta, struct wall_seconds then);

/* RFC 9110 §15.1: 200 203 204 206 300 301 308 404 405 410 414 501. */
bool status_is_heuristically_cacheable(unsigned status);

#endif
