#include "proxy/client/h2_head.h"

#include <criterion/criterion.h>

static const struct config config = {.header_bytes_max = 1000, .header_count_max = 5, .url_bytes_max = 50, .body_bytes_max = 100};

struct read {
    struct h2_block block;
    struct arena arena;
    struct request_head head;
    struct h2_framing framing;
    enum error error;
};

/* "name value" lines. */
static void read_lines(struct read *read, const char *lines, bool ends)
{
    memset(read, 0, sizeof(*read));
    arena_init(&read->arena);
    headers_init(&read->head.fields, &read->arena);
    h2_block_clear(&read->block);
    while (*lines) {
        struct bytes line = bytes_from(lines, strcspn(lines, "\n"));
        size_t space = bytes_find(line, ' ');
        struct bytes value = space < line.len ? bytes_from(line.at + space + 1, line.len - space - 1) : BYTES("");
        h2_block_add(&read->block, bytes_from(line.at, space), value, &config);
        lines += line.len + (lines[line.len] != '\0');
    }
    read->error = h2_block_finish(&read->block, ends, &config, &read->arena, &read->head, &read->framing);
}

static void read_free(struct read *read)
{
    h2_block_free(&read->block);
    arena_free(&read->arena);
}

#define BASE ":method GET\n:scheme http\n:path /a?b\n:authority a.test\n"

Test(h2_head, a_request)
{
    struct read read;
    read_lines(&read, BASE "cookie a=1\ncookie b=2\nx-y z\ncookie c=3\n", true);
    cr_assert_eq(read.error, ERROR_OK);
    cr_assert(!read.block.is_malformed);
    cr_assert_eq(read.head.method, METHOD_GET);
    cr_assert(bytes_equal(read.head.path, BYTES("/a")) && bytes_equal(read.head.query, BYTES("b")));
    cr_assert(bytes_equal(read.head.authority, BYTES("a.test")));
    cr_assert(bytes_equal(headers_value(&read.head.fields, HEADER_COOKIE), BYTES("a=1; b=2; c=3")));
    cr_assert_eq(headers_count(&read.head.fields, HEADER_COOKIE), 1);
    cr_assert(bytes_equal(headers_value(&read.head.fields, HEADER_HOST), BYTES("a.test")));
    cr_assert_eq(read.head.version_major, 2);
    read_free(&read);
}

Test(h2_head, errors)
{
    static const struct {
        const char *lines;
        bool ends, is_malformed;
        enum error error;
    } cases[] = {
        {BASE "a 1\nb 2\nc 3\nd 4\ne 5\n", true, false, ERROR_OK},
        {BASE "a 1\nb 2\nc 3\nd 4\ne 5\nf 6\n", true, false, ERROR_HEADER_TOO_MANY},
        {BASE "cookie 1\ncookie 2\ncookie 3\ncookie 4\ncookie 5\ncookie 6\n", true, false, ERROR_HEADER_TOO_MANY},
        {":method GET\n:scheme http\n:path /123456789012345678901234567890123456789012345678901\n:authority a\n", true, false,
         ERROR_URL_TOO_LONG},
        {":method CONNECT\n:authority a:1\n", true, false, ERROR_METHOD_NOT_ALLOWED},
        {":method CONNECT\n:protocol h2c\n:scheme http\n:path /\n:authority a\n", false, false, ERROR_PROTOCOL_UNKNOWN},
        {":method CONNECT\n:protocol H2C\n:scheme http\n:path /\n:authority a\n", false, false, ERROR_PROTOCOL_UNKNOWN},
        {BASE "content-length 5\n", false, false, ERROR_OK},
        {BASE "content-length 5\n", true, true, ERROR_BAD_FRAMING},
        {BASE "content-length 101\n", false, false, ERROR_BODY_TOO_LARGE},
        {BASE "expect 100-continue\n", false, false, ERROR_OK},
        {BASE "expect more\n", false, false, ERROR_EXPECTATION_FAILED},
        {BASE "te trailers\n", true, false, ERROR_OK},
        {BASE "te gzip\n", true, true, ERROR_BAD_FIELD},
        {BASE "host a.test\n", true, false, ERROR_OK},
        {BASE "host b.test\n", true, true, ERROR_BAD_HOST},
        {BASE "X y\n", true, true, ERROR_BAD_FIELD},
        {BASE "Accept y\n", true, true, ERROR_BAD_FIELD},
        {BASE "accept-Language y\n", true, true, ERROR_BAD_FIELD},
        {BASE "x-long-namE y\n", true, true, ERROR_BAD_FIELD},
        {BASE "keep-alive y\n", true, true, ERROR_BAD_FIELD},
        {BASE "content_length 1\n", true, true, ERROR_BAD_FIELD},
        {":method GET\n:scheme http\n:path a\n:authority a\n", true, true, ERROR_BAD_TARGET},
        {":method OPTIONS\n:scheme http\n:path *\n:authority a\n", true, false, ERROR_OK},
        {":method GET\n:scheme http\n:path *\n:authority a\n", true, true, ERROR_BAD_TARGET},
        {":method GET\n:path /\n:authority a\n", true, true, ERROR_BAD_TARGET},
        {":method GET\n:scheme http\n:path /\n", true, true, ERROR_BAD_HOST},
        {"x y\n" BASE, true, true, ERROR_BAD_FIELD},
        {"", true, true, ERROR_BAD_REQUEST_LINE},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct read read;
        read_lines(&read, cases[i].lines, cases[i].ends);
        cr_expect_eq(read.error, cases[i].error, "%u: %s: %s", i, cases[i].lines, error_text(read.error));
        cr_expect_eq(read.block.is_malformed, cases[i].is_malformed, "%u: %s", i, cases[i].lines);
        read_free(&read);
    }
}

