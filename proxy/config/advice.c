/* DESIGN. A setting is warned of only where it was written, so that a default never is: the place of each warning is what the user typed. A row of a table says
 * what is dangerous of a single value; what needs more than a comparison has a function. */
#include "proxy/config/advice.h"
#include "base/log_target.h"
#include "base/memory_ladder.h"
#include "base/memory_meter.h"
#include "proxy/config/units.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const void *field_of(const struct setting *setting, const void *owner)
{
    return (const char *)owner + setting->offset;
}

static const struct yaml_node *written_at(const struct reading *reading, enum setting_scope scope, const char *path, const void *owner)
{
    return value_written(reading, setting_find(scope, bytes_from_string(path)), owner);
}

/* ---- durations: a deadline so far away is none ---- */

static const struct {
    enum setting_scope scope;
    const char *path, *most, *reason;
} deadlines[] = {
    {SCOPE_ROOT, "timeouts.header", "1m",
     "a client that sends a byte now and then keeps its connection that long: a few thousand such clients are all that limits.connections "
     "admits"},
    {SCOPE_ROOT, "timeouts.body", "10m",
     "a client that stops in the middle of its upload keeps a connection here and one to the origin that long"},
    {SCOPE_ROOT, "timeouts.write_stall", "10m",
     "a client that stops reading keeps its connection, and the memory of its response, that long"},
    {SCOPE_ROOT, "timeouts.keep_alive", "1h",
     "idle connections that the client has long forgotten count against limits.connections that long"},
    {SCOPE_SITE, "timeouts.connect", "1m",
     "while an origin does not answer, every request for it waits that long before the next one is tried"},
    {SCOPE_SITE, "timeouts.first_byte", "10m",
     "an origin that hangs makes every request for it, and all that wait for the same URL, wait that long"},
    {SCOPE_SITE, "timeouts.between_bytes", "10m",
     "an origin that stops in the middle of a response makes all who wait for the same URL wait that long"},
};

static void warn_of_deadlines(struct reading *reading, enum setting_scope scope, const void *owner)
{
    for (unsigned i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
        const struct yaml_node *node = deadlines[i].scope == scope ? written_at(reading, scope, deadlines[i].path, owner) : NULL;
        int64_t most;
        if (!node)
            continue;
        duration_parse(bytes_from_string(deadlines[i].most), &most);
        const struct setting *setting = setting_find(scope, bytes_from_string(deadlines[i].path));
        if (*(const int64_t *)field_of(setting, owner) <= most)
            continue;
        report_warning(&reading->report, node->place, "%s: is as good as no timeout: %s", deadlines[i].path, deadlines[i].reason);
        report_hint(&reading->report, "more than %s is hardly ever needed", deadlines[i].most);
    }
}

/* ---- flags ---- */

static const struct {
    const char *path;
    bool danger; /* the value that is dangerous */
    const char *reason, *hint;
} flags[] = {
    {"cache.store_set_cookie", true,
     "a cookie that the origin sets for one visitor, a session's too, is handed to everybody who is given the stored response",
     "leave it off, and let the origin send no Set-Cookie with what is for all"},
    {"cache.honour_request_directives", true,
     "any client can make each of its requests go to the origin (Cache-Control: no-cache), however popular the page",
     "leave it off unless all clients are known"},
    {"origin_tls.verify", false,
     "whoever is between this server and the origin can read what is sent, change it, and have it stored for everybody",
     "if the origin's certificate is of an authority of your own, name that with origin_tls.ca"},
};

static void warn_of_flags(struct reading *reading, const struct config_site *site)
{
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        const struct setting *setting = setting_find(SCOPE_SITE, bytes_from_string(flags[i].path));
        const struct yaml_node *node = value_written(reading, setting, site);
        if (!node || *(const bool *)field_of(setting, site) != flags[i].danger)
            continue;
        report_warning(&reading->report, node->place, "%s: %s", flags[i].path, flags[i].reason);
        report_hint(&reading->report, "%s", flags[i].hint);
    }
}

/* ---- lists of networks that hold half the world ---- */

/* The largest blocks that anybody was given: a /8 of IPv4, a /12 of IPv6. */
static bool is_half_the_world(const struct config_network *network)
{
    return network->prefix_bits < (network->family == 4 ? 8 : 12);
}

