/* See h1_response.h.
 *
 * DESIGN. llhttp finds the head's parts and, later, the chunks. Nearly always a head comes with one read, into the loop's shared buffer,
 * and its fields are slices of that. A head that comes in pieces moves to a buffer of its own, large enough for any head that is accepted:
 * a slice that began in one piece goes on in the next, because they lie one behind the other. llhttp is paused at the end of the head; the
 * framing is decided here and the body's bytes do not pass through it, unless they are chunked. */
#include "proxy/origin/h1_response.h"

#include <stdlib.h>

static struct h1_response *response_of(llhttp_t *parser)
{
    return parser->data;
}

static void extend(struct bytes *slice, const char *at, size_t length)
{
    if (!slice->at)
        *slice = bytes_from(at, 0);
    slice->len += length;
}

static int on_status(llhttp_t *parser, const char *at, size_t length)
{
    extend(&response_of(parser)->reason, at, length);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t length)
{
    struct h1_response *response = response_of(parser);
    if (!response->in_trailers)
        extend(&response->name, at, length);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t length)
{
    struct h1_response *response = response_of(parser);
    if (!response->in_trailers)
        extend(&response->value, at, length);
    return 0;
}

static int refuse(struct h1_response *response, const char *fault)
{
    response->fault = fault;
    return HPE_USER;
}

static int on_value_complete(llhttp_t *parser)
{
    struct h1_response *response = response_of(parser);
    if (response->in_trailers)
        return 0;
    struct bytes value = response->value.at ? bytes_trim(response->value) : bytes_from("", 0);
    /* Response splitting (HARDENING: framing): llhttp lets some control bytes pass. */
    if (!bytes_is_token(response->name) || !header_value_is_valid(value))
        return refuse(response, "invalid byte in a field");
    if (response->fields.count == H1_FIELDS_MAX)
        return refuse(response, "too many fields");
    headers_add_named(&response->fields, response->name, value);
    response->name = response->value = BYTES_NONE;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *parser)
{
    if (parser->content_length == 0)
        response_of(parser)->in_trailers = true;
    return 0;
}

/* Bytes of framing between two runs of body bytes (RFC 9112 §7.1: a recipient ought to limit the length of chunk extensions). */
static bool overhead_is_sane(const struct h1_response *response)
{
    return response->overhead <= (size_t)(response->in_trailers ? H1_HEAD_MAX_BYTES : H1_CHUNK_LINE_MAX_BYTES);
}

static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    struct h1_response *response = response_of(parser);
    response->overhead += (size_t)(at - response->decode_end);
    if (!overhead_is_sane(response))
        return refuse(response, "chunk extension too long");
    response->overhead = 0;
    response->decode_end = at + length;
    memmove(response->decode_out, at, length);
    response->decode_out += length;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    response_of(parser)->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_status = on_status,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void begin_head(struct h1_response *response)
{
    llhttp_init(&response->parser, HTTP_RESPONSE, &settings);
    response->parser.data = response;
    response->status = 0;
    response->reason = response->name = response->value = BYTES_NONE;
    response->fields.count = 0;
    response->fields.present = 0;
}

void h1_response_init(struct h1_response *response, enum method method, struct arena *arena)
{
    *response = (struct h1_response){.arena = arena, .method = method};
    headers_init(&response->fields, arena);
    begin_head(response);
}

void h1_response_free(struct h1_response *response)
{
    free(response->buffer);
    response->buffer = NULL;
}

char *h1_response_space(struct h1_response *response, char *shared, size_t *capacity)
{
    *capacity = H1_HEAD_MAX_BYTES - response->buffered;
    return response->buffer ? response->buffer + response->buffered : shared;
}

static void rebase(struct bytes *slice, const char *from, size_t length, char *to)
{
    if (slice->at >= from && slice->at <= from + length)
        slice->at = to + (slice->at - from);
}

/* The head goes on in a later read: what came of it so far moves out of the shared buffer. */
static bool keep_piece(struct h1_response *response, const char *at, size_t count)
{
    char *buffer = malloc(H1_HEAD_MAX_BYTES);
    if (!buffer)
        return false;
    memcpy(buffer, at, count);
    rebase(&response->reason, at, count, buffer);
    rebase(&response->name, at, count, buffer);
    rebase(&response->value, at, count, buffer);
    for (unsigned i = 0; i < response->fields.count; i++) {
        rebase(&response->fields.at[i].name, at, count, buffer);
        rebase(&response->fields.at[i].value, at, count, buffer);
    }
    response->buffer = buffer;
    response->buffered = count;
    return true;
}

static enum h1_result bad(struct h1_response *response, const char *fault)
{
    response->fault = fault;
    return H1_BAD;
}

/* A word that is no transfer coding at all. RFC 9112 §6.3: without chunked at its end the body ends with the connection; that is safe to frame anew, but
 * what a coding that exists has done to the body would have to be undone. */
static bool is_no_coding(struct bytes value)
{
    static const struct bytes codings[] = {{"gzip", 4}, {"x-gzip", 6}, {"deflate", 7}, {"compress", 8}, {"x-compress", 10}};
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        if (bytes_equal_nocase(value, codings[i]))
            return false;
    }
    for (size_t i = 0; i + 7 <= value.len; i++) {
        if (bytes_equal_nocase(bytes_from(value.at + i, 7), BYTES("chunked")))
            return false;
    }
    return bytes_is_token(value);
}

