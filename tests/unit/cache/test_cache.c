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

/* ---- stale responses ---- */

static void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

#define TAG "ETag: \"1\"\r\n"

Test(cache, stale_response_is_revalidated_once_for_all)
{
    static struct ask first, second;
    store(&rig, "/a", "", FRESH TAG "X-Old: 1\r\n", 1000);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
    cr_assert_eq(first.lookup.fwd, FWD_STALE);
    cr_assert_eq(first.lookup.detail, DETAIL_EXPIRED);
    cr_assert_not_null(fill_stale(first.lookup.fill));
    cr_assert_eq(fill_stale(first.lookup.fill)->length, 1000);
    cr_assert_eq(ask_get(&rig, &second, "/a"), LOOKUP_JOIN);
    cr_assert_eq(ask_head(&second), READER_HEAD_WAIT);
    cr_assert_eq(answer_head(&rig, &first, 304, FRESH, 0), ERROR_OK);
    cr_assert_null(first.lookup.fill);
    cr_assert_eq(second.reader_waker.count, 1);
    struct ask *both[] = {&first, &second};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ask_head(both[i]), READER_HEAD_READY);
        cr_assert_eq(both[i]->view.source, SOURCE_REVALIDATED);
        cr_assert(both[i]->view.is_stored);
        cr_assert_eq(read_all(both[i]), 1000);
        close_all(both[i]);
    }
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_HIT);
    cr_assert_eq(first.lookup.age_s, 0);
    close_all(&first);
    cr_assert_eq(rig_stats(&rig).objects, 1);
}

Test(cache, not_modified_replaces_the_fields_that_it_has)
{
    struct ask ask;
    store(&rig, "/a", "",
          FRESH TAG "X-Same: 1\r\nX-New: 1\r\nX-New: 2\r\nContent-Encoding: gzip\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 10);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    cr_assert_eq(
        answer_head(&rig, &ask, 304,
                    "Cache-Control: max-age=7\r\nX-New: 3\r\nX-Other: 4\r\nContent-Length: 99\r\nContent-Encoding: br\r\nContent-Range: "
                    "bytes 0-1/2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nAge: 2\r\n",
                    0),
        ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    static const char *const in[] = {"X-Same: 1\r\n",
                                     "X-New: 3\r\n",
                                     "X-Other: 4\r\n",
                                     "Content-Encoding: gzip\r\n",
                                     "Cache-Control: max-age=7\r\n",
                                     TAG,
                                     "Date: Tue, 14 Nov 2023 22:15:00 GMT\r\n"};
    static const char *const out[] = {"X-New: 1", "X-New: 2",   "Content-Length", "br",      "Content-Range",
                                      "X-Hop",    "max-age=60", "Age:",           "22:13:20"};
    for (unsigned i = 0; i < sizeof in / sizeof *in; i++)
        cr_assert(view_has(&ask, in[i]), "%s", in[i]);
    for (unsigned i = 0; i < sizeof out / sizeof *out; i++)
        cr_assert_not(view_has(&ask, out[i]), "%s", out[i]);
    cr_assert_eq(ask.view.meta.lifetime_s, 7);
    cr_assert_eq(ask.view.meta.corrected_initial_age_s, 2, "the Age of the 304 counts");
    close_all(&ask);
}

Test(cache, large_body_is_shared_by_a_refreshed_response)
{
    struct ask reading, ask;
    store(&rig, "/a", "", FRESH TAG, 400000);
    cr_assert_eq(ask_get(&rig, &reading, "/a"), LOOKUP_HIT);
    cr_assert_eq(ask_head(&reading), READER_HEAD_READY);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    cr_assert_eq(answer_head(&rig, &ask, 304, FRESH, 0), ERROR_OK);
    cr_assert_lt(rig_stats(&rig).slab.allocated, 400000 + 70000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 400000);
    close_all(&ask);
    cr_assert_eq(read_all(&reading), 400000, "who reads the old one goes on");
    close_all(&reading);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    close_all(&ask);
    cr_assert_eq(rig_stats(&rig).object_bytes, rig_stats(&rig).slab.allocated);
}

Test(cache, refreshed_response_owns_the_pages_of_its_body)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH TAG, SLAB_PAGE_BYTES + 100);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    cr_assert_eq(answer_head(&rig, &ask, 304, FRESH, 0), ERROR_OK);
    close_all(&ask);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    uint32_t owners[4];
    cr_assert_eq(slab_page_owners(rig.slab, 0, owners, 4), 1, "the tail's page is the emptiest");
    cr_assert_eq(owners[0], object_number(rig.cache, ask.reader.object));
    close_all(&ask);
}

