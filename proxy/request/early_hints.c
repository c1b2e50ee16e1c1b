/* 103 (RFC 8297) from the cache, where the site wants it (cache.early_hints): a client that waits for a page can load what the page will need. */
#include "proxy/request/life.h"

/* Who asks for a part, or has the page already, has what it needs. */
static bool wants_page(const struct headers *fields)
{
    for (unsigned f = 0; f < fields->count; f++) {
        if (header_selects_a_part(fields->at[f].id))
            return false;
    }
    return true;
}

void replay_early_hints(struct request *request, const struct response_view *view)
{
    const struct request_head *head = &request->head;
    struct headers hints;
    if (!request->site->rules.early_hints || view->early_hints.len == 0 || request->has_hints || view->status != 200 ||
        head->method != METHOD_GET || head_is_of_http10(head) || !wants_page(&head->fields))
        return;
    headers_init(&hints, &request->arena);
    headers_parse_block(&hints, view->early_hints);
    request->has_hints = true;
    request->stream->ops->interim(request->stream, 103, &hints);
}
