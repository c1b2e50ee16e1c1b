/* Responses from origins: legal ones, odd ones, and those that are refused; whole, and cut at every byte. */
#include "proxy/origin/h1_response.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* What a response came to, as one line. */
struct outcome {
    enum h1_result result; /* H1_MORE: not all of the head came */
    bool body_bad;
    unsigned status, interims;
    enum h1_framing framing;
    uint64_t length;
    bool keep_alive, complete;
    int64_t kept_ms;
    size_t extra; /* bytes behind the end */
    char body[256];
    size_t body_len;
    char fields[512]; /* "name=value;" */
    char reason[64];
};

static void note_head(struct outcome *outcome, const struct h1_response *response)
{
    outcome->status = response->status;
    outcome->framing = response->framing;
    outcome->length = response->length;
    outcome->keep_alive = response->keep_alive;
    outcome->kept_ms = response->kept_ms;
    snprintf(outcome->reason, sizeof(outcome->reason), "%.*s", BYTES_FMT(response->reason));
    outcome->fields[0] = '\0';
    for (unsigned i = 0; i < response->fields.count; i++) {
        size_t used = strlen(outcome->fields);
        snprintf(outcome->fields + used, sizeof(outcome->fields) - used, "%.*s=%.*s;", BYTES_FMT(response->fields.at[i].name),
                 BYTES_FMT(response->fields.at[i].value));
    }
}

static void take_body(struct outcome *outcome, struct h1_response *response, struct bytes in)
{
    if (in.len == 0)
        return;
    if (response->framing == H1_CHUNKED && !response->complete) {
        size_t used, decoded;
        char *copy = malloc(in.len); /* decoded in place, at its exact size */
        memcpy(copy, in.at, in.len);
        bool is_good = h1_response_decode(response, bytes_from(copy, in.len), copy, &used, &decoded);
        memcpy(outcome->body + outcome->body_len, copy, decoded);
        free(copy);
        outcome->body_len += decoded;
        outcome->body_bad = !is_good;
        outcome->complete = response->complete;
        in = bytes_from(in.at + used, in.len - used);
        outcome->extra += is_good && response->complete ? in.len : 0;
        return;
    }
    size_t wanted = response->framing == H1_UNTIL_CLOSE ? in.len
                    : response->framing == H1_LENGTH    ? response->length - outcome->body_len
                                                        : 0;
    size_t count = in.len < wanted ? in.len : wanted;
    memcpy(outcome->body + outcome->body_len, in.at, count);
    outcome->body_len += count;
    outcome->extra += in.len - count;
}

/* Feeds `text` in pieces that end at `cut`, at `cut2` and at its end, each in exact memory. */
static struct outcome run(struct bytes text, enum method method, size_t cut, size_t cut2)
{
    struct outcome outcome = {.result = H1_MORE};
    struct h1_response response;
    struct arena arena;
    arena_init(&arena);
    h1_response_init(&response, method, &arena);
    const size_t ends[] = {cut, cut2, text.len};
    char *shared = malloc(H1_HEAD_MAX_BYTES);
    for (size_t from = 0, i = 0; i < 3; from = ends[i++]) {
        struct bytes piece = bytes_from(text.at + from, ends[i] - from);
        if (piece.len == 0 || outcome.body_bad || outcome.result == H1_BAD)
            continue;
        if (outcome.result == H1_HEAD) {
            take_body(&outcome, &response, piece);
            continue;
        }
        memset(shared, 0xee, H1_HEAD_MAX_BYTES);
        size_t capacity;
        char *at = h1_response_space(&response, shared, &capacity);
        cr_assert_leq(piece.len, capacity);
        memcpy(at, piece.at, piece.len);
        struct bytes rest = BYTES_NONE;
        outcome.result = h1_response_feed(&response, at, piece.len, &rest);
        while (outcome.result == H1_HEAD && response.status < 200 && response.status != 101) {
            outcome.interims++;
            outcome.result = h1_response_next(&response, &rest);
        }
        if (outcome.result != H1_HEAD)
            continue;
        note_head(&outcome, &response);
        take_body(&outcome, &response, rest);
    }
    h1_response_free(&response);
    arena_free(&arena);
    free(shared);
    return outcome;
}

struct row {
    const char *text; /* literals with NUL give their length */
    size_t len;
    enum method method;
    enum h1_result result;
    unsigned status;
    enum h1_framing framing;
    const char *body;
    const char *fields;
    bool keep_alive;
    unsigned interims;
    size_t extra;
    bool body_bad;
};

#define TEXT(literal) .text = (literal), .len = sizeof(literal) - 1

