#include "cache/policy/targeted.h"

#include "cache/policy/structured.h"
#include "tests/fuzz/fuzz.h"

static bool is_in_range(int64_t seconds)
{
    return seconds >= CC_ABSENT && seconds <= INT64_C(1) << 31;
}

/* In turn: CDN-Cache-Control, Surrogate-Control, X-Accel-Expires and Cache-Control. What governs is the first that is valid, alone. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum header_id ids[] = {HEADER_CDN_CACHE_CONTROL, HEADER_SURROGATE_CONTROL, HEADER_X_ACCEL_EXPIRES, HEADER_CACHE_CONTROL};
    static const struct bytes name = {"CDN-Cache-Control", 17};
    static const struct site_rules rules = {.targeted = {&name, 1}, .surrogate_control = true, .accel_expires = true};
    struct arena arena;
    struct headers response;
    struct bytes input = bytes_from((const char *)data, size);
    arena_init(&arena);
    headers_init(&response, &arena);
    for (unsigned i = 0; input.len > 0; i++)
        fuzz_add_field(&response, ids[i % 4], fuzz_take_line(&input));

    struct response_control before, after;
    response_control_from(&before, &response, &rules, 1700000000);
    REQUIRE(is_in_range(before.cc.max_age) && is_in_range(before.cc.s_maxage) && is_in_range(before.cc.stale_while_revalidate));
    headers_add_known(&response, HEADER_CACHE_CONTROL, BYTES("no-store, private, max-age=77"));
    response_control_from(&after, &response, &rules, 1700000000);
    REQUIRE(after.source == before.source);
    if (before.source == CONTROL_CACHE_CONTROL)
        REQUIRE(after.cc.no_store && after.cc.is_private);
    else
        REQUIRE(after.cc.no_store == before.cc.no_store && after.cc.max_age == before.cc.max_age);

    headers_remove(&response, HEADER_CDN_CACHE_CONTROL);
    headers_add_known(&response, HEADER_CDN_CACHE_CONTROL, BYTES("private, max-age=5"));
    response_control_from(&after, &response, &rules, 1700000000);
    REQUIRE(after.source == CONTROL_TARGETED && after.cc.is_private && after.cc.max_age == 5 && !after.cc.no_store);
    arena_free(&arena);
    return 0;
}
