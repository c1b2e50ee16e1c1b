#include "cache/policy/freshness.h"

#include "tests/unit/cache/policy/fields.h"

static const int64_t limit = INT64_C(1) << 31;

Test(freshness, initial_age)
{
    static const struct {
        const char *clause, *response;
        int64_t request_s, response_s; /* from T0 */
        int64_t age;
    } cases[] = {
        {"§4.2.3: nothing told", "", 0, 0, 0},
        {"§4.2.3: apparent_age", "Date: @-10", 0, 0, 10},
        {"§4.2.3: Date ahead of our clock", "Date: @+3600", 0, 0, 0},
        {"§4.2.3: Age", "Date: @\nAge: 30", 0, 0, 30},
        {"§4.2.3: Age is more than the apparent age", "Date: @-10\nAge: 30", 0, 0, 30},
        {"§4.2.3: the apparent age is more than Age", "Date: @-30\nAge: 10", 0, 0, 30},
        {"§4.2.3: response_delay", "Date: @", -5, 0, 5},
        {"§4.2.3: response_delay is added to Age", "Date: @\nAge: 30", -5, 0, 35},
        {"§4.2.3: a clock that was set back during the request", "Age: 30", 5, 0, 30},
        {"RFC 9110 §6.6.1: an invalid Date is as none", "Date: yesterday\nAge: 3", 0, 0, 3},
        {"RFC 9110 §5.6.7: RFC 850 date", "Date: Tuesday, 14-Nov-23 22:13:10 GMT", 0, 0, 10},
        {"RFC 9110 §5.6.7: asctime date", "Date: Tue Nov 14 22:13:10 2023", 0, 0, 10},
        {"§5.1: 0", "Age: 0", 0, 0, 0},
        {"§5.1: not a number", "Age: abc", 0, 0, 0},
        {"§5.1: negative", "Age: -7200", 0, 0, 0},
        {"§5.1: decimal", "Age: 7200.0", 0, 0, 0},
        {"§5.1: quoted", "Age: \"7200\"", 0, 0, 0},
        {"§5.1: signed", "Age: +7200", 0, 0, 0},
        {"§5.1: empty", "Age:", 0, 0, 0},
        {"§5.1: parameter", "Age: 7200;foo=bar", 0, 0, 0},
        {"§5.1: 2^31 - 1", "Age: 2147483647", 0, 0, 2147483647},
        {"§1.2.2: 2^31", "Age: 2147483648", 0, 0, INT64_C(2147483648)},
        {"§1.2.2: more than 2^31", "Age: 2147483649", 0, 0, INT64_C(2147483648)},
        {"§1.2.2: more than 2^64", "Age: 99999999999999999999999", 0, 0, INT64_C(2147483648)},
        {"§1.2.2: the sum does not overflow", "Age: 2147483648", -100, 0, INT64_C(2147483648)},
        {"§5.1: of a list the first", "Age: 7200, 0", 0, 0, 7200},
        {"§5.1: of a list the first", "Age: 0, 7200", 0, 0, 0},
        {"§5.1: of several lines the first", "Age: 7200\nAge: 0", 0, 0, 7200},
        {"§5.1: of several lines the first", "Age: 0\nAge: 7200", 0, 0, 0},
        {"§5.1: twice the same", "Age: 3600\nAge: 3600", 0, 0, 3600},
        {"§5.1: the first that is valid", "Age: x, 7200", 0, 0, 7200},
        {"§5.1: empty members", "Age: , 7200", 0, 0, 7200},
        {"§1.2.2: a Date in 1970", "Date: Thu, 01 Jan 1970 00:00:00 GMT", 0, 0, 1700000000},
        {"§1.2.2: a Date in 1900", "Date: Mon, 01 Jan 1900 00:00:00 GMT", 0, 0, INT64_C(2147483648)},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        int64_t age = freshness_initial_age(&response, after(cases[i].request_s), after(cases[i].response_s));
        cr_expect_eq(age, cases[i].age, "%s: %s: %ld", cases[i].clause, cases[i].response, (long)age);
    }
    arena_free(&arena);
}

