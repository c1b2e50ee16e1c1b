#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20 };

static struct disk_rig rig;

static void setup(void)
{
    disk_rig_init(&rig, 1, MIB, 16);
    disk_rig_recover(&rig);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(append, .init = setup, .fini = teardown);

Test(append, what_is_offered_is_found_once_it_is_written)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
    cr_assert_eq(disk_rig_version(&rig, 2), 0);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_eq(stats.records, 1);
    cr_assert_eq(stats.directories[0].records, 1);
    cr_assert_eq(stats.offered, 1);
    cr_assert_eq(stats.queue_bytes, 0);
    cr_assert_eq(stats.directories[0].state, DIRECTORY_WORKING);
    cr_assert_gt(stats.directories[0].written_bytes, stats.directories[0].admitted_bytes);
}

Test(append, nothing_is_written_before_its_time_and_all_of_it_at_once)
{
    for (uint64_t i = 0; i < 20; i++)
        disk_rig_offer(&rig, i, 1, 500);
    disk_rig_turn(&rig, 0, UINT32_MAX);
    cr_assert_eq(rig.disk.done[FAKE_WRITE], 0);
    disk_rig_settle(&rig);
    cr_assert_eq(rig.disk.done[FAKE_WRITE], 2, "the segment's opening, and one batch");
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1);
}

Test(append, many_segments_are_filled_and_sealed)
{
    for (uint64_t i = 0; i < 100; i++) {
        disk_rig_offer(&rig, i, 1, 50000);
        disk_rig_turn(&rig, 10, UINT32_MAX);
    }
    disk_rig_settle(&rig);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1, "%lu", (unsigned long)i);
    cr_assert_geq(disk_rig_stats(&rig).directories[0].segments_used, 5);
}

Test(append, the_latest_of_a_name_is_found)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    disk_rig_offer(&rig, 1, 2, 1000);
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "the old one is out of date at once");
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
    cr_assert_eq(disk_rig_stats(&rig).records, 1);
}

Test(append, what_is_forgotten_in_the_queue_is_not_written)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    cr_assert(disk_rig_forget(&rig, 1));
    cr_assert_not(disk_rig_forget(&rig, 1));
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].admitted_bytes, 0);
}

Test(append, what_is_forgotten_while_it_is_written_is_not_found)
{
    disk_rig_settle(&rig);
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_offer(&rig, 2, 1, 1000);
    disk_rig_turn(&rig, 100, 0);
    while (rig.disk.done[FAKE_WRITE] < 1) /* the opening */
        disk_rig_turn(&rig, 100, 1);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    cr_assert(disk_rig_forget(&rig, 1));
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    cr_assert_eq(disk_rig_version(&rig, 2), 1);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "nor after a restart");
    cr_assert_eq(disk_rig_version(&rig, 2), 1);
}

Test(append, what_is_offered_anew_while_it_is_written_is_found_in_its_new_version)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    while (rig.disk.done[FAKE_WRITE] < 1)
        disk_rig_turn(&rig, 100, 1);
    disk_rig_offer(&rig, 1, 2, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
}

Test(append, a_full_queue_drops_and_counts)
{
    disk_rig_halt(&rig);
    rig.settings.queue_max_bytes = 10 * 1024;
    disk_rig_boot(&rig);
    disk_rig_recover(&rig);
    for (uint64_t i = 0; i < 30; i++)
        disk_rig_offer(&rig, i, 1, 1000);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_leq(stats.queue_bytes, 10 * 1024);
    cr_assert_gt(stats.dropped, 15);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_stats(&rig).records, 30 - stats.dropped);
}

Test(append, what_expires_at_once_is_not_worth_it)
{
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, NULL, RIG_HEAD);
    rig.wall.s += 3599;
    store_offer(rig.store, object, 0);
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
}

Test(append, what_was_purged_while_it_waited_is_not_written)
{
    uint64_t tag = 77;
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, &tag, RIG_HEAD);
    store_offer(rig.store, object, 0);
    purge_add(&rig.cache->purges, tag, PURGE_HARD, rig.wall);
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
}

Test(append, a_large_response_is_written_in_slices)
{
    enum { SLICE = 128 * 1024, WHOLE = 5 * SLICE + 1000 };
    struct object *object = disk_rig_object(&rig, 1, 9, WHOLE, NULL, RIG_HEAD);
    store_offer(rig.store, object, SLICE);
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    struct rig_read head, part;
    cr_assert_eq(disk_rig_read(&rig, disk_rig_hash(&rig, 1), &head), DISK_OK);
    cr_assert_eq(head.read.header.kind, STORE_SLICED);
    cr_assert_eq(head.read.header.body_bytes, 0);
    cr_assert_neq(head.read.header.serial, 0);
    const struct record *record = (const struct record *)(const void *)slab_at(rig.slab, head.pages[0]);
    cr_assert_eq(record_body_bytes(record), WHOLE);
    struct record_parts parts = {.key = record_key(record), .length_known = true, .stale_since_s = META_ABSENT};
    struct object *found = object_new(rig.cache, OBJECT_SLICED, &parts);
    object_set_serial(found, head.read.header.serial);
    for (uint64_t first = 0; first < WHOLE; first += SLICE) {
        struct span span = {first, first + SLICE < WHOLE ? first + SLICE : WHOLE};
        struct span name = {first, first + SLICE}; /* as requests ask for it, who do not know the end */
        cr_assert_eq(disk_rig_read(&rig, slice_hash(rig.cache, found, name), &part), DISK_OK, "%lu", (unsigned long)first);
        cr_assert_eq(part.read.header.kind, STORE_RESPONSE);
        cr_assert_eq(part.read.header.body_bytes, span.end - span.first);
        for (uint64_t at = span.first > 8 ? span.first : 8; at < span.end; at++) {
            uint64_t in = at - span.first;
            const char *page = part.read.body_follows ? slab_at(rig.slab, part.pages[0]) + part.read.header.front_bytes + in
                                                      : slab_at(rig.slab, part.pages[1 + in / SLAB_PAGE_BYTES]) + in % SLAB_PAGE_BYTES;
            cr_assert_eq(*page, disk_rig_byte(1, 9, at));
        }
        rig_read_free(&rig, &part);
    }
    object_unref(rig.cache, &found);
    rig_read_free(&rig, &head);
}

