/* DESIGN. text → yaml.c → a tree of nodes with their places → this file walks it beside the table of settings → values.c reads each value into its field →
 * checks that concern several values → a finished, immutable struct config. Nothing stops at an error: they are all collected (report.c) and printed at the end
 * in the order of the text. Only broken YAML ends the reading early, since there is no tree. */
#include "proxy/config/config.h"
#include "proxy/config/address.h"
#include "proxy/config/advice.h"
#include "proxy/config/print.h"
#include "proxy/config/units.h"
#include "proxy/config/values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A configuration of thousands of sites has a few hundred kilobytes. */
enum { CONFIG_TEXT_MAX = 1024 * 1024 };

static void read_mapping(struct reading *reading, enum setting_scope scope, struct bytes prefix, const struct yaml_node *mapping,
                         void *owner);

static void read_value(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner)
{
    value_note_written(reading, setting, node, owner);
    value_read(reading, setting, node, owner);
}

/* ---- listeners and sites ---- */

/* With TLS, HTTP/2 is offered unless it is written that it is not: a client chooses it in the handshake. */
static void read_listener_mapping(struct reading *reading, const struct yaml_node *node, struct config_listener *listener)
{
    bool says_http2 = false;

    read_mapping(reading, SCOPE_LISTENER, BYTES(""), node, listener);
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
        read_value(reading, setting_find(SCOPE_LISTENER, BYTES("address")), node, listener);
    if (listener->address.length > 0)
        reading->listener_places[config->listener_count++] = node->place;
    else if (reading->report.errors == errors)
        report_error(&reading->report, node->place, "listen: this one has no \"address\"");
}

static void read_listeners(struct reading *reading, const struct yaml_node *node)
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
    read_mapping(reading, SCOPE_DISK, BYTES(""), node, disk);
    if (!disk->path && reading->report.errors == errors)
        report_error(&reading->report, node->place, "cache.disk: this one has no \"path\"");
    else if (disk->size_bytes == 0 && reading->report.errors == errors)
        report_error(&reading->report, node->place, "cache.disk: this one has no \"size\"");
    else
        config->disk_count++;
    for (unsigned i = 0; i + 1 < config->disk_count && disk->path; i++)
        if (strcmp(config->disks[i].path, disk->path) == 0)
            report_error(&reading->report, node->place, "cache.disk: %s is listed twice", disk->path);
}

static void read_disks(struct reading *reading, const struct yaml_node *node)
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
    read_mapping(reading, SCOPE_CERTIFICATE, BYTES(""), node, certificate);
    if ((!certificate->certificate || !certificate->key) && reading->report.errors == errors)
        report_error(&reading->report, node->place, "tls: there is no \"%s\"", certificate->certificate ? "key" : "certificate");
    else
        site->certificate_count++;
}

static void read_certificates(struct reading *reading, const struct yaml_node *node, struct config_site *site)
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
    read_mapping(reading, SCOPE_SITE, BYTES(""), node, site);
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

static void read_sites(struct reading *reading, const struct yaml_node *node)
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

/* ---- mappings ---- */

static const char *scope_text(enum setting_scope scope)
{
    static const char *const texts[] = {[SCOPE_ROOT] = "the top of the file",
                                        [SCOPE_LISTENER] = "an item of listen",
                                        [SCOPE_DISK] = "an item of cache.disk",
                                        [SCOPE_CERTIFICATE] = "tls of a site",
                                        [SCOPE_SITE] = "a site"};

    return texts[scope];
}

/* "workers, user, listen, …" */
static struct bytes list_keys(struct reading *reading, enum setting_scope scope, struct bytes prefix)
{
    struct bytes list = BYTES_NONE;

