#include "proxy/config/value_readers.h"
#include "proxy/config/address.h"
#include "base/log_target.h"
#include "base/memory_meter.h"
#include "proxy/config/units.h"

#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

void value_complain(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *wrong)
{
    report_error(&reading->report, node->place, PATH_FMT "\"%.*s\" %s", BYTES_FMT(setting->path), SHOWN(node->text), wrong);
}

bool value_expect_scalar(struct reading *reading, const struct setting *setting, const struct yaml_node *node)
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
        value_complain(reading, setting, node, digits ? "is negative" : "is not a whole number");
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
    if (value_expect_scalar(reading, setting, node))
        parse_number(reading, setting, node, field);
}

static void read_workers(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("auto"))) {
        cpu_set_t usable;
        long cores = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 1;
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
        value_complain(reading, setting, node, is_size ? "is not a size" : "is not a duration");
        report_hint(&reading->report, "%s",
                    is_size ? "write a number and a unit, such as 256MiB" : "write a number and a unit, such as 10s");
        return;
    case UNIT_NEGATIVE:
        value_complain(reading, setting, node, "is negative");
        return;
    case UNIT_FRACTION:
        value_complain(reading, setting, node, "is not a whole number");
        report_hint(&reading->report, "take a smaller unit: %s", hint);
        return;
    case UNIT_MISSING:
        value_complain(reading, setting, node, "has no unit");
        report_hint(&reading->report, "write \"%.*s%s\"; %s", BYTES_FMT(text), is_size ? "MiB" : "s", hint);
        return;
    case UNIT_UNKNOWN:
        value_complain(reading, setting, node, "has an unknown unit");
        report_hint(&reading->report, "%s", hint);
        return;
    case UNIT_TOO_LARGE:
        value_complain(reading, setting, node, "is too large");
        return;
    }
}

static bool parse_size(struct reading *reading, const struct setting *setting, const struct yaml_node *node, uint64_t *value)
{
    uint64_t least = 0, most = UINT64_MAX;

    if (!value_expect_scalar(reading, setting, node))
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
    bool may_be_off = setting->type == VALUE_SIZE_OR_OFF || setting->type == VALUE_SIZE_AUTO_OR_OFF;
    bool is_off = may_be_off && node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off"));
    bool is_auto = setting->type == VALUE_SIZE_AUTO_OR_OFF && node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("auto"));

    if (is_auto)
        value = MEMORY_LIMIT_AUTO;
    if (is_auto || is_off || parse_size(reading, setting, node, &value))
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

    if (!value_expect_scalar(reading, setting, node))
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

void value_read_seconds(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    int64_t ms;

    if (!parse_duration(reading, setting, node, &ms))
        return;
    if (ms % 1000 != 0)
        value_complain(reading, setting, node, "is not in whole seconds");
    else
        *(int64_t *)field = ms / 1000;
}

static void read_seconds_or_off(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (node->kind == YAML_SCALAR && bytes_equal(node->text, BYTES("off")))
        *(int64_t *)field = -1;
    else
        value_read_seconds(reading, setting, node, field);
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
    if (!value_expect_scalar(reading, setting, node))
        return;
    if (is_one_of(node->text, "true", "on", "yes"))
        *(bool *)field = true;
    else if (is_one_of(node->text, "false", "off", "no"))
        *(bool *)field = false;
    else
        complain_of_word(reading, setting, node);
}

static void read_redirect(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("308")) || is_one_of(node->text, "true", "on", "yes"))
        *(unsigned *)field = 308;
    else if (bytes_equal(node->text, BYTES("301")))
        *(unsigned *)field = 301;
    else if (is_one_of(node->text, "false", "off", "no"))
        *(unsigned *)field = 0;
    else
        complain_of_word(reading, setting, node);
}

static void read_access_format(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    bool json = bytes_equal(node->text, BYTES("json"));
    if (json || bytes_equal(node->text, BYTES("combined")))
        *(bool *)field = json;
    else
        complain_of_word(reading, setting, node);
}

