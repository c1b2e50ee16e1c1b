/* The end of a request: counted, logged once, and everything that it held let go. */
#include "proxy/request/life.h"

#include "cache/policy/tags.h"

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

/* Of the response that it was answered with. */
static void find_tags(struct request *request, struct top_request *counted)
{
    struct response_view view;
    struct headers fields;
    struct tag *tags;
    enum error error;
    if (!request->reader_is_open || request->reader.object == NULL || reader_head(&request->reader, &view, &error) != READER_HEAD_READY)
        return;
    headers_init(&fields, &request->arena);
    headers_parse_block(&fields, view.hidden); /* all tag fields but Cache-Groups */
    if (memmem(view.fields.at, view.fields.len, "roups:", strlen("roups:")) != NULL)
        headers_parse_block(&fields, view.fields);
    unsigned count = tags_collect(&fields, &request->arena, &tags);
    counted->tags_count = count < TOP_TAGS_MAX ? count : TOP_TAGS_MAX;
    for (unsigned i = 0; i < counted->tags_count; i++)
        counted->tags[i] = tags[i].name;
}

/* While the reader is open. */
static void count_among_the_top(struct request *request)
{
    const struct request_head *head = &request->head;
    struct top_request counted = {
        .scheme = head->scheme,
        .host = head->authority,
        .path = head->path,
        .query = head->query,
        .site = request->site != NULL ? request->site->config->hosts[0] : BYTES_NONE,
        .status = request->status != 0 ? request->status : 499,
        .bytes = request->body_bytes,
        .is_miss = request->result != RESULT_NONE && !cache_result_is_hit(request->result),
    };
    find_tags(request, &counted);
    top_count(request->worker->top, &counted);
}

/* For the log, and for those who look; `client` is what its address is written to. */
static struct access_entry describe(const struct request *request, uint64_t duration_us, char *client, size_t size)
{
    const struct request_head *head = &request->head;
    return (struct access_entry){
        .client = bytes_from(client, socket_address_format(&request->peer, client, size)),
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
}

static void add_identity(const struct request *request, struct access_entry *entry)
{
    const struct header *trace = headers_find_named(&request->head.fields, BYTES("traceparent"));
    entry->request_id = request->id.at ? request->id : request_given_id(request);
    entry->traceparent = trace ? trace->value : BYTES_NONE;
}

static void write_access_line(struct request *request, uint64_t duration_us)
{
    char client[64], line[4096];
    enum access_format format = request->routes->config->access_log_json ? ACCESS_JSON : ACCESS_COMBINED;
    struct access_entry entry = describe(request, duration_us, client, sizeof client);
    if (format == ACCESS_JSON)
        add_identity(request, &entry);
    size_t len = access_log_format(&entry, format, line, sizeof line);
    log_client_write(request->worker->log, LOG_KIND_ACCESS, bytes_from(line, len));
}

static void show_live(struct request *request, uint64_t duration_us)
{
    char client[64];
    struct access_entry entry = describe(request, duration_us, client, sizeof client);
    add_identity(request, &entry);
    entry.scheme = request->head.scheme;
    entry.site = request->site != NULL ? request->site->config->hosts[0] : BYTES_NONE;
    live_show(request->worker->live, &entry);
}

enum { CAUSE_LINES_A_SECOND = 100 }; /* of one thread, for one cause */

/* One line a cause, for what an operator should see; a client that merely went away is in the access log. */
static void log_cause(const struct request *request)
{
    static _Thread_local struct log_quota quotas[ERROR_COUNT];
    const struct request_head *head = &request->head;
    char client[64];
    unsigned left_out;
    if (request->error == ERROR_OK || request->error == ERROR_CLIENT_CLOSED || request->error == ERROR_SITE_UNKNOWN)
        return;
    if (!log_may(&quotas[request->error], loop_wall(request->worker->loop), CAUSE_LINES_A_SECOND, &left_out))
        return;
    if (left_out > 0)
        log_warn("request", "%s: and %u more within a second", error_text(request->error), left_out);
    struct bytes id = request->id.at ? request->id : request_given_id(request);
    size_t client_len = socket_address_format(&request->peer, client, sizeof client);
    log_warn("request", "%s: client %.*s, host \"%.*s\", \"%.*s %.*s\", answered %u%s%.*s", error_text(request->error), (int)client_len,
             client, BYTES_FMT(head->authority), BYTES_FMT(head->method_name), BYTES_FMT(head->target), request->status,
             id.len > 0 ? ", request " : "", BYTES_FMT(id));
}

enum step step_finish(struct request *request)
{
    uint64_t duration_us = clock_monotonic_us() - request->started_us;
    bool tunnelled = request->status == 101;
    deadline_clear(&request->patience);
    if (request->listener == LISTENER_PUBLIC && top_wants(request->worker->top))
        count_among_the_top(request);
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
        if (live_is_watched(request->worker->live))
            show_live(request, duration_us);
    }
    if (!request->client_gone && !tunnelled)
        request->stream->ops->finished(request->stream, request->broken);
    return STEP_GONE;
}
