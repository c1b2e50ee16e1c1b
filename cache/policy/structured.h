/* Structured fields (RFC 9651, which takes in RFC 8941): Dictionaries and Lists, read strictly, a member at a time. Pure. */
#ifndef CACHE_POLICY_STRUCTURED_H
#define CACHE_POLICY_STRUCTURED_H

#include "base/arena.h"
#include "base/bytes.h"

enum structured_type {
    STRUCTURED_INTEGER,
    STRUCTURED_DECIMAL,
    STRUCTURED_STRING,
    STRUCTURED_TOKEN,
    STRUCTURED_BYTES,
    STRUCTURED_BOOLEAN,
    STRUCTURED_DATE,
    STRUCTURED_DISPLAY_STRING,
    STRUCTURED_INNER_LIST,
};

struct structured_value {
    enum structured_type type;
    int64_t      integer; /* INTEGER and DATE; BOOLEAN: 0 or 1 */
    struct bytes text;    /* as written, without its delimiters and not unescaped: STRING, TOKEN, BYTES, DISPLAY_STRING, INNER_LIST, DECIMAL */
};

struct structured_member {
    struct bytes            key;
    struct structured_value value;
};

enum structured_result { STRUCTURED_MEMBER, STRUCTURED_END, STRUCTURED_INVALID };

/* Takes the next member from the front of *rest, its parameters checked and dropped. The field means something only if the walk gets to
 * STRUCTURED_END (RFC 9651 §4.2: one mistake makes all of it invalid); of members with the same key the last counts. Several lines of a field
 * are joined with a comma before they are read. */
enum structured_result structured_next_member(struct bytes *rest, struct structured_member *member);
/* The same for a List. */
enum structured_result structured_next_item(struct bytes *rest, struct structured_value *item);

/* Takes the next item from the front of *rest: of an INNER_LIST's text, which is well-formed. False: there is none left. */
bool structured_next_inner_item(struct bytes *rest, struct structured_value *item);

/* What a STRING's text says, in `arena`. */
struct bytes structured_unescape(struct bytes string, struct arena *arena);

#endif
