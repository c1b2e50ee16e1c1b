#include "cache/policy/reuse.h"

#include "cache/policy/cookie.h"
#include "cache/policy/freshness.h"

/* RFC 9111 §5.4: Pragma counts only where there is no Cache-Control. */
static bool request_says_no_cache(const struct request_meta *request)
{
    const struct cache_control *cc = &request->cache_control;
    return cc->no_cache || cc->no_cache_names.at || (request->pragma_no_cache && !request->cache_control.is_present);
}

/* The request's own wishes (RFC 9111 §5.2.1) against this response; DETAIL_NONE when they are met. */
static enum cache_detail find_unmet_wish(const struct response_meta *stored, const struct request_meta *request, int64_t age_s,
                                         int64_t ttl_s)
{
    const struct cache_control *cc = &request->cache_control;
    if (request_says_no_cache(request))
        return DETAIL_REQUEST_NO_CACHE;
    /* RFC 8246 §2: reloading, which browsers do by max-age=0, gets nothing newer while an immutable response is fresh. */
    bool is_immutable = (stored->flags & RESPONSE_IMMUTABLE) && ttl_s > 0;
    if (cc->max_age != CC_ABSENT && age_s > cc->max_age && !is_immutable)
        return DETAIL_REQUEST_MAX_AGE;
    if (cc->min_fresh != CC_ABSENT && ttl_s < cc->min_fresh)
        return DETAIL_REQUEST_MIN_FRESH;
    return DETAIL_NONE;
}

/* RFC 9111 §5.2.1.2: stale by no more than the client accepts. */
static bool request_accepts_stale(const struct request_meta *request, int64_t staleness_s)
{
    const struct cache_control *cc = &request->cache_control;
    return cc->max_stale != CC_ABSENT ? staleness_s <= cc->max_stale : cc->max_stale_any;
}

/* A response that is not fresh: whether it may be served while a new one is fetched; DETAIL_NONE when it may not. */
static enum cache_detail find_stale_permission(const struct response_meta *stored, const struct request_meta *request,
                                               const struct site_rules *rules, int64_t staleness_s)
{
    /* RFC 9111 §4.2.4 */
    if (stored->flags & RESPONSE_MUST_REVALIDATE)
        return DETAIL_NONE;
    if (rules->honour_request_directives) {
        const struct cache_control *cc = &request->cache_control;
        if (request_accepts_stale(request, staleness_s))
            return DETAIL_REQUEST_MAX_STALE;
        /* RFC 9111 §5.2.1.1: who names max-age and no max-stale wants nothing stale; who names a max-stale, nothing staler. */
        if (cc->max_age != CC_ABSENT || cc->max_stale != CC_ABSENT)
            return DETAIL_NONE;
    }
    /* RFC 5861 §3: for that many seconds from the moment it became stale, and no longer. */
    return staleness_s < stored->stale_while_revalidate_s ? DETAIL_STALE_WHILE_REVALIDATE : DETAIL_NONE;
}

struct reuse_verdict reuse_decide(const struct response_meta *stored, const struct request_meta *request, const struct site_rules *rules,
                                  struct wall_seconds now)
{
    int64_t age_s = freshness_current_age(stored, now);
    int64_t ttl_s = stored->lifetime_s - age_s;
    struct reuse_verdict verdict = {.reuse = REUSE_REVALIDATE, .fwd = FWD_STALE, .age_s = age_s, .ttl_s = ttl_s};

    if (stored->flags & RESPONSE_NO_CACHE) {
        verdict.detail = DETAIL_NO_CACHE;
        return verdict;
    }
    enum cache_detail unmet = rules->honour_request_directives ? find_unmet_wish(stored, request, age_s, ttl_s) : DETAIL_NONE;
    /* RFC 9111 §4.2: fresh while the lifetime exceeds the age. */
    if (ttl_s > 0) {
        verdict.reuse = unmet == DETAIL_NONE ? REUSE_FRESH : REUSE_REVALIDATE;
        verdict.fwd = unmet == DETAIL_NONE ? FWD_NONE : FWD_REQUEST;
        verdict.detail = unmet;
        return verdict;
    }
    if (unmet == DETAIL_NONE)
        verdict.detail = find_stale_permission(stored, request, rules, -ttl_s);
    if (verdict.detail != DETAIL_NONE)
        verdict.reuse = REUSE_STALE;
    else
        verdict.detail = stored->flags & RESPONSE_HAS_VALIDATOR ? DETAIL_EXPIRED : DETAIL_NO_VALIDATOR;
    return verdict;
}

bool reuse_allowed_on_error(const struct response_meta *stored, const struct request_meta *request, const struct site_rules *rules,
                            struct wall_seconds now)
{
    /* RFC 9111 §4.2.4, §5.2.2.4 */
    if (stored->flags & RESPONSE_NO_CACHE)
        return false;
    if (rules->honour_request_directives && request_says_no_cache(request))
        return false;
    int64_t ttl_s = stored->lifetime_s - freshness_current_age(stored, now);
    if (ttl_s > 0)
        return true;
    if (stored->flags & RESPONSE_MUST_REVALIDATE)
        return false;
    /* RFC 5861 §4: the origin's own limit replaces the site's; a request may ask for more. */
    int64_t window_s = stored->stale_if_error_s != META_ABSENT ? stored->stale_if_error_s : rules->grace_s;
    if (stored->stale_while_revalidate_s > window_s)
        window_s = stored->stale_while_revalidate_s;
    if (rules->honour_request_directives && request->cache_control.stale_if_error > window_s)
        window_s = request->cache_control.stale_if_error;
    return -ttl_s < window_s;
}

/* A protocol other than HTTP/2, whose offer (RFC 7540 §3.2) we never take up. */
static bool request_asks_upgrade(const struct headers *fields)
{
    const struct header *upgrade = headers_find(fields, HEADER_UPGRADE);
    return upgrade && headers_list_has(fields, HEADER_CONNECTION, BYTES("upgrade")) && !bytes_equal_nocase(upgrade->value, BYTES("h2c"));
}

static bool request_has_body(const struct headers *fields)
{
    struct bytes length = headers_value(fields, HEADER_CONTENT_LENGTH);
    return headers_find(fields, HEADER_TRANSFER_ENCODING) || (length.at && !bytes_equal(length, BYTES("0")));
}

enum request_disposition request_decide(const struct request_meta *request, const struct site_rules *rules, enum fwd_reason *fwd,
                                        enum cache_detail *detail)
{
    *fwd = FWD_BYPASS;
    if (request->method != METHOD_GET && request->method != METHOD_HEAD) {
        *fwd = FWD_METHOD;
        *detail = DETAIL_METHOD;
        return REQUEST_PASS;
    }
    if (request_asks_upgrade(request->fields)) {
        *detail = DETAIL_BYPASS_UPGRADE;
        return REQUEST_PASS;
    }
    if (request_has_body(request->fields)) {
        *detail = DETAIL_REQUEST_BODY;
        return REQUEST_PASS;
    }
    if (cookie_has_any(request->fields, &rules->bypass_cookies)) {
        *detail = DETAIL_COOKIE;
        return REQUEST_PASS;
    }
    if (rules->honour_request_directives && request->cache_control.no_store) {
        *fwd = FWD_REQUEST;
        *detail = DETAIL_REQUEST_NO_STORE;
        return REQUEST_PASS;
    }
    *fwd = FWD_NONE;
    *detail = DETAIL_NONE;
    return REQUEST_LOOKUP;
}
