#include "proxy/boot/backoff.h"

#include <criterion/criterion.h>

Test(backoff, starts_at_once_the_first_time_and_ends_at_one_a_second)
{
    static const int64_t expected[] = {0, 50, 100, 200, 400, 800, 1000, 1000, 1000};
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_eq(backoff_delay(&backoff, 1), expected[i], "death %zu", i);
}

Test(backoff, forgets_after_a_long_life)
{
    struct backoff backoff = {0};
    for (int i = 0; i < 10; i++)
        backoff_delay(&backoff, BACKOFF_FORGET_MS - 1);
    cr_assert_eq(backoff_delay(&backoff, BACKOFF_FORGET_MS - 1), BACKOFF_MOST_MS);
    cr_assert_eq(backoff_delay(&backoff, BACKOFF_FORGET_MS), 0);
    cr_assert_eq(backoff_delay(&backoff, 1), BACKOFF_FIRST_MS);
}
