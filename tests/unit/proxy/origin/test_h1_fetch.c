/* Fetches from an http:// origin that follows a script. */
#include "tests/unit/free_port.h"
#include "tests/unit/proxy/origin/h1_bench.h"

Test(h1_fetch, one_connection_for_many_responses)
{
    static const struct op ops[] = {
        ACCEPT,
        EXPECT(GET("/a")),
        SEND(OK(5) "hello"),
        EXPECT(GET("/b")),
        SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: t\r\n\r\n"),
        EXPECT(GET("/c")),
        SEND("HTTP/1.1 204 No Content\r\n\r\n"),
        EXPECT(GET("/d")),
        SEND(OK(0)),
        EXPECT(GET("/e")),
        SEND("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
        WAIT_FOR_CLOSE,
        {0}};
    begin(ops);
    expect_get("/a", "hello");
    expect_get("/b", "abcde");
    expect_get("/c", "");
    expect_get("/d", "");
    expect_get("/e", "no");
    cr_assert_eq(bench_count(COUNTER_ORIGIN_CONNECTIONS), 1);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REUSES), 4);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REQUESTS), 5);
    origin_retire(&bench.origin);
    finish();
}

Test(h1_fetch, the_request_and_who_answered)
{
    static const struct op ops[] = {ACCEPT,          EXPECT("DELETE /a?b HTTP/1.1\r\nHost: test\r\nX: 1\r\nX: 2\r\n\r\n"),
                                    SEND(OK(1) "a"), EXPECT("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"),
                                    SEND(OK(1) "p"), {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("DELETE", "/a?b", "Host: test\r\nX: 1\r\nX: 2\r\nContent-Length: 7\r\n", NULL);
    exchange_finish(exchange);
    expect_body(exchange, "a");
    char origin[32];
    snprintf(origin, sizeof(origin), "127.0.0.1:%u", script.port);
    cr_assert_str_eq(exchange->origin, origin);
    cr_assert_null(strstr(exchange->head, "Content-Length"));
    exchange_free(exchange);
    exchange = exchange_start("POST", "/p", "Host: test\r\n", NULL);
    exchange_finish(exchange);
    expect_body(exchange, "p");
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, responses_that_end_with_the_connection)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 200 OK\r\n\r\nto the end"),
                                    CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.0 200 OK\r\n\r\n"),
                                    CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/c")),
                                    SEND("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nc"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    begin(ops);
    expect_get("/a", "to the end");
    expect_get("/b", "");
    expect_get("/c", "c");
    finish();
}

Test(h1_fetch, a_head_byte_by_byte)
{
    static const char response[] =
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    static struct op ops[sizeof(response) + 2] = {ACCEPT, EXPECT(GET("/a"))};
    for (size_t i = 0; i < sizeof(response) - 1; i++)
        ops[i + 2] = (struct op){OP_SEND, response + i, 1};
    begin(ops);
    struct exchange *exchange = get("/a");
    expect_body(exchange, "abcde");
    cr_assert_not_null(strstr(exchange->head, "X-A: b\r\n"));
    cr_assert_eq(exchange->interims, 1);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, large_bodies_of_each_framing_to_the_byte)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 3000000\r\n\r\n"),
                                    FLOOD(3000000),
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2dc6c0\r\n"),
                                    FLOOD(3000000),
                                    SEND("\r\n0\r\n\r\n"),
                                    EXPECT(GET("/c")),
                                    SEND("HTTP/1.1 200 OK\r\n\r\n"),
                                    FLOOD(3000000),
                                    CLOSE,
                                    {0}};
    begin(ops);
    for (unsigned i = 0; i < 3; i++) {
        struct exchange *exchange = get((const char *[]){"/a", "/b", "/c"}[i]);
        cr_assert_eq(exchange->error, ERROR_OK);
        expect_flood(exchange, 3000000);
        exchange_free(exchange);
    }
    cr_assert_eq(bench_count(COUNTER_ORIGIN_CONNECTIONS), 1);
    finish();
}