/* The field is an enum whose values are the places of their words. */
static void read_word(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    for (unsigned i = 0; value_word(setting->type, i) != NULL; i++) {
        if (bytes_equal(node->text, bytes_from_string(value_word(setting->type, i)))) {
            *(unsigned *)field = i;
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

static void read_directory(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (value_expect_scalar(reading, setting, node))
        read_path(reading, setting, node, field);
}

void value_note_file(struct reading *reading, const char *path, struct place place)
{
    struct config *config = reading->config;

    if (config_file(config, path))
        return;
    if (config->file_count == reading->file_capacity) {
        unsigned capacity = reading->file_capacity ? reading->file_capacity * 2 : 16;
        struct config_file *files = arena_alloc(&config->arena, capacity * sizeof(*files));
        if (config->file_count > 0)
            memcpy(files, config->files, config->file_count * sizeof(*files));
        config->files = files;
        reading->file_capacity = capacity;
    }
    config->files[config->file_count++] = (struct config_file){.path = path, .place = place};
}

static void read_file(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    const char *path = NULL;

    if (!value_expect_scalar(reading, setting, node))
        return;
    read_path(reading, setting, node, &path);
    if (!path)
        return;
    value_note_file(reading, path, node->place);
    *(const char **)field = path;
}

static void read_file_or_flag(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (node->kind == YAML_SCALAR && (bytes_equal(node->text, BYTES("on")) || bytes_equal(node->text, BYTES("off"))))
        *(const char **)field = node->text.len == 2 ? "on" : "off";
    else
        read_file(reading, setting, node, field);
}

/* OpenSSL's lists; what is in them, it judges (boot/tls_setup.c). */
static void read_text(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    enum { TEXT_MAX_BYTES = 1000 };

    if (!value_expect_scalar(reading, setting, node))
        return;
    if (node->text.len == 0 || node->text.len > TEXT_MAX_BYTES || memchr(node->text.at, 0, node->text.len))
        complain_of_word(reading, setting, node);
    else
        *(struct bytes *)field = arena_copy(&reading->config->arena, node->text);
}

static void read_field_name(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    static const char *const ours[] = {"host",   "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer",
                                       "expect", "via"};

    if (!value_expect_scalar(reading, setting, node))
        return;
    for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (bytes_equal_nocase(node->text, bytes_from_string(ours[i]))) {
            value_complain(reading, setting, node, "is a field that says something else already");
            return;
        }
    }
    if (bytes_is_token(node->text))
        *(struct bytes *)field = arena_copy(&reading->config->arena, node->text);
    else
        complain_of_word(reading, setting, node);
}

static void read_log(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    struct log_target target;
    const char *error = log_target_parse(node->text, &target);
    if (error)
        report_error(&reading->report, node->place, PATH_FMT "%s", BYTES_FMT(setting->path), error);
    else if (target.has_severity && setting->type == VALUE_LOG)
        report_error(&reading->report, node->place, PATH_FMT "its lines have a severity of their own", BYTES_FMT(setting->path));
    else if (target.kind != LOG_TARGET_FILE)
        *(const char **)field = arena_string(&reading->config->arena, node->text);
    else if (bytes_equal(node->text, BYTES("-")))
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
    if (!value_expect_scalar(reading, setting, node))
        return;
    if (bytes_equal(node->text, BYTES("off")))
        *(const char **)field = NULL;
    else if (node->text.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
        report_error(&reading->report, node->place, PATH_FMT "the path of a socket has at most %zu bytes, this has %zu",
                     BYTES_FMT(setting->path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1, node->text.len);
    else
        read_path(reading, setting, node, field);
}

static void read_pass_or_directory(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    *(const char **)field = NULL;
    if (bytes_equal(node->text, BYTES("pass")))
        return;
    read_path(reading, setting, node, field);
    if (*(const char **)field)
        value_check_directory(reading, setting, node, *(const char **)field);
}

static void read_user(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    const char *name = arena_string(&reading->config->arena, node->text);
    if (!reading->is_checked && !getpwnam(name)) {
        value_complain(reading, setting, node, "is no account of this machine");
        report_hint(&reading->report, "`getent passwd` lists them");
        return;
    }
    *(const char **)field = name;
}

static void read_host_header(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    if (!value_expect_scalar(reading, setting, node))
        return;
    const char *wrong = host_header_check(node->text);
    if (wrong)
        value_complain(reading, setting, node, wrong);
    else
        *(struct bytes *)field = arena_copy(&reading->config->arena, node->text);
}

static void read_server_name(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_origin origin;

    if (!value_expect_scalar(reading, setting, node))
        return;
    /* A name or literal as it stands in an origin's URL, but for its port. */
    bool is_one = bytes_find(node->text, '/') == node->text.len &&
                  !origin_parse(arena_printf(&reading->scratch, "https://%.*s", BYTES_FMT(node->text)), &origin);
    if (is_one && origin.port == 443)
        *(struct bytes *)field = arena_copy(&reading->config->arena, origin.host);
    else
        complain_of_word(reading, setting, node);
}

/* ---- addresses ---- */

static void read_address(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    struct config_address address;

    if (!value_expect_scalar(reading, setting, node))
        return;
    const char *wrong = address_parse(node->text, 0, &address);
    if (wrong) {
        value_complain(reading, setting, node, wrong);
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

static value_reader *const readers[] = {
    [VALUE_WORKERS] = read_workers,
    [VALUE_COUNT] = read_count,
    [VALUE_SIZE] = read_size,
    [VALUE_SIZE_OR_OFF] = read_size,
    [VALUE_SIZE_AUTO_OR_OFF] = read_size,
    [VALUE_SIZE32] = read_size32,
    [VALUE_MILLISECONDS] = read_milliseconds,
    [VALUE_SECONDS] = value_read_seconds,
    [VALUE_SECONDS_OR_OFF] = read_seconds_or_off,
    [VALUE_FLAG] = read_flag,
    [VALUE_REDIRECT] = read_redirect,
    [VALUE_ACCESS_FORMAT] = read_access_format,
    [VALUE_LOG_LEVEL] = read_word,
    [VALUE_CONCURRENCY] = read_word,
    [VALUE_WITHOUT] = read_word,
    [VALUE_DISK_ENGINE] = read_word,
    [VALUE_DISK_ADMISSION] = read_word,
    [VALUE_TLS_VERSION] = read_word,
    [VALUE_CLIENT_CERTIFICATES] = read_word,
    [VALUE_FILE_OR_FLAG] = read_file_or_flag,
    [VALUE_TEXT] = read_text,
    [VALUE_FIELD_NAME] = read_field_name,
    [VALUE_LOG] = read_log,
    [VALUE_LOG_OR_OFF] = read_log_or_off,
    [VALUE_PATH] = read_directory,
    [VALUE_FILE] = read_file,
    [VALUE_SOCKET_OR_OFF] = read_socket_or_off,
    [VALUE_PASS_OR_DIRECTORY] = read_pass_or_directory,
    [VALUE_USER] = read_user,
    [VALUE_ADDRESS] = read_address,
    [VALUE_ADDRESS_OR_OFF] = read_address_or_off,
    [VALUE_HOST_HEADER] = read_host_header,
    [VALUE_SERVER_NAME] = read_server_name,
    [VALUE_SERVERS] = value_read_servers,
    [VALUE_HOSTS] = value_read_hosts,
    [VALUE_ORIGINS] = value_read_origins,
    [VALUE_FIELD_NAMES] = value_read_field_names,
    [VALUE_QUERY_NAMES] = value_read_query_names,
    [VALUE_COOKIE_NAMES] = value_read_cookie_names,
    [VALUE_COOKIE_PATTERNS] = value_read_cookie_patterns,
    [VALUE_STATUS_TTLS] = value_read_status_ttls,
    [VALUE_NETWORKS] = value_read_networks,
};
_Static_assert(sizeof(readers) / sizeof(readers[0]) == VALUE_LISTENERS, "a reader for each type of value");

void value_read(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner)
{
    readers[setting->type](reading, setting, node, (char *)owner + setting->offset);
}

void value_note_written(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const void *owner)
{
    if (!reading->keeps_written)
        return;
    if (reading->written_count == reading->written_capacity) {
        unsigned capacity = reading->written_capacity ? reading->written_capacity * 2 : 64;
        struct written *written = arena_alloc(&reading->scratch, capacity * sizeof(*written));
        if (reading->written_count > 0)
            memcpy(written, reading->written, reading->written_count * sizeof(*written));
        reading->written = written;
        reading->written_capacity = capacity;
    }
    reading->written[reading->written_count++] = (struct written){owner, setting, node};
}

/* By binary search: a file of thousands of sites is asked thousands of times. */
static int written_compare(const void *a, const void *b)
{
    const struct written *left = a, *right = b;

    if (left->owner != right->owner)
        return (uintptr_t)left->owner < (uintptr_t)right->owner ? -1 : 1;
    return left->setting < right->setting ? -1 : left->setting > right->setting;
}

void values_sort_written(struct reading *reading)
{
    if (reading->written_count > 1)
        qsort(reading->written, reading->written_count, sizeof(*reading->written), written_compare);
}

const struct yaml_node *value_written(const struct reading *reading, const struct setting *setting, const void *owner)
{
    const struct written wanted = {.owner = owner, .setting = setting};

    if (reading->written_count == 0)
        return NULL;
    const struct written *found = bsearch(&wanted, reading->written, reading->written_count, sizeof(*reading->written), written_compare);
    return found ? found->node : NULL;
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
