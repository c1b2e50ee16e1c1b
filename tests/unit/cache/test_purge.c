#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 8);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(purge, .init = setup, .fini = teardown);

#define VARY_A FRESH "Vary: X-A\r\n"

static bool purge(const char *path)
{
    struct cache_key key = rig_key(&rig, path);
    return cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
}

static void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

static bool is_stored(const char *path, const char *fields)
{
    struct ask ask;
    bool hit = ask_with(&rig, &ask, METHOD_GET, path, fields, false) == LOOKUP_HIT;
    close_all(&ask);
    return hit;
}

Test(purge, purged_response_is_gone_and_others_stay)
{
    store(&rig, "/a", "", FRESH, 10);
    store(&rig, "/b", "", FRESH, 10);
    cr_assert(purge("/a"));
    cr_assert_not(is_stored("/a", ""));
    cr_assert(is_stored("/b", ""));
    cr_assert_not(purge("/a"));
    cr_assert_not(purge("/c"));
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_eq(stats.objects, 1);
    cr_assert_eq(stats.purges, 1);
    cr_assert_eq(stats.evictions, 0);
}

Test(purge, all_variants_go_at_once)
{
    for (char i = '0'; i < '5'; i++)
        store(&rig, "/v", arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %c\r\n", i)), VARY_A, 10);
    cr_assert(purge("/v"));
    for (char i = '0'; i < '5'; i++)
        cr_assert_not(is_stored("/v", arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %c\r\n", i))));
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    cr_assert_not(is_stored("/v", "X-A: 2\r\n"), "a new selector brings none of them back");
    cr_assert(is_stored("/v", "X-A: 1\r\n"));
}

Test(purge, orphaned_variants_are_the_first_to_be_evicted)
{
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    for (unsigned i = 0; i < 4; i++)
        is_stored("/v", "X-A: 1\r\n"); /* it was popular */
    store(&rig, "/w", "", FRESH, 10);
    purge("/v");
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_eq(rig_stats(&rig).objects, 1);
    cr_assert(is_stored("/w", ""));
}

Test(purge, fill_before_its_head_goes_on_unstored)
{
    struct ask first, second, later;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    cr_assert_not(purge("/a"), "nothing was stored");
    cr_assert_eq(ask_get(&rig, &later, "/a"), LOOKUP_FILL, "who asks after the purge does not get what was asked for before");
    answer(&rig, &first, FRESH, 10);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(first.view.detail, DETAIL_PURGED);
    cr_assert_not(first.view.is_stored);
    cr_assert_eq(ask_head(&second), READER_HEAD_READY, "it asked before, too");
    cr_assert_eq(read_all(&first), 10);
    cr_assert_eq(read_all(&second), 10);
    cr_assert_eq(rig_stats(&rig).objects, 0);
    answer(&rig, &later, FRESH, 20);
    cr_assert(is_stored("/a", ""));
    close_all(&first);
    close_all(&second);
    close_all(&later);
}

Test(purge, fill_after_its_head_goes_on_unstored)
{
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, 400000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(answer_body(&ask, 0, 200000), 200000);
    purge("/a");
    enum reader_state state;
    cr_assert_eq(read_body(&ask, 200000, &state), 200000);
    cr_assert_eq(answer_body(&ask, 200000, 200000), 200000);
    cr_assert_eq(fill_disposition(ask.lookup.fill), FILL_PRIVATE);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(read_all(&ask), 200000);
    close_all(&ask);
    cr_assert_not(is_stored("/a", ""));
}

Test(purge, fill_at_its_end_goes_unstored)
{
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, 100);
    answer_body(&ask, 0, 100);
    purge("/a");
    fill_finish(&ask.lookup.fill);
    ask_head(&ask);
    cr_assert_eq(ask.view.detail, DETAIL_PURGED);
    close_all(&ask);
    cr_assert_not(is_stored("/a", ""));
}

Test(purge, variant_under_way_goes_unstored)
{
    struct ask ask;
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    ask_with(&rig, &ask, METHOD_GET, "/v", "X-A: 2\r\n", false);
    purge("/v");
    answer(&rig, &ask, VARY_A, 10);
    ask_head(&ask);
    cr_assert_eq(ask.view.detail, DETAIL_PURGED);
    close_all(&ask);
    cr_assert_not(is_stored("/v", "X-A: 2\r\n"));
}

Test(purge, variant_that_does_not_vary_any_more_goes_unstored)
{
    struct ask ask;
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    ask_with(&rig, &ask, METHOD_GET, "/v", "X-A: 2\r\n", false);
    answer_head(&rig, &ask, 200, FRESH, 0);
    purge("/v");
    fill_finish(&ask.lookup.fill);
    close_all(&ask);
    cr_assert_not(is_stored("/v", "X-A: 2\r\n"));
}

Test(purge, variant_of_a_selector_replaced_meanwhile_goes_unstored)
{
    struct ask slow, fast;
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    ask_with(&rig, &slow, METHOD_GET, "/v", "X-A: 2\r\n", false);
    ask_with(&rig, &fast, METHOD_GET, "/v", "X-A: 3\r\n", false);
    answer(&rig, &fast, FRESH "Vary: X-B\r\n", 10); /* another selector, which the purge strikes */
    purge("/v");
    answer(&rig, &slow, VARY_A, 10);
    close_all(&slow);
    close_all(&fast);
    cr_assert_not(is_stored("/v", "X-A: 2\r\n"), "it was asked for before the purge");
}

Test(purge, revalidation_under_way_goes_unstored)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH "ETag: \"1\"\r\n", 10);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert(purge("/a"));
    cr_assert_eq(answer_head(&rig, &ask, 304, FRESH, 0), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 10);
    close_all(&ask);
    cr_assert_not(is_stored("/a", ""));
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

/* ---- by tag, host, all ---- */

static enum lookup_outcome outcome(const char *path, const char *fields, struct ask *ask)
{
    return ask_with(&rig, ask, METHOD_GET, path, fields, false);
}

static void purge_tag(const char *tag)
{
    cache_purge_tag(rig.cache, bytes_from_string(tag), PURGE_HARD, rig.now);
}

static void purge_tag_softly(const char *tag)
{
    cache_purge_tag(rig.cache, bytes_from_string(tag), PURGE_SOFT, rig.now);
}

#define TAGGED FRESH "Surrogate-Key: a b\r\n"
#define ETAG   "ETag: \"1\"\r\n"

Test(purge, by_any_of_its_tags)
{
    static const char *const fields[] = {FRESH "Surrogate-Key: x t\r\n", FRESH "Cache-Tag: x, t\r\n", FRESH "xkey: t\r\n",
                                         FRESH "Cache-Groups: \"t\"\r\n"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        store(&rig, "/a", "", fields[i], 10);
        store(&rig, "/b", "", FRESH "Surrogate-Key: T tt\r\n", 10);
        purge_tag("other");
        cr_assert(is_stored("/a", ""));
        purge_tag("t");
        cr_assert_not(is_stored("/a", ""), "%s", fields[i]);
        cr_assert(is_stored("/b", ""));
        purge("/b");
        store(&rig, "/a", "", fields[i], 10);
        cr_assert(is_stored("/a", ""), "what is stored after the purge stays");
        purge("/a");
    }
}

Test(purge, a_purge_found_at_one_hit_is_not_forgotten_at_the_next)
{
    store(&rig, "/a", "", TAGGED, 10);
    for (unsigned i = 0; i < 100; i++) {
        purge_tag("other");
        cr_assert(is_stored("/a", ""));
    }
    purge_tag("b");
    purge_tag("other");
    cr_assert_not(is_stored("/a", ""));
    cr_assert_not(is_stored("/a", ""));
    cr_assert_eq(rig_stats(&rig).objects, 0, "it left the index");
}

Test(purge, a_group_is_its_origins_own)
{
    const char *fields = FRESH "Cache-Groups: \"g\"\r\nSurrogate-Key: k\r\n";
    store(&rig, "/a", "", fields, 10);
    struct wall_seconds now = rig.now;
    cache_purge_group(rig.cache, BYTES("http"), BYTES("other.com"), BYTES("g"), PURGE_HARD, now);
    cache_purge_group(rig.cache, BYTES("https"), BYTES("example.com"), BYTES("g"), PURGE_HARD, now);
    cache_purge_group(rig.cache, BYTES("http"), BYTES("example.com:8080"), BYTES("g"), PURGE_HARD, now);
    cache_purge_group(rig.cache, BYTES("http"), BYTES("example.com"), BYTES("G"), PURGE_HARD, now);
    cache_purge_group(rig.cache, BYTES("http"), BYTES("example.com"), BYTES("k"), PURGE_HARD, now);
    cr_assert(is_stored("/a", ""));
    cache_purge_group(rig.cache, BYTES("http"), BYTES("Example.com:80"), BYTES("g"), PURGE_HARD, now);
    cr_assert_not(is_stored("/a", ""));
}

Test(purge, by_host_and_everything)
{
    store(&rig, "/a", "", FRESH, 10);
    cache_purge_host(rig.cache, BYTES("other.com"), PURGE_HARD, rig.now);
    cache_purge_host(rig.cache, BYTES("com"), PURGE_HARD, rig.now);
    purge_tag("example.com");
    cr_assert(is_stored("/a", ""));
    cache_purge_host(rig.cache, BYTES("EXAMPLE.com.:8080"), PURGE_HARD, rig.now);
    cr_assert_not(is_stored("/a", ""));
    store(&rig, "/a", "", FRESH, 10);
    cr_assert(is_stored("/a", ""));
    cache_purge_all(rig.cache, PURGE_HARD, rig.now);
    cr_assert_not(is_stored("/a", ""));
}

Test(purge, one_variant_of_several_by_its_tag)
{
    store(&rig, "/v", "X-A: 1\r\n", VARY_A "xkey: one\r\n", 10);
    store(&rig, "/v", "X-A: 2\r\n", VARY_A "xkey: two\r\n", 10);
    purge_tag("one");
    cr_assert_not(is_stored("/v", "X-A: 1\r\n"));
    cr_assert(is_stored("/v", "X-A: 2\r\n"));
    cache_purge_host(rig.cache, BYTES("example.com"), PURGE_HARD, rig.now);
    cr_assert_not(is_stored("/v", "X-A: 2\r\n"));
}

Test(purge, softly_it_is_validated_before_it_is_served)
{
    struct ask ask;
    store(&rig, "/a", "", TAGGED ETAG, 10);
    rig.now.s += 5;
    purge_tag_softly("a");
    cr_assert_eq(outcome("/a", "", &ask), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.fwd, FWD_STALE);
    cr_assert_eq(ask.lookup.detail, DETAIL_SOFT_PURGED);
    cr_assert_not_null(fill_stale(ask.lookup.fill));
    cr_assert_eq(answer_head(&rig, &ask, 304, FRESH, 0), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 10);
    close_all(&ask);
    cr_assert(is_stored("/a", ""), "the origin confirmed it");
    purge_tag("b");
    cr_assert_not(is_stored("/a", ""), "and it has its tags still");
}

Test(purge, softly_it_is_served_while_it_is_fetched_where_the_response_allows_it)
{
    struct ask first, second, late;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-while-revalidate=30\r\nxkey: a\r\n", 10);
    rig.now.s += 5;
    purge_tag_softly("a");
    rig.now.s += 10;
    cr_assert_eq(outcome("/a", "", &first), LOOKUP_STALE);
    cr_assert_eq(first.lookup.ttl_s, -10, "stale since the purge, not since it was met");
    cr_assert_not_null(first.lookup.fill);
    cr_assert_eq(outcome("/a", "", &second), LOOKUP_STALE);
    cr_assert_null(second.lookup.fill, "one fetches for all");
    close_all(&first);
    close_all(&second);
    rig.now.s += 20;
    cr_assert_eq(outcome("/a", "", &late), LOOKUP_FILL, "the window began with the purge");
    close_all(&late);
}

Test(purge, softly_it_is_served_when_the_origin_fails_where_that_is_allowed)
{
    struct ask ask;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-if-error=30\r\nxkey: a\r\n", 10);
    store(&rig, "/b", "", "Cache-Control: max-age=60, must-revalidate\r\nxkey: a\r\n", 10);
    purge_tag_softly("a");
    rig.now.s += 10;
    cr_assert_eq(outcome("/a", "", &ask), LOOKUP_FILL);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 10);
    close_all(&ask);
    cr_assert_eq(outcome("/b", "", &ask), LOOKUP_FILL);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    cr_assert_eq(ask_head(&ask), READER_HEAD_FAILED);
    close_all(&ask);
}

