#include "proxy/observe/top.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void count_url(struct top *top, unsigned number, uint64_t bytes, bool is_miss)
{
    char path[32];
    int length = snprintf(path, sizeof path, "/%u", number);
    top_count(top, &(struct top_request){.scheme = BYTES("http"),
                                         .host = BYTES("a"),
                                         .path = bytes_from(path, (size_t)length),
                                         .site = BYTES("a"),
                                         .status = 200,
                                         .bytes = bytes,
                                         .is_miss = is_miss});
}

static struct top_lists merge(struct arena *arena, struct top **tops, unsigned count)
{
    struct top_lists lists;
    top_merge(tops, count, 10, arena, &lists);
    return lists;
}

Test(top, what_is_frequent_is_found_among_many_that_are_not)
{
    struct top *top = top_new();
    struct arena arena;
    arena_init(&arena);
    for (unsigned i = 0; i < 20000; i++)
        count_url(top, i % 10 == 0 ? 7 : i % 10 == 1 ? 8 : 1000 + i, 10, i % 20 == 0);
    struct top_lists lists = merge(&arena, &top, 1);
    const struct top_list *list = &lists.by[TOP_URLS][TOP_REQUESTS];
    cr_assert_eq(list->count, 10);
    cr_assert(bytes_equal(list->rows[0].name, BYTES("http://a/7")) || bytes_equal(list->rows[1].name, BYTES("http://a/7")));
    cr_assert(bytes_equal(list->rows[0].name, BYTES("http://a/8")) || bytes_equal(list->rows[1].name, BYTES("http://a/8")));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_geq(list->rows[i].count, 2000);
        cr_assert_leq(list->rows[i].count - list->rows[i].error, 2000);
    }
    cr_assert(bytes_equal(lists.by[TOP_URLS][TOP_MISSES].rows[0].name, BYTES("http://a/7")));
    cr_assert_eq(lists.by[TOP_SITES][TOP_BYTES].rows[0].count, 200000);
    cr_assert_eq(lists.by[TOP_STATUSES][TOP_REQUESTS].rows[0].count, 20000);
    arena_free(&arena);
    top_free(&top);
}

Test(top, loops_are_added_up)
{
    struct top *tops[] = {top_new(), top_new()};
    struct arena arena;
    arena_init(&arena);
    for (unsigned i = 0; i < 5; i++) {
        count_url(tops[0], 1, 1, false);
        count_url(tops[1], i < 3 ? 1 : 2, 1, false);
    }
    struct top_lists lists = merge(&arena, tops, 2);
    cr_assert_eq(lists.by[TOP_URLS][TOP_REQUESTS].count, 2);
    cr_assert_eq(lists.by[TOP_URLS][TOP_REQUESTS].rows[0].count, 8);
    cr_assert_eq(lists.by[TOP_URLS][TOP_REQUESTS].rows[1].count, 2);
    arena_free(&arena);
    top_free(&tops[0]);
    top_free(&tops[1]);
}

Test(top, a_busy_loop_counts_some_for_all)
{
    struct top *top = top_new();
    struct arena arena;
    struct monotonic_ms now = {1000};
    unsigned counted = 0, asked = 0;
    arena_init(&arena);
    for (unsigned tick = 0; tick < 100; tick++, now.ms += 100) {
        top_tick(top, now);
        for (unsigned i = 0; i < 10000; i++, asked++) {
            if (top_wants(top)) {
                top_count(top, &(struct top_request){.status = 200});
                counted++;
            }
        }
    }
    struct top_lists lists = merge(&arena, &top, 1);
    cr_assert_lt(counted, asked / 20);
    cr_assert_float_eq((double)lists.by[TOP_STATUSES][TOP_REQUESTS].rows[0].count, asked, asked * 0.05);
    arena_free(&arena);
    top_free(&top);
}

Test(top, what_is_long_ago_is_forgotten)
{
    struct top *top = top_new();
    struct arena arena;
    struct monotonic_ms now = {1000};
    arena_init(&arena);
    top_tick(top, now);
    count_url(top, 1, 1, false);
    for (unsigned i = 0; i < 2; i++) {
        struct top_lists lists = merge(&arena, &top, 1);
        cr_assert_eq(lists.by[TOP_URLS][TOP_REQUESTS].count, 1);
        now.ms += TOP_WINDOW_MS;
        top_tick(top, now);
    }
    struct top_lists lists = merge(&arena, &top, 1);
    cr_assert_eq(lists.by[TOP_URLS][TOP_REQUESTS].count, 0);
    arena_free(&arena);
    top_free(&top);
}
