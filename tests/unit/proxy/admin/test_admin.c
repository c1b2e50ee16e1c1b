#include "proxy/admin/admin.h"
#include "cache/sizing.h"
#include "proxy/observe/live.h"
#include "proxy/observe/top.h"
#include "proxy/admin/why.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct fake {
    bool draining, is_url, found;
    char purged[256];
    uint32_t ticket;
    unsigned done;
};

static void collect(void *context, struct arena *arena, struct counters *sum, struct gauge **gauges, unsigned *count)
{
    (void)context;
    counter_add(sum, COUNTER_ORIGIN_REQUESTS, 7);
    *gauges = arena_alloc(arena, sizeof **gauges);
    (*gauges)[0] = (struct gauge){.name = "cache_objects", .labels = "", .help = "Stored responses.", .value = 5};
    *count = 1;
}

static bool purge(void *context, const struct admin_purge *what, bool *found)
{
    static const char *const kinds[] = {"", "tag ", "host ", "all "};
    struct fake *fake = context;
    size_t length = strlen(fake->purged);
    snprintf(fake->purged + length, sizeof fake->purged - length, "%s%s%.*s", what->is_soft ? "soft " : "", kinds[what->by],
             BYTES_FMT(what->name));
    *found = fake->found;
    return fake->is_url;
}

static bool explain(void *context, struct bytes url, const struct headers *fields, struct arena *scratch, struct admin_why *why)
{
    struct fake *fake = context;
    (void)scratch;
    snprintf(fake->purged, sizeof fake->purged, "%.*s %u", BYTES_FMT(url), fields->count);
    if (fake->found)
        *why = (struct admin_why){
            .site = BYTES("a"), .key = BYTES("http://a/\xff"), .explanation = {.outcome = EXPLAINED_FETCH, .fwd = FWD_URI_MISS}};
    return fake->is_url;
}

static void size(void *context, struct sizing_report *report)
{
    (void)context;
    *report = (struct sizing_report){.requests = 9, .memory = {{64, 0.25}, {128, 0.5}}};
}

static void top(void *context, struct arena *scratch, struct top_lists *lists)
{
    static struct top_row row = {{"http://a/\xff", 10}, 5, 1};
    (void)context;
    (void)scratch;
    *lists = (struct top_lists){.by[TOP_URLS][TOP_BYTES] = {&row, 1}};
}

static struct bytes site(void *context, struct bytes host)
{
    (void)context;
    return bytes_equal(host, BYTES("www.a")) ? BYTES("a") : BYTES_NONE;
}

static struct live *one_loop;

static struct live_viewer *watch(void *context, const struct live_filter *filter)
{
    (void)context;
    return live_watch(&one_loop, 1, filter);
}

static void reload(void *context, uint32_t ticket)
{
    ((struct fake *)context)->ticket = ticket;
}

static bool is_asked_to_drain;

static void drain(void *context)
{
    (void)context;
    is_asked_to_drain = true;
}

static bool is_draining(void *context)
{
    return ((struct fake *)context)->draining;
}

static void done(struct admin_request *request)
{
    ((struct fake *)request->context)->done++;
}

static struct fake fake;
static struct admin *admin;
static struct arena arena;

static void set_up(void)
{
    struct admin_ports ports = {&fake, collect, purge, explain, size, top, site, watch, reload, is_draining, drain};
    admin = admin_new(&ports);
    arena_init(&arena);
    fake = (struct fake){.is_url = true};
}

static void tear_down(void)
{
    admin_free(&admin);
    arena_free(&arena);
}

TestSuite(admin, .init = set_up, .fini = tear_down);

static struct admin_request request(enum method method, const char *path, const char *query, bool is_privileged)
{
    return (struct admin_request){.method = method,
                                  .path = bytes_from_string(path),
                                  .query = query ? bytes_from_string(query) : BYTES_NONE,
                                  .is_privileged = is_privileged,
                                  .arena = &arena,
                                  .done = done,
                                  .context = &fake};
}

static void assert_answer(enum method method, const char *path, const char *query, bool is_privileged, unsigned status, const char *body)
{
    struct admin_request asked = request(method, path, query, is_privileged);
    fake.done = 0;
    admin_start(admin, &asked);
    cr_assert_eq(fake.done, 1, "%s", path);
    cr_assert_eq(asked.answer.status, status, "%s: %u", path, asked.answer.status);
    cr_assert(bytes_equal(asked.answer.body, bytes_from_string(body)), "%s: %.*s", path, BYTES_FMT(asked.answer.body));
}

static bool contains(struct bytes text, const char *what)
{
    return memmem(text.at, text.len, what, strlen(what)) != NULL;
}

