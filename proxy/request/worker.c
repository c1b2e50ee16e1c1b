/* A worker's own part: configuration generations and the name we go by. */
#include "proxy/request/life.h"
#include "proxy/net/tls.h"

#include <stdlib.h>

void worker_init(struct worker *worker)
{
    worker->visitor = visitor_new(worker->cache);
    list_init(&worker->requests);
    list_init(&worker->spare);
    list_init(&worker->greetings);
}

void worker_clear(struct worker *worker)
{
    visitor_free(worker->cache, &worker->visitor);
    struct list *spare;
    while ((spare = list_pop_front(&worker->spare)) != NULL) {
        struct request *request = LIST_OWNER(spare, struct request, link);
        arena_free(&request->arena);
        free(request);
    }
    worker->spare_count = 0;
    routes_unref(&worker->routes);
    tls_server_unref(&worker->tls);
    if (worker->config != NULL)
        config_unref(&worker->config);
}

void worker_configure(struct worker *worker, struct config *config)
{
    struct routes *routes = routes_new(worker, config);
    struct config *before = worker->config;
    if (worker->routes != NULL && worker->admin == NULL) /* whose sites have no origins */
        routes_inherit(routes, worker->routes);
    routes_unref(&worker->routes);
    worker->routes = routes;
    worker->config = config_ref(config);
    if (before != NULL)
        config_unref(&before);
}

struct bytes worker_pseudonym(const struct worker *worker)
{
    /* One name an instance: all loops share the cache and thus its random key. */
    static _Thread_local char name[24];
    static _Thread_local int len;
    if (len == 0) {
        struct hash128 hash = hash_bytes(cache_hash_key(worker->cache), BYTES("Via"));
        len = snprintf(name, sizeof name, "outrigger-%08x", (unsigned)hash.low);
    }
    return bytes_from(name, (size_t)len);
}
