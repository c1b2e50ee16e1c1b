/* Tunnels between two socket pairs, whose far ends the test holds. */
#include "proxy/origin/tunnel.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct tunnel *tunnel;
static int client = -1, origin = -1; /* far ends */
static struct tunnel_end end;
static bool has_ended;
static struct deadline watchdog;

static void ended(void *context, const struct tunnel_end *how)
{
    cr_assert_eq(context, &end);
    cr_assert_not(has_ended);
    has_ended = true;
    tunnel = NULL;
    end = *how;
}

static void too_long(struct deadline *deadline)
{
    (void)deadline;
    cr_assert_fail("nothing happened for too long");
}

static bool (*until)(void);

static void look(void *context)
{
    (void)context;
    if (until && until())
        loop_stop(loop);
}

static void run_until(bool (*condition)(void))
{
    until = condition;
    loop_set_deadline(loop, &watchdog, 20000, too_long);
    if (!condition())
        loop_run(loop);
    deadline_clear(&watchdog);
}

static struct connection *side(int *far)
{
    static const struct connection_events nothing;
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *far = fds[1];
    return connection_adopt(loop, fds[0], &nothing, NULL);
}

static void start(const char *client_unread, const char *origin_unread, int64_t idle_ms)
{
    loop = loop_new(0);
    loop_at_turn_end(loop, look, NULL);
    struct connection *near_client = side(&client), *near_origin = side(&origin);
    tunnel =
        tunnel_start(near_client, bytes_from_string(client_unread), near_origin, bytes_from_string(origin_unread), idle_ms, ended, &end);
}

static void stop(void)
{
    if (tunnel)
        tunnel_cut(&tunnel);
    loop_free(&loop);
    close(client);
    close(origin);
}

TestSuite(tunnel, .fini = stop);

static char got_client[4000000], got_origin[4000000];
static size_t got_client_len, got_origin_len, wanted_client, wanted_origin;
static bool client_end, origin_end;

static void take(int fd, char *into, size_t *len, bool *at_end)
{
    ssize_t count;
    while ((count = read(fd, into + *len, 4000000 - *len)) > 0)
        *len += (size_t)count;
    *at_end = count == 0;
}

static bool all_arrived(void)
{
    take(client, got_client, &got_client_len, &client_end);
    take(origin, got_origin, &got_origin_len, &origin_end);
    return got_client_len >= wanted_client && got_origin_len >= wanted_origin;
}

static bool is_over(void)
{
    all_arrived();
    return has_ended;
}

static void expect(const char *at_client, const char *at_origin)
{
    wanted_client = strlen(at_client);
    wanted_origin = strlen(at_origin);
    run_until(all_arrived);
    cr_assert_eq(got_client_len, wanted_client);
    cr_assert_eq(got_origin_len, wanted_origin);
    cr_assert(memcmp(got_client, at_client, wanted_client) == 0);
    cr_assert(memcmp(got_origin, at_origin, wanted_origin) == 0);
}

static void say(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

Test(tunnel, what_was_unread_goes_first_and_bytes_flow_both_ways)
{
    start("from client, ", "from origin, ", 10000);
    say(client, "more");
    say(origin, "more too");
    expect("from origin, more too", "from client, more");
    cr_assert_not(has_ended);
}

static bool origin_ended(void)
{
    all_arrived();
    return origin_end;
}

Test(tunnel, an_end_is_passed_on_and_the_other_direction_goes_on)
{
    start("", "", 10000);
    say(client, "last words");
    shutdown(client, SHUT_WR);
    run_until(origin_ended);
    cr_assert_not(has_ended);
    say(origin, "answer");
    expect("answer", "last words");
    cr_assert_not(client_end);
    shutdown(origin, SHUT_WR);
    run_until(is_over);
    cr_assert(client_end);
    cr_assert_eq(end.to_client_bytes, 6);
    cr_assert_eq(end.to_origin_bytes, 10);
}

static size_t sent;

static bool origin_takes_no_more(void)
{
    static char piece[4096];
    static unsigned turns;
    ssize_t count;
    size_t before = sent;
    while (sent < 3000000 && (count = write(origin, piece, sizeof(piece))) > 0) {
        sent += (size_t)count;
        memset(piece, (int)(sent / sizeof(piece)), sizeof(piece));
    }
    turns = sent == before ? turns + 1 : 0;
    return turns > 3;
}

static bool everything_was_sent(void)
{
    origin_takes_no_more();
    all_arrived();
    return got_client_len >= 3000000;
}

Test(tunnel, a_side_that_does_not_read_holds_the_other_up)
{
    start("", "", 10000);
    run_until(origin_takes_no_more);
    cr_assert_lt(sent, 1500000, "not more than the sockets' buffers and one of the tunnel's");
    say(client, "the other direction flows");
    wanted_client = 0;
    wanted_origin = 25;
    take(origin, got_origin, &got_origin_len, &origin_end);
    run_until(everything_was_sent);
    for (size_t i = 0; i < 3000000; i++)
        if (got_client[i] != (char)(i / 4096))
            cr_assert_fail("byte %zu is wrong", i);
    cr_assert_eq(got_origin_len, 25);
}

Test(tunnel, silence_ends_it)
{
    start("", "", 100);
    run_until(is_over);
    cr_assert(client_end && origin_end);
}

Test(tunnel, a_side_that_breaks_ends_it)
{
    start("", "", 10000);
    close(origin);
    origin = -1;
    say(client, "into the void");
    run_until(is_over);
}

Test(tunnel, cut_it_is_not_told)
{
    start("kept", "", 10000);
    tunnel_cut(&tunnel);
    cr_assert_null(tunnel);
    cr_assert_not(has_ended);
    all_arrived();
    cr_assert(client_end && origin_end);
}