static void slow_reader(const char *path)
{
    struct exchange *exchange = exchange_start("POST", path, "Host: test\r\n", NULL);
    exchange->slow = true;
    bench_run_until(exchange_has_head, exchange);
    bench_run_until(origin_is_held_up, NULL);
    cr_assert_leq(bench_count(COUNTER_ORIGIN_BYTES_RECEIVED), FILL_WINDOW_BYTES + 2 * LOOP_READ_BUFFER_BYTES, "not more than a window");
    exchange->slow = false;
    exchange_step(exchange);
    exchange_finish(exchange);
    cr_assert_eq(exchange->error, ERROR_OK);
    expect_flood(exchange, 30000000);
    exchange_free(exchange);
}

Test(h1_fetch, a_slow_reader_holds_the_origin_up)
{
    static const struct op ops[] = {
        ACCEPT, EXPECT(POST("/a")), SEND("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n"), FLOOD(30000000), {0}};
    begin(ops);
    slow_reader("/a");
    finish();
}

Test(h1_fetch, a_slow_reader_holds_up_chunks_as_well)
{
    static const struct op ops[] = {
        ACCEPT,          EXPECT(POST("/a")),    SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c9c380\r\n"),
        FLOOD(30000000), SEND("\r\n0\r\n\r\n"), {0}};
    begin(ops);
    slow_reader("/a");
    finish();
}

Test(h1_fetch, a_reader_that_leaves_ends_a_private_fetch)
{
    static const struct op ops[] = {
        ACCEPT, EXPECT(POST("/a")), SEND("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\nabc"), WAIT_FOR_CLOSE, {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("POST", "/a", "Host: test\r\n", NULL);
    bench_run_until(exchange_has_head, exchange);
    fetch_detach(&exchange->fetch);
    exchange_free(exchange);
    struct origin_stats stats;
    do
        bench_run_until(origin_is_held_up, NULL);
    while (origin_stats(bench.origin, &stats), stats.fetches > 0);
    finish();
}

Test(h1_fetch, a_fetch_for_the_cache_goes_on_without_its_request)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 3000000\r\n\r\n"),
                                    FLOOD(3000000),
                                    {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("GET", "/a", "Host: test\r\n", NULL);
    bench_run_until(exchange_has_head, exchange);
    fetch_detach(&exchange->fetch);
    exchange_free(exchange);
    struct exchange *second = exchange_start("GET", "/a", "Host: test\r\n", NULL);
    exchange_finish(second);
    expect_flood(second, 3000000);
    exchange_free(second);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REQUESTS), 1);
    finish();
}

Test(h1_fetch, an_origin_that_retires_ends_with_its_last_fetch)
{
    static const struct op ops[] = {ACCEPT, EXPECT(GET("/a")), SEND(OK(5) "he"), SEND("llo"), WAIT_FOR_CLOSE, {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("GET", "/a", "Host: test\r\n", NULL);
    origin_retire(&bench.origin);
    exchange_finish(exchange);
    expect_body(exchange, "hello");
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, malformed_responses_are_refused_and_the_connection_closed)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/c")),
                                    SEND("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/d")),
                                    SEND("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_BAD_RESPONSE);
    expect_error("/b", ERROR_ORIGIN_BAD_RESPONSE);
    expect_error("/c", ERROR_ORIGIN_BAD_RESPONSE);
    expect_error("/d", ERROR_ORIGIN_BAD_RESPONSE);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_FAILURES), 4);
    finish();
}

Test(h1_fetch, a_head_that_is_too_large)
{
    static char line[70000];
    memset(line, 'x', sizeof(line));
    memcpy(line, "HTTP/1.1 200 OK\r\nX: ", 20);
    static struct op ops[] = {ACCEPT, EXPECT(GET("/a")), {OP_SEND, line, sizeof(line)}, {0}};
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_HEADER_TOO_LARGE);
    finish();
}

Test(h1_fetch, bodies_that_break_off)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND(OK(5) "he"),
                                    CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
                                    CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/c")),
                                    SEND("HTTP/1.1 200 OK\r\nConten"),
                                    CLOSE,
                                    {0}};
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_TRUNCATED);
    expect_error("/b", ERROR_ORIGIN_TRUNCATED);
    expect_error("/c", ERROR_ORIGIN_TRUNCATED);
    finish();
}

