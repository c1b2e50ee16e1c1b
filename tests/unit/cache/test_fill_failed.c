/* What becomes of those who wait for a fill that brings an error, or nothing. */
#include "tests/unit/cache/cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 8);
    rig.rules.hit_for_miss_s = 10;
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(fill_failed, .init = setup, .fini = teardown);

#define STALE_IF_ERROR "Cache-Control: max-age=60, stale-if-error=100\r\nETag: \"1\"\r\n"

Test(fill_failed, an_error_status_is_its_originators_and_a_failure_to_the_others)
{
    static const unsigned statuses[] = {500, 502, 503, 504};
    for (size_t i = 0; i < 4; i++) {
        struct ask first, other;
        cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
        cr_assert_eq(ask_get(&rig, &other, "/a"), LOOKUP_JOIN);
        cr_assert_eq(ask_head(&other), READER_HEAD_WAIT);
        cr_assert_eq(answer_head(&rig, &first, statuses[i], "", 10), ERROR_OK);
        cr_assert_eq(other.reader_waker.count, 1);
        cr_assert_eq(ask_head(&other), READER_HEAD_FAILED);
        cr_assert_eq(other.error, ERROR_ORIGIN_ERROR);
        reader_close(&other.reader);
        cr_assert_eq(answer_body(&first, 0, 10), 10);
        fill_finish(&first.lookup.fill);
        cr_assert_eq(ask_head(&first), READER_HEAD_READY);
        cr_assert_eq(first.view.status, statuses[i]);
        cr_assert_eq(read_all(&first), 10);
        reader_close(&first.reader);
    }
}

Test(fill_failed, another_status_that_is_not_stored_releases_them)
{
    static const unsigned statuses[] = {302, 400, 403, 429, 501, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char path[8];
        struct ask first, other;
        sprintf(path, "/%zu", i);
        cr_assert_eq(ask_get(&rig, &first, path), LOOKUP_FILL);
        cr_assert_eq(ask_get(&rig, &other, path), LOOKUP_JOIN);
        cr_assert_eq(answer_head(&rig, &first, statuses[i], "Cache-Control: no-store\r\n", 0), ERROR_OK);
        cr_assert_eq(ask_head(&other), READER_HEAD_RELEASED, "%u", statuses[i]);
        reader_close(&other.reader);
        fill_finish(&first.lookup.fill);
        reader_close(&first.reader);
    }
}

Test(fill_failed, one_that_may_be_stored_is_for_all)
{
    struct ask first, other;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
    cr_assert_eq(ask_get(&rig, &other, "/a"), LOOKUP_JOIN);
    cr_assert_eq(answer_head(&rig, &first, 503, FRESH, 0), ERROR_OK);
    cr_assert_eq(ask_head(&other), READER_HEAD_READY);
    cr_assert_eq(other.view.status, 503);
    fill_finish(&first.lookup.fill);
    reader_close(&first.reader);
    reader_close(&other.reader);
}

/* All of them, whatever they asked by; `status` 0: the fetch fails. */
static void check_stale_on_error(unsigned status, const char *stored, bool is_allowed)
{
    struct ask asks[3];
    static const enum method methods[] = {METHOD_GET, METHOD_GET, METHOD_HEAD};
    static const enum lookup_outcome outcomes[] = {LOOKUP_FILL, LOOKUP_JOIN, LOOKUP_PASS};
    store(&rig, "/a", "", stored, 10);
    rig.now.s += 61;
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask_with(&rig, &asks[i], methods[i], "/a", "", false), outcomes[i], "%u", i);
    cr_assert_null(fill_stale(asks[2].lookup.fill), "the client's own conditions are the ones that go out");
    for (unsigned i = 0; i < 3; i += 2) {
        if (status == 0)
            fill_fail(&asks[i].lookup.fill, ERROR_ORIGIN_CLOSED);
        else
            cr_assert_eq(answer_head(&rig, &asks[i], status, "", 0), ERROR_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        enum reader_head head = ask_head(&asks[i]);
        cr_assert_eq(head, is_allowed || (status != 0 && i != 1) ? READER_HEAD_READY : READER_HEAD_FAILED, "%u: %s", i, stored);
        if (head == READER_HEAD_READY) {
            cr_assert_eq(asks[i].view.source, is_allowed ? SOURCE_STALE_ON_ERROR : SOURCE_FETCHED, "%u", i);
            cr_assert_eq(asks[i].view.status, is_allowed ? 200 : status);
        }
        if (asks[i].lookup.fill != NULL)
            fill_finish(&asks[i].lookup.fill);
        reader_close(&asks[i].reader);
    }
    rig.now.s -= 61;
    struct cache_key key = rig_key(&rig, "/a");
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
}

