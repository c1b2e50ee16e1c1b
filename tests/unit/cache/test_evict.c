/* Eviction: who goes, who stays, and that every byte is accounted for. */
#include "cache_rig.h"

#include <sys/stat.h>

static struct rig rig;

static void setup(void)
{
    rig = rig_new(RIG_MIB, RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(evict, .init = setup, .fini = teardown);

static const char *path_of(const char *prefix, unsigned number)
{
    return arena_string(&rig.arena, arena_printf(&rig.arena, "/%s/%u", prefix, number));
}

static bool is_stored(const char *path)
{
    struct ask ask;
    bool hit = ask_get(&rig, &ask, path) == LOOKUP_HIT;
    if (!hit)
        fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    return hit;
}

static void check_accounts(void)
{
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_eq(stats.slab.bytes, stats.slab.allocated + stats.slab.free_in_pages + stats.slab.free_pages * SLAB_PAGE_BYTES);
    cr_assert_eq(stats.object_bytes, stats.slab.allocated, "nothing is under way: all that is allocated can be found");
    cr_assert_eq(stats.objects, objects_in_use(rig.cache));
}

Test(evict, full_cache_makes_room_for_what_comes)
{
    for (unsigned i = 0; i < 300; i++) {
        store(&rig, path_of("a", i), "", FRESH, 100 + i * 997 % 60000);
        check_accounts();
    }
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_gt(stats.evictions, 200);
    cr_assert_gt(stats.evicted_bytes, 4 * RIG_MIB);
    cr_assert_eq(stats.admission_failures, 0);
    cr_assert_eq(stats.objects + stats.evictions, 300);
    cr_assert(is_stored(path_of("a", 299)));
    cr_assert_not(is_stored(path_of("a", 0)));
}

Test(evict, what_is_asked_for_often_survives_a_flood_of_one_hit_wonders)
{
    for (unsigned i = 0; i < 10; i++)
        store(&rig, path_of("hot", i), "", FRESH, 10000);
    for (unsigned i = 0; i < 400; i++) {
        store(&rig, path_of("once", i), "", FRESH, 10000);
        for (unsigned j = 0; j < 10 && i % 20 == 0; j++)
            cr_assert(is_stored(path_of("hot", j)), "%u after %u", j, i);
    }
}

Test(evict, what_comes_back_soon_is_kept_longer)
{
    store(&rig, "/ghost", "", FRESH, 10000);
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_not(is_stored("/ghost"));
    store(&rig, "/ghost", "", FRESH, 10000); /* remembered: it enters main */
    for (unsigned i = 0; i < 120; i++)
        store(&rig, path_of("once", i), "", FRESH, 10000);
    cr_assert_gt(rig_stats(&rig).evictions, 20);
    cr_assert(is_stored("/ghost"));
}

Test(evict, what_comes_back_late_is_as_good_as_new)
{
    store(&rig, "/late", "", FRESH, 10000);
    cr_assert_gt(evict_one(rig.cache), 0);
    for (unsigned i = 0; i < 240; i++) /* more are evicted than are held */
        store(&rig, path_of("once", i), "", FRESH, 10000);
    cr_assert_gt(rig_stats(&rig).evictions, rig_stats(&rig).objects);
    store(&rig, "/late", "", FRESH, 10000);
    for (unsigned i = 0; i < 120; i++)
        store(&rig, path_of("again", i), "", FRESH, 10000);
    cr_assert_not(is_stored("/late"));
}

/* The heads of the large ones share a page that is nearly empty: giving that up would lose them all. */
Test(evict, page_is_found_by_policy_before_one_is_emptied_whatever_is_on_it)
{
    enum { SMALL = 200, LARGE_BYTES = 62000 };
    unsigned large = 0, large_left = 0;
    for (unsigned i = 0; i < SMALL; i++)
        store(&rig, path_of("small", i), "", FRESH, 700);
    for (unsigned i = 0; i < SMALL; i += 2) { /* on each page hot ones beside cold ones */
        for (unsigned j = 0; j < OBJECT_FREQUENCY_MAX; j++)
            cr_assert(is_stored(path_of("small", i)));
    }
    while (rig_stats(&rig).evictions == 0)
        store(&rig, path_of("large", large++), "", FRESH, LARGE_BYTES);
    for (unsigned i = 0; i < SMALL; i += 2)
        cr_assert(is_stored(path_of("small", i)), "%u", i);
    for (unsigned i = 0; i < large; i++)
        large_left += is_stored(path_of("large", i));
    cr_assert_geq(large_left, large - 2, "%u of %u", large_left, large);
}

Test(evict, one_in_use_is_passed_over)
{
    struct ask ask;
    store(&rig, "/used", "", FRESH, 1000);
    store(&rig, "/other", "", FRESH, 1000);
    cr_assert_eq(ask_get(&rig, &ask, "/used"), LOOKUP_HIT);
    reader_keep(&ask.reader);
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_eq(evict_one(rig.cache), 0);
    cr_assert(is_stored("/used"));
    reader_close(&ask.reader);
    cr_assert_gt(evict_one(rig.cache), 0);
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

Test(evict, main_queue_in_use_does_not_protect_the_small_one)
{
    enum { USED = 8 };
    static struct ask used[USED];
    for (unsigned i = 0; i < USED; i++) {
        store(&rig, path_of("used", i), "", FRESH, 60000);
        cr_assert_eq(ask_get(&rig, &used[i], path_of("used", i)), LOOKUP_HIT);
        reader_keep(&used[i].reader);
    }
    cr_assert_eq(evict_one(rig.cache), 0);
    store(&rig, "/small", "", FRESH, 1000);
    cr_assert_gt(evict_one(rig.cache), 0);
    for (unsigned i = 0; i < USED; i++)
        reader_close(&used[i].reader);
    check_accounts();
}

Test(evict, change_of_the_usual_size_starves_nobody)
{
    static const uint64_t sizes[] = {300, 12000, 700, 60000, 1500, 400, 16000, 100};
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 1500 && i * sizes[round] < 3 * RIG_MIB; i++) {
            const char *path = path_of("size", round * 10000 + i);
            store(&rig, path, "", FRESH, sizes[round]);
            cr_assert(is_stored(path));
        }
        check_accounts();
    }
    cr_assert_eq(rig_stats(&rig).admission_failures, 0);
}

/* What is in use is alone on some pages, which are nearly empty but cannot be emptied; on the others what policy evicts lies beside what it does not. */
Test(evict, pages_that_cannot_be_emptied_hide_none_that_can)
{
    static const uint64_t lonely[] = {9000, 11000, 13000, 16000};
    struct ask used[sizeof lonely / sizeof *lonely];
    unsigned count = 0;
    for (unsigned i = 0; i < sizeof lonely / sizeof *lonely; i++) {
        store(&rig, path_of("used", i), "", FRESH, lonely[i]);
        cr_assert_eq(ask_get(&rig, &used[i], path_of("used", i)), LOOKUP_HIT);
    }
    while (rig_stats(&rig).evictions == 0) {
        store(&rig, path_of("other", count), "", FRESH, 5000);
        for (unsigned j = 0; count % 2 == 0 && j < OBJECT_FREQUENCY_MAX; j++)
            cr_assert(is_stored(path_of("other", count)));
        count++;
    }
    store(&rig, "/small", "", FRESH, 700);
    cr_assert(is_stored("/small"));
    cr_assert_eq(rig_stats(&rig).admission_failures, 0);
    for (unsigned i = 0; i < sizeof lonely / sizeof *lonely; i++)
        reader_close(&used[i].reader);
}

Test(evict, memory_outside_the_slab_is_limited)
{
    for (unsigned i = 0; i < 5000; i++)
        store(&rig, path_of("tiny", i), "", FRESH, 1);
    cr_assert_gt(rig_stats(&rig).evictions, 1000);
    cr_assert_leq(cache_overhead_bytes(rig.cache), RIG_MIB / OVERHEAD_DIVISOR + sizeof(struct object) + 2 * sizeof(struct bucket),
                  "one more");
    check_accounts();
}

Test(evict, frequency_is_written_below_its_maximum_only)
{
    store(&rig, "/a", "", FRESH, 10);
    for (unsigned i = 0; i < 10; i++)
        is_stored("/a");
    struct cache_key key = rig_key(&rig, "/a");
    struct object_name name = {.hash = key.hash.low, .key = key.encoded};
    struct object *object = shard_find(rig.cache, shard_of(rig.cache, name.hash), &name);
    cr_assert_eq(object->frequency, OBJECT_FREQUENCY_MAX);
}

Test(evict, statistics_count_what_is_there)
{
    struct cache_stats before = rig_stats(&rig), stats;
    cr_assert_eq(before.objects + before.object_bytes + before.fills + before.evictions + before.purges, 0);
    struct ask ask;
    store(&rig, "/a", "", FRESH, 100000);
    ask_get(&rig, &ask, "/b");
    stats = rig_stats(&rig);
    cr_assert_eq(stats.objects, 1);
    cr_assert_eq(stats.fills, 1);
    cr_assert_geq(stats.object_bytes, 100000);
    cr_assert_eq(stats.index_bytes - before.index_bytes,
                 sizeof(struct object_large) + sizeof(struct bucket) /* spare */ + sizeof(struct body) + 4 * sizeof(struct extent));
    store(&rig, "/c", "", FRESH, 1000);
    cr_assert_eq(rig_stats(&rig).index_bytes - stats.index_bytes, sizeof(struct object) + sizeof(struct bucket), "another shard's");
    fill_fail(&ask.lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask.reader);
    evict_one(rig.cache);
    evict_one(rig.cache);
    stats = rig_stats(&rig);
    cr_assert_eq(stats.objects + stats.object_bytes + stats.fills, 0);
    cr_assert_eq(stats.index_bytes - before.index_bytes, 2 * sizeof(struct bucket), "spare buckets stay");
}

/* --- a limit of memory below the slab's size --- */

static void setup_large(void)
{
    rig = rig_new(8 * RIG_MIB, RIG_MIB, 4);
}

TestSuite(limit, .init = setup_large, .fini = teardown);

enum { LIMIT_PAGES = 32 };

static void store_many(const char *prefix)
{
    for (unsigned i = 0; i < 400; i++)
        store(&rig, path_of(prefix, i), "", FRESH, 100 + i * 997 % 60000);
}

static uint64_t bytes_in_memory(void)
{
    struct stat status;
    cr_assert_eq(fstat(slab_fd(rig.slab), &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

Test(limit, what_is_beyond_it_is_given_back_and_the_rest_is_served_on)
{
    store_many("a");
    uint64_t held = rig_stats(&rig).slab.held_pages, before = bytes_in_memory();
    cr_assert_gt(held, 3 * LIMIT_PAGES);
    cr_assert_eq(cache_limit_memory(rig.cache, LIMIT_PAGES * SLAB_PAGE_BYTES, UINT64_MAX), (held - LIMIT_PAGES) * SLAB_PAGE_BYTES);
    cr_assert_eq(rig_stats(&rig).slab.held_pages, LIMIT_PAGES);
    cr_assert_leq(bytes_in_memory(), LIMIT_PAGES * SLAB_PAGE_BYTES);
    cr_assert_gt(before, 3 * LIMIT_PAGES * SLAB_PAGE_BYTES);
    cr_assert_eq(rig_stats(&rig).admission_failures, 0);
    check_accounts();
    unsigned left = 0;
    for (unsigned i = 0; i < 400; i++)
        left += is_stored(path_of("a", i));
    cr_assert_gt(left, 20);
}

Test(limit, what_comes_then_takes_the_place_of_something_else)
{
    store_many("a");
    cache_limit_memory(rig.cache, LIMIT_PAGES * SLAB_PAGE_BYTES, UINT64_MAX);
    store_many("b");
    cr_assert_eq(rig_stats(&rig).slab.held_pages, LIMIT_PAGES);
    cr_assert(is_stored("/b/399"));
    check_accounts();
}

Test(limit, is_lifted_again)
{
    store_many("a");
    cache_limit_memory(rig.cache, LIMIT_PAGES * SLAB_PAGE_BYTES, UINT64_MAX);
    cr_assert_eq(cache_limit_memory(rig.cache, UINT64_MAX, UINT64_MAX), 0);
    store_many("b");
    cr_assert_gt(rig_stats(&rig).slab.held_pages, 3 * LIMIT_PAGES);
    check_accounts();
}

Test(limit, so_much_at_a_time)
{
    store_many("a");
    uint64_t held = rig_stats(&rig).slab.held_pages;
    cr_assert_eq(cache_limit_memory(rig.cache, 0, 3 * SLAB_PAGE_BYTES), 3 * SLAB_PAGE_BYTES);
    cr_assert_eq(rig_stats(&rig).slab.held_pages, held - 3);
}

Test(limit, some_memory_is_always_left)
{
    store_many("a");
    cache_limit_memory(rig.cache, 0, UINT64_MAX);
    cr_assert_eq(rig_stats(&rig).slab.held_pages, 16);
    store(&rig, "/b", "", FRESH, 60000);
    cr_assert(is_stored("/b"));
}

Test(limit, what_is_being_read_stays)
{
    struct ask ask;
    store(&rig, "/read", "", FRESH, 60000);
    cr_assert_eq(ask_get(&rig, &ask, "/read"), LOOKUP_HIT);
    reader_keep(&ask.reader);
    store_many("a");
    cache_limit_memory(rig.cache, 0, UINT64_MAX);
    reader_close(&ask.reader);
    cr_assert(is_stored("/read"));
}
