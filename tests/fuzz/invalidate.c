#include "cache/policy/invalidate.h"

#include "tests/fuzz/fuzz.h"

/* A path, a newline, a reference: what comes out begins with "/", has no dot segments that came from the reference, and does not change again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_from((const char *)data, size), path = fuzz_take_line(&input);
    struct arena arena;
    if (!header_value_is_valid(path) || !header_value_is_valid(input)) /* the codecs refuse them */
        return 0;
    arena_init(&arena);
    if (path.len == 0 || path.at[0] != '/')
        path = BYTES("/a/b");
    const struct target base = {BYTES("http"), BYTES("h.test"), path, BYTES_NONE};
    struct target result, again;
    if (resolve_same_origin(input, &base, &arena, &result)) {
        REQUIRE(result.path.len > 0 && result.path.at[0] == '/');
        REQUIRE(result.path.len <= path.len + input.len + 1);
        REQUIRE(bytes_equal(result.host, base.host) && bytes_equal(result.scheme, base.scheme));
        struct bytes absolute = arena_printf(&arena, "http://h.test%.*s", BYTES_FMT(result.path));
        if (result.path.at != path.at && bytes_find(result.path, '?') == result.path.len &&
            bytes_find(result.path, '#') == result.path.len) {
            REQUIRE(resolve_same_origin(absolute, &base, &arena, &again));
            REQUIRE(bytes_equal(again.path, result.path));
        }
    }
    arena_free(&arena);
    return 0;
}