static const struct row good[] = {
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "hello", "Content-Length=5;", true, 0,
     0, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "hello", "Content-Length=5;", true, 0,
     1, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "",
     "Content-Length=0;Connection=close;", false, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nConnection: X, cLoSe\r\nContent-Length: 1\r\n\r\na"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "a",
     "Connection=X, cLoSe;Content-Length=1;", false, 0, 0, false},
    {TEXT("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "a", "Content-Length=1;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "a", "Content-Length=1;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\n\r\nuntil the end"), METHOD_GET, H1_HEAD, 200, H1_UNTIL_CLOSE, "until the end", "", false, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense\r\n\r\n2\r\nab"), METHOD_GET, H1_HEAD, 200, H1_UNTIL_CLOSE, "2\r\nab",
     "Transfer-Encoding=nonsense;", false, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\nConnection: keep-alive\r\n\r\nab"), METHOD_GET, H1_HEAD, 200, H1_UNTIL_CLOSE,
     "ab", "Transfer-Encoding=Identity;Connection=keep-alive;", false, 0, 0, false},
    {TEXT("HTTP/1.0 200 OK\r\n\r\nold"), METHOD_GET, H1_HEAD, 200, H1_UNTIL_CLOSE, "old", "", false, 0, 0, false},
    {TEXT("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "old", "Content-Length=3;", false, 0, 0,
     false},
    {TEXT("HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "old",
     "Content-Length=3;Connection=keep-alive;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), METHOD_GET, H1_HEAD, 200, H1_CHUNKED, "hello",
     "Transfer-Encoding=chunked;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n1\r\n!\r\n000\r\n\r\n"), METHOD_GET, H1_HEAD, 200,
     H1_CHUNKED, "hello!", "Transfer-Encoding=Chunked;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: t\r\nSet-Cookie: a\r\n\r\nZZ"), METHOD_GET,
     H1_HEAD, 200, H1_CHUNKED, "a", "Transfer-Encoding=chunked;", true, 0, 2, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), METHOD_HEAD, H1_HEAD, 200, H1_NO_BODY, "", "Content-Length=500;", true, 0, 0,
     false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), METHOD_HEAD, H1_HEAD, 200, H1_NO_BODY, "", "Transfer-Encoding=chunked;",
     true, 0, 0, false},
    {TEXT("HTTP/1.1 204 No Content\r\n\r\n"), METHOD_GET, H1_HEAD, 204, H1_NO_BODY, "", "", true, 0, 0, false},
    {TEXT("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"), METHOD_GET, H1_HEAD, 204, H1_NO_BODY, "", "Content-Length=3;", false,
     0, 3, false},
    {TEXT("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n"), METHOD_GET, H1_HEAD, 304, H1_NO_BODY, "",
     "Content-Length=500;ETag=\"a\";", true, 0, 0, false},
    {TEXT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
     METHOD_GET, H1_HEAD, 200, H1_LENGTH, "a", "Content-Length=1;", true, 2, 0, false},
    {TEXT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbytes"), METHOD_GET, H1_HEAD, 101,
     H1_NO_BODY, "", "Upgrade=websocket;Connection=Upgrade;", true, 0, 5, false},
    {TEXT("HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\na"), METHOD_GET, H1_HEAD, 299, H1_LENGTH, "a", "Content-Length=1;", true, 0, 0,
     false},
    {TEXT("HTTP/1.1 799 Odder\r\nContent-Length: 1\r\n\r\na"), METHOD_GET, H1_HEAD, 799, H1_LENGTH, "a", "Content-Length=1;", true, 0, 0,
     false},
    {TEXT("HTTP/1.1 200 \xe9t\xe9\r\nX:\r\nY:  v\t \r\nContent-Length:1\r\nX-B: \xff\r\n\r\na"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "a",
     "X=;Y=v;Content-Length=1;X-B=\xff;", true, 0, 0, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n"), METHOD_GET, H1_HEAD, 200, H1_LENGTH, "",
     "Content-Length=9223372036854775807;", true, 0, 0, false},
};

#define REFUSED(literal)                                                                                                                   \
    {                                                                                                                                      \
        TEXT(literal), METHOD_GET, H1_BAD, 0, H1_NO_BODY, "", "", false, 0, 0, false                                                       \
    }
