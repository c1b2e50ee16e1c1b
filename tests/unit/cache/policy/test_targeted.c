#include "cache/policy/targeted.h"

#include "tests/unit/cache/policy/fields.h"

static const struct bytes names[] = {{"Outrigger-Cache-Control", 23}, {"CDN-Cache-Control", 17}};
static const struct site_rules usual = {.targeted = {names, 2}};
static const struct site_rules all = {.targeted = {names, 2}, .surrogate_control = true, .accel_expires = true};
static const struct site_rules none = {.targeted = {NULL, 0}};

enum { CC = CONTROL_CACHE_CONTROL, TARGETED = CONTROL_TARGETED, SURROGATE = CONTROL_SURROGATE, ACCEL = CONTROL_ACCEL_EXPIRES };

Test(targeted, the_first_valid_one_governs)
{
    static const struct {
        const char *clause;
        const struct site_rules *rules;
        const char *response;
        int source;
        int64_t max_age;
    } cases[] = {
        {"no field at all", &usual, "", CC, CC_ABSENT},
        {"RFC 9213 §2.2: none is there", &usual, "Cache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.2: CDN-Cache-Control", &usual, "Cache-Control: max-age=1\nCDN-Cache-Control: max-age=2", TARGETED, 2},
        {"RFC 9213 §2.2: order of the list, not of the lines", &usual, "CDN-Cache-Control: max-age=2\nOutrigger-Cache-Control: max-age=3",
         TARGETED, 3},
        {"RFC 9213 §2.1: an empty one is none", &usual, "Outrigger-Cache-Control:\nCDN-Cache-Control: max-age=2", TARGETED, 2},
        {"RFC 9213 §2.1: all are empty", &usual, "CDN-Cache-Control:\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: an invalid one is none", &usual, "CDN-Cache-Control: max-age=2, &&&\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: nor does its valid part count", &usual, "CDN-Cache-Control: no-store, A\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: no upper case", &usual, "CDN-Cache-Control: MaX-aGe=2\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: no space before =", &usual, "CDN-Cache-Control: max-age =2\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: no space after =", &usual, "CDN-Cache-Control: max-age= 2\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.1: no comma at the end", &usual, "CDN-Cache-Control: max-age=2,\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.2: unknown directives are enough", &usual, "CDN-Cache-Control: foobar\nCache-Control: max-age=1", TARGETED,
         CC_ABSENT},
        {"RFC 9213 §2.1: unknown directives are ignored", &usual, "CDN-Cache-Control: foobar=(1 2), max-age=2", TARGETED, 2},
        {"RFC 9213 §2.1: parameters are ignored", &usual, "CDN-Cache-Control: max-age=2;max-age=3", TARGETED, 2},
        {"RFC 9651 §4.2.2: the last of several", &usual, "CDN-Cache-Control: max-age=2, max-age=3", TARGETED, 3},
        {"RFC 9651 §4.2: lines are joined", &usual, "CDN-Cache-Control: max-age=2\nCDN-Cache-Control: max-age=3", TARGETED, 3},
        {"RFC 9651 §4.2: an empty line spoils it", &usual, "CDN-Cache-Control: max-age=2\nCDN-Cache-Control:\nCache-Control: max-age=1", CC,
         1},
        {"RFC 9213 §2.1: a negative lifetime", &usual, "CDN-Cache-Control: max-age=-2", TARGETED, 0},
        {"RFC 9213 §2.1: a decimal is no lifetime", &usual, "CDN-Cache-Control: max-age=2.0", TARGETED, 0},
        {"RFC 9213 §2.1: nor is a string", &usual, "CDN-Cache-Control: max-age=\"2\"\nCache-Control: max-age=1", TARGETED, 0},
        {"RFC 9213 §2.1: nor is true", &usual, "CDN-Cache-Control: max-age", TARGETED, 0},
        {"RFC 9111 §1.2.2: 2^31", &usual, "CDN-Cache-Control: max-age=2147483648", TARGETED, INT64_C(1) << 31},
        {"RFC 9111 §1.2.2: more than 2^31", &usual, "CDN-Cache-Control: max-age=99999999999", TARGETED, INT64_C(1) << 31},
        {"RFC 9651 §4.2.4: more than an Integer", &usual, "CDN-Cache-Control: max-age=9999999999999999\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.2: not in the list", &none, "CDN-Cache-Control: max-age=2\nCache-Control: max-age=1", CC, 1},
        {"RFC 9213 §2.2: nor are the others", &none, "Surrogate-Control: max-age=2\nX-Accel-Expires: 3\nCache-Control: max-age=1", CC, 1},
        /* Surrogate-Control */
        {"Surrogate-Control", &all, "Surrogate-Control: max-age=2\nCache-Control: max-age=1", SURROGATE, 2},
        {"Surrogate-Control yields to a targeted field", &all, "Surrogate-Control: max-age=2\nCDN-Cache-Control: max-age=3", TARGETED, 3},
        {"Surrogate-Control: an invalid targeted field", &all, "Surrogate-Control: max-age=2\nCDN-Cache-Control: A", SURROGATE, 2},
        {"Surrogate-Control: read as Cache-Control is", &all, "Surrogate-Control: MAX-AGE=2, Foo", SURROGATE, 2},
        {"Surrogate-Control: content alone", &all, "Surrogate-Control: content=\"ESI/1.0\"\nCache-Control: max-age=1", CC, 1},
        {"Surrogate-Control: content and a lifetime", &all, "Surrogate-Control: content=\"ESI/1.0\", max-age=2", SURROGATE, 2},
        {"Surrogate-Control: empty", &all, "Surrogate-Control:\nCache-Control: max-age=1", CC, 1},
        /* X-Accel-Expires */
        {"X-Accel-Expires", &all, "X-Accel-Expires: 3\nCache-Control: max-age=1, private", ACCEL, 3},
        {"X-Accel-Expires yields to Surrogate-Control", &all, "X-Accel-Expires: 3\nSurrogate-Control: max-age=2", SURROGATE, 2},
        {"X-Accel-Expires: a time", &all, "X-Accel-Expires: @1700000060", ACCEL, 60},
        {"X-Accel-Expires: the time of the response", &all, "X-Accel-Expires: @1700000000", ACCEL, 0},
        {"X-Accel-Expires: a time in the past", &all, "X-Accel-Expires: @17", ACCEL, 0},
        {"X-Accel-Expires: far away", &all, "X-Accel-Expires: 99999999999", ACCEL, INT64_C(1) << 31},
        {"X-Accel-Expires: a time far away", &all, "X-Accel-Expires: @18446744073709551615", ACCEL, INT64_C(1) << 31},
        {"X-Accel-Expires: negative", &all, "X-Accel-Expires: -1\nCache-Control: max-age=1", CC, 1},
        {"X-Accel-Expires: overflow", &all, "X-Accel-Expires: 18446744073709551616\nCache-Control: max-age=1", CC, 1},
        {"X-Accel-Expires: empty", &all, "X-Accel-Expires:\nCache-Control: max-age=1", CC, 1},
        {"X-Accel-Expires: @ alone", &all, "X-Accel-Expires: @\nCache-Control: max-age=1", CC, 1},
        {"X-Accel-Expires: a word", &all, "X-Accel-Expires: off\nCache-Control: max-age=1", CC, 1},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        struct response_control control;
        response_control_from(&control, &response, cases[i].rules, T0.s);
        cr_expect_eq((int)control.source, cases[i].source, "%s: %s: %d", cases[i].clause, cases[i].response, (int)control.source);
        cr_expect_eq(control.cc.max_age, cases[i].max_age, "%s: %s: %ld", cases[i].clause, cases[i].response, (long)control.cc.max_age);
    }
    arena_free(&arena);
}

