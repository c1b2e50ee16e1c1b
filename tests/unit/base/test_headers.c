#include "base/headers.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    enum header_id id;
    const char *spelling;
    unsigned flags;
} rows[] = {
#define HEADER(id, spelling, flags) {HEADER_##id, spelling, flags},
#include "base/headers.tbl"
#undef HEADER
};

static struct arena arena;
static struct headers fields;

static void begin(void)
{
    arena_init(&arena);
    headers_init(&fields, &arena);
}

static void end(void)
{
    arena_free(&arena);
}

TestSuite(headers, .init = begin, .fini = end);

Test(headers, every_row_is_identified_in_any_case)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        char name[64];
        size_t len = strlen(rows[i].spelling);
        for (unsigned style = 0; style < 3; style++) {
            for (size_t at = 0; at <= len; at++) {
                int c = rows[i].spelling[at];
                name[at] = (char)(style == 0 ? c : style == 1 ? toupper(c) : tolower(c));
            }
            cr_expect_eq(header_identify(bytes_from(name, len)), rows[i].id, "%s", name);
        }
        cr_expect(bytes_equal(header_spelling(rows[i].id), bytes_from_string(rows[i].spelling)));
        cr_expect_eq(header_flags(rows[i].id), rows[i].flags, "%s", rows[i].spelling);
    }
}

Test(headers, near_misses_are_other)
{
    /* Each known name with one byte changed, added or removed. */
    for (size_t i = 0; i < COUNT(rows); i++) {
        char name[64];
        size_t len = strlen(rows[i].spelling);
        for (size_t at = 0; at < len; at++) {
            for (unsigned flip = 0; flip < 8; flip++) {
                memcpy(name, rows[i].spelling, len);
                name[at] ^= (char)(1 << flip);
                if (flip == 5 && isalpha((unsigned char)name[at]))
                    continue; /* that is only its case */
                cr_expect_neq(header_identify(bytes_from(name, len)), rows[i].id, "%.*s", (int)len, name);
            }
        }
        cr_expect_neq(header_identify(bytes_from(rows[i].spelling, len - 1)), rows[i].id);
        cr_expect_neq(header_identify(bytes_from(rows[i].spelling, len + 1)), rows[i].id, "with its NUL");
    }
    cr_expect_eq(header_identify(BYTES("")), HEADER_OTHER);
    cr_expect_eq(header_identify(BYTES_NONE), HEADER_OTHER);
    cr_expect_eq(header_identify(BYTES("Transfer_Encoding")), HEADER_OTHER);
    cr_expect_eq(header_identify(BYTES("X")), HEADER_OTHER);
    cr_expect_eq(header_identify(BYTES("Access-Control-Allow-Credentials-And-Much-More-Than-That")), HEADER_OTHER);
    cr_expect_null(header_spelling(HEADER_OTHER).at);
    cr_expect_eq(header_flags(HEADER_OTHER), 0);
}

Test(headers, lines_keep_their_order_and_repeated_ones_stay_apart)
{
    headers_add_named(&fields, BYTES("Via"), BYTES("1.1 a"));
    headers_add_named(&fields, BYTES("X-One"), BYTES("1"));
    headers_add_named(&fields, BYTES("x-one"), BYTES("2"));
    headers_add_named(&fields, BYTES("VIA"), BYTES("1.1 b"));
    headers_add_known(&fields, HEADER_AGE, BYTES("7"));

    const struct header *via = headers_find(&fields, HEADER_VIA);
    cr_assert_eq(via, &fields.at[0]);
    cr_assert_eq(headers_next(&fields, via), &fields.at[3]);
    cr_assert_null(headers_next(&fields, &fields.at[3]));
    cr_assert_eq(headers_count(&fields, HEADER_VIA), 2);

    const struct header *one = headers_find_named(&fields, BYTES("X-ONE"));
    cr_assert_eq(one, &fields.at[1]);
    cr_assert_eq(headers_next(&fields, one), &fields.at[2]);
    cr_assert_null(headers_next(&fields, &fields.at[2]));
    cr_assert_null(headers_find_named(&fields, BYTES("X-Two")));

    cr_assert_eq(headers_find_named(&fields, BYTES("via")), via, "a known field is found by name, too");
    cr_assert(bytes_equal(headers_find(&fields, HEADER_AGE)->name, BYTES("Age")));
}

Test(headers, a_copy_has_texts_of_its_own)
{
    struct arena other;
    struct headers copy;
    char name[] = "X-Name", value[] = "text";
    arena_init(&other);
    headers_init(&copy, &other);
    headers_add_known(&copy, HEADER_HOST, BYTES("before"));
    for (unsigned i = 0; i < 30; i++) { /* more than the first capacity */
        headers_add_named(&fields, bytes_from_string(name), bytes_from_string(value));
        headers_add_known(&fields, HEADER_ETAG, BYTES(""));
    }
    headers_copy(&copy, &fields);
    memset(name, '?', sizeof name - 1);
    memset(value, '?', sizeof value - 1);
    cr_assert_eq(copy.count, 61);
    cr_assert(bytes_equal(headers_value(&copy, HEADER_HOST), BYTES("before")));
    cr_assert_eq(headers_count(&copy, HEADER_ETAG), 30);
    cr_assert_not_null(headers_value(&copy, HEADER_ETAG).at, "empty, not absent");
    const struct header *found = headers_find_named(&copy, BYTES("x-name"));
    cr_assert(found != NULL && bytes_equal(found->name, BYTES("X-Name")) && bytes_equal(found->value, BYTES("text")));
    arena_free(&other);
}

