/* Vary (RFC 9111 §4.1): which request fields select among stored responses, and the secondary key made of them. Pure. */
#ifndef CACHE_POLICY_VARY_H
#define CACHE_POLICY_VARY_H

#include "base/headers.h"
#include "cache/policy/rules.h"

#include <stdbool.h>

enum vary_kind { VARY_NONE, VARY_FIELDS, VARY_STAR };

/* Of all Vary lines together. A member that is no field name selects on something unknowable: VARY_STAR; so does one that tells the origin who the client is
 * (X-Forwarded-For, X-Real-IP, Forwarded). One that tells it what is in the key (Host, X-Forwarded-Host, X-Forwarded-Proto) selects nothing. */
enum vary_kind vary_kind(const struct headers *response);

/* Joins all Vary lines, and adds the cookies that a site's rule names as "cookie:NAME" (which no field name can be). VARY_FIELDS: *names is the
 * canonical list in `arena`: field names in lower case, sorted, without repetition, comma-separated. */
enum vary_kind vary_parse(const struct headers *response, const struct rule_names *key_cookies, struct arena *arena, struct bytes *names);

/* The normalised values of the request's fields in the order of `names`, length-prefixed; an absent field differs from an empty one.
 * Normalisation keeps meaning: white space around list members; Accept-Language by case, order and weight; Accept-Encoding by what origins
 * distinguish. */
struct bytes vary_values(struct bytes names, const struct headers *request, struct arena *arena);
/* Takes the next of such values from the front of *values; BYTES_NONE: the request had no such field. False when nothing is left. */
bool vary_next_value(struct bytes *values, struct bytes *value);

/* Whether the values of Accept-Encoding, where the response varies on it, tell apart who can read it: not when it is in a coding that they leave out. */
bool vary_tells_apart(const struct headers *response);

#endif
