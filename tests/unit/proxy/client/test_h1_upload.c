/* Request bodies: decoded, bounded, timed, drained (RFC 9112 §7.1; RFC 9110 §10.1.1; HARDENING "Framing, HTTP/1"). */
#include "wire.h"

TestSuite(h1_upload, .init = begin, .fini = end, .timeout = 100);

#define HOST          "Host: a\r\n"
#define CHUNKED(path) "POST " path " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define GET_HIT       "GET /hit HTTP/1.1\r\n" HOST "\r\n"
#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))

static char got_line[64];

static const char *expect_got(const char *body, size_t len)
{
    sprintf(got_line, "got %zu %lx", len, (unsigned long)fake_hash(14695981039346656037u, body, len));
    return got_line;
}

static bool got_the_line(void)
{
    return wire_got(got_line);
}

static bool line_and_hit(void)
{
    return wire_got(got_line) && wire_got("hello");
}

Test(h1_upload, a_body_of_known_length_arrives_and_the_connection_goes_on)
{
    static const char request[] = "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello\r\n\r\nwor" GET_HIT;
    expect_got("hello\r\n\r\nwo", 11);
    for (size_t piece = 1; piece < sizeof(request); piece++) {
        wire_connect();
        wire.piece = piece;
        wire_say("POST /upload HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello\r\n\r\nwo" GET_HIT);
        turn_until(line_and_hit);
        cr_expect_eq(wire_answers(), 2);
        wire_close();
    }
}

static const struct {
    const char *chunks, *body;
} good[] = {
    {"0\r\n\r\n", ""},
    {"5\r\nhello\r\n0\r\n\r\n", "hello"},
    {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
    {"0005\r\nhello\r\n00\r\n\r\n", "hello"},
    {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
    {"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
    {"5;a=b\r\nhello\r\n0;x\r\n\r\n", "hello"}, /* extensions end here */
    {"5;a;b=\"c\";d=e\r\nhello\r\n0\r\n\r\n", "hello"},
    {"5\r\nhello\r\n0\r\nTrailer: dropped\r\nX: \r\n\r\n", "hello"},
    {"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"},
};

Test(h1_upload, chunks_are_decoded_wherever_they_are_cut)
{
    for (size_t i = 0; i < COUNT(good); i++) {
        char request[512];
        sprintf(request, "%s%s%s", CHUNKED("/upload"), good[i].chunks, GET_HIT);
        expect_got(good[i].body, strlen(good[i].body));
        for (size_t piece = 1; piece <= strlen(request); piece++) {
            fake_log_len = 0;
            wire_connect();
            wire.piece = piece;
            wire_say(request);
            turn_until(line_and_hit);
            cr_expect_eq(wire_answers(), 2);
            wire_close();
        }
    }
}

static const char *const bad_chunks[] = {
    "x\r\n",
    "\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhellox\r\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a=\n\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    "10000000000000000\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\n",
    "5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n",
    "5\r\nhello\r\n0\r\nX y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
};

Test(h1_upload, malformed_chunks_are_refused_wherever_they_are_cut)
{
    for (size_t i = 0; i < COUNT(bad_chunks); i++) {
        char request[512];
        sprintf(request, "%s%s%s", CHUNKED("/upload"), bad_chunks[i], GET_HIT);
        for (size_t piece = 1; piece <= strlen(request); piece++) {
            wire_connect();
            wire.piece = piece;
            wire_say(request);
            turn_until(wire_has_ended);
            cr_expect(wire_got("HTTP/1.1 400 X"), "%s by %zu:\n%s", bad_chunks[i], piece, wire.got);
            cr_expect(wire_got("Connection: close"));
            cr_expect_eq(wire_answers(), 1);
            cr_expect(!wire.was_reset);
            wire_close();
        }
    }
}

Test(h1_upload, chunk_extensions_and_trailers_are_bounded)
{
    static const struct {
        const char *head, *unit, *tail;
        unsigned units;
        bool is_good;
    } cases[] = {
        {"5;", "a", "\r\nhello\r\n0\r\n\r\n", 4096, true},        {"5;", "a", "\r\nhello\r\n0\r\n\r\n", 4097, false},
        {"", "1;abcdefgh\r\nx\r\n", "0\r\n\r\n", 512, true},      {"", "1;abcdefgh\r\nx\r\n", "0\r\n\r\n", 513, false}, /* in all */
        {"5;a=\"", "b", "\"\r\nhello\r\n0\r\n\r\n", 5000, false}, {"", "0", "\r\n\r\n", 9000, false},
        {"5\r\nhello\r\n0\r\n", "X: y\r\n", "\r\n", 1000, true},  {"5\r\nhello\r\n0\r\n", "X: y\r\n", "\r\n", 2000, false},
    };
    static char request[64 * 1024];
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *at = stpcpy(stpcpy(request, CHUNKED("/upload")), cases[i].head);
        for (unsigned u = 0; u < cases[i].units; u++)
            at = stpcpy(at, cases[i].unit);
        stpcpy(stpcpy(at, cases[i].tail), "GET /hit HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        for (size_t piece = 1000; piece < 70000; piece *= 8) {
            wire_connect();
            wire.piece = piece;
            wire_say(request);
            turn_until(wire_has_ended);
            cr_expect_eq(wire_got("HTTP/1.1 200 X"), cases[i].is_good, "case %zu by %zu", i, piece);
            cr_expect_eq(wire_got("HTTP/1.1 400 X"), !cases[i].is_good, "case %zu by %zu", i, piece);
            wire_close();
        }
    }
}

static void say_upload(const char *path, size_t len, bool chunked, char *out)
{
    char *at = out + sprintf(out, "POST %s HTTP/1.1\r\n" HOST, path);
    if (!chunked)
        at += sprintf(at, "Content-Length: %zu\r\n\r\n", len);
    else
        at += sprintf(at, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t done = 0, now; done < len; done += now) {
        now = chunked ? (len - done < 30011 ? len - done : 30011) : len;
        if (chunked)
            at += sprintf(at, "%zx\r\n", now);
        memcpy(at, fake_pattern + done, now);
        at += now;
        if (chunked)
            at += sprintf(at, "\r\n");
    }
    if (chunked)
        at += sprintf(at, "0\r\n\r\n");
    wire_say_bytes(out, (size_t)(at - out));
}

Test(h1_upload, large_bodies_arrive_whole)
{
    enum { LARGE = 5000000 };
    char *request = malloc(LARGE + 100000);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        wire_connect();
        say_upload("/upload", LARGE, chunked, request);
        expect_got(fake_pattern, LARGE);
        turn_until(got_the_line);
        wire_close();
    }
    free(request);
}

static bool slowly_started(void)
{
    return fake_says("path=/slowly");
}

static struct request *only_request(void)
{
    return LIST_OWNER(fake_alive.next, struct request, link);
}

static void quiet_turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        loop_stop(loop);
        loop_run(loop);
    }
}

