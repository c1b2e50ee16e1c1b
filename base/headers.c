/* See headers.h; the rows are in headers.tbl.
 *
 * DESIGN. A name is identified by a perfect hash: its length, first bytes and last bytes are mixed with a multiplier under which no two
 * rows of the table share a slot, then one comparison decides. The multiplier is searched before main, so that adding a row to the
 * table is all it takes to know a new field, and threads only ever read.
 */
#include "base/headers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SLOT_BITS = 9,
    SLOTS = 1 << SLOT_BITS,
    SEARCH_MAX = 1 << 16, /* a multiplier in about thirty works; two rows that no multiplier separates end the search */
    NAME_MAX_BYTES = 32,
    FIRST_CAPACITY = 24, /* a browser sends 15 to 20 */
};

static const struct {
    struct bytes spelling;
    unsigned flags;
} rows[HEADER_ID_COUNT] = {
    [HEADER_OTHER] = {BYTES_NONE, 0},
#define HEADER(id, spelling, flags) [HEADER_##id] = {{spelling, sizeof(spelling) - 1}, flags},
#include "base/headers.tbl"
#undef HEADER
};

#define HEADER(id, spelling, flags) _Static_assert(sizeof(spelling) - 1 <= NAME_MAX_BYTES, "longer names are not looked up");
#include "base/headers.tbl"
#undef HEADER
_Static_assert(HEADER_ID_COUNT <= 256, "a slot is one byte");

static uint8_t slots[SLOTS];
static uint64_t multiplier;

static inline uint64_t load(const char *at, size_t bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

/* Bit 5 is set everywhere, which makes upper and lower case alike; what else it makes alike the comparison tells apart. */
static inline unsigned slot_of(struct bytes name, uint64_t factor)
{
    uint64_t first, last;
    if (name.len >= 8) {
        first = load(name.at, 8);
        last = load(name.at + name.len - 8, 8);
    } else if (name.len >= 4) {
        first = load(name.at, 4);
        last = load(name.at + name.len - 4, 4);
    } else {
        first = (unsigned char)name.at[0];
        last = (unsigned char)name.at[name.len - 1];
    }
    first |= 0x2020202020202020;
    last |= 0x2020202020202020;
    uint64_t mixed = (first * factor ^ last) * factor + name.len * factor;
    return (unsigned)(mixed >> (64 - SLOT_BITS));
}

static bool multiplier_separates(uint64_t factor)
{
    memset(slots, HEADER_OTHER, sizeof(slots));
    for (unsigned id = HEADER_OTHER + 1; id < HEADER_ID_COUNT; id++) {
        uint8_t *slot = &slots[slot_of(rows[id].spelling, factor)];
        if (*slot != HEADER_OTHER)
            return false;
        *slot = (uint8_t)id;
    }
    return true;
}

static __attribute__((constructor)) void headers_find_multiplier(void)
{
    multiplier = 0x9E3779B97F4A7C15;
    for (unsigned tries = 0; tries < SEARCH_MAX; tries++) {
        if (multiplier_separates(multiplier))
            return;
        multiplier += 0x9E3779B97F4A7C16; /* even: the multiplier stays odd */
    }
    fputs("headers.tbl: two fields cannot be told apart by length, first and last bytes\n", stderr);
    abort();
}

enum header_id header_identify(struct bytes name)
{
    if (name.len - 1 >= NAME_MAX_BYTES)
        return HEADER_OTHER;
    enum header_id id = slots[slot_of(name, multiplier)];
    return bytes_equal_nocase(name, rows[id].spelling) ? id : HEADER_OTHER;
}

unsigned header_flags(enum header_id id)
{
    assert(id < HEADER_ID_COUNT);
    return rows[id].flags;
}

struct bytes header_spelling(enum header_id id)
{
    assert(id < HEADER_ID_COUNT);
    return rows[id].spelling;
}

void headers_init(struct headers *headers, struct arena *arena)
{
    *headers = (struct headers){.arena = arena};
}

void headers_grow(struct headers *headers)
{
    unsigned capacity = headers->capacity ? headers->capacity * 2 : FIRST_CAPACITY;
    struct header *at = arena_alloc(headers->arena, capacity * sizeof(*at));
    if (headers->count)
        memcpy(at, headers->at, headers->count * sizeof(*at));
    headers->at = at;
    headers->capacity = capacity;
}

void headers_add(struct headers *headers, enum header_id id, struct bytes name, struct bytes value)
{
    assert(id < HEADER_ID_COUNT);
    /* A field that is there has a value, be it empty: "absent" is what headers_value says of a field that is not. */
    headers_add_trimmed(headers, id, name, value.at ? bytes_trim(value) : BYTES(""));
}

void headers_copy(struct headers *to, const struct headers *from)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < from->count; i++)
        bytes += from->at[i].name.len + from->at[i].value.len;
    char *at = arena_alloc(to->arena, bytes);
    while (to->capacity < to->count + from->count)
        headers_grow(to);
    for (unsigned i = 0; i < from->count; i++) {
        const struct header *field = &from->at[i];
        char *value = bytes_put(at, field->name);
        to->at[to->count++] = (struct header){{at, field->name.len}, {value, field->value.len}, field->id};
        at = bytes_put(value, field->value);
    }
    to->present |= from->present;
}