Test(freshness, lifetime)
{
    enum { NO = CC_ABSENT, DAY = 86400 };
    enum { NONE = LIFETIME_NONE, S = LIFETIME_S_MAXAGE, M = LIFETIME_MAX_AGE, E = LIFETIME_EXPIRES, GUESS = LIFETIME_HEURISTIC };
    static const struct {
        const char *clause;
        unsigned status;
        const char *response;
        int64_t lifetime;
        int source;
    } cases[] = {
        {"§4.2.1: nothing", 200, "Date: @", NO, NONE},
        {"§4.2.1: s-maxage beats max-age", 200, "Cache-Control: max-age=3600, s-maxage=1", 1, S},
        {"§4.2.1: s-maxage beats max-age", 200, "Cache-Control: s-maxage=3600\nCache-Control: max-age=1", 3600, S},
        {"§5.2.2.10: an invalid s-maxage", 200, "Cache-Control: s-maxage=x, max-age=60", 0, S},
        {"§5.3: max-age beats Expires", 200, "Cache-Control: max-age=3600\nExpires: @-10000\nDate: @", 3600, M},
        {"§5.3: max-age=0 beats Expires", 200, "Cache-Control: max-age=0\nExpires: @+10000\nDate: @", 0, M},
        {"§5.3: max-age beats an invalid Expires", 200, "Cache-Control: max-age=3600\nExpires: 0", 3600, M},
        {"§4.2.1: Expires - Date", 200, "Expires: @+60\nDate: @", 60, E},
        {"§4.2.1: Date is behind", 200, "Expires: @+60\nDate: @-60", 120, E},
        {"§4.2.1: Date is ahead", 200, "Expires: @+60\nDate: @+40", 20, E},
        {"§5.3: Expires equals Date", 200, "Expires: @\nDate: @", 0, E},
        {"§5.3: Expires is past", 200, "Expires: @-60\nDate: @", 0, E},
        {"§5.3: Expires before a Date that is ahead", 200, "Expires: @+300\nDate: @+400", 0, E},
        {"§4.2.1: no Date: the time of reception", 200, "Expires: @+60", 60, E},
        {"§4.2.1: an invalid Date as none", 200, "Date: foo\nExpires: @+10", 10, E},
        {"§5.3: 0", 200, "Expires: 0\nDate: @", 0, E},
        {"§5.3: -1", 200, "Expires: -1\nDate: @", 0, E},
        {"§5.3: empty", 200, "Expires:\nDate: @", 0, E},
        {"§5.3: a wrong zone", 200, "Expires: Thu, 18 Aug 2050 02:01:18 UTC\nDate: @", 0, E},
        {"§4.2.1: two Expires", 200, "Expires: @+60\nExpires: @+60\nDate: @", 0, E},
        {"§4.2.1: two Expires as a list", 200, "Expires: @+60, @+60\nDate: @", 0, E},
        {"§5.3: RFC 850", 200, "Expires: Thursday, 18-Aug-50 02:01:18 GMT\nDate: @", INT64_C(2544400878) - 1700000000, E},
        {"§5.3: asctime", 200, "Expires: Thu Aug 18 02:01:18 2050\nDate: @", INT64_C(2544400878) - 1700000000, E},
        {"§4.2: dates are compared without case", 200, "Expires: THU, 18 AUG 2050 02:01:18 gmt\nDate: @", 844400878, E},
        {"§1.2.2: a far Expires", 200, "Expires: Sun, 21 Nov 2286 04:46:39 GMT\nDate: @", INT64_C(2147483648), E},
        {"§4.2.2: an invalid Expires leaves no room for a guess", 200, "Expires: 0\nLast-Modified: @-86400\nDate: @", 0, E},
        {"§4.2.2: a tenth", 200, "Last-Modified: @-1000\nDate: @", 100, GUESS},
        {"§4.2.2: of the time before Date", 200, "Last-Modified: @-1000\nDate: @-500", 50, GUESS},
        {"§4.2.2: no Date: the time of reception", 200, "Last-Modified: @-1000", 100, GUESS},
        {"§4.2.2: capped", 200, "Last-Modified: @-8640000\nDate: @", DAY, GUESS},
        {"§4.2.2: changed just now", 200, "Last-Modified: @-5\nDate: @", 0, GUESS},
        {"§4.2.2: changed after it was sent", 200, "Last-Modified: @+5\nDate: @", NO, NONE},
        {"§4.2.2: an invalid Last-Modified", 200, "Last-Modified: 0\nDate: @", NO, NONE},
        {"§4.2.2: 201 has no heuristic", 201, "Last-Modified: @-1000\nDate: @", NO, NONE},
        {"§4.2.2: 302 has no heuristic", 302, "Last-Modified: @-1000\nDate: @", NO, NONE},
        {"§4.2.2: 404 has", 404, "Last-Modified: @-1000\nDate: @", 100, GUESS},
        {"§4.2.2: 599 has none", 599, "Last-Modified: @-1000\nDate: @", NO, NONE},
        {"§5.2.2.9: but with public", 599, "Cache-Control: public\nLast-Modified: @-1000\nDate: @", 100, GUESS},
        {"§3: any status with explicit freshness", 599, "Cache-Control: max-age=60\nDate: @", 60, M},
    };
    const struct site_rules rules = {.heuristic_max_s = DAY};
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        struct response_control control;
        response_control_from(&control, &response, &rules, T0.s);
        enum lifetime_source source;
        int64_t lifetime = freshness_lifetime(&control, cases[i].status, &response, &rules, T0, &source);
        cr_expect_eq(lifetime, cases[i].lifetime, "%s: %s: %ld", cases[i].clause, cases[i].response, (long)lifetime);
        cr_expect_eq((int)source, cases[i].source, "%s: %s", cases[i].clause, cases[i].response);
    }
    arena_free(&arena);
}