static void warn_of_networks(struct reading *reading, enum setting_scope scope, const char *path, const void *owner, const char *reason)
{
    const struct setting *setting = setting_find(scope, bytes_from_string(path));
    const struct yaml_node *node = value_written(reading, setting, owner);
    const struct config_networks *networks = field_of(setting, owner);
    const struct yaml_node *item = node && node->kind == YAML_SEQUENCE ? node->first : node;

    for (unsigned i = 0; item && i < networks->count; i++, item = item->next) {
        if (!is_half_the_world(&networks->at[i]))
            continue;
        report_warning(&reading->report, item->place, "%s: %.*s is open to the world: %s", path, BYTES_FMT(report_shown(item->text)),
                       reason);
        report_hint(&reading->report, "name the addresses that are meant");
        return;
    }
}

/* ---- sites ---- */

/* Whether a server at that name and port is one of our own listeners. */
static bool is_ourselves(const struct config *config, const struct config_origin *origin)
{
    bool is_v4 = bytes_equal(origin->host, BYTES("127.0.0.1")) || bytes_equal_nocase(origin->host, BYTES("localhost"));
    bool is_v6 = bytes_equal(origin->host, BYTES("::1")) || bytes_equal_nocase(origin->host, BYTES("localhost"));

    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct sockaddr_storage *address = &config->listeners[i].address.address;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        if (address->ss_family == AF_INET && is_v4 && ntohs(v4->sin_port) == origin->port &&
            (v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK) || v4->sin_addr.s_addr == htonl(INADDR_ANY)))
            return true;
        if (address->ss_family == AF_INET6 && is_v6 && ntohs(v6->sin6_port) == origin->port &&
            (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)))
            return true;
    }
    return false;
}

/* Directories whose files nobody means to publish. */
static bool is_private_directory(const char *root)
{
    static const char *const directories[] = {"/", "/etc", "/root", "/proc", "/sys", "/dev", "/home", "/var"};
    size_t length = strlen(root);

    while (length > 1 && root[length - 1] == '/')
        length--;
    for (unsigned i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        if (strlen(directories[i]) == length && memcmp(directories[i], root, length) == 0)
            return true;
    }
    return false;
}

static void warn_of_origins(struct reading *reading, const struct config_site *site)
{
    const struct yaml_node *node = written_at(reading, SCOPE_SITE, "origin", site);
    const struct yaml_node *item = node && node->kind == YAML_SEQUENCE ? node->first : node;

    for (unsigned i = 0; item && i < site->origin_count; i++, item = item->next) {
        const struct config_origin *origin = &site->origins[i];
        if (origin->kind == ORIGIN_KIND_HTTP && is_ourselves(reading->config, origin)) {
            report_warning(&reading->report, item->place,
                           "origin: this server listens there itself: every request that is not in the cache would go in a circle, "
                           "and be answered 508");
        } else if (origin->kind == ORIGIN_KIND_FILES && is_private_directory(origin->root)) {
            report_warning(&reading->report, item->place,
                           "origin: everything below %s that the server may read is published, passwords and keys too", origin->root);
            report_hint(&reading->report, "give the site a directory of its own, such as /srv/www");
        }
    }
}

static void warn_of_errors_kept(struct reading *reading, const struct config_site *site)
{
    enum { MOST_S = 5 * 60 };
    const struct yaml_node *node = written_at(reading, SCOPE_SITE, "cache.errors", site);

    for (unsigned i = 0; node && i < site->error_count; i++) {
        const struct status_ttl *range = &site->errors[i];
        if (range->last < 500 || range->ttl_s <= MOST_S)
            continue;
        report_warning(&reading->report, node->place,
                       "cache.errors: an origin's failure of a moment is served for %lld s, even though it has recovered",
                       (long long)range->ttl_s);
        report_hint(&reading->report, "a few seconds are enough to keep the load off an origin in trouble");
        return;
    }
}

