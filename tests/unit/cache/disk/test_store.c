/* Trouble with directories. */
#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20 };

static struct disk_rig rig;

static void setup(void)
{
    disk_rig_init(&rig, 1, MIB, 8);
    disk_rig_recover(&rig);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(store, .init = setup, .fini = teardown);

static struct directory_stats first(void)
{
    return disk_rig_stats(&rig).directories[0];
}

static void wait_ms(int64_t ms)
{
    for (int64_t i = 0; i < ms; i += STORE_TICK_MS)
        disk_rig_turn(&rig, STORE_TICK_MS, UINT32_MAX);
}

static void fail_writes(enum disk_status status)
{
    rig.disk.fail[FAKE_WRITE] = status;
}

Test(store, a_failing_disk_is_bypassed_and_reads_go_on)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    fail_writes(DISK_FULL);
    disk_rig_offer(&rig, 2, 1, 1000);
    wait_ms(200);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    cr_assert_eq(first().error, ENOSPC);
    cr_assert_eq(first().write_failures, 1);
    disk_rig_offer(&rig, 3, 1, 1000);
    cr_assert_eq(disk_rig_stats(&rig).queue_bytes, 0, "nothing is pinned for a disk that does not work");
    cr_assert_eq(disk_rig_stats(&rig).dropped, 2);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
    uint64_t failures = first().write_failures;
    wait_ms(10000);
    cr_assert(first().write_failures - failures >= 4 && first().write_failures - failures <= 6, "probed every 2 s");
    fail_writes(DISK_OK);
    wait_ms(2500);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    cr_assert_eq(first().error, 0);
    disk_rig_offer(&rig, 3, 1, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 3), 1);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
    cr_assert_eq(disk_rig_version(&rig, 2), 0);
}

Test(store, what_was_forgotten_and_purged_meanwhile_is_logged_afterwards)
{
    for (uint64_t i = 0; i < 20; i++)
        disk_rig_offer(&rig, i, 1, 1000);
    disk_rig_settle(&rig);
    fail_writes(DISK_UNAVAILABLE);
    for (uint64_t i = 0; i < 10; i++)
        cr_assert(disk_rig_forget(&rig, i));
    struct store_purge purge = {.name = 77, .kind = PURGE_HARD, .sequence = purge_add(&rig.cache->purges, 77, PURGE_HARD, rig.wall)};
    store_log_purge(rig.store, &purge);
    wait_ms(5000);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    fail_writes(DISK_OK);
    wait_ms(3000);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(disk_rig_version(&rig, i), i >= 10);
    uint64_t name = 77;
    cr_assert(purge_find(&rig.cache->purges, &name, 1, purge.sequence - 1).is_hard);
}

Test(store, what_failed_to_be_written_does_not_appear_after_a_restart)
{
    rig.disk.random = 12345; /* what fails is on the disk in part */
    for (uint64_t round = 0; round < 20; round++) {
        for (uint64_t i = 0; i < 10; i++)
            disk_rig_offer(&rig, round * 10 + i, 1, 1000);
        fail_writes(DISK_UNAVAILABLE);
        wait_ms(200);
        fail_writes(DISK_OK);
        wait_ms(3000);
    }
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 0);
}

Test(store, one_that_was_released_goes_on_where_it_was_left)
{
    for (uint64_t i = 0; i < 10; i++)
        disk_rig_offer(&rig, i, 1, 1000);
    cr_assert(disk_rig_drain(&rig));
    store_release(rig.store);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    uint64_t writes = first().writes;
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "nothing is found in what another has");
    disk_rig_forget(&rig, 2);
    disk_rig_offer(&rig, 3, 2, 1000);
    wait_ms(5000);
    cr_assert_eq(first().writes, writes, "and nothing is written there");
    store_resume(rig.store);
    disk_rig_settle(&rig);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    disk_rig_offer(&rig, 10, 1, 1000);
    disk_rig_settle(&rig);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t i = 0; i <= 10; i++)
            cr_assert_eq(disk_rig_version(&rig, i), i != 2 && i != 3, "%u: %lu", round, (unsigned long)i);
        wait_ms(2000);
        disk_rig_restart(&rig);
        disk_rig_recover(&rig);
    }
}

/* Whenever a write ends there is more to be written. */
static bool drain_while_busy(unsigned turns)
{
    static uint64_t next = 1000;
    bool is_done = false;
    for (unsigned i = 0; i < turns && !is_done; i++) {
        rig.now.ms += STORE_TICK_MS;
        is_done = store_drain(rig.store, rig.now, rig.wall, false);
        disk_rig_offer(&rig, next++, 1, 1000);
        disk_rig_offer(&rig, 50 + i % 50, 2 + i, 1000);
        fake_pump(&rig.disk, 1);
    }
    return is_done;
}

Test(store, what_goes_on_being_stored_and_replaced_does_not_keep_a_drain_from_ending)
{
    for (uint64_t i = 0; i < 100; i++)
        disk_rig_offer(&rig, i, 1, 1000);
    disk_rig_settle(&rig);
    disk_rig_offer(&rig, 100, 1, 1000);
    cr_assert(disk_rig_forget(&rig, 1));
    cr_assert(drain_while_busy(100));
    cr_assert(disk_rig_forget(&rig, 2));
    store_begin_drain(rig.store);
    cr_assert(drain_while_busy(100));
    store_release(rig.store);
    fake_pump(&rig.disk, UINT32_MAX);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    for (uint64_t i = 0; i <= 100; i++)
        cr_assert(i >= 50 && i < 100 ? true : disk_rig_version(&rig, i) == (i != 1 && i != 2), "%lu", (unsigned long)i);
}

