/* The order of a turn: what open connections have to say comes before handshakes, and of those there is one part of a step while others are there. */
#include "proxy/net/tls_loop.h"

#include "tests/unit/proxy/net/tls_peer.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

enum { HANDSHAKES = 5, TURNS_MAX = 1000 };

static struct loop *loop;
static struct pair pair, other;
static struct tls_server *server;
static struct tls_tickets *tickets;
static struct connection *shaking[HANDSHAKES], *plain;
static int clients[HANDSHAKES], plain_client;
static unsigned failed, served, answered_before, most_at_once;

static int open_pair(int *theirs)
{
    int sockets[2], wrong = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets);
    cr_assert(!wrong);
    fcntl(sockets[0], F_SETFL, O_NONBLOCK);
    *theirs = sockets[1];
    return sockets[0];
}

static void on_shaken(void *owner, enum error error)
{
    cr_assert_neq(error, ERROR_OK);
    failed++;
    connection_close((struct connection **)owner);
}

static void nothing(void *owner)
{
    (void)owner;
}

static const struct connection_events shaking_events = {.readable = nothing, .writable = nothing, .connected = on_shaken};

static void begin_handshake(unsigned i, const void *first, size_t length)
{
    shaking[i] = connection_adopt(loop, open_pair(&clients[i]), &shaking_events, &shaking[i]);
    bool started = connection_start_tls(shaking[i], server, false, BYTES_NONE);
    cr_assert(started && write(clients[i], first, length) == (ssize_t)length);
}

static void begin_handshakes(const void *first, size_t length)
{
    for (unsigned i = 0; i < HANDSHAKES; i++)
        begin_handshake(i, first, length);
}

static unsigned answered(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        struct pollfd state = {.fd = clients[i], .events = POLLIN};
        count += poll(&state, 1, 0) == 1;
    }
    return count;
}

static void begin(void)
{
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    signal(SIGPIPE, SIG_IGN);
    memset(clients, -1, sizeof(clients));
    loop = loop_new(0);
    pair = pair_make("EC", "www.example.org", NULL);
    other = pair_make("EC", "other.example", NULL);
    tickets = tls_tickets_new();
    struct tls_server_settings settings = settings_of_two(sites, certificates, &pair, &other);
    settings.tickets = tickets;
    server = tls_server_new(&settings, note_report, NULL);
    cr_assert(server, "%s", reported);
}

static void end(void)
{
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        if (shaking[i])
            connection_close(&shaking[i]);
        close(clients[i]);
    }
    connection_close(&plain);
    close(plain_client);
    loop_free(&loop);
    tls_server_unref(&server);
    tls_tickets_unref(&tickets);
    pair_free(&pair);
    pair_free(&other);
}

TestSuite(tls_loop, .init = begin, .fini = end, .timeout = 60);

static void serve_once(void *owner)
{
    (void)owner;
    cr_expect_eq(failed, 0, "a handshake came first");
    served++;
    connection_want(plain, WANT_NOTHING);
    loop_stop(loop);
}

Test(tls_loop, an_open_connection_is_served_before_the_handshakes_of_its_turn)
{
    static const struct connection_events events = {.readable = serve_once, .writable = nothing};
    begin_handshakes("\x01", 1); /* no handshake begins so */
    plain = connection_adopt(loop, open_pair(&plain_client), &events, NULL);
    connection_want(plain, WANT_READ);
    cr_assert_eq(write(plain_client, "x", 1), 1);
    loop_run(loop);
    cr_expect_eq(served, 1);
    cr_expect_geq(failed, 1, "they have their share of the same turn");
}

/* A ClientHello, as OpenSSL writes it. */
static size_t client_hello(uint8_t *out, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_connect(ssl);
    int length = BIO_read(SSL_get_wbio(ssl), out, (int)size);
    SSL_free(ssl);
    SSL_CTX_free(context);
    cr_assert_gt(length, 0);
    return (size_t)length;
}

/* Has something to say in each turn: nobody reads what came. */
static void note_turn(void *owner)
{
    (void)owner;
    unsigned now = answered();
    most_at_once = now - answered_before > most_at_once ? now - answered_before : most_at_once;
    answered_before = now;
    if (now == HANDSHAKES || ++served == TURNS_MAX)
        loop_stop(loop);
}