Test(admin, whoever_may_open_the_socket_may_drain)
{
    is_asked_to_drain = false;
    assert_answer(METHOD_POST, "/drain", NULL, false, 403,
                  "{\"error\":\"only over the Unix socket (admin.socket), unless admin.control allows it\"}\n");
    assert_answer(METHOD_GET, "/drain", NULL, true, 405, "{\"error\":\"this is for POST\"}\n");
    cr_assert(!is_asked_to_drain);
    assert_answer(METHOD_POST, "/drain", NULL, true, 200, "{\"draining\":true}\n");
    cr_assert(is_asked_to_drain);
}

Test(admin, health_turns_when_the_server_drains)
{
    assert_answer(METHOD_GET, "/healthz", NULL, false, 200, "ok\n");
    assert_answer(METHOD_HEAD, "/healthz", NULL, false, 200, "ok\n");
    fake.draining = true;
    assert_answer(METHOD_GET, "/healthz", NULL, false, 503, "draining\n");
}

Test(admin, metrics_and_stats_show_counters_and_gauges)
{
    struct admin_request asked = request(METHOD_GET, "/metrics", NULL, false);
    admin_start(admin, &asked);
    cr_assert_str_eq(asked.answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
    cr_assert(contains(asked.answer.body, "\noutrigger_origin_requests_total 7\n"));
    cr_assert(contains(asked.answer.body, "\noutrigger_cache_objects 5\n"));
    asked = request(METHOD_GET, "/stats", NULL, false);
    admin_start(admin, &asked);
    cr_assert_str_eq(asked.answer.content_type, "application/json");
    cr_assert(contains(asked.answer.body, "\"cache_objects\":5"));
}

Test(admin, unknown_paths_and_methods_are_refused)
{
    assert_answer(METHOD_GET, "/nothing", NULL, true, 404, "{\"error\":\"here are /, /healthz, /metrics, /stats and /sizing\"}\n");
    assert_answer(METHOD_GET, "/metrics/", NULL, true, 404, "{\"error\":\"here are /, /healthz, /metrics, /stats and /sizing\"}\n");
    assert_answer(METHOD_POST, "/metrics", NULL, true, 405, "{\"error\":\"this is for GET\"}\n");
    assert_answer(METHOD_GET, "/purge", "url=http://a/", true, 405, "{\"error\":\"this is for POST\"}\n");
    assert_answer(METHOD_OTHER, "/reload", NULL, true, 405, "{\"error\":\"this is for POST\"}\n");
}

Test(admin, what_changes_something_is_for_the_unix_socket_only)
{
    assert_answer(METHOD_POST, "/purge", "url=http://a/", false, 403,
                  "{\"error\":\"only over the Unix socket (admin.socket), unless admin.control allows it\"}\n");
    assert_answer(METHOD_POST, "/reload", NULL, false, 403,
                  "{\"error\":\"only over the Unix socket (admin.socket), unless admin.control allows it\"}\n");
    cr_assert_str_eq(fake.purged, "");
    cr_assert_eq(fake.ticket, 0);
}

Test(admin, purge_decodes_its_url)
{
    static const struct {
        const char *query, *url;
    } cases[] = {
        {"url=http%3A%2F%2Fa%2Fb%3Fc%3Dd%26e", "http://a/b?c=d&e"},
        {"soft=0&url=http://a/%2500", "http://a/%00"},
        {"url=http://a/%zz%4", "http://a/%zz%4"},
        {"url=http://a/+", "http://a/ "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake.purged[0] = '\0';
        assert_answer(METHOD_POST, "/purge", cases[i].query, true, 200, "{\"purged\":false,\"by\":\"url\",\"soft\":false}\n");
        cr_assert_str_eq(fake.purged, cases[i].url);
    }
    fake.found = true;
    assert_answer(METHOD_POST, "/purge", "url=http://a/", true, 200, "{\"purged\":true,\"by\":\"url\",\"soft\":false}\n");
}

Test(admin, purge_by_other_things_and_softly)
{
    static const struct {
        const char *query, *purged, *answer;
    } cases[] = {
        {"tag=a%2Cb", "tag a,b", "{\"purged\":true,\"by\":\"tag\",\"tags\":1,\"soft\":false}\n"},
        {"tag=a&tag=b&soft=1&tag=c", "soft tag asoft tag bsoft tag c", "{\"purged\":true,\"by\":\"tag\",\"tags\":3,\"soft\":true}\n"},
        {"host=a.b", "host a.b", "{\"purged\":true,\"by\":\"host\",\"soft\":false}\n"},
        {"all=1", "all 1", "{\"purged\":true,\"by\":\"all\",\"soft\":false}\n"},
        {"soft=1&url=http://a/", "soft http://a/", "{\"purged\":true,\"by\":\"url\",\"soft\":true}\n"},
        {"soft=0&all=1", "all 1", "{\"purged\":true,\"by\":\"all\",\"soft\":false}\n"},
    };
    fake.found = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake.purged[0] = '\0';
        assert_answer(METHOD_POST, "/purge", cases[i].query, true, 200, cases[i].answer);
        cr_assert_str_eq(fake.purged, cases[i].purged);
    }
}

Test(admin, purge_refuses_what_is_no_url)
{
    static const char *const queries[] = {NULL,
                                          "",
                                          "url",
                                          "url=",
                                          "curl=http://a/",
                                          "url=http://a/&tag=b",
                                          "tag=a&host=b",
                                          "tag=a&all=1",
                                          "all=0",
                                          "all",
                                          "soft=1",
                                          "tag=a&soft=2",
                                          "host=a&host=b",
                                          "all=1&all=1",
                                          "tag=a&tag",
                                          "tag=a&x=1",
                                          "url=http://a/&url=http://b/"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        assert_answer(
            METHOD_POST, "/purge", queries[i], true, 400,
            "{\"error\":\"say what: one of url=http://host/path, tag=TAG (as often as needed), host=HOST, all=1; and soft=1\"}\n");
        cr_assert_str_eq(fake.purged, "");
    }
    fake.is_url = false;
    assert_answer(METHOD_POST, "/purge", "url=/a", true, 400, "{\"error\":\"not an absolute URL: http://host/path is one\"}\n");
}

Test(admin, reload_answers_when_the_supervisor_did)
{
    struct admin_request first = request(METHOD_POST, "/reload", NULL, true), second = first;
    admin_start(admin, &first);
    uint32_t first_ticket = fake.ticket;
    admin_start(admin, &second);
    cr_assert_neq(fake.ticket, first_ticket);
    cr_assert_eq(fake.done, 0);
    admin_reloaded(admin, fake.ticket, false, BYTES("f.yaml:1:2: error: \"no\"\n"));
    cr_assert_eq(fake.done, 1);
    cr_assert(bytes_equal(second.answer.body, BYTES("{\"accepted\":false,\"errors\":\"f.yaml:1:2: error: \\\"no\\\"\\n\"}\n")), "%.*s",
              BYTES_FMT(second.answer.body));
    admin_reloaded(admin, first_ticket, true, BYTES_NONE);
    cr_assert_eq(fake.done, 2);
    cr_assert(bytes_equal(first.answer.body, BYTES("{\"accepted\":true,\"errors\":\"\"}\n")));
    admin_reloaded(admin, first_ticket, true, BYTES_NONE);
    cr_assert_eq(fake.done, 2);
}

Test(admin, an_asker_that_went_away_is_forgotten)
{
    struct admin_request asked = request(METHOD_POST, "/reload", NULL, true);
    admin_start(admin, &asked);
    admin_cancel(admin, &asked);
    admin_reloaded(admin, fake.ticket, true, BYTES_NONE);
    cr_assert_eq(fake.done, 0);
}

Test(admin, errors_that_are_no_text_do_not_break_the_answer)
{
    struct admin_request asked = request(METHOD_POST, "/reload", NULL, true);
    admin_start(admin, &asked);
    admin_reloaded(admin, fake.ticket, false, BYTES("\xff\xfe"));
    cr_assert(contains(asked.answer.body, "\"accepted\":false"));
}

Test(admin, why_takes_a_url_and_fields)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "header=A:b",
                                      "url=",
                                      "url=http://a/&url=http://b/",
                                      "url=http://a/&header=A",
                                      "url=http://a/&header=A%20:b",
                                      "url=http://a/&header=A:b%0Ac",
                                      "url=http://a/&x=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_answer(METHOD_GET, "/why", bad[i], true, 400,
                      "{\"error\":\"say what: url=http://host/path, and header=Name: value as often as needed\"}\n");
    assert_answer(METHOD_GET, "/why", "url=http://a/", false, 403,
                  "{\"error\":\"only over the Unix socket (admin.socket), unless admin.control allows it\"}\n");
    cr_assert_str_eq(fake.purged, "");
    assert_answer(METHOD_GET, "/why", "url=http://a/", true, 404, "{\"error\":\"no site answers that host\"}\n");
    fake.found = true;
    struct admin_request asked = request(METHOD_GET, "/why", "url=http://a/%3Fx&header=Accept:%20a&header=B:", true);
    admin_start(admin, &asked);
    cr_assert_eq(asked.answer.status, 200);
    cr_assert_str_eq(fake.purged, "http://a/?x 2");
    cr_assert(contains(asked.answer.body, "\"outcome\":\"miss\",\"fwd\":\"uri-miss\",\"detail\":null"), "%.*s",
              BYTES_FMT(asked.answer.body));
    cr_assert(contains(asked.answer.body, "http://a/\\\\xff"), "%.*s", BYTES_FMT(asked.answer.body));
    fake.is_url = false;
    assert_answer(METHOD_GET, "/why", "url=x", true, 400, "{\"error\":\"not an absolute URL: http://host/path is one\"}\n");
}