Test(purge, softly_by_url_with_all_variants)
{
    struct cache_key key = rig_key(&rig, "/v"), plain = rig_key(&rig, "/a"), none = rig_key(&rig, "/none");
    store(&rig, "/a", "", FRESH ETAG, 10);
    store(&rig, "/v", "X-A: 1\r\n", VARY_A ETAG, 10);
    store(&rig, "/v", "X-A: 2\r\n", VARY_A ETAG, 10);
    cr_assert_not(cache_purge(rig.cache, &none, PURGE_SOFT, rig.now));
    cr_assert(cache_purge(rig.cache, &plain, PURGE_SOFT, rig.now));
    cr_assert(cache_purge(rig.cache, &key, PURGE_SOFT, rig.now));
    static const struct {
        const char *path, *fields;
    } asked[] = {{"/a", ""}, {"/v", "X-A: 1\r\n"}, {"/v", "X-A: 2\r\n"}};
    for (size_t i = 0; i < 3; i++) {
        struct ask ask;
        cr_assert_eq(outcome(asked[i].path, asked[i].fields, &ask), LOOKUP_FILL);
        cr_assert_eq(ask.lookup.detail, DETAIL_SOFT_PURGED);
        cr_assert_not_null(fill_stale(ask.lookup.fill));
        answer_head(&rig, &ask, 304, "", 0);
        close_all(&ask);
        cr_assert(is_stored(asked[i].path, asked[i].fields));
    }
}

