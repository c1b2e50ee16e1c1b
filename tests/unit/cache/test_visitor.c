#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(16 * RIG_MIB, RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(visitor, .init = setup, .fini = teardown);

static void hit(struct ask *ask, const char *path)
{
    cr_assert_eq(ask_get(&rig, ask, path), LOOKUP_HIT);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
}

static uint32_t references(const struct ask *ask)
{
    return ref_count(&ask->reader.object->refs);
}

static uint64_t used_bytes(void)
{
    struct slab_stats stats;
    slab_stats(rig.slab, &stats);
    return stats.allocated;
}

static void check_whole(struct ask *ask, uint64_t length)
{
    enum reader_state state;
    cr_assert_eq(read_body(ask, length + 1, &state), length);
    cr_assert_eq(state, READER_END);
}

Test(visitor, hit_takes_no_reference)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    hit(&ask, "/a");
    cr_assert_eq(references(&ask), 1); /* the index's */
    cr_assert_eq(rig.visitor->reader, &ask.reader);
    check_whole(&ask, 1000);
    reader_close(&ask.reader);
    cr_assert_eq(rig.visitor->place, 0);
}

Test(visitor, variant_takes_none_either)
{
    static const char varies[] = "Cache-Control: max-age=1000\r\nVary: X-Want\r\n";
    struct ask ask;
    store(&rig, "/v", "X-Want: 1\r\n", varies, 500);
    store(&rig, "/v", "X-Want: 2\r\n", varies, 700);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/v", "X-Want: 2\r\n", false), LOOKUP_HIT);
    cr_assert_eq(references(&ask), 1);
    cr_assert_eq(ref_count(&object_selector(ask.reader.object)->refs), 3); /* the index's, and its two variants' */
    check_whole(&ask, 700);
    reader_close(&ask.reader);
}

Test(visitor, without_one_a_hit_takes_a_reference)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    visitor_free(rig.cache, &rig.visitor);
    hit(&ask, "/a");
    cr_assert_eq(references(&ask), 2);
    reader_close(&ask.reader);
}

static void check_taken_away(void (*take_away)(void))
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 100000);
    hit(&ask, "/a");
    take_away();
    cr_assert_eq(rig_stats(&rig).objects, 0);
    cr_assert_eq(references(&ask), 1, "its own now");
    cr_assert_geq(used_bytes(), 100000);
    store(&rig, "/b", "", FRESH, 100000); /* finds other memory */
    check_whole(&ask, 100000);
    uint64_t before = used_bytes();
    reader_close(&ask.reader);
    cr_assert_leq(used_bytes(), before - 100000);
}

static void purge(void)
{
    struct cache_key key = rig_key(&rig, "/a");
    cr_assert(cache_purge(rig.cache, &key, PURGE_HARD, rig.now));
}

static void evict(void)
{
    cr_assert_gt(evict_one(rig.cache), 0);
}

Test(visitor, purged_while_it_is_read_is_freed_at_the_end)
{
    check_taken_away(purge);
}

Test(visitor, evicted_while_it_is_read_is_freed_at_the_end)
{
    check_taken_away(evict);
}

Test(visitor, freed_at_once_when_nobody_reads_it)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 100000);
    hit(&ask, "/a");
    reader_close(&ask.reader);
    evict();
    cr_assert_eq(used_bytes(), 0);
}

Test(visitor, next_lookup_gives_the_open_reader_a_reference)
{
    struct ask first, second;
    store(&rig, "/a", "", FRESH, 1000);
    store(&rig, "/b", "", FRESH, 2000);
    hit(&first, "/a");
    hit(&second, "/b");
    cr_assert_eq(references(&first), 2);
    cr_assert_eq(references(&second), 1);
    cr_assert_eq(rig.visitor->reader, &second.reader);
    purge();
    check_whole(&first, 1000);
    check_whole(&second, 2000);
    reader_close(&second.reader);
    reader_close(&first.reader);
}

Test(visitor, same_response_for_two_readers)
{
    struct ask first, second;
    store(&rig, "/a", "", FRESH, 1000);
    hit(&first, "/a");
    hit(&second, "/a");
    cr_assert_eq(references(&first), 2);
    purge();
    cr_assert_eq(references(&first), 2);
    reader_close(&first.reader);
    check_whole(&second, 1000);
    reader_close(&second.reader);
    cr_assert_eq(used_bytes(), 0);
}

Test(visitor, kept_after_it_was_taken_away_has_one_reference)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    hit(&ask, "/a");
    purge();
    reader_keep(&ask.reader);
    cr_assert_eq(references(&ask), 1);
    reader_keep(&ask.reader);
    cr_assert_eq(references(&ask), 1);
    check_whole(&ask, 1000);
    reader_close(&ask.reader);
    cr_assert_eq(used_bytes(), 0);
}

Test(visitor, stale_and_purged_are_not_served)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    rig.now.s += 2000;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_eq(rig.visitor->place, 0);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    reader_close(&ask.reader);
    rig.now.s -= 2000;
    cache_purge_all(rig.cache, PURGE_HARD, rig.now);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    cr_assert_eq(rig.visitor->place, 0);
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_REFUSED);
    reader_close(&ask.reader);
}

Test(visitor, each_has_a_place_of_its_own)
{
    struct visitor *other = visitor_new(rig.cache), *mine = rig.visitor;
    struct ask first, second;
    store(&rig, "/a", "", FRESH, 1000);
    hit(&first, "/a");
    rig.visitor = other;
    hit(&second, "/a");
    rig.visitor = mine;
    cr_assert_eq(references(&first), 1);
    purge();
    cr_assert_eq(references(&first), 2);
    reader_close(&first.reader);
    check_whole(&second, 1000);
    reader_close(&second.reader);
    cr_assert_eq(used_bytes(), 0);
    visitor_free(rig.cache, &other);
    other = visitor_new(rig.cache);
    visitor_free(rig.cache, &other);
    cr_assert_eq(rig.cache->visitors.count, 2, "places are used again");
}

Test(visitor, hits_count_for_sizing)
{
    struct sizing_report report;
    struct ask ask;
    store(&rig, "/a", "", FRESH, 1000);
    for (unsigned i = 0; i < 3 * VISIT_NOTES; i++) {
        hit(&ask, "/a");
        reader_close(&ask.reader);
    }
    cache_sizing(rig.cache, &report);
    cr_assert_eq(report.requests, 3 * VISIT_NOTES + 1);
    cr_assert_eq(rig.visitor->notes_count, 0, "they were told of");
}
