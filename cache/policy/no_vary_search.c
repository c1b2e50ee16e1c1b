#include "cache/policy/no_vary_search.h"

#include "cache/policy/structured.h"

#include <stdlib.h>

enum { NAMES_MAX = 64 }; /* more in a list are as good as no list */

struct pair {
    struct bytes name, value; /* decoded; the name's place in memory is its place in the query */
};

static int hex_value(char c)
{
    c = byte_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "+" is a space, %XX a byte; what only looks like one stays. */
static struct bytes decode(struct bytes text, char **at)
{
    char *start = *at, *out = start;
    for (size_t i = 0; i < text.len; i++) {
        int high = text.at[i] == '%' && i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text.at[i + 2]) : -1;
        if (low >= 0) {
            *out++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *out++ = text.at[i] == '+' ? ' ' : text.at[i];
        }
    }
    *at = out;
    return bytes_from(start, (size_t)(out - start));
}

/* §5.3 */
static struct bytes decode_key(struct bytes string, struct arena *arena)
{
    char *out = arena_alloc(arena, string.len + 1);
    return decode(structured_unescape(string, arena), &out);
}

/* §5.1: the items of an inner list, whatever their parameters. False when one is no String. */
static bool parse_names(struct bytes list, struct arena *arena, struct search_variance *variance)
{
    struct structured_value item;
    variance->names = arena_alloc(arena, NAMES_MAX * sizeof *variance->names);
    variance->names_count = 0;
    while (structured_next_inner_item(&list, &item)) {
        if (item.type != STRUCTURED_STRING || variance->names_count == NAMES_MAX)
            return false;
        variance->names[variance->names_count++] = decode_key(item.text, arena);
    }
    return true;
}

struct members {
    struct structured_value key_order, params, except;
    bool has_params, has_except;
};

/* The members that matter, the last of each key; others mean nothing (§3). False when the field is no Dictionary. */
static bool read_members(struct bytes field, struct members *members)
{
    struct structured_member member;
    enum structured_result result;
    *members = (struct members){.key_order = {.type = STRUCTURED_BOOLEAN}};
    while ((result = structured_next_member(&field, &member)) == STRUCTURED_MEMBER) {
        if (bytes_equal(member.key, BYTES("key-order"))) {
            members->key_order = member.value;
        } else if (bytes_equal(member.key, BYTES("params"))) {
            members->params = member.value;
            members->has_params = true;
        } else if (bytes_equal(member.key, BYTES("except"))) {
            members->except = member.value;
            members->has_except = true;
        }
    }
    return result == STRUCTURED_END;
}

bool search_variance_parse(struct bytes field, struct arena *arena, struct search_variance *variance)
{
    struct members members;
    *variance = (struct search_variance){0};
    if (field.at == NULL || !read_members(field, &members) || members.key_order.type != STRUCTURED_BOOLEAN)
        return false;
    /* §5.1: not both. */
    if (members.has_params && members.has_except)
        return false;
    variance->sorts = members.key_order.integer != 0;
    variance->keeps_named = members.has_except;
    const struct structured_value *names = members.has_except ? &members.except : &members.params;
    /* §5.1: a list; not the Boolean that drafts before -04 had. */
    if ((members.has_params || members.has_except) && (names->type != STRUCTURED_INNER_LIST || !parse_names(names->text, arena, variance)))
        return false;
    return variance->sorts || variance->keeps_named || variance->names_count > 0;
}

static bool matters(const struct search_variance *variance, struct bytes name)
{
    bool is_named = false;
    for (unsigned i = 0; i < variance->names_count && !is_named; i++)
        is_named = bytes_equal(variance->names[i], name);
    return is_named == variance->keeps_named;
}

static int compare_pairs(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    size_t shared = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = shared > 0 ? memcmp(a->name.at, b->name.at, shared) : 0;
    if (order == 0)
        order = (a->name.len > b->name.len) - (a->name.len < b->name.len);
    return order != 0 ? order : (a->name.at > b->name.at) - (a->name.at < b->name.at); /* stable */
}

static char *put_counted(char *at, struct bytes text)
{
    uint32_t len = (uint32_t)text.len;
    at = mempcpy(at, &len, sizeof len);
    return mempcpy(at, text.at, text.len);
}

struct bytes search_canonical(struct bytes query, const struct search_variance *variance, struct arena *arena)
{
    size_t most = 1, count = 0;
    for (size_t i = 0; i < query.len; i++)
        most += query.at[i] == '&';
    struct pair *pairs = arena_alloc(arena, most * sizeof *pairs);
    char *decoded = arena_alloc(arena, query.len + most); /* a byte more for each: no two names in the same place */
    while (query.len > 0) {
        struct bytes text = bytes_from(query.at, bytes_find(query, '&'));
        size_t taken = text.len < query.len ? text.len + 1 : text.len, name_len = bytes_find(text, '=');
        query = bytes_from(query.at + taken, query.len - taken);
        if (text.len == 0)
            continue;
        size_t value_at = name_len < text.len ? name_len + 1 : name_len;
        struct pair pair = {.name = decode(bytes_from(text.at, name_len), &decoded)};
        pair.value = decode(bytes_from(text.at + value_at, text.len - value_at), &decoded);
        decoded++;
        if (matters(variance, pair.name))
            pairs[count++] = pair;
    }
    if (variance->sorts && count > 1)
        qsort(pairs, count, sizeof *pairs, compare_pairs);
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pairs[i].name.len + pairs[i].value.len + 2 * sizeof(uint32_t);
    char *start = arena_alloc(arena, size + 1), *at = start;
    for (size_t i = 0; i < count; i++)
        at = put_counted(put_counted(at, pairs[i].name), pairs[i].value);
    return bytes_from(start, size);
}
