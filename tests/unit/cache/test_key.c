#include "cache/key.h"

#include <criterion/criterion.h>

static struct arena arena;
static struct hash_key hash_key;

static void setup(void)
{
    arena_init(&arena);
    hash_key_derive(&hash_key, (const unsigned char[HASH_KEY_BYTES]){7});
}

static void teardown(void)
{
    arena_free(&arena);
}

TestSuite(key, .init = setup, .fini = teardown);

static struct bytes text(const char *string)
{
    return string == NULL ? BYTES_NONE : bytes_from_string(string);
}

static struct cache_key build(const char *scheme, const char *host, const char *path, const char *query)
{
    return cache_key_build(&hash_key, &arena, text(scheme), text(host), text(path), text(query));
}

static bool same(struct cache_key a, struct cache_key b)
{
    bool equal = bytes_equal(a.encoded, b.encoded);
    cr_assert_eq(equal, hash_equal(a.hash, b.hash));
    return equal;
}

Test(key, host_is_normalised)
{
    static const struct {
        const char *scheme, *host, *same_as;
    } cases[] = {
        {"http", "Example.COM", "example.com"},
        {"http", "example.com:80", "example.com"},
        {"https", "example.com:443", "example.com"},
        {"http", "example.com.", "example.com"},
        {"http", "EXAMPLE.com.:80", "example.com"},
        {"http", "example.com:", "example.com"},
        {"http", "example.com.:8080", "example.com:8080"},
        {"http", "[::1]:80", "[::1]"},
        {"https", "[::1]:443", "[::1]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert(same(build(cases[i].scheme, cases[i].host, "/", NULL), build(cases[i].scheme, cases[i].same_as, "/", NULL)), "case %zu",
                  i);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert(bytes_equal(cache_key_host(&arena, text(cases[i].scheme), text(cases[i].host)), text(cases[i].same_as)), "case %zu", i);
}

Test(key, different_requests_have_different_keys)
{
    static const char *const requests[][4] = {
        {"http", "a", "/", NULL},    {"https", "a", "/", NULL},      {"http", "a:443", "/", NULL}, {"https", "a:80", "/", NULL},
        {"http", "a", "/", ""},      {"http", "a", "/", "x"},        {"http", "a", "/x", NULL},    {"http", "a", "/X", NULL},
        {"http", "a", "/%78", NULL}, {"http", "a", "//", NULL},      {"http", "a", "/?x", NULL},   {"http", "a/", "", NULL},
        {"http", "a", "/;x", NULL},  {"http", "a", "/x/../x", NULL}, {"http", "[::1]", "/", NULL}, {"http", "[::1]:8", "/", NULL},
        {"http", "ab", "/", NULL},   {"http", "a", "b/", NULL},      {"http", ".", "/", NULL},
    };
    enum { COUNT = sizeof requests / sizeof *requests };
    struct cache_key keys[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        keys[i] = build(requests[i][0], requests[i][1], requests[i][2], requests[i][3]);
        for (unsigned j = 0; j < i; j++)
            cr_assert_not(same(keys[i], keys[j]), "%u and %u", i, j);
    }
}

Test(key, parts_come_back)
{
    char path[300] = "/";
    memset(path + 1, 'p', sizeof path - 2);
    path[sizeof path - 1] = '\0';
    struct bytes scheme, host, rest, query;
    cr_assert(cache_key_parts(build("https", "Example.com:8443", path, "").encoded, &scheme, &host, &rest, &query));
    cr_assert(bytes_equal(scheme, BYTES("https")));
    cr_assert(bytes_equal(host, BYTES("example.com:8443")));
    cr_assert(bytes_equal(rest, bytes_from_string(path)));
    cr_assert_not_null(query.at);
    cr_assert_eq(query.len, 0);
    cr_assert(cache_key_parts(build("http", "a", "/", NULL).encoded, &scheme, &host, &rest, &query));
    cr_assert_null(query.at);
    cr_assert(cache_key_parts(build("http", "a", "/", "q=1").encoded, &scheme, &host, &rest, &query));
    cr_assert(bytes_equal(query, BYTES("q=1")));
}

Test(key, what_is_no_encoding_is_refused)
{
    struct bytes scheme, host, path, query, good = build("http", "a", "/", "q").encoded;
    for (size_t length = 0; length < good.len; length++)
        cr_assert_not(cache_key_parts(bytes_from(good.at, length), &scheme, &host, &path, &query), "cut at %zu", length);
    struct bytes longer = arena_printf(&arena, "%.*sx", BYTES_FMT(good));
    cr_assert_not(cache_key_parts(longer, &scheme, &host, &path, &query));
    cr_assert_not(cache_key_parts(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), &scheme, &host, &path, &query));
    cr_assert_not(cache_key_parts(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), &scheme, &host, &path, &query));
}

Test(key, told_as_a_url)
{
    cr_expect(
        bytes_equal(cache_key_url(build("https", "Example.com:8443", "/a b", "").encoded, &arena), BYTES("https://example.com:8443/a b?")));
    cr_expect(bytes_equal(cache_key_url(build("http", "a", "/", NULL).encoded, &arena), BYTES("http://a/")));
    cr_expect_null(cache_key_url(BYTES("junk"), &arena).at);
}
