/* The encoder's blocks against nghttp2's decoder, which stands for the client. */
#include "proxy/client/h2_encoder.h"

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

enum { BLOCK_BYTES = 64 * 1024, FIELDS_MAX = 64, TEXT_BYTES = 64 * 1024 };

struct client {
    nghttp2_hd_inflater *inflater;
    struct h2_encoder encoder;
    char block[BLOCK_BYTES];
    size_t block_len;
    char text[TEXT_BYTES]; /* "name: value\n" as decoded */
};

static struct client client;

static void connect_client(void)
{
    h2_encoder_init(&client.encoder);
    cr_assert_eq(nghttp2_hd_inflate_new(&client.inflater), 0);
}

static void disconnect_client(void)
{
    h2_encoder_free(&client.encoder);
    nghttp2_hd_inflate_del(client.inflater);
}

TestSuite(h2_encoder, .init = connect_client, .fini = disconnect_client);

static const char *decode(struct bytes block)
{
    char *out = client.text;
    const uint8_t *at = (const uint8_t *)block.at, *end = at + block.len;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(client.inflater, &field, &flags, at, (size_t)(end - at), 1);
        cr_assert_geq(used, 0, "%s", nghttp2_strerror((int)used));
        at += used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            out += sprintf(out, "%.*s: %.*s\n", (int)field.namelen, (char *)field.name, (int)field.valuelen, (char *)field.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(client.inflater);
    *out = '\0';
    return client.text;
}

/* Encodes, within the bound, and decodes. */
static const char *sent_head(const struct response_head *head)
{
    client.block_len = (size_t)(h2_encode_head(&client.encoder, client.block, head) - client.block);
    cr_assert_leq(client.block_len, h2_encoder_bound(head));
    return decode(bytes_from(client.block, client.block_len));
}

/* All but :status, which is a byte. */
static const char *sent(const char *lines)
{
    const struct response_head head = {.status = 200, .fields = bytes_from_string(lines), .extra = BYTES("")};
    const char *got = sent_head(&head);
    client.block_len--;
    cr_assert(bytes_starts_with(bytes_from_string(got), BYTES(":status: 200\n")));
    return got + strlen(":status: 200\n");
}

Test(h2_encoder, names_in_lower_case_and_no_fields_of_the_connection)
{
    const struct response_head head = {
        .status = 206,
        .status_line = BYTES("HTTP/1.1 206 Some\r\n"),
        .fields = BYTES("ETag: \"a:b\"\r\nConnection: close\r\nX-Empty: \r\nkeep-alive: 5\r\nX-Tight:v\r\n"),
        .extra = BYTES("Age: 5\r\nTransfer-Encoding: chunked\r\nProxy-Connection: x\r\nUpgrade: y\r\nSec-WebSocket-Accept: z\r\n"),
        .has_body = true,
        .length_known = true,
        .length = 12345,
    };
    for (unsigned i = 0; i < 3; i++)
        cr_assert_str_eq(sent_head(&head), ":status: 206\netag: \"a:b\"\nx-empty: \nx-tight: v\nage: 5\ncontent-length: 12345\n");
}

Test(h2_encoder, a_line_seen_before_is_a_byte_and_a_cookie_never)
{
    const char *lines = "Server: origin\r\nCache-Control: max-age=86400\r\nX-Other: some value\r\nSet-Cookie: secret=1\r\n";
    const char *same = "server: origin\ncache-control: max-age=86400\nx-other: some value\nset-cookie: secret=1\n";
    size_t cookie = 2 + 1 + strlen("secret=1");
    cr_assert_str_eq(sent(lines), same);
    cr_assert_str_eq(sent(lines), same);
    cr_assert_eq(client.block_len, 3 + cookie);
}

Test(h2_encoder, the_static_table_is_that_of_the_rfc)
{
    for (enum header_id id = HEADER_OTHER + 1; id < HEADER_ID_COUNT; id++) {
        char line[128], expected[128], name[64];
        struct bytes spelling = header_spelling(id);
        *bytes_put_lower(name, spelling) = '\0';
        sprintf(line, "%.*s: v\r\n", BYTES_FMT(spelling));
        sprintf(expected, "%s: v\n", name);
        cr_assert_str_eq(sent(line), h2_field_is_of_the_connection(spelling) ? "" : expected);
    }
}

Test(h2_encoder, a_name_of_the_table_is_not_repeated)
{
    sent("X-A-Rather-Long-Name: 1\r\n");
    size_t first = client.block_len;
    cr_assert_str_eq(sent("x-a-rather-long-name: 2\r\n"), "x-a-rather-long-name: 2\n");
    cr_assert_eq(client.block_len, first - strlen("x-a-rather-long-name") - 1);
}

Test(h2_encoder, lines_that_do_not_fit_are_not_inserted)
{
    static char line[8192];
    int length = sprintf(line, "X-Long: ");
    memset(line + length, 'v', 4000);
    strcpy(line + length + 4000, "\r\n");
    for (unsigned i = 0; i < 2; i++) {
        sent(line);
        cr_assert_gt(client.block_len, 4000);
    }
    cr_assert_str_eq(sent("A: b\r\n"), "a: b\n");
}

/* Not more is kept of a line than its entry is charged. */
Test(h2_encoder, white_space_is_not_kept)
{
    static char line[8192];
    sprintf(line, "X-Wide:%4000s\r\n", "v");
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_str_eq(sent(line), "x-wide: v\n");
        cr_assert_eq(client.block_len, 1 + 1 + strlen("x-wide") + 1 + 1);
    }
}