Test(headers, an_empty_value_is_not_an_absent_field)
{
    headers_add_named(&fields, BYTES("Accept-Encoding"), BYTES(""));
    headers_add_named(&fields, BYTES("Accept"), BYTES_NONE);
    headers_add_named(&fields, BYTES("ETag"), BYTES(" \t\"x\" "));
    cr_assert_not_null(headers_value(&fields, HEADER_ACCEPT_ENCODING).at);
    cr_assert_eq(headers_value(&fields, HEADER_ACCEPT_ENCODING).len, 0);
    cr_assert_not_null(headers_value(&fields, HEADER_ACCEPT).at);
    cr_assert_null(headers_value(&fields, HEADER_COOKIE).at);
    cr_assert(bytes_equal(headers_value(&fields, HEADER_ETAG), BYTES("\"x\"")), "without surrounding white space");
}

Test(headers, remove_takes_every_line_and_leaves_the_others)
{
    for (unsigned i = 0; i < 100; i++) {
        headers_add_named(&fields, i % 3 ? BYTES("Cookie") : BYTES("X-Kept"), arena_printf(&arena, "%u", i));
        headers_add_known(&fields, HEADER_DATE, BYTES("d"));
    }
    cr_assert_eq(headers_remove(&fields, HEADER_COOKIE), 66);
    cr_assert_eq(headers_remove(&fields, HEADER_COOKIE), 0);
    cr_assert_null(headers_find(&fields, HEADER_COOKIE));
    cr_assert_eq(fields.count, 134);
    cr_assert_eq(headers_count(&fields, HEADER_DATE), 100);
    const struct header *kept = headers_find_named(&fields, BYTES("x-kept"));
    for (unsigned i = 0; i < 100; i += 3, kept = headers_next(&fields, kept))
        cr_assert(bytes_equal(kept->value, arena_printf(&arena, "%u", i)));
    cr_assert_null(kept);
}

Test(headers, absent_fields_are_absent_whatever_shares_their_bit)
{
    /* `present` has 64 bits: looking for one field must not find its alias, and removing one must not hide the other. */
    for (size_t i = 0; i < COUNT(rows); i++)
        headers_add_known(&fields, rows[i].id, BYTES("v"));
    headers_add_named(&fields, BYTES("X-Other"), BYTES("v"));
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_assert_eq(headers_find(&fields, rows[i].id)->id, rows[i].id);
        cr_assert_eq(headers_remove(&fields, rows[i].id), 1);
        cr_assert_null(headers_find(&fields, rows[i].id));
        for (size_t j = i + 1; j < COUNT(rows); j++)
            cr_assert_not_null(headers_find(&fields, rows[j].id));
        cr_assert_not_null(headers_find_named(&fields, BYTES("x-other")));
    }
}

Test(headers, combined_joins_lines_and_borrows_a_single_one)
{
    static const char single[] = "gzip";
    headers_add_named(&fields, BYTES("Accept-Encoding"), bytes_from_string(single));
    headers_add_named(&fields, BYTES("X-List"), BYTES("a"));
    headers_add_named(&fields, BYTES("x-list"), BYTES(""));
    headers_add_named(&fields, BYTES("X-LIST"), BYTES("b, c"));
    cr_assert_eq(headers_combined(&fields, BYTES("accept-encoding"), &arena).at, single);
    cr_assert(bytes_equal(headers_combined(&fields, BYTES("X-List"), &arena), BYTES("a, , b, c")));
    cr_assert_null(headers_combined(&fields, BYTES("X-None"), &arena).at);
    cr_assert_null(headers_combined(&fields, BYTES("Cookie"), &arena).at);
}

Test(headers, list_has_looks_into_every_line)
{
    headers_add_named(&fields, BYTES("Connection"), BYTES("keep-alive"));
    headers_add_named(&fields, BYTES("Connection"), BYTES("Upgrade, HTTP2-Settings"));
    cr_assert(headers_list_has(&fields, HEADER_CONNECTION, BYTES("upgrade")));
    cr_assert_not(headers_list_has(&fields, HEADER_CONNECTION, BYTES("close")));
    cr_assert_not(headers_list_has(&fields, HEADER_TE, BYTES("upgrade")));
}

