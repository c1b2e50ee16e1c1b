#include "proxy/admin/admin.h"

#include "cache/policy/detail.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct admin {
    struct admin_ports ports;
    struct list reloading; /* requests that wait for the supervisor */
    uint32_t last_ticket;
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
    request->answer = (struct admin_answer){.status = status, .content_type = content_type, .body = body};
    request->done(request);
}

static void answer_text(struct admin_request *request, unsigned status, struct bytes body)
{
    answer(request, status, "text/plain; charset=utf-8", body);
}

/* Takes the object. */
static void answer_json(struct admin_request *request, unsigned status, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    if (!text)
        abort();
    struct bytes body = arena_printf(request->arena, "%s\n", text);
    free(text);
    answer(request, status, "application/json", body);
}

static void refuse(struct admin_request *request, unsigned status, const char *error)
{
    answer_json(request, status, json_pack("{s:s}", "error", error));
}

/* ---- queries ---------------------------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = byte_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX and + decoded, in `arena`. */
static struct bytes decode(struct arena *arena, struct bytes text)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        int high = c == '%' && i + 2 < text.len ? hex_digit(text.at[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.at[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[len++] = c;
    }
    return bytes_from(out, len);
}

/* The value of `name` in "a=1&b=2", decoded; BYTES_NONE when it is not there. */
static struct bytes parameter(struct arena *arena, struct bytes query, struct bytes name)
{
    while (query.len > 0) {
        size_t end = bytes_find(query, '&');
        struct bytes pair = bytes_from(query.at, end);
        size_t equals = bytes_find(pair, '=');
        if (equals < pair.len && bytes_equal(bytes_from(pair.at, equals), name))
            return decode(arena, bytes_from(pair.at + equals + 1, pair.len - equals - 1));
        size_t used = end < query.len ? end + 1 : end;
        query = bytes_from(query.at + used, query.len - used);
    }
    return BYTES_NONE;
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

static void purge(struct admin *admin, struct admin_request *request)
{
    struct bytes url = parameter(request->arena, request->query, BYTES("url"));
    bool found = false;
    if (url.len == 0)
        refuse(request, 400, "say which: /purge?url=http://host/path");
    else if (!admin->ports.purge(admin->ports.context, url, &found))
        refuse(request, 400, "not an absolute URL: http://host/path is one");
    else
        answer_json(request, 200, json_pack("{s:b}", "purged", found));
}

static void reload(struct admin *admin, struct admin_request *request)
{
    request->ticket = ++admin->last_ticket;
    list_push_back(&admin->reloading, &request->link);
    admin->ports.reload(admin->ports.context, request->ticket);
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

/* ---- routes ----------------------------------------------------------------------------------------------------------------------------- */

static const struct route {
    struct bytes path;
    bool changes;       /* POST; otherwise GET and HEAD */
    bool is_privileged; /* by the Unix socket only: whoever may open it may do this */
    void (*serve)(struct admin *admin, struct admin_request *request);
} routes[] = {
    {{"/healthz", 8}, false, false, healthz}, {{"/metrics", 8}, false, false, metrics}, {{"/stats", 6}, false, false, stats},
    {{"/purge", 6}, true, true, purge},       {{"/reload", 7}, true, true, reload},
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
            refuse(request, 403, "only over the Unix socket (admin.socket)");
        else
            route->serve(admin, request);
        return;
    }
    refuse(request, 404, "here are /healthz, /metrics and /stats");
}
