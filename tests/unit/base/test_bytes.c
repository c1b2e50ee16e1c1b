#include "base/bytes.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct bytes text_of(const char *string)
{
    return string ? bytes_from_string(string) : BYTES_NONE;
}

Test(bytes, equal_nocase_folds_ascii_letters_and_nothing_else)
{
    /* Every pair of bytes, at every place of names shorter and longer than a machine word. */
    for (size_t len = 1; len <= 19; len++) {
        for (size_t at = 0; at < len; at++) {
            char left[20], right[20];
            memset(left, 'q', len);
            memset(right, 'Q', len);
            for (unsigned a = 0; a < 256; a++) {
                for (unsigned b = 0; b < 256; b++) {
                    unsigned folded_a = a >= 'A' && a <= 'Z' ? a + 32 : a, folded_b = b >= 'A' && b <= 'Z' ? b + 32 : b;
                    left[at] = (char)a;
                    right[at] = (char)b;
                    if (bytes_equal_nocase(bytes_from(left, len), bytes_from(right, len)) != (folded_a == folded_b))
                        cr_assert_fail("length %zu place %zu bytes %02x %02x", len, at, a, b);
                }
            }
        }
    }
}

Test(bytes, equality_starts_and_ends)
{
    static const struct {
        const char *text, *other;
        bool equal, starts, ends;
    } cases[] = {
        {"", "", true, true, true},           {NULL, "", true, true, true},         {"", NULL, true, true, true},
        {"abc", "", false, true, true},       {"abc", "abc", true, true, true},     {"abc", "ab", false, true, false},
        {"abc", "bc", false, false, true},    {"abc", "abcd", false, false, false}, {"abc", "ABC", false, false, false},
        {"abcabc", "abc", false, true, true}, {"", "a", false, false, false},       {NULL, "a", false, false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes text = text_of(cases[i].text), other = text_of(cases[i].other);
        cr_expect_eq(bytes_equal(text, other), cases[i].equal, "case %zu", i);
        cr_expect_eq(bytes_starts_with(text, other), cases[i].starts, "case %zu", i);
        cr_expect_eq(bytes_ends_with(text, other), cases[i].ends, "case %zu", i);
        cr_expect_eq(bytes_equal_nocase(text, other), cases[i].equal || i == 8, "case %zu", i);
    }
}

Test(bytes, find_gives_the_first_or_the_length)
{
    cr_expect_eq(bytes_find(BYTES("a,b,c"), ','), 1);
    cr_expect_eq(bytes_find(BYTES("abc"), ','), 3);
    cr_expect_eq(bytes_find(BYTES(""), ','), 0);
    cr_expect_eq(bytes_find(BYTES_NONE, ','), 0);
    cr_expect_eq(bytes_find(bytes_from("ab\0c", 4), '\0'), 2);
}

Test(bytes, trim_takes_spaces_and_tabs_only)
{
    static const struct {
        const char *text, *trimmed;
    } cases[] = {
        {"", ""},           {" ", ""},        {" \t \t", ""}, {"a", "a"},   {"  a b\t", "a b"},
        {"\ra\n", "\ra\n"}, {"\v a", "\v a"}, {"a ", "a"},    {"\ta", "a"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes trimmed = bytes_trim(text_of(cases[i].text));
        cr_expect(bytes_equal(trimmed, text_of(cases[i].trimmed)), "case %zu", i);
        cr_expect_not_null(trimmed.at, "case %zu: empty is not absent", i);
    }
    cr_expect_null(bytes_trim(BYTES_NONE).at);
}

Test(bytes, numbers_are_digits_only_and_fit)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"00000000000000000000000000007", true, 7},
        {"42", true, 42},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"18446744073709551620", false, 0},
        {"99999999999999999999", false, 0},
        {"184467440737095516150", false, 0},
        {"", false, 0},
        {NULL, false, 0},
        {"+1", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1,1", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"/", false, 0},
        {":", false, 0},
        {"\xb1", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 77;
        cr_expect_eq(bytes_parse_u64(text_of(cases[i].text), &value), cases[i].ok, "case %zu", i);
        cr_expect_eq(value, cases[i].ok ? cases[i].value : 77, "case %zu", i);
    }
}

Test(bytes, hexadecimal_numbers_have_one_to_sixteen_digits)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"fF", true, 255},
        {"0123456789abcdef", true, 0x0123456789abcdef},
        {"FFFFFFFFFFFFFFFF", true, UINT64_MAX},
        {"00000000000000001", false, 0},
        {"", false, 0},
        {NULL, false, 0},
        {"0x1", false, 0},
        {"g", false, 0},
        {"`", false, 0},
        {"@", false, 0},
        {"-1", false, 0},
        {"1 ", false, 0},
        {"\x11", false, 0}, /* not '1' with another case */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 77;
        cr_expect_eq(bytes_parse_hex64(text_of(cases[i].text), &value), cases[i].ok, "case %zu", i);
        cr_expect_eq(value, cases[i].ok ? cases[i].value : 77, "case %zu", i);
    }
}

