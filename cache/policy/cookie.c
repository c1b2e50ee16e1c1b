#include "cache/policy/cookie.h"

struct cookie {
    struct bytes name, value;
};

struct cookie_walk {
    const struct headers *request;
    const struct header *line;
    struct bytes rest;
};

static struct cookie_walk walk_begin(const struct headers *request)
{
    const struct header *line = headers_find(request, HEADER_COOKIE);
    return (struct cookie_walk){request, line, line != NULL ? line->value : BYTES_NONE};
}

/* The next cookie of all Cookie lines. One without "=" is a name without a value. */
static bool walk_next(struct cookie_walk *walk, struct cookie *cookie)
{
    while (walk->line != NULL) {
        if (walk->rest.len == 0) {
            walk->line = headers_next(walk->request, walk->line);
            walk->rest = walk->line != NULL ? walk->line->value : BYTES_NONE;
            continue;
        }
        size_t end = bytes_find(walk->rest, ';');
        struct bytes pair = bytes_trim(bytes_from(walk->rest.at, end));
        size_t taken = end < walk->rest.len ? end + 1 : end;
        walk->rest = bytes_from(walk->rest.at + taken, walk->rest.len - taken);
        size_t equals = bytes_find(pair, '=');
        cookie->name = bytes_trim(bytes_from(pair.at, equals));
        size_t value_at = equals < pair.len ? equals + 1 : equals;
        cookie->value = bytes_trim(bytes_from(pair.at + value_at, pair.len - value_at));
        if (pair.len > 0)
            return true;
    }
    return false;
}

static bool pattern_matches(struct bytes pattern, struct bytes name)
{
    if (pattern.len > 0 && pattern.at[pattern.len - 1] == '*')
        return bytes_starts_with(name, bytes_from(pattern.at, pattern.len - 1));
    return bytes_equal(pattern, name);
}

bool cookie_has_any(const struct headers *request, const struct rule_names *patterns)
{
    if (patterns->count == 0)
        return false;
    struct cookie_walk walk = walk_begin(request);
    struct cookie cookie;
    while (walk_next(&walk, &cookie)) {
        for (unsigned i = 0; i < patterns->count; i++) {
            if (pattern_matches(patterns->at[i], cookie.name))
                return true;
        }
    }
    return false;
}

/* In one piece of memory, however often a client names it: its line of 16 KiB has room for thousands. */
struct bytes cookie_values(const struct headers *request, struct bytes name, struct arena *arena)
{
    struct cookie_walk walk = walk_begin(request);
    struct cookie cookie;
    struct bytes first = BYTES_NONE;
    size_t count = 0, size = 0;
    while (walk_next(&walk, &cookie)) {
        if (!bytes_equal(cookie.name, name))
            continue;
        first = count == 0 ? cookie.value : first;
        size += cookie.value.len + (count++ > 0);
    }
    if (count <= 1)
        return first;
    char *joined = arena_alloc(arena, size + 1), *at = joined;
    walk = walk_begin(request);
    while (walk_next(&walk, &cookie)) {
        if (!bytes_equal(cookie.name, name))
            continue;
        at = bytes_put(at, cookie.value);
        *at++ = ';';
    }
    return bytes_from(joined, size);
}
