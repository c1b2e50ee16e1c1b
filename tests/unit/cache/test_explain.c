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
