/* Round robin, and what failed. */
#include "proxy/origin/balance.h"

#include <criterion/criterion.h>
#include <string.h>

enum { COUNT = 3, DOWN_MS = 1000 };

static struct health healths[COUNT];
static struct health *const pointers[COUNT] = {&healths[0], &healths[1], &healths[2]};
static unsigned cursor;

static void reset(void)
{
    memset(healths, 0, sizeof(healths));
    cursor = 0;
}

/* The order as text; in upper case when all are down. */
static const char *order_at(int64_t now_ms)
{
    static char text[COUNT + 1];
    unsigned order[COUNT];
    bool all_down = balance_order(pointers, COUNT, &cursor, (struct monotonic_ms){now_ms}, DOWN_MS, order);
    for (unsigned i = 0; i < COUNT; i++)
        text[i] = (char)((all_down ? 'A' : 'a') + order[i]);
    return text;
}

static void fail(unsigned index, int64_t now_ms)
{
    health_fail(&healths[index], (struct monotonic_ms){now_ms}, DOWN_MS);
}

Test(balance, healthy_ones_take_turns, .init = reset)
{
    cr_assert_str_eq(order_at(0), "abc");
    cr_assert_str_eq(order_at(0), "bca");
    cr_assert_str_eq(order_at(0), "cab");
    cr_assert_str_eq(order_at(0), "abc");
}

Test(balance, one_that_failed_comes_last_until_its_time_is_over, .init = reset)
{
    fail(1, 0);
    cr_assert_str_eq(order_at(0), "acb");
    cr_assert_str_eq(order_at(999), "cab");
    cr_assert_str_eq(order_at(999), "cab");
    cr_assert_str_eq(order_at(999), "acb");
    cr_assert_str_eq(order_at(1000), "bca");
}

Test(balance, after_its_time_one_request_tries_it_and_the_others_wait, .init = reset)
{
    fail(0, 0);
    cr_assert_str_eq(order_at(1000), "abc", "the one that tries");
    cursor = 0;
    cr_assert_str_eq(order_at(1001), "bca", "the others");
    cursor = 0;
    cr_assert_str_eq(order_at(2000), "abc", "nothing came of the first try: one more");
    health_succeed(&healths[0]);
    cursor = 0;
    cr_assert_str_eq(order_at(2001), "abc");
    cursor = 0;
    cr_assert_str_eq(order_at(2002), "abc");
}

Test(balance, to_be_second_in_order_is_not_to_be_tried, .init = reset)
{
    fail(1, 0);
    cr_assert_str_eq(order_at(1000), "abc");
    cursor = 1;
    cr_assert_str_eq(order_at(1001), "bca", "still due");
}

Test(balance, when_all_are_down_they_are_all_in_the_order, .init = reset)
{
    for (unsigned i = 0; i < COUNT; i++)
        fail(i, 0);
    cr_assert_str_eq(order_at(1), "ABC");
    cr_assert_str_eq(order_at(1), "BCA");
    cr_assert_str_eq(order_at(1), "CAB");
    cr_assert_str_eq(order_at(1000), "abc", "asking has not made them stay down");
}

Test(balance, a_failure_is_news_once, .init = reset)
{
    cr_assert(health_fail(&healths[0], (struct monotonic_ms){0}, DOWN_MS));
    cr_assert_not(health_fail(&healths[0], (struct monotonic_ms){5000}, DOWN_MS));
    cr_assert(health_is_down(&healths[0], (struct monotonic_ms){5999}));
    health_succeed(&healths[0]);
    cr_assert_not(health_is_down(&healths[0], (struct monotonic_ms){5999}));
    cr_assert(health_fail(&healths[0], (struct monotonic_ms){6000}, DOWN_MS));
}

Test(balance, none_at_all_is_no_order, .init = reset)
{
    cr_assert(balance_order(NULL, 0, &cursor, (struct monotonic_ms){0}, DOWN_MS, NULL));
}
