/* Range requests, RFC 9110 §14. Pure. */
#ifndef CACHE_POLICY_RANGE_H
#define CACHE_POLICY_RANGE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_WHOLE,         /* no Range, an unknown unit, malformed, or more parts than are worth it: answer 200 */
    RANGE_SINGLE,        /* [first, end) */
    RANGE_UNSATISFIABLE, /* 416 */
};

struct range {
    enum range_kind kind;
    uint64_t        first, end;
};

/* `field` is the Range field's value; BYTES_NONE: RANGE_WHOLE. `length` is the whole representation's. Several ranges are coalesced when
 * that leaves one; otherwise the whole is answered (§14.2 allows it). */
struct range range_parse(struct bytes field, uint64_t length);

#endif
