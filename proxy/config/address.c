#include "proxy/config/address.h"

#include <arpa/inet.h>
#include <stdio.h>

/* A network or address literal as a C string for inet_pton, which takes nothing else. */
static bool literal_parse(struct bytes text, int family, void *out)
{
    char literal[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(literal) || memchr(text.at, 0, text.len))
        return false;
    memcpy(literal, text.at, text.len);
    literal[text.len] = 0;
    return inet_pton(family, literal, out) == 1;
}

static const char *port_parse(struct bytes text, uint16_t *port)
{
    uint64_t value;

    if (text.len == 0)
        return "has no port behind its colon";
    if (!bytes_parse_u64(text, &value))
        return "has a port that is not a number";
    if (value < 1 || value > 65535)
        return "has a port outside 1-65535";
    *port = (uint16_t)value;
    return NULL;
}

static void address_fill(struct config_address *address, const struct in_addr *v4, const struct in6_addr *v6, uint16_t port)
{
    memset(&address->address, 0, sizeof(address->address));
    if (v4) {
        struct sockaddr_in *to = (struct sockaddr_in *)&address->address;
        *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = *v4};
        address->length = sizeof(*to);
    } else {
        struct sockaddr_in6 *to = (struct sockaddr_in6 *)&address->address;
        *to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *v6};
        address->length = sizeof(*to);
    }
}

/* "[::1]:8080": `host` without the brackets, `rest` behind them. */
static bool split_brackets(struct bytes text, struct bytes *host, struct bytes *rest)
{
    size_t close = bytes_find(text, ']');

    if (text.len == 0 || text.at[0] != '[' || close == text.len)
        return false;
    *host = bytes_from(text.at + 1, close - 1);
    *rest = bytes_from(text.at + close + 1, text.len - close - 1);
    return true;
}

static const char *address_parse_v6(struct bytes host, struct bytes rest, uint16_t port, struct config_address *address)
{
    struct in6_addr v6;

    if (!literal_parse(host, AF_INET6, &v6))
        return "has no IPv6 address in its brackets";
    if (rest.len > 0 && rest.at[0] != ':')
        return "has something other than a port behind its brackets";
    if (rest.len > 0) {
        const char *wrong = port_parse(bytes_from(rest.at + 1, rest.len - 1), &port);
        if (wrong)
            return wrong;
    }
    if (port == 0)
        return "has no port";
    address_fill(address, NULL, &v6, port);
    return NULL;
}

const char *address_parse(struct bytes text, uint16_t default_port, struct config_address *address)
{
    struct bytes host, rest;
    struct in_addr v4 = {.s_addr = INADDR_ANY};
    struct in6_addr v6;
    uint16_t port = default_port;
    uint64_t number;

    *address = (struct config_address){.text = text};
    if (split_brackets(text, &host, &rest))
        return address_parse_v6(host, rest, port, address);
    if (literal_parse(text, AF_INET6, &v6)) {
        if (port == 0)
            return "is an IPv6 address without a port; write it as \"[address]:port\"";
        address_fill(address, NULL, &v6, port);
        return NULL;
    }
    size_t colon = bytes_find(text, ':');
    if (colon == text.len && default_port == 0 && bytes_parse_u64(text, &number))
        colon = 0, rest = text; /* "8080" */
    else
        rest = colon < text.len ? bytes_from(text.at + colon + 1, text.len - colon - 1) : BYTES_NONE;
    host = bytes_from(text.at, colon);
    if ((host.len > 0 || default_port != 0) && !literal_parse(host, AF_INET, &v4))
        return "is not an IP address and a port";
    if (rest.at) {
        const char *wrong = port_parse(rest, &port);
        if (wrong)
            return wrong;
    }
    if (port == 0)
        return "has no port";
    address_fill(address, &v4, NULL, port);
    return NULL;
}

void address_format(const struct sockaddr_storage *address, char out[64])
{
    char text[INET6_ADDRSTRLEN] = "";

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
        snprintf(out, 64, "%s:%u", text, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        snprintf(out, 64, "[%s]:%u", text, ntohs(v6->sin6_port));
    }
}

