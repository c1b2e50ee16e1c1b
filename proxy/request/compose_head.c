/* What a head costs that is not stored ready to be sent, for comparison (`without: header`, docs/ARCHITECTURES.md): the fields are split, identified, and
 * written one by one; dates are read, and formatted again. The result is what is stored but for dates in an obsolete format (RFC 9110 §5.6.7). */
#include "proxy/request/life.h"

#include "base/http_date.h"

static bool is_date(enum header_id id)
{
    return id == HEADER_DATE || id == HEADER_EXPIRES || id == HEADER_LAST_MODIFIED;
}

static char *put_date(char *at, struct bytes value, struct wall_seconds now)
{
    struct wall_seconds date;
    if (value.len < HTTP_DATE_LEN ||
        !http_date_parse(value, now, &date)) /* "0", for instance; a shorter one has a format that is of no interest here */
        return bytes_put(at, value);
    http_date_format(date, at);
    return at + HTTP_DATE_LEN;
}

struct bytes compose_fields(struct request *request, const struct response_view *view)
{
    struct headers fields;
    headers_init(&fields, &request->arena);
    headers_parse_block(&fields, view->fields);
    size_t size = 0;
    for (unsigned f = 0; f < fields.count; f++)
        size += fields.at[f].name.len + fields.at[f].value.len + 4;
    char *out = arena_alloc(&request->arena, size), *at = out;
    for (unsigned f = 0; f < fields.count; f++) {
        const struct header *field = &fields.at[f];
        at = bytes_put(bytes_put(at, field->name), BYTES(": "));
        at = is_date(field->id) ? put_date(at, field->value, loop_wall(request->worker->loop)) : bytes_put(at, field->value);
        at = bytes_put(at, BYTES("\r\n"));
    }
    return bytes_from(out, (size_t)(at - out));
}
