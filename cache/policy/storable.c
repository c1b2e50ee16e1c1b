#include "cache/policy/storable.h"

#include "base/http_date.h"
#include "cache/policy/cookie.h"
#include "cache/policy/freshness.h"
#include "cache/policy/invalidate.h"
#include "cache/policy/validate.h"
#include "cache/policy/vary.h"

/* The final statuses of RFC 9110 §15 whose requirements on caches are met here; 206 and 304 never come so far. */
static bool status_is_understood(unsigned status)
{
    return (status >= 200 && status <= 205) || (status >= 300 && status <= 303) || status == 305 || status == 307 || status == 308 ||
           (status >= 400 && status <= 417) || status == 421 || status == 422 || status == 426 || (status >= 500 && status <= 505);
}

static bool is_named(const struct cache_control *cc, struct bytes name)
{
    return bytes_list_has(cc->no_cache_names, name) || bytes_list_has(cc->private_names, name);
}

/* What is not stored with the response (RFC 9111 §3.1, §5.2.2.4, §5.2.2.7) validates nothing. */
static struct bytes kept_value(const struct headers *response, const struct cache_control *cc, enum header_id id)
{
    const struct header *field = headers_find(response, id);
    bool is_kept = field != NULL && !header_is_hop_by_hop(field, response) && !is_named(cc, field->name);
    return is_kept ? field->value : BYTES_NONE;
}

static void fill_meta(struct response_meta *meta, const struct cache_control *cc, const struct request_meta *request, unsigned status,
                      const struct headers *response, struct wall_seconds request_time, struct wall_seconds response_time)
{
    *meta = (struct response_meta){
        .response_time_s = response_time.s,
        .corrected_initial_age_s = (uint32_t)freshness_initial_age(response, request_time, response_time),
        .stale_while_revalidate_s = meta_window(cc->stale_while_revalidate),
        .stale_if_error_s = meta_window(cc->stale_if_error),
        .status = status & 1023,
    };
    struct wall_seconds date;
    struct bytes value = headers_value(response, HEADER_DATE);
    if (value.at && http_date_parse(value, response_time, &date))
        meta->flags |= RESPONSE_HAS_DATE;
    value = kept_value(response, cc, HEADER_LAST_MODIFIED);
    if (value.at && http_date_parse(value, response_time, &date) && date.s >= 0)
        meta->flags |= RESPONSE_HAS_VALIDATOR;
    if (etag_is_valid(kept_value(response, cc, HEADER_ETAG)))
        meta->flags |= RESPONSE_HAS_VALIDATOR;
    if (cc->no_cache)
        meta->flags |= RESPONSE_NO_CACHE;
    /* RFC 9111 §5.2.2.10: s-maxage brings the meaning of proxy-revalidate with it. */
    if (cc->must_revalidate || cc->proxy_revalidate || cc->s_maxage != CC_ABSENT)
        meta->flags |= RESPONSE_MUST_REVALIDATE;
    if (cc->immutable)
        meta->flags |= RESPONSE_IMMUTABLE;
    if (request->has_authorization)
        meta->flags |= RESPONSE_AUTHORIZED;
}

/* An answer to the request's own condition or range says nothing about what others ask for under the same key. */
static bool status_answers_condition(const struct request_meta *request, unsigned status)
{
    switch (status) {
    case 304:
        return true;
    case 412:
        return headers_find(request->fields, HEADER_IF_MATCH) || headers_find(request->fields, HEADER_IF_UNMODIFIED_SINCE) ||
               headers_find(request->fields, HEADER_IF_NONE_MATCH);
    case 416:
        return headers_find(request->fields, HEADER_RANGE);
    case 417:
        return headers_find(request->fields, HEADER_EXPECT);
    default:
        return false;
    }
}