void headers_add_named(struct headers *headers, struct bytes name, struct bytes value)
{
    headers_add(headers, header_identify(name), name, value);
}

void headers_add_known(struct headers *headers, enum header_id id, struct bytes value)
{
    assert(id != HEADER_OTHER);
    headers_add(headers, id, header_spelling(id), value);
}

unsigned headers_remove(struct headers *headers, enum header_id id)
{
    assert(id != HEADER_OTHER);
    if (!(headers->present & headers_present_bit(id)))
        return 0;
    unsigned kept = 0, before = headers->count;
    headers->present = 0;
    for (unsigned i = 0; i < before; i++) {
        if (headers->at[i].id == id)
            continue;
        headers->at[kept++] = headers->at[i];
        headers->present |= headers_present_bit(headers->at[kept - 1].id);
    }
    headers->count = kept;
    return before - kept;
}

static bool is_same_for_cgi(struct bytes a, struct bytes b)
{
    for (size_t i = 0; i < a.len && a.len == b.len; i++)
        if (byte_lower(a.at[i] == '_' ? '-' : a.at[i]) != byte_lower(b.at[i] == '_' ? '-' : b.at[i]))
            return false;
    return a.len == b.len;
}

unsigned headers_remove_named(struct headers *headers, struct bytes name)
{
    unsigned kept = 0, before = headers->count;
    headers->present = 0;
    for (unsigned i = 0; i < before; i++) {
        if (is_same_for_cgi(headers->at[i].name, name))
            continue;
        headers->at[kept++] = headers->at[i];
        headers->present |= headers_present_bit(headers->at[kept - 1].id);
    }
    headers->count = kept;
    return before - kept;
}

/* First line from index `from` on that has this id, and for HEADER_OTHER this name. */
static const struct header *find_from(const struct headers *headers, unsigned from, enum header_id id, struct bytes name)
{
    for (unsigned i = from; i < headers->count; i++) {
        const struct header *field = &headers->at[i];
        if (field->id == id && (id != HEADER_OTHER || bytes_equal_nocase(field->name, name)))
            return field;
    }
    return NULL;
}

const struct header *headers_find(const struct headers *headers, enum header_id id)
{
    assert(id != HEADER_OTHER);
    return headers->present & headers_present_bit(id) ? find_from(headers, 0, id, BYTES_NONE) : NULL;
}

const struct header *headers_find_named(const struct headers *headers, struct bytes name)
{
    enum header_id id = header_identify(name);
    return headers->present & headers_present_bit(id) ? find_from(headers, 0, id, name) : NULL;
}

const struct header *headers_next(const struct headers *headers, const struct header *previous)
{
    return find_from(headers, (unsigned)(previous - headers->at) + 1, previous->id, previous->name);
}

