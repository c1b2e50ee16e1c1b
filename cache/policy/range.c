#include "cache/policy/range.h"

#include <stdlib.h>

enum { RANGE_GAP_BYTES = 80 /* §15.3.7.2: a gap smaller than the overhead of another part is not worth skipping */ };

/* 1*DIGIT, saturating: a position beyond 2^64 is beyond every end. */
static bool parse_position(struct bytes text, uint64_t *position)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    }
    if (!bytes_parse_u64(text, position))
        *position = UINT64_MAX;
    return text.len > 0;
}

/* §14.1.2: int-range or suffix-range. False when malformed. */
static bool parse_spec(struct bytes spec, uint64_t length, struct span *span, bool *is_satisfiable)
{
    size_t dash = bytes_find(spec, '-');
    if (dash == spec.len)
        return false;
    struct bytes left = bytes_from(spec.at, dash), right = bytes_from(spec.at + dash + 1, spec.len - dash - 1);
    uint64_t first, last = UINT64_MAX, suffix;
    if (left.len == 0) {
        if (!parse_position(right, &suffix))
            return false;
        *span = (struct span){.first = suffix < length ? length - suffix : 0, .end = length};
        *is_satisfiable = suffix > 0;
        return true;
    }
    if (!parse_position(left, &first) || (right.len > 0 && !parse_position(right, &last)) || last < first)
        return false;
    *span = (struct span){.first = first, .end = last < length ? last + 1 : length};
    *is_satisfiable = first < length;
    return true;
}

/* Whether `a` ends before `b` begins, with a gap between them that is worth skipping. */
static bool lies_before(struct span a, struct span b)
{
    return a.end < b.first && b.first - a.end > RANGE_GAP_BYTES;
}

/* §15.3.7.2: takes in those parts that `span` overlaps, touches or nearly touches, each of which may bring it near others; it stands where the first
 * of them did. */
static void add_part(struct range *range, struct span span)
{
    unsigned at = range->count;
    for (unsigned i = 0; i < range->count;) {
        struct span part = range->parts[i];
        if (lies_before(part, span) || lies_before(span, part)) {
            i++;
            continue;
        }
        span.first = part.first < span.first ? part.first : span.first;
        span.end = part.end > span.end ? part.end : span.end;
        at = i < at ? i : at;
        range->count--;
        memmove(&range->parts[i], &range->parts[i + 1], (range->count - i) * sizeof span);
        i = 0; /* it has grown */
    }
    memmove(&range->parts[at + 1], &range->parts[at], (range->count - at) * sizeof span);
    range->parts[at] = span;
    range->count++;
}

struct range range_parse(struct bytes field, uint64_t length)
{
    const struct range whole = {.kind = RANGE_WHOLE};
    size_t equals = bytes_find(field, '=');
    /* §14.1: range units are compared without case; §14.2: an unknown one is ignored. */
    if (equals == field.len || !bytes_equal_nocase(bytes_from(field.at, equals), BYTES("bytes")))
        return whole;

    struct bytes rest = bytes_from(field.at + equals + 1, field.len - equals - 1), spec;
    struct range range = {.kind = RANGE_PARTIAL};
    unsigned seen = 0;
    while (bytes_next_list_member(&rest, &spec)) {
        struct span span;
        bool is_satisfiable;
        if (++seen > RANGE_PARTS_MAX || !parse_spec(spec, length, &span, &is_satisfiable))
            return whole;
        if (is_satisfiable)
            add_part(&range, span);
    }
    if (seen == 0)
        return whole;
    if (range.count == 0)
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    /* A suffix of an empty representation is satisfiable, but Content-Range cannot describe it. */
    return length == 0 ? whole : range;
}

static int compare_positions(const void *a, const void *b)
{
    const struct span *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

void range_sort(struct range *range)
{
    qsort(range->parts, range->count, sizeof range->parts[0], compare_positions);
}
