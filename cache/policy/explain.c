#include "cache/policy/explain.h"

#include "cache/policy/freshness.h"

#include <inttypes.h>

const char *lifetime_source_word(enum lifetime_source source)
{
    switch (source) {
    case LIFETIME_NONE:
        break;
    case LIFETIME_S_MAXAGE:
        return "s-maxage";
    case LIFETIME_MAX_AGE:
        return "max-age";
    case LIFETIME_EXPIRES:
        return "Expires";
    case LIFETIME_RULE:
        return "site rule";
    case LIFETIME_HEURISTIC:
        return "heuristic";
    }
    return "none";
}

static const char *source_clause(enum lifetime_source source)
{
    switch (source) {
    case LIFETIME_NONE:
        break;
    case LIFETIME_S_MAXAGE:
        return "from s-maxage";
    case LIFETIME_MAX_AGE:
        return "from max-age";
    case LIFETIME_EXPIRES:
        return "Expires minus Date";
    case LIFETIME_RULE:
        return "the site's own rule for errors";
    case LIFETIME_HEURISTIC:
        return "a guess, a tenth of the time since Last-Modified";
    }
    return "nothing says how long it is fresh";
}

struct bytes explain_lifetime(const struct response_meta *meta, struct arena *arena)
{
    return arena_printf(arena, "Freshness lifetime %" PRIu32 " s: %s.", meta->lifetime_s, source_clause(meta->lifetime_source));
}

struct bytes explain_age(const struct response_meta *meta, struct wall_seconds now, struct arena *arena)
{
    int64_t age_s = freshness_current_age(meta, now);
    return arena_printf(arena,
                        "Age %" PRId64 " s: %" PRIu32 " s old on arrival (Age, Date and the time it took), %" PRId64 " s here since.",
                        age_s, meta->corrected_initial_age_s, age_s - meta->corrected_initial_age_s);
}

struct bytes explain_freshness(const struct response_meta *meta, struct wall_seconds now, struct arena *arena)
{
    int64_t ttl_s = meta->lifetime_s - freshness_current_age(meta, now);
    if (meta->flags & RESPONSE_NO_CACHE)
        return BYTES("It says no-cache: it is validated before each use, fresh or not.");
    return ttl_s > 0 ? arena_printf(arena, "Fresh for another %" PRId64 " s.", ttl_s)
                     : arena_printf(arena, "Stale for %" PRId64 " s.", -ttl_s);
}

struct bytes explain_stale_windows(const struct response_meta *meta, int64_t grace_s, struct arena *arena)
{
    if (meta->flags & (RESPONSE_MUST_REVALIDATE | RESPONSE_NO_CACHE))
        return BYTES("It is never served stale (must-revalidate, proxy-revalidate, s-maxage or no-cache).");
    int64_t revalidate_s = meta->stale_while_revalidate_s > 0 ? meta->stale_while_revalidate_s : 0;
    int64_t error_s = meta->stale_if_error_s != META_ABSENT ? meta->stale_if_error_s : grace_s;
    if (error_s < revalidate_s)
        error_s = revalidate_s;
    if (error_s == 0)
        return BYTES("It is not served stale: neither stale-while-revalidate, stale-if-error nor the site's grace allows it.");
    return arena_printf(arena,
                        "Stale, it may be served for %" PRId64 " s while it is validated, and for %" PRId64 " s when the origin fails.",
                        revalidate_s, error_s);
}
