/* The walk of a request over its steps, and its beginning and end. See life.h for the design. */
#include "proxy/request/life.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

/* Spare requests kept by each worker: enough for a burst, little enough to forget (a request is about 2 KiB and one arena chunk). */
enum { SPARE_REQUESTS_MAX = 256 };

typedef enum step step_function(struct request *request);

static step_function *const steps[] = {
    [STEP_ROUTE] = step_route,     [STEP_ADMIN] = step_admin,           [STEP_PURGE] = step_purge,         [STEP_LOOKUP] = step_lookup,
    [STEP_FETCH] = step_fetch,     [STEP_AWAIT_HEAD] = step_await_head, [STEP_AWAIT_LOG] = step_await_log, [STEP_DELIVER] = step_deliver,
    [STEP_RESPOND] = step_respond, [STEP_TUNNEL] = step_tunnel,         [STEP_FINISH] = step_finish,
};

static void request_mail_delivered(struct mail *mail)
{
    struct request *request = LIST_OWNER(mail, struct request, mail);
    if (request->is_free)
        free(request);
    else
        request_resume(request);
}

struct request *request_new(struct worker *worker, struct stream *stream, enum listener_kind listener, const union socket_address *peer)
{
    struct list *spare = list_pop_front(&worker->spare);
    struct request *request;
    if (spare != NULL) {
        request = LIST_OWNER(spare, struct request, link);
        worker->spare_count--;
    } else {
        request = malloc(sizeof *request);
        assert(request != NULL);
        arena_init_small(&request->arena);
    }
    memset(request, 0, offsetof(struct request, arena));
    request->worker = worker;
    request->stream = stream;
    request->listener = listener;
    request->peer = *peer;
    request->routes = routes_ref(worker->routes);
    request->started_us = clock_monotonic_us();
    mail_init(&request->mail, worker->loop, request_mail_delivered);
    request->head.version_major = 1;
    headers_init(&request->head.fields, &request->arena);
    list_push_back(&worker->requests, &request->link);
    return request;
}

struct request_head *request_head(struct request *request)
{
    return &request->head;
}

struct arena *request_arena(struct request *request)
{
    return &request->arena;
}

static void request_free(struct request *request)
{
    struct worker *worker = request->worker;
    list_remove(&request->link);
    routes_unref(&request->routes);
    if (!mail_is_posted(&request->mail) && worker->spare_count < SPARE_REQUESTS_MAX) {
        arena_clear(&request->arena);
        list_push_front(&worker->spare, &request->link);
        worker->spare_count++;
        return;
    }
    arena_free(&request->arena);
    request->is_free = true;
    if (!mail_is_posted(&request->mail))
        free(request);
}

void request_resume(struct request *request)
{
    if (request->walking) {
        request->resumed = true;
        return;
    }
    request->walking = true;
    for (;;) {
        request->resumed = false;
        enum step next = steps[request->client_gone ? STEP_FINISH : request->step](request);
        if (next == STEP_GONE) {
            request_free(request);
            return;
        }
        if (next != STEP_WAIT)
            request->step = next;
        else if (!request->resumed)
            break;
    }
    request->walking = false;
    request_keep(request);
    if (request->reader_is_open)
        reader_keep(&request->reader);
}

void request_start(struct request *request)
{
    request->step = STEP_ROUTE;
    request_resume(request);
}

void request_refuse(struct request *request, enum error error)
{
    counter_add(request->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
    request->head.keep_alive = false;
    request->head.upload = NULL;
    request->step = error_status(error) != 0 ? respond_error(request, error) : STEP_FINISH;
    request->error = error;
    request_resume(request);
}

void request_writable(struct request *request)
{
    request_resume(request);
}

void request_client_gone(struct request *request, enum error why)
{
    request->client_gone = true;
    request->broken = true;
    if (request->error == ERROR_OK)
        request->error = why;
    request->step = STEP_FINISH;
    request_resume(request);
}

/* Moves a slice that lies in [from, from + len) over to the copy. */
static void rebase(struct bytes *slice, const char *from, size_t len, const char *copy)
{
    if (slice->at >= from && slice->at <= from + len && slice->at != NULL)
        slice->at = copy + (slice->at - from);
}

void request_keep(struct request *request)
{
    struct request_head *head = &request->head;
    if (request->is_kept || head->is_in_arena || head->method_name.at == NULL)
        return;
    request->is_kept = true;
    /* The codec's buffer holds the head in one piece, from the method to the end of the last field. */
    const char *from = head->method_name.at;
    const char *end = from + head->method_name.len;
    struct bytes *own[] = {&head->target, &head->authority, &head->path, &head->query, &request->query};
    if (head->target.at + head->target.len > end)
        end = head->target.at + head->target.len;
    for (unsigned f = 0; f < head->fields.count; f++) {
        struct bytes value = head->fields.at[f].value;
        struct bytes name = head->fields.at[f].name;
        if (name.at + name.len > end)
            end = name.at + name.len;
        if (value.at != NULL && value.at + value.len > end)
            end = value.at + value.len;
    }
    size_t len = (size_t)(end - from);
    char *copy = arena_alloc(&request->arena, len + 1);
    memcpy(copy, from, len);
    rebase(&head->method_name, from, len, copy);
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++)
        rebase(own[i], from, len, copy);
    for (unsigned f = 0; f < head->fields.count; f++) {
        rebase(&head->fields.at[f].name, from, len, copy);
        rebase(&head->fields.at[f].value, from, len, copy);
    }
}