Test(purge, fill_whose_tag_is_purged_before_its_head_is_not_stored)
{
    struct ask first, later;
    ask_get(&rig, &first, "/a");
    purge_tag("a");
    answer(&rig, &first, TAGGED, 10);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(first.view.detail, DETAIL_PURGED);
    cr_assert_eq(read_all(&first), 10);
    close_all(&first);
    cr_assert_eq(outcome("/a", "", &later), LOOKUP_FILL);
    answer(&rig, &later, TAGGED, 10);
    close_all(&later);
    cr_assert(is_stored("/a", ""));
}

Test(purge, fill_whose_tag_host_or_all_is_purged_after_its_head_is_not_stored)
{
    for (unsigned i = 0; i < 3; i++) {
        struct ask ask;
        ask_get(&rig, &ask, "/a");
        answer_head(&rig, &ask, 200, TAGGED, 10);
        if (i == 0)
            purge_tag("b");
        else if (i == 1)
            cache_purge_host(rig.cache, BYTES("example.com"), PURGE_HARD, rig.now);
        else
            cache_purge_all(rig.cache, PURGE_HARD, rig.now);
        answer_body(&ask, 0, 10);
        fill_finish(&ask.lookup.fill);
        ask_head(&ask);
        cr_assert_eq(ask.view.detail, DETAIL_PURGED);
        cr_assert_eq(read_all(&ask), 10);
        close_all(&ask);
        cr_assert_not(is_stored("/a", ""));
    }
}

