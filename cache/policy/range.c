#include "cache/policy/range.h"

enum {
    RANGE_PARTS_MAX = 16, /* RFC 9110 §14.2, §17.15: more are an attack, or as good as the whole */
    RANGE_GAP_BYTES = 80, /* §14.2: a gap smaller than the overhead of another part is not worth skipping */
};

struct span {
    uint64_t first, end;
};

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

/* Keeps `spans` sorted by their first position. */
static void insert_sorted(struct span *spans, unsigned count, struct span span)
{
    unsigned at = count;
    for (; at > 0 && spans[at - 1].first > span.first; at--)
        spans[at] = spans[at - 1];
    spans[at] = span;
}

/* §14.2: ranges that overlap, touch or nearly touch are one. False when more than one is left. */
static bool coalesce(const struct span *spans, unsigned count, struct span *whole)
{
    *whole = spans[0];
    for (unsigned i = 1; i < count; i++) {
        if (spans[i].first > whole->end && spans[i].first - whole->end > RANGE_GAP_BYTES)
            return false;
        if (spans[i].end > whole->end)
            whole->end = spans[i].end;
    }
    return true;
}

struct range range_parse(struct bytes field, uint64_t length)
{
    const struct range whole = {.kind = RANGE_WHOLE};
    size_t equals = bytes_find(field, '=');
    /* §14.1: range units are compared without case; §14.2: an unknown one is ignored. */
    if (equals == field.len || !bytes_equal_nocase(bytes_from(field.at, equals), BYTES("bytes")))
        return whole;

    struct bytes rest = bytes_from(field.at + equals + 1, field.len - equals - 1), spec;
    struct span spans[RANGE_PARTS_MAX], span;
    unsigned seen = 0, count = 0;
    bool is_satisfiable;
    while (bytes_next_list_member(&rest, &spec)) {
        if (++seen > RANGE_PARTS_MAX || !parse_spec(spec, length, &span, &is_satisfiable))
            return whole;
        if (is_satisfiable)
            insert_sorted(spans, count++, span);
    }
    if (seen == 0)
        return whole;
    if (count == 0)
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    /* A suffix of an empty representation is satisfiable, but Content-Range cannot describe it. */
    if (length == 0 || !coalesce(spans, count, &span))
        return whole;
    return (struct range){.kind = RANGE_SINGLE, .first = span.first, .end = span.end};
}
