/* Which parameters of a query make a request a different one. Pure; see rules.h for the rules and proxy/request for where they are applied. */
#ifndef CACHE_POLICY_KEY_RULES_H
#define CACHE_POLICY_KEY_RULES_H

#include "base/arena.h"
#include "cache/policy/rules.h"

/* A rule that stands for the parameters by which visits are counted and campaigns told apart (utm_source, gclid and their like). */
#define QUERY_RULE_TRACKING "tracking"

/* `query` is what follows the "?"; BYTES_NONE: there is none. The result is `query` itself where the rules change nothing, else it lies in `arena`;
 * BYTES_NONE when no parameter is left of one that had some to drop.
 *
 * Parameters are what "&" separates, empty ones included; the name of one ends before its first "=". Names are compared byte for byte: neither case
 * nor percent-encoding is touched, so that what is left is exactly what the client sent. Sorting is by name, and stable: those of one name keep their order. */
struct bytes query_apply_rules(struct bytes query, const struct query_rules *rules, struct arena *arena);

#endif