    for (unsigned i = 0; i < settings_count; i++) {
        if (settings[i].scope == scope && settings[i].type != VALUE_UNSUPPORTED && bytes_equal(setting_prefix(&settings[i]), prefix))
            list = arena_printf(&reading->scratch, "%.*s%s%.*s", BYTES_FMT(list), list.len > 0 ? ", " : "",
                                BYTES_FMT(setting_key(&settings[i])));
    }
    return list;
}

/* Where a key that is unknown here would be right, or which ones are. */
static void hint_at_keys(struct reading *reading, enum setting_scope scope, struct bytes prefix, struct bytes key)
{
    struct report *report = &reading->report;
    const struct setting *dotted = setting_find(scope, key), *elsewhere = setting_elsewhere(key);

    if (dotted)
        report_hint(report, "write \"%.*s: {%.*s: …}\"", (int)setting_prefix(dotted).len - 1, key.at, BYTES_FMT(setting_key(dotted)));
    else if (elsewhere && setting_prefix(elsewhere).len > 0)
        report_hint(report, "\"%.*s\" belongs in \"%.*s\" of %s", BYTES_FMT(key), (int)setting_prefix(elsewhere).len - 1,
                    elsewhere->path.at, scope_text(elsewhere->scope));
    else if (elsewhere)
        report_hint(report, "\"%.*s\" belongs in %s", BYTES_FMT(key), scope_text(elsewhere->scope));
    else
        report_hint(report, "the keys here are %.*s", BYTES_FMT(list_keys(reading, scope, prefix)));
}

static void report_unknown_key(struct reading *reading, enum setting_scope scope, struct bytes prefix, const struct yaml_node *key)
{
    struct report *report = &reading->report;
    bool is_full = report_is_full(report);
    struct bytes shown = report_shown(key->text);
    const struct setting *meant = is_full ? NULL : setting_suggest(scope, prefix, key->text);

    if (meant)
        report_error(report, key->place, "unknown key \"%.*s\"; did you mean \"%.*s\"?", BYTES_FMT(shown), BYTES_FMT(setting_key(meant)));
    else if (prefix.len > 0)
        report_error(report, key->place, "unknown key \"%.*s\" in \"%.*s\"", BYTES_FMT(shown), (int)prefix.len - 1, prefix.at);
    else
        report_error(report, key->place, "unknown key \"%.*s\"", BYTES_FMT(shown));
    if (!meant && !is_full)
        hint_at_keys(reading, scope, prefix, key->text);
}

static void read_section(struct reading *reading, const struct setting *section, const struct yaml_node *node, void *owner)
{
    const char *shorthand = section->standard;

    if (node->kind == YAML_MAPPING) {
        struct bytes prefix = arena_printf(&reading->scratch, "%.*s.", BYTES_FMT(section->path));
        read_mapping(reading, section->scope, prefix, node, owner);
    } else if (shorthand && node->kind != YAML_NULL) {
        read_value(reading, setting_find(section->scope, bytes_from_string(shorthand)), node, owner);
    } else if (node->kind != YAML_NULL) {
        /* With nothing behind it, it is a section whose settings are all commented out. */
        report_error(&reading->report, node->place, "%.*s: expected a mapping, found %s", BYTES_FMT(section->path),
                     yaml_kind_text(node->kind));
    }
}

static void read_member(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner)
{
    if (setting->scope == SCOPE_ROOT)
        reading->given[setting_index(setting)] = node;
    switch (setting->type) {
    case VALUE_SECTION:
        read_section(reading, setting, node, owner);
        return;
    case VALUE_UNSUPPORTED:
        report_error(&reading->report, node->key->place, "\"%.*s\" is not supported by this version", BYTES_FMT(setting->path));
        report_hint(&reading->report, "%s", setting->help);
        return;
    case VALUE_LISTENERS:
        read_listeners(reading, node);
        return;
    case VALUE_DISKS:
        read_disks(reading, node);
        return;
    case VALUE_CERTIFICATES:
        read_certificates(reading, node, owner);
        return;
    case VALUE_SITES:
        read_sites(reading, node);
        return;
    default:
        read_value(reading, setting, node, owner);
    }
}