Test(targeted, what_their_directives_mean)
{
    static const struct {
        const char *clause, *field;
        struct cache_control expected;
    } cases[] = {
        {"RFC 9213 §2.2: no-store", "no-store", {.no_store = true}},
        {"RFC 9213 §2.2: no-cache", "no-cache", {.no_cache = true}},
        {"RFC 9213 §2.2: private", "private", {.is_private = true}},
        {"RFC 9213 §2.2: must-revalidate", "must-revalidate", {.must_revalidate = true}},
        {"RFC 9213 §2.2: others that we know",
         "public, immutable, must-understand, no-transform, proxy-revalidate",
         {.is_public = true, .immutable = true, .must_understand = true, .no_transform = true, .proxy_revalidate = true}},
        {"RFC 9213 §2.1: false", "no-store=?0, public=?0, private=?0, no-cache=?0", {.no_store = false}},
        {"RFC 9651 §4.2.2: the last counts", "private, private=?0, no-store=?0, no-store", {.no_store = true}},
        {"RFC 9213 §2.1: names", "no-cache=\"a, b\", private=\"c\"", {.no_cache_names = {"a, b", 4}, .private_names = {"c", 1}}},
        {"RFC 9651 §4.2.2: the last counts, with names too",
         "no-cache, no-cache=\"a\", private=\"c\", private",
         {.no_cache_names = {"a", 1}, .is_private = true}},
        {"a restriction of a wrong type restricts",
         "no-store=1, private=(), no-cache=a, must-revalidate=\"x\"",
         {.no_store = true, .is_private = true, .no_cache = true, .must_revalidate = true}},
        {"a permission of a wrong type permits nothing", "public=1, immutable=a, must-understand=\"x\"", {.is_public = false}},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[256];
        snprintf(line, sizeof(line), "CDN-Cache-Control: %s", cases[i].field);
        struct headers response = fields_from(&arena, line);
        struct response_control control;
        response_control_from(&control, &response, &usual, T0.s);
        const struct cache_control *cc = &control.cc, *expected = &cases[i].expected;
        cr_expect_eq((int)control.source, TARGETED, "%s", cases[i].field);
#define SAME(member) cr_expect_eq(cc->member, expected->member, "%s: %s: " #member, cases[i].clause, cases[i].field)
        SAME(no_store);
        SAME(no_cache);
        SAME(is_private);
        SAME(is_public);
        SAME(must_revalidate);
        SAME(proxy_revalidate);
        SAME(no_transform);
        SAME(must_understand);
        SAME(immutable);
#undef SAME
        cr_expect(bytes_equal(cc->no_cache_names, expected->no_cache_names), "%s", cases[i].field);
        cr_expect(bytes_equal(cc->private_names, expected->private_names), "%s", cases[i].field);
    }
    arena_free(&arena);
}

