#include "cache/disk/admission.h"
#include "cache/disk/doorkeeper.h"
#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20, SEGMENTS = 16 };

static struct disk_rig rig;

static void setup(void)
{
    disk_rig_init(&rig, 1, MIB, SEGMENTS);
    disk_rig_halt(&rig);
    rig.settings.admission = STORE_ADMIT_SECOND_HIT;
    disk_rig_boot(&rig);
    disk_rig_recover(&rig);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(admission, .init = setup, .fini = teardown);

static bool is_full(void)
{
    return atomic_load(&rig.store->directories[0].is_full);
}

/* Once round, with names that are not asked for again. */
static void fill_log(void)
{
    for (uint64_t i = 1000; !is_full(); i++) {
        cr_assert_lt(i, 2000);
        disk_rig_offer(&rig, i, 1, 100000);
        disk_rig_settle(&rig);
    }
}

static uint64_t refused(void)
{
    return disk_rig_stats(&rig).refused;
}

Test(admission, everything_is_written_until_the_log_has_been_full)
{
    fill_log();
    cr_assert_eq(refused(), 0);
    cr_assert_geq(disk_rig_stats(&rig).directories[0].segments_used, SEGMENTS - 2);
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(refused(), 1);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
}

Test(admission, a_log_is_as_full_after_a_restart_as_before)
{
    cr_assert(!is_full());
    fill_log();
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
    cr_assert(is_full());
}

Test(admission, a_log_that_was_emptied_is_not_full)
{
    fill_log();
    directory_condemn(&rig.store->directories[0], UINT64_MAX);
    disk_rig_settle(&rig);
    cr_assert(!is_full());
}

Test(admission, the_second_fill_of_a_name_is_written)
{
    fill_log();
    disk_rig_offer(&rig, 1, 1, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 0);
    disk_rig_offer(&rig, 1, 2, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2);
    disk_rig_offer(&rig, 1, 3, 1000);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 3, "what is on disk is replaced");
    cr_assert_eq(refused(), 1);
}

Test(admission, what_is_hit_is_offered_again)
{
    fill_log();
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, NULL, RIG_HEAD);
    store_offer(rig.store, object, 0);
    cr_assert(object_touch(object));
    store_offer_again(rig.store, object, 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
    object_unref(rig.cache, &object);
}

Test(admission, what_was_hit_before_it_was_offered_is_taken)
{
    fill_log();
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, NULL, RIG_HEAD);
    cr_assert(!object_touch(object));
    store_offer(rig.store, object, 0);
    cr_assert(!object_touch(object), "nor is it offered again");
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 1);
    object_unref(rig.cache, &object);
}

Test(admission, what_is_offered_again_does_not_displace_what_came_after_it)
{
    fill_log();
    struct object *old = disk_rig_object(&rig, 1, 1, 1000, NULL, RIG_HEAD);
    store_offer(rig.store, old, 0);
    disk_rig_offer(&rig, 1, 2, 1000); /* the doorkeeper knows it by now */
    store_offer_again(rig.store, old, 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2, "one that waited");
    store_offer_again(rig.store, old, 0);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_version(&rig, 1), 2, "one that is on disk");
    object_unref(rig.cache, &old);
}

Test(admission, what_is_too_large_is_refused)
{
    disk_rig_offer(&rig, 1, 1, MIB / 4);
    disk_rig_settle(&rig);
    cr_assert_eq(refused(), 1);
    cr_assert_eq(disk_rig_stats(&rig).dropped, 0);
    struct object *object = disk_rig_object(&rig, 2, 1, MIB, NULL, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\n");
    store_offer(rig.store, object, MIB / 2);
    disk_rig_settle(&rig);
    cr_assert_eq(refused(), 2, "and so is what would be in slices that are");
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    object_unref(rig.cache, &object);
}

Test(doorkeeper, remembers_about_as_many_as_it_is_made_for)
{
    enum { NAMES = 10000 };
    struct doorkeeper *doorkeeper = doorkeeper_new(NAMES);
    uint64_t random = 88172645463325252u, seen[NAMES];
    for (unsigned i = 0; i < NAMES; i++) {
        seen[i] = rig_random(&random);
        cr_assert_not(doorkeeper_ask(doorkeeper, seen[i]));
    }
    unsigned known = 0;
    for (unsigned i = NAMES / 2; i < NAMES; i++)
        known += doorkeeper_ask(doorkeeper, seen[i]);
    cr_assert_gt(known, NAMES / 2 * 8 / 10, "%u", known);
    for (unsigned i = 0; i < 10 * NAMES; i++)
        doorkeeper_ask(doorkeeper, rig_random(&random));
    known = 0;
    for (unsigned i = 0; i < NAMES; i++)
        known += doorkeeper_ask(doorkeeper, seen[i]);
    cr_assert_lt(known, NAMES / 100, "%u", known);
    doorkeeper_free(&doorkeeper);
}
