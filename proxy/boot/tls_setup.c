/* See tls_setup.h. */
#include "proxy/boot/tls_setup.h"

#include "base/arena.h"
#include "base/log.h"

/* Where complaints go. */
struct complaints {
    const struct config *config;
    struct report *report; /* NULL: the supervisor has printed them */
};

static void complain(void *context, enum log_level level, const void *about, const char *text)
{
    const struct complaints *complaints = context;
    const struct config_file *file = about;
    static const struct place nowhere = {0, 0};
    if (!complaints->report)
        return;
    struct place place = file ? file->place : nowhere;
    if (level == LOG_LEVEL_ERROR)
        report_error(complaints->report, place, "%s%s%s", file ? file->path : "", file ? ": " : "", text);
    else
        report_warning(complaints->report, place, "%s%s%s", file ? file->path : "", file ? ": " : "", text);
}

static struct tls_material material_of(const struct config *config, const char *path)
{
    const struct config_file *file = path ? config_file(config, path) : NULL;
    return file ? (struct tls_material){file->content, file} : (struct tls_material){BYTES_NONE, NULL};
}

static bool is_needed(const struct config *config)
{
    for (unsigned i = 0; i < config->listener_count; i++)
        if (config->listeners[i].tls)
            return true;
    return false;
}

static struct tls_certificate_settings *certificates_of(const struct config *config, const struct config_site *site, struct arena *arena)
{
    struct tls_certificate_settings *settings = arena_alloc(arena, (site->certificate_count + 1) * sizeof(*settings));
    for (unsigned i = 0; i < site->certificate_count; i++) {
        const struct config_certificate *from = &site->certificates[i];
        settings[i] = (struct tls_certificate_settings){
            .certificate = material_of(config, from->certificate),
            .key = material_of(config, from->key),
            .ocsp = material_of(config, from->ocsp),
        };
    }
    return settings;
}

static struct tls_site_settings site_of(const struct config *config, const struct config_site *site, struct arena *arena)
{
    static const enum tls_client_mode modes[] = {
        [CLIENT_CERTIFICATES_OFF] = TLS_CLIENT_OFF,
        [CLIENT_CERTIFICATES_REQUEST] = TLS_CLIENT_REQUEST,
        [CLIENT_CERTIFICATES_REQUIRE] = TLS_CLIENT_REQUIRE,
    };
    return (struct tls_site_settings){
        .names = site->hosts,
        .name_count = site->host_count,
        .certificates = certificates_of(config, site, arena),
        .certificate_count = site->certificate_count,
        .client_mode = modes[site->client_mode],
        .client_ca = material_of(config, site->client_ca),
        .client_policy = site->client_policy,
    };
}

/* NULL: there are none, or (*good is false) their file is wrong. A reference. */
static struct tls_tickets *tickets_of(const struct config *config, struct tls_tickets *made, struct complaints *complaints, bool *good)
{
    *good = true;
    if (strcmp(config->tls_tickets, "off") == 0)
        return NULL;
    if (strcmp(config->tls_tickets, "on") == 0)
        return made ? tls_tickets_ref(made) : NULL;
    const struct config_file *file = config_file(config, config->tls_tickets);
    struct tls_tickets *given = tls_tickets_from(file->content);
    *good = given != NULL;
    if (!given)
        complain(complaints, LOG_LEVEL_ERROR, file, "has no ticket keys: 1 to 16 of them, of 80 bytes each, are needed (openssl rand 80)");
    return given;
}

static struct tls_server *make(const struct config *config, struct tls_tickets *made, struct complaints *complaints)
{
    struct arena arena;
    bool good;
    struct tls_tickets *tickets = tickets_of(config, made, complaints, &good);
    arena_init(&arena);
    struct tls_site_settings *sites = arena_alloc(&arena, (config->site_count + 1) * sizeof(*sites));
    struct tls_server_settings settings = {
        .sites = sites,
        .needs_13 = config->tls_min_version == TLS_VERSION_13,
        .strict = config->tls_strict_sni,
        .ciphers = config->tls_ciphers,
        .ciphersuites = config->tls_ciphersuites,
        .groups = config->tls_groups,
        .tickets = tickets,
    };
    for (unsigned i = 0; i < config->site_count; i++)
        if (config->sites[i].certificate_count > 0)
            sites[settings.site_count++] = site_of(config, &config->sites[i], &arena);
    struct tls_server *server = good ? tls_server_new(&settings, complain, complaints) : NULL;
    tls_tickets_unref(&tickets);
    arena_free(&arena);
    return server;
}

bool tls_setup_check(const struct config *config, struct bytes text, FILE *errors)
{
    struct arena arena;
    struct report report;
    struct complaints complaints = {config, &report};
    arena_init(&arena);
    report_init(&report, &arena, config->name, text);
    struct tls_server *server = is_needed(config) ? make(config, NULL, &complaints) : NULL;
    struct origin_tls *origins = origin_tls_new(config, complain, &complaints);
    bool good = origins && (server || !is_needed(config));
    tls_server_unref(&server);
    origin_tls_free(&origins);
    report_print(&report, errors);
    arena_free(&arena);
    return good;
}

struct tls_server *tls_setup_server(const struct config *config, struct tls_tickets *made)
{
    struct complaints complaints = {config, NULL};
    return is_needed(config) ? make(config, made, &complaints) : NULL;
}

struct origin_tls *tls_setup_origins(const struct config *config)
{
    struct complaints complaints = {config, NULL};
    return origin_tls_new(config, complain, &complaints);
}
