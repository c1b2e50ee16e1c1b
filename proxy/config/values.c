#include "proxy/config/values.h"
#include "proxy/config/address.h"
#include "proxy/config/units.h"

#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef void value_reader(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field);

/* "cache.memory: " */
#define PATH_FMT    "%.*s: "
#define SHOWN(text) BYTES_FMT(report_shown(text))

static void complain(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *wrong)
{
    report_error(&reading->report, node->place, PATH_FMT "\"%.*s\" %s", BYTES_FMT(setting->path), SHOWN(node->text), wrong);
}

/* Whether the node is a single value; reports when it is not. */
static bool expect_scalar(struct reading *reading, const struct setting *setting, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR)
        return true;
    if (node->kind == YAML_NULL)
        report_error(&reading->report, node->place, PATH_FMT "has no value; expected %s", BYTES_FMT(setting->path),
                     value_type_text(setting->type));
    else
        report_error(&reading->report, node->place, PATH_FMT "expected %s, found %s", BYTES_FMT(setting->path),
                     value_type_text(setting->type), yaml_kind_text(node->kind));
    return false;
}

/* ---- numbers, sizes, durations ---- */

static bool check_range(struct reading *reading, const struct setting *setting, const struct yaml_node *node, uint64_t value,
                        uint64_t least, uint64_t most)
{
    if (value < least)
        report_error(&reading->report, node->place, PATH_FMT "%.*s is too small; the least is %s", BYTES_FMT(setting->path),
                     SHOWN(node->text), setting->least);
    else if (value > most)
        report_error(&reading->report, node->place, PATH_FMT "%.*s is too large; the most is %s", BYTES_FMT(setting->path),
                     SHOWN(node->text), setting->most);
    return value >= least && value <= most;
}

static bool parse_number(struct reading *reading, const struct setting *setting, const struct yaml_node *node, unsigned *field)
{
    uint64_t value, least = 0, most = UINT32_MAX;
    bool negative = node->text.len > 1 && node->text.at[0] == '-';
    bool digits = node->text.len > 0;

    for (size_t i = negative; i < node->text.len; i++)
        digits = digits && node->text.at[i] >= '0' && node->text.at[i] <= '9';
    if (!digits || negative) {
        complain(reading, setting, node, digits ? "is negative" : "is not a whole number");
        return false;
    }
    if (setting->least)
        bytes_parse_u64(bytes_from_string(setting->least), &least);
    if (setting->most)
        bytes_parse_u64(bytes_from_string(setting->most), &most);
    if (!bytes_parse_u64(node->text, &value))
        value = UINT64_MAX;
    if (!check_range(reading, setting, node, value, least, most))
        return false;
    *field = (unsigned)value;
    return true;
}

static void read_count(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (expect_scalar(reading, setting, node))
        parse_number(reading, setting, node, field);
}

static void read_workers(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("auto"))) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        uint64_t most = 1;
        bytes_parse_u64(bytes_from_string(setting->most), &most);
        *(unsigned *)field = cores < 1 ? 1 : (uint64_t)cores > most ? (unsigned)most : (unsigned)cores;
        return;
    }
    parse_number(reading, setting, node, field);
}

/* Says what is wrong with a size or duration, and what would be right. */
static void complain_of_unit(struct reading *reading, const struct setting *setting, const struct yaml_node *node, enum unit_error error,
                             bool is_size)
{
    const char *hint = is_size ? size_units_hint : duration_units_hint;
    struct bytes text = report_shown(node->text);

    switch (error) {
    case UNIT_OK:
        return;
    case UNIT_NOT_A_NUMBER:
        complain(reading, setting, node, is_size ? "is not a size" : "is not a duration");
        report_hint(&reading->report, "%s",
                    is_size ? "write a number and a unit, such as 256MiB" : "write a number and a unit, such as 10s");
        return;
    case UNIT_NEGATIVE:
        complain(reading, setting, node, "is negative");
        return;
    case UNIT_FRACTION:
        complain(reading, setting, node, "is not a whole number");
        report_hint(&reading->report, "take a smaller unit: %s", hint);
        return;
    case UNIT_MISSING:
        complain(reading, setting, node, "has no unit");
        report_hint(&reading->report, "write \"%.*s%s\"; %s", BYTES_FMT(text), is_size ? "MiB" : "s", hint);
        return;
    case UNIT_UNKNOWN:
        complain(reading, setting, node, "has an unknown unit");
        report_hint(&reading->report, "%s", hint);
        return;
    case UNIT_TOO_LARGE:
        complain(reading, setting, node, "is too large");
        return;
    }
}

