#include "cache/policy/tags.h"

#include "tests/fuzz/fuzz.h"

/* The same value as each of the fields, and as groups to invalidate. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum header_id ids[] = {HEADER_SURROGATE_KEY, HEADER_CACHE_TAG, HEADER_XKEY, HEADER_CACHE_GROUPS};
    struct bytes input = bytes_from((const char *)data, size);
    struct arena arena;
    struct headers headers;
    struct tag *tags, *groups;
    arena_init(&arena);
    headers_init(&headers, &arena);
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++)
        fuzz_add_field(&headers, ids[i], input);
    unsigned count = tags_collect(&headers, &arena, &tags), requested = tags_requested(&headers, &arena, &groups);
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(tags[i].name.len > 0 && tags[i].name.len <= size);
        REQUIRE(tags[i].is_group == (i >= requested));
        for (size_t j = 0; tags[i].is_group && j < tags[i].name.len; j++)
            REQUIRE(tags[i].name.at[j] >= 0x20 && tags[i].name.at[j] < 0x7f);
    }
    REQUIRE(count - requested == groups_collect(&headers, HEADER_CACHE_GROUPS, &arena, &groups));
    arena_free(&arena);
    return 0;
}
