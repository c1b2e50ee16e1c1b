#include "proxy/config/settings.h"

typedef struct config scope_ROOT;
typedef struct config_listener scope_LISTENER;
typedef struct config_disk scope_DISK;
typedef struct config_certificate scope_CERTIFICATE;
typedef struct config_site scope_SITE;

#define VALUE_TYPE(name, c_type, text) typedef c_type c_type_##name;
VALUE_TYPES(VALUE_TYPE)
#undef VALUE_TYPE

/* The field has the type that the readers of values.c write. */
#define SECTION(scope, path, shorthand, help)
#define SETTING(scope, path, type, field, standard, least, most, help)                                                                     \
    _Static_assert(__builtin_types_compatible_p(c_type_##type, __typeof__(((scope_##scope *)0)->field)), path);
#define UNSUPPORTED(scope, path, help)
#include "proxy/config/settings.tbl"
#undef SECTION
#undef SETTING
#undef UNSUPPORTED

const struct setting settings[] = {
#define SECTION(scope, path, shorthand, help) {SCOPE_##scope, VALUE_SECTION, BYTES(path), 0, shorthand, NULL, NULL, help},
#define UNSUPPORTED(scope, path, help)        {SCOPE_##scope, VALUE_UNSUPPORTED, BYTES(path), 0, NULL, NULL, NULL, help},
#define SETTING(scope, path, type, field, standard, least, most, help)                                                                     \
    {SCOPE_##scope, VALUE_##type, BYTES(path), offsetof(scope_##scope, field), standard, least, most, help},
#include "proxy/config/settings.tbl"
#undef SECTION
#undef SETTING
#undef UNSUPPORTED
};

const unsigned settings_count = sizeof(settings) / sizeof(settings[0]);
_Static_assert(sizeof(settings) / sizeof(settings[0]) <= SETTINGS_MAX, "SETTINGS_MAX");

const char *value_type_text(enum value_type type)
{
    static const char *const texts[] = {
#define VALUE_TYPE(name, c_type, text) text,
        VALUE_TYPES(VALUE_TYPE)
#undef VALUE_TYPE
            "a mapping",
        "nothing"};

    return texts[type];
}

const char *value_word(enum value_type type, unsigned n)
{
    static const char *const words[][6] = {
        [VALUE_LOG_LEVEL] =
            {[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug"},
        [VALUE_CONCURRENCY] =
            {[CONCURRENCY_AMPED] = "amped", [CONCURRENCY_SPED] = "sped", [CONCURRENCY_MT] = "mt", [CONCURRENCY_MP] = "mp"},
        [VALUE_WITHOUT] = {[WITHOUT_NOTHING] = "nothing",
                           [WITHOUT_INDEX] = "index",
                           [WITHOUT_HEADER] = "header",
                           [WITHOUT_PAGES] = "pages",
                           [WITHOUT_ALL] = "all"},
        [VALUE_DISK_ENGINE] = {[DISK_ENGINE_AUTO] = "auto", [DISK_ENGINE_IO_URING] = "io_uring", [DISK_ENGINE_BLOCKING] = "blocking"},
        [VALUE_TLS_VERSION] = {[TLS_VERSION_12] = "1.2", [TLS_VERSION_13] = "1.3"},
        [VALUE_CLIENT_CERTIFICATES] =
            {[CLIENT_CERTIFICATES_OFF] = "off", [CLIENT_CERTIFICATES_REQUEST] = "request", [CLIENT_CERTIFICATES_REQUIRE] = "require"},
        [VALUE_DISK_ADMISSION] = {[DISK_ADMIT_ALWAYS] = "always", [DISK_ADMIT_SECOND_HIT] = "second-hit"},
    };
    return words[type][n];
}

const struct setting *setting_find(enum setting_scope scope, struct bytes path)
{
    for (unsigned i = 0; i < settings_count; i++) {
        if (settings[i].scope == scope && bytes_equal(settings[i].path, path))
            return &settings[i];
    }
    return NULL;
}

static size_t prefix_length(struct bytes path)
{
    while (path.len > 0 && path.at[path.len - 1] != '.')
        path.len--;
    return path.len;
}

struct bytes setting_key(const struct setting *setting)
{
    size_t prefix = prefix_length(setting->path);

    return bytes_from(setting->path.at + prefix, setting->path.len - prefix);
}

struct bytes setting_prefix(const struct setting *setting)
{
    return bytes_from(setting->path.at, prefix_length(setting->path));
}

unsigned setting_depth(const struct setting *setting)
{
    unsigned depth = 0;

    for (size_t i = 0; i < setting->path.len; i++)
        depth += setting->path.at[i] == '.';
    return depth;
}

const struct setting *setting_elsewhere(struct bytes key)
{
    for (unsigned i = 0; i < settings_count; i++) {
        if (bytes_equal(setting_key(&settings[i]), key))
            return &settings[i];
    }
    return NULL;
}

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

enum { WORD_MAX = 32 };

unsigned edit_distance(struct bytes a, struct bytes b, unsigned limit)
{
    unsigned before[WORD_MAX + 1] = {0}, above[WORD_MAX + 1] = {0}, row[WORD_MAX + 1] = {0}; /* rows i − 2, i − 1 and i of the matrix */

    if (a.len > WORD_MAX || b.len > WORD_MAX)
        return limit + 1;
    for (unsigned j = 0; j <= b.len; j++)
        above[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char from = byte_lower(a.at[i - 1]), to = byte_lower(b.at[j - 1]);
            unsigned best = least_of(least_of(above[j], row[j - 1]) + 1, above[j - 1] + (from != to));
            if (i > 1 && j > 1 && from == byte_lower(b.at[j - 2]) && byte_lower(a.at[i - 2]) == to)
                best = least_of(best, before[j - 2] + 1);
            row[j] = best;
        }
        memcpy(before, above, sizeof(before));
        memcpy(above, row, sizeof(above));
    }
    return above[b.len] <= limit ? above[b.len] : limit + 1;
}

const struct setting *setting_suggest(enum setting_scope scope, struct bytes prefix, struct bytes key)
{
    const struct setting *best = NULL;
    /* A third of the word may be wrong: "wokers", "max-age", "acces_logs". */
    unsigned limit = key.len < 3 ? 1 : (unsigned)(key.len + 2) / 3;

    for (unsigned i = 0; i < settings_count; i++) {
        if (settings[i].scope != scope || settings[i].type == VALUE_UNSUPPORTED || !bytes_equal(setting_prefix(&settings[i]), prefix))
            continue;
        unsigned distance = edit_distance(key, setting_key(&settings[i]), limit);
        if (distance <= limit) {
            best = &settings[i];
            limit = distance > 0 ? distance - 1 : 0;
        }
    }
    return best;
}