Test(freshness, no_heuristic_where_the_site_wants_none)
{
    const struct site_rules rules = {.heuristic_max_s = 0};
    struct arena arena;
    arena_init(&arena);
    struct headers response = fields_from(&arena, "Last-Modified: @-1000\nDate: @");
    struct response_control control;
    response_control_from(&control, &response, &rules, T0.s);
    enum lifetime_source source;
    cr_expect_eq(freshness_lifetime(&control, 200, &response, &rules, T0, &source), CC_ABSENT);
    cr_expect_eq(source, LIFETIME_NONE);
    arena_free(&arena);
}

Test(freshness, rules_for_errors)
{
    enum { NO = CC_ABSENT };
    enum { NONE = LIFETIME_NONE, M = LIFETIME_MAX_AGE, E = LIFETIME_EXPIRES, RULE = LIFETIME_RULE };
    static const struct status_ttl ttls[] = {{400, 499, 3}, {404, 404, 10}, {500, 599, 1}};
    static const struct site_rules rules = {.heuristic_max_s = 86400, .errors = ttls, .error_count = 3};
    static const struct {
        const char *clause;
        unsigned status;
        const char *response;
        int64_t lifetime;
        int source;
    } cases[] = {
        {"the status itself", 404, "", 10, RULE},
        {"its class", 500, "", 1, RULE},
        {"the end of the class", 599, "", 1, RULE},
        {"behind the class", 600, "", NO, NONE},
        {"another class", 403, "", 3, RULE},
        {"no success", 200, "", NO, NONE},
        {"no redirection", 302, "", NO, NONE},
        {"it beats the heuristic", 404, "Last-Modified: @-1000\nDate: @", 10, RULE},
        {"explicit freshness beats it", 404, "Cache-Control: max-age=60", 60, M},
        {"and so does none at all", 404, "Cache-Control: max-age=0", 0, M},
        {"Expires beats it", 404, "Expires: 0", 0, E},
        {"a class has no 401, which answers who asked", 401, "", NO, NONE},
        {"nor 407", 407, "", NO, NONE},
        {"nor 429", 429, "", NO, NONE},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers response = fields_from(&arena, cases[i].response);
        struct response_control control;
        response_control_from(&control, &response, &rules, T0.s);
        enum lifetime_source source;
        int64_t lifetime = freshness_lifetime(&control, cases[i].status, &response, &rules, T0, &source);
        cr_expect_eq(lifetime, cases[i].lifetime, "%s: %u %s: %ld", cases[i].clause, cases[i].status, cases[i].response, (long)lifetime);
        cr_expect_eq((int)source, cases[i].source, "%s: %u %s", cases[i].clause, cases[i].status, cases[i].response);
    }
    arena_free(&arena);
}

Test(freshness, current_age)
{
    static const struct {
        const char *clause;
        int64_t initial, now_s, age;
    } cases[] = {
        {"§4.2.3: at once", 0, 0, 0},
        {"§4.2.3: resident_time", 0, 17, 17},
        {"§4.2.3: resident_time is added", 30, 17, 47},
        {"§4.2.3: a clock that ran backwards", 30, -1000, 30},
        {"§1.2.2: saturates", INT64_C(1) << 31, 1000, INT64_C(1) << 31},
        {"§1.2.2: saturates", 0, INT64_C(1) << 40, INT64_C(1) << 31},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta meta = {.response_time_s = T0.s, .corrected_initial_age_s = (uint32_t)cases[i].initial};
        cr_expect_eq(freshness_current_age(&meta, after(cases[i].now_s)), cases[i].age, "%s, row %zu", cases[i].clause, i);
    }
    struct response_meta meta = {.response_time_s = -(INT64_C(1) << 39), .corrected_initial_age_s = limit};
    cr_expect_eq(freshness_current_age(&meta, T0), limit);
}

Test(freshness, statuses_with_heuristic_freshness)
{
    static const unsigned cacheable[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}; /* RFC 9110 §15.1 */
    unsigned found = 0;
    for (unsigned status = 100; status < 1000; status++)
        found += status_is_heuristically_cacheable(status);
    cr_expect_eq(found, COUNT(cacheable));
    for (size_t i = 0; i < COUNT(cacheable); i++)
        cr_expect(status_is_heuristically_cacheable(cacheable[i]), "%u", cacheable[i]);
}

Test(freshness, a_soft_purge_ends_it_and_never_prolongs_it)
{
    static const struct {
        int64_t initial, lifetime, then_s, expected;
    } cases[] = {{0, 60, 10, 10}, {5, 60, 10, 15}, {0, 60, 60, 60},  {0, 60, 100, 60},
                 {0, 60, 0, 0},   {0, 60, -5, 0},  {90, 60, 10, 60}, {0, 0, 10, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta meta = {.response_time_s = T0.s, .corrected_initial_age_s = cases[i].initial, .lifetime_s = cases[i].lifetime};
        freshness_end(&meta, after(cases[i].then_s));
        cr_expect_eq(meta.lifetime_s, cases[i].expected, "row %zu", i);
    }
}
