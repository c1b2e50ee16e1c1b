#include "cache/disk/logged.h"
#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20 };

static struct disk_rig rig;
static unsigned wakes, home_wakes;

static void count_wake(struct waker *waker)
{
    (void)waker;
    wakes++;
}

static void count_home_wake(struct waker *waker)
{
    (void)waker;
    home_wakes++;
}

static struct waker waker = {count_wake};

static void setup_directories(unsigned count)
{
    disk_rig_init(&rig, count, MIB, 16);
    rig.waker.post = count_home_wake;
    disk_rig_recover(&rig);
    disk_rig_settle(&rig);
    wakes = home_wakes = 0;
}

static void setup(void)
{
    setup_directories(1);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(logged, .init = setup, .fini = teardown);

static void store_one(uint64_t number)
{
    disk_rig_offer(&rig, number, 1, 1000);
    disk_rig_settle(&rig);
    wakes = home_wakes = 0;
}

static void purge_all(void)
{
    uint64_t sequence = purge_add_all(&rig.cache->purges, PURGE_HARD, rig.wall);
    store_log_purge(rig.store, &(struct store_purge){.name = 0, .sequence = sequence, .at_s = rig.wall.s, .kind = PURGE_HARD});
}

Test(logged, nothing_that_waits_is_waited_for)
{
    struct store_wait wait = {.waker = &waker};
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    struct store_wait never = {.waker = &waker};
    store_wait_close(rig.store, &never);
    disk_rig_offer(&rig, 1, 1, 1000);
    cr_assert(store_await_logged(rig.store, &wait), "a response that is to be written is no purge");
    store_wait_close(rig.store, &wait);
}

Test(logged, what_is_forgotten_is_written_in_the_same_turn_and_waited_for)
{
    store_one(1);
    uint64_t before = store_log_position(rig.store);
    cr_assert(disk_rig_forget(&rig, 1));
    cr_assert_neq(store_log_position(rig.store), before);
    cr_assert_eq(home_wakes, 1);
    struct store_wait wait = {.waker = &waker};
    cr_assert_not(store_await_logged(rig.store, &wait));
    disk_rig_turn(&rig, 0, 0);
    cr_assert_eq(rig.disk.ops_count, 1, "no time has passed");
    cr_assert_not(store_await_logged(rig.store, &wait));
    cr_assert_eq(wakes, 0);
    fake_pump(&rig.disk, 1);
    cr_assert_eq(wakes, 1);
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
}

Test(logged, what_is_not_there_costs_nothing)
{
    store_one(1);
    uint64_t before = store_log_position(rig.store);
    cr_assert_not(disk_rig_forget(&rig, 2));
    cr_assert_eq(store_log_position(rig.store), before);
    cr_assert_eq(home_wakes, 0);
}

Test(logged, purges_that_come_together_are_one_write)
{
    store_one(1);
    store_one(2);
    uint64_t writes = rig.disk.done[FAKE_WRITE];
    disk_rig_forget(&rig, 1);
    disk_rig_forget(&rig, 2);
    purge_all();
    purge_all();
    disk_rig_turn(&rig, 0, UINT32_MAX);
    cr_assert_eq(rig.disk.done[FAKE_WRITE], writes + 1);
    struct store_wait wait = {.waker = &waker};
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
}

Test(logged, what_comes_while_a_write_is_under_way_is_in_the_next_one)
{
    store_one(1);
    store_one(2);
    struct store_wait first = {.waker = &waker}, second = {.waker = &waker};
    disk_rig_forget(&rig, 1);
    cr_assert_not(store_await_logged(rig.store, &first));
    disk_rig_turn(&rig, 0, 0);
    disk_rig_forget(&rig, 2);
    cr_assert_not(store_await_logged(rig.store, &second));
    fake_pump(&rig.disk, 1);
    cr_assert(store_await_logged(rig.store, &first), "though something else waits by now");
    cr_assert_not(store_await_logged(rig.store, &second));
    cr_assert_eq(rig.disk.ops_count, 1, "and is under way at once");
    fake_pump(&rig.disk, 1);
    cr_assert(store_await_logged(rig.store, &second));
    cr_assert_eq(wakes, 2);
    store_wait_close(rig.store, &first);
    store_wait_close(rig.store, &second);
}

Test(logged, a_replaced_response_is_waited_for_by_who_purges_then)
{
    store_one(1);
    disk_rig_offer(&rig, 1, 2, 1000);
    disk_rig_turn(&rig, 0, 0);
    cr_assert_eq(rig.disk.ops_count, 0, "what replaces a response is written with others");
    cr_assert(disk_rig_forget(&rig, 1), "the new one; its predecessor's tombstone waits still");
    struct store_wait wait = {.waker = &waker};
    cr_assert_not(store_await_logged(rig.store, &wait));
    disk_rig_turn(&rig, 0, 1);
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
}

Test(logged, a_disk_in_trouble_keeps_nobody_waiting)
{
    store_one(1);
    disk_rig_forget(&rig, 1);
    struct store_wait wait = {.waker = &waker};
    cr_assert_not(store_await_logged(rig.store, &wait));
    rig.disk.fail[FAKE_WRITE] = DISK_ERROR;
    disk_rig_turn(&rig, 0, 1);
    cr_assert_eq(wakes, 1);
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    rig.disk.fail[FAKE_WRITE] = DISK_OK;
    disk_rig_turn(&rig, 3000, UINT32_MAX);
    disk_rig_settle(&rig);
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0, "it was logged when that was possible");
}

Test(logged, who_gave_up_is_not_woken)
{
    store_one(1);
    disk_rig_forget(&rig, 1);
    struct store_wait wait = {.waker = &waker};
    cr_assert_not(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    store_wait_close(rig.store, &wait);
    disk_rig_turn(&rig, 0, UINT32_MAX);
    cr_assert_eq(wakes, 0);
}

Test(logged, a_purge_is_waited_for_in_every_directory)
{
    teardown();
    setup_directories(3);
    purge_all();
    struct store_wait wait = {.waker = &waker};
    cr_assert_not(store_await_logged(rig.store, &wait));
    rig.disk.fail[FAKE_WRITE] = DISK_FULL;
    rig.disk.fail_directory = 1;
    while (wakes == 0) {
        cr_assert_not(store_await_logged(rig.store, &wait));
        disk_rig_turn(&rig, 0, 1);
    }
    cr_assert(store_await_logged(rig.store, &wait));
    store_wait_close(rig.store, &wait);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(rig.store->directories[i].purges.count, i == 1);
}

Test(logged, a_store_without_sync_is_drained_when_all_is_written)
{
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_turn(&rig, 0, 0);
    cr_assert_not(store_drain(rig.store, rig.now, rig.wall, false));
    while (rig.disk.ops_count > 0)
        fake_pump(&rig.disk, 1);
    cr_assert_geq(home_wakes, 1, "the end of the last write is told");
    uint64_t orders = rig.disk.done[FAKE_ORDER];
    cr_assert(store_drain(rig.store, rig.now, rig.wall, false));
    cr_assert_eq(rig.disk.done[FAKE_ORDER], orders, "nothing was synced");
    cr_assert_not(store_drain(rig.store, rig.now, rig.wall, true));
    fake_pump(&rig.disk, UINT32_MAX);
    cr_assert(store_drain(rig.store, rig.now, rig.wall, true));
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
}
