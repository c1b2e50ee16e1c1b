#include "proxy/net/socket_address.h"

#include <arpa/inet.h>

void socket_address_unmap(union socket_address *address)
{
    if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr))
        return;
    struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = address->in6.sin6_port};
    memcpy(&plain.sin_addr, &address->in6.sin6_addr.s6_addr[12], sizeof(plain.sin_addr));
    memset(address, 0, sizeof(*address));
    address->in = plain;
}

bool ip_literal_parse(int family, struct bytes text, void *out)
{
    char literal[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof(literal) || memchr(text.at, '\0', text.len))
        return false;
    memcpy(literal, text.at, text.len);
    literal[text.len] = '\0';
    return inet_pton(family, literal, out) == 1;
}

/* ":80", or nothing. */
static bool parse_port(struct bytes text, uint16_t *port)
{
    uint64_t number = 0;
    if (text.len > 0 && (text.at[0] != ':' || !bytes_parse_u64(bytes_from(text.at + 1, text.len - 1), &number) || number > 65535))
        return false;
    *port = htons((uint16_t)number);
    return true;
}

static bool parse_v6(struct bytes host, struct bytes port, union socket_address *address)
{
    address->in6.sin6_family = AF_INET6;
    if (!ip_literal_parse(AF_INET6, host, &address->in6.sin6_addr) || !parse_port(port, &address->in6.sin6_port))
        return false;
    socket_address_unmap(address);
    return true;
}

bool socket_address_parse(struct bytes text, union socket_address *address)
{
    memset(address, 0, sizeof(*address));
    if (text.len > 0 && text.at[0] == '[') {
        size_t close = bytes_find(text, ']');
        if (close == text.len)
            return false;
        return parse_v6(bytes_from(text.at + 1, close - 1), bytes_from(text.at + close + 1, text.len - close - 1), address);
    }
    size_t colon = bytes_find(text, ':');
    struct bytes rest = bytes_from(text.at + colon, text.len - colon);
    if (rest.len > 0 && memchr(rest.at + 1, ':', rest.len - 1) != NULL)
        return parse_v6(text, BYTES(""), address);
    address->in.sin_family = AF_INET;
    return ip_literal_parse(AF_INET, bytes_from(text.at, colon), &address->in.sin_addr) && parse_port(rest, &address->in.sin_port);
}