#define BODY_REFUSED(literal)                                                                                                              \
    {                                                                                                                                      \
        TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" literal), METHOD_GET, H1_HEAD, 200, H1_CHUNKED, NULL,                 \
            "Transfer-Encoding=chunked;", true, 0, 0, true                                                                                 \
    }

static const struct row refused[] = {
    REFUSED("200 OK\r\n\r\n"),
    REFUSED("ICY 200 OK\r\n\r\n"),
    REFUSED("HTTP/2.0 200 OK\r\n\r\n"),
    REFUSED("HTTP/0.9 200 OK\r\n\r\n"),
    REFUSED("HTTP/1.2 200 OK\r\n\r\n"),
    REFUSED("HTTP/1.1 20 OK\r\n\r\n"),
    REFUSED("HTTP/1.1 2000 OK\r\n\r\n"),
    REFUSED("HTTP/1.1 099 OK\r\n\r\n"),
    REFUSED("HTTP/1.1 abc OK\r\n\r\n"),
    REFUSED("GET / HTTP/1.1\r\n\r\n"),
    REFUSED("HTTP/1.1 200 O\0K\r\n\r\n"),
    REFUSED("HTTP/1.1 200 O\x01K\r\n\r\n"),
    /* RFC 9112 §6.3 */
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunkedx\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense, chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense\r\nContent-Length: 2\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: non sense\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense;a=b\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: X-GZIP\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nTransfer-Encoding: deflate\r\n\r\n"),
    REFUSED("HTTP/1.0 200 OK\r\nTransfer-Encoding: nonsense\r\n\r\n"),
    REFUSED("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    /* RFC 9112 §5, §2.2 */
    REFUSED("HTTP/1.1 200 OK\r\nX : a\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\n X: a\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\n: a\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\x01"
            "b\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\x7f\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\rb: c\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n"),
    REFUSED("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    REFUSED("HTTP/1.1 200 OK\r\nX\xe9: a\r\n\r\n"),
    /* RFC 9112 §7.1 */
    BODY_REFUSED("g\r\n"),
    BODY_REFUSED("-5\r\nhello\r\n0\r\n\r\n"),
    BODY_REFUSED("0x5\r\nhello\r\n0\r\n\r\n"),
    BODY_REFUSED(" 5\r\nhello\r\n0\r\n\r\n"),
    BODY_REFUSED("\r\n5\r\nhello\r\n0\r\n\r\n"),
    BODY_REFUSED("5\r\nhelloX\r\n0\r\n\r\n"),
    BODY_REFUSED("5\r\nhello0\r\n\r\n"),
    BODY_REFUSED("5\nhello\r\n0\r\n\r\n"),
    BODY_REFUSED("5\r\nhello\n0\r\n\r\n"),
    BODY_REFUSED("10000000000000000\r\na"),
    BODY_REFUSED("5;a\nb\r\nhello\r\n0\r\n\r\n"),
};

static void check(const struct row *row, const struct outcome *outcome, size_t cut, size_t cut2)
{
    const char *text = row->text;
    cr_assert_eq(outcome->result, row->result, "result %d of\n%s\ncut at %zu, %zu", outcome->result, text, cut, cut2);
    if (row->result != H1_HEAD)
        return;
    cr_assert_eq(outcome->status, row->status, "status %u of\n%s\ncut at %zu, %zu", outcome->status, text, cut, cut2);
    cr_assert_eq(outcome->framing, row->framing, "framing of\n%s", text);
    cr_assert_str_eq(outcome->fields, row->fields, "\n%s\ncut at %zu, %zu", text, cut, cut2);
    cr_assert_eq(outcome->keep_alive, row->keep_alive, "keep-alive of\n%s", text);
    cr_assert_eq(outcome->interims, row->interims, "interim responses of\n%s", text);
    cr_assert_eq(outcome->body_bad, row->body_bad, "body of\n%s\ncut at %zu, %zu", text, cut, cut2);
    if (row->body)
        cr_assert(bytes_equal(bytes_from(outcome->body, outcome->body_len), bytes_from_string(row->body)),
                  "body \"%.*s\" of\n%s\ncut at %zu, %zu", (int)outcome->body_len, outcome->body, text, cut, cut2);
    cr_assert_eq(outcome->extra, row->extra, "%zu extra bytes of\n%s\ncut at %zu, %zu", outcome->extra, text, cut, cut2);
    if (row->framing == H1_CHUNKED && !row->body_bad)
        cr_assert(outcome->complete, "%s\ncut at %zu, %zu", text, cut, cut2);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes text = bytes_from(rows[i].text, rows[i].len);
        for (size_t cut = 0; cut <= text.len; cut++) {
            size_t cut2 = cut + (text.len - cut) / 2;
            struct outcome outcome = run(text, rows[i].method, cut, cut2);
            check(&rows[i], &outcome, cut, cut2);
        }
    }
}

Test(h1_response, legal_responses_cut_at_every_byte)
{
    check_rows(good, sizeof(good) / sizeof(*good));
}

Test(h1_response, malformed_responses_cut_at_every_byte)
{
    check_rows(refused, sizeof(refused) / sizeof(*refused));
}

Test(h1_response, how_long_the_origin_keeps_an_idle_connection)
{
    static const struct {
        const char *fields;
        int64_t kept_ms;
    } rows[] = {
        {"", INT64_MAX},
        {"Keep-Alive: timeout=5\r\n", 5000},
        {"Keep-Alive: max=100, Timeout=5\r\n", 5000},
        {"Keep-Alive: max=100\r\nKeep-Alive: timeout=0\r\n", 0},
        {"Keep-Alive: 300\r\n", INT64_MAX},
        {"Keep-Alive: timeout=\"5\"\r\n", INT64_MAX},
        {"Keep-Alive: timeout=-5\r\n", INT64_MAX},
        {"Keep-Alive: timeout=9223372036854775\r\n", INT64_MAX},
        {"Keep-Alive: timeout=99999999999999999999\r\n", INT64_MAX},
        {"Keep-Alive: timeout\r\n", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[128];
        int length = snprintf(text, sizeof(text), "HTTP/1.1 204 No Content\r\n%s\r\n", rows[i].fields);
        struct outcome outcome = run(bytes_from(text, (size_t)length), METHOD_GET, 0, 0);
        cr_assert_eq(outcome.result, H1_HEAD);
        cr_assert_eq(outcome.kept_ms, rows[i].kept_ms, "%s", rows[i].fields);
    }
}