static void warn_of_query(struct reading *reading, const struct config_site *site)
{
    const struct yaml_node *node = written_at(reading, SCOPE_SITE, "cache.query.keep", site);

    if (!node || site->query_keep.count > 0)
        return;
    report_warning(&reading->report, node->place,
                   "cache.query.keep: no parameter is kept: /search?q=a and /search?q=b are one page, and the origin sees neither query");
    report_hint(&reading->report, "name the parameters that choose what is shown");
}

static void warn_of_site(struct reading *reading, const struct config_site *site)
{
    warn_of_flags(reading, site);
    warn_of_deadlines(reading, SCOPE_SITE, site);
    warn_of_networks(reading, SCOPE_SITE, "purge.allow", site, "anybody can empty the cache, and so bring the origin down");
    warn_of_networks(reading, SCOPE_SITE, "cache.show_key", site,
                     "anybody sees what a response is keyed by, and what it is not: where to poison it");
    warn_of_origins(reading, site);
    warn_of_errors_kept(reading, site);
    warn_of_query(reading, site);
}

/* ---- the machine ---- */

static unsigned long long mib(uint64_t bytes)
{
    return bytes >> 20;
}

/* Beside the cache: code, buffers, connections. Its index takes a twentieth more. */
static void warn_of_ladder(struct reading *reading, const struct yaml_node *node)
{
    static const uint64_t rest = UINT64_C(32) << 20;
    uint64_t cache = reading->config->cache_memory_bytes;
    struct memory_meter *meter = memory_meter_new();
    uint64_t limit = memory_meter_limit(meter, reading->config->memory_limit_bytes), room = memory_for_growth(limit);

    memory_meter_free(&meter);
    if (limit == 0 || cache + cache / 20 + rest <= room)
        return;
    report_warning(&reading->report, node->place,
                   "cache.memory: %llu MiB, and the server's own needs beside it, do not fit into what it may take, %llu MiB "
                   "(limits.memory): the cache grows "
                   "to 80 %% of that, with everything else, and no further",
                   mib(cache), mib(limit));
    if (room > 2 * rest)
        report_hint(&reading->report, "lower cache.memory to %lluMiB, or raise limits.memory", mib((room - rest) / 21 * 20));
    else
        report_hint(&reading->report, "raise limits.memory");
}

static void warn_of_memory(struct reading *reading)
{
    const struct config *config = reading->config;
    const struct yaml_node *cache = written_at(reading, SCOPE_ROOT, "cache.memory", config);
    const struct yaml_node *limit = written_at(reading, SCOPE_ROOT, "limits.memory", config);
    uint64_t memory = memory_of_machine();

    if (cache && config->cache_memory_bytes > memory / 10 * 9)
        report_warning(&reading->report, cache->place,
                       "cache.memory: this machine has only %llu MiB in all: it would swap, or end processes, when the cache fills",
                       mib(memory));
    else if (limit && config->memory_limit_bytes != MEMORY_LIMIT_AUTO && config->memory_limit_bytes > memory - memory_margin(memory)) {
        report_warning(&reading->report, limit->place,
                       "limits.memory: this machine has only %llu MiB in all: the kernel would end processes before this limit is near",
                       mib(memory));
        report_hint(&reading->report, "auto takes what the machine has, less a margin");
    } else if (cache || limit)
        warn_of_ladder(reading, cache ? cache : limit);
}

/* The directory, or the nearest one above it that exists: it is made there. */
static bool find_filesystem(const char *path, struct statvfs *filesystem, dev_t *device)
{
    char directory[4096];
    struct stat status;

    if ((size_t)snprintf(directory, sizeof(directory), "%s", path) >= sizeof(directory))
        return false;
    while (stat(directory, &status) != 0) {
        char *slash = strrchr(directory, '/');
        if (!slash || directory[1] == '\0')
            return false;
        slash[slash == directory] = '\0';
    }
    *device = status.st_dev;
    return statvfs(directory, filesystem) == 0;
}

