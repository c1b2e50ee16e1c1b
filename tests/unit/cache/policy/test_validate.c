#include "cache/policy/validate.h"

#include "tests/unit/cache/policy/fields.h"

Test(validate, entity_tags)
{
    static const struct {
        const char *clause, *a, *b;
        bool valid, weak, strong; /* of a; a and b */
    } cases[] = {
        {"§8.8.3.2: table, row 1", "W/\"1\"", "W/\"1\"", true, true, false},
        {"§8.8.3.2: table, row 2", "W/\"1\"", "W/\"2\"", true, false, false},
        {"§8.8.3.2: table, row 3", "W/\"1\"", "\"1\"", true, true, false},
        {"§8.8.3.2: table, row 4", "\"1\"", "\"1\"", true, true, true},
        {"§8.8.3: strong, other", "\"1\"", "\"2\"", true, false, false},
        {"§8.8.3: empty", "\"\"", "\"\"", true, true, true},
        {"§8.8.3: empty and weak", "W/\"\"", "\"\"", true, true, false},
        {"§8.8.3: case counts", "\"a\"", "\"A\"", true, false, false},
        {"§8.8.3: comma", "\"a,b\"", "\"a,b\"", true, true, true},
        {"§8.8.3: backslash is a character", "\"a\\\"", "\"a\\\"", true, true, true},
        {"§8.8.3: obs-text", "\"abcdef\xfc\"", "\"abcdef\xfc\"", true, true, true},
        {"§8.8.3: W is upper case", "w/\"1\"", "w/\"1\"", false, false, false},
        {"§8.8.3: W without slash", "W\"1\"", "W\"1\"", false, false, false},
        {"§8.8.3: W with backslash", "W\\\"1\"", "W\\\"1\"", false, false, false},
        {"§8.8.3: unquoted", "1", "1", false, false, false},
        {"§8.8.3: unquoted and quoted", "1", "\"1\"", false, false, false},
        {"§8.8.3: not closed", "\"1", "\"1", false, false, false},
        {"§8.8.3: not opened", "1\"", "1\"", false, false, false},
        {"§8.8.3: a quote alone", "\"", "\"", false, false, false},
        {"§8.8.3: W/ alone", "W/", "W/", false, false, false},
        {"§8.8.3: W/ and a quote", "W/\"", "W/\"", false, false, false},
        {"§8.8.3: space inside", "\"a b\"", "\"a b\"", false, false, false},
        {"§8.8.3: something after it", "\"a\"b", "\"a\"b", false, false, false},
        {"§8.8.3: two", "\"a\", \"b\"", "\"a\", \"b\"", false, false, false},
        {"§8.8.3: nothing", "", "", false, false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes a = bytes_from_string(cases[i].a), b = bytes_from_string(cases[i].b);
        cr_expect_eq(etag_is_valid(a), cases[i].valid, "%s: %s", cases[i].clause, cases[i].a);
        cr_expect_eq(etag_weak_equal(a, b), cases[i].weak, "%s: %s", cases[i].clause, cases[i].a);
        cr_expect_eq(etag_weak_equal(b, a), cases[i].weak, "%s: %s", cases[i].clause, cases[i].a);
        cr_expect_eq(etag_strong_equal(a, b), cases[i].strong, "%s: %s", cases[i].clause, cases[i].a);
        cr_expect_eq(etag_strong_equal(b, a), cases[i].strong, "%s: %s", cases[i].clause, cases[i].a);
    }
    cr_expect_not(etag_is_valid(BYTES_NONE));
    cr_expect_not(etag_weak_equal(BYTES_NONE, BYTES_NONE), "no entity tag is equal to none");
    cr_expect_not(etag_strong_equal(BYTES_NONE, BYTES_NONE));
}

#define FULL   CONDITION_NONE_OR_TRUE
#define N304   CONDITION_NOT_MODIFIED
#define F412   CONDITION_FAILED
#define GET    METHOD_GET
#define HEAD   METHOD_HEAD
#define STRONG "\"a\""
#define WEAK   "W/\"a\""

enum { NO = 1 }; /* no Last-Modified; all others are ≤ 0 */

/* The stored response was sent at T0; last_modified is in seconds from T0. */
Test(validate, conditions)
{
    static const struct {
        const char *clause;
        enum method method;
        unsigned status;
        const char *etag;
        int64_t last_modified;
        const char *request;
        enum condition condition;
    } cases[] = {
        {"§13: no condition", GET, 200, STRONG, -9, "", FULL},
        /* If-None-Match */
        {"§13.1.2: matches", GET, 200, STRONG, NO, "If-None-Match: \"a\"", N304},
        {"§13.1.2: HEAD", HEAD, 200, STRONG, NO, "If-None-Match: \"a\"", N304},
        {"§13.1.2: does not", GET, 200, STRONG, NO, "If-None-Match: \"b\"", FULL},
        {"§13.1.2: nothing to match", GET, 200, NULL, NO, "If-None-Match: \"a\"", FULL},
        {"§13.1.2: weak comparison, weak stored", GET, 200, WEAK, NO, "If-None-Match: \"a\"", N304},
        {"§13.1.2: weak comparison, weak sent", GET, 200, STRONG, NO, "If-None-Match: W/\"a\"", N304},
        {"§13.1.2: weak comparison, both", GET, 200, WEAK, NO, "If-None-Match: W/\"a\"", N304},
        {"§13.1.2: list, first", GET, 200, STRONG, NO, "If-None-Match: \"a\", \"1\", \"2\"", N304},
        {"§13.1.2: list, middle", GET, 200, STRONG, NO, "If-None-Match: \"1\", \"a\", \"2\"", N304},
        {"§13.1.2: list, last", GET, 200, STRONG, NO, "If-None-Match: \"1\",\"2\",\"a\"", N304},
        {"§13.1.2: list, none", GET, 200, STRONG, NO, "If-None-Match: \"1\", \"2\"", FULL},
        {"§13.1.2: lines", GET, 200, STRONG, NO, "If-None-Match: \"1\"\nIf-None-Match: \"a\"", N304},
        {"§13.1.2: empty members", GET, 200, STRONG, NO, "If-None-Match: , ,\"a\",,", N304},
        {"§13.1.2: *", GET, 200, STRONG, NO, "If-None-Match: *", N304},
        {"§13.1.2: * without entity tag", GET, 200, NULL, NO, "If-None-Match: *", N304},
        {"§13.1.2: * is not a member", GET, 200, STRONG, NO, "If-None-Match: \"b\", *", FULL},
        {"§13.1.2: * is not a member, on two lines", GET, 200, STRONG, NO, "If-None-Match: *\nIf-None-Match: \"b\"", FULL},
        {"§13.1.2: quoted *", GET, 200, STRONG, NO, "If-None-Match: \"*\"", FULL},
        {"§8.8.3: comma inside", GET, 200, "\"a,b\"", NO, "If-None-Match: \"a,b\"", N304},
        {"§8.8.3: comma inside, parts", GET, 200, "\"b\"", NO, "If-None-Match: \"a,\"b\",c\"", FULL},
        {"§8.8.3: a backslash escapes nothing", GET, 200, STRONG, NO, "If-None-Match: \"x\\\", \"a\"", N304},
        {"§8.8.3: unquoted", GET, 200, STRONG, NO, "If-None-Match: a", FULL},
        {"§8.8.3: unquoted stored", GET, 200, "a", NO, "If-None-Match: a", FULL},
        {"§8.8.3: unquoted before a good one", GET, 200, STRONG, NO, "If-None-Match: x, \"a\"", N304},
        {"§8.8.3: not closed", GET, 200, STRONG, NO, "If-None-Match: \"a", FULL},
        {"§8.8.3: not closed before a good one", GET, 200, STRONG, NO, "If-None-Match: \"x y, \"a\"", N304},
        {"§8.8.3: lower-case w", GET, 200, WEAK, NO, "If-None-Match: w/\"a\"", FULL},
        {"§8.8.3: something behind it", GET, 200, STRONG, NO, "If-None-Match: \"a\"b", FULL},
        {"§13.1.2: empty field", GET, 200, STRONG, NO, "If-None-Match:", FULL},
        {"§13.1.2: other methods", METHOD_PUT, 200, STRONG, NO, "If-None-Match: \"a\"", F412},
        {"§13.1.2: other methods", METHOD_PUT, 200, STRONG, NO, "If-None-Match: *", F412},
        {"§13.1.2: other methods, no match", METHOD_PUT, 200, STRONG, NO, "If-None-Match: \"b\"", FULL},
        /* If-Modified-Since */
        {"§13.1.3: the same", GET, 200, NULL, -60, "If-Modified-Since: @-60", N304},
        {"§13.1.3: later", GET, 200, NULL, -60, "If-Modified-Since: @-59", N304},
        {"§13.1.3: earlier", GET, 200, NULL, -60, "If-Modified-Since: @-61", FULL},
        {"§13.1.3: HEAD", HEAD, 200, NULL, -60, "If-Modified-Since: @-60", N304},
        {"§13.1.3: other methods", METHOD_PUT, 200, NULL, -60, "If-Modified-Since: @-60", FULL},
        {"§13.1.3: in our future", GET, 200, NULL, -60, "If-Modified-Since: @+3600", N304},
        {"§5.6.7: RFC 850", GET, 200, NULL, -60, "If-Modified-Since: Tuesday, 14-Nov-23 22:12:20 GMT", N304},
        {"§5.6.7: asctime", GET, 200, NULL, -60, "If-Modified-Since: Tue Nov 14 22:12:20 2023", N304},
        {"§13.1.3: invalid date", GET, 200, NULL, -60, "If-Modified-Since: yesterday", FULL},
        {"§13.1.3: number", GET, 200, NULL, -60, "If-Modified-Since: 1700000000", FULL},
        {"§13.1.3: length parameter of old", GET, 200, NULL, -60, "If-Modified-Since: @; length=5", FULL},
        {"§13.1.3: more than one", GET, 200, NULL, -60, "If-Modified-Since: @\nIf-Modified-Since: @", FULL},
        {"RFC 9111 §4.3.2: no Last-Modified: Date", GET, 200, NULL, NO, "If-Modified-Since: @", N304},
        {"RFC 9111 §4.3.2: no Last-Modified: after Date", GET, 200, NULL, NO, "If-Modified-Since: @+9", N304},
        {"RFC 9111 §4.3.2: no Last-Modified: before Date", GET, 200, NULL, NO, "If-Modified-Since: @-1", FULL},
        /* Precedence */
        {"§13.2.2: If-None-Match beats If-Modified-Since", GET, 200, STRONG, -60, "If-None-Match: \"a\"\nIf-Modified-Since: @-99", N304},
        {"§13.2.2: If-None-Match beats If-Modified-Since", GET, 200, STRONG, -60, "If-None-Match: \"b\"\nIf-Modified-Since: @", FULL},
        {"§13.1.3: even when malformed", GET, 200, STRONG, -60, "If-None-Match: b\nIf-Modified-Since: @", FULL},
        {"§13.2.2: If-Match beats If-Unmodified-Since", GET, 200, STRONG, -60, "If-Match: \"a\"\nIf-Unmodified-Since: @-99", FULL},
        {"§13.2.2: If-Match beats If-Unmodified-Since", GET, 200, STRONG, -60, "If-Match: \"b\"\nIf-Unmodified-Since: @", F412},
        {"§13.2.2: If-Match comes first", GET, 200, STRONG, -60, "If-Match: \"b\"\nIf-None-Match: \"a\"", F412},
        {"§13.2.2: then If-None-Match", GET, 200, STRONG, -60, "If-Match: \"a\"\nIf-None-Match: \"a\"", N304},
        {"§13.2.2: If-Unmodified-Since, then If-None-Match", GET, 200, STRONG, -60, "If-Unmodified-Since: @\nIf-None-Match: \"a\"", N304},
        /* If-Match */
        {"§13.1.1: matches", GET, 200, STRONG, NO, "If-Match: \"a\"", FULL},
        {"§13.1.1: does not", GET, 200, STRONG, NO, "If-Match: \"b\"", F412},
        {"§13.1.1: list", GET, 200, STRONG, NO, "If-Match: \"b\", \"a\"", FULL},
        {"§13.1.1: strong comparison, weak stored", GET, 200, WEAK, NO, "If-Match: \"a\"", F412},
        {"§13.1.1: strong comparison, weak sent", GET, 200, STRONG, NO, "If-Match: W/\"a\"", F412},
        {"§13.1.1: *", GET, 200, NULL, NO, "If-Match: *", FULL},
        {"§13.1.1: no entity tag", GET, 200, NULL, NO, "If-Match: \"a\"", F412},
        /* If-Unmodified-Since */
        {"§13.1.4: the same", GET, 200, NULL, -60, "If-Unmodified-Since: @-60", FULL},
        {"§13.1.4: earlier", GET, 200, NULL, -60, "If-Unmodified-Since: @-61", F412},
        {"§13.1.4: later", GET, 200, NULL, -60, "If-Unmodified-Since: @", FULL},
        {"§13.1.4: invalid date", GET, 200, NULL, -60, "If-Unmodified-Since: x", FULL},
        {"§13.1.4: no Last-Modified", GET, 200, STRONG, NO, "If-Unmodified-Since: @-61", FULL},
        /* Statuses */
        {"§13.2.1: 204", GET, 204, STRONG, NO, "If-None-Match: \"a\"", N304},
        {"§13.2.1: 299", GET, 299, STRONG, NO, "If-None-Match: \"a\"", N304},
        {"§13.2.1: 301", GET, 301, STRONG, NO, "If-None-Match: \"a\"", FULL},
        {"§13.2.1: 404", GET, 404, STRONG, NO, "If-None-Match: \"a\"", FULL},
        {"§13.2.1: 404 and If-Match", GET, 404, STRONG, NO, "If-Match: \"b\"", FULL},
        {"§13.2.1: 500", GET, 500, NULL, -60, "If-Modified-Since: @", FULL},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers request = fields_from(&arena, cases[i].request);
        struct validators stored = {
            .etag = cases[i].etag ? bytes_from_string(cases[i].etag) : BYTES_NONE,
            .last_modified_s = cases[i].last_modified == NO ? META_ABSENT : T0.s + cases[i].last_modified,
            .date_s = T0.s,
        };
        enum condition condition = condition_evaluate(cases[i].method, &request, cases[i].status, &stored, after(5));
        cr_expect_eq(condition, cases[i].condition, "%s: %s: %d", cases[i].clause, cases[i].request, (int)condition);
    }
    struct headers request = fields_from(&arena, "If-Modified-Since: @");
    struct validators nothing = {.etag = BYTES_NONE, .last_modified_s = META_ABSENT, .date_s = META_ABSENT};
    cr_expect_eq(condition_evaluate(GET, &request, 200, &nothing, T0), FULL, "nothing to compare with");
    arena_free(&arena);
}

Test(validate, if_range)
{
    static const struct {
        const char *clause, *etag;
        int64_t last_modified;
        const char *request;
        bool holds;
    } cases[] = {
        {"§13.1.5: absent", STRONG, -60, "", true},
        {"§13.1.5: entity tag", STRONG, -60, "If-Range: \"a\"", true},
        {"§13.1.5: another entity tag", STRONG, -60, "If-Range: \"b\"", false},
        {"§13.1.5: strong comparison, weak stored", WEAK, -60, "If-Range: \"a\"", false},
        {"§13.1.5: strong comparison, weak sent", STRONG, -60, "If-Range: W/\"a\"", false},
        {"§13.1.5: strong comparison, both weak", WEAK, -60, "If-Range: W/\"a\"", false},
        {"§13.1.5: no entity tag stored", NULL, -60, "If-Range: \"a\"", false},
        {"§13.1.5: no list", STRONG, -60, "If-Range: \"a\", \"b\"", false},
        {"§13.1.5: *", STRONG, -60, "If-Range: *", false},
        {"§13.1.5: date, exact match", NULL, -60, "If-Range: @-60", true},
        {"§13.1.5: date, later", NULL, -60, "If-Range: @-59", false},
        {"§13.1.5: date, earlier", NULL, -60, "If-Range: @-61", false},
        {"§13.1.5: date, although there is an entity tag", STRONG, -60, "If-Range: @-60", true},
        {"§5.6.7: date, RFC 850", NULL, -60, "If-Range: Tuesday, 14-Nov-23 22:12:20 GMT", true},
        {"§8.8.2.2: a second before Date is strong", NULL, -1, "If-Range: @-1", true},
        {"§8.8.2.2: the same second is weak", NULL, 0, "If-Range: @", false},
        {"§13.1.5: no Last-Modified", STRONG, NO, "If-Range: @", false},
        {"§13.1.5: invalid", STRONG, -60, "If-Range: a", false},
        {"§13.1.5: empty", STRONG, -60, "If-Range:", false},
        {"§13.1.5: twice", STRONG, -60, "If-Range: \"a\"\nIf-Range: \"a\"", false},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers request = fields_from(&arena, cases[i].request);
        struct validators stored = {
            .etag = cases[i].etag ? bytes_from_string(cases[i].etag) : BYTES_NONE,
            .last_modified_s = cases[i].last_modified == NO ? META_ABSENT : T0.s + cases[i].last_modified,
            .date_s = T0.s,
        };
        cr_expect_eq(if_range_holds(&request, &stored, after(5)), cases[i].holds, "%s: %s", cases[i].clause, cases[i].request);
    }
    struct headers request = fields_from(&arena, "If-Range: @-60");
    struct validators undated = {.etag = BYTES_NONE, .last_modified_s = T0.s - 60, .date_s = META_ABSENT};
    cr_expect_not(if_range_holds(&request, &undated, T0), "§8.8.2.2: nothing shows that the date is strong");
    arena_free(&arena);
}

/* Seconds from T0, or NO. */
static void assert_dates(const char *stored, const char *request, uint32_t flags, int64_t last_modified, int64_t date)
{
    struct arena arena;
    arena_init(&arena);
    struct headers fields = fields_from(&arena, stored), asked = fields_from(&arena, request);
    struct response_meta meta = {.response_time_s = T0.s, .flags = flags};
    struct validators validators = validators_of(&fields, &meta, &asked);
    cr_expect_eq(validators.last_modified_s, last_modified == NO ? META_ABSENT : T0.s + last_modified, "%s: %s", stored, request);
    cr_expect_eq(validators.date_s, date == NO ? META_ABSENT : T0.s + date, "%s: %s", stored, request);
    cr_expect(bytes_equal(validators.etag, headers_value(&fields, HEADER_ETAG)));
    arena_free(&arena);
}

Test(validate, dates_of_what_is_stored_are_read_where_they_count)
{
    const char *both = "ETag: \"1\"\nDate: @-5\nLast-Modified: @-100";
    assert_dates(both, "If-Modified-Since: @", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Unmodified-Since: @", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Range: @", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Range: @\nIf-None-Match: \"1\"", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Modified-Since: @\nIf-Match: \"1\"", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Unmodified-Since: @\nIf-None-Match: \"1\"", RESPONSE_HAS_DATE, -100, -5);
    assert_dates(both, "If-Modified-Since: @\nIf-None-Match: \"1\"", RESPONSE_HAS_DATE, NO, NO);
    assert_dates(both, "If-Unmodified-Since: @\nIf-Match: \"1\"", RESPONSE_HAS_DATE, NO, NO);
    assert_dates(both, "Range: bytes=0-1", RESPONSE_HAS_DATE, NO, NO);
    assert_dates(both, "If-Modified-Since: @", 0, -100, NO); /* that Date is ours */
    assert_dates("Date: x\nLast-Modified: x", "If-Modified-Since: @", RESPONSE_HAS_DATE, NO, NO);
    assert_dates("", "If-Modified-Since: @", RESPONSE_HAS_DATE, NO, NO);
}

Test(validate, dates_of_other_centuries)
{
    assert_dates("Date: Fri, 31 Dec 9999 23:59:59 GMT\nLast-Modified: Sun, 07 Feb 2106 06:28:16 GMT", "If-Range: @", RESPONSE_HAS_DATE,
                 INT64_C(4294967296) - T0.s, INT64_C(253402300799) - T0.s);
    assert_dates("Date: Mon, 01 Jan 1900 00:00:00 GMT\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT", "If-Range: @", RESPONSE_HAS_DATE,
                 -T0.s, INT64_C(-2208988800) - T0.s);
    assert_dates("Last-Modified: Wed, 31 Dec 1969 23:59:58 GMT", "If-Range: @", RESPONSE_HAS_DATE, NO, NO);
    /* Two digits of a year: seen from when the response came (T0 is in 2023). */
    assert_dates("Last-Modified: Tuesday, 14-Nov-23 22:12:20 GMT", "If-Range: @", RESPONSE_HAS_DATE, -60, NO);
}

Test(validate, which_304_updates_what_is_stored)
{
    static const struct {
        const char *clause, *stored, *received;
        bool updates;
    } cases[] = {
        {"RFC 9111 §4.3.4: no validator", "ETag: \"1\"", "Cache-Control: max-age=60", true},
        {"RFC 9111 §4.3.4: the same strong one", "ETag: \"1\"", "ETag: \"1\"", true},
        {"RFC 9111 §4.3.4: another strong one", "ETag: \"1\"", "ETag: \"2\"", false},
        {"RFC 9111 §4.3.4: a strong one, none stored", "Last-Modified: @", "ETag: \"2\"", false},
        {"RFC 9111 §4.3.4: weak ones identify nothing", "ETag: W/\"1\"", "ETag: W/\"2\"", true},
        {"nginx: weakened as it was compressed", "ETag: W/\"1\"", "ETag: \"1\"", true},
        {"RFC 9110 §8.8.3: what is no entity tag", "ETag: \"1\"", "ETag: 2", true},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers stored = fields_from(&arena, cases[i].stored), received = fields_from(&arena, cases[i].received);
        cr_expect_eq(not_modified_updates(&stored, &received), cases[i].updates, "%s", cases[i].clause);
    }
    arena_free(&arena);
}

Test(validate, what_a_head_says_of_the_stored_response)
{
    static const struct {
        const char *clause;
        unsigned stored_status;
        const char *stored;
        unsigned status;
        const char *received;
        enum head_effect effect;
    } cases[] = {
        {"§4.3.5: no validator", 200, "", 200, "Cache-Control: max-age=60", HEAD_UPDATES},
        {"§4.3.5: the same ETag", 200, "ETag: \"1\"", 200, "ETag: \"1\"", HEAD_UPDATES},
        {"§4.3.5: another ETag", 200, "ETag: \"1\"", 200, "ETag: \"2\"", HEAD_INVALIDATES},
        {"§4.3.5: a weak one for a strong one", 200, "ETag: \"1\"", 200, "ETag: W/\"1\"", HEAD_INVALIDATES},
        {"§4.3.5: an ETag where none is stored", 200, "Last-Modified: @", 200, "ETag: \"2\"", HEAD_INVALIDATES},
        {"§4.3.5: no ETag any more", 200, "ETag: \"1\"", 200, "Foo: bar", HEAD_UPDATES},
        {"§4.3.5: the same Last-Modified", 200, "Last-Modified: @-9", 200, "Last-Modified: @-9", HEAD_UPDATES},
        {"§4.3.5: another Last-Modified", 200, "Last-Modified: @-9", 200, "Last-Modified: @-8", HEAD_INVALIDATES},
        {"§4.3.5: one of both differs", 200, "ETag: \"1\"\nLast-Modified: @-9", 200, "ETag: \"1\"\nLast-Modified: @", HEAD_INVALIDATES},
        {"§4.3.5: the same length", 200, "ETag: \"1\"", 200, "ETag: \"1\"\nContent-Length: 100", HEAD_UPDATES},
        {"§4.3.5: another length", 200, "ETag: \"1\"", 200, "ETag: \"1\"\nContent-Length: 101", HEAD_INVALIDATES},
        {"§4.3.5: what is no length", 200, "", 200, "Content-Length: x", HEAD_INVALIDATES},
        {"§4.3.5: only 200", 200, "ETag: \"1\"", 304, "ETag: \"2\"", HEAD_SAYS_NOTHING},
        {"§4.3.5: only 200", 200, "", 404, "", HEAD_SAYS_NOTHING},
        {"§4.3.5: only 200", 200, "", 500, "", HEAD_SAYS_NOTHING},
        {"§4.3.5: what is stored has another status", 404, "", 200, "", HEAD_INVALIDATES},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers stored = fields_from(&arena, cases[i].stored), received = fields_from(&arena, cases[i].received);
        enum head_effect effect = head_effect_on(cases[i].stored_status, &stored, 100, cases[i].status, &received);
        cr_expect_eq(effect, cases[i].effect, "%s: %s", cases[i].clause, cases[i].received);
    }
    arena_free(&arena);
}
