/* DESIGN. The secondary key is, for each name of the canonical list, a four-byte little-endian length and the normalised value; an absent
 * field has the length ABSENT_LENGTH. It is compared byte by byte, so it must be injective up to what the fields mean:
 *   Accept-Encoding                                    the known codings, by case, alias and rank of their weights, sorted
 *   Accept-Language, Accept-Charset                    a set of (lower-case range, weight), sorted
 *   fields that are not lists (HEADER_SINGLE, Cookie)  as they came
 *   every other field                                  white space beside commas removed, lines joined (RFC 9111 §4.1)
 */
#include "cache/policy/vary.h"

#include "cache/policy/cookie.h"

#include <stdlib.h>

static const uint32_t absent_length = UINT32_MAX;
static const struct bytes cookie_prefix = {"cookie:", 7};

enum {
    WEIGHT_ONE = 1000,         /* q=1 in thousandths */
    WEIGHT_MARK = 1,           /* stands before a weight: no byte of a field as it came, so that nothing else can be spelled like it */
    WEIGHTED_MEMBERS_MAX = 32, /* a longer list is compared as it came: nobody sends one */
};

/* Of one member. What is written by this side (proxy/request/forward.c) is not what the request has under that name: scheme and host are in the key; who the
 * client is makes every response another one. */
static enum vary_kind member_kind(struct bytes member)
{
    /* RFC 9110 §12.5.5: "*" anywhere in the list. */
    if (bytes_equal(member, BYTES("*")) || !bytes_is_token(member))
        return VARY_STAR;
    switch (header_identify(member)) {
    case HEADER_FORWARDED:
    case HEADER_X_FORWARDED_FOR:
    case HEADER_X_REAL_IP:
        return VARY_STAR;
    case HEADER_HOST:
    case HEADER_X_FORWARDED_HOST:
    case HEADER_X_FORWARDED_PROTO:
        return VARY_NONE;
    default:
        return VARY_FIELDS;
    }
}

enum vary_kind vary_kind(const struct headers *response)
{
    enum vary_kind kind = VARY_NONE;
    for (const struct header *line = headers_find(response, HEADER_VARY); line; line = headers_next(response, line)) {
        struct bytes rest = line->value, member;
        while (bytes_next_list_member(&rest, &member)) {
            enum vary_kind one = member_kind(member);
            if (one == VARY_STAR)
                return VARY_STAR;
            if (one == VARY_FIELDS)
                kind = VARY_FIELDS;
        }
    }
    return kind;
}

static int compare_bytes(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

static struct bytes copy_lower(struct arena *arena, struct bytes text)
{
    char *copy = arena_alloc(arena, text.len);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = byte_lower(text.at[i]);
    return bytes_from(copy, text.len);
}

enum vary_kind vary_parse(const struct headers *response, const struct rule_names *key_cookies, struct arena *arena, struct bytes *names)
{
    enum vary_kind kind = vary_kind(response);
    if (kind == VARY_STAR || (kind == VARY_NONE && key_cookies->count == 0))
        return kind;

    size_t commas = key_cookies->count, total = 0, count = 0;
    for (unsigned i = 0; i < key_cookies->count; i++)
        total += cookie_prefix.len + key_cookies->at[i].len + 1;
    for (const struct header *line = headers_find(response, HEADER_VARY); line; line = headers_next(response, line)) {
        commas += 1;
        total += line->value.len + 1;
        for (size_t i = 0; i < line->value.len; i++)
            commas += line->value.at[i] == ',';
    }
    struct bytes *sorted = arena_alloc(arena, commas * sizeof *sorted);
    for (const struct header *line = headers_find(response, HEADER_VARY); line; line = headers_next(response, line)) {
        struct bytes rest = line->value, member;
        while (bytes_next_list_member(&rest, &member)) {
            if (member_kind(member) == VARY_FIELDS)
                sorted[count++] = copy_lower(arena, member);
        }
    }
    for (unsigned i = 0; i < key_cookies->count; i++)
        sorted[count++] = arena_printf(arena, "%.*s%.*s", BYTES_FMT(cookie_prefix), BYTES_FMT(key_cookies->at[i]));
    qsort(sorted, count, sizeof *sorted, compare_bytes);

    char *list = arena_alloc(arena, total);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && bytes_equal(sorted[i], sorted[i - 1]))
            continue;
        if (len > 0)
            list[len++] = ',';
        memcpy(list + len, sorted[i].at, sorted[i].len);
        len += sorted[i].len;
    }
    *names = bytes_from(list, len);
    return VARY_FIELDS;
}

struct weighted {
    struct bytes range;
    unsigned weight; /* thousandths */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 9110 §12.4.2: qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ) */
