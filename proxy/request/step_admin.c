/* Requests of the admin listener and the Unix socket: handed to proxy/admin, answered from memory. */
#include "proxy/request/life.h"

static void tell_more(struct deadline *deadline)
{
    struct request *request = LIST_OWNER(deadline, struct request, patience);
    admin_continue(request->worker->admin, &request->admin);
    request->answer.body = request->admin.answer.body;
    request->answer.sent_bytes = 0;
    request_resume(request);
}

enum step admin_wait(struct request *request)
{
    if (!deadline_is_set(&request->patience))
        loop_set_deadline(request->worker->loop, &request->patience, request->admin.answer.pause_ms, tell_more);
    return STEP_WAIT;
}

/* "127.0.0.1:8081", "[::1]:8081", "localhost": a name could be made to lead here by any site that a browser visits (DNS rebinding). */
static bool is_by_address(struct bytes authority)
{
    struct bytes host = bytes_from(authority.at, authority.len > 0 && authority.at[0] != '[' ? bytes_find(authority, ':') : authority.len);
    if (bytes_equal_nocase(host, BYTES("localhost")) || (host.len > 0 && host.at[0] == '['))
        return true;
    for (size_t i = 0; i < host.len; i++) {
        if ((host.at[i] < '0' || host.at[i] > '9') && host.at[i] != '.')
            return false;
    }
    return host.len > 0;
}

/* Not from another site's page (RFC 6454 §7): browsers say so with whatever is not a plain GET. */
static bool is_of_same_origin(const struct request_head *head)
{
    struct bytes origin = headers_value(&head->fields, HEADER_ORIGIN);
    return origin.at == NULL || (origin.len > head->authority.len + strlen("://") && bytes_ends_with(origin, head->authority) &&
                                 memcmp(origin.at + origin.len - head->authority.len - strlen("://"), "://", strlen("://")) == 0);
}

static bool is_privileged(const struct request *request)
{
    const struct request_head *head = &request->head;
    if (request->listener == LISTENER_ADMIN_SOCKET)
        return true;
    return request->worker->config->admin_control && is_by_address(head->authority) && is_of_same_origin(head);
}

static void admin_done(struct admin_request *admin)
{
    struct request *request = admin->context;
    request->admin_answered = true;
    request_resume(request);
}

enum step step_admin(struct request *request)
{
    struct request_head *head = &request->head;
    if (!request->admin_started) {
        request_keep(request); /* the answer may come later than this turn */
        request->admin_started = true;
        head->upload = NULL;
        request->admin = (struct admin_request){
            .method = head->method,
            .path = head->path,
            .query = head->query,
            .is_privileged = is_privileged(request),
            .arena = &request->arena,
            .done = admin_done,
            .context = request,
        };
        list_init(&request->admin.link);
        admin_start(request->worker->admin, &request->admin);
    }
    if (!request->admin_answered)
        return STEP_WAIT;
    const struct admin_answer *answer = &request->admin.answer;
    enum step next = respond_with(request, answer->status, answer->content_type, answer->body);
    request->answer.head.extra = answer->fields;
    request->answer.goes_on = answer->goes_on;
    request->answer.head.length_known = !answer->goes_on;
    return answer->has_purged ? request_await_log(request, next) : next;
}
