/* Connections over loopback TCP: connecting, readiness, what the kernel is told, and how they end. */
#include "proxy/net/connection.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop *loop;
static int listening, peer;
static struct connection *connection;
static union socket_address address;
static char events[256];
static enum error connect_error;
static char buffer[65536];

static void note(const char *what)
{
    if (strlen(events) + strlen(what) < sizeof(events))
        strcat(events, what);
}

static void on_readable(void *owner)
{
    (void)owner;
    ssize_t got = connection_read(connection, buffer, sizeof(buffer));
    note(got > 0 ? "readable " : got == CONNECTION_EOF ? "end " : got == CONNECTION_ERROR ? "error " : "again ");
    if (got <= 0)
        connection_want(connection, WANT_NOTHING);
    loop_stop(loop);
}

static void on_writable(void *owner)
{
    (void)owner;
    note("writable ");
    connection_want(connection, connection_wants(connection) & ~(unsigned)WANT_WRITE);
    loop_stop(loop);
}

static void on_connected(void *owner, enum error error)
{
    (void)owner;
    note("connected ");
    connect_error = error;
    loop_stop(loop);
}

static void on_broken(void *owner)
{
    (void)owner;
    note("broken ");
    loop_stop(loop);
}

static const struct connection_events all_events = {on_readable, on_writable, on_connected, on_broken};

static void patience_ended(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

/* Runs until an event stopped the loop, or `ms` passed. */
static void run_for(int64_t ms)
{
    struct deadline deadline = {0};
    loop_set_deadline(loop, &deadline, ms, patience_ended);
    loop_run(loop);
    deadline_clear(&deadline);
}

static void begin(void)
{
    socklen_t length = sizeof(address.in);
    loop = loop_new(0);
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof(address));
    address.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int failed = bind(listening, &address.any, length) | listen(listening, 10) | getsockname(listening, &address.any, &length);
    cr_assert(!failed);
    events[0] = '\0';
    peer = -1;
    connection = NULL;
}

static void end(void)
{
    connection_close(&connection);
    loop_free(&loop);
    close(listening);
    if (peer >= 0)
        close(peer);
}

static void connect_pair(void)
{
    connection = connection_connect(loop, &address, sizeof(address.in), &all_events, NULL);
    cr_assert(connection);
    peer = accept(listening, NULL, NULL);
    run_for(5000);
    cr_assert_str_eq(events, "connected ");
    cr_assert_eq(connect_error, ERROR_OK);
    events[0] = '\0';
}

TestSuite(connection, .init = begin, .fini = end, .timeout = 30);

Test(connection, connects_and_both_sides_hear_each_other)
{
    union socket_address other;
    char text[64], byte;
    connect_pair();
    connection_peer(connection, &other);
    cr_expect_eq(other.in.sin_port, address.in.sin_port);
    cr_expect_eq(socket_address_format(&other, text, sizeof(text)), strlen("127.0.0.1"));
    cr_expect_eq(memcmp(text, "127.0.0.1", 9), 0);
    cr_expect_eq(connection_loop(connection), loop);
    cr_expect_eq(connection_write(connection, "x", 1, false), 1);
    cr_expect_eq(read(peer, &byte, 1), 1);
    struct iovec iov[2] = {{"ab", 2}, {"c", 1}};
    cr_expect_eq(connection_writev(connection, iov, 2), 3);
    cr_expect_eq(read(peer, buffer, 10), 3);
    cr_expect(!connection_has_input(connection));
    connection_want(connection, WANT_READ);
    cr_expect_eq(write(peer, "y", 1), 1);
    run_for(5000);
    cr_expect_str_eq(events, "readable ");
}

Test(connection, a_refused_connect_says_so_and_never_from_inside)
{
    close(listening);
    connection = connection_connect(loop, &address, sizeof(address.in), &all_events, NULL);
    cr_assert(connection);
    cr_expect_str_eq(events, "");
    run_for(5000);
    cr_expect_str_eq(events, "connected ");
    cr_expect_eq(connect_error, ERROR_ORIGIN_REFUSED);
    listening = socket(AF_INET, SOCK_STREAM, 0);
}

Test(connection, a_connect_that_fails_at_once_is_told_later)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"};
    union socket_address nowhere;
    memcpy(&nowhere, &path, sizeof(path));
    connection = connection_connect(loop, &nowhere, sizeof(path), &all_events, NULL);
    cr_assert(connection);
    cr_expect_str_eq(events, "");
    run_for(5000);
    cr_expect_str_eq(events, "connected ");
    cr_expect_eq(connect_error, ERROR_ORIGIN_UNREACHABLE, "%s", error_word(connect_error));
}

Test(connection, unwanted_bytes_are_left_alone_and_cause_no_busy_loop)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    connection_want(connection, WANT_NOTHING);
    cr_expect_eq(write(peer, "x", 1), 1);
    run_for(200);
    cr_expect_str_eq(events, "");
    cr_expect(connection_has_input(connection));
    connection_want(connection, WANT_READ); /* level-triggered: what is there is told again */
    run_for(5000);
    cr_expect_str_eq(events, "readable ");
}

