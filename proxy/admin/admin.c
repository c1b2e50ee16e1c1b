#include "proxy/admin/admin.h"

#include "cache/policy/detail.h"
#include "proxy/admin/assets.h"
#include "proxy/admin/live.h"
#include "proxy/admin/query.h"
#include "proxy/admin/sizing.h"
#include "proxy/admin/top.h"
#include "proxy/admin/why.h"
#include "proxy/net/tls.h"
#include "proxy/observe/json_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct admin {
    struct admin_ports ports;
    struct list reloading; /* requests that wait for the supervisor */
    uint32_t last_ticket;
    unsigned events_count; /* answers that go on */
};

enum {
    EVENTS_MAX = 16, /* each costs the control loop about a millisecond a second */
    EVENT_MS = 1000,
    LIVE_MS = 200,
    LIVE_SILENT_MAX = 5, /* rounds: then a line without anything, which shows that somebody is still there */
};

struct admin *admin_new(const struct admin_ports *ports)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        abort();
    admin->ports = *ports;
    list_init(&admin->reloading);
    return admin;
}

void admin_free(struct admin **admin)
{
    free(*admin);
    *admin = NULL;
}

/* ---- answers ---------------------------------------------------------------------------------------------------------------------------- */

static void answer(struct admin_request *request, unsigned status, const char *content_type, struct bytes body)
{
    request->answer.status = status;
    request->answer.content_type = content_type;
    request->answer.body = body;
    request->done(request);
}

static void answer_text(struct admin_request *request, unsigned status, struct bytes body)
{
    answer(request, status, "text/plain; charset=utf-8", body);
}

enum { JSON_FLAGS = JSON_COMPACT | JSON_PRESERVE_ORDER };

/* Takes the object. */
static void answer_json(struct admin_request *request, unsigned status, json_t *object)
{
    struct bytes text = json_text(object, JSON_FLAGS, request->arena);
    answer(request, status, "application/json", arena_printf(request->arena, "%.*s\n", BYTES_FMT(text)));
}

