#include "cache/policy/cache_control.h"

#include "tests/fuzz/fuzz.h"

static bool is_in_range(int64_t seconds)
{
    return seconds >= CC_ABSENT && seconds <= INT64_C(1) << 31;
}

static void check_names(struct bytes names)
{
    struct bytes name;
    REQUIRE(names.at == NULL || names.len > 0);
    while (bytes_next_list_member(&names, &name))
        REQUIRE(bytes_is_token(name));
}

/* Every line of the input is a Cache-Control line. Whatever came before it, a line of its own that restricts does so, and one that
 * grants a lifetime cannot lengthen one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct headers fields;
    struct cache_control before, after;
    struct bytes input = bytes_from((const char *)data, size);
    arena_init(&arena);
    headers_init(&fields, &arena);
    while (input.len > 0)
        fuzz_add_field(&fields, HEADER_CACHE_CONTROL, fuzz_take_line(&input));

    cache_control_parse(&before, &fields, HEADER_CACHE_CONTROL);
    REQUIRE(before.is_present == (fields.count > 0));
    REQUIRE(is_in_range(before.max_age) && is_in_range(before.s_maxage) && is_in_range(before.stale_while_revalidate));
    REQUIRE(is_in_range(before.stale_if_error) && is_in_range(before.min_fresh) && is_in_range(before.max_stale));
    check_names(before.no_cache_names);
    check_names(before.private_names);

    headers_add_known(&fields, HEADER_CACHE_CONTROL, BYTES("private, no-store, must-revalidate, max-age=77"));
    cache_control_parse(&after, &fields, HEADER_CACHE_CONTROL);
    REQUIRE(after.is_private && after.no_store && after.must_revalidate);
    REQUIRE(after.max_age == (before.max_age == CC_ABSENT ? 77 : before.max_age));
    REQUIRE(after.is_public == before.is_public && after.s_maxage == before.s_maxage);
    arena_free(&arena);
    return 0;
}
