/* Max-Forwards: how many more servers may pass on an OPTIONS or a TRACE (RFC 9110 §7.6.2), by which a client finds out where a chain of them goes wrong. For
 * other methods it means nothing. */
#include "proxy/request/life.h"

static const struct header *find(const struct request *request)
{
    bool has_meaning = request->head.method == METHOD_OPTIONS || request->head.method == METHOD_TRACE;
    return has_meaning ? headers_find_named(&request->head.fields, BYTES("Max-Forwards")) : NULL;
}

bool forwards_are_used_up(const struct request *request)
{
    const struct header *field = find(request);
    uint64_t left;
    return field != NULL && bytes_parse_u64(field->value, &left) && left == 0;
}

enum step respond_as_last(struct request *request)
{
    if (request->head.method == METHOD_TRACE) /* what it would show of a request is nobody else's business */
        return respond_error(request, ERROR_METHOD_NOT_ALLOWED);
    enum step next = respond_with(request, 200, "text/plain; charset=utf-8", BYTES(""));
    request->answer.head.extra = BYTES(ALLOW_LINE);
    return next;
}

struct bytes forwards_left(const struct request *request, const struct header *field, struct arena *arena)
{
    const struct header *limit = find(request);
    uint64_t left;
    if (limit == NULL || limit != field || !bytes_parse_u64(limit->value, &left) || left == 0)
        return field->value;
    return arena_printf(arena, "%lu", (unsigned long)left - 1);
}
