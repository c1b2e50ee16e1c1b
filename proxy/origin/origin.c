/* See origin.h. */
#include "proxy/net/tls.h"
#include "proxy/origin/fetch.h"

#include <assert.h>
#include <stdlib.h>

/* A pool of its own: a connection made by some TLS settings, to a server of some name, is never used by others. */
static void begin_backend(struct origin *origin, struct backend *backend)
{
    const struct config_site *site = origin->site;
    const struct config_origin *config = backend->config;
    backend->pool = (struct pool_settings){
        .loop = origin->context.loop,
        .counters = origin->context.counters,
        .limit = site->pool_connections,
        .idle_ms = site->pool_idle_ms,
    };
    if (config->is_https) {
        assert(origin->tls); /* never in plaintext instead */
        backend->pool.tls = origin->tls;
        backend->pool.tls_name = site->origin_tls.name.at != NULL ? site->origin_tls.name : config->host;
    }
    addresses_init(&backend->addresses, &backend->pool, &origin->addresses, config->host, config->port);
}

struct origin *origin_new(const struct origin_context *context, struct config *config, const struct config_site *site)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    if (!origin)
        abort();
    origin->context = *context;
    origin->config = config_ref(config);
    origin->site = site;
    if (context->tls)
        origin->tls = tls_client_ref(context->tls);
    origin->addresses = (struct addresses_settings){
        .resolver = context->resolver,
        .ttl_min_s = config->resolver_ttl_min_s,
        .ttl_max_s = config->resolver_ttl_max_s,
        .failure_ttl_s = config->resolver_failure_ttl_s,
    };
    origin->backend_count = site->origin_count;
    origin->backends = calloc(site->origin_count, sizeof(*origin->backends));
    origin->healths = calloc(site->origin_count, sizeof(struct health *));
    if (!origin->backends || !origin->healths)
        abort();
    /* Loops begin their rounds at different origins. */
    origin->cursor = loop_number(context->loop);
    for (unsigned i = 0; i < site->origin_count; i++) {
        struct backend *backend = &origin->backends[i];
        backend->config = &site->origins[i];
        origin->healths[i] = &backend->health;
        if (backend->config->kind == ORIGIN_KIND_HTTP)
            begin_backend(origin, backend);
    }
    return origin;
}

/* They go on being counted. */
static void inherit_figures(struct origin *origin, struct backend *backend, const struct origin *before, const struct backend *other)
{
    if (bytes_equal(origin->site->hosts[0], before->site->hosts[0]) && bytes_equal(backend->config->url, other->config->url))
        memcpy(backend->figures, other->figures, sizeof(backend->figures));
}

void origin_inherit(struct origin *origin, const struct origin *before)
{
    for (unsigned i = 0; i < origin->backend_count; i++)
        for (unsigned j = 0; j < before->backend_count; j++) {
            inherit_figures(origin, &origin->backends[i], before, &before->backends[j]);
            if (origin->backends[i].config->kind == ORIGIN_KIND_HTTP && before->backends[j].config->kind == ORIGIN_KIND_HTTP)
                addresses_inherit(&origin->backends[i].addresses, &before->backends[j].addresses);
        }
}

static void free_when_unused(struct origin *origin)
{
    if (!origin->retired || origin->fetches > 0)
        return;
    for (unsigned i = 0; i < origin->backend_count; i++)
        if (origin->backends[i].config->kind == ORIGIN_KIND_HTTP)
            addresses_clear(&origin->backends[i].addresses);
    tls_client_unref(&origin->tls);
    config_unref(&origin->config);
    free(origin->healths);
    free(origin->backends);
    free(origin);
}

void origin_retire(struct origin **at)
{
    struct origin *origin = *at;
    *at = NULL;
    origin->retired = true;
    for (unsigned i = 0; i < origin->backend_count; i++) {
        origin->backends[i].pool.closed = true;
        if (origin->backends[i].config->kind == ORIGIN_KIND_HTTP)
            addresses_retire(&origin->backends[i].addresses);
    }
    free_when_unused(origin);
}

void origin_fetch_gone(struct origin *origin)
{
    origin->fetches--;
    free_when_unused(origin);
}

struct fetch *origin_fetch(struct origin *origin, const struct fetch_request *request, struct fill *fill, const struct fetch_events *events)
{
    struct fetch *fetch = fetch_new(origin, request, fill, events);
    fetch_hold(fetch);
    fetch->inside = true;
    fetch_next_backend(fetch);
    fetch->inside = false;
    fetch_unhold(fetch);
    return fetch;
}

void origin_stats(const struct origin *origin, struct origin_stats *stats)
{
    *stats = (struct origin_stats){.fetches = origin->fetches};
    struct monotonic_ms now = loop_now(origin->context.loop);
    for (unsigned i = 0; i < origin->backend_count; i++) {
        const struct addresses *addresses = &origin->backends[i].addresses;
        stats->connections_idle += origin->backends[i].pool.idle;
        stats->connections_busy += origin->backends[i].pool.busy;
        stats->addresses += addresses->count;
        for (unsigned j = 0; j < addresses->count; j++)
            stats->addresses_down += health_is_down(&addresses->endpoints[j]->health, now);
    }
}

static bool is_down(const struct backend *backend, struct monotonic_ms now)
{
    const struct addresses *addresses = &backend->addresses;
    unsigned down = 0;
    for (unsigned i = 0; i < addresses->count; i++)
        down += health_is_down(&addresses->endpoints[i]->health, now);
    return health_is_down(&backend->health, now) || (down > 0 && down == addresses->count);
}

void origin_figures(const struct origin *origin, unsigned number, uint64_t out[ORIGIN_FIGURES])
{
    const struct backend *backend = &origin->backends[number];
    memcpy(out, backend->figures, sizeof(backend->figures));
    out[ORIGIN_ACTIVE] = backend->pool.busy;
    out[ORIGIN_IDLE] = backend->pool.idle;
    out[ORIGIN_DOWN] = is_down(backend, loop_now(origin->context.loop));
}
