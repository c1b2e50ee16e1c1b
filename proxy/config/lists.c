/* See lists.h. What concerns one listener, directory, certificate or site alone is checked here as well, since its place in the text is at hand. */
#include "proxy/config/lists.h"

/* With TLS, HTTP/2 is offered unless it is written that it is not: a client chooses it in the handshake. */
static void read_listener_mapping(struct reading *reading, const struct yaml_node *node, struct config_listener *listener)
{
    bool says_http2 = false;

    mapping_read(reading, SCOPE_LISTENER, BYTES(""), node, listener);
    YAML_FOR_EACH(member, node)
    says_http2 |= bytes_equal(member->key->text, BYTES("http2"));
    listener->http2 |= listener->tls && !says_http2;
}

static void read_listener(struct reading *reading, const struct yaml_node *node)
{
    struct config *config = reading->config;
    struct config_listener *listener = &config->listeners[config->listener_count];
    unsigned errors = reading->report.errors;

    *listener = (struct config_listener){.address = {.length = 0}};
    if (node->kind == YAML_MAPPING)
        read_listener_mapping(reading, node, listener);
    else
        mapping_read_value(reading, setting_find(SCOPE_LISTENER, BYTES("address")), node, listener);
    if (listener->address.length > 0)
        reading->listener_places[config->listener_count++] = node->place;
    else if (reading->report.errors == errors)
        report_error(&reading->report, node->place, "listen: this one has no \"address\"");
}

void list_read_listeners(struct reading *reading, const struct yaml_node *node)
{
    unsigned count = node->kind == YAML_SEQUENCE ? node->count : 1;

    reading->config->listeners = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*reading->config->listeners));
    reading->listener_places = arena_alloc(&reading->scratch, (count + 1) * sizeof(*reading->listener_places));
    if (node->kind != YAML_SEQUENCE) {
        read_listener(reading, node);
        return;
    }
    if (count == 0)
        report_error(&reading->report, node->place, "listen: is an empty list: nobody could connect");
    YAML_FOR_EACH(item, node)
    read_listener(reading, item);
}

/* Takes the next component, leaving out empty ones and "." before it; absent at the end. */
static struct bytes next_component(struct bytes *path)
{
    while (path->len > 0) {
        struct bytes component = bytes_take_until(path, '/');
        if (component.len > 0 && !bytes_equal(component, BYTES(".")))
            return component;
    }
    return BYTES_NONE;
}

/* "/a", "/a/", "/./a": what the supervisor would find when it opens them, and refuse to start. */
static bool is_same_path(const char *a, const char *b)
{
    struct bytes left = bytes_from_string(a), right = bytes_from_string(b), component;
    do {
        component = next_component(&left);
        if (!bytes_equal(component, next_component(&right)))
            return false;
    } while (component.len > 0);
    return true;
}

/* Places have so many bits in the disk tier's index (cache/disk/disk_index.h). */
static bool are_disks_too_large(const struct config *config)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < config->disk_count; i++)
        bytes += config->disks[i].size_bytes;
    return bytes > DISKS_MAX_BYTES;
}

static void read_disk(struct reading *reading, const struct yaml_node *node)
{
    struct config *config = reading->config;
    struct config_disk *disk = &config->disks[config->disk_count];
    unsigned errors = reading->report.errors;

    if (node->kind != YAML_MAPPING) {
        report_error(&reading->report, node->place, "cache.disk: expected a directory with path and size, found %s",
                     yaml_kind_text(node->kind));
        report_hint(&reading->report, "disk: [{path: /var/cache/outrigger, size: 10GiB}]");
        return;
    }
    *disk = (struct config_disk){.path = NULL};
    mapping_read(reading, SCOPE_DISK, BYTES(""), node, disk);
    if (!disk->path && reading->report.errors == errors)
        report_error(&reading->report, node->place, "cache.disk: this one has no \"path\"");
    else if (disk->size_bytes == 0 && reading->report.errors == errors)
        report_error(&reading->report, node->place, "cache.disk: this one has no \"size\"");
    else
        config->disk_count++;
    for (unsigned i = 0; i + 1 < config->disk_count && disk->path; i++)
        if (is_same_path(config->disks[i].path, disk->path))
            report_error(&reading->report, node->place, "cache.disk: %s is listed twice", disk->path);
    if (reading->report.errors == errors && are_disks_too_large(config))
        report_error(&reading->report, node->place,
                     "cache.disk: with this one all directories have more than 8TiB, which is as much as can be used");
}

