#include "tests/unit/cache/cache_rig.h"

/* ---- the table ---- */

static struct unstorable table;
static struct purge_table purges;

static struct wall_seconds at(int64_t second)
{
    return (struct wall_seconds){RIG_NOW + second};
}

static void table_setup(void)
{
    unstorable_init(&table);
    purge_table_init(&purges);
}

static void table_teardown(void)
{
    unstorable_free(&table);
    purge_table_free(&purges);
}

TestSuite(unstorable_table, .init = table_setup, .fini = table_teardown);

static bool has(uint64_t name, struct wall_seconds now)
{
    return unstorable_has(&table, &purges, name, now);
}

static void add(uint64_t name, struct wall_seconds until)
{
    unstorable_add(&table, &(struct unstorable_mark){.name = name, .until = until});
}

/* Names of one set. */
static uint64_t name_in_set(unsigned set, unsigned i)
{
    return (uint64_t)(i + 1) << 32 | set;
}

Test(unstorable_table, a_name_is_remembered_until_its_time)
{
    cr_assert_not(has(77, at(0)));
    add(77, at(10));
    cr_assert(has(77, at(0)));
    cr_assert(has(77, at(9)));
    cr_assert_not(has(77, at(10)));
    add(77, at(20));
    cr_assert(has(77, at(19)), "it may be prolonged");
    unstorable_remove(&table, 77);
    cr_assert_not(has(77, at(0)));
}

Test(unstorable_table, for_no_time_is_not_at_all)
{
    add(77, at(0));
    cr_assert_not(has(77, at(0)));
}

Test(unstorable_table, names_are_told_apart)
{
    add(name_in_set(3, 1), at(10));
    cr_assert_not(has(name_in_set(3, 2), at(0)));
    cr_assert_not(has(name_in_set(4, 1), at(0)));
    unstorable_remove(&table, name_in_set(3, 2));
    cr_assert(has(name_in_set(3, 1), at(0)));
}

Test(unstorable_table, in_a_full_set_the_one_that_ends_first_gives_way)
{
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++)
        add(name_in_set(3, i), at(100 + (i + 5) % UNSTORABLE_WAYS));
    add(name_in_set(3, 50), at(100));
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++)
        cr_assert_eq(has(name_in_set(3, i), at(0)), (i + 5) % UNSTORABLE_WAYS != 0, "%u", i);
    cr_assert(has(name_in_set(3, 50), at(0)));
}

Test(unstorable_table, one_that_is_there_is_prolonged_in_its_place)
{
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++)
        add(name_in_set(3, i), at(100 + i));
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++)
        add(name_in_set(3, UNSTORABLE_WAYS - 1), at(200 + i));
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++)
        cr_assert(has(name_in_set(3, i), at(0)), "%u", i);
}

/* Whether a mark with `count` of the names 1, 2, 3… is there after a purge of `purged` (0: of everything). */
static bool survives(uint32_t count, uint64_t purged, enum purge_kind kind)
{
    static const uint64_t names[] = {1, 2, 3};
    const struct unstorable_mark mark = {77, at(10), purge_sequence(&purges), names, count};
    unstorable_add(&table, &mark);
    cr_assert(has(77, at(0)));
    if (purged != 0)
        purge_add(&purges, purged, kind, at(0));
    else
        purge_add_all(&purges, kind, at(0));
    return has(77, at(0));
}

Test(unstorable_table, a_purge_of_what_it_can_be_purged_by_ends_it)
{
    for (unsigned kind = PURGE_HARD; kind <= PURGE_SOFT; kind++) {
        cr_expect_not(survives(1, 0, kind));
        cr_expect_not(survives(1, 1, kind));
        cr_expect(survives(1, 2, kind), "another one's");
        cr_expect_not(survives(2, 2, kind));
        cr_expect(survives(2, 3, kind));
        cr_expect_not(survives(3, 3, kind));
        cr_expect_not(survives(3, 4, kind), "not every name was kept");
    }
}

