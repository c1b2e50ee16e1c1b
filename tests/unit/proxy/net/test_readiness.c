/* Readiness: what the kernel is told of connections and when, and that nothing comes to what is closed. Calls of epoll_ctl are counted, and can be made to
 * fail, by having them here instead of in the C library. */
#include "proxy/net/connection.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local unsigned adds, changes, removals, failures_to_come; /* Criterion has an epoll as well, on a thread of its own */

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && failures_to_come > 0) {
        failures_to_come--;
        errno = ENOMEM;
        return -1;
    }
    adds += operation == EPOLL_CTL_ADD;
    changes += operation == EPOLL_CTL_MOD;
    removals += operation == EPOLL_CTL_DEL;
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

/* One end of a connection of ours, and the peer's. */
struct side {
    const char *name;
    struct connection *connection;
    int peer;
    bool speaks, answers, closes_other;
};

static struct loop *loop;
static struct side first = {.name = "first"}, second = {.name = "second"}, third = {.name = "third"};
static char events[256];
static int freed_number;

static void note(const char *who, const char *what)
{
    size_t length = strlen(events);
    snprintf(events + length, sizeof(events) - length, "%s %s, ", who, what);
}

static void open_side(struct side *side);

static void close_other(struct side *side)
{
    struct side *other = side == &first ? &second : &first;
    freed_number = connection_fd(other->connection);
    connection_close(&other->connection);
    other->closes_other = side->closes_other = false;
    open_side(&third);
}

static void on_readable(void *owner)
{
    struct side *side = owner;
    char bytes[16];
    ssize_t got = connection_read(side->connection, bytes, sizeof(bytes));
    note(side->name, got > 0 ? "reads" : got == CONNECTION_AGAIN ? "reads nothing" : "ends");
    if (side->closes_other)
        close_other(side);
    if (side->answers && got > 0)
        connection_write(side->connection, "answer", 6, false);
    if (got != CONNECTION_AGAIN && (side->answers || got <= 0))
        connection_close(&side->connection);
}

static void on_writable(void *owner)
{
    struct side *side = owner;
    note(side->name, "writes");
    connection_want(side->connection, WANT_READ);
}

static void on_broken(void *owner)
{
    struct side *side = owner;
    note(side->name, "breaks");
    connection_close(&side->connection);
}

static const struct connection_events all_events = {.readable = on_readable, .writable = on_writable, .broken = on_broken};

static void open_side(struct side *side)
{
    int ends[2];
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    cr_assert(!failed);
    side->peer = ends[1];
    side->connection = connection_adopt(loop, ends[0], &all_events, side);
    cr_assert(side->connection);
    connection_want(side->connection, WANT_READ);
}

static void say(struct side *side)
{
    ssize_t put = write(side->peer, "x", 1);
    cr_assert_eq(put, 1);
}

/* Connections come as they do to a listener: from the callback of a watch. */
static int bell[2];
static struct watch *listener;
static struct side *coming[2];

static void on_bell(void *unused)
{
    char byte;
    (void)unused;
    ssize_t got = read(bell[0], &byte, 1);
    cr_assert_eq(got, 1);
    for (unsigned i = 0; i < 2 && coming[i]; i++) {
        open_side(coming[i]);
        if (coming[i]->speaks)
            say(coming[i]);
        coming[i] = NULL;
    }
}

static void let_come(struct side *one, struct side *other)
{
    coming[0] = one;
    coming[1] = other;
    ssize_t put = write(bell[1], "x", 1);
    cr_assert_eq(put, 1);
}

static unsigned turns_left;

static void turn_ended(void *unused)
{
    (void)unused;
    if (--turns_left == 0)
        loop_stop(loop);
}

static void run_turns(unsigned turns)
{
    turns_left = turns;
    loop_run(loop);
}

static void begin(void)
{
    loop = loop_new(0);
    cr_assert(loop);
    loop_at_turn_end(loop, turn_ended, NULL);
    int failed = pipe(bell);
    listener = loop_watch(loop, bell[0], on_bell, NULL);
    cr_assert(!failed && listener);
    run_turns(1);
    first.peer = second.peer = third.peer = -1;
    events[0] = '\0';
    adds = changes = removals = 0;
}