Test(h1_upload, a_body_that_nobody_takes_is_not_read_beyond_the_buffer)
{
    enum { LARGE = 2000000 };
    char *request = malloc(LARGE + 100000);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        fake_init();
        wire_connect();
        say_upload("/slowly", LARGE, chunked, request);
        expect_got(fake_pattern, LARGE);
        turn_until(slowly_started);
        uint64_t received = worker.counters->value[COUNTER_CLIENT_BYTES_RECEIVED];
        cr_expect_leq(received, 17000 * (chunked + 1) + LARGE * chunked * 2, "before the first peek");
        struct bytes data;
        uint64_t before = received;
        upload_peek(only_request()->upload, &data);
        quiet_turns(50);
        received = worker.counters->value[COUNTER_CLIENT_BYTES_RECEIVED];
        cr_expect_leq(received - before, 65536 + 100);
        cr_expect_geq(received - before, 32768);
        /* and is read on as it is taken */
        only_request()->upload->ready = fake_ready;
        only_request()->upload->context = only_request();
        fake_read(only_request());
        turn_until(got_the_line);
        wire_close();
    }
    free(request);
}

static bool body_too_large(void)
{
    return wire_got("HTTP/1.1 413 X") && wire.ended;
}

Test(h1_upload, a_body_over_the_limit_is_refused)
{
    config.body_bytes_max = 1000;
    char *request = malloc(100000);
    wire_connect();
    wire_say("POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n");
    turn_until(body_too_large);
    cr_expect(fake_says("refused body-too-large"));
    wire_close();
    for (size_t len = 1001; len < 50000; len *= 6) {
        for (size_t piece = 500; piece < 60000; piece *= 10) {
            wire_connect();
            wire.piece = piece;
            say_upload("/upload", len, true, request);
            turn_until(body_too_large);
            cr_expect(!wire.was_reset);
            wire_close();
        }
    }
    wire_connect();
    expect_got(fake_pattern, 1000);
    say_upload("/upload", 1000, true, request);
    turn_until(got_the_line);
    free(request);
}

/* --- Expect: 100-continue --- */

static bool got_continue(void)
{
    return wire_got("HTTP/1.1 100 Continue\r\n\r\n");
}

#define EXPECTING(path, version) "POST " path " HTTP/" version "\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"

Test(h1_upload, the_client_is_told_to_continue_when_the_body_is_asked_for)
{
    wire_connect();
    wire_say(EXPECTING("/upload", "1.1"));
    turn_until(got_continue);
    cr_expect_eq(wire_answers(), 1);
    wire_say("hello" GET_HIT);
    expect_got("hello", 5);
    turn_until(line_and_hit);
    cr_expect_eq(wire_answers(), 3);
    cr_expect(!fake_says("[Expect]"));
}

Test(h1_upload, a_client_that_did_not_wait_is_not_told_to_continue)
{
    wire_connect();
    wire_say(EXPECTING("/upload", "1.1") "hello");
    expect_got("hello", 5);
    turn_until(got_the_line);
    cr_expect_eq(wire_answers(), 1);
    wire_close();
    wire_connect();
    wire_say(EXPECTING("/upload", "1.0") "hello"); /* RFC 9110 §10.1.1: an HTTP/1.0 expectation is no expectation */
    turn_until(got_the_line);
    cr_expect_eq(wire_answers(), 1);
}

