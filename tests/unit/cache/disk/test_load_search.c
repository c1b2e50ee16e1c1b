/* The cache without its index, and without its pages: what is compared with the cache as it is. */
#include "disk_rig.h"

static struct rig rig;
static struct fake_disk disk;

static void setup(void)
{
    rig = rig_with_disk(16 * RIG_MIB, &disk, &rig);
    visitor_free(rig.cache, &rig.visitor);
}

static void teardown(void)
{
    disk_rig_free(&rig, &disk, 0);
}

TestSuite(load_search, .init = setup, .fini = teardown);

static void save_control(uint64_t unit, enum store_kind kind, const void *front, uint32_t front_bytes, const void *body,
                         uint32_t body_bytes)
{
    disk.saved[disk.saved_count++] = (struct saved){
        .unit = unit,
        .header = {.kind = (uint8_t)kind, .front_bytes = front_bytes, .body_bytes = body_bytes},
        .front = copy_bytes(front, front_bytes),
        .body = copy_bytes(body, body_bytes),
    };
}

/* As the segment's footer; `hash` is the last of so many entries. */
static void seal(uint64_t hash, uint32_t count)
{
    const uint64_t units = 64 * RIG_MIB / STORE_UNIT_BYTES, footer = units / 2;
    const struct store_trailer trailer = {.footer_place = (uint32_t)footer, .count = count};
    struct store_footer_entry *entries = calloc(count, sizeof *entries);
    entries[count - 1].hash = hash;
    save_control(DISK_SEGMENT * units + footer, STORE_FOOTER, "", 0, entries, count * (uint32_t)sizeof *entries);
    save_control((DISK_SEGMENT + 1) * units - 1, STORE_TRAILER, &trailer, sizeof trailer, "", 0);
    free(entries);
}

static void search_footers(void)
{
    rig.cache->settings.searches_footers = true;
}

Test(load_search, a_hit_in_memory_reads_a_trailer_and_a_footer)
{
    struct ask ask;
    search_footers();
    store(&rig, "/a", "", FRESH, 3000);
    seal(rig_key(&rig, "/a").hash.low, 7);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 2);
    assert_hit(&ask, 3000);
    cr_assert_not(ask.lookup.was_loaded);
    cr_assert_null(ask.lookup.wait.load);
}

Test(load_search, a_footer_of_many_pages_is_searched_to_its_end)
{
    struct ask ask;
    uint32_t many = 3 * SLAB_PAGE_BYTES / sizeof(struct store_footer_entry) + 5;
    search_footers();
    atomic_store(&rig.cache->store->directories[0].segments[1].sequence, DISK_SEQUENCE - 1); /* an older one, to be left alone */
    store(&rig, "/a", "", FRESH, 3000);
    seal(rig_key(&rig, "/a").hash.low, many);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 2);
    assert_hit(&ask, 3000);
}

Test(load_search, what_no_footer_names_is_looked_for_in_all_segments)
{
    struct ask ask;
    search_footers();
    atomic_store(&rig.cache->store->directories[0].segments[1].sequence, DISK_SEQUENCE - 1);
    seal(1, 7);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
    cr_assert_eq(disk.reads_total, 3, "the older segment has no trailer");
    assert_fetched(&ask, LOOKUP_FILL);
}

Test(load_search, a_variant_is_searched_for_as_well_and_then_loaded)
{
    struct ask ask;
    search_footers();
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\n", 50000);
    move_to_disk(&disk);
    seal(1, 1);
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 1\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 2 + 1 + 2 + 1);
    cr_assert(ask.lookup.was_loaded);
    assert_hit(&ask, 50000);
}

Test(load_search, a_disk_that_fails_is_no_obstacle)
{
    struct ask ask;
    search_footers();
    store(&rig, "/a", "", FRESH, 3000);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    disk_fail(&disk, DISK_ERROR);
    cr_assert_eq(ask.reader_waker.count, 1);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_HIT);
    assert_hit(&ask, 3000);
}

Test(load_search, who_goes_away_leaves_it_to_end_by_itself)
{
    struct ask ask;
    search_footers();
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    load_close(rig.cache, &ask.lookup.wait);
    disk_answer(&disk);
    cr_assert_eq(ask.reader_waker.count, 0);
}

Test(load_search, what_is_on_disk_is_not_kept_in_memory)
{
    struct ask ask;
    rig.cache->settings.keeps_no_pages = true;
    store(&rig, "/a", "", FRESH, 50000);
    save_all(&disk);
    for (unsigned i = 1; i <= 3; i++) {
        ask_set(&disk, &ask, METHOD_GET, "/a", "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
        cr_assert_eq(disk.reads_total, i);
        cr_assert_eq(rig_stats(&rig).objects, 0);
        assert_hit(&ask, 50000);
        cr_assert_eq(rig_stats(&rig).slab.allocated, 0);
    }
}

Test(load_search, those_who_wait_for_one_read_all_have_it)
{
    struct ask asks[3];
    rig.cache->settings.keeps_no_pages = true;
    store(&rig, "/a", "", FRESH, 3000);
    move_to_disk(&disk);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask_disk(&disk, &asks[i], "/a"), LOOKUP_WAIT);
    disk_answer(&disk);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask_again(&rig, &asks[i]), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_hit(&asks[i], 3000);
}

Test(load_search, what_was_read_stale_is_listed_to_be_validated)
{
    rig.cache->settings.keeps_no_pages = true;
    validate_from_disk(&disk, "/a", 3000);
}

Test(load_search, what_was_purged_while_it_was_read_is_fetched)
{
    struct ask ask;
    struct cache_key key = rig_key(&rig, "/a");
    rig.cache->settings.keeps_no_pages = true;
    store(&rig, "/a", "", FRESH, 3000);
    move_to_disk(&disk);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    disk_answer(&disk);
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
}
