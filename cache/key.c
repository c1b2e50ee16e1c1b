/* See key.h. The encoding: for scheme, host, path and query in turn, a length as a base-128 number (low group first, high bit = more follows),
 * then the bytes. The query's length is stored plus one; zero there means that there is no query. */
#include "cache/key.h"

enum { LENGTH_BYTES_MAX = 10 };

static char *put_length(char *at, uint64_t length)
{
    while (length >= 0x80) {
        *at++ = (char)(length | 0x80);
        length >>= 7;
    }
    *at++ = (char)length;
    return at;
}

static bool take_length(struct bytes *rest, uint64_t *length)
{
    *length = 0;
    for (unsigned i = 0; i < LENGTH_BYTES_MAX - 1 && i < rest->len; i++) {
        unsigned char byte = (unsigned char)rest->at[i];
        *length |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = bytes_from(rest->at + i + 1, rest->len - i - 1);
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct bytes *rest, uint64_t length, struct bytes *part)
{
    if (length > rest->len)
        return false;
    *part = bytes_from(rest->at, length);
    *rest = bytes_from(rest->at + length, rest->len - length);
    return true;
}

/* Without the port where it is the scheme's own, and without the dot that marks a name as absolute. */
static void split_host(struct bytes scheme, struct bytes host, struct bytes *name, struct bytes *port)
{
    *name = host;
    *port = BYTES_NONE;
    for (size_t i = host.len; i > 0 && host.at[i - 1] != ']'; i--) {
        if (host.at[i - 1] == ':') {
            *name = bytes_from(host.at, i - 1);
            *port = bytes_from(host.at + i - 1, host.len - i + 1); /* with its colon */
            break;
        }
    }
    bool is_default = port->len <= 1 || (bytes_equal_nocase(scheme, BYTES("http")) && bytes_equal(*port, BYTES(":80"))) ||
                      (bytes_equal_nocase(scheme, BYTES("https")) && bytes_equal(*port, BYTES(":443")));
    if (is_default)
        *port = BYTES_NONE;
    if (name->len > 1 && name->at[name->len - 1] == '.')
        name->len--;
}

struct bytes cache_key_host(struct arena *arena, struct bytes scheme, struct bytes host)
{
    struct bytes name, port;
    split_host(scheme, host, &name, &port);
    char *start = arena_alloc(arena, name.len + port.len + 1), *end = bytes_put(bytes_put_lower(start, name), port);
    return bytes_from(start, (size_t)(end - start));
}

struct cache_key cache_key_build(const struct hash_key *hash_key, struct arena *arena, struct bytes scheme, struct bytes host,
                                 struct bytes path, struct bytes query)
{
    struct bytes name, port;
    split_host(scheme, host, &name, &port);
    char *start = arena_alloc(arena, scheme.len + name.len + port.len + path.len + query.len + 4 * LENGTH_BYTES_MAX);
    char *at = bytes_put(put_length(start, scheme.len), scheme);
    at = put_length(at, name.len + port.len);
    at = bytes_put_lower(at, name);
    at = bytes_put(at, port);
    at = bytes_put(put_length(at, path.len), path);
    at = bytes_put(put_length(at, query.at == NULL ? 0 : (uint64_t)query.len + 1), query);
    struct cache_key key = {.encoded = bytes_from(start, (size_t)(at - start))};
    key.hash = hash_bytes(hash_key, key.encoded);
    return key;
}

bool cache_key_parts(struct bytes encoded, struct bytes *scheme, struct bytes *host, struct bytes *path, struct bytes *query)
{
    struct bytes *parts[] = {scheme, host, path};
    uint64_t length;
    for (unsigned i = 0; i < 3; i++) {
        if (!take_length(&encoded, &length) || !take_bytes(&encoded, length, parts[i]))
            return false;
    }
    if (!take_length(&encoded, &length))
        return false;
    if (length == 0)
        *query = BYTES_NONE;
    else if (!take_bytes(&encoded, length - 1, query))
        return false;
    return encoded.len == 0;
}

struct bytes cache_key_url(struct bytes encoded, struct arena *arena)
{
    struct bytes scheme, host, path, query;
    if (!cache_key_parts(encoded, &scheme, &host, &path, &query))
        return BYTES_NONE;
    return arena_printf(arena, "%.*s://%.*s%.*s%s%.*s", BYTES_FMT(scheme), BYTES_FMT(host), BYTES_FMT(path), query.at != NULL ? "?" : "",
                        BYTES_FMT(query));
}
