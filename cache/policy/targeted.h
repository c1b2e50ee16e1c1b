/* Which field of a response governs how it is cached: Cache-Control and Expires, or one that is addressed to caches like this one. Pure.
 *
 * In this order, the first that is there and valid governs alone, and the others (Cache-Control and Expires too) mean nothing here:
 *   the site's targeted fields (RFC 9213 §2.2), in the order in which they are configured
 *   Surrogate-Control, where the site honours it; its syntax is taken to be Cache-Control's
 *   X-Accel-Expires, where the site honours it: seconds, 0 = not to be stored, @ = seconds since 1970 */
#ifndef CACHE_POLICY_TARGETED_H
#define CACHE_POLICY_TARGETED_H

#include "cache/policy/cache_control.h"
#include "cache/policy/rules.h"

enum control_source {
    CONTROL_CACHE_CONTROL, /* and Expires */
    CONTROL_TARGETED,
    CONTROL_SURROGATE,
    CONTROL_ACCEL_EXPIRES,
};

struct response_control {
    struct cache_control cc;
    enum control_source  source;
};

/* Several lines of a targeted field are joined in the section's arena. `date_s`: when the response was sent. */
void response_control_from(struct response_control *out, const struct headers *response, const struct site_rules *rules, int64_t date_s);

/* Fields meant for this cache alone, where the site honours them: clients never see them. */
bool field_is_for_us(enum header_id id, const struct site_rules *rules);

#endif