void list_read_disks(struct reading *reading, const struct yaml_node *node)
{
    unsigned count = node->kind == YAML_SEQUENCE ? node->count : 1;

    if (count > DISKS_MAX) {
        report_error(&reading->report, node->place, "cache.disk: there are %u directories; at most %u can be used", count, DISKS_MAX);
        return;
    }
    reading->config->disks = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*reading->config->disks));
    if (node->kind != YAML_SEQUENCE) {
        read_disk(reading, node);
        return;
    }
    YAML_FOR_EACH(item, node)
    read_disk(reading, item);
}

static void read_certificate(struct reading *reading, const struct yaml_node *node, struct config_site *site)
{
    struct config_certificate *certificate = &site->certificates[site->certificate_count];
    unsigned errors = reading->report.errors;

    *certificate = (struct config_certificate){.certificate = NULL};
    if (node->kind != YAML_MAPPING) {
        report_error(&reading->report, node->place, "tls: expected certificate and key, found %s", yaml_kind_text(node->kind));
        report_hint(&reading->report, "tls: {certificate: /etc/ssl/site.crt, key: /etc/ssl/site.key}");
        return;
    }
    mapping_read(reading, SCOPE_CERTIFICATE, BYTES(""), node, certificate);
    if ((!certificate->certificate || !certificate->key) && reading->report.errors == errors)
        report_error(&reading->report, node->place, "tls: there is no \"%s\"", certificate->certificate ? "key" : "certificate");
    else
        site->certificate_count++;
}

void list_read_certificates(struct reading *reading, const struct yaml_node *node, struct config_site *site)
{
    unsigned count = node->kind == YAML_SEQUENCE ? node->count : 1;

    site->certificates = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*site->certificates));
    if (node->kind != YAML_SEQUENCE) {
        read_certificate(reading, node, site);
        return;
    }
    if (count == 0)
        report_error(&reading->report, node->place, "tls: is an empty list: there is no certificate in it");
    YAML_FOR_EACH(item, node)
    read_certificate(reading, item, site);
}

/* What a connection was asked for decides what it may ask for (proxy/request/step_route.c). */
static void check_client_certificates(struct reading *reading, const struct yaml_node *node, struct config_site *site)
{
    if (site->client_mode == CLIENT_CERTIFICATES_OFF)
        return;
    if (!site->client_ca)
        report_error(&reading->report, node->place, "client_certificates: there is no \"ca\", so none could be verified");
    if (!site->certificates)
        report_error(&reading->report, node->place, "client_certificates: the site has no \"tls\", so none would be asked for");
    site->client_policy = 1469598103934665603u ^ site->client_mode; /* FNV-1a */
    for (const char *at = site->client_ca; at && *at; at++)
        site->client_policy = (site->client_policy ^ (unsigned char)*at) * 1099511628211u;
}

static bool has_https_origin(const struct config_site *site)
{
    for (unsigned i = 0; i < site->origin_count; i++)
        if (site->origins[i].is_https)
            return true;
    return false;
}

/* The system's authorities are read as a file like the others: OpenSSL would look for them in a directory, in the middle of a handshake. */
static void check_origin_tls(struct reading *reading, const struct yaml_node *node, struct config_site *site)
{
    static const char system_authorities[] = "/etc/ssl/certs/ca-certificates.crt";
    struct config_origin_tls *tls = &site->origin_tls;

    if (tls->verify && has_https_origin(site)) {
        tls->authorities = tls->ca ? tls->ca : system_authorities;
        value_note_file(reading, tls->authorities, node->place);
    }

    if (!tls->certificate != !tls->key)
        report_error(&reading->report, node->place, "origin_tls: there is a %s without its %s", tls->key ? "key" : "certificate",
                     tls->key ? "certificate" : "key");
}

