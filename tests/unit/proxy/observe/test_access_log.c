/* Lines as they stand in the log, word for word; and what happens to what clients should not have sent. */
#include "proxy/observe/access_log.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

static struct access_entry entry_usual(void)
{
    return (struct access_entry){
        .client = BYTES("192.0.2.1"),
        .time = {971186136},
        .method = BYTES("GET"),
        .target = BYTES("/a?b=c"),
        .http_major = 1,
        .http_minor = 1,
        .status = 200,
        .body_bytes = 2326,
        .referer = BYTES("http://www.example.com/start"),
        .user_agent = BYTES("Mozilla/5.0 (X11; Linux)"),
        .host = BYTES("www.example.com"),
        .result = RESULT_HIT,
        .detail = "",
        .error = "",
        .duration_us = 123,
        .origin = BYTES_NONE,
    };
}

/* Formats into exactly `size` bytes, so that ASan sees a byte too many; the caller frees. */
static char *format_into(const struct access_entry *entry, enum access_format format, size_t size)
{
    char *out = malloc(size);
    size_t length = access_log_format(entry, format, out, size);
    char *text = malloc(length + 1);

    cr_assert_leq(length, size);
    cr_assert_eq(out[length - 1], '\n');
    memcpy(text, out, length);
    text[length] = 0;
    cr_assert_eq(strlen(text), length);
    free(out);
    return text;
}

static void assert_line(const struct access_entry *entry, enum access_format format, const char *expected)
{
    char *line = format_into(entry, format, 4096);

    cr_assert_str_eq(line, expected);
    free(line);
}

Test(access_log, combined)
{
    struct access_entry entry = entry_usual();

    assert_line(&entry, ACCESS_COMBINED,
                "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \"http://www.example.com/start\" "
                "\"Mozilla/5.0 (X11; Linux)\" HIT - 0.000123 www.example.com\n");
}

Test(access_log, combined_without_what_was_not_sent)
{
    struct access_entry entry = {.client = BYTES("::1"),
                                 .time = {0},
                                 .http_major = 1,
                                 .http_minor = 0,
                                 .status = 400,
                                 .detail = "",
                                 .error = "bad-request-line",
                                 .duration_us = 12345678};

    assert_line(&entry, ACCESS_COMBINED, "::1 - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\" - bad-request-line 12.345678 -\n");
}

Test(access_log, a_request_that_was_not_answered_is_499)
{
    struct access_entry entry = entry_usual();

    entry.status = 0;
    entry.result = RESULT_MISS;
    entry.detail = "no-store";
    assert_line(&entry, ACCESS_COMBINED,
                "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=c HTTP/1.1\" 499 2326 \"http://www.example.com/start\" "
                "\"Mozilla/5.0 (X11; Linux)\" MISS no-store 0.000123 www.example.com\n");
}

Test(access_log, the_error_is_told_rather_than_the_detail)
{
    struct access_entry entry = entry_usual();

    entry.detail = "expired";
    entry.error = "origin-refused";
    char *line = format_into(&entry, ACCESS_COMBINED, 4096);
    cr_assert(strstr(line, " HIT origin-refused 0.000123 "));
    free(line);
}

Test(access_log, combined_escapes_what_clients_sent)
{
    struct access_entry entry = entry_usual();

    entry.target = BYTES("/\"\\\x01\n\x7f\xc3\xa9");
    entry.user_agent = BYTES("a\" 200 0 \"\r\nb\t\0c");
    entry.host = BYTES("a b\"");
    assert_line(&entry, ACCESS_COMBINED,
                "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /\\x22\\x5c\\x01\\x0a\\x7f\\xc3\\xa9 HTTP/1.1\" 200 2326 "
                "\"http://www.example.com/start\" \"a\\x22 200 0 \\x22\\x0d\\x0ab\\x09\\x00c\" HIT - 0.000123 a\\x20b\\x22\n");
}

Test(access_log, json)
{
    struct access_entry entry = entry_usual();

    entry.referer = BYTES_NONE;
    entry.detail = "expired";
    entry.origin = BYTES("10.0.0.1:80");
    assert_line(
        &entry, ACCESS_JSON,
        "{\"time\":\"2000-10-10T13:55:36Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"target\":\"/a?b=c\",\"protocol\":\"HTTP/1.1\","
        "\"status\":200,\"bytes\":2326,\"referer\":null,\"user_agent\":\"Mozilla/5.0 (X11; Linux)\",\"host\":\"www.example.com\","
        "\"cache\":\"HIT\",\"detail\":\"expired\",\"error\":\"\",\"duration\":0.000123,\"origin\":\"10.0.0.1:80\"}\n");
}

Test(access_log, json_has_no_control_character)
{
    struct access_entry entry = entry_usual();

    entry.user_agent = BYTES("\x1b[1m\x7f\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f\xc2\xa0\xc3\x85");
    char *line = format_into(&entry, ACCESS_JSON, 4096);
    cr_expect(strstr(line, "\"user_agent\":\"\\u001b[1m\\u007f\\u0080\\u0085\\u009b\\u009f\xc2\xa0\xc3\x85\","), "%s", line);
    free(line);
}

