/* The configuration as its users meet it: what a text means, and what is said of a wrong one, word for word. */
#include "proxy/config/config.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#define SITE "sites: [{hosts: \"*\", origin: http://127.0.0.1:3000}]\n"

/* Everything written to `errors` is in *findings (malloc'ed). */
static struct config *parse(struct bytes text, char **findings)
{
    size_t length;
    FILE *errors = open_memstream(findings, &length);
    struct config *config = config_parse(BYTES("t.yaml"), text, errors);

    fclose(errors);
    return config;
}

static struct config *parse_good(const char *text)
{
    char *findings;
    struct config *config = parse(bytes_from_string(text), &findings);

    cr_assert(config, "refused:\n%s\n%s", text, findings);
    cr_assert_str_eq(findings, "");
    free(findings);
    return config;
}

static char *print(const struct config *config)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    config_print(config, out);
    fclose(out);
    return text;
}

#define assert_text(actual, expected)                                                                                                      \
    cr_assert(bytes_equal(actual, bytes_from_string(expected)), "is \"%.*s\", not \"%s\"", BYTES_FMT(actual), expected)

Test(config, defaults_are_those_of_the_reference)
{
    struct config *config = parse_good(SITE);

    cr_assert_eq(config->workers, (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
    cr_assert_null(config->user);
    cr_assert_eq(config->listener_count, 1);
    assert_text(config->listeners[0].address.text, "127.0.0.1:8080");
    assert_text(config->admin_listen.text, "127.0.0.1:8081");
    cr_assert_null(config->admin_socket);
    cr_assert_eq(config->cache_memory_bytes, 256u << 20);
    cr_assert_eq(config->cache_object_max_bytes, 64u << 20);
    cr_assert_eq(config->cache_variants_max, 64);
    cr_assert_null(config->access_log);
    cr_assert_not(config->access_log_json);
    cr_assert_str_eq(config->error_log, "-");
    cr_assert_eq(config->log_level, LOG_LEVEL_INFO);
    cr_assert_eq(config->disk_helpers, 4);
    cr_assert_eq(config->resolver_helpers, 1);
    cr_assert_eq(config->helper_deadline_ms, 2000);
    cr_assert_null(config->resolver_servers.at);
    cr_assert_eq(config->header_bytes_max, 16384);
    cr_assert_eq(config->header_count_max, 100);
    cr_assert_eq(config->url_bytes_max, 8192);
    cr_assert_eq(config->body_bytes_max, 0);
    cr_assert_eq(config->connections_max, 10000);
    cr_assert_eq(config->header_timeout_ms, 10000);
    cr_assert_eq(config->body_timeout_ms, 60000);
    cr_assert_eq(config->body_min_rate, 1024);
    cr_assert_eq(config->keep_alive_timeout_ms, 65000);
    cr_assert_eq(config->write_stall_timeout_ms, 60000);
    cr_assert_eq(config->write_min_rate, 256);
    cr_assert_eq(config->drain_timeout_ms, 30000);
    config_unref(&config);
    cr_assert_null(config);
}

Test(config, defaults_of_a_site)
{
    struct config *config = parse_good(SITE);
    const struct config_site *site = config->sites;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};

    cr_assert_eq(config->site_count, 1);
    cr_assert_eq(site->host_count, 1);
    assert_text(site->hosts[0], "*");
    cr_assert_eq(site->origin_count, 1);
    cr_assert_eq(site->origins[0].kind, ORIGIN_KIND_HTTP);
    assert_text(site->origins[0].host, "127.0.0.1");
    cr_assert_eq(site->origins[0].port, 3000);
    cr_assert_null(site->host_header.at);
    cr_assert(config_networks_have(&site->purge_allow, (struct sockaddr *)&local));
    cr_assert_not(config_networks_have(&site->purge_allow, (struct sockaddr *)&other));
    cr_assert_eq(site->connect_timeout_ms, 5000);
    cr_assert_eq(site->first_byte_timeout_ms, 60000);
    cr_assert_eq(site->between_bytes_timeout_ms, 60000);
    cr_assert_eq(site->tunnel_idle_timeout_ms, 600000);
    cr_assert_eq(site->pool_connections, 64);
    cr_assert_eq(site->pool_idle_ms, 60000);
    cr_assert_eq(site->retries, 2);
    cr_assert_eq(site->down_ms, 5000);
    cr_assert_eq(site->files_delay_ms, 0);
    cr_assert_lt(site->files_max_age_s, 0);
    cr_assert_not(site->honour_request_directives);
    cr_assert_not(site->store_set_cookie);
    cr_assert(site->strip_tags);
    cr_assert_not(site->early_hints);
    cr_assert_eq(site->show_key.count, 0);
    cr_assert_eq(site->heuristic_max_s, 86400);
    cr_assert_eq(site->grace_s, 0);
    cr_assert_eq(site->hit_for_miss_s, 10);
    cr_assert_eq(site->stale_if_slow_ms, 0);
    config_unref(&config);
}

static const char everything[] =
    "workers: 3\n"
    "user: root\n"
    "listen:\n"
    "  - address: 8080\n"
    "  - \"[::1]:8443\"\n"
    "admin: {listen: off, socket: /run/outrigger/admin.sock}\n"
    "cache: {memory: 1GiB, object_max: 100MB, variants: 8, disk: [{path: /var/a, size: 10GiB}, {size: 8MiB, path: /var/b}]}\n"
    "disk: {engine: io_uring, admit: second-hit, queue: 2MiB, read_delay: 5ms}\n"
    "access_log: {path: /var/log/outrigger/access.log, format: json}\n"
    "error_log: {path: /var/log/outrigger/error.log, level: debug}\n"
    "helpers: {disk: 2, store: 3, resolver: 2, deadline: 500ms}\n"
    "resolver: {servers: [127.0.0.1:5353, \"::1\"], ttl_min: 0, ttl_max: 1d, failure_ttl: 10s}\n"
    "limits: {header_bytes: 32KiB, header_count: 50, url_bytes: 4KiB, body_bytes: 10GiB, connections: 500}\n"
    "timeouts: {header: 1s, body: 2s, body_min_rate: 0, keep_alive: 0, write_stall: 3s, write_min_rate: 1MiB, drain: 4s}\n"
    "sites:\n"
    "  - hosts: [WWW.Example.com, \"*.example.org\", \"[::1]\", 10.0.0.1]\n"
    "    origin: [http://a.internal, \"http://[2001:db8::1]:81/\", files:/tmp]\n"
    "    host_header: origin.example:8080\n"
    "    purge: {allow: [10.0.0.0/8, 2001:db8::/32]}\n"
    "    timeouts: {connect: 1s, first_byte: 2s, between_bytes: 3s, tunnel_idle: 4s}\n"
    "    pool: {connections: 1, idle: 2m}\n"
    "    retries: 0\n"
    "    down: 0\n"
    "    files: {delay: 20ms, max_age: 1h}\n"
    "    cache: {honour_request_directives: on, store_set_cookie: true, heuristic_max: 0, grace: 5m, "
    "hit_for_miss: 20s, stale_if_slow: 50ms,\n"
    "            query: {ignore: [tracking, x_*], keep: a%5B, sort: yes}, strip_tags: false, early_hints: on,\n"
    "            show_key: 10.0.0.0/8}\n"
    "  - hosts: other.example\n"
    "    origin: http://b\n"
    "    purge: {allow: []}\n"
    "  - {hosts: third.example, origin: \"http://b\", cache: {query: {keep: []}}}\n";

Test(config, every_setting_reaches_its_field)
{
    struct config *config = parse_good(everything);
    const struct config_site *site = config->sites;

    cr_assert_eq(config->workers, 3);
    cr_assert_str_eq(config->user, "root");
    cr_assert_eq(config->listener_count, 2);
    cr_assert_eq(((struct sockaddr_in *)&config->listeners[0].address.address)->sin_addr.s_addr, INADDR_ANY);
    cr_assert_eq(ntohs(((struct sockaddr_in *)&config->listeners[0].address.address)->sin_port), 8080);
    cr_assert_eq(config->listeners[1].address.address.ss_family, AF_INET6);
    cr_assert_eq(config->listeners[1].address.length, sizeof(struct sockaddr_in6));
    cr_assert_eq(config->admin_listen.length, 0);
    cr_assert_str_eq(config->admin_socket, "/run/outrigger/admin.sock");
    cr_assert_eq(config->cache_object_max_bytes, 100000000);
    cr_assert_eq(config->cache_variants_max, 8);
    cr_assert_str_eq(config->access_log, "/var/log/outrigger/access.log");
    cr_assert(config->access_log_json);
    cr_assert_str_eq(config->error_log, "/var/log/outrigger/error.log");
    cr_assert_eq(config->log_level, LOG_LEVEL_DEBUG);
    cr_assert_eq(config->disk_count, 2);
    cr_assert_str_eq(config->disks[0].path, "/var/a");
    cr_assert_eq(config->disks[0].size_bytes, 10ull << 30);
    cr_assert_str_eq(config->disks[1].path, "/var/b");
    cr_assert_eq(config->disks[1].size_bytes, 8u << 20);
    cr_assert_eq(config->disk_engine, DISK_ENGINE_IO_URING);
    cr_assert_eq(config->disk_admission, DISK_ADMIT_SECOND_HIT);
    cr_assert_eq(config->disk_queue_bytes, 2u << 20);
    cr_assert_eq(config->disk_read_delay_ms, 5);
    cr_assert_eq(config->store_helpers, 3);
    cr_assert_eq(config->disk_helpers, 2);
    cr_assert_eq(config->resolver_helpers, 2);
    cr_assert_eq(config->helper_deadline_ms, 500);
    assert_text(config->resolver_servers, "127.0.0.1:5353,[::1]:53");
    cr_assert_eq(config->resolver_ttl_min_s, 0);
    cr_assert_eq(config->resolver_ttl_max_s, 86400);
    cr_assert_eq(config->resolver_failure_ttl_s, 10);
    cr_assert_eq(config->header_bytes_max, 32768);
    cr_assert_eq(config->header_count_max, 50);
    cr_assert_eq(config->url_bytes_max, 4096);
    cr_assert_eq(config->body_bytes_max, 10ull << 30);
    cr_assert_eq(config->connections_max, 500);
    cr_assert_eq(config->header_timeout_ms, 1000);
    cr_assert_eq(config->body_timeout_ms, 2000);
    cr_assert_eq(config->body_min_rate, 0);
    cr_assert_eq(config->keep_alive_timeout_ms, 0);
    cr_assert_eq(config->write_stall_timeout_ms, 3000);
    cr_assert_eq(config->write_min_rate, 1 << 20);
    cr_assert_eq(config->drain_timeout_ms, 4000);

    cr_assert_eq(config->site_count, 3);
    cr_assert_eq(site->host_count, 4);
    assert_text(site->hosts[0], "www.example.com");
    assert_text(site->hosts[2], "[::1]");
    cr_assert_eq(site->origin_count, 3);
    cr_assert_eq(site->origins[0].port, 80);
    assert_text(site->origins[1].host, "2001:db8::1");
    cr_assert_eq(site->origins[1].port, 81);
    cr_assert_eq(site->origins[2].kind, ORIGIN_KIND_FILES);
    cr_assert_str_eq(site->origins[2].root, "/tmp");
    assert_text(site->host_header, "origin.example:8080");
    cr_assert_eq(site->purge_allow.count, 2);
    cr_assert_eq(site->connect_timeout_ms, 1000);
    cr_assert_eq(site->first_byte_timeout_ms, 2000);
    cr_assert_eq(site->between_bytes_timeout_ms, 3000);
    cr_assert_eq(site->tunnel_idle_timeout_ms, 4000);
    cr_assert_eq(site->pool_connections, 1);
    cr_assert_eq(site->pool_idle_ms, 120000);
    cr_assert_eq(site->retries, 0);
    cr_assert_eq(site->down_ms, 0);
    cr_assert_eq(site->files_delay_ms, 20);
    cr_assert_eq(site->files_max_age_s, 3600);
    cr_assert(site->honour_request_directives);
    cr_assert(site->store_set_cookie);
    cr_assert_not(site->strip_tags);
    cr_assert(site->early_hints);
    cr_assert_eq(site->show_key.count, 1);
    cr_assert_eq(site->heuristic_max_s, 0);
    cr_assert_eq(site->grace_s, 300);
    cr_assert_eq(site->hit_for_miss_s, 20);
    cr_assert_eq(site->stale_if_slow_ms, 50);
    cr_assert_eq(site->query_ignore.count, 2);
    assert_text(site->query_ignore.at[0], "tracking");
    assert_text(site->query_ignore.at[1], "x_*");
    cr_assert_eq(site->query_keep.count, 1);
    assert_text(site->query_keep.at[0], "a%5B");
    cr_assert(site->query_sort);
    cr_assert_eq(config->sites[1].query_ignore.count, 0);
    cr_assert_null(config->sites[1].query_keep.at, "all are kept");
    cr_assert_not_null(config->sites[2].query_keep.at, "none is kept");
    cr_assert_eq(config->sites[2].query_keep.count, 0);
    cr_assert_eq(config->sites[1].purge_allow.count, 0);
    cr_assert_eq(config->sites[1].retries, 2, "the second site has its own defaults");
    config_unref(&config);
}

Test(config, short_forms_mean_their_long_ones)
{
    struct config *config = parse_good("listen: 127.0.0.1:80\naccess_log: \"-\"\nerror_log: /e\nresolver: 10.0.0.1\nlimits:\n"
                                       "sites: [{hosts: a.example, origin: http://b, purge: 10.0.0.1}]\n");

    assert_text(config->listeners[0].address.text, "127.0.0.1:80");
    cr_assert_str_eq(config->access_log, "-");
    cr_assert_str_eq(config->error_log, "/e");
    assert_text(config->resolver_servers, "10.0.0.1:53");
    cr_assert_eq(config->sites[0].purge_allow.count, 1);
    config_unref(&config);
}

Test(config, an_effective_configuration_parses_back_to_itself)
{
    const char *texts[] = {everything, SITE, "access_log: \"/var/log/\xc3\xa9\\t\\\"b\\\\.log\"\nerror_log: \"/true: #\"\n" SITE};

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config *first = parse_good(texts[i]);
        char *once = print(first);
        struct config *second = parse_good(once);
        char *twice = print(second);
        cr_assert_str_eq(once, twice);
        cr_assert_eq(first->workers, second->workers);
        cr_assert_eq(first->cache_object_max_bytes, second->cache_object_max_bytes);
        cr_assert_str_eq(first->error_log, second->error_log);
        cr_assert_eq(first->site_count, second->site_count);
        free(once);
        free(twice);
        config_unref(&first);
        config_unref(&second);
    }
}

