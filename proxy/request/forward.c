/* The request's fields on their way to the origin: RFC 9110 §7.6 (what is not forwarded, Via), RFC 8586 (CDN-Loop), and the X-Forwarded-* convention.
 *
 * Poisoning (HARDENING, cache): whatever a client can send and an origin may heed is in the key, can be named by Vary, or is overwritten here. */
#include "proxy/request/life.h"

/* Fields that this side writes itself, or that were meant for us. */
static bool is_ours(enum header_id id)
{
    switch (id) {
    case HEADER_HOST:
    case HEADER_CONTENT_LENGTH:
    case HEADER_EXPECT: /* answered here */
    case HEADER_VIA:
    case HEADER_CDN_LOOP:
    case HEADER_FORWARDED:
    case HEADER_X_FORWARDED_FOR:
    case HEADER_X_FORWARDED_HOST:
    case HEADER_X_FORWARDED_PROTO:
    case HEADER_X_REAL_IP:
        return true;
    default:
        return false;
    }
}

bool header_selects_a_part(enum header_id id)
{
    switch (id) {
    case HEADER_RANGE:
    case HEADER_IF_RANGE:
    case HEADER_IF_MATCH:
    case HEADER_IF_NONE_MATCH:
    case HEADER_IF_MODIFIED_SINCE:
    case HEADER_IF_UNMODIFIED_SINCE:
        return true;
    default:
        return false;
    }
}

/* In a CGI's environment an underscore and a hyphen are the same. */
static bool begins_like(struct bytes name, struct bytes known)
{
    for (size_t i = 0; i < known.len; i++)
        if (i == name.len || (name.at[i] == '_' ? '-' : byte_lower(name.at[i])) != byte_lower(known.at[i]))
            return false;
    return true;
}

static bool is_like(struct bytes name, struct bytes known)
{
    return name.len == known.len && begins_like(name, known);
}

/* What an origin, or what is in front of it there, would believe us: "Proxy" would become HTTP_PROXY in a CGI's environment; -Port, -Scheme and other
 * relatives of those that are written here end up in links. */
static bool is_forged(const struct header *field)
{
    struct bytes name = field->name;
    if (field->id != HEADER_OTHER)
        return false;
    return begins_like(name, BYTES("X-Forwarded-")) || is_like(name, BYTES("Proxy")) || is_like(name, BYTES("X-Real-IP"));
}

/* What turns a request into another one, of which the key knows nothing: a GET with it would be answered, and stored, as something else. */
static bool is_override(const struct header *field)
{
    static const char *const names[] = {"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"};
    if (field->id != HEADER_OTHER)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_like(field->name, bytes_from_string(names[i])))
            return true;
    return false;
}

/* Ours (step_route.c): Connection cannot strip it. */
static bool is_client_name(const struct request *request, const struct header *field)
{
    struct bytes name = request->site->config->client_header;
    return name.at != NULL && bytes_equal_nocase(field->name, name);
}

static void append_list(struct headers *out, const struct headers *from, enum header_id id, struct bytes member, struct arena *arena)
{
    struct bytes before = headers_combined(from, header_spelling(id), arena);
    headers_add_known(out, id, before.len == 0 ? member : arena_printf(arena, "%.*s, %.*s", BYTES_FMT(before), BYTES_FMT(member)));
}

/* RFC 9110 §7.6.3: the version that it was received in, which has one digit before and behind its dot. */
static struct bytes via_member(const struct request_head *head, struct bytes name, struct arena *arena)
{
    char *text = arena_alloc(arena, name.len + 4);
    const char version[4] = {(char)('0' + head->version_major), '.', (char)('0' + head->version_minor), ' '};
    bytes_put(bytes_put(text, bytes_from(version, sizeof version)), name);
    return bytes_from(text, name.len + sizeof version);
}

/* HARDENING, cache: a spelling that shares a stored response with others (`EXAMPLE.com`, `example.com:80`) must not show in it, in a redirect to itself for
 * instance. */
