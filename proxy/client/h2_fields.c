/* See h2_fields.h. */
#include "proxy/client/h2_fields.h"

#include "proxy/client/h2_encoder.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_FIELDS = 64, FIRST_NAMES_BYTES = 2048 };

void h2_fields_free(struct h2_fields *fields)
{
    free(fields->at);
    free(fields->names);
}

/* Begins anew, with room for so many fields, whose names have so many bytes. */
static void begin(struct h2_fields *fields, size_t bytes, size_t count)
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

static nghttp2_nv field_of(struct bytes name, struct bytes value, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)name.at, (uint8_t *)value.at, name.len, value.len, flags};
}

static void add_lower(struct h2_fields *fields, struct bytes name, struct bytes value)
{
    if (h2_field_is_of_the_connection(name))
        return;
    char *lower = fields->names + fields->names_used;
    bytes_put_lower(lower, name);
    fields->names_used += name.len;
    fields->at[fields->count++] = field_of(bytes_from(lower, name.len), value, NGHTTP2_NV_FLAG_NO_INDEX);
}

/* RFC 7541, appendix A: with these, :status is a byte. */
static bool is_in_static_table(unsigned status)
{
    return status == 200 || status == 204 || status == 206 || status == 304 || status == 400 || status == 404 || status == 500;
}

nghttp2_nv h2_status_field(char *digits, unsigned status)
{
    bool is_static = is_in_static_table(status);
    for (unsigned digit = H2_STATUS_DIGITS; digit-- > 0; status /= 10)
        digits[digit] = (char)('0' + status % 10);
    return field_of(BYTES(":status"), bytes_from(digits, H2_STATUS_DIGITS),
                    is_static ? NGHTTP2_NV_FLAG_NO_COPY_NAME : NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX);
}

void h2_fields_of_headers(struct h2_fields *fields, unsigned status, const struct headers *headers)
{
    size_t bytes = 0, count = headers ? headers->count : 0;
    for (unsigned i = 0; i < count; i++)
        bytes += headers->at[i].name.len;
    begin(fields, bytes, count + 1);
    fields->at[fields->count++] = h2_status_field(fields->status, status);
    for (unsigned i = 0; i < count; i++)
        add_lower(fields, headers->at[i].name, headers->at[i].value);
}