Test(admin, sizing_is_json)
{
    struct admin_request asked = request(METHOD_GET, "/sizing", NULL, false);
    admin_start(admin, &asked);
    cr_assert_eq(asked.answer.status, 200);
    cr_assert(contains(asked.answer.body, "{\"requests\":9,\"memory\":[{\"times\":0.5,\"bytes\":64,\"hit_ratio\":0.25},"), "%.*s",
              BYTES_FMT(asked.answer.body));
    cr_assert(contains(asked.answer.body, "\"disk\":null"));
}

Test(admin, top_is_json_and_tells_of_urls_to_the_socket_only)
{
    struct admin_request asked = request(METHOD_GET, "/top", NULL, false);
    admin_start(admin, &asked);
    cr_assert_eq(asked.answer.status, 403);
    asked = request(METHOD_GET, "/top", NULL, true);
    admin_start(admin, &asked);
    cr_assert_eq(asked.answer.status, 200);
    cr_assert(contains(asked.answer.body, "{\"urls\":{\"requests\":[],\"bytes\":[{\"name\":\"http://a/\\\\xff\",\"count\":5,\"error\":1}]"),
              "%.*s", BYTES_FMT(asked.answer.body));
}

/* ---- live requests ---------------------------------------------------------------------------------------------------------------------- */

