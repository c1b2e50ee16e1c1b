#include "cache/policy/invalidate.h"

#include "cache/policy/key_rules.h"

bool invalidates_target(enum method method, unsigned status)
{
    /* RFC 9111 §4.4: a method whose safety is unknown counts as unsafe; an error changed nothing. */
    return !method_is_safe(method) && status >= 200 && status < 400;
}

static struct bytes from(struct bytes text, size_t offset)
{
    return bytes_from(text.at + offset, text.len - offset);
}

/* RFC 3986 §3.1: ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) ":". Its length, 0 when the reference is relative. */
static size_t scheme_length(struct bytes reference)
{
    for (size_t i = 0; i < reference.len; i++) {
        char c = byte_lower(reference.at[i]);
        bool is_alpha = c >= 'a' && c <= 'z';
        if (c == ':')
            return i;
        if (!is_alpha && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return 0;
    }
    return 0;
}

struct authority {
    struct bytes name; /* without the dot of an absolute name */
    struct bytes port; /* the scheme's own where there is none */
};

static struct authority split_authority(struct bytes host, struct bytes scheme)
{
    struct authority authority = {host, bytes_equal_nocase(scheme, BYTES("https")) ? BYTES("443") : BYTES("80")};
    for (size_t i = host.len; i > 0 && host.at[i - 1] != ']'; i--) {
        if (host.at[i - 1] != ':')
            continue;
        authority.name.len = i - 1;
        if (i < host.len)
            authority.port = from(host, i);
        break;
    }
    if (authority.name.len > 1 && authority.name.at[authority.name.len - 1] == '.')
        authority.name.len--;
    return authority;
}

static bool is_same_origin(struct bytes scheme, struct bytes host, const struct target *base)
{
    struct authority a = split_authority(host, scheme), b = split_authority(base->host, base->scheme);
    return bytes_equal_nocase(scheme, base->scheme) && bytes_equal_nocase(a.name, b.name) && bytes_equal(a.port, b.port);
}

/* RFC 3986 §5.2.4, a segment at a time; `path` begins with "/". In place: what is written never overtakes what is read. */
static size_t remove_dot_segments(char *path, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;
        while (end < len && path[end] != '/')
            end++;
        struct bytes segment = bytes_from(path + at + 1, end - at - 1);
        bool is_last = end == len, is_up = bytes_equal(segment, BYTES(".."));
        if (is_up) {
            while (out > 0 && path[--out] != '/') {
            }
        }
        if (!is_up && !bytes_equal(segment, BYTES("."))) {
            memmove(path + out, path + at, end - at);
            out += end - at;
        } else if (is_last) {
            path[out++] = '/';
        }
        at = end;
    }
    return out;
}

/* §5.2.3: the base's path up to its last "/", then `path`; or `path` alone when it is absolute. */
static struct bytes merge_path(struct bytes base, struct bytes path, struct arena *arena)
{
    size_t kept = 0;
    if (path.len == 0 || path.at[0] != '/') {
        for (size_t i = 0; i < base.len; i++) {
            if (base.at[i] == '/')
                kept = i + 1;
        }
    }
    char *text = arena_alloc(arena, kept + path.len + 1);
    size_t len = 0;
    if (kept > 0)
        memcpy(text, base.at, kept);
    len = kept;
    if (len == 0 && (path.len == 0 || path.at[0] != '/'))
        text[len++] = '/';
    if (path.len > 0)
        memcpy(text + len, path.at, path.len);
    return bytes_from(text, remove_dot_segments(text, len + path.len));
}

bool resolve_same_origin(struct bytes reference, const struct target *base, struct arena *arena, struct target *result)
{
    struct bytes rest = bytes_from(reference.at, bytes_find(reference, '#'));
    struct bytes scheme = base->scheme;
    *result = *base;
    size_t length = scheme_length(rest);
    if (length > 0) {
        scheme = bytes_from(rest.at, length);
        rest = from(rest, length + 1);
        if (!bytes_starts_with(rest, BYTES("//")))
            return false; /* no http URI */
    }
    bool has_authority = bytes_starts_with(rest, BYTES("//"));
    if (has_authority) {
        rest = from(rest, 2);
        size_t end = 0;
        while (end < rest.len && rest.at[end] != '/' && rest.at[end] != '?')
            end++;
        if (!is_same_origin(scheme, bytes_from(rest.at, end), base))
            return false;
        rest = from(rest, end);
    }
    size_t query_at = bytes_find(rest, '?');
    struct bytes path = bytes_from(rest.at, query_at);
    bool has_query = query_at < rest.len;
    if (has_query || path.len > 0 || has_authority)
        result->query = has_query ? from(rest, query_at + 1) : BYTES_NONE;
    if (path.len > 0 || has_authority)
        result->path = merge_path(has_authority ? BYTES("/") : base->path, path, arena);
    return true;
}

bool content_location_is_target(const struct headers *response, const struct target *target, const struct query_rules *rules)
{
    struct target named;
    struct bytes value = headers_value(response, HEADER_CONTENT_LOCATION);
    /* §8.7: an absolute-URI or a partial-URI, without a fragment; one that says nothing is no promise. */
    if (headers_count(response, HEADER_CONTENT_LOCATION) != 1 || value.len == 0 || bytes_find(value, '#') < value.len ||
        !resolve_same_origin(value, target, response->arena, &named))
        return false;
    struct bytes query = query_apply_rules(named.query, rules, response->arena);
    bool is_same_query = query.at == NULL || target->query.at == NULL ? query.at == target->query.at : bytes_equal(query, target->query);
    return is_same_query && bytes_equal(named.path, target->path);
}
