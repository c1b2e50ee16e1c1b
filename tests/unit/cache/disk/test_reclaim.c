#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20, SEGMENTS = 6, BODY = 20000, PER_SEGMENT = 45 };

static struct disk_rig rig;

static void setup(void)
{
    disk_rig_init(&rig, 1, MIB, SEGMENTS);
    disk_rig_recover(&rig);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(reclaim, .init = setup, .fini = teardown);

static void fill(uint64_t from, uint64_t to, size_t bytes)
{
    for (uint64_t i = from; i < to; i++) {
        disk_rig_offer(&rig, i, 1, bytes);
        if (i % 8 == 7) {
            disk_rig_turn(&rig, 60, UINT32_MAX);
            disk_rig_turn(&rig, 10, UINT32_MAX);
        }
    }
    disk_rig_settle(&rig);
}

static void touch(uint64_t number)
{
    cr_assert(disk_index_touch(rig.store->index, disk_rig_hash(&rig, number)), "%lu", (unsigned long)number);
}

static uint64_t count_found(uint64_t from, uint64_t to)
{
    uint64_t found = 0;
    for (uint64_t i = from; i < to; i++)
        found += disk_rig_version(&rig, i);
    return found;
}

Test(reclaim, the_oldest_make_room_and_the_index_knows)
{
    fill(0, 20 * PER_SEGMENT, BODY);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_gt(stats.reclaimed_segments, 10);
    cr_assert_eq(stats.dropped, 0);
    cr_assert_eq(stats.moved_records, 0);
    uint64_t found = count_found(0, 20 * PER_SEGMENT);
    cr_assert_eq(found, stats.records);
    cr_assert_eq(found, stats.directories[0].records);
    cr_assert_eq(disk_rig_stats(&rig).misses, 0, "nothing is in the index that is not on disk");
    cr_assert_geq(found, 3 * PER_SEGMENT);
    cr_assert_eq(count_found(20 * PER_SEGMENT - 3 * PER_SEGMENT, 20 * PER_SEGMENT), 3 * PER_SEGMENT, "the youngest are there");
}

Test(reclaim, what_was_hit_is_moved)
{
    fill(0, 3 * PER_SEGMENT, BODY);
    for (uint64_t i = 0; i < 10; i++)
        touch(i);
    fill(1000, 1000 + 4 * PER_SEGMENT, BODY);
    for (uint64_t i = 0; i < PER_SEGMENT / 2; i++)
        cr_assert_eq(disk_rig_version(&rig, i), i < 10, "%lu", (unsigned long)i);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_eq(stats.moved_records, 10);
    cr_assert_gt(stats.directories[0].moved_bytes, 10 * BODY);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(count_found(0, 10), 10);
    fill(2000, 2000 + 7 * PER_SEGMENT, BODY);
    cr_assert_eq(count_found(0, 10), 0, "once for a hit");
}

Test(reclaim, records_of_all_sizes_are_moved_whole)
{
    static const size_t sizes[] = {100, 4000, 4097, 16000, 60000, 64 * 1024, 66000, 130000, 200000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    for (uint64_t i = 0; i < COUNT; i++)
        disk_rig_offer(&rig, i, 1, sizes[i]);
    disk_rig_settle(&rig);
    fill(500, 500 + PER_SEGMENT, BODY); /* they are in the first two */
    for (uint64_t i = 0; i < COUNT; i++)
        touch(i);
    for (uint64_t i = 0; disk_rig_stats(&rig).reclaimed_segments < 4; i += 8)
        fill(1000 + i, 1000 + i + 8, BODY);
    cr_assert_geq(count_found(0, COUNT), COUNT - 2, "all but what is more than half of a segment");
}

Test(reclaim, at_most_half_of_a_segment_is_moved)
{
    uint64_t written = 0;
    for (uint64_t i = 0; i < 40 * PER_SEGMENT; i++) {
        disk_rig_offer(&rig, i, 1, BODY);
        disk_rig_turn(&rig, 60, UINT32_MAX);
        disk_rig_turn(&rig, 60, UINT32_MAX);
        disk_index_touch(rig.store->index, disk_rig_hash(&rig, i));
        written += BODY;
    }
    disk_rig_settle(&rig);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_eq(stats.dropped, 0);
    cr_assert_gt(stats.moved_records, 100);
    cr_assert_leq(stats.directories[0].moved_bytes, stats.reclaimed_segments * (MIB / 2));
    cr_assert_leq(stats.directories[0].moved_bytes, written * 12 / 10);
}

Test(reclaim, what_is_in_memory_is_moved_from_there_and_what_is_hot_there_counts_as_hit)
{
    struct object *cold = disk_rig_object(&rig, 1, 1, 1000, NULL, RIG_HEAD), *hot = disk_rig_object(&rig, 2, 1, 1000, NULL, RIG_HEAD);
    struct object *objects[] = {cold, hot};
    for (unsigned i = 0; i < 2; i++) {
        struct shard *shard = shard_of(rig.cache, objects[i]->hash);
        shard_lock_to_insert(rig.cache, shard);
        shard_insert(rig.cache, shard, objects[i]);
        pthread_mutex_unlock(&shard->lock);
        store_offer(rig.store, objects[i], 0);
    }
    disk_rig_settle(&rig);
    object_touch(hot);
    uint64_t reads = rig.disk.done[FAKE_READ];
    fill(1000, 1000 + 6 * PER_SEGMENT, BODY);
    cr_assert_leq(rig.disk.done[FAKE_READ] - reads, disk_rig_stats(&rig).reclaimed_segments, "only footers");
    cr_assert_eq(disk_rig_stats(&rig).moved_records, 1);
    cr_assert_eq(disk_rig_version(&rig, 2), 1);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    object_unref(rig.cache, &cold);
    object_unref(rig.cache, &hot);
}

Test(reclaim, what_is_forgotten_while_it_is_moved_stays_forgotten)
{
    fill(0, 3 * PER_SEGMENT, BODY);
    for (uint64_t i = 0; i < 20; i++)
        touch(i);
    uint64_t next = 1000;
    while (disk_rig_stats(&rig).reclaimed_segments == 0) {
        disk_rig_offer(&rig, next++, 1, BODY);
        disk_rig_turn(&rig, 20, 1);
        if (reclaim_is_active(&rig.store->directories[0]))
            disk_rig_forget(&rig, next % 20);
    }
    for (uint64_t i = 0; i < 20; i++)
        disk_rig_forget(&rig, i);
    disk_rig_settle(&rig);
    cr_assert_eq(count_found(0, 20), 0);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(count_found(0, 20), 0);
}

/* A purge is logged in a segment that is reclaimed before what it concerns has gone: that was moved. */
Test(reclaim, a_moved_record_says_up_to_which_purge_it_was_compared)
{
    uint64_t tag = 77, other = 88;
    struct object *purged = disk_rig_object(&rig, 1, 1, 1000, &tag, RIG_HEAD), *kept = disk_rig_object(&rig, 2, 1, 1000, &other, RIG_HEAD);
    struct object *soft = disk_rig_object(&rig, 3, 1, 1000, &other, RIG_HEAD);
    store_offer(rig.store, purged, 0);
    store_offer(rig.store, kept, 0);
    store_offer(rig.store, soft, 0);
    object_unref(rig.cache, &purged);
    object_unref(rig.cache, &kept);
    object_unref(rig.cache, &soft);
    disk_rig_settle(&rig);
    struct store_purge purge = {.name = tag, .kind = PURGE_HARD, .at_s = 5};
    purge.sequence = purge_add(&rig.cache->purges, tag, PURGE_HARD, rig.wall);
    store_log_purge(rig.store, &purge);
    disk_rig_settle(&rig);
    touch(1);
    touch(2);
    fill(1000, 1000 + 6 * PER_SEGMENT, BODY);
    struct rig_read read;
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "purged");
    cr_assert_eq(disk_rig_read(&rig, disk_rig_hash(&rig, 2), &read), DISK_OK);
    const struct record *record = (const struct record *)(const void *)slab_at(rig.slab, read.pages[0]);
    cr_assert_geq(atomic_load(&record->purge_checked), purge.sequence);
    rig_read_free(&rig, &read);
}

Test(reclaim, a_segment_that_cannot_be_listed_is_emptied_nevertheless)
{
    fill(0, 3 * PER_SEGMENT, BODY);
    uint64_t before = disk_rig_stats(&rig).records;
    rig.disk.fail[FAKE_READ] = rig.disk.fail[FAKE_SCAN] = DISK_ERROR;
    fill(1000, 1000 + 3 * PER_SEGMENT, BODY);
    rig.disk.fail[FAKE_READ] = rig.disk.fail[FAKE_SCAN] = DISK_OK;
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_gt(stats.reclaimed_segments, 0);
    uint64_t found = count_found(0, 3 * PER_SEGMENT) + count_found(1000, 1000 + 3 * PER_SEGMENT);
    cr_assert_lt(found, before + 3 * PER_SEGMENT);
    cr_assert_eq(found, stats.records);
}

Test(reclaim, goes_on_with_each_call_failing_in_turn)
{
    uint64_t next = 0;
    for (int64_t nth = 0; nth < 200; nth++) {
        enum fake_kind kind = (enum fake_kind)(nth % FAKE_KINDS);
        rig.disk.fail[kind] = DISK_ERROR;
        rig.disk.fail_in = nth / FAKE_KINDS % 7;
        for (unsigned i = 0; i < 10; i++) {
            disk_rig_offer(&rig, next++, 1, BODY);
            disk_index_touch(rig.store->index, disk_rig_hash(&rig, next - 5));
        }
        for (unsigned i = 0; i < 5; i++)
            disk_rig_turn(&rig, 500, UINT32_MAX);
        rig.disk.fail[kind] = DISK_OK;
        disk_rig_turn(&rig, 2000, UINT32_MAX);
        disk_rig_settle(&rig);
    }
    cr_assert_eq(disk_rig_stats(&rig).directories[0].state, DIRECTORY_WORKING);
    fill(100000, 100000 + 2 * PER_SEGMENT, BODY);
    cr_assert_eq(count_found(100000, 100000 + 2 * PER_SEGMENT), 2 * PER_SEGMENT);
    uint64_t found = count_found(0, next), misses = disk_rig_stats(&rig).misses;
    cr_assert_eq(misses, 0);
    cr_assert_eq(found + 2 * PER_SEGMENT, disk_rig_stats(&rig).records);
}

/* What is forgotten leaves no tombstone when nothing of it can come back: not before a loss of power could not undo the wiping. */
Test(reclaim, a_segment_is_free_when_its_wiping_is_synced)
{
    struct directory *directory = &rig.store->directories[0];
    uint64_t wiped = 0;
    for (uint64_t i = 0; i < 10 * PER_SEGMENT; i++) {
        disk_rig_offer(&rig, i, 1, BODY);
        for (unsigned turns = 0; turns < 4; turns++) {
            disk_rig_turn(&rig, 20, 1);
            if (directory->segments_count[SEGMENT_WIPED] == 0)
                continue;
            wiped++;
            cr_assert(directory->is_latent);
            for (uint32_t number = 0; number < SEGMENTS; number++) {
                for (unsigned j = 0; j < rig.disk.undo_count && directory->segments[number].state == SEGMENT_FREE; j++)
                    cr_assert_neq(rig.disk.undo[j].offset, segment_offset(directory, number));
            }
        }
    }
    cr_assert_gt(wiped, 3);
}
