#include "proxy/client/h1_parse.h"

#include "proxy/client/h1_target.h"
#include "tests/fuzz/fuzz.h"

static const struct config config = {.header_bytes_max = 1500, .header_count_max = 12, .url_bytes_max = 300, .body_bytes_max = 1000000};

struct parsed {
    enum error error; /* ERROR_COUNT: there is more to come */
    struct arena arena;
    struct request_head head;
    struct h1_framing framing;
    size_t used;
    char *memory;
};

/* Gives the bytes `step` by `step`, each time in memory of just that size. */
static void parse(struct parsed *parsed, struct bytes input, size_t step)
{
    struct h1_scan scan = {0};
    enum h1_scan_outcome outcome = H1_SCAN_PARTIAL;
    size_t given = 0;
    memset(parsed, 0, sizeof(*parsed));
    arena_init(&parsed->arena);
    headers_init(&parsed->head.fields, &parsed->arena);
    do {
        given = step < input.len - given ? given + step : input.len;
        free(parsed->memory);
        parsed->memory = malloc(given);
        memcpy(parsed->memory, input.at, given);
        outcome = h1_scan_head(&scan, bytes_from(parsed->memory, given), &config, &parsed->error);
        REQUIRE(scan.line <= given && scan.start <= scan.line);
    } while (outcome == H1_SCAN_PARTIAL && given < input.len);
    if (outcome == H1_SCAN_PARTIAL)
        parsed->error = ERROR_COUNT;
    if (outcome != H1_SCAN_COMPLETE)
        return;
    llhttp_t fresh, parser;
    h1_parser_init(&fresh);
    parsed->used = scan.line;
    parsed->error = h1_parse_head(&scan, bytes_from(parsed->memory, given), &config, &fresh, &parser, &parsed->head, &parsed->framing);
}

static void parsed_free(struct parsed *parsed)
{
    arena_free(&parsed->arena);
    free(parsed->memory);
}

/* What the rest of the proxy relies on. */
static void check(const struct parsed *parsed)
{
    const struct request_head *head = &parsed->head;
    const struct headers *fields = &head->fields;
    unsigned codings = headers_count(fields, HEADER_TRANSFER_ENCODING), lengths = headers_count(fields, HEADER_CONTENT_LENGTH);
    REQUIRE(bytes_is_token(head->method_name) && head->version_minor <= 1 && fields->count <= config.header_count_max);
    REQUIRE(head->path.len > 0 && (head->path.at[0] == '/' || bytes_equal(head->path, BYTES("*"))));
    REQUIRE(head->authority.at != NULL ? h1_authority_is_valid(head->authority) : head->version_minor == 0);
    REQUIRE(codings + lengths <= 1 && parsed->framing.chunked == (codings == 1));
    REQUIRE(!parsed->framing.chunked || parsed->framing.length == 0);
    REQUIRE(parsed->framing.length == 0 || parsed->framing.has_body);
    REQUIRE(headers_find(fields, HEADER_EXPECT) == NULL);
    for (size_t i = 0; i < head->target.len; i++)
        REQUIRE((unsigned char)head->target.at[i] > ' ' && head->target.at[i] != 0x7f);
    for (unsigned i = 0; i < fields->count; i++) {
        REQUIRE(bytes_is_token(fields->at[i].name) && header_value_is_valid(fields->at[i].value));
        REQUIRE(fields->at[i].id == header_identify(fields->at[i].name));
    }
}

static void require_same(const struct parsed *a, const struct parsed *b)
{
    REQUIRE(a->error == b->error && a->used == b->used);
    REQUIRE(bytes_equal(a->head.method_name, b->head.method_name) && bytes_equal(a->head.target, b->head.target));
    if (a->error != ERROR_OK)
        return;
    REQUIRE(bytes_equal(a->head.authority, b->head.authority) && a->head.fields.count == b->head.fields.count);
    REQUIRE(a->head.keep_alive == b->head.keep_alive && a->head.wants_upgrade == b->head.wants_upgrade);
    REQUIRE(a->framing.has_body == b->framing.has_body && a->framing.length == b->framing.length);
    for (unsigned i = 0; i < a->head.fields.count; i++)
        REQUIRE(bytes_equal(a->head.fields.at[i].value, b->head.fields.at[i].value));
}

/* One byte: in pieces of how many bytes it comes, besides whole. Then a request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parsed whole, pieces;
    if (size < 2)
        return 0;
    struct bytes input = bytes_from((const char *)data + 1, size - 1);
    parse(&whole, input, input.len);
    parse(&pieces, input, 1 + data[0]);
    if (whole.error == ERROR_OK)
        check(&whole);
    require_same(&whole, &pieces);
    parsed_free(&whole);
    parsed_free(&pieces);
    return 0;
}