Test(config, the_default_of_object_max_follows_a_small_memory)
{
    struct config *config = parse_good("cache: {memory: 16MiB}\n" SITE);

    cr_assert_eq(config->cache_object_max_bytes, 4u << 20);
    config_unref(&config);
}

/* Text, and exactly what is said of it. */
static const struct {
    const char *text, *findings;
} wrong[] = {
    {"wokers: 2\n" SITE, "t.yaml:1:1: error: unknown key \"wokers\"; did you mean \"workers\"?\n"
                         "    wokers: 2\n"
                         "    ^~~~~~\n"},
    {"cache:\n  memroy: 1GiB\n" SITE, "t.yaml:2:3: error: unknown key \"memroy\"; did you mean \"memory\"?\n"
                                      "      memroy: 1GiB\n"
                                      "      ^~~~~~\n"},
    {"cache: {frobnicate: 1}\n" SITE, "t.yaml:1:9: error: unknown key \"frobnicate\" in \"cache\"\n"
                                      "    cache: {frobnicate: 1}\n"
                                      "            ^~~~~~~~~~\n"
                                      "    hint: the keys here are memory, object_max, variants, disk\n"},
    {"timeouts: {connect: 3s}\n" SITE, "t.yaml:1:12: error: unknown key \"connect\" in \"timeouts\"\n"
                                       "    timeouts: {connect: 3s}\n"
                                       "               ^~~~~~~\n"
                                       "    hint: \"connect\" belongs in \"timeouts\" of a site\n"},
    {"cache.memory: 1GiB\n" SITE, "t.yaml:1:1: error: unknown key \"cache.memory\"\n"
                                  "    cache.memory: 1GiB\n"
                                  "    ^~~~~~~~~~~~\n"
                                  "    hint: write \"cache: {memory: …}\"\n"},
    {"cache:\n  memory: 256\n" SITE,
     "t.yaml:2:11: error: cache.memory: \"256\" has no unit\n"
     "      memory: 256\n"
     "              ^~~\n"
     "    hint: write \"256MiB\"; units are B, KiB, MiB, GiB, TiB (powers of 1024) and KB, MB, GB, TB (powers of 1000)\n"},
    {"timeouts: {header: 10}\n" SITE, "t.yaml:1:20: error: timeouts.header: \"10\" has no unit\n"
                                      "    timeouts: {header: 10}\n"
                                      "                       ^~\n"
                                      "    hint: write \"10s\"; units are ms, s, m, h, d\n"},
    {"timeouts: {header: 10S}\n" SITE, "t.yaml:1:20: error: timeouts.header: \"10S\" has an unknown unit\n"
                                       "    timeouts: {header: 10S}\n"
                                       "                       ^~~\n"
                                       "    hint: units are ms, s, m, h, d\n"},
    {"cache: {memory: -1GiB}\n" SITE, "t.yaml:1:17: error: cache.memory: \"-1GiB\" is negative\n"
                                      "    cache: {memory: -1GiB}\n"
                                      "                    ^~~~~\n"},
    {"cache: {memory: 1KiB}\n" SITE, "t.yaml:1:17: error: cache.memory: 1KiB is too small; the least is 1MiB\n"
                                     "    cache: {memory: 1KiB}\n"
                                     "                    ^~~~\n"},
    {"sites: [{hosts: a, origin: http://b, cache: {query: {ignore: [utm_*_x]}}}]\n",
     "t.yaml:1:63: error: cache.query.ignore: \"utm_*_x\" has a \"*\" that is not at its end\n"
     "    sites: [{hosts: a, origin: http://b, cache: {query: {ignore: [utm_*_x]}}}]\n"
     "                                                                  ^~~~~~~\n"},
    {"sites: [{hosts: a, origin: http://b, cache: {query: {keep: a&b}}}]\n",
     "t.yaml:1:60: error: cache.query.keep: \"a&b\" is not the name of a query parameter\n"
     "    sites: [{hosts: a, origin: http://b, cache: {query: {keep: a&b}}}]\n"
     "                                                               ^~~\n"},
    {"workers: 0\n" SITE, "t.yaml:1:10: error: workers: 0 is too small; the least is 1\n"
                          "    workers: 0\n"
                          "             ^\n"},
    {"workers: 99999999999999999999\n" SITE, "t.yaml:1:10: error: workers: 99999999999999999999 is too large; the most is 512\n"
                                             "    workers: 99999999999999999999\n"
                                             "             ^~~~~~~~~~~~~~~~~~~~\n"},
    {"workers: [2]\n" SITE, "t.yaml:1:10: error: workers: expected a number or auto, found a list\n"
                            "    workers: [2]\n"
                            "             ^\n"},
    {"workers:\n" SITE, "t.yaml:1:1: error: workers: has no value; expected a number or auto\n"
                        "    workers:\n"
                        "    ^~~~~~~\n"},
    {"cache: 1GiB\n" SITE, "t.yaml:1:8: error: cache: expected a mapping, found a single value\n"
                           "    cache: 1GiB\n"
                           "           ^~~~\n"},
    {"workers: 1\n\nworkers: 2\n" SITE, "t.yaml:3:1: error: duplicate key \"workers\"; it is already on line 1\n"
                                        "    workers: 2\n"
                                        "    ^~~~~~~\n"},
    {"user: no-such-account\n" SITE, "t.yaml:1:7: error: user: \"no-such-account\" is no account of this machine\n"
                                     "    user: no-such-account\n"
                                     "          ^~~~~~~~~~~~~~~\n"
                                     "    hint: `getent passwd` lists them\n"},
    {"listen: localhost:80\n" SITE, "t.yaml:1:9: error: address: \"localhost:80\" is not an IP address and a port\n"
                                    "    listen: localhost:80\n"
                                    "            ^~~~~~~~~~~~\n"
                                    "    hint: write \"127.0.0.1:8080\", \"[::1]:8080\", or \":8080\" for every IPv4 address\n"},
    {"listen: [\":80\", 127.0.0.1:80]\n" SITE, "t.yaml:1:17: error: listen: this address is taken by the one on line 1\n"
                                               "    listen: [\":80\", 127.0.0.1:80]\n"
                                               "                    ^~~~~~~~~~~~\n"},
    {"listen:\n  - tls: true\n    address: 127.0.0.1:443\n" SITE,
     "t.yaml:2:5: error: listen: this one has tls, but no site has a certificate\n"
     "      - tls: true\n"
     "        ^\n"},
    {"listen: [{}]\n" SITE, "t.yaml:1:10: error: listen: this one has no \"address\"\n"
                            "    listen: [{}]\n"
                            "             ^\n"},
    {"admin: {listen: 127.0.0.1:8080}\n" SITE, "t.yaml:1:17: error: admin.listen and listen are on one address, 127.0.0.1:8080\n"
                                               "    admin: {listen: 127.0.0.1:8080}\n"
                                               "                    ^~~~~~~~~~~~~~\n"
                                               "    hint: give admin.listen another port, or off\n"},
    {"access_log: logs/access.log\n" SITE,
     "t.yaml:1:13: error: access_log.path: \"logs/access.log\" is not an absolute path, -, syslog, journald or off\n"
     "    access_log: logs/access.log\n"
     "                ^~~~~~~~~~~~~~~\n"},
    {"access_log: {path: syslog:server=localhost}\n" SITE,
     "t.yaml:1:20: error: access_log.path: server= takes an address such as 192.0.2.1:514 or [2001:db8::1]:514, or unix: and a path\n"
     "    access_log: {path: syslog:server=localhost}\n"
     "                       ^~~~~~~~~~~~~~~~~~~~~~~\n"},
    {"error_log: syslog:severity=info\n" SITE, "t.yaml:1:12: error: error_log.path: its lines have a severity of their own\n"
                                               "    error_log: syslog:severity=info\n"
                                               "               ^~~~~~~~~~~~~~~~~~~~\n"},
    {"cache:\n  disk:\n    - path: /var/cache\n" SITE, "t.yaml:3:7: error: cache.disk: this one has no \"size\"\n"
                                                       "        - path: /var/cache\n"
                                                       "          ^\n"},
    {"cache: {disk: [{path: /a, size: 5TiB}, {path: /b, size: 3TiB}, {path: /c, size: 8MiB}]}\n" SITE,
     "t.yaml:1:64: error: cache.disk: with this one all directories have more than 8TiB, which is as much as can be used\n"
     "    cache: {disk: [{path: /a, size: 5TiB}, {path: /b, size: 3TiB}, {path: /c, size: 8MiB}]}\n"
     "                                                                   ^\n"},
    {"cache: {disk: {size: 1GiB}}\n" SITE, "t.yaml:1:15: error: cache.disk: this one has no \"path\"\n"
                                           "    cache: {disk: {size: 1GiB}}\n"
                                           "                  ^\n"},
    {"cache: {disk: /var/cache}\n" SITE, "t.yaml:1:15: error: cache.disk: expected a directory with path and size, found a single value\n"
                                         "    cache: {disk: /var/cache}\n"
                                         "                  ^~~~~~~~~~\n"
                                         "    hint: disk: [{path: /var/cache/outrigger, size: 10GiB}]\n"},
    {"cache: {disk: [{path: cache, size: 1MiB}]}\n" SITE, "t.yaml:1:23: error: path: \"cache\" is not an absolute path\n"
                                                          "    cache: {disk: [{path: cache, size: 1MiB}]}\n"
                                                          "                          ^~~~~\n"
                                                          "t.yaml:1:36: error: size: 1MiB is too small; the least is 8MiB\n"
                                                          "    cache: {disk: [{path: cache, size: 1MiB}]}\n"
                                                          "                                       ^~~~\n"},
    {"cache: {disk: [{path: /a, size: 1GiB}, {path: /a, size: 2GiB}]}\n" SITE,
     "t.yaml:1:40: error: cache.disk: /a is listed twice\n"
     "    cache: {disk: [{path: /a, size: 1GiB}, {path: /a, size: 2GiB}]}\n"
     "                                           ^\n"},
    {"cache: {disk: [{path: /a/b, size: 1GiB}, {path: //a/./b/, size: 2GiB}, {path: /a/b/c, size: 1GiB}]}\n" SITE,
     "t.yaml:1:42: error: cache.disk: //a/./b/ is listed twice\n"
     "    cache: {disk: [{path: /a/b, size: 1GiB}, {path: //a/./b/, size: 2GiB}, {path: /a/b/c, size: 1GiB}]}\n"
     "                                             ^\n"},
    {"disk: {engine: aio}\n" SITE, "t.yaml:1:16: error: disk.engine: \"aio\" is not auto, io_uring or blocking\n"
                                   "    disk: {engine: aio}\n"
                                   "                   ^~~\n"},
    {"resolver: {ttl_min: 1d, ttl_max: 1h}\n" SITE, "t.yaml:1:21: error: resolver.ttl_min is more than resolver.ttl_max\n"
                                                    "    resolver: {ttl_min: 1d, ttl_max: 1h}\n"
                                                    "                        ^~\n"},
    {"workers: 1\n", "t.yaml:1:1: error: there is no \"sites\", so nothing would be served\n"
                     "    workers: 1\n"
                     "    ^\n"
                     "    hint: sites: [{hosts: \"*\", origin: http://127.0.0.1:3000}]\n"},
    {"sites: []\n", "t.yaml:1:8: error: sites: there is none, so nothing would be served\n"
                    "    sites: []\n"
                    "           ^\n"},
    {"sites: {hosts: a}\n", "t.yaml:1:8: error: sites: expected a list of sites, found a mapping\n"
                            "    sites: {hosts: a}\n"
                            "           ^\n"
                            "    hint: begin each site with a dash: \"- hosts: …\"\n"},
    {"sites: [{}]\n", "t.yaml:1:9: error: this site has no \"hosts\"\n"
                      "    sites: [{}]\n"
                      "            ^\n"
                      "    hint: name them, or write hosts: \"*\" for any\n"
                      "t.yaml:1:9: error: this site has no \"origin\"\n"
                      "    sites: [{}]\n"
                      "            ^\n"
                      "    hint: origin: http://host:port, or files:/directory\n"},
    {"sites: [{hosts: [], origin: http://a}]\n", "t.yaml:1:17: error: hosts: is an empty list; expected a host name or a list of them\n"
                                                 "    sites: [{hosts: [], origin: http://a}]\n"
                                                 "                    ^\n"},
    {"sites:\n- hosts: *\n  origin: http://a\n", "t.yaml:2:10: error: aliases (*name) are not supported\n"
                                                 "    - hosts: *\n"
                                                 "             ^\n"
                                                 "    hint: a host pattern that begins with * needs quotes: \"*.example.org\"\n"},
    {"sites:\n- hosts: a\n  origin: http://x\n- hosts: [b, A]\n  origin: http://x\n",
     "t.yaml:4:14: error: host \"a\" is already on line 2; a host belongs to one site\n"
     "    - hosts: [b, A]\n"
     "                 ^\n"},
    {"sites:\n- hosts: a\n  origin: http://x/app\n", "t.yaml:3:11: error: origin: \"http://x/app\" has a path; an origin is a host and a "
                                                     "port, and the path of each request is passed on as it is\n"
                                                     "      origin: http://x/app\n"
                                                     "              ^~~~~~~~~~~~\n"},
    {"sites:\n- hosts: a\n  origin: 127.0.0.1:3000\n",
     "t.yaml:3:11: error: origin: \"127.0.0.1:3000\" is not an origin: write \"http://host:port\", \"https://host:port\" or "
     "\"files:/directory\"\n"
     "      origin: 127.0.0.1:3000\n"
     "              ^~~~~~~~~~~~~~\n"
     "    hint: did you mean \"http://127.0.0.1:3000\"?\n"},
    {"sites:\n- hosts: a\n  origin: http://x\n  tls: {}\n", "t.yaml:4:8: error: tls: there is no \"certificate\"\n"
                                                            "      tls: {}\n"
                                                            "           ^\n"},
    {"sites:\n- hosts: a\n  origin: http://x\n  tls: {certificate: /a}\n", "t.yaml:4:8: error: tls: there is no \"key\"\n"
                                                                           "      tls: {certificate: /a}\n"
                                                                           "           ^\n"},
    {"sites:\n- hosts: a\n  origin: http://x\n  client_certificates: {header: Host}\n",
     "t.yaml:4:33: error: client_certificates.header: \"Host\" is a field that says something else already\n"
     "      client_certificates: {header: Host}\n"
     "                                    ^~~~\n"},
    {"a: &x 1\n", "t.yaml:1:4: error: anchors (&name) are not supported\n"
                  "    a: &x 1\n"
                  "       ^\n"
                  "    hint: write the value out where it is needed\n"},
    {"sites:\n- <<: {}\n", "t.yaml:2:3: error: merge keys (<<) are not supported\n"
                           "    - <<: {}\n"
                           "      ^~\n"
                           "    hint: write the settings out\n"},
    {"a: !tag 1\n", "t.yaml:1:4: error: tags (!name) are not supported\n"
                    "    a: !tag 1\n"
                    "       ^\n"
                    "    hint: write the value without it\n"},
    {SITE "---\nworkers: 1\n", "t.yaml:2:1: error: a second document\n"
                               "    ---\n"
                               "    ^~~\n"
                               "    hint: a configuration is one document: remove the \"---\"\n"},
    {"cache:\n\tmemory: 1GiB\n", "t.yaml:2:1: error: tab character may not be used as indentation\n"
                                 "    \tmemory: 1GiB\n"
                                 "    ^\n"
                                 "    hint: indent with spaces\n"},
    {"workers: 1\nlisten: [1\n", "t.yaml:2:9: error: flow sequence without a closing bracket\n"
                                 "    listen: [1\n"
                                 "            ^\n"},
    {"[[[[[[[[[[[[[[[[[[[[", "t.yaml:1:17: error: nested too deep\n"
                             "    [[[[[[[[[[[[[[[[[[[[\n"
                             "                    ^\n"
                             "    hint: the settings need four levels\n"},
    {"user: \"\\e[31m\"\n" SITE, "t.yaml:1:7: error: this text holds a control character\n"
                                 "    user: \"\\e[31m\"\n"
                                 "          ^~~~~~~~\n"},
    {"user: 'a''''''''''b'\n" SITE, "t.yaml:1:7: error: so many quotes in a row are not supported\n"
                                    "    user: 'a''''''''''b'\n"
                                    "          ^~~~~~~~~~~~~~\n"
                                    "    hint: write the value in double quotes\n"},
    {"# \xc3\xa9\n\xc3\xa9: \xff\n", "t.yaml:2:4: error: not UTF-8: byte 0xff\n"
                                     "    \xc3\xa9: ?\n"
                                     "       ^\n"
                                     "    hint: save the file as UTF-8\n"},
    {"workers:2\n", "t.yaml:1:1: error: expected settings (\"key: value\", with a space), found a single value\n"
                    "    workers:2\n"
                    "    ^~~~~~~~~\n"},
};