Test(cache, new_response_replaces_the_stale_one)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH TAG, 1000);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    answer(&rig, &ask, FRESH "X-New: 1\r\n", 500);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.source, SOURCE_FETCHED);
    close_all(&ask);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert(view_has(&ask, "X-New: 1"));
    cr_assert_eq(read_all(&ask), 500);
    close_all(&ask);
    cr_assert_eq(rig_stats(&rig).objects, 1);
}

Test(cache, without_a_validator_the_stale_response_is_fetched_anew)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 10);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_null(fill_stale(ask.lookup.fill));
    close_all(&ask);
}

Test(cache, failing_revalidation_serves_stale_where_allowed)
{
    static struct ask first, second;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-if-error=1000\r\n" TAG, 10);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
    ask_get(&rig, &second, "/a");
    fill_fail(&first.lookup.fill, ERROR_ORIGIN_REFUSED);
    struct ask *both[] = {&first, &second};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ask_head(both[i]), READER_HEAD_READY);
        cr_assert_eq(both[i]->view.source, SOURCE_STALE_ON_ERROR);
        cr_assert_eq(both[i]->view.detail, DETAIL_STALE_IF_ERROR);
        cr_assert_eq(read_all(both[i]), 10);
        close_all(both[i]);
    }
    cr_assert_eq(rig_stats(&rig).objects, 1, "it stays stored");
}

Test(cache, failing_revalidation_fails_where_stale_is_forbidden)
{
    struct ask ask;
    store(&rig, "/a", "", "Cache-Control: max-age=60, must-revalidate\r\n" TAG, 10);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    cr_assert_eq(ask_head(&ask), READER_HEAD_FAILED);
    cr_assert_eq(ask.error, ERROR_ORIGIN_REFUSED);
    close_all(&ask);
}

Test(cache, server_error_in_answer_to_a_revalidation_serves_stale_where_allowed)
{
    static struct ask first, second;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-if-error=1000\r\n" TAG, 10);
    rig.now.s += 100;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    cr_assert_eq(answer_head(&rig, &first, 503, FRESH, 100), ERROR_OK);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(first.view.status, 200);
    cr_assert_eq(first.view.source, SOURCE_STALE_ON_ERROR);
    cr_assert_eq(ask_head(&second), READER_HEAD_READY);
    cr_assert_eq(second.view.status, 200);
    cr_assert_not(fill_is_wanted(first.lookup.fill), "nobody reads the error");
    cr_assert_eq(read_all(&first), 10);
    close_all(&first);
    close_all(&second);
}

Test(cache, server_error_never_replaces_a_stored_response)
{
    struct ask ask;
    store(&rig, "/a", "", "Cache-Control: max-age=60, must-revalidate\r\n" TAG, 10);
    rig.now.s += 100;
    ask_get(&rig, &ask, "/a");
    cr_assert_eq(answer_head(&rig, &ask, 500, FRESH, 100), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.status, 500, "stale is forbidden");
    answer_body(&ask, 0, 100);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(read_all(&ask), 100);
    close_all(&ask);
    ask_get(&rig, &ask, "/a");
    cr_assert_not_null(fill_stale(ask.lookup.fill));
    close_all(&ask);
}

