#include "base/http_date.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOW_2026 = 1767268800 }; /* 2026-01-01T12:00:00Z */

Test(http_date, three_formats_are_read)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        /* RFC 9110 §5.6.7 */
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784975777},
        /* RFC 9111 §4.2: without case */
        {"sun, 06 nov 1994 08:49:37 gmt", 784111777},
        {"SUNDAY, 06-NOV-94 08:49:37 Gmt", 784111777},
        {"sUN nOV  6 08:49:37 1994", 784111777},
        /* the day's name is not checked against the date */
        {"Wed, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Wednesday, 06-Nov-94 08:49:37 GMT", 784111777},
        /* edges */
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
        {"Mon, 01 Jan 0001 00:00:00 GMT", -62135596800},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
        {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
        {"Mon Jan 01 00:00:00 2024", 1704067200},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct wall_seconds date = {-7};
        cr_expect(http_date_parse(bytes_from_string(cases[i].text), (struct wall_seconds){NOW_2026}, &date), "%s", cases[i].text);
        cr_expect_eq(date.s, cases[i].seconds, "%s: %ld", cases[i].text, (long)date.s);
    }
}

Test(http_date, junk_is_refused)
{
    static const char *const cases[] = {
        "",
        "0",
        "-1",
        "now",
        "784111777",
        "Sun",
        "Sun,",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 ",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT; length=5",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 006 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 01994 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 32 Dec 1994 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37",
        "Sunday, 30-Feb-94 08:49:37 GMT",
        "Someday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov 31 08:49:37 1994",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct wall_seconds date = {-7};
        cr_expect_not(http_date_parse(bytes_from_string(cases[i]), (struct wall_seconds){NOW_2026}, &date), "%s", cases[i]);
        cr_expect_eq(date.s, -7, "%s", cases[i]);
    }
    struct wall_seconds date;
    cr_expect_not(http_date_parse(BYTES_NONE, (struct wall_seconds){NOW_2026}, &date));
}

Test(http_date, every_prefix_of_a_date_is_refused)
{
    static const char *const dates[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
    struct wall_seconds date;
    for (size_t i = 0; i < COUNT(dates); i++) {
        for (size_t len = 0; len < strlen(dates[i]); len++) {
            char *exact = memcpy(malloc(len + 1), dates[i], len); /* the sanitizer sees a read beyond it */
            exact = realloc(exact, len ? len : 1);
            cr_expect_not(http_date_parse(bytes_from(exact, len), (struct wall_seconds){NOW_2026}, &date), "%zu of %s", len, dates[i]);
            free(exact);
        }
    }
}

Test(http_date, a_two_digit_year_is_at_most_fifty_years_ahead)
{
    static const struct {
        int now_year, two_digits, expected;
    } cases[] = {
        {2026, 26, 2026}, {2026, 27, 2027}, {2026, 75, 2075}, {2026, 77, 1977}, {2026, 94, 1994}, {2026, 0, 2000},
        {2099, 5, 2105},  {2099, 99, 2099}, {2099, 48, 2148}, {2099, 50, 2050}, {2000, 50, 1950}, {1999, 0, 2000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[64];
        struct tm now = {.tm_year = cases[i].now_year - 1900, .tm_mday = 1},
                  expected = {.tm_year = cases[i].expected - 1900, .tm_mon = 5, .tm_mday = 15};
        struct wall_seconds date;
        snprintf(text, sizeof(text), "Sunday, 15-Jun-%02d 00:00:00 GMT", cases[i].two_digits);
        cr_expect(http_date_parse(bytes_from_string(text), (struct wall_seconds){timegm(&now)}, &date), "%s", text);
        cr_expect_eq(date.s, timegm(&expected), "%s in %d", text, cases[i].now_year);
    }
    /* The leap day is judged in the year that was chosen: 2100 has none, 2000 has. */
    struct wall_seconds date;
    cr_expect(http_date_parse(BYTES("Tuesday, 29-Feb-00 00:00:00 GMT"), (struct wall_seconds){NOW_2026}, &date));
    cr_expect_eq(date.s, 951782400);
}

Test(http_date, format_agrees_with_libc_and_parses_back)
{
    for (int64_t seconds = -62167219200; seconds <= 253402300799; seconds += 86400 * 97 + 3671) {
        char out[HTTP_DATE_LEN], expected[64];
        time_t libc_seconds = seconds;
        struct tm utc;
        gmtime_r(&libc_seconds, &utc);
        size_t len = strftime(expected, sizeof(expected), "%a, %d %b ", &utc);
        len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%04d ", utc.tm_year + 1900);
        strftime(expected + len, sizeof(expected) - len, "%H:%M:%S GMT", &utc);
        http_date_format((struct wall_seconds){seconds}, out);
        cr_assert(bytes_equal(bytes_from(out, HTTP_DATE_LEN), bytes_from_string(expected)), "%.29s is not %s", out, expected);
        struct wall_seconds back;
        cr_assert(http_date_parse(bytes_from(out, HTTP_DATE_LEN), (struct wall_seconds){NOW_2026}, &back));
        cr_assert_eq(back.s, seconds);
    }
}

Test(http_date, format_stays_within_four_digit_years)
{
    char out[HTTP_DATE_LEN];
    http_date_format((struct wall_seconds){INT64_MAX}, out);
    cr_expect(bytes_equal(bytes_from(out, HTTP_DATE_LEN), BYTES("Fri, 31 Dec 9999 23:59:59 GMT")));
    http_date_format((struct wall_seconds){INT64_MIN}, out);
    cr_expect(bytes_equal(bytes_from(out, HTTP_DATE_LEN), BYTES("Sat, 01 Jan 0000 00:00:00 GMT")));
}

Test(http_date, iso_dates_for_logs)
{
    char out[ISO_DATE_LEN];
    iso_date_format((struct wall_seconds){784111777}, out);
    cr_expect(bytes_equal(bytes_from(out, ISO_DATE_LEN), BYTES("1994-11-06T08:49:37")));
    iso_date_format((struct wall_seconds){-1}, out);
    cr_expect(bytes_equal(bytes_from(out, ISO_DATE_LEN), BYTES("1969-12-31T23:59:59")));
}

Test(http_date, what_is_written_as_it_must_be_reads_as_what_is_not)
{
    struct wall_seconds now = {0}, exact, lenient;
    for (int64_t at = -62167219200; at <= 253402300799; at += 86400 * 11 + 3607) {
        char text[HTTP_DATE_LEN], lower[HTTP_DATE_LEN];
        http_date_format((struct wall_seconds){at}, text);
        bytes_put_lower(lower, bytes_from(text, sizeof text));
        cr_assert(http_date_parse(bytes_from(text, sizeof text), now, &exact));
        cr_assert(http_date_parse(bytes_from(lower, sizeof lower), now, &lenient));
        cr_assert_eq(exact.s, at, "%.*s", HTTP_DATE_LEN, text);
        cr_assert_eq(lenient.s, at, "%.*s", HTTP_DATE_LEN, lower);
    }
}
