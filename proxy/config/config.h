/* The configuration: what the YAML says, checked, with defaults filled in. Immutable; each loop keeps a reference until its last request of that generation ends.
 *
 * One table of settings (settings.tbl) gives key, type, default, bounds and help: it drives parsing, "did you mean", -T and the reference.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/log.h"
#include "base/ref.h"
#include "base/status_ttl.h"
#include "proxy/config/report.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

struct config_address {
    struct bytes            text; /* as written */
    struct sockaddr_storage address;
    socklen_t               length;
};

struct config_listener {
    struct config_address address; /* "8080", ":8080", "127.0.0.1:8080", "[::1]:8080" */
    bool                  tls;
    bool                  http2;   /* with TLS: offered; cleartext: by prior knowledge */
    bool                  proxy_protocol; /* each connection begins with its header */
};

/* A cache directory. */
struct config_disk {
    const char *path; /* absolute */
    uint64_t    size_bytes;
};

enum { DISKS_MAX = 16 };
#define DISKS_MAX_BYTES ((uint64_t)8 << 40) /* of all of them together */
enum config_concurrency { CONCURRENCY_AMPED, CONCURRENCY_SPED, CONCURRENCY_MT, CONCURRENCY_MP };
enum config_without { WITHOUT_NOTHING, WITHOUT_INDEX, WITHOUT_HEADER, WITHOUT_PAGES, WITHOUT_ALL };
enum config_disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_IO_URING, DISK_ENGINE_BLOCKING };
enum config_disk_admission { DISK_ADMIT_ALWAYS, DISK_ADMIT_SECOND_HIT };

enum config_tls_version { TLS_VERSION_12, TLS_VERSION_13 };
enum config_client_mode { CLIENT_CERTIFICATES_OFF, CLIENT_CERTIFICATES_REQUEST, CLIENT_CERTIFICATES_REQUIRE };

/* What a site shows on listeners with TLS: config_file() has the contents. */
struct config_certificate {
    const char *certificate, *key;
    const char *ocsp; /* NULL: nothing is stapled */
};

/* A network in an allow list: "127.0.0.1", "10.0.0.0/8", "::1". */
struct config_network {
    uint8_t  family; /* 4 or 6 */
    uint8_t  prefix_bits;
    uint8_t  bytes[16];
};

struct config_networks {
    struct config_network *at;
    unsigned               count;
};

/* Names that a setting lists. */
struct config_names {
    struct bytes *at;
    unsigned      count;
};

enum origin_kind { ORIGIN_KIND_HTTP, ORIGIN_KIND_FILES };

struct config_origin {
    enum origin_kind kind;
    bool             is_https; /* of ORIGIN_KIND_HTTP */
    struct bytes     url;      /* as written */
    struct bytes     host;     /* name or literal, without brackets */
    uint16_t         port;
    const char      *root;     /* files: absolute path */
};

/* How the https:// origins of a site are talked to. */
struct config_origin_tls {
    bool         verify;
    const char  *ca;               /* NULL: the system's authorities */
    const char  *authorities;      /* the file that they are in; NULL: nothing is verified */
    struct bytes name;             /* expected in the certificate; absent: the origin's own */
    const char  *certificate, *key; /* what we show; NULL: nothing */
};

struct config_site {
    struct bytes         *hosts; /* lower case; "*", "*.example.org" or a name */
    unsigned              host_count;
    struct config_origin *origins;
    unsigned              origin_count;
    int64_t               hsts_max_age_s; /* < 0: off */
    bool                  hsts_include_subdomains, hsts_preload;
    struct bytes          hsts_line;      /* of these: the field line, ready to send; absent: off */
    unsigned              https_redirect; /* the status: 301 or 308; 0: none */
    const char           *acme_directory; /* NULL: challenges pass to the origin */
    const struct config_site *challenges; /* how that directory is served: as this site, but for the origin; NULL without one */
    struct bytes          host_header;  /* override of Host towards the origin; absent: as the client sent it */
    struct config_origin_tls origin_tls;
    struct config_certificate *certificates;
    unsigned              certificate_count; /* 0: its names are not known to TLS */
    enum config_client_mode client_mode;
    const char           *client_ca;      /* NULL: off */
    struct bytes          client_header;  /* where origins find the client's name; absent: nowhere */
    uint64_t              client_policy;  /* equal where clients are treated alike; 0: off */
    struct config_networks purge_allow;
    int64_t  connect_timeout_ms, first_byte_timeout_ms, between_bytes_timeout_ms, tunnel_idle_timeout_ms;
    unsigned pool_connections;         /* idle ones kept per origin address and loop */
    int64_t  pool_idle_ms;
    unsigned retries;                  /* of an idempotent request, on other addresses or connections */
    int64_t  down_ms;                  /* a failed origin is skipped for that long */
    int64_t  files_delay_ms;           /* files: artificial delay of each answer, for demonstrations */
    int64_t  files_max_age_s;          /* files: Cache-Control: max-age of what is served; < 0: none */
    /* cache rules; see cache/policy/rules.h */
    bool     honour_request_directives, store_set_cookie, strip_tags, early_hints;
    int64_t  heuristic_max_s, grace_s, hit_for_miss_s;
    int64_t  stale_if_slow_ms; /* 0: never */
    uint64_t slice_bytes; /* 0: off */
    struct config_networks show_key; /* to whom Cache-Status tells the key */
    struct config_names targeted;
    bool     surrogate_control, accel_expires;
    struct config_names query_ignore, query_keep; /* query_keep.at NULL: all */
    bool     query_sort;
    struct config_names bypass_cookies, key_cookies;
    struct status_ttl *errors;
    unsigned error_count;
};

