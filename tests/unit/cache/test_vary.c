/* Selectors and variants (RFC 9111 §4.1). */
#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(vary, .init = setup, .fini = teardown);

#define VARY_A FRESH "Vary: X-A\r\n"

static enum lookup_outcome get(struct ask *ask, const char *fields)
{
    return ask_with(&rig, ask, METHOD_GET, "/v", fields, false);
}

static void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

static bool is_stored(const char *fields)
{
    struct ask ask;
    bool hit = get(&ask, fields) == LOOKUP_HIT;
    close_all(&ask);
    return hit;
}

Test(vary, variants_are_stored_side_by_side)
{
    struct ask ask;
    store(&rig, "/v", "X-A: 1\r\n", VARY_A "X-Is: one\r\n", 10);
    cr_assert_eq(get(&ask, "X-A: 2\r\n"), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.fwd, FWD_VARY_MISS);
    answer(&rig, &ask, VARY_A "X-Is: two\r\n", 10);
    reader_close(&ask.reader);
    cr_assert_eq(get(&ask, "X-A: 1\r\n"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert(view_has(&ask, "X-Is: one"));
    reader_close(&ask.reader);
    cr_assert_eq(get(&ask, "X-A: 2\r\nX-B: 7\r\n"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert(view_has(&ask, "X-Is: two"));
    reader_close(&ask.reader);
    cr_assert_not(is_stored("X-A:\r\n"), "an empty field is not 1 nor 2");
    cr_assert_not(is_stored(""), "nor an absent one");
    cr_assert_eq(rig_stats(&rig).objects, 3, "two variants and their selector");
}

Test(vary, waiters_of_another_variant_are_released_when_the_head_arrives)
{
    static struct ask first, same, other;
    get(&first, "X-A: 1\r\n");
    cr_assert_eq(get(&same, "X-A: 1\r\n"), LOOKUP_JOIN);
    cr_assert_eq(get(&other, "X-A: 2\r\n"), LOOKUP_JOIN, "nothing is known of the key yet");
    ask_head(&same);
    ask_head(&other);
    answer_head(&rig, &first, 200, VARY_A, 10);
    cr_assert_eq(same.reader_waker.count, 1);
    cr_assert_eq(other.reader_waker.count, 1);
    cr_assert_eq(ask_head(&same), READER_HEAD_READY);
    cr_assert_eq(ask_head(&other), READER_HEAD_RELEASED);
    cr_assert_eq(other.view.detail, DETAIL_VARIANT);
    reader_close(&other.reader);
    cr_assert_eq(get(&other, "X-A: 2\r\n"), LOOKUP_FILL, "its own fetch, while the other still arrives");
    cr_assert_eq(other.lookup.fwd, FWD_VARY_MISS);
    struct ask third, fourth;
    cr_assert_eq(get(&third, "X-A: 2\r\n"), LOOKUP_JOIN);
    cr_assert_eq(get(&fourth, "X-A: 1\r\n"), LOOKUP_JOIN, "found under its secondary key now");
    answer_body(&first, 0, 10);
    fill_finish(&first.lookup.fill);
    cr_assert_eq(ask_head(&fourth), READER_HEAD_READY);
    cr_assert_eq(read_all(&fourth), 10);
    answer(&rig, &other, VARY_A, 20);
    cr_assert_eq(ask_head(&third), READER_HEAD_READY);
    cr_assert_eq(read_all(&third), 20);
    close_all(&first);
    close_all(&same);
    close_all(&other);
    close_all(&third);
    close_all(&fourth);
}

Test(vary, variants_of_a_key_are_capped)
{
    struct ask ask, waiter;
    for (char i = '0'; i < '4'; i++)
        store(&rig, "/v", arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %c\r\n", i)), VARY_A, 10);
    get(&ask, "X-A: 9\r\n");
    cr_assert_eq(get(&waiter, "X-A: 9\r\n"), LOOKUP_JOIN);
    answer(&rig, &ask, VARY_A, 10);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.detail, DETAIL_VARIANTS_FULL);
    cr_assert_eq(ask_head(&waiter), READER_HEAD_RELEASED);
    cr_assert_eq(waiter.view.detail, DETAIL_VARIANTS_FULL);
    close_all(&ask);
    close_all(&waiter);
    cr_assert_not(is_stored("X-A: 9\r\n"));
    for (char i = '0'; i < '4'; i++)
        cr_assert(is_stored(arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %c\r\n", i))));
    rig.now.s += 100; /* one that is there is replaced all the same */
    cr_assert_eq(get(&ask, "X-A: 3\r\n"), LOOKUP_FILL);
    answer(&rig, &ask, VARY_A, 11);
    close_all(&ask);
    cr_assert(is_stored("X-A: 3\r\n"));
}

Test(vary, room_for_a_variant_comes_back_when_one_goes)
{
    for (char i = '0'; i < '4'; i++)
        store(&rig, "/v", arena_string(&rig.arena, arena_printf(&rig.arena, "X-A: %c\r\n", i)), VARY_A, 10);
    while (rig_stats(&rig).evictions == 0)
        evict_one(rig.cache);
    store(&rig, "/v", "X-A: 9\r\n", VARY_A, 10);
    cr_assert(is_stored("X-A: 9\r\n"));
}

Test(vary, most_recent_selector_wins)
{
    store(&rig, "/v", "X-A: 1\r\nX-B: 1\r\n", VARY_A, 10);
    struct ask ask;
    get(&ask, "X-A: 2\r\nX-B: 1\r\n");
    answer(&rig, &ask, FRESH "Vary: X-B\r\n", 10);
    close_all(&ask);
    cr_assert(is_stored("X-B: 1\r\n"));
    cr_assert(is_stored("X-B: 1\r\nX-A: 5\r\n"), "X-A does not count any more");
    cr_assert_not(is_stored("X-A: 1\r\nX-B: 2\r\n"));
}

Test(vary, response_without_vary_replaces_the_selector)
{
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    struct ask ask;
    get(&ask, "X-A: 2\r\n");
    answer(&rig, &ask, FRESH, 10);
    close_all(&ask);
    cr_assert(is_stored("X-A: 1\r\n"));
    cr_assert(is_stored("X-A: 3\r\n"));
}

Test(vary, selector_replaces_a_plain_response)
{
    store(&rig, "/v", "", FRESH, 10);
    rig.now.s += 100;
    struct ask ask;
    cr_assert_eq(get(&ask, "X-A: 1\r\n"), LOOKUP_FILL);
    answer(&rig, &ask, VARY_A, 10);
    close_all(&ask);
    cr_assert(is_stored("X-A: 1\r\n"));
    cr_assert_not(is_stored("X-A: 2\r\n"));
}

Test(vary, star_is_for_its_originator_alone)
{
    struct ask first, second;
    get(&first, "");
    get(&second, "");
    answer_head(&rig, &first, 200, FRESH "Vary: *\r\n", 0);
    cr_assert_eq(ask_head(&second), READER_HEAD_RELEASED);
    cr_assert_eq(second.view.detail, DETAIL_VARY_STAR);
    close_all(&first);
    close_all(&second);
}

Test(vary, selector_outlives_its_variants_and_not_they_it)
{
    store(&rig, "/v", "X-A: 1\r\n", VARY_A, 10);
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_eq(rig_stats(&rig).objects, 1, "the variant goes first");
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_eq(rig_stats(&rig).objects, 0);
    cr_assert_eq(evict_one(rig.cache), 0);
}

Test(vary, refreshed_variant_stays_one)
{
    store(&rig, "/v", "X-A: 1\r\n", VARY_A "ETag: \"1\"\r\n", 10);
    store(&rig, "/v", "X-A: 2\r\n", VARY_A "ETag: \"2\"\r\n", 10);
    rig.now.s += 100;
    struct ask ask;
    cr_assert_eq(get(&ask, "X-A: 1\r\n"), LOOKUP_FILL);
    cr_assert_not_null(fill_stale(ask.lookup.fill));
    cr_assert_eq(answer_head(&rig, &ask, 304, FRESH, 0), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.source, SOURCE_REVALIDATED);
    cr_assert(view_has(&ask, "ETag: \"1\""));
    close_all(&ask);
    cr_assert(is_stored("X-A: 1\r\n"));
    cr_assert_not(is_stored("X-A: 2\r\n"), "the other is stale still");
    cr_assert_eq(rig_stats(&rig).objects, 3);
}
