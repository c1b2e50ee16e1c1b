/* The front door: hit, miss, join, pass, stale. */
#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, 1 * RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(cache, .init = setup, .fini = teardown);

Test(cache, miss_then_hit)
{
    struct ask ask;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.fwd, FWD_URI_MISS);
    cr_assert_null(fill_stale(ask.lookup.fill));
    cr_assert_eq(ask_head(&ask), READER_HEAD_WAIT);
    cr_assert_eq(answer_head(&rig, &ask, 200, FRESH "X-One: 1\r\n", 1000), ERROR_OK);
    cr_assert_eq(fill_disposition(ask.lookup.fill), FILL_STORING);
    cr_assert_eq(ask.reader_waker.count, 1);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.status, 200);
    cr_assert(ask.view.is_stored);
    cr_assert_eq(ask.view.source, SOURCE_FETCHED);
    answer_body(&ask, 0, 1000);
    fill_finish(&ask.lookup.fill);
    cr_assert_null(ask.lookup.fill);
    cr_assert_eq(read_all(&ask), 1000);
    reader_close(&ask.reader);

    struct ask again;
    cr_assert_eq(ask_get(&rig, &again, "/a"), LOOKUP_HIT);
    cr_assert_eq(again.lookup.fwd, FWD_NONE);
    cr_assert_null(again.lookup.fill);
    cr_assert_eq(again.lookup.ttl_s, 60);
    cr_assert_eq(ask_head(&again), READER_HEAD_READY);
    cr_assert_eq(again.view.source, SOURCE_STORED);
    cr_assert(again.view.is_complete);
    cr_assert(again.view.length_known);
    cr_assert_eq(again.view.length, 1000);
    cr_assert_eq(read_all(&again), 1000);
    reader_close(&again.reader);
    reader_close(&again.reader);
}

Test(cache, second_request_joins_the_fill)
{
    struct ask first, second;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
    cr_assert_eq(ask_get(&rig, &second, "/a"), LOOKUP_JOIN);
    cr_assert(second.lookup.collapsed);
    cr_assert_null(second.lookup.fill);
    cr_assert_eq(ask_head(&second), READER_HEAD_WAIT);
    answer_head(&rig, &first, 200, FRESH, 100000);
    cr_assert_eq(second.reader_waker.count, 1);
    cr_assert_eq(ask_head(&second), READER_HEAD_READY);
    enum reader_state state;
    cr_assert_eq(read_body(&second, UINT64_MAX, &state), 0);
    cr_assert_eq(state, READER_WAIT);
    answer_body(&first, 0, 70000);
    cr_assert_eq(second.reader_waker.count, 2, "woken once for all that came before it ran");
    cr_assert_eq(read_body(&second, UINT64_MAX, &state), 70000);
    answer_body(&first, 70000, 30000);
    fill_finish(&first.lookup.fill);
    cr_assert_eq(read_all(&second), 30000);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(read_all(&first), 100000);
    reader_close(&first.reader);
    reader_close(&second.reader);
}

Test(cache, response_that_is_not_storable_releases_the_waiters)
{
    struct ask first, second, third;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    cr_assert_eq(ask_head(&second), READER_HEAD_WAIT);
    answer_head(&rig, &first, 200, "Cache-Control: no-store\r\n", 10);
    cr_assert_eq(second.reader_waker.count, 1);
    cr_assert_eq(ask_head(&second), READER_HEAD_RELEASED);
    cr_assert_eq(second.view.detail, DETAIL_NO_STORE);
    reader_close(&second.reader);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_not(first.view.is_stored);
    cr_assert_eq(first.view.detail, DETAIL_NO_STORE);
    cr_assert_eq(fill_disposition(first.lookup.fill), FILL_PRIVATE);
    cr_assert_eq(ask_with(&rig, &second, METHOD_GET, "/a", "", true), LOOKUP_PASS);
    cr_assert_eq(ask_get(&rig, &third, "/a"), LOOKUP_FILL, "a private fill is not joined");
    answer_body(&first, 0, 10);
    fill_finish(&first.lookup.fill);
    cr_assert_eq(read_all(&first), 10);
    fill_fail(&second.lookup.fill, ERROR_ORIGIN_REFUSED);
    fill_fail(&third.lookup.fill, ERROR_ORIGIN_REFUSED);
    cr_assert_eq(ask_head(&third), READER_HEAD_FAILED);
    cr_assert_eq(third.error, ERROR_ORIGIN_REFUSED);
    reader_close(&first.reader);
    reader_close(&second.reader);
    reader_close(&third.reader);
}

Test(cache, unsafe_method_passes)
{
    struct ask ask;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_POST, "/a", "", false), LOOKUP_PASS);
    cr_assert_eq(ask.lookup.detail, DETAIL_METHOD);
    answer(&rig, &ask, FRESH, 5);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_not(ask.view.is_stored);
    cr_assert_eq(ask.view.detail, DETAIL_METHOD);
    cr_assert_eq(read_all(&ask), 5);
    reader_close(&ask.reader);
    cr_assert_eq(rig_stats(&rig).objects, 0);
}