Test(purge, who_asks_after_the_purge_does_not_get_what_was_fetched_before)
{
    struct ask first, joined, later;
    ask_get(&rig, &first, "/a");
    purge_tag("a");
    cr_assert_eq(outcome("/a", "", &joined), LOOKUP_JOIN, "nobody knows yet that it will have the tag");
    answer_head(&rig, &first, 200, TAGGED, 10);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(ask_head(&joined), READER_HEAD_RELEASED);
    cr_assert_eq(joined.view.detail, DETAIL_PURGED);
    reader_close(&joined.reader);
    cr_assert_eq(outcome("/a", "", &later), LOOKUP_FILL);
    close_all(&first);
    close_all(&later);
}

Test(purge, who_asks_while_a_purged_response_arrives_asks_the_origin)
{
    struct ask first, before, later;
    ask_get(&rig, &first, "/a");
    answer_head(&rig, &first, 200, TAGGED, 10);
    cr_assert_eq(outcome("/a", "", &before), LOOKUP_JOIN);
    purge_tag("a");
    cr_assert_eq(outcome("/a", "", &later), LOOKUP_FILL);
    cr_assert_eq(ask_head(&before), READER_HEAD_READY, "it asked before the purge");
    answer_body(&first, 0, 10);
    fill_finish(&first.lookup.fill);
    answer(&rig, &later, TAGGED, 20);
    close_all(&first);
    close_all(&before);
    close_all(&later);
    cr_assert(is_stored("/a", ""));
}