static bool parse_size(struct reading *reading, const struct setting *setting, const struct yaml_node *node, uint64_t *value)
{
    uint64_t least = 0, most = UINT64_MAX;

    if (!expect_scalar(reading, setting, node))
        return false;
    enum unit_error error = size_parse(node->text, value);
    if (error != UNIT_OK) {
        complain_of_unit(reading, setting, node, error, true);
        return false;
    }
    if (setting->least)
        size_parse(bytes_from_string(setting->least), &least);
    if (setting->most)
        size_parse(bytes_from_string(setting->most), &most);
    return check_range(reading, setting, node, *value, least, most);
}

static void read_size(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    uint64_t value = 0;
    bool is_off = setting->type == VALUE_SIZE_OR_OFF && node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off"));

    if (is_off || parse_size(reading, setting, node, &value))
        *(uint64_t *)field = value;
}

static void read_size32(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    uint64_t value;

    if (parse_size(reading, setting, node, &value))
        *(unsigned *)field = (unsigned)value;
}

static bool parse_duration(struct reading *reading, const struct setting *setting, const struct yaml_node *node, int64_t *ms)
{
    int64_t least = 0, most = INT64_MAX;

    if (!expect_scalar(reading, setting, node))
        return false;
    enum unit_error error = duration_parse(node->text, ms);
    if (error != UNIT_OK) {
        complain_of_unit(reading, setting, node, error, false);
        return false;
    }
    if (setting->least)
        duration_parse(bytes_from_string(setting->least), &least);
    if (setting->most)
        duration_parse(bytes_from_string(setting->most), &most);
    return check_range(reading, setting, node, (uint64_t)*ms, (uint64_t)least, (uint64_t)most);
}

static void read_milliseconds(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    int64_t ms;

    if (parse_duration(reading, setting, node, &ms))
        *(int64_t *)field = ms;
}

static void read_seconds(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    int64_t ms;

    if (!parse_duration(reading, setting, node, &ms))
        return;
    if (ms % 1000 != 0)
        complain(reading, setting, node, "is not in whole seconds");
    else
        *(int64_t *)field = ms / 1000;
}

static void read_seconds_or_off(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off")))
        *(int64_t *)field = -1;
    else
        read_seconds(reading, setting, node, field);
}

/* ---- words ---- */

static bool is_one_of(struct bytes text, const char *a, const char *b, const char *c)
{
    return bytes_equal(text, bytes_from_string(a)) || bytes_equal(text, bytes_from_string(b)) || bytes_equal(text, bytes_from_string(c));
}

static void complain_of_word(struct reading *reading, const struct setting *setting, const struct yaml_node *node)
{
    report_error(&reading->report, node->place, PATH_FMT "\"%.*s\" is not %s", BYTES_FMT(setting->path), SHOWN(node->text),
                 value_type_text(setting->type));
}

static void read_flag(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    if (is_one_of(node->text, "true", "on", "yes"))
        *(bool *)field = true;
    else if (is_one_of(node->text, "false", "off", "no"))
        *(bool *)field = false;
    else
        complain_of_word(reading, setting, node);
}

static void read_access_format(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    bool json = bytes_equal(node->text, BYTES("json"));
    if (json || bytes_equal(node->text, BYTES("combined")))
        *(bool *)field = json;
    else
        complain_of_word(reading, setting, node);
}

static const char *const level_words[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug"};

static void read_log_level(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    for (unsigned i = 0; i < sizeof(level_words) / sizeof(level_words[0]); i++) {
        if (bytes_equal(node->text, bytes_from_string(level_words[i]))) {
            *(enum log_level *)field = (enum log_level)i;
            return;
        }
    }
    complain_of_word(reading, setting, node);
}

/* ---- paths and names ---- */

static void read_path(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char **field)
{
    if (node->text.len == 0 || node->text.at[0] != '/') {
        complain_of_word(reading, setting, node);
        return;
    }
    *field = arena_string(&reading->config->arena, node->text);
}

static void read_log(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("-")))
        *(const char **)field = "-";
    else
        read_path(reading, setting, node, field);
}

static void read_log_or_off(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off")))
        *(const char **)field = NULL;
    else
        read_log(reading, setting, node, field);
}