/* What an update in the background brings that is not stored, and whether what is stored goes. */
static const struct {
    unsigned status;
    const char *fields;
    uint64_t length;
    bool ends;
} updates[] = {
    {200, "Cache-Control: private\r\n", 10, true},
    {200, "Cache-Control: no-store\r\n", 10, true},
    {200, "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", 10, true},
    {200, "Cache-Control: max-age=60\r\nVary: *\r\n", 10, true},
    {200, "", 10, true},
    {200, "Cache-Control: max-age=0\r\n", 10, true},
    {200, "Cache-Control: max-age=60\r\n", 2 * RIG_MIB, true},
    {302, "", 10, true},
    {404, "Cache-Control: private, max-age=60\r\n", 10, true},
    {404, "Cache-Control: private\r\n", 10, false},
    {429, "", 10, false},
    {500, "Cache-Control: no-store\r\n", 10, false},
    {503, "Cache-Control: no-store, max-age=60\r\n", 10, false},
};

Test(cache, update_that_is_not_stored_ends_what_is_unless_it_is_an_error)
{
    for (unsigned i = 0; i < sizeof updates / sizeof *updates; i++) {
        static struct ask stale, second, next;
        const char *path = arena_string(&rig.arena, arena_printf(&rig.arena, "/%u", i));
        rig.rules.hit_for_miss_s = 5;
        store(&rig, path, "", "Cache-Control: max-age=60, stale-while-revalidate=100000\r\n" TAG, 10);
        rig.now.s += 100;
        cr_assert_eq(ask_get(&rig, &stale, path), LOOKUP_STALE);
        cr_assert_eq(ask_get(&rig, &second, path), LOOKUP_STALE);
        cr_assert_eq(answer_head(&rig, &stale, updates[i].status, updates[i].fields, (int64_t)updates[i].length), ERROR_OK);
        enum lookup_outcome outcome = ask_get(&rig, &next, path);
        cr_expect_eq(outcome, updates[i].ends ? LOOKUP_PASS : LOOKUP_STALE, "%u: at once", i);
        close_all(&next);
        cr_expect_eq(read_all(&second), 10, "who has it goes on");
        close_all(&second);
        close_all(&stale);
        rig.now.s += 10;
        cr_expect_eq(ask_get(&rig, &next, path), updates[i].ends ? LOOKUP_FILL : LOOKUP_STALE, "%u: and for good", i);
        close_all(&next);
    }
}

Test(cache, update_that_outgrows_the_cache_ends_what_is_stored)
{
    static struct ask ask, next;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-while-revalidate=100000\r\n" TAG, 10);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_STALE);
    cr_assert_eq(answer_head(&rig, &ask, 200, FRESH, LENGTH_UNKNOWN), ERROR_OK);
    answer_body(&ask, 0, RIG_MIB);
    cr_assert_eq(ask_get(&rig, &next, "/a"), LOOKUP_STALE);
    close_all(&next);
    answer_body(&ask, RIG_MIB, 1);
    cr_assert_eq(ask_get(&rig, &next, "/a"), LOOKUP_FILL);
    close_all(&next);
    close_all(&ask);
}

Test(cache, update_that_is_not_stored_ends_its_variant_alone)
{
    static struct ask ask, other;
    const char *fields = "Cache-Control: max-age=60, stale-while-revalidate=100000\r\nVary: X-Kind\r\n" TAG;
    store(&rig, "/a", "X-Kind: 1\r\n", fields, 10);
    store(&rig, "/a", "X-Kind: 2\r\n", fields, 20);
    rig.now.s += 100;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", "X-Kind: 1\r\n", false), LOOKUP_STALE);
    answer(&rig, &ask, "Cache-Control: private\r\n", 10);
    close_all(&ask);
    cr_assert_neq(ask_with(&rig, &ask, METHOD_GET, "/a", "X-Kind: 1\r\n", false), LOOKUP_STALE);
    close_all(&ask);
    cr_assert_eq(ask_with(&rig, &other, METHOD_GET, "/a", "X-Kind: 2\r\n", false), LOOKUP_STALE);
    close_all(&other);
}

