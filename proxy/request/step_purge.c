/* PURGE from addresses that the site allows: of the tags that it names, or else of its URL with all variants. */
#include "proxy/request/life.h"

#include "cache/policy/tags.h"

static struct bytes purge_tags(struct request *request, const struct tag *tags, unsigned count, enum purge_kind kind)
{
    for (unsigned i = 0; i < count; i++)
        cache_purge_tag(request->worker->cache, tags[i].name, kind, loop_wall(request->worker->loop));
    return arena_printf(&request->arena, "{\"purged\":true,\"by\":\"tag\",\"tags\":%u,\"soft\":%s}\n", count,
                        kind == PURGE_SOFT ? "true" : "false");
}

static struct bytes purge_url(struct request *request, enum purge_kind kind)
{
    request_build_key(request);
    bool found = cache_purge(request->worker->cache, &request->lookup.key, kind, loop_wall(request->worker->loop));
    return arena_printf(&request->arena, "{\"purged\":%s,\"by\":\"url\",\"soft\":%s}\n", found ? "true" : "false",
                        kind == PURGE_SOFT ? "true" : "false");
}

enum step step_purge(struct request *request)
{
    const struct headers *fields = &request->head.fields;
    const struct config_site *site = request->site->config;
    struct tag *tags;
    if (!config_networks_have(&site->purge_allow, &request->peer.any))
        return respond_error(request, ERROR_FORBIDDEN);
    enum purge_kind kind = bytes_equal(headers_value(fields, HEADER_FASTLY_SOFT_PURGE), BYTES("1")) ? PURGE_SOFT : PURGE_HARD;
    unsigned count = tags_requested(fields, &request->arena, &tags);
    struct bytes answer = count > 0 ? purge_tags(request, tags, count, kind) : purge_url(request, kind);
    return request_await_log(request, respond_with(request, 200, "application/json", answer));
}
