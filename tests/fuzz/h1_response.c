#include "proxy/origin/h1_response.h"

#include "tests/fuzz/fuzz.h"

enum { BODY_MAX = 4096 };

/* What a response came to. */
struct outcome {
    enum h1_result result; /* H1_MORE: not all of the head came */
    bool body_is_bad, is_complete, keep_alive;
    unsigned status, interims, fields;
    enum h1_framing framing;
    uint64_t length;
    char body[BODY_MAX];
    size_t body_len, behind;
};

/* What the fill and the pool rely on. */
static void check(const struct h1_response *response)
{
    const struct headers *fields = &response->fields;
    REQUIRE(response->status >= 100 && response->status <= 999 && header_value_is_valid(response->reason));
    REQUIRE(fields->count <= H1_FIELDS_MAX);
    for (unsigned i = 0; i < fields->count; i++)
        REQUIRE(bytes_is_token(fields->at[i].name) && header_value_is_valid(fields->at[i].value));
    REQUIRE(headers_count(fields, HEADER_CONTENT_LENGTH) <= 1);
    REQUIRE(!headers_find(fields, HEADER_TRANSFER_ENCODING) || !headers_find(fields, HEADER_CONTENT_LENGTH));
    REQUIRE(response->framing != H1_UNTIL_CLOSE || !response->keep_alive);
    REQUIRE(response->framing != H1_CHUNKED || headers_find(fields, HEADER_TRANSFER_ENCODING));
}

static void take_body(struct outcome *outcome, struct h1_response *response, struct bytes in)
{
    size_t used, decoded;
    if (response->framing != H1_CHUNKED || in.len == 0 || outcome->body_is_bad)
        return;
    if (outcome->is_complete) {
        outcome->behind += in.len;
        return;
    }
    char *copy = malloc(in.len); /* decoded in place, at its exact size */
    memcpy(copy, in.at, in.len);
    outcome->body_is_bad = !h1_response_decode(response, bytes_from(copy, in.len), copy, &used, &decoded);
    if (!outcome->body_is_bad) {
        REQUIRE(used <= in.len && decoded <= used && (used == in.len || response->complete));
        REQUIRE(outcome->body_len + decoded <= BODY_MAX);
        memcpy(outcome->body + outcome->body_len, copy, decoded);
        outcome->body_len += decoded;
        outcome->behind += in.len - used;
    }
    outcome->is_complete = response->complete;
    free(copy);
}

static void take_head(struct outcome *outcome, struct h1_response *response, char *at, size_t count)
{
    struct bytes rest = BYTES_NONE;
    outcome->result = h1_response_feed(response, at, count, &rest);
    while (outcome->result == H1_HEAD && response->status < 200 && response->status != 101) {
        check(response);
        outcome->interims++;
        outcome->result = h1_response_next(response, &rest);
    }
    if (outcome->result != H1_HEAD)
        return;
    check(response);
    outcome->status = response->status;
    outcome->framing = response->framing;
    outcome->length = response->length;
    outcome->keep_alive = response->keep_alive;
    outcome->fields = response->fields.count;
    take_body(outcome, response, rest);
}

static void run(struct outcome *outcome, struct bytes input, enum method method, size_t step)
{
    static char shared[H1_HEAD_MAX_BYTES];
    struct h1_response response;
    struct arena arena;
    memset(outcome, 0, sizeof(*outcome));
    arena_init(&arena);
    h1_response_init(&response, method, &arena);
    for (size_t from = 0, count; from < input.len && outcome->result != H1_BAD; from += count) {
        count = step < input.len - from ? step : input.len - from;
        if (outcome->result == H1_HEAD) {
            take_body(outcome, &response, bytes_from(input.at + from, count));
            continue;
        }
        size_t capacity;
        char *at = h1_response_space(&response, shared, &capacity);
        REQUIRE(count <= capacity);
        memcpy(at, input.at + from, count);
        take_head(outcome, &response, at, count);
    }
    h1_response_free(&response);
    arena_free(&arena);
}

/* One byte: in pieces of how many bytes it comes, besides whole, and whether it answers a HEAD. Then a response. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, pieces;
    if (size < 2 || size > BODY_MAX)
        return 0;
    struct bytes input = bytes_from((const char *)data + 1, size - 1);
    enum method method = data[0] & 1 ? METHOD_HEAD : METHOD_GET;
    run(&whole, input, method, input.len);
    run(&pieces, input, method, 1 + (data[0] >> 1));
    REQUIRE(whole.result == pieces.result && whole.interims == pieces.interims);
    if (whole.result != H1_HEAD)
        return 0;
    REQUIRE(whole.status == pieces.status && whole.framing == pieces.framing && whole.length == pieces.length);
    REQUIRE(whole.keep_alive == pieces.keep_alive && whole.fields == pieces.fields);
    REQUIRE(whole.body_is_bad == pieces.body_is_bad && whole.is_complete == pieces.is_complete);
    if (!whole.body_is_bad) {
        REQUIRE(whole.body_len == pieces.body_len && whole.behind == pieces.behind);
        REQUIRE(memcmp(whole.body, pieces.body, whole.body_len) == 0);
    }
    return 0;
}
