/* Slices: parts of a large representation, cut at multiples of a size, that are fetched and stored one by one (RFC 9110 §14, RFC 9111 §3.3, §3.4). Pure. */
#ifndef CACHE_POLICY_SLICE_H
#define CACHE_POLICY_SLICE_H

#include "base/clock.h"
#include "base/headers.h"
#include "cache/policy/range.h"

enum { SLICE_DEFAULT_BYTES = 4 * 1024 * 1024 };

/* What a 206 says it is a part of. */
struct content_range {
    struct span part;
    uint64_t    length; /* of the whole representation */
};

/* RFC 9110 §14.4. False when malformed, in another unit, impossible, or of unknown length. */
bool content_range_parse(struct bytes field, struct content_range *range);

/* The slice that a request with this Range field (BYTES_NONE: none) needs first. False: the whole is wanted. Where the length of the representation
 * decides, which is not known yet, it is the first one. */
bool slice_for_range(struct bytes field, uint64_t slice_bytes, struct span *slice);

/* Whether a 206 brings exactly what was asked for, `asked` cut at the end of the representation. `body_bytes`: of its Content-Length. */
bool slice_is_answered(const struct headers *answer, struct span asked, bool length_known, uint64_t body_bytes, struct content_range *range);

/* RFC 9111 §3.4: parts belong together only by the same strong validator. The field that has it, or NULL; `received`: when that came. */
const struct header *slice_validator(const struct headers *fields, struct wall_seconds received);
/* Whether an answer has the validator of what is stored. */
bool slice_belongs(const struct headers *stored, const struct headers *answer, struct wall_seconds received);

#endif
