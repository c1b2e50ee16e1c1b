/* Uploads to an http:// origin that follows a script. */
#include "tests/unit/proxy/origin/h1_bench.h"

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

Test(h1_upload, an_upload_of_known_length)
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

Test(h1_upload, an_upload_of_unknown_length_is_chunked)
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

Test(h1_upload, an_answer_before_the_upload_ended_is_delivered_and_the_connection_closed)
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

Test(h1_upload, behind_the_head_of_a_good_answer_it_goes_on_but_the_connection_is_not_used_again)
{
    static const struct op ops[] = {ACCEPT,
                                    EXPECT("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello "),
                                    SEND(OK(3) "a"),
                                    EXPECT("world"),
                                    SEND("bc"),
                                    ACCEPT,
                                    EXPECT(GET("/b")),
                                    SEND(OK(1) "b"),
                                    {0}};
    struct pieces pieces = {.upload = {.ops = &pieces_ops, .length_known = true, .length = 11}, .text = two_pieces, .allowed = 1};
    begin(ops);
    struct exchange *exchange = exchange_start("PUT", "/a", "Host: test\r\n", &pieces.upload);
    bench_run_until(exchange_has_head, exchange);
    give(&pieces);
    exchange_finish(exchange);
    expect_body(exchange, "abc");
    exchange_free(exchange);
    expect_get("/b", "b");
    finish();
}

Test(h1_upload, a_client_that_breaks_off_its_upload)
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

Test(h1_upload, a_request_that_leaves_while_it_uploads)
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

Test(h1_upload, a_large_upload_goes_out_as_the_origin_takes_it)
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
