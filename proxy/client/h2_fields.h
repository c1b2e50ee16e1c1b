/* Fields that nghttp2 encodes: those of interim responses, and of what answers a CONNECT (RFC 9113 §8.2). None is inserted in the client's table, which is
 * h2_encoder's. Nothing is allocated once the memory has grown to what such responses need. */
#ifndef CLIENT_H2_FIELDS_H
#define CLIENT_H2_FIELDS_H

#include "base/headers.h"

#include <nghttp2/nghttp2.h>

enum { H2_STATUS_DIGITS = 3 };

/* A worker's; zeroed at first. */
struct h2_fields {
    nghttp2_nv *at;
    size_t count, capacity;
    char *names; /* in lower case */
    size_t names_used, names_capacity;
    char status[H2_STATUS_DIGITS];
};

void h2_fields_free(struct h2_fields *fields);

/* Writes the digits, in which they are borrowed. */
nghttp2_nv h2_status_field(char *digits, unsigned status);
/* Values are borrowed from `headers`; connection-specific fields are left out (§8.2.2). */
void h2_fields_of_headers(struct h2_fields *fields, unsigned status, const struct headers *headers);

#endif
