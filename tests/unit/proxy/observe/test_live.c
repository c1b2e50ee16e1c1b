/* What is shown to whom, and what is left out. */
#include "proxy/observe/live.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct access_entry usual(void)
{
    return (struct access_entry){
        .client = BYTES("192.0.2.1"),
        .method = BYTES("GET"),
        .target = BYTES("/shop/shoes?size=9"),
        .http_major = 1,
        .http_minor = 1,
        .status = 200,
        .host = BYTES("www.Example.com"),
        .scheme = BYTES("https"),
        .site = BYTES("www.example.com"),
        .result = RESULT_MISS,
        .detail = "private",
        .error = "",
        .duration_us = 1500,
    };
}

static bool matches(struct live_filter filter)
{
    struct access_entry entry = usual();
    return live_filter_matches(&filter, &entry);
}

Test(live, a_filter_of_urls)
{
    static const struct {
        const char *prefix;
        bool matches;
    } cases[] = {
        {"/shop", true},
        {"/shop/shoes?size=9", true},
        {"/shop/shoes?size=99", false},
        {"/Shop", false},
        {"https://www.example.com/", true},
        {"https://www.example.com/shop/", true},
        {"http://www", false},
        {"HTTPS://WWW.", true},
        {"www.example.com/shop", true},
        {"www.example.org", false},
        {"https://www.example.com/shop/shoes?size=9&", false},
        {"https:", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(matches((struct live_filter){.url = bytes_from_string(cases[i].prefix)}), cases[i].matches, "%s", cases[i].prefix);
}

Test(live, a_request_line_without_a_path_is_its_own_url)
{
    struct access_entry entry = usual();
    struct live_filter whole = {.url = BYTES("http://other/")}, path = {.url = BYTES("/")};
    entry.target = BYTES("http://other/a");
    cr_expect(live_filter_matches(&whole, &entry));
    cr_expect_not(live_filter_matches(&path, &entry));
    entry.target = BYTES_NONE;
    cr_expect_not(live_filter_matches(&whole, &entry));
}

Test(live, each_filter_by_itself)
{
    struct live_filter status = {0};
    live_filter_add_status(&status, 404);
    cr_expect_not(matches(status));
    live_filter_add_status(&status, 200);
    cr_expect(matches(status));
    cr_expect(matches((struct live_filter){.results = 1 << RESULT_MISS | 1 << RESULT_HIT}));
    cr_expect_not(matches((struct live_filter){.results = 1 << RESULT_HIT}));
    cr_expect(matches((struct live_filter){.reason = BYTES("private")}));
    cr_expect_not(matches((struct live_filter){.reason = BYTES("privat")}));
    cr_expect(matches((struct live_filter){.site = BYTES("www.example.com")}));
    cr_expect_not(matches((struct live_filter){.site = BYTES("example.com")}));
    cr_expect(matches((struct live_filter){.slower_than_us = 1500}));
    cr_expect_not(matches((struct live_filter){.slower_than_us = 1501}));
    cr_expect(matches((struct live_filter){0}));
}

Test(live, an_error_is_the_reason_and_a_client_that_went_away_is_499)
{
    struct access_entry entry = usual();
    struct live_filter gone = {.reason = BYTES("client-closed")};
    entry.status = 0;
    entry.error = "client-closed";
    entry.site = BYTES_NONE;
    live_filter_add_status(&gone, 499);
    cr_expect(live_filter_matches(&gone, &entry));
    gone.site = BYTES("www.example.com");
    cr_expect_not(live_filter_matches(&gone, &entry));
}

static void show(struct live *live, unsigned count)
{
    struct access_entry entry = usual();
    for (unsigned i = 0; i < count; i++)
        if (live_is_watched(live))
            live_show(live, &entry);
}

static unsigned count_lines(struct bytes text, uint64_t *left_out)
{
    unsigned lines = 0;
    for (size_t at = 0; at < text.len; at += bytes_find(bytes_from(text.at + at, text.len - at), '\n') + 1) {
        unsigned long long more;
        if (sscanf(text.at + at, "{\"left_out\":%llu}", &more) == 1)
            *left_out += more;
        else
            lines++;
    }
    return lines;
}

Test(live, two_viewers_of_two_loops_see_what_each_asked_for)
{
    struct live *loops[] = {live_new(), live_new()};
    struct live_filter all = {0}, none = {.reason = BYTES("vary-star")};
    uint64_t left_out = 0;
    show(loops[0], 5); /* nobody looks yet */
    struct live_viewer *one = live_watch(loops, 2, &all), *other = live_watch(loops, 2, &none);
    show(loops[0], 2);
    show(loops[1], 3);
    cr_expect_eq(count_lines(live_take(one), &left_out), 5);
    cr_expect_eq(live_take(one).len, 0);
    cr_expect_eq(live_take(other).len, 0);
    cr_expect_eq(left_out, 0);
    live_unwatch(&one);
    cr_expect(live_is_watched(loops[0]) && live_is_watched(loops[1]));
    show(loops[0], 2);
    live_unwatch(&other);
    cr_expect_not(live_is_watched(loops[0]) || live_is_watched(loops[1]));
    live_free(&loops[0]);
    live_free(&loops[1]);
}

Test(live, a_viewer_that_does_not_look_is_told_how_many_it_has_missed)
{
    struct live *live = live_new();
    struct live_filter all = {0};
    uint64_t left_out = 0;
    struct live_viewer *viewer = live_watch(&live, 1, &all);
    show(live, 10000);
    unsigned shown = count_lines(live_take(viewer), &left_out);
    cr_expect_gt(shown, 100);
    cr_expect_gt(left_out, 1000);
    cr_expect_eq(shown + left_out, 10000);
    show(live, 1);
    cr_expect_eq(count_lines(live_take(viewer), &left_out), 1);
    live_unwatch(&viewer);
    live_free(&live);
}

Test(live, a_viewer_too_many_is_refused_and_a_place_is_free_again)
{
    struct live *live = live_new();
    struct live_filter all = {0};
    struct live_viewer *viewers[LIVE_VIEWERS_MAX];
    for (unsigned i = 0; i < LIVE_VIEWERS_MAX; i++)
        cr_assert(viewers[i] = live_watch(&live, 1, &all));
    cr_expect_null(live_watch(&live, 1, &all));
    live_unwatch(&viewers[3]);
    cr_expect(viewers[3] = live_watch(&live, 1, &all));
    for (unsigned i = 0; i < LIVE_VIEWERS_MAX; i++)
        live_unwatch(&viewers[i]);
    live_free(&live);
}

/* Every request is shown or counted, though the loop does not wait for the viewer. */
static void *run_loop(void *live)
{
    show(live, 200000);
    return NULL;
}

Test(live, none_is_lost_without_being_counted)
{
    struct live *live = live_new();
    struct live_filter all = {0};
    struct live_viewer *viewer = live_watch(&live, 1, &all);
    uint64_t left_out = 0, shown = 0;
    pthread_t loop;
    cr_assert_eq(pthread_create(&loop, NULL, run_loop, live), 0);
    for (unsigned i = 0; i < 200; i++)
        shown += count_lines(live_take(viewer), &left_out);
    pthread_join(loop, NULL);
    shown += count_lines(live_take(viewer), &left_out);
    cr_expect_eq(shown + left_out, 200000);
    live_unwatch(&viewer);
    live_free(&live);
}
