/* The rungs: when each is entered and left, and what the cache may have meanwhile. */
#include "base/memory_ladder.h"

#include <criterion/criterion.h>

#define MIB (UINT64_C(1) << 20)

static enum memory_level step(struct memory_ladder *ladder, uint64_t percent)
{
    return memory_ladder_step(ladder, percent * MIB, 100 * MIB);
}

/* As many looks as it takes. */
static enum memory_level settle(struct memory_ladder *ladder, uint64_t percent)
{
    for (unsigned i = 0; i < MEMORY_CALM_LOOKS * MEMORY_LEVELS; i++)
        step(ladder, percent);
    return ladder->level;
}

Test(memory_ladder, each_rung_is_entered_at_its_part_of_the_limit)
{
    static const struct {
        uint64_t percent;
        enum memory_level level;
    } rows[] = {
        {0, MEMORY_PLENTY},           {84, MEMORY_PLENTY},           {85, MEMORY_ENDS_KEEP_ALIVE},   {89, MEMORY_ENDS_KEEP_ALIVE},
        {90, MEMORY_EVICTS},          {94, MEMORY_EVICTS},           {95, MEMORY_REFUSES_MISSES},    {97, MEMORY_REFUSES_MISSES},
        {98, MEMORY_STOPS_ACCEPTING}, {100, MEMORY_STOPS_ACCEPTING}, {1000, MEMORY_STOPS_ACCEPTING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct memory_ladder ladder = {MEMORY_PLENTY, 0};
        cr_expect_eq(step(&ladder, rows[i].percent), rows[i].level, "%lu %%", (unsigned long)rows[i].percent);
    }
}

Test(memory_ladder, each_rung_is_left_below_a_smaller_part)
{
    static const struct {
        enum memory_level before;
        uint64_t percent;
        enum memory_level level;
    } rows[] = {
        {MEMORY_ENDS_KEEP_ALIVE, 82, MEMORY_ENDS_KEEP_ALIVE},
        {MEMORY_ENDS_KEEP_ALIVE, 81, MEMORY_PLENTY},
        {MEMORY_EVICTS, 86, MEMORY_EVICTS},
        {MEMORY_EVICTS, 85, MEMORY_ENDS_KEEP_ALIVE},
        {MEMORY_REFUSES_MISSES, 92, MEMORY_REFUSES_MISSES},
        {MEMORY_REFUSES_MISSES, 91, MEMORY_EVICTS},
        {MEMORY_STOPS_ACCEPTING, 95, MEMORY_STOPS_ACCEPTING},
        {MEMORY_STOPS_ACCEPTING, 94, MEMORY_REFUSES_MISSES},
        {MEMORY_STOPS_ACCEPTING, 10, MEMORY_PLENTY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct memory_ladder ladder = {rows[i].before, 0};
        cr_expect_eq(settle(&ladder, rows[i].percent), rows[i].level, "from %u at %lu %%", rows[i].before, (unsigned long)rows[i].percent);
    }
}

Test(memory_ladder, down_at_once_and_up_a_rung_at_a_time_when_it_has_been_calm)
{
    struct memory_ladder ladder = {MEMORY_PLENTY, 0};
    cr_assert_eq(step(&ladder, 99), MEMORY_STOPS_ACCEPTING);
    for (enum memory_level level = MEMORY_STOPS_ACCEPTING; level > MEMORY_PLENTY; level--) {
        for (unsigned i = 1; i < MEMORY_CALM_LOOKS; i++)
            cr_assert_eq(step(&ladder, 50), level);
        cr_assert_eq(step(&ladder, 50), level - 1);
    }
}

Test(memory_ladder, one_look_that_is_not_calm_starts_the_wait_anew)
{
    struct memory_ladder ladder = {MEMORY_EVICTS, 0};
    for (unsigned i = 1; i < MEMORY_CALM_LOOKS; i++)
        cr_assert_eq(step(&ladder, 50), MEMORY_EVICTS);
    cr_assert_eq(step(&ladder, 88), MEMORY_EVICTS);
    for (unsigned i = 1; i < MEMORY_CALM_LOOKS; i++)
        cr_assert_eq(step(&ladder, 50), MEMORY_EVICTS);
    cr_assert_eq(step(&ladder, 50), MEMORY_ENDS_KEEP_ALIVE);
}

Test(memory_ladder, what_goes_up_and_down_between_two_marks_changes_nothing)
{
    struct memory_ladder ladder = {MEMORY_PLENTY, 0};
    step(&ladder, 90);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(step(&ladder, i % 2 ? 86 : 94), MEMORY_EVICTS);
}

Test(memory_ladder, without_a_limit_there_is_plenty)
{
    struct memory_ladder ladder = {MEMORY_PLENTY, 0};
    cr_assert_eq(memory_ladder_step(&ladder, UINT64_MAX, 0), MEMORY_PLENTY);
    ladder.level = MEMORY_STOPS_ACCEPTING; /* it was switched off */
    cr_assert_eq(memory_ladder_step(&ladder, UINT64_MAX, 0), MEMORY_PLENTY);
}

Test(memory_ladder, a_limit_larger_than_any_machine_does_not_overflow)
{
    struct memory_ladder ladder = {MEMORY_PLENTY, 0};
    cr_assert_eq(memory_ladder_step(&ladder, UINT64_MAX / 2, UINT64_MAX), MEMORY_PLENTY);
    cr_assert_eq(memory_ladder_step(&ladder, UINT64_MAX, UINT64_MAX), MEMORY_STOPS_ACCEPTING);
}

Test(memory_ladder, cache_grows_into_what_is_left_and_shrinks_by_what_is_too_much)
{
    static const struct {
        enum memory_level level;
        uint64_t used, held, may_have; /* of a limit of 100 */
    } rows[] = {
        {MEMORY_PLENTY, 20, 10, 70},        {MEMORY_PLENTY, 79, 50, 51},          {MEMORY_PLENTY, 80, 50, 50},
        {MEMORY_PLENTY, 84, 50, 50},        {MEMORY_ENDS_KEEP_ALIVE, 89, 50, 50}, {MEMORY_ENDS_KEEP_ALIVE, 70, 50, 60},
        {MEMORY_EVICTS, 90, 50, 40},        {MEMORY_EVICTS, 87, 50, 43},          {MEMORY_EVICTS, 70, 50, 60},
        {MEMORY_REFUSES_MISSES, 96, 10, 0}, {MEMORY_STOPS_ACCEPTING, 150, 10, 0}, {MEMORY_STOPS_ACCEPTING, 150, 90, 20},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(memory_for_cache(rows[i].level, rows[i].used * MIB, 100 * MIB, rows[i].held * MIB), rows[i].may_have * MIB, "row %zu",
                     i);
    cr_expect_eq(memory_for_cache(MEMORY_PLENTY, 90 * MIB, 0, 50 * MIB), UINT64_MAX, "no limit");
}

Test(memory_ladder, the_margin_is_an_eighth_within_bounds)
{
    cr_expect_eq(memory_margin(512 * MIB), 64 * MIB);
    cr_expect_eq(memory_margin(64 * MIB), 16 * MIB, "at least");
    cr_expect_eq(memory_margin(1024 * 1024 * MIB), 1024 * MIB, "at most");
    cr_expect_eq(memory_margin(10 * MIB), 5 * MIB, "never all there is");
}
