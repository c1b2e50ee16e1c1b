/* A real loop and a real cache, an origin that follows a script in a thread of its own, and one request at a time. For test_fetch*.c. */
#ifndef TESTS_ORIGIN_FETCH_BENCH_H
#define TESTS_ORIGIN_FETCH_BENCH_H

#include "base/status_line.h"
#include "cache/cache.h"
#include "proxy/origin/origin.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum op_kind { OP_END, OP_ACCEPT, OP_EXPECT, OP_SEND, OP_FLOOD, OP_CLOSE, OP_RESET, OP_WAIT_FOR_CLOSE };

struct op {
    enum op_kind kind;
    const char *text;
    size_t len; /* OP_FLOOD: so many bytes */
};

#define ACCEPT         {OP_ACCEPT, NULL, 0}
#define EXPECT(text)   {OP_EXPECT, (text), sizeof(text) - 1} /* exactly these bytes come next */
#define SEND(text)     {OP_SEND, (text), sizeof(text) - 1}
#define FLOOD(bytes)   {OP_FLOOD, NULL, (bytes)}
#define CLOSE          {OP_CLOSE, NULL, 0}
#define RESET          {OP_RESET, NULL, 0}
#define WAIT_FOR_CLOSE {OP_WAIT_FOR_CLOSE, NULL, 0}

struct script {
    int listener, fd;
    uint16_t port;
    const struct op *ops;
    pthread_t thread;
    char fault[4096];
};

/* What byte `at` of a flood is. */
static inline char flood_byte(size_t at)
{
    return (char)('a' + at * 7 % 26 + at / 4096 % 3);
}

static inline bool script_expect(struct script *script, const struct op *op)
{
    char *got = malloc(op->len);
    size_t used = 0;
    ssize_t count = 1;
    while (used < op->len && (count = recv(script->fd, got + used, op->len - used, 0)) > 0)
        used += (size_t)count;
    bool same = used == op->len && memcmp(got, op->text, op->len) == 0;
    if (!same)
        snprintf(script->fault, sizeof(script->fault), "expected\n%.*s\ngot\n%.*s", (int)op->len, op->text, (int)used, got);
    free(got);
    return same;
}

