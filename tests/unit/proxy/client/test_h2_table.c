/* Streams by their numbers. */
#include "proxy/client/h2_table.h"

#include <criterion/criterion.h>

enum { STREAMS = 1000 };

Test(h2_table, nothing_is_in_an_empty_one)
{
    struct h2_table table = {.buckets = NULL};
    cr_assert_null(h2_table_find(&table, 1));
    h2_table_free(&table);
}

Test(h2_table, finds_what_was_added_and_not_removed)
{
    static struct h2_table_link links[STREAMS];
    struct h2_table table = {.buckets = NULL};
    for (int32_t i = 0; i < STREAMS; i++)
        h2_table_add(&table, &links[i], 2 * i + 1);
    for (int32_t i = 0; i < STREAMS; i += 3)
        h2_table_remove(&table, &links[i]);
    for (int32_t i = 0; i < STREAMS; i++)
        cr_assert_eq(h2_table_find(&table, 2 * i + 1), i % 3 == 0 ? NULL : &links[i], "%d", i);
    cr_assert_null(h2_table_find(&table, 2 * STREAMS + 1));
    for (int32_t i = 0; i < STREAMS; i++)
        if (i % 3 != 0)
            h2_table_remove(&table, &links[i]);
    cr_assert_eq(table.count, 0);
    h2_table_free(&table);
}

/* A long one and many short ones, whose numbers come to the same bucket again and again. */
Test(h2_table, one_that_stays_is_found_among_those_that_go)
{
    struct h2_table_link stays, goes;
    struct h2_table table = {.buckets = NULL};
    h2_table_add(&table, &stays, 1);
    for (int32_t id = 3; id < 2001; id += 2) {
        h2_table_add(&table, &goes, id);
        cr_assert_eq(h2_table_find(&table, 1), &stays);
        cr_assert_eq(h2_table_find(&table, id), &goes);
        h2_table_remove(&table, &goes);
        cr_assert_null(h2_table_find(&table, id));
    }
    cr_assert_lt(table.capacity, 16);
    h2_table_free(&table);
}