Test(targeted, numbers)
{
    struct arena arena;
    arena_init(&arena);
    struct headers response = fields_from(&arena, "CDN-Cache-Control: s-maxage=5, stale-while-revalidate=6, stale-if-error=7");
    struct response_control control;
    response_control_from(&control, &response, &usual, T0.s);
    cr_expect_eq(control.cc.s_maxage, 5);
    cr_expect_eq(control.cc.stale_while_revalidate, 6);
    cr_expect_eq(control.cc.stale_if_error, 7);
    response = fields_from(&arena, "X-Accel-Expires: 0\nCache-Control: max-age=1");
    response_control_from(&control, &response, &all, T0.s);
    cr_expect(control.cc.no_store, "nginx: 0 is not stored");
    response = fields_from(&arena, "X-Accel-Expires: @0");
    response_control_from(&control, &response, &all, T0.s);
    cr_expect(control.cc.no_store);
    arena_free(&arena);
}

Test(targeted, which_fields_clients_do_not_see)
{
    cr_expect(field_is_for_us(HEADER_SURROGATE_CONTROL, &all));
    cr_expect(field_is_for_us(HEADER_X_ACCEL_EXPIRES, &all));
    cr_expect_not(field_is_for_us(HEADER_SURROGATE_CONTROL, &usual));
    cr_expect_not(field_is_for_us(HEADER_X_ACCEL_EXPIRES, &usual));
    cr_expect_not(field_is_for_us(HEADER_CDN_CACHE_CONTROL, &all), "RFC 9213 §3: caches further on may use it");
    cr_expect_not(field_is_for_us(HEADER_CACHE_CONTROL, &all));
    cr_expect_not(field_is_for_us(HEADER_OTHER, &all));
}
