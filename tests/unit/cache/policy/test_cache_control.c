#include "cache/policy/cache_control.h"

#include "tests/unit/cache/policy/fields.h"

#include <stdio.h>

/* What it names lies in an arena that lives as long as the test. */
static struct cache_control parse(const char *lines)
{
    static struct arena arena;
    static bool is_ready;
    if (!is_ready)
        arena_init(&arena);
    is_ready = true;
    struct headers fields = fields_from(&arena, lines);
    struct cache_control cc;
    cache_control_parse(&cc, &fields, HEADER_CACHE_CONTROL);
    return cc;
}

static struct cache_control parse_value(const char *value)
{
    char line[512];
    snprintf(line, sizeof(line), "Cache-Control: %s", value);
    return parse(line);
}

Test(cache_control, max_age)
{
    static const struct {
        const char *clause, *value;
        int64_t max_age;
    } cases[] = {
        {"§5.2.2.1", "max-age=3600", 3600},
        {"§5.2.2.1", "max-age=0", 0},
        {"§5.2: directives are identified without case", "MaX-aGe=3600", 3600},
        {"§1.2.2: leading zeros", "max-age=003600", 3600},
        {"§5.2: either form of argument", "max-age=\"3600\"", 3600},
        {"§1.2.2: 2^31 - 1", "max-age=2147483647", 2147483647},
        {"§1.2.2: 2^31", "max-age=2147483648", INT64_C(2147483648)},
        {"§1.2.2: more than 2^31", "max-age=2147483649", INT64_C(2147483648)},
        {"§1.2.2: more than 2^32", "max-age=99999999999", INT64_C(2147483648)},
        {"§1.2.2: more than 2^64", "max-age=99999999999999999999999999999", INT64_C(2147483648)},
        {"§4.2.1: negative", "max-age=-100", 0},
        {"§4.2.1: signed", "max-age=+100", 0},
        {"§4.2.1: leading alpha", "max-age=a3600", 0},
        {"§4.2.1: trailing alpha", "max-age=3600a", 0},
        {"§4.2.1: decimal", "max-age=3600.0", 0},
        {"§4.2.1: decimal", "max-age=3600.5", 0},
        {"§4.2.1: hexadecimal", "max-age=0x10", 0},
        {"§4.2.1: no argument", "max-age", 0},
        {"§4.2.1: empty argument", "max-age=", 0},
        {"§4.2.1: empty quoted argument", "max-age=\"\"", 0},
        {"§4.2.1: space inside quotes", "max-age=\" 3600\"", 0},
        {"§4.2.1: quoted pair", "max-age=\"36\\00\"", 0},
        {"§4.2.1: single quotes are token characters", "max-age='3600'", 0},
        {"§5.2: no space before =", "max-age =3600", 0},
        {"§5.2: no space after =", "max-age= 3600", 0},
        {"§5.2: a colon is no =", "max-age:3600", 0},
        {"§5.2: a space is no =", "max-age 3600", 0},
        {"§5.2: a semicolon is no comma", "max-age=3600; public", 0},
        {"§5.2: junk after a quoted argument", "max-age=\"3600\"x", 0},
        {"§5.2: unclosed quote", "max-age=\"3600", 0},
        {"§4.2.1: the first of several", "max-age=1800, max-age=1", 1800},
        {"§4.2.1: the first of several", "max-age=1, max-age=1800", 1},
        {"§4.2.1: an invalid one makes it stale", "max-age=1800, max-age=x", 0},
        {"§4.2.1: an invalid one makes it stale", "max-age=x, max-age=1800", 0},
        {"§5.2.3: unknown directives are ignored", "foobar, max-age=3600", 3600},
        {"§5.2.3: with an argument", "foo=bar, max-age=3600, b=1", 3600},
        {"§5.2.3: a quoted argument hides what is in it", "extension=\"max-age=3600\", max-age=1", 1},
        {"§5.2.3: after it too", "max-age=1, extension=\"max-age=3600\"", 1},
        {"§5.2.3: a comma inside it", "extension=\"a, max-age=3600\", max-age=1", 1},
        {"§5.2.3: an escaped quote inside it", "extension=\"a\\\", max-age=3600, b=\\\"\", max-age=1", 1},
        {"§5.2.3: only there", "extension=\"max-age=3600\"", CC_ABSENT},
        {"§5.2: a longer name is another directive", "xmax-age=3600", CC_ABSENT},
        {"§5.2: a longer name is another directive", "max-agex=3600", CC_ABSENT},
        {"RFC 9110 §5.6.1: empty members", ",, max-age=3600 ,,", 3600},
        {"RFC 9110 §5.6.3: optional white space", " \tmax-age=3600\t , public", 3600},
        {"RFC 9110 §5.6.1: no white space", "public,max-age=3600,no-transform", 3600},
        {"§5.2: empty field", "", CC_ABSENT},
        {"§5.2: = alone", "=3600", CC_ABSENT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cache_control cc = parse_value(cases[i].value);
        cr_expect_eq(cc.max_age, cases[i].max_age, "%s: %s: %ld", cases[i].clause, cases[i].value, (long)cc.max_age);
        cr_expect(cc.is_present);
    }
}

Test(cache_control, each_directive_sets_its_member_and_no_other)
{
    const struct cache_control absent = parse("Foo: bar");
    cr_expect_not(absent.is_present);
    struct {
        const char *clause, *value;
        struct cache_control expected;
    } cases[] = {
        {"§5.2.2.5", "no-store", {.no_store = true}},
        {"§5.2.2.4", "no-cache", {.no_cache = true}},
        {"§5.2.2.7", "private", {.is_private = true}},
        {"§5.2.2.9", "public", {.is_public = true}},
        {"§5.2.2.2", "must-revalidate", {.must_revalidate = true}},
        {"§5.2.2.8", "proxy-revalidate", {.proxy_revalidate = true}},
        {"§5.2.2.6", "no-transform", {.no_transform = true}},
        {"§5.2.2.3", "must-understand", {.must_understand = true}},
        {"RFC 8246 §2", "immutable", {.immutable = true}},
        {"RFC 8246 §2: arguments are ignored", "immutable=yes", {.immutable = true}},
        {"§5.2.1.7", "only-if-cached", {.only_if_cached = true}},
        {"§5.2.1.2: no value", "max-stale", {.max_stale_any = true}},
        {"§5.2: case", "No-StOrE", {.no_store = true}},
        {"§5.2: case", "PRIVATE", {.is_private = true}},
        {"§5.2.2.4: names", "no-cache=\"Set-Cookie, A\"", {.no_cache_names = {"Set-Cookie, A", 13}}},
        {"§5.2.2.4: names as a token", "no-cache=a", {.no_cache_names = {"a", 1}}},
        {"§5.2.2.7: names", "private=\"a\"", {.private_names = {"a", 1}}},
        {"§5.2.2.7: names as a token", "private=a", {.private_names = {"a", 1}}},
        {"§5.2.2.7: with and without names", "private, private=\"a\"", {.is_private = true, .private_names = {"a", 1}}},
        {"§5.2.2.7: twice", "private=\"a\", private=\"b\"", {.is_private = true, .private_names = {"a", 1}}},
        {"§5.2.2.4: no name", "no-cache=\"\"", {.no_cache = true}},
        {"§5.2.2.4: no name but commas", "no-cache=\" , \"", {.no_cache = true}},
        {"§5.2.2.4: nothing behind =", "no-cache=", {.no_cache = true}},
        {"§5.2.2.4: no field name", "no-cache=\"a b\"", {.no_cache = true}},
        {"§5.2.2.4: an escape", "no-cache=\"a\\b\"", {.no_cache = true}},
        {"§5.2.2.4: junk behind it", "no-cache=\"a\"b", {.no_cache = true}},
        {"§5.2.2.4: never closed", "no-cache=\"a", {.no_cache = true}},
        {"without Content-Encoding the rest is nothing", "private=\"content-encoding\"", {.is_private = true}},
        {"without Vary it is another's", "no-cache=\"a, Vary\"", {.no_cache = true}},
        {"§5.2.2.5: an argument does not weaken", "no-store=\"a\"", {.no_store = true}},
        {"§5.2.2.2: an argument does not weaken", "must-revalidate=0", {.must_revalidate = true}},
        {"§5.2.2.9: an argument is not allowed", "public=\"a\"", {.is_public = false}},
        {"§5.2.2.3: an argument is not allowed", "must-understand=1", {.must_understand = false}},
        {"§4.2.1: both count", "public, private, no-store", {.is_public = true, .is_private = true, .no_store = true}},
        {"no substring", "x-no-store, no-storex, privateer, not-public", {.no_store = false}},
        {"no look into quotes", "x=\"no-store, private\"", {.no_store = false}},
        /* A malformed line does not hide a restriction, and grants nothing. */
        {"unclosed quote", "x=\"a, private, public", {.is_private = true}},
        {"semicolon", "public; private", {.is_private = true}},
        {"space", "foo private immutable", {.is_private = true}},
        {"quote inside a token", "x\"y, no-store, public", {.no_store = true}},
        {"quoted directive", "\"private\"", {.is_private = true}},
        {"trailing junk", "must-understand;", {.must_understand = false}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cache_control cc = parse_value(cases[i].value), *expected = &cases[i].expected;
        cr_expect_eq(cc.max_age, CC_ABSENT, "%s", cases[i].value);
        cr_expect_eq(cc.max_stale, CC_ABSENT, "%s", cases[i].value);
#define SAME(member) cr_expect_eq(cc.member, expected->member, "%s: %s: " #member, cases[i].clause, cases[i].value)
        SAME(no_store);
        SAME(no_cache);
        SAME(is_private);
        SAME(is_public);
        SAME(must_revalidate);
        SAME(proxy_revalidate);
        SAME(no_transform);
        SAME(must_understand);
        SAME(immutable);
        SAME(only_if_cached);
        SAME(max_stale_any);
#undef SAME
        cr_expect(bytes_equal(cc.no_cache_names, expected->no_cache_names), "%s: %s", cases[i].clause, cases[i].value);
        cr_expect(bytes_equal(cc.private_names, expected->private_names), "%s: %s", cases[i].clause, cases[i].value);
    }
}

Test(cache_control, every_number_goes_to_its_member)
{
    struct cache_control cc = parse_value("max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, min-fresh=5, max-stale=6");
    cr_expect_eq(cc.max_age, 1);
    cr_expect_eq(cc.s_maxage, 2);
    cr_expect_eq(cc.stale_while_revalidate, 3);
    cr_expect_eq(cc.stale_if_error, 4);
    cr_expect_eq(cc.min_fresh, 5);
    cr_expect_eq(cc.max_stale, 6);
    cr_expect_not(cc.max_stale_any);
    cr_expect_eq(parse_value("max-stale=x").max_stale, 0, "an unparsable max-stale accepts nothing stale");
    cr_expect_eq(parse_value("max-stale=").max_stale, 0);
    cr_expect_eq(parse_value("s-maxage=99999999999").s_maxage, INT64_C(1) << 31);
    cr_expect_eq(parse_value("stale-if-error=-1").stale_if_error, 0);
}

Test(cache_control, lines_are_combined)
{
    struct cache_control cc = parse("Cache-Control: max-age=5\nDate: @\ncache-control: private\nCACHE-CONTROL: max-age=9");
    cr_expect_eq(cc.max_age, 5, "RFC 9110 §5.3: in order");
    cr_expect(cc.is_private);
    cc = parse("Cache-Control: x=\"a\nCache-Control: max-age=5");
    cr_expect_eq(cc.max_age, 5, "an unclosed quote ends with its line");
}

Test(cache_control, another_field_of_the_same_syntax)
{
    struct arena arena;
    arena_init(&arena);
    struct headers fields = fields_from(&arena, "Cache-Control: no-store\nCDN-Cache-Control: max-age=7");
    struct cache_control cc;
    cache_control_parse(&cc, &fields, HEADER_CDN_CACHE_CONTROL);
    cr_expect_eq(cc.max_age, 7, "RFC 9213 §2.2");
    cr_expect_not(cc.no_store);
    arena_free(&arena);
}
