#include "cache/policy/no_vary_search.h"

#include "tests/fuzz/fuzz.h"

/* First line: the field. Then a query a line: each is equivalent to itself with empty parameters around it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct search_variance variance;
    struct bytes input = bytes_from((const char *)data, size), field = fuzz_take_line(&input);
    arena_init(&arena);
    if (search_variance_parse(field, &arena, &variance)) {
        REQUIRE(variance.sorts || variance.keeps_named || variance.names_count > 0);
        while (input.len > 0) {
            struct bytes query = fuzz_take_line(&input);
            struct bytes padded = arena_printf(&arena, "&&%.*s&", BYTES_FMT(query));
            if (memchr(query.at, 0, query.len) != NULL)
                continue; /* printf ends there */
            REQUIRE(bytes_equal(search_canonical(query, &variance, &arena), search_canonical(padded, &variance, &arena)));
        }
    }
    arena_free(&arena);
    return 0;
}