/* The setting of this section whose key is `key`, or NULL. A dot would reach into another section. */
static const struct setting *find_member(enum setting_scope scope, struct bytes prefix, struct bytes key)
{
    char path[64];

    if (prefix.len + key.len > sizeof(path) || bytes_find(key, '.') < key.len)
        return NULL;
    memcpy(path, prefix.at, prefix.len);
    memcpy(path + prefix.len, key.at, key.len);
    return setting_find(scope, bytes_from(path, prefix.len + key.len));
}

static void read_mapping(struct reading *reading, enum setting_scope scope, struct bytes prefix, const struct yaml_node *mapping,
                         void *owner)
{
    const struct yaml_node *seen[SETTINGS_MAX] = {NULL};

    YAML_FOR_EACH(member, mapping)
    {
        const struct setting *setting = find_member(scope, prefix, member->key->text);
        if (!setting) {
            report_unknown_key(reading, scope, prefix, member->key);
            continue;
        }
        const struct yaml_node **before = &seen[setting_index(setting)];
        if (*before) {
            report_error(&reading->report, member->key->place, "duplicate key \"%.*s\"; it is already on line %u",
                         BYTES_FMT(member->key->text), report_line(&reading->report, (*before)->key->place));
            continue;
        }
        *before = member;
        read_member(reading, setting, member, owner);
    }
}

/* ---- checks that concern several values ---- */

static int claim_compare(const void *a, const void *b)
{
    const struct host_claim *left = a, *right = b;
    size_t shared = left->host.len < right->host.len ? left->host.len : right->host.len;
    int order = memcmp(left->host.at, right->host.at, shared);

    if (order == 0 && left->host.len != right->host.len)
        order = left->host.len < right->host.len ? -1 : 1;
    if (order == 0)
        order = left->place.offset < right->place.offset ? -1 : left->place.offset > right->place.offset;
    return order;
}

static void check_hosts(struct reading *reading)
{
    if (reading->claim_count > 1)
        qsort(reading->claims, reading->claim_count, sizeof(*reading->claims), claim_compare);
    for (unsigned i = 1, first = 0; i < reading->claim_count; i++) {
        const struct host_claim *claim = &reading->claims[i];
        if (!bytes_equal(claim->host, reading->claims[first].host))
            first = i;
        else if (!report_is_full(&reading->report))
            report_error(&reading->report, claim->place, "host \"%.*s\" is already on line %u; a host belongs to one site",
                         BYTES_FMT(report_shown(claim->host)), report_line(&reading->report, reading->claims[first].place));
    }
}

static void check_certificates(struct reading *reading)
{
    const struct config *config = reading->config;
    unsigned certificates = 0;

    for (unsigned i = 0; i < config->site_count; i++)
        certificates += config->sites[i].certificate_count;
    for (unsigned i = 0; i < config->listener_count && certificates == 0 && reading->report.errors == 0; i++)
        if (config->listeners[i].tls)
            report_error(&reading->report, reading->listener_places[i], "listen: this one has tls, but no site has a certificate");
}

static const struct yaml_node *given(const struct reading *reading, struct bytes path)
{
    return reading->given[setting_index(setting_find(SCOPE_ROOT, path))];
}

static void check_proxy_protocol(struct reading *reading)
{
    const struct config *config = reading->config;

    for (unsigned i = 0; i < config->listener_count; i++) {
        if (!config->listeners[i].proxy_protocol || config->trusted_proxies.count > 0)
            continue;
        report_error(&reading->report, reading->listener_places[i], "listen: proxy_protocol without trusted_proxies: nobody could connect");
        report_hint(&reading->report, "trusted_proxies: [the addresses of the proxies in front of this server]");
        return;
    }
}

