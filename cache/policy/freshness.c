#include "cache/policy/freshness.h"

#include "base/http_date.h"

/* RFC 9111 §1.2.2: ages and lifetimes end here, so that no sum overflows and every one can be sent. */
static const int64_t seconds_max = INT64_C(1) << 31;

static int64_t clamp_seconds(int64_t seconds)
{
    return seconds < 0 ? 0 : seconds > seconds_max ? seconds_max : seconds;
}

/* RFC 9111 §5.1: of a list the first counts, and what is no non-negative integer is ignored. */
static int64_t age_value(const struct headers *response)
{
    for (const struct header *line = headers_find(response, HEADER_AGE); line; line = headers_next(response, line)) {
        struct bytes rest = line->value, member;
        while (bytes_next_list_member(&rest, &member)) {
            size_t digits = 0;
            while (digits < member.len && member.at[digits] >= '0' && member.at[digits] <= '9')
                digits++;
            if (digits < member.len)
                continue;
            uint64_t value;
            bool fits = bytes_parse_u64(member, &value) && value < (uint64_t)seconds_max;
            return fits ? (int64_t)value : seconds_max;
        }
    }
    return 0;
}

/* RFC 9110 §6.6.1: a response without a (valid) Date counts as sent when it was received. */
int64_t freshness_date(const struct headers *response, struct wall_seconds response_time)
{
    struct wall_seconds date;
    struct bytes value = headers_value(response, HEADER_DATE);
    return value.at && http_date_parse(value, response_time, &date) ? date.s : response_time.s;
}

int64_t freshness_initial_age(const struct headers *response, struct wall_seconds request_time, struct wall_seconds response_time)
{
    /* RFC 9111 §4.2.3. A Date ahead of our clock, or a clock that was set back meanwhile, makes nothing younger than 0. */
    int64_t apparent_age = clamp_seconds(response_time.s - freshness_date(response, response_time));
    int64_t response_delay = clamp_seconds(response_time.s - request_time.s);
    int64_t corrected_age = clamp_seconds(age_value(response) + response_delay);
    return apparent_age > corrected_age ? apparent_age : corrected_age;
}

/* §5.3: an invalid Expires, "0" above all, is in the past. §4.2.1: so is a repeated one. */
static int64_t expires_lifetime(const struct headers *response, struct wall_seconds response_time)
{
    struct wall_seconds expires;
    if (headers_count(response, HEADER_EXPIRES) > 1 || !http_date_parse(headers_value(response, HEADER_EXPIRES), response_time, &expires))
        return 0;
    return clamp_seconds(expires.s - freshness_date(response, response_time));
}

/* §4.2.2: a tenth of the time that it had not changed for when it was sent. */
static int64_t heuristic_lifetime(const struct headers *response, const struct site_rules *rules, struct wall_seconds response_time)
{
    struct wall_seconds modified;
    struct bytes value = headers_value(response, HEADER_LAST_MODIFIED);
    if (rules->heuristic_max_s == 0 || !value.at || !http_date_parse(value, response_time, &modified))
        return CC_ABSENT;
    int64_t unchanged_s = freshness_date(response, response_time) - modified.s;
    if (unchanged_s < 0)
        return CC_ABSENT;
    int64_t tenth = clamp_seconds(unchanged_s / 10);
    return tenth < rules->heuristic_max_s ? tenth : rules->heuristic_max_s;
}

/* The site's rule for an error that says nothing about its freshness: the status itself, else its class. CC_ABSENT. */
static int64_t rule_lifetime(unsigned status, const struct site_rules *rules)
{
    int64_t lifetime = CC_ABSENT;
    for (unsigned i = 0; i < rules->error_count; i++) {
        const struct status_ttl *rule = &rules->errors[i];
        if (status == rule->first && status == rule->last)
            return rule->ttl_s;
        if (status >= rule->first && status <= rule->last && !status_depends_on_client(status))
            lifetime = rule->ttl_s;
    }
    return lifetime;
}

static int64_t found(enum lifetime_source *source, enum lifetime_source where, int64_t lifetime)
{
    *source = lifetime == CC_ABSENT ? LIFETIME_NONE : where;
    return lifetime;
}

int64_t freshness_lifetime(const struct response_control *control, unsigned status, const struct headers *response,
                           const struct site_rules *rules, struct wall_seconds response_time, enum lifetime_source *source)
{
    const struct cache_control *cc = &control->cc;
    if (cc->s_maxage != CC_ABSENT)
        return found(source, LIFETIME_S_MAXAGE, cc->s_maxage);
    if (cc->max_age != CC_ABSENT)
        return found(source, LIFETIME_MAX_AGE, cc->max_age);
    /* RFC 9213 §2.2: Expires means nothing beside a field that is addressed to us. */
    if (control->source == CONTROL_CACHE_CONTROL && headers_find(response, HEADER_EXPIRES))
        return found(source, LIFETIME_EXPIRES, expires_lifetime(response, response_time));
    int64_t lifetime = rule_lifetime(status, rules);
    if (lifetime != CC_ABSENT)
        return found(source, LIFETIME_RULE, lifetime);
    /* §4.2.2: only where the status allows it, or the origin says `public`. */
    if (!status_is_heuristically_cacheable(status) && !cc->is_public)
        return found(source, LIFETIME_NONE, CC_ABSENT);
    return found(source, LIFETIME_HEURISTIC, heuristic_lifetime(response, rules, response_time));
}

int64_t freshness_current_age(const struct response_meta *meta, struct wall_seconds now)
{
    return clamp_seconds(meta->corrected_initial_age_s + clamp_seconds(now.s - meta->response_time_s));
}

void freshness_end(struct response_meta *meta, struct wall_seconds then)
{
    int64_t age_s = freshness_current_age(meta, then);
    if (meta->lifetime_s > age_s)
        meta->lifetime_s = (uint32_t)age_s;
}

bool status_is_heuristically_cacheable(unsigned status)
{
    switch (status) {
    case 200:
    case 203:
    case 204:
    case 206:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
        return true;
    default:
        return false;
    }
}