static void end(const char *target)
{
    struct access_entry entry = {.method = BYTES("GET"),
                                 .target = bytes_from_string(target),
                                 .host = BYTES("a"),
                                 .scheme = BYTES("http"),
                                 .site = BYTES("a"),
                                 .status = 404,
                                 .result = RESULT_MISS,
                                 .detail = "private",
                                 .error = "",
                                 .duration_us = 5000};
    if (live_is_watched(one_loop))
        live_show(one_loop, &entry);
}

Test(admin, live_requests_go_on_until_the_asker_leaves)
{
    one_loop = live_new();
    struct admin_request asked =
        request(METHOD_GET, "/log", "status=4xx,500-503&result=miss&reason=private&site=www.a&url=/b&slower-than=5ms", true);
    admin_start(admin, &asked);
    cr_assert_eq(asked.answer.status, 200, "%.*s", BYTES_FMT(asked.answer.body));
    cr_assert(asked.answer.goes_on && asked.answer.pause_ms > 0);
    end("/a");
    end("/b1");
    admin_continue(admin, &asked);
    cr_assert(memmem(asked.answer.body.at, asked.answer.body.len, "/b1", 3) &&
              !memmem(asked.answer.body.at, asked.answer.body.len, "/a", 2));
    for (unsigned silent = 1; silent <= 5; silent++) {
        admin_continue(admin, &asked);
        cr_assert_eq(asked.answer.body.len, silent == 5, "an empty line, when nothing came for a second");
    }
    arena_clear(&arena);
    cr_assert_not(live_is_watched(one_loop));
    live_free(&one_loop);
}

Test(admin, of_live_requests_there_are_as_many_viewers_as_there_is_room_for)
{
    one_loop = live_new();
    for (unsigned i = 0; i <= LIVE_VIEWERS_MAX; i++) {
        struct admin_request asked = request(METHOD_GET, "/log", NULL, true);
        admin_start(admin, &asked);
        cr_expect_eq(asked.answer.status, i < LIVE_VIEWERS_MAX ? 200 : 503);
    }
    arena_clear(&arena);
    live_free(&one_loop);
}

Test(admin, filters_that_cannot_be_understood_are_refused)
{
    static const char *const queries[] = {"status=",         "status=40",    "status=6xx",  "status=503-500",  "status=404,,500",
                                          "status=4xx-",     "result=",      "result=hits", "reason=whatever", "slower-than=100",
                                          "slower-than=-1s", "site=unknown", "url",         "colour=green"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct admin_request asked = request(METHOD_GET, "/log", queries[i], true);
        admin_start(admin, &asked);
        cr_expect_eq(asked.answer.status, strstr(queries[i], "site=") ? 404 : 400, "%s: %u", queries[i], asked.answer.status);
    }
    struct admin_request stranger = request(METHOD_GET, "/log", NULL, false);
    admin_start(admin, &stranger);
    cr_expect_eq(stranger.answer.status, 403);
}
