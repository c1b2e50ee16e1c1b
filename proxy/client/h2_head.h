/* An HTTP/2 request's field section: from the fields that HPACK decoded to struct request_head, or to the error that they are (RFC 9113 §8.2, §8.3).
 *
 * DESIGN. A block is filled field by field in memory of its own, since it may come in many frames; when it is whole, one copy of it goes into the request's
 * arena. What breaks a rule is remembered and the fields go on being decoded, as HPACK wants; only what is too large is not kept. There are two kinds of
 * errors: a malformed section is a stream error (§8.1.1) of which nobody else hears; one beyond a limit is answered, as over HTTP/1.
 */
#ifndef CLIENT_H2_HEAD_H
#define CLIENT_H2_HEAD_H

#include "proxy/request/request.h"

enum h2_pseudo { H2_METHOD, H2_SCHEME, H2_AUTHORITY, H2_PATH, H2_PROTOCOL, H2_PSEUDO_COUNT };

enum { H2_FIELD_CHARGE_BYTES = 32 }; /* beside name and value: what a field costs its receiver (RFC 7541 §4.1), even one of a single byte */

struct h2_piece {
    uint32_t at, len; /* in its text; at UINT32_MAX: absent */
};

struct h2_block_field {
    struct h2_piece name, value;
    enum header_id  id;
};

struct h2_text {
    char    *at;
    uint32_t used, capacity;
};

struct h2_block {
    struct h2_text         pseudo_text, text; /* of values; of names and values, in the order of the fields */
    struct h2_block_field *fields;
    struct h2_piece        pseudo[H2_PSEUDO_COUNT];
    uint32_t               field_count, field_capacity;
    uint32_t               count;   /* of all fields but pseudo-headers, crumbs of cookies included */
    uint64_t               charged_bytes;
    enum error             error;   /* the first */
    bool                   is_malformed; /* by `error` */
};

/* Zeroed memory, or what h2_block_clear left: ready for the first field. */
void h2_block_clear(struct h2_block *block);
void h2_block_free(struct h2_block *block);

/* RFC 9113 §8.2: of a field that is no pseudo-header. */
bool h2_field_is_well_formed(struct bytes name, struct bytes value);
void h2_block_add(struct h2_block *block, struct bytes name, struct bytes value, const struct config *config);

/* How far a section has come with a field that is no pseudo-header, and what that one was charged. */
struct h2_block_mark {
    uint32_t used, field_count, count, charge_bytes;
};

/* After h2_block_add without an error. `charge_bytes`: of that field. */
struct h2_block_mark h2_block_mark(const struct h2_block *block, uint32_t charge_bytes);
/* Adds the field that `mark` stands for: the block has had it, and all before it, at the same places, and nothing has been added since it was cleared but these and
 * pseudo-headers. False: it has to be added by h2_block_add. */
bool h2_block_repeat(struct h2_block *block, const struct h2_block_mark *mark, const struct config *config);

struct h2_framing {
    bool     length_known; /* of the body */
    uint64_t length;
    bool     expects_continue;
    bool     is_extended_connect; /* RFC 8441 */
};

/* The section is whole; `ends`: the stream ends with it. Fills `head` (as far as that goes, on an error) in `arena`, but for `upload` and `scheme`. When
 * block->is_malformed afterwards, the error is one of the stream. */
enum error h2_block_finish(struct h2_block *block, bool ends, const struct config *config, struct arena *arena, struct request_head *head,
                           struct h2_framing *framing);

/* RFC 9218 §4: of a Priority field's value, or of PRIORITY_UPDATE. */
struct h2_priority {
    uint8_t urgency; /* 0, first, to 7 */
    bool    is_incremental;
};

/* What the value does not say stays as it is. */
void h2_priority_parse(struct bytes value, struct h2_priority *priority);

#endif