Test(headers, connection_strips_what_it_names_but_not_what_is_ours)
{
    static const struct {
        const char *name, *connection;
        bool hop;
    } cases[] = {
        /* hop-by-hop whatever Connection says */
        {"Connection", NULL, true},
        {"Keep-Alive", NULL, true},
        {"Proxy-Connection", NULL, true},
        {"Proxy-Authorization", NULL, true},
        {"Proxy-Authenticate", NULL, true},
        {"TE", NULL, true},
        {"Trailer", NULL, true},
        {"Transfer-Encoding", NULL, true},
        {"Upgrade", NULL, true},
        {"HTTP2-Settings", NULL, true},
        /* end to end unless named */
        {"X-Auth", NULL, false},
        {"X-Auth", "close", false},
        {"X-Auth", "x-auth", true},
        {"X-Auth", "keep-alive, X-AUTH , foo", true},
        {"X-Auth", "X-Auth2", false},
        {"X-Auth", "\"X-Auth\"", false},
        {"Cache-Control", "cache-control", true},
        {"User-Agent", "user-agent", true},
        /* out of its reach */
        {"Host", "host", false},
        {"Content-Length", "content-length", false},
        {"Cookie", "cookie", false},
        {"Authorization", "Authorization", false},
        {"X-Forwarded-For", "x-forwarded-for", false},
        {"X-Forwarded-Host", "x-forwarded-host", false},
        {"X-Forwarded-Proto", "x-forwarded-proto", false},
        {"Transfer-Encoding", "transfer-encoding", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        headers_init(&fields, &arena);
        headers_add_named(&fields, bytes_from_string(cases[i].name), BYTES("v"));
        if (cases[i].connection) {
            headers_add_named(&fields, BYTES("connection"), BYTES("te"));
            headers_add_named(&fields, BYTES("Connection"), bytes_from_string(cases[i].connection));
        }
        cr_expect_eq(header_is_hop_by_hop(&fields.at[0], &fields), cases[i].hop, "%s with Connection: %s", cases[i].name,
                     cases[i].connection ? cases[i].connection : "(none)");
    }
}

Test(headers, values_hold_no_control_byte_but_tab)
{
    /* Every byte at every place of values shorter and longer than a machine word. */
    for (size_t len = 1; len <= 19; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                char value[20];
                memset(value, at % 2 ? '\t' : 'v', len);
                value[at] = (char)c;
                bool valid = c == '\t' || (c >= 0x20 && c != 0x7f);
                if (header_value_is_valid(bytes_from(value, len)) != valid)
                    cr_assert_fail("length %zu place %zu byte %02x", len, at, c);
            }
        }
    }
    cr_assert(header_value_is_valid(BYTES("")));
    cr_assert(header_value_is_valid(BYTES_NONE));
}

Test(headers, parse_block_reads_back_what_was_stored)
{
    cr_assert(headers_parse_block(&fields, BYTES("Content-Type: text/html\r\nX-Empty:\r\nX-Colon: a:b\r\nETag:\"x\"  \r\n")));
    cr_assert_eq(fields.count, 4);
    cr_assert(bytes_equal(headers_value(&fields, HEADER_CONTENT_TYPE), BYTES("text/html")));
    cr_assert(bytes_equal(headers_value(&fields, HEADER_ETAG), BYTES("\"x\"")));
    cr_assert_eq(headers_find_named(&fields, BYTES("x-empty"))->value.len, 0);
    cr_assert_not_null(headers_find_named(&fields, BYTES("x-empty"))->value.at);
    cr_assert(bytes_equal(headers_find_named(&fields, BYTES("x-colon"))->value, BYTES("a:b")));
    cr_assert(headers_parse_block(&fields, BYTES("")), "no field is no error");
}

Test(headers, parse_block_refuses_what_is_malformed)
{
    static const char *const blocks[] = {
        "A: 1",      "A: 1\n",         "A: 1\r",      "\r\n",           "A: 1\r\n\r\n",   ": 1\r\n",     "A 1\r\n", "A : 1\r\n",
        " A: 1\r\n", "A: 1\r\n B\r\n", "A: \x01\r\n", "A: 1\rB: 2\r\n", "A: 1\nB: 2\r\n", "A\"b: 1\r\n", "\n",
    };
    for (size_t i = 0; i < COUNT(blocks); i++) {
        headers_init(&fields, &arena);
        cr_expect_not(headers_parse_block(&fields, bytes_from_string(blocks[i])), "block %zu", i);
    }
    headers_init(&fields, &arena);
    cr_expect_not(headers_parse_block(&fields, bytes_from("A: \0\r\n", 6)));
}

Test(headers, a_value_ends_at_its_first_forbidden_byte_wherever_it_stands)
{
    char text[48];
    for (size_t len = 0; len <= sizeof(text); len++) {
        for (unsigned c = 0; c < 256; c++) {
            bool is_forbidden = (c < 0x20 && c != '\t') || c == 0x7f;
            for (size_t at = 0; at < len; at++) {
                memset(text, 'v', sizeof(text));
                text[at / 2] = '\t'; /* goes by */
                text[at] = (char)c;
                cr_assert_eq(header_value_length(bytes_from(text, len)), is_forbidden ? at : len, "byte %u at %zu of %zu", c, at, len);
            }
        }
    }
}
