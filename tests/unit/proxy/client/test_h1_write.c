/* Responses on their way to a client: framing, partial writes, slow readers, batches. */
#include "wire.h"

#include <sys/syscall.h>

TestSuite(h1_write, .init = begin, .fini = end, .timeout = 60);

#define HOST      "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static size_t expected_body;
static uint64_t stall_until;

static const char *body_of_answer(void)
{
    const char *end = strstr(wire.got, "\r\n\r\n");
    return end ? end + 4 : NULL;
}

static bool whole_length_body(void)
{
    const char *body = body_of_answer();
    return body && wire.got_len - (size_t)(body - wire.got) >= expected_body;
}

/* The kernel as it may be: takes `write_limit` bytes of a write (0: whatever it likes), and every third time none at all. */
static size_t write_limit;
static unsigned writes, write_errno;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    char some[256];
    size_t some_len = 0;
    writes++;
    if (write_errno || (write_limit && writes % 3 == 0)) {
        errno = write_errno ? (int)write_errno : EAGAIN;
        return -1;
    }
    if (!write_limit)
        return syscall(SYS_sendmsg, fd, message, flags);
    for (size_t i = 0; i < message->msg_iovlen && some_len < write_limit; i++) {
        size_t left = write_limit - some_len, len = message->msg_iov[i].iov_len;
        memcpy(some + some_len, message->msg_iov[i].iov_base, len < left ? len : left);
        some_len += len < left ? len : left;
    }
    return syscall(SYS_sendto, fd, some, some_len, flags, NULL, 0);
}

/* What fits in one piece goes this way. The client's own end is left alone. */
ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    struct iovec iov = {(void *)bytes, length};
    if (fd == wire.fd)
        return syscall(SYS_sendto, fd, bytes, length, flags, NULL, 0);
    return sendmsg(fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, flags);
}

static void expect_pattern(const char *at, size_t len)
{
    cr_assert(memcmp(at, fake_pattern, len) == 0, "the body is not what was sent");
}

Test(h1_write, bodies_of_a_known_length_arrive_whole_whatever_their_size)
{
    static const size_t sizes[] = {0, 1, 2, 3, 1000, 65536, 300000, 5000000};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char request[100], line[64];
        wire_connect();
        expected_body = sizes[i];
        sprintf(request, "GET /length?%zu HTTP/1.1\r\n" HOST "\r\n", sizes[i]);
        sprintf(line, "Content-Length: %zu\r\n", sizes[i]);
        wire_say(request);
        turn_until(whole_length_body);
        cr_expect(wire_got(line));
        cr_expect(!wire_got("Transfer-Encoding"));
        expect_pattern(body_of_answer(), sizes[i]);
        cr_expect_eq(wire.got_len, (size_t)(body_of_answer() - wire.got) + sizes[i]);
        wire_close();
    }
}

static bool chunked_end(void)
{
    return wire.got_len >= 5 && memcmp(wire.got + wire.got_len - 5, "0\r\n\r\n", 5) == 0;
}

static void expect_chunks(unsigned pieces)
{
    const char *at = body_of_answer();
    for (unsigned i = 0; i < pieces; i++) {
        cr_assert(strncmp(at, "a\r\n", 3) == 0);
        expect_pattern(at + 3, 10);
        cr_assert(strncmp(at + 13, "\r\n", 2) == 0);
        at += 15;
    }
    cr_expect_str_eq(at, "0\r\n\r\n");
}

Test(h1_write, bodies_of_unknown_length_are_chunked)
{
    static const char *const requests[] = {GET("/chunks?1"), GET("/chunks?2"), GET("/chunks?9")};
    static const unsigned pieces[] = {1, 2, 9};
    for (unsigned i = 0; i < 3; i++) {
        wire_connect();
        wire_say(requests[i]);
        turn_until(chunked_end);
        cr_expect(wire_got("Transfer-Encoding: chunked\r\n"));
        cr_expect(!wire_got("Content-Length"));
        expect_chunks(pieces[i]);
        wire_close();
    }
}

/* The kernel takes what it likes of each write; however it cuts, the client gets the same bytes. */
Test(h1_write, chunks_survive_a_client_that_reads_slowly)
{
    wire_connect();
    wire.stops_reading = true;
    wire_say(GET("/chunks?100000"));
    for (unsigned i = 0; i < 30; i++) {
        loop_stop(loop);
        loop_run(loop);
    }
    cr_expect_eq(fake_alive_count, 1, "all of it fitted: the test needs more");
    wire.stops_reading = false;
    turn_until(chunked_end);
    expect_chunks(100000);
}