/* A file that a setting names and whose content belongs to the configuration: a certificate or a key, which not everybody may read. */
struct config_file {
    const char  *path;
    struct place place;   /* in the text: where it is named first */
    struct bytes content; /* see boot/config_files.h */
};

struct config {
    struct ref   ref;
    struct arena arena;
    struct config_file *files; /* each path once */
    unsigned     file_count;
    void        *files_memory; /* mapped: their contents; NULL: not there yet, or none */
    size_t       files_bytes;
    int          files_fd;     /* the same as a memory file; −1: none, or closed */
    struct bytes name;    /* file name, or "command line" */

    unsigned     workers; /* ≥ 1 */
    enum config_concurrency concurrency;
    enum config_without without; /* which of the caches that one hit passes is switched off */
    const char  *user;    /* NULL: stay */
    struct config_listener *listeners;
    unsigned     listener_count;
    struct config_networks trusted_proxies; /* who may say whose request or connection it is */
    struct config_address admin_listen; /* length 0: off */
    bool         admin_control;
    const char  *admin_socket;          /* NULL: off */

    enum config_tls_version tls_min_version;
    struct bytes tls_ciphers, tls_ciphersuites, tls_groups; /* absent: ours */
    const char  *tls_tickets;           /* "on", "off", or the file with the keys */
    bool         tls_strict_sni;

    uint64_t     cache_memory_bytes, cache_object_max_bytes;
    unsigned     cache_variants_max;
    struct config_disk *disks;
    unsigned     disk_count;            /* 0: no disk tier */
    enum config_disk_engine    disk_engine;
    enum config_disk_admission disk_admission;
    uint64_t     disk_queue_bytes;      /* memory that may wait to be written */
    int64_t      disk_read_delay_ms;    /* for measurements: each read takes that much longer */

    const char  *access_log;   /* NULL: off; "-": standard output */
    bool         access_log_json;
    const char  *error_log;    /* "-": standard error */
    struct place access_log_place, error_log_place; /* in the text; not set where they are not written */
    enum log_level log_level;

    unsigned     disk_helpers, store_helpers, resolver_helpers;
    int64_t      helper_deadline_ms;
    struct bytes resolver_servers;  /* comma-separated "address:port"; absent: the system's */
    int64_t      resolver_ttl_min_s, resolver_ttl_max_s, resolver_failure_ttl_s;

    /* limits */
    unsigned     header_bytes_max, header_count_max, url_bytes_max, connections_max;
    uint64_t     body_bytes_max; /* of a request; 0: any */
    uint64_t     memory_limit_bytes; /* or MEMORY_LIMIT_AUTO, MEMORY_LIMIT_OFF: base/memory_meter.h */
    /* deadlines */
    int64_t      header_timeout_ms, body_timeout_ms /* without progress */, keep_alive_timeout_ms, write_stall_timeout_ms, drain_timeout_ms;
    uint64_t     body_min_rate;  /* bytes a second, averaged over body_timeout */
    uint64_t     write_min_rate; /* likewise, over write_stall_timeout */

    /* HTTP/2 */
    unsigned     http2_streams, http2_window, http2_connection_window, http2_header_table, http2_resets, http2_control_frames;

    struct config_site *sites;
    unsigned     site_count;
};

/* Loops of one proxy that serve clients. */
static inline unsigned config_loops(const struct config *config)
{
    return config->concurrency == CONCURRENCY_MP ? 1 : config->workers;
}

/* Parses and checks `text`. Errors (all of them) and warnings are written to `errors` as `name:line:column: error: …` with the line, a caret and a hint;
 * NULL when there was an error. `name` is copied. */
struct config *config_parse(struct bytes name, struct bytes text, FILE *errors);
/* The same for a text that another process has checked. What it names outside itself, files and accounts, is not looked at: the proxy has no file system. */
struct config *config_parse_again(struct bytes name, struct bytes text, FILE *errors);
/* For -t: like config_parse, and warns of what is allowed but dangerous (advice.h). */
struct config *config_test(struct bytes name, struct bytes text, FILE *errors);
/* For -T: like config_print, each value with where it comes from in a comment: "default", or the line of `name`. */
struct config *config_show(struct bytes name, struct bytes text, FILE *errors, FILE *out);
/* *text (malloc'ed) is what the file holds. False: it cannot be read, as `errors` says. */
bool config_read_file(const char *path, FILE *errors, struct bytes *text);
/* YAML for `--origin URL… --listen ADDRESS…` without a file, and for neither: the demo site. In `arena`. */
struct bytes config_synthesise(struct arena *arena, const char *const *origins, unsigned origin_count, const char *const *listens,
                               unsigned listen_count, const char *demo_root);

/* By what a setting says; never NULL for that. */
const struct config_file *config_file(const struct config *config, const char *path);

struct config *config_ref(struct config *config);
void           config_unref(struct config **config);

/* The effective configuration, defaults included, as YAML that parses back to the same. */
void config_print(const struct config *config, FILE *out);

bool config_networks_have(const struct config_networks *networks, const struct sockaddr *address);

#endif