static void check_listeners(struct reading *reading)
{
    struct config *config = reading->config;

    for (unsigned i = 0; i < config->listener_count && given(reading, BYTES("listen")); i++) {
        for (unsigned k = 0; k < i; k++) {
            if (!address_overlaps(&config->listeners[i].address, &config->listeners[k].address))
                continue;
            report_error(&reading->report, reading->listener_places[i], "listen: this address is taken by the one on line %u",
                         report_line(&reading->report, reading->listener_places[k]));
            break;
        }
    }
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct yaml_node *admin = given(reading, BYTES("admin.listen"));
        if (!address_overlaps(&config->listeners[i].address, &config->admin_listen))
            continue;
        report_error(&reading->report, admin ? admin->place : reading->listener_places[i],
                     "admin.listen and listen are on one address, %.*s", BYTES_FMT(config->admin_listen.text));
        report_hint(&reading->report, "give admin.listen another port, or off");
        return;
    }
}

/* What may take no more than a quarter of the memory: else a few of them are all that is in it. */
static void limit_to_quarter(struct reading *reading, struct bytes path, uint64_t *bytes)
{
    uint64_t quarter = reading->config->cache_memory_bytes / 4;
    const struct yaml_node *written = given(reading, path);

    if (*bytes <= quarter)
        return;
    if (written) {
        char shown[UNIT_TEXT_MAX];
        size_format(quarter, shown);
        report_warning(&reading->report, written->place, "%.*s: lowered to a quarter of cache.memory, %s", BYTES_FMT(path), shown);
    }
    *bytes = quarter;
}

static void check_cache(struct reading *reading)
{
    limit_to_quarter(reading, BYTES("cache.object_max"), &reading->config->cache_object_max_bytes);
    limit_to_quarter(reading, BYTES("disk.queue"), &reading->config->disk_queue_bytes);
}

static void check_resolver(struct reading *reading)
{
    const struct config *config = reading->config;
    const struct yaml_node *least = given(reading, BYTES("resolver.ttl_min")), *most = given(reading, BYTES("resolver.ttl_max"));

    if (config->resolver_ttl_min_s > config->resolver_ttl_max_s && (least || most))
        report_error(&reading->report, (least ? least : most)->place, "resolver.ttl_min is more than resolver.ttl_max");
}

static void check_logs(struct reading *reading)
{
    const struct yaml_node *format = given(reading, BYTES("access_log.format"));

    if (format && reading->config->access_log_json && !reading->config->access_log)
        report_warning(&reading->report, format->place, "access_log.format: without access_log.path nothing is logged");
}

/* ---- the whole ---- */

static void read_document(struct reading *reading)
{
    const struct yaml_node *root = yaml_parse(&reading->report);

    if (!root)
        return;
    values_set_defaults(reading, SCOPE_ROOT, reading->config);
    if (root->kind == YAML_MAPPING)
        read_mapping(reading, SCOPE_ROOT, BYTES(""), root, reading->config);
    else if (root->kind != YAML_NULL)
        report_error(&reading->report, root->place, "expected settings (\"key: value\", with a space), found %s",
                     yaml_kind_text(root->kind));
    if (!given(reading, BYTES("listen")))
        read_listeners(reading, value_default(reading, setting_find(SCOPE_ROOT, BYTES("listen"))));
    if (root->kind == YAML_NULL || (root->kind == YAML_MAPPING && !given(reading, BYTES("sites")))) {
        report_error(&reading->report, (struct place){0, 0}, "there is no \"sites\", so nothing would be served");
        report_hint(&reading->report, "sites: [{hosts: \"*\", origin: http://127.0.0.1:3000}]");
    }
    check_hosts(reading);
    check_listeners(reading);
    check_certificates(reading);
    check_proxy_protocol(reading);
    check_cache(reading);
    check_resolver(reading);
    check_logs(reading);
}

static struct config *config_new(struct bytes name)
{
    struct config *config = calloc(1, sizeof(*config));

