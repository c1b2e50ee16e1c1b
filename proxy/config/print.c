/* The way back: a configuration as YAML, for -T, and the YAML that stands for a command line without a file. */
#include "proxy/config/print.h"
#include "base/memory_meter.h"
#include "proxy/config/address.h"
#include "proxy/config/units.h"
#include "proxy/config/values.h"

#include <stdlib.h>

/* Plain only what no reader takes for anything else: not empty, no word that YAML knows, nothing with a meaning in YAML. */
static bool scalar_is_plain(struct bytes text)
{
    static const char *const words[] = {"true", "false", "null", "on", "off", "yes", "no"};

    if (text.len == 0 || !((byte_lower(text.at[0]) >= 'a' && byte_lower(text.at[0]) <= 'z') || text.at[0] == '/' ||
                           (text.at[0] >= '0' && text.at[0] <= '9')))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool last = i + 1 == text.len;
        if (!((byte_lower(c) >= 'a' && byte_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '/' || c == '-' || c == '_' ||
              (c == ':' && !last)))
            return false;
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (bytes_equal_nocase(text, bytes_from_string(words[i])))
            return false;
    }
    return true;
}

static void scalar_print(struct bytes text, FILE *out)
{
    if (scalar_is_plain(text)) {
        fwrite(text.at, 1, text.len, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

typedef void value_printer(const struct setting *setting, const void *field, FILE *out);

static void print_number(const struct setting *setting, const void *field, FILE *out)
{
    (void)setting;
    fprintf(out, "%u", *(const unsigned *)field);
}

static void print_size(const struct setting *setting, const void *field, FILE *out)
{
    uint64_t value = setting->type == VALUE_SIZE32 ? *(const unsigned *)field : *(const uint64_t *)field;
    bool may_be_off = setting->type == VALUE_SIZE_OR_OFF || setting->type == VALUE_SIZE_AUTO_OR_OFF;
    char text[UNIT_TEXT_MAX] = "off";

    if (setting->type == VALUE_SIZE_AUTO_OR_OFF && value == MEMORY_LIMIT_AUTO)
        snprintf(text, sizeof(text), "auto");
    else if (value > 0 || !may_be_off)
        size_format(value, text);
    fputs(text, out);
}

static void print_duration(const struct setting *setting, const void *field, FILE *out)
{
    int64_t value = *(const int64_t *)field;
    char text[UNIT_TEXT_MAX] = "off";

    if (value >= 0)
        duration_format(setting->type == VALUE_MILLISECONDS ? value : value * 1000, text);
    fputs(text, out);
}

static void print_flag(const struct setting *setting, const void *field, FILE *out)
{
    bool value = *(const bool *)field;

    if (setting->type == VALUE_ACCESS_FORMAT)
        fputs(value ? "json" : "combined", out);
    else
        fputs(value ? "true" : "false", out);
}

static void print_redirect(const struct setting *setting, const void *field, FILE *out)
{
    unsigned status = *(const unsigned *)field;

    (void)setting;
    if (status > 0)
        fprintf(out, "%u", status);
    else
        fputs("false", out);
}

static void print_word(const struct setting *setting, const void *field, FILE *out)
{
    fputs(value_word(setting->type, *(const unsigned *)field), out);
}

static void print_string(const struct setting *setting, const void *field, FILE *out)
{
    const char *text = *(const char *const *)field;

    if (text)
        scalar_print(bytes_from_string(text), out);
    else
        fputs(setting->type == VALUE_PASS_OR_DIRECTORY ? "pass" : "off", out);
}

static void print_address(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_address *address = field;

    (void)setting;
    if (address->length > 0)
        scalar_print(address->text, out);
    else
        fputs("off", out);
}

static void print_text(const struct setting *setting, const void *field, FILE *out)
{
    (void)setting;
    scalar_print(*(const struct bytes *)field, out);
}

static void print_server_name(const struct setting *setting, const void *field, FILE *out)
{
    struct bytes name = *(const struct bytes *)field;

    (void)setting;
    if (bytes_find(name, ':') < name.len)
        fprintf(out, "\"[%.*s]\"", BYTES_FMT(name));
    else
        scalar_print(name, out);
}

static void print_servers(const struct setting *setting, const void *field, FILE *out)
{
    struct bytes servers = *(const struct bytes *)field, server;
    const char *separator = "[";

    (void)setting;
    while (bytes_next_list_member(&servers, &server)) {
        fputs(separator, out);
        scalar_print(server, out);
        separator = ", ";
    }
    fputc(']', out);
}

static const struct config_site *site_of(const struct setting *setting, const void *field)
{
    return (const struct config_site *)((const char *)field - setting->offset);
}

static void print_hosts(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_site *site = site_of(setting, field);

    fputc('[', out);
    for (unsigned i = 0; i < site->host_count; i++) {
        fputs(i > 0 ? ", " : "", out);
        scalar_print(site->hosts[i], out);
    }
    fputc(']', out);
}

static void print_origins(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_site *site = site_of(setting, field);

    fputc('[', out);
    for (unsigned i = 0; i < site->origin_count; i++) {
        fputs(i > 0 ? ", " : "", out);
        scalar_print(site->origins[i].url, out);
    }
    fputc(']', out);
}

static void print_names(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_names *names = field;

    (void)setting;
    fputc('[', out);
    for (unsigned i = 0; i < names->count; i++) {
        fputs(i > 0 ? ", " : "", out);
        scalar_print(names->at[i], out);
    }
    fputc(']', out);
}

static void print_status_ttls(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_site *site = site_of(setting, field);
    char text[UNIT_TEXT_MAX];

    fputc('{', out);
    for (unsigned i = 0; i < site->error_count; i++) {
        const struct status_ttl *range = &site->errors[i];
        bool is_class = range->first != range->last;
        duration_format(range->ttl_s * 1000, text);
        fprintf(out, "%s%u%s: %s", i > 0 ? ", " : "", is_class ? range->first / 100 : range->first, is_class ? "xx" : "", text);
    }
    fputc('}', out);
}

static void print_networks(const struct setting *setting, const void *field, FILE *out)
{
    const struct config_networks *networks = field;
    char text[64];

    (void)setting;
    fputc('[', out);
    for (unsigned i = 0; i < networks->count; i++) {
        fputs(i > 0 ? ", " : "", out);
        network_format(&networks->at[i], text);
        scalar_print(bytes_from_string(text), out);
    }
    fputc(']', out);
}

static value_printer *const printers[] = {
    [VALUE_WORKERS] = print_number,
    [VALUE_COUNT] = print_number,
    [VALUE_SIZE] = print_size,
    [VALUE_SIZE_OR_OFF] = print_size,
    [VALUE_SIZE_AUTO_OR_OFF] = print_size,
    [VALUE_SIZE32] = print_size,
    [VALUE_MILLISECONDS] = print_duration,
    [VALUE_SECONDS] = print_duration,
    [VALUE_SECONDS_OR_OFF] = print_duration,
    [VALUE_FLAG] = print_flag,
    [VALUE_REDIRECT] = print_redirect,
    [VALUE_ACCESS_FORMAT] = print_flag,
    [VALUE_LOG_LEVEL] = print_word,
    [VALUE_CONCURRENCY] = print_word,
    [VALUE_WITHOUT] = print_word,
    [VALUE_DISK_ENGINE] = print_word,
    [VALUE_DISK_ADMISSION] = print_word,
    [VALUE_TLS_VERSION] = print_word,
    [VALUE_CLIENT_CERTIFICATES] = print_word,
    [VALUE_FILE_OR_FLAG] = print_string,
    [VALUE_TEXT] = print_text,
    [VALUE_FIELD_NAME] = print_text,
    [VALUE_PATH] = print_string,
    [VALUE_FILE] = print_string,
    [VALUE_LOG] = print_string,
    [VALUE_LOG_OR_OFF] = print_string,
    [VALUE_SOCKET_OR_OFF] = print_string,
    [VALUE_PASS_OR_DIRECTORY] = print_string,
    [VALUE_USER] = print_string,
    [VALUE_ADDRESS] = print_address,
    [VALUE_ADDRESS_OR_OFF] = print_address,
    [VALUE_HOST_HEADER] = print_text,
    [VALUE_SERVER_NAME] = print_server_name,
    [VALUE_SERVERS] = print_servers,
    [VALUE_HOSTS] = print_hosts,
    [VALUE_ORIGINS] = print_origins,
    [VALUE_FIELD_NAMES] = print_names,
    [VALUE_QUERY_NAMES] = print_names,
    [VALUE_COOKIE_NAMES] = print_names,
    [VALUE_COOKIE_PATTERNS] = print_names,
    [VALUE_STATUS_TTLS] = print_status_ttls,
    [VALUE_NETWORKS] = print_networks,
};
_Static_assert(sizeof(printers) / sizeof(printers[0]) == VALUE_LISTENERS, "a printer for each type of value");

/* A setting without a default that was not given has nothing to print. */
static bool is_absent(const struct setting *setting, const void *field)
{
    if (setting->type == VALUE_USER || setting->type == VALUE_FILE)
        return !*(const char *const *)field;
    if (setting->type == VALUE_QUERY_NAMES)
        return !((const struct config_names *)field)->at;
    if (setting->type == VALUE_CERTIFICATES)
        return !*(struct config_certificate *const *)field;
    return (setting->type == VALUE_TEXT || setting->type == VALUE_FIELD_NAME || setting->type == VALUE_HOST_HEADER ||
            setting->type == VALUE_SERVER_NAME || setting->type == VALUE_SERVERS) &&
           !((const struct bytes *)field)->at;
}

/* What is printed, for whom: `reading` and `lines` tell where each value comes from; NULL: only the values are wanted. */
struct printing {
    const struct config *config;
    const struct reading *reading;
    const size_t *lines; /* where each line of the text begins */
    unsigned line_count;
    bool is_file; /* the text has lines that the user can see */
    FILE *out;
};

/* Comments begin there, where the value leaves room. */
enum { SOURCE_COLUMN = 48 };

static unsigned line_of(const struct printing *printing, size_t offset)
{
    unsigned low = 0, high = printing->line_count;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;
        if (printing->lines[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

static void print_source(const struct printing *printing, const struct setting *setting, const void *owner, struct bytes value,
                         unsigned column)
{
    const struct yaml_node *node = value_written(printing->reading, setting, owner);
    bool says_more = setting->type == VALUE_WORKERS || setting->type == VALUE_SIZE;
    FILE *out = printing->out;

    fprintf(out, "%*s# ", column < SOURCE_COLUMN ? (int)(SOURCE_COLUMN - column) : 1, "");
    if (!node)
        fputs("default", out);
    if (!node && says_more && setting->standard && !bytes_equal(value, bytes_from_string(setting->standard)))
        fprintf(out, ": %s", setting->standard); /* as many as there are cores; no more than there is room for */
    if (node)
        report_print_visible(printing->config->name, out);
    if (node && printing->is_file)
        fprintf(out, ":%u", line_of(printing, node->place.offset));
}

static void print_value(const struct printing *printing, const struct setting *setting, const void *owner, unsigned column)
{
    char *text = NULL;
    size_t length = 0;
    FILE *value = open_memstream(&text, &length);

    if (!value)
        abort();
    printers[setting->type](setting, (const char *)owner + setting->offset, value);
    fclose(value);
    fprintf(printing->out, " %s", text);
    if (printing->reading)
        print_source(printing, setting, owner, bytes_from(text, length), column + 1 + (unsigned)length);
    free(text);
}

static void print_items(const struct printing *printing, const struct setting *list, const void *owner);

/* The settings of a scope, `indent` deep; `lead` stands in front of the first line (the dash of a list's item). */
static void print_scope(const struct printing *printing, enum setting_scope scope, const void *owner, unsigned indent, const char *lead)
{
    FILE *out = printing->out;

    for (unsigned i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings[i];
        const void *field = (const char *)owner + setting->offset;
        if (setting->scope != scope || setting->type == VALUE_UNSUPPORTED || is_absent(setting, field))
            continue;
        unsigned depth = indent + 2 * setting_depth(setting);
        struct bytes key = setting_key(setting);
        fprintf(out, "%*s%s%.*s:", (int)(depth - strlen(lead)), "", lead, BYTES_FMT(key));
        lead = "";
        if (setting->type < VALUE_LISTENERS)
            print_value(printing, setting, owner, depth + (unsigned)key.len + 1);
        else if (setting->type == VALUE_DISKS && printing->config->disk_count == 0)
            fputs(" []", out);
        fputc('\n', out);
        print_items(printing, setting, owner);
    }
}

static void print_items(const struct printing *printing, const struct setting *list, const void *owner)
{
    const struct config *config = printing->config;

    for (unsigned i = 0; list->type == VALUE_LISTENERS && i < config->listener_count; i++)
        print_scope(printing, SCOPE_LISTENER, &config->listeners[i], 4, "- ");
    for (unsigned i = 0; list->type == VALUE_DISKS && i < config->disk_count; i++)
        print_scope(printing, SCOPE_DISK, &config->disks[i], 6, "- ");
    const struct config_site *site = owner;
    for (unsigned i = 0; list->type == VALUE_CERTIFICATES && i < site->certificate_count; i++)
        print_scope(printing, SCOPE_CERTIFICATE, &site->certificates[i], 8, "- ");
    for (unsigned i = 0; list->type == VALUE_SITES && i < config->site_count; i++)
        print_scope(printing, SCOPE_SITE, &config->sites[i], 4, "- ");
}

void config_print(const struct config *config, FILE *out)
{
    const struct printing printing = {.config = config, .out = out};

    print_scope(&printing, SCOPE_ROOT, config, 0, "");
}

void print_with_sources(struct reading *reading, FILE *out)
{
    struct bytes text = reading->report.text;
    struct printing printing = {.config = reading->config, .reading = reading, .out = out};
    unsigned count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += text.at[i] == '\n';
    size_t *lines = arena_alloc(&reading->scratch, count * sizeof(*lines));
    lines[0] = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '\n')
            lines[++printing.line_count] = i + 1;
    }
    printing.line_count++;
    printing.lines = lines;
    printing.is_file = !bytes_equal(reading->config->name, BYTES("command line"));
    print_scope(&printing, SCOPE_ROOT, reading->config, 0, "");
}

static void synthesise_list(FILE *out, const char *key, const char *const *items, unsigned count)
{
    fprintf(out, "%s: [", key);
    for (unsigned i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", out);
        scalar_print(bytes_from_string(items[i]), out);
    }
    fputs("]\n", out);
}

/* What the demo's origin takes to answer, so that a hit can be felt. */
#define DEMO_FILES "    files: {delay: 100ms, max_age: 60s}\n"

struct bytes config_synthesise(struct arena *arena, const char *const *origins, unsigned origin_count, const char *const *listens,
                               unsigned listen_count, const char *demo_root)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        abort();
    if (listen_count > 0)
        synthesise_list(out, "listen", listens, listen_count);
    fputs("sites:\n  - hosts: \"*\"\n    ", out);
    if (origin_count > 0) {
        synthesise_list(out, "origin", origins, origin_count);
    } else {
        fputs("origin: ", out);
        scalar_print(arena_printf(arena, "files:%s", demo_root), out);
        fputs("\n" DEMO_FILES, out);
    }
    fclose(out);
    struct bytes yaml = arena_copy(arena, bytes_from(text, length));
    free(text);
    return yaml;
}
