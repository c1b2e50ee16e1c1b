/* Requests of the admin listener and the Unix socket: handed to proxy/admin, answered from memory. */
#include "proxy/request/life.h"

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
            .is_privileged = request->listener == LISTENER_ADMIN_SOCKET,
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
    return answer->has_purged ? request_await_log(request, next) : next;
}