bool address_overlaps(const struct config_address *a, const struct config_address *b)
{
    if (a->length == 0 || b->length == 0 || a->address.ss_family != b->address.ss_family)
        return false;
    if (a->address.ss_family == AF_INET) {
        const struct sockaddr_in *left = (const struct sockaddr_in *)&a->address, *right = (const struct sockaddr_in *)&b->address;
        return left->sin_port == right->sin_port && (left->sin_addr.s_addr == right->sin_addr.s_addr ||
                                                     left->sin_addr.s_addr == INADDR_ANY || right->sin_addr.s_addr == INADDR_ANY);
    }
    const struct sockaddr_in6 *left = (const struct sockaddr_in6 *)&a->address, *right = (const struct sockaddr_in6 *)&b->address;
    return left->sin6_port == right->sin6_port && (IN6_ARE_ADDR_EQUAL(&left->sin6_addr, &right->sin6_addr) ||
                                                   IN6_IS_ADDR_UNSPECIFIED(&left->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&right->sin6_addr));
}

/* Whether every bit behind the prefix is 0. */
static bool network_is_aligned(const struct config_network *network, unsigned size)
{
    for (unsigned bit = network->prefix_bits; bit < size * 8; bit++) {
        if (network->bytes[bit / 8] & (0x80 >> bit % 8))
            return false;
    }
    return true;
}

const char *network_parse(struct bytes text, struct config_network *network)
{
    size_t slash = bytes_find(text, '/');
    struct bytes host = bytes_from(text.at, slash);
    unsigned size;
    uint64_t bits;

    *network = (struct config_network){.family = 0};
    if (literal_parse(host, AF_INET, network->bytes))
        network->family = 4, size = 4;
    else if (literal_parse(host, AF_INET6, network->bytes))
        network->family = 6, size = 16;
    else
        return "is not an IP address or network";
    bits = size * 8;
    if (slash < text.len && !bytes_parse_u64(bytes_from(text.at + slash + 1, text.len - slash - 1), &bits))
        return "has a prefix length that is not a number";
    if (bits > size * 8)
        return size == 4 ? "has a prefix length over 32" : "has a prefix length over 128";
    network->prefix_bits = (uint8_t)bits;
    return network_is_aligned(network, size) ? NULL : "has bits set behind its prefix length";
}

void network_format(const struct config_network *network, char out[64])
{
    char text[INET6_ADDRSTRLEN] = "";
    unsigned full = network->family == 4 ? 32 : 128;

    inet_ntop(network->family == 4 ? AF_INET : AF_INET6, network->bytes, text, sizeof(text));
    if (network->prefix_bits == full)
        snprintf(out, 64, "%s", text);
    else
        snprintf(out, 64, "%s/%u", text, network->prefix_bits);
}

/* RFC 1035 §2.3.4's lengths; an underscore, which RFC 952 forbids, is common in names of containers. */
static const char *name_check(struct bytes name)
{
    size_t label = 0;

    if (name.len == 0)
        return "is empty";
    if (name.len > 253)
        return "is longer than 253 bytes";
    for (size_t i = 0; i <= name.len; i++) {
        char c = i < name.len ? name.at[i] : '.';
        if (c == '.') {
            if (label == 0)
                return "has an empty label (two dots, or one at an end)";
            if (label > 63)
                return "has a label longer than 63 bytes";
            label = 0;
            continue;
        }
        label++;
        if ((unsigned char)c >= 0x80)
            return "is not ASCII; write an international name in its xn-- form";
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return "has a character that no host name has";
    }
    return NULL;
}

const char *host_pattern_check(struct bytes text)
{
    struct bytes host, rest;
    struct in6_addr v6;

    if (bytes_equal(text, BYTES("*")))
        return NULL;
    if (split_brackets(text, &host, &rest) && rest.len == 0)
        return literal_parse(host, AF_INET6, &v6) ? NULL : "has no IPv6 address in its brackets";
    if (bytes_find(text, '/') < text.len)
        return "is a URL or a path; write the host name alone";
    if (bytes_find(text, ':') < text.len)
        return "has a port; hosts are matched on any port";
    if (bytes_starts_with(text, BYTES("*.")))
        text = bytes_from(text.at + 2, text.len - 2);
    if (bytes_find(text, '*') < text.len)
        return "has a * elsewhere than in front: \"*\" or \"*.example.org\"";
    return name_check(text);
}