Test(bytes, token_characters_are_those_of_rfc_9110)
{
    static const char tchars[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (unsigned c = 0; c < 256; c++) {
        char one = (char)c;
        bool expected = c != 0 && strchr(tchars, (int)c) != NULL;
        cr_expect_eq(byte_is_tchar((unsigned char)c), expected, "byte %02x", c);
        cr_expect_eq(bytes_is_token(bytes_from(&one, 1)), expected, "byte %02x", c);
    }
    cr_expect_not(bytes_is_token(BYTES("")));
    cr_expect_not(bytes_is_token(BYTES_NONE));
    cr_expect(bytes_is_token(BYTES("X-Forwarded-For")));
    cr_expect_not(bytes_is_token(BYTES("X-Forwarded-For ")));
    cr_expect_not(bytes_is_token(BYTES(" a")));
    cr_expect_not(bytes_is_token(BYTES("a:b")));
}

Test(bytes, list_members)
{
    static const struct {
        const char *list;
        const char *members[5];
    } cases[] = {
        {"", {NULL}},
        {NULL, {NULL}},
        {",", {NULL}},
        {" , ,\t, ", {NULL}},
        {"a", {"a"}},
        {"a,b", {"a", "b"}},
        {" a , b\t,c ", {"a", "b", "c"}},
        {",a,,b,", {"a", "b"}},
        {"a b, c", {"a b", "c"}},
        {"x=\"1,2\", y", {"x=\"1,2\"", "y"}},
        {"\"a,b\",\"c\"", {"\"a,b\"", "\"c\""}},
        {"x=\"a\\\",b\", y", {"x=\"a\\\",b\"", "y"}},     /* an escaped quote does not end the string */
        {"x=\"a\\\\\",y", {"x=\"a\\\\\"", "y"}},          /* an escaped backslash does not escape the quote */
        {"a\\,b", {"a\\", "b"}},                          /* outside a string a backslash is a byte */
        {"a, \"unfinished, b", {"a", "\"unfinished, b"}}, /* what an unfinished string holds stays together */
        {"a, \"unfinished\\", {"a", "\"unfinished\\"}},
        {"\"\",b", {"\"\"", "b"}},
        {"max-age=1, no-cache=\"set-cookie, x\", private", {"max-age=1", "no-cache=\"set-cookie, x\"", "private"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes rest = text_of(cases[i].list), member;
        size_t count = 0;
        while (bytes_next_list_member(&rest, &member)) {
            const char *expected = count < 5 ? cases[i].members[count] : NULL;
            cr_assert_not_null(expected, "case %zu has a member too many: %.*s", i, BYTES_FMT(member));
            cr_expect(bytes_equal(member, bytes_from_string(expected)), "case %zu member %zu: %.*s", i, count, BYTES_FMT(member));
            count++;
        }
        cr_expect(count == 5 || cases[i].members[count] == NULL, "case %zu ends after %zu members", i, count);
        cr_expect_eq(rest.len, 0, "case %zu", i);
    }
}

Test(bytes, list_has_whole_members_without_case)
{
    cr_expect(bytes_list_has(BYTES("keep-alive, Upgrade"), BYTES("upgrade")));
    cr_expect(bytes_list_has(BYTES("CLOSE"), BYTES("close")));
    cr_expect_not(bytes_list_has(BYTES("not-close, closed"), BYTES("close")));
    cr_expect_not(bytes_list_has(BYTES("x=\"a, close, b\""), BYTES("close")));
    cr_expect_not(bytes_list_has(BYTES(""), BYTES("close")));
    cr_expect_not(bytes_list_has(BYTES("a,,b"), BYTES("")));
}

Test(bytes, numbers_are_put_as_printf_prints_them)
{
    static const uint64_t numbers[] = {0, 1, 9, 10, 99, 100, 12345, 4294967295, 4294967296, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        char expected[32], got[32];
        snprintf(expected, sizeof(expected), "%lu", (unsigned long)numbers[i]);
        *bytes_put_decimal(got, numbers[i]) = '\0';
        cr_expect_str_eq(got, expected);
        snprintf(expected, sizeof(expected), "%lx", (unsigned long)numbers[i]);
        *bytes_put_hex(got, numbers[i]) = '\0';
        cr_expect_str_eq(got, expected);
    }
}

Test(bytes, lower_case_is_put_at_every_length_and_of_every_byte)
{
    char all[256], lower[256];
    for (unsigned i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    for (size_t len = 0; len <= sizeof(all); len++) {
        cr_assert_eq(bytes_put_lower(lower, bytes_from(all, len)), lower + len);
        for (size_t i = 0; i < len; i++)
            cr_assert_eq(lower[i], byte_lower(all[i]));
    }
}

Test(bytes, upper_case_is_found_wherever_it_stands_and_of_every_byte)
{
    char text[40];
    for (size_t len = 0; len <= sizeof(text); len++) {
        for (unsigned c = 0; c < 256; c++) {
            for (size_t at = 0; at < len; at++) {
                memset(text, 'v', sizeof(text));
                text[at] = (char)c;
                cr_assert_eq(bytes_have_upper(bytes_from(text, len)), c >= 'A' && c <= 'Z', "byte %u at %zu of %zu", c, at, len);
            }
        }
    }
}

Test(bytes, two_bytes_are_read_the_more_significant_first_and_as_unsigned)
{
    cr_expect_eq(bytes_get_u16("\x12\x34"), 0x1234);
    cr_expect_eq(bytes_get_u16("\xff\xfe"), 0xfffe);
    cr_expect_eq(bytes_get_u16("\x00\x80"), 0x80);
}