Test(store, a_sync_that_ends_after_the_release_leads_to_no_write)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    wait_ms(3000);
    disk_rig_offer(&rig, 2, 1, 1000);
    for (uint64_t writes = first().writes; first().writes == writes;)
        disk_rig_turn(&rig, STORE_TICK_MS, 1);
    cr_assert_eq(rig.disk.ops_count, 1);
    cr_assert_eq(rig.disk.ops[0].kind, FAKE_ORDER);
    cr_assert(store_drain(rig.store, rig.now, rig.wall, false), "a sync is not waited for");
    store_release(rig.store);
    disk_rig_forget(&rig, 1);
    fake_pump(&rig.disk, 1);
    cr_assert_eq(rig.disk.ops_count, 0, "another instance writes there now");
    store_resume(rig.store);
    disk_rig_settle(&rig);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    cr_assert_eq(disk_rig_version(&rig, 2), 1);
}

Test(store, one_that_was_released_in_trouble_is_still_in_trouble)
{
    fail_writes(DISK_FULL);
    disk_rig_offer(&rig, 1, 1, 1000);
    wait_ms(200);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    store_release(rig.store);
    store_resume(rig.store);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    fail_writes(DISK_OK);
    wait_ms(3000);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
}

Test(store, one_that_is_not_released_after_all_writes_at_leisure_again)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    store_drain(rig.store, rig.now, rig.wall, false);
    store_resume(rig.store);
    cr_assert_not(rig.store->is_draining);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
}

Test(store, too_much_forgotten_empties_the_directory)
{
    for (uint64_t i = 0; i < 100; i++)
        disk_rig_offer(&rig, i, 1, 20000);
    disk_rig_settle(&rig);
    uint64_t used = first().segments_used;
    fail_writes(DISK_ERROR);
    disk_rig_forget(&rig, 0);
    wait_ms(200);
    pthread_mutex_lock(&rig.store->lock);
    for (uint64_t i = 0; i <= TOMBSTONES_MAX; i++)
        tombstone_add(&rig.store->directories[0], i);
    pthread_mutex_unlock(&rig.store->lock);
    wait_ms(200);
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    fail_writes(DISK_OK);
    wait_ms(20000);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    cr_assert_eq(disk_rig_stats(&rig).reclaimed_segments, used, "wiped: %lu", (unsigned long)disk_rig_stats(&rig).reclaimed_segments);
    disk_rig_offer(&rig, 7, 2, 1000);
    disk_rig_settle(&rig);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(disk_rig_version(&rig, i), i == 7 ? 2 : 0);
}

Test(store, a_disk_smaller_than_configured_works_with_what_it_has)
{
    rig.disk.allocated_max[0] = STORE_FIRST_SEGMENT + 4 * MIB;
    for (uint64_t i = 0; i < 400; i++) {
        disk_rig_offer(&rig, i, 1, 20000);
        disk_rig_turn(&rig, 30, UINT32_MAX);
    }
    disk_rig_settle(&rig);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    cr_assert_leq(first().segments_used, 4);
    cr_assert_eq(disk_rig_version(&rig, 399), 1);
    cr_assert_gt(disk_rig_stats(&rig).records, 80);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 399), 1);
    rig.disk.allocated_max[0] = rig.disk.size[0];
    wait_ms(61000);
    for (uint64_t i = 1000; i < 1400; i++) {
        disk_rig_offer(&rig, i, 1, 20000);
        disk_rig_turn(&rig, 30, UINT32_MAX);
    }
    disk_rig_settle(&rig);
    cr_assert_gt(first().segments_used, 4, "and with more when there is more");
}

Test(store, a_disk_with_no_room_at_all_is_bypassed)
{
    rig.disk.allocated_max[0] = STORE_FIRST_SEGMENT;
    disk_rig_offer(&rig, 1, 1, 1000);
    wait_ms(300);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    cr_assert_eq(first().error, ENOSPC);
    rig.disk.allocated_max[0] = rig.disk.size[0];
    wait_ms(3000);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
}

Test(store, one_sync_failing_is_trouble)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    wait_ms(1500);
    rig.disk.fail[FAKE_ORDER] = DISK_ERROR;
    disk_rig_offer(&rig, 2, 1, 1000);
    wait_ms(2000);
    cr_assert_eq(first().state, DIRECTORY_BYPASSED);
    rig.disk.fail[FAKE_ORDER] = DISK_OK;
    wait_ms(5000);
    cr_assert_eq(first().state, DIRECTORY_WORKING);
    cr_assert(disk_rig_drain(&rig));
    cr_assert_eq(rig.disk.undo_count, 0);
}

Test(store, a_record_that_does_not_verify_is_dropped_for_good)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    struct store_where where;
    cr_assert(store_find(rig.store, disk_rig_hash(&rig, 1), &where));
    rig.disk.bytes[0][where.place.offset + 100] ^= 1;
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    cr_assert_not(store_find(rig.store, disk_rig_hash(&rig, 1), &where));
    disk_rig_settle(&rig);
    rig.disk.bytes[0][where.place.offset + 100] ^= 1;
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "it may be out of date by now");
}

Test(store, can_be_freed_at_any_moment)
{
    for (unsigned turns = 0; turns < 40; turns++) {
        for (uint64_t i = 0; i < 20; i++)
            disk_rig_offer(&rig, i, turns + 1, 20000);
        for (unsigned i = 0; i < turns; i++)
            disk_rig_turn(&rig, 20, 1);
        disk_rig_restart(&rig);
    }
}
