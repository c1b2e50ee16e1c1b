/* HTTP/1 client connections over a socket pair, with a real loop and a request layer of the test's own: the life of a connection. */
#include "wire.h"

TestSuite(h1, .init = begin, .fini = end, .timeout = 60);

#define HOST                 "Host: a\r\n"
#define GET(path)            "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define ANSWER(body, length) "HTTP/1.1 200 X\r\nServer: fake\r\nAge: 1\r\nContent-Length: " #length "\r\n\r\n" body

static bool one_answer(void)
{
    return wire_answers() == 1 && (wire_got("hello") || wire_got("later"));
}

static bool two_later(void)
{
    const char *first = strstr(wire.got, "later");
    return first && strstr(first + 1, "later");
}

static uint64_t counted(enum counter counter)
{
    return worker.counters->value[counter];
}

Test(h1, a_get_is_parsed_and_answered_and_the_connection_kept)
{
    wire_connect();
    wire_say("GET /hit?x=1&y HTTP/1.1\r\n" HOST "X-Field: \t a  b \r\nEmpty:\r\nAccept: */*\r\n\r\n");
    turn_until(one_answer);
    cr_expect_str_eq(wire.got, ANSWER("hello", 5));
    cr_expect_str_eq(fake_log, "GET path=/hit query=x=1&y authority=a 1.1 keep\n  [Host]=[a]*\n  [X-Field]=[a  b]\n"
                               "  [Empty]=[]\n  [Accept]=[*/*]*\nfinished\n");
    size_t before = wire.got_len;
    wire.got_len = 0;
    wire_say(GET("/later"));
    turn_until(one_answer);
    cr_expect(!wire.ended);
    cr_expect_eq(counted(COUNTER_CLIENT_CONNECTIONS), 1);
    cr_expect_eq(counted(COUNTER_CLIENT_CONNECTIONS_CLOSED), 0);
    cr_expect_eq(counted(COUNTER_CLIENT_BYTES_SENT), before + wire.got_len);
    cr_expect_eq(clients_public(), 1);
}

Test(h1, a_request_that_comes_byte_by_byte_is_the_same)
{
    wire_connect();
    wire.piece = 1;
    wire_say("\r\nGET /hit?x HTTP/1.1\r\n" HOST "X-Field: a b\r\n\r\n");
    turn_until(one_answer);
    cr_expect_str_eq(fake_log, "GET path=/hit query=x authority=a 1.1 keep\n  [Host]=[a]*\n  [X-Field]=[a b]\nfinished\n");
}

static bool fifty_answers(void)
{
    return wire_answers() == 50 && strcmp(wire.got + wire.got_len - 5, "hello") == 0;
}

Test(h1, pipelined_hits_are_answered_in_order_and_leave_together)
{
    char *requests = calloc(50, 64);
    for (unsigned i = 0; i < 50; i++)
        sprintf(requests + strlen(requests), "GET /hit?%u HTTP/1.1\r\n" HOST "\r\n", i);
    for (size_t piece = 1; piece < 5000; piece *= 3) {
        wire_connect();
        fake_log_len = 0;
        wire.piece = piece;
        wire_say(requests);
        turn_until(fifty_answers);
        const char *at = fake_log;
        for (unsigned i = 0; i < 50; i++) {
            char expected[32];
            sprintf(expected, "query=%u ", i);
            cr_assert((at = strstr(at, expected)), "request %u by pieces of %zu", i, piece);
        }
        wire_close();
    }
    free(requests);
}

Test(h1, a_pipelined_request_waits_for_the_one_before_it)
{
    static const char *const requests[] = {GET("/later") GET("/later"), GET("/hit") GET("/later") GET("/hit") GET("/later"),
                                           GET("/later") "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" GET("/later")};
    static const unsigned answers[] = {2, 4, 3};
    for (unsigned i = 0; i < 3; i++) {
        for (size_t piece = 1; piece < 1000; piece = piece * 2 + 1) {
            wire_connect();
            wire.piece = piece;
            wire_say(requests[i]);
            turn_until(two_later);
            cr_expect_eq(wire_answers(), answers[i]);
            cr_expect(!wire.ended);
            wire_close();
        }
    }
}