static void check_hsts(struct reading *reading, const struct yaml_node *node, struct config_site *site)
{
    enum { YEAR_S = 365 * 24 * 60 * 60 };

    if (site->hsts_max_age_s < 0) {
        if (site->hsts_include_subdomains || site->hsts_preload)
            report_warning(&reading->report, node->place, "hsts: without hsts.max_age nothing is sent");
        return;
    }
    if (site->hsts_preload && (!site->hsts_include_subdomains || site->hsts_max_age_s < YEAR_S))
        report_warning(
            &reading->report, node->place,
            "hsts.preload: the lists of browsers' makers take hosts with hsts.include_subdomains and an hsts.max_age of 365d or more");
    site->hsts_line =
        arena_printf(&reading->config->arena, "Strict-Transport-Security: max-age=%lld%s%s\r\n", (long long)site->hsts_max_age_s,
                     site->hsts_include_subdomains ? "; includeSubDomains" : "", site->hsts_preload ? "; preload" : "");
}

static void add_challenges(struct reading *reading, struct config_site *site)
{
    if (!site->acme_directory)
        return;
    struct config_site *challenges = arena_alloc(&reading->config->arena, sizeof(*challenges));
    struct config_origin *directory = arena_alloc(&reading->config->arena, sizeof(*directory));
    struct bytes url = arena_printf(&reading->config->arena, "files:%s", site->acme_directory);
    *directory = (struct config_origin){.kind = ORIGIN_KIND_FILES, .url = url, .root = site->acme_directory};
    *challenges = *site;
    challenges->origins = directory;
    challenges->origin_count = 1;
    challenges->files_delay_ms = 0;
    challenges->files_max_age_s = -1;
    site->challenges = challenges;
}

/* A site with errors is left out: its host names are claimed all the same. */
static void read_site(struct reading *reading, const struct yaml_node *node)
{
    struct config *config = reading->config;
    struct config_site *site = &config->sites[config->site_count];
    bool has_hosts = false, has_origin = false;

    if (node->kind != YAML_MAPPING) {
        report_error(&reading->report, node->place, "sites: expected a site with hosts and origin, found %s", yaml_kind_text(node->kind));
        return;
    }
    *site = reading->site_defaults;
    mapping_read(reading, SCOPE_SITE, BYTES(""), node, site);
    check_client_certificates(reading, node, site);
    check_origin_tls(reading, node, site);
    check_hsts(reading, node, site);
    add_challenges(reading, site);
    YAML_FOR_EACH(member, node)
    {
        has_hosts |= bytes_equal(member->key->text, BYTES("hosts"));
        has_origin |= bytes_equal(member->key->text, BYTES("origin"));
    }
    if (!has_hosts) {
        report_error(&reading->report, node->place, "this site has no \"hosts\"");
        report_hint(&reading->report, "name them, or write hosts: \"*\" for any");
    }
    if (!has_origin) {
        report_error(&reading->report, node->place, "this site has no \"origin\"");
        report_hint(&reading->report, "origin: http://host:port, or files:/directory");
    }
    config->site_count++;
}

void list_read_sites(struct reading *reading, const struct yaml_node *node)
{
    if (node->kind == YAML_NULL || (node->kind == YAML_SEQUENCE && node->count == 0)) {
        report_error(&reading->report, node->place, "sites: there is none, so nothing would be served");
        return;
    }
    if (node->kind != YAML_SEQUENCE) {
        report_error(&reading->report, node->place, "sites: expected a list of sites, found %s", yaml_kind_text(node->kind));
        report_hint(&reading->report, "begin each site with a dash: \"- hosts: …\"");
        return;
    }
    reading->config->sites = arena_alloc(&reading->config->arena, node->count * sizeof(*reading->config->sites));
    values_set_defaults(reading, SCOPE_SITE, &reading->site_defaults);
    YAML_FOR_EACH(item, node)
    read_site(reading, item);
}
