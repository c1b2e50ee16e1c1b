/* A response's head as HTTP/2 fields: from the block that is stored, or made for this answer, to what HPACK encodes (RFC 9113 §8.2). Nothing is allocated once
 * the memory has grown to what responses need. */
#ifndef CLIENT_H2_FIELDS_H
#define CLIENT_H2_FIELDS_H

#include "base/headers.h"
#include "proxy/request/stream.h"

#include <nghttp2/nghttp2.h>

/* A worker's; zeroed at first. */
struct h2_fields {
    nghttp2_nv *at;
    size_t count, capacity;
    char *names; /* in lower case */
    size_t names_used, names_capacity;
    char status[3], length[DECIMAL_BYTES_MAX];
    uint8_t flags; /* of each */
};

void h2_fields_free(struct h2_fields *fields);

/* Of a response. Values are borrowed from `head`; connection-specific fields are left out (§8.2.2). `at_once`: nghttp2 makes the frame before `head` and
 * `fields` change, and need not copy them. */
void h2_fields_of_head(struct h2_fields *fields, const struct response_head *head, bool at_once);
/* Of an interim response, or of what answers a CONNECT. */
void h2_fields_of_headers(struct h2_fields *fields, unsigned status, const struct headers *headers);

#endif