Test(h1_fetch, bytes_behind_a_response_end_the_connection)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND(OK(2) "heX"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/c")),
                                    SEND(OK(0) "X"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    begin(ops);
    expect_get("/a", "he");
    expect_get("/b", "");
    expect_get("/c", "");
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REUSES), 0);
    finish();
}

Test(h1_fetch, interim_responses_are_passed_on)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 150 What\r\n\r\nHTTP/1.1 "
                                         "103 Early Hints\r\nLink: </x>\r\n\r\n" OK(1) "a"),
                                    {0}};
    begin(ops);
    struct exchange *exchange = get("/a");
    expect_body(exchange, "a");
    cr_assert_eq(exchange->interims, 3);
    cr_assert_eq(exchange->interim_status, 103);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_flood_of_interim_responses)
{
    static struct op ops[40] = {ACCEPT, EXPECT(GET("/a"))};
    for (unsigned i = 2; i < 35; i++)
        ops[i] = (struct op)SEND("HTTP/1.1 102 Processing\r\n\r\n");
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_INTERIM_FLOOD);
    finish();
}

Test(h1_fetch, an_upgrade_hands_the_connection_over)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
                                    SEND("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("GET", "/ws", "Host: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", NULL);
    exchange_finish(exchange);
    cr_assert_not_null(exchange->upgraded);
    cr_assert_str_eq(exchange->unread, "first");
    cr_assert_eq(exchange->error, ERROR_OK);
    connection_close(&exchange->upgraded);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_304_to_our_own_question_refreshes_what_is_stored)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    SEND("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nCache-Control: max-age=0\r\nContent-Length: 5\r\n\r\nhello"),
                                    EXPECT("GET /a HTTP/1.1\r\nHost: test\r\nIf-None-Match: \"e\"\r\n\r\n"),
                                    SEND("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nCache-Control: max-age=60\r\n\r\n"),
                                    {0}};
    begin(ops);
    expect_get("/a", "hello");
    expect_get("/a", "hello");
    expect_get("/a", "hello");
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REQUESTS), 2);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REUSES), 1);
    finish();
}

Test(h1_fetch, a_304_that_we_did_not_ask_for_is_a_response)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT("GET /a HTTP/1.1\r\nHost: test\r\nIf-None-Match: \"e\"\r\n\r\n"),
                                    SEND("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n"),
                                    {0}};
    begin(ops);
    struct exchange *exchange = exchange_start("GET", "/a", "Host: test\r\nIf-None-Match: \"e\"\r\n", NULL);
    exchange_finish(exchange);
    expect_body(exchange, "");
    cr_assert_eq(exchange->status, 304);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_304_that_nobody_asked_for_is_none)
{
    static const struct op ops[] = {
        ACCEPT, EXPECT(GET("/a")), SEND("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n"), WAIT_FOR_CLOSE, {0}};
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_BAD_RESPONSE);
    finish();
}

/* --- what fails --- */

static bool has_no_idle(void *context)
{
    struct origin_stats stats;
    (void)context;
    origin_stats(bench.origin, &stats);
    return stats.connections_idle == 0;
}

Test(h1_fetch, a_kept_connection_that_is_closed_meanwhile_is_not_used)
{
    static const struct op ops[] = {ACCEPT, EXPECT(GET("/a")), SEND(OK(1) "a"), CLOSE, ACCEPT, EXPECT(POST("/b")), SEND(OK(1) "b"), {0}};
    begin(ops);
    expect_get("/a", "a");
    bench_run_until(has_no_idle, NULL);
    struct exchange *exchange = exchange_start("POST", "/b", "Host: test\r\n", NULL);
    exchange_finish(exchange);
    expect_body(exchange, "b");
    exchange_free(exchange);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_RETRIES), 0);
    finish();
}

