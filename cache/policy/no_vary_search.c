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

/* §5.3: a String, without its quotes; an escaped byte stands for itself. */
static struct bytes decode_key(struct bytes text, struct arena *arena)
{
    char *plain = arena_alloc(arena, text.len + 1), *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '\\')
            i++;
        plain[len++] = text.at[i];
    }
    return decode(bytes_from(plain, len), &out);
}

/* The items of an inner list, which is well-formed already. False when one is not a bare String. */
static bool parse_names(struct bytes list, struct arena *arena, struct search_variance *variance)
{
    variance->names = arena_alloc(arena, NAMES_MAX * sizeof *variance->names);
    variance->names_count = 0;
    for (size_t i = 0; i < list.len; i++) {
        if (list.at[i] == ' ')
            continue;
        size_t end = i + 1;
        while (end < list.len && list.at[end] != '"')
            end += list.at[end] == '\\' ? 2 : 1;
        if (list.at[i] != '"' || end >= list.len || variance->names_count == NAMES_MAX)
            return false;
        variance->names[variance->names_count++] = decode_key(bytes_from(list.at + i + 1, end - i - 1), arena);
        i = end;
    }
    return true;
}

/* The members that matter, the last of each key. False when the field is no Dictionary. */
static bool read_members(struct bytes field, struct structured_value *key_order, struct structured_value *params,
                         struct structured_value *except, bool *has_except)
{
    struct structured_member member;
    for (;;) {
        switch (structured_next_member(&field, &member)) {
        case STRUCTURED_END:
            return true;
        case STRUCTURED_INVALID:
            return false;
        case STRUCTURED_MEMBER:
            break;
        }
        if (bytes_equal(member.key, BYTES("key-order"))) {
            *key_order = member.value;
        } else if (bytes_equal(member.key, BYTES("params"))) {
            *params = member.value;
        } else if (bytes_equal(member.key, BYTES("except"))) {
            *except = member.value;
            *has_except = true;
        }
    }
}

bool search_variance_parse(struct bytes field, struct arena *arena, struct search_variance *variance)
{
    struct structured_value key_order = {.type = STRUCTURED_BOOLEAN}, params = key_order, except = key_order;
    bool has_except = false;
    *variance = (struct search_variance){0};
    if (field.at == NULL || !read_members(field, &key_order, &params, &except, &has_except) || key_order.type != STRUCTURED_BOOLEAN)
        return false;
    variance->sorts = key_order.integer != 0;
    if (params.type == STRUCTURED_INNER_LIST) {
        if (has_except || !parse_names(params.text, arena, variance))
            return false;
    } else if (params.type != STRUCTURED_BOOLEAN) {
        return false;
    } else if (params.integer != 0) {
        variance->keeps_named = true;
        if (has_except && (except.type != STRUCTURED_INNER_LIST || !parse_names(except.text, arena, variance)))
            return false;
    } else if (has_except) {
        return false;
    }
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