Test(cache, stale_while_revalidate_gives_one_caller_the_fill)
{
    static struct ask first, second, third;
    store(&rig, "/a", "", "Cache-Control: max-age=60, stale-while-revalidate=1000\r\n" TAG, 10);
    rig.now.s += 100;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_STALE);
    cr_assert_eq(first.lookup.ttl_s, -40);
    cr_assert_not_null(first.lookup.fill);
    cr_assert_not_null(fill_stale(first.lookup.fill));
    cr_assert(fill_is_wanted(first.lookup.fill), "though nobody reads it");
    cr_assert_eq(ask_get(&rig, &second, "/a"), LOOKUP_STALE);
    cr_assert_null(second.lookup.fill);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(read_all(&first), 10);
    answer(&rig, &first, FRESH, 20);
    cr_assert_eq(ask_get(&rig, &third, "/a"), LOOKUP_HIT);
    ask_head(&third);
    cr_assert_eq(read_all(&third), 20);
    cr_assert_eq(ask_head(&second), READER_HEAD_READY);
    cr_assert_eq(read_all(&second), 10);
    close_all(&first);
    close_all(&second);
    close_all(&third);
}

Test(cache, not_modified_that_may_not_be_stored_answers_its_originator)
{
    struct ask first, second;
    store(&rig, "/a", "", FRESH TAG, 10);
    rig.now.s += 100;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    cr_assert_eq(answer_head(&rig, &first, 304, "Cache-Control: no-store\r\n", 0), ERROR_OK);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_not(first.view.is_stored);
    cr_assert_eq(read_all(&first), 10);
    cr_assert_eq(ask_head(&second), READER_HEAD_RELEASED);
    cr_assert_eq(second.view.detail, DETAIL_NO_STORE);
    close_all(&first);
    close_all(&second);
    cr_assert_eq(rig_stats(&rig).objects, 0, "RFC 9111 §3.2: it applies to what is stored");
}

Test(cache, not_modified_for_one_client_alone_leaves_what_is_stored)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH TAG, 10);
    rig.now.s += 100;
    ask_with(&rig, &ask, METHOD_GET, "/a", "Authorization: Basic eDp5\r\n", false);
    cr_assert_eq(answer_head(&rig, &ask, 304, "", 0), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.detail, DETAIL_AUTHORIZATION);
    close_all(&ask);
    cr_assert_eq(rig_stats(&rig).objects, 1);
}

Test(cache, coding_that_variants_do_not_tell_apart_is_remembered)
{
    struct ask ask;
    rig.rules.hit_for_miss_s = 10;
    ask_get(&rig, &ask, "/a");
    answer(&rig, &ask, FRESH "Vary: Accept-Encoding\r\nContent-Encoding: foo\r\n", 10);
    close_all(&ask);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_PASS, "nobody waits for it");
        cr_assert_eq(ask.lookup.detail, DETAIL_HIT_FOR_MISS);
        answer(&rig, &ask, FRESH "Vary: Accept-Encoding\r\nContent-Encoding: foo\r\n", 10);
        close_all(&ask);
    }
}

/* ---- who joins, who passes ---- */

Test(cache, head_is_answered_from_a_stored_get)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_HEAD, "/a", "", false), LOOKUP_HIT);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.length, 1000);
    close_all(&ask);
}

Test(cache, head_of_something_stale_passes)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH TAG, 1000);
    rig.now.s += 100;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_HEAD, "/a", "", false), LOOKUP_PASS);
    cr_assert_eq(ask.lookup.fwd, FWD_STALE);
    cr_assert_null(fill_stale(ask.lookup.fill));
    close_all(&ask);
}

Test(cache, head_miss_does_not_join_a_get)
{
    struct ask get, head;
    ask_get(&rig, &get, "/a");
    cr_assert_eq(ask_with(&rig, &head, METHOD_HEAD, "/a", "", false), LOOKUP_PASS);
    cr_assert_eq(head.lookup.detail, DETAIL_HEAD_MISS);
    close_all(&head);
    close_all(&get);
}

Test(cache, late_request_joins_a_response_that_still_arrives)
{
    struct ask first, late;
    ask_get(&rig, &first, "/a");
    answer_head(&rig, &first, 200, FRESH, 1000);
    answer_body(&first, 0, 500);
    cr_assert_eq(ask_get(&rig, &late, "/a"), LOOKUP_JOIN);
    cr_assert_eq(ask_head(&late), READER_HEAD_READY);
    enum reader_state state;
    cr_assert_eq(read_body(&late, UINT64_MAX, &state), 500);
    answer_body(&first, 500, 500);
    fill_finish(&first.lookup.fill);
    cr_assert_eq(read_all(&late), 500);
    close_all(&first);
    close_all(&late);
}

