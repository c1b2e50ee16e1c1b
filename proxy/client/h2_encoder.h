/* A response's head as HPACK fields (RFC 7541): from the lines that are stored, or made for this answer, to a field block (RFC 9113 §8.2).
 *
 * DESIGN. A client's table is looked up by whole lines, "Name: value" as they are stored: one that was inserted once costs a hash, a comparison and a byte or
 * two, and only a comparison where it comes behind the same line as the last time; only a line that is not there is taken apart. nghttp2's encoder would want
 * names and values apart, and in lower case, of each response.
 * What is another value nearly each time (a length, an age, an entity tag) is never inserted. Nothing is Huffman-coded: it would save a quarter of the few bytes
 * that are not found in the table.
 *
 * Invariant: the entries are those that the client's decoder has after all blocks encoded so far; so a block that is encoded MUST be sent.
 */
#ifndef CLIENT_H2_ENCODER_H
#define CLIENT_H2_ENCODER_H

#include "base/headers.h"
#include "proxy/request/stream.h"

struct h2_entries;

/* A connection's. */
struct h2_encoder {
    struct h2_entries *entries; /* NULL: none */
    uint32_t           bytes_max; /* of the client's table, as §4.1 counts */
    uint32_t           bytes_least; /* which it has had since the last block */
    bool               is_resized;  /* since then: the next block begins with that */
};

void h2_encoder_init(struct h2_encoder *encoder);
void h2_encoder_free(struct h2_encoder *encoder);

/* The client's table may have so many bytes from now on (SETTINGS_HEADER_TABLE_SIZE), of which no more than the default are used. */
void h2_encoder_resize(struct h2_encoder *encoder, uint32_t bytes);

/* What h2_encode_head writes at most. */
size_t h2_encoder_bound(const struct response_head *head);
/* Writes the block of a response, and returns what is behind it. Connection-specific fields are left out (RFC 9113 §8.2.2). */
char *h2_encode_head(struct h2_encoder *encoder, char *at, const struct response_head *head);

/* Likewise of an interim response, or of what answers a CONNECT: nothing of it is inserted in the table. `fields`: NULL: none. */
size_t h2_encoder_bound_interim(const struct headers *fields);
char *h2_encode_interim(struct h2_encoder *encoder, char *at, unsigned status, const struct headers *fields);

/* Fields that HTTP/2 has not: RFC 9113 §8.2.2; RFC 8441 §5 for the Sec-WebSocket-Accept. Without case. */
bool h2_field_is_of_the_connection(struct bytes name);

#endif
