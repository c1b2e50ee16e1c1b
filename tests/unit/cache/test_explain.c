#include "cache/explain.h"

#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 64);
}

static void teardown(void)
{
    rig_free(&rig); /* which fails when a reference was left behind */
}

TestSuite(explain, .init = setup, .fini = teardown);

static struct explanation explain(const char *path, const char *fields)
{
    struct headers headers;
    struct explanation explanation;
    parse_fields(&rig, &headers, fields);
    struct lookup lookup = {.key = rig_key(&rig, path), .method = METHOD_GET, .fields = &headers, .rules = &rig.rules, .now = rig.now};
    cache_explain(rig.cache, &lookup, &rig.arena, &explanation);
    return explanation;
}

static void assert_outcome(const char *path, const char *fields, enum explained_outcome outcome, enum fwd_reason fwd,
                           enum cache_detail detail)
{
    struct explanation told = explain(path, fields);
    cr_expect_eq(told.outcome, outcome, "%s: outcome %d", path, (int)told.outcome);
    cr_expect_eq(told.fwd, fwd, "%s: fwd %d", path, (int)told.fwd);
    cr_expect_eq(told.detail, detail, "%s: detail %s", path, detail_word(told.detail));
}

Test(explain, foretells_what_a_lookup_does)
{
    store(&rig, "/fresh", "", FRESH, 10);
    store(&rig, "/swr", "", "Cache-Control: max-age=1, stale-while-revalidate=60\r\n", 10);
    store(&rig, "/old", "", "Cache-Control: max-age=1\r\nETag: \"1\"\r\n", 10);
    rig.now.s += 10;
    assert_outcome("/fresh", "", EXPLAINED_HIT, FWD_NONE, DETAIL_NONE);
    assert_outcome("/swr", "", EXPLAINED_STALE, FWD_NONE, DETAIL_STALE_WHILE_REVALIDATE);
    assert_outcome("/old", "", EXPLAINED_REVALIDATE, FWD_STALE, DETAIL_EXPIRED);
    assert_outcome("/none", "", EXPLAINED_FETCH, FWD_URI_MISS, DETAIL_NONE);
    assert_outcome("/fresh", "Content-Length: 3\r\n", EXPLAINED_PASS, FWD_BYPASS, DETAIL_REQUEST_BODY);
    rig.rules.honour_request_directives = true;
    assert_outcome("/old", "Cache-Control: only-if-cached\r\n", EXPLAINED_REFUSED, FWD_STALE, DETAIL_ONLY_IF_CACHED);
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_eq(stats.fills, 0);
    cr_assert_eq(stats.objects, 3);
}

Test(explain, shows_every_variant_and_the_selected_one)
{
    enum { VARIANTS = 40 };
    for (unsigned i = 0; i < 300; i++) /* others, so that the index has splits behind it */
        store(&rig, arena_string(&rig.arena, arena_printf(&rig.arena, "/%u", i)), "", FRESH, 10);
    for (unsigned i = 0; i < VARIANTS; i++)
        store(&rig, "/v", arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %u\r\n", i)), FRESH "Vary: X-A, X-B\r\nxkey: t\r\n",
              10 + i);
    struct explanation told = explain("/v", "X-A: 7\r\n");
    cr_assert_eq(told.vary_count, 2);
    cr_assert(bytes_equal(told.vary_names[0], BYTES("x-a")) && bytes_equal(told.vary_names[1], BYTES("x-b")));
    cr_assert_eq(told.response_count, VARIANTS);
    uint64_t seen = 0;
    for (unsigned i = 0; i < VARIANTS; i++) {
        const struct explained_response *response = &told.responses[i];
        seen |= UINT64_C(1) << (response->body_bytes - 10);
        cr_assert_eq(response->is_selected, response->body_bytes == 17);
        cr_assert(bytes_equal(response->values[0], arena_printf(&rig.arena, "%u", (unsigned)response->body_bytes - 10)));
        cr_assert_null(response->values[1].at);
        cr_assert(bytes_starts_with(response->fields, BYTES("Cache-Control: max-age=60\r\n")));
        cr_assert_not(response->is_purged);
        cr_assert_eq(response->stale_since_s, META_ABSENT);
    }
    cr_assert_eq(seen, (UINT64_C(1) << VARIANTS) - 1);
    cr_assert_eq(told.outcome, EXPLAINED_HIT);
    cr_assert_eq(explain("/v", "X-A: 99\r\n").fwd, FWD_VARY_MISS);
}

