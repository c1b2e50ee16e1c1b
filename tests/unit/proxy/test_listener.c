/* Listeners: accepting, the limit of connections, running out of descriptors. */
#include "client/fake_request.h"
#include "proxy/client/clients.h"
#include "proxy/client/h1.h"
#include "proxy/listener.h"
#include "tests/unit/descriptors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CLIENTS = 200 };

static struct worker worker;
static struct config config;
static struct listener *listener;
static int listening, clients[CLIENTS];
static union socket_address address;
static bool (*is_done)(void);
static struct monotonic_ms until;
static unsigned wanted, turns, accepts;

/* In place of the C library's. */
int accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags)
{
    accepts++;
    return (int)syscall(SYS_accept4, fd, peer, length, flags);
}

static void turn_ended(void *context)
{
    (void)context;
    turns++;
    if (clock_monotonic().ms > until.ms || (is_done && is_done()))
        loop_stop(worker.loop);
}

static void turn_until(bool (*done)(void), int64_t ms)
{
    is_done = done;
    until = monotonic_add(clock_monotonic(), ms);
    loop_run(worker.loop);
    cr_expect(!done || done(), "waited in vain");
}

static void begin(void)
{
    socklen_t length = sizeof(address.in);
    fake_init();
    worker = (struct worker){.loop = loop_new(0), .config = &config, .counters = aligned_alloc(64, sizeof(struct counters))};
    memset(worker.counters, 0, sizeof(struct counters));
    config = (struct config){.workers = 1,
                             .header_bytes_max = 8192,
                             .header_count_max = 40,
                             .url_bytes_max = 2048,
                             .connections_max = 1000,
                             .header_timeout_ms = 60000,
                             .keep_alive_timeout_ms = 60000,
                             .write_stall_timeout_ms = 60000};
    memset(&address, 0, sizeof(address));
    address.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failed = bind(listening, &address.any, length) | listen(listening, 1024) | getsockname(listening, &address.any, &length);
    cr_assert(!failed);
    memset(clients, -1, sizeof(clients));
    loop_at_turn_end(worker.loop, turn_ended, NULL);
}

static void end(void)
{
    listener_stop(&listener);
    h1_cut(&worker);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (clients[i] >= 0)
            close(clients[i]);
    }
    close(listening);
    loop_free(&worker.loop);
    free(worker.counters);
}

TestSuite(listener, .init = begin, .fini = end, .timeout = 60);

static void connect_clients(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int failed = connect(clients[i], &address.any, sizeof(address.in));
        cr_assert(!failed);
    }
}

static bool have_all(void)
{
    return worker.connections == wanted;
}

Test(listener, a_burst_of_clients_is_accepted)
{
    int value = 0;
    socklen_t length = sizeof(value);
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    connect_clients(0, wanted = CLIENTS);
    turn_until(have_all, 10000);
    cr_expect_eq(clients_public(), CLIENTS);
    /* Inherited from the listening socket. */
    getsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &value, &length);
    cr_expect(value);
}

Test(listener, for_clients_that_come_alone_there_is_hardly_an_accept_in_vain)
{
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    for (unsigned i = 0; i < CLIENTS; i++) {
        connect_clients(i, wanted = i + 1);
        turn_until(have_all, 10000);
    }
    cr_expect_leq(accepts, CLIENTS + CLIENTS / 8 + 1);
}

Test(listener, a_burst_after_clients_that_came_alone_takes_few_turns)
{
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    for (unsigned i = 0; i < 10; i++) {
        connect_clients(i, wanted = i + 1);
        turn_until(have_all, 10000);
    }
    connect_clients(10, wanted = 110);
    turns = accepts = 0;
    turn_until(have_all, 10000);
    cr_expect_leq(turns, 20);
    cr_expect_leq(accepts, 103);
}

static unsigned answered(const char *status)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        char answer[1024] = "";
        if (clients[i] >= 0 && recv(clients[i], answer, sizeof(answer) - 1, MSG_PEEK | MSG_DONTWAIT) > 0)
            count += strncmp(answer + strlen("HTTP/1.1 "), status, 3) == 0;
    }
    return count;
}

static bool ten_turned_away(void)
{
    return answered("503") == 10;
}

Test(listener, clients_over_the_limit_are_turned_away_and_admins_are_not)
{
    config.connections_max = 20;
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    connect_clients(0, 30);
    turn_until(ten_turned_away, 10000);
    cr_expect_eq(worker.connections, 20);
    cr_expect_eq(worker.counters->value[COUNTER_CLIENT_CONNECTIONS_REFUSED], 10);
    listener_stop(&listener);
    listener = listener_start(&worker, listening, LISTENER_ADMIN, "address");
    connect_clients(30, 35);
    wanted = 25;
    turn_until(have_all, 10000);
}

Test(listener, stopping_leaves_the_clients_that_wait_to_others)
{
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    listener_stop(&listener);
    cr_expect_null(listener);
    connect_clients(0, 5);
    turn_until(NULL, 200);
    cr_expect_eq(worker.connections, 0);
    int accepted = accept(listening, NULL, NULL);
    cr_expect_geq(accepted, 0);
    close(accepted);
}

static bool one_turned_away(void)
{
    return answered("503") >= 1;
}

Test(listener, without_descriptors_it_turns_one_away_pauses_and_comes_back)
{
    rlim_t before;
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    connect_clients(0, 20);
    leave_descriptors(5, &before);
    turn_until(one_turned_away, 10000);
    cr_expect_eq(worker.connections, 5);
    turns = 0;
    turn_until(NULL, 300);
    cr_expect_lt(turns, 30, "it spins");
    give_descriptors_back(before);
    wanted = 20 - answered("503");
    turn_until(have_all, 10000);
    cr_expect_geq(wanted, 17);
}

Test(listener, while_it_is_shut_clients_wait)
{
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    listener_open(listener, false);
    connect_clients(0, 5);
    turn_until(NULL, 200);
    cr_expect_eq(worker.connections, 0);
    cr_expect_eq(accepts, 0);
    listener_open(listener, true);
    wanted = 5;
    turn_until(have_all, 10000);
}

Test(listener, one_that_was_shut_while_it_paused_stays_shut_when_the_pause_is_over)
{
    enum { PAUSE_AND_MORE_MS = 800 };
    rlim_t before;
    listener = listener_start(&worker, listening, LISTENER_PUBLIC, "address");
    connect_clients(0, 5);
    leave_descriptors(0, &before);
    turn_until(one_turned_away, 10000);
    give_descriptors_back(before);
    listener_open(listener, false);
    turn_until(NULL, PAUSE_AND_MORE_MS);
    cr_expect_eq(worker.connections, 0);
    listener_open(listener, true);
    wanted = 5 - answered("503");
    turn_until(have_all, 10000);
}