Test(purge, an_unrelated_purge_does_not_part_those_who_wait)
{
    struct ask first, joined;
    ask_get(&rig, &first, "/a");
    purge_tag("c");
    cr_assert_eq(outcome("/a", "", &joined), LOOKUP_JOIN);
    answer(&rig, &first, TAGGED, 10);
    cr_assert_eq(ask_head(&joined), READER_HEAD_READY);
    cr_assert_eq(read_all(&joined), 10);
    close_all(&first);
    close_all(&joined);
    cr_assert(is_stored("/a", ""));
}

Test(purge, a_fill_under_way_that_is_softly_purged_is_stored_stale)
{
    struct ask first, joined, later;
    ask_get(&rig, &first, "/a");
    purge_tag_softly("a");
    cr_assert_eq(outcome("/a", "", &joined), LOOKUP_JOIN);
    answer(&rig, &first, TAGGED ETAG, 10);
    cr_assert_eq(ask_head(&joined), READER_HEAD_RELEASED);
    cr_assert_eq(joined.view.detail, DETAIL_SOFT_PURGED);
    reader_close(&joined.reader);
    cr_assert_eq(outcome("/a", "", &later), LOOKUP_FILL);
    cr_assert_eq(later.lookup.detail, DETAIL_SOFT_PURGED);
    close_all(&first);
    close_all(&later);
}

Test(purge, a_validation_under_way_does_not_bring_a_purged_body_back)
{
    struct ask ask, later;
    store(&rig, "/a", "", TAGGED ETAG, 10);
    rig.now.s += 100;
    cr_assert_eq(outcome("/a", "", &ask), LOOKUP_FILL);
    purge_tag("a");
    cr_assert_eq(outcome("/a", "", &later), LOOKUP_FILL, "not joined, and nothing to validate");
    cr_assert_null(fill_stale(later.lookup.fill));
    answer_head(&rig, &ask, 304, FRESH "Surrogate-Key: c\r\n", 0);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 10);
    close_all(&ask);
    close_all(&later);
    cr_assert_not(is_stored("/a", ""), "whatever tags it has now");
}

Test(purge, a_304_may_change_the_tags)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH ETAG "Surrogate-Key: a\r\nCache-Tag: c\r\n", 10);
    rig.now.s += 100;
    outcome("/a", "", &ask);
    answer_head(&rig, &ask, 304, FRESH "Surrogate-Key: b\r\n", 0);
    close_all(&ask);
    purge_tag("a");
    cr_assert(is_stored("/a", ""), "it is not that any more");
    purge_tag("b");
    cr_assert_not(is_stored("/a", ""));
    store(&rig, "/a", "", FRESH ETAG "Surrogate-Key: a\r\nCache-Tag: c\r\n", 10);
    rig.now.s += 100;
    outcome("/a", "", &ask);
    answer_head(&rig, &ask, 304, FRESH "Surrogate-Key: b\r\n", 0);
    close_all(&ask);
    purge_tag("c");
    cr_assert_not(is_stored("/a", ""), "the 304 said nothing of this field");
}

