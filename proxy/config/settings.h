/* The table of settings (settings.tbl) as data, and the search in it. */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "proxy/config/config.h"

/* VALUE_TYPE(name, C type of the field, "what a user writes") */
#define VALUE_TYPES(VALUE_TYPE)                                                      \
    VALUE_TYPE(WORKERS,        unsigned,                 "a number or auto")         \
    VALUE_TYPE(COUNT,          unsigned,                 "a number")                 \
    VALUE_TYPE(SIZE,           uint64_t,                 "a size such as 256MiB")    \
    VALUE_TYPE(SIZE_OR_OFF,    uint64_t,                 "a size such as 4MiB, or off") \
    VALUE_TYPE(SIZE_AUTO_OR_OFF, uint64_t,               "a size such as 1GiB, auto or off") \
    VALUE_TYPE(SIZE32,         unsigned,                 "a size such as 16KiB")     \
    VALUE_TYPE(MILLISECONDS,   int64_t,                  "a duration such as 10s")   \
    VALUE_TYPE(SECONDS,        int64_t,                  "a duration such as 10s")   \
    VALUE_TYPE(SECONDS_OR_OFF, int64_t,                  "a duration such as 10s, or off") \
    VALUE_TYPE(FLAG,           bool,                     "true or false")            \
    VALUE_TYPE(REDIRECT,       unsigned,                 "true, false, 301 or 308")  \
    VALUE_TYPE(ACCESS_FORMAT,  bool,                     "combined or json")         \
    VALUE_TYPE(LOG_LEVEL,      enum log_level,           "error, warn, info or debug") \
    VALUE_TYPE(CONCURRENCY,    enum config_concurrency,  "amped, sped, mt or mp")    \
    VALUE_TYPE(WITHOUT,        enum config_without,      "nothing, index, header, pages or all") \
    VALUE_TYPE(DISK_ENGINE,    enum config_disk_engine,  "auto, io_uring or blocking") \
    VALUE_TYPE(DISK_ADMISSION, enum config_disk_admission, "always or second-hit")   \
    VALUE_TYPE(TLS_VERSION,    enum config_tls_version,  "1.2 or 1.3")               \
    VALUE_TYPE(CLIENT_CERTIFICATES, enum config_client_mode, "off, request or require") \
    VALUE_TYPE(FILE_OR_FLAG,   const char *,             "an absolute path, on or off") \
    VALUE_TYPE(TEXT,           struct bytes,             "names with colons between them") \
    VALUE_TYPE(FIELD_NAME,     struct bytes,             "the name of a header field") \
    VALUE_TYPE(PATH,           const char *,             "an absolute path")         \
    /* read with the configuration, into config->files */                            \
    VALUE_TYPE(FILE,           const char *,             "the absolute path of a file") \
    VALUE_TYPE(LOG,            const char *,             "an absolute path, -, syslog or journald") \
    VALUE_TYPE(LOG_OR_OFF,     const char *,             "an absolute path, -, syslog, journald or off") \
    VALUE_TYPE(SOCKET_OR_OFF,  const char *,             "an absolute path or off")  \
    VALUE_TYPE(PASS_OR_DIRECTORY, const char *,          "an absolute path or pass") \
    VALUE_TYPE(USER,           const char *,             "the name of an account")   \
    VALUE_TYPE(ADDRESS,        struct config_address,    "an address such as 127.0.0.1:8080") \
    VALUE_TYPE(ADDRESS_OR_OFF, struct config_address,    "an address such as 127.0.0.1:8080, or off") \
    VALUE_TYPE(HOST_HEADER,    struct bytes,             "a host name")              \
    VALUE_TYPE(SERVER_NAME,    struct bytes,             "a host name or an address") \
    VALUE_TYPE(SERVERS,        struct bytes,             "an address or a list of addresses") \
    VALUE_TYPE(HOSTS,          struct bytes *,           "a host name or a list of them") \
    VALUE_TYPE(ORIGINS,        struct config_origin *,   "a URL or a list of URLs")  \
    VALUE_TYPE(FIELD_NAMES,    struct config_names,      "the name of a header field or a list of them") \
    VALUE_TYPE(QUERY_NAMES,    struct config_names,      "the name of a query parameter or a list of them") \
    VALUE_TYPE(COOKIE_NAMES,   struct config_names,      "the name of a cookie or a list of them") \
    VALUE_TYPE(COOKIE_PATTERNS, struct config_names,     "the name of a cookie, the beginning of one such as wordpress_*, or a list of them") \
    VALUE_TYPE(STATUS_TTLS,    struct status_ttl *,      "a duration such as 1s, or a mapping such as {404: 10s, 5xx: 1s}") \
    VALUE_TYPE(NETWORKS,       struct config_networks,   "an address, a network such as 10.0.0.0/8, or a list of them") \
    /* lists of mappings: scopes of their own */                                     \
    VALUE_TYPE(LISTENERS,      struct config_listener *, "an address or a list")     \
    VALUE_TYPE(DISKS,          struct config_disk *,     "a directory with path and size, or a list of them") \
    VALUE_TYPE(CERTIFICATES,   struct config_certificate *, "certificate and key, or a list of them") \
    VALUE_TYPE(SITES,          struct config_site *,     "a list of sites, each with hosts and origin")

enum value_type {
#define VALUE_TYPE(name, c_type, text) VALUE_##name,
    VALUE_TYPES(VALUE_TYPE)
#undef VALUE_TYPE
    VALUE_SECTION,
    VALUE_UNSUPPORTED,
};

enum setting_scope { SCOPE_ROOT, SCOPE_LISTENER, SCOPE_DISK, SCOPE_CERTIFICATE, SCOPE_SITE };

struct setting {
    enum setting_scope scope;
    enum value_type    type;
    struct bytes       path;      /* dotted */
    size_t             offset;    /* of the field in the scope's struct */
    const char        *standard;  /* the default; of a section: its shorthand */
    const char        *least, *most;
    const char        *help;      /* of an unsupported one: what to do instead */
};

extern const struct setting settings[];
extern const unsigned       settings_count;

enum { SETTINGS_MAX = 192 }; /* for arrays beside `settings`; asserted */

const char *value_type_text(enum value_type type);
/* The n-th word of a type whose values are words, in the order of its enum; NULL after the last. */
const char *value_word(enum value_type type, unsigned n);

const struct setting *setting_find(enum setting_scope scope, struct bytes path);
static inline unsigned setting_index(const struct setting *setting)
{
    return (unsigned)(setting - settings);
}
/* Last word of the path. */
struct bytes setting_key(const struct setting *setting);
/* Section that the setting stands in: "cache." for "cache.memory", "" at the top. */
struct bytes setting_prefix(const struct setting *setting);
/* How many sections it stands in. */
unsigned setting_depth(const struct setting *setting);

/* The setting of that section whose key `key` was probably meant to be, or NULL. */
const struct setting *setting_suggest(enum setting_scope scope, struct bytes prefix, struct bytes key);
/* A setting of any scope and section with exactly that key: it stands in the wrong place. NULL when there is none. */
const struct setting *setting_elsewhere(struct bytes key);

/* Insertions, deletions, replacements and swaps of neighbours between two short words; `limit` + 1 as soon as it is more than that. */
unsigned edit_distance(struct bytes a, struct bytes b, unsigned limit);

#endif
