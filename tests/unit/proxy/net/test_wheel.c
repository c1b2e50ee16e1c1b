/* Deadlines: never early, late by less than a tick and the turn they wait for; whatever is set, pushed back, pulled in and cleared. */
#include "proxy/net/wheel.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct wheel wheel;
static struct monotonic_ms now;
static unsigned expired_count;
static struct deadline *expired_last;

static void note(struct deadline *deadline)
{
    cr_expect(!deadline_is_set(deadline));
    cr_expect_leq(deadline->when.ms, now.ms, "early");
    expired_count++;
    expired_last = deadline;
}

static void begin(void)
{
    now.ms = 1234567;
    expired_count = 0;
    wheel_init(&wheel, now);
}

static void set_with(struct deadline *deadline, int64_t ms, void (*expired)(struct deadline *))
{
    deadline->expired = expired;
    wheel_set(&wheel, deadline, monotonic_add(now, ms));
}

static void set(struct deadline *deadline, int64_t ms)
{
    set_with(deadline, ms, note);
}

static void advance(int64_t ms)
{
    now.ms += ms;
    wheel_advance(&wheel, now);
}

/* How long it took until something expired, in steps of 10 ms. */
static int64_t time_to_expiry(int64_t at_most)
{
    unsigned before = expired_count;
    int64_t waited = 0;
    while (expired_count == before && waited < at_most) {
        advance(10);
        waited += 10;
    }
    return waited;
}

TestSuite(wheel, .init = begin);

Test(wheel, a_deadline_expires_within_a_tick_of_its_time)
{
    static const int64_t times[] = {0, 1, 49, 50, 51, 100, 999, 51150, 51200, 51250, 60000, 102400, 3600000};
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct deadline deadline = {0};
        set(&deadline, times[i]);
        cr_expect(deadline_is_set(&deadline));
        int64_t waited = time_to_expiry(times[i] + 1000);
        cr_expect_geq(waited, times[i]);
        cr_expect_leq(waited, times[i] + 2 * LOOP_TICK_MS + 10, "%ld", (long)times[i]);
        cr_expect(!deadline_is_set(&deadline));
        advance(10);
    }
}

Test(wheel, pushing_back_and_pulling_in)
{
    struct deadline deadline = {0};
    set(&deadline, 1000);
    for (unsigned i = 0; i < 100; i++) { /* a busy kept connection */
        advance(500);
        set(&deadline, 1000);
    }
    cr_expect_eq(expired_count, 0);
    cr_expect_leq(time_to_expiry(2000), 1110);
    cr_expect_eq(expired_count, 1);
    set(&deadline, 100000);
    set(&deadline, 200);
    cr_expect_leq(time_to_expiry(2000), 310);
}

Test(wheel, a_cleared_deadline_does_not_expire_and_can_be_set_again)
{
    struct deadline deadline = {0};
    deadline_clear(&deadline); /* unset: harmless */
    set(&deadline, 100);
    deadline_clear(&deadline);
    deadline_clear(&deadline);
    cr_expect(!deadline_is_set(&deadline));
    advance(1000);
    cr_expect_eq(expired_count, 0);
    set(&deadline, 100);
    advance(1000);
    cr_expect_eq(expired_count, 1);
}

Test(wheel, a_stopped_process_finds_everything_that_expired_meanwhile)
{
    struct deadline deadlines[200] = {0};
    for (unsigned i = 0; i < 200; i++)
        set(&deadlines[i], 1 + i * 997);
    advance(100 * 997);
    cr_expect_eq(expired_count, 100);
    advance(1000000);
    cr_expect_eq(expired_count, 200);
}

static struct deadline *neighbours[3];

static void set_again(struct deadline *deadline)
{
    note(deadline);
    set_with(deadline, 0, set_again);
}

static void clear_neighbours(struct deadline *deadline)
{
    note(deadline);
    for (unsigned i = 0; i < 3; i++) {
        if (neighbours[i] != deadline) {
            deadline_clear(neighbours[i]);
            free(neighbours[i]);
        }
    }
    free(deadline);
}

Test(wheel, one_that_sets_itself_again_at_once_expires_once_a_tick)
{
    struct deadline deadline = {0};
    set_with(&deadline, 0, set_again);
    for (unsigned i = 0; i < 10; i++)
        advance(LOOP_TICK_MS);
    cr_expect_geq(expired_count, 9);
    cr_expect_leq(expired_count, 10);
    advance(10 * LOOP_TICK_MS);
    cr_expect_leq(expired_count, 11);
}

Test(wheel, one_may_clear_and_free_those_that_expire_with_it)
{
    for (unsigned i = 0; i < 3; i++) {
        neighbours[i] = calloc(1, sizeof(struct deadline));
        set_with(neighbours[i], 100, clear_neighbours);
    }
    advance(1000);
    cr_expect_eq(expired_count, 1);
}

/* Against the plain model: a list of times. */
Test(wheel, any_mixture_agrees_with_the_model)
{
    enum { COUNT = 500 };
    static struct deadline deadlines[COUNT];
    static int64_t model[COUNT]; /* -1: unset */
    memset(model, -1, sizeof(model));
    srand(7);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i = (unsigned)rand() % COUNT;
        switch (rand() % 8) {
        case 0:
            deadline_clear(&deadlines[i]);
            model[i] = -1;
            break;
        case 1:
            advance(rand() % 400);
            for (unsigned k = 0; k < COUNT; k++) {
                if (model[k] < 0)
                    continue;
                if (!deadline_is_set(&deadlines[k]))
                    model[k] = -1; /* `note` has seen that it was not early */
                else
                    cr_assert_leq(now.ms - model[k], 2 * LOOP_TICK_MS, "late");
            }
            break;
        default:
            model[i] = now.ms + rand() % (rand() % 10 ? 3000 : 200000);
            deadlines[i].expired = note;
            wheel_set(&wheel, &deadlines[i], (struct monotonic_ms){model[i]});
            break;
        }
        cr_assert_eq(deadline_is_set(&deadlines[i]), model[i] >= 0);
    }
    cr_expect_gt(expired_count, 1000);
}