static bool parse_qvalue(struct bytes text, unsigned *weight)
{
    if (text.len == 0 || text.len > 5 || (text.at[0] != '0' && text.at[0] != '1') || (text.len > 1 && text.at[1] != '.'))
        return false;
    *weight = text.at[0] == '1' ? WEIGHT_ONE : 0;
    unsigned unit = 100;
    for (size_t i = 2; i < text.len; i++, unit /= 10) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        *weight += (unsigned)(text.at[i] - '0') * unit;
    }
    return *weight <= WEIGHT_ONE;
}

/* range [ OWS ";" OWS "q=" qvalue ] */
static bool parse_weighted(struct bytes member, struct weighted *out)
{
    size_t semicolon = bytes_find(member, ';');
    out->range = bytes_trim(bytes_from(member.at, semicolon));
    out->weight = WEIGHT_ONE;
    if (!bytes_is_token(out->range))
        return false;
    if (semicolon == member.len)
        return true;
    struct bytes parameter = bytes_trim(bytes_from(member.at + semicolon + 1, member.len - semicolon - 1));
    if (parameter.len < 2 || byte_lower(parameter.at[0]) != 'q' || parameter.at[1] != '=')
        return false;
    return parse_qvalue(bytes_from(parameter.at + 2, parameter.len - 2), &out->weight);
}

static int compare_weighted(const void *a, const void *b)
{
    const struct weighted *x = a, *y = b;
    int order = compare_bytes(&x->range, &y->range);
    return order ? order : x->weight < y->weight ? -1 : x->weight > y->weight;
}

/* RFC 9110 §8.4.1.1, §8.4.1.3: the names with x- mean the same. */
static struct bytes canonical_coding(struct bytes coding)
{
    bool has_alias = bytes_equal(coding, BYTES("x-gzip")) || bytes_equal(coding, BYTES("x-compress"));
    return has_alias ? bytes_from(coding.at + 2, coding.len - 2) : coding;
}

/* The codings that origins are known to send. Any other word would only multiply the variants, and a client can make up as many as it likes. */
static bool coding_is_known(struct bytes coding)
{
    static const struct bytes known[] = {{"gzip", 4}, {"br", 2},  {"zstd", 4}, {"deflate", 7}, {"identity", 8},
                                         {"*", 1},    {"dcb", 3}, {"dcz", 3},  {"compress", 8}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (bytes_equal_nocase(coding, known[i]))
            return true;
    }
    return false;
}

/* How many different weights above 0 are higher than this one. */
static unsigned rank_of(const struct weighted *members, size_t count, unsigned weight)
{
    unsigned rank = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_first = members[i].weight > weight;
        for (size_t k = 0; is_first && k < i; k++)
            is_first = members[k].weight != members[i].weight;
        rank += is_first;
    }
    return rank;
}

/* RFC 9110 §12.5.3: what a refused coding says goes without saying, unless "*" would allow it; so does an identity that everything else is preferred
 * to; and of weights only the order counts. */
static size_t reduce_codings(struct weighted *members, size_t count)
{
    bool has_star = false;
    unsigned lowest = WEIGHT_ONE;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_identity = bytes_equal(members[i].range, BYTES("identity"));
        has_star |= bytes_equal(members[i].range, BYTES("*"));
        if (!is_identity && members[i].weight > 0 && members[i].weight < lowest)
            lowest = members[i].weight;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_identity = bytes_equal(members[i].range, BYTES("identity"));
        bool is_last_resort = is_identity && members[i].weight > 0 && (members[i].weight < lowest || count == 1);
        bool is_refused = !is_identity && members[i].weight == 0;
        if (coding_is_known(members[i].range) && (has_star || !(is_last_resort || is_refused)))
            members[kept++] = members[i];
    }
    unsigned weights[WEIGHTED_MEMBERS_MAX];
    for (size_t i = 0; i < kept; i++)
        weights[i] = members[i].weight == 0 ? 0 : WEIGHT_ONE - rank_of(members, kept, members[i].weight);
    for (size_t i = 0; i < kept; i++)
        members[i].weight = weights[i];
    return kept;
}

/* False when the list is not one of weighted ranges; then its text is compared. */
static bool normalise_weighted(struct bytes list, enum header_id id, struct arena *arena, struct bytes *normalised)
{
    struct weighted members[WEIGHTED_MEMBERS_MAX];
    size_t count = 0, size = 0;
    struct bytes rest = list, member;
    while (bytes_next_list_member(&rest, &member)) {
        if (count == WEIGHTED_MEMBERS_MAX || !parse_weighted(member, &members[count]))
            return false;
        members[count].range = copy_lower(arena, members[count].range);
        if (id == HEADER_ACCEPT_ENCODING)
            members[count].range = canonical_coding(members[count].range);
        size += members[count++].range.len + sizeof ";1000,";
    }
    if (id == HEADER_ACCEPT_ENCODING)
        count = reduce_codings(members, count);
    if (count > 1)
        qsort(members, count, sizeof *members, compare_weighted);

    char *out = arena_alloc(arena, size + 1);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_weighted(&members[i], &members[i - 1]) == 0)
            continue;
        if (len > 0)
            out[len++] = ',';
        memcpy(out + len, members[i].range.at, members[i].range.len);
        len += members[i].range.len;
        if (members[i].weight == WEIGHT_ONE)
            continue;
        out[len++] = WEIGHT_MARK;
        for (unsigned unit = 100; unit > 0; unit /= 10)
            out[len++] = (char)('0' + members[i].weight / unit % 10);
    }
    *normalised = bytes_from(out, len);
    return true;
}

