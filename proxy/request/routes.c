/* Host → site. Built once a reload on each loop; a lookup is one hash and one comparison. */
#include "proxy/request/routes.h"

#include "proxy/origin/origin_tls.h"

#include <stdlib.h>

struct route {
    struct bytes host; /* lower case; of a wildcard: with its leading dot */
    struct site *site;
};

enum { HOST_MAX_BYTES = 255 }; /* RFC 1035 §2.3.4 */

static unsigned host_hash(struct bytes host)
{
    uint32_t hash = 2166136261u; /* FNV-1a: the names are the operator's own, nobody aims at this table */
    for (size_t i = 0; i < host.len; i++)
        hash = (hash ^ (unsigned char)host.at[i]) * 16777619u;
    return hash;
}

static void routes_add_exact(struct routes *routes, struct bytes host, struct site *site)
{
    unsigned slot = host_hash(host) & routes->exact_mask;
    while (routes->exact[slot].site != NULL)
        slot = (slot + 1) & routes->exact_mask;
    routes->exact[slot] = (struct route){host, site};
}

/* Keeps the longest suffix first, so that the first match is the most specific. */
static void routes_add_wildcard(struct routes *routes, struct bytes suffix, struct site *site)
{
    unsigned at = routes->wildcard_count++;
    for (; at > 0 && routes->wildcards[at - 1].host.len < suffix.len; at--)
        routes->wildcards[at] = routes->wildcards[at - 1];
    routes->wildcards[at] = (struct route){suffix, site};
}

static struct rule_names names_of(const struct config_names *names)
{
    return (struct rule_names){.at = names->at, .count = names->count};
}

static void site_init(struct site *site, struct worker *worker, struct config *config, const struct config_site *from)
{
    const struct origin_context context = {
        .loop = worker->loop,
        .disk = worker->disk,
        .resolver = worker->resolver,
        .counters = worker->counters,
        .tls = worker->origin_tls != NULL ? origin_tls_client(worker->origin_tls, (unsigned)(from - config->sites)) : NULL,
    };
    site->config = from;
    site->rules = (struct site_rules){
        .honour_request_directives = from->honour_request_directives,
        .store_set_cookie = from->store_set_cookie,
        .strip_tags = from->strip_tags,
        .early_hints = from->early_hints,
        .hide_hsts = from->hsts_line.at != NULL,
        .slice_bytes = from->slice_bytes < config->cache_object_max_bytes ? from->slice_bytes : config->cache_object_max_bytes,
        .heuristic_max_s = from->heuristic_max_s,
        .grace_s = from->grace_s,
        .hit_for_miss_s = from->hit_for_miss_s,
        .targeted = names_of(&from->targeted),
        .surrogate_control = from->surrogate_control,
        .accel_expires = from->accel_expires,
        .query = {.ignore = names_of(&from->query_ignore),
                  .keep = names_of(&from->query_keep),
                  .keeps_only = from->query_keep.at != NULL,
                  .sort = from->query_sort},
        .bypass_cookies = names_of(&from->bypass_cookies),
        .key_cookies = names_of(&from->key_cookies),
        .errors = from->errors,
        .error_count = from->error_count,
    };
    /* The admin interface's loop serves no site: origins there would only ask for names in vain. */
    site->origin = worker->admin == NULL ? origin_new(&context, config, from) : NULL;
    if (worker->admin == NULL && from->challenges != NULL)
        site->challenges = origin_new(&context, config, from->challenges);
}

static void site_add_hosts(struct routes *routes, struct site *site)
{
    for (unsigned h = 0; h < site->config->host_count; h++) {
        struct bytes host = site->config->hosts[h];
        if (bytes_equal(host, BYTES("*")))
            routes->any = site;
        else if (bytes_starts_with(host, BYTES("*.")))
            routes_add_wildcard(routes, bytes_from(host.at + 1, host.len - 1), site);
        else
            routes_add_exact(routes, host, site);
    }
}