Test(cache, late_request_does_not_join_what_it_could_not_reuse)
{
    struct ask first, early, late;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &early, "/a");
    answer_head(&rig, &first, 200, "Cache-Control: no-cache\r\n" TAG, 1000);
    cr_assert_eq(ask_head(&early), READER_HEAD_READY, "it was fetched after this request came");
    cr_assert_eq(ask_get(&rig, &late, "/a"), LOOKUP_PASS);
    cr_assert_eq(late.lookup.detail, DETAIL_NO_CACHE);
    close_all(&first);
    close_all(&early);
    close_all(&late);
}

Test(cache, only_if_cached_is_an_error_when_nothing_is)
{
    struct ask ask;
    rig.rules.honour_request_directives = true;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", "Cache-Control: only-if-cached\r\n", false), LOOKUP_ERROR);
    cr_assert_eq(ask.lookup.error, ERROR_ONLY_IF_CACHED);
    reader_close(&ask.reader);
    store(&rig, "/a", "", FRESH, 10);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", "Cache-Control: only-if-cached\r\n", false), LOOKUP_HIT);
    close_all(&ask);
}

Test(cache, request_that_wants_it_fresh_does_not_take_it_from_others)
{
    struct ask fresh, other;
    store(&rig, "/a", "", FRESH TAG, 10);
    rig.rules.honour_request_directives = true;
    cr_assert_eq(ask_with(&rig, &fresh, METHOD_GET, "/a", "Cache-Control: no-cache\r\n", false), LOOKUP_FILL);
    cr_assert_eq(fresh.lookup.fwd, FWD_REQUEST);
    cr_assert_eq(ask_get(&rig, &other, "/a"), LOOKUP_HIT);
    close_all(&other);
    close_all(&fresh);
}

Test(cache, is_private_passes_whatever_is_stored)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 10);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", "", true), LOOKUP_PASS);
    answer(&rig, &ask, FRESH, 99);
    close_all(&ask);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert_eq(ask.view.length, 10, "a private answer replaces nothing");
    close_all(&ask);
}

Test(cache, thousand_waiters_are_served_by_one_fill)
{
    enum { WAITERS = 1000 };
    static struct ask first, waiters[WAITERS];
    ask_get(&rig, &first, "/a");
    for (unsigned i = 0; i < WAITERS; i++) {
        cr_assert_eq(ask_get(&rig, &waiters[i], "/a"), LOOKUP_JOIN);
        cr_assert_eq(ask_head(&waiters[i]), READER_HEAD_WAIT);
    }
    cr_assert_eq(rig_stats(&rig).fills, 1);
    answer(&rig, &first, FRESH, 3000);
    for (unsigned i = 0; i < WAITERS; i++) {
        cr_assert_eq(waiters[i].reader_waker.count, 1);
        cr_assert_eq(ask_head(&waiters[i]), READER_HEAD_READY);
        cr_assert_eq(read_all(&waiters[i]), 3000);
        close_all(&waiters[i]);
    }
    close_all(&first);
}

Test(cache, empty_and_bodyless_responses_are_stored)
{
    struct ask ask;
    ask_get(&rig, &ask, "/204");
    answer_head(&rig, &ask, 204, FRESH, 0);
    fill_finish(&ask.lookup.fill);
    close_all(&ask);
    store(&rig, "/empty", "", FRESH, 0);
    cr_assert_eq(ask_get(&rig, &ask, "/204"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert_eq(ask.view.status, 204);
    cr_assert_eq(read_all(&ask), 0);
    close_all(&ask);
    cr_assert_eq(ask_get(&rig, &ask, "/empty"), LOOKUP_HIT);
    ask_head(&ask);
    cr_assert_eq(read_all(&ask), 0);
    close_all(&ask);
}
