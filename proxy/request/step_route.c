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

/* To the same URL on the default port: where that of http:// is says nothing of where that of https:// is. */
static enum step redirect_to_https(struct request *request)
{
    const struct request_head *head = &request->head;
    struct bytes host = head->authority, path = bytes_equal(head->path, BYTES("*")) ? BYTES("/") : head->path;
    const char *colon = host.at != NULL ? memrchr(host.at, ':', host.len) : NULL;
    if (host.at == NULL)
        return respond_error(request, ERROR_BAD_HOST);
    if (colon != NULL && memchr(colon, ']', (size_t)(host.at + host.len - colon)) == NULL)
        host.len = (size_t)(colon - host.at);
    return respond_redirect(request, request->site->config->https_redirect,
                            arena_printf(&request->arena, "https://%.*s%.*s%s%.*s", BYTES_FMT(host), BYTES_FMT(path),
                                         head->query.at != NULL ? "?" : "", BYTES_FMT(head->query)));
}

static enum step route_challenge(struct request *request)
{
    struct request_head *head = &request->head;
    request->is_challenge = true;
    request->lookup_private = true;
    request->detail = DETAIL_ACME_CHALLENGE;
    request->query = head->query;
    if (request->site->challenges == NULL)
        return STEP_LOOKUP;
    if (head->method != METHOD_GET && head->method != METHOD_HEAD)
        return respond_error(request, ERROR_METHOD_NOT_ALLOWED);
    head->wants_upgrade = false;
    return STEP_LOOKUP;
}

/* RFC 9110 §7.4: a connection may be used for other names, but not for one whose clients must show another certificate, or none: what was verified was
 * verified for the name that the handshake asked for. */
static bool is_misdirected(const struct request *request)
{
    const struct tls_facts *tls = request->head.tls;
    return tls != NULL && tls->client_policy != request->site->config->client_policy;
}

/* The field that tells the origin who the client is, which nobody but us may write; and a response to somebody in particular is nobody else's (as with
 * Authorization, RFC 9111 §3.5). */
static void name_client(struct request *request)
{
    struct request_head *head = &request->head;
    struct bytes field = request->site->config->client_header;
    if (field.at == NULL)
        return;
    request_keep(request); /* for it moves what lies in the codec's buffer, and nothing else */
    headers_remove_named(&head->fields, field);
    if (head->tls == NULL || head->tls->client.at == NULL)
        return;
    headers_add_named(&head->fields, field, arena_copy(&request->arena, head->tls->client));
    request->lookup_private = true;
    request->detail = DETAIL_AUTHORIZATION;
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
        return respond_error(request, head->tls != NULL ? ERROR_MISDIRECTED : ERROR_SITE_UNKNOWN);
    if (is_misdirected(request))
        return respond_error(request, ERROR_MISDIRECTED);
    name_client(request);
    if (passed_here_before(request))
        return respond_error(request, ERROR_LOOP_DETECTED);
    if (forwards_are_used_up(request))
        return respond_as_last(request);
    bool is_redirected = request->site->config->https_redirect != 0 && !bytes_equal(head->scheme, BYTES("https"));
    request->query = query_apply_rules(head->query, &request->site->rules.query, &request->arena);
    if (head->method == METHOD_PURGE) {
        if (is_redirected)
            head->scheme = BYTES("https"); /* by which everything is stored */
        return STEP_PURGE;
    }
    if ((head->method == METHOD_GET || head->method == METHOD_HEAD) && head->upload != NULL) {
        /* HARDENING, cache: the body of a GET is not part of the key, so it must not reach the origin; its bytes end with the connection. */
        head->upload = NULL;
        head->keep_alive = false;
    }
    if (path_is_challenge(head->path))
        return route_challenge(request);
    return is_redirected ? redirect_to_https(request) : STEP_LOOKUP;
}