Test(config, each_mistake_is_located_and_explained)
{
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *findings;
        struct config *config = parse(bytes_from_string(wrong[i].text), &findings);
        cr_expect_null(config, "accepted: %s", wrong[i].text);
        cr_expect_str_eq(findings, wrong[i].findings, "%s\nis said to be\n%s\ninstead of\n%s", wrong[i].text, findings, wrong[i].findings);
        free(findings);
        config_unref(&config);
    }
}

Test(config, all_mistakes_are_reported_at_once_in_the_order_of_the_text)
{
    char *findings;
    struct config *config = parse(
        BYTES("workers: x\nlisten: [8080, 8080]\nsites:\n- {hosts: a, origin: ftp://x}\n- {hosts: a, origin: http://x}\n"), &findings);
    const char *places[] = {"t.yaml:1:10:", "t.yaml:2:16:", "t.yaml:4:22:", "t.yaml:5:11:"};
    const char *at = findings;

    cr_assert_null(config);
    for (unsigned i = 0; i < 4; i++) {
        at = strstr(at, places[i]);
        cr_assert(at, "%s is missing or out of order in\n%s", places[i], findings);
    }
    free(findings);
}

Test(config, a_warning_does_not_refuse)
{
    char *findings;
    struct config *config = parse(BYTES("cache: {memory: 8MiB, object_max: 4MiB}\n" SITE), &findings);

    cr_assert(config);
    cr_assert_eq(config->cache_object_max_bytes, 2u << 20);
    cr_assert_str_eq(findings, "t.yaml:1:35: warning: cache.object_max: lowered to a quarter of cache.memory, 2MiB\n"
                               "    cache: {memory: 8MiB, object_max: 4MiB}\n"
                               "                                      ^~~~\n");
    free(findings);
    config_unref(&config);
}