Test(h2_head, each_field_is_charged)
{
    struct h2_block block = {.fields = NULL};
    h2_block_clear(&block);
    for (unsigned i = 0; i < 1000; i++)
        h2_block_add(&block, BYTES("x"), BYTES(""), &config);
    cr_assert_eq(block.charged_bytes, 33000);
    cr_assert_lt(block.text.capacity, 8192); /* what is beyond the limits is not kept */
    cr_assert_eq(block.error, ERROR_HEADER_TOO_MANY);
    h2_block_free(&block);
}

Test(h2_head, an_extended_connect_is_an_upgrade)
{
    struct read read;
    read_lines(&read, ":method CONNECT\n:protocol websocket\n:scheme https\n:path /chat\n:authority a.test\n", false);
    cr_assert_eq(read.error, ERROR_OK);
    cr_assert(read.framing.is_extended_connect && read.head.wants_upgrade);
    cr_assert_eq(read.head.method, METHOD_GET);
    cr_assert(bytes_equal(headers_value(&read.head.fields, HEADER_UPGRADE), BYTES("websocket")));
    cr_assert(bytes_equal(headers_value(&read.head.fields, HEADER_CONNECTION), BYTES("upgrade"))); /* so that it is nobody else's GET */
    cr_assert_eq(headers_find_named(&read.head.fields, BYTES("sec-websocket-key"))->value.len, 24);
    read_free(&read);
}

Test(h2_head, priorities)
{
    static const struct {
        const char *value;
        unsigned urgency;
        bool is_incremental;
    } cases[] = {{"u=1", 1, false},   {"u=5, i", 5, true},        {"i", 3, true},         {"i=?0", 3, false},
                 {"", 3, false},      {"u=8", 3, false},          {"u=-1", 3, false},     {"u=x, i", 3, true},
                 {"u=1,,", 3, false}, {"u=2;a=1, x=3", 2, false}, {"u=1, u=6", 6, false}, {"U=1", 3, false}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct h2_priority priority = {.urgency = 3};
        h2_priority_parse(bytes_from_string(cases[i].value), &priority);
        cr_expect_eq(priority.urgency, cases[i].urgency, "%s", cases[i].value);
        cr_expect_eq(priority.is_incremental, cases[i].is_incremental, "%s", cases[i].value);
    }
}

Test(h2_head, an_empty_value_may_be_the_first_of_all)
{
    struct read read;
    read_lines(&read, ":path \n", true);
    cr_assert(read.block.is_malformed && read.block.pseudo_text.at);
    read_free(&read);
}

/* Crumbs of cookies are one field, of which less may be repeated than there was. */
Test(h2_head, fields_of_the_section_before_are_repeated)
{
    static const char *const lines[][2] = {{"x-a", "1"}, {"cookie", "a=1"}, {"cookie", "b=2"}, {"x-b", "2"}};
    struct h2_block_mark marks[4];
    struct read read;
    read_lines(&read, ":path /\n", true);
    h2_block_clear(&read.block);
    for (unsigned i = 0; i < 4; i++) {
        struct bytes name = bytes_from_string(lines[i][0]), value = bytes_from_string(lines[i][1]);
        h2_block_add(&read.block, name, value, &config);
        marks[i] = h2_block_mark(&read.block, (uint32_t)(name.len + value.len) + H2_FIELD_CHARGE_BYTES);
    }
    const uint64_t charged_bytes = read.block.charged_bytes;
    for (unsigned kept = 0; kept <= 4; kept++) {
        h2_block_clear(&read.block);
        h2_block_add(&read.block, BYTES(":path"), BYTES("/another/and/longer"), &config);
        for (unsigned i = 0; i < kept; i++)
            cr_assert(h2_block_repeat(&read.block, &marks[i], &config));
        cr_assert_eq(read.block.count, kept);
    }
    cr_assert_eq(read.block.charged_bytes, charged_bytes + strlen(":path/another/and/longer") + H2_FIELD_CHARGE_BYTES);
    h2_block_clear(&read.block);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(h2_block_repeat(&read.block, &marks[i], &config));
    h2_block_add(&read.block, BYTES("cookie"), BYTES("c=3"), &config);
    read.error = h2_block_finish(&read.block, true, &config, &read.arena, &read.head, &read.framing);
    cr_assert(bytes_equal(headers_value(&read.head.fields, HEADER_COOKIE), BYTES("a=1; c=3")));
    read_free(&read);
}

Test(h2_head, what_is_repeated_counts_for_the_limits)
{
    struct read read;
    read_lines(&read, "x-a 1\n", true);
    h2_block_clear(&read.block);
    h2_block_add(&read.block, BYTES("x-a"), BYTES("1"), &config);
    struct h2_block_mark mark = h2_block_mark(&read.block, 36);
    read.block.charged_bytes = config.header_bytes_max - 36;
    cr_assert(h2_block_repeat(&read.block, &mark, &config));
    cr_assert_not(h2_block_repeat(&read.block, &mark, &config));
    mark.count = config.header_count_max + 1;
    read.block.charged_bytes = 0;
    cr_assert_not(h2_block_repeat(&read.block, &mark, &config));
    read_free(&read);
}