static void refuse(struct admin_request *request, unsigned status, const char *error)
{
    answer_json(request, status, json_pack("{s:s}", "error", error));
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------------------ */

static void healthz(struct admin *admin, struct admin_request *request)
{
    if (admin->ports.is_draining(admin->ports.context))
        answer_text(request, 503, BYTES("draining\n"));
    else
        answer_text(request, 200, BYTES("ok\n"));
}

struct collected {
    struct counters *sum;
    struct gauge *gauges;
    unsigned gauge_count;
    const char **details;
};

static void collect(struct admin *admin, struct arena *arena, struct collected *all)
{
    all->sum = counters_new();
    all->details = arena_alloc(arena, DETAIL_COUNT * sizeof *all->details);
    for (unsigned detail = 0; detail < DETAIL_COUNT; detail++)
        all->details[detail] = detail_word(detail);
    admin->ports.collect(admin->ports.context, arena, all->sum, &all->gauges, &all->gauge_count);
}

static void metrics(struct admin *admin, struct admin_request *request)
{
    struct collected all;
    collect(admin, request->arena, &all);
    struct bytes text = metrics_prometheus(request->arena, all.sum, all.details, DETAIL_COUNT, all.gauges, all.gauge_count);
    counters_free(&all.sum);
    answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", text);
}

static void stats(struct admin *admin, struct admin_request *request)
{
    struct collected all;
    collect(admin, request->arena, &all);
    struct bytes text = metrics_json(request->arena, all.sum, all.details, DETAIL_COUNT, all.gauges, all.gauge_count);
    counters_free(&all.sum);
    answer(request, 200, "application/json", text);
}

static void sizing(struct admin *admin, struct admin_request *request)
{
    struct sizing_report report;
    admin->ports.size(admin->ports.context, &report);
    answer_json(request, 200, sizing_json(&report));
}

static void top(struct admin *admin, struct admin_request *request)
{
    struct top_lists lists;
    admin->ports.top(admin->ports.context, request->arena, &lists);
    answer_json(request, 200, top_json(&lists, request->arena));
}

static const struct {
    struct bytes name;
    const char *word;
} purge_kinds[] = {
    [ADMIN_PURGE_URL] = {{"url", 3}, "url"},
    [ADMIN_PURGE_TAG] = {{"tag", 3}, "tag"},
    [ADMIN_PURGE_HOST] = {{"host", 4}, "host"},
    [ADMIN_PURGE_ALL] = {{"all", 3}, "all"},
};

/* The kind that a parameter names, −1: none. */
static int purge_kind_of(struct bytes name)
{
    for (size_t i = 0; i < sizeof purge_kinds / sizeof *purge_kinds; i++) {
        if (bytes_equal(purge_kinds[i].name, name))
            return (int)i;
    }
    return -1;
}

/* What is to be purged; all of one kind, and of more than one only tags. NULL: it says something else. */
static struct admin_purge *parse_purge(struct admin_request *request, unsigned *count)
{
    struct bytes query = request->query, name, value;
    bool is_soft = false;
    struct admin_purge *what = arena_alloc(request->arena, (query.len / 2 + 1) * sizeof *what); /* "a=&" is the shortest */
    *count = 0;
    while (query_next(request->arena, &query, &name, &value)) {
        int kind = purge_kind_of(name);
        if (bytes_equal(name, BYTES("soft")) && (bytes_equal(value, BYTES("0")) || bytes_equal(value, BYTES("1"))))
            is_soft = value.at[0] == '1';
        else if (kind < 0 || value.len == 0 || (kind == ADMIN_PURGE_ALL && !bytes_equal(value, BYTES("1"))) ||
                 (*count > 0 && (kind != ADMIN_PURGE_TAG || what[0].by != ADMIN_PURGE_TAG)))
            return NULL;
        else
            what[(*count)++] = (struct admin_purge){.by = (enum admin_purge_by)kind, .name = value};
    }
    for (unsigned i = 0; i < *count; i++)
        what[i].is_soft = is_soft;
    return *count > 0 ? what : NULL;
}

static void purge(struct admin *admin, struct admin_request *request)
{
    unsigned count;
    struct admin_purge *what = parse_purge(request, &count);
    bool found = false;
    if (what == NULL) {
        refuse(request, 400, "say what: one of url=http://host/path, tag=TAG (as often as needed), host=HOST, all=1; and soft=1");
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!admin->ports.purge(admin->ports.context, &what[i], &found)) {
            refuse(request, 400, "not an absolute URL: http://host/path is one");
            return;
        }
    }
    json_t *result = json_pack("{s:b, s:s}", "purged", found, "by", purge_kinds[what[0].by].word);
    if (what[0].by == ADMIN_PURGE_TAG)
        json_object_set_new(result, "tags", json_integer(count));
    json_object_set_new(result, "soft", json_boolean(what[0].is_soft));
    request->answer.has_purged = true;
    answer_json(request, 200, result);
}

/* "Name: value" as it would stand in a request. */
static bool add_field(struct headers *fields, struct bytes line)
{
    size_t colon = bytes_find(line, ':');
    struct bytes name = bytes_from(line.at, colon);
    if (colon == line.len || !bytes_is_token(name))
        return false;
    struct bytes value = bytes_from(line.at + colon + 1, line.len - colon - 1);
    if (!header_value_is_valid(value))
        return false;
    headers_add_named(fields, name, value);
    return true;
}

static void why(struct admin *admin, struct admin_request *request)
{
    struct bytes query = request->query, name, value, url = BYTES_NONE;
    struct admin_why answered = {0};
    struct headers fields;
    bool understood = true;
    headers_init(&fields, request->arena);
    while (query_next(request->arena, &query, &name, &value)) {
        if (bytes_equal(name, BYTES("url")) && url.at == NULL)
            url = value;
        else
            understood = understood && bytes_equal(name, BYTES("header")) && value.at != NULL && add_field(&fields, value);
    }
    if (!understood || url.len == 0)
        refuse(request, 400, "say what: url=http://host/path, and header=Name: value as often as needed");
    else if (!admin->ports.explain(admin->ports.context, url, &fields, request->arena, &answered))
        refuse(request, 400, "not an absolute URL: http://host/path is one");
    else if (answered.site.at == NULL)
        refuse(request, 404, "no site answers that host");
    else
        answer_json(request, 200, why_json(&answered, request->arena));
}

static void reload(struct admin *admin, struct admin_request *request)
{
    request->ticket = ++admin->last_ticket;
    list_push_back(&admin->reloading, &request->link);
    admin->ports.reload(admin->ports.context, request->ticket);
}

