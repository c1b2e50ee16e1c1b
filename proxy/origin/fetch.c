/* See fetch.h. */
#include "proxy/origin/fetch.h"

#include "base/log.h"
#include "proxy/origin/files_fetch.h"
#include "proxy/origin/h1_fetch.h"

#include <stdlib.h>

struct loop *fetch_loop(const struct fetch *fetch)
{
    return fetch->origin->context.loop;
}

static void order_backends(struct fetch *fetch)
{
    struct origin *origin = fetch->origin;
    fetch->order = arena_alloc(&fetch->arena, origin->backend_count * sizeof(*fetch->order));
    fetch->order_count = origin->backend_count;
    fetch->all_down = balance_order(origin->healths, origin->backend_count, &origin->cursor, loop_now(origin->context.loop),
                                    origin->site->down_ms, fetch->order);
    fetch->retries_left = origin->site->retries;
}

static void leave(struct fetch *fetch);

static void mail_delivered(struct mail *mail)
{
    struct fetch *fetch = LIST_OWNER(mail, struct fetch, mail);
    if (fetch_has_ended(fetch)) {
        leave(fetch);
        return;
    }
    if (fetch->stopping)
        return;
    fetch_hold(fetch);
    if (fill_is_wanted(fetch->fill))
        fetch->kind->resume(fetch);
    else
        fetch_fail(fetch, ERROR_CLIENT_CLOSED);
    fetch_unhold(fetch);
}

struct fetch *fetch_new(struct origin *origin, const struct fetch_request *request, struct fill *fill, const struct fetch_events *events)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        abort(); /* as arenas do */
    fetch->origin = origin;
    origin->fetches++;
    arena_init(&fetch->arena);
    fetch->fill = fill;
    fetch->events = *events;
    fetch->attached = true;
    fetch->method = request->method;
    fetch->method_name = arena_copy(&fetch->arena, request->method_name);
    fetch->target = arena_copy(&fetch->arena, request->target);
    headers_init(&fetch->fields, &fetch->arena);
    headers_copy(&fetch->fields, request->fields);
    fetch->upload = request->upload;
    fetch->wants_upgrade = request->wants_upgrade;
    fetch->is_conditional =
        headers_find(&fetch->fields, HEADER_IF_NONE_MATCH) != NULL || headers_find(&fetch->fields, HEADER_IF_MODIFIED_SINCE) != NULL;
    fetch->began = loop_now(origin->context.loop);
    mail_init(&fetch->mail, origin->context.loop, mail_delivered);
    fill_set_waker(fill, &fetch->mail.waker);
    order_backends(fetch);
    return fetch;
}

void fetch_hold(struct fetch *fetch)
{
    fetch->holds++;
}

static void free_when_unused(struct fetch *fetch)
{
    if (!fetch_has_ended(fetch) || fetch->attached || fetch->holds > 0 || mail_is_posted(&fetch->mail))
        return;
    struct origin *origin = fetch->origin;
    arena_free(&fetch->arena);
    free(fetch->stash);
    free(fetch);
    origin_fetch_gone(origin);
}

void fetch_unhold(struct fetch *fetch)
{
    fetch->holds--;
    free_when_unused(fetch);
}

/* Tells the request, as the last thing. */
static void leave(struct fetch *fetch)
{
    fetch_hold(fetch);
    if (fetch->attached) {
        fetch->attached = false;
        fetch->events.ended(fetch->events.context, fetch->error, fetch->origin_text);
    }
    fetch_unhold(fetch);
}

static void end(struct fetch *fetch, enum error error)
{
    fetch->error = error;
    if (fetch->inside)
        mail_post(&fetch->mail);
    else
        leave(fetch);
}

static void log_failure(const struct fetch *fetch, enum error error)
{
    if (error == ERROR_CLIENT_CLOSED)
        return;
    struct bytes at = fetch->origin_text.at ? fetch->origin_text : fetch->backend->config->url;
    log_warn("origin", "%.*s %.*s from %.*s: %s%s%s", BYTES_FMT(fetch->method_name), BYTES_FMT(fetch->target), BYTES_FMT(at),
             error_text(error), fetch->fault ? ": " : "", fetch->fault ? fetch->fault : "");
    counter_add(fetch->origin->context.counters, COUNTER_ORIGIN_FAILURES, 1);
    fetch->backend->figures[ORIGIN_FAILURES]++;
}

static void fail_stopped(struct fetch *fetch)
{
    log_failure(fetch, fetch->error);
    fill_fail(&fetch->fill, fetch->error);
    end(fetch, fetch->error);
}

void fetch_fail(struct fetch *fetch, enum error error)
{
    if (fetch_has_ended(fetch) || fetch->stopping)
        return;
    fetch->error = error;
    fetch->stopping = true;
    if (fetch->kind->stop(fetch))
        fail_stopped(fetch);
}

void fetch_stopped(struct fetch *fetch)
{
    fail_stopped(fetch);
}

void fetch_done(struct fetch *fetch)
{
    fetch->kind->stop(fetch);
    fill_finish(&fetch->fill);
    end(fetch, ERROR_OK);
}

