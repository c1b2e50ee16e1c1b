/* See proxy_header.h. The sections named here are those of the PROXY protocol's own specification. */
#include "proxy/client/proxy_header.h"
#include "proxy/net/socket_address.h"

#include <arpa/inet.h>

enum { V2_SIGNATURE_BYTES = 12, V2_FIXED_BYTES = 16, IPV4_BYTES = 12, IPV6_BYTES = 36, UNIX_BYTES = 216, TLV_HEAD_BYTES = 3 };

static const struct bytes v1_signature = {"PROXY ", 6};
static const struct bytes v2_signature = {"\r\n\r\n\0\r\nQUIT\n", V2_SIGNATURE_BYTES};

static enum proxy_header_outcome bad(struct proxy_header *header, const char *fault)
{
    header->fault = fault;
    return PROXY_HEADER_BAD;
}

static void set_client(struct proxy_header *header, int family, const void *address, uint16_t port)
{
    header->has_client = true;
    if (family == AF_INET) {
        header->client.in.sin_family = AF_INET;
        header->client.in.sin_port = htons(port);
        memcpy(&header->client.in.sin_addr, address, sizeof(header->client.in.sin_addr));
        return;
    }
    header->client.in6.sin6_family = AF_INET6;
    header->client.in6.sin6_port = htons(port);
    memcpy(&header->client.in6.sin6_addr, address, sizeof(header->client.in6.sin6_addr));
    socket_address_unmap(&header->client);
}

/* ---- version 1: a line ------------------------------------------------------------------------------------------------------------------ */

/* Up to the next space, or all of it. */
static struct bytes next_word(struct bytes *rest)
{
    size_t end = bytes_find(*rest, ' ');
    struct bytes word = bytes_from(rest->at, end);
    size_t taken = end < rest->len ? end + 1 : end;
    *rest = bytes_from(rest->at + taken, rest->len - taken);
    return word;
}

/* §2.1: decimal, without leading zeros. */
static bool parse_port(struct bytes text, uint16_t *port)
{
    uint64_t number;
    if (text.len > 5 || (text.len > 1 && text.at[0] == '0') || !bytes_parse_u64(text, &number) || number > 65535)
        return false;
    *port = (uint16_t)number;
    return true;
}

static enum proxy_header_outcome parse_line(struct bytes line, struct proxy_header *header)
{
    unsigned char source[16], destination[16];
    uint16_t source_port, destination_port;
    struct bytes protocol = next_word(&line);
    if (bytes_equal(protocol, BYTES("UNKNOWN"))) /* §2.1: whatever follows up to the CRLF is ignored */
        return PROXY_HEADER_COMPLETE;
    bool is_v4 = bytes_equal(protocol, BYTES("TCP4"));
    if (!is_v4 && !bytes_equal(protocol, BYTES("TCP6")))
        return bad(header, "an unknown protocol");
    int family = is_v4 ? AF_INET : AF_INET6;
    if (!ip_literal_parse(family, next_word(&line), source) || !ip_literal_parse(family, next_word(&line), destination))
        return bad(header, "a malformed address");
    if (!parse_port(next_word(&line), &source_port) || !parse_port(line, &destination_port))
        return bad(header, "a malformed port");
    set_client(header, family, source, source_port);
    return PROXY_HEADER_COMPLETE;
}

static enum proxy_header_outcome parse_v1(struct bytes input, struct proxy_header *header)
{
    size_t most = input.len < PROXY_HEADER_V1_MAX_BYTES ? input.len : PROXY_HEADER_V1_MAX_BYTES;
    size_t cr = bytes_find(bytes_from(input.at, most), '\r');
    if (memchr(input.at, '\n', cr) != NULL)
        return bad(header, "a line feed without a carriage return");
    if (cr + 1 < most && input.at[cr + 1] != '\n')
        return bad(header, "a carriage return without a line feed");
    if (cr + 1 >= most)
        return most < PROXY_HEADER_V1_MAX_BYTES ? PROXY_HEADER_PARTIAL : bad(header, "a line of more than 107 bytes");
    header->length = cr + 2;
    return parse_line(bytes_from(input.at + v1_signature.len, cr - v1_signature.len), header);
}

