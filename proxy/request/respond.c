/* Answers made here: errors with a small page, purges, the admin interface. Never stored (HARDENING, cache). */
#include "proxy/request/life.h"

#include "base/http_date.h"
#include "base/status_line.h"

#include <assert.h>

/* What only some statuses carry. */
static const char *status_fields(unsigned status)
{
    switch (status) {
    case 405:
        return ALLOW_LINE; /* RFC 9110 §15.5.6 */
    case 503:
        return "Retry-After: 1\r\n";
    default:
        return "";
    }
}

/* RFC 6797 §7.2: not over a connection that is not secure. */
struct bytes hsts_line(const struct request *request)
{
    bool is_sent =
        request->site != NULL && request->site->config->hsts_line.at != NULL && bytes_equal(request->head.scheme, BYTES("https"));
    return is_sent ? request->site->config->hsts_line : BYTES("");
}

enum step respond_with(struct request *request, unsigned status, const char *content_type, struct bytes body)
{
    struct local_answer *answer = &request->answer;
    const char *date = loop_http_date(request->worker->loop);
    assert(status_line_usual(status).len > 0);
    answer->body = body;
    answer->sent_bytes = 0;
    answer->goes_on = false;
    answer->head = (struct response_head){
        .status = status,
        .fields = arena_printf(&request->arena,
                               "Date: %.*s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s",
                               HTTP_DATE_LEN, date, content_type, status_fields(status)),
        .extra = hsts_line(request),
        .has_body = request->head.method != METHOD_HEAD,
        .length_known = true,
        .length = body.len,
        .close = !request->head.keep_alive || request->worker->ends_keep_alive,
    };
    request->response_pending = true;
    return STEP_RESPOND;
}

/* An error that the origin or the disk caused says so in Cache-Status too, so that it can be told apart from the origin's own errors. */
static struct bytes error_cache_status(struct request *request, enum error error)
{
    if (request->lookup.fwd == FWD_NONE)
        return arena_printf(&request->arena, "Cache-Status: outrigger; detail=%s\r\n", error_word(error));
    return arena_printf(&request->arena, "Cache-Status: outrigger; fwd=%s; detail=%s\r\n", fwd_word(request->lookup.fwd),
                        error_word(error));
}

enum step respond_error(struct request *request, enum error error)
{
    unsigned status = error_status(error);
    struct bytes body, phrase = status_phrase(status);
    if (request->error == ERROR_OK)
        request->error = error;
    if (status == 0) {
        request->broken = true;
        return STEP_FINISH;
    }
    body = arena_printf(&request->arena,
                        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%u %.*s</title></head>\n"
                        "<body><h1>%u %.*s</h1><p>%s.</p></body></html>\n",
                        status, BYTES_FMT(phrase), status, BYTES_FMT(phrase), error_text(error));
    enum step next = respond_with(request, status, "text/html; charset=utf-8", body);
    struct bytes cache_status = error_cache_status(request, error);
    request->answer.head.extra = arena_printf(&request->arena, "%.*s%.*s", BYTES_FMT(cache_status), BYTES_FMT(request->answer.head.extra));
    return next;
}

/* The body is for those who are not taken there. */
enum step respond_redirect(struct request *request, unsigned status, struct bytes location)
{
    struct bytes phrase = status_phrase(status), body = arena_printf(&request->arena, "%u %.*s\n", status, BYTES_FMT(phrase));
    enum step next = respond_with(request, status, "text/plain; charset=utf-8", body);
    request->answer.head.extra = arena_printf(&request->arena, "Location: %.*s\r\n", BYTES_FMT(location));
    return next;
}

enum step step_respond(struct request *request)
{
    struct local_answer *answer = &request->answer;
    while (!request->last_sent) {
        bool is_last = !answer->goes_on || request->worker->draining;
        size_t offered = answer->head.has_body ? answer->body.len - answer->sent_bytes : 0;
        if (offered == 0 && !is_last && !request->response_pending)
            return admin_wait(request);
        struct iovec iov = {(char *)answer->body.at + answer->sent_bytes, offered};
        ssize_t sent =
            request->stream->ops->send(request->stream, request->response_pending ? &answer->head : NULL, &iov, offered > 0, is_last);
        if (sent == STREAM_GONE) {
            request->broken = true;
            return STEP_FINISH;
        }
        request->response_pending = false;
        request->status = answer->head.status;
        request->body_bytes += (uint64_t)sent;
        answer->sent_bytes += (size_t)sent;
        if ((size_t)sent < offered)
            return STEP_WAIT;
        request->last_sent = is_last;
    }
    return request->stream->ops->is_flushed(request->stream) ? STEP_FINISH : STEP_WAIT;
}
