/* A response's head as HPACK fields (RFC 7541): from the lines that are stored, or made for this answer, to a field block (RFC 9113 §8.2).
 *
 * DESIGN. A client's table is looked up by whole lines, "Name: value" as they are stored: one that was inserted once costs a hash, a comparison and a byte or
 * two, and only a comparison where it comes behind the same line as the last time; only a line that is not there is taken apart. nghttp2's encoder would want
 * names and values apart, and in lower case, of each response.
 * What is another value nearly each time (a length, an age, an entity tag) is never inserted. Nothing is Huffman-coded: it would save a quarter of the few bytes
 * that are not found in the table.
 *
 * nghttp2 makes the frame and its :status, this the rest of the block; and nghttp2 inserts nothing (NGHTTP2_NV_FLAG_NO_INDEX), so that the table is all ours. Its
 * size is what nghttp2 says at the beginning of a block.
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
};

void h2_encoder_init(struct h2_encoder *encoder);
void h2_encoder_free(struct h2_encoder *encoder);

/* The beginning of a block, before its fields: the sizes that it sets (§6.3). */
void h2_encoder_begin(struct h2_encoder *encoder, struct bytes block);

/* What h2_encode_head writes at most. */
size_t h2_encoder_bound(const struct response_head *head);
/* Writes all fields but :status, and returns what is behind them. Connection-specific ones are left out (RFC 9113 §8.2.2). */
char *h2_encode_head(struct h2_encoder *encoder, char *at, const struct response_head *head);

/* Fields that HTTP/2 has not: RFC 9113 §8.2.2; RFC 8441 §5 for the Sec-WebSocket-Accept. Without case. */
bool h2_field_is_of_the_connection(struct bytes name);

#endif
