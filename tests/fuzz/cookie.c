#include "cache/policy/cookie.h"

#include "tests/fuzz/fuzz.h"

/* Every line of the input is a Cookie line. A cookie on a line of its own is found, whatever came before it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes names[] = {{"session", 7}, {"wp_*", 4}};
    static const struct rule_names patterns = {names, 2};
    struct arena arena;
    struct headers request;
    struct bytes input = bytes_from((const char *)data, size);
    arena_init(&arena);
    headers_init(&request, &arena);
    while (input.len > 0)
        fuzz_add_field(&request, HEADER_COOKIE, fuzz_take_line(&input));

    struct bytes before = cookie_values(&request, names[0], &arena);
    bool was_found = cookie_has_any(&request, &patterns);
    REQUIRE(before.at == NULL || was_found);
    headers_add_known(&request, HEADER_COOKIE, BYTES("a=b; session=77"));
    struct bytes after = cookie_values(&request, names[0], &arena);
    REQUIRE(cookie_has_any(&request, &patterns));
    REQUIRE(bytes_ends_with(after, BYTES("77")) && after.len == (before.at == NULL ? 2 : before.len + 3));
    arena_free(&arena);
    return 0;
}