/* RFC 9110 §9.3.3: what a POST is answered with may be what a later GET would get; if it has explicit freshness, too. */
static bool post_answers_get(const struct request_meta *request, unsigned status, const struct headers *response,
                             const struct site_rules *rules)
{
    return status == 200 && request->target != NULL && content_location_is_target(response, request->target, &rules->query);
}

static bool lifetime_is_explicit(const struct response_meta *meta)
{
    return meta->lifetime_source == LIFETIME_S_MAXAGE || meta->lifetime_source == LIFETIME_MAX_AGE ||
           meta->lifetime_source == LIFETIME_EXPIRES;
}

/* RFC 9111 §3, but for freshness: the reason against, or DETAIL_NONE. */
static enum cache_detail find_prohibition(const struct cache_control *cc, const struct request_meta *request, unsigned status,
                                          const struct headers *response, const struct site_rules *rules)
{
    if (request->method == METHOD_HEAD)
        return DETAIL_HEAD_MISS;
    if (request->method == METHOD_POST ? !post_answers_get(request, status, response, rules) : request->method != METHOD_GET)
        return DETAIL_METHOD;
    if (request->method == METHOD_POST && cookie_has_any(request->fields, &rules->bypass_cookies))
        return DETAIL_COOKIE;
    if (status == 206)
        return DETAIL_PARTIAL;
    if (status < 200 || status_answers_condition(request, status))
        return DETAIL_STATUS;
    if (rules->honour_request_directives && request->cache_control.no_store)
        return DETAIL_REQUEST_NO_STORE;
    /* §5.2.2.3: must-understand beats no-store, for those who understand. */
    if (cc->must_understand && !status_is_understood(status))
        return DETAIL_MUST_UNDERSTAND;
    if (cc->no_store && !cc->must_understand)
        return DETAIL_NO_STORE;
    if (cc->is_private)
        return DETAIL_PRIVATE;
    bool is_shared_explicitly = cc->is_public || cc->s_maxage != CC_ABSENT;
    /* §3.5 */
    if (request->has_authorization && !is_shared_explicitly && !cc->must_revalidate)
        return DETAIL_AUTHORIZATION;
    bool sets_cookie = headers_find(response, HEADER_SET_COOKIE) && !is_named(cc, header_spelling(HEADER_SET_COOKIE));
    if (sets_cookie && !(rules->store_set_cookie && is_shared_explicitly))
        return DETAIL_SET_COOKIE;
    /* §4.1: it could never be selected again. */
    if (vary_kind(response) == VARY_STAR)
        return DETAIL_VARY_STAR;
    if (!vary_tells_apart(response))
        return DETAIL_VARY_CODING;
    return DETAIL_NONE;
}

/* For how long after its lifetime it may still be of use without the origin's consent. */
static int64_t stale_window(const struct response_meta *meta)
{
    if (meta->flags & RESPONSE_MUST_REVALIDATE)
        return 0;
    int64_t window = meta->stale_while_revalidate_s > meta->stale_if_error_s ? meta->stale_while_revalidate_s : meta->stale_if_error_s;
    return window > 0 ? window : 0;
}

/* Whether keeping it can ever spare a fetch: while it is fresh, while it may be served stale, or because it can be validated. */
static enum cache_detail judge_worth(const struct cache_control *cc, const struct response_meta *meta, bool lifetime_known)
{
    /* RFC 9111 §3: without explicit freshness the status must be heuristically cacheable, or the response `public`. */
    if (!lifetime_known && !status_is_heuristically_cacheable(meta->status) && !cc->is_public)
        return DETAIL_STATUS;
    if (meta->flags & RESPONSE_HAS_VALIDATOR)
        return DETAIL_NONE;
    if (!lifetime_known)
        return DETAIL_NO_FRESHNESS;
    if (meta->flags & RESPONSE_NO_CACHE)
        return DETAIL_NO_CACHE;
    if (stale_window(meta) + meta->lifetime_s <= meta->corrected_initial_age_s)
        return DETAIL_ZERO_LIFETIME;
    return DETAIL_NONE;
}

