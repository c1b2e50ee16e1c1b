/* RFC 9110 §9.3.3: the response to a POST that answers later GETs. */
#include "cache_rig.h"

#include "cache/purge.h"

#define SELF FRESH "Content-Location: /a\r\n"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(fill_post, .init = setup, .fini = teardown);

static void post(struct ask *ask, const char *request_fields)
{
    cr_assert_eq(ask_with(&rig, ask, METHOD_POST, "/a", request_fields, false), LOOKUP_PASS);
    cr_assert_eq(ask->lookup.fwd, FWD_METHOD);
    cr_assert_eq(ask->lookup.detail, DETAIL_METHOD);
}

/* A POST and all of its answer. */
static void post_and_answer(const char *fields, uint64_t length)
{
    struct ask ask;
    post(&ask, "");
    answer(&rig, &ask, fields, length);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), length);
    reader_close(&ask.reader);
}

/* What a GET gets: the length of a stored response, or -1. */
static int64_t stored_length(const char *request_fields)
{
    struct ask ask;
    int64_t length = -1;
    if (ask_with(&rig, &ask, METHOD_GET, "/a", request_fields, false) == LOOKUP_HIT) {
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        length = (int64_t)read_all(&ask);
    }
    if (ask.lookup.fill != NULL)
        fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    return length;
}

Test(fill_post, answers_get_and_head)
{
    struct ask head;
    post_and_answer(SELF, 10);
    cr_expect_eq(stored_length(""), 10);
    cr_expect_eq(ask_with(&rig, &head, METHOD_HEAD, "/a", "", false), LOOKUP_HIT);
    reader_close(&head.reader);
}

Test(fill_post, is_itself_never_answered_from_the_cache)
{
    struct ask ask;
    post_and_answer(SELF, 10);
    post(&ask, "");
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    cr_expect_eq(stored_length(""), 10, "one that failed changed nothing");
}

Test(fill_post, takes_the_place_of_what_is_stored)
{
    store(&rig, "/a", "", FRESH, 20);
    post_and_answer(SELF, 10);
    cr_expect_eq(stored_length(""), 10);
    post_and_answer(FRESH, 30);
    cr_expect_eq(stored_length(""), 10, "to invalidate is the request's concern");
}

Test(fill_post, leaves_the_key_alone_when_it_is_not_storable)
{
    static const char *const fields[] = {FRESH, "Content-Location: /a\r\n", "Cache-Control: no-store\r\nContent-Location: /a\r\n"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        post_and_answer(fields[i], 10);
        cr_expect_eq(stored_length(""), -1, "%s", fields[i]);
        struct ask ask;
        cr_expect_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL, "no hit-for-miss: %s", fields[i]);
        fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
        reader_close(&ask.reader);
    }
    cr_expect_eq(rig_stats(&rig).objects, 0);
}

/* RFC 9111 §4.1 */
Test(fill_post, varies_by_the_fields_of_the_post)
{
    struct ask ask;
    post(&ask, "X: 1\r\n");
    answer(&rig, &ask, SELF "Vary: X\r\n", 10);
    reader_close(&ask.reader);
    cr_expect_eq(stored_length("X: 1\r\n"), 10);
    cr_expect_eq(stored_length("X: 2\r\n"), -1);
    cr_expect_eq(stored_length(""), -1);
}

Test(fill_post, gets_join_once_its_head_is_there)
{
    struct ask ask, early, late;
    post(&ask, "");
    cr_assert_eq(ask_get(&rig, &early, "/a"), LOOKUP_FILL, "before, nobody can know");
    fill_fail(&early.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&early.reader);
    cr_assert_eq(answer_head(&rig, &ask, 200, SELF, 10), ERROR_OK);
    cr_assert_eq(ask_get(&rig, &late, "/a"), LOOKUP_JOIN);
    cr_assert_eq(answer_body(&ask, 0, 10), 10);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_head(&late), READER_HEAD_READY);
    cr_assert_eq(read_all(&late), 10);
    reader_close(&late.reader);
    reader_close(&ask.reader);
}

/* RFC 9111 §4.4: it may be from before the POST. */
Test(fill_post, what_was_being_fetched_is_not_stored)
{
    struct ask get, ask;
    cr_assert_eq(ask_get(&rig, &get, "/a"), LOOKUP_FILL);
    post_and_answer(SELF, 10);
    answer(&rig, &get, FRESH, 20);
    cr_assert_eq(ask_head(&get), READER_HEAD_READY);
    reader_close(&get.reader);
    cr_expect_eq(stored_length(""), 10);
    post(&ask, "");
    cr_assert_eq(answer_head(&rig, &ask, 200, SELF, 30), ERROR_OK);
    struct cache_key key = rig_key(&rig, "/a");
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
    cr_assert_eq(answer_body(&ask, 0, 30), 30);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_expect_eq(stored_length(""), -1, "what was purged after its head, too");
}

Test(fill_post, is_purged_by_what_is_purged_while_it_is_under_way)
{
    struct ask ask;
    post(&ask, "");
    cache_purge_tag(rig.cache, BYTES("t"), PURGE_HARD, rig.now);
    answer(&rig, &ask, SELF "Surrogate-Key: t\r\n", 10);
    reader_close(&ask.reader);
    cr_expect_eq(stored_length(""), -1);
    post_and_answer(SELF "Surrogate-Key: t\r\n", 10);
    cr_expect_eq(stored_length(""), 10);
    cache_purge_tag(rig.cache, BYTES("t"), PURGE_HARD, rig.now);
    cr_expect_eq(stored_length(""), -1);
}

Test(fill_post, is_wanted_by_its_client_alone_until_it_is_stored)
{
    struct ask ask;
    post(&ask, "");
    cr_expect(fill_is_wanted(ask.lookup.fill));
    reader_close(&ask.reader);
    cr_expect_not(fill_is_wanted(ask.lookup.fill));
    fill_fail(&ask.lookup.fill, ERROR_CLIENT_CLOSED);
    post(&ask, "");
    cr_assert_eq(answer_head(&rig, &ask, 200, SELF, 10), ERROR_OK);
    reader_close(&ask.reader);
    cr_expect(fill_is_wanted(ask.lookup.fill));
    cr_assert_eq(answer_body(&ask, 0, 10), 10);
    fill_finish(&ask.lookup.fill);
    cr_expect_eq(stored_length(""), 10);
}

Test(fill_post, truncated_it_is_not_stored)
{
    struct ask ask;
    post(&ask, "");
    cr_assert_eq(answer_head(&rig, &ask, 200, SELF, 10), ERROR_OK);
    cr_assert_eq(answer_body(&ask, 0, 5), 5);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_expect_eq(stored_length(""), -1);
}