    if (!config)
        abort();
    ref_init(&config->ref);
    arena_init(&config->arena);
    config->name = arena_copy(&config->arena, name);
    config->files_fd = -1;
    return config;
}

/* reading->config is NULL when there was an error; what there is to say is collected, not yet printed. */
static void reading_run(struct reading *reading, struct bytes name, struct bytes text)
{
    reading->config = config_new(name);
    arena_init(&reading->scratch);
    report_init(&reading->report, &reading->scratch, name, text);
    if (text.len > CONFIG_TEXT_MAX) {
        reading->report.text = BYTES("");
        report_error(&reading->report, (struct place){0, 0}, "the file has more than 1 MiB; a configuration is smaller");
    } else {
        read_document(reading);
    }
    if (reading->report.errors > 0)
        config_unref(&reading->config);
}

static struct config *parse(struct bytes name, struct bytes text, FILE *errors, bool is_checked)
{
    struct reading reading = {.is_checked = is_checked};

    reading_run(&reading, name, text);
    report_print(&reading.report, errors);
    arena_free(&reading.scratch);
    return reading.config;
}

struct config *config_test(struct bytes name, struct bytes text, FILE *errors)
{
    struct reading reading = {.keeps_written = true};

    reading_run(&reading, name, text);
    if (reading.config) {
        values_sort_written(&reading);
        advice_give(&reading);
    }
    report_print(&reading.report, errors);
    arena_free(&reading.scratch);
    return reading.config;
}

struct config *config_show(struct bytes name, struct bytes text, FILE *errors, FILE *out)
{
    struct reading reading = {.keeps_written = true};

    reading_run(&reading, name, text);
    report_print(&reading.report, errors);
    if (reading.config) {
        values_sort_written(&reading);
        print_with_sources(&reading, out);
    }
    arena_free(&reading.scratch);
    return reading.config;
}

struct config *config_parse(struct bytes name, struct bytes text, FILE *errors)
{
    return parse(name, text, errors, false);
}

struct config *config_parse_again(struct bytes name, struct bytes text, FILE *errors)
{
    return parse(name, text, errors, true);
}

/* Reads at most one byte more than a configuration may have: that it is too long is seen by config_parse. False with errno. */
static bool file_read(const char *path, struct bytes *text)
{
    char *buffer = malloc(CONFIG_TEXT_MAX + 1);
    size_t length = 0;
    ssize_t got = 1;
    int fd = buffer ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    while (fd >= 0 && length < CONFIG_TEXT_MAX + 1 && (got = read(fd, buffer + length, CONFIG_TEXT_MAX + 1 - length)) != 0) {
        if (got > 0)
            length += (size_t)got;
        else if (errno != EINTR)
            break;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (fd < 0 || got < 0) {
        free(buffer);
        errno = error;
        return false;
    }
    *text = bytes_from(buffer, length);
    return true;
}

bool config_read_file(const char *path, FILE *errors, struct bytes *text)
{
    *text = BYTES_NONE;
    if (file_read(path, text))
        return true;
    fprintf(errors, "%s:1:1: error: cannot read it: %s\n", path, strerror(errno));
    return false;
}

const struct config_file *config_file(const struct config *config, const char *path)
{
    for (unsigned i = 0; i < config->file_count; i++)
        if (strcmp(config->files[i].path, path) == 0)
            return &config->files[i];
    return NULL;
}

struct config *config_ref(struct config *config)
{
    ref_take(&config->ref);
    return config;
}

void config_unref(struct config **config)
{
    struct config *dropped = *config;

    *config = NULL;
    if (!dropped || !ref_drop(&dropped->ref))
        return;
    if (dropped->files_memory)
        munmap(dropped->files_memory, dropped->files_bytes);
    if (dropped->files_fd >= 0)
        close(dropped->files_fd);
    arena_free(&dropped->arena);
    free(dropped);
}
