#include "cache/policy/slice.h"

#include <criterion/criterion.h>

static struct arena arena;

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_free(&arena);
}

TestSuite(slice, .init = setup, .fini = teardown);

static struct headers fields_of(const char *block)
{
    struct headers fields;
    headers_init(&fields, &arena);
    cr_assert(headers_parse_block(&fields, bytes_from_string(block)));
    return fields;
}

Test(slice, content_range)
{
    static const struct {
        const char *clause, *field;
        bool good;
        uint64_t first, end, length;
    } cases[] = {
        {"RFC 9110 §14.4", "bytes 0-9/100", true, 0, 10, 100},
        {"§14.4: the last byte", "bytes 99-99/100", true, 99, 100, 100},
        {"§14.4: all of it", "bytes 0-99/100", true, 0, 100, 100},
        {"§14.4: units are compared without case", "BYTES 0-9/100", true, 0, 10, 100},
        {"over 4 GiB", "bytes 8589934592-8589934593/17179869184", true, UINT64_C(8589934592), UINT64_C(8589934594), UINT64_C(17179869184)},
        {"as long as a file can be", "bytes 0-9223372036854775806/9223372036854775807", true, 0, INT64_MAX, INT64_MAX},
        {"longer", "bytes 0-9/9223372036854775808", false, 0, 0, 0},
        {"2^64 - 1", "bytes 0-18446744073709551614/18446744073709551615", false, 0, 0, 0},
        {"§14.4: unknown length", "bytes 0-9/*", false, 0, 0, 0},
        {"§14.4: unsatisfied", "bytes */100", false, 0, 0, 0},
        {"§14.4: last before first", "bytes 9-0/100", false, 0, 0, 0},
        {"§14.4: last beyond the end", "bytes 0-100/100", false, 0, 0, 0},
        {"§14.4: nothing", "bytes 0-0/0", false, 0, 0, 0},
        {"§14.4: another unit", "lines 0-9/100", false, 0, 0, 0},
        {"malformed: empty", "", false, 0, 0, 0},
        {"malformed: unit only", "bytes", false, 0, 0, 0},
        {"malformed: no length", "bytes 0-9", false, 0, 0, 0},
        {"malformed: empty length", "bytes 0-9/", false, 0, 0, 0},
        {"malformed: no last", "bytes 0-/100", false, 0, 0, 0},
        {"malformed: no first", "bytes -9/100", false, 0, 0, 0},
        {"malformed: no dash", "bytes 9/100", false, 0, 0, 0},
        {"malformed: =", "bytes=0-9/100", false, 0, 0, 0},
        {"malformed: two spaces", "bytes  0-9/100", false, 0, 0, 0},
        {"malformed: spaces inside", "bytes 0 - 9/100", false, 0, 0, 0},
        {"malformed: sign", "bytes +0-9/100", false, 0, 0, 0},
        {"malformed: more behind", "bytes 0-9/100 ", false, 0, 0, 0},
        {"malformed: a list", "bytes 0-9/100, bytes 10-19/100", false, 0, 0, 0},
        {"malformed: 2^64", "bytes 0-9/18446744073709551616", false, 0, 0, 0},
        {"2^64 as the last byte", "bytes 0-18446744073709551615/18446744073709551615", false, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct content_range range;
        bool good = content_range_parse(bytes_from_string(cases[i].field), &range);
        cr_expect_eq(good, cases[i].good, "%s: %s", cases[i].clause, cases[i].field);
        if (good && cases[i].good)
            cr_expect(range.part.first == cases[i].first && range.part.end == cases[i].end && range.length == cases[i].length, "%s: %s",
                      cases[i].clause, cases[i].field);
    }
}

Test(slice, which_is_needed_first)
{
    static const struct {
        const char *what, *field;
        uint64_t size;
        bool sliced;
        uint64_t first;
    } cases[] = {
        {"the first byte", "bytes=0-0", 100, true, 0},
        {"the last byte of the first", "bytes=99-99", 100, true, 0},
        {"the first byte of the second", "bytes=100-100", 100, true, 100},
        {"several slices", "bytes=250-900", 100, true, 200},
        {"an open range", "bytes=250-", 100, true, 200},
        {"from the beginning", "bytes=0-", 100, true, 0},
        {"a suffix: the length is not known", "bytes=-5", 100, true, 0},
        {"several ranges: the first of them", "bytes=900-901,5-6", 100, true, 900},
        {"far away", "bytes=4294967296-", 4096, true, UINT64_C(4294967296)},
        {"too far to be true", "bytes=18446744073709551614-", 100, true, 0},
        {"no range", NULL, 100, false, 0},
        {"malformed", "bytes=x", 100, false, 0},
        {"another unit", "lines=0-5", 100, false, 0},
        {"an empty suffix", "bytes=-0", 100, false, 0},
        {"too many",
         "bytes=1-1,300-300,500-500,700-700,900-900,1100-1100,1300-1300,1500-1500,1700-1700,1900-1900,2100-2100,2300-2300,2500-2500,"
         "2700-2700,2900-2900,3100-3100,3300-3300",
         100, false, 0},
        {"off", "bytes=0-0", 0, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span slice = {0, 0};
        bool sliced = slice_for_range(cases[i].field ? bytes_from_string(cases[i].field) : BYTES_NONE, cases[i].size, &slice);
        cr_expect_eq(sliced, cases[i].sliced, "%s", cases[i].what);
        cr_expect_eq(slice.first, cases[i].first, "%s: %lu", cases[i].what, (unsigned long)slice.first);
        cr_expect_eq(slice.end, sliced ? cases[i].first + cases[i].size : 0, "%s: %lu", cases[i].what, (unsigned long)slice.end);
    }
}

Test(slice, what_answers_it)
{
    static const struct {
        const char *what, *block;
        struct span asked;
        bool length_known;
        uint64_t body_bytes;
        bool answered;
    } cases[] = {
        {"all that was asked for", "Content-Range: bytes 100-199/1000\r\n", {100, 200}, true, 100, true},
        {"the last slice is short", "Content-Range: bytes 900-949/950\r\n", {900, 1000}, true, 50, true},
        {"the whole is one slice", "Content-Range: bytes 0-9/10\r\n", {0, 100}, true, 10, true},
        {"less than was asked for", "Content-Range: bytes 100-149/1000\r\n", {100, 200}, true, 50, false},
        {"more", "Content-Range: bytes 100-299/1000\r\n", {100, 200}, true, 200, false},
        {"another part", "Content-Range: bytes 200-299/1000\r\n", {100, 200}, true, 100, false},
        {"a body of another length", "Content-Range: bytes 100-199/1000\r\n", {100, 200}, true, 99, false},
        {"a body of unknown length", "Content-Range: bytes 100-199/1000\r\n", {100, 200}, false, 100, false},
        {"an unknown end", "Content-Range: bytes 100-199/*\r\n", {100, 200}, true, 100, false},
        {"two lines", "Content-Range: bytes 100-199/1000\r\nContent-Range: bytes 100-199/1000\r\n", {100, 200}, true, 100, false},
        {"none (multipart)", "Content-Type: multipart/byteranges; boundary=x\r\n", {100, 200}, true, 100, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct headers fields = fields_of(cases[i].block);
        struct content_range range;
        cr_expect_eq(slice_is_answered(&fields, cases[i].asked, cases[i].length_known, cases[i].body_bytes, &range), cases[i].answered,
                     "%s", cases[i].what);
    }
}

#define MODIFIED "Last-Modified: Tue, 01 Jul 2025 10:00:00 GMT\r\n"
#define LATER    "Date: Tue, 01 Jul 2025 10:00:01 GMT\r\n"

Test(slice, what_belongs_together)
{
    static const struct {
        const char *clause, *stored, *answer;
        bool belongs;
    } cases[] = {
        {"RFC 9111 §3.4: the same entity tag", "ETag: \"a\"\r\n", "ETag: \"a\"\r\n", true},
        {"§3.4: another one", "ETag: \"a\"\r\n", "ETag: \"b\"\r\n", false},
        {"§3.4: weak", "ETag: W/\"a\"\r\n", "ETag: W/\"a\"\r\n", false},
        {"§3.4: weak now", "ETag: \"a\"\r\n", "ETag: W/\"a\"\r\n", false},
        {"§3.4: none", "X: y\r\n", "X: y\r\n", false},
        {"§3.4: none any more", "ETag: \"a\"\r\n", "X: y\r\n", false},
        {"§3.4: one of the two is new", "X: y\r\n", "ETag: \"a\"\r\n", false},
        {"RFC 9110 §8.8.3: malformed", "ETag: a\r\n", "ETag: a\r\n", false},
        {"RFC 9110 §8.8.3: two", "ETag: \"a\"\r\nETag: \"b\"\r\n", "ETag: \"a\"\r\nETag: \"b\"\r\n", false},
        {"RFC 9110 §8.8.2.2: a date a second later", MODIFIED LATER, MODIFIED LATER, true},
        {"RFC 9110 §8.8.2.2: in the same second", MODIFIED, MODIFIED "Date: Tue, 01 Jul 2025 10:00:00 GMT\r\n", false},
        {"RFC 9110 §8.8.2.2: no Date", MODIFIED, MODIFIED, false},
        {"another date", "Last-Modified: Tue, 01 Jul 2025 09:00:00 GMT\r\n", MODIFIED LATER, false},
        {"a weak entity tag is not saved by a date", MODIFIED LATER "ETag: W/\"a\"\r\n", MODIFIED LATER "ETag: W/\"a\"\r\n", false},
        {"an entity tag comes before a date", MODIFIED LATER "ETag: \"a\"\r\n", MODIFIED LATER "ETag: \"b\"\r\n", false},
        {"the entity tag is gone, the date is the same", MODIFIED LATER "ETag: \"a\"\r\n", MODIFIED LATER, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct headers stored = fields_of(cases[i].stored), answer = fields_of(cases[i].answer);
        cr_expect_eq(slice_belongs(&stored, &answer, (struct wall_seconds){1767225600}), cases[i].belongs, "%s", cases[i].clause);
    }
}
