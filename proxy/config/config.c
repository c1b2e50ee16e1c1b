/* DESIGN. text → yaml.c → a tree of nodes with their places → this file walks it beside the table of settings → values.c reads each value into its field →
 * checks that concern several values → a finished, immutable struct config. Nothing stops at an error: they are all collected (report.c) and printed at the end
 * in the order of the text. Only broken YAML ends the reading early, since there is no tree. */
#include "proxy/config/config.h"
#include "proxy/config/address.h"
#include "proxy/config/advice.h"
#include "proxy/config/lists.h"
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

void mapping_read_value(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner)
{
    value_note_written(reading, setting, node, owner);
    value_read(reading, setting, node, owner);
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
        mapping_read(reading, section->scope, prefix, node, owner);
    } else if (shorthand && node->kind != YAML_NULL) {
        mapping_read_value(reading, setting_find(section->scope, bytes_from_string(shorthand)), node, owner);
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
        list_read_listeners(reading, node);
        return;
    case VALUE_DISKS:
        list_read_disks(reading, node);
        return;
    case VALUE_CERTIFICATES:
        list_read_certificates(reading, node, owner);
        return;
    case VALUE_SITES:
        list_read_sites(reading, node);
        return;
    default:
        mapping_read_value(reading, setting, node, owner);
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

void mapping_read(struct reading *reading, enum setting_scope scope, struct bytes prefix, const struct yaml_node *mapping, void *owner)
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

/* It may stand in its section's stead. */
static struct place place_of_log(const struct reading *reading, struct bytes path, struct bytes section)
{
    const struct yaml_node *node = given(reading, path) ? given(reading, path) : given(reading, section);
    return node ? node->place : (struct place){0, 0};
}

static void check_logs(struct reading *reading)
{
    const struct yaml_node *format = given(reading, BYTES("access_log.format"));

    reading->config->access_log_place = place_of_log(reading, BYTES("access_log.path"), BYTES("access_log"));
    reading->config->error_log_place = place_of_log(reading, BYTES("error_log.path"), BYTES("error_log"));
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
        mapping_read(reading, SCOPE_ROOT, BYTES(""), root, reading->config);
    else if (root->kind != YAML_NULL)
        report_error(&reading->report, root->place, "expected settings (\"key: value\", with a space), found %s",
                     yaml_kind_text(root->kind));
    if (!given(reading, BYTES("listen")))
        list_read_listeners(reading, value_default(reading, setting_find(SCOPE_ROOT, BYTES("listen"))));
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