Test(explain, is_no_hit_and_sees_purges)
{
    store(&rig, "/a", "", FRESH "xkey: t\r\n", 10);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(explain("/a", "").responses[0].frequency, 0);
    cache_purge_tag(rig.cache, BYTES("t"), PURGE_SOFT, rig.now);
    struct explanation told = explain("/a", "");
    cr_assert_eq(told.responses[0].stale_since_s, RIG_NOW);
    cr_assert_eq(told.detail, DETAIL_SOFT_PURGED);
    cache_purge_tag(rig.cache, BYTES("t"), PURGE_HARD, rig.now);
    told = explain("/a", "");
    cr_assert(told.responses[0].is_purged);
    cr_assert_eq(told.outcome, EXPLAINED_FETCH);
}

Test(explain, sees_a_fetch_under_way)
{
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    cr_assert(explain("/a", "").is_joined);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    reader_close(&ask.reader);
    cr_assert_not(explain("/a", "").is_joined);
}

/* A head of 10 slices of which the first and the last, which is short, are there. */
static void store_slices(void)
{
    enum { SLICE = 65536 };
    struct headers none;
    struct waker waker = {count_wake};
    parse_fields(&rig, &none, "");
    struct reader first = {0};
    struct lookup lookup = {.key = rig_key(&rig, "/large"),
                            .method = METHOD_GET,
                            .fields = &none,
                            .rules = &rig.rules,
                            .now = rig.now,
                            .slice = {0, SLICE},
                            .reader_waker = &waker};
    cache_lookup(rig.cache, &lookup, &first);
    for (unsigned i = 0; i < 2; i++) {
        struct ask ask = {0};
        uint64_t length = i == 0 ? SLICE : 1000;
        struct slice_lookup slice = {.slice = {9 * SLICE, 10 * SLICE}, .waker = &ask.reader_waker.waker};
        if (i == 1)
            cache_open_slice(&first, &slice, &ask.reader);
        ask.lookup.fill = i == 0 ? lookup.fill : slice.fill;
        struct headers fields;
        parse_fields(&rig, &fields,
                     i == 0 ? FRESH "ETag: \"1\"\r\nContent-Range: bytes 0-65535/590824\r\n"
                            : FRESH "ETag: \"1\"\r\nContent-Range: bytes 589824-590823/590824\r\n");
        const struct origin_head head = {.status = 206,
                                         .reason = BYTES(""),
                                         .fields = &fields,
                                         .length_known = true,
                                         .length = length,
                                         .request_time = rig.now,
                                         .response_time = rig.now};
        cr_assert_eq(fill_set_slice(&ask.lookup.fill, &head), ERROR_OK);
        cr_assert_eq(answer_body(&ask, 0, length), length);
        fill_finish(&ask.lookup.fill);
        struct response_view view;
        enum error error;
        cr_assert_eq(reader_head(i == 0 ? &first : &ask.reader, &view, &error), READER_HEAD_READY);
        reader_close(&ask.reader);
    }
    reader_close(&first);
}

