#include "cache/policy/validate.h"

#include "cache/policy/meta.h"
#include "tests/fuzz/fuzz.h"

/* First line: the stored ETag. The others, in turn: If-None-Match, If-Match, If-Range and the dates. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum header_id conditions[] = {HEADER_IF_NONE_MATCH, HEADER_IF_MATCH, HEADER_IF_RANGE, HEADER_IF_MODIFIED_SINCE,
                                                HEADER_IF_UNMODIFIED_SINCE};
    static const struct wall_seconds now = {1700000000};
    struct arena arena;
    struct headers request, listed;
    struct bytes input = bytes_from((const char *)data, size), etag = fuzz_take_line(&input);
    arena_init(&arena);
    headers_init(&request, &arena);
    headers_init(&listed, &arena);
    for (unsigned i = 0; input.len > 0; i++)
        fuzz_add_field(&request, conditions[i % 5], fuzz_take_line(&input));

    struct validators stored = {.etag = etag, .last_modified_s = now.s - 60, .date_s = now.s};
    condition_evaluate(METHOD_GET, &request, 200, &stored, now);
    REQUIRE(condition_evaluate(METHOD_PUT, &request, 200, &stored, now) != CONDITION_NOT_MODIFIED);
    REQUIRE(condition_evaluate(METHOD_GET, &request, 404, &stored, now) == CONDITION_NONE_OR_TRUE);
    if_range_holds(&request, &stored, now);

    struct bytes other = headers_value(&request, HEADER_IF_NONE_MATCH);
    REQUIRE(etag_weak_equal(etag, other) == etag_weak_equal(other, etag));
    REQUIRE(!etag_strong_equal(etag, other) || etag_weak_equal(etag, other));
    REQUIRE(etag_weak_equal(etag, etag) == etag_is_valid(etag));

    /* A valid entity tag is found on a line of its own, whatever the line before it. */
    fuzz_add_field(&listed, HEADER_IF_NONE_MATCH, other);
    headers_add_known(&listed, HEADER_IF_NONE_MATCH, etag);
    if (etag_is_valid(etag))
        REQUIRE(condition_evaluate(METHOD_GET, &listed, 200, &stored, now) == CONDITION_NOT_MODIFIED);
    arena_free(&arena);
    return 0;
}
