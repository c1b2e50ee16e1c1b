/* Which of several equals to ask: round robin, those that failed lately last. For the origins of a site, and for the addresses of an
 * origin.
 *
 * After a failure a thing is down for a while; then the first request that comes by tries it (and nobody else until that is decided, or the
 * while has passed again); a success ends it. What is down is still an option when nothing better is left. */
#ifndef ORIGIN_BALANCE_H
#define ORIGIN_BALANCE_H

#include "base/clock.h"

#include <stdbool.h>

struct health {
    bool                failed; /* the last attempt did */
    struct monotonic_ms until;  /* skipped until then */
};

bool health_is_down(const struct health *health, struct monotonic_ms now);
/* Returns whether this is news. */
bool health_fail(struct health *health, struct monotonic_ms now, int64_t down_ms);
void health_succeed(struct health *health);

/* Fills `order` with all indices 0…count−1: the next in turn first (*cursor moves on), those that are down behind the others. What comes
 * first is taken to be tried now: when that is after a failure, it counts as down until it is decided. Returns whether all of them are
 * down. */
bool balance_order(struct health *const *healths, unsigned count, unsigned *cursor, struct monotonic_ms now, int64_t down_ms, unsigned *order);

#endif