static void read_socket_or_off(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("off")))
        *(const char **)field = NULL;
    else if (node->text.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
        report_error(&reading->report, node->place, PATH_FMT "the path of a socket has at most %zu bytes, this has %zu",
                     BYTES_FMT(setting->path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1, node->text.len);
    else
        read_path(reading, setting, node, field);
}

static void read_user(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    const char *name = arena_string(&reading->config->arena, node->text);
    if (!getpwnam(name)) {
        complain(reading, setting, node, "is no account of this machine");
        report_hint(&reading->report, "`getent passwd` lists them");
        return;
    }
    *(const char **)field = name;
}

static void read_host_header(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!expect_scalar(reading, setting, node))
        return;
    const char *wrong = host_header_check(node->text);
    if (wrong)
        complain(reading, setting, node, wrong);
    else
        *(struct bytes *)field = arena_copy(&reading->config->arena, node->text);
}

/* ---- addresses ---- */

static void read_address(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_address address;

    if (!expect_scalar(reading, setting, node))
        return;
    const char *wrong = address_parse(node->text, 0, &address);
    if (wrong) {
        complain(reading, setting, node, wrong);
        report_hint(&reading->report, "write \"127.0.0.1:8080\", \"[::1]:8080\", or \":8080\" for every IPv4 address");
        return;
    }
    address.text = arena_copy(&reading->config->arena, node->text);
    *(struct config_address *)field = address;
}

static void read_address_or_off(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off")))
        *(struct config_address *)field = (struct config_address){.length = 0};
    else
        read_address(reading, setting, node, field);
}

/* ---- lists: a single value is a list of one ---- */

/* First value of a list setting, and how many there may be; 0, reported, for a mapping, nothing, or an empty list. */
static unsigned list_begin(struct reading *reading, const struct setting *setting, const struct yaml_node *node, bool may_be_empty,
                           const struct yaml_node **first)
{
    if (node->kind == YAML_SEQUENCE) {
        if (node->count == 0 && !may_be_empty)
            report_error(&reading->report, node->place, PATH_FMT "is an empty list; expected %s", BYTES_FMT(setting->path),
                         value_type_text(setting->type));
        *first = node->first;
        return node->count;
    }
    *first = node;
    return expect_scalar(reading, setting, node) ? 1 : 0;
}

/* The item after `node`; a single value has none, though it may have a neighbour in its mapping. */
static const struct yaml_node *list_next(const struct yaml_node *list, const struct yaml_node *node)
{
    return list->kind == YAML_SEQUENCE ? node->next : NULL;
}

static bool expect_item(struct reading *reading, const struct setting *setting, const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR)
        report_error(&reading->report, node->place, PATH_FMT "an item of the list is %s, not a single value", BYTES_FMT(setting->path),
                     yaml_kind_text(node->kind));
    return node->kind == YAML_SCALAR;
}

static void read_servers(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    const struct yaml_node *item;
    unsigned count = list_begin(reading, setting, node, false, &item);
    struct bytes joined = BYTES_NONE;

    for (; count > 0 && item; item = list_next(node, item)) {
        struct config_address address;
        char text[64];
        if (!expect_item(reading, setting, item))
            continue;
        const char *wrong = address_parse(item->text, 53, &address);
        if (wrong) {
            complain(reading, setting, item, wrong);
            continue;
        }
        address_format(&address.address, text);
        joined = arena_printf(&reading->config->arena, "%.*s%s%s", BYTES_FMT(joined), joined.len > 0 ? "," : "", text);
    }
    if (joined.len > 0)
        *(struct bytes *)field = joined;
}

/* The lists of a site have their count in a field beside them. */
static struct config_site *site_of(const struct setting *setting, void *field)
{
    return (struct config_site *)((char *)field - setting->offset);
}

static void claim_host(struct reading *reading, struct bytes host, struct place place)
{
    if (reading->claim_count == reading->claim_capacity) {
        unsigned capacity = reading->claim_capacity ? reading->claim_capacity * 2 : 64;
        struct host_claim *claims = arena_alloc(&reading->scratch, capacity * sizeof(*claims));
        if (reading->claim_count > 0)
            memcpy(claims, reading->claims, reading->claim_count * sizeof(*claims));
        reading->claims = claims;
        reading->claim_capacity = capacity;
    }
    reading->claims[reading->claim_count++] = (struct host_claim){host, place};
}

static struct bytes copy_lower(struct arena *arena, struct bytes text)
{
    char *copy = arena_string(arena, text);

    for (size_t i = 0; i < text.len; i++)
        copy[i] = byte_lower(copy[i]);
    return bytes_from(copy, text.len);
}

