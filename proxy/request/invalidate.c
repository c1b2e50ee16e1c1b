/* The response to an unsafe request invalidates what it says has changed: its target, and within the origin what Location and Content-Location name
 * (RFC 9111 §4.4) and the groups of Cache-Group-Invalidation (RFC 9875 §3). Whose origin that is the request says, never the response. */
#include "proxy/request/life.h"

#include "cache/policy/invalidate.h"
#include "cache/policy/key_rules.h"
#include "cache/policy/tags.h"

/* What is stored may be another instance's by now. */
static void tell_heir(const struct request *request, const struct cache_key *key, struct bytes group)
{
    if (request->worker->tell_heir != NULL && cache_has_left(request->worker->cache))
        request->worker->tell_heir(key->encoded, group);
}

/* The response to a POST that is stored under this key (RFC 9110 §9.3.3) took the place of what it makes invalid as it was stored. */
static bool invalidate_key(struct request *request, const struct response_view *view, const struct cache_key *key)
{
    bool any = (view->is_stored && bytes_equal(key->encoded, request->lookup.key.encoded)) ||
               cache_purge(request->worker->cache, key, PURGE_HARD, loop_wall(request->worker->loop));
    tell_heir(request, key, BYTES_NONE);
    return any;
}

static bool invalidate_reference(struct request *request, const struct response_view *view, const struct target *base,
                                 struct bytes reference)
{
    struct arena *arena = &request->arena;
    struct cache *cache = request->worker->cache;
    struct target target;
    if (reference.at == NULL || !resolve_same_origin(reference, base, arena, &target))
        return false;
    struct bytes query = query_apply_rules(target.query, &request->site->rules.query, arena);
    struct cache_key key = cache_key_build(cache_hash_key(cache), arena, target.scheme, target.host, target.path, query);
    return invalidate_key(request, view, &key);
}

bool invalidate(struct request *request, const struct response_view *view)
{
    const struct request_head *head = &request->head;
    const struct target base = {head->scheme, head->authority, head->path, head->query};
    struct cache *cache = request->worker->cache;
    struct wall_seconds now = loop_wall(request->worker->loop);
    struct headers fields;
    struct tag *groups;
    headers_init(&fields, &request->arena);
    headers_parse_block(&fields, view->fields);
    bool any = invalidate_key(request, view, &request->lookup.key);
    any |= invalidate_reference(request, view, &base, headers_value(&fields, HEADER_LOCATION));
    any |= invalidate_reference(request, view, &base, headers_value(&fields, HEADER_CONTENT_LOCATION));
    unsigned count = groups_collect(&fields, HEADER_CACHE_GROUP_INVALIDATION, &request->arena, &groups);
    for (unsigned i = 0; i < count; i++) {
        cache_purge_group(cache, head->scheme, head->authority, groups[i].name, PURGE_HARD, now);
        tell_heir(request, &request->lookup.key, groups[i].name);
    }
    return any || count > 0;
}