/* "name", "name:port", "[v6]", "[v6]:port" → name or literal, and the port behind it. */
static const char *authority_parse(struct bytes text, struct bytes *host, uint16_t *port)
{
    struct bytes rest;
    struct in6_addr v6;

    if (split_brackets(text, host, &rest)) {
        if (!literal_parse(*host, AF_INET6, &v6))
            return "has no IPv6 address in its brackets";
        if (rest.len > 0 && rest.at[0] != ':')
            return "has something other than a port behind its brackets";
        return rest.len > 0 ? port_parse(bytes_from(rest.at + 1, rest.len - 1), port) : NULL;
    }
    size_t colon = bytes_find(text, ':');
    const char *wrong = NULL;
    *host = bytes_from(text.at, colon);
    if (colon < text.len)
        wrong = port_parse(bytes_from(text.at + colon + 1, text.len - colon - 1), port);
    if (host->len == 0)
        return "has no host";
    return wrong ? wrong : name_check(*host);
}

const char *host_header_check(struct bytes text)
{
    struct bytes host;
    uint16_t port;

    return authority_parse(text, &host, &port);
}

static const char *files_origin_parse(struct bytes path, struct config_origin *origin)
{
    origin->kind = ORIGIN_KIND_FILES;
    if (bytes_starts_with(path, BYTES("//")))
        return "has two slashes; write \"files:/directory\"";
    if (path.len == 0 || path.at[0] != '/')
        return "needs an absolute path: \"files:/srv/www\"";
    return NULL;
}

const char *origin_parse(struct bytes text, struct config_origin *origin)
{
    bool is_https = bytes_starts_with(text, BYTES("https://"));
    size_t scheme = is_https ? strlen("https://") : strlen("http://");
    *origin = (struct config_origin){.kind = ORIGIN_KIND_HTTP, .is_https = is_https, .url = text, .port = is_https ? 443 : 80};
    if (bytes_starts_with(text, BYTES("files:")))
        return files_origin_parse(bytes_from(text.at + 6, text.len - 6), origin);
    if (!is_https && !bytes_starts_with(text, BYTES("http://")))
        return "is not an origin: write \"http://host:port\", \"https://host:port\" or \"files:/directory\"";
    struct bytes authority = bytes_from(text.at + scheme, text.len - scheme);
    size_t end = 0;
    while (end < authority.len && !memchr("/?#", authority.at[end], 3))
        end++;
    struct bytes rest = bytes_from(authority.at + end, authority.len - end);
    authority.len = end;
    if (bytes_find(authority, '@') < authority.len)
        return "has a user name or password, which is not supported: origins are asked without one";
    if (rest.len > 0 && !bytes_equal(rest, BYTES("/")))
        return "has a path; an origin is a host and a port, and the path of each request is passed on as it is";
    return authority_parse(authority, &origin->host, &origin->port);
}

static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) & (0xff00 >> rest) & 0xff) == 0);
}

bool config_networks_have(const struct config_networks *networks, const struct sockaddr *address)
{
    const uint8_t *bytes;
    uint8_t family;

    if (address->sa_family == AF_INET) {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr;
        family = 4;
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        /* An IPv4 client of a dual-stack socket is the same client (RFC 4291 §2.5.5.2). */
        bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
        bytes = mapped ? v6->s6_addr + 12 : v6->s6_addr;
        family = mapped ? 4 : 6;
    } else {
        return false;
    }
    for (unsigned i = 0; i < networks->count; i++) {
        if (networks->at[i].family == family && prefix_equal(networks->at[i].bytes, bytes, networks->at[i].prefix_bits))
            return true;
    }
    return false;
}
