/* Who is told that something was purged can rely on it, whatever happens to this process next: the answer waits until the disk tier has logged it. A disk
 * that takes too long is not waited for. Who purges what another instance is about to serve must ask that one. */
#include "proxy/request/life.h"

enum { LOG_PATIENCE_MS = 5000 /* a helper that hangs is found out, and its disk bypassed, before that */ };

enum step request_await_log(struct request *request, enum step next)
{
    request->after_log = next;
    request->log_wait.waker = &request->mail.waker;
    return STEP_AWAIT_LOG;
}

static void log_is_late(struct deadline *deadline)
{
    struct request *request = LIST_OWNER(deadline, struct request, patience);
    request->is_log_late = true;
    request_resume(request);
}

enum step step_await_log(struct request *request)
{
    struct store *store = cache_store(request->worker->cache);
    if (store != NULL && !request->is_log_late && !store_await_logged(store, &request->log_wait)) {
        if (!deadline_is_set(&request->patience))
            loop_set_deadline(request->worker->loop, &request->patience, LOG_PATIENCE_MS, log_is_late);
        return STEP_WAIT;
    }
    deadline_clear(&request->patience);
    if (store != NULL)
        store_wait_close(store, &request->log_wait);
    bool is_done = request->after_log == STEP_DELIVER; /* by the origin, whatever becomes of caches: asked again it would do it twice */
    return cache_has_left(request->worker->cache) && !is_done ? respond_error(request, ERROR_HANDED_OVER) : request->after_log;
}