Test(config, a_flood_of_mistakes_is_cut)
{
    size_t size = 500 * 1024;
    char *text = malloc(size), *findings;
    struct config *config;

    for (size_t i = 0; i < size; i++)
        text[i] = i % 5 == 0 ? 'x' : i % 5 == 1 ? (char)('a' + i % 26) : i % 5 == 2 ? ':' : i % 5 == 3 ? ' ' : '\n';
    config = parse(bytes_from(text, size), &findings);
    cr_assert_null(config);
    cr_assert(strstr(findings, "more errors"));
    cr_assert_lt(strlen(findings), 64 * 1024);
    free(findings);
    free(text);
}

Test(config, an_oversized_text_is_refused)
{
    size_t size = 1024 * 1024 + 1;
    char *text = malloc(size), *findings;
    struct config *config;

    memset(text, '#', size);
    config = parse(bytes_from(text, size), &findings);
    cr_assert_null(config);
    cr_assert_str_eq(findings, "t.yaml:1:1: error: the file has more than 1 MiB; a configuration is smaller\n");
    free(findings);
    free(text);
}

Test(config, nul_bytes_are_refused)
{
    char *findings;
    struct config *config = parse(BYTES(SITE "workers: 1\0\n"), &findings);

    cr_assert_null(config);
    cr_assert_str_eq(findings, "t.yaml:2:11: error: NUL byte\n"
                               "    workers: 1?\n"
                               "              ^\n"
                               "    hint: a configuration is plain text, in UTF-8\n");
    free(findings);
}

