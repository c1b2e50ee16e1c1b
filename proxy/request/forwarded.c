/* What a trusted proxy says of the request that it passes on: X-Forwarded-For, -Proto and -Host, X-Real-IP, or Forwarded (RFC 7239).
 *
 * DESIGN. Each proxy on the way adds its own word at the end, so these lists are read from their ends, and no further than the first address that is not
 * trusted: what stands before that is what a client wrote. A comma separates, whatever quotes stand around it: a proxy's own word has neither, and an
 * open quote in what a client wrote must not swallow it. What is believed takes the place of the connection's own facts (peer, scheme, authority), once
 * and at the beginning: the key, the site, the log and whom a purge is allowed follow from these. (HARDENING, cache: a host or a scheme that an origin
 * heeds would poison the cache if it were not in the key.)
 */
#include "proxy/request/life.h"

#include "proxy/config/address.h"
#include "proxy/net/socket_address.h"

enum { HOPS_MAX = 32 }; /* more trusted proxies in a row are a mistake */

/* Takes the last member that is not empty off the end. */
static bool last_member(struct bytes *rest, struct bytes *member)
{
    do {
        if (rest->len == 0)
            return false;
        const char *comma = memrchr(rest->at, ',', rest->len);
        size_t from = comma != NULL ? (size_t)(comma - rest->at) + 1 : 0;
        *member = bytes_trim(bytes_from(rest->at + from, rest->len - from));
        rest->len = from > 0 ? from - 1 : 0;
    } while (member->len == 0);
    return true;
}

/* RFC 7239 §4: the value of one parameter of an element, without its quotes; absent when it is not there. */
static struct bytes parameter(struct bytes element, struct bytes name)
{
    while (element.len > 0) {
        size_t end = bytes_find(element, ';');
        struct bytes pair = bytes_trim(bytes_from(element.at, end));
        size_t equals = bytes_find(pair, '=');
        size_t taken = end < element.len ? end + 1 : end;
        element = bytes_from(element.at + taken, element.len - taken);
        if (equals == pair.len || !bytes_equal_nocase(bytes_from(pair.at, equals), name))
            continue;
        struct bytes value = bytes_from(pair.at + equals + 1, pair.len - equals - 1);
        bool is_quoted = value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"';
        return is_quoted ? bytes_from(value.at + 1, value.len - 2) : value;
    }
    return BYTES_NONE;
}

static struct bytes address_text(struct arena *arena, const union socket_address *address)
{
    char text[64];
    return arena_copy(arena, bytes_from(text, socket_address_format(address, text, sizeof text)));
}

/* RFC 7239 §6: an IPv6 address stands in brackets and quotes. */
static struct bytes node(struct arena *arena, const union socket_address *address)
{
    struct bytes text = address_text(arena, address);
    return arena_printf(arena, address->any.sa_family == AF_INET6 ? "for=\"[%.*s]\"" : "for=%.*s", BYTES_FMT(text));
}

/* Who is where on the way, as far as it is believed: the client first. */
struct way {
    union socket_address hops[HOPS_MAX]; /* the latest first */
    unsigned count;
};

static void walk_back(struct way *way, struct bytes list, bool is_rfc7239, const struct config_networks *trusted)
{
    struct bytes member;
    while (way->count < HOPS_MAX && last_member(&list, &member)) {
        union socket_address *hop = &way->hops[way->count];
        if (!socket_address_parse(is_rfc7239 ? parameter(member, BYTES("for")) : member, hop))
            return;
        way->count++;
        if (!config_networks_have(trusted, &hop->any))
            return;
    }
}

static struct bytes last_of(const struct headers *fields, enum header_id id, struct arena *arena)
{
    struct bytes list = headers_combined(fields, header_spelling(id), arena), member = BYTES_NONE;
    return list.at != NULL && last_member(&list, &member) ? member : BYTES_NONE;
}

/* `element`: the last one of Forwarded, for proxies that speak by it alone. */
static void believe_target(struct request_head *head, struct bytes element, struct arena *arena)
{
    struct bytes scheme = last_of(&head->fields, HEADER_X_FORWARDED_PROTO, arena),
                 host = last_of(&head->fields, HEADER_X_FORWARDED_HOST, arena);
    if (scheme.at == NULL)
        scheme = parameter(element, BYTES("proto"));
    if (host.at == NULL)
        host = parameter(element, BYTES("host"));
    if (bytes_equal_nocase(scheme, BYTES("https")))
        head->scheme = BYTES("https");
    else if (bytes_equal_nocase(scheme, BYTES("http")))
        head->scheme = BYTES("http");
    if (host.len > 0 && host_header_check(host) == NULL)
        head->authority = host;
}

/* For the origin: what came, and who brought it. Forwarded is written anew, of what is believed: unlike the others it has no one value that could be in
 * the key. */
static const struct forwarding *forwarding_of(struct request *request, struct bytes list, bool is_rfc7239, const struct way *way)
{
    struct arena *arena = &request->arena;
    struct forwarding *forwarding = arena_alloc(arena, sizeof *forwarding);
    const struct request_head *head = &request->head;
    struct bytes peer = address_text(arena, &request->peer), hops = BYTES(""), nodes = BYTES("");
    for (unsigned i = 0; i < way->count; i++) {
        struct bytes address = address_text(arena, &way->hops[i]), its_node = node(arena, &way->hops[i]);
        hops = arena_printf(arena, "%.*s, %.*s", BYTES_FMT(address), BYTES_FMT(hops));
        nodes = arena_printf(arena, "%.*s, %.*s", BYTES_FMT(its_node), BYTES_FMT(nodes));
    }
    if (list.len > 0 && !is_rfc7239)
        forwarding->x_forwarded_for = arena_printf(arena, "%.*s, %.*s", BYTES_FMT(list), BYTES_FMT(peer));
    else
        forwarding->x_forwarded_for = arena_printf(arena, "%.*s%.*s", BYTES_FMT(hops), BYTES_FMT(peer));
    forwarding->forwarded = BYTES_NONE;
    if (headers_find(&head->fields, HEADER_FORWARDED) != NULL) {
        struct bytes own = node(arena, &request->peer), host = cache_key_host(arena, head->scheme, head->authority);
        forwarding->forwarded = arena_printf(arena, "%.*s%.*s;host=\"%.*s\";proto=%.*s", BYTES_FMT(nodes), BYTES_FMT(own), BYTES_FMT(host),
                                             BYTES_FMT(head->scheme));
    }
    return forwarding;
}

void request_believe_proxy(struct request *request)
{
    const struct config_networks *trusted = &request->routes->config->trusted_proxies;
    if (trusted->count == 0 || !config_networks_have(trusted, &request->peer.any))
        return;
    struct request_head *head = &request->head;
    struct arena *arena = &request->arena;
    struct bytes rfc7239 = headers_combined(&head->fields, header_spelling(HEADER_FORWARDED), arena);
    struct bytes list = headers_combined(&head->fields, header_spelling(HEADER_X_FORWARDED_FOR), arena);
    bool is_rfc7239 = list.at == NULL && rfc7239.at != NULL;
    if (list.at == NULL)
        list = is_rfc7239 ? rfc7239 : headers_value(&head->fields, HEADER_X_REAL_IP);
    struct way way = {.count = 0};
    walk_back(&way, list, is_rfc7239, trusted);
    believe_target(head, last_of(&head->fields, HEADER_FORWARDED, arena), arena);
    request->forwarding = forwarding_of(request, list, is_rfc7239, &way);
    if (way.count > 0)
        request->peer = way.hops[way.count - 1];
}
