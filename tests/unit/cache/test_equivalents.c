/* No-Vary-Search in a cache: other URLs that a stored response answers. */
#include "tests/unit/cache/cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 8);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(equivalents, .init = setup, .fini = teardown);

static struct cache_key key_of(const char *host, const char *path, const char *query)
{
    return cache_key_build(&rig.hash_key, &rig.arena, BYTES("http"), bytes_from_string(host), bytes_from_string(path),
                           query == NULL ? BYTES_NONE : bytes_from_string(query));
}

static enum lookup_outcome ask_url(struct ask *ask, const char *host, const char *path, const char *query, const char *fields)
{
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    parse_fields(&rig, &ask->fields, fields);
    ask->lookup = (struct lookup){
        .key = key_of(host, path, query),
        .method = METHOD_GET,
        .fields = &ask->fields,
        .rules = &rig.rules,
        .now = rig.now,
        .visitor = rig.visitor,
        .reader_waker = &ask->reader_waker.waker,
    };
    cache_lookup(rig.cache, &ask->lookup, &ask->reader);
    if (ask->lookup.fill != NULL)
        fill_set_waker(ask->lookup.fill, &ask->fill_waker.waker);
    return ask->lookup.outcome;
}

static void store_url(const char *query, const char *request, const char *fields, uint64_t length)
{
    struct ask ask;
    cr_assert_eq(ask_url(&ask, "a.test", "/p", query, request), LOOKUP_FILL, "%s", query);
    answer(&rig, &ask, fields, length);
    reader_close(&ask.reader);
}

/* 0: a miss; else the length of the response that answers. */
static uint64_t answered_by(const char *host, const char *path, const char *query, const char *fields)
{
    struct ask ask;
    uint64_t length = 0;
    if (ask_url(&ask, host, path, query, fields) == LOOKUP_HIT) {
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        length = read_all(&ask);
    } else {
        fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    }
    reader_close(&ask.reader);
    return length;
}

static uint64_t by(const char *query)
{
    return answered_by("a.test", "/p", query, "");
}

#define NO_VARY(field) FRESH "No-Vary-Search: " field "\r\n"

Test(equivalents, what_differs_where_it_does_not_matter_is_a_hit)
{
    store_url("q=1&t=5", "", NO_VARY("params=(\"t\")"), 11);
    store_url("q=2", "", NO_VARY("params=(\"t\")"), 12);
    cr_assert_eq(by("q=1"), 11);
    cr_assert_eq(by("t&q=1&t=7"), 11);
    cr_assert_eq(by("q=2&t=8"), 12);
    cr_assert_eq(by("q=3"), 0);
    cr_assert_eq(by(NULL), 0);
    cr_assert_eq(by("q=1&x"), 0);
    cr_assert_eq(answered_by("b.test", "/p", "q=1", ""), 0);
    cr_assert_eq(answered_by("a.test", "/P", "q=1", ""), 0);
}

Test(equivalents, ones_own_response_comes_first)
{
    store_url("a", "", NO_VARY("except=()"), 11);
    cr_assert_eq(by("b"), 11);
    struct ask ask;
    struct cache_key key = key_of("a.test", "/p", "a");
    cr_assert(cache_purge(rig.cache, &key, PURGE_HARD, rig.now));
    store_url("b", "", NO_VARY("except=()"), 12);
    cr_assert_eq(by("a"), 12);
    cr_assert_eq(ask_url(&ask, "a.test", "/p", "b", ""), LOOKUP_HIT);
    reader_close(&ask.reader);
}

Test(equivalents, without_the_field_queries_are_their_bytes)
{
    store_url("a=1", "", FRESH, 11);
    store_url("%61=1", "", FRESH, 12);
    cr_assert_eq(by("a=1"), 11);
    cr_assert_eq(by("a=1&"), 0);
}

Test(equivalents, a_stored_response_is_judged_by_its_own_field)
{
    store_url("q=1", "", FRESH, 11);
    store_url("q=2&t=1", "", NO_VARY("params=(\"t\")"), 12);
    cr_assert_eq(by("q=1&t=1"), 0, "it did not say so of itself");
    cr_assert_eq(by("q=2"), 12);
}

Test(equivalents, what_is_stale_does_not_answer_for_another)
{
    struct ask ask;
    store_url("a", "", NO_VARY("except=()") "ETag: \"1\"\r\nCache-Control: stale-while-revalidate=100\r\n", 11);
    rig.now.s += 61;
    cr_assert_eq(ask_url(&ask, "a.test", "/p", "b", ""), LOOKUP_FILL);
    cr_assert_null(fill_stale(ask.lookup.fill), "the other URL's validator");
    answer(&rig, &ask, FRESH, 12);
    reader_close(&ask.reader);
    cr_assert_eq(by("b"), 12);
}

Test(equivalents, variants_are_selected_as_always)
{
    store_url("a", "X: 1\r\n", NO_VARY("except=()") "Vary: X\r\n", 11);
    cr_assert_eq(answered_by("a.test", "/p", "b", "X: 1\r\n"), 11);
    cr_assert_eq(answered_by("a.test", "/p", "b", "X: 2\r\n"), 0);
}

Test(equivalents, a_purge_of_any_of_them_is_a_purge_of_what_answers)
{
    static const char *const queries[] = {"a", "b"};
    for (unsigned soft = 0; soft < 2; soft++) {
        for (unsigned i = 0; i < 2; i++) {
            struct cache_key key = key_of("a.test", "/p", queries[i]), stored = key_of("a.test", "/p", "a");
            store_url("a", "", NO_VARY("except=()"), 11);
            cr_assert_eq(by("b"), 11);
            cr_assert(cache_purge(rig.cache, &key, soft ? PURGE_SOFT : PURGE_HARD, rig.now));
            cr_assert_eq(by("a"), 0);
            cr_assert_eq(by("b"), 0);
            cache_purge(rig.cache, &stored, PURGE_HARD, rig.now);
        }
    }
}

Test(equivalents, a_purge_of_everything_counts)
{
    store_url("a", "", NO_VARY("except=()"), 11);
    cache_purge_all(rig.cache, PURGE_HARD, rig.now);
    cr_assert_eq(by("b"), 0);
}

Test(equivalents, what_is_being_fetched_answers_nobody_else)
{
    struct ask first, other;
    cr_assert_eq(ask_url(&first, "a.test", "/p", "a", ""), LOOKUP_FILL);
    cr_assert_eq(answer_head(&rig, &first, 200, NO_VARY("except=()"), 10), ERROR_OK);
    cr_assert_eq(ask_url(&other, "a.test", "/p", "b", ""), LOOKUP_FILL);
    answer(&rig, &other, NO_VARY("except=()"), 20);
    cr_assert_eq(answer_body(&first, 0, 10), 10);
    fill_finish(&first.lookup.fill);
    reader_close(&first.reader);
    reader_close(&other.reader);
}

Test(equivalents, many_paths_and_keys_are_bounded_and_never_mixed_up)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            char path[16];
            struct ask ask;
            sprintf(path, "/%u", i);
            enum lookup_outcome outcome = ask_url(&ask, "a.test", path, round == 0 ? "a" : "b", "");
            if (outcome == LOOKUP_HIT) {
                cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
                cr_assert_eq(read_all(&ask), 100 + i);
            } else if (round == 0) {
                answer(&rig, &ask, NO_VARY("except=()"), 100 + i);
            } else {
                fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
            }
            reader_close(&ask.reader);
        }
    }
}
