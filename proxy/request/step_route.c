/* Which site is asked, and may it be asked like this? (RFC 9110 §7.4, §7.6.3; HARDENING: routing) */
#include "proxy/request/life.h"

#include "cache/policy/key_rules.h"

/* Our own name in Via (RFC 9110 §7.6.3) or CDN-Loop (RFC 8586): the request was here before. */
static bool passed_here_before(const struct request *request)
{
    const struct headers *fields = &request->head.fields;
    struct bytes name = worker_pseudonym(request->worker);
    static const enum header_id ids[] = {HEADER_VIA, HEADER_CDN_LOOP};
    for (unsigned i = 0; i < 2; i++) {
        for (const struct header *line = headers_find(fields, ids[i]); line != NULL; line = headers_next(fields, line)) {
            struct bytes rest = line->value, member;
            while (bytes_next_list_member(&rest, &member))
                if (memmem(member.at, member.len, name.at, name.len) != NULL)
                    return true;
        }
    }
    return false;
}

enum step step_route(struct request *request)
{
    struct request_head *head = &request->head;
    if (request->listener != LISTENER_PUBLIC)
        return STEP_ADMIN;
    request_believe_proxy(request);
    if (head->method == METHOD_CONNECT)
        return respond_error(request, ERROR_METHOD_NOT_ALLOWED);
    request->site = routes_find(request->routes, head->authority);
    if (request->site == NULL)
        return respond_error(request, ERROR_SITE_UNKNOWN);
    if (passed_here_before(request))
        return respond_error(request, ERROR_LOOP_DETECTED);
    request->query = query_apply_rules(head->query, &request->site->rules.query, &request->arena);
    if (head->method == METHOD_PURGE)
        return STEP_PURGE;
    if ((head->method == METHOD_GET || head->method == METHOD_HEAD) && head->upload != NULL) {
        /* HARDENING, cache: the body of a GET is not part of the key, so it must not reach the origin; its bytes end with the connection. */
        head->upload = NULL;
        head->keep_alive = false;
    }
    return STEP_LOOKUP;
}