Test(unstorable_table, with_credentials_is_another_name)
{
    cr_assert_neq(unstorable_name(5, true), unstorable_name(5, false));
    cr_assert_neq(unstorable_name(0, false), 0);
    cr_assert_neq(unstorable_name(UINT64_MAX, true), 0);
}

/* ---- in a cache ---- */

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, 64 * 1024, 8);
    rig.rules.hit_for_miss_s = 10;
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(unstorable, .init = setup, .fini = teardown);

/* Fetches; the answer has a body of `length` bytes. */
static void fetch(const char *request_fields, const char *fields, uint64_t length, enum lookup_outcome outcome)
{
    struct ask ask;
    enum reader_state state;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", request_fields, false), outcome);
    cr_assert_eq(answer_head(&rig, &ask, 200, fields, LENGTH_UNKNOWN), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    for (uint64_t done = 0; done < length;) {
        done += answer_body(&ask, done, length - done < 4096 ? length - done : 4096);
        read_body(&ask, done - ask.reader.position, &state);
    }
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
}

static enum lookup_outcome outcome_of(const char *path, const char *fields)
{
    struct ask ask;
    enum lookup_outcome outcome = ask_with(&rig, &ask, METHOD_GET, path, fields, false);
    if (outcome == LOOKUP_PASS)
        cr_assert_eq(ask.lookup.detail, DETAIL_HIT_FOR_MISS);
    if (ask.lookup.fill != NULL)
        fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    return outcome;
}

#define PRIVATE "Cache-Control: private\r\n"

Test(unstorable, who_comes_after_a_private_response_does_not_wait)
{
    struct ask asks[3];
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask_get(&rig, &asks[i], "/a"), LOOKUP_PASS);
        cr_assert_eq(asks[i].lookup.detail, DETAIL_HIT_FOR_MISS);
        cr_assert_eq(asks[i].lookup.fwd, FWD_URI_MISS);
        cr_assert_not(asks[i].lookup.collapsed);
    }
    cr_assert_eq(outcome_of("/b", ""), LOOKUP_FILL, "other keys are not concerned");
    for (unsigned i = 0; i < 3; i++) {
        answer(&rig, &asks[i], PRIVATE, 10);
        cr_assert_eq(ask_head(&asks[i]), READER_HEAD_READY);
        cr_assert_eq(read_all(&asks[i]), 10);
        reader_close(&asks[i].reader);
    }
}

Test(unstorable, it_is_forgotten_after_its_time)
{
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    rig.now.s += 9;
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS);
    rig.now.s += 1;
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

Test(unstorable, a_site_may_switch_it_off)
{
    rig.rules.hit_for_miss_s = 0;
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

Test(unstorable, a_storable_response_ends_it)
{
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    fetch("", PRIVATE, 10, LOOKUP_PASS);
    fetch("", FRESH, 10, LOOKUP_PASS);
    fetch("", FRESH, 10, LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_HIT);
}

Test(unstorable, a_purge_ends_it)
{
    struct cache_key key = rig_key(&rig, "/a");
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    fetch("Authorization: x\r\n", FRESH, 10, LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", "Authorization: x\r\n"), LOOKUP_PASS);
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", "Authorization: x\r\n"), LOOKUP_FILL);
}

static void purge_host(const char *host, enum purge_kind kind)
{
    cache_purge_host(rig.cache, bytes_from_string(host), kind, rig.now);
}

Test(unstorable, a_purge_of_the_host_or_of_everything_ends_it)
{
    for (unsigned kind = PURGE_HARD; kind <= PURGE_SOFT; kind++) {
        fetch("", PRIVATE, 10, LOOKUP_FILL);
        purge_host("elsewhere.test", kind);
        cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS);
        purge_host("example.com", kind);
        cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
        fetch("", PRIVATE, 10, LOOKUP_FILL);
        cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS, "it may be made again");
        cache_purge_all(rig.cache, kind, rig.now);
        cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
    }
}