static inline bool script_send(struct script *script, const char *text, size_t len)
{
    for (size_t used = 0; used < len;) {
        ssize_t count = send(script->fd, text + used, len - used, MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        used += (size_t)count;
    }
    return true;
}

static inline bool script_flood(struct script *script, size_t bytes)
{
    char piece[4096];
    for (size_t at = 0; at < bytes;) {
        size_t count = bytes - at < sizeof(piece) ? bytes - at : sizeof(piece);
        for (size_t i = 0; i < count; i++)
            piece[i] = flood_byte(at + i);
        if (!script_send(script, piece, count))
            return false;
        at += count;
    }
    return true;
}

static inline bool script_step(struct script *script, const struct op *op)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    char byte;
    switch (op->kind) {
    case OP_ACCEPT:
        script->fd = accept(script->listener, NULL, NULL);
        return script->fd >= 0;
    case OP_EXPECT:
        return script_expect(script, op);
    case OP_SEND:
        return script_send(script, op->text, op->len);
    case OP_FLOOD:
        return script_flood(script, op->len);
    case OP_RESET:
        setsockopt(script->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(script->fd);
        return true;
    case OP_CLOSE:
        close(script->fd);
        return true;
    case OP_WAIT_FOR_CLOSE:
        if (recv(script->fd, &byte, 1, 0) <= 0)
            return close(script->fd) == 0;
        snprintf(script->fault, sizeof(script->fault), "expected the end of the connection, got '%c'", byte);
        return false;
    case OP_END:
        break;
    }
    return false;
}

static inline void *script_run(void *context)
{
    struct script *script = context;
    const struct op *op = script->ops;
    while (op->kind != OP_END && script_step(script, op))
        op++;
    if (op->kind != OP_END && !script->fault[0])
        snprintf(script->fault, sizeof(script->fault), "step %zu failed: %s", (size_t)(op - script->ops), strerror(errno));
    return NULL;
}

static inline void script_listen(struct script *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    script->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(script->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(script->listener, 16), 0);
    getsockname(script->listener, (struct sockaddr *)&address, &length);
    script->port = ntohs(address.sin_port);
}

static inline void script_start(struct script *script, const struct op *ops)
{
    script->ops = ops;
    cr_assert_eq(pthread_create(&script->thread, NULL, script_run, script), 0);
}

static inline void script_finish(struct script *script)
{
    pthread_join(script->thread, NULL);
    cr_assert_str_empty(script->fault);
}

/* --- the near side --- */

static struct {
    struct loop *loop;
    struct slab *slab;
    struct cache *cache;
    struct config *config;
    struct counters *counters;
    struct origin *origin;
    struct arena arena;
    struct deadline watchdog;
} bench;

static const struct site_rules bench_rules = {.heuristic_max_s = 86400};

/* What the cache asks for instead of the whole, in the next exchanges; none: end is 0. */
static struct span bench_slice;

struct exchange {
    struct fetch *fetch;
    struct reader reader;
    struct lookup lookup;
    struct mail mail;
    struct headers fields;
    bool ended, read_over, head_ready;
    bool slow; /* reads nothing of the body until told */
    enum error error, reader_error;
    char origin[64];
    unsigned interims, interim_status;
    unsigned status;
    char head[4096];
    bool truncated;
    char *body;
    size_t body_len, body_room;
    struct connection *upgraded;
    char unread[64];
};

static inline void bench_timeout(struct deadline *deadline)
{
    (void)deadline;
    cr_assert_fail("nothing happened for too long");
}

/* `site`: more of the site, in YAML's flow style, each with its comma; `%u` is the port. */
static inline void bench_start(const char *origins, uint16_t port, const char *more)
{
    char urls[512], yaml[1024];
    snprintf(urls, sizeof(urls), origins, port, port, port);
    snprintf(yaml, sizeof(yaml), "sites: [{hosts: \"*\", origin: [%s] %s}]\n", urls, more);
    bench.config = config_parse(BYTES("test"), bytes_from_string(yaml), stderr);
    cr_assert_not_null(bench.config);
    struct hash_key key;
    hash_key_random(&key);
    bench.loop = loop_new(0);
    bench.slab = slab_new(64 << 20);
    const struct cache_settings settings = {.slab = bench.slab, .object_max_bytes = 8 << 20, .variants_max = 8};
    bench.cache = cache_new(&settings, &key);
    bench.counters = counters_new();
    arena_init(&bench.arena);
    const struct origin_context context = {.loop = bench.loop, .counters = bench.counters};
    bench.origin = origin_new(&context, bench.config, bench.config->sites);
}

/* Whatever went on has to be over: nothing may be left behind. */
static inline void bench_stop(void)
{
    struct origin_stats stats;
    if (bench.origin) {
        origin_stats(bench.origin, &stats);
        cr_assert_eq(stats.fetches, 0);
        cr_assert_eq(stats.connections_busy, 0);
        origin_retire(&bench.origin);
    }
    struct cache_stats cached;
    cache_stats(bench.cache, &cached);
    cr_assert_eq(cached.fills, 0);
    deadline_clear(&bench.watchdog);
    loop_free(&bench.loop);
    cache_free(&bench.cache);
    slab_free(&bench.slab);
    cr_assert_eq(ref_count(&bench.config->ref), 1);
    config_unref(&bench.config);
    counters_free(&bench.counters);
    arena_free(&bench.arena);
}

static inline uint64_t bench_count(enum counter counter)
{
    return atomic_load(&bench.counters->value[counter]);
}

static inline void exchange_drain(struct exchange *exchange)
{
    struct iovec iov[8];
    for (;;) {
        int count = 8;
        switch (reader_peek(&exchange->reader, iov, &count, SIZE_MAX)) {
        case READER_DATA:
            for (int i = 0; i < count; i++) {
                if (exchange->body_len + iov[i].iov_len > exchange->body_room) {
                    exchange->body_room = 2 * (exchange->body_len + iov[i].iov_len);
                    exchange->body = realloc(exchange->body, exchange->body_room);
                }
                memcpy(exchange->body + exchange->body_len, iov[i].iov_base, iov[i].iov_len);
                exchange->body_len += iov[i].iov_len;
                reader_consume(&exchange->reader, iov[i].iov_len);
            }
            break;
        case READER_WAIT:
            return;
        case READER_FAILED:
            exchange->truncated = true;
            exchange->read_over = true;
            return;
        case READER_END:
            exchange->read_over = true;
            return;
        }
    }
}

static inline void exchange_step(struct exchange *exchange)
{
    struct response_view view;
    if (!exchange->head_ready && !exchange->read_over) {
        switch (reader_head(&exchange->reader, &view, &exchange->reader_error)) {
        case READER_HEAD_READY:
            exchange->head_ready = true;
            exchange->status = view.status;
            snprintf(exchange->head, sizeof(exchange->head), "%.*s%.*s",
                     BYTES_FMT(view.status_line.len > 0 ? view.status_line : status_line_usual(view.status)), BYTES_FMT(view.fields));
            break;
        case READER_HEAD_FAILED:
        case READER_HEAD_RELEASED:
            exchange->read_over = true;
            break;
        case READER_HEAD_WAIT:
            break;
        }
    }
    if (exchange->head_ready && !exchange->read_over && !exchange->slow)
        exchange_drain(exchange);
}

static inline void exchange_mail(struct mail *mail)
{
    exchange_step(LIST_OWNER(mail, struct exchange, mail));
}

static inline void exchange_interim(void *context, unsigned status, const struct headers *fields)
{
    struct exchange *exchange = context;
    (void)fields;
    exchange->interims++;
    exchange->interim_status = status;
}

static inline void exchange_upgraded(void *context, const struct fetch_upgrade *upgrade)
{
    struct exchange *exchange = context;
    exchange->upgraded = upgrade->connection;
    snprintf(exchange->unread, sizeof(exchange->unread), "%.*s", BYTES_FMT(upgrade->unread));
}

static inline void exchange_ended(void *context, enum error error, struct bytes origin)
{
    struct exchange *exchange = context;
    exchange->fetch = NULL;
    exchange->ended = true;
    exchange->error = error;
    snprintf(exchange->origin, sizeof(exchange->origin), "%.*s", BYTES_FMT(origin));
}

/* `fields`: lines with their CRLF. */
static inline struct exchange *exchange_start(const char *method, const char *path, const char *fields, struct upload *upload)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    const struct fetch_events events = {exchange, exchange_interim, exchange_upgraded, exchange_ended};
    headers_init(&exchange->fields, &bench.arena);
    cr_assert(headers_parse_block(&exchange->fields, bytes_from_string(fields)));
    mail_init(&exchange->mail, bench.loop, exchange_mail);
    struct bytes name = bytes_from_string(method);
    exchange->lookup = (struct lookup){
        .key = cache_key_build(cache_hash_key(bench.cache), &bench.arena, BYTES("http"), BYTES("test"), bytes_from_string(path), BYTES_NONE),
        .method = method_identify(name),
        .fields = &exchange->fields,
        .rules = &bench_rules,
        .now = loop_wall(bench.loop),
        .slice = bench_slice,
        .is_private = upload != NULL,
        .reader_waker = &exchange->mail.waker,
    };
    cache_lookup(bench.cache, &exchange->lookup, &exchange->reader);
    if (!exchange->lookup.fill) {
        exchange->ended = true;
        exchange_step(exchange);
        return exchange;
    }
    const struct response_view *stale = fill_stale(exchange->lookup.fill);
    if (stale) { /* as the request layer does */
        struct headers stored;
        headers_init(&stored, &bench.arena);
        headers_parse_block(&stored, stale->fields);
        headers_add_known(&exchange->fields, HEADER_IF_NONE_MATCH, headers_value(&stored, HEADER_ETAG));
    }
    struct span slice = fill_slice(exchange->lookup.fill);
    if (slice.end > 0)
        headers_add_known(&exchange->fields, HEADER_RANGE,
                          arena_printf(&bench.arena, "bytes=%lu-%lu", (unsigned long)slice.first, (unsigned long)slice.end - 1));
    const struct fetch_request request = {
        .method = method_identify(name),
        .method_name = name,
        .target = bytes_from_string(path),
        .fields = &exchange->fields,
        .upload = upload,
        .wants_upgrade = headers_find(&exchange->fields, HEADER_UPGRADE) != NULL,
    };
    exchange->fetch = origin_fetch(bench.origin, &request, exchange->lookup.fill, &events);
    cr_assert_not(exchange->ended, "never from inside");
    exchange_step(exchange);
    return exchange;
}