/* Of the sizes since the last block the smallest and the last are said (§4.2), no more than the default, and nothing where nothing changed. */
Test(h2_encoder, follows_the_sizes_of_the_table)
{
    static const struct {
        uint32_t sizes[3]; /* 1: none */
        const char *said;
    } cases[] = {
        {{0, 1, 1}, "\x20"},     {{100, 1, 1}, "\x3f\x45"},     {{0, 65536, 1}, "\x20\x3f\xe1\x1f"}, {{1, 1, 1}, ""},
        {{4096, 100000, 1}, ""}, {{328, 1, 1}, "\x3f\xa9\x02"}, {{200, 50, 90}, "\x3f\x13\x3f\x3b"}, {{4096, 1, 1}, "\x3f\xe1\x1f"},
    };
    const struct response_head head = {
        .status = 200,
        .fields = BYTES("Server: a\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nX-Four: 4\r\nX-One: 1\r\n"),
        .extra = BYTES(""),
    };
    for (unsigned i = 0; i < 40; i++) {
        const char *said = cases[i % 8].said;
        for (unsigned change = 0; change < 3; change++)
            if (cases[i % 8].sizes[change] != 1)
                h2_encoder_resize(&client.encoder, cases[i % 8].sizes[change]);
        cr_assert_str_eq(sent_head(&head), ":status: 200\nserver: a\nx-one: 1\nx-two: 2\nx-three: 3\nx-four: 4\nx-one: 1\n");
        cr_assert_eq(memcmp(client.block, said, strlen(said)), 0, "%u", i);
        cr_assert_eq((uint8_t)client.block[strlen(said)], 0x88, "%u", i);
    }
}

static const char *sent_interim(unsigned status, const struct headers *fields)
{
    client.block_len = (size_t)(h2_encode_interim(&client.encoder, client.block, status, fields) - client.block);
    cr_assert_leq(client.block_len, h2_encoder_bound_interim(fields));
    return decode(bytes_from(client.block, client.block_len));
}

Test(h2_encoder, an_interim_response_inserts_nothing)
{
    struct arena arena;
    struct headers fields;
    arena_init(&arena);
    headers_init(&fields, &arena);
    headers_add_named(&fields, BYTES("Link"), BYTES("</a>"));
    headers_add_named(&fields, BYTES("Connection"), BYTES("close"));
    headers_add_named(&fields, BYTES("X-Empty"), BYTES(""));
    cr_assert_str_eq(sent_interim(103, &fields), ":status: 103\nlink: </a>\nx-empty: \n");
    cr_assert_str_eq(sent_interim(100, NULL), ":status: 100\n");
    cr_assert_eq(nghttp2_hd_inflate_get_dynamic_table_size(client.inflater), 0);
    arena_free(&arena);
}

Test(h2_encoder, every_status)
{
    for (unsigned status = 100; status < 1000; status++) {
        char expected[32];
        sprintf(expected, ":status: %u\n", status);
        cr_assert_str_eq(sent_interim(status, NULL), expected);
    }
    cr_assert_eq(nghttp2_hd_inflate_get_dynamic_table_size(client.inflater), 0);
}

/* Heads of a few hundred fields, of which some come often and some seldom: entries are evicted all the time. */
Test(h2_encoder, says_the_same_whatever_was_evicted)
{
    static const char *const names[] = {"Server", "Date", "X-A", "X-Long-Name-Of-A-Field", "ETag", "Via", "Vary", "x"};
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint64_t random = 88172645463325252;
    for (unsigned round = 0; round < 5000; round++) {
        char lines[8192], expected[8192], *line = lines, *field = expected;
        unsigned count = round % 12;
        for (unsigned i = 0; i < count; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            const char *name = names[random % 8];
            char value[160], lower[64];
            unsigned length = 1 + (random >> 8) % ((random >> 16) % 16 ? 12 : 150), kinds = (random >> 24) % 3 ? 3 : 36;
            for (unsigned c = 0; c < length; c++)
                value[c] = digits[(random >> (c % 5)) % kinds];
            value[length] = '\0';
            *bytes_put_lower(lower, bytes_from_string(name)) = '\0';
            line += sprintf(line, "%s: %s\r\n", name, value);
            field += sprintf(field, "%s: %s\n", lower, value);
        }
        *line = *field = '\0';
        cr_assert_str_eq(sent(lines), expected);
    }
}