Test(h1_fetch, a_kept_connection_that_dies_with_the_request_is_tried_again_when_that_is_harmless)
{
    static const struct op ops[] = {ACCEPT, EXPECT(GET("/a")), SEND(OK(1) "a"), EXPECT(GET("/b")),  RESET,
                                    ACCEPT, EXPECT(GET("/b")), SEND(OK(1) "b"), EXPECT(POST("/c")), CLOSE,
                                    {0}};
    begin(ops);
    expect_get("/a", "a");
    expect_get("/b", "b");
    cr_assert_eq(bench_count(COUNTER_ORIGIN_RETRIES), 1);
    struct exchange *exchange = exchange_start("POST", "/c", "Host: test\r\n", NULL);
    exchange_finish(exchange);
    cr_assert_eq(exchange->error, ERROR_ORIGIN_CLOSED);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_new_connection_that_gives_no_answer_is_not_tried_again)
{
    static const struct op ops[] = {ACCEPT, EXPECT(GET("/a")), CLOSE, {0}};
    begin(ops);
    expect_error("/a", ERROR_ORIGIN_CLOSED);
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REQUESTS), 1);
    finish();
}

Test(h1_fetch, nobody_listens)
{
    bench_start("http://127.0.0.1:%u", free_port(), "");
    expect_error("/a", ERROR_ORIGIN_REFUSED);
    expect_error("/b", ERROR_ORIGIN_ALL_DOWN);
    struct origin_stats stats;
    origin_stats(bench.origin, &stats);
    cr_assert_eq(stats.addresses, 1);
    cr_assert_eq(stats.addresses_down, 1);
    bench_stop();
}

Test(h1_fetch, another_origin_takes_over)
{
    static const struct op ops[] = {ACCEPT,          EXPECT(POST("/a")), SEND(OK(1) "a"), EXPECT(POST("/b")),
                                    SEND(OK(1) "b"), EXPECT(POST("/c")), SEND(OK(1) "c"), {0}};
    char origins[128];
    snprintf(origins, sizeof(origins), "http://127.0.0.1:%u, http://127.0.0.1:%%u", free_port());
    script_listen(&script);
    script_start(&script, ops);
    bench_start(origins, script.port, "");
    for (unsigned i = 0; i < 3; i++) {
        char path[] = {'/', (char)('a' + i), '\0'};
        struct exchange *exchange = exchange_start("POST", path, "Host: test\r\n", NULL);
        exchange_finish(exchange);
        expect_body(exchange, path + 1);
        exchange_free(exchange);
    }
    cr_assert_eq(bench_count(COUNTER_ORIGIN_RETRIES), 1, "then it is skipped");
    finish();
}

Test(h1_fetch, origins_take_turns)
{
    static const struct op ops[] = {ACCEPT, EXPECT(GET("/a")), SEND(OK(1) "a"), EXPECT(GET("/c")), SEND(OK(1) "c"), {0}};
    static const struct op other_ops[] = {ACCEPT, EXPECT(GET("/b")), SEND(OK(1) "b"), EXPECT(GET("/d")), SEND(OK(1) "d"), {0}};
    static struct script other;
    char origins[128];
    script_listen(&script);
    script_start(&script, ops);
    script_listen(&other);
    script_start(&other, other_ops);
    snprintf(origins, sizeof(origins), "http://127.0.0.1:%u, http://127.0.0.1:%u", script.port, other.port);
    bench_start(origins, 0, "");
    expect_get("/a", "a");
    expect_get("/b", "b");
    expect_get("/c", "c");
    expect_get("/d", "d");
    script_finish(&other);
    finish();
}

Test(h1_fetch, an_origin_that_says_nothing)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT(GET("/a")),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND("HTTP/1.1 20"),
                                    WAIT_FOR_CLOSE,
                                    ACCEPT,
                                    EXPECT(GET("/c")),
                                    SEND(OK(5) "he"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    begin_with(ops, ", timeouts: {first_byte: 100ms, between_bytes: 100ms}");
    expect_error("/a", ERROR_ORIGIN_FIRST_BYTE_TIMEOUT);
    expect_error("/b", ERROR_ORIGIN_READ_TIMEOUT);
    expect_error("/c", ERROR_ORIGIN_READ_TIMEOUT);
    finish();
}