/* Something the turn's end looks at, to stop the loop when what the test waits for is there. */
static bool (*bench_until)(void *context);
static void *bench_context;

static inline void bench_look(void *context)
{
    (void)context;
    if (bench_until && bench_until(bench_context))
        loop_stop(bench.loop);
}

static inline void bench_run_until(bool (*until)(void *), void *context)
{
    static bool hooked;
    if (!hooked)
        loop_at_turn_end(bench.loop, bench_look, NULL);
    hooked = true;
    bench_until = until;
    bench_context = context;
    loop_set_deadline(bench.loop, &bench.watchdog, 20000, bench_timeout);
    if (!until(context))
        loop_run(bench.loop);
    deadline_clear(&bench.watchdog);
}

static inline bool exchange_is_over(void *context)
{
    struct exchange *exchange = context;
    return exchange->ended && exchange->read_over;
}

static inline bool exchange_has_head(void *context)
{
    return ((struct exchange *)context)->head_ready;
}

static inline void exchange_finish(struct exchange *exchange)
{
    bench_run_until(exchange_is_over, exchange);
}

static inline void exchange_free(struct exchange *exchange)
{
    reader_close(&exchange->reader);
    cr_assert_not(mail_is_posted(&exchange->mail));
    free(exchange->body);
    free(exchange);
}

static inline void expect_body(const struct exchange *exchange, const char *body)
{
    cr_assert_eq(exchange->error, ERROR_OK, "%s", error_text(exchange->error));
    cr_assert_not(exchange->truncated);
    cr_assert_eq(exchange->body_len, strlen(body), "body \"%.*s\"", (int)exchange->body_len, exchange->body);
    cr_assert(memcmp(exchange->body ? exchange->body : "", body, exchange->body_len) == 0);
}

static inline void expect_flood(const struct exchange *exchange, size_t bytes)
{
    cr_assert_eq(exchange->body_len, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (exchange->body[i] != flood_byte(i))
            cr_assert_fail("byte %zu is wrong", i);
}

#endif