Test(connection, a_fin_is_an_end_when_wanted_and_nothing_when_not)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    connection_want(connection, WANT_NOTHING);
    shutdown(peer, SHUT_WR);
    run_for(200);
    cr_expect_str_eq(events, "");
    cr_expect_eq(connection_write(connection, "x", 1, false), 1, "half-closed clients are still answered");
    connection_want(connection, WANT_READ);
    run_for(5000);
    cr_expect_str_eq(events, "end ");
}

static void reset_peer(void)
{
    struct linger at_once = {1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(peer);
    peer = -1;
}

Test(connection, a_reset_is_told_while_nothing_is_wanted)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    connection_want(connection, WANT_NOTHING);
    reset_peer();
    run_for(5000);
    cr_expect_str_eq(events, "broken ");
}

Test(connection, a_reset_after_unwanted_bytes_is_told_too)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    connection_want(connection, WANT_NOTHING);
    cr_expect_eq(write(peer, "x", 1), 1);
    run_for(100);
    reset_peer();
    run_for(5000);
    cr_expect_str_eq(events, "broken ");
}

Test(connection, urgent_data_cause_no_busy_loop)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    connection_want(connection, WANT_NOTHING);
    cr_expect_eq(write(peer, "x", 1), 1);
    cr_expect_eq(send(peer, "!", 1, MSG_OOB), 1);
    run_for(200);
    cr_expect_str_eq(events, "");
    connection_want(connection, WANT_READ);
    run_for(5000);
    cr_expect_str_eq(events, "readable ");
}

Test(connection, a_reset_is_an_error_to_who_reads)
{
    connect_pair();
    connection_want(connection, WANT_READ);
    reset_peer();
    run_for(5000);
    cr_expect_str_eq(events, "error ");
    cr_expect_eq(connection_write(connection, "x", 1, false), CONNECTION_ERROR); /* and raises no signal */
    struct iovec iov = {"x", 1};
    cr_expect_eq(connection_writev(connection, &iov, 1), CONNECTION_ERROR);
}

Test(connection, writable_is_told_once_the_peer_has_read)
{
    ssize_t put;
    connect_pair();
    memset(buffer, 'x', sizeof(buffer));
    while ((put = connection_write(connection, buffer, sizeof(buffer), false)) > 0)
        ;
    cr_expect_eq(put, CONNECTION_AGAIN);
    connection_want(connection, WANT_WRITE | WANT_READ);
    run_for(100);
    cr_expect_str_eq(events, "");
    while (recv(peer, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
        ;
    run_for(5000);
    cr_expect_str_eq(events, "writable ");
}

/* What the peer did may take its time through the kernel. */
static bool input_comes(void)
{
    for (unsigned looks = 0; looks < 10000 && !connection_has_input(connection); looks++)
        usleep(1000);
    return connection_has_input(connection);
}

Test(connection, input_is_bytes_an_end_or_an_error)
{
    connect_pair();
    cr_expect(!connection_has_input(connection));
    shutdown(peer, SHUT_WR);
    cr_expect(input_comes());
}

Test(connection, close_ends_with_a_fin_and_reset_with_a_reset)
{
    connect_pair();
    connection_close(&connection);
    cr_expect_null(connection);
    cr_expect_eq(read(peer, buffer, 1), 0);
    close(peer);
    events[0] = '\0';
    connect_pair();
    connection_reset(&connection);
    cr_expect_null(connection);
    cr_expect_eq(read(peer, buffer, 1), -1);
    cr_expect_eq(errno, ECONNRESET);
}

Test(connection, shutdown_ends_one_direction)
{
    connect_pair();
    connection_shutdown(connection);
    cr_expect_eq(read(peer, buffer, 1), 0);
    connection_want(connection, WANT_READ);
    cr_expect_eq(write(peer, "x", 1), 1);
    run_for(5000);
    cr_expect_str_eq(events, "readable ");
}

static void closes_from_inside(void *owner)
{
    (void)owner;
    note("readable ");
    connection_close(&connection);
    loop_stop(loop);
}

Test(connection, may_be_closed_from_its_callback)
{
    static const struct connection_events closing = {.readable = closes_from_inside, .writable = on_writable};
    connect_pair();
    connection_set_owner(connection, &closing, NULL);
    connection_want(connection, WANT_READ | WANT_WRITE);
    cr_expect_eq(write(peer, "x", 1), 1);
    cr_expect(input_comes());
    run_for(5000);
    cr_expect_str_eq(events, "readable ", "no callback comes after the close");
}

Test(connection, is_closed_with_its_loop)
{
    connect_pair();
    loop_free(&loop);
    connection = NULL;
    cr_expect_eq(read(peer, buffer, 1), 0);
}
