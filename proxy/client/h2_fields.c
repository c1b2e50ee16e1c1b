/* See h2_fields.h. */
#include "proxy/client/h2_fields.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_FIELDS = 64, FIRST_NAMES_BYTES = 2048, SHORTEST_LINE = 4 };

void h2_fields_free(struct h2_fields *fields)
{
    free(fields->at);
    free(fields->names);
}

/* Room for the fields of `bytes` of a block, whatever they are. */
static void reserve(struct h2_fields *fields, size_t bytes, size_t count)
{
    if (fields->capacity < count) {
        while (fields->capacity < count)
            fields->capacity = fields->capacity ? fields->capacity * 2 : FIRST_FIELDS;
        fields->at = realloc(fields->at, fields->capacity * sizeof(*fields->at));
        assert(fields->at);
    }
    if (fields->names_capacity < bytes) {
        while (fields->names_capacity < bytes)
            fields->names_capacity = fields->names_capacity ? fields->names_capacity * 2 : FIRST_NAMES_BYTES;
        fields->names = realloc(fields->names, fields->names_capacity);
        assert(fields->names);
    }
    fields->count = fields->names_used = 0;
}

static bool is_of_the_connection(struct bytes name)
{
    static const struct bytes names[] = {{"connection", 10},        {"keep-alive", 10}, {"proxy-connection", 16},
                                         {"transfer-encoding", 17}, {"upgrade", 7},     {"sec-websocket-accept", 20} /* RFC 8441 §5 */};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (bytes_equal(name, names[i]))
            return true;
    return false;
}

static void add(struct h2_fields *fields, struct bytes name, struct bytes value)
{
    fields->at[fields->count++] = (nghttp2_nv){(uint8_t *)name.at, (uint8_t *)value.at, name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static void add_lower(struct h2_fields *fields, struct bytes name, struct bytes value)
{
    char *lower = fields->names + fields->names_used;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = byte_lower(name.at[i]);
    struct bytes own = bytes_from(lower, name.len);
    if (is_of_the_connection(own))
        return;
    fields->names_used += name.len;
    add(fields, own, value);
}

static void add_status(struct h2_fields *fields, unsigned status)
{
    snprintf(fields->status, sizeof(fields->status), "%u", status % 1000);
    add(fields, BYTES(":status"), bytes_from_string(fields->status));
}

/* "Name: value\r\n" lines, well-formed. */
static void add_lines(struct h2_fields *fields, struct bytes lines)
{
    const char *at = lines.at, *end = lines.at + lines.len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *colon = newline ? memchr(at, ':', (size_t)(newline - at)) : NULL;
        if (!colon)
            return;
        struct bytes value = bytes_from(colon + 1, (size_t)(newline - colon - 1));
        add_lower(fields, bytes_from(at, (size_t)(colon - at)), bytes_trim(bytes_from(value.at, value.len - (newline[-1] == '\r'))));
        at = newline + 1;
    }
}

void h2_fields_of_head(struct h2_fields *fields, const struct response_head *head)
{
    size_t bytes = head->head.len + head->extra.len;
    reserve(fields, bytes, bytes / SHORTEST_LINE + 2);
    add_status(fields, head->status);
    size_t line = bytes_find(head->head, '\n');
    if (line < head->head.len)
        add_lines(fields, bytes_from(head->head.at + line + 1, head->head.len - line - 1));
    add_lines(fields, head->extra);
    if (head->length_known) {
        int length = snprintf(fields->length, sizeof(fields->length), "%lu", (unsigned long)head->length);
        add(fields, BYTES("content-length"), bytes_from(fields->length, (size_t)length));
    }
}

void h2_fields_of_headers(struct h2_fields *fields, unsigned status, const struct headers *headers)
{
    size_t bytes = 0, count = headers ? headers->count : 0;
    for (unsigned i = 0; i < count; i++)
        bytes += headers->at[i].name.len;
    reserve(fields, bytes, count + 1);
    add_status(fields, status);
    for (unsigned i = 0; i < count; i++)
        add_lower(fields, headers->at[i].name, headers->at[i].value);
}