static void read_hosts(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_site *site = site_of(setting, field);
    const struct yaml_node *item;
    unsigned count = list_begin(reading, setting, node, false, &item);

    site->hosts = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*site->hosts));
    for (; count > 0 && item; item = list_next(node, item)) {
        if (!expect_item(reading, setting, item))
            continue;
        const char *wrong = host_pattern_check(item->text);
        if (wrong) {
            complain(reading, setting, item, wrong);
            continue;
        }
        struct bytes host = copy_lower(&reading->config->arena, item->text);
        claim_host(reading, host, item->place);
        site->hosts[site->host_count++] = host;
    }
}

static void check_directory(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        report_warning(&reading->report, node->place, PATH_FMT "%s is not a directory that can be read now", BYTES_FMT(setting->path),
                       path);
}

static void read_origin(struct reading *reading, const struct setting *setting, const struct yaml_node *node, struct config_site *site)
{
    struct config_origin origin;
    struct bytes text = arena_copy(&reading->config->arena, node->text);
    const char *wrong = memchr(text.at, 0, text.len) ? "holds a NUL byte" : origin_parse(text, &origin);

    if (wrong) {
        complain(reading, setting, node, wrong);
        if (bytes_find(text, '/') == text.len && !bytes_starts_with(text, BYTES("files:")) && host_header_check(text) == NULL)
            report_hint(&reading->report, "did you mean \"http://%.*s\"?", SHOWN(text));
        return;
    }
    if (origin.kind == ORIGIN_KIND_FILES) {
        origin.root = text.at + 6; /* arena_copy ends it with a NUL */
        check_directory(reading, setting, node, origin.root);
    }
    site->origins[site->origin_count++] = origin;
}

static void read_origins(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_site *site = site_of(setting, field);
    const struct yaml_node *item;
    unsigned count = list_begin(reading, setting, node, false, &item);

    site->origins = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*site->origins));
    for (; count > 0 && item; item = list_next(node, item)) {
        if (expect_item(reading, setting, item))
            read_origin(reading, setting, item, site);
    }
}

/* Why `name` cannot be in a list of names, or NULL. */
typedef const char *name_check(struct bytes name);

static const char *check_field_name(struct bytes name)
{
    return bytes_is_token(name) ? NULL : "is not the name of a field";
}

static void read_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, struct config_names *names,
                       name_check *check)
{
    const struct yaml_node *item;
    unsigned count = list_begin(reading, setting, node, true, &item);

    names->at = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*names->at));
    names->count = 0;
    for (; count > 0 && item; item = list_next(node, item)) {
        if (!expect_item(reading, setting, item))
            continue;
        const char *wrong = check(item->text);
        if (wrong)
            complain(reading, setting, item, wrong);
        else
            names->at[names->count++] = arena_copy(&reading->config->arena, item->text);
    }
}

static void read_field_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    read_names(reading, setting, node, field, check_field_name);
}

/* As it stands in a URL; "*" only at its end. */
static const char *check_query_name(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.at[i];
        if (c <= ' ' || c >= 0x7f || c == '&' || c == '=' || c == '#' || (c == '*' && i + 1 < name.len))
            return c == '*' ? "has a \"*\" that is not at its end" : "is not the name of a query parameter";
    }
    return name.len > 0 ? NULL : "is not the name of a query parameter";
}

static void read_query_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    read_names(reading, setting, node, field, check_query_name);
}

static const char *check_cookie_name(struct bytes name)
{
    return bytes_is_token(name) && bytes_find(name, '*') == name.len ? NULL : "is not the name of a cookie";
}

/* What is left without a star at the end may be empty: any cookie. */
static const char *check_cookie_pattern(struct bytes pattern)
{
    bool is_beginning = pattern.len > 0 && pattern.at[pattern.len - 1] == '*';
    struct bytes name = bytes_from(pattern.at, pattern.len - is_beginning);

    return is_beginning && name.len == 0 ? NULL : check_cookie_name(name);
}

static void read_cookie_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    read_names(reading, setting, node, field, check_cookie_name);
}

static void read_cookie_patterns(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    read_names(reading, setting, node, field, check_cookie_pattern);
}

/* ---- statuses and how long they are kept ---- */

/* "404", "4xx" or "5xx"; why it is none of them, or NULL. */
static const char *status_parse(struct bytes text, struct status_ttl *range)
{
    uint64_t status;

    if (bytes_equal(text, BYTES("4xx")) || bytes_equal(text, BYTES("5xx"))) {
        range->first = (uint16_t)((text.at[0] - '0') * 100);
        range->last = range->first + 99;
        return NULL;
    }
    if (text.len != 3 || !bytes_parse_u64(text, &status) || status < 400 || status > 599)
        return "is not the status of an error: 404, or 4xx or 5xx for all of a class";
    if (status_depends_on_client((unsigned)status))
        return "answers who asked, so that it cannot be kept for others";
    range->first = range->last = (uint16_t)status;
    return NULL;
}