Test(config, a_file_that_cannot_be_read_is_an_error_like_the_others)
{
    char *findings;
    size_t length;
    FILE *errors = open_memstream(&findings, &length);
    struct bytes text = BYTES("x");

    cr_assert(!config_read_file("/nonexistent/outrigger.yaml", errors, &text));
    fclose(errors);
    cr_assert_null(text.at);
    cr_assert_str_eq(findings, "/nonexistent/outrigger.yaml:1:1: error: cannot read it: No such file or directory\n");
    free(findings);
}

Test(config, a_file_is_read_as_it_is)
{
    char path[] = "/tmp/test_config_XXXXXX";
    int fd = mkstemp(path);
    struct bytes text;

    cr_assert_eq(write(fd, SITE, strlen(SITE)), (ssize_t)strlen(SITE));
    close(fd);
    cr_assert(config_read_file(path, stderr, &text));
    unlink(path);
    assert_text(text, SITE);
    free((char *)text.at);
}

Test(config, a_command_line_becomes_a_configuration)
{
    const char *origins[] = {"http://127.0.0.1:3000", "http://[::1]:3000"}, *listens[] = {":8080", "[::1]:8080"};
    struct arena arena;
    struct config *config;
    char *findings;

    arena_init(&arena);
    config = parse(config_synthesise(&arena, origins, 2, listens, 2, NULL), &findings);
    cr_assert(config, "%s", findings);
    cr_assert_eq(config->listener_count, 2);
    cr_assert_eq(config->sites[0].origin_count, 2);
    assert_text(config->sites[0].hosts[0], "*");
    config_unref(&config);
    free(findings);

    config = parse(config_synthesise(&arena, NULL, 0, NULL, 0, "/tmp"), &findings);
    cr_assert(config, "%s", findings);
    cr_assert_str_eq(config->sites[0].origins[0].root, "/tmp");
    cr_assert_gt(config->sites[0].files_delay_ms, 0);
    config_unref(&config);
    free(findings);

    const char *hostile[] = {"http://a\"}]\nworkers: 1\n#"};
    config = parse(config_synthesise(&arena, hostile, 1, NULL, 0, NULL), &findings);
    cr_assert_null(config, "what a command line says stays one value");
    free(findings);
    arena_free(&arena);
}

Test(config, references_keep_a_configuration)
{
    struct config *config = parse_good(SITE), *other = config_ref(config);

    config_unref(&config);
    cr_assert_eq(other->site_count, 1);
    config_unref(&other);
}
