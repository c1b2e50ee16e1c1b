#include "cache/policy/range.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define WHOLE   RANGE_WHOLE
#define PARTIAL RANGE_PARTIAL
#define NONE    RANGE_UNSATISFIABLE

Test(range, parse)
{
    static const struct {
        const char *clause, *field;
        uint64_t length;
        enum range_kind kind;
        uint64_t first, end;
    } cases[] = {
        {"§14.2: no field", NULL, 100, WHOLE, 0, 0},
        {"§14.1.2: first and last", "bytes=0-9", 100, PARTIAL, 0, 10},
        {"§14.1.2: one byte", "bytes=0-0", 100, PARTIAL, 0, 1},
        {"§14.1.2: the last byte", "bytes=99-99", 100, PARTIAL, 99, 100},
        {"§14.1.2: open", "bytes=10-", 100, PARTIAL, 10, 100},
        {"§14.1.2: open from 0", "bytes=0-", 100, PARTIAL, 0, 100},
        {"§14.1.2: last beyond the end", "bytes=10-1000", 100, PARTIAL, 10, 100},
        {"§14.1.2: suffix", "bytes=-10", 100, PARTIAL, 90, 100},
        {"§14.1.2: suffix of one", "bytes=-1", 100, PARTIAL, 99, 100},
        {"§14.1.2: suffix longer than the representation", "bytes=-1000", 100, PARTIAL, 0, 100},
        {"§14.1.2: leading zeros", "bytes=00-09", 100, PARTIAL, 0, 10},
        {"§14.1.2: first at the end", "bytes=100-", 100, NONE, 0, 0},
        {"§14.1.2: first beyond the end", "bytes=200-300", 100, NONE, 0, 0},
        {"§14.1.2: empty suffix", "bytes=-0", 100, NONE, 0, 0},
        {"§14.1.2: several, none satisfiable", "bytes=100-,-0,200-300", 100, NONE, 0, 0},
        {"§14.1.2: nothing to give", "bytes=0-", 0, NONE, 0, 0},
        {"§14.1.2: a suffix of nothing is satisfiable, yet no 206", "bytes=-5", 0, WHOLE, 0, 0},
        {"§14.1.2: an empty suffix of nothing", "bytes=-0", 0, NONE, 0, 0},
        {"2^64 and more: last", "bytes=0-99999999999999999999999", 100, PARTIAL, 0, 100},
        {"2^64 and more: first", "bytes=99999999999999999999999-", 100, NONE, 0, 0},
        {"2^64 and more: suffix", "bytes=-99999999999999999999999", 100, PARTIAL, 0, 100},
        {"2^64 - 1: last", "bytes=0-18446744073709551615", 100, PARTIAL, 0, 100},
        {"2^64 - 1: length", "bytes=0-18446744073709551615", UINT64_MAX, PARTIAL, 0, UINT64_MAX},
        {"over 4 GiB", "bytes=4294967296-4294967297", UINT64_C(1) << 33, PARTIAL, UINT64_C(4294967296), UINT64_C(4294967298)},
        {"§14.1: units are compared without case", "BYTES=0-9", 100, PARTIAL, 0, 10},
        {"§14.2: an unknown unit is ignored", "lines=0-9", 100, WHOLE, 0, 0},
        {"§14.1: last before first is invalid", "bytes=9-0", 100, WHOLE, 0, 0},
        {"§14.1: and spoils the others", "bytes=0-9,9-0", 100, WHOLE, 0, 0},
        {"§14.1: even if unsatisfiable", "bytes=500-400", 100, WHOLE, 0, 0},
        {"§14.2: malformed: nothing", "bytes=", 100, WHOLE, 0, 0},
        {"§14.2: malformed: commas only", "bytes=,,", 100, WHOLE, 0, 0},
        {"§14.2: malformed: no =", "bytes 0-9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: no unit", "=0-9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: dash only", "bytes=-", 100, WHOLE, 0, 0},
        {"§14.2: malformed: no dash", "bytes=5", 100, WHOLE, 0, 0},
        {"§14.2: malformed: letters", "bytes=a-b", 100, WHOLE, 0, 0},
        {"§14.2: malformed: letters after", "bytes=0-9x", 100, WHOLE, 0, 0},
        {"§14.2: malformed: two dashes", "bytes=0--9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: sign", "bytes=+0-9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: spaces inside", "bytes=0 - 9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: space before =", "bytes =0-9", 100, WHOLE, 0, 0},
        {"§14.2: malformed: hexadecimal", "bytes=0x0-9", 100, WHOLE, 0, 0},
        {"RFC 9110 §5.6.1: white space and empty members", "bytes= ,0-4 , ,5-9,", 100, PARTIAL, 0, 10},
        {"§14.2: coalesced: adjacent", "bytes=0-9,10-19", 1000, PARTIAL, 0, 20},
        {"§14.2: coalesced: overlapping", "bytes=0-50,25-75", 1000, PARTIAL, 0, 76},
        {"§14.2: coalesced: one inside the other", "bytes=0-50,10-20", 1000, PARTIAL, 0, 51},
        {"§14.2: coalesced: out of order", "bytes=20-29,0-9,10-19", 1000, PARTIAL, 0, 30},
        {"§14.2: coalesced: gap of 80", "bytes=0-9,90-99", 1000, PARTIAL, 0, 100},
        {"§14.2: coalesced: with a suffix", "bytes=900-950,-100", 1000, PARTIAL, 900, 1000},
        {"§14.2: coalesced: to the end", "bytes=500-,-1", 1000, PARTIAL, 500, 1000},
        {"§14.1.2: unsatisfiable ones do not count", "bytes=0-9,2000-3000", 1000, PARTIAL, 0, 10},
        {"§14.1.2: unsatisfiable ones do not count", "bytes=-0,5-9", 1000, PARTIAL, 5, 10},
        {"§17.15: sixteen", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000, PARTIAL, 0, 1000},
        {"§17.15: seventeen", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000, WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes field = cases[i].field ? bytes_from_string(cases[i].field) : BYTES_NONE;
        struct range range = range_parse(field, cases[i].length);
        cr_expect_eq(range.kind, cases[i].kind, "%s: %s: kind %d", cases[i].clause, cases[i].field, (int)range.kind);
        cr_expect_eq(range.count, cases[i].kind == PARTIAL, "%s: %s: count %u", cases[i].clause, cases[i].field, range.count);
        cr_expect_eq(range.parts[0].first, cases[i].first, "%s: %s: first %lu", cases[i].clause, cases[i].field,
                     (unsigned long)range.parts[0].first);
        cr_expect_eq(range.parts[0].end, cases[i].end, "%s: %s: end %lu", cases[i].clause, cases[i].field,
                     (unsigned long)range.parts[0].end);
    }
}

/* The parts as "first-end first-end…". */
static const char *print_parts(const struct range *range, char *text)
{
    char *at = text;
    *at = '\0';
    for (unsigned i = 0; i < range->count; i++)
        at += sprintf(at, "%s%lu-%lu", i > 0 ? " " : "", (unsigned long)range->parts[i].first, (unsigned long)range->parts[i].end);
    return text;
}

Test(range, several_parts)
{
    static const struct {
        const char *clause, *field;
        uint64_t length;
        const char *parts, *sorted;
    } cases[] = {
        {"§14.1.2: two", "bytes=0-9,200-209", 1000, "0-10 200-210", "0-10 200-210"},
        {"§15.3.7.2: in the order of the request", "bytes=200-209,0-9", 1000, "200-210 0-10", "0-10 200-210"},
        {"§15.3.7.2: three, out of order", "bytes=400-409,0-9,-10", 1000, "400-410 0-10 990-1000", "0-10 400-410 990-1000"},
        {"§15.3.7.2: gap of 81", "bytes=0-9,91-99", 1000, "0-10 91-100", "0-10 91-100"},
        {"§15.3.7.2: gap of 81, out of order", "bytes=91-99,0-9", 1000, "91-100 0-10", "0-10 91-100"},
        {"§15.3.7.2: gap of 80, out of order", "bytes=90-99,0-9", 1000, "0-100", "0-100"},
        {"§15.3.7.2: two of three", "bytes=0-9,500-509,5-20", 1000, "0-21 500-510", "0-21 500-510"},
        {"§15.3.7.2: at the place of the first", "bytes=500-509,0-9,505-600", 1000, "500-601 0-10", "0-10 500-601"},
        {"§15.3.7.2: the last of two", "bytes=500-509,0-9,5-100", 1000, "500-510 0-101", "0-101 500-510"},
        {"§15.3.7.2: one that joins two", "bytes=0-9,300-309,600-609,10-299", 1000, "0-310 600-610", "0-310 600-610"},
        {"§15.3.7.2: one that joins two through their gaps", "bytes=0-9,200-209,80-130", 1000, "0-210", "0-210"},
        {"§15.3.7.2: one that joins all", "bytes=600-609,300-309,0-9,5-700", 1000, "0-701", "0-701"},
        {"§15.3.7.2: one that joins the second and third", "bytes=0-9,300-309,600-609,320-590", 1000, "0-10 300-610", "0-10 300-610"},
        {"§14.1.2: unsatisfiable ones left out", "bytes=5000-,0-9,-0,500-509,1000-1001", 1000, "0-10 500-510", "0-10 500-510"},
        {"§14.1.2: an open one ends", "bytes=0-0,900-", 1000, "0-1 900-1000", "0-1 900-1000"},
        {"§14.1.2: cut at the end", "bytes=0-0,900-2000", 1000, "0-1 900-1000", "0-1 900-1000"},
        {"over 4 GiB", "bytes=-1,0-0", UINT64_C(1) << 33, "8589934591-8589934592 0-1", "0-1 8589934591-8589934592"},
        {"2^64 - 1", "bytes=0-0,18446744073709551614-", UINT64_MAX, "0-1 18446744073709551614-18446744073709551615",
         "0-1 18446744073709551614-18446744073709551615"},
        {"RFC 9110 §5.6.1: white space and empty members", "bytes=, 0-0 ,\t, 500-500 ,", 1000, "0-1 500-501", "0-1 500-501"},
        {"§14.1: one malformed spoils all", "bytes=0-0,500-500,x", 1000, "", ""},
        {"§14.1: last before first spoils all", "bytes=0-0,500-500,9-8", 1000, "", ""},
        {"§17.15: sixteen",
         "bytes=0-0,100-100,200-200,300-300,400-400,500-500,600-600,700-700,800-800,900-900,1000-1000,1100-1100,1200-1200,1300-1300,1400-"
         "1400,"
         "1500-1500",
         9000,
         "0-1 100-101 200-201 300-301 400-401 500-501 600-601 700-701 800-801 900-901 1000-1001 1100-1101 1200-1201 1300-1301 1400-1401 "
         "1500-1501",
         "0-1 100-101 200-201 300-301 400-401 500-501 600-601 700-701 800-801 900-901 1000-1001 1100-1101 1200-1201 1300-1301 1400-1401 "
         "1500-1501"},
        {"§17.15: seventeen",
         "bytes=0-0,100-100,200-200,300-300,400-400,500-500,600-600,700-700,800-800,900-900,1000-1000,1100-1100,1200-1200,1300-1300,1400-"
         "1400,"
         "1500-1500,1600-1600",
         9000, "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        struct range range = range_parse(bytes_from_string(cases[i].field), cases[i].length);
        cr_expect_eq(range.kind, cases[i].parts[0] ? PARTIAL : WHOLE, "%s", cases[i].clause);
        cr_expect_str_eq(print_parts(&range, text), cases[i].parts, "%s: %s", cases[i].clause, text);
        range_sort(&range);
        cr_expect_str_eq(print_parts(&range, text), cases[i].sorted, "%s: %s", cases[i].clause, text);
    }
}