/* ---- version 2: binary ------------------------------------------------------------------------------------------------------------------ */

/* §2.2: type, length and value, again and again. What they say is of no use here; that they end where the header does is checked. */
static bool tlvs_are_whole(struct bytes rest)
{
    while (rest.len >= TLV_HEAD_BYTES) {
        size_t length = TLV_HEAD_BYTES + (size_t)bytes_get_u16(rest.at + 1);
        if (length > rest.len)
            return false;
        rest = bytes_from(rest.at + length, rest.len - length);
    }
    return rest.len == 0;
}

enum { FAMILY_UNSPECIFIED, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, FAMILY_COUNT };
enum { TRANSPORT_UNSPECIFIED, TRANSPORT_STREAM, TRANSPORT_DATAGRAM, TRANSPORT_COUNT };

static enum proxy_header_outcome parse_v2_addresses(unsigned family, unsigned transport, struct bytes rest, struct proxy_header *header)
{
    static const size_t sizes[FAMILY_COUNT] = {0, IPV4_BYTES, IPV6_BYTES, UNIX_BYTES};
    if (family >= FAMILY_COUNT || transport >= TRANSPORT_COUNT || (family == FAMILY_UNSPECIFIED) != (transport == TRANSPORT_UNSPECIFIED))
        return bad(header, "an unknown family or protocol"); /* §2.2: receivers must drop connections that present it */
    if (family == FAMILY_UNSPECIFIED)                        /* §2.2: all of it is to be skipped */
        return PROXY_HEADER_COMPLETE;
    if (rest.len < sizes[family])
        return bad(header, "fewer bytes than its addresses take");
    if (!tlvs_are_whole(bytes_from(rest.at + sizes[family], rest.len - sizes[family])))
        return bad(header, "a malformed extension");
    /* §2.2: what is valid and of no use here counts as unspecified. */
    if (transport == TRANSPORT_STREAM && family == FAMILY_INET)
        set_client(header, AF_INET, rest.at, bytes_get_u16(rest.at + 8));
    else if (transport == TRANSPORT_STREAM && family == FAMILY_INET6)
        set_client(header, AF_INET6, rest.at, bytes_get_u16(rest.at + 32));
    return PROXY_HEADER_COMPLETE;
}

static enum proxy_header_outcome parse_v2(struct bytes input, struct proxy_header *header)
{
    enum { COMMAND_LOCAL, COMMAND_PROXY };
    if (input.len < V2_FIXED_BYTES)
        return PROXY_HEADER_PARTIAL;
    unsigned version = (unsigned char)input.at[12] >> 4, command = input.at[12] & 15;
    unsigned family = (unsigned char)input.at[13] >> 4, transport = input.at[13] & 15;
    size_t length = bytes_get_u16(input.at + 14);
    if (version != 2)
        return bad(header, "an unknown version");
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return bad(header, "an unknown command");
    if (length > PROXY_HEADER_MAX_BYTES - V2_FIXED_BYTES)
        return bad(header, "more than 4096 bytes");
    if (input.len < V2_FIXED_BYTES + length)
        return PROXY_HEADER_PARTIAL;
    header->length = V2_FIXED_BYTES + length;
    if (command == COMMAND_LOCAL) /* §2.2: the proxy's own connection: the rest is to be skipped, addresses included */
        return PROXY_HEADER_COMPLETE;
    return parse_v2_addresses(family, transport, bytes_from(input.at + V2_FIXED_BYTES, length), header);
}

static bool may_begin_with(struct bytes input, struct bytes signature)
{
    size_t shared = input.len < signature.len ? input.len : signature.len;
    return memcmp(input.at, signature.at, shared) == 0;
}

enum proxy_header_outcome proxy_header_parse(struct bytes input, struct proxy_header *header)
{
    memset(header, 0, sizeof(*header));
    if (input.len == 0)
        return PROXY_HEADER_PARTIAL;
    if (may_begin_with(input, v2_signature))
        return parse_v2(input, header);
    if (!may_begin_with(input, v1_signature))
        return bad(header, "no header of the PROXY protocol");
    return input.len < v1_signature.len ? PROXY_HEADER_PARTIAL : parse_v1(input, header);
}