Test(append, what_is_too_large_stays_in_memory)
{
    struct object *object = disk_rig_object(&rig, 1, 1, 300 * 1024, NULL, "HTTP/1.1 200 OK\r\n");
    store_offer(rig.store, object, 128 * 1024); /* no validator: it cannot be cut; and a quarter of a segment is 256 KiB */
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    cr_assert_eq(disk_rig_stats(&rig).queue_bytes, 0);
}

Test(append, a_variant_brings_its_selector)
{
    char text[32];
    struct record_parts parts = {
        .key = disk_rig_key(1, text), .vary_names = BYTES("accept"), .length_known = true, .stale_since_s = META_ABSENT};
    struct object *selector = object_new(rig.cache, OBJECT_SELECTOR, &parts);
    selector->hash = disk_rig_hash(&rig, 1);
    object_set_serial(selector, 4711);
    struct shard *shard = shard_of(rig.cache, selector->hash);
    shard_lock_to_insert(rig.cache, shard);
    shard_insert(rig.cache, shard, selector);
    pthread_mutex_unlock(&shard->lock);
    store_offer(rig.store, selector, 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_stats(&rig).records, 0, "not without a variant");
    struct object *variant = disk_rig_object(&rig, 2, 1, 5000, NULL, RIG_HEAD); /* with a body apart, a large one */
    object_set_selector(variant, selector);
    store_offer(rig.store, variant, 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 2), 1);
    struct rig_read read;
    cr_assert_eq(disk_rig_read(&rig, selector->hash, &read), DISK_OK);
    cr_assert_eq(read.read.header.kind, STORE_SELECTOR);
    cr_assert_eq(read.read.header.serial, 4711);
    rig_read_free(&rig, &read);
    struct disk_entry entry;
    cr_assert(disk_index_find(rig.store->index, selector->hash, &entry) && entry.is_lasting);
    object_unref(rig.cache, &variant);
    object_unref(rig.cache, &selector);
}

Test(append, a_drained_store_has_all_of_it_on_disk)
{
    for (uint64_t i = 0; i < 50; i++)
        disk_rig_offer(&rig, i, 1, 20000);
    cr_assert(disk_rig_drain(&rig));
    cr_assert_eq(rig.disk.undo_count, 0, "and synced");
    for (uint64_t i = 0; i < 50; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1);
}

Test(append, syncs_at_most_once_a_second)
{
    for (uint64_t i = 0; i < 100; i++) {
        disk_rig_offer(&rig, i, 1, 1000);
        disk_rig_turn(&rig, 50, UINT32_MAX);
    }
    unsigned orders = (unsigned)rig.disk.done[FAKE_ORDER] - disk_rig_stats(&rig).directories[0].segments_used;
    cr_assert(orders >= 4 && orders <= 6, "%u in 5 seconds", orders);
}

Test(append, a_port_with_no_room_is_asked_again)
{
    rig.disk.fail[FAKE_WRITE] = rig.disk.fail[FAKE_ORDER] = DISK_OVERLOADED;
    disk_rig_offer(&rig, 1, 1, 1000);
    for (unsigned i = 0; i < 10; i++)
        disk_rig_turn(&rig, 50, UINT32_MAX);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].state, DIRECTORY_WORKING);
    rig.disk.fail[FAKE_WRITE] = rig.disk.fail[FAKE_ORDER] = DISK_OK;
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
}

/* Each tombstone is written before what was offered after it, however many there are. */
Test(append, more_tombstones_than_a_write_takes_hold_offers_back)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    pthread_mutex_lock(&rig.store->lock);
    for (uint64_t i = 0; i < 20000; i++)
        tombstone_add(&rig.store->directories[0], i + 1000000);
    pthread_mutex_unlock(&rig.store->lock);
    disk_rig_offer(&rig, 1, 2, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
}

Test(append, what_fills_the_memory_that_writing_needs_is_dropped)
{
    struct extent pages[1024];
    size_t count = 0;
    disk_rig_offer(&rig, 1, 1, 1000);
    while (count < 1024 && !extent_is_none(pages[count] = slab_alloc(rig.slab, SLAB_PAGE_BYTES, 0)))
        count++;
    disk_rig_settle(&rig);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_eq(stats.dropped, 1);
    cr_assert_eq(stats.queue_bytes, 0);
    while (count > 0)
        slab_release(rig.slab, pages[--count]);
    disk_rig_offer(&rig, 1, 2, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
}
