/* Our member of Cache-Status, RFC 9211. Its values are tokens and integers, but for the key, which is for those only who are to see it. */
#include "proxy/request/life.h"

static char *append(char *at, const char *text)
{
    return stpcpy(at, text);
}

static bool was_forwarded(const struct request *request, const struct response_view *view)
{
    return view->source != SOURCE_STORED && request->lookup.outcome != LOOKUP_HIT && request->lookup.outcome != LOOKUP_STALE;
}

/* As a URL in a string of structured fields (RFC 9651 §3.3.3): printable ASCII, with `"` and `\` escaped; what is no ASCII as %XX. */
static struct bytes key_string(struct request *request)
{
    struct arena *arena = &request->arena;
    struct bytes url = cache_key_url(request->lookup.key.encoded, arena);
    char *out = arena_alloc(arena, 3 * url.len + 1), *at = out;
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.at[i];
        if (c <= 0x1f || c >= 0x7f) {
            at += sprintf(at, "%%%02X", c);
            continue;
        }
        if (c == '"' || c == '\\')
            *at++ = '\\';
        *at++ = (char)c;
    }
    return bytes_from(out, (size_t)(at - out));
}

struct bytes cache_status_key(struct request *request)
{
    const struct config_networks *shown = &request->site->config->show_key;
    return shown->count > 0 && config_networks_have(shown, &request->peer.any) ? key_string(request) : BYTES_NONE;
}

char *cache_status_put(char *at, const struct request *request, const struct response_view *view, struct bytes key)
{
    at = append(at, "Cache-Status: outrigger");
    if (request->lookup.fwd == FWD_PARTIAL) {
        at = append(at, "; fwd=partial");
    } else if (!was_forwarded(request, view)) {
        int64_t ttl_s = request->lookup.ttl_s;
        at = append(at, ttl_s < 0 ? "; hit; ttl=-" : "; hit; ttl=");
        at = bytes_put_decimal(at, ttl_s < 0 ? -(uint64_t)ttl_s : (uint64_t)ttl_s);
    } else if (view->source == SOURCE_STALE_ON_ERROR || view->source == SOURCE_STALE_ON_DELAY) {
        /* RFC 9211 §2.1: hit and fwd exclude each other; the request went forward, and the answer was the stale one. */
        at = append(at, "; fwd=stale");
    } else {
        const char *fwd = fwd_word(request->lookup.fwd);
        at = append(append(at, "; fwd="), fwd != NULL ? fwd : "miss");
        at = bytes_put_decimal(append(at, "; fwd-status="), view->source == SOURCE_REVALIDATED ? 304
                                                            : view->is_sliced                  ? 206
                                                                                               : view->status);
        if (view->is_stored)
            at = append(at, "; stored");
        if (request->lookup.collapsed)
            at = append(at, "; collapsed");
    }
    if (request->detail != DETAIL_NONE)
        at = append(append(at, "; detail="), detail_word(request->detail));
    if (key.at != NULL) {
        at = mempcpy(append(at, "; key=\""), key.at, key.len);
        at = append(at, "\"");
    }
    return append(at, "\r\n");
}
