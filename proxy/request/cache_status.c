/* Our member of Cache-Status, RFC 9211. Its values are tokens and integers only, so nothing needs quoting. */
#include "proxy/request/life.h"

enum { LINE_MAX_BYTES = 224 };

static char *append(char *at, const char *text)
{
    return stpcpy(at, text);
}

static bool was_forwarded(const struct request *request, const struct response_view *view)
{
    return view->source != SOURCE_STORED && request->lookup.outcome != LOOKUP_HIT && request->lookup.outcome != LOOKUP_STALE;
}

struct bytes cache_status_line(const struct request *request, const struct response_view *view)
{
    char *out = arena_alloc((struct arena *)&request->arena, LINE_MAX_BYTES), *at = out;
    at = append(at, "Cache-Status: outrigger");
    if (request->lookup.fwd == FWD_PARTIAL) {
        at = append(at, "; fwd=partial");
    } else if (!was_forwarded(request, view)) {
        at += sprintf(at, "; hit; ttl=%ld", (long)request->lookup.ttl_s);
    } else if (view->source == SOURCE_STALE_ON_ERROR || view->source == SOURCE_STALE_ON_DELAY) {
        /* RFC 9211 §2.1: hit and fwd exclude each other; the request went forward, and the answer was the stale one. */
        at = append(at, "; fwd=stale");
    } else {
        const char *fwd = fwd_word(request->lookup.fwd);
        at = append(append(at, "; fwd="), fwd != NULL ? fwd : "miss");
        at += sprintf(at, "; fwd-status=%u", view->source == SOURCE_REVALIDATED ? 304 : view->is_sliced ? 206 : view->status);
        if (view->is_stored)
            at = append(at, "; stored");
        if (request->lookup.collapsed)
            at = append(at, "; collapsed");
    }
    if (request->detail != DETAIL_NONE)
        at = append(append(at, "; detail="), detail_word(request->detail));
    at = append(at, "\r\n");
    return bytes_from(out, (size_t)(at - out));
}
