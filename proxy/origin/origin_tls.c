/* See origin_tls.h. Sites with the same settings share a context: one copy of the authorities, and sessions (which are kept by server name) as well. */
#include "proxy/origin/origin_tls.h"

#include <stdlib.h>

struct origin_tls {
    unsigned count;
    struct tls_client *clients[]; /* by site; references */
};

static bool has_https(const struct config_site *site)
{
    for (unsigned i = 0; i < site->origin_count; i++)
        if (site->origins[i].is_https)
            return true;
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_settings(const struct config_origin_tls *a, const struct config_origin_tls *b)
{
    return a->verify == b->verify && same_text(a->authorities, b->authorities) && same_text(a->certificate, b->certificate) &&
           same_text(a->key, b->key);
}

static struct tls_material material(const struct config *config, const char *path)
{
    const struct config_file *file = path ? config_file(config, path) : NULL;
    return file ? (struct tls_material){.content = file->content, .about = file} : (struct tls_material){.content = BYTES_NONE};
}

static struct tls_client *client_new(const struct config *config, const struct config_origin_tls *from, tls_reporter *report, void *context)
{
    const struct tls_client_settings settings = {
        .verify = from->verify,
        .ca = material(config, from->authorities),
        .certificate = material(config, from->certificate),
        .key = material(config, from->key),
        .alpn = BYTES("\x08http/1.1"),
    };
    return tls_client_new(&settings, report, context);
}

/* Of a site before it with the same settings, or NULL. */
static struct tls_client *find_equal(const struct origin_tls *tls, const struct config *config, unsigned site)
{
    for (unsigned i = 0; i < site; i++)
        if (tls->clients[i] && same_settings(&config->sites[i].origin_tls, &config->sites[site].origin_tls))
            return tls->clients[i];
    return NULL;
}

struct origin_tls *origin_tls_new(const struct config *config, tls_reporter *report, void *context)
{
    struct origin_tls *tls = calloc(1, sizeof(*tls) + config->site_count * sizeof(struct tls_client *));
    bool is_good = true;
    if (!tls)
        abort();
    tls->count = config->site_count;
    for (unsigned i = 0; i < tls->count; i++) {
        if (!has_https(&config->sites[i]))
            continue;
        struct tls_client *equal = find_equal(tls, config, i);
        tls->clients[i] = equal ? tls_client_ref(equal) : client_new(config, &config->sites[i].origin_tls, report, context);
        is_good = is_good && tls->clients[i];
    }
    if (!is_good)
        origin_tls_free(&tls);
    return tls;
}

void origin_tls_free(struct origin_tls **pointer)
{
    struct origin_tls *tls = *pointer;
    *pointer = NULL;
    for (unsigned i = 0; tls && i < tls->count; i++)
        tls_client_unref(&tls->clients[i]);
    free(tls);
}

struct tls_client *origin_tls_client(const struct origin_tls *tls, unsigned site)
{
    return tls->clients[site];
}
