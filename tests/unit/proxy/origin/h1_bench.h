/* The bench with an http:// origin behind it. For test_h1_*.c. */
#ifndef TESTS_ORIGIN_H1_BENCH_H
#define TESTS_ORIGIN_H1_BENCH_H

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

static inline void begin_with(const struct op *ops, const char *more)
{
    script_listen(&script);
    script_start(&script, ops);
    bench_start("http://127.0.0.1:%u", script.port, more);
}

static inline void begin(const struct op *ops)
{
    begin_with(ops, "");
}

static inline void finish(void)
{
    script_finish(&script);
    bench_stop();
}

#define GET(path)       "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define OK(body_length) "HTTP/1.1 200 OK\r\nContent-Length: " #body_length "\r\n\r\n"

/* GET of `path`, to its end. */
static inline struct exchange *get(const char *path)
{
    struct exchange *exchange = exchange_start("GET", path, "Host: test\r\n", NULL);
    exchange_finish(exchange);
    return exchange;
}

static inline void expect_get(const char *path, const char *body)
{
    struct exchange *exchange = get(path);
    expect_body(exchange, body);
    exchange_free(exchange);
}

static inline void expect_error(const char *path, enum error error)
{
    struct exchange *exchange = get(path);
    cr_assert_eq(exchange->error, error, "%s instead of %s", error_text(exchange->error), error_text(error));
    cr_assert(!exchange->head_ready || exchange->truncated);
    if (!exchange->head_ready)
        cr_assert_eq(exchange->reader_error, error);
    exchange_free(exchange);
}

#define POST(path) "POST " path " HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"

static inline bool origin_is_held_up(void *context)
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

#endif