Test(unstorable, a_purge_by_tag_ends_it)
{
    fetch("", PRIVATE "Surrogate-Key: one\r\n", 10, LOOKUP_FILL);
    cache_purge_tag(rig.cache, BYTES("two"), PURGE_HARD, rig.now);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS);
    cache_purge_tag(rig.cache, BYTES("one"), PURGE_HARD, rig.now);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
    fetch("", FRESH "Surrogate-Key: one\r\n", 100 * 1024, LOOKUP_FILL); /* found out at its body */
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS);
    cache_purge_tag(rig.cache, BYTES("one"), PURGE_HARD, rig.now);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

/* What arrives after a purge may have been sent before it. */
Test(unstorable, what_was_asked_for_before_a_purge_is_not_remembered)
{
    struct cache_key key = rig_key(&rig, "/a");
    for (unsigned i = 0; i < 3; i++) {
        struct ask ask;
        cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
        if (i == 0)
            cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
        else if (i == 1)
            purge_host("example.com", PURGE_HARD);
        else
            cache_purge_all(rig.cache, PURGE_SOFT, rig.now);
        answer(&rig, &ask, PRIVATE, 10);
        reader_close(&ask.reader);
        cr_expect_eq(outcome_of("/a", ""), LOOKUP_FILL, "%u", i);
    }
}

Test(unstorable, what_one_with_credentials_got_says_nothing_about_others)
{
    fetch("Authorization: x\r\n", FRESH, 10, LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", "Authorization: y\r\n"), LOOKUP_PASS);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

Test(unstorable, what_outgrew_the_limit_is_remembered)
{
    fetch("", FRESH, 100 * 1024, LOOKUP_FILL);
    fetch("", FRESH, 100 * 1024, LOOKUP_PASS);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS, "its head alone does not make it storable");
    fetch("", FRESH, 1024, LOOKUP_PASS);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

Test(unstorable, a_failure_is_not_remembered)
{
    struct ask ask;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_FILL);
}

Test(unstorable, it_takes_the_place_of_what_was_stored)
{
    store(&rig, "/a", "", "Cache-Control: max-age=60\r\nETag: \"1\"\r\n", 10);
    rig.now.s += 61;
    fetch("", PRIVATE, 10, LOOKUP_FILL);
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS);
    rig.now.s -= 61;
    cr_assert_eq(outcome_of("/a", ""), LOOKUP_PASS, "it would be fresh, were it still there");
}

Test(unstorable, variants_are_remembered_apart)
{
    struct ask ask;
    store(&rig, "/a", "X: 1\r\n", FRESH "Vary: X\r\n", 10);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", "X: 2\r\n", false), LOOKUP_FILL);
    answer(&rig, &ask, PRIVATE, 10);
    reader_close(&ask.reader);
    cr_assert_eq(outcome_of("/a", "X: 1\r\n"), LOOKUP_HIT);
    cr_assert_eq(outcome_of("/a", "X: 2\r\n"), LOOKUP_PASS);
    cr_assert_eq(outcome_of("/a", "X: 3\r\n"), LOOKUP_FILL);
}

static const struct {
    const char *fields;
    bool lasts;
} answers[] = {
    {PRIVATE, true},
    {"Cache-Control: no-store\r\n", true},
    {FRESH "Set-Cookie: a=b\r\n", true},
    {FRESH "Vary: *\r\n", true},
    {"", true},
    {"Cache-Control: max-age=0\r\n", true},
    {FRESH, false},
    {"Cache-Control: no-cache\r\nETag: \"1\"\r\n", false},
};

Test(unstorable, by_what_the_response_says)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct cache_key key = rig_key(&rig, "/a");
        cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
        fetch("", answers[i].fields, 10, LOOKUP_FILL);
        cr_expect_eq(outcome_of("/a", "") == LOOKUP_PASS, answers[i].lasts, "%s", answers[i].fields);
    }
}