struct store_verdict storable_decide(const struct request_meta *request, unsigned status, const struct headers *response,
                                     const struct site_rules *rules, struct wall_seconds request_time, struct wall_seconds response_time,
                                     struct response_meta *meta)
{
    struct response_control control;
    response_control_from(&control, response, rules, freshness_date(response, response_time));
    const struct cache_control *cc = &control.cc;
    fill_meta(meta, cc, request, status, response, request_time, response_time);

    enum lifetime_source source;
    int64_t lifetime = freshness_lifetime(&control, status, response, rules, response_time, &source);
    meta->lifetime_s = lifetime == CC_ABSENT ? 0 : (uint32_t)(lifetime < UINT32_MAX ? lifetime : UINT32_MAX);
    meta->lifetime_source = source & 7;

    enum cache_detail detail = find_prohibition(cc, request, status, response, rules);
    if (detail == DETAIL_NONE)
        detail = judge_worth(cc, meta, lifetime != CC_ABSENT);
    if (detail == DETAIL_NONE && request->method == METHOD_POST && !lifetime_is_explicit(meta))
        detail = DETAIL_METHOD;
    return (struct store_verdict){
        .store = detail == DETAIL_NONE, .detail = detail, .no_cache_names = cc->no_cache_names, .private_names = cc->private_names};
}

bool storable_keeps_field(const struct store_verdict *verdict, struct bytes name)
{
    return !bytes_list_has(verdict->no_cache_names, name) && !bytes_list_has(verdict->private_names, name);
}

bool storable_keeps_hint(const struct header *field)
{
    return field->id == HEADER_LINK || (field->id == HEADER_OTHER && bytes_equal_nocase(field->name, BYTES("Content-Security-Policy")));
}

bool storable_replaces(const struct response_meta *stored, const struct response_meta *newer)
{
    if (newer->status < 400 || stored->status >= 400)
        return true;
    /* RFC 5861 §4: these are what a stale response is kept for. */
    if (status_is_origin_error(newer->status))
        return false;
    return lifetime_is_explicit(newer);
}

bool status_is_origin_error(unsigned status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

bool detail_is_of_response(enum cache_detail detail)
{
    return detail == DETAIL_NO_STORE || detail == DETAIL_PRIVATE || detail == DETAIL_MUST_UNDERSTAND || detail == DETAIL_VARY_STAR;
}

bool storable_ends(const struct response_meta *stored, const struct response_meta *newer, enum cache_detail detail)
{
    switch (detail) {
    case DETAIL_NO_STORE:
    case DETAIL_PRIVATE:
    case DETAIL_MUST_UNDERSTAND:
    case DETAIL_SET_COOKIE:
    case DETAIL_VARY_STAR:
    case DETAIL_VARY_CODING:
    case DETAIL_NO_FRESHNESS:
    case DETAIL_NO_CACHE:
    case DETAIL_ZERO_LIFETIME:
    case DETAIL_TOO_LARGE:
    case DETAIL_HEAD_TOO_LARGE:
    case DETAIL_TAGS_FULL:
        return storable_replaces(stored, newer);
    case DETAIL_STATUS: /* an error may be about this very request */
        return newer->status < 400;
    default:
        return false;
    }
}

bool detail_will_last(enum cache_detail detail)
{
    switch (detail) {
    case DETAIL_NONE:
    case DETAIL_REQUEST_NO_STORE: /* this request's own wish */
    case DETAIL_ERROR:            /* what is stored stays, and is validated */
    case DETAIL_VALIDATOR:
    case DETAIL_VARY_TOO_LARGE: /* of this request */
    case DETAIL_NO_MEMORY:
    case DETAIL_VARIANTS_FULL:
    case DETAIL_VARIANT:
    case DETAIL_PURGED:
        return false;
    default:
        return true;
    }
}
