#include "cache/policy/range.h"

#include <criterion/criterion.h>

#define WHOLE  RANGE_WHOLE
#define SINGLE RANGE_SINGLE
#define NONE   RANGE_UNSATISFIABLE

Test(range, parse)
{
    static const struct {
        const char *clause, *field;
        uint64_t length;
        enum range_kind kind;
        uint64_t first, end;
    } cases[] = {
        {"§14.2: no field", NULL, 100, WHOLE, 0, 0},
        {"§14.1.2: first and last", "bytes=0-9", 100, SINGLE, 0, 10},
        {"§14.1.2: one byte", "bytes=0-0", 100, SINGLE, 0, 1},
        {"§14.1.2: the last byte", "bytes=99-99", 100, SINGLE, 99, 100},
        {"§14.1.2: open", "bytes=10-", 100, SINGLE, 10, 100},
        {"§14.1.2: open from 0", "bytes=0-", 100, SINGLE, 0, 100},
        {"§14.1.2: last beyond the end", "bytes=10-1000", 100, SINGLE, 10, 100},
        {"§14.1.2: suffix", "bytes=-10", 100, SINGLE, 90, 100},
        {"§14.1.2: suffix of one", "bytes=-1", 100, SINGLE, 99, 100},
        {"§14.1.2: suffix longer than the representation", "bytes=-1000", 100, SINGLE, 0, 100},
        {"§14.1.2: leading zeros", "bytes=00-09", 100, SINGLE, 0, 10},
        {"§14.1.2: first at the end", "bytes=100-", 100, NONE, 0, 0},
        {"§14.1.2: first beyond the end", "bytes=200-300", 100, NONE, 0, 0},
        {"§14.1.2: empty suffix", "bytes=-0", 100, NONE, 0, 0},
        {"§14.1.2: several, none satisfiable", "bytes=100-,-0,200-300", 100, NONE, 0, 0},
        {"§14.1.2: nothing to give", "bytes=0-", 0, NONE, 0, 0},
        {"§14.1.2: a suffix of nothing is satisfiable, yet no 206", "bytes=-5", 0, WHOLE, 0, 0},
        {"§14.1.2: an empty suffix of nothing", "bytes=-0", 0, NONE, 0, 0},
        {"2^64 and more: last", "bytes=0-99999999999999999999999", 100, SINGLE, 0, 100},
        {"2^64 and more: first", "bytes=99999999999999999999999-", 100, NONE, 0, 0},
        {"2^64 and more: suffix", "bytes=-99999999999999999999999", 100, SINGLE, 0, 100},
        {"2^64 - 1: last", "bytes=0-18446744073709551615", 100, SINGLE, 0, 100},
        {"2^64 - 1: length", "bytes=0-18446744073709551615", UINT64_MAX, SINGLE, 0, UINT64_MAX},
        {"over 4 GiB", "bytes=4294967296-4294967297", UINT64_C(1) << 33, SINGLE, UINT64_C(4294967296), UINT64_C(4294967298)},
        {"§14.1: units are compared without case", "BYTES=0-9", 100, SINGLE, 0, 10},
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
        {"RFC 9110 §5.6.1: white space and empty members", "bytes= ,0-4 , ,5-9,", 100, SINGLE, 0, 10},
        {"§14.2: several that are apart", "bytes=0-9,200-209", 1000, WHOLE, 0, 0},
        {"§14.2: coalesced: adjacent", "bytes=0-9,10-19", 1000, SINGLE, 0, 20},
        {"§14.2: coalesced: overlapping", "bytes=0-50,25-75", 1000, SINGLE, 0, 76},
        {"§14.2: coalesced: one inside the other", "bytes=0-50,10-20", 1000, SINGLE, 0, 51},
        {"§14.2: coalesced: out of order", "bytes=20-29,0-9,10-19", 1000, SINGLE, 0, 30},
        {"§14.2: coalesced: out of order and apart", "bytes=200-209,0-9", 1000, WHOLE, 0, 0},
        {"§14.2: coalesced: gap of 80", "bytes=0-9,90-99", 1000, SINGLE, 0, 100},
        {"§14.2: not coalesced: gap of 81", "bytes=0-9,91-99", 1000, WHOLE, 0, 0},
        {"§14.2: coalesced: with a suffix", "bytes=900-950,-100", 1000, SINGLE, 900, 1000},
        {"§14.2: coalesced: to the end", "bytes=500-,-1", 1000, SINGLE, 500, 1000},
        {"§14.1.2: unsatisfiable ones do not count", "bytes=0-9,2000-3000", 1000, SINGLE, 0, 10},
        {"§14.1.2: unsatisfiable ones do not count", "bytes=-0,5-9", 1000, SINGLE, 5, 10},
        {"§17.15: sixteen", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000, SINGLE, 0, 1000},
        {"§17.15: seventeen", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000, WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes field = cases[i].field ? bytes_from_string(cases[i].field) : BYTES_NONE;
        struct range range = range_parse(field, cases[i].length);
        cr_expect_eq(range.kind, cases[i].kind, "%s: %s: kind %d", cases[i].clause, cases[i].field, (int)range.kind);
        cr_expect_eq(range.first, cases[i].first, "%s: %s: first %lu", cases[i].clause, cases[i].field, (unsigned long)range.first);
        cr_expect_eq(range.end, cases[i].end, "%s: %s: end %lu", cases[i].clause, cases[i].field, (unsigned long)range.end);
    }
}
