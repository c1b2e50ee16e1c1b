/* The header of the PROXY protocol: every shape that is one, every malformed one, and all of them in pieces. */
#include "proxy/client/proxy_header.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define V2           "\r\n\r\n\0\r\nQUIT\n"
#define V4_ADDRESSES "\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x00\x50"
#define V6_ADDRESSES                                                                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"                                                                                           \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08"                                                                                           \
    "\x12\x34\x00\x50"
#define MAPPED_ADDRESSES                                                                                                                   \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x09"                                                                                         \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\x01"                                                                                         \
    "\x12\x34\x00\x50"

struct row {
    struct bytes text;
    const char *says; /* the client, "-" for none, "bad: fault" or "more" */
    size_t behind;    /* bytes that are not the header's */
};

#define ROW(text, says, ...)                                                                                                               \
    {                                                                                                                                      \
        {text, sizeof(text) - 1}, says, __VA_ARGS__ + 0                                                                                    \
    }

static const struct row rows[] = {
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "192.0.2.1:4660", 0),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 0 65535\r\nGET / HTTP/1.1\r\n", "192.0.2.1:0", 16),
    ROW("PROXY TCP6 2001:db8::7 2001:db8::8 4660 80\r\n\r\n", "2001:db8::7:4660", 2),
    ROW("PROXY TCP6 ::ffff:192.0.2.9 ::1 1 2\r\n", "192.0.2.9:1", 0),
    ROW("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535", 0),
    ROW("PROXY UNKNOWN\r\nx", "-", 1),
    ROW("PROXY UNKNOWN ffff::1 whatever it is  \r\n", "-", 0),
    ROW("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "-", 0),

    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\n", "bad: a line feed without a carriage return"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\rx", "bad: a carriage return without a line feed"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\r\n", "bad: a carriage return without a line feed"),
    ROW("PROXY TCP4\n192.0.2.1 10.0.0.1 4660 80\r\n", "bad: a line feed without a carriage return"),
    ROW("PROXY \r\n", "bad: an unknown protocol"),
    ROW("PROXY tcp4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: an unknown protocol"),
    ROW("PROXY UDP4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: an unknown protocol"),
    ROW("PROXY UNKNOWNS\r\n", "bad: an unknown protocol"),
    ROW("PROXY  TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: an unknown protocol"),
    ROW("PROXY TCP4  192.0.2.1 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.1\t10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 ::1 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.1 ::1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP6 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.256 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.02.1 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.1\0 10.0.0.1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP6 [::1] ::1 4660 80\r\n", "bad: a malformed address"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 \r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 \r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 90\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 080\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 +1 80\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 -1 80\r\n", "bad: a malformed port"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 0x1 80\r\n", "bad: a malformed port"),
    ROW("PROXY UNKNOWN fffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "bad: a line of more than 107 bytes"),
    ROW("PROXYTCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: no header of the PROXY protocol"),
    ROW("proxy TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: no header of the PROXY protocol"),
    ROW(" PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "bad: no header of the PROXY protocol"),
    ROW("GET / HTTP/1.1\r\n\r\n", "bad: no header of the PROXY protocol"),
    ROW("\x16\x03\x01", "bad: no header of the PROXY protocol"),
    ROW("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "bad: no header of the PROXY protocol"),
    ROW("\r\n\r\n\0\r\nQUIX\n", "bad: no header of the PROXY protocol"),

    ROW("", "more"),
    ROW("PROX", "more"),
    ROW("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r", "more"),
    ROW("\r\n\r\n", "more"),
    ROW(V2 "\x21\x11\x00", "more"),
    ROW(V2 "\x21\x11\x00\x0c\xc0\x00\x02\x01", "more"),

    ROW(V2 "\x21\x11\x00\x0c" V4_ADDRESSES, "192.0.2.1:4660", 0),
    ROW(V2 "\x21\x11\x00\x0c" V4_ADDRESSES "GET /", "192.0.2.1:4660", 5),
    ROW(V2 "\x21\x21\x00\x24" V6_ADDRESSES "G", "2001:db8::7:4660", 1),
    ROW(V2 "\x21\x21\x00\x24" MAPPED_ADDRESSES, "192.0.2.9:4660", 0),
    ROW(V2 "\x21\x11\x00\x16" V4_ADDRESSES "\x01\x00\x02h2\x04\x00\x02\0\0G", "192.0.2.1:4660", 1), /* TLVs: ALPN, padding */
    ROW(V2 "\x21\x11\x00\x0f" V4_ADDRESSES "\xee\x00\x00", "192.0.2.1:4660", 0),                    /* an empty one */
    ROW(V2 "\x20\x00\x00\x00G", "-", 1),                                                            /* LOCAL */
    ROW(V2 "\x20\x11\x00\x0c" V4_ADDRESSES "G", "-", 1),
    ROW(V2 "\x20\xff\x00\x02xxG", "-", 1),
    ROW(V2 "\x21\x00\x00\x00G", "-", 1), /* unspecified */
    ROW(V2 "\x21\x00\x00\x03xxxG", "-", 1),
    ROW(V2 "\x21\x12\x00\x0c" V4_ADDRESSES "G", "-", 1), /* datagrams */
    ROW(V2 "\x21\x22\x00\x24" V6_ADDRESSES "G", "-", 1),

    ROW(V2 "\x11\x11\x00\x0c" V4_ADDRESSES, "bad: an unknown version"),
    ROW(V2 "\x31\x11\x00\x0c" V4_ADDRESSES, "bad: an unknown version"),
    ROW(V2 "\x22\x11\x00\x0c" V4_ADDRESSES, "bad: an unknown command"),
    ROW(V2 "\x2f\x11\x00\x0c" V4_ADDRESSES, "bad: an unknown command"),
    ROW(V2 "\x21\x41\x00\x0c" V4_ADDRESSES, "bad: an unknown family or protocol"),
    ROW(V2 "\x21\xf1\x00\x0c" V4_ADDRESSES, "bad: an unknown family or protocol"),
    ROW(V2 "\x21\x13\x00\x0c" V4_ADDRESSES, "bad: an unknown family or protocol"),
    ROW(V2 "\x21\x10\x00\x0c" V4_ADDRESSES, "bad: an unknown family or protocol"),
    ROW(V2 "\x21\x01\x00\x0c" V4_ADDRESSES, "bad: an unknown family or protocol"),
    ROW(V2 "\x21\x11\x00\x00", "bad: fewer bytes than its addresses take"),
    ROW(V2 "\x21\x11\x00\x0b\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x00", "bad: fewer bytes than its addresses take"),
    ROW(V2 "\x21\x21\x00\x0c" V4_ADDRESSES, "bad: fewer bytes than its addresses take"),
    ROW(V2 "\x21\x31\x00\x0c" V4_ADDRESSES, "bad: fewer bytes than its addresses take"),
    ROW(V2 "\x21\x11\x00\x0e" V4_ADDRESSES "\x01\x00", "bad: a malformed extension"),
    ROW(V2 "\x21\x11\x00\x0f" V4_ADDRESSES "\x01\x00\x01", "bad: a malformed extension"),
    ROW(V2 "\x21\x11\x00\x12" V4_ADDRESSES "\x01\x00\x02h2\x04", "bad: a malformed extension"),
    ROW(V2 "\x21\x11\xff\xff" V4_ADDRESSES, "bad: more than 4096 bytes"),
    ROW(V2 "\x21\x11\x0f\xf1" V4_ADDRESSES, "bad: more than 4096 bytes"),
};

/* In memory of just that size, so that a sanitizer sees what reads beyond it. */
static enum proxy_header_outcome parse(struct bytes input, struct proxy_header *header)
{
    char *memory = malloc(input.len);
    memcpy(memory, input.at, input.len);
    enum proxy_header_outcome outcome = proxy_header_parse(bytes_from(memory, input.len), header);
    free(memory);
    return outcome;
}

static const char *told(enum proxy_header_outcome outcome, const struct proxy_header *header)
{
    static char text[128], address[64];
    if (outcome == PROXY_HEADER_PARTIAL)
        return "more";
    if (outcome == PROXY_HEADER_BAD)
        return snprintf(text, sizeof(text), "bad: %s", header->fault), text;
    if (!header->has_client)
        return "-";
    size_t length = socket_address_format(&header->client, address, sizeof(address));
    snprintf(text, sizeof(text), "%.*s:%u", (int)length, address, ntohs(header->client.in.sin_port));
    return text;
}

Test(proxy_header, every_row_of_the_table)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy_header header;
        enum proxy_header_outcome outcome = parse(rows[i].text, &header);
        cr_expect_str_eq(told(outcome, &header), rows[i].says, "row %u: %s", i, told(outcome, &header));
        if (outcome == PROXY_HEADER_COMPLETE)
            cr_expect_eq(header.length + rows[i].behind, rows[i].text.len, "row %u takes %zu", i, header.length);
    }
}

/* What a reader relies on that takes the bytes off the socket piece by piece: until the last one of the header is there it is partial, never anything
 * else; and what was bad stays bad, whatever comes behind. */
Test(proxy_header, every_row_in_pieces)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy_header whole, part;
        enum proxy_header_outcome outcome = parse(rows[i].text, &whole), before = PROXY_HEADER_PARTIAL;
        for (size_t length = 0; length <= rows[i].text.len; length++) {
            enum proxy_header_outcome now = parse(bytes_from(rows[i].text.at, length), &part);
            cr_expect(before == PROXY_HEADER_PARTIAL || now == before, "row %u: %zu bytes", i, length);
            if (outcome == PROXY_HEADER_COMPLETE)
                cr_expect_eq(now, length < whole.length ? PROXY_HEADER_PARTIAL : PROXY_HEADER_COMPLETE, "row %u: %zu bytes", i, length);
            before = now;
        }
    }
}

Test(proxy_header, a_unix_socket_has_no_address)
{
    char text[16 + 216] = V2 "\x21\x31\x00\xd8/run/proxy.sock";
    struct proxy_header header;
    cr_assert_eq(parse(bytes_from(text, sizeof(text)), &header), PROXY_HEADER_COMPLETE);
    cr_expect_not(header.has_client);
    cr_expect_eq(header.length, sizeof(text));
}

Test(proxy_header, the_longest_there_is)
{
    static char text[PROXY_HEADER_MAX_BYTES + 1] = V2 "\x21\x11\x0f\xf0" V4_ADDRESSES "\xee\x0f\xe1";
    struct proxy_header header;
    cr_assert_eq(parse(bytes_from(text, sizeof(text)), &header), PROXY_HEADER_COMPLETE);
    cr_expect_eq(header.length, PROXY_HEADER_MAX_BYTES);
    cr_expect_eq(parse(bytes_from(text, PROXY_HEADER_MAX_BYTES - 1), &header), PROXY_HEADER_PARTIAL);
}