Test(h1, nothing_behind_a_bad_request_is_answered)
{
    wire_connect();
    wire_say(GET("/hit") "GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET("/hit"));
    turn_until(wire_has_ended);
    cr_expect_eq(wire_answers(), 2);
    cr_expect(wire_got("HTTP/1.1 400 X"));
    cr_expect(wire_got("Connection: close"));
    cr_expect(!wire.was_reset);
    cr_expect(fake_says("refused bad-field GET\nfinished\n"));
}

Test(h1, each_refusal_closes_with_its_status_before_the_head_is_whole)
{
    static const struct {
        const char *bytes, *status;
    } cases[] = {
        {"\x16\x03\x01", "400"},
        {"GET / HTTP/3.0\r\n", "505"},
        {"GET /\n", "400"},
        {"GET / HTTP/1.1\r\n x\r\n", "400"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n", "417"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n", "400"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[32];
        wire_connect();
        wire_say(cases[i].bytes);
        turn_until(wire_has_ended);
        sprintf(line, "HTTP/1.1 %s X\r\n", cases[i].status);
        cr_expect(wire_got(line), "case %zu: %s", i, wire.got);
        cr_expect(wire_got("Connection: close\r\n"));
        cr_expect(!wire.was_reset);
        wire_close();
    }
}

Test(h1, a_url_without_an_end_is_refused_as_such)
{
    char *url = malloc(9001);
    wire_connect();
    memset(url, 'u', 9000);
    memcpy(url, "GET /", 5);
    url[9000] = '\0';
    wire.piece = 100;
    wire_say(url);
    turn_until(wire_has_ended);
    cr_expect(wire_got("HTTP/1.1 414"));
    free(url);
}

Test(h1, a_client_that_wants_to_close_is_closed_after_its_response)
{
    wire_connect();
    wire_say("GET /hit HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    turn_until(wire_has_ended);
    cr_expect(wire_got("Connection: close\r\n\r\nhello"));
    cr_expect(!wire.was_reset);
    cr_expect_eq(counted(COUNTER_CLIENT_CONNECTIONS_CLOSED), 1);
    cr_expect_eq(clients_public(), 0);
}

Test(h1, an_http_1_0_client_is_closed_unless_it_asks_otherwise)
{
    wire_connect();
    wire_say("GET /hit HTTP/1.0\r\n\r\n");
    turn_until(wire_has_ended);
    cr_expect(wire_got("Connection: close\r\n\r\nhello"));
    wire_close();
    wire_connect();
    wire_say("GET /hit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    turn_until(one_answer);
    cr_expect(wire_got("Connection: keep-alive\r\n\r\nhello"));
    wire.got_len = 0;
    wire_say("GET /hit HTTP/1.0\r\n\r\n");
    turn_until(wire_has_ended);
    cr_expect(wire_got("hello"));
}

Test(h1, a_half_closed_client_gets_its_response)
{
    static const char *const requests[] = {GET("/hit"), GET("/later"), GET("/later") GET("/later"),
                                           "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"};
    for (unsigned i = 0; i < 4; i++) {
        wire_connect();
        wire.shuts_after = true;
        wire_say(requests[i]);
        turn_until(wire_has_ended);
        cr_expect_eq(wire_answers(), i == 2 ? 2 : 1, "case %u: %s", i, wire.got);
        cr_expect(!wire.was_reset);
        cr_expect(!fake_says("gone"));
        wire_close();
    }
}

static bool client_is_gone(void)
{
    return fake_says("gone client-closed");
}

static bool never_started(void)
{
    return fake_says("path=/never");
}

static struct monotonic_ms passes_at;

static bool time_has_passed(void)
{
    return clock_monotonic().ms >= passes_at.ms;
}

static void let_pass(int64_t ms)
{
    passes_at = monotonic_add(clock_monotonic(), ms);
    turn_until(time_has_passed);
}

Test(h1, a_client_that_goes_away_while_it_waits_is_noticed)
{
    wire_connect();
    wire_say(GET("/never"));
    turn_until(never_started);
    close(wire.fd);
    wire.ended = true;
    wire.fd = dup(STDERR_FILENO);
    turn_until(client_is_gone);
    cr_expect_eq(worker.connections, 0);
}

Test(h1, half_closing_or_sending_ahead_while_it_waits_makes_no_busy_loop)
{
    for (unsigned i = 0; i < 2; i++) {
        wire_connect();
        wire_say(GET("/never"));
        turn_until(never_started);
        if (i == 0)
            shutdown(wire.fd, SHUT_WR);
        else
            wire_say(GET("/hit"));
        wire_turns = 0;
        let_pass(300);
        cr_expect_lt(wire_turns, 30);
        cr_expect(!fake_says("gone"));
        wire_close();
        h1_cut(&worker);
        fake_init();
    }
}

Test(h1, what_is_broken_off_is_reset)
{
    wire_connect();
    wire_say(GET("/broken"));
    turn_until(wire_has_ended);
    cr_expect(fake_says("finished broken"));
    cr_expect_eq(worker.connections, 0);
}

/* --- deadlines --- */

Test(h1, a_connection_without_a_request_is_closed_silently)
{
    config.header_timeout_ms = 60;
    wire_connect();
    turn_until(wire_has_ended);
    cr_expect_eq(wire.got_len, 0);
}

Test(h1, a_head_that_takes_too_long_is_told_so)
{
    config.header_timeout_ms = 120;
    wire_connect();
    wire.piece = 1;
    wire_say("GET /hit HTTP/1.1\r\nHost: a");
    turn_until(wire_has_ended);
    cr_expect(wire_got("HTTP/1.1 408 X"));
    cr_expect(fake_says("refused header-timeout GET"));
}

Test(h1, the_header_deadline_of_a_kept_connection_begins_with_the_head)
{
    wire_connect();
    wire_say(GET("/hit"));
    turn_until(one_answer);
    config.header_timeout_ms = 60;
    wire.got_len = 0;
    wire_say("GET /hit HTTP/1.1\r\n");
    turn_until(wire_has_ended);
    cr_expect(wire_got("HTTP/1.1 408 X"));
}

Test(h1, empty_lines_alone_are_no_request_that_is_late)
{
    config.header_timeout_ms = 60;
    wire_connect();
    wire_say("\r\n");
    turn_until(wire_has_ended);
    cr_expect_eq(wire.got_len, 0);
}

Test(h1, an_idle_connection_is_closed_silently)
{
    config.keep_alive_timeout_ms = 60;
    wire_connect();
    wire_say(GET("/hit"));
    turn_until(wire_has_ended);
    cr_expect_str_eq(wire.got, ANSWER("hello", 5));
}

Test(h1, a_request_under_way_has_no_keep_alive_deadline)
{
    config.header_timeout_ms = config.keep_alive_timeout_ms = 60;
    wire_connect();
    wire_say(GET("/never"));
    turn_until(never_started);
    let_pass(250);
    cr_expect(!wire.ended);
    cr_expect_eq(fake_alive_count, 1);
}

/* --- drain and cut --- */

static bool no_connection_is_left(void)
{
    return worker.connections == 0;
}

Test(h1, draining_closes_idle_connections_after_a_moment_and_the_others_after_their_response)
{
    struct wire idle;
    wire_connect();
    wire_say(GET("/hit"));
    turn_until(one_answer);
    idle = wire;
    wire.got = NULL;
    wire.got_capacity = 0;
    wire_connect();
    wire_say(GET("/later"));
    turn_until(one_answer);
    wire.got_len = 0;
    wire_say(GET("/later"));
    wire_send(); /* there, but not read yet */
    worker.draining = worker.ends_keep_alive = true;
    h1_drain(&worker);
    cr_expect_eq(worker.connections, 2, "whoever is told nothing may just be sending");
    turn_until(wire_has_ended);
    cr_expect(wire_got("Connection: close\r\n\r\nlater"));
    turn_until(no_connection_is_left);
    close(idle.fd);
    free(idle.got);
}

Test(h1, cutting_closes_everything_and_tells_the_requests)
{
    wire_connect();
    wire_say(GET("/never"));
    turn_until(never_started);
    h1_cut(&worker);
    cr_expect(fake_says("gone shutting-down"));
    cr_expect_eq(worker.connections, 0);
    turn_until(wire_has_ended);
}

/* --- changing hands --- */

static bool connection_was_taken(void)
{
    return fake_taken != NULL;
}

Test(h1, an_upgraded_connection_changes_hands_with_what_was_sent_behind_the_head)
{
    wire_connect();
    wire_say("GET /switch HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: x\r\n\r\nbytes of x");
    turn_until(connection_was_taken);
    cr_expect_str_eq(wire.got, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    cr_expect_str_eq(fake_unread, "bytes of x");
    cr_expect_eq(worker.connections, 0);
    cr_expect_eq(connection_wants(fake_taken), WANT_NOTHING);
    char byte;
    cr_expect_eq(connection_write(fake_taken, "y", 1, false), 1);
    cr_expect_eq(recv(wire.fd, &byte, 1, 0), 1);
    cr_expect_eq(byte, 'y');
}