static struct bytes asked_host(const struct request *request, struct arena *arena)
{
    const struct request_head *head = &request->head;
    return head->authority.at != NULL ? cache_key_host(arena, head->scheme, head->authority) : BYTES_NONE;
}

static void add_forwarding(struct headers *out, const struct request *request, struct bytes host, struct arena *arena)
{
    const struct request_head *head = &request->head;
    char address[64];
    size_t len = socket_address_format(&request->peer, address, sizeof address);
    struct bytes name = worker_pseudonym(request->worker);
    append_list(out, &head->fields, HEADER_VIA, via_member(head, name, arena), arena);
    append_list(out, &head->fields, HEADER_CDN_LOOP, name, arena);
    headers_add_named(out, BYTES("X-Request-Id"), request->id);
    struct bytes client = arena_copy(arena, bytes_from(address, len));
    headers_add_known(out, HEADER_X_FORWARDED_FOR, request->forwarding != NULL ? request->forwarding->x_forwarded_for : client);
    headers_add_known(out, HEADER_X_REAL_IP, client);
    if (request->forwarding != NULL && request->forwarding->forwarded.at != NULL)
        headers_add_known(out, HEADER_FORWARDED, request->forwarding->forwarded);
    headers_add_known(out, HEADER_X_FORWARDED_PROTO, head->scheme);
    if (host.at != NULL)
        headers_add_known(out, HEADER_X_FORWARDED_HOST, host);
}

/* Our conditional request for a stored response, RFC 9111 §4.3.1. */
static void add_validators(struct headers *out, const struct response_view *stale, struct arena *arena)
{
    struct headers stored;
    headers_init(&stored, arena);
    headers_parse_block(&stored, stale->fields);
    struct bytes etag = headers_value(&stored, HEADER_ETAG);
    struct bytes modified = headers_value(&stored, HEADER_LAST_MODIFIED);
    if (etag.at != NULL)
        headers_add_known(out, HEADER_IF_NONE_MATCH, etag);
    if (modified.at != NULL)
        headers_add_known(out, HEADER_IF_MODIFIED_SINCE, modified);
}

/* RFC 9112 §3.2: a request has a Host, also when an HTTP/1.0 client sent none; then it is the origin's own name. */
static struct bytes host_for_origin(const struct request *request, struct bytes asked, struct arena *arena)
{
    const struct config_site *site = request->site->config;
    const struct config_origin *origin = &site->origins[0];
    if (site->host_header.at != NULL)
        return site->host_header;
    if (asked.at != NULL)
        return asked;
    const char *format = bytes_find(origin->host, ':') < origin->host.len ? "[%.*s]:%u" : "%.*s:%u";
    return arena_printf(arena, format, BYTES_FMT(origin->host), origin->port);
}

void forward_fields(struct headers *out, const struct request *request, struct arena *arena, bool for_cache,
                    const struct response_view *stale)
{
    const struct request_head *head = &request->head;
    bool is_cacheable = head->method == METHOD_GET || head->method == METHOD_HEAD;
    struct bytes host = asked_host(request, arena);
    headers_init(out, arena);
    headers_add_known(out, HEADER_HOST, host_for_origin(request, host, arena));
    for (unsigned f = 0; f < head->fields.count; f++) {
        const struct header *field = &head->fields.at[f];
        if (is_ours(field->id) || is_forged(field) || field_is_request_id(field) || (is_cacheable && is_override(field)) ||
            (for_cache && header_selects_a_part(field->id)))
            continue;
        if (!header_is_hop_by_hop(field, &head->fields) || is_client_name(request, field))
            headers_add(out, field->id, field->name, forwards_left(request, field, arena));
    }
    if (head->wants_upgrade) {
        headers_add_known(out, HEADER_CONNECTION, BYTES("upgrade"));
        headers_add_known(out, HEADER_UPGRADE, headers_combined(&head->fields, header_spelling(HEADER_UPGRADE), arena));
    }
    if (stale != NULL)
        add_validators(out, stale, arena);
    add_forwarding(out, request, host, arena);
}