Test(tls_loop, beside_an_open_connection_a_turn_makes_one_step)
{
    static const struct connection_events events = {.readable = note_turn, .writable = nothing};
    uint8_t hello[2000];
    size_t length = client_hello(hello, sizeof(hello));
    plain = connection_adopt(loop, open_pair(&plain_client), &events, NULL);
    connection_want(plain, WANT_READ);
    cr_assert_eq(write(plain_client, "x", 1), 1);
    begin_handshakes(hello, length);
    loop_run(loop);
    cr_expect_eq(answered(), HANDSHAKES);
    cr_expect_eq(most_at_once, 1, "%u", most_at_once);
    cr_expect_geq(served, (TLS_STEP_PARTS - 1) * (HANDSHAKES - 1),
                  "each pauses between two parts, but the last, which nobody waits behind; %u turns", served);
}

static void stop_when_answered(void *owner)
{
    (void)owner;
    if (answered() > 0 || ++served == TURNS_MAX)
        loop_stop(loop);
}

static const uint8_t nonsense[] = {0x16, 3, 3, 0, 1, 0};

static void go_on_with_first(void *owner)
{
    (void)owner;
    if (++served == 1)
        cr_assert_eq(write(clients[0], nonsense, sizeof(nonsense)), sizeof(nonsense));
    if (failed > 0 || served == TURNS_MAX)
        loop_stop(loop);
}

Test(tls_loop, what_has_begun_comes_before_what_has_not)
{
    static const struct connection_events first = {.readable = stop_when_answered, .writable = nothing},
                                          then = {.readable = go_on_with_first, .writable = nothing};
    uint8_t hello[2000], answer[8000];
    size_t length = client_hello(hello, sizeof(hello));
    plain = connection_adopt(loop, open_pair(&plain_client), &first, NULL);
    connection_want(plain, WANT_READ);
    cr_assert_eq(write(plain_client, "x", 1), 1);
    begin_handshake(0, hello, length);
    loop_run(loop);
    cr_assert_gt(read(clients[0], answer, sizeof(answer)), 0);
    for (unsigned i = 1; i < HANDSHAKES; i++)
        begin_handshake(i, hello, length);
    connection_set_owner(plain, &then, NULL);
    served = 0;
    loop_run(loop);
    cr_expect_eq(failed, 1);
    cr_expect_lt(answered(), HANDSHAKES, "all others came before it");
}

static unsigned close_at;

static void close_handshakes(void *owner)
{
    (void)owner;
    if (++served < close_at)
        return;
    for (unsigned i = 0; i < HANDSHAKES; i++)
        connection_close(&shaking[i]);
    loop_stop(loop);
}

/* At every turn of its way, twice: then there is no more in use than after the first time. A stack that OpenSSL loses has 32 KB. */
Test(tls_loop, a_step_that_paused_may_be_its_connections_last)
{
    static const struct connection_events events = {.readable = close_handshakes, .writable = nothing};
    uint8_t hello[2000];
    size_t length = client_hello(hello, sizeof(hello)), in_use = 0;
    plain = connection_adopt(loop, open_pair(&plain_client), &events, NULL);
    connection_want(plain, WANT_READ);
    cr_assert_eq(write(plain_client, "x", 1), 1);
    for (unsigned i = 0; i < 2 * TLS_STEP_PARTS * HANDSHAKES; i++) {
        if (i == TLS_STEP_PARTS * HANDSHAKES)
            in_use = mallinfo2().uordblks;
        close_at = 1 + i % (TLS_STEP_PARTS * HANDSHAKES);
        served = 0;
        begin_handshakes(hello, length);
        loop_run(loop);
        cr_assert_eq(served, close_at);
        for (unsigned client = 0; client < HANDSHAKES; client++)
            close(clients[client]);
    }
    cr_expect_lt(mallinfo2().uordblks, in_use + 32 * 1024, "%zu after %zu", mallinfo2().uordblks, in_use);
    begin_handshakes(hello, length); /* for end() */
}

static unsigned turns;

static void count_turn(void *context)
{
    (void)context;
    turns++;
    if (answered() == HANDSHAKES || turns == TURNS_MAX)
        loop_stop(loop);
}

Test(tls_loop, handshakes_alone_are_all_made)
{
    uint8_t hello[2000];
    size_t length = client_hello(hello, sizeof(hello));
    begin_handshakes(hello, length);
    loop_at_turn_end(loop, count_turn, NULL);
    loop_run(loop);
    cr_expect_eq(answered(), HANDSHAKES, "%u", turns);
}

Test(tls_loop, a_turn_is_short_while_others_were_served_a_moment_ago)
{
    cr_expect_eq(tls_turn_ns(0), TLS_BUSY_TURN_NS);
    cr_expect_eq(tls_turn_ns(TLS_BUSY_MS - 1), TLS_BUSY_TURN_NS);
    cr_expect_eq(tls_turn_ns(TLS_BUSY_MS), TLS_TURN_NS);
    cr_expect_eq(tls_turn_ns(INT64_MAX / 2), TLS_TURN_NS);
}
