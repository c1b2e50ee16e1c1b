/* Values that are lists, and statuses with how long they are kept. A single value is a list of one. */
#include "proxy/config/value_readers.h"
#include "proxy/config/address.h"

#include <sys/stat.h>

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
    return value_expect_scalar(reading, setting, node) ? 1 : 0;
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

void value_read_servers(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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
            value_complain(reading, setting, item, wrong);
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

void value_read_hosts(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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
            value_complain(reading, setting, item, wrong);
            continue;
        }
        struct bytes host = copy_lower(&reading->config->arena, item->text);
        claim_host(reading, host, item->place);
        site->hosts[site->host_count++] = host;
    }
}

void value_check_directory(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *path)
{
    struct stat status;

    if (reading->is_checked)
        return;
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
        value_complain(reading, setting, node, wrong);
        if (bytes_find(text, '/') == text.len && !bytes_starts_with(text, BYTES("files:")) && host_header_check(text) == NULL)
            report_hint(&reading->report, "did you mean \"http://%.*s\"?", SHOWN(text));
        return;
    }
    if (origin.kind == ORIGIN_KIND_FILES) {
        origin.root = text.at + 6; /* arena_copy ends it with a NUL */
        value_check_directory(reading, setting, node, origin.root);
    }
    site->origins[site->origin_count++] = origin;
}

void value_read_origins(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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
            value_complain(reading, setting, item, wrong);
        else
            names->at[names->count++] = arena_copy(&reading->config->arena, item->text);
    }
}

void value_read_field_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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

void value_read_query_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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

void value_read_cookie_names(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
{
    read_names(reading, setting, node, field, check_cookie_name);
}

void value_read_cookie_patterns(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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
        value_complain(reading, setting, place, wrong);
        return;
    }
    value_read_seconds(reading, setting, node, &range->ttl_s);
    if (reading->report.errors == errors)
        site->error_count++;
}

void value_read_status_ttls(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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

void value_read_networks(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field)
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
            value_complain(reading, setting, item, wrong);
        else
            networks->count++;
    }
}
