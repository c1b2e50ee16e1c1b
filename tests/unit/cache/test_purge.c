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
    return cache_purge(rig.cache, &key);
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