static void drain(struct admin *admin, struct admin_request *request)
{
    admin->ports.drain(admin->ports.context);
    answer_json(request, 200, json_pack("{s:b}", "draining", true));
}

void admin_reloaded(struct admin *admin, uint32_t ticket, bool accepted, struct bytes errors)
{
    LIST_FOR_EACH_SAFE(node, &admin->reloading)
    {
        struct admin_request *request = LIST_OWNER(node, struct admin_request, link);
        if (request->ticket != ticket)
            continue;
        list_remove(node);
        json_t *text = json_stringn(errors.at ? errors.at : "", errors.len);
        if (!text) /* not UTF-8: a file of some other kind */
            text = json_string("the configuration has errors; the error log shows them");
        answer_json(request, 200, json_pack("{s:b, s:o}", "accepted", accepted, "errors", text));
        return;
    }
}

void admin_cancel(struct admin *admin, struct admin_request *request)
{
    (void)admin;
    list_remove(&request->link);
}

/* ---- dashboard -------------------------------------------------------------------------------------------------------------------------- */

static const char page_fields[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";

static void serve_asset(struct admin_request *request, const struct asset *asset)
{
    request->answer.fields = BYTES(page_fields);
    answer(request, 200, asset->content_type, asset->body);
}

/* What stays as it is. */
static struct bytes hello_event(const struct admin_request *request, struct arena *arena)
{
    json_t *reasons = json_object();
    for (unsigned detail = 1; detail < DETAIL_COUNT; detail++)
        json_object_set_new(reasons, detail_word(detail), json_string(detail_sentence(detail)));
    json_t *hello =
        json_pack("{s:b, s:i, s:o}", "control", request->is_privileged, "certificate_days", TLS_CERTIFICATE_SOON_DAYS, "reasons", reasons);
    struct bytes text = json_text(hello, JSON_FLAGS, arena);
    return arena_printf(arena, "retry: 2000\nevent: hello\ndata: %.*s\n\n", BYTES_FMT(text));
}

/* URLs are for those only who may ask about them. */
static struct bytes figures_event(struct admin *admin, const struct admin_request *request, struct arena *arena)
{
    struct collected all;
    struct sizing_report report;
    struct top_lists lists;
    struct bytes top_text = BYTES("null");
    collect(admin, arena, &all);
    struct bytes stats_text = metrics_json(arena, all.sum, all.details, DETAIL_COUNT, all.gauges, all.gauge_count);
    counters_free(&all.sum);
    admin->ports.size(admin->ports.context, &report);
    struct bytes sizing_text = json_text(sizing_json(&report), JSON_FLAGS, arena);
    if (request->is_privileged) {
        admin->ports.top(admin->ports.context, arena, &lists);
        top_text = json_text(top_json(&lists, arena), JSON_FLAGS, arena);
    }
    return arena_printf(arena, "event: figures\ndata: {\"stats\":%.*s,\"sizing\":%.*s,\"top\":%.*s}\n\n", BYTES_FMT(stats_text),
                        BYTES_FMT(sizing_text), BYTES_FMT(top_text));
}

static void go_on(struct admin_request *request, admin_more *more, void *stream, unsigned pause_ms)
{
    request->answer.goes_on = request->method == METHOD_GET;
    request->answer.pause_ms = pause_ms;
    request->more = more;
    request->stream = stream;
}

void admin_continue(struct admin *admin, struct admin_request *request)
{
    request->more(admin, request);
}

struct stream_of_events {
    struct admin *admin;
    struct arena arena;
};

static void end_events(void *context)
{
    struct stream_of_events *stream = context;
    stream->admin->events_count--;
    arena_free(&stream->arena);
}

static void more_figures(struct admin *admin, struct admin_request *request)
{
    struct stream_of_events *stream = request->stream;
    arena_clear(&stream->arena);
    request->answer.body = figures_event(admin, request, &stream->arena);
}

static void events(struct admin *admin, struct admin_request *request)
{
    if (admin->events_count == EVENTS_MAX) {
        refuse(request, 503, "too many look at it already");
        return;
    }
    struct stream_of_events *stream = arena_zalloc(request->arena, sizeof *stream);
    stream->admin = admin;
    arena_init(&stream->arena);
    admin->events_count++;
    arena_defer(request->arena, end_events, stream);
    struct bytes hello = hello_event(request, &stream->arena), figures = figures_event(admin, request, &stream->arena);
    go_on(request, more_figures, stream, EVENT_MS);
    answer(request, 200, "text/event-stream", arena_printf(&stream->arena, "%.*s%.*s", BYTES_FMT(hello), BYTES_FMT(figures)));
}

/* ---- live requests ---------------------------------------------------------------------------------------------------------------------- */

struct stream_of_requests {
    struct live_filter filter;
    struct live_viewer *viewer;
    unsigned silent; /* rounds without a request */
};

static void end_requests(void *context)
{
    struct stream_of_requests *stream = context;
    live_unwatch(&stream->viewer);
}

static void more_requests(struct admin *admin, struct admin_request *request)
{
    struct stream_of_requests *stream = request->stream;
    (void)admin;
    request->answer.body = live_take(stream->viewer);
    stream->silent = request->answer.body.len == 0 ? stream->silent + 1 : 0;
    if (stream->silent < LIVE_SILENT_MAX)
        return;
    stream->silent = 0;
    request->answer.body = BYTES("\n");
}

static void live_log(struct admin *admin, struct admin_request *request)
{
    struct stream_of_requests *stream = arena_zalloc(request->arena, sizeof *stream);
    struct live_query asked;
    const char *error = live_read_query(request->query, request->arena, &asked);
    if (error != NULL) {
        refuse(request, 400, error);
        return;
    }
    if (asked.host.at != NULL) {
        asked.filter.site = admin->ports.site(admin->ports.context, asked.host);
        if (asked.filter.site.at == NULL) {
            refuse(request, 404, "no site answers that host");
            return;
        }
        asked.filter.site = arena_copy(request->arena, asked.filter.site); /* a reload may come */
    }
    stream->filter = asked.filter;
    if (request->method == METHOD_GET) {
        stream->viewer = admin->ports.watch(admin->ports.context, &stream->filter);
        if (stream->viewer == NULL) {
            refuse(request, 503, "too many look at it already");
            return;
        }
        arena_defer(request->arena, end_requests, stream);
    }
    go_on(request, more_requests, stream, LIVE_MS);
    answer(request, 200, "application/x-ndjson", BYTES("\n")); /* a first byte, so that the asker knows that it has begun */
}

/* ---- routes ----------------------------------------------------------------------------------------------------------------------------- */

static const struct route {
    struct bytes path;
    bool changes;       /* POST; otherwise GET and HEAD */
    bool is_privileged; /* by the Unix socket only: whoever may open it may do this */
    void (*serve)(struct admin *admin, struct admin_request *request);
} routes[] = {
    {{"/healthz", 8}, false, false, healthz}, {{"/metrics", 8}, false, false, metrics}, {{"/stats", 6}, false, false, stats},
    {{"/purge", 6}, true, true, purge},       {{"/reload", 7}, true, true, reload},     {{"/why", 4}, false, true, why},
    {{"/sizing", 7}, false, false, sizing},   {{"/top", 4}, false, true, top},          {{"/events", 7}, false, false, events},
    {{"/drain", 6}, true, true, drain},       {{"/log", 4}, false, true, live_log},
};

static bool takes_method(const struct route *route, enum method method)
{
    return route->changes ? method == METHOD_POST : method == METHOD_GET || method == METHOD_HEAD;
}

void admin_start(struct admin *admin, struct admin_request *request)
{
    list_init(&request->link);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        if (!bytes_equal(route->path, request->path))
            continue;
        if (!takes_method(route, request->method))
            refuse(request, 405, route->changes ? "this is for POST" : "this is for GET");
        else if (route->is_privileged && !request->is_privileged)
            refuse(request, 403, "only over the Unix socket (admin.socket), unless admin.control allows it");
        else
            route->serve(admin, request);
        return;
    }
    const struct asset *asset = asset_find(request->path);
    if (asset != NULL && (request->method == METHOD_GET || request->method == METHOD_HEAD))
        serve_asset(request, asset);
    else if (asset != NULL)
        refuse(request, 405, "this is for GET");
    else
        refuse(request, 404, "here are /, /healthz, /metrics, /stats and /sizing");
}