struct routes *routes_new(struct worker *worker, struct config *config)
{
    struct routes *routes = calloc(1, sizeof *routes);
    unsigned hosts = 0;
    unsigned sites = config->site_count;
    for (unsigned s = 0; s < sites; s++)
        hosts += config->sites[s].host_count;
    unsigned slots = 8;
    while (slots < hosts * 2)
        slots *= 2;
    routes->references = 1;
    routes->config = config_ref(config);
    routes->site_count = sites;
    routes->sites = calloc(sites + 1, sizeof *routes->sites);
    routes->exact = calloc(slots, sizeof *routes->exact);
    routes->exact_mask = slots - 1;
    routes->wildcards = calloc(hosts + 1, sizeof *routes->wildcards);
    for (unsigned s = 0; s < sites; s++) {
        site_init(&routes->sites[s], worker, config, &config->sites[s]);
        site_add_hosts(routes, &routes->sites[s]);
    }
    return routes;
}

void routes_inherit(struct routes *routes, const struct routes *before)
{
    for (unsigned s = 0; s < routes->site_count; s++)
        for (unsigned b = 0; b < before->site_count; b++)
            origin_inherit(routes->sites[s].origin, before->sites[b].origin);
}

struct routes *routes_ref(struct routes *routes)
{
    routes->references++;
    return routes;
}

void routes_unref(struct routes **pointer)
{
    struct routes *routes = *pointer;
    *pointer = NULL;
    if (routes == NULL || --routes->references > 0)
        return;
    for (unsigned s = 0; s < routes->site_count; s++) {
        if (routes->sites[s].origin != NULL)
            origin_retire(&routes->sites[s].origin);
        if (routes->sites[s].challenges != NULL)
            origin_retire(&routes->sites[s].challenges);
    }
    free(routes->sites);
    free(routes->exact);
    free(routes->wildcards);
    config_unref(&routes->config);
    free(routes);
}

/* Lower case, without port and trailing dot; an IPv6 literal keeps its brackets. */
static struct bytes host_canonical(struct bytes host, char buffer[HOST_MAX_BYTES])
{
    size_t len = host.len;
    if (len > 0 && host.at[0] == '[') {
        size_t bracket = bytes_find(host, ']');
        len = bracket < host.len ? bracket + 1 : host.len;
    } else {
        len = bytes_find(host, ':');
    }
    if (len > 0 && host.at[len - 1] == '.')
        len--;
    if (len > HOST_MAX_BYTES)
        return BYTES_NONE;
    for (size_t i = 0; i < len; i++)
        buffer[i] = byte_lower(host.at[i]);
    return bytes_from(buffer, len);
}

static const struct site *find_site(const struct routes *routes, struct bytes host)
{
    char buffer[HOST_MAX_BYTES];
    struct bytes name = host_canonical(host, buffer);
    for (unsigned slot = host_hash(name) & routes->exact_mask; routes->exact[slot].site != NULL; slot = (slot + 1) & routes->exact_mask)
        if (bytes_equal(routes->exact[slot].host, name))
            return routes->exact[slot].site;
    for (unsigned w = 0; w < routes->wildcard_count; w++)
        if (name.len > routes->wildcards[w].host.len && bytes_ends_with(name, routes->wildcards[w].host))
            return routes->wildcards[w].site;
    return routes->any;
}

/* One site's requests come one after the other: the name asked for last, as it was spelled, needs no search. */
const struct site *routes_find(struct routes *routes, struct bytes host)
{
    if (routes->last.site != NULL && bytes_equal(bytes_from(routes->last.host, routes->last.host_len), host))
        return routes->last.site;
    const struct site *site = find_site(routes, host);
    if (host.len <= sizeof routes->last.host) {
        bytes_put(routes->last.host, host);
        routes->last.host_len = (unsigned)host.len;
        routes->last.site = site;
    }
    return site;
}
