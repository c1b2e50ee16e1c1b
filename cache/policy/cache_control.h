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
    /* Fields that no-cache or private names, where they name some (§5.2.2.4, §5.2.2.7): they alone are meant then, and `no_cache` or `is_private` is
     * not set. Names that cannot be honoured (malformed, twice, a field without which the rest has no meaning) count as the directive without names. */
    struct bytes no_cache_names, private_names;
    /* Seconds, capped at 2^31 (RFC 9111 §1.2.2); CC_ABSENT; an unparsable value counts as 0 (§4.2.1: stale). */
    int64_t max_age, s_maxage, stale_while_revalidate, stale_if_error, min_fresh, max_stale;
    bool is_present; /* the field was there at all */
    bool is_known;   /* at least one directive was one of these */
};

/* Combines every Cache-Control line. Never fails: what cannot be parsed is ignored or counts as stale, as the RFC says,
 * and a malformed line keeps its restrictions. Of repeated numbers the first counts, unless any of them is invalid. */
void cache_control_parse(struct cache_control *out, const struct headers *fields, enum header_id id);

/* Says nothing at all. */
void cache_control_clear(struct cache_control *out);

/* The same directives where their arguments have types (RFC 9213 §2.1). */
struct typed_argument {
    enum { ARGUMENT_TRUE, ARGUMENT_FALSE, ARGUMENT_INTEGER, ARGUMENT_STRING, ARGUMENT_OTHER } kind;
    int64_t      integer;
    struct bytes text; /* of a string: not unescaped */
};

/* Replaces what was said of this directive before. A restriction counts whatever its argument, except false; a lifetime of a wrong type is 0. */
void cache_control_apply(struct cache_control *out, struct bytes name, const struct typed_argument *argument);
void cache_control_set_max_age(struct cache_control *out, uint64_t seconds);

#endif
