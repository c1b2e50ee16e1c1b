#include "cache/policy/vary.h"

#include "tests/fuzz/fuzz.h"

static void check_names(struct bytes names)
{
    struct bytes previous = BYTES(""), name;
    while (bytes_next_list_member(&names, &name)) {
        REQUIRE(bytes_is_token(name));
        for (size_t i = 0; i < name.len; i++)
            REQUIRE(name.at[i] == byte_lower(name.at[i]));
        size_t shorter = name.len < previous.len ? name.len : previous.len;
        int order = memcmp(previous.at, name.at, shorter);
        REQUIRE(order < 0 || (order == 0 && previous.len < name.len));
        previous = name;
    }
}

/* As many values as names, and not a byte more. */
static void check_values(struct bytes names, struct bytes values)
{
    struct bytes name;
    while (bytes_next_list_member(&names, &name)) {
        REQUIRE(values.len >= 4);
        const unsigned char *at = (const unsigned char *)values.at;
        uint32_t len = at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
        len = len == UINT32_MAX ? 0 : len;
        REQUIRE(len <= values.len - 4);
        values = bytes_from(values.at + 4 + len, values.len - 4 - len);
    }
    REQUIRE(values.len == 0);
}

/* The same list with white space beside its commas. */
static struct bytes space_out(struct bytes list, struct arena *arena)
{
    char *out = arena_alloc(arena, 3 * list.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < list.len; i++) {
        if (list.at[i] == ',')
            out[len++] = '\t';
        out[len++] = list.at[i];
        if (list.at[i] == ',')
            out[len++] = ' ';
    }
    return bytes_from(out, len);
}

/* First line: Vary. The others: fields of a request, in turn those that have rules of their own. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum header_id known[] = {HEADER_ACCEPT_ENCODING, HEADER_ACCEPT_LANGUAGE, HEADER_COOKIE, HEADER_USER_AGENT, HEADER_ACCEPT};
    struct arena arena;
    struct headers response, request, spaced;
    struct bytes input = bytes_from((const char *)data, size), names;
    arena_init(&arena);
    headers_init(&response, &arena);
    headers_init(&request, &arena);
    headers_init(&spaced, &arena);
    bool has_quotes = bytes_find(input, '"') < input.len; /* inside them white space counts, and a quote may stay open over lines */
    fuzz_add_field(&response, HEADER_VARY, fuzz_take_line(&input));
    fuzz_add_field(&response, HEADER_VARY, BYTES("accept-encoding, accept-language, cookie, user-agent, accept"));

    for (unsigned i = 0; input.len > 0; i++) {
        struct bytes value = fuzz_take_line(&input);
        fuzz_add_field(&request, known[i % 5], value);
        bool is_list = !has_quotes && known[i % 5] != HEADER_COOKIE && known[i % 5] != HEADER_USER_AGENT;
        fuzz_add_field(&spaced, known[i % 5], is_list ? space_out(value, &arena) : value);
    }
    enum vary_kind kind = vary_parse(&response, &(struct rule_names){NULL, 0}, &arena, &names);
    REQUIRE(kind == vary_kind(&response));
    if (kind == VARY_FIELDS) {
        check_names(names);
        struct bytes values = vary_values(names, &request, &arena);
        check_values(names, values);
        REQUIRE(bytes_equal(values, vary_values(names, &spaced, &arena)));
    }
    arena_free(&arena);
    return 0;
}