struct bytes headers_value(const struct headers *headers, enum header_id id)
{
    const struct header *field = headers_find(headers, id);
    return field ? field->value : BYTES_NONE;
}

unsigned headers_count(const struct headers *headers, enum header_id id)
{
    unsigned count = 0;
    for (const struct header *field = headers_find(headers, id); field; field = headers_next(headers, field))
        count++;
    return count;
}

struct bytes headers_combined(const struct headers *headers, struct bytes name, struct arena *arena)
{
    const struct header *first = headers_find_named(headers, name);
    if (!first)
        return BYTES_NONE;
    const struct header *second = headers_next(headers, first);
    if (!second)
        return first->value;

    size_t len = first->value.len;
    for (const struct header *field = second; field; field = headers_next(headers, field))
        len += 2 + field->value.len;
    char *joined = arena_alloc(arena, len), *at = joined;
    for (const struct header *field = first; field; field = headers_next(headers, field)) {
        if (field != first) {
            *at++ = ',';
            *at++ = ' ';
        }
        memcpy(at, field->value.at, field->value.len);
        at += field->value.len;
    }
    return bytes_from(joined, len);
}

bool headers_list_has(const struct headers *headers, enum header_id id, struct bytes token)
{
    for (const struct header *field = headers_find(headers, id); field; field = headers_next(headers, field)) {
        if (bytes_list_has(field->value, token))
            return true;
    }
    return false;
}

bool header_is_hop_by_hop(const struct header *field, const struct headers *connection)
{
    unsigned flags = header_flags(field->id);
    if (flags & HEADER_HOP)
        return true;
    if (flags & HEADER_FRAMING || field->id == HEADER_COOKIE || field->id == HEADER_AUTHORIZATION)
        return false;
    return headers_list_has(connection, HEADER_CONNECTION, field->name);
}

static inline bool is_forbidden_in_value(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

typedef unsigned char sixteen __attribute__((vector_size(16)));
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lowest byte is the first");

/* Of sixteen bytes at once, the first that may be forbidden (a HTAB is told apart by the caller); 16: none. Every byte that a client sends as a field goes
 * through here. */
static inline unsigned first_suspect(const char *at)
{
    sixteen bytes;
    memcpy(&bytes, at, sizeof(bytes));
    uint64_t found[2];
    sixteen suspect = (sixteen)((bytes < 0x20) | (bytes == 0x7f));
    memcpy(found, &suspect, sizeof(found));
    if (found[0] != 0)
        return (unsigned)__builtin_ctzll(found[0]) / 8;
    return found[1] != 0 ? 8 + (unsigned)__builtin_ctzll(found[1]) / 8 : 16;
}

size_t header_value_length(struct bytes text)
{
    size_t i = 0;
    while (i + 16 <= text.len) {
        unsigned suspect = first_suspect(text.at + i);
        i += suspect;
        if (suspect == 16)
            continue;
        if (text.at[i] != '\t')
            return i;
        i++;
    }
    if (i > 0 && first_suspect(text.at + text.len - 16) == 16) /* the rest, and some of what was looked at */
        return text.len;
    while (i < text.len && !is_forbidden_in_value((unsigned char)text.at[i]))
        i++;
    return i;
}

bool headers_parse_block(struct headers *headers, struct bytes block)
{
    while (block.len) {
        size_t newline = bytes_find(block, '\n');
        if (newline == block.len || newline == 0 || block.at[newline - 1] != '\r')
            return false;
        struct bytes line = bytes_from(block.at, newline - 1);
        size_t colon = bytes_find(line, ':');
        if (colon == line.len)
            return false;
        struct bytes name = bytes_from(line.at, colon), value = bytes_from(line.at + colon + 1, line.len - colon - 1);
        if (!bytes_is_token(name) || !header_value_is_valid(value))
            return false;
        headers_add_named(headers, name, value);
        block = bytes_from(block.at + newline + 1, block.len - newline - 1);
    }
    return true;
}