Test(explain, which_slices_are_there)
{
    rig.rules.slice_bytes = 65536;
    store_slices();
    struct explanation told = explain("/large", "");
    cr_assert_eq(told.response_count, 1);
    const struct explained_response *response = &told.responses[0];
    cr_assert(response->is_sliced && response->slices_count == 2 && response->body_bytes == 590824);
    cr_expect(response->slices[0].first == 0 && response->slices[0].end == 65536);
    cr_expect(response->slices[1].first == 589824 && response->slices[1].end == 590824);
    assert_outcome("/large", "", EXPLAINED_PARTIAL, FWD_PARTIAL, DETAIL_NONE);
    assert_outcome("/large", "Range: bytes=0-65535\r\n", EXPLAINED_HIT, FWD_NONE, DETAIL_NONE);
    assert_outcome("/large", "Range: bytes=-1,5-6\r\n", EXPLAINED_HIT, FWD_NONE, DETAIL_NONE);
    assert_outcome("/large", "Range: bytes=5-6,70000-70001\r\n", EXPLAINED_PARTIAL, FWD_PARTIAL, DETAIL_NONE);
    assert_outcome("/large", "Range: bytes=0-65536\r\n", EXPLAINED_PARTIAL, FWD_PARTIAL, DETAIL_NONE);
    assert_outcome("/large", "Range: bytes=600000-\r\n", EXPLAINED_HIT, FWD_NONE, DETAIL_NONE);
    rig.rules.honour_request_directives = true;
    assert_outcome("/large", "Cache-Control: only-if-cached\r\n", EXPLAINED_REFUSED, FWD_NONE, DETAIL_ONLY_IF_CACHED);
    rig.rules.slice_bytes = 131072;
    assert_outcome("/large", "Range: bytes=0-1\r\n", EXPLAINED_PARTIAL, FWD_PARTIAL, DETAIL_NONE);
}

static struct explanation explain_query(const char *query, const char *fields)
{
    struct headers headers;
    struct explanation explanation;
    parse_fields(&rig, &headers, fields);
    struct lookup lookup = {.method = METHOD_GET, .fields = &headers, .rules = &rig.rules, .now = rig.now};
    lookup.key = cache_key_build(&rig.hash_key, &rig.arena, BYTES("http"), BYTES("example.com"), BYTES("/q"), bytes_from_string(query));
    cache_explain(rig.cache, &lookup, &rig.arena, &explanation);
    return explanation;
}

static void store_query(const char *query, const char *request_fields, const char *fields)
{
    struct ask ask = {.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    parse_fields(&rig, &ask.fields, request_fields);
    ask.lookup = (struct lookup){
        .method = METHOD_GET, .fields = &ask.fields, .rules = &rig.rules, .now = rig.now, .reader_waker = &ask.reader_waker.waker};
    ask.lookup.key = cache_key_build(&rig.hash_key, &rig.arena, BYTES("http"), BYTES("example.com"), BYTES("/q"), bytes_from_string(query));
    cache_lookup(rig.cache, &ask.lookup, &ask.reader);
    answer(&rig, &ask, fields, 10);
    reader_close(&ask.reader);
}

Test(explain, what_answers_an_equivalent_url)
{
    store_query("a=1", "X: 1\r\n", FRESH "No-Vary-Search: except=()\r\nVary: X\r\n");
    struct explanation told = explain_query("a=2", "X: 1\r\n");
    cr_assert_eq(told.outcome, EXPLAINED_HIT);
    cr_expect(bytes_equal(cache_key_url(told.stored_under, &rig.arena), BYTES("http://example.com/q?a=1")));
    cr_expect(told.response_count == 1 && told.responses[0].is_selected && told.vary_count == 1);
    told = explain_query("a=2", "X: 2\r\n");
    cr_expect(told.outcome == EXPLAINED_FETCH && told.stored_under.at == NULL && told.response_count == 0 && told.fwd == FWD_URI_MISS);
    told = explain_query("a=1", "X: 1\r\n");
    cr_expect(told.outcome == EXPLAINED_HIT && told.stored_under.at == NULL);
    rig.now.s += 100000;
    told = explain_query("a=2", "X: 1\r\n");
    cr_expect(told.outcome == EXPLAINED_FETCH && told.stored_under.at == NULL, "what is stale answers its own URL only");
}
