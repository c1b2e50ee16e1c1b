/* PURGE of one URL with all its variants, from addresses that the site allows. */
#include "proxy/request/life.h"

enum step step_purge(struct request *request)
{
    const struct config_site *site = request->site->config;
    if (!config_network_has(site->purge_allow, site->purge_allow_count, &request->peer.any))
        return respond_error(request, ERROR_FORBIDDEN);
    request_build_key(request);
    bool found = cache_purge(request->worker->cache, &request->lookup.key);
    return respond_with(request, 200, "application/json", found ? BYTES("{\"purged\":true}\n") : BYTES("{\"purged\":false}\n"));
}