/* RFC 2068 §19.7.1.1, as origins such as Node.js still send it: `Keep-Alive: timeout=5`. */
static int64_t keep_alive_timeout_ms(const struct headers *fields)
{
    for (const struct header *line = headers_find(fields, HEADER_KEEP_ALIVE); line; line = headers_next(fields, line)) {
        struct bytes rest = line->value, member;
        uint64_t seconds;
        while (bytes_next_list_member(&rest, &member)) {
            if (bytes_equal_nocase(bytes_take_until(&member, '='), BYTES("timeout")) && bytes_parse_u64(member, &seconds))
                return seconds < INT64_MAX / 1000 ? (int64_t)seconds * 1000 : INT64_MAX;
        }
    }
    return INT64_MAX;
}

/* RFC 9112 §6.3, the parts that llhttp leaves to its user or is lenient about. */
static enum h1_result decide_framing(struct h1_response *response)
{
    const struct headers *fields = &response->fields;
    unsigned lengths = headers_count(fields, HEADER_CONTENT_LENGTH);
    const struct header *coding = headers_find(fields, HEADER_TRANSFER_ENCODING);
    bool is_old = response->parser.http_minor == 0;
    response->keep_alive = is_old ? headers_list_has(fields, HEADER_CONNECTION, BYTES("keep-alive"))
                                  : !headers_list_has(fields, HEADER_CONNECTION, BYTES("close"));
    response->kept_ms = keep_alive_timeout_ms(fields);

    if (coding && lengths > 0)
        return bad(response, "both Content-Length and Transfer-Encoding");
    if (lengths > 1)
        return bad(response, "repeated Content-Length");
    if (lengths == 1 && (!bytes_parse_u64(headers_value(fields, HEADER_CONTENT_LENGTH), &response->length) || response->length > INT64_MAX))
        return bad(response, "invalid Content-Length"); /* longer than a file can be: what is counted from it must not overflow */
    /* §6.1: a transfer coding in HTTP/1.0 is faulty framing. */
    bool is_chunked = coding && bytes_equal_nocase(coding->value, BYTES("chunked"));
    if (coding && (is_old || headers_next(fields, coding) || !(is_chunked || is_no_coding(coding->value))))
        return bad(response, "unsupported Transfer-Encoding");

    if (response->method == METHOD_HEAD || response->status < 200 || response->status == 204 || response->status == 304) {
        response->framing = H1_NO_BODY;
        /* A 204 that announces a body (RFC 9110 §8.6 forbids it): whether one follows is anybody's guess. */
        if (response->status == 204 && (coding || response->length > 0))
            response->keep_alive = false;
        return H1_HEAD;
    }
    response->framing = is_chunked ? H1_CHUNKED : lengths ? H1_LENGTH : H1_UNTIL_CLOSE;
    if (response->framing == H1_UNTIL_CLOSE)
        response->keep_alive = false;
    return H1_HEAD;
}

static enum h1_result head_complete(struct h1_response *response)
{
    response->status = response->parser.status_code;
    if (!response->reason.at)
        response->reason = bytes_from("", 0);
    if (response->parser.http_major != 1 || response->parser.http_minor > 1)
        return bad(response, "unsupported HTTP version");
    if (response->status < 100 || response->status > 999)
        return bad(response, "invalid status");
    if (!header_value_is_valid(response->reason))
        return bad(response, "invalid byte in the reason phrase");
    return decide_framing(response);
}

/* Parses bytes that follow, in memory, what was parsed of this head before. */
static enum h1_result parse(struct h1_response *response, const char *at, size_t count, struct bytes *rest)
{
    llhttp_errno_t outcome = llhttp_execute(&response->parser, at, count);
    if (outcome == HPE_OK)
        return H1_MORE;
    if (outcome != HPE_PAUSED)
        return bad(response, response->fault ? response->fault : llhttp_get_error_reason(&response->parser));
    const char *end = llhttp_get_error_pos(&response->parser);
    *rest = bytes_from(end, (size_t)(at + count - end));
    return head_complete(response);
}

enum h1_result h1_response_feed(struct h1_response *response, const char *at, size_t count, struct bytes *rest)
{
    bool in_own_buffer = response->buffer && at == response->buffer + response->buffered;
    enum h1_result result = parse(response, at, count, rest);
    if (result != H1_MORE)
        return result;
    if (in_own_buffer) {
        response->buffered += count;
        return response->buffered < H1_HEAD_MAX_BYTES ? H1_MORE : H1_TOO_LARGE;
    }
    if (count >= H1_HEAD_MAX_BYTES)
        return H1_TOO_LARGE;
    return keep_piece(response, at, count) ? H1_MORE : H1_TOO_LARGE;
}

enum h1_result h1_response_next(struct h1_response *response, struct bytes *rest)
{
    begin_head(response);
    struct bytes from = *rest;
    *rest = BYTES_NONE;
    if (response->buffer) {
        memmove(response->buffer, from.at, from.len);
        from.at = response->buffer;
        response->buffered = 0;
    }
    return from.len > 0 ? h1_response_feed(response, from.at, from.len, rest) : H1_MORE;
}

bool h1_response_decode(struct h1_response *response, struct bytes in, char *out, size_t *used, size_t *decoded)
{
    if (llhttp_get_errno(&response->parser) == HPE_PAUSED)
        llhttp_resume(&response->parser);
    response->decode_end = in.at;
    response->decode_out = out;
    llhttp_errno_t outcome = llhttp_execute(&response->parser, in.at, in.len);
    *decoded = (size_t)(response->decode_out - out);
    *used = in.len;
    if (response->complete) {
        *used = (size_t)(llhttp_get_error_pos(&response->parser) - in.at);
        return true;
    }
    if (outcome != HPE_OK) {
        response->fault = response->fault ? response->fault : llhttp_get_error_reason(&response->parser);
        return false;
    }
    response->overhead += (size_t)(in.at + in.len - response->decode_end);
    if (!overhead_is_sane(response)) {
        response->fault = "chunk extension or trailers too long";
        return false;
    }
    return true;
}
