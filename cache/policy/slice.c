#include "cache/policy/slice.h"

#include "base/http_date.h"
#include "cache/policy/validate.h"

bool content_range_parse(struct bytes field, struct content_range *range)
{
    struct bytes rest = field;
    uint64_t last;
    if (!bytes_equal_nocase(bytes_take_until(&rest, ' '), BYTES("bytes")))
        return false;
    struct bytes first_text = bytes_take_until(&rest, '-'), last_text = bytes_take_until(&rest, '/');
    if (!bytes_parse_u64(first_text, &range->part.first) || !bytes_parse_u64(last_text, &last) || !bytes_parse_u64(rest, &range->length))
        return false;
    range->part.end = last + 1;
    /* Longer than a file can be: the end of its last slice would be no number. */
    return range->part.first <= last && last < range->length && range->length <= INT64_MAX;
}

bool slice_for_range(struct bytes field, uint64_t slice_bytes, struct span *slice)
{
    struct range range = range_parse(field, UINT64_MAX);
    if (slice_bytes == 0 || range.kind != RANGE_PARTIAL)
        return false;
    uint64_t first = range.parts[0].first;
    if (first > INT64_MAX) /* a suffix */
        first = 0;
    slice->first = first - first % slice_bytes;
    slice->end = slice->first + slice_bytes;
    return true;
}

bool slice_is_answered(const struct headers *answer, struct span asked, bool length_known, uint64_t body_bytes, struct content_range *range)
{
    if (headers_count(answer, HEADER_CONTENT_RANGE) != 1 || !content_range_parse(headers_value(answer, HEADER_CONTENT_RANGE), range))
        return false;
    uint64_t end = asked.end < range->length ? asked.end : range->length;
    return range->part.first == asked.first && range->part.end == end && length_known && body_bytes == end - asked.first;
}

const struct header *slice_validator(const struct headers *fields, struct wall_seconds received)
{
    const struct header *etag = headers_find(fields, HEADER_ETAG), *modified = headers_find(fields, HEADER_LAST_MODIFIED);
    struct wall_seconds modified_at, date;
    if (etag != NULL)
        return headers_count(fields, HEADER_ETAG) == 1 && etag_strong_equal(etag->value, etag->value) ? etag : NULL;
    if (modified == NULL || !http_date_parse(modified->value, received, &modified_at) ||
        !http_date_parse(headers_value(fields, HEADER_DATE), received, &date))
        return NULL;
    /* RFC 9110 §8.8.2.2: what changed before the second in which it was sent has not changed unseen since. */
    return modified_at.s < date.s ? modified : NULL;
}

bool slice_belongs(const struct headers *stored, const struct headers *answer, struct wall_seconds received)
{
    const struct header *validator = slice_validator(answer, received);
    if (validator != NULL && validator->id != HEADER_ETAG && headers_find(stored, HEADER_ETAG) != NULL)
        return false; /* the entity tag is what the stored parts have in common */
    return validator != NULL && bytes_equal(headers_value(stored, validator->id), validator->value);
}
