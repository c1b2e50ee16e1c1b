/* Loops: the order of a turn, mail, deadlines, watches. */
#include "proxy/net/loop.h"

#include "base/http_date.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static struct loop *loop;
static char order[64];
static int ends[2];
static unsigned deliveries, turns, stop_after;

static void note(const char *what)
{
    if (strlen(order) + strlen(what) < sizeof(order))
        strcat(order, what);
}

static void turn_ended(void *context)
{
    note(context);
    if (++turns >= stop_after)
        loop_stop(loop);
}

static void begin(void)
{
    loop = loop_new(3);
    order[0] = '\0';
    deliveries = turns = 0;
    stop_after = 1;
    int failed = pipe(ends);
    cr_assert(loop && !failed);
}

static void end(void)
{
    loop_free(&loop);
    cr_expect_null(loop);
    close(ends[0]);
    close(ends[1]);
}

TestSuite(loop, .init = begin, .fini = end, .timeout = 20);

static void deliver(struct mail *mail)
{
    (void)mail;
    deliveries++;
    note("mail ");
}

static void expired(struct deadline *deadline)
{
    (void)deadline;
    note("deadline ");
}

static void readable(void *context)
{
    char byte;
    ssize_t got = read(ends[0], &byte, 1);
    cr_expect_eq(got, 1);
    note("readable ");
    mail_post(context);
}

Test(loop, a_turn_is_descriptors_mail_deadlines_hooks)
{
    struct mail mail;
    struct deadline deadline = {0};
    mail_init(&mail, loop, deliver);
    struct watch *watch = loop_watch(loop, ends[0], readable, &mail);
    loop_at_turn_end(loop, turn_ended, "first ");
    loop_at_turn_end(loop, turn_ended, "second ");
    loop_set_deadline(loop, &deadline, 0, expired);
    usleep(2 * LOOP_TICK_MS * 1000); /* the deadline is due when the loop first turns */
    ssize_t put = write(ends[1], "x", 1);
    cr_expect_eq(put, 1);
    loop_run(loop);
    cr_expect_str_eq(order, "readable mail deadline first second ");
    watch_free(&watch);
    cr_expect_null(watch);
}

Test(loop, posts_before_a_delivery_are_one)
{
    struct mail mail, other;
    mail_init(&mail, loop, deliver);
    mail_init(&other, loop, deliver);
    cr_expect(!mail_is_posted(&mail));
    for (unsigned i = 0; i < 5; i++)
        waker_wake(&mail.waker);
    mail_post(&other);
    cr_expect(mail_is_posted(&mail));
    loop_at_turn_end(loop, turn_ended, "");
    loop_run(loop);
    cr_expect_eq(deliveries, 2);
    cr_expect(!mail_is_posted(&mail));
}

static void post_again(struct mail *mail)
{
    cr_expect(!mail_is_posted(mail));
    if (++deliveries < 10)
        mail_post(mail);
    else
        loop_stop(loop);
}

Test(loop, mail_posted_while_it_is_delivered_comes_at_once_in_the_next_turn)
{
    struct mail mail;
    mail_init(&mail, loop, post_again);
    stop_after = 1000;
    loop_at_turn_end(loop, turn_ended, "");
    mail_post(&mail);
    struct monotonic_ms before = clock_monotonic();
    loop_run(loop);
    cr_expect_eq(deliveries, 10);
    cr_expect_geq(turns, 10);
    cr_expect_lt(monotonic_since(clock_monotonic(), before), 5 * LOOP_TICK_MS, "it waited for ticks");
}

static void post_from_hook(void *mail)
{
    if (deliveries < 5)
        mail_post(mail);
    else
        loop_stop(loop);
}

Test(loop, mail_posted_at_the_end_of_a_turn_is_not_forgotten)
{
    struct mail mail;
    mail_init(&mail, loop, deliver);
    loop_at_turn_end(loop, post_from_hook, &mail);
    mail_post(&mail);
    struct monotonic_ms before = clock_monotonic();
    loop_run(loop);
    cr_expect_eq(deliveries, 5);
    cr_expect_lt(monotonic_since(clock_monotonic(), before), 3 * LOOP_TICK_MS, "it waited for ticks");
}

Test(loop, an_idle_loop_turns_every_tick)
{
    struct monotonic_ms before = clock_monotonic();
    stop_after = 5;
    loop_at_turn_end(loop, turn_ended, "");
    loop_run(loop);
    int64_t took = monotonic_since(clock_monotonic(), before);
    cr_expect_geq(took, 3 * LOOP_TICK_MS);
    cr_expect_eq(turns, 5);
}

Test(loop, a_stop_before_the_run_is_not_lost_and_a_loop_can_run_again)
{
    loop_stop(loop);
    loop_run(loop);
    stop_after = 2;
    loop_at_turn_end(loop, turn_ended, "");
    loop_run(loop);
    cr_expect_geq(turns, 2);
}

Test(loop, time_is_read_once_a_turn)
{
    char date[HTTP_DATE_LEN];
    cr_expect_eq(loop_number(loop), 3);
    cr_expect_leq(monotonic_since(clock_monotonic(), loop_now(loop)), 1000);
    cr_expect_leq(clock_wall().s - loop_wall(loop).s, 1);
    http_date_format(loop_wall(loop), date);
    cr_expect_eq(memcmp(loop_http_date(loop), date, HTTP_DATE_LEN), 0);
}

static struct watch *own_watch;

static void frees_its_watch(void *context)
{
    (void)context;
    watch_free(&own_watch);
    loop_stop(loop);
}

Test(loop, a_watch_may_be_freed_from_its_callback)
{
    own_watch = loop_watch(loop, ends[0], frees_its_watch, NULL);
    ssize_t put = write(ends[1], "x", 1);
    cr_expect_eq(put, 1);
    loop_run(loop);
    cr_expect_null(own_watch);
}

static void reads_the_end(void *context)
{
    char byte;
    (void)context;
    deliveries += read(ends[0], &byte, 1) == 0;
    if (deliveries == 2)
        loop_stop(loop);
}

Test(loop, a_watch_goes_on_telling_until_it_is_freed)
{
    struct watch *watch = loop_watch(loop, ends[0], reads_the_end, NULL);
    close(ends[1]);
    loop_run(loop);
    ends[1] = -1;
    cr_expect_eq(deliveries, 2);
    watch_free(&watch);
}

Test(loop, what_cannot_be_polled_is_not_watched)
{
    FILE *file = tmpfile();
    cr_expect_null(loop_watch(loop, fileno(file), readable, NULL));
    fclose(file);
}
