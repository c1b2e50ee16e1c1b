#include "cache/policy/vary.h"

#include "tests/unit/cache/policy/fields.h"

#include <stdio.h>

Test(vary, parse)
{
    static const struct {
        const char *clause, *response;
        enum vary_kind kind;
        const char *names;
    } cases[] = {
        {"RFC 9110 §12.5.5: absent", "Date: @", VARY_NONE, NULL},
        {"RFC 9110 §12.5.5: one", "Vary: Foo", VARY_FIELDS, "foo"},
        {"RFC 9110 §5.1: names have no case", "Vary: ACCEPT-encoding", VARY_FIELDS, "accept-encoding"},
        {"order does not matter", "Vary: Foo, Bar, Baz", VARY_FIELDS, "bar,baz,foo"},
        {"order does not matter", "Vary: Baz, Foo, Bar", VARY_FIELDS, "bar,baz,foo"},
        {"a prefix sorts first", "Vary: accept-encoding, accept", VARY_FIELDS, "accept,accept-encoding"},
        {"RFC 9110 §5.3: several lines", "Vary: Foo\nVary: Bar", VARY_FIELDS, "bar,foo"},
        {"repeated", "Vary: Foo, foo\nVary: FOO", VARY_FIELDS, "foo"},
        {"RFC 9110 §5.6.1: empty members", "Vary: ,, Foo ,,Bar,", VARY_FIELDS, "bar,foo"},
        {"RFC 9110 §5.6.1: nothing but empty members", "Vary: , ,", VARY_NONE, NULL},
        {"RFC 9110 §5.6.1: empty", "Vary:", VARY_NONE, NULL},
        {"RFC 9110 §12.5.5: *", "Vary: *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * twice", "Vary: *, *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * on two lines", "Vary: *\nVary: *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * after an empty member", "Vary: , *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * after an empty line", "Vary:\nVary: *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * first", "Vary: *, Foo", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * last", "Vary: Foo, *", VARY_STAR, NULL},
        {"RFC 9110 §12.5.5: * on another line", "Vary: Foo\nVary: *", VARY_STAR, NULL},
        {"RFC 9110 §5.6.2: * is a token character elsewhere", "Vary: a*", VARY_FIELDS, "a*"},
        {"malformed: who knows what it varies on", "Vary: Foo Bar", VARY_STAR, NULL},
        {"malformed: quoted", "Vary: \"Foo\"", VARY_STAR, NULL},
        {"malformed: among others", "Vary: Foo, B@r", VARY_STAR, NULL},
        {"ours: who the client is", "Vary: X-Forwarded-For", VARY_STAR, NULL},
        {"ours: who the client is, among others", "Vary: Foo, x-real-ip", VARY_STAR, NULL},
        {"ours: who the client is, by RFC 7239", "Vary: Forwarded", VARY_STAR, NULL},
        {"ours: in the key", "Vary: Host, X-Forwarded-Host, X-FORWARDED-PROTO", VARY_NONE, NULL},
        {"ours: in the key, among others", "Vary: X-Forwarded-Proto, Foo", VARY_FIELDS, "foo"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        struct bytes names = BYTES_NONE;
        cr_expect_eq(vary_parse(&response, &(struct rule_names){NULL, 0}, &arena, &names), cases[i].kind, "%s: %s", cases[i].clause,
                     cases[i].response);
        cr_expect_eq(vary_kind(&response), cases[i].kind, "%s: %s", cases[i].clause, cases[i].response);
        if (cases[i].names)
            cr_expect(bytes_equal(names, bytes_from_string(cases[i].names)), "%s: %.*s", cases[i].clause, BYTES_FMT(names));
    }
    arena_free(&arena);
}

Test(vary, requests_that_select_the_same_response_and_those_that_do_not)
{
    static const struct {
        const char *clause, *names, *left, *right;
        bool same;
    } cases[] = {
        /* Any field */
        {"§4.1: the same", "foo", "Foo: 1", "Foo: 1", true},
        {"§4.1: another value", "foo", "Foo: 1", "Foo: 2", false},
        {"§4.1: other fields do not count", "foo", "Foo: 1\nOther: 2", "Foo: 1\nOther: 3", true},
        {"§4.1: absent in both", "foo", "", "Bar: 1", true},
        {"§4.1: absent in one", "foo", "Foo: 1", "", false},
        {"§4.1: absent is not empty", "foo", "Foo:", "", false},
        {"§4.1: empty in both", "foo", "Foo:", "Foo: ", true},
        {"§4.1: all fields count", "bar,foo", "Foo: 1\nBar: 2", "Foo: 1\nBar: 3", false},
        {"§4.1: in any order of lines", "bar,foo", "Foo: 1\nBar: 2", "Bar: 2\nFoo: 1", true},
        {"§4.1: values do not run into each other", "bar,foo", "Bar: ab\nFoo: c", "Bar: a\nFoo: bc", false},
        {"§4.1: nor into absence", "bar,foo", "Bar: a", "Foo: a", false},
        {"RFC 9110 §5.3: lines are joined", "foo", "Foo: 1, 2", "Foo: 1\nFoo: 2", true},
        {"RFC 9110 §5.3: in their order", "foo", "Foo: 1\nFoo: 2", "Foo: 2\nFoo: 1", false},
        {"§4.1: white space beside commas", "foo", "Foo: 1,2", "Foo:  1 ,\t2 ", true},
        {"white space inside a member counts", "foo", "Foo: a b", "Foo: a  b", false},
        {"quoted strings are left alone", "foo", "Foo: \"a, b\"", "Foo: \"a,b\"", false},
        {"quoted strings with escaped quotes too", "foo", "Foo: \"\\\", b\"", "Foo: \"\\\",b\"", false},
        {"after a quoted string it goes on", "foo", "Foo: \"a\" , b", "Foo: \"a\",b", true},
        {"order of unknown members counts", "foo", "Foo: 1, 2", "Foo: 2, 1", false},
        {"case of unknown members counts", "foo", "Foo: a", "Foo: A", false},
        {"number of members counts", "foo", "Foo: a,,b", "Foo: a,b", false},
        {"case of the name does not", "foo", "foo: 1", "FOO: 1", true},
        /* Fields that are no lists */
        {"RFC 9110 §10.1.5: User-Agent", "user-agent", "User-Agent: a, b", "User-Agent: a,b", false},
        {"RFC 9110 §11.6.2: Authorization", "authorization", "Authorization: D a=1, b=2", "Authorization: D a=1,b=2", false},
        {"RFC 6265 §5.4: Cookie", "cookie", "Cookie: a=1, b", "Cookie: a=1,b", false},
        /* Accept-Encoding */
        {"RFC 9110 §12.5.3: order of equal weights", "accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br,gzip", true},
        {"RFC 9110 §8.4.1: case", "accept-encoding", "Accept-Encoding: GZip", "Accept-Encoding: gzip", true},
        {"RFC 9110 §8.4.1.3: x-gzip", "accept-encoding", "Accept-Encoding: x-gzip", "Accept-Encoding: gzip", true},
        {"RFC 9110 §8.4.1.1: x-compress", "accept-encoding", "Accept-Encoding: X-Compress", "Accept-Encoding: compress", true},
        {"RFC 9110 §12.4.2: q=1", "accept-encoding", "Accept-Encoding: gzip;q=1.0", "Accept-Encoding: gzip", true},
        {"RFC 9110 §12.4.2: digits", "accept-encoding", "Accept-Encoding: gzip;q=0.50, br", "Accept-Encoding: gzip;q=0.5, br", true},
        {"RFC 9110 §12.4.2: white space", "accept-encoding", "Accept-Encoding: gzip ; Q=0.5,br", "Accept-Encoding: gzip;q=0.5, br", true},
        {"RFC 9110 §12.5.3: of weights the order counts", "accept-encoding", "Accept-Encoding: gzip;q=0.5, br",
         "Accept-Encoding: gzip;q=0.9,br", true},
        {"RFC 9110 §12.5.3: three of them", "accept-encoding", "Accept-Encoding: gzip;q=0.5, br, zstd;q=0.7",
         "Accept-Encoding: br;q=0.3, zstd;q=0.2, gzip;q=0.1", true},
        {"RFC 9110 §12.5.3: another order", "accept-encoding", "Accept-Encoding: gzip;q=0.5, br", "Accept-Encoding: gzip, br;q=0.5", false},
        {"RFC 9110 §12.5.3: no order", "accept-encoding", "Accept-Encoding: gzip;q=0.5, br", "Accept-Encoding: gzip, br", false},
        {"RFC 9110 §12.5.3: equal weights", "accept-encoding", "Accept-Encoding: gzip;q=0.5, br;q=0.5", "Accept-Encoding: gzip, br", true},
        {"RFC 9110 §12.5.3: the only one", "accept-encoding", "Accept-Encoding: gzip;q=0.5", "Accept-Encoding: gzip", true},
        {"RFC 9110 §12.4.2: thousandths count", "accept-encoding", "Accept-Encoding: gzip;q=0.501, br;q=0.5",
         "Accept-Encoding: gzip;q=0.5,br;q=0.5", false},
        {"RFC 9110 §12.5.3: q=0 forbids", "accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: as not naming it does", "accept-encoding", "Accept-Encoding: gzip;q=0, br", "Accept-Encoding: br", true},
        {"RFC 9110 §12.5.3: except beside *", "accept-encoding", "Accept-Encoding: gzip;q=0, *", "Accept-Encoding: *", false},
        {"RFC 9110 §12.5.3: nothing but identity", "accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding:", true},
        {"RFC 9110 §12.5.3: nothing but identity", "accept-encoding", "Accept-Encoding: identity", "Accept-Encoding:", true},
        {"RFC 9110 §12.5.3: identity as the last resort", "accept-encoding", "Accept-Encoding: gzip, identity;q=0.1",
         "Accept-Encoding: gzip", true},
        {"RFC 9110 §12.5.3: identity as good", "accept-encoding", "Accept-Encoding: gzip, identity", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: identity preferred", "accept-encoding", "Accept-Encoding: gzip;q=0.5, identity", "Accept-Encoding: gzip",
         false},
        {"RFC 9110 §12.5.3: identity refused", "accept-encoding", "Accept-Encoding: gzip, identity;q=0", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: all others refused", "accept-encoding", "Accept-Encoding: gzip, *;q=0", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: * is not the codings", "accept-encoding", "Accept-Encoding: *", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: one more coding", "accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.5.3: an unknown one", "accept-encoding", "Accept-Encoding: gzip, sdch", "Accept-Encoding: gzip", true},
        {"RFC 9110 §12.5.3: unknown ones only", "accept-encoding", "Accept-Encoding: a, b;q=0.5", "Accept-Encoding: identity", true},
        {"RFC 9842: a dictionary", "accept-encoding", "Accept-Encoding: gzip, dcb", "Accept-Encoding: gzip", false},
        {"no field can be spelled like a normalised one", "accept-encoding", "Accept-Encoding: br, gzip;q=0.5",
         "Accept-Encoding: br,gzip;999", false},
        {"RFC 9110 §12.5.3: repeated", "accept-encoding", "Accept-Encoding: gzip, gzip", "Accept-Encoding: gzip", true},
        {"RFC 9110 §12.5.3: empty is identity only", "accept-encoding", "Accept-Encoding:", "", false},
        {"RFC 9110 §12.5.3: lines", "accept-encoding", "Accept-Encoding: br\nAccept-Encoding: gzip", "Accept-Encoding: gzip, br", true},
        {"RFC 9110 §12.4.2: an invalid weight is compared as it is", "accept-encoding", "Accept-Encoding: gzip;q=2",
         "Accept-Encoding: gzip", false},
        {"RFC 9110 §12.4.2: an invalid weight is compared as it is", "accept-encoding", "Accept-Encoding: gzip;q=1.5",
         "Accept-Encoding: gzip;q=0.5", false},
        {"a parameter that is none is compared as it is", "accept-encoding", "Accept-Encoding: gzip;x=1", "Accept-Encoding: gzip", false},
        /* Accept-Language */
        {"RFC 9110 §12.5.4: order of equal weights", "accept-language", "Accept-Language: en, de", "Accept-Language: de, en", true},
        {"RFC 4647 §2: case", "accept-language", "Accept-Language: en-GB", "Accept-Language: EN-gb", true},
        {"white space", "accept-language", "Accept-Language: en, de", "Accept-Language:  en ,   de", true},
        {"RFC 9110 §12.4.2: weights sort", "accept-language", "Accept-Language: fr;q=0.5, de", "Accept-Language: de;q=1, fr;q=0.500", true},
        {"RFC 9110 §12.4.2: weights exchanged", "accept-language", "Accept-Language: fr;q=0.5, de", "Accept-Language: de;q=0.5, fr", false},
        {"RFC 4647 §2.1: x- is no alias here", "accept-language", "Accept-Language: x-gzip", "Accept-Language: gzip", false},
        {"RFC 9110 §12.5.2: Accept-Charset", "accept-charset", "Accept-Charset: UTF-8, latin1", "Accept-Charset: latin1,utf-8", true},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers left = fields_from(&arena, cases[i].left), right = fields_from(&arena, cases[i].right);
        struct bytes names = bytes_from_string(cases[i].names);
        struct bytes a = vary_values(names, &left, &arena), b = vary_values(names, &right, &arena);
        cr_expect_eq(bytes_equal(a, b), cases[i].same, "%s: '%s' and '%s'", cases[i].clause, cases[i].left, cases[i].right);
    }
    arena_free(&arena);
}

Test(vary, cookies_of_the_sites_rule_select)
{
    static const struct bytes names[] = {{"tier", 4}, {"Lang", 4}, {"tier", 4}};
    static const struct rule_names rule = {names, 3};
    static const struct {
        const char *clause, *response, *names;
        enum vary_kind kind;
    } cases[] = {
        {"alone", "", "cookie:Lang,cookie:tier", VARY_FIELDS},
        {"beside fields", "Vary: Foo, Accept", "accept,cookie:Lang,cookie:tier,foo", VARY_FIELDS},
        {"beside Cookie", "Vary: Cookie", "cookie,cookie:Lang,cookie:tier", VARY_FIELDS},
        {"RFC 9110 §12.5.5: * is stronger", "Vary: *", NULL, VARY_STAR},
        {"a response cannot name them", "Vary: cookie:x", NULL, VARY_STAR},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        struct bytes seen = BYTES_NONE;
        cr_expect_eq(vary_parse(&response, &rule, &arena, &seen), cases[i].kind, "%s", cases[i].clause);
        if (cases[i].names)
            cr_expect(bytes_equal(seen, bytes_from_string(cases[i].names)), "%s: %.*s", cases[i].clause, BYTES_FMT(seen));
    }
    struct bytes both = BYTES("cookie:Lang,cookie:tier");
    struct headers left = fields_from(&arena, "Cookie: a=1; tier=2; Lang=de"), right = fields_from(&arena, "Cookie: Lang=de; b=3; tier=2");
    struct headers without = fields_from(&arena, "Cookie: Lang=de"), empty = fields_from(&arena, "Cookie: Lang=de; tier=");
    cr_expect(bytes_equal(vary_values(both, &left, &arena), vary_values(both, &right, &arena)));
    cr_expect_not(bytes_equal(vary_values(both, &left, &arena), vary_values(both, &without, &arena)));
    cr_expect_not(bytes_equal(vary_values(both, &without, &arena), vary_values(both, &empty, &arena)), "absent differs from empty");
    arena_free(&arena);
}

Test(vary, values_are_prefixed_with_their_length)
{
    static const struct {
        const char *clause, *names, *request;
        const char *expected;
        size_t len;
    } cases[] = {
#define EXPECT(literal) literal, sizeof(literal) - 1
        {"absent", "foo", "", EXPECT("\xff\xff\xff\xff")},
        {"empty", "foo", "Foo:", EXPECT("\0\0\0\0")},
        {"one", "foo", "Foo: ab", EXPECT("\2\0\0\0ab")},
        {"two", "bar,foo", "Foo: ab", EXPECT("\xff\xff\xff\xff\2\0\0\0ab")},
        {"trailing backslash in a quote", "foo", "Foo: \"a\\", EXPECT("\3\0\0\0\"a\\")},
        {"RFC 9110 §12.5.3: sorted", "accept-encoding", "Accept-Encoding: GZIP;q=0.5, br", EXPECT("\013\0\0\0br,gzip\001999")},
        {"RFC 9110 §12.5.3: once each", "accept-language", "Accept-Language: b,a,b,c", EXPECT("\5\0\0\0a,b,c")},
        {"RFC 9110 §12.4.2: q=1.000", "accept-language", "Accept-Language: A;q=1.000", EXPECT("\1\0\0\0a")},
        {"RFC 9110 §12.4.2: q=0.", "accept-language", "Accept-Language: A;q=0.", EXPECT("\5\0\0\0a\001000")},
        /* What is no weight leaves the text as it was. */
        {"RFC 9110 §12.4.2: empty", "accept-language", "Accept-Language: A;q=", EXPECT("\4\0\0\0A;q=")},
        {"RFC 9110 §12.4.2: no =", "accept-language", "Accept-Language: A;q", EXPECT("\3\0\0\0A;q")},
        {"RFC 9110 §12.4.2: space after =", "accept-language", "Accept-Language: A;q= 1", EXPECT("\6\0\0\0A;q= 1")},
        {"RFC 9110 §12.4.2: four digits", "accept-language", "Accept-Language: A;q=0.1234", EXPECT("\012\0\0\0A;q=0.1234")},
        {"RFC 9110 §12.4.2: no digit", "accept-language", "Accept-Language: A;q=0.x", EXPECT("\7\0\0\0A;q=0.x")},
        {"RFC 9110 §12.4.2: no point", "accept-language", "Accept-Language: A;q=05", EXPECT("\6\0\0\0A;q=05")},
        {"RFC 9110 §12.4.2: more than 1", "accept-language", "Accept-Language: A;q=1.001", EXPECT("\011\0\0\0A;q=1.001")},
        {"RFC 9110 §12.4.2: 2", "accept-language", "Accept-Language: A;q=2", EXPECT("\5\0\0\0A;q=2")},
        {"RFC 9110 §12.4.2: two parameters", "accept-language", "Accept-Language: A;q=1;x", EXPECT("\7\0\0\0A;q=1;x")},
        {"RFC 9110 §12.5.3: no token", "accept-language", "Accept-Language: A B", EXPECT("\3\0\0\0A B")},
        {"RFC 9110 §12.5.3: no coding", "accept-language", "Accept-Language: ;q=1", EXPECT("\4\0\0\0;q=1")},
#undef EXPECT
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers request = fields_from(&arena, cases[i].request);
        struct bytes values = vary_values(bytes_from_string(cases[i].names), &request, &arena);
        cr_expect(bytes_equal(values, bytes_from(cases[i].expected, cases[i].len)), "%s: %s: %.*s", cases[i].clause, cases[i].request,
                  BYTES_FMT(values));
    }
    arena_free(&arena);
}

Test(vary, who_can_read_it_is_told_apart)
{
    static const struct {
        const char *response;
        bool told;
    } cases[] = {
        {"Vary: accept-encoding\nContent-Encoding: gzip", true},
        {"Vary: accept-encoding\nContent-Encoding: X-Gzip, BR", true},
        {"Vary: accept-encoding\nFoo: bar", true},
        {"Vary: accept\nVary: Accept-Encoding\nContent-Encoding: sdch", false},
        {"Vary: accept-encoding\nContent-Encoding: gzip\nContent-Encoding: lzma", false},
        {"Vary: accept\nContent-Encoding: sdch", true},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        cr_expect_eq(vary_tells_apart(&response), cases[i].told, "%s", cases[i].response);
    }
    arena_free(&arena);
}

Test(vary, a_list_too_long_to_sort_is_still_compared)
{
    char left[2048] = "Accept-Language: ", right[2048] = "Accept-Language: ";
    for (int i = 0; i < 100; i++) {
        sprintf(left + strlen(left), "l%d,", i);
        sprintf(right + strlen(right), " l%d , ", i);
    }
    struct arena arena;
    arena_init(&arena);
    struct headers a = fields_from(&arena, left), b = fields_from(&arena, right);
    struct bytes names = BYTES("accept-language");
    cr_expect(bytes_equal(vary_values(names, &a, &arena), vary_values(names, &b, &arena)));
    strcat(right, "x");
    b = fields_from(&arena, right);
    cr_expect_not(bytes_equal(vary_values(names, &a, &arena), vary_values(names, &b, &arena)));
    arena_free(&arena);
}
