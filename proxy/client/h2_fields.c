/* See h2_fields.h. */
#include "proxy/client/h2_fields.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_FIELDS = 64, FIRST_NAMES_BYTES = 2048, SHORTEST_LINE = 4 };

void h2_fields_free(struct h2_fields *fields)
{
    free(fields->at);
    free(fields->names);
}

/* Begins anew, with room for the fields of `bytes` of a block, whatever they are. */
static void begin(struct h2_fields *fields, size_t bytes, size_t count, bool at_once)
{
    fields->flags = at_once ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NONE;
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

/* RFC 9113 §8.2.2; the last: RFC 8441 §5. */
static bool is_of_the_connection(struct bytes name)
{
    switch (name.len) {
    case 7:
        return bytes_equal(name, BYTES("upgrade"));
    case 10:
        return bytes_equal(name, BYTES("connection")) || bytes_equal(name, BYTES("keep-alive"));
    case 16:
        return bytes_equal(name, BYTES("proxy-connection"));
    case 17:
        return bytes_equal(name, BYTES("transfer-encoding"));
    case 20:
        return bytes_equal(name, BYTES("sec-websocket-accept"));
    default:
        return false;
    }
}

static void add(struct h2_fields *fields, struct bytes name, struct bytes value)
{
    fields->at[fields->count++] = (nghttp2_nv){(uint8_t *)name.at, (uint8_t *)value.at, name.len, value.len, fields->flags};
}

static void add_lower(struct h2_fields *fields, struct bytes name, struct bytes value)
{
    char *lower = fields->names + fields->names_used;
    bytes_put_lower(lower, name);
    struct bytes own = bytes_from(lower, name.len);
    if (is_of_the_connection(own))
        return;
    fields->names_used += name.len;
    add(fields, own, value);
}

static void add_status(struct h2_fields *fields, unsigned status)
{
    for (unsigned digit = sizeof(fields->status); digit-- > 0; status /= 10)
        fields->status[digit] = (char)('0' + status % 10);
    add(fields, BYTES(":status"), bytes_from(fields->status, sizeof(fields->status)));
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

void h2_fields_of_head(struct h2_fields *fields, const struct response_head *head, bool at_once)
{
    size_t bytes = head->head.len + head->extra.len;
    begin(fields, bytes, bytes / SHORTEST_LINE + 2, at_once);
    add_status(fields, head->status);
    size_t line = bytes_find(head->head, '\n');
    if (line < head->head.len)
        add_lines(fields, bytes_from(head->head.at + line + 1, head->head.len - line - 1));
    add_lines(fields, head->extra);
    if (head->length_known) {
        const char *end = bytes_put_decimal(fields->length, head->length);
        add(fields, BYTES("content-length"), bytes_from(fields->length, (size_t)(end - fields->length)));
    }
}

void h2_fields_of_headers(struct h2_fields *fields, unsigned status, const struct headers *headers)
{
    size_t bytes = 0, count = headers ? headers->count : 0;
    for (unsigned i = 0; i < count; i++)
        bytes += headers->at[i].name.len;
    begin(fields, bytes, count + 1, false);
    add_status(fields, status);
    for (unsigned i = 0; i < count; i++)
        add_lower(fields, headers->at[i].name, headers->at[i].value);
}
