/* A header section (RFC 9110 §5): field lines in the order received, each classified once as it arrives.
 *
 * Names and values are borrowed slices (of a read buffer, an arena or a stored header block); a `struct headers` never copies text.
 * Repeated fields stay separate lines: joining them is the reader's business (headers_next). */
#ifndef BASE_HEADERS_H
#define BASE_HEADERS_H

#include "base/arena.h"
#include "base/bytes.h"

enum header_flag { HEADER_HOP = 1, HEADER_FRAMING = 2, HEADER_SINGLE = 4, HEADER_CONTENT = 8 };

enum header_id {
    HEADER_OTHER,
#define HEADER(id, spelling, flags) HEADER_##id,
#include "base/headers.tbl"
#undef HEADER
    HEADER_ID_COUNT
};

struct header {
    struct bytes   name, value; /* value without surrounding white space */
    enum header_id id;
};

struct headers {
    struct header *at;
    unsigned       count, capacity;
    uint64_t       present; /* bit (id & 63): a fast "surely absent" */
    struct arena  *arena;   /* where `at` grows */
};

/* Case-insensitive, by length and hash: no chain of comparisons. */
enum header_id header_identify(struct bytes name);
unsigned       header_flags(enum header_id id);
struct bytes   header_spelling(enum header_id id); /* canonical; absent for HEADER_OTHER */

void headers_init(struct headers *headers, struct arena *arena);
void headers_add(struct headers *headers, enum header_id id, struct bytes name, struct bytes value);
/* Of `present`. */
static inline uint64_t headers_present_bit(enum header_id id)
{
    return UINT64_C(1) << (id & 63);
}
/* Room for one more at least. */
void headers_grow(struct headers *headers);
/* Of a value that is there, without white space at its ends. */
static inline void headers_add_trimmed(struct headers *headers, enum header_id id, struct bytes name, struct bytes value)
{
    if (headers->count == headers->capacity)
        headers_grow(headers);
    headers->at[headers->count++] = (struct header){name, value, id};
    headers->present |= headers_present_bit(id);
}
/* All of `from`, its texts included, in the arena of `to`. */
void headers_copy(struct headers *to, const struct headers *from);
/* Identifies the name first. */
void headers_add_named(struct headers *headers, struct bytes name, struct bytes value);
/* With the canonical name of `id`. */
void headers_add_known(struct headers *headers, enum header_id id, struct bytes value);
/* Removes every line of that field; returns how many there were. */
unsigned headers_remove(struct headers *headers, enum header_id id);

/* Likewise by name, in which an underscore and a hyphen count as the same, as they do in a CGI's environment. */
unsigned headers_remove_named(struct headers *headers, struct bytes name);

/* First line of that field, or NULL. */
const struct header *headers_find(const struct headers *headers, enum header_id id);
const struct header *headers_find_named(const struct headers *headers, struct bytes name);
/* The line after `previous` with the same name, or NULL. */
const struct header *headers_next(const struct headers *headers, const struct header *previous);
/* Value of the first line, BYTES_NONE when the field is absent. */
struct bytes headers_value(const struct headers *headers, enum header_id id);
unsigned     headers_count(const struct headers *headers, enum header_id id);
/* All lines of a list field joined by ", " (RFC 9110 §5.3); borrowed when there is one line, else in `arena`. BYTES_NONE when absent. */
struct bytes headers_combined(const struct headers *headers, struct bytes name, struct arena *arena);
/* Whether any line of a list field has `token` among its members, without case. */
bool headers_list_has(const struct headers *headers, enum header_id id, struct bytes token);

/* Every field that must not be forwarded or stored: hop-by-hop by flag, and what Connection names, except fields flagged FRAMING and
 * Cookie and Authorization, which Connection cannot strip (HARDENING: routing; RFC 9110 §7.6.1). `connection` is the section whose
 * Connection lines count (usually the same section). */
bool header_is_hop_by_hop(const struct header *field, const struct headers *connection);

/* How far `text` could be a field's value: up to the first CR, LF, NUL or other control byte than HTAB (RFC 9110 §5.5), or all of it. */
size_t header_value_length(struct bytes text);

static inline bool header_value_is_valid(struct bytes value)
{
    return header_value_length(value) == value.len;
}

/* Parses "Name: value\r\n" lines (a stored header block, without the empty line) back into fields. False when malformed. */
bool headers_parse_block(struct headers *headers, struct bytes block);

#endif