void fetch_upgraded(struct fetch *fetch)
{
    fetch->kind->stop(fetch);
    fill_fail(&fetch->fill, ERROR_CLIENT_CLOSED);
    end(fetch, ERROR_OK);
}

void fetch_next_backend(struct fetch *fetch)
{
    fetch->backend = &fetch->origin->backends[fetch->order[fetch->order_at++]];
    fetch->origin_text = BYTES_NONE;
    fetch->fault = NULL;
    if (fetch->backend->config->kind == ORIGIN_KIND_FILES)
        files_start(fetch);
    else
        h1_start(fetch);
}

void fetch_failed_backend(struct fetch *fetch, enum error error, bool in_connect)
{
    struct origin *origin = fetch->origin;
    bool goes_on = fetch->retries_left > 0 && fetch->order_at < fetch->order_count && fill_is_wanted(fetch->fill);
    if (in_connect || goes_on)
        health_fail(&fetch->backend->health, loop_now(origin->context.loop), origin->site->down_ms);
    if (goes_on) {
        log_warn("origin", "%.*s: %s; trying another", BYTES_FMT(fetch->backend->config->url), error_text(error));
        counter_add(origin->context.counters, COUNTER_ORIGIN_RETRIES, 1);
        fetch->backend->figures[ORIGIN_FAILURES]++;
        fetch->retries_left--;
        fetch->kind->stop(fetch);
        fetch_next_backend(fetch);
        return;
    }
    if (in_connect && fetch->all_down) {
        const char *fault = fetch->fault;
        fetch->fault = arena_printf(&fetch->arena, "%s%s%s", error_text(error), fault ? ": " : "", fault ? fault : "").at;
        error = ERROR_ORIGIN_ALL_DOWN;
    }
    fetch_fail(fetch, error);
}

static struct origin_head head_of(const struct fetch *fetch, const struct fetch_response *response)
{
    struct wall_seconds now = loop_wall(fetch_loop(fetch));
    /* RFC 9111 §4.2.3: of the seconds that it took, those that are whole. By the clock on the wall a quick answer, too, would be a second old
     * whenever one ends in between: no response with max-age=1 would outlive that. */
    int64_t took_s = (loop_now(fetch_loop(fetch)).ms - fetch->began.ms) / 1000;
    return (struct origin_head){
        .status = response->status,
        .reason = response->reason,
        .fields = response->fields,
        .length_known = response->length_known,
        .length = response->length,
        .body_forbidden = response->body_forbidden,
        .request_time = {now.s - took_s},
        .response_time = now,
    };
}

bool fetch_head(struct fetch *fetch, const struct fetch_response *response)
{
    const struct origin_head head = head_of(fetch, response);
    enum error error = fill_slice(fetch->fill).end > 0 ? fill_set_slice(&fetch->fill, &head) : fill_set_head(fetch->fill, &head);
    if (error != ERROR_OK)
        fetch_fail(fetch, error);
    return error == ERROR_OK;
}

void fetch_not_modified(struct fetch *fetch, const struct fetch_response *response)
{
    const struct origin_head head = head_of(fetch, response);
    enum error error = fill_set_not_modified(&fetch->fill, &head);
    fetch->kind->stop(fetch);
    if (error != ERROR_OK)
        log_failure(fetch, error);
    end(fetch, error);
}

bool fetch_put(struct fetch *fetch, struct bytes body)
{
    while (body.len > 0) {
        struct fill_space space;
        if (fill_reserve(fetch->fill, &space) == FILL_NO_ROOM) {
            fetch_stash(fetch, body);
            return false;
        }
        size_t count = body.len < space.capacity ? body.len : space.capacity;
        memcpy(space.at, body.at, count);
        fill_commit(fetch->fill, count);
        body = bytes_from(body.at + count, body.len - count);
    }
    return true;
}

void fetch_stash(struct fetch *fetch, struct bytes body)
{
    fetch->stash = malloc(body.len);
    if (!fetch->stash)
        abort();
    memcpy(fetch->stash, body.at, body.len);
    fetch->stash_len = body.len;
}

char *fetch_unstash(struct fetch *fetch, struct bytes *body)
{
    char *owned = fetch->stash;
    *body = bytes_from(owned, fetch->stash_len);
    fetch->stash = NULL;
    return owned;
}

void fetch_detach(struct fetch **at)
{
    struct fetch *fetch = *at;
    *at = NULL;
    fetch->attached = false;
    bool was_uploading = fetch->upload != NULL;
    if (was_uploading) {
        fetch->upload->ready = NULL;
        fetch->upload = NULL;
    }
    fetch_hold(fetch);
    if (!fetch_has_ended(fetch) && (was_uploading || !fill_is_wanted(fetch->fill)))
        fetch_fail(fetch, ERROR_CLIENT_CLOSED);
    fetch_unhold(fetch);
}

void fetch_withdraw(struct fetch **at)
{
    if (!fetch_has_ended(*at))
        fill_withdraw((*at)->fill);
    fetch_detach(at);
}