Test(access_log, json_is_always_valid_utf8_and_reads_back)
{
    static const struct {
        struct bytes sent;
        const char *read;
    } cases[] = {
        {BYTES("plain"), "plain"},
        {BYTES("\"\\/\b\f\n\r\t\x1f\x7f"), "\"\\/\b\f\n\r\t\x1f\x7f"},
        {BYTES("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {BYTES("\xff\xfe"), "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* never in UTF-8 */
        {BYTES("a\xc3"), "a\xef\xbf\xbd"},                                               /* cut short */
        {BYTES("\xc3(\x80"), "\xef\xbf\xbd(\xef\xbf\xbd"},                               /* lone lead and continuation bytes */
        {BYTES("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong "/" */
        {BYTES("\xe0\x80\xaf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong "/" */
        {BYTES("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* a surrogate */
        {BYTES("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* beyond U+10FFFF */
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct access_entry entry = entry_usual();
        json_error_t error;
        entry.user_agent = cases[i].sent;
        char *line = format_into(&entry, ACCESS_JSON, 4096);
        json_t *object = json_loads(line, 0, &error);
        cr_assert(object, "case %u: %s in %s", i, error.text, line);
        cr_assert_str_eq(json_string_value(json_object_get(object, "user_agent")), cases[i].read, "case %u: %s", i, line);
        json_decref(object);
        free(line);
    }
}

Test(access_log, ids_are_in_json_where_there_are_some)
{
    struct access_entry entry = entry_usual();
    char *line = format_into(&entry, ACCESS_JSON, 4096);
    cr_assert(!strstr(line, "request_id") && !strstr(line, "traceparent"));
    free(line);
    entry.request_id = BYTES("abc");
    entry.traceparent = BYTES("00-1-2-01\"");
    line = format_into(&entry, ACCESS_JSON, 4096);
    cr_assert(strstr(line, ",\"request_id\":\"abc\",\"traceparent\":\"00-1-2-01\\\"\"}\n"), "%s", line);
    free(line);
}

/* Random bytes in every field, every size of room: the structure survives. */
Test(access_log, a_line_that_does_not_fit_is_cut_in_the_fields_of_the_client)
{
    unsigned seed = 1;

    for (unsigned round = 0; round < 2000; round++) {
        char text[5][3000];
        struct access_entry entry = entry_usual();
        struct bytes *fields[5] = {&entry.method, &entry.target, &entry.referer, &entry.user_agent, &entry.host};
        for (unsigned i = 0; i < 5; i++) {
            size_t length = (size_t)rand_r(&seed) % sizeof(text[i]);
            for (size_t k = 0; k < length; k++)
                text[i][k] = (char)(rand_r(&seed) % (round % 2 ? 256 : 128));
            *fields[i] = bytes_from(text[i], length);
        }
        entry.body_bytes = INT64_MAX; /* what jansson reads */
        entry.duration_us = UINT64_MAX;
        entry.origin = bytes_from(text[0], sizeof(text[0]) / 2);
        entry.client = bytes_from(text[1], sizeof(text[1]) / 2);
        entry.request_id = entry.origin;
        entry.traceparent = entry.client;
        memset(text[0] + entry.method.len, 0xff, sizeof(text[0]) - entry.method.len);
        memset(text[1] + entry.target.len, 1, sizeof(text[1]) - entry.target.len);
        size_t size = ACCESS_LINE_MIN + (size_t)rand_r(&seed) % 4000;
        char *line = format_into(&entry, ACCESS_JSON, size);
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        cr_assert(object, "round %u: %s", round, line);
        cr_assert_eq(json_object_size(object), 17);
        json_decref(object);
        free(line);

        unsigned quotes = 0;
        line = format_into(&entry, ACCESS_COMBINED, size);
        for (const char *at = line; *at; at++) {
            quotes += *at == '"';
            cr_assert(*at == '\n' ? at[1] == 0 : *at >= 0x20 && *at < 0x7f);
        }
        cr_assert_eq(quotes, 6);
        free(line);
    }
}

Test(access_log, a_long_target_leaves_the_short_fields_whole)
{
    struct access_entry entry = entry_usual();
    char target[8192];

    memset(target, 'x', sizeof(target));
    entry.target = bytes_from(target, sizeof(target));
    char *line = format_into(&entry, ACCESS_COMBINED, 2048);
    cr_assert(strstr(
        line, "xxx HTTP/1.1\" 200 2326 \"http://www.example.com/start\" \"Mozilla/5.0 (X11; Linux)\" HIT - 0.000123 www.example.com\n"));
    cr_assert_gt(strlen(line), 1024, "the room is used");
    free(line);
}

Test(access_log, the_date_follows_the_second)
{
    static const struct {
        int64_t s;
        const char *text;
    } cases[] = {
        {951782399, "28/Feb/2000:23:59:59"},  {951782400, "29/Feb/2000:00:00:00"}, {951868800, "01/Mar/2000:00:00:00"},
        {4102444800, "01/Jan/2100:00:00:00"}, {-1, "31/Dec/1969:23:59:59"},        {1767225599, "31/Dec/2025:23:59:59"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct access_entry entry = entry_usual();
        entry.time.s = cases[i].s;
        for (unsigned twice = 0; twice < 2; twice++) {
            char *line = format_into(&entry, ACCESS_COMBINED, 4096);
            cr_assert(strstr(line, cases[i].text), "%s is not in %s", cases[i].text, line);
            free(line);
        }
    }
}

/* Runs are scanned eight bytes at a time: wherever a byte stands, it is escaped or not by what it is. */
Test(access_log, each_byte_is_escaped_wherever_it_stands)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        for (unsigned at = 0; at < 20; at++) {
            char agent[21], expected[64];
            struct access_entry entry = entry_usual();
            bool escaped = byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\';
            memset(agent, '~', sizeof(agent));
            agent[at] = (char)byte;
            entry.user_agent = bytes_from(agent, 20);
            snprintf(expected, sizeof(expected), escaped ? " \"%.*s\\x%02x%.*s\" HIT" : " \"%.*s%c%.*s\" HIT", (int)at, agent, byte,
                     19 - (int)at, agent + at + 1);
            char *line = format_into(&entry, ACCESS_COMBINED, 4096);
            cr_assert(strstr(line, expected), "%s is not in %s", expected, line);
            free(line);
        }
    }
}