/* Drops white space beside commas, except inside quoted strings. */
static struct bytes strip_list_space(struct bytes list, struct arena *arena)
{
    char *out = arena_alloc(arena, list.len + 1);
    size_t len = 0;
    bool is_quoted = false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.at[i];
        if (is_quoted && c == '\\' && i + 1 < list.len) {
            out[len++] = c;
            c = list.at[++i];
        } else if (c == '"') {
            is_quoted = !is_quoted;
        } else if (!is_quoted && is_blank(c) && (len == 0 || out[len - 1] == ',')) {
            continue;
        } else if (!is_quoted && c == ',') {
            while (len > 0 && is_blank(out[len - 1]))
                len--;
        }
        out[len++] = c;
    }
    return bytes_from(out, len);
}

static struct bytes normalise(struct bytes value, enum header_id id, struct arena *arena)
{
    struct bytes normalised;
    switch (id) {
    case HEADER_ACCEPT_ENCODING:
    case HEADER_ACCEPT_LANGUAGE:
    case HEADER_ACCEPT_CHARSET:
        if (normalise_weighted(value, id, arena, &normalised))
            return normalised;
        break;
    case HEADER_COOKIE:
        return value;
    default:
        if (header_flags(id) & HEADER_SINGLE)
            return value;
    }
    return strip_list_space(value, arena);
}

static struct bytes selecting_value(struct bytes name, const struct headers *request, struct arena *arena)
{
    if (bytes_starts_with(name, cookie_prefix))
        return cookie_values(request, bytes_from(name.at + cookie_prefix.len, name.len - cookie_prefix.len), arena);
    struct bytes value = headers_combined(request, name, arena);
    return value.at ? normalise(value, header_identify(name), arena) : BYTES_NONE;
}

static void put_length(char *out, uint32_t length)
{
    for (int i = 0; i < 4; i++)
        out[i] = (char)(length >> (8 * i));
}

struct bytes vary_values(struct bytes names, const struct headers *request, struct arena *arena)
{
    size_t count = names.len > 0;
    for (size_t i = 0; i < names.len; i++)
        count += names.at[i] == ',';
    struct bytes *values = arena_alloc(arena, (count + 1) * sizeof *values);
    struct bytes rest = names, name;
    size_t size = 0;
    count = 0;
    while (bytes_next_list_member(&rest, &name)) {
        values[count] = selecting_value(name, request, arena);
        size += 4 + values[count++].len;
    }

    char *out = arena_alloc(arena, size + 1), *at = out;
    for (size_t i = 0; i < count; i++) {
        put_length(at, values[i].at ? (uint32_t)values[i].len : absent_length);
        at += 4;
        if (values[i].at != NULL)
            at = mempcpy(at, values[i].at, values[i].len);
    }
    return bytes_from(out, size);
}

bool vary_tells_apart(const struct headers *response)
{
    if (!headers_list_has(response, HEADER_VARY, header_spelling(HEADER_ACCEPT_ENCODING)))
        return true;
    for (const struct header *line = headers_find(response, HEADER_CONTENT_ENCODING); line; line = headers_next(response, line)) {
        struct bytes rest = line->value, coding;
        while (bytes_next_list_member(&rest, &coding)) {
            if (!coding_is_known(coding) && !bytes_equal_nocase(coding, BYTES("x-gzip")) &&
                !bytes_equal_nocase(coding, BYTES("x-compress")))
                return false;
        }
    }
    return true;
}

bool vary_next_value(struct bytes *values, struct bytes *value)
{
    uint32_t length = 0;
    if (values->len < 4)
        return false;
    for (unsigned i = 0; i < 4; i++)
        length |= (uint32_t)(unsigned char)values->at[i] << (8 * i);
    bool is_absent = length == absent_length;
    if (is_absent)
        length = 0;
    if (length > values->len - 4)
        return false;
    *value = is_absent ? BYTES_NONE : bytes_from(values->at + 4, length);
    *values = bytes_from(values->at + 4 + length, values->len - 4 - length);
    return true;
}
