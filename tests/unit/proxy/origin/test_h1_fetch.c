/* Fetches from an http:// origin that follows a script. */
#include "tests/unit/proxy/origin/fetch_bench.h"

static struct script script;

/* No names here: every origin is an address. */
void resolver_client_resolve(struct resolver_client *client, struct resolve_request *request, struct monotonic_ms now)
{
    (void)client, (void)request, (void)now;
    cr_assert_fail("an address was looked up");
}

void resolver_client_cancel(struct resolver_client *client, struct resolve_request *request)
{
    (void)client, (void)request;
}

void disk_client_read(struct disk_client *client, struct file_request *request, struct monotonic_ms now)
{
    (void)client, (void)request, (void)now;
    cr_assert_fail("a file was read");
}

static void begin_with(const struct op *ops, const char *more)
{
    script_listen(&script);
    script_start(&script, ops);
    bench_start("http://127.0.0.1:%u", script.port, more);
}

static void begin(const struct op *ops)
{
    begin_with(ops, "");
}

static void finish(void)
{
    script_finish(&script);
    bench_stop();
}

#define GET(path)       "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK(body_length) "HTTP/1.1 200 OK\r\nContent-Length: " #body_length "\r\n\r\n"

/* GET of `path`, to its end. */
static struct exchange *get(const char *path)
{
    struct exchange *exchange = exchange_start("GET", path, "Host: test\r\n", NULL);
    exchange_finish(exchange);
    return exchange;
}

static void expect_get(const char *path, const char *body)
{
    struct exchange *exchange = get(path);
    expect_body(exchange, body);
    exchange_free(exchange);
}

static void expect_error(const char *path, enum error error)
{
    struct exchange *exchange = get(path);
    cr_assert_eq(exchange->error, error, "%s instead of %s", error_text(exchange->error), error_text(error));
    cr_assert(!exchange->head_ready || exchange->truncated);
    if (!exchange->head_ready)
        cr_assert_eq(exchange->reader_error, error);
    exchange_free(exchange);
}

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