/* Directories on one filesystem share it. */
static void warn_of_disks(struct reading *reading)
{
    const struct config *config = reading->config;
    struct statvfs filesystem;
    dev_t devices[DISKS_MAX] = {0};

    for (unsigned i = 0; i < config->disk_count; i++) {
        const struct yaml_node *node = written_at(reading, SCOPE_DISK, "size", &config->disks[i]);
        uint64_t wanted = config->disks[i].size_bytes;
        if (!node || !find_filesystem(config->disks[i].path, &filesystem, &devices[i]))
            continue;
        uint64_t bytes = (uint64_t)filesystem.f_blocks * filesystem.f_frsize;
        for (unsigned k = 0; k < i; k++)
            wanted += devices[k] == devices[i] ? config->disks[k].size_bytes : 0;
        if (wanted <= bytes)
            continue;
        bool is_alone = wanted == config->disks[i].size_bytes;
        report_warning(&reading->report, node->place,
                       "cache.disk: the filesystem of %s has only %llu MiB%s: when it is full, nothing more is written to it",
                       config->disks[i].path, (unsigned long long)(bytes >> 20),
                       is_alone ? "" : ", and the directories before this one are on it, too");
        report_hint(&reading->report, "leave a tenth of it free");
    }
}

/* ---- who may ask ---- */

static bool is_loopback(const struct config_address *address)
{
    if (address->address.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&address->address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&address->address)->sin6_addr);
}

static void warn_of_admin(struct reading *reading)
{
    const struct yaml_node *node = written_at(reading, SCOPE_ROOT, "admin.listen", reading->config);
    const struct yaml_node *control = written_at(reading, SCOPE_ROOT, "admin.control", reading->config);

    if (!node || reading->config->admin_listen.length == 0 || is_loopback(&reading->config->admin_listen))
        return;
    if (control && reading->config->admin_control) {
        report_warning(&reading->report, control->place,
                       "admin.control: admin.listen is open to the network: whoever reaches it can empty the cache and drain the server");
        report_hint(&reading->report, "leave it off, and use outriggerctl by admin.socket");
    }
    report_warning(&reading->report, node->place,
                   "admin.listen: it asks nobody for a password: who reaches this address sees what the server does");
    report_hint(&reading->report, "listen on 127.0.0.1, or let a firewall keep strangers off");
}

static void warn_of_root(struct reading *reading)
{
    const struct yaml_node *node = written_at(reading, SCOPE_ROOT, "user", reading->config);

    if (!node || strcmp(reading->config->user, "root") != 0)
        return;
    report_warning(&reading->report, node->place, "user: root may do everything, and so could whoever finds a hole in the server");
    report_hint(&reading->report, "take an account that owns nothing, such as nobody");
}

static void warn_of_rate(struct reading *reading, const char *path, uint64_t rate, const char *what)
{
    const struct yaml_node *node = written_at(reading, SCOPE_ROOT, path, reading->config);

    if (node && rate == 0)
        report_warning(&reading->report, node->place, "%s: without one, a client that %s keeps its connection for ever", path, what);
}

/* It may come later: what is logged meanwhile waits, or is counted. */
static void warn_of_log(struct reading *reading, const char *path, const char *text)
{
    const struct yaml_node *node = written_at(reading, SCOPE_ROOT, path, reading->config);
    struct log_target target;

    if (!node || !text)
        return;
    log_target_parse(bytes_from_string(text), &target);
    if (target.kind != LOG_TARGET_FILE && log_target_is_local(&target) && access(target.address.local.sun_path, F_OK) < 0)
        report_warning(&reading->report, node->place, "%s: nobody listens at %s: lines are lost until somebody does", path,
                       target.address.local.sun_path);
}

void advice_give(struct reading *reading)
{
    const struct config *config = reading->config;

    warn_of_root(reading);
    warn_of_admin(reading);
    warn_of_networks(reading, SCOPE_ROOT, "trusted_proxies", config,
                     "anybody can say that a request comes from any address, one of purge.allow too");
    warn_of_memory(reading);
    warn_of_disks(reading);
    warn_of_deadlines(reading, SCOPE_ROOT, config);
    warn_of_rate(reading, "timeouts.body_min_rate", config->body_min_rate, "sends a byte within each timeouts.body");
    warn_of_rate(reading, "timeouts.write_min_rate", config->write_min_rate, "takes a byte within each timeouts.write_stall");
    warn_of_log(reading, "access_log.path", config->access_log);
    warn_of_log(reading, "error_log.path", config->error_log);
    for (unsigned i = 0; i < config->site_count; i++)
        warn_of_site(reading, &config->sites[i]);
}