static void end(void)
{
    struct side *sides[] = {&first, &second, &third};
    for (unsigned i = 0; i < sizeof(sides) / sizeof(*sides); i++) {
        connection_close(&sides[i]->connection);
        if (sides[i]->peer >= 0)
            close(sides[i]->peer);
    }
    loop_free(&loop); /* and the watch */
    close(bell[0]);
    close(bell[1]);
}

TestSuite(readiness, .init = begin, .fini = end, .timeout = 20);

Test(readiness, a_connection_that_comes_and_goes_within_a_turn_is_never_told_to_the_kernel)
{
    char answer[16];
    first.speaks = first.answers = true;
    let_come(&first, NULL);
    run_turns(1);
    cr_expect_str_eq(events, "first reads, ");
    cr_expect_null(first.connection);
    cr_expect_eq(read(first.peer, answer, sizeof(answer)), 6);
    cr_expect_eq(read(first.peer, answer, sizeof(answer)), 0);
    run_turns(1);
    cr_expect_eq(adds + changes + removals, 0);
}

Test(readiness, one_that_has_nothing_to_say_yet_is_told_once_and_taken_out_by_its_close)
{
    char byte;
    let_come(&first, NULL);
    run_turns(2);
    cr_expect_str_eq(events, "first reads nothing, ");
    say(&first);
    run_turns(1);
    cr_expect_str_eq(events, "first reads nothing, first reads, ");
    connection_close(&first.connection);
    cr_expect_eq(read(first.peer, &byte, 1), 0);
    run_turns(2);
    cr_expect_eq(adds, 1);
    cr_expect_eq(changes + removals, 0);
}

Test(readiness, an_event_of_what_was_closed_meanwhile_is_not_given_to_its_successor)
{
    let_come(&first, &second);
    run_turns(2);
    events[0] = '\0';
    first.closes_other = second.closes_other = true;
    say(&first);
    say(&second);
    run_turns(3); /* both are in the first one's events */
    cr_expect_eq(connection_fd(third.connection), freed_number, "this test is of no use");
    if (first.connection)
        cr_expect_str_eq(events, "first reads, third reads nothing, ");
    else
        cr_expect_str_eq(events, "second reads, third reads nothing, ");
    say(&third);
    events[0] = '\0';
    run_turns(2);
    cr_expect_str_eq(events, "third reads, ");
}

Test(readiness, what_the_kernel_has_no_memory_for_is_told_later)
{
    let_come(&first, NULL);
    failures_to_come = 2;
    run_turns(3);
    say(&first);
    cr_expect_eq(adds, 0);
    run_turns(2);
    cr_expect_eq(adds, 1);
    cr_expect_str_eq(events, "first reads nothing, first reads, ");
}

Test(readiness, who_wants_nothing_costs_a_call_when_something_comes_and_hears_of_the_end)
{
    let_come(&first, NULL);
    run_turns(2);
    connection_want(first.connection, WANT_NOTHING);
    run_turns(2);
    cr_expect_eq(changes + removals, 0);
    say(&first);
    run_turns(3);
    cr_expect_eq(changes, 1);
    cr_expect_eq(removals, 0);
    cr_expect_str_eq(events, "first reads nothing, ");
    close(first.peer);
    first.peer = -1;
    run_turns(2);
    cr_expect_str_eq(events, "first reads nothing, first breaks, ");
    cr_expect_eq(removals, 0, "it was closed in the same turn");
}

static int pipes[2][2];
static struct watch *watches[2];
static unsigned told;

static void frees_the_other(void *context)
{
    struct watch **own = context;
    told++;
    watch_free(&watches[own == &watches[0] ? 1 : 0]);
}

Test(readiness, a_watch_that_was_freed_meanwhile_is_told_nothing_though_its_descriptor_stays_open)
{
    for (unsigned i = 0; i < 2; i++) {
        int failed = pipe(pipes[i]);
        cr_assert(!failed);
        watches[i] = loop_watch(loop, pipes[i][0], frees_the_other, &watches[i]);
        ssize_t put = write(pipes[i][1], "x", 1);
        cr_assert_eq(put, 1);
    }
    cr_expect_eq(adds, 2);
    run_turns(3);
    cr_expect_eq(told, 3, "one of them, in each turn");
    cr_expect_eq(removals, 1);
    watch_free(&watches[0]);
    watch_free(&watches[1]);
    run_turns(2);
    cr_expect_eq(told, 3);
    cr_expect_eq(removals, 2);
}