static bool origin_is_held_up(void *context)
{
    /* What the origin sent and nobody read fills the sockets' buffers: the count stands still. */
    static uint64_t before;
    static unsigned turns;
    (void)context;
    uint64_t now = bench_count(COUNTER_ORIGIN_BYTES_RECEIVED);
    turns = now == before ? turns + 1 : 0;
    before = now;
    return turns > 3;
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

#define POST(path) "POST " path " HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"

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

/* A port where nobody listens. */
static uint16_t dead_port(void)
{
    struct script nobody = {0};
    script_listen(&nobody);
    close(nobody.listener);
    return nobody.port;
}

Test(h1_fetch, nobody_listens)
{
    bench_start("http://127.0.0.1:%u", dead_port(), "");
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
    snprintf(origins, sizeof(origins), "http://127.0.0.1:%u, http://127.0.0.1:%%u", dead_port());
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

/* --- uploads --- */

/* A body that comes in pieces; piece i is there once `allowed` > i. */
struct pieces {
    struct upload upload;
    const char *const *text;
    unsigned at, allowed;
    size_t used;
    bool fails;
};

static enum upload_state pieces_peek(struct upload *upload, struct bytes *data)
{
    struct pieces *pieces = LIST_OWNER(upload, struct pieces, upload);
    if (pieces->fails)
        return UPLOAD_FAILED;
    if (pieces->at >= pieces->allowed)
        return pieces->text[pieces->at] ? UPLOAD_WAIT : UPLOAD_END;
    const char *text = pieces->text[pieces->at];
    if (!text)
        return UPLOAD_END;
    *data = bytes_from(text + pieces->used, strlen(text) - pieces->used);
    return UPLOAD_DATA;
}

static void pieces_consume(struct upload *upload, size_t bytes)
{
    struct pieces *pieces = LIST_OWNER(upload, struct pieces, upload);
    pieces->used += bytes;
    if (pieces->used < strlen(pieces->text[pieces->at]))
        return;
    pieces->used = 0;
    pieces->at++;
}

static const struct upload_ops pieces_ops = {pieces_peek, pieces_consume};
static const char *const two_pieces[] = {"hello ", "world", NULL};

static bool all_is_sent(void *context)
{
    const struct pieces *pieces = context;
    return pieces->at == pieces->allowed;
}

static void give(struct pieces *pieces)
{
    pieces->allowed++;
    cr_assert_not_null(pieces->upload.ready);
    pieces->upload.ready(pieces->upload.context);
}

Test(h1_fetch, an_upload_of_known_length)
{
    static const struct op ops[] = {ACCEPT,          EXPECT("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello world"),
                                    SEND(OK(1) "a"), EXPECT(GET("/b")),
                                    SEND(OK(1) "b"), {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops, .length_known = true, .length = 11}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    bench_run_until(all_is_sent, &pieces);
    give(&pieces);
    exchange_finish(exchange);
    expect_body(exchange, "a");
    exchange_free(exchange);
    expect_get("/b", "b"); /* the connection was good for more */
    cr_assert_eq(bench_count(COUNTER_ORIGIN_REUSES), 1);
    finish();
}

Test(h1_fetch, an_upload_of_unknown_length_is_chunked)
{
    static const struct op ops[] = {
        ACCEPT,
        EXPECT("POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"),
        SEND(OK(1) "a"),
        {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("POST", "/a", "Host: test\r\n", &pieces.upload);
    bench_run_until(all_is_sent, &pieces);
    give(&pieces);
    exchange_finish(exchange);
    expect_body(exchange, "a");
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, an_answer_before_the_upload_ended_is_delivered_and_the_connection_closed)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello "),
                                    SEND("HTTP/1.1 413 Content Too Large\r\nContent-Length: 1\r\n\r\na"),
                                    WAIT_FOR_CLOSE,
                                    {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops, .length_known = true, .length = 11}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    exchange_finish(exchange);
    expect_body(exchange, "a");
    cr_assert_eq(exchange->status, 413);
    cr_assert_null(pieces.upload.ready);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_client_that_breaks_off_its_upload)
{
    static const struct op ops[] = {
        ACCEPT, EXPECT("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello "), WAIT_FOR_CLOSE, {0}};
    struct pieces pieces = {
        .upload = {.ops = &pieces_ops, .length_known = true, .length = 11, .error = ERROR_BODY_TOO_SLOW}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    bench_run_until(all_is_sent, &pieces);
    pieces.fails = true;
    pieces.upload.ready(pieces.upload.context);
    cr_assert_not(exchange->ended, "told later");
    exchange_finish(exchange);
    cr_assert_eq(exchange->error, ERROR_BODY_TOO_SLOW);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_request_that_leaves_while_it_uploads)
{
    static const struct op ops[] = {
        ACCEPT, EXPECT("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello "), WAIT_FOR_CLOSE, {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops, .length_known = true, .length = 11}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    bench_run_until(all_is_sent, &pieces);
    fetch_detach(&exchange->fetch);
    cr_assert_null(pieces.upload.ready);
    bench_run_until(origin_is_held_up, NULL);
    exchange_free(exchange);
    finish();
}

Test(h1_fetch, a_large_upload_goes_out_as_the_origin_takes_it)
{
    enum { LENGTH = 20000000 };
    static char large[LENGTH + 1];
    static const char *const one_piece[] = {large, NULL};
    static char request[LENGTH + 128];
    for (size_t i = 0; i < LENGTH; i++)
        large[i] = flood_byte(i);
    int head = snprintf(request, 128, "PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n", LENGTH);
    memcpy(request + head, large, LENGTH);
    struct op ops[] = {ACCEPT, {OP_EXPECT, request, (size_t)head + LENGTH}, SEND(OK(1) "a"), {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops, .length_known = true, .length = LENGTH}, .text = one_piece, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    exchange_finish(exchange);
    expect_body(exchange, "a");
    exchange_free(exchange);
    finish();
}
