/* The end of a request: counted, logged once, and everything that it held let go. */
#include "proxy/request/life.h"

#include <time.h>

static uint64_t elapsed_us(const struct request *request)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 - request->started_us;
}

static void count(struct request *request, uint64_t duration_us)
{
    struct counters *counters = request->worker->counters;
    counters_count_request(counters, request->status, request->result, request->detail);
    if (request->result == RESULT_HIT)
        histogram_add(&counters->hit_duration, duration_us);
    else if (request->result != RESULT_NONE)
        histogram_add(&counters->miss_duration, duration_us);
    if (cache_result_is_hit(request->result)) {
        counter_add(counters, COUNTER_CACHE_BYTES_SENT, request->body_bytes);
        counter_add(counters, request->lookup.was_loaded ? COUNTER_HITS_DISK : COUNTER_HITS_MEMORY, 1);
    }
}

static void write_access_line(struct request *request, uint64_t duration_us)
{
    const struct request_head *head = &request->head;
    char client[64], line[4096];
    size_t client_len = socket_address_format(&request->peer, client, sizeof client);
    const struct access_entry entry = {
        .client = bytes_from(client, client_len),
        .time = loop_wall(request->worker->loop),
        .method = head->method_name,
        .target = head->target,
        .http_major = head->version_major,
        .http_minor = head->version_minor,
        .status = request->status,
        .body_bytes = request->body_bytes,
        .referer = headers_value(&head->fields, HEADER_REFERER),
        .user_agent = headers_value(&head->fields, HEADER_USER_AGENT),
        .host = head->authority,
        .result = request->result,
        .detail = detail_word(request->detail),
        .error = request->error == ERROR_OK ? "" : error_word(request->error),
        .duration_us = duration_us,
        .origin = request->origin,
        .tls_version = head->tls ? head->tls->version : NULL,
        .tls_cipher = head->tls ? head->tls->cipher : NULL,
        .tls_name = head->tls ? head->tls->sni : BYTES_NONE,
    };
    enum access_format format = request->routes->config->access_log_json ? ACCESS_JSON : ACCESS_COMBINED;
    size_t len = access_log_format(&entry, format, line, sizeof line);
    log_client_write(request->worker->log, LOG_KIND_ACCESS, bytes_from(line, len));
}

/* One line a cause, for what an operator should see; a client that merely went away is in the access log. */
static void log_cause(const struct request *request)
{
    const struct request_head *head = &request->head;
    char client[64];
    if (request->error == ERROR_OK || request->error == ERROR_CLIENT_CLOSED || request->error == ERROR_SITE_UNKNOWN ||
        request->error == ERROR_CHALLENGE_UNKNOWN)
        return;
    size_t client_len = socket_address_format(&request->peer, client, sizeof client);
    log_warn("request", "%s: client %.*s, host \"%.*s\", \"%.*s %.*s\", answered %u", error_text(request->error), (int)client_len, client,
             BYTES_FMT(head->authority), BYTES_FMT(head->method_name), BYTES_FMT(head->target), request->status);
}

enum step step_finish(struct request *request)
{
    uint64_t duration_us = elapsed_us(request);
    bool tunnelled = request->status == 101;
    deadline_clear(&request->patience);
    body_close(request);
    load_close(request->worker->cache, &request->lookup.wait);
    if (cache_store(request->worker->cache) != NULL)
        store_wait_close(cache_store(request->worker->cache), &request->log_wait);
    if (request->reader_is_open)
        reader_close(&request->reader);
    request->reader_is_open = false;
    if (request->fetch != NULL)
        fetch_detach(&request->fetch);
    if (request->admin_started && !request->admin_answered)
        admin_cancel(request->worker->admin, &request->admin);
    log_cause(request);
    if (request->listener == LISTENER_PUBLIC) {
        count(request, duration_us);
        if (request->routes->config->access_log != NULL)
            write_access_line(request, duration_us);
    }
    if (!request->client_gone && !tunnelled)
        request->stream->ops->finished(request->stream, request->broken);
    return STEP_GONE;
}
