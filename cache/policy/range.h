/* Range requests, RFC 9110 §14. Pure. */
#ifndef CACHE_POLICY_RANGE_H
#define CACHE_POLICY_RANGE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_WHOLE,         /* no Range, an unknown unit, malformed, or more parts than are worth it: answer 200 */
    RANGE_PARTIAL,       /* `count` parts: one is a 206 of its own, more are multipart/byteranges */
    RANGE_UNSATISFIABLE, /* 416 */
};

enum { RANGE_PARTS_MAX = 16 /* RFC 9110 §14.2, §17.15: more are an attack, or as good as the whole */ };

struct span {
    uint64_t first, end; /* [first, end) */
};

struct range {
    enum range_kind kind;
    unsigned        count;
    struct span     parts[RANGE_PARTS_MAX]; /* apart from each other; in the order in which they were asked for (§15.3.7.2) */
};

/* `field` is the Range field's value; BYTES_NONE: RANGE_WHOLE. `length` is the whole representation's. Ranges that overlap, touch or nearly touch
 * are made one (§14.2, §15.3.7.2). */
struct range range_parse(struct bytes field, uint64_t length);

/* In the order of their positions: for a response that can be read only once and forwards. */
void range_sort(struct range *range);

#endif