Test(h1_upload, a_client_that_waits_to_continue_and_gets_its_answer_is_closed)
{
    wire_connect();
    wire_say(EXPECTING("/lazy", "1.1"));
    turn_until(wire_has_ended);
    cr_expect_eq(wire_answers(), 1);
    cr_expect(wire_got("Connection: close\r\n\r\nlazy"));
    cr_expect(!wire.was_reset);
}

/* --- bodies that are not wanted --- */

static bool lazy_and_hit(void)
{
    return wire_got("lazy") && wire_got("hello");
}

Test(h1_upload, an_unread_body_is_drained_and_never_taken_for_a_request)
{
    static char request[80000];
    static const size_t sizes[] = {1, 100, 20000, 60000};
    for (unsigned i = 0; i < 2 * COUNT(sizes); i++) {
        wire_connect();
        fake_log_len = 0;
        say_upload("/lazy", sizes[i / 2], i % 2, request);
        memcpy(request + wire.to_send_len, GET_HIT, sizeof(GET_HIT));
        wire.to_send_len += sizeof(GET_HIT) - 1;
        turn_until(lazy_and_hit);
        cr_expect_eq(wire_answers(), 2);
        wire_close();
    }
}

Test(h1_upload, a_long_unread_body_ends_the_connection_after_the_answer)
{
    enum { LONG = 200000 };
    char *request = malloc(LONG + 10000);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        wire_connect();
        say_upload("/lazy", LONG, chunked, request);
        turn_until(wire_has_ended);
        cr_expect(wire_got("lazy"));
        cr_expect_eq(wire_got("Connection: close"), !chunked); /* how long a chunked one is, shows later */
        cr_expect(!wire.was_reset);
        wire_close();
    }
    free(request);
}

Test(h1_upload, a_malformed_unread_body_ends_the_connection)
{
    wire_connect();
    wire.piece = sizeof(CHUNKED("/lazy")) - 1; /* the chunk comes with its own read */
    wire_say(CHUNKED("/lazy") "x\r\n" GET_HIT);
    turn_until(wire_has_ended);
    cr_expect(wire_got("lazy"));
    cr_expect_eq(wire_answers(), 1);
}

Test(h1_upload, a_client_that_closes_in_the_middle_of_its_body_is_gone)
{
    static const char *const requests[] = {"POST /upload HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello",
                                           CHUNKED("/upload") "5\r\nhel"};
    for (unsigned i = 0; i < 2; i++) {
        fake_init();
        wire_connect();
        wire.shuts_after = true;
        wire_say(requests[i]);
        turn_until(wire_has_ended);
        cr_expect(fake_says("gone client-closed"));
        cr_expect_eq(worker.connections, 0);
        wire_close();
    }
}

Test(h1_upload, a_client_that_closes_while_its_body_is_drained_is_closed)
{
    wire_connect();
    wire.shuts_after = true;
    wire_say("POST /lazy HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello");
    turn_until(wire_has_ended);
    cr_expect(wire_got("lazy"));
    cr_expect_eq(worker.connections, 0);
}

/* --- time --- */

Test(h1_upload, a_body_that_stops_coming_is_too_slow)
{
    config.body_timeout_ms = 60;
    wire_connect();
    wire_say("POST /upload HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello");
    turn_until(wire_has_ended);
    cr_expect(wire_got("HTTP/1.1 408 X"));
    cr_expect(fake_says("upload failed body-too-slow"));
}

static bool says_too_slow(void)
{
    return fake_says("upload failed body-too-slow") && wire.ended;
}

Test(h1_upload, a_body_below_the_minimum_rate_is_too_slow)
{
    config.body_timeout_ms = 150;
    config.body_min_rate = 100000;
    wire_connect();
    wire.piece = 100; /* a turn: ever moving, 50 ms a turn at the slowest */
    static char request[70000];
    say_upload("/upload", 60000, false, request);
    wire.to_send_len -= 50000; /* the rest never comes */
    turn_until(says_too_slow);
    cr_expect(wire_got("HTTP/1.1 408 X"));
}

Test(h1_upload, a_body_that_the_origin_does_not_take_is_not_too_slow)
{
    char *request = malloc(2100000);
    config.body_timeout_ms = 60;
    config.body_min_rate = 1000000;
    wire_connect();
    say_upload("/slowly", 2000000, false, request);
    turn_until(slowly_started);
    struct bytes data;
    upload_peek(only_request()->upload, &data);
    struct monotonic_ms before = clock_monotonic();
    while (monotonic_since(clock_monotonic(), before) < 300)
        quiet_turns(1);
    cr_expect_eq(only_request()->upload->error, ERROR_OK);
    free(request);
}

Test(h1_upload, the_clock_does_not_run_before_the_body_is_asked_for)
{
    config.body_timeout_ms = 60;
    wire_connect();
    wire_say("POST /slowly HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello");
    turn_until(slowly_started);
    struct monotonic_ms before = clock_monotonic();
    while (monotonic_since(clock_monotonic(), before) < 200)
        quiet_turns(1);
    cr_expect_eq(only_request()->upload->error, ERROR_OK);
}