static void add_status_ttl(struct reading *reading, const struct setting *setting, const struct yaml_node *node, struct bytes status,
                           const struct yaml_node *place, struct config_site *site)
{
    struct status_ttl *range = &site->errors[site->error_count];
    unsigned errors = reading->report.errors;
    const char *wrong = status_parse(status, range);

    if (wrong) {
        complain(reading, setting, place, wrong);
        return;
    }
    read_seconds(reading, setting, node, &range->ttl_s);
    if (reading->report.errors == errors)
        site->error_count++;
}

static void read_status_ttls(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    static const char *const usual[] = {"404", "410", "5xx"};
    struct config_site *site = site_of(setting, field);
    unsigned count = node->kind == YAML_MAPPING ? node->count : sizeof(usual) / sizeof(usual[0]);

    site->errors = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*site->errors));
    site->error_count = 0;
    if (node->kind == YAML_MAPPING) {
        YAML_FOR_EACH(member, node)
        add_status_ttl(reading, setting, member, member->key->text, member->key, site);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned errors = reading->report.errors;
        add_status_ttl(reading, setting, node, bytes_from_string(usual[i]), node, site);
        if (reading->report.errors > errors)
            return;
    }
}

static void read_networks(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_networks *networks = field;
    const struct yaml_node *item;
    unsigned count = list_begin(reading, setting, node, true, &item);

    networks->at = arena_alloc(&reading->config->arena, (count + 1) * sizeof(*networks->at));
    networks->count = 0;
    for (; count > 0 && item; item = list_next(node, item)) {
        if (!expect_item(reading, setting, item))
            continue;
        const char *wrong = network_parse(item->text, &networks->at[networks->count]);
        if (wrong)
            complain(reading, setting, item, wrong);
        else
            networks->count++;
    }
}

static value_reader *const readers[] = {
    [VALUE_WORKERS] = read_workers,
    [VALUE_COUNT] = read_count,
    [VALUE_SIZE] = read_size,
    [VALUE_SIZE_OR_OFF] = read_size,
    [VALUE_SIZE32] = read_size32,
    [VALUE_MILLISECONDS] = read_milliseconds,
    [VALUE_SECONDS] = read_seconds,
    [VALUE_SECONDS_OR_OFF] = read_seconds_or_off,
    [VALUE_FLAG] = read_flag,
    [VALUE_ACCESS_FORMAT] = read_access_format,
    [VALUE_LOG_LEVEL] = read_log_level,
    [VALUE_LOG] = read_log,
    [VALUE_LOG_OR_OFF] = read_log_or_off,
    [VALUE_SOCKET_OR_OFF] = read_socket_or_off,
    [VALUE_USER] = read_user,
    [VALUE_ADDRESS] = read_address,
    [VALUE_ADDRESS_OR_OFF] = read_address_or_off,
    [VALUE_HOST_HEADER] = read_host_header,
    [VALUE_SERVERS] = read_servers,
    [VALUE_HOSTS] = read_hosts,
    [VALUE_ORIGINS] = read_origins,
    [VALUE_FIELD_NAMES] = read_field_names,
    [VALUE_QUERY_NAMES] = read_query_names,
    [VALUE_COOKIE_NAMES] = read_cookie_names,
    [VALUE_COOKIE_PATTERNS] = read_cookie_patterns,
    [VALUE_STATUS_TTLS] = read_status_ttls,
    [VALUE_NETWORKS] = read_networks,
};
_Static_assert(sizeof(readers) / sizeof(readers[0]) == VALUE_LISTENERS, "a reader for each type of value");

void value_read(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner)
{
    readers[setting->type](reading, setting, node, (char *)owner + setting->offset);
}

const struct yaml_node *value_default(struct reading *reading, const struct setting *setting)
{
    struct report report;

    report_init(&report, &reading->scratch, BYTES("settings.tbl"), bytes_from_string(setting->standard));
    return yaml_parse(&report);
}

void values_set_defaults(struct reading *reading, enum setting_scope scope, void *owner)
{
    for (unsigned i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings[i];
        if (setting->scope == scope && setting->type < VALUE_LISTENERS && setting->standard)
            value_read(reading, setting, value_default(reading, setting), owner);
    }
}