Test(purge, tags_are_kept_though_clients_do_not_see_them)
{
    struct ask ask;
    rig.rules.strip_tags = true;
    store(&rig, "/a", "", FRESH ETAG "Surrogate-Key: a\r\nX: y\r\nCache-Tag: c\r\nCache-Groups: \"g\"\r\nxkey: k\r\n", 10);
    for (unsigned i = 0; i < 2; i++) {
        ask_get(&rig, &ask, "/a");
        if (i == 1)
            answer_head(&rig, &ask, 304, FRESH "Surrogate-Key: b\r\n", 0);
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        cr_assert(view_has(&ask, "\r\nX: y\r\n") && view_has(&ask, "Cache-Groups"));
        cr_assert_not(view_has(&ask, "Surrogate-Key") || view_has(&ask, "Cache-Tag") || view_has(&ask, "xkey"));
        const char *hidden = i == 0 ? "Surrogate-Key: a\r\nCache-Tag: c\r\nxkey: k\r\n" : "Cache-Tag: c\r\nxkey: k\r\nSurrogate-Key: b\r\n";
        cr_assert(bytes_equal(ask.view.hidden, bytes_from_string(hidden)), "%.*s", BYTES_FMT(ask.view.hidden));
        cr_assert_eq(read_all(&ask), 10);
        close_all(&ask);
        rig.now.s += 100;
    }
    ask_with(&rig, &ask, METHOD_GET, "/pass", "", true);
    answer_head(&rig, &ask, 200, FRESH "Surrogate-Key: a\r\n", 0);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_not(view_has(&ask, "Surrogate-Key"), "nor of what is passed");
    fill_finish(&ask.lookup.fill);
    close_all(&ask);
}

Test(purge, a_response_with_more_tags_than_are_kept_is_not_stored)
{
    struct bytes tags = BYTES(FRESH "Surrogate-Key: ");
    for (unsigned i = 0; i <= TAGS_MAX; i++)
        tags = arena_printf(&rig.arena, "%.*s t%u", BYTES_FMT(tags), i);
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    answer(&rig, &ask, arena_string(&rig.arena, arena_printf(&rig.arena, "%.*s\r\n", BYTES_FMT(tags))), 10);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.detail, DETAIL_TAGS_FULL);
    close_all(&ask);
    cr_assert_not(is_stored("/a", ""));
}

Test(purge, ten_thousand_purges_between_two_hits)
{
    store(&rig, "/a", "", TAGGED, 10);
    for (unsigned i = 0; i < 10000; i++)
        purge_tag(arena_string(&rig.arena, arena_printf(&rig.arena, "other%u", i)));
    cr_assert(is_stored("/a", ""));
    purge_tag("a");
    for (unsigned i = 0; i < 100000; i++)
        purge_tag(arena_string(&rig.arena, arena_printf(&rig.arena, "more%u", i)));
    cr_assert_not(is_stored("/a", ""), "the table is full: it may forget whom a purge was of, not that there was one");
}

Test(purge, a_head_under_way_does_not_bring_a_purged_body_back)
{
    struct ask ask;
    store(&rig, "/a", "", TAGGED ETAG "Content-Length: 10\r\n", 10);
    rig.now.s += 100;
    ask_with(&rig, &ask, METHOD_HEAD, "/a", "", false);
    purge_tag("a");
    answer_head(&rig, &ask, 200, FRESH ETAG "Surrogate-Key: c\r\nContent-Length: 10\r\n", 0);
    fill_finish(&ask.lookup.fill);
    close_all(&ask);
    cr_assert_not(is_stored("/a", ""));
}
