/* May this response be stored, and for how long is it fresh? RFC 9111 §3. Pure. */
#ifndef CACHE_POLICY_STORABLE_H
#define CACHE_POLICY_STORABLE_H

#include "cache/policy/detail.h"
#include "cache/policy/meta.h"
#include "cache/policy/rules.h"

struct store_verdict {
    bool              store;
    enum cache_detail detail; /* why not; DETAIL_NONE when stored */
};

/* Fills *meta in either case (a response that is passed has an age too). What is not fresh on arrival is stored if it can be validated or
 * has a window to be served stale in; what answers the request's own condition or range (304, 412, 416) never is. */
struct store_verdict storable_decide(const struct request_meta *request, unsigned status, const struct headers *response,
                                     const struct site_rules *rules, struct wall_seconds request_time,
                                     struct wall_seconds response_time, struct response_meta *meta);

#endif
