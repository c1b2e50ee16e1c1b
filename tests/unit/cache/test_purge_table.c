#include "cache/purge_table.h"

#include <criterion/criterion.h>

static struct purge_table table;
static const struct wall_seconds now = {1000};

static void setup(void)
{
    purge_table_init(&table);
}

static void teardown(void)
{
    purge_table_free(&table);
}

TestSuite(purge_table, .init = setup, .fini = teardown);

static struct purge_verdict find(uint64_t name, uint64_t since)
{
    return purge_find(&table, &name, 1, since);
}

Test(purge_table, a_name_is_purged_for_what_was_stored_before)
{
    uint64_t before = purge_sequence(&table);
    purge_add(&table, 7, PURGE_HARD, now);
    uint64_t after = purge_sequence(&table);
    cr_assert_eq(after, before + 1);
    cr_assert(find(7, before).is_hard);
    cr_assert_not(find(7, before).is_soft);
    cr_assert_not(find(7, after).is_hard);
    cr_assert_not(find(8, before).is_hard);
    purge_add(&table, 7, PURGE_HARD, now);
    cr_assert(find(7, after).is_hard, "again");
}

Test(purge_table, soft_and_hard_purges_of_a_name_do_not_hide_each_other)
{
    purge_add(&table, 7, PURGE_HARD, now);
    purge_add(&table, 7, PURGE_SOFT, (struct wall_seconds){1001});
    struct purge_verdict both = find(7, 0), soft = find(7, 1);
    cr_assert(both.is_hard && both.is_soft);
    cr_assert(soft.is_soft && !soft.is_hard);
    cr_assert_eq(soft.stale_since_s, 1001);
    cr_assert_not(find(7, 2).is_soft);
}

Test(purge_table, any_name_of_several_counts_and_the_earliest_soft_purge)
{
    purge_add(&table, 3, PURGE_SOFT, (struct wall_seconds){1005});
    purge_add(&table, 2, PURGE_SOFT, (struct wall_seconds){1003});
    const uint64_t names[] = {1, 2, 3};
    struct purge_verdict verdict = purge_find(&table, names, 3, 0);
    cr_assert(verdict.is_soft);
    cr_assert_eq(verdict.stale_since_s, 1003);
    cr_assert_not(purge_find(&table, names, 1, 0).is_soft);
}

Test(purge_table, everything_at_once)
{
    purge_add_all(&table, PURGE_SOFT, now);
    cr_assert(find(1, 0).is_soft);
    cr_assert_not(find(1, 0).is_hard);
    cr_assert(purge_find(&table, NULL, 0, 0).is_soft);
    purge_add_all(&table, PURGE_HARD, now);
    cr_assert(find(99, 1).is_hard);
    cr_assert_not(find(99, 2).is_hard);
}

Test(purge_table, a_purge_recorded_elsewhere_takes_a_sequence)
{
    uint64_t sequence = purge_begin(&table);
    cr_assert_eq(purge_sequence(&table), sequence - 1);
    purge_end(&table);
    cr_assert_eq(purge_sequence(&table), sequence);
}

/* Names of one set: more than it has ways. */
Test(purge_table, a_full_set_forgets_no_purge)
{
    for (uint64_t i = 1; i <= PURGE_WAYS + 2; i++)
        purge_add(&table, 5 + i * PURGE_SETS, i == 1 ? PURGE_HARD : PURGE_SOFT, now);
    cr_assert(find(5 + PURGE_SETS, 0).is_hard, "the first was forgotten, and is said of everything");
    cr_assert(find(12345, 0).is_hard);
    cr_assert_not(find(12345, 1).is_hard, "but not of what was stored since");
    cr_assert(find(5 + 2 * PURGE_SETS, 1).is_soft);
    cr_assert(find(12345, 1).is_soft);
    cr_assert_not(find(12345, 2).is_soft);
    for (uint64_t i = 3; i <= PURGE_WAYS + 2; i++) {
        cr_assert(find(5 + i * PURGE_SETS, i - 1).is_soft);
        cr_assert_not(find(5 + i * PURGE_SETS, i).is_soft);
        cr_assert_not(find(5 + i * PURGE_SETS, i).is_hard);
    }
}

Test(purge_table, whatever_is_purged_is_found_however_many_there_are)
{
    enum { NAMES = 3 * PURGE_SETS * PURGE_WAYS };
    uint64_t name = 88172645463325252u;
    for (unsigned i = 0; i < NAMES; i++) {
        name = name * UINT64_C(6364136223846793005) + 1;
        purge_add(&table, name | 1, PURGE_HARD, now);
    }
    name = 88172645463325252u;
    for (unsigned i = 0; i < NAMES; i++) {
        name = name * UINT64_C(6364136223846793005) + 1;
        cr_assert(find(name | 1, i).is_hard, "%u", i);
    }
    cr_assert_not(find(name | 1, NAMES).is_hard);
}

Test(purge_table, purges_of_before_a_restart_hold_in_any_order)
{
    purge_raise(&table, 100);
    purge_restore(&table, 7, PURGE_HARD, 50, now);
    purge_restore(&table, 7, PURGE_HARD, 40, now);
    purge_restore(&table, 7, PURGE_SOFT, 60, (struct wall_seconds){900});
    purge_restore(&table, 0, PURGE_HARD, 20, now);
    cr_assert(find(7, 49).is_hard);
    cr_assert_not(find(7, 50).is_hard);
    cr_assert(find(7, 59).is_soft);
    cr_assert_eq(find(7, 59).stale_since_s, 900);
    cr_assert_not(find(7, 60).is_soft);
    cr_assert(find(8, 19).is_hard, "everything");
    cr_assert_not(find(8, 20).is_hard);
    cr_assert_geq(purge_sequence(&table), 100);
}

Test(purge_table, what_was_purged_since_a_restart_counts_as_later_than_all_before_it)
{
    purge_add(&table, 7, PURGE_HARD, now);
    purge_raise(&table, 100);
    cr_assert(find(7, 100).is_hard, "what was compared with all purges of before the restart");
    cr_assert_not(find(8, 100).is_hard);
    cr_assert_gt(purge_sequence(&table), 100);
    uint64_t since = purge_sequence(&table);
    cr_assert_not(find(7, since).is_hard);
    cr_assert_gt(purge_add(&table, 7, PURGE_HARD, now), since);
    purge_raise(&table, 50);
    cr_assert_gt(purge_sequence(&table), since, "never backwards");
    purge_restore(&table, 9, PURGE_HARD, 60, now);
    purge_raise(&table, 200);
    cr_assert(find(7, 200).is_hard, "once more");
    cr_assert_not(find(9, 60).is_hard, "but not what is of before the restart");
}

Test(purge_table, what_has_no_room_after_a_restart_is_said_of_everything)
{
    enum { NAMES = PURGE_WAYS + 4 };
    purge_raise(&table, 1000);
    for (uint64_t i = 0; i < NAMES; i++) /* all of one set; the oldest last */
        purge_restore(&table, 1 + i * PURGE_SETS, PURGE_HARD, 500 - i, now);
    for (uint64_t i = 0; i < NAMES; i++)
        cr_assert(find(1 + i * PURGE_SETS, 500 - i - 1).is_hard, "%lu", (unsigned long)i);
    cr_assert_not(find(1, 500).is_hard);
    cr_assert(find(9, 500 - PURGE_WAYS - 1).is_hard, "unrelated, but older than what had to be forgotten");
    cr_assert_not(find(9, 500 - PURGE_WAYS).is_hard);
}
