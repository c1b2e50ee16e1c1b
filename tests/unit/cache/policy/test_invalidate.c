#include "cache/policy/invalidate.h"

#include "tests/unit/cache/policy/fields.h"

Test(invalidate, unsafe_methods_that_did_not_fail)
{
    static const struct {
        const char *clause;
        enum method method;
        unsigned status;
        bool invalidates;
    } cases[] = {
        {"§4.4: PUT", METHOD_PUT, 200, true},
        {"§4.4: PUT that created", METHOD_PUT, 201, true},
        {"§4.4: POST", METHOD_POST, 200, true},
        {"§4.4: POST that redirects", METHOD_POST, 303, true},
        {"§4.4: DELETE", METHOD_DELETE, 204, true},
        {"§4.4: PATCH", METHOD_PATCH, 200, true},
        {"§4.4: unknown methods count as unsafe", METHOD_OTHER, 200, true},
        {"§4.4: the last non-error", METHOD_POST, 399, true},
        {"§4.4: 4xx is an error", METHOD_POST, 400, false},
        {"§4.4: 404", METHOD_DELETE, 404, false},
        {"§4.4: 5xx is an error", METHOD_POST, 500, false},
        {"§4.4: unknown 5xx", METHOD_PUT, 599, false},
        {"§4.4: beyond 5xx", METHOD_PUT, 999, false},
        {"§4.4: interim", METHOD_POST, 100, false},
        {"RFC 9110 §9.2.1: safe", METHOD_GET, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_HEAD, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_OPTIONS, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_TRACE, 200, false},
        {"RFC 4918 §9.1: safe", METHOD_PROPFIND, 207, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(invalidates_target(cases[i].method, cases[i].status), cases[i].invalidates, "%s", cases[i].clause);
}

/* Against http://h.test/a/b/c?q: RFC 3986 §5.4, as far as it is about one origin. NULL: nothing is invalidated. */
Test(invalidate, references_within_the_origin)
{
    static const struct {
        const char *reference, *result;
    } cases[] = {
        {"http://h.test/x", "/x"},
        {"HTTP://H.Test:80/x?y", "/x?y"},
        {"http://h.test.:/x", "/x"},
        {"http://h.test", "/"},
        {"http://h.test?y", "/?y"},
        {"//h.test/x", "/x"},
        {"/x", "/x"},
        {"/x?", "/x?"},
        {"/x?y?z#f", "/x?y?z"},
        {"x", "/a/b/x"},
        {"x:y", NULL},
        {"./x:y", "/a/b/x:y"},
        {"x/./y/../z", "/a/b/x/z"},
        {"", "/a/b/c?q"},
        {"#f", "/a/b/c?q"},
        {"?y", "/a/b/c?y"},
        {".", "/a/b/"},
        {"./", "/a/b/"},
        {"..", "/a/"},
        {"../", "/a/"},
        {"../x", "/a/x"},
        {"../..", "/"},
        {"../../../x", "/x"},
        {"/./x", "/x"},
        {"/../x", "/x"},
        {"/x/..", "/"},
        {"/x/../..", "/"},
        {"x.", "/a/b/x."},
        {"..x", "/a/b/..x"},
        {"/x//y", "/x//y"},
        {"/x//../y", "/x/y"},
        {"/%2e%2e/x", "/%2e%2e/x"},
        {"https://h.test/x", NULL},
        {"http://h.test:8080/x", NULL},
        {"http://h.test.evil/x", NULL},
        {"http://evil/h.test", NULL},
        {"http://user@h.test/x", NULL},
        {"//evil/x", NULL},
        {"///x", NULL},
        {"mailto:x@h.test", NULL},
        {"http:/x", NULL},
        {"http:x", NULL},
    };
    const struct target base = {BYTES("http"), BYTES("h.test"), BYTES("/a/b/c"), BYTES("q")};
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target result;
        bool found = resolve_same_origin(arena_copy(&arena, bytes_from_string(cases[i].reference)), &base, &arena, &result);
        cr_expect_eq(found, cases[i].result != NULL, "%s", cases[i].reference);
        if (!found || cases[i].result == NULL)
            continue;
        struct bytes text =
            result.query.at == NULL ? result.path : arena_printf(&arena, "%.*s?%.*s", BYTES_FMT(result.path), BYTES_FMT(result.query));
        cr_expect(bytes_equal(text, bytes_from_string(cases[i].result)), "%s: %.*s", cases[i].reference, BYTES_FMT(text));
        cr_expect(bytes_equal(result.host, base.host) && bytes_equal(result.scheme, base.scheme));
    }
    arena_free(&arena);
}

Test(invalidate, the_origin_has_a_port)
{
    static const struct {
        const char *scheme, *host, *reference;
        bool same;
    } cases[] = {
        {"https", "h.test", "https://h.test:443/", true}, {"https", "h.test:443", "https://h.test/", true},
        {"https", "h.test", "https://h.test:80/", false}, {"http", "h.test:8080", "http://h.test:8080/", true},
        {"http", "h.test:8080", "http://h.test/", false}, {"http", "[::1]", "http://[::1]:80/", true},
        {"http", "[::1]:8080", "http://[::1]/", false},   {"http", "h.test", "http:///", false},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct target base = {bytes_from_string(cases[i].scheme), bytes_from_string(cases[i].host), BYTES("/"), BYTES_NONE};
        struct target result;
        cr_expect_eq(resolve_same_origin(bytes_from_string(cases[i].reference), &base, &arena, &result), cases[i].same, "row %zu", i);
    }
    arena_free(&arena);
}

Test(invalidate, content_location_of_the_target_itself)
{
    static const struct bytes ignored = {"utm_*", 5};
    static const struct query_rules rules = {.ignore = {&ignored, 1}};
    static const struct {
        const char *path, *query, *fields;
        bool same;
    } cases[] = {
        {"/a/b", NULL, "Content-Location: /a/b", true},
        {"/a/b", NULL, "Content-Location: b", true},
        {"/a/b", NULL, "Content-Location:", false},
        {"/a/b", NULL, "Content-Location: #part", false},
        {"/a/b", NULL, "Content-Location: b#part", false},
        {"/a/b", NULL, "Content-Location: ../a/./b", true},
        {"/a/b", NULL, "Content-Location: HTTP://Example.COM/a/b", true},
        {"/a/b", NULL, "Content-Location: https://example.com/a/b", false},
        {"/a/b", NULL, "Content-Location: //example.com:81/a/b", false},
        {"/a/b", NULL, "Content-Location: /a/B", false},
        {"/a/b", NULL, "Content-Location: /a/%62", false},
        {"/a/b", NULL, "Content-Location: /a/b?", false},
        {"/a/b", NULL, "Content-Location: /a/b?utm_source=x", true},
        {"/a/b", "", "Content-Location: /a/b?", true},
        {"/a/b", "x=1", "Content-Location: ?x=1", true},
        {"/a/b", "x=1", "Content-Location: ?utm_source=x&x=1", true},
        {"/a/b", "x=1", "Content-Location: ?x=2", false},
        {"/a/b", "x=1", "Content-Location: b", false},
        {"/a/b", NULL, "Location: /a/b", false},
        {"/a/b", NULL, "Content-Location: /a/b\nContent-Location: /a/b", false},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct target target = {.scheme = BYTES("http"),
                                      .host = BYTES("example.com"),
                                      .path = bytes_from_string(cases[i].path),
                                      .query = cases[i].query != NULL ? bytes_from_string(cases[i].query) : BYTES_NONE};
        struct headers response = fields_from(&arena, cases[i].fields);
        cr_expect_eq(content_location_is_target(&response, &target, &rules), cases[i].same, "%s?%s: %s", cases[i].path, cases[i].query,
                     cases[i].fields);
    }
    arena_free(&arena);
}
