/* May this response be stored, and for how long is it fresh? RFC 9111 §3. Pure. */
#ifndef CACHE_POLICY_STORABLE_H
#define CACHE_POLICY_STORABLE_H

#include "cache/policy/detail.h"
#include "cache/policy/meta.h"
#include "cache/policy/rules.h"

struct store_verdict {
    bool              store;
    enum cache_detail detail; /* why not; DETAIL_NONE when stored */
    struct bytes      no_cache_names, private_names; /* of fields that are not stored with it; borrowed from the response */
};

/* Fills *meta in either case (a response that is passed has an age too). What is not fresh on arrival is stored if it can be validated or
 * has a window to be served stale in; what answers the request's own condition or range (304, 412, 416) never is. */
struct store_verdict storable_decide(const struct request_meta *request, unsigned status, const struct headers *response,
                                     const struct site_rules *rules, struct wall_seconds request_time,
                                     struct wall_seconds response_time, struct response_meta *meta);

/* RFC 9111 §5.2.2.4, §5.2.2.7: a field named by no-cache or private is for the one who asked first. */
bool storable_keeps_field(const struct store_verdict *verdict, struct bytes name);

/* Of a 103: what concerns the page whoever asks for it, and is of use before the page is there (RFC 8297 §2): Link and Content-Security-Policy. */
bool storable_keeps_hint(const struct header *field);

/* Whether `newer`, which may be stored, takes the place of what is stored already: an error never does that to a success, unless it is no trouble
 * of the origin's (such as 404) and says itself how long it is fresh (HARDENING: cache). */
bool storable_replaces(const struct response_meta *stored, const struct response_meta *newer);

/* RFC 5861 §4: 500, 502, 503, 504. */
bool status_is_origin_error(unsigned status);

/* Whether the response forbids to keep it whoever asked: a 304 that says so ends what is stored (RFC 9111 §3.2). */
bool detail_is_of_response(enum cache_detail detail);

/* Whether `newer`, which is not stored for that reason, ends what is stored all the same: the origin has something else for everybody by now, and nobody would
 * get it as long as the stored one may be served stale. Not an error that could not take its place either. */
bool storable_ends(const struct response_meta *stored, const struct response_meta *newer, enum cache_detail detail);

/* Whether it says something about the next response under the same key too: that waiting for it will be in vain (hit-for-miss). */
bool detail_will_last(enum cache_detail detail);

#endif