Test(fill_failed, what_is_stale_answers_where_that_is_allowed)
{
    static const unsigned troubles[] = {0, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        check_stale_on_error(troubles[i], STALE_IF_ERROR, true);
        check_stale_on_error(troubles[i], "Cache-Control: max-age=60\r\nETag: \"1\"\r\n", false);
        check_stale_on_error(troubles[i], "Cache-Control: max-age=60, must-revalidate, stale-if-error=100\r\nETag: \"1\"\r\n", false);
        check_stale_on_error(troubles[i], "Cache-Control: max-age=60, stale-if-error=1\r\nETag: \"1\"\r\n", false);
    }
}

Test(fill_failed, what_is_stale_answers_for_a_key_that_is_not_storable_now)
{
    struct ask ask;
    store(&rig, "/a", "", STALE_IF_ERROR, 10);
    rig.now.s += 61;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_eq(answer_head(&rig, &ask, 404, "Cache-Control: private\r\n", 0), ERROR_OK);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_PASS);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.source, SOURCE_STALE_ON_ERROR);
    reader_close(&ask.reader);
}

Test(fill_failed, a_304_to_the_clients_own_condition_is_passed_on)
{
    struct ask ask;
    store(&rig, "/a", "", STALE_IF_ERROR, 10);
    rig.now.s += 61;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_HEAD, "/a", "If-None-Match: \"1\"\r\n", false), LOOKUP_PASS);
    cr_assert_eq(answer_head(&rig, &ask, 304, "ETag: \"1\"\r\n", 0), ERROR_OK);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.view.status, 304);
    reader_close(&ask.reader);
}

/* ---- a fill that takes long ---- */

Test(fill_failed, the_stale_response_can_be_taken_while_the_fill_goes_on)
{
    struct ask first, other, later;
    store(&rig, "/a", "", STALE_IF_ERROR, 10);
    rig.now.s += 61;
    cr_assert_eq(ask_get(&rig, &first, "/a"), LOOKUP_FILL);
    cr_assert_eq(ask_get(&rig, &other, "/a"), LOOKUP_JOIN);
    cr_assert_eq(ask_head(&first), READER_HEAD_WAIT);
    cr_assert_eq(ask_head(&other), READER_HEAD_WAIT);
    struct ask *both[] = {&first, &other};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(reader_take_stale(&both[i]->reader));
        cr_assert_eq(ask_head(both[i]), READER_HEAD_READY);
        cr_assert_eq(both[i]->view.source, SOURCE_STALE_ON_DELAY);
        cr_assert_not(reader_take_stale(&both[i]->reader), "once");
    }
    cr_assert(fill_is_wanted(first.lookup.fill));
    cr_assert_eq(ask_get(&rig, &later, "/a"), LOOKUP_JOIN);
    answer(&rig, &first, FRESH, 20);
    cr_assert_eq(first.reader_waker.count + other.reader_waker.count, 0, "who left is not woken");
    cr_assert_eq(ask_head(&later), READER_HEAD_READY);
    cr_assert_eq(read_all(&later), 20);
    cr_assert_eq(read_all(&first), 10);
    cr_assert_eq(read_all(&other), 10);
    reader_close(&first.reader);
    reader_close(&other.reader);
    reader_close(&later.reader);
    cr_assert_eq(ask_get(&rig, &later, "/a"), LOOKUP_HIT);
    reader_close(&later.reader);
}

Test(fill_failed, the_stale_response_cannot_be_taken_where_that_is_forbidden)
{
    static const char *const stored[] = {
        "Cache-Control: max-age=60\r\nETag: \"1\"\r\n",
        "Cache-Control: max-age=60, stale-if-error=1\r\nETag: \"1\"\r\n",
        "Cache-Control: max-age=60, stale-if-error=100, must-revalidate\r\nETag: \"1\"\r\n",
        "Cache-Control: s-maxage=60, stale-if-error=100\r\nETag: \"1\"\r\n",
        "Cache-Control: no-cache, stale-if-error=100\r\nETag: \"1\"\r\n",
    };
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        struct ask ask;
        char path[8];
        sprintf(path, "/%zu", i);
        store(&rig, path, "", stored[i], 10);
        rig.now.s += 61;
        cr_assert_eq(ask_get(&rig, &ask, path), LOOKUP_FILL);
        cr_assert_not(reader_take_stale(&ask.reader), "%s", stored[i]);
        cr_assert_eq(ask_head(&ask), READER_HEAD_WAIT);
        answer(&rig, &ask, FRESH, 20);
        cr_assert_not(reader_take_stale(&ask.reader), "the head is there");
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        reader_close(&ask.reader);
        rig.now.s -= 61;
    }
}

Test(fill_failed, there_is_no_stale_response_of_a_miss)
{
    struct ask ask;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_not(reader_take_stale(&ask.reader));
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
}