Test(h1_write, an_http_1_0_client_gets_an_unknown_length_until_the_end)
{
    wire_connect();
    wire_say("GET /chunks?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    turn_until(wire_has_ended);
    cr_expect(!wire_got("Transfer-Encoding"));
    cr_expect(wire_got("Connection: close\r\n\r\n"));
    cr_expect_eq(strlen(body_of_answer()), 20);
    cr_expect(!wire.was_reset);
}

static bool second_answer(void)
{
    return wire_answers() == 2 && wire_got("hello");
}

Test(h1_write, answers_without_a_body_are_just_heads)
{
    wire_connect();
    wire_say("HEAD /length?77 HTTP/1.1\r\n" HOST "\r\n" GET("/hit"));
    turn_until(second_answer);
    cr_expect(wire_got("Content-Length: 77\r\n\r\nHTTP/1.1 200"));
    wire_close();
    wire_connect();
    wire_say("HEAD /chunks?2 HTTP/1.1\r\n" HOST "\r\n" GET("/hit"));
    turn_until(second_answer);
    cr_expect(!wire_got("Transfer-Encoding"));
    wire_close();
    wire_connect();
    wire_say(GET("/empty") GET("/hit"));
    turn_until(second_answer);
    cr_expect_eq(strstr(wire.got, "HTTP/1.1 204 X\r\nServer: fake\r\nAge: 1\r\n\r\nHTTP/1.1 200"), wire.got);
}

static bool hinted(void)
{
    return wire_got("hinted");
}

Test(h1_write, interim_responses_go_to_clients_that_know_them)
{
    wire_connect();
    wire_say(GET("/hints"));
    turn_until(hinted);
    cr_expect_eq(strstr(wire.got, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 X\r\n"), wire.got);
    wire_close();
    wire_connect();
    wire_say("GET /hints HTTP/1.0\r\n\r\n");
    turn_until(hinted);
    cr_expect_eq(wire_answers(), 1);
}

static bool says_stalled(void)
{
    return fake_says("gone client-stalled");
}

Test(h1_write, a_client_that_stops_reading_is_reset)
{
    config.write_stall_timeout_ms = 100;
    wire_connect();
    wire.stops_reading = true;
    wire_say(GET("/length?8000000"));
    turn_until(says_stalled);
    cr_expect_eq(worker.connections, 0);
}

static bool a_while(void)
{
    /* Reads a little now and then: slow, but moving. */
    static char some[100000];
    ssize_t got = recv(wire.fd, some, sizeof(some), MSG_DONTWAIT);
    expected_body -= got > 0 ? (size_t)got : 0;
    return expected_body < 1000000 || (uint64_t)clock_monotonic().ms > stall_until;
}

Test(h1_write, a_client_that_reads_slowly_is_served_for_longer_than_a_stall)
{
    config.write_stall_timeout_ms = 200;
    wire_connect();
    wire.stops_reading = true;
    expected_body = 8000000;
    stall_until = (uint64_t)clock_monotonic().ms + 600;
    wire_say(GET("/length?8000000"));
    turn_until(a_while);
    cr_expect(!fake_says("gone"), "%s", fake_log);
}

static bool late_answer_ended(void)
{
    return (uint64_t)clock_monotonic().ms > stall_until;
}

Test(h1_write, waiting_for_the_origin_is_no_stall)
{
    config.write_stall_timeout_ms = 60;
    wire_connect();
    stall_until = (uint64_t)clock_monotonic().ms + 300;
    wire_say(GET("/never"));
    turn_until(late_answer_ended);
    cr_expect(!fake_says("gone"));
}

static bool got_all(void)
{
    return wire.got_len >= expected_body;
}

Test(h1_write, a_batch_that_the_kernel_does_not_take_arrives_later)
{
    enum { REQUESTS = 6000 };
    char *requests = malloc(REQUESTS * sizeof(GET("/hit")));
    char *at = requests;
    for (unsigned i = 0; i < REQUESTS; i++)
        at = stpcpy(at, GET("/hit"));
    wire_connect();
    wire.stops_reading = true;
    wire_say(requests);
    for (unsigned i = 0; i < 60; i++) {
        loop_stop(loop);
        loop_run(loop);
    }
    wire.stops_reading = false;
    expected_body = REQUESTS * strlen("HTTP/1.1 200 X\r\nServer: fake\r\nAge: 1\r\nContent-Length: 5\r\n\r\nhello");
    turn_until(got_all);
    cr_expect_eq(wire_answers(), REQUESTS);
    cr_expect_eq(wire.got_len, expected_body);
    free(requests);
}

Test(h1_write, a_batch_stays_in_order_with_what_cannot_wait)
{
    char *requests = calloc(100, 200);
    for (unsigned i = 0; i < 40; i++)
        strcat(requests, i % 5 == 3 ? GET("/length?20000") : i % 5 == 1 ? GET("/chunks?3") : i % 5 == 4 ? GET("/hints") : GET("/hit"));
    strcat(requests, "GET /hit HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    wire_connect();
    wire_say(requests);
    turn_until(wire_has_ended);
    const char *rest = wire.got;
    for (unsigned i = 0; i < 40; i++) {
        const char *expected = i % 5 == 3 ? "Content-Length: 20000" : i % 5 == 1 ? "chunked" : i % 5 == 4 ? "hinted" : "hello";
        rest = strstr(rest, expected);
        cr_assert(rest, "answer %u", i);
        rest += strlen(expected);
    }
    cr_expect_eq(wire_answers(), 41 + 8);
    cr_expect(!wire.was_reset);
    free(requests);
}

Test(h1_write, a_pipelined_last_request_is_answered_before_the_close)
{
    wire_connect();
    wire_say(GET("/hit") GET("/hit") "GET /hit HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" GET("/hit"));
    turn_until(wire_has_ended);
    cr_expect_eq(wire_answers(), 3);
    cr_expect(!wire.was_reset);
}

Test(h1_write, a_response_is_the_same_however_the_kernel_cuts_it)
{
    static const char requests[] = GET("/hit") GET("/chunks?3") GET("/length?300") "HEAD /hit HTTP/1.1\r\n" HOST "\r\n" GET("/hints")
        GET("/hit") "GET /chunks?2 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
    char *whole = NULL;
    for (write_limit = 0; write_limit < 250; write_limit++) {
        wire_connect();
        wire_say(requests);
        turn_until(wire_has_ended);
        if (!whole)
            whole = strdup(wire.got);
        cr_assert_str_eq(wire.got, whole, "cut at %zu", write_limit);
        wire_close();
    }
    cr_expect(strstr(whole, "hello"));
    free(whole);
    write_limit = 0;
}

Test(h1_write, answers_reach_a_client_that_ends_its_side_however_the_kernel_cuts_them)
{
    for (write_limit = 1; write_limit < 250; write_limit++) {
        wire_connect();
        wire.shuts_after = true;
        wire_say(GET("/hit") GET("/hit") GET("/hit") "\r\nGE"); /* the rest makes the answers leave by themselves */
        turn_until(wire_has_ended);
        cr_assert_eq(wire_answers(), 3, "cut at %zu", write_limit);
        cr_assert_eq(wire.got_len, 3 * strlen("HTTP/1.1 200 X\r\nServer: fake\r\nAge: 1\r\nContent-Length: 5\r\n\r\nhello"));
        wire_close();
    }
    write_limit = 0;
}

static bool no_connection_left(void)
{
    return worker.connections == 0;
}

Test(h1_write, a_write_that_fails_ends_the_connection)
{
    static const char *const requests[] = {GET("/hit"),         GET("/later"),           GET("/chunks?3"),
                                           GET("/length?3000"), GET("/hit") GET("/hit"), GET("/hints")};
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        wire_connect();
        write_errno = i % 2 ? EPIPE : ECONNRESET;
        wire_say(requests[i]);
        turn_until(no_connection_left);
        cr_expect_eq(fake_alive_count, 0);
        cr_expect_eq(wire.got_len, 0);
        wire_close();
    }
    write_errno = 0;
}

Test(h1_write, a_hit_costs_one_write_and_a_pipelined_batch_costs_one)
{
    wire_connect();
    writes = 0;
    expected_body = 1;
    wire_say(GET("/hit"));
    turn_until(got_all);
    cr_expect_eq(writes, 1);
    wire.got_len = 0;
    writes = 0;
    wire_say(GET("/hit") GET("/hit") GET("/chunks?1") GET("/hit"));
    turn_until(got_all);
    cr_expect_eq(wire_answers(), 4);
    cr_expect_eq(writes, 1);
}
